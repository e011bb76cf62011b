//! A phone's folder copied whole while it may be in use, and a copy made into a phone again.
//!
//! What comes out of a copy is another phone, with a key of its own: two phones with one key could
//! not be told apart, and the one that was lost could not be shut out without the other. It reads
//! what the copy's could read; it is certified anew before it is met, and then seals what its
//! forerunner had not given away yet.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;

use protocol::{DeviceId, DeviceKeys, Digest};
use serde::{Deserialize, Serialize};

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
    /// Photos and releases of the copy that are damaged or gone: they come again at a meeting with whoever has them.
    #[serde(default)]
    pub missing: usize,
}

/// What a copy says of itself, in the file [`MANIFEST`]: what was written is what is read.
#[derive(Serialize, Deserialize)]
struct Manifest {
    schema: String,
    /// The phone of which it is a copy.
    device: DeviceId,
    /// Its key and its store. While a copy is written anew, both the old file and the new one of a name.
    files: Vec<Written>,
    /// Its photos and releases, each called after what it holds.
    #[serde(default)]
    bundles: Vec<String>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Written {
    file: String,
    bytes: u64,
    digest: Digest,
}

/// What the files of a copy are called until they are whole.
const NEW_STORE: &str = "phone.sqlite.new";
const NEW_KEY: &str = "key.new";
const MANIFEST: &str = "backup";
const SCHEMA: &str = "kijiti.backup-files/1";
/// Where a restored phone is made, within its folder, until it is whole.
const RESTORING: &str = ".restoring";
/// What a card has of its own, of which nobody's data is.
const CARDS_OWN: [&str; 7] = [
    "lost+found",
    "LOST.DIR",
    "System Volume Information",
    ".Trashes",
    ".Trash-0",
    ".Trash-1000",
    ".fseventsd",
];

impl Manifest {
    fn of(folder: &Path) -> Option<Self> {
        let mut text = String::new();
        let file = super::folder::open_plain(&folder.join(MANIFEST)).ok()?;
        file.take(MANIFEST_BYTES_MAX)
            .read_to_string(&mut text)
            .ok()?;
        let read: Self = serde_json::from_str(&text).ok()?;
        (read.schema == SCHEMA).then_some(read)
    }

    fn write(&self, folder: &Path) -> std::io::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        super::folder::write_secret(&folder.join(MANIFEST), &text)
    }

    /// Whether a file is as it was written.
    fn holds(&self, folder: &Path, file: &str) -> bool {
        let mut found = Written::of(folder, file, file).into_iter();
        found.any(|found| {
            let mut same = self.files.iter().filter(|written| written.file == file);
            same.any(|written| (written.bytes, written.digest) == (found.bytes, found.digest))
        })
    }
}

const MANIFEST_BYTES_MAX: u64 = 8 << 20;

impl Written {
    /// The file `there`, as it will be called.
    fn of(folder: &Path, there: &str, called: &str) -> std::io::Result<Self> {
        let mut file = super::folder::open_plain(&folder.join(there))?;
        Ok(Self {
            file: called.to_owned(),
            bytes: file.metadata()?.len(),
            digest: Digest::of_reader(&mut file)?,
        })
    }
}

/// Copies a phone's folder to `to`: new, empty, or an earlier copy of the same phone, which stays whole
/// until the new one is. No copy leaves the phone in clear: where the phone's own key is not sealed,
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
    let earlier = Manifest::of(to).filter(|earlier| earlier.device == keys.id());
    if earlier.is_none() {
        if is_cut_off(to) {
            take_away(to);
        }
        empty_folder(to).map_err(as_card)?;
    }
    let _ = fs::remove_file(to.join(NEW_STORE));
    let written = (|| {
        store.copy_to(&to.join(NEW_STORE))?;
        let copied_key = match &key {
            Some(sealed) => {
                super::folder::write_private(&to.join(NEW_KEY), sealed.as_bytes()).map(|()| 0)
            }
            None => copy_file(&folder.join(KEY_FILE), &to.join(NEW_KEY)),
        };
        let replaced = copied_key
            .and_then(|_| copy_folder(&folder.join(BUNDLES), &to.join(BUNDLES)))
            .and_then(|bytes| {
                keep_only(&folder.join(BUNDLES), &to.join(BUNDLES));
                replace(to, keys.id(), earlier.as_ref())?;
                Ok(bytes)
            });
        let bytes = replaced.map_err(|e| as_card(unusable(to, &e)))?;
        let database = fs::metadata(to.join(DATABASE)).map_or(0, |file| file.len());
        Ok(bytes + database)
    })();
    if written.is_err() {
        match (made, &earlier) {
            (true, _) => {
                take_away(to);
                let _ = fs::remove_dir(to);
            }
            (false, Some(_)) => {
                let _ = fs::remove_file(to.join(NEW_STORE));
                let _ = fs::remove_file(to.join(NEW_KEY));
            }
            (false, None) => take_away(to),
        }
    }
    written
}

/// Gives the new files their names. Meanwhile the copy says that either is right, the old or the new one: pulled
/// out at any moment, it is whole.
fn replace(to: &Path, device: DeviceId, earlier: Option<&Manifest>) -> std::io::Result<()> {
    let new = [
        Written::of(to, NEW_STORE, DATABASE)?,
        Written::of(to, NEW_KEY, KEY_FILE)?,
    ];
    let mut manifest = Manifest {
        schema: SCHEMA.to_owned(),
        device,
        files: new.to_vec(),
        bundles: bundles_of(to),
    };
    if let Some(earlier) = earlier {
        manifest.files.extend(earlier.files.iter().cloned());
    }
    manifest.write(to)?;
    fs::rename(to.join(NEW_STORE), to.join(DATABASE))?;
    fs::rename(to.join(NEW_KEY), to.join(KEY_FILE))?;
    manifest.files = new.to_vec();
    manifest.write(to)
}

/// Photos and releases in a folder, by their place in it.
fn bundles_of(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for within in [BUNDLES.to_owned(), format!("{BUNDLES}/photos")] {
        let files = fs::read_dir(folder.join(&within))
            .into_iter()
            .flatten()
            .flatten();
        let names = files.filter_map(|file| file.file_name().into_string().ok());
        let whole = names.filter(|name| name.parse::<Digest>().is_ok());
        found.extend(whole.map(|name| format!("{within}/{name}")));
    }
    found.sort();
    found
}

/// Whether a folder is a copy, which is looked at by making a phone of it and by nothing else: to look would
/// change it.
pub(super) fn is_copy(folder: &Path) -> bool {
    Manifest::of(folder).is_some()
}

/// What a copy that was cut off has left, and nothing else. Its store comes first, under a name that is
/// nobody else's: a folder that holds only `bundles`, or a file called `backup`, may be anybody's.
fn is_cut_off(folder: &Path) -> bool {
    const OURS: [&str; 5] = [
        BUNDLES,
        NEW_STORE,
        NEW_KEY,
        "phone.sqlite.new-journal",
        "backup.new",
    ];
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files = files.filter(|file| !CARDS_OWN.iter().any(|own| file.file_name() == *own));
    folder.join(NEW_STORE).is_file()
        && files.all(|file| OURS.iter().any(|ours| file.file_name() == *ours))
}

/// The folder of a copy is no data folder: what is wrong with it is said as of a card.
fn as_card(refusal: Refusal) -> Refusal {
    if let Refusal::Folder(path, trouble) = refusal {
        return Refusal::Card(path, trouble);
    }
    refusal
}

/// Takes away of a copy's bundles those that the phone has no more.
fn keep_only(here: &Path, copied: &Path) {
    for (here, copied) in [
        (here.to_owned(), copied.to_owned()),
        (here.join("photos"), copied.join("photos")),
    ] {
        for file in fs::read_dir(&copied).into_iter().flatten().flatten() {
            if !here.join(file.file_name()).exists() {
                let _ = fs::remove_file(file.path());
            }
        }
    }
}

/// Takes away what a copy, or a restored phone, consists of.
fn take_away(folder: &Path) {
    for file in [
        KEY_FILE,
        DATABASE,
        MANIFEST,
        "phone.sqlite-wal",
        "phone.sqlite-shm",
        "begun",
        "lock",
        NEW_KEY,
        NEW_STORE,
        "phone.sqlite.new-journal",
        "backup.new",
    ] {
        let _ = fs::remove_file(folder.join(file));
    }
    for within in [BUNDLES, RESTORING] {
        let _ = fs::remove_dir_all(folder.join(within));
    }
}

/// Makes a phone in `to`, which must be new or empty, out of a copy. `secret` opens the copy's key,
/// if it is sealed, and seals the new one. Whatever happens on the way, `to` holds a whole phone or
/// none, and the copy stays as it is. `to` may be a card itself, a link to a folder, or where one stands:
/// nothing is made beside it.
pub fn restore(from: &Path, to: &Path, secret: Option<String>) -> Result<Restored, Refusal> {
    let shown = || from.display().to_string();
    if !from.join(KEY_FILE).is_file() || !from.join(DATABASE).is_file() {
        return Err(Refusal::NotABackup(shown()));
    }
    if File::open(from.join("lock"))
        .is_ok_and(|lock| matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock)))
    {
        return Err(Refusal::BackupRuns(shown()));
    }
    let manifest = Manifest::of(from);
    let whole = |file: &str| manifest.as_ref().is_none_or(|m| m.holds(from, file));
    for file in [KEY_FILE, DATABASE] {
        // SQLite takes a file that is shorter than its header for a new one.
        let least = if file == DATABASE { 512 } else { 1 };
        let empty = fs::metadata(from.join(file)).map_or(true, |there| there.len() < least);
        if empty || !whole(file) {
            return Err(Refusal::BackupDamaged(shown(), file.to_owned()));
        }
    }
    let said = from.join(MANIFEST).exists() || super::sqlite::is_copy(&from.join(DATABASE));
    if manifest.is_none() && said {
        return Err(Refusal::BackupDamaged(shown(), MANIFEST.to_owned()));
    }
    let (made, draft) = (!to.exists(), to.join(RESTORING));
    fs::create_dir_all(to).map_err(|e| unusable(to, &e))?;
    // One at a time: whoever comes second finds a phone there.
    let _alone = super::folder::hold(to, || {}).map_err(|e| unusable(to, &e))?;
    if draft.is_dir() && !to.join(KEY_FILE).exists() {
        take_away(to); // what was cut off the last time
    }
    empty_folder(to)?;
    let restored = make(from, &draft, secret).and_then(|mut restored| {
        let wanted = manifest.iter().flat_map(|manifest| &manifest.bundles);
        restored.missing = wanted.filter(|file| !draft.join(file).is_file()).count();
        move_up(&draft, to).map_err(|e| unusable(to, &e))?;
        Ok(restored)
    });
    if restored.is_err() {
        take_away(to);
        if made {
            let _ = fs::remove_dir(to);
        }
    }
    restored
}

/// Puts what was made into its place; the key comes last: without it, it is no phone.
fn move_up(draft: &Path, to: &Path) -> std::io::Result<()> {
    private_folder(to)?;
    for file in fs::read_dir(draft)? {
        let name = file?.file_name();
        if name != KEY_FILE {
            fs::rename(draft.join(&name), to.join(&name))?;
        }
    }
    fs::rename(draft.join(KEY_FILE), to.join(KEY_FILE))?;
    fs::remove_dir(draft)?;
    File::open(to)?.sync_all()
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
    let before = folder.keys().map_err(|refusal| {
        // The copy's key is meant, by whatever name it lies here meanwhile.
        let copied = from.join(KEY_FILE).display().to_string();
        if let Refusal::KeyWrongSecret(_) = refusal {
            return Refusal::KeyWrongSecret(copied);
        }
        refusal
    })?;
    let damaged = || Refusal::BackupDamaged(from.display().to_string(), DATABASE.to_owned());
    let mut store = SqliteStore::open(draft, &before)?;
    if !store.is_sound() {
        return Err(damaged());
    }
    let after = new_keys()?;
    store.become_another(&before.id(), &after)?;
    folder.replace_key(&after)?;
    let (cases, unsent) = (store.cases()?.len(), store.outbox()?.len());
    Ok(Restored {
        from: before.id(),
        device: after.id(),
        cases,
        unsent,
        missing: 0,
    })
}

pub(super) fn new_keys() -> Result<DeviceKeys, Refusal> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| Refusal::NoRandomness(e.to_string()))?;
    Ok(DeviceKeys::from_seed(seed))
}

/// Makes a folder, or finds it empty but for what every card has.
fn empty_folder(path: &Path) -> Result<(), Refusal> {
    fs::create_dir_all(path).map_err(|e| unusable(path, &e))?;
    let found = fs::read_dir(path).map_err(|e| unusable(path, &e))?;
    let mut others = found
        .flatten()
        .filter(|file| !CARDS_OWN.iter().any(|own| file.file_name() == *own));
    match others.next() {
        None => Ok(()),
        Some(_) => Err(Refusal::FolderNotEmpty(path.display().to_string())),
    }
}

pub(super) fn copy_file(from: &Path, to: &Path) -> std::io::Result<u64> {
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

pub(super) fn private_folder(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

/// Copies the files of a folder; one that is gone meanwhile (a bundle that made room) is left out, and so is
/// one that does not hold what its name says: that is fetched anew.
fn copy_folder(from: &Path, to: &Path) -> std::io::Result<u64> {
    private_folder(to)?;
    let mut bytes = 0;
    let found = match fs::read_dir(from) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(0),
        found => found?,
    };
    for file in found {
        let file = file?;
        let kind = file.file_type()?;
        if kind.is_dir() && file.file_name() == "photos" {
            bytes += copy_folder(&file.path(), &to.join("photos"))?;
        }
        if !kind.is_file() {
            continue; // nothing of ours
        }
        let copied = to.join(file.file_name());
        let digest = file.file_name().to_str().and_then(|name| name.parse().ok());
        let whole = |digest: &Digest| {
            let length = file.metadata().map_or(0, |there| there.len());
            super::links::folder::holds(&copied, digest, length)
        };
        if digest.as_ref().is_some_and(whole) {
            continue; // an earlier copy has it
        }
        match copy_file(&file.path(), &copied) {
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            written => {
                let written = written?;
                match digest.as_ref().is_none_or(whole) {
                    true => bytes += written,
                    false => fs::remove_file(&copied)?,
                }
            }
        }
    }
    Ok(bytes)
}
