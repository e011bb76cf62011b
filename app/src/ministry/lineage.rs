//! The file that says where a release comes from.

use std::path::Path;

use distribution::release::{Lineage, Subgroup};
use serde::Deserialize;

use super::digest_of;
use crate::Failure;

#[derive(Deserialize)]
struct LineageFile {
    parent: String,
    data: String,
    protocol: String,
    #[serde(default)]
    subgroups: Vec<SubgroupFile>,
    return_to: Option<u64>,
}

#[derive(Deserialize)]
struct SubgroupFile {
    name: String,
    cases: u32,
    sensitivity_permille: u32,
    specificity_permille: u32,
}

pub(super) fn read_lineage(path: &Path) -> Result<Lineage, Failure> {
    let wrong = |e: String| {
        let hint = "it is JSON with parent, data, protocol, subgroups [{name, cases, sensitivity_permille, …}], return_to";
        Failure::new(format!("{}: {e}", path.display()), hint).with_code(2)
    };
    let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    let file: LineageFile = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    let group = |g: SubgroupFile| Subgroup {
        name: g.name,
        cases: g.cases,
        sensitivity_permille: g.sensitivity_permille,
        specificity_permille: g.specificity_permille,
    };
    Ok(Lineage {
        parent: digest_of(&file.parent)?,
        data: file.data,
        protocol: file.protocol,
        subgroups: file.subgroups.into_iter().map(group).collect(),
        return_to: file.return_to,
    })
}
