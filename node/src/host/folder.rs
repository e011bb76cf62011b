//! The data folder of one phone: its key, its lock, and where everything else lies.
//!
//! `key` secret, 0600 · `lock` held while a program uses the folder · `phone.sqlite` · `bundles/` · `control` how to reach the
//! running program

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use protocol::DeviceKeys;
use serde::{Deserialize, Serialize};

use crate::store::StoreError;

/// What went wrong, and what to do. Every error that a person sees has this form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{reason}")]
pub struct Failure {
    /// What went wrong.
    pub reason: String,
    /// What to do.
    pub hint: String,
    /// The program's exit code: 1 failed, 2 usage, 4 needs a key, 5 refused.
    pub code: u8,
    /// The folder is in use by a running program.
    #[serde(default)]
    pub locked: bool,
    /// The running program does not answer: it may have died, and can be asked again.
    #[serde(default)]
    pub gone: bool,
}

impl Failure {
    /// A failure with a hint.
    pub fn new(reason: impl ToString, hint: impl ToString) -> Self {
        Self { reason: reason.to_string(), hint: hint.to_string(), code: 1, locked: false, gone: false }
    }

    /// The same with another exit code.
    pub fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }
}

impl From<crate::agent::Refusal> for Failure {
    fn from(refusal: crate::agent::Refusal) -> Self {
        Self { reason: refusal.reason, hint: refusal.hint, code: 5, locked: false, gone: false }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let hint = match &error {
            StoreError::Full => "free some space and try again; nothing was lost",
            StoreError::ReadOnly(_) => "make the data folder writable, or choose another with --data",
            StoreError::Damaged(_) => "copy the data folder away, then ask your supervisor; nothing was changed",
            StoreError::Other(_) => "try again; nothing was changed",
        };
        Self::new(error, hint)
    }
}

/// A data folder that this program holds alone.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Opens or makes the folder and locks it.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        fs::create_dir_all(path.join("bundles")).map_err(|e| unusable(path, &e))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("lock"))
            .map_err(|e| unusable(path, &e))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => Err(Failure {
                locked: true,
                ..Failure::new(
                    format!("another kijiti is running on {}", path.display()),
                    "stop it first, or choose another data folder with --data",
                )
            }),
            Err(fs::TryLockError::Error(e)) => Err(unusable(path, &e)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The phone's keys; made on first use, before anything else is written.
    pub fn keys(&self) -> Result<DeviceKeys, Failure> {
        let path = self.path.join("key");
        match fs::read_to_string(&path) {
            Ok(text) => read_key(&text).ok_or_else(|| {
                Failure::new(
                    format!("the key file {} is damaged", path.display()),
                    "put it back from a copy; without it this phone must be enrolled anew in another data folder",
                )
                .with_code(4)
            }),
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let mut seed = [0; 32];
                getrandom::fill(&mut seed).map_err(|e| Failure::new(format!("no randomness: {e}"), "restart"))?;
                write_secret(&path, &data_hex(&seed)).map_err(|e| unusable(&self.path, &e))?;
                Ok(DeviceKeys::from_seed(seed))
            }
            Err(e) => Err(unusable(&self.path, &e)),
        }
    }
}

/// Reads a key file: 64 hexadecimal digits.
pub fn read_key(text: &str) -> Option<DeviceKeys> {
    text.trim().parse::<protocol::Digest>().ok().map(|seed| DeviceKeys::from_seed(seed.0))
}

/// A key as it stands in its file.
pub fn data_hex(seed: &[u8; 32]) -> String {
    format!("{}\n", protocol::Digest(*seed))
}

/// Writes a file that only its owner reads, whole or not at all.
pub fn write_secret(path: &Path, text: &str) -> std::io::Result<()> {
    let draft = path.with_extension("new");
    let _ = fs::remove_file(&draft);
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        Some(_) | None => File::open(".")?.sync_all(),
    }
}

/// What a person is told when the data folder cannot be written.
pub fn unusable(path: &Path, error: &std::io::Error) -> Failure {
    let shown = path.display();
    match error.kind() {
        ErrorKind::StorageFull => Failure::new("the disk is full", "free some space and try again; nothing was lost"),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Failure::new(
            format!("the data folder {shown} cannot be written"),
            "make it writable, or choose another with --data",
        ),
        _ => Failure::new(format!("the data folder {shown} cannot be used: {error}"), "choose another with --data"),
    }
}
