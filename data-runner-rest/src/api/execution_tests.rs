#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use data_runner_core::execution::{FinishReport, LiveAttempt, Phase, Phases, Usage, Waiting as CoreWaiting};
use data_runner_core::id::AttemptNumber;
use data_runner_core::log::LogOffset;
use data_runner_testkit::sample;

use super::*;

fn attempt(number: u32, end: Option<Ending>) -> core::Attempt {
    let mut phases = Phases::default();
    phases.record(Phase::Queued, sample::at(1));
    phases.record(Phase::Started, sample::at(2));
    core::Attempt {
        number: AttemptNumber(number),
        worker: sample::worker_id(1),
        lease: sample::lease(1),
        phases,
        packages: None,
        end: end.map(|ending| {
            AttemptEnd::Reported(FinishReport {
                ending,
                usage: Usage {
                    peak_memory_bytes: Some(7),
                    cpu_time: Duration::from_millis(1500),
                    ..Usage::default()
                },
                output: Some(serde_json::json!({"rows": 3})),
                warnings: vec!["the output was not kept".to_owned()],
                log_end: LogOffset(0),
                ran_for: Duration::from_secs(1),
                sql: None,
            })
        }),
    }
}

#[test]
fn a_queued_execution_says_why_it_waits() {
    let shown = Execution::from(&sample::execution(1));
    let json = serde_json::to_value(&shown).unwrap();
    assert_eq!(json["state"], "queued");
    assert_eq!(json["waiting"]["reason"], "worker");
    assert_eq!(json["waiting"]["tries"], serde_json::json!([]));
    assert_eq!(json["workflow"], "samples/orders");
    assert_eq!(json["attempt"], 0);
    assert_eq!(json["exit_code"], serde_json::Value::Null);
    assert_eq!(json["created_at"], "2026-01-01T00:00:01Z");
}

#[test]
fn a_signal_is_told_as_a_shell_would_and_by_its_own_number() {
    let mut execution = sample::execution(1);
    execution.attempts = vec![attempt(1, Some(Ending::Signalled { signal: 9 }))];
    let failure = core::Failure::new(FailureCause::UserError, "the job was ended by signal 9");
    execution.state = ExecutionState::Failed { at: sample::at(3), failure };
    let shown = Execution::from(&execution);
    assert_eq!((shown.exit_code, shown.signal), (Some(137), Some(9)));
    assert_eq!(shown.attempts[0].state, StateName::Failed);
    assert_eq!(shown.attempts[0].phases["started"].to_string(), "2026-01-01T00:00:02Z");
    assert_eq!((shown.cpu_seconds, shown.peak_memory_bytes), (Some(1.5), Some(7)));
    assert_eq!(shown.output.unwrap()["rows"], 3);
}

#[test]
fn the_code_of_an_attempt_that_is_retried_is_not_yet_the_executions() {
    let mut execution = sample::execution(1);
    execution.attempts = vec![attempt(1, Some(Ending::Exited { code: 3 }))];
    let failure = core::Failure::new(FailureCause::UserError, "the job exited with code 3");
    let reason = WaitingReason::Backoff { until: sample::at(9), failure };
    execution.state = ExecutionState::Queued { waiting: CoreWaiting { reason, since: sample::at(3) } };
    let shown = Execution::from(&execution);
    assert_eq!((shown.exit_code, shown.attempts[0].exit_code), (None, Some(3)));
    let waiting = shown.waiting.unwrap();
    assert_eq!(waiting.message, "the last attempt failed: the job exited with code 3");
    assert_eq!(waiting.until.unwrap().to_string(), "2026-01-01T00:00:09Z");
}

#[test]
fn each_attempt_tells_its_size_and_an_execution_that_went_up_tells_when() {
    let mut execution = sample::execution(1);
    execution.attempts = vec![
        attempt(1, Some(Ending::OutOfMemory { limit_bytes: None })),
        attempt(2, Some(Ending::Exited { code: 0 })),
    ];
    execution.enlarged = vec![core::Enlarged { after: AttemptNumber(1), to: "t3.large".parse().unwrap() }];
    let shown = Execution::from(&execution);
    assert_eq!(shown.instance_size, "t3.medium");
    assert_eq!(
        shown.attempts.iter().map(|it| it.instance_size.as_str()).collect::<Vec<_>>(),
        ["t3.medium", "t3.large"]
    );
    let up = Enlarged { after_attempt: 1, from: "t3.medium".to_owned(), to: "t3.large".to_owned() };
    assert_eq!(shown.enlarged, [up]);
}

#[test]
fn a_live_attempt_has_the_executions_state() {
    let mut execution = sample::execution(1);
    execution.attempts = vec![attempt(1, Some(Ending::Exited { code: 3 })), attempt(2, None)];
    let live =
        LiveAttempt { number: AttemptNumber(2), worker: sample::worker_id(1), lease: sample::lease(1) };
    execution.state = ExecutionState::Running { live, run: RunState::Working };
    let shown = Execution::from(&execution);
    assert_eq!(
        shown.attempts.iter().map(|it| it.state).collect::<Vec<_>>(),
        [StateName::Failed, StateName::Running]
    );
    assert_eq!(shown.worker_id, Some(sample::worker_id(1)));
}
