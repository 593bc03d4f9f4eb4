//! What tests of Data Runner, and of programs that embed it, are made with: a contract suite for each port, honest
//! in-memory implementations of the ports, and a world in virtual time that runs supervisor, agents and machines
//! together under faults.
//!
//! Each area stands behind a feature of its own, so that a test compiles only what it uses.

// Tests may panic: that is how they fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod contract;
pub mod memory;
#[cfg(feature = "packages")]
pub mod packages;
pub mod sample;
mod skipped;
#[cfg(feature = "world")]
pub mod world;

pub use skipped::{SKIPPED_FILE, skipped};
