//! Groups, and the executions of one.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::fixture::{PATIENCE, Rest, SIMPLE, URL, files};

const MATRIX: &str = "params: {region: {type: enum, values: [eu, us], default: eu}}\n\
                      matrix: {values: {region: [eu, us]}}\n";

/// A server with the workflow `etl/regions`, which has a matrix of two, and one that needs it.
async fn house() -> Rest {
    let rest = Rest::start().await;
    let (regions, report) =
        (format!("{SIMPLE}{MATRIX}"), format!("{SIMPLE}needs: [{{workflow: regions}}]\n"));
    rest.source.publish("main", files(&[("regions", &regions), ("report", &report)]));
    let answer = rest.post("/workflows", &format!(r#"{{"repo": "{URL}", "ref": "main"}}"#)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    rest
}

/// Starts the matrix; the group's id, once all of its members have an execution.
async fn started(rest: &Rest) -> String {
    let answer = rest.post("/workflows/regions/execute", "{}").await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let looking = async {
        while rest.get(&format!("/groups/{id}")).await.json()["counts"]["active"] != json!(2) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.expect("both members are active");
    id
}

fn ids(executions: &Value) -> BTreeSet<&str> {
    executions["items"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_executions_of_a_group_are_listed_and_no_others() {
    let rest = house().await;
    let (first, second) = (started(&rest).await, started(&rest).await);
    let alone = rest.post("/workflows/regions/execute", r#"{"params": {"region": "eu"}}"#).await.json();
    let group = rest.get(&format!("/groups/{first}")).await.json();
    let members = group["members"].as_array().unwrap().iter().map(|it| it["execution"].as_str().unwrap());
    let members: BTreeSet<&str> = members.collect();
    assert_eq!(group["needed_by"], json!(["etl/report"]), "what its success starts");
    let of_first = rest.get(&format!("/executions?group={first}")).await.json();
    assert_eq!((ids(&of_first), members.len()), (members, 2));
    let of_second = rest.get("/executions?group=latest").await.json();
    assert_eq!(of_second, rest.get(&format!("/executions?group={second}")).await.json());
    assert!(ids(&of_first).is_disjoint(&ids(&of_second)));
    assert!(!ids(&of_first).contains(alone["id"].as_str().unwrap()));

    let narrowed = async |more: &str| {
        let answer = rest.get(&format!("/executions?group={first}&{more}")).await.json();
        answer["items"].as_array().unwrap().len()
    };
    assert_eq!(narrowed("state=queued&workflow=regions").await, 2);
    assert_eq!(narrowed("state=failed").await, 0);
    assert_eq!(narrowed("limit=1").await, 1);
    let page = rest.get(&format!("/executions?group={first}&limit=1")).await.json();
    let cursor = page["next_cursor"].as_str().unwrap();
    let next = rest.get(&format!("/executions?group={first}&limit=1&cursor={cursor}")).await.json();
    assert!(ids(&page).is_disjoint(&ids(&next)) && next["next_cursor"].is_null(), "{next:#}");
    assert_eq!(rest.get("/executions?group=nobody").await.code(), "group_not_found");
}

#[tokio::test]
async fn a_group_is_paused_resumed_and_cancelled_and_tells_its_members() {
    let rest = house().await;
    let id = started(&rest).await;
    let state = async |wish: &str| {
        let answer = rest.post(&format!("/groups/{id}/{wish}"), "").await;
        assert!([200, 202].contains(&answer.status), "{}", answer.text());
        answer.json()["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state("pause").await, "paused");
    assert_eq!(state("resume").await, "running");
    assert_eq!(state("cancel").await, "cancelling");
    let ending = async {
        loop {
            let group = rest.get(&format!("/groups/{}", &id[..23])).await.json();
            if group["state"] == "cancelled" {
                return group;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let group = tokio::time::timeout(PATIENCE, ending).await.expect("it ends");
    assert_eq!(group["counts"]["cancelled"], json!(2), "{group:#}");
    let regions: Vec<&Value> =
        group["members"].as_array().unwrap().iter().map(|member| &member["params"]["region"]).collect();
    assert_eq!(regions, [&json!("eu"), &json!("us")]);
    assert_eq!(rest.post(&format!("/groups/{id}/pause"), "").await.status, 409);
    let listed = rest.get("/groups").await.json();
    assert_eq!(listed["items"][0]["id"], json!(id));
    assert!(listed["items"][0]["members"].is_null(), "listings have no room for them");
}
