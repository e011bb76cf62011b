//! Keys on a lease: a phone that nobody has seen for too long can read no more, until somebody
//! above says so, in person or by a short code over the phone.
//!
//! It is a lock for the hands of people, not against somebody who takes the phone apart with its
//! key in hand: against that stand the passphrase or the keystore that seal the key, and the next
//! key of the space.
//!
//! Days are counted by use, because no clock is right: a new date counts one day, however far it is
//! from the last, forward or back (two where it is forward by more). So a wrong clock neither locks
//! a phone at once nor keeps it open for ever, while it is used.

use std::collections::BTreeSet;

use protocol::{Area, DeviceId, Now, SpaceId};
use sync::envelope::author_key;
use sync::epoch::{EpochTag, Lock, unlock_code};
use sync::{Envelope, SpaceKey};

use super::commands::{Answer, Reply, no};
use super::{Phone, load_number, setting};
use crate::api::Refusal;
use crate::store::{Store, StoreError};

fn used_setting(epoch: &EpochTag) -> String {
    format!("lease/{:016x}", u64::from_be_bytes(*epoch))
}

/// Set to the epoch whose key is locked away.
fn locked_setting(space: SpaceId) -> String {
    format!("locked/{space}")
}

/// Set once a lock was opened with its code: a code serves once.
fn opened_setting(lock: &Lock) -> String {
    let nonce = lock
        .nonce
        .first_chunk::<8>()
        .map_or(0, |n| u64::from_be_bytes(*n));
    format!("opened/{nonce:016x}")
}

/// Days that a keeper leases the keys of a space for.
pub(super) fn days_setting(space: SpaceId) -> String {
    format!("lease-days/{space}")
}

impl Phone {
    /// Counts a day, if the date is another than it was, and locks what has been used for too long.
    pub(super) fn count_days(&mut self, now: Now, store: &mut dyn Store) -> Result<(), StoreError> {
        let today = now.wall_s / 86_400;
        if self.day == Some(today) {
            return Ok(());
        }
        self.day = Some(today);
        let last = load_number(setting::LEASE_DAY, store)?;
        if last == today {
            return Ok(());
        }
        store.put_setting(setting::LEASE_DAY, &today.to_le_bytes())?;
        let days = if last > 0 && today > last + 1 {
            2
        } else {
            u64::from(last > 0)
        };
        self.days_used = self.days_used.saturating_add(days);
        store.put_setting(setting::DAYS_USED, &self.days_used.to_le_bytes())?;
        self.check_keys |= !self.keyring.retiring.is_empty();
        for key in self.space_keys.clone() {
            let Some(lease) = self.keyring.lease(&key.epoch_tag()) else {
                continue;
            };
            let used = load_number(&used_setting(&key.epoch_tag()), store)? + days;
            store.put_setting(&used_setting(&key.epoch_tag()), &used.to_le_bytes())?;
            if used > u64::from(lease) {
                self.lock(&key, store)?;
            }
        }
        Ok(())
    }

    /// Puts the keys of a space out of use here. The share with the lock stays among the notices.
    fn lock(&mut self, key: &SpaceKey, store: &mut dyn Store) -> Result<(), StoreError> {
        store.put_setting(&locked_setting(key.space()), &key.epoch_tag())?;
        let (locked, held): (Vec<_>, Vec<_>) = std::mem::take(&mut self.space_keys)
            .into_iter()
            .partition(|held| held.area() == key.area());
        self.space_keys = held;
        locked
            .iter()
            .try_for_each(|key| store.remove_space_key(key))
    }

    /// A key was given anew: its days begin from the start.
    pub(super) fn renew_lease(
        &mut self,
        space: SpaceId,
        epoch: &EpochTag,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        store.put_setting(&used_setting(epoch), &0u64.to_le_bytes())?;
        store.put_setting(&locked_setting(space), &[])
    }

    pub(super) fn unlock(
        &mut self,
        now: Now,
        area: &Area,
        code: &str,
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        let space = SpaceId::of(area);
        if !locked(space, store)? {
            return no(Refusal::NotLocked(area.clone()));
        }
        let own = self.keys.id();
        for bytes in store.notices()?.into_iter().rev() {
            let share = Envelope::parse(bytes)
                .ok()
                .and_then(|e| e.notice().ok())
                .filter(|n| n.area == *area)
                .and_then(|n| n.share);
            let Some(share) = share else { continue };
            let Some(lock) = share.locks.iter().find(|lock| lock.sealed.to == own) else {
                continue;
            };
            if let Some(key) = lock
                .open(area, code, &self.keys)
                .filter(|key| key.epoch_tag() == share.epoch)
            {
                if store.setting(&opened_setting(lock))?.is_some() {
                    return no(Refusal::CodeUsed);
                }
                store.put_setting(&opened_setting(lock), &[1])?;
                self.renew_lease(space, &share.epoch, store)?;
                self.take_key(now, key, store)?;
                return Ok(Ok(Reply::Done));
            }
        }
        no(Refusal::CodeWrong)
    }

    /// The code that opens the newest lock of a phone.
    pub(super) fn say_unlock_code(
        &self,
        area: &Area,
        device: &DeviceId,
        store: &dyn Store,
    ) -> Result<Answer, StoreError> {
        if !self.keeps(area) {
            return no(Refusal::NotKeeper(area.clone()));
        }
        if self.is_lost(device) {
            return no(Refusal::Lost(device.short()));
        }
        let own = author_key(&self.keys.id());
        let mine = |bytes: Vec<u8>| {
            Envelope::parse(bytes)
                .ok()
                .filter(|envelope| envelope.author == own)?
                .notice()
                .ok()
        };
        let shares = store
            .notices()?
            .into_iter()
            .rev()
            .filter_map(mine)
            .filter(|n| n.area == *area)
            .filter_map(|n| n.share);
        let lock = shares
            .flat_map(|share| share.locks)
            .find(|lock| lock.sealed.to == *device);
        match lock {
            Some(lock) => Ok(Ok(Reply::Document(
                unlock_code(&self.keys, device, &lock.nonce).into_bytes(),
            ))),
            None => no(Refusal::NotLeased),
        }
    }

    /// Leases the keys of a space from now on; the one in use is shared anew, with the lease.
    pub(super) fn set_lease(
        &mut self,
        now: Now,
        area: &Area,
        days: u32,
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        let Some(key) = self.write_key(area).cloned().filter(|_| self.keeps(area)) else {
            return no(Refusal::NotKeeper(area.clone()));
        };
        store.put_setting(&days_setting(key.space()), &u64::from(days).to_le_bytes())?;
        let members = self.members(key.space(), &[], store)?;
        self.share_key(now, &key, &[], &members, &BTreeSet::new(), store)?;
        Ok(Ok(Reply::Done))
    }
}

/// Whether the keys of a space are locked away on this phone.
pub fn locked(space: SpaceId, store: &dyn Store) -> Result<bool, StoreError> {
    Ok(store
        .setting(&locked_setting(space))?
        .is_some_and(|epoch| !epoch.is_empty()))
}
