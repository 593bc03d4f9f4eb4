//! Groups as REST shows them.

use std::collections::BTreeMap;

use data_runner_core::group::{self as core, GroupKind};
use data_runner_core::id::{ExecutionId, GroupId, WorkflowId};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Execution, moment};

/// Executions of one workflow that belong together.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Group {
    /// Its id (UUIDv7: ids sort by creation).
    #[schema(value_type = uuid::Uuid)]
    pub id: GroupId,
    /// `matrix` or `backfill`.
    pub kind: String,
    /// The first date of a backfill.
    #[schema(value_type = Option<String>, format = Date)]
    pub from: Option<Date>,
    /// Its last date.
    #[schema(value_type = Option<String>, format = Date)]
    pub to: Option<Date>,
    /// The workflow's full name, `repo/name`.
    pub workflow: String,
    /// The workflow's id.
    #[schema(value_type = uuid::Uuid)]
    pub workflow_id: WorkflowId,
    /// `running`, `paused`, `cancelling`, `cancelled` or `done`.
    pub state: String,
    /// The revision whose code all of it runs.
    pub revision: String,
    /// What started it: `manual`, `schedule`, `needs` or `backfill`.
    pub trigger: String,
    /// How many executions may be active at one time; null: all of them.
    pub max_parallel: Option<u32>,
    /// Whether one that fails ends the others.
    pub fail_fast: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How many of its members are `pending`, `active`, `success`, `failed`, `cancelled` and `skipped`.
    pub counts: BTreeMap<String, usize>,
    /// The full names of the workflows that start when all of it has succeeded, in the answer to `GET /groups/{id}` only.
    pub needed_by: Option<Vec<String>>,
    /// Its members, in the order in which they start; null in listings.
    pub members: Option<Vec<Member>>,
}

/// One execution of a group.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Member {
    /// `pending`, `active`, `success`, `failed`, `cancelled`, or `skipped`: it never starts.
    pub state: String,
    /// All of its parameters.
    pub params: serde_json::Map<String, serde_json::Value>,
    /// The date that it runs for.
    #[schema(value_type = Option<String>, format = Date)]
    pub schedule_date: Option<Date>,
    /// Its execution; null until it has one.
    #[schema(value_type = Option<uuid::Uuid>)]
    pub execution: Option<ExecutionId>,
}

/// What was started: a group if the workflow has a matrix, or one execution.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Started {
    /// Several executions.
    Group(Box<Group>),
    /// One execution.
    Execution(Box<Execution>),
}

/// What a backfill would run: the answer to a dry run.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct BackfillPlan {
    /// The executions, in the order in which they would start.
    pub items: Vec<Member>,
}

impl Group {
    /// The group without its members.
    pub(crate) fn overview(group: &core::Group) -> Self {
        let (kind, from, to) = match group.kind {
            GroupKind::Matrix => ("matrix", None, None),
            GroupKind::Backfill { from, to } => ("backfill", Some(from), Some(to)),
        };
        Self {
            id: group.id,
            kind: kind.to_owned(),
            from,
            to,
            workflow: group.workflow().to_string(),
            workflow_id: group.workflow_id(),
            state: group.state.name().to_owned(),
            revision: group.template.job.revision.to_string(),
            trigger: super::execution::trigger(&group.template.trigger).to_owned(),
            max_parallel: group.max_parallel,
            fail_fast: group.fail_fast,
            created_at: moment(group.created_at),
            ended_at: group.state.ended_at().map(moment),
            counts: group.counts().into_iter().map(|(name, count)| (name.to_owned(), count)).collect(),
            needed_by: None,
            members: None,
        }
    }
}

impl From<&core::Group> for Group {
    fn from(group: &core::Group) -> Self {
        Self { members: Some(group.members.iter().map(Member::from).collect()), ..Self::overview(group) }
    }
}

impl From<&core::Member> for Member {
    fn from(member: &core::Member) -> Self {
        Self {
            state: member.state.name().to_owned(),
            params: member.params.iter().map(|(name, value)| (name.clone(), value.to_json())).collect(),
            schedule_date: member.dates.map(|dates| dates.date),
            execution: member.state.execution(),
        }
    }
}
