//! `run`, `retry` and `rerun`: what starts an execution; `wait` and `cancel`.

use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::context::Context;
use super::execution_view::{ending, table};
use super::follow::{Followed, LogSink, LogWanted, TEXT, follow, wait as wait_for};
use super::group;
use super::local::run_local;
use super::unpushed::{LocalFolder, is_folder};
use super::workflow::FIND;
use crate::args::{CancelArgs, RepeatArgs, RunArgs, WaitArgs};
use crate::client::encode;
use crate::error::Error;
use crate::outcome::Outcome;
use crate::output::{Output, say, style};
use data_runner_rest::api::{Execute, Execution, Repeat, Started};

/// An execution with what became of it; what `-o json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    outcome: Outcome,
    execution: &'a Execution,
}

/// `run`: submits, follows, and ends as the job ended.
pub async fn run(
    args: &RunArgs,
    output: Output,
    connect: impl FnOnce() -> Result<Context, Error>,
) -> Result<u8, Error> {
    let params = params(&args.param)?;
    if args.local {
        return run_local(args, &params, output).await;
    }
    let context = &connect()?;
    let (workflow, reference) = if is_folder(&args.workflow) {
        if args.reference.is_some() {
            return Err(Error::usage(
                "--ref names a commit, and a folder is run as it stands",
                "leave it away, or name the workflow",
            ));
        }
        let sent = LocalFolder::open(Path::new(&args.workflow))?.send(context).await?;
        (sent.id.to_string(), Some(sent.revision))
    } else {
        (encode_name(&args.workflow), args.reference.clone())
    };
    let body = Execute { params, reference, instance_size: args.instance_size.clone() };
    // With a key of our own a lost answer can be asked for again without a second execution.
    let key = args.idempotency_key.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let path = format!("/workflows/{workflow}/execute");
    let answer = context.client.post(&path, &body, Some(&key)).await;
    let execution = match answer.map_err(|error| error.helping_to_find(FIND))? {
        Started::Execution(execution) => *execution,
        Started::Group(group) => return group::started(*group, args.detach, context).await,
    };
    submitted(&execution);
    if args.detach { print(context, &execution) } else { to_the_end(context, execution).await }
}

/// `retry` and `rerun`: a new execution from an old one.
pub async fn repeat(verb: &str, args: &RepeatArgs, context: &Context) -> Result<u8, Error> {
    let old = context.execution(&args.id).await?;
    let key = uuid::Uuid::new_v4().to_string();
    let path = format!("/executions/{}/{verb}", old.id);
    let execution: Execution = context.client.post(&path, &Repeat {}, Some(&key)).await?;
    submitted(&execution);
    if args.follow { to_the_end(context, execution).await } else { print(context, &execution) }
}

/// `wait`: ends as the job ends.
pub async fn wait(args: &WaitArgs, context: &Context) -> Result<u8, Error> {
    let execution = context.execution(&args.id).await?;
    let followed = wait_for(context, execution).await?;
    report(context, &followed)
}

/// `cancel`: asks for the end; which comes when the job's processes are gone.
pub async fn cancel(args: &CancelArgs, context: &Context) -> Result<u8, Error> {
    let mut cancelled = Vec::new();
    for id in &args.ids {
        let execution = context.execution(id).await?;
        let path = format!("/executions/{}/cancel", execution.id);
        let now: Execution = context.client.post(&path, &Repeat {}, None).await?;
        if !now.state.is_terminal() {
            say(&format!("{} is told to stop; it has its grace period to end by itself", now.id));
        }
        cancelled.push(now);
    }
    let draw = |all: &[Execution]| context.output.draw(&table(all, context.output.width, Timestamp::now()));
    context.output.many(&cancelled, |execution| execution.id.to_string(), draw)?;
    Ok(0)
}

/// Follows an execution that was just started, and reports how it ended.
async fn to_the_end(context: &Context, execution: Execution) -> Result<u8, Error> {
    let sink = if context.output.is_table() { LogSink::Stdout } else { LogSink::Stderr };
    let followed = follow(context, execution, LogWanted { query: String::new(), form: TEXT, sink }).await?;
    report(context, &followed)
}

/// Says how it ended: to a person on stderr, to a script on stdout.
fn report(context: &Context, followed: &Followed) -> Result<u8, Error> {
    let (outcome, execution) = match followed {
        Followed::Ended(execution) => (Outcome::of(execution), execution),
        Followed::Detached(execution) => (Outcome::Detached, execution),
    };
    if !context.output.is_table() {
        let report = Report { outcome, execution };
        context.output.one(&report, |report| report.execution.id.to_string(), |_| String::new())?;
    } else if execution.state.is_terminal() {
        say(&ending(execution, Timestamp::now()));
    }
    Ok(followed.exit_code())
}

fn submitted(execution: &Execution) {
    say(&format!("execution {}  {}", style::bold(&execution.id.to_string()), execution.workflow));
    say(&style::dim(&format!("  its log: data-runner logs -f {}", execution.id)));
}

/// A detached start gives its id as data, so that a script can go on with it.
fn print(context: &Context, execution: &Execution) -> Result<u8, Error> {
    context.output.one(execution, |it| it.id.to_string(), |it| it.id.to_string())?;
    Ok(0)
}

/// The parameters as the server wants them: texts, which it reads as declared.
pub fn params(given: &[(String, String)]) -> Result<Map<String, Value>, Error> {
    let mut params = Map::new();
    for (name, value) in given {
        if params.insert(name.clone(), Value::String(value.clone())).is_some() {
            return Err(Error::usage(
                format!("the parameter {name} is given twice"),
                "give each parameter once",
            ));
        }
    }
    Ok(params)
}

/// `repo/name` keeps its slash: it is part of the path.
pub fn encode_name(name: &str) -> String {
    name.split('/').map(encode).collect::<Vec<_>>().join("/")
}
