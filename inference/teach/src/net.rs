//! The network while it learns: embeddings summed into slots, a transformer over the slots, two heads.
//!
//! ```text
//! findings, n-grams, word pieces → sums of rows        [batch, slots, width]  + what each slot is
//!   → layers × (norm, attention over slots, norm, gelu)                        pre-norm residual
//!   → norm of slot 0 → differential [batch, labels], urgency [batch, 3]
//! ```
//!
//! The tables of rows lie outside of the graph: their sums are a leaf whose gradient is scattered into
//! the rows that were touched (a dense step over millions of rows would cost more than the network).
//! Rows that nothing has touched are zero, and so is what nobody has said.

use std::collections::BTreeMap;
use std::sync::Mutex;

use candle_core::backprop::GradStore;
use candle_core::{D, Device, Result, Tensor, Var};
use rand::{Rng, RngExt};
use rayon::prelude::*;

use inference::encode::{Encoded, GRAM_ROWS, Row};

use crate::ops::{AdamW, Attention, Gelu, LayerNorm, Moments, Rates, linear, with};

mod beside;

use beside::{Beside, ROWS_UP, is_beside};
pub use beside::{Learned, Ranks};

/// How large a network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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
    /// Labels of the differential.
    pub labels: usize,
    /// Rows of the table of features.
    pub features: usize,
    /// Rows of the table of word pieces.
    pub pieces: usize,
}

impl Shape {
    /// Weights in all.
    pub fn weights(&self) -> usize {
        let layer = 4 * self.width * self.width + 2 * self.width * self.inner;
        let tables = (self.features + self.pieces + GRAM_ROWS + self.slots) * self.width;
        self.layers * layer + tables + (self.labels + 3) * self.width
    }
}

/// A table of rows, and what AdamW keeps of them.
#[derive(Debug, Clone)]
struct Table {
    width: usize,
    rows: Vec<f32>,
    moments: Moments,
    /// Where a row's gradient is gathered in this step; `u32::MAX` where it is not.
    place: Vec<u32>,
}

impl Table {
    fn new(rows: usize, width: usize) -> Self {
        Self {
            width,
            rows: vec![0.0; rows * width],
            moments: Moments {
                mean: vec![0.0; rows * width],
                square: vec![0.0; rows * width],
            },
            place: vec![u32::MAX; rows],
        }
    }

    fn range(&self, row: usize) -> std::ops::Range<usize> {
        row * self.width..(row + 1) * self.width
    }

    fn add_to(&self, row: &Row, out: &mut [f32]) {
        let from = self.rows.get(self.range(row.row)).unwrap_or_default();
        out.iter_mut()
            .zip(from)
            .for_each(|(out, x)| *out += row.weight * x);
    }

    /// A step of the rows that these cases have touched.
    fn learn(&mut self, touched: &[(usize, Row)], g: &[f32], slots: usize, rates: &Rates) {
        let width = self.width;
        let (mut gathered, mut order) = (Vec::new(), Vec::new());
        for (case, row) in touched {
            let Some(place) = self.place.get_mut(row.row) else {
                continue;
            };
            if *place == u32::MAX {
                *place = order.len() as u32;
                order.push(row.row);
                gathered.resize(gathered.len() + width, 0f32);
            }
            let at = *place as usize * width;
            let from = (case * slots + row.slot) * width;
            let into = gathered.get_mut(at..at + width).unwrap_or_default();
            let g = g.get(from..from + width).unwrap_or_default();
            into.iter_mut()
                .zip(g)
                .for_each(|(into, g)| *into += row.weight * g);
        }
        for (row, g) in order.into_iter().zip(gathered.chunks(width)) {
            let range = self.range(row);
            let w = self.rows.get_mut(range.clone()).unwrap_or_default();
            let m = self.moments.mean.get_mut(range.clone()).unwrap_or_default();
            let v = self.moments.square.get_mut(range).unwrap_or_default();
            rates.take(w, g, m, v);
            if let Some(place) = self.place.get_mut(row) {
                *place = u32::MAX;
            }
        }
    }
}

/// Weights of the graph, by name.
#[derive(Debug)]
struct Weight {
    var: Var,
    moments: Mutex<Moments>,
    /// Matrices decay; norms and biases do not.
    decays: bool,
}

/// What a network says, before calibration.
#[derive(Debug, Clone)]
pub struct Logits {
    /// `[batch, labels]`.
    pub differential: Tensor,
    /// `[batch, 3]`.
    pub urgency: Tensor,
}

/// A network that learns.
#[derive(Debug)]
pub struct Net {
    /// How large it is.
    pub shape: Shape,
    weights: BTreeMap<String, Weight>,
    /// Features, grams, pieces.
    tables: [Table; 3],
    /// What learns in the place of all this, which is frozen then.
    beside: Option<Beside>,
}

/// The names of the tables, in order.
pub const TABLES: [&str; 3] = ["features.weight", "grams.weight", "pieces.weight"];
/// How much faster tables learn than what reads them.
const TABLES_FASTER: f32 = 2.0;
/// The length of all gradients together, at most.
const CLIP: f64 = 1.0;
const DECAY: f32 = 0.02;

impl Net {
    /// A new network, its first weights drawn.
    pub fn new(shape: Shape, rng: &mut impl Rng) -> Result<Self> {
        let mut weights = BTreeMap::new();
        let mut put = |name: String, rows: Option<usize>, columns: usize, spread: f32| {
            let count = rows.unwrap_or(1) * columns;
            // Uniform, with the spread of a normal distribution.
            let bound = spread * 3f32.sqrt();
            let drawn: Vec<f32> = match (rows, bound > 0.0) {
                (_, true) => (0..count)
                    .map(|_| rng.random_range(-bound..bound))
                    .collect(),
                (None, false) if name.ends_with(".weight") => vec![1.0; count], // a norm's
                (_, false) => vec![0.0; count],
            };
            let var = match rows {
                Some(rows) => Var::from_vec(drawn, (rows, columns), &Device::Cpu),
                None => Var::from_vec(drawn, columns, &Device::Cpu),
            };
            let weight = Weight {
                var: var?,
                moments: Mutex::default(),
                decays: rows.is_some(),
            };
            weights.insert(name, weight);
            Result::Ok(())
        };
        let (width, inner) = (shape.width, shape.inner);
        let spread = |inputs: usize| (1.0 / inputs as f32).sqrt();
        let deep = 1.0 / (2.0 * shape.layers.max(1) as f32).sqrt();
        put("slots.weight".into(), Some(shape.slots), width, 0.02)?;
        for layer in 0..shape.layers {
            let name = |part: &str| format!("layers.{layer}.{part}");
            for norm in ["norm1", "norm2"] {
                put(name(&format!("{norm}.weight")), None, width, 0.0)?;
                put(name(&format!("{norm}.bias")), None, width, 0.0)?;
            }
            for (part, inputs, outputs, scale) in [
                ("qkv", width, 3 * width, 1.0),
                ("out", width, width, deep),
                ("up", width, inner, 1.0),
                ("down", inner, width, deep),
            ] {
                put(
                    name(&format!("{part}.weight")),
                    Some(outputs),
                    inputs,
                    spread(inputs) * scale,
                )?;
                put(name(&format!("{part}.bias")), None, outputs, 0.0)?;
            }
        }
        put("norm.weight".into(), None, width, 0.0)?;
        put("norm.bias".into(), None, width, 0.0)?;
        for (head, outputs) in [("differential", shape.labels), ("urgency", 3)] {
            put(format!("{head}.weight"), Some(outputs), width, 0.02)?;
            put(format!("{head}.bias"), None, outputs, 0.0)?;
        }
        let rows = [shape.features, GRAM_ROWS, shape.pieces];
        let tables = rows.map(|rows| Table::new(rows, width));
        Ok(Self {
            shape,
            weights,
            tables,
            beside: None,
        })
    }

    fn weight(&self, name: &str) -> Result<&Tensor> {
        let weight = self.weights.get(name).map(|weight| weight.var.as_tensor());
        weight.ok_or_else(|| candle_core::Error::Msg(format!("no weight {name}")))
    }

    /// A weight as the graph takes it: one that is frozen has no gradient.
    fn taken(&self, name: &str) -> Result<Tensor> {
        let weight = self.weight(name)?;
        Ok(match self.beside.is_some() && !is_beside(name) {
            true => weight.detach(),
            false => weight.clone(),
        })
    }

    /// The sums of rows `[batch, slots, width]`.
    fn sums(&self, tables: &[Table; 3], width: usize, cases: &[Encoded]) -> Vec<f32> {
        let slots = self.shape.slots;
        let mut sums = vec![0f32; cases.len() * slots * width];
        sums.par_chunks_mut(slots * width)
            .zip(cases)
            .for_each(|(sums, case)| {
                let [features, grams, pieces] = tables;
                let of = [
                    (features, &case.features),
                    (grams, &case.grams),
                    (pieces, &case.pieces),
                ];
                for (table, rows) in of {
                    for row in rows {
                        let slot = sums.get_mut(row.slot * width..(row.slot + 1) * width);
                        table.add_to(row, slot.unwrap_or_default());
                    }
                }
            });
        sums
    }

    fn linear(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let (weight, bias) = (
            self.taken(&format!("{name}.weight"))?,
            self.taken(&format!("{name}.bias"))?,
        );
        let y = linear(x, &weight, &bias)?;
        let low = |which: &str| self.weights.get(&format!("{name}.low.{which}"));
        let Some((down, up)) = low("down").zip(low("up")) else {
            return Ok(y);
        };
        let flat = x.reshape(((), down.var.dim(1)?))?;
        let low = flat.matmul(&down.var.t()?)?.matmul(up.var.as_tensor())?;
        let low = low.reshape(y.shape())?;
        y + low
    }

    fn norm(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let (weight, bias) = (
            self.taken(&format!("{name}.weight"))?,
            self.taken(&format!("{name}.bias"))?,
        );
        x.contiguous()?.apply_op3(&weight, &bias, LayerNorm)
    }

    /// The forward pass, from sums of rows.
    fn forward_from(&self, sums: &Tensor, coefficients: Option<&Tensor>) -> Result<Logits> {
        let mut x = sums.broadcast_add(&self.taken("slots.weight")?)?;
        if let Some(coefficients) = coefficients {
            x = (x + coefficients.broadcast_matmul(self.weight(ROWS_UP)?)?)?;
        }
        let attention = || Attention {
            heads: self.shape.heads,
        };
        for layer in 0..self.shape.layers {
            let name = |part: &str| format!("layers.{layer}.{part}");
            let seen = self.linear(&self.norm(&x, &name("norm1"))?, &name("qkv"))?;
            let mut attended = seen.apply_op1(attention())?;
            if layer + 1 == self.shape.layers {
                // Of the last layer nobody reads more than the first slot.
                attended = attended.narrow(1, 0, 1)?.contiguous()?;
                x = x.narrow(1, 0, 1)?;
            }
            x = (x + self.linear(&attended, &name("out"))?)?;
            let inner = self.linear(&self.norm(&x, &name("norm2"))?, &name("up"))?;
            x = (x + self.linear(&inner.apply_op1(Gelu)?, &name("down"))?)?;
        }
        // Without layers nothing brings the slots together but their sum.
        let first = match self.shape.layers {
            0 => x.sum(1)?,
            _ => x.narrow(1, 0, 1)?.squeeze(1)?,
        };
        let first = self.norm(&first, "norm")?;
        Ok(Logits {
            differential: self.linear(&first, "differential")?,
            urgency: self.linear(&first, "urgency")?,
        })
    }

    fn leaf(&self, cases: &[Encoded]) -> Result<Var> {
        let shape = (cases.len(), self.shape.slots, self.shape.width);
        let sums = self.sums(&self.tables, self.shape.width, cases);
        Var::from_vec(sums, shape, &Device::Cpu)
    }

    /// What the network says of some patients: log-probabilities, uncalibrated.
    pub fn forward(&self, cases: &[Encoded]) -> Result<Logits> {
        let beside = self
            .leaf_beside(cases)?
            .map(|leaf| leaf.as_detached_tensor());
        let logits = self.forward_from(&self.leaf(cases)?.as_detached_tensor(), beside.as_ref())?;
        Ok(Logits {
            differential: candle_nn::ops::log_softmax(&logits.differential, D::Minus1)?.detach(),
            urgency: candle_nn::ops::log_softmax(&logits.urgency, D::Minus1)?.detach(),
        })
    }

    /// One step towards what these patients' targets say (soft labels `[batch, labels]` and
    /// `[batch, 3]`); the mean cross-entropy of both before it.
    pub fn learn(
        &mut self,
        cases: &[Encoded],
        targets: [Vec<f32>; 2],
        rate: f32,
        step: i32,
    ) -> Result<f32> {
        let (leaf, beside) = (self.leaf(cases)?, self.leaf_beside(cases)?);
        let logits = match &beside {
            None => self.forward_from(leaf.as_tensor(), None)?,
            Some(beside) => {
                self.forward_from(&leaf.as_detached_tensor(), Some(beside.as_tensor()))?
            }
        };
        let [differential, urgency] = targets;
        let entropy = |logits: &Tensor, target: Vec<f32>| {
            let target = Tensor::from_vec(target, logits.shape(), &Device::Cpu)?;
            let said = candle_nn::ops::log_softmax(logits, D::Minus1)?;
            (said * target)?.sum_all()? / -(cases.len() as f64)
        };
        let loss =
            (entropy(&logits.differential, differential)? + entropy(&logits.urgency, urgency)?)?;
        let grads = loss.backward()?;
        let long = self.length_of(&grads)?.sqrt();
        let clip = if long > CLIP { CLIP / long } else { 1.0 };
        let rates = Rates {
            rate,
            decay: 0.0,
            step,
            clip: clip as f32,
        };
        for (_, weight) in self.learning() {
            if let Some(g) = grads.get(weight.var.as_tensor()) {
                let decay = if weight.decays { DECAY } else { 0.0 };
                let step = AdamW {
                    rates: Rates { decay, ..rates },
                    moments: &weight.moments,
                };
                weight
                    .var
                    .as_tensor()
                    .inplace_op2(&g.contiguous()?, &step)?;
            }
        }
        let leaf = beside.as_ref().unwrap_or(&leaf);
        if let Some(g) = grads.get(leaf.as_tensor()) {
            let rates = Rates {
                rate: rate * TABLES_FASTER,
                ..rates
            };
            with(g, |g| {
                self.learn_rows(cases, g, &rates);
            })?;
        }
        loss.to_scalar()
    }

    /// A step of the tables that learn, of those rows that these cases have touched.
    fn learn_rows(&mut self, cases: &[Encoded], g: &[f32], rates: &Rates) {
        let slots = self.shape.slots;
        let tables = self
            .beside
            .as_mut()
            .map_or(&mut self.tables, |b| &mut b.tables);
        for (at, table) in tables.iter_mut().enumerate() {
            let rows = |case: &Encoded| match at {
                0 => case.features.clone(),
                1 => case.grams.clone(),
                _ => case.pieces.clone(),
            };
            let touched = cases.iter().enumerate();
            let touched: Vec<_> = touched
                .flat_map(|(n, case)| rows(case).into_iter().map(move |row| (n, row)))
                .collect();
            table.learn(&touched, g, slots, rates);
        }
    }

    /// The weights that learn.
    fn learning(&self) -> impl Iterator<Item = (&String, &Weight)> {
        let frozen = self.beside.is_some();
        let weights = self.weights.iter();
        weights.filter(move |(name, _)| !frozen || is_beside(name))
    }

    /// The square of the length of all gradients of the graph together.
    fn length_of(&self, grads: &GradStore) -> Result<f64> {
        let mut square = 0.0;
        for (_, weight) in self.learning() {
            if let Some(g) = grads.get(weight.var.as_tensor()) {
                square += with(g, |g| {
                    g.par_chunks(8192)
                        .map(|g| g.iter().map(|g| f64::from(g * g)).sum::<f64>())
                        .sum::<f64>()
                })?;
            }
        }
        Ok(square)
    }

    /// All weights by name, tables among them: `[rows, columns]` or `[columns]`.
    pub fn tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        let own = self
            .weights
            .iter()
            .map(|(name, weight)| Ok((name.clone(), weight.var.as_tensor().clone())));
        let tables = TABLES.iter().zip(&self.tables).map(|(name, table)| {
            let shape = (table.place.len(), table.width);
            Ok((
                (*name).to_owned(),
                Tensor::from_slice(&table.rows, shape, &Device::Cpu)?,
            ))
        });
        own.chain(tables).collect()
    }

    /// Everything that learning goes on from: weights, and the moments of each.
    pub fn checkpoint(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut all = self.tensors()?;
        let mut keep = |name: &str, moments: &Moments| {
            for (kind, of) in [("mean", &moments.mean), ("square", &moments.square)] {
                if !of.is_empty() {
                    all.insert(
                        format!("{kind}:{name}"),
                        Tensor::from_slice(of, of.len(), &Device::Cpu)?,
                    );
                }
            }
            Result::Ok(())
        };
        for (name, weight) in &self.weights {
            let moments = weight
                .moments
                .lock()
                .map_err(|_| candle_core::Error::Msg("a thread died".into()))?;
            keep(name, &moments)?;
        }
        for (name, table) in TABLES.iter().zip(&self.tables) {
            keep(name, &table.moments)?;
        }
        Ok(all)
    }

    /// Takes up where a checkpoint, or weights alone, ended.
    pub fn restore(&mut self, mut from: impl FnMut(&str) -> Option<Tensor>) -> Result<()> {
        let missing =
            |name: &str| candle_core::Error::Msg(format!("the file has no {name} of this shape"));
        let numbers = |tensor: Option<Tensor>| {
            tensor
                .map(|t| t.flatten_all()?.to_vec1::<f32>())
                .transpose()
        };
        for (name, weight) in &self.weights {
            let own = from(name).filter(|t| t.shape() == weight.var.shape());
            weight.var.set(&own.ok_or_else(|| missing(name))?)?;
            let (mean, square) = (
                numbers(from(&format!("mean:{name}")))?,
                numbers(from(&format!("square:{name}")))?,
            );
            if let (Some(mean), Some(square), Ok(mut moments)) =
                (mean, square, weight.moments.lock())
            {
                *moments = Moments { mean, square };
            }
        }
        for (name, table) in TABLES.iter().zip(&mut self.tables) {
            let rows = numbers(from(name))?.filter(|rows| rows.len() == table.rows.len());
            table.rows = rows.ok_or_else(|| missing(name))?;
            let (mean, square) = (
                numbers(from(&format!("mean:{name}")))?,
                numbers(from(&format!("square:{name}")))?,
            );
            if let (Some(mean), Some(square)) = (mean, square) {
                table.moments = Moments { mean, square };
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
