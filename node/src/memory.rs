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
};
use sync::envelope::{AuthorKey, author_key};
use sync::receipt::SealedReceipt;
use sync::{EnvelopeKind, SpaceKey, VerifiedEnvelope};

use crate::store::{
    AuthorUsage, BundleRow, CaseRow, ChainRow, EnvelopeRow, PeerRow, SpaceRow, Store, StoreError,
};

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
    trust: Vec<(String, Vec<u8>)>,
    chains: BTreeMap<DeviceId, Vec<(ChainRow, Vec<u8>)>>,
    attempts: BTreeMap<EnvelopeId, u8>,
    keys: Vec<SpaceKey>,
    envelopes: BTreeMap<EnvelopeId, MemoryEnvelope>,
    next_position: u64,
    order: BTreeMap<SpaceId, (Area, Vec<EnvelopeId>)>,
    quarantine: BTreeMap<EnvelopeId, String>,
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

impl Store for MemoryStore {
    fn setting(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.settings.get(key).cloned())
    }

    fn visit(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.visit.clone())
    }

    fn put_visit(&mut self, visit: Option<&[u8]>) -> Result<(), StoreError> {
        self.spend()?;
        self.visit = visit.map(<[u8]>::to_vec);
        Ok(())
    }

    fn settings(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let from = self.settings.range(prefix.to_owned()..);
        Ok(from
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect())
    }

    fn put_setting(&mut self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.spend()?;
        self.settings.insert(key.to_owned(), value.to_vec());
        Ok(())
    }

    fn trust_records(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        Ok(self.trust.clone())
    }

    fn put_trust_records(&mut self, records: &TrustRecords) -> Result<(), StoreError> {
        self.spend()?;
        self.trust = records
            .iter()
            .map(|(kind, bytes)| (kind.to_owned(), bytes.to_vec()))
            .collect();
        Ok(())
    }

    fn chains(&self, author: AuthorKey) -> Result<Vec<Vec<u8>>, StoreError> {
        let of = self
            .chains
            .iter()
            .filter(|(device, _)| author_key(device) == author);
        Ok(of
            .flat_map(|(_, chains)| chains.iter().map(|(_, bytes)| bytes.clone()))
            .collect())
    }

    fn every_chain(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        Ok(self
            .chains
            .values()
            .flatten()
            .map(|(_, bytes)| bytes.clone())
            .collect())
    }

    fn chain_rows(&self, device: &DeviceId) -> Result<Vec<ChainRow>, StoreError> {
        Ok(self
            .chains
            .get(device)
            .into_iter()
            .flatten()
            .map(|(row, _)| row.clone())
            .collect())
    }

    fn devices_of(&self, issuer: &DeviceId) -> Result<u64, StoreError> {
        let certified = |chains: &&Vec<(ChainRow, Vec<u8>)>| {
            chains.iter().any(|(row, _)| row.issuer == Some(*issuer))
        };
        Ok(self.chains.values().filter(certified).count() as u64)
    }

    fn oldest_unused_of(&self, issuer: &DeviceId) -> Result<Option<ChainId>, StoreError> {
        let unused = |(row, _): &&(ChainRow, Vec<u8>)| !row.used && row.issuer == Some(*issuer);
        Ok(self
            .chains
            .values()
            .flatten()
            .find(unused)
            .map(|(row, _)| row.id))
    }

    fn put_chain(&mut self, chain: &VerifiedChain) -> Result<(), StoreError> {
        self.spend()?;
        let held = self.chains.entry(chain.device).or_default();
        if !held.iter().any(|(row, _)| row.id == chain.id()) {
            let row = ChainRow {
                id: chain.id(),
                issuer: chain.chain().issuer(),
                used: false,
            };
            held.push((row, chain.chain().to_bytes()));
        }
        Ok(())
    }

    fn use_chain(&mut self, chain: &ChainId) -> Result<(), StoreError> {
        let mut rows = self.chains.values_mut().flatten();
        if let Some((row, _)) = rows.find(|(row, _)| row.id == *chain) {
            row.used = true;
        }
        Ok(())
    }

    fn remove_chain(&mut self, chain: &ChainId) -> Result<(), StoreError> {
        self.spend()?;
        self.chains
            .values_mut()
            .for_each(|held| held.retain(|(row, _)| row.id != *chain));
        Ok(())
    }

    fn space_keys(&self) -> Result<Vec<SpaceKey>, StoreError> {
        Ok(self.keys.clone())
    }

    fn put_space_key(&mut self, key: &SpaceKey) -> Result<(), StoreError> {
        self.spend()?;
        if !self.keys.contains(key) {
            self.keys.push(key.clone());
        }
        Ok(())
    }

    fn remove_space_key(&mut self, key: &SpaceKey) -> Result<(), StoreError> {
        self.spend()?;
        self.keys.retain(|held| held != key);
        Ok(())
    }

    fn spaces(&self) -> Result<Vec<SpaceRow>, StoreError> {
        let bytes = |ids: &[EnvelopeId]| {
            ids.iter()
                .filter_map(|id| self.envelopes.get(id))
                .map(|e| e.row.bytes)
                .sum()
        };
        let row = |(space, (area, ids)): (&SpaceId, &(Area, Vec<EnvelopeId>))| SpaceRow {
            space: *space,
            area: area.clone(),
            envelopes: ids.len() as u64,
            bytes: bytes(ids),
        };
        Ok(self.order.iter().map(row).collect())
    }

    fn envelope_ids(&self, space: SpaceId) -> Result<Vec<(EnvelopeId, Urgency)>, StoreError> {
        let ids = self
            .order
            .get(&space)
            .map(|(_, ids)| ids.as_slice())
            .unwrap_or_default();
        Ok(ids
            .iter()
            .filter_map(|id| self.envelopes.get(id).map(|e| (*id, e.urgency)))
            .collect())
    }

    fn envelope(&self, id: &EnvelopeId) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.envelopes.get(id).and_then(|e| e.bytes.clone()))
    }

    fn put_envelope(
        &mut self,
        envelope: &VerifiedEnvelope,
        area: &Area,
    ) -> Result<bool, StoreError> {
        self.spend()?;
        if self.envelopes.contains_key(&envelope.id) {
            return Ok(false);
        }
        self.next_position += 1;
        let row = EnvelopeRow {
            id: envelope.id,
            position: self.next_position,
            author: envelope.author,
            epoch: envelope.epoch_tag,
            bytes: envelope.bytes().len() as u64,
        };
        let kept = MemoryEnvelope {
            row,
            tag: envelope.case_tag,
            notice: envelope.kind == EnvelopeKind::Notice,
            urgency: envelope.urgency,
            bytes: Some(envelope.bytes().to_vec()),
        };
        self.envelopes.insert(envelope.id, kept);
        self.order
            .entry(envelope.space)
            .or_insert_with(|| (area.clone(), Vec::new()))
            .1
            .push(envelope.id);
        Ok(true)
    }

    fn case_envelopes(&self, space: SpaceId, tag: CaseTag) -> Result<Vec<EnvelopeRow>, StoreError> {
        let ids = self
            .order
            .get(&space)
            .map(|(_, ids)| ids.as_slice())
            .unwrap_or_default();
        let of_case = ids
            .iter()
            .filter_map(|id| self.envelopes.get(id))
            .filter(|e| !e.notice && e.tag == tag);
        Ok(of_case.map(|e| e.row.clone()).collect())
    }

    fn envelope_rows(&self, space: SpaceId) -> Result<Vec<EnvelopeRow>, StoreError> {
        let ids = self
            .order
            .get(&space)
            .map(|(_, ids)| ids.as_slice())
            .unwrap_or_default();
        let sealed = ids
            .iter()
            .filter_map(|id| self.envelopes.get(id))
            .filter(|e| !e.notice);
        Ok(sealed.map(|e| e.row.clone()).collect())
    }

    fn last_position(&self, space: SpaceId) -> Result<u64, StoreError> {
        let ids = self
            .order
            .get(&space)
            .map(|(_, ids)| ids.as_slice())
            .unwrap_or_default();
        Ok(ids
            .iter()
            .filter_map(|id| self.envelopes.get(id))
            .map(|e| e.row.position)
            .max()
            .unwrap_or(0))
    }

    fn notices(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut notices: Vec<_> = self.envelopes.values().filter(|e| e.notice).collect();
        notices.sort_by_key(|e| e.row.position);
        Ok(notices
            .into_iter()
            .filter_map(|e| e.bytes.clone())
            .collect())
    }

    fn let_go(&mut self, id: &EnvelopeId) -> Result<(), StoreError> {
        self.spend()?;
        if let Some(envelope) = self.envelopes.get_mut(id) {
            envelope.bytes = None;
            envelope.row.bytes = 0;
        }
        Ok(())
    }

    fn remove_envelope(&mut self, id: &EnvelopeId) -> Result<(), StoreError> {
        self.spend()?;
        self.envelopes.remove(id);
        self.order
            .values_mut()
            .for_each(|(_, ids)| ids.retain(|held| held != id));
        Ok(())
    }

    fn usage_of(&self, author: AuthorKey) -> Result<AuthorUsage, StoreError> {
        let mut usage = AuthorUsage::default();
        for envelope in self.envelopes.values().filter(|e| e.row.author == author) {
            usage.envelopes += u64::from(!envelope.notice);
            usage.notices += u64::from(envelope.notice);
            usage.bytes += envelope.row.bytes;
            usage.quarantined += u64::from(self.quarantine.contains_key(&envelope.row.id));
        }
        Ok(usage)
    }

    fn attempts(&self) -> BTreeMap<EnvelopeId, u8> {
        self.attempts.clone()
    }

    fn put_attempts(&mut self, attempts: &BTreeMap<EnvelopeId, u8>) -> Result<(), StoreError> {
        self.attempts = attempts.clone();
        Ok(())
    }

    fn envelope_count(&self) -> Result<u64, StoreError> {
        Ok(self.envelopes.len() as u64)
    }

    fn put_quarantine(&mut self, id: &EnvelopeId, reason: &str) -> Result<(), StoreError> {
        self.spend()?;
        self.quarantine.insert(*id, reason.to_owned());
        Ok(())
    }

    fn remove_quarantine(&mut self, id: &EnvelopeId) -> Result<(), StoreError> {
        self.spend()?;
        self.quarantine.remove(id);
        Ok(())
    }

    fn quarantine_count(&self) -> Result<u64, StoreError> {
        Ok(self.quarantine.len() as u64)
    }

    fn quarantined(&self) -> Result<Vec<(EnvelopeId, String)>, StoreError> {
        Ok(self
            .quarantine
            .iter()
            .map(|(id, why)| (*id, why.clone()))
            .collect())
    }

    fn case(&self, id: &CaseId) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.cases.get(id).map(|(_, document)| document.clone()))
    }

    fn put_case(&mut self, row: &CaseRow, document: &[u8]) -> Result<(), StoreError> {
        self.spend()?;
        self.cases.insert(row.id, (row.clone(), document.to_vec()));
        Ok(())
    }

    fn cases(&self) -> Result<Vec<CaseRow>, StoreError> {
        let mut rows: Vec<_> = self.cases.values().map(|(row, _)| row.clone()).collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.changed_s));
        Ok(rows)
    }

    fn case_row(&self, id: &CaseId) -> Result<Option<CaseRow>, StoreError> {
        Ok(self.cases.get(id).map(|(row, _)| row.clone()))
    }

    fn remove_case(&mut self, id: &CaseId) -> Result<(), StoreError> {
        self.spend()?;
        self.cases.remove(id);
        Ok(())
    }

    fn unsent(&self) -> Result<Vec<(CaseId, Vec<u8>)>, StoreError> {
        Ok(self
            .unsent
            .iter()
            .map(|(case, change, _)| (*case, change.clone()))
            .collect())
    }

    fn unsent_of(&self, case: &CaseId) -> Result<Vec<(Vec<u8>, bool)>, StoreError> {
        let of_case = self.unsent.iter().filter(|(held, ..)| held == case);
        Ok(of_case
            .map(|(_, change, withdraws)| (change.clone(), *withdraws))
            .collect())
    }

    fn put_unsent(
        &mut self,
        case: &CaseId,
        change: &[u8],
        withdraws: bool,
    ) -> Result<(), StoreError> {
        self.spend()?;
        self.unsent.push((*case, change.to_vec(), withdraws));
        Ok(())
    }

    fn clear_unsent(&mut self, case: &CaseId, count: usize) -> Result<(), StoreError> {
        self.spend()?;
        let mut left = count;
        self.unsent.retain(|(held, ..)| {
            let goes = held == case && left > 0;
            left -= usize::from(goes);
            !goes
        });
        Ok(())
    }

    fn put_step(
        &mut self,
        device: &DeviceId,
        space: SpaceId,
        position: u64,
    ) -> Result<(), StoreError> {
        self.spend()?;
        self.steps.insert((*device, space), position);
        Ok(())
    }

    fn steps(&self) -> Result<Vec<(DeviceId, SpaceId, u64)>, StoreError> {
        Ok(self
            .steps
            .iter()
            .map(|((device, space), position)| (*device, *space, *position))
            .collect())
    }

    fn bundles(&self) -> Result<Vec<BundleRow>, StoreError> {
        let row = |(id, b): (&BundleId, &MemoryBundle)| BundleRow {
            id: *id,
            bytes: b.size,
            whole: b.whole,
        };
        Ok(self.bundles.iter().map(row).collect())
    }

    fn open_bundle(&mut self, id: &BundleId, bytes: u64) -> Result<(Vec<u8>, Groups), StoreError> {
        let count = tree::group_count(bytes);
        let Some(bundle) = self.bundles.get_mut(id) else {
            return Ok((Vec::new(), Groups::none(count)));
        };
        if bundle.size != bytes && !defence::stands(Defence::Namespaces) {
            return Err(StoreError::Damaged(format!(
                "bundle {} has another length",
                id.short()
            )));
        }
        if bundle.size != bytes || tree::digest_of_list(&bundle.tree, bytes) != Some(id.digest) {
            self.bundles.remove(id);
            return Ok((Vec::new(), Groups::none(count)));
        }
        if !bundle.whole {
            bundle.groups = right_groups(bundle);
        }
        Ok((bundle.tree.clone(), bundle.groups.clone()))
    }

    fn put_tree(&mut self, id: &BundleId, bytes: u64, tree: &[u8]) -> Result<(), StoreError> {
        self.spend()?;
        let begun = || MemoryBundle {
            size: bytes,
            groups: Groups::none(tree::group_count(bytes)),
            ..MemoryBundle::default()
        };
        self.bundles.entry(*id).or_insert_with(begun).tree = tree.to_vec();
        Ok(())
    }

    fn write_groups(&mut self, id: &BundleId, first: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.spend()?;
        let bundle = self.bundle(id)?;
        let start = (first * GROUP_BYTES) as usize;
        let size = bundle.size as usize;
        bundle.data.resize(size, 0);
        let room = bundle.data.get_mut(start..start + bytes.len());
        room.ok_or_else(|| StoreError::Other("groups outside their bundle".into()))?
            .copy_from_slice(bytes);
        let count = tree::group_count(bytes.len() as u64);
        (first..first + count).for_each(|i| bundle.groups.set(i));
        Ok(())
    }

    fn read_groups(
        &mut self,
        id: &BundleId,
        first: u64,
        count: u64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(bundle) = self.bundles.get(id) else {
            return Ok(None);
        };
        let start = ((first * GROUP_BYTES) as usize).min(bundle.data.len());
        let end = (((first + count) * GROUP_BYTES) as usize).min(bundle.data.len());
        Ok(bundle.data.get(start..end).map(<[u8]>::to_vec))
    }

    fn doubt_bundle(&mut self, id: &BundleId) -> Result<(), StoreError> {
        if let Some(bundle) = self.bundles.get_mut(id) {
            bundle.whole = false;
        }
        Ok(())
    }

    fn finish_bundle(&mut self, id: &BundleId) -> Result<bool, StoreError> {
        let bundle = self.bundle(id)?;
        bundle.whole = Digest::of(&bundle.data) == id.digest;
        let whole = bundle.whole;
        if !whole {
            self.bundles.remove(id);
        }
        Ok(whole)
    }

    fn remove_bundle(&mut self, id: &BundleId) -> Result<(), StoreError> {
        self.bundles.remove(id);
        Ok(())
    }

    fn receipts(&self) -> Result<Vec<(DeviceId, u64, Vec<u8>)>, StoreError> {
        Ok(self
            .receipts
            .iter()
            .map(|(device, (number, bytes, _))| (*device, *number, bytes.clone()))
            .collect())
    }

    fn receipts_of(&self, issuer: &DeviceId) -> Result<u64, StoreError> {
        Ok(self
            .receipts
            .values()
            .filter(|(.., by)| *by == Some(*issuer))
            .count() as u64)
    }

    fn put_receipt(
        &mut self,
        receipt: &Verified<SealedReceipt>,
        issuer: Option<DeviceId>,
        own: &DeviceId,
    ) -> Result<(), StoreError> {
        self.spend()?;
        if self.receipts.len() >= RECEIPTS_HELD_MAX && !self.receipts.contains_key(&receipt.device)
        {
            let oldest = self.receipts.keys().find(|device| *device != own).copied();
            oldest.map(|device| self.receipts.remove(&device));
        }
        self.receipts.insert(
            receipt.device,
            (receipt.sequence, receipt.signed().to_bytes(), issuer),
        );
        Ok(())
    }

    fn peer(&self, device: &DeviceId) -> Result<Option<PeerRow>, StoreError> {
        Ok(self.peers.get(device).cloned())
    }

    fn put_peer(&mut self, peer: &PeerRow) -> Result<(), StoreError> {
        self.spend()?;
        self.peers.insert(peer.device, peer.clone());
        Ok(())
    }

    fn peers(&self) -> Result<Vec<PeerRow>, StoreError> {
        Ok(self.peers.values().cloned().collect())
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
    groups
}
