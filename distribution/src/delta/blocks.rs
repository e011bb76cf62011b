//! The tensor-aware part: quantized blocks coded against what the old block leads one to expect.
//!
//! A block holds codes and a scale. When a model is trained on, its scales drift a little and most
//! codes stay; but a code is the weight *divided by the scale*, so a drifting scale moves codes
//! that have not moved as weights. From the old code and both scales follows the place `x` on the
//! new grid where the old weight would lie; the new code is `x` rounded, give or take. How near `x`
//! is to the middle between two codes says how likely the neighbour is, and that, with how much has
//! changed lately in this row and in this column, is the context of every coded bit.
//!
//! All arithmetic is IEEE single precision, one operation at a time, so that every processor
//! expects the same.

use protocol::always;

use super::layout::Storage;
use super::numbers::{half, log2, ordered, unordered};
use super::range::{Bit, Coder, Counted, Number, Weight, sum_bit};

/// How sure an expectation is: 0 exact, then by distance from the grid in half octaves from 2⁻¹⁰ to
/// 2⁻¹, then unknown.
const NEARNESS: usize = 22;

/// What is learnt while the tensors of one storage are coded, in file order.
#[derive(Clone)]
pub(super) struct Model {
    storage: Storage,
    contexts: Contexts,
    /// How far codes went beyond the next one: by nearness and by how far others went lately.
    distance: Vec<Number>,
    far: u32,
    scales: Near<{ NEARNESS * 4 }>,
    minima: Near<{ NEARNESS * 4 }>,
    headers: Vec<Number>,
    /// Per column of blocks: how far headers moved lately, in bits.
    header_columns: Vec<u8>,
    header_way: ([Counted; 32], [Weight; 32]),
    floats: Vec<Number>,
    /// Per column: how much changed lately, of 255.
    columns: Vec<u8>,
    column: usize,
    /// Per column: which way weights went lately, of ±127.
    leans: Vec<i8>,
    /// How much changed lately in this row, of 4096, and which way, of ±4096.
    row: u32,
    lean: i32,
    /// Whether the last codes changed, the last in the lowest bit.
    lately: usize,
    /// The usual step between codes, and how this block's compares.
    usual_step: f32,
    step: usize,
    /// How far the last headers moved.
    drift: [usize; 2],
}

/// What speaks for a code staying as expected, and for which way it goes if not.
#[derive(Clone)]
struct Contexts {
    place: [Counted; NEARNESS * 3 * 4],
    row: [Weight; 3 * 33],
    column: [Weight; 3 * 32],
    lately: [Weight; 3 * 64],
    way: [Counted; NEARNESS * 2 * 3],
    way_row: [Weight; 3 * 32],
    way_column: [Weight; 3 * 32],
}

impl Default for Contexts {
    fn default() -> Self {
        let none = Weight::default();
        Self {
            place: [Counted::default(); NEARNESS * 3 * 4],
            row: [none; 3 * 33],
            column: [none; 3 * 32],
            lately: [none; 3 * 64],
            way: [Counted::default(); NEARNESS * 2 * 3],
            way_row: [none; 3 * 32],
            way_column: [none; 3 * 32],
        }
    }
}

/// A small number near one that is expected.
#[derive(Clone)]
struct Near<const CONTEXTS: usize> {
    same: [Bit; CONTEXTS],
    towards: [Bit; NEARNESS * 2],
    farther: [[Bit; 8]; NEARNESS],
}

impl<const CONTEXTS: usize> Near<CONTEXTS> {
    fn new() -> Self {
        Self {
            same: [Bit::default(); CONTEXTS],
            towards: [Bit::default(); NEARNESS * 2],
            farther: [[Bit::rare(); 8]; NEARNESS],
        }
    }
}

/// What the old block leads one to expect of a code.
#[derive(Debug, Clone, Copy, Default)]
struct Expected {
    value: i16,
    nearness: u8,
    /// The next likely code is the one above.
    up: bool,
}

impl Expected {
    /// The code on a grid of `least..=most` for the place `x`; `old` if `x` is no number.
    #[inline(always)]
    fn at(x: f32, old: i16, least: i16, most: i16) -> Self {
        if !(x > -40_000.0 && x < 40_000.0) {
            return Self {
                value: old,
                nearness: (NEARNESS - 1) as u8,
                up: true,
            };
        }
        let value = ((x + 0.5).floor() as i16).clamp(least, most);
        let off = x - f32::from(value);
        // Two steps an octave: the exponent and the first bit of the fraction.
        let octave = (off.abs().to_bits() >> 22) as i32 - (2 * (127 - 10) - 1);
        let nearness = if off == 0.0 {
            0
        } else {
            octave.clamp(1, NEARNESS as i32 - 2) as u8
        };
        Self {
            value,
            nearness,
            up: off > 0.0,
        }
    }
}

/// Codes `value` in `least..=most`.
#[inline(always)]
fn near<C: Coder, const CONTEXTS: usize>(
    coder: &mut C,
    models: &mut Near<CONTEXTS>,
    context: usize,
    expected: Expected,
    (least, most): (i16, i16),
    value: i16,
) -> i16 {
    let Some(same) = models.same.get_mut(context) else {
        return expected.value;
    };
    if coder.bit(same, value == expected.value) {
        return expected.value;
    }
    let near = usize::from(expected.nearness);
    let up = if expected.value <= least {
        true
    } else if expected.value >= most {
        false
    } else {
        let model = models.towards.get_mut(near * 2 + (context & 1));
        let wanted = (value > expected.value) == expected.up;
        let towards = model.is_none_or(|model| coder.bit(model, wanted));
        towards == expected.up
    };
    let room = if up {
        most - expected.value
    } else {
        expected.value - least
    };
    let distance = (value - expected.value).unsigned_abs() as i16;
    let mut read = 1;
    if let Some(models) = models.farther.get_mut(near) {
        while read < room {
            let Some(model) = models.get_mut((read as usize - 1).min(7)) else {
                break;
            };
            if !coder.bit(model, distance > read) {
                break;
            }
            read += 1;
        }
    }
    if up {
        expected.value + read
    } else {
        expected.value - read
    }
}

impl Model {
    /// For tensors of this storage with rows of `columns` numbers.
    pub(super) fn new(storage: Storage) -> Self {
        Self {
            storage,
            contexts: Contexts::default(),
            distance: vec![Number::default(); 3 * 8],
            far: 0,
            scales: Near::new(),
            minima: Near::new(),
            headers: vec![Number::default(); 2 * 12 * 8],
            header_columns: Vec::new(),
            header_way: ([Counted::default(); 32], [Weight::default(); 32]),
            floats: vec![Number::default(); 64 * 8],
            columns: Vec::new(),
            column: 0,
            leans: Vec::new(),
            row: 0,
            lean: 0,
            lately: 0,
            usual_step: 0.0,
            step: 1,
            drift: [0; 2],
        }
    }

    /// A new tensor begins.
    pub(super) fn begin(&mut self, columns: usize) {
        self.columns.clear();
        self.columns.resize(columns.max(1), 64);
        self.column = 0;
        self.header_columns.clear();
        self.header_columns
            .resize(2 * (columns / self.storage.block().0 + 1), 6);
        self.leans.clear();
        self.leans.resize(columns.max(1), 0);
        self.row = 1024;
        self.lean = 0;
        self.usual_step = 0.0;
        self.drift = [6; 2];
    }

    /// Codes whole blocks: `new` is read when writing and filled when reading.
    pub(super) fn code<C: Coder>(&mut self, coder: &mut C, old: &[u8], new: &mut [u8]) {
        let (numbers, bytes) = self.storage.block();
        always!(old.len() == new.len(), "block lies beside block");
        always!(new.len().is_multiple_of(bytes), "blocks are whole");
        always!(self.leans.len() == self.columns.len());
        for (old, new) in old.chunks_exact(bytes).zip(new.chunks_exact_mut(bytes)) {
            match self.storage {
                Storage::Q4_0 => self.q4_0(coder, old, new),
                Storage::Q8_0 => self.q8_0(coder, old, new),
                Storage::Q4K => self.q4_k(coder, old, new),
                Storage::Q6K => self.q6_k(coder, old, new),
                Storage::F16 | Storage::BF16 => self.float(coder, old, new, 16),
                Storage::F32 => self.float(coder, old, new, 32),
            }
            self.column += numbers;
            if self.column >= self.columns.len() {
                self.column = 0;
            }
        }
        always!(self.column < self.columns.len().max(1));
        always!(self.row <= 4096 && self.lean.abs() <= 4096);
    }

    /// A 16-bit scale at `at`; both as floats. `follows`: the place in the block of the number that
    /// it is made from and whether it grows (1) or shrinks (−1) with it, if that is known.
    #[inline(always)]
    fn scale<C: Coder>(
        &mut self,
        coder: &mut C,
        (which, at): (usize, usize),
        old: &[u8],
        new: &mut [u8],
        follows: Option<(usize, i32)>,
    ) -> (f32, f32) {
        let read = |bytes: &[u8]| {
            bytes
                .get(at..at + 2)
                .and_then(|b| b.first_chunk())
                .map_or(0, |b| u16::from_le_bytes(*b))
        };
        let (was, is) = (read(old), read(new));
        let moved = (ordered(u32::from(is), 16) - ordered(u32::from(was), 16)) as i32;
        let place = self.column / self.storage.block().0 * 2 + which;
        let (Some(drift), Some(column)) = (
            self.drift.get_mut(which),
            self.header_columns.get_mut(place),
        ) else {
            return (half(was), half(was));
        };
        let context = (which * 12 + (*drift >> 1).min(11)) * 8 + usize::from(*column >> 2).min(7);
        let Some(model) = self.headers.get_mut(context) else {
            return (half(was), half(was));
        };
        let moved = match follows {
            None => model.code(coder, moved),
            Some((position, way)) => {
                let lean =
                    i32::from(self.leans.get(self.column + position).copied().unwrap_or(0)) * way;
                let row = self.lean * way;
                let ways = &mut self.header_way;
                model.code_with_sign(coder, moved, |coder, negative| {
                    let (a, b) = ways;
                    let row = a.get_mut(((row >> 8) + 16).clamp(0, 31) as usize);
                    let column = b.get_mut(((lean >> 3) + 16).clamp(0, 31) as usize);
                    match (row, column) {
                        (Some(row), Some(column)) => sum_bit(coder, row, [column], negative),
                        _ => coder.even(negative),
                    }
                })
            }
        };
        let size = log2(i64::from(moved));
        *drift = (*drift * 3 + size * 2 + 2) / 4;
        *column = ((usize::from(*column) * 3 + size * 4 + 2) / 4) as u8;
        let is = unordered(ordered(u32::from(was), 16) + i64::from(moved), 16) as u16;
        if let Some(room) = new.get_mut(at..at + 2) {
            room.copy_from_slice(&is.to_le_bytes());
        }
        (half(was), half(is))
    }

    /// Compares a block's step with the usual one.
    #[inline(always)]
    fn measure(&mut self, step: f32) {
        let step = step.abs();
        if step.is_nan() || step > 1e30 {
            return;
        }
        let usual = self.usual_step;
        self.step = usize::from(step > usual * 0.75)
            + usize::from(step > usual)
            + usize::from(step > usual * 1.35);
        self.usual_step = if usual == 0.0 {
            step
        } else {
            usual + (step - usual) * 0.015_625
        };
    }

    /// One code of a block at `position` in it. `edge`: 0 inside, 1 the lowest code, 2 the highest;
    /// `down`: larger codes are smaller weights here.
    #[inline(always)]
    fn code_one<C: Coder>(
        &mut self,
        coder: &mut C,
        position: usize,
        expected: Expected,
        (edge, down): (usize, bool),
        (least, most): (i16, i16),
        value: i16,
    ) -> i16 {
        let place = self.column + position;
        let (Some(column), Some(column_lean)) =
            (self.columns.get_mut(place), self.leans.get_mut(place))
        else {
            return expected.value;
        };
        let e = &mut self.contexts;
        let near = usize::from(expected.nearness);
        let class = usize::from(near > 0) + usize::from(near > 12);
        let leans =
            |lean: i32, steps: i32| -> usize { (lean + steps).clamp(0, 2 * steps - 1) as usize };
        let sign = if down { -1 } else { 1 };
        let lean =
            (self.lean + i32::from(*column_lean) * 16) * sign * if expected.up { 1 } else { -1 };
        let (Some(a), Some(b), Some(c), Some(d)) = (
            e.place.get_mut((near * 3 + edge) * 4 + self.step),
            e.row.get_mut(class * 33 + (self.row >> 7) as usize),
            e.column.get_mut(class * 32 + usize::from(*column >> 3)),
            e.lately
                .get_mut(class * 64 + (self.lately & 3) * 16 + leans(lean >> 8, 8)),
        ) else {
            return expected.value;
        };
        let same = sum_bit(coder, a, [b, c, d], value == expected.value);
        self.row = self.row + u32::from(!same) * 256 - (self.row >> 4);
        self.lately = self.lately << 1 | usize::from(!same);
        *column = *column - (*column >> 3) + u8::from(!same) * 31;
        if same {
            return expected.value;
        }
        let up = if expected.value <= least {
            true
        } else if expected.value >= most {
            false
        } else {
            let (Some(a), Some(b), Some(c)) = (
                e.way
                    .get_mut((near * 2 + usize::from(expected.up)) * 3 + edge),
                e.way_row
                    .get_mut(class * 32 + leans((self.lean * sign) >> 7, 16)),
                e.way_column
                    .get_mut(class * 32 + leans((i32::from(*column_lean) * sign) >> 3, 16)),
            ) else {
                return expected.value;
            };
            sum_bit(coder, a, [b, c], value > expected.value)
        };
        let grew = up != down;
        self.lean += (if grew { 4096 } else { -4096 } - self.lean) >> 3;
        *column_lean = (i32::from(*column_lean)
            + ((if grew { 127 } else { -127 } - i32::from(*column_lean)) >> 2))
            as i8;
        let room = if up {
            most - expected.value
        } else {
            expected.value - least
        };
        if room < 2 {
            return if up { most } else { least };
        }
        let far = (self.far >> 4).min(7) as usize;
        let Some(model) = self.distance.get_mut(class * 8 + far) else {
            return expected.value;
        };
        let distance = (value - expected.value).unsigned_abs().saturating_sub(1);
        let read = model.code_size(coder, u32::from(distance));
        let read = i16::try_from(read).unwrap_or(i16::MAX).min(room - 1);
        self.far = (self.far * 7 + 16 * (16 - (read as u16).leading_zeros())) / 8;
        let read = read + 1;
        if up {
            expected.value + read
        } else {
            expected.value - read
        }
    }

    fn q4_0<C: Coder>(&mut self, coder: &mut C, old: &[u8], new: &mut [u8]) {
        // The number of largest size got the code 0, which stands for −8: the scale is an eighth of
        // it, with the other sign.
        let codes = || old.iter().skip(2);
        let largest = codes()
            .position(|b| b & 15 == 0)
            .or_else(|| codes().position(|b| b >> 4 == 0).map(|i| i + 16));
        let (was, is) = self.scale(coder, (0, 0), old, new, largest.map(|place| (place, -1)));
        self.measure(is);
        let ratio = if was == is { 1.0 } else { was / is };
        let expect = table16(|q| {
            if ratio == 1.0 {
                q
            } else {
                (q - 8.0) * ratio + 8.0
            }
        });
        let (Some(old), Some(new)) = (old.get(2..18), new.get_mut(2..18)) else {
            return;
        };
        for high in [false, true] {
            for (i, (old, new)) in old.iter().zip(new.iter_mut()).enumerate() {
                let shift = if high { 4 } else { 0 };
                let code = usize::from(old >> shift & 15);
                let value = i16::from(*new >> shift & 15);
                let expected = expect.get(code).copied().unwrap_or_default();
                let read = self.code_one(
                    coder,
                    i + if high { 16 } else { 0 },
                    expected,
                    (edge(code, 15), is < 0.0),
                    (0, 15),
                    value,
                );
                *new = *new & !(15 << shift) | (read as u8 & 15) << shift;
            }
        }
    }

    fn q8_0<C: Coder>(&mut self, coder: &mut C, old: &[u8], new: &mut [u8]) {
        let codes = || old.iter().skip(2).map(|b| *b as i8);
        let largest = codes().position(|c| c.unsigned_abs() >= 127);
        let follows =
            largest.and_then(|place| Some((place, if codes().nth(place)? > 0 { 1 } else { -1 })));
        let (was, is) = self.scale(coder, (0, 0), old, new, follows);
        self.measure(is);
        let ratio = if was == is { 1.0 } else { was / is };
        for i in 0..32 {
            let (Some(old), Some(new)) = (old.get(2 + i), new.get_mut(2 + i)) else {
                return;
            };
            let code = *old as i8;
            let expected = Expected::at(f32::from(code) * ratio, i16::from(code), -128, 127);
            let edge = edge((i16::from(code) + 127).max(0) as usize, 254);
            *new = self.code_one(
                coder,
                i,
                expected,
                (edge, false),
                (-128, 127),
                i16::from(*new as i8),
            ) as u8;
        }
    }

    fn q4_k<C: Coder>(&mut self, coder: &mut C, old: &[u8], new: &mut [u8]) {
        let (scale_was, scale_is) = self.scale(coder, (0, 0), old, new, None);
        let (min_was, min_is) = self.scale(coder, (1, 2), old, new, None);
        let Some(packed) = old.get(4..16) else { return };
        let (scales_were, minima_were) = unpack(packed);
        let (mut scales, mut minima) = new.get(4..16).map_or(([0; 8], [0; 8]), unpack);
        small_scales(
            coder,
            &mut self.scales,
            scale_was / scale_is,
            &scales_were,
            &mut scales,
        );
        small_scales(
            coder,
            &mut self.minima,
            min_was / min_is,
            &minima_were,
            &mut minima,
        );
        if let Some(room) = new.get_mut(4..16) {
            pack(&scales, &minima, room);
        }
        for part in 0..8 {
            let at = |of: &[u8; 8]| f32::from(of.get(part).copied().unwrap_or(0));
            let (step_was, step_is) = (scale_was * at(&scales_were), scale_is * at(&scales));
            let (low_was, low_is) = (min_was * at(&minima_were), min_is * at(&minima));
            self.measure(step_is);
            let same = step_was == step_is && low_was == low_is;
            let (ratio, shift) = if same || step_is == 0.0 {
                (1.0, 0.0)
            } else {
                (step_was / step_is, (low_is - low_was) / step_is)
            };
            let expect = table16(|q| q * ratio + shift);
            // Sub-blocks lie in pairs: the low nibbles of 32 bytes, then the high ones.
            let (first, nibble) = (16 + part / 2 * 32, if part % 2 == 1 { 4 } else { 0 });
            let (Some(old), Some(new)) =
                (old.get(first..first + 32), new.get_mut(first..first + 32))
            else {
                return;
            };
            for (i, (old, new)) in old.iter().zip(new.iter_mut()).enumerate() {
                let code = usize::from(old >> nibble & 15);
                let value = i16::from(*new >> nibble & 15);
                let expected = expect.get(code).copied().unwrap_or_default();
                let read = self.code_one(
                    coder,
                    part * 32 + i,
                    expected,
                    (edge(code, 15), false),
                    (0, 15),
                    value,
                );
                *new = *new & !(15 << nibble) | (read as u8 & 15) << nibble;
            }
        }
    }

    fn q6_k<C: Coder>(&mut self, coder: &mut C, old: &[u8], new: &mut [u8]) {
        let (scale_was, scale_is) = self.scale(coder, (0, 208), old, new, None);
        let Some(scales_were) = old.get(192..208) else {
            return;
        };
        let ratio = if scale_was == scale_is {
            1.0
        } else {
            scale_was / scale_is
        };
        let mut steps = [1f32; 16];
        for (i, step) in steps.iter_mut().enumerate() {
            let (Some(was), Some(is)) = (scales_were.get(i), new.get_mut(192 + i)) else {
                return;
            };
            let was = *was as i8;
            let expected = Expected::at(f32::from(was) * ratio, i16::from(was), -128, 127);
            let context = usize::from(expected.nearness) * 4;
            let read = near(
                coder,
                &mut self.scales,
                context,
                expected,
                (-128, 127),
                i16::from(*is as i8),
            );
            *is = read as i8 as u8;
            let (step_was, step_is) = (scale_was * f32::from(was), scale_is * f32::from(read));
            *step = if step_was == step_is || step_is == 0.0 {
                1.0
            } else {
                step_was / step_is
            };
        }
        // Two halves of 128; in each, position l of quarter k has four bits in `ql` and two in `qh`
        // (ggml's block_q6_K).
        for i in 0..256 {
            let (half, quarter, l) = (i / 128, i / 32 % 4, i % 32);
            let low_at = half * 64 + l + if quarter % 2 == 1 { 32 } else { 0 };
            let (low_shift, high_at, high_shift) =
                (quarter / 2 * 4, 128 + half * 32 + l, quarter * 2);
            let read = |bytes: &[u8]| {
                let low = bytes.get(low_at).map_or(0, |b| b >> low_shift & 15);
                let high = bytes.get(high_at).map_or(0, |b| b >> high_shift & 3);
                i16::from(low | high << 4)
            };
            let (code, value) = (read(old), read(new));
            let step = steps.get(i / 16).copied().unwrap_or(1.0);
            let x = if step == 1.0 {
                f32::from(code)
            } else {
                f32::from(code - 32) * step + 32.0
            };
            let expected = Expected::at(x, code, 0, 63);
            let value = self.code_one(
                coder,
                i,
                expected,
                (edge(code as usize, 63), step < 0.0),
                (0, 63),
                value,
            ) as u8;
            if let Some(low) = new.get_mut(low_at) {
                *low = *low & !(15 << low_shift) | (value & 15) << low_shift;
            }
            if let Some(high) = new.get_mut(high_at) {
                *high = *high & !(3 << high_shift) | (value >> 4 & 3) << high_shift;
            }
        }
    }

    /// A float: how far its bits moved, by the size of the old one and by how far others moved
    /// lately.
    fn float<C: Coder>(&mut self, coder: &mut C, old: &[u8], new: &mut [u8], width: u32) {
        let read = |bytes: &[u8]| {
            bytes
                .iter()
                .rev()
                .fold(0u32, |word, b| word << 8 | u32::from(*b))
        };
        let (was, is) = (read(old), read(new));
        let exponent = match (width, self.storage) {
            (32, _) => was >> 23 & 63,
            (_, Storage::BF16) => was >> 7 & 63,
            _ => was >> 10 & 31,
        };
        let context = exponent as usize * 8 + (self.row as usize / 5).min(7);
        let moved = ordered(is, width) - ordered(was, width);
        let Some(model) = self.floats.get_mut(context) else {
            return;
        };
        // A difference of two 32-bit numbers takes 33 bits: its last bit is sent apart.
        let read = if width == 32 {
            let upper = i64::from(model.code(coder, (moved >> 2) as i32));
            let bits = [coder.even(moved >> 1 & 1 == 1), coder.even(moved & 1 == 1)];
            upper << 2 | i64::from(bits[0]) << 1 | i64::from(bits[1])
        } else {
            i64::from(model.code(coder, moved as i32))
        };
        // Where the exponent is high a step is large: the drift is counted as if all were of one
        // size.
        let size = (log2(read) + exponent as usize).saturating_sub(6) as u32;
        self.row = (self.row * 7 + size.min(40) * 8) / 8;
        self.row = self.row.min(40);
        let is = unordered(ordered(was, width) + read, width);
        new.iter_mut()
            .zip(is.to_le_bytes())
            .for_each(|(n, b)| *n = b);
    }
}

#[inline(always)]
fn edge(code: usize, most: usize) -> usize {
    usize::from(code == 0) + 2 * usize::from(code == most)
}

#[inline(always)]
fn table16(place: impl Fn(f32) -> f32) -> [Expected; 16] {
    let mut table = [Expected::default(); 16];
    for (q, expected) in (0i16..).zip(&mut table) {
        *expected = Expected::at(place(f32::from(q)), q, 0, 15);
    }
    table
}

fn small_scales<C: Coder>(
    coder: &mut C,
    models: &mut Near<{ NEARNESS * 4 }>,
    ratio: f32,
    were: &[u8; 8],
    are: &mut [u8; 8],
) {
    let mut moved = 0;
    for (was, is) in were.iter().zip(are) {
        let x = if ratio == 1.0 {
            f32::from(*was)
        } else {
            f32::from(*was) * ratio
        };
        let expected = Expected::at(x, i16::from(*was), 0, 63);
        let context = usize::from(expected.nearness) * 4 + moved.min(3);
        let read = near(coder, models, context, expected, (0, 63), i16::from(*is));
        moved += usize::from(read != expected.value);
        *is = read as u8;
    }
}

/// The 6-bit scales and minima of a Q4_K super-block (ggml's `get_scale_min_k4`).
fn unpack(packed: &[u8]) -> ([u8; 8], [u8; 8]) {
    let at = |i: usize| packed.get(i).copied().unwrap_or(0);
    let (mut scales, mut minima) = ([0; 8], [0; 8]);
    for (j, (scale, min)) in scales.iter_mut().zip(&mut minima).enumerate() {
        if j < 4 {
            (*scale, *min) = (at(j) & 63, at(j + 4) & 63);
        } else {
            *scale = at(j + 4) & 15 | at(j - 4) >> 6 << 4;
            *min = at(j + 4) >> 4 | at(j) >> 6 << 4;
        }
    }
    (scales, minima)
}

fn pack(scales: &[u8; 8], minima: &[u8; 8], room: &mut [u8]) {
    let [s0, s1, s2, s3, s4, s5, s6, s7] = scales;
    let [m0, m1, m2, m3, m4, m5, m6, m7] = minima;
    let first = |low: &u8, high: &u8| low & 63 | high >> 4 << 6;
    let last = |scale: &u8, min: &u8| scale & 15 | (min & 15) << 4;
    let packed = [
        first(s0, s4),
        first(s1, s5),
        first(s2, s6),
        first(s3, s7),
        first(m0, m4),
        first(m1, m5),
        first(m2, m6),
        first(m3, m7),
        last(s4, m4),
        last(s5, m5),
        last(s6, m6),
        last(s7, m7),
    ];
    room.iter_mut().zip(packed).for_each(|(r, p)| *r = p);
    always!(unpack(room) == (*scales, *minima), "six bits hold them");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_scales_come_out_as_they_went_in() {
        let packed: Vec<u8> = (0..12u8).map(|i| i.wrapping_mul(37) ^ 0x5a).collect();
        let (scales, minima) = unpack(&packed);
        let mut again = vec![0; 12];
        pack(&scales, &minima, &mut again);
        assert_eq!(again, packed);
    }
}
