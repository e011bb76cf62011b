//! Consent: what has none stays where it was written, and what waited for it leaves whole.

use clinical::FindingValue;
use node::CaseStore;
use node::agent::Command;
use protocol::CaseId;
use record::Entry;

mod common;

use common::{CLINIC, Road, SUPERVISOR, WORKER, finding, round};

#[test]
fn a_case_without_consent_never_leaves_the_phone_and_leaves_whole_once_it_is_given() {
    let mut road = Road::new(1);
    let area = road.area.clone();
    let add = |road: &mut Road, case: Option<CaseId>, entries: Vec<Entry>, request: u8| {
        let command = Command::AddToCase {
            case,
            area: area.clone(),
            entries,
            request: [request; 16],
        };
        match road.world.command(WORKER, command).unwrap() {
            node::agent::Reply::Case(id) => id,
            other => panic!("{other:?}"),
        }
    };
    let sign = |name: &str| Entry::Finding {
        name: name.into(),
        value: FindingValue::Yes,
    };
    let case = add(&mut road, None, vec![sign("cough")], 1);
    add(
        &mut road,
        Some(case),
        vec![sign("stiff_neck"), Entry::consent("share", false)],
        2,
    );
    round(&mut road, &[(WORKER, CLINIC), (WORKER, SUPERVISOR)]);
    assert_eq!(
        [WORKER, CLINIC, SUPERVISOR].map(|p| road.envelopes(p)),
        [0; 3]
    );
    road.world.restart(WORKER).unwrap();
    add(
        &mut road,
        Some(case),
        vec![Entry::consent("share", true)],
        3,
    );
    assert_eq!(road.envelopes(WORKER), 1, "three changes, one envelope");
    round(&mut road, &[(WORKER, CLINIC)]);
    assert_eq!(
        road.view(CLINIC, case).unwrap(),
        road.view(WORKER, case).unwrap()
    );
    // Withdrawn: the withdrawal itself travels, what is written after it does not.
    add(
        &mut road,
        Some(case),
        vec![Entry::consent("share", false)],
        4,
    );
    add(&mut road, Some(case), vec![sign("wheeze")], 5);
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
    let area = road.area.clone();
    let add = |road: &mut Road, entries: Vec<Entry>, request: u8| {
        let command = Command::AddToCase {
            case: Some(case),
            area: area.clone(),
            entries,
            request: [request; 16],
        };
        road.world.command(WORKER, command).unwrap();
    };
    add(
        &mut road,
        vec![
            Entry::Note("to be kept here".into()),
            Entry::consent("share", false),
        ],
        2,
    );
    add(&mut road, vec![Entry::Note("this too".into())], 3);
    round(&mut road, &[(WORKER, CLINIC)]);
    let there = road.view(CLINIC, case).unwrap();
    assert!(!there.consents("share") && there.notes.is_empty());
    assert_eq!(road.view(WORKER, case).unwrap().notes.len(), 2);
    add(&mut road, vec![Entry::consent("share", true)], 4);
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
    assert_eq!(road.world.phones[WORKER].store.unsent().unwrap().len(), 1);
    say(&mut road, true, 4);
    round(&mut road, &[(CLINIC, WORKER), (WORKER, CLINIC)]);
    assert!(road.world.phones[WORKER].store.unsent().unwrap().is_empty());
    assert_eq!(
        finding(&road.view(CLINIC, case).unwrap(), "wheeze"),
        Some(&FindingValue::Yes)
    );
}

#[test]
fn consent_withdrawn_for_one_case_of_a_patient_holds_for_the_other() {
    let mut road = Road::new(1);
    let [a, b] = [1, 2].map(|n| road.write(WORKER, None, "cough", FindingValue::Yes, n));
    let area = road.area.clone();
    let add = |road: &mut Road, case, entry, request: u8| {
        let command = Command::AddToCase {
            case: Some(case),
            area: area.clone(),
            entries: vec![entry],
            request: [request; 16],
        };
        road.world.command(WORKER, command).unwrap();
    };
    add(
        &mut road,
        a,
        Entry::Link {
            other: b,
            same: true,
        },
        3,
    );
    add(
        &mut road,
        b,
        Entry::Link {
            other: a,
            same: true,
        },
        4,
    );
    add(&mut road, b, Entry::consent("share", false), 5);
    add(
        &mut road,
        a,
        Entry::Note("after it was withdrawn".into()),
        6,
    );
    round(&mut road, &[(WORKER, CLINIC)]);
    assert!(road.view(CLINIC, a).unwrap().notes.is_empty());
    assert_eq!(road.view(WORKER, a).unwrap().notes.len(), 1);
}
