//! Cases, in memory.

use super::*;
use crate::store::CaseStore;

impl CaseStore for MemoryStore {
    fn visit(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.visit.clone())
    }

    fn put_visit(&mut self, visit: Option<&[u8]>) -> Result<(), StoreError> {
        self.spend()?;
        self.visit = visit.map(<[u8]>::to_vec);
        Ok(())
    }

    fn import(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.import.clone())
    }

    fn put_import(&mut self, import: Option<&[u8]>) -> Result<(), StoreError> {
        self.spend()?;
        self.import = import.map(<[u8]>::to_vec);
        Ok(())
    }

    fn case(&self, id: &CaseId) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.cases.get(id).map(|(_, document)| document.clone()))
    }

    fn put_case(&mut self, row: &CaseRow, document: &[u8]) -> Result<(), StoreError> {
        self.spend()?;
        self.cases.insert(row.id, (row.clone(), document.to_vec()));
        Ok(())
    }

    fn cases(&self) -> Result<Vec<CaseRow>, StoreError> {
        let mut rows: Vec<_> = self.cases.values().map(|(row, _)| row.clone()).collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.changed_s));
        Ok(rows)
    }

    fn case_row(&self, id: &CaseId) -> Result<Option<CaseRow>, StoreError> {
        Ok(self.cases.get(id).map(|(row, _)| row.clone()))
    }

    fn remove_case(&mut self, id: &CaseId) -> Result<(), StoreError> {
        self.spend()?;
        self.cases.remove(id);
        Ok(())
    }

    fn outbox(&self) -> Result<Vec<(CaseId, Vec<u8>)>, StoreError> {
        Ok(self
            .unsent
            .iter()
            .map(|(case, change, _)| (*case, change.clone()))
            .collect())
    }

    fn outbox_of(&self, case: &CaseId) -> Result<Vec<(Vec<u8>, bool)>, StoreError> {
        let of_case = self.unsent.iter().filter(|(held, ..)| held == case);
        Ok(of_case
            .map(|(_, change, withdraws)| (change.clone(), *withdraws))
            .collect())
    }

    fn put_outbox(
        &mut self,
        case: &CaseId,
        change: &[u8],
        withdraws: bool,
    ) -> Result<(), StoreError> {
        self.spend()?;
        self.unsent.push((*case, change.to_vec(), withdraws));
        Ok(())
    }

    fn clear_outbox(&mut self, case: &CaseId, count: usize) -> Result<(), StoreError> {
        self.spend()?;
        let mut left = count;
        self.unsent.retain(|(held, ..)| {
            let goes = held == case && left > 0;
            left -= usize::from(goes);
            !goes
        });
        Ok(())
    }
}
