//! `workflow`: what can be run, and where it comes from.

use std::fmt::Write as _;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use data_runner_core::workflow::config::Severity;
use data_runner_rest::api::{
    Concurrency, ConfigProblem, Param, PatchWorkflow, RegisterRepo, Registered, SyncRepos, SyncResult,
    Synced, Workflow, WorkflowState,
};
use reqwest::Method;
use serde_json::json;

use super::context::Context;
use super::cost::allowed;
use super::history::{diff, history};
use super::run::encode_name;
use crate::args::WorkflowCommand;
use crate::error::Error;
use crate::output::{Field, Table, cut, say, style, time, whole};

/// Does what was asked about workflows.
pub async fn workflow(command: &WorkflowCommand, context: &Context) -> Result<u8, Error> {
    match command {
        WorkflowCommand::List => list(context).await,
        WorkflowCommand::Show { workflow, definition } => {
            let workflow: Workflow = context.client.get(&address(workflow)).await.map_err(unknown)?;
            context.output.one(&workflow, name, if *definition { whole_definition } else { page })?;
            Ok(0)
        }
        WorkflowCommand::Register { repo, reference, path } => {
            let body = RegisterRepo {
                repo: repo.clone(),
                reference: reference.clone(),
                path: path.clone(),
                name: None,
            };
            register(context, &body).await
        }
        WorkflowCommand::History { workflow, reference, limit } => {
            history(context, workflow, reference.as_deref(), *limit).await
        }
        WorkflowCommand::Diff { workflow, from, to } => {
            diff(context, workflow, from.as_deref(), to.as_deref()).await
        }
        WorkflowCommand::Graph { workflow } => super::graph::graph(context, workflow.as_deref()).await,
        WorkflowCommand::Sync => sync(context).await,
        WorkflowCommand::Pause { workflow } => pause(context, workflow, PatchWorkflow { paused: true }).await,
        WorkflowCommand::Resume { workflow } => {
            pause(context, workflow, PatchWorkflow { paused: false }).await
        }
    }
}

async fn list(context: &Context) -> Result<u8, Error> {
    let workflows: Vec<Workflow> = context.list("/workflows", &[], u32::MAX).await?;
    if workflows.is_empty() && context.output.is_table() {
        say("no workflow yet; `data-runner workflow register REPO` adds those of a repository");
        return Ok(0);
    }
    context.output.many(&workflows, name, |all| context.output.draw(&table(all)))?;
    Ok(0)
}

/// Registers what a repository has. What is broken in it is shown, and makes the exit code 1.
async fn register(context: &Context, body: &RegisterRepo) -> Result<u8, Error> {
    let found: Registered = context.client.post("/workflows", body, None).await?;
    if context.output.is_table() {
        if !found.items.is_empty() {
            context.output.line(&context.output.draw(&table(&found.items)))?;
        }
        for problem in &found.errors {
            say(&problem_lines(problem));
        }
        let (good, bad) = (found.items.len(), found.errors.len());
        let errors = if bad == 0 { String::new() } else { format!(", {bad} problems") };
        say(&format!("registered {good} workflow{}{errors}", if good == 1 { "" } else { "s" }));
    } else if context.output.format == crate::args::Format::Name {
        context.output.many(&found.items, name, |_| String::new())?;
    } else {
        context.output.one(&found, |_| String::new(), |_| String::new())?;
    }
    Ok(u8::from(!found.errors.is_empty()))
}

async fn sync(context: &Context) -> Result<u8, Error> {
    let synced: Synced = context.client.post("/repos/sync", &SyncRepos::default(), None).await?;
    let draw = |all: &[SyncResult]| {
        let mut table = Table::new([whole("REPOSITORY"), whole("REVISION"), cut("PROBLEM")]);
        for result in all {
            table.row([
                Field::new(&result.repo),
                Field::new(result.revision.as_deref().map_or("-", short)),
                Field::coloured(result.error.clone().unwrap_or_default(), AnsiColor::Red.on_default()),
            ]);
        }
        context.output.draw(&table)
    };
    if synced.items.is_empty() && context.output.is_table() {
        say("no repository is registered; `data-runner workflow register REPO` does that");
    } else {
        context.output.many(&synced.items, |result| result.repo.clone(), draw)?;
    }
    Ok(u8::from(synced.items.iter().any(|result| result.error.is_some())))
}

async fn pause(context: &Context, given: &str, body: PatchWorkflow) -> Result<u8, Error> {
    let body = Some(json!(body));
    let workflow: Workflow =
        context.client.call(Method::PATCH, &address(given), body).await.map_err(unknown)?;
    let state = if workflow.paused {
        "paused: its schedules stop, runs by hand go on"
    } else {
        "its schedules go on"
    };
    context.output.one(&workflow, name, |it| format!("{}: {state}", name(it)))?;
    Ok(0)
}

pub(super) fn address(workflow: &str) -> String {
    format!("/workflows/{}", encode_name(workflow))
}

pub(super) fn unknown(error: Error) -> Error {
    error.helping_to_find(FIND)
}

/// How to find a workflow.
pub const FIND: &str = "`data-runner workflow list` shows what there is";

fn name(workflow: &Workflow) -> String {
    format!("{}/{}", workflow.repo, workflow.name)
}

/// The digits of a revision that tell it from others.
pub(super) fn short(revision: &str) -> &str {
    revision.get(..10).unwrap_or(revision)
}

fn state(workflow: &Workflow) -> (&'static str, Style) {
    match (workflow.state, workflow.paused) {
        (WorkflowState::Valid, false) => ("valid", AnsiColor::Green.on_default()),
        (WorkflowState::Valid, true) => ("paused", AnsiColor::Yellow.on_default()),
        (WorkflowState::Broken, _) => ("broken", AnsiColor::Red.on_default().bold()),
        (WorkflowState::Removed, _) => ("removed", Style::new().dimmed()),
        (WorkflowState::Deleted, _) => ("deleted", Style::new().dimmed()),
    }
}

/// A table of workflows.
pub fn table(workflows: &[Workflow]) -> Table {
    let mut table =
        Table::new([whole("WORKFLOW"), whole("STATE"), whole("TYPE"), whole("SIZE"), cut("DESCRIPTION")]);
    for workflow in workflows {
        let (state, style) = state(workflow);
        let problem = workflow.problems.iter().find(|problem| problem.severity == Severity::Error);
        let note = problem.map(|problem| problem.message.clone()).or_else(|| workflow.description.clone());
        table.row([
            Field::new(name(workflow)),
            Field::coloured(state, style),
            Field::new(workflow.worker_type.as_deref().unwrap_or("-")),
            Field::new(workflow.instance_size.as_deref().unwrap_or("-")),
            Field::new(note.unwrap_or_default()),
        ]);
    }
    table
}

/// All that its configuration says; what is wrong with it, where it is broken.
fn whole_definition(workflow: &Workflow) -> String {
    match &workflow.definition {
        Some(definition) => definition.trim_end().to_owned(),
        None => page(workflow),
    }
}

fn page(workflow: &Workflow) -> String {
    let (state, colour) = state(workflow);
    let mut text = format!("{}  {colour}{state}{colour:#}\n", style::bold(&name(workflow)));
    let mut fact = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            let _ = writeln!(text, "  {} {value}", style::dim(&format!("{name:<11}")));
        }
    };
    fact("description", workflow.description.as_deref());
    fact("owner", workflow.owner.as_deref());
    fact("runs on", workflow.worker_type.as_deref());
    fact("size", workflow.instance_size.as_deref());
    fact("script", workflow.entrypoint.as_deref());
    fact("priority", workflow.priority.map(|points| points.to_string()).as_deref());
    let within = workflow.start_within_seconds.map(|it| time::duration(Duration::from_secs_f64(it)));
    fact("budget", workflow.budget.as_ref().map(allowed).as_deref());
    fact("start within", within.as_deref());
    fact("concurrency", workflow.concurrency.as_ref().map(concurrency).as_deref());
    fact("folder", Some(&workflow.path));
    fact("revision", Some(&workflow.revision));
    fact("id", Some(&workflow.id.to_string()));
    if !workflow.params.is_empty() {
        let _ = writeln!(text, "\n{}", style::bold("Parameters"));
        for param in &workflow.params {
            text.push_str(&param_line(param));
        }
    }
    graph(&mut text, workflow);
    for problem in &workflow.problems {
        let _ = write!(text, "\n{}", problem_lines(problem));
    }
    if workflow.state == WorkflowState::Valid {
        let needed = workflow.params.iter().filter(|param| param.default.is_none());
        let needed: String = needed.map(|param| format!(" -p {}=…", param.name)).collect();
        let _ = writeln!(text, "\n{}\n  data-runner run {}{needed}", style::bold("Run it"), name(workflow));
    }
    text.trim_end().to_owned()
}

/// What starts it, and what it starts.
fn graph(text: &mut String, workflow: &Workflow) {
    if !workflow.needs.is_empty() {
        let _ = writeln!(text, "\n{}", style::bold("Starts when these have succeeded"));
        for need in &workflow.needs {
            let within = time::duration(Duration::from_secs_f64(need.within_seconds));
            let _ = writeln!(text, "  {:<40} {}", need.workflow, style::dim(&format!("within {within}")));
        }
    }
    let needed_by = workflow.needed_by.as_deref().unwrap_or_default();
    if !needed_by.is_empty() {
        let _ = writeln!(text, "\n{}", style::bold("Its success is needed by"));
        for name in needed_by {
            let _ = writeln!(text, "  {name}");
        }
    }
}

fn concurrency(rule: &Concurrency) -> String {
    let key = if rule.key.is_empty() { String::new() } else { format!(" for each {}", rule.key) };
    format!("{} at a time{key}, then {}", rule.limit, rule.on_conflict)
}

fn param_line(param: &Param) -> String {
    let kind = if param.values.is_empty() { param.kind.clone() } else { param.values.join("|") };
    let default = match &param.default {
        Some(default) => default.as_str().map_or_else(|| default.to_string(), ToOwned::to_owned),
        None => "must be given".to_owned(),
    };
    let description = param.description.clone().unwrap_or_default();
    format!("  {:<20} {kind:<24} {default:<20} {}\n", param.name, style::dim(&description))
}

fn problem_lines(problem: &ConfigProblem) -> String {
    let kind = match problem.severity {
        Severity::Error => style::error("error:"),
        Severity::Warning => style::warn("warning:"),
    };
    let mut text = format!("{kind} {}\n", problem.message);
    if let Some(at) = &problem.location {
        let _ = writeln!(text, "  {} {}:{}:{}", style::dim("-->"), at.file, at.line, at.column);
        if !at.text.is_empty() {
            let caret = "^".repeat(at.length.clamp(1, 60) as usize);
            let indent = " ".repeat(at.column.saturating_sub(1) as usize);
            let _ =
                writeln!(text, "   {} {}\n   {} {indent}{caret}", style::dim("|"), at.text, style::dim("|"));
        }
    }
    if let Some(help) = &problem.help {
        let _ = writeln!(text, "  {} {help}", style::help("help:"));
    }
    text
}
