//! What stands in a file beside its weights, each thing checked for its size and kind before it is used.

use std::io::{Read, Seek, SeekFrom};

use candle_core::quantized::gguf_file::{Content, Value as Meta};
use serde::Deserialize;
use serde_json::Value as Json;

use super::{ModelError, malformed};

const TOKENIZER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Opens a file of this architecture, of at most so many bytes.
pub(super) fn open(
    reader: &mut (impl Read + Seek),
    architecture: &str,
    bytes_max: u64,
) -> Result<Content, ModelError> {
    let bytes = reader.seek(SeekFrom::End(0)).map_err(malformed)?;
    if bytes > bytes_max {
        return Err(malformed("too long"));
    }
    // An alignment of 0 would be a division by zero in the reader; our files never carry the key.
    if holds(reader, b"general.alignment").map_err(malformed)? {
        return Err(malformed("it sets its own alignment"));
    }
    reader.rewind().map_err(malformed)?;
    let content = Content::read(reader).map_err(malformed)?;
    match text(&content, "general.architecture")? == architecture {
        true => Ok(content),
        false => Err(malformed("another architecture")),
    }
}

/// Whether a file says that it is of this architecture, whatever else is in it.
pub(super) fn says(file: &mut (impl Read + Seek), architecture: &str) -> bool {
    let mut beginning = Vec::new();
    let read = file
        .rewind()
        .and_then(|()| file.take(1 << 12).read_to_end(&mut beginning));
    read.is_ok()
        && beginning.starts_with(b"GGUF")
        && (beginning.windows(architecture.len())).any(|window| window == architecture.as_bytes())
}

/// Whether these bytes stand anywhere in a file, which is read from its beginning piece by piece.
fn holds(file: &mut (impl Read + Seek), bytes: &[u8]) -> std::io::Result<bool> {
    file.rewind()?;
    let (mut room, mut kept) = (vec![0; 1 << 16], 0);
    loop {
        // The end of the piece before stays in front, so that none is missed between two.
        let free = room.get_mut(kept..).unwrap_or_default();
        let read = file.read(free)?;
        if read == 0 {
            return Ok(false);
        }
        let seen = room.get(..kept + read).unwrap_or_default();
        if seen.windows(bytes.len()).any(|window| window == bytes) {
            return Ok(true);
        }
        let from = seen.len().saturating_sub(bytes.len());
        kept = seen.len() - from;
        room.copy_within(from..from + kept, 0);
    }
}

pub(super) fn text<'a>(content: &'a Content, key: &str) -> Result<&'a str, ModelError> {
    match content.metadata.get(key) {
        Some(Meta::String(text)) => Ok(text),
        _ => Err(malformed(format!("{key} is missing"))),
    }
}

pub(super) fn read_json<T: for<'d> Deserialize<'d>>(
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
