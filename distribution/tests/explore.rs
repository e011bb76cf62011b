//! Every sequence of events up to a length, played on the trusted state with crashes in between:
//! nothing ever goes back.
//!
//! The state is a value and an offer depends on nothing else, so two sequences that lead to the
//! same state have the same future. The exploration therefore walks each reachable state once and
//! *counts* the sequences that pass through it: what holds on every edge of this graph holds for
//! every one of them.

mod common;

use std::collections::BTreeMap;

use common::*;
use distribution::delegation::{DelegatedList, Delegation};
use distribution::release::Lineage;
use distribution::{Offer, ReleaseList, Root, TrustedState};
use protocol::{Area, Digest};

/// Events in a sequence.
const LENGTH: usize = 8;

#[derive(Clone)]
enum Happens {
    Offered(Offer),
    /// The program is killed before the last offer was committed, or after it.
    Crash,
}

fn events() -> Vec<(&'static str, Happens)> {
    let with_notices = |r: Root, keys: u8| Root {
        recall: Some(role(&[keys], 1)),
        beacon: Some(role(&[keys + 1], 1)),
        ..r
    };
    let second = with_notices(root(2, role(&[1, 2, 3], 2), role(&[5, 6, 7], 2)), 20);
    let third = with_notices(root(3, role(&[2, 3, 10], 2), role(&[6, 7, 11], 2)), 22);
    let delegation = |keys: &[u8]| Delegation {
        name: "university".into(),
        role: role(keys, 1),
        modules: vec!["fine-tune".into()],
        area: Area::default(),
        both: false,
        version_min: 1,
        kinds: Vec::new(),
    };
    let list_of = |version, root, release_version| ReleaseList {
        root: Some(root),
        delegations: vec![delegation(&[40])],
        ..list(version, vec![release("model", release_version)])
    };
    let other_keys = ReleaseList {
        delegations: vec![delegation(&[41])],
        ..list_of(5, 3, 3)
    };
    let delegated = |version, key| {
        let mut release = release("fine-tune", version);
        release.lineage = Some(Lineage {
            parent: Digest([1; 32]),
            data: "a thousand cases".into(),
            protocol: "P".into(),
            subgroups: Vec::new(),
            return_to: None,
        });
        let list = DelegatedList {
            delegation: "university".into(),
            version,
            issued_s: 1,
            releases: vec![release],
        };
        Happens::Offered(Offer::Delegated(sign(&list, &[key])))
    };
    let offered = |offer| Happens::Offered(offer);
    vec![
        ("root 2", offered(Offer::Root(sign(&second, &[1, 2])))),
        ("root 3", offered(Offer::Root(sign(&third, &[2, 3])))),
        (
            "root 2 forged",
            offered(Offer::Root(sign(&second, &[1, 30]))),
        ),
        (
            "list 1",
            offered(Offer::List(sign(&list_of(1, 1, 1), &[5, 6]))),
        ),
        (
            "list 2",
            offered(Offer::List(sign(&list_of(2, 1, 2), &[4, 5]))),
        ),
        (
            "list 3 for root 2",
            offered(Offer::List(sign(&list_of(3, 2, 3), &[6, 7]))),
        ),
        (
            "list 4 for root 3",
            offered(Offer::List(sign(&list_of(4, 3, 3), &[7, 11]))),
        ),
        (
            "list 9, stolen keys",
            offered(Offer::List(sign(&list_of(9, 1, 9), &[4, 5]))),
        ),
        (
            "list 8, one key",
            offered(Offer::List(sign(&list_of(8, 1, 8), &[5]))),
        ),
        (
            "list 5 for root 3, another university",
            offered(Offer::List(sign(&other_keys, &[7, 11]))),
        ),
        ("delegated 1", delegated(1, 40)),
        ("delegated 2", delegated(2, 40)),
        ("delegated 1, other keys", delegated(1, 41)),
        (
            "recall 1",
            offered(Offer::Recall(sign(&recall(1, 1, &[1]), &[8]))),
        ),
        (
            "recall 2",
            offered(Offer::Recall(sign(&recall(2, 1, &[1, 2]), &[8]))),
        ),
        (
            "recall 3 for root 2",
            offered(Offer::Recall(sign(&recall(3, 2, &[1]), &[20]))),
        ),
        (
            "revocations 1",
            offered(Offer::Revocations(sign(&revocations(1, 1, &[50]), &[2, 3]))),
        ),
        (
            "beacon 100",
            offered(Offer::Beacon(sign(&beacon(100, 1, 1), &[9]))),
        ),
        (
            "beacon 200 for root 2",
            offered(Offer::Beacon(sign(&beacon(200, 2, 3), &[21]))),
        ),
        (
            "beacon far ahead, stolen key",
            offered(Offer::Beacon(sign(&beacon(1 << 50, 1, 1), &[9]))),
        ),
        ("crash", Happens::Crash),
    ]
}

type Print = Vec<(&'static str, Vec<u8>)>;

fn print(trust: &TrustedState) -> Print {
    trust
        .records()
        .iter()
        .map(|(kind, bytes)| (kind, bytes.to_vec()))
        .collect()
}

/// Which root first had the keys that a document binds under, then the document's own number.
fn rank(
    trust: &TrustedState,
    role_of: impl Fn(&Root) -> Option<&protocol::signed::Role>,
    version: Option<u64>,
) -> (u64, u64) {
    let newest = trust.root().unwrap();
    let since = trust
        .roots()
        .iter()
        .rev()
        .take_while(|r| role_of(r) == role_of(newest))
        .last()
        .map_or(0, |r| r.version);
    (since, version.unwrap_or(0))
}

fn must_not_go_back(before: &TrustedState, after: &TrustedState, event: &str) {
    assert!(
        after.root_version() >= before.root_version(),
        "{event}: root"
    );
    let list = |t: &TrustedState| {
        rank(
            t,
            |r| Some(&r.releases),
            t.list().filter(|_| t.list_binds()).map(|l| l.version),
        )
    };
    assert!(
        list(after) >= list(before),
        "{event}: list {:?} after {:?}",
        list(after),
        list(before)
    );
    if delegation_of(before).is_some() && delegation_of(before) == delegation_of(after) {
        assert!(
            delegated_of(after) >= delegated_of(before),
            "{event}: delegated list"
        );
    }
    let recalls = |t: &TrustedState| rank(t, |r| r.recall.as_ref(), None);
    let binding = before
        .current()
        .iter()
        .any(|d| matches!(d.offer, Offer::Recall(_)));
    if binding && recalls(before) == recalls(after) {
        let kept = |r: &distribution::notices::Recalled| after.recalled(&r.digest).is_some();
        assert!(
            before.recall().is_none_or(|r| r.recalled.iter().all(kept)),
            "{event}: a recall was forgotten"
        );
    }
    assert!(
        before.recall().is_none() || after.recall().is_some(),
        "{event}: all recalls were forgotten"
    );
    assert!(
        before.revoked(&key(50).id()).is_none() || after.revoked(&key(50).id()).is_some(),
        "{event}: revocation"
    );
    let beacons = |t: &TrustedState| rank(t, |r| r.beacon.as_ref(), t.beacon().map(|b| b.time_s));
    assert!(beacons(after) >= beacons(before), "{event}: beacon");
    let floors = (before.freshness().floor_s, after.freshness().floor_s);
    assert!(
        floors.1 >= floors.0 || after.root_version() > before.root_version(),
        "{event}: floor {floors:?}"
    );
}

fn delegation_of(trust: &TrustedState) -> Option<protocol::signed::Role> {
    trust.list()?.delegations.first().map(|d| d.role.clone())
}

/// The version of the delegated list that is kept, whether it means anything now or not.
fn delegated_of(trust: &TrustedState) -> Option<u64> {
    let kept = trust
        .records()
        .iter()
        .find(|(kind, _)| *kind == "delegated-list")
        .map(|(_, bytes)| bytes.to_vec());
    let kept: protocol::Signed<DelegatedList> = protocol::Signed::from_bytes(&kept?).unwrap();
    Some(kept.read().unwrap().version)
}

/// What an event makes of a state; `None` for a refusal, which must change nothing.
fn play(trust: &TrustedState, event: &Happens, name: &str) -> TrustedState {
    match event {
        Happens::Crash => reload(trust),
        Happens::Offered(offer) => {
            let mut after = trust.clone();
            let accepted = after.offer(offer);
            assert!(
                accepted == Ok(true) || print(&after) == print(trust),
                "{name}: refused and yet changed"
            );
            // Killed before the commit, the phone comes back as it was; killed after it, as it has
            // become.
            assert_eq!(
                print(&reload(&after)),
                print(&after),
                "{name}: not the same after a crash"
            );
            after
        }
    }
}

#[test]
fn no_sequence_of_a_million_and_more_ever_goes_back() {
    let events = events();
    let mut layer: BTreeMap<Print, (TrustedState, u128)> =
        BTreeMap::from([(print(&state()), (state(), 1))]);
    let mut known: BTreeMap<Print, Vec<Print>> = BTreeMap::new();
    let mut states: BTreeMap<Print, TrustedState> = BTreeMap::new();
    let mut sequences = 0u128;
    for _ in 0..LENGTH {
        let mut next: BTreeMap<Print, (TrustedState, u128)> = BTreeMap::new();
        for (at, (trust, ways)) in &layer {
            if !known.contains_key(at) {
                let mut edges = Vec::new();
                for (name, event) in &events {
                    let after = play(trust, event, name);
                    must_not_go_back(trust, &after, name);
                    let to = print(&after);
                    states.entry(to.clone()).or_insert(after);
                    edges.push(to);
                }
                known.insert(at.clone(), edges);
            }
            for to in &known[at] {
                let entry = next
                    .entry(to.clone())
                    .or_insert_with(|| (states[to].clone(), 0));
                entry.1 += ways;
            }
        }
        layer = next;
        sequences += layer.values().map(|(_, ways)| ways).sum::<u128>();
    }
    println!("{sequences} sequences over {} states", known.len());
    assert!(
        sequences >= 1_000_000 && known.len() > 100,
        "{sequences} sequences, {} states",
        known.len()
    );
}
