//! `cargo xtask …`: what a person or CI runs. Nothing here is part of the product.

mod checks;
mod command;
mod licences;
mod localstack;
mod sqlx;
mod tests;
mod totals;
mod watch;

use std::process::ExitCode;

use clap::Parser;

/// Development tasks of Data Runner.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
enum Task {
    /// Builds the binaries that tests start, then runs every test.
    Test(tests::TestArgs),
    /// Checks formatting and lints; warnings are errors.
    Lint,
    /// Checks that core does no IO, neither its dependencies nor its code, and that no laptop compiles a cloud's SDK.
    Purity,
    /// Builds the documentation; warnings are errors.
    Docs,
    /// Checks the licence of every dependency, and that NOTICE names what it must.
    Licences,
    /// Refreshes the data of the compile-time checked queries.
    Sqlx {
        /// Changes nothing; fails if the committed data is not fresh.
        #[arg(long)]
        check: bool,
    },
    /// Runs the provisioner's contract and a supervisor at LocalStack's EC2, and says what LocalStack lacks.
    Localstack(localstack::LocalStackArgs),
    /// Measures a release build: latency, throughput, logs, memory, scale.
    Bench(tests::BenchArgs),
    /// Runs the simulated world with many seeds.
    Sim(tests::SimArgs),
    /// Runs a test program, and kills it when it hangs. `test` has cargo run all of them so.
    #[command(hide = true)]
    Watch(watch::WatchArgs),
}

fn main() -> ExitCode {
    match run(Task::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<ExitCode> {
    match task {
        Task::Watch(args) => return watch::watch(&args),
        Task::Test(args) => tests::test(&args),
        Task::Lint => checks::lint(),
        Task::Purity => checks::purity(),
        Task::Docs => checks::docs(),
        Task::Licences => licences::check(),
        Task::Sqlx { check } => sqlx::prepare(check),
        Task::Localstack(args) => localstack::check(&args),
        Task::Bench(args) => tests::bench(&args),
        Task::Sim(args) => tests::simulate(&args),
    }?;
    Ok(ExitCode::SUCCESS)
}
