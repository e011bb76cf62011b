//! Deletion for good: keys are ended, and what they sealed goes with them, everywhere and without
//! tombstones.
//!
//! 1. A keeper asks for the end of all keys of a space but the one in use. What is still needed is
//!    sealed anew first: open cases, and those changed lately.
//! 2. The keys end once a second keeper has asked for it too, or after a week of use in which
//!    nobody has said that the one who asked is lost: one stolen phone must not erase a space's
//!    history. Days are counted by use, for no clock is right ([`super::lease`]).
//! 3. Who hears of it destroys the keys and what they sealed, and does not take that in again,
//!    however long it was away.
//! 4. While changes of lost phones wait under such keys for somebody to look at them, a keeper does
//!    not end them.
//! 5. But what has not reached a keeper, as far as is known here, is sealed anew instead: nothing
//!    is lost for want of having heard in time.

use std::collections::BTreeSet;

use protocol::defence::{self, Defence};
use protocol::{Area, BundleId, Now, SpaceId};
use sync::envelope::author_key;
use sync::epoch::EpochTag;
use sync::notice::short;
use sync::{Notice, SpaceKey};

use super::Phone;
use super::cases::photo_setting;
use super::commands::{Answer, Reply, no};
use super::delivery::deliveries;
use super::keyring::LATE;
use crate::api::Refusal;
use crate::store::{CaseRow, EnvelopeRow, Store, StoreError};

/// Days of use after which one keeper's word ends keys.
const DELAY_DAYS: u64 = 7;

/// The day of use on which it was first heard that an epoch is to end.
fn heard_setting(space: SpaceId, epoch: &EpochTag) -> String {
    format!("retiring/{space}/{:016x}", u64::from_be_bytes(*epoch))
}

impl Phone {
    /// Ends what it is time to end; the areas in which something has ended. Nothing is destroyed
    /// yet.
    pub(super) fn mature(&mut self, store: &dyn Store) -> Result<BTreeSet<Area>, StoreError> {
        let mut areas = BTreeSet::new();
        let waiting: Vec<_> = self
            .keyring
            .retiring
            .iter()
            .map(|(key, by)| (*key, by.clone()))
            .collect();
        for ((space, epoch), by) in waiting {
            let by: BTreeSet<_> = by
                .into_iter()
                .filter(|keeper| !self.is_lost(keeper))
                .collect();
            let heard = store
                .setting(&heard_setting(space, &epoch))?
                .and_then(|bytes| bytes.try_into().ok());
            let due = heard
                .map(u64::from_le_bytes)
                .is_some_and(|day| self.days_used >= day.saturating_add(DELAY_DAYS));
            let ends =
                !by.is_empty() && (by.len() >= 2 || due || !defence::stands(Defence::TwoKeepers));
            if ends {
                self.keyring.retiring.remove(&(space, epoch));
                self.keyring
                    .epochs
                    .entry(space)
                    .or_default()
                    .retire([epoch]);
                areas.extend(self.keyring.areas.get(&space).cloned());
            }
        }
        Ok(areas)
    }

    /// Looks whether keys are to end now, and destroys what ends with them.
    pub(super) fn settle_retirements(
        &mut self,
        now: Now,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        for (space, epoch) in self.keyring.retiring.keys() {
            let key = heard_setting(*space, epoch);
            if store.setting(&key)?.is_none() {
                store.put_setting(&key, &self.days_used.to_le_bytes())?;
            }
        }
        for area in self.mature(store)? {
            self.obey_retirement(now, &area, store)?;
        }
        Ok(())
    }

    /// Ends all keys of a space but the one in use. Open cases, and those changed since, are sealed
    /// anew first.
    pub(super) fn retire(
        &mut self,
        now: Now,
        area: &Area,
        since_s: u64,
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        let Some(newest) = self.write_key(area).cloned().filter(|_| self.keeps(area)) else {
            return no(Refusal::NotKeeper(area.clone()));
        };
        let held = self
            .space_keys
            .iter()
            .filter(|key| key.area() == area)
            .map(SpaceKey::epoch_tag);
        let retired: Vec<_> = held
            .filter(|epoch| *epoch != newest.epoch_tag())
            .map(Into::into)
            .collect();
        if retired.is_empty() {
            return no(Refusal::NoOlderKey);
        }
        let own = self.keys.id();
        let space = SpaceId::of(area);
        let asked = |epoch: &EpochTag| {
            self.keyring
                .retiring
                .get(&(space, *epoch))
                .is_some_and(|by| by.contains(&own))
        };
        if retired
            .iter()
            .all(|epoch: &minicbor::bytes::ByteArray<8>| asked(epoch))
        {
            return no(Refusal::EndingAlready);
        }
        let late: BTreeSet<_> = store
            .quarantined()?
            .into_iter()
            .filter(|(_, why)| why == LATE)
            .map(|(id, _)| id)
            .collect();
        let rows = store.envelope_rows(SpaceId::of(area))?.into_iter();
        let waiting = rows
            .filter(|row| row.epoch != newest.epoch_tag() && late.contains(&row.id))
            .count();
        if waiting > 0 {
            return no(Refusal::ChangesWait(waiting as u64));
        }
        self.note_delivered(now, store)?; // so that others know what has come, before they let go of it
        for row in store.cases()?.into_iter().filter(|row| row.area == *area) {
            if row.changed_s >= since_s || !self.closed(&row.id, store)? {
                self.seal_rest_under(now, &row, &[newest.epoch_tag()], store)?;
            }
        }
        self.say_notice(
            now,
            &Notice {
                retired,
                ..Notice::about(area)
            },
            store,
        )?;
        Ok(Ok(Reply::Done))
    }

    /// Seals what no envelope under a key in force holds of a case.
    fn seal_rest(
        &mut self,
        now: Now,
        row: &CaseRow,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        let held = self
            .space_keys
            .iter()
            .filter(|key| *key.area() == row.area)
            .map(SpaceKey::epoch_tag);
        let in_force: Vec<_> = held
            .filter(|epoch| !self.keyring.retired(SpaceId::of(&row.area), epoch))
            .collect();
        self.seal_rest_under(now, row, &in_force, store)
    }

    /// Destroys what ended keys sealed, and the keys. A case that is not closed here, or of which
    /// any word has not reached a keeper as far as is known here, is sealed anew instead: nothing
    /// is lost for want of having heard in time.
    pub(super) fn obey_retirement(
        &mut self,
        now: Now,
        area: &Area,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        let space = SpaceId::of(area);
        let ended = |epoch: &EpochTag| self.keyring.retired(space, epoch);
        let gone: Vec<_> = store
            .envelope_rows(space)?
            .into_iter()
            .filter(|row| ended(&row.epoch))
            .collect();
        let unsent: BTreeSet<_> = store.unsent()?.into_iter().map(|(case, _)| case).collect();
        let delivered = deliveries(store)?;
        let own = self.keeps(area).then(|| author_key(&self.keys.id()));
        let keepers: BTreeSet<_> = delivered.values().flatten().copied().chain(own).collect();
        let arrived =
            |e: &EnvelopeRow| keepers.contains(&e.author) || delivered.contains_key(&short(&e.id));
        for row in store.cases()?.into_iter().filter(|row| row.area == *area) {
            let mut envelopes = Vec::new();
            for tag in &row.tags {
                envelopes.extend(store.case_envelopes(space, *tag)?);
            }
            let lives_on = unsent.contains(&row.id)
                || envelopes
                    .iter()
                    .any(|e| !self.keyring.retired(space, &e.epoch));
            let may_go =
                !lives_on && envelopes.iter().all(arrived) && self.closed(&row.id, store)?;
            match may_go {
                true => store.remove_case(&row.id)?,
                false => self.seal_rest(now, &row, store)?,
            }
        }
        for row in gone {
            store.remove_envelope(&row.id)?;
            store.remove_quarantine(&row.id)?;
        }
        let (ended, held): (Vec<_>, Vec<_>) = std::mem::take(&mut self.space_keys)
            .into_iter()
            .partition(|key| self.keyring.retired(key.space(), &key.epoch_tag()));
        self.space_keys = held;
        ended
            .iter()
            .try_for_each(|key| store.remove_space_key(key))?;
        for blob in self.keyring.photos_gone() {
            store.put_setting(&photo_setting(&blob), &[])?;
            self.bundles.remove(&BundleId::photo(blob));
            store.remove_bundle(&BundleId::photo(blob))?;
        }
        self.changed();
        Ok(())
    }
}
