//! Processes of this machine, told apart by number and start time.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};

/// A process of one boot: its number comes again one day, with its start time it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    pub(crate) pid: u32,
    /// Field 22 of `/proc/PID/stat`, in clock ticks since boot (proc_pid_stat(5)).
    pub(crate) start_time: u64,
}

/// A process as `/proc` shows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    pub(crate) id: ProcessId,
    pub(crate) parent: u32,
    pub(crate) session: u32,
}

impl ProcessId {
    /// The process that has this number now.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let pid = i32::try_from(pid).ok()?;
        let stat = procfs::process::Process::new(pid).and_then(|process| process.stat()).ok()?;
        Some(shown(&stat)?.id)
    }

    /// Whether it lives. A zombie does not: nothing of it runs any more.
    pub(crate) fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Sends `signal` to this process and no other that got its number; that it is gone is no error.
    pub(crate) fn signal(self, signal: Signal) -> io::Result<()> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else {
            return Ok(());
        };
        // The descriptor stays with the process it was opened for, so that looking after opening leaves no gap.
        let sent = rustix::process::pidfd_open(pid, PidfdFlags::empty()).and_then(|descriptor| {
            if self.is_alive() { rustix::process::pidfd_send_signal(&descriptor, signal) } else { Ok(()) }
        });
        match sent {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn shown(stat: &procfs::process::Stat) -> Option<Shown> {
    if matches!(stat.state, 'Z' | 'X' | 'x') {
        return None;
    }
    Some(Shown {
        id: ProcessId { pid: u32::try_from(stat.pid).ok()?, start_time: stat.starttime },
        parent: u32::try_from(stat.ppid).ok()?,
        session: u32::try_from(stat.session).ok()?,
    })
}

/// All processes that live.
pub(crate) fn all() -> io::Result<Vec<Shown>> {
    let processes = procfs::process::all_processes().map_err(io::Error::other)?;
    // One that ended while we looked is not there.
    Ok(processes.filter_map(|process| shown(&process.ok()?.stat().ok()?)).collect())
}

/// Whether one of our variables (`DATA_RUNNER_…`) of the process names a path in `folder`.
///
/// A process of another user does not tell; it is none that we started.
pub(crate) fn bears_mark(id: ProcessId, folder: &Path) -> bool {
    let Ok(environment) = std::fs::read(format!("/proc/{}/environ", id.pid)) else {
        return false;
    };
    environment.split(|byte| *byte == 0).any(|variable| {
        variable.starts_with(b"DATA_RUNNER_")
            && variable
                .iter()
                .position(|byte| *byte == b'=')
                .is_some_and(|at| Path::new(OsStr::from_bytes(&variable[at + 1..])).starts_with(folder))
    })
}

/// What tells one boot of this machine from another.
pub(crate) fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}
