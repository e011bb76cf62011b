//! Findings in, an assessment out, on a phone that costs 50 dollars.
//!
//! What it is not: it knows nothing of phones, networks, stores or clocks.
//!
//! Flow: [`findings::Findings`] → [`rules::RulePack`] (danger signs and classifications,
//! three-valued) → [`model::TriageModel`] (a differential; may raise urgency) →
//! [`assessment::Assessment`]. The worker decides.

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

pub mod assessment;
pub mod authoring;
pub mod encode;
mod factors;
pub mod findings;
pub mod float;
pub mod floor;
pub mod golden;
mod growth;
pub mod interview;
mod layers;
pub mod logic;
pub mod model;
pub mod packs;
pub mod pictures;
mod plausible;
pub mod rules;
pub mod transformer;
pub mod treatment;
pub mod trial;
pub mod vision;

pub use assessment::{Assessment, assess, assess_without_age};
pub use findings::Findings;
pub use model::{ModelError, TriageModel};
pub use rules::RulePack;
