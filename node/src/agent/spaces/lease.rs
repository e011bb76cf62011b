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

use protocol::{Area, DeviceId, SpaceId, always};
use sync::SpaceKey;
use sync::epoch::{EpochTag, Lock, unlock_code};

use super::{Identity, Spaces};
use crate::agent::commands::{Answer, Reply, no};
use crate::agent::load::load_number;
use crate::agent::tx::{Consequence, Tx};
use crate::api::Refusal;
use crate::store::{Setting, Store, StoreError};

fn opened_once(lock: &Lock) -> Setting {
    Setting::opened(lock.nonce.first_chunk().unwrap_or(&[0; 8]))
}

/// A key was given anew: its days begin from the start.
pub(super) fn renew(
    space: SpaceId,
    epoch: &EpochTag,
    store: &mut dyn Store,
) -> Result<(), StoreError> {
    store.put_setting(&Setting::lease_used(epoch), &0u64.to_le_bytes())?;
    store.put_setting(&Setting::locked(space), &[])
}

impl Spaces {
    /// Counts a day, if the date is another than it was, and locks what has been used for too long.
    pub(in crate::agent) fn count_days(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        let today = tx.now.wall_s / 86_400;
        if self.day == Some(today) {
            return Ok(());
        }
        self.day = Some(today);
        let last = load_number(&Setting::lease_day(), tx.store)?;
        if last == today {
            return Ok(());
        }
        tx.store
            .put_setting(&Setting::lease_day(), &today.to_le_bytes())?;
        let days = if last > 0 && today > last + 1 {
            2
        } else {
            u64::from(last > 0)
        };
        self.days_used = self.days_used.saturating_add(days);
        let used = self.days_used.to_le_bytes();
        tx.store.put_setting(&Setting::days_used(), &used)?;
        self.unchecked |= !self.retiring.is_empty();
        for key in self.keys.clone() {
            let Some(lease) = self.lease(&key.epoch_tag()) else {
                continue;
            };
            let used = load_number(&Setting::lease_used(&key.epoch_tag()), tx.store)? + days;
            tx.store
                .put_setting(&Setting::lease_used(&key.epoch_tag()), &used.to_le_bytes())?;
            if used > u64::from(lease) {
                self.lock(&key, tx.store)?;
                always!(!self.reads(key.area()), "what is locked is not read");
            }
        }
        Ok(())
    }

    /// Puts the keys of a space out of use here. The share with the lock stays among the notices.
    fn lock(&mut self, key: &SpaceKey, store: &mut dyn Store) -> Result<(), StoreError> {
        store.put_setting(&Setting::locked(key.space()), &key.epoch_tag())?;
        let before = self.keys.len();
        let keys = std::mem::take(&mut self.keys).into_iter();
        let (locked, held): (Vec<_>, Vec<_>) = keys.partition(|held| held.area() == key.area());
        self.keys = held;
        always!(
            locked.len() + self.keys.len() == before,
            "none is lost on the way"
        );
        locked
            .iter()
            .try_for_each(|key| store.remove_space_key(key))
    }

    /// Unlocks the keys of a space with a code.
    pub(in crate::agent) fn unlock(
        &mut self,
        area: &Area,
        code: &str,
        tx: &mut Tx,
    ) -> Result<Answer, StoreError> {
        let space = SpaceId::of(area);
        if !locked(space, tx.store)? {
            return no(Refusal::NotLocked(area.clone()));
        }
        let own = tx.own.id();
        let shares = self.shares.iter().rev().filter(|kept| kept.area == *area);
        for share in shares.map(|kept| &kept.share) {
            let Some(lock) = share.locks.iter().find(|lock| lock.sealed.to == own) else {
                continue;
            };
            let opened = lock.open(area, code, &tx.own.keys);
            if let Some(key) = opened.filter(|key| key.epoch_tag() == share.epoch) {
                if tx.store.setting(&opened_once(lock))?.is_some() {
                    return no(Refusal::CodeUsed);
                }
                always!(key.space() == space, "the lock is one of this space");
                tx.store.put_setting(&opened_once(lock), &[1])?;
                renew(space, &share.epoch, tx.store)?;
                tx.out.follow(Consequence::TakeKey(key));
                return Ok(Ok(Reply::Done));
            }
        }
        no(Refusal::CodeWrong)
    }

    /// The code that opens the newest lock of a phone.
    pub(in crate::agent) fn say_unlock_code(
        &self,
        area: &Area,
        device: &DeviceId,
        own: &Identity,
    ) -> Result<Answer, StoreError> {
        if !own.keeps(area) {
            return no(Refusal::NotKeeper(area.clone()));
        }
        if self.is_revoked(device, own) {
            return no(Refusal::Lost(device.short()));
        }
        let ours = self.shares.iter().rev();
        let ours = ours.filter(|kept| kept.by == own.id() && kept.area == *area);
        let mut locks = ours.flat_map(|kept| &kept.share.locks);
        match locks.find(|lock| lock.sealed.to == *device) {
            Some(lock) => {
                let code = unlock_code(&own.keys, device, &lock.nonce);
                Ok(Ok(Reply::Document(code.into_bytes())))
            }
            None => no(Refusal::NotLeased),
        }
    }

    /// Leases the keys of a space from now on; the one in use is shared anew, with the lease.
    pub(in crate::agent) fn set_lease(
        &mut self,
        area: &Area,
        days: u32,
        tx: &mut Tx,
    ) -> Result<Answer, StoreError> {
        let key = self.write_key(area, tx.own).cloned();
        let Some(key) = key.filter(|_| tx.own.keeps(area)) else {
            return no(Refusal::NotKeeper(area.clone()));
        };
        let leased = u64::from(days).to_le_bytes();
        tx.store
            .put_setting(&Setting::lease_days(key.space()), &leased)?;
        let members = self.members(key.space(), &[], tx.own, tx.store)?;
        self.share_key(&key, &[], &members, &BTreeSet::new(), tx)?;
        Ok(Ok(Reply::Done))
    }
}

/// Whether the keys of a space are locked away on this phone.
pub fn locked(space: SpaceId, store: &dyn Store) -> Result<bool, StoreError> {
    Ok(store
        .setting(&Setting::locked(space))?
        .is_some_and(|epoch| !epoch.is_empty()))
}
