use data_runner_core::event::{
    Answer, Change, Effect, Event, Pausing, Rejection, ReplyTo, Request, ShutDown,
};
use data_runner_core::execution::{ExecutionState, StateName, WaitingReason};
use data_runner_core::message::SupervisorMessage;
use data_runner_core::port::Made;
use data_runner_testkit::sample;

use crate::scene::{Scene, joined, pool, sent};

#[test]
fn a_submit_is_answered_only_by_an_effect_that_follows_its_commit() {
    let mut it = Scene::new(joined());
    let order = it.order();
    let (answer, outcome) = it.request(Request::Submit(order));
    let Some(Answer::Execution(execution)) = answer else { panic!("{answer:?}") };
    assert!(outcome.changes.iter().any(|c| matches!(c, Change::PutExecution(put) if put.id == execution.id)));
    assert_eq!(it.state(execution.id), StateName::Queued);
}

#[test]
fn a_free_worker_gets_a_submitted_execution_in_the_same_batch() {
    let mut it = Scene::new(joined());
    it.join(sample::worker_id(1));
    let order = it.order();
    let (_, outcome) = it.request(Request::Submit(order));
    let id = it.it.executions().next().unwrap().id;
    assert_eq!(it.state(id), StateName::Starting);
    let claim = it.claim(id);
    assert!(
        sent(&outcome)
            .iter()
            .any(|m| matches!(m, SupervisorMessage::Assign(assign) if assign.claim == claim))
    );
    assert!(outcome.changes.contains(&Change::OpenLog(claim)));
}

#[test]
fn the_oldest_goes_first_and_each_slot_gets_one() {
    let mut it = Scene::new(joined());
    let ids: Vec<_> = (0..3).map(|_| it.submit()).collect();
    it.join(sample::worker_id(1));
    assert_eq!(
        ids.iter().map(|id| it.state(*id)).collect::<Vec<_>>(),
        [StateName::Starting, StateName::Queued, StateName::Queued]
    );
    it.join(sample::worker_id(2));
    assert_eq!(it.state(ids[1]), StateName::Starting);
}

#[test]
fn what_no_worker_can_run_waits_and_does_not_block_what_follows() {
    let mut it = Scene::new(joined());
    let mut strange = it.order();
    let mut job = sample::job();
    job.worker_type = "cobol".parse().unwrap();
    strange.job = job.into();
    let strange = it.submit_as(strange);
    let plain = it.submit();
    it.join(sample::worker_id(1));
    assert_eq!((it.state(strange), it.state(plain)), (StateName::Queued, StateName::Starting));
}

#[test]
fn it_says_when_the_worker_limit_is_what_it_waits_for() {
    let mut it = Scene::new(pool(1, 1));
    it.send(Event::Tick);
    it.boot_pool();
    it.submit();
    let second = it.submit();
    let ExecutionState::Queued { waiting } = it.execution(second).state else { panic!() };
    assert_eq!(waiting.reason, WaitingReason::WorkerLimit { limit: 1 });
}

#[test]
fn an_idempotency_key_returns_the_same_execution_i12() {
    let mut it = Scene::new(joined());
    let order = it.keyed("k", b"body");
    let first = it.submit_as(order);
    let again = it.keyed("k", b"body");
    assert_eq!(it.request(Request::Submit(again)).0, Some(Answer::Existing(Made::Execution(first))));
    let other = it.keyed("k", b"another body");
    let rejected = Rejection::KeyReused { key: "k".to_owned() };
    assert_eq!(it.request(Request::Submit(other)).0, Some(Answer::Rejected(rejected)));
}

#[test]
fn the_same_key_twice_in_one_batch_makes_one_execution_i12() {
    let mut it = Scene::new(joined());
    let (a, b) = (it.keyed("k", b"body"), it.keyed("k", b"body"));
    let request = |n, order| Event::Request { reply: ReplyTo(n), request: Box::new(Request::Submit(order)) };
    let outcome = it.batch(vec![request(71, a), request(72, b)]);
    let answers: Vec<_> = outcome
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Reply { answer, .. } => Some(answer),
            _ => None,
        })
        .collect();
    let [Answer::Execution(made), Answer::Existing(Made::Execution(found))] = answers.as_slice() else {
        panic!("{answers:?}")
    };
    assert_eq!(made.id, *found);
    assert_eq!(it.it.executions().len(), 1);
}

#[test]
fn a_deleted_workflow_is_not_run_and_a_paused_one_is() {
    let mut it = Scene::new(joined());
    assert!(matches!(it.pause(Pausing::Pause), Some(Answer::Workflow(w)) if w.paused_at.is_some()));
    it.submit();
    let workflow = it.workflow();
    it.request(Request::DeleteWorkflow { workflow });
    let order = it.order();
    let (answer, _) = it.request(Request::Submit(order));
    assert!(matches!(answer, Some(Answer::Rejected(Rejection::WorkflowGone { .. }))), "{answer:?}");
}

#[test]
fn nothing_new_is_taken_while_it_shuts_down() {
    let mut it = Scene::new(joined());
    it.join(sample::worker_id(1));
    assert_eq!(it.shut_down(ShutDown::Drain), None, "a worker is still there");
    let order = it.order();
    assert_eq!(it.request(Request::Submit(order)).0, Some(Answer::Rejected(Rejection::ShuttingDown)));
}
