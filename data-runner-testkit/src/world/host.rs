//! Hosts: a machine with a disk, the processes of jobs, and an agent that may die while both go on.

use std::collections::BTreeMap;
use std::time::Duration;

use data_runner_core::agent::{
    Agent, AgentEffect, AgentEvent, AgentIdentity, AgentPolicy, AgentRecord, ConnectionId, JobStep, LogTurn,
    RunRecord,
};
use data_runner_core::execution::{Ending, StopReason, Usage};
use data_runner_core::id::{AttemptId, Claim, WorkerId};
use data_runner_core::log::{ChunkBuilder, LogChunk, LogOffset, LogPosition, Stream};
use data_runner_core::message::LogAppend;
use data_runner_core::port::{JobEnd, JobNews};
use data_runner_core::time::Timestamp;

use super::network::Way;
use super::{Happening, World};
use crate::sample;

pub(super) struct Host {
    pub(super) life: MachineLife,
    pub(super) launched_at: Timestamp,
    disk: Disk,
    pub(super) jobs: BTreeMap<AttemptId, Job>,
    agent: Option<Agent>,
    /// Counts the lives of the agent's process; answers to an earlier one are nobody's.
    agent_life: u64,
    alarm: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MachineLife {
    On,
    Gone { reason: &'static str },
}

#[derive(Default)]
struct Disk {
    identity: AgentIdentity,
    runs: BTreeMap<AttemptId, RunRecord>,
}

/// A job: its process, and what it has printed.
pub(super) struct Job {
    claim: Claim,
    started: Duration,
    pub(super) process: Process,
    spool: Vec<LogChunk>,
    builder: ChunkBuilder,
    /// Lines that it has yet to print.
    lines: u32,
    watch: Option<LogOffset>,
    stopping: Option<StopReason>,
}

pub(super) enum Process {
    Alive,
    Ended(Box<JobEnd>),
    /// It went with its machine.
    Killed,
}

#[derive(Debug, Clone)]
pub(super) enum Due {
    /// An agent's process begins.
    Boot,
    /// A deadline of the agent.
    Alarm(u64),
    /// The answer to an effect, for that life of the agent.
    Answer { life: u64, event: Box<AgentEvent> },
    /// A process is started, then the agent hears of it.
    Spawn { life: u64, claim: Claim },
    /// The job prints its next line, or ends.
    Go { claim: Claim },
    /// The job ends because it was told to.
    Stopped { claim: Claim },
    /// The machine is switched off, and every process with it.
    PowerOff,
}

impl Host {
    pub(super) fn new(launched_at: Timestamp) -> Self {
        Self {
            life: MachineLife::On,
            launched_at,
            disk: Disk::default(),
            jobs: BTreeMap::new(),
            agent: None,
            agent_life: 0,
            alarm: 0,
        }
    }

    pub(super) fn has_agent(&self) -> bool {
        self.agent.is_some()
    }

    /// The attempts of which a process lives here.
    pub(super) fn alive(&self) -> impl Iterator<Item = AttemptId> + '_ {
        self.jobs.iter().filter(|(_, job)| matches!(job.process, Process::Alive)).map(|(attempt, _)| *attempt)
    }
}

impl World {
    pub(super) fn on_host(&mut self, worker: WorkerId, due: Due) {
        match due {
            Due::Boot => self.start_agent(worker),
            Due::Alarm(alarm) => {
                if let Some(host) = self.hosts.get(&worker)
                    && host.alarm == alarm
                {
                    let life = host.agent_life;
                    self.tell_agent(worker, life, AgentEvent::Tick);
                }
            }
            Due::Answer { life, event } => self.tell_agent(worker, life, *event),
            Due::Spawn { life, claim } => self.spawn(worker, life, claim),
            Due::Go { claim } => self.go_on(worker, claim),
            Due::Stopped { claim } => self.stopped(worker, claim),
            Due::PowerOff => self.power_off(worker, "terminated"),
        }
    }

    /// The present life of a worker's agent.
    pub(super) fn agent_life(&self, worker: WorkerId) -> Option<u64> {
        self.hosts.get(&worker).filter(|host| host.agent.is_some()).map(|host| host.agent_life)
    }

    pub(super) fn agent_lives(&self, worker: WorkerId, life: u64) -> bool {
        self.hosts.get(&worker).is_some_and(|host| host.agent.is_some() && host.agent_life == life)
    }

    /// The agent is wanted on this machine: its process begins soon, if none is there.
    pub(super) fn boot(&mut self, worker: WorkerId) {
        let wait = self.millis(10, 3_000);
        self.after(wait, Happening::Host(worker, Due::Boot));
    }

    fn start_agent(&mut self, worker: WorkerId) {
        let now = self.clock();
        let Some(host) = self.hosts.get_mut(&worker) else {
            return;
        };
        if host.agent.is_some() || host.life != MachineLife::On {
            return;
        }
        host.agent_life += 1;
        host.disk.identity.incarnation += 1;
        let records = host.disk.runs.values().cloned().collect();
        let agent =
            Agent::recover(host.disk.identity, records, sample::agent_facts(), AgentPolicy::default(), now);
        host.agent = Some(agent);
        let life = host.agent_life;
        self.note(|| format!("agent of {worker} starts"));
        self.tell_agent(worker, life, AgentEvent::Tick);
    }

    pub(super) fn kill_agent(&mut self, worker: WorkerId) {
        let Some(host) = self.hosts.get_mut(&worker) else {
            return;
        };
        if host.agent.take().is_none() {
            return;
        }
        for job in host.jobs.values_mut() {
            job.watch = None;
        }
        self.note(|| format!("agent of {worker} dies"));
        self.network_lost_agent(worker);
    }

    pub(super) fn power_off(&mut self, worker: WorkerId, reason: &'static str) {
        let Some(host) = self.hosts.get_mut(&worker) else {
            return;
        };
        if host.life != MachineLife::On {
            return;
        }
        host.life = MachineLife::Gone { reason };
        host.agent = None;
        for job in host.jobs.values_mut() {
            if let Process::Alive = job.process {
                job.process = Process::Killed;
            }
        }
        self.note(|| format!("machine of {worker} is gone: {reason}"));
        self.network_lost_agent(worker);
    }

    /// The agent's turn: records first, then effects; it may die between the two.
    pub(super) fn tell_agent(&mut self, worker: WorkerId, life: u64, event: AgentEvent) {
        if !self.agent_lives(worker, life) {
            return;
        }
        let now = self.clock();
        let Some(host) = self.hosts.get_mut(&worker) else {
            return;
        };
        let Some(agent) = &mut host.agent else {
            return;
        };
        let outcome = agent.handle(event, now, &mut self.entropy);
        for record in outcome.records {
            match record {
                AgentRecord::Identity(identity) => host.disk.identity = identity,
                AgentRecord::Run(run) => {
                    host.disk.runs.insert(run.claim.attempt, run);
                }
            }
        }
        if self.draw_agent_crash() {
            return self.kill_agent_as_fault(worker);
        }
        for effect in outcome.effects {
            self.do_for_agent(worker, life, effect);
        }
        self.plan_agent_alarm(worker);
    }

    fn draw_agent_crash(&mut self) -> bool {
        self.faults.crashes && self.is_troubled() && self.entropy.below(2_000) == 0
    }

    fn kill_agent_as_fault(&mut self, worker: WorkerId) {
        *self.struck.entry("agent crash").or_insert(0) += 1;
        self.kill_agent(worker);
    }

    fn plan_agent_alarm(&mut self, worker: WorkerId) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(&worker) else {
            return;
        };
        let Some(due) = host.agent.as_ref().and_then(Agent::next_deadline) else {
            return;
        };
        host.alarm += 1;
        let (alarm, wait) = (host.alarm, due.at.0.saturating_sub(now).max(Duration::from_millis(1)));
        self.after(wait, Happening::Host(worker, Due::Alarm(alarm)));
    }

    fn answer(&mut self, worker: WorkerId, life: u64, wait: Duration, event: AgentEvent) {
        let event = Box::new(event);
        self.after(wait, Happening::Host(worker, Due::Answer { life, event }));
    }

    fn job_answer(&mut self, worker: WorkerId, life: u64, wait: Duration, claim: Claim, step: JobStep) {
        self.answer(worker, life, wait, AgentEvent::Job { claim, step });
    }

    fn do_for_agent(&mut self, worker: WorkerId, agent: u64, effect: AgentEffect) {
        match effect {
            AgentEffect::Connect { connection } => {
                let wait = self.millis(1, 200);
                let due = super::network::Due::Connect { worker, connection, agent };
                self.after(wait, Happening::Network(due));
            }
            AgentEffect::Disconnect { connection } => {
                if let Some(session) = self.session_named(worker, connection) {
                    self.break_session(session);
                }
            }
            AgentEffect::Send { connection, message } => {
                if let Some(session) = self.session_named(worker, connection) {
                    self.send_way(session, Way::Up(message));
                }
            }
            AgentEffect::FetchCode { claim, .. } => {
                let wait = self.millis(1, 3_000);
                self.job_answer(worker, agent, wait, claim, JobStep::CodeReady);
            }
            AgentEffect::Prepare { claim } => {
                let wait = self.millis(1, 20_000);
                self.job_answer(
                    worker,
                    agent,
                    wait,
                    claim,
                    JobStep::EnvironmentReady { packages: Some(sample::packages()) },
                );
            }
            AgentEffect::Halt { claim } => {
                self.job_answer(worker, agent, Duration::from_millis(1), claim, JobStep::Halted);
            }
            AgentEffect::Start { claim } => {
                let wait = self.millis(1, 50);
                self.after(wait, Happening::Host(worker, Due::Spawn { life: agent, claim }));
            }
            AgentEffect::KeepArtifacts { claim } => {
                // There are none in this world, whose jobs want none kept.
                let kept = JobStep::ArtifactsKept { warnings: Vec::new(), unmatched: Vec::new() };
                self.job_answer(worker, agent, Duration::ZERO, claim, kept);
            }
            AgentEffect::GiveUpArtifacts { .. } => {}
            AgentEffect::Adopt { claim, .. } => self.adopt(worker, agent, claim),
            AgentEffect::Watch { claim, seen } => self.watch(worker, claim, seen),
            AgentEffect::Stop { claim, reason, grace } => self.stop_job(worker, claim, reason, grace),
            AgentEffect::SendLog { connection, claim, turn, from, max_bytes } => {
                self.send_log(worker, agent, connection, claim, turn, from, max_bytes);
            }
            AgentEffect::RemoveFolder { claim } => {
                if let Some(host) = self.hosts.get_mut(&worker) {
                    host.disk.runs.remove(&claim.attempt);
                    host.jobs.remove(&claim.attempt);
                }
                self.job_answer(worker, agent, Duration::from_millis(1), claim, JobStep::FolderRemoved);
            }
            AgentEffect::End(_) => {
                self.kill_agent(worker);
                self.switch_off_when_drained(worker);
            }
        }
    }

    /// The process is there from now on, whether or not the agent lives to hear of it.
    fn spawn(&mut self, worker: WorkerId, life: u64, claim: Claim) {
        let lines = u32::try_from(self.entropy.below(20)).unwrap_or(0);
        let started = self.now;
        let Some(host) = self.hosts.get_mut(&worker).filter(|host| host.life == MachineLife::On) else {
            return;
        };
        host.jobs.insert(
            claim.attempt,
            Job {
                claim,
                started,
                process: Process::Alive,
                spool: Vec::new(),
                builder: ChunkBuilder::resume(LogPosition::START),
                lines,
                watch: None,
                stopping: None,
            },
        );
        *self.started.entry(claim.attempt).or_insert(0) += 1;
        self.note(|| format!("{claim} starts on {worker}"));
        let wait = self.millis(1, 20_000);
        self.after(wait, Happening::Host(worker, Due::Go { claim }));
        self.job_answer(worker, life, Duration::from_millis(1), claim, JobStep::Started);
    }

    fn adopt(&mut self, worker: WorkerId, life: u64, claim: Claim) {
        let wait = self.millis(1, 500);
        let now = self.now;
        let job = self.hosts.get(&worker).and_then(|host| host.jobs.get(&claim.attempt));
        let step = match job {
            Some(job) => JobStep::Adopted { running_for: now.saturating_sub(job.started) },
            None => JobStep::NotFound { message: "no process was ever started".to_owned() },
        };
        self.job_answer(worker, life, wait, claim, step);
    }

    fn watch(&mut self, worker: WorkerId, claim: Claim, seen: LogOffset) {
        if let Some(job) = self.hosts.get_mut(&worker).and_then(|host| host.jobs.get_mut(&claim.attempt)) {
            job.watch = Some(seen);
        }
        self.answer_watch(worker, claim);
    }

    fn answer_watch(&mut self, worker: WorkerId, claim: Claim) {
        let Some(host) = self.hosts.get_mut(&worker) else {
            return;
        };
        let life = host.agent_life;
        let Some(job) = host.jobs.get_mut(&claim.attempt) else {
            return;
        };
        let Some(seen) = job.watch else {
            return;
        };
        let reached = job.spool.last().map_or(LogOffset(0), |chunk| chunk.end.offset);
        let news = match &job.process {
            Process::Ended(end) => JobNews::Ended(end.clone()),
            Process::Alive | Process::Killed if reached > seen => JobNews::Log(reached),
            Process::Alive | Process::Killed => return,
        };
        job.watch = None;
        self.job_answer(worker, life, Duration::from_millis(1), claim, JobStep::News(news));
    }

    fn go_on(&mut self, worker: WorkerId, claim: Claim) {
        let at = self.clock().wall;
        let (line, code) = (self.entropy.below(200), u8::from(self.entropy.below(4) == 0));
        let wait = self.millis(1, 60_000);
        let Some(job) = self.alive_job(worker, claim) else {
            return;
        };
        if job.lines == 0 {
            let ending = match code {
                // Some need more memory than they may have.
                1 if line % 2 == 0 => Ending::OutOfMemory { limit_bytes: None },
                code => Ending::Exited { code },
            };
            return self.end_job(worker, claim, ending);
        }
        job.lines -= 1;
        let text = "x".repeat(usize::try_from(line).unwrap_or(0)) + "\n";
        job.builder.push(Stream::Stdout, at, text.as_bytes());
        job.spool.extend(job.builder.finish());
        self.after(wait, Happening::Host(worker, Due::Go { claim }));
        self.answer_watch(worker, claim);
    }

    fn alive_job(&mut self, worker: WorkerId, claim: Claim) -> Option<&mut Job> {
        let job = self.hosts.get_mut(&worker)?.jobs.get_mut(&claim.attempt)?;
        (job.claim == claim && matches!(job.process, Process::Alive)).then_some(job)
    }

    fn stop_job(&mut self, worker: WorkerId, claim: Claim, reason: StopReason, grace: Duration) {
        let wait =
            Duration::from_millis(self.entropy.below(u64::try_from(grace.as_millis()).unwrap_or(1).max(1)));
        if let Some(job) = self.alive_job(worker, claim) {
            job.stopping.get_or_insert(reason);
            self.after(wait, Happening::Host(worker, Due::Stopped { claim }));
        }
    }

    fn stopped(&mut self, worker: WorkerId, claim: Claim) {
        if let Some(reason) = self.alive_job(worker, claim).and_then(|job| job.stopping) {
            self.end_job(worker, claim, Ending::Stopped { reason });
        }
    }

    fn end_job(&mut self, worker: WorkerId, claim: Claim, ending: Ending) {
        let now = self.now;
        self.note(|| format!("{claim} ends on {worker}: {ending:?}"));
        if let Some(job) = self.alive_job(worker, claim) {
            job.process = Process::Ended(Box::new(JobEnd {
                ending,
                usage: Usage::default(),
                output: None,
                warnings: Vec::new(),
                log_end: job.builder.position().offset,
                ran_for: now.saturating_sub(job.started),
                sql: None,
            }));
        }
        self.answer_watch(worker, claim);
    }

    #[expect(clippy::too_many_arguments, reason = "they are the fields of one effect")]
    fn send_log(
        &mut self,
        worker: WorkerId,
        life: u64,
        connection: ConnectionId,
        claim: Claim,
        turn: LogTurn,
        from: LogOffset,
        max_bytes: u64,
    ) {
        let spool = self.hosts.get(&worker).and_then(|host| host.jobs.get(&claim.attempt));
        let chunks: Vec<LogChunk> = spool.map_or_else(Vec::new, |job| {
            let begins = job.spool.iter().skip_while(|chunk| chunk.end.offset <= from);
            let limit = LogOffset(from.0.saturating_add(max_bytes));
            begins
                .enumerate()
                .take_while(|(n, chunk)| *n == 0 || chunk.end.offset <= limit)
                .map(|(_, c)| c.clone())
                .collect()
        });
        let mut upto = from;
        if let Some(session) = self.session_named(worker, connection) {
            for chunk in chunks {
                upto = chunk.end.offset;
                self.send_way(session, Way::LogUp(Box::new(LogAppend { claim, chunk })));
            }
        }
        self.answer(worker, life, Duration::from_millis(1), AgentEvent::LogSent { claim, turn, upto });
    }

    /// What a job has printed, where its host still has it.
    pub(super) fn printed(&self, attempt: AttemptId) -> Option<Vec<u8>> {
        let job = self.hosts.values().find_map(|host| host.jobs.get(&attempt))?;
        Some(super::checks::bytes_of(&job.spool))
    }
}
