//! Deltas: a release made out of an earlier one, in as few bytes as we know how.
//!
//! ```text
//! delta (all numbers little-endian; varint: seven bits a byte, lowest first, the top bit says that more follow)
//!   0   8   "KJDELTA" 0x01
//!   8   32  BLAKE3 of the base
//!   40  32  BLAKE3 of the target
//!   72  8   bytes of the base
//!   80  8   bytes of the target
//!   88      operations, each making the next bytes of the target, until they are all made
//!
//! operation 1, copy      varint offset in the base · varint bytes
//! operation 2, plain     varint offset and varint bytes of a stretch of the base that serves as dictionary ·
//!                        varint bytes made · varint bytes packed · a zstd frame (RFC 8878)
//! operation 3, blocks    u8 storage (`layout::Storage`) · u8 1 if a tensor begins here, else 0 · varint offset in the base ·
//!                        varint numbers in a row · varint blocks · varint bytes packed · range-coded blocks (`blocks`)
//! operation 5, intra     u8 storage · varint blocks · varint bytes packed · range-coded blocks (`intra`)
//!                        (4 was an earlier form of it)
//! ```
//! What is learnt about one storage (`blocks::Model`, `intra::Intra`) is carried from operation to
//! operation. A phone that applies a delta reads the base at offsets, holds one operation at a
//! time, and believes nothing until the digest of the whole is right: wrong or hostile bytes give
//! an error or a wrong digest, never more bytes than were signed for.

mod blocks;
mod encode;
mod intra;
pub mod layout;
mod numbers;
mod range;

use std::collections::BTreeMap;

use protocol::Digest;
use protocol::always;

use blocks::Model;
pub use encode::{EncodeOptions, encode};
use intra::Intra;
use layout::Storage;
use range::Decoder;

const MAGIC: &[u8; 8] = b"KJDELTA\x01";
const HEAD_BYTES: u64 = 88;

/// Bytes that one operation may make.
const MADE_MAX: u64 = 8 << 20;
/// Bytes of a dictionary.
const DICTIONARY_MAX: u64 = 8 << 20;
/// Bytes of blocks that one operation makes, as we write them.
const SLICE_BYTES: usize = 512 << 10;
/// Numbers in a row of a tensor.
const COLUMNS_MAX: u64 = 4 << 20;

const _: () = assert!(HEAD_BYTES == 8 + 2 * 32 + 2 * 8, "as drawn above");
const _: () = assert!(SLICE_BYTES as u64 <= MADE_MAX, "what we write is applied");
const _: () = assert!(2 * (DICTIONARY_MAX / 4) + MADE_MAX / 2 <= DICTIONARY_MAX);
const _: () = assert!(DICTIONARY_MAX + MADE_MAX <= 1 << 25, "zstd reaches it");

/// Why a delta is not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeltaError {
    /// Not a delta, or cut short.
    #[error("not a whole delta: {0}")]
    Malformed(&'static str),
    /// Made for another base.
    #[error("the delta starts from bundle {needed}, not from {held}")]
    WrongBase {
        /// The base it was made for.
        needed: Digest,
        /// The base that was given.
        held: Digest,
    },
    /// Makes another target than was signed.
    #[error("the delta makes bundle {makes}, not {wanted}")]
    WrongTarget {
        /// What it says it makes.
        makes: Digest,
        /// What was asked for.
        wanted: Digest,
    },
    /// Would make more bytes than the target has: a bomb.
    #[error("the delta would make more than the {0} bytes that were signed")]
    Bomb(u64),
    /// What came out is not the target.
    #[error("what the delta made is not bundle {0}")]
    NotTheTarget(Digest),
    /// Reading the base or the delta, or keeping what was made, has failed.
    #[error("{0}")]
    Failed(String),
}

/// Bytes that can be read anywhere: a file on a phone, a slice in a test.
pub trait ReadAt {
    /// How many there are.
    fn bytes(&self) -> u64;
    /// Fills `room` from `offset`; an error says why not.
    fn read_at(&self, offset: u64, room: &mut [u8]) -> Result<(), String>;
}

impl ReadAt for [u8] {
    fn bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, room: &mut [u8]) -> Result<(), String> {
        let start = usize::try_from(offset).map_err(|e| e.to_string())?;
        let from = start
            .checked_add(room.len())
            .and_then(|end| self.get(start..end));
        room.copy_from_slice(from.ok_or("beyond the end")?);
        Ok(())
    }
}

/// The head of a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// What it starts from.
    pub base: Digest,
    /// What it makes.
    pub target: Digest,
    /// Bytes of the base.
    pub base_bytes: u64,
    /// Bytes of the target.
    pub target_bytes: u64,
}

impl Head {
    fn to_bytes(self) -> Vec<u8> {
        let numbers = [
            self.base_bytes.to_le_bytes(),
            self.target_bytes.to_le_bytes(),
        ]
        .concat();
        let bytes: Vec<u8> = [&MAGIC[..], &self.base.0, &self.target.0, &numbers].concat();
        always!(bytes.len() as u64 == HEAD_BYTES);
        always!(Self::read(bytes.as_slice()).is_ok_and(|head| head == self));
        bytes
    }

    /// Reads the head of a delta.
    pub fn read(delta: &(impl ReadAt + ?Sized)) -> Result<Self, DeltaError> {
        let mut head = [0; HEAD_BYTES as usize];
        delta
            .read_at(0, &mut head)
            .map_err(|_| DeltaError::Malformed("shorter than its head"))?;
        let (magic, rest) = head.split_at(8);
        if magic != MAGIC {
            return Err(DeltaError::Malformed("it does not begin as one"));
        }
        let digest = |at: usize| {
            rest.get(at..at + 32)
                .and_then(|d| d.try_into().ok())
                .map_or(Digest([0; 32]), Digest)
        };
        let number = |at: usize| {
            rest.get(at..at + 8)
                .and_then(|n| n.try_into().ok())
                .map_or(0, u64::from_le_bytes)
        };
        Ok(Self {
            base: digest(0),
            target: digest(32),
            base_bytes: number(64),
            target_bytes: number(72),
        })
    }
}

/// What is being read of a delta: a window over its bytes.
struct Operations<'a, D: ReadAt + ?Sized> {
    delta: &'a D,
    at: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl<D: ReadAt + ?Sized> Operations<'_, D> {
    fn byte(&mut self) -> Result<u8, DeltaError> {
        const WINDOW: u64 = 4096;
        let index = self.at.wrapping_sub(self.window_at);
        if index >= self.window.len() as u64 {
            let left = self.delta.bytes().saturating_sub(self.at).min(WINDOW);
            self.window.resize(left as usize, 0);
            self.delta
                .read_at(self.at, &mut self.window)
                .map_err(DeltaError::Failed)?;
            self.window_at = self.at;
        }
        let byte = self
            .window
            .get((self.at - self.window_at) as usize)
            .copied();
        self.at += 1;
        byte.ok_or(DeltaError::Malformed("it ends in the middle"))
    }

    fn varint(&mut self) -> Result<u64, DeltaError> {
        let mut value = 0u64;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Ok(value);
            }
        }
        Err(DeltaError::Malformed("a number without an end"))
    }

    fn bytes(&mut self, count: u64, max: u64) -> Result<Vec<u8>, DeltaError> {
        if count > max
            || self
                .at
                .checked_add(count)
                .is_none_or(|end| end > self.delta.bytes())
        {
            return Err(DeltaError::Malformed("it ends in the middle"));
        }
        let mut bytes = vec![0; count as usize];
        self.delta
            .read_at(self.at, &mut bytes)
            .map_err(DeltaError::Failed)?;
        self.at += count;
        Ok(bytes)
    }
}

/// A delta on its way to becoming its target, one operation at a time.
struct Application<'a, D: ReadAt + ?Sized, B: ReadAt + ?Sized> {
    operations: Operations<'a, D>,
    base: &'a B,
    head: Head,
    made: u64,
    models: BTreeMap<Storage, Model>,
    intra: BTreeMap<Storage, Intra>,
}

/// Makes `wanted` out of `base` (whose digest is `held`), handing the bytes to `keep` in order.
/// Only when this returns `Ok` are they the wanted bundle; on any error what was kept must be
/// thrown away.
pub fn apply<D: ReadAt + ?Sized, B: ReadAt + ?Sized>(
    delta: &D,
    (held, base): (Digest, &B),
    (wanted, wanted_bytes): (Digest, u64),
    keep: &mut dyn FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), DeltaError> {
    let head = Head::read(delta)?;
    if head.base != held || head.base_bytes != base.bytes() {
        return Err(DeltaError::WrongBase {
            needed: head.base,
            held,
        });
    }
    if head.target != wanted {
        return Err(DeltaError::WrongTarget {
            makes: head.target,
            wanted,
        });
    }
    if head.target_bytes != wanted_bytes {
        return Err(DeltaError::Bomb(wanted_bytes));
    }
    let operations = Operations {
        delta,
        at: HEAD_BYTES,
        window: Vec::new(),
        window_at: 0,
    };
    let mut application = Application {
        operations,
        base,
        head,
        made: 0,
        models: BTreeMap::new(),
        intra: BTreeMap::new(),
    };
    let mut hasher = blake3::Hasher::new();
    while application.made < wanted_bytes {
        let made = application.next()?;
        hasher.update(&made);
        keep(&made).map_err(DeltaError::Failed)?;
    }
    let whole = application.operations.at == delta.bytes();
    if !whole || Digest(*hasher.finalize().as_bytes()) != wanted {
        return Err(DeltaError::NotTheTarget(wanted));
    }
    Ok(())
}

impl<D: ReadAt + ?Sized, B: ReadAt + ?Sized> Application<'_, D, B> {
    fn next(&mut self) -> Result<Vec<u8>, DeltaError> {
        let made = match self.operations.byte()? {
            1 => self.copy()?,
            2 => self.plain()?,
            3 => self.blocks()?,
            5 => self.intra()?,
            _ => return Err(DeltaError::Malformed("an unknown operation")),
        };
        if made.is_empty() {
            return Err(DeltaError::Malformed("an operation that makes nothing"));
        }
        self.made += made.len() as u64;
        always!(self.made <= self.head.target_bytes, "room has seen to it");
        Ok(made)
    }

    /// Room for what is to be made, if the target has as many bytes left.
    fn room(&self, bytes: u64) -> Result<Vec<u8>, DeltaError> {
        if bytes > self.head.target_bytes - self.made {
            return Err(DeltaError::Bomb(self.head.target_bytes));
        }
        if bytes > MADE_MAX {
            return Err(DeltaError::Malformed(
                "an operation that makes too much at once",
            ));
        }
        Ok(vec![0; bytes as usize])
    }

    fn of_base(&self, offset: u64, mut room: Vec<u8>) -> Result<Vec<u8>, DeltaError> {
        if offset
            .checked_add(room.len() as u64)
            .is_none_or(|end| end > self.base.bytes())
        {
            return Err(DeltaError::Malformed("it reads beyond the base"));
        }
        self.base
            .read_at(offset, &mut room)
            .map_err(DeltaError::Failed)?;
        Ok(room)
    }

    fn copy(&mut self) -> Result<Vec<u8>, DeltaError> {
        let (offset, bytes) = (self.operations.varint()?, self.operations.varint()?);
        self.of_base(offset, self.room(bytes)?)
    }

    fn plain(&mut self) -> Result<Vec<u8>, DeltaError> {
        let (offset, dictionary) = (self.operations.varint()?, self.operations.varint()?);
        let (bytes, packed) = (self.operations.varint()?, self.operations.varint()?);
        if dictionary > DICTIONARY_MAX {
            return Err(DeltaError::Malformed("a dictionary that is too long"));
        }
        let room = self.room(bytes)?;
        let dictionary = self.of_base(offset, vec![0; dictionary as usize])?;
        let packed = self.operations.bytes(packed, 2 * MADE_MAX)?;
        unpack(&packed, &dictionary, room)
    }

    fn storage(&mut self) -> Result<Storage, DeltaError> {
        let storage = Storage::from_number(self.operations.byte()?);
        storage.ok_or(DeltaError::Malformed(
            "a storage that this version does not know",
        ))
    }

    fn intra(&mut self) -> Result<Vec<u8>, DeltaError> {
        let storage = self.storage()?;
        let (blocks, packed) = (self.operations.varint()?, self.operations.varint()?);
        let mut made = self.room(blocks.saturating_mul(storage.block().1 as u64))?;
        let packed = self.operations.bytes(packed, 2 * MADE_MAX)?;
        let model = self
            .intra
            .entry(storage)
            .or_insert_with(|| Intra::new(storage));
        model.code(&mut Decoder::new(&packed), &mut made);
        Ok(made)
    }

    fn blocks(&mut self) -> Result<Vec<u8>, DeltaError> {
        let storage = self.storage()?;
        let begins = self.operations.byte()? == 1;
        let (offset, columns) = (self.operations.varint()?, self.operations.varint()?);
        let (blocks, packed) = (self.operations.varint()?, self.operations.varint()?);
        if columns > COLUMNS_MAX {
            return Err(DeltaError::Malformed("a row that is too long"));
        }
        let bytes = blocks.saturating_mul(storage.block().1 as u64);
        let mut made = self.room(bytes)?;
        let old = self.of_base(offset, vec![0; made.len()])?;
        let packed = self.operations.bytes(packed, 2 * MADE_MAX)?;
        let model = self
            .models
            .entry(storage)
            .or_insert_with(|| Model::new(storage));
        if begins {
            model.begin(columns as usize);
        }
        model.code(&mut Decoder::new(&packed), &old, &mut made);
        Ok(made)
    }
}

/// Fills `room` from a zstd frame, with a stretch of the base before it.
fn unpack(packed: &[u8], dictionary: &[u8], mut room: Vec<u8>) -> Result<Vec<u8>, DeltaError> {
    use std::io::Read;
    let damaged = |_| DeltaError::Malformed("a damaged zstd frame");
    let mut decoder =
        zstd::stream::read::Decoder::with_ref_prefix(packed, dictionary).map_err(damaged)?;
    decoder.window_log_max(25).map_err(damaged)?;
    decoder.read_exact(&mut room).map_err(damaged)?;
    let more = decoder.read(&mut [0]).map_err(damaged)?;
    if more > 0 {
        return Err(DeltaError::Malformed(
            "a zstd frame that makes more than it says",
        ));
    }
    Ok(room)
}
