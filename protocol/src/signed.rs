//! Signed documents. `Signed<T>` is bytes and signatures and has no payload to look at; only
//! verification yields `Verified<T>`, and only that is stored or believed.
//!
//! ```text
//! Signed<T> on the wire (CBOR map)
//!   0: body        bytes   the CBOR of T, exactly as signed
//!   1: signatures  array of { 0: key (32 bytes), 1: signature (64 bytes) }
//! signature input   "kijiti/1/" ‖ T::DOMAIN ‖ 0x00 ‖ BLAKE3(body)
//! ```
//! The threshold rule is TUF's (specification 1.0.34, §5.1): distinct keys of the role, each
//! counted once.

use std::collections::BTreeSet;
use std::marker::PhantomData;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};
use crate::ids::{DeviceId, Digest};
use crate::keys::{self, DeviceKeys};
use crate::limits::{SIGNATURES_MAX, SIGNED_BYTES_MAX};

/// A document that can be signed.
pub trait Document: Encode<()> + for<'b> Decode<'b, ()> {
    /// Separates the signatures of this kind from all others.
    const DOMAIN: &'static str;

    /// What the types cannot say about a well-formed document (lengths, orders, ranges).
    fn check(&self) -> Result<(), CodecError> {
        Ok(())
    }
}

/// A set of keys of which `threshold` must sign.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Role {
    /// The keys, in ascending order, each once.
    #[n(0)]
    pub keys: Vec<DeviceId>,
    /// How many of them must sign.
    #[n(1)]
    pub threshold: u32,
}

impl Role {
    /// A role of one key.
    pub fn single(key: DeviceId) -> Self {
        Self {
            keys: vec![key],
            threshold: 1,
        }
    }

    /// A role of `keys`, sorted and each counted once, of which `threshold` must sign.
    pub fn new(
        keys: impl IntoIterator<Item = DeviceId>,
        threshold: u32,
    ) -> Result<Self, CodecError> {
        let role = Self {
            keys: keys
                .into_iter()
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
            threshold,
        };
        role.check()?;
        Ok(role)
    }

    /// A role must be satisfiable, and must not be satisfied by nobody.
    pub fn check(&self) -> Result<(), CodecError> {
        let sorted = self.keys.is_sorted_by(|a, b| a < b);
        if self.threshold == 0 || self.threshold as usize > self.keys.len() {
            return Err(CodecError::malformed(
                "role",
                format!("{} of {} keys", self.threshold, self.keys.len()),
            ));
        }
        if self.keys.len() > SIGNATURES_MAX || !sorted {
            return Err(CodecError::malformed(
                "role",
                "keys unsorted, repeated or too many",
            ));
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
struct Signature {
    #[n(0)]
    key: DeviceId,
    #[cbor(n(1), with = "minicbor::bytes")]
    bytes: [u8; 64],
}

/// A document with signatures, not yet believed.
#[derive(Encode, Decode)]
#[cbor(map)]
pub struct Signed<T> {
    #[cbor(n(0), with = "minicbor::bytes")]
    body: Vec<u8>,
    #[n(1)]
    signatures: Vec<Signature>,
    #[cbor(skip)]
    kind: PhantomData<fn() -> T>,
}

impl<T> Clone for Signed<T> {
    fn clone(&self) -> Self {
        Self {
            body: self.body.clone(),
            signatures: self.signatures.clone(),
            kind: PhantomData,
        }
    }
}

impl<T> std::fmt::Debug for Signed<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Signed({} bytes, {} signatures)",
            self.body.len(),
            self.signatures.len()
        )
    }
}

/// Why a signed document is not believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum SignatureError {
    /// Too few distinct keys of the role have signed.
    #[error("{valid} of the {needed} signatures needed are valid")]
    Threshold {
        /// Distinct keys of the role with a valid signature.
        valid: usize,
        /// The role's threshold.
        needed: u32,
    },
    /// The bytes are not such a document.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl<T: Document> Signed<T> {
    /// The document ready to be signed.
    pub fn unsigned(value: &T) -> Self {
        Self {
            body: codec::encode(value),
            signatures: Vec::new(),
            kind: PhantomData,
        }
    }

    /// The document signed by one key.
    pub fn by(value: &T, keys: &DeviceKeys) -> Self {
        let mut signed = Self::unsigned(value);
        signed.add_signature(keys);
        signed
    }

    /// Adds a signature; a second one by the same key replaces the first.
    pub fn add_signature(&mut self, keys: &DeviceKeys) {
        let key = keys.id();
        self.signatures.retain(|s| s.key != key);
        self.signatures.push(Signature {
            key,
            bytes: keys.sign(T::DOMAIN, &self.body),
        });
        self.signatures.sort_by_key(|s| s.key);
        crate::always!(self.signers().filter(|s| *s == key).count() == 1);
    }

    /// Adds a signature that was made elsewhere, on a token. `false`, and nothing is added, if it
    /// is not valid.
    pub fn add_foreign_signature(&mut self, key: DeviceId, signature: [u8; 64]) -> bool {
        if !keys::verify(&key, T::DOMAIN, &self.body, &signature) {
            return false;
        }
        self.signatures.retain(|s| s.key != key);
        self.signatures.push(Signature {
            key,
            bytes: signature,
        });
        self.signatures.sort_by_key(|s| s.key);
        crate::always!(self.signers().filter(|s| *s == key).count() == 1);
        true
    }

    /// What is signed.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Reads a signed document from a peer or a file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        Self::from_bytes_up_to(bytes, SIGNED_BYTES_MAX)
    }

    /// The same for a document that has a limit of its own, because it comes from a file and never
    /// over a link.
    pub fn from_bytes_up_to(bytes: &[u8], max: usize) -> Result<Self, CodecError> {
        if bytes.len() > max {
            return Err(CodecError::TooLong {
                what: T::DOMAIN.into(),
                bytes: bytes.len(),
                max,
            });
        }
        codec::decode(T::DOMAIN, bytes)
    }

    /// The bytes that travel.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// The digest of what was signed, whoever signed it.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.body)
    }

    /// The keys whose signatures this document carries, valid or not.
    pub fn signers(&self) -> impl Iterator<Item = DeviceId> + '_ {
        self.signatures.iter().map(|s| s.key)
    }

    /// How many distinct keys of `role` have validly signed.
    pub fn valid_signatures(&self, role: &Role) -> usize {
        let valid = self
            .signatures
            .iter()
            .take(SIGNATURES_MAX)
            .filter(|s| {
                role.keys.contains(&s.key) && keys::verify(&s.key, T::DOMAIN, &self.body, &s.bytes)
            })
            .map(|s| s.key)
            .collect::<BTreeSet<_>>()
            .len();
        crate::always!(valid <= role.keys.len(), "each key counts once");
        valid
    }

    /// The same document with no other signatures than valid ones of `role`, as many as it needs,
    /// in the order of their keys.
    pub fn signed_by(&self, role: &Role) -> Self {
        let valid = |s: &&Signature| {
            role.keys.contains(&s.key) && keys::verify(&s.key, T::DOMAIN, &self.body, &s.bytes)
        };
        let mut signatures: Vec<Signature> = self
            .signatures
            .iter()
            .take(SIGNATURES_MAX)
            .filter(valid)
            .cloned()
            .collect();
        signatures.sort_by_key(|s| s.key);
        signatures.dedup_by_key(|s| s.key);
        signatures.truncate(role.threshold as usize);
        Self {
            body: self.body.clone(),
            signatures,
            kind: PhantomData,
        }
    }

    /// Believes the document if enough of `role` have signed it and it is well formed.
    pub fn verify(&self, role: &Role) -> Result<Verified<T>, SignatureError> {
        let valid = self.valid_signatures(role);
        if role.threshold == 0 || valid < role.threshold as usize {
            return Err(SignatureError::Threshold {
                valid,
                needed: role.threshold,
            });
        }
        let value = self.read()?;
        Ok(Verified {
            value,
            signed: self.clone(),
        })
    }

    /// The content without belief, for people and tools that must look before they sign (never for
    /// phones).
    pub fn read(&self) -> Result<T, CodecError> {
        let value: T = codec::decode(T::DOMAIN, &self.body)?;
        value.check()?;
        Ok(value)
    }
}

/// A document that enough of the right keys have signed. Cannot be made in any other way.
#[derive(Debug, Clone)]
pub struct Verified<T> {
    value: T,
    signed: Signed<T>,
}

impl<T> std::ops::Deref for Verified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Document> Verified<T> {
    /// The document as it travels on.
    pub fn signed(&self) -> &Signed<T> {
        &self.signed
    }
}
