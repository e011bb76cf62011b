//! Writing cases, sealing what may leave, and opening what has come.
//!
//! What is written is durable first, as a change that no envelope holds yet. It is sealed at once
//! if it may leave the phone: the patient has consented to share the case, and there is a key to
//! write with. If not, it waits, and nothing is lost.

use std::collections::{BTreeMap, BTreeSet};

use clinical::{FindingValue, Urgency};
use protocol::limits::ENVELOPE_PLAIN_BYTES_MAX;
use protocol::{Area, BundleId, BundleKind, CaseId, Digest, EnvelopeId, Now, SpaceId};
use record::{Case, CaseError, CaseView, Entry, Stamp};
use sync::envelope::{Contents, EnvelopeError, seal};
use sync::epoch::EpochTag;
use sync::notice::Attached;
use sync::{EnvelopeKind, Notice, VerifiedEnvelope};

use super::commands::{Answer, Reply, no};
use super::{Agent, Phone, setting};
use crate::api::consent::may_leave;
use crate::api::{Paper, Refusal};
use crate::store::{CaseRow, Store, StoreError};

/// What an envelope that is set aside would add, and to which case.
pub type Preview = (CaseId, Vec<(Stamp, Entry)>);

/// Bytes of one change, so that it always fits an envelope.
const CHANGE_BYTES_MAX: usize = ENVELOPE_PLAIN_BYTES_MAX / 32;

/// Set while a photo of this phone's lies here that no notice may have named yet.
pub(super) fn photo_setting(blob: &Digest) -> String {
    format!("{PHOTO}{blob}")
}

const PHOTO: &str = "photo/";

/// Photos that were taken on this phone.
pub(super) fn photos_taken_here(store: &dyn Store) -> Result<BTreeSet<Digest>, StoreError> {
    let kept = store
        .settings(PHOTO)?
        .into_iter()
        .filter(|(_, value)| !value.is_empty());
    Ok(kept
        .filter_map(|(key, _)| key.strip_prefix(PHOTO)?.parse().ok())
        .collect())
}

/// Set while a photo is passed on to nobody, because consent to it was withdrawn.
const WITHHELD: &str = "withheld/";

fn withheld_setting(blob: &Digest) -> String {
    format!("{WITHHELD}{blob}")
}

/// Photos that are passed on to nobody.
pub(super) fn load_withheld(store: &dyn Store) -> Result<BTreeSet<Digest>, StoreError> {
    let set = store
        .settings(WITHHELD)?
        .into_iter()
        .filter(|(_, value)| !value.is_empty());
    Ok(set
        .filter_map(|(key, _)| key.strip_prefix(WITHHELD)?.parse().ok())
        .collect())
}

/// Whether this phone was never certified. One whose certificate has ended is not meant.
fn uncertified(store: &dyn Store) -> Result<bool, StoreError> {
    Ok(store.setting(setting::CHAIN)?.is_none())
}

/// Set once a case has left the phone.
fn shared_setting(case: &CaseId) -> String {
    format!("shared/{case}")
}

/// Into which case words go, and whether whoever says them has seen what stands there.
pub(super) enum Target {
    New,
    Seen(CaseId),
    Unseen(CaseId),
}

impl Phone {
    pub(super) fn add_to_case(
        &mut self,
        now: Now,
        target: Target,
        area: &Area,
        entries: &[Entry],
        request: &[u8; 16],
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        let done = format!("request/{}", CaseId(*request));
        if let Some(id) = store
            .setting(&done)?
            .and_then(|bytes| CaseId::from_slice(&bytes))
        {
            return Ok(Ok(Reply::Case(id)));
        }
        if !self.may_write(area, store)? {
            return no(Refusal::MayNotWrite(area.clone()));
        }
        let (id, has_seen) = match target {
            Target::New => (CaseId(self.random()), true),
            Target::Seen(id) => (id, true),
            Target::Unseen(id) => (id, false),
        };
        let mut others = load_same(&id, store)?.into_iter();
        let mut document = others.next().unwrap_or_else(|| Case::new(id));
        let others: Vec<_> = others.collect();
        // That consent is withdrawn is a change of its own, before all else that is said with it:
        // it may leave, the rest not.
        let withdraws = |e: &Entry| matches!(e, Entry::Finding { name, value: FindingValue::No } if name == "consent.share");
        let (first, rest): (Vec<Entry>, Vec<Entry>) = entries.iter().cloned().partition(withdraws);
        for (entries, withdraws) in [(first, true), (rest, false)] {
            if entries.is_empty() {
                continue;
            }
            let changes = match document.add_beside(
                &entries,
                has_seen.then_some(&others),
                &self.keys,
                &self.actor,
                now.wall_s,
            ) {
                Ok(changes) => changes,
                Err(error) => return no(Refusal::CaseRefuses(error.to_string())),
            };
            let bytes: usize = changes.iter().map(Vec::len).sum();
            if bytes > CHANGE_BYTES_MAX {
                return no(Refusal::ChangeTooLong(bytes));
            }
            for change in &changes {
                store.put_unsent(&id, change, withdraws)?;
            }
        }
        self.put_case(now, &mut document, area, store)?;
        store.put_setting(&done, id.as_bytes())?;
        self.seal_case(now, &id, store)?;
        Ok(Ok(Reply::Case(id)))
    }

    pub(super) fn take_case(
        &mut self,
        now: Now,
        case: CaseId,
        area: &Area,
        changes: &[Vec<u8>],
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        if !self.may_write(area, store)? {
            return no(Refusal::MayNotWrite(area.clone()));
        }
        let area = store
            .case_row(&case)?
            .map_or_else(|| area.clone(), |row| row.area);
        let mut document = load(&case, store)?.unwrap_or_else(|| Case::new(case));
        let known: BTreeSet<_> = document.changes().into_iter().collect();
        if changes.iter().any(|change| change.len() > CHANGE_BYTES_MAX) {
            return no(Refusal::CaseRefuses(
                "a change in it is larger than any may be".into(),
            ));
        }
        if let Err(error) = document.apply(changes) {
            return no(Refusal::Damaged(Paper::Archive, error.to_string()));
        }
        let fresh: Vec<_> = document
            .changes()
            .into_iter()
            .filter(|change| !known.contains(change))
            .collect();
        if fresh.is_empty() {
            return Ok(Ok(Reply::Unchanged));
        }
        for change in &fresh {
            store.put_unsent(&case, change, false)?;
        }
        self.put_case(now, &mut document, &area, store)?;
        self.seal_case(now, &case, store)?;
        Ok(Ok(Reply::Case(case)))
    }

    /// Whether cases of an area may be written here: by certificate; on a phone that was restored
    /// and not certified yet, by the key that it holds, so that nobody is turned away meanwhile.
    /// What it writes waits.
    fn may_write(&self, area: &Area, store: &dyn Store) -> Result<bool, StoreError> {
        let certified = self
            .certificate
            .as_ref()
            .is_some_and(|c| c.may_write_in(SpaceId::of(area)));
        let reads = || self.space_keys.iter().any(|key| key.area() == area);
        Ok(certified || (uncertified(store)? && reads()))
    }

    /// Seals what waits of all cases, as far as it may leave.
    pub(super) fn seal_what_waits(
        &mut self,
        now: Now,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        let waiting: BTreeSet<_> = store.unsent()?.into_iter().map(|(case, _)| case).collect();
        waiting
            .iter()
            .try_for_each(|case| self.seal_case(now, case, store))
    }

    /// Seals what waits of a case, many changes in one envelope: all of it while there is consent;
    /// else, where the case had left before, up to the word that consent is withdrawn, for others
    /// must know.
    fn seal_case(
        &mut self,
        now: Now,
        case: &CaseId,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        let mut waiting = store.unsent_of(case)?;
        if waiting.is_empty() || uncertified(store)? {
            return Ok(()); // no other phone would take what an unknown one has sealed
        }
        let Some(row) = store.case_row(case)? else {
            return Ok(());
        };
        let cases = load_same(case, store)?;
        let Some(view) = cases.first().map(Case::view) else {
            return Ok(());
        };
        // Consent of its own, and nobody says of another case of the same patient's that there is
        // none.
        let all_consent = Case::view_of_same(&cases).is_some_and(|all| may_leave(&all));
        if !may_leave(&view) || !all_consent {
            let left = store.setting(&shared_setting(case))?.is_some();
            let withdrawn = waiting
                .iter()
                .position(|(_, withdraws)| *withdraws)
                .filter(|_| left);
            waiting.truncate(withdrawn.map_or(0, |at| at + 1));
        }
        let changes: Vec<Vec<u8>> = waiting.into_iter().map(|(change, _)| change).collect();
        let Some(key) = self
            .write_key(&row.area)
            .cloned()
            .filter(|_| !changes.is_empty())
        else {
            return Ok(());
        };
        let urgency = view.urgency().unwrap_or(Urgency::Yellow);
        let mut start = 0;
        while start < changes.len() {
            let mut end = changes.len();
            loop {
                let some = changes.get(start..end).unwrap_or_default();
                let contents = Contents {
                    case: *case,
                    changes: some.iter().cloned().map(Into::into).collect(),
                };
                let nonce = self.random();
                match seal(&contents, &key, urgency, &self.keys, nonce) {
                    Ok(envelope) => {
                        store.put_envelope(&envelope, &row.area)?;
                        break;
                    }
                    Err(EnvelopeError::TooLong(_)) if end - start > 1 => {
                        end = start + (end - start).div_ceil(2)
                    }
                    Err(error) => return Err(StoreError::Other(error.to_string())),
                }
            }
            start = end;
        }
        store.clear_unsent(case, changes.len())?;
        store.put_setting(&shared_setting(case), &[1])?;
        let renamed = !row.tags.contains(&key.case_tag(case));
        if let Some(mut document) = cases.into_iter().next().filter(|_| renamed) {
            self.put_case(
                Now {
                    wall_s: row.changed_s,
                    ..now
                },
                &mut document,
                &row.area,
                store,
            )?;
        }
        self.changed();
        self.announce_photos(now, &view, &row.area, &key, store)
    }

    /// The photos of a case that has left may follow it, where they are here.
    fn announce_photos(
        &mut self,
        now: Now,
        view: &CaseView,
        area: &Area,
        key: &sync::SpaceKey,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        if !view.consents("photo") || !may_leave(&view) {
            return Ok(());
        }
        let photos = store
            .bundles()?
            .into_iter()
            .filter(|row| row.whole && row.id.kind == BundleKind::Photo);
        // With the length that the file has, whatever an entry says.
        let here: BTreeMap<_, _> = photos.map(|row| (row.id.digest, row.bytes)).collect();
        for (_, photo) in &view.photos {
            let Some(bytes) = here.get(&photo.blob).copied() else {
                continue;
            };
            if !self.keyring.announced(&photo.blob, &key.epoch_tag()) {
                let attached = Some(Attached {
                    digest: photo.blob,
                    bytes,
                    epoch: key.epoch_tag(),
                });
                self.say_notice(
                    now,
                    &Notice {
                        attached,
                        ..Notice::about(area)
                    },
                    store,
                )?;
            }
        }
        Ok(())
    }

    /// Seals what no envelope of these epochs holds of a case: the keys under which it was sealed
    /// end, and nothing that is here may be missing from what stays.
    pub(super) fn seal_rest_under(
        &mut self,
        now: Now,
        row: &CaseRow,
        epochs: &[EpochTag],
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        let Some(mut document) = load(&row.id, store)? else {
            return Ok(());
        };
        let mut held: BTreeSet<Vec<u8>> = store
            .unsent_of(&row.id)?
            .into_iter()
            .map(|(change, _)| change)
            .collect();
        for tag in &row.tags {
            let envelopes = store.case_envelopes(SpaceId::of(&row.area), *tag)?;
            for envelope in envelopes
                .into_iter()
                .filter(|envelope| epochs.contains(&envelope.epoch))
            {
                let contents = self.contents_of(&envelope.id, store)?;
                held.extend(contents.into_iter().flat_map(|c| c.changes).map(Vec::from));
            }
        }
        for change in document
            .changes()
            .into_iter()
            .filter(|change| !held.contains(change))
        {
            store.put_unsent(&row.id, &change, false)?;
        }
        self.seal_case(now, &row.id, store)
    }

    /// What lies in an envelope that is here and opens.
    fn contents_of(
        &self,
        id: &EnvelopeId,
        store: &dyn Store,
    ) -> Result<Option<Contents>, StoreError> {
        let Some(envelope) = store
            .envelope(id)?
            .and_then(|bytes| sync::Envelope::parse(bytes).ok())
        else {
            return Ok(None);
        };
        let key = self
            .space_keys
            .iter()
            .find(|key| key.epoch_tag() == envelope.epoch_tag && key.space() == envelope.space);
        let chains = self.authors(envelope.author, store)?;
        let verified = chains
            .iter()
            .find_map(|(chain, _)| envelope.clone().verify(chain).ok());
        Ok(key
            .zip(verified)
            .and_then(|(key, verified)| verified.open(key).ok()))
    }

    /// What an envelope that is set aside would add, and to which case, once all others that are
    /// set aside are in it too.
    pub(super) fn preview(
        &self,
        id: &EnvelopeId,
        store: &dyn Store,
    ) -> Result<Option<Preview>, StoreError> {
        let Some(contents) = self.contents_of(id, store)? else {
            return Ok(None);
        };
        let mut document = load(&contents.case, store)?.unwrap_or_else(|| Case::new(contents.case));
        for (other, _) in store
            .quarantined()?
            .into_iter()
            .filter(|(other, _)| other != id)
        {
            if let Some(other) = self
                .contents_of(&other, store)?
                .filter(|other| other.case == contents.case)
            {
                let _ = document.apply(
                    &other
                        .changes
                        .iter()
                        .map(|change| change.as_slice())
                        .collect::<Vec<_>>(),
                );
            }
        }
        let before = document.entries();
        let taken = document.apply(
            &contents
                .changes
                .iter()
                .map(|change| change.as_slice())
                .collect::<Vec<_>>(),
        );
        let added = document
            .entries()
            .into_iter()
            .filter(|entry| taken.is_ok() && !before.contains(entry));
        Ok(Some((contents.case, added.collect())))
    }

    /// Whether a case has an outcome, and so may go when its time has come.
    pub(super) fn closed(&self, case: &CaseId, store: &dyn Store) -> Result<bool, StoreError> {
        let Some(document) = load(case, store)? else {
            return Ok(true);
        };
        Ok(document.view().closed())
    }

    /// Keeps an envelope, and takes its changes into the case if this phone can read them. `false`
    /// if it was here.
    pub(super) fn take_envelope(
        &mut self,
        now: Now,
        envelope: &VerifiedEnvelope,
        area: &Area,
        store: &mut dyn Store,
    ) -> Result<bool, StoreError> {
        let sealed = envelope.kind == EnvelopeKind::Changes;
        if sealed && self.keyring.retired(envelope.space, &envelope.epoch_tag) {
            return Ok(false); // its time is over, however long this phone or the other was away
        }
        if !store.put_envelope(envelope, area)? {
            return Ok(false);
        }
        self.changed();
        if sealed {
            self.heard_of(envelope.author, store)?;
            self.open_envelope(now, envelope, store)?;
        }
        Ok(true)
    }

    /// A change that cannot be taken in is set aside with its reason; the case stays as it was and
    /// others go on.
    pub(super) fn open_envelope(
        &mut self,
        now: Now,
        envelope: &VerifiedEnvelope,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        let mine = |key: &&sync::SpaceKey| {
            key.space() == envelope.space && key.epoch_tag() == envelope.epoch_tag
        };
        let Some(key) = self.space_keys.iter().find(mine).cloned() else {
            return Ok(());
        };
        if !self.may_open(&envelope.id, store)? {
            return Ok(());
        }
        let area = key.area().clone();
        let contents = match envelope.open(&key) {
            Ok(contents) => contents,
            Err(error) => return store.put_quarantine(&envelope.id, &error.to_string()),
        };
        let mut document = match store
            .case(&contents.case)?
            .map(|bytes| Case::load(contents.case, &bytes))
        {
            None => Case::new(contents.case),
            Some(Ok(document)) => document,
            Some(Err(error)) => return store.put_quarantine(&envelope.id, &error.to_string()),
        };
        let changes: Vec<Vec<u8>> = contents.changes.into_iter().map(Into::into).collect();
        match document.apply(&changes) {
            Ok(()) => {
                store.put_setting(&shared_setting(&contents.case), &[1])?;
                let view = self.put_case(now, &mut document, &area, store)?;
                // A colleague may have settled what own words and photos waited for.
                self.seal_case(now, &contents.case, store)?;
                match self
                    .write_key(&area)
                    .cloned()
                    .filter(|_| !view.photos.is_empty())
                {
                    Some(key) => self.announce_photos(now, &view, &area, &key, store),
                    None => Ok(()),
                }
            }
            Err(
                error @ (CaseError::Poisoned(_) | CaseError::TooLong(_) | CaseError::TooMany(_)),
            ) => store.put_quarantine(&envelope.id, &error.to_string()),
        }
    }

    fn put_case(
        &mut self,
        now: Now,
        document: &mut Case,
        area: &Area,
        store: &mut dyn Store,
    ) -> Result<CaseView, StoreError> {
        let view = document.view();
        let id = document.id();
        let row = CaseRow {
            id,
            area: area.clone(),
            title: title(&view),
            urgency: view.urgency(),
            // Never before what the ministry has signed: a clock that is behind makes no case look
            // old.
            changed_s: now
                .wall_s
                .max(self.trust.as_ref().map_or(0, |t| t.freshness().floor_s)),
            entries: view.entry_count() as u64,
            questions: view.question_count() as u64,
            tags: self
                .space_keys
                .iter()
                .filter(|key| key.area() == area)
                .map(|key| key.case_tag(&id))
                .collect(),
        };
        store.put_case(&row, &document.save())?;
        let shown = view.consents("photo") && may_leave(&view);
        for (_, photo) in &view.photos {
            let known = self.withheld.contains(&photo.blob);
            if shown == known {
                store.put_setting(
                    &withheld_setting(&photo.blob),
                    if shown { &[] } else { &[1] },
                )?;
                if shown {
                    self.withheld.remove(&photo.blob);
                    self.open_bundles(store)?;
                } else {
                    self.withheld.insert(photo.blob);
                    self.bundles.remove(&BundleId::photo(photo.blob));
                }
            }
        }
        Ok(view)
    }
}

impl Agent {
    /// What an envelope that is set aside would add, and to which case; `None` if it does not open
    /// here.
    pub fn preview(
        &self,
        id: &EnvelopeId,
        store: &dyn Store,
    ) -> Result<Option<Preview>, StoreError> {
        self.phone.preview(id, store)
    }
}

/// What a person knows a case by.
fn title(view: &CaseView) -> String {
    let text = |name: &str| match view.findings.get(name).map(|f| &f.value) {
        Some(FindingValue::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    let parts = ["patient.name", "patient.family_name", "patient.village"]
        .into_iter()
        .filter_map(text);
    parts.collect::<Vec<_>>().join(", ")
}

/// A case, and those that are the same patient's; nothing if it is not here.
fn load_same(case: &CaseId, store: &dyn Store) -> Result<Vec<Case>, StoreError> {
    load(case, store)?.map_or_else(
        || Ok(Vec::new()),
        |case| case.and_same(|other| load(&other, store)),
    )
}

fn load(case: &CaseId, store: &dyn Store) -> Result<Option<Case>, StoreError> {
    let Some(bytes) = store.case(case)? else {
        return Ok(None);
    };
    let damaged = |e: CaseError| StoreError::Damaged(format!("case {}: {e}", case.short()));
    Case::load(*case, &bytes).map(Some).map_err(damaged)
}
