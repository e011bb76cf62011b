//! Sticky quantization: new weights are quantized against an old file, so that the delta between the two is small. A block keeps
//! its old scales as long as they serve the new weights nearly as well as fresh ones would, so that only codes differ, and
//! few of them. Weights are rounded to the nearest code as always: to let codes lag behind would lose what a fine-tune has
//! learnt, which comes in steps far smaller than a code's.

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

/// Weights as a new GGUF file with the types of an old one, scales fresh and then sticky: (plain, sticky, what stuck).
///
/// `weights` is GGUF too, of floats; its metadata is kept. A tensor that the old file lacks, or has in another shape, keeps
/// the type that it comes in.
pub fn requantize(old: &[u8], weights: &[u8]) -> Result<(Vec<u8>, Vec<u8>, Stuck), Fail> {
    let was = Content::read(&mut Cursor::new(old))?;
    let mut reader = Cursor::new(weights);
    let content = Content::read(&mut reader)?;
    let floats = [GgmlDType::F32, GgmlDType::F16, GgmlDType::BF16];
    if !content.tensor_infos.values().any(|t| floats.contains(&t.ggml_dtype) && t.shape.rank() > 1) {
        return Err("the new weights are quantized already: their fine steps are gone".into());
    }
    let mut names: Vec<_> = content.tensor_infos.iter().map(|(name, t)| (t.offset, name.clone())).collect();
    names.sort();
    let (mut tensors, mut values) = (Vec::new(), Vec::new());
    for (_, name) in names {
        let tensor = content.tensor(&mut reader, &name, &Device::Cpu)?;
        let before = was.tensor_infos.get(&name).filter(|t| t.shape.dims() == tensor.shape().dims());
        let floats = tensor.dequantize(&Device::Cpu)?;
        let tensor = match before {
            Some(before) => QTensor::quantize(&floats, before.ggml_dtype)?,
            None => tensor,
        };
        values.push((name.clone(), floats.flatten_all()?.to_vec1::<f32>()?));
        tensors.push((name, tensor));
    }
    let mut meta: Vec<_> = content.metadata.iter().map(|(k, v)| (k.as_str(), v)).collect();
    meta.sort_by_key(|(key, _)| *key);
    let mut file = Cursor::new(Vec::new());
    gguf_file::write(&mut file, &meta, &tensors.iter().map(|(n, t)| (n.as_str(), t)).collect::<Vec<_>>())?;
    let plain = file.into_inner();
    let mut sticky = plain.clone();
    let of = |name: &str| values.iter().find(|(n, _)| n == name).map(|(_, values)| values.as_slice());
    let stuck = stick(old, &mut sticky, &of)?;
    Ok((plain, sticky, stuck))
}

/// Puts blocks on old scales in a freshly quantized file, where they serve; `values` are the weights before rounding.
pub fn stick<'a>(old: &[u8], file: &mut [u8], values: &dyn Fn(&str) -> Option<&'a [f32]>) -> Result<Stuck, Fail> {
    let was = Content::read(&mut Cursor::new(old))?;
    let content = Content::read(&mut Cursor::new(&*file))?;
    let mut stuck = Stuck::default();
    for (name, info) in &content.tensor_infos {
        let before = was.tensor_infos.get(name).filter(|t| t.shape == info.shape && t.ggml_dtype == info.ggml_dtype);
        let (Some(before), Some((numbers, bytes))) = (before, block_of(info.ggml_dtype)) else { continue };
        let Some(values) = values(name) else { continue };
        let rounded = content.tensor(&mut Cursor::new(&*file), name, &Device::Cpu)?.dequantize(&Device::Cpu)?;
        let rounded = rounded.flatten_all()?.to_vec1::<f32>()?;
        let old_at = (was.tensor_data_offset + before.offset) as usize;
        let new_at = (content.tensor_data_offset + info.offset) as usize;
        for (i, (weights, rounded)) in values.chunks_exact(numbers).zip(rounded.chunks_exact(numbers)).enumerate() {
            let Some(was) = old.get(old_at + i * bytes..old_at + (i + 1) * bytes) else { break };
            let Some(room) = file.get_mut(new_at + i * bytes..new_at + (i + 1) * bytes) else { break };
            let error: f32 = weights.iter().zip(rounded).map(|(w, r)| (w - r).powi(2)).sum();
            let on_old = match info.ggml_dtype {
                GgmlDType::Q4K => stick_super_block(was, weights),
                dtype => stick_block(was, weights, dtype == GgmlDType::Q4_0),
            };
            stuck.blocks += 1;
            if let Some((block, _)) = on_old.filter(|(_, old_scale)| *old_scale <= error * STICKY_ERROR) {
                room.copy_from_slice(&block);
                stuck.kept += 1;
            }
        }
    }
    Ok(stuck)
}

/// How much larger the squared error on an old scale may be than on a fresh one.
const STICKY_ERROR: f32 = 1.1;

/// The nearest code on a grid, and the squared error that remains.
fn nearest(weight: f32, step: f32, low: f32, least: f32, most: f32) -> (u8, f32) {
    let code = if step == 0.0 { 0.0 } else { ((weight + low) / step).round().clamp(least, most) };
    (code as i8 as u8, (code * step - low - weight).powi(2))
}

/// Weights on the scale of an old Q4_0 or Q8_0 block.
fn stick_block(was: &[u8], weights: &[f32], four: bool) -> Option<(Vec<u8>, f32)> {
    let step = half_to_f32(u16::from_le_bytes([*was.first()?, *was.get(1)?]));
    let (least, most) = if four { (-8.0, 7.0) } else { (-127.0, 127.0) };
    let mut block = was.to_vec();
    block.get_mut(2..)?.fill(0);
    let mut error = 0.0;
    for (i, weight) in weights.iter().enumerate() {
        let (code, off) = nearest(*weight, step, 0.0, least, most);
        error += off;
        match four {
            true => *block.get_mut(2 + i % 16)? |= (code.wrapping_add(8) & 15) << (i / 16 * 4),
            false => *block.get_mut(2 + i)? = code,
        }
    }
    Some((block, error))
}

/// Weights on the scales of an old Q4_K super-block (ggml's `block_q4_K`).
fn stick_super_block(was: &[u8], weights: &[f32]) -> Option<(Vec<u8>, f32)> {
    let half = |at: usize| Some(half_to_f32(u16::from_le_bytes([*was.get(at)?, *was.get(at + 1)?])));
    let (scale, minimum) = (half(0)?, half(2)?);
    let packed = was.get(4..16)?;
    let mut block = was.to_vec();
    block.get_mut(16..)?.fill(0);
    let mut error = 0.0;
    for (part, weights) in weights.chunks_exact(32).enumerate() {
        let at = |i: usize| packed.get(i).copied().unwrap_or(0);
        let (s, m) = match part {
            0..4 => (at(part) & 63, at(part + 4) & 63),
            _ => (at(part + 4) & 15 | at(part - 4) >> 6 << 4, at(part + 4) >> 4 | at(part) >> 6 << 4),
        };
        let (step, low) = (scale * f32::from(s), minimum * f32::from(m));
        for (i, weight) in weights.iter().enumerate() {
            let (code, off) = nearest(*weight, step, low, 0.0, 15.0);
            error += off;
            *block.get_mut(16 + part / 2 * 32 + i)? |= (code & 15) << (part % 2 * 4);
        }
    }
    Some((block, error))
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
        gguf_file::write(&mut file, &[], &[("w", &QTensor::quantize(&tensor, dtype).unwrap())]).unwrap();
        file.into_inner()
    }

    #[test]
    fn small_moves_keep_their_scales_and_the_weights_stay_as_near() {
        let old: Vec<f32> = (0..4096).map(|i: i32| ((i * 7919) % 1000 - 500) as f32 / 700.0).collect();
        let new: Vec<f32> = old.iter().enumerate().map(|(i, w)| w + ((i * 31) % 17) as f32 / 17_000.0).collect();
        for dtype in [GgmlDType::Q4_0, GgmlDType::Q8_0, GgmlDType::Q4K] {
            let (base, weights) = (gguf(&old, dtype), gguf(&new, GgmlDType::F32));
            let (plain, sticky, stuck) = requantize(&base, &weights).unwrap();
            assert!(stuck.kept * 10 > stuck.blocks, "{dtype:?}: {stuck:?}");
            let error = |file: &[u8]| {
                let content = Content::read(&mut Cursor::new(file)).unwrap();
                let tensor = content.tensor(&mut Cursor::new(file), "w", &Device::Cpu).unwrap();
                let values = tensor.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
                values.iter().zip(&new).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>()
            };
            assert!(error(&sticky) <= error(&plain) * 1.11, "{dtype:?}");
            let moved = |file: &[u8]| file.iter().zip(&base).filter(|(a, b)| a != b).count();
            assert!(moved(&sticky) <= moved(&plain), "{dtype:?}");
        }
    }

    #[test]
    fn what_is_no_gguf_is_an_error() {
        assert!(requantize(b"GGUF", b"nothing").is_err());
    }
}
