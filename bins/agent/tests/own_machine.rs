//! An agent whose machine is its own: whatever happens, the machine goes, and no sooner than it may.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod desk;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use data_runner_core::execution::{Ending, StopReason};
use data_runner_core::port::Transport as _;
use desk::{Desk, bundle, job, serve, take_logs};

/// The agent's program, with a machine that goes off by making a file.
struct Machine {
    folder: tempfile::TempDir,
    agent: Child,
}

impl Machine {
    fn boot(url: &str, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let power_off = format!("touch {}", Self::off(folder.path()).display());
        let agent = Command::new(env!("CARGO_BIN_EXE_data-runner-agent"))
            .envs([("DATA_RUNNER_GRPC_URL", url), ("DATA_RUNNER_POWER_OFF", &power_off)])
            .env("DATA_RUNNER_AGENT_STATE", folder.path().join("state"))
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .envs(variables.iter().copied())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        Self { folder, agent }
    }

    fn off(folder: &Path) -> PathBuf {
        folder.join("off")
    }

    fn is_off(&self) -> bool {
        Self::off(self.folder.path()).exists()
    }

    /// Waits until it is off; how long that took.
    async fn goes_off(&self) -> Duration {
        let began = Instant::now();
        while !self.is_off() {
            assert!(began.elapsed() < Duration::from_secs(30), "the machine stays on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        began.elapsed()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ended = self.agent.kill();
        let _reaped = self.agent.wait();
    }
}

/// A metadata service that says that the machine is taken away once it is `taken`.
fn metadata_service(taken: Arc<AtomicBool>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let asked = lines.next().unwrap().unwrap();
            // The head ends with an empty line; nothing that is asked here has a body.
            while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            let answer = match asked.split(' ').nth(1).unwrap() {
                "/latest/api/token" => Some("token"),
                "/latest/meta-data/spot/instance-action" if taken.load(Ordering::Relaxed) => Some("{}"),
                _ => None,
            };
            let status = if answer.is_some() { "200 OK" } else { "404 Not Found" };
            let body = answer.unwrap_or_default();
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            )
            .unwrap();
        }
    });
    url
}

fn seconds_from_now(seconds: u64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    (now.as_secs() + seconds).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_machine_goes_at_once_and_with_its_log_delivered() {
    let (transport, url) = serve(bundle(b"echo done\n")).await;
    let machine = Machine::boot(&url, &[]);
    let desk = Desk::welcome(Arc::clone(&transport)).await;
    let logs = take_logs(&transport);
    // Of its stock worker types none runs this: the attempt ends before it starts, and the machine is free.
    let (_, report) = desk.run(&job(&bundle(b"echo done\n"))).await;
    assert!(matches!(report.ending, Ending::NeverStarted { .. }), "{report:?}");
    assert!(!machine.is_off());
    desk.drain().await;
    let took = machine.goes_off().await;
    println!("from drain to power-off: {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    transport.shut_down().await;
    logs.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_never_gets_a_supervisor_goes() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let machine = Machine::boot(&format!("http://{nobody}"), &[("DATA_RUNNER_JOIN_WITHIN", "1")]);
    assert!(machine.goes_off().await >= Duration::from_millis(900));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_whose_supervisor_died_goes_at_its_deadline() {
    let (transport, url) = serve(bundle(b"")).await;
    let deadline = seconds_from_now(5);
    let machine = Machine::boot(&url, &[("DATA_RUNNER_DEADLINE", &deadline)]);
    let desk = Desk::welcome(Arc::clone(&transport)).await;
    transport.shut_down().await;
    drop((desk, transport));
    assert!(machine.goes_off().await > Duration::from_secs(1), "it waits for its supervisor first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spot_notice_interrupts_the_job_and_ends_the_machine() {
    let taken = Arc::new(AtomicBool::new(false));
    let metadata = metadata_service(Arc::clone(&taken));
    let state = tempfile::tempdir().unwrap();
    let off = state.path().join("off");
    let code = bundle(b"trap 'echo told; exit 0' TERM; echo on; while :; do sleep 0.05; done\n");
    let (transport, url) = serve(code.clone()).await;
    let power_off = format!("touch {}", off.display());
    let options = desk::options(&[
        "--supervisor",
        &url,
        "--state-dir",
        state.path().to_str().unwrap(),
        "--power-off",
        &power_off,
        "--metadata-endpoint",
        &metadata,
    ]);
    let shell = desk::shell(&options);
    let agent = tokio::spawn(async move { data_runner_agent::run_with(&options, vec![shell]).await });
    let desk = Desk::welcome(Arc::clone(&transport)).await;
    let logs = take_logs(&transport);
    let (_, report) = desk.run_then(&job(&code), || taken.store(true, Ordering::Relaxed)).await;
    assert_eq!(report.ending, Ending::Stopped { reason: StopReason::Interrupted });
    tokio::time::timeout(Duration::from_secs(10), agent).await.expect("it ends").unwrap().unwrap();
    assert!(off.exists());
    transport.shut_down().await;
    let printed = String::from_utf8(logs.await.unwrap()).unwrap();
    assert!(printed.contains("told\n"), "{printed}");
}
