//! The Orchestrator's stories: given a state and an event, then exactly these changes and effects.

// A scene commits each outcome before it hands it out; a story looks only at those that it is about.
#![allow(unused_must_use)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::wildcard_enum_match_arm)]

mod artifacts;
mod budgets;
mod cancelling;
mod cloud;
mod ending;
mod every_pair;
mod groups;
mod hooks;
mod larger;
mod machines;
mod needs;
mod notifications;
mod queueing;
mod random;
mod running;
mod scene;
mod schedules;
mod start_within;
mod submitting;
mod ten_years;
mod warnings;
