//! `kijiti ministry`: the desk's commands. Every step says what it checked, and `--dry-run` does no
//! more than that.

use std::path::Path;

use desk::check::{self, Checked};
use desk::files::{DraftFile, read, unhex, write};
use desk::keys::{self, Ceremony};
use desk::sign::{self, Signer};
use desk::{DAY_S, draft, requantize, wall_s};
use distribution::TrustedState;
use distribution::delegation::Delegation;
use distribution::release::Stage;
use node::api::Request;
use node::api::views::releases::Releases;
use node::api::views::status::Documents;
use protocol::signed::Role;
use protocol::{Area, DeviceId, Digest};

use crate::cli::{DelegateArgs, DraftArgs, DraftTo, MinistryCommand, ReleaseCommand, RootCommand};
use crate::run::Phone;
use crate::words::desk as words;
use crate::{Failure, passphrase, say, show};

mod clock;
mod coverage;
mod fields;
mod lineage;
mod log;
mod token;

pub use clock::ask_about_clock;
use clock::{CLOCK_OFF_S, clock_is_right, first_clock_is_right, not_ahead};
use lineage::read_lineage;

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
                work_factor,
            };
            let names = keys::hold(&out, &ceremony, &passphrase::ask_new, dry_run)?;
            let did = if dry_run { "would make" } else { "made" };
            println!(
                "{did} the ministry's keys, {threshold} of which must sign, and the root, in {}",
                out.display()
            );
            names
                .iter()
                .for_each(|(name, key)| println!("  {name:<10} {key}"));
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
            let key = keys::make_one(&out, for_receipts, work_factor, &passphrase::ask_new)?;
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
            put(&draft::recall(&trust, digest, &reason)?, &to, Some(&trust))
        }
        MinistryCommand::Revoke { device, reason, to } => {
            let trust = trust_of(phone)?;
            put(
                &draft::revoke(&trust, key_of(&device)?, &reason)?,
                &to,
                Some(&trust),
            )
        }
        MinistryCommand::Delegate(args) => delegate(phone, args),
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
            let rotation = draft::Rotation {
                add: keys(&add)?,
                drop: keys(&drop)?,
                enrol: keys(&enrol)?,
                distrust: keys(&distrust)?,
                threshold,
                beacon: beacon.map(|k| key_of(&k)).transpose()?,
                recall: keys(&recall)?,
            };
            put(&draft::rotate(&trust, &rotation)?, &to, Some(&trust))
        }
        MinistryCommand::Beacon {
            key,
            clock_is_right: clock_right,
            dry_run,
        } => {
            let trust = trust_of(phone)?;
            clock_is_right(&trust, clock_right)?;
            let mut draft = draft::beacon(&trust)?;
            sign::sign(&mut draft, &Signer::open(&key, &passphrase::of_file)?)?;
            let (root, list) = (trust.root_version(), trust.list_version());
            if dry_run {
                println!("would say that root {root} and list {list} are the newest now");
                return Ok(());
            }
            publish(phone, &draft)?;
            println!("couriers now carry: root {root} and list {list} are the newest at this hour");
            Ok(())
        }
        MinistryCommand::Coverage { key } => coverage::coverage(phone, &key),
        MinistryCommand::SoftToken { seed, verb } => token::soft_token(&seed, &verb),
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
            let root = keys::first_root(&keys::FirstRoot {
                name: &name,
                keys: keys(&key)?,
                threshold,
                enrols: keys(&enrol)?,
                recalls: keys(&recall)?,
                beacon: beacon.map(|k| key_of(&k)).transpose()?,
                receipts: receipts.map(|k| key_of(&k)).transpose()?.map(|key| key.0),
            })?;
            write(&out, &draft::draft_of(&root, Vec::new(), Vec::new())?)?;
            println!(
                "wrote {}: {threshold} of its {} keys must sign it, then finish it",
                out.display(),
                key.len()
            );
            Ok(())
        }
        RootCommand::Finish { draft, out } => {
            let root = keys::finish_root(&read(&draft, DraftFile::SCHEMA)?)?;
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

/// Drafts a list that lets somebody else release modules.
fn delegate(phone: &Phone, args: DelegateArgs) -> Result<(), Failure> {
    let DelegateArgs {
        name,
        key,
        threshold,
        module,
        kind,
        area,
        both,
        version_min,
        to,
    } = args;
    let trust = trust_of(phone)?;
    let usage = |e: String, hint: &str| Failure::new(e, hint).with_code(2);
    let keys = key
        .iter()
        .map(|k| key_of(k))
        .collect::<Result<Vec<_>, _>>()?;
    let keys_given = !keys.is_empty();
    let role = match keys.is_empty() {
        true => Role { keys, threshold: 0 },
        false => Role::new(keys, threshold)
            .map_err(|e| usage(e.to_string(), "give at least as many --key as --threshold"))?,
    };
    let area = Area::parse(&area).map_err(|e| usage(e.to_string(), "for example north/kilifi"))?;
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
    let kinds = match (kind.is_empty(), keys_given) {
        (false, _) => kind,
        (true, true) => draft::kinds_of(&trust, &module),
        (true, false) => Vec::new(),
    };
    let delegation = Delegation {
        name,
        role,
        modules: module,
        area,
        both,
        version_min,
        kinds,
    };
    put(&draft::delegate(&trust, delegation)?, &to, Some(&trust))
}

/// Drafts the next list, of the ministry or of a delegation, with one release more.
fn draft_release(phone: &Phone, args: DraftArgs) -> Result<(), Failure> {
    let DraftArgs {
        file,
        module,
        kind,
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
    } = args;
    let trust = trust_of(phone).ok();
    let areas = first_area
        .iter()
        .map(|a| {
            Area::parse(a).map_err(|e| Failure::new(e, "for example north/kilifi").with_code(2))
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
    let new = file.as_ref().map(|file| draft::NewRelease {
        file,
        module: &module,
        kind,
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
            &draft::draft_delegated(&trust, name, new)?,
            &to,
            Some(&trust),
        );
    }
    let expires_s = expires_days.map(|days| wall_s().saturating_add(days.saturating_mul(DAY_S)));
    put(
        &draft::draft(trust.as_ref(), new.as_ref(), expires_s)?,
        &to,
        trust.as_ref(),
    )
}

fn run_release(phone: &Phone, command: ReleaseCommand) -> Result<(), Failure> {
    match command {
        ReleaseCommand::Draft(args) => draft_release(phone, *args),
        ReleaseCommand::Requantize {
            old,
            old_weights,
            weights,
            out,
            dry_run,
        } => {
            let made = requantize::requantize(&old, old_weights.as_deref(), &weights)?;
            words::requantized(&made, old_weights.is_some())
                .iter()
                .for_each(|l| println!("{l}"));
            if !dry_run {
                desk::files::write_bytes(&out, &made.file)?;
                let next = "draft it with --delta-from the model that phones have";
                println!("wrote {}: {next}", out.display());
            }
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
                &draft::withdraw(&trust, &module, &area, &language)?,
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
                Some(path) => TrustedState::new(&draft::load_root(&path)?)
                    .map_err(|e| Failure::new(e, "use the ministry's own root file"))?,
            };
            let checked = check::check(&draft, &trust, &gives_up)?;
            show_check(phone, &checked);
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
            let said_s = draft::issued_s(&draft::offer_of(&draft)?);
            if !clock_is_right && wall_s().saturating_sub(said_s) > CLOCK_OFF_S {
                ask_about_clock(said_s, "the date of this draft")?;
            }
            let signer = Signer::open(&key, &passphrase::of_file)?;
            // A machine that only signs holds no ministry's documents: there nothing can be said.
            if phone.exists() {
                let trust = trust_of(phone)?;
                check::may_sign(&draft, signer.id(), &trust)?;
                say_what_fails(&check::check(&beside(&path, draft.clone()), &trust, &[])?)?;
            }
            let signatures = sign::sign(&mut draft, &signer)?;
            let who = signer.id().short();
            println!(
                "every signature so far holds; this is {}",
                words::describe(&draft)?
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
            let checked = check::check(&draft, &trust_of(phone)?, &gives_up)?;
            if dry_run {
                show_check(phone, &checked);
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
            phone.shown::<Releases>(Request::ModelList, show::model_list)
        }
        ReleaseCommand::Log => {
            let log = log::trust_json(&trust_of(phone)?);
            phone.show(&log, log::show_log)
        }
    }
}

fn publish(phone: &Phone, draft: &DraftFile) -> Result<(), Failure> {
    publish_requests(draft)
        .into_iter()
        .try_for_each(|request| phone.reply(request).map(drop))
}

/// The requests that publish a draft on a phone, in order.
pub fn publish_requests(draft: &DraftFile) -> Vec<Request> {
    let bundles = draft
        .bundles
        .iter()
        .map(|path| Request::Import { path: path.clone() });
    let document = Request::Offer {
        kind: draft.kind.clone(),
        document: draft.document.clone(),
    };
    bundles.chain([document]).collect()
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

/// The trust that a phone holds, from its documents.
pub fn held_trust(answer: &Documents) -> Result<TrustedState, Failure> {
    let documents = answer.documents.iter();
    let records = documents
        .map(|d| Ok((d.kind.clone(), unhex("document", &d.document)?)))
        .collect::<Result<Vec<_>, Failure>>()?;
    Ok(draft::held_trust(&records)?)
}

/// An area, as people write it.
pub fn area_of(text: &str) -> Result<Area, Failure> {
    Area::parse(text).map_err(|e| Failure::new(e, "for example north/kilifi/mtwapa").with_code(2))
}

fn trust_of(phone: &Phone) -> Result<TrustedState, Failure> {
    held_trust(&phone.ask(Request::Documents)?)
}

fn digest_of(text: &str) -> Result<Digest, Failure> {
    let bytes = unhex("digest", text)?;
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

/// Writes a draft, or says what it would be.
fn put(draft: &DraftFile, to: &DraftTo, trust: Option<&TrustedState>) -> Result<(), Failure> {
    let mut fails = false;
    if let Some(trust) = trust {
        let checked = check::check(draft, trust, &[])?;
        checked.checks.iter().for_each(show_one_check);
        fails = !checked.all_pass();
    }
    trust.map_or(Ok(()), |trust| clock_is_right(trust, to.clock_is_right))?;
    match &to.out {
        Some(out) if !to.dry_run => {
            write(out, draft)?;
            let next = match fails {
                false => "check it, have it signed, then publish it",
                true => "a check has FAILED: no phone would run it; mend that and draft it again",
            };
            println!("wrote {}: {next}", out.display());
        }
        _ => println!("would draft a {}", draft.kind),
    }
    Ok(())
}

/// Before a key signs: what would keep phones from running it is refused here, not after the
/// signatures are gathered. Files that are not on this machine, and rules that only whoever publishes
/// may give up, are no hindrance.
fn say_what_fails(checked: &Checked) -> Result<(), Failure> {
    let fails = |check: &&check::Check| {
        let elsewhere = matches!(
            check,
            check::Check::NoFile(_)
                | check::Check::DeltaMissing(_)
                | check::Check::BaseMissing(_)
                | check::Check::GivesUp(..)
                | check::Check::Strangers(..)
        );
        !check.passed() && !elsewhere
    };
    let failed: Vec<_> = checked.checks.iter().filter(fails).collect();
    failed.iter().for_each(|check| show_one_check(check));
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(
            "a check of this draft has failed",
            "mend what is marked and draft it again; nothing was signed",
        )
        .with_code(5)),
    }
}

fn verdict(checked: &Checked) -> Result<(), Failure> {
    let (valid, needed) = (checked.valid_signatures, checked.needed);
    if !checked.all_pass() {
        let hint = "mend what is marked and draft it again; nothing was published";
        return Err(Failure::new("a check has failed", hint).with_code(5));
    }
    if valid < needed as usize {
        return Err(Failure::new(
            format!("only {valid} of the {needed} signatures needed are by keys of this root"),
            "pass the draft on to be signed",
        )
        .with_code(5));
    }
    Ok(())
}

fn show_one_check(check: &check::Check) {
    let mark = if check.passed() { "✓" } else { "✗ FAILED" };
    let (what, detail) = words::check(check);
    println!("{mark} {what}: {detail}");
}

fn show_check(phone: &Phone, checked: &Checked) {
    if phone.json {
        return say::json(&format!("{:#}", words::checked_json(checked)));
    }
    let (valid, needed) = (checked.valid_signatures, checked.needed);
    println!("{}: {valid} of {needed} signatures", checked.kind);
    checked
        .signed_by
        .iter()
        .for_each(|key| println!("  signed by {key}"));
    checked.checks.iter().for_each(show_one_check);
}
