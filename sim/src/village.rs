//! The first world: a village of phones, one of which has met the ministry, and chance meetings.
//!
//! Numbers (see the field notes): about three meetings per phone and day, a median meeting of four
//! minutes, and a busy tenth of phones that takes part in most of them.

use std::collections::BTreeSet;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;

use distribution::Offer;
use node::BundleStore;
use node::agent::Command;
use protocol::certificate::{Right, Rights};
use protocol::{Area, Digest};

use crate::attacks::{Attack, Scene, attacker};
use crate::ministry::Ministry;
use crate::world::{Cut, SimError, SimPhone, World};

const MODULE: &str = "triage-model";

/// The beacon that the first phone has seen.
const BEACON_S: u64 = 1_763_000_000;

/// A village.
#[derive(Debug, Clone)]
pub struct Village {
    /// Phones in it.
    pub phones: usize,
    /// Seed of all randomness.
    pub seed: u64,
    /// Bytes of the release.
    pub bundle_bytes: usize,
    /// Meetings per phone and day.
    pub meetings_per_day: f64,
    /// Days after which the simulation ends.
    pub days_max: u32,
    /// Phones that speak nothing but attacks, beside the others.
    pub hostile: usize,
}

impl Default for Village {
    fn default() -> Self {
        Self {
            phones: 200,
            seed: 1,
            bundle_bytes: 400_000,
            meetings_per_day: 3.0,
            days_max: 60,
            hostile: 0,
        }
    }
}

/// How many phones ran the release at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coverage {
    /// Hours since the ministry published.
    pub hour: u32,
    /// Phones that run it.
    pub phones: usize,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VillageReport {
    /// Phones in the village.
    pub phones: usize,
    /// The curve, one point whenever it changed.
    pub curve: Vec<Coverage>,
    /// Meetings that took place.
    pub meetings: u64,
    /// Meetings that were cut short.
    pub cut: u64,
    /// Bytes over all links.
    pub bytes: u64,
    /// Attacks that were said to a phone.
    pub attacks: u64,
    /// Of these, refused with a reason; the others came to nothing.
    pub refused: u64,
    /// Phones that at the end hold or run anything the ministry has not signed.
    pub misled: usize,
    /// A digest of everything that happened: equal for equal seeds.
    pub trace: [u8; 32],
}

impl VillageReport {
    /// The hour by which a share of the phones ran the release.
    pub fn hour_of_share(&self, share: f64) -> Option<u32> {
        self.curve
            .iter()
            .find(|c| c.phones as f64 >= share * self.phones as f64)
            .map(|c| c.hour)
    }

    /// Whether all phones run it.
    pub fn complete(&self) -> bool {
        self.curve.last().is_some_and(|c| c.phones == self.phones)
    }
}

impl Village {
    /// Lets the days pass until every phone runs the release.
    pub fn run(&self) -> Result<VillageReport, SimError> {
        let mut rng = ChaCha20Rng::seed_from_u64(self.seed);
        let (mut world, scene) = self.settle(&mut rng)?;
        let attacks = scene.attacks();
        let genuine: BTreeSet<_> = scene.list.releases.iter().map(|r| r.digest).collect();
        let mut report = VillageReport {
            phones: self.phones,
            ..VillageReport::default()
        };
        let mut trace = blake3::Hasher::new();
        let per_hour = (self.meetings_per_day * self.phones as f64 / 2.0 / 14.0).max(1.0) as u32; // 14 waking hours
        for hour in 0..self.days_max * 24 {
            world.now = world.now.plus_ms(3_600_000);
            if (6..20).contains(&(hour % 24)) {
                for _ in 0..per_hour {
                    self.chance_meeting(&mut world, &mut rng, &mut report, &mut trace)?;
                }
                // A hostile phone seeks as many meetings as any other.
                for _ in 0..per_hour as usize * self.hostile / self.phones.max(1) {
                    self.hostile_meeting(&mut world, &attacks, &mut rng, &mut report)?;
                }
            }
            let covered = covered(&world);
            if report.curve.last().is_none_or(|c| c.phones != covered) {
                report.curve.push(Coverage {
                    hour,
                    phones: covered,
                });
            }
            if covered == self.phones {
                break;
            }
        }
        report.misled = world
            .phones
            .iter()
            .filter(|p| !keeps_to(p, &genuine))
            .count();
        report.trace = *trace.finalize().as_bytes();
        Ok(report)
    }

    fn settle(&self, rng: &mut impl Rng) -> Result<(World, Scene), SimError> {
        let ministry = Ministry::new(7, 3, 2);
        let mut bundle = vec![0; self.bundle_bytes.max(1)];
        rng.fill_bytes(&mut bundle);
        let area = Area::parse("north/kilifi").unwrap_or_default();
        let rights = Rights::of(&[Right::Carry, Right::Read, Right::Write]);
        let mut world = World::new();
        world.add_certified(self.phones, &ministry, &area, rights, rng)?;
        let scene = Scene::new(ministry.clone(), &bundle, Vec::new(), BEACON_S);
        world.command(
            0,
            Command::Offer(Box::new(Offer::List(ministry.sign(&scene.list)))),
        )?;
        world.command(
            0,
            Command::Offer(Box::new(Offer::Beacon(ministry.beacon(
                BEACON_S,
                scene.list.version,
                0,
            )))),
        )?;
        world.import(0, &bundle)?;
        Ok((world, scene))
    }

    fn chance_meeting(
        &self,
        world: &mut World,
        rng: &mut impl Rng,
        report: &mut VillageReport,
        trace: &mut blake3::Hasher,
    ) -> Result<(), SimError> {
        // A busy tenth is in about two thirds of all meetings.
        let busy = (self.phones / 10).max(1);
        let a = if rng.random_bool(0.65) {
            rng.random_range(0..busy)
        } else {
            rng.random_range(0..self.phones)
        };
        let b = rng.random_range(0..self.phones);
        if a == b || !world.calls(a, b)? {
            return Ok(());
        }
        // Bluetooth at 35 kB/s for a time around four minutes: some meetings end in the middle of a
        // piece.
        let seconds = 240.0 * (-(rng.random_range(0.0001..1.0f64)).ln());
        let meeting = world.meet(a, b, Cut::Bytes((seconds * 35_000.0) as u64))?;
        let complete = meeting.summaries.iter().flatten().any(|s| s.complete);
        report.meetings += 1;
        report.cut += u64::from(!complete);
        report.bytes += meeting.bytes;
        for number in [a as u64, b as u64, meeting.bytes, meeting.frames as u64] {
            trace.update(&number.to_le_bytes());
        }
        Ok(())
    }
}

impl Village {
    fn hostile_meeting(
        &self,
        world: &mut World,
        attacks: &[Attack],
        rng: &mut impl Rng,
        report: &mut VillageReport,
    ) -> Result<(), SimError> {
        let victim = rng.random_range(0..self.phones);
        let Some(attack) = attacks.get(rng.random_range(0..attacks.len().max(1))) else {
            return Ok(());
        };
        let heard = world.hear(victim, attacker().id(), &attack.talk, 0)?;
        report.attacks += 1;
        report.refused += u64::from(heard.refused.is_some());
        Ok(())
    }
}

/// Whether a phone holds and runs only what the ministry has signed.
fn keeps_to(phone: &SimPhone, genuine: &BTreeSet<Digest>) -> bool {
    let held = phone.store.bundles().unwrap_or_default();
    let runs = phone
        .agent
        .known()
        .activations()
        .filter_map(|(_, a)| a.current.as_ref());
    let lists = phone
        .agent
        .known()
        .trust()
        .is_some_and(|t| t.releases().iter().all(|r| genuine.contains(&r.digest)));
    lists
        && held.iter().all(|b| genuine.contains(&b.id.digest))
        && runs.into_iter().all(|m| genuine.contains(&m.digest))
}

fn covered(world: &World) -> usize {
    let runs = |p: &&SimPhone| {
        p.agent
            .known()
            .activation(MODULE)
            .is_some_and(|a| a.current.is_some())
    };
    world.phones.iter().filter(runs).count()
}
