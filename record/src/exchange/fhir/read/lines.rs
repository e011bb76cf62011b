//! Bulk data: a resource or a bundle a line. A file of many patients is read some patients at a time, so that
//! memory grows with what is said of them and not with how it is written.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::super::{ExchangeError, Imported};
use super::bundle::{ABOUT_NOBODY, strict, subject_of};
use super::values::{items, kind_of, text_at};
use super::{PATIENTS_MAX, collection, read_bundle, read_value};

/// Patients whose resources are held at once.
const AT_ONCE: usize = 64;

/// Reads lines; `whole` is why the text is no JSON of its own. A line that is of no use costs the others
/// nothing, and is said.
pub(super) fn read(
    text: &str,
    whole: ExchangeError,
    until: Option<i64>,
) -> Result<Vec<Imported>, ExchangeError> {
    let lines: Vec<_> = text
        .lines()
        .map(|line| line.trim_start_matches('\u{feff}').trim())
        .enumerate()
        .filter(|(_, line)| !line.is_empty())
        .collect();
    if let Some(groups) = by_patients(&lines) {
        let (mut cases, mut left_out) = (Vec::new(), Vec::new());
        let beside = protocol::Digest::of(text.as_bytes());
        for (n, group) in groups.into_iter().enumerate() {
            let resources = group.iter().filter_map(|line| strict(line).ok());
            match read_bundle(&collection(resources.collect()), until) {
                Ok(mut read) => {
                    // Medicines lie with everybody who was given them.
                    let again = read.iter_mut().filter(|_| n > 0);
                    again.for_each(|one| one.of_nobody.retain(|kind, _| kind != "Medication"));
                    // All of the file stand beside each other, whichever were read at once.
                    read.iter_mut().for_each(|one| one.beside = Some(beside));
                    cases.extend(read);
                }
                Err(why) => left_out.push(why.to_string()),
            }
        }
        return with_left_out(cases, left_out, whole);
    }
    // A line of what is written over several is no JSON of its own.
    let parsed: Vec<_> = lines
        .iter()
        .map(|(n, line)| (n + 1, strict(line)))
        .collect();
    let resource =
        |line: &Result<Value, String>| line.as_ref().is_ok_and(|r| !kind_of(r).is_empty());
    if parsed.len() < 2 || !parsed.iter().any(|(_, line)| resource(line)) {
        return Err(whole);
    }
    let (mut cases, mut resources, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    for (n, line) in parsed {
        let read = match line {
            Ok(resource) if !matches!(kind_of(&resource), "Bundle" | "") => {
                resources.push(resource);
                continue;
            }
            Ok(bundle) => read_value(bundle, until),
            Err(e) => Err(ExchangeError::Malformed(format!("not JSON: {e}"))),
        };
        match read {
            Ok(read) => cases.extend(read),
            Err(why) => left_out.push(format!("line {n}: {why}")),
        }
    }
    if !resources.is_empty() {
        match read_bundle(&collection(resources), until) {
            Ok(read) => cases.extend(read),
            Err(why) => left_out.push(why.to_string()),
        }
    }
    with_left_out(cases, left_out, whole)
}

/// What was read, and what was of no use; an error where that is all.
fn with_left_out(
    mut cases: Vec<Imported>,
    left_out: Vec<String>,
    whole: ExchangeError,
) -> Result<Vec<Imported>, ExchangeError> {
    if cases.iter().all(|case| case.entries.is_empty()) {
        return Err(first_of(left_out).unwrap_or(whole));
    }
    if !left_out.is_empty() {
        cases.push(Imported {
            left_out,
            ..Imported::default()
        });
    }
    Ok(cases)
}

fn first_of(left_out: Vec<String>) -> Option<ExchangeError> {
    let first = left_out.into_iter().next()?;
    Some(ExchangeError::Malformed(first))
}

/// The lines of some patients after the other's, where each line is of one patient of the file by name, or
/// of nobody; `None` where the file is small, or anything in it is not so plain: it is then read as a whole.
fn by_patients<'a>(lines: &[(usize, &'a str)]) -> Option<Vec<Vec<&'a str>>> {
    let (mut names, mut patients) = (BTreeSet::new(), BTreeMap::new());
    let (mut of, mut others, mut of_nobody) = (Vec::new(), Vec::new(), Vec::new());
    // Medicines by their names, and which of them each line refers to.
    let (mut medicines, mut refers) = (BTreeMap::new(), BTreeMap::new());
    for (_, line) in lines {
        let resource = strict(line).ok()?;
        let kind = kind_of(&resource);
        let name = format!("{kind}/{}", text_at(&resource, &["id"])?);
        let inner = items(&resource, "contained");
        let plain = !matches!(kind, "Bundle" | "") && inner.iter().all(|r| kind_of(r) != "Patient");
        if !plain || !names.insert(name.clone()) {
            return None;
        }
        match (kind, subject_of(&resource)) {
            ("Patient", _) => {
                patients.insert(name, of.len());
                of.push(vec![*line]);
            }
            (_, Some(subject)) => {
                if let Some(medicine) = text_at(&resource, &["medicationReference", "reference"]) {
                    refers.insert(*line, medicine.to_owned());
                }
                others.push((subject.to_owned(), *line));
            }
            ("Medication", None) => {
                medicines.insert(name, *line);
                of_nobody.push(*line);
            }
            (kind, None) if ABOUT_NOBODY.contains(&kind) => of_nobody.push(*line),
            (_, None) => return None,
        }
    }
    if !(AT_ONCE + 1..=PATIENTS_MAX).contains(&of.len()) {
        return None;
    }
    for (subject, line) in others {
        of.get_mut(*patients.get(&subject)?)?.push(line);
    }
    let mut groups: Vec<Vec<&str>> = of.chunks(AT_ONCE).map(<[_]>::concat).collect();
    for group in groups.iter_mut().skip(1) {
        let named = group.iter().filter_map(|line| refers.get(line));
        let named: BTreeSet<_> = named.filter_map(|name| medicines.get(name)).collect();
        group.extend(named);
    }
    groups.first_mut()?.extend(of_nobody);
    Some(groups)
}
