//! What is asked of the other phone, and when.

use distribution::spread;
use protocol::frame::{Frame, Lane, LaneDone, Want};
use protocol::limits::{GROUP_BYTES, PIECE_GROUPS_MAX, ROOM_QUIET_MS_MAX};
use protocol::{BundleId, always};

use super::{BundleLane, WANTS_OPEN_MAX};
use crate::agent::Phone;
use crate::agent::meeting::talk::Talk;

impl BundleLane {
    /// What to ask of the other, in order.
    fn wanted(&self, phone: &Phone) -> Vec<BundleId> {
        let there = |id: &BundleId| {
            let known = self.their_groups.get(id);
            known.is_some_and(|(groups, tree)| groups.held() > 0 && *tree)
        };
        let named = self.their_groups.keys().copied();
        let wanted = spread::wanted_bundles(&phone.shelf(), there, named);
        let lacks = |id: &BundleId| phone.releases.bundles.get(id).is_some_and(|b| !b.whole);
        always!(wanted.iter().all(lacks), "what is here is not asked for");
        wanted
    }

    /// Bytes of bundles that this phone wants and the other has, and that have not come yet.
    pub(in crate::agent::meeting) fn left_here(&self, phone: &Phone) -> u64 {
        let missing = |id: BundleId| {
            let bundle = phone.releases.bundles.get(&id)?;
            let (theirs, _) = self.their_groups.get(&id)?;
            let there = theirs
                .held()
                .saturating_mul(GROUP_BYTES)
                .min(bundle.fetch.bytes);
            Some(there.saturating_sub(bundle.fetch.bytes_held()))
        };
        self.wanted(phone).into_iter().filter_map(missing).sum()
    }

    /// Our next request, or that we have none.
    pub(super) fn next_want(&mut self, talk: &mut Talk, phone: &mut Phone) -> Option<Frame> {
        let open_bytes = self
            .open_wants
            .iter()
            .map(|(_, _, count)| count * GROUP_BYTES)
            .sum::<u64>();
        if open_bytes >= self.flow.ahead_bytes() || self.open_wants.len() >= WANTS_OPEN_MAX {
            return None;
        }
        let mut waiting = self.piece_due_ms().is_some();
        if !waiting {
            self.waiting_since_ms = phone.now.mono_ms;
            self.flow.begin(phone.now.mono_ms);
        }
        let most = self.flow.piece_groups();
        let in_company = phone.meetings > 1;
        let mut more_may_come = false;
        for digest in self.wanted(phone) {
            let Some((theirs, their_tree)) = self.their_groups.get(&digest) else {
                continue;
            };
            let start = if in_company {
                phone.own.random::<8>()
            } else {
                [0; 8]
            };
            let Some(bundle) = phone.releases.bundles.get_mut(&digest).filter(|b| !b.whole) else {
                continue;
            };
            more_may_come |= !theirs.complete();
            // Pieces may be asked for while the tree list is on its way from the same phone: it
            // arrives before them.
            let tree_coming = self.tree_asked == Some(digest);
            if bundle.fetch.tree().is_none() && !tree_coming {
                let free = self.tree_asked.is_none() && bundle.tree_from.is_none();
                if *their_tree && free && talk.budget.take(bundle.fetch.tree_bytes(), phone.now) {
                    bundle.fetch.restart_tree();
                    bundle.tree_from = Some(talk.link);
                    self.tree_asked = Some(digest);
                    return Some(Frame::Want(Want {
                        bundle: digest,
                        tree: true,
                        first: 0,
                        count: 0,
                    }));
                }
                waiting |= *their_tree && bundle.tree_from.is_some();
                continue;
            }
            // Many phones that begin together begin in different places, so that each soon has what
            // others lack.
            let groups = bundle.fetch.groups().count().max(1);
            let begin = u64::from_le_bytes(start) % groups / PIECE_GROUPS_MAX * PIECE_GROUPS_MAX;
            let from = *self.cursor.entry(digest).or_insert(begin);
            match bundle
                .fetch
                .next_want(theirs, &bundle.asked, &bundle.seen, from, most)
            {
                Some((first, count)) if talk.budget.take(count * GROUP_BYTES, phone.now) => {
                    (first..first + count).for_each(|i| bundle.asked.set(i));
                    self.cursor.insert(digest, first + count);
                    self.open_wants.push((digest, first, count));
                    return Some(Frame::Want(Want {
                        bundle: digest,
                        tree: false,
                        first,
                        count,
                    }));
                }
                Some(_) => {}
                // Asked of another phone just now; if that one leaves, it is this one's turn.
                None => waiting |= bundle.asked.held() > 0,
            }
        }
        let company = in_company || self.others_there;
        let quiet = phone.now.mono_ms >= self.last_group_ms(phone) + ROOM_QUIET_MS_MAX;
        self.waits_for_others = !waiting && more_may_come && company && !quiet && !self.done_theirs;
        if waiting || self.waits_for_others {
            return None;
        }
        self.done_ours = true;
        Some(Frame::LaneDone(LaneDone {
            lane: Lane::Bundles,
        }))
    }
}
