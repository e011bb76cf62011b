//! Records: the outbox of what was written and may not leave yet, what is withheld, and what has
//! come and waits to be opened. Writing cases, sealing what may leave, and opening what has come.
//!
//! What is written is durable first, as a change that no envelope holds yet. It is sealed at once
//! if it may leave the phone: the patient has consented to share the case, and there is a key to
//! write with. If not, it waits, and nothing is lost.

use std::collections::{BTreeMap, BTreeSet};

use clinical::{FindingValue, Urgency};
use protocol::limits::{ENVELOPE_PLAIN_BYTES_MAX, QUARANTINED_MAX};
use protocol::{Area, BundleKind, CaseId, Digest, EnvelopeId, Invariant, SpaceId, always, never};
use record::{Case, CaseError, CaseView, Entry};
use sync::envelope::{Contents, EnvelopeError, seal};
use sync::epoch::EpochTag;
use sync::notice::Attached;
use sync::{EnvelopeKind, Notice, SpaceKey, VerifiedEnvelope};

use super::commands::{Answer, Reply, no};
use super::delivery::heard_of;
use super::spaces::Spaces;
use super::tx::{Consequence, Tx};
use crate::api::Refusal;
use crate::api::consent::{may_leave, photos_may_leave};
use crate::store::{Aside, CaseRow, Family, Setting, Store, StoreError};

mod opening;
mod quarantine;
mod same;
mod title;

pub use quarantine::Preview;
use quarantine::contents_of;
pub(super) use quarantine::preview;
use same::{forget_links, keep_links_of_before, load, load_same, put_links};
pub(crate) use same::{linked, named_by};
use title::title;

/// Bytes of one change, so that it always fits an envelope.
const CHANGE_BYTES_MAX: usize = ENVELOPE_PLAIN_BYTES_MAX / 32;

/// Photos that were taken on this phone.
pub(super) fn photos_taken_here(store: &dyn Store) -> Result<BTreeSet<Digest>, StoreError> {
    marked(&Family::photos(), store)
}

/// Photos whose setting of this kind is set.
fn marked(kind: &Family, store: &dyn Store) -> Result<BTreeSet<Digest>, StoreError> {
    let set = store.settings(kind)?.into_iter();
    let set = set.filter(|(_, value)| !value.is_empty());
    Ok(set.filter_map(|(of, _)| of.parse().ok()).collect())
}

/// Whether this phone was never certified. One whose certificate has ended is not meant.
fn uncertified(store: &dyn Store) -> Result<bool, StoreError> {
    Ok(store.setting(&Setting::chain())?.is_none())
}

/// Into which case words go, and whether whoever says them has seen what stands there, or brings them in a file.
pub(super) enum Target {
    New,
    Seen(CaseId),
    NewOfFile,
    OfFile(CaseId),
}

/// What this phone has of cases that is not in the store's tables of cases and envelopes.
#[derive(Debug)]
pub(crate) struct Records {
    /// Photos that are passed on to nobody, because consent to them was withdrawn.
    pub(super) withheld: BTreeSet<Digest>,
    /// Envelopes during whose opening the program came down, and how often.
    suspects: BTreeMap<EnvelopeId, u8>,
    /// The one of them that is being opened alone.
    opening_alone: Option<EnvelopeId>,
    /// Envelopes that are being opened, as they are marked.
    opening: Option<BTreeMap<EnvelopeId, u8>>,
    /// Some envelopes wait to be opened.
    pub(super) some_wait: bool,
    /// Bytes of envelopes that have reached their readers and may still lie here.
    pub(super) carry_quota_bytes: u64,
}

impl Records {
    pub(super) fn load(store: &mut dyn Store) -> Result<Self, StoreError> {
        keep_links_of_before(store)?;
        let parked: BTreeSet<_> = store.quarantined()?.into_iter().map(|(id, _)| id).collect();
        let mut suspects = store.attempts();
        suspects.retain(|id, _| !parked.contains(id));
        Ok(Self {
            withheld: marked(&Family::withheld(), store)?,
            suspects,
            opening_alone: None,
            opening: None,
            some_wait: true,
            carry_quota_bytes: super::load::load_quota(&Setting::carry_quota(), store)?,
        })
    }

    pub(super) fn add_to_case(
        &mut self,
        target: Target,
        area: &Area,
        (entries, request): (&[Entry], &[u8; 16]),
        spaces: &mut Spaces,
        tx: &mut Tx,
    ) -> Result<Answer, StoreError> {
        let done = Setting::request(request);
        if let Some(id) = tx
            .store
            .setting(&done)?
            .and_then(|bytes| CaseId::from_slice(&bytes))
        {
            return Ok(Ok(Reply::Case(id)));
        }
        if !may_write(area, spaces, tx)? {
            return no(Refusal::MayNotWrite(area.clone()));
        }
        let (id, has_seen) = match target {
            Target::New => (CaseId(tx.own.random()), true),
            Target::Seen(id) => (id, true),
            Target::NewOfFile => (CaseId(tx.own.random()), false),
            Target::OfFile(id) => (id, false),
        };
        let mut others = load_same(&id, tx.store)?.into_iter();
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
                &tx.own.keys,
                &tx.own.actor,
                tx.now.wall_s,
            ) {
                Ok(changes) => changes,
                Err(error) => return no(Refusal::of_case(error, Refusal::CaseRefuses)),
            };
            let bytes: usize = changes.iter().map(Vec::len).sum();
            if bytes > CHANGE_BYTES_MAX {
                return no(Refusal::ChangeTooLong(bytes));
            }
            for change in &changes {
                tx.store.put_outbox(&id, change, withdraws)?;
            }
        }
        self.put_case(tx.now.wall_s, &mut document, area, spaces, tx)?;
        tx.store.put_setting(&done, id.as_bytes())?;
        self.seal_case(&id, spaces, tx)?;
        Ok(Ok(Reply::Case(id)))
    }

    pub(super) fn take_case(
        &mut self,
        case: CaseId,
        area: &Area,
        changes: &[Vec<u8>],
        spaces: &mut Spaces,
        tx: &mut Tx,
    ) -> Result<Answer, StoreError> {
        if !may_write(area, spaces, tx)? {
            return no(Refusal::MayNotWrite(area.clone()));
        }
        let area = tx
            .store
            .case_row(&case)?
            .map_or_else(|| area.clone(), |row| row.area);
        let mut document = load(&case, tx.store)?.unwrap_or_else(|| Case::new(case));
        let known: BTreeSet<_> = document.changes().into_iter().collect();
        if changes.iter().any(|change| change.len() > CHANGE_BYTES_MAX) {
            return no(Refusal::ChangeTooLong(CHANGE_BYTES_MAX));
        }
        if let Err(error) = document.apply(changes) {
            return no(Refusal::of_case(error, Refusal::CaseRefuses));
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
            tx.store.put_outbox(&case, change, false)?;
        }
        self.put_case(tx.now.wall_s, &mut document, &area, spaces, tx)?;
        self.seal_case(&case, spaces, tx)?;
        Ok(Ok(Reply::Case(case)))
    }

    /// Seals what waits of all cases, as far as it may leave.
    pub(super) fn seal_what_waits(
        &mut self,
        spaces: &mut Spaces,
        tx: &mut Tx,
    ) -> Result<(), StoreError> {
        let waiting = tx.store.outbox()?.into_iter().map(|(case, _)| case);
        let waiting: BTreeSet<_> = waiting.collect();
        waiting
            .iter()
            .try_for_each(|case| self.seal_case(case, spaces, tx))
    }

    /// Seals what waits of a case, many changes in one envelope: all of it while there is consent;
    /// else, where the case had left before, the word that consent is withdrawn, for others must
    /// know.
    fn seal_case(
        &mut self,
        case: &CaseId,
        spaces: &mut Spaces,
        tx: &mut Tx,
    ) -> Result<(), StoreError> {
        let mut waiting = tx.store.outbox_of(case)?;
        if waiting.is_empty() || uncertified(tx.store)? {
            return Ok(()); // no other phone would take what an unknown one has sealed
        }
        let Some(row) = tx.store.case_row(case)? else {
            return Ok(());
        };
        let cases = load_same(case, tx.store)?;
        let Some(view) = cases.first().map(Case::view) else {
            return Ok(());
        };
        if !may_leave(&cases) {
            let left = tx.store.setting(&Setting::shared(case))?.is_some();
            // Words that were held back before it stay, and it with them: it builds on them.
            let first = waiting.iter().take_while(|(_, withdraws)| *withdraws);
            let first = first.count();
            waiting.truncate(if left { first } else { 0 });
        }
        let kept_back = waiting.iter().any(|(_, withdraws)| !withdraws) && !may_leave(&cases);
        never!(Invariant::ConsentFirst, kept_back)?;
        let changes: Vec<Vec<u8>> = waiting.into_iter().map(|(change, _)| change).collect();
        let key = spaces.write_key(&row.area, tx.own).cloned();
        let Some(key) = key.filter(|_| !changes.is_empty()) else {
            return Ok(());
        };
        seal_changes(*case, &changes, &view, &key, tx)?;
        tx.store.clear_outbox(case, changes.len())?;
        tx.store.put_setting(&Setting::shared(case), &[1])?;
        let renamed = !row.tags.contains(&key.case_tag(case));
        if let Some(mut document) = cases.into_iter().next().filter(|_| renamed) {
            self.put_case(row.changed_s, &mut document, &row.area, spaces, tx)?;
        }
        tx.out.changed();
        match view.photos.is_empty() {
            true => Ok(()),
            false => announce_photos(case, &key, spaces, tx),
        }
    }

    /// Seals what no envelope of these epochs holds of a case: the keys under which it was sealed
    /// end, and nothing that is here may be missing from what stays.
    pub(super) fn seal_rest(
        &mut self,
        row: &CaseRow,
        epochs: &[EpochTag],
        spaces: &mut Spaces,
        tx: &mut Tx,
    ) -> Result<(), StoreError> {
        let Some(mut document) = load(&row.id, tx.store)? else {
            return Ok(());
        };
        let unsent = tx.store.outbox_of(&row.id)?.into_iter();
        let mut held: BTreeSet<Vec<u8>> = unsent.map(|(change, _)| change).collect();
        for tag in &row.tags {
            let envelopes = tx.store.case_envelopes(SpaceId::of(&row.area), *tag)?;
            for envelope in envelopes {
                if epochs.contains(&envelope.epoch) {
                    let contents = contents_of(&envelope.id, spaces, tx.own, tx.store)?;
                    held.extend(contents.into_iter().flat_map(|c| c.changes).map(Vec::from));
                }
            }
        }
        for change in document.changes() {
            if !held.contains(&change) {
                tx.store.put_outbox(&row.id, &change, false)?;
            }
        }
        self.seal_case(&row.id, spaces, tx)
    }

    /// Keeps an envelope, and takes its changes into the case if this phone can read them. `false`
    /// if it was here.
    pub(super) fn take_envelope(
        &mut self,
        envelope: &VerifiedEnvelope,
        area: &Area,
        spaces: &mut Spaces,
        tx: &mut Tx,
    ) -> Result<bool, StoreError> {
        let sealed = envelope.kind == EnvelopeKind::Changes;
        if sealed && spaces.retired(envelope.space, &envelope.epoch_tag) {
            return Ok(false); // its time is over, however long this phone or the other was away
        }
        if !tx.store.put_envelope(envelope, area)? {
            return Ok(false);
        }
        tx.out.changed();
        if sealed {
            heard_of(envelope.author, tx.store)?;
            self.open_envelope(envelope, spaces, tx)?;
        }
        Ok(true)
    }

    /// Keeps what a lost phone wrote until somebody above has looked at it. `false` if it was here,
    /// or there is no room.
    pub(super) fn take_late(
        &mut self,
        envelope: &VerifiedEnvelope,
        area: &Area,
        spaces: &mut Spaces,
        tx: &mut Tx,
    ) -> Result<bool, StoreError> {
        let sealed = envelope.kind == EnvelopeKind::Changes;
        if sealed && spaces.retired(envelope.space, &envelope.epoch_tag) {
            return Ok(false); // its time is over
        }
        if spaces.vouched_for(envelope, tx.own) {
            return self.take_envelope(envelope, area, spaces, tx);
        }
        if tx.store.quarantine_count()? >= QUARANTINED_MAX {
            return Ok(false);
        }
        let fresh = tx.store.put_envelope(envelope, area)?;
        if fresh {
            tx.store.put_quarantine(&envelope.id, &Aside::Late)?;
            tx.out.changed();
        }
        Ok(fresh)
    }

    /// A change that cannot be taken in is set aside with its reason; the case stays as it was and
    /// others go on.
    fn open_envelope(
        &mut self,
        envelope: &VerifiedEnvelope,
        spaces: &mut Spaces,
        tx: &mut Tx,
    ) -> Result<(), StoreError> {
        let opens = |key: &&SpaceKey| {
            key.space() == envelope.space && key.epoch_tag() == envelope.epoch_tag
        };
        let Some(key) = spaces.keys.iter().find(opens).cloned() else {
            return Ok(());
        };
        if !self.may_open(&envelope.id, tx.store)? {
            return Ok(());
        }
        let contents = match envelope.open(&key) {
            Ok(contents) => contents,
            Err(error) => {
                return tx
                    .store
                    .put_quarantine(&envelope.id, &Aside::Refused(error.to_string()));
            }
        };
        let case = contents.case;
        let held = tx.store.case(&case)?;
        let mut document = match held.map(|bytes| Case::load(case, &bytes)) {
            None => Case::new(case),
            Some(Ok(document)) => document,
            Some(Err(error)) => {
                return tx
                    .store
                    .put_quarantine(&envelope.id, &Aside::Refused(error.to_string()));
            }
        };
        let changes: Vec<Vec<u8>> = contents.changes.into_iter().map(Into::into).collect();
        match document.apply(&changes) {
            Ok(()) => {}
            Err(CaseError::Broken(broken)) => return Err(broken.into()),
            Err(error) => {
                return tx
                    .store
                    .put_quarantine(&envelope.id, &Aside::Refused(error.to_string()));
            }
        }
        tx.store.put_setting(&Setting::shared(&case), &[1])?;
        let view = self.put_case(tx.now.wall_s, &mut document, key.area(), spaces, tx)?;
        // A colleague may have settled what own words and photos waited for.
        self.seal_case(&case, spaces, tx)?;
        let writes = spaces.write_key(key.area(), tx.own).cloned();
        match writes.filter(|_| !view.photos.is_empty()) {
            Some(key) => announce_photos(&case, &key, spaces, tx),
            None => Ok(()),
        }
    }

    fn put_case(
        &mut self,
        changed_s: u64,
        document: &mut Case,
        area: &Area,
        spaces: &Spaces,
        tx: &mut Tx,
    ) -> Result<CaseView, StoreError> {
        let view = document.view();
        let id = document.id();
        let keys = spaces.keys.iter().filter(|key| key.area() == area);
        let row = CaseRow {
            id,
            area: area.clone(),
            title: title(&view),
            urgency: view.urgency(),
            // Never before what the ministry has signed: a clock that is behind makes no case look
            // old.
            changed_s: changed_s.max(tx.own.floor_s()),
            entries: view.entry_count() as u64,
            questions: view.question_count() as u64,
            tags: keys.map(|key| key.case_tag(&id)).collect(),
        };
        // What one patient's cases say of consent counts for all of them, those too that were the
        // same patient's until now: their photos are shown or withheld, and what had waited may be
        // free to leave.
        tx.store.put_case(&row, &document.save())?;
        let undone = put_links(&view, tx.store)?;
        if !view.links.is_empty() || !named_by(id, tx.store)?.is_empty() {
            let mut touched = BTreeSet::new();
            for one in undone.iter().chain([&id]) {
                touched.extend(load_same(one, tx.store)?.iter().map(Case::id));
            }
            for other in touched.into_iter().filter(|other| *other != id) {
                tx.out.follow(Consequence::Reconsider(other));
            }
        }
        self.show_photos(&view, tx)?;
        Ok(view)
    }

    /// Another case of the same patient's has changed: what waits of this one, and its photos, may be
    /// free to leave, or not any more.
    pub(super) fn reconsider(
        &mut self,
        case: &CaseId,
        spaces: &mut Spaces,
        tx: &mut Tx,
    ) -> Result<(), StoreError> {
        if let Some(document) = load(case, tx.store)? {
            self.show_photos(&document.view(), tx)?;
        }
        self.seal_case(case, spaces, tx)
    }

    /// Passes on the photos of a case, or withholds them, as the patient's cases say.
    fn show_photos(&mut self, view: &CaseView, tx: &mut Tx) -> Result<(), StoreError> {
        if view.photos.is_empty() {
            return Ok(());
        }
        let shown = photos_may_leave(&load_same(&view.id, tx.store)?);
        for (_, photo) in &view.photos {
            self.show_photo(photo.blob, shown, tx)?;
        }
        Ok(())
    }

    /// A photo is passed on from now on, or to nobody any more.
    fn show_photo(&mut self, blob: Digest, shown: bool, tx: &mut Tx) -> Result<(), StoreError> {
        if shown != self.withheld.contains(&blob) {
            return Ok(()); // as it was
        }
        let kept: &[u8] = if shown { &[] } else { &[1] };
        tx.store.put_setting(&Setting::withheld(&blob), kept)?;
        if shown {
            self.withheld.remove(&blob);
            tx.out.follow(Consequence::OpenBundles);
        } else {
            self.withheld.insert(blob);
            tx.out.follow(Consequence::Withhold(blob));
        }
        always!(shown != self.withheld.contains(&blob));
        Ok(())
    }
}

/// Whether the beginning of a change stands somewhere in these bytes.
fn in_clear(change: &[u8], bytes: &[u8]) -> bool {
    let head = change.get(..32).unwrap_or(change);
    bytes
        .windows(head.len().max(1))
        .any(|window| window == head)
}

/// Seals changes of a case, as many in one envelope as fit.
fn seal_changes(
    case: CaseId,
    changes: &[Vec<u8>],
    view: &CaseView,
    key: &SpaceKey,
    tx: &mut Tx,
) -> Result<(), StoreError> {
    let urgency = view.urgency().unwrap_or(Urgency::Yellow);
    let mut start = 0;
    while start < changes.len() {
        let mut end = changes.len();
        loop {
            let some = changes.get(start..end).unwrap_or_default();
            let changes = some.iter().cloned().map(Into::into).collect();
            let nonce = tx.own.random();
            match seal(
                &Contents { case, changes },
                key,
                urgency,
                &tx.own.keys,
                nonce,
            ) {
                Ok(envelope) => {
                    let open = some.iter().any(|change| in_clear(change, envelope.bytes()));
                    never!(Invariant::Sealed, open)?;
                    tx.store.put_envelope(&envelope, key.area())?;
                    break;
                }
                Err(EnvelopeError::TooLong(_)) if end - start > 1 => {
                    end = start + (end - start).div_ceil(2)
                }
                Err(error) => return Err(StoreError::Other(error.to_string())),
            }
        }
        always!(end > start, "every envelope takes something");
        start = end;
    }
    Ok(())
}

/// The photos of a case that has left may follow it, where they are here.
fn announce_photos(
    case: &CaseId,
    key: &SpaceKey,
    spaces: &mut Spaces,
    tx: &mut Tx,
) -> Result<(), StoreError> {
    let same = load_same(case, tx.store)?;
    let photos = same.first().map(|case| case.view().photos);
    let said = photos.unwrap_or_default();
    if said.is_empty() || !photos_may_leave(&same) {
        return Ok(());
    }
    let photos = tx.store.bundles()?.into_iter();
    let photos = photos.filter(|row| row.whole && row.id.kind == BundleKind::Photo);
    // With the length that the file has, whatever an entry says.
    let here: BTreeMap<_, _> = photos.map(|row| (row.id.digest, row.bytes)).collect();
    for (_, photo) in &said {
        let Some(bytes) = here.get(&photo.blob).copied() else {
            continue;
        };
        if !spaces.announced(&photo.blob, &key.epoch_tag()) {
            let attached = Attached {
                digest: photo.blob,
                bytes,
                epoch: key.epoch_tag(),
            };
            let notice = Notice {
                attached: Some(attached),
                ..Notice::about(key.area())
            };
            spaces.say(&notice, tx)?;
        }
    }
    Ok(())
}

/// Destroys a case here, with all that was noted of it.
pub(super) fn forget_case(case: &CaseId, store: &mut dyn Store) -> Result<(), StoreError> {
    if let Some(document) = load(case, store)? {
        forget_links(&document, store)?;
    }
    for noted in [Setting::shared(case), Setting::now(case)] {
        if store.setting(&noted)?.is_some() {
            store.put_setting(&noted, &[])?;
        }
    }
    store.remove_case(case)
}

/// Whether a case has an outcome, and so may go when its time has come.
pub(super) fn closed(case: &CaseId, store: &dyn Store) -> Result<bool, StoreError> {
    Ok(load(case, store)?.is_none_or(|document| document.view().closed()))
}

/// Whether cases of an area may be written here: by certificate; on a phone that was restored and
/// not certified yet, by the key that it holds, so that nobody is turned away meanwhile. What it
/// writes waits.
fn may_write(area: &Area, spaces: &Spaces, tx: &Tx) -> Result<bool, StoreError> {
    let own = tx.own.certificate.as_ref();
    let certified = own.is_some_and(|c| c.may_write_in(SpaceId::of(area)));
    Ok(certified || (uncertified(tx.store)? && spaces.reads(area)))
}
