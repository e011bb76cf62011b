//! How phones come to hold the same sealed changes: envelopes, epochs, notices, receipts,
//! reconciliation.
//!
//! What it is not: no clock, no randomness source, no store, and no word about a patient: what is
//! sealed is opaque bytes.
//!
//! Flow: changes of a case → [`envelope::seal`] under the space's key → carried by anyone →
//! [`reconcile`] finds which envelopes the other lacks → [`envelope::Envelope::verify`] under the
//! author's chain → [`envelope::VerifiedEnvelope::open`] by those who hold the key.

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

pub mod archive;
pub mod envelope;
pub mod epoch;
pub mod notice;
pub mod parcel;
pub mod receipt;
pub mod reconcile;
pub mod riblt;
pub mod space;

pub use envelope::{Envelope, EnvelopeError, EnvelopeKind, VerifiedEnvelope};
pub use notice::Notice;
pub use space::{Grant, SpaceKey};
