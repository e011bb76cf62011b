//! What the projection of the log of notices says, without asking anybody else.

use std::collections::{BTreeMap, BTreeSet};

use protocol::defence::{self, Defence};
use protocol::limits::DELIVERIES_PER_KEEPER_MAX;
use protocol::{Area, DeviceId, EnvelopeId, Right, SpaceId, VerifiedChain, always};
use sync::Notice;
use sync::envelope::{AuthorKey, author_key};
use sync::epoch::{EpochTag, KeyShare};
use sync::notice::short;

use super::{Revocation, Spaces};

/// Which envelopes have come to whom, as their notices say. Flat, and bounded for each keeper: what one
/// makes up takes little memory. What is not remembered is only not known to have come.
#[derive(Debug, Default, Clone)]
pub(in crate::agent) struct Deliveries {
    said: BTreeSet<([u8; 8], AuthorKey)>,
    /// Who says so, and how often: notices of others are not valid.
    keepers: BTreeMap<AuthorKey, (DeviceId, u64)>,
}

impl Deliveries {
    /// Takes in what a notice says.
    pub(in crate::agent) fn take(&mut self, author: &VerifiedChain, notice: &Notice) {
        if notice.delivered.is_empty() || !author.rights.has(Right::Grant) {
            return;
        }
        let key = author_key(&author.device);
        let (_, count) = self.keepers.entry(key).or_insert((author.device, 0));
        for id in notice.delivered_ids() {
            if *count < DELIVERIES_PER_KEEPER_MAX && self.said.insert((id, key)) {
                *count += 1;
            }
        }
        always!(*count <= DELIVERIES_PER_KEEPER_MAX);
    }

    /// Who has said that an envelope has come.
    pub(in crate::agent) fn of(&self, id: &EnvelopeId) -> impl Iterator<Item = AuthorKey> + '_ {
        let short = short(id);
        let said = self.said.range((short, [0; 8])..=(short, [0xff; 8]));
        said.map(|(_, key)| *key)
    }

    /// Everybody who has said so of any.
    pub(in crate::agent) fn phones(&self) -> BTreeSet<AuthorKey> {
        self.keepers.keys().copied().collect()
    }

    /// The keepers who have said that an envelope has come.
    pub(super) fn keepers(&self, id: &EnvelopeId) -> impl Iterator<Item = &DeviceId> {
        self.of(id)
            .filter_map(|key| self.keepers.get(&key))
            .map(|(device, _)| device)
    }
}

/// A share of a key without what is for others alone.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    /// The area of its space.
    pub area: Area,
    /// Who has shared it.
    pub by: DeviceId,
    /// What opens the keys before it, and the locks that this phone may open or give the code of.
    pub share: KeyShare,
}

impl Shared {
    /// What is kept of a notice's share, if anything of it may be asked for again.
    pub(super) fn of(own: DeviceId, author: &VerifiedChain, notice: &Notice) -> Option<Self> {
        let share = notice.share.as_ref()?;
        let locks = share.locks.iter();
        let locks = locks.filter(|lock| author.device == own || lock.sealed.to == own);
        let kept = KeyShare {
            epoch: share.epoch,
            parents: share.parents.clone(),
            members: Vec::new(),
            lease_days: share.lease_days,
            locks: locks.cloned().collect(),
            left_out: Vec::new(),
            areas: Vec::new(),
        };
        (!kept.parents.is_empty() || !kept.locks.is_empty()).then(|| Self {
            area: notice.area.clone(),
            by: author.device,
            share: kept,
        })
    }
}

impl Spaces {
    /// Whether a member of a space stands there only by a lost phone's word.
    pub(in crate::agent) fn is_orphaned(&self, device: &DeviceId) -> bool {
        self.orphaned.contains(device)
    }

    /// Phones that are said to be lost, and why.
    pub(in crate::agent) fn lost(&self) -> impl Iterator<Item = (&DeviceId, &str)> {
        self.lost
            .iter()
            .filter_map(|(device, said)| Some((device, said.first()?.reason.as_str())))
    }

    /// Whether the key of an epoch has been ended.
    pub(in crate::agent) fn retired(&self, space: SpaceId, epoch: &[u8; 8]) -> bool {
        self.epochs.get(&space).is_some_and(|e| e.retired(epoch))
    }

    /// Days of use that this phone may have a key.
    pub(in crate::agent) fn lease(&self, epoch: &EpochTag) -> Option<u32> {
        self.leases.get(epoch).copied()
    }

    /// Whether a word that a phone is lost counts for it: keepers' shares say where it is
    /// certified, or else its certificates do.
    pub(super) fn covers(&self, device: &DeviceId, word: &Revocation) -> bool {
        let mut said = self
            .epochs
            .values()
            .flat_map(|epochs| epochs.areas_of(device))
            .peekable();
        if said.peek().is_some() {
            return said.any(|area| word.area.covers(area));
        }
        match self.revoked_areas.get(device) {
            Some(areas) => areas.iter().any(|area| word.area.covers(area)),
            None => !defence::stands(Defence::PendingRevocation), // pending: nothing shows yet where it is
        }
    }
}
