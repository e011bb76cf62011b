//! Putting a mirror in order: what is newer there comes to the phone first, what is damaged there is put there anew,
//! and what only its index of before named is taken away.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use desk::files::unhex;
use desk::mirror::{Document, Index, SCHEMA};
use distribution::trust::{Offer, TrustError};
use distribution::{Root, TrustedState};
use node::api::Request;
use node::api::views::status::Documents;
use node::host::folder::{hold, unusable};
use node::host::links::folder::{holds, make_for_all, unusable as card_unusable};
use protocol::Digest;
use protocol::limits::SIGNED_BYTES_MAX;
use protocol::signed::Signed;

use super::cause::Cause;
use super::place::{Place, is_web};
use super::{BUNDLES, DOCUMENTS, INDEX, Mirror, Papers, bundle_path, note, offer};
use crate::Failure;
use crate::ministry::held_trust;
use crate::run::Phone;

/// Of documents those that are news to what is trusted; and whether each was one that is believed, or outgrown.
fn news(phone: &Phone, trust: &TrustedState, documents: Papers) -> (Papers, bool) {
    let (mut trust, mut understood) = (trust.clone(), true);
    let mut new = Papers::new();
    for (kind, bytes) in documents {
        let offered = Offer::from_bytes(&kind, &bytes).and_then(|offer| trust.offer(&offer));
        match offered {
            Ok(true) => new.push((kind, bytes)),
            Ok(false) | Err(TrustError::Rollback { .. }) => {}
            Err(why) => {
                note(phone, &format!("passed over: {kind} ({why})"));
                understood = false;
            }
        }
    }
    (new, understood)
}

/// Every bundle that the list names: releases and deltas.
fn named(trust: &TrustedState) -> BTreeSet<(Digest, u64)> {
    let of = |r: &&distribution::Release| {
        let deltas = r.deltas.iter().map(|d| (d.digest, d.bytes));
        deltas.chain([(r.digest, r.bytes)]).collect::<Vec<_>>()
    };
    trust.releases().iter().flat_map(of).collect()
}

/// Whether documents begin with the first root of another ministry.
fn of_another_ministry(documents: &[(String, Vec<u8>)], trust: &TrustedState) -> bool {
    let roots = documents.iter().filter(|(kind, _)| kind == "root");
    let firsts = roots.filter_map(|(_, bytes)| {
        let root = Signed::<Root>::from_bytes(bytes).ok()?;
        (root.read().ok()?.version == 1).then(|| root.digest())
    });
    let mut firsts = firsts.peekable();
    firsts.peek().is_some() && firsts.all(|first| first != trust.ministry())
}

/// Puts there what this phone has and the mirror has not.
pub(super) fn push(phone: &Phone, target: &str, dry_run: bool, check: bool) -> Result<(), Failure> {
    if is_web(target) {
        return Err(Cause::ReadsOnly.at(target));
    }
    let mut answer: Documents = phone.ask(Request::Documents)?;
    let mut trust = held_trust(&answer)?;
    if dry_run {
        let here = named(&trust).into_iter();
        let here = here.filter(|(digest, _)| bundle_path(phone, digest).is_file());
        println!(
            "would copy {} documents and {} bundles to {target}",
            answer.documents.len(),
            here.count()
        );
        return Ok(());
    }
    let mirror = Mirror::open(target)?;
    let _alone = match &mirror.place {
        Place::Folder(folder) => Some(make_and_hold(phone, folder)?),
        Place::Bucket { .. } | Place::Web { .. } => None,
    };
    let (documents, named_before) = mirror.what_is_there(phone)?;
    if of_another_ministry(&documents, &trust) {
        let hint = "choose another folder, or take that mirror away first";
        let reason = format!("{target} is the mirror of another ministry");
        return Err(Failure::new(reason, hint).with_code(5));
    }
    // What the lists there name is taken away only where every one of them was understood.
    let (new, believed) = news(phone, &trust, documents);
    let named_before = named_before.filter(|_| believed);
    let list_before = trust.list_version();
    if !new.is_empty() {
        offer(phone, &new);
        answer = phone.ask(Request::Documents)?;
        trust = held_trust(&answer)?;
    }
    if trust.list_version() > list_before {
        println!(
            "{target} was ahead: this phone now has release list {}",
            trust.list_version()
        );
    }
    let mut index = Index {
        schema: SCHEMA.into(),
        documents: Vec::new(),
        bundles: Vec::new(),
    };
    let copied = push_bundles(phone, &mirror, (&trust, check), &mut index)?;
    push_documents(&mirror, &answer, &mut index)?;
    let text = serde_json::to_vec_pretty(&index).map_err(|e| Failure::new(e, ""))?;
    mirror.put(INDEX, &text)?;
    if let Some(before) = named_before {
        prune(&mirror, &before, &index);
    }
    let (list, bundles) = (trust.list_version(), index.bundles.len());
    println!(
        "{target} now has release list {list} and {bundles} bundles, {copied} of them new there"
    );
    Ok(())
}

/// A folder that is there and that nobody else pushes to.
fn make_and_hold(phone: &Phone, folder: &Path) -> Result<File, Failure> {
    let unusable = |e: std::io::Error| Failure::from(card_unusable(folder, &e));
    if !folder.exists() {
        fs::create_dir_all(folder).map_err(unusable)?;
        // A web server reads it.
        let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o755));
    }
    let within = folder.join("kijiti");
    make_for_all(&within).map_err(unusable)?;
    let waits = || note(phone, "another push to it is under way: waiting for it");
    hold(&within, waits).map_err(unusable)
}

/// Puts there what is not there whole; how many that were.
fn push_bundles(
    phone: &Phone,
    mirror: &Mirror,
    (trust, check): (&TrustedState, bool),
    index: &mut Index,
) -> Result<u64, Failure> {
    let mut copied = 0;
    for (digest, bytes) in named(trust) {
        let file = format!("{BUNDLES}/{digest}");
        let here = bundle_path(phone, &digest);
        let there = mirror.place.has(&file, &digest, bytes, check);
        if !mirror.runtime.block_on(there) {
            if !here.is_file() {
                continue;
            }
            if !holds(&here, &digest, bytes) {
                let what = format!(
                    "passed over: bundle {} is damaged on this phone",
                    digest.short()
                );
                note(
                    phone,
                    &format!("{what}; it fetches it anew when it meets another"),
                );
                continue;
            }
            let mut from = File::open(&here).map_err(|e| unusable(&here, &e))?;
            let put = mirror.place.put(&file, &mut from);
            mirror.runtime.block_on(put).map_err(|e| mirror.failed(e))?;
            copied += 1;
        }
        index.bundles.push(digest.to_string());
    }
    Ok(copied)
}

fn push_documents(mirror: &Mirror, answer: &Documents, index: &mut Index) -> Result<(), Failure> {
    for (n, document) in answer.documents.iter().enumerate() {
        let kind = document.kind.clone();
        let bytes = unhex("document", &document.document)?;
        // Named by what they hold, so that a half-done push never mixes two lists.
        let file = format!("{DOCUMENTS}/{n}-{kind}-{}", Digest::of(&bytes).short());
        if mirror.read_small(&file, SIGNED_BYTES_MAX as u64).as_ref() != Ok(&bytes) {
            mirror.put(&file, &bytes)?;
        }
        index.documents.push(Document { kind, file });
    }
    Ok(())
}

/// Takes away what only the index of before named: superseded bundles and documents; and what pushes that were
/// cut off have left. On a card, bundles of others may lie beside: those stay.
fn prune(mirror: &Mirror, before: &[String], index: &Index) {
    let is_draft = |name: &str| {
        let stem = name.split_once('#').map(|(stem, _)| stem.parse::<Digest>());
        stem.is_some_and(|digest| digest.is_ok())
    };
    let bundles = mirror.runtime.block_on(mirror.place.list(BUNDLES));
    for name in bundles {
        let superseded = before.contains(&name) && !index.bundles.contains(&name);
        if superseded || is_draft(&name) {
            let file = format!("{BUNDLES}/{name}");
            mirror.runtime.block_on(mirror.place.remove(&file));
        }
    }
    let numbered = |name: &str| {
        name.split_once('-')
            .is_some_and(|(n, _)| n.parse::<u32>().is_ok())
    };
    let documents = mirror.runtime.block_on(mirror.place.list(DOCUMENTS));
    for name in documents.iter().filter(|name| numbered(name)) {
        let file = format!("{DOCUMENTS}/{name}");
        if !index.documents.iter().any(|document| document.file == file) {
            mirror.runtime.block_on(mirror.place.remove(&file));
        }
    }
}
