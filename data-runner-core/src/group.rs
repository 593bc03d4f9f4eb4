//! Groups: executions of one workflow that belong together, one for each combination of a matrix or each date of a
//! backfill. A group is prepared once: all members run the same code, and their parameters are known before the first
//! one starts.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::event::Submit;
use crate::execution::{Execution, ExecutionState, Lateness, Queueing, StateName, Waiting, WaitingReason};
use crate::id::{ExecutionId, GroupId, QualifiedName, WorkflowId};
use crate::time::Timestamp;
use crate::workflow::{JobSpec, ParamValue, ScheduleDates};

/// The most members of a group.
pub const MAX_MEMBERS: usize = 1_000;

/// Executions of one workflow that belong together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Its id.
    pub id: GroupId,
    /// Why it was made.
    pub kind: GroupKind,
    /// How many members may be active at one time; `None`: all of them.
    pub max_parallel: Option<u32>,
    /// Whether a member that fails ends the others.
    pub fail_fast: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// Where it stands.
    pub state: GroupState,
    /// What each member runs, but for its own parameters, dates and times; it is never run itself.
    pub template: Arc<Execution>,
    /// Its members, in the order in which they start.
    pub members: Vec<Member>,
}

/// Why a group was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum GroupKind {
    /// The workflow has a matrix.
    Matrix,
    /// Somebody asked for these dates.
    Backfill {
        /// The first.
        from: Date,
        /// The last.
        to: Date,
    },
}

/// Where a group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum GroupState {
    /// Its members are started as there is room.
    Running,
    /// No further member is started; those that are active go on.
    Paused,
    /// No further member is started, and those that are active are told to stop.
    Cancelling,
    /// Somebody cancelled it, and nothing of it is active.
    Cancelled {
        /// Since when.
        at: Timestamp,
    },
    /// Every member has ended, or was left out since another one failed.
    Done {
        /// Since when.
        at: Timestamp,
    },
}

impl GroupState {
    /// The state's public name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Cancelling => "cancelling",
            Self::Cancelled { .. } => "cancelled",
            Self::Done { .. } => "done",
        }
    }

    /// When it ended, if it has. An ended group never changes again.
    pub const fn ended_at(self) -> Option<Timestamp> {
        match self {
            Self::Cancelled { at } | Self::Done { at } => Some(at),
            Self::Running | Self::Paused | Self::Cancelling => None,
        }
    }
}

/// One execution of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// All of its parameters.
    pub params: BTreeMap<String, ParamValue>,
    /// The dates that it runs for.
    pub dates: Option<ScheduleDates>,
    /// How it stands in line, which may depend on its parameters.
    #[serde(default)]
    pub queueing: Queueing,
    /// Where it stands.
    pub state: MemberState,
}

impl Member {
    /// One that has not started.
    pub const fn new(
        params: BTreeMap<String, ParamValue>,
        dates: Option<ScheduleDates>,
        queueing: Queueing,
    ) -> Self {
        Self { params, dates, queueing, state: MemberState::Pending }
    }
}

/// Where a member stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// It has not started.
    Pending,
    /// It has an execution that has not ended.
    Active(ExecutionId),
    /// Its execution succeeded.
    Success(ExecutionId),
    /// Its execution failed.
    Failed(ExecutionId),
    /// Its execution was cancelled.
    Cancelled(ExecutionId),
    /// It never starts: the group was cancelled, or another member failed.
    Skipped,
}

impl MemberState {
    /// Every public name, in the order of a member's life.
    pub const NAMES: [&str; 6] = ["pending", "active", "success", "failed", "cancelled", "skipped"];

    /// The state's public name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active(_) => "active",
            Self::Success(_) => "success",
            Self::Failed(_) => "failed",
            Self::Cancelled(_) => "cancelled",
            Self::Skipped => "skipped",
        }
    }

    /// Its execution, if it has one.
    pub const fn execution(self) -> Option<ExecutionId> {
        match self {
            Self::Active(id) | Self::Success(id) | Self::Failed(id) | Self::Cancelled(id) => Some(id),
            Self::Pending | Self::Skipped => None,
        }
    }

    /// That of a member whose execution is in this state.
    pub const fn of(execution: ExecutionId, state: StateName) -> Self {
        match state {
            StateName::Success => Self::Success(execution),
            StateName::Failed => Self::Failed(execution),
            StateName::Cancelled => Self::Cancelled(execution),
            StateName::Queued | StateName::Provisioning | StateName::Starting | StateName::Running => {
                Self::Active(execution)
            }
        }
    }

    const fn is_open(self) -> bool {
        match self {
            Self::Pending | Self::Active(_) => true,
            Self::Success(_) | Self::Failed(_) | Self::Cancelled(_) | Self::Skipped => false,
        }
    }
}

/// The place of an execution in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The group.
    pub group: GroupId,
    /// The place among its members, from 0.
    pub index: u32,
}

/// A group that is to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupOrder {
    /// What each member runs, but for its parameters and dates, and what starts the group.
    pub submit: Submit,
    /// Why it is made.
    pub kind: GroupKind,
    /// Its members, in the order in which they are to start; 1 to [`MAX_MEMBERS`].
    pub members: Vec<Member>,
    /// How many may be active at one time; `None`: all of them.
    pub max_parallel: Option<u32>,
    /// Whether a member that fails ends the others.
    pub fail_fast: bool,
}

impl GroupOrder {
    /// The group that it makes.
    pub fn into_group(self, id: GroupId, at: Timestamp) -> Group {
        let waiting = Waiting { reason: WaitingReason::Worker, since: at };
        let template = self.submit.into_execution(ExecutionId::from_uuid(id.uuid()), waiting);
        Group {
            id,
            kind: self.kind,
            max_parallel: self.max_parallel,
            fail_fast: self.fail_fast,
            created_at: at,
            state: GroupState::Running,
            template: Arc::new(template),
            members: self.members,
        }
    }
}

impl Group {
    /// The workflow.
    pub fn workflow_id(&self) -> WorkflowId {
        self.template.workflow_id
    }

    /// The workflow's full name.
    pub fn workflow(&self) -> &QualifiedName {
        self.template.workflow()
    }

    /// The execution of a member that starts now.
    pub fn execution_of(&self, index: usize, id: ExecutionId, waiting: Waiting) -> Option<Execution> {
        let member = self.members.get(index)?;
        let job = JobSpec { params: member.params.clone(), ..JobSpec::clone(&self.template.job) };
        // Nobody is late who had to wait for others of his group.
        let late = match self.template.late {
            Lateness::At { at } => Lateness::At { at: at.after(waiting.since.since(self.created_at)) },
            unchanged @ (Lateness::Never | Lateness::Since { .. }) => unchanged,
        };
        Some(Execution {
            late,
            start_by: member.queueing.start_within.map(|within| waiting.since.after(within)),
            id,
            job: Arc::new(job),
            dates: member.dates,
            queueing: member.queueing.clone(),
            group: Some(Membership { group: self.id, index: u32::try_from(index).unwrap_or(u32::MAX) }),
            created_at: waiting.since,
            state: ExecutionState::Queued { waiting },
            ..Execution::clone(&self.template)
        })
    }

    /// The next member to start, if one may.
    pub fn next_to_start(&self) -> Option<usize> {
        if self.state != GroupState::Running {
            return None;
        }
        let active = self.members.iter().filter(|it| matches!(it.state, MemberState::Active(_))).count();
        if self.max_parallel.is_some_and(|most| active >= most as usize) {
            return None;
        }
        self.members.iter().position(|member| member.state == MemberState::Pending)
    }

    /// The executions that have not ended.
    pub fn active(&self) -> impl Iterator<Item = ExecutionId> {
        self.members.iter().filter_map(|member| match member.state {
            MemberState::Active(id) => Some(id),
            MemberState::Pending
            | MemberState::Success(_)
            | MemberState::Failed(_)
            | MemberState::Cancelled(_)
            | MemberState::Skipped => None,
        })
    }

    /// Those members that have not started never will.
    pub fn skip_pending(&mut self) {
        for member in self.members.iter_mut().filter(|member| member.state == MemberState::Pending) {
            member.state = MemberState::Skipped;
        }
    }

    /// Ends the group if nothing of it is open.
    pub fn end_if_over(&mut self, at: Timestamp) {
        if self.state.ended_at().is_some() || self.members.iter().any(|member| member.state.is_open()) {
            return;
        }
        self.state = match self.state {
            GroupState::Cancelling => GroupState::Cancelled { at },
            GroupState::Running
            | GroupState::Paused
            | GroupState::Cancelled { .. }
            | GroupState::Done { .. } => GroupState::Done { at },
        };
    }

    /// Whether all members that run for this date have succeeded: a workflow that needs this one waits for all of them.
    pub fn has_succeeded_for(&self, dates: Option<ScheduleDates>) -> bool {
        let mut of_date = self.members.iter().filter(|member| member.dates == dates);
        of_date.all(|member| matches!(member.state, MemberState::Success(_)))
    }

    /// How many members there are in each state, by its public name.
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts: BTreeMap<&'static str, usize> = MemberState::NAMES.map(|name| (name, 0)).into();
        for member in &self.members {
            *counts.entry(member.state.name()).or_default() += 1;
        }
        counts
    }
}
