//! `kijiti mirror`: so that towns with internet use what is there (the layout: [`desk::mirror`]).
//!
//! A push never takes a mirror back: what is newer there comes to the phone first, what is damaged there is
//! put there anew, and what no list names any more is taken away once the index no longer names it.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use desk::files::hex;
use desk::mirror::{
    DOCUMENTS_MAX, Document, INDEX_BYTES_MAX, Index, IndexError, SCHEMA, read_index,
};
use distribution::plan::wanted;
use node::api::Request;
use node::api::views::status::Status;
use node::host::folder::{hold, unusable};
use node::host::links::folder::holds;
use protocol::Digest;
use protocol::limits::SIGNED_BYTES_MAX;
use tokio::runtime::Runtime;

use crate::Failure;
use crate::cli::MirrorCommand;
use crate::ministry::held_trust;
use crate::run::Phone;

mod cause;
mod place;
mod push;

use cause::Cause;
use place::{Incoming, Place};

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
        } => push::push(phone, &target, dry_run, check),
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

    /// What lies there already: by its index or, where that is damaged or gone, by what is found; and the
    /// bundles that its index names, where all that it says was read.
    fn what_is_there(&self, phone: &Phone) -> Result<(Papers, Option<Vec<String>>), Failure> {
        let damaged = match self.index()? {
            Some(Ok(index)) => {
                let (documents, all) = self.documents(phone, &index)?;
                return Ok((documents, all.then_some(index.bundles)));
            }
            Some(Err(_)) => true,
            None => false,
        };
        let mut names = self.runtime.block_on(self.place.list(DOCUMENTS));
        if names.is_empty() && !damaged {
            return Ok((Papers::new(), Some(Vec::new()))); // nothing of a mirror yet
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
        Ok((self.documents(phone, &found)?.0, None))
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

fn bundle_path(phone: &Phone, digest: &Digest) -> PathBuf {
    phone.folder.join(BUNDLES).join(digest.to_string())
}

/// What a network may need to come back.
fn pause(tries: u32) {
    std::thread::sleep(std::time::Duration::from_secs(u64::from(tries)));
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
    let waits = || {
        note(
            phone,
            "another pull of this phone is under way: waiting for it",
        );
    };
    let _alone = hold(&folder, waits).map_err(full)?;
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
                if let Some(earlier) = failed.replace(failure) {
                    note(phone, &earlier.reason);
                }
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
        if came_again == AGAIN_MAX {
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
const AGAIN_MAX: u32 = 1;
/// An answer that brings less, and less than a quarter of what lacks, is none: nobody is asked without end.
const ANSWER_BYTES_MIN: u64 = 4096;

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
        let cause = match went {
            Ok(Ok(())) if at >= bytes => break,
            // Nothing follows: what lies there is shorter than what was signed, and is judged as it is.
            Ok(Ok(())) if at == asked_at => break,
            // An answer that ends early: some servers give a part at a time, others hang up so. What came stays.
            Ok(Ok(())) => Cause::Broken("the server hangs up again and again".into()),
            Ok(Err(disk)) => return Err(full(disk)),
            Err(cause) => cause,
        };
        let came = at - asked_at;
        let moved = came >= ANSWER_BYTES_MIN || came.saturating_mul(4) >= bytes - asked_at;
        tries = if moved { 0 } else { tries + 1 };
        if !cause.passes() || tries >= TRIES {
            out.sync_all().map_err(full)?;
            let its_own = cause.is_of_one_file();
            let name = format!("{}: bundle {}", mirror.name, digest.short());
            return Err((cause.at(&name), its_own));
        }
        if !moved {
            pause(tries);
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
