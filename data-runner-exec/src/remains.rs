//! Ending what is left of a job whose shim was killed.
//!
//! The kernel killed the job's first process with the shim. What that one had started is found by its group, by its
//! session, and by a variable that every process of the run inherited.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::group::ResourceGroup;
use crate::process::{ProcessIdentity, boot_id, signal_if_there};
use crate::shim::record::{OUTPUT_FILE, ShimRecord};
use crate::shim::tree;

const GIVE_UP_AFTER: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Kills every process of the run in `folder` and waits until they are gone. The shim must be dead.
pub(crate) fn end(folder: &Path) -> io::Result<()> {
    let Some(record) = ShimRecord::read(folder)? else {
        return Ok(());
    };
    if record.boot_id != boot_id()? {
        return Ok(());
    }
    let group = record.cgroup.as_ref().map(|path| ResourceGroup::find(Path::new(path)));
    let give_up = Instant::now() + GIVE_UP_AFTER;
    loop {
        group.iter().for_each(ResourceGroup::kill);
        let left = remaining(folder, &record);
        if left.is_empty() {
            group.iter().for_each(ResourceGroup::remove);
            return Ok(());
        }
        if Instant::now() > give_up {
            return Err(io::Error::other(format!("processes {left:?} of the job cannot be killed")));
        }
        left.into_iter().for_each(|pid| signal_if_there(pid, Signal::KILL));
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// The processes of the run in `folder` that live.
pub(crate) fn remaining(folder: &Path, record: &ShimRecord) -> BTreeSet<u32> {
    let first = ProcessIdentity { pid: record.job_pid, start_time: record.job_start_time };
    let mut left: BTreeSet<u32> =
        tree::with_variable("DATA_RUNNER_OUTPUT", folder.join(OUTPUT_FILE).as_os_str());
    if first.is_alive() {
        left.insert(first.pid);
    }
    // A session's number is not given to a new process while anything is in it, so who is there is ours, unless it
    // was empty for a while; but then the first process must be gone and one of the same number have taken its place.
    if ProcessIdentity::of(record.job_pid).map_or(true, |now| now == first) {
        left.extend(tree::in_session(record.job_pid));
    }
    left.into_iter().filter(|pid| *pid != record.pid).collect()
}
