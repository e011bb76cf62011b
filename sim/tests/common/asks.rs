//! What the tests of the interface ask.

use clinical::Profile;
use node::api::{CaseWords, Request, RequestId};
use sim::World;

use super::Road;

pub(crate) fn number(n: u8) -> RequestId {
    RequestId([n; 16])
}

/// A child of 20 months, with more lines of findings.
pub(crate) fn child(lines: &str, n: u8) -> Request {
    Request::CaseNew {
        findings: format!("age_months = 20\n{lines}"),
        profile: Profile::Iccm,
        head: vec![("patient.name".into(), "Amina Kazungu".into())],
        consent: vec![("share".into(), true)],
        area: None,
        decision: None,
        request: number(n),
    }
}

pub(crate) fn add(case: &str, words: CaseWords, n: u8) -> Request {
    Request::CaseAdd {
        case: case.into(),
        words: Box::new(words),
        request: number(n),
    }
}

pub(crate) fn world() -> World {
    Road::new(1000).world
}
