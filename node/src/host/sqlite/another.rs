//! The store copied whole, and a copy made another phone's.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use protocol::{DeviceId, DeviceKeys};
use rusqlite::{Connection, params};

use zeroize::Zeroize;

use super::schema::SEALED;
use super::{Drawer, SqliteStore, Vault, db_error};
use crate::store::{Setting, StoreError, TrustStore};

/// SQLite's `application_id` of a copy (`KJBC`): beside it lies what says how it was written.
const COPY: i32 = 0x4b4a_4243;
/// Where it stands in the file (SQLite's file format, 1.3).
const COPY_AT: u64 = 68;

/// Whether a file is a store that [`SqliteStore::copy_to`] has written.
pub(in crate::host) fn is_copy(file: &Path) -> bool {
    let read = || -> std::io::Result<[u8; 4]> {
        let mut opened = crate::host::folder::open_plain(file)?;
        opened.seek(SeekFrom::Start(COPY_AT))?;
        let mut bytes = [0; 4];
        opened.read_exact(&mut bytes).map(|()| bytes)
    };
    read().is_ok_and(|bytes| bytes == COPY.to_be_bytes())
}

impl SqliteStore {
    /// Writes a whole copy to a file that is not there yet.
    pub fn copy_to(&self, file: &Path) -> Result<(), StoreError> {
        let said = self
            .db
            .execute("VACUUM INTO ?1", params![file.to_string_lossy()]);
        said.map_err(db_error)?;
        let copy = Connection::open(file).map_err(db_error)?;
        copy.pragma_update(None, "application_id", COPY)
            .map_err(db_error)
    }

    /// Whether the file's pages hold together (SQLite's `quick_check`).
    pub fn is_sound(&self) -> bool {
        let said = self
            .db
            .query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
        said.is_ok_and(|said| said == "ok")
    }

    /// Makes this another phone's store: what was sealed under the old phone's key is under the new
    /// one's, and the old phone's certificate is no longer this phone's own. Nothing of the old
    /// seals is left in the file.
    pub fn become_another(
        &mut self,
        before: &DeviceId,
        keys: &DeviceKeys,
    ) -> Result<(), StoreError> {
        let vault = Vault::of(keys);
        let done = self.reseal(&vault).and_then(|()| {
            self.write(
                "DELETE FROM settings WHERE key = ?1",
                params![Setting::chain().as_str()],
            )?;
            let no_copy = self.db.pragma_update(None, "application_id", 0);
            no_copy.map_err(db_error)?;
            self.put_setting(&Setting::restored_from(), &before.0)
        });
        if let Err(error) = done {
            self.roll_back();
            return Err(error);
        }
        self.commit()?;
        self.vault = vault;
        self.knows_its_key()?;
        self.db
            .execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")
            .map_err(db_error)
    }

    /// Notes in a new store whose key seals it, so that the file of that key is not mistaken for another.
    pub(super) fn knows_its_key(&mut self) -> Result<(), StoreError> {
        if self.private(OWN)?.is_some() {
            return Ok(());
        }
        let mut sealed = 0;
        for (table, column, drawer, name) in super::schema::SEALED {
            let sql = format!(
                "SELECT {name}, {column} FROM {table} WHERE length({column}) > 0 LIMIT {TRIED_MAX}"
            );
            let rows: Vec<(Vec<u8>, Vec<u8>)> =
                self.all(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
            sealed += rows.len();
            let mut opens = rows
                .iter()
                .map(|(name, bytes)| self.vault.open(drawer, name, bytes));
            if opens.any(|opened| opened.is_ok()) {
                sealed = 0;
                break;
            }
        }
        if sealed > 0 {
            return Err(StoreError::OtherKey);
        }
        // On a folder that cannot be written it is noted another time.
        match self
            .put_private(OWN, Some(b"own"))
            .and_then(|()| self.commit())
        {
            Err(StoreError::ReadOnly(_) | StoreError::Full) => {
                self.roll_back();
                Ok(())
            }
            noted => noted,
        }
    }

    /// Seals everything anew under another key; what does not open is left as it lies.
    fn reseal(&self, vault: &Vault) -> Result<(), StoreError> {
        self.reseal_with(vault, |drawer, row, old| self.vault.open(drawer, row, old))
    }

    /// Binds what an earlier version sealed to its row.
    pub(super) fn bind_to_rows(&self) -> Result<(), StoreError> {
        self.reseal_with(&self.vault, |drawer, _, old| {
            self.vault.open_unbound(drawer, old)
        })
    }

    fn reseal_with(
        &self,
        vault: &Vault,
        open: impl Fn(Drawer, &[u8], &[u8]) -> Result<Vec<u8>, StoreError>,
    ) -> Result<(), StoreError> {
        for (table, column, drawer, name) in SEALED {
            let sql =
                format!("SELECT rowid, {name}, {column} FROM {table} WHERE length({column}) > 0");
            let rows: Vec<(i64, Vec<u8>, Vec<u8>)> =
                self.all(&sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            for (row, name, old) in rows {
                let Ok(mut plain) = open(drawer, &name, &old) else {
                    continue;
                };
                let new = vault.seal(drawer, &name, &plain);
                plain.zeroize();
                self.write(
                    &format!("UPDATE {table} SET {column} = ?2 WHERE rowid = ?1"),
                    params![row, new?],
                )?;
            }
        }
        Ok(())
    }
}

/// The name of what is kept only to be opened.
const OWN: &str = "own";
/// Sealed rows of a table that are tried with a key.
const TRIED_MAX: usize = 16;
