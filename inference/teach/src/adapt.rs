//! Fine-tuning a model that phones have on a district's patients: all of its weights, or an adapter beside
//! it, which is a fortieth of its size. What is taught is the model as it runs, quantized.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::sync::mpsc::sync_channel;

use candle_core::quantized::gguf_file::{self, Value as Meta};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use clinical::{AgeGroup, Urgency};
use inference::encode::{Encoded, Encoder, Feature, Row};
use inference::model::adapter::{ARCHITECTURE, Adapter, Form};
use inference::model::{Calibration, Label, TriageModel};

pub use crate::base::Base;
use crate::learn::{Course, Fail, Lesson, Plan, Progress};
use crate::net::{Net, Ranks};
use crate::own::{Own, SHARED};
use crate::patients::{World, labels};
use crate::publish::{self, Beside, Known, Stored};

/// Ranks of an adapter that fits into 0.4 MB beside the reference model.
pub const RANKS: Ranks = Ranks {
    matrices: 3,
    rows: 8,
};
/// Rows of words that an adapter may say something of: those it has learned most of. A district's patients, drawn
/// anew at each step, say more words than a file of cases does.
const ROWS_OF_DRAWN: usize = 8_000;
const ROWS_OF_OWN: usize = 6_000;
/// Golden cases of an adapter.
const GOLDEN: usize = 24;
/// Of a district's own cases, one in so many is kept for calibration and never learned from.
const KEPT: usize = 5;

/// Where patients to learn from come from.
pub enum Patients {
    /// Drawn as they are in a district.
    Drawn(Box<World>),
    /// A district's own, of whom the truth is known.
    Own(Own),
}

/// A district as a file describes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DistrictFile {
    /// How often a disease is seen, beside what is usual.
    #[serde(default)]
    more: BTreeMap<String, f64>,
    /// Letters that are written otherwise here.
    #[serde(default)]
    dialect: Vec<(String, String)>,
    /// Highland 0, lakeside 1, dry plains 2.
    place: Option<usize>,
    /// How much more is missing than is usual.
    #[serde(default)]
    missing: f64,
}

/// Reads a district's description (TOML). What it says is kept for the rest of the program.
///
/// # Errors
/// What is no description, or names diseases that there are not.
pub fn read_district(text: &str) -> Result<World, Fail> {
    let file: DistrictFile = toml::from_str(text)?;
    let names = labels();
    let unknown = |name: &&String| names.iter().all(|label| label.name != **name);
    if let Some(name) = file.more.keys().find(unknown) {
        let all: Vec<_> = names.iter().map(|label| label.name.as_str()).collect();
        return Err(format!(
            "there is no disease {name:?} here; there are {}",
            all.join(", ")
        )
        .into());
    }
    let sane = |x: &f64| (0.0..=1000.0).contains(x);
    if !file.more.values().all(sane) || !(0.0..0.9).contains(&file.missing) {
        return Err(
            "how much more often is a number up to 1000, and what is missing a share below 0.9"
                .into(),
        );
    }
    if file.place.is_some_and(|place| place > 2) {
        return Err("a place is 0 (highland), 1 (lakeside) or 2 (dry plains)".into());
    }
    let kept = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let more = file.more.into_iter().map(|(name, more)| (kept(name), more));
    let dialect = file.dialect.into_iter();
    let dialect = dialect.map(|(from, to)| (kept(from), kept(to)));
    Ok(World {
        more: Box::leak(more.collect::<Vec<_>>().into_boxed_slice()),
        dialect: Box::leak(dialect.collect::<Vec<_>>().into_boxed_slice()),
        place: file.place,
        missing: file.missing,
        ..World::LEARNING
    })
}

/// How to tune.
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    /// Of all randomness.
    pub seed: u64,
    /// Steps.
    pub steps: usize,
    /// Cases of a step.
    pub batch: usize,
    /// How far a step goes.
    pub rate: f32,
    /// Drawn patients to calibrate on.
    pub calibration: usize,
    /// An adapter of these ranks; all weights without.
    pub ranks: Option<Ranks>,
}

/// A district's own cases as they are learned from: what fewer than [`SHARED`] of them say is left out, so
/// that no row of what is published is one patient's word.
fn shared(own: &Own, encoder: &Encoder) -> Result<Vec<(Encoded, usize, Urgency)>, Fail> {
    let read = |case: &Known| {
        let encoded = encoder.encode(&case.findings)?;
        Ok((encoded, case.label, case.urgency))
    };
    let mut cases = own
        .known
        .iter()
        .map(read)
        .collect::<Result<Vec<_>, Fail>>()?;
    let of: [fn(&mut Encoded) -> &mut Vec<Row>; 3] = [
        |case| &mut case.features,
        |case| &mut case.grams,
        |case| &mut case.pieces,
    ];
    for rows_of in of {
        let mut counts = BTreeMap::new();
        for (case, ..) in &mut cases {
            let said: BTreeSet<_> = rows_of(case).iter().map(|row| row.row).collect();
            said.into_iter()
                .for_each(|row| *counts.entry(row).or_insert(0usize) += 1);
        }
        let many = |row: &Row| counts.get(&row.row).is_some_and(|count| *count >= SHARED);
        cases
            .iter_mut()
            .for_each(|(case, ..)| rows_of(case).retain(many));
    }
    Ok(cases)
}

/// Own cases as lessons: the truth, not quite certain.
fn lesson_of(
    known: &[(Encoded, usize, Urgency)],
    (batch, labels): (usize, usize),
    step: usize,
) -> Lesson {
    const DOUBT: f32 = 0.05;
    let (mut cases, mut differential, mut urgency) = (Vec::new(), Vec::new(), Vec::new());
    let soft = |truth: usize, of: usize| {
        (0..of).map(move |at| match at == truth {
            true => 1.0 - DOUBT,
            false => DOUBT / (of - 1).max(1) as f32,
        })
    };
    // Every case comes up once before any comes up again.
    for at in (step * batch..(step + 1) * batch).map(|at| at % known.len().max(1)) {
        let Some(case) = known.get(at) else {
            continue;
        };
        let (encoded, label, colour) = case;
        cases.push(encoded.clone());
        differential.extend(soft(*label, labels));
        urgency.extend(soft(*colour as usize, 3));
    }
    (cases, [differential, urgency])
}

/// What a tuning has come to.
pub struct Tuned {
    course: Course,
    net: Net,
    world: World,
    own: Option<Own>,
    labels: Vec<Label>,
    tuning: Tuning,
}

/// Teaches a network by what a course draws, or by a district's own cases if there are any.
fn teach(
    net: &mut Net,
    (course, learned): (&Course, &[(Encoded, usize, Urgency)]),
    told: &mut dyn FnMut(Progress),
) -> Result<(), Fail> {
    let (plan, labels) = (course.plan(), net.shape.labels);
    std::thread::scope(|threads| {
        let (lessons, next) = sync_channel(4);
        threads.spawn(move || {
            for step in 0..plan.steps {
                let lesson = match learned.is_empty() {
                    true => course.lesson(step),
                    false => Ok(lesson_of(learned, (plan.batch, labels), step)),
                };
                if lessons.send(lesson).is_err() {
                    break;
                }
            }
        });
        for step in 0..plan.steps {
            let (cases, targets) = next.recv()??;
            let loss = net.learn(&cases, targets, plan.rate_at(step), step as i32 + 1)?;
            if !loss.is_finite() {
                return Err(format!("step {step} has lost its way: take a lower rate").into());
            }
            told(Progress {
                step: step + 1,
                steps: plan.steps,
                batch: plan.batch,
                loss,
            });
        }
        Ok::<_, Fail>(())
    })
}

/// Teaches a base on patients of a district.
///
/// # Errors
/// What cannot be learned.
pub fn tune(
    base: &Base,
    patients: &Patients,
    tuning: Tuning,
    told: &mut dyn FnMut(Progress),
) -> Result<Tuned, Fail> {
    let (world, own) = match patients {
        Patients::Drawn(world) => (**world, None),
        Patients::Own(own) => (World::LEARNING, Some(own.clone())),
    };
    let labels = own.as_ref().map_or(base.model.labels(), |own| &own.labels);
    let labels = labels.to_vec();
    let more = own.as_ref().map_or(&[][..], |own| &own.features);
    let encoder = base.model.encoder().with(more);
    let shape = base.shape(&encoder, labels.len());
    let plan = Plan {
        seed: tuning.seed ^ 0xD157_41C7,
        width: shape.width,
        heads: shape.heads,
        inner: shape.inner,
        layers: shape.layers,
        batch: tuning.batch,
        steps: tuning.steps,
        rate: tuning.rate,
        pieces: shape.pieces,
        after: None,
    };
    let course = Course::with(plan, encoder, world);
    let mut net = base.net(shape, tuning.seed)?;
    if let Some(ranks) = tuning.ranks {
        net.freeze(ranks, &mut ChaCha8Rng::seed_from_u64(tuning.seed))?;
    }
    let known = own.as_ref().map(|own| shared(own, &course.encoder));
    let known = known.transpose()?.unwrap_or_default().into_iter();
    let learned = known.enumerate().filter(|(at, _)| at % KEPT != 0);
    let learned: Vec<_> = learned.map(|(_, known)| known).collect();
    teach(&mut net, (&course, &learned), told)?;
    Ok(Tuned {
        course,
        net,
        world,
        own,
        labels,
        tuning,
    })
}

const WARNING: &str = "NOT CLINICALLY VALIDATED: taught by synthetic patients, or by a district's own cases that nobody here has checked.";

impl Tuned {
    /// The network as it was taught, and what it reads of patients.
    pub fn taught(&self) -> (&Net, &Encoder) {
        (&self.net, &self.course.encoder)
    }

    fn card(&self, of: &str, base: &Base) -> String {
        let from = match &self.own {
            None => "drawn patients of a district".to_owned(),
            Some(own) => format!(
                "{} cases of a district's own, a fifth of them kept for calibration",
                own.known.len()
            ),
        };
        let Tuning {
            seed,
            steps,
            batch,
            rate,
            ..
        } = self.tuning;
        format!(
            "Kijiti {of}. {WARNING}\nBase: {}. Taught by {from}: {steps} steps of {batch}, rate {rate}, seed {seed}.\n\
             For what its base is for, and nothing else; it may raise urgency and never lowers it.",
            base.digest
        )
    }

    /// Everything beside the weights: calibrated, with golden cases, on `model`.
    fn beside(
        &self,
        (card, else_as): (String, &Calibration),
        make: &dyn Fn(&Beside) -> Result<TriageModel, Fail>,
    ) -> Result<Beside, Fail> {
        let mut beside = Beside {
            card,
            ..publish::uncalibrated()
        };
        let draft = make(&beside)?;
        beside.calibration = match &self.own {
            None => {
                let Tuning {
                    seed, calibration, ..
                } = self.tuning;
                publish::calibrate(&draft, self.world, seed, calibration)?
            }
            Some(own) => {
                let kept: Vec<_> = own.known.iter().step_by(KEPT).cloned().collect();
                publish::calibrate_on(&draft, &kept, else_as)?
            }
        };
        let model = make(&beside)?;
        let seed = self.tuning.seed;
        beside.golden = match &self.own {
            None => publish::golden(&model, self.world, seed, GOLDEN)?,
            Some(own) => own.golden(&model, seed, GOLDEN)?,
        };
        Ok(beside)
    }

    /// A whole model of the tuned weights, 4 bits each: what a fine-tune of all weights ships as. Of an
    /// adapter, what it would be if it were merged.
    ///
    /// # Errors
    /// What the library says.
    pub fn whole(&self, base: &Base) -> Result<Vec<u8>, Fail> {
        if self.labels != base.model.labels() {
            return Err("a whole model keeps its labels: cases with others make an adapter".into());
        }
        let mut tensors = self.net.tensors()?;
        if let Some(ranks) = self.tuning.ranks {
            merge(&mut tensors, &self.net, (ranks, self.rows()))?;
        }
        let write = |beside: &Beside| {
            publish::write_tensors(&self.course, &self.net, &tensors, Stored::Q4, beside)
        };
        let made = |beside: &Beside| Ok(TriageModel::load("tuned", &write(beside)?)?);
        let beside = self.beside(
            (
                self.card("fine-tune of all weights", base),
                base.model.calibration(),
            ),
            &made,
        )?;
        write(&beside)
    }

    /// The adapter's file.
    ///
    /// # Errors
    /// Of a fine-tune of all weights; and what the library says.
    pub fn adapter(&self, base: &Base) -> Result<Vec<u8>, Fail> {
        let ranks = self
            .tuning
            .ranks
            .ok_or("all weights were tuned: there is no adapter")?;
        let write = |beside: &Beside| self.write_adapter(base, ranks, beside);
        let made = |beside: &Beside| {
            let adapter = Adapter::load(&write(beside)?)?;
            Ok(base.model.with(&adapter, "draft")?)
        };
        let beside = self.beside(
            (self.card("adapter", base), base.model.calibration()),
            &made,
        )?;
        write(&beside)
    }

    /// Rows of words that are published.
    fn rows(&self) -> usize {
        match self.own {
            Some(_) => ROWS_OF_OWN,
            None => ROWS_OF_DRAWN,
        }
    }

    fn write_adapter(&self, base: &Base, ranks: Ranks, beside: &Beside) -> Result<Vec<u8>, Fail> {
        let (tensors, rows) = self.net.learned();
        let rows = most_said(rows, self.rows());
        let features = base.model.encoder().features().len();
        let children = [AgeGroup::Infant, AgeGroup::Child];
        let patients = self.own.as_ref().map_or(&children[..], |own| &own.patients);
        let form = Form {
            base: base.digest.clone(),
            shape: base.model.network().shape(),
            features,
            rank: ranks.matrices,
            row_rank: ranks.rows,
            patients: patients
                .iter()
                .map(|group| group.name().to_owned())
                .collect(),
        };
        let more = self.course.encoder.features().iter().skip(features);
        let more: Vec<_> = more.map(Feature::name).collect();
        let json =
            |key, text: serde_json::Result<String>| Ok::<_, Fail>((key, Meta::String(text?)));
        let mut meta = vec![
            ("general.architecture", Meta::String(ARCHITECTURE.into())),
            json("kijiti.form", serde_json::to_string(&form))?,
            json("kijiti.features", serde_json::to_string(&more))?,
            json("kijiti.labels", serde_json::to_string(&self.labels))?,
            json(
                "kijiti.calibration",
                serde_json::to_string(&beside.calibration),
            )?,
            json("kijiti.golden", serde_json::to_string(&beside.golden))?,
            ("kijiti.card", Meta::String(beside.card.clone())),
        ];
        const KEYS: [&str; 3] = [
            "kijiti.rows.features",
            "kijiti.rows.grams",
            "kijiti.rows.pieces",
        ];
        for (key, rows) in KEYS.into_iter().zip(&rows) {
            let rows = rows.iter().map(|(row, _)| Meta::U32(*row as u32));
            meta.push((key, Meta::Array(rows.collect())));
        }
        let quantized = quantized(&tensors, &rows)?;
        let mut file = Cursor::new(Vec::new());
        let meta: Vec<_> = meta.iter().map(|(key, value)| (*key, value)).collect();
        let named = quantized
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor));
        gguf_file::write(&mut file, &meta, &named.collect::<Vec<_>>())?;
        Ok(file.into_inner())
    }
}

/// An adapter's tensors as its file has them.
fn quantized(
    tensors: &BTreeMap<String, Tensor>,
    rows: &Rows,
) -> Result<Vec<(String, QTensor)>, Fail> {
    let mut quantized = Vec::new();
    for (name, tensor) in tensors {
        let matrix = tensor.dims().len() == 2;
        let kind = if matrix {
            GgmlDType::Q8_0
        } else {
            GgmlDType::F32
        };
        quantized.push((name.clone(), QTensor::quantize(tensor, kind)?));
    }
    let mut own: Vec<f32> = rows
        .iter()
        .flatten()
        .flat_map(|(_, row)| row.clone())
        .collect();
    if !own.is_empty() {
        // Blocks of 32 share a scale: rows of one table stand together.
        own.resize(own.len().next_multiple_of(32), 0.0);
        let blocks = own.len() / 32;
        let own = Tensor::from_vec(own, (blocks, 32), &Device::Cpu)?;
        let own = QTensor::quantize(&own, GgmlDType::Q8_0)?;
        quantized.push(("rows.coefficients".to_owned(), own));
    }
    Ok(quantized)
}

/// Rows of each table, their coefficients, in order; of too many, those that say most.
type Rows = [Vec<(usize, Vec<f32>)>; 3];

fn most_said(mut rows: Rows, most: usize) -> Rows {
    let says = |row: &[f32]| row.iter().map(|x| x * x).sum::<f32>();
    let all = rows.iter().flatten();
    let mut said: Vec<f32> = all.map(|(_, row)| says(row)).collect();
    said.sort_by(|a, b| b.total_cmp(a));
    let least = said.get(most).copied().unwrap_or(0.0);
    rows.iter_mut()
        .for_each(|rows| rows.retain(|(_, row)| says(row) > least));
    rows
}

/// Puts factors into the matrices that they stand beside.
fn merge(
    tensors: &mut BTreeMap<String, Tensor>,
    net: &Net,
    (ranks, most): (Ranks, usize),
) -> Result<(), Fail> {
    let (learned, rows) = net.learned();
    for (name, down) in &learned {
        let Some(matrix) = name.strip_suffix(".down") else {
            continue;
        };
        let up = learned
            .get(&format!("{matrix}.up"))
            .ok_or("a factor without its other")?;
        let weight = tensors.get_mut(&format!("{matrix}.weight"));
        if let Some(weight) = weight {
            *weight = (&*weight + up.t()?.matmul(down)?)?;
        }
        tensors.remove(&format!("{matrix}.low.down"));
        tensors.remove(&format!("{matrix}.low.up"));
    }
    let up = tensors.remove("rows.up").ok_or("no factor of rows")?;
    for (name, rows) in crate::net::TABLES.iter().zip(most_said(rows, most)) {
        let Some(table) = tensors.get_mut(*name) else {
            continue;
        };
        let (count, _) = table.dims2()?;
        let mut own = vec![0f32; count * ranks.rows];
        for (row, coefficients) in rows {
            let place = own.get_mut(row * ranks.rows..(row + 1) * ranks.rows);
            place.unwrap_or_default().copy_from_slice(&coefficients);
        }
        let own = Tensor::from_vec(own, (count, ranks.rows), &Device::Cpu)?;
        *table = (&*table + own.matmul(&up)?)?;
    }
    Ok(())
}
