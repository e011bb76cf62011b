//! What a running phone has cost its battery.

use serde::{Deserialize, Serialize};

/// What its radios have done since it began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Announcements sent over IP.
    pub announced: u64,
    /// Announcements heard over IP.
    pub heard: u64,
    /// Of those, what this phone could not read: other ministries', or it is not enrolled.
    #[serde(default)]
    pub strangers: u64,
    /// UDP datagrams sent in meetings that have ended.
    pub datagrams_sent: u64,
    /// UDP datagrams received in them.
    pub datagrams_received: u64,
    /// Milliseconds for which Bluetooth has scanned.
    pub scanned_ms: u64,
    /// Times that it began to.
    pub scans: u64,
}

/// What it has cost since it began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.idle/1")]
pub struct Idle {
    /// Milliseconds since it began.
    pub since_ms: u64,
    /// Times that one of its threads was woken; `None`: this machine does not tell.
    pub wakeups: Option<u64>,
    /// Milliseconds of processor.
    pub processor_ms: Option<u64>,
    /// Meetings so far, those of earlier runs included.
    pub meetings: u64,
    /// What its radios did.
    pub spent: Spent,
    /// Whether its radios are in use.
    pub running: bool,
}
