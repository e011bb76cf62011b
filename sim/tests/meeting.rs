//! Meetings of two phones: the whole road, cut at every frame and in the middle of frames.

mod common;

use clinical::FindingValue;
use common::{CLINIC, DESK, MODULE, Road, SUPERVISOR, WORKER};
use sim::Cut;

#[test]
fn one_release_goes_out_and_one_case_comes_back() {
    let mut road = Road::new(100_000);
    road.publish(1);
    let case = road.write(WORKER, None, "chest_indrawing", FindingValue::Yes, 1);
    road.world.meet(SUPERVISOR, DESK, Cut::Never).unwrap();
    let meeting = road.world.meet(WORKER, SUPERVISOR, Cut::Never).unwrap();
    assert!(
        meeting
            .summaries
            .iter()
            .all(|s| s.as_ref().is_some_and(|s| s.complete && s.in_step)),
        "{meeting:?}"
    );
    let active = road.world.phones[WORKER]
        .agent
        .known()
        .activation(MODULE)
        .unwrap()
        .current
        .clone()
        .unwrap();
    assert_eq!(active.version, 1);
    assert!(
        road.view(SUPERVISOR, case).is_none(),
        "the courier reads nothing"
    );
    road.world.meet(CLINIC, SUPERVISOR, Cut::Never).unwrap();
    assert_eq!(
        road.view(CLINIC, case).unwrap().findings["chest_indrawing"].value,
        FindingValue::Yes
    );
    road.write(CLINIC, Some(case), "spo2", FindingValue::Number(86.0), 2);
    road.world.meet(SUPERVISOR, CLINIC, Cut::Never).unwrap();
    road.world.meet(SUPERVISOR, WORKER, Cut::Never).unwrap();
    assert_eq!(road.view(WORKER, case), road.view(CLINIC, case));
}

#[test]
fn phones_in_step_say_little_and_do_not_call_again() {
    let mut road = Road::new(50_000);
    road.publish(1);
    road.write(WORKER, None, "cough", FindingValue::Yes, 1);
    for _ in 0..2 {
        road.world.meet(SUPERVISOR, DESK, Cut::Never).unwrap();
        road.world.meet(WORKER, SUPERVISOR, Cut::Never).unwrap();
    }
    let meeting = road.world.meet(WORKER, SUPERVISOR, Cut::Never).unwrap();
    assert!(
        meeting.bytes < 4_000,
        "{} bytes to find that nothing is new",
        meeting.bytes
    );
    assert!(!road.world.calls(WORKER, SUPERVISOR).unwrap());
    // With news it does; a battery that is nearly empty is kept for patients.
    road.write(WORKER, None, "fever", FindingValue::Yes, 2);
    let power = |road: &mut Road, power| {
        let input = node::Input::PowerChanged(power);
        road.world.input(WORKER, input).unwrap();
    };
    power(&mut road, node::Power::Low);
    assert!(!road.world.calls(WORKER, SUPERVISOR).unwrap());
    power(&mut road, node::Power::Battery);
    assert!(road.world.calls(WORKER, SUPERVISOR).unwrap());
}

/// The meeting that carries everything at once: a release one way, cases both ways.
fn laden() -> Road {
    let mut road = Road::new(200_000);
    road.publish(1);
    road.world.meet(SUPERVISOR, DESK, Cut::Never).unwrap();
    for i in 0..6 {
        road.write(
            WORKER,
            None,
            "cough",
            FindingValue::Number(f64::from(i)),
            10 + i as u8,
        );
        road.write(CLINIC, None, "fever", FindingValue::Yes, 30 + i as u8);
    }
    road.world.meet(SUPERVISOR, CLINIC, Cut::Never).unwrap();
    road
}

fn cut_and_heal(cut: Cut) -> usize {
    let mut road = laden();
    let before = [road.wealth(WORKER), road.wealth(SUPERVISOR)];
    let meeting = road.world.meet(WORKER, SUPERVISOR, cut).unwrap();
    for (phone, before) in [WORKER, SUPERVISOR].into_iter().zip(before) {
        let after = road.wealth(phone);
        assert!(
            before.iter().zip(after).all(|(b, a)| *b <= a),
            "{cut:?} left phone {phone} poorer: {before:?} {after:?}"
        );
        road.world.restart(phone).unwrap();
        assert_eq!(
            road.wealth(phone),
            after,
            "{cut:?}: what was shown was not durable"
        );
    }
    road.world.meet(WORKER, SUPERVISOR, Cut::Never).unwrap();
    assert_eq!(road.envelopes(WORKER), 12, "{cut:?}");
    assert_eq!(road.envelopes(SUPERVISOR), 12, "{cut:?}");
    assert!(
        road.world.phones[WORKER]
            .agent
            .known()
            .activation(MODULE)
            .is_some_and(|a| a.current.is_some()),
        "{cut:?}"
    );
    meeting.frames
}

#[test]
fn a_meeting_cut_at_every_frame_boundary_leaves_both_better_off_or_unchanged() {
    let frames = cut_and_heal(Cut::Never);
    assert!(frames > 15, "only {frames} frames");
    for at in 0..=frames {
        cut_and_heal(Cut::Frames(at));
    }
}

#[test]
fn a_meeting_cut_in_the_middle_of_frames_does_so_too() {
    let total = {
        laden()
            .world
            .meet(WORKER, SUPERVISOR, Cut::Never)
            .unwrap()
            .bytes
    };
    for at in (0..total)
        .step_by(usize::try_from(total / 97).unwrap())
        .chain([1, 2, 3, 4, 5, 6, 7])
    {
        cut_and_heal(Cut::Bytes(at));
    }
}

#[test]
fn a_bundle_is_resumed_from_another_phone_and_no_group_is_fetched_twice() {
    let mut road = Road::new(1_000_000);
    road.publish(1);
    road.world.meet(SUPERVISOR, DESK, Cut::Never).unwrap();
    road.world.meet(WORKER, DESK, Cut::Bytes(400_000)).unwrap();
    let half = road.wealth(WORKER)[4];
    assert!(half > 10, "{half} groups");
    let meeting = road.world.meet(WORKER, SUPERVISOR, Cut::Never).unwrap();
    let taken = meeting.summaries[0].as_ref().unwrap().bundle_bytes_taken;
    assert_eq!(taken, 1_000_000 - half * 16_384);
}

#[test]
fn a_partial_bundle_is_served_on() {
    let mut road = Road::new(1_000_000);
    road.publish(1);
    road.world
        .meet(SUPERVISOR, DESK, Cut::Bytes(500_000))
        .unwrap();
    road.world.meet(WORKER, SUPERVISOR, Cut::Never).unwrap();
    assert_eq!(road.wealth(WORKER)[4], road.wealth(SUPERVISOR)[4]);
    assert!(road.wealth(WORKER)[4] > 10);
}

#[test]
fn a_phone_that_both_call_at_once_keeps_one_meeting() {
    use node::agent::{Input, LinkClass, Output};
    let mut road = Road::new(10_000);
    let [worker, supervisor] = [WORKER, SUPERVISOR].map(|p| road.world.keys(p).unwrap().id());
    for (link, dialed) in [(901, true), (902, false)] {
        let up = Input::LinkUp {
            link,
            peer: supervisor,
            class: LinkClass::Ip,
            dialed,
        };
        let outputs = road.world.input(WORKER, up).unwrap();
        let closed: Vec<_> = outputs
            .iter()
            .filter_map(|o| {
                if let Output::CloseLink { link, .. } = o {
                    Some(*link)
                } else {
                    None
                }
            })
            .collect();
        if link == 902 {
            // The call of the phone with the lower id stays.
            assert_eq!(closed, [if worker < supervisor { 902 } else { 901 }]);
        }
    }
}
