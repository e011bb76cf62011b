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
    /// It names a file that is none of its documents.
    #[error("it names {0:?} as a document")]
    Elsewhere(String),
}

/// Reads the index of a mirror, which anybody may have written.
pub fn read_index(bytes: &[u8]) -> Result<Index, IndexError> {
    let index: Index = serde_json::from_slice(bytes).map_err(IndexError::Malformed)?;
    if index.schema != SCHEMA || index.documents.len() > DOCUMENTS_MAX {
        return Err(IndexError::Foreign(index.schema));
    }
    // Whoever wrote it must not have a phone read what lies elsewhere on its disk.
    let plain = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let within = |file: &str| file.strip_prefix("documents/").is_some_and(plain);
    match index.documents.iter().find(|d| !within(&d.file)) {
        Some(elsewhere) => Err(IndexError::Elsewhere(elsewhere.file.clone())),
        None => Ok(index),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_names_only_what_lies_beside_it() {
        let naming = |file: &str| {
            let index = Index {
                schema: SCHEMA.into(),
                documents: vec![Document {
                    kind: "root".into(),
                    file: file.into(),
                }],
                bundles: Vec::new(),
            };
            read_index(&serde_json::to_vec(&index).unwrap())
        };
        assert!(naming("documents/0-root-1a2b3c4d").is_ok());
        for file in [
            "/etc/passwd",
            "../../phone/key",
            "documents/../../key",
            "documents/a/b",
            "bundles/x",
            "",
        ] {
            let refused = naming(file);
            assert!(matches!(refused, Err(IndexError::Elsewhere(_))), "{file}");
        }
    }
}
