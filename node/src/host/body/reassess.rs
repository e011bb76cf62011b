//! The rules look again whenever more is known of a case: a danger sign that is added later, or that a colleague has seen, must not
//! wait for somebody to think of it.

use std::collections::BTreeMap;

use inference::Profile;
use protocol::CaseId;
use serde_json::{Value as Json, json};
use sync::case::AssessmentEntry;
use sync::{CaseView, Entry, FindingValue};

use super::super::triage::assessment_entry;
use super::*;

/// Questions of which every answer is tried; more are open in no case that people care for.
const QUESTIONS_MAX: usize = 16;

impl Body {
    /// What rules and model say of what stands in a case, and of every answer that people give where they differ: the most urgent.
    /// `None` where it was never assessed, or not enough is known.
    pub(super) fn assess_now(&self, view: &CaseView) -> Option<AssessmentEntry> {
        let before = view.assessments.last()?;
        let profile = if before.1.rules.contains("(imci)") { Profile::Imci } else { Profile::Iccm };
        let known = |name: &str| self.engine.pack.finding(name).is_some() && !name.starts_with("age_");
        let mut findings: BTreeMap<String, Json> =
            view.findings.iter().filter(|(name, _)| known(name)).map(|(n, s)| (n.clone(), word(&s.value))).collect();
        let age = |name: &str| match view.findings.get(name).map(|state| &state.value) {
            Some(FindingValue::Number(number)) => Some((name.to_owned(), *number)),
            _ => None,
        };
        let (name, number) = match (age("age_hours"), age("age_days"), age("age_months")) {
            (Some(hours), ..) if hours.1 < 48.0 => hours,
            (_, Some(days), _) if days.1 < 60.0 => days,
            (_, days, months) => months.or(days)?,
        };
        findings.insert(name, json!(number));
        let assess = |findings: &BTreeMap<String, Json>| {
            let (_, assessment) = self.engine.assess(&json!(findings).to_string(), profile).ok()?;
            Some(assessment_entry(&assessment))
        };
        let disputed = view.questions().filter(|(name, _)| known(name)).take(QUESTIONS_MAX);
        let answers = disputed.flat_map(|(name, state)| state.standing.iter().map(move |(_, value)| (name, value)));
        let tried = answers.filter_map(|(name, value)| {
            let mut findings = findings.clone();
            findings.insert(name.clone(), word(value));
            assess(&findings)
        });
        assess(&findings).into_iter().chain(tried).max_by_key(|entry| entry.urgency)
    }

    /// Writes down what the rules say now, if it is another than they said last.
    pub(super) fn reassess(&mut self, id: CaseId, request: [u8; 16]) -> Result<(), Failure> {
        let (row, view) = self.open_case(id)?;
        let Some(now) = self.assess_now(&view) else { return Ok(()) };
        let same =
            |(_, last): &(_, AssessmentEntry)| last.urgency == now.urgency && last.rules_fired == now.rules_fired;
        if view.assessments.last().is_some_and(same) {
            return Ok(());
        }
        let mut request = request;
        request[14] ^= 0x80; // a number of its own, that follows from the one asked with
        self.add(Some(id), row.area, vec![Entry::Assessment(now)], request).map(drop)
    }
}

fn word(value: &FindingValue) -> Json {
    match value {
        FindingValue::Number(number) => json!(number),
        other => json!(other.words()),
    }
}
