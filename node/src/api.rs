//! A phone's typed interface: requests, replies, views and refusals, and the rules about what a
//! person may do. Command line, pages and phone apps are renderers of the same records.
//!
//! What it is not: no words for people, no files, no clock. It runs on an agent and its store, in the
//! simulator as on a phone.

pub mod refusal;

pub use refusal::{Class, Paper, Refusal, Trouble};
