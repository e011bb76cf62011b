//! A rule pack as a clinician reads it: every word of it in tables to sign, and what one edition changes
//! against another. The lines are made of the pack's text, part by part and field by field, so that
//! nothing that a phone reads can be left out of them.

use std::collections::BTreeMap;
use std::path::Path;

use inference::RulePack;
pub use inference::authoring::Remark;
use inference::rules::BUILT_IN;

use crate::Refusal;

/// One line of a table: what it is known by, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it is known by: id, group and level of care of a rule; medicine and whom of a dose.
    pub key: String,
    /// What it says.
    pub says: Vec<String>,
}

/// A part of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Class, colour, condition, what to do, source, and all else.
    Rules,
    /// Words that conditions use: what they mean.
    Definitions,
    /// Doses for rules: amounts, course, what forbids it, source.
    Doses,
    /// Steps before a referral, what to tell, when to return, when to follow up.
    Advice,
    /// Strength, way, names, and allergies that forbid a medicine.
    Medicines,
    /// What is asked, of whom, and in which bounds.
    Questions,
    /// Whatever stands beside.
    Rest,
}

impl Part {
    /// All of them, as they are printed.
    pub const ALL: [Self; 7] = [
        Self::Rules,
        Self::Definitions,
        Self::Doses,
        Self::Advice,
        Self::Medicines,
        Self::Questions,
        Self::Rest,
    ];

    fn of(section: &str) -> Option<Self> {
        Some(match section {
            "rule" => Self::Rules,
            "define" => Self::Definitions,
            "treat" => Self::Doses,
            "advice" => Self::Advice,
            "medicine" => Self::Medicines,
            "finding" => Self::Questions,
            "golden" => return None, // what must come out, not what is done
            _ => Self::Rest,
        })
    }
}

/// A pack as tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Id.
    pub id: String,
    /// Id, edition and version.
    pub pack: String,
    /// Its parts.
    pub parts: BTreeMap<Part, Vec<Line>>,
}

/// What one edition changes against another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    New(Line),
    /// It is gone.
    Gone(Line),
    /// It says something else: before, and now.
    Other(Line, Line),
}

/// A pack, and the text that it was read from.
#[derive(Debug)]
pub struct Read {
    /// As phones read it.
    pub pack: RulePack,
    text: toml::Table,
}

/// Reads a pack; without a file, the one that is built in.
pub fn read(path: Option<&Path>) -> Result<Read, Refusal> {
    let (name, text) = match path {
        None => ("built in".to_owned(), BUILT_IN.to_owned()),
        Some(path) => {
            let unreadable = |e| Refusal::Unreadable(path.to_owned(), e);
            let text = std::fs::read_to_string(path).map_err(unreadable)?;
            (path.display().to_string(), text)
        }
    };
    of_text(&text).map_err(|why| Refusal::NotAPack(name, why))
}

fn of_text(text: &str) -> Result<Read, String> {
    Ok(Read {
        pack: RulePack::parse(text)?,
        text: text.parse().map_err(|e: toml::de::Error| e.to_string())?,
    })
}

/// What its author should look at before anybody signs it.
pub fn remarks(pack: &RulePack) -> Result<Vec<Remark>, Refusal> {
    inference::authoring::remarks(pack).map_err(|why| Refusal::NotAPack(pack.named(), why))
}

/// A pack as tables.
pub fn table(read: &Read) -> Table {
    let mut parts: BTreeMap<Part, Vec<Line>> = BTreeMap::new();
    let medicines = items(&read.text, "medicine");
    for (section, value) in &read.text {
        let Some(part) = Part::of(section) else {
            continue;
        };
        let lines = parts.entry(part).or_default();
        match value.as_array().filter(|_| part != Part::Rest) {
            Some(entries) => {
                let entries = entries.iter().filter_map(toml::Value::as_table);
                lines.extend(entries.map(|entry| line(part, entry, &medicines)));
            }
            None => lines.push(Line {
                key: section.clone(),
                says: vec![said(value)],
            }),
        }
    }
    parts.values_mut().for_each(|lines| number(lines));
    Table {
        id: read.pack.id.clone(),
        pack: format!("{}, version {}", read.pack.named(), read.pack.version),
        parts,
    }
}

/// What a pack changes against the one that is built in, where it is the guideline's next edition.
pub(crate) fn changed(text: &str) -> Vec<(Part, Change)> {
    let (Ok(new), Ok(old)) = (of_text(text), of_text(BUILT_IN)) else {
        return Vec::new();
    };
    match new.pack.id == old.pack.id {
        true => changes(&table(&old), &table(&new)),
        false => Vec::new(),
    }
}

fn items<'a>(text: &'a toml::Table, section: &str) -> Vec<&'a toml::Table> {
    let entries = text.get(section).and_then(toml::Value::as_array);
    let entries = entries.into_iter().flatten();
    entries.filter_map(toml::Value::as_table).collect()
}

/// Lines that are known by the same words are told apart by a number: none hides another.
fn number(lines: &mut [Line]) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for line in lines {
        let count = seen.entry(line.key.clone()).or_default();
        *count += 1;
        if *count > 1 {
            line.key = format!("{} [{count}]", line.key);
        }
    }
}

fn said(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(all) => all.iter().map(said).collect::<Vec<_>>().join(", "),
        toml::Value::Table(table) => {
            let all = table
                .iter()
                .map(|(name, value)| format!("{name} {}", said(value)));
            all.collect::<Vec<_>>().join(", ")
        }
        toml::Value::Boolean(true) => "yes".into(),
        toml::Value::Boolean(false) => "no".into(),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Float(number) => number.to_string(),
        toml::Value::Datetime(time) => time.to_string(),
    }
}

/// A condition as people read it.
fn in_words(when: &str) -> String {
    let signs = [
        (">=", " at least "),
        ("<=", " at most "),
        ("!=", " is not "),
        ("==", " is "),
        (">", " above "),
        ("<", " below "),
        ("=", " is "),
        ("_", " "),
    ];
    let words = signs.iter().fold(when.to_owned(), |text, (sign, words)| {
        text.replace(sign, words)
    });
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What an entry says, one column after another; what no column takes stands in the last, named.
fn line(part: Part, entry: &toml::Table, medicines: &[&toml::Table]) -> Line {
    let mut left = entry.clone();
    let mut take = |name: &str| {
        left.remove(name)
            .map(|value| said(&value))
            .unwrap_or_default()
    };
    let (key, mut says) = match part {
        Part::Rules => {
            let levels = entry
                .get("profiles")
                .map_or_else(|| "all levels".into(), said);
            let key = format!("{} ({}, {levels})", take("id"), take("group"));
            take("profiles");
            let says = vec![
                take("class"),
                take("urgency"),
                in_words(&take("when")),
                take("action"),
                take("source"),
            ];
            (key, says)
        }
        Part::Definitions => (in_words(&take("name")), vec![in_words(&take("when"))]),
        Part::Medicines => {
            let key = take("name");
            (key, vec![take("allergy"), take("route"), take("unit")])
        }
        Part::Questions => {
            let key = take("id");
            (key, vec![take("ask"), take("asked"), in_words(&take("if"))])
        }
        Part::Doses => dose_line(entry, medicines, &mut take),
        Part::Advice => advice_line(entry, &mut take),
        Part::Rest => (String::new(), Vec::new()),
    };
    let rest = left.iter().map(|(name, value)| {
        let value = said(value);
        format!(
            "{}: {}",
            in_words(name),
            if name == "if" {
                in_words(&value)
            } else {
                value
            }
        )
    });
    says.push(rest.collect::<Vec<_>>().join("; "));
    Line { key, says }
}

/// Takes a field of an entry, as it is said.
type Take<'a> = &'a mut dyn FnMut(&str) -> String;

fn dose_line(
    entry: &toml::Table,
    medicines: &[&toml::Table],
    take: Take<'_>,
) -> (String, Vec<String>) {
    let id = take("medicine");
    let medicine = medicines
        .iter()
        .find(|m| m.get("id").is_some_and(|of| said(of) == id));
    let of = |name: &str| {
        medicine
            .and_then(|m| m.get(name))
            .map(said)
            .unwrap_or_default()
    };
    let key = format!("{}, for {}", of("name"), whom(entry));
    for name in ["rules", "profiles", "referral"] {
        take(name);
    }
    let unit = if of("mg").is_empty() {
        of("unit")
    } else {
        "mg".to_owned()
    };
    let per_kg = entry.get("per_kg").and_then(toml::Value::as_array);
    let per_kg = per_kg.map(|both| range(both, &format!("{unit} for each kg")));
    let bands = items(entry, "band");
    let bands = bands.iter().map(|band| band_said(band, &of("unit")));
    let doses: Vec<_> = per_kg.into_iter().chain(bands).collect();
    for name in ["per_kg", "band"] {
        take(name);
    }
    let course = [
        ("first", "first dose now"),
        ("times", "times a day"),
        ("days", "days"),
    ];
    let course = course.map(|(name, words)| match take(name).as_str() {
        "" | "no" => String::new(),
        "yes" => words.to_owned(),
        number => format!("{number} {words}"),
    });
    let course = course
        .into_iter()
        .chain([take("how")])
        .filter(|part| !part.is_empty());
    let course = course.collect::<Vec<_>>().join(", ");
    let unless = [in_words(&take("unless")), take("unless_words")];
    let unless = unless.into_iter().filter(|part| !part.is_empty());
    let not_beside = take("unless_given");
    let not_beside = (!not_beside.is_empty()).then(|| format!("beside {not_beside}"));
    let unless = unless.chain(not_beside).collect::<Vec<_>>().join("; ");
    let when = in_words(&take("when"));
    (
        key,
        vec![doses.join("; "), course, when, unless, take("source")],
    )
}

fn advice_line(entry: &toml::Table, take: Take<'_>) -> (String, Vec<String>) {
    let kind = match take("kind").as_str() {
        "step" => "step before leaving",
        "tell" => "tell the family",
        "return" => "come back at once",
        "follow_up" => "see again",
        _ => "advice",
    };
    let words = take("words");
    let words = if words.is_empty() {
        String::new()
    } else {
        format!(": {words}")
    };
    let key = format!("{kind}, for {}{words}", whom(entry));
    for name in ["rules", "profiles", "referral"] {
        take(name);
    }
    let days = take("days");
    let days = if days.is_empty() {
        days
    } else {
        format!("after {days} days")
    };
    (key, vec![days, in_words(&take("when")), take("source")])
}

/// For whom something is.
fn whom(entry: &toml::Table) -> String {
    let rules = entry.get("rules").map(said).unwrap_or_default();
    let rules = if rules == "*" {
        "everybody".to_owned()
    } else {
        rules
    };
    let levels = entry
        .get("profiles")
        .map_or_else(|| "all levels".into(), said);
    let referral = entry.get("referral").is_some_and(|yes| said(yes) == "yes");
    format!(
        "{rules} ({levels}{})",
        if referral { ", before referral" } else { "" }
    )
}

fn range(both: &[toml::Value], unit: &str) -> String {
    let numbers: Vec<_> = both.iter().map(said).collect();
    match numbers.as_slice() {
        [one] => format!("{one} {unit}"),
        [least, most] if least == most => format!("{one} {unit}", one = least),
        _ => format!("{} {unit}", numbers.join(" to ")),
    }
}

fn band_said(band: &toml::Table, unit: &str) -> String {
    let part = |name: &str, words: &str| {
        let both = band.get(name).and_then(toml::Value::as_array)?;
        let both: Vec<_> = both.iter().map(said).collect();
        Some(format!("{words} {}", both.join(" to below ")))
    };
    let whom = [part("age", "months"), part("weight", "kg")];
    let whom = whom.into_iter().flatten().collect::<Vec<_>>().join(" or ");
    let dose = band.get("amount").and_then(toml::Value::as_array);
    let dose = dose.map(|amount| range(amount, unit));
    let differ = band.get("differ").map(said);
    let dose = dose.or(differ).unwrap_or_default();
    if whom.is_empty() {
        dose
    } else {
        format!("{whom}: {dose}")
    }
}

/// What `new` changes against `old`, part by part. A pack of another name runs beside the old one: what
/// it does not speak of is not gone.
pub fn changes(old: &Table, new: &Table) -> Vec<(Part, Change)> {
    let beside = old.id != new.id;
    let nothing = Vec::new();
    let mut changes = Vec::new();
    // What it is called is no change of the other.
    for part in Part::ALL
        .into_iter()
        .filter(|part| !beside || *part != Part::Rest)
    {
        let before = old.parts.get(&part).unwrap_or(&nothing);
        let after = new.parts.get(&part).unwrap_or(&nothing);
        for line in after {
            match before.iter().find(|old| old.key == line.key) {
                None => changes.push((part, Change::New(line.clone()))),
                // Beside the other, it takes nothing of its place: what differs is said besides.
                Some(old) if old != line && beside => {
                    changes.push((part, Change::New(line.clone())));
                }
                Some(old) if old != line => {
                    changes.push((part, Change::Other(old.clone(), line.clone())));
                }
                Some(_) => {}
            }
        }
        let gone = before
            .iter()
            .filter(|old| !beside && !after.iter().any(|l| l.key == old.key));
        changes.extend(gone.map(|line| (part, Change::Gone(line.clone()))));
    }
    changes
}

#[cfg(test)]
mod tests;
