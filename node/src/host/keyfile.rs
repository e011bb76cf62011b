//! Key files sealed with a passphrase (age's format, age-encryption.org/v1): the ministry's keys on
//! its desks, and a phone's own where no keystore holds it.

use std::path::Path;

use age::secrecy::SecretString;
use protocol::DeviceKeys;

use super::Failure;
use super::folder::{data_hex, read_key};

/// Where passphrases come from when nobody can be asked.
pub const PASSPHRASE_VARIABLE: &str = "KIJITI_PASSPHRASE";

/// The largest work factor that is believed: a hostile file must not keep a phone busy for hours.
pub const WORK_FACTOR_MAX: u8 = 22;

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
) -> Result<String, Failure> {
    let mut recipient = age::scrypt::Recipient::new(SecretString::from(passphrase.to_owned()));
    if let Some(factor) = work_factor.filter(|f| (1..=WORK_FACTOR_MAX).contains(f)) {
        recipient.set_work_factor(factor);
    }
    age::encrypt_and_armor(&recipient, data_hex(key.seed()).as_bytes())
        .map_err(|e| Failure::new(format!("cannot seal the key: {e}"), "try again"))
}

/// Opens a key file; `path` is for the words of errors.
pub fn open_key(path: &Path, file: &[u8], passphrase: &str) -> Result<DeviceKeys, Failure> {
    let shown = path.display();
    let none = || {
        Failure::new(
            format!("{shown} is not a key file, or damaged"),
            "put it back from a copy, or use another",
        )
        .with_code(4)
    };
    if !is_sealed(file) {
        return Err(none());
    }
    let mut identity = age::scrypt::Identity::new(SecretString::from(passphrase.to_owned()));
    identity.set_max_work_factor(WORK_FACTOR_MAX);
    let plain = age::decrypt(&identity, file).map_err(|e| match e {
        age::DecryptError::DecryptionFailed | age::DecryptError::KeyDecryptionFailed => {
            Failure::new(
                format!("wrong passphrase for {shown}"),
                "type it again; nothing was changed",
            )
            .with_code(4)
        }
        _ => none(),
    })?;
    read_key(&String::from_utf8_lossy(&plain)).ok_or_else(none)
}
