//! Which cases are one patient's. A person says it in one case, and it counts for both: what was said
//! in the other of consent, photos and danger holds here too. So each link is kept under the case
//! that it names, beside the document that says it.

use std::collections::BTreeSet;

use clinical::FindingValue;
use protocol::defence::{self, Defence};
use protocol::limits::SAME_CASES_MAX;
use protocol::{CaseId, always};
use record::{Case, CaseError, CaseView};

use crate::store::{Family, Setting, Store, StoreError};

/// The cases in which a person has said that this one is the same patient's, as far as whoever writes
/// there may write here too: in the same area, or above it. Else who writes in a village alone would
/// have a say in a case of the post above.
pub(crate) fn named_by(case: CaseId, store: &dyn Store) -> Result<Vec<CaseId>, StoreError> {
    if !defence::stands(Defence::LinksBothWays) {
        return Ok(Vec::new());
    }
    let Some(own) = store.case_row(&case)? else {
        return Ok(Vec::new());
    };
    let kept = store.settings(&Family::links_to(&case))?.into_iter();
    let kept = kept.filter(|(_, value)| !value.is_empty());
    let mut named = Vec::new();
    for by in kept.filter_map(|(by, _)| by.parse().ok()) {
        if store
            .case_row(&by)?
            .is_some_and(|row| row.area.covers(&own.area))
        {
            named.push(by);
        }
    }
    Ok(named)
}

/// The cases of which some other says that it is the same patient's, and those that say it.
pub(crate) fn linked(store: &dyn Store) -> Result<BTreeSet<CaseId>, StoreError> {
    let kept = store.settings(&Family::links())?.into_iter();
    let kept = kept.filter(|(_, value)| !value.is_empty());
    let mut linked = BTreeSet::new();
    for (between, _) in kept {
        linked.extend(
            between
                .split('/')
                .filter_map(|case| case.parse::<CaseId>().ok()),
        );
    }
    Ok(linked)
}

/// Keeps what a case says of others under those others. Those of which it says no more, and did
/// before, that they are the same patient's.
pub(super) fn put_links(view: &CaseView, store: &mut dyn Store) -> Result<Vec<CaseId>, StoreError> {
    let mut undone = Vec::new();
    for (other, said) in &view.links {
        let kept: &[u8] = match said.value {
            FindingValue::Yes => &[1],
            FindingValue::No
            | FindingValue::Unknown
            | FindingValue::Number(_)
            | FindingValue::Text(_) => &[],
        };
        let key = Setting::link(other, &view.id);
        if store.setting(&key)?.unwrap_or_default() != kept {
            store.put_setting(&key, kept)?;
            undone.extend(kept.is_empty().then_some(*other));
        }
    }
    Ok(undone)
}

/// A case is gone: so is what it said of others. What they say of it stands with them, for it may
/// come again under another key.
pub(super) fn forget_links(case: &Case, store: &mut dyn Store) -> Result<(), StoreError> {
    let mut said = case.view().links.into_keys();
    said.try_for_each(|other| store.put_setting(&Setting::link(&other, &case.id()), &[]))
}

/// Keeps the links of all cases, once: those of a phone of before they were kept are only in its
/// documents. What cannot be read says nothing.
pub(super) fn keep_links_of_before(store: &mut dyn Store) -> Result<(), StoreError> {
    if store
        .setting(&Setting::links_kept())?
        .is_some_and(|kept| !kept.is_empty())
    {
        return Ok(());
    }
    for row in store.cases()? {
        let document = store.case(&row.id)?;
        if let Some(Ok(case)) = document.map(|bytes| Case::load(row.id, &bytes)) {
            put_links(&case.view(), store)?;
        }
    }
    store.put_setting(&Setting::links_kept(), &[1])
}

/// A case, and those that are the same patient's; nothing if it is not here.
pub(super) fn load_same(case: &CaseId, store: &dyn Store) -> Result<Vec<Case>, StoreError> {
    let Some(own) = load(case, store)? else {
        return Ok(Vec::new());
    };
    let cases = own.and_same(|other| load(&other, store), |this| named_by(this, store))?;
    always!(cases.len() <= SAME_CASES_MAX);
    always!(cases.first().is_some_and(|own| own.id() == *case));
    Ok(cases)
}

pub(super) fn load(case: &CaseId, store: &dyn Store) -> Result<Option<Case>, StoreError> {
    let Some(bytes) = store.case(case)? else {
        return Ok(None);
    };
    let damaged = |e: CaseError| StoreError::Damaged(format!("case {}: {e}", case.short()));
    Case::load(*case, &bytes).map(Some).map_err(damaged)
}
