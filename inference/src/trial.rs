//! Trying a rule pack before it runs: at the desk's check, and on every phone before activation.

use std::str::Utf8Error;

use crate::golden;
use crate::rules::RulePack;

/// What a pack has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// The pack, by id and edition.
    pub pack: String,
    /// Golden cases that came out as the guidelines say, by its rules alone.
    pub golden: usize,
    /// The pack of which it has every pink rule, or gives it up by an explicit word.
    pub before: String,
}

/// Why a pack does not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrialError {
    /// Not text.
    #[error("{0}")]
    NotText(Utf8Error),
    /// Not a pack, or one that contradicts what every phone knows.
    #[error("{0}")]
    NotAPack(String),
    /// A golden case comes out otherwise than it must.
    #[error("{0}")]
    Golden(String),
    /// Pink rules that the pack before had and this one neither has nor gives up.
    #[error("it has no more pink rules {}; a pack that gives some up says so: gives_up = [\"…\"]", .0.join(", "))]
    Lacks(Vec<String>),
}

/// Reads a rule pack and tries it on all golden cases, beside the one that it replaces.
pub fn try_rules(bytes: &[u8], before: &RulePack) -> Result<(RulePack, Tried), TrialError> {
    let text = std::str::from_utf8(bytes).map_err(TrialError::NotText)?;
    let pack = RulePack::parse(text).map_err(TrialError::NotAPack)?;
    let golden = golden::try_pack(&pack).map_err(TrialError::Golden)?;
    let lacks = pack.lacks(before);
    if !lacks.is_empty() {
        return Err(TrialError::Lacks(lacks));
    }
    let named = |pack: &RulePack| format!("{} {}", pack.id, pack.edition);
    let tried = Tried {
        pack: named(&pack),
        golden,
        before: named(before),
    };
    Ok((pack, tried))
}
