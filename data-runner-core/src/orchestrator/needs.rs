//! Workflows that start when those that they need have succeeded.
//!
//! A success is gathered, for each workflow that needs it, by the commit that makes it a success. As soon as all that a
//! workflow needs has succeeded, for the same date and each within its time, the successes become one start. Each is used
//! once: of successes that come several times before the others, the newest counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::starts::{Tries, why_not_running};
use super::{Orchestrator, Turn};
use crate::event::{Change, EventKind};
use crate::execution::Execution;
use crate::id::{QualifiedName, WorkflowId};
use crate::time::Timestamp;
use crate::workflow::{
    DefinitionState, Need, NeedSuccess, NeededBy, NeedsProgress, NeedsStart, SettledNeeds, Start,
    StartOutcome, Workflow,
};

/// Who needs whom.
#[derive(Debug, Clone, Default)]
pub(super) struct Needs {
    known: BTreeMap<WorkflowId, Arc<NeedsProgress>>,
    /// The workflows that start by the success of this one. Derived.
    needed_by: BTreeMap<QualifiedName, BTreeSet<WorkflowId>>,
}

impl Orchestrator {
    /// What has succeeded for each workflow that needs others.
    pub fn needs(&self) -> &BTreeMap<WorkflowId, Arc<NeedsProgress>> {
        &self.needs.known
    }

    pub(super) fn recover_needs(&mut self, stored: Vec<NeedsProgress>) {
        for progress in stored {
            for start in &progress.claimed {
                self.starts.insert(Start::Needs(start.clone()), Tries::default());
            }
            self.needs.known.insert(progress.workflow, Arc::new(progress));
        }
        for workflow in self.workflows.values() {
            self.needs.index(workflow);
        }
    }

    /// A workflow has changed: what it claimed by needs that it does not have any more is taken back.
    pub(super) fn change_needs(
        &mut self,
        before: Option<&Workflow>,
        workflow: &Workflow,
        turn: &mut Turn<'_>,
    ) {
        if let Some(before) = before {
            self.needs.remove(before);
        }
        self.needs.index(workflow);
        let Some(known) = self.needs.known.get(&workflow.id).filter(|known| !known.claimed.is_empty()) else {
            return;
        };
        let wanted: BTreeSet<QualifiedName> = needs_of(workflow).into_keys().collect();
        let fits = |start: &NeedsStart| start.by.iter().map(|by| &by.workflow).eq(wanted.iter());
        let lost: Vec<NeedsStart> = known.claimed.iter().filter(|start| !fits(start)).cloned().collect();
        let why = why_not_running(workflow).unwrap_or("its needs have changed");
        for start in lost.into_iter().map(Start::Needs) {
            let said = format!("{}: {start} was left out: {why}", self.workflow_called(workflow.id));
            turn.record_start(EventKind::NeedsMissed, workflow.id, said);
            self.settle_start(&start, StartOutcome::Missed { reason: why.to_owned() }, turn);
        }
    }

    /// An execution has succeeded: gathers that for those who need it.
    pub(super) fn on_needed_success(&mut self, execution: &Execution, turn: &mut Turn<'_>) {
        let Some(needed_by) = self.needs.needed_by.get(execution.workflow()).cloned() else {
            return;
        };
        let by = NeededBy { workflow: execution.workflow().clone(), execution: execution.id };
        let success = NeedSuccess { by, dates: execution.dates, at: turn.now.wall };
        for id in needed_by {
            self.gather(id, &success, turn);
        }
    }

    fn gather(&mut self, id: WorkflowId, success: &NeedSuccess, turn: &mut Turn<'_>) {
        let Some(workflow) = self.workflows.get(&id).cloned() else {
            return;
        };
        let mut progress = match self.needs.known.get(&id) {
            Some(known) => NeedsProgress::clone(known),
            None => NeedsProgress { workflow: id, unused: Vec::new(), claimed: BTreeSet::new(), last: None },
        };
        let needs = needs_of(&workflow);
        let unused = std::mem::take(&mut progress.unused);
        progress.unused = still_counting(unused, success, &needs, turn.now.wall);
        progress.unused.push(success.clone());
        if let Some(start) = complete(&mut progress, success, &needs) {
            if self.needs_itself(&workflow) {
                let said = format!(
                    "{}: its needs lead back to itself; it is not started",
                    workflow.qualified_name()
                );
                turn.record_start(EventKind::NeedsFailed, id, said);
            } else {
                self.starts.insert(Start::Needs(start.clone()), Tries::from(turn.now.mono));
                progress.claimed.insert(start);
            }
        }
        self.put_needs(progress, turn);
    }

    /// Whether it would start itself for ever. Within one repository that is refused; over several it may come about.
    fn needs_itself(&self, workflow: &Workflow) -> bool {
        let own = workflow.qualified_name();
        let mut open = vec![own.clone()];
        let mut seen = BTreeSet::new();
        while let Some(name) = open.pop() {
            for id in self.needs.needed_by.get(&name).into_iter().flatten() {
                let Some(next) = self.workflows.get(id).map(|workflow| workflow.qualified_name()) else {
                    continue;
                };
                if next == own {
                    return true;
                }
                if seen.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
        false
    }

    pub(super) fn is_needs_claimed(&self, start: &NeedsStart) -> bool {
        self.needs.known.get(&start.workflow).is_some_and(|progress| progress.claimed.contains(start))
    }

    pub(super) fn settle_needs(&mut self, start: &NeedsStart, outcome: StartOutcome, turn: &mut Turn<'_>) {
        if !self.is_needs_claimed(start) {
            return;
        }
        if let Some(known) = self.needs.known.get(&start.workflow) {
            let mut progress = NeedsProgress::clone(known);
            progress.claimed.remove(start);
            progress.last = Some(SettledNeeds { at: turn.now.wall, outcome });
            self.put_needs(progress, turn);
        }
    }

    fn put_needs(&mut self, progress: NeedsProgress, turn: &mut Turn<'_>) {
        let progress = Arc::new(progress);
        self.needs.known.insert(progress.workflow, Arc::clone(&progress));
        turn.change(Change::PutNeeds(progress));
    }
}

impl Needs {
    fn index(&mut self, workflow: &Workflow) {
        for name in needs_of(workflow).into_keys() {
            self.needed_by.entry(name).or_default().insert(workflow.id);
        }
    }

    fn remove(&mut self, workflow: &Workflow) {
        for name in needs_of(workflow).into_keys() {
            if let Some(needed_by) = self.needed_by.get_mut(&name) {
                needed_by.remove(&workflow.id);
                if needed_by.is_empty() {
                    self.needed_by.remove(&name);
                }
            }
        }
    }
}

/// What a workflow as it is starts by, in order of the names; nothing if it does not start by itself.
fn needs_of(workflow: &Workflow) -> BTreeMap<QualifiedName, &Need> {
    match &workflow.definition {
        DefinitionState::Valid(definition) if why_not_running(workflow).is_none() => {
            let needs = definition.config.needs.iter();
            needs.map(|need| (need.workflow.seen_from(&workflow.repo), need)).collect()
        }
        DefinitionState::Valid(_) | DefinitionState::Broken { .. } => BTreeMap::new(),
    }
}

/// What counts still beside a new success: what is needed, is not too old, and is not outdone by the new one.
fn still_counting(
    unused: Vec<NeedSuccess>,
    new: &NeedSuccess,
    needs: &BTreeMap<QualifiedName, &Need>,
    now: Timestamp,
) -> Vec<NeedSuccess> {
    let counts = |known: &NeedSuccess| {
        let outdone = known.by.workflow == new.by.workflow && date(known) == date(new);
        let in_time = needs.get(&known.by.workflow).is_some_and(|need| now.since(known.at) <= need.within);
        in_time && !outdone
    };
    unused.into_iter().filter(counts).collect()
}

/// Uses one success of each need for the new one's date, if there is one of each.
fn complete(
    progress: &mut NeedsProgress,
    new: &NeedSuccess,
    needs: &BTreeMap<QualifiedName, &Need>,
) -> Option<NeedsStart> {
    let of = |name: &QualifiedName| {
        let fits = |known: &&NeedSuccess| known.by.workflow == *name && date(known) == date(new);
        progress.unused.iter().rev().find(fits).map(|known| known.by.clone())
    };
    let by: Vec<NeededBy> = needs.keys().map(of).collect::<Option<_>>()?;
    progress.unused.retain(|known| !by.contains(&known.by));
    Some(NeedsStart { workflow: progress.workflow, dates: new.dates, by })
}

fn date(success: &NeedSuccess) -> Option<jiff::civil::Date> {
    success.dates.map(|dates| dates.date)
}
