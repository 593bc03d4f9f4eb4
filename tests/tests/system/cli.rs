//! The command line: what it prints, and what it ends with.

use data_runner_tests::{Finished, Repository, Sandbox, Server, cli, polars, until, workflow};
use serde_json::{Value, json};

const EXITS: &str = r#"
import os, signal, sys
print("out", flush=True)
print("err", file=sys.stderr, flush=True)
code = int(os.environ["DATA_RUNNER_PARAM_CODE"])
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"#;

const SLEEPS: &str = "import time\nprint('started', flush=True)\ntime.sleep(600)\n";

async fn serving(sandbox: &Sandbox) -> Server<'_> {
    let repository = Repository::with(
        sandbox.join("etl"),
        [
            workflow("exits", &polars("params:\n  code: {type: int, default: 0}\n"), EXITS),
            workflow("late", &polars("timeout: 1s\n"), SLEEPS),
            workflow("sleeps", &polars(""), SLEEPS),
        ],
    );
    Server::dev(sandbox, &[repository.url().as_str()]).await
}

/// Runs a command that asks `server`.
async fn run(sandbox: &Sandbox, server: &Server<'_>, arguments: &[&str]) -> Finished {
    cli(sandbox, Some(&server.rest.address), arguments).await
}

#[tokio::test]
async fn run_prints_the_jobs_output_and_ends_with_its_code() {
    let sandbox = Sandbox::new();
    let server = serving(&sandbox).await;
    for (code, wanted) in [("0", 0), ("7", 7), ("-15", 143)] {
        let ended = run(&sandbox, &server, &["run", "exits", "-p", &format!("code={code}")]).await;
        assert_eq!(ended.code, Some(wanted), "{}", ended.stderr);
        let mut lines: Vec<_> = ended.text().lines().map(ToOwned::to_owned).collect();
        lines.sort();
        assert_eq!(lines, ["err", "out"]);
        assert!(ended.stderr.contains("data-runner logs -f"), "{}", ended.stderr);
    }
    let failed = run(&sandbox, &server, &["run", "exits", "-p", "code=7"]).await;
    assert!(failed.stderr.contains("code 7"), "the cause is told: {}", failed.stderr);
}

#[tokio::test]
async fn a_timeout_is_124_and_what_is_not_the_jobs_fault_is_125() {
    let sandbox = Sandbox::new();
    let server = serving(&sandbox).await;
    assert_eq!(run(&sandbox, &server, &["run", "late"]).await.code, Some(124));
    let unknown = run(&sandbox, &server, &["run", "exists"]).await;
    assert_eq!(unknown.code, Some(125));
    assert!(unknown.stderr.contains("did you mean \"exits\"?"), "{}", unknown.stderr);
    let wrong = run(&sandbox, &server, &["run", "exits", "-p", "code=many"]).await;
    assert_eq!(wrong.code, Some(125));
    assert!(wrong.stderr.contains("code"), "{}", wrong.stderr);
    assert_eq!(run(&sandbox, &server, &["run", "--no-such-flag"]).await.code, Some(125));
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = cli(&sandbox, Some(&format!("http://127.0.0.1:{port}")), &["run", "exits"]).await;
    assert_eq!(nobody.code, Some(125));
    assert!(nobody.stderr.contains("data-runner dev"), "{}", nobody.stderr);
}

#[tokio::test]
async fn what_is_cancelled_is_125_for_whoever_waits() {
    let sandbox = Sandbox::new();
    let server = serving(&sandbox).await;
    let submitted = run(&sandbox, &server, &["run", "sleeps", "--detach", "-o", "name"]).await;
    assert_eq!(submitted.code, Some(0), "{}", submitted.stderr);
    let id = submitted.text().trim().to_owned();
    server.rest.logs(&id, "started").await;
    let arguments = ["wait", id.as_str()];
    let waiting = run(&sandbox, &server, &arguments);
    let cancelling = async {
        let ended = run(&sandbox, &server, &["cancel", &id]).await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    };
    let (waited, ()) = tokio::join!(waiting, cancelling);
    assert_eq!(waited.code, Some(125), "{}", waited.stderr);
    let again = run(&sandbox, &server, &["cancel", &id]).await;
    assert_eq!(again.code, Some(5), "{}", again.stderr);
}

#[tokio::test]
async fn an_execution_is_listed_shown_followed_and_repeated() {
    let sandbox = Sandbox::new();
    let server = serving(&sandbox).await;
    let ended = run(&sandbox, &server, &["run", "exits", "-o", "json", "-p", "code=3"]).await;
    assert_eq!(ended.code, Some(3));
    let report: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(report["outcome"], json!({"result": "job_failed", "exit_code": 3}));
    let id = report["execution"]["id"].as_str().unwrap().to_owned();

    let listed = run(&sandbox, &server, &["ps", "-a", "-o", "name"]).await;
    assert_eq!((listed.code, listed.text().trim()), (Some(0), id.as_str()));
    let none = run(&sandbox, &server, &["ps", "-o", "name"]).await;
    assert_eq!((none.code, none.text().as_str()), (Some(0), ""), "only what is active");
    let shown = run(&sandbox, &server, &["show", "latest"]).await;
    assert_eq!(shown.code, Some(0));
    assert!(shown.text().contains("etl/exits") && shown.text().contains("code 3"), "{}", shown.text());
    let stdout = run(&sandbox, &server, &["logs", &id[..13], "--stream", "stdout"]).await;
    assert_eq!((stdout.code, stdout.stdout.as_slice()), (Some(0), b"out\n".as_slice()), "{}", stdout.stderr);
    assert_eq!(run(&sandbox, &server, &["wait", &id]).await.code, Some(3));
    assert_eq!(run(&sandbox, &server, &["logs", "-f", &id]).await.code, Some(3));
    assert_eq!(run(&sandbox, &server, &["retry", "-f", &id]).await.code, Some(3));

    for arguments in
        [["show", "ffffffff"], ["logs", "ffffffff"], ["cancel", "ffffffff"], ["retry", "ffffffff"]]
    {
        let ended = run(&sandbox, &server, &arguments).await;
        assert_eq!(ended.code, Some(3), "{arguments:?}: {}", ended.stderr);
    }
    assert_eq!(run(&sandbox, &server, &["wait", "ffffffff"]).await.code, Some(125));
    assert_eq!(run(&sandbox, &server, &["ps", "--colour"]).await.code, Some(2));
}

#[tokio::test]
async fn the_same_idempotency_key_runs_once() {
    let sandbox = Sandbox::new();
    let server = serving(&sandbox).await;
    let arguments = ["run", "exits", "--idempotency-key", "today", "--detach", "-o", "name"];
    let first = run(&sandbox, &server, &arguments).await;
    let second = run(&sandbox, &server, &arguments).await;
    assert_eq!((first.code, second.code), (Some(0), Some(0)));
    assert_eq!(first.text(), second.text());
}

#[tokio::test]
async fn ctrl_c_leaves_the_execution_alone_and_says_how_to_come_back() {
    let sandbox = Sandbox::new();
    let server = serving(&sandbox).await;
    let mut running =
        data_runner_tests::Program::cli(&sandbox, Some(&server.rest.address), &["run", "sleeps"]);
    until("the job's output", async || running.printed().contains("started").then_some(())).await;
    running.signal(data_runner_tests::Signal::INT);
    assert_eq!(running.end().await.code(), Some(130));
    let said = running.said();
    assert!(said.contains("data-runner logs -f") && said.contains("data-runner cancel"), "{said}");
    let active = run(&sandbox, &server, &["ps", "-o", "ndjson"]).await;
    let execution: Value = serde_json::from_slice(&active.stdout).unwrap();
    assert_eq!(execution["state"], "running");
}

const WAITS: &str = r#"
import os, time
print("before", flush=True)
while not os.path.exists(os.environ["DATA_RUNNER_PARAM_GATE"]):
    time.sleep(0.01)
print("after")
"#;

#[tokio::test]
async fn a_follower_rides_out_a_restart_of_the_server_and_prints_nothing_twice() {
    let sandbox = Sandbox::new();
    let config = polars("params:\n  gate: {type: string}\n");
    let repository = Repository::with(sandbox.join("etl"), [workflow("waits", &config, WAITS)]);
    let mut server = Server::dev(&sandbox, &["--workers", "1", repository.url().as_str()]).await;
    // It follows from before there is an attempt.
    let first = server.rest.execute("waits", json!({"gate": sandbox.text("first")})).await;
    server.rest.logs(&first, "before").await;
    let gate = format!("gate={}", sandbox.text("gate"));
    let arguments = ["run", "waits", "-p", gate.as_str()];
    let mut running = data_runner_tests::Program::cli(&sandbox, Some(&server.rest.address), &arguments);
    until("the execution", async || running.said().contains("logs -f").then_some(())).await;
    sandbox.touch("first");
    until("the job's output", async || running.printed().contains("before").then_some(())).await;
    server.kill();
    server.again().await;
    sandbox.touch("gate");
    assert_eq!(running.end().await.code(), Some(0), "{}", running.said());
    assert_eq!(running.printed(), "before\nafter\n", "{}", running.said());
}

#[tokio::test]
async fn init_makes_a_repository_that_validates_and_runs() {
    let sandbox = Sandbox::new();
    let made = cli(&sandbox, None, &["init", "mine"]).await;
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    assert_eq!(cli(&sandbox, None, &["validate", "mine"]).await.code, Some(0));
    let server = Server::dev(&sandbox, &["mine"]).await;
    for name in ["hello-polars", "hello-duckdb"] {
        let ended = run(&sandbox, &server, &["run", name]).await;
        assert_eq!(ended.code, Some(0), "{name}: {}{}", ended.text(), ended.stderr);
        assert!(!ended.stdout.is_empty());
    }
}

#[tokio::test]
async fn validate_points_at_every_mistake_and_ends_with_1() {
    let sandbox = Sandbox::new();
    let config = "worker_type: polras\ninstance_size: t3.small\ntimout: 5m\n";
    Repository::with(sandbox.join("etl"), [workflow("bad", config, "print()\n")]);
    let ended = cli(&sandbox, None, &["validate", "etl"]).await;
    assert_eq!(ended.code, Some(1));
    let said = format!("{}{}", ended.text(), ended.stderr);
    for wanted in ["config.yaml:1:14", "polars", "config.yaml:3:1", "timeout", "^^^"] {
        assert!(said.contains(wanted), "no {wanted:?} in {said}");
    }
    let machine = cli(&sandbox, None, &["validate", "etl", "--format", "json"]).await;
    assert_eq!(machine.code, Some(1));
    let _: Value = serde_json::from_slice(&machine.stdout).unwrap();
}

#[tokio::test]
async fn workflows_and_workers_are_listed() {
    let sandbox = Sandbox::new();
    let server = serving(&sandbox).await;
    let listed = run(&sandbox, &server, &["workflow", "list", "-o", "name"]).await;
    assert_eq!(listed.text().lines().collect::<Vec<_>>(), ["etl/exits", "etl/late", "etl/sleeps"]);
    let missing = run(&sandbox, &server, &["workflow", "show", "nope"]).await;
    assert_eq!(missing.code, Some(3), "{}", missing.stderr);
    let workers = run(&sandbox, &server, &["worker", "list", "-o", "ndjson"]).await;
    assert_eq!(workers.code, Some(0), "{}", workers.stderr);
    assert!(workers.text().lines().count() >= 1);
    let raw = run(&sandbox, &server, &["api", "GET", "/version"]).await;
    assert_eq!(raw.code, Some(0));
    let _: Value = serde_json::from_slice(&raw.stdout).unwrap();
}

#[tokio::test]
async fn the_demo_runs_all_samples_as_expected_and_leaves_nothing() {
    let sandbox = Sandbox::new();
    let arguments =
        ["dev", "--demo", "--exit-after-demo", "--listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0"];
    let ended = cli(&sandbox, None, &arguments).await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.text(), ended.stderr);
    assert!(ended.stderr.contains("check-customers"), "{}", ended.stderr);
    let left = sandbox.processes();
    assert!(left.is_empty(), "{left:?}");
}
