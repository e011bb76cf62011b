//! What was carried by a folder, a card or an attachment.

use std::path::Path;

use protocol::CaseId;
use serde::{Deserialize, Serialize};
use sync::parcel::ParcelError;

/// Why a file was passed over, in whole or in part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Something else.
    NotAParcel,
    /// Of a later form than this program knows.
    Later,
    /// Another ministry's, or damaged where it begins.
    Unopened,
    /// Cut short: its card was pulled out, or its download ended early.
    Cut,
    /// Longer than any parcel.
    TooLong,
    /// More files than are looked at.
    TooMany,
    /// Something else lies where it should be.
    InTheWay,
    /// So many of its parts are damaged or cut off; the others were read.
    Damaged(u64),
    /// The machine does not read it.
    Unreadable(String),
    /// A release or photo that is not what its name says.
    NotWhatItSays,
    /// Longer than FAT32 holds.
    TooLongForCard,
}

impl From<ParcelError> for Why {
    fn from(error: ParcelError) -> Self {
        match error {
            ParcelError::NotAParcel => Self::NotAParcel,
            ParcelError::Later => Self::Later,
            ParcelError::Unopened => Self::Unopened,
            ParcelError::Cut => Self::Cut,
            ParcelError::TooLong => Self::TooLong,
        }
    }
}

/// A file that was passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedOver {
    /// Its name.
    pub file: String,
    /// Why.
    pub why: Why,
}

impl PassedOver {
    /// A file.
    pub fn of(path: &Path, why: Why) -> Self {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        Self {
            file: file.into_owned(),
            why,
        }
    }
}

/// What was given to a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.carry-out/1")]
pub struct CarriedOut {
    /// Envelopes that were new there.
    pub envelopes: u64,
    /// Envelopes of this phone's that were there already.
    pub there: u64,
    /// Files that hold them.
    pub parcels: u64,
    /// Sealed photos that were new there.
    pub photos: u64,
    /// Releases and deltas that were new there.
    pub bundles: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Changes of cases that wait here, for a key or for consent, and were not given.
    pub waiting: usize,
    /// Files that were passed over.
    pub passed_over: Vec<PassedOver>,
}

/// What was taken from a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "schema", rename = "kijiti.carry-in/2")]
pub struct CarriedIn {
    /// Files of sealed cases that were read.
    pub parcels: u64,
    /// Envelopes that were new here.
    pub envelopes: u64,
    /// Cases that this phone reads and that were new here or have changed.
    pub cases: Vec<CaseId>,
    /// Envelopes, certificates and receipts there that are nothing for this phone.
    pub not_for_us: u64,
    /// The ministry's documents that were new here.
    pub documents: u64,
    /// Sealed photos that were new here.
    pub photos: u64,
    /// Releases and deltas that were new here.
    pub bundles: u64,
    /// Files that were passed over.
    pub passed_over: Vec<PassedOver>,
}
