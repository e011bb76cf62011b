//! The same product with the instructions of ARM: NEON as every 64-bit phone has it, dot products of bytes
//! (`sdot`, ARMv8.2) and products of 2×8 by 8×2 (`smmla`, i8mm).
//!
//! Safety, of every function here: as in `x86.rs`. Weights are signed here: those of four bits fit, those
//! of eight are stored with 128 added, which is taken off again; so the sum of the activations is needed
//! for four bits only.
//!
//! The two instructions stand as assembly, because the compiler's own names for them are not stable yet.

use std::arch::aarch64::*;
use std::arch::asm;

use crate::activations::{Activations, scale_of};
use crate::layout::{Kind, TILE};

/// Sums of 4 × 4 rows of weights.
type Quads = [int32x4_t; 4];

/// Four activations in every lane.
#[inline(always)]
unsafe fn four(numbers: &[i8], at: usize) -> int8x16_t {
    let four = &numbers[at..at + 4];
    let four = i32::from_le_bytes([four[0] as u8, four[1] as u8, four[2] as u8, four[3] as u8]);
    // SAFETY: NEON is part of every 64-bit ARM.
    unsafe { vreinterpretq_s8_s32(vdupq_n_s32(four)) }
}

/// 16 weights: four consecutive ones, the `g`-th of eight, of four rows, the `quad`-th.
#[inline(always)]
unsafe fn weights<const EIGHT: bool>(
    packed: &[u8],
    base: usize,
    g: usize,
    quad: usize,
) -> int8x16_t {
    // SAFETY: the range checks its bounds.
    unsafe {
        let at = |g: usize| vld1q_u8(packed[base + g * 64 + quad * 16..][..16].as_ptr());
        vreinterpretq_s8_u8(match (EIGHT, g) {
            (true, _) => veorq_u8(at(g), vdupq_n_u8(0x80)),
            (false, ..4) => vandq_u8(at(g), vdupq_n_u8(15)),
            (false, _) => vshrq_n_u8::<4>(at(g - 4)),
        })
    }
}

/// Four products and their sum into each lane.
#[inline(always)]
unsafe fn dot<const SDOT: bool>(sum: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
    // SAFETY: the callers with SDOT have asked for it.
    unsafe {
        if SDOT {
            let mut sum = sum;
            asm!(
                "sdot {sum:v}.4s, {w:v}.16b, {x:v}.16b",
                sum = inout(vreg) sum, w = in(vreg) w, x = in(vreg) x,
                options(pure, nomem, nostack, preserves_flags),
            );
            return sum;
        }
        // Two products of 128 and 127 are below 32768.
        let low = vmull_s8(vget_low_s8(w), vget_low_s8(x));
        let high = vmull_high_s8(w, x);
        vpadalq_s16(sum, vpaddq_s16(low, high))
    }
}

/// Two rows of eight weights times two of eight activations: `[w₀x₀, w₀x₁, w₁x₀, w₁x₁]`.
#[inline(always)]
unsafe fn square(sum: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
    let mut sum = sum;
    // SAFETY: the caller has asked for i8mm.
    unsafe {
        asm!(
            "smmla {sum:v}.4s, {w:v}.16b, {x:v}.16b",
            sum = inout(vreg) sum, w = in(vreg) w, x = in(vreg) x,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// How sums of integers are made.
const PLAIN_NEON: u8 = 0;
const SDOT: u8 = 1;
const SMMLA: u8 = 2;

/// The sums of 32 columns from `at` on: 16 rows of weights, `M` rows of activations.
#[inline(always)]
unsafe fn sums_of<const M: usize, const BY: u8, const EIGHT: bool>(
    rows: &[&[i8]; M],
    at: usize,
    packed: &[u8],
    base: usize,
    first: impl Fn(usize) -> i32,
) -> [Quads; M] {
    // SAFETY: the ranges check their bounds; the instructions are the caller's to know.
    unsafe {
        if BY != SMMLA {
            let mut sums: [Quads; M] = std::array::from_fn(|i| [vdupq_n_s32(first(i)); 4]);
            for g in 0..8 {
                let x: [int8x16_t; M] = std::array::from_fn(|i| four(rows[i], at + g * 4));
                for quad in 0..4 {
                    let w = weights::<EIGHT>(packed, base, g, quad);
                    for i in 0..M {
                        sums[i][quad] = if BY == SDOT {
                            dot::<true>(sums[i][quad], w, x[i])
                        } else {
                            dot::<false>(sums[i][quad], w, x[i])
                        };
                    }
                }
            }
            return sums;
        }
        let mut sums: [Quads; M] = [[vdupq_n_s32(0); 4]; M];
        for pair in 0..M / 2 {
            let (a, b) = (rows[pair * 2], rows[pair * 2 + 1]);
            // Of each quad the upper and the lower two rows of weights.
            let mut squares = [[vdupq_n_s32(0); 2]; 4];
            for g in (0..8).step_by(2) {
                let from = at + g * 4;
                let x = vcombine_s8(
                    vld1_s8(a[from..from + 8].as_ptr()),
                    vld1_s8(b[from..from + 8].as_ptr()),
                );
                for (quad, squares) in squares.iter_mut().enumerate() {
                    let here = vreinterpretq_s32_s8(weights::<EIGHT>(packed, base, g, quad));
                    let next = vreinterpretq_s32_s8(weights::<EIGHT>(packed, base, g + 1, quad));
                    let upper = vreinterpretq_s8_s32(vzip1q_s32(here, next));
                    let lower = vreinterpretq_s8_s32(vzip2q_s32(here, next));
                    squares[0] = square(squares[0], upper, x);
                    squares[1] = square(squares[1], lower, x);
                }
            }
            for (quad, [upper, lower]) in squares.into_iter().enumerate() {
                let (a, b) = (vuzp1q_s32(upper, lower), vuzp2q_s32(upper, lower));
                sums[pair * 2][quad] = vaddq_s32(a, vdupq_n_s32(first(pair * 2)));
                sums[pair * 2 + 1][quad] = vaddq_s32(b, vdupq_n_s32(first(pair * 2 + 1)));
            }
        }
        sums
    }
}

/// Four halves, from `at` on, as numbers of four bytes.
#[inline(always)]
unsafe fn halves(packed: &[u8], at: usize) -> float32x4_t {
    let mut out: float32x4_t;
    // SAFETY: the range checks its bounds; the conversion is part of every 64-bit ARM.
    unsafe {
        let halves = vld1_u8(packed[at..at + 8].as_ptr());
        asm!(
            "fcvtl {out:v}.4s, {halves:v}.4h",
            out = out(vreg) out, halves = in(vreg) halves,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    out
}

/// Four bytes, from `at` on, as numbers.
#[inline(always)]
unsafe fn bytes(packed: &[u8], at: usize) -> float32x4_t {
    let four: [f32; 4] = std::array::from_fn(|i| f32::from(packed[at + i]));
    // SAFETY: four numbers.
    unsafe { vld1q_f32(four.as_ptr()) }
}

/// `M` rows of activations from `row` on, times 16 rows of weights.
#[inline(always)]
unsafe fn tile<const M: usize, const BY: u8>(
    kind: Kind,
    w: &[u8],
    a: &Activations,
    row: usize,
    out: &mut [[f32; TILE]],
) {
    let rows: [&[i8]; M] =
        std::array::from_fn(|i| &a.numbers[(row + i) * a.columns..][..a.columns]);
    let metas: [usize; M] = std::array::from_fn(|i| (row + i) * (a.columns / 32));
    let parts = kind.block() / 32;
    // SAFETY: as for `sums_of`.
    unsafe {
        let mut totals = [[vdupq_n_f32(0.0); 4]; M];
        for (b, packed) in w.chunks_exact(kind.packed()).enumerate() {
            for j in 0..parts {
                let block = b * parts + j;
                let sums = match kind {
                    Kind::Q8_0 => sums_of::<M, BY, true>(&rows, block * 32, packed, 32, |_| 0),
                    Kind::Q4_0 => sums_of::<M, BY, false>(&rows, block * 32, packed, 32, |i| {
                        a.offsets[metas[i] + block]
                    }),
                    Kind::Q4K => {
                        sums_of::<M, BY, false>(&rows, block * 32, packed, 320 + j * 256, |_| 0)
                    }
                };
                for quad in 0..4 {
                    let d = halves(packed, quad * 8);
                    let (d, least) = match kind {
                        Kind::Q4_0 | Kind::Q8_0 => (d, None),
                        Kind::Q4K => {
                            let byte = |at: usize| bytes(packed, at + j * 32 + quad * 4);
                            let least = vmulq_f32(halves(packed, 32 + quad * 8), byte(80));
                            (vmulq_f32(d, byte(64)), Some(least))
                        }
                    };
                    for i in 0..M {
                        let scale = vmulq_f32(d, vdupq_n_f32(a.scales[metas[i] + block]));
                        let total = &mut totals[i][quad];
                        *total = vfmaq_f32(*total, vcvtq_f32_s32(sums[i][quad]), scale);
                        if let Some(least) = least {
                            let off = vdupq_n_f32(a.sums[metas[i] + block]);
                            *total = vfmsq_f32(*total, least, off);
                        }
                    }
                }
            }
        }
        for (out, totals) in out.iter_mut().zip(totals) {
            for (out, total) in out.chunks_exact_mut(4).zip(totals) {
                vst1q_f32(out.as_mut_ptr(), total);
            }
        }
    }
}

/// With nothing but NEON (ARMv8.0: Cortex-A53).
pub(crate) unsafe fn tile_neon<const M: usize>(
    kind: Kind,
    w: &[u8],
    a: &Activations,
    row: usize,
    out: &mut [[f32; TILE]],
) {
    // SAFETY: the caller's.
    unsafe { tile::<M, PLAIN_NEON>(kind, w, a, row, out) }
}

/// With dot products of bytes.
#[target_feature(enable = "neon,dotprod")]
pub(crate) unsafe fn tile_dot<const M: usize>(
    kind: Kind,
    w: &[u8],
    a: &Activations,
    row: usize,
    out: &mut [[f32; TILE]],
) {
    // SAFETY: the caller's.
    unsafe { tile::<M, SDOT>(kind, w, a, row, out) }
}

/// With products of 2×8 by 8×2: an even number of rows.
#[target_feature(enable = "neon,i8mm")]
pub(crate) unsafe fn tile_i8mm<const M: usize>(
    kind: Kind,
    w: &[u8],
    a: &Activations,
    row: usize,
    out: &mut [[f32; TILE]],
) {
    // SAFETY: the caller's.
    unsafe { tile::<M, SMMLA>(kind, w, a, row, out) }
}

/// Activations as [`Activations`] has them, the sums of the numbers in `offsets`.
pub(crate) unsafe fn quantize(a: &mut Activations, x: &[f32]) {
    let blocks = x.chunks_exact(32).zip(a.numbers.chunks_exact_mut(32));
    let meta = a.scales.iter_mut().zip(&mut a.offsets);
    for ((x, numbers), (scale, sum)) in blocks.zip(meta) {
        // SAFETY: 8 times 4 numbers of 32, and twice 16 bytes into 32.
        unsafe {
            let x: [float32x4_t; 8] = std::array::from_fn(|i| vld1q_f32(x[i * 4..].as_ptr()));
            // Of a number and none, the number.
            let most = x
                .iter()
                .fold(vdupq_n_f32(0.0), |most, x| vmaxnmq_f32(most, vabsq_f32(*x)));
            let by;
            (*scale, by) = scale_of(vmaxnmvq_f32(most));
            // To the nearest, ties to even; none is 0, and what is too large the largest.
            let (least, bound) = (vdupq_n_s32(-127), vdupq_n_s32(127));
            let whole: [int32x4_t; 8] = std::array::from_fn(|i| {
                let whole = vcvtnq_s32_f32(vmulq_n_f32(x[i], by));
                vminq_s32(vmaxq_s32(whole, least), bound)
            });
            for (numbers, whole) in numbers.chunks_exact_mut(16).zip(whole.chunks_exact(4)) {
                let low = vcombine_s16(vmovn_s32(whole[0]), vmovn_s32(whole[1]));
                let high = vcombine_s16(vmovn_s32(whole[2]), vmovn_s32(whole[3]));
                vst1q_s8(
                    numbers.as_mut_ptr(),
                    vcombine_s8(vmovn_s16(low), vmovn_s16(high)),
                );
            }
            *sum = whole.iter().map(|whole| vaddvq_s32(*whole)).sum();
        }
    }
}
