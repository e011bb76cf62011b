//! A district's own cases, of which the truth is known: to fine-tune by, and to teach a module for patients
//! of whom the base knows nothing. None of them is in what is published.

use std::collections::{BTreeMap, BTreeSet};

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

/// Cases, and what they are about.
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

/// Reads cases (JSON, one a line), to be taught to a base.
///
/// # Errors
/// The line that is none, and why.
pub fn read(text: &str, base: &TriageModel) -> Result<Own, Fail> {
    let pack = RulePack::built_in()?;
    let one = |line: &str| -> Result<(Findings, Case), Fail> {
        let case: Case = serde_json::from_str(line)?;
        let findings = Findings::parse(&case.findings.to_string(), &pack);
        Ok((findings.map_err(|e| e.to_string())?, case))
    };
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    let cases = lines.map(|(at, line)| one(line).map_err(|e| format!("line {}: {e}", at + 1)));
    let cases = cases.collect::<Result<Vec<_>, _>>()?;
    let place = |labels: &[Label], name: &str| labels.iter().position(|l| l.name == name);
    let mut labels = base.labels().to_vec();
    if (cases.iter()).any(|(_, case)| place(&labels, &case.label).is_none()) {
        labels = Vec::new();
        for (_, case) in &cases {
            if place(&labels, &case.label).is_none() {
                labels.push(Label {
                    name: case.label.clone(),
                    icd11: case.icd11.clone(),
                });
            }
        }
    }
    if labels.len() < 2 {
        return Err("the cases have one label only: there is nothing to tell apart".into());
    }
    let known = cases.iter().map(|(findings, case)| Known {
        findings: findings.clone(),
        label: place(&labels, &case.label).unwrap_or_default(),
        urgency: case.urgency,
    });
    let known: Vec<_> = known.collect();
    let groups = |group: &AgeGroup| known.iter().any(|case| case.findings.group() == *group);
    Ok(Own {
        patients: AgeGroup::ALL.into_iter().filter(groups).collect(),
        features: features(&known, base),
        known,
        labels,
    })
}

impl Own {
    /// Golden cases that are nobody's: each value is that of another case, words are left out.
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
        // A value may contradict another's age or kind: such a mixture is drawn anew.
        for _ in 0..cases * 50 {
            let mut any = || self.known.get(rng.random_range(0..self.known.len().max(1)));
            let Some(whole) = any().map(|case| &case.findings) else {
                break;
            };
            let mut values = whole.said().clone();
            for (field, value) in &mut values {
                let other = any().and_then(|case| case.findings.said().get(field));
                if let Some(other) = other.filter(|_| !field.starts_with("age_")) {
                    *value = other.clone();
                }
            }
            let mixed = Findings::of_parts(whole.group(), values, String::new());
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
    let (mut words, mut numbers) = (BTreeSet::new(), BTreeMap::<&str, Vec<f64>>::new());
    for (field, value) in known.iter().flat_map(|case| case.findings.values()) {
        match value {
            FindingValue::Yes | FindingValue::No | FindingValue::Text(_) => {
                words.insert((field.as_str(), value.words()));
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
    let words = words
        .into_iter()
        .map(|(field, word)| feature(field, Reads::Word(field.to_owned(), word)));
    let bins = numbers.into_iter().flat_map(|(field, mut seen)| {
        seen.sort_by(f64::total_cmp);
        let at = |i: usize| seen.get(i * (seen.len() - 1) / (BINS - 1)).copied();
        let mut middles: Vec<f64> = (0..BINS).filter_map(at).collect();
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
