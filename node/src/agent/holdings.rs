//! What bundles this phone holds, wants, doubts and gives up.

use std::collections::BTreeSet;
use std::ops::Bound;

use distribution::bundle::Fetch;
use distribution::plan::best_way;
use protocol::defence::{self, Defence};
use protocol::limits::{
    BUNDLES_PER_MEETING_MAX, GROUP_BYTES, PHOTOS_BYTES_MAX, PIECE_GROUPS_MAX, SCRUB_BYTES,
};
use protocol::{BundleId, BundleKind, Digest};

use super::{Bundle, Event, Phone};
use crate::store::{Store, StoreError};

impl Phone {
    /// Opens every bundle that is named in the list, held or wanted: releases, and the deltas that
    /// lead to them; and photos that have been announced. One that cannot be opened is left out and
    /// said: nothing that a peer said, and no bad file, stops the phone.
    pub(crate) fn open_bundles(&mut self, store: &mut dyn Store) -> Result<(), StoreError> {
        let mut wanted: Vec<(BundleId, u64)> = Vec::new();
        for release in self.releases() {
            wanted.extend(
                release
                    .deltas
                    .iter()
                    .map(|d| (BundleId::release(d.digest), d.bytes)),
            );
            wanted.push((BundleId::release(release.digest), release.bytes));
        }
        let own = self.area();
        let photos = self
            .keyring
            .photos()
            .filter(|(blob, photo)| photo.area.meets(&own) && !self.withheld.contains(blob));
        wanted.extend(photos.map(|(digest, photo)| (BundleId::photo(*digest), photo.bytes)));
        for (id, bytes) in wanted {
            let bad = id.kind == BundleKind::Release && self.bad_deltas.contains(&id.digest);
            if !bad && !self.bundles.contains_key(&id) {
                self.open_bundle(id, bytes, store)?;
            }
        }
        self.announce_deltas();
        self.make_room(store)
    }

    fn open_bundle(
        &mut self,
        id: BundleId,
        bytes: u64,
        store: &mut dyn Store,
    ) -> Result<(), StoreError> {
        let opened = store.open_bundle(&id, bytes);
        let (tree, groups) = match opened {
            Ok(opened) => opened,
            Err(error) if !defence::stands(Defence::Namespaces) => return Err(error),
            Err(error) => {
                self.event(Event::SetAside {
                    what: format!("the file of bundle {}: {error}", id.short()),
                });
                return Ok(());
            }
        };
        let fetch = Fetch::resume(id.digest, bytes, tree, &groups);
        // Whole under its final name, or all there since the power went between the last group and
        // the end.
        let whole = match fetch
            .complete()
            .then(|| store.finish_bundle(&id))
            .transpose()
        {
            Ok(whole) => whole.unwrap_or(false),
            Err(error) => {
                self.event(Event::SetAside {
                    what: format!("the file of bundle {}: {error}", id.short()),
                });
                return Ok(());
            }
        };
        let fetch = if fetch.complete() && !whole {
            Fetch::new(id.digest, bytes)
        } else {
            fetch
        };
        self.bundles.insert(id, Bundle::new(fetch, whole));
        Ok(())
    }

    /// A bundle on the disk is not what it should be: what of it is right stays, the rest is
    /// fetched anew.
    pub(crate) fn doubt(&mut self, id: BundleId, store: &mut dyn Store) -> Result<(), StoreError> {
        let Some(bundle) = self.bundles.remove(&id) else {
            return Ok(());
        };
        self.event(Event::SetAside {
            what: format!(
                "the file of bundle {} had changed on the disk: what is missing is fetched anew",
                id.short()
            ),
        });
        store.doubt_bundle(&id)?;
        self.open_bundle(id, bundle.fetch.bytes, store)?;
        self.changed();
        Ok(())
    }

    /// Looks over a little of what lies on the disk, in turns.
    pub(crate) fn scrub_some(&mut self, store: &mut dyn Store) -> Result<(), StoreError> {
        let (at, from) = self.scrubbed;
        let after = self.bundles.range((
            at.map_or(Bound::Unbounded, Bound::Included),
            Bound::Unbounded,
        ));
        let next = after
            .chain(self.bundles.iter())
            .find(|(id, b)| b.whole && (Some(**id) != at || from < b.fetch.groups().count()));
        let Some((id, bundle)) = next else {
            return Ok(());
        };
        let (id, count) = (*id, bundle.fetch.groups().count());
        let first = if Some(id) == at { from } else { 0 };
        let end = count.min(first + SCRUB_BYTES / GROUP_BYTES);
        self.scrubbed = (Some(id), end);
        let mut start = first;
        while start < end {
            let run = PIECE_GROUPS_MAX.min(end - start);
            let read = store.read_groups(&id, start, run)?;
            let right = read.is_some_and(|bytes| {
                self.bundles
                    .get(&id)
                    .is_some_and(|b| b.fetch.check_groups(start, &bytes) == Ok(run))
            });
            if !right {
                return self.doubt(id, store);
            }
            start += run;
        }
        Ok(())
    }

    /// What is named in the meeting that begins: releases first, then photos in turns, so that a
    /// limit never cuts the same place twice.
    pub(super) fn named_this_time(&mut self) -> Vec<BundleId> {
        let held = |(id, b): (&BundleId, &Bundle)| (b.fetch.groups().held() > 0).then_some(*id);
        if !defence::stands(Defence::Turns) {
            let mut all: Vec<_> = self.bundles.iter().filter_map(held).collect();
            all.sort_by_key(|id| id.digest);
            all.truncate(BUNDLES_PER_MEETING_MAX);
            return all;
        }
        let all: Vec<BundleId> = self.bundles.iter().filter_map(held).collect();
        let (releases, photos): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|id| id.kind == BundleKind::Release);
        let turn = |ids: Vec<BundleId>, last: Option<BundleId>, room: usize| -> Vec<BundleId> {
            let begin = ids
                .iter()
                .position(|id| Some(*id) > last)
                .filter(|_| ids.len() > room)
                .unwrap_or(0);
            let (before, after) = ids.split_at(begin);
            after.iter().chain(before).take(room).copied().collect()
        };
        let mut named = turn(
            releases,
            self.named_last.filter(|id| id.kind == BundleKind::Release),
            BUNDLES_PER_MEETING_MAX,
        );
        let room = BUNDLES_PER_MEETING_MAX - named.len();
        named.extend(turn(
            photos,
            self.named_last.filter(|id| id.kind == BundleKind::Photo),
            room,
        ));
        self.named_last = named.last().copied();
        named
    }

    /// Whether a release's bundle is here whole: of the list held, or still kept from an earlier
    /// one.
    pub(crate) fn holds(&self, digest: &Digest) -> bool {
        let kept =
            |m: &Option<distribution::Module>| m.as_ref().is_some_and(|m| m.digest == *digest);
        self.is_whole(digest)
            || self
                .activations
                .values()
                .any(|a| kept(&a.current) || kept(&a.previous))
    }

    fn is_whole(&self, digest: &Digest) -> bool {
        self.bundles
            .get(&BundleId::release(*digest))
            .is_some_and(|b| b.whole)
    }

    /// Tells the host of releases that can be made out of what is here.
    pub(crate) fn announce_deltas(&mut self) {
        let here = |digest: &Digest, _: u64| self.is_whole(digest).then_some(0);
        let ready = self
            .releases()
            .into_iter()
            .filter(|r| !self.is_whole(&r.digest));
        let ready: Vec<_> = ready
            .filter_map(|release| {
                let way = best_way(&release, |d| self.holds(d), here)
                    .filter(|way| !way.deltas.is_empty())?;
                Some(Event::DeltaReady {
                    release: Box::new(release),
                    way,
                })
            })
            .collect();
        ready.into_iter().for_each(|event| self.event(event));
    }

    /// Throws bundles away until what lies here fits the quota, the least useful first: those of no
    /// list any more, then deltas, then those carried for others of which other phones have served
    /// pieces. Never what runs or ran before, what this phone is to run, or what no other phone has
    /// been seen to have; a photo that was taken here not before a keeper has said that it came.
    pub(crate) fn make_room(&mut self, store: &mut dyn Store) -> Result<(), StoreError> {
        if self.quota_bytes == u64::MAX {
            return Ok(());
        }
        let area = self.area();
        let releases = self.releases();
        let own: BTreeSet<_> = releases
            .iter()
            .filter(|r| r.area.covers(&area))
            .map(|r| r.digest)
            .collect();
        let listed: BTreeSet<_> = releases.iter().map(|r| r.digest).collect();
        let taken_here: BTreeSet<Digest> = super::cases::photos_taken_here(store)?;
        let runs = |digest: &Digest| {
            let is =
                |m: &Option<distribution::Module>| m.as_ref().is_some_and(|m| m.digest == *digest);
            self.activations
                .values()
                .any(|a| is(&a.current) || is(&a.previous))
        };
        let held = |id: &BundleId, bytes: u64| {
            self.bundles.get(id).map_or(bytes, |b| b.fetch.bytes_held())
        };
        let rows = store.bundles()?;
        let mut total: u64 = rows.iter().map(|row| held(&row.id, row.bytes)).sum();
        let rank = |id: &BundleId, copies: usize| match id.kind {
            BundleKind::Photo if taken_here.contains(&id.digest) => {
                let arrived = self.keyring.photo_arrived(&id.digest)
                    || (copies > 0 && !defence::stands(Defence::ProvenCopies));
                arrived.then_some(1)
            }
            BundleKind::Photo => {
                (copies > 0 || self.keyring.photo_arrived(&id.digest)).then_some(1)
            }
            BundleKind::Release if own.contains(&id.digest) || runs(&id.digest) => None,
            BundleKind::Release => {
                match (self.bundles.contains_key(id), listed.contains(&id.digest)) {
                    (false, _) => Some(0),
                    (true, false) => Some(1),
                    (true, true) => (copies > 0).then_some(2),
                }
            }
        };
        let mut spare: Vec<_> = rows
            .iter()
            .filter(|row| held(&row.id, row.bytes) > 0)
            .filter_map(|row| {
                let copies = self.copies.get(&row.id).map_or(0, BTreeSet::len);
                Some((
                    rank(&row.id, copies)?,
                    std::cmp::Reverse(copies),
                    row.id,
                    held(&row.id, row.bytes),
                ))
            })
            .collect();
        spare.sort();
        for (.., id, bytes) in spare {
            if total <= self.quota_bytes {
                break;
            }
            self.bundles.remove(&id);
            store.remove_bundle(&id)?;
            total = total.saturating_sub(bytes);
        }
        Ok(())
    }

    /// Bytes of photos that may still be taken in.
    pub(crate) fn photo_room_left(&self) -> u64 {
        let held = self
            .bundles
            .iter()
            .filter(|(id, _)| id.kind == BundleKind::Photo);
        PHOTOS_BYTES_MAX.saturating_sub(held.map(|(_, b)| b.fetch.bytes_held()).sum())
    }

    /// Bytes of bundles that may still be taken in for others.
    pub(crate) fn room_left(&self) -> u64 {
        let held: u64 = self.bundles.values().map(|b| b.fetch.bytes_held()).sum();
        self.quota_bytes.saturating_sub(held)
    }
}
