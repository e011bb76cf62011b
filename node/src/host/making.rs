//! Making a release out of its base and deltas, on a thread of its own and in files: the base is
//! read in place, one operation of a delta is in memory at a time, and what comes out has no final
//! name before its whole digest is right.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use distribution::Release;
use distribution::delta::{self, DeltaError, ReadAt};
use distribution::plan::Way;
use protocol::Digest;

/// A file that is read at offsets.
#[derive(Debug)]
struct FileAt(File, u64);

impl FileAt {
    fn open(path: &Path) -> Result<Self, String> {
        let file = File::open(path).map_err(|e| e.to_string())?;
        let bytes = file.metadata().map_err(|e| e.to_string())?.len();
        Ok(Self(file, bytes))
    }
}

impl ReadAt for FileAt {
    fn bytes(&self) -> u64 {
        self.1
    }

    fn read_at(&self, offset: u64, room: &mut [u8]) -> Result<(), String> {
        self.0
            .read_exact_at(room, offset)
            .map_err(|e| e.to_string())
    }
}

/// Why a release could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotMade {
    /// The delta that is to blame, if one is; otherwise the disk is.
    pub delta: Option<Digest>,
    /// Why, for people.
    pub reason: String,
}

/// Applies the deltas of `way` one after another, each checked by the digest of what it makes. The
/// file that holds the release.
pub(super) fn make(bundles: &Path, release: &Release, way: &Way) -> Result<PathBuf, NotMade> {
    let disk = |reason: String| NotMade {
        delta: None,
        reason,
    };
    let path = |digest: &Digest| bundles.join(digest.to_string());
    let base = way.base.ok_or_else(|| disk("no base".into()))?;
    let mut from = (base, path(&base));
    let mut step_file = None;
    for step in &way.deltas {
        let made = release.made_by(step);
        let draft = bundles.join(format!("{}.making", made.digest));
        let result = apply(
            &path(&step.digest),
            &from,
            (made.digest, made.bytes),
            &draft,
        );
        if let Some(old) = step_file.take() {
            let _ = fs::remove_file(old);
        }
        if let Err(error) = result {
            let _ = fs::remove_file(&draft);
            let blamed = !matches!(error, DeltaError::Failed(_));
            return Err(NotMade {
                delta: blamed.then_some(step.digest),
                reason: error.to_string(),
            });
        }
        step_file = Some(draft.clone());
        from = (made.digest, draft);
    }
    Ok(from.1)
}

fn apply(
    delta: &Path,
    base: &(Digest, PathBuf),
    wanted: (Digest, u64),
    draft: &Path,
) -> Result<(), DeltaError> {
    let failed = |e: std::io::Error| DeltaError::Failed(e.to_string());
    let (delta, old) = (
        FileAt::open(delta).map_err(DeltaError::Failed)?,
        FileAt::open(&base.1).map_err(DeltaError::Failed)?,
    );
    let mut file = File::create(draft).map_err(failed)?;
    delta::apply(&delta, (base.0, &old), wanted, &mut |bytes| {
        file.write_all(bytes).map_err(|e| e.to_string())
    })?;
    file.sync_all().map_err(failed)
}
