//! Envelopes that are being opened, in a file of their own: what it says outlives the program that
//! it warns of.
//!
//! ```text
//! first line    what this run of the machine is called (its boot id), if it has a name
//! other lines   count, a space, the envelope's id in hexadecimal
//! ```
//! After a power cut nobody is to blame: marks of another run of the machine count as a first
//! beginning, never as a second.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use protocol::{Digest, EnvelopeId};

const FILE: &str = "opening";
/// Bytes of the file that are read.
const BYTES_MAX: u64 = 1 << 20;

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// What was being opened when the program came down. A file that cannot be read says nothing.
pub(super) fn read(folder: &Path) -> BTreeMap<EnvelopeId, u8> {
    let mut text = String::new();
    let read = File::open(folder.join(FILE))
        .and_then(|file| file.take(BYTES_MAX).read_to_string(&mut text));
    if read.is_err() {
        return BTreeMap::new();
    }
    let mut lines = text.lines();
    let same_run = lines.next() == Some(boot_id().as_str());
    let parse = |line: &str| {
        let (count, id) = line.split_once(' ')?;
        let count: u8 = count.parse().ok()?;
        let id: Digest = id.parse().ok()?;
        Some((
            EnvelopeId(id.0),
            if same_run { count } else { count.min(1) },
        ))
    };
    lines.filter_map(parse).collect()
}

/// Notes what is being opened, durably; nothing: nothing is.
pub(super) fn write(folder: &Path, attempts: &BTreeMap<EnvelopeId, u8>) -> std::io::Result<()> {
    let path = folder.join(FILE);
    if attempts.is_empty() {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        };
    }
    let mut text = boot_id();
    text.push('\n');
    for (id, count) in attempts {
        text.push_str(&format!("{count} {id}\n"));
    }
    let draft = folder.join("opening.new");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_data()?;
    fs::rename(&draft, &path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_outlive_the_program_and_a_power_cut_is_nobody_s_fault() {
        let folder = tempfile::tempdir().unwrap();
        let marks = BTreeMap::from([(EnvelopeId([7; 32]), 2), (EnvelopeId([8; 32]), 1)]);
        write(folder.path(), &marks).unwrap();
        assert_eq!(read(folder.path()), marks);
        let text = fs::read_to_string(folder.path().join(FILE)).unwrap();
        let (_, rest) = text.split_once('\n').unwrap();
        fs::write(folder.path().join(FILE), format!("another run\n{rest}")).unwrap();
        assert_eq!(read(folder.path()).get(&EnvelopeId([7; 32])), Some(&1));
        fs::write(folder.path().join(FILE), [0xff; 9]).unwrap();
        assert!(read(folder.path()).is_empty());
        write(folder.path(), &BTreeMap::new()).unwrap();
        assert!(!folder.path().join(FILE).exists());
    }
}
