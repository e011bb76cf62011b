//! What phones say of the envelopes that they hold: digests of sets of ids, and short ids of seven
//! bytes for single ids, both under a key of this meeting only (an outsider cannot craft
//! collisions, and a chance collision is gone at the next meeting, which has another key). How the
//! difference is found from them: [`crate::riblt`].

use protocol::EnvelopeId;
use protocol::always;

use crate::riblt::{Checker, SHORT_ID_BYTES};

/// The key of one meeting, made from both sides' randomness.
#[derive(Clone)]
pub struct MeetingKey([u8; 32]);

impl MeetingKey {
    /// The same key on both sides, whoever called.
    pub fn from_nonces(a: &[u8; 16], b: &[u8; 16]) -> Self {
        let (low, high) = if a <= b { (a, b) } else { (b, a) };
        Self(blake3::derive_key(
            "kijiti 2026-11 meeting key",
            &[low.as_slice(), high].concat(),
        ))
    }

    /// By what its two sides, and nobody else, know the meeting again on another link.
    pub fn name(&self) -> [u8; 16] {
        let name = blake3::derive_key("kijiti 2026-11 meeting name", &self.0);
        *name.first_chunk().unwrap_or(&[0; 16])
    }

    fn hash(&self, id: &EnvelopeId) -> [u8; 32] {
        *blake3::keyed_hash(&self.0, id.as_bytes()).as_bytes()
    }

    /// The id as it is named in this meeting: 40 bits, and 16 that check them.
    pub fn short_id(&self, id: &EnvelopeId) -> u64 {
        let [a, b, c, d, e, ..] = self.hash(id);
        self.checker()
            .short_id(u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]))
    }

    /// Tells short ids of this meeting from mixtures of them.
    pub fn checker(&self) -> Checker {
        let [a, b, c, d, e, f, g, h, ..] = blake3::derive_key("kijiti 2026-11 word check", &self.0);
        Checker::new(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    }

    /// An order-independent digest of a set of ids: the sum of their keyed hashes in two 64-bit
    /// lanes. Nobody can look for two sets with one digest beforehand, and who lies about it in a
    /// meeting could as well lie about the ids.
    pub fn digest<'a>(&self, ids: impl IntoIterator<Item = &'a EnvelopeId>) -> [u8; 16] {
        let mut sum = [0u64; 2];
        for id in ids {
            let hash = self.hash(id);
            for (lane, bytes) in sum.iter_mut().zip(hash.as_chunks::<8>().0) {
                *lane = lane.wrapping_add(u64::from_le_bytes(*bytes));
            }
        }
        let mut digest = [0; 16];
        for (bytes, lane) in digest.as_chunks_mut::<8>().0.iter_mut().zip(sum) {
            *bytes = lane.to_le_bytes();
        }
        digest
    }
}

/// Words, or symbols, as they are said: seven bytes each, little-endian.
pub fn write_short_ids(short_ids: impl IntoIterator<Item = u64>) -> Vec<u8> {
    short_ids
        .into_iter()
        .flat_map(|word| {
            always!(word >> (8 * SHORT_ID_BYTES) == 0, "nothing is lost");
            word.to_le_bytes().into_iter().take(SHORT_ID_BYTES)
        })
        .collect()
}

/// Reads short ids, or symbols, from a peer; a length that is no multiple of seven is `None`.
pub fn read_short_ids(bytes: &[u8]) -> Option<Vec<u64>> {
    let (short_ids, rest) = bytes.as_chunks::<SHORT_ID_BYTES>();
    rest.is_empty().then(|| {
        short_ids
            .iter()
            .map(|[a, b, c, d, e, f, g]| u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, 0]))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(range: std::ops::Range<u8>) -> Vec<EnvelopeId> {
        range.map(|i| EnvelopeId([i; 32])).collect()
    }

    #[test]
    fn the_digest_does_not_depend_on_order_and_does_on_members() {
        let key = MeetingKey::from_nonces(&[1; 16], &[2; 16]);
        let mut shuffled = ids(0..20);
        shuffled.reverse();
        assert_eq!(key.digest(&ids(0..20)), key.digest(&shuffled));
        assert_ne!(key.digest(&ids(0..20)), key.digest(&ids(0..19)));
    }

    #[test]
    fn both_sides_have_one_key_and_the_next_meeting_another() {
        let (a, b) = ([1; 16], [2; 16]);
        let id = EnvelopeId([9; 32]);
        assert_eq!(
            MeetingKey::from_nonces(&a, &b).short_id(&id),
            MeetingKey::from_nonces(&b, &a).short_id(&id)
        );
        assert_ne!(
            MeetingKey::from_nonces(&a, &b).short_id(&id),
            MeetingKey::from_nonces(&a, &[3; 16]).short_id(&id)
        );
    }
}
