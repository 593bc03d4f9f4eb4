//! Samples: whole, valid values that a test changes only where it matters.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use data_runner_core::execution::{
    Execution, ExecutionState, Lateness, Preview, RetryPolicy, SqlReport, Statement, Trigger, Waiting,
    WaitingReason,
};
use data_runner_core::id::{
    ExecutionId, Lease, QualifiedName, Revision, SessionId, Sha256, WorkerId, WorkerType, WorkflowId,
};
use data_runner_core::time::Timestamp;
use data_runner_core::worker::AgentFacts;
use data_runner_core::workflow::{BundleRef, Dependencies, JobSpec, PackageLock, Resources};
use uuid::Uuid;

/// The `n`-th second after 2026-01-01T00:00:00Z.
pub fn at(n: i64) -> Timestamp {
    Timestamp::from_micros(1_767_225_600_000_000 + n * 1_000_000)
}

/// A UUIDv7 whose order is that of `n`.
pub fn uuid(n: u64) -> Uuid {
    uuid::Builder::from_unix_timestamp_millis(1_767_225_600_000 + n, &[n as u8; 10]).into_uuid()
}

/// The execution id number `n`; later ones sort later.
pub fn execution_id(n: u64) -> ExecutionId {
    ExecutionId::from_uuid(uuid(n))
}

/// The worker id number `n`.
pub fn worker_id(n: u64) -> WorkerId {
    WorkerId::from_uuid(uuid(n))
}

/// The workflow id number `n`.
pub fn workflow_id(n: u64) -> WorkflowId {
    WorkflowId::from_uuid(uuid(n))
}

/// The session id number `n`.
pub fn session_id(n: u64) -> SessionId {
    SessionId::from_uuid(uuid(n))
}

/// The lease number `n`.
pub fn lease(n: u64) -> Lease {
    Lease::from_uuid(uuid(n))
}

/// A revision made of the digit `n`.
pub fn revision(n: u8) -> Revision {
    format!("{n:x}").repeat(40).chars().take(40).collect::<String>().parse().expect("hexadecimal")
}

/// A Polars job of the workflow `samples/orders`.
pub fn job() -> JobSpec {
    JobSpec {
        artifacts: Vec::new(),
        workflow: QualifiedName {
            repo: "samples".parse().expect("a name"),
            name: "orders".parse().expect("a name"),
        },
        revision: revision(1),
        worker_type: polars(),
        bundle: BundleRef { hash: Sha256::of(b"bundle"), bytes: 6 },
        folder: "workflows/orders".to_owned(),
        entrypoint: "workflow.py".to_owned(),
        python_path: Vec::new(),
        params: BTreeMap::new(),
        env: BTreeMap::new(),
        secrets: Default::default(),
        dependencies: Dependencies::default(),
        packages: Default::default(),
        resources: Resources { memory_bytes: 4 << 30, cpus: 2 },
        timeout: Duration::from_secs(6 * 3600),
        grace: Duration::from_secs(10),
    }
}

/// The packages of an environment: one from the index, one from an address.
pub fn packages() -> Arc<PackageLock> {
    let list = "polars==2.1.0\ntiny @ git+https://git.example.org/tiny@3f2c1ab\n";
    Arc::new(PackageLock::of_freeze("3.12.4", list).expect("a list of packages"))
}

/// The worker type `polars`.
pub fn polars() -> WorkerType {
    "polars".parse().expect("a name")
}

/// A queued execution, number `n`, created `n` seconds after the first.
pub fn execution(n: u64) -> Execution {
    let created_at = at(n as i64);
    Execution {
        id: execution_id(n),
        workflow_id: workflow_id(1),
        job: Arc::new(job()),
        labels: BTreeMap::new(),
        instance_size: "t3.medium".to_owned(),
        retries: RetryPolicy::default(),
        keep_warm: Duration::ZERO,
        compute: Default::default(),
        notifications: Vec::new(),
        budget: None,
        queueing: Default::default(),
        trigger: Trigger::Manual,
        dates: None,
        group: None,
        retry_of: None,
        late: Lateness::Never,
        created_at,
        state: ExecutionState::Queued {
            waiting: Waiting { reason: WaitingReason::Worker, since: created_at },
        },
        spending: Default::default(),
        start_by: None,
        launch_failures: 0,
        launch_tries: Vec::new(),
        enlarged: Vec::new(),
        attempts: Vec::new(),
    }
}

/// What an agent with two processors says of itself.
pub fn agent_facts() -> AgentFacts {
    AgentFacts {
        version: "0.1.0".to_owned(),
        worker_types: vec![polars()],
        cpus: 2,
        memory_bytes: 8 << 30,
        slots: 1,
        host: "sample".to_owned(),
    }
}

/// All that an engine may tell of a script.
pub fn sql_report() -> SqlReport {
    let statement = Statement {
        text: "SELECT 'ä\n\"'".to_owned(),
        took: Duration::from_nanos(1_500_000_001),
        cpu_time: Duration::from_micros(17),
        rows: u64::MAX,
        rows_read: 3,
        bytes_read: 1 << 40,
        result_bytes: 0,
    };
    let preview = Preview { text: "┌─┐\n".to_owned(), cut: true };
    SqlReport { statements: vec![statement], left_out: 7, preview: Some(preview) }
}
