//! A case: entries, merge, conflicts, view, photo, exchange. Automerge lives here and nowhere else.
//!
//! What it is not: no clock, no randomness source, no store; nothing of envelopes or phones that
//! meet. Documents and changes come in and go out as bytes.
//!
//! Flow: an [`Entry`] → [`Case::add`] → signed Automerge changes, which others carry sealed →
//! [`Case::apply`] on a copy, behind a net → [`Case::view`], folded by the merge policies of the
//! field catalogue ([`clinical::catalogue`]).

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

mod case;
mod entry;
pub mod exchange;
mod likeness;
pub mod photo;
mod view;

pub use case::{Case, CaseError, sign};
pub use clinical::catalogue::clip;
pub use entry::{AssessmentEntry, DecisionEntry, DoseEntry, Entry, PhotoEntry, Stamp};
pub use likeness::{Identity, Number, identity, likeness};
pub use view::{CaseView, Dose, FindingState, IMPORTED};
