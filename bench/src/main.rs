//! Measures Data Runner as its users meet it: a supervisor and agents as separate processes, REST, gRPC, SQLite with
//! synchronous=FULL on a real disk. One program in several modes, so that an agent of the bench has worker types of its
//! own: one that runs `true`, and one that prints lines.

mod boot;
mod client;
mod engines;
mod latency;
mod launches;
mod logs;
mod machines;
mod modes;
mod report;
mod scale;
mod system;
mod throughput;

use std::process::ExitCode;

use clap::Parser;

/// Measures Data Runner.
#[derive(Parser)]
#[command(bin_name = "cargo xtask bench")]
enum Mode {
    /// Starts everything and measures it.
    Measure(report::MeasureArgs),
    /// A supervisor for the bench.
    #[command(hide = true)]
    Supervisor(modes::SupervisorArgs),
    /// An agent for the bench.
    #[command(hide = true)]
    Agent {
        #[command(flatten)]
        options: Box<data_runner_agent::AgentOptions>,
    },
}

fn main() -> ExitCode {
    if let Some(code) = data_runner_agent::carry_out_hidden_mode() {
        return code;
    }
    let ended = match Mode::parse() {
        Mode::Measure(args) => modes::in_runtime(report::measure(args)),
        Mode::Supervisor(args) => modes::in_runtime(modes::supervise(args)),
        Mode::Agent { options } => modes::in_runtime(modes::work(*options)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
