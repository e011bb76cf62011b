//! Which keys this phone has of each space, which of them it may write with, and which phones are
//! lost: all from notices (`sync::notice`) and from the ministry's own revocations.
//!
//! 1. A notice counts if its author was certified for it when it came. What a phone that the
//!    *ministry* has revoked said of other phones being lost counts no more: a stolen supervisor's
//!    phone must not be able to silence a district for ever.
//! 2. A key that a lost phone has, or can open, is never written with again. Until a new one comes,
//!    what is written waits. The same goes for one that has only a lost phone's word for who it is:
//!    it needs certificates from somebody else.
//! 3. A keeper that learns of a loss makes a new key at once, sealed to all other members. The same
//!    goes for a phone that another keeper has left out of the space.
//! 4. What a lost phone wrote is kept, carried and shown as waiting; it is opened once somebody
//!    above countersigns it, or where a keeper had taken it in before it heard of the loss (its
//!    `delivered` says so): or else some readers would have it and others never. A keeper that is
//!    lost itself vouches for nothing any more, and no keeper for its own envelopes or for notices.
//! 5. Ended keys are destroyed with what they sealed, and that is not taken in again, however long
//!    a phone was away: once two keepers have said so, or one has and a week of use has passed in
//!    which nobody has said that it is lost ([`super::retirement`]).
//! 6. A word that a phone is lost counts where the area of who says it covers the phone, and is
//!    pending until certificates, or a keeper's share, show where the phone is.
//! 7. Who may have a key is asked of any certificates in force, not of the newest: nobody can be
//!    shut out, or given another's key, by certificates made up beside its own.
//!
//! Which certificates are believed is in `chains`, how envelopes are opened in `opening`, photos
//! that were announced in `photos`.

use std::collections::{BTreeMap, BTreeSet};

use protocol::defence::{self, Defence};
use protocol::limits::QUARANTINED_MAX;
use protocol::{Area, DeviceId, Digest, EnvelopeId, Now, Right, SpaceId, VerifiedChain};
use sync::envelope::{AuthorKey, announce, author_key};
use sync::epoch::{EpochTag, Epochs, KeyShare, MEMBERS_PER_SHARE_MAX, Member};
use sync::notice::{Lost, short};
use sync::{Envelope, EnvelopeKind, Notice, SpaceKey, VerifiedEnvelope};

use super::commands::{Answer, Reply, no};
use super::lease::days_setting;
use super::{Agent, Phone, load_certificate};
use crate::api::Refusal;
use crate::store::{Store, StoreError};

mod chains;
mod opening;
mod photos;

use chains::areas_of;
pub(super) use photos::Photo;

/// Why an envelope of a lost phone waits.
pub(super) const LATE: &str = "its author's phone is lost: somebody above must countersign it";
/// Keys that one new key follows; more were made apart only by somebody gone wrong.
const PARENTS_MAX: usize = 16;
/// Keys of one space that are opened through one another at once.
const HISTORY_MAX: usize = 1000;
/// Ids in one countersignature.
const COUNTERSIGNED_MAX: usize = 1500;

/// What notices have said.
#[derive(Debug, Default)]
pub(crate) struct Keyring {
    pub(super) epochs: BTreeMap<SpaceId, Epochs>,
    /// Who is said to be lost. Each word counts where its area covers the phone.
    lost: BTreeMap<DeviceId, Vec<LostWord>>,
    /// Where phones that are said to be lost are certified, by the certificates that are known
    /// here.
    lost_areas: BTreeMap<DeviceId, BTreeSet<Area>>,
    countersigned: BTreeSet<EnvelopeId>,
    /// Days of use that this phone may have a key, as its keeper says.
    leases: BTreeMap<EpochTag, u32>,
    /// Sealed photos.
    attached: BTreeMap<Digest, Photo>,
    /// How many photos each author has announced, and their bytes.
    attached_by: BTreeMap<DeviceId, (usize, u64)>,
    /// Sealed photos that have reached a keeper, by their short names.
    photos_arrived: BTreeSet<[u8; 8]>,
    /// Members of spaces whose certificates all hang on a lost phone: whoever has it may have made
    /// them up.
    orphaned: BTreeSet<DeviceId>,
    /// Who has taken in which envelopes, as their notices say; made when it is first asked for.
    vouchers: Option<BTreeMap<[u8; 8], BTreeSet<AuthorKey>>>,
    /// Epochs that keepers have asked to end, which have not ended yet.
    pub(super) retiring: BTreeMap<(SpaceId, EpochTag), BTreeSet<DeviceId>>,
    /// The areas of spaces, as notices name them.
    pub(super) areas: BTreeMap<SpaceId, Area>,
}

/// Somebody's word that a phone is lost.
#[derive(Debug, Clone)]
struct LostWord {
    by: DeviceId,
    area: Area,
    reason: String,
}

impl Keyring {
    /// Whether a member of a space stands there only by a lost phone's word.
    pub(super) fn is_orphaned(&self, device: &DeviceId) -> bool {
        self.orphaned.contains(device)
    }

    /// Phones that are said to be lost, and why.
    pub(super) fn lost(&self) -> impl Iterator<Item = (&DeviceId, &str)> {
        self.lost
            .iter()
            .filter_map(|(device, said)| Some((device, said.first()?.reason.as_str())))
    }

    /// Whether the key of an epoch has been ended.
    pub(super) fn retired(&self, space: SpaceId, epoch: &[u8; 8]) -> bool {
        self.epochs.get(&space).is_some_and(|e| e.retired(epoch))
    }

    /// Days of use that this phone may have a key.
    pub(super) fn lease(&self, epoch: &EpochTag) -> Option<u32> {
        self.leases.get(epoch).copied()
    }

    /// Whether a word that a phone is lost counts for it: keepers' shares say where it is
    /// certified, or else its certificates do.
    fn covers(&self, device: &DeviceId, word: &LostWord) -> bool {
        let mut said = self
            .epochs
            .values()
            .flat_map(|epochs| epochs.areas_of(device))
            .peekable();
        if said.peek().is_some() {
            return said.any(|area| word.area.covers(area));
        }
        match self.lost_areas.get(device) {
            Some(areas) => areas.iter().any(|area| word.area.covers(area)),
            None => !defence::stands(Defence::PendingRevocation), // pending: nothing shows yet where it is
        }
    }

    fn take(
        &mut self,
        own: DeviceId,
        space: SpaceId,
        (author, notice): (&VerifiedChain, &Notice),
        store: &dyn Store,
    ) -> Result<(), StoreError> {
        self.areas
            .entry(space)
            .or_insert_with(|| notice.area.clone());
        let epochs = self.epochs.entry(space).or_default();
        if let Some(share) = notice
            .share
            .as_ref()
            .filter(|s| author.device != own && s.members.iter().any(|m| m.to == own))
        {
            match share.lease_days {
                Some(days) => self.leases.insert(share.epoch, days),
                None => self.leases.remove(&share.epoch),
            };
        }
        notice.share.iter().for_each(|share| epochs.add(share));
        for epoch in notice
            .retired_epochs()
            .filter(|epoch| !epochs.retired(epoch))
        {
            self.retiring
                .entry((space, epoch))
                .or_default()
                .insert(author.device);
        }
        self.countersigned.extend(&notice.countersigned);
        self.photos_arrived.extend(notice.photos_delivered());
        if let Some(attached) = notice.attached {
            self.attach(author, &notice.area, &attached);
        }
        if let Some(vouchers) = &mut self.vouchers
            && author.rights.has(Right::Grant)
        {
            let key = author_key(&author.device);
            for id in notice.delivered_ids() {
                vouchers.entry(id).or_default().insert(key);
            }
        }
        for lost in &notice.revoked {
            let word = LostWord {
                by: author.device,
                area: author.area.clone(),
                reason: lost.reason.clone(),
            };
            self.lost.entry(lost.device).or_default().push(word);
            self.vouchers = None; // whoever is lost vouches no more
            let areas = areas_of(&lost.device, store)?;
            if !areas.is_empty() {
                self.lost_areas
                    .entry(lost.device)
                    .or_default()
                    .extend(areas);
            }
        }
        Ok(())
    }
}

fn member_of(chain: &VerifiedChain) -> Member {
    Member {
        device: chain.device,
        sealing_key: chain.sealing_key,
        area: chain.area.clone(),
    }
}

impl Agent {
    /// Phones that keepers of spaces have said to be lost, and why.
    pub fn lost(&self) -> impl Iterator<Item = (&DeviceId, &str)> {
        let phone = &self.phone;
        phone
            .keyring
            .lost()
            .filter(|(device, _)| phone.is_lost(device))
    }

    /// Phones that are said to be lost, of which nothing shows yet that they are where that counts.
    pub fn perhaps_lost(&self) -> impl Iterator<Item = (&DeviceId, &str)> {
        let phone = &self.phone;
        phone
            .keyring
            .lost()
            .filter(|(device, _)| !phone.is_lost(device))
    }
}

impl Phone {
    pub(super) fn load_keyring(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        let mut keyring = Keyring::default();
        let aside: BTreeSet<_> = store.quarantined()?.into_iter().map(|(id, _)| id).collect();
        for bytes in store.notices()? {
            let Ok(envelope) = Envelope::parse(bytes) else {
                continue;
            };
            if aside.contains(&envelope.id) {
                continue; // a lost phone's, until somebody above countersigns it
            }
            let authors = self.authors(envelope.author, store)?;
            let found = authors
                .iter()
                .find_map(|(chain, _)| Some((envelope.clone().verify(chain).ok()?, chain)));
            if let Some((verified, chain)) = found
                && let Ok(notice) = verified.notice()
            {
                keyring.take(self.keys.id(), verified.space, (chain, &notice), store)?;
            }
        }
        self.keyring = keyring;
        self.mature(store)?;
        self.drop_photos_of_lost();
        self.find_orphaned(store)
    }

    /// Looks at the certificates of all members of spaces anew.
    fn find_orphaned(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        let mut orphaned = BTreeSet::new();
        for device in self
            .keyring
            .epochs
            .values()
            .flat_map(Epochs::members)
            .collect::<BTreeSet<_>>()
        {
            let mut authors = self.authors(author_key(&device), store)?;
            authors.retain(|(chain, _)| chain.device == device);
            if !authors.is_empty() && authors.iter().all(|(_, lost)| *lost) {
                orphaned.insert(device);
            }
        }
        self.keyring.orphaned = orphaned;
        Ok(())
    }

    /// The key to write with into the space of an area; `None`: what is written waits.
    pub(super) fn write_key(&self, area: &Area) -> Option<&SpaceKey> {
        let held = self.space_keys.iter().filter(|key| key.area() == area);
        let none = Epochs::default();
        let epochs = self.keyring.epochs.get(&SpaceId::of(area)).unwrap_or(&none);
        let out = epochs.left_out();
        epochs.writable(held, &|device| self.is_lost(device) || out.contains(device))
    }

    pub(super) fn keeps(&self, area: &Area) -> bool {
        self.certificate
            .as_ref()
            .is_some_and(|c| c.rights.has(Right::Grant) && c.area.covers(area))
    }

    /// Says a notice, and does itself what follows from it.
    pub(super) fn say_notice(
        &mut self,
        now: Now,
        notice: &Notice,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        let salt = self.random();
        let envelope =
            announce(notice, &self.keys, salt).map_err(|e| StoreError::Other(e.to_string()))?;
        store.put_envelope(&envelope, &notice.area)?;
        self.changed();
        let Some(own) = self.certificate.clone() else {
            return Ok(());
        };
        self.heed(now, &envelope, &own, store)
    }

    /// Gives the key of a space to phones, in an envelope of its own for every few hundred.
    pub(super) fn share_key(
        &mut self,
        now: Now,
        key: &SpaceKey,
        parents: &[SpaceKey],
        members: &[Member],
        left_out: &BTreeSet<DeviceId>,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        for (n, some) in members.chunks(MEMBERS_PER_SHARE_MAX).enumerate() {
            let parents = if n == 0 { parents } else { &[] };
            let mut share = KeyShare::seal(key, parents, some, &mut self.rng)
                .map_err(|e| StoreError::Other(e.to_string()))?;
            share.left_out = left_out
                .iter()
                .copied()
                .take(MEMBERS_PER_SHARE_MAX)
                .collect();
            let lease = super::load_number(&days_setting(key.space()), store)?;
            let share = match u32::try_from(lease).unwrap_or(u32::MAX) {
                0 => Some(share),
                days => Some(share.leased(key, days, &self.keys, some, &mut self.rng)),
            };
            self.say_notice(
                now,
                &Notice {
                    share,
                    ..Notice::about(key.area())
                },
                store,
            )?;
        }
        Ok(())
    }

    /// Makes the next key of a space, for all its members but those that are lost and those left
    /// out.
    pub(super) fn make_key(
        &mut self,
        now: Now,
        area: &Area,
        without: &[DeviceId],
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        let space = SpaceId::of(area);
        let mut left_out = self.left_out(space);
        left_out.extend(without);
        let members = self.members(space, without, store)?;
        // The ones that no other follows: those before them open through them.
        let heads = self
            .keyring
            .epochs
            .get(&space)
            .map(Epochs::heads)
            .unwrap_or_default();
        let begins = |key: &&SpaceKey| heads.is_empty() || heads.contains(&key.epoch_tag());
        let held = self.space_keys.iter().filter(|key| key.area() == area);
        let held = held.filter(|key| !self.keyring.retired(space, &key.epoch_tag()));
        let parents: Vec<_> = held.filter(begins).take(PARENTS_MAX).cloned().collect();
        let key = SpaceKey::new(area.clone(), self.random());
        store.put_space_key(&key)?;
        self.space_keys.push(key.clone());
        self.share_key(now, &key, &parents, &members, &left_out, store)?;
        self.seal_what_waits(now, store)
    }

    /// Phones that a keeper has left out of a space.
    fn left_out(&self, space: SpaceId) -> BTreeSet<DeviceId> {
        self.keyring
            .epochs
            .get(&space)
            .map(Epochs::left_out)
            .unwrap_or_default()
    }

    /// Everyone who may have the keys of a space: any certificates in force that let a phone read
    /// will do.
    pub(super) fn members(
        &self,
        space: SpaceId,
        without: &[DeviceId],
        store: &dyn Store,
    ) -> Result<Vec<Member>, StoreError> {
        let own = self.keys.id();
        let sealing_key = sync::space::sealing_public_key(&self.keys);
        let mut members = BTreeMap::from([(
            own,
            Member {
                device: own,
                sealing_key,
                area: self.area(),
            },
        )]);
        let none = Epochs::default();
        let epochs = self.keyring.epochs.get(&space).unwrap_or(&none);
        let mut without: BTreeSet<_> = without.iter().copied().collect();
        without.extend(self.left_out(space));
        for device in epochs.members().difference(&without) {
            let mut authors = self.authors(author_key(device), store)?;
            authors.retain(|(chain, lost)| chain.device == *device && !lost);
            if !defence::stands(Defence::AnyChainInForce) {
                authors = authors.pop().into_iter().collect(); // the newest
            }
            authors.retain(|(chain, _)| {
                chain.rights.has(Right::Read) && matches!(self.judge(chain.chain()), Some(Ok(_)))
            });
            let known =
                |chain: &VerifiedChain| epochs.areas_of(device).any(|area| *area == chain.area);
            let chosen = authors
                .iter()
                .find(|(chain, _)| known(chain))
                .or(authors.first());
            if let Some((chain, _)) = chosen.filter(|_| !self.is_lost(device)) {
                members.insert(*device, member_of(chain));
            }
        }
        Ok(members.into_values().collect())
    }

    /// A keeper makes new keys for the spaces whose keys a lost phone has, and seals what other
    /// keepers have made to the members whose certificates those did not know.
    pub(super) fn renew_keys(&mut self, now: Now, store: &mut dyn Store) -> Result<(), StoreError> {
        self.find_orphaned(store)?;
        if self.is_lost(&self.keys.id()) {
            return Ok(()); // any key of its making would be tainted at once
        }
        let areas: BTreeSet<_> = self
            .space_keys
            .iter()
            .map(|key| key.area().clone())
            .collect();
        for area in areas {
            match self.write_key(&area).cloned() {
                _ if !self.keeps(&area) => {}
                None => self.make_key(now, &area, &[], store)?,
                Some(key) => {
                    let mut missing = self.members(key.space(), &[], store)?;
                    let have = self
                        .keyring
                        .epochs
                        .get(&key.space())
                        .map(|epochs| epochs.members_of(&key.epoch_tag()));
                    let have = have.unwrap_or_default();
                    missing.retain(|member| !have.contains(&member.device));
                    self.share_key(now, &key, &[], &missing, &BTreeSet::new(), store)?;
                }
            }
        }
        Ok(())
    }

    /// Does what follows from a notice that has just been taken in (or said).
    pub(super) fn heed(
        &mut self,
        now: Now,
        envelope: &VerifiedEnvelope,
        author: &VerifiedChain,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        let Ok(notice) = envelope.notice() else {
            return Ok(());
        };
        self.keyring
            .take(self.keys.id(), envelope.space, (author, &notice), store)?;
        if let Some(share) = &notice.share {
            let may_read = self
                .certificate
                .as_ref()
                .is_some_and(|c| c.rights.has(Right::Read));
            if let Some(key) = share.open(&notice.area, &self.keys).filter(|_| may_read) {
                self.renew_lease(envelope.space, &share.epoch, store)?;
                self.take_key(now, key, store)?;
            }
            self.open_history(now, share, store)?;
        }
        if !notice.revoked.is_empty() {
            self.certificate = load_certificate(self, store)?;
            self.forget_photos_of_lost(store)?;
            self.renew_keys(now, store)?;
        }
        for id in &notice.countersigned {
            self.open_countersigned(now, id, store)?;
        }
        if author.rights.has(Right::Grant) && !notice.delivered.is_empty() {
            let delivered: BTreeSet<_> = notice.delivered_ids().collect();
            let waiting = store
                .quarantined()?
                .into_iter()
                .filter(|(id, why)| why == LATE && delivered.contains(&short(id)));
            for (id, _) in waiting.collect::<Vec<_>>() {
                let parsed = store
                    .envelope(&id)?
                    .and_then(|bytes| Envelope::parse(bytes).ok());
                let Some(late) = parsed else { continue };
                let strict = defence::stands(Defence::Vouchers);
                let vouches =
                    late.kind == EnvelopeKind::Changes && late.author != author_key(&author.device);
                if vouches || !strict {
                    self.open_countersigned(now, &id, store)?;
                }
            }
        }
        if notice.attached.is_some() || notice.share.is_some() {
            self.open_bundles(store)?;
        }
        if !notice.retired.is_empty() {
            self.settle_retirements(now, store)?;
        }
        // Once for all that come together: it looks at the certificates of every member.
        self.check_keys |= notice.share.is_some() && author.device != self.keys.id();
        match notice.share.is_some() || !notice.revoked.is_empty() || !notice.retired.is_empty() {
            true => self.seal_what_waits(now, store),
            false => Ok(()),
        }
    }

    /// Opens the keys before the one of a share, where that one is held.
    fn open_history(
        &mut self,
        now: Now,
        share: &KeyShare,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        let held = self
            .space_keys
            .iter()
            .find(|key| key.epoch_tag() == share.epoch)
            .cloned();
        let before = held.map(|key| share.open_parents(&key)).unwrap_or_default();
        before
            .into_iter()
            .try_for_each(|key| self.take_key(now, key, store))
    }

    /// Takes the key of a space and those before it, and opens what has been carried for them.
    pub(super) fn take_key(
        &mut self,
        now: Now,
        key: SpaceKey,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        let new = |phone: &Self, key: &SpaceKey| {
            !phone.space_keys.contains(key) && !phone.keyring.retired(key.space(), &key.epoch_tag())
        };
        if !new(self, &key) {
            return Ok(());
        }
        let shares = store
            .notices()?
            .into_iter()
            .filter_map(|bytes| Envelope::parse(bytes).ok()?.notice().ok()?.share);
        let shares: Vec<KeyShare> = shares.collect();
        let mut waiting = vec![key];
        for _ in 0..HISTORY_MAX {
            let Some(key) = waiting.pop() else { break };
            if !new(self, &key) {
                continue;
            }
            store.put_space_key(&key)?;
            self.space_keys.push(key.clone());
            self.open_carried(now, &key, store)?;
            waiting.extend(shares.iter().flat_map(|share| share.open_parents(&key)));
        }
        self.changed();
        self.seal_what_waits(now, store)
    }

    /// Opens what has been carried of a key's epoch.
    fn open_carried(
        &mut self,
        now: Now,
        key: &SpaceKey,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        let epoch = key.epoch_tag();
        let rows = store
            .envelope_rows(key.space())?
            .into_iter()
            .filter(|row| row.epoch == epoch && row.bytes > 0);
        let rows: Vec<_> = rows.collect();
        // Within a meeting's frame the mark is there already; else what was carried for this key is
        // marked now.
        let outermost = self.begin_opening(rows.iter().map(|row| row.id), store)?;
        self.open_rows(now, rows, store)?;
        if outermost {
            self.end_opening(store)
        } else {
            Ok(())
        }
    }

    fn open_rows(
        &mut self,
        now: Now,
        rows: Vec<crate::store::EnvelopeRow>,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        for row in rows {
            let Some(bytes) = store.envelope(&row.id)? else {
                continue;
            };
            let Ok(envelope) = Envelope::parse(bytes) else {
                continue;
            };
            let authors = self.authors(envelope.author, store)?;
            let judged = authors
                .into_iter()
                .find_map(|(chain, lost)| Some((envelope.clone().verify(&chain).ok()?, lost)));
            match judged {
                Some((verified, lost)) if !lost || self.vouched_for(&verified, store)? => {
                    self.open_envelope(now, &verified, store)?;
                }
                Some((verified, _)) => store.put_quarantine(&verified.id, LATE)?,
                None => {}
            }
        }
        Ok(())
    }

    /// Keeps what a lost phone wrote until somebody above has looked at it. `false` if it was here,
    /// or there is no room.
    pub(super) fn take_late(
        &mut self,
        now: Now,
        envelope: &VerifiedEnvelope,
        area: &Area,
        store: &mut dyn Store,
    ) -> Result<bool, StoreError> {
        if envelope.kind == EnvelopeKind::Changes
            && self.keyring.retired(envelope.space, &envelope.epoch_tag)
        {
            return Ok(false); // its time is over
        }
        let known = self.vouched_for(envelope, store)?;
        if !known && store.quarantine_count()? >= QUARANTINED_MAX {
            return Ok(false);
        }
        if known {
            return self.take_envelope(now, envelope, area, store);
        }
        let fresh = store.put_envelope(envelope, area)?;
        if fresh {
            store.put_quarantine(&envelope.id, LATE)?;
            self.changed();
        }
        Ok(fresh)
    }

    /// Whether somebody above has countersigned an envelope, or a keeper that is not lost had taken
    /// it in.
    fn vouched_for(
        &mut self,
        envelope: &VerifiedEnvelope,
        store: &dyn Store,
    ) -> Result<bool, StoreError> {
        if self.keyring.countersigned.contains(&envelope.id) {
            return Ok(true);
        }
        let strict = defence::stands(Defence::Vouchers);
        if strict && envelope.kind != EnvelopeKind::Changes {
            return Ok(false);
        }
        if self.keyring.vouchers.is_none() || !strict {
            self.keyring.vouchers = Some(self.read_vouchers(store)?);
        }
        let keepers = self
            .keyring
            .vouchers
            .as_ref()
            .and_then(|vouchers| vouchers.get(&short(&envelope.id)));
        Ok(keepers.is_some_and(|keepers| {
            keepers
                .iter()
                .any(|keeper| !strict || *keeper != envelope.author)
        }))
    }

    fn read_vouchers(
        &self,
        store: &dyn Store,
    ) -> Result<BTreeMap<[u8; 8], BTreeSet<AuthorKey>>, StoreError> {
        let strict = defence::stands(Defence::Vouchers);
        let aside: BTreeSet<_> = store.quarantined()?.into_iter().map(|(id, _)| id).collect();
        let mut vouchers: BTreeMap<[u8; 8], BTreeSet<AuthorKey>> = BTreeMap::new();
        for bytes in store.notices()? {
            let Ok(envelope) = Envelope::parse(bytes) else {
                continue;
            };
            let Ok(notice) = envelope.notice() else {
                continue;
            };
            if notice.delivered.is_empty() || (strict && aside.contains(&envelope.id)) {
                continue;
            }
            let mut authors = self.authors(envelope.author, store)?;
            authors.retain(|(author, lost)| author.rights.has(Right::Grant) && (!strict || !lost));
            if authors
                .iter()
                .any(|(author, _)| envelope.clone().verify(author).is_ok())
            {
                for id in notice.delivered_ids() {
                    vouchers.entry(id).or_default().insert(envelope.author);
                }
            }
        }
        Ok(vouchers)
    }

    pub(super) fn rotate_space(
        &mut self,
        now: Now,
        area: &Area,
        without: &[DeviceId],
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        if !self.keeps(area) || !self.space_keys.iter().any(|key| key.area() == area) {
            return no(Refusal::NotKeeper(area.clone()));
        }
        self.make_key(now, area, without, store)?;
        Ok(Ok(Reply::Done))
    }

    pub(super) fn revoke(
        &mut self,
        now: Now,
        area: &Area,
        device: DeviceId,
        reason: String,
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        let Some(own) = &self.certificate else {
            return no(Refusal::NotCertified);
        };
        if !own.rights.has(Right::Revoke) || !own.area.covers(area) {
            return no(Refusal::MayNotRevoke(area.clone()));
        }
        if device == self.keys.id() {
            return no(Refusal::RevokesItself);
        }
        if let Err(error) = protocol::codec::check_name("reason", &reason) {
            return no(Refusal::NoticeTooLong(error.to_string()));
        }
        let revoked = vec![Lost { device, reason }];
        self.say_notice(
            now,
            &Notice {
                revoked,
                ..Notice::about(area)
            },
            store,
        )?;
        Ok(Ok(Reply::Done))
    }

    pub(super) fn countersign(
        &mut self,
        now: Now,
        wanted: Vec<EnvelopeId>,
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        let may = self
            .certificate
            .as_ref()
            .is_some_and(|c| c.rights.has(Right::Grant) || c.rights.has(Right::Enrol));
        if !may {
            return no(Refusal::MayNotCountersign);
        }
        let late = store
            .quarantined()?
            .into_iter()
            .filter(|(_, why)| why == LATE)
            .map(|(id, _)| id);
        let late: Vec<_> = late
            .filter(|id| wanted.is_empty() || wanted.contains(id))
            .collect();
        let mut by_area: BTreeMap<Area, Vec<EnvelopeId>> = BTreeMap::new();
        for row in store.spaces()? {
            let held: BTreeSet<_> = store
                .envelope_ids(row.space)?
                .into_iter()
                .map(|(id, _)| id)
                .collect();
            by_area
                .entry(row.area)
                .or_default()
                .extend(late.iter().filter(|id| held.contains(id)));
        }
        for (area, ids) in by_area {
            for some in ids.chunks(COUNTERSIGNED_MAX) {
                let countersigned = some.to_vec();
                self.say_notice(
                    now,
                    &Notice {
                        countersigned,
                        ..Notice::about(&area)
                    },
                    store,
                )?;
            }
        }
        Ok(Ok(if late.is_empty() {
            Reply::Unchanged
        } else {
            Reply::Done
        }))
    }
}
