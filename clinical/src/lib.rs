//! What can be said about a patient: the field catalogue, finding values with *unknown*, urgency,
//! age and level of care.
//!
//! What it is not: no case, no rule and no model. Rule packs, the record, exchange and the screens
//! all *name* what stands here, so that they cannot drift apart (`app/tests/catalogue.rs` compares
//! them).

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

pub mod age;
pub mod assessment;
pub mod calendar;
pub mod care;
pub mod catalogue;
pub mod date;
mod finding;
pub mod plan;
mod urgency;

pub use age::AgeGroup;
pub use assessment::Assessment;
pub use care::Profile;
pub use catalogue::{Field, Kind, Merge, ValueError};
pub use finding::{FindingValue, FindingsError, TEXT};
pub use urgency::Urgency;
