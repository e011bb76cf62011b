//! An adapter while it learns: low-rank factors beside a network that is frozen.

use std::collections::BTreeMap;
use std::sync::Mutex;

use candle_core::{Device, Result, Tensor, Var};
use rand::{Rng, RngExt};

use inference::encode::{Encoded, GRAM_ROWS};

use super::{Net, Table, Weight};

/// Low-rank factors beside a frozen network (LoRA, Hu et al. 2021), and of its rows.
#[derive(Debug)]
pub(super) struct Beside {
    /// Coefficients of features, grams, pieces: `[rows, rank]`.
    pub(super) tables: [Table; 3],
    pub(super) rank: usize,
}

/// Ranks of an adapter: of the factors beside matrices, and beside rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ranks {
    /// Beside matrices.
    pub matrices: usize,
    /// Beside rows.
    pub rows: usize,
}

/// What an adapter has learned: tensors by their names in its file, and coefficients by table and row.
pub type Learned = (BTreeMap<String, Tensor>, [Vec<(usize, Vec<f32>)>; 3]);

/// Names of weights that an adapter teaches.
pub(super) fn is_beside(name: &str) -> bool {
    let ends = |end: &&str| name.ends_with(end);
    [".low.down", ".low.up"].iter().any(ends)
        || name == ROWS_UP
        || ["differential.", "urgency."]
            .iter()
            .any(|head| name.starts_with(head))
}

/// The name of the factor that coefficients of rows are multiplied by.
pub(super) const ROWS_UP: &str = "rows.up";

impl Net {
    /// Freezes all but the heads, and puts factors of these ranks beside: from now on they learn. The
    /// network says what it said before.
    pub fn freeze(&mut self, ranks: Ranks, rng: &mut impl Rng) -> Result<()> {
        let (width, inner) = (self.shape.width, self.shape.inner);
        let mut put = |name: String, columns: usize, rows: usize, spread: f32| {
            let bound = spread * 3f32.sqrt();
            let drawn = |_| match bound > 0.0 {
                true => rng.random_range(-bound..bound),
                false => 0.0,
            };
            let drawn: Vec<f32> = (0..rows * columns).map(drawn).collect();
            let weight = Weight {
                var: Var::from_vec(drawn, (rows, columns), &Device::Cpu)?,
                moments: Mutex::default(),
                decays: false,
            };
            self.weights.insert(name, weight);
            Result::Ok(())
        };
        for layer in 0..self.shape.layers {
            for (part, inputs, outputs) in [
                ("qkv", width, 3 * width),
                ("out", width, width),
                ("up", width, inner),
                ("down", inner, width),
            ] {
                let name = |which| format!("layers.{layer}.{part}.low.{which}");
                let spread = (1.0 / inputs as f32).sqrt();
                put(name("down"), inputs, ranks.matrices, spread)?;
                put(name("up"), outputs, ranks.matrices, 0.0)?;
            }
        }
        put(ROWS_UP.into(), width, ranks.rows, 0.1)?;
        let rows = [self.shape.features, GRAM_ROWS, self.shape.pieces];
        self.beside = Some(Beside {
            tables: rows.map(|rows| Table::new(rows, ranks.rows)),
            rank: ranks.rows,
        });
        Ok(())
    }

    /// What has been learned beside the network; nothing of a network that is not frozen.
    pub fn learned(&self) -> Learned {
        let mut tensors = BTreeMap::new();
        for (name, weight) in self.weights.iter().filter(|(name, _)| is_beside(name)) {
            let tensor = weight.var.as_tensor().clone();
            tensors.insert(name.replace(".low.", "."), tensor);
        }
        let rows = |table: &Table| {
            let rows = table.rows.chunks(table.width).enumerate();
            let touched = rows.filter(|(_, row)| row.iter().any(|x| *x != 0.0));
            touched.map(|(at, row)| (at, row.to_vec())).collect()
        };
        let rows = self
            .beside
            .as_ref()
            .map(|beside| beside.tables.each_ref().map(rows));
        (tensors, rows.unwrap_or_default())
    }

    /// The sums of coefficients `[batch, slots, rank]`, where something stands beside.
    pub(super) fn leaf_beside(&self, cases: &[Encoded]) -> Result<Option<Var>> {
        let leaf = |beside: &Beside| {
            let shape = (cases.len(), self.shape.slots, beside.rank);
            let sums = self.sums(&beside.tables, beside.rank, cases);
            Var::from_vec(sums, shape, &Device::Cpu)
        };
        self.beside.as_ref().map(leaf).transpose()
    }
}
