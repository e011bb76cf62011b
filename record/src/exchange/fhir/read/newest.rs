//! What of a record counts when all of it is read: of measurements the newest, and nothing of before the birth.

use std::collections::BTreeMap;

use clinical::{FindingValue, Merge, catalogue};

use super::super::super::Imported;
use super::super::super::time::{DAY_MS, moment};
use super::Reading;
use crate::Entry;

impl Reading {
    /// The beginning of the day on which the patient was born, and a day less for clocks of other zones; of a month or
    /// a year, its beginning.
    pub(super) fn born(&self) -> Option<i64> {
        let mut findings = self.findings.iter();
        let said = findings.find(|(name, ..)| name == "patient.born")?;
        let FindingValue::Text(day) = &said.1 else {
            return None;
        };
        Some(moment(day)?.from_ms.saturating_sub(DAY_MS))
    }

    /// Of measurements the newest counts; of those whose time is not clear, and of signs, degrees,
    /// consents and words, all do, and the case's own rules bring them together.
    pub(super) fn finish(mut self) -> Imported {
        let born = self.born();
        let before = |at: &str| {
            moment(at)
                .zip(born)
                .is_some_and(|(at, born)| at.to_ms < born)
        };
        let mut findings = std::mem::take(&mut self.findings);
        // What was measured last is said last, and shows.
        findings.sort_by_key(|(_, _, at, _)| moment(at).map(|at| at.from_ms));
        findings.retain(|(name, _, at, id)| {
            let wrong = name != "patient.born" && before(at);
            if wrong {
                let why =
                    format!("Observation {id} ({name}): of {at}, before the patient was born");
                self.imported.left_out.push(why);
            }
            !wrong
        });
        let mut newest: BTreeMap<String, i64> = BTreeMap::new();
        for (name, value, at, _) in &findings {
            if let Some(at) = moment(at).filter(|_| *value != FindingValue::Unknown) {
                let held = newest.entry(name.clone()).or_insert(at.from_ms);
                *held = at.from_ms.max(*held);
            }
        }
        let kept = |read: &Imported| read.entries.len() + read.left_out.len();
        let said = kept(&self.imported) + findings.len();
        for (name, value, at, id) in findings {
            let measured = matches!(
                catalogue::field(&name).map(|f| f.merge),
                Some(Merge::Latest)
            );
            let time = moment(&at);
            let older = time.as_ref().zip(newest.get(&name));
            // A day alone may be later than an hour of it.
            if measured && older.is_some_and(|(time, newest)| time.is_before(*newest)) {
                self.imported.left_out.push(format!(
                    "Observation {id} ({name}): of {at}; a newer one counts"
                ));
                continue;
            }
            if let (true, Some(time)) = (measured && value != FindingValue::Unknown, time) {
                let held = self
                    .imported
                    .measured
                    .entry(name.clone())
                    .or_insert(time.to_ms);
                *held = time.to_ms.max(*held);
            }
            self.imported.entries.push(Entry::Finding { name, value });
        }
        protocol::always!(kept(&self.imported) == said, "what is said is kept or told");
        protocol::always!(
            self.imported
                .measured
                .keys()
                .all(|name| newest.contains_key(name))
        );
        self.put_history(before);
        self.put_unread(&newest);
        let read = match self.imported.entries.is_empty() {
            true => self.imported,
            false => self.imported.settled(),
        };
        protocol::always!(!read.entries.contains(&Entry::consent("share", true)));
        read
    }

    /// Lines of the patient's history, but for those of before the birth.
    fn put_history(&mut self, before: impl Fn(&str) -> bool) {
        for (at, line) in std::mem::take(&mut self.history) {
            match before(&at) {
                true => self
                    .imported
                    .left_out
                    .push(format!("{line}: of {at}, before the patient was born")),
                false => self.imported.entries.push(Entry::Note(crate::clip(&line))),
            }
        }
    }

    /// What could not be read stands beside what could, word for word, unless it is older: nobody is calmed by the
    /// other alone.
    fn put_unread(&mut self, newest: &BTreeMap<String, i64>) {
        for (name, at, words) in std::mem::take(&mut self.unread) {
            let older = moment(&at)
                .zip(newest.get(&name))
                .is_some_and(|(at, newest)| at.is_before(*newest));
            let beside = |entry: &Entry| matches!(entry, Entry::Finding { name: other, .. } if *other == name);
            if !older && !words.is_empty() && self.imported.entries.iter().any(beside) {
                self.imported.entries.push(Entry::Finding {
                    name,
                    value: FindingValue::Text(words),
                });
            }
        }
    }
}
