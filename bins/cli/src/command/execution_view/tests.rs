use jiff::Timestamp;
use serde_json::json;

use super::*;

fn now() -> Timestamp {
    "2026-08-01T06:05:00Z".parse().expect("a time")
}

fn execution(change: serde_json::Value) -> Execution {
    let mut value = json!({
        "id": "019863f1-9a40-7c3e-8f00-3a5b7d9e1c2f",
        "workflow": "etl/daily-sales",
        "workflow_id": "019863f1-0000-7000-8000-000000000001",
        "state": "success",
        "waiting": null,
        "revision": "3f2c1ab09d8e7f6a5b4c3d2e1f0a9b8c7d6e5f40",
        "params": {"day": "2026-08-01", "region": "eu"},
        "trigger": "manual",
        "labels": {},
        "instance_size": "t3.small",
        "signal": null,
        "cost_usd": null,
        "attempt": 1,
        "created_at": "2026-08-01T06:00:00Z",
        "started_at": "2026-08-01T06:00:02.5Z",
        "finished_at": "2026-08-01T06:00:14.8Z",
        "exit_code": 0,
        "failure": null,
        "worker_id": "019863f0-1111-7000-8000-000000000002",
        "output": {"rows": 58},
        "peak_memory_bytes": 134_217_728,
        "cpu_seconds": 1.25,
        "retry_of": null,
        "attempts": [{
            "number": 1, "state": "success", "worker_id": "019863f0-1111-7000-8000-000000000002",
            "phases": {
                "queued": "2026-08-01T06:00:00Z", "launched": "2026-08-01T06:00:00.050Z",
                "connected": "2026-08-01T06:00:00.210Z", "code_ready": "2026-08-01T06:00:00.260Z",
                "environment_ready": "2026-08-01T06:00:02.470Z", "started": "2026-08-01T06:00:02.500Z",
                "finished": "2026-08-01T06:00:14.800Z", "drained": "2026-08-01T06:00:14.830Z"
            },
            "exit_code": 0, "signal": null, "failure": null, "cost_usd": null,
            "peak_memory_bytes": 134_217_728, "cpu_seconds": 1.25
        }],
        "log": {"bytes": 120, "lines": 40, "truncated": false, "tail": ["wrote best.parquet", "done"]}
    });
    let (Some(fields), Some(changes)) = (value.as_object_mut(), change.as_object()) else {
        panic!("objects")
    };
    fields.extend(changes.clone());
    serde_json::from_value(value).expect("an execution")
}

fn failed() -> Execution {
    execution(json!({
        "id": "019863f1-b2c8-7c3e-8f00-3a5b7d9e1c30", "state": "failed", "exit_code": 3, "output": null,
        "failure": {"cause": "user_error", "message": "the job ended with exit code 3",
                    "hint": "read the end of its log"},
        "params": {"note": "it's late"}
    }))
}

fn queued() -> Execution {
    execution(json!({
        "id": "019863f1-b2c9-7c3e-8f00-3a5b7d9e1c31", "state": "queued", "exit_code": null, "output": null,
        "started_at": null, "finished_at": null, "worker_id": null, "attempts": [], "log": null,
        "peak_memory_bytes": null, "cpu_seconds": null,
        "waiting": {"reason": "worker_limit", "message": "2 of 2 workers are busy", "since": "2026-08-01T06:00:00Z"}
    }))
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[test]
fn a_list_fits_eighty_columns_and_keeps_its_ids() {
    let drawn = table(&[execution(json!({})), failed(), queued()], Some(80), now()).render(Some(80), false);
    assert!(drawn.lines().all(|line| line.chars().count() <= 80), "{drawn}");
    insta::assert_snapshot!("list_at_80_columns", drawn);
}

#[test]
fn a_list_that_no_terminal_reads_is_whole() {
    let drawn = table(&[execution(json!({})), failed(), queued()], None, now()).render(None, false);
    insta::assert_snapshot!("list_without_a_terminal", drawn);
}

#[test]
fn a_page_shows_timeline_and_output() {
    insta::assert_snapshot!("page_of_a_success", plain(&page(&execution(json!({})), now())));
}

#[test]
fn a_page_shows_what_was_used_and_what_duckdb_told() {
    let told = json!({
        "statements": [
            {"text": "CREATE TABLE t AS\n  SELECT 1", "seconds": 0.0123, "cpu_seconds": 0.02, "rows": 1000,
             "rows_read": 2000, "bytes_read": 123_456_789, "result_bytes": 8},
            {"text": "SELECT \u{1b}[2J", "seconds": 75.0, "cpu_seconds": 130.5, "rows": 3, "rows_read": 1000,
             "bytes_read": 0, "result_bytes": 72},
        ],
        "left_out": 2,
        "preview": {"text": "┌───┐\n│ a │\n├───┤\n│ 1 │\n└───┘\n", "cut": true},
    });
    let enlarged = json!([{"after_attempt": 1, "from": "t3.small", "to": "t3.medium"}]);
    let mut execution = execution(json!({"output": null, "enlarged": enlarged}));
    let attempt = &mut execution.attempts[0];
    attempt.sql = serde_json::from_value(told).expect("a report");
    let usage = json!({
        "disk_read_bytes": 5_000_000, "disk_written_bytes": 0, "peak_folder_bytes": 73_211_904,
        "peak_spill_bytes": 0, "received_bytes": null, "sent_bytes": null,
    });
    attempt.usage = serde_json::from_value(usage).expect("usage");
    insta::assert_snapshot!("page_of_sql", plain(&page(&execution, now())));
}

#[test]
fn a_failed_page_ends_with_what_to_do() {
    insta::assert_snapshot!("page_of_a_failure", plain(&page(&failed(), now())));
}

#[test]
fn a_waiting_page_says_why() {
    insta::assert_snapshot!("page_of_a_queued_one", plain(&page(&queued(), now())));
}

#[test]
fn a_page_of_a_machine_of_its_own_shows_its_cost_its_tries_and_when_it_was_gone() {
    let cost = json!({"work_usd": 0.0021, "boot_usd": 0.0007, "idle_usd": 0.0002});
    let mut own = execution(json!({
        "cost_usd": 0.003, "cost": cost,
        "launch_tries": [{"at": "2026-08-01T06:00:01Z", "machine": "t3.small spot eu-west-1a",
                          "message": "there is no spare capacity"}],
    }));
    own.attempts[0].phases.insert("terminated".to_owned(), "2026-08-01T06:00:40Z".parse().expect("a time"));
    insta::assert_snapshot!("page_of_a_machine_of_its_own", plain(&page(&own, now())));
}

#[test]
fn the_reproducing_command_survives_a_shell() {
    assert_eq!(
        reproduce(&failed()),
        r"data-runner run etl/daily-sales --local --ref 3f2c1ab09d8e -p 'note=it'\''s late'"
    );
}

#[test]
fn the_state_of_a_plain_folder_is_what_it_is_now() {
    let folder = execution(json!({"revision": "a".repeat(64), "params": {}}));
    assert_eq!(reproduce(&folder), "data-runner run etl/daily-sales --local");
}

#[test]
fn the_end_of_a_log_shows_progress_as_a_terminal_would_and_no_control_characters() {
    let tail = ["\rprogress 1/2\rprogress 2/2", "windows\r", "\u{1b}[2Jred\u{9b}31m\u{7}", "a\tb"];
    let log = json!({"bytes": 120, "lines": 4, "truncated": false, "tail": tail});
    let page = page(&execution(json!({"log": log})), now());
    let (_, end) = page.split_once("End of the log").expect("a log");
    let lines: Vec<_> =
        end.lines().filter_map(|line| line.split_once("|\u{1b}[0m ")).map(|(_, line)| line).collect();
    assert_eq!(lines, ["progress 2/2", "windows", "\u{fffd}[2Jred\u{fffd}31m\u{fffd}", "a\tb"]);
}

#[test]
fn a_warning_is_on_the_page_and_after_the_run_and_changes_no_state() {
    let warned = execution(json!({"output": null, "warnings": ["the output is not kept: it is not JSON"]}));
    let line = "warning: the output is not kept: it is not JSON";
    assert!(plain(&page(&warned, now())).contains(line));
    assert_eq!(plain(&ending(&warned, now())), format!("success etl/daily-sales after 12.3s\n  {line}"));
}
