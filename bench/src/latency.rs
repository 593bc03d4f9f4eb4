//! From the trigger by REST to the success seen by REST, one after the other.

use std::process::Command;
use std::time::Instant;

use crate::report::{Figure, Percentiles, Report};
use crate::system::System;

const RUNS: usize = 500;

pub async fn measure(system: &System, report: &mut Report) -> anyhow::Result<()> {
    for _ in 0..50 {
        system.rest.run("nothing").await?;
    }
    let mut floor = Vec::with_capacity(RUNS);
    let mut samples = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let begun = Instant::now();
        Command::new("/bin/true").status()?;
        floor.push(begun.elapsed());
        let begun = Instant::now();
        system.rest.run("nothing").await?;
        samples.push(begun.elapsed());
    }
    let (floor, samples) = (Percentiles::of(floor), Percentiles::of(samples));
    report.add(Figure::millis("spawn `true` and wait, p50", floor.p50, None));
    report.add(Figure::millis("trigger to success by REST, p50", samples.p50, Some(5.0)));
    report.add(Figure::millis("trigger to success by REST, p95", samples.p95, Some(10.0)));
    Ok(())
}
