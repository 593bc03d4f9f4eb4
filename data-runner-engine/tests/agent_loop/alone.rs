//! One job without a supervisor.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use data_runner_core::execution::{Ending, StopReason};
use data_runner_core::id::{AttemptId, AttemptNumber, Claim};
use data_runner_core::log::Segment;
use data_runner_core::port::{JobEnd, RunRequest};
use data_runner_engine::{Alone, CodeUnpacker, NoSecrets};
use data_runner_testkit::memory::executor::{Script, ScriptedMachine};
use data_runner_testkit::sample;
use tokio_util::sync::CancellationToken;

struct Unpacks;

impl CodeUnpacker for Unpacks {
    fn unpack(&self, bundle: &Bytes, folder: &Path) -> std::io::Result<()> {
        std::fs::write(folder.join("code"), bundle)
    }
}

struct Broken;

impl CodeUnpacker for Broken {
    fn unpack(&self, _: &Bytes, _: &Path) -> std::io::Result<()> {
        Err(std::io::Error::other("it is no archive"))
    }
}

async fn run(script: Script, unpacker: Arc<dyn CodeUnpacker>, stop: CancellationToken) -> (JobEnd, String) {
    let folder = tempfile::tempdir().unwrap();
    let machine = ScriptedMachine::new(move |_| script.clone());
    let executor = Arc::new(machine.executor(sample::polars()));
    let alone = Alone { executor, unpacker, secrets: Arc::new(NoSecrets) };
    let request = RunRequest {
        claim: Claim {
            attempt: AttemptId { execution: sample::execution_id(1), number: AttemptNumber::FIRST },
            lease: sample::lease(1),
        },
        job: Arc::new(sample::job()),
        folder: folder.path().to_owned(),
        alone_for: Duration::from_secs(5),
    };
    let mut printed = String::new();
    let print = |segment: Segment| {
        if let Segment::Output { bytes, .. } = segment {
            printed.push_str(&String::from_utf8_lossy(&bytes));
        }
    };
    let end = alone.run(request, Bytes::from_static(b"code"), stop, print).await.unwrap();
    (end, printed)
}

#[tokio::test(start_paused = true)]
async fn a_job_alone_prints_as_it_goes_and_ends_with_its_code() {
    let script = Script::new().prints("one\n").sleeps(Duration::from_secs(60)).prints("two\n").exits(3);
    let (end, printed) = run(script, Arc::new(Unpacks), CancellationToken::new()).await;
    assert_eq!((end.ending, printed.as_str()), (Ending::Exited { code: 3 }, "one\ntwo\n"));
}

#[tokio::test(start_paused = true)]
async fn a_job_alone_is_stopped_when_it_is_asked_to() {
    let stop = CancellationToken::new();
    let later = stop.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(10)).await;
        later.cancel();
    });
    let (end, printed) = run(Script::new().prints("begun\n").waits().exits(0), Arc::new(Unpacks), stop).await;
    assert_eq!(end.ending, Ending::Stopped { reason: StopReason::Cancelled });
    assert_eq!(printed, "begun\n");
}

#[tokio::test(start_paused = true)]
async fn code_that_cannot_be_unpacked_is_the_end_of_it_and_says_why() {
    let (end, printed) = run(Script::new().exits(0), Arc::new(Broken), CancellationToken::new()).await;
    let Ending::NeverStarted { failure } = end.ending else { panic!("{end:?}") };
    assert!(failure.message.contains("it is no archive"), "{failure:?}");
    assert_eq!(printed, "");
}
