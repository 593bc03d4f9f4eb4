//! What the shim does beyond the contract: limits, records, and how quick it is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fixture;

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use data_runner_core::execution::{Ending, FailureCause, StopReason};
use data_runner_core::log::{GapReason, LogOffset, Segment, Stream};
use data_runner_core::port::{ExecuteError, Executor as _, JobEnd, Prepared, RunRequest, SecretValue};
use data_runner_core::workflow::{ParamValue, Resources};
use data_runner_exec::{CommandExecutor, ProcessIdentity, RunOptions, Runner, ShimRecord};
use data_runner_testkit::contract::executor::{ExecutorFixture as _, bytes_of, follow};
use fixture::{Fixture, shims};

fn executor(options: RunOptions) -> CommandExecutor {
    CommandExecutor::new("any".parse().unwrap(), Runner::new(shims(), options), |run| {
        let words = run.job.entrypoint.split(' ').map(Into::into).collect();
        Ok(Prepared { command: words, ..Prepared::default() })
    })
}

fn shell(fixture: &Fixture, script: &str) -> RunRequest {
    let mut run = fixture.empty_request();
    Arc::make_mut(&mut run.job).entrypoint = "/bin/sh script".to_owned();
    fs::write(run.working_directory().join("script"), script).unwrap();
    run
}

async fn run(executor: &CommandExecutor, run: RunRequest) -> (Vec<u8>, Vec<u8>, JobEnd) {
    let run = Arc::new(run);
    let prepared = executor.prepare(Arc::clone(&run)).await.unwrap();
    let job = executor.start(run, prepared).await.unwrap();
    let (chunks, end) = follow(job.as_ref()).await;
    (bytes_of(&chunks, Stream::Stdout), bytes_of(&chunks, Stream::Stderr), end)
}

#[tokio::test]
async fn a_program_that_is_not_there_is_a_failure_of_the_environment() {
    let fixture = Fixture::new();
    let executor = executor(RunOptions::default());
    let mut request = fixture.empty_request();
    Arc::make_mut(&mut request.job).entrypoint = "/no/such/program".to_owned();
    let request = Arc::new(request);
    let prepared = executor.prepare(Arc::clone(&request)).await.unwrap();
    match executor.start(Arc::clone(&request), prepared).await {
        Err(ExecuteError::Failed(failure)) => {
            assert_eq!(failure.cause, FailureCause::Environment);
            assert!(failure.message.contains("/no/such/program"), "{}", failure.message);
        }
        other => panic!("{:?} instead of a failure", other.map(|_| ())),
    }
}

#[tokio::test]
async fn a_workflow_folder_that_is_not_there_is_a_failure_of_the_source() {
    let fixture = Fixture::new();
    let executor = executor(RunOptions::default());
    let mut request = fixture.empty_request();
    let job = Arc::make_mut(&mut request.job);
    (job.entrypoint, job.folder) = ("/bin/true".to_owned(), "workflows/other".to_owned());
    let request = Arc::new(request);
    let prepared = executor.prepare(Arc::clone(&request)).await.unwrap();
    match executor.start(request, prepared).await {
        Err(ExecuteError::Failed(failure)) => assert_eq!(failure.cause, FailureCause::Source),
        other => panic!("{:?} instead of a failure", other.map(|_| ())),
    }
}

#[tokio::test]
async fn a_job_starts_in_its_folder_with_a_clean_environment_and_its_parameters() {
    let fixture = Fixture::new();
    let mut request = shell(&fixture, "pwd; env | sort");
    let job = Arc::make_mut(&mut request.job);
    job.params.insert("day".to_owned(), ParamValue::Date("2026-08-01".parse().unwrap()));
    job.params.insert("limit".to_owned(), ParamValue::Int(3));
    job.env.insert("GREETING".to_owned(), "hello".to_owned());
    let (folder, tmp) = (request.working_directory(), request.folder.join("tmp"));
    let attempt = request.claim.attempt;
    let (stdout, _, _) = run(&executor(RunOptions::default()), request).await;
    let stdout = String::from_utf8(stdout).unwrap();
    let mut lines = stdout.lines();
    assert_eq!(lines.next().unwrap(), folder.display().to_string());
    let names: Vec<_> = lines.clone().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    let expected = "DATA_RUNNER_ATTEMPT DATA_RUNNER_EXECUTION_ID DATA_RUNNER_OUTPUT DATA_RUNNER_PARAMS \
         DATA_RUNNER_PARAM_DAY DATA_RUNNER_PARAM_LIMIT DATA_RUNNER_REVISION DATA_RUNNER_WORKFLOW GREETING HOME LANG \
         PATH PWD TMPDIR";
    let mut names: Vec<_> =
        names.into_iter().filter(|name| !["OLDPWD", "SHLVL", "_"].contains(name)).collect();
    names.sort_unstable();
    let mut expected: Vec<_> = expected.split_whitespace().collect();
    expected.sort_unstable();
    assert_eq!(names, expected);
    for line in [
        "DATA_RUNNER_PARAM_DAY=2026-08-01".to_owned(),
        r#"DATA_RUNNER_PARAMS={"day":"2026-08-01","limit":3}"#.to_owned(),
        format!("DATA_RUNNER_EXECUTION_ID={}", attempt.execution),
        "DATA_RUNNER_ATTEMPT=1".to_owned(),
        "DATA_RUNNER_WORKFLOW=samples/orders".to_owned(),
        format!("TMPDIR={}", tmp.display()),
    ] {
        assert!(lines.clone().any(|found| found == line), "{line} in {stdout}");
    }
}

#[tokio::test]
async fn a_secret_reaches_the_job_and_neither_its_log_nor_its_output_nor_the_disk() {
    let fixture = Fixture::new();
    let script = r#"
        printf 'is it hunt'; sleep 0.2; echo er2-and-more
        echo "$API_KEY $API_KEY" >&2
        printf %s "$API_KEY" | base64
        echo "{\"key\": \"$API_KEY\", \"rows\": 3}" > "$DATA_RUNNER_OUTPUT"
        printf 'hunter2-and'
    "#;
    let mut request = shell(&fixture, script);
    Arc::make_mut(&mut request.job).env.insert("API_KEY".to_owned(), "the secret wins".to_owned());
    let request = Arc::new(request);
    let executor = executor(RunOptions::default());
    let mut prepared = executor.prepare(Arc::clone(&request)).await.unwrap();
    let value = SecretValue::new("hunter2-and-more".to_owned());
    prepared.secrets.insert("API_KEY".to_owned(), value.clone());
    prepared.secrets.insert("DATA_RUNNER_ATTEMPT".to_owned(), value);
    let job = executor.start(Arc::clone(&request), prepared).await.unwrap();
    // Another agent takes over: the shim goes on masking.
    drop(job);
    let job = executor.adopt(Arc::clone(&request)).await.unwrap().unwrap();
    let (chunks, end) = follow(job.as_ref()).await;
    let text = |stream| String::from_utf8(bytes_of(&chunks, stream)).unwrap();
    assert_eq!(text(Stream::Stdout), "is it ***\n***\nhunter2-and");
    assert_eq!(text(Stream::Stderr), "*** ***\n");
    assert_eq!(end.output, Some(serde_json::json!({"key": "***", "rows": 3})));
    for file in fs::read_dir(&request.folder).unwrap() {
        let path = file.unwrap().path();
        let bytes = fs::read(&path).unwrap_or_default();
        assert!(!bytes.windows(16).any(|window| window == b"hunter2-and-more"), "{}", path.display());
    }
}

#[tokio::test]
async fn output_of_more_than_a_mebibyte_is_not_kept_and_the_end_says_why() {
    let fixture = Fixture::new();
    let script = r#"(printf '"'; head -c 1048576 /dev/zero | tr '\0' x; printf '"') > "$DATA_RUNNER_OUTPUT""#;
    let (_, _, end) = run(&executor(RunOptions::default()), shell(&fixture, script)).await;
    assert_eq!((end.ending, end.output), (Ending::Exited { code: 0 }, None));
    assert!(matches!(&end.warnings[..], [one] if one.contains("1048578 bytes")), "{:?}", end.warnings);
}

#[tokio::test]
async fn a_job_that_takes_more_memory_than_it_may_is_ended_for_that() {
    let fixture = Fixture::new();
    let python =
        "import time\nhoard = []\nwhile True:\n    hoard.append(bytearray(8 << 20))\n    time.sleep(0.005)\n";
    let mut request = shell(&fixture, "exec python3 hoard.py");
    fs::write(request.working_directory().join("hoard.py"), python).unwrap();
    Arc::make_mut(&mut request.job).resources = Resources { memory_bytes: 64 << 20, cpus: 1 };
    let (_, _, end) = run(&executor(RunOptions::default()), request).await;
    assert_eq!(end.ending, Ending::OutOfMemory { limit_bytes: Some(64 << 20) });
    assert!(end.usage.peak_memory_bytes.unwrap() > 32 << 20, "{:?}", end.usage);
}

#[tokio::test]
async fn what_a_job_used_is_measured_over_its_whole_tree() {
    let fixture = Fixture::new();
    let python = "import os\nblock = b'x' * (64 << 20)\nn = 0\nwhile sum(os.times()[:2]) < 0.3: n += 1\n";
    let request = shell(&fixture, "python3 burn.py; true");
    fs::write(request.working_directory().join("burn.py"), python).unwrap();
    let (_, _, end) = run(&executor(RunOptions::default()), request).await;
    assert_eq!(end.ending, Ending::Exited { code: 0 });
    assert!(end.usage.cpu_time >= Duration::from_millis(300), "{:?}", end.usage);
    let peak = end.usage.peak_memory_bytes.unwrap();
    assert!((64 << 20..256 << 20).contains(&peak), "the job's memory and not ours: {peak}");
}

#[tokio::test]
async fn who_runs_a_job_is_on_record_before_its_first_instruction() {
    let fixture = Fixture::new();
    let request = shell(&fixture, "cat ../../../shim.json; echo; echo $$");
    let folder = request.folder.clone();
    let (stdout, _, _) = run(&executor(RunOptions::default()), request).await;
    let stdout = String::from_utf8(stdout).unwrap();
    let (record, pid) = stdout.trim().split_once('\n').unwrap();
    let record: ShimRecord = serde_json::from_str(record).unwrap();
    assert_eq!(record, ShimRecord::read(&folder).unwrap().unwrap());
    assert_eq!(record.job_pid.to_string(), pid.trim());
    assert_eq!(record.boot_id, data_runner_exec::boot_id().unwrap());
    assert!(!ProcessIdentity { pid: record.job_pid, start_time: record.job_start_time }.is_alive());
    if let Some(group) = record.cgroup {
        assert!(group.starts_with("/sys/fs/cgroup"), "{group}");
    }
}

#[tokio::test]
async fn a_log_over_its_quota_keeps_head_and_tail() {
    let fixture = Fixture::new();
    let request = shell(&fixture, "seq 1000000");
    let options = RunOptions { log_quota: 1 << 20, ..RunOptions::default() };
    let executor = executor(options);
    let request = Arc::new(request);
    let job = executor.start(Arc::clone(&request), executor.prepare(request).await.unwrap()).await.unwrap();
    let mut seen = LogOffset(0);
    let end = loop {
        match job.changed(seen).await.unwrap() {
            data_runner_core::port::JobNews::Log(upto) => seen = upto,
            data_runner_core::port::JobNews::Ended(end) => break end,
        }
    };
    assert_eq!(end.log_end, LogOffset(6_888_896), "missing bytes count");
    let chunks = job.read_log(LogOffset(0), usize::MAX).await.unwrap();
    let stored: usize = chunks.iter().map(|chunk| chunk.payload.len()).sum();
    assert!(stored < 2 << 20, "{stored}");
    let last = chunks.last().unwrap().segments().unwrap();
    assert!(format!("{:?}", last.last().unwrap()).contains("1000000\\n"));
}

/// Not a promise that can be tested on a busy machine; the bound is only to notice when it is off by a class.
#[tokio::test]
async fn a_small_job_costs_little_more_than_a_process() {
    let fixture = Fixture::new();
    let executor = executor(RunOptions::default());
    let mut times = Vec::new();
    for _ in 0..20 {
        let mut request = fixture.empty_request();
        Arc::make_mut(&mut request.job).entrypoint = "/bin/true".to_owned();
        // The shim that waits must have started.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let begin = Instant::now();
        run(&executor, request).await;
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    println!("true through the executor: median {:?}, best {:?}", times[10], times[0]);
    assert!(times[10] < Duration::from_millis(100), "{times:?}");
}

#[tokio::test]
async fn a_line_reaches_a_follower_at_once() {
    let fixture = Fixture::new();
    let request =
        Arc::new(shell(&fixture, "while [ ! -e ../../../go ]; do sleep 0.005; done; echo now; sleep 10"));
    let executor = executor(RunOptions::default());
    let prepared = executor.prepare(Arc::clone(&request)).await.unwrap();
    let job = executor.start(Arc::clone(&request), prepared).await.unwrap();
    fs::write(request.folder.join("go"), "").unwrap();
    let begin = Instant::now();
    job.changed(LogOffset(0)).await.unwrap();
    println!("a line is seen after {:?}", begin.elapsed());
    assert!(begin.elapsed() < Duration::from_secs(1));
    job.stop(data_runner_core::execution::StopReason::Cancelled, Duration::ZERO).await.unwrap();
    follow(job.as_ref()).await;
    assert!(!fixture.is_alive(&request));
}

/// Needs a small file system of its own, so it runs where it may mount one.
#[tokio::test]
async fn a_full_disk_costs_log_and_not_the_job() {
    let fixture = Fixture::new();
    let request = shell(&fixture, "");
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
        .arg(&request.folder)
        .status()
        .is_ok_and(|status| status.success());
    if !mounted {
        return data_runner_testkit::skipped("nothing can be mounted here");
    }
    let script = request.working_directory().join("script");
    fs::create_dir_all(request.working_directory()).unwrap();
    fs::write(request.folder.join("ballast"), vec![0; 1 << 20]).unwrap();
    fs::write(
        &script,
        "dd if=/dev/urandom bs=1M count=8 2>/dev/null; rm ../../../ballast; sleep 0.2; echo end",
    )
    .unwrap();
    let folder = request.folder.clone();
    let executor = executor(RunOptions::default());
    let request = Arc::new(request);
    let job = executor.start(Arc::clone(&request), executor.prepare(request).await.unwrap()).await.unwrap();
    let mut seen = LogOffset(0);
    let end = loop {
        match job.changed(seen).await.unwrap() {
            data_runner_core::port::JobNews::Log(upto) => seen = upto,
            data_runner_core::port::JobNews::Ended(end) => break end,
        }
    };
    let chunks = job.read_log(LogOffset(0), usize::MAX).await.unwrap();
    drop(job);
    std::process::Command::new("umount").arg(folder).status().unwrap();
    assert_eq!(end.ending, Ending::Exited { code: 0 });
    assert_eq!(end.log_end, LogOffset((8 << 20) + 4), "missing bytes count");
    let segments = chunks.iter().flat_map(|chunk| chunk.segments().unwrap());
    let (mut kept, mut missing) = (0, 0);
    for segment in segments {
        match segment {
            Segment::Output { bytes, .. } => kept += bytes.len() as u64,
            Segment::Missing { gap, .. } => {
                assert_eq!(gap.reason, GapReason::DiskFull);
                missing += gap.bytes.unwrap();
            }
        }
    }
    assert_eq!(kept + missing, end.log_end.0);
    assert!(missing > 4 << 20, "{missing}");
}

#[tokio::test]
async fn a_job_that_no_agent_looks_after_is_stopped_after_a_while_i2() {
    let fixture = Fixture::new();
    let mut request = shell(&fixture, "exec sleep 600");
    request.alone_for = Duration::from_millis(300);
    let request = Arc::new(request);
    let first = executor(RunOptions::default());
    let prepared = first.prepare(Arc::clone(&request)).await.unwrap();
    let job = first.start(Arc::clone(&request), prepared).await.unwrap();
    // As long as somebody holds it, it goes on.
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert!(request.folder.join("shim.json").exists() && !request.folder.join("exit.json").exists());
    // Its agent dies, and none comes: nobody asks for anything, the shim stops it by itself.
    drop(job);
    let waited = Instant::now();
    while !request.folder.join("exit.json").exists() {
        assert!(waited.elapsed() < Duration::from_secs(30), "it goes on alone");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let found = executor(RunOptions::default()).adopt(request).await.unwrap().expect("its end is on record");
    let (_, end) = follow(found.as_ref()).await;
    assert_eq!(end.ending, Ending::Stopped { reason: StopReason::Interrupted });
}
