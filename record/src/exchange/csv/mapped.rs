//! Tables of other systems with one row a patient: a [`Mapping`] says which column is which field, in
//! which unit and in which words. What a row holds and no rule of the mapping reads is left out and
//! listed; a cell that cannot be read leaves its field unknown.

use std::collections::{BTreeMap, BTreeSet};

use clinical::calendar::{Calendar, digits, read_date};
use clinical::{FindingValue, Kind, catalogue};
use serde::{Deserialize, Serialize};

use super::{Columns, DELIMITERS, ExchangeError, Imported, cells, value_of, with_point};
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
    /// The columns by which a patient is known in that system; none: by all that the row says.
    #[serde(default)]
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
    cell.trim().to_lowercase()
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
        let field = catalogue::field(name).ok_or_else(|| {
            format!("there is no field {name:?}: `kijiti case fields` lists them")
        })?;
        if let Kind::Number(least, most, ours) = field.kind {
            let unit = self.unit.as_deref().unwrap_or_default();
            let middle = f64::midpoint(least, most);
            if (ours != "1" || !unit.is_empty()) && units::convert(middle, unit, ours).is_none() {
                return Err(format!(
                    "{name} is a measurement: say its unit, as unit = \"{ours}\" ({unit:?} is none of it)"
                ));
            }
        }
        let other = |word: &&String| catalogue::read_value(name, word).is_err();
        match self.values.values().find(other) {
            Some(word) => Err(format!("{word:?} is no value of {name}")),
            None => Ok(()),
        }
    }
}

/// The names of a table's columns, what parts them, and the table.
fn open(text: &str) -> Result<(Vec<String>, char, Vec<Vec<String>>), ExchangeError> {
    let text = text.trim_start_matches('\u{feff}');
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
    let names: Vec<_> = names.iter().map(|name| name.trim().to_owned()).collect();
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
    // A time of day behind the date says nothing of the day.
    let over = rest.is_empty() || rest.starts_with([' ', 'T']);
    let date = format!("{:04}-{:02}-{:02}", year?, month?, day?);
    let marked = calendar.map_or(date.clone(), |mark| format!("{date} {mark}"));
    read_date(&marked).filter(|_| over)
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

    fn number(&self, cell: &str) -> String {
        match self.delimiter {
            ',' => cell.to_owned(),
            _ => with_point("finding", cell),
        }
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
            return self.dose(mapping, (medicine, unit), column, (cell, known_as));
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
            (None, _) => value_of(field, &self.number(cell), unit)?,
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
        (cell, known_as): (&str, &str),
    ) -> Result<Option<Entry>, String> {
        let amount: f64 = match self.number(cell).parse() {
            Ok(amount) => amount,
            Err(_) => return Err(format!("{cell:?} is no amount of {medicine}")),
        };
        if amount == 0.0 {
            return Ok(None); // none was given
        }
        let written = units::plausible_dose(medicine, amount, unit)
            .ok_or_else(|| format!("nobody gives {amount} {unit} of {medicine} at once"))?;
        let given = column.given.as_ref().map(|name| (name, self.cell(name)));
        let given = given.filter(|(_, cell)| !cell.is_empty());
        let given = given.map(|(name, cell)| {
            let written = mapping.columns.get(name).filter(|c| c.date.is_some());
            let written = written.unwrap_or(column);
            let pattern = written.date.as_deref().unwrap_or("YYYY-MM-DD");
            let date = date_by(pattern, written.calendar.as_deref(), cell);
            date.ok_or_else(|| {
                format!("{cell:?} in column {name:?} is no date as the mapping has it")
            })
        });
        let given = given.transpose()?.unwrap_or_default();
        // Whose it is, and when: the same table read twice counts it once.
        let origin = format!("table/{known_as}/{medicine}/{amount}/{unit}/{given}");
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
    let mut cases = Vec::new();
    let filled = |row: &&Vec<String>| row.iter().any(|cell| !cell.trim().is_empty());
    let body = rows.iter().enumerate().skip(columns.line);
    for (n, cells) in body.filter(|(_, row)| filled(row)) {
        let (line, row) = (
            n + 1,
            Row {
                columns: &columns,
                cells,
                delimiter,
            },
        );
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
        let keys: Vec<_> = mapping.known_by.iter().map(|name| row.cell(name)).collect();
        let named = !keys.is_empty() && keys.iter().all(|key| !key.is_empty());
        let key = if named {
            keys.join("\n")
        } else {
            cells.join("\n")
        };
        let before = known.insert(key.clone(), line);
        if let Some(before) = before {
            return Err(malformed(match named {
                true => format!(
                    "lines {before} and {line} are of one patient ({}): a table with several rows a patient needs a column in known_by that tells its visits apart",
                    keys.join(", ")
                ),
                false => format!("lines {before} and {line} are alike: keep one"),
            }));
        }
        let known_as = format!("table|{}|{key}", mapping.system.trim());
        let mut imported = Imported::default();
        for name in mapping.columns.keys() {
            match row.entry(mapping, name, &known_as) {
                Ok(entry) => imported.entries.extend(entry),
                Err(why) => imported
                    .left_out
                    .push(format!("line {line}, {name}: {why}")),
            }
        }
        imported.known_as = Some(known_as);
        cases.push(imported.settled());
    }
    if cases.iter().all(|case| case.entries.is_empty()) {
        let why = "no row of this table says anything that the mapping reads";
        return Err(malformed(why.into()));
    }
    let spoken: BTreeSet<_> = mapping.named().map(|name| name_of(name)).collect();
    let unread = names
        .iter()
        .filter(|name| !name.is_empty() && !spoken.contains(&name_of(name)));
    let left_out: Vec<_> = unread
        .map(|name| format!("column {name}: the mapping does not speak of it"))
        .collect();
    if !left_out.is_empty() {
        cases.push(Imported {
            left_out,
            ..Imported::default()
        });
    }
    Ok(cases)
}
