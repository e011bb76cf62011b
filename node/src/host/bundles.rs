//! Bundles as files: releases in one folder, sealed photos in another beside it. `<digest>.part`
//! and `<digest>.tree` while they arrive, `<digest>` once whole. Nothing unverified ever has a
//! final name: the agent checks every group before it is written, and what a crash may have left is
//! checked again against the tree when the file is opened.
//!
//! Every file here can be had again from another phone, so none is ever a reason to stop: what is
//! not what it should be (a card that lost bytes, a folder in its place) becomes a part again or is
//! moved out of the way, and is fetched anew. Few files are open at once, however many bundles
//! there are.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use distribution::bundle::Groups;
use distribution::tree;
use protocol::limits::{FILES_OPEN_MAX, GROUP_BYTES};
use protocol::{BundleId, BundleKind, Digest};

use crate::store::StoreError;

/// The folder of sealed photos, in that of bundles.
const PHOTOS: &str = "photos";

/// The bundles of one phone.
#[derive(Debug)]
pub struct BundleFiles {
    folder: PathBuf,
    /// Files that are open, the one used last at the end.
    open: VecDeque<(BundleId, File)>,
    unsynced: u64,
}

/// Bytes after which the disk is asked to begin writing, so that it is nearly done when the last
/// group comes.
const SYNC_EVERY_BYTES: u64 = 16 << 20;

/// An error of the disk in the store's words.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "none of the others is meant"
)]
pub fn disk_error(error: &std::io::Error) -> StoreError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::Full,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            StoreError::ReadOnly(error.to_string())
        }
        _ => StoreError::Other(error.to_string()),
    }
}

impl BundleFiles {
    /// The bundles in `folder`.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            open: VecDeque::new(),
            unsynced: 0,
        }
    }

    fn place(&self, id: &BundleId) -> PathBuf {
        match id.kind {
            BundleKind::Release => self.folder.clone(),
            BundleKind::Photo => self.folder.join(PHOTOS),
        }
    }

    /// Where a whole bundle lies.
    pub fn path(&self, id: &BundleId) -> PathBuf {
        self.place(id).join(id.digest.to_string())
    }

    fn part(&self, id: &BundleId) -> PathBuf {
        self.place(id).join(format!("{}.part", id.digest))
    }

    fn tree_file(&self, id: &BundleId) -> PathBuf {
        self.place(id).join(format!("{}.tree", id.digest))
    }

    /// Whether the bundle is there under its final name.
    pub fn whole(&self, id: &BundleId) -> bool {
        self.path(id).is_file()
    }

    /// Opens a bundle and says what of it is right: the tree list, and the groups that match it. A
    /// whole file is believed as far as its length; each group is looked at again when it is
    /// served.
    pub fn open(&mut self, id: &BundleId, bytes: u64) -> Result<(Vec<u8>, Groups), StoreError> {
        let count = tree::group_count(bytes);
        self.open.retain(|(held, _)| held != id);
        set_aside_unless_file(&self.path(id));
        set_aside_unless_file(&self.part(id));
        set_aside_unless_file(&self.tree_file(id));
        if self.path(id).is_file() {
            if fs::metadata(self.path(id)).is_ok_and(|file| file.len() == bytes)
                && let Some(list) = self.tree_of_whole(id, bytes)
            {
                return Ok((list, Groups::all(count)));
            }
            self.doubt(id)?; // it has the name of what it is not
        }
        let list = self.kept_tree(id, bytes).unwrap_or_default();
        let file = match File::open(self.part(id)) {
            Ok(file) if !list.is_empty() => file,
            Ok(_) | Err(_) => return Ok((list, Groups::none(count))),
        };
        let length = file.metadata().map_or(0, |file| file.len());
        let groups = check_file(&file, bytes, length, &list);
        Ok((list, groups))
    }

    fn kept_tree(&self, id: &BundleId, bytes: u64) -> Option<Vec<u8>> {
        let list = fs::read(self.tree_file(id)).ok()?;
        (tree::digest_of_list(&list, bytes) == Some(id.digest)).then_some(list)
    }

    /// The tree list of a whole file: the one beside it, or made anew if the file is what its name
    /// says.
    fn tree_of_whole(&self, id: &BundleId, bytes: u64) -> Option<Vec<u8>> {
        if let Some(list) = self.kept_tree(id, bytes) {
            return Some(list);
        }
        let file = File::open(self.path(id)).ok()?;
        let count = tree::group_count(bytes);
        let mut list = Vec::with_capacity(count as usize * 32);
        for i in 0..count {
            let mut group = vec![0; tree::group_bytes(bytes, i) as usize];
            file.read_exact_at(&mut group, i * GROUP_BYTES).ok()?;
            list.extend_from_slice(&tree::group_hash(&group, i, count));
        }
        (tree::digest_of_list(&list, bytes) == Some(id.digest)).then(|| {
            let _ = fs::write(self.tree_file(id), &list); // only a head start for the next time
            list
        })
    }

    /// A whole file is a part again: it is not what its name says.
    pub fn doubt(&mut self, id: &BundleId) -> Result<(), StoreError> {
        self.open.retain(|(held, _)| held != id);
        match fs::rename(self.path(id), self.part(id)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(disk_error(&error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The file of a bundle, whole or part; begun if there is none.
    fn file(&mut self, id: &BundleId) -> Result<&File, StoreError> {
        match self.open.iter().position(|(held, _)| held == id) {
            Some(at) => {
                let used = self.open.remove(at);
                self.open.extend(used);
            }
            None => {
                let whole = self.whole(id);
                let path = if whole { self.path(id) } else { self.part(id) };
                if let Some(folder) = path.parent() {
                    fs::create_dir_all(folder).map_err(|e| disk_error(&e))?;
                }
                let mut options = OpenOptions::new();
                options
                    .read(true)
                    .write(!whole)
                    .create(!whole)
                    .truncate(false);
                let file = options.open(path).map_err(|e| disk_error(&e))?;
                self.open.push_back((*id, file));
                if self.open.len() > FILES_OPEN_MAX {
                    self.open.pop_front();
                }
            }
        }
        let last = self.open.back().map(|(_, file)| file);
        last.ok_or_else(|| StoreError::Other("a bundle that was never opened".into()))
    }

    /// Keeps the tree list.
    pub fn put_tree(&mut self, id: &BundleId, list: &[u8]) -> Result<(), StoreError> {
        fs::create_dir_all(self.place(id)).map_err(|e| disk_error(&e))?;
        fs::write(self.tree_file(id), list).map_err(|e| disk_error(&e))
    }

    /// Keeps checked groups.
    pub fn write(&mut self, id: &BundleId, first: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let sync = self.unsynced >= SYNC_EVERY_BYTES;
        let file = self.file(id)?;
        file.write_all_at(bytes, first * GROUP_BYTES)
            .map_err(|e| disk_error(&e))?;
        let copy = sync.then(|| file.try_clone());
        self.unsynced += bytes.len() as u64;
        if let Some(Ok(file)) = copy {
            self.unsynced = 0;
            // Only a head start: what counts is the synchronisation in `finish`.
            std::thread::spawn(move || file.sync_data());
        }
        Ok(())
    }

    /// Reads groups of a bundle of so many bytes; `None` if they cannot be read.
    pub fn read(&mut self, id: &BundleId, bytes: u64, first: u64, count: u64) -> Option<Vec<u8>> {
        let start = first.saturating_mul(GROUP_BYTES).min(bytes);
        let end = (first.saturating_add(count))
            .saturating_mul(GROUP_BYTES)
            .min(bytes);
        let mut buffer = vec![0; (end - start) as usize];
        let read = self.file(id).ok()?.read_exact_at(&mut buffer, start);
        if read.is_err() {
            self.open.retain(|(held, _)| held != id);
        }
        read.ok().map(|()| buffer)
    }

    /// Checks the whole and gives it its final name, in that order and durably.
    pub fn finish(&mut self, id: &BundleId, bytes: u64) -> Result<bool, StoreError> {
        if self.whole(id) {
            return Ok(true);
        }
        let file = self.file(id)?;
        file.set_len(bytes).map_err(|e| disk_error(&e))?;
        let copy = file.try_clone().map_err(|e| disk_error(&e))?;
        let synced = std::thread::spawn(move || copy.sync_all()); // the disk writes while the whole is read and hashed
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 1 << 20];
        let mut at = 0;
        while at < bytes {
            let want = buffer.len().min((bytes - at) as usize);
            let Some(chunk) = buffer.get_mut(..want) else {
                break;
            };
            file.read_exact_at(chunk, at).map_err(|e| disk_error(&e))?;
            hasher.update(chunk);
            at += want as u64;
        }
        let synced = synced
            .join()
            .unwrap_or_else(|_| Err(std::io::Error::other("the disk did not answer")));
        self.open.retain(|(held, _)| held != id);
        if hasher.finalize().as_bytes() != id.digest.as_bytes() {
            let _ = fs::remove_file(self.part(id));
            let _ = fs::remove_file(self.tree_file(id));
            return Ok(false);
        }
        synced.map_err(|e| disk_error(&e))?;
        fs::rename(self.part(id), self.path(id)).map_err(|e| disk_error(&e))?;
        File::open(self.place(id))
            .and_then(|f| f.sync_all())
            .map_err(|e| disk_error(&e))?;
        Ok(true)
    }

    /// Takes a whole file in from outside, as a publisher does. Returns its digest and size.
    pub fn import(&mut self, kind: BundleKind, from: &Path) -> std::io::Result<(Digest, u64)> {
        let folder = self.place(&BundleId {
            kind,
            digest: Digest([0; 32]),
        });
        fs::create_dir_all(&folder)?;
        let draft = folder.join("import.part");
        let _ = fs::remove_file(&draft);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&draft)?;
        std::io::copy(&mut File::open(from)?, &mut file)?;
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
        let id = BundleId { kind, digest };
        file.sync_all()?;
        set_aside_unless_file(&self.path(&id));
        self.open.retain(|(held, _)| *held != id);
        fs::rename(&draft, self.path(&id))?;
        let _ = fs::remove_file(self.part(&id)); // what had come of it by pieces is here whole
        Ok((digest, bytes))
    }

    /// Gives a release's file that was made and checked here its final name.
    pub fn adopt(&mut self, made: &Path, digest: &Digest) -> Result<(), StoreError> {
        let id = BundleId::release(*digest);
        self.remove(&id)?;
        fs::rename(made, self.path(&id)).map_err(|e| disk_error(&e))?;
        File::open(&self.folder)
            .and_then(|f| f.sync_all())
            .map_err(|e| disk_error(&e))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Forgets a bundle, whole or not.
    pub fn remove(&mut self, id: &BundleId) -> Result<(), StoreError> {
        self.open.retain(|(held, _)| held != id);
        for path in [self.path(id), self.part(id), self.tree_file(id)] {
            set_aside_unless_file(&path);
            match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(disk_error(&error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// All of a whole bundle.
    pub fn read_whole(&self, id: &BundleId) -> Result<Vec<u8>, StoreError> {
        fs::read(self.path(id)).map_err(|e| disk_error(&e))
    }

    /// A whole release's file, opened; checked against its digest once more, `None` if it is not it.
    pub fn open_checked(&self, digest: &Digest) -> Result<Option<File>, StoreError> {
        let check = || -> io::Result<(Digest, File)> {
            let mut file = File::open(self.path(&BundleId::release(*digest)))?;
            let found = Digest::of_reader(&mut file)?;
            file.rewind()?;
            Ok((found, file))
        };
        let (found, file) = check().map_err(|e| disk_error(&e))?;
        Ok(Some(file).filter(|_| found == *digest))
    }

    /// Bytes of everything held, parts included.
    pub fn bytes_held(&self) -> u64 {
        let folders = [self.folder.clone(), self.folder.join(PHOTOS)];
        let entries = folders
            .iter()
            .filter_map(|folder| fs::read_dir(folder).ok())
            .flatten()
            .flatten();
        entries
            .filter_map(|entry| entry.metadata().ok())
            .filter(fs::Metadata::is_file)
            .map(|m| m.len())
            .sum()
    }
}

/// What stands where a file of ours should be and is none (a folder, a pipe) is moved out of the
/// way.
fn set_aside_unless_file(path: &Path) {
    let Ok(there) = fs::symlink_metadata(path) else {
        return;
    };
    if !there.is_file() {
        let aside = PathBuf::from(format!("{}.aside", path.display()));
        let _ = fs::remove_dir_all(&aside);
        let _ = fs::remove_file(&aside);
        let _ = fs::rename(path, &aside);
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
        if file.read_exact_at(&mut group, i * GROUP_BYTES).is_ok()
            && tree::group_hash(&group, i, count) == *hash
        {
            groups.set(i);
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> (tempfile::TempDir, BundleFiles, BundleId, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let mut files = BundleFiles::new(folder.path());
        let data: Vec<u8> = (0..50_000u32).map(|i| (i * 7 + i / 255) as u8).collect();
        std::fs::write(folder.path().join("in"), &data).unwrap();
        let (digest, bytes) = files
            .import(BundleKind::Release, &folder.path().join("in"))
            .unwrap();
        assert_eq!(bytes, 50_000);
        (folder, files, BundleId::release(digest), data)
    }

    #[test]
    fn a_file_that_lost_bytes_is_a_part_again_and_keeps_what_is_right() {
        let (_folder, mut files, id, data) = files();
        assert!(files.open(&id, 50_000).unwrap().1.complete());
        for (length, held) in [(0, 0), (20_000, 1), (40_000, 2)] {
            std::fs::write(files.path(&id), &data[..length]).unwrap();
            let (list, groups) = files.open(&id, 50_000).unwrap();
            assert_eq!((list.is_empty(), groups.held()), (false, held), "{length}");
            assert!(!files.whole(&id));
        }
    }

    #[test]
    fn folders_in_the_place_of_files_are_moved_out_of_the_way() {
        let (_folder, mut files, id, _) = files();
        std::fs::remove_file(files.path(&id)).unwrap();
        for path in [files.path(&id), files.part(&id), files.tree_file(&id)] {
            std::fs::create_dir_all(path.join("inside")).unwrap();
        }
        assert_eq!(files.open(&id, 50_000).unwrap().1.held(), 0);
        files.put_tree(&id, &[1; 32]).unwrap();
        files.write(&id, 0, &[7; 100]).unwrap();
        files.remove(&id).unwrap();
    }

    #[test]
    fn photos_and_releases_of_one_name_do_not_touch_each_other() {
        let (_folder, mut files, id, _) = files();
        let photo = BundleId {
            kind: BundleKind::Photo,
            digest: id.digest,
        };
        assert_eq!(files.open(&photo, 1).unwrap().1.held(), 0);
        files.write(&photo, 0, &[9]).unwrap();
        assert!(
            !files.finish(&photo, 1).unwrap(),
            "it is not what its name says"
        );
        files.remove(&photo).unwrap();
        assert!(files.open(&id, 50_000).unwrap().1.complete());
    }

    #[test]
    fn a_thousand_bundles_need_few_descriptors() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = BundleFiles::new(folder.path());
        for n in 0..1000u32 {
            let id = BundleId::photo(Digest::of(&n.to_le_bytes()));
            files.open(&id, 4).unwrap();
            files.write(&id, 0, &n.to_le_bytes()).unwrap();
        }
        assert!(files.open.len() <= FILES_OPEN_MAX);
        let first = BundleId::photo(Digest::of(&0u32.to_le_bytes()));
        assert_eq!(files.read(&first, 4, 0, 1), Some(vec![0; 4]));
    }
}
