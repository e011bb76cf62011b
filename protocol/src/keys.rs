//! The keys of one device. Primitives are ed25519-dalek's; nothing here is invented.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::ids::DeviceId;

/// A device's secret: 32 bytes from which its signing key comes. Wiped from memory when dropped;
/// prints nothing.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct DeviceKeys {
    seed: [u8; 32],
}

impl std::fmt::Debug for DeviceKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeviceKeys({})", self.id().short())
    }
}

impl DeviceKeys {
    /// Keys from 32 secret bytes.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self { seed }
    }

    /// The secret itself, for the link layer and for the key file.
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// The public name of this device.
    pub fn id(&self) -> DeviceId {
        DeviceId(self.signing_key().verifying_key().to_bytes())
    }

    /// Secret input for the device's sealing key (HPKE, in `sync`), apart from the signing key.
    pub fn sealing_seed(&self) -> [u8; 32] {
        blake3::derive_key("kijiti 2026-11 sealing key", &self.seed)
    }

    /// The key under which this device keeps what can be read of a patient.
    pub fn storage_key(&self) -> [u8; 32] {
        blake3::derive_key("kijiti 2026-11 storage key", &self.seed)
    }

    /// Signs `message` under `domain`, so that a signature for one purpose never serves another.
    pub fn sign(&self, domain: &str, message: &[u8]) -> [u8; 64] {
        self.signing_key()
            .sign(&signing_input(domain, message))
            .to_bytes()
    }

    /// Signs bytes as they are, as a token does that is given [`signing_input`].
    pub fn sign_raw(&self, input: &[u8]) -> [u8; 64] {
        self.signing_key().sign(input).to_bytes()
    }

    fn signing_key(&self) -> SigningKey {
        SigningKey::from_bytes(&self.seed)
    }
}

/// Whether `signature` is `signer`'s for `message` under `domain`. Strict: small-order keys and
/// malleable signatures fail (RFC 8032 with the checks of ed25519-dalek's `verify_strict`).
pub fn verify(signer: &DeviceId, domain: &str, message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(&signer.0).is_ok_and(|key| {
        key.verify_strict(
            &signing_input(domain, message),
            &Signature::from_bytes(signature),
        )
        .is_ok()
    })
}

/// What is signed: a fixed prefix, the domain, a zero byte that no domain contains, and the
/// message's digest. Hashing first keeps one short input for documents of any length.
pub fn signing_input(domain: &str, message: &[u8]) -> Vec<u8> {
    crate::always!(!domain.is_empty() && !domain.as_bytes().contains(&0));
    let mut input = Vec::with_capacity(64 + domain.len());
    input.extend_from_slice(b"kijiti/1/");
    input.extend_from_slice(domain.as_bytes());
    input.push(0);
    input.extend_from_slice(blake3::hash(message).as_bytes());
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_domain_message_and_signer_only() {
        let (ours, theirs) = (
            DeviceKeys::from_seed([1; 32]),
            DeviceKeys::from_seed([2; 32]),
        );
        let signature = ours.sign("a", b"words");
        assert!(verify(&ours.id(), "a", b"words", &signature));
        assert!(!verify(&ours.id(), "b", b"words", &signature));
        assert!(!verify(&ours.id(), "a", b"other", &signature));
        assert!(!verify(&theirs.id(), "a", b"words", &signature));
        assert!(!verify(&DeviceId([0; 32]), "a", b"words", &[0; 64]));
    }

    #[test]
    fn secrets_are_not_printed() {
        let keys = DeviceKeys::from_seed([7; 32]);
        assert!(!format!("{keys:?}").contains("07, 07"));
    }
}
