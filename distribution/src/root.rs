//! The ministry's root: which keys speak for it, and how many of them must agree (TUF's root role,
//! specification 1.0.34, §2.1.1).

use minicbor::{Decode, Encode};
use protocol::DeviceId;
use protocol::codec::{self, CodecError};
use protocol::limits::{DISTRUSTED_MAX, SIGNATURES_MAX, SIGNED_BYTES_MAX};
use protocol::signed::{Document, Role};

const _: () = assert!(
    (DISTRUSTED_MAX + 5 * SIGNATURES_MAX) * 36 <= SIGNED_BYTES_MAX,
    "five full roles and all distrusted keys fit a root"
);

/// The keys and thresholds of every role. Version `n + 1` is signed by the root roles of versions
/// `n` and `n + 1`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Root {
    /// The ministry's name, for people.
    #[n(0)]
    pub ministry: String,
    /// Counts up by one with every new root.
    #[n(1)]
    pub version: u64,
    /// Seconds since 1970 by the signer's clock.
    #[n(2)]
    pub issued_s: u64,
    /// May sign the next root.
    #[n(3)]
    pub root: Role,
    /// May sign release lists.
    #[n(4)]
    pub releases: Role,
    /// May sign device certificates.
    #[n(5)]
    pub enrolment: Role,
    /// May withdraw releases that are out, and nothing else; few of its keys must sign, so that it
    /// is quick.
    #[n(6)]
    pub recall: Option<Role>,
    /// The online key that says every day what is newest.
    #[n(7)]
    pub beacon: Option<Role>,
    /// Seconds since 1970 after which a newer root should be sought; phones warn and go on.
    #[n(8)]
    pub expires_s: Option<u64>,
    /// X25519 key to which phones seal their receipts; absent: this ministry asks for none.
    #[cbor(n(9), with = "minicbor::bytes")]
    pub receipts: Option<[u8; 32]>,
    /// Enrolment keys that have been stolen: what they signed counts no more, whenever they did. A
    /// key that only leaves its role is not among them: what it certified holds until it expires or
    /// is certified anew.
    #[cbor(n(10), default, skip_if = "Vec::is_empty")]
    pub distrusted: Vec<DeviceId>,
}

impl Document for Root {
    const DOMAIN: &'static str = "root";

    fn check(&self) -> Result<(), CodecError> {
        codec::check_name("ministry", &self.ministry)?;
        if self.version == 0 {
            return Err(CodecError::malformed("root", "version 0"));
        }
        if self.distrusted.len() > DISTRUSTED_MAX {
            return Err(CodecError::malformed(
                "root",
                "more distrusted keys than a root may name",
            ));
        }
        let roles = [&self.root, &self.releases, &self.enrolment];
        roles
            .into_iter()
            .chain(&self.recall)
            .chain(&self.beacon)
            .try_for_each(Role::check)
    }
}
