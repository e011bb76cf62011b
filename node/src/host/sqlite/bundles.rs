//! Bundles: what is known of them in SQLite, their bytes in files beside it.

use super::*;
use crate::store::BundleStore;

impl BundleStore for SqliteStore {
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
}
