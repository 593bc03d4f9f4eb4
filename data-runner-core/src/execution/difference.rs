//! What changed between two executions.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Execution;

/// One thing in which two executions differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// What, as a JSON pointer (RFC 6901): `/params/day`, `/revision`.
    pub pointer: String,
    /// What it was in the first one; `None`: it had none.
    pub from: Option<Value>,
    /// What it was in the second one.
    pub to: Option<Value>,
}

/// In what two executions were asked for differently, and in which packages they got for it, in the order of the pointers.
/// How they fared is not compared; what their code differs in is in the diff of their revisions.
pub fn differences(from: &Execution, to: &Execution) -> Vec<Difference> {
    let (mut from, mut to) = (leaves(from), leaves(to));
    to.retain(|pointer, value| {
        let is_same = from.get(pointer) == Some(value);
        if is_same {
            from.remove(pointer);
        }
        !is_same
    });
    let mut differences: BTreeMap<String, Difference> = BTreeMap::new();
    for (pointer, value) in from {
        let entry = Difference { pointer: pointer.clone(), from: Some(value), to: None };
        differences.insert(pointer, entry);
    }
    for (pointer, value) in to {
        let new = || Difference { pointer: pointer.clone(), from: None, to: None };
        differences.entry(pointer.clone()).or_insert_with(new).to = Some(value);
    }
    differences.into_values().collect()
}

/// Everything that is compared, by its pointer.
fn leaves(execution: &Execution) -> BTreeMap<String, Value> {
    let job = &execution.job;
    let params: BTreeMap<&String, Value> =
        job.params.iter().map(|(name, value)| (name, value.to_json())).collect();
    let lock = execution.packages();
    let packages: BTreeMap<&str, &str> = lock
        .iter()
        .flat_map(|lock| lock.packages().iter().map(|(name, origin)| (name.as_str(), origin.text())))
        .collect();
    let asked = json!({
        "workflow": job.workflow.to_string(),
        "revision": job.revision,
        "bundle": job.bundle.hash,
        "worker_type": job.worker_type,
        "entrypoint": job.entrypoint,
        "python_path": job.python_path,
        "params": params,
        "env": job.env,
        "secrets": job.secrets,
        "dependencies": job.dependencies,
        "timeout_seconds": job.timeout.as_secs_f64(),
        "instance_size": execution.instance_size,
        "compute": execution.compute,
        "labels": execution.labels,
        "packages": packages,
        "python": lock.and_then(|lock| lock.python()),
    });
    let mut leaves = BTreeMap::new();
    collect(String::new(), asked, &mut leaves);
    leaves
}

fn collect(pointer: String, value: Value, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let name = name.replace('~', "~0").replace('/', "~1");
                collect(format!("{pointer}/{name}"), value, into);
            }
        }
        // What is not there is not asked for.
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            into.insert(pointer, value);
        }
    }
}
