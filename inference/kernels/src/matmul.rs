//! A product: which path, in which order.

use crate::activations::Activations;
use crate::layout::{Misfit, Packed, TILE};
use crate::plain;
use crate::pool::{Pool, Shared};

/// Which instructions are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// None in particular.
    Plain,
    /// AVX2 with fused multiply-add and half floats.
    Avx2,
    /// The same with dot products of bytes in 256 bits.
    AvxVnni,
    /// Dot products of bytes in 512 bits.
    Avx512,
    /// NEON, as every 64-bit ARM has it.
    Neon,
    /// The same with dot products of bytes.
    NeonDot,
    /// The same with products of 2×8 by 8×2 bytes.
    NeonI8mm,
}

impl Path {
    /// Those that this processor has, the plain one first and the fastest last.
    pub fn all() -> Vec<Self> {
        let mut all = vec![Self::Plain];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            if avx2 {
                all.push(Self::Avx2);
            }
            if avx2 && is_x86_feature_detected!("avxvnni") {
                all.push(Self::AvxVnni);
            }
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni")
            {
                all.push(Self::Avx512);
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            all.push(Self::Neon);
            if std::arch::is_aarch64_feature_detected!("dotprod") {
                all.push(Self::NeonDot);
                if std::arch::is_aarch64_feature_detected!("i8mm") {
                    all.push(Self::NeonI8mm);
                }
            }
        }
        all
    }

    /// The fastest that this processor has.
    pub fn best() -> Self {
        static BEST: std::sync::OnceLock<Path> = std::sync::OnceLock::new();
        *BEST.get_or_init(|| Self::all().pop().unwrap_or(Self::Plain))
    }
}

/// Rows of activations that stay in the second-level cache together.
const ROWS_TOGETHER: usize = 128;
/// Rows of activations in registers at once, at most.
const ROWS_AT_ONCE: usize = 8;

/// `out[m, rows of w] = x[m, columns of w] · wᵀ`; the same bits on every path and with any number of
/// threads.
///
/// # Errors
/// Lengths of `x` and `out` that are not those of so many rows; a path that this processor has not is
/// taken as the plain one.
pub fn multiply(
    w: &Packed,
    x: &[f32],
    out: &mut [f32],
    activations: &mut Activations,
    path: Path,
    pool: Option<&Pool>,
) -> Result<(), Misfit> {
    let rows = x.len() / w.columns();
    if !x.len().is_multiple_of(w.columns()) || out.len() != rows * w.rows() {
        return Err(Misfit::Shape);
    }
    let path = if Path::all().contains(&path) {
        path
    } else {
        Path::Plain
    };
    activations.set(x, w.columns(), w.kind().zero(), path);
    let (a, out) = (&*activations, Shared::new(out));
    let tile = |tile: usize| tile_of(w, a, tile, path, &out);
    match pool.filter(|_| w.tiles() > 1) {
        Some(pool) => pool.each(w.tiles(), &tile),
        None => (0..w.tiles()).for_each(tile),
    }
    Ok(())
}

/// All rows of activations times one tile of weights.
fn tile_of(w: &Packed, a: &Activations, tile: usize, path: Path, out: &Shared<'_>) {
    let wide = TILE.min(w.rows() - tile * TILE);
    let mut sums = [[0f32; TILE]; ROWS_AT_ONCE];
    for block in (0..a.rows).step_by(ROWS_TOGETHER) {
        let end = (block + ROWS_TOGETHER).min(a.rows);
        let mut row = block;
        while row < end {
            let done = some_rows(w, a, (tile, row, end - row), path, &mut sums);
            for (i, sums) in sums.iter().take(done).enumerate() {
                // Each tile writes columns of its own.
                out.put((row + i) * w.rows() + tile * TILE, &sums[..wide]);
            }
            row += done;
        }
    }
}

/// As many rows at once as the path can take of those that are left; how many.
fn some_rows(
    w: &Packed,
    a: &Activations,
    (tile, row, left): (usize, usize, usize),
    path: Path,
    sums: &mut [[f32; TILE]; ROWS_AT_ONCE],
) -> usize {
    match path {
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code, reason = "the processor was asked for these instructions")]
        // SAFETY: `multiply` takes only paths that the processor has.
        Path::Avx512 | Path::AvxVnni | Path::Avx2 => unsafe {
            use crate::x86::{tile_512, tile_avx2, tile_vnni};
            let (kind, packed) = (w.kind(), w.tile(tile));
            match (path, left) {
                (Path::Avx512, 8..) => tile_512::<8>(kind, packed, a, row, sums),
                (Path::Avx512, 4..) => tile_512::<4>(kind, packed, a, row, sums),
                (Path::Avx512, 2..) => tile_512::<2>(kind, packed, a, row, sums),
                (Path::Avx512, _) => tile_512::<1>(kind, packed, a, row, sums),
                (Path::AvxVnni, 4..) => tile_vnni::<4>(kind, packed, a, row, sums),
                (Path::AvxVnni, _) => tile_vnni::<1>(kind, packed, a, row, sums),
                (_, 4..) => tile_avx2::<4>(kind, packed, a, row, sums),
                (_, _) => tile_avx2::<1>(kind, packed, a, row, sums),
            }
            match (path, left) {
                (Path::Avx512, 8..) => 8,
                (_, 4..) => 4,
                (Path::Avx512, 2..) => 2,
                (_, _) => 1,
            }
        },
        #[cfg(target_arch = "aarch64")]
        #[allow(unsafe_code, reason = "the processor was asked for these instructions")]
        // SAFETY: `multiply` takes only paths that the processor has.
        Path::Neon | Path::NeonDot | Path::NeonI8mm => unsafe {
            use crate::arm::{tile_dot, tile_i8mm, tile_neon};
            let (kind, packed) = (w.kind(), w.tile(tile));
            match (path, left) {
                (Path::NeonI8mm, 4..) => tile_i8mm::<4>(kind, packed, a, row, sums),
                (Path::NeonI8mm, 2..) => tile_i8mm::<2>(kind, packed, a, row, sums),
                (Path::Neon, 4..) => tile_neon::<4>(kind, packed, a, row, sums),
                (Path::Neon, _) => tile_neon::<1>(kind, packed, a, row, sums),
                (_, 4..) => tile_dot::<4>(kind, packed, a, row, sums),
                (_, _) => tile_dot::<1>(kind, packed, a, row, sums),
            }
            match (path, left) {
                (_, 4..) => 4,
                (Path::NeonI8mm, 2..) => 2,
                (_, _) => 1,
            }
        },
        // Of another processor: `multiply` has taken the plain path instead.
        #[cfg(not(target_arch = "x86_64"))]
        Path::Avx512 | Path::AvxVnni | Path::Avx2 => 1,
        #[cfg(not(target_arch = "aarch64"))]
        Path::Neon | Path::NeonDot | Path::NeonI8mm => 1,
        Path::Plain => {
            let [first, ..] = sums;
            plain::tile(w, tile, a, row, first);
            1
        }
    }
}
