//! A meeting over Bluetooth raises a faster network where what is left is worth it: the side that called
//! makes one for the two of them, tells the other how to join over the meeting itself, and takes it
//! down afterwards. From then on it is found like any network, and the meeting moves by its own rule
//! ([`super::moves`]); where nothing comes of it, Bluetooth has gone on all the while.

use protocol::frame::{Frame, Join, Raise};
use protocol::limits::{RAISE_MS_MAX, RAISES_PER_MEETING_MAX};
use protocol::{DeviceId, Now, always};

use super::meeting::Meeting;
use super::meeting::talk::{End, refuse};
use super::radios::worth_raising;
use super::{Agent, LinkClass, Output, Phone};

/// Between two looks at how much is left.
const LOOKS_EVERY_MS: u64 = 2_000;
/// After a network came to nothing, the same meeting raises none for so long.
const RAISES_AGAIN_MS: u64 = 60_000;

/// How two phones come together on a network of their own: what one of them tells the other, sealed by
/// the meeting that they have already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// The network's name.
    pub ssid: String,
    /// Its passphrase.
    pub passphrase: String,
    /// Where to look for it, in MHz; 0: anywhere.
    pub frequency_mhz: u32,
}

/// A network that this phone has raised, or joined, for one meeting.
#[derive(Debug)]
pub(crate) struct Raised {
    peer: DeviceId,
    since_ms: u64,
}

/// What a meeting has said about a faster network so far.
#[derive(Debug, Default)]
pub(super) struct Faster {
    /// Both can raise or join one.
    pub both: bool,
    /// Bytes that the other has said are left there.
    left_there: u64,
    /// This side has said so.
    said: bool,
    /// Networks so far, and when the last one was begun.
    tries: u32,
    last_ms: u64,
    /// When what is left was looked at; `None`: something has been said since.
    looked_ms: Option<u64>,
}

impl Faster {
    /// Once the other has said what it has, or how much is coming, what is left is looked at anew.
    pub(super) fn hears(&mut self, frame: &Frame) {
        if matches!(
            frame,
            Frame::HavesDone(_) | Frame::Coming(_) | Frame::Raise(_)
        ) {
            self.looked_ms = None;
        }
    }

    /// What the other says of networks.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "none of the others is meant"
    )]
    pub(super) fn handle(
        &mut self,
        frame: Frame,
        (peer, dialed): (DeviceId, bool),
        phone: &mut Phone,
    ) -> Result<(), End> {
        match frame {
            Frame::Raise(raise) => self.handle_raise(&raise, dialed),
            Frame::Join(join) => self.handle_join(join, (peer, dialed), phone),
            other => refuse(format!("{} out of its place", other.name())),
        }
    }

    /// The other says that much is left for it: this side, if it has called, may raise a network.
    fn handle_raise(&mut self, raise: &Raise, dialed: bool) -> Result<(), End> {
        if !self.both || !dialed {
            return refuse("Raise out of its place");
        }
        self.left_there = raise.bytes;
        Ok(())
    }

    /// The other has raised a network.
    fn handle_join(
        &mut self,
        join: Join,
        (peer, dialed): (DeviceId, bool),
        phone: &mut Phone,
    ) -> Result<(), End> {
        let may = self.both && !dialed && self.tries < RAISES_PER_MEETING_MAX;
        if !may || !join.is_sound() {
            return refuse("Join out of its place");
        }
        self.tries += 1;
        if phone.radios.raised.is_some() {
            return Ok(()); // one at a time; Bluetooth goes on
        }
        phone.radios.raised = Some(Raised {
            peer,
            since_ms: phone.now.mono_ms,
        });
        let network = Network {
            ssid: join.ssid,
            passphrase: join.passphrase,
            frequency_mhz: join.frequency_mhz,
        };
        let joins = Output::JoinNetwork { peer, network };
        phone.out.outputs.push_back(joins);
        Ok(())
    }
}

/// Looks at what is left of a meeting; `true`: this side is to raise a network.
fn raises(meeting: &mut Meeting, now: Now, phone: &Phone) -> bool {
    let faster = &mut meeting.faster;
    let slow = meeting.carrier.class() == LinkClass::Bluetooth;
    let looked = (faster.looked_ms).is_some_and(|at_ms| now.mono_ms < at_ms + LOOKS_EVERY_MS);
    if !faster.both || !slow || looked {
        return false;
    }
    faster.looked_ms = Some(now.mono_ms);
    let rests = faster.tries > 0 && now.mono_ms < faster.last_ms + RAISES_AGAIN_MS;
    if faster.tries >= RAISES_PER_MEETING_MAX || rests || !meeting.can_move() {
        return false;
    }
    let left = meeting.left_here(phone);
    if !worth_raising(left.max(meeting.faster.left_there), phone.radios.power()) {
        return false;
    }
    let faster = &mut meeting.faster;
    if meeting.dialed {
        faster.tries += 1;
        faster.last_ms = now.mono_ms;
        return true;
    }
    if !std::mem::replace(&mut faster.said, true) {
        meeting.talk.say(Frame::Raise(Raise { bytes: left }));
    }
    false
}

impl Agent {
    /// Leaves a network that is of no more use.
    pub(super) fn leave_what_is_of_no_use(&mut self, now: Now) {
        let out = &mut self.phone.out.outputs;
        if let Some(raised) = &self.phone.radios.raised {
            let mut with = self
                .meetings
                .values()
                .filter(|m| m.talk.peer == raised.peer);
            let of_use = with.any(|m| {
                let moved = m.carrier.class() == LinkClass::Ip && m.carrier.link().is_some();
                moved || (m.can_move() && now.mono_ms < raised.since_ms + RAISE_MS_MAX)
            });
            if !of_use {
                out.push_back(Output::LeaveNetwork);
                self.phone.radios.raised = None;
            }
        }
    }

    /// Raises a network for a meeting where that is worth it.
    pub(super) fn look_at_raising(&mut self, now: Now) {
        if self.phone.radios.raised.is_some() || !self.phone.radios.can_raise() {
            return; // one at a time
        }
        for meeting in self.meetings.values_mut() {
            if raises(meeting, now, &self.phone) {
                let peer = meeting.talk.peer;
                self.phone.radios.raised = Some(Raised {
                    peer,
                    since_ms: now.mono_ms,
                });
                let raise = Output::RaiseNetwork { peer };
                self.phone.out.outputs.push_back(raise);
                return;
            }
        }
    }

    /// A network has been raised for a phone, or could not be.
    pub(super) fn handle_raised(&mut self, peer: DeviceId, network: Option<Network>) {
        let ours = self.phone.radios.raised.as_ref();
        if ours.is_none_or(|raised| raised.peer != peer) {
            if network.is_some() {
                self.phone.out.outputs.push_back(Output::LeaveNetwork); // it came too late
            }
            return;
        }
        let with = |m: &&mut Meeting| m.talk.peer == peer && m.faster.both && m.can_move();
        match (network, self.meetings.values_mut().find(with)) {
            (Some(network), Some(meeting)) => {
                always!(meeting.dialed, "who called raises");
                meeting.talk.say(Frame::Join(Join {
                    ssid: network.ssid,
                    passphrase: network.passphrase,
                    frequency_mhz: network.frequency_mhz,
                }));
            }
            (Some(_), None) => {
                self.phone.out.outputs.push_back(Output::LeaveNetwork);
                self.phone.radios.raised = None;
            }
            (None, _) => self.phone.radios.raised = None,
        }
    }

    /// A network could not be joined.
    pub(super) fn handle_not_joined(&mut self, peer: DeviceId) {
        let raised = &mut self.phone.radios.raised;
        raised.take_if(|raised| raised.peer == peer);
    }

    /// When to look next at a network that is of no use yet.
    pub(super) fn next_raising_ms(&self) -> Option<u64> {
        let raised = self.phone.radios.raised.as_ref()?;
        let mut with = self
            .meetings
            .values()
            .filter(|m| m.talk.peer == raised.peer);
        let moved = with.any(|m| m.carrier.class() == LinkClass::Ip);
        (!moved).then_some(raised.since_ms + RAISE_MS_MAX)
    }
}
