//! What was done and decided, and what is borne badly: doses, decisions, allergies.

use serde_json::Value;

use super::Reading;
use super::values::{at, code_of, items, items_of_status, text_at};
use clinical::date::is_instant;
use clinical::{FindingValue, Urgency, catalogue};

use super::super::super::{TAKEN_BACK, units};
use super::super::{COLOUR_SYSTEM, DOSE_SYSTEM};
use crate::{DecisionEntry, DoseEntry, Entry, IMPORTED};

impl Reading {
    pub(super) fn read_dose(&mut self, given: &Value) {
        match text_at(given, &["status"]) {
            Some("completed") => {}
            Some("entered-in-error") if self.ours => return, // taken back: it stays in sight where it was given
            Some("entered-in-error" | "not-done") => {
                let own = self.origin_of(given, "", "");
                self.imported.taken_back.push(own);
                return self.leave_out(given, "it was not given, says its system");
            }
            Some(other) => {
                return self.leave_out(
                    given,
                    &format!("it was not given to its end: its status is {other}"),
                );
            }
            None => return self.leave_out(given, "it says no status"),
        }
        let medicine = at(given, &["medicationCodeableConcept"]).and_then(|m| {
            text_at(m, &["text"]).or_else(|| {
                items(m, "coding")
                    .iter()
                    .find_map(|c| text_at(c, &["display"]))
            })
        });
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
        let at = at.filter(|at| is_instant(at)).unwrap_or_default();
        let ours = items(given, "identifier")
            .iter()
            .find(|id| text_at(id, &["system"]) == Some(DOSE_SYSTEM));
        let origin = match ours.and_then(|id| text_at(id, &["value"])) {
            Some(key) => key.to_owned(),
            None => self.origin_of(given, &format!("{medicine} {amount} {unit} {at}"), at),
        };
        if !items(given, "partOf").is_empty() {
            return self.leave_out(given, "it is part of another, which counts");
        }
        if origin == "fhir/-/-" {
            return self.leave_out(given, "it says neither when nor by what name it was given");
        }
        let names: Vec<_> = match origin.strip_prefix("fhir/") {
            Some(names) => names
                .split('/')
                .filter(|name| *name != "-")
                .map(str::to_owned)
                .collect(),
            None => vec![origin.clone()],
        };
        if !names.into_iter().all(|name| self.doses.insert(name)) {
            return self.leave_out(given, "it is one that was said already");
        }
        self.imported.entries.push(Entry::Dose(DoseEntry {
            medicine: crate::clip(medicine),
            amount,
            unit,
            route: crate::clip(text_at(given, &["dosage", "route", "text"]).unwrap_or_default()),
            given: at.to_owned(),
            origin,
        }));
    }

    /// What a dose of another system's is known by, so that the same file read twice counts it
    /// once: by its own name, and by what was given when, however it is named the next time.
    fn origin_of(&self, resource: &Value, what: &str, at: &str) -> String {
        // By the number alone, where there is one: a day of birth may be put right.
        let number = self.imported.numbered.as_deref();
        let known_as = number.or(self.imported.known_as.as_deref());
        let known_as = known_as.unwrap_or_default();
        let own = items(resource, "identifier")
            .iter()
            .find_map(|identifier| text_at(identifier, &["value"]));
        let id = own.or_else(|| text_at(resource, &["id"]));
        let part =
            |text: &str| protocol::Digest::of(format!("{known_as}\n{text}").as_bytes()).short();
        let named = id.map_or_else(|| "-".to_owned(), part);
        let what = if at.is_empty() {
            "-".to_owned()
        } else {
            part(what)
        };
        format!("fhir/{named}/{what}")
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
            let status = allergy.get(key);
            status.is_none() || items_of_status(allergy, key).any(|code| words.contains(&code))
        };
        let stands = says(
            "verificationStatus",
            &["confirmed", "unconfirmed", "presumed"],
        ) && says("clinicalStatus", &["active"]);
        let code = allergy.get("code");
        let what = code.and_then(|c| {
            text_at(c, &["text"]).or_else(|| {
                items(c, "coding")
                    .iter()
                    .find_map(|c| text_at(c, &["display"]))
            })
        });
        // SNOMED CT: "no known allergy".
        let what = what.or_else(|| {
            let none = code.and_then(|code| code_of(code, "http://snomed.info/sct"));
            none.filter(|code| *code == "716186003")
                .map(|_| "none known")
        });
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
