//! A meeting goes on over another link: what its two sides say first there, and what is sent again.
//! Whether and when is not decided here but in `agent/moves.rs`.

use protocol::frame::{Heard, Resume};
use protocol::{Now, always};
use sync::reconcile::MeetingKey;

use super::budget::{self, LinkClass};
use super::carrier::{Opened, Place};
use super::talk::{End, refuse};
use super::{Meeting, Stage};
use crate::agent::tx::Out;
use crate::agent::{LinkId, Output, Phone};
use crate::store::{Store, StoreError};

impl Meeting {
    /// Whether it may go on over another link: both have shown who they are, and can.
    pub(in crate::agent) fn can_move(&self) -> bool {
        let proved = self.stage >= Stage::Exchange && !self.talk.is_stranger();
        proved && self.over.is_none() && self.carrier.can_move()
    }

    /// Its name on another link.
    fn name(&self) -> [u8; 16] {
        self.talk.key.as_ref().map_or([0; 16], MeetingKey::name)
    }

    /// This side goes on over another link, and says so there. What it may carry is that link's.
    pub(in crate::agent) fn move_to(
        &mut self,
        now: Now,
        (link, class): (LinkId, LinkClass),
        out: &mut Out,
    ) {
        always!(self.can_move());
        if let Place::On(left) | Place::Moving(left) = self.carrier.place() {
            out.outputs.push_back(Output::LeaveLink { link: left });
        }
        let bytes = self.carrier.moves_to(link, class, self.name()).to_bytes();
        (self.credit, self.window) = (0, 0);
        self.talk.budget = budget::of_link(class, now);
        self.talk.last_heard_ms = now.mono_ms;
        self.frame_since_ms = now.mono_ms;
        self.bundles.wait_anew(now.mono_ms);
        out.outputs.push_back(Output::Transmit { link, bytes });
    }

    /// The other has moved first, and says up to where it has heard. `false`: it is not this meeting.
    pub(in crate::agent) fn follow(
        &mut self,
        now: Now,
        to: (LinkId, LinkClass),
        said: &Resume,
        out: &mut Out,
    ) -> bool {
        if !self.can_move() || said.meeting != self.name() {
            return false;
        }
        self.move_to(now, to, out);
        match self.carrier.goes_on(said, self.name()) {
            Some(again) => self.say_again(again, out),
            None => self.abandon("the meeting cannot go on where it was"),
        }
        true
    }

    /// The other goes on with a meeting that this phone knows nothing of: it has started anew.
    pub(in crate::agent) fn handle_lost_resume(&mut self) -> Result<(), End> {
        self.abandon("the meeting that was to go on is over here");
        Ok(())
    }

    /// The other says up to where it has heard.
    pub(in crate::agent) fn handle_heard(&mut self, heard: &Heard) -> Result<(), End> {
        match self.carrier.can_move() && self.carrier.hears(heard.bytes) {
            true => Ok(()),
            false => refuse("it has heard what nobody said"),
        }
    }

    /// Bytes that came on the link that it is on, or to which it is moving.
    pub(in crate::agent) fn receive(
        &mut self,
        now: Now,
        bytes: Vec<u8>,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        let Place::Moving(_) = self.carrier.place() else {
            return self.handle_bytes(now, bytes, phone, store);
        };
        match self.carrier.opens(bytes, self.name()) {
            Opened::NotYet => Ok(()),
            Opened::On { again, rest } => {
                self.say_again(again, &mut phone.out);
                self.handle_bytes(now, rest, phone, store)
            }
            Opened::Not => {
                self.abandon("the other phone has begun anew");
                Ok(())
            }
        }
    }

    fn say_again(&mut self, again: Vec<Vec<u8>>, out: &mut Out) {
        let Some(link) = self.carrier.link() else {
            return;
        };
        for bytes in again {
            self.credit = self.credit.saturating_sub(bytes.len());
            out.outputs.push_back(Output::Transmit { link, bytes });
        }
    }
}
