//! The REST API over a real engine with everything outside of it in memory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agent;
mod artifacts;
mod bundles;
mod commands;
mod costs;
mod document;
mod fixture;
mod follow;
mod groups;
mod history;
mod hooks;
mod images;
mod listing;
mod login;
mod logs;
mod refusals;
mod routes;
mod secrets;
mod secure;
mod serving;
mod usage;
mod workflows;
