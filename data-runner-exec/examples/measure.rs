//! Measures what the executor costs: `cargo run --release -p data-runner-exec --example measure -- SHIM`, where SHIM is
//! the `data-runner-shim` of the same build.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use data_runner_core::id::{AttemptId, AttemptNumber, Claim};
use data_runner_core::log::LogOffset;
use data_runner_core::port::{Executor as _, JobNews, Prepared, RunRequest};
use data_runner_exec::{CommandExecutor, RunOptions, Runner, ShimCommand, ShimPool};
use data_runner_testkit::sample;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let shim = std::env::args_os().nth(1).expect("the path of data-runner-shim");
    let root = tempfile::tempdir().unwrap();
    let pool = ShimPool::new(ShimCommand(vec![shim]), 1).unwrap();
    let executor =
        CommandExecutor::new("any".parse().unwrap(), Runner::new(pool, RunOptions::default()), |run| {
            let command = vec!["/bin/sh".into(), "-c".into(), run.job.entrypoint.clone().into()];
            Ok(Prepared { command, ..Prepared::default() })
        });
    let direct = median((0..200).map(|_| timed(|| shell("exec true", Stdio::null()))).collect());
    let mut ours = Vec::new();
    for number in 0..200 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        ours.push(run(&executor, root.path(), number, "exec true").await);
    }
    let ours = median(ours);
    println!(
        "true: direct {direct:?}, through the executor {ours:?}, overhead {:?}",
        ours.saturating_sub(direct)
    );

    let line = "x".repeat(99);
    fs::write(root.path().join("lines"), format!("{line}\n").repeat(1_000_000)).unwrap();
    let flood = format!("exec cat {}/lines", root.path().display());
    let direct = timed(|| shell(&flood, fs::File::create(root.path().join("out")).unwrap().into()));
    let ours = run(&executor, root.path(), 1000, &flood).await;
    println!("100 MB in 1,000,000 lines: into a file {direct:?}, through the executor {ours:?}");
}

async fn run(executor: &CommandExecutor, root: &Path, number: u64, script: &str) -> Duration {
    let mut job = sample::job();
    script.clone_into(&mut job.entrypoint);
    let attempt = AttemptId { execution: sample::execution_id(number), number: AttemptNumber::FIRST };
    let claim = Claim { attempt, lease: sample::lease(number) };
    let run = Arc::new(RunRequest {
        claim,
        job: Arc::new(job),
        folder: root.join(number.to_string()),
        alone_for: Duration::from_secs(600),
    });
    fs::create_dir_all(run.working_directory()).unwrap();
    let begin = Instant::now();
    let prepared = executor.prepare(Arc::clone(&run)).await.unwrap();
    let job = executor.start(run, prepared).await.unwrap();
    let mut seen = LogOffset(0);
    while let JobNews::Log(upto) = job.changed(seen).await.unwrap() {
        seen = upto;
    }
    begin.elapsed()
}

fn shell(script: &str, stdout: Stdio) {
    Command::new("/bin/sh").args(["-c", script]).stdout(stdout).status().unwrap();
}

fn timed(what: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    what();
    begin.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
