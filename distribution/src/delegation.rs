//! Delegations: a university or a district releases a module for an area, as far as the ministry's
//! list lets it.
//!
//! A delegated list is believed only under the delegation in the list that is held *now*, never
//! from a cache: when the ministry changes or ends a delegation, what came through it goes with it.

use minicbor::{Decode, Encode};
use protocol::Area;
use protocol::codec::{self, CodecError};
use protocol::signed::{Document, Role};

use crate::module::ModuleKind;
use crate::release::{self, Release};

/// What someone else may release, written in the ministry's list.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Delegation {
    /// What people call it: `university-of-nairobi`.
    #[n(0)]
    pub name: String,
    /// Whose keys, and how many of them.
    #[n(1)]
    pub role: Role,
    /// The modules, by their exact names.
    #[n(2)]
    pub modules: Vec<String>,
    /// Within this area.
    #[n(3)]
    pub area: Area,
    /// Whether the ministry's release role must sign each of its lists too.
    #[n(4)]
    pub both: bool,
    /// Older lists of it are refused.
    #[n(5)]
    pub version_min: u64,
    /// The kinds of module that they may be; what is of no known kind, which nothing runs, may be
    /// always.
    #[cbor(n(6), default, skip_if = "Vec::is_empty")]
    pub kinds: Vec<ModuleKind>,
}

impl Delegation {
    pub(crate) fn check(&self) -> Result<(), CodecError> {
        codec::check_name("delegation", &self.name)?;
        release::check_module(&self.name)?;
        if self.modules.is_empty() || self.modules.len() > 32 {
            return Err(CodecError::malformed(
                "delegation",
                format!("{} modules", self.modules.len()),
            ));
        }
        if self.kinds.len() > ModuleKind::ALL.len() {
            return Err(CodecError::malformed("delegation", "too many kinds"));
        }
        self.modules
            .iter()
            .try_for_each(|m| release::check_module(m))?;
        self.role.check()
    }

    /// Whether `release` lies within it.
    pub fn covers(&self, release: &Release) -> bool {
        let kind = release.kind == ModuleKind::Other || self.kinds.contains(&release.kind);
        kind && self.modules.contains(&release.module) && self.area.covers(&release.area)
    }
}

/// What a delegation releases.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct DelegatedList {
    /// The delegation's name.
    #[n(0)]
    pub delegation: String,
    /// Counts up.
    #[n(1)]
    pub version: u64,
    /// Seconds since 1970 by the signer's clock.
    #[n(2)]
    pub issued_s: u64,
    /// The releases; each says where it comes from.
    #[n(3)]
    pub releases: Vec<Release>,
}

impl Document for DelegatedList {
    const DOMAIN: &'static str = "delegated-list";

    fn check(&self) -> Result<(), CodecError> {
        codec::check_name("delegation", &self.delegation)?;
        if self.version == 0 {
            return Err(CodecError::malformed("delegated list", "version 0"));
        }
        release::check_releases(&self.releases)?;
        if self.releases.iter().any(|r| r.lineage.is_none()) {
            return Err(CodecError::malformed(
                "delegated list",
                "a release that does not say what it was made from",
            ));
        }
        Ok(())
    }
}
