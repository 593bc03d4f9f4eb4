//! A supervisor that serves: until a signal ends it, gently or at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use data_runner_core::event::ShutDown;
use data_runner_core::port::Retry;
use data_runner_engine::{Handle, Supervisor};
use data_runner_sqlite::SqliteStore;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::registration::{Registration, persist};

/// How long answers that are being written may take once nothing runs any more. Streams that would go on for ever end
/// with it.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// A supervisor with its servers.
pub struct Running {
    pub(crate) supervisor: Supervisor,
    pub(crate) store: Arc<SqliteStore>,
    /// `https`, or `http` where there is no TLS.
    pub(crate) scheme: &'static str,
    pub(crate) rest: SocketAddr,
    pub(crate) grpc: SocketAddr,
    pub(crate) stop_rest: CancellationToken,
    pub(crate) serving: JoinHandle<std::io::Result<()>>,
    /// Tries repositories again that could not be reached at the start.
    pub(crate) persisting: Option<AbortOnDropHandle<()>>,
}

/// Why a running supervisor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Somebody asked for it, and it drained.
    Asked,
    /// Another supervisor has taken the state.
    Replaced,
}

impl Running {
    /// Where REST is, as a URL.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.rest)
    }

    /// Where REST listens.
    pub fn rest(&self) -> SocketAddr {
        self.rest
    }

    /// Where agents connect to.
    pub fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// Tries what could not be reached again and again, in the background.
    pub fn persist(&mut self, registrations: &[Registration]) {
        let missing: Vec<_> = registrations
            .iter()
            .filter(|it| it.result.as_ref().is_err_and(|error| error.retry() == Retry::Later))
            .map(|it| it.repository.clone())
            .collect();
        self.persisting = Some(AbortOnDropHandle::new(tokio::spawn(persist(self.handle(), missing))));
    }

    /// A way to the supervisor.
    pub fn handle(&self) -> Handle {
        self.supervisor.handle()
    }
}

/// The signals that end a server: SIGTERM, Ctrl-C, and the end of the terminal.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// From now on they end nothing by themselves.
    pub fn catch() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Returns when the next one comes.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

/// What a person is told while a server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Workers finish what they have; a second signal does not wait for them.
    Draining {
        /// How many executions still run or wait.
        active: usize,
    },
    /// What runs is interrupted.
    AtOnce,
}

impl Running {
    /// Serves until a signal comes, then drains; a second signal interrupts what runs. `tell` hears what happens.
    pub async fn until_signal(self, signals: &mut Signals, tell: impl Fn(Notice)) -> Ended {
        let ended = tokio::select! {
            () = signals.next() => Ended::Asked,
            () = self.supervisor.ended() => Ended::Replaced,
        };
        match ended {
            Ended::Asked => self.drain(signals, tell).await,
            Ended::Replaced => tracing::error!("another supervisor has taken the state; this one ends"),
        }
        self.close().await;
        ended
    }

    /// Ends all workers: after their jobs, or at once if a signal says so.
    pub async fn drain(&self, signals: &mut Signals, tell: impl Fn(Notice)) {
        let handle = self.handle();
        tell(Notice::Draining { active: handle.published().active_executions });
        let gently = tokio::select! {
            drained = handle.shut_down(ShutDown::Drain) => Some(drained),
            () = signals.next() => None,
        };
        let ended = match gently {
            Some(ended) => ended,
            None => {
                tell(Notice::AtOnce);
                tokio::select! {
                    ended = handle.shut_down(ShutDown::Now) => ended,
                    // Who asks a third time wants the prompt back; the agents end by themselves.
                    () = signals.next() => Ok(()),
                }
            }
        };
        if let Err(error) = ended {
            tracing::error!(error = &error as &dyn std::error::Error, "the workers could not be ended");
        }
    }

    /// Stops serving. Agents that still run go on, and find the next supervisor.
    pub async fn close(self) {
        drop(self.persisting);
        self.stop_rest.cancel();
        let mut serving = self.serving;
        match tokio::time::timeout(LAST_ANSWERS, &mut serving).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => {
                tracing::error!(error = &error as &dyn std::error::Error, "REST was not served");
            }
            Ok(Err(error)) => {
                tracing::error!(error = &error as &dyn std::error::Error, "serving REST ended badly")
            }
            Err(_) => serving.abort(),
        }
        self.supervisor.stop().await;
        if let Err(error) = self.store.close().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the state was not closed cleanly");
        }
    }
}
