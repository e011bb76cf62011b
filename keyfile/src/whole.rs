//! Files that only their owner reads, written whole or not at all, wherever a person wants them.

use std::fs::{self, File, OpenOptions};
use std::io::{Error, ErrorKind, Result, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The file that a name stands for: a link's target, which need not be there yet.
pub fn followed(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let Some(target) = fs::read_link(&path).ok().filter(|_| !is_open(&path)) else {
            break;
        };
        path = path.parent().unwrap_or(Path::new("")).join(target);
    }
    path
}

const LINKS_MAX: usize = 16;

/// Whether a path names an open file of a program: to another program, `/dev/stdout` is one of its own.
fn is_open(path: &Path) -> bool {
    let of_a_program = path.starts_with("/proc") && path.iter().any(|part| part == "fd");
    let standard = ["/dev/stdin", "/dev/stdout", "/dev/stderr"].map(Path::new);
    of_a_program || path.starts_with("/dev/fd") || standard.contains(&path)
}

/// Whether something is there that is written to, but not replaced: a pipe, a terminal, a device, or an open
/// file, which is the very program's that was given its name.
pub fn is_stream(path: &Path) -> bool {
    let named = followed(path);
    is_open(&named) || fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir())
}

/// Writes a file by way of a draft beside it, which is nobody else's: what was there before stays until
/// the new one is whole, and links stay links.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let path = followed(path);
    if path.is_symlink() {
        return Err(Error::new(ErrorKind::InvalidInput, "its links lead round"));
    }
    if fs::metadata(&path).is_ok_and(|there| !there.is_file()) {
        let what = "something that is no plain file is there";
        return Err(Error::new(ErrorKind::InvalidInput, what));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    let (draft, mut file) = new_beside(folder, &name)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&draft, &path))
        .and_then(|()| File::open(folder)?.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}

fn new_beside(folder: &Path, name: &str) -> Result<(PathBuf, File)> {
    // A name may be as long as the file system allows already.
    let short: String = name.chars().take(NAME_CHARS).collect();
    let mut number = 0;
    loop {
        let draft = folder.join(format!(".{short}.{}-{number}.writing", std::process::id()));
        let mut options = OpenOptions::new();
        match options
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&draft)
        {
            Ok(file) => return Ok((draft, file)),
            Err(e) if e.kind() == ErrorKind::AlreadyExists && number < DRAFTS_MAX => number += 1,
            Err(e) => return Err(e),
        }
    }
}

const NAME_CHARS: usize = 40;
const DRAFTS_MAX: u32 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_links_and_what_lies_beside_stays() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("report.writing"), "mine").unwrap();
        write_whole(&at("report.csv"), b"one").unwrap();
        write_whole(&at("report.csv"), b"two").unwrap();
        for (link, target) in [
            ("link", "report.csv"),
            ("dangling", "new.csv"),
            ("twice", "link"),
        ] {
            std::os::unix::fs::symlink(target, at(link)).unwrap();
        }
        write_whole(&at("twice"), b"three").unwrap();
        write_whole(&at("dangling"), b"four").unwrap();
        assert_eq!(fs::read(at("report.csv")).unwrap(), b"three");
        assert_eq!(fs::read(at("new.csv")).unwrap(), b"four");
        assert_eq!(fs::read(at("report.writing")).unwrap(), b"mine");
        assert!(
            ["link", "dangling", "twice"]
                .iter()
                .all(|l| at(l).is_symlink())
        );
        assert!(write_whole(folder.path(), b"x").is_err() && is_stream(Path::new("/dev/null")));
        assert!(write_whole(&at("none/there"), b"x").is_err());
        // An open file of this program is written to by it alone, whatever it is.
        for open in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
            std::os::unix::fs::symlink(open, at("open")).unwrap();
            assert!(
                is_stream(Path::new(open)) && is_stream(&at("open")),
                "{open}"
            );
            fs::remove_file(at("open")).unwrap();
        }
        assert!(!is_stream(&at("report.csv")) && !is_stream(&at("none")));
        let names = fs::read_dir(folder.path()).unwrap().flatten();
        let hidden = |e: &fs::DirEntry| e.file_name().to_string_lossy().starts_with('.');
        assert_eq!(names.filter(hidden).count(), 0, "no draft is left");
    }
}
