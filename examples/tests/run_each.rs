//! Each example program runs to its end and prints what it is for.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// More than any of them needs, also on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a program to its end; what it printed.
fn output_of(program: &str) -> String {
    let mut child = Command::new(program).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let give_up = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if Instant::now() > give_up => {
                child.kill().unwrap();
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let (mut printed, mut complaints) = (String::new(), String::new());
    // What it prints is far less than a pipe holds, so nothing had to be read while it ran.
    child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();
    assert!(status.is_some_and(|status| status.success()), "{status:?}\n{printed}\n{complaints}");
    printed
}

#[test]
fn embed_supervisor_runs_a_workflow_on_an_agent_of_its_own() {
    let printed = output_of(env!("CARGO_BIN_EXE_embed_supervisor"));
    assert_eq!(printed, "    hello, embedder\nmy-workflows/greet: success\n");
}

#[test]
fn own_axum_app_serves_data_runner_beside_its_own_routes() {
    let printed = output_of(env!("CARGO_BIN_EXE_own_axum_app"));
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(
        lines,
        [
            "POST /greetings/Ada: greeting ended as success",
            "GET /data-runner/executions: \"my-workflows/greet\" \"success\"",
            "GET /data-runner/executions/ID/logs: hello, Ada",
        ]
    );
}

#[test]
fn custom_provisioner_runs_a_workflow_and_leaves_no_machine() {
    let printed = output_of(env!("CARGO_BIN_EXE_custom_provisioner"));
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(lines[..2], ["    hello from a machine of my own", "my-workflows/hello: success"]);
    assert_eq!(lines.len(), 4, "{printed}");
    assert!(lines[2..].iter().all(|machine| machine.contains("Terminated")), "{printed}");
}

#[test]
fn custom_worker_type_runs_awk_and_tells_a_failed_run_from_a_good_one() {
    let printed = output_of(env!("CARGO_BIN_EXE_custom_worker_type"));
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(
        lines[..3],
        ["    eu: 2 rows, 42 in all", "my-workflows/orders: success", "    no rows of us"]
    );
    assert!(lines[3].starts_with("my-workflows/orders: failed, user_error: "), "{printed}");
}
