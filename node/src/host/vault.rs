//! What can be read of a patient lies sealed on the disk: XChaCha20-Poly1305 under a key that comes
//! from the device's own (which a phone keeps in its keystore, and a desktop in a file that a
//! passphrase seals). A copied database is unreadable.
//!
//! `nonce 24 ‖ ciphertext and tag`; the drawer's name and the row that it lies in are associated
//! data, so that nothing is moved from one to another: who can write into the file cannot give one
//! patient another's words.

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use protocol::DeviceKeys;
use zeroize::Zeroize;

use crate::store::StoreError;

/// What kind of thing it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Drawer {
    Case,
    Title,
    SpaceKey,
    Unsent,
    Private,
}

impl Drawer {
    fn name(self) -> &'static [u8] {
        match self {
            Drawer::Case => b"case",
            Drawer::Title => b"title",
            Drawer::SpaceKey => b"space key",
            Drawer::Unsent => b"unsent",
            Drawer::Private => b"private",
        }
    }
}

fn aad(drawer: Drawer, row: &[u8]) -> Vec<u8> {
    [drawer.name(), &[0], row].concat()
}

#[derive(Clone)]
pub(super) struct Vault(XChaCha20Poly1305);

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault")
    }
}

impl Vault {
    pub(super) fn of(keys: &DeviceKeys) -> Self {
        let mut key = keys.storage_key();
        let cipher = XChaCha20Poly1305::new((&key).into());
        key.zeroize();
        Self(cipher)
    }

    pub(super) fn seal(
        &self,
        drawer: Drawer,
        row: &[u8],
        plain: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        self.seal_with(&aad(drawer, row), plain)
    }

    fn seal_with(&self, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut nonce = [0; 24];
        getrandom::fill(&mut nonce)
            .map_err(|e| StoreError::Other(format!("no randomness: {e}")))?;
        let sealed = self.0.encrypt((&nonce).into(), Payload { msg: plain, aad });
        let sealed = sealed.map_err(|_| StoreError::Other("the cipher refused".into()))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// As an earlier version did, for the steps that lead on from it.
    pub(super) fn seal_unbound(&self, drawer: Drawer, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.seal_with(drawer.name(), plain)
    }

    pub(super) fn open(
        &self,
        drawer: Drawer,
        row: &[u8],
        sealed: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        self.open_with(&aad(drawer, row), sealed)
    }

    /// The same of an earlier version, which did not bind what it sealed to its row.
    pub(super) fn open_unbound(
        &self,
        drawer: Drawer,
        sealed: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        self.open_with(drawer.name(), sealed)
    }

    fn open_with(&self, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
        let damaged = || {
            StoreError::Damaged("what was kept sealed does not open with this phone's key".into())
        };
        let (nonce, sealed) = sealed.split_first_chunk::<24>().ok_or_else(damaged)?;
        self.0
            .decrypt(nonce.into(), Payload { msg: sealed, aad })
            .map_err(|_| damaged())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_its_key_and_in_its_drawer_only() {
        let vault = Vault::of(&DeviceKeys::from_seed([1; 32]));
        let sealed = vault
            .seal(Drawer::Case, b"row 1", b"Amina has a stiff neck")
            .unwrap();
        assert!(!sealed.windows(5).any(|w| w == b"Amina"));
        assert_eq!(
            vault.open(Drawer::Case, b"row 1", &sealed).unwrap(),
            b"Amina has a stiff neck"
        );
        assert!(vault.open(Drawer::Unsent, b"row 1", &sealed).is_err());
        assert!(
            vault.open(Drawer::Case, b"row 2", &sealed).is_err(),
            "another patient's row"
        );
        assert!(vault.open_unbound(Drawer::Case, &sealed).is_err());
        assert!(
            Vault::of(&DeviceKeys::from_seed([2; 32]))
                .open(Drawer::Case, b"row 1", &sealed)
                .is_err()
        );
        for at in 0..sealed.len() {
            let mut spoiled = sealed.clone();
            spoiled[at] ^= 1;
            assert!(vault.open(Drawer::Case, b"row 1", &spoiled).is_err());
        }
    }
}
