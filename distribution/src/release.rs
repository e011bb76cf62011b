//! Releases, and the signed list of all that are current. List and snapshot are one document, so that nothing can be mixed
//! and matched (TUF's targets and snapshot roles in one).

use minicbor::{Decode, Encode};
use protocol::codec::{self, CodecError};
use protocol::limits::{BUNDLE_BYTES_MAX, RELEASES_MAX};
use protocol::signed::Document;
use protocol::{Area, Digest};

/// One release of one module: a bundle of bytes, and for whom it is.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Release {
    /// What it replaces: `triage-model`, `rules-iccm`, a form, a language.
    #[n(0)]
    pub module: String,
    /// Counts up within a module; never back.
    #[n(1)]
    pub version: u64,
    /// BLAKE3 of the whole bundle.
    #[n(2)]
    pub digest: Digest,
    /// Bytes of the bundle.
    #[n(3)]
    pub bytes: u64,
    /// Where it is meant to run.
    #[n(4)]
    pub area: Area,
    /// A BCP 47 tag, or `und` for any language.
    #[n(5)]
    pub language: String,
    /// The oldest engine that can run it.
    #[n(6)]
    pub engine_min: u32,
    /// Words for people about this version.
    #[n(7)]
    pub notes: String,
}

/// Every current release.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ReleaseList {
    /// Counts up with every list; a phone never goes back.
    #[n(0)]
    pub version: u64,
    /// Seconds since 1970 by the signer's clock.
    #[n(1)]
    pub issued_s: u64,
    /// The releases; at most one of each module, area and language.
    #[n(2)]
    pub releases: Vec<Release>,
}

impl Document for ReleaseList {
    const DOMAIN: &'static str = "release-list";

    fn check(&self) -> Result<(), CodecError> {
        if self.version == 0 {
            return Err(CodecError::malformed("release list", "version 0"));
        }
        if self.releases.len() > RELEASES_MAX {
            return Err(CodecError::TooLong { what: "releases", bytes: self.releases.len(), max: RELEASES_MAX });
        }
        self.releases.iter().try_for_each(Release::check)?;
        let mut keys: Vec<_> = self.releases.iter().map(|r| (&r.module, &r.area, &r.language)).collect();
        keys.sort();
        if keys.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
            return Err(CodecError::malformed("release list", "two releases of one module, area and language"));
        }
        Ok(())
    }
}

impl Release {
    fn check(&self) -> Result<(), CodecError> {
        for (what, text) in [("module", &self.module), ("language", &self.language), ("notes", &self.notes)] {
            codec::check_name(what, text)?;
        }
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
        if self.module.is_empty() || !self.module.bytes().all(plain) {
            return Err(CodecError::malformed("module", "write a–z, 0–9, - and ."));
        }
        if self.bytes == 0 || self.bytes > BUNDLE_BYTES_MAX {
            return Err(CodecError::malformed("release", format!("a bundle of {} bytes", self.bytes)));
        }
        Ok(())
    }
}
