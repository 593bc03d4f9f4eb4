//! Tests, and the simulation with more seeds than a test run has time for.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::command::{cargo, run, run_reading};
use crate::totals::Totals;
use crate::watch;

/// Names the file in which tests say that they were skipped; `data_runner_testkit::SKIPPED_FILE`.
pub const SKIPPED_FILE: &str = "DATA_RUNNER_SKIPPED";

/// Which tests.
#[derive(clap::Args)]
pub struct TestArgs {
    /// Also writes the closing lines to this file: what was skipped, what failed, and the numbers.
    #[arg(long)]
    closing: Option<PathBuf>,
    /// Goes to the test runner, such as the name of a test.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// How many seeds.
#[derive(clap::Args)]
pub struct SimArgs {
    /// How many seeds to run.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
}

/// What to measure.
#[derive(clap::Args)]
pub struct BenchArgs {
    /// Goes to the bench; `--help` tells what it takes.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

impl BenchArgs {
    /// Whether what is to be measured needs a supervisor that can start machines, which takes minutes to build.
    fn with_machines(&self) -> bool {
        let only = self.rest.iter().position(|argument| argument == "--only");
        only.is_none_or(|at| {
            let parts = self.rest.get(at + 1).map_or("", String::as_str);
            parts.split(',').any(|part| ["boot", "launches"].contains(&part))
        })
    }
}

/// Measures a release build.
pub fn bench(args: &BenchArgs) -> anyhow::Result<()> {
    // The small shim, which an operator gives to an agent by --shim.
    let mut build = cargo();
    build.args(["build", "--release", "--quiet", "--bins", "--package", "data-runner-exec"]);
    if args.with_machines() {
        build.args(["--package", "data-runner-supervisor", "--package", "data-runner-agent"]);
    }
    run(&mut build)?;
    let mut command = cargo();
    command.args(["run", "--release", "--quiet", "--package", "data-runner-bench", "--", "measure"]);
    run(command.args(&args.rest))
}

/// Builds everything that a test starts as a process; cargo builds only what a test links.
pub fn programs() -> anyhow::Result<()> {
    let binaries = ["data-runner-cli", "data-runner-supervisor", "data-runner-agent"];
    let mut build = cargo();
    build.args(["build", "--bins"]);
    for package in binaries {
        build.args(["--package", package]);
    }
    run(&mut build)
}

/// Runs tests, and says at the end what was skipped and what failed.
pub fn test(args: &TestArgs) -> anyhow::Result<()> {
    programs()?;
    let mut tests = cargo();
    tests.args(watch::as_runner()?);
    tests.args(["test", "--workspace", "--all-features", "--no-fail-fast"]).args(&args.rest);
    let totals = totals(tests)?;
    if let Some(file) = &args.closing {
        std::fs::write(file, format!("{totals}\n"))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    println!("\n{totals}");
    if !totals.is_good() {
        bail!("not all tests passed");
    }
    Ok(())
}

/// Runs tests, shows what they print, and gives what it comes to.
pub fn totals(mut tests: std::process::Command) -> anyhow::Result<Totals> {
    let skipped = tempfile::NamedTempFile::new().context("cannot make a file for skipped tests")?;
    tests.env(SKIPPED_FILE, skipped.path());
    let mut totals = Totals::default();
    let status = run_reading(&mut tests, |line| totals.read(line))?;
    totals.skipped_by_themselves(&read(skipped.path())?);
    // A test that failed has been counted; what else is there has been said by cargo.
    if !status.success() && totals.failed() == 0 {
        bail!("cargo test ended with {status}");
    }
    Ok(totals)
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Runs the world with the seeds that were asked for.
pub fn simulate(args: &SimArgs) -> anyhow::Result<()> {
    let mut command = cargo();
    command.args(["test", "--release", "--package", "data-runner-testkit", "--features", "world"]);
    command.args(["--test", "world", "--", "--nocapture", "seeds"]);
    command.env("DATA_RUNNER_SIM_SEEDS", args.seeds.to_string());
    run(command.env("DATA_RUNNER_SIM_FROM", args.from.to_string()))
}

#[cfg(test)]
mod names {
    #[test]
    fn tests_and_their_runner_mean_the_same_file() {
        assert_eq!(super::SKIPPED_FILE, data_runner_testkit::SKIPPED_FILE);
    }
}
