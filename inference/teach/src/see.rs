//! A reader of pictures, taught by rendered ones: the same layers as the triage model's, over patches.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Mutex;

use candle_core::quantized::gguf_file::{self, Value as Meta};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{CpuStorage, CustomOp1, D, Device, Layout, Result, Shape as Extent, Tensor, Var};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use inference::pictures::SUBJECTS;
use inference::vision::{
    ARCHITECTURE, CHANNELS, GoldenPicture, Look, Picture, PictureReader, SIDE, SLOTS, Shape,
    Thresholds, channels, fold, place_of, readings, unfold, window_numbers,
};

use crate::learn::Fail;
use crate::ops::{AdamW, Attention, Gelu, LayerNorm, Moments, Rates, floats, linear, with};
use crate::pictures::{Drawn, draw, small};

mod measured;

pub use measured::{Count, Report, foes, measure};

/// How to learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Of all randomness.
    pub seed: u64,
    /// The network's shape.
    pub shape: Shape,
    /// Pictures of a step.
    pub batch: usize,
    /// Steps.
    pub steps: usize,
}

impl Plan {
    /// The reference reader.
    pub const REFERENCE: Self = Self {
        seed: 11,
        shape: Shape {
            width: 128,
            heads: 4,
            inner: 512,
            layers: 2,
        },
        batch: 48,
        steps: 2000,
    };

    /// One so small that it is made while one waits, for tests.
    pub const TINY: Self = Self {
        seed: 12,
        shape: Shape {
            width: 32,
            heads: 2,
            inner: 64,
            layers: 1,
        },
        batch: 8,
        steps: 3,
    };
}

struct Weight {
    var: Var,
    moments: Mutex<Moments>,
    decays: bool,
}

/// The network while it learns.
pub struct Tower {
    shape: Shape,
    weights: BTreeMap<String, Weight>,
}

impl Tower {
    /// A new one, its first weights drawn.
    pub fn new(shape: Shape, rng: &mut impl Rng) -> Result<Self> {
        let mut weights = BTreeMap::new();
        let mut put = |name: String, dims: Vec<usize>, first: Option<f32>| {
            let count = dims.iter().product();
            let numbers: Vec<f32> = match first {
                Some(first) => vec![first; count],
                None => {
                    let bound = (3.0 / dims.last().copied().unwrap_or(1) as f32).sqrt();
                    (0..count)
                        .map(|_| rng.random_range(-bound..bound))
                        .collect()
                }
            };
            let decays = first.is_none();
            let var = Var::from_vec(numbers, dims, &Device::Cpu)?;
            let moments = Mutex::default();
            weights.insert(
                name,
                Weight {
                    var,
                    moments,
                    decays,
                },
            );
            Result::Ok(())
        };
        let (width, inner) = (shape.width, shape.inner);
        let mut linear = |name: String, outputs: usize, inputs: usize| {
            put(format!("{name}.weight"), vec![outputs, inputs], None)?;
            put(format!("{name}.bias"), vec![outputs], Some(0.0))
        };
        let mut inputs = CHANNELS;
        for (at, outputs) in channels(width).into_iter().enumerate() {
            linear(format!("halvings.{at}"), outputs, window_numbers(inputs))?;
            inputs = outputs;
        }
        linear("what".into(), SUBJECTS.len() + 1, width)?;
        linear("readings".into(), readings(), width)?;
        for at in 0..shape.layers {
            for (part, outputs, inputs) in [
                ("qkv", 3 * width, width),
                ("out", width, width),
                ("up", inner, width),
                ("down", width, inner),
            ] {
                linear(format!("layers.{at}.{part}"), outputs, inputs)?;
            }
        }
        let norms = (0..shape.layers)
            .flat_map(|at| ["norm1", "norm2"].map(|norm| format!("layers.{at}.{norm}")));
        for name in norms.chain(["norm".to_owned()]) {
            put(format!("{name}.weight"), vec![width], Some(1.0))?;
            put(format!("{name}.bias"), vec![width], Some(0.0))?;
        }
        for (at, channels) in channels(width).into_iter().enumerate() {
            let name = format!("halvings.{at}.norm");
            put(format!("{name}.weight"), vec![channels], Some(1.0))?;
            put(format!("{name}.bias"), vec![channels], Some(0.0))?;
        }
        put("slots.weight".into(), vec![SLOTS, width], None)?;
        Ok(Self { shape, weights })
    }

    /// The network of a file, dequantized: what a foe has who has the file.
    ///
    /// # Errors
    /// What is no such file.
    pub fn of_file(file: &[u8]) -> std::result::Result<Self, Fail> {
        let mut reader = Cursor::new(file);
        let content = gguf_file::Content::read(&mut reader)?;
        let shape = content.metadata.get("kijiti.shape").ok_or("no shape")?;
        let shape: Shape = serde_json::from_str(shape.to_string()?)?;
        let mut tower = Self::new(shape, &mut ChaCha8Rng::seed_from_u64(0))?;
        for (name, weight) in &mut tower.weights {
            let tensor = content.tensor(&mut reader, name, &Device::Cpu)?;
            weight.var = Var::from_tensor(&tensor.dequantize(&Device::Cpu)?)?;
        }
        Ok(tower)
    }

    fn weight(&self, name: &str) -> Result<&Tensor> {
        let weight = self.weights.get(name).map(|weight| weight.var.as_tensor());
        weight.ok_or_else(|| candle_core::Error::Msg(format!("no weight {name}")))
    }

    fn linear(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let weight = self.weight(&format!("{name}.weight"))?;
        linear(x, weight, self.weight(&format!("{name}.bias"))?)
    }

    fn norm(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let (weight, bias) = (
            self.weight(&format!("{name}.weight"))?,
            self.weight(&format!("{name}.bias"))?,
        );
        x.contiguous()?.apply_op3(weight, bias, LayerNorm)
    }

    /// What pictures are, and their readings, as logits, from pixels `[batch, 112 · 112, 4]`.
    pub fn forward(&self, pixels: &Tensor) -> Result<[Tensor; 2]> {
        let (batch, width) = (pixels.dim(0)?, self.shape.width);
        let (mut patches, mut side) = (pixels.clone(), SIDE);
        for at in 0..4 {
            let name = format!("halvings.{at}");
            let windows = patches.contiguous()?.apply_op1(Unfold { side })?;
            patches = self.norm(&self.linear(&windows, &name)?, &format!("{name}.norm"))?;
            patches = patches.apply_op1(Gelu)?;
            side /= 2;
        }
        let first = Tensor::zeros((batch, 1, width), patches.dtype(), &Device::Cpu)?;
        let mut x =
            Tensor::cat(&[&first, &patches], 1)?.broadcast_add(self.weight("slots.weight")?)?;
        let heads = self.shape.heads;
        for layer in 0..self.shape.layers {
            let name = |part: &str| format!("layers.{layer}.{part}");
            let seen = self.linear(&self.norm(&x, &name("norm1"))?, &name("qkv"))?;
            let mut attended = seen.apply_op1(Attention { heads })?;
            if layer + 1 == self.shape.layers {
                // Of the last layer nobody reads more than the first slot.
                attended = attended.narrow(1, 0, 1)?.contiguous()?;
                x = x.narrow(1, 0, 1)?;
            }
            x = (x + self.linear(&attended, &name("out"))?)?;
            let inner = self.linear(&self.norm(&x, &name("norm2"))?, &name("up"))?;
            x = (x + self.linear(&inner.apply_op1(Gelu)?, &name("down"))?)?;
        }
        let first = self.norm(&x.narrow(1, 0, 1)?.squeeze(1)?, "norm")?;
        Ok([
            self.linear(&first, "what")?,
            self.linear(&first, "readings")?,
        ])
    }

    /// The mean cross-entropy of what these pictures are, and of the readings of those that are something.
    fn loss(&self, patches: &Tensor, drawn: &[Drawn]) -> Result<Tensor> {
        let [what, reads] = self.forward(patches)?;
        let whats = SUBJECTS.len() + 1;
        let mut is = vec![0f32; drawn.len() * whats];
        for (row, drawn) in is.chunks_mut(whats).zip(drawn) {
            if let Some(is) = row.get_mut(drawn.subject.unwrap_or(SUBJECTS.len())) {
                *is = 1.0;
            }
        }
        let entropy = |logits: &Tensor, target: Vec<f32>| {
            let target = Tensor::from_vec(target, logits.shape(), &Device::Cpu)?;
            let said = candle_nn::ops::log_softmax(logits, D::Minus1)?;
            (said * target)?.sum_all()? / -(drawn.len() as f64)
        };
        let mut loss = entropy(&what, is)?;
        for subject in &SUBJECTS {
            let Some((at, from)) = place_of(subject) else {
                continue;
            };
            let count = subject.readings.len();
            let mut reads_so = vec![0f32; drawn.len() * count];
            for (row, drawn) in reads_so.chunks_mut(count).zip(drawn) {
                if drawn.subject == Some(at)
                    && let Some(so) = row.get_mut(drawn.reading)
                {
                    *so = 1.0;
                }
            }
            let own = reads.narrow(D::Minus1, from, count)?.contiguous()?;
            loss = (loss + entropy(&own, reads_so)?)?;
        }
        Ok(loss)
    }

    fn learn(&self, drawn: &[Drawn], rate: f32, step: i32) -> Result<f32> {
        let loss = self.loss(&pixels_of(drawn)?, drawn)?;
        let grads = loss.backward()?;
        let mut long = 0f64;
        for weight in self.weights.values() {
            if let Some(g) = grads.get(weight.var.as_tensor()) {
                long += with(g, |g| g.iter().map(|g| f64::from(g * g)).sum::<f64>())?;
            }
        }
        let clip = (1.0 / long.sqrt().max(1e-12)).min(1.0) as f32;
        for weight in self.weights.values() {
            if let Some(g) = grads.get(weight.var.as_tensor()) {
                let decay = if weight.decays { 0.02 } else { 0.0 };
                let step = AdamW {
                    rates: Rates {
                        rate,
                        decay,
                        step,
                        clip,
                    },
                    moments: &weight.moments,
                };
                weight
                    .var
                    .as_tensor()
                    .inplace_op2(&g.contiguous()?, &step)?;
            }
        }
        loss.to_scalar()
    }

    /// Pictures changed a little, within `far` of each byte, so that this network is most wrong about them
    /// (Madry et al. 2018): what a foe can do who has the file.
    ///
    /// # Errors
    /// What the library says.
    pub fn fool(&self, drawn: &[Drawn], far: u8, rounds: usize) -> Result<Vec<Picture>> {
        let far = f32::from(far) / 64.0;
        let first = pixels_of(drawn)?;
        let mut now = first.clone();
        // What is always the same stays.
        let colours = Tensor::new(&[1f32, 1.0, 1.0, 0.0], &Device::Cpu)?;
        for _ in 0..rounds {
            let leaf = Var::from_tensor(&now)?;
            let grads = self.loss(leaf.as_tensor(), drawn)?.backward()?;
            let Some(g) = grads.get(leaf.as_tensor()) else {
                break;
            };
            let step =
                (g.sign()? * f64::from(2.5 * far / rounds as f32))?.broadcast_mul(&colours)?;
            let moved = ((leaf.as_tensor() + step)? - &first)?.clamp(-far, far)?;
            now = (&first + moved)?.clamp(-2.0f32, 127.0f32 / 64.0)?;
        }
        let all: Vec<f32> = now.flatten_all()?.to_vec1()?;
        let size = SIDE * SIDE * CHANNELS;
        Ok(all.chunks(size).map(picture_of).collect())
    }
}

fn pixels_of(drawn: &[Drawn]) -> Result<Tensor> {
    let all: Vec<f32> = drawn.iter().flat_map(|d| d.picture.numbers()).collect();
    Tensor::from_vec(all, (drawn.len(), SIDE * SIDE, CHANNELS), &Device::Cpu)
}

/// A picture of its numbers.
fn picture_of(numbers: &[f32]) -> Picture {
    let byte = |x: &f32| (x * 64.0 + 128.0).round().clamp(0.0, 255.0) as u8;
    let colours = numbers
        .chunks_exact(CHANNELS)
        .flat_map(|pixel| pixel.iter().take(3));
    Picture::new(colours.map(byte).collect()).unwrap_or_else(Picture::black)
}

/// The windows of pictures, and the way back.
struct Unfold {
    side: usize,
}

impl CustomOp1 for Unfold {
    fn name(&self) -> &'static str {
        "unfold"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Extent)> {
        let (batch, _, channels) = layout.shape().dims3()?;
        let x = floats(x, layout)?;
        let windows = self.side * self.side / 4;
        let one = x.par_chunks(self.side * self.side * channels);
        let out: Vec<Vec<f32>> = one
            .map(|x| {
                let mut out = Vec::with_capacity(windows * window_numbers(channels));
                unfold(x, self.side, channels, &mut out);
                out
            })
            .collect();
        let extent = Extent::from((batch, windows, window_numbers(channels)));
        Ok((CpuStorage::F32(out.concat()), extent))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        let (batch, pixels, channels) = x.dims3()?;
        let size = g.dim(1)? * g.dim(2)?;
        let back = with(g, |g| {
            let mut back = vec![0f32; batch * pixels * channels];
            back.par_chunks_mut(pixels * channels)
                .zip(g.par_chunks(size))
                .for_each(|(back, g)| fold(g, self.side, channels, back));
            back
        })?;
        Ok(Some(Tensor::from_vec(back, x.shape(), &Device::Cpu)?))
    }
}

/// The n-th picture of a seed: one of seven is of nothing.
pub fn nth(seed: u64, n: u64) -> Drawn {
    one_of(seed, n, (n % (SUBJECTS.len() as u64 + 1)) as usize)
}

/// The n-th picture of a seed, of this subject; beyond the last one, of nothing.
fn one_of(seed: u64, n: u64, at: usize) -> Drawn {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(n);
    draw(SUBJECTS.get(at).map(|_| at), &mut rng)
}

fn some(seed: u64, from: usize, count: usize) -> Vec<Drawn> {
    let numbers = from..from + count;
    numbers
        .into_par_iter()
        .map(|n| nth(seed, n as u64))
        .collect()
}

/// Learns, step after step; `told` hears of each step's loss.
///
/// # Errors
/// What the library says.
pub fn learn(plan: Plan, told: &mut dyn FnMut(usize, f32)) -> std::result::Result<Tower, Fail> {
    let tower = Tower::new(plan.shape, &mut ChaCha8Rng::seed_from_u64(plan.seed))?;
    let warm = (plan.steps / 20).max(1);
    for step in 0..plan.steps {
        let numbers = step * plan.batch..(step + 1) * plan.batch;
        let lesson = |n: usize| {
            // What shows in thin lines and small dots takes twice as many pictures.
            let at = [0, 0, 1, 1, 2, 3, 4, 5, 6][n % 9];
            one_of(plan.seed, n as u64, at)
        };
        let mut drawn: Vec<_> = numbers.into_par_iter().map(lesson).collect();
        // After a while also pictures that were made to fool it.
        if step > plan.steps / 2 && step % 8 == 0 {
            let fooled = tower.fool(&drawn, 6, 2)?;
            drawn
                .iter_mut()
                .zip(fooled)
                .for_each(|(d, p)| d.picture = p);
        }
        let share = step.saturating_sub(warm) as f32 / (plan.steps - warm).max(1) as f32;
        let cosine = 0.02 + 0.49 * (1.0 + (std::f32::consts::PI * share).cos());
        let rate = 1.5e-3 * cosine * ((step + 1) as f32 / warm as f32).min(1.0);
        let loss = tower.learn(&drawn, rate, step as i32 + 1)?;
        if !loss.is_finite() {
            return Err(format!("step {step} has lost its way").into());
        }
        told(step + 1, loss);
    }
    Ok(tower)
}

/// A file of a network, with these thresholds, golden pictures and card.
fn write(
    tower: &Tower,
    thresholds: &Thresholds,
    golden: &[GoldenPicture],
    card: &str,
) -> std::result::Result<Vec<u8>, Fail> {
    let subjects: Vec<_> = SUBJECTS.iter().map(|s| (s.name, s.readings)).collect();
    let meta = [
        ("general.architecture", ARCHITECTURE.to_owned()),
        ("kijiti.shape", serde_json::to_string(&tower.shape)?),
        ("kijiti.subjects", serde_json::to_string(&subjects)?),
        ("kijiti.thresholds", serde_json::to_string(thresholds)?),
        ("kijiti.golden", serde_json::to_string(golden)?),
        ("kijiti.card", card.to_owned()),
    ];
    let meta: Vec<_> = meta.map(|(key, text)| (key, Meta::String(text))).into();
    let mut tensors = Vec::new();
    for (name, weight) in &tower.weights {
        let matrix = name.ends_with(".weight") && weight.var.dims().len() == 2;
        let stored = match matrix && name != "slots.weight" {
            true => GgmlDType::Q8_0,
            false => GgmlDType::F32,
        };
        tensors.push((name, QTensor::quantize(weight.var.as_tensor(), stored)?));
    }
    let mut file = Cursor::new(Vec::new());
    let meta: Vec<_> = meta.iter().map(|(key, value)| (*key, value)).collect();
    let tensors: Vec<_> = tensors.iter().map(|(name, t)| (name.as_str(), t)).collect();
    gguf_file::write(&mut file, &meta, &tensors)?;
    Ok(file.into_inner())
}

/// Nothing set yet.
const OPEN: Thresholds = Thresholds {
    what_temperature: 1.0,
    reading_temperature: 1.0,
    is_above: 0.0,
    sure_above: 0.0,
};

/// Pictures that thresholds are set on: of no other seed.
const SET_ON: u64 = 0x5E7;
/// Pictures that are reported on.
const REPORTED: u64 = 0xBEA7;
/// Of readings that are given, so many may be wrong.
const WRONG_AT_MOST: f64 = 0.02;
/// Golden pictures of a file.
const GOLDEN: usize = 14;

/// A file for phones: thresholds set on pictures of their own, golden pictures, a card.
///
/// # Errors
/// What the library says.
pub fn pack(tower: &Tower, plan: Plan, pictures: usize) -> std::result::Result<Vec<u8>, Fail> {
    let draft = |thresholds: &Thresholds, golden: &[GoldenPicture], card: &str| {
        write(tower, thresholds, golden, card)
    };
    let none = [GoldenPicture {
        pixels: String::new(),
        what: Vec::new(),
    }];
    let open = PictureReader::load("draft", &draft(&OPEN, &none, "draft")?)?;
    let set_on = some(SET_ON, 0, pictures);
    // How sure it is of each reading, and whether rightly.
    let mut sure: Vec<(f32, bool)> = set_on
        .par_iter()
        .filter_map(|drawn| {
            let at = drawn.subject?;
            let subject = SUBJECTS.get(at)?;
            match open.look(&drawn.picture, subject) {
                Ok(Look::Reads(reading, p)) => {
                    Some((p, subject.readings.get(drawn.reading) == Some(&reading)))
                }
                _ => None,
            }
        })
        .collect();
    sure.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut wrong, mut above) = (0usize, 1f32);
    for (count, (p, right)) in sure.iter().enumerate() {
        wrong += usize::from(!right);
        if wrong as f64 <= WRONG_AT_MOST * (count + 1) as f64 {
            above = *p;
        }
    }
    let thresholds = Thresholds {
        is_above: 0.5,
        sure_above: above.max(0.5),
        ..OPEN
    };
    let golden: std::result::Result<Vec<_>, _> = (0..GOLDEN)
        .map(|n| open.golden_of(&small(&nth(SET_ON + 1, n as u64).picture)))
        .collect();
    let golden = golden?;
    let measured = PictureReader::load("draft", &draft(&thresholds, &golden, "draft")?)?;
    let report = measure(&measured, pictures);
    let card = format!(
        "Kijiti reference reader of pictures. NOT CLINICALLY VALIDATED: taught by drawings only, to prove the path.\n\
         For: telling a worker what a photograph of a rapid test, slide, MUAC tape, eye, mouth or skin may show. Never for: deciding.\n\
         Taught in {} steps of {} rendered pictures by `kijiti-teach see --seed {} --steps {}`. On {pictures} others: {:.3} of those that are \
         something are read, {:.3} of them rightly; of pictures of nothing {:.3} are read.",
        plan.steps,
        plan.batch,
        plan.seed,
        plan.steps,
        report.all.read(),
        report.all.right(),
        report.nothing.read(),
    );
    draft(&thresholds, &golden, &card)
}

#[cfg(test)]
mod tests;
