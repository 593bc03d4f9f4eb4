//! An agent in a test's hands.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    unused_must_use
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::execution::{Ending, Phase, StopReason, Usage};
use crate::id::{AttemptNumber, Epoch, ExecutionId, SessionId, Sha256};
use crate::log::LogOffset;
use crate::message::{
    AgentMessage, Assign, AttemptStatus, LogAck, LogOutcome, SupervisorMessage, Verdict, Welcome,
    WorkerStatus,
};
use crate::port::{JobEnd, JobNews};
use crate::time::{Deadline, Timestamp};
use crate::workflow::{ArtifactRule, BundleRef, Dependencies, Resources};

pub(super) const DEAD_MAN: Duration = Duration::from_secs(600);

fn uuid(n: u64) -> uuid::Uuid {
    uuid::Uuid::from_u64_pair(7, n)
}

pub(super) fn lease(n: u64) -> Lease {
    Lease::from_uuid(uuid(n))
}

pub(super) fn claim(n: u64) -> Claim {
    let attempt = AttemptId { execution: ExecutionId::from_uuid(uuid(n)), number: AttemptNumber::FIRST };
    Claim { attempt, lease: lease(n) }
}

pub(super) fn job() -> Arc<JobSpec> {
    Arc::new(JobSpec {
        workflow: crate::id::QualifiedName { repo: "r".parse().unwrap(), name: "w".parse().unwrap() },
        revision: "1".repeat(40).parse().unwrap(),
        worker_type: "polars".parse().unwrap(),
        bundle: BundleRef { hash: Sha256::of(b"code"), bytes: 4 },
        folder: "workflows/w".to_owned(),
        entrypoint: "workflow.py".to_owned(),
        python_path: Vec::new(),
        params: BTreeMap::new(),
        env: BTreeMap::new(),
        secrets: Default::default(),
        dependencies: Dependencies::default(),
        packages: Default::default(),
        resources: Resources { memory_bytes: 1 << 30, cpus: 1 },
        timeout: Duration::from_secs(6 * 3600),
        grace: Duration::from_secs(10),
        artifacts: Vec::new(),
    })
}

/// A job that leaves files which are to be kept.
pub(super) fn job_with_files() -> Arc<JobSpec> {
    let retain = Duration::from_secs(3600);
    let rule = ArtifactRule { name: "report".parse().unwrap(), path: "out/*.csv".parse().unwrap(), retain };
    Arc::new(JobSpec { artifacts: vec![rule], ..JobSpec::clone(&job()) })
}

pub(super) fn assign_with_files(claim: Claim) -> SupervisorMessage {
    SupervisorMessage::Assign(Assign { claim, epoch: Epoch(2), job: job_with_files() })
}

pub(super) fn kept() -> JobStep {
    JobStep::ArtifactsKept { warnings: Vec::new(), unmatched: Vec::new() }
}

fn facts() -> AgentFacts {
    AgentFacts {
        version: "0".to_owned(),
        worker_types: vec!["polars".parse().unwrap()],
        cpus: 1,
        memory_bytes: 1 << 30,
        slots: 1,
        host: "here".to_owned(),
    }
}

pub(super) fn welcome(verdicts: Vec<(Claim, Verdict)>) -> Welcome {
    Welcome {
        session: SessionId::from_uuid(uuid(1)),
        epoch: Epoch(2),
        verdicts,
        heartbeat: Duration::from_secs(5),
        dead_man: DEAD_MAN,
    }
}

pub(super) fn keep(from: u64) -> Verdict {
    Verdict::Keep { log_from: LogOffset(from) }
}

pub(super) fn assign(claim: Claim) -> SupervisorMessage {
    assign_under(claim, Epoch(2))
}

pub(super) fn assign_under(claim: Claim, epoch: Epoch) -> SupervisorMessage {
    SupervisorMessage::Assign(Assign { claim, epoch, job: job() })
}

pub(super) fn cancel(n: u64, reason: StopReason) -> SupervisorMessage {
    SupervisorMessage::Cancel { claim: claim(n), epoch: Epoch(2), reason }
}

pub(super) fn status_ack(n: u64) -> SupervisorMessage {
    SupervisorMessage::StatusAck { claim: claim(n) }
}

pub(super) fn drain() -> SupervisorMessage {
    SupervisorMessage::Drain { epoch: Epoch(2) }
}

pub(super) fn stop(n: u64, reason: StopReason) -> AgentEffect {
    AgentEffect::Stop { claim: claim(n), reason, grace: Duration::from_secs(10) }
}

fn end_of(ending: Ending, log_end: u64) -> JobEnd {
    JobEnd {
        ending,
        usage: Usage::default(),
        output: None,
        warnings: Vec::new(),
        log_end: LogOffset(log_end),
        ran_for: Duration::from_secs(1),
        sql: None,
    }
}

pub(super) fn ended(code: u8, log_end: u64) -> JobStep {
    JobStep::News(JobNews::Ended(Box::new(end_of(Ending::Exited { code }, log_end))))
}

pub(super) fn stopped(reason: StopReason) -> JobStep {
    JobStep::News(JobNews::Ended(Box::new(end_of(Ending::Stopped { reason }, 0))))
}

pub(super) fn reached(n: u64, phase: Phase) -> AgentMessage {
    let status = AttemptStatus::Reached { phase, ago: Duration::ZERO };
    AgentMessage::WorkerStatus(WorkerStatus { claim: claim(n), status, packages: None })
}

pub(super) fn finished(n: u64, ending: Ending, log_end: u64) -> AgentMessage {
    let ran_for = match ending {
        Ending::Exited { .. } => Duration::from_secs(1),
        _ => Duration::ZERO,
    };
    let report = FinishReport {
        ending,
        usage: Usage::default(),
        output: None,
        warnings: Vec::new(),
        log_end: LogOffset(log_end),
        ran_for,
        sql: None,
    };
    let status = AttemptStatus::Finished(Box::new(report));
    AgentMessage::WorkerStatus(WorkerStatus { claim: claim(n), status, packages: None })
}

/// What an outcome says to the supervisor.
pub(super) fn said(outcome: &AgentOutcome) -> Vec<AgentMessage> {
    outcome
        .effects
        .iter()
        .filter_map(|effect| match effect {
            AgentEffect::Send { message, .. } => Some((**message).clone()),
            _ => None,
        })
        .collect()
}

/// An agent with its time and chance.
#[derive(Clone)]
pub(super) struct Rig {
    pub(super) agent: Agent,
    pub(super) now: Now,
    pub(super) entropy: Entropy,
}

impl Rig {
    /// One that has just begun, with so many slots.
    pub(super) fn new(slots: u32) -> Self {
        let now = Now { wall: Timestamp::from_micros(1_767_225_600_000_000), mono: Mono::default() };
        let identity = AgentIdentity { incarnation: 1, ..AgentIdentity::default() };
        let policy = AgentPolicy { slots, ..AgentPolicy::default() };
        let agent = Agent::recover(identity, Vec::new(), facts(), policy, now);
        Self { agent, now, entropy: Entropy::from_number(1) }
    }

    /// One that is connected and welcomed.
    pub(super) fn up(slots: u32) -> Self {
        let mut it = Self::new(slots);
        it.reconnect_silently();
        let outcome = it.hear(SupervisorMessage::Welcome(welcome(vec![])));
        assert_eq!(outcome.rejections, []);
        it
    }

    /// One with one slot whose job runs: attempt 1.
    pub(super) fn running(slots: u32) -> Self {
        Self::running_as(slots, assign(claim(1)))
    }

    /// The same; the files that it leaves are to be kept.
    pub(super) fn running_with_files(slots: u32) -> Self {
        Self::running_as(slots, assign_with_files(claim(1)))
    }

    fn running_as(slots: u32, assigned: SupervisorMessage) -> Self {
        let mut it = Self::up(slots);
        it.hear(assigned);
        for step in [JobStep::CodeReady, JobStep::EnvironmentReady { packages: None }, JobStep::Started] {
            assert_eq!(it.job(1, step).rejections, []);
        }
        it
    }

    /// One whose job has ended, with a log that was sent.
    pub(super) fn ended(slots: u32, log_end: u64) -> Self {
        let mut it = Self::running(slots);
        it.job(1, ended(0, log_end));
        it.sent(1, 1, log_end);
        it
    }

    /// The agent of a new process, with what the old one has on disk.
    pub(super) fn restarted(&self) -> Self {
        let identity =
            AgentIdentity { incarnation: self.agent.identity.incarnation + 1, ..self.agent.identity };
        let agent =
            Agent::recover(identity, self.agent.held().collect(), facts(), self.agent.policy, self.now);
        Self { agent, ..self.clone() }
    }

    pub(super) fn go(&mut self, event: AgentEvent) -> AgentOutcome {
        self.agent.handle(event, self.now, &mut self.entropy)
    }

    pub(super) fn tick(&mut self) -> AgentOutcome {
        self.go(AgentEvent::Tick)
    }

    pub(super) fn said(&mut self, event: AgentEvent) -> Vec<AgentMessage> {
        said(&self.go(event))
    }

    pub(super) fn hear(&mut self, message: SupervisorMessage) -> AgentOutcome {
        let connection = self.agent.connection;
        self.go(AgentEvent::Heard { connection, message: Box::new(message) })
    }

    pub(super) fn job(&mut self, n: u64, step: JobStep) -> AgentOutcome {
        self.go(AgentEvent::Job { claim: claim(n), step })
    }

    pub(super) fn sent(&mut self, n: u64, turn: u64, upto: u64) -> AgentOutcome {
        self.go(AgentEvent::LogSent { claim: claim(n), turn: LogTurn(turn), upto: LogOffset(upto) })
    }

    pub(super) fn stored(&mut self, n: u64, upto: u64) -> AgentOutcome {
        self.log_outcome(n, LogOutcome::Stored { upto: LogOffset(upto) })
    }

    pub(super) fn refused(&mut self, n: u64) -> AgentOutcome {
        self.log_outcome(n, LogOutcome::Refused)
    }

    fn log_outcome(&mut self, n: u64, outcome: LogOutcome) -> AgentOutcome {
        let connection = self.agent.connection;
        self.go(AgentEvent::LogAcked { connection, ack: LogAck { claim: claim(n), outcome } })
    }

    pub(super) fn send_log(&self, n: u64, turn: u64, from: u64, max_bytes: u64) -> AgentEffect {
        AgentEffect::SendLog {
            connection: self.agent.connection,
            claim: claim(n),
            turn: LogTurn(turn),
            from: LogOffset(from),
            max_bytes,
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now = Now { wall: self.now.wall.after(time), mono: self.now.mono.after(time) };
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.agent.next_deadline()
    }

    pub(super) fn until_deadline(&self) -> Duration {
        self.deadline().map_or(Duration::MAX, |deadline| deadline.at.since(self.now.mono))
    }

    pub(super) fn drop_line(&mut self) {
        let connection = self.agent.connection;
        self.go(AgentEvent::Disconnected { connection });
    }

    /// Connects again, up to Hello. Waits until that is due.
    pub(super) fn reconnect_silently(&mut self) {
        if self.agent.is_up() {
            self.drop_line();
        }
        if let Link::Down { retry_at, .. } = self.agent.link {
            self.pass(retry_at.since(self.now.mono));
            self.tick();
        }
        let connection = self.agent.connection;
        assert_eq!(self.go(AgentEvent::Connected { connection }).rejections, []);
    }
}
