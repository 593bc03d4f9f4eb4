//! Reaching the supervisor, greeting it, and losing it.

use std::time::Duration;

use super::{Agent, AgentEffect, AgentRecord, AgentRejection, ConnectionId, Stage, Turn};
use crate::execution::StopReason;
use crate::id::{Claim, Epoch};
use crate::message::{
    AgentMessage, AttemptStatus, HeldAttempt, Hello, SupervisorMessage, Verdict, Welcome, WorkerStatus,
};
use crate::port::Retry;
use crate::time::{Deadline, Mono};

/// A supervisor that asks for more heartbeats than this is not listened to.
const SHORTEST_HEARTBEAT: Duration = Duration::from_millis(100);

/// How the agent is connected. The connection's name is [`Agent::connection`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// Not at all; after so many failed tries in a row.
    Down { retry_at: Mono, failures: u32 },
    /// A session is being opened.
    Connecting { give_up_at: Mono, failures: u32 },
    /// Hello was said; no answer yet.
    Greeting { give_up_at: Mono, failures: u32 },
    /// Welcome was said.
    Up { heartbeat: Duration, beat_at: Mono },
}

impl Link {
    pub(super) fn deadline(self) -> Deadline {
        match self {
            Self::Down { retry_at, .. } => Deadline { at: retry_at, why: "connect again" },
            Self::Connecting { give_up_at, .. } => {
                Deadline { at: give_up_at, why: "connecting takes too long" }
            }
            Self::Greeting { give_up_at, .. } => Deadline { at: give_up_at, why: "no answer to hello" },
            Self::Up { beat_at, .. } => Deadline { at: beat_at, why: "heartbeat" },
        }
    }

    const fn failures(self) -> u32 {
        match self {
            Self::Down { failures, .. }
            | Self::Connecting { failures, .. }
            | Self::Greeting { failures, .. } => failures,
            Self::Up { .. } => 0,
        }
    }
}

impl Agent {
    pub(super) const fn is_up(&self) -> bool {
        match self.link {
            Link::Up { .. } => true,
            Link::Down { .. } | Link::Connecting { .. } | Link::Greeting { .. } => false,
        }
    }

    /// Says something, if there is a session. What is said at other times is derived again when there is one.
    pub(super) fn say(&self, message: AgentMessage, turn: &mut Turn<'_>) {
        if self.is_up() {
            turn.effect(AgentEffect::Send { connection: self.connection, message: Box::new(message) });
        }
    }

    pub(super) fn on_connected(&mut self, connection: ConnectionId, turn: &mut Turn<'_>) {
        let Link::Connecting { failures, .. } = self.link else {
            return self.reject_session("an opened session", connection, turn);
        };
        if connection != self.connection {
            return self.reject_session("an opened session", connection, turn);
        }
        self.link = Link::Greeting { give_up_at: turn.now.mono.after(self.policy.greeting), failures };
        let attempts = self
            .runs
            .values()
            .filter_map(|run| {
                let packages = run.packages.clone();
                Some(HeldAttempt { claim: run.claim, status: run.latest_status(turn.now)?, packages })
            })
            .collect();
        let hello = Hello {
            incarnation: self.identity.incarnation,
            epoch: self.identity.epoch,
            facts: self.facts.clone(),
            attempts,
        };
        turn.effect(AgentEffect::Send { connection, message: Box::new(AgentMessage::Hello(hello)) });
    }

    pub(super) fn on_connect_failed(&mut self, connection: ConnectionId, retry: Retry, turn: &mut Turn<'_>) {
        match self.link {
            Link::Connecting { failures, .. } if connection == self.connection => {
                // Whoever is refused goes on asking, seldom: a person may mend it at the other end.
                let failures = match retry {
                    Retry::Later => failures.saturating_add(1),
                    Retry::Never => u32::MAX,
                };
                self.go_down(failures, turn);
            }
            Link::Connecting { .. } | Link::Down { .. } | Link::Greeting { .. } | Link::Up { .. } => {
                self.reject_session("a failed try to connect", connection, turn);
            }
        }
    }

    pub(super) fn on_disconnected(&mut self, connection: ConnectionId, turn: &mut Turn<'_>) {
        match self.link {
            Link::Connecting { .. } | Link::Greeting { .. } | Link::Up { .. }
                if connection == self.connection =>
            {
                self.go_down(self.link.failures().saturating_add(1), turn);
            }
            Link::Connecting { .. } | Link::Greeting { .. } | Link::Up { .. } | Link::Down { .. } => {
                self.reject_session("the end of a session", connection, turn);
            }
        }
    }

    /// Gives up the session, or the try.
    pub(super) fn hang_up(&mut self, turn: &mut Turn<'_>) {
        match self.link {
            Link::Down { .. } => {}
            Link::Connecting { .. } | Link::Greeting { .. } | Link::Up { .. } => {
                turn.effect(AgentEffect::Disconnect { connection: self.connection });
                self.go_down(self.link.failures().saturating_add(1), turn);
            }
        }
    }

    fn go_down(&mut self, failures: u32, turn: &mut Turn<'_>) {
        if self.is_up() {
            self.contact = turn.now.mono;
        }
        let base = self.policy.backoff(failures.saturating_sub(1));
        let wait = turn.entropy.jittered(base).min(self.policy.longest_backoff);
        self.link = Link::Down { retry_at: turn.now.mono.after(wait), failures };
        self.waiting.clear();
        for run in self.runs.values_mut() {
            run.log.shut();
        }
    }

    pub(super) fn on_heard(
        &mut self,
        connection: ConnectionId,
        message: SupervisorMessage,
        turn: &mut Turn<'_>,
    ) {
        if connection != self.connection {
            return self.reject_session("a message", connection, turn);
        }
        match (self.link, message) {
            (Link::Greeting { .. }, SupervisorMessage::Welcome(welcome)) => self.on_welcome(&welcome, turn),
            (Link::Up { .. }, SupervisorMessage::Assign(assign)) => self.on_assign(assign, turn),
            (Link::Up { .. }, SupervisorMessage::Cancel { claim, epoch, reason }) => {
                self.on_cancel(claim, epoch, reason, turn);
            }
            (Link::Up { .. }, SupervisorMessage::StatusAck { claim }) => self.on_status_ack(claim, turn),
            (Link::Up { .. }, SupervisorMessage::Drain { epoch }) => self.on_drain(epoch, turn),
            (Link::Up { .. }, SupervisorMessage::Welcome(_)) => {
                self.reject_session("a second welcome", connection, turn);
            }
            (
                Link::Greeting { .. },
                SupervisorMessage::Assign(_)
                | SupervisorMessage::Cancel { .. }
                | SupervisorMessage::StatusAck { .. }
                | SupervisorMessage::Drain { .. },
            ) => self.reject_session("a command before welcome", connection, turn),
            (
                Link::Down { .. } | Link::Connecting { .. },
                SupervisorMessage::Welcome(_)
                | SupervisorMessage::Assign(_)
                | SupervisorMessage::Cancel { .. }
                | SupervisorMessage::StatusAck { .. }
                | SupervisorMessage::Drain { .. },
            ) => self.reject_session("a message without a session", connection, turn),
        }
    }

    fn on_welcome(&mut self, welcome: &Welcome, turn: &mut Turn<'_>) {
        if !self.obeys(welcome.epoch, turn) {
            return self.hang_up(turn);
        }
        if self.identity.dead_man != Some(welcome.dead_man) {
            self.identity.dead_man = Some(welcome.dead_man);
            turn.record(AgentRecord::Identity(self.identity));
        }
        self.resume_keeping(turn.now.mono);
        let heartbeat = welcome.heartbeat.max(SHORTEST_HEARTBEAT);
        self.link = Link::Up { heartbeat, beat_at: turn.now.mono.after(heartbeat) };
        for run in self.runs.values() {
            if run.latest_status(turn.now).is_some()
                && welcome.verdicts.iter().all(|(claim, _)| *claim != run.claim)
            {
                turn.reject(AgentRejection::NoVerdict { claim: run.claim });
            }
        }
        let repeat_at = turn.now.mono.after(self.policy.repeat);
        for (claim, verdict) in &welcome.verdicts {
            match verdict {
                Verdict::Keep { log_from } => match self.run_mut(*claim, "a verdict") {
                    Ok(run) => {
                        run.log.open(*log_from, turn.now.mono);
                        let statuses = run.statuses(turn.now);
                        run.repeat_end(repeat_at);
                        for status in statuses {
                            self.report(*claim, status, turn);
                        }
                    }
                    Err(rejection) => turn.reject(rejection),
                },
                Verdict::Stop => self.stop(*claim, StopReason::Disowned, turn),
            }
        }
        if self.stage != Stage::Serving {
            self.say(AgentMessage::Draining, turn);
        }
    }

    /// Whether a command under this epoch counts; a higher one than before is recorded.
    pub(super) fn obeys(&mut self, epoch: Epoch, turn: &mut Turn<'_>) -> bool {
        if epoch < self.identity.epoch {
            turn.reject(AgentRejection::StaleEpoch { given: epoch, ours: self.identity.epoch });
            return false;
        }
        if epoch > self.identity.epoch {
            self.identity.epoch = epoch;
            turn.record(AgentRecord::Identity(self.identity));
        }
        true
    }

    /// What is due on the session, by time alone.
    pub(super) fn settle_link(&mut self, turn: &mut Turn<'_>) {
        if turn.now.mono < self.link.deadline().at {
            return;
        }
        match self.link {
            Link::Down { .. } if self.stage == Stage::Abandoned => {}
            Link::Down { failures, .. } => {
                self.connection.0 += 1;
                self.link =
                    Link::Connecting { give_up_at: turn.now.mono.after(self.policy.greeting), failures };
                turn.effect(AgentEffect::Connect { connection: self.connection });
            }
            Link::Connecting { .. } | Link::Greeting { .. } => self.hang_up(turn),
            Link::Up { heartbeat, .. } => {
                self.link = Link::Up { heartbeat, beat_at: turn.now.mono.after(heartbeat) };
                self.say(AgentMessage::HeartBeat, turn);
            }
        }
    }

    pub(super) fn reject_session(&self, what: &'static str, connection: ConnectionId, turn: &mut Turn<'_>) {
        turn.reject(AgentRejection::OutOfSession { what, connection });
    }

    /// Reports how far an attempt is.
    pub(super) fn report(&self, claim: Claim, status: AttemptStatus, turn: &mut Turn<'_>) {
        let held = self.runs.get(&claim.attempt).filter(|run| run.claim == claim);
        let packages = held.and_then(|run| run.packages.clone());
        self.say(AgentMessage::WorkerStatus(WorkerStatus { claim, status, packages }), turn);
    }
}
