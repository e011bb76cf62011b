//! Sticky quantization: new weights are quantized against an old file, so that the delta between
//! the two is small. A block keeps its old scales where they still serve, so that only codes
//! differ, and few of them.
//!
//! An old scale was chosen so that the old weights lie near its codes, away from the middle between
//! two. So weights that have drifted a little cross the middle more seldom than they should, and a
//! part of what was learnt would be lost (a third of it, measured). Where the weights before
//! rounding are known of the old model too, the drift of each tensor is therefore pushed until what
//! comes out has drifted as far as the weights have.

use std::collections::BTreeMap;
use std::io::Cursor;

use candle_core::Device;
use candle_core::quantized::gguf_file::{self, Content};
use candle_core::quantized::{GgmlDType, QTensor};

type Fail = Box<dyn std::error::Error + Send + Sync>;

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stuck {
    /// Blocks that could have kept their scales, and those that did.
    pub blocks: u64,
    /// Of them, those that kept their scales.
    pub kept: u64,
}

/// The blocks of a type: numbers, bytes.
fn block_of(dtype: GgmlDType) -> Option<(usize, usize)> {
    match dtype {
        GgmlDType::Q4_0 => Some((32, 18)),
        GgmlDType::Q8_0 => Some((32, 34)),
        GgmlDType::Q4K => Some((256, 144)),
        _ => None,
    }
}

/// Weights as a new GGUF file with the types of an old one, scales fresh and then sticky: (plain,
/// sticky, what stuck).
///
/// `weights` is GGUF too, of floats; its metadata is kept. A tensor that the old file lacks, or has
/// in another shape, keeps the type that it comes in. `old_weights`: the old model before rounding,
/// a GGUF of floats.
pub fn requantize(
    old: &[u8],
    old_weights: Option<&[u8]>,
    weights: &[u8],
) -> Result<(Vec<u8>, Vec<u8>, Stuck), Fail> {
    let was = Content::read(&mut Cursor::new(old))?;
    let mut reader = Cursor::new(weights);
    let content = Content::read(&mut reader)?;
    let floats = [GgmlDType::F32, GgmlDType::F16, GgmlDType::BF16];
    if content
        .tensor_infos
        .values()
        .any(|t| !floats.contains(&t.ggml_dtype))
    {
        return Err("the new weights are quantized already: their fine steps are gone".into());
    }
    let mut names: Vec<_> = content
        .tensor_infos
        .iter()
        .map(|(name, t)| (t.offset, name.clone()))
        .collect();
    names.sort();
    let (mut tensors, mut values) = (Vec::new(), Vec::new());
    for (_, name) in names {
        let tensor = content.tensor(&mut reader, &name, &Device::Cpu)?;
        let before = was
            .tensor_infos
            .get(&name)
            .filter(|t| t.shape.dims() == tensor.shape().dims());
        let floats = tensor.dequantize(&Device::Cpu)?;
        let tensor = match before {
            Some(before) => QTensor::quantize(&floats, before.ggml_dtype)?,
            None => tensor,
        };
        values.push((name.clone(), floats.flatten_all()?.to_vec1::<f32>()?));
        tensors.push((name, tensor));
    }
    let mut meta: Vec<_> = content
        .metadata
        .iter()
        .map(|(k, v)| (k.as_str(), v))
        .collect();
    meta.sort_by_key(|(key, _)| *key);
    let mut file = Cursor::new(Vec::new());
    gguf_file::write(
        &mut file,
        &meta,
        &tensors
            .iter()
            .map(|(n, t)| (n.as_str(), t))
            .collect::<Vec<_>>(),
    )?;
    let plain = file.into_inner();
    let mut sticky = plain.clone();
    let of = |name: &str| {
        values
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, values)| values.as_slice())
    };
    let before = old_weights.map(floats_of).transpose()?.unwrap_or_default();
    let stuck = stick(old, &mut sticky, &of, &|name| {
        before.get(name).map(Vec::as_slice)
    })?;
    Ok((plain, sticky, stuck))
}

/// The numbers of every tensor of a GGUF file.
fn floats_of(file: &[u8]) -> Result<BTreeMap<String, Vec<f32>>, Fail> {
    let mut reader = Cursor::new(file);
    let content = Content::read(&mut reader)?;
    let mut all = BTreeMap::new();
    for name in content.tensor_infos.keys() {
        let tensor = content
            .tensor(&mut reader, name, &Device::Cpu)?
            .dequantize(&Device::Cpu)?;
        all.insert(name.clone(), tensor.flatten_all()?.to_vec1::<f32>()?);
    }
    Ok(all)
}

/// Puts blocks on old scales in a freshly quantized file, where they serve; `values` are the
/// weights before rounding, and `old_values` those of the old model, as far as they are known.
pub fn stick<'a>(
    old: &[u8],
    file: &mut [u8],
    values: &dyn Fn(&str) -> Option<&'a [f32]>,
    old_values: &dyn Fn(&str) -> Option<&'a [f32]>,
) -> Result<Stuck, Fail> {
    let was = Content::read(&mut Cursor::new(old))?;
    let content = Content::read(&mut Cursor::new(&*file))?;
    let mut stuck = Stuck::default();
    for (name, info) in &content.tensor_infos {
        let before = was
            .tensor_infos
            .get(name)
            .filter(|t| t.shape == info.shape && t.ggml_dtype == info.ggml_dtype);
        let (Some(before), Some((numbers, bytes))) = (before, block_of(info.ggml_dtype)) else {
            continue;
        };
        let Some(values) = values(name) else { continue };
        let length = values.len() / numbers * bytes;
        let (old_at, new_at) = (
            was.tensor_data_offset + before.offset,
            content.tensor_data_offset + info.offset,
        );
        let blocks = old
            .get(old_at as usize..)
            .and_then(|rest| rest.get(..length));
        let Some(room) = file
            .get_mut(new_at as usize..)
            .and_then(|rest| rest.get_mut(..length))
        else {
            continue;
        };
        let choose = |((block, fresh), weights): ((&[u8], &[u8]), &[f32])| {
            let [old, fresh] = [block, fresh].map(|block| Grid::read(info.ggml_dtype, block));
            // Weights that have all grown keep their codes on a grid that has grown with them.
            let shorter =
                || old.bits(weights, block) <= fresh.bits(weights, block) + fresh.scale_bits();
            let serves = old.error(weights) <= fresh.error(weights) * STICKY_ERROR && shorter();
            (if serves { old } else { fresh }, serves)
        };
        let pairs = blocks
            .unwrap_or_default()
            .chunks_exact(bytes)
            .zip(room.chunks_exact(bytes));
        let (grids, kept): (Vec<Grid>, Vec<bool>) =
            pairs.zip(values.chunks_exact(numbers)).map(choose).unzip();
        stuck.blocks += grids.len() as u64;
        stuck.kept += kept.iter().filter(|kept| **kept).count() as u64;
        let mut pushed = values.to_vec();
        if let Some(old_values) = old_values(name).filter(|old| old.len() == values.len()) {
            let was = was
                .tensor(&mut Cursor::new(old), name, &Device::Cpu)?
                .dequantize(&Device::Cpu)?;
            let drift: Vec<f32> = values
                .iter()
                .zip(old_values)
                .map(|(new, old)| new - old)
                .collect();
            let by = push(
                &grids,
                values,
                &drift,
                &was.flatten_all()?.to_vec1::<f32>()?,
            );
            pushed
                .iter_mut()
                .zip(&drift)
                .for_each(|(weight, drift)| *weight += by * drift);
        }
        for ((grid, room), weights) in grids
            .iter()
            .zip(room.chunks_exact_mut(bytes))
            .zip(pushed.chunks_exact(numbers))
        {
            grid.write(weights, room);
        }
    }
    Ok(stuck)
}

/// How much larger the squared error on an old scale may be than on a fresh one.
const STICKY_ERROR: f32 = 1.6;
/// How far what comes out is to drift, as a share of how far the weights have. A little farther:
/// rounding on old scales is a little worse.
const DRIFT: f64 = 1.03;

/// Numbers that share a step, in all these types.
const PART: usize = 32;

/// By what share of itself the drift must be lengthened before rounding, so that the rounded
/// weights drift as far as they should from what the old file holds (`was`), measured along the
/// drift.
fn push(grids: &[Grid], weights: &[f32], drift: &[f32], was: &[f32]) -> f32 {
    let wanted = DRIFT * drift.iter().map(|d| f64::from(d * d)).sum::<f64>();
    let along = |by: f32| -> f64 {
        let parts = grids.iter().flat_map(Grid::steps);
        let numbers = weights
            .chunks(PART)
            .zip(drift.chunks(PART))
            .zip(was.chunks(PART));
        let mut sum = 0.0;
        for ((step, low, bounds), ((weights, drift), was)) in parts.zip(numbers) {
            for ((weight, drift), was) in weights.iter().zip(drift).zip(was) {
                sum += f64::from((nearest(weight + by * drift, step, low, bounds).1 - was) * drift);
            }
        }
        sum
    };
    let (mut low, mut high) = (-1.0, 4.0);
    for _ in 0..14 {
        let middle = (low + high) / 2.0;
        if along(middle) < wanted {
            low = middle
        } else {
            high = middle
        }
    }
    (low + high) / 2.0
}

/// The scales of a block: one 16-bit float, or of Q4_K two, and eight times two 6-bit numbers that
/// are measured in them.
#[derive(Debug, Clone, Copy)]
struct Grid {
    dtype: GgmlDType,
    head: [u8; 16],
}

impl Grid {
    fn read(dtype: GgmlDType, block: &[u8]) -> Self {
        let mut head = [0; 16];
        head.iter_mut()
            .zip(block)
            .take(if dtype == GgmlDType::Q4K { 16 } else { 2 })
            .for_each(|(h, b)| *h = *b);
        Self { dtype, head }
    }

    /// Of each part the step between codes, what is taken off, and the least and the largest code
    /// (ggml's `get_scale_min_k4`).
    fn steps(&self) -> Vec<(f32, f32, (f32, f32))> {
        let [d, e, m, n, packed @ ..] = &self.head;
        let half = |low: &u8, high: &u8| half_to_f32(u16::from_le_bytes([*low, *high]));
        let at = |i: usize| packed.get(i).copied().unwrap_or(0);
        match self.dtype {
            GgmlDType::Q4_0 => vec![(half(d, e), 0.0, (-8.0, 7.0))],
            GgmlDType::Q8_0 => vec![(half(d, e), 0.0, (-127.0, 127.0))],
            _ => (0..8)
                .map(|part| match part {
                    0..4 => (at(part) & 63, at(part + 4) & 63),
                    _ => (
                        at(part + 4) & 15 | at(part - 4) >> 6 << 4,
                        at(part + 4) >> 4 | at(part) >> 6 << 4,
                    ),
                })
                .map(|(scale, low)| {
                    (
                        half(d, e) * f32::from(scale),
                        half(m, n) * f32::from(low),
                        (0.0, 15.0),
                    )
                })
                .collect(),
        }
    }

    /// The squared error of these weights on this grid.
    fn error(&self, weights: &[f32]) -> f32 {
        let parts = self.steps().into_iter().zip(weights.chunks(PART));
        let part = |((step, low, bounds), weights): ((f32, f32, _), &[f32])| -> f32 {
            weights
                .iter()
                .map(|w| (nearest(*w, step, low, bounds).1 - w).powi(2))
                .sum()
        };
        parts.map(part).sum()
    }

    /// About how many bits it takes to say how the codes of these weights differ from those of an
    /// old block.
    fn bits(&self, weights: &[f32], old: &[u8]) -> f32 {
        let mut block = [0; BLOCK_BYTES_MAX];
        self.write(weights, &mut block);
        let first = if self.dtype == GgmlDType::Q4K { 16 } else { 2 };
        let apart = |(new, old): (&u8, &u8)| match self.dtype {
            GgmlDType::Q8_0 => change_bits(i32::from(*new as i8) - i32::from(*old as i8)),
            _ => [0, 4]
                .iter()
                .map(|at| change_bits(i32::from(new >> at & 15) - i32::from(old >> at & 15)))
                .sum(),
        };
        block
            .iter()
            .skip(first)
            .zip(old.iter().skip(first))
            .map(apart)
            .sum()
    }

    /// About how many bits new scales take.
    fn scale_bits(&self) -> f32 {
        if self.dtype == GgmlDType::Q4K {
            65.0
        } else {
            8.0
        }
    }

    /// Writes the block of these weights on this grid.
    fn write(&self, weights: &[f32], block: &mut [u8]) {
        block.fill(0);
        block.iter_mut().zip(self.head).for_each(|(b, h)| *b = h);
        let mut put =
            |at: usize, bits: u8| block.get_mut(at).into_iter().for_each(|byte| *byte |= bits);
        for (part, ((step, low, bounds), weights)) in self
            .steps()
            .into_iter()
            .zip(weights.chunks(PART))
            .enumerate()
        {
            for (i, weight) in weights.iter().enumerate() {
                let code = nearest(*weight, step, low, bounds).0;
                match self.dtype {
                    GgmlDType::Q8_0 => put(2 + i, code),
                    GgmlDType::Q4_0 => put(2 + i % 16, (code.wrapping_add(8) & 15) << (i / 16 * 4)),
                    _ => put(16 + part / 2 * 32 + i, (code & 15) << (part % 2 * 4)),
                }
            }
        }
    }
}

/// About how many bits a change of a code takes: measured, roughly.
fn change_bits(by: i32) -> f32 {
    if by == 0 {
        0.5
    } else {
        2.5 + 1.5 * by.unsigned_abs() as f32
    }
}

/// Bytes of the largest block.
const BLOCK_BYTES_MAX: usize = 144;

/// The nearest code on a grid, and the number that it stands for.
fn nearest(weight: f32, step: f32, low: f32, (least, most): (f32, f32)) -> (u8, f32) {
    let code = if step == 0.0 {
        0.0
    } else {
        ((weight + low) / step).round().clamp(least, most)
    };
    (code as i8 as u8, code * step - low)
}

fn half_to_f32(bits: u16) -> f32 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 0x3ff));
    let size = match exponent {
        0 => fraction * 2f32.powi(-24),
        _ => (1.0 + fraction / 1024.0) * 2f32.powi(exponent - 15),
    };
    if bits & 0x8000 == 0 { size } else { -size }
}

#[cfg(test)]
mod tests {
    use candle_core::Tensor;

    use super::*;

    fn gguf(values: &[f32], dtype: GgmlDType) -> Vec<u8> {
        let tensor = Tensor::from_slice(values, (2, values.len() / 2), &Device::Cpu).unwrap();
        let mut file = Cursor::new(Vec::new());
        gguf_file::write(
            &mut file,
            &[],
            &[("w", &QTensor::quantize(&tensor, dtype).unwrap())],
        )
        .unwrap();
        file.into_inner()
    }

    #[test]
    fn small_moves_keep_their_scales_and_what_was_learnt_is_kept() {
        let old: Vec<f32> = (0..4096)
            .map(|i: i32| ((i * 7919) % 1000 - 500) as f32 / 700.0)
            .collect();
        let new: Vec<f32> = old
            .iter()
            .enumerate()
            .map(|(i, w)| w + ((i * 31) % 17) as f32 / 17_000.0)
            .collect();
        let values = |file: &[u8]| floats_of(file).unwrap().remove("w").unwrap();
        for dtype in [GgmlDType::Q4_0, GgmlDType::Q8_0, GgmlDType::Q4K] {
            let (base, weights) = (gguf(&old, dtype), gguf(&new, GgmlDType::F32));
            let before = gguf(&old, GgmlDType::F32);
            let (plain, sticky, stuck) = requantize(&base, Some(&before), &weights).unwrap();
            assert!(stuck.kept * 10 > stuck.blocks * 9, "{dtype:?}: {stuck:?}");
            let error = |file: &[u8]| {
                values(file)
                    .iter()
                    .zip(&new)
                    .map(|(a, b)| f64::from(a - b).powi(2))
                    .sum::<f64>()
            };
            assert!(
                error(&sticky) <= error(&plain) * f64::from(STICKY_ERROR),
                "{dtype:?}"
            );
            let moved = |file: &[u8]| file.iter().zip(&base).filter(|(a, b)| a != b).count();
            assert!(moved(&sticky) <= moved(&plain), "{dtype:?}");
            let drift: Vec<f64> = new
                .iter()
                .zip(&old)
                .map(|(a, b)| f64::from(a - b))
                .collect();
            let (was, is) = (values(&base), values(&sticky));
            let along: f64 = is
                .iter()
                .zip(&was)
                .zip(&drift)
                .map(|((is, was), d)| f64::from(is - was) * d)
                .sum();
            let wanted: f64 = drift.iter().map(|d| d * d).sum();
            assert!(
                (along / wanted - DRIFT).abs() < 0.05,
                "{dtype:?}: {along} of {wanted}"
            );
        }
    }

    #[test]
    fn what_is_no_gguf_is_an_error() {
        assert!(requantize(b"GGUF", None, b"nothing").is_err());
    }
}
