//! One vocabulary: the field catalogue, the rule pack, FHIR's codes and the terminal's forms name the
//! same fields and mean the same by them.

use clinical::catalogue::{self, FIELDS, Patient};
use clinical::{AgeGroup, FindingValue, Kind, Profile};
use inference::RulePack;
use inference::rules::FindingKind;
use protocol::{Area, CaseId, DeviceKeys};
use record::exchange::fhir;
use record::{Case, Entry};
use serde_json::Value;

/// A value that a field can have.
fn some_value(kind: Kind) -> FindingValue {
    match kind {
        Kind::Flag => FindingValue::Yes,
        Kind::Number(min, max, _) => FindingValue::Number(f64::midpoint(min, max).floor()),
        Kind::Choice(words) => FindingValue::Text(words[0].into()),
        Kind::Text => FindingValue::Text("as it was said".into()),
        Kind::Date => FindingValue::Text("2026-02-28".into()),
    }
}

#[test]
fn every_finding_of_the_pack_is_a_field_and_means_what_the_field_means() {
    let pack = RulePack::built_in().unwrap();
    for finding in pack.findings() {
        let field = catalogue::field(&finding.id);
        let field = field.unwrap_or_else(|| panic!("{} is in no catalogue", finding.id));
        assert_eq!(finding.code, field.code, "{}", finding.id);
        match (&finding.kind, field.kind) {
            (FindingKind::Flag, Kind::Flag) => {}
            (FindingKind::Number { min, max, unit }, Kind::Number(least, most, ucum)) => {
                assert!(least <= *min && *max <= most, "{}", finding.id);
                assert_eq!(unit, catalogue::unit_spoken(ucum), "{}", finding.id);
            }
            (FindingKind::Choice(words), Kind::Choice(known)) => assert_eq!(words, known),
            (kind, field) => panic!("{}: {kind:?} is no {field:?}", finding.id),
        }
        if let (Some((least, most)), FindingKind::Number { min, max, .. }) =
            (finding.usual, &finding.kind)
        {
            assert!(
                *min <= least && least < most && most <= *max,
                "{}",
                finding.id
            );
        }
    }
}

#[test]
fn every_question_of_the_terminal_is_a_field() {
    let pack = RulePack::built_in().unwrap();
    for profile in Profile::ALL {
        for group in AgeGroup::ALL {
            let asked = pack.questions(profile, group);
            assert!(asked.len() > 10, "{profile:?} {group:?}");
            assert!(
                asked
                    .iter()
                    .all(|spec| catalogue::field(&spec.id).is_some())
            );
        }
    }
    for form in [Patient::Pregnancy, Patient::Adult] {
        let unknown = form
            .asked(clinical::Profile::Imci)
            .iter()
            .find(|name| catalogue::field(name).is_none());
        assert_eq!(unknown, None, "{form:?}");
    }
    for field in FIELDS {
        assert!(
            !app::ask::kind_in_words(field.kind).is_empty(),
            "{}",
            field.name
        );
    }
}

/// Each field goes out with its code and unit, and comes back as the same field with the same value.
#[test]
fn every_field_goes_through_fhir_under_its_code_and_unit() {
    let area = Area::parse("north/kilifi").unwrap();
    for field in FIELDS {
        let value = some_value(field.kind);
        let mut case = Case::new(CaseId([7; 16]));
        let entry = Entry::Finding {
            name: field.name.into(),
            value: value.clone(),
        };
        // A bundle says something of a patient beside the consent, or it is not worth reading.
        let beside = Entry::Note("as it was found".into());
        case.add(
            &[entry, beside],
            &DeviceKeys::from_seed([1; 32]),
            &[1; 16],
            1_795_554_895,
        )
        .unwrap();
        let bundle = fhir::write(&case.view(), &area);
        let text = bundle.to_string();
        let codes = |resource: &Value| resource["code"]["coding"].as_array().cloned();
        let observed = bundle["entry"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| &entry["resource"]);
        let coded = observed.filter_map(codes).flatten();
        let own: Vec<Value> = coded
            .filter(|coding| coding["system"] == "http://loinc.org")
            .map(|coding| coding["code"].clone())
            .collect();
        if !own.is_empty() {
            assert!(
                own.iter().all(|code| code == field.code),
                "{}: {own:?}",
                field.name
            );
        }
        if let Kind::Number(_, _, unit) = field.kind {
            // What stands in braces is a remark to UCUM, and no unit.
            let written = match unit.starts_with('{') {
                true => format!("\"unit\":{}", Value::from(unit)),
                false => format!("\"code\":{}", Value::from(unit)),
            };
            assert!(
                text.contains(&written),
                "{} has no unit {unit}: {text}",
                field.name
            );
        }
        let read = fhir::read(&text).unwrap_or_else(|e| panic!("{}: {e}", field.name));
        let back = read
            .iter()
            .flat_map(|case| &case.entries)
            .find_map(|entry| match entry {
                Entry::Finding { name, value } if name == field.name => Some(value),
                _ => None,
            });
        match field.name {
            // Asked for anew where the case now lies.
            "consent.share" => assert_eq!(back, None),
            _ => assert!(back == Some(&value), "{} came back otherwise", field.name),
        }
    }
}

/// What the catalogue says of a value, the terminal reads.
#[test]
fn every_field_is_read_as_it_is_written() {
    for field in FIELDS {
        let value = some_value(field.kind);
        assert!(
            catalogue::read_value(field.name, &value.words()) == Ok(value),
            "{}",
            field.name
        );
        assert_eq!(
            catalogue::read_value(field.name, "unknown"),
            Ok(FindingValue::Unknown)
        );
    }
}
