//! What stands beside a frozen network: low-rank factors of its matrices (LoRA, Hu et al. 2021) and of its
//! rows of words, and heads of its own. Nothing is merged: the base stays as it was signed.
//!
//! ```text
//! out = x · Wᵀ + bias + (x · downᵀ) · up      down [rank, inputs], up [rank, outputs]
//! slot += (Σ weight · coefficients of a row) · up      coefficients [rank], up [rank, width]
//! ```

use std::collections::BTreeMap;

use crate::encode::Encoded;
use crate::float::dot;
use crate::layers::Linear;

/// Factors beside one matrix.
#[derive(Debug, Clone)]
pub(crate) struct LowRank {
    /// `[rank, inputs]`.
    pub down: Vec<f32>,
    /// `[rank, outputs]`.
    pub up: Vec<f32>,
    pub inputs: usize,
    pub outputs: usize,
}

impl LowRank {
    /// Adds to `out` `[n, outputs]` what `x` `[n, inputs]` makes, in a fixed order.
    pub(crate) fn add(&self, x: &[f32], out: &mut [f32]) {
        let rows = x.chunks_exact(self.inputs.max(1));
        for (x, out) in rows.zip(out.chunks_exact_mut(self.outputs.max(1))) {
            let ranks = self.down.chunks_exact(self.inputs.max(1));
            for (down, up) in ranks.zip(self.up.chunks_exact(self.outputs.max(1))) {
                add(dot(x, down), up, out);
            }
        }
    }
}

fn add(times: f32, row: &[f32], out: &mut [f32]) {
    out.iter_mut()
        .zip(row)
        .for_each(|(out, x)| *out += times * x);
}

/// Factors beside the rows of the tables: features, n-grams, word pieces.
#[derive(Debug, Clone, Default)]
pub(crate) struct LowRows {
    /// Of each table, where the coefficients of a row begin; features that the base does not read have
    /// numbers beyond its own.
    pub rows: [BTreeMap<usize, usize>; 3],
    pub coefficients: Vec<f32>,
    /// `[rank, width]`.
    pub up: Vec<f32>,
    pub rank: usize,
    pub width: usize,
}

/// All that stands beside a network.
#[derive(Debug, Clone)]
pub struct Factors {
    /// Of each layer: q, k and v; out; up; down.
    pub(crate) layers: Vec<[LowRank; 4]>,
    pub(crate) rows: LowRows,
    /// Differential and urgency, in the place of the base's.
    pub(crate) heads: [Linear; 2],
}

impl Factors {
    pub(crate) fn layer(&self, at: usize) -> Option<&[LowRank; 4]> {
        self.layers.get(at)
    }

    /// Whether anything has been learned of an n-gram.
    pub(crate) fn knows_gram(&self, row: usize) -> bool {
        let [_, grams, _] = &self.rows.rows;
        grams.contains_key(&row)
    }

    /// Adds to `x` `[slots, width]` what these rows add to the base's.
    pub(crate) fn add_rows(&self, patient: &Encoded, x: &mut [f32]) {
        let LowRows {
            rows,
            coefficients,
            up,
            rank,
            width,
        } = &self.rows;
        let slots = x.len() / (*width).max(1);
        let mut sums = vec![0f32; slots * rank];
        let tables = [&patient.features, &patient.grams, &patient.pieces];
        for (known, said) in rows.iter().zip(tables) {
            for row in said {
                let Some(from) = known.get(&row.row) else {
                    continue;
                };
                let own = coefficients.get(*from..from + rank).unwrap_or_default();
                if let Some(sum) = sums.get_mut(row.slot * rank..(row.slot + 1) * rank) {
                    add(row.weight, own, sum);
                }
            }
        }
        let of = sums.chunks_exact((*rank).max(1));
        for (sum, slot) in of.zip(x.chunks_exact_mut((*width).max(1))) {
            for (sum, up) in sum.iter().zip(up.chunks_exact((*width).max(1))) {
                add(*sum, up, slot);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_what_the_product_of_their_matrices_would_add() {
        let low = LowRank {
            down: vec![1.0, 2.0, 0.5, -1.0],
            up: vec![1.0, 0.0, 3.0, 2.0, 1.0, 0.0],
            inputs: 2,
            outputs: 3,
        };
        let mut out = vec![10.0; 6];
        low.add(&[1.0, 1.0, 0.0, 2.0], &mut out);
        // ranks: 3 and -0.5; 4 and -2
        assert_eq!(out, [12.0, 9.5, 19.0, 10.0, 8.0, 22.0]);
    }
}
