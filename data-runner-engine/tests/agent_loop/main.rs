//! The agent's loop against a supervisor that the test plays, a network in memory and jobs that are scripts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    missing_docs
)]

mod alone;
mod house;
mod stories;
