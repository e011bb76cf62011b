//! The spaces that this phone has a part in: epochs and their keys, who is a member, who is revoked,
//! leases, photos that were announced, and what has been delivered; all of it the projection of the
//! log of notices (`sync::notice`) and of the ministry's own revocations.
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
//!    which nobody has said that it is lost ([`super::ending`]).
//! 6. A word that a phone is lost counts where the area of who says it covers the phone, and is
//!    pending until certificates, or a keeper's share, show where the phone is.
//! 7. Who may have a key is asked of any certificates in force, not of the newest: nobody can be
//!    shut out, or given another's key, by certificates made up beside its own.
//!
//! Which certificates are believed is in `chains`, photos that were announced in `photos`, keys on a
//! lease in `lease`. What follows from a notice is left as a [`Consequence`]: nothing here opens a
//! case or moves a file.

use std::collections::{BTreeMap, BTreeSet};

use protocol::defence::{self, Defence};
use protocol::{
    Area, DeviceId, Digest, EnvelopeId, Invariant, Right, SpaceId, VerifiedChain, always, never,
};
use sync::envelope::{announce, author_key};
use sync::epoch::{EpochTag, Epochs, KeyShare};
use sync::{Envelope, Notice, SpaceKey, VerifiedEnvelope};

use super::ending::DELAY_DAYS;
use super::identity::Identity;
use super::tx::{Consequence, Tx};
use crate::store::{Setting, Store, StoreError};

mod chains;
pub(super) mod keys;
pub(super) mod lease;
mod photos;
mod projection;
pub(super) mod vouching;

use chains::areas_of;
pub use lease::locked;
pub(super) use photos::Photo;
pub(super) use projection::Deliveries;
use projection::Shared;

/// The spaces that this phone has a part in.
#[derive(Debug, Default, Clone)]
pub(crate) struct Spaces {
    /// Keys of the spaces that this phone reads.
    pub(super) keys: Vec<SpaceKey>,
    /// Days on which this phone has been used.
    pub(super) days_used: u64,
    /// The date by this phone's clock, as it was last looked at.
    day: Option<u64>,
    /// Somebody may be lost since the keys of spaces were last looked at.
    pub(super) unchecked: bool,
    epochs: BTreeMap<SpaceId, Epochs>,
    /// Who is said to be lost. Each word counts where its area covers the phone.
    lost: BTreeMap<DeviceId, Vec<Revocation>>,
    /// Where phones that are said to be lost are certified, by the certificates that are known
    /// here.
    revoked_areas: BTreeMap<DeviceId, BTreeSet<Area>>,
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
    /// What has come to whom, as their notices say.
    pub(super) deliveries: Deliveries,
    /// Shares of keys, and what of them may be asked for again.
    shares: Vec<Shared>,
    /// Epochs that keepers have asked to end, which have not ended yet.
    pub(super) retiring: BTreeMap<(SpaceId, EpochTag), BTreeSet<DeviceId>>,
    /// The areas of spaces, as notices name them.
    pub(super) areas: BTreeMap<SpaceId, Area>,
}

/// Somebody's word that a phone is lost.
#[derive(Debug, Clone)]
struct Revocation {
    by: DeviceId,
    area: Area,
    reason: String,
}

impl Spaces {
    /// Takes a notice into the projection.
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
        self.deliveries.take(author, notice);
        self.shares.extend(Shared::of(own, author, notice));
        for lost in &notice.revoked {
            let word = Revocation {
                by: author.device,
                area: author.area.clone(),
                reason: lost.reason.clone(),
            };
            self.lost.entry(lost.device).or_default().push(word);
            let areas = areas_of(&lost.device, store)?;
            if !areas.is_empty() {
                self.revoked_areas
                    .entry(lost.device)
                    .or_default()
                    .extend(areas);
            }
        }
        Ok(())
    }
}

impl Spaces {
    /// The log of notices as the store has it, read once.
    pub(super) fn load(
        own: &Identity,
        days_used: u64,
        store: &dyn Store,
    ) -> Result<Self, StoreError> {
        let mut spaces = Self {
            keys: store.space_keys()?,
            days_used,
            unchecked: true,
            ..Self::default()
        };
        let aside: BTreeSet<_> = store.quarantined()?.into_iter().map(|(id, _)| id).collect();
        for bytes in store.notices()? {
            let Ok(envelope) = Envelope::parse(bytes) else {
                continue;
            };
            if aside.contains(&envelope.id) {
                continue; // a lost phone's, until somebody above countersigns it
            }
            let authors = spaces.authors(envelope.author, own, store)?;
            let found = authors
                .iter()
                .find_map(|(chain, _)| Some((envelope.clone().verify(chain).ok()?, chain)));
            if let Some((verified, chain)) = found
                && let Ok(notice) = verified.notice()
            {
                spaces.take(own.id(), verified.space, (chain, &notice), store)?;
            }
        }
        spaces.drop_photos_of_revoked(own);
        spaces.find_orphaned(own, store)?;
        Ok(spaces)
    }

    /// Whether this phone reads the space of an area.
    pub(super) fn reads(&self, area: &Area) -> bool {
        self.keys.iter().any(|key| key.area() == area)
    }

    /// The areas whose spaces it reads.
    pub(super) fn areas_read(&self) -> BTreeSet<Area> {
        self.keys.iter().map(|key| key.area().clone()).collect()
    }

    /// Says a notice; what it says is so at once.
    pub(super) fn say(&mut self, notice: &Notice, tx: &mut Tx) -> Result<(), StoreError> {
        let salt = tx.own.random();
        let envelope =
            announce(notice, &tx.own.keys, salt).map_err(|e| StoreError::Other(e.to_string()))?;
        tx.store.put_envelope(&envelope, &notice.area)?;
        tx.out.changed();
        let Some(own) = tx.own.certificate.clone() else {
            return Ok(());
        };
        self.apply_notice(&envelope, &own, tx)
    }

    /// Takes a notice that has just come, or been said, into the projection, and leaves what
    /// follows from it.
    pub(super) fn apply_notice(
        &mut self,
        envelope: &VerifiedEnvelope,
        author: &VerifiedChain,
        tx: &mut Tx,
    ) -> Result<(), StoreError> {
        let signer = author_key(&author.device);
        never!(Invariant::OnlyVerified, signer != envelope.author)?;
        let Ok(notice) = envelope.notice() else {
            return Ok(());
        };
        let own = tx.own.id();
        self.take(own, envelope.space, (author, &notice), tx.store)?;
        if let Some(share) = &notice.share {
            self.apply_share(&notice.area, share, tx)?;
        }
        if !notice.revoked.is_empty() {
            tx.own.certificate = super::load::load_certificate(tx.own, self, tx.store)?;
            tx.out.follow(Consequence::ForgetPhotosOfRevoked);
            tx.out.follow(Consequence::RenewKeys);
        }
        for id in &notice.countersigned {
            tx.out.follow(Consequence::OpenQuarantined(*id));
        }
        if author.rights.has(Right::Grant) && !notice.delivered.is_empty() {
            self.vouch(author, &notice, tx)?;
        }
        if notice.attached.is_some() || notice.share.is_some() {
            tx.out.follow(Consequence::OpenBundles);
        }
        if !notice.retired.is_empty() {
            tx.out.follow(Consequence::SettleEndings);
        }
        // Once for all that come together: it looks at the certificates of every member.
        self.unchecked |= notice.share.is_some() && author.device != own;
        if notice.share.is_some() || !notice.revoked.is_empty() || !notice.retired.is_empty() {
            tx.out.follow(Consequence::SealWaiting);
        }
        Ok(())
    }

    /// The key of a share, where it is for this phone, and those before it.
    fn apply_share(
        &mut self,
        area: &Area,
        share: &KeyShare,
        tx: &mut Tx,
    ) -> Result<(), StoreError> {
        if let Some(key) = share
            .open(area, &tx.own.keys)
            .filter(|_| tx.own.may(Right::Read))
        {
            lease::renew(SpaceId::of(area), &share.epoch, tx.store)?;
            tx.out.follow(Consequence::TakeKey(key));
        }
        let held = self.keys.iter().find(|key| key.epoch_tag() == share.epoch);
        let before = held.map(|key| share.open_parents(key)).unwrap_or_default();
        let follow = |key| tx.out.follow(Consequence::TakeKey(key));
        before.into_iter().for_each(follow);
        Ok(())
    }

    /// Looks at the certificates of all members of spaces anew.
    pub(super) fn find_orphaned(
        &mut self,
        own: &Identity,
        store: &dyn Store,
    ) -> Result<(), StoreError> {
        let members = self.epochs.values().flat_map(Epochs::members);
        let members: BTreeSet<_> = members.collect();
        let mut orphaned = BTreeSet::new();
        for device in members {
            let mut authors = self.authors(author_key(&device), own, store)?;
            authors.retain(|(chain, _)| chain.device == device);
            if !authors.is_empty() && authors.iter().all(|(_, lost)| *lost) {
                orphaned.insert(device);
            }
        }
        self.orphaned = orphaned;
        Ok(())
    }

    /// Ends what it is time to end; the areas in which something has ended. Nothing is destroyed
    /// yet.
    pub(super) fn mature(
        &mut self,
        own: &Identity,
        store: &dyn Store,
    ) -> Result<BTreeSet<Area>, StoreError> {
        let mut due = Vec::new();
        for ((space, epoch), by) in &self.retiring {
            let keepers = by
                .iter()
                .filter(|keeper| !self.is_revoked(keeper, own))
                .count();
            let heard = store.setting(&Setting::retiring(*space, epoch))?;
            let heard = heard.and_then(|bytes| bytes.try_into().ok());
            let old = |day| self.days_used >= u64::from_le_bytes(day).saturating_add(DELAY_DAYS);
            let enough =
                keepers >= 2 || heard.is_some_and(old) || !defence::stands(Defence::TwoKeepers);
            if keepers > 0 && enough {
                due.push((*space, *epoch));
            }
        }
        let mut areas = BTreeSet::new();
        for (space, epoch) in due {
            self.retiring.remove(&(space, epoch));
            self.epochs.entry(space).or_default().retire([epoch]);
            areas.extend(self.areas.get(&space).cloned());
        }
        let mut waiting = self.retiring.keys();
        always!(waiting.all(|(space, epoch)| !self.retired(*space, epoch)));
        Ok(areas)
    }

    /// Spaces in which the phone whose certificate this is has a part, of those that are held.
    pub(super) fn of(
        certificate: &VerifiedChain,
        store: &dyn Store,
    ) -> Result<BTreeSet<SpaceId>, StoreError> {
        let held = store.spaces()?.into_iter();
        let meets = held.filter(|row| row.area.meets(&certificate.area));
        Ok(meets.map(|row| row.space).collect())
    }
}
