//! `kijiti ministry`: the desk's commands. Every step says what it checked, and `--dry-run` does no
//! more than that.

use std::path::Path;

use distribution::TrustedState;
use distribution::delegation::Delegation;
use distribution::release::{Lineage, Stage, Subgroup};
use node::host::{Failure, Request, receipt};
use protocol::signed::Role;
use protocol::{Area, DeviceId, DeviceKeys, Digest};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::cli::{DraftTo, MinistryCommand, ReleaseCommand, RootCommand};
use crate::files::{DraftFile, hex, read, unhex, write};
use crate::ministry::{self, Ceremony, DAY_S, Signer};
use crate::run::Phone;
use crate::show;

/// Runs one of the desk's commands.
pub fn run(phone: &Phone, command: MinistryCommand) -> Result<(), Failure> {
    match command {
        MinistryCommand::Keys {
            out,
            keys,
            threshold,
            recall_keys,
            enrol_keys,
            token,
            name,
            work_factor,
            clock_is_right,
            dry_run,
        } => {
            first_clock_is_right(clock_is_right)?;
            let ceremony = Ceremony {
                keys,
                threshold,
                recall_keys,
                enrol_keys,
                name: &name,
                tokens: &token,
                passphrase: None,
                work_factor,
            };
            let names = ministry::hold(&out, &ceremony, dry_run)?;
            let did = if dry_run { "would make" } else { "made" };
            println!(
                "{did} the ministry's keys, {threshold} of which must sign, and the root, in {}",
                out.display()
            );
            names.iter().for_each(|name| println!("  {name}"));
            println!(
                "Keep the key files on separate machines. root.json is public: phones trust it at enrolment."
            );
            Ok(())
        }
        MinistryCommand::NewKey {
            out, dry_run: true, ..
        } => {
            println!("would make a key and seal it in {}", out.display());
            Ok(())
        }
        MinistryCommand::NewKey {
            out,
            for_receipts,
            work_factor,
            ..
        } => {
            let key = ministry::keys::make_one(&out, for_receipts, work_factor)?;
            println!("made {} with the public key {key}", out.display());
            Ok(())
        }
        MinistryCommand::Root { command } => run_root(command),
        MinistryCommand::Release { command } => run_release(phone, command),
        MinistryCommand::Recall {
            module,
            bundle,
            reason,
            to,
        } => {
            let trust = trust_of(phone)?;
            let digest = match bundle {
                Some(text) => digest_of(&text)?,
                None => bundle_of(&trust, &module)?,
            };
            put(
                &ministry::recall(&trust, digest, &reason)?,
                &to,
                Some(&trust),
            )
        }
        MinistryCommand::Revoke { device, reason, to } => {
            let trust = trust_of(phone)?;
            put(
                &ministry::revoke(&trust, key_of(&device)?, &reason)?,
                &to,
                Some(&trust),
            )
        }
        MinistryCommand::Delegate {
            name,
            key,
            threshold,
            module,
            area,
            both,
            version_min,
            to,
        } => {
            let trust = trust_of(phone)?;
            let usage = |e: String, hint: &str| Failure::new(e, hint).with_code(2);
            let keys = key
                .iter()
                .map(|k| key_of(k))
                .collect::<Result<Vec<_>, _>>()?;
            let role = match keys.is_empty() {
                true => Role { keys, threshold: 0 },
                false => Role::new(keys, threshold).map_err(|e| {
                    usage(e.to_string(), "give at least as many --key as --threshold")
                })?,
            };
            let area =
                Area::parse(&area).map_err(|e| usage(e.to_string(), "for example north/kilifi"))?;
            // A delegation with other keys begins above what the ones before have signed.
            let before = trust
                .list()
                .and_then(|l| l.delegations.iter().find(|d| d.name == name).cloned());
            let held = trust
                .delegated()
                .find(|d| d.delegation == name)
                .map_or(0, |d| d.version);
            let least = before.map_or(1, |d| {
                if d.role == role {
                    d.version_min
                } else {
                    held.saturating_add(1)
                }
            });
            let version_min = version_min.unwrap_or(least.max(1));
            let delegation = Delegation {
                name,
                role,
                modules: module,
                area,
                both,
                version_min,
            };
            put(&ministry::delegate(&trust, delegation)?, &to, Some(&trust))
        }
        MinistryCommand::Rotate {
            add,
            drop,
            enrol,
            distrust,
            threshold,
            beacon,
            recall,
            to,
        } => {
            let trust = trust_of(phone)?;
            let keys = |texts: &[String]| {
                texts
                    .iter()
                    .map(|k| key_of(k))
                    .collect::<Result<Vec<_>, _>>()
            };
            let rotation = ministry::Rotation {
                add: keys(&add)?,
                drop: keys(&drop)?,
                enrol: keys(&enrol)?,
                distrust: keys(&distrust)?,
                threshold,
                beacon: beacon.map(|k| key_of(&k)).transpose()?,
                recall: keys(&recall)?,
            };
            put(&ministry::rotate(&trust, &rotation)?, &to, Some(&trust))
        }
        MinistryCommand::Beacon {
            key,
            clock_is_right: clock_right,
            dry_run,
        } => {
            let trust = trust_of(phone)?;
            clock_is_right(&trust, clock_right)?;
            let mut draft = ministry::beacon(&trust)?;
            ministry::sign(&mut draft, &Signer::open(&key)?)?;
            let (root, list) = (trust.root_version(), trust.list_version());
            if dry_run {
                println!("would say that root {root} and list {list} are the newest now");
                return Ok(());
            }
            publish(phone, &draft)?;
            println!("couriers now carry: root {root} and list {list} are the newest at this hour");
            Ok(())
        }
        MinistryCommand::Coverage { key } => coverage(phone, &key),
        MinistryCommand::SoftToken { seed, verb } => soft_token(&seed, &verb),
    }
}

fn run_root(command: RootCommand) -> Result<(), Failure> {
    match command {
        RootCommand::Draft {
            name,
            key,
            threshold,
            enrol,
            recall,
            beacon,
            receipts,
            clock_is_right,
            out,
        } => {
            first_clock_is_right(clock_is_right)?;
            let keys = |texts: &[String]| {
                texts
                    .iter()
                    .map(|k| key_of(k))
                    .collect::<Result<Vec<_>, _>>()
            };
            let root = ministry::keys::first_root(&ministry::keys::FirstRoot {
                name: &name,
                keys: keys(&key)?,
                threshold,
                enrols: keys(&enrol)?,
                recalls: keys(&recall)?,
                beacon: beacon.map(|k| key_of(&k)).transpose()?,
                receipts: receipts.map(|k| key_of(&k)).transpose()?.map(|key| key.0),
            })?;
            write(&out, &ministry::draft_of(&root, Vec::new(), Vec::new())?)?;
            println!(
                "wrote {}: {threshold} of its {} keys must sign it, then finish it",
                out.display(),
                key.len()
            );
            Ok(())
        }
        RootCommand::Finish { draft, out } => {
            let root = ministry::keys::finish_root(&read(&draft, DraftFile::SCHEMA)?)?;
            if out.exists() {
                let hint = "a phone trusts one first root for ever: choose another name";
                return Err(Failure::new(
                    format!("{} is there already", out.display()),
                    hint,
                ));
            }
            write(&out, &root)?;
            println!(
                "wrote {}: it is public, and what phones trust at enrolment",
                out.display()
            );
            Ok(())
        }
    }
}

fn run_release(phone: &Phone, command: ReleaseCommand) -> Result<(), Failure> {
    match command {
        ReleaseCommand::Draft {
            file,
            module,
            version_number,
            area,
            language,
            notes,
            delta_from,
            first_permille,
            first_area,
            lineage,
            delegation,
            expires_days,
            to,
        } => {
            let trust = ministry::held_trust(&phone.ask(Request::Documents)?).ok();
            let areas = first_area
                .iter()
                .map(|a| {
                    Area::parse(a)
                        .map_err(|e| Failure::new(e, "for example north/kilifi").with_code(2))
                })
                .collect::<Result<Vec<_>, _>>()?;
            let stage = (first_permille.is_some() || !areas.is_empty()).then(|| Stage {
                permille: first_permille.unwrap_or(1000),
                areas,
            });
            let lineage = lineage.map(|path| read_lineage(&path)).transpose()?;
            let beside = to
                .out
                .clone()
                .unwrap_or_else(|| std::env::temp_dir().join("kijiti.draft"));
            let new = file.as_ref().map(|file| ministry::NewRelease {
                file,
                module: &module,
                version: version_number,
                area: &area,
                language: &language,
                notes: &notes,
                delta_from: &delta_from,
                beside: &beside,
                stage,
                lineage,
            });
            if let (Some(name), Some(new)) = (&delegation, &new) {
                let trust = trust_of(phone)?;
                return put(
                    &ministry::draft_delegated(&trust, name, new)?,
                    &to,
                    Some(&trust),
                );
            }
            let expires_s = expires_days
                .map(|days| ministry::wall_s().saturating_add(days.saturating_mul(DAY_S)));
            put(
                &ministry::draft(trust.as_ref(), new.as_ref(), expires_s)?,
                &to,
                trust.as_ref(),
            )
        }
        ReleaseCommand::Requantize {
            old,
            old_weights,
            weights,
            out,
            dry_run,
        } => {
            let to = Some(&out).filter(|_| !dry_run).map(|p| p.as_path());
            let said = ministry::requantize::run(&old, old_weights.as_deref(), &weights, to)?;
            said.iter().for_each(|line| println!("{line}"));
            Ok(())
        }
        ReleaseCommand::Withdraw {
            module,
            area,
            language,
            to,
        } => {
            let trust = trust_of(phone)?;
            put(
                &ministry::withdraw(&trust, &module, &area, &language)?,
                &to,
                Some(&trust),
            )
        }
        ReleaseCommand::Check {
            draft,
            root,
            gives_up,
        } => {
            let draft: DraftFile = beside(&draft, read(&draft, DraftFile::SCHEMA)?);
            let trust = match root {
                None => trust_of(phone)?,
                Some(path) => TrustedState::new(&ministry::load_root(&path)?)
                    .map_err(|e| Failure::new(e, "use the ministry's own root file"))?,
            };
            let checked = ministry::check::check(&draft, &trust, &gives_up)?;
            phone.show(&checked, show_check);
            verdict(&checked)
        }
        ReleaseCommand::Sign {
            draft: path,
            key,
            clock_is_right,
            dry_run,
        } => {
            let mut draft: DraftFile = read(&path, DraftFile::SCHEMA)?;
            not_ahead(&draft)?;
            let said_s = ministry::issued_s(&ministry::offer_of(&draft)?);
            if !clock_is_right && ministry::wall_s().saturating_sub(said_s) > CLOCK_OFF_S {
                ask_about_clock(said_s, "the date of this draft")?;
            }
            let signer = Signer::open(&key)?;
            let signatures = ministry::sign(&mut draft, &signer)?;
            let who = signer.id().short();
            println!(
                "every signature so far holds; this is {}",
                ministry::describe(&draft)?
            );
            if dry_run {
                println!(
                    "would sign the {} in {} with key {who}",
                    draft.kind,
                    path.display()
                );
                return Ok(());
            }
            write(&path, &draft)?;
            println!(
                "{} now carries {signatures} signatures, the last by key {who}",
                path.display()
            );
            Ok(())
        }
        ReleaseCommand::Publish {
            draft,
            gives_up,
            dry_run,
        } => {
            let draft: DraftFile = beside(&draft, read(&draft, DraftFile::SCHEMA)?);
            not_ahead(&draft)?;
            let checked = ministry::check::check(&draft, &trust_of(phone)?, &gives_up)?;
            if dry_run {
                phone.show(&checked, show_check);
            }
            verdict(&checked)?;
            if dry_run {
                println!(
                    "would publish this {} and {} bundles",
                    draft.kind,
                    draft.bundles.len()
                );
                return Ok(());
            }
            publish(phone, &draft)?;
            phone.shown(Request::ModelList, show::model_list)
        }
        ReleaseCommand::Log => {
            let log = trust_json(&trust_of(phone)?);
            phone.show(&log, show_log);
            Ok(())
        }
    }
}

/// Opens every receipt here, believes those whose certificates hold, and counts.
fn coverage(phone: &Phone, key: &Path) -> Result<(), Failure> {
    let trust = trust_of(phone)?;
    let key = ministry::keys::load_key(key, None)?;
    let answer = phone.ask(Request::Receipts)?;
    let (mut believed, mut doubtful, mut closed) = (Vec::new(), 0, Vec::new());
    for text in show::list(&answer, "receipts")
        .iter()
        .filter_map(Json::as_str)
    {
        let sealed = receipt::verify(&unhex("a receipt", text)?);
        let opened = sealed.and_then(|s| Ok((s.device, receipt::open(&s, &key)?)));
        let (device, said) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                closed.push(error);
                continue;
            }
        };
        match trust.verify_chain(&said.chain) {
            Some(Ok(chain)) if chain.device == device => believed.push((chain.area.clone(), said)),
            _ => doubtful += 1,
        }
    }
    let none_opened = believed.is_empty() && doubtful == 0;
    doubtful += closed.len();
    if let (Some(error), true) = (closed.pop(), none_opened) {
        let hint = "use the ministry's receipts key, such as keys/receipts-1.age";
        return Err(Failure::new(error, hint).with_code(4));
    }
    let rows: Vec<_> = receipt::coverage(&believed)
        .into_iter()
        .map(|((area, module, version), phones)| json!({ "area": area, "module": module, "version": version, "phones": phones }))
        .collect();
    let newest = trust.list_version();
    let behind = believed.iter().filter(|(_, r)| r.list < newest).count();
    let report = json!({ "schema": "kijiti.coverage-of-releases/1", "phones": believed.len(), "behind": behind,
        "doubtful": doubtful, "release_list": newest, "rows": rows });
    phone.show(&report, |r| {
        println!(
            "{} phones have reported; {} of them before list {newest}",
            show::number(r, "phones"),
            show::number(r, "behind")
        );
        for row in show::list(r, "rows") {
            println!(
                "  {:<30} {} version {}: {} phones",
                show::text(row, "area"),
                show::text(row, "module"),
                show::number(row, "version"),
                show::number(row, "phones")
            );
        }
        if show::number(r, "doubtful") > 0 {
            println!(
                "{} receipts that do not open or whose certificates do not hold were left out",
                show::number(r, "doubtful")
            );
        }
    });
    Ok(())
}

fn publish(phone: &Phone, draft: &DraftFile) -> Result<(), Failure> {
    ministry::publish_requests(draft)
        .into_iter()
        .try_for_each(|request| phone.ask(request).map(|_| ()))
}

/// A draft whose files, if they are not where it says, may lie beside it: it has travelled to
/// another desk.
fn beside(path: &Path, mut draft: DraftFile) -> DraftFile {
    let folder = path.parent().unwrap_or(Path::new("."));
    for file in draft.bundles.iter_mut().chain(&mut draft.bases) {
        let here = Path::new(file.as_str())
            .file_name()
            .map(|name| folder.join(name));
        if let Some(here) = here.filter(|here| !Path::new(file.as_str()).exists() && here.exists())
        {
            *file = here.canonicalize().unwrap_or(here).display().to_string();
        }
    }
    draft
}

fn trust_of(phone: &Phone) -> Result<TrustedState, Failure> {
    ministry::held_trust(&phone.ask(Request::Documents)?)
}

fn digest_of(text: &str) -> Result<Digest, Failure> {
    let bytes = unhex("the digest", text)?;
    let digest = bytes.try_into().map(Digest);
    digest.map_err(|_| {
        Failure::new(format!("{text:?} is no digest"), "copy all 64 digits of it").with_code(2)
    })
}

/// A public key, as people pass it on.
pub fn key_of(text: &str) -> Result<DeviceId, Failure> {
    text.parse().map_err(|e| {
        Failure::new(
            format!("{text:?} is no public key: {e}"),
            "copy all 64 digits of it",
        )
        .with_code(2)
    })
}

fn bundle_of(trust: &TrustedState, module: &str) -> Result<Digest, Failure> {
    let releases = trust.releases();
    let mut named = releases.iter().filter(|r| r.module == module);
    match (named.next(), named.next()) {
        (Some(only), None) => Ok(only.digest),
        (Some(_), Some(_)) => Err(Failure::new(
            format!("{module} is released for several areas or languages"),
            "name the bundle: --bundle, with the digest from `kijiti --json model list`",
        )
        .with_code(2)),
        (None, _) => Err(Failure::new(
            format!("no {module} is in the list"),
            "see `kijiti model list`, or give --bundle",
        )),
    }
}

/// A clock that is this far from the newest signed time is asked about.
const CLOCK_OFF_S: u64 = 200 * DAY_S;
/// When the year began in which this was written (2026): no clock that is right shows an earlier
/// time.
const WRITTEN_S: u64 = 1_767_225_600;
/// A first root is signed within so many seconds of that, or else the clock is asked about.
const FIRST_ROOT_S: u64 = 10 * 366 * DAY_S;

/// A time once signed and carried is not taken back: a beacon years ahead ends certificates in the
/// whole country. So a clock that is far from what the ministry signed last is asked about, and
/// refused where nobody can be asked.
fn clock_is_right(trust: &TrustedState, said: bool) -> Result<(), Failure> {
    let root = trust.root().map_or(0, |root| root.issued_s);
    let list = trust.list().map_or(0, |list| list.issued_s);
    let newest = root
        .max(list)
        .max(trust.beacon().map_or(0, |beacon| beacon.time_s));
    match said || ministry::wall_s().abs_diff(newest) <= CLOCK_OFF_S {
        true => Ok(()),
        false => ask_about_clock(newest, "what the ministry signed last"),
    }
}

/// The same for a first root, with nothing before it to compare the clock with.
fn first_clock_is_right(said: bool) -> Result<(), Failure> {
    match said || (WRITTEN_S..WRITTEN_S + FIRST_ROOT_S).contains(&ministry::wall_s()) {
        true => Ok(()),
        false => ask_about_clock(WRITTEN_S, "the year in which this program was written"),
    }
}

/// Asks whoever sits here whether the clock is right, which is far from a time that it is compared
/// with.
pub fn ask_about_clock(than_s: u64, what: &str) -> Result<(), Failure> {
    let now = ministry::wall_s();
    let way = if now > than_s { "ahead of" } else { "behind" };
    let years = now.abs_diff(than_s) as f64 / (365.25 * DAY_S as f64);
    let words = format!("this machine's clock is {years:.1} years {way} {what}");
    if std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        eprintln!("{words}; a time once signed cannot be taken back.");
        let answer = crate::ask::line("Is the clock right? [write yes]")?;
        if answer == "yes" {
            return Ok(());
        }
    }
    Err(Failure::new(
        words,
        "set the clock; if it is right all the same, say --clock-is-right",
    )
    .with_code(2))
}

/// A document that is dated in the future was drafted by a clock that is wrong, or this one is:
/// nobody signs it before that is clear.
fn not_ahead(draft: &DraftFile) -> Result<(), Failure> {
    let said_s = ministry::issued_s(&ministry::offer_of(draft)?);
    let ahead = said_s.saturating_sub(ministry::wall_s());
    if ahead <= DAY_S {
        return Ok(());
    }
    let days = ahead / DAY_S;
    let words = format!(
        "this {} is dated {days} days ahead of this machine's clock",
        draft.kind
    );
    Err(Failure::new(words, "set the clock that is wrong, and draft it again").with_code(2))
}

/// Writes a draft, or says what it would be.
fn put(draft: &DraftFile, to: &DraftTo, trust: Option<&TrustedState>) -> Result<(), Failure> {
    if let Some(trust) = trust {
        let checked = ministry::check::check(draft, trust, &[])?;
        for check in show::list(&checked, "checks") {
            show_one_check(check);
        }
    }
    trust.map_or(Ok(()), |trust| clock_is_right(trust, to.clock_is_right))?;
    match &to.out {
        Some(out) if !to.dry_run => {
            write(out, draft)?;
            println!(
                "wrote {}: check it, have it signed, then publish it",
                out.display()
            );
        }
        _ => println!("would draft a {}", draft.kind),
    }
    Ok(())
}

fn verdict(checked: &Json) -> Result<(), Failure> {
    let (valid, needed) = (
        show::number(checked, "valid_signatures"),
        show::number(checked, "needed"),
    );
    if !show::flag(checked, "all_pass") {
        let hint = "mend what is marked and draft it again; nothing was published";
        return Err(Failure::new("a check has failed", hint).with_code(5));
    }
    if valid < needed {
        return Err(Failure::new(
            format!("only {valid} of the {needed} signatures needed are by keys of this root"),
            "pass the draft on to be signed",
        )
        .with_code(5));
    }
    Ok(())
}

fn show_one_check(check: &Json) {
    let mark = if show::flag(check, "ok") {
        "✓"
    } else {
        "✗ FAILED"
    };
    println!(
        "{mark} {}: {}",
        show::text(check, "what"),
        show::text(check, "detail")
    );
}

fn show_check(c: &Json) {
    let (valid, needed) = (
        show::number(c, "valid_signatures"),
        show::number(c, "needed"),
    );
    println!("{}: {valid} of {needed} signatures", show::text(c, "kind"));
    for key in show::list(c, "signed_by") {
        println!("  signed by {}", key.as_str().unwrap_or_default());
    }
    show::list(c, "checks").iter().for_each(show_one_check);
}

#[derive(Deserialize)]
struct LineageFile {
    parent: String,
    data: String,
    protocol: String,
    #[serde(default)]
    subgroups: Vec<SubgroupFile>,
    return_to: Option<u64>,
}

#[derive(Deserialize)]
struct SubgroupFile {
    name: String,
    cases: u32,
    sensitivity_permille: u32,
    specificity_permille: u32,
}

fn read_lineage(path: &Path) -> Result<Lineage, Failure> {
    let wrong = |e: String| {
        let hint = "it is JSON with parent, data, protocol, subgroups [{name, cases, sensitivity_permille, …}], return_to";
        Failure::new(format!("{}: {e}", path.display()), hint).with_code(2)
    };
    let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    let file: LineageFile = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    let group = |g: SubgroupFile| Subgroup {
        name: g.name,
        cases: g.cases,
        sensitivity_permille: g.sensitivity_permille,
        specificity_permille: g.specificity_permille,
    };
    Ok(Lineage {
        parent: digest_of(&file.parent)?,
        data: file.data,
        protocol: file.protocol,
        subgroups: file.subgroups.into_iter().map(group).collect(),
        return_to: file.return_to,
    })
}

/// Everything that a phone believes of its ministry, for people and their programs.
fn trust_json(trust: &TrustedState) -> Json {
    let role = |r: &Role| json!({ "threshold": r.threshold, "keys": r.keys.iter().map(ToString::to_string).collect::<Vec<_>>() });
    let roots: Vec<_> = trust
        .roots()
        .iter()
        .map(|r| {
            json!({ "version": r.version, "issued_s": r.issued_s, "root": role(&r.root), "releases": role(&r.releases),
                "enrolment": role(&r.enrolment), "recall": r.recall.as_ref().map(role), "beacon": r.beacon.as_ref().map(role) })
        })
        .collect();
    let list = trust.list().map(|l| {
        let withdrawn: Vec<_> = l.withdrawn.iter().map(|w| json!({ "module": w.module, "area": w.area.to_string(), "version": w.version })).collect();
        let delegations: Vec<_> = l
            .delegations
            .iter()
            .map(|d| json!({ "name": d.name, "modules": d.modules, "area": d.area.to_string(), "both": d.both, "role": role(&d.role) }))
            .collect();
        json!({ "version": l.version, "issued_s": l.issued_s, "expires_s": l.expires_s,
            "signed_by": l.signed().signers().map(|k| k.to_string()).collect::<Vec<_>>(),
            "withdrawn": withdrawn, "delegations": delegations })
    });
    let releases: Vec<_> = trust
        .releases()
        .iter()
        .map(|r| {
            let deltas: Vec<_> = r.deltas.iter().map(|d| json!({ "from": d.base.to_string(), "digest": d.digest.to_string(), "bytes": d.bytes })).collect();
            json!({ "module": r.module, "version": r.version, "digest": r.digest.to_string(), "bytes": r.bytes,
                "area": r.area.to_string(), "language": r.language, "engine_min": r.engine_min, "notes": r.notes, "deltas": deltas,
                "first_permille": r.stage.as_ref().map(|s| s.permille), "parent": r.lineage.as_ref().map(|l| l.parent.to_string()) })
        })
        .collect();
    let recalled: Vec<_> = trust
        .recall()
        .iter()
        .flat_map(|r| r.recalled.iter())
        .map(|r| json!({ "digest": r.digest.to_string(), "reason": r.reason }))
        .collect();
    let revoked: Vec<_> = trust
        .revocations()
        .iter()
        .flat_map(|r| r.revoked.iter())
        .map(|r| json!({ "device": r.device.to_string(), "reason": r.reason }))
        .collect();
    let fresh = trust.freshness();
    json!({
        "schema": "kijiti.trust/1",
        "ministry": trust.root().map(|r| r.ministry.clone()),
        "anchor": trust.ministry().to_string(),
        "roots": roots, "list": list, "releases": releases, "recalled": recalled, "revoked": revoked,
        "beacon": trust.beacon().map(|b| json!({ "time_s": b.time_s, "root": b.root, "list": b.list, "recall": b.recall })),
        "newest_time_s": fresh.floor_s, "list_expired": fresh.list_expired, "newer_list": fresh.newer_list,
        "list_retired": fresh.list_retired,
    })
}

fn show_log(log: &Json) {
    println!(
        "{}, anchor {}",
        show::text(log, "ministry"),
        show::text(log, "anchor").get(..12).unwrap_or_default()
    );
    for root in show::list(log, "roots") {
        let role = root.get("releases").unwrap_or(&Json::Null);
        let (threshold, keys) = (
            show::number(role, "threshold"),
            show::list(role, "keys").len(),
        );
        println!(
            "root {}: {threshold} of {keys} keys sign releases",
            show::number(root, "version")
        );
    }
    if let Some(list) = log.get("list").filter(|l| !l.is_null()) {
        println!(
            "release list {}, signed by {} keys",
            show::number(list, "version"),
            show::list(list, "signed_by").len()
        );
        for gone in show::list(list, "withdrawn") {
            println!(
                "  withdrawn: {} version {}",
                show::text(gone, "module"),
                show::number(gone, "version")
            );
        }
        for d in show::list(list, "delegations") {
            println!(
                "  delegated: {} for {}",
                show::text(d, "name"),
                show::text(d, "area")
            );
        }
    }
    for r in show::list(log, "releases") {
        println!(
            "  {} version {}, {} bytes, for {}",
            show::text(r, "module"),
            show::number(r, "version"),
            show::number(r, "bytes"),
            show::text(r, "area")
        );
    }
    for r in show::list(log, "recalled") {
        println!(
            "recalled: {} ({})",
            show::text(r, "digest").get(..12).unwrap_or_default(),
            show::text(r, "reason")
        );
    }
    for r in show::list(log, "revoked") {
        println!(
            "revoked: {} ({})",
            show::text(r, "device").get(..12).unwrap_or_default(),
            show::text(r, "reason")
        );
    }
    if let Some(b) = log.get("beacon").filter(|b| !b.is_null()) {
        println!(
            "beacon: list {} was the newest at {} s since 1970",
            show::number(b, "list"),
            show::number(b, "time_s")
        );
    }
}

/// What a token's program does, with a secret from the command line: for rehearsals of a ceremony,
/// never for one.
fn soft_token(seed: &str, verb: &str) -> Result<(), Failure> {
    let seed = unhex("the secret", seed)?
        .try_into()
        .map_err(|_| Failure::new("a secret has 64 digits", "").with_code(2))?;
    let keys = DeviceKeys::from_seed(seed);
    match verb {
        "id" => println!("{}", keys.id()),
        "sign" => {
            let mut line = String::new();
            std::io::stdin()
                .read_line(&mut line)
                .map_err(|e| Failure::new(e, "write one line"))?;
            println!(
                "{}",
                hex(&keys.sign_raw(&unhex("the message", line.trim())?))
            );
        }
        _ => return Err(Failure::new(format!("{verb:?} is no verb"), "id or sign").with_code(2)),
    }
    Ok(())
}
