//! A case as an International Patient Summary (HL7 FHIR IPS 2.0, EN 17269): a document whose
//! Composition orders what is known into sections. Every resource of the collection is in it, so
//! that it can be read back as the same case.

use protocol::Area;
use serde_json::{Value, json};

use super::super::SYSTEM;
use super::narrative::{narrative, words};
use super::observed::{RESULTS, VITAL, observed};
use super::read::{items, text_at};
use super::resource::{coding, concept, entry, performer, reference, uuid};
use super::write::resources;
use super::{CASE_SYSTEM, HL7, LOINC};
use clinical::FindingValue;
use clinical::date::instant;

use crate::{CaseView, Stamp};

const ABSENT: &str = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";
const SNOMED: &str = "http://snomed.info/sct";
/// "No known allergy".
const NO_ALLERGY: &str = "716186003";

/// Words that say that there is no allergy, and nothing besides.
const NONE: [&str; 14] = [
    "none",
    "no",
    "nil",
    "nka",
    "nkda",
    "none known",
    "no allergy",
    "no allergies",
    "no known allergy",
    "no known allergies",
    "hakuna",
    "aucune",
    "nenhuma",
    "ninguna",
];
/// Words that say that nobody knows.
const NOT_KNOWN: [&str; 3] = ["not known", "unknown", "?"];

/// Sections by LOINC code, in their order, with what each holds; the first three are there though
/// nothing is known of them, as the guide wants it.
const SECTIONS: [(&str, &str); 12] = [
    ("48765-2", "Allergies and intolerances"),
    ("10160-0", "Medication summary"),
    ("11450-4", "Problems, by decision support and provisional"),
    ("8716-3", "Vital signs"),
    ("30954-2", "Results"),
    ("29549-3", "Medicines given"),
    ("10164-2", "Findings and history"),
    ("18776-5", "Plan and referral"),
    ("72170-4", "Photographs"),
    ("59284-0", "Consents"),
    (WHO, "Who said what"),
    (IN_ERROR, "Entered in error: none of it holds"),
];
/// Sections of our own, which have no code.
const WHO: &str = "who";
const IN_ERROR: &str = "error";
const WANTED: usize = 3;

/// The section that a resource stands in; `None`: those that the others name.
fn section_of(resource: &Value) -> Option<&'static str> {
    let field = || {
        let codings = items(resource.get("code")?, "coding");
        let own = codings
            .iter()
            .find(|coding| text_at(coding, &["system"]) == Some(SYSTEM));
        own.and_then(|coding| text_at(coding, &["code"]))
    };
    if text_at(resource, &["status"]) == Some("entered-in-error") {
        return Some(IN_ERROR);
    }
    match text_at(resource, &["resourceType"])? {
        "AllergyIntolerance" => Some("48765-2"),
        "MedicationRequest" | "MedicationStatement" => Some("10160-0"),
        "Condition" => Some("11450-4"),
        "MedicationAdministration" => Some("29549-3"),
        "Observation" => match field() {
            Some(name) if VITAL.contains(&name) => Some("8716-3"),
            Some(name) if RESULTS.contains(&name) => Some("30954-2"),
            None if resource.get("component").is_some() => Some("8716-3"),
            _ => Some("10164-2"),
        },
        "QuestionnaireResponse" | "RiskAssessment" => Some("10164-2"),
        "ClinicalImpression" | "ServiceRequest" | "Task" | "CarePlan" => Some("18776-5"),
        "Media" => Some("72170-4"),
        "Consent" => Some("59284-0"),
        "Provenance" | "AuditEvent" => Some(WHO),
        _ => None,
    }
}

/// Each word that stands about something, but those that say that nobody knows.
fn words_of<'a>(view: &'a CaseView, name: &str) -> Vec<(&'a Stamp, &'a String)> {
    let said = view.findings.get(name).map(|f| &f.standing);
    let says = |(stamp, value): &'a (Stamp, FindingValue)| match value {
        FindingValue::Text(words) => {
            let said = words.trim().to_lowercase();
            let says = !said.is_empty() && !NOT_KNOWN.contains(&said.as_str());
            says.then_some((stamp, words))
        }
        FindingValue::Yes | FindingValue::No | FindingValue::Number(_) | FindingValue::Unknown => {
            None
        }
    };
    said.into_iter().flatten().filter_map(says).collect()
}

/// Allergies.
fn allergies(view: &CaseView) -> Vec<Value> {
    let said = words_of(view, "allergies");
    let none = |words: &String| NONE.contains(&words.trim().to_lowercase().as_str());
    // Where somebody names one, another's "none" stands in the findings, and is no allergy.
    let named = said.iter().any(|(_, words)| !none(words));
    let said = said
        .into_iter()
        .filter(|(_, words)| !(named && none(words)));
    let allergy = |(n, (stamp, words)): (usize, (&Stamp, &String))| {
        let mut code = json!({ "text": words });
        if none(words) {
            code = concept(SNOMED, NO_ALLERGY);
            if let Some(code) = code.as_object_mut() {
                code.insert("text".into(), json!(words));
            }
        }
        let fields = json!({
            "clinicalStatus": concept(&format!("{HL7}/allergyintolerance-clinical"), "active"),
            "verificationStatus": concept(&format!("{HL7}/allergyintolerance-verification"), "unconfirmed"),
            "code": code,
            "patient": reference(&view.id, "patient"),
            "recordedDate": instant(stamp.at_s),
        });
        entry(
            &view.id,
            &format!("allergy {n}"),
            "AllergyIntolerance",
            fields,
        )
    };
    said.enumerate().map(allergy).collect()
}

/// What the patient takes already, in the words that stand.
fn medicines(view: &CaseView) -> Vec<Value> {
    let statement = |(n, (stamp, words)): (usize, (&Stamp, &String))| {
        let fields = json!({
            "status": "unknown",
            "medicationCodeableConcept": { "text": words },
            "subject": reference(&view.id, "patient"),
            "effectiveDateTime": instant(stamp.at_s),
        });
        entry(
            &view.id,
            &format!("takes {n}"),
            "MedicationStatement",
            fields,
        )
    };
    let said = words_of(view, "medicines_now").into_iter();
    said.enumerate().map(statement).collect()
}

/// Both blood pressures as one observation, as readers of vital signs look for them.
fn pressure(view: &CaseView) -> Option<Value> {
    let of = |name: &str, code: &str| {
        let (stamp, value) = view.findings.get(name)?.standing.last()?;
        let FindingValue::Number(number) = value else {
            return None;
        };
        let (_, quantity) = observed(name, &FindingValue::Number(*number));
        Some((
            stamp,
            json!({ "code": concept(LOINC, code), "valueQuantity": quantity }),
        ))
    };
    let (stamp, systolic) = of("bp_systolic", "8480-6")?;
    let (_, diastolic) = of("bp_diastolic", "8462-4")?;
    let fields = json!({
        "status": "final",
        "category": [concept(&format!("{HL7}/observation-category"), "vital-signs")],
        "code": { "coding": [coding(LOINC, "85354-9")], "text": "blood pressure" },
        "subject": reference(&view.id, "patient"),
        "encounter": reference(&view.id, "encounter"),
        "effectiveDateTime": instant(stamp.at_s),
        "performer": performer(stamp),
        "component": [systolic, diastolic],
    });
    Some(entry(&view.id, "blood pressure", "Observation", fields))
}

/// A patient as the guide wants one: of a name or a birth that is not known, that it is not.
fn complete(patient: &mut Value) {
    let absent = json!({ "url": ABSENT, "valueCode": "unknown" });
    let Some(fields) = patient.as_object_mut() else {
        return;
    };
    if !fields.contains_key("name") {
        fields.insert("name".into(), json!([{ "extension": [absent] }]));
    }
    if !fields.contains_key("birthDate") {
        let mut said = fields
            .get("_birthDate")
            .map_or(Vec::new(), |said| items(said, "extension").to_vec());
        said.push(absent);
        fields.insert("_birthDate".into(), json!({ "extension": said }));
    }
}

fn section((code, title): (&str, &str), held: &[&Value]) -> Value {
    let lines = held.iter().filter_map(|entry| {
        let resource = entry.get("resource")?.as_object()?;
        Some(words(resource.get("resourceType")?.as_str()?, resource))
    });
    let lines: Vec<_> = lines.collect();
    protocol::always!(lines.len() == held.len(), "each entry is a resource");
    let code = Some(concept(LOINC, code)).filter(|_| ![WHO, IN_ERROR].contains(&code));
    let mut section = match held {
        [] => {
            let why = concept(&format!("{HL7}/list-empty-reason"), "unavailable");
            json!({ "title": title, "emptyReason": why, "text": narrative(&["nothing is written down".to_owned()]) })
        }
        held => {
            let named = held.iter().filter_map(|entry| entry.get("fullUrl"));
            let named: Vec<_> = named.map(|url| json!({ "reference": url })).collect();
            json!({ "title": title, "text": narrative(&lines), "entry": named })
        }
    };
    if let (Some(section), Some(code)) = (section.as_object_mut(), code) {
        section.insert("code".into(), code);
    }
    section
}

/// The case as an International Patient Summary, a FHIR R4 bundle of type `document`.
pub fn write_ips(view: &CaseView, area: &Area) -> Value {
    let mut entries = resources(view, area);
    entries.extend(allergies(view));
    entries.extend(medicines(view));
    entries.extend(pressure(view));
    for entry in &mut entries {
        if let Some(patient) = entry
            .get_mut("resource")
            .filter(|r| text_at(r, &["resourceType"]) == Some("Patient"))
        {
            complete(patient);
        }
    }
    let held = |code: &str| -> Vec<&Value> {
        let here = |entry: &&Value| entry.get("resource").and_then(section_of) == Some(code);
        entries.iter().filter(here).collect()
    };
    let sections = SECTIONS
        .iter()
        .enumerate()
        .filter_map(|(n, (code, title))| {
            let held = held(code);
            (n < WANTED || !held.is_empty()).then(|| section((code, title), &held))
        });
    let sections: Vec<_> = sections.collect();
    // Its date is that of the last word in it: the same case is the same document.
    let recorded = entries
        .iter()
        .filter_map(|entry| text_at(entry, &["resource", "recorded"]));
    let date = recorded.max().map_or_else(|| instant(0), str::to_owned);
    let author = author(&entries).unwrap_or_else(|| json!({ "display": "not known" }));
    let composition = json!({
        "identifier": { "system": CASE_SYSTEM, "value": view.id.to_string() },
        "status": "final",
        "type": concept(LOINC, "60591-5"),
        "subject": reference(&view.id, "patient"),
        "encounter": reference(&view.id, "encounter"),
        "date": date,
        "author": [author],
        "title": "International Patient Summary",
        "section": sections,
    });
    let composition = entry(&view.id, "composition", "Composition", composition);
    entries.insert(0, composition);
    protocol::always!(entries.len() > 2, "a patient, a visit and what orders them");
    // A document is named by what it says; which case it is of, the Composition says.
    let said = Value::from(entries.clone()).to_string();
    let name = format!("urn:uuid:{}", uuid(&view.id, &said));
    json!({
        "resourceType": "Bundle",
        "identifier": { "system": "urn:ietf:rfc:3986", "value": name },
        "type": "document",
        "timestamp": date,
        "entry": entries,
    })
}

/// Who has written the case: the worker by name, else a phone of the case's.
fn author(entries: &[Value]) -> Option<Value> {
    let of = |kind: &str| {
        let here = |entry: &&Value| text_at(entry, &["resource", "resourceType"]) == Some(kind);
        let phone = |entry: &&Value| {
            kind != "Device"
                || entry
                    .get("resource")
                    .is_some_and(|d| d.get("identifier").is_some())
        };
        entries.iter().filter(here).find(phone)
    };
    let author = of("Practitioner").or_else(|| of("Device"))?;
    Some(json!({ "reference": author.get("fullUrl")? }))
}
