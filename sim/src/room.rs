//! Many phones in one room, on one medium: a training day, where a supervisor brings a release and
//! thirty workers want it.
//!
//! Every phone meets every other at once. The medium carries one message at a time at its rate,
//! whoever speaks; nothing is heard by more than the one it is meant for (no phone we know of
//! offers reliable multicast to apps).

use std::collections::{BTreeMap, VecDeque};

use distribution::Offer;
use node::agent::{Command, Input, LinkClass, Output};
use protocol::certificate::{Right, Rights};
use protocol::limits::SEND_AHEAD_BYTES_MAX;
use protocol::{Area, Digest};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;

use crate::ministry::Ministry;
use crate::world::{SimError, World};

/// A room.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Phones in it; the first has the release.
    pub phones: usize,
    /// Bytes of the release.
    pub bundle_bytes: usize,
    /// Bytes that the medium carries in a second.
    pub medium_bytes_s: u64,
    /// Seed of all randomness.
    pub seed: u64,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoomReport {
    /// Phones that hold the release whole.
    pub whole: usize,
    /// Seconds until the last of them did.
    pub seconds: f64,
    /// Seconds that the bytes alone need, each given once to each phone.
    pub perfect_seconds: f64,
    /// Bytes over the medium.
    pub bytes: u64,
}

struct Link {
    ends: [usize; 2],
    open: bool,
}

impl Room {
    /// Lets them all meet until nobody has anything more to say.
    pub fn run(&self) -> Result<RoomReport, SimError> {
        let (mut world, digest) = self.settle()?;
        let mut links = BTreeMap::new();
        let mut waiting: VecDeque<(u64, usize, Vec<u8>)> = VecDeque::new();
        let mut number = 0u64;
        for a in 0..self.phones {
            for b in a + 1..self.phones {
                number += 1;
                links.insert(
                    number,
                    Link {
                        ends: [a, b],
                        open: true,
                    },
                );
                for (side, phone, other) in [(0, a, b), (1, b, a)] {
                    let peer = world.keys(other)?.id();
                    let up = Input::LinkUp {
                        link: number,
                        peer,
                        class: LinkClass::Ip,
                        dialed: side == 0,
                    };
                    let outputs = world.input(phone, up)?;
                    collect(phone, outputs, &mut waiting, &mut links);
                }
            }
        }
        for (link, ends) in links
            .iter()
            .map(|(l, link)| (*l, link.ends))
            .collect::<Vec<_>>()
        {
            for phone in ends {
                let outputs = world.input(
                    phone,
                    Input::LinkWritable {
                        link,
                        bytes: SEND_AHEAD_BYTES_MAX,
                    },
                )?;
                collect(phone, outputs, &mut waiting, &mut links);
            }
        }
        let mut report = RoomReport {
            whole: 0,
            seconds: 0.0,
            perfect_seconds: 0.0,
            bytes: 0,
        };
        let begin = world.now;
        let mut micros = 0u64;
        let mut quiet = 0;
        while quiet < 20 {
            let Some((link, from, bytes)) = waiting.pop_front() else {
                // Nobody speaks: time passes until someone gives up waiting.
                quiet += 1;
                micros += 1_000_000;
                world.now = begin.plus_ms(micros / 1000);
                for phone in 0..self.phones {
                    let outputs = world.input(phone, Input::Woke)?;
                    collect(phone, outputs, &mut waiting, &mut links);
                }
                continue;
            };
            let Some(ends) = links.get(&link).filter(|l| l.open).map(|l| l.ends) else {
                continue;
            };
            quiet = 0;
            let sent = bytes.len();
            report.bytes += sent as u64;
            micros += sent as u64 * 1_000_000 / self.medium_bytes_s.max(1);
            world.now = begin.plus_ms(micros / 1000);
            let to = ends.into_iter().find(|end| *end != from).unwrap_or(from);
            let held = world
                .phones
                .get(to)
                .is_some_and(|p| p.store.whole_bundle(&digest).is_some());
            let outputs = world.input(to, Input::LinkReceived { link, bytes })?;
            collect(to, outputs, &mut waiting, &mut links);
            if !held
                && world
                    .phones
                    .get(to)
                    .is_some_and(|p| p.store.whole_bundle(&digest).is_some())
            {
                report.seconds = micros as f64 / 1e6;
                report.whole += 1;
            }
            if links.get(&link).is_some_and(|l| l.open) {
                let outputs = world.input(from, Input::LinkWritable { link, bytes: sent })?;
                collect(from, outputs, &mut waiting, &mut links);
            }
        }
        let given = (self.phones.saturating_sub(1) * self.bundle_bytes) as f64;
        report.perfect_seconds = given / self.medium_bytes_s.max(1) as f64;
        Ok(report)
    }

    fn settle(&self) -> Result<(World, Digest), SimError> {
        let mut rng = ChaCha20Rng::seed_from_u64(self.seed);
        let ministry = Ministry::new(9, 3, 2);
        let mut bundle = vec![0; self.bundle_bytes.max(1)];
        rng.fill_bytes(&mut bundle);
        let area = Area::parse("north/kilifi").unwrap_or_default();
        let mut world = World::new();
        world.add_certified(
            self.phones,
            &ministry,
            &area,
            Rights::of(&[Right::Carry]),
            &mut rng,
        )?;
        let list = ministry.list(1, vec![ministry.release("triage-model", 1, &bundle)]);
        world.command(0, Command::Offer(Box::new(Offer::List(list))))?;
        let digest = world.import(0, &bundle)?;
        Ok((world, digest))
    }
}

fn collect(
    phone: usize,
    outputs: Vec<Output>,
    waiting: &mut VecDeque<(u64, usize, Vec<u8>)>,
    links: &mut BTreeMap<u64, Link>,
) {
    for output in outputs {
        match output {
            Output::Transmit { link, bytes } => waiting.push_back((link, phone, bytes)),
            Output::CloseLink { link, .. } | Output::LeaveLink { link } => {
                if let Some(link) = links.get_mut(&link) {
                    link.open = false;
                }
            }
            Output::Event(_)
            | Output::Dial { .. }
            | Output::RaiseNetwork { .. }
            | Output::JoinNetwork { .. }
            | Output::LeaveNetwork
            | Output::Sleep(_) => {}
        }
    }
}
