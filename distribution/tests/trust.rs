//! The trusted state: each numbered rule has its test here.

mod common;

use common::*;
use distribution::delegation::{DelegatedList, Delegation};
use distribution::release::{Lineage, Stage, Withdrawn};
use distribution::{ModuleKind, Offer, ReleaseList, Root, TrustError, TrustedState};
use protocol::certificate::{Certificate, CertificateError, Right, Rights, bind};
use protocol::{Area, Chain, Digest};

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
    assert!(
        trust.offer_root(&sign(&next, &[7, 3])).is_err(),
        "one old key is not enough"
    );
    assert!(
        trust.offer_root(&sign(&next, &[1, 2])).is_err(),
        "one new key is not enough"
    );
    assert!(trust.offer_root(&sign(&next, &[1, 3, 7])).unwrap());
    let skipped = root(4, role(&[2, 3, 7], 2), role(&[4, 5, 6], 2));
    assert!(matches!(
        trust.offer_root(&sign(&skipped, &[2, 3])),
        Err(TrustError::RootVersion {
            held: 2,
            offered: 4
        })
    ));
    assert_eq!(
        trust.offer_root(&sign(&next, &[1, 3, 7])),
        Ok(false),
        "walked past already"
    );
    assert_eq!(trust.roots_after(0).count(), 2);
    assert_eq!(
        trust.ministry(),
        state().ministry(),
        "the ministry keeps its name"
    );
}

#[test]
fn rule_4_lists_need_the_threshold_of_the_release_role_and_keys_count_once() {
    let mut trust = state();
    let one = list(1, vec![]);
    for signers in [&[4][..], &[1, 2], &[4, 9], &[4, 4]] {
        assert!(
            trust.offer_list(&sign(&one, signers)).is_err(),
            "{signers:?}"
        );
    }
    assert_eq!(trust.offer_list(&sign(&one, &[6, 4])), Ok(true));
}

#[test]
fn rules_5_to_7_lists_and_releases_never_go_back() {
    let mut trust = state();
    assert!(
        trust
            .offer_list(&sign(&list(5, vec![release("model", 3)]), &[4, 5]))
            .unwrap()
    );
    let held = trust.list().unwrap().signed().digest();
    let older = trust.offer_list(&sign(&list(4, vec![release("model", 9)]), &[4, 5]));
    assert!(matches!(
        older,
        Err(TrustError::Rollback {
            held: 5,
            offered: 4,
            ..
        })
    ));
    let fork = trust.offer_list(&sign(&list(5, vec![release("model", 4)]), &[4, 5]));
    assert!(matches!(fork, Err(TrustError::Fork { version: 5, .. })));
    let back = trust.offer_list(&sign(&list(6, vec![release("model", 2)]), &[4, 5]));
    assert!(matches!(
        back,
        Err(TrustError::ReleaseRollback {
            held: 3,
            offered: 2,
            ..
        })
    ));
    assert_eq!(trust.list().unwrap().signed().digest(), held);
    assert_eq!(
        trust.offer_list(&sign(&list(5, vec![release("model", 3)]), &[5, 6])),
        Ok(false)
    );
    assert_eq!(
        trust.offer_list(&sign(&list(7, vec![release("model", 4)]), &[4, 5])),
        Ok(true)
    );
}

#[test]
fn a_list_with_two_releases_for_one_place_is_malformed() {
    let twice = list(1, vec![release("model", 1), release("model", 2)]);
    assert!(state().offer_list(&sign(&twice, &[4, 5])).is_err());
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
        expires_s: None,
        binding: bind(&key(device), &[0; 32]),
    }
}

#[test]
fn certificate_chains_keep_to_their_rules() {
    use Right::{Carry, Enrol, Read, Write};
    let trust = state();
    let check = |chain: &Chain| trust.verify_chain(chain).unwrap().map(|c| c.device);
    let boss = sign(
        &certificate(20, "north", &[Carry, Enrol], &[Carry, Read, Write]),
        &[1, 2],
    );
    let top = Chain {
        certificates: vec![boss],
    };
    let under = |c: Certificate, by: u8| top.extended(sign(&c, &[by]));
    assert_eq!(check(&top), Ok(key(20).id()));
    assert_eq!(
        check(&Chain {
            certificates: vec![]
        }),
        Err(CertificateError::Length(0))
    );
    let one_key = Chain {
        certificates: vec![sign(&certificate(20, "north", &[], &[]), &[1])],
    };
    assert!(matches!(
        check(&one_key),
        Err(CertificateError::Signature { position: 1, .. })
    ));
    assert!(check(&under(certificate(21, "north/a", &[Read, Write], &[]), 20)).is_ok());
    let forged = under(certificate(21, "north/a", &[Read], &[]), 22);
    assert!(matches!(
        check(&forged),
        Err(CertificateError::Signature { position: 2, .. })
    ));
    assert_eq!(
        check(&under(certificate(21, "south", &[Read], &[]), 20)),
        Err(CertificateError::Area(2))
    );
    assert_eq!(
        check(&under(certificate(21, "north", &[Enrol], &[]), 20)),
        Err(CertificateError::Rights(2))
    );
    assert_eq!(
        check(&under(certificate(21, "north", &[], &[Enrol]), 20)),
        Err(CertificateError::Rights(2))
    );
    let worker = under(certificate(21, "north", &[Read], &[Read]), 20);
    let grandchild = worker.extended(sign(&certificate(22, "north", &[Read], &[]), &[21]));
    assert_eq!(check(&grandchild), Err(CertificateError::NotAnEnroller(3)));
}

fn offer_list(
    trust: &mut TrustedState,
    list: &ReleaseList,
    keys: &[u8],
) -> Result<bool, TrustError> {
    trust.offer(&Offer::List(sign(list, keys)))
}

#[test]
fn rule_7_nothing_vanishes_and_what_is_withdrawn_does_not_come_back_older() {
    let mut trust = state();
    assert!(offer_list(&mut trust, &list(1, vec![release("model", 5)]), &[4, 5]).unwrap());
    let gone = offer_list(&mut trust, &list(2, vec![]), &[4, 5]);
    assert!(matches!(
        gone,
        Err(TrustError::ReleaseVanished { list: 2, .. })
    ));
    let tombstone = |version| {
        let withdrawn = Withdrawn {
            module: "model".into(),
            area: Area::default(),
            language: "und".into(),
            version,
        };
        ReleaseList {
            withdrawn: vec![withdrawn],
            ..list(2, vec![])
        }
    };
    assert!(offer_list(&mut trust, &tombstone(4), &[4, 5]).is_err());
    assert!(offer_list(&mut trust, &tombstone(5), &[4, 5]).unwrap());
    assert!(trust.releases().is_empty());
    let again = offer_list(&mut trust, &list(3, vec![release("model", 4)]), &[4, 5]);
    assert!(matches!(
        again,
        Err(TrustError::ReleaseRollback {
            held: 5,
            offered: 4,
            ..
        })
    ));
    assert!(offer_list(&mut trust, &list(3, vec![release("model", 6)]), &[4, 5]).unwrap());
}

/// Root 2 with other release keys, signed by old and new root keys.
fn rotated() -> Root {
    Root {
        beacon: Some(role(&[12], 1)),
        recall: Some(role(&[13], 1)),
        ..root(2, role(&[1, 2, 3], 2), role(&[5, 6, 7], 2))
    }
}

#[test]
fn rule_8_a_version_far_ahead_signed_with_stolen_keys_is_overcome_by_the_next_root() {
    let mut trust = state();
    assert!(offer_list(&mut trust, &list(1, vec![release("model", 1)]), &[5, 6]).unwrap());
    assert!(
        offer_list(
            &mut trust,
            &list(u64::MAX, vec![release("model", u64::MAX)]),
            &[4, 5]
        )
        .unwrap()
    );
    assert!(trust.offer_root(&sign(&rotated(), &[1, 2])).unwrap());
    assert!(
        !trust.list_binds() && trust.releases().is_empty(),
        "nothing more is fetched by it"
    );
    assert!(trust.freshness().list_retired);
    let mut trust = reload(&trust);
    assert_eq!(trust.list_version(), u64::MAX, "and it is still known");
    let replayed = offer_list(&mut trust, &list(1, vec![release("model", 1)]), &[5, 6]);
    assert!(
        matches!(
            replayed,
            Err(TrustError::RetiredKeys {
                named: 1,
                retired: 2,
                ..
            })
        ),
        "{replayed:?}"
    );
    let fresh = ReleaseList {
        root: Some(2),
        ..list(2, vec![release("model", 2)])
    };
    assert!(offer_list(&mut trust, &fresh, &[6, 7]).unwrap());
    assert_eq!(trust.list_version(), 2);
    let early = ReleaseList {
        root: Some(9),
        ..list(3, vec![release("model", 2)])
    };
    assert!(matches!(
        offer_list(&mut trust, &early, &[6, 7]),
        Err(TrustError::RootFirst {
            named: 9,
            held: 2,
            ..
        })
    ));
}

#[test]
fn rule_8_a_root_that_keeps_enough_keys_keeps_the_list() {
    let mut trust = state();
    assert!(offer_list(&mut trust, &list(3, vec![]), &[5, 6]).unwrap());
    assert!(trust.offer_root(&sign(&rotated(), &[1, 2])).unwrap());
    assert!(trust.list_binds());
    assert!(matches!(
        offer_list(&mut trust, &list(2, vec![]), &[5, 6]),
        Err(TrustError::Rollback { held: 3, .. })
    ));
}

#[test]
fn rule_9_recalls_and_revocations_only_add() {
    let mut trust = state();
    let mut recalled = |r, key| trust.offer(&Offer::Recall(sign(&r, &[key])));
    assert!(
        recalled(recall(1, 1, &[7]), 4).is_err(),
        "only the recall role may recall"
    );
    assert!(recalled(recall(1, 1, &[7]), 8).unwrap());
    assert!(matches!(
        recalled(recall(2, 1, &[6]), 8),
        Err(TrustError::TakenBack { .. })
    ));
    assert!(recalled(recall(2, 1, &[7, 6]), 8).unwrap());
    assert!(matches!(
        recalled(recall(1, 1, &[7]), 8),
        Err(TrustError::Rollback { .. })
    ));
    assert_eq!(trust.recalled(&Digest([6; 32])), Some("unsafe"));
    assert!(offer_list(&mut trust, &list(1, vec![release("model", 7)]), &[4, 5]).unwrap());
    assert!(
        trust.releases().is_empty(),
        "a recalled bundle that is listed again is not a release"
    );
    let mut revoked = |r| trust.offer(&Offer::Revocations(sign(&r, &[1, 2])));
    assert!(revoked(revocations(1, 1, &[30])).unwrap());
    assert!(revoked(revocations(2, 1, &[])).is_err());
    assert!(revoked(revocations(2, 1, &[30, 31])).unwrap());
    let trust = reload(&trust);
    assert_eq!(
        (
            trust.revoked(&key(31).id()),
            trust.recalled(&Digest([7; 32]))
        ),
        (Some("lost"), Some("unsafe"))
    );
}

#[test]
fn rules_10_and_12_beacons_go_forward_and_a_stolen_beacon_key_is_overcome() {
    let mut trust = state();
    let mut seen = |b, key| trust.offer(&Offer::Beacon(sign(&b, &[key])));
    assert!(seen(beacon(100, 1, 4), 4).is_err(), "only the beacon key");
    assert!(seen(beacon(100, 1, 4), 9).unwrap());
    assert!(
        matches!(seen(beacon(90, 1, 4), 9), Err(TrustError::Rollback { .. })),
        "replayed"
    );
    assert!(matches!(
        seen(beacon(110, 1, 3), 9),
        Err(TrustError::BeaconBack { .. })
    ));
    assert!(
        seen(beacon(u64::MAX, 1, 4), 9).unwrap(),
        "the key is stolen"
    );
    let dated = ReleaseList {
        expires_s: Some(500),
        ..list(2, vec![])
    };
    assert!(offer_list(&mut trust, &dated, &[5, 6]).unwrap());
    assert!(
        trust.freshness().list_expired && trust.list_binds(),
        "it warns and goes on"
    );
    assert_eq!(trust.freshness().newer_list, Some(4));
    assert!(trust.offer_root(&sign(&rotated(), &[1, 2])).unwrap());
    assert_eq!(
        trust.freshness().floor_s,
        2,
        "the floor is back at what the list says"
    );
    assert!(
        trust
            .offer(&Offer::Beacon(sign(&beacon(120, 1, 4), &[9])))
            .is_err()
    );
    assert!(
        trust
            .offer(&Offer::Beacon(sign(&beacon(120, 2, 1), &[12])))
            .unwrap()
    );
    assert_eq!(trust.freshness().floor_s, 120);
}

fn delegating(version: u64, both: bool, keys: &[u8]) -> ReleaseList {
    let delegation = Delegation {
        name: "university".into(),
        role: role(keys, 1),
        modules: vec!["fine-tune".into()],
        area: Area::parse("north").unwrap(),
        both,
        version_min: 2,
        kinds: Vec::new(),
    };
    ReleaseList {
        delegations: vec![delegation],
        ..list(version, vec![release("model", 1)])
    }
}

fn delegated(version: u64, module: &str, area: &str) -> DelegatedList {
    let lineage = Lineage {
        parent: Digest([1; 32]),
        data: "2,000 consented cases of north, 2025".into(),
        protocol: "PCCP-7".into(),
        subgroups: vec![],
        return_to: Some(1),
    };
    let mut release = release(module, version);
    release.area = Area::parse(area).unwrap();
    release.lineage = Some(lineage);
    DelegatedList {
        delegation: "university".into(),
        version,
        issued_s: 1,
        releases: vec![release],
    }
}

#[test]
fn rule_11_a_delegated_list_is_believed_under_the_list_held_now() {
    let mut trust = state();
    let mut offer = |d: DelegatedList, keys: &[u8]| trust.offer(&Offer::Delegated(sign(&d, keys)));
    assert!(matches!(
        offer(delegated(2, "fine-tune", "north"), &[40]),
        Err(TrustError::NoDelegation(_))
    ));
    assert!(offer_list(&mut trust, &delegating(1, false, &[40]), &[4, 5]).unwrap());
    let mut offer = |d: DelegatedList, keys: &[u8]| trust.offer(&Offer::Delegated(sign(&d, keys)));
    assert!(
        offer(delegated(2, "fine-tune", "north"), &[4, 5]).is_err(),
        "the ministry's keys are not the university's"
    );
    assert!(matches!(
        offer(delegated(2, "model", "north"), &[40]),
        Err(TrustError::OutsideDelegation { .. })
    ));
    assert!(matches!(
        offer(delegated(2, "fine-tune", "south"), &[40]),
        Err(TrustError::OutsideDelegation { .. })
    ));
    assert!(matches!(
        offer(delegated(1, "fine-tune", "north"), &[40]),
        Err(TrustError::Rollback { .. })
    ));
    assert!(offer(delegated(3, "fine-tune", "north/a"), &[40]).unwrap());
    assert!(offer(delegated(2, "fine-tune", "north"), &[40]).is_err());
    assert_eq!(reload(&trust).releases().len(), 2);
    assert!(offer_list(&mut trust, &delegating(2, true, &[40]), &[4, 5]).unwrap());
    assert_eq!(
        trust.releases().len(),
        1,
        "now the ministry must sign too, and has not"
    );
    assert!(
        trust
            .offer(&Offer::Delegated(sign(
                &delegated(3, "fine-tune", "north/a"),
                &[40, 4, 5]
            )))
            .unwrap()
    );
    assert!(offer_list(&mut trust, &delegating(3, false, &[41]), &[4, 5]).unwrap());
    assert_eq!(
        trust.delegated().count(),
        0,
        "with the key goes what came through it"
    );
}

#[test]
fn a_stage_grows_without_dropping_anyone() {
    let phones: Vec<_> = (0..250).map(|n| key(n).id()).collect();
    let staged = |permille, areas: Vec<Area>| {
        let mut release = release("model", 1);
        release.stage = Some(Stage { permille, areas });
        let home = Area::parse("north/a").unwrap();
        phones
            .iter()
            .map(|p| release.staged_for(p, &home))
            .collect::<Vec<_>>()
    };
    let (tenth, half, all) = (
        staged(100, vec![]),
        staged(500, vec![]),
        staged(1000, vec![]),
    );
    assert!(tenth.iter().zip(&half).all(|(t, h)| !t || *h));
    assert!(
        all.iter().all(|in_it| *in_it) && (5..50).contains(&tenth.iter().filter(|t| **t).count())
    );
    assert!(
        staged(1000, vec![Area::parse("north").unwrap()])
            .iter()
            .all(|i| *i)
    );
    assert!(
        staged(1000, vec![Area::parse("south").unwrap()])
            .iter()
            .all(|i| !i)
    );
}

#[test]
fn what_a_revoked_supervisor_certified_holds_no_more() {
    use Right::{Carry, Enrol};
    let mut trust = state();
    let boss = sign(
        &certificate(20, "north", &[Carry, Enrol], &[Carry]),
        &[1, 2],
    );
    let chain = Chain {
        certificates: vec![boss],
    }
    .extended(sign(&certificate(21, "north/a", &[Carry], &[]), &[20]));
    assert!(trust.verify_chain(&chain).unwrap().is_ok());
    assert!(
        trust
            .offer(&Offer::Revocations(sign(
                &revocations(1, 1, &[20]),
                &[2, 3]
            )))
            .unwrap()
    );
    assert!(matches!(
        trust.verify_chain(&chain),
        Some(Err(CertificateError::Revoked { position: 1, .. }))
    ));
}

#[test]
fn rule_11_a_delegated_list_never_goes_back_through_a_gap_in_which_nothing_names_it() {
    let mut trust = state();
    let give = |trust: &mut TrustedState, version| {
        trust.offer(&Offer::Delegated(sign(
            &delegated(version, "fine-tune", "north"),
            &[40],
        )))
    };
    assert!(offer_list(&mut trust, &delegating(1, false, &[40]), &[4, 5]).unwrap());
    assert!(give(&mut trust, 2).unwrap() && give(&mut trust, 5).unwrap());
    // The ministry changes the keys of its own list: for a while no list binds, and nothing
    // delegated means anything.
    let next = Root {
        releases: role(&[6, 7], 2),
        ..root(2, first().root, first().releases)
    };
    trust.offer_root(&sign(&next, &[1, 2])).unwrap();
    assert_eq!(trust.delegated().count(), 0);
    let mut restarted = reload(&trust);
    for trust in [&mut trust, &mut restarted] {
        let list = ReleaseList {
            root: Some(2),
            ..delegating(2, false, &[40])
        };
        assert!(offer_list(trust, &list, &[6, 7]).unwrap());
        assert_eq!(
            trust.delegated().map(|d| d.version).collect::<Vec<_>>(),
            [5]
        );
        assert!(matches!(give(trust, 2), Err(TrustError::Rollback { .. })));
        assert!(give(trust, 6).unwrap());
    }
}

#[test]
fn a_delegation_covers_the_kinds_it_names_and_nothing_else_that_a_phone_would_run() {
    let of = |kind| {
        let mut list = delegated(3, "fine-tune", "north");
        list.releases[0].kind = kind;
        Offer::Delegated(sign(&list, &[40]))
    };
    let under = |kinds: &[ModuleKind]| {
        let mut list = delegating(1, false, &[40]);
        list.delegations[0].kinds = kinds.to_vec();
        let mut trust = state();
        assert!(offer_list(&mut trust, &list, &[4, 5]).unwrap());
        trust
    };
    for kind in ModuleKind::ALL {
        let other = kind == ModuleKind::Other;
        let none = under(&[]).offer(&of(kind));
        assert_eq!(
            none.is_ok(),
            other,
            "{kind}: what nothing runs may be always"
        );
        let another = ModuleKind::ALL.into_iter().filter(|k| *k != kind);
        assert_eq!(
            under(&another.collect::<Vec<_>>()).offer(&of(kind)).is_ok(),
            other
        );
        // The same list, where the delegation names its kind.
        assert!(under(&[kind]).offer(&of(kind)).unwrap());
    }
}
