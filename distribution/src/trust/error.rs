//! Why a document is refused, in words for people.

use std::borrow::Cow;

use protocol::codec::CodecError;
use protocol::signed::SignatureError;
use serde::{Deserialize, Serialize};

/// Why a root, a list or a notice is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum TrustError {
    /// Not a document of this kind.
    #[error("not a valid document: {0}")]
    Malformed(#[from] CodecError),
    /// Rules 1 and 3.
    #[error("root {version} is not signed by the ministry: {reason}")]
    RootSignature {
        /// The version it claims.
        version: u64,
        /// What the signature check said.
        reason: SignatureError,
    },
    /// Rule 2.
    #[error("root {offered} does not follow root {held}")]
    RootVersion {
        /// The version held.
        held: u64,
        /// The version offered.
        offered: u64,
    },
    /// Rule 4.
    #[error("the {what} is not signed as the ministry demands: {reason}")]
    Signature {
        /// The kind of document.
        what: Cow<'static, str>,
        /// What the signature check said.
        reason: SignatureError,
    },
    /// Rule 4, when the root names no keys for this kind.
    #[error("this ministry's root names no keys for a {0}")]
    NoRole(Cow<'static, str>),
    /// Rule 4: signed under a root that this phone has not walked to.
    #[error(
        "the {what} was signed under root {named}, and this phone holds root {held}: the roots between come first"
    )]
    RootFirst {
        /// The kind of document.
        what: Cow<'static, str>,
        /// The root it names.
        named: u64,
        /// The root held.
        held: u64,
    },
    /// Rule 5.
    #[error("{what} {offered} is older than {what} {held} that this phone holds (rollback)")]
    Rollback {
        /// The kind of document.
        what: Cow<'static, str>,
        /// The version held.
        held: u64,
        /// The version offered.
        offered: u64,
    },
    /// Rule 6.
    #[error("two different {what}s carry version {version}")]
    Fork {
        /// The kind of document.
        what: Cow<'static, str>,
        /// The version of both.
        version: u64,
    },
    /// Rule 7.
    #[error("list {list} takes {module} back from version {held} to {offered}")]
    ReleaseRollback {
        /// The list's version.
        list: u64,
        /// The module.
        module: String,
        /// The version held.
        held: u64,
        /// The version offered.
        offered: u64,
    },
    /// Rule 7: something that was in the list is gone without a word.
    #[error("list {list} leaves out {module} without saying that it is withdrawn")]
    ReleaseVanished {
        /// The list's version.
        list: u64,
        /// The module.
        module: String,
    },
    /// Rule 8.
    #[error(
        "the {what} was signed under root {named}; the keys of that time were retired in root {retired}"
    )]
    RetiredKeys {
        /// The kind of document.
        what: Cow<'static, str>,
        /// The root it names.
        named: u64,
        /// The root that retired them.
        retired: u64,
    },
    /// Rule 9.
    #[error("{what} {version} takes back what version {held} said; it may only add")]
    TakenBack {
        /// The kind of document.
        what: Cow<'static, str>,
        /// The version offered.
        version: u64,
        /// The version held.
        held: u64,
    },
    /// Rule 10.
    #[error("the beacon of {time_s} names an older {what} than an earlier beacon did")]
    BeaconBack {
        /// The beacon's time.
        time_s: u64,
        /// List or recall.
        what: Cow<'static, str>,
    },
    /// Rule 11.
    #[error("the ministry's list delegates nothing to {0:?}")]
    NoDelegation(String),
    /// Rule 11.
    #[error("{delegation:?} may not release {module} for {area}")]
    OutsideDelegation {
        /// The delegation's name.
        delegation: String,
        /// The module.
        module: String,
        /// The area, in words.
        area: String,
    },
}

impl TrustError {
    /// Whether no honest phone would have offered this. The other refusals can follow from a slip
    /// of the ministry's, or from what the two phones have yet to learn: they must not keep cases
    /// from travelling.
    pub fn is_hostile(&self) -> bool {
        match self {
            Self::Malformed(_)
            | Self::RootSignature { .. }
            | Self::RootVersion { .. }
            | Self::Signature { .. }
            | Self::Rollback { .. }
            | Self::Fork { .. } => true,
            Self::NoRole(_)
            | Self::RootFirst { .. }
            | Self::ReleaseRollback { .. }
            | Self::ReleaseVanished { .. }
            | Self::RetiredKeys { .. }
            | Self::TakenBack { .. }
            | Self::BeaconBack { .. }
            | Self::NoDelegation(_)
            | Self::OutsideDelegation { .. } => false,
        }
    }
}
