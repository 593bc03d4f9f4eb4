//! The contract of [`Provisioner`], a clause a function; [`provisioner_contract!`](crate::provisioner_contract) makes
//! one test of each. Two kinds of provisioner have clauses more: those that see whether an agent lives
//! ([`provisioner_reviving_contract!`](crate::provisioner_reviving_contract)), and those whose answers can be lost on the
//! way ([`provisioner_ambiguity_contract!`](crate::provisioner_ambiguity_contract)).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use data_runner_core::id::WorkerId;
use data_runner_core::port::{LaunchAnswer, Provisioner};
use data_runner_core::worker::{Candidate, Machine, MachineRequest, MachineState};
use tokio::time::Instant;

use crate::{sample, skipped};

/// How long a machine may take for what it was asked, before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A provisioner under test. Whatever it still runs ends with the fixture.
#[async_trait]
pub trait ProvisionerFixture: Send + Sync {
    /// The provisioner.
    fn provisioner(&self) -> Arc<dyn Provisioner>;

    /// Another one on the same machines that remembers nothing, as after a restart of the supervisor.
    fn restarted(&self) -> Arc<dyn Provisioner>;

    /// One of another installation, at the same place: the same account, the same host.
    fn foreign(&self) -> Arc<dyn Provisioner>;

    /// What it can give.
    fn request(&self) -> MachineRequest;

    /// How many agents of this worker run at this moment, as the machines themselves show it.
    async fn agents(&self, worker: WorkerId) -> usize;

    /// Why the place of the machines does not know a repeated launch again, for an imitation of a cloud that cannot do
    /// that. The clauses about repeated launches are skipped then, and say so. `None`, as nearly always: it does.
    fn forgets_launches(&self) -> Option<String> {
        None
    }
}

/// A provisioner that sees whether an agent lives.
#[async_trait]
pub trait RevivingFixture: ProvisionerFixture {
    /// Kills the agent of this worker and leaves its machine.
    async fn kill_agent(&self, worker: WorkerId);
}

/// A provisioner whose answers can be lost on the way.
#[async_trait]
pub trait LossyFixture: ProvisionerFixture {
    /// The next launch happens, and its answer does not arrive.
    async fn lose_next_answer(&self);
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
    if let Some(why) = fixture.forgets_launches() {
        return skipped(why);
    }
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
    let (worker, _) = launched(fixture, 1).await;
    let (other, _) = launched(fixture, 2).await;
    terminated(&*fixture.provisioner(), worker).await;
    assert_eq!(fixture.agents(worker).await, 0);
    assert_eq!(fixture.agents(other).await, 1, "only the one that was asked for");

    fixture.provisioner().terminate(worker, None).await.unwrap();
    let after = listed(&*fixture.provisioner(), worker).await;
    assert!(after.is_none_or(|machine| is_terminated(&machine.state)));
}

/// A launch that is repeated when its machine was terminated makes no other one.
pub async fn a_repeated_launch_does_not_bring_a_machine_back(fixture: &dyn ProvisionerFixture) {
    if let Some(why) = fixture.forgets_launches() {
        return skipped(why);
    }
    let (worker, candidate) = launched(fixture, 1).await;
    terminated(&*fixture.provisioner(), worker).await;
    fixture.provisioner().launch(worker, candidate).await;
    assert_eq!(fixture.agents(worker).await, 0);
    let after = listed(&*fixture.provisioner(), worker).await;
    assert!(after.is_none_or(|machine| is_terminated(&machine.state)));
}

/// A supervisor that was restarted can terminate what an earlier one launched.
pub async fn another_supervisor_can_terminate_it(fixture: &dyn ProvisionerFixture) {
    let (worker, _) = launched(fixture, 1).await;
    terminated(&*fixture.restarted(), worker).await;
    assert_eq!(fixture.agents(worker).await, 0);
}

/// Whoever names a machine ends that one; that of the worker stays if it is another.
pub async fn only_the_machine_that_is_named_is_ended(fixture: &dyn ProvisionerFixture) {
    let (worker, _) = launched(fixture, 1).await;
    let machine = until(&*fixture.provisioner(), worker, |state| *state == MachineState::Running).await;
    fixture.provisioner().terminate(worker, Some("never-was".parse().unwrap())).await.unwrap();
    assert_eq!(listed(&*fixture.provisioner(), worker).await.as_ref(), Some(&machine));
    assert_eq!(fixture.agents(worker).await, 1);
    let give_up = Instant::now() + PATIENCE;
    loop {
        fixture.provisioner().terminate(worker, Some(machine.id.clone())).await.unwrap();
        match listed(&*fixture.provisioner(), worker).await {
            Some(machine) if is_terminated(&machine.state) => break,
            other => assert!(Instant::now() < give_up, "it does not end: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(fixture.agents(worker).await, 0);
}

/// Two installations at one place do not see, launch over, or end each other's machines, not even those of equal workers.
pub async fn another_installation_is_left_alone(fixture: &dyn ProvisionerFixture) {
    let (worker, _) = launched(fixture, 1).await;
    let machine = until(&*fixture.provisioner(), worker, |state| *state == MachineState::Running).await;
    let foreign = fixture.foreign();
    assert_eq!(foreign.list().await.unwrap(), []);
    foreign.terminate(worker, None).await.unwrap();
    foreign.terminate(worker, Some(machine.id.clone())).await.unwrap();
    assert_eq!(fixture.agents(worker).await, 1);

    let other = sample::worker_id(2);
    let theirs = foreign.plan(fixture.request()).await.unwrap().remove(0);
    assert!(matches!(foreign.launch(other, theirs).await, LaunchAnswer::Launched(_)));
    until(&*foreign, other, |state| *state == MachineState::Running).await;
    assert_eq!(fixture.provisioner().list().await.unwrap(), [machine]);
    terminated(&*foreign, other).await;
    assert_eq!(fixture.agents(worker).await, 1);
}

/// A console can be read of any machine, also of one that is gone or never was, and changes nothing.
pub async fn a_console_can_always_be_read(fixture: &dyn ProvisionerFixture) {
    let never = fixture.provisioner().console("never-was".parse().unwrap()).await.unwrap();
    assert_eq!(never, "");
    let (worker, _) = launched(fixture, 1).await;
    let machine = until(&*fixture.provisioner(), worker, |state| *state == MachineState::Running).await;
    for provisioner in [fixture.provisioner(), fixture.restarted()] {
        provisioner.console(machine.id.clone()).await.unwrap();
        assert_eq!(listed(&*provisioner, worker).await.as_ref(), Some(&machine));
    }
    terminated(&*fixture.provisioner(), worker).await;
    fixture.provisioner().console(machine.id).await.unwrap();
}

/// A launch whose answer was lost is repeated until there is one, and has made one machine.
pub async fn an_answer_that_is_lost_makes_no_second_machine(fixture: &dyn LossyFixture) {
    let worker = sample::worker_id(1);
    let candidate = fixture.provisioner().plan(fixture.request()).await.unwrap().remove(0);
    for provisioner in [fixture.provisioner(), fixture.restarted()] {
        fixture.lose_next_answer().await;
        let lost = provisioner.launch(worker, candidate.clone()).await;
        assert!(matches!(lost, LaunchAnswer::Unknown { .. } | LaunchAnswer::Launched(_)), "{lost:?}");
    }
    let give_up = Instant::now() + PATIENCE;
    let id = loop {
        match fixture.provisioner().launch(worker, candidate.clone()).await {
            LaunchAnswer::Launched(id) => break id,
            other @ (LaunchAnswer::FallBack { .. }
            | LaunchAnswer::Hold { .. }
            | LaunchAnswer::Fatal { .. }
            | LaunchAnswer::Adopt
            | LaunchAnswer::Unknown { .. }) => {
                assert!(Instant::now() < give_up, "no definite answer: {other:?}")
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let machine = until(&*fixture.restarted(), worker, |state| *state == MachineState::Running).await;
    assert_eq!(machine.id, id);
    assert_eq!(fixture.provisioner().list().await.unwrap().len(), 1);
    assert_eq!(fixture.agents(worker).await, 1);
}

/// An agent that is down is shown, and the same launch revives it on the same machine.
pub async fn the_same_launch_revives_an_agent(fixture: &dyn RevivingFixture) {
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
pub async fn a_machine_without_its_agent_can_be_terminated(fixture: &dyn RevivingFixture) {
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
            a_repeated_launch_does_not_bring_a_machine_back
            another_supervisor_can_terminate_it
            only_the_machine_that_is_named_is_ended
            another_installation_is_left_alone
            a_console_can_always_be_read
        );
    };
    (@clauses $fixture:expr; $($clause:ident)*) => {$(
        #[tokio::test]
        async fn $clause() {
            $crate::contract::provisioner::$clause(&$fixture).await;
        }
    )*};
}

/// The clauses for a provisioner that sees whether an agent lives; `$fixture` makes a fresh
/// [`RevivingFixture`](crate::contract::provisioner::RevivingFixture).
#[macro_export]
macro_rules! provisioner_reviving_contract {
    ($fixture:expr) => {
        $crate::provisioner_contract!(@clauses $fixture;
            the_same_launch_revives_an_agent
            a_machine_without_its_agent_can_be_terminated
        );
    };
}

/// The clauses for a provisioner whose answers can be lost; `$fixture` makes a fresh
/// [`LossyFixture`](crate::contract::provisioner::LossyFixture).
#[macro_export]
macro_rules! provisioner_ambiguity_contract {
    ($fixture:expr) => {
        $crate::provisioner_contract!(@clauses $fixture;
            an_answer_that_is_lost_makes_no_second_machine
        );
    };
}
