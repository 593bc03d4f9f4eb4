//! A matrix and a backfill, from the order to the executions.

use std::time::Duration;

use data_runner_core::event::GroupWish;
use data_runner_core::execution::{StateName, Trigger};
use data_runner_core::group::{Group, GroupState, Member};
use data_runner_core::port::Catalog as _;
use data_runner_core::workflow::{ParamValue, StartOutcome};
use data_runner_engine::{BackfillOrder, Order, Started};
use data_runner_testkit::memory::executor::Script;
use jiff::civil::{Date, date};

use crate::kit::{Kit, TestClock, files, register, until};

const MATRIX: &str = "worker_type: polars\ninstance_size: t3.medium\n\
    schedule: [{cron: \"0 6 * * *\"}]\n\
    params:\n  region: {type: enum, values: [eu, us]}\n  day: {type: date, default: \"${schedule.date}\"}\n\
    matrix: {values: {region: [eu, us]}, max_parallel: 1}\n";

const DAILY: &str = "worker_type: polars\ninstance_size: t3.medium\n\
    schedule: [{cron: \"0 6 * * 1-5\"}]\n\
    params: {day: {type: date, default: \"${schedule.date}\"}}\n";

fn backfill(from: Date, to: Date) -> BackfillOrder {
    BackfillOrder { from, to, max_parallel: None, params: Default::default(), idempotency: None }
}

fn days(members: &[Member]) -> Vec<Date> {
    members.iter().map(|member| member.dates.unwrap().date).collect()
}

async fn newest(kit: &Kit) -> Group {
    kit.store.groups(None, 1).await.unwrap().remove(0)
}

#[tokio::test(start_paused = true)]
async fn a_tick_of_a_workflow_with_a_matrix_makes_one_group_for_its_date() {
    let mut kit = Kit::new(|_| Script::new().exits(0));
    kit.repo().publish("main", files(&[("orders", MATRIX)]));
    let clock = TestClock::at("2026-08-03T05:59:00Z");
    let supervisor = kit.supervisor_at(&clock).await;
    let handle = supervisor.handle();
    register(&handle).await;
    kit.start_agent(1);
    tokio::time::sleep(Duration::from_secs(600)).await;
    let group = newest(&kit).await;
    assert!(matches!(group.state, GroupState::Done { .. }), "{:?}", group.state);
    assert_eq!(days(&group.members), [date(2026, 8, 3); 2]);
    for (member, region) in group.members.iter().zip(["eu", "us"]) {
        let execution = until(&handle, member.state.execution().unwrap(), StateName::Success).await;
        assert_eq!(execution.job.params["region"], ParamValue::Enum(region.to_owned()));
        assert!(matches!(execution.trigger, Trigger::Schedule { .. }));
    }
    let published = handle.published();
    let last = published.schedules.values().next().unwrap().last.clone().unwrap();
    assert_eq!(last.outcome, StartOutcome::Grouped { group: group.id });
    // By hand likewise; as one execution only when it is said which.
    let started = handle.start("orders", Order::default()).await.unwrap();
    assert!(matches!(started, Started::Group(_)));
    let refused = handle.execute("orders", Order::default()).await.unwrap_err().to_string();
    assert!(refused.contains("matrix"), "{refused}");
    let params = serde_json::json!({"region": "us"}).as_object().unwrap().clone();
    handle.execute("orders", Order { params, ..Order::default() }).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_backfill_has_the_dates_of_the_schedule_and_refuses_what_makes_no_sense() {
    let mut kit = Kit::new(|_| Script::new().exits(0));
    kit.repo().publish("main", files(&[("orders", MATRIX), ("daily", DAILY)]));
    let clock = TestClock::at("2026-08-03T07:00:00Z");
    let supervisor = kit.supervisor_at(&clock).await;
    let handle = supervisor.handle();
    register(&handle).await;
    // The 31st of July is a Friday.
    let order = backfill(date(2026, 7, 31), date(2026, 8, 4));
    let dry = handle.plan_backfill("daily", &order).await.unwrap();
    assert_eq!(days(&dry), [date(2026, 7, 31), date(2026, 8, 3), date(2026, 8, 4)]);
    assert!(kit.store.groups(None, 9).await.unwrap().is_empty());
    assert_eq!(handle.plan_backfill("orders", &order).await.unwrap().len(), 10, "each region for each day");
    for (order, what) in [
        (backfill(date(2026, 8, 2), date(2026, 8, 1)), "is after"),
        (backfill(date(2026, 8, 1), date(2026, 8, 2)), "not due"),
        (backfill(date(2020, 1, 1), date(2026, 8, 1)), "more than 1000"),
    ] {
        let refused = handle.plan_backfill("daily", &order).await.unwrap_err().to_string();
        assert!(refused.contains(what), "{refused}");
    }

    let group = handle.backfill("daily", order).await.unwrap();
    handle.change_group(group.id, GroupWish::Pause, "a test").await.unwrap();
    kit.start_agent(1);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(newest(&kit).await.counts()["success"], 1, "one after the other");
    handle.change_group(group.id, GroupWish::Resume, "a test").await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let group = newest(&kit).await;
    assert!(matches!(group.state, GroupState::Done { .. }));
    assert!(handle.change_group(group.id, GroupWish::Pause, "a test").await.is_err());
    let last = group.members[2].state.execution().unwrap();
    let execution = until(&handle, last, StateName::Success).await;
    assert_eq!(execution.job.params["day"], ParamValue::Date(date(2026, 8, 4)));
    assert_eq!(execution.dates.unwrap().previous, date(2026, 8, 3));
}
