//! Looking at a draft before signing it: who has signed, what it changes, and whether its bundles
//! are what they should be. Each check is a code with values; whoever shows it words it.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use distribution::delta::{DeltaError, ReadAt, apply};
use distribution::release::{Delta, Withdrawn};
use distribution::{
    Delegation, ModuleKind, Offer, Release, ReleaseList, Root, TrustError, TrustedState,
};
use inference::trial::{TrialError, Tried, try_rules};
use protocol::codec::CodecError;
use protocol::signed::{Document, Role, Signed};
use protocol::{Area, DeviceId, Digest};
use teach::evaluate::GroupResult;

use crate::Refusal;
use crate::draft::offer_of;
use crate::files::DraftFile;
use crate::pack::{self, Change, Part, Remark};

mod model;

use model::{check_model, check_pictures};

/// Synthetic patients on whom a model's groups are measured.
pub const PATIENTS: usize = 3000;
/// The seed they are drawn with, so that two models are measured on the same.
pub const SEED: u64 = 7;

/// What a draft comes to.
#[derive(Debug)]
pub struct Checked {
    /// The kind of document.
    pub kind: String,
    /// Of a release list: its version.
    pub list_version: Option<u64>,
    /// Whose signatures it carries.
    pub signed_by: Vec<DeviceId>,
    /// Signatures that count.
    pub valid_signatures: usize,
    /// Signatures that are needed.
    pub needed: u32,
    /// Every check, in order.
    pub checks: Vec<Check>,
    /// Of a release list: its releases.
    pub releases: Vec<Release>,
}

impl Checked {
    /// Whether every check has passed; signatures that are missing are no failed check.
    pub fn all_pass(&self) -> bool {
        self.checks.iter().all(Check::passed)
    }
}

/// One check.
#[derive(Debug)]
pub enum Check {
    /// Keys that are not of this role have signed; `enough` others have too.
    Strangers(Vec<DeviceId>, bool),
    /// A phone would accept it.
    Accepted,
    /// A phone would refuse it.
    Refused(TrustError),
    /// Of a root: keys of a role join and leave, and so many must sign.
    RoleChanges(&'static str, Vec<DeviceId>, Vec<DeviceId>, u32),
    /// Of a root: what this key has certified counts no more.
    Distrusts(DeviceId),
    /// It recalls a bundle, for a reason.
    Recalls(Digest, String),
    /// It revokes a phone, for a reason.
    Revokes(DeviceId, String),
    /// The list held was signed with keys retired since.
    NothingTakenOver,
    /// A release that is new.
    Adds(Release),
    /// A release with a new version; the old one.
    Moves(Release, u64),
    /// A release of the same version, with other terms.
    OtherTerms(Release),
    /// A release that goes to some phones first.
    Staged(Release),
    /// A release is withdrawn.
    Withdraws(Withdrawn),
    /// Somebody may release modules for an area.
    Delegates(String, Vec<String>, Vec<ModuleKind>, Area),
    /// Somebody may release nothing any more.
    EndsDelegation(String),
    /// A release whose file is not here, and which is not this draft's change.
    FileElsewhere(Release),
    /// No file of this draft is the release's bundle.
    NoFile(Release),
    /// A release of a kind that no phone runs yet: it is carried.
    OnlyCarried(Release),
    /// A release of a bundle that the ministry has recalled, and why: no phone would run it.
    ListsRecalled(Release, String),
    /// The bundle in this file is the release's.
    Bundle(Release, PathBuf),
    /// Every rule of a pack reads known findings.
    RulesRead(Release, Tried),
    /// Golden cases of the guidelines come out by a pack's rules alone.
    RulesGolden(Release, Tried),
    /// Every pink rule of the pack before is there, or given up.
    RulesKept(Release, Tried),
    /// What a clinician should look at in a pack before anybody signs it.
    PackRemark(Release, Remark),
    /// What a pack changes against the guideline's that is built in.
    PackChanges(Release, Part, Change),
    /// A rule pack would run on no phone.
    RulesFail(Release, TrialError),
    /// A pack gives up a pink rule; whether whoever checks has said that it may.
    GivesUp(Release, String, bool),
    /// Golden cases of a model that come out as published.
    ModelGolden(usize),
    /// How a model does on one group of synthetic patients.
    ModelGroup(GroupResult),
    /// An adapter stands beside a bundle.
    StandsBeside(Release, Beside),
    /// A model would run on no phone.
    ModelFails(Release, String),
    /// A delta published before, by way of another bundle.
    DeltaStep(Delta, Digest),
    /// A delta whose file is not in the draft.
    DeltaMissing(Delta),
    /// A delta whose base is not at hand.
    BaseMissing(Delta),
    /// A delta that makes the release, bit for bit; bytes of the release.
    DeltaMakes(Delta, u64),
    /// A delta that does not make the release.
    DeltaFails(Delta, DeltaError),
    /// Where a release says that it comes from.
    Lineage(Digest, String, usize),
}

/// What an adapter stands beside, and for whom.
#[derive(Debug, Clone)]
pub struct Beside {
    /// The base's digest, shortened.
    pub base: String,
    /// Groups of patients that it was taught by.
    pub patients: Vec<&'static str>,
    /// Whether it is heard in the place of its base: the ministry's own is.
    pub in_place: bool,
    /// Whether its base is a release in the list that is meant wherever the adapter is.
    pub listed: bool,
}

impl Check {
    /// Whether it has passed.
    pub fn passed(&self) -> bool {
        match self {
            Self::Strangers(_, enough) => *enough,
            Self::GivesUp(_, _, agreed) => *agreed,
            Self::StandsBeside(_, beside) => beside.listed,
            // No phone would say such a dose; the rest is for a clinician's eyes.
            Self::PackRemark(_, remark) => !matches!(remark, Remark::TooMuch { .. }),
            Self::Refused(_)
            | Self::ListsRecalled(..)
            | Self::NoFile(_)
            | Self::RulesFail(..)
            | Self::ModelFails(..)
            | Self::DeltaMissing(_)
            | Self::BaseMissing(_)
            | Self::DeltaFails(..) => false,
            Self::Accepted
            | Self::RoleChanges(..)
            | Self::Distrusts(_)
            | Self::Recalls(..)
            | Self::Revokes(..)
            | Self::NothingTakenOver
            | Self::Adds(_)
            | Self::Moves(..)
            | Self::OtherTerms(_)
            | Self::Staged(_)
            | Self::Withdraws(_)
            | Self::Delegates(..)
            | Self::EndsDelegation(_)
            | Self::FileElsewhere(_)
            | Self::OnlyCarried(_)
            | Self::Bundle(..)
            | Self::RulesRead(..)
            | Self::RulesGolden(..)
            | Self::RulesKept(..)
            | Self::PackChanges(..)
            | Self::ModelGolden(_)
            | Self::ModelGroup(_)
            | Self::DeltaStep(..)
            | Self::DeltaMakes(..)
            | Self::Lineage(..) => true,
        }
    }
}

struct Signatures {
    by: Vec<DeviceId>,
    valid: usize,
    needed: u32,
    strangers: Vec<DeviceId>,
}

fn signatures<T: Document>(signed: &Signed<T>, roles: &[&Role]) -> Signatures {
    // A root must satisfy two roles: the one that is farther from its threshold is shown.
    let lacking = |role: &&&Role| i64::from(role.threshold) - signed.valid_signatures(role) as i64;
    let role = roles.iter().max_by_key(lacking);
    let by: Vec<_> = signed.signers().collect();
    let known = |id: &DeviceId| roles.iter().any(|r| r.keys.contains(id));
    Signatures {
        valid: role.map_or(0, |r| signed.valid_signatures(r)),
        needed: role.map_or(0, |r| r.threshold),
        strangers: by.iter().filter(|id| !known(id)).copied().collect(),
        by,
    }
}

/// Everything that can be said of a draft, checked against the newest root that `trust` holds.
/// `agreed` names the pink rules that its rule packs may give up: what a pack says of itself is not
/// the word of who checks it.
pub fn check(
    draft: &DraftFile,
    trust: &TrustedState,
    agreed: &[String],
) -> Result<Checked, Refusal> {
    let offer = offer_of(draft)?;
    let root = trust.root().ok_or(Refusal::EmptyRoot)?;
    let signed = signatures_of(&offer, draft, trust, root)?;
    let mut checks = Vec::new();
    if !signed.strangers.is_empty() {
        // Phones pass over signatures that say nothing, once there are enough that do.
        let enough = signed.valid >= signed.needed as usize;
        checks.push(Check::Strangers(signed.strangers, enough));
    }
    // What a phone would say of it; a missing signature is said already, so that is not repeated.
    match trust.clone().offer(&offer) {
        Ok(_) => checks.push(Check::Accepted),
        Err(error) if signed.valid >= signed.needed as usize => checks.push(Check::Refused(error)),
        Err(_) => {}
    }
    let mut desk = Files::of(draft, agreed);
    desk.listed = trust.releases().into_iter().cloned().collect();
    if let Offer::List(d) = &offer {
        desk.listed = d.read().map_err(damaged)?.releases;
    }
    let (mut list_version, mut releases) = (None, Vec::new());
    match &offer {
        Offer::Root(d) => checks.extend(root_changes(root, &d.read().map_err(damaged)?)),
        Offer::List(d) => {
            let list = d.read().map_err(damaged)?;
            checks.extend(desk.check_list(&list, trust));
            list_version = Some(list.version);
            releases = list.releases;
        }
        Offer::Delegated(d) => {
            for release in &d.read().map_err(damaged)?.releases {
                checks.extend(recalled(release, trust));
                checks.extend(desk.check_release(release, false));
            }
        }
        Offer::Recall(d) => {
            let known = trust
                .recall()
                .map(|r| r.recalled.clone())
                .unwrap_or_default();
            let named = d.read().map_err(damaged)?.recalled;
            let new = named.into_iter().filter(|r| !known.contains(r));
            checks.extend(new.map(|r| Check::Recalls(r.digest, r.reason)));
        }
        Offer::Revocations(d) => {
            let known = trust
                .revocations()
                .map(|r| r.revoked.clone())
                .unwrap_or_default();
            let named = d.read().map_err(damaged)?.revoked;
            let new = named.into_iter().filter(|r| !known.contains(r));
            checks.extend(new.map(|r| Check::Revokes(r.device, r.reason)));
        }
        Offer::Beacon(_) => {}
    }
    Ok(Checked {
        kind: draft.kind.clone(),
        list_version,
        signed_by: signed.by,
        valid_signatures: signed.valid,
        needed: signed.needed,
        checks,
        releases,
    })
}

/// A bundle that is recalled comes back as no release.
fn recalled(release: &Release, trust: &TrustedState) -> Option<Check> {
    let why = trust.recalled(&release.digest)?;
    Some(Check::ListsRecalled(release.clone(), why.to_owned()))
}

fn damaged(error: CodecError) -> Refusal {
    Refusal::Damaged("draft", Some(error))
}

/// The roles whose keys a document needs, by the root in force; a root needs two.
fn roles_of(
    offer: &Offer,
    draft: &DraftFile,
    trust: &TrustedState,
    root: &Root,
) -> Result<Vec<Role>, Refusal> {
    let none = || Refusal::NoKeysFor(draft.kind.clone());
    Ok(match offer {
        Offer::Root(d) => vec![root.root.clone(), d.read().map_err(damaged)?.root],
        Offer::List(_) => vec![root.releases.clone()],
        Offer::Recall(_) => vec![root.recall.clone().ok_or_else(none)?],
        Offer::Revocations(_) => vec![root.enrolment.clone()],
        Offer::Beacon(_) => vec![root.beacon.clone().ok_or_else(none)?],
        Offer::Delegated(d) => {
            let name = d.read().map_err(damaged)?.delegation;
            let mut delegations = trust.list().into_iter().flat_map(|l| l.delegations.iter());
            let role = delegations.find(|d| d.name == name).map(|d| d.role.clone());
            vec![role.ok_or_else(none)?]
        }
    })
}

fn signatures_of(
    offer: &Offer,
    draft: &DraftFile,
    trust: &TrustedState,
    root: &Root,
) -> Result<Signatures, Refusal> {
    let roles = roles_of(offer, draft, trust, root)?;
    let roles: Vec<&Role> = roles.iter().collect();
    Ok(match offer {
        Offer::Root(d) => signatures(d, &roles),
        Offer::List(d) => signatures(d, &roles),
        Offer::Recall(d) => signatures(d, &roles),
        Offer::Revocations(d) => signatures(d, &roles),
        Offer::Beacon(d) => signatures(d, &roles),
        Offer::Delegated(d) => signatures(d, &roles),
    })
}

/// How many signatures a first root says itself that it needs; of other drafts, whoever holds a root knows.
pub fn needed_by_itself(draft: &DraftFile) -> Result<Option<u32>, Refusal> {
    let Offer::Root(signed) = offer_of(draft)? else {
        return Ok(None);
    };
    let root = signed
        .read()
        .map_err(|e| Refusal::Damaged("draft", Some(e)))?;
    Ok(Some(root.root.threshold).filter(|_| root.version == 1))
}

/// Whether a signature of this key would count: refused where another role's key is about to sign.
pub fn may_sign(draft: &DraftFile, key: DeviceId, trust: &TrustedState) -> Result<(), Refusal> {
    let root = trust.root().ok_or(Refusal::EmptyRoot)?;
    let roles = roles_of(&offer_of(draft)?, draft, trust, root)?;
    match roles.iter().any(|role| role.keys.contains(&key)) {
        true => Ok(()),
        false => Err(Refusal::NotOfTheRole(key, draft.kind.clone())),
    }
}

/// Which keys join and leave, and what that means for phones in the field.
fn root_changes(old: &Root, new: &Root) -> Vec<Check> {
    let roles = [
        ("root", &old.root, &new.root),
        ("releases", &old.releases, &new.releases),
        ("enrolment", &old.enrolment, &new.enrolment),
    ];
    let mut said = Vec::new();
    for (name, before, after) in roles {
        let only = |a: &Role, b: &Role| -> Vec<DeviceId> {
            a.keys
                .iter()
                .filter(|k| !b.keys.contains(k))
                .copied()
                .collect()
        };
        let (joins, leaves) = (only(after, before), only(before, after));
        if !joins.is_empty() || !leaves.is_empty() || before.threshold != after.threshold {
            said.push(Check::RoleChanges(name, joins, leaves, after.threshold));
        }
    }
    let fresh = new
        .distrusted
        .iter()
        .filter(|key| !old.distrusted.contains(key));
    said.extend(fresh.map(|key| Check::Distrusts(*key)));
    said
}

/// What the list changes against the one held.
fn changes(held: Option<&ReleaseList>, list: &ReleaseList) -> Vec<Check> {
    let mut said = Vec::new();
    for release in &list.releases {
        let before = held.and_then(|h| h.releases.iter().find(|r| r.key() == release.key()));
        match before {
            None => said.push(Check::Adds(release.clone())),
            Some(old) if old.version != release.version => {
                said.push(Check::Moves(release.clone(), old.version));
            }
            Some(old) if old != release => said.push(Check::OtherTerms(release.clone())),
            Some(_) => {}
        }
        if release.stage.is_some() {
            said.push(Check::Staged(release.clone()));
        }
    }
    let fresh = |w: &&Withdrawn| held.is_none_or(|h| !h.withdrawn.contains(w));
    said.extend(
        list.withdrawn
            .iter()
            .filter(fresh)
            .cloned()
            .map(Check::Withdraws),
    );
    let before = held.map(|h| h.delegations.as_slice()).unwrap_or_default();
    for new in list.delegations.iter().filter(|d| !before.contains(d)) {
        said.push(Check::Delegates(
            new.name.clone(),
            new.modules.clone(),
            new.kinds.clone(),
            new.area.clone(),
        ));
    }
    let stays = |old: &&Delegation| list.delegations.iter().any(|d| d.name == old.name);
    let ended = before.iter().filter(|old| !stays(old));
    said.extend(ended.map(|old| Check::EndsDelegation(old.name.clone())));
    said
}

/// A file that is read at offsets, so that a bundle larger than memory can be checked.
struct FileAt(File, u64);

impl FileAt {
    fn open(path: &Path) -> std::io::Result<Self> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
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

/// The files that go with a draft, by their digests; each is read once, in pieces.
struct Files<'a> {
    bundles: Vec<(PathBuf, Digest)>,
    bases: Vec<(PathBuf, Digest)>,
    agreed: &'a [String],
    /// What is listed once the draft is in force.
    listed: Vec<Release>,
}

impl<'a> Files<'a> {
    fn of(draft: &DraftFile, agreed: &'a [String]) -> Self {
        let named = |paths: &[String]| -> Vec<(PathBuf, Digest)> {
            let unique: BTreeSet<&String> = paths.iter().collect();
            let hashed = |path: &String| Some((path.into(), digest_of(Path::new(path)).ok()?));
            unique.into_iter().filter_map(hashed).collect()
        };
        Self {
            bundles: named(&draft.bundles),
            bases: named(&draft.bases),
            agreed,
            listed: Vec::new(),
        }
    }

    fn bundle(&self, digest: &Digest) -> Option<&Path> {
        let found = self.bundles.iter().find(|(_, held)| held == digest);
        found.map(|(path, _)| path.as_path())
    }

    fn check_list(&self, list: &ReleaseList, trust: &TrustedState) -> Vec<Check> {
        let held = trust.list().filter(|_| trust.list_binds());
        let mut checks = Vec::new();
        if held.is_none() && trust.list().is_some() {
            checks.push(Check::NothingTakenOver);
        }
        checks.extend(changes(held.map(|l| &**l), list));
        let changed = |r: &&Release| trust.list().is_none_or(|held| !held.releases.contains(r));
        for release in list.releases.iter().filter(changed) {
            checks.extend(recalled(release, trust));
            // Without a list to compare with, what the draft brings no file for is not this
            // draft's change.
            let unknown = trust.list().is_none() && self.bundle(&release.digest).is_none();
            match unknown && list.version > 1 {
                true => checks.push(Check::FileElsewhere(release.clone())),
                false => checks.extend(self.check_release(release, true)),
            }
        }
        checks
    }

    /// A new release's bundle, on this desk as on a phone.
    fn check_release(&self, release: &Release, by_ministry: bool) -> Vec<Check> {
        let Some(path) = self.bundle(&release.digest) else {
            return vec![Check::NoFile(release.clone())];
        };
        let mut checks = vec![Check::Bundle(release.clone(), path.to_owned())];
        checks.extend(match release.kind {
            ModuleKind::Triage => check_model(release, path),
            ModuleKind::Adapter => self.check_adapter(release, (path, by_ministry)),
            ModuleKind::Rules => self.check_rules(release, path, by_ministry),
            ModuleKind::Vision => check_pictures(release, path),
            // No engine runs it yet: phones carry it for those that will.
            ModuleKind::Other
            | ModuleKind::Language
            | ModuleKind::Guide
            | ModuleKind::Form
            | ModuleKind::Words => vec![Check::OnlyCarried(release.clone())],
        });
        checks.extend(
            release
                .deltas
                .iter()
                .map(|delta| self.check_delta(release, delta)),
        );
        if let Some(from) = &release.lineage {
            let groups = from.subgroups.len();
            checks.push(Check::Lineage(from.parent, from.protocol.clone(), groups));
        }
        checks
    }

    fn check_rules(&self, release: &Release, path: &Path, by_ministry: bool) -> Vec<Check> {
        let fails = |error| vec![Check::RulesFail(release.clone(), error)];
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) => return fails(TrialError::Unreadable(e.to_string())),
        };
        let tried = try_rules(&bytes, None, by_ministry);
        let (pack, tried) = match tried {
            Ok(tried) => tried,
            Err(error) => return fails(error),
        };
        let remarks = pack::remarks(&pack).unwrap_or_default().into_iter();
        let remarks = remarks.map(|remark| Check::PackRemark(release.clone(), remark));
        let changes = pack::changed(&String::from_utf8_lossy(&bytes)).into_iter();
        let changes =
            changes.map(|(part, change)| Check::PackChanges(release.clone(), part, change));
        // A pink rule fewer passes by the word of whoever checks, not by the pack's own.
        let given_up = pack
            .gives_up()
            .iter()
            .map(|rule| Check::GivesUp(release.clone(), rule.clone(), self.agreed.contains(rule)));
        let mut shown = vec![Check::RulesRead, Check::RulesGolden];
        if tried.before.is_some() {
            shown.push(Check::RulesKept);
        }
        let shown = shown.into_iter();
        let shown = shown.map(|check| check(release.clone(), tried.clone()));
        let shown = shown.chain(given_up);
        shown.chain(remarks).chain(changes).collect()
    }

    fn check_delta(&self, release: &Release, delta: &Delta) -> Check {
        if let Some(step) = &delta.makes {
            return Check::DeltaStep(delta.clone(), step.digest);
        }
        let Some(file) = self.bundle(&delta.digest) else {
            return Check::DeltaMissing(delta.clone());
        };
        let base = self.bases.iter().find(|(_, held)| *held == delta.base);
        let opened = base.and_then(|(path, _)| Some((path, FileAt::open(path).ok()?)));
        let (Some((_, base)), Ok(file)) = (opened, FileAt::open(file)) else {
            return Check::BaseMissing(delta.clone());
        };
        let wanted = (release.digest, release.bytes);
        match apply(&file, (delta.base, &base), wanted, &mut |_| Ok(())) {
            Ok(()) => Check::DeltaMakes(delta.clone(), release.bytes),
            Err(error) => Check::DeltaFails(delta.clone(), error),
        }
    }
}

fn digest_of(path: &Path) -> std::io::Result<Digest> {
    Digest::of_reader(&mut File::open(path)?)
}
