//! Keys at rest: key files sealed with a passphrase (age's format, age-encryption.org/v1), the
//! ministry's on its desks and a phone's own where no keystore holds it; and files that nobody else reads.

// What no input may bring about: see also `clippy.toml`.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::todo,
        clippy::unimplemented,
        clippy::indexing_slicing
    )
)]

pub mod whole;

use age::secrecy::SecretString;
use protocol::DeviceKeys;

/// The largest work factor that is believed: a hostile file must not keep a phone busy for hours.
pub const WORK_FACTOR_MAX: u8 = 22;

/// Why a key is not sealed, or not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// Not a sealed key, or damaged.
    #[error("not a key file, or damaged")]
    Malformed,
    /// Another passphrase seals it.
    #[error("wrong passphrase")]
    WrongPassphrase,
    /// The cipher failed.
    #[error("the key cannot be sealed: {0}")]
    NotSealed(String),
}

/// Whether these are the bytes of a sealed key file.
pub fn is_sealed(file: &[u8]) -> bool {
    file.starts_with(b"-----BEGIN AGE") || file.starts_with(b"age-encryption.org/")
}

/// Seals a key. `work_factor`: log2 of scrypt's cost; by default what takes this machine about a
/// second.
pub fn seal_key(
    key: &DeviceKeys,
    passphrase: &str,
    work_factor: Option<u8>,
) -> Result<String, KeyFileError> {
    let mut recipient = age::scrypt::Recipient::new(SecretString::from(passphrase.to_owned()));
    if let Some(factor) = work_factor.filter(|f| (1..=WORK_FACTOR_MAX).contains(f)) {
        recipient.set_work_factor(factor);
    }
    age::encrypt_and_armor(&recipient, open_text(key.seed()).as_bytes())
        .map_err(|e| KeyFileError::NotSealed(e.to_string()))
}

/// Opens a sealed key file.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "none of the others is meant"
)]
pub fn open_key(file: &[u8], passphrase: &str) -> Result<DeviceKeys, KeyFileError> {
    if !is_sealed(file) {
        return Err(KeyFileError::Malformed);
    }
    let mut identity = age::scrypt::Identity::new(SecretString::from(passphrase.to_owned()));
    identity.set_max_work_factor(WORK_FACTOR_MAX);
    let plain = age::decrypt(&identity, file).map_err(|e| match e {
        age::DecryptError::DecryptionFailed | age::DecryptError::KeyDecryptionFailed => {
            KeyFileError::WrongPassphrase
        }
        _ => KeyFileError::Malformed,
    })?;
    read_open(&String::from_utf8_lossy(&plain)).ok_or(KeyFileError::Malformed)
}

/// Reads a key that is not sealed: 64 hexadecimal digits.
pub fn read_open(text: &str) -> Option<DeviceKeys> {
    let seed = text.trim().parse::<protocol::Digest>().ok()?;
    Some(DeviceKeys::from_seed(seed.0))
}

/// A key as it stands in its file where nothing seals it.
pub fn open_text(seed: &[u8; 32]) -> String {
    format!("{}\n", protocol::Digest(*seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_key_opens_with_its_passphrase_only() {
        let key = DeviceKeys::from_seed([7; 32]);
        let sealed = seal_key(&key, "right words", Some(2)).unwrap();
        assert!(is_sealed(sealed.as_bytes()) && !sealed.contains(&open_text(key.seed())));
        let opened = open_key(sealed.as_bytes(), "right words").unwrap();
        assert_eq!(opened.id(), key.id());
        let wrong = open_key(sealed.as_bytes(), "other words").unwrap_err();
        assert_eq!(wrong, KeyFileError::WrongPassphrase);
        let cut = &sealed.as_bytes()[..sealed.len() / 2];
        assert_eq!(
            open_key(cut, "right words").unwrap_err(),
            KeyFileError::Malformed
        );
        assert_eq!(
            open_key(b"anything", "").unwrap_err(),
            KeyFileError::Malformed
        );
    }

    #[test]
    fn an_open_key_is_read_back_and_nothing_else_is_one() {
        let key = DeviceKeys::from_seed([7; 32]);
        assert_eq!(read_open(&open_text(key.seed())).unwrap().id(), key.id());
        assert!(read_open("").is_none() && read_open(&"g".repeat(64)).is_none());
    }
}
