//! The trusted state: each numbered rule, and that no sequence of offers ever goes back.

use distribution::{Release, ReleaseList, Root, TrustError, TrustedState};
use protocol::certificate::{Certificate, CertificateError, Right, Rights};
use protocol::signed::{Document, Role};
use protocol::{Area, Chain, DeviceKeys, Digest, Signed};

fn key(n: u8) -> DeviceKeys {
    DeviceKeys::from_seed([n; 32])
}

fn role(keys: &[u8], threshold: u32) -> Role {
    Role::new(keys.iter().map(|n| key(*n).id()), threshold).unwrap()
}

fn sign<T: Document>(document: &T, keys: &[u8]) -> Signed<T> {
    let mut signed = Signed::unsigned(document);
    keys.iter().for_each(|n| signed.add_signature(&key(*n)));
    signed
}

fn root(version: u64, root: Role, releases: Role) -> Root {
    Root { ministry: "M".into(), version, issued_s: 0, enrolment: root.clone(), root, releases }
}

fn first() -> Root {
    root(1, role(&[1, 2, 3], 2), role(&[4, 5, 6], 2))
}

fn state() -> TrustedState {
    TrustedState::new(&sign(&first(), &[1, 2])).unwrap()
}

fn release(module: &str, version: u64) -> Release {
    Release {
        module: module.into(),
        version,
        digest: Digest([version as u8; 32]),
        bytes: 10,
        area: Area::default(),
        language: "und".into(),
        engine_min: 1,
        notes: String::new(),
    }
}

fn list(version: u64, releases: Vec<Release>) -> ReleaseList {
    ReleaseList { version, issued_s: version, releases }
}

#[test]
fn rule_1_an_anchor_must_meet_its_own_threshold() {
    assert!(TrustedState::new(&sign(&first(), &[1])).is_err());
    assert!(TrustedState::new(&sign(&first(), &[1, 9])).is_err());
    assert!(TrustedState::new(&sign(&first(), &[3, 2])).is_ok());
}

#[test]
fn rules_2_and_3_a_next_root_follows_by_one_and_both_old_and_new_keys_sign() {
    let mut trust = state();
    let next = root(2, role(&[2, 3, 7], 2), role(&[4, 5, 6], 2));
    assert!(trust.offer_root(&sign(&next, &[7, 3])).is_err(), "one old key is not enough");
    assert!(trust.offer_root(&sign(&next, &[1, 2])).is_err(), "one new key is not enough");
    assert!(trust.offer_root(&sign(&next, &[1, 3, 7])).unwrap());
    let skipped = root(4, role(&[2, 3, 7], 2), role(&[4, 5, 6], 2));
    assert!(matches!(trust.offer_root(&sign(&skipped, &[2, 3])), Err(TrustError::RootVersion { held: 2, offered: 4 })));
    assert_eq!(trust.offer_root(&sign(&next, &[1, 3, 7])), Ok(false), "walked past already");
    assert_eq!(trust.roots_after(0).count(), 2);
    assert_eq!(trust.ministry(), state().ministry(), "the ministry keeps its name");
}

#[test]
fn rule_4_lists_need_the_threshold_of_the_release_role_and_keys_count_once() {
    let mut trust = state();
    let one = list(1, vec![]);
    for signers in [&[4][..], &[1, 2], &[4, 9], &[4, 4]] {
        assert!(trust.offer_list(&sign(&one, signers)).is_err(), "{signers:?}");
    }
    assert_eq!(trust.offer_list(&sign(&one, &[6, 4])), Ok(true));
}

#[test]
fn rules_5_to_7_lists_and_releases_never_go_back() {
    let mut trust = state();
    assert!(trust.offer_list(&sign(&list(5, vec![release("model", 3)]), &[4, 5])).unwrap());
    let held = trust.list().unwrap().signed().digest();
    let older = trust.offer_list(&sign(&list(4, vec![release("model", 9)]), &[4, 5]));
    assert!(matches!(older, Err(TrustError::Rollback { held: 5, offered: 4 })));
    let fork = trust.offer_list(&sign(&list(5, vec![release("model", 4)]), &[4, 5]));
    assert!(matches!(fork, Err(TrustError::Fork(5))));
    let back = trust.offer_list(&sign(&list(6, vec![release("model", 2)]), &[4, 5]));
    assert!(matches!(back, Err(TrustError::ReleaseRollback { held: 3, offered: 2, .. })));
    assert_eq!(trust.list().unwrap().signed().digest(), held);
    assert_eq!(trust.offer_list(&sign(&list(5, vec![release("model", 3)]), &[5, 6])), Ok(false));
    assert_eq!(trust.offer_list(&sign(&list(7, vec![release("model", 4)]), &[4, 5])), Ok(true));
}

#[test]
fn a_list_with_two_releases_for_one_place_is_malformed() {
    let twice = list(1, vec![release("model", 1), release("model", 2)]);
    assert!(state().offer_list(&sign(&twice, &[4, 5])).is_err());
}

/// Every sequence of four offers out of these: nothing ever goes back, and a refusal changes nothing.
#[test]
fn no_short_sequence_of_offers_goes_back() {
    let lists: Vec<_> = (1..=3).map(|v| sign(&list(v, vec![release("model", v)]), &[4, 5])).collect();
    let forged = sign(&list(9, vec![]), &[4, 9]);
    let next = sign(&root(2, role(&[1, 2, 3], 2), role(&[5, 6, 7], 2)), &[1, 2]);
    let after = sign(&list(4, vec![release("model", 4)]), &[6, 7]);
    let offer = |trust: &mut TrustedState, n: usize| match n {
        0..=2 => trust.offer_list(&lists[n]),
        3 => trust.offer_list(&forged),
        4 => trust.offer_root(&next),
        _ => trust.offer_list(&after),
    };
    for sequence in 0..6usize.pow(4) {
        let mut trust = state();
        for step in 0..4 {
            let before = (trust.root_version(), trust.list_version());
            let result = offer(&mut trust, sequence / 6usize.pow(step) % 6);
            let now = (trust.root_version(), trust.list_version());
            assert!(now.0 >= before.0 && now.1 >= before.1 && now.1 <= 4, "sequence {sequence}");
            assert!(result == Ok(true) || now == before, "sequence {sequence}: refused and changed");
        }
    }
}

fn certificate(device: u8, area: &str, rights: &[Right], passes_on: &[Right]) -> Certificate {
    Certificate {
        device: key(device).id(),
        sealing_key: [0; 32],
        name: "d".into(),
        area: Area::parse(area).unwrap(),
        rights: Rights::of(rights),
        passes_on: Rights::of(passes_on),
        issued_s: 0,
    }
}

#[test]
fn certificate_chains_keep_to_their_rules() {
    use Right::{Carry, Enrol, Read, Write};
    let trust = state();
    let check = |chain: &Chain| trust.verify_chain(chain).unwrap().map(|c| c.device);
    let boss = sign(&certificate(20, "north", &[Carry, Enrol], &[Carry, Read, Write]), &[1, 2]);
    let top = Chain { certificates: vec![boss] };
    let under = |c: Certificate, by: u8| top.extended(sign(&c, &[by]));
    assert_eq!(check(&top), Ok(key(20).id()));
    assert_eq!(check(&Chain { certificates: vec![] }), Err(CertificateError::Length(0)));
    let one_key = Chain { certificates: vec![sign(&certificate(20, "north", &[], &[]), &[1])] };
    assert!(matches!(check(&one_key), Err(CertificateError::Signature { position: 1, .. })));
    assert!(check(&under(certificate(21, "north/a", &[Read, Write], &[]), 20)).is_ok());
    let forged = under(certificate(21, "north/a", &[Read], &[]), 22);
    assert!(matches!(check(&forged), Err(CertificateError::Signature { position: 2, .. })));
    assert_eq!(check(&under(certificate(21, "south", &[Read], &[]), 20)), Err(CertificateError::Area(2)));
    assert_eq!(check(&under(certificate(21, "north", &[Enrol], &[]), 20)), Err(CertificateError::Rights(2)));
    assert_eq!(check(&under(certificate(21, "north", &[], &[Enrol]), 20)), Err(CertificateError::Rights(2)));
    let worker = under(certificate(21, "north", &[Read], &[Read]), 20);
    let grandchild = worker.extended(sign(&certificate(22, "north", &[Read], &[]), &[21]));
    assert_eq!(check(&grandchild), Err(CertificateError::NotAnEnroller(3)));
}
