//! The BLAKE3 tree of a bundle, cut at groups of 16 KiB (the tree of bao,
//! <https://github.com/oconnor663/bao>).
//!
//! A *tree list* is the chaining value of every group in order, 32 bytes each: 0.2 % of the bundle.
//! Merged pairwise it gives the bundle's digest, so a list from a stranger is either right or
//! refused; once it is there, every group can be checked on its own, in any order, from any peer.
//! The hashing is `blake3::hazmat`'s; here is only the shape.

use blake3::hazmat::{self, HasherExt, Mode};
use protocol::Digest;
use protocol::always;
use protocol::limits::GROUP_BYTES;

/// How many groups `bytes` bytes make; an empty bundle does not exist.
pub fn group_count(bytes: u64) -> u64 {
    bytes.div_ceil(GROUP_BYTES)
}

/// The bytes of group `index` of a bundle of `bytes` bytes, 0 beyond its end.
pub fn group_bytes(bytes: u64, index: u64) -> u64 {
    bytes
        .saturating_sub(index.saturating_mul(GROUP_BYTES))
        .min(GROUP_BYTES)
}

/// The chaining value of one group. A bundle of a single group has no tree: its list holds the
/// digest itself.
pub fn group_hash(group: &[u8], index: u64, groups: u64) -> [u8; 32] {
    always!(index < groups.max(1), "one of them");
    always!(group.len() as u64 <= GROUP_BYTES);
    if groups <= 1 {
        return *blake3::hash(group).as_bytes();
    }
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(index * GROUP_BYTES);
    hasher.update(group);
    hasher.finalize_non_root()
}

/// The tree list of a whole bundle in memory.
pub fn tree_list(bundle: &[u8]) -> Vec<u8> {
    let groups = group_count(bundle.len() as u64);
    let hashes = bundle.chunks(GROUP_BYTES as usize).enumerate();
    let list: Vec<u8> = hashes
        .flat_map(|(i, group)| group_hash(group, i as u64, groups))
        .collect();
    always!(list.len() as u64 == 32 * groups);
    list
}

/// The digest that a tree list stands for, `None` if it has the wrong length for a bundle of
/// `bytes` bytes.
pub fn digest_of_list(list: &[u8], bytes: u64) -> Option<Digest> {
    let (hashes, rest) = list.as_chunks::<32>();
    if !rest.is_empty() || hashes.len() as u64 != group_count(bytes) {
        return None;
    }
    match hashes {
        [] => None,
        [only] => Some(Digest(*only)),
        _ => {
            let split = left_groups(hashes.len());
            let (left, right) = hashes.split_at(split);
            let root = hazmat::merge_subtrees_root(&merge(left), &merge(right), Mode::Hash);
            Some(Digest(*root.as_bytes()))
        }
    }
}

fn merge(hashes: &[[u8; 32]]) -> [u8; 32] {
    match hashes {
        [] => [0; 32],
        [only] => *only,
        _ => {
            let (left, right) = hashes.split_at(left_groups(hashes.len()));
            hazmat::merge_subtrees_non_root(&merge(left), &merge(right), Mode::Hash)
        }
    }
}

/// Groups in the left subtree: the largest power of two below the whole (BLAKE3 specification,
/// §2.1).
fn left_groups(groups: usize) -> usize {
    let left = groups.div_ceil(2).next_power_of_two();
    always!(left < groups && groups <= 2 * left, "both have groups");
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_any_bundle_gives_its_blake3_digest() {
        for bytes in [
            1,
            100,
            16_383,
            16_384,
            16_385,
            32_768,
            49_153,
            100_000,
            16_384 * 7,
            16_384 * 9 + 5,
        ] {
            let bundle: Vec<u8> = (0..bytes).map(|i: u64| (i * 31 + i / 251) as u8).collect();
            assert_eq!(
                digest_of_list(&tree_list(&bundle), bytes),
                Some(Digest::of(&bundle)),
                "{bytes} bytes"
            );
        }
    }

    #[test]
    fn a_list_of_the_wrong_length_is_nothing() {
        assert_eq!(digest_of_list(&[0; 31], 10), None);
        assert_eq!(digest_of_list(&[0; 64], 10), None);
        assert_eq!(digest_of_list(&[], 0), None);
    }
}
