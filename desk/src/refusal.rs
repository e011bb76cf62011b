//! Why a desk does not do what was asked: codes with values.

use std::path::PathBuf;

use distribution::ModuleKind;
use distribution::trust::TrustError;
use keyfile::KeyFileError;
use protocol::codec::CodecError;
use protocol::signed::SignatureError;
use protocol::{Area, CertificateError, DeviceId, Digest};

/// Why not. `Debug` is for logs; people read what the program that shows it makes of it.
#[derive(Debug)]
pub enum Refusal {
    /// A file cannot be read.
    Unreadable(PathBuf, std::io::Error),
    /// A file cannot be written.
    Unwritable(PathBuf, std::io::Error),
    /// A file is there already, and is not written over.
    Exists(PathBuf),
    /// A file is another kind of file, or damaged: the schema that was expected, and why not.
    NotSuchAFile(PathBuf, &'static str, String),
    /// A file is longer than any of its schema.
    TooLong(PathBuf, &'static str),
    /// Codes that were scanned do not make a file.
    NotScanned(PathBuf, protocol::scan::ScanError),
    /// Hexadecimal text or a document is damaged: which, and how.
    Damaged(&'static str, Option<CodecError>),
    /// A draft that holds no document of its kind.
    DraftDamaged(TrustError),
    /// A document would not be valid: its kind, and why.
    Invalid(&'static str, CodecError),
    /// No area.
    NotAnArea(protocol::area::AreaError),
    /// No rights.
    NotRights(String),
    /// Nothing is trusted yet.
    NoMinistry,
    /// What is trusted cannot be restored, or is not this ministry's.
    Trust(TrustError),
    /// The root names no keys.
    EmptyRoot,
    /// The root names no keys for documents of a kind.
    NoKeysFor(String),
    /// Keys that cannot be a role.
    NotARole(CodecError),
    /// So many of so many keys cannot sign.
    ThresholdImpossible(u32, usize),
    /// A draft of another kind than a root.
    NotARoot(String),
    /// A root that is not the first, by its version.
    NotTheFirst(u64),
    /// A root that not enough of its keys have signed.
    RootUnfinished(TrustError),
    /// A root whose name cannot be.
    RootRefused(TrustError),
    /// The list delegates nothing to this name.
    NotDelegated(String),
    /// A delegated release without its lineage.
    NoLineage,
    /// A delegation that does not cover a module in an area.
    NotCovered(String, String, ModuleKind, Area),
    /// A module that is of a kind already, and would become another.
    OtherKind(String, ModuleKind, ModuleKind),
    /// Only an adapter stands beside a base.
    NoAdapter(String, ModuleKind),
    /// A module at a version already.
    VersionHeld(String, u64),
    /// A module for an area in a language is not listed.
    NotListed(String, Area, String),
    /// A delta cannot be made.
    NoDelta(std::io::Error),
    /// The root names no recall keys.
    NoRecallKeys,
    /// Recalled already.
    Recalled(Digest),
    /// Revoked already.
    Revoked(DeviceId),
    /// Changed after this key had signed it.
    ChangedSince(DeviceId),
    /// A key of no role that signs documents of this kind.
    NotOfTheRole(DeviceId, String),
    /// No rule pack: which file, and why.
    NotAPack(String, String),
    /// Signed by this key already.
    SignedAlready(DeviceId),
    /// A token's program failed: which, and how.
    Token(String, String),
    /// A folder holds keys already.
    KeysThere(PathBuf),
    /// A key file cannot be read.
    KeyUnreadable(PathBuf, std::io::Error),
    /// A key file does not open.
    KeyFile(PathBuf, KeyFileError),
    /// No key in a folder may enrol under this root.
    NoEnrolmentKey(PathBuf),
    /// Nobody gave a passphrase.
    NoPassphrase(String),
    /// A passphrase of less than 8 characters.
    PassphraseShort,
    /// The two passphrases differ.
    PassphrasesDiffer,
    /// No randomness.
    NoRandomness(String),
    /// A request that its device has not signed.
    RequestDamaged(SignatureError),
    /// So many keys have signed of so many that must.
    MoreMustSign(usize, usize),
    /// A draft of another ministry's.
    OtherMinistry,
    /// A certificate that nobody would believe.
    Certificate(CertificateError),
    /// These models cannot be quantized.
    NotQuantized(String),
}
