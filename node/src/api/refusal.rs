//! Why a phone does not do what was asked: codes with values. Whoever shows one words it.

use clinical::catalogue::ValueError;
use clinical::{FindingsError, Urgency};
use distribution::TrustError;
use protocol::certificate::CertificateError;
use protocol::codec::CodecError;
use protocol::signed::SignatureError;
use protocol::{Area, Broken, CaseId, DeviceId, Digest};
use record::CaseError;
use record::photo::PhotoError;
use serde::{Deserialize, Serialize};
use sync::archive::ArchiveError;
use sync::space::GrantError;

/// What kind of refusal it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Something failed; asking again may help.
    Failed,
    /// What was asked cannot be meant so.
    Usage,
    /// A key or an enrolment is missing.
    NeedsKey,
    /// A rule forbids it.
    Refused,
}

/// Why a folder or a file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trouble {
    /// No room left.
    Full,
    /// May not be written.
    ReadOnly(String),
    /// What was read is not what was written.
    Damaged(String),
    /// It was kept under another key than the phone's.
    OtherKey,
    /// An invariant of the house did not hold: its number, and where that was noticed.
    Broken {
        /// Its number in `ARCHITECTURE.md`.
        invariant: u8,
        /// Source file and line.
        at: String,
    },
    /// Anything else the machine says.
    Other(String),
}

/// Documents that can be damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Paper {
    /// A ministry's root.
    Root,
    /// A request for a certificate.
    Request,
    /// A chain of certificates.
    Chain,
    /// A key of a space for a phone.
    Grant,
    /// Any other document of a ministry's.
    Document,
    /// Cases sealed for a phone.
    Archive,
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Refusal {
    // ── The phone and its machine
    /// The store failed; what was asked is undone.
    Store(Trouble),
    /// The data folder cannot be used.
    Folder(String, Trouble),
    /// A folder or card by which things are carried cannot be used.
    Card(String, Trouble),
    /// Another program uses the folder.
    InUse(String),
    /// The program that uses the folder does not answer.
    Gone(String),
    /// The phone has stopped.
    Stopped,
    /// The phone's thread has died.
    Died,
    /// A request brought its worker down; the phone goes on.
    WorkerDied,
    /// More is asked at once than a phone answers.
    Busy,
    /// More was said of a case while somebody wrote of it.
    CaseMoved,
    /// No answer, document or code came of it.
    Nothing,
    /// The machine gives no randomness.
    NoRandomness(String),
    /// The machine gives no threads, no links or no control socket.
    NoMachine(String),
    /// What is built in cannot be read.
    Installation(String),
    /// This phone's key is sealed, and nobody gave what opens it.
    KeySealed,
    /// The key file does not open with this secret.
    KeyWrongSecret(String),
    /// The key file is damaged.
    KeyDamaged(String),
    /// The key file is missing, and cases are there.
    KeyMissing(String),
    /// The key cannot be sealed.
    KeyNotSealed(String),
    /// A file cannot be read.
    Unreadable(String, String),
    /// A file cannot be written.
    Unwritable(String, String),
    /// A file is longer than may be read.
    FileTooLong(String),
    /// A file is no text.
    NotText(String),
    /// A folder that holds something already.
    FolderNotEmpty(String),
    /// A copy would lie open.
    CopyUnsealed,
    /// No whole backup is there.
    NotABackup(String),
    /// A backup, where a phone was meant.
    IsABackup(String),
    /// A phone runs on what is to be copied.
    BackupRuns(String),
    /// A file of cases that was taken in only as far as this, and why.
    ImportStopped {
        /// Patients that were taken in.
        taken: usize,
        /// Patients in the file.
        of: usize,
        /// Why it stopped.
        why: Box<Refusal>,
    },
    /// A file of cases that was begun several times and brought the program down.
    ImportGivenUp,
    /// A backup of which a file is not what was written.
    BackupDamaged(String, String),
    /// No phone is in a folder, and what was asked begins none.
    NoPhone(String),

    // ── Trust and enrolment
    /// No ministry is trusted yet.
    NoMinistry,
    /// Another ministry is trusted.
    OtherMinistry,
    /// The roots of an answer do not follow the ones held: of which ministry, and why.
    RootsDoNotFollow(String, Box<Refusal>),
    /// A document of the ministry's is refused, by which rule.
    NotTrusted(TrustError),
    /// The first root cannot be believed.
    RootNotTrusted(TrustError),
    /// A paper is damaged.
    Damaged(Paper, Option<SignatureError>),
    /// A name that is too long, or has characters that no name has.
    NameRefused(CodecError),
    /// This phone has no certificate.
    NotCertified,
    /// Its certificate lets it neither carry nor read cases.
    MayNotCarry,
    /// A certificate that is not believed.
    ChainRefused(CertificateError),
    /// A certificate of another phone.
    OtherPhonesChain,
    /// A certificate that this phone may not give.
    MayNotCertify(CertificateError),
    /// A certificate that would have ended already.
    CertifiesPast(CertificateError),
    /// A grant that its issuer has not signed.
    GrantNotSigned(SignatureError),
    /// A grant that its issuer may not give.
    MayNotGrantThis,
    /// A grant for another phone.
    GrantForAnother(GrantError),
    /// This phone may not begin the space of an area.
    MayNotBegin(Area),
    /// This phone has no key for the space of an area.
    NoKeyFor(Area),
    /// This phone may not grant spaces.
    MayNotGrant,
    /// A phone that is not certified to read.
    MayNotRead(String),
    /// This phone does not keep the space of an area.
    NotKeeper(Area),
    /// The space has no older key.
    NoOlderKey,
    /// The older keys are ending already.
    EndingAlready,
    /// So many changes of lost phones wait under the keys that would end.
    ChangesWait(u64),
    /// The space of an area is not locked.
    NotLocked(Area),
    /// A code that was used already.
    CodeUsed,
    /// A code that does not unlock.
    CodeWrong,
    /// A phone that is lost.
    Lost(String),
    /// No key is leased to a phone.
    NotLeased,
    /// This phone may not revoke phones of an area.
    MayNotRevoke(Area),
    /// A phone cannot revoke itself.
    RevokesItself,
    /// Words that are too long for a notice.
    NoticeTooLong(String),
    /// This phone may not countersign.
    MayNotCountersign,

    // ── Releases
    /// A release that is not in the list any more.
    NotListed(String),
    /// No release of a module runs here.
    NotActive(String),
    /// No earlier release of a module is kept.
    NoEarlier(String),
    /// The bundle on disk is damaged.
    BundleDamaged,
    /// A release that fails its test here.
    TestFailed(String),

    // ── Meetings
    /// Not a phone's address.
    NotAnAddress,
    /// A phone cannot be called.
    NotReached(String),
    /// A call that never became a meeting.
    CallEnded(String),
    /// A meeting that was refused.
    MeetingRefused(String),
    /// A meeting that was cut.
    MeetingCut(String),

    // ── Cases
    /// This phone has no key for any space, and none is named.
    NoSpace {
        /// It may write somewhere: what is written waits for the key.
        may_write: bool,
    },
    /// This phone writes for several spaces.
    SeveralSpaces(Vec<Area>),
    /// This phone may not write cases of an area.
    MayNotWrite(Area),
    /// The cases of an area are locked here.
    Locked(Area),
    /// No case begins so.
    NoSuchCase(String),
    /// Several cases begin so.
    SeveralCases(String),
    /// A case that is not here.
    CaseNotHere,
    /// A case that does not open.
    CaseDamaged(CaseError),
    /// What is added cannot be taken in by the case.
    CaseRefuses(CaseError),
    /// More than is sealed at once, in bytes.
    ChangeTooLong(usize),
    /// A request of so many bytes, where [`protocol::limits::REQUEST_BYTES_MAX`] is the most.
    RequestTooLong(u64),
    /// Findings that cannot be read.
    Findings(FindingsError),
    /// A value that its field does not have.
    Value(ValueError),
    /// A finding that is said twice, and not the same.
    SaidTwice(String),
    /// Nothing is said of the patient.
    NothingSaid,
    /// A child under five years, whom the rules are for.
    IsAChild,
    /// Nothing that can be consented to.
    NotAConsent(String),
    /// An empty note.
    EmptyNote,
    /// No time at which a dose was given.
    NotATime(String),
    /// A birth, or a dose that was given, of a day that is still to come.
    StillToCome(String),
    /// A birth longer ago than anybody lives.
    TooLongAgo(String),
    /// No dose that is given at once.
    NotADose(String),
    /// Route or time without a dose.
    DoseMissing,
    /// No dose of the case is named so, or several are.
    NoSuchDose(String, bool),
    /// A dose that is taken back already.
    DoseTakenBack,
    /// A dose is taken back for a reason.
    DoseReasonMissing,
    /// No answer to a question.
    NoAnswer(String),
    /// Nothing was said about a field.
    NotSaid(String),
    /// A case that is linked to itself.
    LinkedToItself,
    /// Nothing to add.
    NothingToAdd,
    /// No rules of this phone are for this patient.
    NoRulesForThis,
    /// Green, where no rules have ruled out a danger.
    GreenUnjudged,
    /// Green, where a danger is there or could not be ruled out.
    GreenNotOffered,
    /// A decision without an assessment, and without a reason.
    UnjudgedNeedsReason,
    /// A decision otherwise than the assessment, without a reason.
    NeedsReason(Urgency, Urgency),
    /// What is known has become something that the rules cannot judge.
    CannotJudge(FindingsError),
    /// No visit has begun.
    NoVisit,
    /// An answer that cannot be.
    AnswerRefused(FindingsError),
    /// More answers than a visit has.
    TooManyAnswers,
    /// No phone of this name was met, or several were.
    NoSuchPhone(String, bool),
    /// A phone of which nothing is known here.
    PhoneUnknown(DeviceId),
    /// A phone that carries and cannot read.
    CarriesOnly(String),
    /// Cases that are that phone's already.
    TheirsAlready,
    /// No consent to take photos.
    NoPhotoConsent,
    /// A picture that is too large.
    PictureTooLarge,
    /// A picture that cannot be kept.
    PictureRefused(PhotoError),
    /// The case has so many photos.
    NoSuchPhoto(usize),
    /// A photo that has not come here yet.
    PhotoNotHere,
    /// A photo that does not open.
    PhotoDamaged(PhotoError),
    /// A case without consent to share it.
    MayNotLeave(CaseId),
    /// An archive is for somebody.
    ArchiveForWhom,
    /// A reader is named for a file that is not sealed.
    OnlyArchivesAreSealed,
    /// More cases than one archive holds.
    ArchiveTooLarge,
    /// An archive for another phone.
    ArchiveForAnother(DeviceId),
    /// An archive that does not open.
    ArchiveSealed(ArchiveError),
    /// An archive's writer is not believed.
    WriterRefused(CertificateError),
    /// An archive's writer may not write cases.
    WriterMayNotWrite(String),
    /// A file of cases that cannot be read.
    FileRefused(String),
    /// An id that names nothing: what was meant.
    NotAnId(String),
    /// No area.
    NotAnArea(String),
    /// No rights.
    NotRights(String),
    /// The host cannot listen there.
    NotListening(String),
    /// A bundle of which nothing is known.
    BundleUnknown(Digest),
}

impl Refusal {
    /// What kind of refusal it is.
    pub fn class(&self) -> Class {
        match self {
            Self::ImportStopped { why, .. } => why.class(),
            Self::KeySealed
            | Self::KeyWrongSecret(_)
            | Self::KeyDamaged(_)
            | Self::KeyMissing(_)
            | Self::KeyNotSealed(_)
            | Self::CopyUnsealed
            | Self::NoSpace { may_write: false }
            | Self::Locked(_) => Class::NeedsKey,
            Self::NoSpace { may_write: true }
            | Self::SeveralSpaces(_)
            | Self::NotABackup(_)
            | Self::IsABackup(_)
            | Self::NoPhone(_)
            | Self::FolderNotEmpty(_)
            | Self::Damaged(..)
            | Self::NameRefused(_)
            | Self::NotAnAddress
            | Self::SeveralCases(_)
            | Self::Findings(_)
            | Self::Value(_)
            | Self::SaidTwice(_)
            | Self::NothingSaid
            | Self::IsAChild
            | Self::NotAConsent(_)
            | Self::EmptyNote
            | Self::NotATime(_)
            | Self::StillToCome(_)
            | Self::TooLongAgo(_)
            | Self::NotADose(_)
            | Self::DoseMissing
            | Self::NoSuchDose(..)
            | Self::DoseTakenBack
            | Self::DoseReasonMissing
            | Self::NoAnswer(_)
            | Self::NotSaid(_)
            | Self::LinkedToItself
            | Self::NothingToAdd
            | Self::UnjudgedNeedsReason
            | Self::NeedsReason(..)
            | Self::NoVisit
            | Self::AnswerRefused(_)
            | Self::TooManyAnswers
            | Self::NoSuchPhone(..)
            | Self::PhoneUnknown(_)
            | Self::CarriesOnly(_)
            | Self::TheirsAlready
            | Self::Unreadable(..)
            | Self::FileTooLong(_)
            | Self::NotText(_)
            | Self::PictureTooLarge
            | Self::PictureRefused(_)
            | Self::NoSuchPhoto(_)
            | Self::ArchiveForWhom
            | Self::OnlyArchivesAreSealed
            | Self::ArchiveTooLarge
            | Self::FileRefused(_)
            | Self::NotAnId(_)
            | Self::NotAnArea(_)
            | Self::NotRights(_) => Class::Usage,
            Self::NoMinistry
            | Self::OtherMinistry
            | Self::NotTrusted(_)
            | Self::RootNotTrusted(_)
            | Self::NotCertified
            | Self::MayNotCarry
            | Self::ChainRefused(_)
            | Self::OtherPhonesChain
            | Self::MayNotCertify(_)
            | Self::CertifiesPast(_)
            | Self::GrantNotSigned(_)
            | Self::MayNotGrantThis
            | Self::GrantForAnother(_)
            | Self::MayNotBegin(_)
            | Self::NoKeyFor(_)
            | Self::MayNotGrant
            | Self::MayNotRead(_)
            | Self::NotKeeper(_)
            | Self::NoOlderKey
            | Self::EndingAlready
            | Self::ChangesWait(_)
            | Self::NotLocked(_)
            | Self::CodeUsed
            | Self::CodeWrong
            | Self::NotLeased
            | Self::MayNotRevoke(_)
            | Self::RevokesItself
            | Self::NoticeTooLong(_)
            | Self::MayNotCountersign
            | Self::NotListed(_)
            | Self::NoEarlier(_)
            | Self::BundleDamaged
            | Self::TestFailed(_)
            | Self::MayNotWrite(_)
            | Self::CaseRefuses(_)
            | Self::ChangeTooLong(_)
            | Self::RequestTooLong(_)
            | Self::NoRulesForThis
            | Self::GreenUnjudged
            | Self::GreenNotOffered
            | Self::CannotJudge(_)
            | Self::NoPhotoConsent
            | Self::MayNotLeave(_)
            | Self::ArchiveForAnother(_)
            | Self::ArchiveSealed(_)
            | Self::WriterRefused(_)
            | Self::WriterMayNotWrite(_)
            | Self::Lost(_) => Class::Refused,
            Self::RootsDoNotFollow(_, why) => why.class(),
            Self::Store(_)
            | Self::Folder(..)
            | Self::Card(..)
            | Self::InUse(_)
            | Self::Gone(_)
            | Self::Stopped
            | Self::Died
            | Self::WorkerDied
            | Self::ImportGivenUp
            | Self::Busy
            | Self::CaseMoved
            | Self::Nothing
            | Self::NoRandomness(_)
            | Self::NoMachine(_)
            | Self::Installation(_)
            | Self::Unwritable(..)
            | Self::BackupRuns(_)
            | Self::BackupDamaged(..)
            | Self::NotActive(_)
            | Self::NotReached(_)
            | Self::CallEnded(_)
            | Self::MeetingRefused(_)
            | Self::MeetingCut(_)
            | Self::NoSuchCase(_)
            | Self::CaseNotHere
            | Self::CaseDamaged(_)
            | Self::PhotoNotHere
            | Self::PhotoDamaged(_)
            | Self::BundleUnknown(_)
            | Self::NotListening(_) => Class::Failed,
        }
    }
}

impl Refusal {
    /// What a case says of itself, as `said`; an invariant that did not hold is the store's matter.
    pub(crate) fn of_case(error: CaseError, said: fn(CaseError) -> Self) -> Self {
        match error {
            CaseError::Broken(broken) => broken.into(),
            CaseError::Poisoned(_) | CaseError::TooLong(_) | CaseError::TooMany(_) => said(error),
        }
    }
}

impl From<Broken> for Refusal {
    fn from(broken: Broken) -> Self {
        Self::Store(crate::store::StoreError::from(broken).into())
    }
}

impl From<crate::store::StoreError> for Refusal {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Store(error.into())
    }
}

impl From<crate::store::StoreError> for Trouble {
    fn from(error: crate::store::StoreError) -> Self {
        use crate::store::StoreError;
        match error {
            StoreError::Full => Self::Full,
            StoreError::ReadOnly(why) => Self::ReadOnly(why),
            StoreError::Damaged(why) => Self::Damaged(why),
            StoreError::OtherKey => Self::OtherKey,
            StoreError::Broken(broken) => Self::Broken {
                invariant: broken.invariant as u8,
                at: format!("{}:{}", broken.file, broken.line),
            },
            StoreError::Other(why) => Self::Other(why),
        }
    }
}

impl From<ValueError> for Refusal {
    fn from(error: ValueError) -> Self {
        Self::Value(error)
    }
}
