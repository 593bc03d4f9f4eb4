//! A supervisor and an agent over in-memory ports, in one process, under paused time.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use data_runner_core::agent::AgentPolicy;
use data_runner_core::execution::{Execution, StateName};
use data_runner_core::id::{ExecutionId, WorkerId};
use data_runner_core::log::{LogOffset, Segment};
use data_runner_core::orchestrator::{Policy, Pool};
use data_runner_core::port::{Catalog as _, LogRange, LogStore as _, RunRequest};
use data_runner_core::time::{Mono, Now, Timestamp};
use data_runner_core::workflow::{Polling, WorkerTypes};
use data_runner_engine::supervisor::Gate;
use data_runner_engine::{
    AgentBuilder, Clock, CodeUnpacker, Handle, NoSecrets, Order, Registration, Signal, Supervisor,
    SupervisorBuilder, SystemClock,
};
use data_runner_testkit::memory::blob_store::MemoryBlobs;
use data_runner_testkit::memory::executor::{Script, ScriptedMachine};
use data_runner_testkit::memory::store::MemoryStore;
use data_runner_testkit::memory::transport::MemoryNetwork;
use data_runner_testkit::memory::workflow_source::{MemoryOpener, MemorySource, RepoFile, RepoFiles};
use data_runner_testkit::sample;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub const CONFIG: &str = "worker_type: polars\ninstance_size: t3.medium\n";
pub const URL: &str = "memory://host/samples";

pub struct Kit {
    pub store: MemoryStore,
    pub blobs: MemoryBlobs,
    pub artifacts: MemoryBlobs,
    pub network: MemoryNetwork,
    pub opener: MemoryOpener,
    pub machine: ScriptedMachine,
    pub agents: BTreeMap<WorkerId, RunningAgent>,
    folder: tempfile::TempDir,
}

pub struct RunningAgent {
    pub terminate: mpsc::Sender<Signal>,
    pub task: JoinHandle<()>,
}

/// A clock whose wall time runs with tokio's, so that a test with paused time is in charge of both.
pub struct TestClock {
    start: Instant,
    wall: Timestamp,
}

impl TestClock {
    pub fn at(text: &str) -> Arc<Self> {
        let wall = text.parse::<jiff::Timestamp>().unwrap().as_microsecond();
        Arc::new(Self { start: Instant::now(), wall: Timestamp::from_micros(wall) })
    }
}

impl Clock for TestClock {
    fn now(&self) -> Now {
        let mono = self.start.elapsed();
        let wall = self.wall.after(mono);
        Now { wall, mono: Mono(mono) }
    }
}

struct NoCode;

impl CodeUnpacker for NoCode {
    fn unpack(&self, _: &Bytes, _: &Path) -> std::io::Result<()> {
        Ok(())
    }
}

pub fn files(workflows: &[(&str, &str)]) -> RepoFiles {
    let mut files = RepoFiles::new();
    for (name, config) in workflows {
        files.insert(format!("workflows/{name}/config.yaml"), RepoFile::text(*config));
        files.insert(format!("workflows/{name}/workflow.py"), RepoFile::text("print('hello')\n"));
    }
    files
}

impl Kit {
    /// Every job does what `script_of` says.
    pub fn new(script_of: impl Fn(&RunRequest) -> Script + Send + Sync + 'static) -> Self {
        Self {
            store: MemoryStore::new(),
            blobs: MemoryBlobs::new(),
            artifacts: MemoryBlobs::new(),
            network: MemoryNetwork::new(),
            opener: MemoryOpener::new(),
            machine: ScriptedMachine::new(script_of),
            agents: BTreeMap::new(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn builder(&self) -> SupervisorBuilder {
        let gate = Gate::default();
        self.network.set_gate(Arc::new(gate.clone()));
        SupervisorBuilder {
            state: Arc::new(self.store.clone()),
            catalog: Arc::new(self.store.clone()),
            logs: Arc::new(self.store.clone()),
            blobs: Arc::new(self.blobs.clone()),
            artifacts: Arc::new(self.artifacts.clone()),
            opener: Arc::new(self.opener.clone()),
            transport: self.network.supervisor(),
            gate,
            provisioner: None,
            policy: Policy { pool: Pool::None, ..Policy::local(1, 1) },
            worker_types: WorkerTypes::default(),
            polling: Polling::default(),
            clock: Arc::new(SystemClock::start()),
        }
    }

    pub async fn supervisor(&self) -> Supervisor {
        self.builder().start().await.unwrap()
    }

    pub async fn supervisor_at(&self, clock: &Arc<TestClock>) -> Supervisor {
        let clock: Arc<dyn Clock> = clock.clone();
        SupervisorBuilder { clock, ..self.builder() }.start().await.unwrap()
    }

    /// The supervisor's process dies: its store and its agents go on.
    pub async fn crash(&self, supervisor: Supervisor) {
        self.network.crash_supervisor();
        supervisor.stop().await;
        self.store.release();
    }

    pub fn start_agent(&mut self, n: u64) -> WorkerId {
        let worker = sample::worker_id(n);
        let builder = AgentBuilder {
            worker,
            transport: self.network.agent(),
            executors: vec![Arc::new(self.machine.executor(sample::polars()))],
            unpacker: Arc::new(NoCode),
            download: None,
            secrets: Arc::new(NoSecrets),
            state: self.folder.path().join(n.to_string()),
            bundle_cache_bytes: 1 << 20,
            policy: AgentPolicy::default(),
            facts: sample::agent_facts(),
            clock: Arc::new(SystemClock::start()),
        };
        let (terminate, asked) = mpsc::channel(2);
        let agent = builder.open().unwrap();
        let task = tokio::spawn(async move {
            agent.run(asked).await.unwrap();
        });
        self.agents.insert(worker, RunningAgent { terminate, task });
        worker
    }

    pub fn repo(&self) -> MemorySource {
        self.opener.at(URL)
    }

    /// A supervisor that knows the workflow `orders`, and an agent.
    pub async fn ready(&mut self) -> Supervisor {
        self.repo().publish("main", files(&[("orders", CONFIG)]));
        let supervisor = self.supervisor().await;
        register(&supervisor.handle()).await;
        self.start_agent(1);
        supervisor
    }

    pub async fn stdout(&self, execution: &Execution) -> Vec<u8> {
        let attempt = execution.attempt_id(execution.latest_attempt().unwrap().number);
        let chunks = self.store.read(attempt, LogRange::FromOffset(LogOffset(0)), 1000).await.unwrap();
        let segments = chunks.iter().flat_map(|chunk| chunk.segments().unwrap());
        segments
            .filter_map(|segment| match segment {
                Segment::Output { bytes, .. } => Some(bytes.to_vec()),
                Segment::Missing { .. } => None,
            })
            .flatten()
            .collect()
    }

    pub async fn execution(&self, id: ExecutionId) -> Execution {
        self.store.execution(id).await.unwrap().unwrap()
    }
}

pub async fn register(handle: &Handle) {
    let registration =
        Registration { url: URL.to_owned(), reference: Some("main".to_owned()), ..Registration::default() };
    let registered = handle.register(registration).await.unwrap();
    assert!(!registered.items.is_empty());
}

pub async fn execute(handle: &Handle) -> ExecutionId {
    handle.execute("orders", Order::default()).await.unwrap().id
}

/// Waits for the execution to be in that state.
pub async fn until(handle: &Handle, id: ExecutionId, state: StateName) -> Execution {
    let mut watch = handle.watch_execution(id);
    let wait = async {
        loop {
            let execution = handle.catalog().execution(id).await.unwrap().unwrap();
            if execution.state.name() == state {
                return execution;
            }
            assert!(!execution.state.name().is_terminal(), "it ended as {:?}", execution.state);
            watch.changed().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(3600), wait).await.expect("it gets there")
}
