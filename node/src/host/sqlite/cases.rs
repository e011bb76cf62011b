//! Cases, in SQLite.

use super::*;
use crate::store::CaseStore;

impl CaseStore for SqliteStore {
    fn visit(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.private("visit")
    }

    fn put_visit(&mut self, visit: Option<&[u8]>) -> Result<(), StoreError> {
        self.put_private("visit", visit)
    }

    fn import(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let kept = self.setting(&Setting::private("import"))?;
        let is_kept = kept.is_some_and(|bytes| !bytes.is_empty());
        // What cannot be opened any more is a file of which nobody can say what is missing: that is told.
        Ok(self.private("import")?.or(is_kept.then(Vec::new)))
    }

    fn put_import(&mut self, import: Option<&[u8]>) -> Result<(), StoreError> {
        self.put_private("import", import)
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

    fn outbox(&self) -> Result<Vec<(CaseId, Vec<u8>)>, StoreError> {
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

    fn outbox_of(&self, case: &CaseId) -> Result<Vec<(Vec<u8>, bool)>, StoreError> {
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

    fn put_outbox(
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

    fn clear_outbox(&mut self, case: &CaseId, count: usize) -> Result<(), StoreError> {
        let first = "DELETE FROM unsent WHERE position IN
            (SELECT position FROM unsent WHERE case_id = ?1 ORDER BY position LIMIT ?2)";
        self.write(first, params![case.0, integer(count as u64)])
            .map(|_| ())
    }
}
