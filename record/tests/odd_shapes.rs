//! Bundles whose parts lie or are written otherwise than ours: what is meant is read, and what is not goes with a
//! word. Each table names what was seen of other systems.

use clinical::FindingValue;
use record::Entry;
use record::exchange::{Imported, csv, fhir};
use serde_json::{Value, json};

fn patient(more: &Value) -> Value {
    let mut patient = json!({ "resourceType": "Patient", "id": "p", "name": [{ "text": "Asha Test" }], "birthDate": "2025-06-15" });
    let fields = patient.as_object_mut().unwrap();
    fields.extend(more.as_object().cloned().unwrap_or_default());
    patient
}

fn spo2(subject: &Value, more: &Value) -> Value {
    let mut observation = json!({
        "resourceType": "Observation", "id": "o", "status": "final", "subject": subject,
        "code": { "coding": [{ "system": "http://loinc.org", "code": "59408-5" }] }
    });
    let fields = observation.as_object_mut().unwrap();
    fields.extend(more.as_object().cloned().unwrap_or_default());
    if !fields
        .keys()
        .any(|key| key == "component" || key.starts_with("value"))
    {
        fields.insert(
            "valueQuantity".into(),
            json!({ "value": 84, "unit": "%", "code": "%" }),
        );
    }
    observation
}

fn bundle(entries: &[(Option<&str>, Value)]) -> String {
    let entry = |(url, resource): &(Option<&str>, Value)| match url {
        Some(url) => json!({ "fullUrl": url, "resource": resource }),
        None => json!({ "resource": resource }),
    };
    let entries: Vec<_> = entries.iter().map(entry).collect();
    json!({ "resourceType": "Bundle", "type": "collection", "entry": entries }).to_string()
}

fn read(entries: &[(Option<&str>, Value)]) -> Vec<Imported> {
    fhir::read(&bundle(entries)).unwrap()
}

fn found<'a>(cases: &'a [Imported], field: &str) -> Option<&'a FindingValue> {
    let mut entries = cases
        .iter()
        .flat_map(|case| &case.entries)
        .filter_map(Entry::word);
    entries
        .find(|(name, _)| *name == field)
        .map(|(_, value)| value)
}

fn told(cases: &[Imported]) -> String {
    let told = cases
        .iter()
        .flat_map(|case| case.left_out.iter().chain(&case.in_words));
    told.cloned().collect::<Vec<_>>().join("\n")
}

#[test]
fn a_patient_is_meant_by_every_kind_of_reference() {
    let numbered = patient(&json!({ "identifier": [{ "system": "http://h/mrn", "value": "7" }] }));
    for (url, subject) in [
        (None, json!({ "reference": "Patient/p/_history/2" })),
        (
            Some("http://h/fhir/Patient/p"),
            json!({ "reference": "http://h/fhir/Patient/p/_history/2" }),
        ),
        (
            Some("http://h/fhir/Patient/p"),
            json!({ "reference": "https://h/fhir/Patient/p" }),
        ),
        (Some("Patient/p"), json!({ "reference": "Patient/p" })),
        (
            Some("urn:uuid:AAAAAAAA-0000-4000-8000-00000000000A"),
            json!({ "reference": "urn:uuid:aaaaaaaa-0000-4000-8000-00000000000a" }),
        ),
        (
            None,
            json!({ "identifier": { "system": "http://h/mrn", "value": "7" } }),
        ),
        (
            None,
            json!({ "reference": "Patient?identifier=http://h/mrn|7" }),
        ),
    ] {
        let cases = read(&[(url, numbered.clone()), (None, spo2(&subject, &json!({})))]);
        assert_eq!(
            found(&cases, "spo2"),
            Some(&FindingValue::Number(84.0)),
            "{subject}: {}",
            told(&cases)
        );
    }
    // Somebody else, a group, a thing: of nobody here, and told.
    for (subject, why) in [
        (json!({ "reference": "Patient/other" }), "not in the file"),
        (
            json!({ "identifier": { "system": "http://h/mrn", "value": "8" } }),
            "not in the file",
        ),
        (json!({ "reference": "Group/village" }), "a group"),
        (
            json!({ "reference": "Device/d/_history/1" }),
            "a group, a thing",
        ),
    ] {
        let cases = read(&[(None, numbered.clone()), (None, spo2(&subject, &json!({})))]);
        assert!(
            found(&cases, "spo2").is_none() && told(&cases).contains(why),
            "{subject}: {}",
            told(&cases)
        );
    }
    let alone = bundle(&[(
        None,
        spo2(&json!({ "reference": "Group/village" }), &json!({})),
    )]);
    assert!(
        fhir::read(&alone)
            .unwrap()
            .iter()
            .all(|case| case.entries.is_empty()),
        "nobody's case"
    );
}

/// Systems of codes by the names that others give them, and a birth with a time of day.
#[test]
fn systems_are_known_by_their_other_names() {
    for system in [
        "http://loinc.org",
        "http://loinc.org/",
        "https://loinc.org",
        "urn:oid:2.16.840.1.113883.6.1",
    ] {
        let coded = json!({ "code": { "coding": [{ "system": system, "code": "59408-5" }] } });
        let born = patient(&json!({ "birthDate": "2025-06-15T00:00:00Z" }));
        let cases = read(&[
            (None, born),
            (None, spo2(&json!({ "reference": "Patient/p" }), &coded)),
        ]);
        assert_eq!(
            found(&cases, "spo2"),
            Some(&FindingValue::Number(84.0)),
            "{system}"
        );
        assert_eq!(
            found(&cases, "patient.born"),
            Some(&FindingValue::Text("2025-06-15".into()))
        );
    }
}

/// One part of a panel that cannot be read takes no other with it.
#[test]
fn a_part_that_says_nothing_costs_the_others_nothing() {
    let part = |code: &str, value: Value| {
        let mut part =
            json!({ "code": { "coding": [{ "system": "http://loinc.org", "code": code }] } });
        part.as_object_mut()
            .unwrap()
            .extend(value.as_object().unwrap().clone());
        part
    };
    let panel = json!({ "code": { "text": "vital signs" }, "component": [
        part("8310-5", json!({ "valueString": "hot" })), part("59408-5", json!({ "valueQuantity": { "value": 84, "code": "%" } })),
        part("9279-1", json!({ "valueQuantity": { "value": 70, "code": "{breath}/min" } }))
    ] });
    let cases = read(&[
        (None, patient(&json!({}))),
        (None, spo2(&json!({ "reference": "Patient/p" }), &panel)),
    ]);
    assert_eq!(found(&cases, "spo2"), Some(&FindingValue::Number(84.0)));
    assert_eq!(
        found(&cases, "respiratory_rate"),
        Some(&FindingValue::Number(70.0))
    );
    assert!(told(&cases).contains("temperature"), "{}", told(&cases));
}

#[test]
fn who_cares_for_the_patient_is_kept_and_what_else_a_record_says_is_told() {
    let mother = json!({ "name": [{ "family": "Juma", "given": ["Halima"] }], "telecom": [{ "system": "phone", "value": "+254 700 000000" }],
        "relationship": [{ "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "MTH" }] }] });
    let mut related = json!({ "resourceType": "RelatedPerson", "id": "r", "patient": { "reference": "Patient/p" } });
    related
        .as_object_mut()
        .unwrap()
        .extend(mother.as_object().unwrap().clone());
    let by_contact = patient(&json!({ "contact": [mother] }));
    for cases in [
        read(&[(None, patient(&json!({}))), (None, related)]),
        read(&[(None, by_contact)]),
    ] {
        for (field, words) in [
            ("patient.caregiver", "Halima Juma"),
            ("patient.caregiver_relation", "mother"),
            ("patient.caregiver_phone", "+254 700 000000"),
        ] {
            assert_eq!(
                found(&cases, field),
                Some(&FindingValue::Text(words.into())),
                "{field}"
            );
        }
    }
    let more = patient(
        &json!({ "address": [{ "line": ["House 4"], "city": "Mtwapa" }], "active": false, "telecom": [{ "value": "1" }],
        "link": [{ "other": { "reference": "Patient/9" }, "type": "replaced-by" }], "deceasedDateTime": "2031-01-01" }),
    );
    let cases = fhir::read_until(&bundle(&[(None, more)]), 1_790_000_000).unwrap();
    assert_eq!(
        found(&cases, "patient.village"),
        Some(&FindingValue::Text("House 4, Mtwapa".into()))
    );
    assert!(found(&cases, "outcome").is_none());
    for why in [
        "replaced-by",
        "does not use this record",
        "telephone",
        "still to come",
    ] {
        assert!(told(&cases).contains(why), "{why}: {}", told(&cases));
    }
}

#[test]
fn an_allergy_is_kept_by_its_code_or_its_substance_and_none_is_none() {
    const SNOMED: &str = "http://snomed.info/sct";
    let coded = |code: &str, display: Value| json!({ "coding": [{ "system": SNOMED, "code": code, "display": display }] });
    for (fields, words) in [
        (
            json!({ "code": coded("91936005", Value::Null) }),
            "SNOMED CT 91936005",
        ),
        (
            json!({ "reaction": [{ "substance": { "text": "Penicillin" } }] }),
            "Penicillin",
        ),
        (
            json!({ "code": { "text": "Nuts" }, "clinicalStatus": { "text": "Active" } }),
            "Nuts",
        ),
        (
            json!({ "code": coded("716186003", json!("No known allergy (situation)")) }),
            "none known",
        ),
    ] {
        let mut allergy = json!({ "resourceType": "AllergyIntolerance", "id": "a", "patient": { "reference": "Patient/p" } });
        allergy
            .as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        let cases = read(&[(None, patient(&json!({}))), (None, allergy)]);
        assert_eq!(
            found(&cases, "allergies"),
            Some(&FindingValue::Text(words.into())),
            "{}",
            told(&cases)
        );
    }
}

#[test]
fn a_dose_counts_unless_it_is_part_of_another() {
    for (of, counts) in [
        ("Procedure/x", true),
        ("MedicationAdministration/whole", false),
        ("somewhere", false),
    ] {
        let dose = json!({ "resourceType": "MedicationAdministration", "id": "d", "status": "completed", "subject": { "reference": "Patient/p" },
            "medicationCodeableConcept": { "text": "amoxicillin" }, "effectiveDateTime": "2026-01-01T08:00:00Z", "partOf": [{ "reference": of }],
            "dosage": { "dose": { "value": 250, "unit": "mg" } } });
        let cases = read(&[(None, patient(&json!({}))), (None, dose)]);
        let doses = cases
            .iter()
            .flat_map(|case| &case.entries)
            .filter(|entry| matches!(entry, Entry::Dose(_)));
        assert_eq!(doses.count(), usize::from(counts), "{of}: {}", told(&cases));
    }
}

/// What a hospital has put into a bundle of ours is kept or told; what we have written there ourselves is not said
/// again.
#[test]
fn what_others_put_into_a_bundle_of_ours_is_not_lost() {
    let about = json!({ "reference": "Patient/p" });
    for (id, said) in [
        ("h1", true),
        ("44e74fd4-ecd0-8ca2-9215-968a0c9652f9", false),
    ] {
        for kind in [
            "Condition",
            "MedicationStatement",
            "ServiceRequest",
            "CarePlan",
            "Task",
            "RiskAssessment",
            "Encounter",
        ] {
            let who = if kind == "Task" { "for" } else { "subject" };
            let mut one = json!({ "resourceType": kind, "id": id, "status": "active", "code": { "text": "Malaria" }, "medicationCodeableConcept": { "text": "Iron" } });
            one[who] = about.clone();
            let mut ours: Value =
                serde_json::from_str(&bundle(&[(None, patient(&json!({}))), (None, one)])).unwrap();
            ours["identifier"] = json!({ "system": "https://kijiti.org/fhir/case", "value": "846326b688c3554731e5c3f3bcfdce99" });
            let cases = fhir::read(&ours.to_string()).unwrap();
            let all = told(&cases)
                + &format!(
                    "{:?}",
                    cases.iter().map(|case| &case.of_nobody).collect::<Vec<_>>()
                );
            assert_eq!(all.contains(kind), said, "{id}: {all}");
        }
    }
}

/// A patient who lies within each of several resources is one, if a number or name and birth show it; two nameless
/// ones are two.
#[test]
fn a_patient_within_several_resources_is_one() {
    for (who, count) in [
        (patient(&json!({})), 1),
        (
            json!({ "resourceType": "Patient", "id": "p", "gender": "female" }),
            2,
        ),
    ] {
        let within = |id: &str| {
            spo2(
                &json!({ "reference": "#p" }),
                &json!({ "id": id, "contained": [who] }),
            )
        };
        let cases = read(&[(None, within("a")), (None, within("b"))]);
        assert_eq!(cases.len(), count, "{who}");
    }
}

/// Doses in a table of ours are taken back by their own names, and not all of one medicine.
#[test]
fn a_table_takes_back_the_dose_that_it_names() {
    const CASE: &str = "00000000000000000000000000000001";
    let row = |kind: &str, value: &str, stands: &str, id: &str| {
        format!("{CASE},north,{kind},amoxicillin,{value},mg,w,2026,1,{stands},{id}\r\n")
    };
    let doses = |rows: &[String]| {
        let read = csv::read(&(csv::head() + &rows.concat()))
            .unwrap()
            .remove(0);
        let doses = read
            .entries
            .iter()
            .filter(|entry| matches!(entry, Entry::Dose(_)));
        (doses.count(), read.taken_back)
    };
    let [wrong, right] = ["k1", "k2"].map(|id| row("dose", "250", "yes", id));
    assert_eq!(
        doses(&[wrong.clone(), right.clone()]),
        (2, vec![]),
        "the control"
    );
    let back = row("not_given", "spilt", "yes", "k1");
    assert_eq!(
        doses(&[wrong, back, right.clone()]),
        (1, vec!["k1".to_owned()])
    );
    assert_eq!(
        doses(&[row("dose", "250", "no", "k1"), right]),
        (1, vec!["k1".to_owned()])
    );
}
