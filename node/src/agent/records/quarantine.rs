//! What lies in an envelope that was set aside, for whoever decides on it.

use protocol::{CaseId, EnvelopeId};
use record::{Case, Entry, Stamp};
use sync::SpaceKey;
use sync::envelope::Contents;

use super::load;
use crate::agent::identity::Identity;
use crate::agent::spaces::Spaces;
use crate::store::{Store, StoreError};

/// What an envelope that is set aside would add, and to which case.
pub type Preview = (CaseId, Vec<(Stamp, Entry)>);

/// What lies in an envelope that is here and opens.
pub(super) fn contents_of(
    id: &EnvelopeId,
    spaces: &Spaces,
    own: &Identity,
    store: &dyn Store,
) -> Result<Option<Contents>, StoreError> {
    let Some(Ok(envelope)) = store.envelope(id)?.map(sync::Envelope::parse) else {
        return Ok(None);
    };
    let opens =
        |key: &&SpaceKey| key.epoch_tag() == envelope.epoch_tag && key.space() == envelope.space;
    let Some(key) = spaces.keys.iter().find(opens) else {
        return Ok(None);
    };
    let chains = spaces.authors(envelope.author, own, store)?;
    let mut verified = chains
        .iter()
        .filter_map(|(chain, _)| envelope.clone().verify(chain).ok());
    Ok(verified.next().and_then(|verified| verified.open(key).ok()))
}

/// What an envelope that is set aside would add, and to which case, once all others that are set
/// aside are in it too; `None` if it does not open here.
pub(in crate::agent) fn preview(
    id: &EnvelopeId,
    spaces: &Spaces,
    own: &Identity,
    store: &dyn Store,
) -> Result<Option<Preview>, StoreError> {
    let slices = |contents: &Contents| -> Vec<Vec<u8>> {
        contents.changes.iter().map(|c| c.to_vec()).collect()
    };
    let Some(contents) = contents_of(id, spaces, own, store)? else {
        return Ok(None);
    };
    let mut document = load(&contents.case, store)?.unwrap_or_else(|| Case::new(contents.case));
    for (other, _) in store.quarantined()? {
        if other == *id {
            continue;
        }
        let other = contents_of(&other, spaces, own, store)?;
        if let Some(other) = other.filter(|other| other.case == contents.case) {
            let _ = document.apply(&slices(&other)); // one that does not apply adds nothing
        }
    }
    let before = document.entries();
    let taken = document.apply(&slices(&contents));
    let added = document
        .entries()
        .into_iter()
        .filter(|entry| taken.is_ok() && !before.contains(entry));
    Ok(Some((contents.case, added.collect())))
}
