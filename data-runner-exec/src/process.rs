//! Who a process is: its number is used again one day, its number with its start time is not (within one boot).

use std::io;

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

/// A process, told apart from every other process of the same boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since boot: field 22 of `/proc/PID/stat` (proc_pid_stat(5)).
    pub start_time: u64,
}

impl ProcessIdentity {
    /// The process that runs this.
    pub fn own() -> io::Result<Self> {
        Self::of(std::process::id())
    }

    /// The process that has the number `pid` now.
    pub fn of(pid: u32) -> io::Result<Self> {
        Ok(Self { pid, start_time: Stat::read(pid)?.start_time })
    }

    /// Whether it lives: it exists, under the same start time, and is no zombie.
    pub fn is_alive(&self) -> bool {
        Stat::read(self.pid).is_ok_and(|stat| stat.start_time == self.start_time && !stat.is_dead())
    }

    /// Sends `signal`, unless the process is gone already.
    pub fn signal(&self, signal: Signal) {
        if self.is_alive() {
            signal_if_there(self.pid, signal);
        }
    }
}

/// Sends `signal` to whatever has the number `pid`. A process that is gone by now needs none, so that is no error.
pub(crate) fn signal_if_there(pid: u32, signal: Signal) {
    if let Some(pid) = pid_of(pid) {
        // ESRCH is what we want in the end; EPERM cannot happen to one of our own tree, save a set-uid program,
        // which nobody here could do anything about.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

pub(crate) fn pid_of(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// The identity of this boot of the machine.
pub fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// What is needed of `/proc/PID/stat`.
pub(crate) struct Stat {
    state: u8,
    pub(crate) parent: u32,
    pub(crate) session: u32,
    pub(crate) start_time: u64,
}

impl Stat {
    pub(crate) fn read(pid: u32) -> io::Result<Self> {
        let text = std::fs::read(format!("/proc/{pid}/stat"))?;
        Self::parse(&text)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unreadable /proc/PID/stat"))
    }

    /// The second field is the program's name in parentheses and may hold anything, parentheses too; so everything
    /// is counted from the last one.
    fn parse(text: &[u8]) -> Option<Self> {
        let after_name = text.get(memchr::memrchr(b')', text)? + 2..)?;
        let mut fields = std::str::from_utf8(after_name).ok()?.split(' ');
        let state = *fields.next()?.as_bytes().first()?;
        let parent = fields.next()?.parse().ok()?;
        let session = fields.nth(1)?.parse().ok()?;
        let start_time = fields.nth(15)?.parse().ok()?;
        Some(Self { state, parent, session, start_time })
    }

    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_program_cannot_hide_its_start_time_behind_its_name() {
        let stat = b"42 (a) R 1 2) S 7 42 41 0 -1 4194304 1 0 0 0 1 2 0 0 20 0 1 0 987654 1 2";
        let stat = Stat::parse(stat).unwrap();
        assert_eq!((stat.parent, stat.session, stat.start_time), (7, 41, 987_654));
    }

    #[test]
    fn a_number_that_is_used_again_is_another_process() {
        let own = ProcessIdentity::own().unwrap();
        assert!(own.is_alive());
        assert!(!ProcessIdentity { start_time: own.start_time + 1, ..own }.is_alive());
    }
}
