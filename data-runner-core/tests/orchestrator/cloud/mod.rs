//! Machines of a cloud: one for each execution, with a deadline, and answers of every kind.

mod launching;
mod living;

use data_runner_core::event::{Effect, Outcome};
use data_runner_core::execution::{ExecutionState, WaitingReason};
use data_runner_core::id::{ExecutionId, WorkerId};
use data_runner_core::port::LaunchAnswer;
use data_runner_core::worker::{MachineEnd, MachineRequest, MachineState};

use crate::scene::{Scene, machine_id};

fn planned(outcome: &Outcome) -> Vec<&MachineRequest> {
    let mut requests = Vec::new();
    for effect in &outcome.effects {
        if let Effect::Plan { request, .. } = effect {
            requests.push(request.as_ref());
        }
    }
    requests
}

fn launched(outcome: &Outcome) -> Vec<(WorkerId, &str)> {
    let launch = |effect| match effect {
        &Effect::Launch { worker, ref candidate } => Some((worker, candidate.label.as_str())),
        _ => None,
    };
    outcome.effects.iter().filter_map(launch).collect()
}

fn terminates(outcome: &Outcome, worker: WorkerId) -> bool {
    outcome.effects.iter().any(|it| matches!(it, Effect::Terminate { worker: it, .. } if *it == worker))
}

fn ended(end: MachineEnd) -> MachineState {
    MachineState::Terminated { reason: "the cloud says so".to_owned(), end }
}

fn no(message: &str) -> LaunchAnswer {
    LaunchAnswer::FallBack { message: message.to_owned() }
}

/// An execution whose machine boots.
fn booting(it: &mut Scene, labels: &[&str]) -> (ExecutionId, WorkerId) {
    let id = it.submit();
    let worker = it.only_worker();
    it.offers(worker, labels);
    it.answer_launch(worker, labels[0], LaunchAnswer::Launched(machine_id(worker)));
    (id, worker)
}

/// An execution whose code runs on its machine.
fn running(it: &mut Scene) -> (ExecutionId, WorkerId) {
    let (id, worker) = booting(it, &["a"]);
    let session = it.join(worker);
    let claim = it.claim(id);
    it.starts(worker, session, claim);
    (id, worker)
}

fn waits_for(it: &Scene, id: ExecutionId) -> WaitingReason {
    match it.execution(id).state {
        ExecutionState::Queued { waiting } => waiting.reason,
        other => panic!("it does not wait: {other:?}"),
    }
}

fn tries(it: &Scene, id: ExecutionId) -> Vec<(String, String)> {
    it.execution(id).launch_tries.into_iter().map(|tried| (tried.label, tried.message)).collect()
}
