//! The reference network: coded findings and a bag of words in, a differential and an urgency out.
//! The same forward pass trains and runs.
//!
//! ```text
//! features [batch, F]  ‖  mean of word embeddings [batch, E]
//!   → linear F+E → H1 → relu → linear H1 → H2 → relu → differential [batch, D]
//!                                                    → urgency      [batch, 3]
//! ```

use candle_core::{D, DType, Device, Result, Tensor};

/// Width of a word embedding.
pub const EMBEDDING: usize = 64;
/// Widths of the hidden layers; multiples of 32, the block of Q8_0.
pub const HIDDEN: [usize; 2] = [384, 256];
/// Words read of a text.
pub const WORDS_MAX: usize = 48;

/// The tensors of the network by name: `(rows, columns)`, columns a multiple of 32.
pub const MATRICES: [&str; 5] = ["words", "hidden1", "hidden2", "differential", "urgency"];

/// Weights, as tensors of one device.
#[derive(Debug, Clone)]
pub struct Network {
    /// Word embeddings `[vocabulary, EMBEDDING]`.
    pub words: Tensor,
    /// Each layer's weights `[out, in]` and bias `[out]`: hidden 1, hidden 2, differential,
    /// urgency.
    pub layers: [(Tensor, Tensor); 4],
}

/// What the network says, before calibration.
#[derive(Debug, Clone)]
pub struct Logits {
    /// `[batch, D]`.
    pub differential: Tensor,
    /// `[batch, 3]`: green, yellow, pink.
    pub urgency: Tensor,
}

/// The columns that `features` need: padded to a multiple of 32 together with the embedding.
pub fn input_columns(features: usize) -> usize {
    (features + EMBEDDING).div_ceil(32) * 32
}

/// One batch as the network reads it.
#[derive(Debug, Clone)]
pub struct Batch {
    /// `[batch, input_columns − EMBEDDING]`, zero beyond the features.
    pub features: Tensor,
    /// Word ids `[batch, words]`.
    pub words: Tensor,
    /// 1 for a word, 0 for padding: `[batch, words]`.
    pub mask: Tensor,
}

impl Batch {
    /// A batch from rows of features and of word ids.
    pub fn new(features: &[Vec<f32>], words: &[Vec<u32>]) -> Result<Self> {
        let rows = features.len();
        let columns = features
            .first()
            .map_or(0, |f| input_columns(f.len()) - EMBEDDING);
        let longest = words
            .iter()
            .map(|w| w.len().min(WORDS_MAX))
            .max()
            .unwrap_or(0)
            .max(1);
        let mut flat = Vec::with_capacity(rows * columns);
        let mut ids = Vec::with_capacity(rows * longest);
        let mut mask = Vec::with_capacity(rows * longest);
        for (row, text) in features.iter().zip(words) {
            flat.extend(
                row.iter()
                    .copied()
                    .chain(std::iter::repeat(0.0))
                    .take(columns),
            );
            let text = text.get(..text.len().min(WORDS_MAX)).unwrap_or_default();
            ids.extend(
                text.iter()
                    .copied()
                    .chain(std::iter::repeat(0))
                    .take(longest),
            );
            mask.extend((0..longest).map(|i| if i < text.len() { 1f32 } else { 0.0 }));
        }
        Ok(Self {
            features: Tensor::from_vec(flat, (rows, columns), &Device::Cpu)?,
            words: Tensor::from_vec(ids, (rows, longest), &Device::Cpu)?,
            mask: Tensor::from_vec(mask, (rows, longest), &Device::Cpu)?,
        })
    }
}

impl Network {
    /// The forward pass.
    pub fn forward(&self, batch: &Batch) -> Result<Logits> {
        let (rows, longest) = batch.words.dims2()?;
        let words = self
            .words
            .index_select(&batch.words.flatten_all()?, 0)?
            .reshape((rows, longest, EMBEDDING))?;
        let sum = words
            .broadcast_mul(&batch.mask.unsqueeze(D::Minus1)?)?
            .sum(1)?;
        let count = batch.mask.sum_keepdim(1)?.clamp(1f32, f32::MAX)?;
        let text = sum.broadcast_div(&count)?;
        let [h1, h2, differential, urgency] = &self.layers;
        let hidden = linear(&Tensor::cat(&[&batch.features, &text], 1)?, h1)?.relu()?;
        let hidden = linear(&hidden, h2)?.relu()?;
        Ok(Logits {
            differential: linear(&hidden, differential)?,
            urgency: linear(&hidden, urgency)?,
        })
    }
}

fn linear(x: &Tensor, (weight, bias): &(Tensor, Tensor)) -> Result<Tensor> {
    x.matmul(&weight.t()?)?.broadcast_add(bias)
}

/// Probabilities of one row of logits, cooled by `temperature`.
pub fn softmax(logits: &Tensor, temperature: f64) -> Result<Vec<f32>> {
    let cooled = (logits.to_dtype(DType::F32)? / temperature)?;
    let powers = cooled
        .broadcast_sub(&cooled.max_keepdim(D::Minus1)?)?
        .exp()?;
    powers
        .broadcast_div(&powers.sum_keepdim(D::Minus1)?)?
        .flatten_all()?
        .to_vec1()
}
