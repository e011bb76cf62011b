//! Products of quantized matrices, `y[m, n] = x[m, k] · W[n, k]ᵀ`, with the same bits on every path.
//!
//! What it is not: a tensor library. It imports nothing, allocates nothing per product once its
//! [`Activations`] have grown, and knows no model.
//!
//! * One layout (`layout.rs`) serves every processor.
//! * [`Activations`] have one form for all types of weights: i8, with a scale and a sum for each 32.
//! * `plain.rs` says what a product is, number after number; every other path must give the same bits:
//!   sums of integers are exact, and the additions of f32 go block after block, each one fused
//!   multiply-add (IEEE 754 `fusedMultiplyAdd`), on all of them.
//! * [`Path`] is chosen when the program runs.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::todo,
        clippy::unimplemented,
        clippy::wildcard_enum_match_arm
    )
)]

mod activations;
#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code, reason = "the processor's own instructions")]
mod arm;
mod layout;
mod matmul;
mod plain;
mod pool;
mod table;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "the processor's own instructions")]
mod x86;

pub use activations::Activations;
pub use layout::{Kind, Misfit, Packed, TILE, half_to_float};
pub use matmul::{Path, multiply};
pub use pool::Pool;
pub use table::{Halves, Table};
