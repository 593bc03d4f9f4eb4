//! `run --local`: the job in this process, without any server.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use clap::Parser as _;
use data_runner_agent::AgentOptions;
use data_runner_core::execution::{Ending, StopReason};
use data_runner_core::id::{RepoName, Revision, Sha256, WorkflowId};
use data_runner_core::log::{Segment, Stream};
use data_runner_core::port::{JobEnd, SourceOpener as _};
use data_runner_core::time::Timestamp;
use data_runner_core::workflow::config::{self, ParseContext, Severity, WorkflowConfig};
use data_runner_core::workflow::{
    BundleRef, DefinitionState, JobSpec, Presence, Repo, WorkerTypes, Workflow, params, prepare_job,
};
use data_runner_git::{LocalPaths, Opener, OpenerOptions};
use data_runner_server::Signals;
use tokio_util::sync::CancellationToken;

use super::unpushed::{LocalFolder, is_folder};
use crate::args::RunArgs;
use crate::error::{Error, OURS};
use crate::output::{Output, say, style};

/// Where environments, and what runs at the moment, are kept; the same as `dev`'s.
const STATE: &str = ".data-runner";

/// What is run: the code, and what its configuration says.
struct Local {
    path: String,
    revision: Revision,
    config: WorkflowConfig,
    archive: Vec<u8>,
}

/// The options of an agent, as the environment has them.
#[derive(Debug, clap::Parser)]
struct Options {
    #[command(flatten)]
    agent: AgentOptions,
}

/// Runs the job here, its output on stdout and stderr, and ends as it ended.
pub async fn run_local(
    args: &RunArgs,
    given: &serde_json::Map<String, serde_json::Value>,
    output: Output,
) -> Result<u8, Error> {
    let local = if is_folder(&args.workflow) {
        of_folder(Path::new(&args.workflow), args.reference.as_deref()).await?
    } else {
        of_name(&args.workflow, args.reference.as_deref()).await?
    };
    let job = job(&local, given)?;
    say(&style::dim(&format!("  {} at {}, here", local.path, local.revision.short())));
    let mut options = Options::try_parse_from(["data-runner"])
        .map_err(|error| Error::usage(error.to_string(), "correct the DATA_RUNNER_… variable"))?
        .agent;
    options.state_dir = PathBuf::from(STATE);
    options.pass_env.push("AWS_".to_owned());
    let ended = ended(&options, job, local.archive, output).await?;
    Ok(report(&ended))
}

async fn ended(
    options: &AgentOptions,
    job: JobSpec,
    archive: Vec<u8>,
    output: Output,
) -> Result<JobEnd, Error> {
    let mut signals = Signals::catch().map_err(|source| Error::io("signals cannot be caught", source))?;
    let stop = CancellationToken::new();
    let broken: Arc<Mutex<Option<std::io::Error>>> = Arc::default();
    let print = {
        let (stop, broken) = (stop.clone(), Arc::clone(&broken));
        move |segment: Segment| {
            if let Err(error) = print(&segment, output) {
                *broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                stop.cancel();
            }
        }
    };
    let running = data_runner_agent::run_alone(options, job, archive.into(), stop.clone(), print);
    tokio::pin!(running);
    let ended = loop {
        tokio::select! {
            ended = &mut running => break ended,
            () = signals.next() => {
                if stop.is_cancelled() {
                    continue;
                }
                say("\nending the job; it has its grace period to end by itself");
                stop.cancel();
            }
        }
    };
    if let Some(error) = broken.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(error.into());
    }
    ended.map_err(|error| Error::Failed {
        message: "the job cannot be run here".to_owned(),
        help: Some("`data-runner doctor` says what this machine lacks".to_owned()),
        source: Some(error.into()),
    })
}

fn print(segment: &Segment, output: Output) -> std::io::Result<()> {
    match segment {
        Segment::Output { stream: Stream::Stdout, bytes, .. } if output.is_table() => {
            let mut out = std::io::stdout().lock();
            out.write_all(bytes)?;
            out.flush()
        }
        Segment::Output { bytes, .. } => std::io::stderr().lock().write_all(bytes),
        Segment::Missing { .. } => Ok(()),
    }
}

/// Says how it ended; the exit code.
fn report(end: &JobEnd) -> u8 {
    for warning in &end.warnings {
        say(&format!("{} {warning}", style::warn("warning")));
    }
    if let Some(failure) = end.ending.failure(end.ran_for) {
        say(&format!("{} {}: {}", style::error("failed"), failure.cause.as_str(), failure.message));
        if let Some(hint) = failure.hint {
            say(&format!("  {} {hint}", style::help("hint:")));
        }
    }
    match end.ending {
        Ending::Exited { code } => code,
        Ending::Signalled { signal } => signal.saturating_add(128),
        Ending::OutOfMemory { .. } => 137,
        Ending::Stopped { reason: StopReason::Timeout } => 124,
        Ending::Stopped { reason: StopReason::Cancelled } => 130,
        Ending::Stopped { reason: StopReason::Interrupted | StopReason::Disowned }
        | Ending::NeverStarted { .. }
        | Ending::Vanished { .. } => OURS,
    }
}

fn job(local: &Local, given: &serde_json::Map<String, serde_json::Value>) -> Result<JobSpec, Error> {
    // As a server has it.
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let references = params::References::by_hand(today);
    let params = params::resolve(&local.config.params, given, &references).map_err(|problems| {
        let all: Vec<String> = problems.iter().map(|problem| problem.message.clone()).collect();
        Error::usage(all.join("; "), "see `params` in its config.yaml")
    })?;
    let bundle = BundleRef { hash: Sha256::of(&local.archive), bytes: local.archive.len() as u64 };
    let workflow = workflow(local)?;
    Ok(prepare_job(&workflow, &local.revision, &local.config, bundle, params))
}

fn workflow(local: &Local) -> Result<Workflow, Error> {
    let named = |error: data_runner_core::id::InvalidId| {
        Error::usage(error.to_string(), "rename the workflow's folder")
    };
    let name = local.path.rsplit('/').next().unwrap_or_default();
    let now = Timestamp::from_micros(jiff::Timestamp::now().as_microsecond());
    Ok(Workflow {
        id: WorkflowId::from_uuid(uuid::Uuid::nil()),
        repo: "local".parse::<RepoName>().map_err(named)?,
        name: name.parse().map_err(named)?,
        path: local.path.clone(),
        presence: Presence::Present,
        definition: DefinitionState::Broken { revision: local.revision.clone(), problems: Vec::new() },
        paused_at: None,
        failing_since: None,
        spent: Default::default(),
        created_at: now,
        updated_at: now,
    })
}

async fn of_folder(given: &Path, reference: Option<&str>) -> Result<Local, Error> {
    let folder = LocalFolder::open(given)?;
    match reference {
        Some(reference) => of_commit(&folder.root, reference, |path| path == folder.path).await,
        None => of_files(folder),
    }
}

fn of_files(folder: LocalFolder) -> Result<Local, Error> {
    let archive = folder.pack()?;
    let hash = Sha256::of(&archive);
    let revision = hash.as_str().parse().map_err(|error| failed("the folder's hash", error))?;
    Ok(Local { path: folder.path, revision, config: folder.config, archive })
}

/// A workflow of the repository that one stands in, by its name; `repo/name` will do as well.
async fn of_name(given: &str, reference: Option<&str>) -> Result<Local, Error> {
    let name = given.rsplit('/').next().unwrap_or(given);
    let root = root_above().ok_or_else(|| {
        Error::not_found(
            "there is no repository with a folder workflows/ here or above",
            "--local runs what is on this machine: go to a clone of the repository",
        )
    })?;
    let is_it = |path: &str| path.rsplit('/').next() == Some(name);
    if let Some(reference) = reference {
        return of_commit(&root, reference, is_it).await;
    }
    let found = super::validate::configs_at(&root)?;
    let folder = found
        .iter()
        .filter_map(|config| config.parent())
        .find(|folder| folder.file_name().is_some_and(|last| last.to_string_lossy() == name));
    let folder = folder.ok_or_else(|| missing(name, &root))?;
    of_files(LocalFolder::open(folder)?)
}

fn missing(name: &str, root: &Path) -> Error {
    Error::not_found(
        format!("there is no workflow {name:?} in {}", root.display()),
        "its name is that of its folder below workflows/",
    )
}

/// The repository that one stands in: the nearest folder that has `workflows`.
fn root_above() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    here.ancestors().find(|folder| folder.join("workflows").is_dir()).map(Path::to_owned)
}

/// A workflow as a commit of the local repository has it.
async fn of_commit(root: &Path, reference: &str, is_it: impl Fn(&str) -> bool) -> Result<Local, Error> {
    let mut options = OpenerOptions::new(PathBuf::from(STATE).join("repositories"));
    options.local = LocalPaths::Commits;
    let repo = Repo {
        name: "local".parse().map_err(|error| failed("the repository", error))?,
        url: format!("file://{}", git_root(root).display()),
        reference: reference.to_owned(),
        only: Vec::new(),
        head: None,
        synced_at: None,
        error: None,
    };
    let cannot = |error| failed("the commit", error);
    let source = Opener::new(options).open(&repo).map_err(cannot)?;
    let revision = source.resolve(reference).await.map_err(cannot)?;
    let folders = source.discover(&revision).await.map_err(cannot)?;
    let folder = folders.into_iter().find(|folder| is_it(&folder.path));
    let folder = folder.ok_or_else(|| missing(reference, root))?;
    let config = parsed(&folder.path, &folder.config, &folder.files)?;
    let archive = source.fetch(&revision, &folder.path, &config.include).await.map_err(cannot)?;
    Ok(Local { path: folder.path, revision, config, archive: archive.into() })
}

fn git_root(root: &Path) -> PathBuf {
    let above = root.ancestors().find(|folder| folder.join(".git").exists());
    above.unwrap_or(root).to_owned()
}

fn parsed(path: &str, text: &[u8], files: &[String]) -> Result<WorkflowConfig, Error> {
    let worker_types = WorkerTypes::default();
    let context = ParseContext { worker_types: &worker_types, files: Some(files) };
    let parsed = config::parse(&format!("{path}/config.yaml"), text, &context);
    let problems = parsed.problems();
    if !problems.is_empty() {
        say(config::render(problems, true).trim_end());
    }
    match parsed.value().filter(|_| !problems.iter().any(|it| it.severity == Severity::Error)) {
        Some(config) => Ok(config.clone()),
        None => Err(Error::usage(format!("{path} cannot be run"), "correct what is said above")),
    }
}

fn failed(what: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Failed { message: format!("{what} cannot be read"), help: None, source: Some(Box::new(error)) }
}
