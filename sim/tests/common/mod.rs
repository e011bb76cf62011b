//! A pair of phones, and what must never go back.
#![allow(dead_code)]

pub(crate) mod asks;
pub(crate) mod siege;

use clinical::FindingValue;
use node::agent::{Command, Reply};
use node::{CaseStore, EnvelopeStore};
use protocol::certificate::{Right, Rights};
use protocol::{Area, CaseId, Digest, SpaceId};
use record::Entry;
use sim::{Cut, Ministry, World};

pub(crate) const MODULE: &str = "triage-model";

pub(crate) struct Road {
    pub world: World,
    pub ministry: Ministry,
    pub bundle: Vec<u8>,
    pub area: Area,
}

pub(crate) const DESK: usize = 0;
pub(crate) const SUPERVISOR: usize = 1;
pub(crate) const WORKER: usize = 2;
pub(crate) const CLINIC: usize = 3;

impl Road {
    /// Ministry desk, supervisor, worker and clinic, enrolled as in the demo; nothing published
    /// yet.
    pub(crate) fn new(bundle_bytes: usize) -> Self {
        let ministry = Ministry::new(3, 3, 2);
        let area = Area::parse("north/kilifi").unwrap();
        let mut world = World::new();
        for i in 0..4u8 {
            world.add([i + 1; 32]).unwrap();
            world
                .command(usize::from(i), Command::InstallTrust(ministry.root.clone()))
                .unwrap();
        }
        let all = Rights::of(&[Right::Carry, Right::Read, Right::Write]);
        let carry = Rights::of(&[Right::Carry]);
        let supervisor = Rights::of(&[Right::Carry, Right::Enrol]);
        let clinic = Rights::of(&[Right::Carry, Right::Read, Right::Write, Right::Grant]);
        let none = Rights::default();
        let desk = ministry.certify(
            world.keys(DESK).unwrap(),
            "desk",
            &Area::default(),
            carry,
            none,
        );
        let boss = ministry.certify(
            world.keys(SUPERVISOR).unwrap(),
            "supervisor",
            &area,
            supervisor,
            all,
        );
        let clinic = ministry.certify(world.keys(CLINIC).unwrap(), "clinic", &area, clinic, none);
        let village = Area::parse("north/kilifi/mtwapa").unwrap();
        let worker =
            sim::ministry::certificate(world.keys(WORKER).unwrap(), "worker", &village, all, none);
        let worker = boss.extended(protocol::Signed::by(
            &worker,
            world.keys(SUPERVISOR).unwrap(),
        ));
        for (phone, chain) in [
            (DESK, &desk),
            (SUPERVISOR, &boss),
            (WORKER, &worker),
            (CLINIC, &clinic),
        ] {
            world
                .command(phone, Command::InstallChain(chain.clone()))
                .unwrap();
        }
        world
            .command(CLINIC, Command::CreateSpace(area.clone()))
            .unwrap();
        let Reply::Document(grant) = world
            .command(CLINIC, Command::GrantSpace(area.clone(), worker))
            .unwrap()
        else {
            panic!("a grant was expected");
        };
        let grant = protocol::Signed::from_bytes(&grant).unwrap();
        world
            .command(WORKER, Command::InstallGrant(Box::new((grant, clinic))))
            .unwrap();
        let bundle = (0..bundle_bytes)
            .map(|i| (i * 31 + i / 253) as u8)
            .collect();
        Self {
            world,
            ministry,
            bundle,
            area,
        }
    }

    /// A second reader and writer of a village, certified by the ministry and granted by the
    /// clinic; it has not met anybody yet.
    pub(crate) fn second_reader(&mut self, seed: u8, village: &str) -> usize {
        let reader = self.world.add([seed; 32]).unwrap();
        self.world
            .command(reader, Command::InstallTrust(self.ministry.root.clone()))
            .unwrap();
        let rights = Rights::of(&[Right::Carry, Right::Read, Right::Write]);
        let keys = self.world.keys(reader).unwrap().clone();
        let village = Area::parse(village).unwrap();
        let chain = self
            .ministry
            .certify(&keys, "colleague", &village, rights, Rights::default());
        self.world
            .command(reader, Command::InstallChain(chain.clone()))
            .unwrap();
        self.world
            .command(CLINIC, Command::GrantSpace(self.area.clone(), chain))
            .unwrap();
        reader
    }

    /// The desk publishes the bundle in list `version`.
    pub(crate) fn publish(&mut self, version: u64) -> Digest {
        let release = self.ministry.release(MODULE, version, &self.bundle);
        let digest = self.world.phones[DESK].store.import_bundle(&self.bundle);
        let list = self.ministry.list(version, vec![release]);
        self.world
            .command(
                DESK,
                Command::Offer(Box::new(distribution::Offer::List(list))),
            )
            .unwrap();
        self.world
            .command(DESK, Command::BundleImported(digest))
            .unwrap();
        digest
    }

    /// A phone writes something into a case.
    pub(crate) fn write(
        &mut self,
        phone: usize,
        case: Option<CaseId>,
        name: &str,
        value: FindingValue,
        request: u8,
    ) -> CaseId {
        let mut entries = vec![Entry::Finding {
            name: name.into(),
            value,
        }];
        entries.extend(case.is_none().then(|| Entry::consent("share", true)));
        let command = Command::AddToCase {
            case,
            area: self.area.clone(),
            entries,
            request: [request; 16],
        };
        match self.world.command(phone, command).unwrap() {
            Reply::Case(id) => id,
            other => panic!("{other:?}"),
        }
    }

    /// The ministry certifies a phone to carry.
    pub(crate) fn certify(&mut self, phone: usize) {
        let keys = self.world.keys(phone).unwrap().clone();
        let rights = Rights::of(&[Right::Carry]);
        let chain = self
            .ministry
            .certify(&keys, "carrier", &self.area, rights, Rights::default());
        self.world
            .command(phone, Command::InstallChain(chain))
            .unwrap();
    }

    /// So many days pass, and every phone is used on each.
    pub(crate) fn days_pass(&mut self, days: u64) {
        for _ in 0..days {
            self.world.now.wall_s += 86_400;
            for phone in 0..self.world.phones.len() {
                self.world.input(phone, node::agent::Input::Woke).unwrap();
            }
        }
    }

    /// What a phone holds, in an order: larger is better, and no meeting may make any number
    /// smaller.
    pub(crate) fn wealth(&self, phone: usize) -> [u64; 5] {
        let phone = &self.world.phones[phone];
        let trust = phone.agent.known().trust().unwrap();
        [
            trust.root_version(),
            trust.list_version(),
            phone.store.envelope_count().unwrap(),
            phone.store.cases().unwrap().iter().map(|c| c.entries).sum(),
            phone.store.groups_held(&Digest::of(&self.bundle)),
        ]
    }

    /// Sealed envelopes that a phone holds; notices are not counted.
    pub(crate) fn envelopes(&self, phone: usize) -> usize {
        self.world.phones[phone]
            .store
            .envelope_rows(SpaceId::of(&self.area))
            .unwrap()
            .len()
    }

    pub(crate) fn view(&self, phone: usize, case: CaseId) -> Option<record::CaseView> {
        let bytes = self.world.phones[phone].store.case(&case).unwrap()?;
        Some(record::Case::load(case, &bytes).unwrap().view())
    }
}

/// These pairs meet, one after the other.
pub(crate) fn round(road: &mut Road, pairs: &[(usize, usize)]) {
    for (a, b) in pairs {
        road.world.meet(*a, *b, Cut::Never).unwrap();
    }
}

/// What stands about a finding.
pub(crate) fn finding<'a>(view: &'a record::CaseView, name: &str) -> Option<&'a FindingValue> {
    view.findings.get(name).map(|f| &f.value)
}
