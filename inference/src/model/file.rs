//! What stands in a file beside its weights, each thing checked for its size and kind before it is used.

use std::io::{Read, Seek, SeekFrom};

use candle_core::quantized::gguf_file::{Content, Value as Meta};
use serde::Deserialize;
use serde_json::Value as Json;

use super::{ModelError, malformed};

const TOKENIZER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Opens a file of this architecture, of at most so many bytes.
pub(crate) fn open(
    reader: &mut (impl Read + Seek),
    architecture: &str,
    bytes_max: u64,
) -> Result<Content, ModelError> {
    let bytes = reader.seek(SeekFrom::End(0)).map_err(malformed)?;
    if bytes > bytes_max {
        return Err(malformed("too long"));
    }
    walk(reader)?;
    reader.rewind().map_err(malformed)?;
    let content = Content::read(reader).map_err(malformed)?;
    match text(&content, "general.architecture")? == architecture {
        true => Ok(content),
        false => Err(malformed("another architecture")),
    }
}

/// Whether a file says that it is of this architecture, whatever else is in it.
pub(crate) fn says(file: &mut (impl Read + Seek), architecture: &str) -> bool {
    let mut beginning = Vec::new();
    let read = file
        .rewind()
        .and_then(|()| file.take(1 << 12).read_to_end(&mut beginning));
    read.is_ok()
        && beginning.starts_with(b"GGUF")
        && (beginning.windows(architecture.len())).any(|window| window == architecture.as_bytes())
}

/// Keys, and tensors, of a file.
const ENTRIES_MAX: u64 = 4096;
/// Bytes of a key's or a tensor's name.
const NAME_BYTES_MAX: u64 = 256;
/// Numbers of a list.
const LIST_MAX: u64 = 1 << 16;

/// Walks over what stands before the tensors (GGUF, versions 2 and 3): the library makes thirty bytes of
/// each byte of a list before anybody can ask what is in it, and divides by an alignment that the file may
/// set to 0. Our files have words, and short lists of numbers.
fn walk(file: &mut (impl Read + Seek)) -> Result<(), ModelError> {
    file.rewind().map_err(malformed)?;
    let mut at = Walk(file);
    if at.bytes::<4>()? != *b"GGUF" || !(2..=3).contains(&at.u32()?) {
        return Err(malformed("no GGUF file of version 2 or 3"));
    }
    let (_, keys) = (at.below(ENTRIES_MAX)?, at.below(ENTRIES_MAX)?);
    const WORDS: u32 = 8;
    const LIST: u32 = 9;
    const U32: u32 = 4;
    for _ in 0..keys {
        let name = at.name()?;
        if name == b"general.alignment" {
            return Err(malformed("it sets its own alignment"));
        }
        match at.u32()? {
            WORDS => {
                let bytes = at.u64()?;
                at.skip(bytes)?;
            }
            LIST => {
                let kind = at.u32()?;
                let count = at.below(LIST_MAX)?;
                if kind != U32 {
                    return Err(malformed("a list of something else than numbers"));
                }
                at.skip(count * 4)?;
            }
            kind => match [1, 1, 2, 2, 4, 4, 4, 1].get(kind as usize) {
                Some(bytes) => at.skip(*bytes)?,
                None if (10..=12).contains(&kind) => at.skip(8)?,
                None => return Err(malformed("a value of no known kind")),
            },
        }
    }
    Ok(())
}

/// A file that is walked over.
struct Walk<'a, F>(&'a mut F);

impl<F: Read + Seek> Walk<'_, F> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], ModelError> {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes).map_err(malformed)?;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, ModelError> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, ModelError> {
        self.bytes().map(u64::from_le_bytes)
    }

    fn below(&mut self, most: u64) -> Result<u64, ModelError> {
        let count = self.u64()?;
        match count <= most {
            true => Ok(count),
            false => Err(malformed("more in it than this engine takes")),
        }
    }

    fn name(&mut self) -> Result<Vec<u8>, ModelError> {
        let count = self.below(NAME_BYTES_MAX)?;
        let mut name = Vec::new();
        let read = self.0.take(count).read_to_end(&mut name);
        read.map_err(malformed)?;
        Ok(name)
    }

    fn skip(&mut self, bytes: u64) -> Result<(), ModelError> {
        let bytes = i64::try_from(bytes).map_err(malformed)?;
        self.0.seek_relative(bytes).map_err(malformed)
    }
}

pub(crate) fn text<'a>(content: &'a Content, key: &str) -> Result<&'a str, ModelError> {
    match content.metadata.get(key) {
        Some(Meta::String(text)) => Ok(text),
        _ => Err(malformed(format!("{key} is missing"))),
    }
}

pub(crate) fn read_json<T: for<'d> Deserialize<'d>>(
    content: &Content,
    key: &str,
    bytes_max: usize,
) -> Result<T, ModelError> {
    let text = text(content, key)?;
    if text.len() > bytes_max {
        return Err(malformed(format!("{key} is too long")));
    }
    serde_json::from_str(text).map_err(|e| malformed(format!("{key}: {e}")))
}

/// Only the kind of tokenizer that we train is read: its parts are checked before the library sees
/// them, since some malformed ones make it panic. Returns the size of the vocabulary.
pub(super) fn check_tokenizer(file: &str) -> Result<usize, ModelError> {
    if file.len() > TOKENIZER_BYTES_MAX {
        return Err(malformed("the tokenizer is too long"));
    }
    let json: Json = serde_json::from_str(file).map_err(malformed)?;
    let model = json.get("model").unwrap_or(&Json::Null);
    let kind = |part: &str| {
        json.get(part)
            .and_then(|p| p.get("type"))
            .and_then(Json::as_str)
    };
    let absent = |value: Option<&Json>| value.is_none_or(Json::is_null);
    let plain = ["truncation", "padding", "post_processor", "decoder"]
        .iter()
        .all(|k| absent(json.get(*k)))
        && ["continuing_subword_prefix", "end_of_word_suffix", "dropout"]
            .iter()
            .all(|k| absent(model.get(*k)));
    let ours = kind("normalizer") == Some("BertNormalizer")
        && kind("pre_tokenizer") == Some("BertPreTokenizer")
        && model.get("type").and_then(Json::as_str) == Some("BPE");
    let vocabulary = model
        .get("vocab")
        .and_then(Json::as_object)
        .filter(|_| plain && ours);
    let vocabulary = vocabulary.ok_or_else(|| malformed("another kind of tokenizer"))?;
    let mut ids: Vec<_> = vocabulary.values().filter_map(Json::as_u64).collect();
    ids.sort_unstable();
    let dense =
        ids.len() == vocabulary.len() && ids.iter().enumerate().all(|(i, id)| i as u64 == *id);
    let merges = model
        .get("merges")
        .and_then(Json::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let known = |merge: &Json| match (
        merge.get(0).and_then(Json::as_str),
        merge.get(1).and_then(Json::as_str),
    ) {
        (Some(a), Some(b)) => [a, b, &format!("{a}{b}")]
            .iter()
            .all(|t| vocabulary.contains_key(*t)),
        _ => false,
    };
    let added = json
        .get("added_tokens")
        .and_then(Json::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let named = |t: &Json| {
        t.get("content")
            .and_then(Json::as_str)
            .is_some_and(|c| vocabulary.contains_key(c))
    };
    let unknown = model
        .get("unk_token")
        .and_then(Json::as_str)
        .is_some_and(|u| vocabulary.contains_key(u));
    if !dense || !unknown || !merges.iter().all(known) || !added.iter().all(named) {
        return Err(malformed("the tokenizer's vocabulary is not whole"));
    }
    Ok(vocabulary.len())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn file(keys: &[(&str, u32, &[u8])]) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(3u32.to_le_bytes());
        file.extend(0u64.to_le_bytes());
        file.extend((keys.len() as u64).to_le_bytes());
        for (name, kind, value) in keys {
            file.extend((name.len() as u64).to_le_bytes());
            file.extend(name.as_bytes());
            file.extend(kind.to_le_bytes());
            file.extend(*value);
        }
        file
    }

    #[test]
    fn lists_that_would_take_thirty_times_their_size_are_refused_before_anything_is_made_of_them() {
        let list = |kind: u32, count: u64| [&kind.to_le_bytes()[..], &count.to_le_bytes()].concat();
        let walked = |keys: &[(&str, u32, &[u8])]| walk(&mut Cursor::new(file(keys)));
        let few = [list(4, 2), vec![0; 8]].concat();
        assert_eq!(walked(&[("a", 9, &few), ("b", 4, &[0; 4])]), Ok(()));
        for list in [list(0, 1 << 20), list(4, 1 << 20), list(9, 1), list(8, 3)] {
            assert!(walked(&[("a", 9, &list)]).is_err(), "{list:?}");
        }
        let alignment = walked(&[("general.alignment", 4, &[0; 4])]).unwrap_err();
        assert!(alignment.to_string().contains("alignment"));
        assert!(walked(&[("a", 77, &[])]).is_err());
        let mut many = file(&[]);
        many[16] = 0xff;
        many[17] = 0xff;
        assert!(walk(&mut Cursor::new(many)).is_err());
        assert!(walk(&mut Cursor::new(b"GGUF")).is_err());
    }
}
