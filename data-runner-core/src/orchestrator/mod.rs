//! The one place that decides what happens to executions and workers.
//!
//! [`Orchestrator::handle`] takes an event and says what must be committed and what is to be done after that;
//! [`Orchestrator::settle`] ends a batch of events by placing work. Both are pure: time and randomness come in as
//! arguments, nothing is awaited. Nothing here fails: what is impossible or stale becomes a rejection or a record.
//!
//! Where to look: `requests` for what people ask, `sessions` for agents that come and go, `attempts` for what they
//! report, `launching` for how machines are had, `line` for who is next, `budgets` for what things may cost, `enlarging` for a size up after memory
//! ran out, `machines` for how they end, `reaper` for what
//! listings show, `place` for who runs what where, `wish` for what machine an execution wants, `starts` for workflows
//! that run by themselves, by `schedules` or by what they need (`needs`), `groups` for executions that belong together,
//! `hooks` for pushes that are told of, `artifacts` for files that jobs leave, `late` for what should have started, `deadlines` for what is due, `recover` for
//! how all of it is rebuilt from the store.

mod artifacts;
mod attempts;
mod budgets;
mod deadlines;
mod deliveries;
mod enlarging;
mod groups;
mod hooks;
mod join;
mod late;
mod launching;
mod line;
mod machines;
mod needs;
mod place;
mod policy;
mod reaper;
mod recover;
mod requests;
mod schedules;
mod sessions;
mod starts;
mod turn;
mod unpushed;
mod wish;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use late::Late;
use line::Line;
use needs::Needs;
pub use policy::{Absence, Joining, Policy, Pool};
pub use recover::Durable;
use schedules::Schedules;
use starts::Starts;
use turn::Turn;

use crate::delivery::Delivery;
use crate::event::{Event, Outcome, ReplyTo, ShutDown};
use crate::execution::Execution;
use crate::group::Group;
use crate::id::{
    AttemptId, DeliveryId, Epoch, ExecutionId, GroupId, MachineId, RepoName, SessionId, WorkerId, WorkflowId,
};
use crate::log::LogOffset;
use crate::port::IdempotencyRecord;
use crate::time::{Entropy, Mono, Now, Timestamp};
use crate::worker::Worker;
use crate::workflow::{Repo, Workflow};

/// Holds what is active and decides. Terminal executions and workers leave it.
#[derive(Debug, Clone)]
pub struct Orchestrator {
    policy: Policy,
    epoch: Epoch,
    stage: Stage,
    executions: BTreeMap<ExecutionId, Arc<Execution>>,
    workers: BTreeMap<WorkerId, Arc<Worker>>,
    workflows: BTreeMap<WorkflowId, Arc<Workflow>>,
    repos: BTreeMap<RepoName, Arc<Repo>>,
    /// What waits for a worker, in order. Derived from `executions`.
    line: Line,
    /// What becomes due by the wall clock. Derived from `executions`.
    timers: BTreeSet<(Timestamp, ExecutionId)>,
    late: Late,
    /// How much of each open log is stored.
    logs: BTreeMap<AttemptId, LogOffset>,
    /// Liveness: never stored, begins anew with each start.
    liveness: BTreeMap<WorkerId, Liveness>,
    /// Machines that bear our mark and belong to no worker of ours.
    strangers: BTreeMap<MachineId, reaper::Stranger>,
    last_list: Option<Mono>,
    /// When files whose time is over were removed last.
    swept: Option<Mono>,
    /// Launches wait, since none can be had.
    pause: Option<Pause>,
    /// Idempotency keys of this batch: the store does not have them yet.
    keys: BTreeMap<String, IdempotencyRecord>,
    /// Names of webhooks' deliveries of this batch, likewise.
    hooks: BTreeSet<String>,
    schedules: Schedules,
    needs: Needs,
    starts: Starts,
    /// Groups that have not ended.
    groups: BTreeMap<GroupId, Arc<Group>>,
    /// Those in which there may be room since the last batch.
    moved_groups: BTreeSet<GroupId>,
    /// Messages that are tried to be delivered.
    deliveries: BTreeMap<DeliveryId, Arc<Delivery>>,
}

/// Whether new work is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    Serving,
    Ending { how: ShutDown, waiting: Vec<ReplyTo> },
}

/// Launches wait.
#[derive(Debug, Clone)]
struct Pause {
    until: Mono,
    message: String,
    /// How often in a row.
    times: u32,
}

/// What is known of a worker's presence.
#[derive(Debug, Clone)]
struct Liveness {
    link: Link,
    /// When the agent was heard last, or when listening for it began.
    heard: Mono,
    /// When the provisioner may be asked about this worker again.
    ask_after: Mono,
    /// When its machine's console was asked for, before it is terminated for never having joined.
    console: Option<Mono>,
    /// How many complete listings in a row did not show its machine, and since when.
    missing: Option<(u32, Timestamp)>,
}

impl Liveness {
    const fn new(heard: Mono) -> Self {
        Self { link: Link::Down, heard, ask_after: Mono(Duration::ZERO), console: None, missing: None }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Down,
    /// Opened; the agent has not said Hello yet.
    Opened(SessionId),
    /// The agent said Hello and was welcomed.
    Up(SessionId),
}

impl Orchestrator {
    /// Decides what an event means. Commit the outcome's changes before its effects are performed.
    pub fn handle(&mut self, event: Event, now: Now, entropy: &mut Entropy) -> Outcome {
        let mut turn = Turn::new(now, entropy);
        match event {
            Event::Request { reply, request } => self.on_request(reply, *request, &mut turn),
            Event::SessionOpened { worker, session } => self.on_session_opened(worker, session, &mut turn),
            Event::AgentSaid { worker, session, message } => {
                self.on_agent_said(worker, session, *message, &mut turn);
            }
            Event::SessionClosed { worker, session } => self.on_session_closed(worker, session),
            Event::LogStored { claim, upto } => self.on_log_stored(claim, upto, &mut turn),
            Event::Planned { worker, result } => self.on_planned(worker, result, &mut turn),
            Event::LaunchAnswered { worker, candidate, answer } => {
                self.on_launch_answered(worker, *candidate, answer, &mut turn);
            }
            Event::Listed { asked_at, machines } => self.on_listed(asked_at, &machines, &mut turn),
            Event::ConsoleRead { worker, text } => self.on_console_read(worker, text, &mut turn),
            Event::ProvisionerFailed { message } => self.on_provisioner_failed(message, &turn),
            Event::Synced { repo, result } => self.on_synced(&repo, result, &mut turn),
            Event::NotSubmitted { start, message } => self.on_not_submitted(&start, message, &mut turn),
            Event::DeliveryTried { delivery, result } => self.on_delivery_tried(delivery, &result, &mut turn),
            Event::Tick => self.on_tick(&mut turn),
            Event::Resumed => self.on_resumed(&turn),
        }
        turn.finish()
    }

    /// Ends a batch: places queued work on free workers, and asks for workers where they are missing.
    pub fn settle(&mut self, now: Now, entropy: &mut Entropy) -> Outcome {
        let mut turn = Turn::new(now, entropy);
        self.keys.clear();
        self.advance_groups(&mut turn);
        self.hooks.clear();
        self.retell_budgets(&mut turn);
        self.retell_line(&mut turn);
        self.place(&mut turn);
        self.fill_pool(&mut turn);
        self.end_if_all_gone(&mut turn);
        turn.finish()
    }

    /// Handles a batch of events and settles it. Of several changes to the same thing only the last is kept.
    pub fn handle_batch(
        &mut self,
        events: impl IntoIterator<Item = Event>,
        now: Now,
        entropy: &mut Entropy,
    ) -> Outcome {
        let mut batch = Outcome::default();
        for event in events {
            batch.append(self.handle(event, now, entropy));
        }
        batch.append(self.settle(now, entropy));
        batch.coalesce();
        batch
    }

    /// The active execution of that id.
    pub fn execution(&self, id: ExecutionId) -> Option<&Arc<Execution>> {
        self.executions.get(&id)
    }

    /// Executions that have not ended, in order of their ids.
    pub fn executions(&self) -> impl ExactSizeIterator<Item = &Arc<Execution>> {
        self.executions.values()
    }

    /// Workers that are not terminated, in order of their ids.
    pub fn workers(&self) -> impl ExactSizeIterator<Item = &Arc<Worker>> {
        self.workers.values()
    }

    /// All workflows.
    pub fn workflows(&self) -> &BTreeMap<WorkflowId, Arc<Workflow>> {
        &self.workflows
    }

    /// All repositories.
    pub fn repos(&self) -> &BTreeMap<RepoName, Arc<Repo>> {
        &self.repos
    }

    /// Whether workers are being sent home.
    pub fn is_ending(&self) -> bool {
        match self.stage {
            Stage::Serving => false,
            Stage::Ending { .. } => true,
        }
    }
}
