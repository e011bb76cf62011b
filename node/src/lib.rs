//! One phone.
//!
//! The **agent half** ([`agent`], [`store`], [`memory`]) is one phone's mind: what it holds, whom
//! to meet, what to say next. It is pure: time, randomness and storage are arguments, and the
//! simulator runs the very same code.
//!
//! The **interface** ([`api`]) is what screens and other programs ask of it, as types.
//!
//! The **host half** (`host`, feature `host`) is one phone's body: SQLite, bundle files, links,
//! timers, threads. It has no rules.
//!
//! ```text
//! agent.handle_input(now, input, &mut store) → commit → drain agent.poll_output() until Sleep(deadline)
//! ```

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

pub mod agent;
pub mod api;
pub mod memory;
pub mod store;

#[cfg(feature = "host")]
pub mod host;

pub use agent::{Agent, Command, Event, Input, LinkClass, LinkId, Output, Power};
pub use memory::MemoryStore;
pub use store::{BundleStore, CaseStore, EnvelopeStore, Store, StoreError, TrustStore};
