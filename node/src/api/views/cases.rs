//! Cases as a list shows them.

use clinical::Urgency;
use protocol::{Area, CaseId};
use serde::{Deserialize, Serialize};

/// All cases, and sealed ones that are carried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.case-list/1")]
pub struct Cases {
    /// Cases that this phone can read, one for each patient, as many as were asked for.
    pub cases: Vec<Row>,
    /// The patients that match in all, on this page or not.
    pub matching: usize,
    /// Sealed cases that it carries.
    pub sealed: Vec<Sealed>,
}

/// A case in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Which.
    pub case: CaseId,
    /// Other cases that people have found to be the same patient's: they have no line of their own,
    /// and count in this one.
    #[serde(default)]
    pub same_as: Vec<CaseId>,
    /// The area of its space.
    pub area: Area,
    /// What a person knows it by; `locked` where its space is.
    pub title: String,
    /// How urgent it is.
    pub urgency: Option<Urgency>,
    /// Entries in it.
    pub entries: u64,
    /// Seconds since 1970 when this phone last changed it.
    pub changed_s: u64,
    /// The same, RFC 3339.
    pub changed: String,
    /// Questions for a person.
    pub questions: u64,
    /// Words that it builds on have not come, or are set aside.
    pub waits: bool,
    /// Something of it stays on this phone.
    pub unsent: bool,
    /// What is to be done next.
    pub next: Next,
}

/// What is to be done next about a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Next {
    /// Its space is to be unlocked.
    Unlock,
    /// People differ: settle it.
    Settle,
    /// Words that it builds on are awaited.
    Await,
    /// It stays here until there is consent, or a key.
    LetGo,
    /// Nobody has decided since it was judged as it is now.
    Decide,
    /// Nothing.
    Nothing,
}

/// Sealed cases of a space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Of which area.
    pub area: Area,
    /// Envelopes.
    pub envelopes: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Pairs of cases that may be one patient's, the most alike first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.case-duplicates/1")]
pub struct Duplicates {
    /// Each pair.
    pub pairs: Vec<Pair>,
}

/// Two cases that may be one patient's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// How alike, of 100.
    pub alike: u32,
    /// The one.
    pub a: CaseId,
    /// The other.
    pub b: CaseId,
    /// What a person knows the one by.
    pub a_title: String,
    /// What a person knows the other by.
    pub b_title: String,
}

/// Cases that are a colleague's now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.case-hand-over/1")]
pub struct HandedOver {
    /// The colleague.
    pub to: String,
    /// The cases.
    pub cases: Vec<Handed>,
    /// Cases that may not leave.
    pub kept: usize,
    /// Cases that were handed to several apart.
    pub disputed: Vec<CaseId>,
}

/// A case that is a colleague's now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handed {
    /// Which.
    pub case: CaseId,
    /// What a person knows it by.
    pub title: String,
}
