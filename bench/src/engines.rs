//! What a run adds to the same engine run directly, with a warm environment.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::report::{Figure, Percentiles, Report};
use crate::system::{System, write_workflow};

const RUNS: usize = 15;
const SQL: &str = "SELECT sum(i) AS total, count(*) AS rows FROM range(1000000) t(i);\n";
const PYTHON: &str = "import polars as pl\nprint(pl.DataFrame({'i': range(1000)}).sum())\n";

pub fn write(folder: &Path) -> anyhow::Result<()> {
    let config = |worker_type: &str| format!("worker_type: {worker_type}\ninstance_size: t3.large\n");
    write_workflow(folder, "sql", &config("duckdb"), "workflow.sql", SQL)?;
    write_workflow(folder, "frame", &config("polars"), "workflow.py", PYTHON)
}

pub async fn measure(system: &System, report: &mut Report) -> anyhow::Result<()> {
    // The first run of each makes its environment.
    system.rest.run("sql").await?;
    system.rest.run("frame").await?;
    let tools = system.folder.join("tools");
    let duckdb =
        find(&tools, &|path| path.ends_with("duckdb_cli/duckdb")).context("no duckdb in the tools")?;
    let sql = system.folder.join("direct.sql");
    std::fs::write(&sql, SQL)?;
    let mut direct = Command::new(duckdb);
    direct.args(["-no-init", "-batch", "-bail", "-f"]).arg(&sql);
    compare(system, "sql", "DuckDB", direct, report).await?;

    let has_polars = |path: &Path| {
        path.ends_with("bin/python")
            && path
                .ancestors()
                .nth(2)
                .is_some_and(|env| find(&env.join("lib"), &|p| p.ends_with("polars/__init__.py")).is_some())
    };
    let python = find(&tools, &has_polars).context("no environment with polars in the tools")?;
    let script = system.folder.join("direct.py");
    std::fs::write(&script, PYTHON)?;
    let mut direct = Command::new(python);
    direct.arg("-u").arg(&script);
    compare(system, "frame", "Polars", direct, report).await
}

/// One of ours and one directly, in turn, so that the machine's mood is the same for both.
async fn compare(
    system: &System,
    workflow: &str,
    name: &str,
    mut direct: Command,
    report: &mut Report,
) -> anyhow::Result<()> {
    direct.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let (mut plain, mut ours): (Vec<Duration>, Vec<Duration>) = Default::default();
    for _ in 0..RUNS {
        let begun = Instant::now();
        ensure!(direct.status()?.success(), "{name} does not run directly");
        plain.push(begun.elapsed());
        let begun = Instant::now();
        system.rest.run(workflow).await?;
        ours.push(begun.elapsed());
    }
    let (plain, ours) = (Percentiles::of(plain).p50, Percentiles::of(ours).p50);
    report.add(Figure::millis(&format!("{name} directly, p50"), plain, None));
    report.add(Figure::millis(
        &format!("{name} as a run, added at p50"),
        ours.saturating_sub(plain),
        Some(15.0),
    ));
    Ok(())
}

fn find(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> Option<PathBuf> {
    // A folder that cannot be read holds nothing for us.
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    entries.sort();
    entries.iter().find(|path| wanted(path)).cloned().or_else(|| {
        entries.iter().filter(|path| path.is_dir() && !path.is_symlink()).find_map(|path| find(path, wanted))
    })
}
