//! Deletion for good: keys are ended, and what they sealed goes with them, everywhere and without
//! tombstones.
//!
//! 1. A keeper asks for the end of all keys of a space but the one in use. What is still needed is
//!    sealed anew first: open cases, and those changed lately.
//! 2. The keys end once a second keeper has asked for it too, or after a week of use in which
//!    nobody has said that the one who asked is lost: one stolen phone must not erase a space's
//!    history. Days are counted by use, for no clock is right ([`super::spaces::lease`]).
//! 3. Who hears of it destroys the keys and what they sealed, and does not take that in again,
//!    however long it was away.
//! 4. While changes of lost phones wait under such keys for somebody to look at them, a keeper does
//!    not end them.
//! 5. But what has not reached a keeper, as far as is known here, is sealed anew instead: nothing
//!    is lost for want of having heard in time.

use std::collections::BTreeSet;

use protocol::{Area, BundleId, SpaceId, always};
use sync::envelope::author_key;
use sync::epoch::EpochTag;
use sync::{Notice, SpaceKey};

use super::Phone;
use super::commands::{Answer, Reply, no};
use super::records::{closed, forget_case};
use crate::api::Refusal;
use crate::store::{Aside, CaseRow, EnvelopeRow, Setting, Store, StoreError};

/// Days of use after which one keeper's word ends keys.
pub(super) const DELAY_DAYS: u64 = 7;

impl Phone {
    /// Looks whether keys are to end now, and destroys what ends with them.
    pub(super) fn settle_endings(&mut self, store: &mut dyn Store) -> Result<(), StoreError> {
        for (space, epoch) in self.spaces.retiring.keys() {
            let key = Setting::retiring(*space, epoch);
            if store.setting(&key)?.is_none() {
                store.put_setting(&key, &self.spaces.days_used.to_le_bytes())?;
            }
        }
        for area in self.spaces.mature(&self.own, store)? {
            self.destroy_ended(&area, store)?;
        }
        Ok(())
    }

    /// Ends all keys of a space but the one in use. Open cases, and those changed since, are sealed
    /// anew first.
    pub(super) fn end_keys(
        &mut self,
        area: &Area,
        since_s: u64,
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        let newest = self.spaces.write_key(area, &self.own).cloned();
        let Some(newest) = newest.filter(|_| self.own.keeps(area)) else {
            return no(Refusal::NotKeeper(area.clone()));
        };
        let (own, space, newest) = (self.own.id(), SpaceId::of(area), newest.epoch_tag());
        let held = self.spaces.keys.iter().filter(|key| key.area() == area);
        let older = held.map(SpaceKey::epoch_tag).filter(|tag| *tag != newest);
        let retired: Vec<EpochTag> = older.collect();
        if retired.is_empty() {
            return no(Refusal::NoOlderKey);
        }
        let asked = |epoch: &EpochTag| {
            let by = self.spaces.retiring.get(&(space, *epoch));
            by.is_some_and(|by| by.contains(&own))
        };
        if retired.iter().all(asked) {
            return no(Refusal::EndingAlready);
        }
        let aside = store.quarantined()?.into_iter();
        let late = aside
            .filter(|(_, why)| *why == Aside::Late)
            .map(|(id, _)| id);
        let late: BTreeSet<_> = late.collect();
        let waits = |row: &EnvelopeRow| row.epoch != newest && late.contains(&row.id);
        let rows = store.envelope_rows(space)?.into_iter();
        let waiting = rows.filter(waits).count();
        if waiting > 0 {
            return no(Refusal::ChangesWait(waiting as u64));
        }
        self.note_delivered(store)?; // so that others know what has come, before they evict it
        for row in store.cases()?.into_iter().filter(|row| row.area == *area) {
            if row.changed_s >= since_s || !closed(&row.id, store)? {
                self.seal_rest(&row, &[newest], store)?;
            }
        }
        always!(!retired.contains(&newest), "the key in use stays");
        let notice = Notice {
            retired: retired.into_iter().map(Into::into).collect(),
            ..Notice::about(area)
        };
        let (spaces, _, _, mut tx) = self.parts(store);
        spaces.say(&notice, &mut tx)?;
        Ok(Ok(Reply::Done))
    }

    /// Seals what no envelope of these epochs holds of a case.
    fn seal_rest(
        &mut self,
        row: &CaseRow,
        epochs: &[EpochTag],
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        let (spaces, records, _, mut tx) = self.parts(store);
        records.seal_rest(row, epochs, spaces, &mut tx)
    }

    /// Destroys what ended keys sealed, and the keys. A case that is not closed here, or of which
    /// any word has not reached a keeper as far as is known here, is sealed anew instead: nothing
    /// is lost for want of having heard in time.
    fn destroy_ended(&mut self, area: &Area, store: &mut dyn Store) -> Result<(), StoreError> {
        let space = SpaceId::of(area);
        let mut gone = store.envelope_rows(space)?;
        gone.retain(|row| self.spaces.retired(space, &row.epoch));
        let held = self.spaces.keys.iter().filter(|key| key.area() == area);
        let in_force: Vec<_> = held
            .map(SpaceKey::epoch_tag)
            .filter(|epoch| !self.spaces.retired(space, epoch))
            .collect();
        let unsent: BTreeSet<_> = store.outbox()?.into_iter().map(|(case, _)| case).collect();
        let delivered = self.spaces.deliveries.clone(); // sealing anew goes on meanwhile
        let own = self.own.keeps(area).then(|| author_key(&self.own.id()));
        let keepers: BTreeSet<_> = delivered.phones().into_iter().chain(own).collect();
        let arrived =
            |e: &EnvelopeRow| keepers.contains(&e.author) || delivered.of(&e.id).next().is_some();
        for row in store.cases()?.into_iter().filter(|row| row.area == *area) {
            let mut envelopes = Vec::new();
            for tag in &row.tags {
                envelopes.extend(store.case_envelopes(space, *tag)?);
            }
            let stays = |e: &EnvelopeRow| !self.spaces.retired(space, &e.epoch);
            let lives_on = unsent.contains(&row.id) || envelopes.iter().any(stays);
            let may_go = !lives_on && envelopes.iter().all(arrived) && closed(&row.id, store)?;
            match may_go {
                true => forget_case(&row.id, store)?,
                false => self.seal_rest(&row, &in_force, store)?,
            }
        }
        always!(gone.iter().all(|row| !in_force.contains(&row.epoch)));
        for row in gone {
            store.remove_envelope(&row.id)?;
            store.remove_quarantine(&row.id)?;
        }
        self.spaces.drop_ended_keys(store)?;
        let mut held = self.spaces.keys.iter();
        always!(
            held.all(|key| !self.spaces.retired(key.space(), &key.epoch_tag())),
            "what has ended is not held"
        );
        for blob in self.spaces.photos_gone() {
            store.put_setting(&Setting::photo(&blob), &[])?;
            self.releases.bundles.remove(&BundleId::photo(blob));
            store.remove_bundle(&BundleId::photo(blob))?;
        }
        self.out.changed();
        Ok(())
    }
}
