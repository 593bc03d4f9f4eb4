//! What a worker gets: everything resolved, nothing left to decide.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Resources;
use crate::id::{QualifiedName, Revision, Sha256, WorkerType};

/// One job, complete. It is kept with the execution, so that a retry runs the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// The workflow's full name.
    pub workflow: QualifiedName,
    /// The revision whose code runs.
    pub revision: Revision,
    /// What runs it.
    pub worker_type: WorkerType,
    /// The archive that holds its code.
    pub bundle: BundleRef,
    /// The workflow's folder within the bundle; the job's working directory.
    pub folder: String,
    /// The script, relative to `folder`.
    pub entrypoint: String,
    /// Folders of the bundle (relative to its root) that Python may import from.
    pub python_path: Vec<String>,
    /// Parameters by name, all of them, defaults filled in.
    pub params: BTreeMap<String, ParamValue>,
    /// Environment variables of the job, beside those that Data Runner sets.
    pub env: BTreeMap<String, String>,
    /// What the job's environment must hold.
    pub dependencies: Dependencies,
    /// Memory and processors that it may use.
    pub resources: Resources,
    /// How long it may run, counted from the start of the user's code.
    pub timeout: Duration,
    /// How long it may take to end after TERM, before KILL.
    pub grace: Duration,
}

/// An archive in a BlobStore.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BundleRef {
    /// The archive's SHA-256; its name in the BlobStore, and what the agent checks.
    pub hash: Sha256,
    /// The archive's length in bytes.
    pub bytes: u64,
}

/// The value of a parameter, typed as declared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "snake_case")]
pub enum ParamValue {
    /// Text.
    String(String),
    /// A whole number.
    Int(i64),
    /// A finite number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A calendar date, `YYYY-MM-DD`.
    Date(jiff::civil::Date),
    /// A moment, RFC 3339.
    Datetime(jiff::Timestamp),
    /// One of the declared values.
    Enum(String),
}

impl ParamValue {
    /// The value as a job sees it in `DATA_RUNNER_PARAM_<NAME>`.
    pub fn to_text(&self) -> String {
        match self {
            Self::String(text) | Self::Enum(text) => text.clone(),
            Self::Int(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Bool(value) => value.to_string(),
            Self::Date(date) => date.to_string(),
            Self::Datetime(at) => at.to_string(),
        }
    }

    /// The value as JSON: numbers and booleans as such, the rest as text. What REST shows and `DATA_RUNNER_PARAMS` holds.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Int(number) => (*number).into(),
            Self::Float(number) => (*number).into(),
            Self::Bool(value) => (*value).into(),
            Self::String(_) | Self::Enum(_) | Self::Date(_) | Self::Datetime(_) => self.to_text().into(),
        }
    }
}

/// What the job's environment must hold, as the workflow states it; the executor resolves it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Dependencies {
    /// The wanted Python, as `major.minor`; `None`: the machine's.
    pub python: Option<String>,
    /// Python packages.
    pub requirements: PythonDependency,
    /// The wanted DuckDB.
    pub duckdb: DuckdbDependency,
}

/// Where a workflow's Python packages are stated. A `uv.lock` or a PEP 723 block beside the script wins over this;
/// the executor sees those in the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "from", content = "value", rename_all = "snake_case")]
pub enum PythonDependency {
    /// Nothing beyond what the worker type brings.
    #[default]
    Default,
    /// A requirements file, relative to the workflow's folder.
    File(String),
    /// Requirement lines (PEP 508).
    List(Vec<String>),
}

/// Which DuckDB, with which extensions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DuckdbDependency {
    /// `1.4` means the newest 1.4.x, `1.4.4` exactly that; `None`: the version that Data Runner pins.
    pub version: Option<String>,
    /// Extensions to make ready and load.
    pub extensions: Vec<String>,
}
