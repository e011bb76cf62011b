//! Who and how a phone is, and what passes through it for others.

use crate::agent::Standing;
use crate::store::Aside;
use protocol::{Area, CaseId, DeviceId, Digest};
use serde::{Deserialize, Serialize};

use super::case::Said;

/// Who and how this phone is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.status/2")]
pub struct Status {
    /// Its id.
    pub device: DeviceId,
    /// Where it listens.
    pub listening: Vec<String>,
    /// Its data folder.
    pub data: String,
    /// The ministry's name, once one is trusted.
    pub ministry: Option<String>,
    /// The version of the newest root.
    pub root: Option<u64>,
    /// The version of the release list.
    pub release_list: Option<u64>,
    /// What a person should know of how old this phone's knowledge is.
    pub warnings: Vec<Warning>,
    /// The phone of whose backup this one was made.
    pub restored_from: Option<DeviceId>,
    /// Its name by certificate.
    pub name: Option<String>,
    /// Its area.
    pub area: Option<Area>,
    /// Its rights, `carry,read,…`.
    pub rights: Option<String>,
    /// Cases that it can read.
    pub cases: usize,
    /// Envelopes that are set aside.
    pub quarantined: Vec<Quarantined>,
    /// Changes that no envelope holds yet.
    pub unsent: usize,
    /// Phones that are lost.
    pub lost: Vec<Lost>,
    /// Phones that are said to be lost where nothing here shows that they are.
    pub perhaps_lost: Vec<Lost>,
    /// What was found damaged since the program began.
    pub set_aside: Vec<String>,
    /// For every area from which cases have come, how long ago.
    pub villages: Vec<Village>,
    /// Meetings so far.
    pub meetings: u64,
    /// Spaces of which something is held.
    pub spaces: Vec<Space>,
    /// Bytes of bundles.
    pub bundle_bytes: u64,
    /// The rule pack that runs.
    pub rules: String,
    /// The model that runs.
    pub model: Option<String>,
    /// Phones that were met.
    pub peers: Vec<Peer>,
    /// Phones that are near, and how each stands to this one.
    pub near: Vec<Near>,
    /// Announcements heard since it began that this phone cannot read: another ministry's phones, or
    /// one of the two is not enrolled; `None`: its radios are not in use.
    pub strangers_heard: Option<u64>,
}

/// A phone that is near.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Near {
    /// Who it says it is.
    pub device: DeviceId,
    /// Its name, if a certificate of it is held, or empty.
    pub name: String,
    /// Over Bluetooth, not an IP network.
    pub bluetooth: bool,
    /// Seconds since it was noticed.
    pub noticed_s: u64,
    /// How it stands to this phone.
    #[serde(flatten)]
    pub standing: Standing,
}

/// What a person should know of how old this phone's knowledge is. Nothing of it stops anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "warning", rename_all = "snake_case")]
pub enum Warning {
    /// The clock is behind the ministry's last word.
    ClockBehind,
    /// The clock is far ahead, or nothing new has come for over a year.
    ClockAheadOrNoNews,
    /// The release list is older than it was meant to be.
    ListExpired {
        /// Meetings since that brought none newer.
        meetings: u64,
    },
    /// The root is older than it was meant to be.
    RootExpired,
    /// A newer list exists.
    NewerList {
        /// Its version.
        version: u64,
    },
    /// A newer recall exists.
    NewerRecall,
    /// The keys of the list are retired.
    ListRetired,
    /// A bundle is recalled.
    Recalled {
        /// Module and version, if it is still listed.
        release: Option<String>,
        /// The bundle.
        digest: Digest,
        /// The ministry's words.
        reason: String,
    },
    /// This phone's certificate counts no more.
    NotCertifiedAnyMore,
    /// The keys of a space are locked.
    Locked {
        /// Of which area.
        area: Area,
    },
    /// This phone's certificate has expired.
    CertificateExpired,
    /// By this phone's clock its certificate has ended.
    CertificateEnded {
        /// When, RFC 3339.
        at: String,
    },
    /// Another phone has this one's key, or this data folder was set back to a copy of it.
    KeyElsewhere {
        /// When that showed last, RFC 3339.
        at: String,
    },
    /// A file of cases is not all in yet.
    ImportCutOff,
    /// A file of cases was left before all of it was in.
    ImportGivenUp,
    /// This phone was revoked.
    Revoked {
        /// Why.
        reason: String,
    },
}

/// An envelope that is set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// Which.
    pub envelope: Digest,
    /// Whose, by name.
    pub author: Option<String>,
    /// Why.
    pub why: Aside,
}

/// A phone that is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Which.
    pub device: DeviceId,
    /// Its name.
    pub name: String,
    /// Why.
    pub why: String,
}

/// An area from which cases have come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Village {
    /// Which.
    pub area: Area,
    /// How many of this phone's meetings ago the last ones came.
    pub meetings_ago: u64,
}

/// A space of which something is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// Of which area.
    pub area: Area,
    /// Envelopes.
    pub envelopes: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether this phone can read it.
    pub readable: bool,
}

/// A phone that was met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Which.
    pub device: DeviceId,
    /// Its name, or empty.
    pub name: String,
    /// Meetings with it.
    pub meetings: u64,
    /// Seconds since 1970 at the last one, by this phone's clock.
    pub last_met_s: u64,
    /// Whether the last one ended in step.
    pub in_step: bool,
    /// How many of this phone's meetings ago that was.
    pub meetings_ago: u64,
    /// The newest root that it held then, as it said; 0: not known.
    pub root: u64,
    /// The newest release list that it held then, as it said; 0: not known.
    pub release_list: u64,
}

/// Every document of the ministry's that is held, roots first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.documents/1")]
pub struct Documents {
    /// The documents.
    pub documents: Vec<Document>,
}

/// A document of the ministry's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Its kind.
    pub kind: String,
    /// Its bytes, hexadecimal.
    pub document: String,
}

/// Sealed receipts of phones that are carried here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.receipts/1")]
pub struct Receipts {
    /// Each in hexadecimal.
    pub receipts: Vec<String>,
}

/// All certificate chains that this phone keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.certificates/1")]
pub struct Certificates {
    /// Each in hexadecimal.
    pub chains: Vec<String>,
}

/// A phone that somebody has named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.phone/1")]
pub struct Phone {
    /// Its id.
    pub device: DeviceId,
    /// The name of its certificate, if that is known here.
    pub name: Option<String>,
}

/// This phone's certificate request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.enrol-request/1")]
pub struct EnrolRequest {
    /// The device, for people.
    pub device: DeviceId,
    /// The signed request, hexadecimal.
    pub request: String,
}

/// An answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.enrolment/1")]
pub struct Enrolment {
    /// The ministry's roots, oldest first, hexadecimal.
    pub roots: Vec<String>,
    /// The phone's certificates, hexadecimal.
    pub chain: String,
    /// Grants, each with its issuer's certificates, hexadecimal.
    pub grants: Vec<(String, String)>,
}

/// A key of a space for a phone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.grant/1")]
pub struct Granted {
    /// The grant, hexadecimal.
    pub grant: String,
    /// Its issuer's certificates, hexadecimal.
    pub issuer: Option<String>,
}

/// Something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.done/1")]
pub struct Done {
    /// Whether it changed anything: it may have been so already.
    pub changed: bool,
}

/// A code that unlocks a space for a phone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.unlock-code/1")]
pub struct Code {
    /// Its letters.
    pub code: String,
}

/// Older keys of a space are ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.retired/1")]
pub struct Retired {
    /// Closed cases that are gone here.
    pub cases_gone: usize,
    /// From when days were counted back, RFC 3339.
    pub counted_from: String,
}

/// What lost phones wrote late and nobody has judged yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.set-aside/2")]
pub struct SetAside {
    /// Each envelope.
    pub waiting: Vec<Waiting>,
}

/// An envelope that is set aside, and what it would add.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// Which.
    pub envelope: Digest,
    /// Whose, by name.
    pub author: Option<String>,
    /// Why it waits.
    pub why: Aside,
    /// Its case, where it can be opened.
    pub case: Option<CaseId>,
    /// What a person knows the case by.
    pub title: Option<String>,
    /// What it would add.
    pub adds: Vec<Added>,
}

/// One thing that an envelope would add.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Added {
    /// Who said it.
    pub by: String,
    /// When, by their clock, RFC 3339.
    pub by_their_clock: String,
    /// What.
    pub said: Said,
}

/// A copy of this phone was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.backup/1")]
pub struct BackedUp {
    /// Where.
    pub to: String,
    /// Bytes.
    pub bytes: u64,
}
