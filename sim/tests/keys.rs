//! Who may read and write over time: lost phones, new keys, late words, and what is deleted for
//! good.

use clinical::FindingValue;
use node::agent::{Command, whereabouts};
use node::api::views::meetings::NotInStep;
use node::store::TrustStore;
use node::{CaseStore, EnvelopeStore};
use protocol::certificate::{Right, Rights};
use protocol::{Area, SpaceId};
use record::Entry;
use sim::world::Cut;
use sim::world::SimError;
use sync::{Envelope, EnvelopeKind};

mod common;

use common::{CLINIC, DESK, Road, SUPERVISOR, WORKER, finding, round};

/// The ministry says that a phone is lost, and the desk's phone hears it first.
fn ministry_revokes(road: &mut Road, phone: usize) {
    let device = road.world.keys(phone).unwrap().id();
    let revocations = road.ministry.revoke(1, &[device]);
    road.world
        .command(
            DESK,
            Command::Offer(Box::new(distribution::Offer::Revocations(revocations))),
        )
        .unwrap();
}

/// Envelopes a phone holds that it can open with the keys it has.
fn readable(road: &Road, phone: usize) -> usize {
    let phone = &road.world.phones[phone];
    let keys = phone.agent.known().space_keys();
    let rows = phone.store.envelope_rows(SpaceId::of(&road.area)).unwrap();
    rows.iter()
        .filter(|row| keys.iter().any(|key| key.epoch_tag() == row.epoch))
        .count()
}

/// A second worker of the same village.
fn second_worker(road: &mut Road) -> usize {
    road.second_reader(50, "north/kilifi/mtwapa")
}

#[test]
fn a_grant_reaches_its_phone_over_couriers_without_any_file() {
    let mut road = Road::new(1);
    let case = road.write(WORKER, None, "cough", FindingValue::Yes, 1);
    round(&mut road, &[(WORKER, CLINIC)]);
    let colleague = second_worker(&mut road);
    assert!(
        road.world.phones[colleague]
            .agent
            .known()
            .space_keys()
            .is_empty()
    );
    round(&mut road, &[(CLINIC, SUPERVISOR), (SUPERVISOR, colleague)]);
    assert_eq!(
        finding(&road.view(colleague, case).unwrap(), "cough"),
        Some(&FindingValue::Yes)
    );
    assert!(
        road.world.phones[SUPERVISOR]
            .agent
            .known()
            .space_keys()
            .is_empty(),
        "the courier reads nothing"
    );
}

#[test]
fn a_phone_lost_at_a_time_reads_nothing_that_is_sealed_after_the_next_key() {
    let mut road = Road::new(1);
    let colleague = second_worker(&mut road);
    round(&mut road, &[(CLINIC, colleague), (CLINIC, WORKER)]);
    ministry_revokes(&mut road, colleague);
    // The worker hears of the loss before the clinic has made a new key: what it writes waits, and
    // is not lost.
    round(&mut road, &[(DESK, WORKER)]);
    assert!(
        road.world.phones[WORKER]
            .agent
            .known()
            .write_key(&road.area)
            .is_none()
    );
    let case = road.write(WORKER, None, "cough", FindingValue::Yes, 7);
    assert_eq!(
        (
            road.envelopes(WORKER),
            road.world.phones[WORKER].store.outbox().unwrap().len()
        ),
        (0, 1)
    );
    // The new key comes; what waited is sealed with it, and goes at the next meeting.
    round(
        &mut road,
        &[
            (DESK, CLINIC),
            (CLINIC, SUPERVISOR),
            (SUPERVISOR, WORKER),
            (WORKER, SUPERVISOR),
            (SUPERVISOR, CLINIC),
        ],
    );
    assert_eq!(
        finding(&road.view(CLINIC, case).unwrap(), "cough"),
        Some(&FindingValue::Yes)
    );
    assert!(road.world.phones[WORKER].store.outbox().unwrap().is_empty());
    // The lost phone gets hold of every envelope there is: a courier that has not heard yet gives
    // them to it.
    let store = road.world.phones[colleague].store.clone();
    let held: Vec<_> = road.world.phones[CLINIC]
        .store
        .envelope_ids(SpaceId::of(&road.area))
        .unwrap();
    let mut opened = 0;
    for (id, _) in held {
        let bytes = road.world.phones[CLINIC]
            .store
            .envelope(&id)
            .unwrap()
            .unwrap();
        let envelope = Envelope::parse(bytes).unwrap();
        if envelope.kind == EnvelopeKind::Notice {
            let share = envelope.notice().unwrap().share;
            opened += usize::from(share.is_some_and(|s| {
                s.open(&road.area, road.world.keys(colleague).unwrap())
                    .is_some_and(|k| !store.space_keys().unwrap().contains(&k))
            }));
        } else {
            let keys = store.space_keys().unwrap();
            opened += usize::from(keys.iter().any(|key| key.epoch_tag() == envelope.epoch_tag));
        }
    }
    assert_eq!(opened, 0, "neither a new key nor anything sealed with it");
}

#[test]
fn a_supervisor_with_the_right_to_revoke_says_that_a_phone_is_lost_without_the_ministry() {
    let mut road = Road::new(1);
    let rights = Rights::of(&[Right::Carry, Right::Enrol, Right::Revoke]);
    let all = Rights::of(&[Right::Carry, Right::Read, Right::Write]);
    let keys = road.world.keys(SUPERVISOR).unwrap().clone();
    let area = road.area.clone();
    let chain = road
        .ministry
        .certify(&keys, "supervisor", &area, rights, all);
    road.world
        .command(SUPERVISOR, Command::InstallChain(chain))
        .unwrap();
    let colleague = second_worker(&mut road);
    round(
        &mut road,
        &[
            (CLINIC, colleague),
            (CLINIC, SUPERVISOR),
            (SUPERVISOR, WORKER),
        ],
    );
    let device = road.world.keys(colleague).unwrap().id();
    let revoke = Command::Revoke(area.clone(), device, "stolen at the market".into());
    assert!(
        matches!(
            road.world.command(WORKER, revoke.clone()),
            Err(SimError::Refused { .. })
        ),
        "a worker may not"
    );
    let elsewhere = Command::Revoke(Area::parse("south").unwrap(), device, "x".into());
    assert!(matches!(
        road.world.command(SUPERVISOR, elsewhere),
        Err(SimError::Refused { .. })
    ));
    road.world.command(SUPERVISOR, revoke).unwrap();
    let before = road.world.phones[CLINIC].agent.known().space_keys().len();
    round(&mut road, &[(SUPERVISOR, CLINIC)]);
    assert_eq!(
        road.world.phones[CLINIC].agent.known().space_keys().len(),
        before + 1,
        "the clinic made a new key at once"
    );
    round(&mut road, &[(CLINIC, WORKER)]);
    let met = road.world.meet(WORKER, colleague, Cut::Never).unwrap();
    assert!(
        !met.summaries[0].as_ref().unwrap().complete,
        "the lost phone is met no more"
    );
    assert!(
        road.world.phones[WORKER]
            .agent
            .known()
            .write_key(&area)
            .is_some()
    );
    // The ministry finds that it was the supervisor's phone that was stolen: what it said of others
    // counts no more.
    ministry_revokes(&mut road, SUPERVISOR);
    round(&mut road, &[(DESK, WORKER), (DESK, colleague)]);
    let met = road.world.meet(WORKER, colleague, Cut::Never).unwrap();
    assert!(met.summaries[0].as_ref().unwrap().complete);
}

/// Whoever has a lost supervisor's phone may have certified phones of its own with it. So a key
/// that only such phones vouch for is not written with, an honest worker below gets the next one
/// once somebody else has certified it, and nothing is lost meanwhile.
#[test]
fn who_is_certified_by_a_lost_supervisor_only_has_no_new_keys_until_somebody_else_vouches() {
    let mut road = Road::new(1);
    let colleague = second_worker(&mut road); // certified by the ministry
    round(&mut road, &[(CLINIC, colleague), (WORKER, colleague)]); // the worker, by the supervisor
    ministry_revokes(&mut road, SUPERVISOR);
    round(&mut road, &[(DESK, colleague)]);
    assert!(
        road.world.phones[colleague]
            .agent
            .known()
            .write_key(&road.area)
            .is_none(),
        "the worker has the old key"
    );
    let case = road.write(colleague, None, "cough", FindingValue::Yes, 7);
    assert_eq!(road.envelopes(colleague), 0, "it waits");
    let before = road.world.phones[CLINIC].agent.known().space_keys().len();
    round(&mut road, &[(DESK, CLINIC)]);
    assert_eq!(
        road.world.phones[CLINIC].agent.known().space_keys().len(),
        before + 1,
        "the clinic makes a new key at once"
    );
    round(&mut road, &[(CLINIC, colleague), (colleague, CLINIC)]);
    assert!(
        road.view(CLINIC, case).is_some(),
        "and what waited has arrived"
    );
    // The worker is certified anew, by the ministry this time, and granted.
    let rights = Rights::of(&[Right::Carry, Right::Read, Right::Write]);
    let village = Area::parse("north/kilifi/mtwapa").unwrap();
    let keys = road.world.keys(WORKER).unwrap().clone();
    let chain = road
        .ministry
        .certify(&keys, "worker", &village, rights, Rights::default());
    road.world
        .command(WORKER, Command::InstallChain(chain.clone()))
        .unwrap();
    road.world
        .command(CLINIC, Command::GrantSpace(road.area.clone(), chain))
        .unwrap();
    round(&mut road, &[(DESK, WORKER), (CLINIC, WORKER)]);
    assert!(road.view(WORKER, case).is_some(), "it reads again");
    for phone in [WORKER, CLINIC, colleague] {
        assert!(
            road.world.phones[phone]
                .agent
                .known()
                .write_key(&road.area)
                .is_some(),
            "{phone}"
        );
    }
}

/// What a lost phone wrote, and nobody has looked at yet, would go for good with the key under
/// which it lies.
#[test]
fn keys_do_not_end_while_changes_of_a_lost_phone_wait_under_them() {
    let mut road = Road::new(1);
    let colleague = second_worker(&mut road);
    round(&mut road, &[(CLINIC, colleague)]);
    let case = road.write(colleague, None, "stiff_neck", FindingValue::Yes, 9);
    round(&mut road, &[(colleague, SUPERVISOR)]);
    ministry_revokes(&mut road, colleague);
    round(
        &mut road,
        &[(DESK, CLINIC), (DESK, SUPERVISOR), (SUPERVISOR, CLINIC)],
    );
    let retire = Command::Retire(road.area.clone(), u64::MAX);
    match road.world.command(CLINIC, retire.clone()) {
        Err(SimError::Refused { reason, .. }) => {
            assert_eq!(reason, "ChangesWait(1)")
        }
        other => panic!("{other:?}"),
    }
    road.world
        .command(CLINIC, Command::Countersign(Vec::new()))
        .unwrap();
    road.world.command(CLINIC, retire).unwrap();
    assert_eq!(
        finding(&road.view(CLINIC, case).unwrap(), "stiff_neck"),
        Some(&FindingValue::Yes)
    );
    road.days_pass(8);
    round(&mut road, &[(SUPERVISOR, CLINIC)]);
    assert!(
        road.world.phones[CLINIC]
            .store
            .quarantined()
            .unwrap()
            .is_empty(),
        "what ended does not come back to wait"
    );
}

/// keyhive#116, p2panda#1344: what a lost phone wrote is neither believed nor thrown away, and what
/// honest phones built on it is not blocked for ever.
#[test]
fn what_a_lost_phone_wrote_waits_for_a_countersignature_and_is_never_dropped() {
    let mut road = Road::new(1);
    let colleague = second_worker(&mut road);
    round(&mut road, &[(CLINIC, colleague), (CLINIC, WORKER)]);
    let case = road.write(colleague, None, "stiff_neck", FindingValue::Yes, 9);
    round(&mut road, &[(colleague, WORKER)]);
    ministry_revokes(&mut road, colleague);
    round(&mut road, &[(DESK, CLINIC), (DESK, SUPERVISOR)]);
    road.write(WORKER, Some(case), "cough", FindingValue::Yes, 10); // builds on what the lost phone said
    round(&mut road, &[(WORKER, SUPERVISOR), (SUPERVISOR, CLINIC)]);
    let waiting = road.world.phones[CLINIC].store.quarantined().unwrap();
    assert!(
        waiting.len() == 1 && waiting[0].1 == node::store::Aside::Late,
        "{waiting:?}"
    );
    assert!(
        road.view(CLINIC, case)
            .is_none_or(|view| view.findings.is_empty()),
        "not believed yet"
    );
    let clinic = &road.world.phones[CLINIC];
    let (of, adds) = clinic
        .agent
        .known()
        .preview(&waiting[0].0, &clinic.store)
        .unwrap()
        .unwrap();
    let stiff =
        |entry: &Entry| matches!(entry, Entry::Finding { name, .. } if name == "stiff_neck");
    assert!(
        of == case && adds.iter().any(|(_, entry)| stiff(entry)),
        "whoever judges it sees what it would add"
    );
    assert!(matches!(
        road.world.command(WORKER, Command::Countersign(Vec::new())),
        Err(SimError::Refused { .. })
    ));
    road.world
        .command(CLINIC, Command::Countersign(Vec::new()))
        .unwrap();
    let view = road.view(CLINIC, case).unwrap();
    assert_eq!(finding(&view, "stiff_neck"), Some(&FindingValue::Yes));
    assert_eq!(
        finding(&view, "cough"),
        Some(&FindingValue::Yes),
        "and what was built on it"
    );
    assert!(
        road.world.phones[CLINIC]
            .store
            .quarantined()
            .unwrap()
            .is_empty()
    );
    // A reader who only now hears of all this opens it too, in one meeting.
    let late = road.world.add([51; 32]).unwrap();
    road.world
        .command(late, Command::InstallTrust(road.ministry.root.clone()))
        .unwrap();
    let keys = road.world.keys(late).unwrap().clone();
    let rights = Rights::of(&[Right::Carry, Right::Read, Right::Write]);
    let chain = road
        .ministry
        .certify(&keys, "late", &road.area, rights, Rights::default());
    road.world
        .command(late, Command::InstallChain(chain.clone()))
        .unwrap();
    road.world
        .command(CLINIC, Command::GrantSpace(road.area.clone(), chain))
        .unwrap();
    round(&mut road, &[(CLINIC, late), (CLINIC, late)]);
    assert_eq!(
        finding(&road.view(late, case).unwrap(), "stiff_neck"),
        Some(&FindingValue::Yes)
    );
}

/// Ditto's delete TTL: a phone that was away for 400 days does not bring back what was deleted.
#[test]
fn closed_cases_go_for_good_and_a_phone_away_for_400_days_does_not_bring_them_back() {
    let mut road = Road::new(1);
    let closed = road.write(WORKER, None, "cough", FindingValue::Yes, 1);
    road.write(
        WORKER,
        Some(closed),
        "outcome",
        FindingValue::Text("recovered".into()),
        2,
    );
    let open = road.write(WORKER, None, "fever", FindingValue::Yes, 3);
    let away = second_worker(&mut road);
    round(
        &mut road,
        &[
            (WORKER, CLINIC),
            (CLINIC, away),
            (CLINIC, SUPERVISOR),
            (CLINIC, WORKER),
        ],
    );
    assert!(road.view(away, closed).is_some());
    road.world.now.wall_s += 400 * 86_400;
    let wall_s = road.world.now.wall_s;
    let area = road.area.clone();
    assert!(matches!(
        road.world
            .command(CLINIC, Command::Retire(area.clone(), wall_s)),
        Err(SimError::Refused { .. })
    ));
    road.world
        .command(CLINIC, Command::RotateSpace(area.clone(), Vec::new()))
        .unwrap();
    road.world
        .command(CLINIC, Command::Retire(area.clone(), wall_s - 90 * 86_400))
        .unwrap();
    assert!(road.view(CLINIC, open).is_some());
    round(&mut road, &[(CLINIC, SUPERVISOR), (SUPERVISOR, WORKER)]);
    assert!(
        road.view(WORKER, closed).is_some(),
        "one keeper's word alone ends nothing at once"
    );
    road.days_pass(8);
    for phone in [CLINIC, WORKER] {
        assert!(road.view(phone, closed).is_none(), "phone {phone}");
        assert_eq!(
            finding(&road.view(phone, open).unwrap(), "fever"),
            Some(&FindingValue::Yes)
        );
        assert_eq!(
            road.world.phones[phone].agent.known().space_keys().len(),
            1,
            "the older key is destroyed"
        );
    }
    let [clinic, supervisor] = [CLINIC, SUPERVISOR].map(|p| road.envelopes(p));
    assert_eq!(clinic, supervisor, "the courier let go of it too");
    // The one who was away writes into the closed case, and meets the others.
    road.write(away, Some(open), "wheeze", FindingValue::Yes, 4);
    for _ in 0..2 {
        round(
            &mut road,
            &[(away, SUPERVISOR), (SUPERVISOR, CLINIC), (away, WORKER)],
        );
        road.days_pass(8);
    }
    round(
        &mut road,
        &[(away, SUPERVISOR), (SUPERVISOR, CLINIC), (away, WORKER)],
    );
    for phone in [CLINIC, WORKER, away] {
        assert!(road.view(phone, closed).is_none(), "phone {phone}");
        assert_eq!(
            finding(&road.view(phone, open).unwrap(), "fever"),
            Some(&FindingValue::Yes),
            "phone {phone}"
        );
        assert_eq!(
            finding(&road.view(phone, open).unwrap(), "wheeze"),
            Some(&FindingValue::Yes),
            "phone {phone}"
        );
    }
    assert_eq!(readable(&road, away), road.envelopes(away));
    let last = road.world.meet(away, CLINIC, Cut::Never).unwrap();
    assert!(last.summaries.iter().all(|s| s.as_ref().unwrap().in_step));
}

/// p2panda#974: what is deleted in the middle of a meeting harms neither side.
#[test]
fn deleting_while_a_meeting_goes_on_harms_neither_side() {
    for frames in 0..60 {
        let mut road = Road::new(1);
        for i in 0..10 {
            let case = road.write(WORKER, None, "cough", FindingValue::Yes, i);
            road.write(
                WORKER,
                Some(case),
                "outcome",
                FindingValue::Text("recovered".into()),
                100 + i,
            );
        }
        round(&mut road, &[(WORKER, CLINIC), (CLINIC, WORKER)]);
        let area = road.area.clone();
        road.world
            .command(CLINIC, Command::RotateSpace(area.clone(), Vec::new()))
            .unwrap();
        road.world
            .meet(CLINIC, SUPERVISOR, Cut::Frames(frames))
            .unwrap();
        road.world
            .command(CLINIC, Command::Retire(area, u64::MAX))
            .unwrap();
        road.world
            .meet(CLINIC, WORKER, Cut::Frames(frames))
            .unwrap();
        round(
            &mut road,
            &[(CLINIC, SUPERVISOR), (CLINIC, WORKER), (WORKER, SUPERVISOR)],
        );
        road.days_pass(8);
        assert_eq!(
            [WORKER, CLINIC, SUPERVISOR].map(|p| road.envelopes(p)),
            [0; 3],
            "cut at {frames}"
        );
        assert!(road.world.phones[WORKER].store.cases().unwrap().is_empty());
    }
}

#[test]
fn the_worker_sees_who_holds_a_case_and_that_it_has_reached_the_clinic() {
    let mut road = Road::new(1);
    let case = road.write(WORKER, None, "cough", FindingValue::Yes, 1);
    let seen = |road: &Road| {
        let store = &road.world.phones[WORKER].store;
        let row = store
            .cases()
            .unwrap()
            .into_iter()
            .find(|row| row.id == case)
            .unwrap();
        let known = road.world.phones[WORKER].agent.known();
        whereabouts(&row, known, store).unwrap()
    };
    assert!(
        seen(&road).envelopes == 1
            && seen(&road).held_by.is_empty()
            && seen(&road).reached.is_empty()
    );
    round(&mut road, &[(WORKER, SUPERVISOR)]);
    let supervisor = road.world.keys(SUPERVISOR).unwrap().id();
    let met = road.world.phones[WORKER].store.peers().unwrap();
    let held: Vec<_> = met.iter().map(|peer| (peer.device, peer.held.0)).collect();
    assert_eq!(held, [(supervisor, 1)], "how new what it holds is");
    assert!(
        seen(&road).held_by.contains(&supervisor) && seen(&road).reached.is_empty(),
        "carried, not arrived"
    );
    round(
        &mut road,
        &[
            (SUPERVISOR, CLINIC),
            (SUPERVISOR, CLINIC),
            (SUPERVISOR, WORKER),
        ],
    );
    let clinic = sync::envelope::author_key(&road.world.keys(CLINIC).unwrap().id());
    assert!(
        seen(&road).reached.contains(&clinic),
        "the clinic's word came back over the courier"
    );
    road.write(WORKER, Some(case), "wheeze", FindingValue::Yes, 2);
    assert!(
        seen(&road).reached.is_empty() && seen(&road).held_by.is_empty(),
        "the new word has not gone anywhere yet"
    );
    assert!(
        seen(&road).held_in_part.contains(&supervisor),
        "and still they hold what was said before"
    );
}

#[test]
fn a_courier_lets_go_of_what_has_arrived_and_never_of_what_has_not() {
    let mut road = Road::new(1);
    for i in 0..20 {
        road.write(WORKER, None, "cough", FindingValue::Yes, i);
    }
    round(&mut road, &[(WORKER, SUPERVISOR)]);
    road.world
        .command(SUPERVISOR, Command::SetCarryQuota(1))
        .unwrap();
    let bytes = |road: &Road| {
        let rows = road.world.phones[SUPERVISOR]
            .store
            .envelope_rows(SpaceId::of(&road.area))
            .unwrap();
        rows.iter().filter(|row| row.bytes > 0).count()
    };
    assert_eq!(
        bytes(&road),
        20,
        "the only copies on their way are kept, whatever the quota"
    );
    round(&mut road, &[(SUPERVISOR, CLINIC), (SUPERVISOR, CLINIC)]);
    assert_eq!(bytes(&road), 0, "all has arrived");
    assert_eq!(road.envelopes(CLINIC), 20);
    let again = road.world.meet(SUPERVISOR, WORKER, Cut::Never).unwrap();
    assert_eq!(bytes(&road), 0, "and is not taken in again");
    assert!(again.summaries[0].as_ref().unwrap().envelopes_taken <= 1);
}

#[test]
fn notices_of_those_who_may_not_say_them_are_refused() {
    let mut road = Road::new(1);
    round(&mut road, &[(WORKER, SUPERVISOR)]);
    let area = road.area.clone();
    for command in [
        Command::RotateSpace(area.clone(), Vec::new()),
        Command::Retire(area.clone(), 0),
        Command::Countersign(Vec::new()),
        Command::Revoke(
            area,
            road.world.keys(CLINIC).unwrap().id(),
            "mine now".into(),
        ),
    ] {
        assert!(matches!(
            road.world.command(WORKER, command),
            Err(SimError::Refused { .. })
        ));
    }
}

#[test]
fn a_phone_whose_certificate_has_expired_hands_over_what_it_has_and_gets_no_new_key() {
    let mut road = Road::new(1);
    let colleague = road.world.add([60; 32]).unwrap();
    road.world
        .command(colleague, Command::InstallTrust(road.ministry.root.clone()))
        .unwrap();
    let rights = Rights::of(&[Right::Carry, Right::Read, Right::Write]);
    let mut certificate = sim::ministry::certificate(
        road.world.keys(colleague).unwrap(),
        "colleague",
        &road.area,
        rights,
        Rights::default(),
    );
    certificate.expires_s = Some(1_770_000_000);
    let chain = protocol::Chain {
        certificates: vec![road.ministry.sign(&certificate)],
    };
    road.world
        .command(colleague, Command::InstallChain(chain.clone()))
        .unwrap();
    road.world
        .command(
            CLINIC,
            Command::GrantSpace(road.area.clone(), chain.clone()),
        )
        .unwrap();
    round(&mut road, &[(CLINIC, colleague)]);
    // No clock of its own ends a certificate: only a time that the ministry has signed.
    for phone in [colleague, CLINIC] {
        road.world.phones[phone].clock_off_s = 40 * 365 * 86_400;
    }
    let case = road.write(colleague, None, "cough", FindingValue::Yes, 1);
    let beacon = road.ministry.beacon(1_780_000_000, 0, 0);
    for phone in [colleague, CLINIC] {
        road.world
            .command(
                phone,
                Command::Offer(Box::new(distribution::Offer::Beacon(beacon.clone()))),
            )
            .unwrap();
    }
    let later = road.write(colleague, Some(case), "wheeze", FindingValue::Yes, 2);
    round(&mut road, &[(colleague, CLINIC)]);
    assert_eq!(
        finding(&road.view(CLINIC, later).unwrap(), "wheeze"),
        Some(&FindingValue::Yes),
        "care does not stop"
    );
    assert!(matches!(
        road.world
            .command(CLINIC, Command::GrantSpace(road.area.clone(), chain)),
        Err(SimError::Refused { .. })
    ));
    let held = |road: &Road, n: usize| road.world.phones[n].agent.known().space_keys().len();
    let keys = held(&road, colleague);
    road.world
        .command(CLINIC, Command::RotateSpace(road.area.clone(), Vec::new()))
        .unwrap();
    round(&mut road, &[(CLINIC, colleague), (CLINIC, WORKER)]);
    assert_eq!(held(&road, colleague), keys, "no new key");
    assert_eq!(held(&road, WORKER), 2);
}

#[test]
fn a_key_on_a_lease_is_locked_away_after_its_days_of_use_and_a_code_unlocks_it() {
    let mut road = Road::new(1);
    let case = road.write(WORKER, None, "cough", FindingValue::Yes, 1);
    let area = road.area.clone();
    assert!(matches!(
        road.world
            .command(WORKER, Command::SetLease(area.clone(), 30)),
        Err(SimError::Refused { .. })
    ));
    road.world
        .command(CLINIC, Command::SetLease(area.clone(), 30))
        .unwrap();
    round(&mut road, &[(CLINIC, WORKER)]);
    let readable = |road: &Road| {
        !road.world.phones[WORKER]
            .agent
            .known()
            .space_keys()
            .is_empty()
    };
    // A clock that jumps to 2100 and back counts as the days of use it is, not as the years it
    // says.
    for years in [74, -50, 0] {
        road.world.phones[WORKER].clock_off_s = years * 365 * 86_400;
        road.world.input(WORKER, node::Input::Woke).unwrap();
    }
    assert!(readable(&road), "a wrong clock locks nothing at once");
    for _ in 0..40 {
        road.world.now.wall_s += 86_400;
        road.world.input(WORKER, node::Input::Woke).unwrap();
        if readable(&road) {
            road.world.restart(WORKER).unwrap();
        }
    }
    assert!(
        !readable(&road)
            && road.world.phones[WORKER]
                .store
                .space_keys()
                .unwrap()
                .is_empty(),
        "destroyed here"
    );
    assert!(node::agent::locked(SpaceId::of(&area), &road.world.phones[WORKER].store).unwrap());
    // What is written meanwhile waits, and is not lost.
    road.write(WORKER, Some(case), "wheeze", FindingValue::Yes, 2);
    let begun = road.write(WORKER, None, "diarrhoea", FindingValue::Yes, 3);
    assert_eq!(road.world.phones[WORKER].store.outbox().unwrap().len(), 2);
    let device = road.world.keys(WORKER).unwrap().id();
    let node::agent::Reply::Document(code) = road
        .world
        .command(CLINIC, Command::UnlockCode(area.clone(), device))
        .unwrap()
    else {
        panic!("a code was expected")
    };
    let code = String::from_utf8(code).unwrap();
    assert_eq!(code.len(), 11, "{code}: short enough to be read out");
    let wrong = Command::Unlock(area.clone(), "00000-00000".into());
    assert!(matches!(
        road.world.command(WORKER, wrong),
        Err(SimError::Refused { .. })
    ));
    road.world
        .command(WORKER, Command::Unlock(area.clone(), code.to_uppercase()))
        .unwrap();
    assert!(readable(&road) && road.world.phones[WORKER].store.outbox().unwrap().is_empty());
    round(&mut road, &[(WORKER, CLINIC)]);
    assert_eq!(
        finding(&road.view(CLINIC, case).unwrap(), "wheeze"),
        Some(&FindingValue::Yes)
    );
    assert_eq!(
        finding(&road.view(CLINIC, begun).unwrap(), "diarrhoea"),
        Some(&FindingValue::Yes)
    );
    assert!(
        road.world.phones[CLINIC]
            .agent
            .known()
            .write_key(&area)
            .is_some(),
        "the keeper itself is on no lease"
    );
}

/// A closed case that has not reached the clinic when its key ends is sealed anew by whoever holds
/// it, and arrives.
#[test]
fn a_closed_case_that_nobody_has_yet_outlives_the_end_of_its_key() {
    let mut road = Road::new(1);
    let case = road.write(WORKER, None, "cough", FindingValue::Yes, 1);
    road.write(
        WORKER,
        Some(case),
        "outcome",
        FindingValue::Text("died".into()),
        2,
    );
    road.world.meet(WORKER, SUPERVISOR, Cut::Never).unwrap();
    let area = road.area.clone();
    road.world
        .command(CLINIC, Command::RotateSpace(area.clone(), Vec::new()))
        .unwrap();
    road.world
        .command(CLINIC, Command::Retire(area, u64::MAX))
        .unwrap();
    round(
        &mut road,
        &[(CLINIC, WORKER), (CLINIC, WORKER), (SUPERVISOR, CLINIC)],
    );
    for phone in [WORKER, CLINIC] {
        let view = road.view(phone, case).unwrap();
        assert_eq!(
            finding(&view, "outcome"),
            Some(&FindingValue::Text("died".into())),
            "phone {phone}"
        );
    }
}

/// Rights hold downward only: a post in a village keeps no space of the district, and says nobody
/// above it lost.
#[test]
fn a_post_below_can_neither_end_nor_change_keys_above_it_nor_call_those_above_lost() {
    let mut road = Road::new(1);
    let case = road.write(WORKER, None, "cough", FindingValue::Yes, 1);
    let post = road.world.add([70; 32]).unwrap();
    road.world
        .command(post, Command::InstallTrust(road.ministry.root.clone()))
        .unwrap();
    let all = [
        Right::Carry,
        Right::Read,
        Right::Write,
        Right::Grant,
        Right::Revoke,
        Right::Enrol,
    ];
    let village = Area::parse("north/kilifi/mtwapa").unwrap();
    let keys = road.world.keys(post).unwrap().clone();
    let chain = road
        .ministry
        .certify(&keys, "post", &village, Rights::of(&all), Rights::default());
    road.world
        .command(post, Command::InstallChain(chain.clone()))
        .unwrap();
    road.world
        .command(CLINIC, Command::GrantSpace(road.area.clone(), chain))
        .unwrap();
    round(
        &mut road,
        &[(CLINIC, post), (WORKER, CLINIC), (CLINIC, WORKER)],
    );
    let (area, clinic) = (road.area.clone(), road.world.keys(CLINIC).unwrap().id());
    for command in [
        Command::RotateSpace(area.clone(), Vec::new()),
        Command::Retire(area.clone(), 0),
        Command::Revoke(area.clone(), clinic, "mine now".into()),
        Command::SetLease(area, 1),
    ] {
        assert!(matches!(
            road.world.command(post, command),
            Err(SimError::Refused { .. })
        ));
    }
    // It may speak of its village, and names the clinic there; and a program gone wrong says it all
    // in one notice.
    road.world
        .command(
            post,
            Command::Revoke(village.clone(), clinic, "lost".into()),
        )
        .unwrap();
    let epoch = road.world.phones[CLINIC].agent.known().space_keys()[0].epoch_tag();
    let forged = sync::Notice {
        retired: vec![epoch.into()],
        ..sync::Notice::about(&road.area)
    };
    let forged = sync::envelope::announce(&forged, &keys, [9; 24]).unwrap();
    let area = road.area.clone();
    road.world.phones[post]
        .store
        .put_envelope(&forged, &area)
        .unwrap();
    round(
        &mut road,
        &[(post, WORKER), (post, CLINIC), (WORKER, CLINIC)],
    );
    let before = road.world.phones[CLINIC].agent.known().space_keys().len();
    for _ in 0..3 {
        road.world.restart(CLINIC).unwrap();
        round(&mut road, &[(CLINIC, WORKER)]);
    }
    assert_eq!(
        road.world.phones[CLINIC].agent.known().space_keys().len(),
        before,
        "no key after key"
    );
    road.write(WORKER, Some(case), "wheeze", FindingValue::Yes, 2);
    assert!(
        road.world.phones[WORKER].store.outbox().unwrap().is_empty(),
        "the clinic is not lost for the worker"
    );
    round(&mut road, &[(WORKER, CLINIC)]);
    assert_eq!(
        finding(&road.view(CLINIC, case).unwrap(), "wheeze"),
        Some(&FindingValue::Yes)
    );
}

/// That consent is withdrawn leaves before all else that is said with it or after it. What waits
/// for consent leaves when a colleague's word gives it, without anything being written here again
/// (found by a storm). Who is left out of a space stays out, whatever changes its key later, until
/// somebody grants it again.
#[test]
fn who_is_left_out_gets_no_later_key_either() {
    let mut road = Road::new(1);
    let (colleague, area) = (second_worker(&mut road), road.area.clone());
    round(&mut road, &[(CLINIC, colleague), (CLINIC, WORKER)]);
    let device = road.world.keys(colleague).unwrap().id();
    road.world
        .command(CLINIC, Command::RotateSpace(area.clone(), vec![device]))
        .unwrap();
    road.world
        .command(CLINIC, Command::SetLease(area.clone(), 30))
        .unwrap();
    road.world
        .command(CLINIC, Command::RotateSpace(area, Vec::new()))
        .unwrap();
    let case = road.write(CLINIC, None, "cough", FindingValue::Yes, 7);
    round(
        &mut road,
        &[(CLINIC, colleague), (CLINIC, WORKER), (CLINIC, colleague)],
    );
    assert!(road.view(WORKER, case).is_some());
    assert!(road.view(colleague, case).is_none());
}

/// Two clinics keep one space. Whom the one leaves out the other leaves out too, from when it hears
/// of it, whatever keys it makes and in whichever order they meet; what it had made apart is
/// written with no more. Granted again, the phone is back.
#[test]
fn who_is_left_out_by_one_keeper_is_left_out_by_all() {
    for heard_before in [true, false] {
        let mut road = Road::new(1);
        let (colleague, area) = (second_worker(&mut road), road.area.clone());
        let other = road.world.add([78; 32]).unwrap();
        road.world
            .command(other, Command::InstallTrust(road.ministry.root.clone()))
            .unwrap();
        let rights = Rights::of(&[Right::Carry, Right::Read, Right::Write, Right::Grant]);
        let keys = road.world.keys(other).unwrap().clone();
        let chain = road
            .ministry
            .certify(&keys, "second clinic", &area, rights, Rights::default());
        road.world
            .command(other, Command::InstallChain(chain.clone()))
            .unwrap();
        road.world
            .command(CLINIC, Command::GrantSpace(area.clone(), chain))
            .unwrap();
        round(
            &mut road,
            &[
                (CLINIC, colleague),
                (CLINIC, WORKER),
                (CLINIC, other),
                (other, colleague),
            ],
        );
        let device = road.world.keys(colleague).unwrap().id();
        road.world
            .command(CLINIC, Command::RotateSpace(area.clone(), vec![device]))
            .unwrap();
        if heard_before {
            round(&mut road, &[(CLINIC, other)]);
        }
        road.world
            .command(other, Command::RotateSpace(area.clone(), Vec::new()))
            .unwrap();
        for _ in 0..3 {
            round(
                &mut road,
                &[(CLINIC, other), (CLINIC, WORKER), (other, colleague)],
            );
        }
        for (n, phone) in [(7, CLINIC), (8, other), (9, WORKER)] {
            let case = road.write(phone, None, "cough", FindingValue::Yes, n);
            round(
                &mut road,
                &[
                    (CLINIC, other),
                    (CLINIC, WORKER),
                    (other, WORKER),
                    (other, colleague),
                    (CLINIC, other),
                ],
            );
            assert!(
                [CLINIC, other, WORKER]
                    .iter()
                    .all(|p| road.view(*p, case).is_some()),
                "{heard_before} {n}"
            );
            assert!(
                road.view(colleague, case).is_none(),
                "heard before: {heard_before}, written by {phone}"
            );
        }
        let chain = road.world.phones[colleague]
            .agent
            .known()
            .certificate()
            .unwrap()
            .chain()
            .clone();
        road.world
            .command(CLINIC, Command::GrantSpace(area.clone(), chain))
            .unwrap();
        round(&mut road, &[(CLINIC, colleague), (CLINIC, other)]);
        road.world
            .command(other, Command::RotateSpace(area, Vec::new()))
            .unwrap();
        let case = road.write(other, None, "cough", FindingValue::Yes, 10);
        round(&mut road, &[(other, colleague)]);
        assert!(road.view(colleague, case).is_some(), "back again");
    }
}

/// A meeting that could not bring two phones into step says why.
#[test]
fn a_meeting_says_why_two_phones_are_not_in_step() {
    let mut road = Road::new(1);
    let stranger = road.world.add([61; 32]).unwrap();
    road.world
        .command(stranger, Command::InstallTrust(road.ministry.root.clone()))
        .unwrap();
    let why = |road: &mut Road, a: usize, b: usize| {
        let met = road.world.meet(a, b, Cut::Never).unwrap();
        met.summaries.map(|summary| summary.unwrap().not_in_step)
    };
    let [here, there] = why(&mut road, stranger, WORKER);
    assert_eq!(here, Some(NotInStep::Uncertified));
    assert_eq!(there, Some(NotInStep::OtherUncertified));
    assert_eq!(why(&mut road, WORKER, CLINIC), [None, None]);
}

/// A worker who is given another post goes on carrying what was written at the last one, and so
/// does everybody else.
#[test]
fn an_author_who_is_enrolled_anew_elsewhere_blocks_nobody() {
    let mut road = Road::new(1);
    let case = road.write(WORKER, None, "cough", FindingValue::Yes, 1);
    let keys = road.world.keys(WORKER).unwrap().clone();
    let rights = Rights::of(&[Right::Carry, Right::Read, Right::Write]);
    let lamu = Area::parse("north/lamu").unwrap();
    let chain = road
        .ministry
        .certify(&keys, "worker in Lamu", &lamu, rights, Rights::default());
    round(&mut road, &[(WORKER, SUPERVISOR)]);
    road.world
        .command(WORKER, Command::InstallChain(chain))
        .unwrap();
    for (a, b) in [
        (WORKER, DESK),
        (DESK, SUPERVISOR),
        (SUPERVISOR, CLINIC),
        (DESK, CLINIC),
        (DESK, SUPERVISOR),
    ] {
        let met = road.world.meet(a, b, Cut::Never).unwrap();
        assert!(
            met.summaries.iter().all(|s| s.as_ref().unwrap().complete),
            "{a} and {b}: {:?}",
            met.summaries
        );
    }
    assert_eq!(
        finding(&road.view(CLINIC, case).unwrap(), "cough"),
        Some(&FindingValue::Yes)
    );
    let last = road.world.meet(SUPERVISOR, CLINIC, Cut::Never).unwrap();
    assert!(last.summaries.iter().all(|s| s.as_ref().unwrap().in_step));
}

/// What a lost phone announced is carried like what it wrote: sets stay the same, and nobody heeds
/// it.
#[test]
fn notices_of_a_lost_phone_are_carried_and_not_heeded() {
    let mut road = Road::new(1);
    let device = road.world.keys(WORKER).unwrap().id();
    let keys = road.world.keys(WORKER).unwrap().clone();
    let attached = sync::notice::Attached {
        digest: protocol::Digest([5; 32]),
        bytes: 9,
        epoch: [1; 8],
    };
    let notice = sync::Notice {
        attached: Some(attached),
        ..sync::Notice::about(&road.area)
    };
    let envelope = sync::envelope::announce(&notice, &keys, [9; 24]).unwrap();
    let area = road.area.clone();
    road.world.phones[WORKER]
        .store
        .put_envelope(&envelope, &area)
        .unwrap();
    round(&mut road, &[(WORKER, CLINIC)]);
    let revocations = road.ministry.revoke(1, &[device]);
    road.world
        .command(
            SUPERVISOR,
            Command::Offer(Box::new(distribution::Offer::Revocations(revocations))),
        )
        .unwrap();
    round(&mut road, &[(CLINIC, SUPERVISOR), (CLINIC, SUPERVISOR)]);
    let last = road.world.meet(CLINIC, SUPERVISOR, Cut::Never).unwrap();
    assert!(last.summaries.iter().all(|s| s.as_ref().unwrap().in_step));
}
