//! The line that moves while a person waits. It exists on a terminal only, and leaves no trace.

use std::time::Duration;

use data_runner_core::execution::{Phase, StateName};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;

use crate::output::{stderr_is_live, time};
use data_runner_rest::api::Execution;

/// A line on stderr that says what is being waited for.
#[derive(Debug)]
pub struct LiveLine(Option<ProgressBar>);

impl LiveLine {
    /// No line.
    pub fn none() -> Self {
        Self(None)
    }

    /// A line that starts with `text`.
    pub fn start(text: &str) -> Self {
        if !stderr_is_live() {
            return Self(None);
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {wide_msg} {elapsed:.dim}") {
            bar.set_style(style);
        }
        bar.set_message(text.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(Some(bar))
    }

    /// Says something else.
    pub fn show(&self, text: String) {
        if let Some(bar) = &self.0 {
            bar.set_message(text);
        }
    }

    /// Whether there is a line.
    pub fn is_shown(&self) -> bool {
        self.0.is_some()
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        if let Some(bar) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for LiveLine {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Where an execution stands, in a few words.
pub fn phase_line(execution: &Execution, now: Timestamp) -> String {
    let name = &execution.workflow;
    match execution.state {
        StateName::Queued => match &execution.waiting {
            Some(waiting) => format!("{name} is queued: {}", waiting.message),
            None => format!("{name} is queued"),
        },
        StateName::Provisioning => format!("{name} waits for its worker to start"),
        StateName::Starting => format!("{name} is starting: {}", preparation(execution)),
        StateName::Running => match execution.started_at {
            Some(at) => format!("{name} has been running for {}", time::duration(time::between(at, now))),
            None => format!("{name} is running"),
        },
        StateName::Success | StateName::Failed | StateName::Cancelled => {
            format!("{name}: {}", execution.state)
        }
    }
}

/// What a worker does between getting an attempt and starting the user's code.
fn preparation(execution: &Execution) -> &'static str {
    let reached = |phase: Phase| {
        execution.attempts.last().is_some_and(|attempt| attempt.phases.contains_key(phase.as_str()))
    };
    if reached(Phase::EnvironmentReady) {
        "the job begins"
    } else if reached(Phase::CodeReady) {
        "its environment is being made"
    } else {
        "its code is being fetched"
    }
}
