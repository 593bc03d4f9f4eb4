//! Groups of executions: `backfill`, `group`, and what `run` does with a workflow that has a matrix.

use std::fmt::Write as _;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use data_runner_rest::api::{Backfill, BackfillPlan, Group, Member, Repeat};
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::context::Context;
use super::follow::{DETACHED, PATIENCE};
use super::live::LiveLine;
use super::run::{encode_name, params};
use super::workflow::FIND;
use crate::args::{BackfillArgs, GroupCommand};
use crate::client::encode;
use crate::error::{Error, OURS};
use crate::output::{Field, Table, cut, say, style, time, whole};

/// How often a group is looked at while somebody waits.
const LOOK: Duration = Duration::from_millis(500);

/// The exit code when executions of a group failed.
const FAILED: u8 = 1;

/// `backfill`: starts a group and follows it, or tells what it would be.
pub async fn backfill(args: &BackfillArgs, context: &Context) -> Result<u8, Error> {
    let body = Backfill {
        from: args.from,
        to: args.to,
        max_parallel: args.max_parallel,
        params: params(&args.param)?,
        dry_run: args.dry_run,
    };
    let path = format!("/workflows/{}/backfill", encode_name(&args.workflow));
    if args.dry_run {
        let plan: BackfillPlan = context.client.post(&path, &body, None).await.map_err(unknown_workflow)?;
        let name = |member: &Member| member.schedule_date.map(|date| date.to_string()).unwrap_or_default();
        context.output.many(&plan.items, name, |all| context.output.draw(&members(all)))?;
        say(&format!("{} executions would be started", plan.items.len()));
        return Ok(0);
    }
    let key = uuid::Uuid::new_v4().to_string();
    let group: Group = context.client.post(&path, &body, Some(&key)).await.map_err(unknown_workflow)?;
    started(group, args.detach, context).await
}

/// What comes after a group was started: its id, or its end. 0 only if every execution succeeded.
pub async fn started(group: Group, detach: bool, context: &Context) -> Result<u8, Error> {
    let id = group.id;
    say(&format!("group {}  {}, {} executions", style::bold(&id.to_string()), group.workflow, size(&group)));
    say(&style::dim(&format!("  its state: data-runner group show {id}")));
    if detach {
        context.output.one(&group, |it| it.id.to_string(), |it| it.id.to_string())?;
        return Ok(0);
    }
    let ended = tokio::select! {
        ended = until_ended(group, context) => ended?,
        _ = tokio::signal::ctrl_c() => {
            say(&format!(
                "\n{} the group goes on\n  look at it: data-runner group show {id}\n  end it:     data-runner group cancel {id}",
                style::warn("detached:")
            ));
            return Ok(DETACHED);
        }
    };
    context.output.one(&ended, |it| it.id.to_string(), page)?;
    Ok(exit_code(&ended))
}

fn exit_code(group: &Group) -> u8 {
    let count = |name: &str| group.counts.get(name).copied().unwrap_or_default();
    match (count("failed"), count("success") == size(group)) {
        (0, true) => 0,
        (0, false) => OURS,
        (_, _) => FAILED,
    }
}

/// Waits for the end; a server that goes away for a while is waited for.
async fn until_ended(mut group: Group, context: &Context) -> Result<Group, Error> {
    let path = format!("/groups/{}", group.id);
    let line = LiveLine::start(&summary(&group));
    let mut heard = Instant::now();
    while group.ended_at.is_none() {
        sleep(LOOK).await;
        match context.client.get::<Group>(&path).await {
            Ok(now) => {
                heard = Instant::now();
                group = now;
                line.show(summary(&group));
            }
            Err(Error::Unreachable { .. }) if heard.elapsed() < PATIENCE => {}
            Err(error) => return Err(error),
        }
    }
    Ok(group)
}

/// Does what was asked about groups.
pub async fn group(command: &GroupCommand, context: &Context) -> Result<u8, Error> {
    let id = |group: &Group| group.id.to_string();
    match command {
        GroupCommand::List { limit } => {
            let groups: Vec<Group> = context.list("/groups", &[], *limit).await?;
            if groups.is_empty() && context.output.is_table() {
                say("no group yet; a workflow with a matrix makes one, and `data-runner backfill`");
                return Ok(0);
            }
            context.output.many(&groups, id, |all| context.output.draw(&table(all)))?;
        }
        GroupCommand::Show { group } => {
            let group: Group = context.client.get(&address(group, "")).await.map_err(unknown_group)?;
            context.output.one(&group, id, page)?;
        }
        GroupCommand::Pause { group } => change(group, "pause", context).await?,
        GroupCommand::Resume { group } => change(group, "resume", context).await?,
        GroupCommand::Cancel { group } => change(group, "cancel", context).await?,
    }
    Ok(0)
}

async fn change(given: &str, verb: &str, context: &Context) -> Result<(), Error> {
    let path = address(given, &format!("/{verb}"));
    let group: Group = context.client.post(&path, &Repeat {}, None).await.map_err(unknown_group)?;
    context.output.one(&group, |it| it.id.to_string(), |it| format!("{}: {}", it.id, summary(it)))
}

fn address(group: &str, rest: &str) -> String {
    format!("/groups/{}{rest}", encode(group))
}

fn unknown_workflow(error: Error) -> Error {
    error.helping_to_find(FIND)
}

fn unknown_group(error: Error) -> Error {
    error.helping_to_find("`data-runner group list` shows what there is")
}

fn size(group: &Group) -> usize {
    group.counts.values().sum()
}

/// The state and how many members are in each of theirs.
fn summary(group: &Group) -> String {
    const ORDER: [&str; 6] = ["success", "failed", "cancelled", "active", "pending", "skipped"];
    let count = |name: &&str| group.counts.get(*name).copied().filter(|count| *count > 0);
    let counts: Vec<String> =
        ORDER.iter().filter_map(|name| count(name).map(|count| format!("{count} {name}"))).collect();
    format!("{} ({})", group.state, counts.join(", "))
}

fn colour(state: &str) -> Style {
    match state {
        "success" | "done" => AnsiColor::Green.on_default(),
        "failed" => AnsiColor::Red.on_default().bold(),
        "active" | "running" => AnsiColor::Blue.on_default(),
        "cancelled" | "cancelling" | "paused" => AnsiColor::Yellow.on_default(),
        _ => Style::new().dimmed(),
    }
}

fn table(groups: &[Group]) -> Table {
    let mut table =
        Table::new([whole("GROUP"), whole("WORKFLOW"), whole("KIND"), whole("CREATED"), cut("STATE")]);
    let now = Timestamp::now();
    for group in groups {
        table.row([
            Field::new(group.id.to_string()),
            Field::new(&group.workflow),
            Field::new(&group.kind),
            Field::new(time::ago(group.created_at, now)),
            Field::coloured(summary(group), colour(&group.state)),
        ]);
    }
    table
}

fn page(group: &Group) -> String {
    let mut text = format!("{}  {}\n", style::bold(&group.workflow), summary(group));
    let mut fact = |name: &str, value: String| {
        let _ = writeln!(text, "  {} {value}", style::dim(&format!("{name:<12}")));
    };
    fact("id", group.id.to_string());
    if let (Some(from), Some(to)) = (group.from, group.to) {
        fact("dates", format!("{from} to {to}"));
    }
    fact("revision", group.revision.clone());
    fact("trigger", group.trigger.clone());
    if let Some(most) = group.max_parallel {
        fact("max parallel", most.to_string());
    }
    fact("created", time::moment(group.created_at));
    if let Some(ended) = group.ended_at {
        fact("ended", time::moment(ended));
    }
    if let Some(starts) = group.needed_by.as_ref().filter(|starts| !starts.is_empty()) {
        fact("then starts", starts.join(", "));
    }
    let members = members(group.members.as_deref().unwrap_or_default());
    let _ = write!(text, "\n{}", members.render(None, false));
    text.trim_end().to_owned()
}

fn members(members: &[Member]) -> Table {
    let mut table = Table::new([whole("DATE"), whole("STATE"), whole("EXECUTION"), cut("PARAMS")]);
    for member in members {
        let params = member.params.iter().map(|(name, value)| {
            format!("{name}={}", value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned))
        });
        table.row([
            Field::new(member.schedule_date.map_or_else(|| "-".to_owned(), |date| date.to_string())),
            Field::coloured(&member.state, colour(&member.state)),
            Field::new(member.execution.map_or_else(|| "-".to_owned(), |id| id.to_string())),
            Field::new(params.collect::<Vec<_>>().join(" ")),
        ]);
    }
    table
}
