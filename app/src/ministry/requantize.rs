//! Sticky quantization as the publisher's option: how much smaller the delta becomes, and what that
//! costs the patients' groups.

use std::path::Path;

use distribution::delta::{EncodeOptions, encode};
use inference::{RulePack, TriageModel};
use node::host::Failure;
use teach::sticky;
use teach::train::{GroupResult, subgroups};

use super::{check, file_bytes};

/// Writes the model to `out`, if it is to be written. What to say of it, line by line.
pub fn run(
    old: &Path,
    old_weights: Option<&Path>,
    weights: &Path,
    out: Option<&Path>,
) -> Result<Vec<String>, Failure> {
    let unfit = |e: String| {
        Failure::new(
            format!("cannot quantize: {e}"),
            "give two GGUF files of one model: the phones' and new floats",
        )
        .with_code(2)
    };
    let (old, weights) = (file_bytes(old)?, file_bytes(weights)?);
    let before = old_weights.map(file_bytes).transpose()?;
    let made = sticky::requantize(&old, before.as_deref(), &weights);
    let (plain, stuck, counts) = made.map_err(|e| unfit(e.to_string()))?;
    let delta = |file: &[u8]| encode(&old, file, EncodeOptions::default()).map(|d| d.len());
    let (before, after) = (delta(&plain), delta(&stuck));
    let (before, after) = (
        before.map_err(|e| unfit(e.to_string()))?,
        after.map_err(|e| unfit(e.to_string()))?,
    );
    let mut said = vec![
        format!(
            "{} of {} blocks keep their scales",
            counts.kept, counts.blocks
        ),
        format!("delta {after} bytes; with fresh scales it would be {before}"),
    ];
    if old_weights.is_none() {
        said.push("without --old-weights a part of what was learnt is lost".into());
    }
    said.extend(
        cost(&plain, &stuck)
            .unwrap_or_else(|reason| vec![format!("groups not measured: {reason}")]),
    );
    let Some(out) = out else { return Ok(said) };
    std::fs::write(out, &stuck).map_err(|e| {
        Failure::new(
            format!("cannot write {}: {e}", out.display()),
            "choose another place",
        )
    })?;
    said.push(format!(
        "wrote {}: draft it with --delta-from the model that phones have",
        out.display()
    ));
    Ok(said)
}

/// What old scales cost each group of drawn patients.
fn cost(plain: &[u8], stuck: &[u8]) -> Result<Vec<String>, String> {
    let pack = RulePack::built_in()?;
    let groups = |file: &[u8]| -> Result<Vec<GroupResult>, String> {
        let model = TriageModel::load("candidate", file).map_err(|e| e.to_string())?;
        subgroups(&model, &pack, check::SEED, check::PATIENTS).map_err(|e| e.to_string())
    };
    let (plain, stuck) = (groups(plain)?, groups(stuck)?);
    let change = |now: u32, was: u32| (f64::from(now) - f64::from(was)) / 10.0;
    let lines = plain.iter().zip(&stuck).map(|(was, now)| {
        format!(
            "{:<15} pink found {:+.1} points, green left {:+.1} points against fresh scales",
            was.name,
            change(now.sensitivity_permille, was.sensitivity_permille),
            change(now.specificity_permille, was.specificity_permille)
        )
    });
    Ok(lines.collect())
}
