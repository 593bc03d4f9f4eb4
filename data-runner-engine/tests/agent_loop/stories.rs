use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use data_runner_core::agent::{EndReason, MachineNotice};
use data_runner_core::execution::{Ending, Failure, FailureCause, Phase, StopReason};
use data_runner_core::id::Epoch;
use data_runner_core::log::LogOffset;
use data_runner_core::message::{AgentMessage, Assign, SupervisorMessage, Verdict, Welcome};
use data_runner_core::port::{SecretError, SecretResolver, SecretValue, SessionEvent};
use data_runner_core::workflow::{ArtifactRule, JobSpec, SecretRef};
use data_runner_engine::{AgentError, Signal, StateFolderError};
use data_runner_testkit::memory::executor::Script;

use super::house::*;

#[tokio::test(start_paused = true)]
async fn a_job_runs_from_assignment_to_the_removal_of_its_folder() {
    let house = House::new(|| Script::new().prints("hello\n").complains("oh\n").exits(3));
    let (_agent, _logs) = (house.start(), house.take_logs());
    let (session, _) = house.welcome().await;
    let claim = house.assign(session, 1).await;
    for phase in [Phase::Connected, Phase::CodeReady, Phase::EnvironmentReady, Phase::Started] {
        house.until_phase(phase).await;
    }
    let code = house.folder(claim).join("code/workflow.py");
    assert_eq!(std::fs::read(code).unwrap(), CODE);
    let report = house.until_finished().await;
    assert_eq!((report.ending, report.log_end), (Ending::Exited { code: 3 }, LogOffset(9)));
    house.say(session, SupervisorMessage::StatusAck { claim }).await;
    until("the folder goes", || !house.folder(claim).exists()).await;
    assert_eq!(house.logs.of(claim).1, b"hello\noh\n");
}

#[tokio::test(start_paused = true)]
async fn what_a_job_left_is_brought_before_its_end_is_reported_however_often_that_is_tried() {
    let house = House::new(|| Script::new().prints("hello\n").exits(3));
    let (_agent, _logs) = (house.start(), house.take_logs());
    let (session, _) = house.welcome().await;
    house.gate.full.store(true, Ordering::Relaxed);
    let retain = Duration::from_secs(3600);
    let rule = |name: &str, path: &str| ArtifactRule {
        name: name.parse().unwrap(),
        path: path.parse().unwrap(),
        retain,
    };
    let artifacts = vec![rule("code", "*.py"), rule("none", "out/*")];
    // Its folder is the one that the code is in.
    let job = Arc::new(JobSpec { artifacts, folder: String::new(), ..JobSpec::clone(&job()) });
    house.say(session, SupervisorMessage::Assign(Assign { claim: claim(1), epoch: EPOCH, job })).await;
    house.until_phase(Phase::Started).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(house.gate.files.lock().unwrap().is_empty());
    house.gate.full.store(false, Ordering::Relaxed);
    let report = house.until_finished().await;
    assert_eq!(report.ending, Ending::Exited { code: 3 });
    assert_eq!(report.warnings, [""; 0], "a job that failed need not have come to where it writes them");
    assert_eq!(*house.gate.files.lock().unwrap(), [("workflow.py".to_owned(), CODE.to_vec())]);
}

#[tokio::test(start_paused = true)]
async fn an_environment_that_takes_for_ever_fails_the_attempt_and_says_so() {
    let house = House::new(|| Script::new().prepares_for(Duration::from_secs(30 * 24 * 3600)).exits(0));
    let _agent = house.start();
    let (session, _) = house.welcome().await;
    house.assign(session, 1).await;
    house.until_phase(Phase::CodeReady).await;
    let Ending::NeverStarted { failure } = house.until_finished().await.ending else { panic!() };
    assert_eq!(failure.cause, FailureCause::Environment);
    assert_eq!(failure.message, "the environment was not ready within 25 minutes");
    assert!(house.machine.starts().is_empty());
}

/// Answers each question with another value, as a store does whose secrets are renewed.
#[derive(Default)]
struct Vault(AtomicU32);

#[async_trait]
impl SecretResolver for Vault {
    async fn resolve(&self, reference: &SecretRef) -> Result<SecretValue, SecretError> {
        match reference {
            SecretRef::Parameter { .. } => {
                let asked = self.0.fetch_add(1, Ordering::Relaxed);
                Ok(SecretValue::new(format!("value {asked}")))
            }
            SecretRef::Secret { .. } => Err(SecretError::NotFound { reference: reference.clone() }),
            SecretRef::Environment { .. } => std::future::pending().await,
        }
    }
}

fn with_secret(reference: &str) -> Arc<JobSpec> {
    let secrets = BTreeMap::from([("API_KEY".to_owned(), reference.parse().unwrap())]);
    Arc::new(JobSpec { secrets, ..(*job()).clone() })
}

#[tokio::test(start_paused = true)]
async fn secrets_are_resolved_for_each_attempt_and_given_to_its_job() {
    let mut house = House::new(|| Script::new().exits(0));
    house.secrets = Arc::new(Vault::default());
    let (_agent, _logs) = (house.start(), house.take_logs());
    let (session, _) = house.welcome().await;
    for (n, value) in [(1, "value 0"), (2, "value 1")] {
        let claim = house.assign_job(session, n, with_secret("aws-ssm:///prod/key")).await;
        assert_eq!(house.until_finished().await.ending, Ending::Exited { code: 0 });
        assert_eq!(house.machine.secrets(claim)["API_KEY"].expose(), value);
        house.say(session, SupervisorMessage::StatusAck { claim }).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_not_there_fails_the_job_before_it_starts_and_is_named() {
    let mut house = House::new(|| Script::new().exits(0));
    house.secrets = Arc::new(Vault::default());
    let _agent = house.start();
    let (session, _) = house.welcome().await;
    for (n, reference) in [(1, "aws-secretsmanager://prod/pg#dsn"), (2, "env://NEVER_ANSWERS")] {
        let claim = house.assign_job(session, n, with_secret(reference)).await;
        let Ending::NeverStarted { failure } = house.until_finished().await.ending else { panic!("it ran") };
        assert_eq!(failure.cause, FailureCause::Environment);
        assert!(failure.message.contains(reference), "{}", failure.message);
        house.say(session, SupervisorMessage::StatusAck { claim }).await;
    }
    assert_eq!(house.machine.starts(), []);
}

#[tokio::test(start_paused = true)]
async fn a_log_arrives_whole_over_connections_that_are_cut() {
    let expected: Vec<u8> =
        (0..200_u32).flat_map(|n| format!("{n} {}\n", "x".repeat(20_000)).into_bytes()).collect();
    let printed = Bytes::from(expected.clone());
    let house = House::new(move || {
        let pieces = printed.chunks(100_000).map(<[u8]>::to_vec);
        let printing = pieces
            .fold(Script::new(), |script, piece| script.prints(piece).sleeps(Duration::from_millis(100)));
        printing.exits(0)
    });
    let (_agent, _logs) = (house.start(), house.take_logs());
    let (session, _) = house.welcome().await;
    let claim = house.assign(session, 1).await;
    house.until_phase(Phase::Started).await;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        house.network.cut(house.worker);
        house.welcome().await;
    }
    let report = house.until_finished().await;
    assert_eq!(report.log_end, LogOffset(expected.len() as u64));
    until("the log is whole", || house.logs.of(claim).0 == report.log_end).await;
    assert!(house.logs.of(claim).1 == expected, "the log differs");
}

#[tokio::test(start_paused = true)]
async fn a_restarted_agent_adopts_its_job_and_starts_nothing() {
    let house = House::new(|| Script::new().prints("one\n").waits().prints("two\n").exits(0));
    let _logs = house.take_logs();
    let agent = house.start();
    let (session, first) = house.welcome().await;
    let claim = house.assign(session, 1).await;
    house.until_phase(Phase::Started).await;
    agent.kill().await;
    let agent = house.start();
    let (session, again) = house.welcome().await;
    assert_eq!(again.incarnation, first.incarnation + 1);
    assert_eq!(again.attempts.iter().map(|held| held.claim).collect::<Vec<_>>(), [claim]);
    house.until_phase(Phase::Started).await;
    house.machine.release(&std::path::absolute(house.folder(claim)).unwrap());
    assert_eq!(house.until_finished().await.ending, Ending::Exited { code: 0 });
    house.say(session, SupervisorMessage::StatusAck { claim }).await;
    until("the folder goes", || !house.folder(claim).exists()).await;
    assert_eq!(house.logs.of(claim).1, b"one\ntwo\n");
    assert_eq!(house.machine.starts(), [claim]);
    agent.kill().await;
}

#[tokio::test(start_paused = true)]
async fn an_end_survives_the_agent_that_could_not_report_it() {
    let house = House::new(|| Script::new().sleeps(Duration::from_secs(60)).exits(7));
    let agent = house.start();
    let (session, _) = house.welcome().await;
    house.assign(session, 1).await;
    house.until_phase(Phase::Started).await;
    house.network.crash_supervisor();
    tokio::time::sleep(Duration::from_secs(100)).await;
    agent.kill().await;
    let house = House { supervisor: house.network.supervisor(), ..house };
    let _agent = house.start();
    house.welcome().await;
    assert_eq!(house.until_finished().await.ending, Ending::Exited { code: 7 });
}

#[tokio::test(start_paused = true)]
async fn a_job_that_a_reboot_took_is_reported_as_vanished_and_not_run_again() {
    let house = House::new(|| Script::new().waits().exits(0));
    let agent = house.start();
    let (session, _) = house.welcome().await;
    let claim = house.assign(session, 1).await;
    house.until_phase(Phase::Started).await;
    agent.kill().await;
    house.machine.reboot();
    let _agent = house.start();
    house.welcome().await;
    assert!(matches!(house.until_finished().await.ending, Ending::Vanished { .. }));
    assert_eq!(house.machine.starts(), [claim]);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_goes_delivers_the_log_of_its_interrupted_job_and_its_agent_ends() {
    let house = House::new(|| Script::new().prints("so far\n").waits().exits(0));
    let (agent, _logs) = (house.start(), house.take_logs());
    let (session, _) = house.welcome().await;
    let claim = house.assign(session, 1).await;
    house.until_phase(Phase::Started).await;
    agent.terminate.send(Signal::Machine(MachineNotice::AtRisk)).await.unwrap();
    assert_eq!(house.heard().await, Some(AgentMessage::Draining));
    agent.terminate.send(Signal::Machine(MachineNotice::Going)).await.unwrap();
    let report = house.until_finished().await;
    assert_eq!(report.ending, Ending::Stopped { reason: StopReason::Interrupted });
    house.say(session, SupervisorMessage::StatusAck { claim }).await;
    assert_eq!(agent.end().await, EndReason::Drained);
    assert_eq!(house.logs.of(claim).1, b"so far\n");
}

#[tokio::test(start_paused = true)]
async fn a_signal_drains_the_job_ends_by_itself_and_then_the_agent_goes() {
    let house = House::new(|| Script::new().sleeps(Duration::from_secs(60)).exits(0));
    let agent = house.start();
    let (session, _) = house.welcome().await;
    let claim = house.assign(session, 1).await;
    house.until_phase(Phase::Started).await;
    agent.terminate.send(Signal::Terminate).await.unwrap();
    assert_eq!(house.heard().await, Some(AgentMessage::Draining));
    assert_eq!(house.until_finished().await.ending, Ending::Exited { code: 0 });
    house.say(session, SupervisorMessage::StatusAck { claim }).await;
    assert_eq!(house.heard().await, Some(AgentMessage::Drained));
    assert_eq!(house.heard().await, None, "the session ends");
    assert_eq!(agent.end().await, EndReason::Drained);
}

#[tokio::test(start_paused = true)]
async fn the_second_signal_stops_the_job() {
    let house = House::new(|| Script::new().waits().exits(0));
    let agent = house.start();
    let (session, _) = house.welcome().await;
    let claim = house.assign(session, 1).await;
    house.until_phase(Phase::Started).await;
    agent.terminate.send(Signal::Terminate).await.unwrap();
    agent.terminate.send(Signal::Terminate).await.unwrap();
    let stopped = Ending::Stopped { reason: StopReason::Interrupted };
    assert_eq!(house.until_finished().await.ending, stopped);
    house.say(session, SupervisorMessage::StatusAck { claim }).await;
    assert_eq!(agent.end().await, EndReason::Drained);
}

#[tokio::test(start_paused = true)]
async fn without_a_supervisor_the_job_is_stopped_in_the_end_and_its_result_stays() {
    let house = House::new(|| Script::new().waits().exits(0));
    let agent = house.start();
    let (session, _) = house.welcome().await;
    let claim = house.assign(session, 1).await;
    house.until_phase(Phase::Started).await;
    let began = tokio::time::Instant::now();
    house.network.crash_supervisor();
    assert_eq!(agent.end().await, EndReason::Abandoned);
    assert!(
        (DEAD_MAN..DEAD_MAN + Duration::from_secs(1)).contains(&began.elapsed()),
        "{:?}",
        began.elapsed()
    );
    assert!(house.machine.alive().is_empty());
    let house = House { supervisor: house.network.supervisor(), ..house };
    let _agent = house.start();
    let (_, hello) = house.welcome().await;
    assert_eq!(hello.attempts.len(), 1);
    assert_eq!(house.until_finished().await.ending, Ending::Stopped { reason: StopReason::Interrupted });
    assert_eq!(house.machine.starts(), [claim]);
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_of_an_old_epoch_is_not_obeyed() {
    let house = House::new(|| Script::new().exits(0));
    let _agent = house.start();
    let (session, _) = house.welcome().await;
    let stale = Assign { claim: claim(1), epoch: Epoch(EPOCH.0 - 1), job: job() };
    house.say(session, SupervisorMessage::Assign(stale)).await;
    let claim = house.assign(session, 2).await;
    house.until_finished().await;
    assert_eq!(house.machine.starts(), [claim]);
    house.network.cut(house.worker);
    let (session, hello) = house.hello().await;
    assert_eq!(hello.epoch, EPOCH);
    let welcome = Welcome {
        session,
        epoch: Epoch(EPOCH.0 - 1),
        verdicts: vec![(claim, Verdict::Stop)],
        heartbeat: Duration::from_secs(5),
        dead_man: DEAD_MAN,
    };
    house.say(session, SupervisorMessage::Welcome(welcome)).await;
    assert_eq!(house.heard().await, None, "the agent ends the session");
    assert!(house.folder(claim).exists());
}

#[tokio::test(start_paused = true)]
async fn code_that_does_not_have_its_hash_is_not_run() {
    let house = House::new(|| Script::new().exits(0));
    *house.gate.bytes.lock().unwrap() = Bytes::from_static(b"evil");
    let _agent = house.start();
    let (session, _) = house.welcome().await;
    house.assign(session, 1).await;
    let report = house.until_finished().await;
    let Ending::NeverStarted { failure } = report.ending else { panic!("{report:?}") };
    assert_eq!(failure.cause, FailureCause::Source);
    assert!(failure.message.contains("does not have the hash"), "{failure:?}");
    assert!(house.machine.starts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_environment_that_cannot_be_made_is_reported_with_its_reason() {
    let reason = Failure::new(FailureCause::Environment, "no such package: polarbears");
    let expected = reason.clone();
    let house = House::new(move || Script::unpreparable(reason.clone()));
    let _agent = house.start();
    let (session, _) = house.welcome().await;
    house.assign(session, 1).await;
    assert_eq!(house.until_finished().await.ending, Ending::NeverStarted { failure: expected });
}

#[tokio::test(start_paused = true)]
async fn code_is_fetched_once_for_all_runs_of_it() {
    let house = House::new(|| Script::new().exits(0));
    let agent = house.start();
    let (session, _) = house.welcome().await;
    for n in 1..4 {
        let claim = house.assign(session, n).await;
        house.until_finished().await;
        house.say(session, SupervisorMessage::StatusAck { claim }).await;
        until("the folder goes", || !house.folder(claim).exists()).await;
    }
    agent.kill().await;
    let _agent = house.start();
    let (session, _) = house.welcome().await;
    house.assign(session, 4).await;
    house.until_finished().await;
    assert_eq!(house.gate.fetched.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_link_to_code_is_followed_and_one_that_leads_nowhere_costs_no_run() {
    for (elsewhere, fetched) in [(Some(CODE), 0), (Some(&b"something else"[..]), 1), (None, 1)] {
        let mut house = House::new(|| Script::new().exits(0));
        house.download = Some(Arc::new(Elsewhere(elsewhere)));
        let _agent = house.start();
        let (session, _) = house.welcome().await;
        house.assign(session, 1).await;
        assert_eq!(house.until_finished().await.ending, Ending::Exited { code: 0 });
        assert_eq!(house.gate.linked.load(Ordering::Relaxed), 1);
        assert_eq!(house.gate.fetched.load(Ordering::Relaxed), fetched, "{elsewhere:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_that_nobody_takes_delays_neither_heartbeats_nor_a_cancel() {
    let house = House::new(|| Script::new().prints(vec![b'x'; 64 << 20]).waits().exits(0));
    let _agent = house.start();
    let (session, _) = house.welcome().await;
    let claim = house.assign(session, 1).await;
    house.until_phase(Phase::Started).await;
    let began = tokio::time::Instant::now();
    let mut beats = 0;
    while beats < 6 {
        if let SessionEvent::Message(message) = house.supervisor.receive().await.unwrap().what
            && *message == AgentMessage::HeartBeat
        {
            beats += 1;
        }
    }
    assert!(began.elapsed() <= Duration::from_secs(30), "{:?}", began.elapsed());
    let reason = StopReason::Cancelled;
    house.say(session, SupervisorMessage::Cancel { claim, epoch: EPOCH, reason }).await;
    assert_eq!(house.until_finished().await.ending, Ending::Stopped { reason });
}

#[tokio::test(start_paused = true)]
async fn a_cancel_reaches_a_job_and_a_disowned_one_leaves_nothing() {
    let house = House::new(|| Script::new().waits().exits(0));
    let _agent = house.start();
    let (session, _) = house.welcome().await;
    let claim = house.assign(session, 1).await;
    house.until_phase(Phase::Started).await;
    let reason = StopReason::Disowned;
    house.say(session, SupervisorMessage::Cancel { claim, epoch: EPOCH, reason }).await;
    until("the folder goes", || !house.folder(claim).exists()).await;
    assert!(house.machine.alive().is_empty());
}

#[tokio::test]
async fn a_second_agent_on_the_same_folder_is_refused() {
    let house = House::new(Script::new);
    let first = house.builder().open().unwrap();
    let second = house.builder().open().map(drop).unwrap_err();
    assert!(matches!(second, AgentError::State(StateFolderError::InUse(_))), "{second:?}");
    drop(first);
    assert!(house.builder().open().is_ok(), "the lock goes with its holder");
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_an_error_and_not_an_attempt_forgotten() {
    let house = House::new(Script::new);
    drop(house.builder().open().unwrap());
    std::fs::create_dir_all(house.folder(claim(1))).unwrap();
    std::fs::write(house.folder(claim(1)).join("record.json"), "[1]").unwrap();
    let error = house.builder().open().map(drop).unwrap_err();
    assert!(matches!(error, AgentError::State(StateFolderError::Corrupt { .. })), "{error:?}");
}

#[tokio::test]
async fn a_record_that_a_crash_of_the_machine_tore_is_dropped_since_nothing_runs_after_that() {
    let house = House::new(Script::new);
    drop(house.builder().open().unwrap());
    std::fs::create_dir_all(house.folder(claim(1))).unwrap();
    std::fs::write(house.folder(claim(1)).join("record.json"), "").unwrap();
    drop(house.builder().open().unwrap());
    assert!(!house.folder(claim(1)).exists());
}
