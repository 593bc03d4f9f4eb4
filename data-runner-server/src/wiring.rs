//! From an installation to a running supervisor: which adapter stands behind which port.

use std::collections::BTreeMap;
use std::fs::{OpenOptions, Permissions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_runner_core::orchestrator::Policy;
use data_runner_core::port::{Checkup, ImageBaker, SecretResolver, SecretValue, StateError};
use data_runner_core::settings::{
    HookSettings, KeySource, ProvisionerSettings, RepositorySettings, Settings, SizePatterns,
};
use data_runner_core::workflow::{Architecture, Polling, WorkerTypes};
use data_runner_engine::supervisor::{Gate, StartError};
use data_runner_engine::{Supervisor, SupervisorBuilder, Tokens};
use data_runner_git::{Access, Opener, OpenerOptions, SshKey};
use data_runner_grpc::{GrpcTransport, ServerOptions};
use data_runner_rest::{AgentBinary, Hooks, RouterOptions};
use data_runner_sqlite::SqliteStore;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::agents;
use crate::checkup::{HostCheckup, NotificationCheckup};
use crate::cloud::{Cloud, CloudPorts};
use crate::installation::Installation;
use crate::listen::{self, ListenError, Listener};
use crate::machines::Machines;
use crate::running::Running;
use crate::secrets::{own_probe, own_secrets, probe_of_workers};
use crate::secured::Secured;
use crate::{heartbeat, notifications};

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
    /// Machines of a cloud could not find this supervisor, or not trust it.
    #[error("machines need tls, public_url and grpc_url of this supervisor")]
    NotReachable,
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

/// Takes the addresses and the state, starts everything, and serves. Settings that want machines of a cloud need one.
pub async fn start(installation: Installation, cloud: Option<&dyn Cloud>) -> Result<Running, StartupError> {
    let settings = &installation.settings;
    let state = absolute(&settings.state)?;
    std::fs::create_dir_all(&state)
        .map_err(|source| StartupError::machine(format!("cannot make {}", state.display()), source))?;
    // The state first: who cannot have it must not take an address from who has.
    let store = SqliteStore::open(&state).await;
    let store = Arc::new(store.map_err(|source| StartupError::of_state(source.into(), &state))?);
    let rest = into_tokio(listen::take(Listener::Rest, settings.listen)?)?;
    let grpc = into_tokio(listen::take_again(settings.grpc_listen, &state)?)?;
    let addresses = (address_of(&rest)?, address_of(&grpc)?);

    let secured = match &settings.tls {
        Some(tls) => Some(Secured::open(tls, settings, &state, &[addresses.0, addresses.1])?),
        None => None,
    };
    let agents = agents::open(&installation)?;
    let machines = Machines {
        installation: &installation,
        state: &state,
        grpc: addresses.1,
        secured: secured.as_ref(),
        agents: &agents,
    };
    let CloudPorts { provisioner, blobs, artifacts, links, images } = machines.connect(cloud).await?;
    let gate = secured.as_ref().map_or_else(Gate::default, |it| Gate::with_authority(it.joining.clone()));
    let gate = match links {
        Some(links) => gate.giving_links(links),
        None => gate,
    };
    let tls = secured.as_ref().map(|secured| secured.for_agents(&gate)).transpose()?;
    let options = ServerOptions { tls, ..ServerOptions::default() };
    let transport = GrpcTransport::serve(grpc, Arc::new(gate.clone()), options);
    let builder = SupervisorBuilder {
        state: store.clone(),
        catalog: store.clone(),
        logs: store.clone(),
        blobs,
        artifacts,
        opener: Arc::new(Opener::new(opener(&installation, &state, &*own_secrets()).await?)),
        transport,
        gate,
        provisioner: Some(provisioner),
        policy: policy(settings),
        worker_types: WorkerTypes::default(),
        polling: polling(settings),
        clock: SupervisorBuilder::system_clock(),
    };
    let supervisor = builder.start().await.map_err(|error| StartupError::of_state(error, &state))?;
    notifications::deliver(&supervisor, settings, &state)?;
    heartbeat::beat(&supervisor, settings);
    listen::keep_port(addresses.1, &state)?;
    let tokens =
        settings.wants_tokens().then(|| Tokens::new(store.clone(), SupervisorBuilder::system_clock()));
    tell_of_first_token(tokens.as_ref()).await;
    let mut checkups: Vec<Arc<dyn Checkup>> =
        vec![Arc::new(HostCheckup::new(settings.clone(), tokens.clone()))];
    checkups.push(Arc::new(NotificationCheckup::new(supervisor.handle(), own_probe())));
    if let Some(cloud) = cloud {
        checkups.extend(cloud.checkup(settings).await);
    }
    let served = Served {
        listener: rest,
        addresses,
        tls: secured.map(|it| it.for_people()).transpose()?,
        agents,
        tokens,
        images,
        checkups,
    };
    Ok(serve(supervisor, store, served, settings))
}

/// Where a token is wanted and there is none, nobody can come in: that must not look like a fault.
async fn tell_of_first_token(tokens: Option<&Tokens>) {
    let Some(tokens) = tokens else { return };
    match tokens.any().await {
        Ok(true) => {}
        Ok(false) => tracing::warn!(
            "nobody can come in yet: make the first token on this host with \
             `data-runner-supervisor --config FILE token create NAME --scope admin`"
        ),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "the tokens cannot be read");
        }
    }
}

async fn opener(
    installation: &Installation,
    state: &Path,
    secrets: &dyn SecretResolver,
) -> Result<OpenerOptions, StartupError> {
    let mut opener = OpenerOptions::new(state.join("repositories"));
    opener.local = installation.local_paths;
    for repo in &installation.settings.repositories {
        opener.access_of.insert(repo.name.clone(), access(repo, state, secrets).await?);
    }
    Ok(opener)
}

/// What REST is served with.
struct Served {
    listener: TcpListener,
    /// Of REST, and of the agents' side.
    addresses: (SocketAddr, SocketAddr),
    tls: Option<Arc<rustls::ServerConfig>>,
    agents: BTreeMap<Architecture, AgentBinary>,
    /// Who may come in; `None`: everybody.
    tokens: Option<Tokens>,
    images: Option<Arc<dyn ImageBaker>>,
    checkups: Vec<Arc<dyn Checkup>>,
}

/// Serves REST over a supervisor.
fn serve(supervisor: Supervisor, store: Arc<SqliteStore>, served: Served, settings: &Settings) -> Running {
    let Served { listener, addresses: (rest, grpc), tls, agents, tokens, images, checkups } = served;
    let options = RouterOptions {
        allowed_hosts: settings
            .public_url
            .as_deref()
            .and_then(host_of)
            .map(ToOwned::to_owned)
            .into_iter()
            .collect(),
        metrics: metrics(),
        login: tokens,
        agents,
        images,
        hooks: Some(hooks(settings)),
        checkups,
        secrets: Some(probe_of_workers(settings)),
        ..RouterOptions::default()
    };
    let router = data_runner_rest::router(supervisor.handle(), options);
    let stop_rest = CancellationToken::new();
    let stopped = stop_rest.clone().cancelled_owned();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let serving = match tls {
        Some(tls) => {
            tokio::spawn(async move { data_runner_rest::serve_tls(listener, tls, router, stopped).await })
        }
        None => tokio::spawn(data_runner_rest::serve(listener, router, stopped)),
    };
    Running { supervisor, store, scheme, rest, grpc, stop_rest, serving, persisting: None }
}

/// What webhooks are known by. Without any secret all are refused.
fn hooks(settings: &Settings) -> Arc<Hooks> {
    let HookSettings { github, gitlab } = settings.hooks.clone();
    Arc::new(Hooks::new(github, gitlab, own_secrets()))
}

/// The recorder of this process, unless it has another one already.
fn metrics() -> Option<PrometheusHandle> {
    let installed = PrometheusBuilder::new().install_recorder();
    installed.inspect_err(|error| tracing::debug!(%error, "metrics are recorded elsewhere")).ok()
}

fn policy(settings: &Settings) -> Policy {
    let agents = settings.agents;
    let of_machines = match &settings.provisioner {
        ProvisionerSettings::Local(local) => Policy::local(local.workers, local.slots),
        ProvisionerSettings::Ec2(ec2) => {
            let allowed_sizes = SizePatterns(ec2.allow.instance_sizes.clone());
            let region = Some(ec2.region.clone());
            let machines = Policy::ec2(ec2.max_machines);
            Policy { join_within: ec2.join_within, allowed_sizes, region, ..machines }
        }
    };
    Policy {
        heartbeat: agents.heartbeat,
        suspect_after: agents.suspect_after,
        lost_after: agents.lost_after,
        // Longer than the time after which a silent agent is given up: else it would stop jobs that are not lost.
        dead_man: agents.lost_after.saturating_mul(5),
        ..of_machines
    }
}

/// How often repositories are looked at.
fn polling(settings: &Settings) -> Polling {
    let of = settings.repositories.iter().map(|repo| (repo.name.clone(), repo.poll)).collect();
    Polling { of, ..Polling::default() }
}

/// With what a repository is reached.
async fn access(
    repo: &RepositorySettings,
    state: &Path,
    secrets: &dyn SecretResolver,
) -> Result<Access, StartupError> {
    let file = match &repo.ssh_key {
        None => None,
        Some(KeySource::File(file)) => Some(file.clone()),
        Some(KeySource::Secret(reference)) => {
            let key = secrets.resolve(reference).await.map_err(|source| StartupError::Adapter {
                what: format!("the key of {} cannot be had", repo.name),
                source: source.into(),
            })?;
            Some(key_file(repo, &key, state)?)
        }
    };
    let ssh_key = file.map(|file| SshKey { file, passphrase: None });
    Ok(Access { ssh_key, known_hosts: repo.known_hosts.clone(), ..Access::default() })
}

/// Ssh wants a key in a file, which only we may read.
fn key_file(repo: &RepositorySettings, key: &SecretValue, state: &Path) -> Result<PathBuf, StartupError> {
    let path = state.join(format!("ssh-key-{}", repo.name));
    let written =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path).and_then(
            |mut file| {
                // An older file keeps the mode that it has.
                file.set_permissions(Permissions::from_mode(0o600))?;
                // Without its last line break a key is not read.
                writeln!(file, "{}", key.expose().trim_end())
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use async_trait::async_trait;
    use data_runner_core::port::SecretError;
    use data_runner_core::workflow::SecretRef;

    use super::*;

    /// Holds one secret.
    struct Store;

    #[async_trait]
    impl SecretResolver for Store {
        async fn resolve(&self, reference: &SecretRef) -> Result<SecretValue, SecretError> {
            match reference.to_string().as_str() {
                "aws-secretsmanager://git/etl" => Ok(SecretValue::new("the key\n\n".to_owned())),
                _ => Err(SecretError::NotFound { reference: reference.clone() }),
            }
        }
    }

    fn repository(key: &str) -> RepositorySettings {
        RepositorySettings {
            name: "etl".parse().unwrap(),
            url: "git@git.example.com:acme/etl.git".to_owned(),
            reference: "main".to_owned(),
            poll: std::time::Duration::from_secs(60),
            ssh_key: Some(KeySource::Secret(key.parse().unwrap())),
            known_hosts: None,
        }
    }

    #[tokio::test]
    async fn a_key_in_a_store_of_secrets_becomes_a_file_for_its_owner_only() {
        let state = tempfile::tempdir().unwrap();
        let access = access(&repository("aws-secretsmanager://git/etl"), state.path(), &Store).await.unwrap();
        let file = access.ssh_key.unwrap().file;
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "the key\n");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_key_that_is_not_there_names_the_repository_and_the_secret() {
        let state = tempfile::tempdir().unwrap();
        let Err(error) = access(&repository("aws-ssm:///git/none"), state.path(), &Store).await else {
            panic!("there is no such key")
        };
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(error.to_string(), "the key of etl cannot be had");
        assert_eq!(source, "there is no secret aws-ssm:///git/none");
    }
}
