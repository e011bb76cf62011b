//! Bundles, in memory.

use super::*;
use crate::store::BundleStore;

impl BundleStore for MemoryStore {
    fn bundles(&self) -> Result<Vec<BundleRow>, StoreError> {
        let row = |(id, b): (&BundleId, &MemoryBundle)| BundleRow {
            id: *id,
            bytes: b.size,
            whole: b.whole,
        };
        Ok(self.bundles.iter().map(row).collect())
    }

    fn open_bundle(&mut self, id: &BundleId, bytes: u64) -> Result<(Vec<u8>, Groups), StoreError> {
        let count = tree::group_count(bytes);
        let Some(bundle) = self.bundles.get_mut(id) else {
            return Ok((Vec::new(), Groups::none(count)));
        };
        if bundle.size != bytes && !defence::stands(Defence::Namespaces) {
            return Err(StoreError::Damaged(format!(
                "bundle {} has another length",
                id.short()
            )));
        }
        if bundle.size != bytes || tree::digest_of_list(&bundle.tree, bytes) != Some(id.digest) {
            self.bundles.remove(id);
            return Ok((Vec::new(), Groups::none(count)));
        }
        if !bundle.whole {
            bundle.groups = right_groups(bundle);
        }
        Ok((bundle.tree.clone(), bundle.groups.clone()))
    }

    fn put_tree(&mut self, id: &BundleId, bytes: u64, tree: &[u8]) -> Result<(), StoreError> {
        self.spend()?;
        let begun = || MemoryBundle {
            size: bytes,
            groups: Groups::none(tree::group_count(bytes)),
            ..MemoryBundle::default()
        };
        self.bundles.entry(*id).or_insert_with(begun).tree = tree.to_vec();
        Ok(())
    }

    fn write_groups(&mut self, id: &BundleId, first: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.spend()?;
        let bundle = self.bundle(id)?;
        let start = (first * GROUP_BYTES) as usize;
        let size = bundle.size as usize;
        bundle.data.resize(size, 0);
        let room = bundle.data.get_mut(start..start + bytes.len());
        room.ok_or_else(|| StoreError::Other("groups outside their bundle".into()))?
            .copy_from_slice(bytes);
        let count = tree::group_count(bytes.len() as u64);
        (first..first + count).for_each(|i| bundle.groups.set(i));
        Ok(())
    }

    fn read_groups(
        &mut self,
        id: &BundleId,
        first: u64,
        count: u64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(bundle) = self.bundles.get(id) else {
            return Ok(None);
        };
        let start = ((first * GROUP_BYTES) as usize).min(bundle.data.len());
        let end = (((first + count) * GROUP_BYTES) as usize).min(bundle.data.len());
        Ok(bundle.data.get(start..end).map(<[u8]>::to_vec))
    }

    fn doubt_bundle(&mut self, id: &BundleId) -> Result<(), StoreError> {
        if let Some(bundle) = self.bundles.get_mut(id) {
            bundle.whole = false;
        }
        Ok(())
    }

    fn finish_bundle(&mut self, id: &BundleId) -> Result<bool, StoreError> {
        let bundle = self.bundle(id)?;
        bundle.whole = Digest::of(&bundle.data) == id.digest;
        let whole = bundle.whole;
        if !whole {
            self.bundles.remove(id);
        }
        Ok(whole)
    }

    fn remove_bundle(&mut self, id: &BundleId) -> Result<(), StoreError> {
        self.bundles.remove(id);
        Ok(())
    }
}
