//! What another system says of a patient's history and no field here has: problems, medicines, vaccinations,
//! procedures. Each is kept as a line of words with its codes, for whoever cares for the patient; no rule reads
//! it. What did not happen, does not hold, or has no name is left out, and listed.

use serde_json::Value;

use super::Reading;
use super::values::{items, items_of_status, kind_of, text_at};
use crate::Entry;
use clinical::date::is_instant;

/// Lines of this kind that one patient's record brings.
const LINES_MAX: usize = 200;
/// Codes that a line names.
const CODES_MAX: usize = 3;

/// One kind of resource (FHIR R4).
struct Kind {
    resource: &'static str,
    /// How a line of it begins.
    word: &'static str,
    /// Where what it is of stands.
    what: &'static str,
    /// When it was, the first that is there.
    when: &'static [&'static str],
    /// Its statuses that say that it was so, or is meant.
    holds: &'static [&'static str],
}

const KINDS: [Kind; 5] = [
    Kind {
        resource: "Condition",
        word: "problem",
        what: "code",
        when: &["onsetDateTime", "recordedDate"],
        holds: &[
            "active",
            "recurrence",
            "relapse",
            "inactive",
            "remission",
            "resolved",
        ],
    },
    Kind {
        resource: "MedicationStatement",
        word: "medicine taken",
        what: "medicationCodeableConcept",
        when: &["effectiveDateTime", "dateAsserted"],
        holds: &["active", "completed", "on-hold"],
    },
    Kind {
        resource: "MedicationRequest",
        word: "medicine ordered",
        what: "medicationCodeableConcept",
        when: &["authoredOn"],
        holds: &["active", "completed", "on-hold"],
    },
    Kind {
        resource: "Immunization",
        word: "vaccination",
        what: "vaccineCode",
        when: &["occurrenceDateTime"],
        holds: &["completed"],
    },
    Kind {
        resource: "Procedure",
        word: "procedure",
        what: "code",
        when: &["performedDateTime"],
        holds: &["completed", "in-progress"],
    },
];

/// The usual names of systems of codes.
const SYSTEMS: [(&str, &str); 7] = [
    ("http://snomed.info/sct", "SNOMED CT"),
    ("http://hl7.org/fhir/sid/icd-10", "ICD-10"),
    ("http://id.who.int/icd/release/11/mms", "ICD-11"),
    ("http://www.nlm.nih.gov/research/umls/rxnorm", "RxNorm"),
    ("http://www.whocc.no/atc", "ATC"),
    ("http://hl7.org/fhir/sid/cvx", "CVX"),
    ("http://loinc.org", "LOINC"),
];

/// Codes of a concept, each with its system.
fn codes(concept: &Value) -> Vec<String> {
    let code = |coding: &Value| {
        let (system, code) = (text_at(coding, &["system"])?, text_at(coding, &["code"])?);
        let usual = SYSTEMS.iter().find(|(address, _)| *address == system);
        Some(format!("{} {code}", usual.map_or(system, |(_, name)| name)))
    };
    items(concept, "coding")
        .iter()
        .filter_map(code)
        .take(CODES_MAX)
        .collect()
}

impl Reading {
    /// Keeps a resource of the patient's history as a line; `false` if it is of no such kind.
    pub(super) fn read_history(&mut self, resource: &Value) -> bool {
        let Some(kind) = KINDS.iter().find(|kind| kind.resource == kind_of(resource)) else {
            return false;
        };
        match line(kind, resource) {
            Ok(_) if self.lines >= LINES_MAX => {
                self.leave_out(
                    resource,
                    "there are too many of its kind: look it up in the file",
                );
            }
            Ok(line) => {
                self.lines += 1;
                self.leave_out(resource, "kept in words, as a note: no rule reads it");
                let entry = Entry::Note(crate::clip(&line));
                if !self.imported.entries.contains(&entry) {
                    self.imported.entries.push(entry);
                }
            }
            Err(why) => self.leave_out(resource, why),
        }
        true
    }
}

fn line(kind: &Kind, resource: &Value) -> Result<String, &'static str> {
    let condition = kind.resource == "Condition";
    let verified = items_of_status(resource, "verificationStatus").next();
    let status = match condition {
        true => items_of_status(resource, "clinicalStatus").next(),
        false => text_at(resource, &["status"]),
    };
    let refuted = matches!(verified, Some("refuted" | "entered-in-error"));
    let stands = match status {
        None => condition, // R4 asks for it only where the problem is verified
        Some(status) => kind.holds.contains(&status),
    };
    if refuted || !stands {
        return Err("it did not happen, does not hold, or does not say whether it does");
    }
    let concept = resource.get(kind.what).unwrap_or(&Value::Null);
    let codes = codes(concept);
    let display = || {
        items(concept, "coding")
            .iter()
            .find_map(|c| text_at(c, &["display"]))
    };
    let what = text_at(concept, &["text"])
        .or_else(display)
        .map(str::to_owned);
    let what = what.or_else(|| codes.first().cloned());
    let what = what.ok_or("what it is of is not said")?;
    let codes = codes
        .into_iter()
        .filter(|code| *code != what)
        .collect::<Vec<_>>();
    let when = kind.when.iter().find_map(|key| text_at(resource, &[key]));
    let when = when.filter(|when| is_instant(when));
    let sure =
        verified.filter(|word| matches!(*word, "unconfirmed" | "provisional" | "differential"));
    let mut line = format!("{}: {what}", kind.word);
    if !codes.is_empty() {
        line.push_str(&format!(" ({})", codes.join("; ")));
    }
    for word in [status, sure, when].into_iter().flatten() {
        line.push_str(&format!(", {word}"));
    }
    Ok(line)
}
