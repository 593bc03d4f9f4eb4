//! A folder of one test, and every process that has to do with it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::process::{Found, of_folder, signal};

/// A test's own folder. When it is dropped, no process is left that works in it or was told of it.
#[derive(Debug)]
pub struct Sandbox {
    folder: tempfile::TempDir,
    path: PathBuf,
    files: AtomicU32,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Sandbox {
    /// An empty one.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("data-runner-test-").tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        Self { folder, path, files: AtomicU32::new(0) }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The same as text, for parameters and arguments.
    pub fn text(&self, name: &str) -> String {
        self.join(name).to_str().unwrap().to_owned()
    }

    /// A path in it that nobody had before.
    pub(crate) fn fresh(&self, name: &str) -> PathBuf {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        self.join(&format!("{number}-{name}"))
    }

    /// Makes an empty file: what a job waits for.
    pub fn touch(&self, name: &str) {
        std::fs::write(self.join(name), "").unwrap();
    }

    /// All processes that have to do with it.
    pub fn processes(&self) -> Vec<Found> {
        of_folder(&self.path)
    }

    /// The agents among them: not the shims, which have the same program.
    pub fn agents(&self) -> Vec<Found> {
        let mut found = self.processes();
        found.retain(|process| {
            let agent =
                ["internal-agent", "data-runner-agent"].iter().any(|name| process.command.contains(name));
            agent && !process.command.contains("internal-shim")
        });
        found
    }

    fn kill_all(&self) {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(10) {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            for process in left {
                signal(process.pid, Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        eprintln!("processes of {} do not go: {:?}", self.path.display(), self.processes());
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.kill_all();
        if std::thread::panicking() {
            show_agent_logs(self.folder.path());
        }
    }
}

/// What the agents said, for whoever reads why a test failed.
fn show_agent_logs(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            show_agent_logs(&path);
        } else if path.file_name().is_some_and(|name| name == "agent.log") {
            eprintln!("--- {}:\n{}", path.display(), std::fs::read_to_string(&path).unwrap_or_default());
        }
    }
}
