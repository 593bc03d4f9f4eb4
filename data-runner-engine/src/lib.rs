//! The loops that perform what core decides, and the builders with which a program embeds them.
//!
//! [`Supervisor`] owns the Orchestrator in one task: it drains a bounded batch of events, lets core decide, commits
//! all changes in one transaction, and only then performs the effects, replies included. [`Handle`] is how everybody
//! else talks to it.
//!
//! [`Tokens`] are how people and programs prove that they may.
//!
//! [`AgentLoop`] is the same on the worker's side: it performs what core's agent decides.

pub mod agent;
mod chain;
mod clock;
pub mod supervisor;
pub mod tokens;

pub use agent::{
    AgentBuilder, AgentError, AgentLoop, Alone, CodeUnpacker, Download, NoSecrets, Signal, StateFolderError,
};
pub use clock::{Clock, SystemClock};
pub use supervisor::{
    BackfillOrder, CodeDiff, Gate, Handle, IdempotencyKey, MachinePlan, Notifications, Order, Published,
    Registered, Registration, Repeat, RequestError, Stage, StartError, Started, Supervisor,
    SupervisorBuilder, SyncOutcome, Watch,
};
pub use tokens::Tokens;
