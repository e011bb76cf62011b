//! The golden cases: medicine written down as tables, by others than the rules, that every pack of
//! the guidelines must answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use clinical::{Profile, Urgency};
use inference::authoring::{Remark, remarks};
use inference::golden::{fired, lines, try_line};
use inference::trial::{runs_beside, try_rules};
use inference::{Findings, RulePack};

#[test]
fn every_golden_case_comes_out_as_the_guideline_says() {
    let pack = RulePack::built_in().unwrap();
    let wrong: Vec<String> = lines()
        .unwrap()
        .iter()
        .filter_map(|line| try_line(&pack, line).err())
        .collect();
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_rule_is_reached_from_both_sides_of_its_bounds_and_contradicts_none() {
    let said = remarks(&RulePack::built_in().unwrap()).unwrap();
    assert!(said.is_empty(), "{said:#?}");
    // The control: a rule that nothing reaches, and one that calls well what another calls ill.
    let odd = inference::rules::BUILT_IN
        .replace(
            "when = \"fevered and painful_urination\"",
            "when = \"fevered and painful_urination and muac > 249\"",
        )
        .replace(
            "when = \"palmar_pallor = none and not (known(haemoglobin) and haemoglobin < 110)\"",
            "when = \"known(palmar_pallor)\"",
        );
    let said = remarks(&RulePack::parse(&odd).unwrap()).unwrap();
    assert!(
        said.contains(&Remark::NeverFires {
            rule: "F7".into(),
            group: "child".into()
        }),
        "{said:#?}"
    );
    let one_sided =
        |remark: &Remark| matches!(remark, Remark::OneSided { finding, .. } if finding == "muac");
    assert!(said.iter().any(one_sided), "{said:#?}");
    let contradicts = |remark: &Remark| matches!(remark, Remark::Contradicts { rule, other, .. } if rule == "A3" && other == "A1");
    assert!(said.iter().any(contradicts), "{said:#?}");
}

/// Every row of the guideline stands in a table with the rules that are for it, every rule stands there,
/// and a case that somebody wrote shows each.
#[test]
fn every_row_has_its_rules_and_every_rule_its_row() {
    let pack = RulePack::built_in().unwrap();
    let fired: BTreeSet<String> = lines()
        .unwrap()
        .iter()
        .flat_map(|line| fired(&pack, line))
        .collect();
    let mut named = BTreeSet::from(["floor".to_owned()]);
    for line in include_str!("../golden/rows.tsv").lines().skip(1) {
        let columns: Vec<_> = line.split('\t').collect();
        let [_, says, rules, note] = *columns.as_slice() else {
            panic!("four columns are expected: {line}")
        };
        assert!(
            !says.is_empty() && (rules != "-" || !note.is_empty()),
            "{line}"
        );
        for rule in rules
            .split(' ')
            .filter(|rule| *rule != "-" && *rule != "floor")
        {
            assert!(fired.contains(rule), "no case shows {rule}");
            named.insert(rule.to_owned());
        }
    }
    let unnamed = pack
        .all_rules()
        .iter()
        .find(|rule| !named.contains(&rule.id));
    assert_eq!(unnamed.map(|rule| &rule.id), None, "a rule of no row");
    assert!(lines().unwrap().len() >= 1500);
}

/// Newer editions are packs of their own: a ministry publishes those it chooses, and they add to the
/// guideline and take nothing away.
#[test]
fn newer_editions_run_beside_the_guideline_and_say_more() {
    let guideline = RulePack::built_in().unwrap();
    for (file, findings, profile) in [
        (
            include_str!("../packs/editions/iccm-2020-hiv.toml"),
            r#"{"age_months": 20, "child_virological": "positive", "cough_or_difficult": "yes"}"#,
            Profile::Iccm,
        ),
        (
            include_str!("../packs/editions/who-2023-wasting.toml"),
            r#"{"age_days": 45, "muac": 105}"#,
            Profile::Imci,
        ),
        (
            include_str!("../packs/editions/who-2024-pneumonia.toml"),
            r#"{"age_months": 30, "cough_or_difficult": "yes", "severe_respiratory_distress": "yes"}"#,
            Profile::Imci,
        ),
    ] {
        let (pack, _) = try_rules(file.as_bytes(), None, false).unwrap();
        let (name, own) = (pack.named(), pack.all_rules()[0].id.clone());
        assert_eq!(remarks(&pack).unwrap(), [], "{name}");
        assert_eq!(runs_beside(&pack, &guideline), Ok(()), "{name}");
        let both = RulePack::side_by_side(&guideline, [Arc::new(pack)]);
        let findings = Findings::parse(findings, &both).unwrap();
        let said = both.evaluate(profile, &findings);
        assert!(
            said.fired
                .iter()
                .any(|o| o.rule == own && o.urgency == Urgency::Pink),
            "{name}"
        );
        // The control: without the edition, nobody calls it that.
        let before = guideline.evaluate(profile, &findings);
        assert!(
            before.urgency() < Urgency::Pink,
            "{name}: {:?}",
            before.fired
        );
    }
}
