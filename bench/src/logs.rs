//! A flood of lines, and a single one.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::StreamExt as _;

use crate::report::{Figure, Percentiles, Report};
use crate::system::System;

/// A million lines of a hundred bytes, no two alike.
pub const FLOOD: &str = "exec seq -f '%099.0f' 1000000\n";
/// A line, then a pause: what a follower waits for.
pub const DRIP: &str = "for n in 1 2 3 4 5 6 7 8 9 10; do date +%s%N; sleep 0.3; done\n";

const BYTES: usize = 100_000_000;

pub async fn measure(system: &System, report: &mut Report) -> anyhow::Result<()> {
    let script = system.folder.join("flood.sh");
    std::fs::write(&script, FLOOD)?;
    let mut direct = Vec::new();
    let mut ours = Vec::new();
    let mut last = String::new();
    for _ in 0..3 {
        let file = std::fs::File::create(system.folder.join("flood.out"))?;
        let begun = Instant::now();
        Command::new("/bin/sh").arg(&script).stdout(file).status()?;
        direct.push(begun.elapsed());
        let begun = Instant::now();
        let execution = system.rest.run("flood").await?;
        ours.push(begun.elapsed());
        last = execution["id"].as_str().context("no id")?.to_owned();
    }
    let (direct, ours) = (Percentiles::of(direct).p50, Percentiles::of(ours).p50);
    report.add(Figure::millis("1,000,000 lines of 100 B into a file, median of 3", direct, None));
    report.add(Figure::millis("the same as a run, to success by REST", ours, None));
    report.add(Figure::ratio("ratio of the two", ours.as_secs_f64() / direct.as_secs_f64(), Some(3.5)));
    read_whole(system, &last, report).await?;
    pages(system, &last, report).await?;
    follow(system, report).await
}

async fn read_whole(system: &System, id: &str, report: &mut Report) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut body =
        system.rest.get(&format!("/executions/{id}/logs?stream=stdout")).send().await?.bytes_stream();
    let mut bytes = 0;
    while let Some(part) = body.next().await {
        bytes += part?.len();
    }
    anyhow::ensure!(bytes == BYTES, "{bytes} of {BYTES} bytes came back");
    report.add(Figure::millis("all of it read back by REST (100 MB)", begun.elapsed(), None));
    Ok(())
}

async fn pages(system: &System, id: &str, report: &mut Report) -> anyhow::Result<()> {
    let mut samples = Vec::new();
    for n in 0..200_u64 {
        let from = 1 + n * 4_999;
        let path = format!("/executions/{id}/logs?from_line={from}&to_line={}", from + 199);
        let begun = Instant::now();
        let text = system.rest.get(&path).send().await?.text().await?;
        samples.push(begun.elapsed());
        anyhow::ensure!(text.lines().count() == 200, "a page of {} lines", text.lines().count());
    }
    report.add(Figure::millis("a page of 200 of its lines, p95", Percentiles::of(samples).p95, Some(5.0)));
    Ok(())
}

/// Each line of the job is the time at which it was printed.
async fn follow(system: &System, report: &mut Report) -> anyhow::Result<()> {
    let id = system.rest.execute("drip").await?;
    let path = format!("/executions/{id}/logs?stream=stdout&follow=true");
    let mut body = system.rest.get(&path).send().await?.bytes_stream();
    let mut samples = Vec::new();
    while let Some(part) = body.next().await {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        for line in String::from_utf8_lossy(&part?).lines() {
            let printed = Duration::from_nanos(line.trim().parse()?);
            samples.push(now.saturating_sub(printed));
        }
    }
    report.add(Figure::millis(
        "a line, from print to follower, p95",
        Percentiles::of(samples).p95,
        Some(100.0),
    ));
    Ok(())
}
