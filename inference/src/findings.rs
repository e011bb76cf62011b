//! Findings: what the worker saw, measured and was told. Read from JSON or TOML; unknown is a value
//! of its own.

use std::collections::BTreeMap;

use clinical::age::{ADULT_FROM_MONTHS, AGES, Age, AgeError};
use clinical::catalogue;
use clinical::catalogue::is_sign;
use clinical::{AgeGroup, FindingValue, FindingsError, Kind, ValueError};

use crate::growth;
use crate::pictures::{PREFIX, Readings, SUBJECTS, reading_named, subject_named};
use crate::rules::{FindingKind, FindingSpec, RulePack};

/// Findings that have been checked against a rule pack.
#[derive(Clone, PartialEq)]
pub struct Findings {
    group: AgeGroup,
    /// As people said them, and the age in all its units.
    said: BTreeMap<String, FindingValue>,
    /// As rules and models read them.
    values: BTreeMap<String, FindingValue>,
    text: String,
    /// What pictures were read as.
    pictures: Readings,
    /// The age as it was said.
    ages: BTreeMap<String, f64>,
}

/// Prints how many, not what: findings belong in no log.
impl std::fmt::Debug for Findings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Findings({:?}, {} values)",
            self.group,
            self.values.len()
        )
    }
}

/// What growth is judged by, beside measurements.
const SEX: &str = "patient.sex";
/// Characters of the free text that are read.
const TEXT_CHARS_MAX: usize = 2000;
/// Bytes of a findings file.
const FILE_BYTES_MAX: usize = 256 * 1024;

impl Findings {
    /// Reads a findings file, JSON if it begins with `{`, else TOML. Keys are finding ids;
    /// `age_days`, `age_months` or `age_years` (and `age_hours` in the first two days) give the age;
    /// `text` is free words.
    pub fn parse(file: &str, pack: &RulePack) -> Result<Self, FindingsError> {
        Self::parse_beside(file, pack, &BTreeMap::new())
    }

    /// The same; where the file names no age, the one that was said beside it counts.
    pub fn parse_beside(
        file: &str,
        pack: &RulePack,
        age: &BTreeMap<String, f64>,
    ) -> Result<Self, FindingsError> {
        Self::from_raw(raw_of(file)?, pack, age)
    }

    /// A file of somebody of no age that the rules are for: what it says, and the ages that it names. It is
    /// read as that of a grown person; only what was said of it counts.
    pub fn ageless(
        file: &str,
        pack: &RulePack,
    ) -> Result<(Self, BTreeMap<String, f64>), FindingsError> {
        let mut raw = raw_of(file)?;
        let age = |name: &&str| Some(((*name).to_owned(), raw.get(*name)?.as_f64()?));
        let ages = AGES.iter().filter_map(age).collect();
        raw.retain(|name, _| !AGES.contains(&name.as_str()));
        let some_age = BTreeMap::from([("age_months".to_owned(), ADULT_FROM_MONTHS)]);
        Ok((Self::from_raw(raw, pack, &some_age)?, ages))
    }

    fn from_raw(
        raw: BTreeMap<String, serde_json::Value>,
        pack: &RulePack,
        beside: &BTreeMap<String, f64>,
    ) -> Result<Self, FindingsError> {
        let mut values = BTreeMap::new();
        let mut text = String::new();
        let mut ages = BTreeMap::new();
        let mut pictures = Readings::new();
        let mut beside_rules = BTreeMap::new();
        for (name, value) in raw {
            match name.as_str() {
                of if of.starts_with(PREFIX) => {
                    let (subject, reading) = read_picture(&name, &value)?;
                    pictures.insert(subject, reading);
                }
                clinical::TEXT => {
                    text = value
                        .as_str()
                        .unwrap_or_default()
                        .chars()
                        .take(TEXT_CHARS_MAX)
                        .collect()
                }
                "age_hours" | "age_days" | "age_months" | "age_years" => {
                    let Some(number) = value.as_f64() else {
                        return Err(FindingsError::AgeNotANumber(name));
                    };
                    let more = match name.as_str() {
                        "age_years" => ages.insert("age_months".into(), number * 12.0),
                        _ => ages.insert(name, number),
                    };
                    if more.is_some() {
                        return Err(FindingsError::Age(AgeError::Several));
                    }
                }
                SEX => drop(values.insert(name, read_sex(&value_of(&value))?)),
                // A field of the record that no rule here reads may be a sign all the same.
                _ if is_of_the_record(&name, pack) => {
                    let value = value_of(&value);
                    let read = catalogue::read_value(&name, &value.words());
                    let read = read.map_err(|why| not_of_the_field(&name, &value, why))?;
                    beside_rules.insert(name, read);
                }
                _ => {
                    let value = read_value(&name, &value_of(&value), pack)?;
                    values.insert(name, value);
                }
            }
        }
        let of = if ages.is_empty() { beside } else { &ages };
        let mut findings = Self::new(values, text, of)?.with_pictures(pictures);
        findings.values.extend(read_recorded(&beside_rules, pack));
        findings.said.extend(beside_rules);
        Ok(Self { ages, ..findings })
    }

    /// The same, with what pictures were read as.
    pub fn with_pictures(self, pictures: Readings) -> Self {
        Self { pictures, ..self }
    }

    /// Findings from values already read; `ages` as in [`Findings::parse`]. What is missing is
    /// unknown.
    pub fn new(
        mut values: BTreeMap<String, FindingValue>,
        text: String,
        ages: &BTreeMap<String, f64>,
    ) -> Result<Self, FindingsError> {
        let group = set_age(&mut values, ages)?;
        let findings = Self::of_parts(group, values, text);
        Ok(Self {
            ages: ages.clone(),
            ..findings
        })
    }

    /// Findings as [`Self::said`] gives them, put together again.
    pub fn of_parts(group: AgeGroup, said: BTreeMap<String, FindingValue>, text: String) -> Self {
        let mut values = said.clone();
        if group == AgeGroup::Mother {
            values.insert("maternal".into(), FindingValue::Yes);
        }
        not_done_is_unknown(&mut values);
        growth::derive(&mut values, group);
        Self {
            group,
            said,
            values,
            text,
            pictures: Readings::new(),
            ages: BTreeMap::new(),
        }
    }

    /// Findings of a golden case.
    pub(crate) fn of_golden(
        file: &serde_json::Map<String, serde_json::Value>,
        pack: &RulePack,
    ) -> Result<Self, FindingsError> {
        let raw = file
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()));
        Self::from_raw(raw.collect(), pack, &BTreeMap::new())
    }

    /// Which rules apply.
    pub fn group(&self) -> AgeGroup {
        self.group
    }

    /// The value of a finding; what was not said is unknown.
    pub fn value(&self, name: &str) -> &FindingValue {
        self.values.get(name).unwrap_or(&FindingValue::Unknown)
    }

    /// What people said, and the age: what a record keeps. What follows from it is not said by anybody,
    /// and would outlive a weight that is put right.
    pub fn said(&self) -> &BTreeMap<String, FindingValue> {
        &self.said
    }

    /// The age in the words in which it was given: hours, days or months.
    pub fn age_said(&self) -> &BTreeMap<String, f64> {
        &self.ages
    }

    /// All values that were given or follow from others.
    pub fn values(&self) -> &BTreeMap<String, FindingValue> {
        &self.values
    }

    /// Free words.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Nothing but the words, the age, and who and where the patient is.
    pub fn words_alone(&self) -> Self {
        let around = |name: &str| {
            name.starts_with("age_")
                || name.contains('.')
                || ["season", "malaria_risk", "maternal"].contains(&name)
        };
        let said = self.said.iter().filter(|(name, _)| around(name));
        let said = said.map(|(name, value)| (name.clone(), value.clone()));
        Self::of_parts(self.group, said.collect(), self.text.clone())
    }

    /// What pictures were read as.
    pub fn pictures(&self) -> &Readings {
        &self.pictures
    }
}

/// An object of JSON in which nothing is said twice: of two answers to one question, neither may be
/// dropped in silence.
struct Once(BTreeMap<String, serde_json::Value>);

impl<'de> serde::Deserialize<'de> for Once {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Once;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("findings by name")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Once, A::Error> {
                let mut all = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, serde_json::Value>()? {
                    if all.contains_key(&name) {
                        let why = format!("{name:?} is said twice: leave the one that is right");
                        return Err(serde::de::Error::custom(why));
                    }
                    all.insert(name, value);
                }
                Ok(Once(all))
            }
        }
        from.deserialize_map(Visitor)
    }
}

/// What a picture was read as, as a file writes it.
fn read_picture(
    name: &str,
    value: &serde_json::Value,
) -> Result<(&'static str, &'static str), FindingsError> {
    let Some(subject) = name.strip_prefix(PREFIX).and_then(subject_named) else {
        let near = format!("{PREFIX}{}", SUBJECTS[0].name);
        return Err(FindingsError::NoSuchFinding(
            name.to_owned(),
            "pictures".to_owned(),
            near,
        ));
    };
    let word = value.as_str().unwrap_or_default();
    reading_named(subject.name, word).ok_or_else(|| {
        let words = subject.readings.iter().map(|word| (*word).to_owned());
        FindingsError::NotAChoice(name.to_owned(), words.collect())
    })
}

/// Whether the record has a field of this name that nobody whose pack this is reads.
fn is_of_the_record(name: &str, pack: &RulePack) -> bool {
    !name.contains('.') && pack.finding(name).is_none() && catalogue::field(name).is_some()
}

/// Why a value is none of a field of the record.
fn not_of_the_field(name: &str, value: &FindingValue, why: ValueError) -> FindingsError {
    let name = name.to_owned();
    match (why, value) {
        (ValueError::NotOneOf { words, .. }, _) => FindingsError::NotAChoice(name, words),
        (ValueError::NotWithin { min, max, unit, .. }, FindingValue::Number(number)) => {
            FindingsError::Impossible(name, *number, unit, min, max)
        }
        (ValueError::NotWithin { min, .. }, _) => FindingsError::NotANumber(name, min),
        (why, _) => FindingsError::Malformed("a field of the record".into(), why.to_string()),
    }
}

/// A findings file as names and values, JSON if it begins with `{`, else TOML.
fn raw_of(file: &str) -> Result<BTreeMap<String, serde_json::Value>, FindingsError> {
    if file.len() > FILE_BYTES_MAX {
        return Err(FindingsError::TooLong);
    }
    let malformed = |form: &str, why: String| FindingsError::Malformed(form.to_owned(), why);
    let raw: BTreeMap<String, serde_json::Value> = if file.trim_start().starts_with('{') {
        let once: Once =
            serde_json::from_str(file).map_err(|e| malformed("JSON", e.to_string()))?;
        once.0
    } else {
        let table: toml::Table = file
            .parse()
            .map_err(|e: toml::de::Error| malformed("TOML", e.to_string()))?;
        let json = serde_json::to_value(table).map_err(|e| malformed("TOML", e.to_string()))?;
        serde_json::from_value(json).map_err(|e| malformed("TOML", e.to_string()))?
    };
    Ok(raw)
}

/// The sex, as the record has it.
fn read_sex(value: &FindingValue) -> Result<FindingValue, FindingsError> {
    catalogue::read_value(SEX, &value.words()).map_err(|_| {
        let choices = match catalogue::field(SEX).map(|field| field.kind) {
            Some(Kind::Choice(words)) => words.iter().map(|word| (*word).to_owned()).collect(),
            _ => Vec::new(),
        };
        FindingsError::NotAChoice(SEX.to_owned(), choices)
    })
}

/// Of what goes by degrees, *not done* is not known: it clears nothing.
fn not_done_is_unknown(values: &mut BTreeMap<String, FindingValue>) {
    let by_degrees = |name: &str| catalogue::field(name).is_some_and(|f| f.degrees().is_some());
    for (name, value) in values.iter_mut() {
        if matches!(value, FindingValue::Text(word) if word == "not_done") && by_degrees(name) {
            *value = FindingValue::Unknown;
        }
    }
}

/// Fields that say that somebody is pregnant, or has given birth.
fn is_mother(values: &BTreeMap<String, FindingValue>) -> bool {
    let number = |name: &str| matches!(values.get(name), Some(FindingValue::Number(_)));
    values.get("maternal") == Some(&FindingValue::Yes)
        || number("gestation_weeks")
        || number("days_since_delivery")
}

/// Settles the age: hours, days and months as far as they follow from each other.
fn set_age(
    values: &mut BTreeMap<String, FindingValue>,
    ages: &BTreeMap<String, f64>,
) -> Result<AgeGroup, FindingsError> {
    let said = |name: &str| ages.get(name).copied();
    let (hours, days, months) = (said("age_hours"), said("age_days"), said("age_months"));
    let read = match is_mother(values) {
        true => Age::of_mother(hours, days, months),
        false => Age::of(hours, days, months).map(|age| (age.group, Some(age))),
    };
    let (group, age) = read.map_err(FindingsError::Age)?;
    let Some(age) = age else {
        return Ok(group);
    };
    for (name, number) in [
        ("age_hours", age.hours),
        ("age_days", age.days),
        ("age_months", age.months),
    ] {
        values.insert(name.into(), FindingValue::Number(number));
    }
    Ok(group)
}

/// A value as a file writes it: words are judged against the pack afterwards.
pub(crate) fn value_of(json: &serde_json::Value) -> FindingValue {
    match json {
        serde_json::Value::Null => FindingValue::Unknown,
        serde_json::Value::Bool(true) => FindingValue::Yes,
        serde_json::Value::Bool(false) => FindingValue::No,
        serde_json::Value::Number(number) => number
            .as_f64()
            .map_or(FindingValue::Unknown, FindingValue::Number),
        serde_json::Value::String(word) => FindingValue::Text(word.clone()),
        other @ (serde_json::Value::Array(_) | serde_json::Value::Object(_)) => {
            FindingValue::Text(other.to_string())
        }
    }
}

/// Reads what stands in a record, whatever wrote it: what the pack does not know, or knows
/// otherwise, is unknown to it and never an error, so that no word can keep the rules from looking
/// at the others.
pub fn read_recorded(
    values: &BTreeMap<String, FindingValue>,
    pack: &RulePack,
) -> BTreeMap<String, FindingValue> {
    let mut read = BTreeMap::new();
    for (name, value) in values.iter().filter(|(name, _)| !name.starts_with("age_")) {
        match pack.finding(name).map(|_| read_value(name, value, pack)) {
            Some(Ok(value)) => drop(read.insert(name.clone(), value)),
            // A word that is not understood may say anything: it is named, and nothing is green
            // until somebody has looked.
            Some(Err(_)) => {
                read.insert(name.clone(), FindingValue::Unknown);
                let said = match value {
                    FindingValue::Text(word) => word.as_str(),
                    FindingValue::Yes
                    | FindingValue::No
                    | FindingValue::Unknown
                    | FindingValue::Number(_) => "not understood",
                };
                read.insert(format!("{name}: {said}"), FindingValue::Yes);
            }
            None if [SEX, clinical::TEXT].contains(&name.as_str()) || name.starts_with(PREFIX) => {
                read.insert(name.clone(), value.clone());
            }
            None if name.contains('.') => {}
            // What this pack does not know may be a sign all the same: it is named, and nothing is
            // green.
            None => {
                let said = match value {
                    FindingValue::Text(word) => match word.trim() {
                        "no" | "unknown" | "" => continue,
                        "yes" => FindingValue::Yes,
                        word => word.parse().map_or_else(
                            |_| FindingValue::Text(word.to_owned()),
                            FindingValue::Number,
                        ),
                    },
                    known @ FindingValue::Yes
                    | known @ FindingValue::No
                    | known @ FindingValue::Unknown
                    | known @ FindingValue::Number(_) => known.clone(),
                };
                if is_sign(name, &said) {
                    read.insert(name.clone(), said);
                }
            }
        }
    }
    read
}

/// Reads one value as the pack says it must be, or one that runs beside it; words for yes, no,
/// unknown and numbers are understood.
pub fn read_value(
    name: &str,
    value: &FindingValue,
    pack: &RulePack,
) -> Result<FindingValue, FindingsError> {
    let mut refused = None;
    for spec in pack.findings_named(name) {
        match read_as(spec, value) {
            Ok(read) => return Ok(read),
            Err(error) => drop(refused.get_or_insert(error)),
        }
    }
    Err(refused.unwrap_or_else(|| {
        let near = pack.nearest(name).to_owned();
        FindingsError::NoSuchFinding(name.to_owned(), pack.id.clone(), near)
    }))
}

fn read_as(finding: &FindingSpec, value: &FindingValue) -> Result<FindingValue, FindingsError> {
    let name = &finding.id;
    let word = match value {
        FindingValue::Text(word) => Some(word.trim()),
        FindingValue::Yes | FindingValue::No | FindingValue::Unknown | FindingValue::Number(_) => {
            None
        }
    };
    if word == Some("unknown") || *value == FindingValue::Unknown {
        return Ok(FindingValue::Unknown);
    }
    match &finding.kind {
        FindingKind::Flag => match (value, word) {
            (FindingValue::Yes, _) | (_, Some("yes")) => Ok(FindingValue::Yes),
            (FindingValue::No, _) | (_, Some("no")) => Ok(FindingValue::No),
            _ => Err(FindingsError::NotAFlag(name.clone())),
        },
        FindingKind::Number { min, max, unit } => {
            let number = match value {
                FindingValue::Number(number) => Some(*number),
                FindingValue::Yes
                | FindingValue::No
                | FindingValue::Unknown
                | FindingValue::Text(_) => word.and_then(|w| w.parse().ok()),
            };
            match number {
                Some(number) if (*min..=*max).contains(&number) => Ok(FindingValue::Number(number)),
                Some(number) => {
                    let (name, unit) = (name.clone(), unit.clone());
                    Err(FindingsError::Impossible(name, number, unit, *min, *max))
                }
                None => Err(FindingsError::NotANumber(name.clone(), *min)),
            }
        }
        FindingKind::Choice(choices) => match word {
            Some(word) if choices.iter().any(|c| c == word) => {
                Ok(FindingValue::Text(word.to_owned()))
            }
            _ => Err(FindingsError::NotAChoice(name.clone(), choices.clone())),
        },
    }
}
