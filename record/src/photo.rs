//! Photos: sealed on their own, each under a key that only its case holds, and carried like the
//! bundles of releases: in checked pieces, resumed from anyone, last in line.
//!
//! `nonce 24 ‖ XChaCha20-Poly1305 of the picture's bytes` (jpeg, png or webp, without what the
//! camera wrote beside it)

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use protocol::limits::ATTACHMENT_BYTES_MAX;
use serde::{Deserialize, Serialize};

mod metadata;
mod quality;

pub use metadata::without_metadata;
pub use quality::{Advice, Quality, look, middle};

const AAD: &[u8] = b"kijiti 2026-11 photo";

/// Why a photo is not taken or does not open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum PhotoError {
    /// Not a picture.
    #[error("this is no jpeg, png or webp picture")]
    NotAPicture,
    /// A picture of a kind that few phones open.
    #[error("this is a HEIC or AVIF picture, which most phones here cannot open")]
    Heic,
    /// A picture that is cut short or damaged.
    #[error("this picture is damaged")]
    Damaged,
    /// Too large to be carried.
    #[error("the picture has {0} bytes; up to {ATTACHMENT_BYTES_MAX} are carried")]
    TooLarge(usize),
    /// The key does not open it.
    #[error("the photo does not open: it was damaged, or is another")]
    Sealed,
}

/// The end of a file's name for a picture's bytes, if it is one.
pub fn kind(picture: &[u8]) -> Option<&'static str> {
    match picture {
        [0xff, 0xd8, 0xff, ..] => Some("jpg"),
        [0x89, b'P', b'N', b'G', ..] => Some("png"),
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => Some("webp"),
        _ => None,
    }
}

/// The kind of a picture, or why it is none.
fn kind_of(picture: &[u8]) -> Result<&'static str, PhotoError> {
    let other = match is_heic(picture) {
        true => PhotoError::Heic,
        false => PhotoError::NotAPicture,
    };
    kind(picture).ok_or(other)
}

/// Whether a file is a picture of a kind that few phones open (ISO 23008-12): HEIC, or AVIF.
fn is_heic(file: &[u8]) -> bool {
    const BRANDS: [&[u8]; 8] = [
        b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"avif",
    ];
    let brand = file.get(8..12).unwrap_or_default();
    file.get(4..8) == Some(b"ftyp".as_slice()) && BRANDS.contains(&brand)
}

/// Seals a picture. `key` and `nonce` must be fresh randomness.
pub fn seal(picture: &[u8], key: &[u8; 32], nonce: &[u8; 24]) -> Result<Vec<u8>, PhotoError> {
    kind(picture).ok_or(PhotoError::NotAPicture)?;
    if picture.len() as u64 + 64 > ATTACHMENT_BYTES_MAX {
        return Err(PhotoError::TooLarge(picture.len()));
    }
    let sealed = XChaCha20Poly1305::new(key.into()).encrypt(
        nonce.into(),
        Payload {
            msg: picture,
            aad: AAD,
        },
    );
    let blob = [nonce.as_slice(), &sealed.map_err(|_| PhotoError::Sealed)?].concat();
    protocol::always!(blob.len() as u64 <= ATTACHMENT_BYTES_MAX);
    Ok(blob)
}

/// Opens a sealed picture.
pub fn open(blob: &[u8], key: &[u8; 32]) -> Result<Vec<u8>, PhotoError> {
    let (nonce, sealed) = blob.split_first_chunk::<24>().ok_or(PhotoError::Sealed)?;
    let opened = XChaCha20Poly1305::new(key.into()).decrypt(
        nonce.into(),
        Payload {
            msg: sealed,
            aad: AAD,
        },
    );
    opened.map_err(|_| PhotoError::Sealed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_sealed_and_opened_and_nothing_else_is() {
        let picture = [&[0xff, 0xd8, 0xff, 0xe0][..], &[7; 1000]].concat();
        let blob = seal(&picture, &[1; 32], &[2; 24]).unwrap();
        assert_eq!(open(&blob, &[1; 32]).unwrap(), picture);
        assert_eq!(open(&blob, &[3; 32]), Err(PhotoError::Sealed));
        assert_eq!(open(&blob[..20], &[1; 32]), Err(PhotoError::Sealed));
        assert_eq!(
            seal(b"words", &[1; 32], &[2; 24]),
            Err(PhotoError::NotAPicture)
        );
        let huge = [
            &[0xff, 0xd8, 0xff][..],
            &vec![0; ATTACHMENT_BYTES_MAX as usize],
        ]
        .concat();
        assert!(matches!(
            seal(&huge, &[1; 32], &[2; 24]),
            Err(PhotoError::TooLarge(_))
        ));
    }
}
