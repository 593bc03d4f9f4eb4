//! What attempts used, and what engines told of them.

use std::sync::Arc;

use data_runner_core::event::Change;
use data_runner_core::execution::{
    Attempt, AttemptEnd, Ending, ExecutionState, FinishReport, NetworkBytes, Phases, StorageBytes, Usage,
};
use data_runner_core::id::AttemptNumber;
use data_runner_testkit::memory::store::MemoryStore;
use data_runner_testkit::sample::{self, at};
use serde_json::{Value, json};

use crate::fixture::{Agent, Rest, ended, new_log};

/// A store with execution 1, whose attempts ended so.
fn ran(ends: Vec<AttemptEnd>) -> MemoryStore {
    let store = MemoryStore::new();
    let epoch = store.acquire_now().unwrap();
    let mut execution = sample::execution(1);
    let (worker, lease) = (sample::worker_id(1), sample::lease(1));
    let attempt = |(number, end)| Attempt {
        number: AttemptNumber(number),
        worker,
        lease,
        phases: Phases::default(),
        packages: None,
        end: Some(end),
    };
    execution.attempts = (1..).zip(ends).map(attempt).collect();
    execution.state = ExecutionState::Success { at: at(9) };
    store.commit_now(epoch, at(9), vec![Change::PutExecution(Arc::new(execution))]).unwrap();
    store.release();
    store
}

fn reported(usage: Usage) -> AttemptEnd {
    match ended(Ending::Exited { code: 0 }) {
        AttemptEnd::Reported(report) => {
            AttemptEnd::Reported(FinishReport { usage, sql: Some(Box::new(sample::sql_report())), ..report })
        }
        AttemptEnd::Lost(_) => panic!("it was reported"),
    }
}

#[tokio::test]
async fn an_attempt_tells_what_it_used_and_what_nobody_measured_is_null() {
    let usage = Usage {
        storage: Some(StorageBytes { read: 1, written: 2 }),
        peak_folder_bytes: Some(3),
        peak_spill_bytes: Some(0),
        network: Some(NetworkBytes { received: 5, sent: 6 }),
        ..Usage::default()
    };
    let store = ran(vec![reported(Usage::default()), reported(usage)]);
    let rest = Rest::over(store, Default::default()).await;
    let shown = rest.get("/executions/latest").await.json();
    let none = json!({
        "disk_read_bytes": null, "disk_written_bytes": null, "peak_folder_bytes": null,
        "peak_spill_bytes": null, "received_bytes": null, "sent_bytes": null,
    });
    assert_eq!(shown["attempts"][0]["usage"], none);
    let all = json!({
        "disk_read_bytes": 1, "disk_written_bytes": 2, "peak_folder_bytes": 3, "peak_spill_bytes": 0,
        "received_bytes": 5, "sent_bytes": 6,
    });
    assert_eq!(shown["attempts"][1]["usage"], all);
}

#[tokio::test]
async fn one_execution_tells_of_its_statements_and_a_list_has_no_room_for_them() {
    let rest = Rest::over(ran(vec![reported(Usage::default())]), Default::default()).await;
    let sql = rest.get("/executions/latest").await.json()["attempts"][0]["sql"].clone();
    let statement = &sql["statements"][0];
    assert_eq!((&statement["rows"], &statement["bytes_read"]), (&json!(u64::MAX), &json!(1_u64 << 40)));
    assert_eq!((&statement["seconds"], &statement["cpu_seconds"]), (&json!(1.500000001), &json!(0.000017)));
    assert_eq!((&sql["left_out"], &sql["preview"]["cut"]), (&json!(7), &json!(true)));
    let listed = rest.get("/executions").await.json();
    assert_eq!(listed["items"][0]["attempts"][0]["sql"], Value::Null);
}

#[tokio::test]
async fn advice_says_what_runs_used_and_what_is_not_known_here() {
    let rest = Rest::with_orders().await;
    let before = rest.get("/workflows/orders/advice").await.json();
    assert_eq!(before["verdict"], "too_little_evidence");
    assert_eq!(before["recommended"], Value::Null);
    let agent = Agent::join(&rest, sample::worker_id(1)).await;
    for _ in 0..3 {
        let started = rest.post("/workflows/orders/execute", "{}").await.json();
        let claim = agent.assigned().await.claim;
        let usage = Usage {
            peak_memory_bytes: Some(300 << 20),
            cpu_time: std::time::Duration::from_millis(500),
            ..Usage::default()
        };
        agent.finish_using(claim, &new_log(), Ending::Exited { code: 0 }, usage).await;
        let id = started["id"].as_str().unwrap().to_owned();
        let ended = rest.get(&format!("/executions/{id}?wait=10s")).await.json();
        assert_eq!(ended["state"], "success");
    }
    for path in ["/workflows/orders/advice", "/workflows/etl/orders/advice"] {
        let advice = rest.get(path).await.json();
        assert_eq!((&advice["verdict"], &advice["recommended"]), (&json!("smaller"), &json!("t3.micro")));
        assert_eq!(advice["message"], "t3.micro would do instead of t3.medium");
        assert_eq!(advice["needs"]["memory_bytes"], 375 << 20);
        assert_eq!(advice["evidence"][0]["succeeded"], 3);
        assert_eq!(advice["saves_per_run_usd"], Value::Null);
        let caveats: Vec<_> = advice["caveats"].as_array().unwrap().iter().map(|it| &it["code"]).collect();
        assert!(caveats.contains(&&json!("own_machine")), "{caveats:?}");
    }
    assert_eq!(rest.get("/workflows/none/advice").await.status, 404);
    assert_eq!(rest.get("/workflows/orders/advice?runs=3").await.status, 400);
}
