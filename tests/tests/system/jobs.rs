//! What jobs do, and what becomes of them: failures, cancels, retries, children, memory, odd output.

use data_runner_tests::{Repository, Sandbox, Server, polars, until, workflow};
use serde_json::{Value, json};

/// A server with one Python workflow `job`.
async fn with_job<'a>(sandbox: &'a Sandbox, config: &str, script: &str) -> Server<'a> {
    let repository = Repository::with(sandbox.join("etl"), [workflow("job", &polars(config), script)]);
    Server::dev(sandbox, &["--workers", "1", repository.url().as_str()]).await
}

fn failure(execution: &Value) -> (&str, &str) {
    let failure = &execution["failure"];
    (failure["cause"].as_str().unwrap_or_default(), failure["message"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn a_failing_job_ends_with_its_own_code_and_is_run_again_as_a_new_execution() {
    let sandbox = Sandbox::new();
    let script = r#"
import os, sys
if os.path.exists(os.environ["DATA_RUNNER_PARAM_MENDED"]):
    print("mended")
else:
    print("no such data", file=sys.stderr)
    sys.exit(3)
"#;
    let server = with_job(&sandbox, "params:\n  mended: {type: string}\n", script).await;
    let rest = &server.rest;
    let first = rest.execute("job", json!({"mended": sandbox.text("mended")})).await;
    let failed = rest.ended(&first).await;
    assert_eq!((&failed["state"], &failed["exit_code"]), (&json!("failed"), &json!(3)));
    assert_eq!(failure(&failed), ("user_error", "the job exited with code 3"));
    assert_eq!(rest.log(&first, "stream=stderr").await, b"no such data\n");

    sandbox.touch("mended");
    let again = rest.post(&format!("/executions/{first}/retry"), json!({})).await.ok();
    assert_ne!(again["id"], failed["id"]);
    let retried = rest.succeeded(again["id"].as_str().unwrap()).await;
    assert_eq!(retried["retry_of"], failed["id"]);
    assert_eq!(retried["revision"], failed["revision"]);
    assert_eq!(retried["params"], failed["params"]);
    assert_eq!(rest.execution(&first).await["state"], "failed", "what has ended never changes");
}

#[tokio::test]
async fn a_cancelled_execution_ends_and_none_of_its_processes_is_left() {
    let sandbox = Sandbox::new();
    let script = r#"
import subprocess, time
subprocess.Popen(["sleep", "31337"])
print("started", flush=True)
time.sleep(600)
"#;
    let server = with_job(&sandbox, "", script).await;
    let id = server.rest.execute("job", json!({})).await;
    server.rest.logs(&id, "started").await;
    assert!(sandbox.processes().iter().any(|process| process.command == "sleep 31337"));
    let answer = server.rest.post(&format!("/executions/{id}/cancel"), json!({})).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let ended = server.rest.ended(&id).await;
    assert_eq!(ended["state"], "cancelled", "{ended:#}");
    let left = sandbox.processes();
    assert!(!left.iter().any(|process| process.command.contains("workflow.py")), "{left:?}");
    assert!(!left.iter().any(|process| process.command == "sleep 31337"), "{left:?}");

    let twice = server.rest.post(&format!("/executions/{id}/cancel"), json!({})).await;
    assert_eq!(twice.refusal(), (409, "already_ended".to_owned()));
}

#[tokio::test]
async fn a_queued_execution_can_be_cancelled_before_it_starts() {
    let sandbox = Sandbox::new();
    let script = "import time\nprint('started', flush=True)\ntime.sleep(600)\n";
    let server = with_job(&sandbox, "", script).await;
    let running = server.rest.execute("job", json!({})).await;
    server.rest.logs(&running, "started").await;
    let queued = server.rest.execute("job", json!({})).await;
    let waiting = server.rest.execution(&queued).await;
    assert_eq!(waiting["state"], "queued", "{waiting:#}");
    assert!(waiting["waiting"]["message"].as_str().unwrap().contains("busy"), "{waiting:#}");
    server.rest.post(&format!("/executions/{queued}/cancel"), json!({})).await.ok();
    let ended = server.rest.ended(&queued).await;
    assert_eq!((&ended["state"], &ended["started_at"]), (&json!("cancelled"), &Value::Null));
}

#[tokio::test]
async fn a_job_that_runs_too_long_is_stopped_by_its_timeout() {
    let sandbox = Sandbox::new();
    let server = with_job(&sandbox, "timeout: 1s\n", "import time\ntime.sleep(600)\n").await;
    let id = server.rest.execute("job", json!({})).await;
    let ended = server.rest.ended(&id).await;
    let (cause, message) = failure(&ended);
    assert_eq!(cause, "timeout", "{ended:#}");
    assert!(message.contains("stopped by its timeout"), "{message}");
    assert!(ended["failure"]["hint"].as_str().unwrap().contains("timeout"), "{ended:#}");
}

#[tokio::test]
async fn children_that_a_job_leaves_behind_are_gone_when_it_has_ended() {
    let sandbox = Sandbox::new();
    // One in a session of its own, one whose parent is gone, one without a single variable of ours.
    let script = r#"
import os, subprocess
subprocess.Popen(["sleep", "31337"], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
subprocess.run(["sh", "-c", "sleep 31338 >/dev/null 2>&1 &"])
subprocess.Popen(["env", "-i", "sleep", "31339"], start_new_session=True, stdout=subprocess.DEVNULL)
print("done")
"#;
    let server = with_job(&sandbox, "", script).await;
    let id = server.rest.execute("job", json!({})).await;
    server.rest.succeeded(&id).await;
    let left: Vec<_> = sandbox.processes();
    assert!(!left.iter().any(|process| process.command.starts_with("sleep 3133")), "{left:?}");
}

#[tokio::test]
async fn a_job_that_needs_more_memory_than_its_instance_size_has_is_out_of_memory() {
    let sandbox = Sandbox::new();
    let script = r#"
held = []
while True:
    held.append(bytearray(b"x" * (16 << 20)))
"#;
    let config = "worker_type: polars\ninstance_size: t3.nano\n";
    let repository = Repository::with(sandbox.join("etl"), [workflow("greedy", config, script)]);
    let server = Server::dev(&sandbox, &["--workers", "1", repository.url().as_str()]).await;
    let id = server.rest.execute("greedy", json!({})).await;
    let ended = server.rest.ended(&id).await;
    let (cause, message) = failure(&ended);
    assert_eq!(cause, "out_of_memory", "{ended:#}");
    assert!(message.contains("MiB of memory"), "{message}");
    assert!(ended["failure"]["hint"].as_str().unwrap().contains("instance_size"), "{ended:#}");
}

#[tokio::test]
async fn a_script_that_names_its_encoding_is_run_in_it() {
    let sandbox = Sandbox::new();
    let mut files = workflow("job", &polars(""), "");
    files[1].1 = b"# -*- coding: latin-1 -*-\nprint('caf\xe9')\n".to_vec();
    let repository = Repository::with(sandbox.join("etl"), [files]);
    let server = Server::dev(&sandbox, &[repository.url().as_str()]).await;
    let id = server.rest.execute("job", json!({})).await;
    server.rest.succeeded(&id).await;
    assert_eq!(server.rest.log(&id, "").await, "café\n".as_bytes());
}

#[tokio::test]
async fn a_script_that_python_cannot_read_fails_as_the_jobs_own_fault_and_its_log_says_why() {
    let sandbox = Sandbox::new();
    let server = with_job(&sandbox, "", "def broken(:\n").await;
    let id = server.rest.execute("job", json!({})).await;
    let ended = server.rest.ended(&id).await;
    assert_eq!(failure(&ended).0, "user_error", "{ended:#}");
    let said = String::from_utf8(server.rest.log(&id, "stream=stderr").await).unwrap();
    assert!(said.contains("SyntaxError"), "{said}");
}

#[tokio::test]
async fn a_line_of_ten_megabytes_and_binary_output_arrive_byte_for_byte() {
    let sandbox = Sandbox::new();
    let script = r#"
import sys
out = sys.stdout.buffer
out.write(b"x" * 10_000_000 + b"\n")
out.write(bytes(range(256)) * 100)
out.flush()
sys.stderr.buffer.write(b"\r50%\r100%\n\xff\xfe no newline")
"#;
    let server = with_job(&sandbox, "", script).await;
    let id = server.rest.execute("job", json!({})).await;
    server.rest.succeeded(&id).await;
    let mut wanted = vec![b'x'; 10_000_000];
    wanted.push(b'\n');
    wanted.extend((0..100).flat_map(|_| 0..=255_u8));
    let stdout = server.rest.log(&id, "stream=stdout").await;
    assert!(stdout == wanted, "{} bytes instead of {}", stdout.len(), wanted.len());
    assert_eq!(server.rest.log(&id, "stream=stderr").await, b"\r50%\r100%\n\xff\xfe no newline");
}

#[tokio::test]
async fn both_streams_are_what_the_same_command_prints_when_it_is_run_by_hand() {
    let sandbox = Sandbox::new();
    let script = r#"
import sys
for i in range(5000):
    print(f"row {i}: é ✓")
    if i % 3 == 0:
        print(f"warning {i}", file=sys.stderr)
sys.stdout.write("no newline at the end")
raise SystemExit("it ends badly")
"#;
    let server = with_job(&sandbox, "", script).await;
    let id = server.rest.execute("job", json!({})).await;
    let ended = server.rest.ended(&id).await;
    let by_hand = std::process::Command::new("python3")
        .args(["-u", "workflow.py"])
        .current_dir(sandbox.join("etl/workflows/job"))
        .env("LANG", "C.UTF-8")
        .output()
        .unwrap();
    assert_eq!(ended["exit_code"], json!(by_hand.status.code()));
    assert!(server.rest.log(&id, "stream=stdout").await == by_hand.stdout);
    assert!(server.rest.log(&id, "stream=stderr").await == by_hand.stderr);
}

#[tokio::test]
async fn a_job_finds_its_parameters_and_facts_in_its_environment_and_nothing_of_the_servers() {
    let sandbox = Sandbox::new();
    let script = r#"
import json, os
json.dump(dict(os.environ), open(os.environ["DATA_RUNNER_OUTPUT"], "w"))
"#;
    let config =
        "params:\n  day: {type: date, default: 2026-08-01}\n  n: {type: int}\nenv: {GREETING: hello}\n";
    let server = with_job(&sandbox, config, script).await;
    let id = server.rest.execute("job", json!({"n": 7})).await;
    let env = server.rest.succeeded(&id).await["output"].clone();
    assert_eq!(env["DATA_RUNNER_EXECUTION_ID"], json!(id));
    assert_eq!(env["DATA_RUNNER_ATTEMPT"], "1");
    assert_eq!(env["DATA_RUNNER_WORKFLOW"], "etl/job");
    assert_eq!(env["DATA_RUNNER_PARAM_DAY"], "2026-08-01");
    assert_eq!(env["DATA_RUNNER_PARAM_N"], "7");
    assert_eq!(env["GREETING"], "hello");
    let params: Value = serde_json::from_str(env["DATA_RUNNER_PARAMS"].as_str().unwrap()).unwrap();
    assert_eq!(params, json!({"day": "2026-08-01", "n": 7}));
    for foreign in ["DATA_RUNNER_TOOLS", "DATA_RUNNER_GRPC_URL", "DATA_RUNNER_WORKER_ID", "CARGO", "NO_COLOR"]
    {
        assert_eq!(env[foreign], Value::Null, "{foreign}");
    }
}

#[tokio::test]
async fn a_retry_by_policy_makes_a_second_attempt_with_a_log_of_its_own() {
    let sandbox = Sandbox::new();
    let script = r#"
import os, sys
attempt = os.environ["DATA_RUNNER_ATTEMPT"]
print("attempt", attempt)
sys.exit(0 if attempt == "2" else 1)
"#;
    let config = "retries: [{on: [user_error], max_attempts: 2, backoff: {initial: 1s, max: 1s}}]\n";
    let server = with_job(&sandbox, config, script).await;
    let id = server.rest.execute("job", json!({})).await;
    let ended = server.rest.succeeded(&id).await;
    assert_eq!(ended["attempt"], 2);
    let states: Vec<_> =
        ended["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["state"]).collect();
    assert_eq!(states, ["failed", "success"]);
    assert_eq!(server.rest.log(&id, "attempt=1").await, b"attempt 1\n");
    assert_eq!(server.rest.log(&id, "").await, b"attempt 2\n");
}

#[tokio::test]
async fn the_folder_of_an_ended_run_is_removed() {
    let sandbox = Sandbox::new();
    let script = "import os\nopen(os.environ['TMPDIR'] + '/big', 'w').write('x' * 1000)\nprint(os.getcwd(), flush=True)\n";
    let server = with_job(&sandbox, "", script).await;
    let id = server.rest.execute("job", json!({})).await;
    server.rest.succeeded(&id).await;
    let folder = String::from_utf8(server.rest.log(&id, "").await).unwrap();
    let folder = std::path::PathBuf::from(folder.trim());
    assert!(folder.starts_with(sandbox.path()), "{folder:?}");
    until("the run's folder to go", async || (!folder.exists()).then_some(())).await;
}

#[tokio::test]
async fn output_that_is_no_json_is_told_on_the_execution_and_fails_nothing() {
    let sandbox = Sandbox::new();
    let script = "import os\nopen(os.environ['DATA_RUNNER_OUTPUT'], 'w').write('rows: 58')\n";
    let server = with_job(&sandbox, "", script).await;
    let id = server.rest.execute("job", json!({})).await;
    let ended = server.rest.succeeded(&id).await;
    assert_eq!(ended["output"], Value::Null);
    let warning = ended["warnings"][0].as_str().unwrap_or_default();
    assert!(warning.contains("DATA_RUNNER_OUTPUT is not kept: it is not JSON"), "{ended:#}");
    assert!(!warning.contains("rows"), "what it wrote may be secret");
    let events = server.rest.get(&format!("/executions/{id}/events")).await.ok();
    let kinds = events["items"].as_array().unwrap().iter().map(|event| &event["kind"]);
    assert!(kinds.clone().any(|kind| kind == "execution_warning"), "{:?}", kinds.collect::<Vec<_>>());
}
