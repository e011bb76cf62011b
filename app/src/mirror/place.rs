//! Where a mirror lies: a folder or card, a web server, a bucket of an S3-compatible store. What is
//! read comes as a stream, from the byte that was asked for or, from servers that know no ranges
//! (RFC 9110 §14), from the first; what cannot be had is told by its cause.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::Duration;

use flate2::write::MultiGzDecoder;
use futures::StreamExt;
use futures::stream::BoxStream;
use node::host::links::folder::{holds, make_for_all, put_whole, unusable};
use object_store::aws::AmazonS3Builder;
use object_store::path::Path as ObjectPath;
use object_store::{
    ClientOptions, GetOptions, GetRange, ObjectStore, ObjectStoreExt, WriteMultipart,
};
use protocol::Digest;
use reqwest::StatusCode;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, RANGE};

use super::cause::Cause;

/// How long a server may say nothing; a slow one that says something is waited for.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long it may take until a server answers at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes read at once from a folder.
const PIECE_BYTES: usize = 1 << 20;

/// A mirror's place.
pub(super) enum Place {
    /// A folder, or a card.
    Folder(PathBuf),
    /// A web server.
    Web {
        /// What asks it.
        client: reqwest::Client,
        /// The address below which `kijiti/` lies.
        base: String,
    },
    /// A bucket.
    Bucket {
        /// It.
        store: Box<dyn ObjectStore>,
        /// What comes before `kijiti/` in the names of its objects.
        prefix: String,
    },
}

/// A file that is coming.
pub(super) struct Incoming {
    /// The first byte that comes.
    pub(super) from: u64,
    body: Body,
    /// What unpacks a body that a server has packed, though nobody asked for that.
    packed: Option<MultiGzDecoder<Vec<u8>>>,
    /// It says of itself that it is a web page.
    page: bool,
    /// How many bytes come, where that is said.
    length: Option<u64>,
}

enum Body {
    File(File),
    Web(reqwest::Response),
    Bucket(BoxStream<'static, Result<Vec<u8>, Cause>>),
}

impl Place {
    /// Where a person means; usage is refused with what to write.
    pub(super) fn open(target: &str) -> Result<Self, Cause> {
        // One crypto library for everything: the one that the links use.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let wrong = |e: String| Cause::NoSuchPlace(e);
        if let Some(rest) = target.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let patient = ClientOptions::new()
                .with_timeout_disabled()
                .with_connect_timeout(CONNECT_TIMEOUT)
                .with_read_timeout(SILENCE_MAX);
            let allows = std::env::var("AWS_ALLOW_HTTP").is_ok_and(|v| v == "true");
            let s3 = AmazonS3Builder::from_env()
                .with_client_options(patient.with_allow_http(allows))
                .with_bucket_name(bucket)
                .build()
                .map_err(|e| wrong(e.to_string()))?;
            let prefix = match prefix.trim_matches('/') {
                "" => "kijiti".to_owned(),
                some => format!("{some}/kijiti"),
            };
            return Ok(Self::Bucket {
                store: Box::new(s3),
                prefix,
            });
        }
        if is_web(target) {
            let client = reqwest::Client::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .build()
                .map_err(|e| wrong(e.to_string()))?;
            let mut base = reqwest::Url::parse(target).map_err(|e| wrong(e.to_string()))?;
            base.set_query(None);
            base.set_fragment(None);
            let base = base.as_str().trim_end_matches('/');
            // Who names what lies in the mirror means the mirror.
            let base = base.strip_suffix("/index.json").unwrap_or(base);
            let base = base.strip_suffix("/kijiti").unwrap_or(base).to_owned();
            return Ok(Self::Web { client, base });
        }
        if target.trim().is_empty() || target.contains("://") {
            return Err(wrong("that is no place for a mirror".to_owned()));
        }
        let folder = PathBuf::from(target);
        let within = folder.ends_with("kijiti") && folder.join(super::INDEX).is_file();
        Ok(Self::Folder(match folder.parent() {
            Some(card) if within && card.as_os_str().is_empty() => PathBuf::from("."),
            Some(card) if within => card.to_owned(),
            Some(_) | None => folder,
        }))
    }

    /// Asks for a file of the mirror from byte `from` on.
    pub(super) async fn read(&self, file: &str, from: u64) -> Result<Incoming, Cause> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join("kijiti").join(file);
                let mut open =
                    node::host::folder::open_plain(&path).map_err(|e| Cause::of_file(&path, &e))?;
                open.seek(SeekFrom::Start(from))
                    .map_err(|e| Cause::of_file(&path, &e))?;
                Ok(Incoming::of(Body::File(open), from))
            }
            Self::Web { client, base } => ask_web(client, base, file, from).await,
            Self::Bucket { store, prefix } => {
                let options = GetOptions {
                    range: (from > 0).then_some(GetRange::Offset(from)),
                    ..GetOptions::default()
                };
                let path = ObjectPath::from(format!("{prefix}/{file}"));
                let found = store.get_opts(&path, options).await;
                let found = found.map_err(|e| Cause::of_bucket(&e))?;
                let pieces = found.into_stream().map(|piece| match piece {
                    Ok(piece) => Ok(piece.to_vec()),
                    Err(e) => Err(Cause::of_bucket(&e)),
                });
                Ok(Incoming::of(Body::Bucket(pieces.boxed()), from))
            }
        }
    }

    /// A small file, if it is no longer than `max`.
    pub(super) async fn read_small(&self, file: &str, max: u64) -> Result<Vec<u8>, Cause> {
        let mut incoming = self.read(file, 0).await?;
        let mut whole = Vec::new();
        while let Some(piece) = incoming.next().await? {
            whole.extend_from_slice(&piece);
            if whole.len() as u64 > max {
                return Err(Cause::TooLong);
            }
        }
        match incoming.is_page(&whole) {
            true => Err(Cause::Page),
            false => Ok(whole),
        }
    }

    /// Whether a bundle is there whole. A folder's is read through; a bucket keeps what it was given, so its
    /// size is enough unless `thoroughly`.
    pub(super) async fn has(
        &self,
        file: &str,
        digest: &Digest,
        bytes: u64,
        thoroughly: bool,
    ) -> bool {
        match self {
            Self::Folder(folder) => holds(&folder.join("kijiti").join(file), digest, bytes),
            Self::Bucket { store, prefix } if !thoroughly => {
                let path = ObjectPath::from(format!("{prefix}/{file}"));
                store
                    .head(&path)
                    .await
                    .is_ok_and(|there| there.size == bytes)
            }
            Self::Bucket { .. } | Self::Web { .. } => {
                self.digest_of(file, bytes).await.as_ref() == Some(digest)
            }
        }
    }

    async fn digest_of(&self, file: &str, bytes: u64) -> Option<Digest> {
        let mut incoming = self.read(file, 0).await.ok()?;
        let (mut hasher, mut read) = (blake3::Hasher::new(), 0);
        while let Some(piece) = incoming.next().await.ok()? {
            hasher.update(&piece);
            read += piece.len() as u64;
            if read > bytes {
                return None;
            }
        }
        Some(Digest(*hasher.finalize().as_bytes()))
    }

    /// Puts a file there whole, or not at all.
    pub(super) async fn put(&self, file: &str, from: &mut dyn Read) -> Result<(), Cause> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join("kijiti").join(file);
                let within = path.parent().unwrap_or(folder);
                make_for_all(within).map_err(|e| Cause::Local(unusable(folder, &e)))?;
                let name = path.file_name().unwrap_or_default();
                let draft = format!("{}#{}", name.to_string_lossy(), std::process::id());
                for there in [&path, &within.join(&draft)] {
                    if there.is_dir() && !there.is_symlink() {
                        // Nobody put it there for us: it is kept, out of the way.
                        let aside = format!("{}.aside", there.display());
                        let _ = fs::rename(there, aside);
                    }
                }
                put_whole(within, (&name.to_string_lossy(), &draft), from)
                    .map(drop)
                    .map_err(|e| Cause::Local(unusable(folder, &e)))
            }
            Self::Bucket { store, prefix } => {
                let path = ObjectPath::from(format!("{prefix}/{file}"));
                put_in_bucket(store.as_ref(), &path, from).await
            }
            Self::Web { .. } => Err(Cause::ReadsOnly),
        }
    }

    /// The files of one of its folders.
    pub(super) async fn list(&self, under: &str) -> Vec<String> {
        match self {
            Self::Folder(folder) => {
                let found = fs::read_dir(folder.join("kijiti").join(under));
                let files = found.into_iter().flatten().flatten();
                let plain = files.filter(|f| f.file_type().is_ok_and(|kind| kind.is_file()));
                plain
                    .filter_map(|file| file.file_name().into_string().ok())
                    .collect()
            }
            Self::Bucket { store, prefix } => {
                let path = ObjectPath::from(format!("{prefix}/{under}"));
                let mut objects = store.list(Some(&path));
                let mut names = Vec::new();
                while let Some(Ok(object)) = objects.next().await {
                    names.extend(object.location.filename().map(str::to_owned));
                }
                names
            }
            Self::Web { .. } => Vec::new(),
        }
    }

    /// Takes a file away that nothing names any more.
    pub(super) async fn remove(&self, file: &str) {
        match self {
            Self::Folder(folder) => drop(fs::remove_file(folder.join("kijiti").join(file))),
            Self::Bucket { store, prefix } => {
                let path = ObjectPath::from(format!("{prefix}/{file}"));
                drop(store.delete(&path).await);
            }
            Self::Web { .. } => {}
        }
    }
}

/// Whether a target is a web server's address.
pub(super) fn is_web(target: &str) -> bool {
    let lower = target.to_ascii_lowercase();
    lower.starts_with("http://") || lower.starts_with("https://")
}

async fn ask_web(
    client: &reqwest::Client,
    base: &str,
    file: &str,
    from: u64,
) -> Result<Incoming, Cause> {
    let mut from = from;
    loop {
        let mut request = client
            .get(format!("{base}/kijiti/{file}"))
            .header(ACCEPT_ENCODING, "identity");
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        let answer = tokio::time::timeout(SILENCE_MAX, request.send()).await;
        let answer = answer
            .map_err(|_| Cause::Silent)?
            .map_err(|e| Cause::of_web(&e))?;
        let header = |name| {
            let value = answer.headers().get(name);
            value.and_then(|v| v.to_str().ok()).unwrap_or_default()
        };
        let packed = header(CONTENT_ENCODING).trim().to_ascii_lowercase();
        let kind = header(CONTENT_TYPE).trim().to_ascii_lowercase();
        let page = kind.starts_with("text/html") || kind.starts_with("application/xhtml");
        let begins = match answer.status() {
            StatusCode::OK => Some(0),
            StatusCode::PARTIAL_CONTENT => begins_at(header(CONTENT_RANGE)),
            StatusCode::RANGE_NOT_SATISFIABLE => None,
            // Some refuse the very question for a range.
            StatusCode::BAD_REQUEST | StatusCode::NOT_IMPLEMENTED if from > 0 => None,
            other => return Err(Cause::of_status(other, page)),
        };
        let Some(begins) = begins.filter(|begins| *begins == 0 || packed.is_empty()) else {
            // A range of something else than the file itself: from the beginning, then.
            if from == 0 {
                return Err(Cause::Broken(
                    "it answers with a range that nobody asked for".into(),
                ));
            }
            from = 0;
            continue;
        };
        let length = answer.content_length();
        let mut incoming = Incoming::of(Body::Web(answer), begins);
        (incoming.page, incoming.length) = (page, length);
        incoming.packed = match packed.as_str() {
            "" | "identity" => None,
            "gzip" | "x-gzip" => Some(MultiGzDecoder::new(Vec::new())),
            other => return Err(Cause::Packed(other.to_owned())),
        };
        return Ok(incoming);
    }
}

/// The first byte of `bytes 0-99/1000` (RFC 9110 §14.4).
fn begins_at(range: &str) -> Option<u64> {
    let rest = range.trim().strip_prefix("bytes")?.trim_start();
    rest.split('-').next()?.parse().ok()
}

async fn put_in_bucket(
    store: &dyn ObjectStore,
    path: &ObjectPath,
    from: &mut dyn Read,
) -> Result<(), Cause> {
    let failed = |e: object_store::Error| Cause::of_bucket(&e);
    let mut first = vec![0; PIECE_BYTES];
    let mut read = 0;
    while read < first.len() {
        match from.read(first.get_mut(read..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(some) => read += some,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(Cause::Broken(e.to_string())),
        }
    }
    first.truncate(read);
    if read < PIECE_BYTES {
        return store
            .put(path, first.into())
            .await
            .map(drop)
            .map_err(failed);
    }
    // In parts: it may be larger than the memory.
    let upload = store.put_multipart(path).await.map_err(failed)?;
    let mut writer = WriteMultipart::new_with_chunk_size(upload, 8 << 20);
    let mut buffer = first;
    loop {
        writer.wait_for_capacity(2).await.map_err(failed)?;
        writer.write(&buffer);
        buffer.resize(PIECE_BYTES, 0);
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(some) => buffer.truncate(some),
            Err(e) => {
                // Parts of an upload that nobody ends are paid for, and seen by nobody.
                let _ = writer.abort().await;
                return Err(Cause::Broken(e.to_string()));
            }
        }
    }
    writer.finish().await.map(drop).map_err(failed)
}

impl Incoming {
    fn of(body: Body, from: u64) -> Self {
        Self {
            from,
            body,
            packed: None,
            page: false,
            length: None,
        }
    }

    /// The next piece; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, Cause> {
        loop {
            let piece = self.body.next().await?;
            let Some(packed) = &mut self.packed else {
                return Ok(piece);
            };
            let went = match &piece {
                Some(piece) => packed.write_all(piece),
                None => packed.try_finish(),
            };
            went.map_err(|e| Cause::Broken(e.to_string()))?;
            let unpacked = std::mem::take(packed.get_mut());
            if !unpacked.is_empty() || piece.is_none() {
                return Ok(Some(unpacked).filter(|some| !some.is_empty()));
            }
        }
    }

    /// Whether what begins so is a web page and no file of a mirror.
    pub(super) fn is_page(&self, begins: &[u8]) -> bool {
        let text = begins.strip_prefix(b"\xef\xbb\xbf").unwrap_or(begins);
        let text = text.trim_ascii_start();
        let looks = [b"<!doctype html".as_slice(), b"<html"].iter().any(|tag| {
            text.get(..tag.len())
                .is_some_and(|there| there.eq_ignore_ascii_case(tag))
        });
        // Some servers call everything a page that has no ending: what it holds decides.
        looks || (self.page && !text.starts_with(b"{"))
    }

    /// The same of a bundle of `bytes`, which may be a page itself.
    pub(super) fn is_page_instead(&self, begins: &[u8], bytes: u64) -> bool {
        let marked = begins.trim_ascii_start().starts_with(b"<");
        self.page && marked && self.length != Some(bytes)
    }
}

impl Body {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Cause> {
        let wait = |_| Cause::Silent;
        match self {
            Self::File(file) => {
                let mut piece = vec![0; PIECE_BYTES];
                let read = file.read(&mut piece);
                let read = read.map_err(|e| Cause::Broken(e.to_string()))?;
                piece.truncate(read);
                Ok((read > 0).then_some(piece))
            }
            Self::Web(answer) => {
                let piece = tokio::time::timeout(SILENCE_MAX, answer.chunk()).await;
                let piece = piece.map_err(wait)?.map_err(|e| Cause::of_web(&e))?;
                Ok(piece.map(|piece| piece.to_vec()))
            }
            Self::Bucket(stream) => {
                let piece = tokio::time::timeout(SILENCE_MAX, stream.next()).await;
                piece.map_err(wait)?.transpose()
            }
        }
    }
}
