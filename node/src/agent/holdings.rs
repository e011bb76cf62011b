//! What bundles this phone holds, wants and gives up.

use std::collections::{BTreeMap, BTreeSet};

use distribution::bundle::{Fetch, Groups};
use distribution::plan::best_way;
use protocol::Digest;
use protocol::limits::PHOTOS_BYTES_MAX;

use super::{Bundle, Event, Phone};
use crate::store::{Store, StoreError};

impl Phone {
    /// Opens every bundle that is named in the list, held or wanted: releases, and the deltas that lead to them.
    pub(crate) fn open_bundles(&mut self, store: &mut dyn Store) -> Result<(), StoreError> {
        let rows: BTreeMap<_, _> = store.bundles()?.into_iter().map(|row| (row.digest, row)).collect();
        let own = self.area();
        let passed_on = |blob: &protocol::Digest| !self.withheld.contains(blob);
        let photos = self.keyring.photos().filter(|(blob, photo)| photo.area.meets(&own) && passed_on(blob));
        let photos: Vec<_> = photos.map(|(digest, photo)| (*digest, photo.bytes)).collect();
        let bundles = self.releases().into_iter().map(|release| {
            let deltas = release.deltas.iter().map(|d| (d.digest, d.bytes));
            deltas.chain([(release.digest, release.bytes)]).collect::<Vec<_>>()
        });
        for bundles in bundles.chain([photos]) {
            for (digest, bytes) in bundles {
                if self.bundles.contains_key(&digest) || self.bad_deltas.contains(&digest) {
                    continue;
                }
                let (tree, groups) = store.open_bundle(&digest, bytes)?;
                let fetch = Fetch::resume(digest, bytes, tree, &groups);
                let whole = rows.get(&digest).is_some_and(|row| row.whole) && fetch.complete();
                let count = fetch.groups().count();
                let seen = vec![0; count as usize];
                let mut bundle = Bundle { fetch, whole, asked: Groups::none(count), tree_from: None, seen };
                if !bundle.whole && bundle.fetch.complete() {
                    bundle.whole = store.finish_bundle(&digest)?; // the power went between the last group and the end
                }
                self.bundles.insert(digest, bundle);
            }
        }
        self.announce_deltas();
        self.make_room(store)
    }

    /// Whether a bundle is here whole: of the list held, or still kept from an earlier one.
    pub(crate) fn holds(&self, digest: &Digest) -> bool {
        let kept = |m: &Option<distribution::Module>| m.as_ref().is_some_and(|m| m.digest == *digest);
        self.bundles.get(digest).is_some_and(|b| b.whole)
            || self.activations.values().any(|a| kept(&a.current) || kept(&a.previous))
    }

    /// Tells the host of releases that can be made out of what is here.
    pub(crate) fn announce_deltas(&mut self) {
        let here = |digest: &Digest, _: u64| self.bundles.get(digest).filter(|b| b.whole).map(|_| 0);
        let ready = self.releases().into_iter().filter(|r| !self.bundles.get(&r.digest).is_some_and(|b| b.whole));
        let ready: Vec<_> = ready
            .filter_map(|release| {
                let way = best_way(&release, |d| self.holds(d), here).filter(|way| !way.deltas.is_empty())?;
                Some(Event::DeltaReady { release: Box::new(release), way })
            })
            .collect();
        ready.into_iter().for_each(|event| self.event(event));
    }

    /// Throws bundles away until what lies here fits the quota, the least useful first: those of no list any more, then
    /// deltas, then those carried for others of which other phones have shown copies. Never what runs or ran before, what
    /// this phone is to run, or what no other phone has shown.
    pub(crate) fn make_room(&mut self, store: &mut dyn Store) -> Result<(), StoreError> {
        if self.quota_bytes == u64::MAX {
            return Ok(());
        }
        let area = self.area();
        let own: BTreeSet<_> = self.releases().iter().filter(|r| r.area.covers(&area)).map(|r| r.digest).collect();
        let mut photos: BTreeSet<_> = self.keyring.photos().map(|(digest, _)| *digest).collect();
        for (key, kept) in store.settings("photo/")? {
            photos.extend(
                key.strip_prefix("photo/")
                    .filter(|_| !kept.is_empty())
                    .and_then(|digest| digest.parse::<Digest>().ok()),
            );
        }
        let listed: BTreeSet<_> = self.releases().iter().map(|r| r.digest).collect();
        let runs = |digest: &Digest| {
            let is = |m: &Option<distribution::Module>| m.as_ref().is_some_and(|m| m.digest == *digest);
            self.activations.values().any(|a| is(&a.current) || is(&a.previous))
        };
        let held = |digest: &Digest, bytes: u64| self.bundles.get(digest).map_or(bytes, |b| b.fetch.bytes_held());
        let rows = store.bundles()?;
        let mut total: u64 = rows.iter().map(|row| held(&row.digest, row.bytes)).sum();
        let mut spare: Vec<_> = rows
            .iter()
            .filter(|row| !own.contains(&row.digest) && !runs(&row.digest) && held(&row.digest, row.bytes) > 0)
            .filter_map(|row| {
                let known = self.bundles.contains_key(&row.digest);
                let copies = self.copies.get(&row.digest).map_or(0, BTreeSet::len);
                let rank = match (known, listed.contains(&row.digest)) {
                    (_, false) if photos.contains(&row.digest) && copies == 0 => return None,
                    (false, _) => 0,
                    (true, false) => 1,
                    (true, true) if copies > 0 => 2,
                    (true, true) => return None,
                };
                Some((rank, std::cmp::Reverse(copies), row.digest, held(&row.digest, row.bytes)))
            })
            .collect();
        spare.sort();
        for (.., digest, bytes) in spare {
            if total <= self.quota_bytes {
                break;
            }
            self.bundles.remove(&digest);
            store.remove_bundle(&digest)?;
            total -= bytes;
        }
        Ok(())
    }

    /// Bytes of photos that may still be taken in.
    pub(crate) fn photo_room_left(&self) -> u64 {
        let held = self.keyring.photos().filter_map(|(digest, _)| self.bundles.get(digest));
        PHOTOS_BYTES_MAX.saturating_sub(held.map(|b| b.fetch.bytes_held()).sum())
    }

    /// Bytes of bundles that may still be taken in for others.
    pub(crate) fn room_left(&self) -> u64 {
        let held: u64 = self.bundles.values().map(|b| b.fetch.bytes_held()).sum();
        self.quota_bytes.saturating_sub(held)
    }
}
