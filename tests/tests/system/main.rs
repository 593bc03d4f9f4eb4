//! Whole-system tests: real supervisors, agents, jobs and command lines, over the real REST API. Each test is one
//! promise of the product. `cargo xtask test` builds what they start.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod agent_killed;
mod artifacts;
mod cli;
mod example;
mod groups;
mod hardships;
mod jobs;
mod logs;
mod mistakes;
mod needs;
mod network;
mod notifications;
mod packages;
mod pushes;
mod queueing;
mod requests;
mod results;
mod revisions;
mod schedules;
mod secrets;
mod shutdown;
mod sizes;
mod startup;
mod supervisor_killed;
mod unpushed;
