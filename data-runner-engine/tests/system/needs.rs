//! Workflows that start when those that they need have succeeded.

use std::time::Duration;

use data_runner_core::event::EventKind;
use data_runner_core::execution::{Execution, StateName, Trigger};
use data_runner_core::port::ExecutionQuery;
use data_runner_core::workflow::{DefinitionState, ParamValue};
use data_runner_engine::{Handle, Order, Registration};
use data_runner_testkit::memory::executor::Script;

use crate::kit::{Kit, TestClock, URL, files, register, until};
use crate::schedules::told;

const ORDERS: &str = "worker_type: polars\ninstance_size: t3.medium\n\
    schedule: [{cron: \"0 6 * * 1-5\"}]\n";

const REPORT: &str = "worker_type: polars\ninstance_size: t3.medium\nneeds: [{workflow: orders}]\n\
    params:\n  day: {type: date, default: \"${schedule.date}\"}\n  \
    since: {type: date, default: \"${schedule.previous_date}\"}\n  \
    rows: {type: int, default: \"${needs.orders.output.rows}\"}\n";

async fn of(handle: &Handle, workflow: &str) -> Vec<Execution> {
    let workflow = handle.workflow(workflow).unwrap().id;
    let query = ExecutionQuery { workflow: Some(workflow), limit: 100, ..ExecutionQuery::default() };
    handle.catalog().executions(query).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_success_of_a_tick_starts_the_next_workflow_with_its_date_and_its_output() {
    let mut kit = Kit::new(|_| Script::new().outputs("{\"rows\": 42}").exits(0));
    kit.repo().publish("main", files(&[("orders", ORDERS), ("report", REPORT)]));
    // A Monday.
    let clock = TestClock::at("2026-08-03T05:00:00Z");
    let supervisor = kit.supervisor_at(&clock).await;
    let handle = supervisor.handle();
    register(&handle).await;
    kit.start_agent(1);
    tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
    let (orders, report) = (of(&handle, "orders").await, of(&handle, "report").await);
    assert_eq!((orders.len(), report.len()), (1, 1));
    let report = until(&handle, report[0].id, StateName::Success).await;
    assert_eq!(report.job.params["day"], ParamValue::Date(jiff::civil::date(2026, 8, 3)));
    assert_eq!(report.job.params["since"], ParamValue::Date(jiff::civil::date(2026, 7, 31)));
    assert_eq!(report.job.params["rows"], ParamValue::Int(42));
    assert!(matches!(&report.trigger, Trigger::Needs { by } if by[0].execution == orders[0].id));
    // By hand it is no business of the needs; what they would have given must be given.
    let refused = handle.execute("report", Order::default()).await.unwrap_err().to_string();
    assert!(refused.contains("rows"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn an_output_that_lacks_what_is_needed_is_said_and_given_up() {
    let mut kit = Kit::new(|_| Script::new().exits(0));
    kit.repo().publish("main", files(&[("orders", ORDERS), ("report", REPORT)]));
    let clock = TestClock::at("2026-08-03T05:00:00Z");
    let supervisor = kit.supervisor_at(&clock).await;
    let handle = supervisor.handle();
    register(&handle).await;
    kit.start_agent(1);
    tokio::time::sleep(Duration::from_secs(4 * 3600)).await;
    assert!(of(&handle, "report").await.is_empty());
    let told = told(&kit, EventKind::NeedsFailed).await;
    assert!(told.last().unwrap().contains("given up"), "{told:?}");
    assert!(told[0].contains("samples/report") && told[0].contains("has no `rows`"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_repository_whose_workflows_need_each_other_in_a_circle_is_told_where() {
    let kit = Kit::new(|_| Script::new().exits(0));
    let circle = format!("{ORDERS}needs: [{{workflow: report}}]\n");
    kit.repo().publish("main", files(&[("orders", &circle), ("report", REPORT)]));
    let supervisor = kit.supervisor().await;
    let handle = supervisor.handle();
    let registration =
        Registration { url: URL.to_owned(), reference: Some("main".to_owned()), ..Registration::default() };
    let registered = handle.register(registration).await.unwrap();
    assert_eq!((registered.items.len(), registered.errors.len()), (0, 2));
    for name in ["orders", "report"] {
        let DefinitionState::Broken { problems, .. } = &handle.workflow(name).unwrap().definition else {
            panic!("{name} is valid");
        };
        assert_eq!(problems[0].code, "needs_cycle");
        assert_eq!(problems[0].location.as_ref().unwrap().pointer, "/needs/0/workflow");
    }
}
