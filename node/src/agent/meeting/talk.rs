//! What every lane of a meeting sees of it: the other phone, what has been said of it, and the small
//! frames that go before lanes.

use std::collections::VecDeque;

use distribution::TrustedState;
use distribution::spread::Budget;
use protocol::defence::{self, Defence};
use protocol::frame::{Frame, Holds};
use protocol::{Broken, DeviceId, Now, VerifiedChain};
use sync::reconcile::MeetingKey;

use crate::agent::{LinkId, Phone};
use crate::api::views::meetings::{Kept, NotInStep};
use crate::store::StoreError;

/// Why a frame ends the meeting.
pub(in crate::agent) enum End {
    /// The peer did what no phone of ours does, or what this phone refuses.
    Refuse(String),
    /// Our own store failed: nobody's fault, but the agent must be loaded anew.
    Store(StoreError),
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        End::Store(error)
    }
}

impl From<Broken> for End {
    fn from(broken: Broken) -> Self {
        End::Store(broken.into())
    }
}

/// Shorthand for a refusal.
pub(in crate::agent) fn refuse<T>(reason: impl ToString) -> Result<T, End> {
    Err(End::Refuse(reason.to_string()))
}

/// What came of a meeting.
#[derive(Debug, Clone, Default)]
pub struct MeetingSummary {
    /// The other's certificate name, or empty.
    pub name: String,
    /// Both sides said who they are.
    pub greeted: bool,
    /// Both said all they had to say.
    pub complete: bool,
    /// All spaces were the same on both sides at the end.
    pub in_step: bool,
    /// Why not, where both said all and still are not.
    pub not_in_step: Option<NotInStep>,
    /// One of the two would not go on, and will not the next time unless something changes.
    pub refused: bool,
    /// Envelopes given.
    pub envelopes_sent: u64,
    /// Envelopes that were new here.
    pub envelopes_taken: u64,
    /// Bytes of bundles taken in.
    pub bundle_bytes_taken: u64,
    /// Bytes of bundles given.
    pub bundle_bytes_sent: u64,
    /// Bytes sent in all.
    pub bytes_sent: u64,
    /// Bytes received in all.
    pub bytes_received: u64,
    /// Bytes that both sides spent on finding which envelopes each lacks.
    pub finding_bytes: u64,
    /// Times that one side had to wait for the other until both knew: two are one round trip.
    pub turns: u32,
    /// Roots, lists and notices that were new here.
    pub news: u64,
    /// Why it ended.
    pub reason: String,
}

impl MeetingSummary {
    /// As it is kept.
    pub(in crate::agent) fn kept(&self, peer: &DeviceId, now: Now, phone: &Phone) -> Kept {
        Kept {
            number: phone.meetings_so_far,
            device: *peer,
            name: self.name.clone(),
            at_s: now.wall_s,
            complete: self.complete,
            in_step: self.in_step,
            envelopes_sent: self.envelopes_sent,
            envelopes_taken: self.envelopes_taken,
            bundle_bytes_sent: self.bundle_bytes_sent,
            bundle_bytes_taken: self.bundle_bytes_taken,
            bytes: self.bytes_sent.saturating_add(self.bytes_received),
            reason: self.reason.clone(),
        }
    }
}

/// What lanes share.
pub(in crate::agent) struct Talk {
    pub link: LinkId,
    pub peer: DeviceId,
    /// When something was last heard, in monotone milliseconds.
    pub last_heard_ms: u64,
    pub budget: Budget,
    /// The other's, once it has shown one that counts.
    pub certificate: Option<VerifiedChain>,
    /// What documents the other holds, once it has said so.
    pub theirs: Option<Holds>,
    pub key: Option<MeetingKey>,
    pub summary: MeetingSummary,
    pub outbox: VecDeque<Frame>,
}

impl Talk {
    /// The newest root and list that the other holds: what it said, and after a whole meeting at least
    /// what this phone holds, which it was taught.
    pub(in crate::agent) fn held_there(&self, own: Option<&TrustedState>) -> (u64, u64) {
        let said = self.theirs.as_ref();
        let (root, list) = said.map_or((0, 0), |held| (held.root_version, held.list_version));
        let own = own.filter(|_| self.summary.complete);
        let (taught_root, taught_list) = own.map_or((0, 0), |trust| {
            let list = trust.list().map_or(0, |list| list.version);
            (trust.root_version(), list)
        });
        (root.max(taught_root), list.max(taught_list))
    }

    pub(crate) fn say(&mut self, frame: Frame) {
        self.outbox.push_back(frame);
    }

    /// Whether the other has not shown a certificate that counts.
    pub(crate) fn is_stranger(&self) -> bool {
        self.certificate.is_none() && defence::stands(Defence::Strangers)
    }
}
