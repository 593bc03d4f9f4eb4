//! `data-runner-agent`: runs the jobs of one worker.

use std::process::ExitCode;

use clap::Parser;
use data_runner_agent::{AgentOptions, carry_out_hidden_mode, run_to_end};

/// Runs workflows on this machine for a Data Runner supervisor.
///
/// SIGTERM or Ctrl-C lets the running jobs end and takes no new ones; the second one stops them. Ended in any other
/// way, the jobs go on, and the next agent on the same state folder takes them over.
#[derive(Debug, Parser)]
#[command(name = "data-runner-agent", version, next_line_help = true)]
struct Cli {
    #[command(flatten)]
    options: AgentOptions,
}

fn main() -> ExitCode {
    // Before anything else: a shim must have one thread, and every millisecond of it is a job's.
    if let Some(code) = carry_out_hidden_mode() {
        return code;
    }
    run_to_end(&Cli::parse().options)
}
