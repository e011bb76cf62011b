//! Learning: patients drawn, their exact posteriors as targets, step after step. Case *n* is a function
//! of the seed and *n*, and a step of the cases it takes: so whoever goes on from a checkpoint comes to
//! the same weights as one who was not interrupted.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;

use candle_core::{Device, safetensors};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;

use inference::encode::{Encoded, Encoder, Feature};
use inference::rules::RulePack;
use protocol::Digest;

use crate::base::Base;
use crate::net::{Net, Shape};
use crate::patients::{Patient, Teacher, World, labels};
use crate::reads::{SLOTS, TEXT_SLOTS, features};
use crate::vocabulary;

/// What can go wrong.
pub type Fail = Box<dyn std::error::Error + Send + Sync>;

/// How to learn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Of all randomness.
    pub seed: u64,
    /// Width of a slot.
    pub width: usize,
    /// Heads of attention.
    pub heads: usize,
    /// Width between the products of a layer.
    pub inner: usize,
    /// Layers.
    pub layers: usize,
    /// Cases of a step.
    pub batch: usize,
    /// Steps.
    pub steps: usize,
    /// How far a step goes, after the first ones and before the last.
    pub rate: f32,
    /// Word pieces, at most.
    #[serde(default = "all_pieces")]
    pub pieces: usize,
    /// The model file that it goes on from, by its digest; from nothing without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Digest>,
}

fn all_pieces() -> usize {
    vocabulary::PIECES_MAX
}

impl Plan {
    /// The reference model.
    pub const REFERENCE: Self = Self {
        seed: 1,
        width: 384,
        heads: 6,
        inner: 1536,
        layers: 6,
        batch: 192,
        steps: 4800,
        rate: 8e-4,
        pieces: vocabulary::PIECES_MAX,
        after: None,
    };

    /// A model so small that it is made while one waits, for tests.
    pub const TINY: Self = Self {
        seed: 5,
        width: 64,
        heads: 2,
        inner: 64,
        layers: 1,
        batch: 16,
        steps: 6,
        rate: 1e-3,
        pieces: 400,
        after: None,
    };

    /// How far this step goes: up over the first steps, then down as a cosine.
    pub(crate) fn rate_at(&self, step: usize) -> f32 {
        let warm = (self.steps / 20).clamp(1, 300);
        match step < warm {
            true => self.rate * (step + 1) as f32 / warm as f32,
            false => {
                let share = (step - warm) as f32 / (self.steps - warm).max(1) as f32;
                self.rate * (0.02 + 0.49 * (1.0 + (std::f32::consts::PI * share).cos()))
            }
        }
    }
}

/// Draws the lessons.
#[derive(Debug)]
pub struct Course {
    plan: Plan,
    /// What is read of a patient.
    pub encoder: Encoder,
    /// Of ten patients, so many of each.
    teachers: [(u64, Teacher); 4],
}

/// Patients as a network reads them, and what is to be said of each.
pub type Lesson = (Vec<Encoded>, [Vec<f32>; 2]);

impl Course {
    /// The course of a plan, for one pack, with the words of the phrases to learn from.
    ///
    /// # Errors
    /// Where no vocabulary can be made.
    pub fn new(plan: Plan, pack: &RulePack) -> Result<Self, Fail> {
        let tokenizer = vocabulary::learn(plan.seed, plan.pieces)?;
        let encoder = Encoder::new(features(pack), tokenizer, TEXT_SLOTS);
        Ok(Self::with(plan, encoder, World::LEARNING))
    }

    /// The course of a plan among the patients of one world, read as `encoder` does.
    pub fn with(plan: Plan, encoder: Encoder, usual: World) -> Self {
        let worlds = [
            (5, usual),
            (
                1,
                World {
                    spoken: 0.0,
                    ..usual
                },
            ),
            (
                1,
                World {
                    missing: 0.3,
                    ..usual
                },
            ),
            // Words are lost, so that each is learned by itself and not a phrase by heart: people say it
            // otherwise (word dropout: Iyyer et al. 2015, Deep unordered composition rivals syntactic methods).
            (
                3,
                World {
                    spoken: 1.0,
                    misspelling: usual.misspelling.max(0.25),
                    lost: usual.lost.max(0.3),
                    ..usual
                },
            ),
        ];
        Self {
            plan,
            encoder,
            teachers: worlds.map(|(of, world)| (of, Teacher::new(world))),
        }
    }

    /// The plan.
    pub fn plan(&self) -> Plan {
        self.plan
    }

    /// The network's shape.
    pub fn shape(&self) -> Shape {
        Shape {
            slots: SLOTS,
            width: self.plan.width,
            heads: self.plan.heads,
            inner: self.plan.inner,
            layers: self.plan.layers,
            labels: labels().len(),
            features: self.encoder.features().len(),
            pieces: self.encoder.pieces(),
        }
    }

    /// Case *n*, and the one who knows how it was drawn.
    pub fn case(&self, n: u64) -> (Patient, &Teacher) {
        let mut rng = ChaCha8Rng::seed_from_u64(self.plan.seed);
        rng.set_stream(n);
        let [(first, teacher), rest @ ..] = &self.teachers;
        let (mut until, mut teacher) = (*first, teacher);
        for (of, next) in rest {
            if n % 10 >= until {
                teacher = next;
            }
            until += of;
        }
        (teacher.draw(&mut rng), teacher)
    }

    /// The lesson of a step.
    ///
    /// # Errors
    /// Where the tokenizer fails.
    pub fn lesson(&self, step: usize) -> Result<Lesson, Fail> {
        let (mut cases, mut differential, mut urgency) = (Vec::new(), Vec::new(), Vec::new());
        for i in 0..self.plan.batch {
            let (patient, teacher) = self.case((step * self.plan.batch + i) as u64);
            let said = teacher.posterior(&patient.seen);
            cases.push(self.encoder.encode(&patient.findings)?);
            differential.extend(said.differential);
            urgency.extend(said.urgency);
        }
        Ok((cases, [differential, urgency]))
    }
}

/// What a folder of a course holds.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

/// Says which file it is that cannot be gone on from.
fn spoilt<E: std::fmt::Display>(file: &Path) -> impl Fn(E) -> String {
    move |error| {
        format!(
            "{}: {error}; delete its folder to begin the course anew",
            file.display()
        )
    }
}

/// What stands beside the weights.
#[derive(Debug, Serialize, Deserialize)]
struct Beside {
    plan: Plan,
    /// Steps taken.
    step: usize,
    /// Seconds that they took.
    seconds: u64,
    features: Vec<String>,
    tokenizer: String,
}

#[expect(
    clippy::disallowed_methods,
    reason = "a course's checkpoints lie in a folder of their own; nothing else here does"
)]
impl Folder {
    /// This folder.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    fn weights(&self, step: usize) -> PathBuf {
        self.0.join(format!("checkpoint-{step}.safetensors"))
    }

    fn beside(&self) -> PathBuf {
        self.0.join("checkpoint.json")
    }

    /// Whether a course was begun here.
    pub fn begun(&self) -> bool {
        self.beside().exists()
    }

    fn keep(&self, course: &Course, net: &Net, step: usize, seconds: u64) -> Result<(), Fail> {
        std::fs::create_dir_all(&self.0)?;
        // Whole, or not at all.
        let draft = self.0.join("checkpoint.part");
        let all: HashMap<String, _> = net.checkpoint()?.into_iter().collect();
        safetensors::save(&all, &draft)?;
        std::fs::rename(&draft, self.weights(step))?;
        let beside = Beside {
            plan: course.plan,
            step,
            seconds,
            features: course
                .encoder
                .features()
                .iter()
                .map(Feature::name)
                .collect(),
            tokenizer: course.encoder.tokenizer_file()?,
        };
        std::fs::write(&draft, serde_json::to_vec(&beside)?)?;
        // Until here the one before is whole; from here on this one is.
        std::fs::rename(&draft, self.beside())?;
        let own = self.weights(step);
        for other in std::fs::read_dir(&self.0)?.flatten() {
            let weights = other
                .path()
                .extension()
                .is_some_and(|end| end == "safetensors");
            if weights && other.path() != own {
                std::fs::remove_file(other.path())?;
            }
        }
        Ok(())
    }

    /// The course, the network, steps taken and the seconds that they took.
    ///
    /// # Errors
    /// What is not here, or does not fit.
    pub fn open(&self) -> Result<(Course, Net, usize, u64), Fail> {
        let beside = self.beside();
        let beside: Beside =
            serde_json::from_slice(&std::fs::read(&beside).map_err(spoilt(&beside))?)
                .map_err(spoilt(&beside))?;
        let features = beside
            .features
            .iter()
            .map(|name| Feature::parse(name, SLOTS));
        let features: Option<Vec<_>> = features.collect();
        let mut tokenizer = Tokenizer::from_bytes(beside.tokenizer.as_bytes())?;
        tokenizer.set_encode_special_tokens(true);
        let features = features.ok_or("a feature is none")?;
        let encoder = Encoder::new(features, tokenizer, TEXT_SLOTS);
        let course = Course::with(beside.plan, encoder, World::LEARNING);
        let mut rng = ChaCha8Rng::seed_from_u64(beside.plan.seed);
        let mut net = Net::new(course.shape(), &mut rng)?;
        let weights = self.weights(beside.step);
        let mut all = safetensors::load(&weights, &Device::Cpu).map_err(spoilt(&weights))?;
        net.restore(|name| all.remove(name))
            .map_err(spoilt(&weights))?;
        Ok((course, net, beside.step, beside.seconds))
    }
}

/// How far a course has come.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Steps taken.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// Cases of a step.
    pub batch: usize,
    /// The mean cross-entropy of differential and urgency.
    pub loss: f32,
}

/// Steps between two checkpoints.
const KEEP_EVERY: usize = 200;

/// A course of a plan and its network, from nothing or from a model file.
fn begin(plan: Plan, pack: &RulePack, after: Option<&Base>) -> Result<(Course, Net), Fail> {
    if let Some(base) = after {
        return base.begin(plan, pack);
    }
    let course = Course::new(plan, pack)?;
    let net = Net::new(course.shape(), &mut ChaCha8Rng::seed_from_u64(plan.seed))?;
    Ok((course, net))
}

/// Begins a course in a folder, from nothing or from a model file, or goes on with the one that was begun
/// there, to its end. `clock` says
/// seconds; `told` hears of each step and may end it.
///
/// # Errors
/// What cannot be written, read or learned.
pub fn learn(
    plan: Plan,
    (pack, after): (&RulePack, Option<&Base>),
    folder: &Folder,
    clock: &dyn Fn() -> u64,
    told: &mut dyn FnMut(Progress) -> bool,
) -> Result<(Course, Net), Fail> {
    let (course, mut net, mut step, before) = match folder.begun() {
        true => {
            let begun = folder.open()?;
            if begun.0.plan != plan {
                let folder = folder.path().display();
                return Err(format!(
                    "{folder} holds a course with another plan: go on with the same options, or choose another folder"
                )
                .into());
            }
            begun
        }
        false => {
            let (course, net) = begin(plan, pack, after)?;
            (course, net, 0, 0)
        }
    };
    let (plan, began) = (course.plan, clock());
    let seconds = || before + clock().saturating_sub(began);
    let first = step;
    std::thread::scope(|threads| {
        let (lessons, next) = sync_channel(4);
        let course = &course;
        threads.spawn(move || {
            for step in first..plan.steps {
                if lessons.send(course.lesson(step)).is_err() {
                    break; // nobody learns any more
                }
            }
        });
        while step < plan.steps {
            let (cases, targets) = next.recv()??;
            let loss = net.learn(&cases, targets, plan.rate_at(step), step as i32 + 1)?;
            if !loss.is_finite() {
                return Err(format!(
                    "step {step} has lost its way: go on from the checkpoint with a lower rate"
                )
                .into());
            }
            step += 1;
            let progress = Progress {
                step,
                steps: plan.steps,
                batch: plan.batch,
                loss,
            };
            let go_on = told(progress);
            if step % KEEP_EVERY == 0 || step == plan.steps || !go_on {
                folder.keep(course, &net, step, seconds())?;
            }
            if !go_on {
                break;
            }
        }
        Ok::<_, Fail>(())
    })?;
    Ok((course, net))
}
