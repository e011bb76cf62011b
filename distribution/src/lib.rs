//! What makes a release trustworthy, and how its bytes travel.
//!
//! What it is not: it reads no clock and touches no file. Bundle bytes lie where the phone's store
//! puts them (files on a phone, memory in the simulator); here is what to ask for and what to
//! believe.
//!
//! Flow: signed root and list → [`trust::TrustedState`] → [`release::Release`] with a digest →
//! [`bundle::Fetch`] asks peers for groups and checks each one → a whole bundle, ready to be tried.

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

pub mod activation;
pub mod bundle;
pub mod delegation;
pub mod delta;
pub mod module;
pub mod notices;
pub mod plan;
pub mod release;
pub mod root;
pub mod spread;
pub mod tree;
pub mod trust;

pub use activation::{Activation, Module};
pub use delegation::{DelegatedList, Delegation};
pub use module::ModuleKind;
pub use notices::{Beacon, Recall, Revocations};
pub use release::{Release, ReleaseList};
pub use root::Root;
pub use trust::{Offer, TrustError, TrustRecords, TrustedState};
