//! Clauses about sessions and what is said on them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use data_runner_core::execution::Phase;
use data_runner_core::id::Epoch;
use data_runner_core::message::{AgentMessage, Assign, AttemptStatus, SupervisorMessage, WorkerStatus};
use data_runner_core::port::{SessionEvent, TransportError};
use data_runner_core::workflow::JobSpec;

use super::{Ends, agent_messages, claim, said, supervisor_messages, within};
use crate::sample::{self, worker_id};

/// Opened, then Closed when the agent drops its end; then nothing of it.
pub async fn a_session_opens_once_and_closes_once(ends: Ends) {
    let (agent, session) = ends.opened(worker_id(1)).await;
    within(agent.send(AgentMessage::HeartBeat)).await.unwrap();
    assert_eq!(ends.message().await, (session, AgentMessage::HeartBeat));
    drop(agent);
    let closed = ends.event().await;
    assert_eq!((closed.session, closed.worker), (session, worker_id(1)));
    assert_eq!(closed.what, SessionEvent::Closed);
    // The next event is of somebody else.
    ends.supervisor.close(session).await;
    ends.opened(worker_id(2)).await;
}

/// Thousands each way, at the same time.
pub async fn messages_arrive_in_order_both_ways(ends: Ends) {
    const MESSAGES: u64 = 3_000;
    let (agent, session) = ends.opened(worker_id(1)).await;
    let up = async {
        for n in 0..MESSAGES {
            within(agent.send(numbered(n))).await.unwrap();
        }
    };
    let hear_up = async {
        for n in 0..MESSAGES {
            let (_, message) = ends.message().await;
            assert_eq!(message, numbered(n));
            // An answer to each, so that no more are on their way than the agent takes.
            within(ends.supervisor.send(session, SupervisorMessage::Drain { epoch: Epoch(n) }))
                .await
                .unwrap();
            tokio::task::yield_now().await;
        }
    };
    let hear_down = async {
        for n in 0..MESSAGES {
            let message = within(agent.receive()).await.unwrap();
            assert_eq!(message, SupervisorMessage::Drain { epoch: Epoch(n) });
        }
    };
    tokio::join!(up, hear_up, hear_down);
}

fn numbered(n: u64) -> AgentMessage {
    let status = AttemptStatus::Reached { phase: Phase::Started, ago: Duration::from_micros(n) };
    AgentMessage::WorkerStatus(WorkerStatus { claim: claim(n), status, packages: None })
}

/// Every kind of message, with every kind of content.
pub async fn every_message_of_an_agent_arrives_as_it_was_said(ends: Ends) {
    let (agent, session) = ends.opened(worker_id(1)).await;
    for message in agent_messages() {
        within(agent.send(message.clone())).await.unwrap();
        assert_eq!(ends.message().await, (session, message));
    }
}

/// The same the other way.
pub async fn every_message_of_the_supervisor_arrives_as_it_was_said(ends: Ends) {
    let (agent, session) = ends.opened(worker_id(1)).await;
    for message in supervisor_messages() {
        within(ends.supervisor.send(session, message.clone())).await.unwrap();
        assert_eq!(within(agent.receive()).await.unwrap(), message);
    }
}

/// A `receive` that is given up, at either end, takes nothing with it.
pub async fn receive_is_cancel_safe(ends: Ends) {
    const MESSAGES: u64 = 300;
    let (agent, session) = ends.opened(worker_id(1)).await;
    let up = async {
        for n in 0..MESSAGES {
            within(agent.send(numbered(n))).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let hear_up = async {
        for n in 0..MESSAGES {
            let event = loop {
                if let Some(event) = said::given_up(ends.supervisor.receive()).await {
                    break event.unwrap();
                }
            };
            assert_eq!(event.what, SessionEvent::Message(Box::new(numbered(n))));
        }
    };
    within(async { tokio::join!(up, hear_up) }).await;

    let down = async {
        for n in 0..MESSAGES {
            within(ends.supervisor.send(session, heavy(n, 3_000))).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let hear_down = async {
        for n in 0..MESSAGES {
            let message = loop {
                if let Some(message) = said::given_up(agent.receive()).await {
                    break message.unwrap();
                }
            };
            assert_eq!(message, heavy(n, 3_000));
        }
    };
    within(async { tokio::join!(down, hear_down) }).await;
}

/// An assignment of about that many bytes.
fn heavy(n: u64, bytes: usize) -> SupervisorMessage {
    let env = BTreeMap::from([("PADDING".to_owned(), "x".repeat(bytes))]);
    SupervisorMessage::Assign(Assign {
        claim: claim(n),
        epoch: Epoch(1),
        job: Arc::new(JobSpec { env, ..sample::job() }),
    })
}

/// What each says is known as what that one said.
pub async fn two_workers_speak_at_once(ends: Ends) {
    let (one, session_one) = ends.opened(worker_id(1)).await;
    let (two, session_two) = ends.opened(worker_id(2)).await;
    assert_ne!(session_one, session_two);
    let speak = async {
        for n in 0..200 {
            let (a, b) = tokio::join!(one.send(numbered(n)), two.send(numbered(1_000 + n)));
            a.and(b).unwrap();
        }
    };
    let hear = async {
        let mut next = BTreeMap::from([(session_one, 0), (session_two, 1_000)]);
        for _ in 0..400 {
            let event = ends.event().await;
            let worker = if event.session == session_one { worker_id(1) } else { worker_id(2) };
            let n = next.get_mut(&event.session).expect("one of the two");
            assert_eq!(event.worker, worker);
            assert_eq!(event.what, SessionEvent::Message(Box::new(numbered(*n))));
            *n += 1;
        }
    };
    within(async { tokio::join!(speak, hear) }).await;
    for (session, agent, n) in [(session_two, &two, 2), (session_one, &one, 1)] {
        let ack = SupervisorMessage::StatusAck { claim: claim(n) };
        within(ends.supervisor.send(session, ack.clone())).await.unwrap();
        assert_eq!(within(agent.receive()).await.unwrap(), ack);
    }
}

/// The same worker, another session.
pub async fn a_reconnect_is_a_new_session(ends: Ends) {
    let (agent, first) = ends.opened(worker_id(1)).await;
    drop(agent);
    assert_eq!(ends.event().await.what, SessionEvent::Closed);
    let (agent, second) = ends.opened(worker_id(1)).await;
    assert_ne!(first, second);
    within(agent.send(AgentMessage::HeartBeat)).await.unwrap();
    assert_eq!(ends.message().await, (second, AgentMessage::HeartBeat));
}

/// `Closed`, for messages and for acknowledgements, whoever ended it, and for a session that never was.
pub async fn a_send_to_a_session_that_is_gone_is_closed(ends: Ends) {
    let (agent, dropped) = ends.opened(worker_id(1)).await;
    drop(agent);
    assert_eq!(ends.event().await.what, SessionEvent::Closed);
    let (_agent, closed) = ends.opened(worker_id(1)).await;
    ends.supervisor.close(closed).await;
    for session in [dropped, closed, sample::session_id(999)] {
        let sent = within(ends.supervisor.send(session, SupervisorMessage::Drain { epoch: Epoch(1) })).await;
        assert!(matches!(sent, Err(TransportError::Closed)), "{sent:?}");
        let acked = within(ends.supervisor.send_log_ack(session, super::log_acks()[0])).await;
        assert!(matches!(acked, Err(TransportError::Closed)), "{acked:?}");
    }
}

/// On every call, and again and again.
pub async fn an_agent_hears_that_its_session_was_closed(ends: Ends) {
    let (agent, session) = ends.opened(worker_id(1)).await;
    ends.supervisor.close(session).await;
    let closed = ends.event().await;
    assert_eq!((closed.session, closed.what), (session, SessionEvent::Closed));
    for _ in 0..2 {
        let heard = within(agent.receive()).await;
        assert!(matches!(heard, Err(TransportError::Closed)), "{heard:?}");
        let acked = within(agent.receive_log_ack()).await;
        assert!(matches!(acked, Err(TransportError::Closed)), "{acked:?}");
        let sent = within(agent.send(AgentMessage::HeartBeat)).await;
        assert!(matches!(sent, Err(TransportError::Closed)), "{sent:?}");
        let logged = within(agent.send_log(said::piece(0, "x".into()))).await;
        assert!(matches!(logged, Err(TransportError::Closed)), "{logged:?}");
    }
}

/// Two sessions of one worker: closing the older leaves the newer alone.
pub async fn a_stale_session_is_closed_and_the_newer_one_lives(ends: Ends) {
    let (older, stale) = ends.opened(worker_id(1)).await;
    let (newer, fresh) = ends.opened(worker_id(1)).await;
    ends.supervisor.close(stale).await;
    let closed = ends.event().await;
    assert_eq!((closed.session, closed.what), (stale, SessionEvent::Closed));
    assert!(matches!(within(older.receive()).await, Err(TransportError::Closed)));
    within(newer.send(AgentMessage::HeartBeat)).await.unwrap();
    assert_eq!(ends.message().await, (fresh, AgentMessage::HeartBeat));
    let drain = SupervisorMessage::Drain { epoch: Epoch(3) };
    within(ends.supervisor.send(fresh, drain.clone())).await.unwrap();
    assert_eq!(within(newer.receive()).await.unwrap(), drain);
}

/// An agent that takes nothing: sends to it never wait, and in the end it loses its session; the other agent is served
/// all the while.
pub async fn a_stuck_session_does_not_block_others(ends: Ends) {
    const ENOUGH: u64 = 100_000;
    let (_stuck, session_stuck) = ends.opened(worker_id(1)).await;
    let (healthy, session_healthy) = ends.opened(worker_id(2)).await;
    let mut sent = 0;
    while within(ends.supervisor.send(session_stuck, heavy(sent, 16_000))).await.is_ok() {
        sent += 1;
        assert!(sent < ENOUGH, "an agent that takes nothing is fed for ever");
        if sent % 100 == 0 {
            let drain = SupervisorMessage::Drain { epoch: Epoch(sent) };
            within(ends.supervisor.send(session_healthy, drain.clone())).await.unwrap();
            assert_eq!(within(healthy.receive()).await.unwrap(), drain);
        }
    }
    let closed = ends.event().await;
    assert_eq!((closed.session, closed.what), (session_stuck, SessionEvent::Closed));
    within(healthy.send(AgentMessage::HeartBeat)).await.unwrap();
    assert_eq!(ends.message().await, (session_healthy, AgentMessage::HeartBeat));
}

/// Every session says Closed, then `receive` and `receive_log` do; agents hear it, and no new session begins.
pub async fn shut_down_closes_every_session_and_takes_no_new_ones(ends: Ends) {
    let (one, session_one) = ends.opened(worker_id(1)).await;
    let (two, session_two) = ends.opened(worker_id(2)).await;
    within(ends.supervisor.shut_down()).await;
    let mut closed = Vec::new();
    for _ in 0..2 {
        let event = ends.event().await;
        assert_eq!(event.what, SessionEvent::Closed);
        closed.push(event.session);
    }
    closed.sort_unstable();
    let mut expected = [session_one, session_two];
    expected.sort_unstable();
    assert_eq!(closed, expected);
    for _ in 0..2 {
        assert!(matches!(within(ends.supervisor.receive()).await, Err(TransportError::Closed)));
        assert!(matches!(within(ends.supervisor.receive_log(1)).await, Err(TransportError::Closed)));
    }
    for agent in [one, two] {
        assert!(matches!(within(agent.receive()).await, Err(TransportError::Closed)));
    }
    assert!(within(ends.agent.connect(worker_id(3))).await.is_err());
}
