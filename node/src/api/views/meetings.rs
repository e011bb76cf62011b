//! Meetings: how one goes, what came of it, and those that are kept.

use protocol::DeviceId;
use protocol::frame::Lane;
use serde::{Deserialize, Serialize};

/// Why two phones are not in step after a meeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotInStep {
    /// This phone is not certified, so no cases were exchanged.
    Uncertified,
    /// The other phone is not certified, so no cases were exchanged.
    OtherUncertified,
    /// One of the two may not carry cases.
    MayNotCarry,
    /// More was written while they met, or does not fit here.
    MoreWritten,
    /// So many changes were passed over: their authors' certificates are not known here yet.
    AuthorsUnknown(u64),
}

/// What came of a meeting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.meeting/2")]
pub struct Meeting {
    /// The other's name by certificate, or empty.
    pub name: String,
    /// Both said all they had to say.
    pub complete: bool,
    /// All spaces were the same on both sides at the end.
    pub in_step: bool,
    /// Why not, where both said all and still are not.
    pub not_in_step: Option<NotInStep>,
    /// Envelopes given.
    pub envelopes_sent: u64,
    /// Envelopes that were new here.
    pub envelopes_taken: u64,
    /// Bytes of bundles given.
    pub bundle_bytes_sent: u64,
    /// Bytes of bundles taken.
    pub bundle_bytes_taken: u64,
    /// Bytes sent in all.
    pub bytes_sent: u64,
    /// Bytes received in all.
    pub bytes_received: u64,
    /// Bytes spent on finding the difference.
    pub finding_bytes: u64,
    /// Round trips spent on it.
    pub finding_round_trips: f64,
    /// Why it ended.
    pub reason: String,
}

/// The meetings that are kept, the latest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.meetings/1")]
pub struct Meetings {
    /// Each.
    pub meetings: Vec<Kept>,
}

/// A meeting that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Which of this phone's meetings it was.
    pub number: u64,
    /// With whom.
    pub device: DeviceId,
    /// Their name by certificate, or empty.
    pub name: String,
    /// Seconds since 1970 at its end, by this phone's clock.
    pub at_s: u64,
    /// Both said all they had to say.
    pub complete: bool,
    /// All spaces were the same on both sides at the end.
    pub in_step: bool,
    /// Envelopes given.
    pub envelopes_sent: u64,
    /// Envelopes that were new here.
    pub envelopes_taken: u64,
    /// Bytes of bundles given.
    pub bundle_bytes_sent: u64,
    /// Bytes of bundles taken.
    pub bundle_bytes_taken: u64,
    /// Bytes sent and received.
    pub bytes: u64,
    /// Why it ended.
    pub reason: String,
}

/// How far a meeting is, or a file of cases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// Both have said who they are; the other's name by certificate.
    Began(Option<String>),
    /// How far a lane is.
    Lane {
        /// Which.
        lane: Lane,
        /// Bytes or items so far.
        done: u64,
        /// Of how many.
        total: u64,
    },
    /// Something offered was refused, and why.
    Refused(String),
    /// How far a file of cases is.
    Cases {
        /// Cases so far.
        done: u64,
        /// Of how many.
        total: u64,
    },
}
