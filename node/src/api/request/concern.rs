//! What a request is about, and so who answers it and when.

use super::Request;

impl Request {
    /// Whether it needs an endpoint.
    pub fn needs_link(&self) -> bool {
        self.concern() == Concern::Links
    }

    /// Whether it leaves the phone as it is, so that any number may be answered at once.
    pub fn only_looks(&self) -> bool {
        matches!(self.concern(), Concern::Views | Concern::FilesOut)
    }

    /// What it is about.
    pub fn concern(&self) -> Concern {
        match self {
            Request::Status
            | Request::Receipts
            | Request::Idle
            | Request::Documents
            | Request::Certificates
            | Request::FindPhone { .. }
            | Request::Meetings
            | Request::ModelList
            | Request::CaseList { .. }
            | Request::CaseShow { .. }
            | Request::CaseHistory { .. }
            | Request::CasePlan { .. }
            | Request::CaseDuplicates
            | Request::Triage { .. } => Concern::Views,
            Request::CaseNew { .. }
            | Request::ImportGoesOn
            | Request::CaseBegin { .. }
            | Request::CaseDecide { .. }
            | Request::CaseAdd { .. }
            | Request::CaseHandOver { .. } => Concern::Cases,
            Request::VisitOpen { .. }
            | Request::VisitBegin { .. }
            | Request::VisitAnswer { .. }
            | Request::VisitBack { .. }
            | Request::VisitEnd { .. } => Concern::Visit,
            Request::EnrolRequest { .. }
            | Request::EnrolSign { .. }
            | Request::EnrolAccept { .. }
            | Request::SpaceCreate { .. }
            | Request::SpaceGrant { .. }
            | Request::SpaceRotate { .. }
            | Request::SpaceRetire { .. }
            | Request::SpaceLease { .. }
            | Request::SpaceUnlock { .. }
            | Request::UnlockCode { .. }
            | Request::Revoke { .. }
            | Request::Countersign { .. }
            | Request::CarryQuota { .. }
            | Request::Offer { .. }
            | Request::Quota { .. } => Concern::Keeping,
            Request::Meet { .. } => Concern::Links,
            Request::CasePhotoOut { .. }
            | Request::PhotoLook { .. }
            | Request::CaseExport { .. }
            | Request::ModelShow { .. }
            | Request::ModelVerify { .. }
            | Request::BackUp { .. } => Concern::FilesOut,
            Request::CasePhoto { .. }
            | Request::CaseImport { .. }
            | Request::CarryOut { .. }
            | Request::CarryIn { .. }
            | Request::ModelBack { .. }
            | Request::Import { .. } => Concern::FilesIn,
        }
    }
}

/// What a request is about, and so who answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concern {
    /// What is known and kept.
    Views,
    /// What is said of patients.
    Cases,
    /// The visit that is under way.
    Visit,
    /// Certificates, spaces, the ministry's documents, quotas.
    Keeping,
    /// A call.
    Links,
    /// What is read from the phone's files, or written beside them.
    FilesOut,
    /// What comes into the phone's files.
    FilesIn,
}
