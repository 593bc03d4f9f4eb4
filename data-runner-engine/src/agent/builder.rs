//! Putting an agent together.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use data_runner_core::agent::{Agent, AgentPolicy, EndReason, MachineNotice};
use data_runner_core::id::WorkerId;
use data_runner_core::port::{AgentTransport, Executor, SecretResolver};
use data_runner_core::time::Entropy;
use data_runner_core::worker::AgentFacts;
use rand::TryRng as _;
use tokio::sync::mpsc;

use super::bundles::Bundles;
use super::code::{CodeUnpacker, Download};
use super::performer::{Line, Performer};
use super::state_folder::{StateFolder, StateFolderError};
use crate::Clock;

/// How many messages of the supervisor may wait for the loop.
const HEARD: usize = 256;

/// What an agent is made of. Each part is a port: take the stock adapters, or your own.
pub struct AgentBuilder {
    /// Which worker it is.
    pub worker: WorkerId,
    /// The line to the supervisor.
    pub transport: Arc<dyn AgentTransport>,
    /// What runs jobs, one for each worker type.
    pub executors: Vec<Arc<dyn Executor>>,
    /// What unpacks code.
    pub unpacker: Arc<dyn CodeUnpacker>,
    /// What resolves the secrets of jobs; [`NoSecrets`](super::NoSecrets) where there are none.
    pub secrets: Arc<dyn SecretResolver>,
    /// What follows links to code; `None`: code comes over the line to the supervisor only.
    pub download: Option<Arc<dyn Download>>,
    /// The folder of its own where it keeps everything that must survive its process. It is made if it does not exist.
    pub state: PathBuf,
    /// How many bytes of bundles are kept for the next runs of the same code.
    pub bundle_cache_bytes: u64,
    /// The numbers to decide by.
    pub policy: AgentPolicy,
    /// What it says of itself. Worker types and slots are filled in from `executors` and `policy`.
    pub facts: AgentFacts,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
}

/// What an agent hears from its own machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Someone asks the agent's process to end. The first time it drains, the second time it stops its jobs.
    Terminate,
    /// Something becomes of the machine.
    Machine(MachineNotice),
}

/// Why an agent could not begin, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Its state folder cannot be used. Jobs go on; an agent that is started on the same folder adopts them.
    #[error("the agent's state folder failed")]
    State(#[source] StateFolderError),
    /// The operating system gives no randomness.
    #[error("the operating system gives no randomness")]
    Entropy(#[source] rand::rngs::SysError),
    /// Writing to the state folder was broken off.
    #[error("writing to the agent's state folder was broken off")]
    Interrupted(#[source] tokio::task::JoinError),
}

/// An agent that holds its state folder and is ready to run.
pub struct AgentLoop(Performer);

impl AgentBuilder {
    /// Takes the state folder and reads what an earlier process left there. Blocks for as long as that takes.
    ///
    /// Fails if another agent uses the folder, or it cannot be read.
    pub fn open(self) -> Result<AgentLoop, AgentError> {
        let mut seed = [0; 32];
        rand::rngs::SysRng.try_fill_bytes(&mut seed).map_err(AgentError::Entropy)?;
        let (folder, identity, records) = StateFolder::open(&self.state).map_err(AgentError::State)?;
        let path = folder.bundles();
        let bundles = Bundles::open(path.clone(), self.bundle_cache_bytes, self.download)
            .map_err(|source| AgentError::State(StateFolderError::Io { doing: "clear", path, source }))?;
        let executors: BTreeMap<_, _> =
            self.executors.into_iter().map(|executor| (executor.worker_type(), executor)).collect();
        let facts = AgentFacts { worker_types: executors.keys().cloned().collect(), ..self.facts };
        tracing::info!(worker = %self.worker, incarnation = identity.incarnation, attempts = records.len(), "agent");
        let (news, answers) = mpsc::unbounded_channel();
        let (heard_in, heard) = mpsc::channel(HEARD);
        Ok(AgentLoop(Performer {
            agent: Agent::recover(identity, records, facts, self.policy, self.clock.now()),
            worker: self.worker,
            transport: self.transport,
            executors,
            unpacker: self.unpacker,
            secrets: self.secrets,
            folder: Arc::new(folder),
            bundles: Arc::new(bundles),
            clock: self.clock,
            entropy: Entropy::from_seed(seed),
            link: Line::Down,
            jobs: BTreeMap::new(),
            files: Arc::default(),
            news,
            answers,
            heard_in,
            heard,
        }))
    }
}

impl AgentLoop {
    /// Runs until the agent is drained, told to stop, without a supervisor for too long, or at the end of its machine.
    /// Dropping the future ends
    /// the agent as a crash would: jobs go on, and an agent that is opened on the same folder adopts them.
    ///
    /// Fails only when the state folder does: what cannot be recorded is not done.
    pub async fn run(self, signals: mpsc::Receiver<Signal>) -> Result<EndReason, AgentError> {
        self.0.run(signals).await
    }
}
