//! One agent, and the supervisor's end of its line in the test's hands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use data_runner_core::agent::{AgentPolicy, EndReason};
use data_runner_core::artifact::ArtifactOffer;
use data_runner_core::execution::FinishReport;
use data_runner_core::id::{AttemptId, AttemptNumber, Claim, Epoch, SessionId, Sha256, WorkerId};
use data_runner_core::log::{LogOffset, Segment};
use data_runner_core::message::{
    AgentMessage, Assign, AttemptStatus, Hello, LogAck, LogOutcome, SupervisorMessage, Verdict, Welcome,
};
use data_runner_core::port::{
    AgentGate, ArtifactRefused, BlobLink, Bundle, BundleForm, BundleRefused, ByteSource, SecretResolver,
    SessionEvent, Transport, WantedBundle,
};
use data_runner_core::workflow::{BundleRef, JobSpec};
use data_runner_engine::{AgentBuilder, AgentError, CodeUnpacker, Download, NoSecrets, Signal, SystemClock};
use data_runner_testkit::memory::executor::{Script, ScriptedMachine};
use data_runner_testkit::memory::transport::MemoryNetwork;
use data_runner_testkit::sample;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub const CODE: &[u8] = b"print('hello')\n";
pub const DEAD_MAN: Duration = Duration::from_secs(300);
pub const EPOCH: Epoch = Epoch(3);

/// What every agent here fetches, and how often it did.
pub struct Gate {
    pub bytes: Mutex<Bytes>,
    pub fetched: AtomicU32,
    /// How often it gave a link instead: to everybody who takes one.
    pub linked: AtomicU32,
    /// The files that it took, in order.
    pub files: Mutex<Vec<(String, Vec<u8>)>>,
    /// Whether it can take none at present.
    pub full: AtomicBool,
}

const LINK: &str = "memory://code";

/// What the link leads to: these bytes, or nowhere.
pub struct Elsewhere(pub Option<&'static [u8]>);

#[async_trait]
impl Download for Elsewhere {
    async fn download(&self, link: &BlobLink, _: u64) -> std::io::Result<Bytes> {
        assert_eq!(link.url, LINK);
        self.0.map(Bytes::from_static).ok_or_else(|| std::io::Error::other("no way there"))
    }
}

#[async_trait]
impl AgentGate for Gate {
    async fn bundle(&self, _: WorkerId, wanted: WantedBundle) -> Result<Bundle, BundleRefused> {
        if wanted.form == BundleForm::Any {
            self.linked.fetch_add(1, Ordering::Relaxed);
            return Ok(Bundle::Link(BlobLink { url: LINK.to_owned() }));
        }
        self.fetched.fetch_add(1, Ordering::Relaxed);
        Ok(Bundle::Bytes(self.bytes.lock().unwrap().clone()))
    }

    async fn keep_artifact(
        &self,
        _: WorkerId,
        offer: ArtifactOffer,
        mut content: Box<dyn ByteSource>,
    ) -> Result<(), ArtifactRefused> {
        if self.full.load(Ordering::Relaxed) {
            return Err(ArtifactRefused::Unavailable("the disk is full".into()));
        }
        let mut bytes = Vec::new();
        while let Some(piece) = content.next().await.map_err(ArtifactRefused::Unavailable)? {
            bytes.extend_from_slice(&piece);
        }
        self.files.lock().unwrap().push((offer.path, bytes));
        Ok(())
    }
}

/// Writes the bundle as one file.
struct OneFile;

impl CodeUnpacker for OneFile {
    fn unpack(&self, bundle: &Bytes, folder: &Path) -> std::io::Result<()> {
        std::fs::write(folder.join("workflow.py"), bundle)
    }
}

/// A supervisor's log intake: what it has of each log, as bytes.
#[derive(Default)]
pub struct Logs(Mutex<BTreeMap<Claim, (LogOffset, Vec<u8>)>>);

impl Logs {
    pub fn of(&self, claim: Claim) -> (LogOffset, Vec<u8>) {
        self.0.lock().unwrap().get(&claim).cloned().unwrap_or_default()
    }
}

pub struct House {
    pub network: MemoryNetwork,
    pub supervisor: Arc<dyn Transport>,
    pub machine: ScriptedMachine,
    pub gate: Arc<Gate>,
    pub logs: Arc<Logs>,
    pub state: tempfile::TempDir,
    pub worker: WorkerId,
    pub slots: u32,
    pub secrets: Arc<dyn SecretResolver>,
    pub download: Option<Arc<dyn Download>>,
}

/// An agent that runs.
pub struct Running {
    pub terminate: mpsc::Sender<Signal>,
    pub task: JoinHandle<Result<EndReason, AgentError>>,
}

impl Running {
    /// Ends it as a crash would.
    pub async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }

    pub async fn end(self) -> EndReason {
        self.task.await.unwrap().unwrap()
    }
}

impl House {
    /// Every job does what `script` says.
    pub fn new(script: impl Fn() -> Script + Send + Sync + 'static) -> Self {
        let network = MemoryNetwork::new();
        let supervisor = network.supervisor();
        let gate = Arc::new(Gate {
            bytes: Mutex::new(Bytes::from_static(CODE)),
            fetched: AtomicU32::new(0),
            linked: AtomicU32::new(0),
            files: Mutex::default(),
            full: AtomicBool::default(),
        });
        network.set_gate(Arc::clone(&gate) as Arc<dyn AgentGate>);
        Self {
            network,
            supervisor,
            machine: ScriptedMachine::new(move |_| script()),
            gate,
            logs: Arc::default(),
            state: tempfile::tempdir().unwrap(),
            worker: sample::worker_id(1),
            slots: 1,
            secrets: Arc::new(NoSecrets),
            download: None,
        }
    }

    pub fn builder(&self) -> AgentBuilder {
        AgentBuilder {
            worker: self.worker,
            transport: self.network.agent(),
            executors: vec![Arc::new(self.machine.executor(sample::polars()))],
            unpacker: Arc::new(OneFile),
            download: self.download.clone(),
            secrets: self.secrets.clone(),
            state: self.state.path().to_owned(),
            bundle_cache_bytes: 1 << 20,
            policy: AgentPolicy { slots: self.slots, ..AgentPolicy::default() },
            facts: sample::agent_facts(),
            clock: Arc::new(SystemClock::start()),
        }
    }

    pub fn start(&self) -> Running {
        let (terminate, signals) = mpsc::channel(2);
        let agent = self.builder().open().unwrap();
        Running { terminate, task: tokio::spawn(agent.run(signals)) }
    }

    /// Takes logs in from now on, and acknowledges them.
    pub fn take_logs(&self) -> JoinHandle<()> {
        let (supervisor, logs) = (Arc::clone(&self.supervisor), Arc::clone(&self.logs));
        tokio::spawn(async move {
            while let Ok(pieces) = supervisor.receive_log(16).await {
                for (session, append) in pieces {
                    let upto = {
                        let mut logs = logs.0.lock().unwrap();
                        let (stored, bytes) = logs.entry(append.claim).or_default();
                        if append.chunk.start.offset == *stored {
                            for segment in append.chunk.segments().unwrap() {
                                match segment {
                                    Segment::Output { bytes: output, .. } => bytes.extend_from_slice(&output),
                                    Segment::Missing { .. } => panic!("nothing is missing here"),
                                }
                            }
                            *stored = append.chunk.end.offset;
                        }
                        *stored
                    };
                    let ack = LogAck { claim: append.claim, outcome: LogOutcome::Stored { upto } };
                    // The session may be gone; the next one says how much there is.
                    let _gone = supervisor.send_log_ack(session, ack).await;
                }
            }
        })
    }

    pub fn folder(&self, claim: Claim) -> PathBuf {
        let Claim { attempt, .. } = claim;
        self.state.path().join("runs").join(format!("{}-{}", attempt.execution, attempt.number))
    }

    /// The next session and its Hello. What other sessions say meanwhile is passed over.
    pub async fn hello(&self) -> (SessionId, Hello) {
        loop {
            let event = self.supervisor.receive().await.unwrap();
            if let SessionEvent::Message(message) = event.what
                && let AgentMessage::Hello(hello) = *message
            {
                return (event.session, hello);
            }
        }
    }

    pub async fn say(&self, session: SessionId, message: SupervisorMessage) {
        self.supervisor.send(session, message).await.unwrap();
    }

    /// Waits for the agent and welcomes it; what it holds is kept, its log goes on from what is stored.
    pub async fn welcome(&self) -> (SessionId, Hello) {
        let (session, hello) = self.hello().await;
        let verdicts = hello
            .attempts
            .iter()
            .map(|held| (held.claim, Verdict::Keep { log_from: self.logs.of(held.claim).0 }))
            .collect();
        let heartbeat = Duration::from_secs(5);
        let welcome = Welcome { session, epoch: EPOCH, verdicts, heartbeat, dead_man: DEAD_MAN };
        self.say(session, SupervisorMessage::Welcome(welcome)).await;
        (session, hello)
    }

    pub async fn assign(&self, session: SessionId, n: u64) -> Claim {
        self.assign_job(session, n, job()).await
    }

    pub async fn assign_job(&self, session: SessionId, n: u64, job: Arc<JobSpec>) -> Claim {
        let claim = claim(n);
        self.say(session, SupervisorMessage::Assign(Assign { claim, epoch: EPOCH, job })).await;
        claim
    }

    /// The next message that is not a heartbeat; `None` when the session ends.
    pub async fn heard(&self) -> Option<AgentMessage> {
        loop {
            match self.supervisor.receive().await.unwrap().what {
                SessionEvent::Message(message) if *message == AgentMessage::HeartBeat => {}
                SessionEvent::Message(message) => return Some(*message),
                SessionEvent::Opened => {}
                SessionEvent::Closed => return None,
            }
        }
    }

    pub async fn until_phase(&self, wanted: data_runner_core::execution::Phase) {
        loop {
            match self.heard().await.expect("the session lives") {
                AgentMessage::WorkerStatus(status) => match status.status {
                    AttemptStatus::Reached { phase, .. } if phase == wanted => return,
                    AttemptStatus::Reached { .. } => {}
                    AttemptStatus::Finished(report) => panic!("ended: {report:?}"),
                },
                other => panic!("{other:?}"),
            }
        }
    }

    pub async fn until_finished(&self) -> FinishReport {
        loop {
            if let AgentMessage::WorkerStatus(status) = self.heard().await.expect("the session lives")
                && let AttemptStatus::Finished(report) = status.status
            {
                return *report;
            }
        }
    }
}

pub fn claim(n: u64) -> Claim {
    let attempt = AttemptId { execution: sample::execution_id(n), number: AttemptNumber::FIRST };
    Claim { attempt, lease: sample::lease(n) }
}

pub fn job() -> Arc<JobSpec> {
    let bundle = BundleRef { hash: Sha256::of(CODE), bytes: CODE.len() as u64 };
    Arc::new(JobSpec { bundle, ..sample::job() })
}

/// Waits, in virtual time, until something that is not told by a message has happened.
pub async fn until(what: &str, mut happened: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if happened() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not happen in 100 s: {what}");
}
