//! The store on SQLite (WAL, full synchronisation). A transaction begins with the first write of an input and is committed by
//! the run loop before anything is transmitted.

use std::path::Path;

use distribution::TrustRecords;
use distribution::bundle::Groups;
use protocol::limits::RECEIPTS_HELD_MAX;
use protocol::signed::Verified;
use protocol::{Area, CaseId, DeviceId, Digest, EnvelopeId, SpaceId, VerifiedChain};
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use sync::envelope::{AuthorKey, author_key};
use sync::receipt::SealedReceipt;
use sync::{SpaceKey, Urgency, VerifiedEnvelope};

use super::bundles::BundleFiles;
use crate::store::{BundleRow, CaseRow, PeerRow, SpaceRow, Store, StoreError};

/// Each step of the schema; the number of steps taken is SQLite's `user_version`.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE settings (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE roots (position INTEGER PRIMARY KEY, signed BLOB NOT NULL);
    CREATE TABLE chains (device BLOB PRIMARY KEY, author BLOB NOT NULL, chain BLOB NOT NULL) WITHOUT ROWID;
    CREATE INDEX chains_by_author ON chains (author);
    CREATE TABLE space_keys (space BLOB NOT NULL, area TEXT NOT NULL, key BLOB NOT NULL, PRIMARY KEY (space, key));
    CREATE TABLE envelopes (
        position INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, space BLOB NOT NULL, area TEXT NOT NULL,
        urgency INTEGER NOT NULL, bytes BLOB NOT NULL);
    CREATE INDEX envelopes_by_space ON envelopes (space, position);
    CREATE TABLE quarantine (id BLOB PRIMARY KEY, reason TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE cases (
        id BLOB PRIMARY KEY, area TEXT NOT NULL, urgency INTEGER, changed_s INTEGER NOT NULL, entries INTEGER NOT NULL,
        document BLOB NOT NULL);
    CREATE TABLE bundles (digest BLOB PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE peers (
        device BLOB PRIMARY KEY, name TEXT NOT NULL, meetings INTEGER NOT NULL, last_met_s INTEGER NOT NULL,
        in_step INTEGER NOT NULL) WITHOUT ROWID;
",
    "
    CREATE TABLE trust (position INTEGER PRIMARY KEY, kind TEXT NOT NULL, signed BLOB NOT NULL);
    INSERT INTO trust SELECT position, 'root', signed FROM roots;
    INSERT INTO trust SELECT 1000000, 'release-list', value FROM settings WHERE key = 'release-list';
    DELETE FROM settings WHERE key = 'release-list';
    DROP TABLE roots;
",
    "
    CREATE TABLE receipts (
        position INTEGER PRIMARY KEY AUTOINCREMENT, device BLOB NOT NULL UNIQUE, number INTEGER NOT NULL,
        bytes BLOB NOT NULL);
",
];

/// The store of one phone.
#[derive(Debug)]
pub struct SqliteStore {
    db: Connection,
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
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let db = Connection::open(folder.join("phone.sqlite")).map_err(db_error)?;
        db.pragma_update(None, "journal_mode", "WAL").map_err(db_error)?;
        db.pragma_update(None, "synchronous", "FULL").map_err(db_error)?;
        let mut store = Self { db, bundles: BundleFiles::new(&folder.join("bundles")) };
        store.migrate()?;
        Ok(store)
    }

    fn migrate(&mut self) -> Result<(), StoreError> {
        let done: i64 = self.db.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(db_error)?;
        let done = usize::try_from(done).unwrap_or(0);
        if done > MIGRATIONS.len() {
            return Err(StoreError::Damaged("the data folder was written by a newer kijiti: use that one".into()));
        }
        for (step, sql) in MIGRATIONS.iter().enumerate().skip(done) {
            let transaction = self.db.transaction().map_err(db_error)?;
            transaction.execute_batch(sql).map_err(db_error)?;
            transaction.pragma_update(None, "user_version", integer(step as u64 + 1)).map_err(db_error)?;
            transaction.commit().map_err(db_error)?;
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

impl Store for SqliteStore {
    fn setting(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.one("SELECT value FROM settings WHERE key = ?1", params![key])
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
        self.all("SELECT chain FROM chains WHERE author = ?1", params![author], |row| row.get(0))
    }

    fn put_chain(&mut self, chain: &VerifiedChain) -> Result<(), StoreError> {
        let bytes = chain.chain().to_bytes();
        let held: Option<Vec<u8>> = self.one("SELECT chain FROM chains WHERE device = ?1", params![chain.device.0])?;
        if held.as_ref() == Some(&bytes) {
            return Ok(()); // most meetings show what is known: no write for that
        }
        let values = params![chain.device.0, author_key(&chain.device), bytes];
        self.write("INSERT OR REPLACE INTO chains VALUES (?1, ?2, ?3)", values).map(|_| ())
    }

    fn space_keys(&self) -> Result<Vec<SpaceKey>, StoreError> {
        let rows = self.all("SELECT area, key FROM space_keys ORDER BY rowid", [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))
        })?;
        rows.into_iter().map(|(text, key)| Ok(SpaceKey::new(area(&text)?, fixed(&key)?))).collect()
    }

    fn put_space_key(&mut self, key: &SpaceKey) -> Result<(), StoreError> {
        let values = params![key.space().0, key.area().as_str(), key.bytes()];
        self.write("INSERT OR IGNORE INTO space_keys VALUES (?1, ?2, ?3)", values).map(|_| ())
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
        self.one("SELECT bytes FROM envelopes WHERE id = ?1", params![id.0])
    }

    fn put_envelope(&mut self, envelope: &VerifiedEnvelope, area: &Area) -> Result<bool, StoreError> {
        let sql = "INSERT OR IGNORE INTO envelopes (id, space, area, urgency, bytes) VALUES (?1, ?2, ?3, ?4, ?5)";
        let values = params![envelope.id.0, envelope.space.0, area.as_str(), envelope.urgency as u8, envelope.bytes()];
        self.write(sql, values).map(|rows| rows > 0)
    }

    fn envelope_count(&self) -> Result<u64, StoreError> {
        Ok(number(self.one("SELECT count(*) FROM envelopes", [])?.unwrap_or(0)))
    }

    fn put_quarantine(&mut self, id: &EnvelopeId, reason: &str) -> Result<(), StoreError> {
        self.write("INSERT OR REPLACE INTO quarantine VALUES (?1, ?2)", params![id.0, reason]).map(|_| ())
    }

    fn quarantined(&self) -> Result<Vec<(EnvelopeId, String)>, StoreError> {
        let rows =
            self.all("SELECT id, reason FROM quarantine", [], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?)))?;
        rows.into_iter().map(|(id, reason)| Ok((EnvelopeId(fixed(&id)?), reason))).collect()
    }

    fn case(&self, id: &CaseId) -> Result<Option<Vec<u8>>, StoreError> {
        self.one("SELECT document FROM cases WHERE id = ?1", params![id.0])
    }

    fn put_case(&mut self, row: &CaseRow, document: &[u8]) -> Result<(), StoreError> {
        let urgency = row.urgency.map(|u| u as u8);
        let (changed, entries) = (integer(row.changed_s), integer(row.entries));
        let values = params![row.id.0, row.area.as_str(), urgency, changed, entries, document];
        self.write("INSERT OR REPLACE INTO cases VALUES (?1, ?2, ?3, ?4, ?5, ?6)", values).map(|_| ())
    }

    fn cases(&self) -> Result<Vec<CaseRow>, StoreError> {
        let sql = "SELECT id, area, urgency, changed_s, entries FROM cases ORDER BY changed_s DESC, id";
        let rows = self.all(sql, [], |row| {
            let head = (row.get::<_, Vec<u8>>(0)?, row.get::<_, String>(1)?, row.get::<_, Option<u8>>(2)?);
            Ok((head, row.get::<_, i64>(3)?, row.get::<_, i64>(4)?))
        })?;
        let read = |((id, text, urgency), changed, entries): ((Vec<u8>, String, Option<u8>), i64, i64)| {
            Ok(CaseRow {
                id: CaseId(fixed(&id)?),
                area: area(&text)?,
                urgency: urgency.and_then(Urgency::from_byte),
                changed_s: number(changed),
                entries: number(entries),
            })
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
        let values = params![peer.device.0, peer.name, meetings, last, peer.in_step];
        self.write("INSERT OR REPLACE INTO peers VALUES (?1, ?2, ?3, ?4, ?5)", values).map(|_| ())
    }

    fn peers(&self) -> Result<Vec<PeerRow>, StoreError> {
        let rows = self.all("SELECT * FROM peers ORDER BY last_met_s DESC", [], |row| {
            let head = (row.get::<_, Vec<u8>>(0)?, row.get::<_, String>(1)?);
            Ok((head, row.get::<_, i64>(2)?, row.get::<_, i64>(3)?, row.get::<_, bool>(4)?))
        })?;
        let read = |((device, name), meetings, last, in_step): ((Vec<u8>, String), i64, i64, bool)| {
            let device = DeviceId(fixed(&device)?);
            Ok(PeerRow { device, name, meetings: number(meetings), last_met_s: number(last), in_step })
        };
        rows.into_iter().map(read).collect()
    }
}
