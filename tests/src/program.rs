//! The product's programs as processes.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::Signal;

use crate::{Sandbox, process, until};

/// Where cargo builds programs as this one is built: a test stands in a folder below it, a bench in it.
pub(crate) fn profile_folder() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let mut folders = this.ancestors().skip(1).filter(|folder| !folder.ends_with("deps"));
    folders.next().unwrap().to_owned()
}

/// A program that stands where cargo builds it.
pub(crate) fn built(name: &str) -> PathBuf {
    let program = profile_folder().join(name);
    assert!(program.is_file(), "there is no {}: run `cargo xtask test`, which builds it", program.display());
    program
}

/// A command that runs one of our programs, with nothing of the developer's own settings. The kernel kills it with the
/// thread of its test: a supervisor that outlives a killed test would hold the address of a later one.
pub(crate) fn command(name: &str, sandbox: &Sandbox) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(built(name));
    for (variable, _) in std::env::vars_os() {
        if variable.as_encoded_bytes().starts_with(b"DATA_RUNNER_") {
            command.env_remove(variable);
        }
    }
    // Made once for all tests; the first that needs an environment builds it.
    let tools = profile_folder().join("../test-tools");
    command.current_dir(sandbox.path()).env("NO_COLOR", "1").env("DATA_RUNNER_TOOLS", absolute(&tools));
    command.env("XDG_CONFIG_HOME", sandbox.join("config")).stdin(Stdio::null());
    command
}

fn absolute(path: &Path) -> PathBuf {
    std::fs::create_dir_all(path).unwrap();
    path.canonicalize().unwrap()
}

/// A program that runs. It is killed when it is dropped.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Program {
    pub(crate) fn start(name: &str, mut command: Command, sandbox: &Sandbox) -> Self {
        let stdout = sandbox.fresh(&format!("{name}.stdout"));
        let stderr = sandbox.fresh(&format!("{name}.stderr"));
        let open = |path: &Path| std::fs::File::create(path).unwrap();
        let child = command.stdout(open(&stdout)).stderr(open(&stderr)).spawn().unwrap();
        Self { name: name.to_owned(), child, stdout, stderr }
    }

    /// A `data-runner` that asks the server at this address.
    pub fn cli(sandbox: &Sandbox, server: Option<&str>, arguments: &[&str]) -> Self {
        Self::start("data-runner", cli_command(sandbox, server, arguments), sandbox)
    }

    /// A `data-runner-supervisor` with these arguments.
    pub fn supervisor(sandbox: &Sandbox, arguments: &[&str]) -> Self {
        let mut command = command("data-runner-supervisor", sandbox);
        command.args(arguments);
        Self::start("data-runner-supervisor", command, sandbox)
    }

    /// Its number.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// What it has printed as data so far.
    pub fn printed(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.stdout).unwrap_or_default()).into_owned()
    }

    /// What it has said to a person so far.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.stderr).unwrap_or_default()).into_owned()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        process::signal(self.pid(), signal);
    }

    /// Kills it as `kill -9` does, and waits until it is gone.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().unwrap();
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end.
    pub async fn end(&mut self) -> ExitStatus {
        until(&format!("the end of {}", self.name), async || self.ended()).await
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {} said:\n{}{}", self.name, self.printed(), self.said());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a command ended, and what it printed.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it printed as data.
    pub stdout: Vec<u8>,
    /// What it said to a person.
    pub stderr: String,
}

impl Finished {
    /// Its data as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Runs `data-runner` to its end.
pub async fn cli(sandbox: &Sandbox, server: Option<&str>, arguments: &[&str]) -> Finished {
    to_its_end(cli_command(sandbox, server, arguments)).await
}

/// Runs `data-runner` to its end, with these variables.
pub async fn cli_with(sandbox: &Sandbox, variables: &[(&str, &str)], arguments: &[&str]) -> Finished {
    let mut command = cli_command(sandbox, None, arguments);
    command.envs(variables.iter().copied());
    to_its_end(command).await
}

/// Runs a command of `data-runner-supervisor` to its end.
pub async fn on_host(sandbox: &Sandbox, arguments: &[&str]) -> Finished {
    let mut command = command("data-runner-supervisor", sandbox);
    command.args(arguments);
    to_its_end(command).await
}

async fn to_its_end(command: Command) -> Finished {
    let shown = format!("{command:?}");
    let mut command = tokio::process::Command::from(command);
    let running = command.kill_on_drop(true).output();
    let ended = tokio::time::timeout(crate::PATIENCE, running).await;
    let output = ended.unwrap_or_else(|_| panic!("{shown} does not end")).unwrap();
    Finished {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn cli_command(sandbox: &Sandbox, server: Option<&str>, arguments: &[&str]) -> Command {
    let mut command = command("data-runner", sandbox);
    command.args(arguments);
    if let Some(server) = server {
        command.env("DATA_RUNNER_SERVER", server);
    }
    command
}
