//! Cases for rigs: `cases write FOLDER` writes a case as an Automerge document and as a FHIR
//! bundle; `cases read FILE` opens a document that another program wrote or changed, and prints
//! what it says.

#![allow(clippy::disallowed_methods)] // a rig's tool touches files

use std::path::Path;

use clinical::{FindingValue, Urgency};
use protocol::{Area, CaseId, DeviceKeys};
use record::exchange::fhir;
use record::{AssessmentEntry, Case, DecisionEntry, DoseEntry, Entry, PhotoEntry};

type Fail = Box<dyn std::error::Error>;

const ID: CaseId = CaseId([0xab; 16]);

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
fn case() -> Result<Case, Fail> {
    let assessment = AssessmentEntry {
        urgency: Urgency::Pink,
        rules_fired: vec!["C2 SEVERE PNEUMONIA [2014]".into()],
        differential: vec!["CA40.Z pneumonia 0.71".into()],
        rules: "who-child 2026-11".into(),
        model: "triage-model version 1".into(),
    };
    let decision = DecisionEntry {
        urgency: Urgency::Pink,
        agrees: false,
        reason: "looks worse".into(),
        plan: "refer to Kilifi".into(),
        rules: assessment.rules.clone(),
        model: assessment.model.clone(),
        app: "kijiti 0.1.0 (en)".into(),
    };
    let dose = |amount| {
        Entry::Dose(DoseEntry {
            medicine: "amoxicillin".into(),
            amount,
            unit: "mg".into(),
            route: "oral".into(),
            given: "2026-11-24T09:30:00+03:00".into(),
            origin: String::new(),
        })
    };
    let begin = [
        finding("patient.name", text("Amina Kazungu")),
        finding("patient.national_id", text("31-77")),
        finding("patient.sex", text("female")),
        finding("patient.born", text("2025-12")),
        finding("patient.village", text("Mtwapa")),
        finding("patient.caregiver", text("Zawadi")),
        finding("patient.caregiver_phone", text("0700 000 000")),
        finding("age_months", FindingValue::Number(11.0)),
        finding("chest_indrawing", FindingValue::Yes),
        finding("stiff_neck", FindingValue::No),
        finding("spo2", FindingValue::Unknown),
        finding("temperature", FindingValue::Number(38.6)),
        finding("drinking", text("poor")),
        finding("child_serology", text("not_done")),
        finding("follow_up.date", text("2026-11-27")),
        Entry::consent("care", true),
        Entry::consent("share", true),
        Entry::consent("training", false),
        Entry::Assessment(assessment),
        Entry::Decision(decision),
        dose(250.0),
        dose(2500.0),
        Entry::Note("the father comes tomorrow".into()),
        Entry::Photo(PhotoEntry {
            blob: protocol::Digest([7; 32]),
            key: [8; 32],
            bytes: 90_000,
            shows: "rash".into(),
            camera: "A12".into(),
            light: "daylight".into(),
        }),
    ];
    let [worker, clinic] = [1, 2].map(|n| DeviceKeys::from_seed([n; 32]));
    let mut case = Case::new(ID);
    let first = case.add(&begin, &worker, &[1; 16], 1_795_554_895)?;
    let mut other = Case::new(ID);
    other.apply(&first)?;
    let apart = other.add(
        &[finding("temperature", FindingValue::Number(36.9))],
        &clinic,
        &[2; 16],
        1_795_554_900,
    )?;
    case.add(
        &[finding("temperature", FindingValue::Number(38.8))],
        &worker,
        &[1; 16],
        1_795_554_999,
    )?;
    case.apply(&apart)?;
    let wrong = case
        .view()
        .doses
        .iter()
        .find(|given| given.dose.amount > 1000.0)
        .map(|given| given.key.clone());
    let back = Entry::NotGiven {
        dose: wrong.unwrap_or_default(),
        reason: "a nought too many".into(),
    };
    case.add(&[back], &worker, &[1; 16], 1_795_555_000)?;
    Ok(case)
}

fn main() -> Result<(), Fail> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["write", folder] => {
            let mut case = case()?;
            std::fs::write(Path::new(folder).join("case.automerge"), case.save())?;
            let bundle = fhir::write(&case.view(), &Area::parse("north/kilifi")?);
            std::fs::write(
                Path::new(folder).join("case.fhir.json"),
                format!("{bundle:#}\n"),
            )?;
        }
        ["read", file] => {
            let view = Case::load(ID, &std::fs::read(file)?)?.view();
            for (name, state) in &view.findings {
                println!("{name} {} {}", state.said.len(), state.disputed);
            }
            println!("entries {}", view.entry_count());
            println!("unknown {}", view.newer.len());
        }
        _ => return Err("usage: cases write FOLDER, or cases read FILE".into()),
    }
    Ok(())
}
