//! The REST API over a real engine with everything outside of it in memory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod commands;
mod document;
mod fixture;
mod follow;
mod listing;
mod logs;
mod refusals;
mod routes;
mod serving;
mod workflows;
