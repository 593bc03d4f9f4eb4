//! Tests, and the simulation with more seeds than a test run has time for.

use crate::command::{cargo, run};

/// Which tests.
#[derive(clap::Args)]
pub struct TestArgs {
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

/// Measures a release build.
pub fn bench(args: &BenchArgs) -> anyhow::Result<()> {
    // The small shim, which an operator gives to an agent by --shim.
    run(cargo().args(["build", "--release", "--quiet", "--package", "data-runner-exec", "--bins"]))?;
    let mut command = cargo();
    command.args(["run", "--release", "--quiet", "--package", "data-runner-bench", "--", "measure"]);
    run(command.args(&args.rest))
}

/// Everything that a test starts as a process is built first; cargo builds only what a test links.
pub fn test(args: &TestArgs) -> anyhow::Result<()> {
    let binaries = ["data-runner-cli", "data-runner-supervisor", "data-runner-agent"];
    let mut build = cargo();
    build.args(["build", "--bins"]);
    for package in binaries {
        build.args(["--package", package]);
    }
    run(&mut build)?;
    run(cargo().args(["test", "--workspace", "--all-features", "--no-fail-fast"]).args(&args.rest))
}

/// Runs the world with the seeds that were asked for.
pub fn simulate(args: &SimArgs) -> anyhow::Result<()> {
    let mut command = cargo();
    command.args(["test", "--release", "--package", "data-runner-testkit", "--features", "world"]);
    command.args(["--test", "world", "--", "--nocapture", "seeds"]);
    command.env("DATA_RUNNER_SIM_SEEDS", args.seeds.to_string());
    run(command.env("DATA_RUNNER_SIM_FROM", args.from.to_string()))
}
