//! What was done and decided, and what is borne badly: doses, decisions, allergies.

use serde_json::Value;

use super::Reading;
use super::history::{called, named};
use super::values::{SNOMED, at, code_of, codes_of, items, items_of_status, text_at};
use clinical::{FindingValue, Urgency, catalogue};

use super::super::super::origin::{Alike, UNKNOWN, alike, origin};
use super::super::super::time::moment;
use super::super::super::{TAKEN_BACK, units};
use super::super::{COLOUR_SYSTEM, DOSE_SYSTEM};
use crate::{DecisionEntry, DoseEntry, Entry, IMPORTED};

/// The key of a dose of ours.
fn own_key(given: &Value) -> Option<&str> {
    let ours = |id: &&Value| text_at(id, &["system"]) == Some(DOSE_SYSTEM);
    text_at(items(given, "identifier").iter().find(ours)?, &["value"])
}

/// What its system calls a dose: by all its identifiers, for one may be that of the visit; without any, by the name
/// of the resource.
fn names_of(given: &Value) -> Vec<(&str, &str)> {
    let identifiers = items(given, "identifier").iter().filter_map(|id| {
        let value = text_at(id, &["value"]).filter(|value| !value.is_empty())?;
        Some((text_at(id, &["system"]).unwrap_or_default(), value))
    });
    let identifiers: Vec<_> = identifiers.collect();
    match identifiers.is_empty() {
        true => text_at(given, &["id"])
            .map(|id| ("id", id))
            .into_iter()
            .collect(),
        false => identifiers,
    }
}

impl Reading {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "none of the others is meant"
    )]
    pub(super) fn read_dose(&mut self, given: &Value) {
        match text_at(given, &["status"]) {
            Some("completed") => {}
            Some("entered-in-error" | "not-done") => {
                // One of ours that was taken back stays in sight where it was given.
                let own = own_key(given);
                if own.is_none() {
                    self.leave_out(given, "it was not given, says its system");
                }
                let named = own.map_or_else(
                    || origin(&names_of(given), &DoseEntry::default()),
                    str::to_owned,
                );
                self.imported.taken_back.push(named);
                return;
            }
            Some(other) => {
                return self.leave_out(
                    given,
                    &format!("it was not given to its end: its status is {other}"),
                );
            }
            None => return self.leave_out(given, "it says no status"),
        }
        let medicine = at(given, &["medicationCodeableConcept"]).and_then(called);
        let dose = at(given, &["dosage", "dose"]);
        if dose.is_some_and(|dose| dose.get("comparator").is_some()) {
            return self.leave_out(given, "its dose is a bound and no amount");
        }
        let amount = dose
            .and_then(|dose| dose.get("value"))
            .and_then(Value::as_f64);
        let [unit, code] = ["unit", "code"].map(|key| dose.and_then(|dose| text_at(dose, &[key])));
        let (Some(medicine), Some(amount)) = (medicine, amount) else {
            return self.leave_out(given, "which medicine, or how much, is not said");
        };
        let Some(said) = unit.or(code) else {
            return self.leave_out(given, "its dose has no unit");
        };
        let Some(unit) = units::plausible_dose(medicine, amount, said) else {
            return self.leave_out(
                given,
                &format!("nobody gives {amount} {said} of it at once"),
            );
        };
        let by_code = code.and_then(|code| units::plausible_dose(medicine, amount, code));
        let compound = |code: &str| code.contains(['/', '.', '*']);
        if code.is_some_and(|code| units::is_dose_unit(code) || compound(code))
            && by_code.as_deref() != Some(&unit)
        {
            return self.leave_out(
                given,
                &format!("the unit of its dose says {unit:?} and its code something else"),
            );
        }
        let at = text_at(given, &["effectiveDateTime"])
            .or_else(|| text_at(given, &["effectivePeriod", "start"]));
        let at = at.and_then(moment).map(|at| at.written).unwrap_or_default();
        let mut dose = DoseEntry {
            medicine: crate::clip(medicine),
            amount,
            unit,
            route: crate::clip(text_at(given, &["dosage", "route", "text"]).unwrap_or_default()),
            given: at,
            origin: String::new(),
        };
        dose.origin = match own_key(given) {
            Some(key) => key.to_owned(),
            None => origin(&names_of(given), &dose),
        };
        if dose.origin == UNKNOWN {
            return self.leave_out(given, "it says neither when nor by what name it was given");
        }
        // Two of one day under two names are two.
        let before = |entry: &Entry| match entry {
            Entry::Dose(before) => matches!(
                alike(before, &[], &dose),
                Some(Alike::Same | Alike::Otherwise)
            ),
            _ => false,
        };
        if self.imported.entries.iter().any(before) {
            return self.leave_out(given, "it is one that was said already");
        }
        self.imported.entries.push(Entry::Dose(dose));
    }

    pub(super) fn read_decision(&mut self, impression: &Value) {
        let urgency = impression
            .get("code")
            .and_then(|code| code_of(code, COLOUR_SYSTEM))
            .and_then(Urgency::parse);
        let Some(urgency) = urgency else {
            return self.leave_out(impression, "it names no colour of ours");
        };
        if text_at(impression, &["status"]) != Some("completed") {
            return self.leave_out(impression, "it is not completed");
        }
        let note = text_at(impression, &["note", "0", "text"]).unwrap_or_default();
        self.imported.entries.push(Entry::Decision(DecisionEntry {
            urgency,
            agrees: note.starts_with("as assessed"),
            reason: note
                .split_once(": ")
                .map(|(_, reason)| reason)
                .unwrap_or_default()
                .into(),
            plan: text_at(impression, &["description"])
                .unwrap_or_default()
                .into(),
            rules: IMPORTED.into(),
            model: IMPORTED.into(),
            app: String::new(),
        }));
    }

    pub(super) fn read_allergy(&mut self, allergy: &Value) {
        let says = |key: &str, words: &[&str]| {
            let Some(status) = allergy.get(key) else {
                return true;
            };
            let text = text_at(status, &["text"]).map(|text| text.trim().to_lowercase());
            let mut codes = items_of_status(allergy, key).peekable();
            match codes.peek() {
                Some(_) => codes.any(|code| words.contains(&code)),
                None => text.is_some_and(|text| words.contains(&text.as_str())),
            }
        };
        let stands = says(
            "verificationStatus",
            &["confirmed", "unconfirmed", "presumed"],
        ) && says("clinicalStatus", &["active"]);
        let code = allergy.get("code");
        // SNOMED CT: "no known allergy", whatever it is called there.
        let none = code.is_some_and(|code| codes_of(code, SNOMED).any(|code| code == "716186003"));
        let substance = items(allergy, "reaction")
            .iter()
            .filter_map(|reaction| reaction.get("substance"));
        let what = code.into_iter().chain(substance).find_map(named);
        let what = if none {
            Some("none known".to_owned())
        } else {
            what
        };
        let what = what.as_deref();
        match what {
            Some(what) if stands => {
                // As an Observation of it would be read: a summary of ours says it in both forms.
                let value = catalogue::read_value("allergies", what)
                    .unwrap_or_else(|_| FindingValue::Text(crate::clip(what)));
                self.finding(allergy, "allergies".into(), value);
            }
            Some(what) => {
                let note = format!("{TAKEN_BACK}allergies = {what}");
                self.imported.entries.push(Entry::Note(crate::clip(&note)));
                self.leave_out(
                    allergy,
                    "it was refuted, or is over, or which of these is not clear",
                );
            }
            None => self.leave_out(allergy, "to what is not said"),
        }
    }
}
