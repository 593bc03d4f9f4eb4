//! Putting a supervisor together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use data_runner_core::event::Event;
use data_runner_core::orchestrator::{Orchestrator, Policy};
use data_runner_core::port::{
    BlobStore, Catalog, LogStore, Provisioner, SourceOpener, StateError, StateStore, Transport,
};
use data_runner_core::time::Entropy;
use data_runner_core::workflow::{Polling, WorkerTypes};
use rand::TryRng as _;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::actor::Actor;
use super::artifacts::Artifacts;
use super::gate::Gate;
use super::handle::{Handle, Published, Stage};
use super::watch::Announcer;
use super::watcher::Watcher;
use super::{Shared, log_intake, preparation, pump};
use crate::{Clock, SystemClock};

/// How many requests, and how many messages of agents, may wait for the loop.
const INBOX: usize = 8192;

/// How many executions of schedules are prepared at one time.
const SCHEDULED_AT_ONCE: usize = 8;

/// What a supervisor is made of. Each part is a port: take the stock adapters, or your own.
pub struct SupervisorBuilder {
    /// Keeps the state.
    pub state: Arc<dyn StateStore>,
    /// Answers queries; of the same store.
    pub catalog: Arc<dyn Catalog>,
    /// Keeps logs; of the same store.
    pub logs: Arc<dyn LogStore>,
    /// Keeps bundles of code.
    pub blobs: Arc<dyn BlobStore>,
    /// Keeps files that jobs leave. A store of its own: what is over is removed from it.
    pub artifacts: Arc<dyn BlobStore>,
    /// Opens repositories.
    pub opener: Arc<dyn SourceOpener>,
    /// The line to the agents.
    pub transport: Arc<dyn Transport>,
    /// The gate that was given to the transport.
    pub gate: Gate,
    /// Starts machines; `None`: agents join by themselves.
    pub provisioner: Option<Arc<dyn Provisioner>>,
    /// The numbers to decide by.
    pub policy: Policy,
    /// The worker types that configurations may name.
    pub worker_types: WorkerTypes,
    /// How often repositories are looked at.
    pub polling: Polling,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
}

/// Why a supervisor could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state could not be taken or loaded.
    #[error("the state could not be taken")]
    State(#[from] StateError),
    /// The operating system gives no randomness.
    #[error("the operating system gives no randomness")]
    Entropy(#[source] rand::rngs::SysError),
}

/// A running supervisor. Dropping it stops the loop; jobs on their workers go on.
pub struct Supervisor {
    handle: Handle,
    stop: CancellationToken,
    task: JoinHandle<()>,
    tasks: TaskTracker,
    transport: Arc<dyn Transport>,
}

impl SupervisorBuilder {
    /// Takes the state, recovers it, and starts the loop. The machine's clocks are used unless `clock` is replaced.
    pub async fn start(self) -> Result<Supervisor, StartError> {
        let seed = random_seed()?;
        let now = self.clock.now();
        let epoch = self.state.acquire(now.wall).await?;
        let snapshot = self.state.load(epoch).await?;
        let sequence = snapshot.sequence;
        tracing::info!(%epoch, executions = snapshot.executions.len(), workers = snapshot.workers.len(), "state recovered");

        let (asks_in, asks) = mpsc::channel(INBOX);
        let (sessions_in, sessions) = mpsc::channel(INBOX);
        let (looks_in, looks) = mpsc::unbounded_channel();
        let (reporter, reports) = mpsc::unbounded_channel::<Event>();
        let published = Published { sequence, epoch, stage: Stage::Recovering, ..Published::default() };
        let shared = Arc::new(Shared {
            clock: Arc::clone(&self.clock),
            catalog: self.catalog,
            logs: self.logs,
            blobs: self.blobs,
            artifacts: Artifacts::new(self.artifacts),
            opener: self.opener,
            worker_types: self.worker_types,
            provisioner: self.provisioner.clone(),
            policy: self.policy.clone(),
            asks: asks_in,
            published: tokio::sync::watch::Sender::new(published),
            executions: Announcer::new(),
            log_growth: Announcer::new(),
            sources: std::sync::Mutex::new(BTreeMap::new()),
            bundles: preparation::Bundles::default(),
            starts: Semaphore::new(SCHEDULED_AT_ONCE),
            looks: looks_in,
            turned: AtomicU64::default(),
            reports: reporter.clone(),
        });
        self.gate.open(&shared);
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let transport = Arc::clone(&self.transport);
        tasks.spawn(pump::run(Arc::clone(&transport), sessions_in, stop.clone()));
        tasks.spawn(log_intake::run(
            Arc::clone(&shared),
            Arc::clone(&transport),
            reporter.clone(),
            stop.clone(),
        ));
        let watcher = Watcher::new(Arc::clone(&shared), self.polling, Entropy::from_seed(random_seed()?));
        tasks.spawn(watcher.run(looks, stop.clone()));
        let actor = Actor {
            orchestrator: Orchestrator::recover(snapshot, self.policy.clone(), epoch, now),
            shared: Arc::clone(&shared),
            state: self.state,
            transport: Arc::clone(&transport),
            provisioner: self.provisioner,
            policy: self.policy,
            epoch,
            entropy: Entropy::from_seed(seed),
            asks,
            sessions,
            reports,
            reporter,
            waiting: BTreeMap::new(),
            next_reply: 0,
            open_sessions: BTreeSet::new(),
            tasks: tasks.clone(),
            stop: stop.clone(),
            last_turn: now.mono,
        };
        let task = tokio::spawn(actor.run());
        Ok(Supervisor { handle: Handle { shared }, stop, task, tasks, transport })
    }

    /// The machine's clocks.
    pub fn system_clock() -> Arc<dyn Clock> {
        Arc::new(SystemClock::start())
    }
}

fn random_seed() -> Result<[u8; 32], StartError> {
    let mut seed = [0; 32];
    rand::rngs::SysRng.try_fill_bytes(&mut seed).map_err(StartError::Entropy)?;
    Ok(seed)
}

impl Supervisor {
    /// A way to it, for as many as want one.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Returns when the loop has ended by itself: another supervisor has taken the state.
    pub async fn ended(&self) {
        let mut published = self.handle.commits();
        // The sender lives in the handle, so waiting cannot fail.
        drop(published.wait_for(|published| published.stage == Stage::Ended).await);
    }

    /// Stops the loop after the batch that it is in; agents and their jobs go on, and find the next supervisor.
    pub async fn stop(self) {
        self.stop.cancel();
        self.transport.shut_down().await;
        if let Err(error) = self.task.await {
            tracing::error!(error = &error as &dyn std::error::Error, "the supervisor's loop ended badly");
        }
        self.tasks.close();
        self.tasks.wait().await;
    }
}
