//! Sealed photos that members of spaces have announced: what each may announce, and when what was
//! announced is dropped.

use std::collections::BTreeSet;

use protocol::defence::{self, Defence};
use protocol::limits::{
    ATTACHMENT_BYTES_PER_AUTHOR_MAX, ATTACHMENTS_MAX, ATTACHMENTS_PER_AUTHOR_MAX,
};
use protocol::{Area, DeviceId, Digest, SpaceId, VerifiedChain, always};
use sync::epoch::EpochTag;
use sync::notice::short_photo;

use super::{Identity, Spaces};

/// Sizes of one photo that are remembered.
const SIZES_MAX: usize = 4;

/// A sealed photo that has been announced.
#[derive(Debug, Clone)]
pub(in crate::agent) struct Photo {
    /// The area whose space it belongs to.
    pub area: Area,
    /// Its bytes, as it was announced first.
    pub bytes: u64,
    /// Its bytes as others have announced it: which is right shows when somebody has it.
    sizes: BTreeSet<u64>,
    /// The epochs under which it was announced, and by whom: it goes when all of them have ended.
    epochs: BTreeSet<(EpochTag, DeviceId)>,
    /// Of those, who are certified within that area: a courier that has not heard of a member yet
    /// carries its photos all the same.
    at_home: BTreeSet<DeviceId>,
}

impl Spaces {
    /// Sealed photos of all spaces whose keys have not ended, announced by members of those spaces
    /// who are not lost.
    pub(in crate::agent) fn photos(&self) -> impl Iterator<Item = (&Digest, &Photo)> {
        self.attached
            .iter()
            .filter(|(_, photo)| self.in_force(photo))
    }

    /// One of them.
    pub(in crate::agent) fn photo(&self, digest: &Digest) -> Option<&Photo> {
        self.attached
            .get(digest)
            .filter(|photo| self.in_force(photo))
    }

    /// Whether somebody has announced a photo with these bytes.
    pub(in crate::agent) fn photo_has_size(&self, digest: &Digest, bytes: u64) -> bool {
        self.photo(digest)
            .is_some_and(|photo| photo.bytes == bytes || photo.sizes.contains(&bytes))
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
    pub(in crate::agent) fn photos_gone(&self) -> Vec<Digest> {
        let ended = |photo: &Photo| {
            let space = SpaceId::of(&photo.area);
            photo
                .epochs
                .iter()
                .all(|(epoch, _)| self.retired(space, epoch))
        };
        self.attached
            .iter()
            .filter(|(_, photo)| ended(photo))
            .map(|(blob, _)| *blob)
            .collect()
    }

    /// What a phone that is lost has announced is dropped. The photos of which nothing is left.
    fn drop_photos_of(&mut self, lost: &dyn Fn(&DeviceId) -> bool) -> Vec<Digest> {
        for photo in self.attached.values_mut() {
            photo.epochs.retain(|(_, by)| !lost(by));
        }
        let gone: Vec<_> = self
            .attached
            .iter()
            .filter(|(_, p)| p.epochs.is_empty())
            .map(|(blob, _)| *blob)
            .collect();
        gone.iter()
            .for_each(|blob| drop(self.attached.remove(blob)));
        let mut left = self.attached.values().flat_map(|photo| &photo.epochs);
        always!(
            left.all(|(_, by)| !lost(by)),
            "nothing stands by a lost word"
        );
        gone
    }

    /// Whether a keeper has said that a photo has come.
    pub(in crate::agent) fn photo_arrived(&self, digest: &Digest) -> bool {
        self.photos_arrived.contains(&short_photo(digest))
    }

    /// Whether a photo has been announced under the key of an epoch.
    pub(in crate::agent) fn announced(&self, blob: &Digest, epoch: &EpochTag) -> bool {
        self.attached
            .get(blob)
            .is_some_and(|photo| photo.epochs.iter().any(|(held, _)| held == epoch))
    }

    pub(in crate::agent) fn attach(
        &mut self,
        author: &VerifiedChain,
        area: &Area,
        attached: &sync::notice::Attached,
    ) {
        let (count, bytes) = self
            .attached_by
            .get(&author.device)
            .copied()
            .unwrap_or_default();
        let known = self.attached.contains_key(&attached.digest);
        let within = count < ATTACHMENTS_PER_AUTHOR_MAX
            && bytes.saturating_add(attached.bytes) <= ATTACHMENT_BYTES_PER_AUTHOR_MAX;
        let within = within || !defence::stands(Defence::AuthorBudgets);
        if !known && (self.attached.len() >= ATTACHMENTS_MAX || !within) {
            return;
        }
        if !known {
            self.attached_by.insert(
                author.device,
                (count + 1, bytes.saturating_add(attached.bytes)),
            );
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
        always!(photo.sizes.len() <= SIZES_MAX);
        always!(self.attached.len() <= ATTACHMENTS_MAX);
    }
}

impl Spaces {
    /// What phones that are lost have announced is dropped. The photos of which nothing is left:
    /// they are neither fetched nor kept for others.
    pub(in crate::agent) fn drop_photos_of_revoked(&mut self, own: &Identity) -> Vec<Digest> {
        let authors = self.attached_by.keys().copied();
        let lost: BTreeSet<DeviceId> = authors.filter(|id| self.is_revoked(id, own)).collect();
        match lost.is_empty() {
            true => Vec::new(),
            false => self.drop_photos_of(&|device| lost.contains(device)),
        }
    }
}
