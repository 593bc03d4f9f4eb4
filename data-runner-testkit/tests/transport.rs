//! The in-memory Transport keeps the contract, and its knobs do what they say.
#![cfg(feature = "transport")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use data_runner_core::id::Epoch;
use data_runner_core::message::{AgentMessage, SupervisorMessage};
use data_runner_core::port::{
    AgentGate, AgentTransport, SessionEvent, Transport, TransportError, TransportEvent,
};
use data_runner_testkit::memory::transport::{Direction, MESSAGES_IN_FLIGHT, MemoryNetwork};
use data_runner_testkit::sample::worker_id;

async fn make(gate: Arc<dyn AgentGate>) -> (Arc<dyn Transport>, Arc<dyn AgentTransport>) {
    let network = MemoryNetwork::new();
    network.set_gate(gate);
    (network.supervisor(), network.agent())
}

data_runner_testkit::transport_contract!(make);

async fn next(supervisor: &dyn Transport) -> SessionEvent {
    supervisor.receive().await.unwrap().what
}

async fn silent(supervisor: &dyn Transport) -> Option<TransportEvent> {
    tokio::time::timeout(Duration::from_secs(3600), supervisor.receive()).await.ok().map(Result::unwrap)
}

fn heartbeat() -> SessionEvent {
    SessionEvent::Message(Box::new(AgentMessage::HeartBeat))
}

const DRAIN: SupervisorMessage = SupervisorMessage::Drain { epoch: Epoch(1) };

#[tokio::test(start_paused = true)]
async fn a_cut_ends_the_session_at_both_ends_and_a_new_connect_works() {
    let network = MemoryNetwork::new();
    let supervisor = network.supervisor();
    let agent = network.agent().connect(worker_id(1)).await.unwrap();
    assert_eq!(next(&*supervisor).await, SessionEvent::Opened);
    let (heard, ()) = tokio::join!(agent.receive(), async { network.cut(worker_id(1)) });
    assert!(matches!(heard, Err(TransportError::Closed)));
    assert!(matches!(agent.send(AgentMessage::HeartBeat).await, Err(TransportError::Closed)));
    assert_eq!(next(&*supervisor).await, SessionEvent::Closed);
    drop(agent);
    assert_eq!(silent(&*supervisor).await, None);
    network.agent().connect(worker_id(1)).await.unwrap();
    assert_eq!(next(&*supervisor).await, SessionEvent::Opened);
}

#[tokio::test(start_paused = true)]
async fn what_is_said_in_a_partition_arrives_in_order_when_it_heals() {
    let network = MemoryNetwork::new();
    let supervisor = network.supervisor();
    let agent = network.agent().connect(worker_id(1)).await.unwrap();
    let session = supervisor.receive().await.unwrap().session;
    network.partition(worker_id(1), Direction::Both);
    agent.send(AgentMessage::HeartBeat).await.unwrap();
    agent.send(AgentMessage::Draining).await.unwrap();
    supervisor.send(session, DRAIN).await.unwrap();
    assert_eq!(silent(&*supervisor).await, None);
    assert!(tokio::time::timeout(Duration::from_secs(3600), agent.receive()).await.is_err());
    let refused = network.agent().connect(worker_id(1)).await;
    assert!(matches!(refused.err(), Some(TransportError::Unreachable { .. })));
    network.heal(worker_id(1));
    assert_eq!(next(&*supervisor).await, heartbeat());
    assert_eq!(next(&*supervisor).await, SessionEvent::Message(Box::new(AgentMessage::Draining)));
    assert_eq!(agent.receive().await.unwrap(), DRAIN);
}

#[tokio::test(start_paused = true)]
async fn a_partition_one_way_lets_the_other_way_pass() {
    let network = MemoryNetwork::new();
    let supervisor = network.supervisor();
    let agent = network.agent().connect(worker_id(1)).await.unwrap();
    let session = supervisor.receive().await.unwrap().session;
    network.partition(worker_id(1), Direction::Down);
    agent.send(AgentMessage::HeartBeat).await.unwrap();
    assert_eq!(next(&*supervisor).await, heartbeat());
    network.partition(worker_id(1), Direction::Up);
    supervisor.send(session, DRAIN).await.unwrap();
    assert_eq!(agent.receive().await.unwrap(), DRAIN);
    agent.send(AgentMessage::HeartBeat).await.unwrap();
    assert_eq!(silent(&*supervisor).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_session_closed_in_a_partition_ends_at_the_other_end_when_it_heals() {
    let network = MemoryNetwork::new();
    let supervisor = network.supervisor();
    let agent = network.agent().connect(worker_id(1)).await.unwrap();
    let session = supervisor.receive().await.unwrap().session;
    network.partition(worker_id(1), Direction::Both);
    supervisor.close(session).await;
    assert_eq!(next(&*supervisor).await, SessionEvent::Closed);
    agent.send(AgentMessage::HeartBeat).await.unwrap();
    network.heal(worker_id(1));
    assert!(matches!(agent.receive().await, Err(TransportError::Closed)));
    assert_eq!(silent(&*supervisor).await, None, "nothing comes after Closed");

    let agent = network.agent().connect(worker_id(2)).await.unwrap();
    assert_eq!(next(&*supervisor).await, SessionEvent::Opened);
    network.partition(worker_id(2), Direction::Up);
    drop(agent);
    assert_eq!(silent(&*supervisor).await, None);
    network.heal_all();
    assert_eq!(next(&*supervisor).await, SessionEvent::Closed);
    assert!(network.open_sessions().is_empty());
}

#[tokio::test(start_paused = true)]
async fn refused_connects_are_refused_until_they_are_accepted_again() {
    let network = MemoryNetwork::new();
    let without = network.agent().connect(worker_id(1)).await;
    assert!(matches!(without.err(), Some(TransportError::Unreachable { .. })), "there is no supervisor yet");
    let _supervisor = network.supervisor();
    network.refuse_connects("not today");
    let refused = network.agent().connect(worker_id(1)).await;
    assert!(matches!(refused.err(), Some(TransportError::Refused { message }) if message == "not today"));
    network.accept_connects();
    assert!(network.agent().connect(worker_id(1)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_new_supervisor_hears_nothing_of_the_old_ones_sessions() {
    let network = MemoryNetwork::new();
    let old = network.supervisor();
    let agent = network.agent().connect(worker_id(1)).await.unwrap();
    agent.send(AgentMessage::HeartBeat).await.unwrap();
    let new = network.supervisor();
    assert!(matches!(old.receive().await, Err(TransportError::Closed)));
    assert!(matches!(agent.receive().await, Err(TransportError::Closed)));
    old.shut_down().await;
    assert_eq!(silent(&*new).await, None);
    let _agent = network.agent().connect(worker_id(1)).await.unwrap();
    assert_eq!(next(&*new).await, SessionEvent::Opened);
}

#[tokio::test(start_paused = true)]
async fn an_agent_waits_when_it_says_more_than_the_supervisor_takes() {
    let network = MemoryNetwork::new();
    let supervisor = network.supervisor();
    let agent = network.agent().connect(worker_id(1)).await.unwrap();
    assert_eq!(next(&*supervisor).await, SessionEvent::Opened);
    for _ in 0..MESSAGES_IN_FLIGHT {
        agent.send(AgentMessage::HeartBeat).await.unwrap();
    }
    let waiting = tokio::time::timeout(Duration::from_secs(60), agent.send(AgentMessage::Drained)).await;
    assert!(waiting.is_err());
    let (sent, received) = tokio::join!(agent.send(AgentMessage::Drained), next(&*supervisor));
    sent.unwrap();
    assert_eq!(received, heartbeat());
}
