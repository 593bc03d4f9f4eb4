//! What runs would cost, and what they did.

use std::sync::Arc;

use data_runner_core::cost::{MachinePrice, Market};
use data_runner_core::event::Change;
use data_runner_core::execution::{Attempt, Ending, Execution, ExecutionState, LaunchTry, Phase, Phases};
use data_runner_core::id::AttemptNumber;
use data_runner_core::port::Provisioner as _;
use data_runner_core::worker::{
    Launched, MachineRequest, Origin, Purpose, TerminationCause, Worker, WorkerState,
};
use data_runner_testkit::memory::provisioner::MemoryProvisioner;
use data_runner_testkit::memory::store::MemoryStore;
use data_runner_testkit::sample::{self, at};

use crate::fixture::{Rest, SIMPLE, URL, ended, files};

async fn planning(cloud: &MemoryProvisioner) -> Rest {
    let rest = Rest::with_machines(cloud.clone()).await;
    rest.source.publish("main", files(&[("orders", SIMPLE)]));
    rest.post("/workflows", &format!(r#"{{"repo": "{URL}", "ref": "main"}}"#)).await;
    rest
}

#[tokio::test]
async fn a_plan_shows_machines_and_prices_and_launches_nothing() {
    let cloud = MemoryProvisioner::new(2);
    let rest = planning(&cloud).await;
    for path in ["/workflows/orders/plan", "/workflows/etl/orders/plan"] {
        let answer = rest.get(path).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let plan = answer.json();
        assert_eq!(
            (plan["workflow"].as_str(), plan["instance_size"].as_str()),
            (Some("etl/orders"), Some("t3.medium"))
        );
        assert_eq!(plan["timeout_seconds"], 6.0 * 3600.0);
        assert!(plan["median_seconds"].is_null(), "it never ran");
        let first = &plan["candidates"][0];
        assert_eq!(
            (first["label"].as_str(), first["market"].as_str()),
            (Some("memory 0"), Some("on-demand"))
        );
        assert_eq!(first["price_per_hour"]["total_usd"], 0.001);
        assert_eq!(first["cost_at_timeout_usd"], 0.006);
        assert!(first["cost_at_median_usd"].is_null());
        assert_eq!(plan["candidates"][1]["price_per_hour"]["instance_usd"], 0.002);
    }
    let larger = rest.get("/workflows/orders/plan?instance_size=m6i.large").await.json();
    assert_eq!(larger["instance_size"], "m6i.large");
    assert_eq!(rest.get("/workflows/orders/plan?instance_size=m6i.lrge").await.code(), "invalid_request");
    assert!(cloud.list().await.unwrap().is_empty(), "nothing was launched");
    assert_eq!(rest.get("/executions").await.json()["items"], serde_json::json!([]));
}

#[tokio::test]
async fn what_may_not_be_asked_for_is_refused_with_the_reason() {
    let cloud = MemoryProvisioner::new(1);
    let rest = planning(&cloud).await;
    cloud.reject_plans(Some("t3.medium is not in ec2.allow"));
    let answer = rest.get("/workflows/orders/plan").await;
    assert_eq!((answer.status, answer.code().as_str()), (422, "no_machine"));
    assert!(answer.json()["detail"].as_str().unwrap().contains("ec2.allow"), "{}", answer.text());
}

#[tokio::test]
async fn where_nobody_starts_machines_there_is_none_to_plan() {
    let rest = Rest::with_orders().await;
    assert_eq!(rest.get("/workflows/orders/plan").await.json()["candidates"], serde_json::json!([]));
}

/// Worker `n`, whose machine lived from second 100 to second 1000 for 3.6 dollars an hour.
fn machine(n: u64) -> Worker {
    Worker {
        id: sample::worker_id(n),
        origin: Origin::Provisioned,
        purpose: Purpose::Workflow {
            workflow: sample::workflow_id(1),
            request: Box::new(MachineRequest::plain("t3.medium", None, 1)),
            keep_warm: Default::default(),
        },
        slots: 1,
        launched: Some(Launched {
            machine: "i-1".parse().unwrap(),
            instance_type: "t3.medium".to_owned(),
            zone: Some("eu-west-1a".to_owned()),
            market: Market::Spot,
            price: Some(MachinePrice { instance: 3_500_000, volume: 100_000, address: 0 }),
            at: at(100),
        }),
        joined_with: None,
        facts: None,
        state: WorkerState::Terminated { cause: TerminationCause::Idle, at: at(1000) },
        created_at: at(90),
    }
}

/// Execution `n`, which had worker `n` from second 200 to second 900.
fn run(n: u64) -> Execution {
    let mut phases = Phases::default();
    for (phase, second) in [
        (Phase::Queued, 80),
        (Phase::Launched, 90),
        (Phase::Connected, 200),
        (Phase::Started, 300),
        (Phase::Finished, 900),
    ] {
        phases.record(phase, at(second));
    }
    let end = Some(ended(Ending::Exited { code: 0 }));
    let attempt = Attempt {
        number: AttemptNumber::FIRST,
        worker: sample::worker_id(n),
        lease: sample::lease(n),
        phases,
        packages: None,
        end,
    };
    let tried = LaunchTry {
        at: at(85),
        worker: sample::worker_id(99),
        label: "t3.medium spot eu-west-1b".to_owned(),
        message: "no capacity".to_owned(),
    };
    Execution {
        attempts: vec![attempt],
        launch_tries: vec![tried],
        state: ExecutionState::Success { at: at(900) },
        ..sample::execution(n)
    }
}

async fn spent() -> Rest {
    let store = MemoryStore::new();
    let epoch = store.acquire_now().unwrap();
    let mut unpriced = sample::execution(3);
    unpriced.state = ExecutionState::Success { at: at(9) };
    let mut next_day = run(2);
    next_day.created_at = at(24 * 3600 + 1);
    let changes = vec![
        Change::PutWorker(Arc::new(machine(1))),
        Change::PutWorker(Arc::new(machine(2))),
        Change::PutExecution(Arc::new(run(1))),
        Change::PutExecution(Arc::new(next_day)),
        Change::PutExecution(Arc::new(unpriced)),
    ];
    store.commit_now(epoch, at(1), changes).unwrap();
    store.release();
    Rest::over(store, Default::default()).await
}

#[tokio::test]
async fn an_execution_shows_what_it_cost_its_tries_and_its_machines_times() {
    let rest = spent().await;
    let shown = rest.get(&format!("/executions/{}", sample::execution_id(1))).await.json();
    assert_eq!(shown["cost_usd"], 0.9);
    let parts = serde_json::json!({"work_usd": 0.7, "boot_usd": 0.1, "idle_usd": 0.1});
    assert_eq!(shown["cost"], parts);
    let attempt = &shown["attempts"][0];
    assert_eq!((&attempt["cost_usd"], &attempt["cost"]), (&serde_json::json!(0.9), &parts));
    assert_eq!(attempt["phases"]["launched"], "2026-01-01T00:01:40Z", "when it was confirmed");
    assert_eq!(attempt["phases"]["terminated"], "2026-01-01T00:16:40Z");
    assert_eq!(shown["launch_tries"][0]["machine"], "t3.medium spot eu-west-1b");
    assert_eq!(shown["launch_tries"][0]["message"], "no capacity");

    let listed = rest.get("/executions").await.json();
    let costs: Vec<_> = listed["items"].as_array().unwrap().iter().map(|it| it["cost_usd"].clone()).collect();
    assert_eq!(costs, [serde_json::json!(null), 0.9.into(), 0.9.into()]);
}

#[tokio::test]
async fn a_worker_shows_its_machine_and_what_that_cost() {
    let rest = spent().await;
    let worker = rest.get(&format!("/workers/{}", sample::worker_id(1))).await.json();
    assert_eq!(worker["machine_id"], "i-1");
    assert_eq!(
        (&worker["instance_type"], &worker["zone"], &worker["market"]),
        (&"t3.medium".into(), &"eu-west-1a".into(), &"spot".into())
    );
    assert_eq!(worker["price_per_hour"]["total_usd"], 3.6);
    assert_eq!(worker["cost_usd"], 0.9);
    assert_eq!(rest.get("/workers").await.json()["items"][0]["cost"]["boot_usd"], 0.1);
}

#[tokio::test]
async fn costs_are_summed_by_workflow_or_by_day_with_waste_apart() {
    let rest = spent().await;
    let answer = rest.get("/costs?since=2026-01-01T00:00:00Z").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let costs = answer.json();
    let group = |key: &str, executions: u64, without: u64, n: f64| {
        serde_json::json!({
            "key": key, "executions": executions, "without_price": without, "cost_usd": 0.9 * n,
            "cost": {"work_usd": 0.7 * n, "boot_usd": 0.1 * n, "idle_usd": 0.1 * n},
            "budget": null,
        })
    };
    assert_eq!(costs["items"], serde_json::json!([group("samples/orders", 3, 1, 2.0)]));
    assert_eq!(costs["total"], group("total", 3, 1, 2.0));
    let days = rest.get("/costs?since=2026-01-01T00:00:00Z&group_by=day").await.json();
    assert_eq!(
        days["items"],
        serde_json::json!([group("2026-01-01", 2, 1, 1.0), group("2026-01-02", 1, 0, 1.0)])
    );
    let first = rest.get("/costs?since=2026-01-01T00:00:00Z&until=2026-01-02T00:00:00Z").await.json();
    assert_eq!(first["total"]["executions"], 2);
    assert_eq!(rest.get("/costs?group_by=owner").await.code(), "invalid_parameter");
    assert_eq!(rest.get("/costs?until=2025-01-01T00:00:00Z").await.json()["items"], serde_json::json!([]));
}
