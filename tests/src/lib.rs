//! What the tests of the whole system share: real processes of the three programs, a client of their REST API, git
//! repositories, and a sandbox that leaves no process behind; and a
//! [`cloud`] whose machines really boot. The tests themselves are in `tests/system`, a file for
//! each kind of story.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod cloud;
mod installation;
mod process;
mod program;
mod proxy;
mod receiver;
mod repository;
mod rest;
mod sandbox;
mod server;

pub use installation::{Installation, access_key};
pub use process::{Found, is_alive, signal};
pub use program::{Finished, Program, cli, cli_with, on_host};
pub use proxy::Proxy;
pub use receiver::{Received, Receiver};
pub use repository::{Repository, polars, query, workflow};
pub use rest::{Answer, Follow, Rest};
pub use rustix::process::Signal;
pub use sandbox::Sandbox;
pub use server::{Agent, Server};

use std::time::{Duration, Instant};

/// How long anything may take that has to happen. A loaded machine is slow, and the first run of all makes Python
/// environments; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// How long to wait between two looks at what cannot be waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Looks until there is something to see.
///
/// # Panics
/// If it does not come.
pub async fn until<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, look).await
}

/// The same, for what is known to take longer.
///
/// # Panics
/// If it does not come.
pub async fn until_within<T>(limit: Duration, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(began.elapsed() < limit, "waited {limit:?} for {what}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
