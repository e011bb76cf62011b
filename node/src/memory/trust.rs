//! Settings, documents, certificates, receipts and peers, in memory.

use super::*;
use crate::store::{Family, Setting, TrustStore};

impl TrustStore for MemoryStore {
    fn setting(&self, key: &Setting) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.settings.get(key.as_str()).cloned())
    }

    fn settings(&self, family: &Family) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let prefix = family.as_str();
        let from = self.settings.range(prefix.to_owned()..);
        Ok(from
            .map_while(|(key, v)| Some((key.strip_prefix(prefix)?.to_owned(), v.clone())))
            .collect())
    }

    fn put_setting(&mut self, key: &Setting, value: &[u8]) -> Result<(), StoreError> {
        self.spend()?;
        self.settings
            .insert(key.as_str().to_owned(), value.to_vec());
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
