//! The layers that networks here are made of: norms, quantized matrices, attention. Whatever they read, a
//! patient or a picture, they come to the same bits on every processor.

use kernels::{Activations, Packed, Path, multiply};

use crate::factors::LowRank;
use crate::float::{EPSILON, dot, exp, gelu};

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

impl Norm {
    /// `out`: each row of `x` normed.
    pub(crate) fn of(&self, x: &[f32], out: &mut Vec<f32>) {
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
pub(crate) struct Room {
    pub(crate) activations: Activations,
    pub(crate) normal: Vec<f32>,
    product: Vec<f32>,
    attended: Vec<f32>,
}

/// Why nothing can be read by a network: something of its file does not fit together.
pub(crate) type Unfit = kernels::Misfit;

impl Linear {
    /// `out = x · weightᵀ + bias`, row by row.
    pub(crate) fn of(
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

pub(crate) fn add(x: &mut [f32], more: &[f32]) {
    x.iter_mut().zip(more).for_each(|(x, more)| *x += more);
}

impl Layer {
    /// One layer; of the last, nobody reads more than slot 0.
    pub(crate) fn of(
        &self,
        factors: Option<&[LowRank; 4]>,
        x: &mut Vec<f32>,
        room: &mut Room,
        (heads, last): (usize, bool),
    ) -> Result<(), Unfit> {
        let low = |part: usize, x: &[f32], out: &mut [f32]| {
            if let Some(factors) = factors.and_then(|factors| factors.get(part)) {
                factors.add(x, out);
            }
        };
        let width = self.out.bias.len();
        let [first, second] = &self.norms;
        let Room {
            activations,
            normal,
            product,
            attended,
        } = room;
        first.of(x, normal);
        self.qkv.of(normal, product, activations)?;
        low(0, normal, product);
        attend(product, attended, width, heads);
        if last {
            attended.truncate(width);
            x.truncate(width);
        }
        self.out.of(attended, product, activations)?;
        low(1, attended, product);
        add(x, product);
        second.of(x, normal);
        self.up.of(normal, product, activations)?;
        low(2, normal, product);
        product.iter_mut().for_each(|x| *x = gelu(*x));
        self.down.of(product, normal, activations)?;
        low(3, product, normal);
        add(x, normal);
        Ok(())
    }
}

/// Attention of every slot to every slot, head by head: `[slots, 3 × width]` to `[slots, width]`.
fn attend(qkv: &[f32], out: &mut Vec<f32>, width: usize, heads: usize) {
    let slots = qkv.len() / (3 * width).max(1);
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
