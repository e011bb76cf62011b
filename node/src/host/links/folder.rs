//! A folder, an SD card, a stick as a link: whole files of sealed things, named after what they hold, so
//! that couriers who write into one folder never write over each other, and a card that is pulled out
//! leaves what was there and at most one file that nobody takes for anything.
//!
//! `kijiti/cases/*.kijiti` parcels (`sync/src/parcel.rs`) · `kijiti/photos/DIGEST` sealed photos ·
//! `kijiti/bundles/DIGEST` releases and deltas · `*.part` what is being written

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::Digest;
use protocol::limits::{FOLDER_FILES_MAX, PARCEL_BYTES_MAX};
use sync::parcel::{MAGIC, SUFFIX};

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
    const ALL: [Self; 3] = [Self::Cases, Self::Photos, Self::Bundles];

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
    /// What this phone's unfinished file is called this time.
    draft: String,
    /// See [`Card::loose`]: it is read through once.
    loose: OnceCell<Option<Digest>>,
}

/// Why a folder or card cannot be used.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "none of the others is meant"
)]
pub fn unusable(path: &Path, error: &io::Error) -> Refusal {
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
    pub fn open(path: &Path) -> Result<Self, Refusal> {
        fs::metadata(path).map_err(|e| unusable(path, &e))?;
        // Who names the folder within the card means the card.
        let shelves = path.ends_with("kijiti") && !path.join("kijiti").exists();
        let within = [Shelf::Cases, Shelf::Bundles].map(|shelf| path.join(shelf.name()));
        let path = match path.parent() {
            Some(card) if shelves && within.iter().any(|shelf| shelf.is_dir()) => card,
            Some(_) | None => path,
        };
        let mut draft = [0; 8];
        getrandom::fill(&mut draft).map_err(|e| Refusal::NoRandomness(e.to_string()))?;
        let digits: String = draft.iter().map(|b| format!("{b:02x}")).collect();
        Ok(Self {
            path: path.to_owned(),
            draft: format!("{digits}.part"),
            loose: OnceCell::new(),
        })
    }

    /// Makes the folders that are written into.
    pub fn prepare(&self) -> Result<(), Refusal> {
        if self.path.is_file() {
            let wanted = io::Error::new(ErrorKind::NotADirectory, "it is a file, not a folder");
            return Err(unusable(&self.path, &wanted));
        }
        make_for_all(&self.path.join("kijiti")).map_err(|e| unusable(&self.path, &e))?;
        for shelf in Shelf::ALL {
            let folder = self.folder(shelf);
            if self.leads_elsewhere(shelf) {
                let link = io::Error::other(format!("{} is a link", folder.display()));
                return Err(unusable(&self.path, &link));
            }
            make_for_all(&folder).map_err(|e| unusable(&self.path, &e))?;
            sweep(&folder); // what pulled cards left
        }
        Ok(())
    }

    /// A shelf that is a link leads to somebody's other files: nothing is read, written or swept there.
    fn leads_elsewhere(&self, shelf: Shelf) -> bool {
        self.path.join("kijiti").is_symlink() || self.folder(shelf).is_symlink()
    }

    /// Shelves that are there and cannot be read, and those that lead elsewhere, are told.
    fn tell_shut(&self, passed: &mut Vec<PassedOver>) {
        for shelf in Shelf::ALL {
            let folder = self.folder(shelf);
            match fs::read_dir(&folder) {
                Ok(_) if self.leads_elsewhere(shelf) => pass_over(passed, &folder, Why::InTheWay),
                Err(e) if e.kind() != ErrorKind::NotFound => {
                    pass_over(passed, &folder, Why::Unreadable(e.to_string()));
                }
                Ok(_) | Err(_) => {}
            }
        }
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
            let release = self.loose().is_some();
            return Ok(if release {
                vec![]
            } else {
                vec![self.path.clone()]
            });
        }
        self.tell_shut(passed);
        let on_shelf = match self.leads_elsewhere(Shelf::Cases) {
            true => Ok(Vec::new()),
            false => list(&self.folder(Shelf::Cases)),
        };
        let beside = list(&self.path).map_err(|e| unusable(&self.path, &e))?;
        let mut found = Vec::new();
        for path in on_shelf.unwrap_or_default().into_iter().chain(beside) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let on_shelf = path.parent().is_some_and(|p| p.ends_with("kijiti/cases"));
            // Message apps and spreadsheets of names call it `X.KIJITI`, `x.kijiti.bin`, `x.kijiti (1)`.
            if !name.to_lowercase().contains(SUFFIX) || name.ends_with(".part") {
                if on_shelf && !name.ends_with(".part") {
                    pass_over(passed, &path, Why::NotAParcel);
                }
                continue;
            }
            // Only what begins as one counts, so that a heap of other files hides none.
            match begins_as_one(&path) {
                Ok(true) if found.len() < FOLDER_FILES_MAX => found.push(path),
                Ok(true) => pass_over(passed, &path, Why::TooMany),
                Ok(false) => pass_over(passed, &path, Why::NotAParcel),
                Err(why) => pass_over(passed, &path, why),
            }
        }
        Ok(found)
    }

    /// Files of a shelf that are called by a digest, and such files that lie in the folder itself, as
    /// attachments do; of a single file, whatever it is called.
    pub fn by_digest(&self, shelf: Shelf) -> BTreeMap<Digest, PathBuf> {
        if let Some((digest, path)) = self.loose() {
            return BTreeMap::from([(digest, path)]);
        }
        let on_shelf = match self.leads_elsewhere(shelf) {
            true => Vec::new(),
            false => list(&self.folder(shelf)).unwrap_or_default(),
        };
        let beside = list(&self.path).unwrap_or_default();
        let named = |path: PathBuf| {
            let digest = path.file_name()?.to_str()?.parse().ok()?;
            Some((digest, path))
        };
        let beside = beside.into_iter().filter_map(named);
        let on_shelf = on_shelf.into_iter().filter_map(named);
        beside.chain(on_shelf).take(FOLDER_FILES_MAX).collect()
    }

    /// A single file that is no parcel: a release or a photo, perhaps.
    pub fn loose(&self) -> Option<(Digest, PathBuf)> {
        let digest = self.loose.get_or_init(|| {
            let other = self.path.is_file() && begins_as_one(&self.path) == Ok(false);
            let mut file = open_plain(&self.path).ok().filter(|_| other)?;
            Digest::of_reader(&mut file).ok()
        });
        digest.map(|digest| (digest, self.path.clone()))
    }

    /// Puts a file there whole, or not at all: what was there under its name before stays until then.
    pub fn put(&self, shelf: Shelf, name: &str, bytes: &mut dyn Read) -> Result<u64, Refusal> {
        put_whole(&self.folder(shelf), (name, &self.draft), bytes)
            .map_err(|e| unusable(&self.path, &e))
    }
}

/// Puts a file into a folder whole, or not at all, by way of a draft beside it.
pub fn put_whole(
    folder: &Path,
    (name, draft): (&str, &str),
    bytes: &mut dyn Read,
) -> io::Result<u64> {
    let draft = folder.join(draft);
    let written = (|| {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .open(&draft)?;
        let _ = file.try_lock(); // who sweeps sees that it is being written
        let _ = file.set_permissions(fs::Permissions::from_mode(0o644));
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
        File::open(folder)?.sync_all()?;
        Ok(written)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}

/// Files that are named as passed over; of more, nobody reads the list.
const PASSED_MAX: usize = 200;
/// A draft that has lain for so long is nobody's any more.
const DRAFT_LASTS: Duration = Duration::from_secs(24 * 3600);

/// A file was passed over.
pub fn pass_over(passed: &mut Vec<PassedOver>, path: &Path, why: Why) {
    if passed.len() < PASSED_MAX {
        passed.push(PassedOver::of(path, why));
    }
}

/// Whether a file begins as a parcel of any version.
fn begins_as_one(path: &Path) -> Result<bool, Why> {
    let unreadable = |e: io::Error| Why::Unreadable(e.to_string());
    let file = open_plain(path).map_err(unreadable)?;
    let mut begins = Vec::new();
    let read = file.take(MAGIC.len() as u64).read_to_end(&mut begins);
    read.map_err(unreadable)?;
    Ok(begins == MAGIC)
}

/// Makes a folder that whoever holds the card may use: all that lies there is sealed or signed.
pub fn make_for_all(folder: &Path) -> io::Result<()> {
    if !folder.is_dir() {
        fs::create_dir_all(folder)?;
        let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o777));
    }
    Ok(())
}

/// Removes drafts of our own form that somebody's pulled card has left; not one that is being written, whatever
/// a wrong clock says of its age.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let stem = name.to_str().and_then(|name| name.strip_suffix(".part"));
        let hex = |stem: &str| stem.len() == 16 && stem.bytes().all(|b| b.is_ascii_hexdigit());
        let plain = entry.file_type().is_ok_and(|kind| kind.is_file());
        let age = entry.metadata().and_then(|there| there.modified());
        let age = age.ok().and_then(|at| at.elapsed().ok());
        if !plain || !stem.is_some_and(hex) || age.is_none_or(|age| age <= DRAFT_LASTS) {
            continue;
        }
        let idle = File::open(&path).is_ok_and(|file| file.try_lock().is_ok());
        if idle {
            let _ = fs::remove_file(&path);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> (tempfile::TempDir, Card) {
        let folder = tempfile::tempdir().unwrap();
        let card = Card::open(folder.path()).unwrap();
        card.prepare().unwrap();
        (folder, card)
    }

    #[test]
    fn a_file_is_put_whole_or_not_at_all_and_what_was_there_stays_until_then() {
        let (_folder, card) = card();
        card.put(Shelf::Cases, "one", &mut b"first".as_slice())
            .unwrap();
        struct Fails(u8);
        impl Read for Fails {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 += 1;
                match self.0 {
                    1 => {
                        buffer[0] = b'x';
                        Ok(1)
                    }
                    _ => Err(io::Error::other("the other card was pulled out")),
                }
            }
        }
        assert!(card.put(Shelf::Cases, "one", &mut Fails(0)).is_err());
        assert_eq!(fs::read(card.file(Shelf::Cases, "one")).unwrap(), b"first");
        assert_eq!(fs::read_dir(card.folder(Shelf::Cases)).unwrap().count(), 1);
        assert_eq!(
            card.put(Shelf::Cases, "one", &mut b"second".as_slice())
                .unwrap(),
            6
        );
        assert!(holds(
            &card.file(Shelf::Cases, "one"),
            &Digest::of(b"second"),
            6
        ));
        assert!(!holds(
            &card.file(Shelf::Cases, "one"),
            &Digest::of(b"first"),
            6
        ));
    }

    /// A heap of other files before it hides no parcel, and the list of what was passed over ends.
    #[test]
    fn a_heap_of_garbage_hides_nothing() {
        let (folder, card) = card();
        for n in 0..2 * PASSED_MAX {
            let name = format!("{n:032}{SUFFIX}");
            fs::write(card.file(Shelf::Cases, &name), b"x").unwrap();
        }
        let last = card.file(Shelf::Cases, &format!("{}{SUFFIX}", "f".repeat(32)));
        fs::write(&last, b"kijitiP1 and so on").unwrap();
        let beside = folder.path().join("from Neema (1).kijiti");
        fs::write(&beside, b"kijitiP9").unwrap();
        let mut passed = Vec::new();
        assert_eq!(card.parcels(&mut passed).unwrap(), vec![last, beside]);
        assert_eq!(passed.len(), PASSED_MAX);
    }

    #[test]
    fn drafts_that_a_pulled_card_has_left_are_swept_once_they_are_old() {
        let (_folder, card) = card();
        let (old, young) = (
            card.file(Shelf::Cases, "aaaaaaaaaaaaaaaa.part"),
            card.file(Shelf::Cases, "bbbbbbbbbbbbbbbb.part"),
        );
        for draft in [&old, &young] {
            fs::write(draft, b"half").unwrap();
        }
        let long_ago = std::time::SystemTime::now() - 2 * DRAFT_LASTS;
        File::options()
            .write(true)
            .open(&old)
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
        card.prepare().unwrap();
        assert!(!old.exists() && young.exists());
        let mut passed = Vec::new();
        assert!(card.parcels(&mut passed).unwrap().is_empty() && passed.is_empty());
    }
}
