//! Both loops over in-memory ports: what an embedder relies on, told as stories.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::wildcard_enum_match_arm)]

mod artifacts;
mod groups;
mod joining;
mod kit;
mod needs;
mod notifications;
mod repositories;
mod requests;
mod runs;
mod schedules;
mod trouble;
