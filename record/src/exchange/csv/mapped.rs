//! Tables of other systems with one row a patient: a [`Mapping`] says which column is which field, in
//! which unit and in which words. What a row holds and no rule of the mapping reads is left out and
//! listed; a cell that cannot be read leaves its field unknown.

use std::collections::{BTreeMap, BTreeSet};

use clinical::calendar::{Calendar, digits, number, read_date};
use clinical::{FindingValue, Kind, catalogue};
use serde::{Deserialize, Serialize};

use super::cells::{cells, lines_of};
use super::{Columns, DELIMITERS, ExchangeError, Imported, RegisterNumber, value_of};
use crate::exchange::units;
use crate::{DoseEntry, Entry};

/// The first line of a mapping file.
pub const MAPPING_FORMAT: &str = "kijiti.mapping/1";
/// Columns that one table may have.
const COLUMNS_MAX: usize = 1_000;
/// Patients in one table.
const PATIENTS_MAX: usize = 10_000;

/// How a table of another system becomes cases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// [`MAPPING_FORMAT`].
    pub format: String,
    /// The system that the table is of, by a name that stays: patients are known again by it.
    pub system: String,
    /// The columns by which a patient is known in that system: a register's number, or name and date of
    /// birth.
    pub known_by: Vec<String>,
    /// Columns that stay in the table without a word.
    #[serde(default)]
    pub ignore: Vec<String>,
    /// What each column is, by its name in the first line.
    pub columns: BTreeMap<String, Column>,
}

/// What a column is: a field, a dose, or a note.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Column {
    /// The field of the catalogue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The medicine of which an amount was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dose: Option<String>,
    /// Its words become a note.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub note: bool,
    /// The unit of its numbers (UCUM, or a usual word).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// How its dates are written, of `YYYY`, `MM` and `DD`: `DD/MM/YYYY`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// Of which calendar its dates are, if not the Gregorian: `EC` (Ethiopian) or `BS` (Bikram Sambat).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calendar: Option<String>,
    /// Of a dose: the column that says when it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given: Option<String>,
    /// Its words, and those that they are here.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
}

fn malformed(why: String) -> ExchangeError {
    ExchangeError::Malformed(why)
}

fn name_of(cell: &str) -> String {
    let words: Vec<_> = cell.split_whitespace().collect();
    words.join(" ").to_lowercase()
}

impl Mapping {
    /// # Errors
    /// What in it can never work, by the column.
    pub fn check(&self) -> Result<(), ExchangeError> {
        if self.format != MAPPING_FORMAT {
            return Err(malformed(format!(
                "the mapping's format is {:?}: this version reads {MAPPING_FORMAT}",
                self.format
            )));
        }
        if self.system.trim().is_empty() || self.columns.is_empty() {
            let why = "the mapping says no system, or no columns";
            return Err(malformed(why.into()));
        }
        if self.known_by.is_empty() {
            let why = "known_by names no column: name those by which a patient is known there, a register's number, or name and date of birth";
            return Err(malformed(why.into()));
        }
        for (name, column) in &self.columns {
            let wrong = |why: String| malformed(format!("the mapping of column {name:?}: {why}"));
            column.check().map_err(wrong)?;
        }
        Ok(())
    }

    /// Every column that it speaks of.
    fn named(&self) -> impl Iterator<Item = &String> {
        let given = self.columns.values().filter_map(|c| c.given.as_ref());
        let all = self.columns.keys().chain(&self.known_by);
        all.chain(&self.ignore).chain(given)
    }
}

impl Column {
    fn check(&self) -> Result<(), String> {
        let kinds = [self.field.is_some(), self.dose.is_some(), self.note];
        if kinds.into_iter().filter(|is| *is).count() != 1 {
            return Err("it is to be one of field, dose and note".into());
        }
        if let Some(pattern) = &self.date {
            let parts = ["YYYY", "MM", "DD"];
            if !parts.iter().all(|part| pattern.matches(part).count() == 1) {
                return Err(format!(
                    "date {pattern:?} must have YYYY, MM and DD once each"
                ));
            }
        }
        let calendars = Calendar::ALL.map(Calendar::mark);
        if let Some(other) = self
            .calendar
            .as_ref()
            .filter(|c| !calendars.contains(&c.as_str()))
        {
            return Err(format!(
                "calendar {other:?} is none of {}",
                calendars.join(", ")
            ));
        }
        if self.calendar.is_some() && self.date.is_none() {
            let how = "a calendar needs the way its dates are written, as date = \"DD/MM/YYYY\"";
            return Err(how.into());
        }
        if self
            .dose
            .as_ref()
            .is_some_and(|medicine| medicine.trim().is_empty())
        {
            return Err("dose names no medicine".into());
        }
        if let Some(medicine) = &self.dose {
            let unit = self.unit.as_deref().unwrap_or_default();
            return match units::is_dose_unit(unit) {
                true => Ok(()),
                false => Err(format!("{unit:?} is no unit of a dose of {medicine}")),
            };
        }
        let Some(name) = &self.field else {
            return Ok(());
        };
        let field = catalogue::field(name).ok_or_else(|| format!("there is no field {name:?}"))?;
        if let Kind::Number(least, most, ours) = field.kind {
            let unit = self.unit.as_deref().unwrap_or_default();
            let middle = f64::midpoint(least, most);
            if (ours != "1" || !unit.is_empty()) && units::convert(middle, unit, ours).is_none() {
                return Err(format!(
                    "{name} is a measurement: say its unit, as unit = \"{ours}\" ({unit:?} is none of it)"
                ));
            }
        }
        let mut words = BTreeSet::new();
        if let Some(twice) = self.values.keys().find(|word| !words.insert(name_of(word))) {
            return Err(format!("{twice:?} is there twice among its values"));
        }
        let other = |word: &&String| catalogue::read_value(name, word).is_err();
        match self.values.values().find(other) {
            Some(word) => Err(format!("{word:?} is no value of {name}")),
            None => Ok(()),
        }
    }
}

/// The names of a table's columns, what parts them, and its rows.
type Table = (Vec<String>, char, Vec<Vec<String>>);

fn open(text: &str) -> Result<Table, ExchangeError> {
    let text = text.trim_start_matches('\u{feff}');
    if text.contains('\0') || text.trim_start().starts_with(['<', '{']) || text.starts_with("PK") {
        return Err(malformed(
            "this is no table in letters: save it as CSV".into(),
        ));
    }
    let said = text
        .strip_prefix("sep=")
        .and_then(|rest| rest.chars().next());
    let first = text.lines().nth(usize::from(said.is_some()));
    let first = first.unwrap_or_default();
    let most = DELIMITERS
        .into_iter()
        .rev()
        .max_by_key(|delimiter| first.matches(*delimiter).count());
    let delimiter = said.or(most).unwrap_or(',');
    let mut rows = cells(text, delimiter)?;
    rows.drain(..usize::from(said.is_some()).min(rows.len()));
    let names = rows.first().cloned().unwrap_or_default();
    // A name over two lines is one of two words.
    let whole = |name: &String| name.split_whitespace().collect::<Vec<_>>().join(" ");
    let names: Vec<_> = names.iter().map(whole).collect();
    if names.len() > COLUMNS_MAX || names.iter().all(String::is_empty) {
        return Err(malformed(format!(
            "the first line must name the columns, {COLUMNS_MAX} at most"
        )));
    }
    Ok((names, delimiter, rows))
}

/// A mapping to begin with, of the columns whose names are those of fields; and the names of the others.
///
/// # Errors
/// What is no table.
pub fn draft(text: &str, system: &str) -> Result<(Mapping, Vec<String>), ExchangeError> {
    let (names, _, _) = open(text)?;
    let mut mapping = Mapping {
        format: MAPPING_FORMAT.into(),
        system: system.into(),
        known_by: Vec::new(),
        ignore: Vec::new(),
        columns: BTreeMap::new(),
    };
    let mut others = Vec::new();
    for name in names.into_iter().filter(|name| !name.is_empty()) {
        let own = name_of(&name).replace([' ', '-', '_'], "_");
        let of = |field: &&catalogue::Field| {
            let bare = field.name.trim_start_matches("patient.");
            field.name == own || bare == own
        };
        match catalogue::FIELDS.iter().find(of) {
            None => others.push(name),
            Some(field) => {
                let unit = match field.kind {
                    Kind::Number(_, _, unit) if unit != "1" => Some(unit.to_owned()),
                    Kind::Number(..) | Kind::Flag | Kind::Choice(_) | Kind::Text | Kind::Date => {
                        None
                    }
                };
                let date = matches!(field.kind, Kind::Date).then(|| "YYYY-MM-DD".to_owned());
                let column = Column {
                    field: Some(field.name.into()),
                    unit,
                    date,
                    ..Column::default()
                };
                mapping.columns.insert(name, column);
            }
        }
    }
    Ok((mapping, others))
}

/// A date as it is written by a pattern, in a calendar that is named, as ISO 8601 writes it.
fn date_by(pattern: &str, calendar: Option<&str>, cell: &str) -> Option<String> {
    let mut parts = BTreeMap::new();
    let plain = digits(cell.trim());
    let (mut pattern, mut rest) = (pattern, plain.as_str());
    'parts: while let Some(letter) = pattern.chars().next() {
        for (part, most) in [("YYYY", 4), ("MM", 2), ("DD", 2)] {
            if let Some(after) = pattern.strip_prefix(part) {
                let digits = rest.chars().take(most).take_while(char::is_ascii_digit);
                let (digits, behind) = rest.split_at_checked(digits.count())?;
                if part == "YYYY" && digits.len() != most {
                    return None;
                }
                parts.insert(part, digits.parse::<u32>().ok()?);
                (pattern, rest) = (after, behind);
                continue 'parts;
            }
        }
        pattern = pattern.strip_prefix(letter)?;
        rest = rest.strip_prefix(letter)?;
    }
    let [year, month, day] = ["YYYY", "MM", "DD"].map(|part| parts.get(part));
    let over = rest.trim().is_empty() || is_time(rest) || calendar == Some(rest.trim());
    let date = format!("{:04}-{:02}-{:02}", year?, month?, day?);
    let marked = calendar.map_or(date.clone(), |mark| format!("{date} {mark}"));
    let read = read_date(&marked).filter(|_| over);
    protocol::always!(read.as_deref().is_none_or(clinical::date::is_date));
    read
}

/// Whether what stands behind a date is a time of day, which says nothing of the day.
fn is_time(rest: &str) -> bool {
    let Some(time) = rest.strip_prefix([' ', 'T']) else {
        return false;
    };
    let bare = time.trim();
    let bare = bare.trim_end_matches(['Z', 'a', 'A', 'p', 'P', 'm', 'M', ' ']);
    let mut parts = bare.split([':', '.', '+', '-']);
    let within = |part: Option<&str>, most: u32| {
        part.is_some_and(|part| part.len() <= 2 && part.parse::<u32>().is_ok_and(|n| n <= most))
    };
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    within(parts.next(), 23) && within(parts.next(), 59) && parts.all(digits)
}

/// One row while it is read.
struct Row<'a> {
    columns: &'a Columns,
    cells: &'a [String],
    /// What parts the cells: where that is no comma, a comma may part numbers.
    delimiter: char,
}

impl Row<'_> {
    fn cell(&self, name: &str) -> &str {
        self.columns.of(self.cells, &name_of(name)).trim()
    }

    /// A number as its table writes it, with its unit behind it or not. Where commas part no cells they may
    /// part numbers, and three digits behind a point may be thousands: that is no number.
    fn number(&self, cell: &str, unit: &str) -> Option<f64> {
        let bare = cell.strip_suffix(unit).unwrap_or(cell).trim();
        let thousands = bare.split_once('.').is_some_and(|(whole, rest)| {
            rest.len() == 3 && !matches!(whole.trim_start_matches('-'), "" | "0")
        });
        number(bare).filter(|_| self.delimiter == ',' || !thousands)
    }

    /// What the patient is known by.
    fn keys(&self, mapping: &Mapping) -> Vec<String> {
        let names = mapping.known_by.iter();
        names.map(|name| self.key(mapping, name)).collect()
    }

    /// What a patient is known by in a column, however it is written: letters small, noughts before a number gone
    /// (a spreadsheet takes them away), a date as the mapping reads it.
    fn key(&self, mapping: &Mapping, name: &str) -> String {
        let cell = name_of(&digits(self.cell(name)));
        let column = mapping
            .columns
            .iter()
            .find(|(of, _)| name_of(of) == name_of(name));
        let date = column.and_then(|(_, column)| {
            date_by(
                column.date.as_deref()?,
                column.calendar.as_deref(),
                self.cell(name),
            )
        });
        let number = !cell.is_empty() && cell.bytes().all(|b| b.is_ascii_digit());
        match (date, number) {
            (Some(date), _) => date,
            (None, true) => {
                let bare = cell.trim_start_matches('0');
                if bare.is_empty() { "0" } else { bare }.to_owned()
            }
            (None, false) => cell,
        }
    }

    /// The case of the patient who is known by these keys.
    fn case(&self, mapping: &Mapping, keys: &[String], line: usize) -> Imported {
        let known_as = format!("table|{}|{}", mapping.system.trim(), keys.join("\n"));
        let mut imported = Imported::default();
        for name in mapping.columns.keys() {
            match self.entry(mapping, name, &known_as) {
                Ok(entry) => imported.entries.extend(entry),
                Err(why) => imported
                    .left_out
                    .push(format!("line {line}, {name}: {why}")),
            }
        }
        if !imported.entries.is_empty() {
            let from = format!("of {}: {}", mapping.system.trim(), keys.join(", "));
            imported.entries.push(Entry::Note(crate::clip(&from)));
        }
        imported.numbers = vec![RegisterNumber {
            system: format!("table|{}", mapping.system.trim()),
            value: keys.join("\n"),
        }];
        imported.known_as = Some(known_as);
        imported.settled()
    }

    fn entry(
        &self,
        mapping: &Mapping,
        name: &str,
        known_as: &str,
    ) -> Result<Option<Entry>, String> {
        let Some(column) = mapping.columns.get(name) else {
            return Ok(None);
        };
        let cell = self.cell(name);
        if cell.is_empty() {
            return Ok(None);
        }
        let unit = column.unit.as_deref().unwrap_or_default();
        if let Some(medicine) = &column.dose {
            return self.dose(
                mapping,
                (medicine, unit),
                column,
                (cell, known_as, &name_of(name)),
            );
        }
        let Some(field) = &column.field else {
            return Ok(Some(Entry::Note(crate::clip(&format!("{name}: {cell}")))));
        };
        let mapped = |(word, _): &(&String, &String)| name_of(word) == name_of(cell);
        let mapped = column.values.iter().find(mapped);
        let is_date = matches!(catalogue::field(field).map(|f| f.kind), Some(Kind::Date));
        let value = match (mapped, &column.date) {
            (Some((_, ours)), _) => {
                catalogue::read_value(field, ours).map_err(|e| e.to_string())?
            }
            (None, Some(pattern)) if is_date => {
                let date = date_by(pattern, column.calendar.as_deref(), cell);
                let date = date.ok_or_else(|| format!("{cell:?} is no date written {pattern}"))?;
                catalogue::read_value(field, &date).map_err(|e| e.to_string())?
            }
            (None, _) => match catalogue::field(field).map(|f| f.kind) {
                Some(Kind::Number(..)) => {
                    let number = self.number(cell, unit);
                    let number =
                        number.ok_or_else(|| format!("{cell:?} is no number of {field}"))?;
                    value_of(field, &number.to_string(), unit)?
                }
                _ => value_of(field, cell, unit)?,
            },
        };
        let finding = Entry::Finding {
            name: field.clone(),
            value: value.clone(),
        };
        Ok((value != FindingValue::Unknown).then_some(finding))
    }

    fn dose(
        &self,
        mapping: &Mapping,
        (medicine, unit): (&str, &str),
        column: &Column,
        (cell, known_as, name): (&str, &str, &str),
    ) -> Result<Option<Entry>, String> {
        let amount = self.number(cell, unit);
        let amount = amount.ok_or_else(|| format!("{cell:?} is no amount of {medicine}"))?;
        if amount == 0.0 {
            return Ok(None); // none was given
        }
        let written = units::plausible_dose(medicine, amount, unit)
            .ok_or_else(|| format!("nobody gives {amount} {unit} of {medicine} at once"))?;
        let given = column.given.as_ref().map(|name| (name, self.cell(name)));
        let given = given.filter(|(_, cell)| !cell.is_empty());
        let given = given.map(|(when, cell)| {
            let written = mapping.columns.get(when).filter(|c| c.date.is_some());
            let written = written.unwrap_or(column);
            let pattern = written.date.as_deref().unwrap_or("YYYY-MM-DD");
            let date = date_by(pattern, written.calendar.as_deref(), cell);
            date.ok_or_else(|| {
                format!("{cell:?} in column {when:?} is no date as the mapping has it")
            })
        });
        let given = given.transpose()?.unwrap_or_default();
        // A column is one dose of a row, whatever is put right in it: it counts once.
        let origin = format!("table/{known_as}/{name}");
        let origin = format!("table/{}", protocol::Digest::of(origin.as_bytes()));
        Ok(Some(Entry::Dose(DoseEntry {
            medicine: medicine.into(),
            amount,
            unit: written,
            route: String::new(),
            given,
            origin,
        })))
    }
}

/// Where the columns are that a mapping speaks of.
fn columns_of(names: &[String], mapping: &Mapping) -> Result<Columns, ExchangeError> {
    let (mut places, mut twice) = (BTreeMap::new(), BTreeSet::new());
    for (place, name) in names.iter().enumerate() {
        if places.insert(name_of(name), place).is_some() {
            twice.insert(name_of(name));
        }
    }
    for name in mapping.named() {
        if !places.contains_key(&name_of(name)) {
            let there: Vec<_> = names.iter().filter(|name| !name.is_empty()).collect();
            return Err(malformed(format!(
                "the mapping names a column {name:?}, and the table's are {there:?}"
            )));
        }
        if twice.contains(&name_of(name)) {
            return Err(malformed(format!(
                "the column {name:?} is there twice: keep the right one"
            )));
        }
    }
    Ok(Columns {
        places,
        count: names.len(),
        line: 1,
    })
}

/// Columns that say something and that the mapping does not speak of.
fn unread(names: &[String], rows: &[Vec<String>], mapping: &Mapping) -> Vec<String> {
    let spoken: BTreeSet<_> = mapping.named().map(|name| name_of(name)).collect();
    let unread = names
        .iter()
        .filter(|name| !name.is_empty() && !spoken.contains(&name_of(name)));
    let unread = unread.map(|name| format!("column {name}: the mapping does not speak of it"));
    let nameless = names.iter().enumerate().filter(|(place, name)| {
        let says = |row: &Vec<String>| row.get(*place).is_some_and(|cell| !cell.trim().is_empty());
        name.is_empty() && rows.iter().skip(1).any(says)
    });
    let nameless = nameless.map(|(place, _)| format!("column {}: it has no name", place + 1));
    unread.chain(nameless).collect()
}

/// Reads a table by its mapping: a case a row.
///
/// # Errors
/// A mapping that cannot work or does not fit, what is no table, and two rows of one patient, by
/// their lines.
pub fn read_mapped(text: &str, mapping: &Mapping) -> Result<Vec<Imported>, ExchangeError> {
    mapping.check()?;
    let (names, delimiter, rows) = open(text)?;
    let columns = columns_of(&names, mapping)?;
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    let (mut cases, mut nobodys) = (Vec::new(), Vec::new());
    let filled = |row: &&Vec<String>| row.iter().any(|cell| !cell.trim().is_empty());
    let body = lines_of(&rows).zip(&rows).skip(columns.line);
    for (line, cells) in body.filter(|(_, row)| filled(row)) {
        let row = Row {
            columns: &columns,
            cells,
            delimiter,
        };
        let more = cells.iter().skip(columns.count);
        if cells.len() < columns.count || more.clone().any(|cell| !cell.is_empty()) {
            return Err(malformed(format!(
                "line {line}: {} cells instead of {}",
                cells.len(),
                columns.count
            )));
        }
        if cases.len() == PATIENTS_MAX {
            return Err(malformed(format!(
                "more than {PATIENTS_MAX} patients: cut the file"
            )));
        }
        let keys = row.keys(mapping);
        protocol::always!(!keys.is_empty(), "a mapping without is refused");
        let key = keys.join("\n");
        if keys.iter().all(String::is_empty) {
            let why = format!(
                "line {line}: {} say nothing, so it is nobody's: not taken in",
                mapping.known_by.join(", ")
            );
            nobodys.push(why);
            continue;
        }
        if let Some(before) = known.insert(key.clone(), line) {
            return Err(malformed(format!(
                "lines {before} and {line} are under one number ({}): add to known_by what tells the rows apart, the name where several people share the number, the day where a patient has a row for each visit",
                keys.join(", ")
            )));
        }
        cases.push(row.case(mapping, &keys, line));
    }
    protocol::always!(cases.len() == known.len());
    if cases.iter().all(|case| case.entries.is_empty()) {
        let why = "no row of this table says anything that the mapping reads";
        let first = cases
            .iter()
            .flat_map(|case| &case.left_out)
            .chain(&nobodys)
            .next();
        let first = first.map(|first| format!(" ({first})")).unwrap_or_default();
        return Err(malformed(format!("{why}{first}")));
    }
    let unread = unread(&names, &rows, mapping);
    let left_out: Vec<_> = nobodys.into_iter().chain(unread).collect();
    if !left_out.is_empty() {
        cases.push(Imported {
            left_out,
            ..Imported::default()
        });
    }
    Ok(cases)
}
