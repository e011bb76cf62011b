//! A store in memory, for the simulator and for tests. It keeps to the same promises as the real one; a transaction is
//! taken back by putting the clone made before it in its place.

use std::collections::BTreeMap;

use distribution::bundle::Groups;
use distribution::{TrustRecords, tree};
use protocol::limits::{CHAINS_PER_DEVICE_MAX, GROUP_BYTES, RECEIPTS_HELD_MAX};
use protocol::signed::Verified;
use protocol::{Area, CaseId, CaseTag, DeviceId, Digest, EnvelopeId, SpaceId, VerifiedChain};
use sync::envelope::{AuthorKey, author_key};
use sync::receipt::SealedReceipt;
use sync::{EnvelopeKind, SpaceKey, Urgency, VerifiedEnvelope};

use crate::store::{BundleRow, CaseRow, EnvelopeRow, PeerRow, SpaceRow, Store, StoreError};

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
    trust: Vec<(String, Vec<u8>)>,
    chains: BTreeMap<DeviceId, Vec<Vec<u8>>>,
    keys: Vec<SpaceKey>,
    envelopes: BTreeMap<EnvelopeId, MemoryEnvelope>,
    next_position: u64,
    order: BTreeMap<SpaceId, (Area, Vec<EnvelopeId>)>,
    quarantine: BTreeMap<EnvelopeId, String>,
    cases: BTreeMap<CaseId, (CaseRow, Vec<u8>)>,
    bundles: BTreeMap<Digest, MemoryBundle>,
    peers: BTreeMap<DeviceId, PeerRow>,
    receipts: BTreeMap<DeviceId, (u64, Vec<u8>)>,
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

    /// Puts a whole bundle in, as a publisher does; returns its digest.
    pub fn import_bundle(&mut self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let size = bytes.len() as u64;
        let bundle = MemoryBundle {
            size,
            tree: tree::tree_list(bytes),
            data: bytes.to_vec(),
            groups: Groups::all(tree::group_count(size)),
            whole: true,
        };
        self.bundles.insert(digest, bundle);
        digest
    }

    /// All of a whole bundle.
    pub fn whole_bundle(&self, digest: &Digest) -> Option<&[u8]> {
        self.bundles.get(digest).filter(|b| b.whole).map(|b| b.data.as_slice())
    }

    /// Groups held of a bundle.
    pub fn groups_held(&self, digest: &Digest) -> u64 {
        self.bundles.get(digest).map_or(0, |b| b.groups.held())
    }

    fn bundle(&mut self, digest: &Digest) -> Result<&mut MemoryBundle, StoreError> {
        self.bundles.get_mut(digest).ok_or_else(|| StoreError::Other("a bundle that was never opened".into()))
    }
}

impl Store for MemoryStore {
    fn setting(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.settings.get(key).cloned())
    }

    fn settings(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let from = self.settings.range(prefix.to_owned()..);
        Ok(from.take_while(|(key, _)| key.starts_with(prefix)).map(|(k, v)| (k.clone(), v.clone())).collect())
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
        self.trust = records.iter().map(|(kind, bytes)| (kind.to_owned(), bytes.to_vec())).collect();
        Ok(())
    }

    fn chains(&self, author: AuthorKey) -> Result<Vec<Vec<u8>>, StoreError> {
        Ok(self.chains.iter().filter(|(device, _)| author_key(device) == author).flat_map(|(_, c)| c.clone()).collect())
    }

    fn put_chain(&mut self, chain: &VerifiedChain) -> Result<(), StoreError> {
        self.spend()?;
        let (bytes, held) = (chain.chain().to_bytes(), self.chains.entry(chain.device).or_default());
        if !held.contains(&bytes) {
            held.push(bytes);
        }
        while held.len() > CHAINS_PER_DEVICE_MAX {
            held.remove(0);
        }
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
        let bytes = |ids: &[EnvelopeId]| ids.iter().filter_map(|id| self.envelopes.get(id)).map(|e| e.row.bytes).sum();
        let row = |(space, (area, ids)): (&SpaceId, &(Area, Vec<EnvelopeId>))| SpaceRow {
            space: *space,
            area: area.clone(),
            envelopes: ids.len() as u64,
            bytes: bytes(ids),
        };
        Ok(self.order.iter().map(row).collect())
    }

    fn envelope_ids(&self, space: SpaceId) -> Result<Vec<(EnvelopeId, Urgency)>, StoreError> {
        let ids = self.order.get(&space).map(|(_, ids)| ids.as_slice()).unwrap_or_default();
        Ok(ids.iter().filter_map(|id| self.envelopes.get(id).map(|e| (*id, e.urgency))).collect())
    }

    fn envelope(&self, id: &EnvelopeId) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.envelopes.get(id).and_then(|e| e.bytes.clone()))
    }

    fn put_envelope(&mut self, envelope: &VerifiedEnvelope, area: &Area) -> Result<bool, StoreError> {
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
        self.order.entry(envelope.space).or_insert_with(|| (area.clone(), Vec::new())).1.push(envelope.id);
        Ok(true)
    }

    fn case_envelopes(&self, space: SpaceId, tag: CaseTag) -> Result<Vec<EnvelopeRow>, StoreError> {
        let ids = self.order.get(&space).map(|(_, ids)| ids.as_slice()).unwrap_or_default();
        let of_case = ids.iter().filter_map(|id| self.envelopes.get(id)).filter(|e| !e.notice && e.tag == tag);
        Ok(of_case.map(|e| e.row.clone()).collect())
    }

    fn envelope_rows(&self, space: SpaceId) -> Result<Vec<EnvelopeRow>, StoreError> {
        let ids = self.order.get(&space).map(|(_, ids)| ids.as_slice()).unwrap_or_default();
        let sealed = ids.iter().filter_map(|id| self.envelopes.get(id)).filter(|e| !e.notice);
        Ok(sealed.map(|e| e.row.clone()).collect())
    }

    fn last_position(&self, space: SpaceId) -> Result<u64, StoreError> {
        let ids = self.order.get(&space).map(|(_, ids)| ids.as_slice()).unwrap_or_default();
        Ok(ids.iter().filter_map(|id| self.envelopes.get(id)).map(|e| e.row.position).max().unwrap_or(0))
    }

    fn notices(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut notices: Vec<_> = self.envelopes.values().filter(|e| e.notice).collect();
        notices.sort_by_key(|e| e.row.position);
        Ok(notices.into_iter().filter_map(|e| e.bytes.clone()).collect())
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
        self.order.values_mut().for_each(|(_, ids)| ids.retain(|held| held != id));
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
        Ok(self.quarantine.iter().map(|(id, why)| (*id, why.clone())).collect())
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
        Ok(self.unsent.iter().map(|(case, change, _)| (*case, change.clone())).collect())
    }

    fn unsent_of(&self, case: &CaseId) -> Result<Vec<(Vec<u8>, bool)>, StoreError> {
        let of_case = self.unsent.iter().filter(|(held, ..)| held == case);
        Ok(of_case.map(|(_, change, withdraws)| (change.clone(), *withdraws)).collect())
    }

    fn put_unsent(&mut self, case: &CaseId, change: &[u8], withdraws: bool) -> Result<(), StoreError> {
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

    fn put_step(&mut self, device: &DeviceId, space: SpaceId, position: u64) -> Result<(), StoreError> {
        self.spend()?;
        self.steps.insert((*device, space), position);
        Ok(())
    }

    fn steps(&self) -> Result<Vec<(DeviceId, SpaceId, u64)>, StoreError> {
        Ok(self.steps.iter().map(|((device, space), position)| (*device, *space, *position)).collect())
    }

    fn bundles(&self) -> Result<Vec<BundleRow>, StoreError> {
        let row = |(digest, b): (&Digest, &MemoryBundle)| BundleRow { digest: *digest, bytes: b.size, whole: b.whole };
        Ok(self.bundles.iter().map(row).collect())
    }

    fn open_bundle(&mut self, digest: &Digest, bytes: u64) -> Result<(Vec<u8>, Groups), StoreError> {
        let bundle = self.bundles.entry(*digest).or_insert_with(|| MemoryBundle {
            size: bytes,
            groups: Groups::none(tree::group_count(bytes)),
            ..MemoryBundle::default()
        });
        Ok((bundle.tree.clone(), bundle.groups.clone()))
    }

    fn put_tree(&mut self, digest: &Digest, tree: &[u8]) -> Result<(), StoreError> {
        self.spend()?;
        self.bundle(digest)?.tree = tree.to_vec();
        Ok(())
    }

    fn write_groups(&mut self, digest: &Digest, first: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.spend()?;
        let bundle = self.bundle(digest)?;
        let start = (first * GROUP_BYTES) as usize;
        let size = bundle.size as usize;
        bundle.data.resize(size, 0);
        let room = bundle.data.get_mut(start..start + bytes.len());
        room.ok_or_else(|| StoreError::Other("groups outside their bundle".into()))?.copy_from_slice(bytes);
        let count = tree::group_count(bytes.len() as u64);
        (first..first + count).for_each(|i| bundle.groups.set(i));
        Ok(())
    }

    fn read_groups(&mut self, digest: &Digest, first: u64, count: u64) -> Result<Vec<u8>, StoreError> {
        let bundle = self.bundle(digest)?;
        let start = ((first * GROUP_BYTES) as usize).min(bundle.data.len());
        let end = (((first + count) * GROUP_BYTES) as usize).min(bundle.data.len());
        Ok(bundle.data.get(start..end).unwrap_or_default().to_vec())
    }

    fn finish_bundle(&mut self, digest: &Digest) -> Result<bool, StoreError> {
        let bundle = self.bundle(digest)?;
        bundle.whole = Digest::of(&bundle.data) == *digest;
        let whole = bundle.whole;
        if !whole {
            self.bundles.remove(digest);
        }
        Ok(whole)
    }

    fn remove_bundle(&mut self, digest: &Digest) -> Result<(), StoreError> {
        self.bundles.remove(digest);
        Ok(())
    }

    fn receipts(&self) -> Result<Vec<(DeviceId, u64, Vec<u8>)>, StoreError> {
        Ok(self.receipts.iter().map(|(device, (number, bytes))| (*device, *number, bytes.clone())).collect())
    }

    fn put_receipt(&mut self, receipt: &Verified<SealedReceipt>) -> Result<(), StoreError> {
        self.spend()?;
        if self.receipts.len() >= RECEIPTS_HELD_MAX && !self.receipts.contains_key(&receipt.device) {
            self.receipts.pop_first();
        }
        self.receipts.insert(receipt.device, (receipt.sequence, receipt.signed().to_bytes()));
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
