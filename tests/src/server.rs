//! Servers and agents that run as processes.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::program::{Program, command};
use crate::rest::Rest;
use crate::{Sandbox, until};

/// A `data-runner dev` or a `data-runner-supervisor`, with its state in the sandbox.
#[derive(Debug)]
pub struct Server<'a> {
    sandbox: &'a Sandbox,
    kind: Kind,
    /// Its process.
    pub program: Program,
    /// Its REST API.
    pub rest: Rest,
}

/// What serves.
#[derive(Debug)]
enum Kind {
    Dev { arguments: Vec<String> },
    Supervisor { config: PathBuf, variables: Vec<(String, String)> },
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Self::Dev { .. } => "data-runner",
            Self::Supervisor { .. } => "data-runner-supervisor",
        }
    }

    /// The command that starts it, REST at this address.
    fn command(&self, listen: &str, sandbox: &Sandbox) -> Command {
        let mut command = command(self.name(), sandbox);
        match self {
            Self::Dev { arguments } => {
                command.args(["dev", "--state-dir", &sandbox.text("state"), "--listen", listen]);
                command.args(["--grpc-listen", "127.0.0.1:0"]).args(arguments);
            }
            Self::Supervisor { config, variables } => {
                command.envs(variables.iter().map(|(name, value)| (name, value)));
                command.arg("--config").arg(config).env("DATA_RUNNER_LISTEN", listen);
                command.env("DATA_RUNNER_GRPC_LISTEN", "127.0.0.1:0");
                command.env("DATA_RUNNER_STATE", sandbox.join("state"));
            }
        }
        command
    }
}

impl<'a> Server<'a> {
    /// `data-runner dev` with these arguments.
    pub async fn dev(sandbox: &'a Sandbox, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self::start(sandbox, Kind::Dev { arguments }).await
    }

    /// `data-runner-supervisor` with these settings; addresses and state are given by the environment.
    pub async fn supervisor(sandbox: &'a Sandbox, settings: &str) -> Self {
        Self::supervisor_with(sandbox, settings, &[]).await
    }

    /// The same, with these variables.
    pub async fn supervisor_with(sandbox: &'a Sandbox, settings: &str, variables: &[(&str, &str)]) -> Self {
        let config = sandbox.fresh("supervisor.yaml");
        std::fs::write(&config, settings).unwrap();
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self::start(sandbox, Kind::Supervisor { config, variables: variables.collect() }).await
    }

    async fn start(sandbox: &'a Sandbox, kind: Kind) -> Self {
        let (program, rest) = serve(&kind, "127.0.0.1:0", sandbox).await;
        Self { sandbox, kind, program, rest }
    }

    /// Starts it again, once its process is gone, at the same REST address.
    pub async fn again(&mut self) {
        let listen = self.rest.address.strip_prefix("http://").unwrap().to_owned();
        (self.program, self.rest) = serve(&self.kind, &listen, self.sandbox).await;
    }

    /// Starts a second one on the same state, to its end; what it said.
    pub async fn second(&self) -> (Option<i32>, String) {
        let command = self.kind.command("127.0.0.1:0", self.sandbox);
        let mut second = Program::start("second", command, self.sandbox);
        let code = second.end().await.code();
        (code, second.said())
    }

    /// Kills it as `kill -9` does.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        self.program.signal(Signal::TERM);
    }

    /// The file of its database.
    pub fn database(&self) -> PathBuf {
        let entries = std::fs::read_dir(self.sandbox.join("state")).unwrap();
        let mut files = entries.map(|entry| entry.unwrap().path());
        files.find(|path| path.extension().is_some_and(|extension| extension == "db")).unwrap()
    }

    /// Where agents connect to.
    pub fn grpc(&self) -> String {
        let port = std::fs::read_to_string(self.sandbox.join("state/grpc-port")).unwrap();
        format!("http://127.0.0.1:{}", port.trim())
    }
}

/// Starts a server and waits until it serves.
async fn serve(kind: &Kind, listen: &str, sandbox: &Sandbox) -> (Program, Rest) {
    let mut program = Program::start(kind.name(), kind.command(listen, sandbox), sandbox);
    let address = until("the server's address", async || {
        let said = program.said();
        if let Some(status) = program.ended() {
            panic!("the server ended with {status}: {said}");
        }
        address_in(&said)
    })
    .await;
    let rest = Rest::new(address);
    until("the server to be ready", async || {
        if let Some(status) = program.ended() {
            panic!("the server ended with {status}: {}", program.said());
        }
        rest.is_ready().await.then_some(())
    })
    .await;
    (program, rest)
}

/// Where REST is served, in what a server says of itself.
fn address_in(said: &str) -> Option<String> {
    let start = said.find("http://127.0.0.1:")?;
    let address = said[start..].split(|c: char| c.is_whitespace() || c == '"').next()?;
    // The line may be half written.
    said[start + address.len()..]
        .starts_with(|c: char| c.is_whitespace() || c == '"')
        .then(|| address.to_owned())
}

/// A `data-runner-agent` that somebody started beside the supervisor.
#[derive(Debug)]
pub struct Agent<'a> {
    sandbox: &'a Sandbox,
    supervisor: String,
    folder: PathBuf,
    /// Its process.
    pub program: Program,
}

impl<'a> Agent<'a> {
    /// An agent with its state in the folder `name` of the sandbox, for the supervisor at this address.
    pub fn start(sandbox: &'a Sandbox, name: &str, supervisor: &str) -> Self {
        let folder = sandbox.join(name);
        let program = spawn(sandbox, &folder, supervisor);
        Self { sandbox, supervisor: supervisor.to_owned(), folder, program }
    }

    /// Starts it again, once its process is gone.
    pub fn again(&mut self) {
        self.program = spawn(self.sandbox, &self.folder, &self.supervisor);
    }

    /// Which worker it is, once it has kept that.
    pub async fn worker(&self) -> String {
        until("the worker's id", async || std::fs::read_to_string(self.folder.join("worker-id")).ok())
            .await
            .trim()
            .to_owned()
    }
}

fn spawn(sandbox: &Sandbox, folder: &Path, supervisor: &str) -> Program {
    let mut command = command("data-runner-agent", sandbox);
    command.arg("--supervisor").arg(supervisor).arg("--state-dir").arg(folder);
    Program::start("data-runner-agent", command, sandbox)
}
