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
        ModuleKind::Rules | ModuleKind::Triage | ModuleKind::Vision | ModuleKind::Adapter => true,
        ModuleKind::Other
        | ModuleKind::Language
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
    /// Bundles that were begun to be loaded and came to no end: one that is still here after a
    /// start came down with the program.
    #[cbor(n(4), default)]
    pub attempts: Vec<Attempt>,
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
    /// How many of them the program came down over: all, once it has been started again.
    #[cbor(skip)]
    pub fell: u32,
}

impl Attempt {
    /// How long the program has to have been up, in milliseconds, before this is begun again.
    /// A battery that dies while a bundle is loaded is no fault of the bundle, so the first falls
    /// are free; one that is at fault costs a phone less and less of its time.
    pub fn wait_ms(&self) -> u64 {
        match self.fell.checked_sub(FALLS_FREE) {
            None => 0,
            Some(more) => WAIT_MS_FIRST
                .saturating_mul(WAIT_GROWS.saturating_pow(more))
                .min(WAIT_MS_MAX),
        }
    }
}

/// From so many falls on, a bundle waits.
const FALLS_FREE: u32 = 2;
/// How long the program has to be up after them, and how many times longer after each further one.
const WAIT_MS_FIRST: u64 = 5_000;
/// See [`WAIT_MS_FIRST`].
const WAIT_GROWS: u64 = 6;
/// See [`WAIT_MS_FIRST`].
const WAIT_MS_MAX: u64 = 4 * 60 * 60_000;

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
/// Bundles of a module remembered that were begun; the oldest is forgotten first.
const ATTEMPTS_MAX: usize = 32;

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

    /// How long the program has to have been up before a bundle may be loaded, in milliseconds.
    pub fn wait_ms(&self, digest: &Digest) -> u64 {
        self.attempt(digest).map_or(0, Attempt::wait_ms)
    }

    /// The beginnings of a bundle that came to no end.
    pub fn attempt(&self, digest: &Digest) -> Option<&Attempt> {
        self.attempts.iter().find(|a| a.digest == *digest)
    }

    /// The program has been started: whatever was being loaded came down with it.
    pub fn started(&mut self) {
        self.attempts.iter_mut().for_each(|a| a.fell = a.count);
    }

    /// A bundle is about to be loaded or tried, by a program that has been up for so long. `false`:
    /// the program has come down over it, and it has to wait; if it ran, what ran before it runs
    /// meanwhile, in its place, and it is kept as what ran before ([`Activation::again`]).
    pub fn begin_attempt(&mut self, digest: Digest, up_ms: u64) -> bool {
        if self.wait_ms(&digest) > up_ms {
            if let Some(waits) = self.current.take_if(|m| m.digest == digest) {
                self.current = self.previous.take_if(|m| m.digest != digest);
                self.previous = Some(waits);
            }
            return false;
        }
        let before = self.attempt(&digest);
        let (count, fell) = before.map_or((0, 0), |a| (a.count, a.fell));
        self.end_attempt(&digest);
        if self.attempts.len() >= ATTEMPTS_MAX {
            self.attempts.remove(0);
        }
        let count = count.saturating_add(1);
        self.attempts.push(Attempt {
            digest,
            count,
            fell,
        });
        always!(self.attempts.len() <= ATTEMPTS_MAX);
        true
    }

    /// When what ran, and had to wait, runs again; `None` if nothing waits so.
    pub fn again_ms(&self) -> Option<u64> {
        let waits = self.previous.as_ref()?;
        Some(self.wait_ms(&waits.digest)).filter(|ms| *ms > 0)
    }

    /// What ran, and has waited long enough, runs again.
    pub fn again(&mut self, up_ms: u64) -> bool {
        let due = self.again_ms().is_some_and(|ms| ms <= up_ms);
        if due {
            std::mem::swap(&mut self.current, &mut self.previous);
        }
        always!(!due || self.current.is_some());
        due
    }

    /// The attempt has come to its end, well or not.
    pub fn end_attempt(&mut self, digest: &Digest) {
        self.attempts.retain(|a| a.digest != *digest);
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
        while activation.begin_attempt(digest, 0) {
            activation.started();
        }
        let waits = activation.previous.as_ref().map(|m| m.kind);
        assert_eq!(
            (activation.current.is_none(), waits),
            (true, Some(ModuleKind::Triage))
        );
    }

    /// However often a program comes down over a bundle, it is tried again, and seldom.
    #[test]
    fn what_brings_the_program_down_is_tried_less_and_less_often_and_never_given_up() {
        let digest = Digest([1; 32]);
        let mut activation = Activation::default();
        let waits: Vec<_> = (0..40)
            .map(|_| {
                let wait_ms = activation.wait_ms(&digest);
                assert!(wait_ms == 0 || !activation.begin_attempt(digest, wait_ms - 1));
                assert!(activation.begin_attempt(digest, wait_ms));
                assert_eq!(activation.wait_ms(&digest), wait_ms, "until it comes down");
                activation.started();
                wait_ms
            })
            .collect();
        assert_eq!(waits[..5], [0, 0, 5_000, 30_000, 180_000]);
        assert!(waits.is_sorted() && waits[39] == WAIT_MS_MAX);
        activation.end_attempt(&digest);
        assert!(
            activation.begin_attempt(digest, 0),
            "nothing is held against it"
        );
    }
    /// What no list names any more is not lost either: it waits in the place of what ran before.
    #[test]
    fn what_ran_and_had_to_wait_runs_again_whether_anything_ran_before_it_or_not() {
        let module = |n| Module {
            digest: Digest([n; 32]),
            version: u64::from(n),
            kind: ModuleKind::Triage,
        };
        for before in [None, Some(module(1))] {
            let mut activation = Activation {
                current: Some(module(2)),
                previous: before.clone(),
                ..Activation::default()
            };
            while activation.begin_attempt(module(2).digest, 0) {
                activation.started();
            }
            assert_eq!(activation.current, before);
            assert!(!activation.again(4_999) && activation.again(5_000));
            let now = (activation.current, activation.previous);
            assert_eq!(now, (Some(module(2)), before));
        }
    }
}
