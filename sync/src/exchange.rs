//! Cases as other systems read them: [`fhir`] bundles (HL7 FHIR R4), [`csv`] tables, and sealed [`archive`]s from phone to
//! phone. Each is written and read here; what is read becomes entries like any others.

pub mod archive;
pub mod csv;
pub mod fhir;
pub mod units;

use std::collections::BTreeMap;

use protocol::CaseId;

use crate::case::rank;
use crate::case::schema::{self, Merge, merge_of};
use crate::{Entry, FindingValue};

/// The name of our fields and colours towards other systems.
pub const SYSTEM: &str = "https://kijiti.org/fhir/field";

/// The name of a field as a file writes it: ours, however its letters are written; a newer version's only as we write names.
pub(crate) fn field_name(written: &str) -> Option<String> {
    let name: String = written.trim().to_lowercase().replace([' ', '-'], "_");
    (schema::field(&name).is_some() || name == written && !name.is_empty()).then_some(name)
}

/// Lines of who had said what that a case is given.
const SAID_BY_MAX: usize = 40;

/// A case that was read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Imported {
    /// The case of ours that this is a copy of, if what was read names one: never the id under which it is kept here.
    pub case: Option<CaseId>,
    /// What the file's record is known by where it comes from, so that the same file read twice is one case.
    pub known_as: Option<String>,
    /// What it says.
    pub entries: Vec<Entry>,
    /// Who had said what in the file, by their name and time there: what is taken in becomes this phone's word.
    pub said: BTreeMap<String, Vec<String>>,
    /// What could not be taken over, in words; it stays in the file that was read.
    pub left_out: Vec<String>,
}

impl Imported {
    /// Notes that somebody said something in the file.
    pub(crate) fn say(&mut self, who: String, what: &str) {
        let said = self.said.entry(who).or_default();
        if !said.iter().any(|other| other == what) {
            said.push(what.to_owned());
        }
    }

    /// Who had said what, a line each, for notes in the case; of a great many, the first.
    pub fn said_by(&self) -> impl Iterator<Item = String> {
        let line = |(who, what): (&String, &Vec<String>)| format!("{who} had said: {}", what.join(", "));
        self.said.iter().take(SAID_BY_MAX).map(line)
    }

    /// A file's words become those of one phone, and one phone's later words take the place of its earlier ones: so what people
    /// differed about is settled here, on the safe side, and said in a note. Consent to share is not taken from a file: it is
    /// asked for where the case now lies.
    pub(crate) fn settled(mut self) -> Self {
        let mut said: BTreeMap<String, Vec<FindingValue>> = BTreeMap::new();
        self.entries.retain(|entry| match entry {
            Entry::Finding { name, value } | Entry::Settled { name, value } => {
                said.entry(name.clone()).or_default().push(value.clone());
                false
            }
            _ => true,
        });
        for (name, values) in said {
            let mut known: Vec<&FindingValue> = Vec::new();
            for value in values.iter().filter(|v| **v != FindingValue::Unknown) {
                if !known.contains(&value) {
                    known.push(value);
                }
            }
            let merge = known.first().map_or(Merge::Latest, |value| merge_of(&name, value));
            let safe = match merge {
                Merge::Sign => {
                    let not_no = || known.iter().find(|v| ***v != FindingValue::No); // a word that nobody understood
                    known.iter().find(|v| ***v == FindingValue::Yes).or_else(not_no)
                }
                Merge::Consent => known.iter().find(|v| ***v == FindingValue::No),
                Merge::Worst(choices) => known.iter().max_by_key(|value| rank(choices, value)),
                Merge::Latest | Merge::Words | Merge::Kept => None,
            };
            // Of words none is lost: an allergy stays beside a "none known" that was written after it.
            let all = (matches!(merge, Merge::Words | Merge::Kept) && known.len() > 1)
                .then(|| FindingValue::Text(known.iter().map(|v| v.words()).collect::<Vec<_>>().join(" · ")));
            let value = all.or_else(|| safe.or(known.last()).map(|v| (**v).clone())).unwrap_or(FindingValue::Unknown);
            if name == "consent.share" && value == FindingValue::Yes {
                self.left_out.push("consent to share: ask for it here".into());
                continue;
            }
            if known.len() > 1 {
                let words: Vec<_> = known.iter().map(|v| v.words()).collect();
                self.entries.push(Entry::Note(format!("people had said of {name}: {}", words.join(", "))));
            }
            if merge == Merge::Latest && known.len() > 1 {
                // Which of them is right nobody can tell here: they stand beside each other, as a question.
                let word = |value: &&FindingValue| Entry::Finding { name: name.clone(), value: (*value).clone() };
                self.entries.extend(known.iter().map(word));
                continue;
            }
            self.entries.push(Entry::Finding { name, value });
        }
        self
    }
}

/// Why nothing can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// Not what it should be, or damaged.
    #[error("{0}")]
    Malformed(String),
    /// Written for another phone.
    #[error("this archive is for phone {0}, not for this one")]
    OtherPhone(String),
    /// Signed by nobody this phone believes, or changed since.
    #[error("the archive's signature does not hold: {0}")]
    Signature(String),
    /// Does not open.
    #[error("the archive does not open: {0}")]
    Sealed(&'static str),
}

/// Seconds since 1970 as RFC 3339, in UTC; years beyond 9999 (a wrong clock) as the last second that can be written.
pub fn instant(at_s: u64) -> String {
    let at_s = at_s.min(253_402_300_799);
    let (days, second) = ((at_s / 86_400) as i64, at_s % 86_400);
    // Days to a date of the Gregorian calendar, in eras of 400 years that begin in March.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let date = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// The first second (UTC) of a day, `2026-11-24`, or of the middle of a month, `2026-11`; `None` for a year alone, and before 1970.
pub fn seconds_of_date(date: &str) -> Option<u64> {
    let mut parts = date.split('-').map(str::parse::<i64>);
    let (year, month) = (parts.next()?.ok()?, parts.next()?.ok()?);
    let day = parts.next().unwrap_or(Ok(15)).ok()?;
    let known = (1..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let year = if month > 2 { year } else { year - 1 };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * from_march + 2) / 5 + day - 1;
    let days = era * 146_097 + day_of_era - 719_468;
    u64::try_from(days).ok().filter(|_| known).map(|days| days * 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for date in ["1970-01-01", "2000-02-29", "2025-12-20", "2026-03-01", "2100-02-28"] {
            assert_eq!(instant(seconds_of_date(date).unwrap()), format!("{date}T00:00:00Z"));
        }
        assert!(["2026", "", "1950-01-01", "2026-13-01", "x-y"].iter().all(|date| seconds_of_date(date).is_none()));
        assert_eq!(seconds_of_date("2025-12"), seconds_of_date("2025-12-15"));
    }

    #[test]
    fn instants_are_those_of_the_calendar() {
        let known = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_554_895, "2026-11-24T21:14:55Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (u64::MAX, "9999-12-31T23:59:59Z"),
        ];
        for (at_s, text) in known {
            assert_eq!(instant(at_s), text);
        }
    }
}
