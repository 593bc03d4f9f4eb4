//! Logs, live and afterwards, in every form.

use std::time::{Duration, Instant};

use data_runner_tests::{Repository, Sandbox, Server, polars, workflow};
use reqwest::Method;
use serde_json::{Value, json};

const STEPS: &str = r#"
import os, time
folder = os.environ["DATA_RUNNER_PARAM_FOLDER"]
def wait(name):
    while not os.path.exists(folder + "/" + name):
        time.sleep(0.005)
print("one", flush=True)
wait("go-two")
print("two", flush=True)
wait("go-three")
print("three")
"#;

async fn with_steps(sandbox: &Sandbox) -> Server<'_> {
    let config = polars("params:\n  folder: {type: string}\n");
    let repository = Repository::with(sandbox.join("etl"), [workflow("steps", &config, STEPS)]);
    Server::dev(sandbox, &["--workers", "1", repository.url().as_str()]).await
}

const EVENTS: (&str, &str) = ("accept", "text/event-stream");

/// The events of a stream: each one's name, id and data.
fn events(text: &str) -> Vec<(String, String, Value)> {
    let field = |event: &str, name: &str| -> Option<String> {
        event.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
    };
    text.split("\n\n")
        .filter_map(|event| {
            let data = serde_json::from_str(&field(event, "data:")?).unwrap();
            Some((field(event, "event:").unwrap_or_default(), field(event, "id:").unwrap_or_default(), data))
        })
        .collect()
}

#[tokio::test]
async fn a_follower_sees_a_line_within_a_second_while_the_job_runs() {
    let sandbox = Sandbox::new();
    let server = with_steps(&sandbox).await;
    let id = server.rest.execute("steps", json!({"folder": sandbox.text("")})).await;
    let mut follow = server.rest.follow(&format!("/executions/{id}/logs?follow=true"), &[EVENTS]).await;
    follow.until("one").await;
    // Logs travel by themselves, and may be ahead of the news that the job has started.
    server.rest.reaches(&id, "running").await;
    // The best of two: a machine that is busy with other tests may sleep through one.
    let mut waits = Vec::new();
    for (gate, word) in [("go-two", "two"), ("go-three", "three")] {
        let began = Instant::now();
        sandbox.touch(gate);
        follow.until(word).await;
        waits.push(began.elapsed());
    }
    assert!(*waits.iter().min().unwrap() < Duration::from_secs(1), "{waits:?}");
    let all = String::from_utf8(follow.to_end().await).unwrap();
    let events = events(&all);
    let texts: Vec<_> = events.iter().map(|(_, _, data)| data["text"].as_str().unwrap_or("")).collect();
    assert_eq!(texts, ["one", "two", "three", ""]);
    let (name, _, end) = events.last().unwrap();
    assert_eq!((name.as_str(), end), ("end", &json!({"state": "success", "exit_code": 0})));
}

#[tokio::test]
async fn a_follower_that_was_cut_off_resumes_where_it_was() {
    let sandbox = Sandbox::new();
    let server = with_steps(&sandbox).await;
    let id = server.rest.execute("steps", json!({"folder": sandbox.text("")})).await;
    let path = format!("/executions/{id}/logs?follow=true");
    let mut follow = server.rest.follow(&path, &[EVENTS]).await;
    let seen = events(&follow.until("one").await);
    drop(follow);
    let last = seen.iter().map(|(_, id, _)| id.as_str()).rfind(|id| !id.is_empty()).unwrap_or("1").to_owned();
    let resumed = server.rest.follow(&path, &[EVENTS, ("last-event-id", &last)]).await;
    sandbox.touch("go-two");
    sandbox.touch("go-three");
    let all = String::from_utf8(resumed.to_end().await).unwrap();
    let lines: Vec<_> = events(&all).into_iter().filter(|(name, ..)| name.is_empty()).collect();
    let texts: Vec<_> = lines.iter().map(|(_, _, data)| data["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["two", "three"], "{all}");
}

#[tokio::test]
async fn following_survives_a_restart_of_the_supervisor_by_its_last_event() {
    let sandbox = Sandbox::new();
    let mut server = with_steps(&sandbox).await;
    let id = server.rest.execute("steps", json!({"folder": sandbox.text("")})).await;
    let path = format!("/executions/{id}/logs?follow=true");
    server.rest.logs(&id, "one").await;
    server.kill();
    server.again().await;
    let resumed = server.rest.follow(&path, &[EVENTS, ("last-event-id", "1")]).await;
    sandbox.touch("go-two");
    sandbox.touch("go-three");
    let all = String::from_utf8(resumed.to_end().await).unwrap();
    let texts: Vec<_> =
        events(&all).iter().filter_map(|(_, _, data)| data["text"].as_str().map(ToOwned::to_owned)).collect();
    assert_eq!(texts, ["two", "three"], "{all}");
}

#[tokio::test]
async fn any_part_of_a_long_log_is_there_at_once() {
    let sandbox = Sandbox::new();
    let script = "for i in range(1, 100_001):\n    print(f'line {i}')\n";
    let repository = Repository::with(sandbox.join("etl"), [workflow("long", &polars(""), script)]);
    let server = Server::dev(&sandbox, &["--workers", "1", repository.url().as_str()]).await;
    let rest = &server.rest;
    let id = rest.execute("long", json!({})).await;
    let ended = rest.succeeded(&id).await;
    assert_eq!(ended["log"]["lines"], 100_000);
    let lines =
        |from: u64, to: u64| (from..=to).map(|i| format!("line {i}\n")).collect::<String>().into_bytes();
    assert!(rest.log(&id, "").await == lines(1, 100_000));

    let began = Instant::now();
    assert_eq!(rest.log(&id, "from_line=50001&to_line=50200").await, lines(50_001, 50_200));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(rest.log(&id, "tail=3").await, lines(99_998, 100_000));
    assert_eq!(rest.log(&id, "grep=9999[0-2]%24").await, lines(99_990, 99_992));
    assert_eq!(rest.log(&id, "stream=stderr").await, b"");
    let tail = ended["log"]["tail"].as_array().unwrap();
    assert_eq!(tail.last().unwrap(), "line 100000");

    let path = format!("/executions/{id}/logs?from_line=70000&to_line=70001");
    let answer = rest.ask(Method::GET, &path, &[("accept", "application/x-ndjson")], None).await;
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let records = answer.lines();
    assert_eq!(records.len(), 2);
    for (record, number) in records.iter().zip([70_000, 70_001]) {
        assert_eq!(record["line"], number);
        assert_eq!(
            (&record["stream"], &record["text"]),
            (&json!("stdout"), &json!(format!("line {number}")))
        );
        assert!(record["at"].as_str().unwrap().ends_with('Z'), "{record}");
    }
}

#[tokio::test]
async fn the_lines_of_both_streams_are_counted_together_and_can_be_told_apart() {
    let sandbox = Sandbox::new();
    let script = r#"
import sys, time
for i in range(6):
    print(i, file=sys.stderr if i % 2 else sys.stdout, flush=True)
    time.sleep(0.05)
"#;
    let repository = Repository::with(sandbox.join("etl"), [workflow("both", &polars(""), script)]);
    let server = Server::dev(&sandbox, &["--workers", "1", repository.url().as_str()]).await;
    let id = server.rest.execute("both", json!({})).await;
    server.rest.succeeded(&id).await;
    let path = format!("/executions/{id}/logs");
    let answer = server.rest.ask(Method::GET, &path, &[("accept", "application/x-ndjson")], None).await;
    let mut seen: Vec<_> = answer
        .lines()
        .iter()
        .map(|line| {
            let text: u64 = line["text"].as_str().unwrap().parse().unwrap();
            assert_eq!(line["stream"], if text % 2 == 1 { "stderr" } else { "stdout" });
            (line["line"].as_u64().unwrap(), text)
        })
        .collect();
    // Which of two pipes is read first is chance where the machine slept; that each line has a number is not.
    seen.sort_by_key(|(_, text)| *text);
    let mut numbers: Vec<_> = seen.iter().map(|(number, _)| *number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
    assert_eq!(server.rest.log(&id, "stream=stdout").await, b"0\n2\n4\n");
    assert_eq!(server.rest.log(&id, "stream=stderr").await, b"1\n3\n5\n");
}
