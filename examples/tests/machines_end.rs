//! A machine of the provisioner of one's own that is shown as terminated has no process of a job left: that is what lets
//! a supervisor run the job again elsewhere.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::path::Path;
use std::time::Duration;

use data_runner_core::event::ShutDown;
use data_runner_core::workflow::WorkerTypes;
use data_runner_engine::Order;
use data_runner_examples::{Repository, SmallSystem, shell_executor, shell_worker_type};
use data_runner_exec::{RunOptions, Runner, ShimCommand, ShimPool};

/// More than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn machines_that_are_ended_at_once_take_their_jobs_with_them() {
    let folder = tempfile::tempdir().unwrap();
    // A test cannot be a shim, for it has another main; any program that carries the mode can.
    let shim = ShimCommand(vec![env!("CARGO_BIN_EXE_custom_provisioner").into(), "internal-shim".into()]);
    let runner = Runner::new(ShimPool::new(shim, 1).unwrap(), RunOptions::default());
    let types = WorkerTypes::default().with(shell_worker_type().unwrap());
    let shell = shell_executor(runner).unwrap();
    let system = SmallSystem::start(folder.path(), types, vec![shell]).await.unwrap();
    let handle = system.handle();

    let pid_file = folder.path().join("pid");
    let script = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 600\n", pid_file.display());
    let config = "worker_type: shell\ninstance_size: t3.small\n";
    let files = [("config.yaml", config), ("workflow.sh", script.as_str())];
    let repository = Repository::new(folder.path()).with("endless", &files).unwrap();
    handle.register(repository.registration()).await.unwrap();
    handle.execute("endless", Order::default()).await.unwrap();
    let pid = tokio::time::timeout(PATIENCE, content(&pid_file)).await.unwrap();
    assert!(process_exists(&pid));

    tokio::time::timeout(PATIENCE, handle.shut_down(ShutDown::Now)).await.unwrap().unwrap();
    assert!(!process_exists(&pid));
    system.end().await.unwrap();
}

async fn content(file: &Path) -> String {
    loop {
        if let Ok(text) = std::fs::read_to_string(file) {
            return text.trim().to_owned();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn process_exists(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}
