//! uv: it resolves and builds; jobs are started without it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use data_runner_core::execution::Failure;
use rustix::fs::FlockOperation;
use rustix::process::Signal;

use super::requirements::Requirements;
use super::{EnvironmentError, EnvironmentOptions, Resolution, failure, unfinished_name, write_whole};
use crate::job_env::without_tokens;
use crate::process::pid_of;

/// How long one call of uv may take. What hangs would hold the lock of an environment, and so every later attempt.
const WITHIN: Duration = Duration::from_secs(20 * 60);

/// What tells uv where the package index is.
const DEFAULT_INDEX: &str = "UV_DEFAULT_INDEX";

/// The version that is installed where the machine has none.
const PINNED: &str = "0.13.9";

#[derive(Debug)]
pub(super) struct Uv {
    options: EnvironmentOptions,
    found: OnceLock<(PathBuf, String)>,
}

impl Uv {
    pub(super) fn new(options: EnvironmentOptions) -> Self {
        Self { options, found: OnceLock::new() }
    }

    /// What uv says of its version.
    pub(super) fn version(&self) -> Result<String, EnvironmentError> {
        Ok(self.program()?.1.clone())
    }

    /// The index that was chosen for Data Runner; empty when the machine's configuration rules.
    pub(super) fn index(&self) -> &str {
        self.options.index.as_ref().map_or("", |index| &index.url)
    }

    /// All packages of `requirements`, with versions and hashes.
    pub(super) fn resolve(
        &self,
        requirements: &Requirements,
        python: &Path,
        resolution: Resolution,
    ) -> Result<String, EnvironmentError> {
        let compile = |input: &Path, more: &[&str]| {
            let mut command =
                self.command(&["pip", "compile", "--quiet", "--generate-hashes", "--no-header"])?;
            if resolution == Resolution::Anew {
                // What uv heard of the index a short while ago is asked for again.
                command.arg("--refresh");
            }
            command.arg("--no-annotate").args(more).arg("--python").arg(python).arg(input);
            self.ask_index(&mut command, DEFAULT_INDEX, "resolving the packages")
        };
        let locked = match requirements {
            Requirements::Locked { project, .. } => {
                let mut export =
                    self.command(&["export", "--quiet", "--frozen", "--no-dev", "--no-emit-project"])?;
                export.args(["--no-header", "--no-annotate", "--project"]).arg(project);
                self.output(&mut export, "reading the uv.lock")
            }
            Requirements::Script { script, .. } => compile(script, &[]),
            Requirements::Lines { lines, exactly, .. } => {
                let input = self.options.tools.join(format!("{}.in", unfinished_name()));
                write_whole(&input, lines.as_bytes())
                    .map_err(|error| EnvironmentError::Machine("writing requirements", error))?;
                let locked = compile(&input, if *exactly { &["--no-deps"] } else { &[] });
                // Nobody will look for it.
                let _ = fs::remove_file(input);
                locked
            }
        };
        Ok(String::from_utf8_lossy(&locked?.stdout).into_owned())
    }

    /// An empty environment that can be renamed.
    pub(super) fn make_environment(&self, folder: &Path, python: &Path) -> Result<(), EnvironmentError> {
        let mut venv = self.command(&["venv", "--quiet", "--relocatable", "--no-project", "--python"])?;
        self.output(venv.arg(python).arg(folder), "making an environment").map(|_| ())
    }

    /// Installs exactly what `lock` lists, compiled: the first import would compile it anyway, in every job's time. Every
    /// hash is checked; what comes from a git repository, or an index without hashes, has none.
    pub(super) fn install(&self, environment: &Path, lock: &Path) -> Result<(), EnvironmentError> {
        let text =
            fs::read_to_string(lock).map_err(|error| EnvironmentError::Machine("reading a lock", error))?;
        let mut sync =
            self.command(&["pip", "sync", "--quiet", "--compile-bytecode", "--allow-empty-requirements"])?;
        sync.arg(if is_hashed(&text) { "--require-hashes" } else { "--verify-hashes" });
        sync.arg("--python").arg(environment.join("bin/python")).arg(lock);
        self.ask_index(&mut sync, DEFAULT_INDEX, "installing the packages").map(|_| ())
    }

    /// The packages of an environment, as `pip freeze` lists them.
    pub(super) fn list(&self, environment: &Path) -> Result<String, EnvironmentError> {
        let mut freeze = self.command(&["pip", "freeze", "--quiet", "--python"])?;
        let listed = self.output(freeze.arg(environment.join("bin/python")), "listing the packages")?;
        Ok(String::from_utf8_lossy(&listed.stdout).into_owned())
    }

    /// A Python that uv downloads, where that is allowed.
    pub(super) fn python(&self, version: &str) -> Result<Option<PathBuf>, EnvironmentError> {
        if !self.options.download_python {
            return Ok(None);
        }
        let mut install = self.command(&["python", "install", "--quiet", version])?;
        self.output(&mut install, "downloading Python")?;
        let found = self
            .output(self.command(&["python", "find", version])?.arg("--managed-python"), "finding Python")?;
        Ok(Some(PathBuf::from(String::from_utf8_lossy(&found.stdout).trim())))
    }

    fn command(&self, arguments: &[&str]) -> Result<Command, EnvironmentError> {
        let mut command = Command::new(&self.program()?.0);
        command.args(arguments).env("UV_CACHE_DIR", self.options.tools.join("uv-cache"));
        if !self.options.download_python {
            command.env("UV_PYTHON_DOWNLOADS", "never");
        }
        command.env("UV_PYTHON_INSTALL_DIR", self.options.tools.join("pythons"));
        command.env("UV_NO_PROGRESS", "1").env_remove("VIRTUAL_ENV");
        for (ours, pips) in [
            (DEFAULT_INDEX, "PIP_INDEX_URL"),
            ("UV_INDEX", "PIP_EXTRA_INDEX_URL"),
            ("UV_FIND_LINKS", "PIP_FIND_LINKS"),
            ("SSL_CERT_FILE", "PIP_CERT"),
        ] {
            // uv does not read pip's configuration; what is said for both is uv's.
            if let (None, Some(value)) = (std::env::var_os(ours), std::env::var_os(pips)) {
                command.env(ours, value);
            }
        }
        Ok(command)
    }

    /// What a command says that asks the package index, as who we are there; `variable` tells it where that is.
    fn ask_index(
        &self,
        command: &mut Command,
        variable: &str,
        doing: &'static str,
    ) -> Result<Output, EnvironmentError> {
        let Some(index) = &self.options.index else { return self.output(command, doing) };
        let access = index.access()?;
        command.env(variable, access.url());
        self.output(command, doing).map_err(|error| access.explain(error))
    }

    fn output(&self, command: &mut Command, doing: &'static str) -> Result<Output, EnvironmentError> {
        // A package that is built runs its own code.
        without_tokens(command);
        match output_within(command, WITHIN).map_err(|error| EnvironmentError::Machine(doing, error))? {
            Some(output) if output.status.success() => Ok(output),
            Some(output) => Err(said(doing, &output).into()),
            None => Err(failure(format!("{doing} took longer than {} minutes", WITHIN.as_secs() / 60))
                .hinting("see whether the worker reaches the package index")
                .into()),
        }
    }

    fn program(&self) -> Result<&(PathBuf, String), EnvironmentError> {
        if let Some(found) = self.found.get() {
            return Ok(found);
        }
        let program = match &self.options.uv {
            Some(uv) => uv.clone(),
            None if version_of("uv".as_ref()).is_some() => "uv".into(),
            None => self.install_uv()?,
        };
        let version = version_of(program.as_os_str())
            .ok_or_else(|| failure(format!("{} does not run, or is no uv", program.display())))?;
        Ok(self.found.get_or_init(|| (program, version)))
    }

    /// Installs uv with the machine's Python, once for all agents that share the folder.
    fn install_uv(&self) -> Result<PathBuf, EnvironmentError> {
        let failed = |error: io::Error| EnvironmentError::Machine("installing uv", error);
        let tools = &self.options.tools;
        let home = tools.join(format!("uv-{PINNED}"));
        let program = home.join("bin/uv");
        fs::create_dir_all(tools).map_err(failed)?;
        let lock = File::create(tools.join("uv.lock")).map_err(failed)?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
        if program.exists() {
            return Ok(program);
        }
        let unfinished = tools.join(unfinished_name());
        let mut venv = Command::new("python3");
        let made = venv.args(["-m", "venv"]).arg(&unfinished).output().map_err(|_| no_python())?;
        if !made.status.success() {
            let hint = "install Python's venv module (python3-venv on Debian and Ubuntu), or name a uv";
            return Err(said("making an environment for uv", &made).hinting(hint).into());
        }
        let mut pip = Command::new(unfinished.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]);
        pip.arg(format!("uv=={PINNED}"));
        self.ask_index(&mut pip, "PIP_INDEX_URL", "installing uv")?;
        fs::rename(&unfinished, &home).map_err(failed)?;
        Ok(program)
    }
}

/// Whether each requirement of a lock has a hash.
fn is_hashed(lock: &str) -> bool {
    let joined = lock.replace("\\\n", " ");
    let mut requirements = joined.lines().map(str::trim).filter(|it| !it.is_empty() && !it.starts_with('#'));
    requirements.all(|requirement| requirement.contains("--hash="))
}

/// What a command says in the end; `None` if it took too long and was killed, with all that it had started.
fn output_within(command: &mut Command, within: Duration) -> io::Result<Option<Output>> {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.process_group(0).spawn()?;
    let group = pid_of(child.id());
    let (done, ended) = mpsc::channel::<()>();
    // A group keeps its number for as long as anything of it lives.
    let guard = std::thread::spawn(move || {
        let late = ended.recv_timeout(within) == Err(mpsc::RecvTimeoutError::Timeout);
        if let (true, Some(group)) = (late, group) {
            // It may have ended this very moment; then there is nothing to kill.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        late
    });
    let output = child.wait_with_output();
    drop(done);
    let late = guard.join().unwrap_or(false);
    Ok(if late { None } else { Some(output?) })
}

fn version_of(program: &OsStr) -> Option<String> {
    let output =
        Command::new(program).arg("--version").output().ok().filter(|output| output.status.success())?;
    let version = OsString::from(String::from_utf8_lossy(&output.stdout).trim());
    version.into_string().ok().filter(|version| version.starts_with("uv "))
}

fn no_python() -> Failure {
    failure("this worker has no Python").hinting("install python3 (3.11 or newer) on the worker")
}

/// A failure in the tool's own words.
fn said(doing: &str, output: &Output) -> Failure {
    let text = String::from_utf8_lossy(&output.stderr);
    let mut lines: Vec<_> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let last = lines.split_off(lines.len().saturating_sub(20));
    failure(format!("{doing} failed: {}", last.join("\n")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_required_where_everything_has_some() {
        let hashed = "# by uv\npolars==2.1.0 \\\n    --hash=sha256:00 \\\n    --hash=sha256:01\n";
        assert!(is_hashed(hashed) && is_hashed(""));
        assert!(!is_hashed(&format!("{hashed}tiny @ git+https://git.example.org/tiny@3f2c1ab\n")));
        assert!(!is_hashed("tiny==1.0\npolars==2.1.0 \\\n    --hash=sha256:00\n"));
    }

    #[test]
    fn a_tool_that_hangs_is_killed_with_what_it_started() {
        let mut hanging = Command::new("sh");
        // The child holds the pipe as well: only when it is gone has the output ended.
        hanging.args(["-c", "sleep 1000 & sleep 1000"]);
        assert!(output_within(&mut hanging, Duration::from_millis(200)).unwrap().is_none());
        let mut quick = Command::new("sh");
        let said = output_within(quick.args(["-c", "echo hello"]), Duration::from_secs(60)).unwrap().unwrap();
        assert_eq!(said.stdout, b"hello\n");
    }
}
