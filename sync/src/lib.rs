//! How phones come to hold the same cases.
//!
//! What it is not: no clock, no dice of its own, no store. Documents and envelopes come in and go out as bytes.
//!
//! Flow: an entry in a [`case::Case`] → its Automerge changes → [`envelope::seal`] under the space's key → carried by
//! anyone → [`reconcile`] finds which envelopes the other lacks → [`envelope::Envelope::verify`] under the author's chain →
//! [`envelope::VerifiedEnvelope::open`] by those who hold the key → [`case::Case::apply`] on a copy, behind a net.

pub mod case;
pub mod envelope;
pub mod epoch;
pub mod exchange;
pub mod notice;
pub mod photo;
pub mod receipt;
pub mod reconcile;
pub mod riblt;
pub mod space;

pub use case::{Case, CaseError, CaseView, Entry, FindingValue, Stamp, Urgency};
pub use envelope::{Envelope, EnvelopeError, EnvelopeKind, VerifiedEnvelope};
pub use notice::Notice;
pub use space::{Grant, SpaceKey};
