//! Consent: what has none stays where it was written, and what waited for it leaves whole.

use clinical::FindingValue;
use node::agent::Command;
use node::store::Setting;
use node::{CaseStore, TrustStore};
use protocol::defence::{Defence, without};
use protocol::{Area, CaseId};
use record::Entry;

mod common;

use common::{CLINIC, Road, SUPERVISOR, WORKER, finding, round};

/// Says something in a case on the worker's phone.
fn say(road: &mut Road, case: CaseId, entry: Entry, request: u8) {
    say_all(road, case, vec![entry], request);
}

/// Says several things at once.
fn say_all(road: &mut Road, case: CaseId, entries: Vec<Entry>, request: u8) {
    let area = road.area.clone();
    say_in(road, (Some(case), area), entries, request);
}

/// Says things in a case of an area, or begins one.
fn say_in(
    road: &mut Road,
    (case, area): (Option<CaseId>, Area),
    entries: Vec<Entry>,
    request: u8,
) -> CaseId {
    let command = Command::AddToCase {
        case,
        area,
        entries,
        request: [request; 16],
    };
    match road.world.command(WORKER, command).unwrap() {
        node::agent::Reply::Case(id) => id,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_case_without_consent_never_leaves_the_phone_and_leaves_whole_once_it_is_given() {
    let mut road = Road::new(1);
    let sign = |name: &str| Entry::Finding {
        name: name.into(),
        value: FindingValue::Yes,
    };
    let area = road.area.clone();
    let case = say_in(&mut road, (None, area), vec![sign("cough")], 1);
    say_all(
        &mut road,
        case,
        vec![sign("stiff_neck"), Entry::consent("share", false)],
        2,
    );
    round(&mut road, &[(WORKER, CLINIC), (WORKER, SUPERVISOR)]);
    assert_eq!(
        [WORKER, CLINIC, SUPERVISOR].map(|p| road.envelopes(p)),
        [0; 3]
    );
    road.world.restart(WORKER).unwrap();
    say_all(&mut road, case, vec![Entry::consent("share", true)], 3);
    assert_eq!(road.envelopes(WORKER), 1, "three changes, one envelope");
    round(&mut road, &[(WORKER, CLINIC)]);
    assert_eq!(
        road.view(CLINIC, case).unwrap(),
        road.view(WORKER, case).unwrap()
    );
    // Withdrawn: the withdrawal itself travels, what is written after it does not.
    say_all(&mut road, case, vec![Entry::consent("share", false)], 4);
    say(&mut road, case, sign("wheeze"), 5);
    round(&mut road, &[(WORKER, CLINIC)]);
    let there = road.view(CLINIC, case).unwrap();
    assert!(!there.consents("share") && finding(&there, "wheeze").is_none());
    assert_eq!(
        finding(&road.view(WORKER, case).unwrap(), "wheeze"),
        Some(&FindingValue::Yes)
    );
}

#[test]
fn withdrawn_consent_reaches_the_clinic_and_what_is_said_with_it_does_not() {
    let mut road = Road::new(1);
    let case = road.write(WORKER, None, "cough", FindingValue::Yes, 1);
    round(&mut road, &[(WORKER, CLINIC)]);
    say_all(
        &mut road,
        case,
        vec![
            Entry::Note("to be kept here".into()),
            Entry::consent("share", false),
        ],
        2,
    );
    say(&mut road, case, Entry::Note("this too".into()), 3);
    round(&mut road, &[(WORKER, CLINIC)]);
    let there = road.view(CLINIC, case).unwrap();
    assert!(!there.consents("share") && there.notes.is_empty());
    assert_eq!(road.view(WORKER, case).unwrap().notes.len(), 2);
    say(&mut road, case, Entry::consent("share", true), 4);
    round(&mut road, &[(WORKER, CLINIC)]);
    assert_eq!(
        road.view(CLINIC, case).unwrap(),
        road.view(WORKER, case).unwrap()
    );
}

#[test]
fn a_colleague_who_takes_back_that_a_case_is_not_shared_lets_what_waited_leave() {
    let mut road = Road::new(1);
    let case = road.write(WORKER, None, "cough", FindingValue::Yes, 1);
    round(&mut road, &[(WORKER, CLINIC)]);
    let say = |road: &mut Road, given: bool, request: u8| {
        let (area, entries) = (road.area.clone(), vec![Entry::consent("share", given)]);
        let command = Command::AddToCase {
            case: Some(case),
            area,
            entries,
            request: [request; 16],
        };
        road.world.command(CLINIC, command).unwrap();
    };
    say(&mut road, false, 2);
    round(&mut road, &[(CLINIC, WORKER)]);
    road.write(WORKER, Some(case), "wheeze", FindingValue::Yes, 3);
    assert_eq!(road.world.phones[WORKER].store.outbox().unwrap().len(), 1);
    say(&mut road, true, 4);
    round(&mut road, &[(CLINIC, WORKER), (WORKER, CLINIC)]);
    assert!(road.world.phones[WORKER].store.outbox().unwrap().is_empty());
    assert_eq!(
        finding(&road.view(CLINIC, case).unwrap(), "wheeze"),
        Some(&FindingValue::Yes)
    );
}

#[test]
fn consent_withdrawn_for_one_case_of_a_patient_holds_for_the_other() {
    let mut road = Road::new(1);
    let [a, b] = [1, 2].map(|n| road.write(WORKER, None, "cough", FindingValue::Yes, n));
    say(
        &mut road,
        a,
        Entry::Link {
            other: b,
            same: true,
        },
        3,
    );
    say(
        &mut road,
        b,
        Entry::Link {
            other: a,
            same: true,
        },
        4,
    );
    say(&mut road, b, Entry::consent("share", false), 5);
    say(
        &mut road,
        a,
        Entry::Note("after it was withdrawn".into()),
        6,
    );
    round(&mut road, &[(WORKER, CLINIC)]);
    assert!(road.view(CLINIC, a).unwrap().notes.is_empty());
    assert_eq!(road.view(WORKER, a).unwrap().notes.len(), 1);
}

/// One case says that another is the same patient's; that one says that nothing is to be shared, or
/// takes it back. Whether a note in the case that names nobody has left the phone.
fn named_by_its_twin(said_in: usize) -> [bool; 2] {
    let mut road = Road::new(1);
    let cases = [1, 2].map(|n| road.write(WORKER, None, "cough", FindingValue::Yes, n));
    let [names, named] = [said_in, 1 - said_in].map(|at| cases[at]);
    let link = Entry::Link {
        other: named,
        same: true,
    };
    say(&mut road, names, link, 3);
    say(&mut road, names, Entry::consent("share", false), 4);
    road.world.restart(WORKER).unwrap();
    say(&mut road, named, Entry::Note("of the same child".into()), 5);
    round(&mut road, &[(WORKER, CLINIC)]);
    let left = |road: &Road| !road.view(CLINIC, named).unwrap().notes.is_empty();
    let before = left(&road);
    say(&mut road, names, Entry::consent("share", true), 6);
    round(&mut road, &[(WORKER, CLINIC)]);
    [before, left(&road)]
}

#[test]
fn a_link_counts_for_the_case_that_it_names_too() {
    for said_in in [0, 1] {
        let left = named_by_its_twin(said_in);
        assert_eq!(
            left,
            [false, true],
            "held back, and let go with the consent"
        );
        let open = without(Defence::LinksBothWays, || named_by_its_twin(said_in));
        assert!(open[0], "one way only: the twin leaks");
    }
}

#[test]
fn who_says_in_a_case_that_it_is_another_patient_is_not_held_by_the_other_case() {
    let mut road = Road::new(1);
    let [a, b] = [1, 2].map(|n| road.write(WORKER, None, "cough", FindingValue::Yes, n));
    let link = |other, same| Entry::Link { other, same };
    say_all(
        &mut road,
        a,
        vec![link(b, true), Entry::consent("share", false)],
        3,
    );
    let note = Entry::Note("another child".into());
    say_all(&mut road, b, vec![link(a, false), note], 4);
    round(&mut road, &[(WORKER, CLINIC)]);
    assert_eq!(road.view(CLINIC, b).unwrap().notes.len(), 1);
}

#[test]
fn links_of_a_phone_of_before_they_were_kept_both_ways_count_after_its_next_start() {
    let mut road = Road::new(1);
    let [a, b] = [1, 2].map(|n| road.write(WORKER, None, "cough", FindingValue::Yes, n));
    let same = Entry::Link {
        other: b,
        same: true,
    };
    say_all(&mut road, a, vec![same, Entry::consent("share", false)], 3);
    let store = &mut road.world.phones[WORKER].store;
    for link in [
        Setting::link(&a, &b),
        Setting::link(&b, &a),
        Setting::links_kept(),
    ] {
        store.put_setting(&link, &[]).unwrap(); // as if it had never been kept
    }
    road.world.restart(WORKER).unwrap();
    say_all(
        &mut road,
        b,
        vec![Entry::Note("of the same child".into())],
        4,
    );
    round(&mut road, &[(WORKER, CLINIC)]);
    assert!(road.view(CLINIC, b).unwrap().notes.is_empty());
}

/// Two cases of one patient; the first names the second and says that nothing is to be shared. Words
/// in the second are held back.
fn held_by_the_other(road: &mut Road) -> [CaseId; 2] {
    let [a, b] = [1, 2].map(|n| road.write(WORKER, None, "cough", FindingValue::Yes, n));
    let link = Entry::Link {
        other: b,
        same: true,
    };
    say(road, a, link, 3);
    say(road, a, Entry::consent("share", false), 4);
    say(road, b, Entry::Note("of the same child".into()), 5);
    round(road, &[(WORKER, CLINIC)]);
    assert!(road.view(CLINIC, b).unwrap().notes.is_empty());
    [a, b]
}

/// The review's: words that the other case held back left with this case's own withdrawal.
#[test]
fn words_that_were_held_back_do_not_leave_with_a_withdrawal() {
    let mut road = Road::new(1);
    let [_, b] = held_by_the_other(&mut road);
    say(&mut road, b, Entry::consent("share", false), 6);
    round(&mut road, &[(WORKER, CLINIC)]);
    assert!(road.view(CLINIC, b).unwrap().notes.is_empty());
    // Given again by who has seen all of it, all of it leaves.
    say(&mut road, b, Entry::consent("share", true), 7);
    round(&mut road, &[(WORKER, CLINIC)]);
    assert_eq!(road.view(CLINIC, b).unwrap().notes.len(), 1);
}

#[test]
fn a_link_that_is_undone_lets_go_of_what_it_held_back_with_nothing_written_there() {
    let mut road = Road::new(1);
    let [a, b] = held_by_the_other(&mut road);
    let link = Entry::Link {
        other: b,
        same: false,
    };
    say(&mut road, a, link, 6);
    round(&mut road, &[(WORKER, CLINIC)]);
    assert_eq!(road.view(CLINIC, b).unwrap().notes.len(), 1);
}

/// Who writes in a village alone has no say in a case of the post above by naming it.
#[test]
fn a_case_of_a_village_that_names_one_of_the_post_above_holds_nothing_back_there() {
    let mut road = Road::new(1);
    let village = Area::parse("north/kilifi/mtwapa").unwrap();
    let named = road.write(WORKER, None, "cough", FindingValue::Yes, 1);
    let link = Entry::Link {
        other: named,
        same: true,
    };
    let words = vec![link, Entry::consent("share", false)];
    say_in(&mut road, (None, village), words, 2);
    say(&mut road, named, Entry::Note("of this child".into()), 3);
    round(&mut road, &[(WORKER, CLINIC)]);
    assert_eq!(road.view(CLINIC, named).unwrap().notes.len(), 1);
}
