//! Agents that are nothing but a sleep, and a look at what runs.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use data_runner_core::id::WorkerId;
use data_runner_core::port::{LaunchAnswer, Provisioner as _};
use data_runner_core::worker::{Candidate, MachineRequest};
use data_runner_local::{LocalOptions, LocalProvisioner};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

/// A state folder; every process that bears its mark is killed at the end.
pub struct House(pub TempDir);

impl House {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn state(&self) -> PathBuf {
        self.0.path().join("workers")
    }

    /// A provisioner whose agents run this shell script.
    pub fn provisioner(&self, script: &str) -> LocalProvisioner {
        let options = LocalOptions {
            agent_command: ["/bin/sh", "-c", script].map(Into::into).to_vec(),
            state: self.state(),
            grpc_url: "http://127.0.0.1:7070".to_owned(),
            env: vec![("GIVEN".into(), "yes".into())],
            joining: None,
        };
        LocalProvisioner::new(options).unwrap()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        marked(self.0.path()).into_iter().for_each(kill);
    }
}

pub fn request() -> MachineRequest {
    MachineRequest::plain("t3.medium", None, 3)
}

pub async fn launch(provisioner: &LocalProvisioner, worker: WorkerId) -> Candidate {
    let candidate = provisioner.plan(request()).await.unwrap().remove(0);
    let answer = provisioner.launch(worker, candidate.clone()).await;
    assert!(matches!(answer, LaunchAnswer::Launched(_)), "{answer:?}");
    candidate
}

/// The processes that live and have `folder` in their environment.
pub fn marked(folder: &Path) -> Vec<u32> {
    let wanted = folder.to_str().unwrap().as_bytes();
    all()
        .filter(|pid| {
            environment(*pid).windows(wanted.len()).any(|window| window == wanted) && is_alive(*pid)
        })
        .collect()
}

/// A process's environment. While a program is being replaced by another (exec) it reads as empty for a moment, and as
/// ours in a child of ours whose program is not loaded yet: spawning returns just before that.
fn environment(pid: u32) -> Vec<u8> {
    let until = Instant::now() + Duration::from_secs(2);
    loop {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        // Kernel threads have no program, and no environment either.
        let program = std::fs::read_link(format!("/proc/{pid}/exe"));
        let is_loading = environment.is_empty() || is_unloaded_child(pid, &program);
        if !is_loading || program.is_err() || !is_alive(pid) || Instant::now() > until {
            return environment;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn is_unloaded_child(pid: u32, program: &std::io::Result<PathBuf>) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
    let own = std::fs::read_link("/proc/self/exe").unwrap();
    parent == Some(std::process::id()) && program.as_ref().is_ok_and(|program| *program == own)
}

fn all() -> impl Iterator<Item = u32> {
    std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

pub fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// The start time of a process, as `/proc` has it.
pub fn start_time(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap()
}

pub fn kill(pid: u32) {
    let _ = rustix::process::kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL);
}

/// Waits until `what` is there.
pub fn until<T>(mut what: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = what() {
            return found;
        }
        assert!(Instant::now() < give_up, "it never came");
        std::thread::sleep(Duration::from_millis(5));
    }
}
