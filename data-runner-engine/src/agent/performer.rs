//! The loop.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use data_runner_core::agent::{
    Agent, AgentEffect, AgentEvent, AgentOutcome, AgentRecord, ConnectionId, EndReason, JobStep,
};
use data_runner_core::id::{Claim, WorkerId, WorkerType};
use data_runner_core::port::{
    AgentSession, AgentTransport, Executor, Prepared, RunRequest, RunningJob, SecretResolver,
};
use data_runner_core::time::Entropy;
use data_runner_core::workflow::JobSpec;
use tokio::sync::mpsc;

use super::builder::{AgentError, Signal};
use super::bundles::Bundles;
use super::code::CodeUnpacker;
use super::connection::{Connection, Dialing};
use super::job_tasks::JobTasks;
use super::state_folder::StateFolder;
use crate::Clock;

/// An agent to which nothing happens for so long has time to clean up.
const QUIET: std::time::Duration = std::time::Duration::from_secs(2);

/// What comes back to the loop, with what only the loop holds.
pub(super) enum News {
    Event(AgentEvent),
    Session { connection: ConnectionId, session: Arc<dyn AgentSession> },
    Prepared { claim: Claim, prepared: Prepared },
    Job { claim: Claim, job: Arc<dyn RunningJob>, step: JobStep },
}

/// Owns the agent's machine and everything that its effects need.
pub(super) struct Performer {
    pub(super) agent: Agent,
    pub(super) worker: WorkerId,
    pub(super) transport: Arc<dyn AgentTransport>,
    pub(super) executors: BTreeMap<WorkerType, Arc<dyn Executor>>,
    pub(super) unpacker: Arc<dyn CodeUnpacker>,
    pub(super) secrets: Arc<dyn SecretResolver>,
    pub(super) folder: Arc<StateFolder>,
    pub(super) bundles: Arc<Bundles>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Entropy,
    pub(super) link: Line,
    pub(super) jobs: BTreeMap<Claim, JobTasks>,
    /// Whose turn it is to bring files to the supervisor.
    pub(super) files: Arc<tokio::sync::Mutex<()>>,
    pub(super) news: mpsc::UnboundedSender<News>,
    pub(super) answers: mpsc::UnboundedReceiver<News>,
    pub(super) heard_in: mpsc::Sender<AgentEvent>,
    pub(super) heard: mpsc::Receiver<AgentEvent>,
}

/// The way to the supervisor.
pub(super) enum Line {
    Down,
    Dialing(Dialing),
    Open(Connection),
}

impl Performer {
    /// Runs until core says that the agent ends.
    pub(super) async fn run(mut self, mut signals: mpsc::Receiver<Signal>) -> Result<EndReason, AgentError> {
        let mut event = Some(AgentEvent::Tick);
        loop {
            if let Some(event) = event.take() {
                let outcome = self.agent.handle(event, self.clock.now(), &mut self.entropy);
                if let Some(reason) = self.perform(outcome).await? {
                    self.say_farewell().await;
                    return Ok(reason);
                }
            }
            event = self.next(&mut signals).await;
        }
    }

    async fn next(&mut self, signals: &mut mpsc::Receiver<Signal>) -> Option<AgentEvent> {
        let now = self.clock.now().mono;
        let wait = self.agent.next_deadline().map(|deadline| deadline.at.since(now));
        let due = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        let rubbish = self.jobs.is_empty() && !self.folder.trash.is_empty();
        tokio::select! {
            biased;
            Some(signal) = signals.recv() => Some(match signal {
                Signal::Terminate => AgentEvent::Terminate,
                Signal::Machine(notice) => AgentEvent::Machine(notice),
            }),
            Some(event) = self.heard.recv() => Some(event),
            Some(news) = self.answers.recv() => self.take_in(news),
            () = due => Some(AgentEvent::Tick),
            () = tokio::time::sleep(QUIET), if rubbish => {
                self.empty_trash();
                None
            }
        }
    }

    fn empty_trash(&self) {
        let folder = Arc::clone(&self.folder);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = folder.trash.empty() {
                tracing::warn!(error = &error as &dyn Error, "what is left of old attempts stays for now");
            }
        });
    }

    /// Keeps what came with the news; what is for core comes back.
    fn take_in(&mut self, news: News) -> Option<AgentEvent> {
        match news {
            News::Event(event) => Some(event),
            News::Session { connection, session } => match &self.link {
                Line::Dialing(dialing) if dialing.connection == connection => {
                    self.link = Line::Open(Connection::open(connection, session, &self.heard_in));
                    Some(AgentEvent::Connected { connection })
                }
                // Given up meanwhile; dropping the session ends it.
                Line::Dialing(_) | Line::Open(_) | Line::Down => None,
            },
            News::Prepared { claim, prepared } => {
                let packages = prepared.packages.clone();
                self.jobs.get_mut(&claim)?.prepared = Some(prepared);
                Some(AgentEvent::Job { claim, step: JobStep::EnvironmentReady { packages } })
            }
            News::Job { claim, job, step } => {
                self.jobs.get_mut(&claim)?.job = Some(job);
                Some(AgentEvent::Job { claim, step })
            }
        }
    }

    /// Records, then effects.
    async fn perform(&mut self, outcome: AgentOutcome) -> Result<Option<EndReason>, AgentError> {
        for rejection in &outcome.rejections {
            tracing::debug!(%rejection, "not followed");
        }
        if !outcome.records.is_empty() {
            self.keep(outcome.records).await?;
        }
        let mut end = None;
        for effect in outcome.effects {
            end = self.perform_one(effect).or(end);
        }
        Ok(end)
    }

    async fn keep(&self, records: Vec<AgentRecord>) -> Result<(), AgentError> {
        let folder = Arc::clone(&self.folder);
        let kept =
            tokio::task::spawn_blocking(move || records.iter().try_for_each(|record| folder.keep(record)));
        kept.await.map_err(AgentError::Interrupted)?.map_err(AgentError::State)
    }

    /// Begins one effect; none waits here.
    fn perform_one(&mut self, effect: AgentEffect) -> Option<EndReason> {
        match effect {
            AgentEffect::End(reason) => return Some(reason),
            AgentEffect::Connect { connection } => {
                let transport = Arc::clone(&self.transport);
                self.link =
                    Line::Dialing(Dialing::begin(connection, self.worker, transport, self.news.clone()));
            }
            AgentEffect::Disconnect { connection: _ } => self.link = Line::Down,
            AgentEffect::Send { connection, message } => {
                if let Some(open) = self.open(connection) {
                    open.say(*message);
                }
            }
            AgentEffect::FetchCode { claim, job } => {
                let session = self.session();
                let (bundles, unpacker) = (Arc::clone(&self.bundles), Arc::clone(&self.unpacker));
                self.tasks(claim, job).fetch(bundles, unpacker, session);
            }
            AgentEffect::Adopt { claim, job } => self.tasks(claim, job).adopt(),
            AgentEffect::Prepare { claim } => self.with(claim, |tasks| tasks.prepare()),
            AgentEffect::Halt { claim } => self.with(claim, |tasks| tasks.halt.cancel()),
            AgentEffect::Start { claim } => {
                let secrets = Arc::clone(&self.secrets);
                self.with(claim, |tasks| tasks.start(secrets));
            }
            AgentEffect::KeepArtifacts { claim } => {
                let (session, turn) = (self.session(), Arc::clone(&self.files));
                match session {
                    Some(session) => self.with(claim, |tasks| tasks.keep_artifacts(session, turn)),
                    None => {
                        let message = "there is no connection".to_owned();
                        let step = JobStep::ArtifactsDelayed { message };
                        let _ended = self.news.send(News::Event(AgentEvent::Job { claim, step }));
                    }
                }
            }
            AgentEffect::GiveUpArtifacts { claim } => self.with(claim, |tasks| tasks.give_up.cancel()),
            AgentEffect::Watch { claim, seen } => self.with(claim, |tasks| tasks.watch(seen)),
            AgentEffect::Stop { claim, reason, grace } => self.with(claim, |tasks| tasks.stop(reason, grace)),
            AgentEffect::SendLog { connection, claim, turn, from, max_bytes } => {
                let line = self.open(connection).map(|open| (Arc::clone(&open.session), open.over.clone()));
                if let Some((session, over)) = line {
                    self.with(claim, |tasks| tasks.send_log(session, over, turn, from, max_bytes));
                }
            }
            AgentEffect::RemoveFolder { claim } => self.remove_folder(claim),
        }
        None
    }

    fn session(&self) -> Option<Arc<dyn AgentSession>> {
        match &self.link {
            Line::Open(open) => Some(Arc::clone(&open.session)),
            Line::Down | Line::Dialing(_) => None,
        }
    }

    fn open(&self, connection: ConnectionId) -> Option<&Connection> {
        match &self.link {
            Line::Open(open) if open.id == connection => Some(open),
            Line::Open(_) | Line::Dialing(_) | Line::Down => None,
        }
    }

    fn with(&mut self, claim: Claim, task: impl FnOnce(&mut JobTasks)) {
        if let Some(tasks) = self.jobs.get_mut(&claim) {
            task(tasks);
        }
    }

    /// A folder that cannot be removed stays, with its record if that is what stayed: the next start of the agent
    /// names it to the supervisor, and is told to remove it.
    fn remove_folder(&mut self, claim: Claim) {
        if let Some(tasks) = self.jobs.remove(&claim) {
            tasks.over.cancel();
        }
        let (folder, news) = (Arc::clone(&self.folder), self.news.clone());
        tokio::task::spawn_blocking(move || {
            if let Err(error) = folder.forget(claim.attempt) {
                tracing::warn!(attempt = %claim, error = &error as &dyn Error, "a run folder stays");
            }
            // A loop that has ended finds no record at its next start, and nothing to do.
            let _ended = news.send(News::Event(AgentEvent::Job { claim, step: JobStep::FolderRemoved }));
        });
    }

    fn tasks(&mut self, claim: Claim, job: Arc<JobSpec>) -> &mut JobTasks {
        let executor = self.executors.get(&job.worker_type).cloned();
        let (folder, news) = (self.folder.run(claim.attempt), self.news.clone());
        let alone_for = self.agent.dead_man();
        self.jobs
            .entry(claim)
            .or_insert_with(|| JobTasks::new(RunRequest { claim, job, folder, alone_for }, executor, news))
    }

    async fn say_farewell(mut self) {
        if let Line::Open(open) = std::mem::replace(&mut self.link, Line::Down) {
            open.farewell(&mut self.heard).await;
        }
    }
}
