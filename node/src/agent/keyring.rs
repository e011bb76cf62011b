//! Which keys this phone has of each space, which of them it may write with, and which phones are lost: all from notices
//! (`sync::notice`) and from the ministry's own revocations.
//!
//! 1. A notice counts if its author was certified for it when it came. What a phone that the *ministry* has revoked said of
//!    other phones being lost counts no more: a stolen supervisor's phone must not be able to silence a district for ever.
//! 2. A key that a lost phone has, or can open, is never written with again. Until a new one comes, what is written waits. The
//!    same goes for one that has only a lost phone's word for who it is: it needs certificates from somebody else.
//! 3. A keeper that learns of a loss makes a new key at once, sealed to all other members. The same goes for a phone that another
//!    keeper has left out of the space.
//! 4. What a lost phone wrote is kept, carried and shown as waiting; it is opened once somebody above countersigns it, or where a
//!    keeper had taken it in before it heard of the loss (its `delivered` says so): or else some readers would have it and
//!    others never.
//! 5. Ended keys are destroyed with what they sealed, and that is not taken in again, however long a phone was away.

use std::collections::{BTreeMap, BTreeSet};

use protocol::certificate::CertificateError;
use protocol::limits::ATTACHMENTS_MAX;
use protocol::{Area, Chain, DeviceId, Digest, EnvelopeId, Now, Right, SpaceId, VerifiedChain};
use sync::envelope::{AuthorKey, announce, author_key};
use sync::epoch::{EpochTag, Epochs, KeyShare, MEMBERS_PER_SHARE_MAX};
use sync::notice::{Lost, short};
use sync::{Envelope, EnvelopeKind, Notice, SpaceKey, VerifiedEnvelope};

use super::commands::{Answer, ENROL_FIRST, Reply, no};
use super::lease::days_setting;
use super::{Agent, Phone, load_certificate};
use crate::store::{Store, StoreError};

/// Why an envelope of a lost phone waits.
pub(super) const LATE: &str = "its author's phone is lost: somebody above must countersign it";
/// Envelopes in quarantine; of more, none is taken in from lost phones.
const QUARANTINED_MAX: u64 = 10_000;
/// Keys that one new key follows; more were made apart only by somebody gone wrong.
const PARENTS_MAX: usize = 16;
/// Keys of one space that are opened through one another at once.
const HISTORY_MAX: usize = 1000;
/// Ids in one countersignature.
const COUNTERSIGNED_MAX: usize = 1500;

/// What notices have said.
#[derive(Debug, Default)]
pub(crate) struct Keyring {
    epochs: BTreeMap<SpaceId, Epochs>,
    /// Who is lost, who said so, for which area, and why. Only where that area covers the lost phone's own, if it is known.
    lost: BTreeMap<DeviceId, Vec<(DeviceId, Area, String)>>,
    countersigned: BTreeSet<EnvelopeId>,
    /// Days of use that this phone may have a key, as its keeper says.
    leases: BTreeMap<EpochTag, u32>,
    /// Sealed photos.
    attached: BTreeMap<Digest, Photo>,
    /// Members of spaces whose certificates all hang on a lost phone: whoever has it may have made them up.
    orphaned: BTreeSet<DeviceId>,
}

/// A sealed photo that has been announced.
#[derive(Debug)]
pub(super) struct Photo {
    /// The area whose space it belongs to.
    pub area: Area,
    pub bytes: u64,
    /// The epochs under which it was announced: it goes when all of them have ended.
    epochs: BTreeSet<EpochTag>,
}

impl Keyring {
    /// Sealed photos of all spaces whose keys have not ended.
    pub(super) fn photos(&self) -> impl Iterator<Item = (&Digest, &Photo)> {
        self.attached.iter().filter(|(_, photo)| self.in_force(photo))
    }

    fn in_force(&self, photo: &Photo) -> bool {
        photo.epochs.iter().any(|epoch| !self.retired(SpaceId::of(&photo.area), epoch))
    }

    /// Sealed photos whose keys have all ended.
    pub(super) fn photos_gone(&self) -> Vec<Digest> {
        self.attached.iter().filter(|(_, photo)| !self.in_force(photo)).map(|(blob, _)| *blob).collect()
    }

    /// Whether a member of a space stands there only by a lost phone's word.
    pub(super) fn is_orphaned(&self, device: &DeviceId) -> bool {
        self.orphaned.contains(device)
    }

    /// Whether a photo has been announced under the key of an epoch.
    pub(super) fn announced(&self, blob: &Digest, epoch: &EpochTag) -> bool {
        self.attached.get(blob).is_some_and(|photo| photo.epochs.contains(epoch))
    }

    /// Phones that are lost, and why.
    pub(super) fn lost(&self) -> impl Iterator<Item = (&DeviceId, &str)> {
        self.lost.iter().filter_map(|(device, said)| Some((device, said.first()?.2.as_str())))
    }

    /// Whether the key of an epoch has been ended.
    pub(super) fn retired(&self, space: SpaceId, epoch: &[u8; 8]) -> bool {
        self.epochs.get(&space).is_some_and(|e| e.retired(epoch))
    }

    /// Days of use that this phone may have a key.
    pub(super) fn lease(&self, epoch: &EpochTag) -> Option<u32> {
        self.leases.get(epoch).copied()
    }

    fn take(
        &mut self,
        own: DeviceId,
        space: SpaceId,
        (author, notice): (&VerifiedChain, &Notice),
        store: &dyn Store,
    ) -> Result<(), StoreError> {
        let epochs = self.epochs.entry(space).or_default();
        if let Some(share) =
            notice.share.as_ref().filter(|s| author.device != own && s.members.iter().any(|m| m.to == own))
        {
            match share.lease_days {
                Some(days) => self.leases.insert(share.epoch, days),
                None => self.leases.remove(&share.epoch),
            };
        }
        notice.share.iter().for_each(|share| epochs.add(share));
        epochs.retire(notice.retired_epochs());
        self.countersigned.extend(&notice.countersigned);
        if let Some(attached) = notice.attached.filter(|_| self.attached.len() < ATTACHMENTS_MAX) {
            let photo = || Photo { area: notice.area.clone(), bytes: attached.bytes, epochs: BTreeSet::new() };
            self.attached.entry(attached.digest).or_insert_with(photo).epochs.insert(attached.epoch);
        }
        for lost in &notice.revoked {
            let chains = store.chains(author_key(&lost.device))?;
            let leaves =
                chains.iter().filter_map(|bytes| Chain::from_bytes(bytes).ok()?.certificates.last()?.read().ok());
            let mut known = leaves.filter(|leaf| leaf.device == lost.device).peekable();
            if known.peek().is_none() || known.any(|leaf| author.area.covers(&leaf.area)) {
                let said = (author.device, author.area.clone(), lost.reason.clone());
                self.lost.entry(lost.device).or_default().push(said);
            }
        }
        Ok(())
    }
}

impl Agent {
    /// Phones that keepers of spaces have said to be lost, and why.
    pub fn lost(&self) -> impl Iterator<Item = (&DeviceId, &str)> {
        self.phone.keyring.lost()
    }
}

impl Phone {
    pub(super) fn load_keyring(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        let mut keyring = Keyring::default();
        let aside: BTreeSet<_> = store.quarantined()?.into_iter().map(|(id, _)| id).collect();
        for bytes in store.notices()? {
            let Ok(envelope) = Envelope::parse(bytes) else { continue };
            if aside.contains(&envelope.id) {
                continue; // a lost phone's, until somebody above countersigns it
            }
            let authors = self.authors(envelope.author, store)?;
            let found = authors.iter().find_map(|(chain, _)| Some((envelope.clone().verify(chain).ok()?, chain)));
            if let Some((verified, chain)) = found
                && let Ok(notice) = verified.notice()
            {
                keyring.take(self.keys.id(), verified.space, (chain, &notice), store)?;
            }
        }
        self.keyring = keyring;
        self.find_orphaned(store)
    }

    /// Looks at the certificates of all members of spaces anew.
    fn find_orphaned(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        let mut orphaned = BTreeSet::new();
        for device in self.keyring.epochs.values().flat_map(Epochs::members).collect::<BTreeSet<_>>() {
            let mut authors = self.authors(author_key(&device), store)?;
            authors.retain(|(chain, _)| chain.device == device);
            if !authors.is_empty() && authors.iter().all(|(_, lost)| *lost) {
                orphaned.insert(device);
            }
        }
        self.keyring.orphaned = orphaned;
        Ok(())
    }

    /// Believes a chain if it holds, and neither the ministry nor a keeper of the area has said that a phone in it is lost.
    pub(super) fn judge(&self, chain: &Chain) -> Option<Result<VerifiedChain, CertificateError>> {
        let trust = self.trust.as_ref()?;
        let verified = match trust.verify_chain(chain)? {
            Ok(verified) => verified,
            Err(error) => return Some(Err(error)),
        };
        for (position, certificate) in (1..).zip(&chain.certificates) {
            let Ok(certificate) = certificate.read() else { continue };
            let counts = |(by, area, _): &&(DeviceId, Area, String)| {
                trust.revoked(by).is_none() && *by != certificate.device && area.covers(&certificate.area)
            };
            if let Some((_, _, reason)) = self.keyring.lost.get(&certificate.device).and_then(|s| s.iter().find(counts))
            {
                return Some(Err(CertificateError::Revoked { position, reason: reason.clone() }));
            }
        }
        Some(Ok(verified))
    }

    /// The same for a phone that is met, or for this one itself: one whose time is over may still hand over what it has.
    pub(super) fn judge_met(&self, chain: &Chain) -> Option<Result<VerifiedChain, CertificateError>> {
        match self.judge(chain)? {
            Err(CertificateError::Expired(position)) => {
                let known = self.trust.as_ref()?.chain_even_if_lost(chain);
                Some(known.ok_or(CertificateError::Expired(position)))
            }
            other => Some(other),
        }
    }

    /// Whether a phone is lost, as far as this one knows. Who is not known at all is not lost.
    pub(super) fn is_lost(&self, device: &DeviceId) -> bool {
        let Some(trust) = &self.trust else { return false };
        let counts = |(by, ..): &(DeviceId, Area, String)| trust.revoked(by).is_none() && by != device;
        trust.revoked(device).is_some()
            || self.keyring.orphaned.contains(device)
            || self.keyring.lost.get(device).is_some_and(|said| said.iter().any(counts))
    }

    /// Everyone with this short name whose certificates hold, and whether they are lost.
    pub(super) fn authors(
        &self,
        author: AuthorKey,
        store: &dyn Store,
    ) -> Result<Vec<(VerifiedChain, bool)>, StoreError> {
        let Some(trust) = &self.trust else { return Ok(Vec::new()) };
        let chains = store.chains(author)?.into_iter().filter_map(|bytes| Chain::from_bytes(&bytes).ok());
        let judged = chains.filter_map(|chain| match self.judge(&chain)? {
            Ok(verified) => Some((verified, false)),
            Err(CertificateError::Revoked { .. }) => Some((trust.chain_even_if_lost(&chain)?, true)),
            // When it was written nobody can tell: expiry ends what a phone is given, not what it has said.
            Err(CertificateError::Expired(_)) => Some((trust.chain_even_if_lost(&chain)?, false)),
            Err(_) => None,
        });
        Ok(judged.collect())
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
        self.certificate.as_ref().is_some_and(|c| c.rights.has(Right::Grant) && c.area.covers(area))
    }

    /// Says a notice, and does itself what follows from it.
    pub(super) fn say_notice(&mut self, now: Now, notice: &Notice, store: &mut dyn Store) -> Result<(), StoreError> {
        let salt = self.random();
        let envelope = announce(notice, &self.keys, salt).map_err(|e| StoreError::Other(e.to_string()))?;
        store.put_envelope(&envelope, &notice.area)?;
        self.changed();
        let Some(own) = self.certificate.clone() else { return Ok(()) };
        self.heed(now, &envelope, &own, store)
    }

    /// Gives the key of a space to phones, in an envelope of its own for every few hundred.
    pub(super) fn share_key(
        &mut self,
        now: Now,
        key: &SpaceKey,
        parents: &[SpaceKey],
        members: &[(DeviceId, [u8; 32])],
        left_out: &BTreeSet<DeviceId>,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        for (n, some) in members.chunks(MEMBERS_PER_SHARE_MAX).enumerate() {
            let parents = if n == 0 { parents } else { &[] };
            let mut share =
                KeyShare::seal(key, parents, some, &mut self.rng).map_err(|e| StoreError::Other(e.to_string()))?;
            share.left_out = left_out.iter().copied().take(MEMBERS_PER_SHARE_MAX).collect();
            let lease = super::load_number(&days_setting(key.space()), store)?;
            let share = match u32::try_from(lease).unwrap_or(u32::MAX) {
                0 => Some(share),
                days => Some(share.leased(key, days, &self.keys, some, &mut self.rng)),
            };
            self.say_notice(now, &Notice { share, ..Notice::about(key.area()) }, store)?;
        }
        Ok(())
    }

    /// Makes the next key of a space, for all its members but those that are lost and those left out.
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
        let heads = self.keyring.epochs.get(&space).map(Epochs::heads).unwrap_or_default();
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
        self.keyring.epochs.get(&space).map(Epochs::left_out).unwrap_or_default()
    }

    /// Everyone who may have the keys of a space, with their sealing keys.
    pub(super) fn members(
        &self,
        space: SpaceId,
        without: &[DeviceId],
        store: &dyn Store,
    ) -> Result<Vec<(DeviceId, [u8; 32])>, StoreError> {
        let own = (self.keys.id(), sync::space::sealing_public_key(&self.keys));
        let mut members = BTreeMap::from([own]);
        let known = self.keyring.epochs.get(&space).map(Epochs::members).unwrap_or_default();
        let mut without: BTreeSet<_> = without.iter().copied().collect();
        without.extend(self.left_out(space));
        for device in known.difference(&without) {
            let authors = self.authors(author_key(device), store)?;
            let found = authors.into_iter().rfind(|(chain, lost)| chain.device == *device && !lost);
            let given = |chain: &VerifiedChain| {
                chain.rights.has(Right::Read) && matches!(self.judge(chain.chain()), Some(Ok(_)))
            };
            if let Some((chain, _)) = found.filter(|(chain, _)| given(chain)) {
                members.insert(chain.device, chain.sealing_key);
            }
        }
        Ok(members.into_iter().collect())
    }

    /// A keeper makes new keys for the spaces whose keys a lost phone has, and seals what other keepers have made to the members whose
    /// certificates those did not know.
    pub(super) fn renew_keys(&mut self, now: Now, store: &mut dyn Store) -> Result<(), StoreError> {
        self.find_orphaned(store)?;
        if self.is_lost(&self.keys.id()) {
            return Ok(()); // any key of its making would be tainted at once
        }
        let areas: BTreeSet<_> = self.space_keys.iter().map(|key| key.area().clone()).collect();
        for area in areas {
            match self.write_key(&area).cloned() {
                _ if !self.keeps(&area) => {}
                None => self.make_key(now, &area, &[], store)?,
                Some(key) => {
                    let mut missing = self.members(key.space(), &[], store)?;
                    let have = self.keyring.epochs.get(&key.space()).map(|epochs| epochs.members_of(&key.epoch_tag()));
                    let have = have.unwrap_or_default();
                    missing.retain(|(device, _)| !have.contains(device));
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
        let Ok(notice) = envelope.notice() else { return Ok(()) };
        self.keyring.take(self.keys.id(), envelope.space, (author, &notice), store)?;
        if let Some(share) = &notice.share {
            let may_read = self.certificate.as_ref().is_some_and(|c| c.rights.has(Right::Read));
            if let Some(key) = share.open(&notice.area, &self.keys).filter(|_| may_read) {
                self.renew_lease(envelope.space, &share.epoch, store)?;
                self.take_key(now, key, store)?;
            }
            self.open_history(now, share, store)?;
        }
        if !notice.revoked.is_empty() {
            self.certificate = load_certificate(self, store)?;
            self.renew_keys(now, store)?;
        }
        for id in &notice.countersigned {
            self.open_countersigned(now, id, store)?;
        }
        if author.rights.has(Right::Grant) && !notice.delivered.is_empty() {
            let delivered: BTreeSet<_> = notice.delivered_ids().collect();
            for (id, _) in store.quarantined()?.iter().filter(|(id, _)| delivered.contains(&short(id))) {
                self.open_countersigned(now, id, store)?;
            }
        }
        if notice.attached.is_some() {
            self.open_bundles(store)?;
        }
        if !notice.retired.is_empty() {
            self.obey_retirement(now, &notice.area, store)?;
        }
        // Once for all that come together: it looks at the certificates of every member.
        self.check_keys |= notice.share.is_some() && author.device != self.keys.id();
        match notice.share.is_some() || !notice.revoked.is_empty() || !notice.retired.is_empty() {
            true => self.seal_what_waits(now, store),
            false => Ok(()),
        }
    }

    /// Opens the keys before the one of a share, where that one is held.
    fn open_history(&mut self, now: Now, share: &KeyShare, store: &mut dyn Store) -> Result<(), StoreError> {
        let held = self.space_keys.iter().find(|key| key.epoch_tag() == share.epoch).cloned();
        let before = held.map(|key| share.open_parents(&key)).unwrap_or_default();
        before.into_iter().try_for_each(|key| self.take_key(now, key, store))
    }

    /// Takes the key of a space and those before it, and opens what has been carried for them.
    pub(super) fn take_key(&mut self, now: Now, key: SpaceKey, store: &mut dyn Store) -> Result<(), StoreError> {
        let new = |phone: &Self, key: &SpaceKey| {
            !phone.space_keys.contains(key) && !phone.keyring.retired(key.space(), &key.epoch_tag())
        };
        if !new(self, &key) {
            return Ok(());
        }
        let shares = store.notices()?.into_iter().filter_map(|bytes| Envelope::parse(bytes).ok()?.notice().ok()?.share);
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
    fn open_carried(&mut self, now: Now, key: &SpaceKey, store: &mut dyn Store) -> Result<(), StoreError> {
        let epoch = key.epoch_tag();
        for row in store.envelope_rows(key.space())?.into_iter().filter(|row| row.epoch == epoch) {
            let Some(bytes) = store.envelope(&row.id)? else { continue };
            let Ok(envelope) = Envelope::parse(bytes) else { continue };
            let authors = self.authors(envelope.author, store)?;
            let judged =
                authors.into_iter().find_map(|(chain, lost)| Some((envelope.clone().verify(&chain).ok()?, lost)));
            match judged {
                Some((verified, lost)) if !lost || self.vouched_for(&verified.id, store)? => {
                    self.open_envelope(now, &verified, store)?;
                }
                Some((verified, _)) => store.put_quarantine(&verified.id, LATE)?,
                None => {}
            }
        }
        Ok(())
    }

    /// Keeps what a lost phone wrote until somebody above has looked at it. `false` if it was here, or there is no room.
    pub(super) fn take_late(
        &mut self,
        now: Now,
        envelope: &VerifiedEnvelope,
        area: &Area,
        store: &mut dyn Store,
    ) -> Result<bool, StoreError> {
        if envelope.kind == EnvelopeKind::Changes && self.keyring.retired(envelope.space, &envelope.epoch_tag) {
            return Ok(false); // its time is over
        }
        let known = self.vouched_for(&envelope.id, store)?;
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

    /// Whether somebody above has countersigned an envelope, or a keeper had taken it in.
    fn vouched_for(&self, id: &EnvelopeId, store: &dyn Store) -> Result<bool, StoreError> {
        if self.keyring.countersigned.contains(id) {
            return Ok(true);
        }
        for bytes in store.notices()? {
            let Ok(envelope) = Envelope::parse(bytes) else { continue };
            let says = envelope.notice().is_ok_and(|notice| notice.delivered_ids().any(|held| held == short(id)));
            let mut authors = if says { self.authors(envelope.author, store)? } else { Vec::new() };
            authors.retain(|(author, _)| author.rights.has(Right::Grant));
            if authors.iter().any(|(author, _)| envelope.clone().verify(author).is_ok()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn open_countersigned(&mut self, now: Now, id: &EnvelopeId, store: &mut dyn Store) -> Result<(), StoreError> {
        let waits = store.quarantined()?.iter().any(|(held, why)| held == id && why == LATE);
        let Some(bytes) = store.envelope(id)?.filter(|_| waits) else { return Ok(()) };
        let Ok(envelope) = Envelope::parse(bytes) else { return Ok(()) };
        store.remove_quarantine(id)?;
        let authors = self.authors(envelope.author, store)?;
        match authors.iter().find_map(|(chain, _)| Some((envelope.clone().verify(chain).ok()?, chain))) {
            Some((verified, chain)) if verified.kind == EnvelopeKind::Notice => self.heed(now, &verified, chain, store),
            Some((verified, _)) => self.open_envelope(now, &verified, store),
            None => Ok(()),
        }
    }

    pub(super) fn rotate_space(
        &mut self,
        now: Now,
        area: &Area,
        without: &[DeviceId],
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        if !self.keeps(area) || !self.space_keys.iter().any(|key| key.area() == area) {
            return no(format!("this phone does not keep the space of {area}"), "ask the clinic whose space it is");
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
        let Some(own) = &self.certificate else { return no("this phone is not certified itself", ENROL_FIRST) };
        if !own.rights.has(Right::Revoke) || !own.area.covers(area) {
            return no(
                format!("this phone may not revoke phones of {area}"),
                "ask for the right `revoke`, or the ministry",
            );
        }
        if device == self.keys.id() {
            return no("this phone cannot revoke itself", "ask somebody above, or the ministry");
        }
        if let Err(error) = protocol::codec::check_name("reason", &reason) {
            return no(error, "write it shorter");
        }
        let revoked = vec![Lost { device, reason }];
        self.say_notice(now, &Notice { revoked, ..Notice::about(area) }, store)?;
        Ok(Ok(Reply::Done))
    }

    pub(super) fn countersign(
        &mut self,
        now: Now,
        wanted: Vec<EnvelopeId>,
        store: &mut dyn Store,
    ) -> Result<Answer, StoreError> {
        let may = self.certificate.as_ref().is_some_and(|c| c.rights.has(Right::Grant) || c.rights.has(Right::Enrol));
        if !may {
            return no("this phone may not countersign", "ask a supervisor or the clinic");
        }
        let late = store.quarantined()?.into_iter().filter(|(_, why)| why == LATE).map(|(id, _)| id);
        let late: Vec<_> = late.filter(|id| wanted.is_empty() || wanted.contains(id)).collect();
        let mut by_area: BTreeMap<Area, Vec<EnvelopeId>> = BTreeMap::new();
        for row in store.spaces()? {
            let held: BTreeSet<_> = store.envelope_ids(row.space)?.into_iter().map(|(id, _)| id).collect();
            by_area.entry(row.area).or_default().extend(late.iter().filter(|id| held.contains(id)));
        }
        for (area, ids) in by_area {
            for some in ids.chunks(COUNTERSIGNED_MAX) {
                let countersigned = some.to_vec();
                self.say_notice(now, &Notice { countersigned, ..Notice::about(&area) }, store)?;
            }
        }
        Ok(Ok(if late.is_empty() { Reply::Unchanged } else { Reply::Done }))
    }
}
