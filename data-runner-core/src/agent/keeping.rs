//! Files that a job left, on their way to the supervisor: after the job has ended and before its end is reported.
//!
//! As long as that lasts the attempt is live, so the supervisor takes its files and leaves its machine on. It ends when
//! all is kept or refused, or when its time is over: an end never waits for files for ever.

use super::jobs::Taken;
use super::run::{Step, Work};
use super::{Agent, AgentEffect, Stage, Turn};
use crate::execution::{Ending, FinishReport};
use crate::id::{ArtifactName, Claim};
use crate::time::Mono;

/// What is being kept, and what is reported then.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Keeping {
    pub(super) report: Box<FinishReport>,
    pub(super) work: Work,
    /// When the job had ended.
    pub(super) since: Mono,
    /// When it is given up.
    pub(super) until: Mono,
    /// Why the last try did not do.
    pub(super) delayed: Option<String>,
}

impl Agent {
    /// The job has ended: keeps its files if its workflow wants any, else it is over.
    pub(super) fn keep_or_end(&mut self, claim: Claim, report: FinishReport, turn: &mut Turn<'_>) {
        let now = turn.now.mono;
        let until = self.keep_until(now);
        let Ok(run) = self.run_mut(claim, "an end") else {
            return;
        };
        if run.job.artifacts.is_empty() || run.is_disowned() || until <= now {
            return self.end(claim, report, turn);
        }
        run.log.grown_to(report.log_end);
        let report = Box::new(report);
        run.step = Step::Keeping(Keeping { report, work: Work::Due(now), since: now, until, delayed: None });
    }

    /// When the agent has to look at it again. A try needs a session; without one there is no hurry, unless nobody is
    /// waited for any more.
    pub(super) fn keeping_deadline(&self, keeping: &Keeping) -> Option<Mono> {
        match keeping.work {
            Work::Due(_) | Work::Underway if self.is_patient() => None,
            Work::Due(at) if self.is_up() => Some(at.min(keeping.until)),
            Work::Due(_) | Work::Underway => Some(keeping.until),
        }
    }

    fn is_patient(&self) -> bool {
        match self.stage {
            Stage::Serving | Stage::Draining(_) => !self.is_up(),
            Stage::Stopping { .. } | Stage::Parting { .. } | Stage::Abandoned | Stage::Ended => false,
        }
    }

    /// Until when files of a job that ends now may take. Whoever stops at once, or loses the machine, has less time: the
    /// end has to be reported too.
    fn keep_until(&self, now: Mono) -> Mono {
        match self.stage {
            Stage::Serving | Stage::Draining(_) => now.after(self.policy.keep_within),
            Stage::Stopping { .. } => now.after(self.policy.last_words),
            Stage::Parting { by } => now.after(by.since(now) / 2),
            // Nobody is there to take them.
            Stage::Abandoned | Stage::Ended => now,
        }
    }

    pub(super) fn on_artifacts_kept(
        &mut self,
        claim: Claim,
        (warnings, unmatched): (Vec<String>, Vec<ArtifactName>),
        turn: &mut Turn<'_>,
    ) -> Option<Taken> {
        let Step::Keeping(keeping) = &mut self.at_step(claim)?.step else {
            return None;
        };
        keeping.report.warnings.extend(warnings);
        // One that failed need not have come to where it writes them.
        if keeping.report.ending == (Ending::Exited { code: 0 }) {
            let none = |name| format!("no file matched the path of artifact `{name}`");
            keeping.report.warnings.extend(unmatched.iter().map(none));
        }
        self.end_keeping(claim, turn);
        Some(Taken)
    }

    pub(super) fn on_artifacts_delayed(
        &mut self,
        claim: Claim,
        message: String,
        turn: &Turn<'_>,
    ) -> Option<Taken> {
        let pause = self.policy.pause;
        let Step::Keeping(keeping) = &mut self.at_step(claim)?.step else {
            return None;
        };
        keeping.work = Work::Due(turn.now.mono.after(pause));
        keeping.delayed = Some(message);
        Some(Taken)
    }

    /// A supervisor is there again. While there was none, nothing could be kept and no end be reported: that time does
    /// not count.
    pub(super) fn resume_keeping(&mut self, now: Mono) {
        for run in self.runs.values_mut() {
            if let Step::Keeping(keeping) = &mut run.step {
                let away = now.since(self.contact.max(keeping.since));
                keeping.until = keeping.until.after(away);
            }
        }
    }

    /// What is due of keeping by time alone.
    pub(super) fn settle_keeping(&mut self, claim: Claim, turn: &mut Turn<'_>) {
        let (up, now) = (self.is_up(), turn.now.mono);
        let patient = self.is_patient();
        let Some(Step::Keeping(keeping)) = self.at_step(claim).map(|run| &mut run.step) else {
            return;
        };
        if now >= keeping.until && !patient {
            self.give_up_keeping(claim, "they took too long", turn);
        } else if up && matches!(keeping.work, Work::Due(at) if now >= at) {
            keeping.work = Work::Underway;
            turn.effect(AgentEffect::KeepArtifacts { claim });
        }
    }

    /// What is not kept by now never will be; the end is reported with a word about it.
    pub(super) fn give_up_keeping(&mut self, claim: Claim, why: &str, turn: &mut Turn<'_>) {
        let Some(Step::Keeping(keeping)) = self.at_step(claim).map(|run| &mut run.step) else {
            return;
        };
        let last = keeping.delayed.take().map(|message| format!(" ({message})")).unwrap_or_default();
        keeping.report.warnings.push(format!("not all artifacts are kept: {why}{last}"));
        turn.effect(AgentEffect::GiveUpArtifacts { claim });
        self.end_keeping(claim, turn);
    }

    /// The agent is to stop, or its machine goes: there is less time from now on.
    pub(super) fn hurry_keeping(&mut self, claim: Claim, turn: &Turn<'_>) {
        let until = self.keep_until(turn.now.mono);
        if let Some(Step::Keeping(keeping)) = self.at_step(claim).map(|run| &mut run.step) {
            keeping.until = keeping.until.min(until);
        }
    }

    fn end_keeping(&mut self, claim: Claim, turn: &mut Turn<'_>) {
        let Some(Step::Keeping(keeping)) = self.at_step(claim).map(|run| &run.step) else {
            return;
        };
        let report = FinishReport::clone(&keeping.report);
        self.end(claim, report, turn);
    }
}
