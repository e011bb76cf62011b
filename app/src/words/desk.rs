//! What a ministry's desk says: its refusals with what to do, its checks, and what a draft is.

use desk::Refusal;
use desk::enrol::Why;
use desk::files::DraftFile;
use desk::requantize::Requantized;
use distribution::{Offer, Release};
use protocol::certificate::{Certificate, Rights};
use protocol::codec::CodecError;

use crate::Failure;
use crate::failure::key_file;

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let (code, reason, hint) = match refusal {
            refusal @ (Refusal::Unreadable(..)
            | Refusal::Unwritable(..)
            | Refusal::Exists(_)
            | Refusal::NotSuchAFile(..)
            | Refusal::TooLong(..)
            | Refusal::NotScanned(..)
            | Refusal::Damaged(..)
            | Refusal::DraftDamaged(_)
            | Refusal::Invalid(..)) => of_file(refusal),
            refusal @ (Refusal::KeysThere(_)
            | Refusal::KeyUnreadable(..)
            | Refusal::NoEnrolmentKey(_)
            | Refusal::NoPassphrase(_)
            | Refusal::PassphraseShort
            | Refusal::PassphrasesDiffer
            | Refusal::NoRandomness(_)
            | Refusal::Token(..)
            | Refusal::SignedAlready(_)
            | Refusal::NotOfTheRole(..)
            | Refusal::ChangedSince(_)) => of_keys(refusal),
            Refusal::KeyFile(path, error) => return key_file(&path.display().to_string(), &error),
            refusal => of_documents(refusal),
        };
        Self::new(reason, hint).with_code(code)
    }
}

type Words = (u8, String, String);

fn words(code: u8, reason: impl ToString, hint: impl ToString) -> Words {
    (code, reason.to_string(), hint.to_string())
}

fn of_file(refusal: Refusal) -> Words {
    match refusal {
        Refusal::Unreadable(path, e) => words(
            1,
            format!("cannot read {}: {e}", path.display()),
            "check the name",
        ),
        Refusal::Unwritable(path, e) => words(
            1,
            format!("cannot write {}: {e}", path.display()),
            "check the folder and the free space",
        ),
        Refusal::Exists(path) => words(
            1,
            format!("{} is there already", path.display()),
            "choose another name",
        ),
        Refusal::NotSuchAFile(path, schema, why) => words(
            2,
            format!(
                "{} is damaged or is another kind of file: {why}",
                path.display()
            ),
            format!("a {schema} file was expected: ask for it again"),
        ),
        Refusal::TooLong(path, schema) => words(
            1,
            format!("{} is far too long", path.display()),
            format!("a {schema} file was expected"),
        ),
        Refusal::NotScanned(path, e) => words(
            2,
            format!("{}: {e}", path.display()),
            "put the text of all codes into one file, in any order",
        ),
        Refusal::Damaged(what, why) => damaged(what, why.map(|e| e.to_string())),
        Refusal::DraftDamaged(e) => damaged("draft", Some(e.to_string())),
        Refusal::Invalid(kind, e) => words(
            2,
            format!("the {kind} would not be valid: {e}"),
            "check names, numbers and words",
        ),
        other => words(1, format!("{other:?}"), ""),
    }
}

fn damaged(what: &str, why: Option<String>) -> Words {
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    words(
        2,
        format!("the {what} is damaged{why}"),
        "ask for the file again",
    )
}

fn of_keys(refusal: Refusal) -> Words {
    match refusal {
        Refusal::KeysThere(folder) => words(
            1,
            format!("{} holds keys already", folder.display()),
            "choose another folder with --out",
        ),
        Refusal::KeyUnreadable(path, e) => words(
            4,
            format!("cannot read the key {}: {e}", path.display()),
            "check the name",
        ),
        Refusal::NoEnrolmentKey(folder) => words(
            4,
            format!("no key in {} may enrol under this root", folder.display()),
            "key files that enrol are called enrol-1.age, enrol-2.age …, as `kijiti ministry keys` makes them",
        ),
        Refusal::NoPassphrase(variable) => words(
            4,
            "a passphrase is needed, and nobody can be asked for it",
            format!("run it on a terminal, or set {variable}"),
        ),
        Refusal::PassphraseShort => words(
            2,
            "the passphrase is shorter than 8 characters",
            "choose several words",
        ),
        Refusal::PassphrasesDiffer => words(2, "the two passphrases differ", "begin again"),
        Refusal::NoRandomness(e) => words(1, format!("no randomness: {e}"), "restart"),
        Refusal::Token(program, why) => words(
            4,
            format!("the token's program {program:?} failed: {why}"),
            "check the token and its program",
        ),
        Refusal::NotOfTheRole(key, kind) => words(
            5,
            format!(
                "key {} is none of those that sign a {kind}: its signature would not count",
                key.short()
            ),
            "pass the draft on to who holds such a key; nothing was signed",
        ),
        Refusal::SignedAlready(key) => words(
            5,
            format!(
                "this draft carries the signature of key {} already",
                key.short()
            ),
            "one key counts once: pass the draft on to the holder of another key",
        ),
        Refusal::ChangedSince(key) => words(
            2,
            format!("the draft was changed after key {} signed it", key.short()),
            "ask for the file again, or draft it anew",
        ),
        other => words(1, format!("{other:?}"), ""),
    }
}

fn of_documents(refusal: Refusal) -> Words {
    match refusal {
        Refusal::NotAnArea(e) => words(2, e, "for example north/kilifi"),
        Refusal::NotRights(e) => words(2, e, "for example --rights carry,read,write"),
        Refusal::NotAPack(file, why) => words(
            2,
            format!("{file} is no rule pack: {why}"),
            "mend it, or name another file",
        ),
        Refusal::NoMinistry => words(
            1,
            "this phone trusts no ministry yet",
            "enrol it first: `kijiti enrol request`",
        ),
        Refusal::Trust(e) => words(1, e, "use the ministry's own root file, or its own folder"),
        Refusal::EmptyRoot => words(
            1,
            "the root names no keys",
            "use the ministry's own root file",
        ),
        Refusal::NoKeysFor(kind) => words(
            1,
            format!("this ministry's root names no keys for a {kind}"),
            "rotate the root",
        ),
        Refusal::NotARole(e) => words(
            2,
            format!("these keys cannot be: {e}"),
            "keep enough keys for the threshold",
        ),
        Refusal::ThresholdImpossible(threshold, keys) => words(
            2,
            format!("{threshold} of {keys} keys cannot be"),
            "choose at least one key, at most 16, and a threshold not above it",
        ),
        Refusal::NotARoot(kind) => words(
            2,
            format!("this is the draft of a {kind}"),
            "pass a draft of `kijiti ministry root draft`",
        ),
        Refusal::NotTheFirst(version) => words(
            2,
            format!("this is root {version}, and not the first"),
            "a rotation is published: `kijiti ministry release publish`",
        ),
        Refusal::RootUnfinished(e) => words(
            5,
            e,
            "have it signed on the machines of its other keys: `kijiti ministry release sign`",
        ),
        Refusal::RootRefused(e) => words(1, e, "choose a shorter name"),
        Refusal::NotDelegated(name) => words(
            1,
            format!("the ministry's list delegates nothing to {name:?}"),
            "see `kijiti ministry release log`",
        ),
        Refusal::NoLineage => words(
            2,
            "a delegated release must say what it was made from",
            "pass --lineage FILE: the parent's digest, the data, the protocol, results by group",
        ),
        Refusal::NotCovered(name, module, kind, area) => words(
            5,
            format!("{name} may not release {module} (kind {kind}) for {area}"),
            "see `kijiti ministry release log` for what it may",
        ),
        Refusal::OtherKind(module, held, kind) => words(
            5,
            format!("{module} is of kind {held}, and this is of kind {kind}"),
            format!(
                "a module stays what it is: choose another --module for this file, or, if it is \
                 of kind {held} all the same, say --kind {held}"
            ),
        ),
        Refusal::NoAdapter(module, kind) => words(
            2,
            format!("{module} is of kind {kind}, and only an adapter stands beside a base"),
            "leave --base out; for a delta from an earlier bundle, say --delta-from",
        ),
        Refusal::VersionHeld(module, held) => words(
            5,
            format!("{module} is at version {held} already"),
            "leave --version-number out, or choose a higher one",
        ),
        Refusal::NotListed(module, area, language) => words(
            1,
            format!("{module} for {area} in {language} is not in the list"),
            "see `kijiti model list`",
        ),
        Refusal::NoDelta(e) => words(
            1,
            format!("cannot make the delta: {e}"),
            "check memory and space",
        ),
        Refusal::NoRecallKeys => words(
            1,
            "this ministry's root names no recall keys",
            "rotate the root and add some",
        ),
        Refusal::Recalled(digest) => words(
            1,
            format!("bundle {} is recalled already", digest.short()),
            "nothing is to be done",
        ),
        Refusal::Revoked(device) => words(
            1,
            format!("{} is revoked already", device.short()),
            "nothing is to be done",
        ),
        Refusal::RequestDamaged(e) => words(
            2,
            format!("the request is damaged: {e}"),
            "ask for the request again",
        ),
        Refusal::MoreMustSign(have, needed) => words(
            4,
            format!("{have} of {needed} keys have signed"),
            "the other keys must sign too",
        ),
        Refusal::OtherMinistry => words(
            5,
            "the draft is of another ministry than these keys",
            "sign it with the keys of the ministry whose phone it certifies",
        ),
        Refusal::Certificate(e) => words(
            4,
            e,
            "see that the folder's keys and root are the ministry's newest",
        ),
        Refusal::NotQuantized(e) => words(
            2,
            format!("cannot quantize: {e}"),
            "give two GGUF files of one model: the phones' and new floats",
        ),
        other => words(1, format!("{other:?}"), ""),
    }
}

/// What requantizing a model has come to, a line each.
pub fn requantized(made: &Requantized, old_weights_given: bool) -> Vec<String> {
    let counts = made.counts;
    let (delta, plain) = (made.delta_bytes, made.delta_plain_bytes);
    let mut said = vec![
        format!(
            "{} of {} blocks keep their scales",
            counts.kept, counts.blocks
        ),
        format!("delta {delta} bytes; with fresh scales it would be {plain}"),
    ];
    if !old_weights_given {
        said.push("without --old-weights a part of what was learnt is lost".into());
    }
    let change = |now: u32, was: u32| (f64::from(now) - f64::from(was)) / 10.0;
    match &made.groups {
        Err(reason) => said.push(format!("groups not measured: {reason}")),
        Ok(groups) => said.extend(groups.iter().map(|(was, now)| {
            format!(
                "{:<15} pink found {:+.1} points, green left {:+.1} points against fresh scales",
                was.name,
                change(now.sensitivity_permille, was.sensitivity_permille),
                change(now.specificity_permille, was.specificity_permille)
            )
        })),
    }
    said
}

/// Why a certificate is made anew.
pub fn why(why: Why) -> &'static str {
    match why {
        Why::Ended => "it has ended",
        Why::Distrusted => "its key is distrusted",
        Why::EndsSoon => "it ends soon",
        Why::Asked => "as was asked",
    }
}

/// What a certificate of a draft would certify.
pub fn certifies(certificate: &Certificate, signatures: usize) -> String {
    let ends = certificate
        .expires_s
        .map_or("without an end".to_owned(), |end_s| {
            format!("until {}", clinical::date::instant(end_s))
        });
    let passes_on = match certificate.passes_on == Rights::default() {
        true => String::new(),
        false => format!(", may pass on {}", certificate.passes_on),
    };
    format!(
        "certifies phone {} ({}) for {}: {}{passes_on}, {ends}; {signatures} signed so far",
        certificate.name,
        certificate.device.short(),
        certificate.area,
        certificate.rights
    )
}

/// What comes next of certificates that more keys must sign.
pub fn goes_on(out: &std::path::Path, have: usize, needed: usize) -> String {
    format!(
        "{have} of {needed} keys have signed: take it to the desk of another, and there `kijiti enrol sign {} --ministry FOLDER --out FILE`",
        out.display()
    )
}

/// What a draft says, in a line, for who is about to sign it.
pub fn describe(draft: &DraftFile) -> Result<String, Failure> {
    let damaged = |e: CodecError| Failure::from(Refusal::Damaged("draft", Some(e)));
    let named = |releases: &[Release]| {
        let name = |r: &Release| format!("{} {} for {}", r.module, r.version, r.area);
        let names: Vec<_> = releases.iter().map(name).collect();
        if names.is_empty() {
            "no releases".to_owned()
        } else {
            names.join(", ")
        }
    };
    Ok(match desk::draft::offer_of(draft)? {
        Offer::Root(d) => {
            let root = d.read().map_err(damaged)?;
            let (threshold, keys) = (root.root.threshold, root.root.keys.len());
            format!("root {}: {threshold} of {keys} keys sign", root.version)
        }
        Offer::List(d) => {
            let list = d.read().map_err(damaged)?;
            format!("release list {}: {}", list.version, named(&list.releases))
        }
        Offer::Delegated(d) => {
            let list = d.read().map_err(damaged)?;
            format!(
                "list {} of {}: {}",
                list.version,
                list.delegation,
                named(&list.releases)
            )
        }
        Offer::Recall(d) => {
            let recall = d.read().map_err(damaged)?;
            let last = recall.recalled.last();
            let last = last.map(|r| format!("{} ({})", r.digest.short(), r.reason));
            let (version, count) = (recall.version, recall.recalled.len());
            format!(
                "recall {version} of {count} bundles, the last {}",
                last.unwrap_or_default()
            )
        }
        Offer::Revocations(d) => {
            let revoked = d.read().map_err(damaged)?.revoked;
            let last = revoked
                .last()
                .map(|r| format!("{} ({})", r.device.short(), r.reason));
            format!(
                "{} phones revoked, the last {}",
                revoked.len(),
                last.unwrap_or_default()
            )
        }
        Offer::Beacon(d) => {
            let beacon = d.read().map_err(damaged)?;
            format!("a beacon: root {}, list {}", beacon.root, beacon.list)
        }
    })
}
