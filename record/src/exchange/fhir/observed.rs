//! The value of an observation, as FHIR writes it.

use clinical::{FindingValue, Kind, catalogue};
use serde_json::{Value, json};

use super::super::SYSTEM;
use super::HL7;
use super::write::{coding, concept};

const UCUM: &str = "http://unitsofmeasure.org";

/// The value of an observation, under the key that its kind has in FHIR.
pub(super) fn observed(name: &str, value: &FindingValue) -> (&'static str, Value) {
    match value {
        FindingValue::Yes => ("valueBoolean", json!(true)),
        FindingValue::No => ("valueBoolean", json!(false)),
        FindingValue::Unknown => (
            "dataAbsentReason",
            concept(&format!("{HL7}/data-absent-reason"), "unknown"),
        ),
        FindingValue::Text(text) if text == "not_done" => (
            "dataAbsentReason",
            concept(&format!("{HL7}/data-absent-reason"), "not-performed"),
        ),
        FindingValue::Number(number) => match catalogue::field(name).map(|f| f.kind) {
            // What is written in braces is a remark to UCUM, and no unit.
            Some(Kind::Number(_, _, unit)) if unit.starts_with('{') => (
                "valueQuantity",
                json!({ "value": number, "unit": unit, "system": UCUM, "code": "1" }),
            ),
            Some(Kind::Number(_, _, unit)) => (
                "valueQuantity",
                json!({ "value": number, "unit": unit, "system": UCUM, "code": unit }),
            ),
            _ => ("valueQuantity", json!({ "value": number })),
        },
        FindingValue::Text(text) => match catalogue::field(name).map(|f| f.kind) {
            Some(Kind::Choice(_)) => (
                "valueCodeableConcept",
                json!({ "coding": [coding(SYSTEM, text)], "text": text.replace('_', " ") }),
            ),
            _ => ("valueString", json!(text)),
        },
    }
}
