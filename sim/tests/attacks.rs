//! Every attack of `sim/attacks`, said to a worker's phone: it is refused with a reason, changes
//! nothing there, and spreads to nobody. The fixtures are what `sim::attacks` builds; to write them
//! anew, run with KIJITI_WRITE_VECTORS=1.

#![allow(clippy::disallowed_methods)] // a test may read and write the files that it compares with

mod common;

use std::path::{Path, PathBuf};

use common::{CLINIC, DESK, Road, SUPERVISOR, WORKER};
use distribution::Offer;
use node::agent::{Command, Event};
use node::{BundleStore, TrustStore};
use protocol::{Digest, Frame};
use sim::Cut;
use sim::attacks::{Attack, EVIL, Scene, attacker};
use sim::world::Heard;

const BEACON_S: u64 = 1_763_000_000;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("attacks")
        .join(name)
}

fn offer(road: &mut Road, phone: usize, offer: Offer) {
    road.world
        .command(phone, Command::Offer(Box::new(offer)))
        .unwrap();
}

/// A worker who runs the model of list 5, wants a form that nobody has brought yet, and has seen a
/// beacon and a recall.
fn attacked() -> (Road, Scene) {
    let mut road = Road::new(80_000);
    let wanted: Vec<u8> = (0..70_000u32).map(|i| (i * 13 + i / 250) as u8).collect();
    let scene = Scene::new(road.ministry.clone(), &road.bundle, wanted, BEACON_S);
    let digest = road.world.phones[DESK].store.import_bundle(&road.bundle);
    let (list, recall) = (
        scene.ministry.sign(&scene.list),
        scene.ministry.recall(1, &[Digest([3; 32])]),
    );
    offer(&mut road, DESK, Offer::List(list));
    offer(&mut road, DESK, Offer::Recall(recall));
    offer(
        &mut road,
        DESK,
        Offer::Beacon(scene.ministry.beacon(BEACON_S, 5, 1)),
    );
    road.world
        .command(DESK, Command::BundleImported(digest))
        .unwrap();
    road.world.meet(WORKER, DESK, Cut::Never).unwrap();
    (road, scene)
}

fn every(scene: &Scene) -> Vec<Attack> {
    scene
        .attacks()
        .into_iter()
        .chain(scene.mistakes())
        .collect()
}

/// Trust records, wealth and the version that runs.
type Holds = (Vec<(String, Vec<u8>)>, [u64; 5], Option<u64>);

fn holds(road: &Road, phone: usize) -> Holds {
    let store = &road.world.phones[phone].store;
    let runs = road.world.phones[phone]
        .agent
        .known()
        .activation(common::MODULE)
        .and_then(|a| a.current.as_ref());
    (
        store.trust_records().unwrap(),
        road.wealth(phone),
        runs.map(|m| m.version),
    )
}

fn fixture(attack: &Attack) -> Vec<Vec<u8>> {
    let folder = folder(attack.name);
    let talk: Vec<u8> = attack
        .talk
        .iter()
        .flat_map(|d| [&(d.len() as u32).to_le_bytes()[..], d].concat())
        .collect();
    let words = format!("{}\nrefused: {}\n", attack.what, attack.refused);
    if std::env::var_os("KIJITI_WRITE_VECTORS").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("talk.bin"), &talk).unwrap();
        std::fs::write(folder.join("attack.txt"), &words).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(folder.join("attack.txt")).unwrap(),
        words
    );
    let kept = std::fs::read(folder.join("talk.bin")).unwrap();
    assert!(
        kept == talk,
        "{}: the fixture is not what is built",
        attack.name
    );
    let mut rest = kept.as_slice();
    let mut deliveries = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (delivery, after) = after.split_at(u32::from_le_bytes(*length) as usize);
        deliveries.push(delivery.to_vec());
        rest = after;
    }
    deliveries
}

/// Plays the attack of this name; the world after it.
fn play(name: &str) -> (Road, Scene, Heard) {
    let (mut road, scene) = attacked();
    let attack = every(&scene)
        .into_iter()
        .find(|a| a.name == name)
        .unwrap_or_else(|| panic!("no attack {name}"));
    let talk = fixture(&attack);
    let before: Vec<_> = [WORKER, SUPERVISOR, CLINIC].map(|p| holds(&road, p)).into();
    let heard = road
        .world
        .hear(WORKER, attacker().id(), &talk, 10_000)
        .unwrap();
    match attack.refused {
        "" => assert_eq!(heard.refused, None, "{name}"),
        words => {
            let reason = heard
                .refused
                .clone()
                .unwrap_or_else(|| panic!("{name} was not refused: {heard:?}"));
            assert!(
                reason.contains(words),
                "{name}: {reason:?} does not say {words:?}"
            );
            let told = heard
                .answers
                .iter()
                .any(|f| matches!(f, Frame::Bye(b) if b.code != 0 && b.reason.contains(words)));
            assert!(
                told || reason.starts_with("passed over"),
                "{name}: the other was not told: {:?}",
                heard.answers.last()
            );
        }
    }
    assert_eq!(
        holds(&road, WORKER),
        before[0],
        "{name} changed the worker's phone"
    );
    spreads_to_nobody(&mut road);
    (road, scene, heard)
}

/// Whoever meets the worker afterwards has what the ministry signed and nothing of the attacker's.
fn spreads_to_nobody(road: &mut Road) {
    let genuine = holds(road, WORKER).0;
    for phone in [SUPERVISOR, CLINIC] {
        road.world.meet(phone, WORKER, Cut::Never).unwrap();
        assert_eq!(holds(road, phone).0, genuine);
    }
    for phone in &road.world.phones {
        let evil = |e: &Event| matches!(e, Event::ReleaseReady { release } if release.digest == Digest::of(EVIL));
        assert!(!phone.events.iter().any(evil));
        assert_eq!(phone.store.groups_held(&Digest::of(EVIL)), 0);
        assert!(
            phone
                .agent
                .known()
                .trust()
                .unwrap()
                .releases()
                .iter()
                .all(|r| r.digest != Digest::of(EVIL))
        );
    }
}

macro_rules! each_is_refused {
    ($($test:ident $name:literal),+ $(,)?) => {
        $(#[test]
        fn $test() {
            play($name);
        })+

        #[test]
        fn every_attack_has_its_test_and_every_folder_its_attack() {
            let ours = [$($name,)+ "indefinite-freeze", "slow-retrieval", "wrong-software"];
            let mut built: Vec<_> = every(&attacked().1).iter().map(|a| a.name).collect();
            let mut folders: Vec<_> = std::fs::read_dir(folder("")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            let mut ours = ours.to_vec();
            (built.sort(), folders.sort(), ours.sort());
            assert_eq!(built, ours);
            assert_eq!(folders, ours);
        }
    };
}

each_is_refused! {
    arbitrary_installation "arbitrary-installation",
    rollback "rollback",
    withdrawn_release_offered_again "withdrawn-release-offered-again",
    fast_forward "fast-forward",
    key_compromise_below_threshold "key-compromise-below-threshold",
    duplicate_signatures "duplicate-signatures",
    duplicate_keys "duplicate-keys",
    vanishing_release "vanishing-release",
    root_takeover "root-takeover",
    skipped_root "skipped-root",
    replay_of_an_old_beacon "replay-of-an-old-beacon",
    a_future_beacon "a-future-beacon",
    forged_recall "forged-recall",
    wrong_delegation "wrong-delegation",
    mix_and_match "mix-and-match",
    piece_pollution "piece-pollution",
    tree_pollution "tree-pollution",
    lying_have_maps "lying-have-maps",
    endless_data "endless-data",
}

/// The desk has the form now; the worker, whatever was tried before, gets it whole.
fn the_worker_still_gets_what_it_wanted(road: &mut Road, scene: &Scene) {
    let digest = road.world.phones[DESK].store.import_bundle(&scene.wanted);
    road.world
        .command(DESK, Command::BundleImported(digest))
        .unwrap();
    road.world.meet(WORKER, DESK, Cut::Never).unwrap();
    let bundles = road.world.phones[WORKER].store.bundles().unwrap();
    assert!(bundles.iter().any(|b| b.id.digest == digest && b.whole));
}

#[test]
fn slow_retrieval() {
    let (mut road, scene, heard) = play("slow-retrieval");
    assert!(
        heard.answers.iter().any(|f| matches!(f, Frame::Want(_))),
        "the bundle was asked for"
    );
    let closed = heard.closed.unwrap();
    assert!(
        closed.contains("pieces were asked for and none came"),
        "{closed}"
    );
    the_worker_still_gets_what_it_wanted(&mut road, &scene);
}

#[test]
fn polluted_and_lied_about_bundles_come_whole_from_an_honest_phone() {
    for name in [
        "piece-pollution",
        "tree-pollution",
        "lying-have-maps",
        "endless-data",
    ] {
        let (mut road, scene, _) = play(name);
        the_worker_still_gets_what_it_wanted(&mut road, &scene);
    }
}

#[test]
fn wrong_software() {
    let (road, _, heard) = play("wrong-software");
    assert!(
        !heard.answers.iter().any(|f| matches!(f, Frame::Want(_))),
        "a model for the south is none of ours"
    );
    let runs = road.world.phones[WORKER]
        .agent
        .known()
        .activation(common::MODULE)
        .unwrap()
        .current
        .clone();
    assert_eq!(runs.map(|m| m.version), Some(2));
    assert!(
        road.world.phones[WORKER]
            .agent
            .known()
            .activation("triage-model-next")
            .is_none()
    );
}

#[test]
fn indefinite_freeze() {
    let (mut road, scene, _) = play("indefinite-freeze");
    assert!(
        road.world.phones[WORKER]
            .agent
            .known()
            .trust()
            .unwrap()
            .freshness()
            .newer_list
            .is_none()
    );
    // A courier from town brings no more than today's beacon: now the phone knows that it is
    // behind.
    offer(
        &mut road,
        CLINIC,
        Offer::Beacon(scene.ministry.beacon(BEACON_S + 86_400, 8, 1)),
    );
    road.world.meet(CLINIC, WORKER, Cut::Never).unwrap();
    assert_eq!(
        road.world.phones[WORKER]
            .agent
            .known()
            .trust()
            .unwrap()
            .freshness()
            .newer_list,
        Some(8)
    );
}

#[test]
fn a_freeze_without_any_beacon_shows_in_the_count_of_meetings_without_news() {
    let (mut road, _) = attacked();
    assert_eq!(
        road.world.phones[WORKER]
            .agent
            .known()
            .meetings_without_news(),
        0
    );
    road.world.restart(WORKER).unwrap();
    let before = road.world.phones[WORKER]
        .agent
        .known()
        .meetings_without_news();
    assert_eq!(before, 0, "news sets the count back for good");
    road.world.meet(WORKER, DESK, Cut::Never).unwrap();
    road.world.meet(WORKER, DESK, Cut::Never).unwrap();
    assert_eq!(
        road.world.phones[WORKER]
            .agent
            .known()
            .meetings_without_news(),
        before + 2
    );
    road.world.restart(WORKER).unwrap();
    assert_eq!(
        road.world.phones[WORKER]
            .agent
            .known()
            .meetings_without_news(),
        before + 2
    );
}

#[test]
fn fast_forward_with_enough_stolen_keys_is_overcome_by_the_next_root_everywhere() {
    let (mut road, scene) = attacked();
    let mut far = scene.list.clone();
    far.version = u64::MAX;
    offer(&mut road, WORKER, Offer::List(scene.ministry.sign(&far)));
    let next = sim::Ministry::new(40, 3, 2);
    let root = scene.ministry.rotate(2, &next);
    offer(&mut road, DESK, Offer::Root(root));
    let fresh = distribution::ReleaseList {
        version: 6,
        root: Some(2),
        ..scene.list.clone()
    };
    offer(&mut road, DESK, Offer::List(next.sign(&fresh)));
    for (a, b) in [
        (WORKER, SUPERVISOR),
        (SUPERVISOR, DESK),
        (SUPERVISOR, WORKER),
        (WORKER, CLINIC),
    ] {
        road.world.meet(a, b, Cut::Never).unwrap();
    }
    for phone in [WORKER, SUPERVISOR, CLINIC] {
        assert_eq!(
            road.world.phones[phone]
                .agent
                .known()
                .trust()
                .unwrap()
                .list_version(),
            6,
            "phone {phone}"
        );
    }
}

#[test]
fn a_recall_is_obeyed_at_once_and_travels_before_everything_else() {
    let (mut road, scene) = attacked();
    let running = Digest::of(&road.bundle);
    offer(
        &mut road,
        DESK,
        Offer::Recall(scene.ministry.recall(2, &[Digest([3; 32]), running])),
    );
    // Cut after the first few frames: what must stop has stopped, whatever else was on its way.
    road.world.meet(WORKER, DESK, Cut::Frames(6)).unwrap();
    let phone = &road.world.phones[WORKER];
    assert_eq!(
        phone
            .agent
            .known()
            .activation(common::MODULE)
            .unwrap()
            .current,
        None,
        "back to the rules alone"
    );
    assert_eq!(
        phone.store.groups_held(&running),
        0,
        "and it is not passed on"
    );
    road.world.restart(WORKER).unwrap();
    road.world.meet(WORKER, SUPERVISOR, Cut::Never).unwrap();
    assert_eq!(
        road.world.phones[WORKER]
            .agent
            .known()
            .activation(common::MODULE)
            .unwrap()
            .current,
        None
    );
}

#[test]
fn phones_set_to_1970_and_to_2100_verify_warn_update_and_recover() {
    for off_s in [-1_767_225_600i64, 74 * 365 * 86_400] {
        let (mut road, scene) = attacked();
        for phone in [WORKER, SUPERVISOR] {
            road.world.phones[phone].clock_off_s = off_s;
        }
        let next = distribution::ReleaseList {
            version: 6,
            expires_s: Some(BEACON_S + 10),
            ..scene.list.clone()
        };
        offer(&mut road, DESK, Offer::List(scene.ministry.sign(&next)));
        offer(
            &mut road,
            DESK,
            Offer::Beacon(scene.ministry.beacon(BEACON_S + 100, 6, 1)),
        );
        road.world.meet(SUPERVISOR, DESK, Cut::Never).unwrap();
        road.world.meet(WORKER, SUPERVISOR, Cut::Never).unwrap();
        let trust = road.world.phones[WORKER].agent.known().trust().unwrap();
        let fresh = trust.freshness();
        assert_eq!(
            (trust.list_version(), fresh.floor_s, fresh.list_expired),
            (6, BEACON_S + 100, true)
        );
        assert!(
            !trust.releases().is_empty(),
            "what has expired goes on working"
        );
        offer(
            &mut road,
            DESK,
            Offer::List(scene.ministry.sign(&distribution::ReleaseList {
                version: 7,
                ..scene.list.clone()
            })),
        );
        road.world.meet(SUPERVISOR, DESK, Cut::Never).unwrap();
        road.world.meet(WORKER, SUPERVISOR, Cut::Never).unwrap();
        road.world.restart(WORKER).unwrap();
        assert!(
            !road.world.phones[WORKER]
                .agent
                .known()
                .trust()
                .unwrap()
                .freshness()
                .list_expired,
            "and recovers"
        );
    }
}
