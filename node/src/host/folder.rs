//! The data folder of one phone: its key, its lock, and where everything else lies.
//!
//! `key` secret, 0600, or sealed with a passphrase · `lock` held while a program uses the folder ·
//! `phone.sqlite`, and `begun` once it is there · `bundles/` · `control` how to reach the running
//! program

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use protocol::DeviceKeys;

use super::sqlite::DATABASE;
use crate::api::{Refusal, Trouble};
use keyfile::{KeyFileError, is_sealed, open_text, read_open};

/// The file of the phone's key.
pub(super) const KEY_FILE: &str = "key";

/// A data folder that this program holds alone.
pub struct DataFolder {
    path: PathBuf,
    secret: Option<String>,
    _lock: File,
}

/// Prints where it is, not what opens it.
impl std::fmt::Debug for DataFolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DataFolder({})", self.path.display())
    }
}

impl DataFolder {
    /// Opens or makes the folder and locks it.
    pub fn open(path: &Path) -> Result<Self, Refusal> {
        if super::backup::is_copy(path) {
            return Err(Refusal::IsABackup(path.display().to_string()));
        }
        let ours = !path.exists()
            || path.join(KEY_FILE).exists()
            || fs::read_dir(path).is_ok_and(|mut d| d.next().is_none());
        if is_begun(path) {
            set_right(path);
        }
        fs::create_dir_all(path.join("bundles")).map_err(|e| unusable(path, &e))?;
        if ours {
            keep_private(path);
        }
        let lock = path.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock)
            .map_err(|e| unusable(path, &e))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                secret: None,
                _lock: lock,
            }),
            Err(fs::TryLockError::WouldBlock) => Err(Refusal::InUse(path.display().to_string())),
            Err(fs::TryLockError::Error(e)) => Err(unusable(path, &e)),
        }
    }

    /// The same, once whoever uses it for a moment has done: a command, or a phone that is just starting or
    /// ending.
    pub fn open_waiting(path: &Path) -> Result<Self, Refusal> {
        let until = std::time::Instant::now() + super::FOLDER_TIMEOUT;
        loop {
            match Self::open(path) {
                // A phone that runs has a door; nobody waits for it to end.
                Err(Refusal::InUse(_))
                    if !path.join("control").exists() && std::time::Instant::now() < until =>
                {
                    std::thread::sleep(super::FOLDER_PAUSE);
                }
                opened => return opened,
            }
        }
    }

    /// Whether the key in a folder is sealed; `None`: there is none.
    pub fn key_is_sealed(path: &Path) -> Option<bool> {
        fs::read(path.join(KEY_FILE))
            .ok()
            .map(|file| is_sealed(&file))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same, with what unseals the key: a passphrase, or a secret of the platform's keystore.
    pub fn with_secret(mut self, secret: Option<String>) -> Self {
        self.secret = secret;
        self
    }

    /// The phone's keys; made on first use, before anything else is written. A sealed file is
    /// opened with the secret that was given, or the passphrase in the environment.
    pub fn keys(&self) -> Result<DeviceKeys, Refusal> {
        let path = self.path.join(KEY_FILE);
        match fs::read(&path) {
            Ok(file) if is_sealed(&file) => {
                match self
                    .secret
                    .clone()
                    .or_else(|| std::env::var(PASSPHRASE_VARIABLE).ok())
                {
                    Some(secret) => {
                        keyfile::open_key(&file, &secret).map_err(|e| key_refused(&path, &e))
                    }
                    None => Err(Refusal::KeySealed),
                }
            }
            Ok(file) => read_open(&String::from_utf8_lossy(&file))
                .ok_or_else(|| Refusal::KeyDamaged(path.display().to_string())),
            Err(_) if path.is_dir() => Err(Refusal::KeyDamaged(path.display().to_string())),
            Err(e) if e.kind() == ErrorKind::NotFound && is_begun(&self.path) => {
                Err(Refusal::KeyMissing(self.path.display().to_string()))
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let mut seed = [0; 32];
                getrandom::fill(&mut seed).map_err(|e| Refusal::NoRandomness(e.to_string()))?;
                let keys = DeviceKeys::from_seed(seed);
                self.write_key(&keys, self.secret.as_deref())?;
                Ok(keys)
            }
            Err(e) => Err(unusable(&self.path, &e)),
        }
    }

    /// Seals the key file with another secret, or leaves it open.
    pub fn seal_with(&self, secret: Option<&str>) -> Result<(), Refusal> {
        self.write_key(&self.keys()?, secret)
    }

    /// Puts another key in the place of the one that is there, sealed as that was.
    pub(super) fn replace_key(&self, keys: &DeviceKeys) -> Result<(), Refusal> {
        let secret = self
            .secret
            .clone()
            .or_else(|| std::env::var(PASSPHRASE_VARIABLE).ok());
        let sealed = key_is_sealed(&self.path);
        self.write_key(keys, secret.as_deref().filter(|_| sealed))
    }

    fn write_key(&self, keys: &DeviceKeys, secret: Option<&str>) -> Result<(), Refusal> {
        let text = match secret {
            Some(secret) => keyfile::seal_key(keys, secret, Some(KEY_WORK_FACTOR))
                .map_err(|e| key_refused(&self.path, &e))?,
            None => open_text(keys.seed()),
        };
        write_secret(&self.path.join(KEY_FILE), &text).map_err(|e| unusable(&self.path, &e))
    }
}

/// Puts aside what a bad disk, or its repair, has put in the place of something that can be made anew: a folder
/// for a file, or a file for a folder.
fn set_right(path: &Path) {
    const PARTS: [(&str, bool); 7] = [
        ("bundles", true),
        ("mirror", true),
        ("lock", false),
        ("control", false),
        ("phone.sqlite-journal", false),
        ("phone.sqlite-wal", false),
        ("phone.sqlite-shm", false),
    ];
    for (name, is_folder) in PARTS {
        let there = path.join(name);
        // A link is somebody's doing: to a card, perhaps, that is not in.
        let wrong = |kind: fs::Metadata| !kind.is_symlink() && kind.is_dir() != is_folder;
        if there.symlink_metadata().is_ok_and(wrong) {
            let aside = (1..100)
                .map(|n| path.join(format!("{name}.aside-{n}")))
                .find(|aside| !aside.exists());
            let _ = aside.map(|aside| fs::rename(&there, aside));
        }
    }
}

/// Nobody but its owner reads a phone's folder, whatever the umask was when its files were made.
fn keep_private(path: &Path) {
    let tighten = |path: &Path, mode: u32| {
        let open = fs::metadata(path).is_ok_and(|there| there.permissions().mode() & 0o077 != 0);
        if open {
            let _ = fs::set_permissions(path, fs::Permissions::from_mode(mode));
        }
    };
    for folder in [
        path.to_owned(),
        path.join("bundles"),
        path.join("bundles/photos"),
    ] {
        tighten(&folder, 0o700);
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                tighten(&entry.path(), 0o600);
            }
        }
    }
}

/// Holds a folder for as long as what is given back lives, so that programs of this machine that write there
/// take turns; `waits` is called where another one holds it.
pub fn hold(folder: &Path, waits: impl FnOnce()) -> std::io::Result<File> {
    let held = File::open(folder)?;
    match held.try_lock() {
        Err(fs::TryLockError::WouldBlock) => {
            waits();
            held.lock()?;
        }
        // Some file systems lock nothing; they are written to all the same.
        Ok(()) | Err(fs::TryLockError::Error(_)) => {}
    }
    Ok(held)
}

/// Opens a plain file for reading; anything else (a pipe, a device, a folder) could keep the phone
/// waiting for ever, or be without end.
pub fn open_plain(path: &Path) -> std::io::Result<File> {
    if !fs::metadata(path)?.is_file() {
        return Err(std::io::Error::new(
            ErrorKind::InvalidInput,
            "it is no plain file",
        ));
    }
    File::open(path)
}

/// Writes a file that only its owner reads, where there is nothing yet or a plain file.
pub fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return Err(std::io::Error::new(
            ErrorKind::InvalidInput,
            "something that is no plain file is there",
        ));
    }
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(bytes)
}

/// log2 of scrypt's cost for a phone's key: about half a second on an A53, 64 MB of memory.
pub(super) const KEY_WORK_FACTOR: u8 = 16;

/// Whether a phone lives in a folder: it has a key, or had one.
pub fn is_begun(folder: &Path) -> bool {
    [KEY_FILE, DATABASE, "begun"]
        .iter()
        .any(|file| folder.join(file).try_exists().unwrap_or(true))
}

/// Whether the key of a data folder is sealed.
pub fn key_is_sealed(folder: &Path) -> bool {
    fs::read(folder.join(KEY_FILE)).is_ok_and(|file| is_sealed(&file))
}

/// Where the passphrase of a phone's key comes from when nobody can be asked.
pub const PASSPHRASE_VARIABLE: &str = "KIJITI_PASSPHRASE";

/// Why a key file does not open, or is not sealed.
pub(super) fn key_refused(path: &Path, error: &KeyFileError) -> Refusal {
    let shown = path.display().to_string();
    match error {
        KeyFileError::WrongPassphrase => Refusal::KeyWrongSecret(shown),
        KeyFileError::Malformed => Refusal::KeyDamaged(shown),
        KeyFileError::NotSealed(why) => Refusal::KeyNotSealed(why.clone()),
    }
}

/// Writes a file that only its owner reads, whole or not at all.
pub fn write_secret(path: &Path, text: &str) -> std::io::Result<()> {
    let draft = path.with_extension("new");
    let _ = fs::remove_file(&draft);
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        Some(_) | None => File::open(".")?.sync_all(),
    }
}

/// Why the data folder cannot be used.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "none of the others is meant"
)]
pub fn unusable(path: &Path, error: &std::io::Error) -> Refusal {
    let trouble = match error.kind() {
        ErrorKind::StorageFull => Trouble::Full,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            Trouble::ReadOnly(error.to_string())
        }
        _ => Trouble::Other(error.to_string()),
    };
    Refusal::Folder(path.display().to_string(), trouble)
}
