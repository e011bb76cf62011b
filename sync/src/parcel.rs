//! Parcels: files in which sealed cases and the ministry's documents travel by card, by folder, or as
//! an attachment of any app. To whoever has not the ministry's discovery key
//! ([`protocol::frame::discovery_key`] says who has it) a parcel tells nothing but that it is one; what
//! envelopes hold, only their readers open.
//!
//! ```text
//! offset bytes
//!      0     8  "kijitiP1"
//!      8    16  name: keyed hash of the head; the file is called after it (32 hexadecimal digits and
//!               `.kijiti`), so that the same things carried twice are the same file
//!     24        records, each: length u32 little-endian, then XChaCha20-Poly1305 of its bytes under a
//!               key that follows from the ministry's discovery key; nonce: name, record number u64
//!               little-endian. Record 0 is the head, the index of those that follow: CBOR, for each
//!               what it is, its BLAKE3 digest and its bytes.
//! ```
//! The name follows from all that is in a parcel, so one nonce never seals two things. Each record
//! stands alone: of a parcel that was cut or damaged, what is right is still read.

use blake3::Hash;
use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead, KeyInit};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use protocol::limits::{PARCEL_BYTES_MAX, PARCEL_ITEMS_MAX, SIGNED_BYTES_MAX};
use protocol::{Digest, always, codec};

const FIRST: &[u8; 8] = b"kijitiP1";
/// How a parcel of any version begins.
pub const MAGIC: &[u8] = b"kijitiP";
const NAME_BYTES: usize = 16;
const TAG_BYTES: usize = 16;
/// What follows the name of a parcel's file.
pub const SUFFIX: &str = ".kijiti";

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum ItemKind {
    /// A document of the ministry's ([`Document`]).
    #[n(0)]
    Document,
    /// Certificates of an author.
    #[n(1)]
    Chain,
    /// An envelope.
    #[n(2)]
    Envelope,
    /// A receipt of a phone, with its certificates.
    #[n(3)]
    Receipt,
}

/// A line of the index.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Item {
    /// What it is.
    #[n(0)]
    pub kind: ItemKind,
    /// The digest of its bytes; an envelope's id.
    #[n(1)]
    pub id: Digest,
    /// Its bytes.
    #[n(2)]
    pub bytes: u32,
}

/// A document of the ministry's, of the kind by which phones offer it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Document {
    /// `root`, `release-list` …
    #[n(0)]
    pub kind: String,
    /// As it was signed.
    #[n(1)]
    pub signed: ByteVec,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Head {
    #[n(0)]
    items: Vec<Item>,
}

/// Why a file is no parcel that can be read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParcelError {
    /// It does not begin as one.
    #[error("not a parcel")]
    NotAParcel,
    /// A later form than this program knows.
    #[error("a parcel of a later version")]
    Later,
    /// Another ministry's, or its index is damaged.
    #[error("another ministry's, or damaged at its beginning")]
    Unopened,
    /// Cut before the end of its index.
    #[error("cut short")]
    Cut,
    /// Longer than any parcel.
    #[error("too long")]
    TooLong,
}

fn parcel_key(discovery: &[u8; 32]) -> [u8; 32] {
    blake3::derive_key("kijiti 2026-11 parcel", discovery)
}

fn name_of(key: &[u8; 32], head: &[u8]) -> [u8; NAME_BYTES] {
    let hash: Hash = blake3::keyed_hash(key, head);
    let mut name = [0; NAME_BYTES];
    (name.iter_mut().zip(hash.as_bytes())).for_each(|(byte, of)| *byte = *of);
    name
}

fn nonce(name: &[u8; NAME_BYTES], number: u64) -> [u8; 24] {
    let mut nonce = [0; 24];
    let said = name.iter().copied().chain(number.to_le_bytes());
    (nonce.iter_mut().zip(said)).for_each(|(byte, of)| *byte = of);
    nonce
}

/// The name of a file for these items.
fn file_name(name: &[u8; NAME_BYTES]) -> String {
    let digits: String = name.iter().map(|b| format!("{b:02x}")).collect();
    format!("{digits}{SUFFIX}")
}

/// Seals items for the phones of a ministry: the file's name and its bytes. `None`: they are more
/// than a parcel holds.
pub fn write(discovery: &[u8; 32], items: &[(ItemKind, Vec<u8>)]) -> Option<(String, Vec<u8>)> {
    let key = parcel_key(discovery);
    let line = |(kind, bytes): &(ItemKind, Vec<u8>)| Item {
        kind: *kind,
        id: Digest::of(bytes),
        bytes: bytes.len() as u32,
    };
    let head = codec::encode(&Head {
        items: items.iter().map(line).collect(),
    });
    let name = name_of(&key, &head);
    let cipher = XChaCha20Poly1305::new(&key.into());
    let mut file = FIRST.to_vec();
    file.extend(name);
    let records = std::iter::once(&head).chain(items.iter().map(|(_, bytes)| bytes));
    for (number, record) in records.enumerate() {
        let sealed = cipher.encrypt(&nonce(&name, number as u64).into(), record.as_slice());
        let sealed = sealed.ok()?;
        file.extend((sealed.len() as u32).to_le_bytes());
        file.extend(sealed);
    }
    let fits = items.len() <= PARCEL_ITEMS_MAX && file.len() as u64 <= PARCEL_BYTES_MAX;
    always!(
        !fits || open(discovery, &file).is_ok(),
        "what is written can be read"
    );
    fits.then(|| (file_name(&name), file))
}

/// A parcel whose index has been read.
pub struct Parcel<'a> {
    /// What it says to hold, in the order in which it was put in.
    pub items: Vec<Item>,
    cipher: XChaCha20Poly1305,
    name: [u8; NAME_BYTES],
    /// Where records after the head begin.
    at: usize,
    file: &'a [u8],
}

/// Opens a parcel: reads its index.
///
/// # Errors
/// Why it cannot be read here.
pub fn open<'a>(discovery: &[u8; 32], file: &'a [u8]) -> Result<Parcel<'a>, ParcelError> {
    if file.len() as u64 > PARCEL_BYTES_MAX {
        return Err(ParcelError::TooLong);
    }
    let (magic, rest) = file
        .split_first_chunk::<8>()
        .ok_or(ParcelError::NotAParcel)?;
    match magic {
        FIRST => {}
        later if later.starts_with(MAGIC) => return Err(ParcelError::Later),
        _ => return Err(ParcelError::NotAParcel),
    }
    let (name, _) = rest
        .split_first_chunk::<NAME_BYTES>()
        .ok_or(ParcelError::Cut)?;
    let key = parcel_key(discovery);
    let cipher = XChaCha20Poly1305::new(&key.into());
    let at = FIRST.len() + NAME_BYTES;
    let (sealed, at) = record(file, at).ok_or(ParcelError::Cut)?;
    let head = cipher.decrypt(&nonce(name, 0).into(), sealed);
    let head = head.map_err(|_| ParcelError::Unopened)?;
    let read: Result<Head, _> = codec::decode("parcel", &head);
    let items = read.map_err(|_| ParcelError::Unopened)?.items;
    if items.len() > PARCEL_ITEMS_MAX {
        return Err(ParcelError::TooLong);
    }
    Ok(Parcel {
        items,
        cipher,
        name: *name,
        at,
        file,
    })
}

/// A record at an offset, and where the next one begins.
fn record(file: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let length = file.get(at..)?.first_chunk::<4>()?;
    let from = at.checked_add(4)?;
    let to = from.checked_add(u32::from_le_bytes(*length) as usize)?;
    Some((file.get(from..to)?, to))
}

impl Parcel<'_> {
    /// The name that its file should have.
    pub fn file_name(&self) -> String {
        file_name(&self.name)
    }

    /// Goes through the items: those that `wants` asks for are opened and given to `with`, `None`
    /// for one that is not what the index says (damaged, or cut off).
    pub fn read(
        &self,
        mut wants: impl FnMut(&Item) -> bool,
        mut with: impl FnMut(&Item, Option<Vec<u8>>),
    ) {
        let mut at = Some(self.at);
        for (number, item) in (1..).zip(&self.items) {
            // Where a record begins follows from the index, so that no damaged length misleads.
            let from = at;
            let sealed_bytes = (item.bytes as usize).checked_add(TAG_BYTES);
            at = from
                .zip(sealed_bytes)
                .and_then(|(from, bytes)| from.checked_add(4)?.checked_add(bytes));
            if !wants(item) {
                continue;
            }
            let sealed = from
                .zip(at)
                .and_then(|(from, to)| self.file.get(from.checked_add(4)?..to));
            let opened = sealed.and_then(|sealed| {
                let nonce = nonce(&self.name, number);
                self.cipher.decrypt(&nonce.into(), sealed).ok()
            });
            with(item, opened.filter(|bytes| Digest::of(bytes) == item.id));
        }
    }

    /// Whether all of it is there and right.
    pub fn is_whole(&self) -> bool {
        let mut whole = true;
        self.read(|_| true, |_, opened| whole &= opened.is_some());
        whole
    }
}

/// A document as an item.
pub fn document(kind: &str, signed: &[u8]) -> Vec<u8> {
    codec::encode(&Document {
        kind: kind.to_owned(),
        signed: signed.to_vec().into(),
    })
}

/// A document from an item.
pub fn read_document(bytes: &[u8]) -> Option<Document> {
    let read: Result<Document, _> = codec::decode("document", bytes);
    read.ok()
        .filter(|document| document.signed.len() <= SIGNED_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OURS: [u8; 32] = [7; 32];

    fn items() -> Vec<(ItemKind, Vec<u8>)> {
        vec![
            (ItemKind::Document, document("root", b"signed")),
            (ItemKind::Chain, vec![1; 300]),
            (ItemKind::Envelope, b"the envelope's words".to_vec()),
            (ItemKind::Envelope, Vec::new()),
        ]
    }

    fn read_all(file: &[u8]) -> Vec<Option<Vec<u8>>> {
        let mut all = Vec::new();
        let parcel = open(&OURS, file).unwrap();
        parcel.read(|_| true, |_, opened| all.push(opened));
        all
    }

    #[test]
    fn a_parcel_is_read_by_its_ministry_alone_and_tells_others_nothing() {
        let (name, file) = write(&OURS, &items()).unwrap();
        assert!(name.len() == 2 * NAME_BYTES + SUFFIX.len() && name.ends_with(SUFFIX));
        let parcel = open(&OURS, &file).unwrap();
        assert!(parcel.is_whole());
        assert_eq!(parcel.file_name(), name);
        let said: Vec<_> = items().into_iter().map(|(_, bytes)| Some(bytes)).collect();
        assert_eq!(read_all(&file), said);
        assert_eq!(
            open(&[8; 32], &file).err(),
            Some(ParcelError::Unopened),
            "another ministry's phones"
        );
        for word in ["root", "signed", "words"] {
            assert!(!file.windows(word.len()).any(|w| w == word.as_bytes()));
        }
        let again = write(&OURS, &items()).unwrap();
        assert_eq!(again, (name, file), "the same things are the same file");
    }

    #[test]
    fn of_a_parcel_that_was_cut_or_damaged_what_is_right_is_read() {
        let (_, file) = write(&OURS, &items()).unwrap();
        for cut in 0..file.len() {
            let head = open(&OURS, &file[..cut]);
            let Ok(parcel) = head else { continue };
            assert!(!parcel.is_whole(), "cut at {cut}");
            let whole = read_all(&file[..cut]);
            let first_lost = whole.iter().position(Option::is_none).unwrap();
            assert!(whole[first_lost..].iter().all(Option::is_none));
        }
        let mut damaged = file.clone();
        let last = damaged.len() - 30; // within the third item
        damaged[last] ^= 1;
        let read = read_all(&damaged);
        assert_eq!(read.iter().filter(|item| item.is_none()).count(), 1);
        assert_eq!(
            open(&OURS, b"kijitiP2 and so on").err(),
            Some(ParcelError::Later)
        );
        assert_eq!(
            open(&OURS, b"holiday.jpg").err(),
            Some(ParcelError::NotAParcel)
        );
    }

    proptest! {
        #[test]
        fn no_bytes_bring_it_down(mut at in 0_usize..400, bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let (_, mut file) = write(&OURS, &items()).unwrap();
            for byte in bytes {
                at = (at + 1) % file.len();
                file[at] = byte;
            }
            if let Ok(parcel) = open(&OURS, &file) {
                parcel.read(|_| true, |item, opened| {
                    assert!(opened.is_none_or(|bytes| Digest::of(&bytes) == item.id));
                });
            }
        }
    }
}
