//! The store on SQLite (WAL, full synchronisation). A transaction begins with the first write of an
//! input and is committed by the run loop before anything is transmitted.
//!
//! A row that is damaged is passed over and said, and everything else goes on: one bad row must not
//! stop a phone.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clinical::Urgency;
use distribution::TrustRecords;
use distribution::bundle::Groups;
use protocol::limits::RECEIPTS_HELD_MAX;
use protocol::signed::Verified;
use protocol::{
    Area, BundleId, BundleKind, CaseId, CaseTag, ChainId, DeviceId, DeviceKeys, Digest, EnvelopeId,
    SpaceId, VerifiedChain,
};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};
use sync::envelope::{AuthorKey, author_key};
use sync::receipt::SealedReceipt;
use sync::{EnvelopeKind, SpaceKey, VerifiedEnvelope};
use zeroize::Zeroize;

use super::attempts;
use super::bundles::BundleFiles;
use super::vault::{Drawer, Vault};
use crate::store::{
    AuthorUsage, BundleRow, CaseRow, ChainRow, EnvelopeRow, PeerRow, SpaceRow, StoreError,
};
use crate::store::{Setting, TrustStore};
use schema::{BOUND_SINCE, MIGRATIONS, SEALED_SINCE};

mod another;
pub(super) use another::is_copy;
mod bundles;
mod cases;
mod envelopes;
pub mod salvage;
mod schema;
mod trust;

/// The file of the store in a data folder.
pub const DATABASE: &str = "phone.sqlite";

/// The store of one phone.
#[derive(Debug)]
pub struct SqliteStore {
    db: Connection,
    vault: Vault,
    /// The bundles beside it.
    pub bundles: BundleFiles,
    folder: PathBuf,
    /// A key was destroyed, and what it was may lie in the write-ahead log still.
    erased: bool,
    /// What was found damaged, in words for people, since it was last asked.
    aside: RefCell<Vec<String>>,
}

/// Bytes of the write-ahead log that are kept when all of it is in the file.
const LOG_BYTES_MAX: i64 = 1 << 20;
/// Damaged things that are named at once.
const ASIDE_MAX: usize = 64;

fn db_error(error: rusqlite::Error) -> StoreError {
    // A full disk shows itself as FULL, or as an I/O error where the write-ahead log's index cannot
    // grow.
    const IOERR_SHMSIZE: i32 = 10 | (19 << 8);
    const IOERR_SHMMAP: i32 = 10 | (21 << 8);
    const IOERR_WRITE: i32 = 10 | (3 << 8);
    if matches!(
        error.sqlite_extended_error_code(),
        Some(IOERR_SHMSIZE | IOERR_SHMMAP | IOERR_WRITE)
    ) {
        return StoreError::Full;
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full,
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            StoreError::ReadOnly(error.to_string())
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Damaged(error.to_string())
        }
        _ => StoreError::Other(error.to_string()),
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], StoreError> {
    bytes
        .try_into()
        .map_err(|_| StoreError::Damaged("an id of another length".into()))
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

/// Bytes of what every store begins with (SQLite's file format, §1.3).
const HEADER_BYTES: u64 = 100;

impl SqliteStore {
    /// A setting that is sealed at rest.
    fn private(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let sealed = self
            .setting(&Setting::private(key))?
            .filter(|bytes| !bytes.is_empty());
        // What cannot be opened any more is as if it were not there: nothing of it may stop the
        // phone.
        Ok(sealed.and_then(|bytes| {
            self.vault
                .open(Drawer::Private, key.as_bytes(), &bytes)
                .ok()
        }))
    }

    /// Keeps a setting sealed, or forgets it.
    fn put_private(&mut self, key: &str, plain: Option<&[u8]>) -> Result<(), StoreError> {
        let sealed = plain
            .map(|plain| self.vault.seal(Drawer::Private, key.as_bytes(), plain))
            .transpose()?;
        self.put_setting(&Setting::private(key), &sealed.unwrap_or_default())
    }

    /// Opens or makes the store of a data folder.
    pub fn open(folder: &Path, keys: &DeviceKeys) -> Result<Self, StoreError> {
        let (file, begun) = (folder.join(DATABASE), folder.join("begun"));
        if file.is_dir() {
            return Err(StoreError::Damaged("phone.sqlite is a folder".into()));
        }
        // SQLite takes a file shorter than its header for a new one.
        let empty = std::fs::metadata(&file).map_or(true, |file| file.len() < HEADER_BYTES);
        if empty && begun.exists() {
            // An empty file would pass for a phone that has never been used, and be written over.
            return Err(StoreError::Damaged(
                "phone.sqlite is empty or gone, and was not always".into(),
            ));
        }
        let db = Connection::open(&file).map_err(db_error)?;
        db.pragma_update(None, "journal_mode", "WAL")
            .map_err(db_error)?;
        db.pragma_update(None, "synchronous", "FULL")
            .map_err(db_error)?;
        db.pragma_update(None, "journal_size_limit", LOG_BYTES_MAX)
            .map_err(db_error)?;
        // What is deleted is overwritten: a page given back may have held a key.
        db.pragma_update(None, "secure_delete", true)
            .map_err(db_error)?;
        let mut store = Self {
            db,
            vault: Vault::of(keys),
            bundles: BundleFiles::new(&folder.join("bundles")),
            folder: folder.to_owned(),
            erased: false,
            aside: RefCell::default(),
        };
        store.migrate()?;
        store.knows_its_key()?;
        if !begun.exists() {
            let _ = std::fs::write(&begun, ""); // on a folder that cannot be written nothing can be lost either
        }
        Ok(store)
    }

    /// A second connection that sees the store as it was committed last, whatever is written later,
    /// and that cannot write.
    pub fn snapshot(&self) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db =
            Connection::open_with_flags(self.folder.join(DATABASE), flags).map_err(db_error)?;
        // What it sees is fixed by the first look, not by BEGIN.
        db.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema;")
            .map_err(db_error)?;
        Ok(Self {
            db,
            vault: self.vault.clone(),
            bundles: BundleFiles::new(self.bundles.folder()),
            folder: self.folder.clone(),
            erased: false,
            aside: RefCell::default(),
        })
    }

    /// Notes that something is damaged, and goes on.
    fn note_damaged(&self, what: &str, error: &dyn std::fmt::Display) {
        let mut aside = self.aside.borrow_mut();
        if aside.len() < ASIDE_MAX {
            aside.push(format!("{what}: {error}"));
        }
    }

    /// What can be read of rows.
    fn sound<R, T>(
        &self,
        what: &str,
        rows: Vec<R>,
        mut read: impl FnMut(R) -> Result<T, StoreError>,
    ) -> Vec<T> {
        let mut good = Vec::with_capacity(rows.len());
        for row in rows {
            match read(row) {
                Ok(row) => good.push(row),
                Err(error) => self.note_damaged(what, &error),
            }
        }
        good
    }

    /// Seals what an earlier version kept open.
    fn seal_what_lay_open(&self) -> Result<(), StoreError> {
        for (row, document) in self.numbered("SELECT rowid, document FROM cases", [])? {
            let sealed = self.vault.seal_unbound(Drawer::Case, &document)?;
            self.write(
                "UPDATE cases SET document = ?2 WHERE rowid = ?1",
                params![row, sealed],
            )?;
        }
        for (row, key) in self.numbered("SELECT rowid, key FROM space_keys", [])? {
            let sealed = self.vault.seal_unbound(Drawer::SpaceKey, &key)?;
            self.write(
                "UPDATE space_keys SET key = ?2 WHERE rowid = ?1",
                params![row, sealed],
            )?;
        }
        Ok(())
    }

    /// Rows of a number and bytes.
    fn numbered(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
    ) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
        self.all(sql, values, |row| Ok((row.get(0)?, row.get(1)?)))
    }

    fn migrate(&mut self) -> Result<(), StoreError> {
        let done: i64 = self
            .db
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(db_error)?;
        let done = usize::try_from(done).unwrap_or(0);
        if done > MIGRATIONS.len() {
            return Err(StoreError::Damaged(
                "the data folder was written by a newer kijiti: use that one".into(),
            ));
        }
        for (step, sql) in MIGRATIONS.iter().enumerate().skip(done) {
            self.db.execute_batch("BEGIN IMMEDIATE").map_err(db_error)?;
            let sealed = |store: &Self| match step + 1 {
                SEALED_SINCE => store.seal_what_lay_open(),
                BOUND_SINCE => store.bind_to_rows(),
                _ => Ok(()),
            };
            let done = self
                .db
                .execute_batch(sql)
                .map_err(db_error)
                .and_then(|()| sealed(self))
                .and_then(|()| {
                    self.db
                        .pragma_update(None, "user_version", integer(step as u64 + 1))
                        .map_err(db_error)
                });
            if let Err(error) = done {
                self.roll_back();
                return Err(error);
            }
            self.commit()?;
            if step + 1 == SEALED_SINCE {
                // What lay open is gone from pages that are free now, and from the log.
                self.db
                    .execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")
                    .map_err(db_error)?;
            }
        }
        Ok(())
    }

    /// Ends the transaction of one input, if it wrote anything.
    pub fn commit(&mut self) -> Result<(), StoreError> {
        if !self.db.is_autocommit() {
            self.db.execute_batch("COMMIT").map_err(db_error)?;
        }
        if self.erased {
            // A key that is gone lies in the write-ahead log still. While somebody looks at a snapshot
            // that is refused, and tried again after the next input.
            let busy = self
                .db
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
            self.erased = busy != Ok(0);
        }
        Ok(())
    }

    /// Whether everything that was written is committed.
    pub fn is_durable(&self) -> bool {
        self.db.is_autocommit()
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
        self.db
            .prepare_cached(sql)
            .and_then(|mut s| s.execute(values))
            .map_err(db_error)
    }

    fn one<T: rusqlite::types::FromSql>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.db.prepare_cached(sql).map_err(db_error)?;
        statement
            .query_row(values, |row| row.get(0))
            .optional()
            .map_err(db_error)
    }

    fn all<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.db.prepare_cached(sql).map_err(db_error)?;
        let rows = statement.query_map(values, read).map_err(db_error)?;
        let mut good = Vec::new();
        for row in rows {
            match row {
                Ok(row) => good.push(row),
                Err(
                    error @ (rusqlite::Error::FromSqlConversionFailure(..)
                    | rusqlite::Error::InvalidColumnType(..)
                    | rusqlite::Error::IntegralValueOutOfRange(..)
                    | rusqlite::Error::Utf8Error(..)),
                ) => self.note_damaged("a row of phone.sqlite", &error),
                Err(error) => return Err(db_error(error)),
            }
        }
        Ok(good)
    }
}

/// A row of `cases` as it lies there.
type CaseColumns = ((Vec<u8>, String, Option<u8>), [i64; 3], Vec<u8>, Vec<u8>);

/// Values of the column `kind`.
const SEALED: u8 = 1;
const NOTICE: u8 = 2;

impl SqliteStore {
    fn case_rows(
        &self,
        wanted: &str,
        values: impl rusqlite::Params,
    ) -> Result<Vec<CaseRow>, StoreError> {
        let sql = format!(
            "SELECT id, area, urgency, changed_s, entries, questions, title, tags FROM cases {wanted}"
        );
        let rows = self.all(&sql, values, |row| {
            let head = (
                row.get::<_, Vec<u8>>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, Option<u8>>(2)?,
            );
            let numbers = [
                row.get::<_, i64>(3)?,
                row.get::<_, i64>(4)?,
                row.get::<_, i64>(5)?,
            ];
            Ok((
                head,
                numbers,
                row.get::<_, Vec<u8>>(6)?,
                row.get::<_, Vec<u8>>(7)?,
            ))
        })?;
        let read = |((id, text, urgency), numbers, title, tags): CaseColumns| {
            let title = match title.is_empty() {
                true => Vec::new(),
                false => self
                    .vault
                    .open(Drawer::Title, &id, &title)
                    .unwrap_or_else(|error| {
                        self.note_damaged("the title of a case", &error);
                        b"(its title is damaged)".to_vec()
                    }),
            };
            let [changed_s, entries, questions] = numbers.map(number);
            Ok(CaseRow {
                id: CaseId(fixed(&id)?),
                area: area(&text)?,
                title: String::from_utf8_lossy(&title).into_owned(),
                urgency: urgency.and_then(Urgency::from_byte),
                changed_s,
                entries,
                questions,
                tags: tags
                    .as_chunks::<16>()
                    .0
                    .iter()
                    .map(|tag| CaseTag(*tag))
                    .collect(),
            })
        };
        Ok(self.sound("a case in the list", rows, read))
    }

    fn rows(
        &self,
        wanted: &str,
        values: impl rusqlite::Params,
    ) -> Result<Vec<EnvelopeRow>, StoreError> {
        let sql = format!("SELECT id, position, author, epoch, length(bytes) {wanted}");
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
        Ok(self.sound("an envelope", rows, read))
    }
}

/// The table of a kind of bundles.
fn table(kind: BundleKind) -> &'static str {
    match kind {
        BundleKind::Release => "bundles",
        BundleKind::Photo => "photos",
    }
}

impl SqliteStore {
    fn bundle_bytes(&self, id: &BundleId) -> Result<Option<u64>, StoreError> {
        let sql = format!("SELECT bytes FROM {} WHERE digest = ?1", table(id.kind));
        Ok(self.one::<i64>(&sql, params![id.digest.0])?.map(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{CaseStore, EnvelopeStore};

    /// Views read what was committed when they began, and nothing that a view does writes.
    #[test]
    fn a_snapshot_sees_nothing_later_and_cannot_write() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = SqliteStore::open(folder.path(), &DeviceKeys::from_seed([1; 32])).unwrap();
        store.put_setting(&Setting::chain(), b"before").unwrap();
        let unfinished = store.snapshot().unwrap();
        assert_eq!(
            unfinished.setting(&Setting::chain()).unwrap(),
            None,
            "not committed"
        );
        store.commit().unwrap();
        let mut snapshot = store.snapshot().unwrap();
        store.put_setting(&Setting::chain(), b"after").unwrap();
        store.commit().unwrap();
        assert_eq!(
            snapshot.setting(&Setting::chain()).unwrap().unwrap(),
            b"before"
        );
        assert_eq!(unfinished.setting(&Setting::chain()).unwrap(), None);
        assert!(matches!(
            snapshot.put_setting(&Setting::chain(), b"by a view"),
            Err(StoreError::ReadOnly(_))
        ));
        assert_eq!(store.setting(&Setting::chain()).unwrap().unwrap(), b"after");
        drop((snapshot, unfinished));
        let fresh = store.snapshot().unwrap();
        assert_eq!(fresh.setting(&Setting::chain()).unwrap().unwrap(), b"after");
    }

    /// What a destroyed key was lies in the write-ahead log until that is emptied: at once, or when
    /// nobody looks at a snapshot any more.
    #[test]
    fn a_destroyed_key_leaves_the_log_as_soon_as_nobody_looks() {
        let folder = tempfile::tempdir().unwrap();
        let log = || {
            std::fs::metadata(folder.path().join("phone.sqlite-wal"))
                .unwrap()
                .len()
        };
        let keys = DeviceKeys::from_seed([1; 32]);
        let mut store = SqliteStore::open(folder.path(), &keys).unwrap();
        let key = SpaceKey::new(Area::parse("north").unwrap(), [0x5a; 32]);
        store.put_space_key(&key).unwrap();
        store.commit().unwrap();
        assert!(log() > 0, "the control");
        let view = store.snapshot().unwrap();
        store.remove_space_key(&key).unwrap();
        store.commit().unwrap();
        assert!(log() > 0, "somebody looks");
        drop(view);
        store.commit().unwrap();
        assert_eq!(log(), 0);
    }

    /// A folder of an earlier version: what lay open is sealed at the first start, and reads as
    /// before.
    #[test]
    fn what_an_earlier_version_kept_open_is_sealed_and_still_read() {
        let folder = std::env::temp_dir().join(format!("kijiti-migration-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let (keys, area) = (
            DeviceKeys::from_seed([1; 32]),
            Area::parse("north/kilifi").unwrap(),
        );
        let key = SpaceKey::new(area.clone(), [0x5a; 32]);
        let words = b"Amina has a stiff neck".repeat(300);
        let db = Connection::open(folder.join("phone.sqlite")).unwrap();
        MIGRATIONS[..3]
            .iter()
            .for_each(|sql| db.execute_batch(sql).unwrap());
        db.pragma_update(None, "user_version", 3).unwrap();
        let space = params![key.space().0, area.as_str(), key.bytes()];
        db.execute("INSERT INTO space_keys VALUES (?1, ?2, ?3)", space)
            .unwrap();
        let case = params![[7u8; 16], area.as_str(), 2, 5, 1, words];
        db.execute("INSERT INTO cases VALUES (?1, ?2, ?3, ?4, ?5, ?6)", case)
            .unwrap();
        drop(db);
        for _ in 0..2 {
            let store = SqliteStore::open(&folder, &keys).unwrap();
            assert_eq!(store.case(&CaseId([7; 16])).unwrap(), Some(words.clone()));
            assert!(store.space_keys().unwrap() == std::slice::from_ref(&key));
            assert_eq!(store.cases().unwrap()[0].title, "");
        }
        for file in std::fs::read_dir(&folder)
            .unwrap()
            .filter(|f| f.as_ref().unwrap().path().is_file())
        {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(
                !bytes
                    .windows(10)
                    .any(|w| w == b"stiff neck" || w == [0x5a; 10]),
                "it lies open still"
            );
        }
        let other = SqliteStore::open(&folder, &DeviceKeys::from_seed([2; 32]));
        assert_eq!(other.err(), Some(StoreError::OtherKey));
        // One bad row among good ones is set aside and said, and what is sealed in one row opens in
        // no other.
        let mut store = SqliteStore::open(&folder, &keys).unwrap();
        store
            .db
            .execute("INSERT INTO quarantine VALUES (x'01', 'short')", [])
            .unwrap();
        store.db.execute("INSERT INTO cases SELECT x'08080808080808080808080808080808', area, urgency, changed_s, entries, document, title, questions, tags FROM cases", []).unwrap();
        assert_eq!(store.quarantined().unwrap(), []);
        assert_eq!(
            store.case(&CaseId([8; 16])).unwrap(),
            None,
            "one patient's words in another's place"
        );
        assert_eq!(store.case(&CaseId([7; 16])).unwrap(), Some(words.clone()));
        let said = store.set_aside();
        assert!(
            said.iter().any(|s| s.contains("set aside"))
                && said.iter().any(|s| s.contains("case 08080808")),
            "{said:?}"
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
