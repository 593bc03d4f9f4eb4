//! Resource groups: what holds a job's memory to its limit, and ends a whole process tree at once.
//!
//! Which kind there is, is found by trying, in this order: cgroup v2 with the memory controller (needs a group that was
//! delegated to us, under systemd `Delegate=yes`); cgroup v1 memory, beside v2 for killing where that is mounted too;
//! v2 for killing only; nothing. Without a memory controller the shim samples the tree once a second and holds the
//! limit itself.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::process::ProcessIdentity;

const V2_ROOTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
const V1_MEMORY: &str = "/sys/fs/cgroup/memory";

/// One job's group. Its folders go when `remove` is called.
///
/// The shim enters it while it waits for a job, and the job is born in it: to move a process takes the kernel many
/// milliseconds (a grace period of RCU), to be born costs nothing. So whoever kills the group kills the shim too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResourceGroup {
    /// A v2 group: it counts processor time and kills.
    unified: Option<PathBuf>,
    memory: MemoryControl,
    /// The groups that the shim came from.
    home: Vec<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum MemoryControl {
    Unified,
    V1(PathBuf),
    None,
}

impl ResourceGroup {
    /// Makes a group named `name` below the own one, as far as this machine lets us.
    pub(crate) fn create(name: &str) -> Self {
        let own = OwnGroups::read();
        let home = own.home.iter().chain(&own.memory).cloned().collect();
        let unified = own.unified.map(|folder| folder.join(name)).filter(|folder| {
            let made = fs::create_dir(folder).is_ok();
            made && folder.join("cgroup.kill").exists()
        });
        if unified.as_ref().is_some_and(|folder| folder.join("memory.max").exists()) {
            return Self { unified, memory: MemoryControl::Unified, home };
        }
        let v1 = own.memory.map(|folder| folder.join(name)).filter(|folder| fs::create_dir(folder).is_ok());
        Self { unified, memory: v1.map_or(MemoryControl::None, MemoryControl::V1), home }
    }

    /// The group that was made earlier under this v2 path, to end what it still holds.
    pub(crate) fn find(unified: &Path) -> Self {
        let memory = match (unified.file_name(), OwnGroups::read().memory) {
            (Some(name), Some(own)) if own.join(name).exists() => MemoryControl::V1(own.join(name)),
            (Some(_) | None, Some(_) | None) => MemoryControl::None,
        };
        Self { unified: Some(unified.to_owned()), memory, home: Vec::new() }
    }

    /// Moves this process into it.
    pub(crate) fn enter(&self) -> io::Result<()> {
        let v1 = match &self.memory {
            MemoryControl::V1(folder) => Some(folder),
            MemoryControl::Unified | MemoryControl::None => None,
        };
        self.unified.iter().chain(v1).try_for_each(|folder| fs::write(folder.join("cgroup.procs"), "0"))
    }

    /// Where it is, for those who must end it without us.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.unified.as_deref()
    }

    /// Whether the kernel holds the memory limit.
    pub(crate) fn limits_memory(&self) -> bool {
        match self.memory {
            MemoryControl::Unified | MemoryControl::V1(_) => true,
            MemoryControl::None => false,
        }
    }

    /// Sets the most memory that the group may hold.
    pub(crate) fn limit_memory(&self, bytes: u64) -> io::Result<()> {
        match (&self.memory, &self.unified) {
            (MemoryControl::V1(folder), _) => {
                fs::write(folder.join("memory.limit_in_bytes"), bytes.to_string())
            }
            (MemoryControl::Unified, Some(folder)) => {
                // One that swaps instead would only be slow for ever. Not every kernel has the file.
                let _ = fs::write(folder.join("memory.swap.max"), "0");
                fs::write(folder.join("memory.max"), bytes.to_string())
            }
            (MemoryControl::Unified, None) | (MemoryControl::None, _) => Ok(()),
        }
    }

    /// Whether the kernel killed anything of it for its memory.
    pub(crate) fn killed_for_memory(&self) -> bool {
        let (file, key) = match (&self.memory, &self.unified) {
            (MemoryControl::V1(folder), _) => (folder.join("memory.oom_control"), "oom_kill "),
            (MemoryControl::Unified, Some(folder)) => (folder.join("memory.events"), "oom_kill "),
            (MemoryControl::Unified, None) | (MemoryControl::None, _) => return false,
        };
        read_key(&file, key).is_some_and(|count| count > 0)
    }

    /// Memory that its processes hold now, page cache apart.
    pub(crate) fn memory_held(&self) -> Option<u64> {
        match (&self.memory, &self.unified) {
            (MemoryControl::V1(folder), _) => {
                let stat = folder.join("memory.stat");
                Some(read_key(&stat, "total_rss ")? + read_key(&stat, "total_shmem ").unwrap_or(0))
            }
            (MemoryControl::Unified, Some(folder)) => {
                let stat = folder.join("memory.stat");
                Some(read_key(&stat, "anon ")? + read_key(&stat, "shmem ").unwrap_or(0))
            }
            (MemoryControl::Unified, None) | (MemoryControl::None, _) => None,
        }
    }

    /// Processor time of everything that ever was in it, in microseconds.
    pub(crate) fn cpu_micros(&self) -> Option<u64> {
        read_key(&self.unified.as_ref()?.join("cpu.stat"), "usage_usec ")
    }

    /// Kills everything in it at once, its shim too, where the kernel can (5.14 and later).
    pub(crate) fn kill(&self) {
        if let Some(folder) = &self.unified {
            // Whoever calls this also kills what the scan of the tree finds.
            let _ = fs::write(folder.join("cgroup.kill"), "1");
        }
    }

    /// Takes it away, and this process out of it before. It must be empty by then; one that is not stays, and holds
    /// nothing up.
    pub(crate) fn remove(&self) {
        for home in &self.home {
            let _ = fs::write(home.join("cgroup.procs"), "0");
        }
        if let Some(folder) = &self.unified {
            let _ = fs::remove_dir(folder);
        }
        if let MemoryControl::V1(folder) = &self.memory {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Where this process itself stands.
struct OwnGroups {
    /// The v2 group that jobs get theirs in.
    unified: Option<PathBuf>,
    /// The v2 group that this process is in: the same, or a leaf of it.
    home: Option<PathBuf>,
    memory: Option<PathBuf>,
}

impl OwnGroups {
    fn read() -> Self {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let path_of = |controller: &str| {
            groups.lines().find_map(|line| {
                let (names, path) = line.split_once(':')?.1.split_once(':')?;
                names
                    .split(',')
                    .any(|name| name == controller)
                    .then(|| path.trim_start_matches('/').to_owned())
            })
        };
        let root = V2_ROOTS.iter().map(Path::new).find(|root| root.join("cgroup.controllers").exists());
        let home = path_of("").and_then(|path| Some(root?.join(path)));
        // An agent that moved itself into a leaf has its jobs beside it.
        let is_leaf = |group: &Path| group.file_name().is_some_and(|name| name == AGENT_LEAF);
        let unified = home.as_deref().and_then(|home| if is_leaf(home) { home.parent() } else { Some(home) });
        let unified = unified.map(Path::to_owned);
        let memory =
            path_of("memory").map(|path| Path::new(V1_MEMORY).join(path)).filter(|folder| folder.exists());
        Self { unified, home, memory }
    }
}

const AGENT_LEAF: &str = "data-runner-agent";

/// Makes ready, once at an agent's start, that jobs get groups with memory limits on cgroup v2: a group that holds
/// processes cannot hand controllers on, so the agent moves into a leaf, if it is alone in its group (as under
/// systemd's `Delegate=yes`). Where that is not so, nothing changes and jobs do without.
pub(crate) fn delegate_own_group() {
    let Some(own) = OwnGroups::read().unified else {
        return;
    };
    let has_memory =
        fs::read_to_string(own.join("cgroup.controllers")).is_ok_and(|all| all.contains("memory"));
    let control = own.join("cgroup.subtree_control");
    if !has_memory || fs::write(&control, "+memory").is_ok() {
        return;
    }
    let alone = fs::read_to_string(own.join("cgroup.procs"))
        .is_ok_and(|procs| procs.trim() == std::process::id().to_string());
    let leaf = own.join(AGENT_LEAF);
    if alone && (leaf.exists() || fs::create_dir(&leaf).is_ok()) {
        let moved = fs::write(leaf.join("cgroup.procs"), "0").and_then(|()| fs::write(&control, "+memory"));
        if let Err(error) = moved {
            tracing::info!(%error, "jobs get no memory group of their own");
        }
    }
}

/// Removes the groups of shims that were killed and that nobody missed.
pub(crate) fn sweep() {
    let own = OwnGroups::read();
    for parent in own.unified.iter().chain(&own.memory) {
        for group in fs::read_dir(parent).into_iter().flatten().flatten() {
            if shim_of(&group.file_name()).is_some_and(|shim| !shim.is_alive()) {
                // One that still holds processes stays; whoever adopts the run ends them.
                let _ = fs::remove_dir(group.path());
            }
        }
    }
}

/// The name of a shim's group.
pub(crate) fn name_for(shim: ProcessIdentity) -> String {
    format!("{PREFIX}{}-{}", shim.pid, shim.start_time)
}

fn shim_of(group: &OsStr) -> Option<ProcessIdentity> {
    let (pid, start_time) = group.to_str()?.strip_prefix(PREFIX)?.split_once('-')?;
    Some(ProcessIdentity { pid: pid.parse().ok()?, start_time: start_time.parse().ok()? })
}

const PREFIX: &str = "data-runner-";

fn read_key(file: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
}
