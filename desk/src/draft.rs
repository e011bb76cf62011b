//! Drafts: documents that pass from desk to desk as one file until enough keys have signed, and are
//! then published from any enrolled phone, folder or mirror.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use distribution::delegation::{DelegatedList, Delegation};
use distribution::delta::{EncodeOptions, encode};
use distribution::notices::{Recalled, Revoked};
use distribution::release::{Delta, Lineage, Stage, Withdrawn};
use distribution::{
    Beacon, ModuleKind, Offer, Recall, Release, ReleaseList, Revocations, Root, TrustedState,
};
use protocol::limits::DELTAS_PER_RELEASE_MAX;
use protocol::signed::{Document, Role, Signed};
use protocol::{Area, DeviceId, Digest};

use crate::Refusal;
use crate::files::{DraftFile, RootFile, from_text, hex, read, unhex};
use crate::kind;

/// Seconds of a day.
pub const DAY_S: u64 = 86_400;

/// Seconds since 1970 by this machine.
pub fn wall_s() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}

/// The root file of a ministry.
pub fn load_root(path: &Path) -> Result<Signed<Root>, Refusal> {
    let file: RootFile = read(path, "kijiti.root/1")?;
    from_text("the root", &file.root)
}

/// What goes into a draft of a release.
#[derive(Debug, Clone)]
pub struct NewRelease<'a> {
    /// The bundle.
    pub file: &'a Path,
    /// The module.
    pub module: &'a str,
    /// What it is, if whoever publishes it says so.
    pub kind: Option<ModuleKind>,
    /// Its version, or the next.
    pub version: Option<u64>,
    /// Where.
    pub area: &'a str,
    /// Language.
    pub language: &'a str,
    /// Words for people.
    pub notes: &'a str,
    /// Earlier bundles from which deltas are made.
    pub delta_from: &'a [PathBuf],
    /// The models that an adapter stands beside, to try it with.
    pub bases: &'a [PathBuf],
    /// Where deltas are written: beside the draft.
    pub beside: &'a Path,
    /// A staged rollout.
    pub stage: Option<Stage>,
    /// Where it comes from.
    pub lineage: Option<Lineage>,
}

/// The trust that a phone holds, from its documents by kind.
pub fn held_trust(records: &[(String, Vec<u8>)]) -> Result<TrustedState, Refusal> {
    let trust = TrustedState::restore(records).map_err(Refusal::Trust)?;
    trust.ok_or(Refusal::NoMinistry)
}

/// The file of a draft that nobody has signed yet.
pub fn draft_of<T: Document>(
    document: &T,
    bundles: Vec<String>,
    bases: Vec<String>,
) -> Result<DraftFile, Refusal> {
    let signed = Signed::unsigned(document);
    signed.read().map_err(|e| Refusal::Invalid(T::DOMAIN, e))?;
    let document = hex(&signed.to_bytes());
    Ok(DraftFile {
        schema: DraftFile::SCHEMA.into(),
        kind: T::DOMAIN.into(),
        document,
        bundles,
        bases,
    })
}

fn absolute(path: &Path) -> Result<String, Refusal> {
    let path = path
        .canonicalize()
        .map_err(|e| Refusal::Unreadable(path.to_owned(), e))?;
    Ok(path.display().to_string())
}

pub(crate) fn file_bytes(path: &Path) -> Result<Vec<u8>, Refusal> {
    let unreadable = |e| Refusal::Unreadable(path.to_owned(), e);
    // A device or a pipe may be without end.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(unreadable(std::io::Error::other("it is no plain file")));
    }
    std::fs::read(path).map_err(unreadable)
}

fn area_of(text: &str) -> Result<Area, Refusal> {
    Area::parse(text).map_err(Refusal::NotAnArea)
}

/// Versions that people count up to; beyond, somebody with stolen keys has run ahead.
const VERSION_FAR: u64 = 1 << 40;

/// What the next list begins as: the current one, one version on, made under the newest root. If
/// the keys of the current one were retired, nothing of it is taken over: who signed it may not
/// have been the ministry.
fn next_list(trust: Option<&TrustedState>) -> ReleaseList {
    let held = trust.and_then(|t| t.list());
    let current = held.filter(|_| trust.is_some_and(TrustedState::list_binds));
    let last = held.map_or(0, |l| l.version);
    let version = if current.is_some() || last < VERSION_FAR {
        last.saturating_add(1)
    } else {
        1
    };
    ReleaseList {
        version,
        issued_s: wall_s(),
        root: trust.map(TrustedState::root_version).filter(|v| *v > 1),
        ..current.map(|l| (**l).clone()).unwrap_or_default()
    }
}

/// Drafts the next list, with one release added or replaced.
pub fn draft(
    trust: Option<&TrustedState>,
    new: Option<&NewRelease<'_>>,
    expires_s: Option<u64>,
) -> Result<DraftFile, Refusal> {
    let mut list = next_list(trust);
    list.expires_s = expires_s.or(list.expires_s);
    let mut files = Files::default();
    if let Some(new) = new {
        let area = area_of(new.area)?;
        let same = |key: (&str, &Area, &str)| key == (new.module, &area, new.language);
        let gone = list
            .withdrawn
            .iter()
            .find(|w| same(w.key()))
            .map(|w| w.version);
        let before = list.releases.iter().find(|r| same(r.key())).cloned();
        let held = before.as_ref().map(|r| r.version).or(gone).unwrap_or(0);
        let kind = kind::kind_of(new.kind, new.module, new.file, trust)?;
        let mut release = release_of(new, (held, kind), &mut files)?;
        chain(&mut release, before.as_ref());
        list.withdrawn.retain(|w| !same(w.key()));
        list.releases.retain(|r| !same(r.key()));
        list.releases.push(release);
    }
    draft_of(&list, files.bundles, files.bases)
}

/// Drafts the next list of a delegation, with one release added or replaced. Every release in it
/// says where it comes from.
pub fn draft_delegated(
    trust: &TrustedState,
    name: &str,
    new: &NewRelease<'_>,
) -> Result<DraftFile, Refusal> {
    let delegation = trust
        .list()
        .and_then(|l| l.delegations.iter().find(|d| d.name == name));
    let delegation = delegation.ok_or_else(|| Refusal::NotDelegated(name.to_owned()))?;
    if new.lineage.is_none() {
        return Err(Refusal::NoLineage);
    }
    let current = trust.delegated().find(|d| d.delegation == name);
    let mut list = DelegatedList {
        delegation: name.to_owned(),
        version: current.map_or(delegation.version_min.max(1), |d| {
            d.version.saturating_add(1)
        }),
        issued_s: wall_s(),
        releases: current.map(|d| d.releases.clone()).unwrap_or_default(),
    };
    let area = area_of(new.area)?;
    let same = |r: &Release| r.key() == (new.module, &area, new.language);
    let before = list.releases.iter().find(|r| same(r)).cloned();
    let mut files = Files::default();
    let kind = kind::kind_of(new.kind, new.module, new.file, Some(trust))?;
    let held = before.as_ref().map_or(0, |r| r.version);
    let mut release = release_of(new, (held, kind), &mut files)?;
    chain(&mut release, before.as_ref());
    if !delegation.covers(&release) {
        let module = new.module.to_owned();
        return Err(Refusal::NotCovered(
            name.to_owned(),
            module,
            kind,
            release.area,
        ));
    }
    list.releases.retain(|r| !same(r));
    list.releases.push(release);
    draft_of(&list, files.bundles, files.bases)
}

/// Files that go with a draft.
#[derive(Debug, Default)]
struct Files {
    bundles: Vec<String>,
    bases: Vec<String>,
}

/// The release that a bundle becomes, its deltas made; `held` is the version there is.
fn release_of(
    new: &NewRelease<'_>,
    (held, kind): (u64, ModuleKind),
    files: &mut Files,
) -> Result<Release, Refusal> {
    let bytes = file_bytes(new.file)?;
    let version = new.version.unwrap_or(held.saturating_add(1));
    if version <= held {
        return Err(Refusal::VersionHeld(new.module.to_owned(), held));
    }
    if kind != ModuleKind::Adapter && !new.bases.is_empty() {
        return Err(Refusal::NoAdapter(new.module.to_owned(), kind));
    }
    files.bundles.push(absolute(new.file)?);
    let mut deltas = Vec::new();
    for old in new.delta_from {
        let (delta, path) = make_delta(old, &bytes, new.beside)?;
        deltas.push(delta);
        files.bundles.push(absolute(&path)?);
        files.bases.push(absolute(old)?);
    }
    for base in new.bases {
        files.bases.push(absolute(base)?);
    }
    Ok(Release {
        module: new.module.to_owned(),
        version,
        digest: Digest::of(&bytes),
        bytes: bytes.len() as u64,
        area: area_of(new.area)?,
        language: new.language.to_owned(),
        engine_min: distribution::activation::ENGINE_VERSION,
        notes: new.notes.to_owned(),
        deltas,
        stage: new.stage.clone(),
        lineage: new.lineage.clone(),
        kind,
    })
}

/// If a delta leads on from the release before, that one's deltas become steps on the way: a phone
/// that is two releases behind takes two small deltas.
fn chain(release: &mut Release, before: Option<&Release>) {
    let Some(before) = before.filter(|b| release.deltas.iter().any(|d| d.base == b.digest)) else {
        return;
    };
    for step in &before.deltas {
        let there = release.deltas.iter().any(|d| d.base == step.base);
        if !there && release.deltas.len() < DELTAS_PER_RELEASE_MAX {
            release.deltas.push(Delta {
                makes: Some(before.made_by(step)),
                ..step.clone()
            });
        }
    }
}

fn make_delta(old: &Path, new: &[u8], beside: &Path) -> Result<(Delta, PathBuf), Refusal> {
    let base = file_bytes(old)?;
    let delta = encode(&base, new, EncodeOptions::default()).map_err(Refusal::NoDelta)?;
    let digest = Digest::of(&delta);
    let path = beside.with_file_name(format!("{}.delta", digest.short()));
    std::fs::write(&path, &delta).map_err(Refusal::NoDelta)?;
    Ok((
        Delta {
            base: Digest::of(&base),
            digest,
            bytes: delta.len() as u64,
            makes: None,
        },
        path,
    ))
}

/// Drafts the next list without one release; its name and version stay in it.
pub fn withdraw(
    trust: &TrustedState,
    module: &str,
    area: &str,
    language: &str,
) -> Result<DraftFile, Refusal> {
    let area = area_of(area)?;
    let mut list = next_list(Some(trust));
    let at = list
        .releases
        .iter()
        .position(|r| r.key() == (module, &area, language))
        .ok_or_else(|| Refusal::NotListed(module.to_owned(), area.clone(), language.to_owned()))?;
    let gone = list.releases.remove(at);
    list.withdrawn.push(Withdrawn {
        module: gone.module,
        area,
        language: gone.language,
        version: gone.version,
    });
    draft_of(&list, Vec::new(), Vec::new())
}

/// Drafts a recall of one more bundle.
pub fn recall(trust: &TrustedState, bundle: Digest, reason: &str) -> Result<DraftFile, Refusal> {
    if trust.root().is_none_or(|r| r.recall.is_none()) {
        return Err(Refusal::NoRecallKeys);
    }
    let mut recalled = trust
        .recall()
        .map(|r| r.recalled.clone())
        .unwrap_or_default();
    if recalled.iter().any(|r| r.digest == bundle) {
        return Err(Refusal::Recalled(bundle));
    }
    recalled.push(Recalled {
        digest: bundle,
        reason: reason.to_owned(),
    });
    let version = trust.recall().map_or(0, |r| r.version).saturating_add(1);
    let recall = Recall {
        version,
        root: trust.root_version(),
        issued_s: wall_s(),
        recalled,
    };
    draft_of(&recall, Vec::new(), Vec::new())
}

/// Drafts the revocation of one more device.
pub fn revoke(trust: &TrustedState, device: DeviceId, reason: &str) -> Result<DraftFile, Refusal> {
    let mut revoked = trust
        .revocations()
        .map(|r| r.revoked.clone())
        .unwrap_or_default();
    if revoked.iter().any(|r| r.device == device) {
        return Err(Refusal::Revoked(device));
    }
    revoked.push(Revoked {
        device,
        reason: reason.to_owned(),
    });
    let version = trust
        .revocations()
        .map_or(0, |r| r.version)
        .saturating_add(1);
    let revocations = Revocations {
        version,
        root: trust.root_version(),
        issued_s: wall_s(),
        revoked,
    };
    draft_of(&revocations, Vec::new(), Vec::new())
}

/// What modules are in the lists held, or are usually: what somebody else may release of them,
/// unless it is said.
pub fn kinds_of(trust: &TrustedState, modules: &[String]) -> Vec<ModuleKind> {
    let kind = |module: &String| kind::held(Some(trust), module).unwrap_or(kind::by_name(module));
    let kinds: BTreeSet<_> = modules.iter().map(kind).collect();
    let known = |kind: &ModuleKind| *kind != ModuleKind::Other;
    kinds.into_iter().filter(known).collect()
}

/// Drafts the next list with a delegation added or replaced, or taken out if it names no keys.
pub fn delegate(trust: &TrustedState, delegation: Delegation) -> Result<DraftFile, Refusal> {
    let mut list = next_list(Some(trust));
    list.delegations.retain(|d| d.name != delegation.name);
    if !delegation.role.keys.is_empty() {
        list.delegations.push(delegation);
    }
    draft_of(&list, Vec::new(), Vec::new())
}

/// How the next root differs.
#[derive(Debug, Clone, Default)]
pub struct Rotation {
    /// Keys that join root and releases; and enrolment, where that has no keys of its own.
    pub add: Vec<DeviceId>,
    /// Keys that join enrolment.
    pub enrol: Vec<DeviceId>,
    /// Keys of enrolment that were stolen: they leave, and what they certified counts no more.
    pub distrust: Vec<DeviceId>,
    /// Keys that leave every role.
    pub drop: Vec<DeviceId>,
    /// The new threshold, or the old one.
    pub threshold: Option<u32>,
    /// A new beacon key.
    pub beacon: Option<DeviceId>,
    /// Keys that join the recall role.
    pub recall: Vec<DeviceId>,
}

/// Drafts the next root. It must be signed by the old keys and by the new ones.
pub fn rotate(trust: &TrustedState, rotation: &Rotation) -> Result<DraftFile, Refusal> {
    let current = trust.root().ok_or(Refusal::NoMinistry)?;
    let change = |role: &Role, add: &[DeviceId], threshold: Option<u32>| {
        let leaves = |k: &&DeviceId| rotation.drop.contains(k) || rotation.distrust.contains(k);
        let kept = role.keys.iter().filter(|k| !leaves(k)).chain(add);
        Role::new(kept.copied(), threshold.unwrap_or(role.threshold)).map_err(Refusal::NotARole)
    };
    let recall = match (&current.recall, rotation.recall.as_slice()) {
        (None, []) => None,
        (None, keys) => Some(Role::new(keys.iter().copied(), 1).map_err(Refusal::NotARole)?),
        (Some(role), keys) => Some(change(role, keys, None)?),
    };
    let mut distrusted = current.distrusted.clone();
    distrusted.extend(
        rotation
            .distrust
            .iter()
            .filter(|key| !current.distrusted.contains(key)),
    );
    let root = Root {
        version: current.version.saturating_add(1),
        issued_s: wall_s(),
        root: change(&current.root, &rotation.add, rotation.threshold)?,
        releases: change(&current.releases, &rotation.add, rotation.threshold)?,
        enrolment: match current.enrolment == current.root {
            true => change(
                &current.enrolment,
                &[rotation.add.clone(), rotation.enrol.clone()].concat(),
                rotation.threshold,
            )?,
            false => change(&current.enrolment, &rotation.enrol, None)?,
        },
        distrusted,
        recall,
        beacon: rotation
            .beacon
            .map(Role::single)
            .or_else(|| current.beacon.clone()),
        ..(**current).clone()
    };
    draft_of(&root, Vec::new(), Vec::new())
}

/// Drafts today's beacon. Its time is its version, so a second one in the same second, or after a
/// clock set back, is dated one second after the last: two beacons of one version that say
/// different things are refused by every phone.
pub fn beacon(trust: &TrustedState) -> Result<DraftFile, Refusal> {
    let beacon = Beacon {
        time_s: trust
            .beacon()
            .map_or(0, |last| last.time_s.saturating_add(1))
            .max(wall_s()),
        root: trust.root_version(),
        list: trust.list_version(),
        recall: trust.recall().map_or(0, |r| r.version),
    };
    draft_of(&beacon, Vec::new(), Vec::new())
}

/// The document in a draft.
pub fn offer_of(draft: &DraftFile) -> Result<Offer, Refusal> {
    let bytes = unhex("draft", &draft.document)?;
    Offer::from_bytes(&draft.kind, &bytes).map_err(Refusal::DraftDamaged)
}

/// When a document says that it was made; 0 if it is damaged.
pub fn issued_s(offer: &Offer) -> u64 {
    match offer {
        Offer::Root(d) => d.read().map_or(0, |d| d.issued_s),
        Offer::List(d) => d.read().map_or(0, |d| d.issued_s),
        Offer::Delegated(d) => d.read().map_or(0, |d| d.issued_s),
        Offer::Recall(d) => d.read().map_or(0, |d| d.issued_s),
        Offer::Revocations(d) => d.read().map_or(0, |d| d.issued_s),
        Offer::Beacon(d) => d.read().map_or(0, |d| d.time_s),
    }
}
