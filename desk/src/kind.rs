//! What kind of module a file is: by what whoever publishes it says, by what stands in it, and only
//! then by what its module was before or is usually called. What is signed is the kind; no phone looks
//! at a name.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use distribution::{ModuleKind, TrustedState};
use inference::model::adapter::is_adapter;
use inference::model::is_triage_model;
use inference::vision::is_picture_reader;

use crate::Refusal;

/// Bytes of a file that are read to see whether it is a rule pack.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// What a file is by what stands in it; `None` if it says nothing.
fn by_content(path: &Path) -> Result<Option<ModuleKind>, Refusal> {
    let unreadable = |e| Refusal::Unreadable(path.to_owned(), e);
    let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
    if is_triage_model(&mut file) {
        return Ok(Some(ModuleKind::Triage));
    }
    if is_adapter(&mut file) {
        return Ok(Some(ModuleKind::Adapter));
    }
    if is_picture_reader(&mut file) {
        return Ok(Some(ModuleKind::Vision));
    }
    let mut bytes = Vec::new();
    let opened = File::open(path).map_err(unreadable)?;
    let mut start = opened.take(TEXT_BYTES_MAX);
    start.read_to_end(&mut bytes).map_err(unreadable)?;
    // One that cannot be read is a rule pack too: the check says what is wrong with it.
    let text = String::from_utf8_lossy(&bytes);
    let rules = text
        .lines()
        .any(|line| line.trim_start().starts_with("[[rule]]"));
    Ok(rules.then_some(ModuleKind::Rules))
}

/// What a module is usually called.
pub(crate) fn by_name(module: &str) -> ModuleKind {
    match module {
        _ if module.starts_with("triage-model") => ModuleKind::Triage,
        _ if module.starts_with("rules") => ModuleKind::Rules,
        _ => ModuleKind::Other,
    }
}

/// What a module of this name is in the lists held.
pub(crate) fn held(trust: Option<&TrustedState>, module: &str) -> Option<ModuleKind> {
    let releases = trust.map(TrustedState::releases).unwrap_or_default();
    let same = releases
        .into_iter()
        .find(|release| release.module == module);
    same.map(|release| release.kind)
}

/// The kind of a new release. A module stays what it is: what runs in its place is replaced by the
/// like.
pub(crate) fn kind_of(
    said: Option<ModuleKind>,
    module: &str,
    path: &Path,
    trust: Option<&TrustedState>,
) -> Result<ModuleKind, Refusal> {
    let held = held(trust, module).filter(|kind| *kind != ModuleKind::Other);
    let kind = match (said, by_content(path)?, held) {
        (Some(said), _, _) => said,
        (None, Some(kind), _) | (None, None, Some(kind)) => kind,
        (None, None, None) => by_name(module),
    };
    match held {
        Some(held) if held != kind => Err(Refusal::OtherKind(module.to_owned(), held, kind)),
        _ => Ok(kind),
    }
}
