//! A finding's value. Unknown is a value of its own and never "no".

use crate::age::AgeError;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The name under which findings keep what was said in a person's own words.
pub const TEXT: &str = "text";

/// What was found.
#[derive(Clone, PartialEq)]
pub enum FindingValue {
    /// Asked or looked for, and there.
    Yes,
    /// Asked or looked for, and not there.
    No,
    /// Not known: not asked, not measured, no answer.
    Unknown,
    /// A measurement, in the field's unit.
    Number(f64),
    /// One of the field's choices, or free words.
    Text(String),
}

impl FindingValue {
    /// The value as a person reads and writes it, and as a file keeps it.
    pub fn words(&self) -> String {
        match self {
            Self::Yes => "yes".into(),
            Self::No => "no".into(),
            Self::Unknown => "unknown".into(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }

    /// The same for a screen: a choice without its underscores.
    pub fn spoken(&self) -> String {
        match self {
            Self::Text(text) => text.replace('_', " "),
            Self::Yes | Self::No | Self::Unknown | Self::Number(_) => self.words(),
        }
    }
}

/// Why findings cannot be read, with what would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FindingsError {
    /// Longer than any case needs.
    TooLong,
    /// Neither JSON nor TOML: which it should have been, and why it is not.
    Malformed(String, String),
    /// An age that is no number, by the name of its field.
    AgeNotANumber(String),
    /// An age that the rules are not for.
    Age(AgeError),
    /// No finding of the pack that is named; one of a like name.
    NoSuchFinding(String, String, String),
    /// Neither yes nor no.
    NotAFlag(String),
    /// A number that cannot be: with its unit, the least and the most.
    Impossible(String, f64, String, f64, f64),
    /// No number; the least that can be.
    NotANumber(String, f64),
    /// Not one of the words.
    NotAChoice(String, Vec<String>),
    /// What is typed for an age is none.
    NotAnAge,
}

impl std::error::Error for FindingsError {}

/// For logs and tests; a screen words it itself.
impl std::fmt::Display for FindingsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

/// A number as a number, everything else in words.
impl Serialize for FindingValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_f64(*number),
            Self::Yes | Self::No | Self::Unknown | Self::Text(_) => {
                serializer.serialize_str(&self.words())
            }
        }
    }
}

impl<'de> Deserialize<'de> for FindingValue {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(f64),
            Words(String),
        }
        Ok(match Written::deserialize(from)? {
            Written::Number(number) => Self::Number(number),
            Written::Words(words) => match words.as_str() {
                "yes" => Self::Yes,
                "no" => Self::No,
                "unknown" => Self::Unknown,
                _ => Self::Text(words),
            },
        })
    }
}

/// Prints the kind only: what a patient said or has belongs in no log.
impl std::fmt::Debug for FindingValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Yes | Self::No | Self::Unknown => "Answer(…)",
            Self::Number(_) => "Number(…)",
            Self::Text(_) => "Text(…)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_written_and_not_logged() {
        let all = [
            FindingValue::Yes,
            FindingValue::No,
            FindingValue::Unknown,
            FindingValue::Number(38.5),
            FindingValue::Text("not_well".into()),
        ];
        assert_eq!(
            all.each_ref().map(FindingValue::words),
            ["yes", "no", "unknown", "38.5", "not_well"]
        );
        assert_eq!(FindingValue::Text("not_well".into()).spoken(), "not well");
        for value in all {
            assert!(!format!("{value:?}").contains(&value.words()));
        }
    }
}
