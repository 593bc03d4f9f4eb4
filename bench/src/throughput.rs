//! Many at once.

use std::time::Instant;

use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::report::{Figure, Report};
use crate::system::System;

const QUEUED: usize = 10_000;
const CLIENTS: usize = 32;

pub async fn measure(system: &System, report: &mut Report) -> anyhow::Result<()> {
    let cpu_before = system.cpu()?;
    let begun = Instant::now();
    let ids: Vec<String> = stream::iter(0..QUEUED)
        .map(|_| system.rest.execute("nothing"))
        .buffer_unordered(CLIENTS)
        .try_collect()
        .await?;
    let submitted = begun.elapsed();
    // The last one that was submitted is not the last to end; each is asked for.
    let ended = stream::iter(ids.iter())
        .map(|id| system.rest.ended(id))
        .buffer_unordered(CLIENTS)
        .try_fold(0_usize, |succeeded, execution| async move {
            Ok(succeeded + usize::from(execution["state"] == "success"))
        })
        .await?;
    let all = begun.elapsed();
    anyhow::ensure!(ended == QUEUED, "{ended} of {QUEUED} succeeded");
    report.add(Figure::rate("submissions, 32 clients, while 8 slots work", QUEUED, submitted, Some(2000.0)));
    report.add(Figure::rate("executions of `true`, 8 slots, 10,000 queued", QUEUED, all, Some(500.0)));
    let cpu = system.cpu()?;
    let whose = ["the supervisor", "the agent", "shims and jobs"];
    for ((whose, now), before) in whose.iter().zip(cpu).zip(cpu_before) {
        let each = now.saturating_sub(before) / u32::try_from(QUEUED)?;
        report.add(Figure::millis(&format!("processor time of {whose}, an execution"), each, None));
    }
    Ok(())
}
