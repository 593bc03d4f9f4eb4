use std::sync::Arc;
use std::time::Duration;

use data_runner_core::event::Rejection;
use data_runner_core::execution::{Phase, StateName};
use data_runner_core::id::Sha256;
use data_runner_core::port::{
    AgentGate as _, BlobError, BlobLink, BlobLinks, BlobStore as _, Bundle, BundleForm, BundleRefused,
    Catalog as _, LogState, LogStore as _, WantedBundle,
};
use data_runner_engine::supervisor::Gate;
use data_runner_engine::{RequestError, Signal, SupervisorBuilder};
use data_runner_testkit::memory::executor::Script;
use data_runner_testkit::sample::worker_id;

use crate::kit::{Kit, execute, until};

#[tokio::test(start_paused = true)]
async fn a_workflow_runs_from_a_registered_repository_to_its_stored_log() {
    let mut kit =
        Kit::new(|_| Script::new().prints("hello\n").complains("careful\n").prints("bye\n").exits(0));
    let supervisor = kit.ready().await;
    let id = execute(&supervisor.handle()).await;
    let execution = until(&supervisor.handle(), id, StateName::Success).await;
    assert_eq!(kit.stdout(&execution).await, b"hello\ncareful\nbye\n");
    let phases = &execution.attempts[0].phases;
    let reached: Vec<Phase> = phases.reached().map(|(phase, _)| phase).collect();
    assert_eq!(
        reached,
        [
            Phase::Queued,
            Phase::Connected,
            Phase::CodeReady,
            Phase::EnvironmentReady,
            Phase::Started,
            Phase::Finished,
            Phase::Drained
        ]
    );
    let summary = kit.store.summary(execution.attempt_id(execution.attempts[0].number)).await.unwrap();
    assert!(matches!(summary.state, LogState::Complete { .. }));
}

#[tokio::test(start_paused = true)]
async fn what_the_job_wrote_as_its_output_is_on_the_execution() {
    let mut kit = Kit::new(|_| Script::new().outputs(r#"{"rows": 3}"#).exits(0));
    let supervisor = kit.ready().await;
    let id = execute(&supervisor.handle()).await;
    let execution = until(&supervisor.handle(), id, StateName::Success).await;
    let json = serde_json::to_value(&execution.attempts[0].end).unwrap();
    assert_eq!(json["output"]["rows"], 3);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_stops_the_job_and_ends_cancelled_i11() {
    let mut kit = Kit::new(|_| Script::new().prints("working\n").waits().exits(0));
    let supervisor = kit.ready().await;
    let id = execute(&supervisor.handle()).await;
    until(&supervisor.handle(), id, StateName::Running).await;
    supervisor.handle().cancel(id, "a test").await.unwrap();
    let execution = until(&supervisor.handle(), id, StateName::Cancelled).await;
    assert_eq!(kit.stdout(&execution).await, b"working\n");
    let again = supervisor.handle().cancel(id, "a test").await.unwrap_err();
    assert!(matches!(again, RequestError::Rejected(Rejection::AlreadyEnded { .. })), "{again}");
}

#[tokio::test(start_paused = true)]
async fn the_supervisor_dies_during_a_run_and_the_next_one_takes_it_back_with_every_byte_i8_i14() {
    let mut kit = Kit::new(|_| {
        Script::new().prints("before\n").sleeps(Duration::from_secs(60)).prints("after\n").exits(0)
    });
    let supervisor = kit.ready().await;
    let id = execute(&supervisor.handle()).await;
    until(&supervisor.handle(), id, StateName::Running).await;
    kit.crash(supervisor).await;
    tokio::time::sleep(Duration::from_secs(90)).await;
    let supervisor = kit.supervisor().await;
    let execution = until(&supervisor.handle(), id, StateName::Success).await;
    assert_eq!(kit.stdout(&execution).await, b"before\nafter\n");
    assert_eq!(kit.machine.starts().len(), 1, "it ran once");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_dies_and_comes_back_adopts_its_job_i2() {
    let mut kit = Kit::new(|_| {
        Script::new().prints("before\n").sleeps(Duration::from_secs(60)).prints("after\n").exits(0)
    });
    let supervisor = kit.ready().await;
    let id = execute(&supervisor.handle()).await;
    until(&supervisor.handle(), id, StateName::Running).await;
    let (_, agent) = kit.agents.pop_first().unwrap();
    agent.task.abort();
    agent.task.await.unwrap_err();
    tokio::time::sleep(Duration::from_secs(20)).await;
    kit.start_agent(1);
    let execution = until(&supervisor.handle(), id, StateName::Success).await;
    assert_eq!(kit.stdout(&execution).await, b"before\nafter\n");
    assert_eq!((kit.machine.starts().len(), execution.attempts.len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_never_comes_back_makes_its_attempt_worker_lost() {
    let mut kit = Kit::new(|_| Script::new().waits().exits(0));
    let supervisor = kit.ready().await;
    let id = execute(&supervisor.handle()).await;
    until(&supervisor.handle(), id, StateName::Running).await;
    let (_, agent) = kit.agents.pop_first().unwrap();
    agent.task.abort();
    let execution = until(&supervisor.handle(), id, StateName::Queued).await;
    let failure = execution.attempts[0].end.as_ref().unwrap().failure().unwrap();
    assert_eq!(failure.cause.as_str(), "worker_lost");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_told_to_go_finishes_its_job_first() {
    let mut kit = Kit::new(|_| Script::new().sleeps(Duration::from_secs(30)).exits(0));
    let supervisor = kit.ready().await;
    let first = execute(&supervisor.handle()).await;
    until(&supervisor.handle(), first, StateName::Running).await;
    let (worker, agent) = kit.agents.pop_first().unwrap();
    agent.terminate.send(Signal::Terminate).await.unwrap();
    let second = execute(&supervisor.handle()).await;
    until(&supervisor.handle(), first, StateName::Success).await;
    agent.task.await.unwrap();
    assert_eq!(kit.execution(second).await.state.name(), StateName::Queued, "nobody is left to run it");
    let gone = kit.store.worker(worker).await.unwrap().unwrap();
    assert_eq!(gone.state.name().as_str(), "terminated");
}

#[tokio::test(start_paused = true)]
async fn a_network_that_is_cut_for_a_while_costs_nothing_but_time_i8() {
    let mut kit = Kit::new(|_| {
        (0..20)
            .fold(Script::new(), |script, n| {
                script.prints(format!("line {n}\n")).sleeps(Duration::from_secs(3))
            })
            .exits(0)
    });
    let supervisor = kit.ready().await;
    let id = execute(&supervisor.handle()).await;
    until(&supervisor.handle(), id, StateName::Running).await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(7)).await;
        kit.network.cut_all();
    }
    let execution = until(&supervisor.handle(), id, StateName::Success).await;
    let expected: String = (0..20).map(|n| format!("line {n}\n")).collect();
    assert_eq!(String::from_utf8(kit.stdout(&execution).await).unwrap(), expected);
}

/// Says where blobs are, or that it does not know.
struct Links(Result<&'static str, ()>);

#[async_trait::async_trait]
impl BlobLinks for Links {
    async fn link(&self, hash: &Sha256, _: Duration) -> Result<BlobLink, BlobError> {
        match self.0 {
            Ok(place) => Ok(BlobLink { url: format!("{place}/{hash}") }),
            Err(()) => Err(BlobError::Unavailable("no signature".into())),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn code_comes_by_a_link_to_who_takes_one_and_as_bytes_to_everybody_else() {
    let mut kit = Kit::new(|_| Script::new().waits());
    let supervisor = kit.ready().await;
    let handle = supervisor.handle();
    let id = execute(&handle).await;
    let running = until(&handle, id, StateName::Running).await;
    let live = running.state.live().unwrap();
    let (worker, claim, hash) = (live.worker, live.claim(id), running.job.bundle.hash.clone());
    kit.crash(supervisor).await;

    let bytes = Bundle::Bytes(kit.blobs.get(&hash).await.unwrap());
    let link = Bundle::Link(BlobLink { url: format!("s3://place/{hash}") });
    for (links, for_any) in
        [(None, &bytes), (Some(Links(Ok("s3://place"))), &link), (Some(Links(Err(()))), &bytes)]
    {
        let gate = match links {
            Some(links) => Gate::default().giving_links(Arc::new(links)),
            None => Gate::default(),
        };
        let builder = SupervisorBuilder { gate: gate.clone(), ..kit.builder() };
        let supervisor = builder.start().await.unwrap();
        for (form, expected) in [(BundleForm::Any, for_any), (BundleForm::Bytes, &bytes)] {
            let given = gate.bundle(worker, WantedBundle { claim, hash: hash.clone(), form }).await.unwrap();
            assert_eq!(given, *expected);
            let stranger = gate.bundle(worker_id(9), WantedBundle { claim, hash: hash.clone(), form }).await;
            assert!(matches!(stranger, Err(BundleRefused::NotYours { .. })), "{stranger:?}");
        }
        kit.crash(supervisor).await;
    }
}
