//! Processes of this machine, as `/proc` shows them.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// A process.
#[derive(Clone)]
pub struct Found {
    /// Its number.
    pub pid: i32,
    /// Its program and arguments, separated by blanks.
    pub command: String,
    /// Its environment, as far as it may be read.
    environment: Vec<u8>,
}

impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.pid, self.command)
    }
}

impl Found {
    /// The number of the process that started it, or took it over.
    ///
    /// # Panics
    /// If it has gone.
    pub fn parent(&self) -> i32 {
        procfs::process::Process::new(self.pid).and_then(|process| process.stat()).unwrap().ppid
    }

    /// Whether a variable of its environment has this value.
    pub fn has(&self, name: &str, value: &str) -> bool {
        let wanted = format!("{name}={value}");
        self.environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
    }
}

/// Sends a signal; that the process has gone already is no error.
pub fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

/// Whether a process of this number lives. A zombie does not.
pub fn is_alive(pid: i32) -> bool {
    procfs::process::Process::new(pid)
        .and_then(|process| process.stat())
        .is_ok_and(|stat| !matches!(stat.state, 'Z' | 'X' | 'x'))
}

/// The processes that have to do with `folder`: by their working directory, arguments or environment.
pub(crate) fn of_folder(folder: &Path) -> Vec<Found> {
    let own = std::process::id().cast_signed();
    let all = procfs::process::all_processes().unwrap();
    all.filter_map(Result::ok)
        .filter(|process| process.pid != own && is_alive(process.pid))
        .filter_map(|process| {
            let read =
                |name: &str| std::fs::read(format!("/proc/{}/{name}", process.pid)).unwrap_or_default();
            let (arguments, environment) = (read("cmdline"), read("environ"));
            let mark = folder.as_os_str().as_bytes();
            let inside = process.cwd().is_ok_and(|cwd| cwd.starts_with(folder));
            if !inside && !contains(&arguments, mark) && !contains(&environment, mark) {
                return None;
            }
            let command = String::from_utf8_lossy(&arguments).replace('\0', " ").trim_end().to_owned();
            Some(Found { pid: process.pid, command, environment })
        })
        .collect()
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
