//! What travels: the JSON of requests and answers, and how it is made from core's types.
//!
//! The shapes are public and stable: fields are added, never renamed. Requests refuse fields that they do not know
//! (a misspelt one would be silently ignored otherwise); answers may grow, so readers must not.

mod advice;
mod artifact;
mod checkup;
mod cost;
mod event;
mod execution;
mod group;
mod history;
mod hook;
mod image;
mod lock;
mod log;
mod problem;
mod repo;
mod request;
mod schedule;
mod schema;
mod server;
mod token;
mod usage;
mod worker;
mod workflow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use advice::{Advice, Caveat, SizeChoice, SizeEvidence, SizeNeeds};
pub use artifact::Artifact;
pub use checkup::{Checkup, Finding};
pub use cost::{Budget, Cost, CostGroup, Costs, HourlyPrice, Plan, PlannedMachine};
pub use event::Event;
pub use execution::{
    Attempt, Enlarged, Execution, Failure, LaunchTry, NeededExecution, ScheduleTick, Waiting,
};
pub use group::{BackfillPlan, Group, Member, Started};
pub use history::{
    Changed, ExecutionDefinition, ExecutionDiff, WorkflowDiff, WorkflowHistory, WorkflowVersion,
};
pub use hook::{HookOutcome, Hooked};
pub use image::{BakeImage, Image};
pub use lock::{Lock, LockedPackage};
pub use log::{Gap, LogEnd, LogGap, LogLine, LogOverview};
pub use problem::{Fault, Problem};
pub use repo::{Repo, SyncResult, Synced};
pub use request::{Backfill, Execute, PatchWorkflow, RegisterRepo, Repeat, SyncRepos, Validate};
pub use schedule::{LastTick, Schedule};
pub use server::{Health, Readiness, Version};
pub use token::{CreateToken, CreatedToken, Token};
pub use usage::{Preview, SqlReport, SqlStatement, Usage};
pub use worker::Worker;
pub use workflow::{
    Concurrency, ConfigProblem, Location, Need, Param, Registered, Validated, Workflow, WorkflowState,
};

/// A page of a listing.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// What `cursor` must be for the next page; null on the last one.
    pub next_cursor: Option<String>,
}

/// A moment of core's as it is written in JSON. What lies outside of the years that RFC 3339 can write becomes the
/// first or last that it can.
pub(crate) fn moment(at: data_runner_core::time::Timestamp) -> jiff::Timestamp {
    let limit = if at.micros() < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
    jiff::Timestamp::from_microsecond(at.micros()).unwrap_or(limit)
}
