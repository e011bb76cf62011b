//! Cases as a table: one line for every word that was said, so that nothing is folded away. RFC 4180, UTF-8.
//!
//! `case,area,kind,name,value,unit,said_by,said_at,order,stands`
//!
//! `kind` is finding, settled, assessment, decision, dose, not_given, note, handover, link or photo; `said_at` is the time by the author's
//! clock, a claim. Read back, findings, settlements, doses, notes and decisions become entries; what only a phone can say of
//! itself (assessments, photos and their keys) does not.

use protocol::{Area, CaseId};

use super::{ExchangeError, Imported, instant};
use crate::case::schema::{self, Kind};
use crate::case::{DecisionEntry, DoseEntry};
use crate::{CaseView, Entry, FindingValue, Stamp, Urgency};

const HEAD: [&str; 10] = ["case", "area", "kind", "name", "value", "unit", "said_by", "said_at", "order", "stands"];

/// Between the parts of a value: plan and reason, amount and route and time of a dose.
const SEPARATOR: &str = " | ";

/// Rows that one file may have.
const ROWS_MAX: usize = 1_000_000;

/// The first line.
pub fn head() -> String {
    line(&HEAD.map(str::to_owned))
}

fn line(cells: &[String]) -> String {
    // A spreadsheet runs what begins as a formula: an apostrophe keeps it words.
    let formula = |text: &str| text.starts_with(['=', '+', '@', '-', '\'']) && text.parse::<f64>().is_err();
    let cell = |text: &String| {
        let text = if formula(text) { format!("'{text}") } else { text.clone() };
        match text.contains([',', '"', '\n', '\r']) {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => text,
        }
    };
    cells.iter().map(cell).collect::<Vec<_>>().join(",") + "\r\n"
}

/// The lines of one case.
pub fn write(view: &CaseView, area: &Area) -> String {
    let mut lines = String::new();
    let mut put = |stamp: &Stamp, kind: &str, name: &str, value: String, unit: &str, stands: bool| {
        let said = [stamp.by.to_string(), instant(stamp.at_s), stamp.order.to_string()];
        let [by, at, order] = said;
        let stands = if stands { "yes" } else { "no" }.to_owned();
        let what = [kind.to_owned(), name.to_owned(), value, unit.to_owned()];
        let [kind, name, value, unit] = what;
        lines += &line(&[view.id.to_string(), area.to_string(), kind, name, value, unit, by, at, order, stands]);
    };
    for (name, state) in &view.findings {
        let unit = match schema::field(name).map(|f| f.kind) {
            Some(Kind::Number(_, _, unit)) => unit,
            _ => "",
        };
        for (stamp, value) in &state.said {
            put(stamp, "finding", name, value.words(), unit, state.standing.contains(&(*stamp, value.clone())));
        }
    }
    for (stamp, a) in &view.assessments {
        let value = format!("{} [{}] [{}]", a.rules_fired.join("; "), a.rules, a.model);
        put(stamp, "assessment", a.urgency.name(), value, "", true);
    }
    for (stamp, d) in &view.decisions {
        put(stamp, "decision", d.urgency.name(), [d.plan.as_str(), &d.reason].join(SEPARATOR), "", true);
    }
    for given in &view.doses {
        let dose = &given.dose;
        let value = [dose.amount.to_string(), dose.route.clone(), dose.given.clone()].join(SEPARATOR);
        let value = value.trim_end_matches(SEPARATOR).to_owned();
        put(&given.stamp, "dose", &dose.medicine, value, &dose.unit, given.counts());
        for (stamp, reason) in &given.taken_back {
            put(stamp, "not_given", &dose.medicine, reason.clone(), &dose.unit, true);
        }
    }
    view.notes.iter().for_each(|(stamp, note)| put(stamp, "note", "", note.clone(), "", true));
    for (stamp, to, reason) in &view.handovers {
        put(stamp, "handover", &to.to_string(), reason.clone(), "", true);
    }
    for (stamp, photo) in &view.photos {
        put(stamp, "photo", &photo.shows, photo.blob.to_string(), "", true);
    }
    lines
}

/// Cuts a table into cells (RFC 4180).
fn cells(text: &str) -> Result<Vec<Vec<String>>, ExchangeError> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut letters) = (false, text.chars().peekable());
    while let Some(letter) = letters.next() {
        match (letter, quoted) {
            ('"', true) if letters.peek() == Some(&'"') => {
                letters.next();
                cell.push('"');
            }
            ('"', _) => quoted = !quoted,
            (',', false) => row.push(std::mem::take(&mut cell)),
            ('\r', false) => {}
            ('\n', false) => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
                if rows.len() > ROWS_MAX {
                    return Err(ExchangeError::Malformed(format!("more than {ROWS_MAX} lines: cut the file")));
                }
            }
            (letter, _) => cell.push(letter),
        }
    }
    if quoted {
        return Err(ExchangeError::Malformed(
            "a quotation mark is opened and never closed: the file is cut short".into(),
        ));
    }
    if !cell.is_empty() || !row.is_empty() {
        row.push(cell);
        rows.push(row);
    }
    for cell in rows.iter_mut().flatten().filter(|cell| cell.starts_with('\'')) {
        cell.remove(0);
    }
    Ok(rows)
}

/// Reads a table: the cases in it, in the order in which they appear.
pub fn read(text: &str) -> Result<Vec<Imported>, ExchangeError> {
    let rows = cells(text.trim_start_matches('\u{feff}'))?;
    let mut rows = rows.into_iter();
    if rows.next().is_none_or(|head| head != HEAD) {
        return Err(ExchangeError::Malformed(format!("the first line must be {}", HEAD.join(","))));
    }
    let mut cases: Vec<Imported> = Vec::new();
    for (n, row) in rows.enumerate() {
        let wrong = |why: String| ExchangeError::Malformed(format!("line {}: {why}", n + 2));
        let [case, _, kind, name, value, unit, by, at, _, stands] = row.as_slice() else {
            return Err(wrong(format!("{} cells instead of {}", row.len(), HEAD.len())));
        };
        let id: CaseId = case.parse().map_err(|_| wrong(format!("{case:?} is no case")))?;
        if cases.last().is_none_or(|last| last.case != Some(id)) {
            cases.push(Imported { case: Some(id), ..Imported::default() });
        }
        let Some(imported) = cases.last_mut() else { continue };
        let said_by = by.get(..8).unwrap_or(by);
        imported.say(format!("phone {said_by} ({at})"), if name.is_empty() { kind } else { name });
        if stands == "no" || kind == "not_given" {
            continue; // what was taken back, or answered
        }
        match entry(kind, name, value, unit).map_err(wrong)? {
            Some(entry) => imported.entries.push(entry),
            None => imported.left_out.push(format!("{kind} {name}")),
        }
    }
    Ok(cases.into_iter().map(Imported::settled).collect())
}

fn entry(kind: &str, name: &str, value: &str, unit: &str) -> Result<Option<Entry>, String> {
    let value_of = || match schema::field(name) {
        Some(_) => schema::read_value(name, value),
        None => Ok(match value {
            "yes" => FindingValue::Yes,
            "no" => FindingValue::No,
            "" | "unknown" => FindingValue::Unknown,
            other => other.parse().map_or_else(|_| FindingValue::Text(other.into()), FindingValue::Number),
        }),
    };
    Ok(match kind {
        "finding" => Some(Entry::Finding { name: name.into(), value: value_of()? }),
        "settled" => Some(Entry::Settled { name: name.into(), value: value_of()? }),
        "dose" => {
            let mut parts = value.splitn(3, SEPARATOR);
            let amount = parts.next().and_then(|n| n.parse::<f64>().ok()).filter(|n| n.is_finite() && *n > 0.0);
            let amount = amount.ok_or_else(|| format!("{value:?} is no dose"))?;
            let [route, given] = [parts.next(), parts.next()].map(|part| part.unwrap_or_default().to_owned());
            Some(Entry::Dose(DoseEntry { medicine: name.into(), amount, unit: unit.into(), route, given }))
        }
        "note" => Some(Entry::Note(value.into())),
        "decision" => {
            let urgency = Urgency::parse(name).ok_or_else(|| format!("{name:?} is no colour"))?;
            let (plan, reason) = value.split_once(SEPARATOR).unwrap_or((value, ""));
            let (rules, model) = ("imported".to_owned(), "imported".to_owned());
            Some(Entry::Decision(DecisionEntry {
                urgency,
                agrees: true,
                reason: reason.into(),
                plan: plan.into(),
                rules,
                model,
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
        let cells_in = ["a,b", "say \"no\"", "two\nlines", "", "=SUM(A1)", "-4.5", "'quoted"].map(str::to_owned);
        assert!(line(&cells_in).contains("'=SUM(A1)"));
        assert_eq!(cells(&line(&cells_in)).unwrap(), [cells_in.to_vec()]);
        assert!(cells("\"open").is_err());
    }

    #[test]
    fn a_wrong_line_is_named() {
        let case = "00000000000000000000000000000001";
        let table = format!("{}{case},north,finding,spo2,12,%,x,y,1,yes\r\n", head());
        assert!(read(&table).unwrap_err().to_string().contains("line 2"));
        assert!(read("a,b\n").unwrap_err().to_string().contains("first line"));
    }
}
