//! One meeting over several links, one after another: what the air and the radios do to it, byte by
//! byte. The phones decide themselves when to call over which.

use std::collections::{BTreeSet, VecDeque};

use node::agent::{Event, Input, LinkClass, LinkId, MeetingSummary, Network, Output};
use protocol::limits::{MEETING_SILENCE_MS_MAX, SEND_AHEAD_BYTES_MAX};

use crate::World;
use crate::world::SimError;

/// One link of a meeting, and how it ends.
#[derive(Debug, Clone, Copy)]
pub struct Leg {
    /// Over what.
    pub class: LinkClass,
    /// Bytes that arrive over it, both ways together, before what comes next.
    pub bytes: u64,
    /// Then it dies, with all that is on its way; otherwise it stays, and the next one comes up
    /// beside it.
    pub dies: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Moved {
    /// Of either side, each meeting that ended, in order.
    pub ends: [Vec<MeetingSummary>; 2],
    /// Links that were used.
    pub links: usize,
    /// Bytes that arrived in all.
    pub bytes: u64,
    /// Networks that were raised, joined, and left, by both sides together.
    pub raised: usize,
    /// See `raised`.
    pub joined: usize,
    /// See `raised`.
    pub left: usize,
}

struct Air<'a> {
    world: &'a mut World,
    sides: [usize; 2],
    /// Who sent it, over which link, and what.
    flying: VecDeque<(usize, LinkId, Vec<u8>)>,
    open: BTreeSet<LinkId>,
    dialed: Option<LinkClass>,
    /// Networks can be raised.
    networks: bool,
    moved: Moved,
}

impl Air<'_> {
    fn input(&mut self, side: usize, input: Input) -> Result<(), SimError> {
        for output in self.world.input(self.sides[side], input)? {
            match output {
                Output::Transmit { link, bytes } => self.flying.push_back((side, link, bytes)),
                Output::CloseLink { link, .. } | Output::LeaveLink { link } => {
                    self.open.remove(&link);
                }
                Output::Dial { class, .. } if side == 0 => self.dialed = Some(class),
                Output::Event(Event::MeetingEnded { summary, .. }) => {
                    self.moved.ends[side].push(summary);
                }
                Output::RaiseNetwork { peer } => {
                    self.moved.raised += 1;
                    let network = Some(Network {
                        ssid: "DIRECT-0123456789abcdef".into(),
                        passphrase: "0123456789abcdef".into(),
                        frequency_mhz: 2_437,
                    });
                    let network = network.filter(|_| self.networks);
                    self.input(side, Input::NetworkRaised { peer, network })?;
                }
                Output::JoinNetwork { .. } => self.moved.joined += 1,
                Output::LeaveNetwork => self.moved.left += 1,
                Output::Event(_) | Output::Dial { .. } | Output::Sleep(_) => {}
            }
        }
        Ok(())
    }

    /// A link comes up that the first side has dialed.
    fn up(&mut self, link: LinkId, class: LinkClass) -> Result<(), SimError> {
        self.moved.links += 1;
        self.open.insert(link);
        let bytes = match class {
            LinkClass::Bluetooth => 32 * 1024,
            LinkClass::Ip => SEND_AHEAD_BYTES_MAX,
        };
        for side in [0, 1] {
            let peer = self.world.keys(self.sides[1 - side])?.id();
            let dialed = side == 0;
            let up = Input::LinkUp {
                link,
                peer,
                class,
                dialed,
            };
            self.input(side, up)?;
            self.input(side, Input::LinkWritable { link, bytes })?;
        }
        let peer = self.world.keys(self.sides[1])?.id();
        self.input(
            0,
            Input::DialEnded {
                peer,
                answered: true,
            },
        )
    }

    /// Carries what flies until so many bytes have arrived, or nothing flies any more.
    fn fly(&mut self, mut bytes: u64) -> Result<(), SimError> {
        while bytes > 0
            && let Some((from, link, mut piece)) = self.flying.pop_front()
        {
            let took = bytes.min(piece.len() as u64);
            let rest = piece.split_off(took as usize);
            bytes -= took;
            self.moved.bytes += took;
            if !rest.is_empty() {
                self.flying.push_front((from, link, rest));
            }
            // What was sent before a link was left still arrives.
            let sent = piece.len();
            self.input(1 - from, Input::LinkReceived { link, bytes: piece })?;
            if self.open.contains(&link) {
                self.input(from, Input::LinkWritable { link, bytes: sent })?;
            }
        }
        Ok(())
    }
}

impl World {
    /// Phone `a` calls phone `b`, and they meet over these links, one after another; the last one
    /// stays until all is said. Both have both kinds of radio, if `several`.
    pub fn meet_moving(
        &mut self,
        (a, b): (usize, usize),
        legs: &[Leg],
        several: bool,
    ) -> Result<Moved, SimError> {
        self.meet_raising((a, b), legs, (several, false, false))
    }

    /// The same of phones that can raise networks and join them, if `raises`; raising one succeeds, if
    /// `networks`.
    pub fn meet_raising(
        &mut self,
        (a, b): (usize, usize),
        legs: &[Leg],
        (several, raises, networks): (bool, bool, bool),
    ) -> Result<Moved, SimError> {
        let first = self.next_links(legs.len() as u64);
        let mut air = Air {
            world: self,
            sides: [a, b],
            flying: VecDeque::new(),
            open: BTreeSet::new(),
            dialed: None,
            networks,
            moved: Moved::default(),
        };
        if several {
            let radios = vec![LinkClass::Bluetooth, LinkClass::Ip];
            air.input(0, Input::RadiosChanged(radios.clone()))?;
            air.input(1, Input::RadiosChanged(radios))?;
        }
        if raises {
            air.input(0, Input::RaisingChanged(true))?;
            air.input(1, Input::RaisingChanged(true))?;
        }
        let mut last = None;
        for (link, leg) in (first..).zip(legs) {
            match last {
                None => air.up(link, leg.class)?,
                Some((before, dies)) => {
                    air.dialed = None;
                    if dies {
                        air.flying.clear();
                        air.open.remove(&before);
                        for side in [0, 1] {
                            let why = "out of range".to_owned();
                            air.input(side, Input::LinkDown { link: before, why })?;
                        }
                    }
                    let (peer, at) = (air.world.keys(b)?.id(), format!("near {link}"));
                    air.input(
                        0,
                        Input::Seen {
                            peer,
                            class: leg.class,
                            at,
                        },
                    )?;
                    let Some(class) = air.dialed else { continue };
                    air.up(link, class)?;
                }
            }
            last = Some((link, leg.dies));
            air.fly(leg.bytes)?;
        }
        air.fly(u64::MAX)?;
        // The very last word may have gone down with its link: who waits for it ends by its clock.
        let waits = |air: &Air, side: usize| air.moved.ends.get(side).is_some_and(Vec::is_empty);
        if several && (waits(&air, 0) || waits(&air, 1)) {
            air.world.now.mono_ms += MEETING_SILENCE_MS_MAX;
            air.input(0, Input::Woke)?;
            air.input(1, Input::Woke)?;
        }
        let moved = air.moved;
        self.settle(a)?;
        self.settle(b)?;
        Ok(moved)
    }
}
