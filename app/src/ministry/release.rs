//! Releases at a desk: drafted, checked, signed, published.

use std::path::Path;

use desk::check::{self, Checked};
use desk::files::{DraftFile, read, write};
use desk::sign::{self, Signer};
use desk::{DAY_S, draft, requantize, wall_s};
use distribution::TrustedState;
use distribution::release::Stage;
use node::api::Request;
use node::api::views::releases::Releases;
use protocol::Area;

use super::clock::{CLOCK_OFF_S, ask_about_clock, clock_is_right, not_ahead};
use super::lineage::read_lineage;
use super::{log, trust_of};
use crate::cli::{DraftArgs, DraftTo, ReleaseCommand};
use crate::run::Phone;
use crate::words::{checks, desk as words};
use crate::{Failure, passphrase, say, show};

/// Drafts the next list, of the ministry or of a delegation, with one release more.
pub(super) fn draft_release(phone: &Phone, args: DraftArgs) -> Result<(), Failure> {
    let DraftArgs {
        file,
        module,
        kind,
        version_number,
        area,
        language,
        notes,
        delta_from,
        base,
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
        bases: &base,
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

pub(super) fn run_release(phone: &Phone, command: ReleaseCommand) -> Result<(), Failure> {
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
                crate::say::wrote(&out, next);
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
            // What is to be signed is said before anybody is asked for a passphrase.
            println!("this is {}", words::describe(&draft)?);
            let signer = Signer::open(&key, &passphrase::of_file)?;
            let needed = may_sign(phone, &beside(&path, draft.clone()), &signer)?;
            let signatures = sign::sign(&mut draft, &signer)?;
            let who = signer.id().short();
            println!("every signature so far holds");
            if dry_run {
                println!(
                    "would sign the {} in {} with key {who}",
                    draft.kind,
                    path.display()
                );
                return Ok(());
            }
            write(&path, &draft)?;
            let of = needed.map_or(String::new(), |needed| format!(" of the {needed} needed"));
            let signatures = match signatures {
                1 => format!("1 signature{of}"),
                more => format!("{more} signatures{of}"),
            };
            println!(
                "{} now carries {signatures}, the last by key {who}",
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

pub(super) fn publish(phone: &Phone, draft: &DraftFile) -> Result<(), Failure> {
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
pub(super) fn beside(path: &Path, mut draft: DraftFile) -> DraftFile {
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

/// Writes a draft, or says what it would be.
pub(super) fn put(
    draft: &DraftFile,
    to: &DraftTo,
    trust: Option<&TrustedState>,
) -> Result<(), Failure> {
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
            crate::say::wrote(out, next);
        }
        _ => println!("would draft a {}", draft.kind),
    }
    Ok(())
}

/// Whether a signature of this key would count, and the draft would be believed; how many are needed. A machine that only
/// signs holds no ministry's documents: there nobody can say.
fn may_sign(phone: &Phone, draft: &DraftFile, signer: &Signer) -> Result<Option<u32>, Failure> {
    let held = phone.exists().then(|| trust_of(phone).ok()).flatten();
    let Some(trust) = held else {
        eprintln!(
            "no ministry is trusted here: whether this key may sign, and what the draft would change, was not checked"
        );
        return Ok(check::needed_by_itself(draft)?);
    };
    check::may_sign(draft, signer.id(), &trust)?;
    let checked = check::check(draft, &trust, &[])?;
    say_what_fails(&checked)?;
    Ok(Some(checked.needed))
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

pub(super) fn verdict(checked: &Checked) -> Result<(), Failure> {
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
    let (what, detail) = checks::check(check);
    println!("{mark} {what}: {detail}");
}

fn show_check(phone: &Phone, checked: &Checked) {
    if phone.json {
        return say::json(&format!("{:#}", checks::checked_json(checked)));
    }
    let (valid, needed) = (checked.valid_signatures, checked.needed);
    println!("{}: {valid} of {needed} signatures", checked.kind);
    checked
        .signed_by
        .iter()
        .for_each(|key| println!("  signed by {key}"));
    checked.checks.iter().for_each(show_one_check);
}
