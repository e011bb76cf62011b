//! What a product is: the reference that every other path is held against, bit for bit.

use crate::activations::Activations;
use crate::layout::{Kind, Packed, TILE, scale_of, stored};

/// One row of activations times 16 rows of weights.
pub(crate) fn tile(w: &Packed, tile: usize, a: &Activations, row: usize, out: &mut [f32; TILE]) {
    let (kind, size, parts) = (w.kind(), w.kind().packed(), w.kind().block() / 32);
    let per_row = a.columns / 32;
    for (lane, out) in out.iter_mut().enumerate() {
        let mut sum = 0f32;
        for (b, packed) in w.tile(tile).chunks_exact(size).enumerate() {
            for j in 0..parts {
                let block = row * per_row + b * parts + j;
                let numbers = &a.numbers[block * 32..][..32];
                let products = numbers.iter().enumerate().map(|(c, x)| {
                    let weight = stored(kind, packed, lane, j, c);
                    weight.wrapping_mul(i32::from(*x))
                });
                let whole = products.fold(a.offsets[block], i32::wrapping_add);
                let (scale, least) = scale_of(kind, packed, lane, j);
                sum = (whole as f32).mul_add(scale * a.scales[block], sum);
                if kind == Kind::Q4K {
                    sum = (-least).mul_add(a.sums[block], sum);
                }
            }
        }
        *out = sum;
    }
}
