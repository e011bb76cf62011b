//! `kijiti-teach`: how a triage model comes to be, for those who publish models.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};

use inference::RulePack;
use teach::learn::{Fail, Folder, Plan, Progress, learn};

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
            };
            train(plan, &Folder::new(out))
        }
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
            if now.step % 20 == 0 || now.step == now.steps {
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
