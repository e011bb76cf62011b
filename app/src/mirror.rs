//! `kijiti mirror`: so that towns with internet use what is there (the layout: [`desk::mirror`]).
//!
//! A push never takes a mirror back: what is newer there comes to the phone first, what is damaged there is
//! put there anew, and what no list names any more is taken away once the index no longer names it.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use desk::files::{hex, unhex};
use desk::mirror::{
    DOCUMENTS_MAX, Document, INDEX_BYTES_MAX, Index, IndexError, SCHEMA, read_index,
};
use distribution::plan::wanted;
use distribution::trust::{Offer, TrustError};
use distribution::{Root, TrustedState};
use node::api::Request;
use node::api::views::status::{Documents, Status};
use node::host::folder::unusable;
use node::host::links::folder::{holds, make_for_all, unusable as card_unusable};
use protocol::Digest;
use protocol::limits::SIGNED_BYTES_MAX;
use protocol::signed::Signed;
use tokio::runtime::Runtime;

use crate::Failure;
use crate::cli::MirrorCommand;
use crate::ministry::held_trust;
use crate::run::Phone;

mod cause;
mod place;

use cause::Cause;
use place::{Incoming, Place, alone, is_web};

/// How often a file that broke off is asked for again without a byte having come.
const TRIES: u32 = 3;
/// A mirror's folder of bundles.
const BUNDLES: &str = "bundles";
/// Its folder of documents.
const DOCUMENTS: &str = "documents";
const INDEX: &str = "index.json";

/// The ministry's documents with their kinds, as they lie in a mirror.
type Papers = Vec<(String, Vec<u8>)>;

/// Runs one of the mirror's commands.
pub fn run(phone: &Phone, command: MirrorCommand) -> Result<(), Failure> {
    match command {
        MirrorCommand::Push {
            target,
            dry_run,
            check,
        } => push(phone, &target, dry_run, check),
        MirrorCommand::Pull { source } => pull(phone, &source),
    }
}

/// A mirror, and what waits for it.
struct Mirror {
    place: Place,
    name: String,
    runtime: Runtime,
}

impl Mirror {
    fn open(name: &str) -> Result<Self, Failure> {
        let place = Place::open(name).map_err(|cause| cause.at(name))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Failure::new(format!("no threads: {e}"), "close other programs"))?;
        Ok(Self {
            place,
            name: name.to_owned(),
            runtime,
        })
    }

    fn failed(&self, cause: Cause) -> Failure {
        cause.at(&self.name)
    }

    fn read_small(&self, file: &str, max: u64) -> Result<Vec<u8>, Cause> {
        let mut tries = 0;
        loop {
            let read = self.runtime.block_on(self.place.read_small(file, max));
            tries += 1;
            match read {
                Err(cause) if cause.passes() && tries < TRIES => pause(tries),
                read => return read,
            }
        }
    }

    fn put(&self, file: &str, bytes: &[u8]) -> Result<(), Failure> {
        let mut bytes = bytes;
        let put = self.place.put(file, &mut bytes);
        self.runtime.block_on(put).map_err(|e| self.failed(e))
    }

    /// What it says that it holds; `None`: it is no mirror yet.
    fn index(&self) -> Result<Option<Result<Index, IndexError>>, Failure> {
        match self.read_small(INDEX, INDEX_BYTES_MAX) {
            Ok(bytes) => Ok(Some(read_index(&bytes))),
            Err(Cause::InTheWay) => Ok(Some(read_index(b""))),
            Err(Cause::NotThere) => Ok(None),
            Err(cause) => Err(self.failed(cause)),
        }
    }

    /// Its documents as far as they can be read; whether all could.
    fn documents(&self, phone: &Phone, index: &Index) -> Result<(Papers, bool), Failure> {
        let (mut found, mut all) = (Papers::new(), true);
        for document in &index.documents {
            match self.read_small(&document.file, SIGNED_BYTES_MAX as u64) {
                Ok(bytes) => found.push((document.kind.clone(), bytes)),
                Err(Cause::NotThere | Cause::TooLong | Cause::InTheWay) => {
                    let kind = &document.kind;
                    note(
                        phone,
                        &format!("passed over: {kind} (it is not there, or damaged)"),
                    );
                    all = false;
                }
                Err(cause) => return Err(self.failed(cause)),
            }
        }
        Ok((found, all))
    }

    /// What lies there already: by its index or, where that is damaged or gone, by what is found.
    fn what_is_there(&self, phone: &Phone) -> Result<(Papers, bool), Failure> {
        let why = match self.index()? {
            Some(Ok(index)) => return self.documents(phone, &index),
            Some(Err(why)) => Some(why),
            None => None,
        };
        let mut names = self.runtime.block_on(self.place.list(DOCUMENTS));
        if names.is_empty() && why.is_none() {
            return Ok((Papers::new(), true)); // nothing of a mirror yet
        }
        note(
            phone,
            "note: the index there is damaged or gone: it is written anew",
        );
        // `3-release-list-1a2b3c4d`; roots first, as they are numbered.
        names.sort_by_key(|name| name.split('-').next().and_then(|n| n.parse::<u32>().ok()));
        let kind = |name: &str| {
            let (_, rest) = name.split_once('-')?;
            Some(rest.rsplit_once('-')?.0.to_owned())
        };
        let documents = names.iter().filter_map(|name| {
            let file = format!("{DOCUMENTS}/{name}");
            kind(name).map(|kind| Document { kind, file })
        });
        let found = Index {
            schema: SCHEMA.into(),
            documents: documents.take(DOCUMENTS_MAX).collect(),
            bundles: Vec::new(),
        };
        Ok((self.documents(phone, &found)?.0, false))
    }
}

/// Says something beside the result; not where a program reads what goes wrong as JSON.
fn note(phone: &Phone, words: &str) {
    if !phone.json {
        eprintln!("{words}");
    }
}

/// Offers the phone what a mirror has.
fn offer(phone: &Phone, documents: &[(String, Vec<u8>)]) {
    for (kind, bytes) in documents {
        let offered = Request::Offer {
            kind: kind.clone(),
            document: hex(bytes),
        };
        // An older document is refused as from any courier; what is newer beside it is still taken.
        if let Err(refused) = phone.reply(offered) {
            note(phone, &format!("passed over: {kind} ({})", refused.reason));
        }
    }
}

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

fn bundle_path(phone: &Phone, digest: &Digest) -> PathBuf {
    phone.folder.join(BUNDLES).join(digest.to_string())
}

/// Every bundle that the list names: releases and deltas.
fn named(trust: &TrustedState) -> BTreeSet<(Digest, u64)> {
    let of = |r: &&distribution::Release| {
        let deltas = r.deltas.iter().map(|d| (d.digest, d.bytes));
        deltas.chain([(r.digest, r.bytes)]).collect::<Vec<_>>()
    };
    trust.releases().iter().flat_map(of).collect()
}

/// What a network may need to come back.
fn pause(tries: u32) {
    std::thread::sleep(std::time::Duration::from_secs(u64::from(tries)));
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

fn push(phone: &Phone, target: &str, dry_run: bool, check: bool) -> Result<(), Failure> {
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
        Place::Folder(folder) => Some(make_and_hold(folder)?),
        Place::Bucket { .. } | Place::Web { .. } => None,
    };
    let (documents, all) = mirror.what_is_there(phone)?;
    if of_another_ministry(&documents, &trust) {
        let hint = "choose another folder, or take that mirror away first";
        let reason = format!("{target} is the mirror of another ministry");
        return Err(Failure::new(reason, hint).with_code(5));
    }
    // What the lists there name is taken away only where every one of them was understood.
    let (new, believed) = news(phone, &trust, documents);
    let understood = believed && all;
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
    if understood {
        prune(&mirror, &index);
    }
    let (list, bundles) = (trust.list_version(), index.bundles.len());
    println!(
        "{target} now has release list {list} and {bundles} bundles, {copied} of them new there"
    );
    Ok(())
}

/// A folder that is there and that nobody else pushes to.
fn make_and_hold(folder: &Path) -> Result<place::Alone, Failure> {
    let unusable = |e: std::io::Error| Failure::from(card_unusable(folder, &e));
    let within = folder.join("kijiti");
    make_for_all(&within).map_err(unusable)?;
    alone(&within, "another push to it is under way: waiting for it").map_err(unusable)
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

/// Takes away what the index does not name: superseded bundles and documents, and what pushes that were
/// cut off have left. Names that no push gives stay.
fn prune(mirror: &Mirror, index: &Index) {
    let ours = |name: &str| {
        let stem = name.split(['#', '.']).next().unwrap_or_default();
        stem.parse::<Digest>().is_ok()
    };
    let bundles = mirror.runtime.block_on(mirror.place.list(BUNDLES));
    for name in bundles.iter().filter(|name| ours(name)) {
        if !index.bundles.contains(name) {
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

fn pull(phone: &Phone, source: &str) -> Result<(), Failure> {
    let before = held_trust(&phone.ask(Request::Documents)?)?;
    let mirror = Mirror::open(source)?;
    if let Place::Folder(folder) = &mirror.place {
        let missing = |e: std::io::Error| {
            let hint = "check the folder, and whether the card is in";
            Failure::new(format!("{source}: {e}"), hint)
        };
        fs::metadata(folder).map_err(missing)?;
    }
    let folder = phone.folder.join("mirror");
    let full = |e: std::io::Error| Failure::from(unusable(&folder, &e));
    fs::create_dir_all(&folder).map_err(full)?;
    let _alone = alone(
        &folder,
        "another pull of this phone is under way: waiting for it",
    )
    .map_err(full)?;
    let damaged = |why: IndexError| {
        let hint = "`kijiti mirror push` of a phone that has the releases writes it anew";
        Failure::new(format!("{source}: the index is damaged: {why}"), hint)
    };
    let index = mirror.index()?;
    let index = index
        .ok_or_else(|| mirror.failed(Cause::NotThere))?
        .map_err(damaged)?;
    let (documents, all) = mirror.documents(phone, &index)?;
    offer(phone, &documents);
    let trust = held_trust(&phone.ask(Request::Documents)?)?;
    let there: BTreeSet<_> = index.bundles.iter().map(String::as_str).collect();
    let status: Status = phone.ask(Request::Status)?;
    let area = status.area.unwrap_or_default();
    let (mut taken, mut bytes_taken, mut failed) = (0, 0, None);
    let here = |digest: &Digest| bundle_path(phone, digest).is_file();
    let to_be_had = |digest: &Digest| there.contains(digest.to_string().as_str());
    let wanted = wanted(trust.releases_for(&area), here, to_be_had);
    sweep(&folder, &wanted);
    for (digest, bytes) in wanted {
        match fetch(phone, &mirror, (&folder, &digest, bytes)) {
            Ok(came) => {
                bytes_taken += came;
                taken += 1;
            }
            // One bad file costs only itself; a network or a disk that fails costs all that would follow.
            Err((failure, true)) => {
                note(phone, &failure.reason);
                failed = Some(failure);
            }
            Err((failure, false)) => return Err(failure),
        }
    }
    let (old, new) = (before.list_version(), trust.list_version());
    println!("release list {old} → {new}; {taken} bundles taken, {bytes_taken} bytes");
    if failed.is_none() && !all {
        let hint =
            "`kijiti mirror push` of a phone that has them puts them there anew; then pull again";
        let reason = format!("{source}: documents of the ministry's are missing or damaged there");
        failed = Some(Failure::new(reason, hint).with_code(5));
    }
    failed.map_or(Ok(()), Err)
}

/// Takes away what had come of bundles that nobody wants any more.
fn sweep(folder: &Path, wanted: &[(Digest, u64)]) {
    for file in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = file.path();
        let part = path.extension().is_some_and(|ending| ending == "part");
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let digest = stem.and_then(|stem| stem.parse::<Digest>().ok());
        let still = digest.is_some_and(|digest| wanted.iter().any(|(w, _)| *w == digest));
        if part && !still {
            let _ = fs::remove_file(path);
        }
    }
}

/// Fetches one bundle into the phone's folder, checks it and hands it over. What has come is kept, so that a
/// cut costs nothing of it. Bytes that came over the network; a failure, and whether it is this file's alone.
fn fetch(
    phone: &Phone,
    mirror: &Mirror,
    (folder, digest, bytes): (&Path, &Digest, u64),
) -> Result<u64, (Failure, bool)> {
    let part = folder.join(format!("{digest}.part"));
    if part.is_dir() {
        let _ = fs::remove_dir_all(&part);
    }
    let full = |e: std::io::Error| (Failure::from(unusable(folder, &e)), false);
    let (mut came, mut came_again) = (0, 0);
    loop {
        let begun = fs::metadata(&part).map_or(0, |there| there.len());
        let (bytes_came, pieced) = fetch_rest(mirror, &part, (digest, bytes))?;
        came += bytes_came;
        if holds(&part, digest, bytes) {
            break;
        }
        fs::remove_file(&part).map_err(full)?;
        // What had come before may have been of another time, or of another mirror; what came in pieces too.
        if begun == 0 && !pieced {
            let hint = "`kijiti mirror push --check` of a phone that has it puts it there anew; then pull again";
            let reason = format!(
                "{}: bundle {} is not what was signed",
                mirror.name,
                digest.short()
            );
            return Err((Failure::new(reason, hint).with_code(5), true));
        }
        if !ONCE_MORE.contains(&came_again) {
            let hint = "pull again later, or from another mirror";
            let reason = format!(
                "{}: bundle {} comes otherwise each time",
                mirror.name,
                digest.short()
            );
            return Err((Failure::new(reason, hint).with_code(5), true));
        }
        came_again += 1;
    }
    let path = part.display().to_string();
    let imported = phone.reply(Request::Import { path });
    imported.map_err(|failure| (failure, false))?;
    let _ = fs::remove_file(&part);
    Ok(came)
}

/// How often a bundle that came in pieces and is not right is fetched anew.
const ONCE_MORE: std::ops::Range<u32> = 0..1;

/// Fetches what is lacking of a file, and asks again where it breaks off. Bytes that came, and whether it took
/// more than one answer.
fn fetch_rest(
    mirror: &Mirror,
    part: &Path,
    (digest, bytes): (&Digest, u64),
) -> Result<(u64, bool), (Failure, bool)> {
    let full = |e: std::io::Error| {
        // What came stays, unless it is what fills the disk: a phone must be able to go on working.
        if e.kind() == std::io::ErrorKind::StorageFull {
            let _ = fs::remove_file(part);
        }
        (
            Failure::from(unusable(part.parent().unwrap_or(part), &e)),
            false,
        )
    };
    let file = format!("{BUNDLES}/{digest}");
    let mut out = OpenOptions::new()
        .create(true)
        .append(true)
        .open(part)
        .map_err(full)?;
    let begun = out.metadata().map_err(full)?.len();
    let (mut at, mut tries, mut answers) = (begun, 0, 0);
    while at < bytes {
        answers += 1;
        let asked_at = at;
        let went = mirror.runtime.block_on(async {
            let mut incoming = mirror.place.read(&file, at).await?;
            take(&mut incoming, &mut out, (&mut at, bytes)).await
        });
        match went {
            Ok(Ok(())) if at >= bytes => {}
            // An answer that ends early: some servers give a part at a time, others hang up so. What came stays.
            Ok(Ok(())) if at > asked_at => {}
            // Nothing follows: what lies there is shorter than what was signed, and is judged as it is.
            Ok(Ok(())) => break,
            Ok(Err(disk)) => return Err(full(disk)),
            Err(cause) => {
                tries = if at > asked_at { 0 } else { tries + 1 };
                if !cause.passes() || tries >= TRIES {
                    out.sync_all().map_err(full)?;
                    let its_own = cause.is_of_one_file();
                    let name = format!("{}: bundle {}", mirror.name, digest.short());
                    return Err((cause.at(&name), its_own));
                }
                pause(tries);
            }
        }
    }
    out.sync_all().map_err(full)?;
    Ok((at - begun, answers > 1))
}

/// Writes what comes, from the byte on that is lacking; `Ok(Err(…))` is the disk's fault.
async fn take(
    incoming: &mut Incoming,
    out: &mut File,
    (at, bytes): (&mut u64, u64),
) -> Result<std::io::Result<()>, Cause> {
    let mut position = incoming.from;
    if position > *at {
        return Err(Cause::Broken(
            "it answers with another range than was asked for".into(),
        ));
    }
    let mut first = true;
    while let Some(piece) = incoming.next().await? {
        if std::mem::take(&mut first) && incoming.is_page_instead(&piece, bytes) {
            return Err(Cause::Page);
        }
        let end = position + piece.len() as u64;
        // A server without ranges begins at the beginning: what is here already is passed over.
        let skip = at.saturating_sub(position).min(piece.len() as u64);
        let wanted = bytes.saturating_sub(position).min(piece.len() as u64);
        let new = usize::try_from(skip).ok().zip(usize::try_from(wanted).ok());
        let new = new.and_then(|(skip, wanted)| piece.get(skip..wanted));
        let new = new.unwrap_or_default();
        if let Err(disk) = out.write_all(new) {
            return Ok(Err(disk));
        }
        *at += new.len() as u64;
        position = end;
        if position >= bytes {
            break;
        }
    }
    Ok(Ok(()))
}
