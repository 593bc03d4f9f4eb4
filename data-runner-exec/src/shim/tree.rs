//! Everything that descends from a process, found by /proc.
//!
//! A subreaper is the parent of every orphan among its descendants, so a walk down from it misses none that are there
//! while it walks; who kills must walk again until there is nothing left to wait for.

use std::fs;

use rustix::process::Signal;

use crate::process::{Stat, signal_if_there};

/// All descendants of `root`, parents before their children.
pub(crate) fn descendants(root: u32) -> Vec<u32> {
    let mut found = children(root);
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        found.extend(children(pid));
        next += 1;
    }
    found
}

/// Sends `signal` to all descendants of `root`.
pub(crate) fn signal_descendants(root: u32, signal: Signal) {
    for pid in descendants(root) {
        signal_if_there(pid, signal);
    }
}

/// Memory that all descendants of `root` hold, without files that are mapped in.
pub(crate) fn memory_held(root: u32) -> u64 {
    descendants(root).into_iter().filter_map(memory_of).sum()
}

fn memory_of(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib = |key: &str| -> Option<u64> {
        status.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_suffix(" kB")?.parse().ok())
    };
    Some((kib("RssAnon:")? + kib("RssShmem:").unwrap_or(0)) << 10)
}

fn children(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return found;
    };
    for thread in threads.flatten() {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(pids) => found.extend(pids.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok())),
            // A kernel without CONFIG_PROC_CHILDREN, or a thread that ended meanwhile.
            Err(_) if thread.path().exists() => return children_by_search(pid),
            Err(_) => {}
        }
    }
    found
}

fn children_by_search(parent: u32) -> Vec<u32> {
    every_process().filter(|pid| Stat::read(*pid).is_ok_and(|stat| stat.parent == parent)).collect()
}

/// Every process in the session `session`.
pub(crate) fn in_session(session: u32) -> impl Iterator<Item = u32> {
    every_process()
        .filter(move |pid| Stat::read(*pid).is_ok_and(|stat| stat.session == session && !stat.is_dead()))
}

fn every_process() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Every process that lives and was started with the variable `name` set to `value`.
pub(crate) fn with_variable(name: &str, value: &std::ffi::OsStr) -> std::collections::BTreeSet<u32> {
    use std::os::unix::ffi::OsStrExt as _;
    let wanted = [name.as_bytes(), b"=", value.as_bytes()].concat();
    every_process()
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|env| env.split(|&byte| byte == 0).any(|variable| variable == wanted))
        })
        .filter(|pid| Stat::read(*pid).is_ok_and(|stat| !stat.is_dead()))
        .collect()
}
