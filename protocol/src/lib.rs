//! The words and bytes every phone shares: ids, digests, signatures, certificates, frames, limits
//! and time as a value.
//!
//! What it is not: there is no clock here, no source of randomness, no file and no socket.
//! Everything that this room needs of the world is an argument.
//!
//! Flow: bytes from a peer → [`frame::FrameReader`] → [`frame::Frame`] → `Signed<T>` →
//! (verification) → [`signed::Verified`]. Only the last is ever treated as a fact.

// What no input may bring about: see also `clippy.toml`.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::todo,
        clippy::unimplemented,
        clippy::indexing_slicing,
        clippy::wildcard_enum_match_arm
    )
)]

pub mod area;
pub mod certificate;
pub mod codec;
pub mod defence;
pub mod frame;
pub mod ids;
pub mod invariant;
pub mod keys;
pub mod limits;
pub mod scan;
pub mod signed;
pub mod time;

pub use area::Area;
pub use certificate::{Certificate, CertificateError, Chain, Right, Rights, VerifiedChain};
pub use defence::Defence;
pub use frame::{Frame, FrameReader};
pub use ids::{
    BundleId, BundleKind, CaseId, CaseTag, ChainId, DeviceId, Digest, EnvelopeId, SpaceId,
};
pub use invariant::{Broken, Invariant};
pub use keys::DeviceKeys;
pub use signed::{Role, Signed, Verified};
pub use time::{Deadline, Now};
