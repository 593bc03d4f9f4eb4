//! Clauses about logs.

use std::time::Duration;

use bytes::Bytes;
use data_runner_core::log::LogOffset;
use data_runner_core::message::{AgentMessage, LogAck, LogOutcome, SupervisorMessage};

use super::{Ends, claim, log_acks, log_appends, said, within};
use crate::sample::worker_id;

/// Offsets, lines, times, codec and payload.
pub async fn every_piece_of_log_arrives_as_it_was_sent(ends: Ends) {
    let (agent, session) = ends.opened(worker_id(1)).await;
    for append in log_appends() {
        within(agent.send_log(append.clone())).await.unwrap();
        assert_eq!(within(ends.supervisor.receive_log(10)).await.unwrap(), [(session, append)]);
    }
}

/// Both outcomes.
pub async fn every_acknowledgement_arrives_as_it_was_sent(ends: Ends) {
    let (agent, session) = ends.opened(worker_id(1)).await;
    for ack in log_acks() {
        within(ends.supervisor.send_log_ack(session, ack)).await.unwrap();
        assert_eq!(within(agent.receive_log_ack()).await.unwrap(), ack);
    }
}

/// In the order of one agent; at least one and at most `max` at once.
pub async fn logs_arrive_in_order_and_no_more_at_once_than_asked_for(ends: Ends) {
    const PIECES: u64 = 2_000;
    let (agent, session) = ends.opened(worker_id(1)).await;
    let sending = async {
        for n in 0..PIECES {
            within(agent.send_log(said::piece(n, Bytes::from_static(b"x")))).await.unwrap();
        }
    };
    let receiving = async {
        let mut next = 0;
        while next < PIECES {
            let pieces = within(ends.supervisor.receive_log(7)).await.unwrap();
            assert!((1..=7).contains(&pieces.len()), "{} pieces", pieces.len());
            for (of, piece) in pieces {
                assert_eq!((of, piece.chunk.start.offset), (session, LogOffset(next)));
                next += 1;
            }
        }
    };
    tokio::join!(sending, receiving);
}

/// A `receive_log` or `receive_log_ack` that is given up takes nothing with it.
pub async fn receiving_logs_is_cancel_safe(ends: Ends) {
    const PIECES: u64 = 300;
    let (agent, session) = ends.opened(worker_id(1)).await;
    let sending = async {
        for n in 0..PIECES {
            within(agent.send_log(said::piece(n, Bytes::from(vec![b'x'; 10_000])))).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let receiving = async {
        let mut next = 0;
        while next < PIECES {
            let Some(pieces) = said::given_up(ends.supervisor.receive_log(3)).await else {
                continue;
            };
            for (_, piece) in pieces.unwrap() {
                assert_eq!(piece.chunk.start.offset, LogOffset(next));
                next += 1;
            }
        }
    };
    within(async { tokio::join!(sending, receiving) }).await;

    let acks = async {
        for upto in 0..PIECES {
            let ack = LogAck { claim: claim(1), outcome: LogOutcome::Stored { upto: LogOffset(upto) } };
            within(ends.supervisor.send_log_ack(session, ack)).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let hearing = async {
        for upto in 0..PIECES {
            let ack = loop {
                if let Some(ack) = said::given_up(agent.receive_log_ack()).await {
                    break ack.unwrap();
                }
            };
            assert_eq!(ack.outcome, LogOutcome::Stored { upto: LogOffset(upto) });
        }
    };
    within(async { tokio::join!(acks, hearing) }).await;
}

/// While an agent has more logs than anybody takes, messages pass both ways.
pub async fn a_flood_of_logs_delays_no_message(ends: Ends) {
    let (agent, session) = ends.opened(worker_id(1)).await;
    let payload = Bytes::from(vec![b'x'; 256 << 10]);
    let flood = async {
        let mut n = 0;
        // Until the line is full: nobody takes a piece.
        while let Ok(sent) =
            tokio::time::timeout(Duration::from_millis(300), agent.send_log(said::piece(n, payload.clone())))
                .await
        {
            sent.unwrap();
            n += 1;
        }
        n
    };
    let talk = async {
        for _ in 0..200 {
            within(agent.send(AgentMessage::HeartBeat)).await.unwrap();
            assert_eq!(ends.message().await, (session, AgentMessage::HeartBeat));
            let ack = SupervisorMessage::StatusAck { claim: claim(1) };
            within(ends.supervisor.send(session, ack.clone())).await.unwrap();
            assert_eq!(within(agent.receive()).await.unwrap(), ack);
            tokio::task::yield_now().await;
        }
    };
    let (pieces, ()) = tokio::join!(flood, talk);
    // Now the line is full for certain, and messages still pass.
    within(agent.send(AgentMessage::Draining)).await.unwrap();
    assert_eq!(ends.message().await, (session, AgentMessage::Draining));
    // And nothing of the flood that was handed over is lost.
    let mut received = 0;
    while received < pieces {
        received += within(ends.supervisor.receive_log(1000)).await.unwrap().len() as u64;
    }
}

/// Each agent hears of its own logs only.
pub async fn acknowledgements_reach_the_agent_whose_log_it_is(ends: Ends) {
    let (one, session_one) = ends.opened(worker_id(1)).await;
    let (two, session_two) = ends.opened(worker_id(2)).await;
    for (session, n) in [(session_one, 1), (session_two, 2)] {
        let ack = LogAck { claim: claim(n), outcome: LogOutcome::Stored { upto: LogOffset(n) } };
        within(ends.supervisor.send_log_ack(session, ack)).await.unwrap();
    }
    assert_eq!(within(two.receive_log_ack()).await.unwrap().claim, claim(2));
    assert_eq!(within(one.receive_log_ack()).await.unwrap().claim, claim(1));
}
