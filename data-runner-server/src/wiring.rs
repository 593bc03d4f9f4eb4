//! From an installation to a running supervisor: which adapter stands behind which port.

use std::fs::{OpenOptions, Permissions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use data_runner_core::orchestrator::Policy;
use data_runner_core::port::StateError;
use data_runner_core::settings::{
    KeySource, LocalSettings, ProvisionerSettings, RepositorySettings, Settings,
};
use data_runner_core::workflow::WorkerTypes;
use data_runner_engine::supervisor::{Gate, StartError};
use data_runner_engine::{Supervisor, SupervisorBuilder};
use data_runner_git::{Access, Opener, OpenerOptions, SshKey};
use data_runner_grpc::{GrpcTransport, ServerOptions};
use data_runner_local::FolderBlobs;
use data_runner_rest::RouterOptions;
use data_runner_sqlite::SqliteStore;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::installation::Installation;
use crate::listen::{self, ListenError, Listener};
use crate::local;
use crate::running::Running;

/// Why an installation could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// An address cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A folder or socket of this machine.
    #[error("{what}")]
    Machine {
        /// What was done.
        what: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The state cannot be opened.
    #[error("the state in {} cannot be opened", path.display())]
    State {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: StateError,
    },
    /// Something of the adapters.
    #[error("{what}")]
    Adapter {
        /// What failed.
        what: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The settings want machines of EC2, and this program cannot start any.
    #[error("this program starts workers on this machine only: write provisioner: local")]
    NoCloud,
    /// Another supervisor uses the state.
    #[error("the state in {} is in use by {holder}: end that one, or choose another folder", path.display())]
    Held {
        /// The folder.
        path: PathBuf,
        /// Who uses it.
        holder: String,
    },
}

impl StartupError {
    pub(crate) fn of_state(error: StartError, state: &Path) -> Self {
        let path = state.to_owned();
        match error {
            StartError::State(StateError::Held { holder }) => Self::Held { path, holder },
            StartError::State(source) => Self::State { path, source },
            StartError::Entropy(source) => Self::Adapter {
                what: "the operating system gives no randomness".to_owned(),
                source: Box::new(source),
            },
        }
    }

    pub(crate) fn machine(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::Machine { what: what.into(), source }
    }
}

/// Takes the addresses and the state, starts everything, and serves.
pub async fn start(installation: Installation) -> Result<Running, StartupError> {
    let Installation { settings, local_paths, .. } = &installation;
    let state = absolute(&settings.state)?;
    std::fs::create_dir_all(&state)
        .map_err(|source| StartupError::machine(format!("cannot make {}", state.display()), source))?;
    // The state first: who cannot have it must not take an address from who has.
    let store = SqliteStore::open(&state).await;
    let store = Arc::new(store.map_err(|source| StartupError::of_state(source.into(), &state))?);
    let rest = into_tokio(listen::take(Listener::Rest, settings.listen)?)?;
    let grpc = into_tokio(listen::take_again(settings.grpc_listen, &state)?)?;
    let (rest_address, grpc_address) = (address_of(&rest)?, address_of(&grpc)?);

    let gate = Gate::default();
    let transport = GrpcTransport::serve(grpc, Arc::new(gate.clone()), ServerOptions::default());
    let local = match &settings.provisioner {
        ProvisionerSettings::Local(local) => local,
        ProvisionerSettings::Ec2(_) => return Err(StartupError::NoCloud),
    };
    let provisioner = local::provisioner(&installation, &state, grpc_address)?;
    let mut opener = OpenerOptions::new(state.join("repositories"));
    opener.local = *local_paths;
    for repo in &settings.repositories {
        opener.access_of.insert(repo.name.clone(), access(repo, &state)?);
    }
    let builder = SupervisorBuilder {
        state: store.clone(),
        catalog: store.clone(),
        logs: store.clone(),
        blobs: Arc::new(FolderBlobs::new(state.join("blobs"))),
        opener: Arc::new(Opener::new(opener)),
        transport,
        gate,
        provisioner: Some(provisioner),
        policy: policy(settings, local),
        worker_types: WorkerTypes::default(),
        poll: poll(settings),
        clock: SupervisorBuilder::system_clock(),
    };
    let supervisor = builder.start().await.map_err(|error| StartupError::of_state(error, &state))?;
    listen::keep_port(grpc_address, &state)?;
    Ok(serve(supervisor, store, rest, (rest_address, grpc_address), settings))
}

/// Serves REST over a supervisor.
fn serve(
    supervisor: Supervisor,
    store: Arc<SqliteStore>,
    listener: TcpListener,
    (rest, grpc): (SocketAddr, SocketAddr),
    settings: &Settings,
) -> Running {
    let options = RouterOptions {
        allowed_hosts: settings
            .public_url
            .as_deref()
            .and_then(host_of)
            .map(ToOwned::to_owned)
            .into_iter()
            .collect(),
        metrics: metrics(),
        ..RouterOptions::default()
    };
    let router = data_runner_rest::router(supervisor.handle(), options);
    let stop_rest = CancellationToken::new();
    let stopped = stop_rest.clone().cancelled_owned();
    let serving = tokio::spawn(data_runner_rest::serve(listener, router, stopped));
    Running { supervisor, store, rest, grpc, stop_rest, serving, persisting: None }
}

/// The recorder of this process, unless it has another one already.
fn metrics() -> Option<PrometheusHandle> {
    let installed = PrometheusBuilder::new().install_recorder();
    installed.inspect_err(|error| tracing::debug!(%error, "metrics are recorded elsewhere")).ok()
}

fn policy(settings: &Settings, local: &LocalSettings) -> Policy {
    let agents = settings.agents;
    Policy {
        heartbeat: agents.heartbeat,
        suspect_after: agents.suspect_after,
        lost_after: agents.lost_after,
        // Longer than the time after which a silent agent is given up: else it would stop jobs that are not lost.
        dead_man: agents.lost_after.saturating_mul(5),
        ..Policy::local(local.workers, local.slots)
    }
}

/// How often repositories are looked at: as often as the most impatient one wants.
fn poll(settings: &Settings) -> Duration {
    const DEFAULT: Duration = Duration::from_secs(60);
    settings.repositories.iter().map(|repo| repo.poll).min().unwrap_or(DEFAULT)
}

/// With what a repository is reached.
fn access(repo: &RepositorySettings, state: &Path) -> Result<Access, StartupError> {
    let file = match &repo.ssh_key {
        None => None,
        Some(KeySource::File(file)) => Some(file.clone()),
        Some(KeySource::Environment(name)) => Some(key_file(repo, name, state)?),
    };
    let ssh_key = file.map(|file| SshKey { file, passphrase: None });
    Ok(Access { ssh_key, known_hosts: repo.known_hosts.clone(), ..Access::default() })
}

/// Ssh wants a key in a file, which only we may read.
fn key_file(repo: &RepositorySettings, variable: &str, state: &Path) -> Result<PathBuf, StartupError> {
    let key = std::env::var(variable).map_err(|source| StartupError::Adapter {
        what: format!("the key of {} is not in the environment variable {variable}", repo.name),
        source: source.into(),
    })?;
    let path = state.join(format!("ssh-key-{}", repo.name));
    let written =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path).and_then(
            |mut file| {
                // An older file keeps the mode that it has.
                file.set_permissions(Permissions::from_mode(0o600))?;
                // Without its last line break a key is not read.
                writeln!(file, "{}", key.trim_end())
            },
        );
    written
        .map_err(|source| StartupError::machine(format!("{} cannot be written", path.display()), source))?;
    Ok(path)
}

/// The host of a URL such as `https://runner.example.com:8443`.
fn host_of(url: &str) -> Option<&str> {
    let authority = url.split_once("://")?.1.split('/').next()?;
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    (!host.is_empty()).then_some(host)
}

fn into_tokio(listener: std::net::TcpListener) -> Result<TcpListener, StartupError> {
    TcpListener::from_std(listener).map_err(|source| StartupError::machine("a socket cannot be used", source))
}

fn address_of(listener: &TcpListener) -> Result<SocketAddr, StartupError> {
    listener.local_addr().map_err(|source| StartupError::machine("a socket cannot be used", source))
}

/// Agents get paths of the state; they run in another folder.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, StartupError> {
    std::path::absolute(path)
        .map_err(|source| StartupError::machine(format!("{} is no path", path.display()), source))
}
