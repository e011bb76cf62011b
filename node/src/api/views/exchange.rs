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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.case-import/2")]
pub struct Imported {
    /// Cases that were begun or added to.
    pub cases: Vec<CaseId>,
    /// How many were begun, or would be.
    pub new: usize,
    /// How many were added to, or would be.
    pub added_to: usize,
    /// How many were here already, with all that the file says.
    pub unchanged: usize,
    /// Nothing was taken in: it was only looked at.
    pub dry_run: bool,
    /// What was not taken in as it stands there, or not at all.
    pub left_out: Vec<String>,
    /// What is kept in words alone, as a note.
    #[serde(default)]
    pub in_words: Vec<String>,
    /// The cases that were here already, with all that the file says.
    #[serde(default)]
    pub here: Vec<CaseId>,
    /// Of an archive: who wrote it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from: Option<String>,
}
