//! A ministry for simulations: keys, roots, lists and certificates, all really signed.

use distribution::notices::{Beacon, Recall, Recalled, Revocations, Revoked};
use distribution::{Release, ReleaseList, Root};
use protocol::certificate::{Certificate, Rights, bind};
use protocol::signed::{Role, Signed};
use protocol::{Area, Chain, DeviceId, DeviceKeys, Digest};
use sync::space::sealing_public_key;

/// A ministry with `n` keys of which `k` must sign.
#[derive(Debug, Clone)]
pub struct Ministry {
    keys: Vec<DeviceKeys>,
    threshold: u32,
    recall_key: DeviceKeys,
    beacon_key: DeviceKeys,
    /// Opens receipts.
    pub receipt_key: DeviceKeys,
    /// What the first root says.
    pub first: Root,
    /// The first root.
    pub root: Signed<Root>,
}

impl Ministry {
    /// A ministry whose keys come from `seed`, with a recall key and a beacon key.
    pub fn new(seed: u8, keys: u8, threshold: u32) -> Self {
        let mut ministry = Self::of_three_roles(seed, keys, threshold);
        let role = |key: &DeviceKeys| Some(Role::single(key.id()));
        let (recall, beacon) = (role(&ministry.recall_key), role(&ministry.beacon_key));
        let receipts = Some(sealing_public_key(&ministry.receipt_key));
        let root = Root {
            recall,
            beacon,
            receipts,
            ..ministry.first
        };
        ministry.root = sign(&root, &ministry.keys);
        ministry.first = root;
        ministry
    }

    /// A ministry of the first days: its root knows of neither recall nor beacon.
    pub fn of_three_roles(seed: u8, keys: u8, threshold: u32) -> Self {
        let keys: Vec<_> = (0..keys)
            .map(|i| DeviceKeys::from_seed([seed.wrapping_add(i).wrapping_add(100); 32]))
            .collect();
        let mut ids: Vec<_> = keys.iter().map(DeviceKeys::id).collect();
        ids.sort();
        let role = Role {
            keys: ids,
            threshold,
        };
        let root = Root {
            ministry: "Ministry of Health".into(),
            version: 1,
            issued_s: 1_760_000_000,
            root: role.clone(),
            releases: role.clone(),
            enrolment: role,
            recall: None,
            beacon: None,
            expires_s: None,
            receipts: None,
            distrusted: Vec::new(),
        };
        let notice_key = |salt: u8| DeviceKeys::from_seed([seed.wrapping_add(salt); 32]);
        Self {
            root: sign(&root, &keys),
            first: root,
            keys,
            threshold,
            recall_key: notice_key(200),
            beacon_key: notice_key(201),
            receipt_key: notice_key(202),
        }
    }

    /// Signs any document with just enough keys.
    pub fn sign<T: protocol::signed::Document>(&self, document: &T) -> Signed<T> {
        sign(
            document,
            self.keys
                .get(..self.threshold as usize)
                .unwrap_or(&self.keys),
        )
    }

    /// Signs any document with some of its keys: what a thief of so many keys can do.
    pub fn signed_by_some<T: protocol::signed::Document>(
        &self,
        document: &T,
        keys: usize,
    ) -> Signed<T> {
        sign(document, self.keys.get(..keys).unwrap_or(&self.keys))
    }

    /// A list of these releases.
    pub fn list(&self, version: u64, releases: Vec<Release>) -> Signed<ReleaseList> {
        self.sign(&ReleaseList {
            version,
            issued_s: 1_760_000_000 + version,
            releases,
            ..ReleaseList::default()
        })
    }

    /// A next root, signed by the keys of this ministry and by those of `next` (the same ones, or
    /// new ones).
    pub fn rotate(&self, version: u64, next: &Ministry) -> Signed<Root> {
        let root = Root {
            version,
            ministry: self.first.ministry.clone(),
            ..next.first.clone()
        };
        let mut signed = sign(&root, &self.keys);
        next.keys.iter().for_each(|k| signed.add_signature(k));
        signed
    }

    /// A recall of these bundles.
    pub fn recall(&self, version: u64, bundles: &[Digest]) -> Signed<Recall> {
        let recalled = |digest: &Digest| Recalled {
            digest: *digest,
            reason: "misses pneumonia in infants".into(),
        };
        let recall = Recall {
            version,
            root: self.first.version,
            issued_s: 1_760_000_000 + version,
            recalled: bundles.iter().map(recalled).collect(),
        };
        Signed::by(&recall, &self.recall_key)
    }

    /// These devices are not believed any more.
    pub fn revoke(&self, version: u64, devices: &[DeviceId]) -> Signed<Revocations> {
        let revoked = |device: &DeviceId| Revoked {
            device: *device,
            reason: "lost on the road".into(),
        };
        self.sign(&Revocations {
            version,
            root: self.first.version,
            issued_s: 1_760_000_000 + version,
            revoked: devices.iter().map(revoked).collect(),
        })
    }

    /// A beacon.
    pub fn beacon(&self, time_s: u64, list: u64, recall: u64) -> Signed<Beacon> {
        Signed::by(
            &Beacon {
                time_s,
                root: self.first.version,
                list,
                recall,
            },
            &self.beacon_key,
        )
    }

    /// A release of a bundle for everyone.
    pub fn release(&self, module: &str, version: u64, bundle: &[u8]) -> Release {
        Release {
            module: module.into(),
            version,
            digest: Digest::of(bundle),
            bytes: bundle.len() as u64,
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

    /// A device certified by the ministry itself.
    pub fn certify(
        &self,
        device: &DeviceKeys,
        name: &str,
        area: &Area,
        rights: Rights,
        passes_on: Rights,
    ) -> Chain {
        let certificate = certificate(device, name, area, rights, passes_on);
        Chain {
            certificates: vec![self.sign(&certificate)],
        }
    }
}

/// What a certificate for `device` says.
pub fn certificate(
    device: &DeviceKeys,
    name: &str,
    area: &Area,
    rights: Rights,
    passes_on: Rights,
) -> Certificate {
    Certificate {
        device: device.id(),
        sealing_key: sealing_public_key(device),
        name: name.into(),
        area: area.clone(),
        rights,
        passes_on,
        issued_s: 1_760_000_000,
        expires_s: None,
        binding: bind(device, &sealing_public_key(device)),
    }
}

fn sign<T: protocol::signed::Document>(document: &T, keys: &[DeviceKeys]) -> Signed<T> {
    let mut signed = Signed::unsigned(document);
    keys.iter().for_each(|k| signed.add_signature(k));
    signed
}
