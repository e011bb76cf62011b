//! Sticky quantization as the publisher's option: how much smaller the delta becomes, and what that
//! costs the patients' groups.

use std::path::Path;

use distribution::delta::{EncodeOptions, encode};
use inference::{RulePack, TriageModel};
use teach::evaluate::{GroupResult, subgroups};
use teach::sticky::{self, Stuck};

use crate::Refusal;
use crate::check::{PATIENTS, SEED};
use crate::draft::file_bytes;

/// What came of it.
#[derive(Debug)]
pub struct Requantized {
    /// Blocks that kept their scales.
    pub counts: Stuck,
    /// Bytes of the delta with fresh scales.
    pub delta_plain_bytes: usize,
    /// Bytes of the delta with the old scales kept.
    pub delta_bytes: usize,
    /// What each group of synthetic patients gets with fresh scales, and with the old ones; or why
    /// that was not measured.
    pub groups: Result<Vec<(GroupResult, GroupResult)>, String>,
    /// The model.
    pub file: Vec<u8>,
}

/// Quantizes new weights against the model that phones have.
pub fn requantize(
    old: &Path,
    old_weights: Option<&Path>,
    weights: &Path,
) -> Result<Requantized, Refusal> {
    let unfit = |e: String| Refusal::NotQuantized(e);
    let (old, weights) = (file_bytes(old)?, file_bytes(weights)?);
    let before = old_weights.map(file_bytes).transpose()?;
    let made = sticky::requantize(&old, before.as_deref(), &weights);
    let (plain, file, counts) = made.map_err(|e| unfit(e.to_string()))?;
    let delta = |file: &[u8]| {
        let delta = encode(&old, file, EncodeOptions::default());
        delta
            .map(|delta| delta.len())
            .map_err(|e| unfit(e.to_string()))
    };
    Ok(Requantized {
        counts,
        delta_plain_bytes: delta(&plain)?,
        delta_bytes: delta(&file)?,
        groups: cost(&plain, &file),
        file,
    })
}

/// What old scales cost each group of synthetic patients.
fn cost(plain: &[u8], stuck: &[u8]) -> Result<Vec<(GroupResult, GroupResult)>, String> {
    let pack = RulePack::built_in()?;
    let groups = |file: &[u8]| -> Result<Vec<GroupResult>, String> {
        let model = TriageModel::load("candidate", file).map_err(|e| e.to_string())?;
        Ok(subgroups(&model, &pack, SEED, PATIENTS))
    };
    Ok(groups(plain)?.into_iter().zip(groups(stuck)?).collect())
}
