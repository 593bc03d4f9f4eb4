//! A package index: one that wants to know who asks, and one where newer packages appear.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fixture;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use data_runner_core::execution::{Ending, Failure, FailureCause};
use data_runner_core::log::Stream;
use data_runner_core::port::{ExecuteError, Executor, RunRequest, SecretError, SecretResolver, SecretValue};
use data_runner_core::workflow::{PackageChoice, PackageLock, PythonDependency, SecretRef};
use data_runner_exec::{
    EnvironmentOptions, Environments, IndexAuth, PackageIndex, PolarsExecutor, RunOptions, Runner,
};
use data_runner_testkit::contract::executor::{bytes_of, follow};
use data_runner_testkit::packages::Packages;
use fixture::{Fixture, shims};
use tempfile::TempDir;

/// Who may use the index.
const MEMBER: &str = "me:correct horse/battery:staple";

/// A store with one secret.
struct Vault(Option<&'static str>);

#[async_trait]
impl SecretResolver for Vault {
    async fn resolve(&self, reference: &SecretRef) -> Result<SecretValue, SecretError> {
        let value = self.0.map(|value| SecretValue::new(value.to_owned()));
        value.ok_or_else(|| SecretError::NotFound { reference: reference.clone() })
    }
}

/// Environments of nobody else, made by a uv that notes how it is called.
struct Tools {
    folder: TempDir,
}

impl Tools {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("uv");
        let calls = folder.path().join("calls");
        let script = format!(
            "#!/bin/sh\necho \"$@\" >>'{}'\nexec '{}' \"$@\"\n",
            calls.display(),
            uv().await.display()
        );
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    fn polars(&self, index: &Packages, auth: Option<Vault>) -> PolarsExecutor {
        let auth = auth.map(|vault| IndexAuth {
            reference: "aws-ssm:///pypi".parse().unwrap(),
            resolver: Arc::new(vault),
        });
        let options = EnvironmentOptions {
            index: Some(PackageIndex { url: index.url(), auth }),
            uv: Some(self.folder.path().join("uv")),
            ..EnvironmentOptions::new(self.folder.path().join("tools"))
        };
        assert!(!format!("{options:?}").contains("horse"));
        let runner = Runner::new(shims(), RunOptions::default());
        PolarsExecutor::new("polars".parse().unwrap(), runner, Environments::new(options))
    }

    /// Whether `text` is in a file of it, or in how uv was called.
    fn holds(&self, text: &str) -> bool {
        fn holds(folder: &Path, text: &[u8]) -> bool {
            fs::read_dir(folder).unwrap().flatten().any(|entry| {
                let kind = entry.file_type().unwrap();
                let in_name =
                    entry.file_name().as_encoded_bytes().windows(text.len()).any(|part| part == text);
                let inside = kind.is_dir() && holds(&entry.path(), text);
                let in_file = || fs::read(entry.path()).unwrap().windows(text.len()).any(|part| part == text);
                in_name || inside || (kind.is_file() && in_file())
            })
        }
        holds(self.folder.path(), text.as_bytes())
    }
}

/// The uv that the machine has, or one that is installed into the build folder.
async fn uv() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(found) = std::env::split_paths(&path).map(|folder| folder.join("uv")).find(|it| it.is_file())
    {
        return found;
    }
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tools");
    let fixture = Fixture::new();
    let runner = Runner::new(shims(), RunOptions::default());
    let environments = Environments::new(EnvironmentOptions::new(&tools));
    let polars = PolarsExecutor::new("polars".parse().unwrap(), runner, environments);
    polars.prepare(Arc::new(script(&fixture, &[]))).await.unwrap();
    let folders = fs::read_dir(tools).unwrap().flatten().map(|entry| entry.path().join("bin/uv"));
    folders.into_iter().find(|file| file.is_file()).unwrap()
}

/// A job that prints which version of `tiny` it has.
fn script(fixture: &Fixture, requirements: &[&str]) -> RunRequest {
    let mut run = fixture.empty_request();
    let job = Arc::make_mut(&mut run.job);
    "workflow.py".clone_into(&mut job.entrypoint);
    if !requirements.is_empty() {
        let lines = requirements.iter().map(|line| (*line).to_owned()).collect();
        job.dependencies.requirements = PythonDependency::List(lines);
    }
    fs::write(run.working_directory().join("workflow.py"), "import tiny\nprint(tiny.VERSION)\n").unwrap();
    run
}

fn index() -> Packages {
    let index = Packages::start().for_members(MEMBER);
    for (name, version) in [("polars", "2.1.0"), ("tiny", "1.0")] {
        index.publish(name, version);
    }
    index
}

async fn failure(polars: &PolarsExecutor) -> Failure {
    let fixture = Fixture::new();
    match polars.prepare(Arc::new(script(&fixture, &["tiny"]))).await {
        Err(ExecuteError::Failed(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn packages_are_had_again_exactly_as_they_were_or_resolved_anew() {
    let (index, first, fixture) = (Packages::start(), Tools::new().await, Fixture::new());
    for (name, version) in [("polars", "2.1.0"), ("tiny", "1.0")] {
        index.publish(name, version);
    }
    let got = async |tools: &Tools, choice: PackageChoice| {
        let mut run = script(&fixture, &["tiny"]);
        Arc::make_mut(&mut run.job).packages = choice;
        let prepared = tools.polars(&index, None).prepare(Arc::new(run)).await.unwrap();
        prepared.packages.unwrap()
    };
    let old = got(&first, PackageChoice::Worker).await;
    assert_eq!(old.requirements(), "polars==2.1.0\ntiny==1.0\n");
    assert!(old.python().is_some_and(|version| version.starts_with("3.")));
    index.publish("tiny", "1.1");
    index.publish("polars", "2.1.0");
    assert_eq!(got(&first, PackageChoice::Worker).await, old, "this worker has resolved that before");
    let second = Tools::new().await;
    let newer = got(&second, PackageChoice::Worker).await;
    assert_eq!(newer.version_of("tiny"), Some("1.1"), "another worker finds what is there now");
    assert_eq!(got(&second, PackageChoice::Lock(old.clone())).await, old);
    assert_eq!(got(&first, PackageChoice::Anew).await, newer);
    assert_eq!(got(&first, PackageChoice::Worker).await, newer, "and so it stays");
}

#[tokio::test]
async fn packages_that_are_gone_are_a_failure_that_says_what_to_do() {
    let (index, tools, fixture) = (index(), Tools::new().await, Fixture::new());
    let mut run = script(&fixture, &["tiny"]);
    let lock = PackageLock::of_freeze("3.12.4", "tiny==0.9\n").unwrap().without_python();
    Arc::make_mut(&mut run.job).packages = PackageChoice::Lock(Arc::new(lock));
    let polars = tools.polars(&index, Some(Vault(Some(MEMBER))));
    let Err(ExecuteError::Failed(failure)) = polars.prepare(Arc::new(run)).await else { panic!() };
    assert_eq!(failure.cause, FailureCause::Environment);
    assert!(failure.message.contains("tiny==0.9"), "{failure:?}");
    assert!(failure.hint.unwrap().contains("`rerun`"));
}

#[tokio::test]
async fn packages_come_from_an_index_that_wants_a_password_which_stands_nowhere() {
    let (index, tools, fixture) = (index(), Tools::new().await, Fixture::new());
    let polars = tools.polars(&index, Some(Vault(Some(MEMBER))));
    let request = Arc::new(script(&fixture, &["tiny"]));
    let prepared = polars.prepare(Arc::clone(&request)).await.unwrap();
    assert!(!format!("{prepared:?}").contains("horse"));
    let job = polars.start(request, prepared).await.unwrap();
    let (chunks, end) = follow(job.as_ref()).await;
    assert_eq!(end.ending, Ending::Exited { code: 0 });
    assert_eq!(bytes_of(&chunks, Stream::Stdout), b"1.0\n");
    assert!(index.requests().1 >= 4, "{:?}", index.requests());
    assert!(tools.holds("pip compile") && tools.holds("tiny"), "how uv was called is noted");
    for form in ["horse", "Y29ycmVjdC", "correct%20"] {
        assert!(!tools.holds(form), "{form}");
    }
}

#[tokio::test]
async fn wrong_credentials_are_a_failure_of_the_environment_that_does_not_tell_them() {
    let (index, tools) = (index(), Tools::new().await);
    let failure = failure(&tools.polars(&index, Some(Vault(Some("me:hunter2hunter2"))))).await;
    assert_eq!(failure.cause, FailureCause::Environment);
    assert!(failure.message.contains("401 Unauthorized"), "{failure:?}");
    assert!(!format!("{failure:?}").contains("hunter2"));
    assert_eq!(
        failure.hint.as_deref(),
        Some(
            "the package index did not take the credentials of aws-ssm:///pypi: it must hold user:password or a token"
        )
    );
    assert!(index.requests().0 > 0);
}

#[tokio::test]
async fn credentials_that_are_not_there_or_not_asked_for_are_said() {
    let (index, tools) = (index(), Tools::new().await);
    let missing = failure(&tools.polars(&index, Some(Vault(None)))).await;
    assert_eq!(missing.cause, FailureCause::Environment);
    assert_eq!(missing.message, "no credentials for the package index: there is no secret aws-ssm:///pypi");
    let nobody = failure(&tools.polars(&index, None)).await;
    assert!(nobody.hint.unwrap().contains("`python.index_auth`"));
}
