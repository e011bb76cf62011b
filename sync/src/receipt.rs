//! Receipts: what a phone runs, sealed to the ministry and carried back by whoever comes by, so
//! that coverage is known without any server. Couriers see which device it is from and which of its
//! receipts is the newest, and nothing else.
//!
//! ```text
//! Signed<SealedReceipt> by the device   0: device · 1: sequence · 2: HPKE's encapsulated key · 3: sealed Receipt (CBOR)
//! ```
//! HPKE (RFC 9180) in base mode with X25519, HKDF-SHA256 and ChaCha20-Poly1305, the device's id and
//! the sequence as associated data.

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::CryptoRng;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use minicbor::{Decode, Encode};
use protocol::always;
use protocol::codec::{self, CodecError};
use protocol::limits::{RECEIPT_BYTES_MAX, SIGNED_BYTES_MAX};
use protocol::signed::{Document, Role, Signed, Verified};
use protocol::{Area, Chain, DeviceId, DeviceKeys, Digest};

use zeroize::Zeroize;

const INFO: &[u8] = b"kijiti/1/receipt";

const _: () = assert!(RECEIPT_BYTES_MAX + 1024 <= SIGNED_BYTES_MAX, "it fits");

/// One module that runs on a phone.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Running {
    /// The module.
    #[n(0)]
    pub module: String,
    /// Its version.
    #[n(1)]
    pub version: u64,
    /// Its bundle.
    #[n(2)]
    pub digest: Digest,
}

/// What a phone tells the ministry.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct Receipt {
    /// The phone's certificates: who and where it is.
    #[n(0)]
    pub chain: Chain,
    /// The newest root it holds.
    #[n(1)]
    pub root: u64,
    /// The newest release list it holds.
    #[n(2)]
    pub list: u64,
    /// What it runs.
    #[n(3)]
    pub runs: Vec<Running>,
}

/// A receipt on its way.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SealedReceipt {
    /// Whose it is.
    #[n(0)]
    pub device: DeviceId,
    /// Counts up; a newer one takes the place of an older.
    #[n(1)]
    pub sequence: u64,
    /// HPKE's encapsulated key.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub encapsulated: [u8; 32],
    /// The sealed [`Receipt`].
    #[cbor(n(3), with = "minicbor::bytes")]
    pub sealed: Vec<u8>,
}

impl Document for SealedReceipt {
    const DOMAIN: &'static str = "receipt";

    fn check(&self) -> Result<(), CodecError> {
        match self.sealed.len() {
            0..=RECEIPT_BYTES_MAX => Ok(()),
            bytes => Err(CodecError::TooLong {
                what: "receipt".into(),
                bytes,
                max: RECEIPT_BYTES_MAX,
            }),
        }
    }
}

/// Why a receipt cannot be made, believed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Not a receipt, or not signed by the device that it names.
    #[error("not a receipt of the device it names: {0}")]
    Forged(String),
    /// HPKE refused.
    #[error("the receipt cannot be opened with this key: {0}")]
    Sealed(String),
}

/// The associated data: a receipt is good for one device and one place in its row.
fn aad(device: &DeviceId, sequence: u64) -> Vec<u8> {
    [device.as_bytes().as_slice(), &sequence.to_le_bytes()].concat()
}

/// Seals a receipt to the ministry's receipt key and signs it as this device.
pub fn seal(
    receipt: &Receipt,
    sequence: u64,
    ministry: &[u8; 32],
    keys: &DeviceKeys,
    rng: &mut impl CryptoRng,
) -> Result<Signed<SealedReceipt>, ReceiptError> {
    let failed = |e: hpke::HpkeError| ReceiptError::Sealed(e.to_string());
    let public = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(ministry).map_err(failed)?;
    let (encapsulated, sealed) =
        hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &public,
            INFO,
            &codec::encode(receipt),
            &aad(&keys.id(), sequence),
            rng,
        )
        .map_err(failed)?;
    let sealed = SealedReceipt {
        device: keys.id(),
        sequence,
        encapsulated: encapsulated.to_bytes().into(),
        sealed,
    };
    Ok(Signed::by(&sealed, keys))
}

/// Believes that a receipt comes from the device it names, without opening it: what a courier does.
pub fn verify(bytes: &[u8]) -> Result<Verified<SealedReceipt>, ReceiptError> {
    let forged = |e: &dyn std::fmt::Display| ReceiptError::Forged(e.to_string());
    let signed = Signed::<SealedReceipt>::from_bytes(bytes).map_err(|e| forged(&e))?;
    let device = signed.read().map_err(|e| forged(&e))?.device;
    signed.verify(&Role::single(device)).map_err(|e| forged(&e))
}

/// Opens a receipt with the ministry's receipt key. Its chain is still to be believed.
pub fn open(
    receipt: &Verified<SealedReceipt>,
    ministry: &DeviceKeys,
) -> Result<Receipt, ReceiptError> {
    let failed = |e: hpke::HpkeError| ReceiptError::Sealed(e.to_string());
    let mut seed = ministry.sealing_seed();
    let (private, _) = X25519HkdfSha256::derive_keypair(&seed);
    seed.zeroize();
    let encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(&receipt.encapsulated)
        .map_err(failed)?;
    let plain = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &private,
        &encapsulated,
        INFO,
        &receipt.sealed,
        &aad(&receipt.device, receipt.sequence),
    )
    .map_err(failed)?;
    codec::decode("receipt", &plain).map_err(|e| ReceiptError::Forged(e.to_string()))
}

/// Phones by area and what they run, from opened receipts: the ministry's coverage.
pub fn coverage(
    receipts: &[(Area, Receipt)],
) -> std::collections::BTreeMap<(String, String, u64), usize> {
    let mut counts = std::collections::BTreeMap::new();
    for (area, receipt) in receipts {
        for run in &receipt.runs {
            *counts
                .entry((area.to_string(), run.module.clone(), run.version))
                .or_default() += 1;
        }
    }
    always!(
        counts.values().sum::<usize>() == receipts.iter().map(|(_, r)| r.runs.len()).sum::<usize>(),
        "each module of each phone is counted once"
    );
    counts
}
