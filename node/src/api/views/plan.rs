//! What to do for a patient, beside what was judged and what stands in the case.

use clinical::Assessment;
use clinical::plan::Plan;
use serde::{Deserialize, Serialize};

use super::case::Case;

/// A plan for a case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.case-plan/1")]
pub struct CasePlan {
    /// What to do.
    pub plan: Plan,
    /// What it follows from.
    pub assessment: Assessment,
    /// The case.
    pub case: Case,
}
