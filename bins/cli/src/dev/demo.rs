//! The demo: all samples run at once on local agents, their logs side by side, then a table of how they ended.

use std::io::Write as _;
use std::path::Path;

use anstyle::{AnsiColor, Style};
use data_runner_core::execution::StateName;
use jiff::Timestamp;

use super::samples::FAILS_ON_PURPOSE;
use crate::client::encode;
use crate::command::{Context, took, until_ended};
use crate::error::Error;
use crate::outcome::Outcome;
use crate::output::{Field, Table, cut, say, style, whole};
use data_runner_rest::api::{Execute, Execution, Workflow};

/// The repository's name under which the samples are registered.
pub const REPOSITORY: &str = "demo";

const COLOURS: [AnsiColor; 5] =
    [AnsiColor::Cyan, AnsiColor::Green, AnsiColor::Yellow, AnsiColor::Magenta, AnsiColor::Blue];

/// Whether the demo went as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Every sample ended as expected.
    AsExpected,
    /// One did not.
    Surprising,
}

/// Runs all samples and shows their logs until all have ended.
pub async fn run(context: &Context, state_dir: &Path) -> Result<Verdict, Error> {
    let workflows: Vec<Workflow> = context.list("/workflows", &[], u32::MAX).await?;
    let samples: Vec<Workflow> =
        workflows.into_iter().filter(|workflow| workflow.repo == REPOSITORY).collect();
    let width = samples.iter().map(|sample| sample.name.len()).max().unwrap_or(0);
    say(&format!("{} {} samples at once\n", style::bold("Demo:"), samples.len()));
    if !state_dir.join("tools").exists() {
        say(&style::dim(
            "The first run makes an environment with Polars and one with DuckDB; that takes a moment.\n",
        ));
    }
    let mut running = Vec::new();
    for (sample, colour) in samples.iter().zip(COLOURS.iter().cycle()) {
        let path = format!("/workflows/{REPOSITORY}/{}/execute", encode(&sample.name));
        let execution: Execution = context.client.post(&path, &Execute::default(), None).await?;
        let prefix = Prefix { name: format!("{:<width$}", sample.name), style: colour.on_default() };
        running.push(tokio::spawn(show(context.clone(), execution, prefix)));
    }
    let mut ended = Vec::new();
    for task in running {
        let joined = task.await.map_err(|error| Error::failed(error.to_string(), "please report this"))?;
        ended.push(joined?);
    }
    Ok(summary(context, &ended))
}

/// What stands before each line of a workflow's log.
#[derive(Debug)]
struct Prefix {
    name: String,
    style: Style,
}

impl Prefix {
    fn print(&self, line: &[u8]) -> Result<(), Error> {
        let mut out = anstream::stdout().lock();
        let Self { name, style } = self;
        writeln!(out, "{style}{name} │{style:#} {}", String::from_utf8_lossy(line).trim_end())?;
        Ok(out.flush()?)
    }
}

/// Shows one log, line by line, and gives the execution as it ended.
async fn show(context: Context, execution: Execution, prefix: Prefix) -> Result<Execution, Error> {
    let path = format!("/executions/{}/logs?follow=true", execution.id);
    let mut answer = context.client.stream(&path, "text/plain").await?;
    let mut open: Vec<u8> = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|source| context.client.unreachable(source))? {
        open.extend_from_slice(&chunk);
        while let Some(end) = open.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = open.drain(..=end).collect();
            prefix.print(&line)?;
        }
    }
    if !open.is_empty() {
        prefix.print(&open)?;
    }
    until_ended(&context, execution).await
}

fn expected(execution: &Execution) -> bool {
    let fails = execution.workflow.ends_with(&format!("/{FAILS_ON_PURPOSE}"));
    match Outcome::of(execution) {
        Outcome::Success => !fails,
        Outcome::JobFailed { .. } => fails,
        Outcome::Timeout { .. }
        | Outcome::NotTheJob { .. }
        | Outcome::Cancelled { .. }
        | Outcome::Detached => false,
    }
}

fn summary(context: &Context, ended: &[Execution]) -> Verdict {
    let mut table = Table::new([whole("WORKFLOW"), whole("STATE"), whole("TOOK"), cut("NOTE")]);
    for execution in ended {
        let name = execution.workflow.rsplit('/').next().unwrap_or(&execution.workflow);
        let (colour, note) = match (expected(execution), execution.state) {
            (true, StateName::Failed) => {
                (AnsiColor::Yellow, "as expected: its data is bad on purpose".to_owned())
            }
            (true, _) => (AnsiColor::Green, String::new()),
            (false, _) => (AnsiColor::Red, surprise(execution)),
        };
        table.row([
            Field::new(name),
            Field::coloured(execution.state.as_str(), colour.on_default()),
            Field::new(took(execution, Timestamp::now()).unwrap_or_else(|| "-".to_owned())),
            Field::new(note),
        ]);
    }
    say(&format!("\n{}", context.output.draw(&table)));
    if ended.iter().all(expected) { Verdict::AsExpected } else { Verdict::Surprising }
}

fn surprise(execution: &Execution) -> String {
    match &execution.failure {
        Some(failure) => format!("NOT expected: {}: {}", failure.cause.as_str(), failure.message),
        None => "NOT expected".to_owned(),
    }
}
