//! From the plan to a machine that boots: answers of every kind, and candidates one after the other.

use data_runner_core::cost;
use data_runner_core::event::{Answer, Effect, Event, PlanFailure, Rejection, Request, Submit};
use data_runner_core::execution::{FailureCause, Phase, StateName, WaitingReason};
use data_runner_core::id::Sha256;
use data_runner_core::message::AgentMessage;
use data_runner_core::orchestrator::Policy;
use data_runner_core::port::LaunchAnswer;
use data_runner_core::worker::{Machine, MachineEnd, MachineState, WorkerState, WorkerStateName};
use data_runner_testkit::sample;

use super::{booting, ended, launched, no, planned, running, terminates, tries, waits_for};
use crate::scene::{Scene, candidate, ec2, machine_id, seconds, terminated};

#[test]
fn a_machine_is_asked_for_with_its_deadline_and_with_whose_it_is() {
    let mut it = Scene::new(ec2(1));
    let order = Submit {
        labels: [("tier".to_owned(), "gold".to_owned())].into(),
        keep_warm: seconds(60),
        ..it.order()
    };
    let (timeout, keep_warm) = (order.job.timeout, order.keep_warm);
    let (answer, outcome) = it.request(Request::Submit(order));
    let Some(Answer::Execution(execution)) = answer else { panic!() };
    let [request] = planned(&outcome)[..] else { panic!() };
    assert_eq!(request.tags["tier"], "gold");
    assert_eq!(request.tags["data-runner:execution"], execution.id.to_string());
    assert_eq!(request.tags["data-runner:workflow"], "samples/orders");
    assert_eq!(request.tags["data-runner:attempt"], "1");
    let least = it.now.wall.after(it.policy.launch_within + it.policy.join_within + timeout + keep_warm);
    assert!(request.deadline.is_some_and(|deadline| deadline > least), "time for all that may come");
    let asked = request.clone();
    it.restart();
    assert_eq!(planned(&it.send(Event::Tick)), [&asked], "the same after a restart");
}

#[test]
fn an_execution_shows_every_try_to_get_its_machine() {
    let mut it = Scene::new(ec2(1));
    let id = it.submit();
    let worker = it.only_worker();
    it.offers(worker, &["m5 in a, spot", "m5 in b, spot", "m5 in a"]);
    it.answer_launch(worker, "m5 in a, spot", no("InsufficientInstanceCapacity"));
    let next = it.answer_launch(worker, "m5 in b, spot", no("SpotMaxPriceTooLow"));
    assert_eq!(launched(&next), [(worker, "m5 in a")]);
    let two = [("m5 in a, spot", "InsufficientInstanceCapacity"), ("m5 in b, spot", "SpotMaxPriceTooLow")];
    let two = two.map(|(label, message)| (label.to_owned(), message.to_owned()));
    assert_eq!(tries(&it, id), two);
    it.answer_launch(worker, "m5 in a", no("InsufficientInstanceCapacity"));
    assert_eq!((it.state(id), tries(&it, id).len()), (StateName::Queued, 3));
    assert_eq!((it.execution(id).launch_failures, it.execution(id).attempts.len()), (1, 0));
    assert_eq!(it.it.workers().len(), 0, "nothing is left of it");
}

#[test]
fn only_the_last_tries_are_kept() {
    let mut it = Scene::new(ec2(1));
    let id = it.submit();
    let worker = it.only_worker();
    let labels: Vec<String> = (0..30).map(|n| format!("type {n}")).collect();
    let names: Vec<&str> = labels.iter().map(String::as_str).collect();
    it.offers(worker, &names);
    for name in &names[..25] {
        it.answer_launch(worker, name, no("none left"));
    }
    let kept: Vec<String> = tries(&it, id).into_iter().map(|(label, _)| label).collect();
    assert_eq!(kept, labels[5..25]);
}

#[test]
fn a_machine_without_capacity_after_all_is_replaced_by_the_next_candidate_of_a_new_worker_i7() {
    for end in [MachineEnd::NoCapacity, MachineEnd::Interrupted] {
        let mut it = Scene::new(ec2(1));
        let (id, first) = booting(&mut it, &["a", "b"]);
        let outcome = it.listed(&[(first, ended(end))]);
        let second = it.only_worker();
        assert_ne!(first, second, "the token of the first one is dead");
        assert_eq!(launched(&outcome), [(second, "b")]);
        assert_eq!(it.worker_state(first).name(), WorkerStateName::Terminated);
        assert_eq!(tries(&it, id), [("a".to_owned(), "the cloud says so".to_owned())]);
        let (answer, _) = it.request(Request::Join { worker: first, key: Sha256::of(b"key") });
        assert_eq!(answer, Some(Answer::Rejected(Rejection::NotWelcome(first))));

        it.answer_launch(second, "b", LaunchAnswer::Launched(machine_id(second)));
        it.join(second);
        assert_eq!(it.state(id), StateName::Starting);
        assert_eq!(it.execution(id).launch_failures, 0);
    }
}

#[test]
fn the_last_candidate_that_dies_without_capacity_is_a_failed_launch() {
    let mut it = Scene::new(ec2(1));
    let (id, worker) = booting(&mut it, &["a"]);
    it.listed(&[(worker, ended(MachineEnd::NoCapacity))]);
    assert!(
        matches!(waits_for(&it, id), WaitingReason::Backoff { failure, .. } if failure.cause == FailureCause::NoCapacity)
    );
    assert_eq!((it.execution(id).launch_failures, it.execution(id).attempts.len()), (1, 0));
}

#[test]
fn a_hold_is_told_and_asked_again_in_growing_time_until_it_is_over() {
    let mut it = Scene::new(ec2(5));
    let id = it.submit();
    let mut waits = Vec::new();
    for round in 0..8 {
        let worker = it.only_worker();
        it.offers(worker, &["a"]);
        let message = if round < 7 { "VcpuLimitExceeded: 0 of 32 left" } else { "PendingVerification" };
        it.answer_launch(worker, "a", LaunchAnswer::Hold { message: message.to_owned() });
        assert_eq!(waits_for(&it, id), WaitingReason::Hold { message: message.to_owned() });
        assert_eq!(it.it.workers().len(), 0, "nothing holds a place meanwhile");
        let mut waited = 0;
        while it.state(id) == StateName::Queued {
            it.tick_after(seconds(10));
            waited += 10;
        }
        waits.push(waited);
    }
    assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300, 300]);
    assert_eq!(tries(&it, id).len(), 2, "the same again is one try");
    assert_eq!(it.execution(id).launch_failures, 0, "it is nobody's failure");

    let worker = it.only_worker();
    it.offers(worker, &["a"]);
    it.answer_launch(worker, "a", LaunchAnswer::Launched(machine_id(worker)));
    it.join(worker);
    assert_eq!(it.state(id), StateName::Starting);
}

#[test]
fn whoever_waits_behind_a_hold_hears_of_it_and_of_its_end() {
    let mut it = Scene::new(ec2(1));
    let first = it.submit();
    let second = it.submit();
    let worker = it.only_worker();
    it.offers(worker, &["a"]);
    it.answer_launch(worker, "a", LaunchAnswer::Hold { message: "limit".to_owned() });
    let hold = WaitingReason::Hold { message: "limit".to_owned() };
    assert_eq!((waits_for(&it, first), waits_for(&it, second)), (hold.clone(), hold.clone()));
    let third = it.submit();
    assert_eq!(waits_for(&it, third), hold);
    let wait = it.policy.ask_again;
    it.tick_after(wait);
    let worker = it.only_worker();
    it.offers(worker, &["a"]);
    it.answer_launch(worker, "a", LaunchAnswer::Launched(machine_id(worker)));
    assert_eq!(it.state(first), StateName::Provisioning);
    assert_eq!(waits_for(&it, second), WaitingReason::WorkerLimit { limit: 1 });
}

#[test]
fn a_plan_that_cannot_be_made_now_is_a_hold_and_one_that_does_not_come_too() {
    let mut it = Scene::new(ec2(1));
    let id = it.submit();
    let worker = it.only_worker();
    let message = "the cloud cannot be reached".to_owned();
    it.send(Event::Planned { worker, result: Err(PlanFailure::Unavailable { message: message.clone() }) });
    assert_eq!(waits_for(&it, id), WaitingReason::Hold { message });
    let wait = it.policy.ask_again;
    it.tick_after(wait);
    assert_eq!(it.state(id), StateName::Provisioning);
    let wait = it.policy.plan_within;
    it.tick_after(wait);
    assert!(matches!(waits_for(&it, id), WaitingReason::Hold { .. }));
}

#[test]
fn what_needs_a_person_fails_with_what_to_do_and_holds_up_nobody_else() {
    let mut it = Scene::new(ec2(2));
    let id = it.submit();
    let worker = it.only_worker();
    it.offers(worker, &["a"]);
    let hint = Some("allow ec2:RunInstances".to_owned());
    it.answer_launch(worker, "a", LaunchAnswer::Fatal { message: "denied".to_owned(), hint: hint.clone() });
    let failure = it.failure(id);
    assert_eq!(
        (failure.cause, failure.message.as_str(), failure.hint),
        (FailureCause::Rejected, "denied", hint)
    );
    assert_eq!(tries(&it, id), [("a".to_owned(), "denied".to_owned())]);
    let other = it.submit();
    assert_eq!(it.state(other), StateName::Provisioning);
}

#[test]
fn a_launch_is_not_repeated_while_its_call_may_be_under_way_i7() {
    let mut it = Scene::new(ec2(1));
    it.submit();
    let worker = it.only_worker();
    it.offers(worker, &["a", "b"]);
    assert_eq!(launched(&it.tick_after(seconds(100))), []);
    let wait = it.policy.answer_within - seconds(100);
    assert_eq!(launched(&it.tick_after(wait)), [(worker, "a")], "an answer that was lost altogether");
}

#[test]
fn an_answer_that_stays_ambiguous_is_always_the_same_question_i7() {
    let mut it = Scene::new(Policy { launch_within: seconds(1_000_000), ..ec2(1) });
    it.submit();
    let worker = it.only_worker();
    it.offers(worker, &["a", "b"]);
    for _ in 0..500 {
        it.answer_launch(worker, "a", LaunchAnswer::Unknown { message: "a timeout".to_owned() });
        let wait = it.policy.ask_again;
        assert_eq!(launched(&it.tick_after(wait)), [(worker, "a")]);
        if it.entropy.below(10) == 0 {
            it.restart();
        }
    }
}

#[test]
fn a_launch_that_stays_without_an_answer_is_ended_and_proved_gone_before_another_i7() {
    let mut it = Scene::new(ec2(2));
    let id = it.submit();
    let worker = it.only_worker();
    it.offers(worker, &["a", "b"]);
    let wait = it.policy.launch_within;
    let outcome = it.tick_after(wait);
    assert!(terminates(&outcome, worker));
    it.listed(&[]);
    it.pass(seconds(899));
    it.listed(&[]);
    assert_eq!(it.state(id), StateName::Provisioning, "it may be on its way yet");
    it.pass(seconds(2));
    it.listed(&[]);
    assert_eq!(it.state(id), StateName::Queued);
    assert_eq!(tries(&it, id).len(), 1);
}

#[test]
fn an_answer_that_comes_after_its_candidate_was_left_ends_the_machine_i7() {
    let mut it = Scene::new(ec2(1));
    it.submit();
    let worker = it.only_worker();
    it.offers(worker, &["a", "b"]);
    it.answer_launch(worker, "a", no("none left"));
    let late = "i-late".parse().unwrap();
    let outcome = it.answer_launch(worker, "a", LaunchAnswer::Launched(late));
    let late = Some("i-late".parse().unwrap());
    assert!(outcome.effects.contains(&Effect::Terminate { worker, machine: late }));
    assert!(
        matches!(it.worker_state(worker), WorkerState::Launching { candidate, .. } if candidate.label == "b")
    );
}

#[test]
fn a_second_machine_of_one_worker_goes_on_the_second_round_and_the_first_stays_i7() {
    let mut it = Scene::new(ec2(1));
    let (id, worker) = running(&mut it);
    let show = |it: &mut Scene| {
        it.pass(seconds(10));
        let machine = |name: &str, state| Machine {
            id: name.parse().unwrap(),
            worker,
            state,
            launched_at: sample::at(0),
        };
        let machines = vec![
            machine("i-second", MachineState::Running),
            machine(machine_id(worker).as_str(), MachineState::Running),
            machine("i-dead", terminated()),
        ];
        it.send(Event::Listed { asked_at: it.now.wall, machines })
    };
    assert!(!terminates(&show(&mut it), worker));
    let outcome = show(&mut it);
    let second = Some("i-second".parse().unwrap());
    assert!(outcome.effects.contains(&Effect::Terminate { worker, machine: second }));
    assert_eq!(it.state(id), StateName::Running);
}

#[test]
fn a_machine_that_a_listing_shows_is_launched_as_if_it_had_been_answered() {
    let mut it = Scene::new(ec2(1));
    let id = it.submit();
    let worker = it.only_worker();
    it.offers(worker, &["a"]);
    it.answer_launch(worker, "a", LaunchAnswer::Adopt);
    it.listed(&[(worker, MachineState::Pending)]);
    let launched = it.store.worker_now(worker).unwrap().launched.unwrap();
    assert_eq!((launched.machine, launched.instance_type.as_str()), (machine_id(worker), "local"));
    it.join(worker);
    assert_eq!(it.state(id), StateName::Starting);
}

#[test]
fn what_was_launched_stays_with_the_worker_and_tells_what_it_cost() {
    let mut it = Scene::new(ec2(1));
    let id = it.submit();
    let worker = it.only_worker();
    let mut priced = candidate("a");
    let hour = cost::MachinePrice { instance: 3_600_000, ..Default::default() };
    priced.price = Some(hour);
    it.send(Event::Planned { worker, result: Ok(vec![priced.clone()]) });
    let answer = LaunchAnswer::Launched(machine_id(worker));
    it.send(Event::LaunchAnswered { worker, candidate: Box::new(priced), answer });
    it.pass(seconds(40));
    let session = it.join(worker);
    let claim = it.claim(id);
    it.starts(worker, session, claim);
    it.pass(seconds(100));
    it.exits(worker, session, claim, 0);
    it.send(Event::Tick);
    it.pass(seconds(20));
    it.says(worker, session, AgentMessage::Drained);
    it.listed(&[(worker, terminated())]);
    it.restart();

    let (gone, execution) = (it.store.worker_now(worker).unwrap(), it.execution(id));
    let attempts = [(claim.attempt, execution.attempts[0].clone())];
    let of_worker = cost::of_worker(&gone, &attempts, it.now.wall).unwrap();
    let cost = cost::of_execution(&execution, &[of_worker]).unwrap();
    assert_eq!([cost.boot.0, cost.work.0], [40_000, 100_000]);
    assert_eq!(cost.idle.0, 21_000, "a second that has begun is billed");
    let timeline = execution.attempts[0].timeline(&gone);
    let reached: Vec<Phase> = timeline.reached().map(|(phase, _)| phase).collect();
    use Phase::{Connected, Drained, Finished, Launched, Queued, Started, Terminated};
    assert_eq!(reached, [Queued, Launched, Connected, Started, Finished, Drained, Terminated]);
    assert!(
        timeline.get(Launched) < timeline.get(Connected) && timeline.get(Drained) < timeline.get(Terminated)
    );
}

#[test]
fn who_is_cancelled_while_its_machine_is_launched_needs_no_machine() {
    let mut it = Scene::new(ec2(2));
    let id = it.submit();
    it.cancel(id);
    assert_eq!(it.it.workers().len(), 0, "nothing was launched yet");
    let (id, worker) = booting(&mut it, &["a", "b"]);
    let (_, outcome) = it.cancel(id);
    assert!(terminates(&outcome, worker));
    assert_eq!(tries(&it, id), [("a".to_owned(), "cancelled before it was there".to_owned())]);
    let outcome = it.listed(&[(worker, ended(MachineEnd::NoCapacity))]);
    assert_eq!(launched(&outcome), [], "nobody wants the next candidate");
}
