//! An execution as REST shows it.

use std::collections::BTreeMap;

use data_runner_core::cost::Cost as CoreCost;
use data_runner_core::execution::{
    self as core, AttemptEnd, Ending, ExecutionState, FailureCause, Phases, RunState, StateName, Trigger,
    WaitingReason,
};
use data_runner_core::id::{ExecutionId, GroupId, WorkerId, WorkflowId};
use data_runner_core::workflow::NeededBy;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Cost, LogOverview, SqlReport, Usage, moment};

/// One execution of a workflow.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Execution {
    /// Its id (UUIDv7: ids sort by creation).
    #[schema(value_type = uuid::Uuid)]
    pub id: ExecutionId,
    /// The workflow's full name, `repo/name`.
    pub workflow: String,
    /// The workflow's id.
    #[schema(value_type = uuid::Uuid)]
    pub workflow_id: WorkflowId,
    /// Where it stands.
    #[schema(schema_with = super::schema::execution_state)]
    pub state: StateName,
    /// Why it does not run yet, while it is queued.
    pub waiting: Option<Waiting>,
    /// The revision whose code runs: a commit, or the content hash of a plain folder.
    pub revision: String,
    /// All parameters, defaults filled in.
    pub params: serde_json::Map<String, serde_json::Value>,
    /// What started it: `manual`, `retry`, `rerun`, `schedule`, `needs` or `backfill`.
    pub trigger: String,
    /// The tick of a schedule that started it, if one did.
    #[serde(default)]
    pub schedule: Option<ScheduleTick>,
    /// The date that it runs for, if a schedule began it, be it by other workflows.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Date)]
    pub schedule_date: Option<jiff::civil::Date>,
    /// The group that it belongs to.
    #[serde(default)]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub group: Option<GroupId>,
    /// The executions whose success started it, if that did.
    #[serde(default)]
    pub needs: Vec<NeededExecution>,
    /// Labels of the workflow when it was submitted.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The instance size that was asked for.
    pub instance_size: String,
    /// How it went up in size because attempts ran out of memory, in order.
    #[serde(default)]
    pub enlarged: Vec<Enlarged>,
    /// Its priority, 0 to 100: each point counts as a minute of waiting.
    #[serde(default)]
    pub priority: u8,
    /// The number of the newest attempt; 0 until there is one.
    pub attempt: u32,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// When it fails if it has not been started by then; null: it may wait, or runs.
    #[serde(default)]
    pub start_by: Option<Timestamp>,
    /// When the job's own code first started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The job's exit code once the execution has ended; 128 + n if signal n ended the job.
    pub exit_code: Option<i32>,
    /// The signal that ended the job, if one did.
    pub signal: Option<u8>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// The worker that runs it, prepares for it, or ran its newest attempt.
    #[schema(value_type = Option<uuid::Uuid>)]
    pub worker_id: Option<WorkerId>,
    /// What the job wrote to `DATA_RUNNER_OUTPUT`.
    pub output: Option<serde_json::Value>,
    /// What to know of the newest attempt that changes nothing of how it ended, such as why there is no output.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What it has cost, in US dollars, where that is known.
    pub cost_usd: Option<f64>,
    /// The same by what the money was for.
    pub cost: Option<Cost>,
    /// What was tried in vain to get a machine for it, the oldest first; the last 20 of them.
    #[serde(default)]
    pub launch_tries: Vec<LaunchTry>,
    /// The most memory that the newest attempt held, in bytes, where it could be measured.
    pub peak_memory_bytes: Option<u64>,
    /// Processor time of the newest attempt, in seconds.
    pub cpu_seconds: Option<f64>,
    /// The execution that it repeats.
    #[schema(value_type = Option<uuid::Uuid>)]
    pub retry_of: Option<ExecutionId>,
    /// Its attempts, in order.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    /// Its log, in the answer to `GET /executions/{id}` only.
    pub log: Option<LogOverview>,
}

/// The moment at which a schedule was due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScheduleTick {
    /// The cron line.
    pub cron: String,
    /// Its time zone.
    pub timezone: String,
    /// When it was due.
    pub due: Timestamp,
}

/// An execution of a workflow that another one needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NeededExecution {
    /// The workflow's full name.
    pub workflow: String,
    /// Its execution.
    #[schema(value_type = uuid::Uuid)]
    pub execution: ExecutionId,
}

/// Why an execution does not run yet.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Waiting {
    /// `worker`, `worker_limit`, `concurrency`, `backoff`, `budget`, `hold` or `draining`.
    pub reason: String,
    /// The same for people.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
    /// When it goes on, where that is known.
    pub until: Option<Timestamp>,
    /// The executions of its workflow that it has to wait for, with the reason `concurrency`.
    #[serde(default)]
    #[schema(value_type = Vec<uuid::Uuid>)]
    pub behind: Vec<ExecutionId>,
    /// What was tried in vain to get a machine for it, the oldest first.
    #[serde(default)]
    pub tries: Vec<LaunchTry>,
}

/// One try to get a machine that came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LaunchTry {
    /// When that was known.
    pub at: Timestamp,
    /// What was tried: type, zone, market.
    pub machine: String,
    /// Why it came to nothing.
    pub message: String,
}

/// That an execution went a size up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Enlarged {
    /// The number of the attempt that ran out of memory.
    pub after_attempt: u32,
    /// The size that it had.
    pub from: String,
    /// The size of the attempts after it.
    pub to: String,
}

/// Why something failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// The cause; retries are configured by it.
    #[schema(schema_with = super::schema::failure_cause)]
    pub cause: FailureCause,
    /// What happened.
    pub message: String,
    /// What to do, where that is known.
    pub hint: Option<String>,
}

/// One try on one worker.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// Its number, from 1.
    pub number: u32,
    /// `starting`, `running`, `success`, `failed` or `cancelled`.
    #[schema(schema_with = super::schema::execution_state)]
    pub state: StateName,
    /// Its worker.
    #[schema(value_type = Option<uuid::Uuid>)]
    pub worker_id: Option<WorkerId>,
    /// The instance size that it wanted.
    #[serde(default)]
    pub instance_size: String,
    /// When each phase was reached, by the phase's name.
    #[schema(schema_with = super::schema::phases)]
    pub phases: BTreeMap<String, Timestamp>,
    /// The job's exit code; 128 + n if signal n ended it.
    pub exit_code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<u8>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// What to know of it that changes nothing of how it ended.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What it has cost, in US dollars, where that is known.
    pub cost_usd: Option<f64>,
    /// The same by what the money was for.
    pub cost: Option<Cost>,
    /// The most memory that it held, in bytes, where it could be measured.
    pub peak_memory_bytes: Option<u64>,
    /// Its processor time, in seconds.
    pub cpu_seconds: Option<f64>,
    /// What else it used.
    #[serde(default)]
    pub usage: Option<Usage>,
    /// What the engine told of its SQL script, in the answer to `GET /executions/{id}` only.
    #[serde(default)]
    pub sql: Option<SqlReport>,
}

impl From<&core::Execution> for Execution {
    /// Everything but the log, which is kept elsewhere, and the cost, which its workers tell.
    fn from(execution: &core::Execution) -> Self {
        let latest = execution.latest_attempt();
        let ended = execution.state.finished_at();
        let report = latest.and_then(|attempt| match &attempt.end {
            Some(AttemptEnd::Reported(report)) => Some(report),
            Some(AttemptEnd::Lost(_)) | None => None,
        });
        // Only an end that nothing follows is the execution's own.
        let end = latest.and_then(|attempt| attempt.end.as_ref()).filter(|_| ended.is_some());
        Self {
            id: execution.id,
            workflow: execution.workflow().to_string(),
            workflow_id: execution.workflow_id,
            state: execution.state.name(),
            waiting: waiting(execution),
            revision: execution.job.revision.to_string(),
            params: execution
                .job
                .params
                .iter()
                .map(|(name, value)| (name.clone(), value.to_json()))
                .collect(),
            trigger: trigger(&execution.trigger).to_owned(),
            schedule: tick(&execution.trigger),
            schedule_date: execution.dates.map(|dates| dates.date),
            group: execution.group.map(|membership| membership.group),
            needs: needs(&execution.trigger),
            labels: execution.labels.clone(),
            instance_size: execution.instance_size.clone(),
            enlarged: enlarged(execution),
            priority: execution.queueing.priority.points(),
            attempt: latest.map_or(0, |attempt| attempt.number.0),
            created_at: moment(execution.created_at),
            start_by: execution.start_by.filter(|_| ended.is_none()).map(moment),
            started_at: execution.started_at().map(moment),
            finished_at: ended.map(moment),
            exit_code: end.and_then(AttemptEnd::exit_code),
            signal: end.and_then(signal),
            failure: match &execution.state {
                ExecutionState::Failed { failure, .. } => Some(failure.into()),
                ExecutionState::Queued { .. }
                | ExecutionState::Provisioning { .. }
                | ExecutionState::Starting { .. }
                | ExecutionState::Running { .. }
                | ExecutionState::Success { .. }
                | ExecutionState::Cancelled { .. } => None,
            },
            worker_id: match &execution.state {
                ExecutionState::Provisioning { worker, .. } => Some(*worker),
                ExecutionState::Queued { .. }
                | ExecutionState::Starting { .. }
                | ExecutionState::Running { .. }
                | ExecutionState::Success { .. }
                | ExecutionState::Failed { .. }
                | ExecutionState::Cancelled { .. } => latest.map(|attempt| attempt.worker),
            },
            output: report.and_then(|report| report.output.clone()),
            warnings: report.map(|report| report.warnings.clone()).unwrap_or_default(),
            cost_usd: None,
            cost: None,
            launch_tries: execution.launch_tries.iter().map(LaunchTry::from).collect(),
            peak_memory_bytes: report.and_then(|report| report.usage.peak_memory_bytes),
            cpu_seconds: report.map(|report| report.usage.cpu_time.as_secs_f64()),
            retry_of: execution.retry_of,
            attempts: execution.attempts.iter().map(|attempt| Attempt::new(attempt, execution)).collect(),
            log: None,
        }
    }
}

impl Execution {
    /// Names those that it waits for.
    pub(crate) fn set_behind(&mut self, others: impl Iterator<Item = ExecutionId>) {
        if let Some(waiting) = &mut self.waiting {
            waiting.behind = others.collect();
        }
    }

    pub(crate) fn set_cost(&mut self, cost: Option<CoreCost>) {
        self.cost_usd = cost.map(|cost| cost.total().usd());
        self.cost = cost.map(Cost::from);
    }

    /// Adds what engines told of the attempts' scripts, which a list has no room for.
    pub(crate) fn set_sql(&mut self, execution: &core::Execution) {
        for (shown, attempt) in self.attempts.iter_mut().zip(&execution.attempts) {
            shown.sql = match &attempt.end {
                Some(AttemptEnd::Reported(report)) => report.sql.as_deref().map(SqlReport::from),
                Some(AttemptEnd::Lost(_)) | None => None,
            };
        }
    }
}

impl Attempt {
    pub(crate) fn set_cost(&mut self, cost: Option<CoreCost>) {
        self.cost_usd = cost.map(|cost| cost.total().usd());
        self.cost = cost.map(Cost::from);
    }

    pub(crate) fn set_phases(&mut self, reached: &Phases) {
        self.phases = phases(reached);
    }

    fn new(attempt: &core::Attempt, execution: &core::Execution) -> Self {
        let state = &execution.state;
        let report = match &attempt.end {
            Some(AttemptEnd::Reported(report)) => Some(report),
            Some(AttemptEnd::Lost(_)) => None,
            // The job has ended but the store waits for the rest of its log.
            None => match state {
                ExecutionState::Running { run: RunState::Finishing { report, .. }, live }
                    if live.number == attempt.number =>
                {
                    Some(report.as_ref())
                }
                ExecutionState::Running { .. }
                | ExecutionState::Queued { .. }
                | ExecutionState::Provisioning { .. }
                | ExecutionState::Starting { .. }
                | ExecutionState::Success { .. }
                | ExecutionState::Failed { .. }
                | ExecutionState::Cancelled { .. } => None,
            },
        };
        let failure = attempt.end.as_ref().and_then(AttemptEnd::failure);
        Self {
            number: attempt.number.0,
            state: attempt_state(attempt, state),
            worker_id: Some(attempt.worker),
            instance_size: execution.size_of(attempt.number).to_owned(),
            phases: phases(&attempt.phases),
            exit_code: attempt.end.as_ref().and_then(AttemptEnd::exit_code),
            signal: attempt.end.as_ref().and_then(signal),
            failure: failure.as_ref().map(Failure::from),
            warnings: report.map(|report| report.warnings.clone()).unwrap_or_default(),
            cost_usd: None,
            cost: None,
            peak_memory_bytes: report.and_then(|report| report.usage.peak_memory_bytes),
            cpu_seconds: report.map(|report| report.usage.cpu_time.as_secs_f64()),
            usage: report.map(|report| Usage::from(&report.usage)),
            sql: None,
        }
    }
}

fn enlarged(execution: &core::Execution) -> Vec<Enlarged> {
    let enlarged = |it: &core::Enlarged| Enlarged {
        after_attempt: it.after.0,
        from: execution.size_of(it.after).to_owned(),
        to: it.to.to_string(),
    };
    execution.enlarged.iter().map(enlarged).collect()
}

fn phases(phases: &Phases) -> BTreeMap<String, Timestamp> {
    phases.reached().map(|(phase, at)| (phase.as_str().to_owned(), moment(at))).collect()
}

impl From<&core::LaunchTry> for LaunchTry {
    fn from(tried: &core::LaunchTry) -> Self {
        Self { at: moment(tried.at), machine: tried.label.clone(), message: tried.message.clone() }
    }
}

impl From<&core::Failure> for Failure {
    fn from(failure: &core::Failure) -> Self {
        Self { cause: failure.cause, message: failure.message.clone(), hint: failure.hint.clone() }
    }
}

fn attempt_state(attempt: &core::Attempt, state: &ExecutionState) -> StateName {
    match &attempt.end {
        None => match state {
            ExecutionState::Running { .. } => StateName::Running,
            ExecutionState::Queued { .. }
            | ExecutionState::Provisioning { .. }
            | ExecutionState::Starting { .. }
            | ExecutionState::Success { .. }
            | ExecutionState::Failed { .. }
            | ExecutionState::Cancelled { .. } => StateName::Starting,
        },
        Some(end) if end.failure().is_some() => StateName::Failed,
        Some(end) if end.exit_code() == Some(0) => StateName::Success,
        Some(_) => StateName::Cancelled,
    }
}

fn signal(end: &AttemptEnd) -> Option<u8> {
    match end {
        AttemptEnd::Lost(_) => None,
        AttemptEnd::Reported(report) => match report.ending {
            Ending::Signalled { signal } => Some(signal),
            Ending::Exited { .. }
            | Ending::OutOfMemory { .. }
            | Ending::Stopped { .. }
            | Ending::NeverStarted { .. }
            | Ending::Vanished { .. } => None,
        },
    }
}

pub(super) fn trigger(trigger: &Trigger) -> &'static str {
    match trigger {
        Trigger::Manual => "manual",
        Trigger::Retry => "retry",
        Trigger::Rerun => "rerun",
        Trigger::Schedule { .. } => "schedule",
        Trigger::Needs { .. } => "needs",
        Trigger::Backfill => "backfill",
    }
}

fn tick(trigger: &Trigger) -> Option<ScheduleTick> {
    match trigger {
        Trigger::Schedule { schedule, due } => Some(ScheduleTick {
            cron: schedule.cron().to_owned(),
            timezone: schedule.timezone().to_owned(),
            due: moment(*due),
        }),
        Trigger::Manual | Trigger::Retry | Trigger::Rerun | Trigger::Needs { .. } | Trigger::Backfill => None,
    }
}

fn needs(trigger: &Trigger) -> Vec<NeededExecution> {
    let show = |by: &NeededBy| NeededExecution { workflow: by.workflow.to_string(), execution: by.execution };
    match trigger {
        Trigger::Needs { by } => by.iter().map(show).collect(),
        Trigger::Manual | Trigger::Retry | Trigger::Rerun | Trigger::Schedule { .. } | Trigger::Backfill => {
            Vec::new()
        }
    }
}

fn waiting(execution: &core::Execution) -> Option<Waiting> {
    let waiting = match &execution.state {
        ExecutionState::Queued { waiting } => waiting,
        ExecutionState::Provisioning { .. }
        | ExecutionState::Starting { .. }
        | ExecutionState::Running { .. }
        | ExecutionState::Success { .. }
        | ExecutionState::Failed { .. }
        | ExecutionState::Cancelled { .. } => return None,
    };
    let (reason, until) = match &waiting.reason {
        WaitingReason::Worker => ("worker", None),
        WaitingReason::WorkerLimit { .. } => ("worker_limit", None),
        WaitingReason::Concurrency { .. } => ("concurrency", None),
        WaitingReason::Backoff { until, .. } => ("backoff", Some(moment(*until))),
        WaitingReason::Budget { until, .. } => ("budget", Some(moment(*until))),
        WaitingReason::Hold { .. } => ("hold", None),
        WaitingReason::Draining => ("draining", None),
    };
    let since = moment(waiting.since);
    let tries = execution.launch_tries.iter().map(LaunchTry::from).collect();
    let message = waiting.reason.to_string();
    Some(Waiting { reason: reason.to_owned(), message, since, until, behind: Vec::new(), tries })
}

#[cfg(test)]
#[path = "execution_tests.rs"]
mod tests;
