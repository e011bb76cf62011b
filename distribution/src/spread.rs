//! Selection rules of bundles: what to ask a neighbour for and in which order, and what to evict
//! when room ends. Pure functions over a [`Holder`], so that a phone and a simulator of a million
//! phones decide alike.
//!
//! Which of a bundle's pieces to ask for first (the rarest in reach) is
//! [`crate::bundle::Fetch::next_want`]; what a meeting may move in all is a [`Budget`].

use std::cmp::Reverse;
use std::collections::BTreeSet;

use protocol::always;
use protocol::defence::{self, Defence};
use protocol::{Area, BundleId, BundleKind, Digest, Now};

use crate::plan::best_way;
use crate::release::Release;

/// How much of a bundle is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Its size, in bytes.
    pub bytes: u64,
    /// Of them, those that are here and checked.
    pub held: u64,
    /// It is here whole, and checked as one.
    pub whole: bool,
}

/// A sealed photo that has been announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PhotoFacts {
    /// Its size, in bytes.
    pub bytes: u64,
    /// Its case is read here.
    pub read_here: bool,
}

/// What a phone knows of bundles.
pub trait Holder {
    /// The area whose things it holds.
    fn area(&self) -> Area;
    /// Releases that it runs or carries.
    fn listed(&self) -> Vec<Release>;
    /// Of a bundle that it wants or holds; `None`: it takes no notice of it.
    fn bundle(&self, id: &BundleId) -> Option<Held>;
    /// Whether it runs a release, or ran it before this one.
    fn runs(&self, digest: &Digest) -> bool;
    /// Other phones that have shown that they hold a bundle whole.
    fn copies(&self, id: &BundleId) -> usize;
    /// Bytes that it may still take in for others.
    fn room(&self) -> u64;
    /// Bytes of photos that it may still take in.
    fn photo_room(&self) -> u64;
    /// Of a photo that has been announced, and is passed on.
    fn photo(&self, digest: &Digest) -> Option<PhotoFacts>;
    /// A photo was taken on this phone.
    fn took(&self, digest: &Digest) -> bool;
    /// A keeper has said that a photo has come.
    fn arrived(&self, digest: &Digest) -> bool;
}

fn is_whole(holder: &impl Holder, id: &BundleId) -> bool {
    holder.bundle(id).is_some_and(|bundle| bundle.whole)
}

/// What to ask of a neighbour, in order: what this phone is to run, by the cheapest way from here;
/// then what its area needs and it does not, the rarest first; then photos. `there` says whether
/// the neighbour can serve some of a bundle, `named` which photos it has named.
pub fn wanted_bundles(
    holder: &impl Holder,
    there: impl Fn(&BundleId) -> bool,
    named: impl Iterator<Item = BundleId>,
) -> Vec<BundleId> {
    let area = holder.area();
    let holds =
        |digest: &Digest| holder.runs(digest) || is_whole(holder, &BundleId::release(*digest));
    let missing = |digest: &Digest, bytes: u64| {
        let id = BundleId::release(*digest);
        match holder.bundle(&id)? {
            bundle if bundle.whole => Some(0),
            bundle => there(&id).then(|| bytes.saturating_sub(bundle.held)),
        }
    };
    let (mut own, mut carried) = (Vec::new(), Vec::new());
    for release in holder.listed() {
        let id = BundleId::release(release.digest);
        let whole = is_whole(holder, &id);
        let mut on_the_way = false;
        if !whole && let Some(way) = best_way(&release, holds, missing) {
            on_the_way = !way.deltas.is_empty();
            let steps = way.deltas.iter().map(|d| BundleId::release(d.digest));
            let runs_here = release.area.covers(&area);
            let list = if runs_here { &mut own } else { &mut carried };
            list.extend(steps.chain((!on_the_way).then_some(id)));
        }
        carried.extend(release.deltas.iter().map(|d| BundleId::release(d.digest)));
        if !on_the_way && !whole {
            carried.push(id);
        }
    }
    let wanted = |id: &BundleId| holder.bundle(id).is_some_and(|bundle| !bundle.whole);
    let bytes = |id: &BundleId| holder.bundle(id).map_or(0, |bundle| bundle.bytes);
    own.retain(wanted);
    own.sort_by_key(|id| (bytes(id), *id)); // small ones are soon useful
    own.dedup();
    let room = holder.room();
    carried.retain(|id| wanted(id) && bytes(id) <= room && !own.contains(id));
    carried.sort_by_key(|id| (holder.copies(id), bytes(id), *id));
    carried.dedup();
    // Photos last: where their cases are read, then where there is room to carry them.
    let photo_room = holder.photo_room();
    let photos = named.filter(|id| id.kind == BundleKind::Photo && wanted(id));
    let photos = photos.filter_map(|id| {
        let photo = holder.photo(&id.digest)?;
        let fits = photo.bytes <= photo_room && (photo.read_here || photo.bytes <= room);
        fits.then_some((!photo.read_here, photo.bytes, id))
    });
    let photos: BTreeSet<_> = photos.collect();
    own.extend(carried);
    own.extend(photos.into_iter().map(|(.., id)| id));
    always!(own.iter().all(wanted), "nothing that is here");
    always!(own.is_sorted_by_key(|id| id.kind), "photos come last");
    own
}

/// What to evict until what lies here fits a quota, the least useful first: bundles of no list any
/// more, then deltas and photos that have arrived, then those carried for others of which other
/// phones have served pieces. Never what runs or ran before, what this phone is to run, or what no
/// other phone has been seen to have; a photo that was taken here not before a keeper has said that
/// it came. `lying` are the bundles on the disk and their bytes there.
pub fn evictions(holder: &impl Holder, lying: &[(BundleId, u64)], quota: u64) -> Vec<BundleId> {
    let area = holder.area();
    let releases = holder.listed();
    let own = releases.iter().filter(|r| r.area.covers(&area));
    let own: BTreeSet<_> = own.map(|r| r.digest).collect();
    let listed: BTreeSet<_> = releases.iter().map(|r| r.digest).collect();
    let rank = |id: &BundleId, copies: usize| match id.kind {
        BundleKind::Photo if holder.took(&id.digest) => {
            let seen = copies > 0 && !defence::stands(Defence::ProvenCopies);
            (holder.arrived(&id.digest) || seen).then_some(1)
        }
        BundleKind::Photo => (copies > 0 || holder.arrived(&id.digest)).then_some(1),
        BundleKind::Release if own.contains(&id.digest) || holder.runs(&id.digest) => None,
        BundleKind::Release => match (holder.bundle(id), listed.contains(&id.digest)) {
            (None, _) => Some(0),
            (Some(_), false) => Some(1),
            (Some(_), true) => (copies > 0).then_some(2),
        },
    };
    let mut spare: Vec<_> = lying
        .iter()
        .filter(|(_, held)| *held > 0)
        .filter_map(|(id, held)| {
            let copies = holder.copies(id);
            Some((rank(id, copies)?, Reverse(copies), *id, *held))
        })
        .collect();
    spare.sort();
    let mut total: u64 = lying.iter().map(|(_, held)| held).sum();
    let mut gone = Vec::new();
    for (.., id, held) in spare {
        if total <= quota {
            break;
        }
        total = total.saturating_sub(held);
        gone.push(id);
    }
    let runs = |id: &BundleId| own.contains(&id.digest) || holder.runs(&id.digest);
    always!(
        !gone
            .iter()
            .any(|id| id.kind == BundleKind::Release && runs(id)),
        "what runs stays"
    );
    always!(
        gone.is_empty() || lying.iter().map(|(_, held)| held).sum::<u64>() > quota,
        "what fits stays"
    );
    gone
}

/// What is left of a meeting for bundles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Bytes of bundles that may still be asked for.
    pub bundle_bytes: u64,
    /// When asking ends, in monotone milliseconds.
    pub until_ms: u64,
}

impl Budget {
    /// So many bytes within so many minutes from now.
    pub fn new(bundle_bytes: u64, minutes: u64, now: Now) -> Self {
        Self {
            bundle_bytes,
            until_ms: now.mono_ms.saturating_add(minutes * 60_000),
        }
    }

    /// Takes `bytes` for a request, if they are there and there is time.
    pub fn take(&mut self, bytes: u64, now: Now) -> bool {
        if now.mono_ms >= self.until_ms || self.bundle_bytes < bytes {
            return false;
        }
        self.bundle_bytes -= bytes;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::release::Delta;

    /// A holder that is written down.
    #[derive(Default)]
    struct Written {
        listed: Vec<Release>,
        bundles: BTreeMap<BundleId, Held>,
        runs: BTreeSet<Digest>,
        copies: BTreeMap<BundleId, usize>,
        photos: BTreeMap<Digest, PhotoFacts>,
        took: BTreeSet<Digest>,
        arrived: BTreeSet<Digest>,
        room: u64,
    }

    impl Holder for Written {
        fn area(&self) -> Area {
            Area::parse("north/kilifi").unwrap()
        }
        fn listed(&self) -> Vec<Release> {
            self.listed.clone()
        }
        fn bundle(&self, id: &BundleId) -> Option<Held> {
            self.bundles.get(id).copied()
        }
        fn runs(&self, digest: &Digest) -> bool {
            self.runs.contains(digest)
        }
        fn copies(&self, id: &BundleId) -> usize {
            self.copies.get(id).copied().unwrap_or(0)
        }
        fn room(&self) -> u64 {
            self.room
        }
        fn photo_room(&self) -> u64 {
            u64::MAX
        }
        fn photo(&self, digest: &Digest) -> Option<PhotoFacts> {
            self.photos.get(digest).copied()
        }
        fn took(&self, digest: &Digest) -> bool {
            self.took.contains(digest)
        }
        fn arrived(&self, digest: &Digest) -> bool {
            self.arrived.contains(digest)
        }
    }

    fn digest(n: u8) -> Digest {
        Digest([n; 32])
    }

    fn release(n: u8, bytes: u64, area: &str) -> Release {
        Release {
            module: format!("module-{n}"),
            version: 1,
            digest: digest(n),
            bytes,
            area: Area::parse(area).unwrap(),
            language: "und".into(),
            engine_min: 0,
            notes: String::new(),
            deltas: Vec::new(),
            stage: None,
            lineage: None,
            kind: crate::ModuleKind::Other,
        }
    }

    fn wanted(holder: &mut Written, id: BundleId, bytes: u64, held: u64) {
        let whole = held == bytes;
        holder.bundles.insert(id, Held { bytes, held, whole });
    }

    fn ask(holder: &Written) -> Vec<BundleId> {
        let named: Vec<_> = holder.bundles.keys().copied().collect();
        wanted_bundles(holder, |_| true, named.into_iter())
    }

    #[test]
    fn what_runs_here_comes_first_then_the_rarest_then_photos_of_cases_that_are_read() {
        let mut holder = Written {
            room: 1000,
            ..Written::default()
        };
        holder.listed = vec![
            release(1, 500, "south"),
            release(2, 100, "south"),
            release(3, 900, "north"),
        ];
        for release in holder.listed.clone() {
            wanted(
                &mut holder,
                BundleId::release(release.digest),
                release.bytes,
                0,
            );
        }
        holder.copies.insert(BundleId::release(digest(2)), 4);
        for (n, read_here) in [(7, false), (8, true)] {
            let facts = PhotoFacts {
                bytes: 50,
                read_here,
            };
            holder.photos.insert(digest(n), facts);
            wanted(&mut holder, BundleId::photo(digest(n)), 50, 0);
        }
        let order = [
            BundleId::release(digest(3)),
            BundleId::release(digest(1)),
            BundleId::release(digest(2)),
            BundleId::photo(digest(8)),
            BundleId::photo(digest(7)),
        ];
        assert_eq!(ask(&holder), order);
        holder.room = 0;
        assert_eq!(
            ask(&holder),
            [order[0], order[3]],
            "others' things need room"
        );
    }

    #[test]
    fn a_delta_is_asked_for_instead_of_the_whole_where_its_base_is_here() {
        let mut holder = Written::default();
        let mut newer = release(2, 1000, "north");
        newer.deltas = vec![Delta {
            base: digest(1),
            digest: digest(9),
            bytes: 100,
            makes: None,
        }];
        holder.listed = vec![newer];
        wanted(&mut holder, BundleId::release(digest(2)), 1000, 0);
        wanted(&mut holder, BundleId::release(digest(9)), 100, 0);
        assert_eq!(ask(&holder), [BundleId::release(digest(2))]);
        holder.runs.insert(digest(1));
        assert_eq!(ask(&holder), [BundleId::release(digest(9))]);
    }

    #[test]
    fn nothing_is_evicted_that_runs_or_that_nobody_else_has_shown() {
        let mut holder = Written {
            listed: vec![
                release(1, 10, "north"),
                release(2, 10, "south"),
                release(3, 10, "south"),
            ],
            ..Written::default()
        };
        holder.runs.insert(digest(4));
        holder.copies.insert(BundleId::release(digest(3)), 1);
        holder.took.extend([digest(6), digest(7)]);
        holder.arrived.insert(digest(7));
        let releases = [1, 2, 3, 4, 5].map(|n| BundleId::release(digest(n)));
        let photos = [6, 7].map(|n| BundleId::photo(digest(n)));
        let lying: Vec<_> = releases.iter().chain(&photos).map(|id| (*id, 10)).collect();
        for (id, bytes) in &lying {
            wanted(&mut holder, *id, *bytes, *bytes);
        }
        holder.bundles.remove(&BundleId::release(digest(5))); // of no list any more
        let gone = [
            BundleId::release(digest(5)),
            BundleId::photo(digest(7)),
            BundleId::release(digest(3)),
        ];
        assert_eq!(evictions(&holder, &lying, 0), gone);
        assert_eq!(evictions(&holder, &lying, 60), gone[..1]);
        assert!(evictions(&holder, &lying, 70).is_empty());
    }

    #[test]
    fn a_budget_ends_by_bytes_and_by_time() {
        let now = Now {
            mono_ms: 1000,
            wall_s: 0,
        };
        let mut budget = Budget::new(8 << 20, 8, now);
        assert!(budget.take(8 << 20, now));
        assert!(!budget.take(1, now));
        let mut budget = Budget::new(8 << 20, 8, now);
        assert!(!budget.take(1, now.plus_ms(8 * 60_000)));
    }
}
