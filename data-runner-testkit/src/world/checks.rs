//! What must hold: safety after every step, liveness once everything has healed.

use std::collections::{BTreeMap, BTreeSet};

use data_runner_core::execution::{
    AttemptEnd, ConcurrencyKey, Execution, ExecutionState, FailureCause, StateName,
};
use data_runner_core::group::Group;
use data_runner_core::id::{AttemptId, ExecutionId, GroupId, WorkerId};
use data_runner_core::log::{LogChunk, LogOffset, Segment};
use data_runner_core::orchestrator::Orchestrator;
use data_runner_core::port::{LogRange, LogState};
use data_runner_core::workflow::{InstanceSize, OnOutOfMemory};

use super::host::MachineLife;
use super::{Violation, World};

impl World {
    pub(super) fn check_safety(&mut self) -> Result<(), Box<Violation>> {
        if let Some((invariant, what)) = self.cloud.broken.take() {
            return Err(self.violation(invariant, what));
        }
        self.check_processes()?;
        self.check_ended()?;
        self.check_groups()?;
        self.check_cap()?;
        self.check_hooks()?;
        self.check_keys()
    }

    fn violation(&self, invariant: &'static str, what: String) -> Box<Violation> {
        let history = self.history.iter().cloned().collect();
        Box::new(Violation { invariant, what, seed: self.seed, history })
    }

    /// I2: at most one live process an execution, over all hosts; and no attempt is ever started twice.
    fn check_processes(&self) -> Result<(), Box<Violation>> {
        let mut alive: BTreeMap<ExecutionId, AttemptId> = BTreeMap::new();
        for attempt in self.hosts.values().flat_map(super::host::Host::alive) {
            if let Some(other) = alive.insert(attempt.execution, attempt) {
                return Err(self.violation("I2", format!("{other} and {attempt} run at one time")));
            }
        }
        match self.started.iter().find(|(_, times)| **times > 1) {
            Some((attempt, times)) => {
                Err(self.violation("I2", format!("{attempt} was started {times} times")))
            }
            None => Ok(()),
        }
    }

    /// I3, I4, I8: what has ended never changes, its attempts rise by one, its log is what the job printed.
    fn check_ended(&mut self) -> Result<(), Box<Violation>> {
        for execution in self.store.executions_now() {
            if let Some(before) = self.ended.get(&execution.id) {
                if *before != *execution {
                    return Err(self.violation("I3", format!("{} changed after its end", execution.id)));
                }
                continue;
            }
            let numbers = execution.attempts.iter().map(|attempt| attempt.number.0);
            if !numbers.eq(1..=u32::try_from(execution.attempts.len()).unwrap_or(u32::MAX)) {
                return Err(
                    self.violation("I4", format!("the attempts of {} do not rise by one", execution.id))
                );
            }
            if let Some(what) = grew_wrongly(&execution) {
                return Err(self.violation("I4", what));
            }
            if execution.state.name().is_terminal() {
                let (id, state) = (execution.id, execution.state.name());
                self.note(|| format!("{id} is {state}"));
                self.check_logs(&execution)?;
                self.ended.insert(execution.id, (*execution).clone());
            }
        }
        Ok(())
    }

    fn check_logs(&self, execution: &data_runner_core::execution::Execution) -> Result<(), Box<Violation>> {
        for attempt in &execution.attempts {
            let id = execution.attempt_id(attempt.number);
            let stored = bytes_of(&self.store.read_now(id, LogRange::FromOffset(LogOffset(0)), u32::MAX));
            let summary = self.store.summary_now(id);
            let complete = matches!(summary.state, LogState::Complete { .. });
            if let LogState::Open = summary.state {
                return Err(self.violation("I8", format!("the log of {id} is still open")));
            }
            if let (Some(AttemptEnd::Reported(report)), true) = (&attempt.end, complete)
                && report.log_end.0 != stored.len() as u64
            {
                let what =
                    format!("the log of {id} has {} of {} bytes, and no gap", stored.len(), report.log_end);
                return Err(self.violation("I8", what));
            }
            if let Some(printed) = self.printed(id)
                && !printed.starts_with(&stored)
            {
                return Err(self.violation("I8", format!("the log of {id} is not what it printed")));
            }
        }
        Ok(())
    }

    /// I9, I10: never more members of a group are active than may be, and each has one execution at the most.
    fn check_groups(&self) -> Result<(), Box<Violation>> {
        let mut members = BTreeSet::new();
        let mut active: BTreeMap<GroupId, u32> = BTreeMap::new();
        for execution in self.store.executions_now() {
            let Some(membership) = execution.group else { continue };
            if !members.insert((membership.group, membership.index)) {
                let what = format!("member {} of {} has two executions", membership.index, membership.group);
                return Err(self.violation("I10", what));
            }
            *active.entry(membership.group).or_default() += u32::from(!execution.state.name().is_terminal());
        }
        let many = |group: &&std::sync::Arc<Group>| {
            group.max_parallel.is_some_and(|most| active.get(&group.id).is_some_and(|count| *count > most))
        };
        match self.store.groups_now().iter().find(many) {
            Some(group) => {
                Err(self.violation("I9", format!("too many of the group {} are active", group.id)))
            }
            None => Ok(()),
        }
    }

    /// Whether every group that clients asked for has ended.
    pub(super) fn groups_have_ended(&self) -> bool {
        self.grouped.len() == self.size.groups as usize
            && self.store.groups_now().iter().all(|group| group.state.ended_at().is_some())
    }

    /// I10: a delivery has its repository looked at once, however often it comes.
    fn check_hooks(&self) -> Result<(), Box<Violation>> {
        let (looks, sent) = (self.looks, self.delivered.len());
        if looks > sent {
            return Err(self.violation("I10", format!("{looks} looks for {sent} deliveries")));
        }
        Ok(())
    }

    /// I9: never more machines than allowed, those on their way in or out included.
    fn check_cap(&self) -> Result<(), Box<Violation>> {
        let ours = |worker: &WorkerId| !self.cloud.is_stranger(*worker);
        let on =
            self.hosts.iter().filter(|(worker, host)| host.life == MachineLife::On && ours(worker)).count();
        if on > self.size.workers as usize {
            return Err(self.violation("I9", format!("{on} machines run, {} may", self.size.workers)));
        }
        Ok(())
    }

    /// I9: never more executions under a key than may run at one time, by what runs on hosts and by what is launched or
    /// assigned.
    fn check_keys(&self) -> Result<(), Box<Violation>> {
        let on_hosts: BTreeSet<ExecutionId> =
            self.hosts.values().flat_map(super::host::Host::alive).map(|attempt| attempt.execution).collect();
        let mut under_way: BTreeMap<ConcurrencyKey, u32> = BTreeMap::new();
        for execution in self.store.executions_now() {
            let claimed = match execution.state.name() {
                StateName::Provisioning | StateName::Starting | StateName::Running => true,
                StateName::Queued | StateName::Success | StateName::Failed | StateName::Cancelled => false,
            };
            if let (Some(key), Some(rule)) = (execution.concurrency_key(), &execution.queueing.concurrency)
                && (claimed || on_hosts.contains(&execution.id))
            {
                let count = under_way.entry(key).or_insert(0);
                *count += 1;
                if *count > rule.limit.get() {
                    let what = format!("{count} run under the key {:?}, {} may", rule.key, rule.limit);
                    return Err(self.violation("I9", what));
                }
            }
        }
        Ok(())
    }

    /// After everything has healed: I1 (what was acknowledged has ended), I11 (what was cancelled too), I12 (one
    /// execution a key), I14 (recovering gives what lives).
    pub(super) fn check_liveness(&self) -> Result<(), Box<Violation>> {
        if self.acknowledged.len() != self.size.executions as usize {
            let what =
                format!("{} of {} requests were acknowledged", self.acknowledged.len(), self.size.executions);
            return Err(self.violation("I1", what));
        }
        for (client, id) in &self.acknowledged {
            let state = self.store.execution_now(*id).map(|execution| execution.state);
            match state {
                None => return Err(self.violation("I1", format!("{id} of client {client} is lost"))),
                Some(state) if !state.name().is_terminal() => {
                    let invariant = if self.cancelled.contains(id) { "I11" } else { "I1" };
                    return Err(self.violation(invariant, format!("{id} has not ended: {state:?}")));
                }
                Some(ExecutionState::Failed { failure, .. }) if failure.message.is_empty() => {
                    return Err(self.violation("I1", format!("{id} failed without a reason")));
                }
                Some(_) => {}
            }
        }
        if !self.groups_have_ended() {
            return Err(self.violation("I1", "a group has not ended".to_owned()));
        }
        let distinct: BTreeSet<_> = self.acknowledged.values().collect();
        let alone = self.store.executions_now().iter().filter(|it| it.group.is_none()).count();
        let groups = self.store.groups_now().len();
        if distinct.len() != self.acknowledged.len()
            || alone != distinct.len()
            || groups != self.size.groups as usize
        {
            return Err(self.violation("I12", "a repeated request made another execution".to_owned()));
        }
        if !self.no_machine_is_left() {
            return Err(self.violation("I6", "machines are left that nobody needs".to_owned()));
        }
        self.check_recovery()
    }

    fn check_recovery(&self) -> Result<(), Box<Violation>> {
        let (Some(live), Some(epoch)) = (self.supervisor.orchestrator(), self.supervisor.epoch()) else {
            return Ok(());
        };
        let Ok(snapshot) = self.store.load_now(epoch) else {
            return Err(self.violation("I14", "the state cannot be loaded".to_owned()));
        };
        let recovered =
            Orchestrator::recover(snapshot, self.supervisor.policy().clone(), epoch, self.clock());
        if recovered.durable() != live.durable() {
            return Err(self.violation("I14", "recovering gives another state than lives".to_owned()));
        }
        let unended =
            live.executions().filter(|execution| execution.state.name() == StateName::Running).count();
        if unended > 0 && self.is_quiet() {
            return Err(self.violation("I1", format!("{unended} executions run for ever")));
        }
        Ok(())
    }
}

/// The output that chunks hold, in order.
pub(super) fn bytes_of(chunks: &[LogChunk]) -> Vec<u8> {
    let segments = chunks.iter().flat_map(|chunk| chunk.segments().expect("nothing damages a chunk here"));
    let mut bytes = Vec::new();
    for segment in segments {
        match segment {
            Segment::Output { bytes: output, .. } => bytes.extend_from_slice(&output),
            Segment::Missing { .. } => {}
        }
    }
    bytes
}

/// What is wrong with how an execution went up in size: each time after an attempt that ran out of memory, by leave.
fn grew_wrongly(execution: &Execution) -> Option<String> {
    let mut before =
        execution.instance_size.parse().ok().map(|size: InstanceSize| size.resources().memory_bytes);
    for enlarged in &execution.enlarged {
        let attempt = execution.attempts.iter().find(|attempt| attempt.number == enlarged.after);
        let failure = attempt.and_then(|attempt| attempt.end.as_ref()?.failure());
        let memory = enlarged.to.resources().memory_bytes;
        let granted = execution.compute.on_out_of_memory == OnOutOfMemory::Larger;
        if !granted
            || failure.is_none_or(|it| it.cause != FailureCause::OutOfMemory)
            || before >= Some(memory)
        {
            return Some(format!("{} went up to {} without cause", execution.id, enlarged.to));
        }
        before = Some(memory);
    }
    None
}
