//! A model as it comes in a release: one GGUF file with quantized weights, tokenizer, labels,
//! feature names, calibration and golden cases. Everything in it comes from outside: sizes and
//! names are checked before any of it is used, and the golden cases must come out right on this
//! very phone before it runs.

use std::io::{Cursor, Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use tokenizers::Tokenizer;

use clinical::{AgeGroup, FindingValue, Urgency};

use crate::encode::{Encoder, Feature, GRAM_ROWS};
use crate::findings::Findings;
use crate::rules::RulePack;
use crate::transformer::{Shape, Transformer, softmax};

pub mod adapter;
pub(crate) mod file;
pub(crate) mod tensors;

use adapter::{Adapter, Beside};
use file::{check_tokenizer, read_json, text};
use tensors::Tensors;

/// The architecture name in the file.
pub const ARCHITECTURE: &str = "kijiti-triage-2";
/// Bytes of a model file that this engine takes.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
const FEATURES_MAX: usize = 2048;
const LABELS_MAX: usize = 512;
const GOLDEN_MAX: usize = 512;
/// Labels of a differential that are shown, at most.
const SHOWN_MAX: usize = 5;
/// How far a probability may lie from the published one on this phone.
pub const GOLDEN_TOLERANCE: f32 = 0.02;

/// Why a model is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// Not a model of this architecture, or out of its limits.
    #[error("not a usable model file: {0}")]
    Malformed(String),
    /// A golden case came out wrong here.
    #[error("golden case {case} came out wrong on this phone: {reason}")]
    Golden {
        /// Its number, from 1.
        case: usize,
        /// What differs.
        reason: String,
    },
}

/// One disease or state of the differential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Its name.
    pub name: String,
    /// ICD-11.
    pub icd11: String,
}

/// Numbers set on held-out cases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Temperature of the differential.
    pub differential_temperature: f64,
    /// Temperature of the urgency.
    pub urgency_temperature: f64,
    /// Raise to yellow above this probability of yellow or pink.
    pub yellow_above: f32,
    /// Raise to pink above this probability of pink.
    pub pink_above: f32,
    /// Abstain when the most likely label is below this.
    pub abstain_below: f32,
    /// Abstain when less than this share of what was said is understood.
    pub understood_above: f32,
    /// Labels of at least this probability are shown: among them is the right one of nine in ten
    /// patients (split conformal prediction, Vovk et al. 2005), as far as five can be shown.
    pub set_above: f32,
}

/// A case with its published result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GoldenCase {
    /// The findings, as in a findings file.
    pub findings: Json,
    /// The differential's probabilities, all labels.
    pub differential: Vec<f32>,
    /// Green, yellow, pink.
    pub urgency: Vec<f32>,
}

/// What the model says of one case.
#[derive(Debug, Clone, PartialEq)]
pub struct Opinion {
    /// Labels, the most likely first, with calibrated probabilities.
    pub differential: Vec<(Label, f32)>,
    /// Probability of green, yellow, pink.
    pub urgency: [f32; 3],
    /// Too unsure to say anything, or nothing is known of the patient but words; it may raise on those all the same.
    pub abstained: bool,
    /// Whether it makes sense of the words, and is sure enough to be heard.
    heard: bool,
    /// How many of the differential are to be shown.
    shown: usize,
    raises_to: Option<Urgency>,
}

impl Opinion {
    /// The colour that the model would raise to; `None` when it sees no need, or makes no sense of the
    /// patient.
    pub fn raises_to(&self) -> Option<Urgency> {
        self.raises_to.filter(|_| self.heard)
    }

    /// Whether it makes sense of what is said of the patient.
    pub fn understands(&self) -> bool {
        self.heard
    }

    /// As it is shown and kept: those that may well be, five at most.
    pub fn said(&self) -> clinical::assessment::Opinion {
        let ranked = |(label, p): &(Label, f32)| clinical::assessment::Ranked {
            name: label.name.clone(),
            icd11: label.icd11.clone(),
            probability: *p,
        };
        clinical::assessment::Opinion {
            abstained: self.abstained,
            raises_to: self.raises_to(),
            differential: self
                .differential
                .iter()
                .take(self.shown)
                .map(ranked)
                .collect(),
        }
    }
}

/// A loaded model: a base as it is, or with an adapter beside it.
pub struct TriageModel {
    name: String,
    network: Arc<Transformer>,
    encoder: Arc<Encoder>,
    /// What stands beside the network.
    beside: Option<Beside>,
    /// Whether it is heard in the place of its base.
    in_place: bool,
    /// Whom it has been taught by; it knows nothing of others.
    patients: Vec<AgeGroup>,
    labels: Vec<Label>,
    calibration: Calibration,
    golden: Vec<GoldenCase>,
    card: String,
}

impl std::fmt::Debug for TriageModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "TriageModel({}, {} labels)",
            self.name,
            self.labels.len()
        )
    }
}

pub(crate) fn malformed(reason: impl ToString) -> ModelError {
    // Only the first line: some errors carry a backtrace, which is no word for people.
    ModelError::Malformed(
        reason
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned(),
    )
}

impl TriageModel {
    /// Reads a model file that is in memory. `name` is what assessments will call it.
    pub fn load(name: &str, file: &[u8]) -> Result<Self, ModelError> {
        Self::read(name, &mut Cursor::new(file))
    }

    /// Reads a model where it lies, tensor by tensor: the whole file is never in memory at once.
    pub fn read(name: &str, file: &mut (impl Read + Seek)) -> Result<Self, ModelError> {
        catch_unwind(AssertUnwindSafe(|| Self::read_checked(name, file)))
            .unwrap_or_else(|_| Err(malformed("the file breaks its reader")))
    }

    fn read_checked(name: &str, reader: &mut (impl Read + Seek)) -> Result<Self, ModelError> {
        let content = file::open(reader, ARCHITECTURE, FILE_BYTES_MAX)?;
        let features: Vec<String> = read_json(&content, "kijiti.features", FEATURES_MAX * 64)?;
        let labels: Vec<Label> = read_json(&content, "kijiti.labels", LABELS_MAX * 256)?;
        let golden: Vec<GoldenCase> = read_json(&content, "kijiti.golden", 8 << 20)?;
        let calibration: Calibration = read_json(&content, "kijiti.calibration", 4096)?;
        let shape: Shape = read_json(&content, "kijiti.shape", 4096)?;
        if features.is_empty()
            || features.len() > FEATURES_MAX
            || labels.len() > LABELS_MAX
            || golden.len() > GOLDEN_MAX
            || !shape.is_sound()
        {
            return Err(malformed(
                "larger, or with more features, labels or golden cases than this engine takes",
            ));
        }
        if labels.len() < 2 || golden.is_empty() {
            return Err(malformed("no labels or no golden cases"));
        }
        check_calibration(&calibration)?;
        let features = read_features(&features, shape.slots)?;
        let tokenizer_json = text(&content, "kijiti.tokenizer")?;
        let vocabulary = check_tokenizer(tokenizer_json)?;
        let mut tokenizer = Tokenizer::from_bytes(tokenizer_json.as_bytes()).map_err(malformed)?;
        tokenizer.set_encode_special_tokens(true);
        let rows = [features.len(), GRAM_ROWS, vocabulary];
        let network = Tensors {
            content: &content,
            reader,
        }
        .network(shape, rows, labels.len())?;
        let encoder = Encoder::new(features, tokenizer, shape.text);
        let card = text(&content, "kijiti.card")?.to_owned();
        Ok(Self {
            name: name.to_owned(),
            network: Arc::new(network),
            encoder: Arc::new(encoder),
            beside: None,
            in_place: false,
            patients: vec![AgeGroup::Infant, AgeGroup::Child],
            labels,
            calibration,
            golden,
            card,
        })
    }

    /// This model with an adapter beside it: another differential and other thresholds, of the same
    /// network. Nothing of the base is changed or copied.
    ///
    /// # Errors
    /// An adapter that does not fit this network.
    pub fn with(&self, adapter: &Adapter, name: &str) -> Result<Self, ModelError> {
        if self.beside.is_some() {
            return Err(malformed(
                "an adapter stands beside a base, not beside another",
            ));
        }
        let shape = self.network.shape();
        let extra = adapter.fits(shape, self.encoder.features().len())?;
        let encoder = match extra.is_empty() {
            true => self.encoder.clone(),
            false => Arc::new(self.encoder.with(extra)),
        };
        Ok(Self {
            name: format!("{} with {name}", self.name),
            network: self.network.clone(),
            encoder,
            beside: Some(adapter.beside()),
            in_place: true,
            patients: adapter.patients.clone(),
            labels: adapter.labels.clone(),
            calibration: adapter.calibration.clone(),
            golden: adapter.golden.clone(),
            card: adapter.card.clone(),
        })
    }

    /// Whether an adapter stands beside it.
    pub(crate) fn is_adapted(&self) -> bool {
        self.beside.is_some()
    }

    /// Whether it stands for `base`, which then needs not be heard.
    pub(crate) fn stands_for(&self, base: &Self) -> bool {
        self.in_place && self.is_adapted() && Arc::ptr_eq(&self.network, &base.network)
    }

    /// The same, heard beside its base and not in its place.
    pub fn heard_beside(self) -> Self {
        Self {
            in_place: false,
            ..self
        }
    }

    /// Whom it has been taught by: of others it says nothing.
    pub fn patients(&self) -> &[AgeGroup] {
        &self.patients
    }

    /// What assessments call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The model card, for people.
    pub fn card(&self) -> &str {
        &self.card
    }

    /// Its temperatures and thresholds.
    pub fn calibration(&self) -> &Calibration {
        &self.calibration
    }

    /// What it reads of a patient.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// The network.
    pub fn network(&self) -> &Transformer {
        &self.network
    }

    /// The labels of the differential.
    pub fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// Its golden cases.
    pub fn golden(&self) -> &[GoldenCase] {
        &self.golden
    }

    /// Runs every golden case on this machine; all must come out as published. Returns how many
    /// there are.
    pub fn self_test(&self, pack: &RulePack) -> Result<usize, ModelError> {
        for (i, golden) in self.golden.iter().enumerate() {
            let wrong = |reason: String| ModelError::Golden {
                case: i + 1,
                reason,
            };
            let findings = Findings::parse(&golden.findings.to_string(), pack)
                .map_err(|e| wrong(e.to_string()))?;
            let (differential, urgency) = self
                .probabilities(&findings)
                .map_err(|e| wrong(e.to_string()))?;
            let near = |ours: &[f32], published: &[f32]| {
                ours.len() == published.len()
                    && ours
                        .iter()
                        .zip(published)
                        .all(|(a, b)| (a - b).abs() <= GOLDEN_TOLERANCE)
            };
            if !near(&differential, &golden.differential) || !near(&urgency, &golden.urgency) {
                return Err(wrong("its probabilities are not the published ones".into()));
            }
        }
        Ok(self.golden.len())
    }

    /// What the model says of a case; `None` when the engine fails on it, or the patient is none that it
    /// has been taught by: then the rules stand alone.
    pub fn opinion(&self, findings: &Findings) -> Option<Opinion> {
        if !self.patients.contains(&findings.group()) {
            return None;
        }
        let (differential, urgency, understood) =
            catch_unwind(AssertUnwindSafe(|| self.asked(findings)))
                .ok()
                .and_then(Result::ok)?;
        let [green, yellow, pink] = <[f32; 3]>::try_from(urgency).ok()?;
        let mut ranked: Vec<_> = self.labels.iter().cloned().zip(differential).collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        let calibration = &self.calibration;
        let unsure = ranked
            .first()
            .is_none_or(|(_, p)| *p < calibration.abstain_below);
        let raises_to = match () {
            () if pink >= calibration.pink_above => Some(Urgency::Pink),
            () if pink + yellow >= calibration.yellow_above => Some(Urgency::Yellow),
            () => None,
        };
        let heard = !unsure && understood >= calibration.understood_above;
        // Words alone may alarm; on nothing but words no other word is said.
        let words_alone = !knows(findings);
        let likely = ranked.iter().filter(|(_, p)| *p >= calibration.set_above);
        Some(Opinion {
            shown: likely.count().clamp(1, SHOWN_MAX),
            differential: ranked,
            urgency: [green, yellow, pink],
            abstained: !heard || (words_alone && raises_to != Some(Urgency::Pink)),
            heard,
            raises_to,
        })
    }

    /// Calibrated probabilities: the differential in the order of the labels, and green, yellow,
    /// pink.
    pub fn probabilities(&self, findings: &Findings) -> Result<(Vec<f32>, Vec<f32>), ModelError> {
        let (differential, urgency, _) = self.asked(findings)?;
        Ok((differential, urgency))
    }

    /// What the network says before calibration: differential and urgency as logits, and the share of
    /// the text that is understood.
    pub fn logits(&self, findings: &Findings) -> Result<([Vec<f32>; 2], f32), ModelError> {
        let patient = self.encoder.encode(findings).map_err(malformed)?;
        let beside = self.beside.as_deref();
        let logits = self.network.forward(&patient, beside).map_err(malformed)?;
        Ok((logits, self.network.understood(&patient, beside)))
    }

    /// Calibrated probabilities, and the share of the text that is understood.
    fn asked(&self, findings: &Findings) -> Result<(Vec<f32>, Vec<f32>, f32), ModelError> {
        let ([differential, urgency], understood) = self.logits(findings)?;
        let differential = softmax(&differential, self.calibration.differential_temperature);
        let urgency = softmax(&urgency, self.calibration.urgency_temperature);
        if differential.iter().chain(&urgency).any(|p| !p.is_finite()) {
            return Err(malformed("its weights give no numbers"));
        }
        Ok((differential, urgency, understood))
    }
}

/// Features by their names.
fn read_features(names: &[String], slots: usize) -> Result<Vec<Feature>, ModelError> {
    let named =
        |f: &String| Feature::parse(f, slots).ok_or_else(|| malformed(format!("feature {f:?}")));
    names.iter().map(named).collect()
}

/// Whether any finding is known of a patient, besides the age, the season and who it is.
fn knows(findings: &Findings) -> bool {
    let alone = findings.words_alone();
    let mut said = findings.said().iter();
    said.any(|(name, value)| !alone.said().contains_key(name) && *value != FindingValue::Unknown)
}

fn check_calibration(c: &Calibration) -> Result<(), ModelError> {
    let sane = |t: f64| (0.05..=20.0).contains(&t);
    let share = |p: f32| (0.0..=1.0).contains(&p);
    if sane(c.differential_temperature)
        && sane(c.urgency_temperature)
        && share(c.yellow_above)
        && share(c.pink_above)
        && share(c.abstain_below)
        && share(c.understood_above)
        && share(c.set_above)
    {
        return Ok(());
    }
    Err(malformed("its calibration is out of range"))
}

/// Whether a file says that it is a model of this architecture, whatever else is in it.
pub fn is_triage_model(file: &mut (impl Read + Seek)) -> bool {
    file::says(file, ARCHITECTURE)
}
