//! What people ask for.

use std::sync::Arc;

use super::late::late_at;
use super::place::provisioning_worker;
use super::starts::start_of;
use super::{Orchestrator, Stage, Turn};
use crate::event::{
    Answer, Change, EventKind, Pausing, Rejection, ReplyTo, Request, ShutDown, Submit, Synced,
};
use crate::execution::{
    Execution, ExecutionState, RunState, StateName, Stop, StopReason, Trigger, Waiting, WaitingReason,
};
use crate::group::GroupOrder;
use crate::id::{ExecutionId, GroupId, RepoName, WorkerId, WorkflowId};
use crate::message::SupervisorMessage;
use crate::port::{IdempotencyRecord, Made};
use crate::worker::{TerminationCause, WorkerState};
use crate::workflow::{Presence, Repo, Workflow, sync};

impl Orchestrator {
    pub(super) fn on_request(&mut self, reply: ReplyTo, request: Request, turn: &mut Turn<'_>) {
        let answer = match request {
            Request::Submit(submit) => self.submit(submit, turn),
            Request::StartGroup(order) => self.start_group(*order, turn),
            Request::ChangeGroup { group, wish, by } => self.change_group(group, wish, &by, turn),
            Request::Cancel { execution, by } => self.cancel(execution, &by, turn),
            Request::Register { repo, synced } => Ok(self.register(repo, synced, turn)),
            Request::Unpushed(folder) => self.unpushed(folder, turn),
            Request::Pause { workflow, wanted } => self.pause(workflow, wanted, turn),
            Request::DeleteWorkflow { workflow } => self.delete_workflow(workflow, turn),
            Request::DrainWorker { worker } => self.drain_worker(worker, turn),
            Request::TerminateWorker { worker } => self.terminate_worker(worker, turn),
            Request::Join { worker, key } => Ok(self.join(worker, key, turn)),
            Request::Hook(delivery) => self.hook(delivery, turn),
            Request::KeepArtifact(keep) => self.keep_artifact(*keep, turn),
            Request::ForgetArtifacts { artifacts, before } => {
                Ok(Self::forget_artifacts(artifacts, before, turn))
            }
            Request::ShutDown(how) => {
                self.shut_down(how, reply, turn);
                return;
            }
        };
        turn.reply(reply, answer.unwrap_or_else(Answer::Rejected));
    }

    fn submit(&mut self, mut submit: Submit, turn: &mut Turn<'_>) -> Result<Answer, Rejection> {
        if let Some(made) = self.made_before(&submit, turn)? {
            return Ok(Answer::Existing(made));
        }
        if let Err(rejection) = self.make_way(submit.workflow, &submit.queueing, None, turn) {
            if let Some(start) = start_of(&submit) {
                self.skip_start(&start, rejection.to_string(), turn);
            }
            return Err(rejection);
        }
        let now = turn.now.wall;
        let id = ExecutionId::generate(now, turn.entropy);
        self.remember(&mut submit, Made::Execution(id), turn);
        let waiting = Waiting { reason: self.why_waiting(), since: now };
        let execution = Arc::new(submit.into_execution(id, waiting));
        turn.record_execution(EventKind::ExecutionQueued, &execution, how_submitted(&execution.trigger));
        self.put_execution(Arc::clone(&execution), turn);
        self.retell_place(id, turn);
        Ok(Answer::Execution(self.executions.get(&id).cloned().unwrap_or(execution)))
    }

    fn start_group(&mut self, mut order: GroupOrder, turn: &mut Turn<'_>) -> Result<Answer, Rejection> {
        if let Some(made) = self.made_before(&order.submit, turn)? {
            return Ok(Answer::Existing(made));
        }
        let id = GroupId::generate(turn.now.wall, turn.entropy);
        self.remember(&mut order.submit, Made::Group(id), turn);
        Ok(Answer::Group(self.make_group(order, id, turn)))
    }

    /// What the same submission made before; `None`: it may be done now.
    fn made_before(&mut self, submit: &Submit, turn: &mut Turn<'_>) -> Result<Option<Made>, Rejection> {
        if let Some(key) = &submit.idempotency
            && let Some(known) = key.known.as_ref().or_else(|| self.keys.get(&key.key))
        {
            if known.body != key.body {
                return Err(Rejection::KeyReused { key: key.key.clone() });
            }
            let made = known.made;
            if let Some(start) = start_of(submit) {
                self.settle_start(&start, made.into(), turn);
            }
            return Ok(Some(made));
        }
        if self.is_ending() {
            return Err(Rejection::ShuttingDown);
        }
        self.check_runnable(submit.workflow)?;
        match start_of(submit).filter(|start| !self.is_claimed(start)) {
            Some(start) => Err(Rejection::StartSettled(Box::new(start))),
            None => Ok(None),
        }
    }

    /// The submission has its turn: the same one again leads to what it makes, and its start is settled.
    fn remember(&mut self, submit: &mut Submit, made: Made, turn: &mut Turn<'_>) {
        if let Some(key) = submit.idempotency.take() {
            let record = IdempotencyRecord { key: key.key.clone(), body: key.body, made, at: turn.now.wall };
            self.keys.insert(key.key, record.clone());
            turn.change(Change::PutIdempotency(record));
        }
        if let Some(start) = start_of(submit) {
            self.settle_start(&start, made.into(), turn);
        }
    }

    pub(super) fn check_runnable(&self, id: WorkflowId) -> Result<(), Rejection> {
        let workflow = self.workflows.get(&id).ok_or(Rejection::NoSuchWorkflow(id))?;
        match workflow.presence {
            Presence::Present => Ok(()),
            Presence::Removed { .. } => {
                Err(Rejection::WorkflowGone { workflow: id, why: "no longer in its repository" })
            }
            Presence::Deleted { .. } => Err(Rejection::WorkflowGone { workflow: id, why: "deleted" }),
        }
    }

    pub(super) fn cancel(
        &mut self,
        id: ExecutionId,
        by: &str,
        turn: &mut Turn<'_>,
    ) -> Result<Answer, Rejection> {
        let mut execution = Arc::clone(self.executions.get(&id).ok_or(Rejection::NoSuchExecution(id))?);
        let now = turn.now.wall;
        let wanted = Stop { reason: StopReason::Cancelled, at: now };
        let provisioned_by = provisioning_worker(&execution);
        let stopping = match &execution.state {
            ExecutionState::Queued { .. } | ExecutionState::Provisioning { .. } => {
                if let Some(worker) = provisioned_by.and_then(|id| self.workers.get(&id).cloned()) {
                    self.note_try(id, &worker, "cancelled before it was there", turn);
                    execution = Arc::clone(self.executions.get(&id).ok_or(Rejection::NoSuchExecution(id))?);
                }
                Arc::make_mut(&mut execution).state = ExecutionState::Cancelled { at: now };
                turn.record_execution(
                    EventKind::ExecutionCancelled,
                    &execution,
                    format!("cancelled by {by}"),
                );
                self.put_execution(Arc::clone(&execution), turn);
                if let Some(worker) = provisioned_by {
                    self.unwant(worker, turn);
                }
                return Ok(Answer::Execution(execution));
            }
            ExecutionState::Starting { live, stop: None } => {
                ExecutionState::Starting { live: *live, stop: Some(wanted) }
            }
            ExecutionState::Running { live, run: RunState::Working } => {
                ExecutionState::Running { live: *live, run: RunState::Stopping(wanted) }
            }
            // The job has ended and its own end counts; but it is not tried again.
            ExecutionState::Running { live, run: RunState::Finishing { report, stop: None, until } } => {
                let run = RunState::Finishing { report: report.clone(), stop: Some(wanted), until: *until };
                ExecutionState::Running { live: *live, run }
            }
            // Wished before.
            ExecutionState::Starting { stop: Some(_), .. }
            | ExecutionState::Running {
                run: RunState::Stopping(_) | RunState::Finishing { stop: Some(_), .. },
                ..
            } => return Ok(Answer::Execution(execution)),
            ExecutionState::Success { .. }
            | ExecutionState::Failed { .. }
            | ExecutionState::Cancelled { .. } => {
                return Err(Rejection::AlreadyEnded { execution: id, state: execution.state.name() });
            }
        };
        Arc::make_mut(&mut execution).state = stopping;
        turn.record_execution(EventKind::ExecutionStopping, &execution, format!("{by} asked to cancel it"));
        self.put_execution(Arc::clone(&execution), turn);
        self.send_stop(&execution, turn);
        Ok(Answer::Execution(execution))
    }

    /// Tells the agent to stop the live attempt, if that is wished and the agent is there. Said again at each Hello.
    pub(super) fn send_stop(&self, execution: &Execution, turn: &mut Turn<'_>) {
        let (live, stop) = match &execution.state {
            ExecutionState::Starting { live, stop: Some(stop) }
            | ExecutionState::Running { live, run: RunState::Stopping(stop) } => (live, stop),
            ExecutionState::Starting { stop: None, .. }
            | ExecutionState::Running { run: RunState::Working | RunState::Finishing { .. }, .. }
            | ExecutionState::Queued { .. }
            | ExecutionState::Provisioning { .. }
            | ExecutionState::Success { .. }
            | ExecutionState::Failed { .. }
            | ExecutionState::Cancelled { .. } => return,
        };
        if let Some(session) = self.session_of(live.worker) {
            let claim = live.claim(execution.id);
            turn.send(session, SupervisorMessage::Cancel { claim, epoch: self.epoch, reason: stop.reason });
        }
    }

    fn register(&mut self, repo: Repo, synced: Synced, turn: &mut Turn<'_>) -> Answer {
        let name = repo.name.clone();
        // Who registers a folder wants it, also if it was deleted before.
        let only = repo.only.clone();
        let revive = move |path: &str| only.is_empty() || only.iter().any(|wanted| wanted == path);
        self.put_repo(Repo { head: None, ..repo }, turn);
        turn.record_repo(format!("repository {name} registered at {}", synced.revision));
        self.apply_sync(&name, synced, revive, turn);
        let of_repo = self.workflows.values().filter(|workflow| workflow.repo == name);
        Answer::Workflows(of_repo.map(|workflow| Workflow::clone(workflow)).collect())
    }

    pub(super) fn on_synced(&mut self, name: &RepoName, result: Result<Synced, String>, turn: &mut Turn<'_>) {
        let Some(repo) = self.repos.get(name).cloned() else {
            return;
        };
        match result {
            Ok(synced) => {
                let news = repo.head.as_ref() != Some(&synced.revision);
                if news {
                    turn.record_repo(format!("repository {name} is at {}", synced.revision));
                }
                if news || repo.error.is_some() {
                    self.apply_sync(name, synced, |_| false, turn);
                }
            }
            Err(message) => {
                // The same error again is no news: a repository that is away for a day makes one record.
                if repo.error.as_ref() != Some(&message) {
                    turn.record_repo(format!("repository {name} cannot be synced: {message}"));
                    self.put_repo(Repo { error: Some(message), ..Repo::clone(&repo) }, turn);
                }
            }
        }
    }

    fn apply_sync(
        &mut self,
        name: &RepoName,
        synced: Synced,
        revive: impl Fn(&str) -> bool,
        turn: &mut Turn<'_>,
    ) {
        let Some(repo) = self.repos.get(name).cloned() else {
            return;
        };
        let now = turn.now.wall;
        let wanted = |path: &str| repo.only.is_empty() || repo.only.iter().any(|only| only == path);
        let found: Vec<_> = synced.folders.into_iter().filter(|folder| wanted(&folder.path)).collect();
        let known = self.workflows.values().filter(|workflow| workflow.repo == *name).map(AsRef::as_ref);
        let report = sync(name, known, &found, revive, now, turn.entropy);
        for workflow in report.changed {
            turn.record_workflow(&workflow, format!("workflow {} changed", workflow.qualified_name()));
            self.put_workflow(workflow, turn);
        }
        let repo =
            Repo { head: Some(synced.revision), synced_at: Some(now), error: None, ..Repo::clone(&repo) };
        self.put_repo(repo, turn);
    }

    fn pause(&mut self, id: WorkflowId, wanted: Pausing, turn: &mut Turn<'_>) -> Result<Answer, Rejection> {
        let workflow = self.workflows.get(&id).ok_or(Rejection::NoSuchWorkflow(id))?;
        let paused_at = match wanted {
            Pausing::Pause => workflow.paused_at.or(Some(turn.now.wall)),
            Pausing::Resume => None,
        };
        let workflow = Workflow { paused_at, updated_at: turn.now.wall, ..Workflow::clone(workflow) };
        let what = if paused_at.is_some() { "paused" } else { "resumed" };
        turn.record_workflow(&workflow, format!("workflow {} {what}", workflow.qualified_name()));
        self.put_workflow(workflow.clone(), turn);
        Ok(Answer::Workflow(Box::new(workflow)))
    }

    fn delete_workflow(&mut self, id: WorkflowId, turn: &mut Turn<'_>) -> Result<Answer, Rejection> {
        let workflow = self.workflows.get(&id).ok_or(Rejection::NoSuchWorkflow(id))?;
        let at = turn.now.wall;
        let presence = Presence::Deleted { at };
        let workflow = Workflow { presence, updated_at: at, ..Workflow::clone(workflow) };
        turn.record_workflow(&workflow, format!("workflow {} deleted", workflow.qualified_name()));
        self.put_workflow(workflow.clone(), turn);
        Ok(Answer::Workflow(Box::new(workflow)))
    }

    fn drain_worker(&mut self, id: WorkerId, turn: &mut Turn<'_>) -> Result<Answer, Rejection> {
        if !self.workers.contains_key(&id) {
            return Err(Rejection::NoSuchWorker(id));
        }
        self.begin_drain(id, TerminationCause::Operator, turn);
        self.worker_answer(id)
    }

    fn terminate_worker(&mut self, id: WorkerId, turn: &mut Turn<'_>) -> Result<Answer, Rejection> {
        if !self.workers.contains_key(&id) {
            return Err(Rejection::NoSuchWorker(id));
        }
        self.begin_termination(id, TerminationCause::Operator, turn);
        self.worker_answer(id)
    }

    fn worker_answer(&self, id: WorkerId) -> Result<Answer, Rejection> {
        let worker = self.workers.get(&id).ok_or(Rejection::NoSuchWorker(id))?;
        Ok(Answer::Worker(Box::new(worker.as_ref().clone())))
    }

    fn shut_down(&mut self, how: ShutDown, reply: ReplyTo, turn: &mut Turn<'_>) {
        let mut waiting = match std::mem::replace(&mut self.stage, Stage::Serving) {
            Stage::Serving => Vec::new(),
            Stage::Ending { waiting, .. } => waiting,
        };
        waiting.push(reply);
        self.stage = Stage::Ending { how, waiting };
        let workers: Vec<WorkerId> = self.workers.keys().copied().collect();
        for worker in workers {
            match how {
                ShutDown::Drain => self.begin_drain(worker, TerminationCause::Shutdown, turn),
                ShutDown::Now => self.begin_termination(worker, TerminationCause::Shutdown, turn),
            }
        }
        self.retell_waiting(turn);
    }

    /// What is ready to run waits for another reason: the supervisor ends, or is there again, or no machine can be had, or
    /// one can again.
    pub(super) fn retell_waiting(&mut self, turn: &mut Turn<'_>) {
        let ready: Vec<ExecutionId> = self.line.ready().iter().map(|(_, id)| *id).collect();
        for id in ready {
            let Some(mut execution) = self.executions.get(&id).cloned() else { continue };
            let ExecutionState::Queued { waiting } = &execution.state else { continue };
            let reason = self.why_waiting();
            if waiting.reason == reason {
                continue;
            }
            let waiting = Waiting { reason, since: turn.now.wall };
            Arc::make_mut(&mut execution).state = ExecutionState::Queued { waiting };
            self.put_execution(execution, turn);
        }
    }

    /// Answers those who wait for the end, once no worker is left.
    pub(super) fn end_if_all_gone(&mut self, turn: &mut Turn<'_>) {
        if let Stage::Ending { waiting, .. } = &mut self.stage
            && self.workers.is_empty()
        {
            for reply in std::mem::take(waiting) {
                turn.reply(reply, Answer::ShutDown);
            }
        }
    }

    pub(super) fn why_waiting(&self) -> WaitingReason {
        if self.is_ending() {
            return WaitingReason::Draining;
        }
        match (self.worker_limit(), &self.pause) {
            (_, Some(pause)) => WaitingReason::Hold { message: pause.message.clone() },
            (Some(limit), None) if self.provisioned_count() >= limit && !self.has_free_slot() => {
                WaitingReason::WorkerLimit { limit }
            }
            (Some(_) | None, None) => WaitingReason::Worker,
        }
    }

    /// Whether any connected worker could take an attempt now.
    fn has_free_slot(&self) -> bool {
        self.workers.values().any(|worker| match &worker.state {
            WorkerState::Idle { .. } => true,
            WorkerState::Busy { attempts, .. } => attempts.len() < worker.slots as usize,
            WorkerState::Planning { .. }
            | WorkerState::Launching { .. }
            | WorkerState::Booting { .. }
            | WorkerState::Draining { .. }
            | WorkerState::Terminating { .. }
            | WorkerState::Terminated { .. } => false,
        })
    }

    pub(super) fn put_workflow(&mut self, workflow: Workflow, turn: &mut Turn<'_>) {
        let workflow = Arc::new(workflow);
        let before = self.workflows.insert(workflow.id, Arc::clone(&workflow));
        turn.change(Change::PutWorkflow(Arc::clone(&workflow)));
        self.reschedule(before.as_deref(), &workflow, turn);
        self.change_needs(before.as_deref(), &workflow, turn);
    }

    pub(super) fn put_repo(&mut self, repo: Repo, turn: &mut Turn<'_>) {
        let repo = Arc::new(repo);
        self.repos.insert(repo.name.clone(), Arc::clone(&repo));
        turn.change(Change::PutRepo(repo));
    }

    /// Takes over an execution's new state: in memory, in the derived indexes, and to be committed.
    pub(super) fn put_execution(&mut self, execution: Arc<Execution>, turn: &mut Turn<'_>) {
        self.index_execution(&execution);
        self.notify_end(&execution, turn);
        let ended = execution.state.name();
        turn.change(Change::PutExecution(Arc::clone(&execution)));
        if execution.group.is_some() && ended.is_terminal() {
            self.on_member_ended(&execution, turn);
        } else if ended == StateName::Success {
            self.on_needed_success(&execution, turn);
        }
    }

    /// Keeps `executions` and what is derived from it in step.
    pub(super) fn index_execution(&mut self, execution: &Arc<Execution>) {
        let id = execution.id;
        let before = self.executions.remove(&id);
        let after = Some(execution).filter(|it| !it.state.name().is_terminal());
        self.line.update(before.as_deref(), after.map(AsRef::as_ref));
        if let Some(due) = before.as_deref().and_then(due) {
            self.timers.remove(&(due, id));
        }
        if let Some(at) = before.as_deref().and_then(late_at) {
            self.late.remove(&(at, id));
        }
        if let Some(after) = after {
            self.timers.extend(due(after).map(|due| (due, id)));
            self.late.extend(late_at(after).map(|at| (at, id)));
            self.executions.insert(id, Arc::clone(after));
        }
    }
}

/// What made an execution, for the record.
fn how_submitted(trigger: &Trigger) -> String {
    match trigger {
        Trigger::Manual => "submitted".to_owned(),
        Trigger::Retry => "submitted as a retry".to_owned(),
        Trigger::Rerun => "submitted as a rerun".to_owned(),
        Trigger::Backfill => "submitted by a backfill".to_owned(),
        Trigger::Schedule { due, .. } => format!("submitted by its schedule, due {due}"),
        Trigger::Needs { by } => {
            let names: Vec<String> = by.iter().map(|by| by.workflow.to_string()).collect();
            format!("submitted by the success of {}", names.join(", "))
        }
    }
}

/// When an execution is to be looked at again, by the wall clock.
fn due(execution: &Execution) -> Option<crate::time::Timestamp> {
    let step = match &execution.state {
        ExecutionState::Queued { waiting } => match waiting.reason {
            WaitingReason::Backoff { until, .. } | WaitingReason::Budget { until, .. } => Some(until),
            WaitingReason::Worker
            | WaitingReason::WorkerLimit { .. }
            | WaitingReason::Concurrency { .. }
            | WaitingReason::Hold { .. }
            | WaitingReason::Draining => None,
        },
        ExecutionState::Running { run: RunState::Finishing { until, .. }, .. } => return Some(*until),
        ExecutionState::Running { run: RunState::Stopping(_), .. }
        | ExecutionState::Starting { stop: Some(_), .. }
        | ExecutionState::Success { .. }
        | ExecutionState::Failed { .. }
        | ExecutionState::Cancelled { .. } => return None,
        ExecutionState::Running { run: RunState::Working, .. }
        | ExecutionState::Provisioning { .. }
        | ExecutionState::Starting { stop: None, .. } => None,
    };
    let budget = execution.passes_budget().map(|(_, at)| at);
    // Of an execution that was started there is none.
    [step, execution.start_by, budget].into_iter().flatten().min()
}
