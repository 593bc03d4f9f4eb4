//! Ending a machine: its agent, its shims, its jobs and all that they started.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::machine_folder::{MachineFolder, ShimRecord, Start};
use crate::process::{ProcessId, Shown, all, bears_mark, boot_id};

/// A process that does not go in this time hangs in the kernel; the next call tries again.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// What starts processes faster than it can be stopped is killed unstopped.
const ROUNDS_OF_STOPPING: usize = 50;

/// Kills every process of the machine and gives those that are left after a while: none is the proof that it is gone.
pub(crate) fn kill_all(folder: &MachineFolder) -> io::Result<BTreeSet<ProcessId>> {
    let mut remains = Remains::of(folder)?;
    let mut found = remains.look()?;
    // Stopped first, those above before those below: what is stopped neither starts a process nor answers for its
    // children, so that none slips away between the look and the kill.
    for _ in 0..ROUNDS_OF_STOPPING {
        signal_each(&found, Signal::STOP);
        let again = remains.look()?;
        if again.is_subset(&found) {
            break;
        }
        found.extend(again);
    }
    let until = Instant::now() + GIVE_UP_AFTER;
    loop {
        remains.kill_groups();
        signal_each(&found, Signal::KILL);
        found = remains.look()?;
        if found.is_empty() || Instant::now() > until {
            return Ok(found);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// One that may not be signalled (a set-uid program) stays among those that are left; the others go all the same.
fn signal_each(processes: &BTreeSet<ProcessId>, signal: Signal) {
    for process in processes {
        if let Err(error) = process.signal(signal) {
            tracing::debug!(pid = process.pid, %error, "a process cannot be signalled");
        }
    }
}

/// The processes of one machine, as far as they are known.
struct Remains<'a> {
    folder: &'a Path,
    /// Those that are ours, seen so far; what they start is ours too, and stays it when they are gone.
    known: BTreeSet<ProcessId>,
    /// The sessions of jobs.
    sessions: BTreeSet<u32>,
    groups: Vec<ShimRecord>,
    own: u32,
}

impl<'a> Remains<'a> {
    fn of(folder: &'a MachineFolder) -> io::Result<Self> {
        let shims = folder.shims()?;
        let mut known = BTreeSet::new();
        if let Some(Start::Done { boot_id: boot, process }) = folder.start()?
            && boot == boot_id()?
        {
            known.insert(process);
        }
        let mut sessions = BTreeSet::new();
        for shim in &shims {
            known.insert(ProcessId { pid: shim.pid, start_time: shim.start_time });
            if let (Some(pid), Some(start_time)) = (shim.job_pid, shim.job_start_time) {
                let first = ProcessId { pid, start_time };
                known.insert(first);
                // A session's number is not given away while anyone is in it. So whoever is in it is the job's,
                // unless a stranger has the number now, and with it perhaps a session of the same number.
                if ProcessId::of(pid).is_none_or(|now| now == first) {
                    sessions.insert(pid);
                }
            }
        }
        Ok(Self { folder: &folder.path, known, sessions, groups: shims, own: std::process::id() })
    }

    /// Those that live now.
    fn look(&mut self) -> io::Result<BTreeSet<ProcessId>> {
        let shown = all()?;
        let mut found: BTreeSet<ProcessId> =
            shown.iter().filter(|process| self.is_ours(process)).map(|process| process.id).collect();
        loop {
            let pids: BTreeSet<u32> = found.iter().map(|process| process.pid).collect();
            let before = found.len();
            let below =
                shown.iter().filter(|process| pids.contains(&process.parent) && process.id.pid != self.own);
            found.extend(below.map(|process| process.id));
            if found.len() == before {
                break;
            }
        }
        self.known.extend(&found);
        Ok(found)
    }

    fn is_ours(&self, process: &Shown) -> bool {
        // Never the supervisor itself, and never the machine's first process.
        process.id.pid != self.own
            && process.id.pid > 1
            && (self.known.contains(&process.id)
                || self.sessions.contains(&process.session)
                || bears_mark(process.id, self.folder))
    }

    /// Where a job has a cgroup of its own, the kernel ends it at one stroke.
    fn kill_groups(&self) {
        for group in self.groups.iter().filter_map(|shim| shim.cgroup.as_deref()) {
            if let Err(error) = fs::write(group.join("cgroup.kill"), "1")
                && error.kind() != io::ErrorKind::NotFound
            {
                // The processes are killed one by one as well.
                tracing::debug!(group = %group.display(), %error, "a group cannot be killed at one stroke");
            }
        }
    }
}
