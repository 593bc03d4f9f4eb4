//! Every state of an execution meets every event: nothing panics, only legal transitions happen, terminal states stay.

use data_runner_core::event::{Event, Request};
use data_runner_core::execution::{Ending, Phase, StateName, StopReason};
use data_runner_core::id::{Claim, ExecutionId, SessionId, WorkerId};
use data_runner_core::log::LogOffset;
use data_runner_core::message::AgentMessage;
use data_runner_core::orchestrator::{Policy, Pool};
use data_runner_core::worker::MachineState;
use data_runner_testkit::sample;

use crate::scene::{Scene, finished, held, joined, reached, seconds, terminated};

#[derive(Debug, Clone, Copy)]
enum Given {
    Queued,
    BackingOff,
    Provisioning,
    Starting,
    StartingStopped,
    Running,
    Stopping,
    Finishing,
    Success,
    Failed,
    Cancelled,
}

const GIVEN: [Given; 11] = [
    Given::Queued,
    Given::BackingOff,
    Given::Provisioning,
    Given::Starting,
    Given::StartingStopped,
    Given::Running,
    Given::Stopping,
    Given::Finishing,
    Given::Success,
    Given::Failed,
    Given::Cancelled,
];

struct Stage {
    it: Scene,
    id: ExecutionId,
    worker: WorkerId,
    session: SessionId,
    claim: Claim,
}

fn stage(given: Given) -> Stage {
    if let Given::Provisioning = given {
        let mut it = Scene::new(Policy { pool: Pool::PerExecution { max: 1 }, ..Policy::local(1, 1) });
        let id = it.submit();
        let worker = it.it.workers().next().unwrap().id;
        let claim = Claim { attempt: it.execution(id).attempt_id(sample_first()), lease: sample::lease(1) };
        return Stage { it, id, worker, session: sample::session_id(999), claim };
    }
    let mut it = Scene::new(joined());
    let worker = sample::worker_id(1);
    let session = it.join(worker);
    let id = it.submit();
    let claim = it.claim(id);
    match given {
        Given::Starting => {}
        Given::StartingStopped => drop(it.cancel(id)),
        Given::Queued | Given::BackingOff => {
            let ending = Ending::Stopped { reason: StopReason::Interrupted };
            it.reports(worker, session, claim, finished(ending, 0));
            if let Given::Queued = given {
                it.send(Event::SessionClosed { worker, session });
                it.tick_after(seconds(5));
            }
        }
        Given::Running | Given::Provisioning => drop(it.starts(worker, session, claim)),
        Given::Stopping => {
            it.starts(worker, session, claim);
            it.cancel(id);
        }
        Given::Finishing => {
            it.starts(worker, session, claim);
            it.reports(worker, session, claim, finished(Ending::Exited { code: 0 }, 100));
        }
        Given::Success => drop(it.exits(worker, session, claim, 0)),
        Given::Failed => drop(it.exits(worker, session, claim, 1)),
        Given::Cancelled => {
            it.cancel(id);
            it.reports(
                worker,
                session,
                claim,
                finished(Ending::Stopped { reason: StopReason::Cancelled }, 0),
            );
        }
    }
    Stage { it, id, worker, session, claim }
}

fn sample_first() -> data_runner_core::id::AttemptNumber {
    data_runner_core::id::AttemptNumber::FIRST
}

/// What can happen, each a short name and the doing of it.
type Happening = (&'static str, fn(&mut Stage));

const HAPPENINGS: [Happening; 19] = [
    ("cancel", |s| drop(s.it.cancel(s.id))),
    ("connected", |s| drop(s.it.reports(s.worker, s.session, s.claim, reached(Phase::Connected)))),
    ("started", |s| drop(s.it.reports(s.worker, s.session, s.claim, reached(Phase::Started)))),
    ("exit 0", |s| drop(s.it.exits(s.worker, s.session, s.claim, 0))),
    ("exit 1", |s| drop(s.it.exits(s.worker, s.session, s.claim, 1))),
    ("oom", |s| {
        drop(s.it.reports(
            s.worker,
            s.session,
            s.claim,
            finished(Ending::OutOfMemory { limit_bytes: None }, 0),
        ));
    }),
    ("vanished", |s| {
        let ending = Ending::Vanished { message: "no trace".to_owned() };
        drop(s.it.reports(s.worker, s.session, s.claim, finished(ending, 0)));
    }),
    ("timeout", |s| {
        let ending = Ending::Stopped { reason: StopReason::Timeout };
        drop(s.it.reports(s.worker, s.session, s.claim, finished(ending, 5)));
    }),
    ("log", |s| drop(s.it.send(Event::LogStored { claim: s.claim, upto: LogOffset(100) }))),
    ("hello with it", |s| drop(s.it.connect(s.worker, vec![held(s.claim, reached(Phase::Started))]))),
    ("hello without", |s| drop(s.it.connect(s.worker, Vec::new()))),
    ("session closed", |s| drop(s.it.send(Event::SessionClosed { worker: s.worker, session: s.session }))),
    ("draining", |s| drop(s.it.says(s.worker, s.session, AgentMessage::Draining))),
    ("drained", |s| drop(s.it.says(s.worker, s.session, AgentMessage::Drained))),
    ("terminate worker", |s| drop(s.it.request(Request::TerminateWorker { worker: s.worker }))),
    ("machine gone", |s| drop(s.it.listed(&[(s.worker, terminated())]))),
    ("machine seen", |s| drop(s.it.listed(&[(s.worker, MachineState::Running)]))),
    ("a minute", |s| drop(s.it.tick_after(seconds(60)))),
    ("a day", |s| drop(s.it.tick_after(seconds(86_400)))),
];

fn legal(from: StateName, to: StateName) -> bool {
    use StateName::{Cancelled, Failed, Provisioning, Queued, Running, Starting, Success};
    match from {
        Queued => matches!(to, Queued | Provisioning | Starting | Cancelled | Failed),
        Provisioning => matches!(to, Provisioning | Queued | Starting | Cancelled | Failed),
        Starting | Running => matches!(to, Queued | Starting | Running | Success | Failed | Cancelled),
        Success | Failed | Cancelled => to == from,
    }
}

#[test]
fn every_state_takes_every_event_by_a_legal_transition_i3_i4() {
    for given in GIVEN {
        for (name, happens) in HAPPENINGS {
            let mut stage = stage(given);
            let before = stage.it.execution(stage.id);
            happens(&mut stage);
            let after = stage.it.execution(stage.id);
            let (from, to) = (before.state.name(), after.state.name());
            assert!(legal(from, to), "{given:?} + {name}: {from} → {to}");
            assert!(after.attempts.len() >= before.attempts.len(), "{given:?} + {name} lost an attempt");
            if from.is_terminal() {
                assert_eq!(before, after, "{given:?} + {name} changed what had ended");
            }
        }
    }
}

#[test]
fn every_state_takes_every_pair_of_events_i3_i4() {
    for given in GIVEN {
        for (first_name, first) in HAPPENINGS {
            for (second_name, second) in HAPPENINGS {
                let mut stage = stage(given);
                first(&mut stage);
                let before = stage.it.execution(stage.id);
                second(&mut stage);
                let after = stage.it.execution(stage.id);
                let what = format!("{given:?} + {first_name} + {second_name}");
                assert!(legal(before.state.name(), after.state.name()), "{what}");
                if before.state.name().is_terminal() {
                    assert_eq!(before, after, "{what}");
                }
            }
        }
    }
}
