//! Bundles and deltas on their way: from many couriers, cut and killed, in a room full of phones,
//! with too little space.

mod common;

use common::{DESK, MODULE, Road, SUPERVISOR, WORKER};
use distribution::delta::{EncodeOptions, encode};
use distribution::release::{Delta, Step};
use distribution::{Offer, Release, tree};
use node::agent::{Command, Input};
use node::{BundleStore, TrustStore};
use protocol::limits::GROUP_BYTES;
use protocol::{BundleId, Digest};
use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;
use sim::{Cut, Room};

fn random(bytes: usize, seed: u64) -> Vec<u8> {
    let mut data = vec![0; bytes];
    ChaCha20Rng::seed_from_u64(seed).fill_bytes(&mut data);
    data
}

fn publish(road: &mut Road, version: u64, releases: Vec<Release>, bundles: &[&[u8]]) {
    let list = road.ministry.list(version, releases);
    road.world
        .command(DESK, Command::Offer(Box::new(Offer::List(list))))
        .unwrap();
    for bundle in bundles {
        let digest = road.world.phones[DESK].store.import_bundle(bundle);
        road.world
            .command(DESK, Command::BundleImported(digest))
            .unwrap();
    }
}

fn holds(road: &Road, phone: usize, bundle: &[u8]) -> bool {
    road.world.phones[phone]
        .store
        .whole_bundle(&Digest::of(bundle))
        .is_some()
}

fn version(road: &Road, phone: usize) -> Option<u64> {
    road.world.phones[phone]
        .agent
        .known()
        .activation(MODULE)
        .and_then(|a| a.current.as_ref())
        .map(|m| m.version)
}

/// Three versions that differ little, with the deltas between them.
struct Versions {
    bundles: Vec<Vec<u8>>,
    deltas: Vec<Vec<u8>>,
}

impl Versions {
    fn new(bytes: usize) -> Self {
        let mut bundles = vec![random(bytes, 1)];
        for step in 1..3 {
            let mut next = bundles[step - 1].clone();
            next[step * 1000..step * 1000 + 500].fill(step as u8);
            bundles.push(next);
        }
        let options = EncodeOptions { level: 3 };
        let deltas = bundles
            .windows(2)
            .map(|pair| encode(&pair[0], &pair[1], options).unwrap())
            .collect();
        Self { bundles, deltas }
    }

    fn delta(&self, from: usize) -> Delta {
        let delta = &self.deltas[from];
        let step = Step {
            digest: Digest::of(&self.bundles[from + 1]),
            bytes: self.bundles[from + 1].len() as u64,
        };
        Delta {
            base: Digest::of(&self.bundles[from]),
            digest: Digest::of(delta),
            bytes: delta.len() as u64,
            makes: (from + 2 < self.bundles.len()).then_some(step),
        }
    }
}

#[test]
fn a_phone_that_runs_the_old_release_takes_the_delta_and_can_give_the_whole() {
    let mut road = Road::new(10);
    let versions = Versions::new(600_000);
    let [one, two, _] = &versions.bundles[..] else {
        panic!()
    };
    let first = road.ministry.release(MODULE, 1, one);
    publish(&mut road, 1, vec![first], &[one]);
    road.world.meet(WORKER, DESK, Cut::Never).unwrap();
    assert_eq!(version(&road, WORKER), Some(1));
    let delta = Delta {
        makes: None,
        ..versions.delta(0)
    };
    let second = Release {
        deltas: vec![delta],
        ..road.ministry.release(MODULE, 2, two)
    };
    publish(&mut road, 2, vec![second], &[two, &versions.deltas[0]]);
    let meeting = road.world.meet(WORKER, DESK, Cut::Never).unwrap();
    assert_eq!(version(&road, WORKER), Some(2));
    assert!(
        meeting.bytes < 60_000,
        "{} bytes for a small change",
        meeting.bytes
    );
    assert!(holds(&road, WORKER, two));
    road.world.meet(SUPERVISOR, WORKER, Cut::Never).unwrap();
    assert_eq!(
        version(&road, SUPERVISOR),
        Some(2),
        "one that never had the first version gets the whole"
    );
    assert!(
        holds(&road, SUPERVISOR, &versions.deltas[0]),
        "and carries the delta for others"
    );
}

#[test]
fn a_chain_of_deltas_leads_over_a_version_that_was_missed() {
    let mut road = Road::new(10);
    let versions = Versions::new(600_000);
    let first = road.ministry.release(MODULE, 1, &versions.bundles[0]);
    publish(&mut road, 1, vec![first], &[&versions.bundles[0]]);
    road.world.meet(WORKER, DESK, Cut::Never).unwrap();
    let deltas = vec![versions.delta(1), versions.delta(0)];
    let third = Release {
        deltas,
        ..road.ministry.release(MODULE, 3, &versions.bundles[2])
    };
    publish(
        &mut road,
        3,
        vec![third],
        &[
            &versions.bundles[2],
            &versions.deltas[0],
            &versions.deltas[1],
        ],
    );
    let meeting = road.world.meet(WORKER, DESK, Cut::Never).unwrap();
    assert_eq!(
        (version(&road, WORKER), meeting.bytes < 60_000),
        (Some(3), true),
        "{} bytes",
        meeting.bytes
    );
}

#[test]
fn a_delta_that_makes_something_else_is_thrown_away_and_the_whole_is_fetched() {
    let mut road = Road::new(10);
    let versions = Versions::new(300_000);
    let [one, two, _] = &versions.bundles[..] else {
        panic!()
    };
    let first = road.ministry.release(MODULE, 1, one);
    publish(&mut road, 1, vec![first], &[one]);
    road.world.meet(WORKER, DESK, Cut::Never).unwrap();
    let mut wrong = versions.deltas[0].clone();
    let at = wrong.len() / 2;
    wrong[at] ^= 0x55;
    let delta = Delta {
        base: Digest::of(one),
        digest: Digest::of(&wrong),
        bytes: wrong.len() as u64,
        makes: None,
    };
    let second = Release {
        deltas: vec![delta],
        ..road.ministry.release(MODULE, 2, two)
    };
    publish(&mut road, 2, vec![second], &[two, &wrong]);
    road.world.meet(WORKER, DESK, Cut::Never).unwrap();
    assert!(!holds(&road, WORKER, &wrong));
    road.world.restart(WORKER).unwrap(); // and the delta is still known to be bad
    road.world.meet(WORKER, DESK, Cut::Never).unwrap();
    assert_eq!(version(&road, WORKER), Some(2));
}

/// Seven couriers with random thirds of a bundle; the worker's meetings are cut and its program
/// killed.
#[test]
fn a_bundle_comes_whole_from_seven_couriers_with_a_third_each_though_cut_and_killed() {
    const BYTES: usize = 60_000_000;
    let mut road = Road::new(10);
    let bundle = random(BYTES, 5);
    let release = road.ministry.release(MODULE, 1, &bundle);
    let list = road.ministry.list(1, vec![release]);
    let (digest, hashes) = (Digest::of(&bundle), tree::tree_list(&bundle));
    let id = BundleId::release(digest);
    let groups = tree::group_count(BYTES as u64);
    let mut rng = ChaCha20Rng::seed_from_u64(11);
    let couriers: Vec<usize> = (0..7u8)
        .map(|i| {
            let phone = road.world.add([100 + i; 32]).unwrap();
            road.world
                .command(phone, Command::InstallTrust(road.ministry.root.clone()))
                .unwrap();
            road.certify(phone);
            let store = &mut road.world.phones[phone].store;
            store.open_bundle(&id, BYTES as u64).unwrap();
            store.put_tree(&id, BYTES as u64, &hashes).unwrap();
            let mut order: Vec<u64> = (0..groups).collect();
            order.shuffle(&mut rng);
            // Each has a third of its own and a seventh that no other needs to have, so that all
            // together have everything.
            let mine = |g: &u64| g % 7 == u64::from(i);
            for group in order
                .iter()
                .take(groups as usize / 3)
                .chain(order.iter().filter(|g| mine(g)))
            {
                let start = (group * GROUP_BYTES) as usize;
                let bytes = &bundle[start..BYTES.min(start + GROUP_BYTES as usize)];
                store.write_groups(&id, *group, bytes).unwrap();
            }
            road.world.restart(phone).unwrap();
            road.world
                .command(phone, Command::Offer(Box::new(Offer::List(list.clone()))))
                .unwrap();
            phone
        })
        .collect();
    road.world
        .command(WORKER, Command::Offer(Box::new(Offer::List(list))))
        .unwrap();
    let (mut taken, mut cuts, mut kills, mut meetings) = (0, 0, 0, 0);
    while version(&road, WORKER).is_none() && meetings < 2000 {
        let courier = couriers[rng.random_range(0..couriers.len())];
        let cut = if cuts < 100 {
            Cut::Bytes(rng.random_range(1000..900_000))
        } else {
            Cut::Never
        };
        let meeting = road.world.meet(WORKER, courier, cut).unwrap();
        taken += meeting.summaries[0]
            .as_ref()
            .map_or(0, |s| s.bundle_bytes_taken);
        cuts += 1;
        meetings += 1;
        if kills < 50 {
            road.world.restart(WORKER).unwrap();
            kills += 1;
        }
    }
    assert_eq!(version(&road, WORKER), Some(1), "after {meetings} meetings");
    assert!(cuts >= 100 && kills == 50);
    assert!(road.world.phones[WORKER].store.whole_bundle(&digest) == Some(&bundle[..]));
    assert!(
        taken <= BYTES as u64 * 102 / 100,
        "{taken} bytes were fetched"
    );
}

#[test]
fn thirty_phones_in_a_room_get_a_release_nearly_as_fast_as_the_medium_carries_it() {
    let room = Room {
        phones: 30,
        bundle_bytes: 25_000_000,
        medium_bytes_s: 3_000_000,
        seed: 1,
    };
    let report = room.run().unwrap();
    assert_eq!(report.whole, 29, "{report:?}");
    assert!(report.seconds <= 1.6 * report.perfect_seconds, "{report:?}");
}

#[test]
fn a_courier_short_of_space_gives_up_what_others_have_and_never_what_runs() {
    let mut road = Road::new(10);
    let (model, form, other) = (random(300_000, 1), random(400_000, 2), random(350_000, 3));
    // The supervisor runs the model and the form is for its district; the other is carried for a
    // village in it.
    let village = protocol::Area::parse("north/kilifi/mtwapa").unwrap();
    let releases = vec![
        road.ministry.release(MODULE, 1, &model),
        Release {
            area: village.clone(),
            ..road.ministry.release("form-birth", 1, &form)
        },
        Release {
            area: village,
            ..road.ministry.release("form-death", 1, &other)
        },
    ];
    publish(&mut road, 1, releases, &[&model, &form, &other]);
    road.world.meet(SUPERVISOR, DESK, Cut::Never).unwrap();
    assert!(
        [&model, &form, &other]
            .iter()
            .all(|b| holds(&road, SUPERVISOR, b))
    );
    road.world
        .command(SUPERVISOR, Command::SetQuota(700_000))
        .unwrap();
    let kept = [&model, &form, &other].map(|b| holds(&road, SUPERVISOR, b));
    assert!(
        kept[0] && kept.iter().filter(|k| **k).count() == 2,
        "{kept:?}"
    );
    road.world
        .command(SUPERVISOR, Command::SetQuota(1))
        .unwrap();
    assert!(holds(&road, SUPERVISOR, &model), "what runs stays");
    assert!(!holds(&road, SUPERVISOR, &form) && !holds(&road, SUPERVISOR, &other));
    // What it alone has in reach stays, however little room there is.
    road.world.meet(WORKER, DESK, Cut::Never).unwrap();
    let before = road.world.phones[DESK].store.bundles().unwrap().len();
    road.world.command(DESK, Command::SetQuota(1)).unwrap();
    let copies_shown: Vec<_> = [&model, &form, &other]
        .into_iter()
        .filter(|b| holds(&road, DESK, b))
        .collect();
    assert!(
        before >= 3 && copies_shown.len() == 3,
        "nobody has shown the desk a whole copy"
    );
}

#[test]
fn what_brings_the_program_down_waits_while_the_one_before_runs_and_is_tried_again() {
    let mut road = Road::new(10);
    let versions = Versions::new(50_000);
    for n in 0..2 {
        let release = road
            .ministry
            .release(MODULE, n + 1, &versions.bundles[n as usize]);
        publish(
            &mut road,
            n + 1,
            vec![release],
            &[&versions.bundles[n as usize]],
        );
        road.world.meet(WORKER, DESK, Cut::Never).unwrap();
    }
    assert_eq!(version(&road, WORKER), Some(2));
    let begins = Command::AttemptBegins {
        module: MODULE.into(),
        digest: Digest::of(&versions.bundles[1]),
    };
    for _ in 0..2 {
        assert_eq!(
            road.world.command(WORKER, begins.clone()).unwrap(),
            node::agent::Reply::Done
        );
        road.world.now.mono_ms = 0;
        road.world.restart(WORKER).unwrap(); // and the program is gone before it ends
    }
    assert_eq!(
        road.world.command(WORKER, begins).unwrap(),
        node::agent::Reply::Unchanged
    );
    assert_eq!(version(&road, WORKER), Some(1));
    // A battery that died looks the same: once the phone has been up for a while it is tried again.
    let wakes = |road: &mut Road, ms: u64| {
        road.world.now.mono_ms = ms;
        road.world.input(WORKER, Input::Woke).unwrap();
        road.world.restart(DESK).unwrap(); // whoever else is told to, all do what they were told
        version(road, WORKER)
    };
    assert_eq!(wakes(&mut road, 4_999), Some(1));
    assert_eq!(wakes(&mut road, 5_000), Some(2));
}

/// A fresh reader's: an adapter went on running in a district that it was not meant for any more.
#[test]
fn an_adapter_stops_where_no_release_of_it_is_meant_and_a_model_goes_on() {
    use distribution::ModuleKind;
    for (kind, then) in [(ModuleKind::Adapter, None), (ModuleKind::Triage, Some(1))] {
        let mut road = Road::new(10);
        let bundle = random(20_000, 7);
        let mut release = road.ministry.release(MODULE, 1, &bundle);
        release.kind = kind;
        publish(&mut road, 1, vec![release.clone()], &[&bundle]);
        road.world.meet(WORKER, DESK, Cut::Never).unwrap();
        assert_eq!(version(&road, WORKER), Some(1));
        let gone = distribution::release::Withdrawn {
            module: MODULE.into(),
            area: release.area.clone(),
            language: release.language.clone(),
            version: 1,
        };
        release.area = protocol::Area::parse("south").unwrap();
        let list = road.ministry.sign(&distribution::ReleaseList {
            withdrawn: vec![gone],
            releases: vec![release],
            ..road.ministry.list(2, Vec::new()).read().unwrap()
        });
        let offer = Box::new(Offer::List(list));
        road.world.command(DESK, Command::Offer(offer)).unwrap();
        road.world.meet(WORKER, DESK, Cut::Never).unwrap();
        assert_eq!(version(&road, WORKER), then, "{kind}");
    }
}

#[test]
fn receipts_find_their_way_back_to_the_ministry_sealed() {
    let mut road = Road::new(50_000);
    road.publish(1);
    // Out: desk, supervisor, worker. Back: worker, supervisor, desk.
    for (a, b) in [
        (SUPERVISOR, DESK),
        (WORKER, SUPERVISOR),
        (SUPERVISOR, WORKER),
        (DESK, SUPERVISOR),
    ] {
        road.world.meet(a, b, Cut::Never).unwrap();
    }
    let receipts = road.world.phones[DESK].store.receipts().unwrap();
    let worker = road.world.keys(WORKER).unwrap().id();
    let (_, number, bytes) = receipts
        .iter()
        .find(|(device, ..)| *device == worker)
        .expect("the worker's receipt");
    assert!(
        *number >= 1 && !bytes.windows(6).any(|w| w == b"worker"),
        "the name is sealed"
    );
    let sealed = sync::receipt::verify(bytes).unwrap();
    assert!(
        sync::receipt::open(&sealed, road.world.keys(DESK).unwrap()).is_err(),
        "only the ministry's key opens it"
    );
    let receipt = sync::receipt::open(&sealed, &road.ministry.receipt_key).unwrap();
    assert_eq!((receipt.list, receipt.runs[0].version), (1, 1));
    let chain = road.world.phones[DESK]
        .agent
        .known()
        .trust()
        .unwrap()
        .verify_chain(&receipt.chain)
        .unwrap()
        .unwrap();
    assert_eq!(
        (chain.device, chain.area.as_str()),
        (worker, "north/kilifi/mtwapa")
    );
    let mut forged = bytes.clone();
    let at = forged.len() - 80;
    forged[at] ^= 1;
    assert!(sync::receipt::verify(&forged).is_err());
}

#[test]
fn a_release_for_the_area_runs_before_one_for_all_however_they_are_numbered() {
    let mut road = Road::new(1);
    let (wide, near, wider) = (random(50_000, 1), random(60_000, 2), random(70_000, 3));
    let all = |version, bundle: &[u8]| Release {
        area: protocol::Area::default(),
        ..road_release(version, bundle)
    };
    let north = |version, bundle: &[u8]| Release {
        area: protocol::Area::parse("north").unwrap(),
        ..road_release(version, bundle)
    };
    publish(&mut road, 1, vec![all(7, &wide)], &[&wide]);
    road.world.meet(WORKER, DESK, Cut::Never).unwrap();
    assert_eq!(version(&road, WORKER), Some(7));
    publish(&mut road, 2, vec![all(7, &wide), north(1, &near)], &[&near]);
    road.world.meet(WORKER, DESK, Cut::Never).unwrap();
    assert_eq!(
        version(&road, WORKER),
        Some(1),
        "the nearest, not the highest number"
    );
    publish(
        &mut road,
        3,
        vec![all(8, &wider), north(1, &near)],
        &[&wider],
    );
    road.world.meet(WORKER, DESK, Cut::Never).unwrap();
    assert_eq!(version(&road, WORKER), Some(1), "and it stays");
}

fn road_release(version: u64, bundle: &[u8]) -> Release {
    sim::Ministry::new(3, 3, 2).release(MODULE, version, bundle)
}
