//! Pages and filters.

use crate::fixture::{Rest, SIMPLE, URL, files, history};

async fn numbers(rest: &Rest, query: &str) -> Vec<u64> {
    let answer = rest.get(&format!("/executions?{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    let json = answer.json();
    let items = json["items"].as_array().unwrap();
    let seconds = |item: &serde_json::Value| {
        let at: jiff::Timestamp = item["created_at"].as_str().unwrap().parse().unwrap();
        (at.as_second() - 1_767_225_600) as u64
    };
    items.iter().map(seconds).collect()
}

#[tokio::test]
async fn pages_hold_every_execution_once_from_the_newest_to_the_oldest() {
    let rest = Rest::over(history(7), Default::default()).await;
    let (mut seen, mut query) = (Vec::new(), "limit=3".to_owned());
    loop {
        seen.extend(numbers(&rest, &query).await);
        let next = rest.get(&format!("/executions?{query}")).await.json()["next_cursor"].clone();
        match next.as_str() {
            Some(cursor) => query = format!("limit=3&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, [7, 6, 5, 4, 3, 2, 1]);
    assert!(
        rest.get("/executions?limit=7").await.json()["next_cursor"].is_null(),
        "a full last page is the last"
    );
}

#[tokio::test]
async fn filters_narrow_the_listing() {
    let rest = Rest::over(history(7), Default::default()).await;
    assert_eq!(numbers(&rest, "state=failed").await, [6, 3]);
    assert_eq!(numbers(&rest, "state=failed,success&limit=2").await, [7, 6]);
    assert_eq!(numbers(&rest, "state=failed&state=queued").await, [6, 3]);
    assert_eq!(numbers(&rest, "label=tier%3Dgold").await, [6, 4, 2]);
    assert_eq!(numbers(&rest, "since=2026-01-01T00:00:05Z").await, [7, 6, 5]);
    assert_eq!(numbers(&rest, "until=2026-01-01T00:00:03Z&since=2026-01-01T00:00:02Z").await, [2]);
    assert_eq!(numbers(&rest, "since=1s").await, Vec::<u64>::new());
    let workflow = data_runner_testkit::sample::workflow_id(1);
    assert_eq!(numbers(&rest, &format!("workflow={workflow}&limit=1")).await, [7]);
    assert_eq!(rest.get("/executions?workflow=nope").await.code(), "workflow_not_found");
}

#[tokio::test]
async fn workflows_are_listed_page_by_page_in_order_of_their_names() {
    let rest = Rest::start().await;
    rest.source.publish("main", files(&[("c", SIMPLE), ("a", SIMPLE), ("b", SIMPLE)]));
    rest.post("/workflows", &format!(r#"{{"repo": "{URL}", "ref": "main"}}"#)).await;
    let first = rest.get("/workflows?limit=2").await.json();
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = rest.get(&format!("/workflows?limit=2&cursor={cursor}")).await.json();
    let names: Vec<&str> = [&first, &second]
        .into_iter()
        .flat_map(|page| page["items"].as_array().unwrap())
        .map(|item| item["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert!(second["next_cursor"].is_null());
    let foreign = rest.get(&format!("/executions?cursor={cursor}")).await;
    assert_eq!((foreign.status, foreign.code().as_str()), (400, "invalid_cursor"));
}
