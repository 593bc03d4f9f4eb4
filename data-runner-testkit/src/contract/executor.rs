//! The contract of the Executor port.
//!
//! A fixture says how a [`Script`] becomes a job of the executor under test: an executor of real processes makes a
//! shell script of it. One macro call then runs every clause:
//!
//! ```ignore
//! data_runner_testkit::executor_contract!(MyFixture::new());
//! ```

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use data_runner_core::execution::{Ending, Failure, FailureCause, StopReason};
use data_runner_core::log::{LogChunk, LogOffset, Segment, Stream};
use data_runner_core::port::{ExecuteError, Executor, JobEnd, JobNews, RunRequest, RunningJob};

use crate::memory::executor::{OnTerm, Script, ScriptEnd, Step};

/// An executor and the machine that its jobs live on.
pub trait ExecutorFixture {
    /// The executor of the agent that lives now.
    fn executor(&self) -> Arc<dyn Executor>;

    /// A request to do what `script` says, in a folder of its own.
    fn request(&self, script: Script) -> Arc<RunRequest>;

    /// Lets the job pass its [`Step::Wait`]s.
    fn release(&self, run: &RunRequest);

    /// Everything of the agent is gone, as after `kill -9`; another one starts. Jobs are not touched.
    fn restart_agent(&mut self);

    /// Kills what keeps watch over the job, as `kill -9` of the shim would.
    fn kill_watcher(&self, run: &RunRequest);

    /// How often the job's first process was started.
    fn starts(&self, run: &RunRequest) -> usize;

    /// Whether any process of the job lives.
    fn is_alive(&self, run: &RunRequest) -> bool;
}

/// Runs every clause as a test of its own on a fixture that the expression makes.
#[macro_export]
macro_rules! executor_contract {
    ($fixture:expr) => {
        $crate::executor_contract!(@clauses $fixture;
            output_comes_and_then_one_end_that_stays_the_same
            both_streams_come_back_byte_for_byte
            a_line_of_ten_megabytes_comes_back_whole
            a_million_lines_come_back
            what_is_written_to_both_streams_keeps_its_order
            a_line_is_seen_while_the_job_runs
            an_exit_code_is_reported_as_it_is
            a_signal_that_is_not_ours_is_reported
            a_stopped_job_ends_with_the_reason
            a_job_that_exits_when_told_to_stop_was_stopped
            a_job_that_ignores_term_is_killed_after_its_grace
            a_job_that_ended_first_keeps_its_own_end
            a_job_that_runs_too_long_is_stopped_for_that
            an_end_is_given_only_when_the_whole_tree_is_gone
            output_that_is_json_comes_back
            output_that_is_no_json_is_left_out
            a_restarted_agent_adopts_a_job_that_runs
            a_restarted_agent_stops_a_job_that_it_adopted
            a_restarted_agent_adopts_a_job_that_ended
            a_job_whose_watcher_was_killed_has_vanished_with_all_its_processes
            nothing_is_adopted_where_nothing_was_started
            a_job_is_never_started_twice
            the_log_can_be_read_from_any_offset_as_often_as_asked
            waiting_for_news_can_be_given_up_and_taken_up_again
            dropping_a_job_does_not_stop_it
            an_environment_that_cannot_be_made_fails_with_its_cause
        );
    };
    (@clauses $fixture:expr; $($clause:ident)*) => {$(
        #[tokio::test]
        async fn $clause() {
            $crate::contract::executor::within_a_minute($crate::contract::executor::$clause(&mut $fixture)).await;
        }
    )*};
}

/// A clause that hangs must fail.
pub async fn within_a_minute(clause: impl Future<Output = ()>) {
    tokio::time::timeout(Duration::from_secs(60), clause).await.expect("the clause ends in time");
}

/// Prepares and starts what `run` asks for.
pub async fn start(fixture: &impl ExecutorFixture, run: &Arc<RunRequest>) -> Box<dyn RunningJob> {
    let executor = fixture.executor();
    let prepared = executor.prepare(Arc::clone(run)).await.expect("it can be prepared");
    executor.start(Arc::clone(run), prepared).await.expect("it can be started")
}

/// Follows `job` to its end.
pub async fn follow(job: &dyn RunningJob) -> (Vec<LogChunk>, JobEnd) {
    let mut chunks: Vec<LogChunk> = Vec::new();
    let mut seen = LogOffset(0);
    loop {
        match job.changed(seen).await.expect("news") {
            JobNews::Log(upto) => {
                assert!(upto > seen, "news of more log");
                while seen < upto {
                    let more = job.read_log(seen, 1 << 20).await.expect("the log");
                    assert_eq!(
                        more.first().map(|chunk| chunk.start.offset),
                        Some(seen),
                        "it goes on from there"
                    );
                    seen = more.last().expect("at least one chunk").end.offset;
                    chunks.extend(more);
                }
            }
            JobNews::Ended(end) => {
                assert_eq!(end.log_end, seen, "the end comes after the log");
                return (chunks, *end);
            }
        }
    }
}

/// What stands in `chunks` of `stream`.
pub fn bytes_of(chunks: &[LogChunk], stream: Stream) -> Vec<u8> {
    let mut all = Vec::new();
    for segment in chunks.iter().flat_map(|chunk| chunk.segments().expect("a whole chunk")) {
        match segment {
            Segment::Output { stream: its, bytes, .. } if its == stream => all.extend_from_slice(&bytes),
            Segment::Output { .. } => {}
            Segment::Missing { gap, .. } => panic!("{gap:?} in a log that must be whole"),
        }
    }
    all
}

async fn run_to_end(fixture: &impl ExecutorFixture, script: Script) -> (Vec<LogChunk>, JobEnd) {
    let run = fixture.request(script);
    let job = start(fixture, &run).await;
    follow(job.as_ref()).await
}

/// Waits until the job has printed something.
async fn has_begun(job: &dyn RunningJob) {
    assert!(matches!(job.changed(LogOffset(0)).await.expect("news"), JobNews::Log(_)));
}

/// Output, then exactly one end.
pub async fn output_comes_and_then_one_end_that_stays_the_same(fixture: &mut impl ExecutorFixture) {
    let run = fixture.request(Script::new().prints("hello\n").exits(0));
    let job = start(fixture, &run).await;
    let (chunks, end) = follow(job.as_ref()).await;
    assert_eq!(bytes_of(&chunks, Stream::Stdout), b"hello\n");
    assert_eq!(end.ending, Ending::Exited { code: 0 });
    for _ in 0..3 {
        assert_eq!(job.changed(end.log_end).await.expect("news"), JobNews::Ended(Box::new(end.clone())));
    }
    assert_eq!(job.running_for(), end.ran_for);
}

/// Bytes, not text.
pub async fn both_streams_come_back_byte_for_byte(fixture: &mut impl ExecutorFixture) {
    let binary: Vec<u8> = (0..100_000_u32).flat_map(|n| [n as u8, (n >> 7) as u8, b'\r', 0]).collect();
    let backwards: Vec<u8> = binary.iter().rev().copied().collect();
    let script = Script::new().prints(binary.clone()).complains(backwards.clone()).prints("no newline");
    let (chunks, _) = run_to_end(fixture, script).await;
    assert!(bytes_of(&chunks, Stream::Stdout) == [&binary[..], b"no newline"].concat());
    assert!(bytes_of(&chunks, Stream::Stderr) == backwards);
}

/// A line has no longest length.
pub async fn a_line_of_ten_megabytes_comes_back_whole(fixture: &mut impl ExecutorFixture) {
    let line: Vec<u8> = (0..10_000_000_u32).map(|n| b'a' + (n % 23) as u8).collect();
    let (chunks, _) = run_to_end(fixture, Script::new().prints(line.clone())).await;
    assert!(bytes_of(&chunks, Stream::Stdout) == line);
}

/// A flood is only much of the same.
pub async fn a_million_lines_come_back(fixture: &mut impl ExecutorFixture) {
    let lines: Vec<u8> = (0..1_000_000_u32).flat_map(|n| format!("{n}\n").into_bytes()).collect();
    let (chunks, _) = run_to_end(fixture, Script::new().prints(lines.clone())).await;
    assert!(bytes_of(&chunks, Stream::Stdout) == lines);
    assert_eq!(chunks.last().expect("chunks").end.next_line, 1_000_001);
}

/// One sequence for both streams.
pub async fn what_is_written_to_both_streams_keeps_its_order(fixture: &mut impl ExecutorFixture) {
    let pause = Duration::from_millis(30);
    let script = Script::new().complains("1\n").sleeps(pause).prints("2\n").sleeps(pause).complains("3\n");
    let (chunks, _) = run_to_end(fixture, script).await;
    let all: Vec<u8> = chunks
        .iter()
        .flat_map(|chunk| chunk.segments().expect("a whole chunk"))
        .flat_map(|segment| match segment {
            Segment::Output { bytes, .. } => bytes,
            Segment::Missing { .. } => Bytes::new(),
        })
        .collect();
    assert_eq!(all, b"1\n2\n3\n");
}

/// Logs are live.
pub async fn a_line_is_seen_while_the_job_runs(fixture: &mut impl ExecutorFixture) {
    let run = fixture.request(Script::new().prints("first\n").waits().prints("second\n"));
    let job = start(fixture, &run).await;
    assert_eq!(job.changed(LogOffset(0)).await.expect("news"), JobNews::Log(LogOffset(6)));
    let chunks = job.read_log(LogOffset(0), 1000).await.expect("the log");
    assert_eq!(bytes_of(&chunks, Stream::Stdout), b"first\n");
    fixture.release(&run);
    assert_eq!(follow(job.as_ref()).await.1.ending, Ending::Exited { code: 0 });
}

/// 0 to 255.
pub async fn an_exit_code_is_reported_as_it_is(fixture: &mut impl ExecutorFixture) {
    for code in [1, 42, 255] {
        assert_eq!(run_to_end(fixture, Script::new().exits(code)).await.1.ending, Ending::Exited { code });
    }
}

/// A signal is not an exit code.
pub async fn a_signal_that_is_not_ours_is_reported(fixture: &mut impl ExecutorFixture) {
    let (_, end) = run_to_end(fixture, Script::new().ends(ScriptEnd::Signal(10))).await;
    assert_eq!(end.ending, Ending::Signalled { signal: 10 });
}

/// The reason is what the caller said.
pub async fn a_stopped_job_ends_with_the_reason(fixture: &mut impl ExecutorFixture) {
    for reason in [StopReason::Cancelled, StopReason::Interrupted, StopReason::Disowned] {
        let run = fixture.request(Script::new().prints("on\n").waits());
        let job = start(fixture, &run).await;
        has_begun(job.as_ref()).await;
        job.stop(reason, Duration::from_secs(30)).await.expect("it can be stopped");
        job.stop(StopReason::Timeout, Duration::ZERO).await.expect("a second stop changes nothing");
        assert_eq!(follow(job.as_ref()).await.1.ending, Ending::Stopped { reason });
        assert!(!fixture.is_alive(&run));
    }
}

/// Whatever code it chose.
pub async fn a_job_that_exits_when_told_to_stop_was_stopped(fixture: &mut impl ExecutorFixture) {
    let run = fixture.request(Script::new().prints("on\n").waits().on_term(OnTerm::Exits(0)));
    let job = start(fixture, &run).await;
    has_begun(job.as_ref()).await;
    job.stop(StopReason::Cancelled, Duration::from_secs(30)).await.expect("it can be stopped");
    let (_, end) = follow(job.as_ref()).await;
    assert_eq!(end.ending, Ending::Stopped { reason: StopReason::Cancelled });
}

/// TERM, grace, KILL.
pub async fn a_job_that_ignores_term_is_killed_after_its_grace(fixture: &mut impl ExecutorFixture) {
    let run = fixture.request(Script::new().prints("on\n").waits().on_term(OnTerm::Ignores));
    let job = start(fixture, &run).await;
    has_begun(job.as_ref()).await;
    let grace = Duration::from_millis(200);
    job.stop(StopReason::Cancelled, grace).await.expect("it can be stopped");
    let (_, end) = follow(job.as_ref()).await;
    assert_eq!(end.ending, Ending::Stopped { reason: StopReason::Cancelled });
    assert!(end.ran_for >= grace, "it had its grace: {:?}", end.ran_for);
    assert!(!fixture.is_alive(&run));
}

/// The job's own exit wins if it comes first.
pub async fn a_job_that_ended_first_keeps_its_own_end(fixture: &mut impl ExecutorFixture) {
    let run = fixture.request(Script::new().exits(3));
    let job = start(fixture, &run).await;
    let (_, end) = follow(job.as_ref()).await;
    job.stop(StopReason::Cancelled, Duration::ZERO).await.expect("to stop what has ended is no error");
    assert_eq!(job.changed(end.log_end).await.expect("news"), JobNews::Ended(Box::new(end.clone())));
    assert_eq!(end.ending, Ending::Exited { code: 3 });
}

/// The executor itself holds `timeout`.
pub async fn a_job_that_runs_too_long_is_stopped_for_that(fixture: &mut impl ExecutorFixture) {
    let mut run = fixture.request(Script::new().waits());
    let request = Arc::make_mut(&mut run);
    Arc::make_mut(&mut request.job).timeout = Duration::from_millis(100);
    let job = start(fixture, &run).await;
    let (_, end) = follow(job.as_ref()).await;
    assert_eq!(end.ending, Ending::Stopped { reason: StopReason::Timeout });
    assert!(end.ran_for >= Duration::from_millis(100));
}

/// Processes that it leaves behind end with it, those in a session of their own too.
pub async fn an_end_is_given_only_when_the_whole_tree_is_gone(fixture: &mut impl ExecutorFixture) {
    let run = fixture.request(Script::new().then(Step::LeaveProcess).prints("done\n"));
    let job = start(fixture, &run).await;
    let (_, end) = follow(job.as_ref()).await;
    assert_eq!(end.ending, Ending::Exited { code: 0 });
    assert!(!fixture.is_alive(&run));
}

/// What the job wrote to `DATA_RUNNER_OUTPUT`.
pub async fn output_that_is_json_comes_back(fixture: &mut impl ExecutorFixture) {
    let (_, end) = run_to_end(fixture, Script::new().outputs(r#"{"rows": 3}"#)).await;
    assert_eq!(end.output.map(|output| output.to_string()), Some(r#"{"rows":3}"#.to_owned()));
}

/// It does not fail the job, and its owner is told, without a word of what was written.
pub async fn output_that_is_no_json_is_left_out(fixture: &mut impl ExecutorFixture) {
    let (_, end) = run_to_end(fixture, Script::new().outputs("rows: 3")).await;
    assert_eq!((end.ending, end.output), (Ending::Exited { code: 0 }, None));
    assert!(matches!(&end.warnings[..], [one] if one.contains("JSON") && !one.contains("rows")));
    let (_, end) = run_to_end(fixture, Script::new()).await;
    assert_eq!((end.output, end.warnings), (None, Vec::new()), "a job need not write any");
}

async fn adopt(fixture: &impl ExecutorFixture, run: &Arc<RunRequest>) -> Option<Box<dyn RunningJob>> {
    fixture.executor().adopt(Arc::clone(run)).await.expect("adopt answers")
}

/// And the log goes on where it was.
pub async fn a_restarted_agent_adopts_a_job_that_runs(fixture: &mut impl ExecutorFixture) {
    let run = fixture.request(Script::new().prints("before\n").waits().prints("after\n").exits(5));
    let job = start(fixture, &run).await;
    has_begun(job.as_ref()).await;
    drop(job);
    fixture.restart_agent();
    let job = adopt(fixture, &run).await.expect("it is found");
    fixture.release(&run);
    let (chunks, end) = follow(job.as_ref()).await;
    assert_eq!(bytes_of(&chunks, Stream::Stdout), b"before\nafter\n");
    assert_eq!(end.ending, Ending::Exited { code: 5 });
    assert_eq!(fixture.starts(&run), 1);
}

/// Stop works on what another agent started.
pub async fn a_restarted_agent_stops_a_job_that_it_adopted(fixture: &mut impl ExecutorFixture) {
    let run = fixture.request(Script::new().prints("on\n").waits());
    let job = start(fixture, &run).await;
    has_begun(job.as_ref()).await;
    drop(job);
    fixture.restart_agent();
    let job = adopt(fixture, &run).await.expect("it is found");
    job.stop(StopReason::Cancelled, Duration::from_secs(30)).await.expect("it can be stopped");
    let (_, end) = follow(job.as_ref()).await;
    assert_eq!(end.ending, Ending::Stopped { reason: StopReason::Cancelled });
}

/// With the same end and the same log.
pub async fn a_restarted_agent_adopts_a_job_that_ended(fixture: &mut impl ExecutorFixture) {
    let run = fixture.request(Script::new().prints("all of it\n").outputs("[1]").exits(7));
    let job = start(fixture, &run).await;
    let (chunks, end) = follow(job.as_ref()).await;
    drop(job);
    for _ in 0..2 {
        fixture.restart_agent();
        let job = adopt(fixture, &run).await.expect("it is found");
        assert_eq!(follow(job.as_ref()).await, (chunks.clone(), end.clone()));
    }
    assert_eq!(fixture.starts(&run), 1);
}

/// Nothing runs unseen.
pub async fn a_job_whose_watcher_was_killed_has_vanished_with_all_its_processes(
    fixture: &mut impl ExecutorFixture,
) {
    for restart in [false, true] {
        let run = fixture.request(Script::new().then(Step::LeaveProcess).prints("on\n").waits());
        let mut job = start(fixture, &run).await;
        has_begun(job.as_ref()).await;
        fixture.kill_watcher(&run);
        if restart {
            fixture.restart_agent();
            job = adopt(fixture, &run).await.expect("it is found");
        }
        let (chunks, end) = follow(job.as_ref()).await;
        assert!(matches!(end.ending, Ending::Vanished { .. }), "{:?}", end.ending);
        assert_eq!(bytes_of(&chunks, Stream::Stdout), b"on\n", "what it had printed is there");
        assert!(!fixture.is_alive(&run));
    }
}

/// `None`: it may be started.
pub async fn nothing_is_adopted_where_nothing_was_started(fixture: &mut impl ExecutorFixture) {
    let run = fixture.request(Script::new());
    assert!(adopt(fixture, &run).await.is_none());
    assert_eq!(fixture.starts(&run), 0);
    let job = start(fixture, &run).await;
    assert_eq!(follow(job.as_ref()).await.1.ending, Ending::Exited { code: 0 });
}

/// Not by a second start either, by whichever agent.
pub async fn a_job_is_never_started_twice(fixture: &mut impl ExecutorFixture) {
    let run = fixture.request(Script::new().prints("once\n").waits());
    let first = start(fixture, &run).await;
    has_begun(first.as_ref()).await;
    let second = start(fixture, &run).await;
    fixture.restart_agent();
    let third = start(fixture, &run).await;
    fixture.release(&run);
    for job in [&third, &second] {
        let (chunks, end) = follow(job.as_ref()).await;
        assert_eq!(bytes_of(&chunks, Stream::Stdout), b"once\n");
        assert_eq!(end.ending, Ending::Exited { code: 0 });
    }
    let fourth = start(fixture, &run).await;
    assert_eq!(follow(fourth.as_ref()).await.1.ending, Ending::Exited { code: 0 });
    assert_eq!(fixture.starts(&run), 1);
}

/// The first chunk holds the byte at the offset; chunks join.
pub async fn the_log_can_be_read_from_any_offset_as_often_as_asked(fixture: &mut impl ExecutorFixture) {
    let text: Vec<u8> = (0..200_000_u32).flat_map(|n| format!("{n}\n").into_bytes()).collect();
    let run = fixture.request(Script::new().prints(text.clone()));
    let job = start(fixture, &run).await;
    let (chunks, end) = follow(job.as_ref()).await;
    for from in chunks.iter().map(|chunk| chunk.start.offset) {
        let again = job.read_log(from, usize::MAX).await.expect("the log");
        assert!(bytes_of(&again, Stream::Stdout) == text[from.0 as usize..], "from {from}");
    }
    for from in [1, 1000, end.log_end.0 - 1] {
        let holds = job.read_log(LogOffset(from), 1).await.expect("the log");
        assert_eq!(holds.len(), 1, "at least one chunk, and about as much as was asked for");
        assert!(holds[0].start.offset.0 <= from && from < holds[0].end.offset.0);
    }
    assert_eq!(job.read_log(end.log_end, usize::MAX).await.expect("the log"), []);
}

/// `changed` is cancel-safe.
pub async fn waiting_for_news_can_be_given_up_and_taken_up_again(fixture: &mut impl ExecutorFixture) {
    let run = fixture.request(Script::new().prints("a").waits().prints("b"));
    let job = start(fixture, &run).await;
    has_begun(job.as_ref()).await;
    for _ in 0..20 {
        let given_up = tokio::time::timeout(Duration::from_millis(1), job.changed(LogOffset(1))).await;
        assert!(given_up.is_err(), "nothing happens meanwhile");
    }
    fixture.release(&run);
    assert_eq!(job.changed(LogOffset(1)).await.expect("news"), JobNews::Log(LogOffset(2)));
    assert!(matches!(job.changed(LogOffset(2)).await.expect("news"), JobNews::Ended(_)));
}

/// Only `stop` stops.
pub async fn dropping_a_job_does_not_stop_it(fixture: &mut impl ExecutorFixture) {
    let run = fixture.request(Script::new().prints("on\n").waits().prints("to the end\n"));
    let job = start(fixture, &run).await;
    has_begun(job.as_ref()).await;
    drop(job);
    fixture.release(&run);
    let job = adopt(fixture, &run).await.expect("it is found");
    let (chunks, end) = follow(job.as_ref()).await;
    assert_eq!(bytes_of(&chunks, Stream::Stdout), b"on\nto the end\n");
    assert_eq!(end.ending, Ending::Exited { code: 0 });
}

/// A failure of the job, not of the machine.
pub async fn an_environment_that_cannot_be_made_fails_with_its_cause(fixture: &mut impl ExecutorFixture) {
    let failure = Failure::new(FailureCause::Environment, "no such package").hinting("name one that exists");
    let run = fixture.request(Script::unpreparable(failure.clone()));
    match fixture.executor().prepare(run).await {
        Err(ExecuteError::Failed(found)) => assert_eq!(found, failure),
        other => panic!("{other:?} instead of the failure"),
    }
}
