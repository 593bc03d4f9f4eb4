//! A store that has seen much.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use data_runner_core::event::Change;
use data_runner_core::execution::ExecutionState;
use data_runner_core::port::{Catalog as _, ExecutionQuery, StateStore as _};
use data_runner_sqlite::SqliteStore;
use data_runner_testkit::sample;

use crate::report::{Figure, Percentiles, Report};
use crate::system::System;

const BATCH: u64 = 1_000;
const RESTART_WITH: u64 = 100_000;

pub async fn measure(folder: &Path, executions: u64, report: &mut Report) -> anyhow::Result<()> {
    let state = folder.join("state");
    fill(&state, 0, executions.min(RESTART_WITH)).await?;
    let mut starts = Vec::new();
    for _ in 0..5 {
        starts.push(System::start(folder).await?.healthy_after);
    }
    let start = Percentiles::of(starts).p50;
    report.add(Figure::millis("healthy after the start, 100,000 executions stored", start, Some(100.0)));
    if executions > RESTART_WITH {
        fill(&state, RESTART_WITH, executions).await?;
    }
    list_in_process(&state, executions, report).await?;
    let system = System::start(folder).await?;
    let mut samples = Vec::new();
    for _ in 0..100 {
        let begun = Instant::now();
        let page = system.rest.json("/executions?limit=50").await?;
        samples.push(begun.elapsed());
        anyhow::ensure!(page["items"].as_array().map(Vec::len) == Some(50), "not a page of 50");
    }
    let what = format!("list of 50 of {executions} executions, by REST, p50");
    report.add(Figure::millis(&what, Percentiles::of(samples).p50, None));
    Ok(())
}

async fn list_in_process(state: &Path, executions: u64, report: &mut Report) -> anyhow::Result<()> {
    let store = SqliteStore::open(state).await?;
    let mut samples: Vec<Duration> = Vec::new();
    for _ in 0..100 {
        let query = ExecutionQuery { limit: 50, ..ExecutionQuery::default() };
        let begun = Instant::now();
        let page = store.executions(query).await?;
        samples.push(begun.elapsed());
        anyhow::ensure!(page.len() == 50, "not a page of 50");
    }
    let what = format!("list of 50 of {executions} executions, in the server, p50");
    report.add(Figure::millis(&what, Percentiles::of(samples).p50, Some(2.0)));
    store.close().await?;
    Ok(())
}

async fn fill(state: &Path, from: u64, to: u64) -> anyhow::Result<()> {
    let store = SqliteStore::open(state).await?;
    let epoch = store.acquire(sample::at(0)).await?;
    for first in (from..to).step_by(usize::try_from(BATCH)?) {
        let changes = (first..(first + BATCH).min(to)).map(|n| {
            let mut execution = sample::execution(n);
            execution.state = ExecutionState::Success { at: execution.created_at };
            Change::PutExecution(Arc::new(execution))
        });
        store.commit(epoch, sample::at(0), changes.collect()).await?;
    }
    store.close().await?;
    Ok(())
}
