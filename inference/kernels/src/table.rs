//! Tables of rows that are looked up and added, never multiplied: quantized, or as halves (IEEE 754 binary16).

use crate::layout::{Misfit, Packed, half_to_float};

/// A table of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Table {
    /// Quantized.
    Packed(Packed),
    /// Numbers of two bytes.
    Halves(Halves),
}

/// Rows of halves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Halves {
    columns: usize,
    data: Vec<[u8; 2]>,
}

impl Halves {
    /// Of the bytes of a GGUF file, row by row.
    ///
    /// # Errors
    /// Bytes of another number, or what is no finite number.
    pub fn new(rows: usize, columns: usize, file: &[u8]) -> Result<Self, Misfit> {
        let (data, rest) = file.as_chunks::<2>();
        if columns == 0 {
            return Err(Misfit::Columns);
        }
        if !rest.is_empty() || data.len() != rows * columns {
            return Err(Misfit::Bytes(rows * columns * 2));
        }
        match data.iter().all(|half| half_to_float(*half).is_finite()) {
            true => Ok(Self {
                columns,
                data: data.to_vec(),
            }),
            false => Err(Misfit::NotFinite),
        }
    }
}

impl Table {
    /// Rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Packed(packed) => packed.rows(),
            Self::Halves(halves) => halves.data.len() / halves.columns,
        }
    }

    /// Numbers of a row.
    pub fn columns(&self) -> usize {
        match self {
            Self::Packed(packed) => packed.columns(),
            Self::Halves(halves) => halves.columns,
        }
    }

    /// Adds one row, `weight` times, to `out`. A row beyond the last adds nothing.
    pub fn add_row(&self, row: usize, weight: f32, out: &mut [f32]) {
        match self {
            Self::Packed(packed) => packed.add_row(row, weight, out),
            Self::Halves(Halves { columns, data }) => {
                let own = data.chunks_exact(*columns).nth(row).unwrap_or_default();
                if out.len() == *columns {
                    out.iter_mut()
                        .zip(own)
                        .for_each(|(out, half)| *out += weight * half_to_float(*half));
                }
            }
        }
    }
}
