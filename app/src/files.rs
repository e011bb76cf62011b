//! Files that people pass from hand to hand: JSON with a schema, documents in hexadecimal. What a QR shows is the same text.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use node::host::Failure;
use protocol::signed::{Document, Signed};
use serde::{Deserialize, Serialize};

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
    /// The kind of document: `release-list`, `root`, `recall`, `revocations`, `delegated-list`, `beacon`.
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
}

/// Bytes of such a file.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Reads a file of one schema.
pub fn read<T: for<'d> Deserialize<'d>>(path: &Path, schema: &str) -> Result<T, Failure> {
    let shown = path.display();
    let unreadable = |e: std::io::Error| Failure::new(format!("cannot read {shown}: {e}"), "check the name");
    if std::fs::metadata(path).map_err(unreadable)?.len() > FILE_BYTES_MAX {
        return Err(Failure::new(format!("{shown} is far too long"), format!("a {schema} file was expected")));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let damaged = |why: String| {
        let hint = format!("a {schema} file was expected: ask for it again");
        Failure::new(format!("{shown} is damaged or is another kind of file: {why}"), hint).with_code(2)
    };
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|e| damaged(e.to_string()))?;
    match value.get("schema").and_then(|s| s.as_str()) {
        Some(found) if found == schema => serde_json::from_value(value).map_err(|e| damaged(e.to_string())),
        found => Err(damaged(format!("it says {}", found.unwrap_or("nothing of itself")))),
    }
}

/// Writes a file, whole or not at all.
pub fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Failure::new(e, ""))?;
    write_bytes(path, (text + "\n").as_bytes())
}

/// Writes bytes to a file, whole or not at all.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let draft = path.with_extension("writing");
    let _ = std::fs::remove_file(&draft);
    let mut options = std::fs::OpenOptions::new();
    let written =
        options.create_new(true).write(true).mode(0o600).open(&draft).and_then(|mut file| file.write_all(bytes));
    written.and_then(|()| std::fs::rename(&draft, path)).map_err(|e| {
        Failure::new(format!("cannot write {}: {e}", path.display()), "check the folder and the free space")
    })
}

/// Hexadecimal text of a signed document.
pub fn to_text<T: Document>(signed: &Signed<T>) -> String {
    hex(&signed.to_bytes())
}

/// Hexadecimal text.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Bytes of hexadecimal text.
pub fn unhex(what: &str, text: &str) -> Result<Vec<u8>, Failure> {
    let pairs = (0..text.len()).step_by(2).map(|i| text.get(i..i + 2).and_then(|d| u8::from_str_radix(d, 16).ok()));
    let damaged = || Failure::new(format!("{what} is damaged"), "ask for the file again").with_code(2);
    pairs.collect::<Option<Vec<_>>>().ok_or_else(damaged)
}

/// A signed document from its text.
pub fn from_text<T: Document>(what: &str, text: &str) -> Result<Signed<T>, Failure> {
    let bytes = unhex(what, text)?;
    Signed::from_bytes(&bytes)
        .map_err(|e| Failure::new(format!("{what} is damaged: {e}"), "ask for the file again").with_code(2))
}
