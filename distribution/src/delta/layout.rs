//! Where the tensors of a model file lie. Read by the desk that makes a delta; a phone that applies
//! one needs only offsets.
//!
//! GGUF (version 2 and 3) and safetensors. What is not such a file has no layout, and is dealt with
//! as plain bytes.

use protocol::always;

/// How the numbers of a tensor are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Storage {
    /// 32-bit floats.
    F32 = 0,
    /// 16-bit floats.
    F16 = 1,
    /// Blocks of 32: a 16-bit scale, 32 codes of 4 bits.
    Q4_0 = 2,
    /// Blocks of 32: a 16-bit scale, 32 codes of 8 bits.
    Q8_0 = 3,
    /// Super-blocks of 256: two 16-bit scales, 8 scales and 8 minima of 6 bits, 256 codes of 4
    /// bits.
    Q4K = 4,
    /// Super-blocks of 256: 256 codes of 6 bits, 16 scales of 8 bits, a 16-bit scale.
    Q6K = 5,
    /// 16-bit brain floats.
    BF16 = 6,
}

impl Storage {
    /// The storage with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        [
            Self::F32,
            Self::F16,
            Self::Q4_0,
            Self::Q8_0,
            Self::Q4K,
            Self::Q6K,
            Self::BF16,
        ]
        .into_iter()
        .find(|s| *s as u8 == number)
    }

    /// Numbers in a block, and its bytes.
    pub fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::BF16 => (1, 2),
            Self::Q4_0 => (32, 18),
            Self::Q8_0 => (32, 34),
            Self::Q4K => (256, 144),
            Self::Q6K => (256, 210),
        }
    }

    fn of_ggml(kind: u32) -> Option<Self> {
        Some(match kind {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            8 => Self::Q8_0,
            12 => Self::Q4K,
            14 => Self::Q6K,
            30 => Self::BF16,
            _ => return None,
        })
    }
}

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Its name.
    pub name: String,
    /// How it is stored.
    pub storage: Storage,
    /// Numbers in a row (the dimension that changes fastest).
    pub columns: u64,
    /// Where its bytes begin in the file.
    pub offset: u64,
    /// How many they are.
    pub bytes: u64,
}

impl Span {
    /// Bytes of a row, if rows are whole blocks.
    pub fn row_bytes(&self) -> Option<u64> {
        let (numbers, bytes) = self.storage.block();
        let whole = self.columns > 0 && self.columns.is_multiple_of(numbers as u64);
        whole.then(|| self.columns / numbers as u64 * bytes as u64)
    }
}

/// The tensors of a model file in the order in which they lie, or none if it is no such file.
pub fn layout(file: &[u8]) -> Vec<Span> {
    let mut spans = gguf(file).or_else(|| safetensors(file)).unwrap_or_default();
    spans.retain(|s| {
        s.offset
            .checked_add(s.bytes)
            .is_some_and(|end| end <= file.len() as u64)
            && s.bytes > 0
    });
    spans.sort_by_key(|s| s.offset);
    let mut end = 0;
    // What overlaps is left to the plain bytes.
    spans.retain(|s| {
        let apart = s.offset >= end;
        end = end.max(s.offset + s.bytes);
        apart
    });
    always!(
        spans.is_sorted_by(|a, b| a.offset + a.bytes <= b.offset),
        "none lies over another"
    );
    spans
}

fn span(name: String, storage: Storage, shape: &[u64], offset: u64) -> Option<Span> {
    let numbers = shape
        .iter()
        .try_fold(1u64, |product, n| product.checked_mul(*n))?;
    let (block, bytes) = storage.block();
    let blocks = numbers
        .is_multiple_of(block as u64)
        .then_some(numbers / block as u64)?;
    let bytes = blocks.checked_mul(bytes as u64)?;
    Some(Span {
        name,
        storage,
        columns: shape.first().copied().unwrap_or(1),
        offset,
        bytes,
    })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(head)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<String> {
        let length = self.u64()?;
        Some(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    fn skip_value(&mut self, kind: u32, depth: u32) -> Option<Option<u32>> {
        let bytes = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4 => return Some(Some(self.u32()?)),
            5 | 6 => 4,
            10..=12 => 8,
            8 => self.u64()?,
            9 if depth < 4 => {
                let (of, count) = (self.u32()?, self.u64()?);
                for _ in 0..count {
                    self.skip_value(of, depth + 1)?;
                }
                return Some(None);
            }
            _ => return None,
        };
        self.take(bytes)?;
        Some(None)
    }
}

/// The format of ggml's model files (github.com/ggml-org/ggml, docs/gguf.md).
fn gguf(file: &[u8]) -> Option<Vec<Span>> {
    let mut reader = Reader(file);
    if reader.take(4)? != b"GGUF" || !(2..=3).contains(&reader.u32()?) {
        return None;
    }
    let (tensors, values) = (reader.u64()?, reader.u64()?);
    let mut alignment = 32;
    for _ in 0..values {
        let key = reader.text()?;
        let kind = reader.u32()?;
        let number = reader.skip_value(kind, 0)?;
        if key == "general.alignment" {
            alignment = u64::from(number?).max(1);
        }
    }
    let mut spans = Vec::new();
    for _ in 0..tensors {
        let name = reader.text()?;
        let dimensions = reader.u32()?;
        let shape = (0..dimensions.min(8))
            .map(|_| reader.u64())
            .collect::<Option<Vec<_>>>()?;
        let (kind, offset) = (reader.u32()?, reader.u64()?);
        if let Some(storage) = Storage::of_ggml(kind) {
            spans.extend(span(name, storage, &shape, offset));
        }
    }
    let data = (file.len() - reader.0.len()) as u64;
    let data = data.checked_next_multiple_of(alignment)?;
    spans
        .iter_mut()
        .for_each(|s| s.offset = s.offset.saturating_add(data));
    Some(spans)
}

/// The format of huggingface's safetensors (its README, "Format"): the header's length, a JSON
/// header, the bytes.
fn safetensors(file: &[u8]) -> Option<Vec<Span>> {
    let mut reader = Reader(file);
    let length = reader.u64().filter(|n| *n <= 100_000_000)?;
    let header: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(reader.take(length)?).ok()?;
    let mut spans = Vec::new();
    for (name, fields) in header {
        let storage = match fields.get("dtype").and_then(|d| d.as_str()) {
            Some("F32") => Storage::F32,
            Some("F16") => Storage::F16,
            Some("BF16") => Storage::BF16,
            _ => continue,
        };
        let list = |key: &str| {
            fields
                .get(key)?
                .as_array()?
                .iter()
                .map(|n| n.as_u64())
                .collect::<Option<Vec<_>>>()
        };
        let (Some(mut shape), Some(offsets)) = (list("shape"), list("data_offsets")) else {
            continue;
        };
        shape.reverse(); // the last dimension changes fastest
        let Some(offset) = offsets
            .first()
            .and_then(|first| first.checked_add(8 + length))
        else {
            continue;
        };
        spans.extend(span(name, storage, &shape, offset));
    }
    Some(spans)
}
