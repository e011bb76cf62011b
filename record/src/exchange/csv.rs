//! Cases as a table: one line for every word that was said, so that nothing is folded away. RFC
//! 4180, UTF-8, with the mark by which spreadsheets know it. Read as spreadsheets write: columns by
//! their names in any order, behind commas, semicolons, tabs or bars.
//!
//! `case,area,kind,name,value,unit,said_by,said_at,order,stands`
//!
//! `kind` is finding, settled, assessment, decision, dose, not_given, note, handover, link or
//! photo; `said_at` is the time by the author's clock, a claim. Read back, findings, settlements,
//! doses, notes and decisions become entries; what only a phone can say of itself (assessments,
//! photos and their keys) does not.

mod cells;
mod mapped;

use std::collections::{BTreeMap, BTreeSet};

use protocol::{Area, CaseId};

use super::{ExchangeError, Imported, RegisterNumber, units};
use clinical::date::{instant, is_instant};
use clinical::{FindingValue, Kind, Urgency, calendar, catalogue};

use crate::{CaseView, DecisionEntry, DoseEntry, Entry, IMPORTED, Stamp};

use cells::{cells, lines_of};
pub use mapped::{Column, MAPPING_FORMAT, Mapping, draft, read_mapped};

const HEAD: [&str; 11] = [
    "case", "area", "kind", "name", "value", "unit", "said_by", "said_at", "order", "stands", "id",
];

/// Between the parts of a value: plan and reason, amount and route and time of a dose.
const SEPARATOR: &str = " | ";

/// Rows that one file may have.
const ROWS_MAX: usize = 1_000_000;

/// Columns without which a row says nothing.
const NEEDED: [&str; 4] = ["case", "kind", "name", "value"];

/// What spreadsheets put between cells.
const DELIMITERS: [char; 4] = [',', ';', '\t', '|'];

/// The first line. The mark before it tells spreadsheets that this is UTF-8: without it they show other
/// letters than were written.
pub fn head() -> String {
    format!("\u{feff}{}", line(&HEAD.map(str::to_owned)))
}

fn line(cells: &[String]) -> String {
    // A spreadsheet runs what begins as a formula: an apostrophe keeps it words.
    let formula = |text: &str| {
        let words = text.trim_start_matches(['\t', '\r', '\n', ' ', ';']);
        (words.starts_with(['=', '+', '@', '-', '\'']) || text.starts_with(['\t', '\r', ';']))
            && text.parse::<f64>().is_err()
    };
    let cell = |text: &String| {
        let text = if formula(text) {
            format!("'{text}")
        } else {
            text.clone()
        };
        match text.contains([',', '"', '\n', '\r']) {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => text,
        }
    };
    let row = cells.iter().map(cell).collect::<Vec<_>>().join(",") + "\r\n";
    protocol::always!(self::cells::cells(&row, ',').is_ok_and(|rows| rows == [cells.to_vec()]));
    row
}

/// The lines of one case.
pub fn write(view: &CaseView, area: &Area) -> String {
    let mut lines = String::new();
    let row = |stamp: &Stamp, what: [&str; 4], stands: bool, id: &str| {
        let stands = if stands { "yes" } else { "no" };
        let [kind, name, value, unit] = what.map(str::to_owned);
        line(&[
            view.id.to_string(),
            area.to_string(),
            kind,
            name,
            value,
            unit,
            stamp.by.to_string(),
            instant(stamp.at_s),
            stamp.order.to_string(),
            stands.to_owned(),
            id.to_owned(),
        ])
    };
    // A dose by the name that it has in every form, so that it is one however it comes.
    let mut doses = String::new();
    for given in &view.doses {
        let dose = &given.dose;
        let value = [
            dose.amount.to_string(),
            dose.route.clone(),
            dose.given.clone(),
        ]
        .join(SEPARATOR);
        let value = value.trim_end_matches(SEPARATOR);
        let what = ["dose", &dose.medicine, value, &dose.unit];
        doses += &row(&given.stamp, what, given.counts(), &given.key);
        for (stamp, reason) in &given.taken_back {
            let what = ["not_given", &dose.medicine, reason, &dose.unit];
            doses += &row(stamp, what, true, &given.key);
        }
    }
    let mut put =
        |stamp: &Stamp, kind: &str, name: &str, value: String, unit: &str, stands: bool| {
            lines += &row(stamp, [kind, name, &value, unit], stands, "");
        };
    for (name, state) in &view.findings {
        let unit = match catalogue::field(name).map(|f| f.kind) {
            Some(Kind::Number(_, _, unit)) => unit,
            _ => "",
        };
        for (stamp, value) in &state.said {
            put(
                stamp,
                "finding",
                name,
                value.words(),
                unit,
                state.standing.contains(&(*stamp, value.clone())),
            );
        }
    }
    for (stamp, a) in &view.assessments {
        let value = format!("{} [{}] [{}]", a.rules_fired.join("; "), a.rules, a.model);
        put(stamp, "assessment", a.urgency.name(), value, "", true);
    }
    for (stamp, d) in &view.decisions {
        put(
            stamp,
            "decision",
            d.urgency.name(),
            [d.plan.as_str(), &d.reason].join(SEPARATOR),
            "",
            true,
        );
    }
    view.notes
        .iter()
        .for_each(|(stamp, note)| put(stamp, "note", "", note.clone(), "", true));
    for (stamp, to, reason) in &view.handovers {
        put(stamp, "handover", &to.to_string(), reason.clone(), "", true);
    }
    for (stamp, photo) in &view.photos {
        put(
            stamp,
            "photo",
            &photo.shows,
            photo.blob.to_string(),
            "",
            true,
        );
    }
    lines + &doses
}

/// Where the columns of a table are.
struct Columns {
    places: BTreeMap<String, usize>,
    count: usize,
    /// The first row below their names.
    line: usize,
}

impl Columns {
    fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    fn of<'a>(&self, row: &'a [String], name: &str) -> &'a str {
        let place = self.places.get(name);
        place
            .and_then(|place| row.get(*place))
            .map_or("", String::as_str)
    }
}

/// Cuts a table, by what stands between the names of its columns.
fn table(text: &str) -> Result<(Vec<Vec<String>>, Columns, char), ExchangeError> {
    // Some spreadsheets say in a line of its own what stands between cells.
    let said = text
        .strip_prefix("sep=")
        .and_then(|rest| rest.chars().next());
    let delimiters = said.into_iter().chain(DELIMITERS);
    let skipped = usize::from(said.is_some());
    let mut lines = text.split(['\n', '\r']).filter(|line| !line.is_empty());
    let first = lines.nth(skipped).unwrap_or_default();
    let names = |delimiter: char| -> Vec<String> {
        let cell = |cell: &str| {
            cell.trim()
                .trim_matches('"')
                .to_lowercase()
                .replace(' ', "_")
        };
        first.split(delimiter).map(cell).collect()
    };
    for delimiter in delimiters {
        let names = names(delimiter);
        if !NEEDED
            .iter()
            .all(|needed| names.iter().any(|name| name == needed))
        {
            continue;
        }
        let mut places = BTreeMap::new();
        for (place, name) in names.iter().enumerate() {
            if places.insert(name.clone(), place).is_some() && HEAD.contains(&name.as_str()) {
                let why = format!("the column {name} is there twice: keep the right one");
                return Err(ExchangeError::Malformed(why));
            }
        }
        let columns = Columns {
            places,
            count: names.len(),
            line: skipped + 1,
        };
        return Ok((cells(text, delimiter)?, columns, delimiter));
    }
    Err(ExchangeError::Malformed(format!(
        "the first line must name the columns, {} at least, behind commas, semicolons or tabs; all are {} (a table of another system's, one row a patient, is read with a mapping)",
        NEEDED.join(","),
        HEAD.join(",")
    )))
}

/// Whether a row stands, in the words that spreadsheets write.
fn truth(cell: &str) -> Result<bool, String> {
    let why = || format!("{cell:?} in the column stands: write yes or no");
    catalogue::truth(cell).ok_or_else(why)
}

/// A value in which a comma parts a number, as where semicolons part the cells. Three digits behind it may
/// as well be thousands: such a number is left as it is, and its line is refused.
fn with_point(kind: &str, value: &str) -> String {
    let (number, rest) = match value.split_once(SEPARATOR) {
        Some((number, rest)) => (number, Some(rest)),
        None => (value, None),
    };
    let numbers = ["finding", "settled", "dose"];
    let has_numbers = numbers
        .iter()
        .any(|of| kind.trim().eq_ignore_ascii_case(of));
    if !has_numbers || !number.contains(',') || calendar::number(number).is_none() {
        return value.to_owned();
    }
    let pointed = number.replacen(',', ".", 1);
    rest.map_or(pointed.clone(), |rest| [&pointed, rest].join(SEPARATOR))
}

/// Reads a table: the cases in it, in the order in which they appear first, however its rows are
/// sorted.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "none of the others is meant"
)]
pub fn read(text: &str) -> Result<Vec<Imported>, ExchangeError> {
    let (rows, columns, delimiter) = table(text.trim_start_matches('\u{feff}'))?;
    let mut cases: Vec<Imported> = Vec::new();
    let mut places: BTreeMap<CaseId, usize> = BTreeMap::new();
    let mut not_given: BTreeSet<(usize, String)> = BTreeSet::new();
    for (line, row) in lines_of(&rows).zip(&rows).skip(columns.line) {
        let wrong = |why: String| ExchangeError::Malformed(format!("line {line}: {why}"));
        if row.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        let more = row.iter().skip(columns.count).any(|cell| !cell.is_empty());
        if row.len() < columns.count || more {
            return Err(wrong(format!(
                "{} cells instead of {}",
                row.len(),
                columns.count
            )));
        }
        let of = |name: &str| columns.of(row, name);
        let [case, kind, name, value, unit] = ["case", "kind", "name", "value", "unit"].map(of);
        let [by, at, order, stands] = ["said_by", "said_at", "order", "stands"].map(of);
        let value = &match delimiter {
            ';' => with_point(kind, value),
            _ => value.to_owned(),
        };
        let stands = if columns.has("stands") { stands } else { "yes" };
        let id: CaseId = case
            .parse()
            .map_err(|_| wrong(format!("{case:?} is no case")))?;
        let place = *places.entry(id).or_insert(cases.len());
        if place == cases.len() {
            cases.push(Imported {
                case: Some(id),
                known_as: Some(format!("csv|{id}")),
                numbers: vec![RegisterNumber {
                    system: "csv".into(),
                    value: id.to_string(),
                }],
                ..Imported::default()
            });
        }
        let Some(imported) = cases.get_mut(place) else {
            continue;
        };
        let stands = truth(stands).map_err(wrong)?;
        let said_by = by.get(..8).unwrap_or(by);
        imported.say(
            format!("phone {said_by} ({at})"),
            if name.is_empty() { kind } else { name },
        );
        let id = of("id").trim();
        let taken_back = kind.trim().eq_ignore_ascii_case("not_given");
        let dose = kind.trim().eq_ignore_ascii_case("dose");
        if !id.is_empty() && (taken_back || (dose && !stands)) {
            imported.taken_back.push(id.to_owned());
            continue;
        }
        if taken_back {
            not_given.insert((place, name.trim().to_lowercase()));
            continue;
        }
        if !stands {
            continue; // what was taken back, or answered
        }
        let said = format!("{by}/{order}");
        let named = entry(kind, name, value, unit, &said).map_err(wrong)?;
        match named.map(|entry| with_id(entry, of("id"))) {
            Some(Entry::Dose(dose)) if dose.origin.is_empty() => {
                let why = "neither who said it nor when it was given is said, so it may be one that counts already";
                imported.left_out.push(format!(
                    "dose {} {} {}: {why}",
                    dose.medicine, dose.amount, dose.unit
                ));
            }
            Some(entry) => imported.entries.push(entry),
            None => imported.left_out.push(format!("{kind} {name}")),
        }
    }
    for (place, imported) in cases.iter_mut().enumerate() {
        let named = imported.taken_back.clone();
        let taken_back = |entry: &Entry| match entry {
            Entry::Dose(dose) => {
                named.contains(&dose.origin)
                    || not_given.contains(&(place, dose.medicine.to_lowercase()))
            }
            _ => false,
        };
        if imported.entries.iter().any(taken_back) {
            imported.entries.retain(|entry| !taken_back(entry));
            imported
                .left_out
                .push("dose: it stands, and is said not to have been given: look it up".into());
        }
    }
    Ok(cases.into_iter().map(Imported::settled).collect())
}

/// A dose by the name that it has in every form, where the table says it.
fn with_id(mut entry: Entry, id: &str) -> Entry {
    if let (Entry::Dose(dose), false) = (&mut entry, id.trim().is_empty()) {
        id.trim().clone_into(&mut dose.origin);
    }
    entry
}

/// A finding's value; of a measurement in the unit that the row names, and never without knowing
/// it.
fn value_of(name: &str, value: &str, unit: &str) -> Result<FindingValue, String> {
    let (value, unit) = (value.trim(), unit.trim());
    match catalogue::field(name).map(|field| field.kind) {
        Some(Kind::Number(_, _, ours))
            if !value.is_empty() && value != "unknown" && unit != ours =>
        {
            let number = calendar::number(value)
                .ok_or_else(|| format!("{value:?} is no number of {name}"))?;
            let ours_alone = ours == "1" && unit.is_empty();
            let converted = if ours_alone {
                Some(number)
            } else {
                units::convert(number, unit, ours)
            };
            let converted =
                converted.ok_or_else(|| format!("{name} in {unit:?}: write it in {ours}"))?;
            catalogue::read_value(name, &converted.to_string()).map_err(|e| e.to_string())
        }
        Some(_) => catalogue::read_value(name, value).map_err(|e| e.to_string()),
        None => Ok(match value {
            "yes" => FindingValue::Yes,
            "no" => FindingValue::No,
            "" | "unknown" => FindingValue::Unknown,
            other => match other.parse::<f64>() {
                Ok(number) if number.is_finite() => FindingValue::Number(number),
                Ok(_) | Err(_) => FindingValue::Text(other.into()),
            },
        }),
    }
}

fn entry(
    kind: &str,
    name: &str,
    value: &str,
    unit: &str,
    said: &str,
) -> Result<Option<Entry>, String> {
    Ok(match kind.trim().to_lowercase().as_str() {
        kind @ ("finding" | "settled") => {
            let name =
                super::field_name(name).ok_or_else(|| format!("there is no field {name:?}"))?;
            let value = value_of(&name, value, unit)?;
            Some(if kind == "finding" {
                Entry::Finding { name, value }
            } else {
                Entry::Settled { name, value }
            })
        }
        "dose" => {
            let mut parts = value.splitn(3, SEPARATOR);
            let amount = parts.next().and_then(calendar::number);
            let written = amount.and_then(|amount| units::plausible_dose(name, amount, unit));
            let no_dose =
                || format!("{value:?} {unit:?} of {name:?} is no dose that is given at once");
            let (amount, written) = amount.zip(written).ok_or_else(no_dose)?;
            protocol::always!(amount.is_finite() && amount > 0.0);
            let [route, given] =
                [parts.next(), parts.next()].map(|part| part.unwrap_or_default().to_owned());
            if !given.is_empty() && !is_instant(&given) {
                return Err(format!("{given:?} is no time at which a dose was given"));
            }
            // Who said it, and where, names a dose wherever it is written; or else when it was
            // given.
            let origin = match said.split('/').any(|part| part.trim().is_empty()) {
                true if given.is_empty() => String::new(),
                true => format!("csv/{name}/{amount}/{unit}/{given}"),
                false => format!("{said}/{name}/{amount}/{unit}"),
            };
            Some(Entry::Dose(DoseEntry {
                medicine: name.into(),
                amount,
                unit: written,
                route,
                given,
                origin,
            }))
        }
        "note" => Some(Entry::Note(value.into())),
        "decision" => {
            let urgency = Urgency::parse(&name.to_lowercase())
                .ok_or_else(|| format!("{name:?} is no colour"))?;
            let (plan, reason) = value.split_once(SEPARATOR).unwrap_or((value, ""));
            Some(Entry::Decision(DecisionEntry {
                urgency,
                agrees: true,
                reason: reason.into(),
                plan: plan.into(),
                rules: IMPORTED.into(),
                model: IMPORTED.into(),
                app: String::new(),
            }))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_with_commas_quotes_and_lines_come_out_as_they_went_in() {
        let cells_in = [
            "a,b",
            "say \"no\"",
            "two\nlines",
            "",
            "=SUM(A1)",
            "-4.5",
            "'quoted",
        ]
        .map(str::to_owned);
        assert!(line(&cells_in).contains("'=SUM(A1)"));
        assert_eq!(cells(&line(&cells_in), ',').unwrap(), [cells_in.to_vec()]);
        assert!(cells("\"open", ',').is_err());
        let wound = cells("a 5\" wound;\"a 2\"\" one\"\r\nnext;\r", ';').unwrap();
        assert_eq!(wound, [["a 5\" wound", "a 2\" one"], ["next", ""]]);
    }

    /// As spreadsheets write the same table.
    #[test]
    fn columns_are_known_by_their_names_behind_any_delimiter() {
        let case = "00000000000000000000000000000001";
        let plain = format!(
            "{}{case},north,finding,temperature,38.5,Cel,x,y,1,yes,\r\n",
            head()
        );
        let expected = read(&plain).unwrap();
        assert_eq!(expected.first().unwrap().entries.len(), 1);
        for table in [
            plain.replace(',', ";").replace("38.5", "38,5"),
            format!(
                "sep=;\n{}",
                plain.trim_start_matches('\u{feff}').replace(',', ";")
            ),
            plain.replace(',', "\t"),
            plain.replace("\r\n", "\r"),
            format!(
                "unit,Value,name,kind,remark,stands,case,said_by,said_at,order\nCel,38.5,temperature,finding,,TRUE,{case},x,y,1\n"
            ),
        ] {
            let read = read(&table).unwrap();
            assert_eq!(
                read.first().unwrap().entries,
                expected.first().unwrap().entries,
                "{table}"
            );
        }
        for (kind, value, read) in [
            ("finding", "38,5", "38.5"),
            ("dose", "2,5 | by mouth", "2.5 | by mouth"),
            ("finding", "1,000", "1,000"),
            ("note", "2,5", "2,5"),
            ("finding", "a,b", "a,b"),
        ] {
            assert_eq!(with_point(kind, value), read);
        }
        // A row that is cut short, or has more than there are names, is no row.
        assert!(read(&plain.replace(",1,yes", "")).is_err());
        assert!(read(&plain.replace(",1,yes,", ",1,yes,,and")).is_err());
        assert!(read("case,kind,name,value,value\n").is_err());
    }

    #[test]
    fn a_wrong_line_is_named() {
        let case = "00000000000000000000000000000001";
        let table = format!("{}{case},north,finding,spo2,12,%,x,y,1,yes,\r\n", head());
        assert!(read(&table).unwrap_err().to_string().contains("line 2"));
        assert!(
            read("a,b\n")
                .unwrap_err()
                .to_string()
                .contains("first line")
        );
    }
}
