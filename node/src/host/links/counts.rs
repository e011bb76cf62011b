//! What the radios of a running phone have cost so far, counted where it is spent.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::api::views::idle::Spent;

/// Counters that all drivers of a phone share.
#[derive(Debug, Default)]
pub struct Counts {
    /// Announcements sent over IP.
    pub announced: AtomicU64,
    /// Announcements heard over IP.
    pub heard: AtomicU64,
    /// Of those, what opened with no key that is held here.
    pub strangers: AtomicU64,
    /// UDP datagrams of meetings that were sent, and received, on links that have ended.
    pub datagrams: (AtomicU64, AtomicU64),
    /// Milliseconds for which Bluetooth has scanned.
    pub scanned_ms: AtomicU64,
    /// Times that it began to.
    pub scans: AtomicU64,
    /// Links that are up.
    pub open: AtomicU64,
}

impl Counts {
    /// As it is now.
    pub(crate) fn spent(&self) -> Spent {
        let (sent, received) = &self.datagrams;
        Spent {
            announced: self.announced.load(Relaxed),
            heard: self.heard.load(Relaxed),
            strangers: self.strangers.load(Relaxed),
            datagrams_sent: sent.load(Relaxed),
            datagrams_received: received.load(Relaxed),
            scanned_ms: self.scanned_ms.load(Relaxed),
            scans: self.scans.load(Relaxed),
        }
    }
}
