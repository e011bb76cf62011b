//! `kijiti-teach`: how a triage model comes to be, for those who publish models.

#![allow(
    clippy::disallowed_methods,
    reason = "a program has files and a clock; the library takes them as arguments"
)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};

use inference::RulePack;
use teach::learn::{Fail, Folder, Plan, Progress, learn};
use teach::publish::Stored;

mod report;

/// Teach, measure and pack triage models. Nothing of it is linked into a phone.
#[derive(Parser)]
#[command(name = "kijiti-teach", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Teach a model by drawn patients; go on where a course in the folder was interrupted.
    Train {
        /// The folder for checkpoints.
        #[arg(long)]
        out: PathBuf,
        /// Of all randomness: the same seed gives the same model.
        #[arg(long, default_value_t = Plan::REFERENCE.seed)]
        seed: u64,
        /// Steps.
        #[arg(long, default_value_t = Plan::REFERENCE.steps)]
        steps: usize,
        /// Cases of a step.
        #[arg(long, default_value_t = Plan::REFERENCE.batch)]
        batch: usize,
        /// Layers of the network: 0 is logistic regression on sums of embeddings.
        #[arg(long, default_value_t = Plan::REFERENCE.layers)]
        layers: usize,
        /// Width of a slot, a multiple of 64.
        #[arg(long, default_value_t = Plan::REFERENCE.width)]
        width: usize,
        /// How far a step goes.
        #[arg(long, default_value_t = Plan::REFERENCE.rate)]
        rate: f32,
    },
    /// Quantize a course's weights, calibrate them, and write a file for phones with golden cases and a card.
    Pack {
        /// The folder of the course.
        folder: PathBuf,
        /// Where to write the file.
        #[arg(long)]
        out: PathBuf,
        /// Bits of a weight: 4 or 8.
        #[arg(long, default_value_t = 4)]
        bits: u8,
        /// Patients to calibrate on, which nothing is reported on.
        #[arg(long, default_value_t = 20_000)]
        cases: usize,
    },
    /// Measure a course's weights and a file made of them, beside what could be known at best.
    Evaluate {
        /// The folder of the course.
        folder: PathBuf,
        /// The file for phones.
        #[arg(long)]
        file: PathBuf,
        /// Folders of other courses, as baselines.
        #[arg(long)]
        beside: Vec<PathBuf>,
        /// Patients.
        #[arg(long, default_value_t = 50_000)]
        cases: usize,
        /// Patients of each shifted world.
        #[arg(long, default_value_t = 10_000)]
        shifted: usize,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Ask a file about emergencies that people wrote down, one by one.
    Emergencies {
        /// The file for phones.
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kijiti-teach: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Fail> {
    match command {
        Command::Train {
            out,
            seed,
            steps,
            batch,
            layers,
            width,
            rate,
        } => {
            if !(64..=1024).contains(&width)
                || width % 64 != 0
                || batch == 0
                || batch > 4096
                || layers > 24
                || steps == 0
            {
                return Err("a width is a multiple of 64 up to 1024, a batch 1 to 4096, layers up to 24, steps at least 1".into());
            }
            let plan = Plan {
                seed,
                width,
                heads: width / 64,
                inner: width * 4,
                layers,
                batch,
                steps,
                rate,
                pieces: Plan::REFERENCE.pieces,
            };
            train(plan, &Folder::new(out))
        }
        Command::Pack {
            folder,
            out,
            bits,
            cases,
        } => {
            let stored = match bits {
                4 => Stored::Q4,
                8 => Stored::Q8,
                _ => return Err("a weight has 4 bits or 8".into()),
            };
            report::pack(&Folder::new(folder), &out, stored, cases.max(1000))
        }
        Command::Evaluate {
            folder,
            file,
            beside,
            cases,
            shifted,
            json,
        } => {
            let beside: Vec<_> = beside.into_iter().map(Folder::new).collect();
            report::evaluate(
                &Folder::new(folder),
                &file,
                &beside,
                [cases.max(100), shifted],
                json,
            )
        }
        Command::Emergencies { file } => report::emergencies(&file),
    }
}

fn train(plan: Plan, folder: &Folder) -> Result<(), Fail> {
    let pack = RulePack::built_in()?;
    let began = Instant::now();
    let (mut first, mut mean) = (None, 0f32);
    learn(
        plan,
        &pack,
        folder,
        &|| began.elapsed().as_secs(),
        &mut |now: Progress| {
            let (from, since) = *first.get_or_insert_with(|| (now.step, Instant::now()));
            mean = if mean == 0.0 {
                now.loss
            } else {
                0.98 * mean + 0.02 * now.loss
            };
            if now.step.is_multiple_of(20) || now.step == now.steps {
                let took = since.elapsed().as_secs_f64();
                let a_step = took / (now.step - from).max(1) as f64;
                let left = a_step * (now.steps - now.step) as f64 / 60.0;
                let cases = now.batch as f64 / a_step;
                eprintln!(
                    "step {} of {}: loss {mean:.4}, {cases:.0} cases a second, {left:.0} minutes left",
                    now.step, now.steps
                );
            }
            true
        },
    )?;
    eprintln!("{} holds the weights", folder.path().display());
    Ok(())
}
