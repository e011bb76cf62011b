//! Hostile insiders of each rank say sequences of up to six frames, drawn from all kinds in all states. No sequence makes a phone's
//! start fail, a store fail, an answer grow without bound, or a member lose a right. `INSIDER_SEQUENCES=1000000` says how many are
//! drawn in all; `INSIDER_SEED` begins elsewhere.

#![allow(clippy::disallowed_methods)] // the environment may say how many

mod common;

use common::siege::Siege;
use common::{CLINIC, WORKER};
use node::agent::{Input, LinkClass, Output};
use protocol::frame::{Frame, StepDone};
use protocol::limits::SEND_AHEAD_BYTES_MAX;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sim::insider::Rank;
use sync::FindingValue;

/// After so many sequences the victim is looked at closely, and started again.
const LOOK_EVERY: u64 = 250;
/// After so many the world begins anew.
const WORLD_EVERY: u64 = 2_500;

fn from_environment(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

impl Siege {
    /// Says a sequence to the clinic's phone; the bytes that it answered.
    fn say(&mut self, dice: &mut ChaCha8Rng) -> usize {
        self.link += 1;
        let (link, peer) = (self.link, self.insider.keys.id());
        let mut said = self.insider.opening();
        said.truncate(dice.random_range(0..=said.len() + 3).min(said.len()));
        if said.len() == self.insider.opening().len() && dice.random() {
            // As far as the envelopes themselves, where most can be said.
            let steps = dice.random_range(1..=2);
            said.extend((0..steps).map(|step| Frame::StepDone(StepDone { step })));
        }
        let frames = dice.random_range(1..=6);
        said.extend((0..frames).map(|_| self.insider.frame(dice)));
        let class = LinkClass::Ip;
        let mut inputs = vec![Input::LinkUp { link, peer, class, dialed: dice.random_range(0..8) == 0 }];
        inputs.push(Input::LinkWritable { link, bytes: SEND_AHEAD_BYTES_MAX });
        inputs.extend(said.iter().map(|frame| Input::LinkReceived { link, bytes: frame.to_bytes() }));
        inputs.push(Input::LinkDown { link, why: "gone".into() });
        let mut answered = 0;
        for input in inputs {
            let frame = format!("{input:?}");
            let outputs = self.road.world.input(CLINIC, input).unwrap_or_else(|e| panic!("{e} after {frame}"));
            let sent = outputs.iter().map(|o| if let Output::Transmit { bytes, .. } = o { bytes.len() } else { 0 });
            answered += sent.sum::<usize>();
        }
        answered
    }

    /// Nobody has lost anything.
    fn look(&mut self) {
        self.road.world.restart(CLINIC).unwrap();
        let clinic = &self.road.world.phones[CLINIC];
        assert!(clinic.agent.write_key(&self.road.area).is_some(), "the clinic may write no more");
        assert!(clinic.store.whole_bundle(&self.running).is_some(), "the release has gone");
        assert!(clinic.agent.activation(common::MODULE).unwrap().current.is_some(), "the release runs no more");
        let view = self.road.view(CLINIC, self.case).unwrap();
        assert_eq!(view.findings["cough"].value, FindingValue::Yes);
        // The worker meets the clinic as ever, and its words arrive.
        let met = self.road.world.meet(WORKER, CLINIC, sim::Cut::Never).unwrap();
        assert!(met.summaries.iter().all(|s| s.as_ref().is_some_and(|s| s.complete)), "{:?}", met.summaries);
        assert!(
            self.road.world.phones[WORKER].agent.write_key(&self.road.area).is_some(),
            "the worker may write no more"
        );
    }
}

fn siege(rank: Rank) {
    let sequences = from_environment("INSIDER_SEQUENCES", 24_000) / Rank::ALL.len() as u64;
    let seed = from_environment("INSIDER_SEED", 1) ^ ((rank as u64) << 32);
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let mut siege = Siege::new(rank);
    for n in 1..=sequences {
        let answered = siege.say(&mut dice);
        assert!(answered <= SEND_AHEAD_BYTES_MAX + 600_000, "{answered} bytes were answered");
        if rank == Rank::Stranger {
            assert!(answered <= 80_000, "a stranger was told {answered} bytes");
        }
        if n % LOOK_EVERY == 0 {
            siege.look();
        }
        if n % WORLD_EVERY == 0 {
            siege = Siege::new(rank);
        }
    }
}

#[test]
fn no_six_frames_of_a_stranger_do_harm() {
    siege(Rank::Stranger);
}

#[test]
fn no_six_frames_of_a_hostile_worker_do_harm() {
    siege(Rank::Worker);
}

#[test]
fn no_six_frames_of_a_hostile_supervisor_do_harm() {
    siege(Rank::Supervisor);
}

#[test]
fn no_six_frames_of_a_hostile_keeper_do_harm() {
    siege(Rank::Keeper);
}
