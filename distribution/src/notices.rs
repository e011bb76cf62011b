//! The small signed statements that travel before everything else: recalls, revocations and the
//! daily beacon.

use minicbor::{Decode, Encode};
use protocol::codec::{self, CodecError};
use protocol::limits::{RECALLS_MAX, REVOCATIONS_MAX, SIGNED_BYTES_MAX};
use protocol::signed::Document;
use protocol::{DeviceId, Digest};

// A name of 32 bytes, what CBOR puts around it, and a word why.
const _: () = assert!(RECALLS_MAX * 48 <= SIGNED_BYTES_MAX, "a full recall fits");
const _: () = assert!(REVOCATIONS_MAX * 48 <= SIGNED_BYTES_MAX, "a full list fits");

/// Every bundle that must not run any more. A newer one only adds.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Recall {
    /// Counts up.
    #[n(0)]
    pub version: u64,
    /// The root under which it was signed.
    #[n(1)]
    pub root: u64,
    /// Seconds since 1970 by the signer's clock.
    #[n(2)]
    pub issued_s: u64,
    /// The bundles, and why.
    #[n(3)]
    pub recalled: Vec<Recalled>,
}

/// One bundle that must not run.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Recalled {
    /// The bundle.
    #[n(0)]
    pub digest: Digest,
    /// Why, for the worker who reads it.
    #[n(1)]
    pub reason: String,
}

impl Document for Recall {
    const DOMAIN: &'static str = "recall";

    fn check(&self) -> Result<(), CodecError> {
        if self.version == 0 || self.recalled.len() > RECALLS_MAX {
            return Err(CodecError::malformed("recall", "version 0, or too many"));
        }
        self.recalled
            .iter()
            .try_for_each(|r| codec::check_name("reason", &r.reason))
    }
}

/// Every device whose certificates do not hold any more. A newer one only adds.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Revocations {
    /// Counts up.
    #[n(0)]
    pub version: u64,
    /// The root under which it was signed.
    #[n(1)]
    pub root: u64,
    /// Seconds since 1970 by the signer's clock.
    #[n(2)]
    pub issued_s: u64,
    /// The devices.
    #[n(3)]
    pub revoked: Vec<Revoked>,
}

/// One device that is not believed any more, with all that it certified.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Revoked {
    /// The device.
    #[n(0)]
    pub device: DeviceId,
    /// Why, for people: `lost`, `stolen`, `left the service`.
    #[n(1)]
    pub reason: String,
}

impl Document for Revocations {
    const DOMAIN: &'static str = "revocations";

    fn check(&self) -> Result<(), CodecError> {
        if self.version == 0 || self.revoked.len() > REVOCATIONS_MAX {
            return Err(CodecError::malformed(
                "revocations",
                "version 0, or too many",
            ));
        }
        self.revoked
            .iter()
            .try_for_each(|r| codec::check_name("reason", &r.reason))
    }
}

/// "At this time, this is the newest." Signed daily by an online key of the ministry (TUF's
/// timestamp role), carried by couriers. It lets a phone see that it is behind, and gives it a time
/// without a clock.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Beacon {
    /// Seconds since 1970.
    #[n(0)]
    pub time_s: u64,
    /// The newest root.
    #[n(1)]
    pub root: u64,
    /// The newest list.
    #[n(2)]
    pub list: u64,
    /// The newest recall; 0 for none.
    #[n(3)]
    pub recall: u64,
}

impl Document for Beacon {
    const DOMAIN: &'static str = "beacon";
}
