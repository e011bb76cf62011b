//! A ministry for simulations: keys, roots, lists and certificates, all really signed.

use distribution::{Release, ReleaseList, Root};
use protocol::certificate::{Certificate, Rights};
use protocol::signed::{Role, Signed};
use protocol::{Area, Chain, DeviceKeys, Digest};
use sync::space::sealing_public_key;

/// A ministry with `n` keys of which `k` must sign.
#[derive(Debug, Clone)]
pub struct Ministry {
    keys: Vec<DeviceKeys>,
    threshold: u32,
    /// The first root.
    pub root: Signed<Root>,
}

impl Ministry {
    /// A ministry whose keys come from `seed`.
    pub fn new(seed: u8, keys: u8, threshold: u32) -> Self {
        let keys: Vec<_> =
            (0..keys).map(|i| DeviceKeys::from_seed([seed.wrapping_add(i).wrapping_add(100); 32])).collect();
        let mut ids: Vec<_> = keys.iter().map(DeviceKeys::id).collect();
        ids.sort();
        let role = Role { keys: ids, threshold };
        let root = Root {
            ministry: "Ministry of Health".into(),
            version: 1,
            issued_s: 1_760_000_000,
            root: role.clone(),
            releases: role.clone(),
            enrolment: role,
        };
        let root = sign(&root, &keys);
        Self { keys, threshold, root }
    }

    /// Signs any document with just enough keys.
    pub fn sign<T: protocol::signed::Document>(&self, document: &T) -> Signed<T> {
        sign(document, self.keys.get(..self.threshold as usize).unwrap_or(&self.keys))
    }

    /// A list of these releases.
    pub fn list(&self, version: u64, releases: Vec<Release>) -> Signed<ReleaseList> {
        self.sign(&ReleaseList { version, issued_s: 1_760_000_000 + version, releases })
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
        }
    }

    /// A device certified by the ministry itself.
    pub fn certify(&self, device: &DeviceKeys, name: &str, area: &Area, rights: Rights, passes_on: Rights) -> Chain {
        let certificate = certificate(device, name, area, rights, passes_on);
        Chain { certificates: vec![self.sign(&certificate)] }
    }
}

/// What a certificate for `device` says.
pub fn certificate(device: &DeviceKeys, name: &str, area: &Area, rights: Rights, passes_on: Rights) -> Certificate {
    Certificate {
        device: device.id(),
        sealing_key: sealing_public_key(device),
        name: name.into(),
        area: area.clone(),
        rights,
        passes_on,
        issued_s: 1_760_000_000,
    }
}

fn sign<T: protocol::signed::Document>(document: &T, keys: &[DeviceKeys]) -> Signed<T> {
    let mut signed = Signed::unsigned(document);
    keys.iter().for_each(|k| signed.add_signature(k));
    signed
}
