//! An agent on a machine of its own, which exists for its jobs only: when there is nothing left to do, the machine is
//! powered off.

use std::path::Path;
use std::process::Stdio;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use clap::Args;
use data_runner_aws_light::{EnvironmentSecrets, Imds, NOTICE_EVERY, Notice, notices};
use data_runner_core::agent::{AgentPolicy, MachineNotice};
use data_runner_core::time::Timestamp;
use data_runner_engine::Signal;
use tokio::sync::mpsc;

/// What the jobs of a machine on EC2 get of the agent's environment: where AWS is, never who we are there. That they
/// learn from the machine itself.
const PASSES: [&str; 5] =
    ["AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_EC2_METADATA_", "AWS_CA_BUNDLE"];

/// The wait before a machine that did not go off is told again.
const AGAIN: Duration = Duration::from_secs(5);

/// How long after the machine's deadline an agent that hangs is not waited for any more.
const OVERDUE: Duration = Duration::from_secs(5);

/// When the first agent of this machine started: how old a file in the state folder is.
const FIRST_START: &str = "first-start";

/// What an agent is told of a machine that is its own.
#[derive(Debug, Clone, Args)]
pub struct OwnMachineOptions {
    /// This machine is the agent's own: the shell command that powers it off. It runs when the agent is drained, never
    /// got a supervisor, or the machine's time is up
    #[arg(long, env = "DATA_RUNNER_POWER_OFF", value_name = "COMMAND")]
    pub power_off: Option<String>,

    /// When this machine is powered off whatever happens: RFC 3339, or seconds since 1970. Jobs are stopped 90 s before
    #[arg(long, env = "DATA_RUNNER_DEADLINE", requires = "power_off", value_name = "TIME")]
    pub deadline: Option<Moment>,

    /// How long an agent on a machine of its own may take to get a supervisor, in seconds
    #[arg(long, env = "DATA_RUNNER_JOIN_WITHIN", default_value = "900", value_name = "SECONDS")]
    pub join_within: u64,

    /// Where EC2's instance metadata service is [default: where EC2 has it]
    #[arg(long, env = "AWS_EC2_METADATA_SERVICE_ENDPOINT", value_name = "URL")]
    pub metadata_endpoint: Option<String>,
}

/// A time as it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(pub Timestamp);

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = match text.parse::<i64>() {
            Ok(seconds) => jiff::Timestamp::from_second(seconds),
            Err(_) => text.parse(),
        };
        let at = parsed
            .map_err(|_| "write a time such as 2026-08-01T06:00:00Z, or seconds since 1970".to_owned())?;
        Ok(Self(Timestamp::from_micros(at.as_microsecond())))
    }
}

/// A machine that is the agent's own.
#[derive(Debug, Clone)]
pub(crate) struct OwnMachine {
    power_off: String,
    deadline: Option<Timestamp>,
    join_within: Duration,
}

impl OwnMachineOptions {
    /// The machine, if it is the agent's own.
    pub(crate) fn machine(&self) -> Option<OwnMachine> {
        Some(OwnMachine {
            power_off: self.power_off.clone()?,
            deadline: self.deadline.map(|Moment(at)| at),
            join_within: Duration::from_secs(self.join_within),
        })
    }

    /// Which variables jobs get beside those that were asked for.
    pub(crate) fn passes(&self) -> impl Iterator<Item = String> {
        PASSES.into_iter().filter(|_| self.power_off.is_some()).map(ToOwned::to_owned)
    }

    /// A machine of the cloud has no secrets of a person in its environment.
    pub(crate) fn environment_secrets(&self) -> EnvironmentSecrets {
        match self.power_off {
            Some(_) => EnvironmentSecrets::Refused,
            None => EnvironmentSecrets::Served,
        }
    }

    /// What SIGTERM means: on a machine of its own, that the machine is being shut down.
    pub(crate) fn on_terminate(&self) -> Signal {
        match self.power_off {
            Some(_) => Signal::Machine(MachineNotice::Going),
            None => Signal::Terminate,
        }
    }

    /// The policy of an agent on this machine.
    pub(crate) fn policy(&self, policy: AgentPolicy) -> AgentPolicy {
        match self.machine() {
            Some(machine) => {
                AgentPolicy { dead_man: machine.join_within, machine_ends_at: machine.deadline, ..policy }
            }
            None => policy,
        }
    }
}

impl OwnMachine {
    /// Runs `agent`, and powers the machine off when that is done, at the machine's deadline at the latest. An agent
    /// that failed may be started again, as long as its machine is younger than it may take to get a supervisor.
    pub(crate) async fn live(
        &self,
        state: &Path,
        agent: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        let overdue = self.deadline.map(|at| at.after(OVERDUE).since(now()));
        let ended = match overdue {
            Some(left) => tokio::time::timeout(left, agent).await,
            None => Ok(agent.await),
        };
        let ended = ended.unwrap_or_else(|_| Err(anyhow::anyhow!("the time of this machine is up")));
        if ended.is_err() && !self.is_over() && age(state).is_some_and(|age| age < self.join_within) {
            return ended;
        }
        self.power_off().await;
        ended
    }

    fn is_over(&self) -> bool {
        self.deadline.is_some_and(|at| at <= now())
    }

    /// Powers the machine off. What does not do it is tried again for ever: nothing else is left to do here.
    async fn power_off(&self) {
        tracing::info!(command = self.power_off, "nothing is left to do; this machine powers off");
        loop {
            let done = tokio::process::Command::new("/bin/sh")
                .args(["-c", &self.power_off])
                .stdin(Stdio::null())
                .status();
            match done.await {
                Ok(status) if status.success() => return,
                Ok(status) => tracing::error!(%status, "this machine does not power off; it is tried again"),
                Err(error) => tracing::error!(%error, "this machine does not power off; it is tried again"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Tells `tell` what EC2 says of this machine's future.
pub(crate) fn watch(imds: Imds, tell: mpsc::Sender<Signal>) {
    tokio::spawn(async move {
        let mut told = notices(imds, NOTICE_EVERY);
        while let Some(notice) = told.recv().await {
            let notice = match notice {
                Notice::Rebalance => MachineNotice::AtRisk,
                Notice::Interruption => MachineNotice::Going,
            };
            tracing::warn!(?notice, "EC2 says that it may take, or takes, this machine away");
            if tell.send(Signal::Machine(notice)).await.is_err() {
                return;
            }
        }
    });
}

/// How long ago an agent started here first. `None`: the state folder does not tell.
fn age(state: &Path) -> Option<Duration> {
    let modified = std::fs::metadata(state.join(FIRST_START)).ok()?.modified().ok()?;
    SystemTime::now().duration_since(modified).ok()
}

/// Notes that an agent starts here, unless that was noted before.
pub(crate) fn note_first_start(state: &Path) -> std::io::Result<()> {
    match std::fs::File::create_new(state.join(FIRST_START)) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The wall clock of this machine.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn machine(folder: &Path, deadline: Option<Timestamp>) -> (OwnMachine, std::path::PathBuf) {
        let off = folder.join("off");
        let power_off = format!("echo off >> {}", off.display());
        (OwnMachine { power_off, deadline, join_within: Duration::from_secs(60) }, off)
    }

    #[test]
    fn a_deadline_is_a_time_or_seconds() {
        let moment = |text: &str| text.parse::<Moment>();
        assert_eq!(moment("2026-08-01T06:00:00.25Z").unwrap().0.to_string(), "2026-08-01T06:00:00.250000Z");
        assert_eq!(moment("0").unwrap(), Moment(Timestamp::from_micros(0)));
        assert!(moment("tomorrow").is_err());
    }

    #[tokio::test]
    async fn the_machine_goes_with_its_agent() {
        let folder = tempfile::tempdir().unwrap();
        let (machine, off) = machine(folder.path(), None);
        machine.live(folder.path(), async { Ok(()) }).await.unwrap();
        assert!(off.exists());
    }

    #[tokio::test]
    async fn an_agent_that_failed_may_start_again_while_its_machine_is_young() {
        let folder = tempfile::tempdir().unwrap();
        let (machine, off) = machine(folder.path(), None);
        note_first_start(folder.path()).unwrap();
        machine.live(folder.path(), async { anyhow::bail!("no") }).await.unwrap_err();
        assert!(!off.exists());
        let old = SystemTime::now() - Duration::from_secs(61);
        std::fs::File::open(folder.path().join(FIRST_START)).unwrap().set_modified(old).unwrap();
        note_first_start(folder.path()).unwrap();
        machine.live(folder.path(), async { anyhow::bail!("no") }).await.unwrap_err();
        assert!(off.exists(), "a machine that never gets a supervisor goes");
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_hangs_does_not_keep_its_machine_beyond_the_deadline() {
        let folder = tempfile::tempdir().unwrap();
        note_first_start(folder.path()).unwrap();
        let (machine, off) = machine(folder.path(), Some(now()));
        let began = tokio::time::Instant::now();
        machine.live(folder.path(), std::future::pending()).await.unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(6));
        assert!(off.exists());
    }

    #[tokio::test]
    async fn a_machine_that_does_not_go_off_is_told_again() {
        let folder = tempfile::tempdir().unwrap();
        let (mut machine, off) = machine(folder.path(), None);
        machine.power_off = format!("{} && test $(wc -l < {}) -eq 2", machine.power_off, off.display());
        tokio::time::pause();
        machine.power_off().await;
        assert_eq!(std::fs::read_to_string(&off).unwrap(), "off\noff\n");
    }
}
