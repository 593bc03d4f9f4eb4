//! Measures the store on this machine's disk: `cargo run --release -p data-runner-sqlite --example measure [FOLDER [ROWS]]`.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use data_runner_core::event::{Change, EventKind, EventRecord};
use data_runner_core::execution::{Execution, ExecutionState, StateName};
use data_runner_core::id::{AttemptId, AttemptNumber, Claim, Epoch};
use data_runner_core::log::{ChunkBuilder, LogPosition, Stream};
use data_runner_core::message::LogAppend;
use data_runner_core::port::{Catalog, ExecutionQuery, LogRange, LogStore, StateStore};
use data_runner_core::time::Entropy;
use data_runner_sqlite::SqliteStore;
use data_runner_testkit::sample::{at, execution, lease, worker_id, workflow_id};

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let scratch = tempfile::tempdir().unwrap();
    let folder = arguments.next().map_or_else(|| scratch.path().to_owned(), std::path::PathBuf::from);
    let rows: u64 = arguments.next().map_or(1_000_000, |rows| rows.parse().unwrap());

    let store = Arc::new(SqliteStore::open(&folder).await.unwrap());
    let epoch = store.acquire(at(0)).await.unwrap();
    single_commits(&store, epoch).await;
    transitions(&store, epoch).await;
    logs(&store, epoch).await;
    history(&store, epoch, rows).await;
    pages(&store).await;
    store.close().await.unwrap();
    drop(store);

    let begun = Instant::now();
    let store = SqliteStore::open(&folder).await.unwrap();
    let epoch = store.acquire(at(0)).await.unwrap();
    let active = store.load(epoch).await.unwrap().executions.len();
    println!("open, acquire, load ({active} active of {rows}): {:?}", begun.elapsed());
    tokio::time::sleep(Duration::from_millis(500)).await;
    let memory = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    println!("{}", memory.lines().find(|line| line.starts_with("Pss:")).unwrap());
}

fn moved(n: u64, state: ExecutionState) -> Vec<Change> {
    let kind = EventKind::ExecutionQueued;
    let message = "moved".to_owned();
    let one = Execution { state, workflow_id: workflow_id(n % 20), ..execution(n) };
    let (execution, workflow) = (Some(one.id), Some(one.workflow_id));
    let record = EventRecord { at: at(0), kind, execution, workflow, worker: None, message };
    vec![Change::PutExecution(Arc::new(one)), Change::Record(record)]
}

fn life(n: u64) -> [Vec<Change>; 4] {
    let since = at(n as i64);
    [
        moved(n, execution(n).state),
        moved(n, ExecutionState::Provisioning { worker: worker_id(1), since }),
        moved(n, ExecutionState::Provisioning { worker: worker_id(2), since }),
        moved(n, ExecutionState::Success { at: since }),
    ]
}

async fn single_commits(store: &SqliteStore, epoch: Epoch) {
    let begun = Instant::now();
    for n in 0..1000 {
        store.commit(epoch, at(0), moved(n, ExecutionState::Success { at: at(1) })).await.unwrap();
    }
    println!("single commits: {:.0}/s", 1000.0 / begun.elapsed().as_secs_f64());
}

/// 64 executions at a time go through four transitions each, every one a commit of its own.
async fn transitions(store: &Arc<SqliteStore>, epoch: Epoch) {
    let begun = Instant::now();
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                for n in 0..100 {
                    for changes in life(10_000 + task * 100 + n) {
                        store.commit(epoch, at(0), changes).await.unwrap();
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let rate = 6400.0 / begun.elapsed().as_secs_f64();
    println!("executions through 4 transitions, 64 at a time: {rate:.0}/s ({:.0} commits/s)", rate * 4.0);
}

async fn logs(store: &SqliteStore, epoch: Epoch) {
    let claim = Claim {
        attempt: AttemptId { execution: execution(1).id, number: AttemptNumber(1) },
        lease: lease(1),
    };
    store.commit(epoch, at(0), vec![Change::OpenLog(claim)]).await.unwrap();
    let mut builder = ChunkBuilder::resume(LogPosition::START);
    let mut entropy = Entropy::from_number(1);
    // Random bytes stand for what is left after compression: 256 chunks of 64 KiB.
    let appends: Vec<LogAppend> = (0..256)
        .map(|n| {
            let bytes: Vec<u8> = (0..8192).flat_map(|_| entropy.bits().to_le_bytes()).collect();
            builder.push(Stream::Stdout, at(n), &bytes);
            LogAppend { claim, chunk: builder.finish().unwrap() }
        })
        .collect();
    let last = builder.position().next_line;
    let begun = Instant::now();
    store.append(appends).await.unwrap();
    let took = begun.elapsed();
    println!("16 MiB of chunks appended in {took:?}: {:.0} MiB/s", 16.0 / took.as_secs_f64());
    let range = LogRange::Lines { from: last - 10, to: last };
    timed("the last lines of it", || async { store.read(claim.attempt, range, 10).await.unwrap().len() })
        .await;
}

async fn history(store: &SqliteStore, epoch: Epoch, rows: u64) {
    let begun = Instant::now();
    for block in 0..rows / 1000 {
        let changes = (0..1000)
            .map(|n| {
                let n = 1_000_000 + block * 1000 + n;
                let state = match n % 1000 {
                    0 => ExecutionState::Cancelled { at: at(1) },
                    500 if n.is_multiple_of(100_500) => execution(n).state,
                    _ => ExecutionState::Success { at: at(1) },
                };
                let tier = if n.is_multiple_of(1000) { "gold" } else { "silver" };
                let labels = [("tier".to_owned(), tier.to_owned())].into();
                let one = Execution { state, labels, workflow_id: workflow_id(n % 20), ..execution(n) };
                Change::PutExecution(Arc::new(one))
            })
            .collect();
        store.commit(epoch, at(0), changes).await.unwrap();
    }
    println!("{rows} executions put by thousands: {:.0}/s", rows as f64 / begun.elapsed().as_secs_f64());
}

async fn pages(store: &SqliteStore) {
    let page = ExecutionQuery { limit: 50, ..ExecutionQuery::default() };
    let rare = vec![StateName::Cancelled];
    let label = |value: &str| Some(("tier".to_owned(), value.to_owned()));
    let (since, until) = (Some(at(1_200_000)), Some(at(1_300_000)));
    for (name, query) in [
        ("newest", page.clone()),
        ("by state", ExecutionQuery { states: vec![StateName::Success], ..page.clone() }),
        ("by rare state", ExecutionQuery { states: rare.clone(), ..page.clone() }),
        ("by three states", ExecutionQuery { states: StateName::ALL[3..6].to_vec(), ..page.clone() }),
        ("by workflow", ExecutionQuery { workflow: Some(workflow_id(3)), ..page.clone() }),
        (
            "by workflow and rare state",
            ExecutionQuery { workflow: Some(workflow_id(0)), states: rare, ..page.clone() },
        ),
        ("by label", ExecutionQuery { label: label("gold"), ..page.clone() }),
        ("by time", ExecutionQuery { since, until, ..page.clone() }),
        (
            "by time and state",
            ExecutionQuery { since, until, states: vec![StateName::Cancelled], ..page.clone() },
        ),
        ("from the middle", ExecutionQuery { before: Some(execution(1_500_000).id), ..page }),
    ] {
        let query = &query;
        timed(name, || async { store.executions(query.clone()).await.unwrap().len() }).await;
    }
    timed("counts", || async { store.counts().await.unwrap().len() }).await;
    let prefix = execution(1_400_000).id.to_string();
    timed("by prefix", || async { store.executions_by_prefix(&prefix[..13], 10).await.unwrap().len() }).await;
}

/// The median of 21 calls.
async fn timed<F: Future<Output = usize>>(name: &str, call: impl Fn() -> F) {
    let mut times = Vec::new();
    let mut found = 0;
    for _ in 0..21 {
        let begun = Instant::now();
        found = call().await;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    println!("{name}: {found} in {:?}", times[10]);
}
