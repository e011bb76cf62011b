//! What a ministry's desk does: key ceremony, drafts, checks, signing, enrolment, mirrors' layout.
//!
//! What it is not: it prints nothing, asks nothing on a terminal and needs no phone; a phone's binary
//! links nothing of it. Refusals and checks are codes with values, worded by whoever shows them.
//!
//! Flow: [`keys::hold`] or a draft of the first root → [`draft`] makes the next document →
//! [`check::check`] on every desk it passes → [`sign::sign`] until enough keys have → published from
//! any phone or mirror.

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

pub mod check;
pub mod draft;
pub mod enrol;
pub mod files;
pub mod keys;
mod kind;
pub mod mirror;
pub mod pack;
mod refusal;
pub mod requantize;
pub mod sign;

pub use draft::{DAY_S, wall_s};
pub use refusal::Refusal;
