//! Consent: one rule for sealing, export, hand-over and photos. What is not known is no consent, and
//! what one patient's cases say counts for all of them.

use protocol::limits::SAME_CASES_MAX;
use record::{Case, CaseView};

use super::Refusal;

/// Whether a case may leave this phone: sealed, as a file, or into somebody else's care. `cases` are
/// the case itself, first, and those that are the same patient's: it needs consent of its own, and
/// nobody may have said of another that there is none.
pub fn may_leave(cases: &[Case]) -> bool {
    // With so many, another may say no that was not looked at.
    cases.len() < SAME_CASES_MAX && consents(cases, "share")
}

/// Whether the photos of a case may leave this phone; `cases` as in [`may_leave`].
pub fn photos_may_leave(cases: &[Case]) -> bool {
    may_leave(cases) && consents(cases, "photo")
}

fn consents(cases: &[Case], to: &str) -> bool {
    let Some(own) = cases.first() else {
        return false;
    };
    let all = || Case::view_of_same(cases).is_some_and(|all| all.consents(to));
    own.view().consents(to) && (cases.len() == 1 || all())
}

/// Whether photos may be taken of a case's patient.
pub fn may_photograph(view: &CaseView) -> Result<(), Refusal> {
    match view.consents("photo") {
        true => Ok(()),
        false => Err(Refusal::NoPhotoConsent),
    }
}
