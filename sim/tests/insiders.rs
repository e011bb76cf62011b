//! Hostile insiders of each rank say sequences of up to six frames, drawn from all kinds in all
//! states. No sequence makes a phone's start fail, a store fail, an answer grow without bound, or a
//! member lose a right. `INSIDER_SEQUENCES=1000000` says how many are drawn in all; `INSIDER_SEED`
//! begins elsewhere.

#![allow(clippy::disallowed_methods)] // the environment may say how many

mod common;

use clinical::FindingValue;
use common::siege::Siege;
use common::{CLINIC, SUPERVISOR, WORKER};
use node::agent::{Command, Input, LinkClass, Output};
use protocol::defence::{Defence, without};
use protocol::frame::{CaseStep, Frame, Resume, StepDone};
use protocol::limits::SEND_AHEAD_BYTES_MAX;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sim::insider::Rank;

/// After so many sequences the victim is looked at closely, and started again.
const LOOK_EVERY: u64 = 250;
/// After so many the world begins anew.
const WORLD_EVERY: u64 = 2_500;

fn from_environment(name: &str, usual: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(usual)
}

impl Siege {
    /// Says a sequence to the clinic's phone; the bytes that it answered.
    fn say(&mut self, rng: &mut ChaCha8Rng) -> usize {
        self.link += 1;
        let (link, peer) = (self.link, self.insider.keys.id());
        let mut said = self.insider.opening();
        said.truncate(rng.random_range(0..=said.len() + 3).min(said.len()));
        if said.len() == self.insider.opening().len() && rng.random() {
            // As far as the envelopes themselves, where most can be said.
            let steps = rng.random_range(1..=2);
            said.extend(
                CaseStep::ALL
                    .into_iter()
                    .take(steps)
                    .map(|step| Frame::StepDone(StepDone { step })),
            );
        }
        let frames = rng.random_range(1..=6);
        said.extend((0..frames).map(|_| self.insider.frame(rng)));
        let class = LinkClass::Ip;
        let mut inputs = vec![Input::LinkUp {
            link,
            peer,
            class,
            dialed: rng.random_range(0..8) == 0,
        }];
        inputs.push(Input::LinkWritable {
            link,
            bytes: SEND_AHEAD_BYTES_MAX,
        });
        inputs.extend(said.iter().map(|frame| Input::LinkReceived {
            link,
            bytes: frame.to_bytes(),
        }));
        inputs.push(Input::LinkDown {
            link,
            why: "gone".into(),
        });
        self.meddle(rng, link, &mut inputs);
        let mut answered = 0;
        for input in inputs {
            let frame = format!("{input:?}");
            let outputs = self
                .road
                .world
                .input(CLINIC, input)
                .unwrap_or_else(|e| panic!("{e} after {frame}"));
            let sent = outputs.iter().map(|o| {
                if let Output::Transmit { bytes, .. } = o {
                    bytes.len()
                } else {
                    0
                }
            });
            answered += sent.sum::<usize>();
        }
        answered
    }

    /// Half of the time the clinic's phone has two radios, and a second link comes while the first is
    /// still there, or after it is gone.
    fn meddle(&self, rng: &mut ChaCha8Rng, link: u64, inputs: &mut Vec<Input>) {
        let peer = self.insider.keys.id();
        let several = rng.random();
        let radios = match several {
            true => vec![LinkClass::Bluetooth, LinkClass::Ip],
            false => vec![LinkClass::Ip],
        };
        inputs.insert(0, Input::RadiosChanged(radios));
        if several {
            let class = LinkClass::Bluetooth;
            let (link, dialed) = (u64::MAX - link, rng.random_range(0..8) == 0);
            let at = rng.random_range(2..inputs.len());
            let resume = Frame::Resume(Resume {
                meeting: [0; 16],
                bytes: rng.random_range(0..400),
            });
            let first = match rng.random() {
                true => resume,
                false => self.insider.frame(rng),
            };
            let bytes = first.to_bytes();
            let second = [
                Input::LinkUp {
                    link,
                    peer,
                    class,
                    dialed,
                },
                Input::LinkWritable {
                    link,
                    bytes: SEND_AHEAD_BYTES_MAX,
                },
                Input::LinkReceived { link, bytes },
            ];
            inputs.splice(at..at, second);
            let why = "gone".into();
            inputs.push(Input::LinkDown { link, why });
        }
    }

    /// Nobody has lost anything.
    fn look(&mut self) {
        self.road.world.restart(CLINIC).unwrap();
        let clinic = &self.road.world.phones[CLINIC];
        assert!(
            clinic.agent.known().write_key(&self.road.area).is_some(),
            "the clinic may write no more"
        );
        assert!(
            clinic.store.whole_bundle(&self.running).is_some(),
            "the release has gone"
        );
        assert!(
            clinic
                .agent
                .known()
                .activation(common::MODULE)
                .unwrap()
                .current
                .is_some(),
            "the release runs no more"
        );
        let view = self.road.view(CLINIC, self.case).unwrap();
        assert_eq!(view.findings["cough"].value, FindingValue::Yes);
        for phone in [WORKER, SUPERVISOR, CLINIC] {
            assert!(
                self.road.world.phones[phone]
                    .agent
                    .known()
                    .certificate()
                    .is_some(),
                "phone {phone} counts for nothing"
            );
        }
        // The worker meets the clinic as ever, and what it has just written arrives and is read;
        // the clinic still keeps its space.
        let (name, value) = (
            "note_of_the_day".into(),
            FindingValue::Number(self.link as f64),
        );
        let mut request = [7; 16];
        request[..8].copy_from_slice(&self.link.to_le_bytes());
        let (case, area) = (Some(self.case), self.road.area.clone());
        let entries = vec![record::Entry::Finding { name, value }];
        self.road
            .world
            .command(
                WORKER,
                Command::AddToCase {
                    case,
                    area,
                    entries,
                    request,
                },
            )
            .unwrap();
        let met = self
            .road
            .world
            .meet(WORKER, CLINIC, sim::Cut::Never)
            .unwrap();
        let read = self.road.view(CLINIC, self.case).unwrap();
        assert_eq!(
            read.findings["note_of_the_day"].value,
            FindingValue::Number(self.link as f64),
            "it was not read"
        );
        let area = self.road.area.clone();
        let worker = self.road.world.phones[WORKER]
            .agent
            .known()
            .certificate()
            .unwrap()
            .chain()
            .clone();
        self.road
            .world
            .command(CLINIC, Command::GrantSpace(area, worker))
            .unwrap();
        assert!(
            met.summaries
                .iter()
                .all(|s| s.as_ref().is_some_and(|s| s.complete)),
            "{:?}",
            met.summaries
        );
        assert!(
            self.road.world.phones[WORKER]
                .agent
                .known()
                .write_key(&self.road.area)
                .is_some(),
            "the worker may write no more"
        );
    }
}

fn siege(rank: Rank) {
    siege_of(
        rank,
        from_environment("INSIDER_SEQUENCES", 24_000) / Rank::ALL.len() as u64,
    );
}

fn siege_of(rank: Rank, sequences: u64) {
    let seed = from_environment("INSIDER_SEED", 1) ^ ((rank as u64) << 32);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut siege = Siege::new(rank);
    for n in 1..=sequences {
        let answered = siege.say(&mut rng);
        assert!(
            answered <= SEND_AHEAD_BYTES_MAX + 600_000,
            "{answered} bytes were answered"
        );
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

/// The control: where one keeper alone ends keys at once, sequences of the same kind do harm, and
/// the siege notices.
#[test]
fn with_a_defence_off_a_sequence_of_the_same_kind_does_harm() {
    let harm =
        std::panic::catch_unwind(|| without(Defence::TwoKeepers, || siege_of(Rank::Keeper, 2_500)));
    assert!(harm.is_err());
}
