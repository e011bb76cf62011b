//! Whose a record of another system's is, which dose it is, and of when: files as hospitals write them, one after
//! the other, taken in by a phone.

use clinical::{FindingValue, Urgency};
use node::api::views::case::Case;
use node::api::views::cases::Cases;
use node::api::views::exchange::Imported;
use node::api::{Format, Request, exchange};
use serde_json::{Value, json};
use sim::World;
use sim::screen::Screen;

mod common;
use common::WORKER;
use common::asks::world;

const MRN: &str = "http://hospital.example/mrn";

fn patient(id: &str, more: Value) -> Value {
    let mut patient = json!({
        "resourceType": "Patient", "id": id, "name": [{ "text": "Asha Test" }], "birthDate": "2025-06-15", "gender": "female",
        "identifier": [{ "system": MRN, "value": format!("MRN-{id}") }]
    });
    let fields = patient.as_object_mut().unwrap();
    fields.extend(more.as_object().cloned().unwrap_or_default());
    fields.retain(|_, value| !value.is_null());
    patient
}

fn spo2(id: &str, value: u32, at: &str) -> Value {
    json!({
        "resourceType": "Observation", "id": id, "status": "final", "subject": { "reference": "Patient/p" },
        "code": { "coding": [{ "system": "http://loinc.org", "code": "59408-5" }] }, "effectiveDateTime": at,
        "valueQuantity": { "value": value, "unit": "%", "code": "%" }
    })
}

fn dose(id: &str, amount: f64, unit: &str, at: &str, more: Value) -> Value {
    let mut dose = json!({
        "resourceType": "MedicationAdministration", "id": id, "status": "completed", "subject": { "reference": "Patient/p" },
        "medicationCodeableConcept": { "text": "amoxicillin" }, "effectiveDateTime": at,
        "dosage": { "dose": { "value": amount, "unit": unit } }
    });
    let fields = dose.as_object_mut().unwrap();
    fields.extend(more.as_object().cloned().unwrap_or_default());
    dose
}

fn bundle(resources: &[Value]) -> Value {
    let entries: Vec<_> = resources.iter().map(|r| json!({ "resource": r })).collect();
    json!({ "resourceType": "Bundle", "type": "collection", "entry": entries })
}

fn comes(world: &mut World, file: &str) -> Imported {
    let mut screen = Screen::at(world, WORKER);
    let came = exchange::import(&mut screen, Format::Fhir, file.as_bytes(), (None, false)).unwrap();
    world.restart(WORKER).unwrap(); // no two requests have one number
    came
}

/// Every case here.
fn here(world: &mut World) -> Vec<Case> {
    let mut screen = Screen::at(world, WORKER);
    let cases: Cases = screen.ask(Request::all_cases()).unwrap();
    let ids = cases.cases.into_iter().map(|row| row.case.to_string());
    ids.map(|case| screen.ask(Request::CaseShow { case }).unwrap())
        .collect()
}

/// Cases, and the milligrams of amoxicillin that count in all of them, after these files in a row.
fn after(files: &[Value]) -> (usize, f64) {
    let mut world = world();
    for file in files {
        comes(&mut world, &file.to_string());
    }
    let cases = here(&mut world);
    let given = |case: &Case| case.doses.iter().map(|dose| dose.amount).sum::<f64>();
    (cases.len(), cases.iter().map(given).sum())
}

const AT: &str = "2025-11-20T10:00:00Z";

fn amoxicillin(id: &str, at: &str) -> Value {
    dose(id, 250.0, "mg", at, json!({}))
}

/// One dose however its time and its amount are written, and under whichever name it comes; the control is another
/// hour.
#[test]
fn a_dose_is_known_by_what_was_given_when() {
    let first = bundle(&[patient("p", json!({})), amoxicillin("a", AT)]);
    let then = |dose: Value| after(&[first.clone(), bundle(&[patient("p", json!({})), dose])]);
    for at in [
        "2025-11-20T13:00:00+03:00",
        "2025-11-20T10:00:00.000Z",
        "2025-11-20T10:00Z",
        "2025-11-20T13:00:00+0300",
    ] {
        assert_eq!(then(amoxicillin("b", at)), (1, 250.0), "{at}");
    }
    assert_eq!(then(dose("c", 0.25, "g", AT, json!({}))), (1, 250.0));
    assert_eq!(
        then(amoxicillin("d", "2025-11-20T18:00:00Z")),
        (1, 500.0),
        "the control"
    );
}

/// Doses of one visit, whose number both have first, and of one day: each by its own name.
#[test]
fn two_doses_of_one_visit_or_one_day_are_two() {
    let of_visit = |own: &str| {
        let visit = json!({ "system": "http://h/visit", "value": "V1" });
        json!({ "identifier": [visit, { "system": "http://h/dose", "value": own }] })
    };
    let morning = |own: &str| dose("m", 250.0, "mg", "2025-11-20T08:00:00Z", of_visit(own));
    let evening = |own: &str| dose("e", 250.0, "mg", "2025-11-20T20:00:00Z", of_visit(own));
    let both = |one: Value, other: Value| bundle(&[patient("p", json!({})), one, other]);
    assert_eq!(after(&[both(morning("1"), evening("2"))]), (1, 500.0));
    assert_eq!(
        after(&[both(morning("1"), evening("1"))]),
        (1, 250.0),
        "the control: one name"
    );
    let day = |id: &str| amoxicillin(id, "2025-11-20");
    assert_eq!(after(&[both(day("1"), day("2"))]), (1, 500.0));
    assert_eq!(
        after(&[both(day("1"), day("2")), both(day("1"), day("2"))]),
        (1, 500.0)
    );
    // Under a new name on the day of one that is here: nobody can tell, and a person hears of it.
    let mut world = world();
    let alone = |id: &str| bundle(&[patient("p", json!({})), day(id)]).to_string();
    comes(&mut world, &alone("1"));
    let told = comes(&mut world, &alone("9")).left_out.join("\n");
    assert!(
        told.contains("whether it is that one is not said"),
        "{told}"
    );
}

/// A patient who has got another number since, or whose record has none but the name of the record, is found again.
/// The control is somebody else's number.
#[test]
fn a_patient_is_known_by_any_number() {
    let [mrn, national] = [(MRN, "MRN-p"), ("http://a.example/nid", "77")]
        .map(|(system, value)| json!({ "system": system, "value": value }));
    let of = |identifiers: Value| {
        bundle(&[
            patient("p", json!({ "identifier": identifiers })),
            amoxicillin("m", AT),
        ])
    };
    let first = of(json!([mrn]));
    assert_eq!(
        after(&[first.clone(), of(json!([national, mrn]))]),
        (1, 250.0)
    );
    assert_eq!(
        after(&[
            first.clone(),
            of(json!([national, mrn])),
            of(json!([national]))
        ]),
        (1, 250.0)
    );
    assert_eq!(
        after(&[
            first.clone(),
            of(json!([{ "system": MRN, "value": "MRN-q" }]))
        ]),
        (2, 500.0),
        "the control"
    );
    for weak in [json!([{ "value": "12" }]), Value::Null] {
        let again = of(weak.clone());
        let mut more = again.clone();
        more["entry"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "resource": spo2("o", 97, AT) }));
        assert_eq!(after(&[again, more]), (1, 250.0), "{weak}");
    }
}

/// The name of an export says nothing of whose the records in it are.
#[test]
fn two_patients_of_one_export_are_two() {
    let named = |id: &str, who: Value| {
        let mut bundle = bundle(&[
            patient(id, who),
            dose(
                id,
                250.0,
                "mg",
                AT,
                json!({ "subject": { "reference": format!("Patient/{id}") } }),
            ),
        ]);
        bundle["identifier"] = json!({ "system": "http://hie.example/export", "value": "job-1" });
        bundle
    };
    let nobody = || json!({ "name": null, "identifier": null });
    for who in [json!({}), nobody()] {
        assert_eq!(
            after(&[named("p", who.clone()), named("q", who.clone())]),
            (2, 500.0),
            "{who}"
        );
        assert_eq!(
            after(&[named("p", who.clone()), named("p", who.clone())]),
            (1, 250.0),
            "the control: {who}"
        );
    }
}

/// Twins alike in all, far apart in a long file of bulk data, of which some patients are read at a time.
#[test]
fn twins_far_apart_in_a_long_file_are_two() {
    let mut lines = String::new();
    for n in 0..70 {
        let id = format!("q{n}");
        let who = match n {
            1 | 69 => {
                json!({ "name": [{ "text": "Baby Otieno" }], "identifier": [{ "system": "http://h/mother", "value": "M-1" }] })
            }
            _ => json!({ "name": [{ "text": format!("Kid{n} F{n}") }] }),
        };
        lines += &format!("{}\n", patient(&id, who));
    }
    let of = |id: &str, mut resource: Value| {
        resource["subject"]["reference"] = json!(format!("Patient/{id}"));
        format!("{resource}\n")
    };
    lines += &of("q1", amoxicillin("m", AT));
    lines += &of("q69", spo2("o", 84, AT));
    let mut world = world();
    assert_eq!(comes(&mut world, &lines).new, 70);
    let again = comes(&mut world, &lines);
    assert_eq!((again.new, again.added_to, again.unchanged), (0, 0, 70));
    let both = here(&mut world);
    let mixed = |case: &&Case| !case.doses.is_empty() && case.findings.contains_key("spo2");
    assert_eq!(both.iter().filter(mixed).count(), 0);
}

/// An older file that comes later puts no older measurement before the newer one, and a day may be later than an hour
/// of it. The control is the newer file.
#[test]
fn the_newest_measurement_counts_whenever_it_comes() {
    let of = |value: u32, at: &str| bundle(&[patient("p", json!({})), spo2(at, value, at)]);
    let value = |files: &[Value]| {
        let mut world = world();
        let told: Vec<_> = files
            .iter()
            .map(|file| comes(&mut world, &file.to_string()))
            .collect();
        let case = here(&mut world).remove(0);
        let spo2 = &case.findings["spo2"];
        let told = told
            .into_iter()
            .flat_map(|came| came.left_out)
            .collect::<Vec<_>>();
        (spo2.value.clone(), spo2.standing.len(), told.join("\n"))
    };
    let (old, new) = (
        of(98, "2025-11-01T10:00:00Z"),
        of(84, "2025-11-20T10:00:00Z"),
    );
    let (shown, standing, told) = value(&[new.clone(), old.clone()]);
    assert_eq!((shown, standing), (FindingValue::Number(84.0), 1));
    assert!(
        told.contains("spo2 = 98") && told.contains("the newer counts"),
        "{told}"
    );
    let (_, standing, told) = value(&[old, new]);
    assert_eq!(
        (standing, told.as_str()),
        (2, ""),
        "the control: what differs is a question"
    );
    let day = bundle(&[
        patient("p", json!({})),
        spo2("a", 84, "2025-11-20"),
        spo2("b", 98, "2025-11-20T06:00:00Z"),
    ]);
    assert_eq!(value(&[day]).1, 2, "which was first nobody can tell");
    let before = bundle(&[
        patient("p", json!({})),
        spo2("a", 84, "2025-11-19"),
        spo2("b", 98, "2025-11-20T06:00:00Z"),
    ]);
    assert_eq!(value(&[before]).1, 1, "the control");
}

/// That somebody here does not know a measurement is none: an older one of a file is news. The control is a
/// measurement here.
#[test]
fn not_to_know_is_no_newer_measurement() {
    for (here_says, standing) in [
        ("unknown", FindingValue::Number(84.0)),
        ("97", FindingValue::Number(97.0)),
    ] {
        let mut world = world();
        let first = bundle(&[patient("p", json!({})), amoxicillin("m", AT)]);
        comes(&mut world, &first.to_string());
        let case = here(&mut world).remove(0).case.to_string();
        let words = node::api::CaseWords {
            set: vec![("spo2".into(), here_says.into())],
            ..Default::default()
        };
        let mut screen = Screen::at(&mut world, WORKER);
        screen
            .ask::<Case>(common::asks::add(&case, words, 2))
            .unwrap();
        world.restart(WORKER).unwrap();
        let file = bundle(&[patient("p", json!({})), spo2("o", 84, AT)]);
        comes(&mut world, &file.to_string());
        let case = here(&mut world).remove(0);
        assert_eq!(case.findings["spo2"].value, standing, "{here_says}");
    }
}

/// A dose of before the birth, or still to come, in whatever form the time is.
#[test]
fn a_dose_out_of_its_time_does_not_count() {
    for (at, counts) in [
        ("2025-01-01T00:00:00Z", 0.0),
        ("2031-11-20T10:00:00.000+0000", 0.0),
        ("2031", 0.0),
        ("2025-06-15", 250.0),
    ] {
        let file = bundle(&[patient("p", json!({})), amoxicillin("m", at)]);
        assert_eq!(after(&[file]).1, counts, "{at}");
    }
}

/// Of a birth of which only the year is known the more urgent of the ages that may be counts; without any age, it is
/// told that nothing was judged, and why.
#[test]
fn an_unknown_age_calms_nobody() {
    let ill = |born: Value| {
        let rate = json!({
            "resourceType": "Observation", "id": "r", "status": "final", "subject": { "reference": "Patient/p" },
            "code": { "coding": [{ "system": "http://loinc.org", "code": "9279-1" }] }, "valueQuantity": { "value": 70, "unit": "/min" }
        });
        let indrawing = json!({
            "resourceType": "Observation", "id": "i", "status": "final", "subject": { "reference": "Patient/p" },
            "code": { "coding": [{ "system": "https://kijiti.org/fhir/field", "code": "chest_indrawing" }] }, "valueBoolean": true
        });
        let mut world = world();
        comes(
            &mut world,
            &bundle(&[patient("p", json!({ "birthDate": born })), rate, indrawing]).to_string(),
        );
        here(&mut world).remove(0)
    };
    let known = ill(json!("2024-05-01")).urgency;
    assert!(known >= Some(Urgency::Yellow), "the control");
    for born in ["2024-05", "2024"] {
        assert_eq!(ill(json!(born)).urgency, known, "{born}");
    }
    let ageless = ill(Value::Null);
    assert!(
        ageless.urgency.is_none() && ageless.unjudged.is_some(),
        "{:?}",
        ageless.unjudged
    );
}

/// What came by a file says so, beside whose phone took it in.
#[test]
fn what_came_by_a_file_is_nobody_s_own_word() {
    let mut world = world();
    comes(
        &mut world,
        &bundle(&[
            patient("p", json!({})),
            amoxicillin("m", AT),
            spo2("o", 97, AT),
        ])
        .to_string(),
    );
    let case = here(&mut world).remove(0);
    assert!(case.each_dose[0].from_file && case.findings["spo2"].standing[0].from_file);
    let mut screen = Screen::at(&mut world, WORKER);
    let words = node::api::CaseWords {
        dose: Some("zinc 20 mg".into()),
        ..Default::default()
    };
    let own: Case = screen
        .ask(common::asks::add(&case.case.to_string(), words, 2))
        .unwrap();
    let files: Vec<_> = own.each_dose.iter().map(|dose| dose.from_file).collect();
    assert_eq!(files, [true, false], "the control: what was said here");
}

/// A dose that was taken back where it was given is taken back where it had come by a file, in every form; what
/// somebody here has given no file takes back, and it is told.
#[test]
fn what_is_taken_back_is_taken_back_wherever_it_came_by_a_file() {
    for form in [Format::Fhir, Format::Csv, Format::Ips] {
        let mut worker = world();
        let mut screen = Screen::at(&mut worker, WORKER);
        let new: node::api::views::case::CaseNew =
            screen.ask(common::asks::child("spo2 = 97", 1)).unwrap();
        let id = new.case.to_string();
        let say = |screen: &mut Screen<'_>, words, n| {
            screen
                .ask::<Case>(common::asks::add(&id, words, n))
                .unwrap()
        };
        let share = node::api::CaseWords {
            dose: Some("zinc 20 mg".into()),
            consent: vec![("share".into(), true)],
            ..Default::default()
        };
        let given = say(&mut screen, share, 2);
        let file =
            |screen: &mut Screen<'_>| exchange::export(screen, &[], form, None).unwrap().bytes;
        let before = file(&mut screen);
        let back = node::api::CaseWords {
            not_given: Some(given.each_dose[0].id.clone()),
            reason: "spilt".into(),
            ..Default::default()
        };
        say(&mut screen, back, 3);
        let after = file(&mut screen);
        let mut clinic = common::asks::world();
        let counts = |world: &mut World, bytes: &[u8]| {
            let mut screen = Screen::at(world, WORKER);
            let came = exchange::import(&mut screen, form, bytes, (None, false)).unwrap();
            world.restart(WORKER).unwrap();
            let case = here(world).remove(0);
            (case.doses.len(), came.left_out.join("\n"))
        };
        assert_eq!(counts(&mut clinic, &before).0, 1, "{form:?}: the control");
        assert_eq!(counts(&mut clinic, &after).0, 0, "{form:?}");
        assert_eq!(
            counts(&mut clinic, &before).0,
            0,
            "{form:?}: an older file gives nothing again"
        );
    }
}

/// A patient who is here by another way (a colleague's phone took in the same file) is named where the file makes a case
/// of its own: a person says whether they are one. The control is another day of birth.
#[test]
fn who_may_be_here_already_is_told() {
    for (born, told) in [("2025-06-15", true), ("2025-06-16", false)] {
        let mut world = world();
        let of = |id: &str, born: &str| {
            bundle(&[patient(id, json!({ "birthDate": born })), spo2("o", 97, AT)]).to_string()
        };
        // Under a number and a name of its record that only the other hospital has.
        let elsewhere = of("p", "2025-06-15").replace(MRN, "http://elsewhere.example");
        comes(
            &mut world,
            &elsewhere
                .replace("\"p\"", "\"z\"")
                .replace("Patient/p", "Patient/z"),
        );
        let came = comes(&mut world, &of("p", born));
        assert_eq!(came.new, 1);
        assert_eq!(
            came.left_out.join("\n").contains("may be the same patient"),
            told,
            "{:?}",
            came.left_out
        );
    }
}
