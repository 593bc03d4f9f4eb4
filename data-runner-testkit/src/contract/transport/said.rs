//! Everything that can be said, once.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use data_runner_core::execution::{
    Ending, Failure, FailureCause, FinishReport, NetworkBytes, Phase, StopReason, StorageBytes, Usage,
};
use data_runner_core::id::Epoch;
use data_runner_core::log::{Codec, LogChunk, LogOffset, LogPosition};
use data_runner_core::message::{
    AgentMessage, Assign, AttemptStatus, HeldAttempt, Hello, LogAck, LogAppend, LogOutcome,
    SupervisorMessage, Verdict, Welcome, WorkerStatus,
};
use data_runner_core::workflow::{
    Dependencies, DuckdbDependency, JobSpec, PackageChoice, ParamValue, PythonDependency,
};
use serde_json::json;

use super::claim;
use crate::sample;

/// Polls once and drops the future: what comes of it if it was ready.
pub(super) async fn given_up<T>(future: impl Future<Output = T>) -> Option<T> {
    // Others get a turn first, so that sometimes something is there.
    tokio::task::yield_now().await;
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| {
        Poll::Ready(match future.as_mut().poll(context) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        })
    })
    .await
}

/// A piece of one attempt's log at offset `n`.
pub(super) fn piece(n: u64, payload: Bytes) -> LogAppend {
    let position = |offset| LogPosition { offset: LogOffset(offset), ..LogPosition::START };
    LogAppend {
        claim: claim(1),
        chunk: LogChunk {
            start: position(n),
            end: position(n + 1),
            first_at: sample::at(0),
            last_at: sample::at(1),
            codec: Codec::Plain,
            payload,
        },
    }
}

fn endings() -> Vec<Ending> {
    let stops = [StopReason::Cancelled, StopReason::Timeout, StopReason::Interrupted, StopReason::Disowned];
    let mut endings = vec![
        Ending::Exited { code: 0 },
        Ending::Exited { code: 255 },
        Ending::Signalled { signal: 9 },
        Ending::OutOfMemory { limit_bytes: None },
        Ending::OutOfMemory { limit_bytes: Some(u64::MAX) },
        Ending::Vanished { message: "the run folder is gone".to_owned() },
    ];
    endings.extend(stops.map(|reason| Ending::Stopped { reason }));
    endings.extend(
        FailureCause::ALL
            .map(|cause| Ending::NeverStarted { failure: Failure::new(cause, "no such package") }),
    );
    let hinted = Failure::new(FailureCause::Environment, "").hinting("name a version that exists: ≥ 3.11");
    endings.push(Ending::NeverStarted { failure: hinted });
    endings
}

fn reports() -> Vec<FinishReport> {
    let outputs = [
        None,
        Some(json!(null)),
        Some(json!({"rows": 3, "mean": -1.5, "name": "ä\n\"", "parts": [1, [], {"deep": true}]})),
    ];
    let everything = Usage {
        peak_memory_bytes: Some(0),
        cpu_time: Duration::new(3, 999_999_999),
        storage: Some(StorageBytes { read: 0, written: u64::MAX }),
        peak_folder_bytes: Some(1),
        peak_spill_bytes: Some(0),
        network: Some(NetworkBytes { received: 5, sent: 0 }),
    };
    let usages = [Usage::default(), everything];
    let mut reports: Vec<_> = endings()
        .into_iter()
        .map(|ending| FinishReport {
            ending,
            usage: usages[0],
            output: None,
            warnings: Vec::new(),
            log_end: LogOffset(0),
            ran_for: Duration::ZERO,
            sql: None,
        })
        .collect();
    let plain = reports[0].clone();
    reports.extend(outputs.map(|output| FinishReport { output, ..plain.clone() }));
    reports.push(FinishReport {
        usage: usages[1],
        warnings: vec!["one".to_owned(), "zwölf\n".to_owned()],
        log_end: LogOffset(u64::MAX),
        ran_for: Duration::from_nanos(1),
        sql: Some(Box::new(sample::sql_report())),
        ..plain
    });
    reports
}

fn statuses() -> Vec<AttemptStatus> {
    let reached =
        Phase::ALL.into_iter().map(|phase| AttemptStatus::Reached { phase, ago: Duration::from_micros(17) });
    reached.chain(reports().into_iter().map(|report| AttemptStatus::Finished(Box::new(report)))).collect()
}

/// Every message of an agent, with every kind of content.
pub fn agent_messages() -> Vec<AgentMessage> {
    let mut messages = vec![AgentMessage::HeartBeat, AgentMessage::Draining, AgentMessage::Drained];
    let bare = Hello { incarnation: 0, epoch: Epoch(0), facts: sample::agent_facts(), attempts: Vec::new() };
    let attempts = statuses().into_iter().zip(1..).map(|(status, n)| HeldAttempt {
        claim: claim(n),
        status,
        packages: Some(sample::packages()),
    });
    messages.push(AgentMessage::Hello(Hello {
        incarnation: u64::MAX,
        epoch: Epoch(u64::MAX),
        attempts: attempts.collect(),
        ..bare.clone()
    }));
    messages.push(AgentMessage::Hello(bare));
    messages.extend(statuses().into_iter().map(|status| {
        AgentMessage::WorkerStatus(WorkerStatus {
            claim: claim(4),
            status,
            packages: Some(sample::packages()),
        })
    }));
    messages
}

fn jobs() -> Vec<JobSpec> {
    let plain = sample::job();
    let params = BTreeMap::from([
        ("text".to_owned(), ParamValue::String("a 'quoted'\ntext".to_owned())),
        ("count".to_owned(), ParamValue::Int(i64::MIN)),
        ("ratio".to_owned(), ParamValue::Float(-0.1)),
        ("fast".to_owned(), ParamValue::Bool(false)),
        ("day".to_owned(), ParamValue::Date(jiff::civil::date(2026, 2, 28))),
        ("since".to_owned(), ParamValue::Datetime(jiff::Timestamp::UNIX_EPOCH)),
        ("mode".to_owned(), ParamValue::Enum("full".to_owned())),
        ("empty".to_owned(), ParamValue::String(String::new())),
    ]);
    let full = JobSpec {
        python_path: vec!["lib".to_owned(), "vendor/x".to_owned()],
        params,
        env: BTreeMap::from([("A".to_owned(), String::new()), ("B".to_owned(), "é".to_owned())]),
        secrets: BTreeMap::from([(
            "DSN".to_owned(),
            "aws-secretsmanager://prod/pg#dsn".parse().expect("a reference"),
        )]),
        dependencies: Dependencies {
            python: Some("3.12".to_owned()),
            requirements: PythonDependency::List(vec!["polars==1.9".to_owned()]),
            duckdb: DuckdbDependency {
                version: Some("1.4".to_owned()),
                extensions: vec!["httpfs".to_owned()],
            },
        },
        timeout: Duration::from_millis(1),
        grace: Duration::ZERO,
        packages: PackageChoice::Lock(sample::packages()),
        ..plain.clone()
    };
    let requirements =
        [PythonDependency::File("requirements.txt".to_owned()), PythonDependency::List(Vec::new())];
    let others = requirements.map(|requirements| JobSpec {
        dependencies: Dependencies { requirements, ..Dependencies::default() },
        ..plain.clone()
    });
    let anew = JobSpec { packages: PackageChoice::Anew, ..plain.clone() };
    [plain, full, anew].into_iter().chain(others).collect()
}

/// Every message of the supervisor, with every kind of content.
pub fn supervisor_messages() -> Vec<SupervisorMessage> {
    let bare = Welcome {
        session: sample::session_id(5),
        epoch: Epoch(1),
        verdicts: Vec::new(),
        heartbeat: Duration::from_secs(5),
        dead_man: Duration::from_secs(900),
    };
    let verdicts = vec![
        (claim(1), Verdict::Keep { log_from: LogOffset(0) }),
        (claim(2), Verdict::Keep { log_from: LogOffset(u64::MAX) }),
        (claim(3), Verdict::Stop),
    ];
    let mut messages = vec![
        SupervisorMessage::Welcome(Welcome { verdicts, ..bare.clone() }),
        SupervisorMessage::Welcome(bare),
        SupervisorMessage::StatusAck { claim: claim(6) },
        SupervisorMessage::Drain { epoch: Epoch(0) },
    ];
    let stops = [StopReason::Cancelled, StopReason::Timeout, StopReason::Interrupted, StopReason::Disowned];
    messages.extend(stops.map(|reason| SupervisorMessage::Cancel {
        claim: claim(7),
        epoch: Epoch(9),
        reason,
    }));
    messages.extend(jobs().into_iter().map(|job| {
        SupervisorMessage::Assign(Assign { claim: claim(8), epoch: Epoch(2), job: Arc::new(job) })
    }));
    messages
}

/// Pieces of log of every kind; the last is as large as one may be.
pub fn log_appends() -> Vec<LogAppend> {
    let mut plain = piece(0, Bytes::new());
    let mut zstd = piece(9, Bytes::from_static(&[0, 255, 10]));
    zstd.chunk.codec = Codec::Zstd;
    zstd.chunk.start = LogPosition {
        offset: LogOffset(u64::MAX - 1),
        next_line: 7,
        open_stdout: Some(5),
        open_stderr: Some(6),
    };
    plain.chunk.first_at = data_runner_core::time::Timestamp::from_micros(-1);
    vec![plain, zstd, piece(1, Bytes::from(vec![b'l'; 4 << 20]))]
}

/// Every kind of acknowledgement.
pub fn log_acks() -> Vec<LogAck> {
    let outcomes = [
        LogOutcome::Stored { upto: LogOffset(0) },
        LogOutcome::Stored { upto: LogOffset(u64::MAX) },
        LogOutcome::Refused,
    ];
    outcomes.into_iter().map(|outcome| LogAck { claim: claim(2), outcome }).collect()
}
