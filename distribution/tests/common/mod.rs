//! A small ministry whose keys are numbers.
#![allow(dead_code)]

use distribution::notices::{Recalled, Revoked};
use distribution::{Beacon, Recall, Release, ReleaseList, Revocations, Root, TrustedState};
use protocol::signed::{Document, Role};
use protocol::{Area, DeviceKeys, Digest, Signed};

pub(crate) fn key(n: u8) -> DeviceKeys {
    DeviceKeys::from_seed([n; 32])
}

pub(crate) fn role(keys: &[u8], threshold: u32) -> Role {
    Role::new(keys.iter().map(|n| key(*n).id()), threshold).unwrap()
}

pub(crate) fn sign<T: Document>(document: &T, keys: &[u8]) -> Signed<T> {
    let mut signed = Signed::unsigned(document);
    keys.iter().for_each(|n| signed.add_signature(&key(*n)));
    signed
}

pub(crate) fn root(version: u64, root: Role, releases: Role) -> Root {
    Root {
        ministry: "M".into(),
        version,
        issued_s: 0,
        enrolment: root.clone(),
        recall: Some(role(&[8], 1)),
        beacon: Some(role(&[9], 1)),
        expires_s: None,
        receipts: None,
        distrusted: Vec::new(),
        root,
        releases,
    }
}

pub(crate) fn first() -> Root {
    root(1, role(&[1, 2, 3], 2), role(&[4, 5, 6], 2))
}

pub(crate) fn state() -> TrustedState {
    TrustedState::new(&sign(&first(), &[1, 2])).unwrap()
}

pub(crate) fn release(module: &str, version: u64) -> Release {
    Release {
        module: module.into(),
        version,
        digest: Digest([version as u8; 32]),
        bytes: 10,
        area: Area::default(),
        language: "und".into(),
        engine_min: 1,
        notes: String::new(),
        deltas: Vec::new(),
        stage: None,
        lineage: None,
        kind: distribution::ModuleKind::Other,
    }
}

pub(crate) fn list(version: u64, releases: Vec<Release>) -> ReleaseList {
    ReleaseList {
        version,
        issued_s: version,
        releases,
        ..ReleaseList::default()
    }
}

pub(crate) fn recall(version: u64, root: u64, bundles: &[u8]) -> Recall {
    let recalled = bundles
        .iter()
        .map(|b| Recalled {
            digest: Digest([*b; 32]),
            reason: "unsafe".into(),
        })
        .collect();
    Recall {
        version,
        root,
        issued_s: version,
        recalled,
    }
}

pub(crate) fn revocations(version: u64, root: u64, devices: &[u8]) -> Revocations {
    let revoked = devices
        .iter()
        .map(|d| Revoked {
            device: key(*d).id(),
            reason: "lost".into(),
        })
        .collect();
    Revocations {
        version,
        root,
        issued_s: version,
        revoked,
    }
}

pub(crate) fn beacon(time_s: u64, root: u64, list: u64) -> Beacon {
    Beacon {
        time_s,
        root,
        list,
        recall: 0,
    }
}

/// The state as it comes back after the program was killed.
pub(crate) fn reload(trust: &TrustedState) -> TrustedState {
    let records: Vec<_> = trust
        .records()
        .iter()
        .map(|(kind, bytes)| (kind.to_owned(), bytes.to_vec()))
        .collect();
    TrustedState::restore(&records).unwrap().unwrap()
}
