//! Each owner alone: on a store in memory, without meetings, processes or SQLite.

use clinical::FindingValue;
use distribution::{Offer, Recall, ReleaseList, Root, TrustedState};
use protocol::certificate::bind;
use protocol::signed::{Document, Role};
use protocol::{Area, Certificate, Rights};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use record::{Entry, PhotoEntry};
use sync::space::sealing_public_key;

use super::records::Target;
use super::tx::Consequence;
use distribution::Release;
use protocol::{BundleId, Digest, SpaceId};

use protocol::Chain;
use protocol::signed::Signed;

use super::*;
use crate::MemoryStore;
use crate::store::{BundleStore, CaseRow, CaseStore, EnvelopeStore, Setting, TrustStore};

const ALL: &str = "carry,read,write,enrol,grant,revoke";

fn keys(n: u8) -> DeviceKeys {
    DeviceKeys::from_seed([n; 32])
}

fn area() -> Area {
    Area::parse("north/kilifi").unwrap()
}

/// The ministry is one key.
fn signed<T: Document>(document: &T) -> Signed<T> {
    Signed::by(document, &keys(200))
}

fn root() -> Root {
    let role = Role::single(keys(200).id());
    Root {
        ministry: "Ministry of Health".into(),
        version: 1,
        issued_s: 1_760_000_000,
        root: role.clone(),
        releases: role.clone(),
        enrolment: role.clone(),
        recall: Some(role),
        beacon: None,
        expires_s: None,
        receipts: None,
        distrusted: Vec::new(),
    }
}

fn chain(device: &DeviceKeys, rights: &str) -> Chain {
    let certificate = Certificate {
        device: device.id(),
        sealing_key: sealing_public_key(device),
        name: "a phone".into(),
        area: area(),
        rights: Rights::parse(rights).unwrap(),
        passes_on: Rights::parse("").unwrap(),
        issued_s: 1_760_000_000,
        expires_s: None,
        binding: bind(device, &sealing_public_key(device)),
    };
    Chain {
        certificates: vec![signed(&certificate)],
    }
}

/// A certified phone, before any input.
fn phone(n: u8) -> (Phone, MemoryStore) {
    let mut store = MemoryStore::default();
    let trust = TrustedState::new(&signed(&root())).unwrap();
    store.put_trust_records(&trust.records()).unwrap();
    let own = chain(&keys(n), ALL);
    store
        .put_setting(&Setting::chain(), &own.to_bytes())
        .unwrap();
    let rng = ChaCha20Rng::from_seed([n; 32]);
    let mut phone = Phone::load(keys(n), rng, &mut Vec::new(), &mut store).unwrap();
    let certificate = phone.judge(&own).unwrap().unwrap();
    phone.spaces.keep_chain(&certificate, &mut store).unwrap();
    phone.out.outputs.clear();
    (phone, store)
}

fn events(phone: &mut Phone) -> Vec<Event> {
    let events = phone.out.outputs.drain(..);
    let events = events.filter_map(|output| match output {
        Output::Event(event) => Some(event),
        _ => None,
    });
    events.collect()
}

fn say(text: &str) -> Entry {
    Entry::Note(text.into())
}

fn finding(name: &str, value: FindingValue) -> Entry {
    let name = name.into();
    Entry::Finding { name, value }
}

/// Adds to a case.
fn add(phone: &mut Phone, store: &mut MemoryStore, entries: &[Entry], n: u8) -> protocol::CaseId {
    let case = store.cases().unwrap().first().map(|row| row.id);
    let target = case.map_or(Target::New, Target::Seen);
    let (spaces, records, _, mut tx) = phone.parts(store);
    let said = (entries, &[n; 16]);
    let reply = records.add_to_case(target, &area(), said, spaces, &mut tx);
    match reply.unwrap().unwrap() {
        Reply::Case(id) => id,
        other => panic!("{other:?}"),
    }
}

#[test]
fn spaces_say_what_is_so_at_once_and_leave_what_follows() {
    let (mut phone, mut store) = phone(1);
    let (spaces, _, _, mut tx) = phone.parts(&mut store);
    assert!(spaces.write_key(&area(), tx.own).is_none());
    spaces.make_key(&area(), &[], &mut tx).unwrap();
    let key = spaces
        .write_key(&area(), tx.own)
        .cloned()
        .expect("the new key is in force");
    let follows: Vec<_> = tx.out.consequences.drain(..).collect();
    assert_eq!(follows.last(), Some(&Consequence::SealWaiting));
    assert!(
        follows.contains(&Consequence::OpenBundles) && follows.len() == 3,
        "{follows:?}"
    );
    assert!(
        spaces.take_key(key, &mut tx).unwrap().is_empty(),
        "it is held already"
    );
    assert_eq!(tx.store.notices().unwrap().len(), 1);
}

#[test]
fn a_key_that_a_lost_phone_has_is_not_written_with_until_the_next_is_made() {
    let (mut phone, mut store) = phone(1);
    let lost = chain(&keys(2), "carry,read,write");
    let lost = phone.judge(&lost).unwrap().unwrap();
    phone.spaces.keep_chain(&lost, &mut store).unwrap();
    let (spaces, _, _, mut tx) = phone.parts(&mut store);
    spaces.make_key(&area(), &[], &mut tx).unwrap();
    let key = spaces.write_key(&area(), tx.own).cloned().unwrap();
    let member = sync::epoch::Member {
        device: lost.device,
        sealing_key: lost.sealing_key,
        area: area(),
    };
    let nobody = std::collections::BTreeSet::new();
    spaces
        .share_key(&key, &[], &[member], &nobody, &mut tx)
        .unwrap();
    tx.out.consequences.clear();
    let reply = spaces.revoke(&area(), lost.device, "left on a bus".into(), &mut tx);
    assert_eq!(reply.unwrap(), Ok(Reply::Done));
    assert!(spaces.is_revoked(&lost.device, tx.own));
    assert!(
        spaces.write_key(&area(), tx.own).is_none(),
        "what is written waits"
    );
    assert!(tx.out.consequences.contains(&Consequence::RenewKeys));
    spaces.renew_keys(&mut tx).unwrap();
    let next = spaces.write_key(&area(), tx.own).cloned().unwrap();
    assert_ne!(next.epoch_tag(), key.epoch_tag());
    // What the log says is what was said: a phone that starts anew knows the same.
    let again = spaces::Spaces::load(tx.own, 0, tx.store).unwrap();
    assert!(again.is_revoked(&lost.device, tx.own));
    assert_eq!(again.write_key(&area(), tx.own), Some(&next));
}

#[test]
fn records_keep_what_may_not_leave_in_the_outbox() {
    let (mut phone, mut store) = phone(1);
    let (spaces, _, _, mut tx) = phone.parts(&mut store);
    spaces.make_key(&area(), &[], &mut tx).unwrap();
    let case = add(&mut phone, &mut store, &[say("hot at night")], 1);
    let space = SpaceId::of(&area());
    let sealed = |store: &MemoryStore| {
        let rows = store.envelope_rows(space).unwrap();
        rows.len()
    };
    assert_eq!(
        (store.outbox_of(&case).unwrap().len(), sealed(&store)),
        (1, 0)
    );
    add(
        &mut phone,
        &mut store,
        &[finding("consent.share", FindingValue::Yes)],
        2,
    );
    assert_eq!(
        (store.outbox_of(&case).unwrap().len(), sealed(&store)),
        (0, 1)
    );
    // The same request again adds nothing.
    add(&mut phone, &mut store, &[say("hot at night")], 1);
    assert_eq!(
        (store.outbox_of(&case).unwrap().len(), sealed(&store)),
        (0, 1)
    );
    // Withdrawn: that leaves, and nothing after it.
    let withdrawn = [
        finding("consent.share", FindingValue::No),
        say("between us"),
    ];
    add(&mut phone, &mut store, &withdrawn, 3);
    assert_eq!(
        (store.outbox_of(&case).unwrap().len(), sealed(&store)),
        (1, 2)
    );
}

#[test]
fn a_photo_without_consent_is_withheld_and_comes_free_with_it() {
    let (mut phone, mut store) = phone(1);
    let blob = Digest([7; 32]);
    let photo = Entry::Photo(PhotoEntry {
        blob,
        key: [1; 32],
        bytes: 10,
        shows: "a rash".into(),
        camera: String::new(),
        light: String::new(),
    });
    let share = finding("consent.share", FindingValue::Yes);
    add(&mut phone, &mut store, &[photo, share], 1);
    assert!(phone.records.withheld.contains(&blob));
    assert!(
        phone
            .out
            .consequences
            .contains(&Consequence::Withhold(blob))
    );
    assert!(
        records::Records::load(&mut store)
            .unwrap()
            .withheld
            .contains(&blob)
    );
    phone.out.consequences.clear();
    add(
        &mut phone,
        &mut store,
        &[finding("consent.photo", FindingValue::Yes)],
        2,
    );
    assert!(phone.records.withheld.is_empty());
    assert!(phone.out.consequences.contains(&Consequence::OpenBundles));
}

#[test]
fn releases_want_what_is_listed_tell_when_it_is_whole_and_let_go_of_what_is_recalled() {
    let (mut phone, mut store) = phone(1);
    let bytes = vec![5u8; 50_000];
    let release = Release {
        module: "guide".into(),
        version: 1,
        digest: Digest::of(&bytes),
        bytes: bytes.len() as u64,
        area: area(),
        language: "und".into(),
        engine_min: 0,
        notes: String::new(),
        deltas: Vec::new(),
        stage: None,
        lineage: None,
        kind: distribution::ModuleKind::Triage,
    };
    let id = BundleId::release(release.digest);
    let list = ReleaseList {
        version: 1,
        root: Some(1),
        issued_s: 1_760_000_001,
        releases: vec![release.clone()],
        expires_s: None,
        withdrawn: Vec::new(),
        delegations: Vec::new(),
    };
    let offer = |phone: &mut Phone, store: &mut MemoryStore, offer: Offer| {
        let trust = phone.own.trust.as_mut().unwrap();
        assert_eq!(trust.offer(&offer), Ok(true));
        phone.trust_changed(store).unwrap();
    };
    offer(&mut phone, &mut store, Offer::List(signed(&list)));
    let wanted = phone.releases.bundles.get(&id).expect("it is wanted");
    assert!(!wanted.whole && wanted.fetch.bytes_held() == 0);
    let tree = distribution::tree::tree_list(&bytes);
    store.put_tree(&id, release.bytes, &tree).unwrap();
    store.write_groups(&id, 0, &bytes).unwrap();
    events(&mut phone);
    let (spaces, records, releases, mut tx) = phone.parts(&mut store);
    releases
        .finish_bundle(id, spaces, records, &mut tx)
        .unwrap();
    let told = events(&mut phone);
    assert!(
        matches!(told.first(), Some(Event::BundleWhole { .. })),
        "{told:?}"
    );
    let ready = |e: &Event| matches!(e, Event::ReleaseReady { release: r } if **r == release);
    assert!(told.iter().any(ready), "{told:?}");
    let (_, _, releases, mut tx) = phone.parts(&mut store);
    releases.activated(&release, b"", &mut tx).unwrap().unwrap();
    assert!(releases.holds(&release.digest));
    let recall = Recall {
        version: 1,
        root: 1,
        issued_s: 1_760_000_002,
        recalled: vec![distribution::notices::Recalled {
            digest: release.digest,
            reason: "misses pneumonia".into(),
        }],
    };
    events(&mut phone);
    offer(&mut phone, &mut store, Offer::Recall(signed(&recall)));
    let stopped = events(&mut phone);
    let recalled =
        |e: &Event| matches!(e, Event::Recalled { module, to: None, .. } if module == "guide");
    assert!(stopped.iter().any(recalled), "{stopped:?}");
    assert!(store.bundles().unwrap().is_empty() && !phone.releases.holds(&release.digest));
}

#[test]
fn a_link_counts_in_its_own_area_and_below_and_not_above() {
    let mut store = MemoryStore::default();
    let village = Area::parse("north/kilifi/mtwapa").unwrap();
    let elsewhere = Area::parse("south").unwrap();
    let case = |n: u8| protocol::CaseId([n; 16]);
    let row = |n: u8, area: &Area| CaseRow {
        id: case(n),
        area: area.clone(),
        title: String::new(),
        urgency: None,
        changed_s: 1,
        entries: 1,
        questions: 0,
        tags: Vec::new(),
    };
    for (n, area) in [
        (1, &area()),
        (2, &area()),
        (3, &village),
        (4, &village),
        (5, &elsewhere),
    ] {
        store.put_case(&row(n, area), &[]).unwrap();
    }
    for named in 1..=5 {
        for by in (1..=6).filter(|by| *by != named) {
            let key = Setting::link(&case(named), &case(by));
            store.put_setting(&key, &[1]).unwrap();
        }
    }
    let named_by = |n: u8| -> Vec<u8> {
        let named = records::named_by(case(n), &store).unwrap();
        named.iter().map(|id| id.0[0]).collect()
    };
    assert_eq!(
        named_by(1),
        [2],
        "of its own area alone: those below may not say it"
    );
    assert_eq!(named_by(3), [1, 2, 4], "of its own and of the post above");
    assert_eq!(named_by(5), Vec::<u8>::new());
}

/// A hostile keeper says that more has come to it than any phone takes notice of: only so much is
/// remembered, at every start too.
#[test]
fn what_a_keeper_makes_up_takes_bounded_memory() {
    use protocol::limits::DELIVERIES_PER_KEEPER_MAX;
    let (mut phone, _) = phone(1);
    let keeper = phone.own.certificate.clone().unwrap();
    let id = |n: u64| {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&n.to_be_bytes());
        protocol::EnvelopeId(id)
    };
    for first in (0..DELIVERIES_PER_KEEPER_MAX + 7000).step_by(7000) {
        let ids = (first..first + 7000).map(|n| sync::notice::short(&id(n)));
        let notice = sync::Notice {
            delivered: ids.flatten().collect(),
            ..sync::Notice::about(&area())
        };
        phone.spaces.deliveries.take(&keeper, &notice);
    }
    let known = |n| phone.spaces.deliveries.of(&id(n)).count();
    assert_eq!(known(DELIVERIES_PER_KEEPER_MAX - 1), 1, "the control");
    assert_eq!(known(DELIVERIES_PER_KEEPER_MAX), 0);
}
