//! A whole agent with nothing in memory: gRPC, a real shim, a real process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod desk;

use std::sync::Arc;
use std::time::Duration;

use data_runner_agent::run_with;
use data_runner_core::execution::Ending;
use data_runner_core::port::Transport as _;
use desk::{Desk, bundle, job, options, serve, shell, take_logs};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_run_one_after_another_and_their_logs_arrive() {
    let state = tempfile::tempdir().unwrap();
    let bundle = bundle(b"echo out; echo err >&2; exit 5\n");
    let (transport, url) = serve(bundle.clone()).await;
    let options = options(&["--supervisor", &url, "--state-dir", state.path().to_str().unwrap()]);
    let shell = shell(&options);
    let agent = tokio::spawn(async move { run_with(&options, vec![shell]).await });
    let desk = Desk::welcome(Arc::clone(&transport)).await;
    let logs = take_logs(&transport);
    let job = job(&bundle);
    let mut starts = Vec::new();
    for _ in 0..5 {
        let (took, report) = desk.run(&job).await;
        assert_eq!(report.ending, Ending::Exited { code: 5 });
        assert_eq!(report.log_end.0, 8);
        starts.push(took);
    }
    starts.sort();
    println!("from assignment to start: {starts:?}");
    desk.drain().await;
    tokio::time::timeout(Duration::from_secs(20), agent).await.expect("it drains").unwrap().unwrap();
    assert_eq!(std::fs::read_dir(state.path().join("runs")).unwrap().count(), 0);
    transport.shut_down().await;
    let mut lines: Vec<String> =
        String::from_utf8(logs.await.unwrap()).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines.len(), 10);
    assert_eq!((lines[0].as_str(), lines[9].as_str()), ("err", "out"));
}
