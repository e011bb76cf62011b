//! What runs on a phone: one release of each module, with the one before it kept for instant
//! return.
//!
//! The way of a release, in order, each step named for the worker who watches: signatures and
//! threshold → whole digest → engine → loaded → golden cases on this very phone → switched.

use minicbor::{Decode, Encode};
use protocol::Digest;
use protocol::always;

use crate::module::ModuleKind;
use crate::release::Release;

/// The engine version of this build: releases that need a newer one are carried, not run.
pub const ENGINE_VERSION: u32 = 1;

/// Whether this engine runs modules of a kind; others are carried for phones that do.
pub fn runs(kind: ModuleKind) -> bool {
    match kind {
        ModuleKind::Rules | ModuleKind::Triage => true,
        ModuleKind::Other
        | ModuleKind::Vision
        | ModuleKind::Language
        | ModuleKind::Adapter
        | ModuleKind::Guide
        | ModuleKind::Form
        | ModuleKind::Words => false,
    }
}

/// A release as a phone runs it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Module {
    /// The bundle.
    #[n(0)]
    pub digest: Digest,
    /// The release's version.
    #[n(1)]
    pub version: u64,
    /// What it is.
    #[cbor(n(2), default)]
    pub kind: ModuleKind,
}

/// What one phone runs of one module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Activation {
    /// Runs now.
    #[n(0)]
    pub current: Option<Module>,
    /// Ran before, kept for return.
    #[n(1)]
    pub previous: Option<Module>,
    /// A bundle that failed its self-test here, with the reason; not tried again.
    #[n(2)]
    pub parked: Vec<Parked>,
    /// A bundle that is being loaded; still there after a start: the program came down over it.
    #[n(3)]
    pub attempt: Option<Attempt>,
}

/// A bundle that is being loaded, and how often that has been begun without coming to an end.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Attempt {
    /// The bundle.
    #[n(0)]
    pub digest: Digest,
    /// Beginnings.
    #[n(1)]
    pub count: u32,
}

/// Beginnings without an end after which a bundle is parked.
const ATTEMPTS_MAX: u32 = 2;

/// A release that failed on this phone.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Parked {
    /// The bundle.
    #[n(0)]
    pub digest: Digest,
    /// Why, for people.
    #[n(1)]
    pub reason: String,
}

/// Parked releases remembered; the oldest is forgotten first.
const PARKED_MAX: usize = 8;

impl Activation {
    /// What runs, or ran, in its place.
    pub fn kind(&self) -> ModuleKind {
        let known = self.current.as_ref().or(self.previous.as_ref());
        known.map(|module| module.kind).unwrap_or_default()
    }

    /// Whether `release` may be tried on this phone: for this engine, and not parked.
    pub fn may_run(&self, release: &Release) -> bool {
        release.engine_min <= ENGINE_VERSION
            && !self.parked.iter().any(|p| p.digest == release.digest)
    }

    /// Whether `release`, the one that the list in force means for this phone, is another than what
    /// runs. Versions are not compared here: those of different areas are numbered apart, and
    /// within one the list itself never goes back.
    pub fn wants(&self, release: &Release) -> bool {
        self.may_run(release)
            && self
                .current
                .as_ref()
                .is_none_or(|m| (m.digest, m.kind) != (release.digest, release.kind))
    }

    /// Switches to `module`; what ran before is kept.
    pub fn switch(&mut self, module: Module) {
        if self.current.as_ref() == Some(&module) {
            return;
        }
        self.previous = self.current.replace(module);
        always!(self.previous != self.current, "a return leads elsewhere");
    }

    /// Goes back to what ran before, if there is one.
    pub fn go_back(&mut self) -> bool {
        let Some(previous) = self.previous.take() else {
            return false;
        };
        self.current = Some(previous);
        true
    }

    /// Stops what was recalled: goes back to what ran before, if that was not, or to nothing. The
    /// ministry's reason if anything that ran has stopped.
    pub fn apply(&mut self, recalled: impl Fn(&Digest) -> Option<String>) -> Option<String> {
        self.previous.take_if(|m| recalled(&m.digest).is_some());
        let reason = recalled(&self.current.as_ref()?.digest)?;
        self.current = self.previous.take();
        always!(
            self.current
                .as_ref()
                .is_none_or(|m| recalled(&m.digest).is_none()),
            "nothing that was recalled runs"
        );
        Some(reason)
    }

    /// Nothing of the module runs any more, nor is kept to return to.
    pub fn stop(&mut self) {
        self.current = None;
        self.previous = None;
    }

    /// A bundle is about to be loaded or tried. `false`: it has brought the program down twice
    /// before, and is parked; if it ran, what ran before it runs again.
    pub fn begin_attempt(&mut self, digest: Digest) -> bool {
        let count = self
            .attempt
            .as_ref()
            .filter(|a| a.digest == digest)
            .map_or(0, |a| a.count);
        if count < ATTEMPTS_MAX {
            self.attempt = Some(Attempt {
                digest,
                count: count + 1,
            });
            return true;
        }
        self.attempt = None;
        self.park(
            digest,
            "the program stopped twice while this was being loaded",
        );
        always!(self.parked.iter().any(|p| p.digest == digest));
        if self.current.as_ref().is_some_and(|m| m.digest == digest) {
            self.current = self.previous.take().filter(|m| m.digest != digest);
        }
        false
    }

    /// The attempt has come to its end, well or not.
    pub fn end_attempt(&mut self) {
        self.attempt = None;
    }

    /// Remembers that a bundle failed here.
    pub fn park(&mut self, digest: Digest, reason: &str) {
        self.parked.retain(|p| p.digest != digest);
        self.parked.push(Parked {
            digest,
            reason: reason.chars().take(200).collect(),
        });
        if self.parked.len() > PARKED_MAX {
            self.parked.remove(0);
        }
        let same = |parked: &&Parked| parked.digest == digest;
        always!(self.parked.iter().filter(same).count() == 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One bundle, listed again as another kind, is the module that runs and the one before it.
    #[test]
    fn what_is_parked_does_not_come_back_as_the_one_before() {
        let digest = Digest([1; 32]);
        let module = |kind| Module {
            digest,
            version: 1,
            kind,
        };
        let mut activation = Activation {
            current: Some(module(ModuleKind::Triage)),
            previous: Some(module(ModuleKind::Rules)),
            ..Activation::default()
        };
        while activation.begin_attempt(digest) {}
        assert_eq!((activation.current, activation.previous), (None, None));
    }
}
