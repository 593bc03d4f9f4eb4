//! The contract of [`StateStore`](data_runner_core::port::StateStore), and what all suites of a store share.
//!
//! An adapter runs it by `data_runner_testkit::state_store_contract!(fixture)`, where `fixture` is an expression that
//! makes a new, empty [`StoreFixture`]; it is evaluated once a test.

pub(super) mod model;

use std::sync::Arc;

use async_trait::async_trait;
use data_runner_core::delivery::Delivery;
use data_runner_core::event::{Change, Snapshot};
use data_runner_core::execution::{Execution, ExecutionState};
use data_runner_core::group::{Group, GroupState};
use data_runner_core::id::{CommitSequence, Epoch};
use data_runner_core::log::{Gap, GapReason, LogOffset};
use data_runner_core::port::{Catalog, EventQuery, LogState, LogStore, StateError, StateStore, TokenStore};
use data_runner_core::time::Entropy;
use data_runner_core::workflow::{NeedsProgress, ScheduleProgress};

use super::log_store::{append_lines, claim};
use crate::sample::{at, execution, execution_id};

/// A store as a supervisor uses it: all four ports on one place.
pub trait Store: StateStore + LogStore + Catalog + TokenStore {}

impl<T: StateStore + LogStore + Catalog + TokenStore> Store for T {}

/// A place that outlives the supervisors that use it.
#[async_trait]
pub trait StoreFixture: Send + Sync {
    /// The store as another process that starts now would open it.
    async fn open(&self) -> Arc<dyn Store>;

    /// What the sudden death of a process does to a store that it opened.
    async fn crash(&self, store: Arc<dyn Store>);
}

/// The store, and a tenure of it.
pub async fn acquired(fixture: &dyn StoreFixture) -> (Arc<dyn Store>, Epoch) {
    let store = fixture.open().await;
    let epoch = store.acquire(at(0)).await.expect("the store is free");
    (store, epoch)
}

/// The first supervisor gets an epoch above the one that nobody has.
pub async fn the_first_tenure_has_an_epoch_above_zero(fixture: &dyn StoreFixture) {
    let (_store, epoch) = acquired(fixture).await;
    assert!(epoch > Epoch(0));
}

/// Two supervisors at once would do everything twice.
pub async fn a_second_supervisor_is_refused_while_the_first_lives(fixture: &dyn StoreFixture) {
    let (first, epoch) = acquired(fixture).await;
    let second = fixture.open().await;
    let error = second.acquire(at(1)).await.expect_err("the store is held");
    assert!(matches!(&error, StateError::Held { holder } if !holder.is_empty()), "{error:?}");
    put(&*first, epoch, &execution(1)).await;
}

/// What the refused one tried does not raise the epoch under the holder's feet.
pub async fn a_refused_supervisor_does_not_fence_the_holder(fixture: &dyn StoreFixture) {
    let (first, epoch) = acquired(fixture).await;
    let second = fixture.open().await;
    for _ in 0..3 {
        second.acquire(at(1)).await.expect_err("the store is held");
    }
    assert_eq!(put(&*first, epoch, &execution(1)).await, CommitSequence(1));
}

/// Death frees the store, and each new tenure's epoch is higher.
pub async fn each_tenure_has_a_higher_epoch(fixture: &dyn StoreFixture) {
    let mut last = Epoch(0);
    for _ in 0..3 {
        let (store, epoch) = acquired(fixture).await;
        assert!(epoch > last, "{epoch} after {last}");
        last = epoch;
        fixture.crash(store).await;
    }
}

/// A supervisor that comes back from a long sleep can do no harm.
pub async fn a_commit_under_an_old_epoch_is_fenced_and_changes_nothing(fixture: &dyn StoreFixture) {
    let (store, old) = acquired(fixture).await;
    put(&*store, old, &execution(1)).await;
    fixture.crash(store).await;
    let (store, new) = acquired(fixture).await;
    let before = store.load(new).await.expect("load");
    let error = store
        .commit(old, at(2), vec![Change::PutExecution(Arc::new(execution(2)))])
        .await
        .expect_err("an old epoch");
    assert!(
        matches!(error, StateError::Fenced { ours, current } if ours == old && current == new),
        "{error:?}"
    );
    let error = store.commit(old, at(2), Vec::new()).await.expect_err("an old epoch");
    assert!(matches!(error, StateError::Fenced { .. }), "{error:?}");
    assert_eq!(store.load(new).await.expect("load"), before);
}

/// An old epoch may not look either: what it would decide from that is fenced anyway.
pub async fn a_load_under_an_old_epoch_is_fenced(fixture: &dyn StoreFixture) {
    let (store, old) = acquired(fixture).await;
    fixture.crash(store).await;
    let (store, _new) = acquired(fixture).await;
    let error = store.load(old).await.expect_err("an old epoch");
    assert!(matches!(error, StateError::Fenced { .. }), "{error:?}");
}

/// A new store is empty.
pub async fn a_new_store_holds_nothing(fixture: &dyn StoreFixture) {
    let (store, epoch) = acquired(fixture).await;
    assert_eq!(store.load(epoch).await.expect("load"), Snapshot::default());
}

/// `/events` resumes by the sequence: no commit may be missing in it.
pub async fn sequences_rise_by_one_from_one_across_tenures(fixture: &dyn StoreFixture) {
    let (store, epoch) = acquired(fixture).await;
    for n in 1..=3 {
        assert_eq!(put(&*store, epoch, &execution(n)).await, CommitSequence(n));
    }
    fixture.crash(store).await;
    let (store, epoch) = acquired(fixture).await;
    assert_eq!(store.load(epoch).await.expect("load").sequence, CommitSequence(3));
    assert_eq!(put(&*store, epoch, &execution(4)).await, CommitSequence(4));
}

/// Many at once get a sequence each.
pub async fn concurrent_commits_get_a_sequence_each(fixture: &dyn StoreFixture) {
    let (store, epoch) = acquired(fixture).await;
    let tasks: Vec<_> = (1..=50)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { put(&*store, epoch, &execution(n)).await })
        })
        .collect();
    let mut sequences = Vec::new();
    for task in tasks {
        sequences.push(task.await.expect("commits").0);
    }
    sequences.sort_unstable();
    assert_eq!(sequences, (1..=50).collect::<Vec<u64>>());
    assert_eq!(store.load(epoch).await.expect("load").executions.len(), 50);
}

/// Nothing to commit is no commit.
pub async fn an_empty_commit_returns_the_last_sequence(fixture: &dyn StoreFixture) {
    let (store, epoch) = acquired(fixture).await;
    assert_eq!(store.commit(epoch, at(1), Vec::new()).await.expect("commit"), CommitSequence(0));
    put(&*store, epoch, &execution(1)).await;
    assert_eq!(store.commit(epoch, at(1), Vec::new()).await.expect("commit"), CommitSequence(1));
    assert_eq!(store.load(epoch).await.expect("load").sequence, CommitSequence(1));
}

/// What was acknowledged survives the death of the process.
pub async fn what_was_committed_is_there_after_a_crash(fixture: &dyn StoreFixture) {
    let (store, epoch) = acquired(fixture).await;
    let changes = model::one_of_each();
    store.commit(epoch, at(1), changes).await.expect("commit");
    let before = store.load(epoch).await.expect("load");
    fixture.crash(store).await;
    let (store, epoch) = acquired(fixture).await;
    assert_eq!(store.load(epoch).await.expect("load"), before);
    assert_eq!(before.executions.len(), 1);
    assert_eq!(before.workers.len(), 1);
    assert_eq!(before.workflows.len(), 1);
    assert_eq!(before.repos.len(), 1);
    assert_eq!(before.schedules.len(), 1);
    assert_eq!(before.logs.len(), 1);
}

/// Of several values for one thing within one commit, the last stands.
pub async fn changes_of_one_commit_apply_in_order(fixture: &dyn StoreFixture) {
    let (store, epoch) = acquired(fixture).await;
    let queued = execution(1);
    let provisioning = model::provisioning(&queued);
    let changes = vec![
        Change::PutExecution(Arc::new(queued)),
        Change::PutExecution(Arc::new(provisioning.clone())),
        Change::CloseLog { attempt: claim(1, 1).attempt, gap: None },
        Change::OpenLog(claim(1, 1)),
        Change::OpenLog(claim(1, 2)),
        Change::CloseLog { attempt: claim(1, 2).attempt, gap: None },
    ];
    store.commit(epoch, at(1), changes).await.expect("commit");
    assert_eq!(store.load(epoch).await.expect("load").executions, [provisioning]);
    let state = |n| {
        let store = Arc::clone(&store);
        async move { store.summary(claim(1, n).attempt).await.expect("summary").state }
    };
    assert_eq!(state(1).await, LogState::Open);
    assert_eq!(state(2).await, LogState::Complete { at: at(1) });
}

/// Memory grows with what is active, not with history.
pub async fn terminal_executions_and_terminated_workers_are_not_loaded(fixture: &dyn StoreFixture) {
    let (store, epoch) = acquired(fixture).await;
    let mut changes = Vec::new();
    for (n, state) in model::states(1).into_iter().enumerate() {
        changes.push(Change::PutExecution(Arc::new(Execution { state, ..execution(n as u64 + 1) })));
    }
    changes.extend(model::workers().into_iter().map(|worker| Change::PutWorker(Arc::new(worker))));
    store.commit(epoch, at(1), changes).await.expect("commit");
    let snapshot = store.load(epoch).await.expect("load");
    assert!(!snapshot.executions.is_empty());
    assert!(snapshot.executions.iter().all(|execution| !execution.state.name().is_terminal()));
    let active = model::states(1).iter().filter(|state| !state.name().is_terminal()).count();
    assert_eq!(snapshot.executions.len(), active);
    assert_eq!(snapshot.workers, model::workers().into_iter().filter(model::is_live).collect::<Vec<_>>());
}

/// Every state, every cause, every optional part comes back as it was put.
pub async fn each_state_of_an_execution_comes_back_as_it_was_put(fixture: &dyn StoreFixture) {
    let (store, epoch) = acquired(fixture).await;
    for (n, state) in model::states(1).into_iter().enumerate() {
        let put_one = model::rich(Execution { state, ..execution(n as u64 + 1) });
        put(&*store, epoch, &put_one).await;
        assert_eq!(store.execution(put_one.id).await.expect("read"), Some(put_one));
    }
}

/// The same of workers.
pub async fn each_state_of_a_worker_comes_back_as_it_was_put(fixture: &dyn StoreFixture) {
    let (store, epoch) = acquired(fixture).await;
    for worker in model::workers() {
        store.commit(epoch, at(1), vec![Change::PutWorker(Arc::new(worker.clone()))]).await.expect("commit");
        assert_eq!(store.worker(worker.id).await.expect("read"), Some(worker));
    }
}

/// A schedule whose progress is forgotten runs twice, or not at all.
pub async fn how_far_schedules_have_come_is_loaded_as_it_was_put_last(fixture: &dyn StoreFixture) {
    let (store, epoch) = acquired(fixture).await;
    let schedules = model::schedules();
    let put = |progress: &ScheduleProgress| Change::PutSchedule(Arc::new(progress.clone()));
    let begun = schedules.iter().map(|it| ScheduleProgress { reached: at(0), last: None, ..it.clone() });
    let begun: Vec<Change> = begun.map(|it| put(&it)).collect();
    store.commit(epoch, at(1), begun).await.expect("commit");
    store.commit(epoch, at(2), schedules.iter().map(put).collect()).await.expect("commit");
    fixture.crash(store).await;
    let (store, epoch) = acquired(fixture).await;
    assert_eq!(store.load(epoch).await.expect("load").schedules, schedules);
}

/// A success that is forgotten starts nothing, and one that is remembered after it was used starts something twice.
pub async fn what_has_succeeded_for_others_is_loaded_as_it_was_put_last(fixture: &dyn StoreFixture) {
    let (store, epoch) = acquired(fixture).await;
    let needs = model::needs();
    let put = |progress: &NeedsProgress| Change::PutNeeds(Arc::new(progress.clone()));
    let begun = needs.iter().map(|it| NeedsProgress { unused: Vec::new(), last: None, ..it.clone() });
    let begun: Vec<Change> = begun.map(|it| put(&it)).collect();
    store.commit(epoch, at(1), begun).await.expect("commit");
    store.commit(epoch, at(2), needs.iter().map(put).collect()).await.expect("commit");
    fixture.crash(store).await;
    let (store, epoch) = acquired(fixture).await;
    assert_eq!(store.load(epoch).await.expect("load").needs, needs);
}

/// A group goes on where it was; one that has ended is left alone.
pub async fn only_groups_that_have_not_ended_are_loaded(fixture: &dyn StoreFixture) {
    let (store, epoch) = acquired(fixture).await;
    let groups: Vec<Group> = (1..=4).map(model::group).collect();
    let put = |group: &Group| Change::PutGroup(Arc::new(group.clone()));
    store.commit(epoch, at(1), groups.iter().map(put).collect()).await.expect("commit");
    let ended = [
        Group { state: GroupState::Done { at: at(2) }, ..groups[0].clone() },
        Group { state: GroupState::Cancelled { at: at(2) }, ..groups[2].clone() },
    ];
    store.commit(epoch, at(2), ended.iter().map(put).collect()).await.expect("commit");
    fixture.crash(store).await;
    let (store, epoch) = acquired(fixture).await;
    let active = [groups[1].clone(), groups[3].clone()];
    assert_eq!(store.load(epoch).await.expect("load").groups, active);
}

/// A message that is owed is owed after a crash; one that is settled is never sent again.
pub async fn only_pending_deliveries_are_loaded(fixture: &dyn StoreFixture) {
    let (store, epoch) = acquired(fixture).await;
    let all = model::deliveries();
    let pending: Vec<Delivery> = all.iter().filter(|it| it.is_pending()).cloned().collect();
    let begun = all.iter().map(|it| Delivery { state: all[0].state.clone(), ..it.clone() });
    let put = |it: Delivery| Change::PutDelivery(Arc::new(it));
    store.commit(epoch, at(1), begun.map(put).collect()).await.expect("commit");
    assert_eq!(store.load(epoch).await.expect("load").deliveries.len(), all.len());
    store.commit(epoch, at(2), all.into_iter().map(put).collect()).await.expect("commit");
    fixture.crash(store).await;
    let (store, epoch) = acquired(fixture).await;
    assert_eq!(store.load(epoch).await.expect("load").deliveries, pending);
}

/// A restart resumes each open log where the store has it; closed ones need nothing.
pub async fn open_logs_are_loaded_with_their_offsets(fixture: &dyn StoreFixture) {
    let (store, epoch) = acquired(fixture).await;
    let changes = (1..=3).map(|n| Change::OpenLog(claim(n, 1))).collect();
    store.commit(epoch, at(1), changes).await.expect("commit");
    append_lines(&*store, claim(2, 1), 3).await;
    append_lines(&*store, claim(3, 1), 3).await;
    let gap = Some(Gap { bytes: None, reason: GapReason::WorkerLost });
    let close = Change::CloseLog { attempt: claim(3, 1).attempt, gap };
    store.commit(epoch, at(2), vec![close]).await.expect("commit");
    fixture.crash(store).await;
    let (store, epoch) = acquired(fixture).await;
    let end = store.summary(claim(2, 1).attempt).await.expect("summary").end.offset;
    assert!(end > LogOffset(0));
    let logs = store.load(epoch).await.expect("load").logs;
    assert_eq!(logs, [(claim(1, 1), LogOffset(0)), (claim(2, 1), end)]);
}

/// Whatever is put, in whatever order: `load` is what a map of the last values would give, also after crashes.
pub async fn load_equals_a_model_after_random_commits(fixture: &dyn StoreFixture) {
    for seed in 0..8 {
        let mut entropy = Entropy::from_number(seed);
        let (mut store, mut epoch) = acquired(fixture).await;
        let mut model = model::Model::of(&*store, epoch).await;
        for _ in 0..25 {
            let changes = model.random_commit(&mut entropy);
            let sequence = store.commit(epoch, at(1), changes).await.expect("commit");
            assert_eq!(sequence, model.sequence(), "seed {seed}");
            if entropy.below(8) == 0 {
                fixture.crash(store).await;
                (store, epoch) = acquired(fixture).await;
            }
            assert_eq!(store.load(epoch).await.expect("load"), model.snapshot(), "seed {seed}");
        }
        assert_eq!(store.counts().await.expect("counts"), model.counts(), "seed {seed}");
        fixture.crash(store).await;
    }
}

/// A commit that is refused leaves no trace of any of its changes, events among them.
pub async fn a_fenced_commit_leaves_no_part_of_itself(fixture: &dyn StoreFixture) {
    let (store, old) = acquired(fixture).await;
    fixture.crash(store).await;
    let (store, new) = acquired(fixture).await;
    store.commit(old, at(1), model::one_of_each()).await.expect_err("an old epoch");
    assert_eq!(store.load(new).await.expect("load"), Snapshot::default());
    assert_eq!(store.execution(execution_id(1)).await.expect("read"), None);
    let all = EventQuery { limit: 10, ..EventQuery::default() };
    assert_eq!(store.events(all).await.expect("events"), []);
    assert_eq!(store.idempotent("key").await.expect("read"), None);
    assert_eq!(store.counts().await.expect("counts").values().sum::<u64>(), 0);
}

/// The end of an execution and of its log is one commit; so is everything else that belongs together.
pub async fn the_end_of_an_execution_and_of_its_log_are_one_commit(fixture: &dyn StoreFixture) {
    let (store, epoch) = acquired(fixture).await;
    let changes = vec![Change::PutExecution(Arc::new(execution(1))), Change::OpenLog(claim(1, 1))];
    store.commit(epoch, at(1), changes).await.expect("commit");
    let ended = Execution { state: ExecutionState::Success { at: at(5) }, ..execution(1) };
    let changes = vec![
        Change::CloseLog { attempt: claim(1, 1).attempt, gap: None },
        Change::PutExecution(Arc::new(ended)),
    ];
    store.commit(epoch, at(5), changes).await.expect("commit");
    let snapshot = store.load(epoch).await.expect("load");
    assert_eq!((snapshot.executions, snapshot.logs), (Vec::new(), Vec::new()));
}

/// Commits one execution.
pub(super) async fn put(store: &dyn Store, epoch: Epoch, execution: &Execution) -> CommitSequence {
    let change = Change::PutExecution(Arc::new(execution.clone()));
    store.commit(epoch, execution.created_at, vec![change]).await.expect("commit")
}

/// One test for each clause named, of one module of [`crate::contract`].
#[doc(hidden)]
#[macro_export]
macro_rules! store_clauses {
    ($fixture:expr, $suite:ident: $($clause:ident)*) => {
        mod $suite {
            #[allow(unused_imports)]
            use super::*;
            $(
                #[tokio::test]
                async fn $clause() {
                    let fixture = $fixture;
                    $crate::contract::$suite::$clause(&fixture).await;
                }
            )*
        }
    };
}

/// The contract of a StateStore, a test a clause, in a module `state_store`.
#[macro_export]
macro_rules! state_store_contract {
    ($fixture:expr) => {
        $crate::store_clauses!($fixture, state_store:
            the_first_tenure_has_an_epoch_above_zero
            a_second_supervisor_is_refused_while_the_first_lives
            a_refused_supervisor_does_not_fence_the_holder
            each_tenure_has_a_higher_epoch
            a_commit_under_an_old_epoch_is_fenced_and_changes_nothing
            a_load_under_an_old_epoch_is_fenced
            a_new_store_holds_nothing
            sequences_rise_by_one_from_one_across_tenures
            concurrent_commits_get_a_sequence_each
            an_empty_commit_returns_the_last_sequence
            what_was_committed_is_there_after_a_crash
            changes_of_one_commit_apply_in_order
            terminal_executions_and_terminated_workers_are_not_loaded
            each_state_of_an_execution_comes_back_as_it_was_put
            each_state_of_a_worker_comes_back_as_it_was_put
            how_far_schedules_have_come_is_loaded_as_it_was_put_last
            what_has_succeeded_for_others_is_loaded_as_it_was_put_last
            only_groups_that_have_not_ended_are_loaded
            only_pending_deliveries_are_loaded
            open_logs_are_loaded_with_their_offsets
            load_equals_a_model_after_random_commits
            a_fenced_commit_leaves_no_part_of_itself
            the_end_of_an_execution_and_of_its_log_are_one_commit
        );
    };
}
