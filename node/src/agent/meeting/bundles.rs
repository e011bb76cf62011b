//! The bundles lane: pieces of releases, asked for by the one who lacks them and checked one by
//! one.
//!
//! Each side names what it holds (*have*), then asks for what it lacks and the other has (*want*),
//! a bounded number of bytes at a time, the smallest bundle first. A piece that nobody asked for,
//! or that is not what was signed, ends the meeting; what was taken before stays and is asked of
//! the next phone from there on. Who serves a piece looks at it first: what its disk did not keep
//! it takes back (*lacks*), and asks for anew itself.

use std::collections::{BTreeMap, VecDeque};

use distribution::bundle::Groups;
use protocol::defence::{self, Defence};
use protocol::frame::{Frame, Have, HaveAlso, HavesDone, Lacks, Lane, Piece, Tree, Want};
use protocol::limits::{
    BUNDLES_PER_MEETING_MAX, PIECE_GROUPS_MAX, PIECE_WAIT_MS_MAX, ROOM_QUIET_MS_MAX,
    TREE_CHUNK_BYTES_MAX, WANTS_QUEUED_MAX,
};
use protocol::{BundleId, BundleKind, always};

use super::flow::Flow;
use super::talk::{End, Talk, refuse};
use crate::agent::releases::Bundle;
use crate::agent::{Event, Phone};
use crate::store::{Store, StoreError};

mod asking;

/// Wishes that may be open at once; below the other's queue, so that an honest phone is never
/// refused.
const WANTS_OPEN_MAX: usize = WANTS_QUEUED_MAX / 2;

#[derive(Default)]
pub(super) struct BundleLane {
    active: bool,
    pub(super) done_ours: bool,
    pub(super) done_theirs: bool,
    haves_heard: bool,
    /// Bundles that the other has said to have whole, of those that are known here.
    whole_there: std::collections::BTreeSet<BundleId>,
    haves: usize,
    /// What this phone has named.
    named: std::collections::BTreeSet<BundleId>,
    /// What the other has of bundles that we lack, and whether it has the tree list.
    their_groups: BTreeMap<BundleId, (Groups, bool)>,
    /// Where the search for missing groups goes on.
    cursor: BTreeMap<BundleId, u64>,
    /// Asked of the other and not yet here.
    open_wants: Vec<(BundleId, u64, u64)>,
    tree_asked: Option<BundleId>,
    /// How much is asked for at once.
    flow: Flow,
    /// When the last piece came, or the first was asked for.
    waiting_since_ms: u64,
    /// Last told to screens.
    percent: u64,
    /// The other is meeting more phones than this one.
    others_there: bool,
    /// When the other last said it had got something.
    last_got_ms: u64,
    /// Up to where this phone's news has been said.
    announced: u64,
    /// Everything that the other has was asked for; what third phones may bring to it is awaited.
    waits_for_others: bool,
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

impl BundleLane {
    /// A frame of this lane.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "none of the others is meant"
    )]
    pub(super) fn handle(
        &mut self,
        frame: Frame,
        talk: &mut Talk,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), End> {
        match frame {
            Frame::Have(have) => self.handle_have(talk, &have, phone),
            Frame::HavesDone(done) => self.handle_haves_done(talk, done.in_company, phone),
            Frame::HaveAlso(got) => self.handle_have_also(&got, phone),
            Frame::Want(want) => self.handle_want(talk, want, phone),
            Frame::Lacks(lacks) => self.handle_lacks(talk, &lacks, phone),
            Frame::Tree(tree) => self.handle_tree(&tree, phone, store),
            Frame::Piece(piece) => self.handle_piece(talk, &piece, phone, store),
            other => refuse(format!("{} out of its place", other.name())),
        }
    }

    pub(super) fn begin_bundles(&mut self, talk: &mut Talk, phone: &mut Phone) {
        self.active = true;
        self.last_got_ms = phone.now.mono_ms;
        self.announced =
            phone.releases.announcements.0 + phone.releases.announcements.1.len() as u64;
        for id in phone.releases.named_this_time() {
            let Some(bundle) = phone.releases.bundles.get(&id) else {
                continue;
            };
            self.named.insert(id);
            talk.say(Frame::Have(Have {
                bundle: id,
                whole: bundle.whole,
                tree: bundle.fetch.tree().is_some(),
                bytes: bundle.fetch.bytes,
                groups: if bundle.whole {
                    Vec::new()
                } else {
                    bundle.fetch.groups().bits().to_vec()
                },
            }));
        }
        always!(self.named.len() <= BUNDLES_PER_MEETING_MAX);
        // Others are here too: more may come to this phone while the two talk.
        talk.say(Frame::HavesDone(HavesDone {
            in_company: phone.meetings > 1,
        }));
    }

    fn handle_have(&mut self, talk: &Talk, have: &Have, phone: &mut Phone) -> Result<(), End> {
        if self.haves_heard || self.haves >= BUNDLES_PER_MEETING_MAX || !self.active {
            return refuse("Have out of its place");
        }
        self.haves += 1;
        let Some(bundle) = phone.releases.bundles.get_mut(&have.bundle) else {
            return Ok(());
        };
        if self.their_groups.contains_key(&have.bundle) {
            return refuse("a bundle named twice");
        }
        if self.their_groups.len() >= BUNDLES_PER_MEETING_MAX {
            return Ok(());
        }
        if have.bytes != bundle.fetch.bytes {
            // Of a photo several may have said how long it is; who has it knows.
            let known = have.bundle.kind == BundleKind::Photo
                && bundle.fetch.groups().held() == 0
                && bundle.tree_from.is_none()
                && phone.spaces.photo_has_size(&have.bundle.digest, have.bytes);
            if !known {
                return Ok(());
            }
            *bundle = Bundle::new(
                distribution::bundle::Fetch::new(have.bundle.digest, have.bytes),
                false,
            );
        }
        let count = bundle.fetch.groups().count();
        let groups = if have.whole {
            Groups::all(count)
        } else {
            Groups::from_bits(&have.groups, count)
        };
        (0..count)
            .filter(|i| groups.has(*i))
            .for_each(|i| count_up(bundle, i));
        self.their_groups
            .insert(have.bundle, (groups, have.tree || have.whole));
        if have.whole {
            self.whole_there.insert(have.bundle);
            if !defence::stands(Defence::ProvenCopies) {
                phone
                    .releases
                    .copies
                    .entry(have.bundle)
                    .or_default()
                    .insert(talk.peer);
            }
        }
        Ok(())
    }

    /// The other's disk did not keep what it had named.
    fn handle_lacks(&mut self, talk: &Talk, lacks: &Lacks, phone: &mut Phone) -> Result<(), End> {
        self.whole_there.remove(&lacks.bundle);
        if let Some(theirs) = phone.releases.copies.get_mut(&lacks.bundle) {
            theirs.remove(&talk.peer);
        }
        if lacks.count == 0 {
            if self.tree_asked == Some(lacks.bundle) {
                self.tree_asked = None;
            }
            self.their_groups.remove(&lacks.bundle);
            if let Some(bundle) = phone
                .releases
                .bundles
                .get_mut(&lacks.bundle)
                .filter(|b| b.tree_from == Some(talk.link))
            {
                bundle.tree_from = None;
                bundle.fetch.restart_tree();
            }
            return Ok(());
        }
        let wanted =
            |(id, first, _): &(BundleId, u64, u64)| *id == lacks.bundle && *first == lacks.first;
        let Some(at) = self.open_wants.iter().position(wanted) else {
            return refuse("an excuse for a piece that nobody asked for");
        };
        let (id, first, count) = self.open_wants.swap_remove(at);
        if let Some(bundle) = phone.releases.bundles.get_mut(&id) {
            bundle.asked.clear(first, count);
        }
        if let Some((groups, _)) = self.their_groups.get_mut(&id) {
            groups.clear(first, count);
        }
        Ok(())
    }

    fn handle_haves_done(
        &mut self,
        talk: &Talk,
        others: bool,
        phone: &mut Phone,
    ) -> Result<(), End> {
        if self.haves_heard || !self.active {
            return refuse("HavesDone out of its place");
        }
        self.haves_heard = true;
        self.others_there = others;
        self.last_got_ms = phone.now.mono_ms;
        for id in self.their_groups.keys() {
            if let Some(bundle) = phone.releases.bundles.get(id).filter(|b| !b.whole) {
                let (done, total) = (bundle.fetch.bytes_held(), bundle.fetch.bytes);
                phone.out.event(Event::Progress {
                    link: talk.link,
                    lane: Lane::Bundles,
                    done,
                    total,
                });
            }
        }
        Ok(())
    }

    /// The other has got more since it named what it has.
    fn handle_have_also(&mut self, got: &HaveAlso, phone: &mut Phone) -> Result<(), End> {
        let Some(bundle) = phone.releases.bundles.get_mut(&got.bundle) else {
            return Ok(());
        };
        let count = bundle.fetch.groups().count();
        let end = got
            .first
            .checked_add(got.count)
            .filter(|end| *end <= count && got.count <= PIECE_GROUPS_MAX);
        let Some(end) = end else {
            return refuse("groups outside their bundle");
        };
        if self.their_groups.len() >= BUNDLES_PER_MEETING_MAX {
            return Ok(());
        }
        let (groups, tree) = self
            .their_groups
            .entry(got.bundle)
            .or_insert_with(|| (Groups::none(count), true));
        *tree = true;
        for i in got.first..end {
            if !groups.has(i) {
                groups.set(i);
                count_up(bundle, i);
                self.last_got_ms = phone.now.mono_ms;
            }
        }
        Ok(())
    }

    fn handle_want(&mut self, talk: &mut Talk, want: Want, phone: &Phone) -> Result<(), End> {
        if self.queued.len() >= WANTS_QUEUED_MAX {
            return refuse("more requests at once than a phone may have");
        }
        if !self.active {
            return refuse("a request for an unknown bundle");
        }
        // What was here when it was named may have been recalled, doubted or evicted since.
        let Some(bundle) = phone.releases.bundles.get(&want.bundle) else {
            return if self.named.contains(&want.bundle) {
                self.excuse(talk, &want)
            } else {
                refuse("a request for an unknown bundle")
            };
        };
        let end = want
            .first
            .checked_add(want.count)
            .filter(|_| want.count <= PIECE_GROUPS_MAX);
        let there = |end| (want.first..end).all(|i| bundle.fetch.groups().has(i));
        let in_range =
            end.is_some_and(|end| want.count > 0 && end <= bundle.fetch.groups().count());
        let whole = in_range && end.is_some_and(there);
        if !(want.tree || whole) {
            let named = in_range && self.named.contains(&want.bundle);
            return if named {
                self.excuse(talk, &want)
            } else {
                refuse("a request for pieces that this phone never named")
            };
        }
        if want.tree && bundle.fetch.tree().is_none() {
            let named = self.named.contains(&want.bundle);
            return if named {
                self.excuse(talk, &want)
            } else {
                refuse("a request for group hashes that this phone never named")
            };
        }
        self.queued.push_back(want);
        always!(self.queued.len() <= WANTS_QUEUED_MAX);
        Ok(())
    }

    /// What was named is not here any more: no fault of the other's.
    fn excuse(&mut self, talk: &mut Talk, want: &Want) -> Result<(), End> {
        let count = if want.tree { 0 } else { want.count };
        talk.say(Frame::Lacks(Lacks {
            bundle: want.bundle,
            first: want.first,
            count,
        }));
        Ok(())
    }

    /// What was asked for is waited for over another link from now on.
    pub(super) fn wait_anew(&mut self, now_ms: u64) {
        self.waiting_since_ms = now_ms;
    }

    /// When a piece that was asked for is so late that another phone is asked (slow retrieval).
    pub(super) fn piece_due_ms(&self) -> Option<u64> {
        let waits = !self.open_wants.is_empty() || self.tree_asked.is_some();
        waits.then_some(self.waiting_since_ms + PIECE_WAIT_MS_MAX)
    }

    /// When two phones that wait for others to bring more give up waiting.
    pub(super) fn quiet_due_ms(&self, phone: &Phone) -> Option<u64> {
        self.waits_for_others
            .then(|| self.last_group_ms(phone) + ROOM_QUIET_MS_MAX)
    }

    fn last_group_ms(&self, phone: &Phone) -> u64 {
        self.last_got_ms.max(phone.releases.last_group_ms)
    }

    fn handle_tree(
        &mut self,
        tree: &Tree,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), End> {
        if self.tree_asked != Some(tree.bundle) {
            return refuse("group hashes that nobody asked for");
        }
        let Some(bundle) = phone.releases.bundles.get_mut(&tree.bundle) else {
            return refuse("an unknown bundle");
        };
        if bundle
            .fetch
            .accept_tree(tree.offset, &tree.hashes)
            .or_else(refuse)?
        {
            always!(bundle.fetch.tree().is_some(), "it is whole and right");
            store.put_tree(
                &tree.bundle,
                bundle.fetch.bytes,
                bundle.fetch.tree().unwrap_or_default(),
            )?;
            bundle.tree_from = None;
            self.tree_asked = None;
        }
        Ok(())
    }

    fn handle_piece(
        &mut self,
        talk: &mut Talk,
        piece: &Piece,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<(), End> {
        let open = self
            .open_wants
            .iter()
            .position(|(d, first, _)| *d == piece.bundle && *first == piece.first);
        let Some(at) = open else {
            return refuse("a piece that nobody asked for");
        };
        let Some(bundle) = phone.releases.bundles.get_mut(&piece.bundle) else {
            // Recalled, or evicted, since it was asked for.
            self.open_wants.swap_remove(at);
            return Ok(());
        };
        let count = bundle
            .fetch
            .check_groups(piece.first, &piece.bytes)
            .or_else(refuse)?;
        let (_, first, wanted) = self.open_wants.swap_remove(at);
        bundle.asked.clear(first, wanted);
        if count != wanted {
            return refuse("a piece of another length than was asked for");
        }
        store.write_groups(&piece.bundle, piece.first, &piece.bytes)?;
        bundle.fetch.mark(piece.first, count);
        // Who has served a piece, and says to have all of it, has shown that a copy is there.
        if talk.certificate.is_some() && self.whole_there.contains(&piece.bundle) {
            phone
                .releases
                .copies
                .entry(piece.bundle)
                .or_default()
                .insert(talk.peer);
        }
        talk.summary.bundle_bytes_taken += piece.bytes.len() as u64;
        self.waiting_since_ms = talk.last_heard_ms;
        self.flow.took(talk.last_heard_ms, piece.bytes.len() as u64);
        let (done, total) = (bundle.fetch.bytes_held(), bundle.fetch.bytes);
        always!(done < total || bundle.fetch.complete());
        if self.percent != done * 100 / total.max(1) {
            self.percent = done * 100 / total.max(1);
            phone.out.event(Event::Progress {
                link: talk.link,
                lane: Lane::Bundles,
                done,
                total,
            });
        }
        phone
            .releases
            .groups_came(talk.last_heard_ms, piece.bundle, piece.first, count);
        if done == total {
            let (spaces, records, releases, mut tx) = phone.parts(store);
            releases.finish_bundle(piece.bundle, spaces, records, &mut tx)?;
        }
        Ok(())
    }

    pub(super) fn next_bundle_frame(
        &mut self,
        talk: &mut Talk,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<Option<Frame>, StoreError> {
        if !self.active {
            return Ok(None);
        }
        if let Some(got) = self.next_got(phone) {
            return Ok(Some(got));
        }
        if !self.done_ours
            && self.haves_heard
            && let Some(frame) = self.next_want(talk, phone)
        {
            always!(self.open_wants.len() <= WANTS_OPEN_MAX);
            return Ok(Some(frame));
        }
        self.next_wanted(talk, phone, store)
    }

    /// What has come to this phone since it named what it has, and the other may lack.
    fn next_got(&mut self, phone: &Phone) -> Option<Frame> {
        if self.done_theirs {
            return None;
        }
        let (oldest, announcements) = &phone.releases.announcements;
        let newest = oldest + announcements.len() as u64;
        always!(self.announced <= newest, "only what has come is said");
        loop {
            let at = self.announced.max(*oldest);
            let (bundle, first, count) = *announcements.get((at - oldest) as usize)?;
            self.announced = at + 1;
            self.named.insert(bundle);
            let theirs = self.their_groups.get(&bundle).map(|(groups, _)| groups);
            if !theirs.is_some_and(|groups| (first..first + count).all(|i| groups.has(i))) {
                return Some(Frame::HaveAlso(HaveAlso {
                    bundle,
                    first,
                    count,
                }));
            }
        }
    }

    /// What the other wanted for next.
    fn next_wanted(
        &mut self,
        talk: &mut Talk,
        phone: &mut Phone,
        store: &mut dyn Store,
    ) -> Result<Option<Frame>, StoreError> {
        let Some(want) = self.queued.front_mut() else {
            return Ok(None);
        };
        let bundle = want.bundle;
        if !want.tree {
            let (first, count) = (want.first, want.count);
            self.queued.pop_front();
            let read = store.read_groups(&bundle, first, count)?;
            let right = |bytes: &Vec<u8>| {
                let fetch = phone.releases.bundles.get(&bundle).map(|b| &b.fetch);
                fetch.is_some_and(|fetch| fetch.check_groups(first, bytes) == Ok(count))
            };
            let Some(bytes) = read.filter(right) else {
                let (_, _, releases, mut tx) = phone.parts(store);
                releases.doubt(bundle, &mut tx)?;
                return Ok(Some(Frame::Lacks(Lacks {
                    bundle,
                    first,
                    count,
                })));
            };
            talk.summary.bundle_bytes_sent += bytes.len() as u64;
            return Ok(Some(Frame::Piece(Piece {
                bundle,
                first,
                bytes,
            })));
        }
        let tree = phone
            .releases
            .bundles
            .get(&bundle)
            .and_then(|b| b.fetch.tree())
            .unwrap_or_default();
        let offset = want.first; // while a tree is being sent, the request remembers how far it is
        let rest = tree.get(offset as usize..).unwrap_or_default();
        let hashes = rest.get(..TREE_CHUNK_BYTES_MAX).unwrap_or(rest).to_vec();
        want.first += hashes.len() as u64;
        if want.first >= tree.len() as u64 {
            self.queued.pop_front();
        }
        Ok(Some(Frame::Tree(Tree {
            bundle,
            offset,
            hashes,
        })))
    }

    /// What was asked of this phone and has not come may be asked of others.
    pub(super) fn release_asked(&self, talk: &Talk, phone: &mut Phone) {
        for (digest, first, count) in &self.open_wants {
            if let Some(bundle) = phone.releases.bundles.get_mut(digest) {
                bundle.asked.clear(*first, *count);
            }
        }
        for (digest, (groups, _)) in &self.their_groups {
            if let Some(bundle) = phone.releases.bundles.get_mut(digest) {
                for (i, seen) in (0..).zip(&mut bundle.seen) {
                    *seen -= u16::from(groups.has(i) && *seen > 0);
                }
            }
        }
        for bundle in phone
            .releases
            .bundles
            .values_mut()
            .filter(|b| b.tree_from == Some(talk.link))
        {
            bundle.tree_from = None;
            bundle.fetch.restart_tree();
        }
    }
}

fn count_up(bundle: &mut Bundle, group: u64) {
    if bundle.seen.is_empty() {
        bundle.seen = vec![0; bundle.fetch.groups().count() as usize];
    }
    always!(bundle.seen.len() as u64 == bundle.fetch.groups().count());
    if let Some(seen) = bundle.seen.get_mut(group as usize) {
        *seen = seen.saturating_add(1);
    }
}
