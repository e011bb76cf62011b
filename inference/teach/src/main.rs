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
use protocol::Digest;
use teach::adapt::{RANKS, Tuning};
use teach::learn::{Fail, Folder, Plan, Progress, learn};
use teach::net::Ranks;
use teach::publish::Stored;
use teach::see;

mod drawn;
mod report;
mod sheet;

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
    Train(TrainArgs),
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
    /// Quantize a course's weights alone: a draft without calibration, which no phone takes.
    Quantize {
        /// The folder of the course.
        folder: PathBuf,
        /// Where to write the draft.
        #[arg(long)]
        out: PathBuf,
        /// Bits of a weight: 4 or 8.
        #[arg(long, default_value_t = 4)]
        bits: u8,
    },
    /// Set temperatures and thresholds of a draft or a model anew, on patients that it has not learned from,
    /// and write it with golden cases; its weights stay.
    Calibrate {
        /// The draft or model.
        file: PathBuf,
        /// A district's description (TOML), if its patients are others than usual.
        #[arg(long, value_name = "FILE")]
        district: Option<PathBuf>,
        /// Or a district's own cases, of which the truth is known.
        #[arg(long, value_name = "FILE", conflicts_with = "district")]
        own: Option<PathBuf>,
        /// Drawn patients.
        #[arg(long, default_value_t = 20_000)]
        cases: usize,
        /// Of all randomness.
        #[arg(long, default_value_t = Plan::REFERENCE.seed)]
        seed: u64,
        /// Where to write the model.
        #[arg(long)]
        out: PathBuf,
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
    /// Teach a model that phones have by a district's patients, and write an adapter that runs beside it: a
    /// fortieth of its size.
    Adapt {
        #[command(flatten)]
        tune: TuneArgs,
        /// Write also what it would be if it were merged into the base.
        #[arg(long, value_name = "FILE")]
        merged: Option<PathBuf>,
    },
    /// The same with all of its weights: another whole model.
    Finetune {
        #[command(flatten)]
        tune: TuneArgs,
    },
    /// Measure on a district's patients what an adapter regains of what a fine-tune of all weights does.
    Compare {
        /// The model that phones have.
        base: PathBuf,
        /// The district's description (TOML).
        #[arg(long, value_name = "FILE")]
        district: PathBuf,
        /// The adapter.
        #[arg(long, value_name = "FILE")]
        adapter: PathBuf,
        /// The fine-tune of all weights.
        #[arg(long, value_name = "FILE")]
        full: PathBuf,
        /// Patients.
        #[arg(long, default_value_t = 20_000)]
        cases: usize,
    },
    /// Teach a reader of pictures by rendered ones, measure it and what foes can make of them, and write a file for
    /// phones. NOT CLINICALLY VALIDATED.
    See {
        /// Where to write the file.
        #[arg(long)]
        out: PathBuf,
        /// Of all randomness.
        #[arg(long, default_value_t = see::Plan::REFERENCE.seed)]
        seed: u64,
        /// Steps.
        #[arg(long, default_value_t = see::Plan::REFERENCE.steps)]
        steps: usize,
        /// Pictures to measure on.
        #[arg(long, default_value_t = 7000)]
        pictures: usize,
    },
    /// Measure a reader of pictures on drawn ones that it has not seen, by subject, skin tone, light and blur; on
    /// pictures of nothing; and on those that a foe has changed who has the file.
    Look {
        /// The file.
        file: PathBuf,
        /// Pictures to measure on.
        #[arg(long, default_value_t = 7000)]
        pictures: usize,
    },
    /// Draw some of the pictures that it learns from, as one PNG to look at: a column for each subject, and the
    /// last of nothing.
    Draw {
        /// Where to write it.
        #[arg(long)]
        out: PathBuf,
        /// Rows.
        #[arg(long, default_value_t = 6)]
        rows: usize,
        /// Of all randomness.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Draw cases of patients that a file describes (`modules/maternal.toml`), with the truth of each, one JSON a line:
    /// to teach a module by, with `adapt --own`.
    DrawCases {
        /// The description (TOML).
        file: PathBuf,
        /// Where to write the cases.
        #[arg(long)]
        out: PathBuf,
        /// How many.
        #[arg(long, default_value_t = 40_000)]
        cases: u64,
        /// Of all randomness.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Measure a module on cases that a file describes, beside what could be known of them at best.
    TryModule {
        /// The description (TOML).
        file: PathBuf,
        /// The model that phones have.
        #[arg(long, value_name = "FILE")]
        base: PathBuf,
        /// The module.
        #[arg(long, value_name = "FILE")]
        adapter: PathBuf,
        /// Cases.
        #[arg(long, default_value_t = 10_000)]
        cases: u64,
    },
    /// Ask a file about emergencies that people wrote down, one by one.
    Emergencies {
        /// The file for phones.
        file: PathBuf,
    },
}

/// How long, and of what size.
#[derive(clap::Args)]
struct TrainArgs {
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
    /// Layers of the network: 0 is the sum of what was said, a norm and linear heads.
    #[arg(long, default_value_t = Plan::REFERENCE.layers)]
    layers: usize,
    /// Width of a slot, a multiple of 64.
    #[arg(long, default_value_t = Plan::REFERENCE.width)]
    width: usize,
    /// How far a step goes.
    #[arg(long, default_value_t = Plan::REFERENCE.rate)]
    rate: f32,
    /// A model file to go on from, in the place of nothing: give another seed than it was taught with.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

/// What is taught more, by whom, and how long.
#[derive(clap::Args)]
struct TuneArgs {
    /// The model that phones have.
    base: PathBuf,
    /// A district's description (TOML), from which patients are drawn: how often diseases are seen, how words
    /// are written.
    #[arg(long, value_name = "FILE", required_unless_present = "own")]
    district: Option<PathBuf>,
    /// A district's own cases, of which the truth is known (JSON, one a line: findings, label, urgency; of a label
    /// that the model does not have, icd11). What fewer than ten of them say is not learned from.
    #[arg(long, value_name = "FILE", conflicts_with = "district")]
    own: Option<PathBuf>,
    /// Where to write the file.
    #[arg(long)]
    out: PathBuf,
    /// Of all randomness.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Steps.
    #[arg(long, default_value_t = 250)]
    steps: usize,
    /// Cases of a step.
    #[arg(long, default_value_t = 128)]
    batch: usize,
    /// How far a step goes: by default 2e-3 for an adapter, 6e-4 for all weights.
    #[arg(long)]
    rate: Option<f32>,
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
        Command::Train(args) => train(args),
        Command::Pack {
            folder,
            out,
            bits,
            cases,
        } => {
            let stored = stored(bits)?;
            report::pack(&Folder::new(folder), &out, stored, cases.max(1000))
        }
        Command::Quantize { folder, out, bits } => {
            report::quantize(&Folder::new(folder), &out, stored(bits)?)
        }
        Command::Calibrate {
            file,
            district,
            own,
            cases,
            seed,
            out,
        } => {
            let by = (district.as_deref(), own.as_deref());
            report::calibrate(&file, by, (seed, cases.max(1000)), &out)
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
            let cases = [cases.max(100), shifted];
            report::evaluate(&Folder::new(folder), &file, &beside, cases, json)
        }
        Command::Adapt { tune, merged } => {
            report::tune(&asked(&tune, Some(RANKS))?, &tune.out, merged.as_deref())
        }
        Command::Finetune { tune } => report::tune(&asked(&tune, None)?, &tune.out, None),
        Command::Compare {
            base,
            district,
            adapter,
            full,
            cases,
        } => report::compare(&base, &district, [&adapter, &full], cases.max(100)),
        Command::See {
            out,
            seed,
            steps,
            pictures,
        } => {
            let plan = see::Plan {
                seed,
                steps: steps.max(1),
                ..see::Plan::REFERENCE
            };
            sheet::see(plan, &out, pictures.max(100), &mut teller())
        }
        Command::Look { file, pictures } => sheet::look(&file, pictures.max(100)),
        Command::Draw { out, rows, seed } => sheet::sheet(&out, rows.clamp(1, 60), seed),
        Command::DrawCases {
            file,
            out,
            cases,
            seed,
        } => drawn::write(&file, &out, seed, cases),
        Command::TryModule {
            file,
            base,
            adapter,
            cases,
        } => drawn::tried(&file, &base, &adapter, cases),
        Command::Emergencies { file } => report::emergencies(&file),
    }
}

fn plan_of(args: &TrainArgs) -> Result<Plan, Fail> {
    let TrainArgs {
        seed,
        steps,
        batch,
        layers,
        width,
        rate,
        ..
    } = *args;
    sound_rate(rate)?;
    let sound = (64..=1024).contains(&width) && width % 64 == 0 && layers <= 24;
    if !sound || !(1..=4096).contains(&batch) || steps == 0 {
        return Err("a width is a multiple of 64 up to 1024, a batch 1 to 4096, layers up to 24, steps at least 1".into());
    }
    Ok(Plan {
        seed,
        width,
        heads: width / 64,
        inner: width * 4,
        layers,
        batch,
        steps,
        rate,
        pieces: Plan::REFERENCE.pieces,
        after: None,
    })
}

fn sound_rate(rate: f32) -> Result<(), Fail> {
    match rate > 0.0 && rate < 1.0 {
        true => Ok(()),
        false => Err("a rate lies between 0 and 1".into()),
    }
}

fn stored(bits: u8) -> Result<Stored, Fail> {
    match bits {
        4 => Ok(Stored::Q4),
        8 => Ok(Stored::Q8),
        _ => Err("a weight has 4 bits or 8".into()),
    }
}

fn asked(args: &TuneArgs, ranks: Option<Ranks>) -> Result<report::Asked, Fail> {
    if args.steps == 0 || !(1..=4096).contains(&args.batch) {
        return Err("steps are at least 1, a batch 1 to 4096".into());
    }
    args.rate.map_or(Ok(()), sound_rate)?;
    Ok(report::Asked {
        base: args.base.clone(),
        district: args.district.clone(),
        own: args.own.clone(),
        tuning: Tuning {
            seed: args.seed,
            steps: args.steps,
            batch: args.batch,
            rate: args.rate.unwrap_or(match ranks {
                Some(_) => 2e-3,
                None => 6e-4,
            }),
            calibration: 10_000,
            ranks,
        },
    })
}

/// Tells of progress: every so many steps, the loss and how long it will take.
fn teller() -> impl FnMut(Progress) {
    let (mut first, mut mean) = (None, 0f32);
    move |now: Progress| {
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
    }
}

fn train(args: TrainArgs) -> Result<(), Fail> {
    let (plan, pack) = (plan_of(&args)?, RulePack::built_in()?);
    let base = args.from.as_deref().map(report::base_of).transpose()?;
    let after = base.as_ref().map(|base| Digest::of(&base.file));
    let (plan, folder) = (Plan { after, ..plan }, &Folder::new(args.out));
    let began = Instant::now();
    let mut tell = teller();
    learn(
        plan,
        (&pack, base.as_ref()),
        folder,
        &|| began.elapsed().as_secs(),
        &mut |now: Progress| {
            tell(now);
            true
        },
    )?;
    eprintln!("{} holds the weights", folder.path().display());
    Ok(())
}
