//! The environment that a job starts in: nothing of the agent's own but what is named here.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::Command;

use data_runner_core::port::{Prepared, RunRequest};

use crate::runner::RunOptions;
use crate::shim::record::OUTPUT_FILE;

const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How the agent's own variables begin.
const OWN: &str = "DATA_RUNNER_";

/// All variables of the job, but its secrets. What is said later wins: the machine's, what passes through, the
/// executor's, the workflow's own, and what Data Runner says of the run.
pub(crate) fn job_env(
    run: &RunRequest,
    prepared: &Prepared,
    options: &RunOptions,
) -> BTreeMap<String, OsString> {
    let mut env = BTreeMap::new();
    let inherited = |name: &str, otherwise: OsString| std::env::var_os(name).unwrap_or(otherwise);
    env.insert("PATH".to_owned(), inherited("PATH", USUAL_PATH.into()));
    env.insert("HOME".to_owned(), inherited("HOME", run.folder.clone().into()));
    env.insert("LANG".to_owned(), "C.UTF-8".into());
    env.insert("TMPDIR".to_owned(), temporary_folder(run).into());
    env.extend(std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        let passes =
            options.passthrough.iter().any(|prefix| name.starts_with(prefix)) && !name.starts_with(OWN);
        passes.then_some((name, value))
    }));
    env.extend(prepared.env.iter().cloned());
    env.extend(run.job.env.iter().map(|(name, value)| (name.clone(), value.into())));
    env.extend(facts_of_the_run(run));
    env
}

/// Keeps the agent's tokens from a program that it starts. Its other variables stay: by them others find what it started.
pub(crate) fn without_tokens(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let shown = name.to_string_lossy();
        if shown.starts_with(OWN) && shown.ends_with("_TOKEN") {
            command.env_remove(name);
        }
    }
}

/// Where the job's temporary files go: they vanish with the run.
pub(crate) fn temporary_folder(run: &RunRequest) -> std::path::PathBuf {
    run.folder.join("tmp")
}

fn facts_of_the_run(run: &RunRequest) -> impl Iterator<Item = (String, OsString)> {
    let job = &run.job;
    let attempt = run.claim.attempt;
    let all: serde_json::Map<_, _> =
        job.params.iter().map(|(name, value)| (name.clone(), value.to_json())).collect();
    let single = job.params.iter().map(|(name, value)| {
        let name: String = name.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
        (format!("DATA_RUNNER_PARAM_{}", name.to_uppercase()), value.to_text().into())
    });
    let single: Vec<(String, OsString)> = single.collect();
    [
        ("DATA_RUNNER_EXECUTION_ID", attempt.execution.to_string().into()),
        ("DATA_RUNNER_ATTEMPT", attempt.number.to_string().into()),
        ("DATA_RUNNER_WORKFLOW", job.workflow.to_string().into()),
        ("DATA_RUNNER_REVISION", job.revision.to_string().into()),
        ("DATA_RUNNER_PARAMS", serde_json::Value::Object(all).to_string().into()),
        ("DATA_RUNNER_OUTPUT", run.folder.join(OUTPUT_FILE).into()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .chain(single)
}
