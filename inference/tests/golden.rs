//! The golden cases: medicine written down as tables, by others than the rules, that every pack of
//! the guidelines must answer.

use inference::RulePack;
use inference::authoring::{Remark, remarks};
use inference::golden::{lines, try_line};

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
            "when = \"palmar_pallor = none\"",
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
