//! The layout: 16 rows side by side, four consecutive weights of a row together, which is what one lane
//! of `vpdpbusd` and `sdot` takes. 64 bytes are one AVX-512 register, two AVX2, four NEON.
//!
//! ```text
//! Q4_0  per 32 weights of 16 rows: 16 f16 scales | 4 × 64 bytes, low nibbles weights 4g‥4g+3, high 16+4g‥
//! Q8_0                             16 f16 scales | 8 × 64 bytes, each weight + 128
//! Q4_K  per 256: 16 f16 d | 16 f16 dmin | 8 × (16 scale bytes, 16 min bytes) | 8 × 4 × 64 bytes
//! ```
//!
//! Weights stay unsigned (Q4_0: 0‥15, Q8_0: 0‥255); the zero point, 8 or 128, is taken off as so many
//! times the sum of the activations. The files are GGUF's (ggml, `block_q4_0` and its like).

/// Rows side by side.
pub const TILE: usize = 16;

/// Types of quantized weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 4 bits, a scale for each 32.
    Q4_0,
    /// 8 bits, a scale for each 32.
    Q8_0,
    /// 4 bits, a scale and a least for each 32 of 256.
    Q4K,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Q4_0, Self::Q8_0, Self::Q4K];

    /// Weights of a block.
    pub const fn block(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q8_0 => 32,
            Self::Q4K => 256,
        }
    }

    /// Bytes of a block in a GGUF file.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Q4_0 => 18,
            Self::Q8_0 => 34,
            Self::Q4K => 144,
        }
    }

    /// Bytes of a block of 16 rows, packed.
    pub(crate) const fn packed(self) -> usize {
        match self {
            Self::Q4_0 => 288,
            Self::Q8_0 => 544,
            Self::Q4K => 2368,
        }
    }

    /// What a stored weight of zero is.
    pub(crate) const fn zero(self) -> i32 {
        match self {
            Self::Q4_0 => 8,
            Self::Q8_0 => 128,
            Self::Q4K => 0,
        }
    }
}

/// Why bytes are no matrix of this shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misfit {
    /// The columns are no multiple of the kind's block.
    Columns,
    /// So many bytes there must be.
    Bytes(usize),
    /// A scale is no finite number.
    NotFinite,
    /// Rows of input or output are of another number or length than the matrix takes.
    Shape,
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Columns => write!(f, "the columns are no multiple of a block"),
            Self::Bytes(bytes) => write!(f, "{bytes} bytes were expected"),
            Self::NotFinite => write!(f, "a scale is no finite number"),
            Self::Shape => write!(
                f,
                "input or output have another shape than the matrix takes"
            ),
        }
    }
}

impl std::error::Error for Misfit {}

/// A quantized matrix, packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    kind: Kind,
    rows: usize,
    columns: usize,
    data: Vec<u8>,
}

/// The scale and the least of the j-th 32 of a Q4_K block (ggml, `get_scale_min_k4`).
fn scale_and_least(j: usize, q: &[u8]) -> (u8, u8) {
    match j < 4 {
        true => (q[j] & 63, q[j + 4] & 63),
        false => (
            (q[j + 4] & 15) | ((q[j - 4] >> 6) << 4),
            (q[j + 4] >> 4) | ((q[j] >> 6) << 4),
        ),
    }
}

fn is_finite(half: &[u8]) -> bool {
    half[1] & 0x7c != 0x7c
}

impl Packed {
    /// Packs the blocks of a GGUF file.
    ///
    /// # Errors
    /// Bytes that are no matrix of this shape, or scales that are no numbers.
    pub fn new(kind: Kind, rows: usize, columns: usize, file: &[u8]) -> Result<Self, Misfit> {
        let mut packed = Self::empty(kind, rows, columns)?;
        let (blocks, bytes) = (columns / kind.block(), kind.bytes());
        let expected = rows * blocks * bytes;
        if file.len() != expected {
            return Err(Misfit::Bytes(expected));
        }
        let size = kind.packed();
        for (at, block) in file.chunks_exact(bytes).enumerate() {
            let finite = is_finite(block) && (kind != Kind::Q4K || is_finite(&block[2..]));
            if !finite {
                return Err(Misfit::NotFinite);
            }
            let (row, column) = (at / blocks, at % blocks);
            let from = (row / TILE * blocks + column) * size;
            place(kind, row % TILE, block, &mut packed.data[from..from + size]);
        }
        Ok(packed)
    }

    /// A matrix of zeros.
    fn empty(kind: Kind, rows: usize, columns: usize) -> Result<Self, Misfit> {
        if columns == 0 || !columns.is_multiple_of(kind.block()) {
            return Err(Misfit::Columns);
        }
        let blocks = rows.div_ceil(TILE) * (columns / kind.block());
        // Scales of zero: what lies beyond the last row adds nothing.
        Ok(Self {
            kind,
            rows,
            columns,
            data: vec![0; blocks * kind.packed()],
        })
    }

    /// A matrix that was packed before ([`Self::data`]).
    ///
    /// # Errors
    /// Bytes of another number.
    pub fn from_data(
        kind: Kind,
        rows: usize,
        columns: usize,
        data: Vec<u8>,
    ) -> Result<Self, Misfit> {
        let empty = Self::empty(kind, rows, columns)?;
        match empty.data.len() == data.len() {
            true => Ok(Self { data, ..empty }),
            false => Err(Misfit::Bytes(empty.data.len())),
        }
    }

    /// The packed bytes.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The type of its weights.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Rows: outputs of a product.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns: inputs of a product.
    pub fn columns(&self) -> usize {
        self.columns
    }

    pub(crate) fn tiles(&self) -> usize {
        self.rows.div_ceil(TILE)
    }

    /// The blocks of 16 rows.
    pub(crate) fn tile(&self, tile: usize) -> &[u8] {
        let bytes = self.columns / self.kind.block() * self.kind.packed();
        &self.data[tile * bytes..(tile + 1) * bytes]
    }

    /// Adds one row, `weight` times, to `out` (embeddings). A row beyond the last adds nothing.
    pub fn add_row(&self, row: usize, weight: f32, out: &mut [f32]) {
        if row >= self.rows || out.len() != self.columns {
            return;
        }
        let (size, block) = (self.kind.packed(), self.kind.block());
        let lane = row % TILE;
        for (packed, out) in self
            .tile(row / TILE)
            .chunks_exact(size)
            .zip(out.chunks_exact_mut(block))
        {
            for (j, out) in out.chunks_exact_mut(32).enumerate() {
                let (scale, least) = scale_of(self.kind, packed, lane, j);
                for (c, out) in out.iter_mut().enumerate() {
                    let stored = stored(self.kind, packed, lane, j, c) - self.kind.zero();
                    *out += weight * (stored as f32 * scale - least);
                }
            }
        }
    }
}

/// Puts one row's block among those of its tile.
fn place(kind: Kind, lane: usize, block: &[u8], packed: &mut [u8]) {
    packed[lane * 2..lane * 2 + 2].copy_from_slice(&block[..2]);
    let group = |base: usize, g: usize| base + g * 64 + lane * 4;
    match kind {
        Kind::Q4_0 => {
            for (g, four) in block[2..].chunks_exact(4).enumerate() {
                packed[group(32, g)..][..4].copy_from_slice(four);
            }
        }
        Kind::Q8_0 => {
            for (g, four) in block[2..].chunks_exact(4).enumerate() {
                for (to, from) in packed[group(32, g)..][..4].iter_mut().zip(four) {
                    *to = from ^ 0x80;
                }
            }
        }
        Kind::Q4K => {
            packed[32 + lane * 2..34 + lane * 2].copy_from_slice(&block[2..4]);
            for j in 0..8 {
                let (scale, least) = scale_and_least(j, &block[4..16]);
                packed[64 + j * 32 + lane] = scale;
                packed[80 + j * 32 + lane] = least;
                // The file has the weights of two 32s in the nibbles of 32 bytes: low those of the even
                // one. Here byte i holds weights i (low) and 16 + i (high) of one 32.
                let nibbles = &block[16 + j / 2 * 32..][..32];
                let of = |byte: u8| (byte >> (j % 2 * 4)) & 15;
                for i in 0..16 {
                    let both = of(nibbles[i]) | of(nibbles[16 + i]) << 4;
                    packed[group(320 + j * 256, i / 4) + i % 4] = both;
                }
            }
        }
    }
}

/// The weight of a row, as it is stored: the c-th of the j-th 32 of a block.
pub(crate) fn stored(kind: Kind, packed: &[u8], lane: usize, j: usize, c: usize) -> i32 {
    let at = |base: usize, c: usize| packed[base + c / 4 * 64 + lane * 4 + c % 4];
    let nibble = |base: usize| {
        let both = at(base, c % 16);
        i32::from(if c < 16 { both & 15 } else { both >> 4 })
    };
    match kind {
        Kind::Q8_0 => i32::from(at(32, c)),
        Kind::Q4_0 => nibble(32),
        Kind::Q4K => nibble(320 + j * 256),
    }
}

/// The scale of the j-th 32 of a row's block, and what is taken off.
pub(crate) fn scale_of(kind: Kind, packed: &[u8], lane: usize, j: usize) -> (f32, f32) {
    let half = |at: usize| half_to_float([packed[at + lane * 2], packed[at + lane * 2 + 1]]);
    match kind {
        Kind::Q4_0 | Kind::Q8_0 => (half(0), 0.0),
        Kind::Q4K => {
            let byte = |at: usize| f32::from(packed[at + j * 32 + lane]);
            (half(0) * byte(64), half(32) * byte(80))
        }
    }
}

/// A number of two bytes (IEEE 754 binary16) as one of four.
pub fn half_to_float(bytes: [u8; 2]) -> f32 {
    let half = u32::from(u16::from_le_bytes(bytes));
    let (sign, exponent, mantissa) = (half >> 15 << 31, half >> 10 & 31, half & 1023);
    let unsigned = match exponent {
        0 => mantissa as f32 / 16_777_216.0,
        31 if mantissa == 0 => f32::INFINITY,
        31 => f32::NAN,
        _ => f32::from_bits((exponent + 112) << 23 | mantissa << 13),
    };
    f32::from_bits(unsigned.to_bits() | sign)
}
