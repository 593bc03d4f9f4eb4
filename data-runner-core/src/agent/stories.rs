//! What an agent does, story by story. The steps of one job against every answer stand in `every_step`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    unused_must_use
)]

use std::sync::Arc;
use std::time::Duration;

use super::sample::*;
use super::*;
use crate::execution::{Ending, FailureCause, Phase, StopReason};
use crate::id::Epoch;
use crate::log::LogOffset;
use crate::message::{AgentMessage, AttemptStatus, SupervisorMessage, Verdict};
use crate::port::{JobNews, Retry};
use crate::workflow::PackageLock;

#[test]
fn an_agent_connects_at_once_and_says_who_it_is() {
    let mut it = Rig::new(1);
    assert_eq!(it.tick().effects, [AgentEffect::Connect { connection: ConnectionId(1) }]);
    let said = it.said(AgentEvent::Connected { connection: ConnectionId(1) });
    let [AgentMessage::Hello(hello)] = said.as_slice() else { panic!("{said:?}") };
    assert_eq!((hello.incarnation, hello.facts.slots, hello.attempts.len()), (1, 1, 0));
}

#[test]
fn tries_to_connect_wait_longer_each_time_and_never_more_than_five_seconds() {
    let mut it = Rig::new(1);
    let mut waits = Vec::new();
    for _ in 0..12 {
        it.tick();
        let connection = it.agent.connection;
        it.go(AgentEvent::ConnectFailed { connection, retry: Retry::Later });
        waits.push(it.until_deadline());
        it.pass(it.until_deadline());
    }
    assert!((Duration::from_millis(50)..=Duration::from_millis(75)).contains(&waits[0]), "{waits:?}");
    assert!(waits[11] > Duration::from_secs(3) && waits.iter().all(|wait| *wait <= Duration::from_secs(5)));
}

#[test]
fn whoever_is_refused_asks_again_only_seldom() {
    let mut it = Rig::new(1);
    it.tick();
    it.go(AgentEvent::ConnectFailed { connection: ConnectionId(1), retry: Retry::Never });
    assert!(it.until_deadline() > Duration::from_secs(3));
}

#[test]
fn a_supervisor_that_does_not_answer_hello_is_left() {
    let mut it = Rig::new(1);
    it.tick();
    it.go(AgentEvent::Connected { connection: ConnectionId(1) });
    it.pass(Duration::from_secs(10));
    assert_eq!(it.tick().effects, [AgentEffect::Disconnect { connection: ConnectionId(1) }]);
}

#[test]
fn heartbeats_come_as_often_as_the_supervisor_wants() {
    let mut it = Rig::up(1);
    for _ in 0..3 {
        assert_eq!(it.until_deadline(), Duration::from_secs(5));
        it.pass(Duration::from_secs(5));
        assert_eq!(it.said(AgentEvent::Tick), [AgentMessage::HeartBeat]);
    }
}

#[test]
fn a_welcome_under_an_old_epoch_ends_the_session() {
    let mut it = Rig::up(1);
    it.reconnect_silently();
    let mut old = welcome(vec![]);
    old.epoch = Epoch(1);
    let outcome = it.hear(SupervisorMessage::Welcome(old));
    assert_eq!(outcome.rejections, [AgentRejection::StaleEpoch { given: Epoch(1), ours: Epoch(2) }]);
    assert_eq!(outcome.effects, [AgentEffect::Disconnect { connection: ConnectionId(2) }]);
}

#[test]
fn an_attempt_is_on_disk_before_anything_is_done_for_it() {
    let mut it = Rig::up(1);
    let outcome = it.hear(assign(claim(1)));
    let [AgentRecord::Run(record)] = outcome.records.as_slice() else { panic!("{outcome:?}") };
    assert_eq!((record.claim, &record.ended), (claim(1), &None));
    assert!(matches!(outcome.effects[0], AgentEffect::FetchCode { claim: of, .. } if of == claim(1)));
    assert_eq!(said(&outcome), [reached(1, Phase::Connected)]);
}

#[test]
fn a_job_goes_through_its_phases_and_its_folder_goes_last() {
    let mut it = Rig::up(1);
    it.hear(assign(claim(1)));
    let code = it.job(1, JobStep::CodeReady);
    assert_eq!(code.effects[0], AgentEffect::Prepare { claim: claim(1) });
    let environment = it.job(1, JobStep::EnvironmentReady { packages: None });
    assert_eq!(environment.effects[0], AgentEffect::Start { claim: claim(1) });
    let started = it.job(1, JobStep::Started);
    assert_eq!(started.effects[0], AgentEffect::Watch { claim: claim(1), seen: LogOffset(0) });
    assert_eq!(said(&started), [reached(1, Phase::Started)]);
    let news = it.job(1, JobStep::News(JobNews::Log(LogOffset(10))));
    assert!(news.effects.contains(&it.send_log(1, 1, 0, 10)), "{news:?}");
    it.sent(1, 1, 10);
    let ended = it.job(1, ended(0, 10));
    assert_eq!(said(&ended), [finished(1, Ending::Exited { code: 0 }, 10)]);
    assert_eq!(it.hear(status_ack(1)).effects, [], "the log is not acknowledged yet");
    assert_eq!(it.stored(1, 10).effects, [AgentEffect::RemoveFolder { claim: claim(1) }]);
    it.job(1, JobStep::FolderRemoved);
    assert_eq!(it.agent.held().count(), 0);
}

#[test]
fn a_log_that_is_refused_holds_no_folder_back() {
    let mut it = Rig::ended(1, 10);
    it.hear(status_ack(1));
    assert_eq!(it.refused(1).effects, [AgentEffect::RemoveFolder { claim: claim(1) }]);
}

#[test]
fn an_end_is_repeated_until_it_is_acknowledged() {
    let mut it = Rig::ended(1, 0);
    for _ in 0..3 {
        it.pass(Duration::from_secs(5));
        let said = it.said(AgentEvent::Tick);
        assert!(said.contains(&finished(1, Ending::Exited { code: 0 }, 0)), "{said:?}");
    }
    it.hear(status_ack(1));
    it.job(1, JobStep::FolderRemoved);
    it.pass(Duration::from_secs(5));
    assert_eq!(it.said(AgentEvent::Tick), [AgentMessage::HeartBeat]);
}

#[test]
fn a_repeated_assignment_starts_nothing_and_is_answered_with_how_far_it_is() {
    let mut it = Rig::running(1);
    let outcome = it.hear(assign(claim(1)));
    assert!(outcome.records.is_empty());
    assert_eq!(said(&outcome).len(), outcome.effects.len());
    assert_eq!(said(&outcome).last(), Some(&reached(1, Phase::Started)));
}

#[test]
fn an_assignment_of_an_attempt_that_is_over_is_not_followed() {
    let mut it = Rig::ended(1, 0);
    it.hear(status_ack(1));
    it.job(1, JobStep::FolderRemoved);
    let outcome = it.hear(assign(claim(1)));
    assert_eq!(outcome.rejections, [AgentRejection::AlreadyOver { what: "an assignment", claim: claim(1) }]);
    assert!(outcome.effects.is_empty() && outcome.records.is_empty());
}

#[test]
fn an_assignment_under_an_old_epoch_is_ignored() {
    let mut it = Rig::up(1);
    let outcome = it.hear(assign_under(claim(1), Epoch(1)));
    assert_eq!(outcome.rejections, [AgentRejection::StaleEpoch { given: Epoch(1), ours: Epoch(2) }]);
    assert!(outcome.effects.is_empty() && outcome.records.is_empty());
}

#[test]
fn a_higher_epoch_is_on_disk_before_its_command_is_followed() {
    let mut it = Rig::up(1);
    let outcome = it.hear(assign_under(claim(1), Epoch(7)));
    let AgentRecord::Identity(identity) = &outcome.records[0] else { panic!("{outcome:?}") };
    assert_eq!(identity.epoch, Epoch(7));
}

#[test]
fn what_comes_while_every_slot_is_taken_waits_for_one() {
    let mut it = Rig::running(1);
    let waiting = it.hear(assign(claim(2)));
    assert!(waiting.effects.is_empty() && waiting.records.is_empty() && waiting.rejections.is_empty());
    let more = it.hear(assign(claim(3)));
    assert_eq!(more.rejections, [AgentRejection::NoRoom { claim: claim(3) }]);
    let ended = it.job(1, ended(0, 0));
    assert!(
        ended
            .effects
            .iter()
            .any(|effect| matches!(effect, AgentEffect::FetchCode { claim: of, .. } if *of == claim(2)))
    );
}

#[test]
fn the_same_attempt_under_another_lease_stops_the_older_first() {
    let mut it = Rig::running(1);
    let newer = Claim { lease: lease(9), ..claim(1) };
    let outcome = it.hear(assign(newer));
    assert_eq!(outcome.effects, [stop(1, StopReason::Disowned)]);
    let ended = it.job(1, ended(0, 0));
    assert_eq!(ended.effects, [AgentEffect::RemoveFolder { claim: claim(1) }], "nobody hears of its end");
    let removed = it.job(1, JobStep::FolderRemoved);
    assert!(matches!(&removed.records[..], [AgentRecord::Run(record)] if record.claim == newer));
}

#[test]
fn a_cancel_stops_a_running_job_once() {
    let mut it = Rig::running(1);
    assert_eq!(it.hear(cancel(1, StopReason::Cancelled)).effects, [stop(1, StopReason::Cancelled)]);
    assert_eq!(it.hear(cancel(1, StopReason::Cancelled)).effects, []);
}

#[test]
fn a_cancel_before_the_start_breaks_off_and_nothing_is_started() {
    let mut it = Rig::up(1);
    it.hear(assign(claim(1)));
    assert_eq!(it.hear(cancel(1, StopReason::Cancelled)).effects, [AgentEffect::Halt { claim: claim(1) }]);
    let halted = it.job(1, JobStep::Halted);
    assert_eq!(said(&halted), [finished(1, Ending::Stopped { reason: StopReason::Cancelled }, 0)]);
    assert!(matches!(&halted.records[..], [AgentRecord::Run(record)] if record.ended.is_some()));
}

#[test]
fn a_cancel_that_crosses_the_last_step_before_the_start_still_wins() {
    let mut it = Rig::up(1);
    it.hear(assign(claim(1)));
    it.job(1, JobStep::CodeReady);
    it.hear(cancel(1, StopReason::Cancelled));
    let ready = it.job(1, JobStep::EnvironmentReady { packages: None });
    assert_eq!(said(&ready), [finished(1, Ending::Stopped { reason: StopReason::Cancelled }, 0)]);
}

#[test]
fn a_cancel_while_the_job_is_being_started_stops_it_as_soon_as_it_is() {
    let mut it = Rig::up(1);
    it.hear(assign(claim(1)));
    it.job(1, JobStep::CodeReady);
    it.job(1, JobStep::EnvironmentReady { packages: None });
    assert_eq!(it.hear(cancel(1, StopReason::Cancelled)).effects, []);
    assert!(it.job(1, JobStep::Started).effects.contains(&stop(1, StopReason::Cancelled)));
}

#[test]
fn a_cancel_of_what_never_came_here_is_answered_and_remembered() {
    let mut it = Rig::up(1);
    let answer = finished(1, Ending::Stopped { reason: StopReason::Cancelled }, 0);
    assert_eq!(said(&it.hear(cancel(1, StopReason::Cancelled))), std::slice::from_ref(&answer));
    let late = it.hear(assign(claim(1)));
    assert_eq!((said(&late), late.records.len()), (vec![answer], 0), "a late assignment starts nothing");
}

#[test]
fn the_agent_stops_a_job_that_runs_longer_than_it_may_with_or_without_a_supervisor() {
    let mut it = Rig::running(1);
    it.drop_line();
    it.agent.identity.dead_man = Some(Duration::from_secs(1_000_000));
    it.pass(job().timeout);
    assert!(it.tick().effects.contains(&stop(1, StopReason::Timeout)));
}

#[test]
fn code_that_is_late_because_the_line_broke_is_fetched_again_with_the_next_session() {
    let mut it = Rig::up(1);
    it.hear(assign(claim(1)));
    it.drop_line();
    it.job(1, JobStep::CodeDelayed { message: "closed".to_owned() });
    it.pass(Duration::from_secs(60));
    it.reconnect_silently();
    let outcome = it.hear(SupervisorMessage::Welcome(welcome(vec![(claim(1), keep(0))])));
    assert!(
        outcome.effects.iter().any(|effect| matches!(effect, AgentEffect::FetchCode { .. })),
        "{outcome:?}"
    );
}

#[test]
fn code_that_a_connected_supervisor_cannot_deliver_fails_the_attempt_in_the_end() {
    let mut it = Rig::up(1);
    it.hear(assign(claim(1)));
    for _ in 0..4 {
        it.job(1, JobStep::CodeDelayed { message: "no blob".to_owned() });
        it.pass(Duration::from_secs(4));
        assert!(it.tick().effects.iter().any(|effect| matches!(effect, AgentEffect::FetchCode { .. })));
    }
    let outcome = it.job(1, JobStep::CodeDelayed { message: "no blob".to_owned() });
    let [AgentMessage::WorkerStatus(status)] = &said(&outcome)[..] else { panic!("{outcome:?}") };
    let AttemptStatus::Finished(report) = &status.status else { panic!("{status:?}") };
    let Ending::NeverStarted { failure } = &report.ending else { panic!("{report:?}") };
    assert_eq!(failure.cause, FailureCause::Source);
}

#[test]
fn after_a_reconnect_statuses_are_repeated_and_the_log_goes_on_where_the_supervisor_says() {
    let mut it = Rig::running(1);
    it.job(1, JobStep::News(JobNews::Log(LogOffset(100))));
    it.sent(1, 1, 100);
    it.drop_line();
    it.reconnect_silently();
    let outcome = it.hear(SupervisorMessage::Welcome(welcome(vec![(claim(1), keep(40))])));
    let phases: Vec<Phase> = said(&outcome)
        .iter()
        .map(|message| match message {
            AgentMessage::WorkerStatus(status) => match &status.status {
                AttemptStatus::Reached { phase, .. } => *phase,
                AttemptStatus::Finished(report) => panic!("{report:?}"),
            },
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(phases, [Phase::Connected, Phase::CodeReady, Phase::EnvironmentReady, Phase::Started]);
    assert!(outcome.effects.contains(&it.send_log(1, 3, 40, 60)), "{outcome:?}");
}

#[test]
fn a_stop_verdict_stops_the_job_and_forgets_it_without_a_report() {
    let mut it = Rig::running(1);
    it.drop_line();
    it.reconnect_silently();
    let outcome = it.hear(SupervisorMessage::Welcome(welcome(vec![(claim(1), Verdict::Stop)])));
    assert_eq!(outcome.effects, [stop(1, StopReason::Disowned)]);
    assert_eq!(it.job(1, ended(0, 50)).effects, [AgentEffect::RemoveFolder { claim: claim(1) }]);
}

#[test]
fn an_attempt_that_welcome_forgets_is_kept_and_the_omission_is_seen() {
    let mut it = Rig::running(1);
    it.drop_line();
    it.reconnect_silently();
    let outcome = it.hear(SupervisorMessage::Welcome(welcome(vec![])));
    assert_eq!(outcome.rejections, [AgentRejection::NoVerdict { claim: claim(1) }]);
    assert_eq!(it.agent.held().count(), 1);
}

#[test]
fn what_an_older_session_says_changes_nothing() {
    let mut it = Rig::up(1);
    it.drop_line();
    it.reconnect_silently();
    it.hear(SupervisorMessage::Welcome(welcome(vec![])));
    let connection = ConnectionId(1);
    let outcome = it.go(AgentEvent::Heard { connection, message: Box::new(assign(claim(1))) });
    assert_eq!(outcome.rejections, [AgentRejection::OutOfSession { what: "a message", connection }]);
    assert!(it.go(AgentEvent::Disconnected { connection }).effects.is_empty());
    assert!(it.agent.is_up());
}

#[test]
fn commands_before_welcome_are_not_followed() {
    let mut it = Rig::new(1);
    it.tick();
    it.go(AgentEvent::Connected { connection: ConnectionId(1) });
    for command in [assign(claim(1)), cancel(1, StopReason::Cancelled), status_ack(1), drain()] {
        let outcome = it.hear(command);
        assert!(matches!(outcome.rejections[..], [AgentRejection::OutOfSession { .. }]), "{outcome:?}");
        assert!(outcome.effects.is_empty() && outcome.records.is_empty());
    }
}

#[test]
fn a_restarted_agent_adopts_what_it_held_and_starts_nothing() {
    let mut it = Rig::running(1).restarted();
    let outcome = it.tick();
    assert!(
        matches!(&outcome.effects[..], [AgentEffect::Connect { .. }, AgentEffect::Adopt { claim: of, .. }] if *of == claim(1))
    );
    let adopted = it.job(1, JobStep::Adopted { running_for: Duration::from_secs(60) });
    assert_eq!(adopted.effects, [AgentEffect::Watch { claim: claim(1), seen: LogOffset(0) }]);
}

#[test]
fn a_restarted_agent_reports_what_it_cannot_find_as_vanished() {
    let mut it = Rig::up(1);
    it.hear(assign(claim(1)));
    let mut it = it.restarted();
    it.tick();
    let outcome = it.job(1, JobStep::NotFound { message: "gone".to_owned() });
    assert!(outcome.effects.is_empty(), "it is never started: {outcome:?}");
    it.reconnect_silently();
    let said = said(&it.hear(SupervisorMessage::Welcome(welcome(vec![(claim(1), keep(0))]))));
    assert!(said.contains(&finished(1, Ending::Vanished { message: "gone".to_owned() }, 0)), "{said:?}");
}

#[test]
fn a_job_that_cannot_be_looked_for_is_looked_for_again_and_not_given_up() {
    let mut it = Rig::running(1).restarted();
    it.tick();
    it.job(1, JobStep::AdoptFailed);
    it.pass(Duration::from_secs(1));
    assert!(it.tick().effects.iter().any(|effect| matches!(effect, AgentEffect::Adopt { .. })));
}

#[test]
fn a_start_that_failed_half_way_is_looked_for_before_anything_is_said() {
    let mut it = Rig::up(1);
    it.hear(assign(claim(1)));
    it.job(1, JobStep::CodeReady);
    it.job(1, JobStep::EnvironmentReady { packages: None });
    let unclear = it.job(1, JobStep::Unclear);
    assert!(matches!(&unclear.effects[..], [AgentEffect::Adopt { .. }]), "{unclear:?}");
}

#[test]
fn a_drained_agent_ends_when_nothing_is_left() {
    let mut it = Rig::running(1);
    assert_eq!(said(&it.hear(drain())), [AgentMessage::Draining]);
    it.job(1, ended(0, 0));
    it.hear(status_ack(1));
    let outcome = it.job(1, JobStep::FolderRemoved);
    assert_eq!(said(&outcome), [AgentMessage::Drained]);
    assert_eq!(outcome.effects.last(), Some(&AgentEffect::End(EndReason::Drained)));
    assert_eq!(it.tick().rejections, [AgentRejection::Ended]);
}

#[test]
fn an_idle_agent_ends_at_once_on_a_signal_even_without_a_supervisor() {
    let mut it = Rig::new(1);
    let outcome = it.go(AgentEvent::Terminate);
    assert_eq!(outcome.effects.last(), Some(&AgentEffect::End(EndReason::Drained)));
}

#[test]
fn a_draining_agent_declines_what_comes_late() {
    let mut it = Rig::running(1);
    it.go(AgentEvent::Terminate);
    let outcome = it.hear(assign(claim(2)));
    assert!(outcome.records.is_empty());
    let [AgentMessage::WorkerStatus(status)] = &said(&outcome)[..] else { panic!("{outcome:?}") };
    let AttemptStatus::Finished(report) = &status.status else { panic!("{status:?}") };
    assert!(
        matches!(&report.ending, Ending::NeverStarted { failure } if failure.cause == FailureCause::Interrupted)
    );
}

#[test]
fn the_second_signal_stops_the_jobs_and_their_ends_are_still_reported() {
    let mut it = Rig::running(1);
    it.go(AgentEvent::Terminate);
    assert_eq!(it.go(AgentEvent::Terminate).effects, [stop(1, StopReason::Interrupted)]);
    assert_eq!(said(&it.job(1, stopped(StopReason::Interrupted))).len(), 1);
    it.hear(status_ack(1));
    let outcome = it.job(1, JobStep::FolderRemoved);
    assert_eq!(outcome.effects.last(), Some(&AgentEffect::End(EndReason::Drained)));
}

#[test]
fn after_the_second_signal_a_silent_supervisor_is_not_waited_for_long() {
    let mut it = Rig::running(1);
    it.go(AgentEvent::Terminate);
    it.go(AgentEvent::Terminate);
    it.job(1, stopped(StopReason::Interrupted));
    it.pass(Duration::from_secs(10));
    assert_eq!(it.tick().effects.last(), Some(&AgentEffect::End(EndReason::Stopped)));
    assert_eq!(it.agent.held().count(), 1, "the result stays on disk");
}

#[test]
fn without_a_supervisor_for_too_long_jobs_are_stopped_and_results_stay() {
    let mut it = Rig::running(1);
    it.drop_line();
    it.pass(DEAD_MAN - Duration::from_millis(1));
    assert!(!it.tick().effects.contains(&stop(1, StopReason::Interrupted)));
    it.pass(Duration::from_millis(1));
    assert!(it.tick().effects.contains(&stop(1, StopReason::Interrupted)));
    assert!(it.deadline().is_none_or(|deadline| deadline.at > it.now.mono), "it does not spin");
    let outcome = it.job(1, stopped(StopReason::Interrupted));
    assert_eq!(outcome.effects, [AgentEffect::End(EndReason::Abandoned)]);
    assert_eq!(it.agent.held().count(), 1);
}

#[test]
fn a_supervisor_that_comes_back_in_time_resets_the_dead_man_timer() {
    let mut it = Rig::running(1);
    for _ in 0..3 {
        it.drop_line();
        it.pass(DEAD_MAN / 2);
        it.reconnect_silently();
        it.hear(SupervisorMessage::Welcome(welcome(vec![(claim(1), keep(0))])));
        it.pass(DEAD_MAN * 2);
        assert!(!it.tick().effects.contains(&stop(1, StopReason::Interrupted)));
    }
}

#[test]
fn the_dead_man_timer_of_the_last_welcome_holds_over_a_restart() {
    let it = Rig::up(1).restarted();
    assert_eq!(it.agent.identity.dead_man, Some(DEAD_MAN));
}

#[test]
fn the_packages_of_an_environment_are_told_with_every_report_from_then_on_also_by_the_next_process() {
    let packages = Some(Arc::new(PackageLock::of_freeze("3.12.4", "polars==2.1.0\n").unwrap()));
    let told = |outcome: &AgentOutcome| -> Vec<_> {
        let statuses = said(outcome).into_iter().filter_map(|message| match message {
            AgentMessage::WorkerStatus(status) => Some(status.packages),
            _ => None,
        });
        statuses.collect()
    };
    let mut it = Rig::up(1);
    it.hear(assign(claim(1)));
    assert_eq!(told(&it.job(1, JobStep::CodeReady)), [None]);
    let ready = it.job(1, JobStep::EnvironmentReady { packages: packages.clone() });
    assert_eq!(told(&ready), std::slice::from_ref(&packages));
    assert!(matches!(&ready.records[..], [AgentRecord::Run(record)] if record.packages == packages));
    assert_eq!(told(&it.job(1, JobStep::Started)), std::slice::from_ref(&packages));
    let mut it = it.restarted();
    it.tick();
    let hello = it.said(AgentEvent::Connected { connection: ConnectionId(1) });
    let [AgentMessage::Hello(hello)] = hello.as_slice() else { panic!("{hello:?}") };
    assert_eq!(hello.attempts[0].packages, packages);
}
