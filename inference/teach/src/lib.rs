//! How a triage model comes to be: synthetic patients, training, quantization, pairs of releases
//! for measuring deltas.
//!
//! What it is not: nothing of it is linked into a phone. Time and randomness come as seeds: the
//! same seed gives the same model.
//!
//! Flow: [`patients`] are drawn, and what could be known of each → [`learn`] teaches a [`net`] by them →
//! [`publish`] makes a file that [`inference::model`] loads, [`evaluate`] measures it beside the best
//! possible; [`adapt`] teaches a model that phones have by a district's patients; [`sticky`] quantizes the next release against the last one, so that the delta between them
//! is small.

pub mod adapt;
pub mod base;
pub mod evaluate;
mod flat;
pub mod learn;
pub mod net;
pub mod ops;
pub mod own;
pub mod pairs;
pub mod patients;
pub mod pictures;
pub mod publish;
pub mod reads;
pub mod see;
pub mod sticky;
pub mod vocabulary;
