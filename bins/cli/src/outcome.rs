//! How an execution's end becomes an exit code.

use data_runner_core::execution::{FailureCause, StateName};
use serde::Serialize;

use crate::args::Format;
use crate::error::{Error, OURS};
use crate::output::Output;
use data_runner_rest::api::Execution;

/// The exit code of a job that ran into its timeout.
const TIMEOUT: u8 = 124;

/// How an execution ended, as a script wants to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "result")]
pub enum Outcome {
    /// The job ended with 0.
    Success,
    /// The job itself failed.
    JobFailed {
        /// Its own code, or 128 and the signal's number.
        exit_code: u8,
    },
    /// It ran into its timeout.
    Timeout {
        /// 124.
        exit_code: u8,
    },
    /// The fault is not the job's: no machine, a lost worker, a broken environment.
    NotTheJob {
        /// 125.
        exit_code: u8,
    },
    /// Somebody cancelled it.
    Cancelled {
        /// 125.
        exit_code: u8,
    },
    /// It goes on without us.
    Detached,
}

impl Outcome {
    /// The outcome of an execution; `Detached` while it lives.
    pub fn of(execution: &Execution) -> Self {
        match execution.state {
            StateName::Success => Self::Success,
            StateName::Cancelled => Self::Cancelled { exit_code: OURS },
            StateName::Failed => failed(execution),
            StateName::Queued | StateName::Provisioning | StateName::Starting | StateName::Running => {
                Self::Detached
            }
        }
    }

    /// What `run`, `wait` and `logs -f` exit with.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Success | Self::Detached => 0,
            Self::JobFailed { exit_code }
            | Self::Timeout { exit_code }
            | Self::NotTheJob { exit_code }
            | Self::Cancelled { exit_code } => exit_code,
        }
    }
}

/// Tells a script that asked for a document that it was not the job; a person has read the error already.
pub fn report_ours(error: &Error, output: Output) {
    #[derive(Serialize)]
    struct Report {
        outcome: Outcome,
        error: String,
    }
    match output.format {
        Format::Table | Format::Name => {}
        Format::Json | Format::Ndjson | Format::Yaml => {
            let report = Report { outcome: Outcome::NotTheJob { exit_code: OURS }, error: error.to_string() };
            // If stdout cannot be written to, the exit code still says it.
            drop(output.one(&report, |_| String::new(), |_| String::new()));
        }
    }
}

fn failed(execution: &Execution) -> Outcome {
    let own = execution.exit_code.and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0);
    match execution.failure.as_ref().map(|failure| failure.cause) {
        Some(FailureCause::Timeout) => Outcome::Timeout { exit_code: TIMEOUT },
        Some(FailureCause::UserError) => Outcome::JobFailed { exit_code: own.unwrap_or(1) },
        // The kernel's KILL is signal 9.
        Some(FailureCause::OutOfMemory) => Outcome::JobFailed { exit_code: own.unwrap_or(137) },
        Some(
            FailureCause::NoCapacity
            | FailureCause::Interrupted
            | FailureCause::Environment
            | FailureCause::Source
            | FailureCause::WorkerLost
            | FailureCause::Rejected
            | FailureCause::Budget,
        )
        | None => Outcome::NotTheJob { exit_code: OURS },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use serde_json::json;

    use super::*;

    fn code(state: &str, cause: Option<&str>, exit_code: Option<i32>) -> u8 {
        let failure = cause.map(|cause| json!({"cause": cause, "message": "m", "hint": null}));
        let execution: Execution = serde_json::from_value(json!({
            "id": uuid::Uuid::nil(), "workflow": "w", "workflow_id": uuid::Uuid::nil(), "state": state, "waiting": null, "revision": "r",
            "params": {}, "trigger": "manual", "attempt": 1, "created_at": "2026-08-01T06:00:00Z", "started_at": null,
            "finished_at": null, "exit_code": exit_code, "failure": failure, "worker_id": null, "output": null,
            "instance_size": "s", "signal": null, "cost_usd": null,
            "peak_memory_bytes": null, "cpu_seconds": null, "retry_of": null, "attempts": [], "log": null
        }))
        .expect("an execution");
        Outcome::of(&execution).exit_code()
    }

    #[test]
    fn a_job_that_failed_gives_its_own_code() {
        assert_eq!(code("success", None, Some(0)), 0);
        assert_eq!(code("failed", Some("user_error"), Some(3)), 3);
        assert_eq!(code("failed", Some("user_error"), Some(137)), 137);
        assert_eq!(code("failed", Some("out_of_memory"), None), 137);
    }

    #[test]
    fn a_timeout_is_124_whatever_the_job_said() {
        assert_eq!(code("failed", Some("timeout"), Some(143)), 124);
    }

    #[test]
    fn what_is_not_the_jobs_fault_is_125() {
        for cause in
            ["no_capacity", "interrupted", "environment", "source", "worker_lost", "rejected", "budget"]
        {
            assert_eq!(code("failed", Some(cause), None), 125, "{cause}");
        }
        assert_eq!(code("cancelled", None, Some(143)), 125);
    }
}
