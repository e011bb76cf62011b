//! Notices: what is said openly about a space, in envelopes that travel like all others. Couriers
//! read them too; none has a patient's word in it.
//!
//! | says | who may | what follows |
//! |---|---|---|
//! | `share`: here is a key, sealed to these phones | *grant* | they read; writers use the newest key that no revoked phone has |
//! | `retired`: the keys of these epochs are ended | *grant* | what they sealed is deleted, with the keys, and not taken in again |
//! | `revoked`: these phones are lost | *revoke* | they are met no more; what they write from now on waits to be countersigned |
//! | `countersigned`: these late envelopes are good | *grant* or *enrol* | they are opened after all |
//! | `delivered`: these envelopes have reached me | *grant* and *read* | their authors see it; couriers may evict them |
//! | `photos`: these sealed photos have reached me whole | *grant* and *read* | whoever took them may make room |
//! | `attached`: a sealed photo belongs to this space | *write* | it is carried where there is room, last of all |

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};
use protocol::always;
use protocol::limits::{ATTACHMENT_BYTES_MAX, BUNDLE_BYTES_MAX};
use protocol::{Area, DeviceId, Digest, EnvelopeId, Right, SpaceId, VerifiedChain};

use crate::epoch::{EpochTag, KeyShare};

const _: () = assert!(ATTACHMENT_BYTES_MAX <= BUNDLE_BYTES_MAX, "a photo fits");

/// A notice. One that says several things needs the rights for all of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Notice {
    /// The area whose space it is about.
    #[n(0)]
    pub area: Area,
    /// A key of the space.
    #[n(1)]
    pub share: Option<KeyShare>,
    /// Epochs that are ended.
    #[cbor(n(2), default, skip_if = "Vec::is_empty")]
    pub retired: Vec<ByteArray<8>>,
    /// Phones that are lost, and why.
    #[cbor(n(3), default, skip_if = "Vec::is_empty")]
    pub revoked: Vec<Lost>,
    /// Late envelopes that are good.
    #[cbor(n(4), default, skip_if = "Vec::is_empty")]
    pub countersigned: Vec<EnvelopeId>,
    /// The first eight bytes of the ids of envelopes that have come.
    #[cbor(n(5), with = "minicbor::bytes", default, skip_if = "Vec::is_empty")]
    pub delivered: Vec<u8>,
    /// A sealed photo.
    #[n(6)]
    pub attached: Option<Attached>,
    /// The first eight bytes of the digests of sealed photos that have come whole.
    #[cbor(n(7), with = "minicbor::bytes", default, skip_if = "Vec::is_empty")]
    pub photos: Vec<u8>,
}

/// A phone that is lost.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Lost {
    /// The phone.
    #[n(0)]
    pub device: DeviceId,
    /// Why, for people.
    #[n(1)]
    pub reason: String,
}

/// A sealed photo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Attached {
    /// The digest of the blob.
    #[n(0)]
    pub digest: Digest,
    /// Its bytes.
    #[n(1)]
    pub bytes: u64,
    /// The epoch of the key that its case was sealed with: when that ends, the photo goes too.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub epoch: EpochTag,
}

/// What stands for a photo in `photos`.
pub fn short_photo(digest: &Digest) -> [u8; 8] {
    digest.0.first_chunk::<8>().copied().unwrap_or_default()
}

/// What stands for an envelope in `delivered`.
pub fn short(id: &EnvelopeId) -> [u8; 8] {
    id.0.first_chunk::<8>().copied().unwrap_or_default()
}

impl Notice {
    /// A notice about the space of `area` that says nothing yet.
    pub fn about(area: &Area) -> Self {
        Self {
            area: area.clone(),
            ..Self::default()
        }
    }

    /// Whether this author may say all of it: the rights must hold for the whole area, not for a
    /// part of it.
    pub fn allowed(&self, author: &VerifiedChain) -> bool {
        let above = author.area.covers(&self.area);
        let has = |right: Right| above && author.rights.has(right);
        let keys = self.share.is_none() && self.retired.is_empty() || has(Right::Grant);
        let revoked = self.revoked.is_empty() || has(Right::Revoke);
        let countersigned = self.countersigned.is_empty() || has(Right::Grant) || has(Right::Enrol);
        let delivered = (self.delivered.is_empty() && self.photos.is_empty())
            || has(Right::Grant) && has(Right::Read);
        let small = self
            .attached
            .is_none_or(|a| a.bytes <= ATTACHMENT_BYTES_MAX);
        let attached =
            self.attached.is_none() || small && author.may_write_in(SpaceId::of(&self.area));
        let allowed = keys && revoked && countersigned && delivered && attached;
        always!(
            !allowed || author.rights.0 != 0 || *self == Self::about(&self.area),
            "who has no right says nothing"
        );
        allowed
    }

    /// The epochs in `retired`.
    pub fn retired_epochs(&self) -> impl Iterator<Item = EpochTag> + '_ {
        self.retired.iter().map(|epoch| **epoch)
    }

    /// The short digests in `photos`.
    pub fn photos_delivered(&self) -> impl Iterator<Item = [u8; 8]> + '_ {
        self.photos.as_chunks::<8>().0.iter().copied()
    }

    /// The short ids in `delivered`.
    pub fn delivered_ids(&self) -> impl Iterator<Item = [u8; 8]> + '_ {
        self.delivered.as_chunks::<8>().0.iter().copied()
    }
}
