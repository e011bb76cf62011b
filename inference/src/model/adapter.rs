//! An adapter as it comes in a release: what a district, a language or another kind of patient adds to a
//! base model that is named by its digest. It holds low-rank factors and heads of its own, a tenth of a
//! delta of the merged model, and is judged by golden cases like any model. The base is not touched.

use std::io::{Cursor, Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use candle_core::quantized::gguf_file::{Content, Value as Meta};
use serde::{Deserialize, Serialize};

use clinical::AgeGroup;

use super::file::{self, read_json, text};
use super::tensors::Tensors;
use super::{
    Calibration, FEATURES_MAX, GOLDEN_MAX, GoldenCase, LABELS_MAX, Label, ModelError,
    check_calibration, malformed, read_features,
};
use crate::encode::{Feature, GRAM_ROWS};
use crate::factors::Factors;
use crate::transformer::Shape;

/// The architecture name in the file.
pub const ARCHITECTURE: &str = "kijiti-adapter-1";
/// Bytes of an adapter file that this engine takes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Ranks, of matrices and of rows.
const RANK_MAX: usize = 16;
/// Rows of one table that an adapter may say something of.
pub const ROWS_MAX: usize = GRAM_ROWS;
/// Word pieces that a base can have.
const PIECES_MAX: usize = 1 << 17;

/// What a file says of how it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Form {
    /// The base's digest, in hexadecimal.
    pub base: String,
    /// The base's shape.
    pub shape: Shape,
    /// The base's features.
    pub features: usize,
    /// Rank of the factors beside matrices.
    pub rank: usize,
    /// Rank of the factors beside rows.
    pub row_rank: usize,
    /// Whom it has been taught by: names of age groups.
    pub patients: Vec<String>,
}

impl Form {
    fn is_sound(&self) -> bool {
        let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        self.shape.is_sound()
            && self.base.len() == 64
            && self.base.chars().all(hex)
            && self.features <= FEATURES_MAX
            && (1..=RANK_MAX).contains(&self.rank)
            && (1..=RANK_MAX).contains(&self.row_rank)
    }
}

/// What stands beside a network.
pub(super) type Beside = Arc<Factors>;

/// A read adapter, which runs beside its base ([`super::TriageModel::with`]).
#[derive(Debug)]
pub struct Adapter {
    form: Form,
    factors: Arc<Factors>,
    /// What it reads that its base does not.
    features: Vec<Feature>,
    pub(super) patients: Vec<AgeGroup>,
    pub(super) labels: Vec<Label>,
    pub(super) calibration: Calibration,
    pub(super) golden: Vec<GoldenCase>,
    pub(super) card: String,
}

impl Adapter {
    /// Reads an adapter that is in memory.
    ///
    /// # Errors
    /// What is no adapter, or out of its limits.
    pub fn load(file: &[u8]) -> Result<Self, ModelError> {
        Self::read(&mut Cursor::new(file))
    }

    /// Reads an adapter where it lies.
    ///
    /// # Errors
    /// What is no adapter, or out of its limits.
    pub fn read(reader: &mut (impl Read + Seek)) -> Result<Self, ModelError> {
        catch_unwind(AssertUnwindSafe(|| Self::read_checked(reader)))
            .unwrap_or_else(|_| Err(malformed("the file breaks its reader")))
    }

    fn read_checked(reader: &mut (impl Read + Seek)) -> Result<Self, ModelError> {
        let content = file::open(reader, ARCHITECTURE, FILE_BYTES_MAX)?;
        let form: Form = read_json(&content, "kijiti.form", 4096)?;
        if !form.is_sound() {
            return Err(malformed("its form is out of range"));
        }
        let names: Vec<String> = read_json(&content, "kijiti.features", FEATURES_MAX * 64)?;
        let labels: Vec<Label> = read_json(&content, "kijiti.labels", LABELS_MAX * 256)?;
        let golden: Vec<GoldenCase> = read_json(&content, "kijiti.golden", 1 << 20)?;
        let calibration: Calibration = read_json(&content, "kijiti.calibration", 4096)?;
        check_calibration(&calibration)?;
        let within = form.features + names.len() <= FEATURES_MAX
            && (2..=LABELS_MAX).contains(&labels.len())
            && (1..=GOLDEN_MAX).contains(&golden.len());
        if !within {
            return Err(malformed(
                "with more features, labels or golden cases than this engine takes, or none",
            ));
        }
        let group = |name: &String| {
            AgeGroup::ALL
                .into_iter()
                .find(|g| g.name() == name.as_str())
        };
        let patients: Option<Vec<_>> = form.patients.iter().map(group).collect();
        let patients = patients.filter(|patients| !patients.is_empty());
        let patients = patients.ok_or_else(|| malformed("for no patients that there are"))?;
        let features = read_features(&names, form.shape.slots)?;
        let bounds = [form.features + features.len(), GRAM_ROWS, PIECES_MAX];
        let of = ["features", "grams", "pieces"].into_iter().zip(bounds);
        let rows = of.map(|(table, below)| read_rows(&content, table, below));
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        let mut tensors = Tensors {
            content: &content,
            reader,
        };
        let factors = tensors.factors(&form, rows, labels.len())?;
        let card = text(&content, "kijiti.card")?.to_owned();
        Ok(Self {
            form,
            factors: Arc::new(factors),
            features,
            patients,
            labels,
            calibration,
            golden,
            card,
        })
    }

    /// The digest of the base that it runs beside, in hexadecimal.
    pub fn base(&self) -> &str {
        &self.form.base
    }

    /// The card, for people.
    pub fn card(&self) -> &str {
        &self.card
    }

    /// Whom it has been taught by.
    pub fn patients(&self) -> &[AgeGroup] {
        &self.patients
    }

    /// What stands beside the network.
    pub(super) fn beside(&self) -> Beside {
        self.factors.clone()
    }

    /// The features that it adds, if it fits beside a network of this shape that reads so many.
    pub(super) fn fits(&self, shape: Shape, features: usize) -> Result<&[Feature], ModelError> {
        match (self.form.shape, self.form.features) == (shape, features) {
            true => Ok(&self.features),
            false => Err(malformed("it was made for a base of another shape")),
        }
    }
}

/// The numbers of rows of a table that an adapter says something of, each once and in order.
fn read_rows(content: &Content, table: &str, below: usize) -> Result<Vec<usize>, ModelError> {
    let key = format!("kijiti.rows.{table}");
    let Some(Meta::Array(rows)) = content.metadata.get(&key) else {
        return Err(malformed(format!("{key} is missing")));
    };
    let row = |value: &Meta| {
        let row = value.to_u32().ok()? as usize;
        Some(row).filter(|row| *row < below)
    };
    let rows: Option<Vec<_>> = rows.iter().map(row).collect();
    let rows = rows.filter(|rows| rows.len() <= ROWS_MAX && rows.is_sorted_by(|a, b| a < b));
    rows.ok_or_else(|| malformed(format!("{key} names rows that there are not, or twice")))
}

/// Whether a file says that it is an adapter, whatever else is in it.
pub fn is_adapter(file: &mut (impl Read + Seek)) -> bool {
    file::says(file, ARCHITECTURE)
}
