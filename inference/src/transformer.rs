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

use kernels::{Activations, Packed, Path, multiply};

use crate::encode::{Encoded, Row};
use crate::factors::{Factors, LowRank};
use crate::float::{EPSILON, dot, exp, gelu};

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

/// Weight and bias of a norm.
#[derive(Debug, Clone)]
pub(crate) struct Norm {
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
}

/// A matrix and a bias.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    pub weight: Packed,
    pub bias: Vec<f32>,
}

/// One layer.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub norms: [Norm; 2],
    pub qkv: Linear,
    pub out: Linear,
    pub up: Linear,
    pub down: Linear,
}

/// The network.
#[derive(Debug, Clone)]
pub struct Transformer {
    pub(crate) shape: Shape,
    /// What each slot is: `[slots, width]`.
    pub(crate) slots: Vec<f32>,
    /// Rows of features, n-grams and word pieces.
    pub(crate) tables: [Packed; 3],
    pub(crate) layers: Vec<Layer>,
    pub(crate) norm: Norm,
    /// Differential and urgency.
    pub(crate) heads: [Linear; 2],
    /// Of each n-gram, whether the network has learned anything of it.
    pub(crate) known: Vec<bool>,
}

impl Norm {
    fn of(&self, x: &[f32], out: &mut Vec<f32>) {
        out.clear();
        let width = self.weight.len();
        for x in x.chunks_exact(width) {
            let n = width as f32;
            let mean = x.iter().sum::<f32>() / n;
            let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / n;
            let scale = 1.0 / (variance + EPSILON).sqrt();
            let rows = x.iter().zip(self.weight.iter().zip(&self.bias));
            out.extend(rows.map(|(x, (weight, bias))| (x - mean) * scale * weight + bias));
        }
    }
}

/// Room for what lies between, kept over the layers.
#[derive(Default)]
struct Room {
    activations: Activations,
    normal: Vec<f32>,
    product: Vec<f32>,
    attended: Vec<f32>,
}

/// Why a patient cannot be read by a network: something of its file does not fit together.
type Unfit = kernels::Misfit;

impl Linear {
    /// `out = x · weightᵀ + bias`, row by row.
    fn of(
        &self,
        x: &[f32],
        out: &mut Vec<f32>,
        activations: &mut Activations,
    ) -> Result<(), Unfit> {
        out.clear();
        out.resize(
            x.len() / self.weight.columns().max(1) * self.weight.rows(),
            0.0,
        );
        multiply(&self.weight, x, out, activations, Path::best(), None)?;
        for row in out.chunks_exact_mut(self.bias.len()) {
            row.iter_mut()
                .zip(&self.bias)
                .for_each(|(out, bias)| *out += bias);
        }
        Ok(())
    }
}

fn add(x: &mut [f32], more: &[f32]) {
    x.iter_mut().zip(more).for_each(|(x, more)| *x += more);
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
        self.tables.iter().map(of).sum::<usize>()
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
            self.layer((layer, factors), &mut x, &mut room, last)?;
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

    /// One layer; of the last, nobody reads more than slot 0.
    fn layer(
        &self,
        (layer, factors): (&Layer, Option<&[LowRank; 4]>),
        x: &mut Vec<f32>,
        room: &mut Room,
        last: bool,
    ) -> Result<(), Unfit> {
        let low = |part: usize, x: &[f32], out: &mut [f32]| {
            if let Some(factors) = factors.and_then(|factors| factors.get(part)) {
                factors.add(x, out);
            }
        };
        let [first, second] = &layer.norms;
        let Room {
            activations,
            normal,
            product,
            attended,
        } = room;
        first.of(x, normal);
        layer.qkv.of(normal, product, activations)?;
        low(0, normal, product);
        self.attend(product, attended);
        if last {
            attended.truncate(self.shape.width);
            x.truncate(self.shape.width);
        }
        layer.out.of(attended, product, activations)?;
        low(1, attended, product);
        add(x, product);
        second.of(x, normal);
        layer.up.of(normal, product, activations)?;
        low(2, normal, product);
        product.iter_mut().for_each(|x| *x = gelu(*x));
        layer.down.of(product, normal, activations)?;
        low(3, product, normal);
        add(x, normal);
        Ok(())
    }

    /// Attention of every slot to every slot, head by head: `[slots, 3 × width]` to `[slots, width]`.
    fn attend(&self, qkv: &[f32], out: &mut Vec<f32>) {
        let Shape {
            slots,
            width,
            heads,
            ..
        } = self.shape;
        let size = width / heads;
        let scale = 1.0 / (size as f32).sqrt();
        let part = |slot: usize, which: usize, head: usize| {
            let from = (slot * 3 + which) * width + head * size;
            qkv.get(from..from + size).unwrap_or_default()
        };
        out.clear();
        out.resize(slots * width, 0.0);
        let mut shares = vec![0f32; slots];
        for (slot, out) in out.chunks_exact_mut(width).enumerate() {
            for (head, out) in out.chunks_exact_mut(size).enumerate() {
                let query = part(slot, 0, head);
                let mut most = f32::MIN;
                for (other, share) in shares.iter_mut().enumerate() {
                    *share = dot(query, part(other, 1, head)) * scale;
                    most = most.max(*share);
                }
                let mut all = 0f32;
                for share in &mut shares {
                    *share = exp(*share - most);
                    all += *share;
                }
                for (other, share) in shares.iter().enumerate() {
                    let share = share / all;
                    let value = part(other, 2, head);
                    out.iter_mut()
                        .zip(value)
                        .for_each(|(out, value)| *out += share * value);
                }
            }
        }
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
