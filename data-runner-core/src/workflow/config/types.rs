//! What a `config.yaml` says, once it is understood.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cost::Budget;
use crate::execution::RetryPolicy;
use crate::id::{WorkerType, WorkflowName};
use crate::workflow::{
    ArtifactRule, Compute, Dependencies, InstanceSize, Matrix, Need, Notification, ParamValue, QueueingRules,
    ScheduleLine, SecretRef,
};

/// A workflow's configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkflowConfig {
    /// What runs it.
    pub worker_type: WorkerType,
    /// The machine that it wants.
    pub instance_size: InstanceSize,
    /// For people.
    pub description: Option<String>,
    /// Whom to ask.
    pub owner: Option<String>,
    /// For filters; also the tags of its machines.
    pub labels: BTreeMap<String, String>,
    /// The script, relative to the folder; the worker type's default is filled in.
    pub entrypoint: String,
    /// Paths of the repository that are added to the bundle, without a trailing slash.
    pub include: Vec<String>,
    /// Declared parameters.
    pub params: BTreeMap<String, ParamSpec>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// What the job's environment must hold.
    pub dependencies: Dependencies,
    /// When to try again.
    pub retries: RetryPolicy,
    /// How long it may run. Default: 6 hours.
    pub timeout: Duration,
    /// How long after its due time it counts as late if it has not started.
    #[serde(default)]
    pub late_after: Option<Duration>,
    /// How long its worker stays for the next execution. Default: not at all.
    pub keep_warm: Duration,
    /// How its machine is chosen and made.
    #[serde(default)]
    pub compute: Compute,
    /// When it runs by itself.
    #[serde(default)]
    pub schedule: Vec<ScheduleLine>,
    /// Environment variables whose values are secrets, resolved where the job runs.
    #[serde(default)]
    pub secrets: BTreeMap<String, SecretRef>,
    /// Whom to tell of what.
    #[serde(default)]
    pub notifications: Vec<Notification>,
    /// What it may cost.
    #[serde(default)]
    pub budget: Option<Budget>,
    /// How its executions stand in line.
    #[serde(default)]
    pub queueing: QueueingRules,
    /// Workflows whose success starts it.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// One execution for each combination of values.
    #[serde(default)]
    pub matrix: Option<Matrix>,
    /// Files of its folder that are kept.
    #[serde(default)]
    pub artifacts: Vec<ArtifactRule>,
}

impl WorkflowConfig {
    /// As it counts in a folder that nobody pushed: nothing of it starts anything by itself, and nobody is told of what
    /// becomes of somebody's trial.
    #[must_use]
    pub fn unpushed(self) -> Self {
        Self { schedule: Vec::new(), needs: Vec::new(), notifications: Vec::new(), ..self }
    }
}

/// A declared parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParamSpec {
    /// What it may hold.
    pub kind: ParamKind,
    /// What it holds when nothing is given; `None`: it must be given.
    pub default: Option<ParamDefault>,
    /// For people.
    pub description: Option<String>,
}

/// What a parameter may hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ParamKind {
    /// Text.
    String,
    /// A whole number of 64 bits.
    Int,
    /// A finite number.
    Float,
    /// `true` or `false`.
    Bool,
    /// `YYYY-MM-DD`.
    Date,
    /// RFC 3339, with an offset.
    Datetime,
    /// One of these.
    Enum {
        /// The values, in the order of the configuration.
        values: Vec<String>,
    },
}

/// A default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "from", content = "value", rename_all = "snake_case")]
pub enum ParamDefault {
    /// This value.
    Value(ParamValue),
    /// `${schedule.date}`: the local date of the schedule's tick; of a run by hand, today (UTC).
    ScheduleDate,
    /// `${schedule.previous_date}`: the last date before that on which the schedule was due; of a run by hand, yesterday.
    SchedulePreviousDate,
    /// `${needs.NAME.output.KEY}`: what a needed workflow wrote, when its success started the run.
    NeedsOutput {
        /// The needed workflow.
        workflow: WorkflowName,
        /// The key of its output.
        key: String,
    },
}

impl ParamDefault {
    /// What `text` means, if it is one of the references that there are.
    pub fn from_reference(text: &str) -> Option<Self> {
        let inner = text.strip_prefix("${")?.strip_suffix('}')?;
        match inner {
            "schedule.date" => return Some(Self::ScheduleDate),
            "schedule.previous_date" => return Some(Self::SchedulePreviousDate),
            _ => {}
        }
        let (workflow, key) = inner.strip_prefix("needs.")?.split_once(".output.")?;
        let named =
            !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        let workflow = workflow.parse().ok()?;
        named.then(|| Self::NeedsOutput { workflow, key: key.to_owned() })
    }

    /// The default as a configuration has it: a value, or the text of a reference.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Value(value) => value.to_json(),
            Self::ScheduleDate => "${schedule.date}".into(),
            Self::SchedulePreviousDate => "${schedule.previous_date}".into(),
            Self::NeedsOutput { workflow, key } => format!("${{needs.{workflow}.output.{key}}}").into(),
        }
    }
}
