//! A phone besieged by an insider.

use clinical::FindingValue;
use protocol::certificate::Rights;
use protocol::{Area, DeviceKeys, Digest};
use sim::insider::{Insider, Rank};

use super::{CLINIC, DESK, Road, SUPERVISOR, WORKER, round};

/// A clinic's phone that holds a release and a case, its colleagues, and an insider who wishes them
/// ill.
pub(crate) struct Siege {
    pub road: Road,
    pub insider: Insider,
    pub case: protocol::CaseId,
    pub running: Digest,
    pub link: u64,
}

impl Siege {
    /// Everyone has met once; the insider has the rights and keys of its rank.
    pub(crate) fn new(rank: Rank) -> Self {
        let mut road = Road::new(80_000);
        let running = road.publish(2);
        let case = road.write(WORKER, None, "cough", FindingValue::Yes, 1);
        round(
            &mut road,
            &[
                (DESK, CLINIC),
                (WORKER, CLINIC),
                (CLINIC, WORKER),
                (SUPERVISOR, CLINIC),
            ],
        );
        let keys = DeviceKeys::from_seed([0x66; 32]);
        let area = Area::parse(if rank == Rank::Keeper {
            "north/kilifi"
        } else {
            "north/kilifi/watamu"
        })
        .unwrap();
        let chain = rank.rights().map(|rights| {
            road.ministry
                .certify(&keys, "insider", &area, rights, Rights::default())
        });
        let key = matches!(rank, Rank::Worker | Rank::Keeper)
            .then(|| road.world.phones[CLINIC].agent.known().space_keys()[0].clone());
        let chains = [WORKER, CLINIC].map(|p| {
            road.world.phones[p]
                .agent
                .known()
                .certificate()
                .unwrap()
                .chain()
                .clone()
        });
        // Whoever may say it says of others that they are lost: a keeper of the space is believed,
        // so of strangers only there.
        let others = match rank {
            Rank::Keeper => Vec::new(),
            _ => [WORKER, CLINIC]
                .map(|p| road.world.keys(p).unwrap().id())
                .to_vec(),
        };
        let insider = Insider {
            keys,
            chain,
            root: road.ministry.root.clone(),
            area: road.area.clone(),
            key,
            bundles: vec![(running, 80_000), (running, 1)],
            chains: chains.to_vec(),
            others,
            long: 1,
        };
        Self {
            road,
            insider,
            case,
            running,
            link: 100_000,
        }
    }
}
