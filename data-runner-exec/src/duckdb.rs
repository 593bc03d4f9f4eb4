//! DuckDB: an SQL script in the CLI, the program itself and not its Python wrapper.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use async_trait::async_trait;
use data_runner_core::id::WorkerType;
use data_runner_core::port::{ExecuteError, Executor, Prepared, RunRequest, RunningJob};
use data_runner_core::workflow::{PackageChoice, PackageLock, ParamValue};

use crate::environment::{
    Environment, EnvironmentError, Environments, Requirements, Resolution, failure, hinting,
};
use crate::job_env::{temporary_folder, without_tokens};
use crate::polars::is_a_file;
use crate::runner::{Engine, Runner};
use crate::running::machine;
use crate::s3::{CloudCredentials, CloudKeys, duckdb_secret, is_told};
use crate::script::Script;
use crate::shim::PROFILE_PIPE;
use crate::shim::record::MemorySign;

/// The newest release whose httpfs extension can be had from the package index too, so that it works without DuckDB's
/// own extension server.
const PINNED: &str = "1.5.5";

/// The package that holds the program.
const PACKAGE: &str = "duckdb-cli";

/// DuckDB's `memory_limit` holds for its buffers only; the rest of the process needs room beside them.
const MEMORY_PERCENT: u64 = 75;

/// No start-up file of whoever runs the agent, nothing that only a terminal wants, and an end at the first error.
/// (Newer releases have `-no-init`; 1.4 has not.)
const QUIET: [&str; 4] = ["-init", "/dev/null", "-batch", "-bail"];

/// Runs `workflow.sql` scripts; the worker type `duckdb`.
///
/// Every statement runs, in order; results are printed as boxes; the first error ends the job with code 1. A parameter
/// is `getvariable('name')`. DuckDB may use the job's processors and three quarters of its memory; what does not fit
/// spills into the run's folder. What DuckDB's profile tells of each statement is kept, unless the script looks at profiles
/// itself or shuts files off, and so is the beginning of the last result. Extensions beside those built in come from `dependencies.duckdb.extensions`; a script
/// that mentions `s3://` gets httpfs, and S3 as this machine's role: by DuckDB's own `aws` extension where that is
/// installed or asked for, which renews the role's keys, else with keys that are taken when the job is made ready.
#[derive(Debug, Clone)]
pub struct DuckdbExecutor {
    worker_type: WorkerType,
    runner: Runner,
    environments: Environments,
    credentials: Option<Arc<dyn CloudCredentials>>,
}

impl DuckdbExecutor {
    /// Runs the jobs of `worker_type` (`duckdb`).
    pub fn new(worker_type: WorkerType, runner: Runner, environments: Environments) -> Self {
        Self { worker_type, runner, environments, credentials: None }
    }

    /// Gives jobs that use S3 these credentials, unless their configuration names others.
    #[must_use]
    pub fn with_credentials(self, credentials: Arc<dyn CloudCredentials>) -> Self {
        Self { credentials: Some(credentials), ..self }
    }

    /// Keys for a job that uses S3 and was not told who it is there.
    async fn keys(&self, run: &RunRequest) -> Option<Result<CloudKeys, String>> {
        let told = self.runner.variables_for(run);
        if is_told(told.keys().chain(run.job.secrets.keys())) {
            return None;
        }
        match self.credentials.as_ref()?.credentials().await {
            Ok(keys) => keys.map(Ok),
            Err(error) => Some(Err(format!("S3 is used as nobody: {error}"))),
        }
    }

    fn prepare_blocking(
        &self,
        run: &RunRequest,
        script: Script,
        keys: Option<CloudKeys>,
    ) -> Result<Prepared, ExecuteError> {
        let s3 = script.s3;
        let secrets = keys.map(CloudKeys::into_variables).unwrap_or_default();
        let wanted = &run.job.dependencies.duckdb;
        let cli = self.cli(wanted.version.as_deref(), &run.job.packages)?;
        let mut extensions = wanted.extensions.clone();
        if s3 && !extensions.iter().any(|name| name == "httpfs") {
            extensions.push("httpfs".to_owned());
        }
        if s3 && !extensions.iter().any(|name| name == "aws") && cli.has_installed("aws") {
            extensions.push("aws".to_owned());
        }
        let mut command = vec![OsString::from(&cli.program)];
        command.extend(QUIET.map(OsString::from));
        command.push("-box".into());
        for line in self.prelude(run, &cli, &extensions)? {
            command.extend(["-cmd".into(), line.into()]);
        }
        if s3 {
            let variables = self.runner.variables_for(run);
            let names = variables.keys().chain(run.job.secrets.keys()).chain(secrets.keys());
            let names: Vec<&str> = names.map(String::as_str).collect();
            let chain = extensions.iter().any(|name| name == "aws");
            if let Some(secret) = duckdb_secret(chain, &names, &variables) {
                // It prints that it succeeded.
                for line in [".output /dev/null", &secret, ".output"] {
                    command.extend(["-cmd".into(), line.into()]);
                }
            }
        }
        let mut notes = cli.notes;
        if script.unprofiled {
            notes.push(
                "statements are not profiled: the script does that itself, or shuts files off".to_owned(),
            );
        } else {
            // In this order, and last: from here on every statement is told of.
            let pipe = quoted(&run.folder.join(PROFILE_PIPE).to_string_lossy());
            let output = format!("SET profiling_output = {pipe}");
            command.extend(["-cmd".into(), "SET enable_profiling = 'json'".into()]);
            command.extend(["-cmd".into(), output.into()]);
        }
        command.extend(["-f".into(), OsString::from(&run.job.entrypoint)]);
        Ok(Prepared { command, notes, secrets, packages: cli.packages, ..Prepared::default() })
    }

    fn cli(&self, version: Option<&str>, packages: &PackageChoice) -> Result<Cli, EnvironmentError> {
        let known = match packages {
            PackageChoice::Lock(lock) => lock.version_of(PACKAGE),
            PackageChoice::Worker | PackageChoice::Anew => None,
        };
        let specifier = match known {
            Some(known) => format!("=={known}"),
            None => specifier(version.unwrap_or(PINNED))?,
        };
        let requirement = Requirements::exactly(format!("{PACKAGE}{specifier}"));
        let environment = self.environments.get(&requirement, None, packages.into());
        Cli::of(&environment.map_err(|error| hinting(error, packages))?)
    }

    /// What is done before the script. Nothing of it prints anything.
    fn prelude(
        &self,
        run: &RunRequest,
        cli: &Cli,
        extensions: &[String],
    ) -> Result<Vec<String>, EnvironmentError> {
        let spill = spill_folder(run);
        let mut lines = vec![
            format!(
                "SET memory_limit = '{}MiB'",
                self.runner.memory_for(run) * MEMORY_PERCENT / 100 / (1 << 20)
            ),
            format!("SET threads = {}", self.runner.cpus_for(run)),
            format!("SET temp_directory = {}", quoted(&spill.to_string_lossy())),
            format!("SET max_temp_directory_size = '{}MiB'", spill_limit(&run.folder) / (1 << 20)),
            "SET autoinstall_known_extensions = false".to_owned(),
        ];
        for name in extensions {
            lines.push(self.load(cli, name)?);
        }
        for (name, value) in &run.job.params {
            lines.push(format!("SET VARIABLE {} = {}", identifier(name), literal(value)));
        }
        Ok(lines)
    }

    /// The statement that loads an extension, which is made ready for it.
    fn load(&self, cli: &Cli, name: &str) -> Result<String, EnvironmentError> {
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') || name.is_empty() {
            return Err(failure(format!("{name:?} is not the name of a DuckDB extension")).into());
        }
        if name == "httpfs"
            && let Some(file) = self.packaged_httpfs(cli)
        {
            return Ok(format!("LOAD {}", quoted(&file.to_string_lossy())));
        }
        let install = format!("INSTALL {name}; LOAD {name}");
        let mut install_it = Command::new(&cli.program);
        without_tokens(&mut install_it);
        let tried = install_it.args(QUIET).args(["-c", &install]).output();
        let tried =
            tried.map_err(|error| EnvironmentError::Machine("installing a DuckDB extension", error))?;
        if tried.status.success() {
            return Ok(format!("LOAD {name}"));
        }
        let said = String::from_utf8_lossy(&tried.stderr);
        let said = said.lines().next().unwrap_or("no reason given");
        let message =
            format!("the DuckDB extension {name} could not be installed for {}: {said}", cli.version);
        Err(failure(message)
            .hinting(format!(
                "the worker must reach DuckDB's extension server; httpfs for DuckDB {PINNED} needs only the package index"
            ))
            .into())
    }

    /// The package index has httpfs for some versions; it must be the CLI's own.
    fn packaged_httpfs(&self, cli: &Cli) -> Option<PathBuf> {
        let requirement = format!("duckdb-extension-httpfs=={}", cli.version);
        let environment =
            self.environments.get(&Requirements::exactly(requirement), None, Resolution::Kept).ok()?;
        let path = format!("duckdb_extension_httpfs/extensions/v{}/httpfs.duckdb_extension", cli.version);
        environment.package_file(&path)
    }
}

struct Cli {
    program: PathBuf,
    version: String,
    notes: Vec<String>,
    packages: Option<Arc<PackageLock>>,
}

impl Cli {
    fn of(environment: &Environment) -> Result<Self, EnvironmentError> {
        let missing = || failure("the package duckdb-cli does not hold the program it should");
        // In releases before 1.5 the program itself lies where later ones have a wrapper written in Python.
        let packaged = environment.package_file("duckdb_cli/duckdb");
        let program =
            packaged.or_else(|| Some(environment.folder.join("bin/duckdb")).filter(|file| is_elf(file)));
        let program = program.ok_or_else(missing)?;
        let version = environment.version_of(PACKAGE).ok_or_else(missing)?.to_owned();
        // A repackaged release is the same DuckDB.
        let version = version.split(".post").next().unwrap_or_default().to_owned();
        let mut notes = vec![format!("DuckDB {version}")];
        notes.extend(environment.notes.iter().filter(|note| note.starts_with("lock")).cloned());
        let packages = environment.packages.as_ref().map(|lock| Arc::new(lock.without_python()));
        Ok(Self { program, version, notes, packages })
    }
}

impl Cli {
    /// Whether this version has the extension on this machine, so that loading it asks nobody.
    fn has_installed(&self, extension: &str) -> bool {
        let Some(home) = std::env::var_os("HOME") else { return false };
        let folder = Path::new(&home).join(format!(".duckdb/extensions/v{}", self.version));
        let platforms = std::fs::read_dir(folder).into_iter().flatten().flatten();
        platforms
            .into_iter()
            .any(|platform| platform.path().join(format!("{extension}.duckdb_extension")).is_file())
    }
}

fn is_elf(file: &Path) -> bool {
    let mut magic = [0; 4];
    std::fs::File::open(file).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && &magic == b"\x7fELF"
}

/// `1.4` is the newest 1.4.x, `1.4.4` exactly that (a repackaging of it included).
fn specifier(version: &str) -> Result<String, EnvironmentError> {
    let numbers = version.split('.').count();
    let valid =
        version.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    match (valid, numbers) {
        (true, 3) => Ok(format!("=={version}")),
        (true, 1 | 2) => Ok(format!("=={version}.*")),
        _ => Err(failure(format!("{version:?} is not a version of DuckDB"))
            .hinting("write 1.5 for the newest 1.5.x, or 1.5.5")
            .into()),
    }
}

/// Where DuckDB puts what does not fit into memory.
fn spill_folder(run: &RunRequest) -> PathBuf {
    temporary_folder(run).join("duckdb")
}

/// Most of what the disk has left, so that a query that spills fails before everything else on the machine does.
fn spill_limit(folder: &Path) -> u64 {
    rustix::fs::statvfs(folder).map_or(1 << 30, |disk| disk.f_bavail.saturating_mul(disk.f_frsize) / 10 * 8)
}

pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(value: &ParamValue) -> String {
    match value {
        ParamValue::String(text) | ParamValue::Enum(text) => quoted(text),
        ParamValue::Int(number) => format!("{number}::BIGINT"),
        ParamValue::Float(number) => format!("'{number}'::DOUBLE"),
        ParamValue::Bool(value) => value.to_string(),
        ParamValue::Date(date) => format!("DATE '{date}'"),
        ParamValue::Datetime(at) => format!("TIMESTAMPTZ '{at}'"),
    }
}

#[async_trait]
impl Executor for DuckdbExecutor {
    fn worker_type(&self) -> WorkerType {
        self.worker_type.clone()
    }

    async fn prepare(&self, run: Arc<RunRequest>) -> Result<Prepared, ExecuteError> {
        let script = run.working_directory().join(&run.job.entrypoint);
        is_a_file(&script, &run.job.entrypoint)?;
        let sql = tokio::fs::read(&script).await.map_err(|error| machine("reading the script", error))?;
        let listed = run.job.dependencies.duckdb.extensions.iter().any(|name| name == "httpfs");
        let script = Script::of(&sql, &run.code());
        let script = Script { s3: listed || script.s3, ..script };
        let (keys, note) = match if script.s3 { self.keys(&run).await } else { None } {
            Some(Ok(keys)) => (Some(keys), None),
            Some(Err(note)) => (None, Some(note)),
            None => (None, None),
        };
        let this = self.clone();
        let prepared = tokio::task::spawn_blocking(move || this.prepare_blocking(&run, script, keys)).await;
        let mut prepared = prepared.map_err(|error| machine("making DuckDB ready", error))??;
        prepared.notes.extend(note);
        Ok(prepared)
    }

    async fn start(
        &self,
        run: Arc<RunRequest>,
        prepared: Prepared,
    ) -> Result<Box<dyn RunningJob>, ExecuteError> {
        let sign = MemorySign { code: 1, line_starts_with: "Out of Memory Error:".to_owned() };
        let engine = Engine { memory_signs: vec![sign], spill: Some(spill_folder(&run)), sql: true };
        self.runner.start(&run, &prepared, engine).await
    }

    async fn adopt(&self, run: Arc<RunRequest>) -> Result<Option<Box<dyn RunningJob>>, ExecuteError> {
        self.runner.adopt(&run).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_parameter_cannot_leave_its_literal() {
        assert_eq!(literal(&ParamValue::String("it's; DROP TABLE x".to_owned())), "'it''s; DROP TABLE x'");
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal(&ParamValue::Date("2026-08-01".parse().unwrap())), "DATE '2026-08-01'");
    }

    #[test]
    fn a_short_version_means_the_newest_of_it() {
        assert_eq!(specifier("1.4").unwrap(), "==1.4.*");
        assert_eq!(specifier("1.4.4").unwrap(), "==1.4.4");
        for bad in ["", "latest", ">=1", "1.4.x", "1.4.4.1"] {
            assert!(specifier(bad).is_err(), "{bad}");
        }
    }
}
