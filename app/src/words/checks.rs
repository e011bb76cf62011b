//! What the checks of a draft say to whoever is about to sign it.

use desk::check::{Beside, Check, Checked};
use distribution::{ModuleKind, Release};
use inference::trial::Tried;
use protocol::DeviceId;
use serde_json::{Value as Json, json};

use super::packs::{pack_change, pack_remark};

/// Bytes that a Bluetooth link between two phones carries in a second, from the field notes.
const BLUETOOTH_BYTES_S: u64 = 35_000;

fn versioned(release: &Release) -> String {
    format!("{} version {}", release.module, release.version)
}

fn placed(release: &Release) -> String {
    let Release {
        module,
        kind,
        area,
        language,
        ..
    } = release;
    format!("{module} (kind {kind}) for {area} ({language})")
}

fn kinds_in_words(kinds: &[ModuleKind]) -> String {
    let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
    match names.is_empty() {
        true => "only what no phone runs; else say --kind".into(),
        false => format!("kind {}", names.join(", ")),
    }
}

/// A check: what it is about, and what was found.
pub fn check(check: &Check) -> (String, String) {
    let changes = |detail: String| ("changes".to_owned(), detail);
    match check {
        Check::Strangers(keys, _) => {
            let who = shorts(keys);
            (
                "signatures".into(),
                format!("keys that are not of this role have signed: {who}"),
            )
        }
        Check::ListsRecalled(release, why) => (
            format!("{} version {}", release.module, release.version),
            format!("this bundle is recalled: {why}; publish another one"),
        ),
        Check::Accepted => ("a phone would accept it".into(), "by every rule".into()),
        Check::Refused(error) => ("a phone would refuse it".into(), error.to_string()),
        Check::RoleChanges(role, joins, leaves, threshold) => {
            let (joins, left) = (shorts(joins), shorts(leaves));
            changes(format!(
                "{role}: {joins} joins, {left} leaves; {threshold} must sign"
            ))
        }
        Check::Distrusts(key) => changes(format!(
            "phones that key {} has certified count as not enrolled until they are enrolled again",
            key.short()
        )),
        Check::Recalls(digest, why) => changes(format!("recalls {}: {why}", digest.short())),
        Check::Revokes(device, why) => changes(format!("revokes {}: {why}", device.short())),
        Check::NothingTakenOver => changes(
            "the list held was signed with keys retired since: nothing of it is taken over".into(),
        ),
        Check::Adds(r) => changes(format!("adds {}, version {}", placed(r), r.version)),
        Check::Moves(r, old) => changes(format!("{}: version {old} to {}", placed(r), r.version)),
        Check::OtherTerms(r) => changes(format!("{}: same version, other terms", placed(r))),
        Check::Staged(r) => changes(staged(r)),
        Check::Withdraws(w) => changes(format!("withdraws {} for {}", w.module, w.area)),
        Check::Delegates(name, modules, kinds, area) => changes(format!(
            "lets {name} release {} ({}) for {area}",
            modules.join(", "),
            kinds_in_words(kinds)
        )),
        Check::EndsDelegation(name) => changes(format!(
            "ends what {name} may release: what came through it stops"
        )),
        Check::FileElsewhere(r) => (
            r.module.clone(),
            format!("version {}: its file is not here", r.version),
        ),
        Check::NoFile(r) => (
            versioned(r),
            format!("no file of this draft has digest {}", r.digest.short()),
        ),
        Check::OnlyCarried(r) => (
            versioned(r),
            format!("phones carry it (kind {}) and run nothing of it", r.kind),
        ),
        Check::Bundle(r, path) => {
            let minutes = r.bytes as f64 / BLUETOOTH_BYTES_S as f64 / 60.0;
            let size = format!("{} bytes, {minutes:.1} minutes over Bluetooth", r.bytes);
            (
                versioned(r),
                format!("{size}; {} matches the list", path.display()),
            )
        }
        Check::RulesRead(r, tried) => (versioned(r), rules_read(tried)),
        Check::RulesGolden(r, tried) => (versioned(r), rules_golden(tried)),
        Check::RulesKept(r, tried) => (versioned(r), rules_kept(tried)),
        Check::PackRemark(r, remark) => (versioned(r), pack_remark(remark)),
        Check::PackChanges(r, part, change) => (versioned(r), pack_change(*part, change)),
        Check::RulesFail(r, error) => (versioned(r), format!("no phone would run it: {error}")),
        Check::GivesUp(r, rule, true) => (
            versioned(r),
            format!("gives up the pink rule {rule}, as you say it may"),
        ),
        Check::GivesUp(r, rule, false) => (
            versioned(r),
            format!("it gives up the pink rule {rule}; if it may, say --gives-up {rule}"),
        ),
        Check::ModelGolden(golden) => (
            "golden cases".into(),
            format!("{golden} of {golden} come out as published"),
        ),
        Check::ModelGroup(g) => (
            "subgroup".into(),
            format!(
                "{:<15} {:>5} synthetic patients, pink found {:>5.1} %, green left {:>5.1} %",
                g.name,
                g.cases,
                f64::from(g.sensitivity_permille) / 10.0,
                f64::from(g.specificity_permille) / 10.0
            ),
        ),
        Check::StandsBeside(r, beside) => (versioned(r), stands_beside(beside)),
        Check::ModelFails(r, why) => (versioned(r), format!("no phone could run it: {why}")),
        Check::DeltaStep(delta, by) => {
            let bytes = delta.bytes;
            let words = format!(
                "{bytes} bytes, a step by way of {}, published before",
                by.short()
            );
            (delta_from(delta), words)
        }
        Check::DeltaMissing(delta) => (delta_from(delta), "its file is not in the draft".into()),
        Check::BaseMissing(delta) => (
            delta_from(delta),
            "the bundle it starts from is not at hand to check it".into(),
        ),
        Check::DeltaMakes(delta, whole) => {
            let share = delta.bytes as f64 * 100.0 / (*whole).max(1) as f64;
            let bytes = delta.bytes;
            let words = format!("{bytes} bytes, {share:.1} % of the whole, comes out bit for bit");
            (delta_from(delta), words)
        }
        Check::DeltaFails(delta, error) => (delta_from(delta), error.to_string()),
        Check::Lineage(parent, protocol, groups) => (
            "lineage".into(),
            format!(
                "from {}, by {protocol}, {groups} groups reported",
                parent.short()
            ),
        ),
    }
}

fn delta_from(delta: &distribution::release::Delta) -> String {
    format!("delta from {}", delta.base.short())
}

fn shorts(keys: &[DeviceId]) -> String {
    let keys: Vec<_> = keys.iter().map(DeviceId::short).collect();
    if keys.is_empty() {
        "nobody".into()
    } else {
        keys.join(", ")
    }
}

fn staged(release: &Release) -> String {
    let (permille, areas) = match &release.stage {
        Some(stage) => (stage.permille, stage.areas.as_slice()),
        None => (1000, [].as_slice()),
    };
    let areas: Vec<_> = areas.iter().map(ToString::to_string).collect();
    let areas = if areas.is_empty() {
        "everywhere".to_owned()
    } else {
        areas.join(", ")
    };
    format!(
        "{}: first on {permille} of 1000 phones, {areas}",
        placed(release)
    )
}

/// That a pack can be read.
pub fn rules_read(tried: &Tried) -> String {
    format!("every rule of {} reads known findings", tried.pack)
}

/// That a pack says what the guidelines say.
pub fn rules_golden(tried: &Tried) -> String {
    let golden = tried.golden;
    format!("{golden} of {golden} golden cases come out as they must, by its rules alone")
}

/// That a pack takes nothing away.
pub fn rules_kept(tried: &Tried) -> String {
    let before = tried.before.as_deref().unwrap_or("no pack");
    format!("every pink rule of {before} is there, or given up by an explicit word")
}

/// What a draft comes to, as `kijiti.draft-check/2`.
pub fn checked_json(checked: &Checked) -> Json {
    let one = |c: &Check| {
        let (what, detail) = check(c);
        json!({ "what": what, "ok": c.passed(), "detail": detail })
    };
    let release = |r: &Release| {
        json!({
            "module": r.module, "kind": r.kind.name(), "version": r.version,
            "digest": r.digest.to_string(), "bytes": r.bytes, "area": r.area.to_string(), "language": r.language, "notes": r.notes,
        })
    };
    json!({
        "schema": "kijiti.draft-check/2",
        "kind": checked.kind,
        "list_version": checked.list_version,
        "signed_by": checked.signed_by.iter().map(DeviceId::to_string).collect::<Vec<_>>(),
        "valid_signatures": checked.valid_signatures,
        "needed": checked.needed,
        "checks": checked.checks.iter().map(one).collect::<Vec<_>>(),
        "all_pass": checked.all_pass(),
        "releases": checked.releases.iter().map(release).collect::<Vec<_>>(),
    })
}

fn stands_beside(beside: &Beside) -> String {
    let Beside {
        base,
        patients,
        in_place,
        listed,
    } = beside;
    let heard = if *in_place {
        "in its place"
    } else {
        "beside it"
    };
    match listed {
        true => format!(
            "stands beside model {base}…, and is heard {heard} of patients of the kind {}",
            patients.join(", ")
        ),
        false => format!(
            "its base {base}… is no release that is listed for all of its area: no phone there would run it"
        ),
    }
}
