//! Blocks that have nothing before them to be coded against: new rows, new tensors, weights trained anew. What is left to know
//! of them is how often each value of each field comes, so every field is coded by how often its values came so far.

use super::layout::Storage;
use super::range::{Bit, Coder};

/// How a byte of a block is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    /// Two 4-bit codes.
    Codes,
    /// A byte of one of the kinds that a block has.
    Byte(usize),
}

/// Kinds of bytes that a block may have.
const KINDS: usize = 20;

/// What is learnt while blocks of one storage are coded.
#[derive(Debug, Clone)]
pub(super) struct Alone {
    storage: Storage,
    bytes: Vec<[Bit; 256]>,
    codes: [Bit; 16],
}

/// A value of so many bits, the highest first, each by those before it.
#[inline(always)]
fn tree<C: Coder>(coder: &mut C, models: &mut [Bit], bits: u32, value: u8) -> u8 {
    let mut node = 1usize;
    for position in (0..bits).rev() {
        let bit = value >> position & 1 == 1;
        let bit = match models.get_mut(node) {
            Some(model) => coder.bit(model, bit),
            None => coder.even(bit),
        };
        node = node << 1 | usize::from(bit);
    }
    (node & ((1 << bits) - 1)) as u8
}

impl Alone {
    /// For blocks of this storage.
    pub(super) fn new(storage: Storage) -> Self {
        Self { storage, bytes: vec![[Bit::default(); 256]; KINDS], codes: [Bit::default(); 16] }
    }

    /// What lies at a place of a block (ggml's layouts).
    #[inline(always)]
    fn field(storage: Storage, at: usize) -> Field {
        match storage {
            Storage::Q4_0 if at >= 2 => Field::Codes,
            Storage::Q4K if at >= 16 => Field::Codes,
            Storage::Q6K if at < 128 => Field::Codes,
            Storage::Q6K if at < 192 => Field::Byte(0),
            Storage::Q6K if at < 208 => Field::Byte(1),
            Storage::Q6K => Field::Byte(at - 206),
            Storage::Q8_0 => Field::Byte(at.min(2)),
            Storage::Q4_0 | Storage::Q4K | Storage::F16 | Storage::BF16 | Storage::F32 => Field::Byte(at),
        }
    }

    /// Codes whole blocks: `blocks` is read when writing and filled when reading.
    pub(super) fn code<C: Coder>(&mut self, coder: &mut C, blocks: &mut [u8]) {
        for block in blocks.chunks_exact_mut(self.storage.block().1) {
            for (at, byte) in block.iter_mut().enumerate() {
                *byte = match Self::field(self.storage, at) {
                    Field::Codes => {
                        let low = tree(coder, &mut self.codes, 4, *byte & 15);
                        low | tree(coder, &mut self.codes, 4, *byte >> 4) << 4
                    }
                    Field::Byte(kind) => match self.bytes.get_mut(kind) {
                        Some(models) => tree(coder, models, 8, *byte),
                        None => 0,
                    },
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::range::{Decoder, Encoder};
    use super::*;

    #[test]
    fn blocks_of_every_storage_come_out_as_they_went_in() {
        for storage in (0..=255).filter_map(Storage::from_number) {
            let bytes = storage.block().1 * 40;
            let blocks: Vec<u8> = (0..bytes as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 21) as u8).collect();
            let mut coder = Encoder::new();
            Alone::new(storage).code(&mut coder, &mut blocks.clone());
            let packed = coder.finish();
            let mut made = vec![0; bytes];
            Alone::new(storage).code(&mut Decoder::new(&packed), &mut made);
            assert_eq!(made, blocks, "{storage:?}");
        }
    }

    #[test]
    fn codes_that_are_not_all_as_frequent_take_less_room() {
        let blocks: Vec<u8> = (0..18_000u32).map(|i| if i % 18 < 2 { 7 } else { 0x78 + (i * i % 3) as u8 }).collect();
        let mut coder = Encoder::new();
        Alone::new(Storage::Q4_0).code(&mut coder, &mut blocks.clone());
        assert!(coder.finish().len() * 2 < blocks.len());
    }
}
