//! Envelopes: sealed, signed changes that anyone can carry and only the space's readers can open;
//! and, in the same form and the same set, the open *notices* by which a space is kept
//! ([`crate::notice`]).
//!
//! ```text
//! offset bytes
//!      0     1  version: 1 sealed changes · 2 a notice
//!      1     8  space
//!      9     8  epoch tag: which key of the space
//!     17    16  case tag: keyed hash of the case id
//!     33     1  urgency: 0 green · 1 yellow · 2 pink
//!     34     2  retention class, days after closing, little-endian
//!     36     8  author: first bytes of the device id
//!     44    24  nonce
//!     68     2  length of what follows before the signature, little-endian
//!     70     n  ciphertext and 16-byte tag: XChaCha20-Poly1305 of zstd(CBOR), bytes 0–69 as associated data
//!   70+n    64  Ed25519 signature by the author over all before it (domain "envelope")
//! ```
//! In a notice epoch and case tag are zero, the urgency is 2 (it goes first), the nonce is salt,
//! and the *n* bytes are CBOR. An envelope's id is the BLAKE3 digest of all its bytes.

use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use clinical::Urgency;
use minicbor::{Decode, Encode};
use protocol::always;
use protocol::codec;
use protocol::keys;
use protocol::limits::{ENVELOPE_BYTES_MAX, ENVELOPE_PLAIN_BYTES_MAX};
use protocol::{CaseId, CaseTag, DeviceKeys, EnvelopeId, SpaceId, VerifiedChain};

use crate::notice::Notice;
use crate::space::SpaceKey;

const SEALED: u8 = 1;
const NOTICE: u8 = 2;
const HEADER_BYTES: usize = 70;
const SIGNATURE_BYTES: usize = 64;
const DOMAIN: &str = "envelope";

const _: () = assert!(
    ENVELOPE_BYTES_MAX - HEADER_BYTES - SIGNATURE_BYTES <= u16::MAX as usize,
    "the length fits the header"
);

/// The first bytes of an author's device id.
pub type AuthorKey = [u8; 8];

/// What is inside.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Contents {
    /// The case.
    #[n(0)]
    pub case: CaseId,
    /// Its Automerge changes, uncompressed, in order.
    #[n(1)]
    pub changes: Vec<minicbor::bytes::ByteVec>,
}

/// Why an envelope is refused or cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not an envelope.
    #[error("not an envelope: {0}")]
    Malformed(&'static str),
    /// A version that this phone does not know. It is carried by newer phones.
    #[error("an envelope of version {0}, which this phone does not know")]
    Version(u8),
    /// The author's signature does not hold.
    #[error("the author's signature does not hold")]
    Signature,
    /// The author may not write there, or not say what the notice says.
    #[error("the author's certificate does not allow writing this in this space")]
    NotAWriter,
    /// The key does not open it, or it holds something else than changes.
    #[error("the envelope does not open: {0}")]
    Sealed(&'static str),
    /// The changes are too many for one envelope.
    #[error("{0} bytes of changes do not fit an envelope")]
    TooLong(usize),
}

/// What an envelope is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvelopeKind {
    /// Sealed changes of a case.
    Changes,
    /// An open word about the space itself.
    Notice,
}

/// The outside of an envelope, parsed and not yet believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The digest of its bytes.
    pub id: EnvelopeId,
    /// What it is.
    pub kind: EnvelopeKind,
    /// The space it belongs to.
    pub space: SpaceId,
    /// Which key opens it.
    pub epoch_tag: [u8; 8],
    /// Stands for the case.
    pub case_tag: CaseTag,
    /// How urgently it should travel.
    pub urgency: Urgency,
    /// Who says to have written it.
    pub author: AuthorKey,
    bytes: Vec<u8>,
}

/// An envelope whose author is certified and has signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedEnvelope(Envelope);

impl std::ops::Deref for VerifiedEnvelope {
    type Target = Envelope;
    fn deref(&self) -> &Envelope {
        &self.0
    }
}

/// The short name of an author.
pub fn author_key(device: &protocol::DeviceId) -> AuthorKey {
    let mut key = [0; 8];
    key.copy_from_slice(&device.0[..8]);
    key
}

/// Seals `contents` for the readers of a space. `nonce` must be fresh randomness.
pub fn seal(
    contents: &Contents,
    key: &SpaceKey,
    urgency: Urgency,
    author: &DeviceKeys,
    nonce: [u8; 24],
) -> Result<VerifiedEnvelope, EnvelopeError> {
    let plain = codec::encode(contents);
    if plain.len() > ENVELOPE_PLAIN_BYTES_MAX {
        return Err(EnvelopeError::TooLong(plain.len()));
    }
    let packed =
        zstd::bulk::compress(&plain, 3).map_err(|_| EnvelopeError::Sealed("compression failed"))?;
    let sealed_bytes = packed.len() + 16;
    if HEADER_BYTES + sealed_bytes + SIGNATURE_BYTES > ENVELOPE_BYTES_MAX {
        return Err(EnvelopeError::TooLong(packed.len()));
    }
    let mut bytes = Vec::with_capacity(HEADER_BYTES + sealed_bytes + SIGNATURE_BYTES);
    bytes.push(SEALED);
    bytes.extend_from_slice(key.space().as_bytes());
    bytes.extend_from_slice(&key.epoch_tag());
    bytes.extend_from_slice(key.case_tag(&contents.case).as_bytes());
    push_rest(&mut bytes, urgency, author, &nonce, sealed_bytes);
    let cipher = XChaCha20Poly1305::new(key.bytes().into());
    let sealed = cipher
        .encrypt(
            (&nonce).into(),
            Payload {
                msg: &packed,
                aad: &bytes,
            },
        )
        .map_err(|_| EnvelopeError::Sealed("the cipher refused"))?;
    always!(sealed.len() == sealed_bytes, "the header says how long");
    bytes.extend_from_slice(&sealed);
    let parsed = Envelope::parse(signed(bytes, author))?;
    always!(parsed.space == key.space());
    always!(parsed.epoch_tag == key.epoch_tag());
    always!(parsed.urgency == urgency);
    always!(parsed.author == author_key(&author.id()));
    Ok(VerifiedEnvelope(parsed))
}

/// The header from the urgency on.
fn push_rest(
    bytes: &mut Vec<u8>,
    urgency: Urgency,
    author: &DeviceKeys,
    nonce: &[u8; 24],
    length: usize,
) {
    bytes.push(urgency as u8);
    bytes.extend_from_slice(&0u16.to_le_bytes());
    bytes.extend_from_slice(&author_key(&author.id()));
    bytes.extend_from_slice(nonce);
    bytes.extend_from_slice(&(length as u16).to_le_bytes());
    always!(bytes.len() == HEADER_BYTES, "every field at its place");
}

fn signed(mut bytes: Vec<u8>, author: &DeviceKeys) -> Vec<u8> {
    let signature = author.sign(DOMAIN, &bytes);
    bytes.extend_from_slice(&signature);
    bytes
}

/// Signs a notice for the space of its area. `salt` must be fresh randomness.
pub fn announce(
    notice: &Notice,
    author: &DeviceKeys,
    salt: [u8; 24],
) -> Result<VerifiedEnvelope, EnvelopeError> {
    let body = codec::encode(notice);
    if HEADER_BYTES + body.len() + SIGNATURE_BYTES > ENVELOPE_BYTES_MAX {
        return Err(EnvelopeError::TooLong(body.len()));
    }
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len() + SIGNATURE_BYTES);
    bytes.push(NOTICE);
    bytes.extend_from_slice(SpaceId::of(&notice.area).as_bytes());
    bytes.extend_from_slice(&[0; 24]);
    push_rest(&mut bytes, Urgency::Pink, author, &salt, body.len());
    bytes.extend_from_slice(&body);
    let parsed = Envelope::parse(signed(bytes, author))?;
    always!(parsed.notice().is_ok_and(|said| said == *notice));
    Ok(VerifiedEnvelope(parsed))
}

impl Envelope {
    /// Reads the outside of an envelope.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, EnvelopeError> {
        if bytes.len() > ENVELOPE_BYTES_MAX {
            return Err(EnvelopeError::Malformed("too long"));
        }
        let kind = match bytes.first() {
            Some(&NOTICE) => EnvelopeKind::Notice,
            Some(&SEALED) | None => EnvelopeKind::Changes,
            Some(version) => return Err(EnvelopeError::Version(*version)),
        };
        let short = EnvelopeError::Malformed("too short");
        let field = |range: std::ops::Range<usize>| bytes.get(range).ok_or(short.clone());
        let sealed =
            u16::from_le_bytes(field(68..70)?.try_into().map_err(|_| short.clone())?) as usize;
        if (kind == EnvelopeKind::Changes && sealed < 16)
            || bytes.len() != HEADER_BYTES + sealed + SIGNATURE_BYTES
        {
            return Err(EnvelopeError::Malformed("its length is not what it says"));
        }
        Ok(Self {
            id: EnvelopeId(*blake3::hash(&bytes).as_bytes()),
            kind,
            space: SpaceId::from_slice(field(1..9)?).ok_or(short.clone())?,
            epoch_tag: field(9..17)?.try_into().map_err(|_| short.clone())?,
            case_tag: CaseTag::from_slice(field(17..33)?).ok_or(short.clone())?,
            urgency: field(33..34)?
                .first()
                .copied()
                .and_then(Urgency::from_byte)
                .ok_or(EnvelopeError::Malformed("urgency"))?,
            author: field(36..44)?.try_into().map_err(|_| short.clone())?,
            bytes,
        })
    }

    /// The bytes that travel.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What a notice says.
    pub fn notice(&self) -> Result<Notice, EnvelopeError> {
        always!(self.bytes.len() >= HEADER_BYTES + SIGNATURE_BYTES);
        let malformed = EnvelopeError::Malformed("no notice in it");
        let body = self
            .bytes
            .get(HEADER_BYTES..self.bytes.len().saturating_sub(SIGNATURE_BYTES));
        let notice: Notice =
            codec::decode("notice", body.unwrap_or_default()).map_err(|_| malformed.clone())?;
        let whole = self.kind == EnvelopeKind::Notice && SpaceId::of(&notice.area) == self.space;
        if whole { Ok(notice) } else { Err(malformed) }
    }

    /// Whether this author may have written it, as its certificate says; whether it did is for the
    /// signature to tell.
    pub fn allowed_to(&self, author: &VerifiedChain) -> Result<bool, EnvelopeError> {
        let may = match self.kind {
            EnvelopeKind::Changes => author.may_write_in(self.space),
            EnvelopeKind::Notice => self.notice()?.allowed(author),
        };
        Ok(may && author_key(&author.device) == self.author)
    }

    /// Believes the envelope if `author` is certified to write in its space (or to say what the
    /// notice says) and has signed it.
    pub fn verify(self, author: &VerifiedChain) -> Result<VerifiedEnvelope, EnvelopeError> {
        if !self.allowed_to(author)? {
            return Err(EnvelopeError::NotAWriter);
        }
        let Some((signed, signature)) = self.bytes.split_last_chunk::<SIGNATURE_BYTES>() else {
            return Err(EnvelopeError::Malformed("too short"));
        };
        if !keys::verify(&author.device, DOMAIN, signed, signature) {
            return Err(EnvelopeError::Signature);
        }
        always!(
            self.id.as_bytes() == blake3::hash(&self.bytes).as_bytes(),
            "what is believed is what is named"
        );
        Ok(VerifiedEnvelope(self))
    }
}

impl VerifiedEnvelope {
    /// Opens the envelope with the key of its space.
    pub fn open(&self, key: &SpaceKey) -> Result<Contents, EnvelopeError> {
        if key.epoch_tag() != self.epoch_tag
            || key.space() != self.space
            || self.kind != EnvelopeKind::Changes
        {
            return Err(EnvelopeError::Sealed("another key's"));
        }
        let bytes = &self.0.bytes;
        let (Some(header), Some(nonce), Some(sealed)) = (
            bytes.get(..HEADER_BYTES),
            bytes
                .get(44..68)
                .and_then(|n| <&[u8; 24]>::try_from(n).ok()),
            bytes.get(HEADER_BYTES..bytes.len().saturating_sub(SIGNATURE_BYTES)),
        ) else {
            return Err(EnvelopeError::Malformed("too short"));
        };
        let cipher = XChaCha20Poly1305::new(key.bytes().into());
        let packed = cipher
            .decrypt(
                nonce.into(),
                Payload {
                    msg: sealed,
                    aad: header,
                },
            )
            .map_err(|_| EnvelopeError::Sealed("changed on the way"))?;
        let plain = zstd::bulk::decompress(&packed, ENVELOPE_PLAIN_BYTES_MAX)
            .map_err(|_| EnvelopeError::Sealed("it does not unpack within its limit"))?;
        always!(plain.len() <= ENVELOPE_PLAIN_BYTES_MAX);
        let contents: Contents = codec::decode("changes", &plain)
            .map_err(|_| EnvelopeError::Sealed("no changes in it"))?;
        if key.case_tag(&contents.case) != self.case_tag {
            return Err(EnvelopeError::Sealed("its tag belongs to another case"));
        }
        Ok(contents)
    }
}
