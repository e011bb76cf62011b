//! A change of a case as bytes, read just far enough to know who has signed it and how many
//! operations it unfolds to, before Automerge sees it. Its columns are run-length coded: a few
//! bytes can stand for 10¹² operations.
//!
//! ```text
//! magic 4 · checksum 4 · kind 1 (1: a plain change) · length (LEB128) · body
//! body: dependencies n × 32 · actor · seq · first operation · time · message · other actors · columns n × (spec, length) ·
//!       the columns' data · extra bytes
//! ```
//! (Automerge's storage format, <https://automerge.org/automerge-binary-format-spec/>.) Lengths and
//! numbers are LEB128.

use protocol::defence::{self, Defence};
use protocol::limits::{ENVELOPE_PLAIN_BYTES_MAX, OPERATIONS_PER_CHANGE_MAX};

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
/// Bytes of an actor's name; ours have 16.
const ACTOR_BYTES_MAX: u64 = 64;
/// Operations that a change may have beside one for every byte of it.
const OPERATIONS_SPARE: u64 = 64;

const _: () = assert!(OPERATIONS_SPARE < OPERATIONS_PER_CHANGE_MAX);
// There is a first operation that can be.
const _: () = assert!(OPERATIONS_PER_CHANGE_MAX < u32::MAX as u64);
const _: () = assert!(ACTOR_BYTES_MAX >= 16, "ours fit");

/// A change that unfolds to no more than it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RawChange<'a> {
    /// What its author wrote beside it: the signature.
    pub message: &'a str,
    before_message: &'a [u8],
    after_message: &'a [u8],
}

/// Bytes that are read from the front.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: u64) -> Result<&'a [u8], &'static str> {
        let count = usize::try_from(count).map_err(|_| SHORT)?;
        let (taken, rest) = self.0.split_at_checked(count).ok_or(SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    fn unsigned(&mut self) -> Result<u64, &'static str> {
        let (mut value, mut shift) = (0u64, 0u32);
        loop {
            let (byte, rest) = self.0.split_first().ok_or(SHORT)?;
            self.0 = rest;
            let digit = u64::from(byte & 0x7f);
            if shift > 63 || (shift == 63 && digit > 1) {
                return Err("a number that is too long");
            }
            value |= digit << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            shift += 7;
        }
    }

    fn signed(&mut self) -> Result<i64, &'static str> {
        let (mut value, mut shift) = (0i64, 0u32);
        loop {
            let (byte, rest) = self.0.split_first().ok_or(SHORT)?;
            self.0 = rest;
            if shift > 63 {
                return Err("a number that is too long");
            }
            value |= i64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                let negative = byte & 0x40 != 0 && shift < 64;
                return Ok(if negative {
                    value | (-1 << shift)
                } else {
                    value
                });
            }
        }
    }

    fn skip_actor(&mut self) -> Result<(), &'static str> {
        match self.unsigned()? {
            bytes @ 0..=ACTOR_BYTES_MAX => self.take(bytes).map(drop),
            _ => Err("an actor's name that is too long"),
        }
    }
}

const SHORT: &str = "a change that is cut short";

/// What a column holds, by the last three bits of its specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Group,
    Unsigned,
    Delta,
    Boolean,
    Text,
    Raw,
}

impl Column {
    fn of(spec: u64) -> Result<Self, &'static str> {
        if spec & 8 != 0 {
            return Err("a column that is packed");
        }
        Ok(match spec & 7 {
            0 => Self::Group,
            1 | 2 | 6 => Self::Unsigned,
            3 => Self::Delta,
            4 => Self::Boolean,
            5 => Self::Text,
            _ => Self::Raw,
        })
    }
}

/// What a change unfolds to, added up column by column and never beyond its limits.
struct Measure {
    rows_max: u64,
    text_bytes: u64,
}

impl Measure {
    fn rows(&self, rows: u64) -> Result<u64, &'static str> {
        if rows <= self.rows_max {
            Ok(rows)
        } else {
            Err("a change of more operations than a change may have")
        }
    }

    /// Rows of one column; of a group, rows of the columns that belong to it.
    fn column(&mut self, column: Column, data: &[u8]) -> Result<(), &'static str> {
        let mut cursor = Cursor(data);
        let (mut rows, mut grouped) = (0u64, 0u64);
        while !cursor.0.is_empty() {
            match column {
                Column::Raw => return Ok(()),
                Column::Boolean => rows = self.rows(rows.saturating_add(cursor.unsigned()?))?,
                Column::Group | Column::Unsigned | Column::Delta | Column::Text => {
                    let (run, values) = match cursor.signed()? {
                        0 => (cursor.unsigned()?, 0),
                        run @ 1.. => (run.unsigned_abs(), 1),
                        literal => (literal.unsigned_abs(), literal.unsigned_abs()),
                    };
                    rows = self.rows(rows.saturating_add(run))?;
                    for _ in 0..values {
                        let each = if values == 1 { run } else { 1 };
                        let added = self.value(column, each, &mut cursor)?;
                        grouped = self.rows(grouped.saturating_add(added))?;
                    }
                }
            }
        }
        protocol::always!(rows.max(grouped) <= self.rows_max);
        Ok(())
    }

    /// One value that stands `times` times; of a group, how many rows it adds to its columns.
    fn value(
        &mut self,
        column: Column,
        times: u64,
        cursor: &mut Cursor<'_>,
    ) -> Result<u64, &'static str> {
        match column {
            Column::Group => Ok(cursor.unsigned()?.saturating_mul(times)),
            Column::Delta => cursor.signed().map(|_| 0),
            Column::Text => {
                let bytes = cursor.unsigned()?;
                cursor.take(bytes)?;
                self.text_bytes = self.text_bytes.saturating_add(bytes.saturating_mul(times));
                match self.text_bytes <= ENVELOPE_PLAIN_BYTES_MAX as u64 {
                    true => Ok(0),
                    false => Err("a change that unfolds to more words than a change may have"),
                }
            }
            Column::Unsigned | Column::Boolean | Column::Raw => cursor.unsigned().map(|_| 0),
        }
    }
}

impl<'a> RawChange<'a> {
    /// Reads a change. An error if it is none, or unfolds to more than it may.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, &'static str> {
        let Some((head, rest)) = bytes.split_first_chunk::<9>() else {
            return Err(SHORT);
        };
        if head.get(..4) != Some(&MAGIC) || head.get(8) != Some(&1) {
            return Err("not a plain change");
        }
        let mut cursor = Cursor(rest);
        let length = cursor.unsigned()?;
        if length != cursor.0.len() as u64 {
            return Err("a change of another length than it says");
        }
        let body = cursor.0;
        let dependencies = cursor.unsigned()?;
        cursor.take(dependencies.saturating_mul(32))?;
        cursor.skip_actor()?;
        cursor.unsigned()?; // seq
        let first = cursor.unsigned()?;
        if first == 0 || first > u64::from(u32::MAX) - OPERATIONS_PER_CHANGE_MAX {
            return Err("a first operation that cannot be");
        }
        cursor.signed()?; // time
        let before_message = body.get(..body.len() - cursor.0.len()).unwrap_or_default();
        let message_bytes = cursor.unsigned()?;
        let message = std::str::from_utf8(cursor.take(message_bytes)?)
            .map_err(|_| "a message that is no text")?;
        let after_message = cursor.0;
        protocol::always!(before_message.len() + message.len() + after_message.len() < body.len());
        for _ in 0..cursor.unsigned()? {
            cursor.skip_actor()?;
        }
        if defence::stands(Defence::CountedOperations) {
            count(&mut cursor, bytes.len() as u64)?;
        }
        Ok(Self {
            message,
            before_message,
            after_message,
        })
    }

    /// The body without its message: what the author signs.
    pub(super) fn unsigned_body(&self) -> Vec<u8> {
        [self.before_message, &[0], self.after_message].concat()
    }
}

fn count(cursor: &mut Cursor<'_>, bytes: u64) -> Result<(), &'static str> {
    let rows_max = OPERATIONS_PER_CHANGE_MAX.min(bytes.saturating_add(OPERATIONS_SPARE));
    let mut measure = Measure {
        rows_max,
        text_bytes: 0,
    };
    let mut columns = Vec::new();
    for _ in 0..cursor.unsigned()? {
        columns.push((Column::of(cursor.unsigned()?)?, cursor.unsigned()?));
    }
    for (column, length) in columns {
        measure.column(column, cursor.take(length)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leb(mut value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let byte = (value & 0x7f) as u8;
            value >>= 7;
            bytes.push(if value > 0 { byte | 0x80 } else { byte });
            if value == 0 {
                return bytes;
            }
        }
    }

    fn sleb(mut value: i64) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let byte = (value & 0x7f) as u8;
            value >>= 7;
            let done = (value == 0 && byte & 0x40 == 0) || (value == -1 && byte & 0x40 != 0);
            bytes.push(if done { byte } else { byte | 0x80 });
            if done {
                return bytes;
            }
        }
    }

    /// A change of these columns: specification and data.
    fn change(columns: &[(u64, Vec<u8>)]) -> Vec<u8> {
        let mut body = vec![0]; // no dependencies
        body.extend([1, 7]); // actor
        body.extend([1, 1]); // seq, first operation
        body.extend([0, 0, 0]); // time, message, other actors
        body.extend(leb(columns.len() as u64));
        for (spec, data) in columns {
            body.extend([leb(*spec), leb(data.len() as u64)].concat());
        }
        columns.iter().for_each(|(_, data)| body.extend(data));
        [
            MAGIC.to_vec(),
            vec![0; 4],
            vec![1],
            leb(body.len() as u64),
            body,
        ]
        .concat()
    }

    #[test]
    fn runs_of_every_kind_of_column_are_counted() {
        let many = 1_000_000_000_000;
        for (spec, name) in [
            (0x42, "actions"),
            (0x13, "deltas"),
            (0x56, "value kinds"),
            (0x01, "actors"),
        ] {
            let bomb = change(&[(spec, [sleb(many), leb(1)].concat())]);
            assert!(RawChange::read(&bomb).is_err(), "{name}");
            let nulls = change(&[(spec, [sleb(0), leb(many as u64)].concat())]);
            assert!(RawChange::read(&nulls).is_err(), "{name}, of nothing");
        }
        assert!(
            RawChange::read(&change(&[(0x34, leb(many as u64))])).is_err(),
            "yes and no"
        );
        let group = change(&[(0x70, [sleb(3), leb(many as u64)].concat())]);
        assert!(RawChange::read(&group).is_err(), "a group of columns");
        let mut long = [sleb(4000), leb(3000)].concat();
        long.extend(vec![b'a'; 3000]);
        let text = change(&[(0x15, long)]);
        assert!(
            RawChange::read(&text).is_err(),
            "one word four thousand times"
        );
        assert!(RawChange::read(&change(&[(0x42, [sleb(60), leb(1)].concat())])).is_ok());
        assert!(
            RawChange::read(&change(&[(0x4a, vec![])])).is_err(),
            "packed columns"
        );
        let below = change(&[(0x42, [sleb(-2), leb(1), leb(3)].concat())]);
        assert!(RawChange::read(&below).is_ok());
    }

    /// C2 of the review, and its control: with the counting off the same bytes go on to whoever
    /// unfolds them.
    #[test]
    fn c2_a_change_that_unfolds_without_end_is_refused_before_it_is_unfolded() {
        let bomb = change(&[(0x42, [sleb(1_000_000_000_000), leb(1)].concat())]);
        assert!(RawChange::read(&bomb).is_err());
        assert!(defence::without(Defence::CountedOperations, || {
            RawChange::read(&bomb).is_ok()
        }));
    }

    /// Who has signed is asked before Automerge sees anything; with that off, it is Automerge that
    /// finds these bytes wanting.
    #[test]
    fn a_change_that_nobody_has_signed_never_reaches_automerge() {
        let refused = || {
            let bytes = change(&[(0x42, [sleb(9), leb(1)].concat())]);
            super::super::changes::parse_change(protocol::CaseId([1; 16]), &bytes).unwrap_err()
        };
        assert_eq!(refused(), "a change that nobody has signed");
        assert_ne!(
            defence::without(Defence::RawSignature, refused),
            "a change that nobody has signed"
        );
    }

    #[test]
    fn a_change_cut_anywhere_is_none() {
        let whole = change(&[
            (0x42, [sleb(9), leb(1)].concat()),
            (0x15, [sleb(1), leb(2), b"ab".to_vec()].concat()),
        ]);
        assert!(RawChange::read(&whole).is_ok());
        assert!((0..whole.len()).all(|end| RawChange::read(&whole[..end]).is_err()));
    }
}
