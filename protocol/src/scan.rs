//! Small files as text that QR codes carry from screen to camera: the requests and answers of
//! enrolment, where nothing else links two phones.
//!
//! ```text
//! KJ1/<part>/<parts>/<whole>/<data>/<check>
//! ```
//! `data`: base32 (RFC 4648, no padding) of one part of the zstd-compressed file. `whole`: the
//! first 8 hexadecimal digits of the BLAKE3 digest of the compressed file, the same in all its
//! parts. `check`: the first 4 of the digest of all before it in the part. Only letters, digits and
//! `/`, so a QR code takes its alphanumeric mode (5.5 bits a character; ISO/IEC 18004).

use std::collections::BTreeMap;

use data_encoding::{BASE32_NOPAD, HEXUPPER};

const HEAD: &str = "KJ1";
/// Bytes of data in one part: a code of 61 modules or so, which a cheap camera reads from a cheap
/// screen.
const PART_BYTES: usize = 300;
/// Parts of one file.
const PARTS_MAX: usize = 64;
/// Bytes of the file itself.
const FILE_BYTES_MAX: usize = 256 * 1024;

// A part's number has two digits at most: so what is torn is named.
const _: () = assert!(PARTS_MAX < 100);

/// Why scanned text is not a whole file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// Not such text at all.
    #[error("this is not text from a code that kijiti drew")]
    NotOurs,
    /// Letters are missing or changed.
    #[error("code {0} was read only in part: scan it again")]
    Torn(String),
    /// Some were not scanned.
    #[error("of {of} codes, {missing} is not there yet: scan it too")]
    Missing {
        /// The first that is missing, from 1.
        missing: usize,
        /// How many there are.
        of: usize,
    },
    /// Codes of two files.
    #[error("these codes belong to different files: begin again with one of them")]
    Mixed,
    /// All are there and yet they do not make up a file.
    #[error("the codes do not make up a file: have them drawn anew")]
    Damaged,
    /// It would take too many codes.
    #[error("{0} bytes are too many for codes: pass the file")]
    TooLong(usize),
}

/// The texts of the codes that carry a file.
pub fn parts(file: &[u8]) -> Result<Vec<String>, ScanError> {
    let too_long = ScanError::TooLong(file.len());
    let packed = zstd::bulk::compress(file, 19).map_err(|_| too_long.clone())?;
    let parts = packed.len().div_ceil(PART_BYTES);
    if file.len() > FILE_BYTES_MAX || parts > PARTS_MAX {
        return Err(too_long);
    }
    let whole = check(&packed, 8);
    let part = |(n, data): (usize, &[u8])| {
        let text = format!(
            "{HEAD}/{}/{parts}/{whole}/{}",
            n + 1,
            BASE32_NOPAD.encode(data)
        );
        let check = check(text.as_bytes(), 4);
        format!("{text}/{check}")
    };
    let texts: Vec<String> = packed.chunks(PART_BYTES).enumerate().map(part).collect();
    crate::always!(texts.len() == parts && join(&texts.join(" ")).as_deref() == Ok(file));
    Ok(texts)
}

/// Whether text begins as that of a code does.
pub fn is_scanned(text: &str) -> bool {
    text.trim_start()
        .get(..HEAD.len() + 1)
        .is_some_and(|head| head.eq_ignore_ascii_case("KJ1/"))
}

/// The file from the texts of its codes, in any order, each any number of times, with white space
/// between them.
pub fn join(text: &str) -> Result<Vec<u8>, ScanError> {
    let mut found: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    let mut of_all = None;
    for word in text.split_whitespace() {
        let word = word.to_ascii_uppercase();
        if !is_scanned(&word) {
            return Err(ScanError::NotOurs);
        }
        let fields: Vec<&str> = word.split('/').collect();
        let torn = || {
            ScanError::Torn(
                fields
                    .get(1)
                    .copied()
                    .filter(|n| n.len() < 3)
                    .unwrap_or("?")
                    .into(),
            )
        };
        let [_, part, parts, whole, data, sum] = fields.as_slice() else {
            return Err(torn());
        };
        let before = word.len() - sum.len() - 1;
        if *sum != check(word.get(..before).unwrap_or_default().as_bytes(), 4) {
            return Err(torn());
        }
        let (Ok(part), Ok(parts), Ok(data)) = (
            part.parse::<usize>(),
            parts.parse::<usize>(),
            BASE32_NOPAD.decode(data.as_bytes()),
        ) else {
            return Err(torn());
        };
        if part == 0 || part > parts || parts > PARTS_MAX {
            return Err(torn());
        }
        if *of_all.get_or_insert((parts, whole.to_string())) != (parts, whole.to_string()) {
            return Err(ScanError::Mixed);
        }
        found.insert(part, data);
    }
    let Some((of, whole)) = of_all else {
        return Err(ScanError::NotOurs);
    };
    if let Some(missing) = (1..=of).find(|part| !found.contains_key(part)) {
        return Err(ScanError::Missing { missing, of });
    }
    crate::always!(found.len() == of, "each part once, and no other");
    let packed: Vec<u8> = found.into_values().flatten().collect();
    if check(&packed, 8) != whole {
        return Err(ScanError::Damaged);
    }
    zstd::bulk::decompress(&packed, FILE_BYTES_MAX).map_err(|_| ScanError::Damaged)
}

/// The first digits of a digest.
fn check(bytes: &[u8], digits: usize) -> String {
    let mut text = HEXUPPER.encode(blake3::hash(bytes).as_bytes());
    text.truncate(digits);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        (0..1500u32)
            .flat_map(|i| blake3::hash(&i.to_le_bytes()).as_bytes()[..1].to_vec())
            .collect()
    }

    #[test]
    fn a_file_comes_back_from_its_codes_in_any_order() {
        let mut codes = parts(&file()).unwrap();
        assert!(codes.len() > 3 && codes.iter().all(|code| code.len() < 540));
        codes.reverse();
        codes.push(codes[0].to_lowercase());
        assert_eq!(join(&codes.join("\n")).unwrap(), file());
        assert_eq!(join(&parts(b"").unwrap().join(" ")).unwrap(), b"");
    }

    #[test]
    fn what_is_read_half_says_what_to_scan_again() {
        let codes = parts(&file()).unwrap();
        for at in 0..codes[1].len() {
            let half = format!("{} {}", codes[0], &codes[1][..at]);
            match join(&half) {
                Err(ScanError::Missing { missing: 2, .. }) if at == 0 => {}
                Err(ScanError::NotOurs) if at < 4 => {}
                Err(ScanError::Torn(part)) => assert!(part == "2" || at < 6, "{at}: {part}"),
                other => panic!("{at}: {other:?}"),
            }
        }
        let without_one = codes
            .iter()
            .enumerate()
            .filter(|(i, _)| *i != 2)
            .map(|(_, code)| code.clone());
        let error = join(&without_one.collect::<Vec<_>>().join(" ")).unwrap_err();
        assert_eq!(
            error,
            ScanError::Missing {
                missing: 3,
                of: codes.len()
            }
        );
        let mixed = format!("{} {}", codes[0], parts(b"another").unwrap()[0]);
        assert_eq!(join(&mixed), Err(ScanError::Mixed));
        assert_eq!(join("{\"schema\": 1}"), Err(ScanError::NotOurs));
        assert_eq!(join(""), Err(ScanError::NotOurs));
    }

    #[test]
    fn what_is_too_long_for_codes_says_so() {
        let long: Vec<u8> = (0..3000u32)
            .flat_map(|i| *blake3::hash(&i.to_le_bytes()).as_bytes())
            .collect();
        assert_eq!(parts(&long), Err(ScanError::TooLong(long.len())));
    }
}
