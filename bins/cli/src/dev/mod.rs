//! `dev`: everything on this machine, in one process and a few agents.

mod banner;
mod demo;
mod next_steps;
mod samples;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_runner_core::port::Retry;
use data_runner_core::settings::{
    AgentSettings, HookSettings, LocalSettings, ProvisionerSettings, PythonSettings, Settings,
};
use data_runner_git::LocalPaths;
use data_runner_server::{Ended, Installation, Notice, Registration, Running, Signals, StartRepository};
use data_runner_server::{register, start};

use crate::args::DevArgs;
use crate::client::Client;
use crate::command::Context;
use crate::error::Error;
use crate::output::{Output, say, style};
use demo::Verdict;

/// The hidden mode in which this program is an agent.
pub const INTERNAL_AGENT: &str = "internal-agent";

/// Serves until a signal comes.
pub async fn dev(args: &DevArgs, output: Output) -> Result<u8, Error> {
    let mut signals = Signals::catch().map_err(|source| Error::io("signals cannot be caught", source))?;
    let samples = if args.demo { Some(samples::unpack(&args.state_dir)?) } else { None };
    let installation = installation(args, samples.as_deref())?;
    let mut running = start(installation.clone(), None).await.map_err(|error| Error::Failed {
        message: "the server cannot start".to_owned(),
        help: None,
        source: Some(Box::new(error)),
    })?;
    let registrations = register(&running.handle(), &installation).await;
    if let Some(refused) = refused(&registrations) {
        running.drain(&mut signals, |_| ()).await;
        running.close().await;
        return Err(refused);
    }
    running.persist(&registrations);
    banner::show(&running, &args.state_dir, &registrations, output);
    let Some(samples) = samples else { return Ok(serve(running, &mut signals).await) };
    let context = Context { client: Client::new(&running.url(), None, None)?, output };
    // A signal ends the demo as it ends the server.
    let verdict = tokio::select! {
        verdict = demo::run(&context, &args.state_dir) => verdict,
        () = signals.next() => {
            running.drain(&mut signals, tell).await;
            running.close().await;
            return Ok(130);
        }
    };
    if args.exit_after_demo {
        running.drain(&mut signals, |_| ()).await;
        running.close().await;
        return Ok(u8::from(verdict? != Verdict::AsExpected));
    }
    match verdict {
        Ok(Verdict::AsExpected) => next_steps::suggest(context.client.server(), &samples),
        Ok(Verdict::Surprising) => {
            say(&format!("\n{} see `data-runner show ID`", style::warn("not all went as expected:")))
        }
        Err(error) => say(&error.render()),
    }
    Ok(serve(running, &mut signals).await)
}

async fn serve(running: Running, signals: &mut Signals) -> u8 {
    match running.until_signal(signals, tell).await {
        Ended::Asked => 0,
        Ended::Replaced => 1,
    }
}

fn tell(notice: Notice) {
    match notice {
        Notice::Draining { active: 0 } => say("\nending the agents"),
        Notice::Draining { active } => {
            let noun = if active == 1 { "execution" } else { "executions" };
            say(&format!("\n{active} {noun} left; their agents end after them. Once more ends them at once"));
        }
        Notice::AtOnce => say("ending what runs"),
    }
}

/// The first repository that will never work as it was given: better to say so than to serve nothing.
fn refused(registrations: &[Registration]) -> Option<Error> {
    registrations.iter().find_map(|registration| match &registration.result {
        Err(error) if error.retry() == Retry::Never => Some(Error::Failed {
            message: format!("{} cannot be served", registration.repository.url),
            help: Some(
                "a repository has folders with a config.yaml below workflows/; `data-runner init` makes one"
                    .into(),
            ),
            source: Some(Box::new(error.clone())),
        }),
        Ok(_) | Err(_) => None,
    })
}

fn installation(args: &DevArgs, samples: Option<&Path>) -> Result<Installation, Error> {
    let own = std::env::current_exe()
        .map_err(|source| Error::io("this program's own path is not known", source))?;
    let given = args.repositories.iter().map(|given| repository(given));
    let mut repositories = given.collect::<Result<Vec<_>, _>>()?;
    repositories.extend(samples.map(|folder| StartRepository {
        name: Some(demo::REPOSITORY.to_owned()),
        url: absolute(folder),
        reference: None,
    }));
    // Started in a repository, it serves that.
    if repositories.is_empty() && Path::new("workflows").is_dir() {
        repositories.push(repository(".")?);
    }
    Ok(Installation {
        settings: settings(args),
        local_paths: LocalPaths::Files,
        repositories,
        agent: vec![own.into(), INTERNAL_AGENT.into()],
        agents: BTreeMap::new(),
        pass_env: vec!["AWS_".to_owned()],
    })
}

/// What exists here is a path, what looks like a URL is one; whether it is good, the server judges.
fn repository(given: &str) -> Result<StartRepository, Error> {
    let url = if Path::new(given).exists() {
        absolute(Path::new(given))
    } else if given.contains(':') {
        given.to_owned()
    } else {
        return Err(Error::not_found(
            format!("there is no folder {given}"),
            "give a folder, or the URL of a git repository; `data-runner init` makes a small one",
        ));
    };
    Ok(StartRepository { name: None, url, reference: None })
}

fn absolute(path: &Path) -> String {
    let absolute: PathBuf =
        path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or(path.to_owned());
    absolute.display().to_string()
}

fn settings(args: &DevArgs) -> Settings {
    Settings {
        listen: args.listen,
        grpc_listen: args.grpc_listen,
        public_url: None,
        grpc_url: None,
        installation: "dev".to_owned(),
        state: args.state_dir.clone(),
        repositories: Vec::new(),
        heartbeat_url: None,
        hooks: HookSettings::default(),
        provisioner: ProvisionerSettings::Local(LocalSettings { workers: args.workers, slots: 1 }),
        agents: AgentSettings {
            heartbeat: Duration::from_secs(5),
            suspect_after: Duration::from_secs(30),
            lost_after: Duration::from_secs(120),
        },
        python: PythonSettings::default(),
        tls: None,
        login: false,
    }
}
