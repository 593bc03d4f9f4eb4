use std::time::Duration;

use data_runner_core::event::EventKind;
use data_runner_core::execution::{StateName, Trigger};
use data_runner_core::id::ExecutionId;
use data_runner_core::port::{Catalog as _, EventQuery, ExecutionQuery};
use data_runner_core::workflow::ParamValue;
use data_runner_core::workflow::StartOutcome;
use data_runner_engine::Handle;
use data_runner_testkit::memory::executor::Script;

use crate::kit::{Kit, TestClock, files, register, until};

/// Each night at half past midnight in Madrid, which is the day before in UTC.
const NIGHTLY: &str = "worker_type: polars\ninstance_size: t3.medium\n\
    schedule: [{cron: \"30 0 * * *\", timezone: Europe/Madrid}]\n\
    params: {day: {type: date, default: \"${schedule.date}\"}}\n";

async fn all(handle: &Handle) -> Vec<ExecutionId> {
    let query = ExecutionQuery { limit: 100, ..ExecutionQuery::default() };
    let mut ids: Vec<_> =
        handle.catalog().executions(query).await.unwrap().iter().map(|execution| execution.id).collect();
    ids.reverse();
    ids
}

pub async fn told(kit: &Kit, kind: EventKind) -> Vec<String> {
    let all = kit.store.events(EventQuery { limit: 1000, ..EventQuery::default() }).await.unwrap();
    all.into_iter().filter(|event| event.record.kind == kind).map(|event| event.record.message).collect()
}

#[tokio::test(start_paused = true)]
async fn a_workflow_runs_at_its_time_with_the_date_of_its_place() {
    let mut kit = Kit::new(|_| Script::new().exits(0));
    kit.repo().publish("main", files(&[("orders", NIGHTLY)]));
    let clock = TestClock::at("2026-08-01T22:00:00Z");
    let supervisor = kit.supervisor_at(&clock).await;
    let handle = supervisor.handle();
    register(&handle).await;
    kit.start_agent(1);
    tokio::time::sleep(Duration::from_secs(29 * 60)).await;
    assert!(all(&handle).await.is_empty());
    tokio::time::sleep(Duration::from_secs(2 * 60)).await;
    let id = all(&handle).await[0];
    let execution = until(&handle, id, StateName::Success).await;
    assert_eq!(execution.job.params["day"], ParamValue::Date(jiff::civil::date(2026, 8, 2)));
    let due = "2026-08-01T22:30:00Z".parse::<jiff::Timestamp>().unwrap().as_microsecond();
    assert!(
        matches!(&execution.trigger, Trigger::Schedule { due: at, .. } if at.micros() == due),
        "{:?}",
        execution.trigger
    );
    tokio::time::sleep(Duration::from_secs(25 * 3600)).await;
    assert_eq!(all(&handle).await.len(), 2);
    let published = handle.published();
    let last = published.schedules.values().next().unwrap().last.clone().unwrap();
    assert_eq!(last.outcome, StartOutcome::Submitted { execution: all(&handle).await[1] });
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_died_between_tick_and_submission_makes_up_for_it_once() {
    let kit = Kit::new(|_| Script::new().exits(0));
    let revision = kit.repo().publish("main", files(&[("orders", NIGHTLY)]));
    let clock = TestClock::at("2026-08-01T22:00:00Z");
    let first = kit.supervisor_at(&clock).await;
    register(&first.handle()).await;
    // The code cannot be had, so the tick is claimed and has no execution when the supervisor dies.
    kit.repo().forget(&revision);
    tokio::time::sleep(Duration::from_secs(31 * 60)).await;
    assert!(all(&first.handle()).await.is_empty());
    kit.crash(first).await;
    tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
    assert_eq!(kit.repo().publish("main", files(&[("orders", NIGHTLY)])), revision);
    let second = kit.supervisor_at(&clock).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(all(&second.handle()).await.len(), 1);
    kit.crash(second).await;
    let third = kit.supervisor_at(&clock).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(all(&third.handle()).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_tick_whose_code_cannot_be_had_is_tried_again_and_given_up_with_a_word() {
    let kit = Kit::new(|_| Script::new().exits(0));
    let revision = kit.repo().publish("main", files(&[("orders", NIGHTLY)]));
    let clock = TestClock::at("2026-08-01T22:29:00Z");
    let supervisor = kit.supervisor_at(&clock).await;
    let handle = supervisor.handle();
    register(&handle).await;
    kit.repo().forget(&revision);
    tokio::time::sleep(Duration::from_secs(5 * 60)).await;
    let said = told(&kit, EventKind::ScheduleFailed).await;
    assert!(said.len() == 1 && said[0].contains("cannot be run yet"), "{said:?}");
    tokio::time::sleep(Duration::from_secs(20 * 60)).await;
    let said = told(&kit, EventKind::ScheduleFailed).await;
    assert!(said.len() == 2 && said[1].contains("given up"), "{said:?}");
    assert_eq!(kit.repo().publish("main", files(&[("orders", NIGHTLY)])), revision);
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    assert_eq!(all(&handle).await.len(), 1, "the next night is as any other");
}
