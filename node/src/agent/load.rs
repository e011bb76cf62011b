//! What a phone remembers, read back from its store.

use std::collections::{BTreeMap, BTreeSet};

use distribution::{Activation, TrustedState};
use protocol::{BundleId, BundleKind, Chain, Digest, VerifiedChain, codec};
use sync::envelope::author_key;

use super::identity::Identity;
use super::spaces::Spaces;
use crate::store::{Setting, Store, StoreError};

/// What runs. A damaged word of it is set aside: the rules that are built in stand, and what is
/// meant to run is tried anew.
pub(super) fn load_activations(
    store: &dyn Store,
    aside: &mut Vec<String>,
) -> Result<BTreeMap<String, Activation>, StoreError> {
    let Some(bytes) = store.setting(&Setting::activations())? else {
        return Ok(BTreeMap::new());
    };
    let read = codec::decode("activations", &bytes);
    let mut read: BTreeMap<String, Activation> = read.unwrap_or_else(|error| {
        aside.push(format!("what was noted of active releases: {error}"));
        BTreeMap::new()
    });
    read.values_mut().for_each(Activation::started);
    Ok(read)
}

pub(super) fn load_number(key: &Setting, store: &dyn Store) -> Result<u64, StoreError> {
    Ok(store
        .setting(key)?
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u64::from_le_bytes))
}

/// A quota; none was set: no limit.
pub(super) fn load_quota(key: &Setting, store: &dyn Store) -> Result<u64, StoreError> {
    Ok(Some(load_number(key, store)?)
        .filter(|bytes| *bytes > 0)
        .unwrap_or(u64::MAX))
}

pub(super) fn load_bad_deltas(store: &dyn Store) -> Result<BTreeSet<Digest>, StoreError> {
    let kept = store.setting(&Setting::bad_deltas())?.unwrap_or_default();
    Ok(kept
        .as_chunks::<32>()
        .0
        .iter()
        .map(|digest| Digest(*digest))
        .collect())
}

/// Where looking over the disk goes on: kind 1 · digest 32 · group 8 (little-endian). Of what cannot be read,
/// from the beginning.
pub(super) fn load_scrubbed(store: &dyn Store) -> Result<(Option<BundleId>, u64), StoreError> {
    let kept = store.setting(&Setting::scrubbed())?.unwrap_or_default();
    let read = kept.split_first().and_then(|(kind, rest)| {
        let (digest, group) = rest.split_first_chunk::<32>()?;
        let digest = Digest(*digest);
        let id = match *kind == BundleKind::Photo as u8 {
            true => BundleId::photo(digest),
            false => BundleId::release(digest),
        };
        Some((Some(id), u64::from_le_bytes(group.try_into().ok()?)))
    });
    Ok(read.unwrap_or_default())
}

/// The same as it is kept.
pub(super) fn scrubbed_bytes(id: BundleId, group: u64) -> Vec<u8> {
    let digest = id.digest.as_bytes();
    [&[id.kind as u8][..], digest, &group.to_le_bytes()].concat()
}

/// Walks the stored documents through the same rules as those from a peer: the store is only a
/// file. What does not hold any more is set aside, and comes again from the next phone.
pub(super) fn load_trust(
    store: &dyn Store,
    aside: &mut Vec<String>,
) -> Result<Option<TrustedState>, StoreError> {
    let (trust, errors) = TrustedState::restore_what_holds(&store.trust_records()?);
    aside.extend(
        errors
            .into_iter()
            .map(|error| format!("a stored document of the ministry's: {error}")),
    );
    Ok(trust)
}

/// This phone's own certificates: those that were installed or, where they count no more, any
/// others of its own that do.
pub(super) fn load_certificate(
    own: &Identity,
    spaces: &Spaces,
    store: &dyn Store,
) -> Result<Option<VerifiedChain>, StoreError> {
    let installed = store
        .setting(&Setting::chain())?
        .and_then(|bytes| Chain::from_bytes(&bytes).ok());
    let Some(installed) = installed else {
        return Ok(None);
    };
    if let Some(Ok(verified)) = spaces.judge_met(&installed, own) {
        return Ok(Some(verified));
    }
    let id = own.id();
    let others = store
        .chains(author_key(&id))?
        .into_iter()
        .rev()
        .filter_map(|bytes| Chain::from_bytes(&bytes).ok());
    let judged = others.filter_map(|chain| spaces.judge_met(&chain, own)?.ok());
    Ok(judged.into_iter().find(|verified| verified.device == id))
}
