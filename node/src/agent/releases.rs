//! Releases: what bundles this phone holds, wants, doubts and evicts; what runs of each module is in
//! `running`, the receipt that says so in `receipt`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use distribution::bundle::{Fetch, Groups};
use distribution::plan::best_way;
use distribution::spread;
use distribution::{Activation, Module};
use protocol::defence::{self, Defence};
use protocol::limits::{
    BUNDLES_PER_MEETING_MAX, GROUP_BYTES, PHOTOS_BYTES_MAX, PIECE_GROUPS_MAX, SCRUB_BYTES,
};
use protocol::{BundleId, BundleKind, DeviceId, Digest, always};

use super::load::{load_activations, load_bad_deltas, load_quota, load_scrubbed, scrubbed_bytes};
use super::records::{Records, photos_taken_here};
use super::spaces::Spaces;
use super::tx::Tx;
use super::{Event, LinkId};
use crate::store::{BundleRow, Setting, Store, StoreError};

mod receipt;
mod running;
mod shelf;

pub(super) use shelf::Shelf;

/// News of groups that is remembered for neighbours that have yet to hear it.
const ANNOUNCEMENTS_MAX: usize = 4096;

/// A bundle that is being fetched or served.
pub(crate) struct Bundle {
    pub fetch: Fetch,
    pub whole: bool,
    /// Groups asked of someone and not yet here.
    pub asked: Groups,
    /// Over which link the tree list is being fetched.
    pub tree_from: Option<LinkId>,
    /// How many of the phones that are being met have each group; empty while none has named any.
    pub seen: Vec<u16>,
}

impl Bundle {
    pub(crate) fn new(fetch: Fetch, whole: bool) -> Self {
        always!(!whole || fetch.complete(), "what is whole is all there");
        let asked = Groups::none(fetch.groups().count());
        Self {
            fetch,
            whole,
            asked,
            tree_from: None,
            seen: Vec::new(),
        }
    }
}

/// Bundles, and what runs of them.
#[derive(Default)]
pub(crate) struct Releases {
    pub(super) bundles: BTreeMap<BundleId, Bundle>,
    pub(super) activations: BTreeMap<String, Activation>,
    /// Deltas that did not make what they should, and are not tried again.
    bad_deltas: BTreeSet<Digest>,
    /// Which certified phones have shown a bundle whole and served a piece of it; what none has
    /// served is not thrown away.
    pub(super) copies: BTreeMap<BundleId, BTreeSet<DeviceId>>,
    /// The last photo that was named in a meeting: the next meeting goes on behind it.
    named_last: Option<BundleId>,
    /// Where looking over what lies on the disk goes on.
    scrubbed: (Option<BundleId>, u64),
    /// Groups that have come lately, for the neighbours that are being met; the first number is
    /// that of the oldest.
    pub(super) announcements: (u64, VecDeque<(BundleId, u64, u64)>),
    /// When a group last came, in monotone milliseconds.
    pub(super) last_group_ms: u64,
    /// Bytes of bundles that may lie here.
    quota_bytes: u64,
    /// When what waits since the program came down over it is tried again, in monotone milliseconds.
    pub(super) retry_ms: Option<u64>,
}

impl Releases {
    /// Whether any group is asked of anybody.
    pub(super) fn any_asked(&self) -> bool {
        self.bundles.values().any(|bundle| bundle.asked.held() > 0)
    }

    pub(super) fn load(store: &dyn Store, aside: &mut Vec<String>) -> Result<Self, StoreError> {
        Ok(Self {
            activations: load_activations(store, aside)?,
            bad_deltas: load_bad_deltas(store)?,
            quota_bytes: load_quota(&Setting::quota(), store)?,
            scrubbed: load_scrubbed(store)?,
            ..Self::default()
        })
    }

    /// Opens every bundle that is named in the list, held or wanted: releases, and the deltas that
    /// lead to them; and photos that have been announced. One that cannot be opened is left out and
    /// said: nothing that a peer said, and no bad file, stops the phone.
    pub(super) fn open_bundles(
        &mut self,
        spaces: &Spaces,
        records: &Records,
        tx: &mut Tx,
    ) -> Result<(), StoreError> {
        let mut wanted: Vec<(BundleId, u64)> = Vec::new();
        for release in tx.own.listed() {
            let deltas = release.deltas.iter();
            wanted.extend(deltas.map(|d| (BundleId::release(d.digest), d.bytes)));
            wanted.push((BundleId::release(release.digest), release.bytes));
        }
        let own = tx.own.area();
        let photos = spaces
            .photos()
            .filter(|(blob, photo)| photo.area.meets(&own) && !records.withheld.contains(blob));
        wanted.extend(photos.map(|(digest, photo)| (BundleId::photo(*digest), photo.bytes)));
        for (id, bytes) in wanted {
            let bad = id.kind == BundleKind::Release && self.bad_deltas.contains(&id.digest);
            if !bad && !self.bundles.contains_key(&id) {
                self.open_bundle(id, bytes, tx)?;
            }
        }
        self.announce_deltas(tx);
        self.make_room(spaces, tx)
    }

    fn open_bundle(&mut self, id: BundleId, bytes: u64, tx: &mut Tx) -> Result<(), StoreError> {
        let opened = tx.store.open_bundle(&id, bytes);
        let (tree, groups) = match opened {
            Ok(opened) => opened,
            Err(error) if !defence::stands(Defence::Namespaces) => return Err(error),
            Err(error) => {
                tx.out.event(Event::SetAside {
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
            .then(|| tx.store.finish_bundle(&id))
            .transpose()
        {
            Ok(whole) => whole.unwrap_or(false),
            Err(error) => {
                tx.out.event(Event::SetAside {
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
    pub(super) fn doubt(&mut self, id: BundleId, tx: &mut Tx) -> Result<(), StoreError> {
        let Some(bundle) = self.bundles.remove(&id) else {
            return Ok(());
        };
        tx.out.event(Event::SetAside {
            what: format!(
                "the file of bundle {} had changed on the disk: what is missing is fetched anew",
                id.short()
            ),
        });
        tx.store.doubt_bundle(&id)?;
        self.open_bundle(id, bundle.fetch.bytes, tx)?;
        tx.out.changed();
        Ok(())
    }

    /// Looks over a little of what lies on the disk, in turns.
    pub(super) fn scrub_some(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
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
        always!(first < end, "something is looked at");
        self.scrubbed = (Some(id), end);
        let kept = scrubbed_bytes(id, end);
        tx.store.put_setting(&Setting::scrubbed(), &kept)?;
        let mut start = first;
        while start < end {
            let run = PIECE_GROUPS_MAX.min(end - start);
            let read = tx.store.read_groups(&id, start, run)?;
            let right = read.is_some_and(|bytes| {
                self.bundles
                    .get(&id)
                    .is_some_and(|b| b.fetch.check_groups(start, &bytes) == Ok(run))
            });
            if !right {
                return self.doubt(id, tx);
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
        always!(named.len() <= BUNDLES_PER_MEETING_MAX);
        always!(named.iter().all(|id| self.bundles.contains_key(id)));
        self.named_last = named.last().copied();
        named
    }

    /// Whether a release's bundle is here whole: of the list held, or still kept from an earlier
    /// one.
    pub(super) fn holds(&self, digest: &Digest) -> bool {
        self.is_whole(digest) || self.runs(digest)
    }

    /// Whether a release runs, or ran before what runs now.
    fn runs(&self, digest: &Digest) -> bool {
        let is = |m: &Option<Module>| m.as_ref().is_some_and(|m| m.digest == *digest);
        let mut activations = self.activations.values();
        activations.any(|a| is(&a.current) || is(&a.previous))
    }

    fn is_whole(&self, digest: &Digest) -> bool {
        self.bundles
            .get(&BundleId::release(*digest))
            .is_some_and(|b| b.whole)
    }

    /// Tells the host of releases that can be made out of what is here.
    pub(super) fn announce_deltas(&self, tx: &mut Tx) {
        let here = |digest: &Digest, _: u64| self.is_whole(digest).then_some(0);
        for release in tx.own.listed() {
            if self.is_whole(&release.digest) {
                continue;
            }
            let way = best_way(&release, |d| self.holds(d), here);
            if let Some(way) = way.filter(|way| !way.deltas.is_empty()) {
                let release = Box::new(release);
                tx.out.event(Event::DeltaReady { release, way });
            }
        }
    }

    /// Evicts bundles until what lies here fits the quota ([`spread::evictions`]).
    pub(super) fn make_room(&mut self, spaces: &Spaces, tx: &mut Tx) -> Result<(), StoreError> {
        if self.quota_bytes == u64::MAX {
            return Ok(());
        }
        let held = |row: &BundleRow| {
            let known = self.bundles.get(&row.id);
            known.map_or(row.bytes, |bundle| bundle.fetch.bytes_held())
        };
        let lying = tx.store.bundles()?;
        let lying: Vec<_> = lying.iter().map(|row| (row.id, held(row))).collect();
        let shelf = Shelf {
            own: tx.own,
            spaces,
            releases: self,
            taken_here: photos_taken_here(tx.store)?,
        };
        for id in spread::evictions(&shelf, &lying, self.quota_bytes) {
            let photo = id.kind == BundleKind::Photo;
            always!(photo || !self.runs(&id.digest), "what runs stays");
            self.bundles.remove(&id);
            tx.store.remove_bundle(&id)?;
        }
        Ok(())
    }

    /// Bytes of photos that may still be taken in.
    pub(super) fn photo_room_left(&self) -> u64 {
        let held = self
            .bundles
            .iter()
            .filter(|(id, _)| id.kind == BundleKind::Photo);
        PHOTOS_BYTES_MAX.saturating_sub(held.map(|(_, b)| b.fetch.bytes_held()).sum())
    }

    /// Bytes of bundles that may still be taken in for others.
    pub(super) fn room_left(&self) -> u64 {
        let held: u64 = self.bundles.values().map(|b| b.fetch.bytes_held()).sum();
        self.quota_bytes.saturating_sub(held)
    }

    /// How many bytes of bundles may lie here from now on; 0: as many as there is room for.
    pub(super) fn set_quota(
        &mut self,
        bytes: u64,
        spaces: &Spaces,
        tx: &mut Tx,
    ) -> Result<(), StoreError> {
        tx.store
            .put_setting(&Setting::quota(), &bytes.to_le_bytes())?;
        self.quota_bytes = if bytes == 0 { u64::MAX } else { bytes };
        self.make_room(spaces, tx)
    }

    /// Groups have come: the neighbours hear of it.
    pub(super) fn groups_came(&mut self, now_ms: u64, bundle: BundleId, first: u64, count: u64) {
        always!((1..=PIECE_GROUPS_MAX).contains(&count), "as pieces have");
        self.last_group_ms = now_ms;
        let (oldest, announcements) = &mut self.announcements;
        announcements.push_back((bundle, first, count));
        while announcements.len() > ANNOUNCEMENTS_MAX {
            announcements.pop_front();
            *oldest += 1;
        }
        always!(announcements.len() <= ANNOUNCEMENTS_MAX);
    }

    /// Photos that only lost phones have announced are neither fetched nor kept for others.
    pub(super) fn forget_photos(
        &mut self,
        blobs: Vec<Digest>,
        tx: &mut Tx,
    ) -> Result<(), StoreError> {
        let taken_here = photos_taken_here(tx.store)?;
        for blob in blobs {
            let id = BundleId::photo(blob);
            self.bundles.remove(&id);
            if !taken_here.contains(&blob) {
                tx.store.remove_bundle(&id)?;
            }
        }
        Ok(())
    }

    /// A delta did not make what it should: it is thrown away and not tried again.
    pub(super) fn delta_failed(
        &mut self,
        digest: Digest,
        reason: &str,
        tx: &mut Tx,
    ) -> Result<(), StoreError> {
        self.bad_deltas.insert(digest);
        let kept: Vec<u8> = self.bad_deltas.iter().flat_map(|d| d.0).collect();
        tx.store.put_setting(&Setting::bad_deltas(), &kept)?;
        self.bundles.remove(&BundleId::release(digest));
        tx.store.remove_bundle(&BundleId::release(digest))?;
        let reason = reason.to_owned();
        tx.out.event(Event::DeltaRefused { digest, reason });
        Ok(())
    }

    /// The last group has come: the whole is checked once more, and told to the host.
    pub(super) fn finish_bundle(
        &mut self,
        id: BundleId,
        spaces: &Spaces,
        records: &Records,
        tx: &mut Tx,
    ) -> Result<(), StoreError> {
        if !tx.store.finish_bundle(&id)? {
            self.bundles.remove(&id); // the disk did not keep what it was given: begin again
            return self.open_bundles(spaces, records, tx);
        }
        if let Some(bundle) = self.bundles.get_mut(&id) {
            bundle.whole = true;
        }
        tx.out.changed();
        tx.out.event(Event::BundleWhole { id });
        self.announce_deltas(tx);
        self.make_room(spaces, tx)?;
        self.announce_ready(tx);
        Ok(())
    }
}
