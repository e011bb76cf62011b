//! Files that people pass from hand to hand: JSON with a schema, documents in hexadecimal. What a
//! QR code carries is the same file (`protocol::scan`).

use std::io::{IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use node::host::{Failure, Request};
use protocol::scan;
use protocol::signed::{Document, Signed};
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
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

impl EnrolmentFile {
    /// What has a phone take it.
    pub fn accept(self) -> Request {
        let Self {
            roots,
            chain,
            grants,
            certificates,
            ..
        } = self;
        Request::EnrolAccept {
            roots,
            chain,
            grants,
            certificates,
        }
    }
}

/// Bytes of such a file.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Reads a file of one schema, or what was scanned of its codes; `-` is the standard input.
pub fn read<T: for<'d> Deserialize<'d>>(path: &Path, schema: &str) -> Result<T, Failure> {
    let shown = path.display();
    let unreadable =
        |e: std::io::Error| Failure::new(format!("cannot read {shown}: {e}"), "check the name");
    let mut text = String::new();
    let mut take = |from: &mut dyn Read| from.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    match path.as_os_str() == "-" {
        true => take(&mut std::io::stdin()),
        false => std::fs::File::open(path).and_then(|mut file| take(&mut file)),
    }
    .map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(Failure::new(
            format!("{shown} is far too long"),
            format!("a {schema} file was expected"),
        ));
    }
    if scan::is_scanned(&text) {
        let hint = "put the text of all codes into one file, in any order";
        let bytes = scan::join(&text)
            .map_err(|e| Failure::new(format!("{shown}: {e}"), hint).with_code(2))?;
        text = String::from_utf8(bytes).unwrap_or_default();
    }
    let damaged = |why: String| {
        let hint = format!("a {schema} file was expected: ask for it again");
        Failure::new(
            format!("{shown} is damaged or is another kind of file: {why}"),
            hint,
        )
        .with_code(2)
    };
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|e| damaged(e.to_string()))?;
    match value.get("schema").and_then(|s| s.as_str()) {
        Some(found) if found == schema => {
            serde_json::from_value(value).map_err(|e| damaged(e.to_string()))
        }
        found => Err(damaged(format!(
            "it says {}",
            found.unwrap_or("nothing of itself")
        ))),
    }
}

/// Writes a file, whole or not at all.
pub fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Failure::new(e, ""))?;
    write_bytes(path, (text + "\n").as_bytes())
}

/// Draws a file as codes for another phone's camera, one below the other.
pub fn draw<T: Serialize>(value: &T) -> Result<(), Failure> {
    let bytes = serde_json::to_vec(value).map_err(|e| Failure::new(e, ""))?;
    let parts = scan::parts(&bytes)
        .map_err(|e| Failure::new(e, "pass the file that was written instead"))?;
    let of = parts.len();
    for (n, part) in (1..).zip(&parts) {
        println!("\ncode {n} of {of}");
        let code = code(part)?;
        let terminal = std::io::stdout().is_terminal();
        code.lines().for_each(|line| match terminal {
            true => println!("\x1b[97;40m{line}\x1b[0m"), // white on black, whatever the terminal's own colours
            false => println!("{line}"),
        });
        println!("{part}");
    }
    Ok(())
}

/// One code, two rows of modules in each line: what is light is drawn, what is dark left black.
fn code(text: &str) -> Result<String, Failure> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L)
        .map_err(|e| Failure::new(e, "pass the file"))?;
    Ok(code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .build())
}

/// Writes bytes to a file, whole or not at all.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let draft = path.with_extension("writing");
    let _ = std::fs::remove_file(&draft);
    let mut options = std::fs::OpenOptions::new();
    let written = options
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| file.write_all(bytes));
    written
        .and_then(|()| std::fs::rename(&draft, path))
        .map_err(|e| {
            Failure::new(
                format!("cannot write {}: {e}", path.display()),
                "check the folder and the free space",
            )
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
    let pairs = (0..text.len()).step_by(2).map(|i| {
        text.get(i..i + 2)
            .and_then(|d| u8::from_str_radix(d, 16).ok())
    });
    let damaged =
        || Failure::new(format!("{what} is damaged"), "ask for the file again").with_code(2);
    pairs.collect::<Option<Vec<_>>>().ok_or_else(damaged)
}

/// A signed document from its text.
pub fn from_text<T: Document>(what: &str, text: &str) -> Result<Signed<T>, Failure> {
    let bytes = unhex(what, text)?;
    Signed::from_bytes(&bytes).map_err(|e| {
        Failure::new(format!("{what} is damaged: {e}"), "ask for the file again").with_code(2)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a camera would see: a code drawn on a screen is read back by another library's eyes.
    #[test]
    fn a_drawn_code_can_be_read() {
        let file: Vec<u8> = (0..900u32)
            .flat_map(|i| scrambled(i).to_le_bytes())
            .collect();
        let parts = scan::parts(&file).unwrap();
        let seen: Vec<String> = parts
            .iter()
            .map(|part| camera(&code(part).unwrap()))
            .collect();
        assert!(parts.len() > 3);
        assert_eq!(scan::join(&seen.join("\n")).unwrap(), file);
    }

    /// Numbers that do not compress.
    fn scrambled(i: u32) -> u32 {
        i.wrapping_mul(2_654_435_761).rotate_left(i % 31)
    }

    fn camera(drawn: &str) -> String {
        const SCALE: usize = 4;
        let light: Vec<Vec<bool>> = drawn
            .lines()
            .flat_map(|line| {
                let halves = line.chars().map(|c| match c {
                    '█' => (true, true),
                    '▀' => (true, false),
                    '▄' => (false, true),
                    _ => (false, false),
                });
                let (upper, lower): (Vec<_>, Vec<_>) = halves.unzip();
                [upper, lower]
            })
            .collect();
        let width = light[0].len();
        let pixel = |x: usize, y: usize| if light[y / SCALE][x / SCALE] { 255 } else { 0 };
        let mut image =
            rqrr::PreparedImage::prepare_from_greyscale(width * SCALE, light.len() * SCALE, pixel);
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1, "one code is seen");
        grids[0].decode().unwrap().1
    }
}
