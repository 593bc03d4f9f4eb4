//! What this machine has: for the agent's first message, and to cut a job's wishes to it.

use std::fs;
use std::path::Path;

/// What this machine has for jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineFacts {
    /// Processors that this process may use.
    pub cpus: u32,
    /// Memory in bytes: the machine's, or what a group that we are in is allowed, if that is less.
    pub memory_bytes: u64,
    /// The host's name.
    pub host: String,
}

/// Finds out.
pub fn facts() -> MachineFacts {
    let info = rustix::system::sysinfo();
    let installed = (info.totalram as u64).saturating_mul(u64::from(info.mem_unit));
    let uname = rustix::system::uname();
    MachineFacts {
        // Counts affinity and the processor quota of our group in.
        cpus: std::thread::available_parallelism()
            .map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX)),
        memory_bytes: group_limits().fold(installed, u64::min),
        host: uname.nodename().to_string_lossy().into_owned(),
    }
}

impl MachineFacts {
    /// The most memory that a job can be given: what is left when system and agent have theirs.
    pub fn memory_for_jobs(&self) -> u64 {
        let ours = (self.memory_bytes / 20).max(128 << 20);
        self.memory_bytes.saturating_sub(ours).max(self.memory_bytes / 2)
    }
}

/// The memory limits of the groups that this process is in, of both kinds, with those above them.
fn group_limits() -> impl Iterator<Item = u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut limits = Vec::new();
    for line in groups.lines() {
        let Some((names, path)) = line.split_once(':').and_then(|(_, rest)| rest.split_once(':')) else {
            continue;
        };
        let (root, file) = match names {
            "" => ("/sys/fs/cgroup", "memory.max"),
            "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        for group in Path::new(path.trim_start_matches('/')).ancestors() {
            let limit = fs::read_to_string(Path::new(root).join(group).join(file));
            limits.extend(limit.ok().and_then(|text| text.trim().parse::<u64>().ok()));
        }
    }
    limits.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_something_to_give() {
        let facts = facts();
        assert!(facts.cpus >= 1 && !facts.host.is_empty());
        assert!((1..facts.memory_bytes).contains(&facts.memory_for_jobs()));
    }
}
