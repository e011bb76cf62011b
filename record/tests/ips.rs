//! Patient summaries: whole documents whose parts all hang together, that name no allergy that nobody has, and that
//! come back as the same case.

use std::collections::{BTreeMap, BTreeSet};

use clinical::FindingValue;
use protocol::{Area, CaseId, DeviceKeys};
use record::exchange::fhir;
use record::{Case, DoseEntry, Entry};
use serde_json::Value;

const ID: CaseId = CaseId([0xab; 16]);
const NO_ALLERGY: &str = "716186003";

fn finding(name: &str, value: FindingValue) -> Entry {
    let name = name.into();
    Entry::Finding { name, value }
}

fn text(name: &str, words: &str) -> Entry {
    finding(name, FindingValue::Text(words.into()))
}

fn add(case: &mut Case, by: u8, at_s: u64, entries: &[Entry]) -> Vec<Vec<u8>> {
    let keys = DeviceKeys::from_seed([by; 32]);
    case.add(entries, &keys, &[by; 16], at_s).unwrap()
}

fn case_of(entries: &[Entry]) -> Case {
    let mut case = Case::new(ID);
    add(&mut case, 1, 1_795_558_495, entries);
    case
}

fn summary(case: &Case) -> Value {
    fhir::write_ips(&case.view(), &Area::parse("north/kilifi").unwrap())
}

fn entries(bundle: &Value) -> Vec<&Value> {
    bundle["entry"].as_array().unwrap().iter().collect()
}

fn resources<'a>(bundle: &'a Value, kind: &str) -> Vec<&'a Value> {
    let resources = entries(bundle).into_iter().map(|entry| &entry["resource"]);
    resources.filter(|r| r["resourceType"] == kind).collect()
}

fn section<'a>(bundle: &'a Value, code: &str) -> &'a Value {
    let sections = bundle["entry"][0]["resource"]["section"]
        .as_array()
        .unwrap();
    let found = sections
        .iter()
        .find(|s| s["code"]["coding"][0]["code"] == code);
    found.unwrap_or(&Value::Null)
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields {
                match inner.as_str().filter(|_| key == "reference") {
                    Some(reference) => drop(found.insert(reference.to_owned())),
                    None => references(inner, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|inner| references(inner, found)),
        _ => {}
    }
}

fn full() -> Case {
    let dose = DoseEntry {
        medicine: "amoxicillin".into(),
        amount: 250.0,
        unit: "mg".into(),
        ..DoseEntry::default()
    };
    case_of(&[
        text("patient.name", "Amina"),
        text("patient.caregiver", "Zawadi"),
        text("allergies", "penicillin"),
        text("medicines_now", "iron"),
        finding("temperature", FindingValue::Number(38.6)),
        finding("bp_systolic", FindingValue::Number(120.0)),
        finding("bp_diastolic", FindingValue::Number(80.0)),
        text("malaria_test", "positive"),
        Entry::consent("care", true),
        Entry::Dose(dose),
        Entry::Note("comes tomorrow".into()),
    ])
}

#[test]
fn all_parts_of_a_document_are_reached_from_its_composition() {
    let bundle = summary(&full());
    assert_eq!(bundle["type"], "document");
    assert_eq!(
        bundle["entry"][0]["resource"]["resourceType"],
        "Composition"
    );
    let by_url: BTreeMap<&str, &Value> = entries(&bundle)
        .into_iter()
        .map(|entry| (entry["fullUrl"].as_str().unwrap(), &entry["resource"]))
        .collect();
    assert_eq!(
        by_url.len(),
        entries(&bundle).len(),
        "each has a name of its own"
    );
    let mut open = vec![bundle["entry"][0]["fullUrl"].as_str().unwrap().to_owned()];
    let mut reached = BTreeSet::new();
    while let Some(url) = open.pop() {
        let resource = by_url
            .get(url.as_str())
            .unwrap_or_else(|| panic!("{url} is not in it"));
        if reached.insert(url) {
            let mut named = BTreeSet::new();
            references(resource, &mut named);
            open.extend(named);
        }
    }
    let left: Vec<_> = by_url
        .iter()
        .filter(|(url, _)| !reached.contains(**url))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_is_known_stands_in_its_section_and_what_is_not_is_said() {
    let bundle = summary(&full());
    for (code, held) in [
        ("48765-2", 1),
        ("10160-0", 2),
        ("8716-3", 4),
        ("30954-2", 1),
        ("29549-3", 1),
    ] {
        let entries = section(&bundle, code)["entry"]
            .as_array()
            .map_or(0, Vec::len);
        assert_eq!(entries, held, "{code}: {}", section(&bundle, code));
    }
    let patient = resources(&bundle, "Patient")[0];
    assert!(patient["name"][0]["text"] == "Amina" && patient["_birthDate"].is_object());
    let bare = summary(&case_of(&[finding("fever", FindingValue::Yes)]));
    for code in ["48765-2", "10160-0", "11450-4"] {
        assert!(section(&bare, code)["emptyReason"].is_object(), "{code}");
    }
    assert!(
        section(&bare, "8716-3").is_null(),
        "the control: this one is not wanted"
    );
    assert!(resources(&bare, "Patient")[0]["name"][0]["extension"].is_array());
}

#[test]
fn only_words_that_deny_and_nothing_else_say_that_there_is_no_allergy() {
    let said = |words: &str| {
        let bundle = summary(&case_of(&[text("allergies", words)]));
        let allergies = resources(&bundle, "AllergyIntolerance");
        let codes = allergies
            .iter()
            .map(|a| a["code"]["coding"][0]["code"].as_str());
        codes
            .map(|code| code.map(str::to_owned))
            .collect::<Vec<_>>()
    };
    for none in ["none", "No known allergies", " nkda "] {
        assert_eq!(said(none), [Some(NO_ALLERGY.to_owned())], "{none}");
    }
    for named in [
        "penicillin",
        "none, but penicillin",
        "Nilutamide",
        "no penicillin",
    ] {
        assert_eq!(said(named), [None], "{named}");
    }
    assert!(said("not known").is_empty());
    // Two who differ: what one of them names is one, and the other's "none" is none.
    let mut case = case_of(&[text("patient.name", "Amina")]);
    let mut other = Case::load(ID, &case.save()).unwrap();
    add(&mut case, 1, 1_795_558_600, &[text("allergies", "none")]);
    let apart = add(
        &mut other,
        2,
        1_795_558_601,
        &[text("allergies", "penicillin")],
    );
    case.apply(&apart).unwrap();
    let bundle = summary(&case);
    let allergies = resources(&bundle, "AllergyIntolerance");
    assert_eq!(allergies.len(), 1);
    assert_eq!(allergies[0]["code"]["text"], "penicillin");
}

#[test]
fn a_document_is_named_by_what_it_says_and_its_case_by_the_composition() {
    let mut case = full();
    let first = summary(&case);
    assert_eq!(
        first,
        summary(&full()),
        "the same case is the same document"
    );
    let dose = case.view().doses[0].key.clone();
    let reason = "spilt".to_owned();
    add(
        &mut case,
        1,
        1_795_559_000,
        &[Entry::NotGiven { dose, reason }],
    );
    let second = summary(&case);
    assert_ne!(first["identifier"], second["identifier"]);
    let of = |bundle: &Value| bundle["entry"][0]["resource"]["identifier"].clone();
    assert_eq!(of(&first), of(&second));
    // What was taken back is in no section of what holds.
    assert!(section(&second, "29549-3").is_null());
    assert_eq!(
        section(&second, "10160-0")["entry"]
            .as_array()
            .unwrap()
            .len(),
        1,
        "iron"
    );
    let read = fhir::read(&second.to_string()).unwrap();
    assert_eq!((read.len(), read[0].case), (1, Some(ID)));
    assert!(
        read[0].left_out.iter().all(|why| why.contains("consent")),
        "{:?}",
        read[0].left_out
    );
    let allergies = read[0].entries.iter().filter_map(Entry::word);
    let allergies: Vec<_> = allergies.filter(|(name, _)| *name == "allergies").collect();
    assert_eq!(allergies.len(), 1, "said in both forms, it is one word");
}
