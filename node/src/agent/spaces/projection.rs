//! What the projection of the log of notices says, without asking anybody else.

use protocol::defence::{self, Defence};
use protocol::{DeviceId, SpaceId};
use sync::epoch::EpochTag;

use super::{Revocation, Spaces};

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
