//! The log of an execution that has ended.

use data_runner_core::log::{Gap, GapReason};
use serde_json::json;

use crate::fixture::Wrote::{Cut, Err, Gap as Missing, Out};
use crate::fixture::{Answer, Rest, Wrote, printed};

async fn over(writes: &[Wrote<'_>]) -> Rest {
    Rest::over(printed(writes, None), Default::default()).await
}

async fn text(rest: &Rest, query: &str) -> Vec<u8> {
    let answer = rest.get(&format!("/executions/latest/logs?{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.body
}

async fn asked(rest: &Rest, query: &str, accept: &str) -> Answer {
    rest.ask("GET", &format!("/executions/latest/logs?{query}"), &[("accept", accept)], "").await
}

const BINARY: &[u8] = b"\x00\xff\xfe10%\r20%\r\n\xc3\x28 not text\n\n\x1b[31mred\n";

#[tokio::test]
async fn each_stream_comes_back_byte_for_byte_and_both_in_the_order_in_which_they_were_read() {
    let rest = over(&[Out(b"a"), Err(BINARY), Cut, Out(b"bc\nno end"), Err(b"!"), Cut, Out(BINARY)]).await;
    assert_eq!(text(&rest, "stream=stderr").await, [BINARY, b"!"].concat());
    assert_eq!(text(&rest, "stream=stdout").await, [b"abc\nno end", BINARY].concat());
    assert_eq!(text(&rest, "").await, [b"a", BINARY, b"bc\nno end", b"!", BINARY].concat());
    let answer = asked(&rest, "", "text/plain").await;
    assert_eq!(answer.head["content-type"], "text/plain; charset=utf-8");
    assert_eq!(answer.head["data-runner-log-state"], "complete");
    assert_eq!(answer.head["x-content-type-options"], "nosniff");
}

#[tokio::test]
async fn a_range_of_lines_holds_their_bytes_and_no_others() {
    let rest =
        over(&[Out(b"1\n2\n3 begins"), Cut, Err(b"4\n"), Cut, Out(b" and ends\n5\n"), Cut, Out(b"6")]).await;
    assert_eq!(text(&rest, "from_line=2&to_line=3").await, b"2\n3 begins and ends\n");
    assert_eq!(text(&rest, "from_line=4").await, b"4\n5\n6");
    assert_eq!(text(&rest, "to_line=1").await, b"1\n");
    assert_eq!(text(&rest, "from_line=7").await, b"");
    assert_eq!(text(&rest, "from_line=3&to_line=4&stream=stderr").await, b"4\n");
    let wrong = rest.get("/executions/latest/logs?from_line=3&to_line=2").await;
    assert_eq!((wrong.status, wrong.code().as_str()), (400, "invalid_parameter"));
}

#[tokio::test]
async fn the_tail_is_counted_in_the_lines_that_are_selected() {
    let rest =
        over(&[Out(b"o1\n"), Err(b"e2\n"), Cut, Out(b"o3\no4\n"), Err(b"e5\n"), Cut, Out(b"o6\n")]).await;
    assert_eq!(text(&rest, "tail=2").await, b"e5\no6\n");
    assert_eq!(text(&rest, "tail=2&stream=stderr").await, b"e2\ne5\n");
    assert_eq!(text(&rest, "tail=2&stream=stdout").await, b"o4\no6\n");
    assert_eq!(text(&rest, "tail=1&grep=%5Ee").await, b"e5\n");
    assert_eq!(text(&rest, "tail=1&to_line=3").await, b"o3\n");
    assert_eq!(text(&rest, "tail=100").await, b"o1\ne2\no3\no4\ne5\no6\n");
    assert_eq!(text(&rest, "tail=0").await, b"");
}

#[tokio::test]
async fn a_tail_of_rare_lines_is_found_far_from_the_end() {
    let many = "noise\n".repeat(9_000);
    let rest =
        over(&[Out(b"needle 1\n"), Cut, Out(b"needle 2\n"), Cut, Out(many.as_bytes()), Cut, Err(b"x\n")])
            .await;
    assert_eq!(text(&rest, "tail=2&grep=needle").await, b"needle 1\nneedle 2\n");
    assert_eq!(text(&rest, "tail=1&grep=needle").await, b"needle 2\n");
    assert_eq!(text(&rest, "tail=3&grep=nowhere").await, b"");
}

#[tokio::test]
async fn grep_gives_whole_lines_though_they_lie_in_pieces() {
    let rest =
        over(&[Out(b"all is w"), Err(b"an error\n"), Cut, Out(b"ell\nbad \xff"), Cut, Out(b" byte")]).await;
    assert_eq!(text(&rest, "grep=is%20well").await, b"all is well\n");
    assert_eq!(text(&rest, "grep=%5E(all%7Cbad)").await, b"all is well\nbad \xff byte");
    assert_eq!(text(&rest, "grep=error&stream=stdout").await, b"");
    for bad in ["(", "(a{999}){999}"] {
        let answer = rest
            .get(&format!("/executions/latest/logs?grep={}", bad.replace('{', "%7B").replace('}', "%7D")))
            .await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_parameter"), "{bad}");
    }
}

#[tokio::test]
async fn lines_as_json_have_number_stream_time_and_text() {
    let gap = Gap { bytes: Some(7), reason: GapReason::Quota };
    let rest = over(&[Out(b"one\n"), Err(b"\xfftwo"), Missing(gap), Out(b"three\n")]).await;
    let answer = asked(&rest, "", "application/x-ndjson").await;
    assert_eq!(answer.head["content-type"], "application/x-ndjson");
    assert_eq!(
        answer.lines(),
        [
            json!({"line": 1, "stream": "stdout", "at": "2026-01-01T00:00:00Z", "text": "one", "attempt": 1}),
            json!({"line": 2, "stream": "stderr", "at": "2026-01-01T00:00:01Z", "text": "\u{fffd}two", "attempt": 1}),
            json!({"gap": {"bytes": 7, "reason": "quota"}, "at": "2026-01-01T00:00:02Z", "attempt": 1}),
            json!({"line": 3, "stream": "stdout", "at": "2026-01-01T00:00:03Z", "text": "three", "attempt": 1}),
        ]
    );
    assert_eq!(
        text(&rest, "").await,
        b"one\n\xfftwothree\n",
        "text holds what the job wrote and nothing else"
    );
}

#[tokio::test]
async fn what_is_missing_at_the_end_is_said_in_each_form() {
    let gap = Gap { bytes: None, reason: GapReason::WorkerLost };
    let rest = Rest::over(printed(&[Out(b"one\n")], Some(gap)), Default::default()).await;
    let lines = asked(&rest, "", "application/x-ndjson").await.lines();
    assert_eq!(lines[1]["gap"], json!({"bytes": null, "reason": "worker_lost"}));
    let events = asked(&rest, "", "text/event-stream").await.text();
    assert!(events.contains("event: gap\ndata: {\"gap\":{\"bytes\":null"), "{events}");
    assert_eq!(asked(&rest, "", "text/plain").await.head["data-runner-log-state"], "truncated");
    assert_eq!(rest.get("/executions/latest").await.json()["log"]["truncated"], true);
    let page = asked(&rest, "to_line=1", "application/x-ndjson").await.lines();
    assert_eq!(page.len(), 1, "a page that ends earlier does not speak of the end: {page:?}");
}

#[tokio::test]
async fn events_have_the_line_as_their_id_and_end_with_the_state() {
    let rest = over(&[Out(b"wait"), Err(b"warn\n"), Cut, Out(b"ed\nlast\n")]).await;
    let all = asked(&rest, "", "text/event-stream").await.text();
    let ids: Vec<&str> = all.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(ids, ["2~1", "2", "3"], "{all}");
    assert!(all.ends_with("event: end\ndata: {\"state\":\"success\",\"exit_code\":0}\n\n"), "{all}");
    for (id, expected) in [
        ("2~1", vec!["waited", "last"]),
        ("2", vec!["last"]),
        ("3", vec![]),
        ("0", vec!["warn", "waited", "last"]),
    ] {
        let headers = [("accept", "text/event-stream"), ("last-event-id", id)];
        let answer = rest.ask("GET", "/executions/latest/logs", &headers, "").await.text();
        let texts: Vec<String> = answer
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .map(|data| serde_json::from_str::<serde_json::Value>(data).unwrap())
            .filter_map(|data| data["text"].as_str().map(ToOwned::to_owned))
            .collect();
        assert_eq!(texts, expected, "after {id}");
    }
    let bad = rest.ask("GET", "/executions/latest/logs", &[("last-event-id", "x")], "").await;
    assert_eq!((bad.status, bad.code().as_str()), (400, "malformed_request"));
}

#[tokio::test]
async fn a_line_of_ten_megabytes_comes_in_parts_that_make_it_whole() {
    let block = vec![b'x'; 1 << 20];
    let mut writes: Vec<Wrote<'_>> = (0..10).flat_map(|_| [Out(&block), Cut]).collect();
    writes.push(Out(b"end\nnext\n"));
    let rest = over(&writes).await;
    let lines = asked(&rest, "", "application/x-ndjson").await.lines();
    let (last, parts) = lines.split_last().unwrap();
    assert_eq!(last["line"], 2);
    assert!(parts.iter().all(|part| part["line"] == 1 && part["text"].as_str().unwrap().len() <= 64 << 10));
    assert!(parts[..parts.len() - 1].iter().all(|part| part["continues"] == true));
    assert!(parts.last().unwrap().get("continues").is_none());
    let length: usize = parts.iter().map(|part| part["text"].as_str().unwrap().len()).sum();
    assert_eq!(length, (10 << 20) + 3);
    assert_eq!(text(&rest, "").await.len(), (10 << 20) + 9);
    let shown = rest.get("/executions/latest").await.json();
    assert!(shown["log"]["tail"][0].as_str().unwrap().len() <= 4096);
}

#[tokio::test]
async fn an_attempt_that_is_not_there_and_a_form_that_is_not_given_are_refused() {
    let rest = over(&[Out(b"one\n")]).await;
    assert_eq!(text(&rest, "attempt=1").await, b"one\n");
    let none = rest.get("/executions/latest/logs?attempt=2").await;
    assert_eq!((none.status, none.code().as_str()), (404, "attempt_not_found"));
    let form = asked(&rest, "", "application/json").await;
    assert_eq!((form.status, form.code().as_str()), (406, "not_acceptable"));
    let misspelt = rest.get("/executions/latest/logs?folow=true").await;
    assert_eq!((misspelt.status, misspelt.code().as_str()), (400, "invalid_parameter"));
}

#[tokio::test]
async fn a_page_of_a_long_log_costs_no_more_than_the_page() {
    let block: String = (0..1_000).map(|line| format!("line {line}\n")).collect();
    let writes: Vec<Wrote<'_>> = (0..200).flat_map(|_| [Out(block.as_bytes()), Cut]).collect();
    let rest = over(&writes).await;
    let page = text(&rest, "from_line=150001&to_line=150200").await;
    assert_eq!(page.iter().filter(|byte| **byte == b'\n').count(), 200);
    assert!(page.starts_with(b"line 0\n") && page.ends_with(b"line 199\n"));
    assert_eq!(text(&rest, "tail=1").await, b"line 999\n");
}
