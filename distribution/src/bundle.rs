//! Bundles: bytes named by their digest, fetched group by group from any peer, each group checked
//! before it is kept.
//!
//! A [`Fetch`] is what a phone knows of one bundle: whether the tree list is there and checked, and
//! which groups are. It decides what to ask for and what to believe; where the bytes lie is the
//! store's business.

use protocol::Digest;
use protocol::always;
use protocol::limits::{BUNDLE_BYTES_MAX, GROUP_BYTES, PIECE_GROUPS_MAX};

use crate::tree;

const _: () = assert!(
    BUNDLE_BYTES_MAX / GROUP_BYTES * 32 <= u32::MAX as u64,
    "a place in a tree list fits a usize on every phone"
);

/// Which groups are there: one bit each, lowest bit first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Groups {
    bits: Vec<u8>,
    count: u64,
    held: u64,
}

impl Groups {
    /// None of `count` groups.
    pub fn none(count: u64) -> Self {
        Self {
            bits: vec![0; count.div_ceil(8) as usize],
            count,
            held: 0,
        }
    }

    /// All of `count` groups.
    pub fn all(count: u64) -> Self {
        let mut groups = Self::none(count);
        (0..count).for_each(|i| groups.set(i));
        always!(groups.complete());
        groups
    }

    /// Reads a peer's bits for a bundle of `count` groups; bits beyond the end are ignored, missing
    /// ones are unset.
    pub fn from_bits(bits: &[u8], count: u64) -> Self {
        let mut groups = Self::none(count);
        for i in 0..count.min(bits.len() as u64 * 8) {
            if bits
                .get((i / 8) as usize)
                .is_some_and(|b| b & (1 << (i % 8)) != 0)
            {
                groups.set(i);
            }
        }
        let ones = |byte: &u8| u64::from(byte.count_ones());
        always!(groups.bits.iter().map(ones).sum::<u64>() == groups.held);
        groups
    }

    /// The bits as they travel.
    pub fn bits(&self) -> &[u8] {
        &self.bits
    }

    /// Whether group `i` is there.
    pub fn has(&self, i: u64) -> bool {
        self.bits
            .get((i / 8) as usize)
            .is_some_and(|b| b & (1 << (i % 8)) != 0)
    }

    /// Marks group `i` as there.
    pub fn set(&mut self, i: u64) {
        if i < self.count
            && !self.has(i)
            && let Some(byte) = self.bits.get_mut((i / 8) as usize)
        {
            *byte |= 1 << (i % 8);
            self.held += 1;
            always!(self.held <= self.count);
        }
    }

    /// Marks `count` groups from `first` as not there.
    pub fn clear(&mut self, first: u64, count: u64) {
        for i in first..first.saturating_add(count).min(self.count) {
            if self.has(i)
                && let Some(byte) = self.bits.get_mut((i / 8) as usize)
            {
                *byte &= !(1 << (i % 8));
                self.held -= 1;
            }
        }
    }

    /// How many are there.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// How many there are in all.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether all are there.
    pub fn complete(&self) -> bool {
        self.held == self.count
    }
}

/// Why bytes of a bundle are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The tree list does not give the bundle's digest.
    #[error("the group hashes do not belong to bundle {0}")]
    Tree(Digest),
    /// A group's bytes do not have the group's hash.
    #[error("group {group} of bundle {bundle} is not what was signed")]
    Group {
        /// The bundle.
        bundle: Digest,
        /// The group.
        group: u64,
    },
    /// Bytes that no one asked for, or beyond the end.
    #[error("bytes outside bundle {0}")]
    Outside(Digest),
}

/// What a phone has of one bundle that it is fetching, carrying or running.
#[derive(Debug, Clone)]
pub struct Fetch {
    /// The bundle's name.
    pub digest: Digest,
    /// Its size, from the signed list.
    pub bytes: u64,
    /// The tree list as far as it has come; checked once it is complete.
    tree: Vec<u8>,
    tree_checked: bool,
    groups: Groups,
}

impl Fetch {
    /// A bundle of which nothing is there yet.
    pub fn new(digest: Digest, bytes: u64) -> Self {
        let bytes = bytes.min(BUNDLE_BYTES_MAX);
        Self {
            digest,
            bytes,
            tree: Vec::new(),
            tree_checked: false,
            groups: Groups::none(tree::group_count(bytes)),
        }
    }

    /// A bundle as the store holds it: its tree list is checked again, and the groups are what the
    /// store itself verified when it opened the file.
    pub fn resume(digest: Digest, bytes: u64, tree: Vec<u8>, groups: &Groups) -> Self {
        let mut fetch = Self::new(digest, bytes);
        if tree::digest_of_list(&tree, fetch.bytes) == Some(digest) {
            fetch.tree = tree;
            fetch.tree_checked = true;
            fetch.groups = Groups::from_bits(groups.bits(), fetch.groups.count());
        }
        always!(
            !fetch.tree_checked || fetch.tree.len() as u64 == fetch.tree_bytes(),
            "a checked tree is whole"
        );
        fetch
    }

    /// Which groups are there.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// The checked tree list, if it is there.
    pub fn tree(&self) -> Option<&[u8]> {
        self.tree_checked.then_some(self.tree.as_slice())
    }

    /// Bytes of the whole tree list.
    pub fn tree_bytes(&self) -> u64 {
        self.groups.count() * 32
    }

    /// Whether all groups are there.
    pub fn complete(&self) -> bool {
        self.tree_checked && self.groups.complete()
    }

    /// Bytes that are there.
    pub fn bytes_held(&self) -> u64 {
        let last = self.groups.count().saturating_sub(1);
        let full = self.groups.held() * GROUP_BYTES;
        let held = if self.groups.has(last) {
            full - GROUP_BYTES + tree::group_bytes(self.bytes, last)
        } else {
            full
        };
        always!(held <= self.bytes);
        always!(held == self.bytes || !self.groups.complete());
        held
    }

    /// Begins the tree list anew: what an earlier peer began is not mixed with what this one sends.
    pub fn restart_tree(&mut self) {
        if !self.tree_checked {
            self.tree.clear();
        }
    }

    /// Takes a run of the tree list. `Ok(true)` when it has become complete and is right.
    pub fn accept_tree(&mut self, offset: u64, hashes: &[u8]) -> Result<bool, BundleError> {
        if self.tree_checked {
            return Ok(false);
        }
        let total = self.tree.len() as u64 + hashes.len() as u64;
        if offset != self.tree.len() as u64 || total > self.tree_bytes() {
            return Err(BundleError::Outside(self.digest));
        }
        self.tree.extend_from_slice(hashes);
        always!(self.tree.len() as u64 <= self.tree_bytes());
        if total < self.tree_bytes() {
            return Ok(false);
        }
        if tree::digest_of_list(&self.tree, self.bytes) != Some(self.digest) {
            self.tree.clear();
            return Err(BundleError::Tree(self.digest));
        }
        self.tree_checked = true;
        Ok(true)
    }

    /// Checks a run of groups from a peer. Nothing is marked: [`Fetch::mark`] does that once the
    /// store has the bytes.
    pub fn check_groups(&self, first: u64, bytes: &[u8]) -> Result<u64, BundleError> {
        let outside = BundleError::Outside(self.digest);
        let Some(tree) = self.tree() else {
            return Err(outside);
        };
        let count = tree::group_count(bytes.len() as u64);
        let end = first.checked_add(count).ok_or(outside.clone())?;
        let expected: u64 = (first..end)
            .take(PIECE_GROUPS_MAX as usize + 1)
            .map(|i| tree::group_bytes(self.bytes, i))
            .sum();
        if count == 0
            || count > PIECE_GROUPS_MAX
            || end > self.groups.count()
            || bytes.len() as u64 != expected
        {
            return Err(outside);
        }
        for (group, index) in bytes.chunks(GROUP_BYTES as usize).zip(first..) {
            let known = tree.get(index as usize * 32..index as usize * 32 + 32);
            always!(known.is_some(), "a checked tree is whole");
            if known != Some(&tree::group_hash(group, index, self.groups.count())) {
                return Err(BundleError::Group {
                    bundle: self.digest,
                    group: index,
                });
            }
        }
        Ok(count)
    }

    /// A run of groups is not there after all.
    pub fn unmark(&mut self, first: u64, count: u64) {
        self.groups.clear(first, count);
    }

    /// Marks a run of groups as held.
    pub fn mark(&mut self, first: u64, count: u64) {
        always!(first.saturating_add(count) <= self.groups.count());
        (first..first.saturating_add(count)).for_each(|i| self.groups.set(i));
    }

    /// The next run of groups that is missing here, there at the peer and not yet asked for
    /// (`asked` says which): (first, count), `most` groups at most. The rarest in reach first
    /// (`seen`: how many neighbours have each group), and among equals those at or after `from`.
    /// Only the next few thousand groups are weighed: enough to spread phones over a bundle of any
    /// size.
    pub fn next_want(
        &self,
        theirs: &Groups,
        asked: &Groups,
        seen: &[u16],
        from: u64,
        most: u64,
    ) -> Option<(u64, u64)> {
        const WEIGHED: usize = 4096;
        let count = self.groups.count();
        let wanted = |i: u64| !self.groups.has(i) && theirs.has(i) && !asked.has(i);
        let rarity = |i: u64| seen.get(i as usize).copied().unwrap_or(1);
        let from = if from < count { from } else { 0 };
        let around = (from..count)
            .chain(0..from)
            .filter(|i| wanted(*i))
            .take(WEIGHED);
        let mut best: Option<(u16, u64)> = None;
        for i in around {
            let rarity = rarity(i);
            if best.is_none_or(|(least, _)| rarity < least) {
                best = Some((rarity, i));
            }
            if rarity <= 1 {
                break; // nothing is rarer than what one neighbour has
            }
        }
        let (_, first) = best?;
        let run = (first..count)
            .take(most.min(PIECE_GROUPS_MAX) as usize)
            .take_while(|i| wanted(*i))
            .count() as u64;
        always!(run > 0 || most == 0, "what is wanted is asked for");
        always!(first + run <= count);
        Some((first, run))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(bytes: usize) -> (Vec<u8>, Fetch) {
        let data: Vec<u8> = (0..bytes).map(|i| (i * 7 + i / 255) as u8).collect();
        let mut fetch = Fetch::new(Digest::of(&data), bytes as u64);
        assert!(fetch.accept_tree(0, &tree::tree_list(&data)).unwrap());
        (data, fetch)
    }

    #[test]
    fn groups_are_taken_in_any_order_and_each_is_checked() {
        let (data, mut fetch) = bundle(40_000);
        for first in [2u64, 0, 1] {
            let start = (first * GROUP_BYTES) as usize;
            let group = &data[start..data.len().min(start + GROUP_BYTES as usize)];
            let mut spoiled = group.to_vec();
            spoiled[5] ^= 1;
            assert_eq!(
                fetch.check_groups(first, &spoiled),
                Err(BundleError::Group {
                    bundle: fetch.digest,
                    group: first
                })
            );
            assert_eq!(fetch.check_groups(first, group), Ok(1));
            fetch.mark(first, 1);
        }
        assert!(fetch.complete());
        assert_eq!(fetch.bytes_held(), 40_000);
    }

    #[test]
    fn a_wrong_tree_list_is_refused_and_forgotten() {
        let data = vec![1u8; 50_000];
        let mut fetch = Fetch::new(Digest::of(&data), 50_000);
        let mut list = tree::tree_list(&data);
        list[40] ^= 1;
        assert!(fetch.accept_tree(0, &list).is_err());
        assert!(fetch.accept_tree(0, &tree::tree_list(&data)).unwrap());
    }

    #[test]
    fn endless_or_shifted_bytes_are_outside() {
        let (data, fetch) = bundle(40_000);
        assert!(
            fetch
                .check_groups(2, &data[..GROUP_BYTES as usize])
                .is_err()
        );
        assert!(fetch.check_groups(u64::MAX, &data[..10]).is_err());
        assert!(fetch.check_groups(0, &[]).is_err());
        assert!(fetch.check_groups(0, &data[..100]).is_err());
    }
}
