//! One phone's mind, without I/O. Inputs come in one at a time; what follows from each is in the
//! store before any of it is transmitted.
//!
//! `Phone` is what the phone knows whoever it talks to; a `Meeting` is what it knows of one talk.

use std::collections::BTreeMap;

use protocol::defence::{self, Defence};
use protocol::limits::{MEETINGS_MAX, STRANGERS_MAX};
use protocol::{Deadline, DeviceId, DeviceKeys, Invariant, Now, always, never};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::api::meetings;
use crate::store::{PeerRow, Setting, Store, StoreError};

mod commands;
mod consequence;
mod delivery;
mod ending;
mod identity;
mod import;
mod io;
mod known;
mod load;
mod meeting;
mod moves;
mod parcels;
mod phone;
mod radios;
mod raising;
mod records;
mod releases;
mod renewal;
mod spaces;
#[cfg(test)]
mod tests;
mod tx;

pub use commands::{Command, Reply};
pub use delivery::{Whereabouts, heard, whereabouts};
pub use import::{FileKnows, ImportStep};
pub use io::{Event, Input, LinkId, Output};
pub use known::{Known, Snapshot};
use meeting::Meeting;
pub use meeting::MeetingSummary;
pub use meeting::budget::LinkClass;
pub use parcels::Parcel;
use phone::Phone;
pub use radios::{Near, Power, Standing};
pub use raising::Network;
pub use records::Preview;
pub(crate) use records::{linked, named_by};
pub use spaces::locked;

/// Milliseconds that a phone that nobody here knows has for itself before another may take its
/// place.
const STRANGER_LEAST_MS: u64 = 3_000;

/// One phone.
pub struct Agent {
    phone: Phone,
    /// By the link that each began on.
    meetings: BTreeMap<LinkId, Meeting>,
    /// Links on which a phone that is being met has not said yet what for.
    arrivals: BTreeMap<LinkId, moves::Arrival>,
    asleep: bool,
}

impl Agent {
    /// The phone as its store knows it. `seed` is fresh randomness at every load: nonces come from
    /// it.
    pub fn load(
        keys: DeviceKeys,
        seed: [u8; 32],
        store: &mut dyn Store,
    ) -> Result<Self, StoreError> {
        let mut aside = Vec::new();
        let rng = ChaCha20Rng::from_seed(seed);
        let mut phone = Phone::load(keys, rng, &mut aside, store)?;
        aside.extend(store.set_aside());
        aside
            .into_iter()
            .for_each(|what| phone.out.event(Event::SetAside { what }));
        Ok(Self {
            phone,
            meetings: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            asleep: false,
        })
    }

    /// This phone's name.
    pub fn id(&self) -> DeviceId {
        self.phone.own.keys.id()
    }

    /// What it knows now.
    pub fn known(&self) -> Known<'_> {
        Known {
            own: &self.phone.own,
            spaces: &self.phone.spaces,
            activations: &self.phone.releases.activations,
            meetings_so_far: self.phone.meetings_so_far,
            meetings_without_news: self.phone.unmoved_since_news,
            near: &[],
        }
    }

    /// What it knows now, and who is near, to be looked at while it goes on.
    pub fn snapshot(&self, now: Now) -> Snapshot {
        let meeting = |peer: &DeviceId| meets(&self.meetings, peer);
        let news = (self.phone.out.revision, meeting);
        let near = self.phone.radios.near(now, self.id(), news);
        Snapshot::of(self.known(), near)
    }

    /// A neighbour was noticed: what is heard of it proves nothing, and the call will.
    fn handle_seen(
        &mut self,
        now: Now,
        (peer, class, at): (DeviceId, LinkClass, String),
        store: &dyn Store,
    ) -> Result<(), StoreError> {
        let own = self.id();
        self.phone.radios.notice(now, (peer, class), &at);
        if peer == own {
            return Ok(()); // shown while it is heard; whoever has the discovery key can say so
        }
        let Phone { radios, out, .. } = &self.phone;
        if meets(&self.meetings, &peer) {
            self.seen_in_meeting(now, peer, class, at);
            return Ok(());
        }
        if !radios.worth_meeting(now, out.revision, &peer) {
            return Ok(());
        }
        let known = !store.chain_rows(&peer)?.is_empty();
        let near = radios::Neighbour {
            peer,
            class,
            at,
            known,
        };
        let dial = self.phone.radios.seen(now, own, near);
        self.phone.out.outputs.extend(dial);
        Ok(())
    }

    /// Takes one input. On an error the caller rolls the store back, drops this agent and loads
    /// another.
    pub fn handle_input(
        &mut self,
        now: Now,
        input: Input,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        self.asleep = false;
        self.phone.now = now;
        self.phone.count_days(store)?;
        match input {
            Input::LinkUp {
                link,
                peer,
                class,
                dialed,
            } => {
                let up = (link, peer, class);
                match self.is_a_move(now, up, dialed) {
                    true => {}
                    false => self.handle_link_up(now, up, dialed, store)?,
                }
            }
            Input::LinkReceived { link, bytes } => match moves::on_link(&mut self.meetings, link) {
                Some(meeting) => meeting.receive(now, bytes, &mut self.phone, store)?,
                None => self.handle_arrival(now, link, bytes, store)?,
            },
            Input::LinkWritable { link, bytes } => self.handle_writable(link, bytes),
            Input::LinkDown { link, why } => self.handle_link_down(now, link, &why, store)?,
            Input::Command { ticket, command } => {
                let result = self.phone.handle_command(*command, store)?;
                self.phone.settle(store)?;
                self.phone.out.event(Event::Reply { ticket, result });
            }
            Input::Woke => self.end_overdue_meetings(now),
            Input::RadiosChanged(classes) => self.phone.radios.set_classes(classes),
            Input::RaisingChanged(can) => self.phone.radios.set_raises(can),
            Input::NetworkRaised { peer, network } => self.handle_raised(peer, network),
            Input::NetworkNotJoined { peer } => self.handle_not_joined(peer),
            Input::Seen { peer, class, at } => self.handle_seen(now, (peer, class, at), store)?,
            Input::DialEnded { peer, answered } => self.phone.radios.ended(now, peer, answered),
            Input::PowerChanged(power) => self.phone.radios.set_power(power),
        }
        let meeting = |peer: &DeviceId| meets(&self.meetings, peer);
        let dials = self.phone.radios.due(now, meeting);
        self.phone.out.outputs.extend(dials);
        self.call_again(now);
        self.look_at_raising(now);
        self.advance(now, store)?;
        self.leave_what_is_of_no_use(now);
        Ok(())
    }

    /// What to do next; `Sleep` when there is nothing more.
    pub fn poll_output(&mut self) -> Output {
        if let Some(output) = self.phone.out.outputs.pop_front() {
            return output;
        }
        self.asleep = true;
        if self.phone.records.some_wait {
            return Output::Sleep(Some(Deadline {
                at_ms: 0,
                why: "something waits to be opened",
            }));
        }
        let due = |m: &Meeting| {
            m.piece_due_ms()
                .into_iter()
                .chain(m.quiet_due_ms(&self.phone))
                .chain([m.due().0])
                .min()
        };
        let meeting = self.meetings.values().filter_map(due).min();
        let meeting = meeting.map(|at_ms| Deadline {
            at_ms,
            why: "a silent meeting",
        });
        let call = self.phone.radios.next_due_ms().map(|at_ms| Deadline {
            at_ms,
            why: "a call that was left to the other",
        });
        let retry = self.phone.releases.retry_ms.map(|at_ms| Deadline {
            at_ms,
            why: "a release that is tried again",
        });
        let again = self.next_call_again_ms().map(|at_ms| Deadline {
            at_ms,
            why: "a meeting whose link is gone",
        });
        let raised = self.next_raising_ms().map(|at_ms| Deadline {
            at_ms,
            why: "a network that was raised",
        });
        let all = meeting.into_iter().chain(call).chain(retry).chain(again);
        let all = all.chain(raised);
        Output::Sleep(all.min_by_key(|d| d.at_ms))
    }

    fn handle_link_up(
        &mut self,
        now: Now,
        (link, peer, class): (LinkId, DeviceId, LinkClass),
        dialed: bool,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        let ours = self.id();
        self.end_meeting(now, link, "its link is another's now", store)?; // if it was in use
        if peer == ours {
            self.phone.out.close(link, "this phone's own key");
            return self.phone.note_twin(store);
        }
        self.phone.radios.notice(now, (peer, class), "");
        if self.meetings.len() >= MEETINGS_MAX {
            self.phone.out.close(link, "no room for another meeting");
            return Ok(());
        }
        if let Some((other, kept)) = self
            .meetings
            .iter()
            .find(|(_, m)| m.talk.peer == peer)
            .map(|(l, m)| (*l, m.dialed))
        {
            let earlier = self.meetings.get(&other).and_then(|m| m.carrier.link());
            // Both called at once: the call of the phone with the lower id stays, on both sides.
            // The same side called twice: it has started anew, and the earlier call is dead.
            if dialed != kept && kept == (ours < peer) {
                self.phone.out.close(link, "already meeting this phone");
                return Ok(());
            }
            if let Some(earlier) = earlier {
                self.phone
                    .out
                    .close(earlier, "a newer call takes its place");
            }
            self.end_meeting(now, other, "a newer call takes its place", store)?;
        }
        let known = dialed || !store.chain_rows(&peer)?.is_empty();
        if !known && !self.make_room_for_a_stranger(now, store)? {
            self.phone
                .out
                .close(link, "no room for another phone that nobody here knows");
            return Ok(());
        }
        let meeting = Meeting::begin(now, (link, peer, class), (dialed, known), &mut self.phone);
        self.meetings.insert(link, meeting);
        never!(Invariant::Bounded, self.meetings.len() > MEETINGS_MAX)?;
        always!(
            self.meetings_with(&peer) == 1,
            "no two meetings with one phone"
        );
        always!(self.strangers_are_few());
        Ok(())
    }

    /// Meetings with a phone: one, or none.
    fn meetings_with(&self, peer: &DeviceId) -> usize {
        let with = self.meetings.values().filter(|m| m.talk.peer == *peer);
        with.count()
    }

    /// Whether no more places of strangers are taken than there are.
    fn strangers_are_few(&self) -> bool {
        let strangers = self.meetings.values();
        let strangers = strangers.filter(|m| m.takes_a_strangers_place());
        strangers.count() <= STRANGERS_MAX || !defence::stands(Defence::Strangers)
    }

    /// Few phones that nobody here knows are met at once. A new one takes the place of the one that
    /// has been here longest, if that has had its time.
    fn make_room_for_a_stranger(
        &mut self,
        now: Now,
        store: &mut dyn Store,
    ) -> Result<bool, StoreError> {
        let strangers: Vec<_> = self
            .meetings
            .iter()
            .filter(|(_, m)| m.takes_a_strangers_place())
            .collect();
        if strangers.len() < STRANGERS_MAX || !defence::stands(Defence::Strangers) {
            return Ok(true);
        }
        let oldest = strangers.into_iter().min_by_key(|(_, m)| m.began_ms);
        // A stranger's meeting never moves: its link is the one that it began on.
        let Some(link) = oldest
            .filter(|(_, m)| now.mono_ms >= m.began_ms + STRANGER_LEAST_MS)
            .map(|(link, _)| *link)
        else {
            return Ok(false);
        };
        self.phone.out.close(link, "it makes room for others");
        self.end_meeting(now, link, "it makes room for others", store)?;
        Ok(true)
    }

    /// Lets every meeting say what it now can, and ends those that are over.
    fn advance(&mut self, now: Now, store: &mut dyn Store) -> Result<(), StoreError> {
        self.phone.look_after(store)?;
        self.phone.meetings = self.meetings.len();
        for meeting in self.meetings.values_mut() {
            meeting.advance(&mut self.phone, store)?;
        }
        let over: Vec<_> = self
            .meetings
            .iter()
            .filter(|(_, m)| m.over().is_some())
            .map(|(link, _)| *link)
            .collect();
        for link in over {
            let meeting = self.meetings.get(&link);
            let reason = meeting.and_then(Meeting::over).unwrap_or_default();
            if let Some(current) = meeting.and_then(|m| m.carrier.link()) {
                self.phone.out.close(current, &reason);
            }
            self.end_meeting(now, link, &reason, store)?;
        }
        always!(self.meetings.values().all(|m| m.over().is_none()));
        always!(
            self.phone.out.consequences.is_empty(),
            "all that follows is done"
        );
        Ok(())
    }

    fn end_meeting(
        &mut self,
        now: Now,
        link: LinkId,
        reason: &str,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        let Some(meeting) = self.meetings.remove(&link) else {
            return Ok(());
        };
        meeting.release_asked(&mut self.phone);
        let asked = self.meetings.is_empty() && self.phone.releases.any_asked();
        never!(Invariant::EndsAnywhere, asked)?;
        let bundles = &self.phone.releases.bundles;
        always!(bundles.values().all(|b| b.tree_from != Some(link)));
        let summary = meeting.summary(reason);
        always!(summary.greeted || !summary.complete);
        let certified = meeting.talk.certificate.is_some() || !defence::stands(Defence::Strangers);
        if summary.greeted && certified {
            self.phone.meetings_so_far += 1;
            store.put_setting(
                &Setting::meetings(),
                &self.phone.meetings_so_far.to_le_bytes(),
            )?;
            let known = store.peer(&meeting.talk.peer)?;
            store.put_peer(&PeerRow {
                device: meeting.talk.peer,
                name: summary.name.clone(),
                meetings: known.map_or(0, |p| p.meetings).saturating_add(1),
                last_met_s: now.wall_s,
                in_step: summary.in_step,
                at_meeting: self.phone.meetings_so_far,
                held: meeting.talk.held_there(self.phone.own.trust.as_ref()),
            })?;
            let (place, kept) = meetings::kept(&summary.kept(&meeting.talk.peer, now, &self.phone));
            store.put_setting(&place, &kept)?;
            self.phone.after_meeting(store)?;
        }
        if summary.complete && summary.news == 0 && certified {
            self.phone.unmoved_since_news += 1;
            store.put_setting(
                &Setting::unmoved(),
                &self.phone.unmoved_since_news.to_le_bytes(),
            )?;
        }
        let before = self.phone.radios.last(&meeting.talk.peer);
        let (failures, revision) = match (summary.complete, before) {
            (true, _) => (0, self.phone.out.revision),
            (false, Some(last)) => (last.failures.saturating_add(1), last.revision),
            (false, None) => (1, 0),
        };
        let refused = summary.refused || (!summary.complete && !summary.greeted);
        let last = radios::LastMeeting {
            at_ms: now.mono_ms,
            revision,
            failures,
            refused,
        };
        self.phone.radios.remember(meeting.talk.peer, last);
        self.phone.out.event(Event::MeetingEnded { link, summary });
        Ok(())
    }

    fn end_overdue_meetings(&mut self, now: Now) {
        self.close_overdue_arrivals(now);
        for meeting in self.meetings.values_mut() {
            let (due, why) = meeting.due();
            if now.mono_ms >= due {
                meeting.abandon(why);
            } else if meeting.piece_due_ms().is_some_and(|due| now.mono_ms >= due) {
                meeting.abandon("pieces were asked for and none came");
            }
        }
    }
}

fn meets(meetings: &BTreeMap<LinkId, Meeting>, peer: &DeviceId) -> bool {
    meetings.values().any(|meeting| meeting.talk.peer == *peer)
}
