//! What is due, and when to look again.

use std::sync::Arc;

use super::{Orchestrator, Pause, Turn};
use crate::execution::{ExecutionState, RunState, Waiting, WaitingReason};
use crate::id::{ExecutionId, WorkerId};
use crate::time::{Deadline, Mono, Now, Timestamp};
use crate::worker::{Origin, TerminationCause, Worker, WorkerState};

impl Orchestrator {
    pub(super) fn on_tick(&mut self, turn: &mut Turn<'_>) {
        self.run_timers(turn);
        self.tell_late(turn);
        self.run_schedules(turn);
        self.run_starts(turn);
        self.sweep(turn);
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
            .chain(self.pause.as_ref().filter(|pause| pause.until > now.mono).map(Pause::deadline))
            .chain(self.list_deadline(now))
            .chain(self.late_deadline(now))
            .chain(self.schedule_deadline(now))
            .chain(self.start_deadline())
            .chain(Some(self.sweep_deadline()))
            .chain(self.group_deadline(now));
        workers.fold(timer, |earliest, due| Deadline::earliest(earliest, Some(due)))
    }

    fn run_timers(&mut self, turn: &mut Turn<'_>) {
        let due: Vec<ExecutionId> =
            self.timers.iter().take_while(|(at, _)| *at <= turn.now.wall).map(|(_, id)| *id).collect();
        for id in due {
            let Some(mut execution) = self.executions.get(&id).cloned() else {
                continue;
            };
            if self.passes_budget(&execution, turn) {
                continue;
            }
            match &execution.state {
                ExecutionState::Queued { .. } | ExecutionState::Provisioning { .. }
                    if execution.start_by.is_some_and(|by| by <= turn.now.wall) =>
                {
                    self.fail_waiting(&execution, turn);
                }
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
        let policy = &self.policy;
        let at = |wall: Timestamp, why| Some(Deadline { at: now.mono_at(wall), why });
        let ask = |why| Some(Deadline { at: liveness.ask_after, why });
        let lost = Some(Deadline { at: liveness.heard.after(policy.lost_after), why: "a silent agent" });
        let step = match &worker.state {
            WorkerState::Planning { since } => {
                Deadline::earliest(ask("a plan"), at(since.after(policy.plan_within), "the end of planning"))
            }
            WorkerState::Launching { since, .. } => Deadline::earliest(
                ask("a launch"),
                at(since.after(policy.launch_within), "a launch without an answer"),
            ),
            WorkerState::Booting { since, .. } => match liveness.console {
                None => at(since.after(policy.join_within), "a booting machine"),
                Some(asked) => Some(Deadline { at: asked.after(policy.console_within), why: "a console" }),
            },
            WorkerState::Idle { .. } => {
                let spare = self.may_release(worker);
                let idle = self.idle_until(worker).filter(|_| spare);
                Deadline::earliest(lost, idle.and_then(|until| at(until, "an idle worker")))
            }
            WorkerState::Draining { attempts, since, .. } if attempts.is_empty() => {
                Deadline::earliest(lost, at(since.after(policy.drain_within), "a draining agent"))
            }
            WorkerState::Busy { .. } | WorkerState::Draining { .. } => lost,
            WorkerState::Terminating { .. } => {
                return match worker.origin {
                    Origin::Provisioned => ask("a termination"),
                    Origin::Joined => Some(self.dead_man_deadline(liveness.heard)),
                };
            }
            WorkerState::Terminated { .. } => return None,
        };
        let hard = worker.deadline().and_then(|until| at(until, "the end of a machine's time"));
        Deadline::earliest(step, hard)
    }

    /// When an agent that was heard last then has stopped its jobs for certain: its dead-man timer has run out (that of
    /// each job's shim, if the agent itself is dead), with a margin.
    fn dead_man_deadline(&self, heard: Mono) -> Deadline {
        let at = heard.after(self.policy.dead_man).after(self.policy.fence_margin);
        Deadline { at, why: "a dead-man timer" }
    }

    fn worker_due(&mut self, worker: &Arc<Worker>, turn: &mut Turn<'_>) {
        let id: WorkerId = worker.id;
        let now = turn.now.wall;
        let over = worker.deadline().is_some_and(|deadline| deadline <= now);
        let policy = &self.policy;
        match &worker.state {
            WorkerState::Planning { since } if over || since.after(policy.plan_within) <= now => {
                self.hold_launch(Arc::clone(worker), "the provisioner does not answer".to_owned(), turn);
            }
            WorkerState::Planning { .. } => {
                let request = Self::request_of(worker);
                self.ask_plan(id, request, turn);
            }
            WorkerState::Launching { .. }
            | WorkerState::Booting { .. }
            | WorkerState::Idle { .. }
            | WorkerState::Busy { .. }
            | WorkerState::Draining { .. }
                if over =>
            {
                self.begin_termination(id, TerminationCause::Deadline, turn);
            }
            WorkerState::Launching { since, .. } if since.after(policy.launch_within) <= now => {
                let message = "there was no definite answer for too long".to_owned();
                self.begin_termination(id, TerminationCause::LaunchFailed { message }, turn);
            }
            WorkerState::Launching { candidate, .. } => self.ask_launch(id, candidate.clone(), turn),
            WorkerState::Booting { machine, .. } => self.join_time_over(id, machine.clone(), turn),
            WorkerState::Draining { attempts, cause, since, .. }
                if attempts.is_empty() && since.after(policy.drain_within) <= now =>
            {
                let cause = cause.clone();
                self.begin_termination(id, cause, turn);
            }
            WorkerState::Idle { .. } | WorkerState::Busy { .. } | WorkerState::Draining { .. } => {
                let heard = self.liveness.get(&id).map(|liveness| liveness.heard);
                if heard.is_some_and(|heard| turn.now.mono.since(heard) >= policy.lost_after) {
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
        self.worker_limit()?;
        let why = "a listing of the machines";
        let Some(last) = self.last_list else {
            return Some(Deadline { at: now.mono, why });
        };
        let some = self.provisioned_count() > 0 || !self.strangers.is_empty();
        let wait = if some { self.policy.list_every } else { self.policy.list_idle_every };
        Some(Deadline { at: last.after(wait), why })
    }
}

impl Pause {
    const fn deadline(&self) -> Deadline {
        Deadline { at: self.until, why: "launches go on" }
    }
}
