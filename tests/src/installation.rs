//! A supervisor whose workers are machines of a test cloud.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;

use crate::cloud::{Cloud, Endpoint, REGION};
use crate::program::{Finished, Program, cli_with, command};
use crate::{Rest, Sandbox, until};

/// Where REST listens.
const REST: u16 = 8443;
/// Where agents connect to.
const GRPC: u16 = 7443;

/// A `data-runner-supervisor` with TLS and `provisioner: ec2`, with its state in the sandbox.
#[derive(Debug)]
pub struct Installation<'a> {
    sandbox: &'a Sandbox,
    config: PathBuf,
    environment: Vec<(&'static str, String)>,
    agent: PathBuf,
    /// Its process.
    pub program: Program,
    /// Its REST API, for somebody who may do everything.
    pub rest: Rest,
    /// What that one shows.
    token: String,
}

impl<'a> Installation<'a> {
    /// Starts it. `more` are more lines of the `ec2` block of its settings, each with two blanks in front.
    pub async fn start(sandbox: &'a Sandbox, cloud: &Cloud, more: &str) -> Self {
        Self::with(sandbox, cloud, &Self::settings(cloud, more)).await
    }

    /// A second one in the same account, with another name and other ports; its state is in a sandbox of its own.
    pub async fn neighbour(sandbox: &'a Sandbox, cloud: &Cloud) -> Self {
        let settings = Self::settings(cloud, "").replace("installation: test", "installation: neighbour");
        let settings = settings.replace(&format!(":{REST}"), ":8444").replace(&format!(":{GRPC}"), ":7444");
        Self::with(sandbox, cloud, &settings).await
    }

    /// Starts it with these settings. Its calls of AWS are signed with [`access_key`] of its name.
    pub async fn with(sandbox: &'a Sandbox, cloud: &Cloud, settings: &str) -> Self {
        cloud.mock.instance_profile("jobs").await;
        Self::at(sandbox, cloud.mock.aws(), settings).await
    }

    /// Starts it with its workers at `endpoint`. It needs no test cloud, and its machines need not boot.
    pub async fn at(sandbox: &'a Sandbox, endpoint: &Endpoint, settings: &str) -> Self {
        let config = sandbox.fresh("supervisor.yaml");
        std::fs::write(&config, settings).unwrap();
        let mut environment = endpoint.environment().to_vec();
        environment.push(("AWS_ACCESS_KEY_ID", access_key(setting(settings, "installation"))));
        let agent = stripped_agent(sandbox);
        let program = spawn(sandbox, &config, &environment, &agent);
        let address = format!("https://{}", setting(settings, "listen"));
        let (rest, token) = (Rest::new(address), String::new());
        let mut this = Self { sandbox, config, environment, agent, program, rest, token };
        this.log_in().await;
        this
    }

    /// What [`Self::start`] writes into its settings.
    pub fn settings(cloud: &Cloud, more: &str) -> String {
        let subnets: Vec<&str> = cloud.mock.subnets().keys().map(String::as_str).collect();
        format!(
            "{}python:
  index_url: {}
ec2:
  region: {REGION}
  subnets: [{}]
  security_groups: [{}]
  instance_profile: jobs
{more}",
            Self::settings_at(cloud.address()),
            cloud.package_index(),
            subnets.join(", "),
            cloud.mock.security_group(),
        )
    }

    /// The part of it that is not about machines.
    pub fn settings_at(address: Ipv4Addr) -> String {
        format!(
            "installation: test
listen: {address}:{REST}
grpc_listen: {address}:{GRPC}
public_url: https://{address}:{REST}
grpc_url: https://{address}:{GRPC}
tls: own
provisioner: ec2
agents:
  heartbeat: 1s
  suspect_after: 5s
  lost_after: 10s
"
        )
    }

    /// Starts it again, once its process is gone.
    pub async fn again(&mut self) {
        self.program = spawn(self.sandbox, &self.config, &self.environment, &self.agent);
        self.serves().await;
    }

    /// Kills it as `kill -9` does.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// A command of `data-runner`, as somebody who may do everything; what it printed.
    pub async fn cli(&self, arguments: &[&str]) -> Finished {
        let ca = self.sandbox.text("state/pki/ca.pem");
        let variables = [
            ("DATA_RUNNER_SERVER", self.rest.address.as_str()),
            ("DATA_RUNNER_CA", &ca),
            ("DATA_RUNNER_TOKEN", &self.token),
        ];
        cli_with(self.sandbox, &variables, arguments).await
    }

    /// A command of the supervisor's program on its host, such as `token create`; what it printed.
    pub fn command(&self, arguments: &[&str]) -> String {
        let mut command = supervisor(self.sandbox, &self.environment);
        let output = command.args(arguments).arg("--config").arg(&self.config).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    async fn log_in(&mut self) {
        let file = self.sandbox.join("state/pki/ca.pem");
        let ca = until("the supervisor's authority", async || {
            if let Some(status) = self.program.ended() {
                panic!("the supervisor ended with {status}: {}", self.program.said());
            }
            std::fs::read(&file).ok()
        })
        .await;
        self.token = self.command(&["token", "create", "tests", "--scope", "admin"]).trim().to_owned();
        self.rest = Rest::secured(self.rest.address.clone(), &ca, &self.token);
        self.serves().await;
    }

    async fn serves(&mut self) {
        let (program, rest) = (&mut self.program, &self.rest);
        until("the supervisor to be ready", async || {
            if let Some(status) = program.ended() {
                panic!("the supervisor ended with {status}: {}", program.said());
            }
            rest.is_ready().await.then_some(())
        })
        .await;
    }
}

/// The access key of an installation's supervisor, by which its calls are told from others'.
pub fn access_key(installation: &str) -> String {
    format!("AKIA{}", installation.to_uppercase())
}

/// What settings say for a key of the first level.
fn setting<'a>(settings: &'a str, key: &str) -> &'a str {
    let mut found = settings.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
    found.next().unwrap()
}

fn supervisor(sandbox: &Sandbox, environment: &[(&'static str, String)]) -> Command {
    let mut command = command("data-runner-supervisor", sandbox);
    command.env("DATA_RUNNER_STATE", sandbox.join("state"));
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command
}

fn spawn(
    sandbox: &Sandbox,
    config: &std::path::Path,
    environment: &[(&'static str, String)],
    agent: &std::path::Path,
) -> Program {
    let mut command = supervisor(sandbox, environment);
    command.arg("--config").arg(config).arg("--agent").arg(agent);
    Program::start("data-runner-supervisor", command, sandbox)
}

/// The agent as it is shipped: without what only a debugger needs, which each machine would have to fetch.
fn stripped_agent(sandbox: &Sandbox) -> PathBuf {
    let stripped = sandbox.join("data-runner-agent");
    let built = crate::program::built("data-runner-agent");
    let status = Command::new("strip").arg("-o").arg(&stripped).arg(built).status().unwrap();
    assert!(status.success());
    stripped
}
