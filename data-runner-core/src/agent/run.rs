//! One attempt on this agent, from Assign to the end of its folder.

use std::sync::Arc;
use std::time::Duration;

use super::RunRecord;
use super::keeping::Keeping;
use super::log_flow::LogFlow;
use crate::execution::{Ending, FinishReport, Phase, StopReason, Usage};
use crate::id::Claim;
use crate::log::LogOffset;
use crate::message::AttemptStatus;
use crate::time::{Mono, Now, Timestamp};
use crate::workflow::{JobSpec, PackageLock};

/// An attempt that this agent holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Run {
    pub(super) claim: Claim,
    pub(super) job: Arc<JobSpec>,
    pub(super) accepted_at: Timestamp,
    pub(super) step: Step,
    /// Why it is to stop, if it is. `Disowned`: nobody wants to hear of its end.
    pub(super) stop: Option<StopReason>,
    pub(super) log: LogFlow,
    /// The packages of its environment, once that is made, where they are known.
    pub(super) packages: Option<Arc<PackageLock>>,
    reached: Vec<(Phase, Mark)>,
}

/// How far an attempt is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Its code is being brought; `tries` that a connected supervisor did not answer.
    Fetching { work: Work, tries: u32 },
    /// Its environment is being made.
    Preparing,
    /// It is being started; whether there is a process is not known.
    Starting,
    /// The agent looks for the process that it, or an earlier agent, may have started.
    Adopting { work: Work },
    /// It runs. `timeout`: when it must be stopped; `None` once that has been done.
    Running { timeout: Option<Mono> },
    /// It has ended, and the files that it left are being brought home.
    Keeping(Keeping),
    /// It is over, and the supervisor has to know.
    Ended { report: Box<FinishReport>, kept_by: Keeper, delivery: Delivery },
    /// Nothing is owed; its folder is being removed.
    Leaving,
}

/// Whether something is being done, or will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Underway,
    Due(Mono),
}

/// Who can tell an end again after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeper {
    /// The executor: it finds the job, ended.
    Executor,
    /// The attempt's record.
    Record,
}

/// Whether the supervisor has acknowledged an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// No; to be reported (again) at that time.
    Owed(Mono),
    /// It is committed.
    Acknowledged,
}

/// When a phase was reached: `at`, or so long `before` that (what an agent knows from before its own start).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    at: Mono,
    before: Duration,
}

impl Run {
    /// A new one, whose code is being fetched.
    pub(super) fn accepted(claim: Claim, job: Arc<JobSpec>, now: Now) -> Self {
        let mut run = Self {
            claim,
            job,
            accepted_at: now.wall,
            step: Step::Fetching { work: Work::Underway, tries: 0 },
            stop: None,
            log: LogFlow::new(),
            packages: None,
            reached: Vec::new(),
        };
        run.reach(Phase::Connected, now, Duration::ZERO);
        run.log.open(LogOffset(0), now.mono);
        run
    }

    /// One that an earlier process of this agent held.
    pub(super) fn recovered(record: RunRecord, now: Now) -> Self {
        let step = match record.ended {
            Some(report) => {
                Step::Ended { report, kept_by: Keeper::Record, delivery: Delivery::Owed(now.mono) }
            }
            None => Step::Adopting { work: Work::Due(now.mono) },
        };
        let mut run = Self {
            claim: record.claim,
            job: record.job,
            accepted_at: record.accepted_at,
            step,
            stop: None,
            log: LogFlow::new(),
            packages: record.packages,
            reached: Vec::new(),
        };
        run.reach(Phase::Connected, now, now.wall.since(record.accepted_at));
        run
    }

    /// What must be on disk of it.
    pub(super) fn record(&self) -> RunRecord {
        let ended = match &self.step {
            Step::Ended { report, kept_by: Keeper::Record, .. } => Some(report.clone()),
            Step::Ended { kept_by: Keeper::Executor, .. }
            | Step::Fetching { .. }
            | Step::Preparing
            | Step::Starting
            | Step::Adopting { .. }
            | Step::Running { .. }
            | Step::Keeping(_)
            | Step::Leaving => None,
        };
        RunRecord {
            claim: self.claim,
            job: Arc::clone(&self.job),
            accepted_at: self.accepted_at,
            packages: self.packages.clone(),
            ended,
        }
    }

    /// Notes that a phase was reached, `before` so long.
    pub(super) fn reach(&mut self, phase: Phase, now: Now, before: Duration) {
        if self.reached.iter().all(|(reached, _)| *reached != phase) {
            self.reached.push((phase, Mark { at: now.mono, before }));
        }
    }

    /// Everything that the supervisor should know of it, in order.
    pub(super) fn statuses(&self, now: Now) -> Vec<AttemptStatus> {
        let mut statuses: Vec<AttemptStatus> = self
            .reached
            .iter()
            .map(|(phase, mark)| AttemptStatus::Reached {
                phase: *phase,
                ago: now.mono.since(mark.at).saturating_add(mark.before),
            })
            .collect();
        statuses.extend(self.finished());
        statuses
    }

    /// How far it is, in one status. `None`: nothing is held of it any more.
    pub(super) fn latest_status(&self, now: Now) -> Option<AttemptStatus> {
        match self.step {
            Step::Leaving => None,
            Step::Fetching { .. }
            | Step::Preparing
            | Step::Starting
            | Step::Adopting { .. }
            | Step::Running { .. }
            | Step::Keeping(_)
            | Step::Ended { .. } => self.statuses(now).pop(),
        }
    }

    /// Its end, if it has ended.
    pub(super) fn finished(&self) -> Option<AttemptStatus> {
        match &self.step {
            Step::Ended { report, .. } => Some(AttemptStatus::Finished(report.clone())),
            Step::Fetching { .. }
            | Step::Preparing
            | Step::Starting
            | Step::Adopting { .. }
            | Step::Running { .. }
            | Step::Keeping(_)
            | Step::Leaving => None,
        }
    }

    /// Puts off the next report of its end, which has just been made.
    pub(super) fn repeat_end(&mut self, at: Mono) {
        if let Step::Ended { delivery: Delivery::Owed(next), .. } = &mut self.step {
            *next = at;
        }
    }

    /// Whether it takes a slot: a process of it lives, or may, or will.
    pub(super) fn takes_slot(&self) -> bool {
        match self.step {
            Step::Fetching { .. }
            | Step::Preparing
            | Step::Starting
            | Step::Adopting { .. }
            | Step::Running { .. }
            | Step::Keeping(_) => true,
            Step::Ended { .. } | Step::Leaving => false,
        }
    }

    /// Whether nobody wants to hear of its end.
    pub(super) fn is_disowned(&self) -> bool {
        self.stop == Some(StopReason::Disowned)
    }

    /// When the agent has to look at it again, but for what it keeps.
    pub(super) fn deadline(&self) -> Option<Mono> {
        match &self.step {
            Step::Fetching { work: Work::Due(at), .. } | Step::Adopting { work: Work::Due(at) } => Some(*at),
            Step::Ended { delivery: Delivery::Owed(at), .. } => Some(*at),
            Step::Running { timeout } => *timeout,
            Step::Fetching { work: Work::Underway, .. }
            | Step::Adopting { work: Work::Underway }
            | Step::Ended { delivery: Delivery::Acknowledged, .. }
            | Step::Preparing
            | Step::Starting
            | Step::Keeping(_)
            | Step::Leaving => None,
        }
    }
}

/// The report of a job of which there was never any output.
pub(super) fn without_output(ending: Ending) -> FinishReport {
    FinishReport {
        ending,
        usage: Usage::default(),
        output: None,
        warnings: Vec::new(),
        log_end: LogOffset(0),
        ran_for: Duration::ZERO,
        sql: None,
    }
}
