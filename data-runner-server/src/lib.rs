//! The supervisor as a library: one place that wires the crates together, for `data-runner-supervisor` and for
//! `data-runner dev`.

mod agents;
mod checkup;
mod cloud;
mod heartbeat;
mod installation;
mod listen;
mod local;
mod machines;
mod notifications;
mod registration;
mod running;
mod secrets;
mod secured;
mod telemetry;
mod tokens;
mod wiring;

pub use checkup::HostCheckup;
pub use cloud::{AgentDownload, Cloud, CloudPorts, CloudRequest};
pub use installation::{Installation, StartRepository};
pub use listen::{ListenError, Listener};
pub use notifications::signing_secret;
pub use registration::{Registration, register};
pub use running::{Ended, Notice, Running, Signals};
pub use telemetry::{LogFormat, install as install_telemetry};
pub use tokens::{existing_tokens, open_tokens};
pub use wiring::{StartupError, start};
