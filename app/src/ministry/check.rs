//! Looking at a draft before signing it: who has signed, what it changes, and whether its bundles
//! are what they should be.

use std::path::Path;

use distribution::delta::{Head, apply};
use distribution::{Offer, Release, ReleaseList, TrustedState};
use inference::{RulePack, TriageModel};
use node::host::Failure;
use protocol::signed::{Document, Role, Signed};
use protocol::{DeviceId, Digest};
use serde_json::{Value as Json, json};

use super::offer_of;
use crate::files::DraftFile;

/// Drawn patients on whom a model's groups are measured.
pub const PATIENTS: usize = 3000;
/// The seed they are drawn with, so that two models are measured on the same.
pub const SEED: u64 = 7;

/// Bytes that a Bluetooth link between two phones carries in a second, from the field notes.
const BLUETOOTH_BYTES_S: u64 = 35_000;

struct Signatures {
    by: Vec<DeviceId>,
    valid: usize,
    needed: u32,
    strangers: Vec<String>,
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
        strangers: by
            .iter()
            .filter(|id| !known(id))
            .map(|id| id.short())
            .collect(),
        by,
    }
}

/// Everything that can be said of a draft, checked against the newest root that `trust` holds.
/// `agreed` names the pink rules that its rule packs may give up: what a pack says of itself is not
/// the word of who checks it.
pub fn check(draft: &DraftFile, trust: &TrustedState, agreed: &[String]) -> Result<Json, Failure> {
    let offer = offer_of(draft)?;
    let root = trust.root().ok_or_else(|| {
        Failure::new("the root names no keys", "use the ministry's own root file")
    })?;
    let damaged = |e: protocol::codec::CodecError| {
        Failure::new(format!("the draft is damaged: {e}"), "draft it again").with_code(2)
    };
    let none = || {
        Failure::new(
            format!("this ministry's root names no keys for a {}", draft.kind),
            "rotate the root",
        )
    };
    let mut list = None;
    let mut delegated = Vec::new();
    let signed = match &offer {
        Offer::Root(d) => signatures(d, &[&root.root, &d.read().map_err(damaged)?.root]),
        Offer::List(d) => {
            list = Some(d.read().map_err(damaged)?);
            signatures(d, &[&root.releases])
        }
        Offer::Recall(d) => signatures(d, &[root.recall.as_ref().ok_or_else(none)?]),
        Offer::Revocations(d) => signatures(d, &[&root.enrolment]),
        Offer::Beacon(d) => signatures(d, &[root.beacon.as_ref().ok_or_else(none)?]),
        Offer::Delegated(d) => {
            let name = d.read().map_err(damaged)?.delegation;
            delegated = d.read().map_err(damaged)?.releases;
            let delegations = trust.list().into_iter().flat_map(|l| l.delegations.iter());
            let role = delegations
                .into_iter()
                .find(|d| d.name == name)
                .map(|d| &d.role);
            signatures(d, &[role.ok_or_else(none)?])
        }
    };
    let mut checks = Vec::new();
    if !signed.strangers.is_empty() {
        let who = signed.strangers.join(", ");
        let words = format!("keys that are not of this role have signed: {who}");
        // Phones pass over signatures that say nothing, once there are enough that do.
        let enough = signed.valid >= signed.needed as usize;
        checks.push(if enough {
            passed("signatures", words)
        } else {
            failed("signatures", words)
        });
    }
    // What a phone would say of it; a missing signature is said already, so that is not repeated.
    let would = trust.clone().offer(&offer);
    match would {
        Ok(_) => checks.push(passed("a phone would accept it", "by every rule".into())),
        Err(error) if signed.valid >= signed.needed as usize => {
            checks.push(failed("a phone would refuse it", error.to_string()));
        }
        Err(_) => {}
    }
    let mut releases = Vec::new();
    if let Offer::Root(next) = &offer {
        checks.extend(root_changes(root, &next.read().map_err(damaged)?));
    }
    match &offer {
        Offer::Recall(d) => {
            let known = trust
                .recall()
                .map(|r| r.recalled.clone())
                .unwrap_or_default();
            let new = d
                .read()
                .map_err(damaged)?
                .recalled
                .into_iter()
                .filter(|r| !known.contains(r))
                .collect::<Vec<_>>();
            checks.extend(new.iter().map(|r| {
                passed(
                    "changes",
                    format!("recalls {}: {}", r.digest.short(), r.reason),
                )
            }));
        }
        Offer::Revocations(d) => {
            let known = trust
                .revocations()
                .map(|r| r.revoked.clone())
                .unwrap_or_default();
            let new = d
                .read()
                .map_err(damaged)?
                .revoked
                .into_iter()
                .filter(|r| !known.contains(r))
                .collect::<Vec<_>>();
            checks.extend(new.iter().map(|r| {
                passed(
                    "changes",
                    format!("revokes {}: {}", r.device.short(), r.reason),
                )
            }));
        }
        _ => {}
    }
    if let Some(list) = &list {
        let held = trust.list().filter(|_| trust.list_binds());
        if held.is_none() && trust.list().is_some() {
            let words =
                "the list held was signed with keys retired since: nothing of it is taken over";
            checks.push(passed("changes", words.into()));
        }
        checks.extend(changes(held.map(|l| &**l), list));
        let changed = |r: &&Release| trust.list().is_none_or(|held| !held.releases.contains(r));
        for release in list.releases.iter().filter(changed) {
            // Without a list to compare with, what the draft brings no file for is not this draft's
            // change.
            let unknown = trust.list().is_none() && !draft_has(draft, release);
            match unknown && list.version > 1 {
                true => checks.push(passed(
                    &release.module,
                    format!("version {}: its file is not here", release.version),
                )),
                false => checks.extend(check_release(release, draft, agreed)),
            }
        }
        releases = list.releases.iter().map(release_json).collect();
    }
    for release in &delegated {
        checks.extend(check_release(release, draft, agreed));
    }
    let all_pass = checks
        .iter()
        .all(|c| c.get("ok") == Some(&Json::Bool(true)));
    Ok(json!({
        "schema": "kijiti.draft-check/2",
        "kind": draft.kind,
        "list_version": list.as_ref().map(|l| l.version),
        "signed_by": signed.by.iter().map(DeviceId::to_string).collect::<Vec<_>>(),
        "valid_signatures": signed.valid,
        "needed": signed.needed,
        "checks": checks,
        "all_pass": all_pass,
        "releases": releases,
    }))
}

fn draft_has(draft: &DraftFile, release: &Release) -> bool {
    draft
        .bundles
        .iter()
        .filter_map(|path| std::fs::read(path).ok())
        .any(|bytes| Digest::of(&bytes) == release.digest)
}

/// Which keys join and leave, and what that means for phones in the field.
fn root_changes(old: &distribution::Root, new: &distribution::Root) -> Vec<Json> {
    let mut said = Vec::new();
    let roles = [
        ("root", &old.root, &new.root),
        ("releases", &old.releases, &new.releases),
    ];
    for (name, before, after) in
        roles
            .into_iter()
            .chain([("enrolment", &old.enrolment, &new.enrolment)])
    {
        let fresh = |a: &Role, b: &Role| {
            a.keys
                .iter()
                .filter(|k| !b.keys.contains(k))
                .map(DeviceId::short)
                .collect::<Vec<_>>()
        };
        let (joins, leaves) = (fresh(after, before), fresh(before, after));
        if !joins.is_empty() || !leaves.is_empty() || before.threshold != after.threshold {
            let list = |keys: &[String]| {
                if keys.is_empty() {
                    "nobody".to_owned()
                } else {
                    keys.join(", ")
                }
            };
            let (joins, left) = (list(&joins), list(&leaves));
            said.push(format!(
                "{name}: {joins} joins, {left} leaves; {} must sign",
                after.threshold
            ));
        }
    }
    for key in new
        .distrusted
        .iter()
        .filter(|key| !old.distrusted.contains(key))
    {
        said.push(format!(
            "phones that key {} has certified count as not enrolled until they are enrolled again",
            key.short()
        ));
    }
    said.into_iter().map(|s| passed("changes", s)).collect()
}

fn passed(what: &str, detail: String) -> Json {
    json!({ "what": what, "ok": true, "detail": detail })
}

fn failed(what: &str, detail: String) -> Json {
    json!({ "what": what, "ok": false, "detail": detail })
}

fn release_json(r: &Release) -> Json {
    json!({
        "module": r.module, "version": r.version, "digest": r.digest.to_string(), "bytes": r.bytes,
        "area": r.area.to_string(), "language": r.language, "notes": r.notes,
    })
}

/// What the list changes against the one held, in words.
fn changes(held: Option<&ReleaseList>, list: &ReleaseList) -> Vec<Json> {
    let mut said = Vec::new();
    for release in &list.releases {
        let before = held.and_then(|h| h.releases.iter().find(|r| r.key() == release.key()));
        let name = format!(
            "{} for {} ({})",
            release.module, release.area, release.language
        );
        match before {
            None => said.push(format!("adds {name}, version {}", release.version)),
            Some(old) if old.version != release.version => {
                said.push(format!(
                    "{name}: version {} to {}",
                    old.version, release.version
                ));
            }
            Some(old) if old != release => said.push(format!("{name}: same version, other terms")),
            Some(_) => {}
        }
        if let Some(stage) = &release.stage {
            let areas = match stage.areas.as_slice() {
                [] => "everywhere".to_owned(),
                areas => areas
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(", "),
            };
            said.push(format!(
                "{name}: first on {} of 1000 phones, {areas}",
                stage.permille
            ));
        }
    }
    let fresh =
        |w: &&distribution::release::Withdrawn| held.is_none_or(|h| !h.withdrawn.contains(w));
    said.extend(
        list.withdrawn
            .iter()
            .filter(fresh)
            .map(|w| format!("withdraws {} for {}", w.module, w.area)),
    );
    let before = held.map(|h| h.delegations.as_slice()).unwrap_or_default();
    for delegation in list.delegations.iter().filter(|d| !before.contains(d)) {
        let modules = delegation.modules.join(", ");
        said.push(format!(
            "lets {} release {modules} for {}",
            delegation.name, delegation.area
        ));
    }
    said.into_iter().map(|s| passed("changes", s)).collect()
}

/// A new release's bundle, on this desk as on a phone.
fn check_release(release: &Release, draft: &DraftFile, agreed: &[String]) -> Vec<Json> {
    let files: Vec<_> = draft
        .bundles
        .iter()
        .filter_map(|path| Some((path, std::fs::read(path).ok()?)))
        .collect();
    let what = format!("{} version {}", release.module, release.version);
    let Some((path, bundle)) = files
        .iter()
        .find(|(_, bytes)| Digest::of(bytes) == release.digest)
    else {
        return vec![failed(
            &what,
            format!(
                "no file of this draft has digest {}",
                release.digest.short()
            ),
        )];
    };
    let minutes = release.bytes as f64 / BLUETOOTH_BYTES_S as f64 / 60.0;
    let size = format!(
        "{} bytes, {minutes:.1} minutes over Bluetooth; {path} matches the list",
        release.bytes
    );
    let mut checks = vec![passed(&what, size)];
    if release.module.starts_with("triage-model") {
        checks.extend(check_model(&what, bundle));
    } else if release.module.starts_with("rules") {
        let text = std::str::from_utf8(bundle).map_err(|e| e.to_string());
        match text.and_then(|text| node::host::triage::try_rules(text, &RulePack::built_in()?)) {
            Ok((pack, said)) => {
                checks.extend(said.into_iter().map(|words| passed(&what, words)));
                checks.extend(
                    pack.gives_up()
                        .iter()
                        .map(|rule| given_up(&what, rule, agreed)),
                );
            }
            Err(reason) => checks.push(failed(&what, format!("no phone would run it: {reason}"))),
        }
    }
    for delta in &release.deltas {
        checks.push(check_delta(release, delta, draft, &files));
    }
    if let Some(lineage) = &release.lineage {
        let groups = lineage.subgroups.len();
        let words = format!(
            "from {}, by {}, {groups} groups reported",
            lineage.parent.short(),
            lineage.protocol
        );
        checks.push(passed("lineage", words));
    }
    checks
}

/// A pink rule fewer: it passes by the word of whoever checks, not by the pack's own.
fn given_up(what: &str, rule: &String, agreed: &[String]) -> Json {
    match agreed.contains(rule) {
        true => passed(
            what,
            format!("gives up the pink rule {rule}, as you say it may"),
        ),
        false => failed(
            what,
            format!("it gives up the pink rule {rule}; if it may, say --gives-up {rule}"),
        ),
    }
}

fn check_model(what: &str, bundle: &[u8]) -> Vec<Json> {
    let tried = || -> Result<Vec<Json>, String> {
        let pack = RulePack::built_in()?;
        let model = TriageModel::load(what, bundle).map_err(|e| e.to_string())?;
        let golden = model.self_test(&pack).map_err(|e| e.to_string())?;
        let groups =
            teach::train::subgroups(&model, &pack, SEED, PATIENTS).map_err(|e| e.to_string())?;
        let mut checks = vec![passed(
            "golden cases",
            format!("{golden} of {golden} come out as published"),
        )];
        checks.extend(groups.iter().map(|g| {
            let words = format!(
                "{:<15} {:>5} drawn patients, pink found {:>5.1} %, green left {:>5.1} %",
                g.name,
                g.cases,
                f64::from(g.sensitivity_permille) / 10.0,
                f64::from(g.specificity_permille) / 10.0
            );
            passed("subgroup", words)
        }));
        Ok(checks)
    };
    tried().unwrap_or_else(|reason| vec![failed(what, format!("no phone could run it: {reason}"))])
}

fn check_delta(
    release: &Release,
    delta: &distribution::release::Delta,
    draft: &DraftFile,
    files: &[(&String, Vec<u8>)],
) -> Json {
    let name = format!("delta from {}", delta.base.short());
    if let Some(step) = &delta.makes {
        let words = format!(
            "{} bytes, a step by way of {}, published before",
            delta.bytes,
            step.digest.short()
        );
        return passed(&name, words);
    }
    let Some((_, bytes)) = files
        .iter()
        .find(|(_, bytes)| Digest::of(bytes) == delta.digest)
    else {
        return failed(&name, "its file is not in the draft".into());
    };
    let base = draft
        .bases
        .iter()
        .filter_map(|p| std::fs::read(Path::new(p)).ok())
        .find(|b| Digest::of(b) == delta.base);
    let (Some(base), Ok(_)) = (base, Head::read(bytes.as_slice())) else {
        return failed(
            &name,
            "the bundle it starts from is not at hand to check it".into(),
        );
    };
    let wanted = (release.digest, release.bytes);
    match apply(
        bytes.as_slice(),
        (delta.base, base.as_slice()),
        wanted,
        &mut |_| Ok(()),
    ) {
        Ok(()) => {
            let share = delta.bytes as f64 * 100.0 / release.bytes.max(1) as f64;
            passed(
                &name,
                format!(
                    "{} bytes, {share:.1} % of the whole, comes out bit for bit",
                    delta.bytes
                ),
            )
        }
        Err(error) => failed(&name, error.to_string()),
    }
}
