//! Envelopes and keys, in SQLite.

use super::*;
use crate::store::{Aside, EnvelopeStore};

impl EnvelopeStore for SqliteStore {
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
                self.erased = true;
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

    fn evict(&mut self, id: &EnvelopeId) -> Result<(), StoreError> {
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
        attempts::write(&self.folder, attempts).map_err(|e| crate::host::bundles::disk_error(&e))
    }

    fn envelope_count(&self) -> Result<u64, StoreError> {
        Ok(number(
            self.one("SELECT count(*) FROM envelopes", [])?.unwrap_or(0),
        ))
    }

    fn put_quarantine(&mut self, id: &EnvelopeId, why: &Aside) -> Result<(), StoreError> {
        self.write(
            "INSERT OR REPLACE INTO quarantine VALUES (?1, ?2)",
            params![id.0, why.code()],
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

    fn quarantined(&self) -> Result<Vec<(EnvelopeId, Aside)>, StoreError> {
        let rows = self.all("SELECT id, reason FROM quarantine", [], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, String>(1)?))
        })?;
        Ok(self.sound("an envelope set aside", rows, |(id, why)| {
            Ok((EnvelopeId(fixed(&id)?), Aside::of_code(&why)))
        }))
    }

    fn put_cursor(
        &mut self,
        device: &DeviceId,
        space: SpaceId,
        position: u64,
    ) -> Result<(), StoreError> {
        let values = params![device.0, space.0, integer(position)];
        self.write("INSERT OR REPLACE INTO steps VALUES (?1, ?2, ?3)", values)
            .map(|_| ())
    }

    fn cursors(&self) -> Result<Vec<(DeviceId, SpaceId, u64)>, StoreError> {
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
}
