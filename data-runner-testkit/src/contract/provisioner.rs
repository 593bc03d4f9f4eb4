//! The contract of [`Provisioner`], a clause a function; [`provisioner_contract!`](crate::provisioner_contract) makes
//! one test of each.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use data_runner_core::id::WorkerId;
use data_runner_core::port::{LaunchAnswer, Provisioner};
use data_runner_core::worker::{Candidate, Machine, MachineRequest, MachineState};
use tokio::time::Instant;

use crate::sample;

/// How long a machine may take for what it was asked, before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A provisioner under test. Whatever it still runs ends with the fixture.
#[async_trait]
pub trait ProvisionerFixture: Send + Sync {
    /// The provisioner.
    fn provisioner(&self) -> Arc<dyn Provisioner>;

    /// Another one on the same machines that remembers nothing, as after a restart of the supervisor.
    fn restarted(&self) -> Arc<dyn Provisioner>;

    /// What it can give.
    fn request(&self) -> MachineRequest;

    /// How many agents of this worker run at this moment, as the machines themselves show it.
    async fn agents(&self, worker: WorkerId) -> usize;

    /// Kills the agent of this worker and leaves its machine.
    async fn kill_agent(&self, worker: WorkerId);
}

async fn candidate(fixture: &dyn ProvisionerFixture) -> Candidate {
    fixture.provisioner().plan(fixture.request()).await.unwrap().remove(0)
}

async fn launched(fixture: &dyn ProvisionerFixture, n: u64) -> (WorkerId, Candidate) {
    let (worker, candidate) = (sample::worker_id(n), candidate(fixture).await);
    let answer = fixture.provisioner().launch(worker, candidate.clone()).await;
    assert!(matches!(answer, LaunchAnswer::Launched(_)), "{answer:?}");
    (worker, candidate)
}

async fn listed(provisioner: &dyn Provisioner, worker: WorkerId) -> Option<Machine> {
    let mut of_worker: Vec<_> = provisioner.list().await.unwrap();
    of_worker.retain(|machine| machine.worker == worker);
    assert!(of_worker.len() <= 1, "one worker, two machines: {of_worker:?}");
    of_worker.pop()
}

/// Waits until the worker's machine is in a state that `is` accepts.
async fn until(
    provisioner: &dyn Provisioner,
    worker: WorkerId,
    is: impl Fn(&MachineState) -> bool,
) -> Machine {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let machine = listed(provisioner, worker).await;
        match machine {
            Some(machine) if is(&machine.state) => return machine,
            other => assert!(Instant::now() < give_up, "it never came to that state: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn is_terminated(state: &MachineState) -> bool {
    matches!(state, MachineState::Terminated { .. })
}

/// Asks for the end, as often as the engine would, until there is proof.
async fn terminated(provisioner: &dyn Provisioner, worker: WorkerId) -> Machine {
    let give_up = Instant::now() + PATIENCE;
    loop {
        provisioner.terminate(worker, None).await.unwrap();
        match listed(provisioner, worker).await {
            Some(machine) if is_terminated(&machine.state) => return machine,
            other => assert!(Instant::now() < give_up, "it does not end: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A plan has at least one candidate, the same for the same request, and starts nothing.
pub async fn a_plan_starts_nothing(fixture: &dyn ProvisionerFixture) {
    let first = fixture.provisioner().plan(fixture.request()).await.unwrap();
    assert!(!first.is_empty());
    assert_eq!(fixture.provisioner().plan(fixture.request()).await.unwrap(), first);
    assert_eq!(fixture.provisioner().list().await.unwrap(), []);
}

/// A launched machine is listed with its worker and under the name that the launch gave.
pub async fn a_launched_machine_is_listed(fixture: &dyn ProvisionerFixture) {
    let (worker, candidate) = (sample::worker_id(1), candidate(fixture).await);
    let answer = fixture.provisioner().launch(worker, candidate).await;
    let machine = until(&*fixture.provisioner(), worker, |state| *state == MachineState::Running).await;
    assert_eq!(answer, LaunchAnswer::Launched(machine.id));
    assert_eq!(fixture.agents(worker).await, 1);
}

/// However often it is launched, also at once and by a supervisor that was restarted, it is one machine.
pub async fn launching_again_never_makes_a_second_machine(fixture: &dyn ProvisionerFixture) {
    let (worker, candidate) = (sample::worker_id(1), candidate(fixture).await);
    let launches: Vec<_> =
        [fixture.provisioner(), fixture.provisioner(), fixture.restarted(), fixture.restarted()]
            .into_iter()
            .map(|provisioner| {
                let candidate = candidate.clone();
                tokio::spawn(async move { provisioner.launch(worker, candidate).await })
            })
            .collect();
    let mut answers = Vec::new();
    for launch in launches {
        answers.push(launch.await.unwrap());
    }
    answers.push(fixture.provisioner().launch(worker, candidate).await);
    answers.dedup();
    assert!(matches!(answers[..], [LaunchAnswer::Launched(_)]), "{answers:?}");
    assert_eq!(fixture.provisioner().list().await.unwrap().len(), 1);
    assert_eq!(fixture.agents(worker).await, 1);
}

/// Workers have a machine each.
pub async fn each_worker_has_its_own(fixture: &dyn ProvisionerFixture) {
    launched(fixture, 1).await;
    launched(fixture, 2).await;
    let mut machines: Vec<_> =
        fixture.provisioner().list().await.unwrap().into_iter().map(|machine| machine.id).collect();
    machines.dedup();
    assert_eq!(machines.len(), 2);
}

/// A listing shows what an earlier supervisor launched.
pub async fn a_listing_shows_what_was_forgotten(fixture: &dyn ProvisionerFixture) {
    let (worker, _) = launched(fixture, 1).await;
    let machine = until(&*fixture.restarted(), worker, |state| *state == MachineState::Running).await;
    assert_eq!(Some(machine), listed(&*fixture.provisioner(), worker).await);
}

/// Terminating what nobody knows is no error, and makes nothing.
pub async fn terminating_the_unknown_is_no_error(fixture: &dyn ProvisionerFixture) {
    let name = "never-was".parse().unwrap();
    fixture.provisioner().terminate(sample::worker_id(9), None).await.unwrap();
    fixture.provisioner().terminate(sample::worker_id(9), Some(name)).await.unwrap();
    assert_eq!(fixture.provisioner().list().await.unwrap(), []);
}

/// A machine that is shown as terminated is gone, with its agent, and stays so.
pub async fn a_terminated_machine_is_gone(fixture: &dyn ProvisionerFixture) {
    let (worker, candidate) = launched(fixture, 1).await;
    let (other, _) = launched(fixture, 2).await;
    terminated(&*fixture.provisioner(), worker).await;
    assert_eq!(fixture.agents(worker).await, 0);
    assert_eq!(fixture.agents(other).await, 1, "only the one that was asked for");

    fixture.provisioner().terminate(worker, None).await.unwrap();
    fixture.provisioner().launch(worker, candidate).await;
    assert_eq!(fixture.agents(worker).await, 0, "a repeated launch does not bring it back");
    let after = listed(&*fixture.provisioner(), worker).await;
    assert!(after.is_none_or(|machine| is_terminated(&machine.state)));
}

/// A supervisor that was restarted can terminate what an earlier one launched.
pub async fn another_supervisor_can_terminate_it(fixture: &dyn ProvisionerFixture) {
    let (worker, _) = launched(fixture, 1).await;
    terminated(&*fixture.restarted(), worker).await;
    assert_eq!(fixture.agents(worker).await, 0);
}

/// An agent that is down is shown, and the same launch revives it on the same machine.
pub async fn the_same_launch_revives_an_agent(fixture: &dyn ProvisionerFixture) {
    let (worker, candidate) = launched(fixture, 1).await;
    let before = until(&*fixture.provisioner(), worker, |state| *state == MachineState::Running).await;
    for provisioner in [fixture.provisioner(), fixture.restarted()] {
        fixture.kill_agent(worker).await;
        until(&*provisioner, worker, |state| *state == MachineState::AgentDown).await;
        let answer = provisioner.launch(worker, candidate.clone()).await;
        assert_eq!(answer, LaunchAnswer::Launched(before.id.clone()));
        let after = until(&*provisioner, worker, |state| *state == MachineState::Running).await;
        assert_eq!(after, before);
        assert_eq!(fixture.agents(worker).await, 1);
    }
}

/// A machine whose agent is down can be terminated.
pub async fn a_machine_without_its_agent_can_be_terminated(fixture: &dyn ProvisionerFixture) {
    let (worker, _) = launched(fixture, 1).await;
    fixture.kill_agent(worker).await;
    terminated(&*fixture.provisioner(), worker).await;
}

/// One test for each clause of the contract; `$fixture` is an expression that makes a fresh fixture.
#[macro_export]
macro_rules! provisioner_contract {
    ($fixture:expr) => {
        $crate::provisioner_contract!(@clauses $fixture;
            a_plan_starts_nothing
            a_launched_machine_is_listed
            launching_again_never_makes_a_second_machine
            each_worker_has_its_own
            a_listing_shows_what_was_forgotten
            terminating_the_unknown_is_no_error
            a_terminated_machine_is_gone
            another_supervisor_can_terminate_it
            the_same_launch_revives_an_agent
            a_machine_without_its_agent_can_be_terminated
        );
    };
    (@clauses $fixture:expr; $($clause:ident)*) => {$(
        #[tokio::test]
        async fn $clause() {
            $crate::contract::provisioner::$clause(&$fixture).await;
        }
    )*};
}
