//! A snapshot of what a phone knows, for views: of whom it believes, which keys it has, what runs. It
//! is a copy, so that looking holds up no meeting, and it cannot be written to.

use std::collections::BTreeMap;

use distribution::{Activation, TrustedState};
use protocol::certificate::CertificateError;
use protocol::certificate::CertificateRequest;
use protocol::signed::{Signed, Verified};
use protocol::{Chain, DeviceId, Digest, EnvelopeId, VerifiedChain};
use rand_chacha::ChaCha20Rng;
use sync::SpaceKey;
use sync::archive::{self, Archive, ArchiveError, ArchivedCase};
use sync::space::sealing_public_key;

use super::identity::Identity;
use super::radios::Near;
use super::records::{self, Preview};
use super::spaces::Spaces;
use crate::store::{Store, StoreError};

/// What a phone knows, borrowed from it or from a [`Snapshot`].
#[derive(Clone, Copy)]
pub struct Known<'a> {
    pub(super) own: &'a Identity,
    pub(super) spaces: &'a Spaces,
    pub(super) activations: &'a BTreeMap<String, Activation>,
    pub(super) meetings_so_far: u64,
    pub(super) meetings_without_news: u64,
    pub(super) near: &'a [Near],
}

/// A copy of what a phone knew at one moment.
pub struct Snapshot {
    own: Identity,
    spaces: Spaces,
    activations: BTreeMap<String, Activation>,
    meetings_so_far: u64,
    meetings_without_news: u64,
    near: Vec<Near>,
}

impl Snapshot {
    pub(super) fn of(known: Known<'_>, near: Vec<Near>) -> Self {
        Self {
            own: known.own.for_views(),
            spaces: known.spaces.clone(),
            activations: known.activations.clone(),
            meetings_so_far: known.meetings_so_far,
            meetings_without_news: known.meetings_without_news,
            near,
        }
    }

    /// What it holds.
    pub fn known(&self) -> Known<'_> {
        Known {
            own: &self.own,
            spaces: &self.spaces,
            activations: &self.activations,
            meetings_so_far: self.meetings_so_far,
            meetings_without_news: self.meetings_without_news,
            near: &self.near,
        }
    }
}

impl<'a> Known<'a> {
    /// The phone's name.
    pub fn id(self) -> DeviceId {
        self.own.id()
    }

    /// The phones that were near at the moment of a [`Snapshot`].
    pub fn near(self) -> &'a [Near] {
        self.near
    }

    /// Its request for a certificate under a name.
    pub fn certificate_request(self, name: String) -> Signed<CertificateRequest> {
        let keys = &self.own.keys;
        Signed::by(
            &CertificateRequest::of(keys, sealing_public_key(keys), name),
            keys,
        )
    }

    /// Opens an archive that is for this phone.
    pub fn open_archive(
        self,
        archive: &Verified<Archive>,
    ) -> Result<Vec<ArchivedCase>, ArchiveError> {
        archive::open(archive, &self.own.keys)
    }

    /// Seals cases for a phone; `None` where this phone is not certified itself.
    pub fn write_archive(
        self,
        cases: &[ArchivedCase],
        to: (DeviceId, &[u8; 32]),
        rng: &mut ChaCha20Rng,
    ) -> Option<Result<Vec<u8>, ArchiveError>> {
        let own = self.own.certificate.as_ref()?.chain();
        Some(archive::write(cases, to, (own, &self.own.keys), rng))
    }

    /// What it believes of its ministry, once enrolled.
    pub fn trust(self) -> Option<&'a TrustedState> {
        self.own.trust.as_ref()
    }

    /// Its own certificate, once enrolled.
    pub fn certificate(self) -> Option<&'a VerifiedChain> {
        self.own.certificate.as_ref()
    }

    /// The keys of the spaces it reads.
    pub fn space_keys(self) -> &'a [SpaceKey] {
        &self.spaces.keys
    }

    /// Whether a sealed photo has been announced that this phone takes notice of.
    pub fn knows_photo(self, digest: &Digest) -> bool {
        self.spaces.photo(digest).is_some()
    }

    /// Whether somebody has announced it with these bytes.
    pub fn photo_has_size(self, digest: &Digest, bytes: u64) -> bool {
        self.spaces.photo_has_size(digest, bytes)
    }

    /// The key with which this phone writes into the space of an area; `None`: what is written
    /// waits.
    pub fn write_key(self, area: &protocol::Area) -> Option<&'a SpaceKey> {
        self.spaces.write_key(area, self.own)
    }

    /// Believes a chain, as a meeting would.
    pub fn judge(self, chain: &Chain) -> Result<VerifiedChain, Option<CertificateError>> {
        match self.spaces.judge(chain, self.own) {
            Some(Ok(verified)) => Ok(verified),
            Some(Err(error)) => Err(Some(error)),
            None => Err(None),
        }
    }

    /// Phones that keepers of spaces have said to be lost, and why.
    pub fn lost(self) -> impl Iterator<Item = (&'a DeviceId, &'a str)> {
        let Known { spaces, own, .. } = self;
        spaces
            .lost()
            .filter(move |(device, _)| spaces.is_revoked(device, own))
    }

    /// Phones that are said to be lost, of which nothing shows yet that they are where that counts.
    pub fn perhaps_lost(self) -> impl Iterator<Item = (&'a DeviceId, &'a str)> {
        let Known { spaces, own, .. } = self;
        spaces
            .lost()
            .filter(move |(device, _)| !spaces.is_revoked(device, own))
    }

    /// What an envelope that is set aside would add, and to which case; `None` if it does not open
    /// here.
    pub fn preview(
        self,
        id: &EnvelopeId,
        store: &dyn Store,
    ) -> Result<Option<Preview>, StoreError> {
        records::preview(id, self.spaces, self.own, store)
    }

    /// Meetings of this phone so far.
    pub fn meetings_so_far(self) -> u64 {
        self.meetings_so_far
    }

    /// What runs of a module.
    pub fn activation(self, module: &str) -> Option<&'a Activation> {
        self.activations.get(module)
    }

    /// What runs, by module.
    pub fn activations(self) -> impl Iterator<Item = (&'a String, &'a Activation)> {
        self.activations.iter()
    }

    /// Complete meetings since the ministry's documents last changed that brought nothing newer:
    /// what tells a phone without a clock that what it holds is still the newest, or that it is
    /// being kept from the rest.
    pub fn meetings_without_news(self) -> u64 {
        self.meetings_without_news
    }

    /// What a phone needs to find those of its own ministry near it, and to be found by them;
    /// nobody else can tell who it is.
    pub fn discovery_key(self) -> Option<[u8; 32]> {
        let ministry = self.own.trust.as_ref()?.ministry();
        Some(protocol::frame::discovery_key(&ministry))
    }
}
