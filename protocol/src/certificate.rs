//! Device certificates: ministry → district → supervisor → phone, each with rights and an area.
//!
//! The first certificate of a chain is signed by the ministry's enrolment role, every next one by
//! the device before it. Rules, numbered as the tests name them:
//! 1. A chain has between one and [`CHAIN_MAX`] certificates.
//! 2. Each is signed by its issuer: the role for the first, the previous certificate's device for
//!    the rest.
//! 3. An issuer below the ministry needs the right *enrol*.
//! 4. A certificate's rights, and the rights it may pass on, lie within what its issuer may pass
//!    on.
//! 5. A certificate's area lies within its issuer's.
//! 6. Each carries its device's own signature over its sealing key: an issuer can vouch for a
//!    phone, and never give it another key to which what others read would be sealed.
//!
//! A chain is known by its signed bodies ([`Chain::id`]) and travels on in one canonical form: only
//! the signatures that it needs, in the order of their keys.

use std::fmt;

use minicbor::{Decode, Decoder, Encode, Encoder};
use serde::{Deserialize, Serialize};

use crate::area::Area;
use crate::codec::{self, CodecError};
use crate::defence::{self, Defence};
use crate::ids::{ChainId, DeviceId};
use crate::keys::{self, DeviceKeys};
use crate::limits::CHAIN_MAX;
use crate::signed::{Document, Role, SignatureError, Signed};

/// One thing that a device may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Right {
    /// Carry sealed changes and bundles for others.
    Carry = 0,
    /// Be given the key of a space and read its cases.
    Read = 1,
    /// Write changes into a space.
    Write = 2,
    /// Certify other devices.
    Enrol = 3,
    /// Keep a space: give its key to other devices, change it, and end what is old.
    Grant = 4,
    /// Say that a phone of the area is lost.
    Revoke = 5,
}

impl Right {
    /// All rights, in order.
    pub const ALL: [Right; 6] = [
        Right::Carry,
        Right::Read,
        Right::Write,
        Right::Enrol,
        Right::Grant,
        Right::Revoke,
    ];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Right::Carry => "carry",
            Right::Read => "read",
            Right::Write => "write",
            Right::Enrol => "enrol",
            Right::Grant => "grant",
            Right::Revoke => "revoke",
        }
    }
}

// A right's byte is its place among all, and its bit in a set.
const _: () = {
    let (mut rights, mut place): (&[Right], u8) = (&Right::ALL, 0);
    while let [right, rest @ ..] = rights {
        assert!(*right as u8 == place);
        rights = rest;
        place += 1;
    }
    assert!((place as u32) < u32::BITS);
};

/// A set of rights. Bits that this version does not know are kept as they are.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights(pub u32);

impl Rights {
    /// The set of `rights`.
    pub fn of(rights: &[Right]) -> Self {
        Self(rights.iter().fold(0, |bits, r| bits | 1 << *r as u8))
    }

    /// Reads `carry,read,write`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut bits = 0;
        for word in text.split([',', ' ']).filter(|w| !w.is_empty()) {
            let right = Right::ALL.into_iter().find(|r| r.name() == word);
            bits |= 1
                << right.ok_or_else(|| {
                    format!("{word:?} is not a right (carry, read, write, enrol, grant, revoke)")
                })? as u8;
        }
        crate::always!(Self(bits).within(Self::of(&Right::ALL)));
        Ok(Self(bits))
    }

    /// Whether `right` is in the set.
    pub fn has(self, right: Right) -> bool {
        self.0 & (1 << right as u8) != 0
    }

    /// Whether every right of `self` is in `other`.
    pub fn within(self, other: Rights) -> bool {
        self.0 & !other.0 == 0
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Right::ALL
            .into_iter()
            .filter(|r| self.has(*r))
            .map(Right::name)
            .collect();
        f.write_str(if names.is_empty() { "none" } else { "" })?;
        f.write_str(&names.join(","))
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rights({self})")
    }
}

impl<C> Encode<C> for Rights {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.u32(self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Rights {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Ok(Self(d.u32()?))
    }
}

/// What a ministry or a supervisor says about a device.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Certificate {
    /// The device.
    #[n(0)]
    pub device: DeviceId,
    /// Its public key for sealing (X25519, 32 bytes), to which space keys are sealed.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub sealing_key: [u8; 32],
    /// What a person calls it: a role or a post, not a patient's word.
    #[n(2)]
    pub name: String,
    /// Where it holds.
    #[n(3)]
    pub area: Area,
    /// What the device may do.
    #[n(4)]
    pub rights: Rights,
    /// What it may let others do, if it may enrol.
    #[n(5)]
    pub passes_on: Rights,
    /// Seconds since 1970 by the issuer's clock.
    #[n(6)]
    pub issued_s: u64,
    /// From this second on, by the newest time that the ministry is known to have signed, the
    /// device is given no new keys and certifies nobody. It may still hand over what it has: care
    /// does not stop.
    #[n(7)]
    pub expires_s: Option<u64>,
    /// The device's own signature over its sealing key ([`bind`]).
    #[cbor(n(8), with = "minicbor::bytes")]
    pub binding: [u8; 64],
}

const BINDING: &str = "sealing-key";

fn binding_input(device: &DeviceId, sealing_key: &[u8; 32]) -> [u8; 64] {
    let mut input = [0; 64];
    let (first, second) = input.split_at_mut(32);
    first.copy_from_slice(&device.0);
    second.copy_from_slice(sealing_key);
    input
}

/// A device's own signature over its sealing key, for its request and its certificates.
pub fn bind(keys: &DeviceKeys, sealing_key: &[u8; 32]) -> [u8; 64] {
    let input = binding_input(&keys.id(), sealing_key);
    let binding = keys.sign(BINDING, &input);
    crate::always!(keys::verify(&keys.id(), BINDING, &input, &binding));
    binding
}

impl Certificate {
    /// Rule 6.
    fn is_bound(&self) -> bool {
        let input = binding_input(&self.device, &self.sealing_key);
        !defence::stands(Defence::DeviceBinding)
            || keys::verify(&self.device, BINDING, &input, &self.binding)
    }
}

impl Document for Certificate {
    const DOMAIN: &'static str = "certificate";

    fn check(&self) -> Result<(), CodecError> {
        codec::check_name("certificate name", &self.name)
    }
}

/// A phone's request to be certified, signed by itself so that nobody asks in another's name. Shown
/// as a QR or a file.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct CertificateRequest {
    /// The device that asks.
    #[n(0)]
    pub device: DeviceId,
    /// Its public sealing key.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub sealing_key: [u8; 32],
    /// The name it suggests.
    #[n(2)]
    pub name: String,
    /// Its signature over the sealing key, for its certificates.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub binding: [u8; 64],
}

impl CertificateRequest {
    /// What a device asks for.
    pub fn of(keys: &DeviceKeys, sealing_key: [u8; 32], name: String) -> Self {
        Self {
            device: keys.id(),
            sealing_key,
            name,
            binding: bind(keys, &sealing_key),
        }
    }
}

impl Document for CertificateRequest {
    const DOMAIN: &'static str = "certificate-request";

    fn check(&self) -> Result<(), CodecError> {
        codec::check_name("name", &self.name)
    }
}

/// A device's certificates from the ministry's down to its own, not yet believed.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct Chain {
    /// From the ministry down.
    #[n(0)]
    pub certificates: Vec<Signed<Certificate>>,
}

/// Why a chain is not believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum CertificateError {
    /// Rule 1.
    #[error("a chain of {0} certificates; between 1 and {CHAIN_MAX} are allowed")]
    Length(usize),
    /// Rule 2.
    #[error("certificate {position} is not signed by its issuer: {reason}")]
    Signature {
        /// Counted from the ministry, starting at 1.
        position: usize,
        /// What the signature check said.
        reason: SignatureError,
    },
    /// Rule 3.
    #[error("certificate {0} was issued by a device without the right to enrol")]
    NotAnEnroller(usize),
    /// A device in the chain has been revoked: nothing that it certified holds.
    #[error("certificate {position} belongs to a phone that was revoked: {reason}")]
    Revoked {
        /// Counted from the ministry, starting at 1.
        position: usize,
        /// The ministry's words.
        reason: String,
    },
    /// Its time is over.
    #[error("certificate {0} has expired")]
    Expired(usize),
    /// Rule 4.
    #[error("certificate {0} gives rights that its issuer may not pass on")]
    Rights(usize),
    /// Rule 5.
    #[error("certificate {0} reaches outside its issuer's area")]
    Area(usize),
    /// Rule 6.
    #[error("certificate {0} gives its phone a sealing key that the phone has not signed")]
    Unbound(usize),
}

impl Chain {
    /// The chain of a device certified by this one.
    pub fn extended(&self, certificate: Signed<Certificate>) -> Self {
        let mut certificates = self.certificates.clone();
        certificates.push(certificate);
        Self { certificates }
    }

    /// What the chain is known by: its signed bodies, whatever signatures they carry.
    pub fn id(&self) -> ChainId {
        let mut hasher = blake3::Hasher::new_derive_key("kijiti 2026-11 chain id");
        for certificate in &self.certificates {
            hasher.update(&(certificate.body().len() as u64).to_le_bytes());
            hasher.update(certificate.body());
            if !defence::stands(Defence::ChainIdentity) {
                hasher.update(&certificate.to_bytes());
            }
        }
        ChainId(*hasher.finalize().as_bytes())
    }

    /// The device that issued the last certificate; `None`: the ministry did.
    pub fn issuer(&self) -> Option<DeviceId> {
        let above = self.certificates.len().checked_sub(2)?;
        Some(self.certificates.get(above)?.read().ok()?.device)
    }

    /// The bytes that travel.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads a chain from a peer or a file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        if bytes.len() > crate::limits::SIGNED_BYTES_MAX {
            let max = crate::limits::SIGNED_BYTES_MAX;
            return Err(CodecError::TooLong {
                what: "certificate chain".into(),
                bytes: bytes.len(),
                max,
            });
        }
        codec::decode("certificate chain", bytes)
    }

    /// Believes the chain if every rule of this module holds under the ministry's `enrolment` role.
    pub fn verify(&self, enrolment: &Role) -> Result<VerifiedChain, CertificateError> {
        let count = self.certificates.len();
        if count == 0 || count > CHAIN_MAX {
            return Err(CertificateError::Length(count)); // rule 1
        }
        let mut issuer: Option<Certificate> = None;
        let mut certificates = Vec::with_capacity(count);
        for (i, signed) in self.certificates.iter().enumerate() {
            let position = i + 1;
            let single = issuer.as_ref().map(|c| Role::single(c.device));
            let role = single.as_ref().unwrap_or(enrolment);
            let verified = signed
                .verify(role)
                .map_err(|reason| CertificateError::Signature { position, reason })?; // rule 2
            if let Some(issuer) = &issuer {
                check_issued(issuer, &verified, position)?;
            }
            if !verified.is_bound() {
                return Err(CertificateError::Unbound(position)); // rule 6
            }
            let canonical = defence::stands(Defence::ChainIdentity);
            certificates.push(if canonical {
                signed.signed_by(role)
            } else {
                signed.clone()
            });
            issuer = Some((*verified).clone());
        }
        let leaf = issuer.ok_or(CertificateError::Length(0))?;
        let chain = Chain { certificates };
        crate::always!(chain.id() == self.id(), "canonical, and the same chain");
        Ok(VerifiedChain {
            leaf,
            id: chain.id(),
            chain,
        })
    }
}

fn check_issued(
    issuer: &Certificate,
    issued: &Certificate,
    position: usize,
) -> Result<(), CertificateError> {
    if !issuer.rights.has(Right::Enrol) {
        return Err(CertificateError::NotAnEnroller(position)); // rule 3
    }
    if !issued.rights.within(issuer.passes_on) || !issued.passes_on.within(issuer.passes_on) {
        return Err(CertificateError::Rights(position)); // rule 4
    }
    if !issuer.area.covers(&issued.area) {
        return Err(CertificateError::Area(position)); // rule 5
    }
    crate::always!(issued.area.upward().any(|area| area == issuer.area));
    Ok(())
}

/// A chain that holds up to the ministry. Dereferences to the certificate of the device itself.
#[derive(Debug, Clone)]
pub struct VerifiedChain {
    leaf: Certificate,
    id: ChainId,
    chain: Chain,
}

impl std::ops::Deref for VerifiedChain {
    type Target = Certificate;
    fn deref(&self) -> &Certificate {
        &self.leaf
    }
}

impl VerifiedChain {
    /// The chain as it travels on, in its canonical form.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// What the chain is known by.
    pub fn id(&self) -> ChainId {
        self.id
    }

    /// Whether the device may write into `space`: that of its own area or of one that encloses it.
    pub fn may_write_in(&self, space: crate::SpaceId) -> bool {
        self.rights.has(Right::Write) && self.area.upward().any(|a| crate::SpaceId::of(&a) == space)
    }
}
