//! How executions look: the list, the page of one, and the few lines that end a run.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use data_runner_core::execution::{Phase, StateName};
use data_runner_core::workflow::Repo;
use jiff::Timestamp;

use super::usage_view;
use crate::output::{Field, Table, cut, money, names, style, time, whole};
use data_runner_rest::api::{Attempt, Cost, Execution};

/// A table of executions; ids are whole where the width allows it (no terminal, or a wide one).
pub fn table(executions: &[Execution], width: Option<u16>, now: Timestamp) -> Table {
    let ids = names::ids(executions.iter().map(|execution| execution.id), width);
    // A name of usual length is never cut.
    let long = executions.iter().any(|execution| execution.workflow.len() > 28);
    let mut table = Table::new([
        whole("ID"),
        if long { cut("WORKFLOW") } else { whole("WORKFLOW") },
        whole("STATE"),
        whole("CREATED"),
        whole("TOOK"),
        cut("DETAIL"),
    ]);
    for (execution, id) in executions.iter().zip(ids) {
        table.row([
            Field::new(id),
            Field::new(&execution.workflow),
            Field::coloured(execution.state.as_str(), colour(execution.state)),
            Field::new(time::ago(execution.created_at, now)),
            Field::new(took(execution, now).unwrap_or_else(|| "-".to_owned())),
            Field::new(detail(execution)),
        ]);
    }
    table
}

/// The whole page of one execution.
pub fn page(execution: &Execution, now: Timestamp) -> String {
    let mut text = format!("{}  {}\n", style::bold(&execution.workflow), headline(execution));
    facts(&mut text, execution, now);
    tries(&mut text, execution);
    for attempt in &execution.attempts {
        timeline(&mut text, attempt, execution);
    }
    if let Some(failure) = failure_lines(execution) {
        let _ = write!(text, "\n{failure}");
    }
    if !execution.warnings.is_empty() {
        let _ = write!(text, "\n{}", warnings(execution));
    }
    if let Some(output) = &execution.output {
        let _ = writeln!(text, "\n{}\n  {output}", style::bold("Output"));
    }
    text.push_str(&execution.attempts.last().map(usage_view::sql).unwrap_or_default());
    if let Some(log) = execution.log.as_ref().filter(|log| !log.tail.is_empty()) {
        let _ = writeln!(text, "\n{}", style::bold("End of the log"));
        for line in &log.tail {
            let _ = writeln!(text, "  {} {}", style::dim("|"), shown(line));
        }
        if log.lines > log.tail.len() as u64 {
            let whole = format!("{} lines in all: data-runner logs {}", log.lines, execution.id);
            let _ = writeln!(text, "  {}", style::dim(&whole));
        }
    }
    if execution.state == StateName::Failed {
        let _ = writeln!(text, "\n{}\n  {}", style::bold("Run it again"), reproduce(execution));
    }
    text.trim_end().to_owned()
}

/// A line as a terminal would leave it: of a progress that overwrites itself the last state, and nothing that could
/// move the cursor. `logs` gives the bytes as they are.
fn shown(line: &str) -> String {
    let line = line.trim_end();
    let last = line.rsplit('\r').next().unwrap_or(line);
    last.chars().map(|c| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// The lines that end a run, for stderr.
pub fn ending(execution: &Execution, now: Timestamp) -> String {
    let took = took(execution, now).map(|took| format!(" after {took}")).unwrap_or_default();
    let warnings = warnings(execution);
    let head = |state: String| format!("{state} {}{took}\n{warnings}", execution.workflow);
    match execution.state {
        StateName::Success => head(style::good("success")).trim_end().to_owned(),
        StateName::Cancelled => head(style::warn("cancelled")).trim_end().to_owned(),
        StateName::Failed => {
            let mut text = head(style::error("failed"));
            text.push_str(&failure_lines(execution).unwrap_or_default());
            let _ = write!(text, "  {} {}", style::dim("again:"), reproduce(execution));
            text
        }
        StateName::Queued | StateName::Provisioning | StateName::Starting | StateName::Running => {
            format!("{} {}", style::state(execution.state), execution.workflow)
        }
    }
}

/// What to know of its newest attempt, a line each.
fn warnings(execution: &Execution) -> String {
    let lines = execution.warnings.iter();
    lines.map(|warning| format!("  {} {}\n", style::warn("warning:"), shown(warning))).collect()
}

/// The command that runs the same here.
pub fn reproduce(execution: &Execution) -> String {
    if is_unpushed(execution) {
        // Its files may have changed since; what ran is kept with the execution.
        return format!("data-runner retry {} --follow", execution.id);
    }
    let mut command = format!("data-runner run {} --local", quote(&execution.workflow));
    // A git commit can be asked for again; the state of a plain folder (64 digits) is not kept anywhere.
    if execution.revision.len() == 40 {
        let _ = write!(command, " --ref {}", execution.revision.get(..12).unwrap_or(&execution.revision));
    }
    for (name, value) in &execution.params {
        let value = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        let _ = write!(command, " -p {}", quote(&format!("{name}={value}")));
    }
    command
}

/// How long its own code has run, or ran, from its first start on.
pub fn took(execution: &Execution, now: Timestamp) -> Option<String> {
    // An execution that waits for its next attempt takes no time of its own.
    let runs = execution.state == StateName::Running;
    let end = execution.finished_at.or(runs.then_some(now))?;
    execution.started_at.map(|start| time::duration(time::between(start, end)))
}

/// Quotes a word for a POSIX shell where it needs that.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn colour(state: StateName) -> Style {
    match state {
        StateName::Queued => Style::new().dimmed(),
        StateName::Provisioning | StateName::Starting => AnsiColor::Cyan.on_default(),
        StateName::Running => AnsiColor::Blue.on_default(),
        StateName::Success => AnsiColor::Green.on_default(),
        StateName::Failed => AnsiColor::Red.on_default().bold(),
        StateName::Cancelled => AnsiColor::Yellow.on_default(),
    }
}

fn headline(execution: &Execution) -> String {
    let state = style::state(execution.state);
    match &execution.failure {
        Some(failure) => format!("{state} ({})", failure.cause.as_str()),
        None => state,
    }
}

/// What a list has room to say of an execution.
fn detail(execution: &Execution) -> String {
    if let Some(failure) = &execution.failure {
        let message = failure.message.lines().next().unwrap_or_default();
        return format!("{}: {message}", failure.cause.as_str());
    }
    if let Some(waiting) = &execution.waiting {
        return waiting.message.clone();
    }
    let params: Vec<String> = execution
        .params
        .iter()
        .map(|(name, value)| {
            format!("{name}={}", value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned))
        })
        .collect();
    params.join(" ")
}

fn facts(text: &mut String, execution: &Execution, now: Timestamp) {
    let mut fact = |name: &str, value: String| {
        let _ = writeln!(text, "  {} {value}", style::dim(&format!("{name:<10}")));
    };
    fact("id", execution.id.to_string());
    fact("revision", revision(execution));
    if !execution.params.is_empty() {
        fact("params", detail(&Execution { failure: None, waiting: None, ..execution.clone() }));
    }
    let created =
        format!("{} ({})", time::moment(execution.created_at), time::ago(execution.created_at, now));
    fact("created", created);
    fact("trigger", execution.trigger.clone());
    fact("size", execution.instance_size.clone());
    for up in &execution.enlarged {
        let after = format!("attempt {} ran out of memory on {}", up.after_attempt, up.from);
        fact("went up", format!("to {}: {after}", up.to));
    }
    fact("priority", execution.priority.to_string());
    if let Some(date) = &execution.schedule_date {
        fact("date", date.to_string());
    }
    if let Some(group) = &execution.group {
        fact("group", group.to_string());
    }
    for needed in &execution.needs {
        fact("after", format!("{} {}", needed.workflow, needed.execution));
    }
    if let Some(original) = &execution.retry_of {
        fact("retry of", original.to_string());
    }
    if let Some(waiting) = &execution.waiting {
        fact(
            "waiting",
            format!("{} (for {})", waiting.message, time::duration(time::between(waiting.since, now))),
        );
        if let Some(by) = execution.start_by {
            fact("start by", time::moment(by));
        }
        if !waiting.behind.is_empty() {
            let others: Vec<String> = waiting.behind.iter().map(ToString::to_string).collect();
            fact("behind", others.join(", "));
        }
    }
    if let Some(cost) = execution.cost_usd {
        fact("cost", format!("{}{}", money::usd(cost), execution.cost.map(waste).unwrap_or_default()));
    }
    if let Some(worker) = &execution.worker_id {
        fact("worker", worker.to_string());
    }
    if let Some(code) = execution.exit_code {
        fact("exit code", code.to_string());
    }
    if let Some(bytes) = execution.peak_memory_bytes {
        fact("memory", format!("{} at most", time::bytes(bytes)));
    }
    if let Some(seconds) = execution.cpu_seconds {
        fact("cpu", format!("{seconds:.2}s"));
    }
    let usage = execution.attempts.last().and_then(|attempt| attempt.usage.as_ref());
    usage.into_iter().flat_map(usage_view::facts).for_each(|(name, value)| fact(name, value));
}

/// The revision, and where it is when it is in no repository.
fn revision(execution: &Execution) -> String {
    let note = if is_unpushed(execution) { " (a folder that was not pushed)" } else { "" };
    format!("{}{note}", execution.revision)
}

fn is_unpushed(execution: &Execution) -> bool {
    execution.workflow.split('/').next() == Some(Repo::UNPUSHED)
}

/// What of a cost bought no work.
fn waste(cost: Cost) -> String {
    format!(
        " (work {}, boot {}, idle {})",
        money::usd(cost.work_usd),
        money::usd(cost.boot_usd),
        money::usd(cost.idle_usd)
    )
}

/// The machines that were tried in vain.
fn tries(text: &mut String, execution: &Execution) {
    if execution.launch_tries.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{}", style::bold("Tried in vain"));
    for tried in &execution.launch_tries {
        let at = style::dim(&tried.at.strftime("%H:%M:%S").to_string());
        let _ = writeln!(text, "  {at} {}: {}", tried.machine, tried.message);
    }
}

fn timeline(text: &mut String, attempt: &Attempt, execution: &Execution) {
    let title = match execution.attempts.len() {
        1 => "Timeline".to_owned(),
        _ => format!("Attempt {}", attempt.number),
    };
    let _ = writeln!(text, "\n{}", style::bold(&title));
    let mut previous: Option<Timestamp> = None;
    for phase in Phase::ALL {
        let Some(at) = attempt.phases.get(phase.as_str()).copied() else { continue };
        let step = previous.map(|before| format!("+{}", precise(before, at))).unwrap_or_default();
        let name = phase.as_str().replace('_', " ");
        let _ = writeln!(text, "  {name:<18} {}  {}", at.strftime("%H:%M:%S.%3f"), style::dim(&step));
        previous = Some(at);
    }
    if let Some(cost) = attempt.cost_usd.filter(|_| execution.attempts.len() > 1) {
        let parts = attempt.cost.map(waste).unwrap_or_default();
        let _ = writeln!(text, "  {:<18} {}{parts}", "cost", money::usd(cost));
    }
    if let Some(failure) = attempt.failure.as_ref().filter(|_| execution.attempts.len() > 1) {
        let _ =
            writeln!(text, "  {} {}: {}", style::error("failed"), failure.cause.as_str(), failure.message);
    }
}

/// Short steps need more digits than long ones.
fn precise(from: Timestamp, to: Timestamp) -> String {
    let step = time::between(from, to);
    if step.as_secs() < 10 { format!("{:.3}s", step.as_secs_f64()) } else { time::duration(step) }
}

fn failure_lines(execution: &Execution) -> Option<String> {
    let failure = execution.failure.as_ref()?;
    let mut text = String::new();
    let mut lines = failure.message.lines();
    let first = lines.next().unwrap_or_default();
    let _ = writeln!(text, "  {} {}: {first}", style::error("cause:"), failure.cause.as_str());
    for line in lines {
        let _ = writeln!(text, "         {line}");
    }
    if let Some(hint) = &failure.hint {
        let _ = writeln!(text, "  {} {hint}", style::help("hint:"));
    }
    Some(text)
}

#[cfg(test)]
#[allow(clippy::panic, clippy::expect_used)]
mod tests;
