//! What a phone keeps, as the agent sees it. One input is one transaction of the store: the caller
//! commits after `handle_input` and before anything is transmitted; on an error it rolls back,
//! drops the agent and loads it anew.
//!
//! Stores accept only what has been verified, and what they give back is verified again where it
//! matters: a store is a file that others may have touched.

use clinical::Urgency;
use distribution::TrustRecords;
use distribution::bundle::Groups;
use protocol::signed::Verified;
use protocol::{
    Area, Broken, BundleId, CaseId, CaseTag, ChainId, DeviceId, EnvelopeId, SpaceId, VerifiedChain,
};
use serde::{Deserialize, Serialize};
use sync::envelope::AuthorKey;
use sync::epoch::EpochTag;
use sync::receipt::SealedReceipt;
use sync::{SpaceKey, VerifiedEnvelope};

use std::collections::BTreeMap;

mod setting;

pub use setting::{Family, Setting};

/// Why a store could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No room left.
    #[error("the disk is full")]
    Full,
    /// May not be written.
    #[error("the data folder cannot be written: {0}")]
    ReadOnly(String),
    /// What was read is not what was written.
    #[error("damaged data: {0}")]
    Damaged(String),
    /// It is another key's than the phone's.
    #[error("what was kept is another key's")]
    OtherKey,
    /// An invariant of the house did not hold: what the input wrote is taken back.
    #[error("{0}")]
    Broken(#[from] Broken),
    /// Anything else the machine says.
    #[error("{0}")]
    Other(String),
}

/// A case as the list of cases needs it, so that listing opens no document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseRow {
    /// The case.
    pub id: CaseId,
    /// The area whose space it lies in.
    pub area: Area,
    /// What a person knows it by: the patient's name and village, as far as they are kept.
    /// Personal.
    pub title: String,
    /// Its urgency by decision or assessment, if there is one.
    pub urgency: Option<Urgency>,
    /// Seconds since 1970 when this phone last changed or took in something.
    pub changed_s: u64,
    /// Entries in it.
    pub entries: u64,
    /// Findings about which people differ.
    pub questions: u64,
    /// What stands for it on the outside of its envelopes, by the keys under which some were
    /// sealed.
    pub tags: Vec<CaseTag>,
}

/// An envelope of one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvelopeRow {
    /// Which.
    pub id: EnvelopeId,
    /// Which of this phone's envelopes it is, counted in the order in which they came.
    pub position: u64,
    /// Who wrote it.
    pub author: AuthorKey,
    /// The epoch of its key.
    pub epoch: EpochTag,
    /// Its bytes; 0 if only its id is kept.
    pub bytes: u64,
}

/// A certificate chain that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainRow {
    /// What it is known by.
    pub id: ChainId,
    /// Who issued its last certificate; `None`: the ministry.
    pub issuer: Option<DeviceId>,
    /// Something that is held here was written under it.
    pub used: bool,
}

/// How much is held of one author.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AuthorUsage {
    /// Sealed envelopes.
    pub envelopes: u64,
    /// Notices.
    pub notices: u64,
    /// Their bytes, all together.
    pub bytes: u64,
    /// Of both, those in quarantine.
    pub quarantined: u64,
}

/// A space of which something is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpaceRow {
    /// The space.
    pub space: SpaceId,
    /// Its area.
    pub area: Area,
    /// Envelopes held.
    pub envelopes: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A bundle of which something is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleRow {
    /// Its name.
    pub id: BundleId,
    /// Its size.
    pub bytes: u64,
    /// Whether all of it is there and checked.
    pub whole: bool,
}

/// What is remembered of a phone that was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerRow {
    /// The phone.
    pub device: DeviceId,
    /// Its name by certificate, or empty.
    pub name: String,
    /// Meetings so far.
    pub meetings: u64,
    /// Seconds since 1970 at the last one, by this phone's clock.
    pub last_met_s: u64,
    /// Whether the last one ended with all spaces in step.
    pub in_step: bool,
    /// Which of this phone's meetings the last one was.
    pub at_meeting: u64,
    /// The newest root and release list that it held then; 0: none, or it is not known.
    pub held: (u64, u64),
}

/// Why an envelope is set aside. It is kept, and travels on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aside {
    /// Its author's phone is lost: somebody above must countersign it.
    Late,
    /// It waits while another one is opened alone.
    Alone,
    /// The program stopped twice while it was being opened: it is not opened any more.
    Parked,
    /// It cannot be taken into its case; what was found, for whoever looks into it.
    Refused(String),
}

impl Aside {
    /// As a store keeps it.
    pub fn code(&self) -> &str {
        match self {
            Self::Late => "late",
            Self::Alone => "alone",
            Self::Parked => "parked",
            Self::Refused(why) => why,
        }
    }

    /// From what a store has kept; older versions kept sentences.
    pub fn of_code(code: &str) -> Self {
        match code {
            "late" => Self::Late,
            "alone" => Self::Alone,
            "parked" => Self::Parked,
            old if old.starts_with("its author's phone is lost") => Self::Late,
            old if old.starts_with("it waits while another") => Self::Alone,
            old if old.starts_with("the program stopped twice") => Self::Parked,
            why => Self::Refused(why.to_owned()),
        }
    }
}

/// What is known of the ministry, of other phones and of this one: settings, documents, certificates,
/// receipts, peers.
pub trait TrustStore {
    /// Small values of the agent's own: its certificates, what is active, answers already given.
    fn setting(&self, key: &Setting) -> Result<Option<Vec<u8>>, StoreError>;
    /// Small values of one kind, by what follows its name.
    fn settings(&self, family: &Family) -> Result<Vec<(String, Vec<u8>)>, StoreError>;
    /// Keeps a small value.
    fn put_setting(&mut self, key: &Setting, value: &[u8]) -> Result<(), StoreError>;
    /// The ministry's documents: kind and signed bytes, in the order in which they were given.
    fn trust_records(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError>;
    /// Replaces the ministry's documents, all at once.
    fn put_trust_records(&mut self, records: &TrustRecords) -> Result<(), StoreError>;
    /// Chains of authors with this short name, the oldest first; a device keeps its earlier ones,
    /// under which it has written.
    fn chains(&self, author: AuthorKey) -> Result<Vec<Vec<u8>>, StoreError>;
    /// All chains that are kept, the oldest first.
    fn every_chain(&self) -> Result<Vec<Vec<u8>>, StoreError>;
    /// The same of one device, without their bytes, the oldest first.
    fn chain_rows(&self, device: &DeviceId) -> Result<Vec<ChainRow>, StoreError>;
    /// How many devices an issuer has certified whose chains are kept.
    fn devices_of(&self, issuer: &DeviceId) -> Result<u64, StoreError>;
    /// The oldest chain of an issuer under which nothing was written.
    fn oldest_unused_of(&self, issuer: &DeviceId) -> Result<Option<ChainId>, StoreError>;
    /// Keeps a chain, if none of its id is kept.
    fn put_chain(&mut self, chain: &VerifiedChain) -> Result<(), StoreError>;
    /// Something that is held here was written under a chain.
    fn use_chain(&mut self, chain: &ChainId) -> Result<(), StoreError>;
    /// Forgets a chain.
    fn remove_chain(&mut self, chain: &ChainId) -> Result<(), StoreError>;
    /// Receipts of phones, this one's among them: device, number, signed bytes.
    fn receipts(&self) -> Result<Vec<(DeviceId, u64, Vec<u8>)>, StoreError>;
    /// How many receipts are held of devices that an issuer has certified.
    fn receipts_of(&self, issuer: &DeviceId) -> Result<u64, StoreError>;
    /// Keeps a receipt in the place of an older one of the same device, which `issuer` has
    /// certified; when there are too many, the oldest of other phones than `own` go.
    fn put_receipt(
        &mut self,
        receipt: &Verified<SealedReceipt>,
        issuer: Option<DeviceId>,
        own: &DeviceId,
    ) -> Result<(), StoreError>;
    /// What is remembered of a phone.
    fn peer(&self, device: &DeviceId) -> Result<Option<PeerRow>, StoreError>;
    /// Remembers a phone.
    fn put_peer(&mut self, peer: &PeerRow) -> Result<(), StoreError>;
    /// What was found damaged and set aside since it was last asked, in words for people.
    fn set_aside(&mut self) -> Vec<String> {
        Vec::new()
    }
    /// All phones that were met.
    fn peers(&self) -> Result<Vec<PeerRow>, StoreError>;
}

/// Sealed envelopes and notices, the keys that open them, what is set aside, and what each peer holds.
pub trait EnvelopeStore {
    /// Keys of the spaces that this phone reads.
    fn space_keys(&self) -> Result<Vec<SpaceKey>, StoreError>;
    /// Keeps a space's key.
    fn put_space_key(&mut self, key: &SpaceKey) -> Result<(), StoreError>;
    /// Destroys a space's key.
    fn remove_space_key(&mut self, key: &SpaceKey) -> Result<(), StoreError>;
    /// Spaces of which envelopes are held.
    fn spaces(&self) -> Result<Vec<SpaceRow>, StoreError>;
    /// Envelopes of a space, in the order they were taken in.
    fn envelope_ids(&self, space: SpaceId) -> Result<Vec<(EnvelopeId, Urgency)>, StoreError>;
    /// The bytes of an envelope.
    fn envelope(&self, id: &EnvelopeId) -> Result<Option<Vec<u8>>, StoreError>;
    /// Keeps an envelope of the space of `area`; `false` if it was there.
    fn put_envelope(
        &mut self,
        envelope: &VerifiedEnvelope,
        area: &Area,
    ) -> Result<bool, StoreError>;
    /// The envelopes of a space that belong to a case.
    fn case_envelopes(&self, space: SpaceId, tag: CaseTag) -> Result<Vec<EnvelopeRow>, StoreError>;
    /// Every sealed envelope of a space, in the order they were taken in.
    fn envelope_rows(&self, space: SpaceId) -> Result<Vec<EnvelopeRow>, StoreError>;
    /// The position of the last envelope taken in of a space.
    fn last_position(&self, space: SpaceId) -> Result<u64, StoreError>;
    /// The bytes of every notice held, in the order they were taken in.
    fn notices(&self) -> Result<Vec<Vec<u8>>, StoreError>;
    /// Forgets the bytes of an envelope and keeps its id: it is not taken in again.
    fn evict(&mut self, id: &EnvelopeId) -> Result<(), StoreError>;
    /// Forgets an envelope wholly.
    fn remove_envelope(&mut self, id: &EnvelopeId) -> Result<(), StoreError>;
    /// How much is held of an author.
    fn usage_of(&self, author: AuthorKey) -> Result<AuthorUsage, StoreError>;
    /// Envelopes that are being opened, or were when the program came down, and how often that was
    /// begun. Durable at once, outside the transaction: it must outlive what it warns of.
    fn attempts(&self) -> BTreeMap<EnvelopeId, u8>;
    /// Replaces them.
    fn put_attempts(&mut self, attempts: &BTreeMap<EnvelopeId, u8>) -> Result<(), StoreError>;
    /// How many envelopes are held.
    fn envelope_count(&self) -> Result<u64, StoreError>;
    /// Notes that an envelope cannot be taken into its case, and why. It is kept and travels on.
    fn put_quarantine(&mut self, id: &EnvelopeId, why: &Aside) -> Result<(), StoreError>;
    /// An envelope has been taken in after all.
    fn remove_quarantine(&mut self, id: &EnvelopeId) -> Result<(), StoreError>;
    /// How many envelopes could not be taken in.
    fn quarantine_count(&self) -> Result<u64, StoreError>;
    /// Envelopes that could not be taken in.
    fn quarantined(&self) -> Result<Vec<(EnvelopeId, Aside)>, StoreError>;
    /// A phone has shown that it holds what this one holds of a space, up to a position.
    fn put_cursor(
        &mut self,
        device: &DeviceId,
        space: SpaceId,
        position: u64,
    ) -> Result<(), StoreError>;
    /// Which phones have shown that they hold what this one held, up to which position.
    fn cursors(&self) -> Result<Vec<(DeviceId, SpaceId, u64)>, StoreError>;
}

/// Cases in the clear for whoever reads them, and what no envelope holds yet.
pub trait CaseStore {
    /// The visit that is under way, as it was kept.
    fn visit(&self) -> Result<Option<Vec<u8>>, StoreError>;
    /// Keeps the visit that is under way, where nobody reads it without the phone's key.
    fn put_visit(&mut self, visit: Option<&[u8]>) -> Result<(), StoreError>;
    /// The file of cases that is being taken in, as it was kept.
    fn import(&self) -> Result<Option<Vec<u8>>, StoreError>;
    /// Keeps the file of cases that is being taken in, where nobody reads it without the phone's key.
    fn put_import(&mut self, import: Option<&[u8]>) -> Result<(), StoreError>;
    /// The document of a case.
    fn case(&self, id: &CaseId) -> Result<Option<Vec<u8>>, StoreError>;
    /// Keeps the document of a case and its row.
    fn put_case(&mut self, row: &CaseRow, document: &[u8]) -> Result<(), StoreError>;
    /// All cases, the last changed first.
    fn cases(&self) -> Result<Vec<CaseRow>, StoreError>;
    /// One of them.
    fn case_row(&self, id: &CaseId) -> Result<Option<CaseRow>, StoreError>;
    /// Destroys a case here.
    fn remove_case(&mut self, id: &CaseId) -> Result<(), StoreError>;
    /// This phone's changes that no envelope holds yet (no consent to share, or no key to write
    /// with), oldest first.
    fn outbox(&self) -> Result<Vec<(CaseId, Vec<u8>)>, StoreError>;
    /// The same of one case; `true` for one that says nothing but that consent is withdrawn.
    fn outbox_of(&self, case: &CaseId) -> Result<Vec<(Vec<u8>, bool)>, StoreError>;
    /// Keeps a change that no envelope holds yet, and whether it says that consent is withdrawn.
    fn put_outbox(
        &mut self,
        case: &CaseId,
        change: &[u8],
        withdraws: bool,
    ) -> Result<(), StoreError>;
    /// The first so many changes of a case are in envelopes now.
    fn clear_outbox(&mut self, case: &CaseId, count: usize) -> Result<(), StoreError>;
}

/// Bundles: releases, deltas and photos, whole or in part.
pub trait BundleStore {
    /// Bundles of which something is held.
    fn bundles(&self) -> Result<Vec<BundleRow>, StoreError>;
    /// The tree list and the groups of a bundle as they are on disk, each checked against the
    /// other; nothing, if nothing of it is there. What lies in its place and is not it is moved out
    /// of the way.
    fn open_bundle(&mut self, id: &BundleId, bytes: u64) -> Result<(Vec<u8>, Groups), StoreError>;
    /// Keeps the checked tree list of a bundle of so many bytes.
    fn put_tree(&mut self, id: &BundleId, bytes: u64, tree: &[u8]) -> Result<(), StoreError>;
    /// Keeps checked groups of a bundle.
    fn write_groups(&mut self, id: &BundleId, first: u64, bytes: &[u8]) -> Result<(), StoreError>;
    /// Groups of a bundle as they lie there, not checked; `None` if they cannot be read.
    fn read_groups(
        &mut self,
        id: &BundleId,
        first: u64,
        count: u64,
    ) -> Result<Option<Vec<u8>>, StoreError>;
    /// A whole bundle is not what it should be: it is a part from now on. What of it is right, is
    /// for `open_bundle` to say.
    fn doubt_bundle(&mut self, id: &BundleId) -> Result<(), StoreError>;
    /// Makes a bundle whole: checks the digest of all of it and gives it its final name. `false` if
    /// it is not right: then it has been thrown away.
    fn finish_bundle(&mut self, id: &BundleId) -> Result<bool, StoreError>;
    /// Forgets a bundle, whole or not. Nothing happens if there is none.
    fn remove_bundle(&mut self, id: &BundleId) -> Result<(), StoreError>;
}

/// Everything a phone keeps. See the module's words on transactions.
pub trait Store: TrustStore + EnvelopeStore + CaseStore + BundleStore {}

impl<S: TrustStore + EnvelopeStore + CaseStore + BundleStore> Store for S {}
