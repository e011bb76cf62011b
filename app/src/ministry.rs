//! `kijiti ministry`: the desk's commands. Every step says what it checked, and `--dry-run` does no
//! more than that.

use desk::draft;
use desk::files::{DraftFile, read, unhex, write};
use desk::keys::{self, Ceremony};
use desk::sign::{self, Signer};
use distribution::TrustedState;
use distribution::delegation::Delegation;
use node::api::Request;
use node::api::views::status::Documents;
use protocol::signed::Role;
use protocol::{Area, DeviceId, Digest};

use crate::cli::{DelegateArgs, MinistryCommand, RootCommand};
use crate::run::Phone;
use crate::{Failure, passphrase};

mod clock;
mod coverage;
mod fields;
mod lineage;
mod log;
mod pack;
mod release;
mod token;

pub use clock::ask_about_clock;
use clock::{clock_is_right, first_clock_is_right};
pub use release::publish_requests;
use release::{publish, put, run_release};

/// Runs one of the desk's commands.
pub fn run(phone: &Phone, command: MinistryCommand) -> Result<(), Failure> {
    match command {
        MinistryCommand::Keys {
            out,
            keys,
            threshold,
            recall_keys,
            enrol_keys,
            enrol_threshold,
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
                enrol_threshold,
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
                &draft::revoke(&trust, phone.named(&device)?, &reason)?,
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
        MinistryCommand::Pack {
            file,
            against,
            against_built_in,
        } => pack::run(file.as_deref(), against.as_deref(), against_built_in),
        MinistryCommand::Beacon {
            key,
            clock_is_right: clock_right,
            dry_run,
        } => {
            let trust = trust_of(phone)?;
            clock_is_right(&trust, clock_right)?;
            let mut draft = draft::beacon(&trust)?;
            let (root, list) = (trust.root_version(), trust.list_version());
            eprintln!("this says that root {root} and list {list} are the newest now");
            sign::sign(&mut draft, &Signer::open(&key, &passphrase::of_file)?)?;
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
            enrol_threshold,
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
                enrol_threshold,
                recalls: keys(&recall)?,
                beacon: beacon.map(|k| key_of(&k)).transpose()?,
                receipts: receipts.map(|k| key_of(&k)).transpose()?.map(|key| key.0),
            })?;
            write(&out, &draft::draft_of(&root, Vec::new(), Vec::new())?)?;
            let next = format!(
                "{threshold} of its {} keys must sign it, then finish it",
                key.len()
            );
            crate::say::wrote(&out, &next);
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
            crate::say::wrote(&out, "it is public, and what phones trust at enrolment");
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
