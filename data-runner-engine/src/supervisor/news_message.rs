//! What is told of an execution, as JSON or as a text for Slack.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use data_runner_core::cost::Money;
use data_runner_core::delivery::Delivery;
use data_runner_core::execution::{Execution, ExecutionState, Failure};
use data_runner_core::log::{CorruptChunk, PieceKind};
use data_runner_core::port::{LogRange, Retry, StateError};
use data_runner_core::workflow::{MessageFormat, NotifyOn};
use serde_json::json;

use super::Handle;

/// How many lines of the log's end are told, and how much of each.
const LINES: u64 = 50;
const LINE_BYTES: usize = 1000;

/// How many chunks are read for them at the most: lines may be long.
const CHUNKS: u32 = 64;

/// Why a message could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum MessageError {
    #[error("the execution could not be read")]
    State(#[from] StateError),
    #[error("the log could not be read")]
    Log(#[from] CorruptChunk),
    #[error("there is no such execution any more")]
    NoExecution,
}

impl MessageError {
    pub(super) fn retry(&self) -> Retry {
        match self {
            Self::State(error) => error.retry(),
            Self::Log(_) | Self::NoExecution => Retry::Never,
        }
    }
}

/// How many lines of the log's end fit into a text.
const TEXT_LINES: usize = 10;

/// What a receiver gets: JSON in any case, as each form wants it.
pub(super) async fn message(
    handle: &Handle,
    delivery: &Delivery,
    public_url: Option<&str>,
) -> Result<String, MessageError> {
    let execution = handle.catalog().execution(delivery.execution).await?;
    let execution = execution.ok_or(MessageError::NoExecution)?;
    let failure = match &execution.state {
        ExecutionState::Failed { failure, .. } => Some(failure),
        ExecutionState::Queued { .. }
        | ExecutionState::Provisioning { .. }
        | ExecutionState::Starting { .. }
        | ExecutionState::Running { .. }
        | ExecutionState::Success { .. }
        | ExecutionState::Cancelled { .. } => None,
    };
    let link = public_url.map(|url| format!("{}/executions/{}", url.trim_end_matches('/'), execution.id));
    let log_tail = tail(handle, &execution).await?;
    if delivery.format == MessageFormat::Slack {
        let text = text(delivery.on, &execution, failure, &log_tail, link.as_deref());
        return Ok(json!({ "text": text }).to_string());
    }
    let body = json!({
        "event": delivery.on.as_str(),
        "execution": execution.id,
        "workflow": execution.workflow().to_string(),
        "state": execution.state.name(),
        "failure": failure,
        "budget": execution.budget.map(|it| json!({
            "per_run_usd": it.budget.per_run.map(Money::usd),
            "per_month_usd": it.budget.per_month.map(Money::usd),
            "on_exceed": it.budget.on_exceed.as_str(),
        })),
        "revision": execution.job.revision.to_string(),
        "attempt": execution.latest_attempt().map_or(0, |attempt| attempt.number.0),
        "created_at": execution.created_at.to_string(),
        "started_at": execution.started_at().map(|at| at.to_string()),
        "finished_at": execution.state.finished_at().map(|at| at.to_string()),
        "log_tail": log_tail,
        "reproduce": reproduce(&execution),
        "url": link,
    });
    Ok(body.to_string())
}

/// A text as Slack reads it: bold, a link, code; `&`, `<` and `>` are its own signs.
fn text(
    on: NotifyOn,
    execution: &Execution,
    failure: Option<&Failure>,
    log_tail: &[String],
    link: Option<&str>,
) -> String {
    let happened = match on {
        NotifyOn::Failure => "failed",
        NotifyOn::Recovered => "succeeds again",
        NotifyOn::Late => "has not started and is late",
        NotifyOn::OverBudget => "costs more than its budget",
    };
    let mut text = format!("*{}* {happened}", escaped(&execution.workflow().to_string()));
    if let Some(failure) = failure {
        let _ = write!(text, ": {} ({})", escaped(&failure.message), failure.cause.as_str());
    }
    match link {
        Some(link) => {
            let _ = write!(text, "\n<{}|{}>", escaped(link), execution.id);
        }
        None => {
            let _ = write!(text, "\n{}", execution.id);
        }
    }
    if on == NotifyOn::Failure {
        let lines = &log_tail[log_tail.len().saturating_sub(TEXT_LINES)..];
        if !lines.is_empty() {
            let _ = write!(text, "\n```{}```", escaped(&lines.join("\n")));
        }
        let _ = write!(text, "\n`{}`", escaped(&reproduce(execution)));
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The last lines of the newest attempt's log, as they are stored: secrets are masked there already.
async fn tail(handle: &Handle, execution: &Execution) -> Result<Vec<String>, MessageError> {
    let Some(attempt) = execution.latest_attempt() else {
        return Ok(Vec::new());
    };
    let id = execution.attempt_id(attempt.number);
    let next = handle.logs().summary(id).await?.end.next_line;
    let (from, to) = (next.saturating_sub(LINES).max(1), next.saturating_sub(1));
    if to < from {
        return Ok(Vec::new());
    }
    let chunks = handle.logs().read(id, LogRange::Lines { from, to }, CHUNKS).await?;
    let mut lines: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    for chunk in &chunks {
        for piece in chunk.pieces()?.into_iter().filter(|piece| (from..=to).contains(&piece.line)) {
            match piece.kind {
                PieceKind::Text { bytes, .. } => {
                    let line = lines.entry(piece.line).or_default();
                    let room = LINE_BYTES.saturating_sub(line.len());
                    line.extend(bytes.iter().take(room));
                }
                PieceKind::Missing(_) => {}
            }
        }
    }
    let text = |line: Vec<u8>| String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
    Ok(lines.into_values().map(text).collect())
}

/// The command that runs the same again.
fn reproduce(execution: &Execution) -> String {
    let mut command = format!("data-runner run {}", execution.workflow());
    let revision = execution.job.revision.to_string();
    // A git commit can be asked for again; the state of a plain folder (64 digits) is not kept anywhere.
    if revision.len() == 40 {
        let _ = write!(command, " --ref {}", execution.job.revision.short());
    }
    for (name, value) in &execution.job.params {
        let value = value.to_json();
        let value = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        let _ = write!(command, " -p '{}'", format!("{name}={value}").replace('\'', r"'\''"));
    }
    command
}

#[cfg(test)]
mod tests {
    use data_runner_core::execution::FailureCause;
    use data_runner_testkit::sample;

    use super::*;

    #[test]
    fn a_text_for_slack_says_what_happened_and_none_of_it_is_taken_for_its_own_signs() {
        let execution = sample::execution(1);
        let message = "exit code 1 & <nothing>".to_owned();
        let failure = Failure { cause: FailureCause::UserError, message, hint: None };
        let tail: Vec<String> = (1..=12).map(|n| format!("line {n}")).collect();
        let link = Some("https://runner.example.com/executions/1");
        let said = text(NotifyOn::Failure, &execution, Some(&failure), &tail, link);
        let begin =
            format!("*{}* failed: exit code 1 &amp; &lt;nothing&gt; (user_error)\n", execution.workflow());
        assert!(said.starts_with(&begin), "{said}");
        assert!(
            said.contains(&format!("<https://runner.example.com/executions/1|{}>", execution.id)),
            "{said}"
        );
        assert!(said.contains("```line 3\n") && !said.contains("line 2\n"), "{said}");
        assert!(said.ends_with(&format!("`{}`", escaped(&reproduce(&execution)))), "{said}");
        let well = text(NotifyOn::Recovered, &execution, None, &tail, None);
        assert_eq!(well, format!("*{}* succeeds again\n{}", execution.workflow(), execution.id));
    }
}
