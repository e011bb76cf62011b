//! Calls under way, and who waits for the meetings that come of them.

use std::collections::BTreeMap;

use protocol::DeviceId;

use super::ReplyTo;
use crate::agent::{LinkId, MeetingSummary};
use crate::api::views::meetings::Progress;
use crate::api::{Answer, Refusal, meetings};

/// Ends of meetings that are kept for callers who do not know their link yet.
const ENDS_MAX: usize = 64;

/// A call that is under way.
struct Call {
    peer: DeviceId,
    /// Who has asked for it; `None`: the agent.
    reply: Option<ReplyTo>,
}

/// Calls, and meetings that somebody waits for.
#[derive(Default)]
pub(super) struct Calls {
    calls: BTreeMap<u64, Call>,
    meets: BTreeMap<LinkId, ReplyTo>,
    /// Meetings that ended before the caller knew their link.
    ended: BTreeMap<LinkId, MeetingSummary>,
    next: u64,
}

impl Calls {
    /// A call begins; `reply` hears how it goes, if a person has asked for it. Its number.
    pub(super) fn begin(&mut self, peer: DeviceId, reply: Option<ReplyTo>) -> u64 {
        self.next += 1;
        self.calls.insert(self.next, Call { peer, reply });
        self.next
    }

    /// Whether this phone is being called.
    pub(super) fn calls(&self, peer: &DeviceId) -> bool {
        self.calls.values().any(|call| call.peer == *peer)
    }

    /// Nobody answered. Whom the agent had called, if it was the agent.
    pub(super) fn failed(&mut self, call: u64, failure: Refusal) -> Option<DeviceId> {
        let Call { peer, reply } = self.calls.remove(&call)?;
        let Some(reply) = reply else {
            return Some(peer);
        };
        let _ = reply.send(Answer::Done(Err(failure)));
        None
    }

    /// A call has become a link. Whom the agent had called, if it was the agent.
    pub(super) fn called(&mut self, call: u64, link: LinkId) -> Option<DeviceId> {
        let Call { peer, reply } = self.calls.remove(&call)?;
        let Some(reply) = reply else {
            return Some(peer);
        };
        match self.ended.remove(&link) {
            Some(summary) => tell_end(&reply, &summary),
            None => {
                self.meets.insert(link, reply);
            }
        }
        None
    }

    /// How a meeting goes.
    pub(super) fn progress(&self, link: LinkId, value: Progress) {
        if let Some(reply) = self.meets.get(&link) {
            let _ = reply.send(Answer::Progress(value));
        }
    }

    /// A meeting is over.
    pub(super) fn meeting_ended(&mut self, link: LinkId, summary: MeetingSummary) {
        match self.meets.remove(&link) {
            Some(reply) => tell_end(&reply, &summary),
            None => {
                self.ended.insert(link, summary);
                while self.ended.len() > ENDS_MAX {
                    self.ended.pop_first();
                }
            }
        }
    }

    /// A link that never became a meeting still owes its caller an answer.
    pub(super) fn link_closed(&mut self, link: LinkId, reason: String) {
        if let Some(reply) = self.meets.remove(&link) {
            let _ = reply.send(Answer::Done(Err(Refusal::CallEnded(reason))));
        }
    }

    /// Everything that was under way is over.
    pub(super) fn all_failed(&mut self, failure: &Refusal) {
        for (_, reply) in std::mem::take(&mut self.meets) {
            let _ = reply.send(Answer::Done(Err(failure.clone())));
        }
    }
}

fn tell_end(reply: &ReplyTo, summary: &MeetingSummary) {
    let _ = reply.send(Answer::Done(meetings::outcome(summary).map(Into::into)));
}
