//! A provisioner of one's own: a machine is a folder of this computer, and its agent is a task of this program.
//!
//! A provisioner's calls are repeated after crashes and lost answers, so what it knows must be where its machines are,
//! and not in its memory. Here that is the machine's folder, and three files in it: `launch.json`, then `ending`, then
//! `terminated`. In a cloud it would be tags and the cloud's own listing.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use data_runner_agent::TarZstd;
use data_runner_core::agent::AgentPolicy;
use data_runner_core::cost::Market;
use data_runner_core::id::{MachineId, WorkerId};
use data_runner_core::port::{Executor, LaunchAnswer, ProvisionError, Provisioner};
use data_runner_core::time::Timestamp;
use data_runner_core::worker::{AgentFacts, Candidate, Machine, MachineEnd, MachineRequest, MachineState};
use data_runner_engine::{AgentBuilder, Clock as _, NoSecrets, Signal, SystemClock};
use data_runner_exec::machine;
use data_runner_grpc::{AgentOptions, GrpcAgentTransport};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// What a [`TaskProvisioner`] is made of.
pub struct TaskOptions {
    /// The folder with one folder a machine.
    pub folder: PathBuf,
    /// Where agents find the supervisor.
    pub grpc_url: String,
    /// What the agents can run.
    pub executors: Vec<Arc<dyn Executor>>,
}

/// A [`Provisioner`] whose agents are tasks of this program. Clones are the same. Its calls need a tokio runtime, on
/// which the agents stay.
#[derive(Clone)]
pub struct TaskProvisioner {
    options: Arc<TaskOptions>,
    agents: Arc<Mutex<BTreeMap<WorkerId, RunningAgent>>>,
}

struct RunningAgent {
    terminate: mpsc::Sender<Signal>,
    task: JoinHandle<()>,
}

/// What is written down before anything starts.
#[derive(Serialize, Deserialize)]
struct Launch {
    slots: u32,
    at: Timestamp,
}

impl TaskProvisioner {
    /// A provisioner of the machines in that folder.
    pub fn new(options: TaskOptions) -> Self {
        Self { options: Arc::new(options), agents: Arc::default() }
    }

    /// Files and locks block, so the work is done where that is allowed; one call at a time, so that two launches of
    /// one worker cannot both find no agent.
    async fn locked<T: Send + 'static>(
        &self,
        work: impl FnOnce(&TaskOptions, &mut Agents) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let this = self.clone();
        let worked = tokio::task::spawn_blocking(move || {
            let mut agents = this.agents.lock().unwrap_or_else(PoisonError::into_inner);
            work(&this.options, &mut agents)
        });
        worked.await.map_err(io::Error::other)?
    }
}

type Agents = BTreeMap<WorkerId, RunningAgent>;

#[async_trait]
impl Provisioner for TaskProvisioner {
    async fn plan(&self, request: MachineRequest) -> Result<Vec<Candidate>, ProvisionError> {
        // One way to get a machine. What `launch` needs goes into `request`: it comes back as it was.
        Ok(vec![Candidate {
            label: "a task of this program".to_owned(),
            instance_type: "task".to_owned(),
            request: serde_json::json!({ "slots": request.slots.max(1) }),
            zone: None,
            market: Market::OnDemand,
            price: None,
        }])
    }

    async fn launch(&self, worker: WorkerId, candidate: Candidate) -> LaunchAnswer {
        match self.locked(move |options, agents| launch(options, agents, worker, &candidate)).await {
            Ok(machine) => LaunchAnswer::Launched(machine),
            // It may have begun: the same call, repeated, finds out.
            Err(error) => LaunchAnswer::Unknown { message: error.to_string() },
        }
    }

    async fn terminate(&self, worker: WorkerId, machine: Option<MachineId>) -> Result<(), ProvisionError> {
        let asked = self.locked(move |options, agents| match machine {
            // A worker has no other machine here.
            Some(named) if named != machine_id(worker)? => Ok(()),
            Some(_) | None => terminate(options, agents, worker),
        });
        let asked = asked.await;
        asked.map_err(|error| ProvisionError::Unavailable(error.into()))
    }

    async fn list(&self) -> Result<Vec<Machine>, ProvisionError> {
        let listed = self.locked(|options, agents| list(options, agents)).await;
        listed.map_err(|error| ProvisionError::Unavailable(error.into()))
    }

    async fn console(&self, _machine: MachineId) -> Result<String, ProvisionError> {
        Ok(String::new())
    }
}

fn launch(
    options: &TaskOptions,
    agents: &mut Agents,
    worker: WorkerId,
    candidate: &Candidate,
) -> io::Result<MachineId> {
    let folder = MachineFolder::of(options, worker);
    // What has ended stays so: a launch that was delayed must not bring it back.
    if !folder.is_ending() {
        folder.record_launch(candidate)?;
        ensure_agent(options, agents, worker)?;
    }
    machine_id(worker)
}

fn terminate(options: &TaskOptions, agents: &mut Agents, worker: WorkerId) -> io::Result<()> {
    let folder = MachineFolder::of(options, worker);
    if folder.launch()?.is_none() || folder.is_terminated() {
        return Ok(());
    }
    // First the wish, then the deed: else a crash in between would leave a machine that a launch revives.
    fs::write(folder.ending(), "")?;
    // An agent that is down may have left jobs behind. Only an agent can end those, so it is started once more.
    let agent = ensure_agent(options, agents, worker)?;
    // Asked once an agent finishes its jobs; asked twice it stops them.
    for _ in 0..2 {
        // Full or closed: it was asked before, or is gone.
        let _ = agent.terminate.try_send(Signal::Terminate);
    }
    Ok(())
}

fn list(options: &TaskOptions, agents: &Agents) -> io::Result<Vec<Machine>> {
    let mut machines = Vec::new();
    let folders = match fs::read_dir(&options.folder) {
        Ok(folders) => folders,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(machines),
        // A listing is complete or an error: what it does not show counts as gone.
        Err(error) => return Err(error),
    };
    for entry in folders {
        let name = entry?.file_name();
        let worker = name.to_string_lossy().parse().map_err(io::Error::other)?;
        let folder = MachineFolder::of(options, worker);
        if let Some(launch) = folder.launch()? {
            let state = state(&folder, agents.get(&worker));
            machines.push(Machine { id: machine_id(worker)?, worker, state, launched_at: launch.at });
        }
    }
    Ok(machines)
}

fn state(folder: &MachineFolder, agent: Option<&RunningAgent>) -> MachineState {
    if folder.is_terminated() {
        MachineState::Terminated { reason: "terminated as asked".to_owned(), end: MachineEnd::Ended }
    } else if folder.is_ending() {
        MachineState::Stopping
    } else if agent.is_some_and(RunningAgent::lives) {
        MachineState::Running
    } else {
        MachineState::AgentDown
    }
}

fn ensure_agent<'a>(
    options: &TaskOptions,
    agents: &'a mut Agents,
    worker: WorkerId,
) -> io::Result<&'a RunningAgent> {
    if !agents.get(&worker).is_some_and(RunningAgent::lives) {
        agents.insert(worker, start_agent(options, worker)?);
    }
    agents.get(&worker).ok_or_else(|| io::Error::other("the agent is gone"))
}

fn start_agent(options: &TaskOptions, worker: WorkerId) -> io::Result<RunningAgent> {
    let folder = MachineFolder::of(options, worker);
    let slots = folder.launch()?.map_or(1, |launch| launch.slots);
    let transport = GrpcAgentTransport::new(&options.grpc_url, AgentOptions::default());
    let machine = machine::facts();
    let builder = AgentBuilder {
        worker,
        transport: Arc::new(transport.map_err(io::Error::other)?),
        executors: options.executors.clone(),
        unpacker: Arc::new(TarZstd),
        download: None,
        secrets: Arc::new(NoSecrets),
        // The same folder each time: an agent that starts again finds the jobs of the one before it.
        state: folder.agent(),
        bundle_cache_bytes: 64 << 20,
        policy: AgentPolicy { slots, ..AgentPolicy::default() },
        facts: AgentFacts {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            worker_types: Vec::new(),
            cpus: machine.cpus,
            memory_bytes: machine.memory_bytes,
            slots,
            host: machine.host,
        },
        clock: Arc::new(SystemClock::start()),
    };
    let agent = builder.open().map_err(io::Error::other)?;
    let (terminate, asked) = mpsc::channel(2);
    let task = tokio::spawn(async move {
        let ended = agent.run(asked).await.map_err(io::Error::other);
        // An agent that has ended by itself has no job left, so this is the proof.
        if let Err(error) = ended.and_then(|_| folder.record_end()) {
            tracing::error!(%worker, error = &error as &dyn std::error::Error, "the agent failed");
        }
    });
    Ok(RunningAgent { terminate, task })
}

impl RunningAgent {
    fn lives(&self) -> bool {
        !self.task.is_finished()
    }
}

/// The folder of one machine.
struct MachineFolder(PathBuf);

impl MachineFolder {
    fn of(options: &TaskOptions, worker: WorkerId) -> Self {
        Self(options.folder.join(worker.to_string()))
    }

    fn agent(&self) -> PathBuf {
        self.0.join("agent")
    }

    fn ending(&self) -> PathBuf {
        self.0.join("ending")
    }

    fn terminated(&self) -> PathBuf {
        self.0.join("terminated")
    }

    fn is_ending(&self) -> bool {
        self.ending().exists()
    }

    fn is_terminated(&self) -> bool {
        self.terminated().exists()
    }

    fn launch(&self) -> io::Result<Option<Launch>> {
        match fs::read(self.0.join("launch.json")) {
            Ok(json) => Ok(Some(serde_json::from_slice(&json)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn record_launch(&self, candidate: &Candidate) -> io::Result<()> {
        if self.launch()?.is_some() {
            return Ok(());
        }
        let slots = candidate.request.get("slots").and_then(serde_json::Value::as_u64).unwrap_or(1);
        let slots = u32::try_from(slots).unwrap_or(u32::MAX);
        let launch = Launch { slots, at: SystemClock::start().now().wall };
        fs::create_dir_all(&self.0)?;
        write_whole(&self.0.join("launch.json"), &serde_json::to_vec(&launch)?)
    }

    /// Only an end that was asked for ends the machine; after any other its agent may be started again.
    fn record_end(&self) -> io::Result<()> {
        if self.is_ending() { fs::write(self.terminated(), "") } else { Ok(()) }
    }
}

/// All or nothing, for whoever reads it after a crash.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, bytes)?;
    fs::rename(new, path)
}

fn machine_id(worker: WorkerId) -> io::Result<MachineId> {
    format!("task-{worker}").parse().map_err(io::Error::other)
}

#[cfg(test)]
mod tests;
