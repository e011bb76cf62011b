//! Envelopes and keys, in memory.

use super::*;
use crate::store::Aside;
use crate::store::EnvelopeStore;

impl EnvelopeStore for MemoryStore {
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

    fn evict(&mut self, id: &EnvelopeId) -> Result<(), StoreError> {
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

    fn put_quarantine(&mut self, id: &EnvelopeId, why: &Aside) -> Result<(), StoreError> {
        self.spend()?;
        self.quarantine.insert(*id, why.clone());
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

    fn quarantined(&self) -> Result<Vec<(EnvelopeId, Aside)>, StoreError> {
        Ok(self
            .quarantine
            .iter()
            .map(|(id, why)| (*id, why.clone()))
            .collect())
    }

    fn put_cursor(
        &mut self,
        device: &DeviceId,
        space: SpaceId,
        position: u64,
    ) -> Result<(), StoreError> {
        self.spend()?;
        self.steps.insert((*device, space), position);
        Ok(())
    }

    fn cursors(&self) -> Result<Vec<(DeviceId, SpaceId, u64)>, StoreError> {
        Ok(self
            .steps
            .iter()
            .map(|((device, space), position)| (*device, *space, *position))
            .collect())
    }
}
