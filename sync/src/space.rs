//! Spaces and their keys: who can read a team's or facility's cases. A device is given the key by a
//! *grant*, sealed to its sealing key with HPKE (RFC 9180: X25519, HKDF-SHA256, ChaCha20-Poly1305)
//! and signed by a device with the right to grant.

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::CryptoRng;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use minicbor::{Decode, Encode};
use protocol::always;
use protocol::signed::{Document, Verified};
use protocol::{Area, CaseId, CaseTag, DeviceId, DeviceKeys, SpaceId};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// For what a key is sealed: HPKE's info, so that nothing sealed for one purpose is ever taken for
/// another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A grant, in a file or over couriers.
    Grant,
    /// A share, in a notice.
    Share,
    /// A lock, in a share on a lease.
    Lock,
    /// An archive, from phone to phone.
    Archive,
}

impl Purpose {
    fn info(self) -> &'static [u8] {
        match self {
            Purpose::Grant => b"kijiti/2/grant",
            Purpose::Share => b"kijiti/2/share",
            Purpose::Lock => b"kijiti/2/lock",
            Purpose::Archive => b"kijiti/2/archive",
        }
    }
}

/// The public sealing key of a device, for its certificate request.
pub fn sealing_public_key(keys: &DeviceKeys) -> [u8; 32] {
    let mut seed = keys.sealing_seed();
    let (_, public) = X25519HkdfSha256::derive_keypair(&seed);
    seed.zeroize();
    public.to_bytes().into()
}

/// The key of one epoch of a space. Wiped from memory when dropped; prints nothing.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct SpaceKey {
    #[zeroize(skip)]
    area: Area,
    key: [u8; 32],
}

impl std::fmt::Debug for SpaceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SpaceKey({})", self.area)
    }
}

impl SpaceKey {
    /// The key of the space of `area`.
    pub fn new(area: Area, key: [u8; 32]) -> Self {
        Self { area, key }
    }

    /// The area whose space this opens.
    pub fn area(&self) -> &Area {
        &self.area
    }

    /// The space.
    pub fn space(&self) -> SpaceId {
        SpaceId::of(&self.area)
    }

    /// The key itself, for the cipher and for the store.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.key
    }

    /// What names this epoch on the outside of envelopes: eight bytes of a hash of the key.
    pub fn epoch_tag(&self) -> [u8; 8] {
        let hash = blake3::derive_key("kijiti 2026-11 epoch tag", &self.key);
        let mut tag = [0; 8];
        tag.copy_from_slice(&hash[..8]);
        tag
    }

    /// What stands for a case on the outside of its envelopes.
    pub fn case_tag(&self, case: &CaseId) -> CaseTag {
        let key = blake3::derive_key("kijiti 2026-11 case tag", &self.key);
        let hash = blake3::keyed_hash(&key, case.as_bytes());
        let mut tag = [0; 16];
        tag.copy_from_slice(&hash.as_bytes()[..16]);
        CaseTag(tag)
    }
}

/// The key of a space, sealed to one device.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Grant {
    /// The device that may open it.
    #[n(0)]
    pub to: DeviceId,
    /// The area whose space it is.
    #[n(1)]
    pub area: Area,
    /// HPKE's encapsulated key.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub encapsulated: [u8; 32],
    /// The sealed space key.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub sealed: Vec<u8>,
}

impl Document for Grant {
    const DOMAIN: &'static str = "grant";
}

/// Why a grant cannot be made or opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum GrantError {
    /// It is for another device.
    #[error("this grant is for device {0}, not for this phone")]
    OtherDevice(String),
    /// HPKE refused.
    #[error("the grant cannot be opened with this phone's key: {0}")]
    Sealed(String),
}

/// The key of a space, sealed to one device, within a document that says which space.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SealedKey {
    /// The device that may open it.
    #[n(0)]
    pub to: DeviceId,
    /// HPKE's encapsulated key.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub encapsulated: [u8; 32],
    /// The sealed space key.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub sealed: Vec<u8>,
}

impl SealedKey {
    /// Seals `key` to the device `to` with public sealing key `sealing_key`.
    pub(crate) fn seal(
        key: &SpaceKey,
        purpose: Purpose,
        to: DeviceId,
        sealing_key: &[u8; 32],
        rng: &mut impl CryptoRng,
    ) -> Result<Self, GrantError> {
        Self::seal_bytes(&key.key, purpose, &key.area, to, sealing_key, rng)
    }

    /// The same for bytes from which the key is made.
    pub(crate) fn seal_bytes(
        plain: &[u8],
        purpose: Purpose,
        area: &Area,
        to: DeviceId,
        sealing_key: &[u8; 32],
        rng: &mut impl CryptoRng,
    ) -> Result<Self, GrantError> {
        let refused = |e: hpke::HpkeError| GrantError::Sealed(e.to_string());
        let public =
            <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(sealing_key).map_err(refused)?;
        let (encapsulated, sealed) =
            hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
                &OpModeS::Base,
                &public,
                purpose.info(),
                plain,
                &aad(&to, area),
                rng,
            )
            .map_err(refused)?;
        always!(sealed.len() == plain.len() + 16, "as shares count on");
        Ok(Self {
            to,
            encapsulated: encapsulated.to_bytes().into(),
            sealed,
        })
    }

    /// Opens it with the keys of the device it is for.
    pub(crate) fn open(
        &self,
        purpose: Purpose,
        area: &Area,
        keys: &DeviceKeys,
    ) -> Result<SpaceKey, GrantError> {
        let mut plain = self.open_bytes(purpose, area, keys)?;
        let key: Option<[u8; 32]> = plain.as_slice().try_into().ok();
        plain.zeroize();
        key.map(|key| SpaceKey::new(area.clone(), key))
            .ok_or(GrantError::Sealed("not a key".into()))
    }

    /// Opens the bytes from which the key is made.
    pub(crate) fn open_bytes(
        &self,
        purpose: Purpose,
        area: &Area,
        keys: &DeviceKeys,
    ) -> Result<Vec<u8>, GrantError> {
        if self.to != keys.id() {
            return Err(GrantError::OtherDevice(self.to.short()));
        }
        let refused = |e: hpke::HpkeError| GrantError::Sealed(e.to_string());
        let mut seed = keys.sealing_seed();
        let (private, _) = X25519HkdfSha256::derive_keypair(&seed);
        seed.zeroize();
        let encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(&self.encapsulated)
            .map_err(refused)?;
        hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &private,
            &encapsulated,
            purpose.info(),
            &self.sealed,
            &aad(&self.to, area),
        )
        .map_err(refused)
    }
}

impl Grant {
    /// Seals `key` to the device `to` with public sealing key `sealing_key`.
    pub fn seal(
        key: &SpaceKey,
        to: DeviceId,
        sealing_key: &[u8; 32],
        rng: &mut impl CryptoRng,
    ) -> Result<Self, GrantError> {
        let SealedKey {
            to,
            encapsulated,
            sealed,
        } = SealedKey::seal(key, Purpose::Grant, to, sealing_key, rng)?;
        Ok(Self {
            to,
            area: key.area.clone(),
            encapsulated,
            sealed,
        })
    }
}

/// Opens a grant whose signature has been verified, with the keys of the device it is for.
pub fn open_grant(grant: &Verified<Grant>, keys: &DeviceKeys) -> Result<SpaceKey, GrantError> {
    let sealed = SealedKey {
        to: grant.to,
        encapsulated: grant.encapsulated,
        sealed: grant.sealed.clone(),
    };
    sealed.open(Purpose::Grant, &grant.area, keys)
}

fn aad(to: &DeviceId, area: &Area) -> Vec<u8> {
    [to.as_bytes().as_slice(), area.as_str().as_bytes()].concat()
}
