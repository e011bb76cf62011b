//! An assessment as it is shown, kept and passed on: what rules, floor and model say of findings.

use serde::{Deserialize, Serialize};

use crate::{FindingValue, Urgency};

/// What is shown to the worker, who decides (`kijiti.assessment/1`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.assessment/1")]
pub struct Assessment {
    /// The urgency shown.
    pub urgency: Urgency,
    /// The urgency by rules alone.
    pub rule_urgency: Urgency,
    /// The model has raised the urgency above the rules'.
    pub raised_by_model: bool,
    /// Whether the worker may choose green.
    pub green_offered: bool,
    /// Rules that fired, the most urgent first.
    pub fired: Vec<Fired>,
    /// Rules that cannot be ruled out and forbid green: what to measure.
    pub cannot_clear: Vec<Open>,
    /// Pink rules that cannot be ruled out with the instruments of this level.
    pub not_ruled_out: Vec<Open>,
    /// What the model says, if one runs.
    pub model_opinion: Option<Opinion>,
    /// The rule pack: `id edition (profile), floor`.
    pub pack: String,
    /// The model: `version N, digest`, or `none`.
    pub model: String,
}

/// A rule that fired.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fired {
    /// The rule's id.
    pub rule: String,
    /// The classification.
    pub class: String,
    /// Its urgency.
    pub urgency: Urgency,
    /// Where the rule comes from.
    pub source: String,
    /// What to do.
    pub action: String,
    /// The findings behind it, with their values.
    #[serde(with = "spoken")]
    pub findings: Vec<(String, FindingValue)>,
}

/// A rule that cannot be cleared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Open {
    /// The rule's id.
    pub rule: String,
    /// The classification.
    pub class: String,
    /// Where the rule comes from.
    pub source: String,
    /// The findings to measure.
    pub measure: Vec<String>,
}

/// What a model says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Opinion {
    /// It is not sure enough to say.
    pub abstained: bool,
    /// The urgency that it raises to, if it does.
    pub raises_to: Option<Urgency>,
    /// Most likely first.
    pub differential: Vec<Ranked>,
}

/// One condition of a differential.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ranked {
    /// The condition.
    pub name: String,
    /// Its ICD-11 code.
    pub icd11: String,
    /// Between 0 and 1.
    pub probability: f32,
}

/// A question of an interview.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// The field, or `age`.
    pub id: String,
    /// The question for the worker.
    pub ask: String,
    /// `flag`, `number`, `choice` or `age`.
    pub kind: QuestionKind,
    /// Of a choice: its words.
    pub choices: Vec<String>,
    /// Of a number: its unit and bounds.
    pub unit: Option<String>,
    /// Of a number: the least and the most that can be.
    pub bounds: Option<(f64, f64)>,
    /// Of a number: between which values it is usual; beyond, it is measured again.
    pub usual: Option<(f64, f64)>,
}

/// What kind of answer a question wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QuestionKind {
    /// Yes or no.
    Flag,
    /// A number.
    Number,
    /// One of some words.
    Choice,
    /// An age: months, or days as in 12d.
    Age,
}

/// Findings as a map from names to words, in the order in which the rule names them.
mod spoken {
    use std::fmt;

    use serde::de::{MapAccess, Visitor};
    use serde::ser::SerializeMap;
    use serde::{Deserializer, Serializer};

    use crate::FindingValue;

    pub(super) fn serialize<S: Serializer>(
        findings: &[(String, FindingValue)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(findings.len()))?;
        for (name, value) in findings {
            map.serialize_entry(name, &value.spoken())?;
        }
        map.end()
    }

    struct Findings;

    impl<'de> Visitor<'de> for Findings {
        type Value = Vec<(String, FindingValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("findings by name")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut findings = Vec::new();
            while let Some(entry) = map.next_entry()? {
                findings.push(entry);
            }
            Ok(findings)
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<(String, FindingValue)>, D::Error> {
        from.deserialize_map(Findings)
    }
}
