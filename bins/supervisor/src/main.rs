//! The `data-runner-supervisor` program.

mod doctor;
mod ec2;
mod token;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};
use data_runner_core::settings::{self, Settings};
use data_runner_core::workflow::Architecture;
use data_runner_core::workflow::config::render;
use data_runner_git::LocalPaths;
use data_runner_server::{
    Ended, Installation, LogFormat, Notice, Signals, install_telemetry, register, signing_secret, start,
};

/// Keeps the state, decides what runs where, and serves the REST API.
#[derive(Debug, Parser)]
#[command(name = "data-runner-supervisor", version, disable_help_subcommand = true)]
struct Arguments {
    /// The settings; a DATA_RUNNER_… variable overrides a key of the first level
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/data-runner/supervisor.yaml")]
    config: PathBuf,
    /// Where REST listens, instead of the settings' `listen`
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Where agents connect to, instead of the settings' `grpc_listen`
    #[arg(long, value_name = "ADDRESS")]
    grpc_listen: Option<SocketAddr>,
    /// Where everything is kept, instead of the settings' `state`
    #[arg(long, global = true, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The agent's program, for workers on this machine; by default the one beside this program
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
    /// How diagnostics are printed on stderr, text or json; RUST_LOG says how many
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    #[arg(hide_possible_values = true)]
    log_format: LogFormat,
    /// What to do instead of serving
    #[command(subcommand)]
    command: Option<Command>,
}

/// What to do on the supervisor's host, also while it runs.
#[derive(Debug, Subcommand)]
enum Command {
    /// Make, list and revoke API tokens
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Print the secret that webhooks are signed with, for those who receive them
    WebhookSecret,
    /// Check this host and what the settings need, and say what to do
    Doctor,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    install_telemetry(arguments.log_format, if arguments.command.is_some() { "warn" } else { "info" });
    let outcome = match &arguments.command {
        None => run(&arguments).await.map(|ended| match ended {
            Ended::Asked => ExitCode::SUCCESS,
            Ended::Replaced => ExitCode::FAILURE,
        }),
        Some(command) => on_host(&arguments, command).await,
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn on_host(arguments: &Arguments, command: &Command) -> Result<ExitCode> {
    let settings = settings(arguments)?;
    match command {
        Command::Token(command) => token::perform(command, &settings).await.map(|()| ExitCode::SUCCESS),
        Command::WebhookSecret => {
            println!("{}", signing_secret(&settings.state)?.text());
            Ok(ExitCode::SUCCESS)
        }
        Command::Doctor => doctor::perform(&settings).await,
    }
}

async fn run(arguments: &Arguments) -> Result<Ended> {
    // Before anything is started: a signal must find somebody who drains.
    let mut signals = Signals::catch().context("signals cannot be caught")?;
    let installation = installation(arguments)?;
    let mut running = start(installation.clone(), Some(&ec2::Ec2)).await?;
    tracing::info!(rest = running.url(), grpc = %running.grpc(), "serving");
    let registrations = register(&running.handle(), &installation).await;
    running.persist(&registrations);
    for registration in registrations {
        let url = &registration.repository.url;
        match registration.result {
            Ok(found) => {
                tracing::info!(url, workflows = found.items.len(), broken = found.errors.len(), "repository")
            }
            Err(error) => {
                tracing::error!(url, error = &error as &dyn std::error::Error, "repository not registered")
            }
        }
    }
    let tell = |notice| match notice {
        Notice::Draining { active } => {
            tracing::info!(active, "draining; another signal ends what runs at once")
        }
        Notice::AtOnce => tracing::warn!("what runs is interrupted"),
    };
    Ok(running.until_signal(&mut signals, tell).await)
}

fn installation(arguments: &Arguments) -> Result<Installation> {
    let agent = agent(arguments.agent.as_deref())?;
    Ok(Installation {
        settings: settings(arguments)?,
        local_paths: LocalPaths::Commits,
        repositories: Vec::new(),
        agents: agents(&agent),
        agent: vec![agent.into()],
        pass_env: Vec::new(),
    })
}

fn settings(arguments: &Arguments) -> Result<Settings> {
    let path = &arguments.config;
    let text = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let environment: BTreeMap<String, String> =
        std::env::vars().filter(|(name, _)| name.starts_with(settings::ENV_PREFIX)).collect();
    match settings::parse(&path.display().to_string(), &text, &environment).into_result() {
        Ok((mut settings, warnings)) => {
            eprint!("{}", render(&warnings, false));
            settings.listen = arguments.listen.unwrap_or(settings.listen);
            settings.grpc_listen = arguments.grpc_listen.unwrap_or(settings.grpc_listen);
            for address in [settings.listen, settings.grpc_listen] {
                if !settings.may_listen_on(address) {
                    bail!("{address} can be reached from other machines, and there is no TLS: write tls: own")
                }
            }
            if let Some(state) = &arguments.state {
                settings.state.clone_from(state);
            }
            Ok(settings)
        }
        Err(problems) => {
            eprint!("{}", render(&problems, false));
            bail!("{} cannot be used", path.display())
        }
    }
}

/// The agent's program.
fn agent(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path.to_owned());
    }
    let own = std::env::current_exe().context("this program's own path is not known")?;
    let agent = own.with_file_name("data-runner-agent");
    if !agent.is_file() {
        bail!("there is no {}; name the agent's program with --agent", agent.display());
    }
    Ok(agent)
}

/// The agent's program for machines of a cloud, by architecture: the one of this machine, and beside it those whose name
/// ends in another architecture, such as `data-runner-agent-arm64`.
fn agents(agent: &Path) -> BTreeMap<Architecture, PathBuf> {
    let own = if cfg!(target_arch = "aarch64") { Architecture::Arm64 } else { Architecture::X86_64 };
    let mut agents = BTreeMap::from([(own, agent.to_owned())]);
    for architecture in [Architecture::X86_64, Architecture::Arm64] {
        let beside = agent.with_file_name(format!("data-runner-agent-{architecture}"));
        if beside.is_file() {
            agents.insert(architecture, beside);
        }
    }
    agents
}
