//! What holds whatever happens: random lives of an agent, with restarts at any moment.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    unused_must_use
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::run::Step;
use super::sample::*;
use super::*;
use crate::execution::{Failure, FailureCause, StopReason};
use crate::id::Epoch;
use crate::log::LogOffset;
use crate::message::{SupervisorMessage, Verdict};
use crate::port::{JobNews, Retry};

/// One thing that happens; the numbers choose among what can happen.
#[derive(Debug, Clone)]
enum Happening {
    Time(u64),
    Signal,
    Notice(bool),
    Line(u8),
    Command(u8, u64, u64),
    Answer(u8, u8),
    Ack(u64, u64, bool),
    Restart,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0_u64..20_000).prop_map(Happening::Time),
        1 => Just(Happening::Signal),
        1 => any::<bool>().prop_map(Happening::Notice),
        4 => (0_u8..6).prop_map(Happening::Line),
        6 => (0_u8..6, 1_u64..5, 0_u64..2).prop_map(|(a, b, c)| Happening::Command(a, b, c)),
        12 => (0_u8..8, any::<u8>()).prop_map(|(a, b)| Happening::Answer(a, b)),
        3 => (1_u64..5, 0_u64..3, any::<bool>()).prop_map(|(a, b, c)| Happening::Ack(a, b, c)),
        1 => Just(Happening::Restart),
    ]
}

/// The world around the agent: what it was asked to do and has not answered, and what must never happen twice.
struct World {
    rig: Rig,
    slots: u32,
    asked: Vec<AgentEffect>,
    disk: BTreeMap<AttemptId, RunRecord>,
    started: BTreeSet<Claim>,
    alive: BTreeSet<Claim>,
    logs: BTreeMap<Claim, u64>,
    /// What is over; and what was over when this process began: no supervisor assigns that again.
    over: BTreeSet<Claim>,
    over_before: BTreeSet<Claim>,
}

impl World {
    fn new(slots: u32) -> Self {
        Self {
            rig: Rig::new(slots),
            slots,
            asked: Vec::new(),
            disk: BTreeMap::new(),
            started: BTreeSet::new(),
            alive: BTreeSet::new(),
            logs: BTreeMap::new(),
            over: BTreeSet::new(),
            over_before: BTreeSet::new(),
        }
    }

    fn claim(n: u64, lease_number: u64) -> Claim {
        if lease_number == 0 { claim(n) } else { Claim { lease: lease(100 + n), ..claim(n) } }
    }

    fn go(&mut self, event: AgentEvent) {
        let outcome = self.rig.go(event);
        for record in outcome.records {
            match record {
                AgentRecord::Run(run) => {
                    self.disk.insert(run.claim.attempt, run);
                }
                AgentRecord::Identity(_) => {}
            }
        }
        for effect in outcome.effects {
            self.check(&effect);
            match effect {
                AgentEffect::Send { .. } | AgentEffect::Disconnect { .. } => {}
                AgentEffect::End(_) => {}
                other => self.asked.push(other),
            }
        }
        self.invariants();
    }

    fn check(&mut self, effect: &AgentEffect) {
        match effect {
            AgentEffect::Start { claim } => {
                assert!(self.started.insert(*claim), "started twice: {claim}");
                assert_eq!(self.disk.get(&claim.attempt).map(|run| run.claim), Some(*claim), "not on disk");
            }
            AgentEffect::FetchCode { claim, .. } | AgentEffect::Prepare { claim } => {
                assert_eq!(self.disk.get(&claim.attempt).map(|run| run.claim), Some(*claim), "not on disk");
            }
            AgentEffect::RemoveFolder { claim } => {
                assert!(!self.alive.contains(claim), "the folder of a live job is removed");
            }
            _ => {}
        }
    }

    fn invariants(&self) {
        let agent = &self.rig.agent;
        // After a restart an attempt that has ended is adopted before that is known again; so processes count.
        let young = |run: &&Run| matches!(run.step, Step::Fetching { .. } | Step::Preparing | Step::Starting);
        let on_the_way = agent.runs.values().filter(young).count();
        let live = self.alive.len().max(on_the_way);
        assert!(live <= self.slots as usize, "{live} attempts on {} slots", self.slots);
        for run in agent.runs.values() {
            let (acked, sent, end) = run.log.offsets();
            assert!(acked <= sent && sent <= end, "{acked} {sent} {end}");
            if !matches!(run.step, Step::Leaving) {
                assert_eq!(self.disk.get(&run.claim.attempt), Some(&run.record()), "disk and memory differ");
            }
        }
        assert!(self.disk.keys().all(|attempt| agent.runs.contains_key(attempt)), "a record without a run");
        if let Some(deadline) = agent.next_deadline() {
            let mut again = self.rig.clone();
            if deadline.at <= again.now.mono {
                let _outcome = again.tick();
                let _outcome = again.tick();
                let next = again.agent.next_deadline();
                assert!(next.is_none_or(|next| next.at > again.now.mono), "it spins: {next:?}");
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        let connection = self.rig.agent.connection;
        match happening {
            Happening::Time(millis) => {
                self.rig.pass(Duration::from_millis(millis));
                self.go(AgentEvent::Tick);
            }
            Happening::Signal => self.go(AgentEvent::Terminate),
            Happening::Notice(going) => {
                let notice = if going { MachineNotice::Going } else { MachineNotice::AtRisk };
                self.go(AgentEvent::Machine(notice))
            }
            Happening::Line(0) => self.go(AgentEvent::Disconnected { connection }),
            Happening::Line(1) => self.go(AgentEvent::ConnectFailed { connection, retry: Retry::Later }),
            Happening::Line(_) => self.come_up(),
            Happening::Command(kind, n, lease) => self.command(kind, n, lease),
            Happening::Answer(which, how) => self.answer(which, how),
            Happening::Ack(n, part, refused) => {
                let end = self.logs.get(&claim(n)).copied().unwrap_or(0);
                let sent = self.rig.agent.runs.get(&claim(n).attempt).map_or(0, |run| run.log.offsets().1.0);
                let outcome = if refused {
                    crate::message::LogOutcome::Refused
                } else {
                    crate::message::LogOutcome::Stored { upto: LogOffset((end * part / 2).min(sent)) }
                };
                let ack = crate::message::LogAck { claim: claim(n), outcome };
                self.go(AgentEvent::LogAcked { connection, ack });
            }
            Happening::Restart => self.restart(),
        }
    }

    fn come_up(&mut self) {
        let connection = self.rig.agent.connection;
        self.go(AgentEvent::Connected { connection });
        let verdicts = self
            .rig
            .agent
            .runs
            .values()
            .map(|run| {
                let verdict = match run.claim.attempt.execution.uuid().as_u128() % 5 {
                    4 => Verdict::Stop,
                    _ => Verdict::Keep { log_from: run.log.offsets().0 },
                };
                (run.claim, verdict)
            })
            .collect();
        let message = Box::new(SupervisorMessage::Welcome(welcome(verdicts)));
        self.go(AgentEvent::Heard { connection, message });
    }

    fn command(&mut self, kind: u8, n: u64, lease: u64) {
        let claim = Self::claim(n, lease);
        let epoch = Epoch(2);
        if kind <= 2 && self.over_before.contains(&claim) {
            return;
        }
        let message = match kind {
            0..=2 if n.is_multiple_of(2) => assign_with_files(claim),
            0..=2 => assign(claim),
            3 => SupervisorMessage::Cancel { claim, epoch, reason: StopReason::Cancelled },
            4 => SupervisorMessage::Cancel { claim, epoch, reason: StopReason::Disowned },
            _ => SupervisorMessage::StatusAck { claim },
        };
        let connection = self.rig.agent.connection;
        self.go(AgentEvent::Heard { connection, message: Box::new(message) });
    }

    /// Answers one of the effects that wait for an answer, as the machine might.
    fn answer(&mut self, which: u8, how: u8) {
        if self.asked.is_empty() {
            return;
        }
        let effect = self.asked.remove(usize::from(which) % self.asked.len());
        let failure = Failure::new(FailureCause::Environment, "no");
        let step = |claim, step| AgentEvent::Job { claim, step };
        let event = match effect {
            AgentEffect::Connect { .. } => return self.come_up(),
            AgentEffect::FetchCode { claim, .. } => match how % 4 {
                0 => step(claim, JobStep::CodeDelayed { message: String::new() }),
                1 => step(claim, JobStep::Impossible { failure }),
                _ => step(claim, JobStep::CodeReady),
            },
            AgentEffect::Prepare { claim } if how.is_multiple_of(4) => {
                step(claim, JobStep::Impossible { failure })
            }
            AgentEffect::Prepare { claim } => step(claim, JobStep::EnvironmentReady { packages: None }),
            AgentEffect::Halt { claim } => step(claim, JobStep::Halted),
            AgentEffect::Start { claim } => {
                if how % 4 < 3 {
                    self.alive.insert(claim);
                }
                match how % 4 {
                    0 | 3 => step(claim, JobStep::Unclear),
                    _ => step(claim, JobStep::Started),
                }
            }
            AgentEffect::Adopt { claim, .. } => match (self.alive.contains(&claim), how % 4) {
                (_, 0) => step(claim, JobStep::AdoptFailed),
                (true, _) => step(claim, JobStep::Adopted { running_for: Duration::from_secs(1) }),
                (false, _) => step(claim, JobStep::NotFound { message: String::new() }),
            },
            AgentEffect::Watch { claim, seen } => {
                let end = self.logs.entry(claim).or_insert(0);
                *end = (*end).max(seen.0);
                if how.is_multiple_of(3) {
                    self.alive.remove(&claim);
                    step(claim, ended(0, *end))
                } else {
                    *end += u64::from(how);
                    step(claim, JobStep::News(JobNews::Log(LogOffset(*end))))
                }
            }
            AgentEffect::KeepArtifacts { claim } => match how % 3 {
                0 => step(claim, JobStep::ArtifactsDelayed { message: String::new() }),
                _ => step(claim, kept()),
            },
            AgentEffect::SendLog { claim, turn, from, max_bytes, .. } => {
                let upto = LogOffset(from.0 + if how.is_multiple_of(4) { 0 } else { max_bytes });
                AgentEvent::LogSent { claim, turn, upto }
            }
            AgentEffect::RemoveFolder { claim } => {
                self.disk.remove(&claim.attempt);
                self.over.insert(claim);
                step(claim, JobStep::FolderRemoved)
            }
            AgentEffect::Stop { .. }
            | AgentEffect::Send { .. }
            | AgentEffect::Disconnect { .. }
            | AgentEffect::GiveUpArtifacts { .. }
            | AgentEffect::End(_) => return,
        };
        self.go(event);
    }

    /// The process dies and another begins. A start that was under way may or may not have made a process.
    fn restart(&mut self) {
        let expected: BTreeMap<AttemptId, RunRecord> = self.disk.clone();
        for effect in std::mem::take(&mut self.asked) {
            if let AgentEffect::Start { claim } = effect {
                self.alive.insert(claim);
            }
        }
        self.over_before = self.over.clone();
        let identity = self.rig.agent.identity;
        let mut rig = Rig { now: self.rig.now, ..Rig::new(self.slots) };
        rig.agent = Agent::recover(
            AgentIdentity { incarnation: identity.incarnation + 1, ..identity },
            self.disk.values().cloned().collect(),
            rig.agent.facts.clone(),
            rig.agent.policy,
            rig.now,
        );
        self.rig = rig;
        let recovered: BTreeMap<_, _> =
            self.rig.agent.held().map(|record| (record.claim.attempt, record)).collect();
        assert_eq!(recovered, expected, "what was recovered is not what was recorded");
        self.go(AgentEvent::Tick);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_starts_twice_slots_hold_offsets_are_ordered_and_the_disk_tells_all(
        slots in 1_u32..3,
        happenings in prop::collection::vec(happening(), 1..150),
    ) {
        let mut world = World::new(slots);
        world.go(AgentEvent::Tick);
        for happening in happenings {
            world.happen(happening);
        }
    }

    #[test]
    fn equal_lives_give_equal_decisions(happenings in prop::collection::vec(happening(), 1..40)) {
        let (mut one, mut other) = (World::new(1), World::new(1));
        for happening in happenings {
            one.happen(happening.clone());
            other.happen(happening);
            prop_assert_eq!(&one.asked, &other.asked);
        }
    }
}
