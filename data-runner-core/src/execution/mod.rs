//! One execution: its states, its attempts, and how it ended.

mod difference;
mod enlarged;
mod failure;
mod finish;
mod phases;
mod queueing;
mod retry;
mod sql;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use difference::{Difference, differences};
pub use enlarged::Enlarged;
pub use failure::{Failure, FailureCause};
pub use finish::{AttemptEnd, Ending, FinishReport, NetworkBytes, StopReason, StorageBytes, Usage};
pub use phases::{Phase, Phases};
pub use queueing::{Concurrency, ConcurrencyKey, OnConflict, Priority, Queueing};
pub use retry::{Backoff, RetryPolicy, RetryRule};
pub use sql::{Preview, SqlReport, Statement};
pub use state::{ExecutionState, LiveAttempt, RunState, StateName, Stop, Waiting, WaitingReason};

use crate::cost::{Money, OnExceed, RunBudget, Spending};
use crate::group::Membership;
use crate::id::{AttemptId, AttemptNumber, ExecutionId, Lease, QualifiedName, WorkerId, WorkflowId};
use crate::time::Timestamp;
use crate::worker::Worker;
use crate::workflow::{
    Compute, JobSpec, NeededBy, Notification, PackageChoice, PackageLock, Schedule, ScheduleDates,
};

/// One execution of a workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Execution {
    /// Its id.
    pub id: ExecutionId,
    /// The workflow's id.
    pub workflow_id: WorkflowId,
    /// What it runs; shared, since it never changes.
    pub job: Arc<JobSpec>,
    /// Labels of the workflow at submission.
    pub labels: BTreeMap<String, String>,
    /// The instance size that was asked for; [`size`](Self::size) is the one that it wants now.
    pub instance_size: String,
    /// When it is tried again.
    pub retries: RetryPolicy,
    /// How long its worker stays for the next one.
    pub keep_warm: Duration,
    /// How its machine is chosen and made.
    #[serde(default)]
    pub compute: Compute,
    /// Whom to tell of what.
    #[serde(default)]
    pub notifications: Vec<Notification>,
    /// What it may cost.
    #[serde(default)]
    pub budget: Option<RunBudget>,
    /// How it stands in line.
    #[serde(default)]
    pub queueing: Queueing,
    /// What started it.
    pub trigger: Trigger,
    /// The dates that it runs for, if a schedule began it, be it by other workflows.
    #[serde(default)]
    pub dates: Option<ScheduleDates>,
    /// Its place in a group, if it is of one.
    #[serde(default)]
    pub group: Option<Membership>,
    /// The execution that a person asked to run again, if this is such a one.
    pub retry_of: Option<ExecutionId>,
    /// Whether it should have started by now.
    #[serde(default)]
    pub late: Lateness,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// Where it stands.
    pub state: ExecutionState,
    /// What it has cost, as far as its budget needs to know.
    #[serde(default)]
    pub spending: Spending,
    /// When it fails if it has not been started by then; since it was submitted, or is to be tried again.
    #[serde(default)]
    pub start_by: Option<Timestamp>,
    /// How often no machine could be had for it; such a try is not an attempt.
    pub launch_failures: u32,
    /// What was tried to get a machine for it, the oldest first; the last [`LaunchTry::KEPT`] of them.
    #[serde(default)]
    pub launch_tries: Vec<LaunchTry>,
    /// How it went up in size, in order.
    #[serde(default)]
    pub enlarged: Vec<Enlarged>,
    /// Its attempts in order; the last one is live if the state says so.
    pub attempts: Vec<Attempt>,
}

impl Execution {
    /// The workflow's full name.
    pub fn workflow(&self) -> &QualifiedName {
        &self.job.workflow
    }

    /// Its place in line: the earliest is next.
    pub fn rank(&self) -> Timestamp {
        self.queueing.rank(self.created_at)
    }

    /// It waits to be started from that moment on.
    pub fn wait_from(&mut self, at: Timestamp) {
        self.start_by = self.queueing.start_within.map(|within| at.after(within));
    }

    /// What one run may cost, and when it will have cost more, if it goes on.
    pub fn passes_budget(&self) -> Option<(Money, Timestamp)> {
        let limit = self.budget.as_ref()?.budget.per_run.filter(|_| self.spending.over_since.is_none())?;
        Some((limit, self.spending.passes(limit)?))
    }

    /// Whether it may not be tried again for what it has cost until then.
    pub fn has_used_its_budget(&self, now: Timestamp) -> bool {
        self.budget.as_ref().map(|it| it.budget).is_some_and(|budget| {
            let used = budget.per_run.is_some_and(|limit| self.spending.at(now) >= limit);
            used && budget.on_exceed == OnExceed::Cancel
        })
    }

    /// Where it counts with others of its workflow, if they may not all run at one time.
    pub fn concurrency_key(&self) -> Option<ConcurrencyKey> {
        let key = self.queueing.concurrency.as_ref()?.key.clone();
        Some(ConcurrencyKey { workflow: self.workflow_id, key })
    }

    /// Whether a machine or a slot of one was ever meant for it.
    pub fn has_begun(&self) -> bool {
        let tried = self.launch_failures > 0 || !self.launch_tries.is_empty() || !self.attempts.is_empty();
        tried || matches!(self.state, ExecutionState::Provisioning { .. })
    }

    /// The newest attempt.
    pub fn latest_attempt(&self) -> Option<&Attempt> {
        self.attempts.last()
    }

    /// What the newest attempt wrote to `DATA_RUNNER_OUTPUT`.
    pub fn output(&self) -> Option<&serde_json::Value> {
        match self.latest_attempt()?.end.as_ref()? {
            AttemptEnd::Reported(report) => report.output.as_ref(),
            AttemptEnd::Lost(_) => None,
        }
    }

    /// The packages that its environment has, exactly: those of its newest attempt that had any, else those that it is to
    /// have.
    pub fn packages(&self) -> Option<&Arc<PackageLock>> {
        let had = self.attempts.iter().rev().find_map(|attempt| attempt.packages.as_ref());
        had.or(match &self.job.packages {
            PackageChoice::Lock(lock) => Some(lock),
            PackageChoice::Worker | PackageChoice::Anew => None,
        })
    }

    /// The job as its next attempt, or a retry, runs it: with what its size has, and with the packages that it had.
    pub fn job_again(&self) -> Arc<JobSpec> {
        let job = self.sized_job();
        match self.packages() {
            Some(lock) => {
                let packages = PackageChoice::Lock(Arc::clone(lock));
                if job.packages == packages {
                    job
                } else {
                    Arc::new(JobSpec { packages, ..JobSpec::clone(&job) })
                }
            }
            None => job,
        }
    }

    /// When the user's code first started.
    pub fn started_at(&self) -> Option<Timestamp> {
        self.attempts.iter().find_map(|attempt| attempt.phases.get(Phase::Started))
    }

    /// How many attempts ended by this cause; failed launches count as `no_capacity`.
    pub fn failures_by(&self, cause: FailureCause) -> u32 {
        let attempts = self.attempts.iter().filter_map(|attempt| attempt.end.as_ref()?.failure());
        let ended = attempts.filter(|failure| failure.cause == cause).count();
        let launches = if cause == FailureCause::NoCapacity { self.launch_failures } else { 0 };
        u32::try_from(ended).unwrap_or(u32::MAX).saturating_add(launches)
    }

    /// The workers that it had attempts on, and those that were tried in vain: whose costs are its own.
    pub fn workers(&self) -> BTreeSet<WorkerId> {
        let tried = self.launch_tries.iter().map(|tried| tried.worker);
        self.attempts.iter().map(|attempt| attempt.worker).chain(tried).collect()
    }

    /// Keeps what was tried; the oldest goes when there are too many.
    pub fn note_try(&mut self, tried: LaunchTry) {
        self.launch_tries.push(tried);
        let spare = self.launch_tries.len().saturating_sub(LaunchTry::KEPT);
        self.launch_tries.drain(..spare);
    }

    /// The id of its attempt `number`.
    pub fn attempt_id(&self, number: AttemptNumber) -> AttemptId {
        AttemptId { execution: self.id, number }
    }
}

/// Whether an execution should have started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "late", rename_all = "snake_case")]
pub enum Lateness {
    /// Nobody minds when it starts.
    #[default]
    Never,
    /// It counts as late from then on, if it has not started before.
    At {
        /// When.
        at: Timestamp,
    },
    /// It was found to be late, and whoever wanted to know was told.
    Since {
        /// When.
        at: Timestamp,
    },
}

/// One try to get a machine that came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchTry {
    /// When it was known that it came to nothing.
    pub at: Timestamp,
    /// The worker that was to have the machine.
    pub worker: WorkerId,
    /// What was tried, for people: type, zone, market; or that it was being planned.
    pub label: String,
    /// Why it came to nothing.
    pub message: String,
}

impl LaunchTry {
    /// How many an execution keeps.
    pub const KEPT: usize = 20;
}

/// What started an execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Trigger {
    /// A person or a script, by REST or CLI.
    Manual,
    /// A person's `retry`: same commit and parameters.
    Retry,
    /// A person's `rerun`: newest commit, same parameters.
    Rerun,
    /// A schedule of the workflow was due.
    Schedule {
        /// Which.
        schedule: Schedule,
        /// When it was due, which is not when the execution was made.
        due: Timestamp,
    },
    /// Somebody asked for the dates of a time that has passed.
    Backfill,
    /// What the workflow needs has succeeded.
    Needs {
        /// By these executions, in order of the workflows' names.
        by: Vec<NeededBy>,
    },
}

/// One try on one worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its number, from 1.
    pub number: AttemptNumber,
    /// The worker that it was assigned to.
    pub worker: WorkerId,
    /// The lease of its assignment.
    pub lease: Lease,
    /// When each phase was reached.
    pub phases: Phases,
    /// The packages of its environment, once that was made, where they are known.
    #[serde(default)]
    pub packages: Option<Arc<PackageLock>>,
    /// How it ended; `None` while it lives.
    pub end: Option<AttemptEnd>,
}

impl Attempt {
    /// The phases as far as they are known, with those that its worker tells: when its machine was launched, if that was
    /// for this attempt, and when the worker was proved gone.
    pub fn timeline(&self, worker: &Worker) -> Phases {
        let mut phases = self.phases.clone();
        if let (Some(_), Some(launched)) = (phases.get(Phase::Launched), &worker.launched) {
            phases.replace(Phase::Launched, launched.at);
        }
        if let Some(gone) = worker.gone_at() {
            phases.record(Phase::Terminated, gone);
        }
        phases
    }
}
