//! What runs here: releases are made out of deltas, tried and loaded on threads of their own. A bad
//! model may be slow, and must not hold up a meeting.

use std::collections::VecDeque;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use distribution::activation::{Module, runs};
use distribution::plan::Way;
use distribution::{ModuleKind, Release};
use protocol::{BundleId, Digest};

use super::super::making::{self, NotMade};
use super::super::triage::{Engine, Tried, try_release};
use super::{Body, Message};
use crate::agent::{Command, Reply};
use crate::api::releases;
use crate::api::views::releases::Check;

/// What is being made, tried and loaded.
#[derive(Default)]
pub(super) struct Modules {
    /// Modules of which a release is being tried.
    trying: Vec<(Digest, String)>,
    /// Releases that are being made out of deltas.
    making: Vec<Digest>,
    /// The module that is being loaded.
    loads: Option<(Digest, String)>,
    /// The next one is being chosen: what is said meanwhile waits as if it were being loaded.
    chooses: bool,
    /// Those that wait for it: rules come first, and models are tested on what rules run.
    to_load: VecDeque<String>,
    /// Releases that wait until everything is loaded.
    to_try: Vec<Release>,
}

impl Modules {
    /// Whether what runs here is not all loaded yet.
    pub(super) fn loading(&self) -> bool {
        self.loads.is_some() || self.chooses || !self.to_load.is_empty()
    }

    /// Whether any thread is at work.
    pub(super) fn under_way(&self) -> bool {
        self.loading() || !self.trying.is_empty() || !self.making.is_empty()
    }
}

/// Opens a whole bundle and tries it.
fn try_file(
    release: &Release,
    (path, by_ministry): (PathBuf, bool),
    engine: &Engine,
) -> Result<(Tried, Vec<Check>), String> {
    let file = File::open(path).map_err(|e| e.to_string())?;
    let tried = || try_release(release, (file, by_ministry), engine);
    let died = |_| Err("the program would have stopped".to_owned());
    catch_unwind(AssertUnwindSafe(tried)).unwrap_or_else(died)
}

impl Body {
    /// Makes a release out of deltas.
    pub(super) fn make_soon(&mut self, release: Box<Release>, way: Way) {
        if self.modules.making.contains(&release.digest) {
            return;
        }
        self.modules.making.push(release.digest);
        let folder = self.store.bundles.folder().to_owned();
        let messages = self.messages.clone();
        std::thread::spawn(move || {
            let made = || making::make(&folder, &release, &way);
            let died = |_| {
                let (delta, reason) = (None, "the program would have stopped".to_owned());
                Err(NotMade { delta, reason })
            };
            let result = catch_unwind(AssertUnwindSafe(made)).unwrap_or_else(died);
            let _ = messages.blocking_send(Message::Made { release, result });
        });
    }

    pub(super) fn made(&mut self, release: &Release, result: Result<PathBuf, NotMade>) {
        self.modules.making.retain(|d| *d != release.digest);
        let what = format!("{} version {}", release.module, release.version);
        match result {
            Ok(file) => match self.store.bundles.adopt(&file, &release.digest) {
                Ok(()) => {
                    let digest = release.digest.short();
                    (self.log)(&format!(
                        "{what} was made out of the one before, digest {digest}"
                    ));
                    let _ = self.ask_agent(Command::BundleImported(release.digest));
                }
                Err(error) => (self.log)(&format!("{what} could not be kept: {error}")),
            },
            Err(NotMade {
                delta: Some(delta),
                reason,
            }) => {
                let _ = self.ask_agent(Command::DeltaFailed(delta, reason));
            }
            Err(NotMade {
                delta: None,
                reason,
            }) => (self.log)(&format!("{what} could not be made now: {reason}")),
        }
    }

    /// Whether a release may be tried now: one that has brought the program down has to wait.
    fn begin_attempt(&mut self, module: &str, digest: Digest) -> bool {
        let began = self.ask_agent(Command::AttemptBegins {
            module: module.to_owned(),
            digest,
        });
        let waits = began == Ok(Reply::Unchanged);
        if waits {
            (self.log)(&format!(
                "{module} waits: the program stopped while it was being loaded, and it is tried again later"
            ));
        }
        !waits
    }

    fn end_attempt(&mut self, module: &str, digest: Digest) {
        let module = module.to_owned();
        let _ = self.ask_agent(Command::AttemptEnds { module, digest });
    }

    /// Tries a release.
    pub(super) fn try_soon(&mut self, release: Release) {
        let mut trying = self.modules.trying.iter();
        let known = trying.any(|(digest, _)| *digest == release.digest);
        if known || !runs(release.kind) {
            return;
        }
        if self.modules.loading() {
            let waiting = &mut self.modules.to_try;
            waiting.retain(|waits| waits.digest != release.digest);
            return waiting.push(release);
        }
        if !self.begin_attempt(&release.module, release.digest) {
            return;
        }
        let named = (release.digest, release.module.clone());
        self.modules.trying.push(named);
        let path = self.store.bundles.path(&BundleId::release(release.digest));
        let by_ministry = releases::by_ministry(self.agent.known(), &release);
        let (engine, messages) = (self.engine.clone(), self.messages.clone());
        std::thread::spawn(move || {
            let result = try_file(&release, (path, by_ministry), &engine);
            let _ = messages.blocking_send(Message::Tried {
                release: Box::new(release),
                result,
            });
        });
    }

    pub(super) fn tried(&mut self, release: Release, result: Result<(Tried, Vec<Check>), String>) {
        let module = release.module.clone();
        self.modules.trying.retain(|(d, _)| *d != release.digest);
        self.end_attempt(&module, release.digest);
        match result {
            Ok((tried, passed)) => {
                if let Err(reason) = self.engine.fits(&module, &tried) {
                    return (self.log)(&format!("{module} waits: {reason}"));
                }
                let mut checks = releases::checks(self.agent.known(), &release);
                checks.extend(passed);
                let kept = serde_json::to_vec(&checks).unwrap_or_default();
                // What is announced meanwhile waits until it can be tried with what runs then.
                self.modules.chooses = true;
                let switched = self.ask_agent(Command::Activated(Box::new(release), kept));
                if matches!(switched, Ok(Reply::Done | Reply::Unchanged)) {
                    self.engine.switch(&module, tried);
                }
                self.modules.chooses = false;
                self.load_adapters();
            }
            Err(reason) => {
                let version = release.version;
                (self.log)(&format!(
                    "{module} version {version} failed its test here: {reason}"
                ));
                let _ = self.ask_agent(Command::ActivationFailed(Box::new(release), reason));
            }
        }
    }

    /// Loads what was active when the program stopped, rules first. What does not load any more is
    /// not used: the rules that are built in stand.
    pub(super) fn load_active(&mut self) {
        let known = self.agent.known();
        let mut active: Vec<_> = known
            .activations()
            .filter_map(|(module, activation)| Some((module, activation.current.as_ref()?.kind)))
            .collect();
        // Rules first, and adapters behind what they stand beside.
        active.sort_by_key(|(_, kind)| (*kind != ModuleKind::Rules, *kind == ModuleKind::Adapter));
        let active = active.into_iter().map(|(module, _)| module.clone());
        self.modules.to_load = active.collect();
        self.load_next();
    }

    /// Adapters that run and could not be loaded, since their base was not: it may be here now.
    fn load_adapters(&mut self) {
        let known = self.agent.known();
        let waits = known.activations().filter_map(|(module, activation)| {
            let current = activation.current.as_ref()?;
            let waits = current.kind == ModuleKind::Adapter && !self.engine.holds(module);
            waits.then(|| module.clone())
        });
        let waits: Vec<_> = waits.collect();
        for module in self.engine.mute() {
            (self.log)(&format!(
                "{module} says nothing: its base does not run here"
            ));
        }
        let modules = &mut self.modules;
        for module in waits {
            let loads = modules
                .loads
                .as_ref()
                .is_some_and(|(_, own)| *own == module);
            if !loads && !modules.to_load.contains(&module) {
                modules.to_load.push_back(module);
            }
        }
        self.load_next();
    }

    /// Something else runs of a module now, or nothing.
    pub(super) fn load_anew(&mut self, module: &str) {
        self.engine.stop(module);
        if self.running(module).is_some() {
            self.modules.to_load.retain(|other| other != module);
            self.modules.to_load.push_back(module.to_owned());
            self.load_next();
        }
    }

    /// What is active of a module.
    fn running(&self, module: &str) -> Option<Module> {
        self.agent.known().activation(module)?.current.clone()
    }

    /// Loads the next module, unless one is being loaded. While one waits that has brought the
    /// program down, the one before it is loaded instead.
    fn load_next(&mut self) {
        if self.modules.chooses {
            return; // whoever chooses goes on
        }
        self.modules.chooses = true;
        while self.modules.loads.is_none()
            && let Some(module) = self.modules.to_load.pop_front()
        {
            // The one that runs, or else the one before it, which runs now.
            for _ in 0..2 {
                let current = self.running(&module);
                let current = current.filter(|c| self.begin_attempt(&module, c.digest));
                if let Some(current) = current {
                    self.load_one(module, current);
                    break;
                }
            }
        }
        self.modules.chooses = false;
        if !self.modules.loading() {
            let to_try = std::mem::take(&mut self.modules.to_try);
            to_try
                .into_iter()
                .for_each(|release| self.try_soon(release));
        }
    }

    fn load_one(&mut self, module: String, current: Module) {
        let known = self.agent.known();
        let releases = known.trust().map(|t| t.releases()).unwrap_or_default();
        let release = releases
            .into_iter()
            .find(|r| r.module == module && r.digest == current.digest)
            .cloned();
        let release = release.unwrap_or_else(|| releases::release_of(&module, &current));
        let by_ministry = releases::by_ministry(known, &release);
        let path = self.store.bundles.path(&BundleId::release(current.digest));
        let (engine, messages) = (self.engine.clone(), self.messages.clone());
        self.modules.loads = Some((current.digest, module.clone()));
        std::thread::spawn(move || {
            let result = try_file(&release, (path, by_ministry), &engine);
            let _ = messages.blocking_send(Message::Loaded {
                module,
                digest: current.digest,
                result: result.map(|(tried, _)| tried),
            });
        });
    }

    pub(super) fn loaded(&mut self, module: &str, digest: Digest, result: Result<Tried, String>) {
        self.modules.loads = None;
        self.end_attempt(module, digest);
        // It may have been recalled meanwhile.
        if self.running(module).is_some_and(|m| m.digest == digest) {
            let fits = result.and_then(|tried| {
                self.engine.fits(module, &tried)?;
                Ok(tried)
            });
            match fits {
                Ok(tried) => {
                    self.engine.switch(module, tried);
                    self.load_adapters();
                }
                Err(reason) => (self.log)(&format!("{module} is not used: {reason}")),
            }
        }
        self.load_next();
    }

    /// The program was told to stop while these were being tried: that is no fault of theirs.
    pub(super) fn end_attempts(&mut self) {
        let trying = std::mem::take(&mut self.modules.trying);
        for (digest, module) in trying.into_iter().chain(self.modules.loads.take()) {
            self.end_attempt(&module, digest);
        }
    }
}
