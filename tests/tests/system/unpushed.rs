//! Folders that are run without being pushed.

use std::path::Path;

use data_runner_tests::{Finished, Repository, Sandbox, Server, cli, polars, workflow};
use serde_json::json;

fn write(root: &Path, files: impl IntoIterator<Item = (String, Vec<u8>)>) {
    for (name, content) in files {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

/// A folder with the workflow `orders`, which uses what is in `lib`.
fn jobs(root: &Path, script: &str) {
    let config = polars("include: [lib]\nparams:\n  day: {type: string, default: today}\n");
    write(root, workflow("orders", &config, script));
    write(root, [("lib/greeting.py".to_owned(), b"WORD = 'hello'\n".to_vec())]);
}

const SCRIPT: &str =
    "import os, sys, greeting\nprint(greeting.WORD, os.environ['DATA_RUNNER_PARAM_DAY'])\nsys.exit(3)\n";

async fn run(sandbox: &Sandbox, server: &Server<'_>, arguments: &[&str]) -> Finished {
    cli(sandbox, Some(&server.rest.address), arguments).await
}

#[tokio::test]
async fn an_unpushed_folder_runs_with_what_it_includes_and_ends_as_the_job_ended() {
    let sandbox = Sandbox::new();
    jobs(&sandbox.join("jobs"), SCRIPT);
    let server = Server::dev(&sandbox, &[]).await;
    let ran = run(&sandbox, &server, &["run", "./jobs/workflows/orders", "-p", "day=monday"]).await;
    assert_eq!((ran.code, ran.text().as_str()), (Some(3), "hello monday\n"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("unpushed/orders") && ran.stderr.contains("data-runner retry"),
        "{}",
        ran.stderr
    );
    let shown = run(&sandbox, &server, &["show", "latest"]).await;
    assert!(shown.text().contains("(a folder that was not pushed)"), "{}", shown.text());

    // What ran is kept: a retry runs it though the files are others by now.
    jobs(&sandbox.join("jobs"), "print('changed')\n");
    let again = run(&sandbox, &server, &["retry", "latest", "--follow"]).await;
    assert_eq!((again.code, again.text().as_str()), (Some(3), "hello monday\n"), "{}", again.stderr);
    let new = run(&sandbox, &server, &["run", "./jobs/workflows/orders"]).await;
    assert_eq!((new.code, new.text().as_str()), (Some(0), "changed\n"), "{}", new.stderr);
}

#[tokio::test]
async fn a_supervisor_runs_a_folder_beside_the_repositorys_workflow_of_that_name() {
    let sandbox = Sandbox::new();
    let repository =
        Repository::with(sandbox.join("etl"), [workflow("orders", &polars(""), "print('pushed')\n")]);
    let settings = format!("repositories:\n  - {{name: etl, url: \"{}\"}}\n", repository.url());
    let server = Server::supervisor(&sandbox, &settings).await;
    jobs(&sandbox.join("jobs"), "print('unpushed')\n");
    let ran = run(&sandbox, &server, &["run", "./jobs/workflows/orders"]).await;
    assert_eq!((ran.code, ran.text().as_str()), (Some(0), "unpushed\n"), "{}", ran.stderr);
    let ran = run(&sandbox, &server, &["run", "orders"]).await;
    assert_eq!((ran.code, ran.text().as_str()), (Some(0), "pushed\n"), "{}", ran.stderr);
    let executions = server.rest.get("/executions?workflow=unpushed/orders").await.ok();
    assert_eq!(executions["items"].as_array().map(Vec::len), Some(1), "{executions:#}");
    assert_eq!(executions["items"][0]["trigger"], json!("manual"));
}

#[tokio::test]
async fn mistakes_of_a_folder_are_told_with_the_names_that_it_has_here() {
    let sandbox = Sandbox::new();
    let server = Server::dev(&sandbox, &[]).await;
    write(&sandbox.join("jobs"), workflow("orders", &polars("sise: x\n"), "print()\n"));
    let ran = run(&sandbox, &server, &["run", "./jobs/workflows/orders"]).await;
    assert_eq!(ran.code, Some(125), "{}", ran.stderr);
    assert!(ran.stderr.contains("./jobs/workflows/orders/config.yaml:3:1"), "{}", ran.stderr);
    let nowhere = run(&sandbox, &server, &["run", "./jobs"]).await;
    assert!(nowhere.stderr.contains("there is no config.yaml in ./jobs"), "{}", nowhere.stderr);
    jobs(&sandbox.join("jobs"), "print()\n");
    std::os::unix::fs::symlink("/etc/passwd", sandbox.join("jobs/workflows/orders/secret")).unwrap();
    let leaves = run(&sandbox, &server, &["run", "./jobs/workflows/orders"]).await;
    assert_eq!(leaves.code, Some(125));
    assert!(leaves.stderr.contains("this symbolic link points to"), "{}", leaves.stderr);
    assert_eq!(server.rest.get("/executions").await.ok()["items"], json!([]));
}

#[tokio::test]
async fn a_run_here_needs_no_server_and_ends_as_the_job_ended() {
    let sandbox = Sandbox::new();
    jobs(sandbox.path(), SCRIPT);
    let ran = cli(&sandbox, None, &["run", "./workflows/orders", "--local", "-p", "day=monday"]).await;
    assert_eq!((ran.code, ran.text().as_str()), (Some(3), "hello monday\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains("user_error"), "{}", ran.stderr);
    let named = cli(&sandbox, None, &["run", "orders", "--local"]).await;
    assert_eq!((named.code, named.text().as_str()), (Some(3), "hello today\n"), "{}", named.stderr);
    let unknown = cli(&sandbox, None, &["run", "nope", "--local"]).await;
    assert_eq!(unknown.code, Some(125));
    assert!(unknown.stderr.contains("there is no workflow \"nope\""), "{}", unknown.stderr);
    let wrong = cli(&sandbox, None, &["run", "orders", "--local", "-p", "week=1"]).await;
    assert_eq!(wrong.code, Some(125), "{}", wrong.stderr);
    let left = std::fs::read_dir(sandbox.join(".data-runner/local")).unwrap();
    assert_eq!(left.count(), 0, "nothing of a run stays");
}

#[tokio::test]
async fn the_command_that_a_failed_run_ends_with_does_the_same_here() {
    let sandbox = Sandbox::new();
    let repository = Repository::new(sandbox.path());
    let config = polars("params:\n  day: {type: string, default: today}\n");
    let script = "import os, sys\nprint('version one', os.environ['DATA_RUNNER_PARAM_DAY'])\nsys.exit(7)\n";
    repository.commit(workflow("orders", &config, script));
    let server = Server::dev(&sandbox, &[repository.url().as_str()]).await;
    let failed = run(&sandbox, &server, &["run", "orders", "-p", "day=a monday"]).await;
    assert_eq!(failed.code, Some(7), "{}", failed.stderr);
    // The branch goes on meanwhile.
    repository.commit(workflow("orders", &config, "print('version two')\n"));
    let line = failed.stderr.lines().find_map(|line| line.split_once("data-runner run "));
    let command = line.unwrap_or_else(|| panic!("{}", failed.stderr)).1;
    assert!(command.contains("--local") && command.contains("'day=a monday'"), "{command}");
    let mut arguments = vec!["run"];
    arguments.extend(command.split(" -p ").next().unwrap().split(' '));
    arguments.extend(["-p", "day=a monday"]);
    let again = cli(&sandbox, None, &arguments).await;
    assert_eq!((again.code, again.text()), (Some(7), failed.text()), "{}", again.stderr);
}
