//! The contract of [`Catalog`](data_runner_core::port::Catalog).
//!
//! An adapter runs it by `data_runner_testkit::catalog_contract!(fixture)`, with a
//! [`StoreFixture`](super::state_store::StoreFixture).

use std::collections::BTreeMap;
use std::sync::Arc;

use data_runner_core::artifact::{Artifact, ArtifactState};
use data_runner_core::cost::{MachinePrice, Market};
use data_runner_core::event::{Change, EventKind};
use data_runner_core::execution::{Attempt, Execution, ExecutionState, StateName};
use data_runner_core::group::{Group, GroupState, Membership};
use data_runner_core::hook::HookRecord;
use data_runner_core::id::{AttemptId, AttemptNumber, CommitSequence, ExecutionId, Sha256};
use data_runner_core::port::{EventPosition, EventQuery, ExecutionQuery};
use data_runner_core::worker::{Launched, Worker};

use super::state_store::model::{
    artifact, event, group, group_id, idempotency, is_live, one_of_each, repo, rich, states, workers,
    workflow,
};
use super::state_store::{Store, StoreFixture, acquired, put};
use crate::sample::{at, execution, execution_id, worker_id, workflow_id};

/// Twenty-one executions, number 1 to 21, in all states, of three workflows, half of them with a label.
async fn filled(fixture: &dyn StoreFixture) -> Arc<dyn Store> {
    let (store, epoch) = acquired(fixture).await;
    for n in 1..=21 {
        put(&*store, epoch, &numbered(n)).await;
    }
    store
}

fn numbered(n: u64) -> Execution {
    let states = states(1);
    let label =
        |parity| BTreeMap::from([("parity".to_owned(), parity), ("all".to_owned(), "yes".to_owned())]);
    Execution {
        state: states[n as usize % states.len()].clone(),
        workflow_id: workflow_id(n % 3 + 1),
        labels: label(if n.is_multiple_of(2) { "even".to_owned() } else { "odd".to_owned() }),
        group: (n % 4 == 1).then(|| Membership { group: group_id(n % 8), index: n as u32 }),
        ..execution(n)
    }
}

fn any() -> ExecutionQuery {
    ExecutionQuery { limit: 100, ..ExecutionQuery::default() }
}

async fn ids(store: &dyn Store, query: ExecutionQuery) -> Vec<ExecutionId> {
    store.executions(query).await.expect("page").into_iter().map(|execution| execution.id).collect()
}

/// The numbers that a predicate takes, newest first.
fn expected(wanted: impl Fn(u64, &Execution) -> bool) -> Vec<ExecutionId> {
    (1..=21).rev().filter(|n| wanted(*n, &numbered(*n))).map(execution_id).collect()
}

/// What ended is still there, as it ended.
pub async fn an_execution_is_found_also_when_it_has_ended(fixture: &dyn StoreFixture) {
    let store = filled(fixture).await;
    for n in 1..=21 {
        assert_eq!(store.execution(execution_id(n)).await.expect("read"), Some(numbered(n)));
    }
    assert_eq!(store.execution(execution_id(22)).await.expect("read"), None);
}

/// A caller that was answered sees what it did.
pub async fn what_was_committed_is_read_at_once(fixture: &dyn StoreFixture) {
    let (store, epoch) = acquired(fixture).await;
    for n in 1..=20 {
        put(&*store, epoch, &execution(n)).await;
        assert_eq!(store.execution(execution_id(n)).await.expect("read"), Some(execution(n)));
        assert_eq!(ids(&*store, any()).await.len() as u64, n);
        let ended = Execution { state: ExecutionState::Success { at: at(50) }, ..execution(n) };
        put(&*store, epoch, &ended).await;
        assert_eq!(store.execution(execution_id(n)).await.expect("read"), Some(ended));
    }
}

/// Newest first, whole, and each one once.
pub async fn pages_go_from_the_newest_to_the_oldest(fixture: &dyn StoreFixture) {
    let store = filled(fixture).await;
    let mut read: Vec<Execution> = Vec::new();
    loop {
        let before = read.last().map(|execution| execution.id);
        let page = store.executions(ExecutionQuery { before, limit: 4, ..any() }).await.expect("page");
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 4);
        read.extend(page);
    }
    assert_eq!(read, (1..=21).rev().map(numbered).collect::<Vec<_>>());
    assert_eq!(ids(&*store, ExecutionQuery { limit: 0, ..any() }).await, []);
}

/// Each filter by itself.
pub async fn executions_are_filtered_by_state_workflow_label_group_and_time(fixture: &dyn StoreFixture) {
    let store = filled(fixture).await;
    for state in StateName::ALL {
        let query = ExecutionQuery { states: vec![state], ..any() };
        assert_eq!(ids(&*store, query).await, expected(|_, one| one.state.name() == state), "{state}");
    }
    let query =
        ExecutionQuery { states: vec![StateName::Failed, StateName::Queued, StateName::Failed], ..any() };
    let failed_or_queued =
        |one: &Execution| matches!(one.state.name(), StateName::Failed | StateName::Queued);
    assert_eq!(ids(&*store, query).await, expected(|_, one| failed_or_queued(one)));

    let query = ExecutionQuery { workflow: Some(workflow_id(2)), ..any() };
    assert_eq!(ids(&*store, query).await, expected(|_, one| one.workflow_id == workflow_id(2)));
    assert_eq!(ids(&*store, ExecutionQuery { workflow: Some(workflow_id(9)), ..any() }).await, []);

    let label = |key: &str, value: &str| Some((key.to_owned(), value.to_owned()));
    let query = ExecutionQuery { label: label("parity", "even"), ..any() };
    assert_eq!(ids(&*store, query).await, expected(|n, _| n.is_multiple_of(2)));
    assert_eq!(ids(&*store, ExecutionQuery { label: label("parity", "prime"), ..any() }).await, []);
    assert_eq!(ids(&*store, ExecutionQuery { label: label("even", "parity"), ..any() }).await, []);

    let query = ExecutionQuery { group: Some(group_id(5)), ..any() };
    assert_eq!(ids(&*store, query).await, expected(|n, _| n % 8 == 5));
    assert_eq!(ids(&*store, ExecutionQuery { group: Some(group_id(2)), ..any() }).await, []);

    let query = ExecutionQuery { since: Some(at(5)), until: Some(at(9)), ..any() };
    assert_eq!(ids(&*store, query).await, expected(|n, _| (5..9).contains(&n)), "since is in, until is not");
    assert_eq!(ids(&*store, ExecutionQuery { since: Some(at(50)), ..any() }).await, []);
    assert_eq!(ids(&*store, ExecutionQuery { until: Some(at(1)), ..any() }).await, []);
}

/// Filters narrow each other, and pages go on within them.
pub async fn filters_and_pages_combine(fixture: &dyn StoreFixture) {
    let store = filled(fixture).await;
    let labels =
        [None, Some(("parity".to_owned(), "odd".to_owned())), Some(("all".to_owned(), "yes".to_owned()))];
    let state_lists = [vec![], vec![StateName::Queued], vec![StateName::Running, StateName::Success]];
    for label in &labels {
        for states in &state_lists {
            for workflow in [None, Some(workflow_id(1))] {
                for (since, until) in [(None, None), (Some(at(4)), Some(at(18)))] {
                    for (before, group) in [
                        (None, None),
                        (Some(execution_id(15)), None),
                        (Some(execution_id(20)), Some(group_id(5))),
                    ] {
                        let query = ExecutionQuery {
                            states: states.clone(),
                            workflow,
                            label: label.clone(),
                            group,
                            since,
                            until,
                            before,
                            limit: 3,
                        };
                        let mut wanted = expected(|_, one| matches(one, &query));
                        wanted.truncate(3);
                        assert_eq!(ids(&*store, query.clone()).await, wanted, "{query:?}");
                    }
                }
            }
        }
    }
}

fn matches(one: &Execution, query: &ExecutionQuery) -> bool {
    (query.states.is_empty() || query.states.contains(&one.state.name()))
        && query.workflow.is_none_or(|workflow| workflow == one.workflow_id)
        && query.label.as_ref().is_none_or(|(key, value)| one.labels.get(key) == Some(value))
        && query.group.is_none_or(|group| one.group.is_some_and(|place| place.group == group))
        && query.since.is_none_or(|since| one.created_at >= since)
        && query.until.is_none_or(|until| one.created_at < until)
        && query.before.is_none_or(|before| one.id < before)
}

/// An id's beginning is enough where it is the only one; where not, all that it could mean are named.
pub async fn a_prefix_finds_every_id_that_starts_so_newest_first(fixture: &dyn StoreFixture) {
    let store = filled(fixture).await;
    let text = execution_id(7).to_string();
    for length in 0..=text.len() {
        let prefix = &text[..length];
        let wanted = expected(|n, _| execution_id(n).to_string().starts_with(prefix));
        assert_eq!(store.executions_by_prefix(prefix, 100).await.expect("find"), wanted, "{prefix}");
    }
    assert_eq!(store.executions_by_prefix("", 2).await.expect("find"), [execution_id(21), execution_id(20)]);
    for nothing in
        ["ffff", "zzz", "%", "_", &text.to_uppercase(), &format!("{text}0"), &text.replace('-', "")]
    {
        assert_eq!(store.executions_by_prefix(nothing, 9).await.expect("find"), [], "{nothing}");
    }
}

/// Counters follow each transition; states that nothing is in are named too.
pub async fn counts_follow_every_transition(fixture: &dyn StoreFixture) {
    let (store, epoch) = acquired(fixture).await;
    let zero: BTreeMap<StateName, u64> = StateName::ALL.into_iter().map(|state| (state, 0)).collect();
    assert_eq!(store.counts().await.expect("counts"), zero);
    for state in states(1) {
        let name = state.name();
        put(&*store, epoch, &Execution { state, ..execution(1) }).await;
        let mut one = zero.clone();
        one.insert(name, 1);
        assert_eq!(store.counts().await.expect("counts"), one);
        if name.is_terminal() {
            break;
        }
    }
    put(&*store, epoch, &execution(2)).await;
    put(&*store, epoch, &execution(3)).await;
    assert_eq!(store.counts().await.expect("counts")[&StateName::Queued], 2);
    assert_eq!(store.counts().await.expect("counts").values().sum::<u64>(), 3);
}

/// Live workers, and as many of the dead as are asked for.
pub async fn workers_are_the_live_ones_and_the_newest_of_the_others(fixture: &dyn StoreFixture) {
    let (store, epoch) = acquired(fixture).await;
    let changes = workers().into_iter().map(|worker| Change::PutWorker(Arc::new(worker))).collect();
    store.commit(epoch, at(1), changes).await.expect("commit");
    let dead = workers().iter().filter(|worker| !is_live(worker)).count();
    for wanted in 0..=dead {
        let skipped = dead - wanted;
        let mut gone = 0;
        let expected: Vec<_> = workers()
            .into_iter()
            .filter(|worker| {
                gone += usize::from(!is_live(worker));
                is_live(worker) || gone > skipped
            })
            .collect();
        assert_eq!(store.workers(wanted as u32).await.expect("workers"), expected, "{wanted}");
    }
    assert_eq!(store.worker(worker_id(8)).await.expect("worker"), workers().into_iter().nth(7));
    assert_eq!(store.worker(worker_id(99)).await.expect("worker"), None);
}

/// What a machine cost is found long after its end: its price, and every attempt that it had, of whatever execution.
pub async fn a_worker_that_cost_something_is_found_with_its_attempts(fixture: &dyn StoreFixture) {
    let (store, epoch) = acquired(fixture).await;
    let mut executions = [rich(execution(1)), rich(execution(2)), execution(3)];
    let elsewhere = |attempt: &mut Attempt| attempt.worker = worker_id(5);
    executions[1].attempts.iter_mut().skip(1).for_each(elsewhere);
    let mut changes: Vec<Change> =
        workers().into_iter().map(|worker| Change::PutWorker(Arc::new(priced(worker)))).collect();
    changes.extend(executions.iter().map(|execution| Change::PutExecution(Arc::new(execution.clone()))));
    store.commit(epoch, at(1), changes).await.expect("commit");

    let attempts = |worker| -> Vec<(AttemptId, Attempt)> {
        let all = executions.iter().flat_map(|execution| {
            execution.attempts.iter().map(|attempt| (execution.attempt_id(attempt.number), attempt.clone()))
        });
        all.filter(|(_, attempt)| attempt.worker == worker).collect()
    };
    let asked = [8, 1, 99, 5, 4].map(worker_id).to_vec();
    let found = store.workers_that_cost(asked).await.expect("read");
    let ids: Vec<_> = found.iter().map(|(worker, _)| worker.id).collect();
    assert_eq!(ids, [1, 5, 8].map(worker_id), "in order, without those that have no price or are unknown");
    assert!(found.iter().any(|(worker, _)| !is_live(worker)), "one of them is gone");
    for (worker, mut of_worker) in found {
        of_worker.sort_by_key(|(id, _)| *id);
        assert_eq!(of_worker, attempts(worker.id), "{}", worker.id);
        assert_eq!(store.worker(worker.id).await.expect("read"), Some(worker));
    }
    assert_eq!(store.workers_that_cost(Vec::new()).await.expect("read"), []);
}

/// Number 4 has a machine without a price; the others have one.
fn priced(mut worker: Worker) -> Worker {
    let price = MachinePrice { instance: 41_600, volume: 1_200, address: 5_000 };
    worker.launched = Some(Launched {
        machine: "i-1".parse().expect("a machine id"),
        instance_type: "t3.medium".to_owned(),
        zone: None,
        market: Market::OnDemand,
        price: (worker.id != worker_id(4)).then_some(price),
        at: at(1),
    });
    worker
}

/// In order of their names, those that were deleted too.
pub async fn repositories_and_workflows_come_in_order_of_their_names(fixture: &dyn StoreFixture) {
    let (store, epoch) = acquired(fixture).await;
    let changes = vec![
        Change::PutRepo(Arc::new(repo("zeta"))),
        Change::PutRepo(Arc::new(repo("alpha"))),
        Change::PutWorkflow(Arc::new(workflow(1, "zeta", "a"))),
        Change::PutWorkflow(Arc::new(workflow(2, "alpha", "b"))),
        Change::PutWorkflow(Arc::new(workflow(3, "alpha", "a"))),
    ];
    store.commit(epoch, at(1), changes).await.expect("commit");
    assert_eq!(store.repos().await.expect("repos"), [repo("alpha"), repo("zeta")]);
    let expected = [workflow(3, "alpha", "a"), workflow(2, "alpha", "b"), workflow(1, "zeta", "a")];
    assert_eq!(store.workflows().await.expect("workflows"), expected);
}

/// A follower that was away goes on where it was, and misses nothing.
pub async fn events_resume_after_any_position(fixture: &dyn StoreFixture) {
    let (store, epoch) = acquired(fixture).await;
    for commit in 1..=4 {
        let mut changes: Vec<Change> = (1..=commit)
            .map(|n| Change::Record(event(EventKind::ExecutionQueued, (n != 2).then_some(n))))
            .collect();
        changes.insert(0, Change::PutExecution(Arc::new(execution(commit))));
        store.commit(epoch, at(1), changes).await.expect("commit");
    }
    let query = |after, execution, limit| EventQuery { after, execution, limit };
    let all = store.events(query(EventPosition::default(), None, 100)).await.expect("events");
    let positions: Vec<(u64, u32)> =
        all.iter().map(|event| (event.position.sequence.0, event.position.index)).collect();
    assert_eq!(positions, [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2), (4, 0), (4, 1), (4, 2), (4, 3)]);
    for (n, event) in all.iter().enumerate() {
        let rest = store.events(query(event.position, None, 100)).await.expect("events");
        assert_eq!(rest, all[n + 1..]);
        let next = store.events(query(event.position, None, 1)).await.expect("events");
        assert_eq!(next.first(), all.get(n + 1));
    }
    let of_one =
        store.events(query(EventPosition::default(), Some(execution_id(1)), 100)).await.expect("events");
    assert_eq!(of_one.len(), 4);
    assert!(of_one.iter().all(|event| event.record.execution == Some(execution_id(1))));
    let after = EventPosition { sequence: CommitSequence(2), index: 0 };
    let later = store.events(query(after, Some(execution_id(1)), 100)).await.expect("events");
    assert_eq!(later, of_one[2..]);
}

/// Every part of an event comes back.
pub async fn an_event_comes_back_as_it_was_recorded(fixture: &dyn StoreFixture) {
    let (store, epoch) = acquired(fixture).await;
    let records = [
        event(EventKind::WorkerChanged, None),
        event(EventKind::ReportIgnored, Some(3)),
        event(EventKind::RepoChanged, None),
    ];
    let changes = records.iter().cloned().map(Change::Record).collect();
    store.commit(epoch, at(1), changes).await.expect("commit");
    let all = EventQuery { limit: 10, ..EventQuery::default() };
    let read: Vec<_> =
        store.events(all).await.expect("events").into_iter().map(|event| event.record).collect();
    assert_eq!(read, records);
}

/// Groups are found for good, the newest first.
pub async fn groups_are_paged_from_the_newest_to_the_oldest(fixture: &dyn StoreFixture) {
    let (store, epoch) = acquired(fixture).await;
    let ended = Group { state: GroupState::Done { at: at(2) }, ..group(2) };
    let groups = [group(1), ended, group(3), group(4)];
    let put = groups.iter().map(|it| Change::PutGroup(Arc::new(it.clone()))).collect();
    store.commit(epoch, at(1), put).await.expect("commit");
    let [first, ended, third, fourth] = groups;
    assert_eq!(store.groups(None, 2).await.expect("groups"), [fourth.clone(), third.clone()]);
    assert_eq!(store.groups(Some(third.id), 9).await.expect("groups"), [ended.clone(), first]);
    assert_eq!(store.group(ended.id).await.expect("group"), Some(ended));
    assert_eq!(store.group(group_id(9)).await.expect("group"), None);
}

/// Invariant I12 rests on this.
pub async fn an_idempotency_key_leads_to_what_it_made(fixture: &dyn StoreFixture) {
    let (store, epoch) = acquired(fixture).await;
    store.commit(epoch, at(1), one_of_each()).await.expect("commit");
    assert_eq!(store.idempotent("key").await.expect("read"), Some(idempotency("key", 1)));
    assert_eq!(store.idempotent("KEY").await.expect("read"), None);
    let odd = "POST /workflows/a/execute \u{1f600}'%\0";
    let record = idempotency(odd, 2);
    store.commit(epoch, at(2), vec![Change::PutIdempotency(record.clone())]).await.expect("commit");
    let read = store.idempotent(odd).await.expect("read");
    assert_eq!(read.as_ref().map(|record| &record.body), Some(&Sha256::of(odd.as_bytes())));
    assert_eq!(read, Some(record));
}

/// Invariant I10 rests on this.
pub async fn a_delivery_is_known_by_each_of_its_names_until_it_is_forgotten(fixture: &dyn StoreFixture) {
    let (store, epoch) = acquired(fixture).await;
    let put = |key: &str, second| Change::PutHook(HookRecord { key: key.to_owned(), at: at(second) });
    let known = async |keys: &[&str]| {
        store.hook_known(keys.iter().map(|&key| key.to_owned()).collect()).await.expect("read")
    };
    store.commit(epoch, at(5), vec![put("github/a", 4), put("github/b", 5)]).await.expect("commit");
    assert!(known(&["github/a"]).await && known(&["github/x", "github/b"]).await);
    assert!(!known(&["github/x"]).await && !known(&["gitlab/a"]).await && !known(&[]).await);
    let changes = vec![put("gitlab/'%", 9), Change::ForgetHooks { before: at(5) }];
    store.commit(epoch, at(9), changes).await.expect("commit");
    assert!(!known(&["github/a"]).await, "it is too old");
    assert!(known(&["github/b"]).await && known(&["gitlab/'%"]).await);
}

/// An execution's files, by id and in order, as they were put last.
pub async fn files_of_an_execution_come_in_order(fixture: &dyn StoreFixture) {
    use ArtifactState::{Coming, Kept};
    let (store, epoch) = acquired(fixture).await;
    let put = |artifact: &Artifact| Change::PutArtifact(Box::new(artifact.clone()));
    let (b, a) = (artifact(2, "out/b'%.csv", Kept, 9), artifact(3, "out/a.csv", Coming, 8));
    let named = Artifact { name: "all".parse().expect("a name"), ..artifact(4, "out/z.csv", Kept, 7) };
    let second = AttemptId { number: AttemptNumber(2), ..a.attempt };
    let later = Artifact { attempt: second, ..artifact(5, "out/a.csv", Kept, 9) };
    let other = AttemptId { execution: execution_id(2), ..a.attempt };
    let elsewhere = Artifact { attempt: other, ..artifact(6, "out/a.csv", Kept, 9) };
    let all = [&b, &a, &named, &later, &elsewhere].map(put);
    store.commit(epoch, at(1), all.to_vec()).await.expect("commit");
    let expected = [named.clone(), a.clone(), b.clone(), later];
    assert_eq!(store.artifacts(execution_id(1)).await.expect("read"), expected);
    assert_eq!(store.artifact(b.id).await.expect("read"), Some(b));
    let arrived = Artifact { state: Kept, kept_until: at(30), ..a };
    store.commit(epoch, at(2), vec![put(&arrived)]).await.expect("commit");
    assert_eq!(store.artifact(arrived.id).await.expect("read"), Some(arrived));
    assert_eq!(store.artifacts(execution_id(3)).await.expect("read"), []);
}

/// Files whose time is over are found, the oldest first, and forgotten unless they were given more time.
pub async fn files_that_are_over_are_found_and_forgotten(fixture: &dyn StoreFixture) {
    use ArtifactState::{Coming, Kept};
    let (store, epoch) = acquired(fixture).await;
    let files = [artifact(1, "c", Kept, 5), artifact(2, "b", Coming, 3), artifact(3, "a", Kept, 6)];
    let put = |artifact: &Artifact| Change::PutArtifact(Box::new(artifact.clone()));
    store.commit(epoch, at(1), files.iter().map(put).collect()).await.expect("commit");
    let over = async |second, limit| store.artifacts_over(at(second), limit).await.expect("read");
    let [c, b, a] = files;
    assert_eq!(over(5, 9).await, [b.clone(), c.clone()]);
    assert_eq!(over(9, 1).await, std::slice::from_ref(&b));
    let longer = Artifact { kept_until: at(20), ..c };
    let ids = vec![longer.id, b.id];
    let changes = vec![put(&longer), Change::ForgetArtifacts { artifacts: ids, before: at(5) }];
    store.commit(epoch, at(6), changes).await.expect("commit");
    assert_eq!(over(30, 9).await, [a, longer]);
}

/// Bytes are needed as long as any file has them that is not over.
pub async fn bytes_are_needed_while_any_file_has_them(fixture: &dyn StoreFixture) {
    let (store, epoch) = acquired(fixture).await;
    let files = [artifact(1, "a", ArtifactState::Kept, 5), artifact(2, "a", ArtifactState::Coming, 7)];
    let put = |artifact: &Artifact| Change::PutArtifact(Box::new(artifact.clone()));
    store.commit(epoch, at(1), files.iter().map(put).collect()).await.expect("commit");
    let hash = &files[0].blob.hash;
    for (second, needed) in [(4, true), (5, true), (6, true), (7, false)] {
        assert_eq!(store.artifact_bytes_needed(hash, at(second)).await.expect("read"), needed, "{second}");
    }
    let others = Sha256::of(b"others");
    assert!(!store.artifact_bytes_needed(&others, at(0)).await.expect("read"));
}

/// The contract of a Catalog, a test a clause, in a module `catalog`.
#[macro_export]
macro_rules! catalog_contract {
    ($fixture:expr) => {
        $crate::store_clauses!($fixture, catalog:
            an_execution_is_found_also_when_it_has_ended
            what_was_committed_is_read_at_once
            pages_go_from_the_newest_to_the_oldest
            executions_are_filtered_by_state_workflow_label_group_and_time
            filters_and_pages_combine
            a_prefix_finds_every_id_that_starts_so_newest_first
            counts_follow_every_transition
            workers_are_the_live_ones_and_the_newest_of_the_others
            a_worker_that_cost_something_is_found_with_its_attempts
            repositories_and_workflows_come_in_order_of_their_names
            events_resume_after_any_position
            an_event_comes_back_as_it_was_recorded
            groups_are_paged_from_the_newest_to_the_oldest
            an_idempotency_key_leads_to_what_it_made
            a_delivery_is_known_by_each_of_its_names_until_it_is_forgotten
            files_of_an_execution_come_in_order
            files_that_are_over_are_found_and_forgotten
            bytes_are_needed_while_any_file_has_them
        );
    };
}
