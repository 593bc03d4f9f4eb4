//! What a worker gets to run.

use std::collections::BTreeMap;

use data_runner_core::id::QualifiedName;
use data_runner_core::workflow::{
    ArtifactRule, BundleRef, Dependencies, DuckdbDependency, JobSpec, ParamValue, PythonDependency, Resources,
};

use super::packages::{choice, read_choice};
use super::proto;
use super::value::{FromWire, NotUnderstood, duration, required, sha256, sha256_bytes, text};

impl From<&JobSpec> for proto::JobSpec {
    fn from(job: &JobSpec) -> Self {
        Self {
            repo: job.workflow.repo.to_string(),
            name: job.workflow.name.to_string(),
            revision: job.revision.to_string(),
            worker_type: job.worker_type.to_string(),
            bundle: Some(proto::BundleRef {
                sha256: sha256_bytes(&job.bundle.hash),
                bytes: job.bundle.bytes,
            }),
            folder: job.folder.clone(),
            entrypoint: job.entrypoint.clone(),
            python_path: job.python_path.clone(),
            params: job.params.iter().map(|(name, value)| (name.clone(), value.into())).collect(),
            env: job.env.clone(),
            dependencies: Some((&job.dependencies).into()),
            resources: Some(proto::Resources {
                memory_bytes: job.resources.memory_bytes,
                cpus: job.resources.cpus,
            }),
            timeout: duration(job.timeout),
            grace: duration(job.grace),
            artifacts: job.artifacts.iter().map(Into::into).collect(),
            secrets: job.secrets.iter().map(|(name, it)| (name.clone(), it.to_string())).collect(),
            packages: choice(&job.packages),
        }
    }
}

impl FromWire<proto::JobSpec> for JobSpec {
    fn from_wire(wire: proto::JobSpec) -> Result<Self, NotUnderstood> {
        let params = wire.params.into_iter().map(|(name, value)| Ok((name, ParamValue::from_wire(value)?)));
        let secrets = wire.secrets.iter().map(|(name, it)| Ok((name.clone(), text(it, "JobSpec.secrets")?)));
        let artifacts = wire.artifacts.into_iter().map(ArtifactRule::from_wire);
        Ok(Self {
            workflow: QualifiedName {
                repo: text(&wire.repo, "JobSpec.repo")?,
                name: text(&wire.name, "JobSpec.name")?,
            },
            revision: text(&wire.revision, "JobSpec.revision")?,
            worker_type: text(&wire.worker_type, "JobSpec.worker_type")?,
            bundle: required(wire.bundle, "JobSpec.bundle")?,
            folder: wire.folder,
            entrypoint: wire.entrypoint,
            python_path: wire.python_path,
            params: params.collect::<Result<BTreeMap<_, _>, NotUnderstood>>()?,
            env: wire.env,
            dependencies: required(wire.dependencies, "JobSpec.dependencies")?,
            resources: required(wire.resources, "JobSpec.resources")?,
            timeout: required(wire.timeout, "JobSpec.timeout")?,
            grace: required(wire.grace, "JobSpec.grace")?,
            artifacts: artifacts.collect::<Result<_, NotUnderstood>>()?,
            secrets: secrets.collect::<Result<BTreeMap<_, _>, NotUnderstood>>()?,
            packages: read_choice(wire.packages)?,
        })
    }
}

impl FromWire<proto::BundleRef> for BundleRef {
    fn from_wire(wire: proto::BundleRef) -> Result<Self, NotUnderstood> {
        Ok(Self { hash: sha256(&wire.sha256)?, bytes: wire.bytes })
    }
}

impl FromWire<proto::Resources> for Resources {
    fn from_wire(wire: proto::Resources) -> Result<Self, NotUnderstood> {
        Ok(Self { memory_bytes: wire.memory_bytes, cpus: wire.cpus })
    }
}

impl From<&ParamValue> for proto::ParamValue {
    fn from(value: &ParamValue) -> Self {
        use proto::param_value::Kind;
        let kind = match value {
            ParamValue::String(text) => Kind::String(text.clone()),
            ParamValue::Int(number) => Kind::Int(*number),
            ParamValue::Float(number) => Kind::Float(*number),
            ParamValue::Bool(value) => Kind::Bool(*value),
            ParamValue::Date(date) => Kind::Date(date.to_string()),
            ParamValue::Datetime(at) => Kind::Datetime(at.to_string()),
            ParamValue::Enum(text) => Kind::Enum(text.clone()),
        };
        Self { kind: Some(kind) }
    }
}

impl FromWire<proto::ParamValue> for ParamValue {
    fn from_wire(wire: proto::ParamValue) -> Result<Self, NotUnderstood> {
        use proto::param_value::Kind;
        Ok(match wire.kind.ok_or_else(|| NotUnderstood::missing("ParamValue.kind"))? {
            Kind::String(text) => Self::String(text),
            Kind::Int(number) => Self::Int(number),
            Kind::Float(number) if number.is_finite() => Self::Float(number),
            Kind::Float(number) => {
                return Err(NotUnderstood::new(format!("ParamValue.float: {number} is not finite")));
            }
            Kind::Bool(value) => Self::Bool(value),
            Kind::Date(date) => Self::Date(text(&date, "ParamValue.date")?),
            Kind::Datetime(at) => Self::Datetime(text(&at, "ParamValue.datetime")?),
            Kind::Enum(text) => Self::Enum(text),
        })
    }
}

impl From<&Dependencies> for proto::Dependencies {
    fn from(wanted: &Dependencies) -> Self {
        use proto::dependencies::Requirements;
        let requirements = match &wanted.requirements {
            PythonDependency::Default => None,
            PythonDependency::File(path) => Some(Requirements::RequirementsFile(path.clone())),
            PythonDependency::List(lines) => {
                Some(Requirements::RequirementsList(proto::RequirementList { lines: lines.clone() }))
            }
        };
        Self {
            python: wanted.python.clone(),
            requirements,
            duckdb_version: wanted.duckdb.version.clone(),
            duckdb_extensions: wanted.duckdb.extensions.clone(),
        }
    }
}

impl FromWire<proto::Dependencies> for Dependencies {
    fn from_wire(wire: proto::Dependencies) -> Result<Self, NotUnderstood> {
        use proto::dependencies::Requirements;
        let requirements = match wire.requirements {
            None => PythonDependency::Default,
            Some(Requirements::RequirementsFile(path)) => PythonDependency::File(path),
            Some(Requirements::RequirementsList(list)) => PythonDependency::List(list.lines),
        };
        Ok(Self {
            python: wire.python,
            requirements,
            duckdb: DuckdbDependency { version: wire.duckdb_version, extensions: wire.duckdb_extensions },
        })
    }
}
