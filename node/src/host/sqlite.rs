//! The store on SQLite (WAL, full synchronisation). A transaction begins with the first write of an input and is committed by
//! the run loop before anything is transmitted.

use std::path::Path;

use distribution::TrustRecords;
use distribution::bundle::Groups;
use protocol::limits::{CHAINS_PER_DEVICE_MAX, RECEIPTS_HELD_MAX};
use protocol::signed::Verified;
use protocol::{Area, CaseId, CaseTag, DeviceId, DeviceKeys, Digest, EnvelopeId, SpaceId, VerifiedChain};
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use sync::envelope::{AuthorKey, author_key};
use sync::receipt::SealedReceipt;
use sync::{EnvelopeKind, SpaceKey, Urgency, VerifiedEnvelope};
use zeroize::Zeroize;

use super::bundles::BundleFiles;
use super::vault::{Drawer, Vault};
use crate::store::{BundleRow, CaseRow, EnvelopeRow, PeerRow, SpaceRow, Store, StoreError};
use schema::{MIGRATIONS, SEALED_SINCE};

mod another;
mod schema;

/// The file of the store in a data folder.
pub(super) const DATABASE: &str = "phone.sqlite";

/// The store of one phone.
#[derive(Debug)]
pub struct SqliteStore {
    db: Connection,
    vault: Vault,
    /// The bundles beside it.
    pub bundles: BundleFiles,
}

fn db_error(error: rusqlite::Error) -> StoreError {
    // A full disk shows itself as FULL, or as an I/O error where the write-ahead log's index cannot grow.
    const IOERR_SHMSIZE: i32 = 10 | (19 << 8);
    const IOERR_SHMMAP: i32 = 10 | (21 << 8);
    const IOERR_WRITE: i32 = 10 | (3 << 8);
    if matches!(error.sqlite_extended_error_code(), Some(IOERR_SHMSIZE | IOERR_SHMMAP | IOERR_WRITE)) {
        return StoreError::Full;
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full,
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            StoreError::ReadOnly(error.to_string())
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Damaged(error.to_string()),
        _ => StoreError::Other(error.to_string()),
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], StoreError> {
    bytes.try_into().map_err(|_| StoreError::Damaged("an id of another length".into()))
}

fn area(text: &str) -> Result<Area, StoreError> {
    Area::parse(text).map_err(|e| StoreError::Damaged(e.to_string()))
}

fn number(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl SqliteStore {
    /// Opens or makes the store of a data folder.
    pub fn open(folder: &Path, keys: &DeviceKeys) -> Result<Self, StoreError> {
        let (file, begun) = (folder.join(DATABASE), folder.join("begun"));
        let empty = std::fs::metadata(&file).map_or(true, |file| file.len() == 0);
        if empty && begun.exists() {
            // An empty file would pass for a phone that has never been used, and be written over.
            return Err(StoreError::Damaged("phone.sqlite is empty or gone, and was not always".into()));
        }
        let db = Connection::open(&file).map_err(db_error)?;
        db.pragma_update(None, "journal_mode", "WAL").map_err(db_error)?;
        db.pragma_update(None, "synchronous", "FULL").map_err(db_error)?;
        // What is deleted is overwritten: a page given back may have held a key.
        db.pragma_update(None, "secure_delete", true).map_err(db_error)?;
        let mut store = Self { db, vault: Vault::of(keys), bundles: BundleFiles::new(&folder.join("bundles")) };
        store.migrate()?;
        if !begun.exists() {
            let _ = std::fs::write(&begun, ""); // on a folder that cannot be written nothing can be lost either
        }
        Ok(store)
    }

    /// Seals what an earlier version kept open.
    fn seal_what_lay_open(&self) -> Result<(), StoreError> {
        for (row, document) in self.numbered("SELECT rowid, document FROM cases", [])? {
            let sealed = self.vault.seal(Drawer::Case, &document)?;
            self.write("UPDATE cases SET document = ?2 WHERE rowid = ?1", params![row, sealed])?;
        }
        for (row, key) in self.numbered("SELECT rowid, key FROM space_keys", [])? {
            let sealed = self.vault.seal(Drawer::SpaceKey, &key)?;
            self.write("UPDATE space_keys SET key = ?2 WHERE rowid = ?1", params![row, sealed])?;
        }
        Ok(())
    }

    /// Rows of a number and bytes.
    fn numbered(&self, sql: &str, values: impl rusqlite::Params) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
        self.all(sql, values, |row| Ok((row.get(0)?, row.get(1)?)))
    }

    fn migrate(&mut self) -> Result<(), StoreError> {
        let done: i64 = self.db.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(db_error)?;
        let done = usize::try_from(done).unwrap_or(0);
        if done > MIGRATIONS.len() {
            return Err(StoreError::Damaged("the data folder was written by a newer kijiti: use that one".into()));
        }
        for (step, sql) in MIGRATIONS.iter().enumerate().skip(done) {
            self.db.execute_batch("BEGIN IMMEDIATE").map_err(db_error)?;
            let sealed = |store: &Self| match step + 1 {
                SEALED_SINCE => store.seal_what_lay_open(),
                _ => Ok(()),
            };
            let done =
                self.db.execute_batch(sql).map_err(db_error).and_then(|()| sealed(self)).and_then(|()| {
                    self.db.pragma_update(None, "user_version", integer(step as u64 + 1)).map_err(db_error)
                });
            if let Err(error) = done {
                self.roll_back();
                return Err(error);
            }
            self.commit()?;
            if step + 1 == SEALED_SINCE {
                // What lay open is gone from pages that are free now, and from the log.
                self.db.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);").map_err(db_error)?;
            }
        }
        Ok(())
    }

    /// Ends the transaction of one input, if it wrote anything.
    pub fn commit(&mut self) -> Result<(), StoreError> {
        if self.db.is_autocommit() {
            return Ok(());
        }
        self.db.execute_batch("COMMIT").map_err(db_error)
    }

    /// Takes back what an input wrote.
    pub fn roll_back(&mut self) {
        if !self.db.is_autocommit() {
            let _ = self.db.execute_batch("ROLLBACK");
        }
    }

    fn write(&self, sql: &str, values: impl rusqlite::Params) -> Result<usize, StoreError> {
        if self.db.is_autocommit() {
            self.db.execute_batch("BEGIN IMMEDIATE").map_err(db_error)?;
        }
        self.db.prepare_cached(sql).and_then(|mut s| s.execute(values)).map_err(db_error)
    }

    fn one<T: rusqlite::types::FromSql>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.db.prepare_cached(sql).map_err(db_error)?;
        statement.query_row(values, |row| row.get(0)).optional().map_err(db_error)
    }

    fn all<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.db.prepare_cached(sql).map_err(db_error)?;
        let rows = statement.query_map(values, read).map_err(db_error)?;
        rows.collect::<Result<_, _>>().map_err(db_error)
    }
}

/// A row of `cases` as it lies there.
type CaseColumns = ((Vec<u8>, String, Option<u8>), [i64; 3], Vec<u8>, Vec<u8>);

/// Values of the column `kind`.
const SEALED: u8 = 1;
const NOTICE: u8 = 2;

impl SqliteStore {
    fn case_rows(&self, wanted: &str, values: impl rusqlite::Params) -> Result<Vec<CaseRow>, StoreError> {
        let sql = format!("SELECT id, area, urgency, changed_s, entries, questions, title, tags FROM cases {wanted}");
        let rows = self.all(&sql, values, |row| {
            let head = (row.get::<_, Vec<u8>>(0)?, row.get::<_, String>(1)?, row.get::<_, Option<u8>>(2)?);
            let numbers = [row.get::<_, i64>(3)?, row.get::<_, i64>(4)?, row.get::<_, i64>(5)?];
            Ok((head, numbers, row.get::<_, Vec<u8>>(6)?, row.get::<_, Vec<u8>>(7)?))
        })?;
        let read = |((id, text, urgency), numbers, title, tags): CaseColumns| {
            let title = if title.is_empty() { Vec::new() } else { self.vault.open(Drawer::Title, &title)? };
            let [changed_s, entries, questions] = numbers.map(number);
            Ok(CaseRow {
                id: CaseId(fixed(&id)?),
                area: area(&text)?,
                title: String::from_utf8_lossy(&title).into_owned(),
                urgency: urgency.and_then(Urgency::from_byte),
                changed_s,
                entries,
                questions,
                tags: tags.as_chunks::<16>().0.iter().map(|tag| CaseTag(*tag)).collect(),
            })
        };
        rows.into_iter().map(read).collect()
    }

    fn rows(&self, wanted: &str, values: impl rusqlite::Params) -> Result<Vec<EnvelopeRow>, StoreError> {
        // Author and epoch from the header (`sync::envelope`); SQLite counts bytes from one.
        let sql = format!("SELECT id, position, substr(bytes, 37, 8), substr(bytes, 10, 8), length(bytes) {wanted}");
        let rows = self.all(&sql, values, |row| {
            let names = [row.get::<_, Vec<u8>>(0)?, row.get(2)?, row.get(3)?];
            Ok((names, row.get::<_, i64>(1)?, row.get::<_, i64>(4)?))
        })?;
        let read = |([id, author, epoch], position, bytes): ([Vec<u8>; 3], i64, i64)| {
            Ok(EnvelopeRow {
                id: EnvelopeId(fixed(&id)?),
                position: number(position),
                author: fixed(&author).unwrap_or_default(),
                epoch: fixed(&epoch).unwrap_or_default(),
                bytes: number(bytes),
            })
        };
        rows.into_iter().map(read).collect()
    }
}

impl Store for SqliteStore {
    fn setting(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.one("SELECT value FROM settings WHERE key = ?1", params![key])
    }

    fn settings(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let sql = "SELECT key, value FROM settings WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key";
        self.all(sql, params![prefix], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    fn put_setting(&mut self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.write("INSERT OR REPLACE INTO settings VALUES (?1, ?2)", params![key, value]).map(|_| ())
    }

    fn trust_records(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.all("SELECT kind, signed FROM trust ORDER BY position", [], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    fn put_trust_records(&mut self, records: &TrustRecords) -> Result<(), StoreError> {
        self.write("DELETE FROM trust", [])?;
        for (position, (kind, bytes)) in records.iter().enumerate() {
            self.write("INSERT INTO trust VALUES (?1, ?2, ?3)", params![integer(position as u64), kind, bytes])?;
        }
        Ok(())
    }

    fn chains(&self, author: AuthorKey) -> Result<Vec<Vec<u8>>, StoreError> {
        self.all("SELECT chain FROM kept_chains WHERE author = ?1 ORDER BY position", params![author], |row| row.get(0))
    }

    fn put_chain(&mut self, chain: &VerifiedChain) -> Result<(), StoreError> {
        let bytes = chain.chain().to_bytes();
        let held: Option<i64> = self.one("SELECT position FROM kept_chains WHERE chain = ?1", params![bytes])?;
        if held.is_some() {
            return Ok(()); // most meetings show what is known: no write for that
        }
        let values = params![chain.device.0, author_key(&chain.device), bytes];
        self.write("INSERT INTO kept_chains (device, author, chain) VALUES (?1, ?2, ?3)", values)?;
        let oldest = "DELETE FROM kept_chains WHERE device = ?1 AND position NOT IN
            (SELECT position FROM kept_chains WHERE device = ?1 ORDER BY position DESC LIMIT ?2)";
        self.write(oldest, params![chain.device.0, CHAINS_PER_DEVICE_MAX as i64]).map(|_| ())
    }

    fn space_keys(&self) -> Result<Vec<SpaceKey>, StoreError> {
        let rows = self.all("SELECT area, key FROM space_keys ORDER BY rowid", [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))
        })?;
        let open = |(text, key): (String, Vec<u8>)| {
            let mut bytes = self.vault.open(Drawer::SpaceKey, &key)?;
            let key = fixed(&bytes).and_then(|bytes| Ok(SpaceKey::new(area(&text)?, bytes)));
            bytes.zeroize();
            key
        };
        rows.into_iter().map(open).collect()
    }

    fn put_space_key(&mut self, key: &SpaceKey) -> Result<(), StoreError> {
        if self.space_keys()?.contains(key) {
            return Ok(()); // sealed anew it would look like another
        }
        let values = params![key.space().0, key.area().as_str(), self.vault.seal(Drawer::SpaceKey, key.bytes())?];
        self.write("INSERT INTO space_keys VALUES (?1, ?2, ?3)", values).map(|_| ())
    }

    fn remove_space_key(&mut self, key: &SpaceKey) -> Result<(), StoreError> {
        let sql = "SELECT rowid, key FROM space_keys WHERE space = ?1";
        for (row, sealed) in self.numbered(sql, params![key.space().0])? {
            if self.vault.open(Drawer::SpaceKey, &sealed)? == key.bytes() {
                self.write("DELETE FROM space_keys WHERE rowid = ?1", params![row])?;
            }
        }
        Ok(())
    }

    fn spaces(&self) -> Result<Vec<SpaceRow>, StoreError> {
        let sql = "SELECT space, area, count(*), sum(length(bytes)) FROM envelopes GROUP BY space, area";
        let rows = self.all(sql, [], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?, row.get::<_, i64>(3)?))
        })?;
        let read = |(space, text, envelopes, bytes): (Vec<u8>, String, i64, i64)| {
            let (envelopes, bytes) = (number(envelopes), number(bytes));
            Ok(SpaceRow { space: SpaceId(fixed(&space)?), area: area(&text)?, envelopes, bytes })
        };
        rows.into_iter().map(read).collect()
    }

    fn envelope_ids(&self, space: SpaceId) -> Result<Vec<(EnvelopeId, Urgency)>, StoreError> {
        let sql = "SELECT id, urgency FROM envelopes WHERE space = ?1 ORDER BY position";
        let rows = self.all(sql, params![space.0], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, u8>(1)?)))?;
        let read = |(id, urgency): (Vec<u8>, u8)| {
            Ok((EnvelopeId(fixed(&id)?), Urgency::from_byte(urgency).unwrap_or(Urgency::Pink)))
        };
        rows.into_iter().map(read).collect()
    }

    fn envelope(&self, id: &EnvelopeId) -> Result<Option<Vec<u8>>, StoreError> {
        let bytes: Option<Vec<u8>> = self.one("SELECT bytes FROM envelopes WHERE id = ?1", params![id.0])?;
        Ok(bytes.filter(|bytes| !bytes.is_empty()))
    }

    fn put_envelope(&mut self, envelope: &VerifiedEnvelope, area: &Area) -> Result<bool, StoreError> {
        let sql = "INSERT OR IGNORE INTO envelopes (id, space, area, urgency, bytes, kind, case_tag)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let kind = if envelope.kind == EnvelopeKind::Notice { NOTICE } else { SEALED };
        let (urgency, tag) = (envelope.urgency as u8, envelope.case_tag.0);
        let values = params![envelope.id.0, envelope.space.0, area.as_str(), urgency, envelope.bytes(), kind, tag];
        self.write(sql, values).map(|rows| rows > 0)
    }

    fn case_envelopes(&self, space: SpaceId, tag: CaseTag) -> Result<Vec<EnvelopeRow>, StoreError> {
        let wanted = "FROM envelopes WHERE kind = 1 AND space = ?1 AND case_tag = ?2 ORDER BY position";
        self.rows(wanted, params![space.0, tag.0])
    }

    fn envelope_rows(&self, space: SpaceId) -> Result<Vec<EnvelopeRow>, StoreError> {
        self.rows("FROM envelopes WHERE kind = 1 AND space = ?1 ORDER BY position", params![space.0])
    }

    fn last_position(&self, space: SpaceId) -> Result<u64, StoreError> {
        let sql = "SELECT max(position) FROM envelopes WHERE space = ?1";
        Ok(number(self.one::<Option<i64>>(sql, params![space.0])?.flatten().unwrap_or(0)))
    }

    fn notices(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        self.all("SELECT bytes FROM envelopes WHERE kind = 2 ORDER BY position", [], |row| row.get(0))
    }

    fn let_go(&mut self, id: &EnvelopeId) -> Result<(), StoreError> {
        self.write("UPDATE envelopes SET bytes = x'' WHERE id = ?1", params![id.0]).map(|_| ())
    }

    fn remove_envelope(&mut self, id: &EnvelopeId) -> Result<(), StoreError> {
        self.write("DELETE FROM envelopes WHERE id = ?1", params![id.0]).map(|_| ())
    }

    fn envelope_count(&self) -> Result<u64, StoreError> {
        Ok(number(self.one("SELECT count(*) FROM envelopes", [])?.unwrap_or(0)))
    }

    fn put_quarantine(&mut self, id: &EnvelopeId, reason: &str) -> Result<(), StoreError> {
        self.write("INSERT OR REPLACE INTO quarantine VALUES (?1, ?2)", params![id.0, reason]).map(|_| ())
    }

    fn remove_quarantine(&mut self, id: &EnvelopeId) -> Result<(), StoreError> {
        self.write("DELETE FROM quarantine WHERE id = ?1", params![id.0]).map(|_| ())
    }

    fn quarantine_count(&self) -> Result<u64, StoreError> {
        Ok(number(self.one("SELECT count(*) FROM quarantine", [])?.unwrap_or(0)))
    }

    fn quarantined(&self) -> Result<Vec<(EnvelopeId, String)>, StoreError> {
        let rows =
            self.all("SELECT id, reason FROM quarantine", [], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?)))?;
        rows.into_iter().map(|(id, reason)| Ok((EnvelopeId(fixed(&id)?), reason))).collect()
    }

    fn case(&self, id: &CaseId) -> Result<Option<Vec<u8>>, StoreError> {
        let sealed: Option<Vec<u8>> = self.one("SELECT document FROM cases WHERE id = ?1", params![id.0])?;
        sealed.map(|sealed| self.vault.open(Drawer::Case, &sealed)).transpose()
    }

    fn put_case(&mut self, row: &CaseRow, document: &[u8]) -> Result<(), StoreError> {
        let urgency = row.urgency.map(|u| u as u8);
        let numbers = [row.changed_s, row.entries, row.questions].map(integer);
        let (document, title) =
            (self.vault.seal(Drawer::Case, document)?, self.vault.seal(Drawer::Title, row.title.as_bytes())?);
        let tags: Vec<u8> = row.tags.iter().flat_map(|tag| tag.0).collect();
        let sql =
            "INSERT OR REPLACE INTO cases (id, area, urgency, changed_s, entries, questions, document, title, tags)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let [changed, entries, questions] = numbers;
        let values = params![row.id.0, row.area.as_str(), urgency, changed, entries, questions, document, title, tags];
        self.write(sql, values).map(|_| ())
    }

    fn cases(&self) -> Result<Vec<CaseRow>, StoreError> {
        self.case_rows("ORDER BY changed_s DESC, id", [])
    }

    fn case_row(&self, id: &CaseId) -> Result<Option<CaseRow>, StoreError> {
        Ok(self.case_rows("WHERE id = ?1", params![id.0])?.pop())
    }

    fn remove_case(&mut self, id: &CaseId) -> Result<(), StoreError> {
        self.write("DELETE FROM cases WHERE id = ?1", params![id.0]).map(|_| ())
    }

    fn unsent(&self) -> Result<Vec<(CaseId, Vec<u8>)>, StoreError> {
        let rows = self.all("SELECT case_id, change FROM unsent ORDER BY position", [], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?))
        })?;
        let open =
            |(id, sealed): (Vec<u8>, Vec<u8>)| Ok((CaseId(fixed(&id)?), self.vault.open(Drawer::Unsent, &sealed)?));
        rows.into_iter().map(open).collect()
    }

    fn unsent_of(&self, case: &CaseId) -> Result<Vec<(Vec<u8>, bool)>, StoreError> {
        let sql = "SELECT change, withdraws FROM unsent WHERE case_id = ?1 ORDER BY position";
        let rows = self.all(sql, params![case.0], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, bool>(1)?)))?;
        let open = |(sealed, withdraws): (Vec<u8>, bool)| Ok((self.vault.open(Drawer::Unsent, &sealed)?, withdraws));
        rows.into_iter().map(open).collect()
    }

    fn put_unsent(&mut self, case: &CaseId, change: &[u8], withdraws: bool) -> Result<(), StoreError> {
        let values = params![case.0, self.vault.seal(Drawer::Unsent, change)?, withdraws];
        self.write("INSERT INTO unsent (case_id, change, withdraws) VALUES (?1, ?2, ?3)", values).map(|_| ())
    }

    fn clear_unsent(&mut self, case: &CaseId, count: usize) -> Result<(), StoreError> {
        let first = "DELETE FROM unsent WHERE position IN
            (SELECT position FROM unsent WHERE case_id = ?1 ORDER BY position LIMIT ?2)";
        self.write(first, params![case.0, integer(count as u64)]).map(|_| ())
    }

    fn put_step(&mut self, device: &DeviceId, space: SpaceId, position: u64) -> Result<(), StoreError> {
        let values = params![device.0, space.0, integer(position)];
        self.write("INSERT OR REPLACE INTO steps VALUES (?1, ?2, ?3)", values).map(|_| ())
    }

    fn steps(&self) -> Result<Vec<(DeviceId, SpaceId, u64)>, StoreError> {
        let rows = self.all("SELECT device, space, position FROM steps", [], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, i64>(2)?))
        })?;
        let read = |(device, space, position): (Vec<u8>, Vec<u8>, i64)| {
            Ok((DeviceId(fixed(&device)?), SpaceId(fixed(&space)?), number(position)))
        };
        rows.into_iter().map(read).collect()
    }

    fn bundles(&self) -> Result<Vec<BundleRow>, StoreError> {
        let rows = self.all("SELECT digest, bytes FROM bundles", [], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?))
        })?;
        let read = |(digest, bytes): (Vec<u8>, i64)| {
            let digest = Digest(fixed(&digest)?);
            Ok(BundleRow { digest, bytes: number(bytes), whole: self.bundles.whole(&digest) })
        };
        rows.into_iter().map(read).collect()
    }

    fn open_bundle(&mut self, digest: &Digest, bytes: u64) -> Result<(Vec<u8>, Groups), StoreError> {
        let known: Option<i64> = self.one("SELECT bytes FROM bundles WHERE digest = ?1", params![digest.0])?;
        if known.is_none() {
            self.write("INSERT OR IGNORE INTO bundles VALUES (?1, ?2)", params![digest.0, integer(bytes)])?;
        }
        self.bundles.open(digest, bytes)
    }

    fn put_tree(&mut self, digest: &Digest, tree: &[u8]) -> Result<(), StoreError> {
        self.bundles.put_tree(digest, tree)
    }

    fn write_groups(&mut self, digest: &Digest, first: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.bundles.write(digest, first, bytes)
    }

    fn read_groups(&mut self, digest: &Digest, first: u64, count: u64) -> Result<Vec<u8>, StoreError> {
        self.bundles.read(digest, first, count)
    }

    fn finish_bundle(&mut self, digest: &Digest) -> Result<bool, StoreError> {
        self.bundles.finish(digest)
    }

    fn remove_bundle(&mut self, digest: &Digest) -> Result<(), StoreError> {
        self.write("DELETE FROM bundles WHERE digest = ?1", params![digest.0])?;
        self.bundles.remove(digest)
    }

    fn receipts(&self) -> Result<Vec<(DeviceId, u64, Vec<u8>)>, StoreError> {
        let rows = self.all("SELECT device, number, bytes FROM receipts ORDER BY position", [], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?, row.get(2)?))
        })?;
        rows.into_iter().map(|(device, n, bytes)| Ok((DeviceId(fixed(&device)?), number(n), bytes))).collect()
    }

    fn put_receipt(&mut self, receipt: &Verified<SealedReceipt>) -> Result<(), StoreError> {
        let values = params![receipt.device.0, integer(receipt.sequence), receipt.signed().to_bytes()];
        self.write("INSERT OR REPLACE INTO receipts (device, number, bytes) VALUES (?1, ?2, ?3)", values)?;
        let keep = params![RECEIPTS_HELD_MAX as i64];
        let oldest = "DELETE FROM receipts WHERE position <= (SELECT max(position) FROM receipts) - ?1";
        self.write(oldest, keep).map(|_| ())
    }

    fn peer(&self, device: &DeviceId) -> Result<Option<PeerRow>, StoreError> {
        Ok(self.peers()?.into_iter().find(|p| p.device == *device))
    }

    fn put_peer(&mut self, peer: &PeerRow) -> Result<(), StoreError> {
        let (meetings, last) = (integer(peer.meetings), integer(peer.last_met_s));
        let values = params![peer.device.0, peer.name, meetings, last, peer.in_step, integer(peer.at_meeting)];
        self.write("INSERT OR REPLACE INTO peers VALUES (?1, ?2, ?3, ?4, ?5, ?6)", values).map(|_| ())
    }

    fn peers(&self) -> Result<Vec<PeerRow>, StoreError> {
        let rows = self.all("SELECT * FROM peers ORDER BY last_met_s DESC", [], |row| {
            let head = (row.get::<_, Vec<u8>>(0)?, row.get::<_, String>(1)?);
            Ok((head, [row.get::<_, i64>(2)?, row.get(3)?, row.get(5)?], row.get::<_, bool>(4)?))
        })?;
        let read = |((device, name), numbers, in_step): ((Vec<u8>, String), [i64; 3], bool)| {
            let device = DeviceId(fixed(&device)?);
            let [meetings, last_met_s, at_meeting] = numbers.map(number);
            Ok(PeerRow { device, name, meetings, last_met_s, in_step, at_meeting })
        };
        rows.into_iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of an earlier version: what lay open is sealed at the first start, and reads as before.
    #[test]
    fn what_an_earlier_version_kept_open_is_sealed_and_still_read() {
        let folder = std::env::temp_dir().join(format!("kijiti-migration-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let (keys, area) = (DeviceKeys::from_seed([1; 32]), Area::parse("north/kilifi").unwrap());
        let key = SpaceKey::new(area.clone(), [0x5a; 32]);
        let words = b"Amina has a stiff neck".repeat(300);
        let db = Connection::open(folder.join("phone.sqlite")).unwrap();
        MIGRATIONS[..3].iter().for_each(|sql| db.execute_batch(sql).unwrap());
        db.pragma_update(None, "user_version", 3).unwrap();
        let space = params![key.space().0, area.as_str(), key.bytes()];
        db.execute("INSERT INTO space_keys VALUES (?1, ?2, ?3)", space).unwrap();
        let case = params![[7u8; 16], area.as_str(), 2, 5, 1, words];
        db.execute("INSERT INTO cases VALUES (?1, ?2, ?3, ?4, ?5, ?6)", case).unwrap();
        db.execute("INSERT INTO chains VALUES (?1, ?2, ?3)", params![[3u8; 32], [3u8; 8], b"a chain"]).unwrap();
        drop(db);
        for _ in 0..2 {
            let store = SqliteStore::open(&folder, &keys).unwrap();
            assert_eq!(store.case(&CaseId([7; 16])).unwrap(), Some(words.clone()));
            assert!(store.space_keys().unwrap() == std::slice::from_ref(&key));
            assert_eq!(store.cases().unwrap()[0].title, "");
            assert_eq!(store.chains([3; 8]).unwrap(), [b"a chain".to_vec()]);
        }
        for file in std::fs::read_dir(&folder).unwrap().filter(|f| f.as_ref().unwrap().path().is_file()) {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!bytes.windows(10).any(|w| w == b"stiff neck" || w == [0x5a; 10]), "it lies open still");
        }
        let other = SqliteStore::open(&folder, &DeviceKeys::from_seed([2; 32])).unwrap();
        assert!(matches!(other.case(&CaseId([7; 16])), Err(StoreError::Damaged(_))));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
