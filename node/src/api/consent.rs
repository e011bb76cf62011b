//! Consent: one rule for sealing, export, hand-over and photos. What is not known is no consent.

use record::CaseView;

use super::Refusal;

/// Whether a case may leave this phone: sealed, as a file, or into somebody else's care.
pub fn may_leave(view: &CaseView) -> bool {
    view.consents("share")
}

/// Whether photos may be taken of a case's patient.
pub fn may_photograph(view: &CaseView) -> Result<(), Refusal> {
    match view.consents("photo") {
        true => Ok(()),
        false => Err(Refusal::NoPhotoConsent),
    }
}
