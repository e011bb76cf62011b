//! A folder, an SD card, a stick as a link: whole files of sealed things, named after what they hold, so
//! that couriers who write into one folder never write over each other, and a card that is pulled out
//! leaves what was there and at most one file that nobody takes for anything.
//!
//! `kijiti/cases/*.kijiti` parcels (`sync/src/parcel.rs`) · `kijiti/photos/DIGEST` sealed photos ·
//! `kijiti/bundles/DIGEST` releases and deltas · `*.part` what is being written

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use protocol::Digest;
use protocol::limits::{FOLDER_FILES_MAX, PARCEL_BYTES_MAX};
use sync::parcel::{SUFFIX, named_like_one};

use super::super::folder::open_plain;
use crate::api::views::carry::{PassedOver, Why};
use crate::api::{Refusal, Trouble};

/// The longest file that FAT32 holds.
pub const FILE_BYTES_MAX: u64 = u32::MAX as u64;

/// Where what kind of file lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shelf {
    /// Parcels.
    Cases,
    /// Sealed photos.
    Photos,
    /// Releases and deltas.
    Bundles,
}

impl Shelf {
    fn name(self) -> &'static str {
        match self {
            Self::Cases => "cases",
            Self::Photos => "photos",
            Self::Bundles => "bundles",
        }
    }
}

/// A folder, or one file that came as an attachment.
pub struct Card {
    /// As a person named it.
    path: PathBuf,
    /// What this phone's unfinished file is called, so that each courier leaves one at most.
    draft: String,
}

/// Why a folder or card cannot be used.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "none of the others is meant"
)]
fn unusable(path: &Path, error: &io::Error) -> Refusal {
    let trouble = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Trouble::Full,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            Trouble::ReadOnly(error.to_string())
        }
        _ => Trouble::Other(error.to_string()),
    };
    Refusal::Card(path.display().to_string(), trouble)
}

impl Card {
    /// Opens a folder that is there, or a single file.
    pub fn open(path: &Path, draft: &[u8; 4]) -> Result<Self, Refusal> {
        fs::metadata(path).map_err(|e| unusable(path, &e))?;
        let digits: String = draft.iter().map(|b| format!("{b:02x}")).collect();
        Ok(Self {
            path: path.to_owned(),
            draft: format!("{digits}.part"),
        })
    }

    /// Makes the folders that are written into.
    pub fn prepare(&self) -> Result<(), Refusal> {
        if self.path.is_file() {
            let wanted = io::Error::new(ErrorKind::NotADirectory, "it is a file, not a folder");
            return Err(unusable(&self.path, &wanted));
        }
        for shelf in [Shelf::Cases, Shelf::Photos, Shelf::Bundles] {
            let folder = self.folder(shelf);
            fs::create_dir_all(&folder).map_err(|e| unusable(&self.path, &e))?;
            let _ = fs::remove_file(folder.join(&self.draft)); // what a pulled card left of ours
        }
        Ok(())
    }

    fn folder(&self, shelf: Shelf) -> PathBuf {
        self.path.join("kijiti").join(shelf.name())
    }

    /// The file of a name on a shelf.
    pub fn file(&self, shelf: Shelf, name: &str) -> PathBuf {
        self.folder(shelf).join(name)
    }

    /// Parcels: those on their shelf, those that lie in the folder itself as attachments do once they
    /// are saved, or the one file. In the order of their names; some are passed over.
    pub fn parcels(&self, passed: &mut Vec<PassedOver>) -> Result<Vec<PathBuf>, Refusal> {
        if self.path.is_file() {
            return Ok(vec![self.path.clone()]);
        }
        let on_shelf = list(&self.folder(Shelf::Cases));
        let beside = list(&self.path).map_err(|e| unusable(&self.path, &e))?;
        let mut found = Vec::new();
        for path in on_shelf.unwrap_or_default().into_iter().chain(beside) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.ends_with(SUFFIX) && found.len() < FOLDER_FILES_MAX {
                found.push(path);
            } else if path.parent().is_some_and(|p| p.ends_with("cases"))
                && !name.ends_with(".part")
            {
                passed.push(PassedOver::of(&path, Why::NotAParcel));
            }
        }
        Ok(found)
    }

    /// Files of a shelf that are called by a digest.
    pub fn by_digest(&self, shelf: Shelf) -> Vec<(Digest, PathBuf)> {
        let files = list(&self.folder(shelf)).unwrap_or_default().into_iter();
        let named = |path: PathBuf| {
            let digest = path.file_name()?.to_str()?.parse().ok()?;
            Some((digest, path))
        };
        files.take(FOLDER_FILES_MAX).filter_map(named).collect()
    }

    /// Puts a file there whole, or not at all: what was there under its name before stays until then.
    pub fn put(&self, shelf: Shelf, name: &str, bytes: &mut dyn Read) -> Result<u64, Refusal> {
        let folder = self.folder(shelf);
        let draft = folder.join(&self.draft);
        let written = (|| {
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .open(&draft)?;
            let mut buffer = vec![0; 1 << 17];
            let mut written = 0;
            loop {
                let read = bytes.read(&mut buffer)?;
                if read == 0 {
                    break;
                }
                file.write_all(buffer.get(..read).unwrap_or_default())?;
                written += read as u64;
            }
            file.sync_all()?;
            drop(file);
            fs::rename(&draft, folder.join(name))?;
            File::open(&folder)?.sync_all()?;
            Ok(written)
        })();
        if written.is_err() {
            let _ = fs::remove_file(&draft);
        }
        written.map_err(|e| unusable(&self.path, &e))
    }
}

/// The plain files of a folder, by name.
fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files: Vec<_> = fs::read_dir(folder)?
        .flatten()
        .filter(|entry| !entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect();
    files.sort();
    Ok(files)
}

/// The bytes of what may be a parcel.
pub fn read_parcel(path: &Path) -> Result<Vec<u8>, Why> {
    let unreadable = |e: io::Error| Why::Unreadable(e.to_string());
    let file = open_plain(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    let read = file.take(PARCEL_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(unreadable)?;
    match bytes.len() as u64 > PARCEL_BYTES_MAX {
        true => Err(Why::TooLong),
        false => Ok(bytes),
    }
}

/// Whether a file is there with these bytes and this digest.
pub fn holds(path: &Path, digest: &Digest, bytes: u64) -> bool {
    let Ok(mut file) = open_plain(path) else {
        return false;
    };
    let long = file.metadata().is_ok_and(|there| there.len() == bytes);
    long && Digest::of_reader(&mut file).is_ok_and(|found| found == *digest)
}

/// Whether a file on the shelf of parcels has the name that one of ours gives it; attachments are
/// renamed by whatever app carried them.
pub fn is_ours(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    named_like_one(&name)
}
