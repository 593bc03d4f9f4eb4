//! Executions that belong together.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use data_runner_core::event::{
    Answer, EventKind, GroupWish, Idempotency, Rejection, Request, ShutDown, Submit,
};
use data_runner_core::execution::{Concurrency, Ending, Execution, OnConflict, Queueing, StateName, Trigger};
use data_runner_core::group::{Group, GroupKind, GroupOrder, GroupState, Member, MemberState};
use data_runner_core::id::{ExecutionId, GroupId, SessionId, Sha256, WorkerId};
use data_runner_core::port::Made;
use data_runner_core::workflow::{ParamValue, ScheduleDates};
use data_runner_testkit::sample;
use jiff::civil::date;

use crate::needs::Chain;
use crate::scene::{Scene, finished, joined, seconds};

/// A stage with a worker that takes a few executions at one time.
struct Grouped {
    it: Scene,
    sessions: BTreeMap<WorkerId, SessionId>,
}

fn member(n: i64) -> Member {
    let params = BTreeMap::from([("n".to_owned(), ParamValue::Int(n))]);
    Member::new(params, None, Default::default())
}

impl Grouped {
    fn new() -> Self {
        let mut it = Self { it: Scene::new(joined()), sessions: BTreeMap::new() };
        (0..4).for_each(|n| it.join(n));
        it
    }

    fn join(&mut self, n: u64) {
        let worker = sample::worker_id(900 + n);
        let session = self.it.join(worker);
        self.sessions.insert(worker, session);
    }

    fn order(&self, members: i64, max_parallel: Option<u32>, fail_fast: bool) -> GroupOrder {
        GroupOrder {
            submit: self.it.order(),
            kind: GroupKind::Matrix,
            members: (0..members).map(member).collect(),
            max_parallel,
            fail_fast,
        }
    }

    fn start(&mut self, order: GroupOrder) -> GroupId {
        match self.it.request(Request::StartGroup(Box::new(order))).0 {
            Some(Answer::Group(group)) => group.id,
            other => panic!("not made: {other:?}"),
        }
    }

    fn group(&self, id: GroupId) -> Group {
        let found = self.it.store.groups_now().into_iter().find(|group| group.id == id);
        Group::clone(&found.expect("it is in the store"))
    }

    fn states(&self, id: GroupId) -> Vec<&'static str> {
        self.group(id).members.iter().map(|member| member.state.name()).collect()
    }

    fn wish(&mut self, group: GroupId, wish: GroupWish) -> Option<Answer> {
        self.it.request(Request::ChangeGroup { group, wish, by: "a test".to_owned() }).0
    }

    fn execution(&self, id: GroupId, index: usize) -> Execution {
        let state = self.group(id).members[index].state;
        self.it.execution(state.execution().expect("it has started"))
    }

    /// The member that is active ends like this.
    fn end(&mut self, id: GroupId, index: usize, ending: Ending) {
        let execution = self.execution(id, index);
        let live = execution.state.live().expect("a worker has it");
        let session = self.sessions[&live.worker];
        let claim = live.claim(execution.id);
        self.it.starts(live.worker, session, claim);
        self.it.reports(live.worker, session, claim, finished(ending, 0));
    }

    fn exit(&mut self, id: GroupId, index: usize, code: u8) {
        self.end(id, index, Ending::Exited { code });
    }
}

#[test]
fn a_group_makes_one_execution_for_each_member_with_its_own_parameters_and_ends_with_the_last() {
    let mut it = Grouped::new();
    let order = it.order(3, None, false);
    let id = it.start(order);
    for n in 0..3 {
        let execution = it.execution(id, n);
        assert_eq!(execution.job.params["n"], ParamValue::Int(n as i64));
        assert_eq!(execution.group.unwrap().index as usize, n);
        assert_eq!(execution.trigger, Trigger::Manual);
    }
    it.exit(id, 0, 0);
    it.exit(id, 1, 1);
    assert_eq!(it.states(id), ["success", "failed", "active"]);
    it.exit(id, 2, 0);
    assert!(matches!(it.group(id).state, GroupState::Done { .. }));
    assert!(it.it.it.groups().is_empty(), "what has ended leaves");
    let told = it.it.told(EventKind::GroupEnded);
    assert!(told[0].contains("1 failed, 2 success"), "{told:?}");
}

#[test]
fn no_more_members_are_active_than_may_be_and_the_next_one_starts_as_one_ends_i9() {
    let mut it = Grouped::new();
    let order = it.order(4, Some(2), false);
    let id = it.start(order);
    assert_eq!(it.states(id), ["active", "active", "pending", "pending"]);
    it.exit(id, 1, 0);
    assert_eq!(it.states(id), ["active", "success", "active", "pending"]);
    it.it.restart();
    it.it.tick_after(seconds(1));
    assert_eq!(it.states(id), ["active", "success", "active", "pending"], "a restart starts nothing twice");
}

#[test]
fn a_failure_ends_a_group_that_fails_fast_and_no_other() {
    let mut it = Grouped::new();
    let order = it.order(4, Some(2), true);
    let id = it.start(order);
    it.exit(id, 0, 1);
    assert_eq!(it.states(id), ["failed", "active", "skipped", "skipped"]);
    it.end(id, 1, Ending::Stopped { reason: data_runner_core::execution::StopReason::Cancelled });
    assert_eq!(it.states(id), ["failed", "cancelled", "skipped", "skipped"]);
    assert!(matches!(it.group(id).state, GroupState::Done { .. }));

    let order = it.order(2, Some(1), false);
    let id = it.start(order);
    it.exit(id, 0, 1);
    assert_eq!(it.states(id), ["failed", "active"]);
}

#[test]
fn members_that_wait_for_a_worker_are_cancelled_at_once_when_another_one_fails() {
    let mut it = Grouped::new();
    // Four workers, so two members wait.
    let order = it.order(6, None, true);
    let id = it.start(order);
    let waiting: Vec<ExecutionId> = (0..6)
        .map(|n| it.execution(id, n))
        .filter(|execution| execution.state.name() == StateName::Queued)
        .map(|execution| execution.id)
        .collect();
    assert_eq!(waiting.len(), 2);
    let running = (0..6).find(|n| it.execution(id, *n).state.live().is_some()).unwrap();
    it.exit(id, running, 1);
    assert!(waiting.iter().all(|id| it.it.state(*id) == StateName::Cancelled));
    let counts = it.group(id).counts();
    assert_eq!((counts["failed"], counts["cancelled"], counts["active"]), (1, 2, 3));
}

#[test]
fn a_paused_group_starts_nothing_until_it_is_resumed() {
    let mut it = Grouped::new();
    let order = it.order(3, Some(1), false);
    let id = it.start(order);
    it.wish(id, GroupWish::Pause);
    it.exit(id, 0, 0);
    it.it.restart();
    it.it.tick_after(seconds(60));
    assert_eq!(it.states(id), ["success", "pending", "pending"]);
    assert_eq!(it.group(id).state, GroupState::Paused);
    it.wish(id, GroupWish::Resume);
    assert_eq!(it.states(id), ["success", "active", "pending"]);
}

#[test]
fn a_cancelled_group_starts_nothing_more_and_ends_with_what_was_active_i11() {
    let mut it = Grouped::new();
    let order = it.order(3, Some(1), false);
    let id = it.start(order);
    it.wish(id, GroupWish::Cancel);
    assert_eq!(it.states(id), ["active", "skipped", "skipped"]);
    assert_eq!(it.group(id).state, GroupState::Cancelling);
    it.wish(id, GroupWish::Resume);
    assert_eq!(it.group(id).state, GroupState::Cancelling, "there is no way back");
    it.end(id, 0, Ending::Stopped { reason: data_runner_core::execution::StopReason::Cancelled });
    assert!(matches!(it.group(id).state, GroupState::Cancelled { .. }));
    assert_eq!(it.wish(id, GroupWish::Pause), Some(Answer::Rejected(Rejection::NoSuchGroup(id))));
}

#[test]
fn a_member_that_a_person_cancels_counts_as_ended() {
    let mut it = Grouped::new();
    let order = it.order(2, Some(1), true);
    let id = it.start(order);
    let first = it.execution(id, 0).id;
    it.it.cancel(first);
    it.end(id, 0, Ending::Stopped { reason: data_runner_core::execution::StopReason::Cancelled });
    assert_eq!(it.states(id), ["cancelled", "active"], "that is no failure");
}

#[test]
fn a_workflow_that_goes_away_takes_the_rest_of_its_groups_along() {
    let mut it = Grouped::new();
    let order = it.order(3, Some(1), false);
    let id = it.start(order);
    let workflow = it.it.workflow();
    it.it.request(Request::DeleteWorkflow { workflow });
    it.exit(id, 0, 0);
    assert_eq!(it.states(id), ["success", "skipped", "skipped"]);
    assert!(matches!(it.group(id).state, GroupState::Cancelled { .. }));
}

#[test]
fn the_same_key_leads_to_the_same_group_also_after_its_end_i12() {
    let mut it = Grouped::new();
    let keyed = |it: &Grouped| {
        let known = it.it.store.idempotent_now("k");
        let idempotency = Some(Idempotency { key: "k".to_owned(), body: Sha256::of(b"1"), known });
        let order = it.order(1, None, false);
        GroupOrder { submit: Submit { idempotency, ..order.submit }, ..order }
    };
    let order = keyed(&it);
    let id = it.start(order);
    it.exit(id, 0, 0);
    let order = keyed(&it);
    let (answer, _) = it.it.request(Request::StartGroup(Box::new(order)));
    assert_eq!(answer, Some(Answer::Existing(Made::Group(id))));
    assert_eq!(it.it.store.groups_now().len(), 1);
}

#[test]
fn a_supervisor_that_ends_starts_no_member_and_the_next_one_goes_on() {
    let mut it = Grouped::new();
    let order = it.order(2, Some(1), false);
    let id = it.start(order);
    it.it.shut_down(ShutDown::Drain);
    it.exit(id, 0, 0);
    assert_eq!(it.states(id), ["success", "pending"]);
    it.it.restart();
    it.it.tick_after(seconds(1));
    assert_eq!(it.states(id), ["success", "active"]);
}

#[test]
fn members_of_one_key_wait_for_each_other_and_are_skipped_when_others_run() {
    let mut it = Grouped::new();
    let rule = |on_conflict| Queueing {
        concurrency: Some(Concurrency { limit: NonZeroU32::MIN, key: "k".to_owned(), on_conflict }),
        ..Queueing::default()
    };
    let order = |it: &Grouped, on_conflict| {
        let order = it.order(2, None, false);
        let members = order.members.iter().map(|one| Member { queueing: rule(on_conflict), ..one.clone() });
        GroupOrder { members: members.collect(), ..order }
    };
    let wanted = order(&it, OnConflict::CancelRunning);
    let first = it.start(wanted);
    let running =
        |it: &Grouped| (0..2).filter(|n| it.execution(first, *n).state.live().is_some()).collect::<Vec<_>>();
    assert_eq!(running(&it).len(), 1, "siblings do not cancel each other");
    let wanted = order(&it, OnConflict::Skip);
    let second = it.start(wanted);
    assert_eq!(it.states(second), ["skipped", "skipped"], "others of their key run");
    assert!(matches!(it.group(second).state, GroupState::Done { .. }));
    let one = running(&it)[0];
    it.exit(first, one, 0);
    let other = running(&it)[0];
    it.exit(first, other, 0);
    assert!(matches!(it.group(first).state, GroupState::Done { .. }));
}

#[test]
fn what_repeats_a_member_changes_nothing_in_its_group() {
    let mut it = Grouped::new();
    let order = it.order(2, None, false);
    let id = it.start(order);
    it.exit(id, 0, 1);
    let failed = it.execution(id, 0);
    let retry =
        Submit { retry_of: Some(failed.id), trigger: Trigger::Retry, group: failed.group, ..it.it.order() };
    let again = it.it.submit_as(retry);
    let live = it.it.execution(again).state.live().unwrap();
    it.it.exits(live.worker, it.sessions[&live.worker], live.claim(again), 0);
    assert_eq!(it.it.state(again), StateName::Success);
    assert_eq!(it.states(id), ["failed", "active"]);
}

#[test]
fn a_group_of_what_is_needed_has_succeeded_when_all_members_of_a_date_have() {
    let mut chain = Chain::new();
    let days = [date(2026, 8, 3), date(2026, 8, 3), date(2026, 8, 4)];
    let members = days.iter().enumerate().map(|(n, day)| {
        let dates = ScheduleDates { date: *day, previous: day.yesterday().unwrap() };
        Member { dates: Some(dates), ..member(n as i64) }
    });
    let order = GroupOrder {
        submit: chain.order("orders", None),
        kind: GroupKind::Matrix,
        members: members.collect(),
        max_parallel: None,
        fail_fast: false,
    };
    let (answer, _) = chain.it.request(Request::StartGroup(Box::new(order)));
    let Some(Answer::Group(group)) = answer else { panic!("{answer:?}") };
    for day in [date(2026, 8, 3), date(2026, 8, 4)] {
        assert!(chain.succeed("prices", Some(day)).is_empty());
    }
    let ids: Vec<ExecutionId> =
        group.members.iter().map(|member| member.state.execution().unwrap()).collect();
    assert!(chain.end(ids[0], 0).is_empty(), "half of the day");
    let third = chain.end(ids[2], 0);
    assert_eq!(third.len(), 1);
    assert_eq!(third[0].dates.unwrap().date, days[2]);
    let second = chain.end(ids[1], 0);
    assert_eq!(second.len(), 1);
    assert_eq!(second[0].dates.unwrap().date, days[0]);
    assert!(group.members.iter().all(|member| matches!(member.state, MemberState::Active(_))));
}
