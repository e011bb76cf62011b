//! Trying a rule pack before it runs: at the desk's check, and on every phone before activation.

use std::str::Utf8Error;

use crate::golden;
use crate::rules::{RulePack, guideline};

/// What a pack has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// The pack, by id and edition.
    pub pack: String,
    /// Golden cases that came out as they must, by its rules alone.
    pub golden: usize,
    /// The pack of which it has every pink rule, or gives it up by an explicit word; `None` for one
    /// that takes no other's place.
    pub before: Option<String>,
}

/// Why a pack does not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrialError {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// Not text.
    #[error("{0}")]
    NotText(Utf8Error),
    /// Not a pack, or one that contradicts what every phone knows.
    #[error("{0}")]
    NotAPack(String),
    /// A golden case comes out otherwise than it must.
    #[error("{0}")]
    Golden(String),
    /// A pack of new rules that brings no golden case to show what they say.
    #[error("it brings no golden case; a pack shows what its rules say: [[golden]]")]
    NoGolden,
    /// Pink rules that the pack before had and this one neither has nor gives up.
    #[error("it has no more pink rules {}; a pack that gives some up says so: gives_up = [\"…\"]", .0.join(", "))]
    Lacks(Vec<String>),
    /// An edition of the guideline that somebody else than the ministry has released, or a second one.
    #[error(
        "it is an edition of the guideline, which the ministry alone releases, as one module: give the pack an id of its own"
    )]
    Guideline,
    /// A finding means something else in a pack that runs beside it.
    #[error("finding {0} means something else in {1}, which runs beside it")]
    Disagrees(String, String),
}

/// Reads a rule pack and tries it on golden cases of its own, and on those of the guideline if it is
/// an edition of that, which only what the ministry itself releases may be. `before` ran in the same
/// slot.
pub fn try_rules(
    bytes: &[u8],
    before: Option<&RulePack>,
    may_be_guideline: bool,
) -> Result<(RulePack, Tried), TrialError> {
    let text = std::str::from_utf8(bytes).map_err(TrialError::NotText)?;
    let pack = RulePack::parse(text).map_err(TrialError::NotAPack)?;
    if !pack.is_guideline() && pack.golden().is_empty() {
        return Err(TrialError::NoGolden);
    }
    let golden = golden::try_pack(&pack).map_err(TrialError::Golden)?;
    let guideline = guideline().filter(|_| pack.is_guideline());
    for before in before.into_iter().chain(guideline) {
        let lacks = pack.lacks(before);
        if !lacks.is_empty() {
            return Err(TrialError::Lacks(lacks));
        }
    }
    if pack.is_guideline() && !may_be_guideline {
        return Err(TrialError::Guideline);
    }
    let tried = Tried {
        pack: pack.named(),
        golden,
        before: before.or(guideline).map(RulePack::named),
    };
    Ok((pack, tried))
}

/// Whether a pack that passes by itself can run beside another one now.
pub fn runs_beside(pack: &RulePack, other: &RulePack) -> Result<(), TrialError> {
    if pack.is_guideline() && other.is_guideline() {
        return Err(TrialError::Guideline);
    }
    match pack.disagrees_with(other) {
        Some(finding) => Err(TrialError::Disagrees(finding.to_owned(), other.named())),
        None => Ok(()),
    }
}
