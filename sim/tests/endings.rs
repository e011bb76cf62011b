//! Storms in which keys change and end while people write: no word of a case that nobody has closed
//! is ever lost, and all readers hold the same in the end, however far the ending of keys had
//! spread when they wrote. `ENDING_SEED=n cargo test --release -p kijiti-sim --test endings` runs
//! one alone.

#![allow(clippy::disallowed_methods)] // a seed may be given by the environment

mod common;

use std::collections::{BTreeMap, BTreeSet};

use clinical::FindingValue;
use common::{CLINIC, DESK, Road, SUPERVISOR, WORKER};
use node::CaseStore;
use node::agent::{Command, Reply};
use protocol::CaseId;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use record::Entry;
use sim::Cut;

const SEEDS: u64 = 400;
const STEPS: usize = 30;

struct Endings {
    road: Road,
    rng: ChaCha8Rng,
    readers: Vec<usize>,
    phones: Vec<usize>,
    /// What was acknowledged of each case.
    said: BTreeMap<CaseId, Vec<String>>,
    closed: BTreeSet<CaseId>,
    requests: u16,
}

impl Endings {
    fn new(seed: u64) -> Self {
        let (mut road, rng) = (Road::new(1), ChaCha8Rng::seed_from_u64(seed));
        let colleague = road.second_reader(77, "north/kilifi/watamu");
        road.world.meet(CLINIC, colleague, Cut::Never).unwrap();
        let (readers, phones) = (
            vec![WORKER, CLINIC, colleague],
            vec![DESK, SUPERVISOR, WORKER, CLINIC, colleague],
        );
        Self {
            road,
            rng,
            readers,
            phones,
            said: BTreeMap::new(),
            closed: BTreeSet::new(),
            requests: 0,
        }
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..35 => self.write(false),
            35..45 => self.write(true),
            45..84 => {
                let pair: Vec<usize> = self.phones.sample(&mut self.rng, 2).copied().collect();
                let cut = match self.rng.random_range(0..3) {
                    0 => Cut::Frames(self.rng.random_range(0..40)),
                    _ => Cut::Never,
                };
                self.road.world.meet(pair[0], pair[1], cut).unwrap();
            }
            84..86 => {
                let days = self.rng.random_range(1..9);
                self.road.days_pass(days);
            }
            86..89 => {
                let phone = *self.phones.choose(&mut self.rng).unwrap();
                self.road.world.restart(phone).unwrap();
            }
            89..95 => {
                let command = Command::RotateSpace(self.road.area.clone(), Vec::new());
                self.road.world.command(CLINIC, command).unwrap();
            }
            _ => {
                let since_s = if self.rng.random() {
                    u64::MAX
                } else {
                    self.road.world.now.wall_s
                };
                // Refused where there is no older key to end.
                drop(
                    self.road
                        .world
                        .command(CLINIC, Command::Retire(self.road.area.clone(), since_s)),
                );
            }
        }
    }

    fn write(&mut self, closes: bool) {
        let phone = *self.readers.choose(&mut self.rng).unwrap();
        let known: Vec<_> = self.road.world.phones[phone]
            .store
            .cases()
            .unwrap()
            .iter()
            .map(|c| c.id)
            .collect();
        let case = known
            .choose(&mut self.rng)
            .copied()
            .filter(|_| closes || self.rng.random_range(0..3) > 0);
        self.requests += 1;
        let name = format!("finding_{}", self.requests);
        let mut entries = vec![Entry::Finding {
            name: name.clone(),
            value: FindingValue::Yes,
        }];
        entries.extend(case.is_none().then(|| Entry::consent("share", true)));
        if closes {
            let value = FindingValue::Text("recovered".into());
            entries.push(Entry::Finding {
                name: "outcome".into(),
                value,
            });
        }
        let mut request = [0; 16];
        request[..2].copy_from_slice(&self.requests.to_le_bytes());
        let command = Command::AddToCase {
            case,
            area: self.road.area.clone(),
            entries,
            request,
        };
        let Reply::Case(case) = self.road.world.command(phone, command).unwrap() else {
            panic!("no case")
        };
        self.said.entry(case).or_default().push(name);
        if closes {
            self.closed.insert(case);
        }
    }

    fn heal(&mut self) {
        for _ in 0..4 {
            self.road.days_pass(8);
            for phone in self
                .phones
                .clone()
                .into_iter()
                .filter(|phone| *phone != SUPERVISOR)
            {
                self.road.world.meet(phone, SUPERVISOR, Cut::Never).unwrap();
            }
        }
        for (case, words) in &self.said {
            let views: Vec<_> = self
                .readers
                .iter()
                .map(|reader| self.road.view(*reader, *case))
                .collect();
            let [first, rest @ ..] = views.as_slice() else {
                panic!("no readers")
            };
            let there: Vec<_> = views.iter().map(Option::is_some).collect();
            assert!(
                rest.iter().all(|view| view == first),
                "case {case}: {there:?}"
            );
            if self.closed.contains(case) {
                continue; // a keeper may have ended it: wholly, or up to what somebody wrote into it afterwards
            }
            let view = first.as_ref().unwrap();
            for name in words {
                assert!(
                    view.findings.contains_key(name),
                    "{name} of {case} was acknowledged and is missing"
                );
            }
        }
        let keys: Vec<_> = self
            .readers
            .iter()
            .map(|r| self.road.world.phones[*r].agent.known().space_keys().len())
            .collect();
        assert!(
            keys.windows(2).all(|pair| pair[0] == pair[1]),
            "ended keys are held somewhere: {keys:?}"
        );
        for reader in &self.readers {
            assert!(
                self.road.world.phones[*reader]
                    .store
                    .outbox()
                    .unwrap()
                    .is_empty()
            );
        }
        let last = self.road.world.meet(WORKER, CLINIC, Cut::Never).unwrap();
        assert!(last.summaries.iter().all(|s| s.as_ref().unwrap().in_step));
    }
}

#[test]
fn no_word_of_an_open_case_is_lost_while_keys_end() {
    let one = std::env::var("ENDING_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    for seed in one.map_or(0..SEEDS, |seed: u64| seed..seed + 1) {
        let done = std::panic::catch_unwind(|| {
            let mut endings = Endings::new(seed);
            (0..STEPS).for_each(|_| endings.step());
            endings.heal();
        });
        assert!(
            done.is_ok(),
            "the storm of seed {seed} did damage: ENDING_SEED={seed} runs it alone"
        );
    }
}
