//! Finding the difference of two sets of short ids without listing them: rateless invertible Bloom
//! lookup tables (Yang, Gilad, Alizadeh: "Practical Rateless Set Reconciliation", SIGCOMM 2024,
//! arXiv 2402.02668), and a sketch that estimates how large the difference is, so that the first
//! batch of symbols is nearly always enough.
//!
//! ```text
//! short id    40 bits of a keyed hash of the id, and above them 16 bits of check, a function of the 40 and the meeting's key
//! symbol  the XOR of all short ids that map to it, 7 bytes: no count and no checksum of its own, for short ids check themselves
//! sketch  64 counters modulo 256: each short id adds or takes one from each (Alon, Matias, Szegedy 1996)
//! ```
//! Every short id maps to symbol 0 and then to ever sparser ones: to symbol i with probability 1/(1 +
//! i/2). A symbol of the difference that holds one short id only shows it: the short id checks itself and
//! maps there. So any number of symbols can be asked for, and about 1.4 for each difference are
//! enough.

use std::collections::BTreeSet;

use protocol::always;

/// Bytes of a short id and of a symbol.
pub const SHORT_ID_BYTES: usize = 7;
/// Counters of a sketch.
pub const SKETCH_BYTES: usize = 64;
/// Bits of a short id that name it; the others check it.
const NAME_BITS: u32 = 40;
/// Bits that check it.
const CHECK_BITS: u32 = 16;
const NAME: u64 = (1 << NAME_BITS) - 1;

const _: () = assert!(NAME_BITS + CHECK_BITS == 8 * SHORT_ID_BYTES as u32);

/// A well-mixed function of 64 bits (Steele, Lea, Flood 2014: SplitMix64).
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Makes short ids of hashes and tells short ids from mixtures of short ids, under one meeting's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checker(u64);

impl Checker {
    /// The checker of a key.
    pub fn new(key: u64) -> Self {
        Self(key)
    }

    /// The short id whose name is the lower bits of `hash`.
    pub fn short_id(self, hash: u64) -> u64 {
        let name = hash & NAME;
        name | mix(name ^ self.0) >> (64 - CHECK_BITS) << NAME_BITS
    }

    fn is_short_id(self, value: u64) -> bool {
        self.short_id(value) == value
    }
}

/// The symbols that a short id maps to, in order; without end.
#[derive(Debug, Clone)]
struct Mapping {
    next: u64,
    state: u64,
}

impl Mapping {
    fn of(word: u64) -> Self {
        Self {
            next: 0,
            state: word,
        }
    }
}

impl Iterator for Mapping {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let at = self.next;
        self.state = mix(self.state);
        // A uniform number in (0, 1]; square root and rounding up are exact in IEEE 754, so every
        // phone counts alike.
        let uniform = ((self.state >> 32) + 1) as f64 / 4_294_967_296.0;
        let step = ((at as f64 + 1.5) * (1.0 / uniform.sqrt() - 1.0))
            .ceil()
            .max(1.0);
        self.next = at.saturating_add(step as u64);
        always!(self.next > at || at == u64::MAX, "places only grow");
        Some(at)
    }
}

/// Symbols `from..to` of a set of short ids.
pub fn symbols(short_ids: impl IntoIterator<Item = u64>, from: usize, to: usize) -> Vec<u64> {
    always!(from <= to);
    let mut cells = vec![0; to.saturating_sub(from)];
    for word in short_ids {
        for at in Mapping::of(word).take_while(|at| *at < to as u64) {
            if let Some(cell) = (at as usize)
                .checked_sub(from)
                .and_then(|i| cells.get_mut(i))
            {
                *cell ^= word;
            }
        }
    }
    cells
}

/// Finds the difference between a peer's set and ours from the peer's symbols.
#[derive(Debug, Clone)]
pub struct Decoder {
    checker: Checker,
    cells: Vec<u64>,
    found: BTreeSet<u64>,
    false_decode: bool,
}

impl Decoder {
    /// Nothing heard yet.
    pub fn new(checker: Checker) -> Self {
        Self {
            checker,
            cells: Vec::new(),
            found: BTreeSet::new(),
            false_decode: false,
        }
    }

    /// Symbols heard so far.
    pub fn heard(&self) -> usize {
        self.cells.len()
    }

    /// Takes the peer's next symbols; `ours` are ours of the same places. `true` once the whole
    /// difference is known.
    pub fn take(&mut self, theirs: &[u64], ours: &[u64]) -> bool {
        always!(theirs.len() == ours.len(), "symbols of the same places");
        let from = self.cells.len();
        self.cells
            .extend(theirs.iter().zip(ours).map(|(a, b)| a ^ b));
        // What is known already is taken out of the new symbols.
        for (cell, known) in self.cells.iter_mut().skip(from).zip(symbols(
            self.found.iter().copied(),
            from,
            from + theirs.len(),
        )) {
            *cell ^= known;
        }
        // The first symbols hold nearly every word, so that one of them alone is there only at the
        // end; until then looking at them could only mistake a mixture for a word.
        for lowest in [self.cells.len() / 4, 0] {
            let mut open: Vec<usize> = (lowest..self.cells.len()).collect();
            while let Some(at) = open.pop() {
                self.peel(at, lowest, &mut open);
            }
        }
        always!(self.found.len() <= self.cells.len() + 1);
        !self.false_decode && !self.cells.is_empty() && self.cells.iter().all(|cell| *cell == 0)
    }

    /// If a symbol shows a short id, takes that short id out of all its symbols; those from `lowest` on are
    /// looked at next.
    fn peel(&mut self, at: usize, lowest: usize, open: &mut Vec<usize>) {
        always!(at < self.cells.len());
        let Some(word) = self.cells.get(at).copied().filter(|word| *word != 0) else {
            return;
        };
        let maps = || {
            Mapping::of(word)
                .take_while(|place| *place <= at as u64)
                .last()
                == Some(at as u64)
        };
        if self.false_decode || !self.checker.is_short_id(word) || !maps() {
            return;
        }
        // A mixture that passes for a word (in one of some thousand meetings) shows up as a word
        // found twice.
        self.false_decode = !self.found.insert(word) || self.found.len() > self.cells.len();
        let end = self.cells.len() as u64;
        for place in Mapping::of(word)
            .take_while(|place| *place < end)
            .map(|place| place as usize)
        {
            if let Some(cell) = self.cells.get_mut(place) {
                *cell ^= word;
                open.extend(Some(place).filter(|place| *place >= lowest));
            }
        }
    }

    /// A mixture was taken for a short id: no number of symbols helps, and the list must be asked for.
    pub fn false_decode(&self) -> bool {
        self.false_decode
    }

    /// The short ids that one of the two sets lacks; all of them once [`Decoder::take`] has said so.
    pub fn difference(&self) -> &BTreeSet<u64> {
        &self.found
    }
}

/// The sketch of a set of short ids.
pub fn sketch(short_ids: impl IntoIterator<Item = u64>) -> [u8; SKETCH_BYTES] {
    let mut counters = [0u8; SKETCH_BYTES];
    for word in short_ids {
        let signs = mix(word ^ 0x5ca1_ab1e);
        for (i, counter) in counters.iter_mut().enumerate() {
            *counter = counter.wrapping_add(if signs >> i & 1 == 1 { 1 } else { u8::MAX });
        }
    }
    // Each counter has moved once for each word.
    always!(
        counters
            .windows(2)
            .all(|pair| matches!(pair, [a, b] if (a ^ b) & 1 == 0))
    );
    counters
}

/// About how many short ids two sets differ in, by their sketches: right within a fifth for two thirds
/// of the pairs, up to a thousand or so; much larger differences come out as some thousands.
pub fn estimate(ours: &[u8; SKETCH_BYTES], theirs: &[u8; SKETCH_BYTES]) -> usize {
    let square = |(a, b): (&u8, &u8)| i64::from(a.wrapping_sub(*b) as i8).pow(2);
    let sum: i64 = ours.iter().zip(theirs).map(square).sum();
    let about = (sum as f64 / SKETCH_BYTES as f64).round() as usize;
    always!(about <= 1 << 14, "whatever the sketches say");
    about
}

/// Symbols to send at first for an estimated difference: as many as were enough for 97 of 100
/// differences of up to a hundred so estimated, or for 90 of large ones, of which the rest costs
/// less.
pub fn first_batch(estimate: usize) -> usize {
    let d = estimate as f64;
    let batch = match estimate {
        0 | 1 => 3, // the estimate of one is exact
        _ => (1.43 * d + 5.0 * d.sqrt() + 4.0) as usize,
    };
    always!(batch >= estimate, "fewer could never be enough");
    batch
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn short_ids(checker: Checker, range: std::ops::Range<u64>) -> Vec<u64> {
        range
            .map(|i| checker.short_id(mix(i.wrapping_mul(77))))
            .collect()
    }

    proptest! {
        #[test]
        fn the_difference_is_found_whatever_the_sets_and_batches(
            common in 0u64..400, ours in 0u64..60, theirs in 0u64..60, key: u64, batch in 1usize..40,
        ) {
            let checker = Checker::new(key);
            let all = short_ids(checker, 0..common + ours + theirs);
            let (ours_end, common) = ((common + ours) as usize, common as usize);
            let our_set = &all[..ours_end];
            let their_set: Vec<_> = all[..common].iter().chain(&all[ours_end..]).copied().collect();
            let mut decoder = Decoder::new(checker);
            let mut done = false;
            while !done && !decoder.false_decode() && decoder.heard() < 2000 {
                let (from, to) = (decoder.heard(), decoder.heard() + batch);
                let (heard, own) = (symbols(their_set.iter().copied(), from, to), symbols(our_set.iter().copied(), from, to));
                done = decoder.take(&heard, &own);
            }
            prop_assume!(!decoder.false_decode());
            prop_assert!(done);
            let expected: BTreeSet<_> = all[common..].iter().copied().collect();
            prop_assert_eq!(decoder.difference(), &expected);
        }

        #[test]
        fn nonsense_ends_and_finds_no_more_than_it_said(heard in prop::collection::vec(any::<u64>(), 0..300), key: u64) {
            let mut decoder = Decoder::new(Checker::new(key));
            decoder.take(&heard, &vec![0; heard.len()]);
            prop_assert!(decoder.difference().len() <= heard.len() + 1);
        }
    }

    #[test]
    fn the_first_batch_is_nearly_always_enough_and_symbols_are_few() {
        for d in [1u64, 10, 100, 1000] {
            let (mut enough, mut needed, mut false_decode) = (0, 0, 0);
            for key in 0..100 {
                let checker = Checker::new(mix(key));
                let theirs = short_ids(checker, 0..2000);
                let ours = short_ids(checker, d.div_ceil(2)..2000 + d / 2);
                let guess = estimate(
                    &sketch(ours.iter().copied()),
                    &sketch(theirs.iter().copied()),
                );
                let first = first_batch(guess);
                let (a, b) = (symbols(theirs, 0, 4000), symbols(ours, 0, 4000));
                enough += u32::from(Decoder::new(checker).take(&a[..first], &b[..first]));
                let mut decoder = Decoder::new(checker);
                while !decoder.false_decode() && decoder.heard() < 4000 {
                    let next = decoder.heard()..=decoder.heard();
                    if decoder.take(&a[next.clone()], &b[next]) {
                        break;
                    }
                }
                needed += decoder.heard();
                false_decode += u32::from(decoder.false_decode());
            }
            assert!(
                enough >= if d > 100 { 60 } else { 80 },
                "d {d}: {enough} of 100"
            );
            assert!(false_decode <= 1, "d {d}: {false_decode} of 100");
            assert!(
                d < 100 || (needed as f64) < 150.0 * d as f64,
                "d {d}: {needed}"
            );
        }
    }
}
