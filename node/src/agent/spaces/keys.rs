//! Keys of spaces: which to write with, who may have them, how they are made, shared, replaced and
//! taken.

use std::collections::{BTreeMap, BTreeSet};

use protocol::defence::{self, Defence};
use protocol::{Area, DeviceId, Right, SpaceId, VerifiedChain, always};
use sync::envelope::author_key;
use sync::epoch::{Epochs, KeyShare, MEMBERS_PER_SHARE_MAX, Member};
use sync::space::sealing_public_key;
use sync::{Notice, SpaceKey};

use super::{Identity, Spaces, StoreError};
use crate::agent::load::load_number;
use crate::agent::tx::{Consequence, Tx};
use crate::store::{Setting, Store};

/// Keys that one new key follows; more were made apart only by somebody gone wrong.
const PARENTS_MAX: usize = 16;
/// Keys of one space that are opened through one another at once.
const HISTORY_MAX: usize = 1000;

fn member_of(chain: &VerifiedChain) -> Member {
    Member {
        device: chain.device,
        sealing_key: chain.sealing_key,
        area: chain.area.clone(),
    }
}

impl Spaces {
    /// The key to write with into the space of an area; `None`: what is written waits.
    pub(in crate::agent) fn write_key(&self, area: &Area, own: &Identity) -> Option<&SpaceKey> {
        let held = self.keys.iter().filter(|key| key.area() == area);
        let none = Epochs::default();
        let epochs = self.epochs.get(&SpaceId::of(area)).unwrap_or(&none);
        let out = epochs.left_out();
        let lost = |device: &DeviceId| self.is_revoked(device, own) || out.contains(device);
        let key = epochs.writable(held, &lost);
        let ended = |key: &SpaceKey| epochs.retired(&key.epoch_tag());
        let had = |key: &SpaceKey| epochs.members_of(&key.epoch_tag()).iter().any(lost);
        always!(key.is_none_or(|key| !ended(key)), "it has not ended");
        always!(key.is_none_or(|key| !had(key)), "no lost phone has it");
        key
    }

    /// Phones that a keeper has left out of a space.
    fn left_out(&self, space: SpaceId) -> BTreeSet<DeviceId> {
        let epochs = self.epochs.get(&space);
        epochs.map(Epochs::left_out).unwrap_or_default()
    }

    /// Everyone who may have the keys of a space: any certificates in force that let a phone read
    /// will do.
    pub(in crate::agent) fn members(
        &self,
        space: SpaceId,
        without: &[DeviceId],
        own: &Identity,
        store: &dyn Store,
    ) -> Result<Vec<Member>, StoreError> {
        let us = Member {
            device: own.id(),
            sealing_key: sealing_public_key(&own.keys),
            area: own.area(),
        };
        let mut members = BTreeMap::from([(own.id(), us)]);
        let none = Epochs::default();
        let epochs = self.epochs.get(&space).unwrap_or(&none);
        let mut without: BTreeSet<_> = without.iter().copied().collect();
        without.extend(self.left_out(space));
        for device in epochs.members().difference(&without) {
            let mut authors = self.authors(author_key(device), own, store)?;
            authors.retain(|(chain, lost)| chain.device == *device && !lost);
            if !defence::stands(Defence::AnyChainInForce) {
                authors = authors.pop().into_iter().collect(); // the newest
            }
            authors.retain(|(chain, _)| {
                let judged = self.judge(chain.chain(), own);
                chain.rights.has(Right::Read) && matches!(judged, Some(Ok(_)))
            });
            let known =
                |chain: &VerifiedChain| epochs.areas_of(device).any(|area| *area == chain.area);
            let chosen = authors
                .iter()
                .find(|(chain, _)| known(chain))
                .or(authors.first());
            if let Some((chain, _)) = chosen.filter(|_| !self.is_revoked(device, own)) {
                members.insert(*device, member_of(chain));
            }
        }
        let mut others = members.keys().filter(|device| **device != own.id());
        always!(
            others.all(|d| !without.contains(d) && !self.is_revoked(d, own)),
            "who is lost or left out gets no key"
        );
        Ok(members.into_values().collect())
    }

    /// Gives the key of a space to phones, in an envelope of its own for every few hundred.
    pub(in crate::agent) fn share_key(
        &mut self,
        key: &SpaceKey,
        parents: &[SpaceKey],
        members: &[Member],
        left_out: &BTreeSet<DeviceId>,
        tx: &mut Tx,
    ) -> Result<(), StoreError> {
        always!(
            !self.retired(key.space(), &key.epoch_tag()),
            "it has not ended"
        );
        for (n, some) in members.chunks(MEMBERS_PER_SHARE_MAX).enumerate() {
            let parents = if n == 0 { parents } else { &[] };
            let mut share = KeyShare::seal(key, parents, some, &mut tx.own.rng)
                .map_err(|e| StoreError::Other(e.to_string()))?;
            always!(
                share.members.len() == share.areas.len(),
                "they are read as pairs"
            );
            let left_out = left_out.iter().copied();
            share.left_out = left_out.take(MEMBERS_PER_SHARE_MAX).collect();
            let lease = load_number(&Setting::lease_days(key.space()), tx.store)?;
            let share = match u32::try_from(lease).unwrap_or(u32::MAX) {
                0 => Some(share),
                days => {
                    let (keys, rng) = (&tx.own.keys, &mut tx.own.rng);
                    Some(share.leased(key, days, keys, some, rng))
                }
            };
            let notice = Notice {
                share,
                ..Notice::about(key.area())
            };
            self.say(&notice, tx)?;
        }
        Ok(())
    }

    /// Makes the next key of a space, for all its members but those that are lost and those left
    /// out.
    pub(in crate::agent) fn make_key(
        &mut self,
        area: &Area,
        without: &[DeviceId],
        tx: &mut Tx,
    ) -> Result<(), StoreError> {
        let space = SpaceId::of(area);
        let mut left_out = self.left_out(space);
        left_out.extend(without);
        let members = self.members(space, without, tx.own, tx.store)?;
        let mut others = members.iter().filter(|m| m.device != tx.own.id());
        always!(others.all(|m| !left_out.contains(&m.device)));
        // The ones that no other follows: those before them open through them.
        let epochs = self.epochs.get(&space);
        let heads = epochs.map(Epochs::heads).unwrap_or_default();
        let begins = |key: &&SpaceKey| heads.is_empty() || heads.contains(&key.epoch_tag());
        let held = self.keys.iter().filter(|key| key.area() == area);
        let held = held.filter(|key| !self.retired(space, &key.epoch_tag()));
        let parents: Vec<_> = held.filter(begins).take(PARENTS_MAX).cloned().collect();
        let key = SpaceKey::new(area.clone(), tx.own.random());
        tx.store.put_space_key(&key)?;
        self.keys.push(key.clone());
        self.share_key(&key, &parents, &members, &left_out, tx)?;
        tx.out.follow(Consequence::SealWaiting);
        Ok(())
    }

    /// A keeper makes new keys for the spaces whose keys a lost phone has, and seals what other
    /// keepers have made to the members whose certificates those did not know.
    pub(in crate::agent) fn renew_keys(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        self.find_orphaned(tx.own, tx.store)?;
        if self.is_revoked(&tx.own.id(), tx.own) {
            return Ok(()); // any key of its making would be tainted at once
        }
        for area in self.areas_read() {
            match self.write_key(&area, tx.own).cloned() {
                _ if !tx.own.keeps(&area) => {}
                None => self.make_key(&area, &[], tx)?,
                Some(key) => {
                    let mut missing = self.members(key.space(), &[], tx.own, tx.store)?;
                    let epochs = self.epochs.get(&key.space());
                    let have = epochs.map(|epochs| epochs.members_of(&key.epoch_tag()));
                    let have = have.unwrap_or_default();
                    missing.retain(|member| !have.contains(&member.device));
                    self.share_key(&key, &[], &missing, &BTreeSet::new(), tx)?;
                }
            }
        }
        Ok(())
    }

    /// Takes the key of a space and those before it; those that are new here, in the order in which
    /// they were opened.
    pub(in crate::agent) fn take_key(
        &mut self,
        key: SpaceKey,
        tx: &mut Tx,
    ) -> Result<Vec<SpaceKey>, StoreError> {
        let new = |spaces: &Self, key: &SpaceKey| {
            !spaces.keys.contains(key) && !spaces.retired(key.space(), &key.epoch_tag())
        };
        let mut taken = Vec::new();
        let before = self.keys.len();
        if !new(self, &key) {
            return Ok(taken);
        }
        let mut waiting = vec![key];
        for _ in 0..HISTORY_MAX {
            let Some(key) = waiting.pop() else { break };
            if !new(self, &key) {
                continue;
            }
            tx.store.put_space_key(&key)?;
            self.keys.push(key.clone());
            let before = self
                .shares
                .iter()
                .flat_map(|kept| kept.share.open_parents(&key));
            waiting.extend(before);
            taken.push(key);
        }
        always!(
            self.keys.len() == before + taken.len(),
            "each is new here, once"
        );
        tx.out.changed();
        Ok(taken)
    }

    /// Destroys the keys whose epochs have ended.
    pub(in crate::agent) fn drop_ended_keys(
        &mut self,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        let before = self.keys.len();
        let keys = std::mem::take(&mut self.keys).into_iter();
        let (ended, held): (Vec<_>, Vec<_>) =
            keys.partition(|key| self.retired(key.space(), &key.epoch_tag()));
        self.keys = held;
        always!(
            ended.len() + self.keys.len() == before,
            "none is lost on the way"
        );
        ended.iter().try_for_each(|key| store.remove_space_key(key))
    }
}
