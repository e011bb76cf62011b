//! Whose certificates are believed, which of them are kept, and who is lost.

use std::collections::{BTreeMap, BTreeSet};

use protocol::certificate::CertificateError;
use protocol::defence::{self, Defence};
use protocol::limits::{CHAINS_PER_DEVICE_MAX, CHAINS_PER_ISSUER_MAX, DEVICES_PER_ISSUER_MAX};
use protocol::{Area, Chain, DeviceId, VerifiedChain};
use sync::envelope::{AuthorKey, author_key};

use super::{Identity, Revocation, Spaces};
use crate::store::{Store, StoreError};

impl Spaces {
    /// Believes a chain if it holds, and neither the ministry nor a keeper of the area has said
    /// that a phone in it is lost.
    pub(in crate::agent) fn judge(
        &self,
        chain: &Chain,
        own: &Identity,
    ) -> Option<Result<VerifiedChain, CertificateError>> {
        let trust = own.trust.as_ref()?;
        let verified = match own.verify_chain(chain)? {
            Ok(verified) => verified,
            Err(error) => return Some(Err(error)),
        };
        for (position, certificate) in (1..).zip(&chain.certificates) {
            let Ok(certificate) = certificate.read() else {
                continue;
            };
            let counts = |word: &&Revocation| {
                let by_whom = trust.revoked(&word.by).is_none() && word.by != certificate.device;
                by_whom && word.area.covers(&certificate.area)
            };
            if let Some(word) = self
                .lost
                .get(&certificate.device)
                .and_then(|s| s.iter().find(counts))
            {
                return Some(Err(CertificateError::Revoked {
                    position,
                    reason: word.reason.clone(),
                }));
            }
        }
        Some(Ok(verified))
    }

    /// The same for a phone that is met, or for this one itself: one whose time is over may still
    /// hand over what it has.
    pub(in crate::agent) fn judge_met(
        &self,
        chain: &Chain,
        own: &Identity,
    ) -> Option<Result<VerifiedChain, CertificateError>> {
        match self.judge(chain, own)? {
            Err(CertificateError::Expired(position)) => {
                let known = own.trust.as_ref()?.chain_even_if_revoked(chain);
                Some(known.ok_or(CertificateError::Expired(position)))
            }
            other => Some(other),
        }
    }

    /// Whether a phone is lost, as far as this one knows. Who is not known at all is not lost.
    pub(in crate::agent) fn is_revoked(&self, device: &DeviceId, own: &Identity) -> bool {
        let Some(trust) = &own.trust else {
            return false;
        };
        let counts = |word: &Revocation| {
            trust.revoked(&word.by).is_none() && word.by != *device && self.covers(device, word)
        };
        trust.revoked(device).is_some()
            || self.orphaned.contains(device)
            || self
                .lost
                .get(device)
                .is_some_and(|said| said.iter().any(counts))
    }

    /// Keeps a chain that has been judged, within the budgets of its device and of its issuer: an
    /// issuer takes the place only of what it issued itself, and a chain under which something here
    /// was written stays.
    pub(in crate::agent) fn keep_chain(
        &mut self,
        chain: &VerifiedChain,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        let rows = store.chain_rows(&chain.device)?;
        if rows.iter().any(|row| row.id == chain.id()) {
            return Ok(()); // most meetings show what is known: no write for that
        }
        if !defence::stands(Defence::ChainIdentity) {
            if let Some(oldest) = rows.first().filter(|_| rows.len() >= 8) {
                store.remove_chain(&oldest.id)?;
            }
            return store.put_chain(chain);
        }
        let issuer = chain.chain().issuer();
        let mut of_issuer: BTreeMap<Option<DeviceId>, Vec<&crate::store::ChainRow>> =
            BTreeMap::new();
        rows.iter()
            .for_each(|row| of_issuer.entry(row.issuer).or_default().push(row));
        let crowded = match of_issuer.get(&issuer) {
            Some(own) if own.len() >= CHAINS_PER_ISSUER_MAX => Some(own.clone()),
            _ if rows.len() >= CHAINS_PER_DEVICE_MAX => {
                of_issuer.into_values().max_by_key(Vec::len)
            }
            _ => None,
        };
        if let Some(crowded) = crowded {
            let Some(oldest) = crowded.into_iter().find(|row| !row.used) else {
                return Ok(());
            };
            store.remove_chain(&oldest.id)?;
        }
        if let Some(issuer) =
            issuer.filter(|_| rows.is_empty() && defence::stands(Defence::IssuerBudgets))
            && store.devices_of(&issuer)? >= DEVICES_PER_ISSUER_MAX as u64
        {
            let Some(oldest) = store.oldest_unused_of(&issuer)? else {
                return Ok(());
            };
            store.remove_chain(&oldest)?;
        }
        store.put_chain(chain)?;
        if self.lost.contains_key(&chain.device) {
            // What was said of it may count now.
            self.revoked_areas
                .entry(chain.device)
                .or_default()
                .insert(chain.area.clone());
            self.unchecked = true;
        }
        Ok(())
    }

    /// Everyone with this short name whose certificates hold, and whether they are lost.
    pub(in crate::agent) fn authors(
        &self,
        author: AuthorKey,
        own: &Identity,
        store: &dyn Store,
    ) -> Result<Vec<(VerifiedChain, bool)>, StoreError> {
        let Some(trust) = &own.trust else {
            return Ok(Vec::new());
        };
        let chains = store
            .chains(author)?
            .into_iter()
            .filter_map(|bytes| Chain::from_bytes(&bytes).ok());
        let judged = chains.filter_map(|chain| match self.judge(&chain, own)? {
            Ok(verified) => Some((verified, false)),
            Err(CertificateError::Revoked { .. }) => {
                Some((trust.chain_even_if_revoked(&chain)?, true))
            }
            // When it was written nobody can tell: expiry ends what a phone is given, not what it
            // has said.
            Err(CertificateError::Expired(_)) => {
                Some((trust.chain_even_if_revoked(&chain)?, false))
            }
            Err(_) => None,
        });
        Ok(judged.collect())
    }

    /// Certificates of a device that hold, the newest.
    pub(in crate::agent) fn chain_of(
        &self,
        device: &DeviceId,
        own: &Identity,
        store: &dyn Store,
    ) -> Result<Option<VerifiedChain>, StoreError> {
        let chains = store.chains(author_key(device))?.into_iter().rev();
        let judge = |bytes: Vec<u8>| self.judge_met(&Chain::from_bytes(&bytes).ok()?, own)?.ok();
        let mut of_device = chains
            .filter_map(judge)
            .filter(|chain| chain.device == *device);
        Ok(of_device.next())
    }
}

/// Where a device is certified, as far as its certificates are known here.
pub(super) fn areas_of(device: &DeviceId, store: &dyn Store) -> Result<BTreeSet<Area>, StoreError> {
    let chains = store.chains(author_key(device))?;
    let leaves = chains.iter().filter_map(|bytes| {
        Chain::from_bytes(bytes)
            .ok()?
            .certificates
            .last()?
            .read()
            .ok()
    });
    Ok(leaves
        .filter(|leaf| leaf.device == *device)
        .map(|leaf| leaf.area)
        .collect())
}
