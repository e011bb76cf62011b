//! Parcels: what one phone has written down, another takes in, by the rules of a meeting. Whatever else
//! lies in it, in whatever order, however often.

mod common;

use clinical::FindingValue;
use common::{CLINIC, DESK, Road, SUPERVISOR, WORKER, finding, round};
use node::agent::{Command, Parcel, Reply};
use node::api::Refusal;
use node::{CaseStore, EnvelopeStore, TrustStore};
use proptest::prelude::*;
use protocol::certificate::{Right, Rights};
use protocol::defence::{Defence, without};
use protocol::{Area, CaseId, Chain, DeviceKeys};
use sim::{Cut, Ministry};
use sync::Notice;
use sync::envelope::announce;

/// All that a phone would put into parcels.
fn packed(road: &Road, phone: usize) -> Parcel {
    let phone = &road.world.phones[phone];
    let chains = phone.store.every_chain().unwrap();
    let own = phone.agent.known().certificate();
    let own = own.map(|own| own.chain().clone());
    let mut parcel = Parcel {
        chains: chains
            .iter()
            .filter_map(|c| Chain::from_bytes(c).ok())
            .chain(own)
            .collect(),
        ..Parcel::default()
    };
    for space in phone.store.spaces().unwrap() {
        for (id, _) in phone.store.envelope_ids(space.space).unwrap() {
            parcel.envelopes.extend(phone.store.envelope(&id).unwrap());
        }
    }
    parcel
}

/// What was new of it, and what was nothing for that phone.
fn take(road: &mut Road, phone: usize, parcel: Parcel) -> (u64, u64) {
    let taken = road
        .world
        .command(phone, Command::TakeParcel(parcel))
        .unwrap();
    road.world.command(phone, Command::ParcelsTaken).unwrap();
    let Reply::Taken(new, nothing) = taken else {
        panic!("{taken:?}");
    };
    (new, nothing)
}

fn cases(road: &Road, phone: usize) -> usize {
    road.world.phones[phone].store.cases().unwrap().len()
}

/// A worker that has written five cases, and has met nobody.
fn written() -> (Road, Vec<CaseId>) {
    let mut road = Road::new(1_000);
    let write = |i: u8| road.write(WORKER, None, "cough", FindingValue::Yes, i + 1);
    let written = (0..5).map(write).collect();
    (road, written)
}

#[test]
fn a_parcel_brings_a_clinic_what_a_meeting_would_and_its_answer_goes_back() {
    let (mut road, written) = written();
    let parcel = packed(&road, WORKER);
    let (new, nothing) = take(&mut road, CLINIC, parcel.clone());
    assert_eq!((new as usize, nothing), (parcel.envelopes.len(), 0));
    assert_eq!(cases(&road, CLINIC), 5);
    assert_eq!(take(&mut road, CLINIC, parcel).0, 0, "nothing is new twice");
    // The clinic adds to one, and says that all has come: both go back by the supervisor's phone.
    road.write(CLINIC, Some(written[0]), "fever", FindingValue::Yes, 90);
    let back = packed(&road, CLINIC);
    assert!(take(&mut road, SUPERVISOR, back).0 > 0);
    assert_eq!(cases(&road, SUPERVISOR), 0, "a courier opens nothing");
    let carried = packed(&road, SUPERVISOR);
    take(&mut road, WORKER, carried);
    let view = road.view(WORKER, written[0]).unwrap();
    assert_eq!(finding(&view, "fever"), Some(&FindingValue::Yes));
    // Phones that have met by parcels have nothing more to say to each other.
    let met = road.world.meet(WORKER, CLINIC, Cut::Never).unwrap();
    let sent: u64 = met
        .summaries
        .iter()
        .flatten()
        .map(|s| s.envelopes_sent)
        .sum();
    assert!(sent <= 2, "{met:?}"); // each may have a word of its own about what has come
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// In any order, split anywhere, with parts of it missing and parts twice: what has come is the
    /// same, and once all has come so are the cases.
    #[test]
    fn order_pieces_and_repetition_change_nothing(
        order in Just(()).prop_perturb(|(), mut rng| rng.random::<u64>()),
        pieces in 1_usize..6,
    ) {
        let (mut road, written) = written();
        for case in &written {
            road.write(WORKER, Some(*case), "fever", FindingValue::Yes, 50);
        }
        let whole = packed(&road, WORKER);
        let mut mixed = whole.envelopes.clone();
        mixed.extend(whole.envelopes.iter().take(3).cloned());
        mixed.sort_by_key(|bytes| blake3_of(bytes, order));
        let size = mixed.len().div_ceil(pieces);
        for (n, some) in mixed.chunks(size).enumerate() {
            let chains = if n == 0 { whole.chains.clone() } else { Vec::new() };
            let parcel = Parcel { chains, envelopes: some.to_vec(), ..Parcel::default() };
            take(&mut road, CLINIC, parcel);
            if order % 3 == 0 {
                road.world.restart(CLINIC).unwrap();
            }
        }
        prop_assert_eq!(cases(&road, CLINIC), 5);
        for case in written {
            let (here, there) = (road.view(CLINIC, case), road.view(WORKER, case));
            prop_assert_eq!(here.map(|v| format!("{:?}", v.findings)), there.map(|v| format!("{:?}", v.findings)));
        }
    }
}

fn blake3_of(bytes: &[u8], order: u64) -> [u8; 32] {
    protocol::Digest::of(&[bytes, &order.to_le_bytes()].concat()).0
}

/// One thing that is wrong ends nothing: all else is taken.
#[test]
fn what_is_forged_or_bent_is_passed_over_and_the_rest_is_taken() {
    let (mut road, _) = written();
    let mut parcel = packed(&road, WORKER);
    let good = parcel.envelopes.len() as u64;
    let mut bent = parcel.envelopes[1].clone();
    let last = bent.len() - 1;
    bent[last] ^= 1;
    let stranger = DeviceKeys::from_seed([77; 32]);
    let forged = announce(&Notice::about(&road.area), &stranger, [1; 24]).unwrap();
    for (at, wrong) in [
        (0, Vec::new()),
        (0, bent),
        (2, forged.bytes().to_vec()),
        (4, vec![1; 500]),
    ] {
        parcel.envelopes.insert(at, wrong);
    }
    let (new, nothing) = take(&mut road, CLINIC, parcel);
    assert_eq!((new, nothing), (good, 4));
    assert_eq!(cases(&road, CLINIC), 5);
}

/// Another ministry's envelopes and certificates do nothing, and neither do those of an area that this
/// phone has no part in.
#[test]
fn what_is_of_another_ministry_or_area_is_nothing_here() {
    let (mut road, _) = written();
    let other = Ministry::new(9, 3, 2);
    let south = Area::parse("south").unwrap();
    let rights = Rights::of(&[Right::Carry, Right::Read, Right::Write, Right::Grant]);
    let before = road.envelopes(CLINIC);
    for (ministry, area) in [(&other, road.area.clone()), (&road.ministry.clone(), south)] {
        let keys = DeviceKeys::from_seed([66; 32]);
        let chain = ministry.certify(&keys, "somebody", &area, rights, Rights::default());
        let notice = announce(&Notice::about(&area), &keys, [2; 24]).unwrap();
        let parcel = Parcel {
            chains: vec![chain],
            envelopes: vec![notice.bytes().to_vec()],
            ..Parcel::default()
        };
        let (new, nothing) = take(&mut road, CLINIC, parcel);
        assert_eq!(new, 0);
        assert!(nothing > 0);
    }
    assert_eq!(road.envelopes(CLINIC), before);
}

/// A parcel of a phone that is lost: what it wrote waits for somebody above, as at a meeting.
#[test]
fn what_a_lost_phone_wrote_late_waits_by_parcel_too() {
    let look = |lost: bool| {
        let (mut road, _) = written();
        let early = packed(&road, WORKER);
        take(&mut road, CLINIC, early);
        let worker = road.world.keys(WORKER).unwrap().id();
        if lost {
            let list = road.ministry.revoke(1, &[worker]);
            let offer = Box::new(distribution::Offer::Revocations(list));
            road.world.command(CLINIC, Command::Offer(offer)).unwrap();
        }
        road.write(WORKER, None, "cough", FindingValue::Yes, 70);
        let late = packed(&road, WORKER);
        take(&mut road, CLINIC, late);
        let waits = road.world.phones[CLINIC].store.quarantine_count().unwrap();
        (cases(&road, CLINIC), waits)
    };
    assert_eq!(look(true), (5, 1));
    assert_eq!(
        look(false),
        (6, 0),
        "the control: of a phone that is not lost it is taken"
    );
}

/// However much of one author a parcel holds, what is held of it has a limit; without the limit it has
/// none.
#[test]
fn an_author_has_no_more_room_by_parcels_than_at_meetings() {
    let flood = || {
        let mut road = Road::new(1_000);
        let most = protocol::limits::NOTICES_PER_AUTHOR_MAX;
        let keys = road.world.keys(WORKER).unwrap().clone();
        let mut parcel = packed(&road, WORKER);
        for n in 0..most + 50 {
            let mut salt = [0; 24];
            salt[..8].copy_from_slice(&n.to_le_bytes());
            let notice = announce(&Notice::about(&road.area), &keys, salt).unwrap();
            parcel.envelopes.push(notice.bytes().to_vec());
        }
        let (new, _) = take(&mut road, CLINIC, parcel);
        new > most + 10
    };
    assert!(!flood());
    assert!(without(Defence::AuthorBudgets, flood), "the control");
}

#[test]
fn who_is_not_certified_or_may_not_carry_takes_nothing() {
    let (mut road, _) = written();
    let parcel = packed(&road, WORKER);
    let nobody = road.world.add([50; 32]).unwrap();
    let ask = |road: &mut Road, phone| {
        road.world
            .ask(phone, Command::TakeParcel(parcel.clone()))
            .unwrap()
    };
    assert_eq!(ask(&mut road, nobody), Err(Refusal::NotCertified));
    let root = road.ministry.root.clone();
    road.world
        .command(nobody, Command::InstallTrust(root))
        .unwrap();
    assert_eq!(ask(&mut road, nobody), Err(Refusal::NotCertified));
    let keys = road.world.keys(nobody).unwrap().clone();
    let rights = Rights::of(&[Right::Enrol]);
    let chain = (road.ministry).certify(&keys, "clerk", &road.area, rights, Rights::default());
    road.world
        .command(nobody, Command::InstallChain(chain))
        .unwrap();
    assert_eq!(ask(&mut road, nobody), Err(Refusal::MayNotCarry));
}

/// Receipts, by which a ministry knows what runs where, go by parcel as well; a forged one does not.
#[test]
fn receipts_of_phones_go_by_parcel() {
    let mut road = Road::new(30_000);
    road.publish(1);
    round(&mut road, &[(SUPERVISOR, DESK), (WORKER, SUPERVISOR)]);
    let store = &road.world.phones[WORKER].store;
    let own = road.world.phones[WORKER]
        .agent
        .known()
        .certificate()
        .unwrap();
    let worker = road.world.keys(WORKER).unwrap().id();
    let rows = store.receipts().unwrap();
    let (_, _, receipt) = rows
        .into_iter()
        .find(|(device, ..)| *device == worker)
        .unwrap();
    let carried = |receipt: Vec<u8>| Parcel {
        receipts: vec![protocol::frame::CarriedReceipt {
            receipt,
            chain: own.chain().clone(),
        }],
        ..Parcel::default()
    };
    let (good, mut bent) = (carried(receipt.clone()), receipt);
    let middle = bent.len() / 2;
    bent[middle] ^= 1;
    let bent = carried(bent);
    let held = |road: &Road| {
        let rows = road.world.phones[CLINIC].store.receipts().unwrap();
        rows.iter().any(|(device, ..)| *device == worker)
    };
    assert_eq!(take(&mut road, CLINIC, bent).1, 1);
    assert!(!held(&road));
    take(&mut road, CLINIC, good);
    assert!(held(&road));
}
