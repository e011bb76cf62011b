//! Findings: what the worker saw, measured and was told. Read from JSON or TOML; unknown is a value of its own.

use std::collections::BTreeMap;

use crate::rules::{FindingKind, RulePack};

/// The value of one finding.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// There.
    Yes,
    /// Not there.
    No,
    /// Not known.
    Unknown,
    /// A measurement in the finding's unit.
    Number(f64),
    /// A choice.
    Text(String),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Yes => f.write_str("yes"),
            Value::No => f.write_str("no"),
            Value::Unknown => f.write_str("unknown"),
            Value::Number(number) => write!(f, "{number}"),
            Value::Text(text) => f.write_str(&text.replace('_', " ")),
        }
    }
}

/// Which rules apply by age. Under 2 months is counted in days (0–59); months are never rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgeGroup {
    /// Birth to 59 days.
    Infant,
    /// 60 days to 59 months.
    Child,
}

impl AgeGroup {
    /// The word in rule packs.
    pub fn name(self) -> &'static str {
        match self {
            AgeGroup::Infant => "infant",
            AgeGroup::Child => "child",
        }
    }
}

/// Findings that have been checked against a rule pack.
#[derive(Clone, PartialEq)]
pub struct Findings {
    group: AgeGroup,
    values: BTreeMap<String, Value>,
    text: String,
}

/// Prints how many, not what: findings belong in no log.
impl std::fmt::Debug for Findings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Findings({:?}, {} values)", self.group, self.values.len())
    }
}

/// What is wrong with findings, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct FindingsError {
    /// What is wrong.
    pub reason: String,
    /// What to do.
    pub hint: String,
}

fn wrong<T>(reason: impl Into<String>, hint: impl Into<String>) -> Result<T, FindingsError> {
    Err(FindingsError { reason: reason.into(), hint: hint.into() })
}

/// Days in a month, on average (365.25 / 12).
const MONTH_DAYS: f64 = 30.4375;
/// Characters of the free text that are read.
const TEXT_CHARS_MAX: usize = 2000;
/// Bytes of a findings file.
const FILE_BYTES_MAX: usize = 256 * 1024;

impl Findings {
    /// Reads a findings file, JSON if it begins with `{`, else TOML. Keys are finding ids; `age_days` or `age_months` (and
    /// `age_hours` in the first two days) give the age; `text` is free words.
    pub fn parse(file: &str, pack: &RulePack) -> Result<Self, FindingsError> {
        if file.len() > FILE_BYTES_MAX {
            return wrong("the findings file is too long", "one case needs a few kilobytes at most");
        }
        let example = "write lines such as: age_months = 11, cough_or_difficult = \"yes\", spo2 = \"unknown\"";
        let raw: BTreeMap<String, serde_json::Value> = if file.trim_start().starts_with('{') {
            serde_json::from_str(file)
                .or_else(|e| wrong(format!("the findings file is not valid JSON: {e}"), example))?
        } else {
            let table: toml::Table =
                file.parse().or_else(|e| wrong(format!("the findings file is not valid TOML: {e}"), example))?;
            let json = serde_json::to_value(table).or_else(|e| wrong(e.to_string(), example))?;
            serde_json::from_value(json).or_else(|e| wrong(e.to_string(), example))?
        };
        Self::from_raw(raw, pack)
    }

    fn from_raw(raw: BTreeMap<String, serde_json::Value>, pack: &RulePack) -> Result<Self, FindingsError> {
        let mut values = BTreeMap::new();
        let mut text = String::new();
        let mut ages = BTreeMap::new();
        for (name, value) in raw {
            match name.as_str() {
                "text" => text = value.as_str().unwrap_or_default().chars().take(TEXT_CHARS_MAX).collect(),
                "age_hours" | "age_days" | "age_months" => {
                    let Some(number) = value.as_f64() else {
                        return wrong(format!("{name} is not a number"), "write for example age_months = 11");
                    };
                    ages.insert(name, number);
                }
                _ => {
                    values.insert(name.clone(), read_value(&name, &value, pack)?);
                }
            }
        }
        Self::new(values, text, &ages)
    }

    /// Findings from values already read; `ages` as in [`Findings::parse`]. What is missing is unknown.
    pub fn new(
        mut values: BTreeMap<String, Value>,
        text: String,
        ages: &BTreeMap<String, f64>,
    ) -> Result<Self, FindingsError> {
        let group = set_age(&mut values, ages)?;
        Ok(Self { group, values, text })
    }

    /// Findings of a golden case, which is written as a findings file is.
    pub(crate) fn of_golden(
        file: &serde_json::Map<String, serde_json::Value>,
        pack: &RulePack,
    ) -> Result<Self, FindingsError> {
        Self::from_raw(file.clone().into_iter().collect(), pack)
    }

    /// Which rules apply.
    pub fn group(&self) -> AgeGroup {
        self.group
    }

    /// The value of a finding; what was not said is unknown.
    pub fn value(&self, name: &str) -> &Value {
        self.values.get(name).unwrap_or(&Value::Unknown)
    }

    /// All values that were given or follow from the age.
    pub fn values(&self) -> &BTreeMap<String, Value> {
        &self.values
    }

    /// Free words.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Settles the age: hours, days and months as far as they follow from each other.
fn set_age(values: &mut BTreeMap<String, Value>, ages: &BTreeMap<String, f64>) -> Result<AgeGroup, FindingsError> {
    let hint = "write age_months (2–59), or age_days (0–59) for an infant under 2 months";
    let (hours, days, months) = (ages.get("age_hours"), ages.get("age_days"), ages.get("age_months"));
    if ages.len() > 1 {
        return wrong("more than one age is given", hint);
    }
    let whole_days = match (hours, days, months) {
        (None, None, None) => return wrong("the age is missing", hint),
        (Some(hours), _, _) => (hours / 24.0).floor(),
        (_, Some(days), _) => days.floor(),
        (_, _, Some(months)) if *months < 2.0 => {
            return wrong("an infant under 2 months needs its age in days", "write for example age_days = 40");
        }
        (_, _, Some(months)) => (months * MONTH_DAYS).floor().max(60.0),
    };
    let whole_months = months.map_or(((whole_days + 0.5) / MONTH_DAYS).floor(), |m| m.floor());
    if !(0.0..=1826.0).contains(&whole_days) || whole_months >= 60.0 {
        return wrong("these rules are for children from birth to 59 months", hint);
    }
    let group = if whole_days < 60.0 { AgeGroup::Infant } else { AgeGroup::Child };
    values.insert("age_hours".into(), Value::Number(hours.copied().unwrap_or(whole_days * 24.0)));
    values.insert("age_days".into(), Value::Number(whole_days));
    values
        .insert("age_months".into(), Value::Number(if group == AgeGroup::Child { whole_months.max(2.0) } else { 0.0 }));
    Ok(group)
}

/// Reads what stands in a record, whatever wrote it: what the pack does not know, or knows otherwise, is unknown to it and never an
/// error, so that no word can keep the rules from looking at the others.
pub fn read_recorded(values: &BTreeMap<String, serde_json::Value>, pack: &RulePack) -> BTreeMap<String, Value> {
    let mut read = BTreeMap::new();
    for (name, value) in values.iter().filter(|(name, _)| !name.starts_with("age_")) {
        let yes = value.as_bool() == Some(true) || value.as_str() == Some("yes");
        match pack.finding(name).map(|_| read_value(name, value, pack)) {
            Some(Ok(value)) => drop(read.insert(name.clone(), value)),
            // A word that is not understood may say anything: it is named, and nothing is green until somebody has looked.
            Some(Err(_)) => {
                read.insert(name.clone(), Value::Unknown);
                read.insert(format!("{name}: {}", value.as_str().unwrap_or("not understood")), Value::Yes);
            }
            None if name.contains('.') => {}
            // What this pack does not know may be a sign all the same: it is named, and nothing is green.
            None => {
                let said = match value.as_str().map(str::trim) {
                    _ if yes => Value::Yes,
                    Some("no" | "unknown" | "") => continue,
                    Some(word) => word.parse().map_or_else(|_| Value::Text(word.to_owned()), Value::Number),
                    None => value.as_f64().map_or(Value::Unknown, Value::Number),
                };
                if crate::floor::sign(name, &said) {
                    read.insert(name.clone(), said);
                }
            }
        }
    }
    read
}

/// Reads one value as the pack says it must be.
pub fn read_value(name: &str, value: &serde_json::Value, pack: &RulePack) -> Result<Value, FindingsError> {
    let Some(finding) = pack.finding(name) else {
        let near = pack.nearest(name);
        return wrong(format!("{name:?} is not a finding of {}", pack.id), format!("did you mean {near:?}?"));
    };
    let word = value.as_str().map(str::trim);
    if word == Some("unknown") || value.is_null() {
        return Ok(Value::Unknown);
    }
    match &finding.kind {
        FindingKind::Flag => match (value.as_bool(), word) {
            (Some(true), _) | (_, Some("yes")) => Ok(Value::Yes),
            (Some(false), _) | (_, Some("no")) => Ok(Value::No),
            _ => wrong(format!("{name} must be yes, no or unknown"), format!("write {name} = \"yes\"")),
        },
        FindingKind::Number { min, max, unit } => {
            let number = value.as_f64().or_else(|| word.and_then(|w| w.parse().ok()));
            match number {
                Some(number) if (*min..=*max).contains(&number) => Ok(Value::Number(number)),
                Some(number) => wrong(
                    format!("{name} of {number} {unit} cannot be: it lies between {min} and {max}"),
                    "measure again, or write \"unknown\"",
                ),
                None => wrong(format!("{name} is not a number"), format!("write {name} = {min}, or \"unknown\"")),
            }
        }
        FindingKind::Choice(choices) => match word {
            Some(word) if choices.iter().any(|c| c == word) => Ok(Value::Text(word.to_owned())),
            _ => wrong(format!("{name} has no such choice"), format!("write one of: {}, unknown", choices.join(", "))),
        },
    }
}
