//! Bundles as files. `<digest>.part` and `<digest>.tree` while they arrive, `<digest>` once whole. Nothing unverified ever
//! has a final name: the agent checks every group before it is written, and what a crash may have left is checked again
//! against the tree when the file is opened.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use distribution::bundle::Groups;
use distribution::tree;
use protocol::Digest;
use protocol::limits::GROUP_BYTES;

use crate::store::StoreError;

/// The bundles of one phone.
#[derive(Debug)]
pub struct BundleFiles {
    folder: PathBuf,
    open: BTreeMap<Digest, (File, u64)>,
    unsynced: u64,
}

/// Bytes after which the disk is asked to begin writing, so that it is nearly done when the last group comes.
const SYNC_EVERY_BYTES: u64 = 16 << 20;

/// An error of the disk in the store's words.
pub fn disk_error(error: &std::io::Error) -> StoreError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::Full,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly(error.to_string()),
        _ => StoreError::Other(error.to_string()),
    }
}

impl BundleFiles {
    /// The bundles in `folder`.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), open: BTreeMap::new(), unsynced: 0 }
    }

    /// Where a whole bundle lies.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.to_string())
    }

    fn part(&self, digest: &Digest) -> PathBuf {
        self.folder.join(format!("{digest}.part"))
    }

    fn tree_file(&self, digest: &Digest) -> PathBuf {
        self.folder.join(format!("{digest}.tree"))
    }

    /// Whether the bundle is there under its final name.
    pub fn whole(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    /// Opens a bundle and says what of it is right: the tree list, and the groups that match it.
    pub fn open(&mut self, digest: &Digest, bytes: u64) -> Result<(Vec<u8>, Groups), StoreError> {
        let count = tree::group_count(bytes);
        let whole = self.path(digest);
        let (path, is_whole) = if whole.is_file() { (whole, true) } else { (self.part(digest), false) };
        let file = OpenOptions::new().read(true).write(true).create(!is_whole).truncate(false).open(&path);
        let file = file.map_err(|e| disk_error(&e))?;
        let length = file.metadata().map_err(|e| disk_error(&e))?.len();
        if is_whole && length != bytes {
            return Err(StoreError::Damaged(format!("bundle {} has another length", digest.short())));
        }
        let list = match fs::read(self.tree_file(digest)) {
            Ok(list) => list,
            Err(_) if is_whole => self.rebuild_tree(digest, &file, bytes)?,
            Err(_) => Vec::new(),
        };
        let list = if tree::digest_of_list(&list, bytes) == Some(*digest) { list } else { Vec::new() };
        let groups = match (is_whole, list.is_empty()) {
            (_, true) => Groups::none(count),
            (true, false) => Groups::all(count),
            (false, false) => check_file(&file, bytes, length, &list),
        };
        self.open.insert(*digest, (file, bytes));
        Ok((list, groups))
    }

    fn rebuild_tree(&self, digest: &Digest, file: &File, bytes: u64) -> Result<Vec<u8>, StoreError> {
        let count = tree::group_count(bytes);
        let mut list = Vec::with_capacity(count as usize * 32);
        for i in 0..count {
            let mut group = vec![0; tree::group_bytes(bytes, i) as usize];
            file.read_exact_at(&mut group, i * GROUP_BYTES).map_err(|e| disk_error(&e))?;
            list.extend_from_slice(&tree::group_hash(&group, i, count));
        }
        fs::write(self.tree_file(digest), &list).map_err(|e| disk_error(&e))?;
        Ok(list)
    }

    fn file(&self, digest: &Digest) -> Result<&(File, u64), StoreError> {
        self.open.get(digest).ok_or_else(|| StoreError::Other("a bundle that was never opened".into()))
    }

    /// Keeps the tree list.
    pub fn put_tree(&mut self, digest: &Digest, list: &[u8]) -> Result<(), StoreError> {
        fs::write(self.tree_file(digest), list).map_err(|e| disk_error(&e))
    }

    /// Keeps checked groups.
    pub fn write(&mut self, digest: &Digest, first: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let (file, _) = self.file(digest)?;
        file.write_all_at(bytes, first * GROUP_BYTES).map_err(|e| disk_error(&e))?;
        let copy = (self.unsynced >= SYNC_EVERY_BYTES).then(|| file.try_clone());
        self.unsynced += bytes.len() as u64;
        if let Some(Ok(file)) = copy {
            self.unsynced = 0;
            // Only a head start: what counts is the synchronisation in `finish`.
            std::thread::spawn(move || file.sync_data());
        }
        Ok(())
    }

    /// Reads groups.
    pub fn read(&self, digest: &Digest, first: u64, count: u64) -> Result<Vec<u8>, StoreError> {
        let (file, bytes) = self.file(digest)?;
        let start = first.saturating_mul(GROUP_BYTES).min(*bytes);
        let end = (first.saturating_add(count)).saturating_mul(GROUP_BYTES).min(*bytes);
        let mut buffer = vec![0; (end - start) as usize];
        file.read_exact_at(&mut buffer, start).map_err(|e| disk_error(&e))?;
        Ok(buffer)
    }

    /// Checks the whole and gives it its final name, in that order and durably.
    pub fn finish(&mut self, digest: &Digest) -> Result<bool, StoreError> {
        if self.whole(digest) {
            return Ok(true);
        }
        let (file, bytes) = self.file(digest)?;
        file.set_len(*bytes).map_err(|e| disk_error(&e))?;
        let copy = file.try_clone().map_err(|e| disk_error(&e))?;
        let synced = std::thread::spawn(move || copy.sync_all()); // the disk writes while the whole is read and hashed
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 1 << 20];
        let mut at = 0;
        while at < *bytes {
            let want = buffer.len().min((*bytes - at) as usize);
            let Some(chunk) = buffer.get_mut(..want) else { break };
            file.read_exact_at(chunk, at).map_err(|e| disk_error(&e))?;
            hasher.update(chunk);
            at += want as u64;
        }
        let synced = synced.join().unwrap_or_else(|_| Err(std::io::Error::other("the disk did not answer")));
        if hasher.finalize().as_bytes() != digest.as_bytes() {
            self.open.remove(digest);
            let _ = fs::remove_file(self.part(digest));
            let _ = fs::remove_file(self.tree_file(digest));
            return Ok(false);
        }
        synced.map_err(|e| disk_error(&e))?;
        fs::rename(self.part(digest), self.path(digest)).map_err(|e| disk_error(&e))?;
        File::open(&self.folder).and_then(|f| f.sync_all()).map_err(|e| disk_error(&e))?;
        Ok(true)
    }

    /// Takes a whole file in from outside, as a publisher does. Returns its digest and size.
    pub fn import(&mut self, from: &Path) -> std::io::Result<(Digest, u64)> {
        let draft = self.folder.join("import.part");
        fs::copy(from, &draft)?;
        let mut hasher = blake3::Hasher::new();
        let mut file = File::open(&draft)?;
        let mut buffer = vec![0; 1 << 20];
        let mut bytes = 0;
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            hasher.update(buffer.get(..read).unwrap_or_default());
            bytes += read as u64;
        }
        let digest = Digest(*hasher.finalize().as_bytes());
        file.sync_all()?;
        fs::rename(&draft, self.path(&digest))?;
        let _ = fs::remove_file(self.part(&digest)); // what had come of it by pieces is here whole
        Ok((digest, bytes))
    }

    /// Gives a file that was made and checked here its final name.
    pub fn adopt(&mut self, made: &Path, digest: &Digest) -> Result<(), StoreError> {
        self.remove(digest)?;
        fs::rename(made, self.path(digest)).map_err(|e| disk_error(&e))?;
        File::open(&self.folder).and_then(|f| f.sync_all()).map_err(|e| disk_error(&e))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Forgets a bundle, whole or not.
    pub fn remove(&mut self, digest: &Digest) -> Result<(), StoreError> {
        self.open.remove(digest);
        for path in [self.path(digest), self.part(digest), self.tree_file(digest)] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(disk_error(&error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// All of a whole bundle.
    pub fn read_whole(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        fs::read(self.path(digest)).map_err(|e| disk_error(&e))
    }

    /// Bytes of everything held, parts included.
    pub fn bytes_held(&self) -> u64 {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.metadata().ok()).map(|m| m.len()).sum()
    }
}

/// Which groups of a half-arrived file are what they should be.
fn check_file(file: &File, bytes: u64, length: u64, list: &[u8]) -> Groups {
    let count = tree::group_count(bytes);
    let mut groups = Groups::none(count);
    for (i, hash) in (0..count).zip(list.as_chunks::<32>().0) {
        let size = tree::group_bytes(bytes, i);
        if i * GROUP_BYTES + size > length {
            continue;
        }
        let mut group = vec![0; size as usize];
        if file.read_exact_at(&mut group, i * GROUP_BYTES).is_ok() && tree::group_hash(&group, i, count) == *hash {
            groups.set(i);
        }
    }
    groups
}
