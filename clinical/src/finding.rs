//! A finding's value. Unknown is a value of its own and never "no".

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
