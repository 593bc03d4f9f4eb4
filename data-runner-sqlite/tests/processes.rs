//! Two processes on one state, and one that is killed. The other process is this test's own program, started with a
//! part to play.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use data_runner_core::event::Change;
use data_runner_core::port::{StateError, StateStore};
use data_runner_sqlite::SqliteStore;
use data_runner_testkit::sample::{at, execution};
use tempfile::TempDir;

const FOLDER: &str = "DATA_RUNNER_TEST_STATE_FOLDER";

/// The part of the other process: holds the state, commits without end, and prints each sequence once it is answered.
#[tokio::test]
#[ignore = "a part for the tests below"]
async fn other_process() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let store = SqliteStore::open(folder).await.unwrap();
    let epoch = store.acquire(at(0)).await.unwrap();
    for n in 1.. {
        let change = Change::PutExecution(Arc::new(execution(n)));
        let sequence = store.commit(epoch, at(1), vec![change]).await.unwrap();
        println!("committed {sequence}");
        std::io::stdout().flush().unwrap();
    }
}

struct Other {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Other {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "other_process", "--nocapture"])
            .env(FOLDER, folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next sequence that it was answered; `None` after its end.
    fn committed(&mut self) -> Option<u64> {
        let mut line = String::new();
        while self.lines.read_line(&mut line).unwrap() > 0 {
            if let Some(place) = line.find("committed ") {
                // A line that the end of the process cut off was not printed whole, so it was not answered whole.
                return line[place..].strip_prefix("committed ")?.strip_suffix('\n')?.parse().ok();
            }
            line.clear();
        }
        None
    }

    /// SIGKILL; gives the last sequence that it was answered.
    fn kill(mut self, mut last: u64) -> u64 {
        self.child.kill().unwrap();
        while let Some(sequence) = self.committed() {
            last = sequence;
        }
        self.child.wait().unwrap();
        last
    }
}

#[tokio::test]
async fn a_second_process_is_refused_and_told_who_holds_the_state() {
    let folder = TempDir::new().unwrap();
    let mut other = Other::start(folder.path());
    let last = other.committed().unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    let error = store.acquire(at(0)).await.unwrap_err();
    let holder = format!("process {}", other.child.id());
    assert!(error.to_string().contains(&holder), "{error}");
    assert!(matches!(error, StateError::Held { .. }));
    other.kill(last);
    store.acquire(at(0)).await.unwrap();
}

#[tokio::test]
async fn a_killed_process_loses_nothing_that_it_was_answered() {
    let folder = TempDir::new().unwrap();
    let mut last = 0;
    for round in 1..=5 {
        let mut other = Other::start(folder.path());
        for _ in 0..round * 7 {
            last = other.committed().unwrap();
        }
        last = other.kill(last);
        let store = SqliteStore::open(folder.path()).await.unwrap();
        let epoch = store.acquire(at(0)).await.unwrap();
        let snapshot = store.load(epoch).await.unwrap();
        assert!(snapshot.sequence.0 >= last, "{} was answered, {} is stored", last, snapshot.sequence);
        store.integrity().await.unwrap();
    }
}
