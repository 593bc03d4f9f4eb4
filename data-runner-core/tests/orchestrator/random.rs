//! Random lives: whatever comes in whatever order, recovery equals the live state (the scene checks it after every
//! batch), attempts rise by one, and what has ended stays as it is.

use std::collections::BTreeMap;

use data_runner_core::event::{Event, Request};
use data_runner_core::execution::{Ending, Execution, Phase, StopReason};
use data_runner_core::id::{Claim, ExecutionId, SessionId, WorkerId};
use data_runner_core::log::LogOffset;
use data_runner_core::message::AgentMessage;
use data_runner_core::worker::MachineState;
use data_runner_testkit::sample;
use proptest::prelude::*;

use crate::scene::{Scene, finished, held, joined, pool, reached, seconds, terminated};

#[derive(Debug, Clone)]
enum Step {
    Submit,
    Cancel(usize),
    Join(u8),
    Leave(u8),
    Report { of: usize, ending: u8 },
    Start(usize),
    Log { of: usize, upto: u16 },
    Pass(u16),
    Restart,
    Drain(u8),
    Terminate(u8),
    Listed(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Submit),
        1 => (0_usize..8).prop_map(Step::Cancel),
        3 => (0_u8..4).prop_map(Step::Join),
        1 => (0_u8..4).prop_map(Step::Leave),
        4 => (0_usize..8, 0_u8..6).prop_map(|(of, ending)| Step::Report { of, ending }),
        3 => (0_usize..8).prop_map(Step::Start),
        2 => (0_usize..8, 0_u16..200).prop_map(|(of, upto)| Step::Log { of, upto }),
        2 => (0_u16..200).prop_map(Step::Pass),
        1 => Just(Step::Restart),
        1 => (0_u8..4).prop_map(Step::Drain),
        1 => (0_u8..4).prop_map(Step::Terminate),
        2 => any::<u8>().prop_map(Step::Listed),
    ];
    prop::collection::vec(step, 1..60)
}

#[derive(Default)]
struct Known {
    executions: Vec<ExecutionId>,
    sessions: BTreeMap<WorkerId, SessionId>,
    ended: BTreeMap<ExecutionId, Execution>,
}

impl Known {
    fn workers(&self, it: &Scene) -> Vec<WorkerId> {
        let joined = (0..2).map(|n| sample::worker_id(900 + n));
        joined.chain(it.it.workers().map(|worker| worker.id)).collect()
    }

    fn worker(&self, it: &Scene, n: u8) -> WorkerId {
        let workers = self.workers(it);
        workers[usize::from(n) % workers.len()]
    }

    fn live(&self, it: &Scene, n: usize) -> Option<(Claim, WorkerId, SessionId)> {
        let id = *self.executions.get(n)?;
        let live = it.execution(id).state.live()?;
        let session = *self.sessions.get(&live.worker)?;
        Some((live.claim(id), live.worker, session))
    }
}

fn perform(it: &mut Scene, known: &mut Known, step: &Step) {
    match *step {
        Step::Submit => {
            if known.executions.len() < 8 && !it.it.is_ending() {
                known.executions.push(it.submit());
            }
        }
        Step::Cancel(n) => {
            if let Some(&id) = known.executions.get(n) {
                it.cancel(id);
            }
        }
        Step::Join(n) => {
            let worker = known.worker(it, n);
            let of_worker = |e: &std::sync::Arc<Execution>| {
                e.state.live().filter(|live| live.worker == worker).map(|live| live.claim(e.id))
            };
            it.launch(worker);
            let claims: Vec<Claim> = it.it.executions().filter_map(of_worker).collect();
            let attempts = claims.into_iter().map(|claim| held(claim, reached(Phase::Connected))).collect();
            let (session, _) = it.connect(worker, attempts);
            known.sessions.insert(worker, session);
        }
        Step::Leave(n) => {
            let worker = known.worker(it, n);
            if let Some(session) = known.sessions.remove(&worker) {
                it.send(Event::SessionClosed { worker, session });
            }
        }
        Step::Report { of, ending } => {
            let Some((claim, worker, session)) = known.live(it, of) else {
                return;
            };
            let ending = match ending {
                0 | 1 => Ending::Exited { code: ending },
                2 => Ending::Signalled { signal: 9 },
                3 => Ending::Stopped { reason: StopReason::Interrupted },
                4 => Ending::Stopped { reason: StopReason::Cancelled },
                _ => Ending::OutOfMemory { limit_bytes: None },
            };
            it.reports(worker, session, claim, finished(ending, 100));
        }
        Step::Start(n) => {
            if let Some((claim, worker, session)) = known.live(it, n) {
                it.starts(worker, session, claim);
            }
        }
        Step::Log { of, upto } => {
            if let Some((claim, _, _)) = known.live(it, of) {
                it.send(Event::LogStored { claim, upto: LogOffset(u64::from(upto)) });
            }
        }
        Step::Pass(n) => drop(it.tick_after(seconds(u64::from(n)))),
        Step::Restart => {
            it.restart();
            known.sessions.clear();
        }
        Step::Drain(n) => {
            let worker = known.worker(it, n);
            if let Some(session) = known.sessions.get(&worker).copied() {
                it.says(worker, session, AgentMessage::Draining);
            }
        }
        Step::Terminate(n) => {
            let worker = known.worker(it, n);
            it.request(Request::TerminateWorker { worker });
        }
        Step::Listed(mask) => {
            let workers: Vec<WorkerId> = it.it.workers().map(|worker| worker.id).collect();
            let shown =
                workers.iter().enumerate().filter_map(|(n, worker)| match (mask >> (n % 4 * 2)) & 3 {
                    0 => None,
                    1 => Some((*worker, terminated())),
                    2 => Some((*worker, MachineState::AgentDown)),
                    _ => Some((*worker, MachineState::Running)),
                });
            let shown: Vec<_> = shown.collect();
            it.listed(&shown);
        }
    }
}

fn check(it: &Scene, known: &mut Known) {
    for &id in &known.executions {
        let execution = it.execution(id);
        for (n, attempt) in execution.attempts.iter().enumerate() {
            assert_eq!(attempt.number.0 as usize, n + 1, "attempts rise by one (I4)");
        }
        let live = execution.attempts.iter().filter(|attempt| attempt.end.is_none()).count();
        assert_eq!(live, usize::from(execution.state.live().is_some()), "one live attempt at most (I2)");
        if let Some(before) = known.ended.get(&id) {
            assert_eq!(*before, execution, "what has ended stays as it is (I3)");
        } else if execution.state.name().is_terminal() {
            known.ended.insert(id, execution);
        }
    }
    for worker in it.it.workers() {
        let held: Vec<_> = worker.state.attempts().collect();
        assert!(held.len() <= worker.slots as usize, "never more attempts than slots");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_lives_keep_the_invariants(steps in steps(), with_pool in any::<bool>()) {
        let mut it = Scene::new(if with_pool { pool(1, 2) } else { joined() });
        let mut known = Known::default();
        for step in &steps {
            perform(&mut it, &mut known, step);
            check(&it, &mut known);
        }
    }
}
