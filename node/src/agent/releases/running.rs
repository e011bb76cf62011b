//! What runs of each module: what waits to be activated, what was, what failed, and recalls.

use std::collections::{BTreeMap, BTreeSet};

use distribution::activation::{Activation, Module};
use distribution::{ModuleKind, Release, TrustedState};
use protocol::{BundleId, BundleKind, Digest, Invariant, always, codec, never};

use super::Releases;
use crate::agent::Event;
use crate::agent::commands::{Answer, Reply, no};
use crate::agent::tx::Tx;
use crate::api::Refusal;
use crate::store::{Setting, StoreError};

impl Releases {
    /// Tells the host which whole bundles wait to be activated: the newest of each module, the
    /// nearest area first. What the program has come down over waits for its time.
    pub(in crate::agent) fn announce_ready(&mut self, tx: &mut Tx) {
        self.retry_ms = self
            .activations
            .values()
            .filter_map(Activation::again_ms)
            .min();
        let area = tx.own.area();
        let idle = Activation::default();
        let mut meant: BTreeMap<String, (Release, bool)> = BTreeMap::new();
        for release in tx.own.listed() {
            let runs = self.activations.get(&release.module).unwrap_or(&idle);
            let bundle = self.bundles.get(&BundleId::release(release.digest));
            let ready = bundle.is_some_and(|b| b.whole) && release.staged_for(&tx.own.id(), &area);
            let wait_ms = runs.wait_ms(&release.digest);
            let ran = runs
                .previous
                .as_ref()
                .filter(|ran| ran.digest == release.digest);
            if wait_ms > 0 && ran.is_some() {
                continue; // it runs again when it has waited
            }
            if ready && wait_ms > tx.now.mono_ms {
                self.retry_ms = Some(self.retry_ms.map_or(wait_ms, |ms| ms.min(wait_ms)));
                continue;
            }
            // While something runs, it goes on until the one that is meant is here; while nothing
            // runs, any that is here will do.
            let counts = release.area.covers(&area)
                && runs.may_run(&release)
                && (ready || runs.current.is_some());
            let rank = |r: &Release| (r.area.as_str().len(), r.version);
            let other = meant.get(&release.module);
            if counts && other.is_none_or(|(other, _)| rank(&release) > rank(other)) {
                meant.insert(release.module.clone(), (release, ready));
            }
        }
        for (release, ready) in meant.into_values() {
            let runs = self.activations.get(&release.module).unwrap_or(&idle);
            if ready && runs.wants(&release) {
                let release = Box::new(release);
                tx.out.event(Event::ReleaseReady { release });
            }
        }
    }

    /// What had to wait since the program came down over it is tried when its time has come.
    pub(in crate::agent) fn retry(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        let now_ms = tx.now.mono_ms;
        if self.retry_ms.is_none_or(|due| now_ms < due) {
            return Ok(());
        }
        let mut again = Vec::new();
        for (module, activation) in &mut self.activations {
            if activation.again(now_ms) {
                again.push(module.clone());
            }
        }
        if !again.is_empty() {
            self.save_activations(tx)?;
        }
        let again = again.into_iter();
        again.for_each(|module| tx.out.event(Event::RunsAgain { module }));
        self.announce_ready(tx);
        Ok(())
    }

    fn save_activations(&self, tx: &mut Tx) -> Result<(), StoreError> {
        let kept = codec::encode(&self.activations);
        tx.store.put_setting(&Setting::activations(), &kept)?;
        self.write_receipt(tx)
    }

    /// A release is about to be tried or loaded; `Unchanged` if it must not be yet.
    pub(in crate::agent) fn begin_attempt(
        &mut self,
        module: String,
        digest: Digest,
        tx: &mut Tx,
    ) -> Result<Answer, StoreError> {
        let activation = self.activations.entry(module).or_default();
        let may = activation.begin_attempt(digest, tx.now.mono_ms);
        always!(activation.attempt(&digest).is_some());
        if !may {
            self.announce_ready(tx); // another may run meanwhile, and this one later
        }
        self.save_activations(tx)?;
        Ok(Ok(if may { Reply::Done } else { Reply::Unchanged }))
    }

    /// The attempt has come to an end, well or not.
    pub(in crate::agent) fn end_attempt(
        &mut self,
        module: String,
        digest: &Digest,
        tx: &mut Tx,
    ) -> Result<Answer, StoreError> {
        let activation = self.activations.entry(module).or_default();
        activation.end_attempt(digest);
        self.save_activations(tx)?;
        Ok(Ok(Reply::Done))
    }

    /// The host has tried a release and switched to it; what was checked is kept.
    pub(in crate::agent) fn activated(
        &mut self,
        release: &Release,
        checks: &[u8],
        tx: &mut Tx,
    ) -> Result<Answer, StoreError> {
        if !tx.own.listed().contains(release) {
            return no(Refusal::NotListed(release.module.clone()));
        }
        let (module, version) = (release.module.clone(), release.version);
        let digest = release.digest;
        let bundle = self.bundles.get(&BundleId::release(digest));
        never!(Invariant::TriedFirst, !bundle.is_some_and(|b| b.whole))?;
        let activation = self.activations.entry(module.clone()).or_default();
        let kind = release.kind;
        activation.switch(Module {
            digest,
            version,
            kind,
        });
        let current = activation.current.as_ref();
        always!(current.is_some_and(|current| current.digest == digest));
        self.save_activations(tx)?;
        tx.store.put_setting(&Setting::checks(&module), checks)?;
        tx.out.event(Event::Activated { module, version });
        self.announce_ready(tx); // what waited for it: an adapter, whose base this is
        Ok(Ok(Reply::Done))
    }

    /// The host has tried a release and it failed.
    pub(in crate::agent) fn activation_failed(
        &mut self,
        release: &Release,
        reason: &str,
        tx: &mut Tx,
    ) -> Result<Answer, StoreError> {
        let activation = self.activations.entry(release.module.clone()).or_default();
        activation.park(release.digest, reason);
        let parked = activation.parked.last();
        always!(parked.is_some_and(|parked| parked.digest == release.digest));
        self.save_activations(tx)?;
        Ok(Ok(Reply::Done))
    }

    /// Returns to what ran before.
    pub(in crate::agent) fn go_back(
        &mut self,
        module: &str,
        tx: &mut Tx,
    ) -> Result<Answer, StoreError> {
        let Some(activation) = self.activations.get_mut(module) else {
            return no(Refusal::NotActive(module.to_owned()));
        };
        let left = activation.current.clone();
        if !activation.go_back() {
            return no(Refusal::NoEarlier(module.to_owned()));
        }
        always!(activation.current.is_some(), "something runs again");
        if let Some(left) = left {
            activation.park(left.digest, "returned from by hand");
        }
        self.save_activations(tx)?;
        Ok(Ok(Reply::Done))
    }

    /// What was recalled stops, is not served and is not kept.
    pub(in crate::agent) fn apply_recalls(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        let Some(trust) = tx.own.trust.as_ref() else {
            return Ok(());
        };
        let recalled = |trust: &TrustedState, id: &BundleId| {
            id.kind == BundleKind::Release && trust.recalled(&id.digest).is_some()
        };
        let held = self.bundles.keys().copied();
        let gone: Vec<_> = held.filter(|id| recalled(trust, id)).collect();
        let mut stopped = Vec::new();
        // A module that no list in force names any more runs no more: it was withdrawn, or its
        // delegation has ended or does not cover its kind.
        let own = trust.list().into_iter().flat_map(|list| &list.releases);
        let delegated = trust.delegated().flat_map(|list| &list.releases);
        let listed: BTreeSet<_> = own.chain(delegated).map(|r| r.module.as_str()).collect();
        let unlisted = |module: &str| trust.list_binds() && !listed.contains(module);
        // Where an adapter is not meant any more its base speaks: nothing takes its place.
        let area = tx.own.area();
        let all = trust.releases();
        let elsewhere = |module: &str, activation: &Activation| {
            let meant = |r: &&&Release| r.module == module && r.area.covers(&area);
            let none_meant = trust.list_binds() && !all.iter().any(|r| meant(&r));
            activation.kind() == ModuleKind::Adapter && none_meant
        };
        for (module, activation) in &mut self.activations {
            let reason = activation.apply(|digest| trust.recalled(digest).map(str::to_owned));
            let gone =
                activation.current.is_some() && (unlisted(module) || elsewhere(module, activation));
            if gone {
                activation.stop();
            }
            if gone || reason.is_some() {
                stopped.push(Event::Recalled {
                    module: module.clone(),
                    reason,
                    to: activation.current.as_ref().map(|m| m.version),
                });
            }
        }
        let runs = self.activations.values();
        let mut run = runs.filter_map(|activation| activation.current.as_ref());
        always!(run.all(|module| trust.recalled(&module.digest).is_none()));
        for id in gone {
            self.bundles.remove(&id);
            tx.store.remove_bundle(&id)?;
        }
        if !stopped.is_empty() {
            self.save_activations(tx)?;
            stopped.into_iter().for_each(|event| tx.out.event(event));
        }
        Ok(())
    }
}
