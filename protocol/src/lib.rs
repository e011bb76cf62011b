//! The words and bytes every phone shares: ids, digests, signatures, certificates, frames, limits
//! and time as a value.
//!
//! What it is not: there is no clock here, no source of randomness, no file and no socket.
//! Everything that this room needs of the world is an argument.
//!
//! Flow: bytes from a peer → [`frame::FrameReader`] → [`frame::Frame`] → `Signed<T>` →
//! (verification) → [`signed::Verified`]. Only the last is ever treated as a fact.

pub mod area;
pub mod certificate;
pub mod codec;
pub mod defence;
pub mod frame;
pub mod ids;
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
pub use keys::DeviceKeys;
pub use signed::{Role, Signed, Verified};
pub use time::{Deadline, Now};
