//! A phone's folder copied whole while it may be in use, and a copy made into a phone again.
//!
//! What comes out of a copy is another phone, with a key of its own: two phones with one key could
//! not be told apart, and the one that was lost could not be shut out without the other. It reads
//! what the copy's could read; it is certified anew before it is met, and then seals what its
//! forerunner had not given away yet.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use protocol::{DeviceId, DeviceKeys};

use super::DataFolder;
use super::folder::{KEY_FILE, unusable};
use super::sqlite::{DATABASE, SqliteStore};
use crate::api::Refusal;
use crate::store::CaseStore;

const BUNDLES: &str = "bundles";

/// What a restored phone begins with.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "schema", rename = "kijiti.restore/1")]
pub struct Restored {
    /// The phone of which the copy was made.
    pub from: DeviceId,
    /// The phone that it is now.
    pub device: DeviceId,
    /// Cases that it reads.
    pub cases: usize,
    /// Changes of cases that no other phone has been given yet.
    pub unsent: usize,
}

/// Copies a phone's folder to `to`, which must be new or empty. The key comes last: without it a
/// copy is none. No copy leaves the phone in clear: where the phone's own key is not sealed,
/// `passphrase` seals the copy's.
pub(super) fn back_up(
    store: &SqliteStore,
    (folder, keys): (&Path, &DeviceKeys),
    to: &Path,
    passphrase: Option<&str>,
) -> Result<u64, Refusal> {
    let sealed = super::folder::key_is_sealed(folder);
    let key = match (sealed, passphrase) {
        (true, _) => None,
        (false, Some(passphrase)) => Some(
            keyfile::seal_key(keys, passphrase, Some(super::folder::KEY_WORK_FACTOR))
                .map_err(|e| super::folder::key_refused(folder, &e))?,
        ),
        (false, None) => {
            return Err(Refusal::CopyUnsealed);
        }
    };
    let made = !to.exists();
    empty_folder(to)?;
    let copied = (|| {
        store.copy_to(&to.join(DATABASE))?;
        let copied_key = match &key {
            Some(sealed) => {
                super::folder::write_private(&to.join("key.new"), sealed.as_bytes()).map(|()| 0)
            }
            None => copy_file(&folder.join(KEY_FILE), &to.join("key.new")),
        };
        let bytes = copied_key
            .and_then(|_| copy_folder(&folder.join(BUNDLES), &to.join(BUNDLES)))
            .and_then(|bytes| fs::rename(to.join("key.new"), to.join(KEY_FILE)).map(|()| bytes))
            .and_then(|bytes| File::open(to)?.sync_all().map(|()| bytes))
            .map_err(|e| unusable(to, &e))?;
        let database = fs::metadata(to.join(DATABASE)).map_or(0, |file| file.len());
        Ok(bytes + database)
    })();
    if copied.is_err() && made {
        let _ = fs::remove_dir_all(to);
    }
    copied
}

/// Makes a phone in `to`, which must be new or empty, out of a copy. `secret` opens the copy's key,
/// if it is sealed, and seals the new one. Whatever happens on the way, `to` holds a whole phone or
/// none, and the copy stays as it is.
pub fn restore(from: &Path, to: &Path, secret: Option<String>) -> Result<Restored, Refusal> {
    if !from.join(KEY_FILE).is_file() || !from.join(DATABASE).is_file() {
        return Err(Refusal::NotABackup(from.display().to_string()));
    }
    if File::open(from.join("lock"))
        .is_ok_and(|lock| matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock)))
    {
        return Err(Refusal::BackupRuns(from.display().to_string()));
    }
    empty_folder(to)?;
    let draft = PathBuf::from(format!("{}.restoring", to.display()));
    match fs::remove_dir_all(&draft) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(unusable(&draft, &e)),
        Ok(()) | Err(_) => {}
    }
    let made = make(from, &draft, secret).and_then(|restored| {
        fs::remove_dir(to)
            .and_then(|()| fs::rename(&draft, to))
            .map_err(|e| unusable(to, &e))?;
        Ok(restored)
    });
    if made.is_err() {
        let _ = fs::remove_dir_all(&draft);
    }
    made
}

fn make(from: &Path, draft: &Path, secret: Option<String>) -> Result<Restored, Refusal> {
    let made = private_folder(draft);
    let copied = made
        .and_then(|()| copy_folder(&from.join(BUNDLES), &draft.join(BUNDLES)))
        .and_then(|_| {
            copy_file(&from.join(KEY_FILE), &draft.join(KEY_FILE))?;
            copy_file(&from.join(DATABASE), &draft.join(DATABASE))?;
            // What the copy of a folder by hand may have beside it.
            let log = format!("{DATABASE}-wal");
            if from.join(&log).is_file() {
                copy_file(&from.join(&log), &draft.join(&log)).map(drop)
            } else {
                Ok(())
            }
        });
    copied.map_err(|e| unusable(draft, &e))?;
    let folder = DataFolder::open(draft)?.with_secret(secret);
    let before = folder.keys()?;
    let mut store = SqliteStore::open(draft, &before)?;
    let after = new_keys()?;
    store.become_another(&before.id(), &after)?;
    folder.replace_key(&after)?;
    let (cases, unsent) = (store.cases()?.len(), store.outbox()?.len());
    Ok(Restored {
        from: before.id(),
        device: after.id(),
        cases,
        unsent,
    })
}

fn new_keys() -> Result<DeviceKeys, Refusal> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| Refusal::NoRandomness(e.to_string()))?;
    Ok(DeviceKeys::from_seed(seed))
}

/// Makes a folder, or finds it empty.
fn empty_folder(path: &Path) -> Result<(), Refusal> {
    fs::create_dir_all(path).map_err(|e| unusable(path, &e))?;
    match fs::read_dir(path).map_err(|e| unusable(path, &e))?.next() {
        None => Ok(()),
        Some(_) => Err(Refusal::FolderNotEmpty(path.display().to_string())),
    }
}

fn copy_file(from: &Path, to: &Path) -> std::io::Result<u64> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let mut file = fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(to)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    let bytes = std::io::copy(&mut super::folder::open_plain(from)?, &mut file)?;
    file.sync_all()?;
    Ok(bytes)
}

fn private_folder(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

/// Copies the files of a folder; one that is gone meanwhile (a bundle that made room) is left out.
fn copy_folder(from: &Path, to: &Path) -> std::io::Result<u64> {
    private_folder(to)?;
    let mut bytes = 0;
    for file in fs::read_dir(from)? {
        let file = file?;
        let kind = file.file_type()?;
        if kind.is_dir() && file.file_name() == "photos" {
            bytes += copy_folder(&file.path(), &to.join("photos"))?;
        }
        if !kind.is_file() {
            continue; // nothing of ours
        }
        match copy_file(&file.path(), &to.join(file.file_name())) {
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            copied => bytes += copied?,
        }
    }
    Ok(bytes)
}
