//! What a server says when it cannot start, and what it does on a machine that fails it.

use std::process::Command;

use data_runner_testkit::skipped;
use data_runner_tests::{Repository, Sandbox, Server, cli, polars, until, workflow};
use serde_json::json;
use sqlx::{Connection as _, SqliteConnection};

#[tokio::test]
async fn a_port_in_use_is_named_with_the_flag_that_changes_it() {
    let sandbox = Sandbox::new();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap().to_string();
    let arguments = ["dev", "--state-dir", "state", "--listen", &address, "--grpc-listen", "127.0.0.1:0"];
    let ended = cli(&sandbox, None, &arguments).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains(&format!("{address} is in use")), "{}", ended.stderr);
    assert!(ended.stderr.contains("--listen"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_second_server_on_the_same_state_is_refused_and_the_first_serves_on() {
    let sandbox = Sandbox::new();
    let mut server = Server::dev(&sandbox, &[]).await;
    let (code, said) = server.second().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("another supervisor") || said.contains("in use"), "{said}");
    assert!(said.contains(&sandbox.text("state")), "{said}");
    assert_eq!(server.rest.get("/readyz").await.status, 200);
    assert!(server.program.ended().is_none());
}

#[tokio::test]
async fn a_state_of_a_newer_version_is_left_alone() {
    let sandbox = Sandbox::new();
    let mut server = Server::dev(&sandbox, &[]).await;
    server.terminate();
    server.program.end().await;
    let url = format!("sqlite://{}", server.database().display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (99990101000000, 'from the future', 1, x'00', 0)",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    let (code, said) = server.second().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("newer"), "{said}");
}

#[tokio::test]
async fn wrong_settings_are_shown_all_at_once_with_their_places() {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.join("supervisor.yaml"), "listen: nowhere\nlokal: {workers: 1}\n").unwrap();
    let program = std::env::current_exe().unwrap();
    let program = program.ancestors().nth(2).unwrap().join("data-runner-supervisor");
    let output = Command::new(program)
        .args(["--config", "supervisor.yaml"])
        .current_dir(sandbox.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("supervisor.yaml:1:9") && said.contains("not an address"), "{said}");
    assert!(said.contains("supervisor.yaml:2:1") && said.contains("local"), "{said}");
}

#[tokio::test]
async fn a_repository_that_can_never_be_served_ends_dev_with_what_to_do() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.join("empty")).unwrap();
    let arguments =
        ["dev", "--state-dir", "state", "--listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0", "empty"];
    let ended = cli(&sandbox, None, &arguments).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("cannot be served"), "{}", ended.stderr);
    assert!(ended.stderr.contains("data-runner init"), "{}", ended.stderr);
    let left = sandbox.processes();
    assert!(left.is_empty(), "{left:?}");
}

/// A small file system of its own, where this machine lets us have one.
struct SmallDisk(String);

impl SmallDisk {
    fn mount(folder: String) -> Option<Self> {
        std::fs::create_dir(&folder).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs", &folder]).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(folder)),
            Ok(output) => {
                skipped(format!("no tmpfs can be mounted: {}", String::from_utf8_lossy(&output.stderr)));
                None
            }
            Err(error) => {
                skipped(format!("no tmpfs can be mounted: {error}"));
                None
            }
        }
    }

    fn fill(&self) {
        let mut free = std::fs::File::create(format!("{}/filling", self.0)).unwrap();
        let block = [0_u8; 4096];
        while std::io::Write::write_all(&mut free, &block).is_ok() {}
    }

    fn free(&self) -> u64 {
        let disk = rustix::fs::statvfs(&*self.0).unwrap();
        disk.f_bavail * disk.f_frsize
    }

    fn grow(&self) {
        let grown = Command::new("mount").args(["-o", "remount,size=512m", &self.0]).status().unwrap();
        assert!(grown.success());
    }

    fn make_room(&self) {
        std::fs::remove_file(format!("{}/filling", self.0)).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["--lazy", &self.0]).output();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_new_work_and_once_there_is_room_everything_goes_on() {
    let sandbox = Sandbox::new();
    let Some(disk) = SmallDisk::mount(sandbox.text("state")) else { return };
    let script = r#"
import os, time
print("started", flush=True)
while not os.path.exists(os.environ["DATA_RUNNER_PARAM_GATE"]):
    time.sleep(0.01)
print("ended")
"#;
    let config = polars("params:\n  gate: {type: string}\n");
    let repository = Repository::with(sandbox.join("etl"), [workflow("waits", &config, script)]);
    let mut server = Server::dev(&sandbox, &["--workers", "1", repository.url().as_str()]).await;
    let rest = server.rest.clone();
    let gate = json!({"gate": sandbox.text("gate")});
    let running = rest.execute("waits", gate.clone()).await;
    rest.logs(&running, "started").await;

    disk.fill();
    let refused = until("the disk to be felt", async || {
        let answer = rest.post("/workflows/waits/execute", json!({"params": gate})).await;
        (answer.status != 202).then_some(answer)
    })
    .await;
    assert!((500..600).contains(&refused.refusal().0), "{}", refused.text());
    assert_eq!(rest.execution(&running).await["state"], "running", "what can be read is served on");
    assert!(server.program.ended().is_none(), "{}", server.program.said());

    disk.make_room();
    sandbox.touch("gate");
    rest.succeeded(&running).await;
    assert_eq!(rest.log(&running, "").await, b"started\nended\n");
    let next = until("new work to be taken", async || {
        let answer = rest.post("/workflows/waits/execute", json!({"params": gate})).await;
        (answer.status == 202).then(|| answer.json()["id"].as_str().unwrap().to_owned())
    })
    .await;
    rest.succeeded(&next).await;
    server.terminate();
    assert_eq!(server.program.end().await.code(), Some(0), "{}", server.program.said());
}

#[tokio::test]
async fn a_job_whose_output_fills_the_disk_ends_and_what_is_missing_is_counted() {
    let sandbox = Sandbox::new();
    let Some(disk) = SmallDisk::mount(sandbox.text("state")) else { return };
    // What cannot be compressed, and twice of what fits.
    let script = r#"
import os
for _ in range(750):
    os.write(1, os.urandom(64 << 10))
"#;
    let repository = Repository::with(sandbox.join("etl"), [workflow("fills", &polars(""), script)]);
    let mut server = Server::dev(&sandbox, &["--workers", "1", repository.url().as_str()]).await;
    let rest = server.rest.clone();
    let id = rest.execute("fills", json!({})).await;
    until("the disk to be full", async || (disk.free() < 200_000).then_some(())).await;
    assert!(server.program.ended().is_none(), "{}", server.program.said());
    disk.grow();
    let ended = rest.succeeded(&id).await;
    assert_eq!(ended["log"]["bytes"], 750 << 16);
    let printed = rest.log(&id, "").await.len() as u64;
    let path = format!("/executions/{id}/logs");
    let records = rest.ask(reqwest::Method::GET, &path, &[("accept", "application/x-ndjson")], None).await;
    let missing: u64 = records
        .text()
        .lines()
        .filter(|line| line.starts_with(r#"{"gap""#))
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|record| {
            assert_eq!(record["gap"]["reason"], "disk_full", "{record}");
            record["gap"]["bytes"].as_u64().unwrap()
        })
        .sum();
    assert_eq!(printed + missing, 750 << 16, "{missing} bytes are said to be missing");
}
