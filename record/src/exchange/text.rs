//! The letters of a file: UTF-8, UTF-16 as its mark says, or, of a table, those of Windows in the west.

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

/// A file's letters, and the name of the encoding where it had to be guessed or is not UTF-8. `None`: it is
/// no text. `guess`: what is no UTF-8 and has no mark is read as Windows' western letters (cp1252).
pub fn decode(bytes: &[u8], guess: bool) -> Option<(String, Option<&'static str>)> {
    let (encoding, mark) = Encoding::for_bom(bytes).unwrap_or((UTF_8, 0));
    let rest = bytes.get(mark..).unwrap_or_default();
    if let Some(text) = encoding.decode_without_bom_handling_and_without_replacement(rest) {
        let named = (encoding != UTF_8).then_some(encoding.name());
        return Some((text.into_owned(), named));
    }
    if let Some(encoding) = declared(rest).filter(|_| mark == 0) {
        let text = encoding.decode_without_bom_handling_and_without_replacement(rest)?;
        return Some((text.into_owned(), Some(encoding.name())));
    }
    // What holds a nought is no text in any of them.
    if mark > 0 || !guess || rest.contains(&0) {
        return None;
    }
    let (text, _) = WINDOWS_1252.decode_without_bom_handling(rest);
    Some((text.into_owned(), Some(WINDOWS_1252.name())))
}

/// The encoding that an XML declaration names.
fn declared(bytes: &[u8]) -> Option<&'static Encoding> {
    const DECLARATION: usize = 200;
    let first = bytes.get(..bytes.len().min(DECLARATION))?;
    let first = String::from_utf8_lossy(first);
    let declaration = first.strip_prefix("<?xml")?.split_once("?>")?.0;
    let (_, named) = declaration.split_once("encoding=")?;
    let label = named.get(1..)?.split(['"', '\'']).next()?;
    Encoding::for_label(label.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xml_says_its_letters_itself() {
        let xml = |label: &str| {
            let mut bytes = format!("<?xml version='1.0' encoding='{label}'?><a>Zo").into_bytes();
            bytes.push(0xeb);
            bytes
        };
        let read = decode(&xml("ISO-8859-1"), false).map(|(text, _)| text.ends_with("Zoë"));
        assert_eq!(read, Some(true));
        assert_eq!(decode(&xml("UTF-8"), false), None);
        assert_eq!(decode(&xml("nonsense"), false), None);
    }

    #[test]
    fn letters_are_read_as_their_file_says() {
        let utf16 = |little: bool| -> Vec<u8> {
            let units = "\u{feff}Zoé".encode_utf16();
            units
                .flat_map(|unit| {
                    if little {
                        unit.to_le_bytes()
                    } else {
                        unit.to_be_bytes()
                    }
                })
                .collect()
        };
        for (bytes, named) in [
            ("Zoé".as_bytes().to_vec(), None),
            ("\u{feff}Zoé".as_bytes().to_vec(), None),
            (utf16(true), Some("UTF-16LE")),
            (utf16(false), Some("UTF-16BE")),
            (b"Zo\xe9".to_vec(), Some("windows-1252")),
        ] {
            assert_eq!(decode(&bytes, true), Some(("Zoé".into(), named)));
        }
        assert_eq!(decode(b"Zo\xe9", false), None);
        assert_eq!(decode(b"\xff\x00\xe9\x00x", true), None);
    }
}
