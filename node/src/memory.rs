//! A store in memory, for the simulator and for tests. It keeps to the same promises as the real
//! one; a transaction is taken back by putting the clone made before it in its place.

use std::collections::BTreeMap;

use clinical::Urgency;
use distribution::bundle::Groups;
use distribution::{TrustRecords, tree};
use protocol::defence::{self, Defence};
use protocol::limits::{GROUP_BYTES, RECEIPTS_HELD_MAX};
use protocol::signed::Verified;
use protocol::{
    Area, BundleId, CaseId, CaseTag, ChainId, DeviceId, Digest, EnvelopeId, SpaceId, VerifiedChain,
    always,
};
use sync::envelope::{AuthorKey, author_key};
use sync::receipt::SealedReceipt;
use sync::{EnvelopeKind, SpaceKey, VerifiedEnvelope};

use crate::store::{
    Aside, AuthorUsage, BundleRow, CaseRow, ChainRow, EnvelopeRow, PeerRow, SpaceRow, StoreError,
};

mod bundles;
mod cases;
mod envelopes;
mod trust;

#[derive(Debug, Clone, Default)]
struct MemoryBundle {
    size: u64,
    tree: Vec<u8>,
    data: Vec<u8>,
    groups: Groups,
    whole: bool,
}

#[derive(Debug, Clone)]
struct MemoryEnvelope {
    row: EnvelopeRow,
    tag: CaseTag,
    notice: bool,
    urgency: Urgency,
    bytes: Option<Vec<u8>>,
}

/// Everything a phone keeps, in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    settings: BTreeMap<String, Vec<u8>>,
    visit: Option<Vec<u8>>,
    import: Option<Vec<u8>>,
    trust: Vec<(String, Vec<u8>)>,
    chains: BTreeMap<DeviceId, Vec<(ChainRow, Vec<u8>)>>,
    attempts: BTreeMap<EnvelopeId, u8>,
    keys: Vec<SpaceKey>,
    envelopes: BTreeMap<EnvelopeId, MemoryEnvelope>,
    next_position: u64,
    order: BTreeMap<SpaceId, (Area, Vec<EnvelopeId>)>,
    quarantine: BTreeMap<EnvelopeId, Aside>,
    cases: BTreeMap<CaseId, (CaseRow, Vec<u8>)>,
    bundles: BTreeMap<BundleId, MemoryBundle>,
    peers: BTreeMap<DeviceId, PeerRow>,
    receipts: BTreeMap<DeviceId, (u64, Vec<u8>, Option<DeviceId>)>,
    unsent: Vec<(CaseId, Vec<u8>, bool)>,
    steps: BTreeMap<(DeviceId, SpaceId), u64>,
    /// Writes until this disk is full; `None`: never.
    writes_left: Option<u64>,
}

impl MemoryStore {
    /// After so many more writes the disk is full, until this is called again.
    pub fn fail_after(&mut self, writes: Option<u64>) {
        self.writes_left = writes;
    }

    /// Fills up as soon as `other` does.
    pub fn keep_failing_as(&mut self, other: &Self) {
        self.writes_left = other.writes_left;
    }

    /// Whether the disk may be full soon: a transaction on it may have to be taken back.
    pub fn may_fail(&self) -> bool {
        self.writes_left.is_some()
    }

    fn spend(&mut self) -> Result<(), StoreError> {
        match &mut self.writes_left {
            None => Ok(()),
            Some(0) => Err(StoreError::Full),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    /// Puts a release's bundle in, whole, as a publisher does; returns its digest.
    pub fn import_bundle(&mut self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.put_whole(BundleId::release(digest), bytes);
        digest
    }

    /// Puts a sealed photo in; returns its digest.
    pub fn import_photo(&mut self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.put_whole(BundleId::photo(digest), bytes);
        digest
    }

    fn put_whole(&mut self, id: BundleId, bytes: &[u8]) {
        let size = bytes.len() as u64;
        let bundle = MemoryBundle {
            size,
            tree: tree::tree_list(bytes),
            data: bytes.to_vec(),
            groups: Groups::all(tree::group_count(size)),
            whole: true,
        };
        let named = |tree: &[u8]| tree::digest_of_list(tree, size) == Some(id.digest);
        always!(bytes.is_empty() || named(&bundle.tree));
        self.bundles.insert(id, bundle);
    }

    /// Turns one bit of a bundle over, as a bad card does.
    pub fn spoil(&mut self, id: &BundleId, at: usize) {
        if let Some(byte) = self
            .bundles
            .get_mut(id)
            .and_then(|bundle| bundle.data.get_mut(at))
        {
            *byte ^= 1;
        }
    }

    /// All of a whole bundle of a release.
    pub fn whole_bundle(&self, digest: &Digest) -> Option<&[u8]> {
        self.whole(&BundleId::release(*digest))
    }

    /// All of a whole sealed photo.
    pub fn whole_photo(&self, digest: &Digest) -> Option<&[u8]> {
        self.whole(&BundleId::photo(*digest))
    }

    fn whole(&self, id: &BundleId) -> Option<&[u8]> {
        self.bundles
            .get(id)
            .filter(|b| b.whole)
            .map(|b| b.data.as_slice())
    }

    /// Groups held of a release's bundle.
    pub fn groups_held(&self, digest: &Digest) -> u64 {
        self.bundles
            .get(&BundleId::release(*digest))
            .map_or(0, |b| b.groups.held())
    }

    /// Groups held of a sealed photo.
    pub fn photo_groups_held(&self, digest: &Digest) -> u64 {
        self.bundles
            .get(&BundleId::photo(*digest))
            .map_or(0, |b| b.groups.held())
    }

    fn bundle(&mut self, id: &BundleId) -> Result<&mut MemoryBundle, StoreError> {
        self.bundles
            .get_mut(id)
            .ok_or_else(|| StoreError::Other("a bundle that was never opened".into()))
    }
}

/// Which groups of a bundle are what they should be.
fn right_groups(bundle: &MemoryBundle) -> Groups {
    let count = tree::group_count(bundle.size);
    let mut groups = Groups::none(count);
    for (i, hash) in (0..count).zip(bundle.tree.as_chunks::<32>().0) {
        let start = (i * GROUP_BYTES) as usize;
        let group = bundle
            .data
            .get(start..start + tree::group_bytes(bundle.size, i) as usize);
        if bundle.groups.has(i)
            && group.is_some_and(|group| tree::group_hash(group, i, count) == *hash)
        {
            groups.set(i);
        }
    }
    always!(groups.held() <= bundle.groups.held());
    groups
}
