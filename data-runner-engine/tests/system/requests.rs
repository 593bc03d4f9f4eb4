use std::time::Duration;

use data_runner_core::event::{Rejection, ShutDown};
use data_runner_core::execution::{StateName, Trigger};
use data_runner_core::id::Sha256;
use data_runner_engine::supervisor::Repeat;
use data_runner_engine::{IdempotencyKey, Order, RequestError};
use data_runner_testkit::memory::executor::Script;
use data_runner_testkit::sample;

use crate::kit::{CONFIG, Kit, execute, files, register, until};

fn keyed(key: &str, body: &[u8]) -> Order {
    let idempotency = Some(IdempotencyKey { key: key.to_owned(), body: Sha256::of(body) });
    Order { idempotency, ..Order::default() }
}

#[tokio::test(start_paused = true)]
async fn an_idempotency_key_returns_the_same_execution_also_after_its_end_i12() {
    let mut kit = Kit::new(|_| Script::new().exits(0));
    let supervisor = kit.ready().await;
    let handle = supervisor.handle();
    let first = handle.execute("orders", keyed("k", b"body")).await.unwrap();
    until(&handle, first.id, StateName::Success).await;
    let again = handle.execute("orders", keyed("k", b"body")).await.unwrap();
    assert_eq!((again.id, again.state.name()), (first.id, StateName::Success));
    let other = handle.execute("orders", keyed("k", b"another")).await.unwrap_err();
    assert!(matches!(other, RequestError::Rejected(Rejection::KeyReused { .. })), "{other}");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_workflow_is_refused_with_the_nearest_name() {
    let mut kit = Kit::new(|_| Script::new().exits(0));
    let supervisor = kit.ready().await;
    let error = supervisor.handle().execute("ordres", Order::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no workflow \"ordres\"; did you mean \"orders\"?");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_two_repositories_have_must_be_qualified() {
    let mut kit = Kit::new(|_| Script::new().exits(0));
    let supervisor = kit.ready().await;
    kit.opener.at("memory://second").publish("HEAD", files(&[("orders", CONFIG)]));
    let second = data_runner_engine::Registration { url: "memory://second".to_owned(), ..Default::default() };
    supervisor.handle().register(second).await.unwrap();
    let error = supervisor.handle().execute("orders", Order::default()).await.unwrap_err();
    let RequestError::AmbiguousWorkflow { candidates, .. } = error else { panic!("{error}") };
    assert_eq!(candidates, ["samples/orders", "second/orders"]);
    supervisor.handle().execute("second/orders", Order::default()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_wrong_parameter_is_refused_before_anything_is_stored() {
    let kit = Kit::new(|_| Script::new().exits(0));
    let config = format!("{CONFIG}params:\n  day: {{type: date}}\n");
    kit.repo().publish("main", files(&[("orders", &config)]));
    let supervisor = kit.supervisor().await;
    register(&supervisor.handle()).await;
    let mut order = Order::default();
    order.params.insert("dya".to_owned(), "2026-08-01".into());
    let error = supervisor.handle().execute("orders", order).await.unwrap_err();
    let RequestError::Invalid { problems, .. } = error else { panic!("{error}") };
    assert_eq!(problems.len(), 2, "the unknown one and the missing one: {problems:?}");
    assert_eq!(kit.store.executions_now().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_a_new_execution_of_the_same_commit_and_a_rerun_of_the_newest() {
    let mut kit = Kit::new(|_| Script::new().exits(1));
    let supervisor = kit.ready().await;
    let handle = supervisor.handle();
    let first = execute(&handle).await;
    let failed = until(&handle, first, StateName::Failed).await;
    kit.repo().publish("main", files(&[("orders", &format!("{CONFIG}owner: someone\n"))]));
    let retry = handle.repeat(first, Repeat::Retry, None).await.unwrap();
    let rerun = handle.repeat(first, Repeat::Rerun, None).await.unwrap();
    assert_eq!((retry.retry_of, rerun.retry_of), (Some(first), Some(first)));
    assert_eq!((&retry.trigger, &rerun.trigger), (&Trigger::Retry, &Trigger::Rerun));
    assert_eq!(retry.job.revision, failed.job.revision);
    assert_ne!(rerun.job.revision, failed.job.revision);
}

#[tokio::test(start_paused = true)]
async fn an_agent_gets_the_code_of_its_own_live_attempts_only() {
    use data_runner_core::id::Claim;
    use data_runner_core::port::{AgentGate as _, BundleForm, WantedBundle};
    let mut kit = Kit::new(|_| Script::new().waits().exits(0));
    kit.repo().publish("main", files(&[("orders", CONFIG)]));
    let builder = kit.builder();
    let gate = builder.gate.clone();
    let supervisor = builder.start().await.unwrap();
    register(&supervisor.handle()).await;
    let worker = kit.start_agent(1);
    let id = execute(&supervisor.handle()).await;
    let execution = until(&supervisor.handle(), id, StateName::Running).await;
    let claim = execution.state.live().unwrap().claim(id);
    let hash = &execution.job.bundle.hash;
    let wanted = |claim, hash: &Sha256| WantedBundle { claim, hash: hash.clone(), form: BundleForm::Any };
    assert!(gate.bundle(worker, wanted(claim, hash)).await.is_ok());
    assert!(gate.bundle(sample::worker_id(2), wanted(claim, hash)).await.is_err(), "another worker");
    let forged = Claim { lease: sample::lease(9), ..claim };
    assert!(gate.bundle(worker, wanted(forged, hash)).await.is_err(), "another lease");
    assert!(gate.bundle(worker, wanted(claim, &Sha256::of(b"other"))).await.is_err(), "other code");
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_what_runs_and_refuses_what_is_new() {
    let mut kit = Kit::new(|_| Script::new().sleeps(std::time::Duration::from_secs(20)).exits(0));
    let supervisor = kit.ready().await;
    let handle = supervisor.handle();
    let id = execute(&handle).await;
    until(&handle, id, StateName::Running).await;
    let draining = tokio::spawn({
        let handle = handle.clone();
        async move { handle.shut_down(ShutDown::Drain).await }
    });
    let execution = until(&handle, id, StateName::Success).await;
    draining.await.unwrap().unwrap();
    assert_eq!(execution.attempts.len(), 1);
    let refused = handle.execute("orders", Order::default()).await.unwrap_err();
    assert!(matches!(refused, RequestError::Rejected(Rejection::ShuttingDown)), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_an_end_gets_the_execution_as_it_ended() {
    let mut kit = Kit::new(|_| Script::new().sleeps(Duration::from_secs(30)).exits(3));
    let supervisor = kit.ready().await;
    let handle = supervisor.handle();
    let id = execute(&handle).await;
    let ended = handle.until_ended(id).await.unwrap();
    assert_eq!(ended.state.name(), StateName::Failed);
    assert_eq!(handle.until_ended(id).await.unwrap(), ended, "also when it has ended long ago");
    let nobody = sample::execution_id(99);
    let unknown = handle.until_ended(nobody).await.unwrap_err();
    assert!(matches!(unknown, RequestError::NoSuchExecution(id) if id == nobody), "{unknown}");
}
