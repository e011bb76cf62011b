//! The reference network as it runs: embeddings summed into slots, a transformer over the slots, two
//! heads; matrices quantized.
//!
//! ```text
//! findings, n-grams, word pieces → sums of rows           [slots, width]   + what each slot is
//!   → layers × (norm, attention over slots, norm, gelu)   pre-norm, residual; of the last, slot 0 alone
//!   → norm of slot 0 → differential [labels], urgency [3]
//! ```
//!
//! Every sum is made in an order of its own ([`kernels`], [`crate::float`]), and no function of a platform's
//! library is called: a phone comes to the same bits as the desk, whatever its processor.

use kernels::{Packed, Table};

use crate::encode::{Encoded, Row};
use crate::factors::Factors;
use crate::float::exp;
use crate::layers::{Layer, Linear, Norm, Room, Unfit, add};

/// How large a network is. Sizes are checked before anything is read ([`crate::model`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Slots.
    pub slots: usize,
    /// Width of a slot.
    pub width: usize,
    /// Heads of attention.
    pub heads: usize,
    /// Width between the two products of a layer.
    pub inner: usize,
    /// Layers.
    pub layers: usize,
    /// Slots of n-grams and of word pieces.
    pub text: [usize; 2],
}

impl Shape {
    /// Whether a network of this shape can be, and is none that a phone would choke on.
    pub fn is_sound(&self) -> bool {
        (1..=32).contains(&self.slots)
            && (32..=1024).contains(&self.width)
            && self.width.is_multiple_of(32)
            && (1..=32).contains(&self.heads)
            && self.width.is_multiple_of(self.heads)
            && (32..=4096).contains(&self.inner)
            && self.inner.is_multiple_of(32)
            && self.layers <= 24
            && self.text.iter().all(|slot| *slot < self.slots)
    }
}

/// The network.
#[derive(Debug, Clone)]
pub struct Transformer {
    pub(crate) shape: Shape,
    /// What each slot is: `[slots, width]`.
    pub(crate) slots: Vec<f32>,
    /// Rows of features, n-grams and word pieces.
    pub(crate) tables: [Table; 3],
    pub(crate) layers: Vec<Layer>,
    pub(crate) norm: Norm,
    /// Differential and urgency.
    pub(crate) heads: [Linear; 2],
    /// Of each n-gram, whether the network has learned anything of it.
    pub(crate) known: Vec<bool>,
}

impl Transformer {
    /// The network's shape.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Weights in all.
    pub fn weights(&self) -> usize {
        let of = |w: &Packed| w.rows() * w.columns();
        let layer = |l: &Layer| {
            [&l.qkv, &l.out, &l.up, &l.down]
                .iter()
                .map(|l| of(&l.weight))
                .sum::<usize>()
        };
        self.tables
            .iter()
            .map(|table| table.rows() * table.columns())
            .sum::<usize>()
            + self.layers.iter().map(layer).sum::<usize>()
            + self
                .heads
                .iter()
                .map(|head| of(&head.weight))
                .sum::<usize>()
    }

    /// The share of a text's n-grams of which the network has learned something; 1 where nothing was
    /// said.
    pub fn understood(&self, patient: &Encoded, beside: Option<&Factors>) -> f32 {
        let beside = |row: usize| beside.is_some_and(|beside| beside.knows_gram(row));
        let known =
            |row: &&Row| self.known.get(row.row).copied().unwrap_or_default() || beside(row.row);
        match patient.grams.len() {
            0 => 1.0,
            all => patient.grams.iter().filter(known).count() as f32 / all as f32,
        }
    }

    /// What it says of a patient, before calibration: differential and urgency, as logits; with what
    /// stands beside it, if anything does.
    ///
    /// # Errors
    /// Where the parts of its file do not fit together, or its weights give no numbers.
    pub fn forward(
        &self,
        patient: &Encoded,
        beside: Option<&Factors>,
    ) -> Result<[Vec<f32>; 2], Unfit> {
        let (width, mut x) = (self.shape.width, self.slots.clone());
        let tables = self.tables.iter();
        for (table, rows) in tables.zip([&patient.features, &patient.grams, &patient.pieces]) {
            for row in rows {
                if let Some(slot) = x.get_mut(row.slot * width..(row.slot + 1) * width) {
                    table.add_row(row.row, row.weight, slot);
                }
            }
        }
        if let Some(beside) = beside {
            beside.add_rows(patient, &mut x);
        }
        let mut room = Room::default();
        for (at, layer) in self.layers.iter().enumerate() {
            let factors = beside.and_then(|beside| beside.layer(at));
            let last = at + 1 == self.layers.len();
            layer.of(factors, &mut x, &mut room, (self.shape.heads, last))?;
        }
        if self.layers.is_empty() {
            // Without layers nothing brings the slots together but their sum.
            let (first, others) = x.split_at_mut(width);
            others.chunks_exact(width).for_each(|slot| add(first, slot));
        }
        x.truncate(width);
        // Quantized activations have no place for what is no number: it is refused before they hide it.
        if !x.iter().all(|x| x.is_finite()) {
            return Err(Unfit::NotFinite);
        }
        self.norm.of(&x, &mut room.normal);
        let [mut differential, mut urgency] = [Vec::new(), Vec::new()];
        let [first, second] = beside.map_or(&self.heads, |beside| &beside.heads);
        first.of(&room.normal, &mut differential, &mut room.activations)?;
        second.of(&room.normal, &mut urgency, &mut room.activations)?;
        Ok([differential, urgency])
    }
}

/// Probabilities of logits, cooled by `temperature`.
pub fn softmax(logits: &[f32], temperature: f64) -> Vec<f32> {
    let cooled = logits.iter().map(|logit| *logit / temperature as f32);
    let cooled: Vec<f32> = cooled.collect();
    let most = cooled.iter().copied().fold(f32::MIN, f32::max);
    let powers: Vec<f32> = cooled.iter().map(|logit| exp(logit - most)).collect();
    let all: f32 = powers.iter().sum();
    powers.iter().map(|power| power / all).collect()
}
