//! How much of anything there may be.

use std::time::Duration;

use data_runner_core::port::TransportError;
use prost::Message;

/// The most bytes of one encoded message: a piece of log of 4 MiB, and what stands around it. A larger one is refused
/// by the sender, and by the receiver too.
pub const MAX_MESSAGE_BYTES: usize = (4 << 20) + (64 << 10);

/// How many messages of one session may wait, each way and at each end. An agent that wants to say more waits; a
/// supervisor does not wait for an agent that takes nothing, but ends its session.
pub(crate) const MESSAGES_IN_FLIGHT: usize = 1024;

/// How many pieces of log may wait at the agent's end before `send_log` waits.
pub(crate) const LOGS_IN_FLIGHT: usize = 16;

/// How many bytes of logs, of all sessions together, may wait for `receive_log`. Beyond that the agents wait, each of
/// them getting its turn.
pub(crate) const LOG_BYTES_WAITING: u32 = 64 << 20;

/// How much of one stream the other end may send ahead of what was read. At 1 ms of round trip that is 1 GB/s; and it is
/// what a supervisor whose log intake has stopped may come to hold for each agent.
pub(crate) const STREAM_WINDOW: u32 = 1 << 20;

/// The same of one connection. Fixed, as the stream's: a window that adapts would grow with the number of agents that
/// flood, when memory is shortest.
pub(crate) const CONNECTION_WINDOW: u32 = 2 << 20;

/// Calls that one connection may have open: a session or a log stream, and some bundles.
pub(crate) const CALLS_PER_CONNECTION: u32 = 64;

/// How many TLS handshakes may be under way; further connections wait to be taken.
pub(crate) const HANDSHAKES: usize = 256;

/// How long a TLS handshake may take.
pub(crate) const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// The longest message of somebody who is not known yet.
pub(crate) const MAX_JOIN_BYTES: usize = 16 << 10;

/// The longest join token.
pub(crate) const MAX_TOKEN_BYTES: usize = 256;

/// How often one connection may ask to join.
pub(crate) const JOINS_PER_CONNECTION: u32 = 8;

/// How many may be joining at one time; others wait.
pub(crate) const JOINING: usize = 64;

/// How long joining may take, the wait for a turn included.
pub(crate) const JOIN_TIME: Duration = Duration::from_secs(10);

/// The length of the parts that a bundle is sent in.
pub(crate) const BUNDLE_PART_BYTES: usize = 256 << 10;

/// Refuses a message that the other end would not take.
pub(crate) fn fits(message: &impl Message) -> Result<(), TransportError> {
    let length = message.encoded_len();
    if length > MAX_MESSAGE_BYTES {
        return Err(TransportError::Refused {
            message: format!(
                "a message of {length} bytes is longer than the {MAX_MESSAGE_BYTES} that are allowed"
            ),
        });
    }
    Ok(())
}
