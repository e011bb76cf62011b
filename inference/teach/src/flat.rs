//! Findings as plain numbers, for the networks by which deltas between releases are measured.

use clinical::{AgeGroup, FindingValue};

use inference::findings::Findings;
use inference::rules::{FindingKind, RulePack};

/// One number that the network reads.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Feature {
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
pub(crate) fn features_of(pack: &RulePack) -> Vec<Feature> {
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
    /// Its value for these findings.
    pub(crate) fn value(&self, findings: &Findings) -> f32 {
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
