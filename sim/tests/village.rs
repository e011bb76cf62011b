//! Two hundred phones, one release, chance meetings.

use sim::Village;

#[test]
fn a_village_with_as_many_hostile_phones_as_honest_ones_believes_none_of_them() {
    let village = Village {
        phones: 60,
        hostile: 60,
        bundle_bytes: 60_000,
        ..Village::default()
    };
    let report = village.run().unwrap();
    assert!(
        report.complete(),
        "seed {}: {:?}",
        village.seed,
        report.curve.last()
    );
    assert!(
        report.attacks > 100 && report.refused > report.attacks / 2,
        "{report:?}"
    );
    assert_eq!(report.misled, 0);
}

#[test]
fn two_hundred_phones_all_activate_a_release_and_the_seed_decides_how() {
    let village = Village {
        phones: 200,
        bundle_bytes: 60_000,
        ..Village::default()
    };
    let report = village.run().unwrap();
    assert!(
        report.complete(),
        "seed {}: {:?}",
        village.seed,
        report.curve.last()
    );
    assert!(report.hour_of_share(0.5) <= report.hour_of_share(0.99));
    assert_eq!(
        report,
        village.run().unwrap(),
        "the same seed must give the same trace"
    );
    let other = Village { seed: 2, ..village }.run().unwrap();
    assert!(other.complete());
    assert_ne!(report.trace, other.trace);
}
