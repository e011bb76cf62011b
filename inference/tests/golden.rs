//! The golden cases: medicine written down as tables, by others than the rules, that every pack of
//! the guidelines must answer.

use inference::RulePack;
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
