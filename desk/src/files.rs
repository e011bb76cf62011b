//! Files that people pass from hand to hand: JSON with a schema, documents in hexadecimal. What a QR
//! code carries is the same file ([`protocol::scan`]).

use std::io::{Read, Write};
use std::path::Path;

use keyfile::whole::{is_stream as is_stream_there, write_whole};
use protocol::scan;
use protocol::signed::{Document, Signed};
use serde::{Deserialize, Serialize};

use crate::Refusal;

/// A ministry's root.
#[derive(Debug, Serialize, Deserialize)]
pub struct RootFile {
    /// `kijiti.root/1`.
    pub schema: String,
    /// The signed root.
    pub root: String,
}

/// A document on its way to enough signatures.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DraftFile {
    /// [`DraftFile::SCHEMA`].
    pub schema: String,
    /// The kind of document: `release-list`, `root`, `recall`, `revocations`, `delegated-list`,
    /// `beacon`.
    pub kind: String,
    /// The document with the signatures so far.
    pub document: String,
    /// Bundles that go with it.
    pub bundles: Vec<String>,
    /// Earlier bundles from which its deltas start, to check them.
    #[serde(default)]
    pub bases: Vec<String>,
}

impl DraftFile {
    /// What such a file says of itself.
    pub const SCHEMA: &str = "kijiti.draft/2";
}

/// A phone's request.
#[derive(Debug, Serialize, Deserialize)]
pub struct RequestFile {
    /// `kijiti.enrol-request/1`.
    pub schema: String,
    /// The device, for people.
    pub device: String,
    /// The signed request.
    pub request: String,
}

/// The answer to a request, or a grant.
#[derive(Debug, Serialize, Deserialize)]
pub struct EnrolmentFile {
    /// `kijiti.enrolment/1`.
    pub schema: String,
    /// The ministry's roots, oldest first.
    pub roots: Vec<String>,
    /// The phone's certificates.
    pub chain: Option<String>,
    /// Grants, each with the issuer's certificates.
    pub grants: Vec<(String, String)>,
    /// Certificates of others that were made anew, to be carried to their phones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<String>,
}

/// Certificates on their way to enough signatures.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EnrolDraftFile {
    /// [`EnrolDraftFile::SCHEMA`].
    pub schema: String,
    /// The ministry's roots, oldest first.
    pub roots: Vec<String>,
    /// The certificates with the signatures so far.
    pub certificates: Vec<String>,
    /// It answers a request, of one phone; else they are made anew, to be carried to their phones.
    pub answers: bool,
}

impl EnrolDraftFile {
    /// What such a file says of itself.
    pub const SCHEMA: &str = "kijiti.enrol-draft/1";
}

/// A file that is one of two kinds.
#[derive(Debug)]
pub enum Either<A, B> {
    /// Of the first.
    One(A),
    /// Of the second.
    Other(B),
}

/// Bytes of such a file.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Reads a file of one schema, or what was scanned of its codes; `-` is the standard input.
pub fn read<T: for<'d> Deserialize<'d>>(path: &Path, schema: &'static str) -> Result<T, Refusal> {
    parse(path, &text_of(path, schema)?, schema)
}

/// Reads a file of either of two schemas; what is neither is refused as none of the first.
pub fn read_either<A, B>(
    path: &Path,
    (one, other): (&'static str, &'static str),
) -> Result<Either<A, B>, Refusal>
where
    A: for<'d> Deserialize<'d>,
    B: for<'d> Deserialize<'d>,
{
    let text = text_of(path, one)?;
    let value: Option<serde_json::Value> = serde_json::from_str(&text).ok();
    match value.is_some_and(|value| value.get("schema").is_some_and(|s| s == other)) {
        true => Ok(Either::Other(parse(path, &text, other)?)),
        false => Ok(Either::One(parse(path, &text, one)?)),
    }
}

/// The text of a file, or what was scanned of its codes.
fn text_of(path: &Path, schema: &'static str) -> Result<String, Refusal> {
    let unreadable = |e: std::io::Error| Refusal::Unreadable(path.to_owned(), e);
    let mut text = String::new();
    let mut take = |from: &mut dyn Read| from.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    match path.as_os_str() == "-" {
        true => take(&mut std::io::stdin()),
        false => std::fs::File::open(path).and_then(|mut file| take(&mut file)),
    }
    .map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(Refusal::TooLong(path.to_owned(), schema));
    }
    if scan::is_scanned(&text) {
        let bytes = scan::join(&text).map_err(|e| Refusal::NotScanned(path.to_owned(), e))?;
        text = String::from_utf8(bytes).unwrap_or_default();
    }
    Ok(text)
}

fn parse<T: for<'d> Deserialize<'d>>(
    path: &Path,
    text: &str,
    schema: &'static str,
) -> Result<T, Refusal> {
    let damaged = |why: String| Refusal::NotSuchAFile(path.to_owned(), schema, why);
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|e| damaged(e.to_string()))?;
    match value.get("schema").and_then(|s| s.as_str()) {
        Some(found) if found == schema => {
            serde_json::from_value(value).map_err(|e| damaged(e.to_string()))
        }
        found => {
            let said = found.unwrap_or("nothing of itself");
            Err(damaged(format!("it says {said}")))
        }
    }
}

/// Writes a file, whole or not at all; over another one only if that was such a file, too. `-` is the
/// standard output.
pub fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), Refusal> {
    let value =
        serde_json::to_value(value).map_err(|e| Refusal::Unwritable(path.to_owned(), e.into()))?;
    let text = serde_json::to_string_pretty(&value)
        .map_err(|e| Refusal::Unwritable(path.to_owned(), e.into()))?;
    if path.is_file() && !is_empty_or_of(path, value.get("schema")) {
        return Err(Refusal::Exists(path.to_owned()));
    }
    write_bytes(path, (text + "\n").as_bytes())
}

fn is_empty_or_of(path: &Path, schema: Option<&serde_json::Value>) -> bool {
    let mut text = String::new();
    let file = std::fs::File::open(path).map(|file| file.take(FILE_BYTES_MAX));
    if file
        .and_then(|mut file| file.read_to_string(&mut text))
        .is_err()
    {
        return false;
    }
    let there: Option<serde_json::Value> = serde_json::from_str(&text).ok();
    text.is_empty() || there.is_some_and(|there| there.get("schema") == schema)
}

/// Whether a result goes to the standard output, a pipe or a device: what is said of it goes elsewhere then.
pub fn is_stream(path: &Path) -> bool {
    path.as_os_str() == "-" || is_stream_there(path)
}

/// Writes bytes to a file that only its owner reads, whole or not at all; into a pipe or a device as they
/// are; `-` is the standard output.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), Refusal> {
    let written = match path.as_os_str() == "-" {
        true => {
            let mut out = std::io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush())
        }
        false if is_stream_there(path) => {
            let stream = std::fs::OpenOptions::new().write(true).open(path);
            stream.and_then(|mut stream| stream.write_all(bytes))
        }
        false => write_whole(path, bytes),
    };
    match written {
        // Who reads has seen enough.
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|e| Refusal::Unwritable(path.to_owned(), e)),
    }
}

/// Hexadecimal text of a signed document.
pub fn to_text<T: Document>(signed: &Signed<T>) -> String {
    hex(&signed.to_bytes())
}

/// Hexadecimal text.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Bytes of hexadecimal text; `what` it is, for a refusal.
pub fn unhex(what: &'static str, text: &str) -> Result<Vec<u8>, Refusal> {
    let digits = |i: usize| {
        text.get(i..i + 2)
            .and_then(|d| u8::from_str_radix(d, 16).ok())
    };
    let pairs = (0..text.len()).step_by(2).map(digits);
    pairs
        .collect::<Option<Vec<_>>>()
        .ok_or(Refusal::Damaged(what, None))
}

/// A signed document from its text.
pub fn from_text<T: Document>(what: &'static str, text: &str) -> Result<Signed<T>, Refusal> {
    Signed::from_bytes(&unhex(what, text)?).map_err(|e| Refusal::Damaged(what, Some(e)))
}
