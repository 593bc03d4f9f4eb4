//! What becomes an image is made ready ahead of any job.
#![allow(clippy::unwrap_used)]

use std::process::Command;

fn prepare(worker_type: &str, state: &std::path::Path) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_data-runner-agent"));
    command.args(["internal-prepare", worker_type]).arg(state).output().unwrap()
}

#[test]
fn a_worker_type_is_made_ready_without_a_job() {
    let state = tempfile::tempdir().unwrap();
    let prepared = prepare("polars", state.path());
    assert!(prepared.status.success(), "{}", String::from_utf8_lossy(&prepared.stderr));
    assert!(state.path().join("tools/environments").read_dir().unwrap().next().is_some());
    let left: Vec<_> = state.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["tools"], "nothing of the attempt is left");
}

#[test]
fn what_nothing_runs_cannot_be_made_ready() {
    let state = tempfile::tempdir().unwrap();
    let refused = prepare("nothing", state.path());
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("nothing runs nothing"));
}
