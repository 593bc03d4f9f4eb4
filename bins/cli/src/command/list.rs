//! `ps`, `show` and `logs`: looking at executions.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use data_runner_core::execution::StateName;
use jiff::Timestamp;

use super::context::Context;
use super::execution_view::{ending, page, table};
use super::follow::{Followed, LINES, LogSink, LogWanted, TEXT, follow};
use crate::args::{Format, LogsArgs, PsArgs, ShowArgs};
use crate::client::encode;
use crate::error::Error;
use crate::output::{say, style};
use data_runner_rest::api::{Execution, ExecutionDefinition, Lock};

/// How often `ps -w` looks again.
const LOOK: Duration = Duration::from_secs(1);

/// `ps`: what is active, or all there was.
pub async fn ps(args: &PsArgs, context: &Context) -> Result<u8, Error> {
    let query = filters(args)?;
    if !args.watch {
        return show_list(args, context, &query).await.map(|()| 0);
    }
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(0),
            shown = watch_once(args, context, &query) => shown?,
        }
    }
}

async fn watch_once(args: &PsArgs, context: &Context, query: &[(&str, String)]) -> Result<(), Error> {
    if io::stdout().is_terminal() && context.output.format == Format::Table {
        // Home, and clear to the end of the screen: less flicker than clearing first.
        context.output.line("\x1b[H\x1b[2J")?;
    }
    show_list(args, context, query).await?;
    tokio::time::sleep(LOOK).await;
    Ok(())
}

async fn show_list(args: &PsArgs, context: &Context, query: &[(&str, String)]) -> Result<(), Error> {
    let executions: Vec<Execution> = context.list("/executions", query, args.limit).await?;
    if executions.is_empty() && context.output.is_table() {
        say(match args.all {
            true => "no execution yet; start one with `data-runner run WORKFLOW`",
            false => "nothing is running; `data-runner ps -a` shows what has ended",
        });
        return Ok(());
    }
    let draw = |all: &[Execution]| context.output.draw(&table(all, context.output.width, Timestamp::now()));
    context.output.many(&executions, |execution| execution.id.to_string(), draw)
}

fn filters(args: &PsArgs) -> Result<Vec<(&'static str, String)>, Error> {
    let mut query = Vec::new();
    let active = StateName::ALL.into_iter().filter(|state| !state.is_terminal());
    let mut states: Vec<String> = Vec::new();
    for given in &args.state {
        let state: StateName =
            given.parse().map_err(|error| Error::usage(format!("{error}"), "see `ps --help`"))?;
        states.push(state.as_str().to_owned());
    }
    if states.is_empty() && !args.all {
        states.extend(active.map(|state| state.as_str().to_owned()));
    }
    query.extend((!states.is_empty()).then(|| ("state", states.join(","))));
    query.extend(args.workflow.clone().map(|workflow| ("workflow", workflow)));
    query.extend(args.label.clone().map(|label| ("label", label)));
    query.extend(args.group.clone().map(|group| ("group", group)));
    Ok(query)
}

/// `show`: one execution, its packages, or what it runs by.
pub async fn show(args: &ShowArgs, context: &Context) -> Result<u8, Error> {
    let execution = context.execution(&args.id).await?;
    if args.lock {
        let lock: Lock = context.client.get(&format!("/executions/{}/lock", execution.id)).await?;
        context.output.one(&lock, |_| execution.id.to_string(), requirements)?;
        return Ok(0);
    }
    if args.definition {
        let path = format!("/executions/{}/definition", execution.id);
        let definition: ExecutionDefinition = context.client.get(&path).await?;
        let Some(text) = &definition.text else {
            let message = format!("there is no {} of {}", definition.file, definition.revision);
            return Err(Error::not_found(message, "it was never pushed, or its repository has dropped it"));
        };
        context.output.one(&definition, |_| execution.id.to_string(), |_| text.trim_end().to_owned())?;
        return Ok(0);
    }
    context.output.one(&execution, |it| it.id.to_string(), |it| page(it, Timestamp::now()))?;
    Ok(0)
}

/// The packages as pip and uv take them.
fn requirements(lock: &Lock) -> String {
    let python = lock.python.iter().map(|version| format!("# Python {version}"));
    let packages = lock.packages.iter().map(|package| match (&package.version, &package.url) {
        (Some(version), _) => format!("{}=={version}", package.name),
        (None, Some(url)) => format!("{} @ {url}", package.name),
        (None, None) => package.name.clone(),
    });
    python.chain(packages).collect::<Vec<_>>().join("\n")
}

/// `logs`: the log as the job wrote it; with `-f`, to the end and out with the job's code.
pub async fn logs(args: &LogsArgs, context: &Context) -> Result<u8, Error> {
    let execution = context.execution(&args.id).await?;
    let form = match context.output.format {
        Format::Table | Format::Name | Format::Yaml => TEXT,
        Format::Json | Format::Ndjson => LINES,
    };
    if args.follow {
        let query = log_query(args, &tail_from(args, &execution));
        let followed = follow(context, execution, LogWanted { query, form, sink: LogSink::Stdout }).await?;
        // The log is the data here, whatever its form; how it ended is for people.
        if let Followed::Ended(execution) = &followed {
            say(&ending(execution, Timestamp::now()));
        }
        return Ok(followed.exit_code());
    }
    let tail = args.tail.map(|lines| ("tail", lines));
    let path = format!("/executions/{}/logs?follow=false{}", execution.id, log_query(args, &tail));
    let mut answer = context.client.stream(&path, form).await?;
    let mut printed = false;
    while let Some(chunk) = answer.chunk().await.map_err(|source| context.client.unreachable(source))? {
        printed |= !chunk.is_empty();
        let mut out = io::stdout().lock();
        out.write_all(&chunk)?;
        out.flush()?;
    }
    if !printed && io::stderr().is_terminal() {
        say(&style::dim(&format!("nothing was printed; the execution is {}", execution.state)));
    }
    Ok(0)
}

/// What "the last lines" means for a reader that may have to come back: where they start. Lines that are chosen by
/// their content cannot be counted from here, so there the server counts.
fn tail_from(args: &LogsArgs, execution: &Execution) -> Option<(&'static str, u64)> {
    let tail = args.tail?;
    match &execution.log {
        Some(log) if args.grep.is_none() && args.stream.is_none() && args.attempt.is_none() => {
            Some(("from_line", log.lines.saturating_sub(tail).saturating_add(1)))
        }
        Some(_) | None => Some(("tail", tail)),
    }
}

fn log_query(args: &LogsArgs, lines: &Option<(&'static str, u64)>) -> String {
    let mut query = String::new();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = write!(query, "&{name}={}", encode(&value));
        }
    };
    if let Some((name, number)) = lines {
        add(name, Some(number.to_string()));
    }
    add("grep", args.grep.clone());
    add("attempt", args.attempt.map(|number| number.to_string()));
    add("stream", args.stream.clone());
    query
}
