//! `completion`: a script for a shell.

use clap::CommandFactory as _;

use crate::args::{Cli, CompletionArgs};
use crate::error::Error;
use crate::output::Output;

/// Prints the completion script.
pub fn completion(args: &CompletionArgs, output: Output) -> Result<u8, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "data-runner", &mut script);
    output.line(String::from_utf8_lossy(&script).trim_end())?;
    Ok(0)
}
