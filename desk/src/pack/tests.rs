//! A pack as tables, and what an edition changes.

use super::*;

fn of(text: &str) -> Table {
    table(&of_text(text).unwrap())
}

#[test]
fn every_rule_and_dose_stands_in_the_table_once_and_a_changed_edition_says_what_it_changes() {
    let old = table(&read(None).unwrap());
    assert_eq!(changes(&old, &old), []);
    let count = |part| old.parts[&part].len();
    assert!(count(Part::Rules) > 100 && count(Part::Doses) > 18 && count(Part::Advice) > 50);
    assert!(count(Part::Definitions) > 20 && count(Part::Medicines) > 8);
    for lines in old.parts.values() {
        let keys: std::collections::BTreeSet<_> = lines.iter().map(|line| &line.key).collect();
        assert_eq!(keys.len(), lines.len(), "each is known by its key");
    }
    let ors = |line: &&Line| {
        line.key.contains("rehydration") && line.says[0].contains("75 mL for each kg")
    };
    assert!(
        old.parts[&Part::Doses].iter().any(|line| ors(&line)),
        "in mL, not in mg"
    );
    let other = BUILT_IN
        .replace("respiratory_rate >= 50", "respiratory_rate >= 45")
        .replace("id = \"F7\"", "id = \"F7x\"")
        .replace("age = [2, 6]\namount = [0.5]", "age = [2, 6]\namount = [1]");
    let changed = changes(&old, &of(&other));
    let said = |wanted: &str| {
        let of = |(_, change): &(Part, Change)| match change {
            Change::New(line) => format!("new {}", line.key),
            Change::Gone(line) => format!("gone {}", line.key),
            Change::Other(_, line) => format!("other {}", line.key),
        };
        let lines = changed
            .iter()
            .map(of)
            .filter(|line| line.starts_with(wanted));
        lines.count()
    };
    let both = (
        said("new F7x"),
        said("gone F7 "),
        said("other fast breathing"),
    );
    assert_eq!(both, (1, 1, 1), "{changed:?}");
    assert_eq!(said("other Zinc"), 1, "{changed:?}");
    assert_eq!(changed.len(), 4);
}

/// Whatever single value of a pack is changed, the diff says so: nothing can be slipped past who
/// signs.
#[test]
fn no_value_of_a_pack_can_change_unseen() {
    let whole: toml::Table = BUILT_IN.parse().unwrap();
    let old = table(&read(None).unwrap());
    let (mut tried, mut unseen) = (0, Vec::new());
    let mut look = |section: &str, name: &str, text: toml::Table| {
        tried += 1;
        let changed = Read {
            pack: RulePack::built_in().unwrap(),
            text,
        };
        if changes(&old, &table(&changed)).is_empty() {
            unseen.push(format!("{section}.{name}"));
        }
    };
    for (section, value) in whole.iter().filter(|(section, _)| *section != "golden") {
        let Some(entries) = value
            .as_array()
            .filter(|all| all.iter().any(|e| e.is_table()))
        else {
            let mut text = whole.clone();
            text.insert(section.clone(), other(value));
            look(section, "", text);
            continue;
        };
        for (at, entry) in entries.iter().enumerate() {
            for (name, value) in entry.as_table().unwrap() {
                let mut text = whole.clone();
                let changed = text[section.as_str()].as_array_mut().unwrap();
                changed[at]
                    .as_table_mut()
                    .unwrap()
                    .insert(name.clone(), other(value));
                look(section, name, text);
            }
        }
    }
    assert!(tried > 1_500, "{tried}");
    assert_eq!(unseen, Vec::<String>::new());
}

/// Another value of the same kind.
fn other(value: &toml::Value) -> toml::Value {
    match value {
        toml::Value::String(text) => format!("{text}x").into(),
        toml::Value::Integer(number) => (number + 1).into(),
        toml::Value::Float(number) => (number + 0.25).into(),
        toml::Value::Boolean(yes) => (!yes).into(),
        toml::Value::Array(all) => match all.as_slice() {
            [first, rest @ ..] => [&[other(first)], rest].concat().into(),
            [] => vec![toml::Value::from(1)].into(),
        },
        toml::Value::Table(table) => {
            let mut table = table.clone();
            if let Some((name, value)) = table.clone().iter().next() {
                table.insert(name.clone(), other(value));
            }
            table.into()
        }
        toml::Value::Datetime(_) => "x".into(),
    }
}

#[test]
fn an_edition_that_runs_beside_takes_nothing_of_the_guideline_away() {
    let old = table(&read(None).unwrap());
    let edition = include_str!("../../../inference/packs/editions/who-2023-wasting.toml");
    let changed = changes(&old, &of(edition));
    assert!(!changed.is_empty());
    assert!(
        changed
            .iter()
            .all(|(_, change)| !matches!(change, Change::Gone(_)))
    );
}

#[test]
fn conditions_are_said_in_words() {
    assert_eq!(
        in_words("(age_months < 12 and respiratory_rate >= 50) or movement = none"),
        "(age months below 12 and respiratory rate at least 50) or movement is none"
    );
}

/// Whoever is asked to sign sees what was changed of what is done and asked, not only of what is judged.
#[test]
fn a_changed_dose_question_action_or_allergy_is_told() {
    for (part, was, now) in [
        (Part::Doses, "per_kg = [35, 50]", "per_kg = [35, 500]"),
        (
            Part::Questions,
            "ask = \"Convulsing now?\"",
            "ask = \"Is the child calm?\"",
        ),
        (
            Part::Rules,
            "when = \"danger\"\naction = \"Refer urgently\"",
            "when = \"danger\"\naction = \"Stay\"",
        ),
        (
            Part::Medicines,
            "allergy = [\"gentam\", \"aminoglyc\"]",
            "allergy = []",
        ),
        (
            Part::Advice,
            "words = \"Keep the patient warm on the way\"",
            "words = \"There is no need to go\"",
        ),
    ] {
        let said = changed(&BUILT_IN.replacen(was, now, 1));
        assert!(said.iter().any(|(of, _)| *of == part), "{part:?}: {said:?}");
    }
    assert_eq!(changed(BUILT_IN), []);
}
