//! From a course's weights to a file for phones: quantized, calibrated on patients of its own, with
//! golden cases and a card.

use std::collections::BTreeMap;
use std::io::Cursor;

use candle_core::quantized::gguf_file::{self, Value as Meta};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value as Json};

use clinical::{FindingValue, Urgency};
use inference::encode::Feature;
use inference::findings::Findings;
use inference::model::{ARCHITECTURE, Calibration, GoldenCase, TriageModel};
use inference::pictures::PREFIX;
use inference::transformer::{Shape, softmax};

use crate::learn::{Course, Fail};
use crate::net::Net;
use crate::patients::{Patient, Teacher, Wording, World, labels};
use crate::reads::TEXT_SLOTS;

/// How matrices are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// 4 bits.
    Q4,
    /// 8 bits.
    Q8,
}

/// Everything of a file that may change without its weights.
#[derive(Debug, Clone)]
pub struct Beside {
    /// Temperatures and thresholds.
    pub calibration: Calibration,
    /// Cases with what comes out of them.
    pub golden: Vec<GoldenCase>,
    /// For people.
    pub card: String,
}

/// Nothing calibrated yet.
pub fn uncalibrated() -> Beside {
    let none = GoldenCase {
        findings: Json::Null,
        differential: Vec::new(),
        urgency: Vec::new(),
    };
    Beside {
        calibration: Calibration {
            differential_temperature: 1.0,
            urgency_temperature: 1.0,
            yellow_above: 1.0,
            pink_above: 1.0,
            abstain_below: 0.0,
            understood_above: 0.0,
            set_above: 0.0,
        },
        golden: vec![none],
        card: "draft".into(),
    }
}

/// A file of these weights. Heads stay at 8 bits: they are small, and every error of theirs is one of
/// the answer.
///
/// # Errors
/// What the library says.
pub fn write(course: &Course, net: &Net, stored: Stored, beside: &Beside) -> Result<Vec<u8>, Fail> {
    write_tensors(course, net, &net.tensors()?, stored, beside)
}

/// The same with weights of another origin, by name.
///
/// # Errors
/// What the library says.
pub fn write_tensors(
    course: &Course,
    net: &Net,
    tensors: &BTreeMap<String, Tensor>,
    stored: Stored,
    beside: &Beside,
) -> Result<Vec<u8>, Fail> {
    let names: Vec<_> = course
        .encoder
        .features()
        .iter()
        .map(Feature::name)
        .collect();
    let shape = Shape {
        slots: net.shape.slots,
        width: net.shape.width,
        heads: net.shape.heads,
        inner: net.shape.inner,
        layers: net.shape.layers,
        text: TEXT_SLOTS,
    };
    let json = |key: &'static str, text: serde_json::Result<String>| {
        Ok::<_, Fail>((key, Meta::String(text?)))
    };
    let meta = [
        ("general.architecture", Meta::String(ARCHITECTURE.into())),
        json("kijiti.shape", serde_json::to_string(&shape))?,
        json("kijiti.features", serde_json::to_string(&names))?,
        json("kijiti.labels", serde_json::to_string(&labels()))?,
        json(
            "kijiti.calibration",
            serde_json::to_string(&beside.calibration),
        )?,
        json("kijiti.golden", serde_json::to_string(&beside.golden))?,
        (
            "kijiti.tokenizer",
            Meta::String(course.encoder.tokenizer_file()?),
        ),
        ("kijiti.card", Meta::String(beside.card.clone())),
    ];
    let quantized = tensors.iter().map(|(name, tensor)| {
        let head = name.starts_with("differential") || name.starts_with("urgency");
        let kind = match (tensor.dims().len(), stored) {
            _ if name == "slots.weight" => GgmlDType::F32,
            (2, _) if head => GgmlDType::Q8_0,
            (2, Stored::Q4) => GgmlDType::Q4_0,
            (2, Stored::Q8) => GgmlDType::Q8_0,
            _ => GgmlDType::F32,
        };
        Ok((
            name.as_str(),
            QTensor::quantize(&tensor.to_device(&Device::Cpu)?, kind)?,
        ))
    });
    let quantized = quantized.collect::<Result<Vec<_>, Fail>>()?;
    let mut file = Cursor::new(Vec::new());
    gguf_file::write(
        &mut file,
        &meta
            .iter()
            .map(|(key, value)| (*key, value))
            .collect::<Vec<_>>(),
        &quantized
            .iter()
            .map(|(name, tensor)| (*name, tensor))
            .collect::<Vec<_>>(),
    )?;
    Ok(file.into_inner())
}

/// A model file with everything beside its weights changed, and the weights as they are.
///
/// # Errors
/// What is no model file.
pub fn with_beside(file: &[u8], beside: &Beside) -> Result<Vec<u8>, Fail> {
    let mut reader = Cursor::new(file);
    let mut content = gguf_file::Content::read(&mut reader)?;
    let changed = [
        (
            "kijiti.calibration",
            serde_json::to_string(&beside.calibration)?,
        ),
        ("kijiti.golden", serde_json::to_string(&beside.golden)?),
        ("kijiti.card", beside.card.clone()),
    ];
    let mut meta: Vec<_> = std::mem::take(&mut content.metadata).into_iter().collect();
    for (key, text) in changed {
        meta.retain(|(other, _)| other != key);
        meta.push((key.to_owned(), Meta::String(text)));
    }
    // In an order of its own: the same input gives the same bytes.
    meta.sort_by(|a, b| a.0.cmp(&b.0));
    let mut names: Vec<_> = content.tensor_infos.keys().cloned().collect();
    names.sort();
    let tensors = names.iter().map(|name| {
        let tensor = content.tensor(&mut reader, name, &Device::Cpu)?;
        Ok((name.as_str(), tensor))
    });
    let tensors = tensors.collect::<Result<Vec<_>, Fail>>()?;
    let mut out = Cursor::new(Vec::new());
    let meta: Vec<_> = meta
        .iter()
        .map(|(key, value)| (key.as_str(), value))
        .collect();
    let named: Vec<_> = tensors
        .iter()
        .map(|(name, tensor)| (*name, tensor))
        .collect();
    gguf_file::write(&mut out, &meta, &named)?;
    Ok(out.into_inner())
}

/// Of a hundred patients who are not pink, so many may be shown pink by the model.
pub const FALSE_PINK: f64 = 0.05;
/// Of a hundred who are green, so many may be shown yellow.
const FALSE_YELLOW: f64 = 0.10;
/// Of a hundred patients of the kind that it knows, it abstains on so many for being unsure, and on so
/// many for words that it does not know.
const UNSURE: f64 = 0.01;
/// Of ten patients, so many may have another disease than those shown.
const OUTSIDE: f64 = 0.10;

/// The value below which at most this share of some lie, and of one more like them; `None` of so few
/// that the share says nothing.
fn quantile(mut of: Vec<f32>, share: f64) -> Option<f32> {
    of.sort_by(f32::total_cmp);
    let least = SAYS_SOMETHING / share.min(1.0 - share);
    let at = ((share * (of.len() + 1) as f64) as usize).saturating_sub(1);
    let at = of.get(at.min(of.len().saturating_sub(1)));
    at.copied().filter(|_| of.len() as f64 >= least)
}

/// Of whom a quantile is taken, so many lie beyond it at least.
const SAYS_SOMETHING: f64 = 2.0;

/// A patient of whom the truth is known.
#[derive(Debug, Clone)]
pub struct Known {
    /// What was found.
    pub findings: Findings,
    /// Which label, by its place.
    pub label: usize,
    /// What the patient deserved.
    pub urgency: Urgency,
}

/// Temperatures and thresholds of a model, on drawn patients that it has not learned from, and that
/// nothing is reported on.
///
/// # Errors
/// Where the model fails on one.
pub fn calibrate(
    model: &TriageModel,
    world: World,
    seed: u64,
    cases: usize,
) -> Result<Calibration, Fail> {
    let teacher = Teacher::new(World {
        wording: Wording::Calibrate,
        ..world
    });
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xCA11_B8A7E);
    let known = |patient: Patient| Known {
        findings: patient.findings,
        label: patient.label,
        urgency: patient.urgency,
    };
    let drawn: Vec<_> = (0..cases).map(|_| known(teacher.draw(&mut rng))).collect();
    calibrate_on(model, &drawn, model.calibration())
}

/// Temperatures and thresholds of a model on patients of whom the truth is known. A threshold for which
/// they are too few is that of `else_as`.
///
/// # Errors
/// Where the model fails on one.
pub fn calibrate_on(
    model: &TriageModel,
    drawn: &[Known],
    else_as: &Calibration,
) -> Result<Calibration, Fail> {
    let asked = drawn
        .iter()
        .map(|patient| Ok(model.logits(&patient.findings)?));
    let asked = asked.collect::<Result<Vec<_>, Fail>>()?;
    let truths = || {
        drawn
            .iter()
            .map(|patient| (patient.label, patient.urgency as usize))
    };
    // The temperature of least surprise (Guo et al. 2017), over a grid.
    let cooled = |which: usize| {
        let surprise = |temperature: f64| {
            let of = asked
                .iter()
                .zip(truths())
                .map(|(([d, u], _), (label, urgency))| {
                    let (logits, truth) = if which == 0 { (d, label) } else { (u, urgency) };
                    let chance = softmax(logits, temperature).get(truth).copied();
                    -f64::from(chance.unwrap_or_default().max(1e-9)).ln()
                });
            of.sum::<f64>()
        };
        let grid = (0..60).map(|i| 0.6 + 0.02 * f64::from(i));
        grid.min_by(|a, b| surprise(*a).total_cmp(&surprise(*b)))
            .unwrap_or(1.0)
    };
    let (differential_temperature, urgency_temperature) = (cooled(0), cooled(1));
    let mut not_pink = Vec::new();
    let (mut green, mut first, mut right, mut understood) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (([d, u], share), patient) in asked.iter().zip(drawn) {
        let (d, u) = (
            softmax(d, differential_temperature),
            softmax(u, urgency_temperature),
        );
        let [_, yellow, pink] =
            <[f32; 3]>::try_from(u).map_err(|_| "three colours are expected")?;
        if patient.urgency != Urgency::Pink {
            not_pink.push(pink);
        }
        if patient.urgency == Urgency::Green {
            green.push(pink + yellow);
        }
        first.push(d.iter().copied().fold(0.0, f32::max));
        right.push(d.get(patient.label).copied().unwrap_or_default());
        if !patient.findings.text().is_empty() {
            understood.push(*share);
        }
    }
    Ok(Calibration {
        differential_temperature,
        urgency_temperature,
        pink_above: quantile(not_pink, 1.0 - FALSE_PINK).unwrap_or(else_as.pink_above),
        yellow_above: quantile(green, 1.0 - FALSE_YELLOW).unwrap_or(else_as.yellow_above),
        abstain_below: quantile(first, UNSURE).unwrap_or(else_as.abstain_below),
        understood_above: quantile(understood, UNSURE).unwrap_or(else_as.understood_above),
        set_above: quantile(right, OUTSIDE).unwrap_or(else_as.set_above),
    })
}

/// A patient's findings as a file has them.
pub fn file_of(findings: &Findings) -> Json {
    let mut file = Map::new();
    let infant = findings.group() == clinical::AgeGroup::Infant;
    let age = if infant { "age_days" } else { "age_months" };
    for (name, value) in findings.said() {
        let said = match value {
            FindingValue::Number(number) => (*number).into(),
            other => other.words().into(),
        };
        if !name.starts_with("age_") || name == age {
            file.insert(name.clone(), said);
        }
    }
    for (subject, read) in findings.pictures() {
        file.insert(format!("{PREFIX}{subject}"), (*read).into());
    }
    if !findings.text().is_empty() {
        file.insert("text".into(), findings.text().into());
    }
    Json::Object(file)
}

/// Golden cases of a model: what comes out of it here must come out of it everywhere.
///
/// # Errors
/// Where the model fails on one.
pub fn golden(
    model: &TriageModel,
    world: World,
    seed: u64,
    cases: usize,
) -> Result<Vec<GoldenCase>, Fail> {
    let teacher = Teacher::new(World {
        wording: Wording::Both,
        ..world
    });
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x6_01DE_12E5);
    let case = |_| {
        let patient = teacher.draw(&mut rng);
        let (differential, urgency) = model.probabilities(&patient.findings)?;
        Ok(GoldenCase {
            findings: file_of(&patient.findings),
            differential,
            urgency,
        })
    };
    (0..cases).map(case).collect()
}
