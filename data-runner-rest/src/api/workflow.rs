//! Workflows and their configuration as REST shows them.

use std::collections::BTreeMap;

use data_runner_core::id::WorkflowId;
use data_runner_core::workflow::config::{self, ParamDefault, ParamKind, Severity, WorkflowConfig};
use data_runner_core::workflow::{self as core, DefinitionState, Presence};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Budget, moment};

/// A workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Workflow {
    /// Its id, for as long as its repository and folder keep their names.
    #[schema(value_type = uuid::Uuid)]
    pub id: WorkflowId,
    /// The repository that it came from.
    pub repo: String,
    /// Its name: the folder's.
    pub name: String,
    /// Its folder in the repository.
    pub path: String,
    /// Whether it can be run.
    pub state: WorkflowState,
    /// The revision that its definition was read at.
    pub revision: String,
    /// What runs it; null when its configuration is broken, as all that follows from it.
    pub worker_type: Option<String>,
    /// The machine that it wants.
    pub instance_size: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// Whom to ask.
    pub owner: Option<String>,
    /// For filters.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The script, relative to the folder.
    pub entrypoint: Option<String>,
    /// How long it may run, in seconds.
    pub timeout_seconds: Option<f64>,
    /// The priority of its executions, 0 to 100.
    #[serde(default)]
    pub priority: Option<u8>,
    /// What it may cost.
    #[serde(default)]
    pub budget: Option<Budget>,
    /// How long one may wait to be started before it fails, in seconds; null: as long as it takes.
    #[serde(default)]
    pub start_within_seconds: Option<f64>,
    /// How many of its executions may run at one time; null: as many as are asked for.
    #[serde(default)]
    pub concurrency: Option<Concurrency>,
    /// Its parameters, in order of their names.
    #[serde(default)]
    pub params: Vec<Param>,
    /// The workflows whose success starts it.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// The full names of the workflows that its success starts, in the answer to `GET /workflows/{id}` only.
    pub needed_by: Option<Vec<String>>,
    /// All of its configuration as YAML, with the defaults that hold, in the answer to `GET /workflows/{id}` only; null if
    /// it is broken.
    pub definition: Option<String>,
    /// What is wrong with its configuration, or probably not meant.
    #[serde(default)]
    pub problems: Vec<ConfigProblem>,
    /// Since when its executions fail: when the first one failed after which none succeeded.
    pub failing_since: Option<Timestamp>,
    /// Whether its schedules are stopped.
    pub paused: bool,
    /// Since when.
    pub paused_at: Option<Timestamp>,
    /// When it was first seen.
    pub created_at: Timestamp,
    /// When anything of it changed last.
    pub updated_at: Timestamp,
}

/// Whether a workflow can be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkflowState {
    /// It can.
    Valid,
    /// Its configuration is wrong; `problems` says in what.
    Broken,
    /// Its folder is gone from the repository; it comes back with the folder.
    Removed,
    /// A person deleted it; registering it again brings it back.
    Deleted,
}

/// A workflow whose success starts another one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Need {
    /// Its full name, `repo/name`.
    pub workflow: String,
    /// How long its success counts, in seconds.
    pub within_seconds: f64,
}

/// How many executions may run at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Concurrency {
    /// So many.
    pub limit: u32,
    /// Those whose key is the same count together; it may refer to parameters.
    pub key: String,
    /// What becomes of one that cannot start at once: `queue`, `skip` or `cancel_running`.
    pub on_conflict: String,
}

/// A declared parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// `string`, `int`, `float`, `bool`, `date`, `datetime` or `enum`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What an `enum` may be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// What it is when nothing is given; null: it must be given.
    pub default: Option<serde_json::Value>,
    /// For people.
    pub description: Option<String>,
}

/// One thing that is wrong with a configuration, or probably not meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfigProblem {
    /// A stable code, such as `unknown_key`.
    pub code: String,
    /// `error`: it cannot be run; `warning`: it can.
    #[schema(value_type = String)]
    pub severity: Severity,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What was expected, or the nearest valid name.
    pub help: Option<String>,
    /// Where; null: it is about the whole.
    pub location: Option<Location>,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Location {
    /// The file, relative to the repository.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// How many characters are meant.
    pub length: u32,
    /// The text of the line.
    pub text: String,
    /// The JSON pointer (RFC 6901) of the value that is meant.
    pub pointer: String,
}

/// The answer to `POST /workflows`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Registered {
    /// The repository's workflows that can be run.
    pub items: Vec<Workflow>,
    /// What is wrong with the others.
    pub errors: Vec<ConfigProblem>,
}

/// The answer to `POST /validate`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Validated {
    /// Whether it can be run; warnings do not forbid it.
    pub valid: bool,
    /// All errors and warnings, in the order of the text.
    pub problems: Vec<ConfigProblem>,
}

impl From<&core::Workflow> for Workflow {
    fn from(workflow: &core::Workflow) -> Self {
        let (state, revision, config, problems) = match &workflow.definition {
            DefinitionState::Valid(it) => {
                (WorkflowState::Valid, &it.revision, Some(&it.config), &it.warnings)
            }
            DefinitionState::Broken { revision, problems } => {
                (WorkflowState::Broken, revision, None, problems)
            }
        };
        let state = match workflow.presence {
            Presence::Present => state,
            Presence::Removed { .. } => WorkflowState::Removed,
            Presence::Deleted { .. } => WorkflowState::Deleted,
        };
        Self {
            id: workflow.id,
            repo: workflow.repo.to_string(),
            name: workflow.name.to_string(),
            path: workflow.path.clone(),
            state,
            revision: revision.to_string(),
            worker_type: config.map(|it| it.worker_type.to_string()),
            instance_size: config.map(|it| it.instance_size.to_string()),
            description: config.and_then(|it| it.description.clone()),
            owner: config.and_then(|it| it.owner.clone()),
            labels: config.map(|it| it.labels.clone()).unwrap_or_default(),
            entrypoint: config.map(|it| it.entrypoint.clone()),
            timeout_seconds: config.map(|it| it.timeout.as_secs_f64()),
            priority: config.map(|it| it.queueing.priority.points()),
            budget: config.and_then(|it| it.budget.as_ref()).map(|budget| Budget::new(budget, None)),
            start_within_seconds: config.and_then(|it| it.queueing.start_within).map(|it| it.as_secs_f64()),
            concurrency: config.and_then(|it| it.queueing.concurrency.as_ref()).map(Concurrency::from),
            params: config.map(params).unwrap_or_default(),
            needs: needs(workflow),
            needed_by: None,
            definition: None,
            problems: problems.iter().map(ConfigProblem::from).collect(),
            failing_since: workflow.failing_since.map(moment),
            paused: workflow.paused_at.is_some(),
            paused_at: workflow.paused_at.map(moment),
            created_at: moment(workflow.created_at),
            updated_at: moment(workflow.updated_at),
        }
    }
}

impl From<&core::ConcurrencyRule> for Concurrency {
    fn from(rule: &core::ConcurrencyRule) -> Self {
        let on_conflict = rule.on_conflict.as_str().to_owned();
        Self { limit: rule.limit.get(), key: rule.key.to_string(), on_conflict }
    }
}

impl From<&config::Problem> for ConfigProblem {
    fn from(problem: &config::Problem) -> Self {
        Self {
            code: problem.code.clone(),
            severity: problem.severity,
            message: problem.message.clone(),
            help: problem.help.clone(),
            location: problem.location.as_ref().map(|at| Location {
                file: at.file.clone(),
                line: at.line,
                column: at.column,
                length: at.length,
                text: at.text.clone(),
                pointer: at.pointer.clone(),
            }),
        }
    }
}

fn needs(workflow: &core::Workflow) -> Vec<Need> {
    let show = |need: &core::Need| Need {
        workflow: need.workflow.seen_from(&workflow.repo).to_string(),
        within_seconds: need.within.as_secs_f64(),
    };
    workflow.definition.needs().iter().map(show).collect()
}

fn params(config: &WorkflowConfig) -> Vec<Param> {
    let param = |(name, spec): (&String, &config::ParamSpec)| {
        let (kind, values) = match &spec.kind {
            ParamKind::String => ("string", Vec::new()),
            ParamKind::Int => ("int", Vec::new()),
            ParamKind::Float => ("float", Vec::new()),
            ParamKind::Bool => ("bool", Vec::new()),
            ParamKind::Date => ("date", Vec::new()),
            ParamKind::Datetime => ("datetime", Vec::new()),
            ParamKind::Enum { values } => ("enum", values.clone()),
        };
        let default = spec.default.as_ref().map(ParamDefault::to_json);
        Param {
            name: name.clone(),
            kind: kind.to_owned(),
            values,
            default,
            description: spec.description.clone(),
        }
    };
    config.params.iter().map(param).collect()
}
