//! `kijiti mirror`: so that towns with internet use what is there (the layout: [`desk::mirror`]).

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use desk::mirror::{Document, INDEX_BYTES_MAX, Index, IndexError, SCHEMA, read_index};
use distribution::TrustedState;
use distribution::plan::wanted;
use node::api::Request;
use node::api::views::status::{Documents, Status};
use node::host::folder::unusable;
use object_store::aws::AmazonS3Builder;
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{
    ClientOptions, GetOptions, GetRange, ObjectStore, ObjectStoreExt, WriteMultipart,
};
use protocol::Digest;
use protocol::limits::SIGNED_BYTES_MAX;

use crate::Failure;
use crate::cli::MirrorCommand;
use crate::ministry::held_trust;
use crate::run::Phone;
use desk::files::unhex;

/// Bytes asked for at once; what has come of a bundle is kept, so a cut loses no more than this.
const RANGE_BYTES: u64 = 1 << 20;
struct Mirror {
    store: Arc<dyn ObjectStore>,
    prefix: String,
    runtime: tokio::runtime::Runtime,
    name: String,
}

/// Runs one of the mirror's commands.
pub fn run(phone: &Phone, command: MirrorCommand) -> Result<(), Failure> {
    match command {
        MirrorCommand::Push { target, dry_run } => push(phone, &target, dry_run),
        MirrorCommand::Pull { source } => pull(phone, &source),
    }
}

fn failed(name: &str, error: &object_store::Error) -> Failure {
    let hint = match error {
        object_store::Error::NotFound { .. } => {
            "is this a mirror? It has kijiti/index.json; see `kijiti mirror push`"
        }
        _ => "check the address and the network; run it again, it goes on where it stopped",
    };
    Failure::new(format!("{name}: {error}"), hint)
}

impl Mirror {
    fn open(target: &str, make: bool) -> Result<Self, Failure> {
        // One crypto library for everything: the one that the links use.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let wrong = |e: &object_store::Error| {
            Failure::new(
                format!("{target}: {e}"),
                "write a folder, https://… or s3://BUCKET/PREFIX",
            )
            .with_code(2)
        };
        let (store, prefix): (Arc<dyn ObjectStore>, String) =
            if let Some(rest) = target.strip_prefix("s3://") {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                let s3 = AmazonS3Builder::from_env()
                    .with_bucket_name(bucket)
                    .build()
                    .map_err(|e| wrong(&e))?;
                (Arc::new(s3), prefix.trim_matches('/').to_owned())
            } else if target.starts_with("http://") || target.starts_with("https://") {
                let options = ClientOptions::new().with_allow_http(true);
                let http = HttpBuilder::new()
                    .with_url(target)
                    .with_client_options(options)
                    .build();
                (Arc::new(http.map_err(|e| wrong(&e))?), String::new())
            } else {
                let missing = |e: std::io::Error| {
                    Failure::new(
                        format!("{target}: {e}"),
                        "check the folder, and whether the card is in",
                    )
                };
                if make {
                    fs::create_dir_all(target).map_err(missing)?;
                }
                fs::metadata(target).map_err(missing)?;
                let folder = LocalFileSystem::new_with_prefix(target).map_err(|e| wrong(&e))?;
                (Arc::new(folder), String::new())
            };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Failure::new(format!("no threads: {e}"), "close other programs"))?;
        Ok(Self {
            store,
            prefix,
            runtime,
            name: target.to_owned(),
        })
    }

    fn path(&self, file: &str) -> ObjectPath {
        let whole = if self.prefix.is_empty() {
            format!("kijiti/{file}")
        } else {
            format!("{}/kijiti/{file}", self.prefix)
        };
        ObjectPath::from(whole)
    }

    fn put(&self, file: &str, bytes: Vec<u8>) -> Result<(), Failure> {
        let put = self
            .runtime
            .block_on(self.store.put(&self.path(file), bytes.into()));
        put.map(|_| ()).map_err(|e| failed(&self.name, &e))
    }

    /// Copies a bundle, in parts: it may be larger than the memory.
    fn put_file(&self, file: &str, from: &std::path::Path) -> Result<(), Failure> {
        let unreadable = |e: std::io::Error| {
            Failure::new(format!("{}: {e}", from.display()), "check the data folder")
        };
        let mut source = File::open(from).map_err(unreadable)?;
        let path = self.path(file);
        self.runtime.block_on(async {
            let upload = self
                .store
                .put_multipart(&path)
                .await
                .map_err(|e| failed(&self.name, &e))?;
            let mut writer = WriteMultipart::new_with_chunk_size(upload, 8 << 20);
            let mut buffer = vec![0; 1 << 20];
            loop {
                let read = source.read(&mut buffer).map_err(unreadable)?;
                if read == 0 {
                    break;
                }
                writer
                    .wait_for_capacity(2)
                    .await
                    .map_err(|e| failed(&self.name, &e))?;
                writer.write(buffer.get(..read).unwrap_or_default());
            }
            writer
                .finish()
                .await
                .map(|_| ())
                .map_err(|e| failed(&self.name, &e))
        })
    }

    fn has(&self, file: &str, bytes: u64) -> bool {
        self.runtime
            .block_on(self.store.head(&self.path(file)))
            .is_ok_and(|meta| meta.size == bytes)
    }

    /// A small file, if it is no longer than `max`.
    fn get(&self, file: &str, max: u64) -> Result<Vec<u8>, Failure> {
        let path = self.path(file);
        self.runtime.block_on(async {
            let found = self
                .store
                .get(&path)
                .await
                .map_err(|e| failed(&self.name, &e))?;
            if found.meta.size > max {
                return Err(Failure::new(
                    format!("{}: {file} is far too long", self.name),
                    "this is no mirror",
                ));
            }
            found
                .bytes()
                .await
                .map(|b| b.to_vec())
                .map_err(|e| failed(&self.name, &e))
        })
    }

    fn get_range(&self, file: &str, start: u64, end: u64) -> Result<Vec<u8>, object_store::Error> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(start..end)),
            ..GetOptions::default()
        };
        let path = self.path(file);
        self.runtime.block_on(async {
            Ok(self
                .store
                .get_opts(&path, options)
                .await?
                .bytes()
                .await?
                .to_vec())
        })
    }
}

fn bundle_path(phone: &Phone, digest: &Digest) -> PathBuf {
    phone.folder.join("bundles").join(digest.to_string())
}

/// Every bundle that the list names: releases and deltas.
fn named(trust: &TrustedState) -> Vec<(Digest, u64)> {
    let of = |r: &&distribution::Release| {
        let deltas = r.deltas.iter().map(|d| (d.digest, d.bytes));
        deltas.chain([(r.digest, r.bytes)]).collect::<Vec<_>>()
    };
    trust.releases().iter().flat_map(of).collect()
}

fn push(phone: &Phone, target: &str, dry_run: bool) -> Result<(), Failure> {
    if target.starts_with("http://") || target.starts_with("https://") {
        let hint = "push to a folder and let the web server serve it, or use s3://";
        return Err(Failure::new("a plain web server cannot be written to", hint).with_code(2));
    }
    let answer: Documents = phone.ask(Request::Documents)?;
    let trust = held_trust(&answer)?;
    let here: Vec<_> = named(&trust)
        .into_iter()
        .filter(|(digest, _)| bundle_path(phone, digest).is_file())
        .collect();
    if dry_run {
        println!(
            "would copy {} documents and {} bundles to {target}",
            answer.documents.len(),
            here.len()
        );
        return Ok(());
    }
    let mirror = Mirror::open(target, true)?;
    let mut index = Index {
        schema: SCHEMA.into(),
        documents: Vec::new(),
        bundles: Vec::new(),
    };
    let mut copied = 0;
    for (digest, bytes) in &here {
        let file = format!("bundles/{digest}");
        if !mirror.has(&file, *bytes) {
            mirror.put_file(&file, &bundle_path(phone, digest))?;
            copied += 1;
        }
        index.bundles.push(digest.to_string());
    }
    for (n, document) in answer.documents.iter().enumerate() {
        let kind = document.kind.clone();
        let bytes = unhex("document", &document.document)?;
        // Named by what they hold, so that a half-done push never mixes two lists.
        let file = format!("documents/{n}-{kind}-{}", Digest::of(&bytes).short());
        mirror.put(&file, bytes)?;
        index.documents.push(Document { kind, file });
    }
    let text = serde_json::to_vec_pretty(&index).map_err(|e| Failure::new(e, ""))?;
    mirror.put("index.json", text)?;
    let (list, bundles) = (trust.list_version(), index.bundles.len());
    println!(
        "{target} now has release list {list} and {bundles} bundles, {copied} of them new there"
    );
    Ok(())
}

fn pull(phone: &Phone, source: &str) -> Result<(), Failure> {
    let before = held_trust(&phone.ask(Request::Documents)?)?;
    let mirror = Mirror::open(source, false)?;
    let damaged = |why: IndexError| {
        Failure::new(
            format!("{source}: the index is damaged: {why}"),
            "push to it again",
        )
    };
    let index = read_index(&mirror.get("index.json", INDEX_BYTES_MAX)?).map_err(damaged)?;
    for document in &index.documents {
        let bytes = mirror.get(&document.file, SIGNED_BYTES_MAX as u64)?;
        let offered = Request::Offer {
            kind: document.kind.clone(),
            document: desk::files::hex(&bytes),
        };
        // An older document is refused as from any courier; what is newer beside it is still taken.
        if let Err(refused) = phone.reply(offered) {
            eprintln!("passed over: {} ({})", document.kind, refused.reason);
        }
    }
    let trust = held_trust(&phone.ask(Request::Documents)?)?;
    let there: BTreeSet<_> = index.bundles.iter().map(String::as_str).collect();
    let status: Status = phone.ask(Request::Status)?;
    let area = status.area.unwrap_or_default();
    let (mut taken, mut bytes_taken) = (0, 0);
    let here = |digest: &Digest| bundle_path(phone, digest).is_file();
    let to_be_had = |digest: &Digest| there.contains(digest.to_string().as_str());
    for (digest, bytes) in wanted(trust.releases_for(&area), here, to_be_had) {
        bytes_taken += fetch(phone, &mirror, &digest, bytes)?;
        taken += 1;
    }
    let (old, new) = (before.list_version(), trust.list_version());
    println!("release list {old} → {new}; {taken} bundles taken, {bytes_taken} bytes");
    Ok(())
}

/// Fetches one bundle range by range into the phone's folder, checks it and hands it over. Bytes
/// that came over the network.
fn fetch(phone: &Phone, mirror: &Mirror, digest: &Digest, bytes: u64) -> Result<u64, Failure> {
    let folder = phone.folder.join("mirror");
    let full = |e: std::io::Error| unusable(&folder, &e);
    fs::create_dir_all(&folder).map_err(full)?;
    let part = folder.join(format!("{digest}.part"));
    let file = format!("bundles/{digest}");
    let mut out = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&part)
        .map_err(full)?;
    let mut at = out.metadata().map_err(full)?.len();
    let begun_at = at;
    while at < bytes {
        let end = bytes.min(at + RANGE_BYTES);
        let piece = mirror
            .get_range(&file, at, end)
            .map_err(|e| failed(&mirror.name, &e))?;
        if piece.len() as u64 != end - at {
            return Err(Failure::new(
                format!("{}: {file} is cut short", mirror.name),
                "push to it again",
            ));
        }
        if let Err(error) = out.write_all(&piece) {
            // What came stays, unless it is what fills the disk: a phone must be able to go on
            // working.
            if error.kind() == std::io::ErrorKind::StorageFull {
                let _ = fs::remove_file(&part);
            }
            return Err(full(error).into());
        }
        at = end;
    }
    out.sync_all().map_err(full)?;
    if digest_of(&part).map_err(full)? != *digest || at != bytes {
        let _ = fs::remove_file(&part);
        let hint =
            "the mirror holds something else under this name: push to it again, then pull again";
        return Err(Failure::new(
            format!(
                "{}: bundle {} is not what was signed",
                mirror.name,
                digest.short()
            ),
            hint,
        )
        .with_code(5));
    }
    phone.reply(Request::Import {
        path: part.display().to_string(),
    })?;
    let _ = fs::remove_file(&part);
    Ok(bytes - begun_at)
}

fn digest_of(path: &std::path::Path) -> std::io::Result<Digest> {
    Digest::of_reader(&mut File::open(path)?)
}
