//! What a person sees: the `kijiti` command. No rules and no SQL: it asks a phone (the running one,
//! or one started for the question) and shows what it says.
//!
//! Data goes to standard output, everything else to standard error; `--json` gives data with a
//! named schema. Exit codes: 0 ok, 1 failed, 2 usage, 4 needs a key, 5 refused.

#[macro_use]
pub mod say;

pub mod ask;
pub mod carry;
pub mod cases;
pub mod cli;
pub mod codes;
pub mod demo;
pub mod doctor;
pub mod enrol;
mod failure;
pub mod hotspot;
pub mod ministry;
pub mod mirror;
pub mod passphrase;
pub mod run;
pub mod show;
pub mod simulate;
pub mod words;

pub use failure::Failure;

/// The reference model that the demo publishes: made by `kijiti-teach` with the command in its
/// card.
pub static REFERENCE_MODEL: &[u8] = include_bytes!("../../models/triage-reference.gguf");
