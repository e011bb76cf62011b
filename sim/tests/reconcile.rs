//! What it costs to find the difference of two large sets, counted in bytes and turns of real
//! meetings (`kijiti bench reconcile` shows the same beside what others spend).

use clinical::Urgency;
use node::EnvelopeStore;
use protocol::certificate::{Right, Rights};
use protocol::{Area, CaseId, DeviceKeys};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;
use sim::{Cut, Ministry, World};
use sync::VerifiedEnvelope;
use sync::envelope::{Contents, seal};
use sync::space::SpaceKey;

const RESIDENT: usize = 10_000;
const MEETINGS: u64 = 20;
/// Bytes that name and check a difference (a symbol of RIBLT's paper), and that ask for one by a
/// name that the other knows.
const NAMED: u64 = 16;
const ASKED: u64 = 4;

fn envelopes(count: usize, area: &Area) -> Vec<VerifiedEnvelope> {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let (keys, key) = (
        DeviceKeys::from_seed([9; 32]),
        SpaceKey::new(area.clone(), [5; 32]),
    );
    let made = (0..count).map(|_| {
        let (mut case, mut nonce) = ([0; 16], [0; 24]);
        rng.fill_bytes(&mut case);
        rng.fill_bytes(&mut nonce);
        let urgency = match rng.random_range(0..10) {
            0 => Urgency::Pink,
            1..4 => Urgency::Yellow,
            _ => Urgency::Green,
        };
        seal(
            &Contents {
                case: CaseId(case),
                changes: Vec::new(),
            },
            &key,
            urgency,
            &keys,
            nonce,
        )
        .unwrap()
    });
    made.collect()
}

/// Bytes and round trips until both know what to send, of meetings with different rng.
fn meetings(
    ours: &[&VerifiedEnvelope],
    theirs: &[&VerifiedEnvelope],
    area: &Area,
) -> Vec<(u64, f64)> {
    let meeting = |seed| {
        let (ministry, mut rng) = (
            Ministry::new(seed as u8, 1, 1),
            ChaCha20Rng::seed_from_u64(seed),
        );
        let mut world = World::new();
        world
            .add_certified(2, &ministry, area, Rights::of(&[Right::Carry]), &mut rng)
            .unwrap();
        for (phone, set) in [ours, theirs].into_iter().enumerate() {
            for envelope in set {
                world.phones[phone]
                    .store
                    .put_envelope(envelope, area)
                    .unwrap();
            }
        }
        let met = world.meet(0, 1, Cut::Never).unwrap();
        let summary = met.summaries[0].as_ref().unwrap();
        (summary.finding_bytes, f64::from(summary.turns) / 2.0)
    };
    (0..MEETINGS).map(meeting).collect()
}

#[test]
fn a_hundred_differences_of_ten_thousand_take_under_four_kilobytes_and_one_and_a_half_trips() {
    let area = Area::parse("north/kilifi").unwrap();
    let all = envelopes(RESIDENT + 500, &area);
    let resident: Vec<_> = all.iter().take(RESIDENT).collect();
    for (each, most) in [(50usize, 3_500), (250, 14_000)] {
        let ours: Vec<_> = resident
            .iter()
            .copied()
            .chain(all.iter().skip(RESIDENT).take(each))
            .collect();
        let theirs: Vec<_> = resident
            .iter()
            .copied()
            .chain(all.iter().skip(RESIDENT + each).take(each))
            .collect();
        let met = meetings(&ours, &theirs, &area);
        let bytes: Vec<_> = met.iter().map(|(bytes, _)| *bytes).collect();
        let need = NAMED * 2 * each as u64 + ASKED * each as u64;
        let mean = bytes.iter().sum::<u64>() as f64 / MEETINGS as f64;
        assert!(
            bytes.iter().all(|bytes| *bytes < most),
            "{each} on each side: {bytes:?}"
        );
        assert!(
            mean <= 1.5 * need as f64,
            "{each} on each side: {mean} of {need}: {bytes:?}"
        );
        // One part in a hundred needs a few symbols more.
        let short = met.iter().filter(|(_, trips)| *trips <= 1.5).count();
        assert!(each > 50 || short as u64 >= MEETINGS * 8 / 10, "{met:?}");
    }
}
