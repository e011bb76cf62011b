//! `kijiti model train`.

use std::path::Path;

use inference::RulePack;
use teach::train::{TrainOptions, train};

use crate::Failure;

/// Trains, writes the file and says what was measured.
pub fn run(out: &Path, seed: u64, cases: usize, epochs: usize) -> Result<(), Failure> {
    if cases < 500 || epochs == 0 || cases > 5_000_000 {
        return Err(Failure::new(
            "too few or too many cases",
            "choose 500 to 5000000 cases and at least one epoch",
        )
        .with_code(2));
    }
    let pack = RulePack::built_in().map_err(|e| Failure::new(e, "reinstall kijiti"))?;
    let options = TrainOptions {
        seed,
        cases,
        epochs,
        ..TrainOptions::default()
    };
    let bar = indicatif::ProgressBar::new(1);
    bar.set_style(crate::show::bar_style());
    bar.set_message("training");
    let trained = train(&pack, &options, |step, steps, loss| {
        bar.set_length(steps as u64);
        bar.set_position(step as u64);
        bar.set_message(format!("loss {loss:.3}"));
    })
    .map_err(|e| Failure::new(format!("training failed: {e}"), "try other numbers"))?;
    bar.finish_and_clear();
    std::fs::write(out, &trained.file).map_err(|e| {
        Failure::new(
            format!("cannot write {}: {e}", out.display()),
            "check the folder",
        )
    })?;
    eprintln!("wrote {} ({} bytes)", out.display(), trained.file.len());
    let report = serde_json::to_string_pretty(&trained.report).map_err(|e| Failure::new(e, ""))?;
    println!("{report}");
    Ok(())
}
