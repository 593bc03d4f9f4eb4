//! What becomes of executions that ran out of memory and may go a size up.

use std::time::Duration;

use data_runner_core::event::{Change, Event, EventKind, Outcome, Submit};
use data_runner_core::execution::{
    Backoff, Ending, ExecutionState, FailureCause, RetryPolicy, RetryRule, StateName,
};
use data_runner_core::id::{AttemptNumber, ExecutionId};
use data_runner_core::message::{Assign, SupervisorMessage};
use data_runner_core::orchestrator::Policy;
use data_runner_core::settings::SizePatterns;
use data_runner_core::worker::MachineRequest;
use data_runner_core::workflow::{Compute, OnOutOfMemory};
use data_runner_testkit::sample;

use crate::scene::{Scene, ec2, finished, joined, sent, terminated};

const OUT_OF_MEMORY: Ending = Ending::OutOfMemory { limit_bytes: Some(4 << 30) };

fn larger() -> Compute {
    Compute { on_out_of_memory: OnOutOfMemory::Larger, ..Compute::default() }
}

fn times(max_attempts: u32) -> RetryPolicy {
    let backoff = Backoff { initial: Duration::from_secs(7), factor: 1.0, max: Duration::from_secs(7) };
    RetryPolicy { rules: vec![RetryRule { on: vec![FailureCause::OutOfMemory], max_attempts, backoff }] }
}

/// An execution that may go a size up, on a machine of its own, until its first attempt ran out of memory.
fn exhausted(allowed: &[&str], order: impl FnOnce(Submit) -> Submit) -> (Scene, ExecutionId) {
    let allowed_sizes = SizePatterns(allowed.iter().map(|it| (*it).to_owned()).collect());
    let mut it = Scene::new(Policy { allowed_sizes, ..ec2(5) });
    let plain = it.order();
    let id = it.submit_as(order(Submit { compute: larger(), ..plain }));
    run_out(&mut it, id);
    (it, id)
}

/// The machine that it waits for comes, and its job runs out of memory there.
fn run_out(it: &mut Scene, id: ExecutionId) -> Outcome {
    let ExecutionState::Provisioning { worker, .. } = it.execution(id).state else {
        panic!("it waits for no machine: {:?}", it.execution(id).state)
    };
    it.launch(worker);
    let session = it.join(worker);
    let claim = it.claim(id);
    it.starts(worker, session, claim);
    let outcome = it.reports(worker, session, claim, finished(OUT_OF_MEMORY, 0));
    it.listed(&[(worker, terminated())]);
    it.send(Event::Tick);
    outcome
}

/// The machine that is wanted for its next attempt.
fn wanted(it: &Scene, id: ExecutionId) -> MachineRequest {
    it.policy.machine_for(&it.execution(id), it.now.wall).unwrap()
}

fn events(outcome: &Outcome, wanted: EventKind) -> Vec<String> {
    let message = |change: &Change| match change {
        Change::Record(record) if record.kind == wanted => Some(record.message.clone()),
        _ => None,
    };
    outcome.changes.iter().filter_map(message).collect()
}

#[test]
fn one_that_ran_out_of_memory_goes_on_at_once_on_the_next_size_and_says_so() {
    let (mut it, id) = exhausted(&[], |order| order);
    let execution = it.execution(id);
    assert_eq!(execution.state.name(), StateName::Provisioning, "it does not wait");
    assert_eq!((execution.instance_size.as_str(), execution.size()), ("t3.medium", "t3.large"));
    assert_eq!(execution.size_of(AttemptNumber(1)), "t3.medium");
    assert_eq!(wanted(&it, id).instance_size, "t3.large");
    it.restart();
    assert_eq!(wanted(&it, id).instance_size, "t3.large", "also after a restart");
    let ExecutionState::Provisioning { worker, .. } = it.execution(id).state else { panic!("it waits") };
    it.launch(worker);
    let (_, outcome) = it.connect(worker, Vec::new());
    let assigned = sent(&outcome).into_iter().find_map(|message| match message {
        SupervisorMessage::Assign(Assign { job, .. }) => Some(job.resources.memory_bytes),
        _ => None,
    });
    assert_eq!(assigned, Some(8 << 30), "the job may use what its machine has");
    assert_eq!(it.execution(id).size_of(AttemptNumber(2)), "t3.large");
    assert_eq!(it.execution(id).job.resources.memory_bytes, 4 << 30, "what was asked for is not rewritten");
}

#[test]
fn the_event_names_both_sizes() {
    let mut it = Scene::new(ec2(5));
    let plain = it.order();
    let id = it.submit_as(Submit { compute: larger(), ..plain });
    let told = events(&run_out(&mut it, id), EventKind::ExecutionRetrying);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].ends_with("tried again in 0 s on t3.large instead of t3.medium"), "{told:?}");
}

#[test]
fn one_more_attempt_is_granted_and_the_failure_says_how_to_go_further() {
    let (mut it, id) = exhausted(&[], |order| order);
    run_out(&mut it, id);
    let failure = it.failure(id);
    assert_eq!(failure.cause, FailureCause::OutOfMemory);
    let hint = failure.hint.unwrap();
    assert!(hint.contains("it did once, to t3.large") && hint.contains("retries"), "{hint}");
    assert_eq!(it.execution(id).attempts.len(), 2);
}

#[test]
fn where_retries_name_the_cause_their_count_and_wait_hold_and_each_attempt_is_larger() {
    let (mut it, id) = exhausted(&[], |order| Submit { retries: times(3), ..order });
    assert_eq!(it.state(id), StateName::Queued, "it waits as the rule says");
    it.tick_after(Duration::from_secs(7));
    run_out(&mut it, id);
    it.tick_after(Duration::from_secs(7));
    assert_eq!(wanted(&it, id).instance_size, "t3.xlarge");
    run_out(&mut it, id);
    assert_eq!((it.state(id), it.execution(id).attempts.len()), (StateName::Failed, 3));
    let (it, id) = exhausted(&[], |order| Submit { retries: times(1), ..order });
    assert_eq!(it.state(id), StateName::Failed, "one attempt is no more than one");
}

#[test]
fn only_sizes_that_the_operator_allows_are_gone_up_to() {
    let (it, id) = exhausted(&["t3.medium", "t3.2xlarge"], |order| order);
    assert_eq!(wanted(&it, id).instance_size, "t3.2xlarge");
    let (it, id) = exhausted(&["t3.medium", "m6i.*"], |order| order);
    let hint = it.failure(id).hint.unwrap();
    assert!(hint.contains("t3.medium is the largest of its family that may be had here"), "{hint}");
}

#[test]
fn without_leave_and_for_other_causes_nothing_grows() {
    let (it, id) = exhausted(&[], |order| Submit { compute: Compute::default(), ..order });
    assert_eq!(it.state(id), StateName::Failed);
    let mut it = Scene::new(joined());
    let plain = it.order();
    let (worker, order) = (sample::worker_id(9), Submit { compute: larger(), ..plain });
    let session = it.join(worker);
    let id = it.submit_as(order);
    let claim = it.claim(id);
    it.starts(worker, session, claim);
    it.exits(worker, session, claim, 1);
    assert_eq!((it.state(id), it.execution(id).size()), (StateName::Failed, "t3.medium"));
}

#[test]
fn what_it_would_fall_back_to_has_as_much_memory_at_least() {
    let sizes = ["m6i.large", "c6i.large", "t3.large", "t3.xlarge"].map(|size| size.parse().unwrap());
    let compute = Compute { fallback_instance_sizes: sizes.into(), ..larger() };
    let (it, id) = exhausted(&[], |order| Submit { compute, ..order });
    let fallbacks: Vec<String> =
        wanted(&it, id).compute.fallback_instance_sizes.into_iter().map(String::from).collect();
    assert_eq!(fallbacks, ["m6i.large", "t3.xlarge"]);
}

#[test]
fn a_worker_that_has_no_more_memory_is_not_asked_for_more() {
    let mut it = Scene::new(joined());
    let (plain, worker) = (it.order(), sample::worker_id(9));
    let session = it.join(worker);
    // The sample's machine has 8 GiB: a t3.medium may grow there to a t3.large, which may not grow any more.
    let id = it.submit_as(Submit { compute: larger(), retries: times(5), ..plain });
    for expected in ["t3.large", "t3.large"] {
        let claim = it.claim(id);
        it.starts(worker, session, claim);
        it.reports(worker, session, claim, finished(OUT_OF_MEMORY, 0));
        assert_eq!(it.execution(id).size(), expected);
        it.tick_after(Duration::from_secs(7));
    }
}

#[test]
fn a_cancelled_one_does_not_grow() {
    let mut it = Scene::new(joined());
    let (plain, worker) = (it.order(), sample::worker_id(9));
    let session = it.join(worker);
    let id = it.submit_as(Submit { compute: larger(), ..plain });
    let claim = it.claim(id);
    it.starts(worker, session, claim);
    it.cancel(id);
    it.reports(worker, session, claim, finished(OUT_OF_MEMORY, 0));
    assert_eq!((it.state(id), it.execution(id).attempts.len()), (StateName::Cancelled, 1));
}
