//! What is due, and when to look again.

use std::sync::Arc;

use super::{Orchestrator, Turn};
use crate::execution::{ExecutionState, RunState, Waiting, WaitingReason};
use crate::id::{ExecutionId, WorkerId};
use crate::time::{Deadline, Mono, Now};
use crate::worker::{Origin, TerminationCause, Worker, WorkerState};

impl Orchestrator {
    pub(super) fn on_tick(&mut self, turn: &mut Turn<'_>) {
        self.run_timers(turn);
        // Nobody was asked yet, so this is the first tick after a start.
        if self.last_list.is_none() && !self.is_ending() {
            self.retell_waiting(turn);
        }
        let workers: Vec<Arc<Worker>> = self.workers.values().cloned().collect();
        for worker in workers {
            if self.worker_deadline(&worker, turn.now).is_some_and(|due| due.at <= turn.now.mono) {
                self.worker_due(&worker, turn);
            }
        }
        if self.list_deadline(turn.now).is_some_and(|due| due.at <= turn.now.mono) {
            self.ask_list(turn);
        }
        self.release_idle(turn);
    }

    /// The supervisor was away or frozen: whoever was silent meanwhile is not to blame. Timeouts of executions and
    /// machines do not begin anew.
    pub(super) fn on_resumed(&mut self, turn: &Turn<'_>) {
        for liveness in self.liveness.values_mut() {
            liveness.heard = turn.now.mono;
            liveness.missing = None;
        }
    }

    /// When [`Event::Tick`](crate::event::Event::Tick) is due, and why. It may come earlier without harm.
    pub fn next_deadline(&self, now: Now) -> Option<Deadline> {
        let timer =
            self.timers.first().map(|&(at, _)| Deadline { at: now.mono_at(at), why: "an execution's timer" });
        let workers = self
            .workers
            .values()
            .filter_map(|worker| self.worker_deadline(worker, now))
            .chain(self.launch_after.as_ref().map(|(at, _)| Deadline { at: *at, why: "launches go on" }))
            .chain(self.list_deadline(now));
        workers.fold(timer, |earliest, due| Deadline::earliest(earliest, Some(due)))
    }

    fn run_timers(&mut self, turn: &mut Turn<'_>) {
        let due: Vec<ExecutionId> =
            self.timers.iter().take_while(|(at, _)| *at <= turn.now.wall).map(|(_, id)| *id).collect();
        for id in due {
            let Some(mut execution) = self.executions.get(&id).cloned() else {
                continue;
            };
            match &execution.state {
                ExecutionState::Queued { .. } => {
                    let waiting = Waiting { reason: WaitingReason::Worker, since: turn.now.wall };
                    Arc::make_mut(&mut execution).state = ExecutionState::Queued { waiting };
                    self.put_execution(execution, turn);
                }
                ExecutionState::Running { run: RunState::Finishing { .. }, .. } => self.give_up_log(id, turn),
                ExecutionState::Running { run: RunState::Working | RunState::Stopping(_), .. }
                | ExecutionState::Provisioning { .. }
                | ExecutionState::Starting { .. }
                | ExecutionState::Success { .. }
                | ExecutionState::Failed { .. }
                | ExecutionState::Cancelled { .. } => {}
            }
        }
    }

    fn worker_deadline(&self, worker: &Worker, now: Now) -> Option<Deadline> {
        let liveness = self.liveness.get(&worker.id)?;
        let ask = liveness.asked.map_or(Mono::default(), |asked| asked.after(self.policy.ask_again));
        let lost = Deadline { at: liveness.heard.after(self.policy.lost_after), why: "a silent agent" };
        match &worker.state {
            WorkerState::Planning { .. } => Some(Deadline { at: ask, why: "a plan" }),
            WorkerState::Launching { .. } => Some(Deadline { at: ask, why: "a launch" }),
            WorkerState::Booting { since, .. } => Some(Deadline {
                at: now.mono_at(since.after(self.policy.join_within)),
                why: "a booting machine",
            }),
            WorkerState::Idle { .. } => {
                let spare = self.may_release(worker);
                let idle = self.idle_until(worker).filter(|_| spare);
                let idle = idle.map(|at| Deadline { at: now.mono_at(at), why: "an idle worker" });
                Deadline::earliest(Some(lost), idle)
            }
            WorkerState::Busy { .. } | WorkerState::Draining { .. } => Some(lost),
            WorkerState::Terminating { .. } => match worker.origin {
                Origin::Provisioned => Some(Deadline { at: ask, why: "a termination" }),
                Origin::Joined => Some(self.dead_man_deadline(liveness.heard)),
            },
            WorkerState::Terminated { .. } => None,
        }
    }

    /// When an agent that was heard last then has stopped its jobs for certain: its dead-man timer has run out (that of
    /// each job's shim, if the agent itself is dead), with a margin.
    fn dead_man_deadline(&self, heard: Mono) -> Deadline {
        let at = heard.after(self.policy.dead_man).after(self.policy.fence_margin);
        Deadline { at, why: "a dead-man timer" }
    }

    fn worker_due(&mut self, worker: &Arc<Worker>, turn: &mut Turn<'_>) {
        let id: WorkerId = worker.id;
        match &worker.state {
            WorkerState::Planning { .. } => {
                let request = Self::request_of(worker);
                self.ask_plan(id, request, turn);
            }
            WorkerState::Launching { candidate, .. } => self.ask_launch(id, candidate.clone(), turn),
            WorkerState::Booting { .. } => self.begin_termination(id, TerminationCause::NeverJoined, turn),
            WorkerState::Idle { .. } | WorkerState::Busy { .. } | WorkerState::Draining { .. } => {
                let heard = self.liveness.get(&id).map(|liveness| liveness.heard);
                if heard.is_some_and(|heard| turn.now.mono.since(heard) >= self.policy.lost_after) {
                    self.begin_termination(id, TerminationCause::Lost, turn);
                }
            }
            WorkerState::Terminating { machine, cause, .. } => match worker.origin {
                Origin::Provisioned => self.ask_terminate(id, machine.clone(), turn),
                Origin::Joined => self.prove_gone(Arc::clone(worker), cause.clone(), turn),
            },
            WorkerState::Terminated { .. } => {}
        }
    }

    fn list_deadline(&self, now: Now) -> Option<Deadline> {
        let why = "a listing of the machines";
        match self.last_list {
            None => self.worker_limit().map(|_| Deadline { at: now.mono, why }),
            Some(last) if self.provisioned_count() > 0 || !self.strangers.is_empty() => {
                Some(Deadline { at: last.after(self.policy.list_every), why })
            }
            Some(_) => None,
        }
    }
}
