//! The layout of a mirror: static files in a folder, on an SD card, on a web server, or in an
//! S3-compatible store. A mirror is as untrusted as any courier: documents pass the phone's rules,
//! bundles their digests.
//!
//! ```text
//! kijiti/index.json               what there is, written last
//! kijiti/documents/<n>-<kind>     the ministry's documents, roots first
//! kijiti/bundles/<digest>         whole bundles, releases and deltas
//! ```

use serde::{Deserialize, Serialize};

/// What an index says of itself.
pub const SCHEMA: &str = "kijiti.mirror/1";
/// Bytes of an index.
pub const INDEX_BYTES_MAX: u64 = 1 << 20;
/// Documents named in an index.
pub const DOCUMENTS_MAX: usize = 2048;

/// What a mirror says that it holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Index {
    /// [`SCHEMA`].
    pub schema: String,
    /// The ministry's documents, roots first.
    pub documents: Vec<Document>,
    /// Digests of whole bundles.
    pub bundles: Vec<String>,
}

/// A document in a mirror.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Document {
    /// Its kind.
    pub kind: String,
    /// Its file, below `kijiti/documents`.
    pub file: String,
}

/// Why an index is none.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// Not JSON of this form.
    #[error("{0}")]
    Malformed(serde_json::Error),
    /// Of another schema, or with more documents than any ministry has.
    #[error("it says {0}")]
    Foreign(String),
}

/// Reads the index of a mirror, which anybody may have written.
pub fn read_index(bytes: &[u8]) -> Result<Index, IndexError> {
    let index: Index = serde_json::from_slice(bytes).map_err(IndexError::Malformed)?;
    if index.schema != SCHEMA || index.documents.len() > DOCUMENTS_MAX {
        return Err(IndexError::Foreign(index.schema));
    }
    Ok(index)
}
