//! `workflow history`, `workflow diff` and `diff`: what changed.

use std::fmt::Write as _;

use anstyle::AnsiColor;
use data_runner_rest::api::{Changed, ExecutionDiff, WorkflowDiff, WorkflowHistory, WorkflowVersion};
use serde_json::Value;

use super::context::Context;
use super::workflow::{address, short, unknown};
use crate::args::DiffArgs;
use crate::client::encode;
use crate::error::Error;
use crate::output::{Field, Table, cut, say, whole};

/// The revisions that changed a workflow.
pub async fn history(
    context: &Context,
    workflow: &str,
    reference: Option<&str>,
    limit: u32,
) -> Result<u8, Error> {
    let mut path = format!("{}/history?limit={limit}", address(workflow));
    if let Some(reference) = reference {
        let _ = write!(path, "&ref={}", encode(reference));
    }
    let history: WorkflowHistory = context.client.get(&path).await.map_err(unknown)?;
    context.output.many(
        &history.items,
        |it| it.revision.clone(),
        |all| context.output.draw(&versions(all)),
    )?;
    Ok(0)
}

fn versions(versions: &[WorkflowVersion]) -> Table {
    let mut table = Table::new([whole("REVISION"), whole("COMMITTED"), whole("AUTHOR"), cut("MESSAGE")]);
    let or_dash = |text: &Option<String>| Field::new(text.clone().unwrap_or_else(|| "-".to_owned()));
    for version in versions {
        table.row([
            Field::new(short(&version.revision)),
            or_dash(&version.at.map(|at| at.strftime("%Y-%m-%d %H:%M UTC").to_string())),
            or_dash(&version.author),
            or_dash(&version.subject),
        ]);
    }
    table
}

/// What is different in a workflow's code.
pub async fn diff(
    context: &Context,
    workflow: &str,
    from: Option<&str>,
    to: Option<&str>,
) -> Result<u8, Error> {
    let given = [("from", from), ("to", to)];
    let query = given.into_iter().filter_map(|(name, it)| Some(format!("{name}={}", encode(it?))));
    let path = format!("{}/diff?{}", address(workflow), query.collect::<Vec<_>>().join("&"));
    let diff: WorkflowDiff = context.client.get(path.trim_end_matches('?')).await.map_err(unknown)?;
    if context.output.is_table() && diff.diff.is_empty() {
        say(&format!("nothing is different from {} to {}", short(&diff.from), short(&diff.to)));
        return Ok(0);
    }
    let coloured = |diff: &WorkflowDiff| coloured(&diff.diff, context.output.colours);
    context.output.one(&diff, |it| format!("{}..{}", it.from, it.to), coloured)?;
    Ok(0)
}

/// What is different between two executions.
pub async fn executions_diff(args: &DiffArgs, context: &Context) -> Result<u8, Error> {
    let (from, to) = (context.execution(&args.from).await?, context.execution(&args.to).await?);
    let diff: ExecutionDiff =
        context.client.get(&format!("/executions/{}/diff?with={}", from.id, to.id)).await?;
    let nothing = diff.changes.is_empty() && diff.diff.as_deref().is_some_and(str::is_empty);
    if context.output.is_table() && nothing {
        say(
            "the same was asked for, the code is the same, and so are the packages, as far as they are known",
        );
        return Ok(0);
    }
    let page = |diff: &ExecutionDiff| page(diff, context.output.colours);
    context.output.one(&diff, |it| format!("{}..{}", it.from, it.to), page)?;
    Ok(0)
}

fn page(diff: &ExecutionDiff, colours: bool) -> String {
    let mut text = String::new();
    for Changed { pointer, from, to } in &diff.changes {
        let name = pointer.trim_start_matches('/').replace('/', ".").replace("~1", "/").replace("~0", "~");
        let _ = writeln!(text, "{name}: {} -> {}", value(from.as_ref()), value(to.as_ref()));
    }
    match diff.diff.as_deref() {
        Some("") => {}
        Some(code) => {
            text.push('\n');
            text.push_str(&coloured(code, colours));
        }
        None => text.push_str(
            "\ntheir code is not compared: they are of two workflows, or it is not kept any more\n",
        ),
    }
    text.trim_end().to_owned()
}

fn value(value: Option<&Value>) -> String {
    match value {
        None => "(none)".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// A diff as git colours it.
fn coloured(diff: &str, colours: bool) -> String {
    if !colours {
        return diff.trim_end().to_owned();
    }
    let paint = |line: &str| {
        let colour = match line.as_bytes() {
            [b'+', b'+', b'+', ..] | [b'-', b'-', b'-', ..] => None,
            [b'+', ..] => Some(AnsiColor::Green),
            [b'-', ..] => Some(AnsiColor::Red),
            [b'@', b'@', ..] => Some(AnsiColor::Cyan),
            _ => None,
        };
        match colour.map(AnsiColor::on_default) {
            Some(style) => format!("{style}{line}{style:#}"),
            None => line.to_owned(),
        }
    };
    diff.lines().map(paint).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_tells_what_was_asked_for_and_the_code() {
        let nothing = uuid::Uuid::nil();
        let changes = vec![
            Changed {
                pointer: "/params/day".to_owned(),
                from: Some("2026-08-01".into()),
                to: Some(3.into()),
            },
            Changed { pointer: "/env/A~1B".to_owned(), from: None, to: Some("x".into()) },
        ];
        let from = data_runner_core::id::ExecutionId::from_uuid(nothing);
        let mut diff = ExecutionDiff { from, to: from, changes, diff: Some("-a\n+b\n".to_owned()) };
        assert_eq!(page(&diff, false), "params.day: 2026-08-01 -> 3\nenv.A/B: (none) -> x\n\n-a\n+b");
        diff.diff = None;
        assert!(page(&diff, false).ends_with("not kept any more"));
    }
}
