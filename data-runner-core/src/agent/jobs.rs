//! What becomes of jobs: the answers to the effects.

use std::sync::Arc;
use std::time::Duration;

use super::run::{Run, Step, Work, without_output};
use super::{Agent, AgentEffect, AgentRecord, AgentRejection, ConnectionId, JobStep, LogTurn, Turn};
use crate::execution::{Ending, Failure, FailureCause, FinishReport, Phase, StopReason};
use crate::id::Claim;
use crate::log::LogOffset;
use crate::message::{AttemptStatus, LogAck};
use crate::port::{JobEnd, JobNews};
use crate::time::Now;
use crate::workflow::PackageLock;

impl Agent {
    pub(super) fn on_job(&mut self, claim: Claim, step: JobStep, turn: &mut Turn<'_>) {
        let what = name(&step);
        let taken = match step {
            JobStep::CodeReady => self.on_code_ready(claim, turn),
            JobStep::CodeDelayed { message } => self.on_code_delayed(claim, message, turn),
            JobStep::EnvironmentReady { packages } => self.on_environment_ready(claim, packages, turn),
            JobStep::Started => self.on_started(claim, turn),
            JobStep::Impossible { failure } => self.on_impossible(claim, failure, turn),
            JobStep::Halted => self.on_halted(claim, turn),
            JobStep::Unclear => self.on_unclear(claim, turn),
            JobStep::Adopted { running_for } => self.on_adopted(claim, running_for, turn),
            JobStep::NotFound { message } => self.on_not_found(claim, message, turn),
            JobStep::AdoptFailed => self.on_adopt_failed(claim, turn),
            JobStep::News(JobNews::Log(end)) => self.on_log_grown(claim, end, turn),
            JobStep::News(JobNews::Ended(end)) => self.on_ended(claim, *end, turn),
            JobStep::ArtifactsKept { warnings, unmatched } => {
                self.on_artifacts_kept(claim, (warnings, unmatched), turn)
            }
            JobStep::ArtifactsDelayed { message } => self.on_artifacts_delayed(claim, message, turn),
            JobStep::FolderRemoved => self.on_folder_removed(claim),
        };
        match taken {
            Some(Taken) => {}
            None => {
                let rejection = match self.run_mut(claim, what) {
                    Ok(_) => AgentRejection::OutOfStep { what, claim },
                    Err(rejection) => rejection,
                };
                turn.reject(rejection);
            }
        }
    }

    pub(super) fn at_step(&mut self, claim: Claim) -> Option<&mut Run> {
        self.run_mut(claim, "").ok()
    }

    /// Goes on to `next`, unless the attempt is to stop: then it ends here, where nothing of it runs.
    fn go_on(&mut self, claim: Claim, next: Step, effect: AgentEffect, phase: Phase, turn: &mut Turn<'_>) {
        let Some(run) = self.at_step(claim) else {
            return;
        };
        if let Some(reason) = run.stop {
            return self.end(claim, without_output(Ending::Stopped { reason }), turn);
        }
        run.step = next;
        run.reach(phase, turn.now, Duration::ZERO);
        turn.effect(effect);
        self.report(claim, AttemptStatus::Reached { phase, ago: Duration::ZERO }, turn);
    }

    fn on_code_ready(&mut self, claim: Claim, turn: &mut Turn<'_>) -> Option<Taken> {
        let Step::Fetching { work: Work::Underway, .. } = self.at_step(claim)?.step else {
            return None;
        };
        self.go_on(claim, Step::Preparing, AgentEffect::Prepare { claim }, Phase::CodeReady, turn);
        Some(Taken)
    }

    fn on_code_delayed(&mut self, claim: Claim, message: String, turn: &mut Turn<'_>) -> Option<Taken> {
        let (up, policy) = (self.is_up(), self.policy);
        let run = self.at_step(claim)?;
        let Step::Fetching { work: Work::Underway, tries } = run.step else {
            return None;
        };
        if let Some(reason) = run.stop {
            self.end(claim, without_output(Ending::Stopped { reason }), turn);
            return Some(Taken);
        }
        // Only a supervisor that is there and does not deliver uses up tries.
        let tries = if up { tries + 1 } else { tries };
        if tries >= policy.fetch_tries {
            let failure =
                Failure::new(FailureCause::Source, format!("the code could not be fetched: {message}"));
            self.end(claim, without_output(Ending::NeverStarted { failure }), turn);
        } else {
            let wait = policy.pause.saturating_mul(tries.max(1));
            run.step = Step::Fetching { work: Work::Due(turn.now.mono.after(wait)), tries };
        }
        Some(Taken)
    }

    fn on_environment_ready(
        &mut self,
        claim: Claim,
        packages: Option<Arc<PackageLock>>,
        turn: &mut Turn<'_>,
    ) -> Option<Taken> {
        let run = self.at_step(claim)?;
        let Step::Preparing = run.step else {
            return None;
        };
        if packages.is_some() {
            run.packages = packages;
            // An agent that is started again while the supervisor is away has to know it still.
            turn.record(AgentRecord::Run(run.record()));
        }
        self.go_on(claim, Step::Starting, AgentEffect::Start { claim }, Phase::EnvironmentReady, turn);
        Some(Taken)
    }

    fn on_started(&mut self, claim: Claim, turn: &mut Turn<'_>) -> Option<Taken> {
        let Step::Starting = self.at_step(claim)?.step else {
            return None;
        };
        self.runs_now(claim, Duration::ZERO, turn);
        Some(Taken)
    }

    fn on_impossible(&mut self, claim: Claim, failure: Failure, turn: &mut Turn<'_>) -> Option<Taken> {
        match self.at_step(claim)?.step {
            Step::Fetching { work: Work::Underway, .. } | Step::Preparing | Step::Starting => {
                self.end(claim, without_output(Ending::NeverStarted { failure }), turn);
                Some(Taken)
            }
            Step::Fetching { work: Work::Due(_), .. }
            | Step::Adopting { .. }
            | Step::Running { .. }
            | Step::Keeping(_)
            | Step::Ended { .. }
            | Step::Leaving => None,
        }
    }

    fn on_halted(&mut self, claim: Claim, turn: &mut Turn<'_>) -> Option<Taken> {
        let run = self.at_step(claim)?;
        let reason = run.stop?;
        match run.step {
            Step::Fetching { .. } | Step::Preparing => {
                self.end(claim, without_output(Ending::Stopped { reason }), turn);
                Some(Taken)
            }
            Step::Starting
            | Step::Adopting { .. }
            | Step::Running { .. }
            | Step::Keeping(_)
            | Step::Ended { .. }
            | Step::Leaving => None,
        }
    }

    fn on_unclear(&mut self, claim: Claim, turn: &mut Turn<'_>) -> Option<Taken> {
        let run = self.at_step(claim)?;
        let Step::Starting = run.step else {
            return None;
        };
        run.step = Step::Adopting { work: Work::Due(turn.now.mono) };
        Some(Taken)
    }

    fn on_adopted(&mut self, claim: Claim, running_for: Duration, turn: &mut Turn<'_>) -> Option<Taken> {
        let Step::Adopting { work: Work::Underway } = self.at_step(claim)?.step else {
            return None;
        };
        self.runs_now(claim, running_for, turn);
        Some(Taken)
    }

    /// There is a process: it is watched, and stopped if that was asked for meanwhile.
    fn runs_now(&mut self, claim: Claim, running_for: Duration, turn: &mut Turn<'_>) {
        let Some(run) = self.at_step(claim) else {
            return;
        };
        let left = run.job.timeout.saturating_sub(running_for);
        run.step = Step::Running { timeout: Some(turn.now.mono.after(left)) };
        run.reach(Phase::Started, turn.now, running_for);
        let (stop, grace, seen) = (run.stop, run.job.grace, run.log.end());
        turn.effect(AgentEffect::Watch { claim, seen });
        if let Some(reason) = stop {
            turn.effect(AgentEffect::Stop { claim, reason, grace });
        }
        self.report(claim, AttemptStatus::Reached { phase: Phase::Started, ago: running_for }, turn);
    }

    fn on_not_found(&mut self, claim: Claim, message: String, turn: &mut Turn<'_>) -> Option<Taken> {
        let Step::Adopting { work: Work::Underway } = self.at_step(claim)?.step else {
            return None;
        };
        self.end(claim, without_output(Ending::Vanished { message }), turn);
        Some(Taken)
    }

    fn on_adopt_failed(&mut self, claim: Claim, turn: &mut Turn<'_>) -> Option<Taken> {
        let pause = self.policy.pause;
        let run = self.at_step(claim)?;
        let Step::Adopting { work: Work::Underway } = run.step else {
            return None;
        };
        // A process may live: to say that it is gone would let it run twice.
        run.step = Step::Adopting { work: Work::Due(turn.now.mono.after(pause)) };
        Some(Taken)
    }

    fn on_log_grown(&mut self, claim: Claim, end: LogOffset, turn: &mut Turn<'_>) -> Option<Taken> {
        let run = self.at_step(claim)?;
        let Step::Running { .. } = run.step else {
            return None;
        };
        run.log.grown_to(end);
        turn.effect(AgentEffect::Watch { claim, seen: run.log.end() });
        Some(Taken)
    }

    fn on_ended(&mut self, claim: Claim, end: JobEnd, turn: &mut Turn<'_>) -> Option<Taken> {
        let Step::Running { .. } = self.at_step(claim)?.step else {
            return None;
        };
        let JobEnd { ending, usage, output, warnings, log_end, ran_for, sql } = end;
        self.keep_or_end(
            claim,
            FinishReport { ending, usage, output, warnings, log_end, ran_for, sql },
            turn,
        );
        Some(Taken)
    }

    fn on_folder_removed(&mut self, claim: Claim) -> Option<Taken> {
        let Step::Leaving = self.at_step(claim)?.step else {
            return None;
        };
        self.runs.remove(&claim.attempt);
        self.remember(claim, None);
        Some(Taken)
    }

    pub(super) fn on_log_acked(&mut self, connection: ConnectionId, ack: LogAck, turn: &mut Turn<'_>) {
        if connection != self.connection || !self.is_up() {
            return self.reject_session("an acknowledgement of log", connection, turn);
        }
        let now = turn.now.mono;
        match self.run_mut(ack.claim, "an acknowledgement of log") {
            Ok(run) => run.log.on_ack(ack.outcome, now),
            Err(rejection) => turn.reject(rejection),
        }
    }

    pub(super) fn on_log_sent(
        &mut self,
        claim: Claim,
        stretch: LogTurn,
        upto: LogOffset,
        turn: &mut Turn<'_>,
    ) {
        let (now, policy) = (turn.now.mono, self.policy);
        match self.run_mut(claim, "a piece of log that was sent") {
            Ok(run) => run.log.on_sent(stretch, upto, now, &policy),
            Err(rejection) => turn.reject(rejection),
        }
    }

    /// What is due for one attempt, by time alone.
    pub(super) fn settle_run(&mut self, claim: Claim, turn: &mut Turn<'_>) {
        let (up, policy, now): (_, _, Now) = (self.is_up(), self.policy, turn.now);
        // It may end by that; then its end is due at once.
        self.settle_keeping(claim, turn);
        let Some(run) = self.at_step(claim) else {
            return;
        };
        if run.deadline().is_none_or(|at| now.mono < at) {
            return;
        }
        match &mut run.step {
            Step::Fetching { work, .. } if up => {
                *work = Work::Underway;
                turn.effect(AgentEffect::FetchCode { claim, job: run.job.clone() });
            }
            Step::Adopting { work } => {
                *work = Work::Underway;
                turn.effect(AgentEffect::Adopt { claim, job: run.job.clone() });
            }
            Step::Running { timeout } => {
                *timeout = None;
                self.stop(claim, StopReason::Timeout, turn);
            }
            Step::Ended { .. } if up => {
                let status = run.finished();
                run.repeat_end(now.mono.after(policy.repeat));
                if let Some(status) = status {
                    self.report(claim, status, turn);
                }
            }
            // Due when there is a session again.
            Step::Fetching { .. } | Step::Ended { .. } => {}
            Step::Preparing | Step::Starting | Step::Keeping(_) | Step::Leaving => {}
        }
    }
}

/// An answer that fitted the step at which its attempt was.
pub(super) struct Taken;

fn name(step: &JobStep) -> &'static str {
    match step {
        JobStep::CodeReady => "code that is ready",
        JobStep::CodeDelayed { .. } => "code that is late",
        JobStep::EnvironmentReady { .. } => "an environment that is ready",
        JobStep::Started => "a start",
        JobStep::Impossible { .. } => "a job that cannot be run",
        JobStep::Halted => "a halt",
        JobStep::Unclear => "an unclear start",
        JobStep::Adopted { .. } => "an adoption",
        JobStep::NotFound { .. } => "a job that was not found",
        JobStep::AdoptFailed => "a failed adoption",
        JobStep::News(JobNews::Log(_)) => "news of a log",
        JobStep::News(JobNews::Ended(_)) => "news of an end",
        JobStep::ArtifactsKept { .. } => "files that are kept",
        JobStep::ArtifactsDelayed { .. } => "files that are late",
        JobStep::FolderRemoved => "a removed folder",
    }
}
