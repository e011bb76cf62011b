//! What a person's command asks of a phone. The same words go over the control socket; large things
//! (files of cases, pictures, bundles) are named by their path.

use super::Refusal;
use super::views::{Reply, meetings::Progress};
use clinical::{Profile, Urgency};
use protocol::limits::REQUEST_BYTES_MAX;
use protocol::{Area, CaseId, DeviceId, Digest};
use record::exchange::csv::Mapping;
use serde::{Deserialize, Serialize};

mod concern;

pub use concern::Concern;

/// A number of a request (32 hexadecimal digits): asked again, it is not done twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId(pub [u8; 16]);

/// Whose a visit under way is: one of each kind is kept, and none takes another's answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VisitOf {
    /// A child's, whom the rules are for.
    #[default]
    Child,
    /// A pregnant woman's, or of one who has just given birth.
    Pregnancy,
    /// An adult's.
    Adult,
    /// Nobody's: an assessment that becomes no case.
    Triage,
}

impl Serialize for RequestId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        CaseId(self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        CaseId::deserialize(from).map(|id| Self(id.0))
    }
}

/// A decision as a person gives it.
#[derive(Clone, Serialize, Deserialize)]
pub struct DecisionInput {
    /// The urgency decided.
    pub urgency: Urgency,
    /// What is to be done.
    pub plan: String,
    /// Why; needed when it is not what the assessment says.
    pub reason: String,
}

/// What there is to say of a photo.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PhotoWords {
    /// What it shows, in a word.
    pub shows: String,
    /// The camera that took it.
    pub camera: String,
    /// The light it was taken in.
    pub light: String,
}

/// What a person adds to a case.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CaseWords {
    /// Fields and their values.
    pub set: Vec<(String, String)>,
    /// Answers to questions: fields about which people differ, and what they are.
    pub settle: Vec<(String, String)>,
    /// What is consented to, or not any more.
    pub consent: Vec<(String, bool)>,
    /// Free words.
    pub note: Option<String>,
    /// A dose that was given: `amoxicillin 250 mg`.
    pub dose: Option<String>,
    /// By which way it was given, such as `oral`.
    pub route: String,
    /// When it was given: a date, or a time such as `2026-11-24T09:30Z`.
    pub given: String,
    /// A dose that was not given after all, by the first digits of its id; `reason` says why.
    pub not_given: Option<String>,
    /// To whom the case is handed.
    pub hand_to: Option<String>,
    /// Why it is handed over, or a dose taken back.
    pub reason: String,
    /// Other cases, and whether they are the same patient's.
    pub links: Vec<(String, bool)>,
}

/// What a file of cases is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// HL7 FHIR R4.
    Fhir,
    /// An International Patient Summary: a FHIR R4 document.
    Ips,
    /// A table.
    Csv,
    /// Sealed for one phone.
    Archive,
}

/// What can be asked. Documents travel as hexadecimal text.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Who and how this phone is.
    Status,
    /// Begin a case from a findings file.
    CaseNew {
        /// The findings file.
        findings: String,
        /// The level of care.
        profile: Profile,
        /// Fields that the rules do not read, with their values: `patient.name`, `patient.village`
        /// …
        head: Vec<(String, String)>,
        /// What the patient, or who speaks for the patient, consents to or not: `care`, `share`,
        /// `photo`, `training`.
        #[serde(default)]
        consent: Vec<(String, bool)>,
        /// The space; by default the one this phone has a key for.
        area: Option<Area>,
        /// A decision, if it is made at once.
        decision: Option<DecisionInput>,
        /// A number for this request (32 hexadecimal digits): asked again, it is not done twice.
        request: RequestId,
    },
    /// Begin a case of somebody of five years or more by fields of the record.
    CaseBegin {
        /// Fields and their values.
        fields: Vec<(String, String)>,
        /// The level of care.
        #[serde(default)]
        profile: Profile,
        /// As in `CaseNew`.
        #[serde(default)]
        consent: Vec<(String, bool)>,
        /// As in `CaseNew`.
        area: Option<Area>,
        /// As in `CaseNew`.
        decision: Option<DecisionInput>,
        /// As in `CaseNew`.
        request: RequestId,
    },
    /// Decide on a case.
    CaseDecide {
        /// The case's id or its beginning.
        case: String,
        /// The decision.
        decision: DecisionInput,
        /// As in `CaseNew`.
        request: RequestId,
    },
    /// Add to a case.
    CaseAdd {
        /// The case's id or its beginning.
        case: String,
        /// What is said.
        words: Box<CaseWords>,
        /// As in `CaseNew`.
        request: RequestId,
    },
    /// Hand cases to a colleague.
    CaseHandOver {
        /// Which; none: all open ones that `from` cares for.
        cases: Vec<String>,
        /// A phone, by name or id; none: this one.
        from: Option<String>,
        /// To whom: a phone, by name or id.
        to: String,
        /// Why.
        reason: String,
        /// As in `CaseNew`.
        request: RequestId,
    },
    /// Add a photo to a case.
    CasePhoto {
        /// The case's id or its beginning.
        case: String,
        /// The picture's file.
        path: String,
        /// What there is to say of it.
        words: PhotoWords,
        /// As in `CaseNew`.
        request: RequestId,
    },
    /// Look at a picture before it is kept: whether it shows anything, and what, where a reader of pictures
    /// runs.
    PhotoLook {
        /// The picture's file.
        path: String,
        /// What it is of: `rapid_test`, `slide`, `muac_tape`, `eye`, `mouth`, `skin`; anything else is not read.
        #[serde(default)]
        shows: String,
    },
    /// Write a photo of a case to a file.
    CasePhotoOut {
        /// The case's id or its beginning.
        case: String,
        /// Which photo, counted from 1.
        number: usize,
        /// The file.
        path: String,
    },
    /// Everything that was said about a case, in order.
    CaseHistory {
        /// The case's id or its beginning.
        case: String,
    },
    /// What to do for a patient, by the packs that run.
    CasePlan {
        /// The case's id or its beginning.
        case: String,
    },
    /// Cases that may be one patient's.
    CaseDuplicates,
    /// Cases for another system or phone.
    CaseExport {
        /// Which; none: all.
        cases: Vec<String>,
        /// As what.
        format: Format,
        /// For whom an archive is sealed: that phone's certificates.
        to: Option<String>,
        /// The file that is written.
        path: String,
    },
    /// Cases from a file.
    CaseImport {
        /// As what it is read.
        format: Format,
        /// The file.
        path: String,
        /// The space; by default the one this phone has a key for.
        area: Option<Area>,
        /// Only say what it would bring.
        #[serde(default)]
        dry_run: bool,
        /// How a table of another system's is read, one row a patient.
        #[serde(default)]
        mapping: Option<Box<Mapping>>,
    },
    /// Take in the rest of a file of cases that was cut off; nothing where none was.
    ImportGoesOn,
    /// Cases, and sealed ones that are carried.
    CaseList {
        /// Only cases of which the title has these letters.
        #[serde(default)]
        find: String,
        /// How many of those that match are passed over.
        #[serde(default)]
        after: usize,
        /// How many are shown at most; `None`: all.
        #[serde(default)]
        limit: Option<usize>,
    },
    /// The meetings that are kept, the latest first.
    Meetings,
    /// One case.
    CaseShow {
        /// The case's id or its beginning.
        case: String,
    },
    /// Assess without keeping anything.
    Triage {
        /// The findings file.
        findings: String,
        /// The level of care.
        profile: Profile,
    },
    /// Whether a visit was interrupted before its case was written.
    VisitOpen {
        /// Whose.
        #[serde(default)]
        of: VisitOf,
    },
    /// Begin a visit, or go on with the one that was interrupted.
    VisitBegin {
        /// Whose.
        #[serde(default)]
        of: VisitOf,
        /// The level of care.
        profile: Profile,
        /// Forget what was answered before.
        anew: bool,
        /// The number under which its case will be written: it is kept with the answers, so that a
        /// visit that is gone on with after a crash never writes its case twice.
        request: RequestId,
        /// Where the case is to be written; by default the space this phone has a key for. Nobody is
        /// asked anything for a case that this phone could not write.
        #[serde(default)]
        area: Option<Area>,
    },
    /// One answer, as it is typed: it is kept at once. The reply says what comes next, and what is
    /// pink already.
    VisitAnswer {
        /// Whose.
        #[serde(default)]
        of: VisitOf,
        /// The finding, or `age`, or `text`; a field of the record such as `patient.name`; or
        /// `consent.share` and the like.
        name: String,
        /// What was typed; empty: not known.
        answer: String,
    },
    /// Take the last answer back.
    VisitBack {
        /// Whose.
        #[serde(default)]
        of: VisitOf,
    },
    /// The visit is over.
    VisitEnd {
        /// Whose.
        #[serde(default)]
        of: VisitOf,
    },
    /// Meet a phone at an address, and wait until it is over.
    Meet {
        /// Its device id.
        peer: DeviceId,
        /// `address:port`.
        address: String,
    },
    /// What runs and what is in the list.
    ModelList,
    /// One module.
    ModelShow {
        /// Its name.
        module: String,
    },
    /// Check one module again from the signatures down.
    ModelVerify {
        /// Its name.
        module: String,
    },
    /// Return to the release before.
    ModelBack {
        /// Its name.
        module: String,
    },
    /// This phone's certificate request.
    EnrolRequest {
        /// The name it suggests.
        name: String,
    },
    /// Certify another device by this one.
    EnrolSign {
        /// The request.
        request: String,
        /// What people call it.
        name: Option<String>,
        /// Where.
        area: Area,
        /// `carry,read,…`.
        rights: String,
        /// What it may pass on.
        passes_on: String,
        /// Days after which it is given no new keys.
        #[serde(default)]
        valid_days: Option<u64>,
    },
    /// Take a ministry's root, certificates and grants.
    EnrolAccept {
        /// Roots, oldest first.
        roots: Vec<String>,
        /// Our chain.
        chain: Option<String>,
        /// Grants with their issuers' chains.
        grants: Vec<(String, String)>,
        /// Chains of other phones, made anew: they are shown to them at the next meeting.
        #[serde(default)]
        certificates: Vec<String>,
    },
    /// Begin the space of an area.
    SpaceCreate {
        /// Where.
        area: Area,
    },
    /// Give the key of a space.
    SpaceGrant {
        /// Where.
        area: Area,
        /// The chain of the device that may read it.
        chain: String,
    },
    /// Change the key of a space.
    SpaceRotate {
        /// Where.
        area: Area,
        /// Phones that shall not have the new one.
        without: Vec<DeviceId>,
    },
    /// End the older keys of a space.
    SpaceRetire {
        /// Where.
        area: Area,
        /// Closed cases changed in the last so many days stay.
        keep_days: u64,
    },
    /// Lease the keys of a space.
    SpaceLease {
        /// Where.
        area: Area,
        /// Days of use; 0: without end.
        days: u32,
    },
    /// Unlock a space with a code.
    SpaceUnlock {
        /// Where.
        area: Area,
        /// The code.
        code: String,
    },
    /// The code that unlocks a space for a phone.
    UnlockCode {
        /// Where.
        area: Area,
        /// The phone's id.
        device: DeviceId,
    },
    /// Say that a phone is lost.
    Revoke {
        /// Where it was certified.
        area: Area,
        /// Its device id.
        device: DeviceId,
        /// Why.
        reason: String,
    },
    /// Let in what lost phones wrote late.
    Countersign {
        /// Which envelopes; none: all that wait.
        envelopes: Vec<Digest>,
        /// Only say what they would add.
        #[serde(default)]
        show: bool,
    },
    /// How many bytes of envelopes that have reached their readers may lie here; 0 for no limit.
    CarryQuota {
        /// Bytes.
        bytes: u64,
    },
    /// Copy this phone's folder.
    BackUp {
        /// To a folder that is new, empty, or holds an earlier copy of this phone.
        to: String,
        /// What seals the copy's key, where the phone's own is not sealed.
        #[serde(default)]
        passphrase: Option<String>,
    },
    /// Put what this phone holds into a folder, sealed, for others to take.
    CarryOut {
        /// The folder.
        to: String,
    },
    /// Take in what lies in a folder, or in one file that was put there so.
    CarryIn {
        /// The folder or file.
        from: String,
    },
    /// Put a bundle in from a file.
    Import {
        /// The file.
        path: String,
    },
    /// Take a newer document of the ministry's.
    Offer {
        /// Its kind: `root`, `release-list`, `recall`, `revocations`, `delegated-list`, `beacon`.
        kind: String,
        /// The signed document.
        document: String,
    },
    /// How many bytes of bundles may lie here; 0 for no limit.
    Quota {
        /// Bytes.
        bytes: u64,
    },
    /// What the running phone has cost since it began.
    Idle,
    /// Sealed receipts of phones that are carried here.
    Receipts,
    /// Every document of the ministry's that is held, roots first.
    Documents,
    /// All certificate chains that this phone keeps.
    Certificates,
    /// Which phone is meant.
    FindPhone {
        /// By the name of its certificate, its id, or the beginning of that.
        who: String,
    },
}

impl Request {
    /// All cases.
    pub fn all_cases() -> Self {
        Self::CaseList {
            find: String::new(),
            after: 0,
            limit: None,
        }
    }

    /// Refuses what is larger than any request may be, by whatever way it comes.
    pub fn within_limit(&self) -> Result<(), Refusal> {
        let bytes = serde_json::to_vec(self).map_or(u64::MAX, |json| json.len() as u64);
        match bytes > REQUEST_BYTES_MAX {
            true => Err(Refusal::RequestTooLong(bytes)),
            false => Ok(()),
        }
    }

    /// Whether it may begin a phone, with a key of its own, in a folder where none is. Everything else asked
    /// of an empty folder is asked of the wrong one: a name mistyped, a card that is not in.
    pub fn begins_a_phone(&self) -> bool {
        matches!(self, Self::EnrolRequest { .. })
    }
}

/// An answer, or a word on the way to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// How far it is.
    Progress(Progress),
    /// The end of it.
    Done(Result<Reply, Refusal>),
}
