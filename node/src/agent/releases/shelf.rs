//! A phone's bundles, as the selection rules look at them ([`distribution::spread`]).

use std::collections::BTreeSet;

use distribution::Release;
use distribution::spread::{Held, Holder, PhotoFacts};
use protocol::{Area, BundleId, Digest};

use super::Releases;
use crate::agent::identity::Identity;
use crate::agent::spaces::Spaces;

/// What a phone knows of bundles.
pub(in crate::agent) struct Shelf<'a> {
    pub own: &'a Identity,
    pub spaces: &'a Spaces,
    pub releases: &'a Releases,
    /// Photos that were taken on this phone: asked for where something is to be evicted.
    pub taken_here: BTreeSet<Digest>,
}

impl Holder for Shelf<'_> {
    fn area(&self) -> Area {
        self.own.area()
    }

    fn listed(&self) -> Vec<Release> {
        self.own.listed()
    }

    fn bundle(&self, id: &BundleId) -> Option<Held> {
        let bundle = self.releases.bundles.get(id)?;
        Some(Held {
            bytes: bundle.fetch.bytes,
            held: bundle.fetch.bytes_held(),
            whole: bundle.whole,
        })
    }

    fn runs(&self, digest: &Digest) -> bool {
        self.releases.runs(digest)
    }

    fn copies(&self, id: &BundleId) -> usize {
        self.releases.copies.get(id).map_or(0, BTreeSet::len)
    }

    fn room(&self) -> u64 {
        self.releases.room_left()
    }

    fn photo_room(&self) -> u64 {
        self.releases.photo_room_left()
    }

    fn photo(&self, digest: &Digest) -> Option<PhotoFacts> {
        let photo = self.spaces.photo(digest)?;
        Some(PhotoFacts {
            bytes: photo.bytes,
            read_here: self.spaces.reads(&photo.area),
        })
    }

    fn took(&self, digest: &Digest) -> bool {
        self.taken_here.contains(digest)
    }

    fn arrived(&self, digest: &Digest) -> bool {
        self.spaces.photo_arrived(digest)
    }
}
