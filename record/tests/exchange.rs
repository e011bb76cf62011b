//! Cases as files: what goes out comes back, and what is damaged says so.

use clinical::{FindingValue, Urgency};
use protocol::{Area, CaseId, DeviceKeys, Digest};
use record::exchange::{ExchangeError, csv, fhir};
use record::{AssessmentEntry, Case, CaseView, DecisionEntry, DoseEntry, Entry, PhotoEntry};
use serde_json::Value;

const ID: CaseId = CaseId([0xab; 16]);

fn keys(n: u8) -> DeviceKeys {
    DeviceKeys::from_seed([n; 32])
}

fn finding(name: &str, value: FindingValue) -> Entry {
    Entry::Finding {
        name: name.into(),
        value,
    }
}

fn text(words: &str) -> FindingValue {
    FindingValue::Text(words.into())
}

/// A case with something of every kind, and one question.
fn full_case() -> Case {
    let mut case = Case::new(ID);
    let begin = [
        finding("patient.name", text("Amina Kazungu")),
        finding("patient.sex", text("female")),
        finding("patient.born", text("2025-12-03")),
        finding("patient.village", text("Mtwapa, \"north\"")),
        finding("patient.caregiver", text("Zawadi")),
        finding("age_months", FindingValue::Number(11.0)),
        finding("chest_indrawing", FindingValue::Yes),
        finding("stiff_neck", FindingValue::No),
        finding("spo2", FindingValue::Unknown),
        finding("temperature", FindingValue::Number(38.6)),
        finding("drinking", text("poor")),
        finding("child_serology", text("not_done")),
        finding("follow_up.date", text("2026-11-27")),
        Entry::consent("share", true),
        Entry::consent("training", false),
        Entry::Assessment(AssessmentEntry {
            urgency: Urgency::Pink,
            rules_fired: vec!["C2 SEVERE PNEUMONIA [2014]".into()],
            differential: vec!["CA40.Z pneumonia 0.71".into(), "1F40.Z malaria 0.12".into()],
            rules: "who-child 2026-11".into(),
            model: "triage-model version 1".into(),
        }),
        Entry::Decision(DecisionEntry {
            urgency: Urgency::Pink,
            agrees: true,
            reason: String::new(),
            plan: "refer to Kilifi".into(),
            rules: "who-child 2026-11".into(),
            model: "triage-model version 1".into(),
            app: "kijiti 0.1.0 (en)".into(),
        }),
        Entry::Dose(DoseEntry {
            medicine: "amoxicillin".into(),
            amount: 250.0,
            unit: "mg".into(),
            route: "oral".into(),
            given: "2026-11-24T09:30:00+03:00".into(),
            origin: String::new(),
        }),
        Entry::Note("the father\ncomes tomorrow".into()),
        Entry::Photo(PhotoEntry {
            blob: Digest([7; 32]),
            key: [8; 32],
            bytes: 90_000,
            shows: "rash".into(),
            camera: "A12".into(),
            light: "daylight".into(),
        }),
    ];
    let first = case.add(&begin, &keys(1), &[1; 16], 1_795_558_495).unwrap();
    let mut other = Case::new(ID);
    other.apply(&first).unwrap();
    let apart = other
        .add(
            &[finding("temperature", FindingValue::Number(36.9))],
            &keys(2),
            &[2; 16],
            1_795_558_500,
        )
        .unwrap();
    case.add(
        &[finding("temperature", FindingValue::Number(38.8))],
        &keys(1),
        &[1; 16],
        1_795_558_600,
    )
    .unwrap();
    case.apply(&apart).unwrap();
    case
}

fn area() -> Area {
    Area::parse("north/kilifi").unwrap()
}

fn resources<'a>(bundle: &'a Value, kind: &str) -> Vec<&'a Value> {
    let entries = bundle["entry"].as_array().unwrap();
    entries
        .iter()
        .map(|e| &e["resource"])
        .filter(|r| r["resourceType"] == kind)
        .collect()
}

/// What a case says, whoever said it and when.
fn said(view: &CaseView) -> Vec<(String, FindingValue)> {
    let pair =
        |(name, state): (&String, &record::FindingState)| (name.clone(), state.value.clone());
    view.findings.iter().map(pair).collect()
}

/// The head of a table in which doses have no names of their own.
const TEN_COLUMNS: &str = "case,area,kind,name,value,unit,said_by,said_at,order,stands\r\n";

#[test]
fn a_bundle_has_every_part_of_the_case_and_unknown_is_not_no() {
    let bundle = fhir::write(&full_case().view(), &area());
    for (kind, count) in [
        ("Patient", 1),
        ("RelatedPerson", 1),
        ("Encounter", 1),
        ("QuestionnaireResponse", 1),
        ("Condition", 1),
        ("RiskAssessment", 1),
        ("ClinicalImpression", 1),
        ("ServiceRequest", 1),
        ("Task", 1),
        ("CarePlan", 1),
        ("MedicationRequest", 1),
        ("MedicationAdministration", 1),
        ("Media", 1),
        ("Consent", 2),
        ("Provenance", 2),
    ] {
        assert_eq!(resources(&bundle, kind).len(), count, "{kind}");
    }
    let of = |name: &str| {
        let named = |r: &&Value| {
            r["code"]["coding"]
                .as_array()
                .unwrap()
                .iter()
                .any(|c| c["code"] == name)
        };
        resources(&bundle, "Observation")
            .into_iter()
            .filter(named)
            .cloned()
            .collect::<Vec<_>>()
    };
    let [spo2] = of("59408-5").try_into().unwrap();
    assert_eq!(spo2["dataAbsentReason"]["coding"][0]["code"], "unknown");
    assert!(spo2.get("valueQuantity").is_none() && spo2.get("valueBoolean").is_none());
    assert_eq!(
        of("child_serology")[0]["dataAbsentReason"]["coding"][0]["code"],
        "not-performed"
    );
    assert_eq!(of("stiff_neck")[0]["valueBoolean"], false);
    assert_eq!(
        of("temperature").len(),
        2,
        "both temperatures of a question"
    );
    assert_eq!(of("temperature")[0]["status"], "preliminary");
    let consents = resources(&bundle, "Consent");
    let types: Vec<_> = consents
        .iter()
        .map(|c| c["provision"]["type"].as_str().unwrap())
        .collect();
    assert_eq!(types, ["permit", "deny"]);
    assert_eq!(
        bundle,
        fhir::write(&full_case().view(), &area()),
        "the same case, the same bundle"
    );
    assert!(
        !bundle.to_string().contains("0808080808"),
        "the photo's key stays here"
    );
}

/// Whether it is told that the second phone spoke of the temperature and of nothing else.
fn who_said_what(imported: &record::exchange::Imported) -> bool {
    let second = format!("phone {} (", keys(2).id().short());
    imported
        .said_by()
        .any(|said| said.starts_with(&second) && said.ends_with("had said: temperature"))
}

#[test]
fn a_dose_taken_back_goes_out_as_an_error_and_is_not_taken_in() {
    let mut case = full_case();
    let dose = case.view().doses[0].key.clone();
    let back = [Entry::NotGiven {
        dose,
        reason: "spilt".into(),
    }];
    case.add(&back, &keys(1), &[1; 16], 1_795_559_000).unwrap();
    let bundle = fhir::write(&case.view(), &area());
    let given = resources(&bundle, "MedicationAdministration");
    assert_eq!(
        (&given[0]["status"], given.len()),
        (&Value::from("entered-in-error"), 1)
    );
    assert!(
        given[0]["note"][0]["text"]
            .as_str()
            .unwrap()
            .contains("spilt")
    );
    let table = csv::head() + &csv::write(&case.view(), &area());
    for imported in [
        fhir::read(&bundle.to_string()).unwrap().remove(0),
        csv::read(&table).unwrap().remove(0),
    ] {
        assert!(
            !imported
                .entries
                .iter()
                .any(|entry| matches!(entry, Entry::Dose(_)))
        );
    }
}

#[test]
fn a_bundle_read_back_says_the_same() {
    let view = full_case().view();
    let imported = fhir::read(&fhir::write(&view, &area()).to_string())
        .unwrap()
        .remove(0);
    assert_eq!(imported.case, Some(ID));
    let mut again = Case::new(ID);
    again.add(&imported.entries, &keys(3), &[3; 16], 5).unwrap();
    let (before, after) = (said(&view), said(&again.view()));
    for pair in &before {
        let asked_anew = ["temperature", "consent.share"].contains(&pair.0.as_str());
        assert!(asked_anew || after.contains(pair), "{} is missing", pair.0);
    }
    let dose = DoseEntry {
        origin: String::new(),
        ..again.view().doses[0].dose.clone()
    };
    assert_eq!(dose, view.doses[0].dose, "route and time too");
    assert!(who_said_what(&imported), "{:?}", imported.said);
    assert_eq!(again.view().decisions[0].1.plan, "refer to Kilifi");
    assert!(
        again
            .view()
            .notes
            .iter()
            .any(|(_, note)| *note == view.notes[0].1)
    );
    assert!(
        imported
            .left_out
            .iter()
            .any(|what| what.starts_with("Media")),
        "a photo's key cannot come back: {:?}",
        imported.left_out
    );
}

#[test]
fn a_bundle_of_another_system_is_read_by_its_codes_and_what_is_unknown_is_listed() {
    let bundle = r#"{"resourceType": "Bundle", "type": "collection", "entry": [
        {"resource": {"resourceType": "Patient", "name": [{"given": ["Juma"], "family": "Said"}], "gender": "male"}},
        {"resource": {"resourceType": "Observation", "id": "o1", "status": "final", "code": {"coding": [{"system": "http://loinc.org", "code": "8328-7"}]},
            "valueQuantity": {"value": 39.1, "code": "Cel"}}},
        {"resource": {"resourceType": "Observation", "id": "o2", "status": "final", "code": {"coding": [{"system": "http://loinc.org", "code": "8328-7"}]},
            "valueQuantity": {"value": 102.4, "code": "K"}}},
        {"resource": {"resourceType": "Immunization", "id": "i1"}}]}"#;
    let imported = fhir::read(bundle).unwrap().remove(0);
    assert!(
        imported
            .entries
            .contains(&finding("temperature", FindingValue::Number(39.1)))
    );
    assert!(
        imported
            .entries
            .contains(&finding("patient.name", text("Juma")))
    );
    let left_out = |what: &str| imported.left_out.iter().any(|said| said.starts_with(what));
    assert!(
        left_out("Observation o2") && left_out("Immunization i1"),
        "{:?}",
        imported.left_out
    );
}

#[test]
fn damaged_bundles_and_tables_are_refused_with_a_reason() {
    let bundle = fhir::write(&full_case().view(), &area()).to_string();
    for end in (0..bundle.len()).step_by(bundle.len() / 50) {
        assert!(
            matches!(fhir::read(&bundle[..end]), Err(ExchangeError::Malformed(_))),
            "cut at {end}"
        );
    }
    assert!(
        fhir::read("{\"resourceType\": \"Observation\"}")
            .unwrap_err()
            .to_string()
            .contains("Bundle")
    );
    assert!(
        fhir::read("{\"resourceType\": \"Bundle\"}")
            .unwrap_err()
            .to_string()
            .contains("nothing")
    );
    let table = csv::head() + &csv::write(&full_case().view(), &area());
    let whole = csv::read(&table).unwrap()[0].entries.len();
    for end in (0..table.len()).filter(|end| table.is_char_boundary(*end)) {
        let read = csv::read(&table[..end]).unwrap_or_default();
        assert!(
            read.iter().all(|imported| imported.entries.len() <= whole),
            "cut at {end}"
        );
    }
}

#[test]
fn a_table_read_back_says_the_same() {
    let view = full_case().view();
    let table = csv::head() + &csv::write(&view, &area());
    let imported = csv::read(&table).unwrap().remove(0);
    assert_eq!(imported.case, Some(ID));
    let mut again = Case::new(ID);
    again.add(&imported.entries, &keys(3), &[3; 16], 5).unwrap();
    let after = said(&again.view());
    for pair in said(&view)
        .iter()
        .filter(|pair| !["temperature", "consent.share"].contains(&pair.0.as_str()))
    {
        assert!(after.contains(pair), "{} is missing", pair.0);
    }
    let dose = DoseEntry {
        origin: String::new(),
        ..again.view().doses[0].dose.clone()
    };
    assert_eq!(dose, view.doses[0].dose, "route and time too");
    assert!(who_said_what(&imported), "{:?}", imported.said);
    assert!(
        table.contains(",no,\r\n"),
        "words that stand no more are marked"
    );
    assert_eq!(
        imported.left_out.len(),
        3,
        "an assessment, a photo and consent: {:?}",
        imported.left_out
    );
}

#[test]
fn what_people_differed_about_is_taken_in_on_the_safe_side_and_consent_to_share_never() {
    let row = |name: &str, value: &str, by: u8| {
        let unit = if name == "temperature" { "Cel" } else { "" };
        format!("{ID},north,finding,{name},{value},{unit},phone {by},2026,1,yes\r\n")
    };
    let rows = [
        row("convulsions", "yes", 1),
        row("convulsions", "no", 2),
        row("consent.photo", "no", 1),
        row("consent.photo", "yes", 2),
        row("consent.share", "yes", 2),
        row("temperature", "34.9", 1),
        row("temperature", "37", 2),
    ];
    let imported = csv::read(&(TEN_COLUMNS.to_owned() + &rows.concat()))
        .unwrap()
        .remove(0);
    let mut case = Case::new(ID);
    case.add(&imported.entries, &keys(3), &[3; 16], 5).unwrap();
    let view = case.view();
    assert_eq!(view.findings["convulsions"].value, FindingValue::Yes);
    assert_eq!(view.findings["consent.photo"].value, FindingValue::No);
    assert!(
        !view.consents("share")
            && imported
                .left_out
                .iter()
                .any(|what| what.contains("consent to share"))
    );
    assert!(
        view.notes
            .iter()
            .any(|(_, note)| note.contains("temperature: 34.9, 37")),
        "{:?}",
        imported.entries
    );
}

fn observation(extra: &str) -> String {
    format!(
        r#"{{"resourceType": "Observation", "status": "final", "code": {{"coding": [{{"system": "http://loinc.org", "code": "3141-9"}}]}},
            "valueQuantity": {{"value": 62, "unit": "kg", "code": "kg"}}, {extra}}}"#
    )
}

fn bundle_of(entries: &[(&str, String)]) -> String {
    let entry = |(url, resource): &(&str, String)| match *url {
        "" => format!(r#"{{"resource": {resource}}}"#),
        url => format!(r#"{{"fullUrl": "{url}", "resource": {resource}}}"#),
    };
    let entries: Vec<_> = entries.iter().map(entry).collect();
    format!(
        r#"{{"resourceType": "Bundle", "type": "collection", "entry": [{}]}}"#,
        entries.join(",")
    )
}

fn baby(id: &str) -> String {
    format!(r#"{{"resourceType": "Patient", "id": "{id}", "name": [{{"text": "Baby"}}]}}"#)
}

/// What is said about somebody else lands in no patient's case: by focus, by words alone, or by an
/// address of another server.
#[test]
fn what_is_about_somebody_else_is_left_out() {
    let weighs = |text: &str| {
        let read = fhir::read(text).unwrap();
        read.iter().any(|i| {
            i.entries
                .iter()
                .any(|e| matches!(e, Entry::Finding { name, .. } if name == "weight"))
        })
    };
    let own = r#""id": "w", "subject": {"reference": "Patient/1"}"#;
    let with = |extra: &str| bundle_of(&[("", baby("1")), ("", observation(extra))]);
    let adult = observation(own).replace("\"value\": 62", "\"value\": 22");
    assert!(
        weighs(&bundle_of(&[("", baby("1")), ("", adult.clone())])),
        "the control"
    );
    for other in [
        r#""id": "w", "subject": {"reference": "Patient/1"}, "focus": [{"reference": "Patient/mother"}]"#,
        r#""id": "w", "subject": {"display": "Mama Test (mother)"}"#,
        r#""id": "w", "subject": {"identifier": {"value": "MOTHER"}}"#,
        r#""id": "w", "subject": {"reference": "Patient/9"}"#,
    ] {
        let text = with(other).replace("\"value\": 62", "\"value\": 22");
        assert!(!weighs(&text), "{other}");
        assert!(
            fhir::read(&text)
                .unwrap()
                .iter()
                .any(|i| !i.left_out.is_empty()),
            "{other} is not listed"
        );
    }
    // Two servers, one id; and an address that is on neither.
    let two = [
        ("http://a/Patient/1", baby("1")),
        ("http://b/Patient/1", baby("1").replace("Baby", "Mother")),
        ("http://b/Observation/w", adult.clone()),
    ];
    let read = fhir::read(&bundle_of(&two)).unwrap();
    let has = |n: usize| {
        read[n]
            .entries
            .iter()
            .any(|e| matches!(e, Entry::Finding { name, .. } if name == "weight"))
    };
    assert!(read.len() == 2 && !has(0) && has(1));
    let far = adult.replace("Patient/1", "http://elsewhere/Patient/1");
    assert!(!weighs(&bundle_of(&[
        ("http://a/Patient/1", baby("1")),
        ("http://a/Observation/w", far)
    ])));
    let several = bundle_of(&[
        ("", adult.clone()),
        (
            "",
            adult
                .replace("Patient/1", "Patient/2")
                .replace("\"w\"", "\"v\""),
        ),
    ]);
    assert!(
        fhir::read(&several)
            .unwrap_err()
            .to_string()
            .contains("several patients")
    );
}

#[test]
fn what_stands_twice_and_not_alike_is_taken_from_neither_and_histories_are_refused() {
    let dose = |amount: u32, status: &str| {
        format!(
            r#"{{"resourceType": "MedicationAdministration", "id": "d1", "status": "{status}", "subject": {{"reference": "Patient/1"}},
                "medicationCodeableConcept": {{"text": "amoxicillin"}}, "dosage": {{"dose": {{"value": {amount}, "unit": "mg"}}}}}}"#
        )
    };
    let doses = |entries: &[(&str, String)]| {
        let read = fhir::read(&bundle_of(entries)).unwrap().remove(0);
        (
            read.entries
                .iter()
                .filter(|e| matches!(e, Entry::Dose(_)))
                .count(),
            read.left_out.len(),
        )
    };
    let url = "http://a/MedicationAdministration/d1";
    assert_eq!(
        doses(&[("", baby("1")), (url, dose(250, "completed"))]).0,
        1
    );
    assert_eq!(
        doses(&[
            ("", baby("1")),
            (url, dose(250, "completed")),
            (url, dose(250, "completed"))
        ])
        .0,
        1,
        "alike"
    );
    for second in [dose(2500, "completed"), dose(250, "entered-in-error")] {
        for url in [url, ""] {
            let (taken, left_out) = doses(&[
                ("", baby("1")),
                (url, dose(250, "completed")),
                (url, second.clone()),
            ]);
            assert!(taken == 0 && left_out >= 2, "{url:?} {second}");
        }
    }
    for kind in ["history", "transaction", "batch"] {
        let text = bundle_of(&[("", baby("1"))]).replace("collection", kind);
        assert!(fhir::read(&text).unwrap_err().to_string().contains(kind));
    }
}

#[test]
fn units_that_contradict_each_other_compound_doses_and_other_sites_are_not_guessed_at() {
    let left_out = |text: &str| fhir::read(text).unwrap()[0].left_out.len();
    let own = r#""id": "w", "subject": {"reference": "Patient/1"}"#;
    let pounds = observation(own).replace(
        "\"value\": 62, \"unit\": \"kg\"",
        "\"value\": 22, \"unit\": \"lb\"",
    );
    assert_eq!(left_out(&bundle_of(&[("", baby("1")), ("", pounds)])), 1);
    let warm = observation(own).replace("3141-9", "8310-5").replace(
        "\"value\": 62, \"unit\": \"kg\", \"code\": \"kg\"",
        "\"value\": 35.8, \"unit\": \"Cel\"",
    );
    let at = |site: &str| {
        let said = warm.replace(
            "\"id\": \"w\"",
            &format!("\"id\": \"w\", \"bodySite\": {{\"text\": \"{site}\"}}"),
        );
        let read = fhir::read(&bundle_of(&[("", baby("1")), ("", said)]))
            .unwrap()
            .remove(0);
        read.entries.iter().find_map(|e| match e {
            Entry::Finding { name, .. } if name.starts_with("temperature") => Some(name.clone()),
            _ => None,
        })
    };
    assert_eq!(
        ["Rectum", "Axilla", "Ear"].map(at),
        [
            Some("temperature_rectal".into()),
            Some("temperature".into()),
            None
        ]
    );
    assert_eq!(
        record::exchange::units::plausible_dose("gentamicin", 5.0, "mg/kg"),
        None
    );
}

/// Two doses that say neither when nor by what name they were given would be taken for one.
#[test]
fn doses_without_time_and_name_are_listed_and_not_folded_into_one() {
    let dose = |id: &str| {
        format!(
            r#"{{"resourceType": "MedicationAdministration", {id} "status": "completed", "subject": {{"reference": "Patient/1"}},
                "medicationCodeableConcept": {{"text": "amoxicillin"}}, "dosage": {{"dose": {{"value": 250, "unit": "mg"}}}}}}"#
        )
    };
    let read = |ids: [&str; 2]| {
        let doses = ids.map(|id| ("", dose(id)));
        let read = fhir::read(&bundle_of(
            &[vec![("", baby("1"))], doses.to_vec()].concat(),
        ));
        let read = read.unwrap().remove(0);
        let taken = read.entries.iter().filter(|e| matches!(e, Entry::Dose(_)));
        (taken.count(), read.left_out.len())
    };
    assert_eq!(read(["", ""]), (0, 2));
    assert_eq!(
        read([r#""id": "a","#, r#""id": "b","#]),
        (2, 0),
        "the control"
    );
}

#[test]
fn codes_that_name_two_things_and_doses_beyond_their_medicine_are_left_out() {
    let own = r#""id": "w", "subject": {"reference": "Patient/1"}"#;
    let weighs = |codings: &str| {
        let said = observation(own).replace("\"value\": 62", "\"value\": 22");
        let said = said.replace(
            r#"{"system": "http://loinc.org", "code": "3141-9"}"#,
            codings,
        );
        let read = fhir::read(&bundle_of(&[("", baby("1")), ("", said)]))
            .unwrap()
            .remove(0);
        let taken = read
            .entries
            .iter()
            .any(|e| matches!(e, Entry::Finding { name, .. } if name == "weight"));
        assert_eq!(read.left_out.is_empty(), taken, "{:?}", read.left_out);
        taken
    };
    let loinc = |code: &str| format!(r#"{{"system": "http://loinc.org", "code": "{code}"}}"#);
    assert!(
        weighs(&[loinc("3141-9"), loinc("29463-7")].join(",")),
        "two codes of one measurement"
    );
    assert!(
        !weighs(&[loinc("3141-9"), loinc("8302-2")].join(",")),
        "weight and height"
    );

    let dose = |medicine: &str, dose: &str| {
        let given = format!(
            r#"{{"resourceType": "MedicationAdministration", "id": "d1", "status": "completed", "subject": {{"reference": "Patient/1"}},
                "medicationCodeableConcept": {{"text": "{medicine}"}}, "dosage": {{"dose": {dose}}}}}"#
        );
        let read = fhir::read(&bundle_of(&[("", baby("1")), ("", given)]))
            .unwrap()
            .remove(0);
        read.entries.into_iter().find_map(|entry| match entry {
            Entry::Dose(dose) => Some((dose.amount, dose.unit)),
            _ => None,
        })
    };
    assert_eq!(
        dose("Zinc", r#"{"value": 20, "unit": "MG", "code": "mg"}"#),
        Some((20.0, "mg".into()))
    );
    assert_eq!(
        dose("Zinc", r#"{"value": 1, "unit": "tablet", "code": "{tbl}"}"#),
        Some((1.0, "tablet".into()))
    );
    for wrong in [
        r#"{"value": 20, "unit": "g"}"#,
        r#"{"value": 0.02, "unit": "mg"}"#,
        r#"{"value": 20, "unit": "mg", "code": "g"}"#,
        r#"{"value": 20}"#,
    ] {
        assert_eq!(dose("Zinc", wrong), None, "{wrong}");
    }
}

/// An observation of oxygen saturation: its time and its value, as FHIR has them.
fn oxygen(id: &str, at: &str, value: &str) -> String {
    let at = if at.is_empty() {
        String::new()
    } else {
        format!(r#""effectiveDateTime": "{at}","#)
    };
    format!(
        r#"{{"resourceType": "Observation", "id": "{id}", "status": "final", {at} "subject": {{"reference": "Patient/1"}},
            "code": {{"coding": [{{"system": "http://loinc.org", "code": "59408-5"}}]}}, "valueQuantity": {value}}}"#
    )
}

#[test]
fn the_newest_measurement_is_found_by_time_and_what_cannot_be_ordered_or_read_stands_beside() {
    let said = |observations: &[String]| -> Vec<String> {
        let entries: Vec<_> = observations.iter().map(|text| ("", text.clone())).collect();
        let read = fhir::read(&bundle_of(&[vec![("", baby("1"))], entries].concat()))
            .unwrap()
            .remove(0);
        let words = read.entries.iter().filter_map(|e| match e {
            Entry::Finding { name, value } if name == "spo2" => Some(value.words()),
            _ => None,
        });
        words.collect()
    };
    let percent = |n: u32| format!(r#"{{"value": {n}, "unit": "%", "code": "%"}}"#);
    // Half past eleven at night in UTC is later than one in the morning in Nairobi.
    let (late, early) = ("2026-11-23T23:30:00Z", "2026-11-24T01:00:00.000+03:00");
    assert_eq!(
        said(&[
            oxygen("a", late, &percent(84)),
            oxygen("b", early, &percent(97))
        ]),
        ["84"]
    );
    assert_eq!(
        said(&[
            oxygen("b", early, &percent(97)),
            oxygen("a", late, &percent(84))
        ]),
        ["84"]
    );
    for when in [late, "yesterday", ""] {
        let both = said(&[
            oxygen("a", late, &percent(84)),
            oxygen("b", when, &percent(97)),
        ]);
        assert_eq!(both.len(), 2, "{when:?}: {both:?}");
    }
    let bound = r#"{"value": 90, "comparator": "<", "unit": "%"}"#;
    assert_eq!(
        said(&[oxygen("a", early, &percent(97)), oxygen("b", late, bound)]),
        ["97", "<90 %"]
    );
    assert_eq!(
        said(&[oxygen("a", late, &percent(97)), oxygen("b", early, bound)]),
        ["97"],
        "the bound is older"
    );
}

#[test]
fn modifiers_contained_words_and_statuses_around_a_resource_count_too() {
    let sign = r#"{"resourceType": "Observation", "id": "o", "status": "final", "subject": {"reference": "Patient/1"},
        "code": {"coding": [{"system": "https://kijiti.org/fhir/field", "code": "convulsions"}]}, "valueBoolean": true}"#;
    let taken = |text: &str| {
        fhir::read(text).unwrap().iter().flat_map(|i| i.entries.clone()).any(
                |entry| matches!(entry, Entry::Finding { name, value: FindingValue::Yes } if name == "convulsions"),
            )
    };
    let whole = bundle_of(&[("", baby("1")), ("", sign.into())]);
    assert!(taken(&whole), "the control");
    assert!(
        taken(&whole.replace("\"code\": \"convulsions\"", "\"code\": \"Convulsions\"")),
        "our field, however it is written"
    );
    let unknown = whole.replace("\"code\": \"convulsions\"", "\"code\": \"Fits\"");
    assert!(
        !fhir::read(&unknown).unwrap()[0].left_out.is_empty(),
        "no field of ours"
    );
    let modifier = r#""modifierExtension": [{"url": "http://x/absent", "valueBoolean": true}], "#;
    for key in [modifier, r#""implicitRules": "http://x/negated", "#] {
        assert!(
            fhir::read(&whole.replacen(
                "{\"resourceType\": \"Bundle\"",
                &format!("{{{key}\"resourceType\": \"Bundle\""),
                1
            ))
            .is_err()
        );
    }
    let entry = format!(r#"{{"resource": {sign}}}"#);
    for around in [
        modifier,
        r#""response": {"status": "404 Not Found"}, "#,
        r#""request": {"method": "delete"}, "#,
    ] {
        let text = whole.replace(&entry, &format!("{{{around}\"resource\": {sign}}}"));
        assert!(
            text != whole && !taken(&text) && !fhir::read(&text).unwrap()[0].left_out.is_empty(),
            "{around}"
        );
    }
    for (from, to) in [
        (
            "\"valueBoolean\": true",
            "\"valueBoolean\": true, \"valueString\": \"no\"",
        ),
        ("final", "entered-in-error"),
    ] {
        assert!(!taken(&whole.replace(from, to)), "{to}");
    }
    let inside = baby("1").replacen('{', &format!("{{\"contained\": [{sign}], "), 1);
    let read = fhir::read(&bundle_of(&[("", inside)])).unwrap();
    assert!(
        read[0]
            .left_out
            .iter()
            .any(|why| why.contains("within another")),
        "{:?}",
        read[0].left_out
    );
    let composition = r#"{"resourceType": "Composition", "status": "entered-in-error"}"#;
    assert!(
        fhir::read(&bundle_of(&[
            ("", baby("1")),
            ("", sign.into()),
            ("", composition.into())
        ]))
        .is_err()
    );
    assert!(fhir::read(&whole.replace("collection", "Transaction")).is_err());
    // A patient that only lies within what speaks of him is one, with his name.
    let contained = sign
        .replacen('{', &format!("{{\"contained\": [{}], ", baby("p")), 1)
        .replace("Patient/1", "#p");
    let read = fhir::read(&bundle_of(&[("", contained)]))
        .unwrap()
        .remove(0);
    assert!(
        read.entries
            .contains(&finding("patient.name", text("Baby"))),
        "{:?}",
        read.entries
    );
    // Two who are alike are two.
    let twins = fhir::read(&bundle_of(&[("", baby("1")), ("", baby("2"))])).unwrap();
    assert!(twins.len() == 2 && twins[0].known_as != twins[1].known_as);
}

#[test]
fn a_dose_is_one_however_often_and_by_whatever_name_it_is_said() {
    let dose = |id: &str, amount: u32, more: &str| {
        format!(
            r#"{{"resourceType": "MedicationAdministration", "id": "{id}", "status": "completed", "subject": {{"reference": "Patient/1"}}, {more}
                "effectiveDateTime": "2026-11-24T09:00:00Z", "medicationCodeableConcept": {{"text": "amoxicillin"}},
                "dosage": {{"dose": {{"value": {amount}, "unit": "mg"}}}}}}"#
        )
    };
    let count = |doses: &[String]| {
        let entries: Vec<_> = doses.iter().map(|text| ("", text.clone())).collect();
        let read = fhir::read(&bundle_of(&[vec![("", baby("1"))], entries].concat()))
            .unwrap()
            .remove(0);
        let doses = read
            .entries
            .iter()
            .filter(|e| matches!(e, Entry::Dose(_)))
            .count();
        (doses, read.left_out.len())
    };
    assert_eq!(
        count(&[dose("s1", 250, ""), dose("s2", 125, "")]),
        (2, 0),
        "the control"
    );
    assert_eq!(
        count(&[dose("s1", 250, ""), dose("s2", 250, "")]),
        (1, 1),
        "the same at the same time"
    );
    let named = r#""identifier": [{"value": "D-77"}],"#;
    assert_eq!(
        count(&[dose("s1", 250, named), dose("s2", 125, named)]),
        (1, 1),
        "one name"
    );
    assert_eq!(
        count(&[
            dose("s1", 250, ""),
            dose("s2", 125, r#""partOf": [{"reference": "x"}],"#)
        ]),
        (1, 1),
        "a part"
    );
    let row = |value: &str, by: &str, kind: &str| {
        format!("{ID},north,{kind},amoxicillin,{value},mg,{by},2026,1,yes\r\n")
    };
    let doses = |rows: &[String]| {
        let read = csv::read(&(TEN_COLUMNS.to_owned() + &rows.concat()))
            .unwrap()
            .remove(0);
        (
            read.entries
                .iter()
                .filter(|e| matches!(e, Entry::Dose(_)))
                .count(),
            read.left_out.len(),
        )
    };
    assert_eq!(
        doses(&[row("250", "phone 1", "dose")]),
        (1, 0),
        "the control"
    );
    assert_eq!(
        doses(&[row("250", "", "dose")]),
        (0, 1),
        "who said it, and when it was given, is not said"
    );
    assert_eq!(
        doses(&[
            row("250", "phone 1", "dose"),
            row("spilt", "phone 1", "not_given")
        ])
        .0,
        0
    );
}
