//! Cases that leave or come as files.

use protocol::CaseId;
use serde::{Deserialize, Serialize};

/// Cases that left as a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.case-export/3")]
pub struct Exported {
    /// Cases in it.
    pub cases: usize,
    /// Cases that may not leave.
    pub kept_back: usize,
    /// Photos of those cases, which are not in it.
    #[serde(default)]
    pub photos: usize,
    /// Its bytes.
    pub bytes: u64,
}

/// Cases that came by a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.case-import/1")]
pub struct Imported {
    /// Cases that were begun or added to.
    pub cases: Vec<CaseId>,
    /// What was not taken in as it stands there, or not at all.
    pub left_out: Vec<String>,
    /// Of an archive: who wrote it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from: Option<String>,
}
