//! Groups: which members start, and what the end of one means for the others. A member starts by the commit that says so
//! in its group, so it has one execution at the most, whatever happens in between.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Orchestrator, Turn};
use crate::event::{Answer, Change, EventKind, EventRecord, GroupWish, Rejection};
use crate::execution::{Execution, StateName, Waiting};
use crate::group::{Group, GroupOrder, GroupState, MemberState};
use crate::id::{ExecutionId, GroupId};
use crate::time::{Deadline, Now};

impl Orchestrator {
    /// Groups that have not ended.
    pub fn groups(&self) -> &BTreeMap<GroupId, Arc<Group>> {
        &self.groups
    }

    /// Makes a group; its first members start at once.
    pub(super) fn make_group(&mut self, order: GroupOrder, id: GroupId, turn: &mut Turn<'_>) -> Arc<Group> {
        let group = Arc::new(order.into_group(id, turn.now.wall));
        let message = format!("a group of {} executions is made", group.members.len());
        record(EventKind::GroupStarted, &group, message, turn);
        self.put_group(Arc::clone(&group), turn);
        self.advance_group(id, turn);
        self.groups.get(&id).cloned().unwrap_or(group)
    }

    /// Starts members for as long as there is room. After a start of the supervisor that goes on by itself.
    pub(super) fn advance_group(&mut self, id: GroupId, turn: &mut Turn<'_>) {
        while !self.is_ending()
            && let Some(mut group) = self.groups.get(&id).cloned()
            && let Some(index) = group.next_to_start()
        {
            if let Err(rejection) = self.check_runnable(group.workflow_id()) {
                let changed = Arc::make_mut(&mut group);
                changed.state = GroupState::Cancelling;
                changed.skip_pending();
                let message = format!("no further execution is started: {rejection}");
                record(EventKind::GroupCancelled, &group, message, turn);
                return self.put_group(group, turn);
            }
            let queueing = group.members.get(index).map(|member| member.queueing.clone()).unwrap_or_default();
            if let Err(rejection) = self.make_way(group.workflow_id(), &queueing, Some(id), turn) {
                let message = format!("number {} is skipped: {rejection}", index + 1);
                record(EventKind::GroupMemberSkipped, &group, message, turn);
                self.set_member(id, index, MemberState::Skipped, turn);
                continue;
            }
            let execution = ExecutionId::generate(turn.now.wall, turn.entropy);
            let waiting = Waiting { reason: self.why_waiting(), since: turn.now.wall };
            let Some(member) = group.execution_of(index, execution, waiting) else {
                return;
            };
            // The group first: the execution may end at once.
            self.set_member(id, index, MemberState::Active(execution), turn);
            let member = Arc::new(member);
            let message = format!("submitted as number {} of {} of a group", index + 1, group.members.len());
            turn.record_execution(EventKind::ExecutionQueued, &member, message);
            self.put_execution(member, turn);
            self.retell_place(execution, turn);
        }
    }

    /// Of the group as it is now: making way for a member may have ended another one.
    fn set_member(&mut self, id: GroupId, index: usize, state: MemberState, turn: &mut Turn<'_>) {
        if let Some(mut group) = self.groups.get(&id).cloned() {
            if let Some(member) = Arc::make_mut(&mut group).members.get_mut(index) {
                member.state = state;
            }
            self.put_group(group, turn);
        }
    }

    /// Starts members of groups in which there is room now.
    pub(super) fn advance_groups(&mut self, turn: &mut Turn<'_>) {
        while let Some(id) = self.moved_groups.pop_first() {
            self.advance_group(id, turn);
        }
    }

    /// When members are to be started: at once, if there is room.
    pub(super) fn group_deadline(&self, now: Now) -> Option<Deadline> {
        (!self.moved_groups.is_empty()).then_some(Deadline { at: now.mono, why: "a group" })
    }

    /// The execution of a member has ended.
    pub(super) fn on_member_ended(&mut self, execution: &Execution, turn: &mut Turn<'_>) {
        let Some(membership) = execution.group else {
            return;
        };
        let Some(mut group) = self.groups.get(&membership.group).cloned() else {
            return;
        };
        let state = execution.state.name();
        let changed = Arc::make_mut(&mut group);
        match changed.members.get_mut(membership.index as usize) {
            Some(member) if member.state == MemberState::Active(execution.id) => {
                member.state = MemberState::of(execution.id, state);
            }
            // What repeats a member is none, and changes nothing in the group.
            Some(_) | None => return,
        }
        let give_up = changed.fail_fast && state == StateName::Failed;
        if give_up {
            changed.skip_pending();
        }
        let succeeded = state == StateName::Success && group.has_succeeded_for(execution.dates);
        let active: Vec<ExecutionId> = if give_up { group.active().collect() } else { Vec::new() };
        self.put_group(group, turn);
        for id in active {
            self.stop_member(id, "its group, in which another one failed,", turn);
        }
        if succeeded {
            self.on_needed_success(execution, turn);
        }
        // At the end of the batch: whoever starts may end others, and those are members of groups, too.
        self.moved_groups.insert(membership.group);
    }

    pub(super) fn change_group(
        &mut self,
        id: GroupId,
        wish: GroupWish,
        by: &str,
        turn: &mut Turn<'_>,
    ) -> Result<Answer, Rejection> {
        let mut group = Arc::clone(self.groups.get(&id).ok_or(Rejection::NoSuchGroup(id))?);
        let before = group.state;
        let changed = Arc::make_mut(&mut group);
        match (wish, before) {
            (_, GroupState::Cancelling | GroupState::Cancelled { .. } | GroupState::Done { .. })
            | (GroupWish::Pause, GroupState::Paused)
            | (GroupWish::Resume, GroupState::Running) => return Ok(Answer::Group(group)),
            (GroupWish::Pause, GroupState::Running) => changed.state = GroupState::Paused,
            (GroupWish::Resume, GroupState::Paused) => changed.state = GroupState::Running,
            (GroupWish::Cancel, GroupState::Running | GroupState::Paused) => {
                changed.state = GroupState::Cancelling;
                changed.skip_pending();
            }
        }
        let (kind, what) = match wish {
            GroupWish::Pause => (EventKind::GroupPaused, "paused"),
            GroupWish::Resume => (EventKind::GroupResumed, "resumed"),
            GroupWish::Cancel => (EventKind::GroupCancelled, "cancelled"),
        };
        record(kind, &group, format!("{what} by {by}"), turn);
        let active: Vec<ExecutionId> = group.active().collect();
        self.put_group(Arc::clone(&group), turn);
        if wish == GroupWish::Cancel {
            for id in active {
                self.stop_member(id, by, turn);
            }
        }
        self.advance_group(id, turn);
        Ok(Answer::Group(self.groups.get(&id).cloned().unwrap_or(group)))
    }

    fn stop_member(&mut self, id: ExecutionId, by: &str, turn: &mut Turn<'_>) {
        // One that has ended meanwhile needs no stop.
        drop(self.cancel(id, by, turn));
    }

    fn put_group(&mut self, mut group: Arc<Group>, turn: &mut Turn<'_>) {
        Arc::make_mut(&mut group).end_if_over(turn.now.wall);
        if group.state.ended_at().is_some() {
            self.groups.remove(&group.id);
            record(EventKind::GroupEnded, &group, summary(&group), turn);
        } else {
            self.groups.insert(group.id, Arc::clone(&group));
        }
        turn.change(Change::PutGroup(group));
    }
}

/// How its members ended, for people.
fn summary(group: &Group) -> String {
    let counts = group.counts().into_iter().filter(|(_, count)| *count > 0);
    let counts: Vec<String> = counts.map(|(name, count)| format!("{count} {name}")).collect();
    format!("{}: {}", group.state.name(), counts.join(", "))
}

fn record(kind: EventKind, group: &Group, message: String, turn: &mut Turn<'_>) {
    let message = format!("group {} of {}: {message}", group.id, group.workflow());
    turn.change(Change::Record(EventRecord {
        at: turn.now.wall,
        kind,
        execution: None,
        workflow: Some(group.workflow_id()),
        worker: None,
        message,
    }));
}
