use std::time::Duration;

use data_runner_core::execution::StateName;
use data_runner_core::port::{Retry, StateError};
use data_runner_engine::supervisor::{Stage, StartError};
use data_runner_engine::{Order, RequestError};
use data_runner_testkit::memory::executor::Script;
use data_runner_testkit::memory::store::StoreFault;

use crate::kit::{Kit, execute, until};

#[tokio::test(start_paused = true)]
async fn nobody_hears_yes_when_the_commit_failed_and_the_next_request_works() {
    let mut kit = Kit::new(|_| Script::new().exits(0));
    let supervisor = kit.ready().await;
    let handle = supervisor.handle();
    kit.store.fail_next_commit(StoreFault::DiskFull);
    let error = handle.execute("orders", Order::default()).await.unwrap_err();
    let RequestError::State(state) = &error else { panic!("{error}") };
    assert!(matches!(**state, StateError::DiskFull(_)));
    assert_eq!(error.retry(), Retry::Later);
    assert_eq!(kit.store.executions_now().len(), 0);
    let id = execute(&handle).await;
    until(&handle, id, StateName::Success).await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_answer_is_lost_is_found_again_and_ends_i1() {
    let mut kit = Kit::new(|_| Script::new().exits(0));
    let supervisor = kit.ready().await;
    let handle = supervisor.handle();
    kit.store.fail_next_commit(StoreFault::AnswerLost);
    handle.execute("orders", Order::default()).await.unwrap_err();
    let made = kit.store.executions_now();
    assert_eq!(made.len(), 1, "it happened though nobody heard");
    until(&handle, made[0].id, StateName::Success).await;
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_has_nothing_to_do_still_shows_that_it_turns() {
    let mut kit = Kit::new(|_| Script::new().exits(0));
    let supervisor = kit.ready().await;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(supervisor.handle().is_alive());
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_supervisor_on_the_same_state_is_refused() {
    let mut kit = Kit::new(|_| Script::new().exits(0));
    let _first = kit.ready().await;
    let refused = kit.builder().start().await.err().expect("it is held");
    assert!(matches!(refused, StartError::State(StateError::Held { .. })), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_was_replaced_ends_and_commits_nothing_more() {
    let mut kit = Kit::new(|_| Script::new().exits(0));
    let first = kit.ready().await;
    kit.store.release();
    kit.store.acquire_now().unwrap();
    let error = first.handle().execute("orders", Order::default()).await.unwrap_err();
    assert!(matches!(error, RequestError::State(_)), "{error}");
    first.ended().await;
    assert_eq!(first.handle().published().stage, Stage::Ended);
    assert!(!first.handle().is_alive());
    assert!(matches!(
        first.handle().execute("orders", Order::default()).await,
        Err(RequestError::Unavailable)
    ));
}

#[tokio::test(start_paused = true)]
async fn a_log_that_could_not_be_stored_comes_again_i8() {
    let mut kit = Kit::new(|_| Script::new().prints("all of it\n").exits(0));
    let supervisor = kit.ready().await;
    let handle = supervisor.handle();
    kit.store.fail_next_append(StoreFault::Unavailable);
    let id = execute(&handle).await;
    let execution = until(&handle, id, StateName::Success).await;
    assert_eq!(kit.stdout(&execution).await, b"all of it\n");
}
