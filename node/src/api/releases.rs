//! Releases: what is listed, what runs, and what was checked.

use distribution::activation::Module;
use distribution::{Activation, Release, tree};
use protocol::{Area, BundleId, Digest};

use super::views::releases::{Check, Release as Row, Releases, Running, State, Version};
use super::{Look, Refusal};
use crate::agent::Known;
use crate::store::Setting;

/// Releases in the list, and what runs.
pub fn list(cx: &dyn Look) -> Result<Releases, Refusal> {
    let known = cx.known();
    let listed = known.trust().and_then(|t| t.list());
    let held = cx.store().bundles()?;
    let whole = |r: &Release| {
        held.iter()
            .any(|b| b.id == BundleId::release(r.digest) && b.whole)
    };
    // The ministry's own, and those that it lets others list.
    let own: Vec<_> = listed.iter().flat_map(|l| &l.releases).collect();
    let all = known.trust().map(|t| t.releases()).unwrap_or_default();
    let delegated = all.into_iter().filter(|r| !own.contains(r));
    let releases = own.iter().copied().chain(delegated).map(|r| Row {
        module: r.module.clone(),
        version: r.version,
        digest: r.digest,
        bytes: r.bytes,
        area: r.area.clone(),
        language: r.language.clone(),
        kind: r.kind,
        notes: r.notes.clone(),
        state: Some(state(known, r, whole(r)))
            .filter(|state| *state != State::Active)
            .unwrap_or_else(|| mute(cx, r).map_or(State::Active, State::WaitsForBase)),
    });
    let version = |m: &Module| Version {
        version: m.version,
        digest: m.digest,
    };
    // Of what runs no more, the list still says what it was.
    let kind_of = |module: &String, a: &Activation| {
        let runs = a.current.is_some() || a.previous.is_some();
        let listed = own.iter().find(|r| !runs && r.module == *module);
        listed.map_or(a.kind(), |r| r.kind)
    };
    let running = |(module, a): (&String, &Activation)| Running {
        module: module.clone(),
        kind: kind_of(module, a),
        current: a.current.as_ref().map(version),
        previous: a.previous.as_ref().map(version),
    };
    Ok(Releases {
        release_list: listed.map(|l| l.version),
        releases: releases.collect(),
        active: known.activations().map(running).collect(),
    })
}

/// The base of an adapter, if that is not what runs here.
fn mute(cx: &dyn Look, release: &Release) -> Option<Digest> {
    let kept = cx.store().setting(&Setting::checks(&release.module)).ok()?;
    let checks: Vec<Check> = serde_json::from_slice(&kept?).ok()?;
    let base = checks.iter().find_map(|check| {
        let Check::StandsBeside { base } = check else {
            return None;
        };
        Some(*base)
    })?;
    let mut running = cx
        .known()
        .activations()
        .filter_map(|(_, a)| a.current.as_ref());
    running.all(|module| module.digest != base).then_some(base)
}

fn state(known: Known<'_>, release: &Release, whole: bool) -> State {
    let activation = known.activation(&release.module);
    let runs = activation.and_then(|a| a.current.as_ref());
    let parked = activation.and_then(|a| a.parked.iter().find(|p| p.digest == release.digest));
    if let Some(why) = known.trust().and_then(|t| t.recalled(&release.digest)) {
        return State::Recalled(why.to_string());
    }
    if runs.is_some_and(|m| m.digest == release.digest) {
        return State::Active;
    }
    if let Some(parked) = parked {
        return State::Parked(parked.reason.clone());
    }
    let area = known
        .certificate()
        .map(|c| c.area.clone())
        .unwrap_or_default();
    let fell = activation.and_then(|a| a.attempt(&release.digest));
    if let Some(fell) = fell.filter(|fell| fell.wait_ms() > 0) {
        return State::TriedAgain {
            fell: fell.fell,
            wait_s: fell.wait_ms() / 1000,
        };
    }
    match (
        whole,
        release.area.covers(&area),
        release.staged_for(&known.id(), &area),
    ) {
        (false, ..) => State::Partial,
        (true, false, _) => State::CarriedForOthers,
        (true, true, false) => State::WaitsForStage,
        (true, true, true) => State::Whole,
    }
}

/// What runs of a module.
pub fn active(known: Known<'_>, module: &str) -> Result<Module, Refusal> {
    let current = known.activation(module).and_then(|a| a.current.clone());
    current.ok_or_else(|| Refusal::NotActive(module.to_owned()))
}

/// What was checked of a release before its own test.
pub fn checks(known: Known<'_>, release: &Release) -> Vec<Check> {
    let Some(trust) = known.trust() else {
        return Vec::new();
    };
    let Some((root, list)) = trust.root().zip(trust.list()) else {
        return Vec::new();
    };
    vec![
        Check::Root {
            version: root.version,
            ministry: root.ministry.clone(),
        },
        match trust.list_binds() {
            true => Check::List {
                version: list.version,
                signed: list.signed().valid_signatures(&root.releases),
                needed: root.releases.threshold,
            },
            false => Check::ListRetired {
                version: list.version,
            },
        },
        Check::NotOlder,
        Check::Digest {
            groups: tree::group_count(release.bytes),
            bytes: release.bytes,
            digest: release.digest,
        },
        Check::MeantFor {
            area: release.area.clone(),
            engine: release.engine_min,
        },
    ]
}

/// Whether the ministry itself has released a bundle. Of one that is in no list any more: whether its
/// own list names the module, and no delegation does.
pub fn by_ministry(known: Known<'_>, release: &Release) -> bool {
    let Some((trust, list)) = known.trust().and_then(|t| Some((t, t.list()?))) else {
        return false;
    };
    let module = |r: &&Release| r.module == release.module;
    let own: Vec<_> = list.releases.iter().filter(module).collect();
    let mut delegated = trust.delegated().flat_map(|d| &d.releases).filter(module);
    own.iter().any(|r| r.digest == release.digest)
        || (!own.is_empty() && delegated.next().is_none())
}

/// A release that is active and no longer in the list.
pub fn release_of(module: &str, current: &Module) -> Release {
    Release {
        module: module.to_owned(),
        version: current.version,
        digest: current.digest,
        bytes: 0,
        area: Area::default(),
        language: "und".into(),
        engine_min: 0,
        notes: String::new(),
        deltas: Vec::new(),
        stage: None,
        lineage: None,
        kind: current.kind,
    }
}
