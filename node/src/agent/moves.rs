//! A meeting moves to another link with the same phone: to a faster one as soon as there is one, to
//! any other when its own is gone. The side that has called calls again; the other waits, and learns
//! from the first word on a new link whether the meeting goes on there or begins anew.

use std::collections::BTreeMap;

use protocol::frame::{Frame, FrameReader};
use protocol::limits::{GREETING_MS_MAX, MEETINGS_MAX};
use protocol::{DeviceId, Now, always};

use super::meeting::Meeting;
use super::meeting::carrier::Place;
use super::{Agent, LinkClass, LinkId};
use crate::store::{Store, StoreError};

/// Between two calls to a phone whose link is gone.
const AGAIN_MS: u64 = 2_000;

/// A link from a phone that is being met, before its first word.
#[derive(Debug)]
pub(super) struct Arrival {
    peer: DeviceId,
    class: LinkClass,
    since_ms: u64,
    reader: FrameReader,
    /// Whatever came so far: a new meeting hears it from the beginning.
    came: Vec<u8>,
    /// What the link takes.
    credit: usize,
}

/// The meeting that goes over a link now.
pub(super) fn on_link(
    meetings: &mut BTreeMap<LinkId, Meeting>,
    link: LinkId,
) -> Option<&mut Meeting> {
    let mut meetings = meetings.values_mut();
    meetings.find(|m| m.carrier.link() == Some(link))
}

impl Agent {
    /// The meeting with a phone, if it can move.
    fn movable(&self, peer: &DeviceId) -> Option<&Meeting> {
        let with = |m: &&Meeting| m.talk.peer == *peer && m.can_move();
        self.meetings.values().find(with)
    }

    /// Whether a new link serves a meeting that is going on: then it moves, or waits for what the
    /// other says.
    pub(super) fn is_a_move(
        &mut self,
        now: Now,
        (link, peer, class): (LinkId, DeviceId, LinkClass),
        dialed: bool,
    ) -> bool {
        let Some(meeting) = self.movable(&peer).filter(|m| m.dialed == dialed) else {
            return false;
        };
        if !dialed {
            // One at a time: a newer call of the same phone takes the place of an earlier one.
            let earlier = self.arrivals.iter().find(|(_, a)| a.peer == peer);
            if let Some(earlier) = earlier.map(|(link, _)| *link) {
                self.arrivals.remove(&earlier);
                self.phone
                    .out
                    .close(earlier, "a newer call takes its place");
            }
            if self.arrivals.len() >= MEETINGS_MAX {
                self.phone.out.close(link, "no room for another link");
                return true;
            }
            let arrival = Arrival {
                peer,
                class,
                since_ms: now.mono_ms,
                reader: FrameReader::default(),
                came: Vec::new(),
                credit: 0,
            };
            self.arrivals.insert(link, arrival);
            always!(self.arrivals.len() <= MEETINGS_MAX);
            return true;
        }
        if !wants(meeting, class) {
            self.phone
                .out
                .close(link, "this meeting has a link that is as good");
            return true;
        }
        let out = &mut self.phone.out;
        let with = |m: &&mut Meeting| m.talk.peer == peer;
        if let Some(meeting) = self.meetings.values_mut().find(with) {
            meeting.move_to(now, (link, class), out);
        }
        true
    }

    /// The first words on a link from a phone that is being met.
    pub(super) fn handle_arrival(
        &mut self,
        now: Now,
        link: LinkId,
        bytes: Vec<u8>,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        let Some(arrival) = self.arrivals.get_mut(&link) else {
            return Ok(()); // a link that has been closed
        };
        arrival.came.extend_from_slice(&bytes);
        arrival.reader.push(bytes);
        let first = arrival.reader.next_frame();
        if let Ok(None) = first {
            return Ok(());
        }
        let Some(mut arrival) = self.arrivals.remove(&link) else {
            return Ok(());
        };
        let Ok(Some(Frame::Resume(said))) = first else {
            let up = (link, arrival.peer, arrival.class);
            self.handle_link_up(now, up, false, store)?;
            self.handle_writable(link, arrival.credit);
            return match on_link(&mut self.meetings, link) {
                Some(meeting) => meeting.receive(now, arrival.came, &mut self.phone, store),
                None => Ok(()),
            };
        };
        let with = |m: &&mut Meeting| m.talk.peer == arrival.peer;
        let meeting = self.meetings.values_mut().find(with);
        let to = (link, arrival.class);
        if let Some(meeting) = meeting
            && meeting.follow(now, to, &said, &mut self.phone.out)
        {
            meeting.add_credit(arrival.credit);
            let rest = arrival.reader.take_rest();
            return meeting.receive(now, rest, &mut self.phone, store);
        }
        self.phone.out.close(link, "no such meeting is going on");
        Ok(())
    }

    /// A link takes more.
    pub(super) fn handle_writable(&mut self, link: LinkId, bytes: usize) {
        if let Some(arrival) = self.arrivals.get_mut(&link) {
            arrival.credit = arrival.credit.saturating_add(bytes);
        } else if let Some(meeting) = on_link(&mut self.meetings, link) {
            meeting.add_credit(bytes);
        }
    }

    /// A link is gone: a meeting that can move waits for another, any other is over.
    pub(super) fn handle_link_down(
        &mut self,
        now: Now,
        link: LinkId,
        why: &str,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        self.arrivals.remove(&link);
        let began = |(_, m): &(&LinkId, &Meeting)| m.carrier.link() == Some(link);
        let Some(began) = self.meetings.iter().find(began).map(|(began, _)| *began) else {
            return Ok(());
        };
        match self.meetings.get_mut(&began) {
            Some(meeting) if meeting.can_move() => {
                meeting.carrier.falls(now.mono_ms);
                Ok(())
            }
            Some(_) | None => self.end_meeting(now, began, why, store),
        }
    }

    /// A phone that is being met was noticed over some radio: if that is worth more than the link
    /// that there is, this side calls it there.
    pub(super) fn seen_in_meeting(
        &mut self,
        now: Now,
        peer: DeviceId,
        class: LinkClass,
        at: String,
    ) {
        let wants = self
            .movable(&peer)
            .is_some_and(|m| m.dialed && wants(m, class));
        let dial = self.phone.radios.seen_again(now, peer, class, at, wants);
        self.phone.out.outputs.extend(dial);
    }

    /// Calls phones whose links are gone, where they were noticed last.
    pub(super) fn call_again(&mut self, now: Now) {
        for meeting in self.meetings.values() {
            let Place::Nowhere(since_ms) = meeting.carrier.place() else {
                continue;
            };
            if meeting.dialed && meeting.can_move() {
                let (peer, lost) = (meeting.talk.peer, meeting.carrier.class());
                let dial = self
                    .phone
                    .radios
                    .call_again(now, peer, lost, since_ms, AGAIN_MS);
                self.phone.out.outputs.extend(dial);
            }
        }
    }

    /// When such a call is due next.
    pub(super) fn next_call_again_ms(&self) -> Option<u64> {
        let nowhere = |m: &&Meeting| {
            m.dialed && m.can_move() && matches!(m.carrier.place(), Place::Nowhere(_))
        };
        let waiting = self.meetings.values().filter(nowhere);
        let due = waiting.filter_map(|m| self.phone.radios.next_again_ms(&m.talk.peer, AGAIN_MS));
        let arrivals = self.arrivals.values().map(|a| a.since_ms + GREETING_MS_MAX);
        due.chain(arrivals).min()
    }

    /// Who calls and says nothing is not waited for.
    pub(super) fn close_overdue_arrivals(&mut self, now: Now) {
        let overdue = |a: &Arrival| now.mono_ms >= a.since_ms + GREETING_MS_MAX;
        let closed: Vec<_> = self.arrivals.extract_if(.., |_, a| overdue(a)).collect();
        for (link, _) in closed {
            self.phone.out.close(link, "no word came in time");
        }
    }
}

/// Whether a meeting would go on over a link of this class: any, if it has none; else a faster one.
fn wants(meeting: &Meeting, class: LinkClass) -> bool {
    match meeting.carrier.place() {
        Place::Nowhere(_) => true,
        Place::On(_) => class.speed() > meeting.carrier.class().speed(),
        Place::Moving(_) => false,
    }
}
