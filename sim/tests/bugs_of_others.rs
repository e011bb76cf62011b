//! Bugs that others have had, as tests of ours. More of them stand where they belong: a backup
//! restored and written to (manyverse#111, p2panda#919), a ferry to and fro (dtn7-rs#45), meetings
//! at constant cost (samod 0.10) in `storm.rs`; honest data swept away (p2panda#1344), a phone away
//! for 400 days (Ditto), deleting while syncing (p2panda#974) in `keys.rs`; samod#7 with real
//! processes in `rigs/kill-at-every-write.py`.

use clinical::FindingValue;
use node::agent::Event;
use node::store::Aside;
use node::{CaseStore, EnvelopeStore};
use protocol::SpaceId;
use protocol::frame::Frame;
use protocol::frame::Lane;
use record::Case;
use sim::Cut;

mod common;

use common::{CLINIC, Road, SUPERVISOR, WORKER};

/// Worker and clinic with something for each other, and what both must hold in the end.
fn apart() -> Road {
    let mut road = Road::new(1);
    for n in 0..6 {
        road.write(WORKER, None, "cough", FindingValue::Yes, n);
        road.write(CLINIC, None, "fever", FindingValue::Yes, 100 + n);
    }
    road
}

fn converge(road: &mut Road, what: &str) {
    road.world.meet(WORKER, CLINIC, Cut::Never).unwrap();
    let last = road.world.meet(WORKER, CLINIC, Cut::Never).unwrap();
    assert!(
        last.summaries
            .iter()
            .all(|s| s.as_ref().is_some_and(|s| s.in_step)),
        "{what}: not in step afterwards"
    );
    assert_eq!(
        [WORKER, CLINIC].map(|p| road.envelopes(p)),
        [12; 2],
        "{what}"
    );
    assert_eq!(
        [WORKER, CLINIC].map(|p| road.world.phones[p].store.cases().unwrap().len()),
        [12; 2],
        "{what}"
    );
    assert!(
        [WORKER, CLINIC].iter().all(|p| road.world.phones[*p]
            .store
            .quarantined()
            .unwrap()
            .is_empty()),
        "{what}"
    );
}

fn frames_of_a_meeting() -> usize {
    apart()
        .world
        .meet(WORKER, CLINIC, Cut::Never)
        .unwrap()
        .frames
}

/// automerge#1284, automerge#702: any frame of a meeting is lost, comes twice, comes late, or comes
/// damaged. The meeting may end; nothing is lost, nothing is there twice, and the next meeting
/// makes all good.
#[test]
fn frames_lost_doubled_swapped_or_damaged_cost_a_meeting_and_nothing_else() {
    let frames = frames_of_a_meeting();
    assert!(frames > 12, "a meeting of {frames} frames tests little");
    for at in 0..frames {
        let mut road = apart();
        road.world
            .meet_over(WORKER, CLINIC, Cut::Never, &mut |n, bytes| {
                if n == at { vec![] } else { vec![bytes] }
            })
            .unwrap();
        converge(&mut road, &format!("frame {at} lost"));

        let mut road = apart();
        let mut twice = |n: usize, bytes: Vec<u8>| {
            if n == at {
                vec![bytes.clone(), bytes]
            } else {
                vec![bytes]
            }
        };
        road.world
            .meet_over(WORKER, CLINIC, Cut::Never, &mut twice)
            .unwrap();
        converge(&mut road, &format!("frame {at} doubled"));

        let (mut road, mut late) = (apart(), None);
        let mut swap = |n: usize, bytes: Vec<u8>| match n {
            n if n == at => {
                late = Some(bytes);
                vec![]
            }
            n if n > at + 1 => [Some(bytes), late.take()].into_iter().flatten().collect(),
            _ => vec![bytes],
        };
        road.world
            .meet_over(WORKER, CLINIC, Cut::Never, &mut swap)
            .unwrap();
        converge(&mut road, &format!("frame {at} late"));

        let mut road = apart();
        let mut spoil = |n: usize, mut bytes: Vec<u8>| {
            let middle = bytes.len() / 2;
            if let (true, Some(byte)) = (n == at, bytes.get_mut(middle)) {
                *byte ^= 0x20;
            }
            vec![bytes]
        };
        road.world
            .meet_over(WORKER, CLINIC, Cut::Never, &mut spoil)
            .unwrap();
        converge(&mut road, &format!("frame {at} damaged"));
    }
}

/// subduction#283, #286, #306: "done" is said only of what is durable on both sides. A peer that
/// claims to be in step and is not makes nobody say so.
#[test]
fn a_false_done_is_not_believed() {
    let mut road = apart();
    let space = SpaceId::of(&road.area);
    // The clinic's last word is bent to claim that it holds what it does not.
    let mut bend = |_: usize, bytes: Vec<u8>| match Frame::from_bytes(&bytes[4..]) {
        Ok(Frame::PartsInStep(mut said)) if said.space == space => {
            said.parts[0].count += 1;
            said.parts[0].digest[0] ^= 1;
            vec![Frame::PartsInStep(said).to_bytes()]
        }
        _ => vec![bytes],
    };
    let met = road
        .world
        .meet_over(WORKER, CLINIC, Cut::Never, &mut bend)
        .unwrap();
    assert!(
        met.summaries
            .iter()
            .all(|s| s.as_ref().is_some_and(|s| !s.in_step))
    );
    assert!(
        road.world.phones[WORKER]
            .store
            .cursors()
            .unwrap()
            .is_empty(),
        "and nothing is noted as held there"
    );
    // Envelopes withheld: both hold different sets, and neither says "in step".
    let mut road = apart();
    let mut withhold = |_: usize, bytes: Vec<u8>| match Frame::from_bytes(&bytes[4..]) {
        Ok(Frame::Envelopes(mut some)) => {
            some.envelopes.pop();
            vec![Frame::Envelopes(some).to_bytes()]
        }
        _ => vec![bytes],
    };
    let met = road
        .world
        .meet_over(WORKER, CLINIC, Cut::Never, &mut withhold)
        .unwrap();
    assert!(
        met.summaries
            .iter()
            .all(|s| s.as_ref().is_some_and(|s| !s.in_step))
    );
    converge(&mut road, "after envelopes were withheld");
}

/// cht-core#7419: a phone that begins with nothing is cut off at every hundredth of the way; what
/// it has by then it keeps.
#[test]
fn a_first_meeting_cut_at_every_hundredth_goes_on_where_it_stopped() {
    let mut begun = Road::new(1);
    for n in 0..100 {
        begun.write(WORKER, None, "cough", FindingValue::Yes, n);
    }
    let bytes = {
        let mut road = Road::new(1);
        road.world.phones[WORKER].store = begun.world.phones[WORKER].store.clone();
        road.world.restart(WORKER).unwrap();
        road.world.meet(WORKER, CLINIC, Cut::Never).unwrap().bytes
    };
    let mut road = Road::new(1);
    road.world.phones[WORKER].store = begun.world.phones[WORKER].store.clone();
    road.world.restart(WORKER).unwrap();
    let mut held = 0;
    for hundredth in 1..=100 {
        road.world
            .meet(WORKER, CLINIC, Cut::Bytes(bytes * hundredth / 100))
            .unwrap();
        road.world.restart(CLINIC).unwrap();
        let now = road.envelopes(CLINIC);
        assert!(now >= held, "cut at {hundredth} %");
        held = now;
    }
    assert_eq!(held, 100);
    assert_eq!(road.world.phones[CLINIC].store.cases().unwrap().len(), 100);
}

/// fhircore#2341: progress never passes its end, never goes back, and what was said to come is what
/// came.
#[test]
fn progress_never_passes_a_hundred_per_cent() {
    let mut road = Road::new(1);
    for n in 0..200 {
        road.write(WORKER, None, "cough", FindingValue::Yes, n);
    }
    let (mut said, mut last) = (0, 0);
    let link = 9_000;
    let [worker, clinic] = [WORKER, CLINIC].map(|p| road.world.keys(p).unwrap().id());
    let mut queue = std::collections::VecDeque::new();
    let mut put = |from: usize,
                   outputs: Vec<node::Output>,
                   queue: &mut std::collections::VecDeque<(usize, Vec<u8>)>| {
        for output in outputs {
            match output {
                node::Output::Transmit { bytes, .. } => queue.push_back((from, bytes)),
                node::Output::Event(Event::Progress {
                    lane: Lane::Cases,
                    done,
                    total,
                    ..
                }) if from == CLINIC => {
                    assert!(
                        done <= total && done >= last,
                        "{done} of {total} after {last}"
                    );
                    (last, said) = (done, total);
                }
                _ => {}
            }
        }
    };
    for (phone, peer, dialed) in [(WORKER, clinic, true), (CLINIC, worker, false)] {
        let up = node::Input::LinkUp {
            link,
            peer,
            class: node::LinkClass::Ip,
            dialed,
        };
        put(phone, road.world.input(phone, up).unwrap(), &mut queue);
        let room = node::Input::LinkWritable {
            link,
            bytes: 1 << 20,
        };
        put(phone, road.world.input(phone, room).unwrap(), &mut queue);
    }
    while let Some((from, bytes)) = queue.pop_front() {
        let to = if from == WORKER { CLINIC } else { WORKER };
        let sent = bytes.len();
        put(
            to,
            road.world
                .input(to, node::Input::LinkReceived { link, bytes })
                .unwrap(),
            &mut queue,
        );
        put(
            from,
            road.world
                .input(from, node::Input::LinkWritable { link, bytes: sent })
                .unwrap(),
            &mut queue,
        );
    }
    assert_eq!((last, said), (200, 200));
}

/// iroh-docs#97, subduction's bound of ten minutes: clocks that are 20 years off, either way, end
/// no meeting, order nothing and hide nothing. What was said by somebody who had heard the other
/// stands, whatever the clocks say.
#[test]
fn clocks_twenty_years_off_order_nothing_and_refuse_nobody() {
    const YEARS_20_S: i64 = 20 * 365 * 86_400;
    for (worker, clinic) in [(YEARS_20_S, 0), (-YEARS_20_S, YEARS_20_S), (0, -YEARS_20_S)] {
        let mut road = Road::new(1);
        let case = road.write(WORKER, None, "temperature", FindingValue::Number(38.2), 1);
        for (phone, off_s) in [(WORKER, worker), (CLINIC, clinic)] {
            road.world.phones[phone].clock_off_s = off_s;
        }
        road.write(
            WORKER,
            Some(case),
            "temperature",
            FindingValue::Number(39.5),
            2,
        );
        converge_case(&mut road, case);
        road.write(
            CLINIC,
            Some(case),
            "temperature",
            FindingValue::Number(36.9),
            3,
        );
        converge_case(&mut road, case);
        for phone in [WORKER, CLINIC] {
            let state = &road.view(phone, case).unwrap().findings["temperature"];
            assert_eq!(
                (&state.value, state.disputed),
                (&FindingValue::Number(36.9), false),
                "{worker} {clinic}"
            );
            assert_eq!(state.said.len(), 3);
        }
    }
}

fn converge_case(road: &mut Road, case: protocol::CaseId) {
    let met = road.world.meet(WORKER, CLINIC, Cut::Never).unwrap();
    assert!(
        met.summaries
            .iter()
            .all(|s| s.as_ref().is_some_and(|s| s.complete)),
        "{met:?}"
    );
    assert_eq!(road.view(WORKER, case), road.view(CLINIC, case));
}

/// samod#7: killed after every write, and at every frame of every meeting, a phone has all that it
/// had acknowledged.
#[test]
fn killed_at_every_write_nothing_acknowledged_is_missing() {
    let mut road = Road::new(1);
    let mut acknowledged = Vec::new();
    for n in 0..40u8 {
        let phone = if n % 3 == 0 { CLINIC } else { WORKER };
        let known: Vec<_> = road.world.phones[phone]
            .store
            .cases()
            .unwrap()
            .iter()
            .map(|row| row.id)
            .collect();
        let case = known.get(usize::from(n) % (known.len() + 1)).copied();
        let said = format!("said_{n}");
        let case = road.write(phone, case, &said, FindingValue::Yes, n);
        acknowledged.push((phone, case, said));
        road.world
            .meet(WORKER, CLINIC, Cut::Frames(usize::from(n)))
            .unwrap();
        for phone in [WORKER, CLINIC] {
            road.world.restart(phone).unwrap();
        }
        for (phone, case, said) in &acknowledged {
            assert!(
                road.view(*phone, *case)
                    .unwrap()
                    .findings
                    .contains_key(said),
                "{said} after write {n}"
            );
        }
    }
    road.world.meet(WORKER, CLINIC, Cut::Never).unwrap();
    for (_, case, said) in &acknowledged {
        for phone in [WORKER, CLINIC] {
            assert!(
                road.view(phone, *case).unwrap().findings.contains_key(said),
                "{said} on {phone} in the end"
            );
        }
    }
}

/// keyhive#116, keyhive#195: what is written while there is no key that may be used (none has come
/// yet; the one that was there was ended because a phone was lost) is kept, and leaves when there
/// is one.
#[test]
fn a_write_without_a_usable_key_is_kept_and_leaves_when_there_is_one() {
    let mut road = Road::new(1);
    let late = road.second_reader(77, "north/kilifi/mtwapa");
    assert!(
        road.world.phones[late]
            .agent
            .known()
            .space_keys()
            .is_empty()
    );
    let before = road.write(late, None, "cough", FindingValue::Yes, 1);
    assert_eq!(road.world.phones[late].store.outbox().unwrap().len(), 1);
    road.world.restart(late).unwrap();
    common::round(
        &mut road,
        &[(CLINIC, late), (late, CLINIC), (WORKER, CLINIC)],
    );
    for phone in [CLINIC, WORKER] {
        assert!(
            road.view(phone, before).is_some(),
            "written before any key had come"
        );
    }
    // The late phone is lost: the key that it has is written with no more, and the next one has not
    // reached the worker.
    let lost = road.world.keys(late).unwrap().id();
    let revoked = road.ministry.revoke(1, &[lost]);
    road.world
        .command(
            WORKER,
            node::agent::Command::Offer(Box::new(distribution::Offer::Revocations(revoked))),
        )
        .unwrap();
    let between = road.write(WORKER, None, "fever", FindingValue::Yes, 2);
    assert_eq!(
        road.world.phones[WORKER].store.outbox().unwrap().len(),
        1,
        "no key for it"
    );
    common::round(
        &mut road,
        &[(WORKER, CLINIC), (WORKER, CLINIC), (WORKER, CLINIC)],
    );
    assert!(road.world.phones[WORKER].store.outbox().unwrap().is_empty());
    assert!(
        road.view(CLINIC, between).is_some(),
        "sealed with the next key"
    );
}

/// The sets are finished in bounded meetings even when a courier stands between, and Automerge
/// never sees what did not change: every document but one of ten thousand is damaged in the
/// clinic's store, and opening any would be noticed.
#[test]
fn syncing_ten_thousand_resident_cases_opens_no_document_that_did_not_change() {
    let mut road = Road::new(1);
    let mut cases = Vec::new();
    for n in 0..10_000u32 {
        let mut request = [0; 16];
        request[..4].copy_from_slice(&n.to_le_bytes());
        let entries = vec![
            record::Entry::consent("share", true),
            record::Entry::Finding {
                name: "cough".into(),
                value: FindingValue::Yes,
            },
        ];
        let command = node::agent::Command::AddToCase {
            case: None,
            area: road.area.clone(),
            entries,
            request,
        };
        let node::agent::Reply::Case(id) = road.world.command(WORKER, command).unwrap() else {
            panic!("no case")
        };
        cases.push(id);
    }
    road.world.meet(WORKER, CLINIC, Cut::Never).unwrap();
    let changed = cases[7777];
    road.write(WORKER, Some(changed), "wheeze", FindingValue::Yes, 200);
    for row in road.world.phones[CLINIC].store.cases().unwrap() {
        if row.id != changed {
            road.world.phones[CLINIC]
                .store
                .put_case(&row, b"not a document")
                .unwrap();
        }
    }
    let met = road.world.meet(WORKER, CLINIC, Cut::Never).unwrap();
    assert!(
        met.summaries
            .iter()
            .all(|s| s.as_ref().is_some_and(|s| s.in_step))
    );
    assert!(
        road.world.phones[CLINIC]
            .store
            .quarantined()
            .unwrap()
            .is_empty()
    );
    assert_eq!(road.view(CLINIC, changed).unwrap().findings.len(), 3);
    road.world.meet(CLINIC, SUPERVISOR, Cut::Never).unwrap();
    assert_eq!(
        road.world.phones[CLINIC].store.cases().unwrap().len(),
        10_000
    );
}

/// Mutated bytes reach Automerge only behind signature and seal; one that gets so far (a writer
/// gone wrong) poisons one envelope.
#[test]
fn a_poisoned_change_is_set_aside_with_its_reason_and_others_go_on() {
    use sync::{envelope::Contents, envelope::seal};
    let mut road = Road::new(1);
    let good = road.write(WORKER, None, "cough", FindingValue::Yes, 1);
    let key = road.world.phones[WORKER].agent.known().space_keys()[0].clone();
    let keys = road.world.keys(WORKER).unwrap().clone();
    let mut case = Case::new(good);
    let change = case
        .add(
            &[record::Entry::Note("x".into())],
            &protocol::DeviceKeys::from_seed([1; 32]),
            &[1; 16],
            1,
        )
        .unwrap()
        .remove(0);
    for (n, at) in (0..change.len()).step_by(3).enumerate() {
        let mut spoiled = change.clone();
        spoiled[at] ^= 0x41;
        let contents = Contents {
            case: good,
            changes: vec![spoiled.into()],
        };
        let mut nonce = [0; 24];
        nonce[..8].copy_from_slice(&(n as u64).to_le_bytes());
        let envelope = seal(&contents, &key, clinical::Urgency::Pink, &keys, nonce).unwrap();
        let area = road.area.clone();
        road.world.phones[WORKER]
            .store
            .put_envelope(&envelope, &area)
            .unwrap();
    }
    let other = road.write(WORKER, None, "fever", FindingValue::Yes, 2);
    let met = road.world.meet(WORKER, CLINIC, Cut::Never).unwrap();
    assert!(
        met.summaries
            .iter()
            .all(|s| s.as_ref().is_some_and(|s| s.in_step)),
        "they travel on all the same"
    );
    let aside = road.world.phones[CLINIC].store.quarantined().unwrap();
    assert!(
        aside.len() > 20
            && aside
                .iter()
                .all(|(_, why)| matches!(why, Aside::Refused(_))),
        "{}",
        aside.len()
    );
    for case in [good, other] {
        assert!(
            road.view(CLINIC, case)
                .is_some_and(|view| !view.findings.is_empty())
        );
    }
}

/// Every byte that goes over the air between worker, courier and clinic, for a thousand cases: none
/// of what was said of a patient is in it, nor in what the courier keeps.
#[test]
fn no_word_of_a_thousand_cases_is_on_the_air_or_with_the_courier() {
    let mut road = Road::new(1);
    let mut words = Vec::new();
    for n in 0..1000u32 {
        let said = [
            ("patient.name", format!("Amina Kazungu {n}")),
            ("patient.village", format!("Mtwapa{n}")),
            ("text", format!("coughs{n}blood")),
        ];
        let mut entries = vec![
            record::Entry::consent("share", true),
            record::Entry::Note(format!("came by boda {n}")),
        ];
        entries.extend(said.iter().map(|(name, text)| record::Entry::Finding {
            name: (*name).into(),
            value: FindingValue::Text(text.clone()),
        }));
        words.extend(
            said.into_iter()
                .flat_map(|(name, text)| [name.to_owned(), text])
                .chain([format!("came by boda {n}")]),
        );
        let mut request = [0; 16];
        request[..4].copy_from_slice(&n.to_le_bytes());
        let command = node::agent::Command::AddToCase {
            case: None,
            area: road.area.clone(),
            entries,
            request,
        };
        road.world.command(WORKER, command).unwrap();
    }
    words.sort();
    words.dedup();
    let mut air = Vec::new();
    for (a, b) in [(WORKER, SUPERVISOR), (SUPERVISOR, CLINIC)] {
        let mut heard = |_: usize, bytes: Vec<u8>| {
            air.extend_from_slice(&bytes);
            vec![bytes]
        };
        road.world.meet_over(a, b, Cut::Never, &mut heard).unwrap();
    }
    assert_eq!(
        road.world.phones[CLINIC].store.cases().unwrap().len(),
        1000,
        "all have come"
    );
    for id in road.world.phones[SUPERVISOR]
        .store
        .envelope_ids(SpaceId::of(&road.area))
        .unwrap()
    {
        air.extend(
            road.world.phones[SUPERVISOR]
                .store
                .envelope(&id.0)
                .unwrap()
                .unwrap(),
        );
    }
    // All words of seven letters or more, found by their first seven in one walk over the bytes.
    let heads: std::collections::BTreeSet<&[u8]> = words
        .iter()
        .filter_map(|w| w.as_bytes().first_chunk::<7>().map(|h| h.as_slice()))
        .collect();
    assert!(heads.len() > 6 && air.len() > 300_000);
    assert!(air.windows(7).all(|window| !heads.contains(window)));
}

/// A colleague who may write puts words into the worker's mouth: the clinic sets them aside and
/// believes the worker as before.
#[test]
fn words_in_anothers_name_are_set_aside() {
    use sync::{envelope::Contents, envelope::seal};
    let mut road = Road::new(1);
    let id = road.write(WORKER, None, "cough", FindingValue::Yes, 1);
    road.world.meet(WORKER, CLINIC, Cut::Never).unwrap();
    let key = road.world.phones[WORKER].agent.known().space_keys()[0].clone();
    let (worker, clinic) = (
        road.world.keys(WORKER).unwrap().clone(),
        road.world.keys(CLINIC).unwrap().clone(),
    );
    let mut case = Case::load(
        id,
        &road.world.phones[CLINIC].store.case(&id).unwrap().unwrap(),
    )
    .unwrap();
    let said = [record::Entry::Finding {
        name: "cough".into(),
        value: FindingValue::No,
    }];
    let made = case.add(&said, &worker, &[9; 16], 1).unwrap().remove(0);
    let forged = record::sign(id, &made, &clinic).unwrap(); // the clinic's phone has only its own keys
    let envelope = seal(
        &Contents {
            case: id,
            changes: vec![forged.into()],
        },
        &key,
        clinical::Urgency::Pink,
        &clinic,
        [7; 24],
    );
    let area = road.area.clone();
    road.world.phones[CLINIC]
        .store
        .put_envelope(&envelope.unwrap(), &area)
        .unwrap();
    road.world.meet(CLINIC, WORKER, Cut::Never).unwrap();
    let aside = road.world.phones[WORKER].store.quarantined().unwrap();
    assert!(
        aside.len() == 1 && aside[0].1.code().contains("in another's name"),
        "{aside:?}"
    );
    assert_eq!(
        road.view(WORKER, id).unwrap().findings["cough"].value,
        FindingValue::Yes
    );
}
