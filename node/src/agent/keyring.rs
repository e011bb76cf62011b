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
//!    others never. A keeper that is lost itself vouches for nothing any more, and no keeper for its own envelopes or for notices.
//! 5. Ended keys are destroyed with what they sealed, and that is not taken in again, however long a phone was away: once two keepers
//!    have said so, or one has and a week of use has passed in which nobody has said that it is lost ([`super::retirement`]).
//! 6. A word that a phone is lost counts where the area of who says it covers the phone, and is pending until certificates, or a
//!    keeper's share, show where the phone is.
//! 7. Who may have a key is asked of any certificates in force, not of the newest: nobody can be shut out, or given another's key, by
//!    certificates made up beside its own.

use std::collections::{BTreeMap, BTreeSet};

use protocol::certificate::CertificateError;
use protocol::defence::{self, Defence};
use protocol::limits::{
    ATTACHMENT_BYTES_PER_AUTHOR_MAX, ATTACHMENTS_MAX, ATTACHMENTS_PER_AUTHOR_MAX, CHAINS_PER_DEVICE_MAX,
    CHAINS_PER_ISSUER_MAX, DEVICES_PER_ISSUER_MAX, QUARANTINED_MAX,
};
use protocol::{Area, BundleId, Chain, DeviceId, Digest, EnvelopeId, Now, Right, SpaceId, VerifiedChain};
use sync::envelope::{AuthorKey, announce, author_key};
use sync::epoch::{EpochTag, Epochs, KeyShare, MEMBERS_PER_SHARE_MAX, Member};
use sync::notice::{Lost, short, short_photo};
use sync::{Envelope, EnvelopeKind, Notice, SpaceKey, VerifiedEnvelope};

use super::commands::{Answer, ENROL_FIRST, Reply, no};
use super::lease::days_setting;
use super::{Agent, Phone, load_certificate};
use crate::store::{Store, StoreError};

/// Why an envelope of a lost phone waits.
pub(super) const LATE: &str = "its author's phone is lost: somebody above must countersign it";
/// Why an envelope is not opened any more.
const PARKED: &str = "the program stopped twice while it was being opened: it is not opened any more";
/// Why an envelope is not opened yet.
const WAITS: &str = "it waits while another is opened alone";
/// Beginnings without an end after which an envelope is parked.
const OPENINGS_MAX: u8 = 2;
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
    /// Where phones that are said to be lost are certified, by the certificates that are known here.
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
    /// Members of spaces whose certificates all hang on a lost phone: whoever has it may have made them up.
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

/// A sealed photo that has been announced.
#[derive(Debug)]
pub(super) struct Photo {
    /// The area whose space it belongs to.
    pub area: Area,
    /// Its bytes, as it was announced first.
    pub bytes: u64,
    /// Its bytes as others have announced it: which is right shows when somebody has it.
    sizes: BTreeSet<u64>,
    /// The epochs under which it was announced, and by whom: it goes when all of them have ended.
    epochs: BTreeSet<(EpochTag, DeviceId)>,
    /// Of those, who are certified within that area: a courier that has not heard of a member yet carries its photos all the same.
    at_home: BTreeSet<DeviceId>,
}

/// Chains of which it is remembered that their signatures hold.
const VERIFIED_MAX: usize = 256;
/// Sizes of one photo that are remembered.
const SIZES_MAX: usize = 4;

impl Keyring {
    /// Sealed photos of all spaces whose keys have not ended, announced by members of those spaces who are not lost.
    pub(super) fn photos(&self) -> impl Iterator<Item = (&Digest, &Photo)> {
        self.attached.iter().filter(|(_, photo)| self.in_force(photo))
    }

    /// One of them.
    pub(super) fn photo(&self, digest: &Digest) -> Option<&Photo> {
        self.attached.get(digest).filter(|photo| self.in_force(photo))
    }

    /// Whether somebody has announced a photo with these bytes.
    pub(super) fn photo_has_size(&self, digest: &Digest, bytes: u64) -> bool {
        self.photo(digest).is_some_and(|photo| photo.bytes == bytes || photo.sizes.contains(&bytes))
    }

    fn in_force(&self, photo: &Photo) -> bool {
        let space = SpaceId::of(&photo.area);
        let epochs = self.epochs.get(&space);
        photo.epochs.iter().any(|(epoch, by)| {
            let member = epochs.is_some_and(|epochs| epochs.members_of(epoch).contains(by));
            let may = member || photo.at_home.contains(by) || !defence::stands(Defence::Namespaces);
            may && !self.retired(space, epoch)
        })
    }

    /// Sealed photos whose keys have all ended.
    pub(super) fn photos_gone(&self) -> Vec<Digest> {
        let ended = |photo: &Photo| {
            let space = SpaceId::of(&photo.area);
            photo.epochs.iter().all(|(epoch, _)| self.retired(space, epoch))
        };
        self.attached.iter().filter(|(_, photo)| ended(photo)).map(|(blob, _)| *blob).collect()
    }

    /// What a phone that is lost has announced is dropped. The photos of which nothing is left.
    fn drop_photos_of(&mut self, lost: &dyn Fn(&DeviceId) -> bool) -> Vec<Digest> {
        for photo in self.attached.values_mut() {
            photo.epochs.retain(|(_, by)| !lost(by));
        }
        let gone: Vec<_> = self.attached.iter().filter(|(_, p)| p.epochs.is_empty()).map(|(blob, _)| *blob).collect();
        gone.iter().for_each(|blob| drop(self.attached.remove(blob)));
        gone
    }

    /// Whether a keeper has said that a photo has come.
    pub(super) fn photo_arrived(&self, digest: &Digest) -> bool {
        self.photos_arrived.contains(&short_photo(digest))
    }

    /// Whether a member of a space stands there only by a lost phone's word.
    pub(super) fn is_orphaned(&self, device: &DeviceId) -> bool {
        self.orphaned.contains(device)
    }

    /// Whether a photo has been announced under the key of an epoch.
    pub(super) fn announced(&self, blob: &Digest, epoch: &EpochTag) -> bool {
        self.attached.get(blob).is_some_and(|photo| photo.epochs.iter().any(|(held, _)| held == epoch))
    }

    /// Phones that are said to be lost, and why.
    pub(super) fn lost(&self) -> impl Iterator<Item = (&DeviceId, &str)> {
        self.lost.iter().filter_map(|(device, said)| Some((device, said.first()?.reason.as_str())))
    }

    /// Whether the key of an epoch has been ended.
    pub(super) fn retired(&self, space: SpaceId, epoch: &[u8; 8]) -> bool {
        self.epochs.get(&space).is_some_and(|e| e.retired(epoch))
    }

    /// Days of use that this phone may have a key.
    pub(super) fn lease(&self, epoch: &EpochTag) -> Option<u32> {
        self.leases.get(epoch).copied()
    }

    /// Whether a word that a phone is lost counts for it: keepers' shares say where it is certified, or else its certificates do.
    fn covers(&self, device: &DeviceId, word: &LostWord) -> bool {
        let mut said = self.epochs.values().flat_map(|epochs| epochs.areas_of(device)).peekable();
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
        self.areas.entry(space).or_insert_with(|| notice.area.clone());
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
        for epoch in notice.retired_epochs().filter(|epoch| !epochs.retired(epoch)) {
            self.retiring.entry((space, epoch)).or_default().insert(author.device);
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
            let word = LostWord { by: author.device, area: author.area.clone(), reason: lost.reason.clone() };
            self.lost.entry(lost.device).or_default().push(word);
            self.vouchers = None; // whoever is lost vouches no more
            let areas = areas_of(&lost.device, store)?;
            if !areas.is_empty() {
                self.lost_areas.entry(lost.device).or_default().extend(areas);
            }
        }
        Ok(())
    }

    fn attach(&mut self, author: &VerifiedChain, area: &Area, attached: &sync::notice::Attached) {
        let (count, bytes) = self.attached_by.get(&author.device).copied().unwrap_or_default();
        let known = self.attached.contains_key(&attached.digest);
        let within = count < ATTACHMENTS_PER_AUTHOR_MAX
            && bytes.saturating_add(attached.bytes) <= ATTACHMENT_BYTES_PER_AUTHOR_MAX;
        let within = within || !defence::stands(Defence::AuthorBudgets);
        if !known && (self.attached.len() >= ATTACHMENTS_MAX || !within) {
            return;
        }
        if !known {
            self.attached_by.insert(author.device, (count + 1, bytes.saturating_add(attached.bytes)));
        }
        let fresh = || Photo {
            area: area.clone(),
            bytes: attached.bytes,
            sizes: BTreeSet::new(),
            epochs: BTreeSet::new(),
            at_home: BTreeSet::new(),
        };
        let photo = self.attached.entry(attached.digest).or_insert_with(fresh);
        if photo.area != *area {
            return; // one photo belongs to one case, and that to one space
        }
        if photo.sizes.len() < SIZES_MAX {
            photo.sizes.insert(attached.bytes);
        }
        if area.covers(&author.area) {
            photo.at_home.insert(author.device);
        }
        photo.epochs.insert((attached.epoch, author.device));
    }
}

/// Where a device is certified, as far as its certificates are known here.
fn areas_of(device: &DeviceId, store: &dyn Store) -> Result<BTreeSet<Area>, StoreError> {
    let chains = store.chains(author_key(device))?;
    let leaves = chains.iter().filter_map(|bytes| Chain::from_bytes(bytes).ok()?.certificates.last()?.read().ok());
    Ok(leaves.filter(|leaf| leaf.device == *device).map(|leaf| leaf.area).collect())
}

fn member_of(chain: &VerifiedChain) -> Member {
    Member { device: chain.device, sealing_key: chain.sealing_key, area: chain.area.clone() }
}

/// Whether an envelope is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opens {
    Now,
    /// Another one is being opened alone.
    Later,
    Never,
}

impl Agent {
    /// Phones that keepers of spaces have said to be lost, and why.
    pub fn lost(&self) -> impl Iterator<Item = (&DeviceId, &str)> {
        let phone = &self.phone;
        phone.keyring.lost().filter(|(device, _)| phone.is_lost(device))
    }

    /// Phones that are said to be lost, of which nothing shows yet that they are where that counts.
    pub fn perhaps_lost(&self) -> impl Iterator<Item = (&DeviceId, &str)> {
        let phone = &self.phone;
        phone.keyring.lost().filter(|(device, _)| !phone.is_lost(device))
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
        self.mature(store)?;
        self.drop_photos_of_lost();
        self.find_orphaned(store)
    }

    fn drop_photos_of_lost(&mut self) -> Vec<Digest> {
        let mut keyring = std::mem::take(&mut self.keyring);
        let authors: BTreeSet<DeviceId> = keyring.attached_by.keys().copied().collect();
        self.keyring = keyring;
        let lost: BTreeSet<DeviceId> = authors.into_iter().filter(|device| self.is_lost(device)).collect();
        keyring = std::mem::take(&mut self.keyring);
        let gone = if lost.is_empty() { Vec::new() } else { keyring.drop_photos_of(&|device| lost.contains(device)) };
        self.keyring = keyring;
        gone
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
        // Most meetings show certificates that are known: their signatures are checked once under each root.
        let bytes = [trust.root_version().to_le_bytes().as_slice(), &chain.to_bytes()].concat();
        let key = Digest::of(&bytes);
        let known = self.verified.borrow().get(&key).cloned();
        let judged = match known {
            Some(verified) => trust.still_counts(verified),
            None => trust.verify_chain(chain)?,
        };
        let verified = match judged {
            Ok(verified) => verified,
            Err(error) => return Some(Err(error)),
        };
        let mut kept = self.verified.borrow_mut();
        if kept.len() >= VERIFIED_MAX {
            kept.clear();
        }
        kept.insert(key, verified.clone());
        drop(kept);
        for (position, certificate) in (1..).zip(&chain.certificates) {
            let Ok(certificate) = certificate.read() else { continue };
            let counts = |word: &&LostWord| {
                let by_whom = trust.revoked(&word.by).is_none() && word.by != certificate.device;
                by_whom && word.area.covers(&certificate.area)
            };
            if let Some(word) = self.keyring.lost.get(&certificate.device).and_then(|s| s.iter().find(counts)) {
                return Some(Err(CertificateError::Revoked { position, reason: word.reason.clone() }));
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
        let counts = |word: &LostWord| {
            trust.revoked(&word.by).is_none() && word.by != *device && self.keyring.covers(device, word)
        };
        trust.revoked(device).is_some()
            || self.keyring.orphaned.contains(device)
            || self.keyring.lost.get(device).is_some_and(|said| said.iter().any(counts))
    }

    /// Keeps a chain that has been judged, within the budgets of its device and of its issuer: an issuer takes the place only of what
    /// it issued itself, and a chain under which something here was written stays.
    pub(super) fn keep_chain(&mut self, chain: &VerifiedChain, store: &mut dyn Store) -> Result<(), StoreError> {
        let rows = store.chain_rows(&chain.device)?;
        if rows.iter().any(|row| row.id == chain.id()) {
            return Ok(()); // most meetings show what is known: no write for that
        }
        if !defence::stands(Defence::ChainIdentity) {
            if let Some(oldest) = rows.first().filter(|_| rows.len() >= 8) {
                store.remove_chain(&oldest.id)?;
            }
            return store.put_chain(chain);
        }
        let issuer = chain.chain().issuer();
        let mut of_issuer: BTreeMap<Option<DeviceId>, Vec<&crate::store::ChainRow>> = BTreeMap::new();
        rows.iter().for_each(|row| of_issuer.entry(row.issuer).or_default().push(row));
        let crowded = match of_issuer.get(&issuer) {
            Some(own) if own.len() >= CHAINS_PER_ISSUER_MAX => Some(own.clone()),
            _ if rows.len() >= CHAINS_PER_DEVICE_MAX => of_issuer.into_values().max_by_key(Vec::len),
            _ => None,
        };
        if let Some(crowded) = crowded {
            let Some(oldest) = crowded.into_iter().find(|row| !row.used) else { return Ok(()) };
            store.remove_chain(&oldest.id)?;
        }
        if let Some(issuer) = issuer.filter(|_| rows.is_empty() && defence::stands(Defence::IssuerBudgets))
            && store.devices_of(&issuer)? >= DEVICES_PER_ISSUER_MAX as u64
        {
            let Some(oldest) = store.oldest_unused_of(&issuer)? else { return Ok(()) };
            store.remove_chain(&oldest)?;
        }
        store.put_chain(chain)?;
        if self.keyring.lost.contains_key(&chain.device) {
            // What was said of it may count now.
            self.keyring.lost_areas.entry(chain.device).or_default().insert(chain.area.clone());
            self.check_keys = true;
        }
        Ok(())
    }

    /// Envelopes are about to be opened: what they hold may bring the program down, and this mark outlives that. `true`: whoever asked
    /// is to say when they were opened; else somebody else will.
    pub(super) fn begin_opening(
        &mut self,
        ids: impl IntoIterator<Item = EnvelopeId>,
        store: &mut dyn Store,
    ) -> Result<bool, StoreError> {
        let ids: Vec<_> = ids.into_iter().collect();
        if !defence::stands(Defence::OpeningMark) || ids.is_empty() {
            return Ok(false);
        }
        let first = self.opening.is_none();
        let mut marked = self.opening.take().unwrap_or_else(|| self.suspects.clone());
        if first {
            // What was suspected before is opened alone, so that nothing honest falls with it.
            let may = |id: &&EnvelopeId| self.suspects.get(id).is_some_and(|count| *count < OPENINGS_MAX);
            self.opening_alone = ids.iter().find(may).copied();
        }
        match self.opening_alone {
            Some(id) => {
                marked.insert(id, self.suspects.get(&id).copied().unwrap_or_default().saturating_add(1));
            }
            None => {
                for id in &ids {
                    marked.entry(*id).or_insert(1);
                }
            }
        }
        store.put_attempts(&marked)?;
        self.opening = Some(marked);
        Ok(first)
    }

    /// They were opened, and the program still stands.
    pub(super) fn end_opening(&mut self, store: &mut dyn Store) -> Result<(), StoreError> {
        if self.opening.take().is_none() {
            return Ok(());
        }
        if let Some(id) = self.opening_alone.take() {
            self.suspects.remove(&id);
        }
        store.put_attempts(&self.suspects)
    }

    /// Opens one of the envelopes that had to wait while another was opened alone.
    pub(super) fn open_waiting(&mut self, now: Now, store: &mut dyn Store) -> Result<(), StoreError> {
        let next = store.quarantined()?.into_iter().find(|(_, why)| why == WAITS).map(|(id, _)| id);
        let Some(id) = next else {
            self.some_wait = false;
            return Ok(());
        };
        let outermost = self.begin_opening([id], store)?;
        self.open_aside(now, &id, store)?;
        if outermost { self.end_opening(store) } else { Ok(()) }
    }

    /// Whether an envelope is to be opened now; what brought the program down twice is parked, and what is suspected waits for its
    /// turn.
    fn opens_now(&self, id: &EnvelopeId) -> Opens {
        match self.suspects.get(id) {
            _ if !defence::stands(Defence::OpeningMark) => Opens::Now,
            None => match self.opening_alone {
                Some(_) => Opens::Later,
                None => Opens::Now,
            },
            Some(count) if *count >= OPENINGS_MAX => Opens::Never,
            Some(_) if self.opening_alone == Some(*id) => Opens::Now,
            Some(_) => Opens::Later,
        }
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
        members: &[Member],
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

    /// Everyone who may have the keys of a space: any certificates in force that let a phone read will do.
    pub(super) fn members(
        &self,
        space: SpaceId,
        without: &[DeviceId],
        store: &dyn Store,
    ) -> Result<Vec<Member>, StoreError> {
        let own = self.keys.id();
        let sealing_key = sync::space::sealing_public_key(&self.keys);
        let mut members = BTreeMap::from([(own, Member { device: own, sealing_key, area: self.area() })]);
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
            authors
                .retain(|(chain, _)| chain.rights.has(Right::Read) && matches!(self.judge(chain.chain()), Some(Ok(_))));
            let known = |chain: &VerifiedChain| epochs.areas_of(device).any(|area| *area == chain.area);
            let chosen = authors.iter().find(|(chain, _)| known(chain)).or(authors.first());
            if let Some((chain, _)) = chosen.filter(|_| !self.is_lost(device)) {
                members.insert(*device, member_of(chain));
            }
        }
        Ok(members.into_values().collect())
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
            self.forget_photos_of_lost(store)?;
            self.renew_keys(now, store)?;
        }
        for id in &notice.countersigned {
            self.open_countersigned(now, id, store)?;
        }
        if author.rights.has(Right::Grant) && !notice.delivered.is_empty() {
            let delivered: BTreeSet<_> = notice.delivered_ids().collect();
            let waiting =
                store.quarantined()?.into_iter().filter(|(id, why)| why == LATE && delivered.contains(&short(id)));
            for (id, _) in waiting.collect::<Vec<_>>() {
                let parsed = store.envelope(&id)?.and_then(|bytes| Envelope::parse(bytes).ok());
                let Some(late) = parsed else { continue };
                let strict = defence::stands(Defence::Vouchers);
                let vouches = late.kind == EnvelopeKind::Changes && late.author != author_key(&author.device);
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
        let rows = store.envelope_rows(key.space())?.into_iter().filter(|row| row.epoch == epoch && row.bytes > 0);
        let rows: Vec<_> = rows.collect();
        // Within a meeting's frame the mark is there already; else what was carried for this key is marked now.
        let outermost = self.begin_opening(rows.iter().map(|row| row.id), store)?;
        self.open_rows(now, rows, store)?;
        if outermost { self.end_opening(store) } else { Ok(()) }
    }

    fn open_rows(
        &mut self,
        now: Now,
        rows: Vec<crate::store::EnvelopeRow>,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        for row in rows {
            let Some(bytes) = store.envelope(&row.id)? else { continue };
            let Ok(envelope) = Envelope::parse(bytes) else { continue };
            let authors = self.authors(envelope.author, store)?;
            let judged =
                authors.into_iter().find_map(|(chain, lost)| Some((envelope.clone().verify(&chain).ok()?, lost)));
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

    /// Whether somebody above has countersigned an envelope, or a keeper that is not lost had taken it in.
    fn vouched_for(&mut self, envelope: &VerifiedEnvelope, store: &dyn Store) -> Result<bool, StoreError> {
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
        let keepers = self.keyring.vouchers.as_ref().and_then(|vouchers| vouchers.get(&short(&envelope.id)));
        Ok(keepers.is_some_and(|keepers| keepers.iter().any(|keeper| !strict || *keeper != envelope.author)))
    }

    fn read_vouchers(&self, store: &dyn Store) -> Result<BTreeMap<[u8; 8], BTreeSet<AuthorKey>>, StoreError> {
        let strict = defence::stands(Defence::Vouchers);
        let aside: BTreeSet<_> = store.quarantined()?.into_iter().map(|(id, _)| id).collect();
        let mut vouchers: BTreeMap<[u8; 8], BTreeSet<AuthorKey>> = BTreeMap::new();
        for bytes in store.notices()? {
            let Ok(envelope) = Envelope::parse(bytes) else { continue };
            let Ok(notice) = envelope.notice() else { continue };
            if notice.delivered.is_empty() || (strict && aside.contains(&envelope.id)) {
                continue;
            }
            let mut authors = self.authors(envelope.author, store)?;
            authors.retain(|(author, lost)| author.rights.has(Right::Grant) && (!strict || !lost));
            if authors.iter().any(|(author, _)| envelope.clone().verify(author).is_ok()) {
                for id in notice.delivered_ids() {
                    vouchers.entry(id).or_default().insert(envelope.author);
                }
            }
        }
        Ok(vouchers)
    }

    /// Photos that only lost phones have announced are neither fetched nor kept for others.
    fn forget_photos_of_lost(&mut self, store: &mut dyn Store) -> Result<(), StoreError> {
        let taken_here = super::cases::photos_taken_here(store)?;
        for blob in self.drop_photos_of_lost() {
            let id = BundleId::photo(blob);
            self.bundles.remove(&id);
            if !taken_here.contains(&blob) {
                store.remove_bundle(&id)?;
            }
        }
        Ok(())
    }

    fn open_countersigned(&mut self, now: Now, id: &EnvelopeId, store: &mut dyn Store) -> Result<(), StoreError> {
        if !store.quarantined()?.iter().any(|(held, why)| held == id && why == LATE) {
            return Ok(());
        }
        let outermost = self.begin_opening([*id], store)?;
        self.open_aside(now, id, store)?;
        if outermost { self.end_opening(store) } else { Ok(()) }
    }

    /// Opens an envelope that was set aside.
    fn open_aside(&mut self, now: Now, id: &EnvelopeId, store: &mut dyn Store) -> Result<(), StoreError> {
        store.remove_quarantine(id)?;
        let Some(Ok(envelope)) = store.envelope(id)?.map(Envelope::parse) else { return Ok(()) };
        let authors = self.authors(envelope.author, store)?;
        match authors.iter().find_map(|(chain, _)| Some((envelope.clone().verify(chain).ok()?, chain))) {
            Some((verified, chain)) if verified.kind == EnvelopeKind::Notice => self.heed(now, &verified, chain, store),
            Some((verified, _)) => self.open_envelope(now, &verified, store),
            None => Ok(()),
        }
    }

    /// Whether an envelope may be opened now. If not, it is set aside, and why is written down.
    pub(super) fn may_open(&mut self, id: &EnvelopeId, store: &mut dyn Store) -> Result<bool, StoreError> {
        match self.opens_now(id) {
            Opens::Now => return Ok(true),
            Opens::Never => store.put_quarantine(id, PARKED)?,
            Opens::Later => {
                store.put_quarantine(id, WAITS)?;
                self.some_wait = true;
            }
        }
        Ok(false)
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
