//! The same product with the instructions of x86: AVX2, AVX-VNNI (256 bits) and AVX-512 VNNI.
//!
//! Safety, of every function here: the caller has asked the processor for its features ([`crate::Path`])
//! and holds weights, activations and output of the shapes that [`crate::multiply`] has checked; all
//! loads and stores lie within the slices that are passed.

use std::arch::x86_64::*;

use crate::activations::{Activations, scale_of};
use crate::layout::{Kind, TILE};

/// Bytes that a single row's product asks for ahead: the processor's own prefetch leaves a third of the
/// memory's speed unused.
const AHEAD: usize = 4096;

/// Four activations as one lane.
#[inline(always)]
fn four(numbers: &[i8], at: usize) -> i32 {
    let four = &numbers[at..at + 4];
    i32::from_le_bytes([four[0] as u8, four[1] as u8, four[2] as u8, four[3] as u8])
}

#[inline(always)]
fn load(bytes: &[u8], at: usize) -> *const u8 {
    bytes[at..at + 64].as_ptr()
}

/// Rows of activations, and where the scales of each begin.
#[inline(always)]
fn rows_of<const M: usize>(a: &Activations, row: usize) -> ([&[i8]; M], [usize; M]) {
    let rows = std::array::from_fn(|i| &a.numbers[(row + i) * a.columns..][..a.columns]);
    (rows, std::array::from_fn(|i| (row + i) * (a.columns / 32)))
}

/// 32 weights of four bits of 16 rows, times `M` rows of activations.
macro_rules! nibbles_512 {
    ($acc:ident, $rows:expr, $packed:expr, $at:expr, $base:expr) => {{
        let low = _mm512_set1_epi8(15);
        let v: [__m512i; 4] =
            std::array::from_fn(|g| _mm512_loadu_si512(load($packed, $base + g * 64).cast()));
        for (g, v) in v.iter().enumerate() {
            let part = _mm512_and_si512(*v, low);
            for i in 0..M {
                let x = _mm512_set1_epi32(four($rows[i], $at + g * 4));
                $acc[i] = _mm512_dpbusd_epi32($acc[i], part, x);
            }
        }
        for (g, v) in v.iter().enumerate() {
            let part = _mm512_and_si512(_mm512_srli_epi16::<4>(*v), low);
            for i in 0..M {
                let x = _mm512_set1_epi32(four($rows[i], $at + 16 + g * 4));
                $acc[i] = _mm512_dpbusd_epi32($acc[i], part, x);
            }
        }
    }};
}

/// Asks for the bytes that a single row's product will need.
#[inline(always)]
fn fetch<const M: usize>(block: &[u8]) {
    if M == 1 {
        let ahead = block.as_ptr().wrapping_add(AHEAD).cast::<i8>();
        for at in (0..block.len()).step_by(64) {
            // SAFETY: any address may be asked for.
            #[allow(unused_unsafe, reason = "safe where the processor is known to have it")]
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(at));
            }
        }
    }
}

/// `M` rows of activations from `row` on, times 16 rows of weights.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(crate) unsafe fn tile_512<const M: usize>(
    kind: Kind,
    w: &[u8],
    a: &Activations,
    row: usize,
    out: &mut [[f32; TILE]],
) {
    // SAFETY: the same features.
    let sums: [__m512; M] = unsafe {
        match kind {
            Kind::Q4_0 => blocks_512::<M, false>(w, a, row),
            Kind::Q8_0 => blocks_512::<M, true>(w, a, row),
            Kind::Q4K => supers_512(w, a, row),
        }
    };
    for (out, sum) in out.iter_mut().zip(sums) {
        // SAFETY: 16 numbers into 16.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), sum) };
    }
}

/// Of blocks of 32: four bits a weight, or eight.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn blocks_512<const M: usize, const EIGHT: bool>(
    w: &[u8],
    a: &Activations,
    row: usize,
) -> [__m512; M] {
    let (rows, metas) = rows_of::<M>(a, row);
    let mut sums = [_mm512_setzero_ps(); M];
    let size = if EIGHT {
        Kind::Q8_0.packed()
    } else {
        Kind::Q4_0.packed()
    };
    for (b, packed) in w.chunks_exact(size).enumerate() {
        fetch::<M>(packed);
        let mut acc: [__m512i; M] =
            std::array::from_fn(|i| _mm512_set1_epi32(a.offsets[metas[i] + b]));
        // SAFETY: `load` and the ranges check their bounds.
        unsafe {
            if EIGHT {
                for g in 0..8 {
                    let v = _mm512_loadu_si512(load(packed, 32 + g * 64).cast());
                    for i in 0..M {
                        let x = _mm512_set1_epi32(four(rows[i], b * 32 + g * 4));
                        acc[i] = _mm512_dpbusd_epi32(acc[i], v, x);
                    }
                }
            } else {
                nibbles_512!(acc, rows, packed, b * 32, 32);
            }
            let scales = _mm512_cvtph_ps(_mm256_loadu_si256(packed[..32].as_ptr().cast()));
            for i in 0..M {
                let scale = _mm512_mul_ps(scales, _mm512_set1_ps(a.scales[metas[i] + b]));
                sums[i] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[i]), scale, sums[i]);
            }
        }
    }
    sums
}

/// Of blocks of 256, with a scale and a least for each 32.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn supers_512<const M: usize>(w: &[u8], a: &Activations, row: usize) -> [__m512; M] {
    let (rows, metas) = rows_of::<M>(a, row);
    let mut sums = [_mm512_setzero_ps(); M];
    for (b, packed) in w.chunks_exact(Kind::Q4K.packed()).enumerate() {
        fetch::<M>(packed);
        // SAFETY: the ranges check their bounds.
        unsafe {
            let halves = |at: usize| {
                _mm512_cvtph_ps(_mm256_loadu_si256(packed[at..at + 32].as_ptr().cast()))
            };
            let bytes = |at: usize| {
                let bytes = _mm_loadu_si128(packed[at..at + 16].as_ptr().cast());
                _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))
            };
            let (d, least) = (halves(0), halves(32));
            for j in 0..8 {
                let block = b * 8 + j;
                let scales = _mm512_mul_ps(d, bytes(64 + j * 32));
                let leasts = _mm512_mul_ps(least, bytes(80 + j * 32));
                let mut acc = [_mm512_setzero_si512(); M];
                nibbles_512!(acc, rows, packed, block * 32, 320 + j * 256);
                for i in 0..M {
                    let scale = _mm512_mul_ps(scales, _mm512_set1_ps(a.scales[metas[i] + block]));
                    sums[i] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[i]), scale, sums[i]);
                    let off = _mm512_set1_ps(a.sums[metas[i] + block]);
                    sums[i] = _mm512_fnmadd_ps(leasts, off, sums[i]);
                }
            }
        }
    }
    sums
}

/// Four products and their sum into each lane of 256 bits.
macro_rules! dot_256 {
    ($acc:expr, $weights:expr, $numbers:expr) => {{
        let numbers = _mm256_set1_epi32($numbers);
        $acc = match VNNI {
            true => _mm256_dpbusd_avx_epi32($acc, $weights, numbers),
            // Weights up to 15: no pair of products leaves 16 bits.
            false => {
                let pairs = _mm256_maddubs_epi16($weights, numbers);
                _mm256_add_epi32($acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
            }
        };
    }};
}

/// 32 weights of four bits of 8 rows, times `M` rows of activations.
macro_rules! nibbles_256 {
    ($acc:ident, $rows:expr, $packed:expr, $at:expr, $base:expr, $side:expr) => {{
        let low = _mm256_set1_epi8(15);
        for g in 0..4 {
            let v = _mm256_loadu_si256(load($packed, $base + g * 64).add($side * 32).cast());
            let high = _mm256_and_si256(_mm256_srli_epi16::<4>(v), low);
            let v = _mm256_and_si256(v, low);
            for i in 0..M {
                dot_256!($acc[i], v, four($rows[i], $at + g * 4));
                dot_256!($acc[i], high, four($rows[i], $at + 16 + g * 4));
            }
        }
    }};
}

/// Half of the 16 rows, in registers of 256 bits.
///
/// # Safety
/// As for [`tile_512`]; which instructions there are, the two callers say.
#[inline(always)]
unsafe fn half<const M: usize, const VNNI: bool>(
    kind: Kind,
    w: &[u8],
    a: &Activations,
    row: usize,
    side: usize,
    out: &mut [[f32; TILE]],
) {
    // SAFETY: the caller's.
    let sums: [__m256; M] = unsafe {
        match kind {
            Kind::Q4_0 => blocks_256::<M, VNNI, false>(w, a, row, side),
            Kind::Q8_0 => blocks_256::<M, VNNI, true>(w, a, row, side),
            Kind::Q4K => supers_256::<M, VNNI>(w, a, row, side),
        }
    };
    for (out, sum) in out.iter_mut().zip(sums) {
        // SAFETY: 8 numbers into 8.
        unsafe { _mm256_storeu_ps(out[side * 8..side * 8 + 8].as_mut_ptr(), sum) };
    }
}

#[inline(always)]
unsafe fn blocks_256<const M: usize, const VNNI: bool, const EIGHT: bool>(
    w: &[u8],
    a: &Activations,
    row: usize,
    side: usize,
) -> [__m256; M] {
    let (rows, metas) = rows_of::<M>(a, row);
    // SAFETY: `load` and the ranges check their bounds; the instructions are the caller's to know.
    unsafe {
        let (flip, one) = (_mm256_set1_epi8(-128), _mm256_set1_epi16(1));
        let mut sums = [_mm256_setzero_ps(); M];
        let size = if EIGHT {
            Kind::Q8_0.packed()
        } else {
            Kind::Q4_0.packed()
        };
        let signed = EIGHT && !VNNI;
        for (b, packed) in w.chunks_exact(size).enumerate() {
            let offset = |i: usize| if signed { 0 } else { a.offsets[metas[i] + b] };
            let mut acc: [__m256i; M] = std::array::from_fn(|i| _mm256_set1_epi32(offset(i)));
            if EIGHT {
                for g in 0..8 {
                    let v = _mm256_loadu_si256(load(packed, 32 + g * 64).add(side * 32).cast());
                    for i in 0..M {
                        let x = four(rows[i], b * 32 + g * 4);
                        if VNNI {
                            dot_256!(acc[i], v, x);
                        } else {
                            // Products of 255 and 127 would leave 16 bits when two are added: the signed weight's
                            // sign goes to the activation instead. A weight of -128 is 128 without its sign, and
                            // an activation is -127 at least.
                            let weight = _mm256_xor_si256(v, flip);
                            let x = _mm256_sign_epi8(_mm256_set1_epi32(x), weight);
                            let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(weight), x);
                            acc[i] = _mm256_add_epi32(acc[i], _mm256_madd_epi16(pairs, one));
                        }
                    }
                }
            } else {
                nibbles_256!(acc, rows, packed, b * 32, 32, side);
            }
            let scales = packed[side * 16..side * 16 + 16].as_ptr().cast();
            let scales = _mm256_cvtph_ps(_mm_loadu_si128(scales));
            for i in 0..M {
                let scale = _mm256_mul_ps(scales, _mm256_set1_ps(a.scales[metas[i] + b]));
                sums[i] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(acc[i]), scale, sums[i]);
            }
        }
        sums
    }
}

#[inline(always)]
unsafe fn supers_256<const M: usize, const VNNI: bool>(
    w: &[u8],
    a: &Activations,
    row: usize,
    side: usize,
) -> [__m256; M] {
    let (rows, metas) = rows_of::<M>(a, row);
    // SAFETY: as for `blocks_256`.
    unsafe {
        let mut sums = [_mm256_setzero_ps(); M];
        for (b, packed) in w.chunks_exact(Kind::Q4K.packed()).enumerate() {
            let halves = |at: usize| {
                let from = at + side * 16;
                _mm256_cvtph_ps(_mm_loadu_si128(packed[from..from + 16].as_ptr().cast()))
            };
            let bytes = |at: usize| {
                let from = at + side * 8;
                let bytes = _mm_loadl_epi64(packed[from..from + 8].as_ptr().cast());
                _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes))
            };
            let (d, least) = (halves(0), halves(32));
            for j in 0..8 {
                let block = b * 8 + j;
                let scales = _mm256_mul_ps(d, bytes(64 + j * 32));
                let leasts = _mm256_mul_ps(least, bytes(80 + j * 32));
                let mut acc = [_mm256_setzero_si256(); M];
                nibbles_256!(acc, rows, packed, block * 32, 320 + j * 256, side);
                for i in 0..M {
                    let scale = _mm256_mul_ps(scales, _mm256_set1_ps(a.scales[metas[i] + block]));
                    sums[i] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(acc[i]), scale, sums[i]);
                    let off = _mm256_set1_ps(a.sums[metas[i] + block]);
                    sums[i] = _mm256_fnmadd_ps(leasts, off, sums[i]);
                }
            }
        }
        sums
    }
}

/// As [`tile_512`], without VNNI.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn tile_avx2<const M: usize>(
    kind: Kind,
    w: &[u8],
    a: &Activations,
    row: usize,
    out: &mut [[f32; TILE]],
) {
    // SAFETY: as for `tile_512`.
    (0..2).for_each(|side| unsafe { half::<M, false>(kind, w, a, row, side, out) });
}

/// As [`tile_512`], with VNNI in 256 bits.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
pub(crate) unsafe fn tile_vnni<const M: usize>(
    kind: Kind,
    w: &[u8],
    a: &Activations,
    row: usize,
    out: &mut [[f32; TILE]],
) {
    // SAFETY: as for `tile_512`.
    (0..2).for_each(|side| unsafe { half::<M, true>(kind, w, a, row, side, out) });
}

/// Activations as [`Activations`] has them, the sums of the numbers in `offsets`.
#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) unsafe fn quantize(a: &mut Activations, x: &[f32]) {
    let blocks = x.chunks_exact(32).zip(a.numbers.chunks_exact_mut(32));
    let meta = a.scales.iter_mut().zip(&mut a.offsets);
    let (sign, bound) = (_mm256_set1_ps(-0.0), _mm256_set1_ps(127.0));
    let least = _mm256_set1_ps(-127.0);
    // Where packing has left the fours of each half.
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    for ((x, numbers), (scale, sum)) in blocks.zip(meta) {
        // SAFETY: 4 times 8 numbers of 32, and 32 bytes into 32.
        unsafe {
            let x: [__m256; 4] = std::array::from_fn(|i| _mm256_loadu_ps(x[i * 8..].as_ptr()));
            // Where the first is no number, the second is taken.
            let most = x.iter().fold(_mm256_setzero_ps(), |most, x| {
                _mm256_max_ps(_mm256_andnot_ps(sign, *x), most)
            });
            let most = _mm_max_ps(
                _mm256_castps256_ps128(most),
                _mm256_extractf128_ps::<1>(most),
            );
            let most = _mm_max_ps(most, _mm_movehl_ps(most, most));
            let most = _mm_max_ss(most, _mm_shuffle_ps::<1>(most, most));
            let by;
            (*scale, by) = scale_of(_mm_cvtss_f32(most));
            let by = _mm256_set1_ps(by);
            let whole: [__m256i; 4] = std::array::from_fn(|i| {
                let product = _mm256_mul_ps(x[i], by);
                let number = _mm256_cmp_ps::<_CMP_ORD_Q>(product, product);
                let product = _mm256_min_ps(_mm256_max_ps(product, least), bound);
                _mm256_cvtps_epi32(_mm256_and_ps(product, number))
            });
            let halves = [
                _mm256_packs_epi32(whole[0], whole[1]),
                _mm256_packs_epi32(whole[2], whole[3]),
            ];
            let packed = _mm256_packs_epi16(halves[0], halves[1]);
            let packed = _mm256_permutevar8x32_epi32(packed, order);
            _mm256_storeu_si256(numbers.as_mut_ptr().cast(), packed);
            let both = _mm256_add_epi32(
                _mm256_add_epi32(whole[0], whole[1]),
                _mm256_add_epi32(whole[2], whole[3]),
            );
            let four = _mm_add_epi32(
                _mm256_castsi256_si128(both),
                _mm256_extracti128_si256::<1>(both),
            );
            let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b1110>(four));
            *sum = _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<1>(two)));
        }
    }
}
