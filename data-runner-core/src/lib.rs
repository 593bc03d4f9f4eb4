//! Data Runner's core: what a workflow, an execution, a worker and a log are; the ports through which the outside is
//! reached; and the machines that decide everything.
//!
//! Nothing here does IO, awaits, reads a clock or draws randomness: events, [`time::Now`] and [`time::Entropy`] come
//! in, changes and effects go out. The loops that perform them live in `data-runner-engine`.

pub mod access;
pub mod advice;
pub mod agent;
pub mod artifact;
mod aws_names;
pub mod cost;
pub mod delivery;
pub mod event;
pub mod execution;
pub mod group;
pub mod hook;
pub mod id;
pub mod log;
pub mod message;
pub mod orchestrator;
pub mod port;
pub mod settings;
pub mod time;
pub mod worker;
pub mod workflow;
mod yaml;
