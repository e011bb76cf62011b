//! A visit under way: what was answered, what comes next, and what is pink already.

use std::collections::BTreeMap;

use clinical::assessment::{Fired, Question};
use clinical::{FindingValue, Profile};
use protocol::CaseId;
use serde::{Deserialize, Serialize};

use crate::api::request::RequestId;

/// A visit under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.visit/3")]
pub struct Visit {
    /// Answers so far.
    pub answered: usize,
    /// What comes next; `None`: everything was asked.
    pub ask: Option<Question>,
    /// What is pink already.
    pub danger: Vec<Fired>,
    /// The level of care.
    pub profile: Profile,
    /// Whether the age is known.
    pub age_known: bool,
    /// Whether own words were asked for, whatever was answered.
    #[serde(default)]
    pub words_asked: bool,
    /// The answers as a findings file.
    pub findings: BTreeMap<String, FindingValue>,
    /// What the rules do not read, as it was typed: fields of the record, consents.
    pub said: BTreeMap<String, String>,
    /// The number under which the case of this visit is to be written.
    pub request: RequestId,
}

/// Whether a visit was interrupted, and how far it had come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.visit-open/1")]
pub struct VisitOpen {
    /// Answers so far; 0: no visit was interrupted.
    pub answers: usize,
    /// The age as it was typed.
    pub age: Option<String>,
    /// Minutes since it began.
    pub minutes: u64,
    /// Its case, where that is written already: nothing more is answered, and a person may still have
    /// to decide.
    #[serde(default)]
    pub case: Option<CaseId>,
}

/// The visit is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.visit-end/1")]
pub struct VisitEnd {}
