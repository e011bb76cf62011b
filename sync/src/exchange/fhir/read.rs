//! A bundle as a case.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::{ExchangeError, Imported, SYSTEM};
use super::{CASE_SYSTEM, COLOUR_SYSTEM, HL7, LOINC};
use crate::case::schema::{self, FIELDS, Kind};
use crate::case::{DecisionEntry, DoseEntry};
use crate::{Entry, FindingValue, Urgency};

fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, step| match step.parse::<usize>() {
        Ok(index) => value.get(index),
        Err(_) => value.get(step),
    })
}

fn text_at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    at(value, path)?.as_str()
}

/// The code of one system in a CodeableConcept.
fn code_of<'a>(concept: &'a Value, system: &str) -> Option<&'a str> {
    let codings = concept.get("coding")?.as_array()?;
    let ours = codings.iter().find(|c| c.get("system").and_then(Value::as_str) == Some(system))?;
    ours.get("code")?.as_str()
}

/// The field that a concept names: by our own name, or by its LOINC code.
fn field_of(concept: &Value) -> Option<String> {
    if let Some(name) = code_of(concept, SYSTEM) {
        return Some(name.to_owned());
    }
    let loinc = code_of(concept, LOINC)?;
    FIELDS.iter().find(|f| f.code == loinc).map(|f| f.name.to_owned())
}

/// Reads a bundle: one case.
pub fn read(text: &str) -> Result<Imported, ExchangeError> {
    let bundle: Value =
        serde_json::from_str(text).map_err(|e| ExchangeError::Malformed(format!("not JSON, or cut short: {e}")))?;
    if bundle.get("resourceType").and_then(Value::as_str) != Some("Bundle") {
        return Err(ExchangeError::Malformed("not a FHIR bundle: resourceType must be Bundle".into()));
    }
    let case = text_at(&bundle, &["identifier", "value"]).and_then(|id| id.parse().ok());
    let mut imported = Imported { case, ..Imported::default() };
    let none = Vec::new();
    for entry in bundle.get("entry").and_then(Value::as_array).unwrap_or(&none) {
        let Some(resource) = entry.get("resource") else { continue };
        read_resource(resource, &mut imported);
    }
    say_who(&bundle, &mut imported);
    match imported.entries.is_empty() {
        true => Err(ExchangeError::Malformed("nothing in this bundle is known here".into())),
        false => Ok(imported.settled()),
    }
}

/// Who said what, as the Provenance in the bundle has it.
fn say_who(bundle: &Value, imported: &mut Imported) {
    let entries = bundle.get("entry").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let named: BTreeMap<&str, &Value> =
        entries.iter().filter_map(|entry| Some((text_at(entry, &["fullUrl"])?, entry.get("resource")?))).collect();
    for entry in entries {
        let Some(provenance) = entry.get("resource").filter(|r| text_at(r, &["resourceType"]) == Some("Provenance"))
        else {
            continue;
        };
        let who = text_at(provenance, &["agent", "0", "who", "reference"]).unwrap_or("somebody");
        let device = named.get(who).and_then(|device| text_at(device, &["identifier", "0", "value"]));
        let display = text_at(provenance, &["agent", "0", "who", "display"]);
        let who = match device {
            Some(device) => format!("phone {}", device.get(..8).unwrap_or(device)),
            None => display.unwrap_or(who).to_owned(),
        };
        let who = format!("{who} ({})", text_at(provenance, &["recorded"]).unwrap_or("at no time that is said"));
        let targets = provenance.get("target").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for target in targets.iter().filter_map(|target| text_at(target, &["reference"])) {
            let resource = named.get(target);
            let field = resource.and_then(|r| field_of(r.get("code")?));
            let kind = resource.and_then(|r| text_at(r, &["resourceType"]));
            if let Some(what) = field.or(kind.map(str::to_owned)) {
                imported.say(who.clone(), &what);
            }
        }
    }
}

fn read_resource(resource: &Value, imported: &mut Imported) {
    let kind = resource.get("resourceType").and_then(Value::as_str).unwrap_or_default();
    let before = imported.entries.len();
    match kind {
        "Patient" => read_patient(resource, &mut imported.entries),
        "RelatedPerson" => {
            let pairs = [
                ("patient.caregiver", ["name", "0", "text"]),
                ("patient.caregiver_relation", ["relationship", "0", "text"]),
                ("patient.caregiver_phone", ["telecom", "0", "value"]),
            ];
            imported.entries.extend(pairs.iter().filter_map(|(name, path)| words(name, text_at(resource, path)?)));
        }
        "Observation" => imported.entries.extend(read_observation(resource)),
        "Consent" => {
            let name = at(resource, &["category", "0"]).and_then(|c| code_of(c, SYSTEM));
            let given = match text_at(resource, &["provision", "type"]) {
                Some("permit") => Some(true),
                Some("deny") => Some(false),
                _ => None,
            };
            let consent = name.and_then(|n| n.strip_prefix("consent.")).zip(given);
            imported.entries.extend(consent.map(|(to, given)| Entry::consent(to, given)));
        }
        "MedicationAdministration" if text_at(resource, &["status"]) == Some("entered-in-error") => return,
        "MedicationAdministration" => {
            let amount = at(resource, &["dosage", "dose", "value"]).and_then(Value::as_f64);
            let unit = text_at(resource, &["dosage", "dose", "unit"]).unwrap_or_default().to_owned();
            let medicine = text_at(resource, &["medicationCodeableConcept", "text"]);
            let route = text_at(resource, &["dosage", "route", "text"]).unwrap_or_default().to_owned();
            let given = text_at(resource, &["effectiveDateTime"]).unwrap_or_default().to_owned();
            let dose =
                |(medicine, amount): (&str, f64)| DoseEntry { medicine: medicine.into(), amount, unit, route, given };
            imported.entries.extend(medicine.zip(amount).map(dose).map(Entry::Dose));
        }
        "ClinicalImpression" => imported.entries.extend(read_decision(resource)),
        // What only repeats or surrounds what the others say.
        "Encounter"
        | "QuestionnaireResponse"
        | "Device"
        | "Practitioner"
        | "AuditEvent"
        | "Provenance"
        | "MedicationRequest"
        | "ServiceRequest"
        | "Task"
        | "CarePlan"
        | "Condition"
        | "RiskAssessment" => return,
        _ => {}
    }
    if imported.entries.len() == before {
        let id = resource.get("id").and_then(Value::as_str).unwrap_or("without id");
        imported.left_out.push(format!("{kind} {id}"));
    }
}

/// A text field, if its value is one that it may have.
fn words(name: &str, text: &str) -> Option<Entry> {
    Some(Entry::Finding { name: name.into(), value: schema::read_value(name, text).ok()? })
}

fn read_patient(patient: &Value, entries: &mut Vec<Entry>) {
    let none = Vec::new();
    let national = patient.get("identifier").and_then(Value::as_array).unwrap_or(&none);
    let national = national.iter().filter(|i| i.get("system").and_then(Value::as_str) != Some(CASE_SYSTEM));
    let national = national.filter_map(|i| i.get("value")?.as_str()).next();
    let given = at(patient, &["name", "0", "given"]).and_then(Value::as_array);
    let given = given.map(|names| names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "));
    let pairs = [
        ("patient.national_id", national),
        ("patient.name", text_at(patient, &["name", "0", "text"]).or(given.as_deref())),
        ("patient.family_name", text_at(patient, &["name", "0", "family"])),
        ("patient.born", text_at(patient, &["birthDate"])),
        ("patient.sex", text_at(patient, &["gender"]).filter(|g| ["female", "male"].contains(g))),
        ("patient.village", text_at(patient, &["address", "0", "text"])),
    ];
    entries.extend(pairs.into_iter().filter_map(|(name, text)| words(name, text?)));
}

fn read_observation(observation: &Value) -> Option<Entry> {
    let name = field_of(observation.get("code")?)?;
    if name == "note" {
        return Some(Entry::Note(observation.get("valueString")?.as_str()?.to_owned()));
    }
    let value = if let Some(reason) = observation.get("dataAbsentReason") {
        match code_of(reason, &format!("{HL7}/data-absent-reason")) {
            Some("not-performed") if schema::read_value(&name, "not_done").is_ok() => {
                FindingValue::Text("not_done".into())
            }
            _ => FindingValue::Unknown,
        }
    } else if let Some(flag) = observation.get("valueBoolean").and_then(Value::as_bool) {
        if flag { FindingValue::Yes } else { FindingValue::No }
    } else if let Some(quantity) = observation.get("valueQuantity") {
        let number = quantity.get("value")?.as_f64()?;
        let unit = quantity.get("code").or_else(|| quantity.get("unit")).and_then(Value::as_str);
        match schema::field(&name).map(|f| f.kind) {
            // A number in another unit is another number: it is left out rather than guessed at.
            Some(Kind::Number(min, max, ours)) if unit.is_some_and(|u| u != ours) || number < min || number > max => {
                return None;
            }
            _ => FindingValue::Number(number),
        }
    } else if let Some(concept) = observation.get("valueCodeableConcept") {
        schema::read_value(&name, code_of(concept, SYSTEM)?).ok()?
    } else {
        FindingValue::Text(observation.get("valueString")?.as_str()?.to_owned())
    };
    Some(Entry::Finding { name, value })
}

fn read_decision(impression: &Value) -> Option<Entry> {
    let urgency = Urgency::parse(code_of(impression.get("code")?, COLOUR_SYSTEM)?)?;
    let note = text_at(impression, &["note", "0", "text"]).unwrap_or_default();
    Some(Entry::Decision(DecisionEntry {
        urgency,
        agrees: note.starts_with("as assessed"),
        reason: note.split_once(": ").map(|(_, reason)| reason).unwrap_or_default().into(),
        plan: text_at(impression, &["description"]).unwrap_or_default().into(),
        rules: "imported".into(),
        model: "imported".into(),
        app: String::new(),
    }))
}
