//! What another system says of a patient's history and no field here has: problems, medicines, vaccinations,
//! procedures. Each is kept as a line of words with its codes, for whoever cares for the patient; no rule reads
//! it. What did not happen, does not hold, or has no name is left out, and listed.

use serde_json::Value;

use super::super::super::TAKEN_BACK;
use super::super::super::time::moment;
use super::values::{items, items_of_status, kind_of, text_at};
use super::{Reading, said_of};
use crate::Entry;

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
            Ok(_) if self.is_to_come(when(kind, resource)) => {
                self.leave_out(resource, "its time is still to come");
            }
            Ok(line) => {
                self.lines += 1;
                protocol::always!(self.lines <= LINES_MAX);
                let kept = said_of(resource, "as a note, which no rule reads");
                self.imported.in_words.push(kept);
                if !self.history.iter().any(|(_, said)| *said == line) {
                    self.history.push((when(kind, resource).to_owned(), line));
                }
            }
            Err(why) => {
                if let (true, Ok(what)) = (is_taken_back(resource), begins(kind, resource)) {
                    let taken_back = format!("{TAKEN_BACK}{what}");
                    self.imported
                        .entries
                        .push(Entry::Note(crate::clip(&taken_back)));
                }
                self.leave_out(resource, why);
            }
        }
        true
    }
}

/// Elements that turn round what a resource of the history says, each with what makes it harmless (FHIR R4,
/// `isModifier`).
fn is_turned_round(resource: &Value) -> bool {
    let yes = |key: &str| resource.get(key).is_some_and(|value| value != false);
    let intent = text_at(resource, &["intent"]);
    let ordered = intent.is_none_or(|intent| {
        matches!(
            intent,
            "order" | "original-order" | "reflex-order" | "filler-order" | "instance-order"
        )
    });
    yes("doNotPerform") || yes("isSubpotent") || !ordered
}

/// What a concept is called; of codes without words, the first, with its system.
pub(super) fn named(concept: &Value) -> Option<String> {
    let first = || codes(concept).into_iter().next();
    called(concept).map(str::to_owned).or_else(first)
}

/// What a concept is called.
pub(super) fn called(concept: &Value) -> Option<&str> {
    let display = || {
        items(concept, "coding")
            .iter()
            .find_map(|c| text_at(c, &["display"]))
    };
    text_at(concept, &["text"]).or_else(display)
}

/// How a line begins: what it is of, with its codes.
fn begins(kind: &Kind, resource: &Value) -> Result<String, &'static str> {
    let concept = resource.get(kind.what).unwrap_or(&Value::Null);
    let codes = codes(concept);
    let what = named(concept).ok_or("what it is of is not said")?;
    let codes = codes
        .into_iter()
        .filter(|code| *code != what)
        .collect::<Vec<_>>();
    Ok(match codes.is_empty() {
        true => format!("{}: {what}", kind.word),
        false => format!("{}: {what} ({})", kind.word, codes.join("; ")),
    })
}

/// Whether its system says that what it may have said before is not so.
fn is_taken_back(resource: &Value) -> bool {
    let verified = items_of_status(resource, "verificationStatus").next();
    let status = text_at(resource, &["status"]);
    let not = [
        "entered-in-error",
        "refuted",
        "not-done",
        "not-taken",
        "cancelled",
        "stopped",
    ];
    [verified, status]
        .into_iter()
        .flatten()
        .any(|word| not.contains(&word))
}

/// When it was, as far as it says.
fn when<'r>(kind: &Kind, resource: &'r Value) -> &'r str {
    let mut keys = kind.when.iter();
    keys.find_map(|key| text_at(resource, &[key]))
        .unwrap_or_default()
}

fn line(kind: &Kind, resource: &Value) -> Result<String, &'static str> {
    let condition = kind.resource == "Condition";
    let said = |key: &str| resource.get(key).is_some_and(|value| !value.is_null());
    let verified = items_of_status(resource, "verificationStatus").next();
    let status = match condition {
        true => items_of_status(resource, "clinicalStatus").next(),
        false => text_at(resource, &["status"]),
    };
    let refuted = matches!(verified, Some("refuted" | "entered-in-error"));
    // Said in words alone, it may say anything.
    let unclear = condition
        && ((verified.is_none() && said("verificationStatus"))
            || (status.is_none() && said("clinicalStatus")));
    let stands = match status {
        None => condition, // R4 asks for it only where the problem is verified
        Some(status) => kind.holds.contains(&status),
    };
    if refuted || unclear || !stands || is_turned_round(resource) {
        return Err("it did not happen, does not hold, or does not say clearly whether it does");
    }
    let mut line = begins(kind, resource)?;
    let when = Some(when(kind, resource)).filter(|when| moment(when).is_some());
    let sure =
        verified.filter(|word| matches!(*word, "unconfirmed" | "provisional" | "differential"));
    let concept = |key: &str| items(resource, key).iter().find_map(called);
    let text = |key: &str| {
        items(resource, key)
            .iter()
            .find_map(|one| text_at(one, &["text"]))
    };
    let more = [
        concept("severity"),
        concept("bodySite"),
        text("dosage"),
        text("dosageInstruction"),
        text("note"),
    ];
    for word in [status, sure, when].into_iter().chain(more).flatten() {
        line.push_str(&format!(", {word}"));
    }
    Ok(line)
}
