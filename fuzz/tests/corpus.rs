//! The corpora, replayed with a plain toolchain, each file also cut short and with bytes turned
//! over. Each file is a process of its own, with limits on processor time and on memory: an input
//! that costs more than they allow is found, and not only one that panics.

#![allow(clippy::disallowed_methods)] // a test may read its files and start itself anew

use std::path::{Path, PathBuf};
use std::process::Command;

/// Seconds of processor time for one file and what is near it.
const CPU_S: u32 = 60;
/// KiB of address space for the same.
const MEMORY_KIB: u32 = 3 * 1024 * 1024;
/// Names the one file to replay.
const ONE: &str = "KIJITI_REPLAY";

fn replay(target: fn(&[u8]), file: &Path) {
    let bytes = std::fs::read(file).unwrap();
    target(&bytes);
    let steps = (bytes.len() / 40).max(1);
    for at in (0..bytes.len()).step_by(steps) {
        target(&bytes[..at]);
        for flip in [0x01, 0x80, 0xff] {
            let mut near = bytes.clone();
            near[at] ^= flip;
            target(&near);
        }
    }
}

/// Started by the test below, once for each file.
#[test]
fn one_file() {
    let Some(file) = std::env::var_os(ONE).map(PathBuf::from) else {
        return;
    };
    let name = file
        .parent()
        .unwrap()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap();
    let (_, target) = targets::TARGETS
        .into_iter()
        .find(|(target, _)| *target == name)
        .unwrap();
    replay(target, &file);
}

#[test]
fn no_decoder_breaks_on_its_corpus_nor_on_what_is_near_it_nor_costs_without_end() {
    let this = std::env::current_exe().unwrap();
    for (name, _) in targets::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(name);
        let files: Vec<_> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|f| f.unwrap().path())
            .collect();
        assert!(files.len() >= 3, "the corpus of {name} is too small");
        for file in files {
            let limited = format!(
                "ulimit -t {CPU_S}; ulimit -v {MEMORY_KIB}; exec \"$0\" --exact one_file --test-threads 1"
            );
            let output = Command::new("sh")
                .arg("-c")
                .arg(limited)
                .arg(&this)
                .env(ONE, &file)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(
                output.status.success(),
                "{}: {:?} {said}",
                file.display(),
                output.status
            );
        }
    }
}
