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
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use sync::envelope::{AuthorKey, author_key};
use sync::receipt::SealedReceipt;
use sync::{EnvelopeKind, SpaceKey, VerifiedEnvelope};
use zeroize::Zeroize;

use super::attempts;
use super::bundles::BundleFiles;
use super::vault::{Drawer, Vault};
use crate::store::{
    AuthorUsage, BundleRow, CaseRow, ChainRow, EnvelopeRow, PeerRow, SpaceRow, Store, StoreError,
};
use schema::{BOUND_SINCE, MIGRATIONS, SEALED_SINCE};

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
    folder: PathBuf,
    /// What was found damaged, in words for people, since it was last asked.
    aside: RefCell<Vec<String>>,
}

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

impl SqliteStore {
    /// A setting that is sealed at rest.
    fn private(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let sealed = self
            .setting(&format!("private/{key}"))?
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
        self.put_setting(&format!("private/{key}"), &sealed.unwrap_or_default())
    }

    /// Opens or makes the store of a data folder.
    pub fn open(folder: &Path, keys: &DeviceKeys) -> Result<Self, StoreError> {
        let (file, begun) = (folder.join(DATABASE), folder.join("begun"));
        let empty = std::fs::metadata(&file).map_or(true, |file| file.len() == 0);
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
        // What is deleted is overwritten: a page given back may have held a key.
        db.pragma_update(None, "secure_delete", true)
            .map_err(db_error)?;
        let mut store = Self {
            db,
            vault: Vault::of(keys),
            bundles: BundleFiles::new(&folder.join("bundles")),
            folder: folder.to_owned(),
            aside: RefCell::default(),
        };
        store.migrate()?;
        if !begun.exists() {
            let _ = std::fs::write(&begun, ""); // on a folder that cannot be written nothing can be lost either
        }
        Ok(store)
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

impl Store for SqliteStore {
    fn setting(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.one("SELECT value FROM settings WHERE key = ?1", params![key])
    }

    fn visit(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.private("visit")
    }

    fn put_visit(&mut self, visit: Option<&[u8]>) -> Result<(), StoreError> {
        self.put_private("visit", visit)
    }

    fn settings(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let sql =
            "SELECT key, value FROM settings WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key";
        self.all(sql, params![prefix], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    fn put_setting(&mut self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.write(
            "INSERT OR REPLACE INTO settings VALUES (?1, ?2)",
            params![key, value],
        )
        .map(|_| ())
    }

    fn trust_records(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.all(
            "SELECT kind, signed FROM trust ORDER BY position",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }

    fn put_trust_records(&mut self, records: &TrustRecords) -> Result<(), StoreError> {
        self.write("DELETE FROM trust", [])?;
        for (position, (kind, bytes)) in records.iter().enumerate() {
            self.write(
                "INSERT INTO trust VALUES (?1, ?2, ?3)",
                params![integer(position as u64), kind, bytes],
            )?;
        }
        Ok(())
    }

    fn chains(&self, author: AuthorKey) -> Result<Vec<Vec<u8>>, StoreError> {
        let sql = "SELECT chain FROM author_chains WHERE author = ?1 ORDER BY position";
        self.all(sql, params![author], |row| row.get(0))
    }

    fn every_chain(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        self.all(
            "SELECT chain FROM author_chains ORDER BY position",
            [],
            |row| row.get(0),
        )
    }

    fn chain_rows(&self, device: &DeviceId) -> Result<Vec<ChainRow>, StoreError> {
        let sql = "SELECT id, issuer, used, device FROM author_chains WHERE author = ?1 ORDER BY position";
        let rows = self.all(sql, params![author_key(device)], |row| {
            let names = (row.get::<_, Vec<u8>>(0)?, row.get::<_, Option<Vec<u8>>>(1)?);
            Ok((names, row.get::<_, bool>(2)?, row.get::<_, Vec<u8>>(3)?))
        })?;
        let of_device = rows
            .into_iter()
            .filter(|(.., of)| of == &device.0)
            .collect();
        Ok(
            self.sound("a certificate", of_device, |((id, issuer), used, _)| {
                let issuer = issuer
                    .map(|issuer| fixed(&issuer).map(DeviceId))
                    .transpose()?;
                Ok(ChainRow {
                    id: ChainId(fixed(&id)?),
                    issuer,
                    used,
                })
            }),
        )
    }

    fn devices_of(&self, issuer: &DeviceId) -> Result<u64, StoreError> {
        let sql = "SELECT count(DISTINCT device) FROM author_chains WHERE issuer = ?1";
        Ok(number(self.one(sql, params![issuer.0])?.unwrap_or(0)))
    }

    fn oldest_unused_of(&self, issuer: &DeviceId) -> Result<Option<ChainId>, StoreError> {
        let sql =
            "SELECT id FROM author_chains WHERE issuer = ?1 AND used = 0 ORDER BY position LIMIT 1";
        self.one::<Vec<u8>>(sql, params![issuer.0])?
            .map(|id| fixed(&id).map(ChainId))
            .transpose()
    }

    fn put_chain(&mut self, chain: &VerifiedChain) -> Result<(), StoreError> {
        let (device, issuer) = (chain.device, chain.chain().issuer().map(|issuer| issuer.0));
        let values = params![
            chain.id().0,
            device.0,
            author_key(&device),
            issuer,
            chain.chain().to_bytes()
        ];
        let sql = "INSERT OR IGNORE INTO author_chains (id, device, author, issuer, chain) VALUES (?1, ?2, ?3, ?4, ?5)";
        self.write(sql, values).map(|_| ())
    }

    fn use_chain(&mut self, chain: &ChainId) -> Result<(), StoreError> {
        let used: Option<bool> = self.one(
            "SELECT used FROM author_chains WHERE id = ?1",
            params![chain.0],
        )?;
        if used != Some(false) {
            return Ok(()); // no write for what is known
        }
        self.write(
            "UPDATE author_chains SET used = 1 WHERE id = ?1",
            params![chain.0],
        )
        .map(|_| ())
    }

    fn remove_chain(&mut self, chain: &ChainId) -> Result<(), StoreError> {
        self.write("DELETE FROM author_chains WHERE id = ?1", params![chain.0])
            .map(|_| ())
    }

    fn space_keys(&self) -> Result<Vec<SpaceKey>, StoreError> {
        let rows = self.all(
            "SELECT area, key FROM space_keys ORDER BY rowid",
            [],
            |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?)),
        )?;
        let open = |(text, key): (String, Vec<u8>)| {
            let area = area(&text)?;
            let mut bytes = self
                .vault
                .open(Drawer::SpaceKey, &SpaceId::of(&area).0, &key)?;
            let key = fixed(&bytes).map(|bytes| SpaceKey::new(area, bytes));
            bytes.zeroize();
            key
        };
        Ok(self.sound("a key of a space", rows, open))
    }

    fn put_space_key(&mut self, key: &SpaceKey) -> Result<(), StoreError> {
        if self.space_keys()?.contains(key) {
            return Ok(()); // sealed anew it would look like another
        }
        let sealed = self
            .vault
            .seal(Drawer::SpaceKey, &key.space().0, key.bytes())?;
        let values = params![key.space().0, key.area().as_str(), sealed];
        self.write("INSERT INTO space_keys VALUES (?1, ?2, ?3)", values)
            .map(|_| ())
    }

    fn remove_space_key(&mut self, key: &SpaceKey) -> Result<(), StoreError> {
        let sql = "SELECT rowid, key FROM space_keys WHERE space = ?1";
        for (row, sealed) in self.numbered(sql, params![key.space().0])? {
            if self
                .vault
                .open(Drawer::SpaceKey, &key.space().0, &sealed)
                .is_ok_and(|held| held == key.bytes())
            {
                self.write("DELETE FROM space_keys WHERE rowid = ?1", params![row])?;
            }
        }
        Ok(())
    }

    fn spaces(&self) -> Result<Vec<SpaceRow>, StoreError> {
        let sql =
            "SELECT space, area, count(*), sum(length(bytes)) FROM envelopes GROUP BY space, area";
        let rows = self.all(sql, [], |row| {
            Ok((
                row.get::<_, Vec<u8>>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, i64>(2)?,
                row.get::<_, i64>(3)?,
            ))
        })?;
        let read = |(space, text, envelopes, bytes): (Vec<u8>, String, i64, i64)| {
            let (envelopes, bytes) = (number(envelopes), number(bytes));
            Ok(SpaceRow {
                space: SpaceId(fixed(&space)?),
                area: area(&text)?,
                envelopes,
                bytes,
            })
        };
        Ok(self.sound("a space", rows, read))
    }

    fn envelope_ids(&self, space: SpaceId) -> Result<Vec<(EnvelopeId, Urgency)>, StoreError> {
        let sql = "SELECT id, urgency FROM envelopes WHERE space = ?1 ORDER BY position";
        let rows = self.all(sql, params![space.0], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, u8>(1)?))
        })?;
        let read = |(id, urgency): (Vec<u8>, u8)| {
            Ok((
                EnvelopeId(fixed(&id)?),
                Urgency::from_byte(urgency).unwrap_or(Urgency::Pink),
            ))
        };
        Ok(self.sound("an envelope", rows, read))
    }

    fn envelope(&self, id: &EnvelopeId) -> Result<Option<Vec<u8>>, StoreError> {
        let bytes: Option<Vec<u8>> =
            self.one("SELECT bytes FROM envelopes WHERE id = ?1", params![id.0])?;
        Ok(bytes.filter(|bytes| !bytes.is_empty()))
    }

    fn put_envelope(
        &mut self,
        envelope: &VerifiedEnvelope,
        area: &Area,
    ) -> Result<bool, StoreError> {
        let sql = "INSERT OR IGNORE INTO envelopes (id, space, area, urgency, bytes, kind, case_tag, author, epoch)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let kind = if envelope.kind == EnvelopeKind::Notice {
            NOTICE
        } else {
            SEALED
        };
        let (urgency, tag) = (envelope.urgency as u8, envelope.case_tag.0);
        let (author, epoch) = (envelope.author, envelope.epoch_tag);
        let bytes = envelope.bytes();
        let values = params![
            envelope.id.0,
            envelope.space.0,
            area.as_str(),
            urgency,
            bytes,
            kind,
            tag,
            author,
            epoch
        ];
        self.write(sql, values).map(|rows| rows > 0)
    }

    fn case_envelopes(&self, space: SpaceId, tag: CaseTag) -> Result<Vec<EnvelopeRow>, StoreError> {
        let wanted =
            "FROM envelopes WHERE kind = 1 AND space = ?1 AND case_tag = ?2 ORDER BY position";
        self.rows(wanted, params![space.0, tag.0])
    }

    fn envelope_rows(&self, space: SpaceId) -> Result<Vec<EnvelopeRow>, StoreError> {
        self.rows(
            "FROM envelopes WHERE kind = 1 AND space = ?1 ORDER BY position",
            params![space.0],
        )
    }

    fn last_position(&self, space: SpaceId) -> Result<u64, StoreError> {
        let sql = "SELECT max(position) FROM envelopes WHERE space = ?1";
        Ok(number(
            self.one::<Option<i64>>(sql, params![space.0])?
                .flatten()
                .unwrap_or(0),
        ))
    }

    fn notices(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        self.all(
            "SELECT bytes FROM envelopes WHERE kind = 2 ORDER BY position",
            [],
            |row| row.get(0),
        )
    }

    fn let_go(&mut self, id: &EnvelopeId) -> Result<(), StoreError> {
        self.write(
            "UPDATE envelopes SET bytes = x'' WHERE id = ?1",
            params![id.0],
        )
        .map(|_| ())
    }

    fn remove_envelope(&mut self, id: &EnvelopeId) -> Result<(), StoreError> {
        self.write("DELETE FROM envelopes WHERE id = ?1", params![id.0])
            .map(|_| ())
    }

    fn usage_of(&self, author: AuthorKey) -> Result<AuthorUsage, StoreError> {
        let sql = "SELECT kind, count(*), sum(length(bytes)),
            (SELECT count(*) FROM quarantine q JOIN envelopes e ON e.id = q.id WHERE e.author = ?1)
            FROM envelopes WHERE author = ?1 GROUP BY kind";
        let rows = self.all(sql, params![author], |row| {
            Ok((
                row.get::<_, u8>(0)?,
                [
                    row.get::<_, i64>(1)?,
                    row.get::<_, Option<i64>>(2)?.unwrap_or(0),
                    row.get(3)?,
                ],
            ))
        })?;
        let mut usage = AuthorUsage::default();
        for (kind, [count, bytes, quarantined]) in rows {
            match kind {
                NOTICE => usage.notices = number(count),
                _ => usage.envelopes = number(count),
            }
            usage.bytes = usage.bytes.saturating_add(number(bytes));
            usage.quarantined = number(quarantined);
        }
        Ok(usage)
    }

    fn attempts(&self) -> BTreeMap<EnvelopeId, u8> {
        attempts::read(&self.folder)
    }

    fn put_attempts(&mut self, attempts: &BTreeMap<EnvelopeId, u8>) -> Result<(), StoreError> {
        attempts::write(&self.folder, attempts).map_err(|e| super::bundles::disk_error(&e))
    }

    fn set_aside(&mut self) -> Vec<String> {
        std::mem::take(&mut *self.aside.borrow_mut())
    }

    fn envelope_count(&self) -> Result<u64, StoreError> {
        Ok(number(
            self.one("SELECT count(*) FROM envelopes", [])?.unwrap_or(0),
        ))
    }

    fn put_quarantine(&mut self, id: &EnvelopeId, reason: &str) -> Result<(), StoreError> {
        self.write(
            "INSERT OR REPLACE INTO quarantine VALUES (?1, ?2)",
            params![id.0, reason],
        )
        .map(|_| ())
    }

    fn remove_quarantine(&mut self, id: &EnvelopeId) -> Result<(), StoreError> {
        self.write("DELETE FROM quarantine WHERE id = ?1", params![id.0])
            .map(|_| ())
    }

    fn quarantine_count(&self) -> Result<u64, StoreError> {
        Ok(number(
            self.one("SELECT count(*) FROM quarantine", [])?
                .unwrap_or(0),
        ))
    }

    fn quarantined(&self) -> Result<Vec<(EnvelopeId, String)>, StoreError> {
        let rows = self.all("SELECT id, reason FROM quarantine", [], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?))
        })?;
        Ok(self.sound("an envelope set aside", rows, |(id, reason)| {
            Ok((EnvelopeId(fixed(&id)?), reason))
        }))
    }

    fn case(&self, id: &CaseId) -> Result<Option<Vec<u8>>, StoreError> {
        let sealed: Option<Vec<u8>> =
            self.one("SELECT document FROM cases WHERE id = ?1", params![id.0])?;
        let Some(sealed) = sealed else {
            return Ok(None);
        };
        // One that is damaged is as good as none, and what is sealed of it elsewhere makes it anew;
        // `put_case` keeps a copy of it.
        let opened = self.vault.open(Drawer::Case, &id.0, &sealed);
        opened.map(Some).or_else(|error| {
            self.note_damaged(&format!("case {}", id.short()), &error);
            Ok(None)
        })
    }

    fn put_case(&mut self, row: &CaseRow, document: &[u8]) -> Result<(), StoreError> {
        let urgency = row.urgency.map(|u| u as u8);
        let numbers = [row.changed_s, row.entries, row.questions].map(integer);
        let held: Option<Vec<u8>> = self.one(
            "SELECT document FROM cases WHERE id = ?1",
            params![row.id.0],
        )?;
        if let Some(held) =
            held.filter(|held| self.vault.open(Drawer::Case, &row.id.0, held).is_err())
        {
            self.write(
                "INSERT INTO damaged (what, id, bytes) VALUES ('case', ?1, ?2)",
                params![row.id.0, held],
            )?;
        }
        let document = self.vault.seal(Drawer::Case, &row.id.0, document)?;
        let title = self
            .vault
            .seal(Drawer::Title, &row.id.0, row.title.as_bytes())?;
        let tags: Vec<u8> = row.tags.iter().flat_map(|tag| tag.0).collect();
        let sql =
            "INSERT OR REPLACE INTO cases (id, area, urgency, changed_s, entries, questions, document, title, tags)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let [changed, entries, questions] = numbers;
        let values = params![
            row.id.0,
            row.area.as_str(),
            urgency,
            changed,
            entries,
            questions,
            document,
            title,
            tags
        ];
        self.write(sql, values).map(|_| ())
    }

    fn cases(&self) -> Result<Vec<CaseRow>, StoreError> {
        self.case_rows("ORDER BY changed_s DESC, id", [])
    }

    fn case_row(&self, id: &CaseId) -> Result<Option<CaseRow>, StoreError> {
        Ok(self.case_rows("WHERE id = ?1", params![id.0])?.pop())
    }

    fn remove_case(&mut self, id: &CaseId) -> Result<(), StoreError> {
        self.write("DELETE FROM cases WHERE id = ?1", params![id.0])
            .map(|_| ())
    }

    fn unsent(&self) -> Result<Vec<(CaseId, Vec<u8>)>, StoreError> {
        let rows = self.all(
            "SELECT case_id, change FROM unsent ORDER BY position",
            [],
            |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?)),
        )?;
        let open = |(id, sealed): (Vec<u8>, Vec<u8>)| {
            Ok((
                CaseId(fixed(&id)?),
                self.vault.open(Drawer::Unsent, &id, &sealed)?,
            ))
        };
        Ok(self.sound("a change that waits", rows, open))
    }

    fn unsent_of(&self, case: &CaseId) -> Result<Vec<(Vec<u8>, bool)>, StoreError> {
        let sql = "SELECT change, withdraws FROM unsent WHERE case_id = ?1 ORDER BY position";
        let rows = self.all(sql, params![case.0], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, bool>(1)?))
        })?;
        let open = |(sealed, withdraws): (Vec<u8>, bool)| {
            Ok((
                self.vault.open(Drawer::Unsent, &case.0, &sealed)?,
                withdraws,
            ))
        };
        Ok(self.sound("a change that waits", rows, open))
    }

    fn put_unsent(
        &mut self,
        case: &CaseId,
        change: &[u8],
        withdraws: bool,
    ) -> Result<(), StoreError> {
        let values = params![
            case.0,
            self.vault.seal(Drawer::Unsent, &case.0, change)?,
            withdraws
        ];
        self.write(
            "INSERT INTO unsent (case_id, change, withdraws) VALUES (?1, ?2, ?3)",
            values,
        )
        .map(|_| ())
    }

    fn clear_unsent(&mut self, case: &CaseId, count: usize) -> Result<(), StoreError> {
        let first = "DELETE FROM unsent WHERE position IN
            (SELECT position FROM unsent WHERE case_id = ?1 ORDER BY position LIMIT ?2)";
        self.write(first, params![case.0, integer(count as u64)])
            .map(|_| ())
    }

    fn put_step(
        &mut self,
        device: &DeviceId,
        space: SpaceId,
        position: u64,
    ) -> Result<(), StoreError> {
        let values = params![device.0, space.0, integer(position)];
        self.write("INSERT OR REPLACE INTO steps VALUES (?1, ?2, ?3)", values)
            .map(|_| ())
    }

    fn steps(&self) -> Result<Vec<(DeviceId, SpaceId, u64)>, StoreError> {
        let rows = self.all("SELECT device, space, position FROM steps", [], |row| {
            Ok((
                row.get::<_, Vec<u8>>(0)?,
                row.get::<_, Vec<u8>>(1)?,
                row.get::<_, i64>(2)?,
            ))
        })?;
        let read = |(device, space, position): (Vec<u8>, Vec<u8>, i64)| {
            Ok((
                DeviceId(fixed(&device)?),
                SpaceId(fixed(&space)?),
                number(position),
            ))
        };
        Ok(self.sound("a word of who has what", rows, read))
    }

    fn bundles(&self) -> Result<Vec<BundleRow>, StoreError> {
        let mut all = Vec::new();
        for kind in [BundleKind::Release, BundleKind::Photo] {
            let rows = self.all(
                &format!("SELECT digest, bytes FROM {}", table(kind)),
                [],
                |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?)),
            )?;
            all.extend(self.sound("a bundle", rows, |(digest, bytes)| {
                let id = BundleId {
                    kind,
                    digest: Digest(fixed(&digest)?),
                };
                Ok(BundleRow {
                    id,
                    bytes: number(bytes),
                    whole: self.bundles.whole(&id),
                })
            }));
        }
        Ok(all)
    }

    fn open_bundle(&mut self, id: &BundleId, bytes: u64) -> Result<(Vec<u8>, Groups), StoreError> {
        let known = self.bundle_bytes(id)?;
        let opened = self.bundles.open(id, bytes)?;
        let held = opened.1.held() > 0;
        if (held && known != Some(bytes)) || (known.is_some() && known != Some(bytes)) {
            let sql = format!("INSERT OR REPLACE INTO {} VALUES (?1, ?2)", table(id.kind));
            self.write(&sql, params![id.digest.0, integer(bytes)])?;
        }
        Ok(opened)
    }

    fn put_tree(&mut self, id: &BundleId, bytes: u64, tree: &[u8]) -> Result<(), StoreError> {
        let sql = format!("INSERT OR REPLACE INTO {} VALUES (?1, ?2)", table(id.kind));
        self.write(&sql, params![id.digest.0, integer(bytes)])?;
        self.bundles.put_tree(id, tree)
    }

    fn write_groups(&mut self, id: &BundleId, first: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.bundles.write(id, first, bytes)
    }

    fn read_groups(
        &mut self,
        id: &BundleId,
        first: u64,
        count: u64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(bytes) = self.bundle_bytes(id)? else {
            return Ok(None);
        };
        Ok(self.bundles.read(id, bytes, first, count))
    }

    fn doubt_bundle(&mut self, id: &BundleId) -> Result<(), StoreError> {
        self.bundles.doubt(id)
    }

    fn finish_bundle(&mut self, id: &BundleId) -> Result<bool, StoreError> {
        match self.bundle_bytes(id)? {
            Some(bytes) => self.bundles.finish(id, bytes),
            None => Ok(false),
        }
    }

    fn remove_bundle(&mut self, id: &BundleId) -> Result<(), StoreError> {
        self.write(
            &format!("DELETE FROM {} WHERE digest = ?1", table(id.kind)),
            params![id.digest.0],
        )?;
        self.bundles.remove(id)
    }

    fn receipts(&self) -> Result<Vec<(DeviceId, u64, Vec<u8>)>, StoreError> {
        let rows = self.all(
            "SELECT device, number, bytes FROM receipts ORDER BY position",
            [],
            |row| {
                Ok((
                    row.get::<_, Vec<u8>>(0)?,
                    row.get::<_, i64>(1)?,
                    row.get(2)?,
                ))
            },
        )?;
        Ok(self.sound("a receipt", rows, |(device, n, bytes)| {
            Ok((DeviceId(fixed(&device)?), number(n), bytes))
        }))
    }

    fn receipts_of(&self, issuer: &DeviceId) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM receipts WHERE issuer = ?1";
        Ok(number(self.one(sql, params![issuer.0])?.unwrap_or(0)))
    }

    fn put_receipt(
        &mut self,
        receipt: &Verified<SealedReceipt>,
        issuer: Option<DeviceId>,
        own: &DeviceId,
    ) -> Result<(), StoreError> {
        let (device, issuer) = (receipt.device.0, issuer.map(|issuer| issuer.0));
        let values = params![
            device,
            integer(receipt.sequence),
            issuer,
            receipt.signed().to_bytes()
        ];
        let sql = "INSERT OR REPLACE INTO receipts (device, number, issuer, bytes) VALUES (?1, ?2, ?3, ?4)";
        self.write(sql, values)?;
        let oldest =
            "DELETE FROM receipts WHERE device <> ?2 AND position IN (SELECT position FROM receipts
            ORDER BY position DESC LIMIT -1 OFFSET ?1)";
        self.write(oldest, params![RECEIPTS_HELD_MAX as i64, own.0])
            .map(|_| ())
    }

    fn peer(&self, device: &DeviceId) -> Result<Option<PeerRow>, StoreError> {
        Ok(self.peers()?.into_iter().find(|p| p.device == *device))
    }

    fn put_peer(&mut self, peer: &PeerRow) -> Result<(), StoreError> {
        let (meetings, last) = (integer(peer.meetings), integer(peer.last_met_s));
        let values = params![
            peer.device.0,
            peer.name,
            meetings,
            last,
            peer.in_step,
            integer(peer.at_meeting)
        ];
        self.write(
            "INSERT OR REPLACE INTO peers VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            values,
        )
        .map(|_| ())
    }

    fn peers(&self) -> Result<Vec<PeerRow>, StoreError> {
        let rows = self.all("SELECT * FROM peers ORDER BY last_met_s DESC", [], |row| {
            let head = (row.get::<_, Vec<u8>>(0)?, row.get::<_, String>(1)?);
            Ok((
                head,
                [row.get::<_, i64>(2)?, row.get(3)?, row.get(5)?],
                row.get::<_, bool>(4)?,
            ))
        })?;
        let read = |((device, name), numbers, in_step): ((Vec<u8>, String), [i64; 3], bool)| {
            let device = DeviceId(fixed(&device)?);
            let [meetings, last_met_s, at_meeting] = numbers.map(number);
            Ok(PeerRow {
                device,
                name,
                meetings,
                last_met_s,
                in_step,
                at_meeting,
            })
        };
        Ok(self.sound("a phone that was met", rows, read))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let other = SqliteStore::open(&folder, &DeviceKeys::from_seed([2; 32])).unwrap();
        assert_eq!(
            other.case(&CaseId([7; 16])).unwrap(),
            None,
            "another phone's key opens nothing"
        );
        drop(other);
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
