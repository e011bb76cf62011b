//! Meetings that move: from Bluetooth to Wi-Fi and back, wherever a link comes up or dies. Not a byte
//! is said twice or lost, and it stays one meeting.

mod common;

use clinical::FindingValue;
use common::{CLINIC, DESK, MODULE, Road, SUPERVISOR, WORKER};
use node::agent::LinkClass::{self, Bluetooth, Ip};
use node::agent::MeetingSummary;
use proptest::prelude::*;
use sim::{Cut, Leg, Moved};

const RELEASE_BYTES: u64 = 400_000;

/// A release goes one way, and cases go both.
fn laden() -> Road {
    let mut road = Road::new(RELEASE_BYTES as usize);
    road.publish(1);
    road.world.meet(SUPERVISOR, DESK, Cut::Never).unwrap();
    for i in 0..6 {
        let value = FindingValue::Number(f64::from(i));
        road.write(WORKER, None, "cough", value, 10 + i as u8);
        road.write(CLINIC, None, "fever", FindingValue::Yes, 30 + i as u8);
    }
    road.world.meet(SUPERVISOR, CLINIC, Cut::Never).unwrap();
    road
}

fn leg(class: LinkClass, bytes: u64, dies: bool) -> Leg {
    Leg { class, bytes, dies }
}

/// One meeting, in which everything arrived once.
fn is_one_whole(road: &mut Road, moved: &Moved, legs: &[Leg]) {
    let [a, b] = &moved.ends;
    let ([a], [b]) = (a.as_slice(), b.as_slice()) else {
        panic!("more than one meeting, or none: {moved:?} over {legs:?}");
    };
    // The very last word may go down with its link (two generals): who waits for it ends by its clock, and
    // says that it was cut short though nothing is missing. Never both, and never for another reason.
    let cut = |end: &MeetingSummary| !end.complete;
    assert!(
        a.in_step && b.in_step && !(cut(a) && cut(b)),
        "{moved:?} over {legs:?}"
    );
    let by_clock = ["nothing was heard for too long", "its link is gone"];
    for end in [a, b].into_iter().filter(|end| cut(end)) {
        assert!(
            by_clock.contains(&end.reason.as_str()),
            "{moved:?} over {legs:?}"
        );
    }
    // The last word of all may be on its way when its reader has heard enough.
    let (ab, ba) = (
        a.bytes_sent - b.bytes_received,
        b.bytes_sent - a.bytes_received,
    );
    assert!(
        ab + ba < 100,
        "{ab} and {ba} bytes were sent that nobody heard: {legs:?}"
    );
    assert_eq!(
        a.bundle_bytes_taken, RELEASE_BYTES,
        "each byte once: {legs:?}"
    );
    assert_eq!(
        (road.envelopes(WORKER), road.envelopes(SUPERVISOR)),
        (12, 12)
    );
    let runs = road.world.phones[WORKER].agent.known().activation(MODULE);
    assert!(runs.is_some_and(|a| a.current.is_some()));
}

#[test]
fn a_meeting_begins_on_bluetooth_goes_on_over_wi_fi_and_comes_back() {
    let legs = [
        leg(Bluetooth, 30_000, false),
        leg(Ip, 200_000, true),
        leg(Bluetooth, 0, false),
    ];
    let mut road = laden();
    let moved = road
        .world
        .meet_moving((WORKER, SUPERVISOR), &legs, true)
        .unwrap();
    assert_eq!(moved.links, 3);
    is_one_whole(&mut road, &moved, &legs);
}

/// The control: phones that cannot move cut the meeting short where its link dies.
#[test]
fn without_moves_the_same_meeting_ends_where_its_link_does() {
    let legs = [leg(Bluetooth, 30_000, true), leg(Ip, 0, false)];
    let mut road = laden();
    let moved = road
        .world
        .meet_moving((WORKER, SUPERVISOR), &legs, false)
        .unwrap();
    assert!(
        moved.ends[0].first().is_some_and(|first| !first.complete),
        "{moved:?}"
    );
    let mut road = laden();
    let moved = road
        .world
        .meet_moving((WORKER, SUPERVISOR), &legs, true)
        .unwrap();
    is_one_whole(&mut road, &moved, &legs);
}

fn any_legs() -> impl Strategy<Value = Vec<Leg>> {
    let one = (any::<bool>(), 0u64..150_000, any::<bool>())
        .prop_map(|(ip, bytes, dies)| leg(if ip { Ip } else { Bluetooth }, bytes, dies));
    prop::collection::vec(one, 1..7)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Once both know that they can move, links may die and come up at any byte.
    #[test]
    fn links_die_and_come_up_at_any_byte_and_it_stays_one_meeting(legs in any_legs()) {
        let legs: Vec<_> = [leg(Bluetooth, 6_000, false)]
            .into_iter()
            .chain(legs)
            .chain([leg(Bluetooth, 1, true), leg(Ip, 0, false)])
            .collect();
        let mut road = laden();
        let moved = road.world.meet_moving((WORKER, SUPERVISOR), &legs, true).unwrap();
        is_one_whole(&mut road, &moved, &legs);
    }
}

/// A link that dies before the two know each other ends the meeting, as it always did; the next one
/// makes up for it.
#[test]
fn wherever_the_first_link_dies_two_meetings_are_enough() {
    for bytes in (0..8_000).step_by(211) {
        let legs = [leg(Bluetooth, bytes, true), leg(Ip, 0, false)];
        let mut road = laden();
        road.world
            .meet_moving((WORKER, SUPERVISOR), &legs, true)
            .unwrap();
        road.world.now = road.world.now.plus_ms(60_000);
        let legs = [leg(Ip, 0, false)];
        road.world
            .meet_moving((WORKER, SUPERVISOR), &legs, true)
            .unwrap();
        assert_eq!(
            (road.envelopes(WORKER), road.envelopes(SUPERVISOR)),
            (12, 12),
            "{bytes}"
        );
    }
}

/// Bluetooth would take a minute for it: the phones raise a network, the meeting goes on over it, and when
/// that dies, over Bluetooth again. It is one meeting, and the network is left.
#[test]
fn what_is_worth_it_raises_a_network_and_the_meeting_moves_to_it_and_back() {
    let mut road = big();
    let legs = [
        leg(Bluetooth, 200_000, false),
        leg(Ip, 1_000_000, true),
        leg(Bluetooth, 0, false),
    ];
    for caller in [(WORKER, SUPERVISOR), (SUPERVISOR, WORKER)] {
        let moved = (road.world)
            .meet_raising(caller, &legs, (true, true, true))
            .unwrap();
        let [a, b] = &moved.ends;
        let ([a], [b]) = (a.as_slice(), b.as_slice()) else {
            panic!("{moved:?}");
        };
        assert!(
            a.complete && a.in_step && b.complete && b.in_step,
            "{moved:?}"
        );
        assert_eq!(a.bundle_bytes_taken + b.bundle_bytes_taken, BIG_BYTES);
        assert!(moved.raised >= 1 && moved.joined >= 1, "{moved:?}");
        assert!(moved.left >= moved.raised, "both leave it: {moved:?}");
        road = big();
    }
}

/// Not for little, not where the other cannot, and where it comes to nothing Bluetooth goes on; tries are
/// few.
#[test]
fn networks_are_raised_for_much_and_rarely() {
    let legs = [leg(Bluetooth, 0, false)];
    let meet = |road: &mut Road, may| {
        let moved = (road.world).meet_raising((WORKER, SUPERVISOR), &legs, may);
        let moved = moved.unwrap();
        assert!(
            moved.ends[0].first().is_some_and(|end| end.complete),
            "{moved:?}"
        );
        moved.raised
    };
    assert_eq!(meet(&mut laden(), (true, true, true)), 0, "it is little");
    assert_eq!(meet(&mut big(), (true, false, true)), 0, "nobody can");
    let tries = meet(&mut big(), (true, true, false));
    assert!((1..=3).contains(&tries), "{tries}");
}

const BIG_BYTES: u64 = 3_000_000;

fn big() -> Road {
    let mut road = Road::new(BIG_BYTES as usize);
    road.publish(1);
    road.world.meet(SUPERVISOR, DESK, Cut::Never).unwrap();
    road
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Wherever networks come up and die under a meeting that raises them, it stays one meeting and each
    /// byte of the release comes once.
    #[test]
    fn raised_networks_come_and_go_at_any_byte(
        first in 10_000_u64..600_000,
        middle in 1_000_u64..1_500_000,
        last in 1_000_u64..600_000,
        networks in any::<bool>(),
    ) {
        let mut road = big();
        let legs = [
            leg(Bluetooth, first, false),
            leg(Ip, middle, true),
            leg(Bluetooth, last, false),
            leg(Ip, 0, false),
        ];
        let moved = (road.world)
            .meet_raising((WORKER, SUPERVISOR), &legs, (true, true, networks))
            .unwrap();
        let [a, b] = &moved.ends;
        prop_assert!(a.len() == 1 && b.len() == 1, "{:?}", moved);
        prop_assert!(a[0].complete && b[0].complete, "{:?}", moved);
        prop_assert_eq!(a[0].bundle_bytes_taken, BIG_BYTES);
        prop_assert!(moved.raised <= 3 && moved.joined <= 3, "{:?}", moved);
    }
}

/// What nobody says who plays by the rules ends the meeting, and makes no phone join anything: words about
/// networks from a phone that cannot raise any, from the wrong side, or that name another network.
#[test]
fn words_about_networks_out_of_their_place_make_no_phone_join_anything() {
    use protocol::frame::Join;
    let sound = Join {
        ssid: "DIRECT-0123456789abcdef".into(),
        passphrase: "0123456789abcdef".into(),
        frequency_mhz: 2_437,
    };
    assert!(sound.is_sound(), "the control");
    let with = |change: &dyn Fn(&mut Join)| {
        let mut join = sound.clone();
        change(&mut join);
        join.is_sound()
    };
    assert!(!with(&|j| j.ssid = "FreeCafe-WiFi-here".into()));
    assert!(!with(&|j| j.ssid = "DIRECT-".into()));
    assert!(!with(&|j| j.ssid = format!("DIRECT-{}", "x".repeat(40))));
    assert!(!with(&|j| j.ssid = "DIRECT-a\"\npsk=evil".into()));
    assert!(!with(&|j| j.passphrase = "short".into()));
    assert!(!with(&|j| j.passphrase = "x".repeat(64)));
    assert!(!with(&|j| j.passphrase = "0123456789abcde\"".into()));
    assert!(!with(&|j| j.frequency_mhz = 88));
    assert!(with(&|j| j.frequency_mhz = 0));
    assert!(with(&|j| j.frequency_mhz = 5_180));
}
