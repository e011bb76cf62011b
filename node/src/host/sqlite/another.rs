//! The store copied whole, and a copy made another phone's.

use std::path::Path;

use protocol::{DeviceId, DeviceKeys};
use rusqlite::params;

use super::{Drawer, SqliteStore, Vault, db_error};
use crate::agent::setting;
use crate::store::{Store, StoreError};

impl SqliteStore {
    /// Writes a whole copy to a file that is not there yet.
    pub fn copy_to(&self, file: &Path) -> Result<(), StoreError> {
        self.db.execute("VACUUM INTO ?1", params![file.to_string_lossy()]).map(|_| ()).map_err(db_error)
    }

    /// Makes this another phone's store: what was sealed under the old phone's key is under the new one's, and the old phone's
    /// certificate is no longer this phone's own. Nothing of the old seals is left in the file.
    pub fn become_another(&mut self, before: &DeviceId, keys: &DeviceKeys) -> Result<(), StoreError> {
        let vault = Vault::of(keys);
        let done = self.reseal(&vault).and_then(|()| {
            self.write("DELETE FROM settings WHERE key = ?1", params![setting::CHAIN])?;
            self.put_setting(setting::RESTORED_FROM, &before.0)
        });
        if let Err(error) = done {
            self.roll_back();
            return Err(error);
        }
        self.commit()?;
        self.vault = vault;
        self.db.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);").map_err(db_error)
    }

    fn reseal(&self, vault: &Vault) -> Result<(), StoreError> {
        let sealed = [
            ("cases", "document", Drawer::Case),
            ("cases", "title", Drawer::Title),
            ("space_keys", "key", Drawer::SpaceKey),
            ("unsent", "change", Drawer::Unsent),
        ];
        for (table, column, drawer) in sealed {
            let rows = self.numbered(&format!("SELECT rowid, {column} FROM {table} WHERE length({column}) > 0"), [])?;
            for (row, old) in rows {
                let new = vault.seal(drawer, &self.vault.open(drawer, &old)?)?;
                self.write(&format!("UPDATE {table} SET {column} = ?2 WHERE rowid = ?1"), params![row, new])?;
            }
        }
        Ok(())
    }
}
