use std::time::Duration;

use data_runner_core::execution::StateName;
use data_runner_core::hook::{HookDelivery, HookSender};
use data_runner_core::workflow::{Polling, Presence};
use data_runner_engine::{Handle, Order, Registration, RequestError, SupervisorBuilder};
use data_runner_testkit::memory::executor::Script;

use tokio::time::Instant;

use crate::kit::{CONFIG, Kit, URL, execute, files, register, until};

#[tokio::test(start_paused = true)]
async fn a_push_is_seen_by_the_poll_and_a_running_execution_keeps_its_commit() {
    let mut kit = Kit::new(|_| Script::new().sleeps(Duration::from_secs(300)).exits(0));
    let supervisor = kit.ready().await;
    let handle = supervisor.handle();
    let id = execute(&handle).await;
    let before = until(&handle, id, StateName::Running).await.job.revision.clone();
    let pushed = kit.repo().publish("main", files(&[("orders", &format!("{CONFIG}owner: me\n"))]));
    tokio::time::sleep(Duration::from_secs(70)).await;
    let next = handle.execute("orders", Order::default()).await.unwrap();
    assert_eq!(next.job.revision, pushed);
    assert_eq!(until(&handle, id, StateName::Success).await.job.revision, before);
}

#[tokio::test(start_paused = true)]
async fn a_broken_workflow_does_not_hide_the_healthy_ones_and_says_where_it_is_broken() {
    let kit = Kit::new(|_| Script::new().exits(0));
    kit.repo().publish("main", files(&[("orders", CONFIG), ("broken", "worker_type: polars\nsise: x\n")]));
    let supervisor = kit.supervisor().await;
    let handle = supervisor.handle();
    let registration =
        Registration { url: URL.to_owned(), reference: Some("main".to_owned()), ..Registration::default() };
    let registered = handle.register(registration).await.unwrap();
    assert_eq!(registered.items.len(), 1);
    let at = registered.errors.iter().filter_map(|problem| problem.location.as_ref());
    assert!(at.clone().count() > 0 && at.clone().all(|at| at.file == "workflows/broken/config.yaml"));
    handle.execute("orders", Order::default()).await.unwrap();
    let error = handle.execute("broken", Order::default()).await.unwrap_err();
    assert!(matches!(error, RequestError::Invalid { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_goes_away_is_disabled_and_comes_back_under_its_id() {
    let kit = Kit::new(|_| Script::new().exits(0));
    kit.repo().publish("main", files(&[("orders", CONFIG), ("other", CONFIG)]));
    let supervisor = kit.supervisor().await;
    let handle = supervisor.handle();
    register(&handle).await;
    let id = handle.workflow("orders").unwrap().id;
    kit.repo().publish("main", files(&[("other", CONFIG)]));
    handle.sync(None).await.unwrap();
    assert!(matches!(handle.workflow("orders").unwrap().presence, Presence::Removed { .. }));
    assert!(handle.execute("orders", Order::default()).await.is_err());
    kit.repo().publish("main", files(&[("orders", CONFIG), ("other", CONFIG)]));
    handle.sync(None).await.unwrap();
    assert_eq!(handle.workflow("orders").unwrap().id, id);
    handle.execute("orders", Order::default()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_deleted_workflow_survives_syncs_and_comes_back_when_it_is_registered_again() {
    let kit = Kit::new(|_| Script::new().exits(0));
    kit.repo().publish("main", files(&[("orders", CONFIG), ("other", CONFIG)]));
    let supervisor = kit.supervisor().await;
    let handle = supervisor.handle();
    register(&handle).await;
    let id = handle.workflow("orders").unwrap().id;
    handle.delete_workflow(id).await.unwrap();
    kit.repo().publish("main", files(&[("orders", CONFIG)]));
    handle.sync(None).await.unwrap();
    assert!(handle.workflow("orders").is_err(), "a sync does not bring it back");
    register(&handle).await;
    assert_eq!(handle.workflow("orders").unwrap().id, id);
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_repository_is_an_error_and_what_is_known_goes_on() {
    let mut kit = Kit::new(|_| Script::new().exits(0));
    let supervisor = kit.ready().await;
    let handle = supervisor.handle();
    kit.repo().go_down();
    let outcomes = handle.sync(None).await.unwrap();
    assert!(outcomes[0].result.as_ref().unwrap_err().contains("cannot reach"), "{outcomes:?}");
    let registration = Registration { url: URL.to_owned(), ..Registration::default() };
    assert!(matches!(handle.register(registration).await.unwrap_err(), RequestError::Source(_)));
    let first = handle.execute("orders", Order::default()).await;
    kit.repo().come_back();
    assert!(first.is_ok() || handle.execute("orders", Order::default()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_run_of_another_ref_takes_that_refs_code_and_configuration() {
    let mut kit = Kit::new(|_| Script::new().exits(0));
    let supervisor = kit.ready().await;
    let handle = supervisor.handle();
    let branch =
        kit.repo().publish("feature", files(&[("orders", &format!("{CONFIG}labels: {{tier: gold}}\n"))]));
    let order = Order { reference: Some("feature".to_owned()), ..Order::default() };
    let execution = handle.execute("orders", order).await.unwrap();
    assert_eq!(execution.job.revision, branch);
    assert_eq!(execution.labels.get("tier").map(String::as_str), Some("gold"));
    let order = Order { reference: Some("nowhere".to_owned()), ..Order::default() };
    assert!(matches!(handle.execute("orders", order).await.unwrap_err(), RequestError::Source(_)));
}

#[tokio::test(start_paused = true)]
async fn one_folder_is_registered_under_a_name_of_its_own_beside_the_whole_repository() {
    let kit = Kit::new(|_| Script::new().exits(0));
    kit.repo().publish("main", files(&[("orders", CONFIG), ("other", CONFIG)]));
    let supervisor = kit.supervisor().await;
    let handle = supervisor.handle();
    register(&handle).await;
    let registration = Registration {
        url: URL.to_owned(),
        name: Some("second".to_owned()),
        reference: Some("main".to_owned()),
        path: Some("workflows/other".to_owned()),
    };
    let registered = handle.register(registration).await.unwrap();
    let names: Vec<_> =
        registered.items.iter().map(|workflow| workflow.qualified_name().to_string()).collect();
    assert_eq!(names, ["second/other"]);
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_is_not_there_is_refused_also_where_the_whole_repository_is_registered() {
    let kit = Kit::new(|_| Script::new().exits(0));
    kit.repo().publish("main", files(&[("orders", CONFIG)]));
    let supervisor = kit.supervisor().await;
    let handle = supervisor.handle();
    register(&handle).await;
    let path = Some("workflows/nope".to_owned());
    let registration = Registration { url: URL.to_owned(), path, ..Registration::default() };
    let error = handle.register(registration).await.unwrap_err();
    assert!(matches!(error, RequestError::Source(_)), "{error}");
}

/// Waits until the repository is at `revision`; how long that took.
async fn seen(handle: &Handle, revision: &data_runner_core::id::Revision) -> Duration {
    let begun = Instant::now();
    let mut published = handle.commits();
    let there = published.wait_for(|it| it.repos.values().any(|repo| repo.head.as_ref() == Some(revision)));
    tokio::time::timeout(Duration::from_secs(7200), there).await.expect("it is seen").unwrap();
    begun.elapsed()
}

fn push(id: &str) -> HookDelivery {
    let (names, urls) = (vec![id.to_owned()], vec![URL.to_owned()]);
    HookDelivery { sender: HookSender::Gitlab, names, urls, known: false }
}

fn changed(n: u32) -> data_runner_testkit::memory::workflow_source::RepoFiles {
    files(&[("orders", &format!("{CONFIG}owner: me-{n}\n"))])
}

#[tokio::test(start_paused = true)]
async fn a_webhook_has_a_push_seen_at_once_and_each_delivery_counts_once() {
    let mut kit = Kit::new(|_| Script::new().exits(0));
    let supervisor = kit.ready().await;
    let handle = supervisor.handle();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let pushed = kit.repo().publish("main", changed(1));
    let looked = handle.hook(push("1")).await.unwrap();
    assert_eq!(looked, Some(vec!["samples".parse().unwrap()]));
    assert!(seen(&handle, &pushed).await < Duration::from_secs(1));
    let again = kit.repo().publish("main", changed(2));
    assert_eq!(handle.hook(push("1")).await.unwrap(), None);
    assert!(seen(&handle, &again).await > Duration::from_secs(30), "the poll saw it, not the delivery");

    kit.crash(supervisor).await;
    let supervisor = kit.supervisor().await;
    assert_eq!(supervisor.handle().hook(push("1")).await.unwrap(), None, "it is known after a restart");
    let unknown = HookDelivery { urls: vec!["https://host/elsewhere".to_owned()], ..push("2") };
    let error = supervisor.handle().hook(unknown).await.unwrap_err();
    assert!(error.to_string().contains("host/elsewhere"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn each_repository_is_polled_at_its_own_pace() {
    let kit = Kit::new(|_| Script::new().exits(0));
    let often = kit.opener.at("memory://often/repository");
    often.publish("main", files(&[("often", CONFIG)]));
    kit.repo().publish("main", files(&[("orders", CONFIG)]));
    let of = [("often".parse().unwrap(), Duration::from_secs(5))].into();
    let polling = Polling { default: Duration::from_secs(600), of };
    let supervisor = SupervisorBuilder { polling, ..kit.builder() }.start().await.unwrap();
    let handle = supervisor.handle();
    register(&handle).await;
    let registration = Registration {
        url: "memory://often/repository".to_owned(),
        name: Some("often".to_owned()),
        reference: Some("main".to_owned()),
        path: None,
    };
    handle.register(registration).await.unwrap();
    let first = often.publish("main", files(&[("often", &format!("{CONFIG}owner: you\n"))]));
    let first = seen(&handle, &first).await;
    assert!(first < Duration::from_secs(8), "from its registration on: {first:?}");
    tokio::time::sleep(Duration::from_secs(700)).await;
    let (fast, slow) = (often.publish("main", changed(1)), kit.repo().publish("main", changed(2)));
    let fast = seen(&handle, &fast).await;
    assert!(fast < Duration::from_secs(6), "{fast:?}");
    let slow = fast + seen(&handle, &slow).await;
    assert!(slow > Duration::from_secs(300) && slow < Duration::from_secs(610), "{slow:?}");
}

#[tokio::test(start_paused = true)]
async fn a_repository_that_is_away_is_asked_more_and_more_rarely_and_a_webhook_does_not_wait_for_that() {
    let mut kit = Kit::new(|_| Script::new().exits(0));
    let supervisor = kit.ready().await;
    let handle = supervisor.handle();
    kit.repo().go_down();
    tokio::time::sleep(Duration::from_secs(3 * 3600)).await;
    let error = |handle: &Handle| handle.published().repos.values().next().unwrap().error.clone();
    assert!(error(&handle).unwrap().contains("cannot reach"));
    kit.repo().come_back();
    let first = kit.repo().publish("main", changed(1));
    let waited = seen(&handle, &first).await;
    assert!(waited < Duration::from_secs(15 * 60 + 5), "never longer than a quarter of an hour: {waited:?}");
    assert_eq!(error(&handle), None);
    let second = kit.repo().publish("main", changed(2));
    assert!(seen(&handle, &second).await < Duration::from_secs(61), "and then as often as ever");

    kit.repo().go_down();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    kit.repo().come_back();
    let third = kit.repo().publish("main", changed(3));
    handle.hook(push("1")).await.unwrap();
    assert!(seen(&handle, &third).await < Duration::from_secs(1));
}

/// The archive of a workflow's folder, as a client would send it.
async fn archive_of(
    files: data_runner_testkit::memory::workflow_source::RepoFiles,
    path: &str,
) -> bytes::Bytes {
    use data_runner_core::port::WorkflowSource as _;
    let source = data_runner_testkit::memory::workflow_source::MemorySource::new();
    let revision = source.publish("HEAD", files);
    source.fetch(&revision, path, &[]).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_nobody_pushed_runs_as_a_workflow_of_its_own_and_starts_nothing_by_itself() {
    let mut kit = Kit::new(|_| Script::new().exits(0));
    let supervisor = kit.ready().await;
    let handle = supervisor.handle();
    let config = format!("{CONFIG}labels: {{tier: trial}}\nschedule: [{{cron: \"* * * * *\"}}]\n");
    let archive = archive_of(files(&[("orders", &config)]), "workflows/orders").await;
    let sent = handle.upload("workflows/orders", archive.clone()).await.unwrap();
    assert_eq!(sent.qualified_name().to_string(), "unpushed/orders");
    let again = handle.upload("workflows/orders", archive).await.unwrap();
    assert_eq!(
        (again.id, &again.definition),
        (sent.id, &sent.definition),
        "the same files are the same revision"
    );
    let revision = sent.definition.revision().to_string();
    let other = archive_of(files(&[("orders", &format!("{CONFIG}owner: me\n"))]), "workflows/orders").await;
    handle.upload("workflows/orders", other).await.unwrap();

    let order = Order { reference: Some(revision.clone()), ..Order::default() };
    let execution = handle.execute("unpushed/orders", order).await.unwrap();
    assert_eq!((execution.job.revision.as_str(), execution.workflow_id), (revision.as_str(), sent.id));
    assert_eq!(execution.labels["tier"], "trial", "what was sent last is not what this reference means");
    until(&handle, execution.id, StateName::Success).await;
    assert_ne!(handle.workflow("orders").unwrap().id, sent.id, "the name alone is the repository's");

    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(handle.published().schedules.is_empty(), "its schedule does not count");
    assert!(handle.sync(None).await.unwrap().iter().all(|outcome| outcome.repo.as_str() == "samples"));
    let retried = handle.repeat(execution.id, data_runner_engine::Repeat::Retry, None).await.unwrap();
    assert_eq!(retried.job.bundle, execution.job.bundle);
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_cannot_be_run_is_refused_with_every_mistake_at_its_place_and_leaves_nothing() {
    let kit = Kit::new(|_| Script::new().exits(0));
    let supervisor = kit.supervisor().await;
    let handle = supervisor.handle();
    let broken = archive_of(files(&[("orders", "worker_type: polars\nsise: x\n")]), "workflows/orders").await;
    let error = handle.upload("workflows/orders", broken).await.unwrap_err();
    let RequestError::Invalid { problems, .. } = &error else { panic!("{error}") };
    assert!(problems.iter().all(|it| it.location.as_ref().unwrap().file == "workflows/orders/config.yaml"));
    assert!(handle.workflow("unpushed/orders").is_err());
    let archive = archive_of(files(&[("orders", CONFIG)]), "workflows/orders").await;
    assert!(handle.upload("workflows/nope", archive.clone()).await.is_err());
    let sent = handle.upload("workflows/orders", archive).await.unwrap();
    for reference in ["main", "HEAD", &"0".repeat(64)] {
        let order = Order { reference: Some(reference.to_owned()), ..Order::default() };
        let error = handle.execute(&sent.id.to_string(), order).await.unwrap_err();
        assert!(matches!(error, RequestError::Source(_)), "{reference}: {error}");
    }
    let registration =
        Registration { url: URL.to_owned(), name: Some("unpushed".to_owned()), ..Registration::default() };
    assert!(matches!(handle.register(registration).await, Err(RequestError::Invalid { .. })));
}

#[tokio::test(start_paused = true)]
async fn another_ref_of_a_plain_folder_is_refused_and_said_how_to_have_it() {
    let kit = Kit::new(|_| Script::new().exits(0));
    kit.opener.at("/srv/jobs").publish("HEAD", files(&[("orders", CONFIG)]));
    let supervisor = kit.supervisor().await;
    let handle = supervisor.handle();
    handle.register(Registration { url: "/srv/jobs".to_owned(), ..Registration::default() }).await.unwrap();
    let order = Order { reference: Some("main".to_owned()), ..Order::default() };
    let error = handle.execute("orders", order).await.unwrap_err().to_string();
    assert!(error.contains("is a plain folder") && error.contains("file:///srv/jobs"), "{error}");
    handle.execute("orders", Order::default()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_the_configuration_of_another_ref_is_said_at_its_place() {
    let mut kit = Kit::new(|_| Script::new().exits(0));
    let supervisor = kit.ready().await;
    let handle = supervisor.handle();
    kit.repo()
        .publish("broken", files(&[("orders", "worker_type: polars\ninstance_size: t3.medium\nsise: x\n")]));
    let order = Order { reference: Some("broken".to_owned()), ..Order::default() };
    let error = handle.execute("orders", order).await.unwrap_err();
    let RequestError::Invalid { problems, .. } = error else { panic!("{error}") };
    let at = problems[0].location.as_ref().unwrap();
    assert_eq!((at.file.as_str(), at.line), ("workflows/orders/config.yaml", 3));
    handle.execute("orders", Order::default()).await.unwrap();
}
