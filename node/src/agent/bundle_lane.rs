//! The bundles lane: pieces of releases, asked for by the one who lacks them and checked one by one.
//!
//! Each side names what it holds (*have*), then asks for what it lacks and the other has (*want*), a bounded number of
//! bytes at a time, the smallest bundle first. A piece that nobody asked for, or that is not what was signed, ends the
//! meeting; what was taken before stays and is asked of the next phone from there on.

use std::collections::{BTreeMap, VecDeque};

use distribution::bundle::Groups;
use protocol::frame::{Frame, Have, Lane, LaneDone, Piece, StepDone, Tree, Want};
use protocol::limits::{
    BUNDLES_PER_MEETING_MAX, GROUP_BYTES, PIECE_GROUPS_MAX, PIECE_WAIT_MS_MAX, PIECES_IN_FLIGHT_BYTES_MAX,
    TREE_CHUNK_BYTES_MAX, WANTS_QUEUED_MAX,
};
use protocol::{Digest, Now};

use super::meeting::{End, Meeting, refuse};
use super::{Event, Phone};
use crate::store::{Store, StoreError};

/// Wishes that may be open at once; below the other's queue, so that an honest phone is never refused.
const WANTS_OPEN_MAX: usize = WANTS_QUEUED_MAX / 2;

#[derive(Default)]
pub(super) struct BundleLane {
    active: bool,
    pub(super) done_ours: bool,
    pub(super) done_theirs: bool,
    haves_heard: bool,
    /// What the other has of bundles that we lack, and whether it has the tree list.
    their_groups: BTreeMap<Digest, (Groups, bool)>,
    /// Where the search for missing groups goes on.
    cursor: BTreeMap<Digest, u64>,
    /// Asked of the other and not yet here.
    open_wants: Vec<(Digest, u64, u64)>,
    tree_asked: Option<Digest>,
    /// When the last piece came, or the first was asked for.
    waiting_since_ms: u64,
    /// Last told to screens.
    percent: u64,
    /// Asked of us and not yet sent.
    queued: VecDeque<Want>,
}

impl BundleLane {
    pub(super) fn done(&self) -> bool {
        !self.active || (self.done_ours && self.done_theirs && self.queued.is_empty())
    }

    pub(super) fn close(&mut self) {
        self.active = false;
    }
}

impl Meeting {
    pub(super) fn begin_bundles(&mut self, phone: &Phone) {
        self.bundles.active = true;
        let held = phone.bundles.values().filter(|b| b.fetch.groups().held() > 0);
        for bundle in held.take(BUNDLES_PER_MEETING_MAX) {
            self.say(Frame::Have(Have {
                bundle: bundle.fetch.digest,
                whole: bundle.whole,
                tree: bundle.fetch.tree().is_some(),
                groups: if bundle.whole { Vec::new() } else { bundle.fetch.groups().bits().to_vec() },
            }));
        }
        self.say(Frame::HavesDone(StepDone { step: 0 }));
    }

    pub(super) fn handle_have(&mut self, have: &Have, phone: &Phone) -> Result<(), End> {
        if self.bundles.haves_heard || self.bundles.their_groups.len() >= BUNDLES_PER_MEETING_MAX {
            return refuse("Have out of its place");
        }
        let Some(bundle) = phone.bundles.get(&have.bundle).filter(|b| !b.whole) else { return Ok(()) };
        let count = bundle.fetch.groups().count();
        let groups = if have.whole { Groups::all(count) } else { Groups::from_bits(&have.groups, count) };
        self.bundles.their_groups.insert(have.bundle, (groups, have.tree || have.whole));
        Ok(())
    }

    pub(super) fn handle_haves_done(&mut self, phone: &mut Phone) -> Result<(), End> {
        if self.bundles.haves_heard {
            return refuse("HavesDone out of its place");
        }
        self.bundles.haves_heard = true;
        for digest in self.bundles.their_groups.keys() {
            if let Some(bundle) = phone.bundles.get(digest) {
                let (done, total) = (bundle.fetch.bytes_held(), bundle.fetch.bytes);
                phone.event(Event::Progress { link: self.link, lane: "bundles", done, total });
            }
        }
        Ok(())
    }

    pub(super) fn handle_want(&mut self, want: Want, phone: &Phone) -> Result<(), End> {
        if self.bundles.queued.len() >= WANTS_QUEUED_MAX {
            return refuse("more wishes at once than a phone may have");
        }
        let Some(bundle) = phone.bundles.get(&want.bundle) else { return refuse("a wish for an unknown bundle") };
        let end = want.first.checked_add(want.count).filter(|_| want.count <= PIECE_GROUPS_MAX);
        let there = |end| (want.first..end).all(|i| bundle.fetch.groups().has(i));
        if !want.tree && !end.is_some_and(|end| want.count > 0 && there(end)) {
            return refuse("a wish for pieces that this phone never named");
        }
        if want.tree && bundle.fetch.tree().is_none() {
            return refuse("a wish for group hashes that this phone never named");
        }
        self.bundles.queued.push_back(want);
        Ok(())
    }

    /// When a piece that was asked for is so late that another phone is asked (slow retrieval).
    pub(super) fn piece_due_ms(&self) -> Option<u64> {
        let waits = !self.bundles.open_wants.is_empty() || self.bundles.tree_asked.is_some();
        waits.then_some(self.bundles.waiting_since_ms + PIECE_WAIT_MS_MAX)
    }

    pub(super) fn handle_tree(&mut self, tree: &Tree, phone: &mut Phone, store: &mut dyn Store) -> Result<(), End> {
        if self.bundles.tree_asked != Some(tree.bundle) {
            return refuse("group hashes that nobody asked for");
        }
        let Some(bundle) = phone.bundles.get_mut(&tree.bundle) else { return refuse("an unknown bundle") };
        if bundle.fetch.accept_tree(tree.offset, &tree.hashes).or_else(refuse)? {
            store.put_tree(&tree.bundle, bundle.fetch.tree().unwrap_or_default())?;
            bundle.tree_from = None;
            self.bundles.tree_asked = None;
        }
        Ok(())
    }

    pub(super) fn handle_piece(&mut self, piece: &Piece, phone: &mut Phone, store: &mut dyn Store) -> Result<(), End> {
        let open = self.bundles.open_wants.iter().position(|(d, first, _)| *d == piece.bundle && *first == piece.first);
        let Some(at) = open else { return refuse("a piece that nobody asked for") };
        let Some(bundle) = phone.bundles.get_mut(&piece.bundle) else { return refuse("an unknown bundle") };
        let count = bundle.fetch.check_groups(piece.first, &piece.bytes).or_else(refuse)?;
        let (_, first, wanted) = self.bundles.open_wants.swap_remove(at);
        bundle.asked.clear(first, wanted);
        if count != wanted {
            return refuse("a piece of another length than was asked for");
        }
        store.write_groups(&piece.bundle, piece.first, &piece.bytes)?;
        bundle.fetch.mark(piece.first, count);
        self.summary.bundle_bytes_taken += piece.bytes.len() as u64;
        self.bundles.waiting_since_ms = self.last_heard_ms;
        let (done, total) = (bundle.fetch.bytes_held(), bundle.fetch.bytes);
        if self.bundles.percent != done * 100 / total.max(1) {
            self.bundles.percent = done * 100 / total.max(1);
            phone.event(Event::Progress { link: self.link, lane: "bundles", done, total });
        }
        if done == total {
            phone.finish_bundle(piece.bundle, store)?;
        }
        Ok(())
    }

    pub(super) fn next_bundle_frame(
        &mut self,
        now: Now,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<Option<Frame>, StoreError> {
        if !self.bundles.active {
            return Ok(None);
        }
        if !self.bundles.done_ours
            && self.bundles.haves_heard
            && let Some(frame) = self.next_want(now, phone)
        {
            return Ok(Some(frame));
        }
        self.next_wanted(phone, store)
    }

    /// Our next wish, or that we have none.
    fn next_want(&mut self, now: Now, phone: &mut Phone) -> Option<Frame> {
        let open_bytes = self.bundles.open_wants.len() as u64 * PIECE_GROUPS_MAX * GROUP_BYTES;
        if open_bytes >= PIECES_IN_FLIGHT_BYTES_MAX || self.bundles.open_wants.len() >= WANTS_OPEN_MAX {
            return None;
        }
        let mut digests: Vec<_> = self.bundles.their_groups.keys().copied().collect();
        digests.sort_by_key(|d| phone.bundles.get(d).map_or(0, |b| b.fetch.bytes)); // small ones are soon useful
        let mut waiting = self.piece_due_ms().is_some();
        if !waiting {
            self.bundles.waiting_since_ms = now.mono_ms;
        }
        for digest in digests {
            let Some(bundle) = phone.bundles.get_mut(&digest).filter(|b| !b.whole) else { continue };
            let Some((theirs, their_tree)) = self.bundles.their_groups.get(&digest) else { continue };
            // Pieces may be asked for while the tree list is on its way from the same phone: it arrives before them.
            let tree_coming = self.bundles.tree_asked == Some(digest);
            if bundle.fetch.tree().is_none() && !tree_coming {
                let free = self.bundles.tree_asked.is_none() && bundle.tree_from.is_none();
                if *their_tree && free && self.budget.take(bundle.fetch.tree_bytes(), now) {
                    bundle.fetch.restart_tree();
                    bundle.tree_from = Some(self.link);
                    self.bundles.tree_asked = Some(digest);
                    return Some(Frame::Want(Want { bundle: digest, tree: true, first: 0, count: 0 }));
                }
                waiting |= *their_tree && bundle.tree_from.is_some();
                continue;
            }
            let from = self.bundles.cursor.get(&digest).copied().unwrap_or(0);
            let next = bundle.fetch.next_want(theirs, &bundle.asked, from);
            match next.or_else(|| bundle.fetch.next_want(theirs, &bundle.asked, 0)) {
                Some((first, count)) if self.budget.take(count * GROUP_BYTES, now) => {
                    (first..first + count).for_each(|i| bundle.asked.set(i));
                    self.bundles.cursor.insert(digest, first + count);
                    self.bundles.open_wants.push((digest, first, count));
                    return Some(Frame::Want(Want { bundle: digest, tree: false, first, count }));
                }
                Some(_) => {}
                // Asked of another phone just now; if that one leaves, it is this one's turn.
                None => waiting |= bundle.asked.held() > 0,
            }
        }
        if waiting {
            return None;
        }
        self.bundles.done_ours = true;
        Some(Frame::LaneDone(LaneDone { lane: Lane::Bundles as u8 }))
    }

    /// What the other wished for next.
    fn next_wanted(&mut self, phone: &Phone, store: &mut dyn Store) -> Result<Option<Frame>, StoreError> {
        let Some(want) = self.bundles.queued.front_mut() else { return Ok(None) };
        let bundle = want.bundle;
        if !want.tree {
            let (first, count) = (want.first, want.count);
            self.bundles.queued.pop_front();
            let bytes = store.read_groups(&bundle, first, count)?;
            self.summary.bundle_bytes_sent += bytes.len() as u64;
            return Ok(Some(Frame::Piece(Piece { bundle, first, bytes })));
        }
        let tree = phone.bundles.get(&bundle).and_then(|b| b.fetch.tree()).unwrap_or_default();
        let offset = want.first; // while a tree is being sent, the wish remembers how far it is
        let rest = tree.get(offset as usize..).unwrap_or_default();
        let hashes = rest.get(..TREE_CHUNK_BYTES_MAX).unwrap_or(rest).to_vec();
        want.first += hashes.len() as u64;
        if want.first >= tree.len() as u64 {
            self.bundles.queued.pop_front();
        }
        Ok(Some(Frame::Tree(Tree { bundle, offset, hashes })))
    }

    /// What was asked of this phone and has not come may be asked of others.
    pub(super) fn release_asked(&self, phone: &mut Phone) {
        for (digest, first, count) in &self.bundles.open_wants {
            if let Some(bundle) = phone.bundles.get_mut(digest) {
                bundle.asked.clear(*first, *count);
            }
        }
        for bundle in phone.bundles.values_mut().filter(|b| b.tree_from == Some(self.link)) {
            bundle.tree_from = None;
            bundle.fetch.restart_tree();
        }
    }
}

impl Phone {
    /// The last group has come: the whole is checked once more, and told to the host.
    fn finish_bundle(&mut self, digest: Digest, store: &mut dyn Store) -> Result<(), StoreError> {
        let whole = store.finish_bundle(&digest)?;
        if !whole {
            self.bundles.remove(&digest); // the disk did not keep what it was given: begin again
            return self.open_bundles(store);
        }
        if let Some(bundle) = self.bundles.get_mut(&digest) {
            bundle.whole = true;
        }
        self.changed();
        self.event(Event::BundleWhole { digest });
        self.announce_ready(store)
    }
}
