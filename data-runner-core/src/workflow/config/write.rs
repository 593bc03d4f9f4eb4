//! A configuration back as text: every default spelt out, in the format's own order.

use serde_yaml::{Mapping, Value};

use super::{ParamDefault, ParamKind, ParamSpec, WorkflowConfig};
use crate::cost::Budget;
use crate::execution::RetryRule;
use crate::workflow::{
    ArtifactRule, Compute, ConcurrencyRule, Dependencies, Matrix, Need, Notification, OnOutOfMemory,
    ParamValue, PythonDependency, ScheduleLine, Spot,
};
use crate::yaml::{write_duration, write_size};

/// Writes `config` as a `config.yaml` that [`parse`](super::parse) reads as the same configuration. Defaults that hold
/// are spelt out, so that it says all there is to know.
///
/// # Errors
/// When it cannot be written as YAML; no configuration that was parsed is known to fail.
pub fn to_yaml(config: &WorkflowConfig) -> Result<String, serde_yaml::Error> {
    let mut yaml = Mapping::new();
    put(&mut yaml, "worker_type", config.worker_type.as_str());
    put(&mut yaml, "instance_size", config.instance_size.as_str());
    put_some(&mut yaml, "description", config.description.as_deref());
    put_some(&mut yaml, "owner", config.owner.as_deref());
    put_map(&mut yaml, "labels", config.labels.iter().map(|(name, value)| (name, value.as_str().into())));
    put(&mut yaml, "entrypoint", config.entrypoint.as_str());
    put_list(&mut yaml, "include", &config.include);
    put_map(&mut yaml, "params", config.params.iter().map(|(name, spec)| (name, param(spec))));
    put_map(&mut yaml, "env", config.env.iter().map(|(name, value)| (name, value.as_str().into())));
    put_map(&mut yaml, "secrets", config.secrets.iter().map(|(name, at)| (name, at.to_string().into())));
    let dependencies = dependencies(&config.dependencies);
    if !dependencies.is_empty() {
        put(&mut yaml, "dependencies", dependencies);
    }
    put(&mut yaml, "retries", config.retries.rules.iter().map(retry).collect::<Vec<Value>>());
    put(&mut yaml, "timeout", write_duration(config.timeout));
    if let Some(late_after) = config.late_after {
        put(&mut yaml, "late_after", write_duration(late_after));
    }
    put(&mut yaml, "keep_warm", write_duration(config.keep_warm));
    put(&mut yaml, "priority", config.queueing.priority.points());
    if let Some(spec) = &config.budget {
        put(&mut yaml, "budget", budget(spec));
    }
    if let Some(within) = config.queueing.start_within {
        put(&mut yaml, "start_within", write_duration(within));
    }
    if let Some(rule) = &config.queueing.concurrency {
        put(&mut yaml, "concurrency", concurrency(rule));
    }
    let compute = compute(&config.compute);
    if !compute.is_empty() {
        put(&mut yaml, "compute", compute);
    }
    put_some_list(&mut yaml, "schedule", config.schedule.iter().map(schedule).collect());
    put_some_list(&mut yaml, "needs", config.needs.iter().map(need).collect());
    if let Some(matrix) = &config.matrix {
        put(&mut yaml, "matrix", write_matrix(matrix));
    }
    put_some_list(&mut yaml, "artifacts", config.artifacts.iter().map(artifact).collect());
    put_some_list(&mut yaml, "notifications", config.notifications.iter().map(notification).collect());
    serde_yaml::to_string(&yaml)
}

fn put(yaml: &mut Mapping, key: &str, value: impl Into<Value>) {
    yaml.insert(key.into(), value.into());
}

fn put_some(yaml: &mut Mapping, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        put(yaml, key, value);
    }
}

fn put_some_list(yaml: &mut Mapping, key: &str, items: Vec<Value>) {
    if !items.is_empty() {
        put(yaml, key, items);
    }
}

fn put_list(yaml: &mut Mapping, key: &str, items: &[String]) {
    put_some_list(yaml, key, texts(items));
}

fn put_map<'a>(yaml: &mut Mapping, key: &str, entries: impl Iterator<Item = (&'a String, Value)>) {
    let map: Mapping = entries.map(|(name, value)| (name.as_str().into(), value)).collect();
    if !map.is_empty() {
        put(yaml, key, map);
    }
}

fn texts(items: &[String]) -> Vec<Value> {
    items.iter().map(|item| item.as_str().into()).collect()
}

fn param(spec: &ParamSpec) -> Value {
    let mut yaml = Mapping::new();
    put(&mut yaml, "type", spec.kind.name());
    if let ParamKind::Enum { values } = &spec.kind {
        put(&mut yaml, "values", texts(values));
    }
    match &spec.default {
        None => {}
        Some(ParamDefault::Value(value)) => put(&mut yaml, "default", scalar(value)),
        Some(reference) => put_some(&mut yaml, "default", reference.to_json().as_str()),
    }
    put_some(&mut yaml, "description", spec.description.as_deref());
    yaml.into()
}

fn dependencies(dependencies: &Dependencies) -> Mapping {
    let mut yaml = Mapping::new();
    put_some(&mut yaml, "python", dependencies.python.as_deref());
    match &dependencies.requirements {
        PythonDependency::Default => {}
        PythonDependency::File(path) => put(&mut yaml, "requirements", path.as_str()),
        PythonDependency::List(lines) => put(&mut yaml, "requirements", texts(lines)),
    }
    let mut duckdb = Mapping::new();
    put_some(&mut duckdb, "version", dependencies.duckdb.version.as_deref());
    put_list(&mut duckdb, "extensions", &dependencies.duckdb.extensions);
    if !duckdb.is_empty() {
        put(&mut yaml, "duckdb", duckdb);
    }
    yaml
}

fn retry(rule: &RetryRule) -> Value {
    let mut backoff = Mapping::new();
    put(&mut backoff, "initial", write_duration(rule.backoff.initial));
    put(&mut backoff, "factor", rule.backoff.factor);
    put(&mut backoff, "max", write_duration(rule.backoff.max));
    let mut yaml = Mapping::new();
    put(&mut yaml, "on", rule.on.iter().map(|cause| cause.as_str().into()).collect::<Vec<Value>>());
    put(&mut yaml, "max_attempts", rule.max_attempts);
    put(&mut yaml, "backoff", backoff);
    yaml.into()
}

fn budget(budget: &Budget) -> Mapping {
    let mut yaml = Mapping::new();
    for (key, amount) in [("per_run_usd", budget.per_run), ("per_month_usd", budget.per_month)] {
        if let Some(amount) = amount {
            put(&mut yaml, key, amount.usd());
        }
    }
    put(&mut yaml, "on_exceed", budget.on_exceed.as_str());
    yaml
}

fn concurrency(rule: &ConcurrencyRule) -> Mapping {
    let mut yaml = Mapping::new();
    put(&mut yaml, "limit", rule.limit.get());
    let key = rule.key.to_string();
    put_some(&mut yaml, "key", Some(key.as_str()).filter(|key| !key.is_empty()));
    put(&mut yaml, "on_conflict", rule.on_conflict.as_str());
    yaml
}

/// Only what is asked for: what is not said is the installation's, which a configuration does not know.
fn compute(compute: &Compute) -> Mapping {
    let mut yaml = Mapping::new();
    if compute.spot != Spot::default() {
        put(&mut yaml, "spot", compute.spot.as_str());
    }
    let sizes = compute.fallback_instance_sizes.iter().map(|size| size.as_str().into()).collect();
    put_some_list(&mut yaml, "fallback_instance_sizes", sizes);
    if let Some(bytes) = compute.disk_bytes {
        put(&mut yaml, "disk", write_size(bytes));
    }
    put_some(&mut yaml, "region", compute.region.as_deref());
    put_list(&mut yaml, "subnets", &compute.subnets);
    put_some(&mut yaml, "instance_profile", compute.instance_profile.as_deref());
    put_some(&mut yaml, "image", compute.image.as_deref());
    if compute.on_out_of_memory != OnOutOfMemory::default() {
        put(&mut yaml, "on_out_of_memory", compute.on_out_of_memory.as_str());
    }
    yaml
}

fn schedule(line: &ScheduleLine) -> Value {
    let mut yaml = Mapping::new();
    put(&mut yaml, "cron", line.schedule.cron());
    put(&mut yaml, "timezone", line.schedule.timezone());
    put(&mut yaml, "catch_up", line.catch_up.as_str());
    if let Some(window) = line.catch_up.window() {
        put(&mut yaml, "catch_up_window", write_duration(window));
    }
    put(&mut yaml, "jitter", write_duration(line.jitter));
    yaml.into()
}

/// Numbers and booleans as such, the rest as text.
fn scalar(value: &ParamValue) -> Value {
    match value {
        ParamValue::Int(number) => (*number).into(),
        ParamValue::Float(number) => (*number).into(),
        ParamValue::Bool(value) => (*value).into(),
        ParamValue::String(_) | ParamValue::Enum(_) | ParamValue::Date(_) | ParamValue::Datetime(_) => {
            value.to_text().into()
        }
    }
}

fn write_matrix(matrix: &Matrix) -> Value {
    let mut yaml = Mapping::new();
    let values = |(name, values): (&String, &Vec<ParamValue>)| {
        (Value::from(name.as_str()), values.iter().map(scalar).collect::<Vec<Value>>().into())
    };
    put(&mut yaml, "values", matrix.values.iter().map(values).collect::<Mapping>());
    if let Some(most) = matrix.max_parallel {
        put(&mut yaml, "max_parallel", most);
    }
    put(&mut yaml, "fail_fast", matrix.fail_fast);
    yaml.into()
}

fn artifact(rule: &ArtifactRule) -> Value {
    let mut yaml = Mapping::new();
    put(&mut yaml, "name", rule.name.as_str());
    put(&mut yaml, "path", rule.path.as_str());
    put(&mut yaml, "retain", write_duration(rule.retain));
    yaml.into()
}

fn need(need: &Need) -> Value {
    let mut yaml = Mapping::new();
    put(&mut yaml, "workflow", need.workflow.to_string());
    put(&mut yaml, "within", write_duration(need.within));
    yaml.into()
}

fn notification(rule: &Notification) -> Value {
    let mut yaml = Mapping::new();
    put(&mut yaml, "on", rule.on.iter().map(|event| event.as_str().into()).collect::<Vec<Value>>());
    put(&mut yaml, "webhook", rule.webhook.to_string());
    put(&mut yaml, "format", rule.format.as_str());
    yaml.into()
}
