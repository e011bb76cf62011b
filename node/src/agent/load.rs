//! What a phone remembers, read back from its store.

use std::collections::{BTreeMap, BTreeSet};

use distribution::{Activation, TrustedState};
use protocol::{Chain, Digest, VerifiedChain, codec};

use super::{Phone, setting};
use crate::store::{Store, StoreError};

pub(super) fn load_activations(store: &dyn Store) -> Result<BTreeMap<String, Activation>, StoreError> {
    let Some(bytes) = store.setting(setting::ACTIVATIONS)? else { return Ok(BTreeMap::new()) };
    codec::decode("activations", &bytes).map_err(|e| StoreError::Damaged(e.to_string()))
}

pub(super) fn load_number(key: &str, store: &dyn Store) -> Result<u64, StoreError> {
    Ok(store.setting(key)?.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes))
}

/// A quota; none was set: no limit.
pub(super) fn load_quota(key: &str, store: &dyn Store) -> Result<u64, StoreError> {
    Ok(Some(load_number(key, store)?).filter(|bytes| *bytes > 0).unwrap_or(u64::MAX))
}

pub(super) fn load_bad_deltas(store: &dyn Store) -> Result<BTreeSet<Digest>, StoreError> {
    let kept = store.setting(setting::BAD_DELTAS)?.unwrap_or_default();
    Ok(kept.as_chunks::<32>().0.iter().map(|digest| Digest(*digest)).collect())
}

/// Walks the stored documents through the same rules as those from a peer: the store is only a file.
pub(super) fn load_trust(store: &dyn Store) -> Result<Option<TrustedState>, StoreError> {
    TrustedState::restore(&store.trust_records()?).map_err(|e| StoreError::Damaged(format!("stored trust: {e}")))
}

pub(super) fn load_certificate(phone: &Phone, store: &dyn Store) -> Result<Option<VerifiedChain>, StoreError> {
    let Some(bytes) = store.setting(setting::CHAIN)? else { return Ok(None) };
    let chain = Chain::from_bytes(&bytes).map_err(|e| StoreError::Damaged(e.to_string()))?;
    Ok(phone.judge_met(&chain).and_then(Result::ok))
}
