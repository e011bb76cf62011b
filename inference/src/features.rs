//! Findings as numbers for the network. Each feature has a name that travels inside the model file,
//! so that a model keeps reading findings rightly when the rule pack grows.
//!
//! `name?` known 0/1 · `name=yes` 0/1 · `name#min:max` a number scaled to 0…1 · `name=choice` 0/1 ·
//! `infant` 0/1

use clinical::{AgeGroup, FindingValue};

use crate::findings::Findings;
use crate::rules::{FindingKind, RulePack};

/// One number that the network reads.
#[derive(Debug, Clone, PartialEq)]
pub enum Feature {
    /// Whether a finding is known.
    Known(String),
    /// Whether a flag is yes.
    Yes(String),
    /// A number, scaled.
    Scaled(String, f64, f64),
    /// Whether a choice is this one.
    Is(String, String),
    /// Whether the patient is under 2 months.
    Infant,
}

/// The features of a pack, in order.
pub fn features_of(pack: &RulePack) -> Vec<Feature> {
    let mut features = vec![
        Feature::Infant,
        Feature::Scaled("age_days".into(), 0.0, 60.0),
        Feature::Scaled("age_months".into(), 0.0, 60.0),
    ];
    for finding in pack.findings() {
        let id = || finding.id.clone();
        features.push(Feature::Known(id()));
        match &finding.kind {
            FindingKind::Flag => features.push(Feature::Yes(id())),
            FindingKind::Number { min, max, .. } => {
                features.push(Feature::Scaled(id(), *min, *max))
            }
            FindingKind::Choice(choices) => {
                features.extend(choices.iter().map(|c| Feature::Is(id(), c.clone())))
            }
        }
    }
    features
}

impl Feature {
    /// Its name in the model file.
    pub fn name(&self) -> String {
        match self {
            Feature::Known(id) => format!("{id}?"),
            Feature::Yes(id) => format!("{id}=yes"),
            Feature::Scaled(id, min, max) => format!("{id}#{min}:{max}"),
            Feature::Is(id, choice) => format!("{id}={choice}"),
            Feature::Infant => "infant".into(),
        }
    }

    /// Reads a name from a model file.
    pub fn parse(name: &str) -> Option<Self> {
        if name == "infant" {
            return Some(Feature::Infant);
        }
        if let Some(id) = name.strip_suffix('?') {
            return Some(Feature::Known(id.to_owned()));
        }
        if let Some((id, range)) = name.split_once('#') {
            let (min, max) = range.split_once(':')?;
            let (min, max) = (min.parse::<f64>().ok()?, max.parse::<f64>().ok()?);
            return (max > min).then(|| Feature::Scaled(id.to_owned(), min, max));
        }
        let (id, choice) = name.split_once('=')?;
        Some(if choice == "yes" {
            Feature::Yes(id.to_owned())
        } else {
            Feature::Is(id.to_owned(), choice.to_owned())
        })
    }

    /// Its value for these findings.
    pub fn value(&self, findings: &Findings) -> f32 {
        let bit = |b: bool| if b { 1.0 } else { 0.0 };
        match self {
            Feature::Known(id) => bit(*findings.value(id) != FindingValue::Unknown),
            Feature::Yes(id) => bit(*findings.value(id) == FindingValue::Yes),
            Feature::Scaled(id, min, max) => match findings.value(id) {
                FindingValue::Number(number) => {
                    (((number - min) / (max - min)) as f32).clamp(-1.0, 2.0)
                }
                FindingValue::Yes
                | FindingValue::No
                | FindingValue::Unknown
                | FindingValue::Text(_) => 0.0,
            },
            Feature::Is(id, choice) => {
                bit(matches!(findings.value(id), FindingValue::Text(t) if t == choice))
            }
            Feature::Infant => bit(findings.group() == AgeGroup::Infant),
        }
    }
}
