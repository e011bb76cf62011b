//! Fused training operations on candle tensors (CPU, f32): bias, layer norm, gelu, attention over
//! short rows, AdamW. Of elementary operations each would make several passes over memory and keep
//! what lies between for the way back; so a step takes a third of the time.
//!
//! Each is tried against candle's own elementary operations, forward and backward, in the tests.

use std::sync::Mutex;

use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, Error, InplaceOp2, Layout, Result, Shape, Storage,
    Tensor,
};
use inference::float::{EPSILON, dot, exp, gelu, gelu_slope};
use rayon::prelude::*;

/// Numbers that one thread takes at a time.
const CHUNK: usize = 8192;

pub(crate) fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let all = storage.as_slice::<f32>()?;
    let (from, count) = (layout.start_offset(), layout.shape().elem_count());
    match layout.is_contiguous() {
        true => all
            .get(from..from + count)
            .ok_or_else(|| Error::Msg("out of its storage".into())),
        false => Err(Error::Msg("not contiguous".into())),
    }
}

/// Does something with a tensor's numbers where they lie.
pub(crate) fn with<R>(tensor: &Tensor, work: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(cpu) => Ok(work(floats(cpu, layout)?)),
        Storage::Cuda(_) | Storage::Metal(_) => Err(Error::Msg("not in this memory".into())),
    }
}

/// A sum in sixteen parts, which the processor adds side by side.
fn sum(x: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let (chunks, rest) = x.as_chunks::<16>();
    let mut parts = [0f32; 16];
    for chunk in chunks {
        parts
            .iter_mut()
            .zip(chunk)
            .for_each(|(part, x)| *part += of(*x));
    }
    parts.iter().sum::<f32>() + rest.iter().map(|x| of(*x)).sum::<f32>()
}

/// Adds `a` times `x`.
fn add(y: &mut [f32], a: f32, x: &[f32]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += a * x);
}

/// Rows of `x` times the rows of `weight`, and a bias: `[…, k]` and `[n, k]` to `[…, n]`.
///
/// # Errors
/// Shapes that do not fit.
pub(crate) fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let mut dims = x.dims().to_vec();
    let inputs = dims.pop().unwrap_or(1);
    dims.push(bias.elem_count());
    let x = x.contiguous()?.reshape(((), inputs))?;
    let y = x.matmul(&weight.t()?)?;
    y.apply_op2(bias, Bias)?.reshape(dims)
}

/// Adds a bias `[n]` to each row of `[…, n]`.
pub struct Bias;

impl CustomOp2 for Bias {
    fn name(&self) -> &'static str {
        "bias"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, b) = (floats(x, xl)?, floats(b, bl)?);
        let mut out = x.to_vec();
        out.par_chunks_mut(b.len())
            .with_min_len(32)
            .for_each(|row| add(row, 1.0, b));
        Ok((CpuStorage::F32(out), xl.shape().clone()))
    }

    fn bwd(
        &self,
        _: &Tensor,
        b: &Tensor,
        _: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let n = b.elem_count();
        let sums = with(g, |g| {
            let of = |rows: &[f32]| {
                let mut sums = vec![0f32; n];
                rows.chunks(n).for_each(|row| add(&mut sums, 1.0, row));
                sums
            };
            // Added in their order: which thread took which part must not show.
            let parts: Vec<_> = g.par_chunks(n * 128).map(of).collect();
            let mut sums = vec![0f32; n];
            parts.iter().for_each(|part| add(&mut sums, 1.0, part));
            sums
        })?;
        Ok((
            Some(g.clone()),
            Some(Tensor::from_vec(sums, n, g.device())?),
        ))
    }
}

/// The gaussian error unit ([`inference::float::gelu`]).
pub struct Gelu;

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = floats(x, layout)?;
        let mut out = vec![0f32; x.len()];
        let chunks = out.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK));
        chunks.for_each(|(out, x)| {
            for (out, x) in out.iter_mut().zip(x) {
                *out = gelu(*x);
            }
        });
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(x.apply_op2_no_bwd(&g.contiguous()?, &GeluBack)?))
    }
}

struct GeluBack;

impl CustomOp2 for GeluBack {
    fn name(&self) -> &'static str {
        "gelu-back"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        g: &CpuStorage,
        gl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, g) = (floats(x, xl)?, floats(g, gl)?);
        let mut out = vec![0f32; x.len()];
        let chunks = out
            .par_chunks_mut(CHUNK)
            .zip(x.par_chunks(CHUNK))
            .zip(g.par_chunks(CHUNK));
        chunks.for_each(|((out, x), g)| {
            for ((out, x), g) in out.iter_mut().zip(x).zip(g) {
                *out = g * gelu_slope(*x);
            }
        });
        Ok((CpuStorage::F32(out), xl.shape().clone()))
    }
}

/// Layer norm over the last dimension (Ba et al. 2016), with weight and bias.
pub struct LayerNorm;

/// Mean, and one over the spread.
fn moments(x: &[f32]) -> (f32, f32) {
    let n = x.len() as f32;
    let mean = sum(x, |x| x) / n;
    let variance = sum(x, |x| (x - mean) * (x - mean)) / n;
    (mean, 1.0 / (variance + EPSILON).sqrt())
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, w, b) = (floats(x, xl)?, floats(w, wl)?, floats(b, bl)?);
        let n = w.len();
        let mut out = vec![0f32; x.len()];
        let rows = out.par_chunks_mut(n).zip(x.par_chunks(n)).with_min_len(16);
        rows.for_each(|(out, x)| {
            let (mean, scale) = moments(x);
            for ((out, x), (w, b)) in out.iter_mut().zip(x).zip(w.iter().zip(b)) {
                *out = (x - mean) * scale * w + b;
            }
        });
        Ok((CpuStorage::F32(out), xl.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _: &Tensor,
        _: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let n = w.elem_count();
        let back = with(x, |x| with(w, |w| with(g, |g| norm_back(x, w, g))))???;
        let (gx, gw, gb) = back;
        let device = x.device();
        let made = |of: Vec<f32>| Tensor::from_vec(of, n, device);
        Ok((
            Some(Tensor::from_vec(gx, x.shape(), device)?),
            Some(made(gw)?),
            Some(made(gb)?),
        ))
    }
}

/// Gradients of a layer norm: of its input, weight and bias.
fn norm_back(x: &[f32], w: &[f32], g: &[f32]) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let n = w.len();
    let mut gx = vec![0f32; x.len()];
    let some = 64 * n;
    let rows = gx
        .par_chunks_mut(some)
        .zip(x.par_chunks(some))
        .zip(g.par_chunks(some));
    let parts = rows.map(|((gx, x), g)| {
        let (mut gw, mut gb) = (vec![0f32; n], vec![0f32; n]);
        for ((gx, x), g) in gx.chunks_mut(n).zip(x.chunks(n)).zip(g.chunks(n)) {
            let (mean, scale) = moments(x);
            let (mut a, mut b) = (0f32, 0f32);
            // In the place of the result: the normal form, until it is needed no more.
            for ((((gx, x), g), w), (gw, gb)) in gx
                .iter_mut()
                .zip(x)
                .zip(g)
                .zip(w)
                .zip(gw.iter_mut().zip(gb.iter_mut()))
            {
                let normal = (x - mean) * scale;
                *gx = normal;
                a += g * w;
                b += g * w * normal;
                *gw += g * normal;
                *gb += g;
            }
            let (a, b) = (a / n as f32, b / n as f32);
            for ((gx, g), w) in gx.iter_mut().zip(g).zip(w) {
                *gx = scale * (g * w - a - *gx * b);
            }
        }
        (gw, gb)
    });
    // Added in their order, as above.
    let parts: Vec<_> = parts.collect();
    let (mut gw, mut gb) = (vec![0f32; n], vec![0f32; n]);
    for (part_w, part_b) in &parts {
        add(&mut gw, 1.0, part_w);
        add(&mut gb, 1.0, part_b);
    }
    (gx, gw, gb)
}

/// Attention of every slot to every slot (Vaswani et al. 2017), over few slots: queries, keys and
/// values side by side `[batch, slots, 3 × width]` to `[batch, slots, width]`.
pub struct Attention {
    /// Heads.
    pub heads: usize,
}

/// Where things lie within one case.
#[derive(Clone, Copy)]
struct Rows {
    slots: usize,
    width: usize,
    head: usize,
}

impl Rows {
    fn of(layout: &Layout, heads: usize) -> Result<Self> {
        let (_, slots, three) = layout.shape().dims3()?;
        let (width, head) = (three / 3, three / 3 / heads);
        Ok(Self { slots, width, head })
    }

    /// One head's part of a slot's queries (0), keys (1) or values (2).
    fn part(&self, slot: usize, which: usize, head: usize) -> std::ops::Range<usize> {
        let from = (slot * 3 + which) * self.width + head * self.head;
        from..from + self.head
    }

    /// How much each slot attends to each, for one head.
    fn shares(&self, x: &[f32], head: usize, shares: &mut [f32]) {
        let scale = 1.0 / (self.head as f32).sqrt();
        for (slot, shares) in shares.chunks_mut(self.slots).enumerate() {
            let query = x.get(self.part(slot, 0, head)).unwrap_or_default();
            let mut most = f32::MIN;
            for (other, share) in shares.iter_mut().enumerate() {
                let key = x.get(self.part(other, 1, head)).unwrap_or_default();
                *share = dot(query, key) * scale;
                most = most.max(*share);
            }
            let mut all = 0.0;
            for share in shares.iter_mut() {
                *share = exp(*share - most);
                all += *share;
            }
            shares.iter_mut().for_each(|share| *share /= all);
        }
    }
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, all) = (Rows::of(layout, self.heads)?, floats(x, layout)?);
        let Rows {
            slots,
            width,
            head: size,
        } = rows;
        let mut out = vec![0f32; all.len() / 3];
        let cases = out
            .par_chunks_mut(slots * width)
            .zip(all.par_chunks(slots * width * 3));
        cases.for_each(|(out, x)| {
            let mut shares = vec![0f32; slots * slots];
            for head in 0..self.heads {
                rows.shares(x, head, &mut shares);
                for (out, shares) in out.chunks_mut(width).zip(shares.chunks(slots)) {
                    let out = out
                        .get_mut(head * size..(head + 1) * size)
                        .unwrap_or_default();
                    for (other, share) in shares.iter().enumerate() {
                        add(
                            out,
                            *share,
                            x.get(rows.part(other, 2, head)).unwrap_or_default(),
                        );
                    }
                }
            }
        });
        let batch = all.len() / (slots * width * 3).max(1);
        Ok((CpuStorage::F32(out), Shape::from((batch, slots, width))))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, g: &Tensor) -> Result<Option<Tensor>> {
        let back = AttentionBack { heads: self.heads };
        Ok(Some(x.apply_op2_no_bwd(&g.contiguous()?, &back)?))
    }
}

struct AttentionBack {
    heads: usize,
}

impl CustomOp2 for AttentionBack {
    fn name(&self) -> &'static str {
        "attention-back"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        g: &CpuStorage,
        gl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, x, g) = (Rows::of(xl, self.heads)?, floats(x, xl)?, floats(g, gl)?);
        let Rows {
            slots,
            width,
            head: size,
        } = rows;
        let scale = 1.0 / (size as f32).sqrt();
        let mut out = vec![0f32; x.len()];
        let cases = out
            .par_chunks_mut(slots * width * 3)
            .zip(x.par_chunks(slots * width * 3));
        cases
            .zip(g.par_chunks(slots * width))
            .for_each(|((out, x), g)| {
                let mut shares = vec![0f32; slots * slots];
                let mut back = vec![0f32; slots];
                let of = |range| x.get(range).unwrap_or_default();
                for head in 0..self.heads {
                    rows.shares(x, head, &mut shares);
                    for (slot, shares) in shares.chunks(slots).enumerate() {
                        let from = slot * width + head * size;
                        let g = g.get(from..from + size).unwrap_or_default();
                        let mut mean = 0f32;
                        for (other, (back, share)) in back.iter_mut().zip(shares).enumerate() {
                            let value = rows.part(other, 2, head);
                            *back = dot(g, of(value.clone()));
                            mean += *back * share;
                            add(out.get_mut(value).unwrap_or_default(), *share, g);
                        }
                        for (other, (back, share)) in back.iter().zip(shares).enumerate() {
                            let by = share * (back - mean) * scale;
                            let (query, key) =
                                (rows.part(slot, 0, head), rows.part(other, 1, head));
                            add(
                                out.get_mut(query.clone()).unwrap_or_default(),
                                by,
                                of(key.clone()),
                            );
                            add(out.get_mut(key).unwrap_or_default(), by, of(query));
                        }
                    }
                }
            });
        Ok((CpuStorage::F32(out), xl.shape().clone()))
    }
}

/// The means of gradients and of their squares that AdamW keeps.
#[derive(Debug, Default, Clone)]
pub struct Moments {
    /// Of gradients.
    pub mean: Vec<f32>,
    /// Of their squares.
    pub square: Vec<f32>,
}

/// One step of AdamW (Loshchilov and Hutter 2019).
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// How far a step goes.
    pub rate: f32,
    /// How much of each weight is taken away a step, times the rate.
    pub decay: f32,
    /// Which step this is, from 1.
    pub step: i32,
    /// By what gradients are multiplied, so that all together are no longer than allowed.
    pub clip: f32,
}

const BETAS: [f32; 2] = [0.9, 0.98];

impl Rates {
    /// Takes a step of some weights.
    pub fn take(&self, w: &mut [f32], g: &[f32], mean: &mut [f32], square: &mut [f32]) {
        let [b1, b2] = BETAS;
        let (c1, c2) = (
            1.0 / (1.0 - b1.powi(self.step)),
            1.0 / (1.0 - b2.powi(self.step)),
        );
        for ((w, g), (m, v)) in w.iter_mut().zip(g).zip(mean.iter_mut().zip(square)) {
            let g = g * self.clip;
            *m = b1 * *m + (1.0 - b1) * g;
            *v = b2 * *v + (1.0 - b2) * g * g;
            *w -= self.rate * (*m * c1 / ((*v * c2).sqrt() + 1e-8) + self.decay * *w);
        }
    }
}

/// AdamW in one pass over weights, moments and gradient.
pub struct AdamW<'a> {
    /// The rates of this step.
    pub rates: Rates,
    /// The moments of these weights.
    pub moments: &'a Mutex<Moments>,
}

impl InplaceOp2 for AdamW<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(&self, w: &mut CpuStorage, wl: &Layout, g: &CpuStorage, gl: &Layout) -> Result<()> {
        let (count, from) = (wl.shape().elem_count(), wl.start_offset());
        let g = floats(g, gl)?;
        let CpuStorage::F32(w) = w else {
            return Err(Error::Msg("weights of another type".into()));
        };
        let w = w.get_mut(from..from + count).unwrap_or_default();
        let mut moments = self
            .moments
            .lock()
            .map_err(|_| Error::Msg("a thread died".into()))?;
        moments.mean.resize(count, 0.0);
        moments.square.resize(count, 0.0);
        let Moments { mean, square } = &mut *moments;
        let chunks = w.par_chunks_mut(CHUNK).zip(g.par_chunks(CHUNK));
        let moments = mean.par_chunks_mut(CHUNK).zip(square.par_chunks_mut(CHUNK));
        chunks
            .zip(moments)
            .for_each(|((w, g), (m, v))| self.rates.take(w, g, m, v));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
