//! Cells of a table.

use super::{ExchangeError, ROWS_MAX};

/// Cuts a table into cells (RFC 4180). A quotation mark opens a cell only where that begins: within one it
/// is a letter, as in 5\" wound.
pub(super) fn cells(text: &str, delimiter: char) -> Result<Vec<Vec<String>>, ExchangeError> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut letters) = (false, text.chars().peekable());
    let mut fresh = true;
    while let Some(letter) = letters.next() {
        match (letter, quoted) {
            ('"', true) if letters.peek() == Some(&'"') => {
                letters.next();
                cell.push('"');
            }
            ('"', true) => quoted = false,
            ('"', false) if fresh => {
                (quoted, fresh) = (true, false);
            }
            (letter, false) if letter == delimiter => {
                row.push(std::mem::take(&mut cell));
                fresh = true;
            }
            ('\r', false) if letters.peek() == Some(&'\n') => {}
            ('\n' | '\r', false) => {
                fresh = true;
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
                if rows.len() > ROWS_MAX {
                    return Err(ExchangeError::Malformed(format!(
                        "more than {ROWS_MAX} lines: cut the file"
                    )));
                }
            }
            (letter, _) => {
                cell.push(letter);
                fresh = false;
            }
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
    protocol::always!(rows.iter().all(|row| !row.is_empty()));
    for cell in rows
        .iter_mut()
        .flatten()
        .filter(|cell| cell.starts_with('\''))
    {
        cell.remove(0);
    }
    Ok(rows)
}

/// The line of the file on which each row begins: a cell may go over several.
pub(super) fn lines_of(rows: &[Vec<String>]) -> impl Iterator<Item = usize> {
    let mut next = 1;
    rows.iter().map(move |row| {
        let line = next;
        next += 1 + row
            .iter()
            .map(|cell| cell.matches('\n').count())
            .sum::<usize>();
        line
    })
}
