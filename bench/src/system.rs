//! The processes under measurement, started in a folder of their own and ended with it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::client::Rest;

/// How long a process may take to be there.
const START: Duration = Duration::from_secs(30);

pub struct System {
    supervisor: Child,
    agents: Vec<Child>,
    pub rest: Rest,
    grpc: String,
    pub folder: PathBuf,
    /// From the start of the process to its first healthy answer.
    pub healthy_after: Duration,
}

impl System {
    /// A supervisor on `folder`, whose state may be there already.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        let ready = folder.join("ready");
        if ready.exists() {
            std::fs::remove_file(&ready)?;
        }
        let begun = Instant::now();
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("supervisor")
            .arg("--state-dir")
            .arg(folder.join("state"))
            .arg("--ready-file")
            .arg(&ready);
        let mut supervisor = command.stdin(Stdio::null()).spawn()?;
        let addresses = loop {
            if let Ok(addresses) = std::fs::read_to_string(&ready)
                && addresses.lines().count() == 2
            {
                break addresses;
            }
            if let Some(status) = supervisor.try_wait()? {
                bail!("the supervisor ended with {status}");
            }
            if begun.elapsed() > START {
                bail!("the supervisor does not start");
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        let mut lines = addresses.lines();
        let (rest, grpc) = (lines.next().context("no address")?, lines.next().context("no address")?);
        let rest = Rest::new(rest)?;
        while !rest.get("/readyz").send().await.is_ok_and(|answer| answer.status().is_success()) {
            if begun.elapsed() > START {
                bail!("the supervisor does not get ready");
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let healthy_after = begun.elapsed();
        let (grpc, folder) = (grpc.to_owned(), folder.to_path_buf());
        Ok(Self { supervisor, agents: Vec::new(), rest, grpc, folder, healthy_after })
    }

    /// One more agent; returns when it is connected.
    pub async fn add_agent(&mut self, slots: u32) -> anyhow::Result<()> {
        let number = self.agents.len();
        let state = self.folder.join(format!("agent-{number}"));
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["agent", "--log", "warn", "--supervisor", &format!("http://{}", self.grpc)]);
        command.arg("--slots").arg(slots.to_string()).arg("--state-dir").arg(state);
        command.arg("--tools-dir").arg(self.folder.join("tools"));
        self.agents.push(command.stdin(Stdio::null()).spawn()?);
        let begun = Instant::now();
        loop {
            let workers = self.rest.json("/workers").await?;
            let idle = workers["items"]
                .as_array()
                .map_or(0, |items| items.iter().filter(|worker| worker["state"] == "idle").count());
            if idle > number {
                return Ok(());
            }
            if begun.elapsed() > START {
                bail!("agent {number} does not connect: {workers}");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Processor time spent so far: the supervisor's, the first agent's own, and that of the processes which it has
    /// reaped (shims, and the jobs that those have reaped).
    pub fn cpu(&self) -> anyhow::Result<[Duration; 3]> {
        let agent = self.agents.first().context("there is no agent")?;
        let ((supervisor, _), (own, reaped)) = (cpu(self.supervisor.id())?, cpu(agent.id())?);
        Ok([supervisor, own, reaped])
    }

    /// Proportional memory of the supervisor and of the first agent, in bytes.
    pub fn memory(&self) -> anyhow::Result<(u64, u64)> {
        let agent = self.agents.first().context("there is no agent")?;
        Ok((pss(self.supervisor.id())?, pss(agent.id())?))
    }
}

impl Drop for System {
    fn drop(&mut self) {
        for child in self.agents.iter_mut().chain([&mut self.supervisor]) {
            // What cannot be killed has ended already.
            if child.kill().is_ok() && child.wait().is_err() {
                eprintln!("a process of the bench could not be waited for");
            }
        }
    }
}

/// A process's own processor time, and that of its children that it has waited for.
fn cpu(pid: u32) -> anyhow::Result<(Duration, Duration)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name is in brackets and may hold anything; the rest is numbers (proc(5): utime is the 14th field).
    let fields: Vec<&str> = stat.rsplit_once(')').context("no name")?.1.split_whitespace().collect();
    let ticks =
        |n: usize| -> anyhow::Result<u64> { Ok(fields.get(n - 3).context("too few fields")?.parse()?) };
    // A tick is 10 ms on every Linux that Rust's std runs on (USER_HZ is 100).
    let time = |ticks: u64| Duration::from_millis(ticks * 10);
    Ok((time(ticks(14)? + ticks(15)?), time(ticks(16)? + ticks(17)?)))
}

fn pss(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = std::fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib << 10)
}

/// A folder of workflows; the names are `true`, and one that runs each of `scripts` by a shell.
pub fn workflows(folder: &Path, scripts: &[(&str, &str)]) -> anyhow::Result<()> {
    write_workflow(folder, "nothing", "worker_type: \"true\"\ninstance_size: t3.micro\n", "workflow.sh", "")?;
    for (name, script) in scripts {
        let config = "worker_type: command\ninstance_size: t3.large\n";
        write_workflow(folder, name, config, "workflow.sh", script)?;
    }
    Ok(())
}

/// One workflow of a folder.
pub fn write_workflow(
    folder: &Path,
    name: &str,
    config: &str,
    file: &str,
    script: &str,
) -> anyhow::Result<()> {
    let folder = folder.join("workflows").join(name);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("config.yaml"), config)?;
    std::fs::write(folder.join(file), script)?;
    Ok(())
}
