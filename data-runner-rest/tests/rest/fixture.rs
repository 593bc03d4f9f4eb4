//! A supervisor in memory, its router, and an agent that does what a test says.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use data_runner_core::event::Change;
use data_runner_core::execution::{
    Attempt, AttemptEnd, Ending, Execution, ExecutionState, FinishReport, LiveAttempt, Phases, RunState,
    Usage,
};
use data_runner_core::id::{AttemptId, AttemptNumber, Claim, Epoch, WorkerId};
use data_runner_core::log::{ChunkBuilder, Gap, LogPosition, Stream};
use data_runner_core::message::{
    AgentMessage, Assign, AttemptStatus, Hello, LogAppend, LogOutcome, SupervisorMessage, WorkerStatus,
};
use data_runner_core::orchestrator::{Policy, Pool};
use data_runner_core::port::{AgentSession, Provisioner};
use data_runner_core::workflow::{Polling, WorkerTypes};
use data_runner_engine::supervisor::Gate;
use data_runner_engine::{Handle, Supervisor, SupervisorBuilder};
use data_runner_rest::{RouterOptions, router};
use data_runner_testkit::memory::blob_store::MemoryBlobs;
use data_runner_testkit::memory::provisioner::MemoryProvisioner;
use data_runner_testkit::memory::store::MemoryStore;
use data_runner_testkit::memory::transport::MemoryNetwork;
use data_runner_testkit::memory::workflow_source::{MemoryOpener, MemorySource, RepoFile, RepoFiles};
use data_runner_testkit::sample;
use futures::StreamExt as _;
use http::Request;
use serde_json::Value;
use tower::ServiceExt as _;

/// Where the repository of the tests is.
pub const URL: &str = "https://git.example.com/acme/etl.git";
/// More than anything here takes; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A running supervisor.
pub struct Rest {
    pub supervisor: Supervisor,
    pub network: MemoryNetwork,
    pub source: MemorySource,
    pub router: Router,
}

/// Workflows of a repository, by their names and the text of their configuration.
pub fn files(workflows: &[(&str, &str)]) -> RepoFiles {
    let mut files = RepoFiles::new();
    for (name, config) in workflows {
        files.insert(format!("workflows/{name}/config.yaml"), RepoFile::text(*config));
        files.insert(format!("workflows/{name}/workflow.py"), RepoFile::text("print('hello')\n"));
    }
    files
}

pub const SIMPLE: &str = "worker_type: polars\ninstance_size: t3.medium\n";

impl Rest {
    /// With an empty state.
    pub async fn start() -> Self {
        Self::over(MemoryStore::new(), RouterOptions::default()).await
    }

    /// With the workflow `etl/orders`.
    pub async fn with_orders() -> Self {
        let rest = Self::start().await;
        rest.source.publish("main", files(&[("orders", SIMPLE)]));
        let answer = rest.post("/workflows", &format!(r#"{{"repo": "{URL}", "ref": "main"}}"#)).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        rest
    }

    /// Over a state that a test has prepared.
    pub async fn over(store: MemoryStore, options: RouterOptions) -> Self {
        let policy = Policy { pool: Pool::None, ..Policy::local(0, 1) };
        Self::with(store, options, policy, None).await
    }

    /// With machines for each execution.
    pub async fn with_machines(cloud: MemoryProvisioner) -> Self {
        let options = RouterOptions::default();
        Self::with(MemoryStore::new(), options, Policy::ec2(3), Some(Arc::new(cloud))).await
    }

    async fn with(
        store: MemoryStore,
        options: RouterOptions,
        policy: Policy,
        provisioner: Option<Arc<dyn Provisioner>>,
    ) -> Self {
        let (network, opener, gate) = (MemoryNetwork::new(), MemoryOpener::new(), Gate::default());
        network.set_gate(Arc::new(gate.clone()));
        let builder = SupervisorBuilder {
            state: Arc::new(store.clone()),
            catalog: Arc::new(store.clone()),
            logs: Arc::new(store),
            blobs: Arc::new(MemoryBlobs::new()),
            artifacts: Arc::new(MemoryBlobs::new()),
            opener: Arc::new(opener.clone()),
            transport: network.supervisor(),
            gate,
            provisioner,
            policy,
            worker_types: WorkerTypes::default(),
            polling: Polling::every(Duration::from_secs(3600)),
            clock: SupervisorBuilder::system_clock(),
        };
        let supervisor = builder.start().await.unwrap();
        let handle = supervisor.handle();
        let mut published = handle.commits();
        let serving = published.wait_for(|it| it.stage == data_runner_engine::supervisor::Stage::Serving);
        tokio::time::timeout(PATIENCE, serving).await.unwrap().unwrap();
        let router = router(handle, options);
        Self { supervisor, network, source: opener.at(URL), router }
    }

    pub fn handle(&self) -> Handle {
        self.supervisor.handle()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    pub async fn post(&self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, &[], body).await
    }

    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let response = self.open(method, path, headers, body).await;
        let (head, body) = response.into_parts();
        let body =
            tokio::time::timeout(PATIENCE, axum::body::to_bytes(body, usize::MAX)).await.unwrap().unwrap();
        Answer { status: head.status.as_u16(), head: head.headers, body: body.to_vec() }
    }

    /// The answer as it begins; its body is to be read.
    pub async fn open(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        self.open_bytes(method, path, headers, body.as_bytes().to_vec()).await
    }

    /// The same, with a body that is no text.
    pub async fn open_bytes(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "localhost");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body)).unwrap();
        tokio::time::timeout(PATIENCE, self.router.clone().oneshot(request)).await.unwrap().unwrap()
    }

    /// A stream whose body is read as it comes.
    pub async fn follow(&self, path: &str, headers: &[(&str, &str)]) -> Reader {
        let response = self.open("GET", path, headers, "").await;
        assert_eq!(response.status(), 200);
        Reader { body: response.into_body().into_data_stream(), read: Vec::new() }
    }
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub head: http::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    /// Each line as JSON.
    pub fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The code of a problem.
    pub fn code(&self) -> String {
        assert_eq!(self.head["content-type"], "application/problem+json", "{}", self.text());
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        problem["type"].as_str().unwrap().strip_prefix("urn:data-runner:problem:").unwrap().to_owned()
    }
}

/// Reads a stream.
pub struct Reader {
    body: axum::body::BodyDataStream,
    read: Vec<u8>,
}

impl Reader {
    /// Reads until what came holds `text`; all that came.
    pub async fn until(&mut self, text: &str) -> String {
        let reading = async {
            loop {
                let so_far = String::from_utf8_lossy(&self.read).into_owned();
                if so_far.contains(text) {
                    return so_far;
                }
                match self.body.next().await {
                    Some(bytes) => self.read.extend_from_slice(&bytes.unwrap()),
                    None => panic!("it ended without {text:?}: {so_far}"),
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading)
            .await
            .unwrap_or_else(|_| panic!("no {text:?} within {PATIENCE:?}"))
    }

    /// Reads to the end; all that came.
    pub async fn whole(mut self) -> Vec<u8> {
        let reading = async {
            while let Some(bytes) = self.body.next().await {
                self.read.extend_from_slice(&bytes.unwrap());
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("it ends");
        self.read
    }
}

/// An agent that joined, and does what the test says.
pub struct Agent {
    pub session: Box<dyn AgentSession>,
}

impl Agent {
    pub async fn join(rest: &Rest, worker: WorkerId) -> Self {
        let session = rest.network.agent().connect(worker).await.unwrap();
        let hello =
            Hello { incarnation: 1, epoch: Epoch(0), facts: sample::agent_facts(), attempts: Vec::new() };
        session.send(AgentMessage::Hello(hello)).await.unwrap();
        Self { session }
    }

    /// The next job.
    pub async fn assigned(&self) -> Assign {
        let waiting = async {
            loop {
                if let SupervisorMessage::Assign(assign) = self.session.receive().await.unwrap() {
                    return assign;
                }
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("a job comes")
    }

    /// Hands over output.
    pub async fn print(&self, claim: Claim, builder: &mut ChunkBuilder, stream: Stream, bytes: &[u8]) {
        builder.push(stream, sample::at(1), bytes);
        let chunk = builder.finish().unwrap();
        let upto = chunk.end.offset;
        self.session.send_log(LogAppend { claim, chunk }).await.unwrap();
        let acked = async {
            while self.session.receive_log_ack().await.unwrap().outcome != (LogOutcome::Stored { upto }) {}
        };
        tokio::time::timeout(PATIENCE, acked).await.expect("it is stored");
    }

    /// Ends the job.
    pub async fn finish(&self, claim: Claim, builder: &ChunkBuilder, ending: Ending) {
        self.finish_using(claim, builder, ending, Usage::default()).await;
    }

    /// Ends the job, which used this.
    pub async fn finish_using(&self, claim: Claim, builder: &ChunkBuilder, ending: Ending, usage: Usage) {
        let report = FinishReport {
            ending,
            usage,
            output: None,
            warnings: Vec::new(),
            log_end: builder.position().offset,
            ran_for: Duration::from_secs(1),
            sql: None,
        };
        let status = AttemptStatus::Finished(Box::new(report));
        self.session
            .send(AgentMessage::WorkerStatus(WorkerStatus { claim, status, packages: None }))
            .await
            .unwrap();
    }
}

/// A log in the making.
pub fn new_log() -> ChunkBuilder {
    ChunkBuilder::resume(LogPosition::START)
}

/// What was written to a log: bytes of a stream, a gap, or the end of a chunk.
pub enum Wrote<'a> {
    Out(&'a [u8]),
    Err(&'a [u8]),
    Gap(Gap),
    Cut,
}

/// A store with execution 1, whose only attempt printed this and has ended with code 0.
pub fn printed(writes: &[Wrote<'_>], missing: Option<Gap>) -> MemoryStore {
    let store = MemoryStore::new();
    let epoch = store.acquire_now().unwrap();
    let mut execution = sample::execution(1);
    let (number, lease, worker) = (AttemptNumber::FIRST, sample::lease(1), sample::worker_id(1));
    let attempt = AttemptId { execution: execution.id, number };
    let claim = Claim { attempt, lease };
    execution.attempts =
        vec![Attempt { number, worker, lease, phases: Phases::default(), packages: None, end: None }];
    let live = LiveAttempt { number, worker, lease };
    execution.state = ExecutionState::Running { live, run: RunState::Working };
    let changes = vec![Change::PutExecution(Arc::new(execution.clone())), Change::OpenLog(claim)];
    store.commit_now(epoch, sample::at(1), changes).unwrap();
    append(&store, claim, writes);
    execution.attempts[0].end = Some(ended(Ending::Exited { code: 0 }));
    execution.state = ExecutionState::Success { at: sample::at(9) };
    let changes = vec![Change::PutExecution(Arc::new(execution)), Change::CloseLog { attempt, gap: missing }];
    store.commit_now(epoch, sample::at(9), changes).unwrap();
    store.release();
    store
}

pub fn ended(ending: Ending) -> AttemptEnd {
    AttemptEnd::Reported(FinishReport {
        ending,
        usage: Usage::default(),
        output: None,
        warnings: Vec::new(),
        log_end: LogPosition::START.offset,
        ran_for: Duration::from_secs(1),
        sql: None,
    })
}

fn append(store: &MemoryStore, claim: Claim, writes: &[Wrote<'_>]) {
    let mut builder = new_log();
    let cut = |builder: &mut ChunkBuilder| {
        if let Some(chunk) = builder.finish() {
            store.append_now(vec![LogAppend { claim, chunk }]).unwrap();
        }
    };
    for (at, wrote) in writes.iter().enumerate() {
        let at = sample::at(at as i64);
        match wrote {
            Wrote::Out(bytes) => builder.push(Stream::Stdout, at, bytes),
            Wrote::Err(bytes) => builder.push(Stream::Stderr, at, bytes),
            Wrote::Gap(gap) => builder.push_gap(at, *gap),
            Wrote::Cut => cut(&mut builder),
        }
    }
    cut(&mut builder);
}

/// A store with executions 1 to `count`, all ended well.
pub fn history(count: u64) -> MemoryStore {
    let store = MemoryStore::new();
    let epoch = store.acquire_now().unwrap();
    let changes = (1..=count).map(|n| Change::PutExecution(Arc::new(past(n)))).collect();
    store.commit_now(epoch, sample::at(1), changes).unwrap();
    store.release();
    store
}

/// Execution `n`, which ended well; every third failed.
pub fn past(n: u64) -> Execution {
    let at = sample::at(n as i64 + 1);
    let failure = data_runner_core::execution::Failure::new(
        data_runner_core::execution::FailureCause::UserError,
        "the job exited with code 3",
    );
    let state = if n.is_multiple_of(3) {
        ExecutionState::Failed { at, failure }
    } else {
        ExecutionState::Success { at }
    };
    let mut execution = Execution { state, ..sample::execution(n) };
    execution
        .labels
        .insert("tier".to_owned(), if n.is_multiple_of(2) { "gold" } else { "silver" }.to_owned());
    execution
}
