//! Agents as processes of this machine.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use data_runner_core::cost::Market;
use data_runner_core::id::{MachineId, WorkerId};
use data_runner_core::port::{JoinAuthority, LaunchAnswer, ProvisionError, Provisioner};
use data_runner_core::time::Timestamp;
use data_runner_core::worker::{Candidate, Machine, MachineEnd, MachineRequest, MachineState};

use crate::ending::kill_all;
use crate::machine_folder::{End, Launch, MachineFolder, Start};
use crate::process::{ProcessId, all, bears_mark, boot_id};

/// How many folders of terminated workers are kept, for whoever wants to read why they ended.
const KEPT: usize = 20;
/// An agent's log is begun anew at its next start when it has grown to this; one old one is kept.
const LOG_BYTES: u64 = 8 << 20;

/// What agents are started with.
#[derive(Clone)]
pub struct LocalOptions {
    /// The agent's program and its arguments.
    pub agent_command: Vec<OsString>,
    /// The folder with one folder a worker; made when it is needed.
    pub state: PathBuf,
    /// Where agents dial the supervisor.
    pub grpc_url: String,
    /// Environment variables beside those of this process and those that say who the agent is.
    pub env: Vec<(OsString, OsString)>,
    /// How agents join where the supervisor's side is secured; `None`: it asks nobody.
    pub joining: Option<LocalJoining>,
}

/// What agents of this machine join with.
#[derive(Clone)]
pub struct LocalJoining {
    /// Makes their tokens.
    pub authority: Arc<dyn JoinAuthority>,
    /// The file of the authority that they trust.
    pub ca: PathBuf,
}

/// A [`Provisioner`] whose machines are processes of this machine.
///
/// An agent gets this process' environment without its `DATA_RUNNER_…` variables, then [`LocalOptions::env`], then
/// `DATA_RUNNER_WORKER_ID`, `DATA_RUNNER_GRPC_URL`, `DATA_RUNNER_AGENT_STATE` (its folder) and `DATA_RUNNER_SLOTS`;
/// where it has to join, `DATA_RUNNER_CA` and `DATA_RUNNER_JOIN_TOKEN_FILE`. It
/// has a process group of its own, so that Ctrl-C in the supervisor's terminal does not reach it, and it outlives the
/// supervisor. What it writes goes to `agent.log` in its folder.
///
/// A machine is `Terminated` when a look through `/proc` finds no agent, no shim, and no process of a job: none that
/// they started, none in a job's session, and none whose `DATA_RUNNER_…` variables name the worker's folder.
#[derive(Clone)]
pub struct LocalProvisioner {
    options: Arc<LocalOptions>,
    /// A child that ended stays a zombie until its parent asks for its end.
    children: Arc<Mutex<Vec<std::process::Child>>>,
}

impl LocalProvisioner {
    /// A provisioner that starts agents with `options`.
    ///
    /// # Errors
    ///
    /// When there is no command, or the state's folder has no absolute path.
    pub fn new(options: LocalOptions) -> io::Result<Self> {
        if options.agent_command.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the command that starts an agent is empty",
            ));
        }
        let state = std::path::absolute(&options.state)?;
        Ok(Self { options: Arc::new(LocalOptions { state, ..options }), children: Arc::default() })
    }

    /// The folder of a worker's agent, with its log `agent.log`.
    pub fn folder(&self, worker: WorkerId) -> PathBuf {
        self.machine(worker).path
    }

    fn machine(&self, worker: WorkerId) -> MachineFolder {
        MachineFolder::new(&self.options.state, worker)
    }

    fn launch_now(&self, worker: WorkerId, candidate: &Candidate) -> io::Result<LaunchAnswer> {
        let machine = self.machine(worker);
        machine.make()?;
        let _held = machine.hold()?;
        let id = machine_id(worker).map_err(io::Error::other)?;
        if machine.ending()?.is_some() {
            // It ends or has ended, and no second one takes its place.
            return Ok(LaunchAnswer::Launched(id));
        }
        if machine.launch()?.is_none() {
            machine.record_launch(&Launch { candidate: candidate.clone(), at: now() })?;
        }
        if self.agent(&machine)?.is_none() {
            self.start_agent(&machine, candidate)?;
        }
        Ok(LaunchAnswer::Launched(id))
    }

    /// The agent's process, if it lives.
    fn agent(&self, machine: &MachineFolder) -> io::Result<Option<ProcessId>> {
        self.reap();
        let boot = boot_id()?;
        match machine.start()? {
            Some(Start::Done { boot_id, process }) if boot_id == boot => {
                Ok(process.is_alive().then_some(process))
            }
            Some(Start::Intended { boot_id }) if boot_id == boot => lost_agent(machine),
            // Nothing outlives a boot.
            Some(Start::Done { .. } | Start::Intended { .. }) | None => Ok(None),
        }
    }

    fn start_agent(&self, machine: &MachineFolder, candidate: &Candidate) -> io::Result<()> {
        let boot_id = boot_id()?;
        machine.record_start(&Start::Intended { boot_id: boot_id.clone() })?;
        let child = self.command(machine, candidate)?.spawn()?;
        let pid = child.id();
        // It is our child, so that its number cannot be another's before we asked for its end.
        let process = ProcessId::of(pid);
        self.children.lock().unwrap_or_else(PoisonError::into_inner).push(child);
        let process = process.ok_or_else(|| io::Error::other("the agent ended as soon as it was started"))?;
        machine.record_start(&Start::Done { boot_id, process })?;
        tracing::info!(worker = %machine.worker, pid, "agent started");
        Ok(())
    }

    fn command(&self, machine: &MachineFolder, candidate: &Candidate) -> io::Result<Command> {
        let (program, arguments) = self
            .options
            .agent_command
            .split_first()
            .ok_or_else(|| io::Error::other("the command that starts an agent is empty"))?;
        let log = log_file(&machine.path)?;
        let mut command = Command::new(program);
        command.args(arguments);
        let joining = self.options.joining.as_ref();
        let token = joining.map(|joining| joining.authority.token(machine.worker, candidate));
        let token = token.map(|token| machine.keep_join_token(&token)).transpose()?;
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"DATA_RUNNER_") {
                command.env_remove(name);
            }
        }
        command
            .envs(self.options.env.iter().map(|(name, value)| (name, value)))
            .env("DATA_RUNNER_WORKER_ID", machine.worker.to_string())
            .env("DATA_RUNNER_GRPC_URL", &self.options.grpc_url)
            .env("DATA_RUNNER_AGENT_STATE", &machine.path)
            .env("DATA_RUNNER_SLOTS", slots(candidate).to_string())
            .envs(joining.map(|joining| ("DATA_RUNNER_CA", &joining.ca)))
            .envs(token.map(|file| ("DATA_RUNNER_JOIN_TOKEN_FILE", file)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        Ok(command)
    }

    /// Asks for the end of children that ended.
    fn reap(&self) {
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        children.retain_mut(|child| match child.try_wait() {
            Ok(None) => true,
            Ok(Some(status)) => {
                tracing::info!(pid = child.id(), %status, "agent ended");
                false
            }
            Err(error) => {
                tracing::warn!(pid = child.id(), %error, "the end of an agent cannot be asked for");
                false
            }
        });
    }

    fn terminate_now(&self, worker: WorkerId) -> io::Result<()> {
        let machine = self.machine(worker);
        if machine.terminated()?.is_some() {
            return Ok(());
        }
        // Also where nothing was launched: the launch may be under way, and must find that it comes too late.
        machine.make()?;
        let _held = machine.hold()?;
        let end = End { reason: "terminated as asked".to_owned() };
        machine.record_ending(&end)?;
        let left = kill_all(&machine)?;
        self.reap();
        if left.is_empty() {
            machine.record_terminated(&end)?;
            self.remove_old()?;
        } else {
            tracing::warn!(worker = %worker, ?left, "processes of this worker do not go; the next call tries again");
        }
        Ok(())
    }

    /// Removes the folders of the terminated but for the newest.
    fn remove_old(&self) -> io::Result<()> {
        let mut ended = Vec::new();
        for machine in MachineFolder::all(&self.options.state)? {
            if machine.terminated()?.is_some() {
                ended.push(machine);
            }
        }
        // Workers' ids are in the order of their creation.
        let superfluous = ended.len().saturating_sub(KEPT);
        ended.iter().take(superfluous).try_for_each(MachineFolder::remove)
    }

    fn list_now(&self) -> io::Result<Vec<Machine>> {
        let mut machines = Vec::new();
        for folder in MachineFolder::all(&self.options.state)? {
            // Without an intent nothing was ever started there.
            if let Some(launch) = folder.launch()? {
                machines.push(Machine {
                    id: machine_id(folder.worker).map_err(io::Error::other)?,
                    worker: folder.worker,
                    state: self.state(&folder)?,
                    launched_at: launch.at,
                });
            }
        }
        Ok(machines)
    }

    fn state(&self, machine: &MachineFolder) -> io::Result<MachineState> {
        if let Some(End { reason }) = machine.terminated()? {
            return Ok(MachineState::Terminated { reason, end: MachineEnd::Ended });
        }
        if machine.ending()?.is_some() {
            return Ok(MachineState::Stopping);
        }
        if self.agent(machine)?.is_some() {
            return Ok(MachineState::Running);
        }
        Ok(if machine.is_held()? { MachineState::Pending } else { MachineState::AgentDown })
    }

    /// What is done here reads and writes files, and waits for processes.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || work(&this)).await.map_err(io::Error::other)?
    }
}

#[async_trait]
impl Provisioner for LocalProvisioner {
    async fn plan(&self, request: MachineRequest) -> Result<Vec<Candidate>, ProvisionError> {
        Ok(vec![Candidate {
            label: "this machine".to_owned(),
            instance_type: "local".to_owned(),
            request: serde_json::json!({ "slots": request.slots.max(1) }),
            zone: None,
            market: Market::OnDemand,
            price: None,
        }])
    }

    async fn launch(&self, worker: WorkerId, candidate: Candidate) -> LaunchAnswer {
        match self.blocking(move |this| this.launch_now(worker, &candidate)).await {
            Ok(answer) => answer,
            Err(error) => self.failed_launch(&error),
        }
    }

    async fn terminate(&self, worker: WorkerId, machine: Option<MachineId>) -> Result<(), ProvisionError> {
        let of_worker = machine_id(worker).map_err(|error| ProvisionError::Unavailable(error.into()))?;
        if machine.is_some_and(|named| named != of_worker) {
            // A worker has no other machine here.
            return Ok(());
        }
        let ended = self.blocking(move |this| this.terminate_now(worker)).await;
        ended.map_err(|error| ProvisionError::Unavailable(error.into()))
    }

    async fn list(&self) -> Result<Vec<Machine>, ProvisionError> {
        let listed = self.blocking(Self::list_now).await;
        listed.map_err(|error| ProvisionError::Unavailable(error.into()))
    }

    /// Agents of this machine have their diagnostics in their folder's log; a console they have not.
    async fn console(&self, _machine: MachineId) -> Result<String, ProvisionError> {
        Ok(String::new())
    }
}

impl LocalProvisioner {
    fn failed_launch(&self, error: &io::Error) -> LaunchAnswer {
        let program =
            self.options.agent_command.first().map(|program| program.to_string_lossy().into_owned());
        let message = format!("an agent could not be started: {error}");
        if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) {
            // It may have been started before it failed: the same call looks for it first.
            return LaunchAnswer::Unknown { message };
        }
        let hint = format!(
            "check that {} is there and may be run, and that {} may be written",
            program.unwrap_or_default(),
            self.options.state.display()
        );
        LaunchAnswer::Fatal { message, hint: Some(hint) }
    }
}

/// The agent that was started by a supervisor which was killed before it could write down whom. It is the oldest of
/// those that bear the mark but for the shims, which may be an earlier agent's.
fn lost_agent(machine: &MachineFolder) -> io::Result<Option<ProcessId>> {
    let shims: Vec<u32> =
        machine.shims()?.into_iter().flat_map(|shim| std::iter::once(shim.pid).chain(shim.job_pid)).collect();
    let marked = all()?.into_iter().filter(|process| {
        !shims.contains(&process.id.pid)
            && !shims.contains(&process.parent)
            && bears_mark(process.id, &machine.path)
    });
    Ok(marked.map(|process| process.id).min_by_key(|id| id.start_time))
}

fn log_file(folder: &Path) -> io::Result<File> {
    let path = folder.join("agent.log");
    if fs::metadata(&path).is_ok_and(|metadata| metadata.len() > LOG_BYTES) {
        fs::rename(&path, folder.join("agent.log.1"))?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

fn machine_id(worker: WorkerId) -> Result<MachineId, data_runner_core::id::InvalidId> {
    format!("local-{worker}").parse()
}

fn slots(candidate: &Candidate) -> u64 {
    candidate.request.get("slots").and_then(serde_json::Value::as_u64).unwrap_or(1)
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
