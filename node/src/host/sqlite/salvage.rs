//! A store that is damaged: whether it is, and what can still be read of it.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params_from_iter};

use super::{DATABASE, SqliteStore};
use crate::store::StoreError;

/// What was read of a damaged store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Salvaged {
    /// Rows that were read.
    pub rows: u64,
    /// Every table was read to its end, so that nothing is lacking.
    pub all: bool,
}

/// Opens a store to look at it; what a write-ahead log beside it holds is seen, too.
fn look(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(file, flags)
}

/// What every store's file begins with, and the fractions that its header has to name (SQLite's file format,
/// §1.3).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
const FRACTIONS: [u8; 4] = [0, 64, 32, 32];
const PAGE_BYTES: u64 = 4096;
const UTF_8: [u8; 4] = [0, 0, 0, 1];

/// Copies a damaged store to where it may be changed, and makes its header say again what can only be so: what
/// it is, and how many pages there are.
fn legible(folder: &Path, copy: &Path) -> std::io::Result<()> {
    let bytes = std::fs::copy(folder.join(DATABASE), copy)?;
    let log = folder.join(format!("{DATABASE}-wal"));
    if log.is_file() {
        std::fs::copy(&log, format!("{}-wal", copy.display()))?;
    }
    let file = OpenOptions::new().read(true).write(true).open(copy)?;
    let mut header = [0; 100];
    file.read_exact_at(&mut header, 0)?;
    let pages = u32::try_from(bytes / PAGE_BYTES).unwrap_or(u32::MAX);
    file.write_all_at(MAGIC, 0)?;
    file.write_all_at(&(PAGE_BYTES as u16).to_be_bytes(), 16)?;
    file.write_all_at(&FRACTIONS, 20)?;
    file.write_all_at(&UTF_8, 56)?;
    // What a log beside it holds says how many pages there are.
    if !std::fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
        file.write_all_at(&pages.to_be_bytes(), 28)?;
        // The number of pages is that of the last change.
        file.write_all_at(header.get(24..28).unwrap_or_default(), 92)?;
    }
    Ok(())
}

/// Whether the store of a folder holds together (SQLite's `integrity_check`).
pub fn is_sound(folder: &Path) -> bool {
    let file = folder.join(DATABASE);
    let there = std::fs::metadata(&file);
    if !there.is_ok_and(|file| file.is_file() && file.len() >= super::HEADER_BYTES) {
        return false;
    }
    let checked = look(&file).and_then(|db| {
        let sound: String = db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        // A file of no tables is sound to SQLite, and no phone's.
        let tables: i64 = db.query_row(
            "SELECT count(*) FROM sqlite_schema WHERE name = 'settings'",
            [],
            |row| row.get(0),
        )?;
        Ok(sound == "ok" && tables == 1)
    });
    checked == Ok(true)
}

impl SqliteStore {
    /// Copies into this store, which is new, whatever can be read of the one in another folder: each table from
    /// its beginning and, where that ends at a damaged page, from its end.
    pub fn salvage(&mut self, folder: &Path) -> Result<Salvaged, StoreError> {
        let mut salvaged = Salvaged { rows: 0, all: true };
        let copy = self.folder.join("damaged.sqlite");
        let damaged = match legible(folder, &copy) {
            Err(e) if e.kind() == std::io::ErrorKind::StorageFull => return Err(StoreError::Full),
            made => made.ok().and_then(|()| look(&copy).ok()),
        };
        let Some(damaged) = damaged else {
            salvaged.all = false;
            return Ok(salvaged);
        };
        let tables: Vec<String> = self.all(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND (name NOT LIKE 'sqlite_%' OR name = 'sqlite_sequence')",
            [],
            |row| row.get(0),
        )?;
        for table in tables {
            self.salvage_table(&damaged, &table, &mut salvaged)?;
        }
        self.commit()?;
        Ok(salvaged)
    }

    fn salvage_table(
        &self,
        damaged: &Connection,
        table: &str,
        salvaged: &mut Salvaged,
    ) -> Result<(), StoreError> {
        // (name, place in the primary key), of the tables as they are now.
        let columns: Vec<(String, i64)> =
            self.all(&format!("PRAGMA table_info({table})"), [], |row| {
                Ok((row.get(1)?, row.get(5)?))
            })?;
        let names: Vec<_> = columns.iter().map(|(name, _)| name.as_str()).collect();
        let (names, places) = (names.join(", "), vec!["?"; names.len()].join(", "));
        let insert = format!("INSERT OR IGNORE INTO {table} ({names}) VALUES ({places})");
        let key = columns.iter().filter(|(_, place)| *place > 0);
        let key: Vec<_> = key.map(|(name, _)| format!("{name} DESC")).collect();
        let backwards = match key.is_empty() {
            true => "rowid DESC".to_owned(),
            false => key.join(", "),
        };
        for order in [String::new(), format!(" ORDER BY {backwards}")] {
            let rows = format!("SELECT {names} FROM {table}{order}");
            match self.copy_rows(damaged, (&rows, &insert, columns.len()), &mut salvaged.rows)? {
                true => return Ok(()),
                false => salvaged.all = false,
            }
        }
        Ok(())
    }

    /// Copies rows until one cannot be read; whether it came to the end.
    fn copy_rows(
        &self,
        damaged: &Connection,
        (select, insert, columns): (&str, &str, usize),
        copied: &mut u64,
    ) -> Result<bool, StoreError> {
        let Ok(mut statement) = damaged.prepare(select) else {
            return Ok(false);
        };
        let Ok(mut rows) = statement.query([]) else {
            return Ok(false);
        };
        loop {
            let values = match rows.next() {
                Err(_) => return Ok(false),
                Ok(None) => return Ok(true),
                Ok(Some(row)) => (0..columns).map(|n| row.get::<_, Value>(n)),
            };
            let Ok(values) = values.collect::<rusqlite::Result<Vec<_>>>() else {
                return Ok(false);
            };
            // What breaks a rule of its table is damaged, too, and left out.
            match self.write(insert, params_from_iter(values)) {
                Ok(new) => *copied += new as u64,
                Err(error @ (StoreError::Full | StoreError::ReadOnly(_))) => return Err(error),
                Err(
                    StoreError::Damaged(_)
                    | StoreError::Broken(_)
                    | StoreError::Other(_)
                    | StoreError::OtherKey,
                ) => {}
            }
        }
    }
}
