//! The value of an observation, as FHIR writes it.

use clinical::{FindingValue, Kind, catalogue};
use serde_json::{Value, json};

use super::super::SYSTEM;
use super::HL7;
use super::resource::{coding, concept};

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

/// Measurements that are vital signs, and answers that are results of tests.
pub(super) const VITAL: [&str; 17] = [
    "temperature",
    "temperature_rectal",
    "temperature_second",
    "weight",
    "weight_estimated",
    "height",
    "length",
    "muac",
    "respiratory_rate",
    "respiratory_rate_second",
    "spo2",
    "bp_systolic",
    "bp_diastolic",
    "bp_systolic_second",
    "bp_diastolic_second",
    "pulse",
    "pulse_second",
];
pub(super) const RESULTS: [&str; 7] = [
    "malaria_test",
    "parasite_density",
    "haemoglobin",
    "hiv_test",
    "syphilis_test",
    "hepatitis_b_test",
    "urine_protein",
];

/// The category of an observation, where it has one that every reader knows.
pub(super) fn category(name: &str) -> Option<Value> {
    let code = match name {
        name if VITAL.contains(&name) => "vital-signs",
        name if RESULTS.contains(&name) => "laboratory",
        _ => return None,
    };
    Some(json!([concept(
        &format!("{HL7}/observation-category"),
        code
    )]))
}
