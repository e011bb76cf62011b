//! An adaptive binary range coder. One trait serves both directions, so that a model is written
//! once and cannot differ between the ministry's desk and the phone.
//!
//! ```text
//! low, range: u64   range ≥ 2³² before every bit; a bit with probability p/2¹⁶ of being 1 takes range/2¹⁶·p from below
//! output            big-endian u32 words; a carry out of `low` is added to the words written before
//! ```
//! Probabilities adapt by counting: the first observations move them far, later ones little (a
//! Krichevsky–Trofimov estimator that forgets). After Martin, *Range encoding*, 1979, and the LZMA
//! coder for the binary form.

/// What is needed to code one bit after another, in either direction.
pub(super) trait Coder {
    /// Writes `bit` and returns it, or reads a bit and returns that, whatever `bit` is.
    fn bit(&mut self, model: &mut Bit, bit: bool) -> bool;

    /// The same for a bit that is as likely 0 as 1.
    fn even(&mut self, bit: bool) -> bool;

    /// The same for a bit whose probability of being 1 is given, of 2¹⁶.
    fn weighed(&mut self, probability: u32, bit: bool) -> bool;

    /// The same for one of sixteen symbols; `from` says where each begins, of 2¹⁵, and has their
    /// end as its last.
    fn symbol(&mut self, from: &[u16; 17], symbol: u8) -> u8;
}

/// Bits of the whole of which symbols have shares.
const SHARE_BITS: u32 = 15;
/// Symbols after which the shares are counted anew, at first and at most.
const COUNT_FIRST: u32 = 16;
const COUNT_MOST: u32 = 2048;
/// Counts beyond which all are halved: what came long ago says less.
const COUNTS_MAX: u32 = 1 << 16;
const _: () = assert!(LEARN.len() > 511 >> 3);

/// How often each of sixteen symbols comes, counted from those before. The shares that they have of
/// the range follow the counts in steps, so that nothing is learnt between two symbols and reading
/// one takes a division and no walk over its bits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Symbols {
    /// Twice as many as came, and one.
    counts: [u32; 16],
    from: [u16; 17],
    left: u32,
    step: u32,
}

impl Default for Symbols {
    fn default() -> Self {
        let mut symbols = Self {
            counts: [1; 16],
            from: [0; 17],
            left: COUNT_FIRST,
            step: COUNT_FIRST,
        };
        symbols.share();
        symbols
    }
}

impl Symbols {
    /// Writes `symbol` and returns it, or reads one and returns that.
    #[inline(always)]
    pub(super) fn code<C: Coder>(&mut self, coder: &mut C, symbol: u8) -> u8 {
        let symbol = coder.symbol(&self.from, symbol & 15);
        if let Some(count) = self.counts.get_mut(usize::from(symbol)) {
            *count += 2;
        }
        self.left -= 1;
        if self.left == 0 {
            self.share();
            self.step = (self.step * 2).min(COUNT_MOST);
            self.left = self.step;
        }
        symbol
    }

    /// Gives each symbol its share, at least one; what rounding leaves over is the most frequent
    /// one's.
    fn share(&mut self) {
        let total: u32 = self.counts.iter().sum();
        if total > COUNTS_MAX {
            self.counts
                .iter_mut()
                .for_each(|count| *count = (*count).div_ceil(2));
        }
        let total: u64 = self.counts.iter().map(|count| u64::from(*count)).sum();
        protocol::always!(total <= u64::from(COUNTS_MAX), "one halving is enough");
        let whole = 1u64 << SHARE_BITS;
        let mut shares = self
            .counts
            .map(|count| (1 + u64::from(count) * (whole - 16) / total) as u16);
        let rest = whole as u16 - shares.iter().sum::<u16>();
        let most = (0..16).max_by_key(|symbol| self.counts.get(*symbol).copied());
        if let Some(share) = most.and_then(|most| shares.get_mut(most)) {
            *share += rest;
        }
        let mut end = 0;
        for (from, share) in self.from.iter_mut().skip(1).zip(shares) {
            end += share;
            *from = end;
        }
        protocol::always!(self.from.is_sorted_by(|a, b| a < b), "each has a share");
        protocol::always!(self.from.last() == Some(&(1u16 << SHARE_BITS)));
    }
}

/// Where a symbol's share begins, and how large it is.
#[inline(always)]
fn share_of(from: &[u16; 17], symbol: u8) -> (u64, u64) {
    let [begin, end] =
        [symbol, symbol + 1].map(|at| u64::from(from.get(usize::from(at)).copied().unwrap_or(0)));
    (begin, end - begin)
}

/// 2¹⁶ / (1 + e^−x) for x from −12 to 12 in steps of 1/128, by multiplication intra: a library's
/// `exp` may differ between processors, and this table is part of the format.
#[allow(clippy::indexing_slicing)] // made when the program is built
static SQUASH: [u16; 3073] = {
    let mut table = [0; 3073];
    let mut power = 162_754.791_419_003_92; // e¹²
    let mut i = 0;
    while i < 3073 {
        table[i] = (65_536.0 / (1.0 + power) + 0.5) as u16;
        table[i] = if table[i] < 12 {
            12
        } else if table[i] > 65_524 {
            65_524
        } else {
            table[i]
        };
        power *= 0.992_217_938_260_243_5; // e^(−1/128)
        i += 1;
    }
    table
};

/// How likely the next bit is to be 1, learnt from those before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bit {
    /// Of 2¹⁶.
    probability: u16,
    seen: u16,
}

impl Default for Bit {
    fn default() -> Self {
        Self {
            probability: 1 << 15,
            seen: 0,
        }
    }
}

/// Observations after which a model forgets as fast as it learns.
const MEMORY: u16 = 400;

/// 2¹⁶ / (n + 1.6), the share of the way that the n-th observation moves a probability.
#[allow(clippy::indexing_slicing)] // made when the program is built
const RATE: [u16; MEMORY as usize + 1] = {
    let mut rate = [0u16; MEMORY as usize + 1];
    let mut n = 0;
    while n <= MEMORY as usize {
        rate[n] = ((65_536 * 10) / (n as u32 * 10 + 16)) as u16;
        n += 1;
    }
    rate
};

impl Bit {
    #[inline(always)]
    fn learn(&mut self, bit: bool) {
        let target = if bit { 65_535i32 } else { 0 };
        let rate = i32::from(RATE.get(usize::from(self.seen)).copied().unwrap_or(160));
        let moved = (i64::from(target - i32::from(self.probability)) * i64::from(rate)) >> 16;
        self.probability = (i32::from(self.probability) + moved as i32).clamp(24, 65_512) as u16;
        self.seen += u16::from(self.seen < MEMORY);
    }

    /// A bit that is known to be rare from the beginning.
    pub(super) fn rare() -> Self {
        Self {
            probability: 1 << 11,
            seen: 2,
        }
    }
}

/// One weight of a sum of evidence, in 2⁻¹⁶ of a nat of odds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Weight(i32);

/// The first weight of a sum, which also counts how often it has spoken.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counted {
    odds: i32,
    seen: u32,
}

/// A bit whose odds are a sum of evidence (logistic regression, learnt as it goes).
#[inline(always)]
pub(super) fn sum_bit<C: Coder, const N: usize>(
    coder: &mut C,
    first: &mut Counted,
    evidence: [&mut Weight; N],
    bit: bool,
) -> bool {
    let sum = evidence
        .iter()
        .fold(first.odds, |sum, w| sum.wrapping_add(w.0));
    let index = ((sum >> 9) + 1536).clamp(0, 3072) as usize;
    let probability = u32::from(SQUASH.get(index).copied().unwrap_or(32_768));
    let bit = coder.weighed(probability, bit);
    let error = (i32::from(bit) << 16).wrapping_sub(probability as i32);
    let rate = LEARN.get((first.seen >> 3) as usize).copied().unwrap_or(6);
    let step = error.wrapping_mul(rate) >> 9;
    first.seen = (first.seen + 1).min(511);
    first.odds = first.odds.wrapping_add(step).clamp(-ODDS_MAX, ODDS_MAX);
    for weight in evidence {
        weight.0 = weight.0.wrapping_add(step).clamp(-ODDS_MAX, ODDS_MAX);
    }
    bit
}

/// No evidence is ever stronger than this.
const ODDS_MAX: i32 = 20 << 16;

/// How far an error of one moves a weight, in 512ths of a nat, by observations in eights.
#[allow(clippy::indexing_slicing)] // made when the program is built
const LEARN: [i32; 64] = {
    let mut rates = [0; 64];
    let mut n = 0;
    while n < 64 {
        rates[n] = 4 + 160 / (n as i32 + 2);
        n += 1;
    }
    rates
};

/// Writes.
#[derive(Debug)]
pub(super) struct Encoder {
    low: u64,
    range: u64,
    words: Vec<u32>,
}

impl Encoder {
    pub(super) fn new() -> Self {
        Self {
            low: 0,
            range: u64::MAX,
            words: Vec::new(),
        }
    }

    #[inline(always)]
    fn carry(&mut self) {
        for word in self.words.iter_mut().rev() {
            let (sum, over) = word.overflowing_add(1);
            *word = sum;
            if !over {
                break;
            }
        }
    }

    /// Raises what is written so far.
    #[inline(always)]
    fn raise(&mut self, by: u64) {
        let (low, over) = self.low.overflowing_add(by);
        self.low = low;
        if over {
            self.carry();
        }
    }

    #[inline(always)]
    fn shift_out(&mut self) {
        while self.range < 1 << 32 {
            self.words.push((self.low >> 32) as u32);
            self.low <<= 32;
            self.range <<= 32;
        }
    }

    #[inline(always)]
    fn take(&mut self, bound: u64, bit: bool) {
        if bit {
            self.range = bound;
        } else {
            self.raise(bound);
            self.range -= bound;
        }
        self.shift_out();
    }

    #[inline(always)]
    fn take_share(&mut self, begin: u64, range: u64) {
        self.raise(begin);
        self.range = range;
        self.shift_out();
    }

    /// What was written.
    pub(super) fn finish(mut self) -> Vec<u8> {
        protocol::always!(self.range >= 1 << 32, "every bit has left room");
        // Any number in [low, low + range) will do: the one with the most zeros at its end.
        let (end, over) = self.low.overflowing_add(self.range - 1);
        let mask = if over || end >> 32 != self.low >> 32 {
            !0 << 32
        } else {
            !0
        };
        let (up, carried) = if mask == !0 {
            (self.low, false)
        } else {
            self.low.overflowing_add(!mask)
        };
        if carried {
            self.carry();
        }
        let last = up & mask;
        protocol::always!(last.wrapping_sub(self.low) < self.range);
        self.words.push((last >> 32) as u32);
        self.words.push(last as u32);
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|w| w.to_be_bytes()).collect();
        while bytes.last() == Some(&0) {
            bytes.pop(); // the reader takes zeros for what is not there
        }
        bytes
    }
}

impl Coder for Encoder {
    #[inline(always)]
    fn weighed(&mut self, probability: u32, bit: bool) -> bool {
        self.take((self.range >> 16) * u64::from(probability), bit);
        bit
    }

    #[inline(always)]
    fn bit(&mut self, model: &mut Bit, bit: bool) -> bool {
        self.take((self.range >> 16) * u64::from(model.probability), bit);
        model.learn(bit);
        bit
    }

    #[inline(always)]
    fn even(&mut self, bit: bool) -> bool {
        self.take(self.range >> 1, bit);
        bit
    }

    #[inline(always)]
    fn symbol(&mut self, from: &[u16; 17], symbol: u8) -> u8 {
        let (begin, share) = share_of(from, symbol);
        let unit = self.range >> SHARE_BITS;
        self.take_share(unit * begin, unit * share);
        symbol
    }
}

/// Reads. Beyond the end there are zeros: wrong bytes give a wrong result, which the digest of the
/// whole shows.
#[derive(Debug)]
pub(super) struct Decoder<'a> {
    code: u64,
    range: u64,
    bytes: &'a [u8],
}

impl<'a> Decoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Self {
            code: 0,
            range: u64::MAX,
            bytes,
        };
        decoder.code = u64::from(decoder.word()) << 32 | u64::from(decoder.word());
        decoder
    }

    #[inline(always)]
    fn word(&mut self) -> u32 {
        if let Some((word, rest)) = self.bytes.split_first_chunk::<4>() {
            self.bytes = rest;
            return u32::from_be_bytes(*word);
        }
        let mut word = [0; 4];
        word.iter_mut().zip(self.bytes).for_each(|(w, b)| *w = *b);
        self.bytes = &[];
        u32::from_be_bytes(word)
    }

    #[inline(always)]
    fn give(&mut self, bound: u64) -> bool {
        // Without a branch: bits of numbers are about as often 0 as 1, and guessing them wrongly
        // costs more.
        let bit = self.code < bound;
        let zero = u64::from(bit).wrapping_sub(1);
        self.code = self.code.wrapping_sub(bound & zero);
        self.range = (self.range.wrapping_sub(bound) & zero) | (bound & !zero);
        self.refill();
        bit
    }

    #[inline(always)]
    fn refill(&mut self) {
        if self.range < 1 << 32 {
            self.code = self.code << 32 | u64::from(self.word());
            self.range <<= 32;
        }
    }
}

impl Coder for Decoder<'_> {
    #[inline(always)]
    fn weighed(&mut self, probability: u32, _: bool) -> bool {
        // These bits are mostly what they are likely to be: here the processor's guess is worth
        // having.
        let bound = (self.range >> 16) * u64::from(probability);
        let bit = self.code < bound;
        if bit {
            self.range = bound;
        } else {
            self.code -= bound;
            self.range -= bound;
        }
        self.refill();
        bit
    }

    #[inline(always)]
    fn bit(&mut self, model: &mut Bit, _: bool) -> bool {
        let bit = self.give((self.range >> 16) * u64::from(model.probability));
        model.learn(bit);
        bit
    }

    #[inline(always)]
    fn even(&mut self, _: bool) -> bool {
        self.give(self.range >> 1)
    }

    #[inline(always)]
    fn symbol(&mut self, from: &[u16; 17], _: u8) -> u8 {
        let unit = self.range >> SHARE_BITS; // never 0: the range is 2³² or more
        let at = (self.code / unit.max(1)).min((1 << SHARE_BITS) - 1) as u16;
        let symbol = from
            .iter()
            .skip(1)
            .map(|end| u8::from(*end <= at))
            .sum::<u8>()
            .min(15);
        let (begin, share) = share_of(from, symbol);
        self.code = self.code.wrapping_sub(unit * begin);
        self.range = unit * share;
        self.refill();
        symbol
    }
}

/// A whole number: zero or not, its sign, how many bits, and those bits, the upper two of them
/// learnt. The sign may be left to evidence that the caller has.
#[derive(Debug, Clone, Default)]
pub(super) struct Number {
    zero: Bit,
    sign: Bit,
    length: [Bit; 32],
    upper: [[Bit; 4]; 32],
}

impl Number {
    /// Codes `value`, at most 31 bits and a sign.
    #[inline]
    pub(super) fn code<C: Coder>(&mut self, coder: &mut C, value: i32) -> i32 {
        let mut sign = self.sign;
        let read = self.code_with_sign(coder, value, |coder, negative| {
            coder.bit(&mut sign, negative)
        });
        self.sign = sign;
        read
    }

    /// The same with a sign (`true`: negative) coded by the caller.
    #[inline]
    pub(super) fn code_with_sign<C: Coder>(
        &mut self,
        coder: &mut C,
        value: i32,
        sign: impl FnOnce(&mut C, bool) -> bool,
    ) -> i32 {
        if coder.bit(&mut self.zero, value == 0) {
            return 0;
        }
        let negative = sign(coder, value < 0);
        let read = (self.magnitude(coder, value.unsigned_abs()) & 0x7fff_ffff) as i32;
        if negative { -read } else { read }
    }

    /// The same for a number that has no sign.
    #[inline]
    pub(super) fn code_size<C: Coder>(&mut self, coder: &mut C, value: u32) -> u32 {
        if coder.bit(&mut self.zero, value == 0) {
            return 0;
        }
        self.magnitude(coder, value)
    }

    #[inline]
    fn magnitude<C: Coder>(&mut self, coder: &mut C, magnitude: u32) -> u32 {
        let wanted = 31 - magnitude.max(1).leading_zeros();
        let mut bits = 0;
        for model in &mut self.length {
            if bits >= 30 || !coder.bit(model, wanted > bits) {
                break;
            }
            bits += 1;
        }
        let mut read = 1u32;
        for position in (0..bits).rev() {
            let bit = magnitude >> position & 1 == 1;
            let learnt = bits - position <= 2;
            let model = self.upper.get_mut(bits as usize).and_then(|m| {
                m.get_mut((read & 1) as usize + 2 * usize::from(bits - position == 2))
            });
            let bit = match model {
                Some(model) if learnt => coder.bit(model, bit),
                _ => coder.even(bit),
            };
            read = read << 1 | u32::from(bit);
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let numbers: Vec<i32> = (0..5000i32)
            .map(|i| (i * 7919 % 257 - 128) * (i % 3) * if i % 50 == 0 { 90_001 } else { 1 })
            .collect();
        let (mut model, mut rare, mut coder) = (Number::default(), Bit::rare(), Encoder::new());
        for n in &numbers {
            coder.bit(&mut rare, n % 97 == 0);
            coder.even(n % 2 == 0);
            model.code(&mut coder, *n);
        }
        let bytes = coder.finish();
        let (mut model, mut rare, mut coder) =
            (Number::default(), Bit::rare(), Decoder::new(&bytes));
        for n in &numbers {
            assert_eq!(coder.bit(&mut rare, false), n % 97 == 0);
            assert_eq!(coder.even(false), n % 2 == 0);
            assert_eq!(model.code(&mut coder, 0), *n);
        }
    }

    #[test]
    fn symbols_come_out_as_they_went_in_and_frequent_ones_take_less_room() {
        let symbols: Vec<u8> = (0..60_000u32)
            .map(|i| if i % 5 == 0 { (i / 5 % 16) as u8 } else { 8 })
            .collect();
        let (mut model, mut coder) = (Symbols::default(), Encoder::new());
        for symbol in &symbols {
            model.code(&mut coder, *symbol);
        }
        let bytes = coder.finish();
        // 0.8125 of them are eights, the others 1 in 80 each: 1.43 bits a symbol.
        assert!(bytes.len() < symbols.len() * 145 / 800, "{}", bytes.len());
        let (mut model, mut coder) = (Symbols::default(), Decoder::new(&bytes));
        assert!(
            symbols
                .iter()
                .all(|symbol| model.code(&mut coder, 0) == *symbol)
        );
        let (mut model, mut nothing) = (Symbols::default(), Decoder::new(&[]));
        (0..100_000).for_each(|_| assert!(model.code(&mut nothing, 0) < 16));
    }

    #[test]
    fn a_thousand_likely_bits_take_few_bytes_and_no_bytes_are_no_panic() {
        let (mut model, mut coder) = (Bit::default(), Encoder::new());
        (0..100_000).for_each(|_| {
            coder.bit(&mut model, true);
        });
        assert!(coder.finish().len() < 40);
        let mut nothing = Decoder::new(&[]);
        let mut model = Number::default();
        (0..1000).for_each(|_| {
            model.code(&mut nothing, 0);
        });
    }
}
