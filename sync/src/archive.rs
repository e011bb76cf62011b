//! Cases handed from one phone to another as a file: signed by the one, sealed to the other.
//!
//! ```text
//! signed document "archive" (protocol::signed) of
//!   to · the sender's certificates · HPKE's encapsulated key · the sealed file key · nonce 24 ·
//!   XChaCha20-Poly1305 of zstd(CBOR of the cases), with the recipient as associated data
//! ```

use std::borrow::Cow;

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use hpke::rand_core::CryptoRng;
use minicbor::{Decode, Encode};
use protocol::always;
use protocol::codec::{self, CodecError};
use protocol::limits::CASE_BYTES_MAX;
use protocol::signed::{Document, Role, SignatureError, Verified};
use protocol::{Area, CaseId, Chain, DeviceId, DeviceKeys, Signed};
use serde::{Deserialize, Serialize};

use crate::space::{Purpose, SealedKey, SpaceKey};

/// Bytes that an archive may unfold to.
pub const ARCHIVE_PLAIN_BYTES_MAX: usize = 64 << 20;

const _: () = assert!(4 * CASE_BYTES_MAX <= ARCHIVE_PLAIN_BYTES_MAX, "a case fits");

/// One case in an archive.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ArchivedCase {
    /// Which.
    #[n(0)]
    pub case: CaseId,
    /// All its changes, in an order in which they can be taken in.
    #[n(1)]
    pub changes: Vec<minicbor::bytes::ByteVec>,
}

/// An archive as it lies in a file.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct Archive {
    /// Whose it is.
    #[n(0)]
    pub to: DeviceId,
    /// Who wrote it.
    #[n(1)]
    pub from: Chain,
    /// The file's key.
    #[n(2)]
    pub key: SealedKey,
    /// Fresh randomness.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub nonce: [u8; 24],
    /// The cases.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub sealed: Vec<u8>,
}

impl Document for Archive {
    const DOMAIN: &'static str = "archive";

    fn check(&self) -> Result<(), CodecError> {
        match self.key.to == self.to {
            true => Ok(()),
            false => Err(CodecError::malformed("archive", "a key for another phone")),
        }
    }
}

/// Why an archive is not written, or not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ArchiveError {
    /// More than one archive holds.
    #[error("too many cases for one archive: export fewer at once")]
    TooLarge,
    /// Not what it should be, or damaged.
    #[error("not an archive, or damaged: {0}")]
    Malformed(CodecError),
    /// Written for another phone.
    #[error("this archive is for phone {}, not for this one", .0.short())]
    OtherPhone(DeviceId),
    /// Nobody is named who wrote it.
    #[error("the archive's signature does not hold: no certificate in it")]
    NoCertificate,
    /// Not signed by whom it names, or changed since.
    #[error("the archive's signature does not hold: {0}")]
    Signature(SignatureError),
    /// Does not open.
    #[error("the archive does not open: {0}")]
    Sealed(Cow<'static, str>),
}

/// Seals cases for the phone `to` with its public sealing key.
pub fn write(
    cases: &[ArchivedCase],
    (to, sealing_key): (DeviceId, &[u8; 32]),
    (from, keys): (&Chain, &DeviceKeys),
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, ArchiveError> {
    let plain = codec::encode(&cases.to_vec());
    if plain.len() > ARCHIVE_PLAIN_BYTES_MAX || !cases.iter().all(fits) {
        return Err(ArchiveError::TooLarge);
    }
    let packed = zstd::bulk::compress(&plain, 6)
        .map_err(|_| ArchiveError::Sealed("compression failed".into()))?;
    let (mut key, mut nonce) = ([0; 32], [0; 24]);
    rng.fill_bytes(&mut key);
    rng.fill_bytes(&mut nonce);
    let file_key = SpaceKey::new(Area::default(), key);
    let sealed_key = SealedKey::seal(&file_key, Purpose::Archive, to, sealing_key, rng);
    let sealed_key = sealed_key.map_err(|_| ArchiveError::Sealed("no key".into()))?;
    let sealed = XChaCha20Poly1305::new(file_key.bytes().into())
        .encrypt(
            (&nonce).into(),
            Payload {
                msg: &packed,
                aad: to.as_bytes(),
            },
        )
        .map_err(|_| ArchiveError::Sealed("the cipher refused".into()))?;
    let archive = Archive {
        to,
        from: from.clone(),
        key: sealed_key,
        nonce,
        sealed,
    };
    always!(archive.check().is_ok(), "what is written can be read");
    let bytes = Signed::by(&archive, keys).to_bytes();
    match bytes.len() > ARCHIVE_PLAIN_BYTES_MAX {
        true => Err(ArchiveError::TooLarge), // nobody could read it
        false => Ok(bytes),
    }
}

/// Whether a case is no longer than a case may be.
fn fits(case: &ArchivedCase) -> bool {
    case.changes
        .iter()
        .map(|change| change.len())
        .sum::<usize>()
        <= 4 * CASE_BYTES_MAX
}

/// Reads the outside of an archive, and checks that it is signed by the phone whose certificates it
/// shows. Whether those hold is for the caller to judge.
pub fn read(bytes: &[u8]) -> Result<Verified<Archive>, ArchiveError> {
    let damaged = |e: CodecError| ArchiveError::Malformed(e);
    let signed =
        Signed::<Archive>::from_bytes_up_to(bytes, ARCHIVE_PLAIN_BYTES_MAX).map_err(damaged)?;
    let claimed = signed.read().map_err(damaged)?;
    let leaf = claimed.from.certificates.last().and_then(|c| c.read().ok());
    let leaf = leaf.ok_or(ArchiveError::NoCertificate)?;
    signed
        .verify(&Role::single(leaf.device))
        .map_err(ArchiveError::Signature)
}

/// Opens an archive with the keys of the phone it is for.
pub fn open(
    archive: &Verified<Archive>,
    keys: &DeviceKeys,
) -> Result<Vec<ArchivedCase>, ArchiveError> {
    if archive.to != keys.id() {
        return Err(ArchiveError::OtherPhone(archive.to));
    }
    let key = archive
        .key
        .open(Purpose::Archive, &Area::default(), keys)
        .map_err(|_| ArchiveError::Sealed("its key is another phone's".into()))?;
    let packed = XChaCha20Poly1305::new(key.bytes().into())
        .decrypt(
            (&archive.nonce).into(),
            Payload {
                msg: &archive.sealed,
                aad: archive.to.as_bytes(),
            },
        )
        .map_err(|_| ArchiveError::Sealed("changed on the way".into()))?;
    let plain = zstd::bulk::decompress(&packed, ARCHIVE_PLAIN_BYTES_MAX)
        .map_err(|_| ArchiveError::Sealed("it does not unpack within its limit".into()))?;
    let cases: Vec<ArchivedCase> = codec::decode("cases", &plain)
        .map_err(|_| ArchiveError::Sealed("no cases in it".into()))?;
    match cases
        .iter()
        .all(|c| c.changes.iter().map(|change| change.len()).sum::<usize>() <= 4 * CASE_BYTES_MAX)
    {
        true => Ok(cases),
        false => Err(ArchiveError::Sealed(
            "a case in it is larger than any may be".into(),
        )),
    }
}
