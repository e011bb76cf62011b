//! A district's own cases, of which the truth is known: to fine-tune by, and to teach a module for patients
//! of whom the base knows nothing. What few of them say is not in what is published.

use std::collections::{BTreeMap, BTreeSet};

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use clinical::{AgeGroup, FindingValue, Urgency};
use inference::RulePack;
use inference::encode::{Feature, Reads};
use inference::findings::Findings;
use inference::model::{GoldenCase, Label, TriageModel};

use crate::learn::Fail;
use crate::publish::{Known, file_of};
use crate::reads::slot_of;

/// One case, one a line of a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// As in a findings file.
    findings: serde_json::Value,
    /// What it was, by the name of a label.
    label: String,
    /// Its code in ICD-11, of a label that the base does not have.
    #[serde(default)]
    icd11: String,
    /// What the patient deserved.
    urgency: Urgency,
}

/// Cases, in no order that they came in, and what they are about.
#[derive(Debug, Clone)]
pub struct Own {
    /// The cases.
    pub known: Vec<Known>,
    /// The base's labels, or the cases' own where the base lacks one of them.
    pub labels: Vec<Label>,
    /// What is read of them that the base does not read.
    pub features: Vec<Feature>,
    /// Whom they are about.
    pub patients: Vec<AgeGroup>,
}

/// Middles of the soft bins of a number that the base does not read.
const BINS: usize = 6;

/// Of whom a word, a field or a kind of patient is said at least, to be in what is published.
pub const SHARED: usize = 10;
/// Cases that are enough to learn of a kind of patient and to calibrate on.
pub const ENOUGH: usize = 200;

/// Reads cases (JSON, one a line), to be taught to a base.
///
/// # Errors
/// The line that is none, and why; and what the cases are too few for.
pub fn read(text: &str, base: &TriageModel) -> Result<Own, Fail> {
    let pack = RulePack::built_in()?;
    let one = |line: &str| -> Result<(Findings, Case), Fail> {
        let case: Case = serde_json::from_str(line)?;
        let findings = Findings::parse(&case.findings.to_string(), &pack);
        Ok((findings.map_err(|e| e.to_string())?, case))
    };
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    let cases = lines.map(|(at, line)| {
        let (findings, case) = one(line).map_err(|e| format!("line {}: {e}", at + 1))?;
        Ok((at + 1, findings, case))
    });
    let cases = cases.collect::<Result<Vec<_>, Fail>>()?;
    let labels = labels(&cases, base)?;
    let place = |name: &str| labels.iter().position(|label| label.name == name);
    let known = cases.iter().map(|(_, findings, case)| Known {
        findings: findings.clone(),
        label: place(&case.label).unwrap_or_default(),
        urgency: case.urgency,
    });
    let mut known: Vec<_> = known.collect();
    let mut patients = Vec::new();
    for group in AgeGroup::ALL {
        let count = known.iter().filter(|k| k.findings.group() == group).count();
        match count {
            0 => {}
            few if few < ENOUGH => {
                return Err(format!(
                    "{few} cases of the kind {} are too few to learn from and to calibrate on: there must be {ENOUGH} of each kind of patient, or none",
                    group.name()
                )
                .into());
            }
            _ => patients.push(group),
        }
    }
    // Sorted by disease or by day, as files are, they would be learned one after the other.
    let seed = known.len() as u64;
    known.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    Ok(Own {
        patients,
        features: features(&known, base),
        known,
        labels,
    })
}

/// The base's labels, or the cases' own.
fn labels(cases: &[(usize, Findings, Case)], base: &TriageModel) -> Result<Vec<Label>, Fail> {
    let of = |name: &str| base.labels().iter().find(|label| label.name == name);
    let Some((line, _, new)) = cases.iter().find(|(.., case)| of(&case.label).is_none()) else {
        return Ok(base.labels().to_vec());
    };
    let mut labels = Vec::<Label>::new();
    for (at, _, case) in cases {
        if of(&case.label).is_some() {
            return Err(format!(
                "line {line}: the model has no label {:?}, and has {:?} of line {at}: name the model's labels, or new ones only",
                new.label, case.label
            )
            .into());
        }
        match labels.iter().find(|label| label.name == case.label) {
            None if case.icd11.is_empty() => {
                return Err(format!("line {at}: a new label has a code: icd11").into());
            }
            None => labels.push(Label {
                name: case.label.clone(),
                icd11: case.icd11.clone(),
            }),
            Some(label) if !case.icd11.is_empty() && label.icd11 != case.icd11 => {
                return Err(format!(
                    "line {at}: {:?} was {} before, and is {} here",
                    case.label, label.icd11, case.icd11
                )
                .into());
            }
            Some(_) => {}
        }
    }
    match labels.len() {
        2..=64 => Ok(labels),
        count => Err(format!("{count} new labels: there are 2 to 64 to be told apart").into()),
    }
}

/// Of which so many cases say each.
fn counted<T: Ord>(of: impl Iterator<Item = T>) -> BTreeMap<T, usize> {
    let mut counts = BTreeMap::new();
    of.for_each(|one| *counts.entry(one).or_insert(0) += 1);
    counts
}

impl Own {
    /// Golden cases that are nobody's: each value is that of another case, and so is each word, which
    /// several say.
    ///
    /// # Errors
    /// Where the model fails on one.
    pub fn golden(
        &self,
        model: &TriageModel,
        seed: u64,
        cases: usize,
    ) -> Result<Vec<GoldenCase>, Fail> {
        let (pack, mut rng) = (RulePack::built_in()?, ChaCha8Rng::seed_from_u64(seed));
        let mut made = Vec::new();
        let fields = counted(self.known.iter().flat_map(|k| k.findings.said().keys()));
        let words = |k: &Known| {
            let text = k.findings.text().to_lowercase();
            let words = text.split(|c: char| !c.is_alphanumeric());
            words.map(str::to_owned).collect::<BTreeSet<_>>()
        };
        let words = counted(self.known.iter().flat_map(words)).into_iter();
        let words = words.filter(|(word, count)| !word.is_empty() && *count >= SHARED);
        let words: Vec<_> = words.map(|(word, _)| word).collect();
        // A value may contradict another's age or kind: such a mixture is drawn anew.
        for _ in 0..cases * 50 {
            let mut any = || self.known.get(rng.random_range(0..self.known.len().max(1)));
            let Some(whole) = any().map(|case| &case.findings) else {
                break;
            };
            let mut values = BTreeMap::new();
            for field in whole.said().keys() {
                let other = any().and_then(|case| case.findings.said().get(field));
                let shared = fields.get(field).is_some_and(|count| *count >= SHARED);
                if let Some(other) = other.filter(|_| shared) {
                    values.insert(field.clone(), other.clone());
                }
            }
            let text = (0..4).filter_map(|_| {
                let at = rng.random_range(0..words.len().max(1));
                words.get(at).map(String::as_str)
            });
            let text = text.collect::<Vec<_>>().join(" ");
            let mixed = Findings::of_parts(whole.group(), values, text);
            let file = file_of(&mixed);
            let read = Findings::parse(&file.to_string(), &pack);
            let Some(read) = read.ok().filter(|read| read.group() == whole.group()) else {
                continue;
            };
            let (differential, urgency) = model.probabilities(&read)?;
            made.push(GoldenCase {
                findings: file,
                differential,
                urgency,
            });
            if made.len() == cases {
                break;
            }
        }
        Ok(made)
    }
}

/// What these cases say that a base does not read.
fn features(known: &[Known], base: &TriageModel) -> Vec<Feature> {
    let has = base.encoder().features();
    let reads_number = |field: &str| {
        has.iter()
            .any(|feature| matches!(&feature.reads, Reads::About(own, _) if own == field))
    };
    let (mut words, mut numbers) = (Vec::new(), BTreeMap::<&str, Vec<f64>>::new());
    for (field, value) in known.iter().flat_map(|case| case.findings.values()) {
        match value {
            FindingValue::Yes | FindingValue::No | FindingValue::Text(_) => {
                words.push((field.as_str(), value.words()));
            }
            FindingValue::Number(number) if !reads_number(field) => {
                numbers.entry(field).or_default().push(*number);
            }
            FindingValue::Number(_) | FindingValue::Unknown => {}
        }
    }
    let feature = |field: &str, reads| Feature {
        slot: slot_of(field),
        reads,
    };
    let words = counted(words.into_iter()).into_iter();
    let words = words
        .filter(|(_, count)| *count >= SHARED)
        .map(|((field, word), _)| feature(field, Reads::Word(field.to_owned(), word)));
    // Middles of equal parts, to two digits: nobody's own number.
    let two_digits = |x: f64| {
        let unit = 10f64.powf(x.abs().max(1e-9).log10().floor() - 1.0);
        (x / unit).round() * unit
    };
    let numbers = numbers.into_iter();
    let bins = numbers
        .filter(|(_, seen)| seen.len() >= SHARED)
        .flat_map(|(field, mut seen)| {
            seen.sort_by(f64::total_cmp);
            let at = |i: usize| seen.get((2 * i + 1) * seen.len() / (2 * BINS)).copied();
            let mut middles: Vec<f64> = (0..BINS).filter_map(at).map(two_digits).collect();
            middles.dedup();
            let at = |i: usize| middles.get(i).copied();
            let bin = |(i, middle): (usize, &f64)| {
                let left = i.checked_sub(1).and_then(at).unwrap_or(f64::NEG_INFINITY);
                let right = at(i + 1).unwrap_or(f64::INFINITY);
                feature(
                    field,
                    Reads::About(field.to_owned(), [left, *middle, right]),
                )
            };
            middles.iter().enumerate().map(bin).collect::<Vec<_>>()
        });
    words.chain(bins).filter(|f| !has.contains(f)).collect()
}
