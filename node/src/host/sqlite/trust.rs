//! Settings, documents, certificates, receipts and peers, in SQLite.

use super::*;
use crate::store::{Family, Setting, TrustStore};

impl TrustStore for SqliteStore {
    fn setting(&self, key: &Setting) -> Result<Option<Vec<u8>>, StoreError> {
        self.one(
            "SELECT value FROM settings WHERE key = ?1",
            params![key.as_str()],
        )
    }

    fn settings(&self, family: &Family) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let sql = "SELECT key, value FROM settings
            WHERE key >= ?1 AND key < ?1 || char(0x10FFFF) ORDER BY key";
        let prefix = family.as_str();
        self.all(sql, params![prefix], |row| {
            let key: String = row.get(0)?;
            Ok((
                key.strip_prefix(prefix).unwrap_or(&key).to_owned(),
                row.get(1)?,
            ))
        })
    }

    fn put_setting(&mut self, key: &Setting, value: &[u8]) -> Result<(), StoreError> {
        self.write(
            "INSERT OR REPLACE INTO settings VALUES (?1, ?2)",
            params![key.as_str(), value],
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

    fn set_aside(&mut self) -> Vec<String> {
        std::mem::take(&mut *self.aside.borrow_mut())
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
            integer(peer.at_meeting),
            integer(peer.held.0),
            integer(peer.held.1)
        ];
        self.write(
            "INSERT OR REPLACE INTO peers VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            values,
        )
        .map(|_| ())
    }

    fn peers(&self) -> Result<Vec<PeerRow>, StoreError> {
        let rows = self.all("SELECT * FROM peers ORDER BY last_met_s DESC", [], |row| {
            let head = (row.get::<_, Vec<u8>>(0)?, row.get::<_, String>(1)?);
            Ok((
                head,
                [
                    row.get::<_, i64>(2)?,
                    row.get(3)?,
                    row.get(5)?,
                    row.get(6)?,
                    row.get(7)?,
                ],
                row.get::<_, bool>(4)?,
            ))
        })?;
        let read = |((device, name), numbers, in_step): ((Vec<u8>, String), [i64; 5], bool)| {
            let device = DeviceId(fixed(&device)?);
            let [meetings, last_met_s, at_meeting, root, list] = numbers.map(number);
            Ok(PeerRow {
                device,
                name,
                meetings,
                last_met_s,
                in_step,
                at_meeting,
                held: (root, list),
            })
        };
        Ok(self.sound("a phone that was met", rows, read))
    }
}
