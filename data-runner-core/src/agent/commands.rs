//! What the supervisor asks for.

use std::sync::Arc;

use super::run::{Delivery, Keeper, Run, Step, Work, without_output};
use super::{Agent, AgentEffect, AgentRecord, AgentRejection, DrainedBy, Stage, Turn};
use crate::execution::{Ending, Failure, FailureCause, FinishReport, StopReason};
use crate::id::{Claim, Epoch};
use crate::message::{AgentMessage, Assign, AttemptStatus};
use crate::time::Mono;
use crate::workflow::JobSpec;

impl Agent {
    pub(super) fn on_assign(&mut self, assign: Assign, turn: &mut Turn<'_>) {
        let Assign { claim, epoch, job } = assign;
        if !self.obeys(epoch, turn) {
            return;
        }
        if let Some(past) = self.past.iter().find(|past| past.claim == claim) {
            return match past.answer.clone() {
                Some(report) => self.report(claim, AttemptStatus::Finished(Box::new(report)), turn),
                None => turn.reject(AgentRejection::AlreadyOver { what: "an assignment", claim }),
            };
        }
        match self.runs.get(&claim.attempt) {
            // Repeated: the supervisor does not know how far it is.
            Some(run) if run.claim == claim => {
                for status in run.statuses(turn.now) {
                    self.report(claim, status, turn);
                }
                return;
            }
            // The same attempt under another lease: the older one has lost its owner.
            Some(run) => {
                let older = run.claim;
                self.stop(older, StopReason::Disowned, turn);
            }
            None => {}
        }
        match self.stage {
            Stage::Serving => self.await_turn(claim, job, turn),
            Stage::Draining(_)
            | Stage::Stopping { .. }
            | Stage::Parting { .. }
            | Stage::Abandoned
            | Stage::Ended => {
                let failure = Failure::new(FailureCause::Interrupted, "its worker takes no more work");
                self.answer_unheld(claim, Ending::NeverStarted { failure }, turn);
            }
        }
    }

    /// Notes an attempt that is to be taken; settling takes it as soon as there is room.
    fn await_turn(&mut self, claim: Claim, job: Arc<JobSpec>, turn: &mut Turn<'_>) {
        let most = usize::try_from(self.policy.slots).unwrap_or(usize::MAX);
        if self.waiting.len() >= most && !self.waiting.contains_key(&claim.attempt) {
            return turn.reject(AgentRejection::NoRoom { claim });
        }
        self.waiting.insert(claim.attempt, (claim.lease, job));
    }

    /// Takes what waits, as far as slots and folders are free.
    pub(super) fn take_waiting(&mut self, turn: &mut Turn<'_>) {
        let slots = usize::try_from(self.policy.slots).unwrap_or(usize::MAX);
        let mut free = slots.saturating_sub(self.runs.values().filter(|run| run.takes_slot()).count());
        let attempts: Vec<_> =
            self.waiting.keys().copied().filter(|id| !self.runs.contains_key(id)).collect();
        for attempt in attempts {
            if free == 0 {
                return;
            }
            if let Some((lease, job)) = self.waiting.remove(&attempt) {
                self.accept(Claim { attempt, lease }, job, turn);
                free -= 1;
            }
        }
    }

    fn accept(&mut self, claim: Claim, job: Arc<JobSpec>, turn: &mut Turn<'_>) {
        let run = Run::accepted(claim, Arc::clone(&job), turn.now);
        turn.record(AgentRecord::Run(run.record()));
        turn.effect(AgentEffect::FetchCode { claim, job });
        for status in run.statuses(turn.now) {
            self.report(claim, status, turn);
        }
        self.runs.insert(claim.attempt, run);
    }

    pub(super) fn on_cancel(&mut self, claim: Claim, epoch: Epoch, reason: StopReason, turn: &mut Turn<'_>) {
        if !self.obeys(epoch, turn) {
            return;
        }
        if self.waiting.get(&claim.attempt).is_some_and(|(lease, _)| *lease == claim.lease) {
            self.waiting.remove(&claim.attempt);
            return self.answer_unheld(claim, Ending::Stopped { reason }, turn);
        }
        if let Some(answer) =
            self.past.iter().find(|past| past.claim == claim).and_then(|past| past.answer.clone())
        {
            return self.report(claim, AttemptStatus::Finished(Box::new(answer)), turn);
        }
        match self.run_mut(claim, "a cancel") {
            Ok(_) => self.stop(claim, reason, turn),
            // It never came here, so nothing of it runs: that is what was asked for.
            Err(AgentRejection::UnknownAttempt { .. }) if reason != StopReason::Disowned => {
                self.answer_unheld(claim, Ending::Stopped { reason }, turn);
            }
            Err(rejection) => turn.reject(rejection),
        }
    }

    /// Reports the end of an attempt that was never taken. It is not recorded: if the report is lost, so is the
    /// session, and the supervisor asks again.
    fn answer_unheld(&mut self, claim: Claim, ending: Ending, turn: &mut Turn<'_>) {
        let report = without_output(ending);
        self.remember(claim, Some(report.clone()));
        self.report(claim, AttemptStatus::Finished(Box::new(report)), turn);
    }

    pub(super) fn on_status_ack(&mut self, claim: Claim, turn: &mut Turn<'_>) {
        if self.past.iter().any(|past| past.claim == claim && past.answer.is_some()) {
            return self.remember(claim, None);
        }
        let rejection = match self.run_mut(claim, "an acknowledgement") {
            Ok(Run { step: Step::Ended { delivery, .. }, .. }) => {
                *delivery = Delivery::Acknowledged;
                return;
            }
            // Given up by us meanwhile; its folder goes anyway.
            Ok(Run { step: Step::Leaving, .. }) => return,
            Ok(_) => AgentRejection::OutOfStep { what: "an acknowledgement", claim },
            Err(rejection) => rejection,
        };
        turn.reject(rejection);
    }

    pub(super) fn on_drain(&mut self, epoch: Epoch, turn: &mut Turn<'_>) {
        if self.obeys(epoch, turn) && self.stage == Stage::Serving {
            self.stage = Stage::Draining(DrainedBy::Supervisor);
            self.decline_waiting(turn);
            self.say(AgentMessage::Draining, turn);
        }
    }

    pub(super) fn on_terminate(&mut self, turn: &mut Turn<'_>) {
        match self.stage {
            Stage::Serving => {
                self.stage = Stage::Draining(DrainedBy::Signal);
                self.decline_waiting(turn);
                self.say(AgentMessage::Draining, turn);
            }
            Stage::Draining(DrainedBy::Supervisor | DrainedBy::Machine) => {
                self.stage = Stage::Draining(DrainedBy::Signal);
            }
            Stage::Draining(DrainedBy::Signal) => {
                self.stage = Stage::Stopping { leave_by: None };
                self.stop_all(StopReason::Interrupted, turn);
            }
            Stage::Stopping { .. } | Stage::Parting { .. } | Stage::Abandoned | Stage::Ended => {}
        }
    }

    pub(super) fn decline_waiting(&mut self, turn: &mut Turn<'_>) {
        for (attempt, (lease, _)) in std::mem::take(&mut self.waiting) {
            let failure = Failure::new(FailureCause::Interrupted, "its worker takes no more work");
            self.answer_unheld(Claim { attempt, lease }, Ending::NeverStarted { failure }, turn);
        }
    }

    pub(super) fn stop_all(&mut self, reason: StopReason, turn: &mut Turn<'_>) {
        let live: Vec<Claim> =
            self.runs.values().filter(|run| run.takes_slot()).map(|run| run.claim).collect();
        for claim in live {
            self.stop(claim, reason, turn);
        }
    }

    /// Begins to end an attempt, at whatever step it is. The first reason counts, but that nobody owns it any more
    /// overrules all.
    pub(super) fn stop(&mut self, claim: Claim, reason: StopReason, turn: &mut Turn<'_>) {
        let again_at = turn.now.mono;
        let run = match self.run_mut(claim, "a stop") {
            Ok(run) => run,
            Err(rejection) => return turn.reject(rejection),
        };
        let before = run.stop;
        if before.is_none() || reason == StopReason::Disowned {
            run.stop = Some(reason);
        }
        match &mut run.step {
            Step::Fetching { work: Work::Due(_), .. } => {
                self.end(claim, without_output(Ending::Stopped { reason }), turn);
            }
            Step::Fetching { work: Work::Underway, .. } | Step::Preparing if before.is_none() => {
                turn.effect(AgentEffect::Halt { claim });
            }
            Step::Running { .. } if before.is_none() => {
                let grace = run.job.grace;
                turn.effect(AgentEffect::Stop { claim, reason, grace });
            }
            // Whether there is a process is known soon; then it is stopped.
            Step::Starting | Step::Adopting { .. } => {}
            // Being stopped already.
            Step::Fetching { work: Work::Underway, .. } | Step::Preparing | Step::Running { .. } => {}
            // There is no process any more; what is left of it has less time.
            Step::Keeping(_) => match reason {
                StopReason::Disowned => {
                    turn.effect(AgentEffect::GiveUpArtifacts { claim });
                    self.let_go(claim, turn);
                }
                StopReason::Cancelled => self.give_up_keeping(claim, "the execution was cancelled", turn),
                StopReason::Timeout | StopReason::Interrupted => self.hurry_keeping(claim, turn),
            },
            Step::Ended { .. } if reason == StopReason::Disowned => self.let_go(claim, turn),
            // It ended by itself first: the report says how, and is repeated now.
            Step::Ended { delivery: Delivery::Owed(at), .. } => *at = again_at,
            Step::Ended { delivery: Delivery::Acknowledged, .. } | Step::Leaving => {}
        }
    }

    /// An attempt is over. If anybody owns it, its end is owed; what the executor cannot tell again is recorded.
    pub(super) fn end(&mut self, claim: Claim, report: FinishReport, turn: &mut Turn<'_>) {
        let now: Mono = turn.now.mono;
        let Ok(run) = self.run_mut(claim, "an end") else {
            return;
        };
        if run.is_disowned() {
            return self.let_go(claim, turn);
        }
        let kept_by = match run.step {
            Step::Running { .. } | Step::Keeping(_) => Keeper::Executor,
            Step::Fetching { .. }
            | Step::Preparing
            | Step::Starting
            | Step::Adopting { .. }
            | Step::Ended { .. }
            | Step::Leaving => Keeper::Record,
        };
        run.log.grown_to(report.log_end);
        run.step = Step::Ended { report: Box::new(report), kept_by, delivery: Delivery::Owed(now) };
        if kept_by == Keeper::Record {
            turn.record(AgentRecord::Run(run.record()));
        }
    }

    /// Nothing is owed any more: the folder goes, and with it the record.
    pub(super) fn let_go(&mut self, claim: Claim, turn: &mut Turn<'_>) {
        if let Ok(run) = self.run_mut(claim, "an end") {
            run.step = Step::Leaving;
            turn.effect(AgentEffect::RemoveFolder { claim });
        }
    }
}
