//! Whatever core can say survives the wire, and what the wire may hold beyond that is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use data_runner_core::execution::{
    Ending, Failure, FailureCause, FinishReport, NetworkBytes, Phase, Preview, SqlReport, Statement,
    StopReason, StorageBytes, Usage,
};
use data_runner_core::id::{AttemptId, AttemptNumber, Claim, Epoch, ExecutionId, Lease, SessionId, Sha256};
use data_runner_core::log::{Codec, LogChunk, LogOffset, LogPosition};
use data_runner_core::message::{
    AgentMessage, Assign, AttemptStatus, HeldAttempt, Hello, LogAck, LogAppend, LogOutcome,
    SupervisorMessage, Verdict, Welcome, WorkerStatus,
};
use data_runner_core::time::Timestamp;
use data_runner_core::worker::AgentFacts;
use data_runner_core::workflow::{
    ArtifactRule, BundleRef, Dependencies, DuckdbDependency, JobSpec, PackageChoice, PackageLock,
    PackageOrigin, ParamValue, PythonDependency, Resources,
};
use data_runner_testkit::contract::transport as said;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use prost::Message;
use serde_json::Value;
use uuid::Uuid;

use super::{FromWire, NotUnderstood, proto};

/// To bytes and back.
fn there_and_back<T: FromWire<W>, W: Message + Default>(wire: W) -> Result<T, NotUnderstood> {
    T::from_wire(W::decode(Bytes::from(wire.encode_to_vec())).expect("what was encoded can be decoded"))
}

fn uuid() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn claim() -> impl Strategy<Value = Claim> {
    (uuid(), any::<u32>(), uuid()).prop_map(|(execution, number, lease)| Claim {
        attempt: AttemptId { execution: ExecutionId::from_uuid(execution), number: AttemptNumber(number) },
        lease: Lease::from_uuid(lease),
    })
}

/// Up to what protobuf's Duration can hold.
fn duration() -> impl Strategy<Value = Duration> {
    (0..=i64::MAX as u64, 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos))
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(any::<String>(), inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn stop_reason() -> impl Strategy<Value = StopReason> {
    prop::sample::select(vec![
        StopReason::Cancelled,
        StopReason::Timeout,
        StopReason::Interrupted,
        StopReason::Disowned,
    ])
}

fn ending() -> impl Strategy<Value = Ending> {
    let failure =
        (prop::sample::select(FailureCause::ALL.to_vec()), any::<String>(), any::<Option<String>>());
    prop_oneof![
        any::<u8>().prop_map(|code| Ending::Exited { code }),
        any::<u8>().prop_map(|signal| Ending::Signalled { signal }),
        any::<Option<u64>>().prop_map(|limit_bytes| Ending::OutOfMemory { limit_bytes }),
        stop_reason().prop_map(|reason| Ending::Stopped { reason }),
        failure.prop_map(|(cause, message, hint)| Ending::NeverStarted {
            failure: Failure { cause, message, hint }
        }),
        any::<String>().prop_map(|message| Ending::Vanished { message }),
    ]
}

fn usage() -> impl Strategy<Value = Usage> {
    let pair = || any::<Option<(u64, u64)>>();
    (any::<Option<u64>>(), duration(), pair(), any::<Option<u64>>(), any::<Option<u64>>(), pair()).prop_map(
        |(peak_memory_bytes, cpu_time, storage, peak_folder_bytes, peak_spill_bytes, network)| Usage {
            peak_memory_bytes,
            cpu_time,
            storage: storage.map(|(read, written)| StorageBytes { read, written }),
            peak_folder_bytes,
            peak_spill_bytes,
            network: network.map(|(received, sent)| NetworkBytes { received, sent }),
        },
    )
}

fn sql() -> impl Strategy<Value = SqlReport> {
    let statement = (any::<String>(), duration(), duration(), any::<[u64; 4]>()).prop_map(
        |(text, took, cpu_time, [rows, rows_read, bytes_read, result_bytes])| Statement {
            text,
            took,
            cpu_time,
            rows,
            rows_read,
            bytes_read,
            result_bytes,
        },
    );
    let preview = (any::<String>(), any::<bool>()).prop_map(|(text, cut)| Preview { text, cut });
    (vec(statement, 0..4), any::<u64>(), option::of(preview))
        .prop_map(|(statements, left_out, preview)| SqlReport { statements, left_out, preview })
}

fn lock() -> impl Strategy<Value = Arc<PackageLock>> {
    let origin = prop_oneof![
        "[0-9]{1,3}(\\.[0-9]{1,3}){0,2}([+.-][a-z0-9]{1,5})?".prop_map(PackageOrigin::Version),
        "(git\\+)?https://[a-z.]{1,9}/[a-z0-9@#=]{0,9}".prop_map(PackageOrigin::Url),
    ];
    (
        option::of("3\\.[0-9]{1,2}\\.[0-9]{1,2}"),
        btree_map("[a-zA-Z0-9]([a-z0-9._-]{0,9}[a-z0-9])?", origin, 0..4),
    )
        .prop_map(|(python, packages)| Arc::new(PackageLock::new(python, packages).unwrap()))
}

fn choice() -> impl Strategy<Value = PackageChoice> {
    prop_oneof![Just(PackageChoice::Worker), Just(PackageChoice::Anew), lock().prop_map(PackageChoice::Lock),]
}

fn status() -> impl Strategy<Value = AttemptStatus> {
    let warnings = vec(".*", 0..3);
    let report =
        (ending(), usage(), option::of(json()), warnings, any::<u64>(), duration(), option::of(sql()))
            .prop_map(|(ending, usage, output, warnings, log_end, ran_for, sql)| FinishReport {
                ending,
                usage,
                output,
                warnings,
                log_end: LogOffset(log_end),
                ran_for,
                sql: sql.map(Box::new),
            });
    prop_oneof![
        (prop::sample::select(Phase::ALL.to_vec()), duration())
            .prop_map(|(phase, ago)| AttemptStatus::Reached { phase, ago }),
        report.prop_map(|report| AttemptStatus::Finished(Box::new(report))),
    ]
}

fn agent_message() -> impl Strategy<Value = AgentMessage> {
    let facts = (
        any::<String>(),
        vec("[a-z0-9][a-z0-9_-]{0,62}", 0..4),
        any::<u32>(),
        any::<u64>(),
        any::<u32>(),
        any::<String>(),
    )
        .prop_map(|(version, types, cpus, memory_bytes, slots, host)| AgentFacts {
            version,
            worker_types: types.iter().map(|name| name.parse().unwrap()).collect(),
            cpus,
            memory_bytes,
            slots,
            host,
        });
    let held = (claim(), status(), option::of(lock())).prop_map(|(claim, status, packages)| HeldAttempt {
        claim,
        status,
        packages,
    });
    let hello = (any::<u64>(), any::<u64>(), facts, vec(held, 0..4)).prop_map(
        |(incarnation, epoch, facts, attempts)| Hello { incarnation, epoch: Epoch(epoch), facts, attempts },
    );
    prop_oneof![
        1 => Just(AgentMessage::HeartBeat),
        1 => Just(AgentMessage::Draining),
        1 => Just(AgentMessage::Drained),
        4 => hello.prop_map(AgentMessage::Hello),
        4 => (claim(), status(), option::of(lock()))
            .prop_map(|(claim, status, packages)| {
                AgentMessage::WorkerStatus(WorkerStatus { claim, status, packages })
            }),
    ]
}

fn param() -> impl Strategy<Value = ParamValue> {
    // The days of the years 0 to 9999, and the seconds that go with them.
    let day = (0..=9999_i16, 1..=12_i8, 1..=28_i8);
    let second = (-62_167_219_200_i64..253_402_207_200, 0..1_000_000_000_i32);
    prop_oneof![
        any::<String>().prop_map(ParamValue::String),
        any::<i64>().prop_map(ParamValue::Int),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(ParamValue::Float),
        any::<bool>().prop_map(ParamValue::Bool),
        day.prop_map(|(year, month, day)| ParamValue::Date(jiff::civil::date(year, month, day))),
        second.prop_map(|(s, ns)| ParamValue::Datetime(jiff::Timestamp::new(s, ns).unwrap())),
        any::<String>().prop_map(ParamValue::Enum),
    ]
}

fn dependencies() -> impl Strategy<Value = Dependencies> {
    let requirements = prop_oneof![
        Just(PythonDependency::Default),
        any::<String>().prop_map(PythonDependency::File),
        vec(any::<String>(), 0..4).prop_map(PythonDependency::List),
    ];
    (any::<Option<String>>(), requirements, any::<Option<String>>(), vec(any::<String>(), 0..3)).prop_map(
        |(python, requirements, version, extensions)| Dependencies {
            python,
            requirements,
            duckdb: DuckdbDependency { version, extensions },
        },
    )
}

fn rule() -> impl Strategy<Value = ArtifactRule> {
    ("[a-z0-9]{1,9}", "[a-z]{1,5}/[*]{1,2}/[a-z?]{1,5}", duration()).prop_map(|(name, path, retain)| {
        ArtifactRule { name: name.parse().unwrap(), path: path.parse().unwrap(), retain }
    })
}

fn job() -> impl Strategy<Value = JobSpec> {
    let named = ("[a-z0-9][a-z0-9_-]{0,20}", "[a-z0-9][a-z0-9_-]{0,20}", "[0-9a-f]{40,64}", "[a-z]{1,9}");
    let code = (any::<[u8; 4]>(), any::<u64>(), any::<String>(), any::<String>(), vec(any::<String>(), 0..3));
    let values = (
        btree_map(any::<String>(), param(), 0..4),
        btree_map(any::<String>(), any::<String>(), 0..4),
        dependencies(),
        btree_map(
            any::<String>(),
            "env://[A-Z]{1,9}|aws-ssm:///[a-z/]{1,9}|aws-secretsmanager://[a-z]{1,9}#[a-z]{1,5}"
                .prop_map(|it| it.parse().unwrap()),
            0..4,
        ),
    );
    let limits = (any::<u64>(), any::<u32>(), duration(), duration(), choice(), vec(rule(), 0..3));
    (named, code, values, limits).prop_map(|(named, code, values, limits)| JobSpec {
        workflow: data_runner_core::id::QualifiedName {
            repo: named.0.parse().unwrap(),
            name: named.1.parse().unwrap(),
        },
        revision: named.2.parse().unwrap(),
        worker_type: named.3.parse().unwrap(),
        bundle: BundleRef { hash: Sha256::of(&code.0), bytes: code.1 },
        folder: code.2,
        entrypoint: code.3,
        python_path: code.4,
        params: values.0,
        env: values.1,
        secrets: values.3,
        dependencies: values.2,
        resources: Resources { memory_bytes: limits.0, cpus: limits.1 },
        timeout: limits.2,
        grace: limits.3,
        packages: limits.4,
        artifacts: limits.5,
    })
}

fn supervisor_message() -> impl Strategy<Value = SupervisorMessage> {
    let verdict = prop_oneof![
        any::<u64>().prop_map(|offset| Verdict::Keep { log_from: LogOffset(offset) }),
        Just(Verdict::Stop),
    ];
    let welcome = (uuid(), any::<u64>(), vec((claim(), verdict), 0..4), duration(), duration()).prop_map(
        |(session, epoch, verdicts, heartbeat, dead_man)| Welcome {
            session: SessionId::from_uuid(session),
            epoch: Epoch(epoch),
            verdicts,
            heartbeat,
            dead_man,
        },
    );
    prop_oneof![
        welcome.prop_map(SupervisorMessage::Welcome),
        (claim(), any::<u64>(), job()).prop_map(|(claim, epoch, job)| SupervisorMessage::Assign(Assign {
            claim,
            epoch: Epoch(epoch),
            job: Arc::new(job)
        })),
        (claim(), any::<u64>(), stop_reason()).prop_map(|(claim, epoch, reason)| SupervisorMessage::Cancel {
            claim,
            epoch: Epoch(epoch),
            reason
        }),
        claim().prop_map(|claim| SupervisorMessage::StatusAck { claim }),
        any::<u64>().prop_map(|epoch| SupervisorMessage::Drain { epoch: Epoch(epoch) }),
    ]
}

fn append() -> impl Strategy<Value = LogAppend> {
    let position = || {
        (any::<u64>(), any::<u64>(), any::<Option<u64>>(), any::<Option<u64>>()).prop_map(
            |(offset, next_line, open_stdout, open_stderr)| LogPosition {
                offset: LogOffset(offset),
                next_line,
                open_stdout,
                open_stderr,
            },
        )
    };
    let codec = prop::sample::select(vec![Codec::Plain, Codec::Zstd]);
    let times = (any::<i64>(), any::<i64>());
    (claim(), position(), position(), times, codec, vec(any::<u8>(), 0..300)).prop_map(
        |(claim, start, end, times, codec, payload)| LogAppend {
            claim,
            chunk: LogChunk {
                start,
                end,
                first_at: Timestamp::from_micros(times.0),
                last_at: Timestamp::from_micros(times.1),
                codec,
                payload: payload.into(),
            },
        },
    )
}

proptest! {
    #[test]
    fn whatever_an_agent_says_survives_the_wire(message in agent_message()) {
        prop_assert_eq!(there_and_back::<AgentMessage, _>(proto::AgentMessage::from(&message)), Ok(message));
    }

    #[test]
    fn whatever_the_supervisor_says_survives_the_wire(message in supervisor_message()) {
        let wire = proto::SupervisorMessage::from(&message);
        prop_assert_eq!(there_and_back::<SupervisorMessage, _>(wire), Ok(message));
    }

    #[test]
    fn every_piece_of_log_survives_the_wire(append in append()) {
        let wire = proto::LogAppend::from(append.clone());
        prop_assert_eq!(there_and_back::<LogAppend, _>(wire), Ok(append));
    }

    #[test]
    fn every_acknowledgement_survives_the_wire(claim in claim(), upto in any::<Option<u64>>()) {
        let stored = |upto| LogOutcome::Stored { upto: LogOffset(upto) };
        let ack = LogAck { claim, outcome: upto.map_or(LogOutcome::Refused, stored) };
        prop_assert_eq!(there_and_back::<LogAck, _>(proto::LogAck::from(ack)), Ok(ack));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        let _ = proto::AgentMessage::decode(bytes.clone()).map(AgentMessage::from_wire);
        let _ = proto::LogAppend::decode(bytes.clone()).map(LogAppend::from_wire);
        let _ = proto::SupervisorMessage::decode(bytes).map(SupervisorMessage::from_wire);
    }
}

#[test]
fn unknown_and_unspecified_enum_values_are_errors() {
    for wire in [0, -1, 5, 99] {
        let cancel = proto::Cancel { claim: Some(said::claim(1).into()), epoch: 1, reason: wire };
        let kind = proto::supervisor_message::Kind::Cancel(cancel);
        let error = SupervisorMessage::from_wire(proto::SupervisorMessage { kind: Some(kind) }).unwrap_err();
        assert_eq!(error.to_string(), format!("{wire} is no known StopReason"));
    }
    for append in said::log_appends() {
        let wire = proto::LogAppend { codec: 0, ..append.into() };
        assert_eq!(LogAppend::from_wire(wire).unwrap_err().to_string(), "0 is no known Codec");
    }
}

#[test]
fn what_is_missing_is_named() {
    assert_eq!(
        AgentMessage::from_wire(proto::AgentMessage { kind: None }).unwrap_err().to_string(),
        "AgentMessage.kind is missing"
    );
    let hello = proto::agent_message::Kind::Hello(proto::Hello::default());
    assert_eq!(
        AgentMessage::from_wire(proto::AgentMessage { kind: Some(hello) }).unwrap_err().to_string(),
        "Hello.facts is missing"
    );
}

#[test]
fn ids_and_numbers_out_of_range_are_errors() {
    let claim = |execution: &'static [u8]| proto::Claim {
        execution: Bytes::from_static(execution),
        ..said::claim(1).into()
    };
    assert_eq!(
        Claim::from_wire(claim(&[1, 2, 3])).unwrap_err().to_string(),
        "an execution id has 3 bytes instead of 16"
    );
    let exited = proto::Ending { kind: Some(proto::ending::Kind::Exited(256)) };
    assert_eq!(Ending::from_wire(exited).unwrap_err().to_string(), "Ending.exited: 256 is above 255");
    let negative = prost_types::Duration { seconds: -1, nanos: 0 };
    assert!(Duration::from_wire(negative).is_err());
    let not_finite = proto::ParamValue { kind: Some(proto::param_value::Kind::Float(f64::NAN)) };
    assert!(ParamValue::from_wire(not_finite).is_err());
}

#[test]
fn a_job_is_encoded_the_same_every_time() {
    let env: BTreeMap<_, _> = (0..50).map(|n| (format!("V{n}"), n.to_string())).collect();
    let job = JobSpec { env, ..data_runner_testkit::sample::job() };
    let bytes = proto::JobSpec::from(&job).encode_to_vec();
    for _ in 0..10 {
        assert_eq!(proto::JobSpec::from(&job.clone()).encode_to_vec(), bytes);
    }
}
