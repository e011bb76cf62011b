//! Blocks that have nothing before them to be coded against: new rows, new tensors, weights trained
//! anew. What is left to know of them is how often each value of each field comes, so every field
//! is coded by how often its values came so far.

use protocol::always;

use super::layout::Storage;
use super::range::{Coder, Symbols};

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

/// How often each byte comes: its upper half, and its lower half after each upper one.
#[derive(Debug, Clone)]
struct Bytes {
    upper: Symbols,
    lower: [Symbols; 16],
}

impl Bytes {
    #[inline(always)]
    fn code<C: Coder>(&mut self, coder: &mut C, byte: u8) -> u8 {
        let upper = self.upper.code(coder, byte >> 4);
        match self.lower.get_mut(usize::from(upper)) {
            Some(lower) => upper << 4 | lower.code(coder, byte & 15),
            None => 0,
        }
    }
}

/// What is learnt while blocks of one storage are coded.
#[derive(Debug, Clone)]
pub(super) struct Intra {
    storage: Storage,
    bytes: Vec<Bytes>,
    codes: Symbols,
}

impl Intra {
    /// For blocks of this storage.
    pub(super) fn new(storage: Storage) -> Self {
        let bytes = Bytes {
            upper: Symbols::default(),
            lower: [Symbols::default(); 16],
        };
        let known = |at| !matches!(Self::field(storage, at), Field::Byte(kind) if kind >= KINDS);
        always!((0..storage.block().1).all(known));
        Self {
            storage,
            bytes: vec![bytes; KINDS],
            codes: Symbols::default(),
        }
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
            Storage::Q4_0 | Storage::Q4K | Storage::F16 | Storage::BF16 | Storage::F32 => {
                Field::Byte(at)
            }
        }
    }

    /// Codes whole blocks: `blocks` is read when writing and filled when reading.
    pub(super) fn code<C: Coder>(&mut self, coder: &mut C, blocks: &mut [u8]) {
        always!(blocks.len().is_multiple_of(self.storage.block().1));
        for block in blocks.chunks_exact_mut(self.storage.block().1) {
            for (at, byte) in block.iter_mut().enumerate() {
                *byte = match Self::field(self.storage, at) {
                    Field::Codes => {
                        let low = self.codes.code(coder, *byte & 15);
                        low | self.codes.code(coder, *byte >> 4) << 4
                    }
                    Field::Byte(kind) => match self.bytes.get_mut(kind) {
                        Some(bytes) => bytes.code(coder, *byte),
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
            let blocks: Vec<u8> = (0..bytes as u32)
                .map(|i| (i.wrapping_mul(2_654_435_761) >> 21) as u8)
                .collect();
            let mut coder = Encoder::new();
            Intra::new(storage).code(&mut coder, &mut blocks.clone());
            let packed = coder.finish();
            let mut made = vec![0; bytes];
            Intra::new(storage).code(&mut Decoder::new(&packed), &mut made);
            assert_eq!(made, blocks, "{storage:?}");
        }
    }

    #[test]
    fn codes_that_are_not_all_as_frequent_take_less_room() {
        let blocks: Vec<u8> = (0..18_000u32)
            .map(|i| {
                if i % 18 < 2 {
                    7
                } else {
                    0x78 + (i * i % 3) as u8
                }
            })
            .collect();
        let mut coder = Encoder::new();
        Intra::new(Storage::Q4_0).code(&mut coder, &mut blocks.clone());
        assert!(coder.finish().len() * 2 < blocks.len());
    }
}
