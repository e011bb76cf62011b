//! Bytes to values and back: CBOR (RFC 8949) maps with numbered fields.
//!
//! Every message type derives `#[cbor(map)]` with `#[n(i)]` on its fields. Fields are written in
//! ascending order, so equal values give equal bytes. A reader skips numbers it does not know (a
//! phone may be a year older than the message), and fields added later are `Option`. Anything left
//! over after a value is an error.

use std::borrow::Cow;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// Why bytes are not the value they should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum CodecError {
    /// The bytes do not have the expected form; the text says where.
    #[error("malformed {what}: {reason}")]
    Malformed {
        /// The kind of value that was expected.
        what: Cow<'static, str>,
        /// The decoder's own words.
        reason: String,
    },
    /// More bytes than the limit for this kind of value.
    #[error("{what} of {bytes} bytes is over the limit of {max}")]
    TooLong {
        /// The kind of value.
        what: Cow<'static, str>,
        /// Bytes seen or announced.
        bytes: usize,
        /// Bytes allowed.
        max: usize,
    },
}

impl CodecError {
    /// A `Malformed` error about `what`.
    pub fn malformed(what: &'static str, reason: impl ToString) -> Self {
        Self::Malformed {
            what: what.into(),
            reason: reason.to_string(),
        }
    }
}

/// The bytes of `value`.
pub fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_into(value, &mut bytes);
    bytes
}

/// Appends the bytes of `value`. Writing to memory cannot fail, and our types refuse no value of
/// theirs.
pub(crate) fn encode_into<T: Encode<()>>(value: &T, bytes: &mut Vec<u8>) {
    let written = minicbor::encode(value, bytes);
    debug_assert!(written.is_ok(), "a value that cannot be written");
}

/// The value in `bytes`, which must hold it and nothing more.
pub fn decode<'b, T: Decode<'b, ()>>(what: &'static str, bytes: &'b [u8]) -> Result<T, CodecError> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let value = decoder
        .decode()
        .map_err(|e| CodecError::malformed(what, e))?;
    if decoder.position() != bytes.len() {
        return Err(CodecError::malformed(
            what,
            format!("{} bytes left over", bytes.len() - decoder.position()),
        ));
    }
    Ok(value)
}

/// Checks a text field of a signed document.
pub fn check_name(what: &'static str, text: &str) -> Result<(), CodecError> {
    let chars = text.chars().count();
    if chars > crate::limits::NAME_CHARS_MAX {
        return Err(CodecError::TooLong {
            what: what.into(),
            bytes: chars,
            max: crate::limits::NAME_CHARS_MAX,
        });
    }
    if text.chars().any(char::is_control) {
        return Err(CodecError::malformed(what, "a control character"));
    }
    Ok(())
}

/// The same of a name that is given now: people tell phones apart by it, so it has letters, and none that
/// nobody sees or that turn the direction of a line (Unicode TR9, TR36).
pub fn check_new_name(what: &'static str, text: &str) -> Result<(), CodecError> {
    check_name(what, text)?;
    let unseen = |c: char| {
        matches!(
            c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{feff}'
        ) || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
            || matches!(c, '\u{e0000}'..='\u{e007f}')
    };
    if text.chars().any(unseen) {
        return Err(CodecError::malformed(what, "a character that nobody sees"));
    }
    if !text.chars().any(char::is_alphanumeric) {
        return Err(CodecError::malformed(what, "no letter in it"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Encode, Decode)]
    #[cbor(map)]
    struct Old {
        #[n(0)]
        a: u32,
    }

    #[derive(Debug, PartialEq, Encode, Decode)]
    #[cbor(map)]
    struct New {
        #[n(0)]
        a: u32,
        #[n(7)]
        b: Option<String>,
    }

    #[test]
    fn an_old_reader_skips_fields_it_does_not_know() {
        let bytes = encode(&New {
            a: 3,
            b: Some("later".into()),
        });
        assert_eq!(decode::<Old>("old", &bytes).unwrap(), Old { a: 3 });
        assert_eq!(
            decode::<New>("new", &encode(&Old { a: 3 })).unwrap(),
            New { a: 3, b: None }
        );
    }

    #[test]
    fn bytes_left_over_are_an_error() {
        let mut bytes = encode(&Old { a: 3 });
        bytes.push(0);
        assert!(decode::<Old>("old", &bytes).is_err());
    }
}
