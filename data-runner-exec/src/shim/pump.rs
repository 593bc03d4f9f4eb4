//! The shim's loop: pipes into the spool, commands into signals, until everything of the job is gone.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use data_runner_core::execution::{Ending, SqlReport, StopReason};
use data_runner_core::log::Stream;
use data_runner_core::time::Timestamp;
use nix::sys::resource::{UsageWho, getrusage};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FallocateFlags;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

use super::control::Control;
use super::masked_log::MaskedLog;
use super::meter::Meter;
use super::profile::Profiles;
use super::record::{Command, ExitRecord, LOG_GREW, RunSpec, STARTED};
use super::tree;
use super::workload::Workload;
use crate::group::ResourceGroup;

/// A follower sees a line at once when it is the first for a while, and after this long when many come.
const FLUSH_EVERY: Duration = Duration::from_millis(20);
/// What the job left behind may finish within this (`> >(tee …)` of a shell); then it is killed.
const LEFT_BEHIND_FOR: Duration = Duration::from_millis(100);
/// A pipe that is still open when the tree is gone is held by somebody else; it is read for this long.
const DRAIN_FOR: Duration = Duration::from_secs(2);
/// How often the end of processes that are not our children is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(3);
/// A job that lives for so long gets all that a long one needs.
const SETTLE_AFTER: Duration = Duration::from_millis(5);
/// How often memory is sampled.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// What is kept of standard error to look for signs in.
const STDERR_TAIL: usize = 16 << 10;
/// Kept free on the disk for the end of the log and the exit record.
const RESERVE_BYTES: u64 = 256 << 10;

/// Where the job is on its way to its end.
enum Course {
    Running,
    /// TERM was sent.
    Stopping {
        why: Stopped,
        kill_at: Instant,
    },
    /// KILL was sent.
    Killing {
        why: Stopped,
    },
    /// The first process has ended.
    Ended {
        how: Ended,
        kill_at: Instant,
    },
    /// And all others too.
    Draining {
        how: Ended,
        until: Instant,
    },
}

#[derive(Clone, Copy)]
enum Stopped {
    ByUs(StopReason),
    ByMemoryLimit,
}

#[derive(Clone, Copy)]
struct Ended {
    status: WaitStatus,
    stopped: Option<Stopped>,
}

/// What the pump takes over.
pub(super) struct Owned<'a> {
    pub(super) spec: RunSpec,
    pub(super) folder: &'a Path,
    pub(super) group: &'a ResourceGroup,
    pub(super) workload: Workload,
    pub(super) control: Control,
    pub(super) log: MaskedLog,
    pub(super) meter: Meter,
    pub(super) profiles: Option<Profiles>,
}

pub(super) struct Pump<'a> {
    spec: RunSpec,
    folder: &'a Path,
    group: &'a ResourceGroup,
    control: Control,
    log: MaskedLog,
    pid: Pid,
    exit: OwnedFd,
    pipes: [Option<OwnedFd>; 2],
    block: Vec<u8>,
    stderr_tail: Vec<u8>,
    course: Course,
    started: Instant,
    ran_for: Duration,
    /// Since when no agent looks after the job.
    alone_since: Option<Instant>,
    settle_at: Instant,
    flushed: Instant,
    sampled: Instant,
    peak_memory: u64,
    meter: Meter,
    profiles: Option<Profiles>,
}

impl<'a> Pump<'a> {
    pub(super) fn new(owned: Owned<'a>) -> Self {
        let Owned { spec, folder, group, workload, mut control, log, meter, profiles } = owned;
        let now = Instant::now();
        control.tell(STARTED);
        Self {
            spec,
            folder,
            group,
            control,
            log,
            pid: workload.pid,
            exit: workload.exit,
            pipes: [workload.stdout, workload.stderr],
            block: vec![0; 64 << 10],
            stderr_tail: Vec::new(),
            course: Course::Running,
            started: now,
            ran_for: Duration::ZERO,
            alone_since: None,
            settle_at: now + SETTLE_AFTER,
            flushed: now.checked_sub(FLUSH_EVERY).unwrap_or(now),
            sampled: now,
            peak_memory: 0,
            meter,
            profiles,
        }
    }

    /// Runs the job to its end. The agents stay connected: that a connection ends means that all is on record.
    pub(super) fn run(mut self) -> (ExitRecord, Control) {
        loop {
            self.wait();
            self.read_pipes();
            if let Some(profiles) = &mut self.profiles {
                profiles.read();
            }
            self.reap();
            for command in self.control.commands() {
                match command {
                    Command::Stop { reason, grace_ms } => {
                        self.stop(Stopped::ByUs(reason), Duration::from_millis(grace_ms));
                    }
                }
            }
            let now = Instant::now();
            self.alone_since = self.control.is_alone().then(|| self.alone_since.unwrap_or(now));
            self.settle(now);
            self.keep_time(now);
            self.sample(now);
            if self.log.has_pending() && now.duration_since(self.flushed) >= FLUSH_EVERY {
                self.flush(now);
            }
            if let Course::Draining { how, until } = self.course
                && (now >= until || self.pipes.iter().all(Option::is_none))
            {
                return (self.finish(how), self.control);
            }
        }
    }

    /// Does what a job that ends at once does not need, and others can wait for: an agent that looks for the job before
    /// this sees that the shim lives, and looks again.
    fn settle(&mut self, now: Instant) {
        if self.control.is_open() || now < self.settle_at {
            return;
        }
        self.settle_at = now + SAMPLE_EVERY;
        // What fails, for want of space perhaps, is tried again. The reserve is only a precaution: without it the end
        // may have to wait for space.
        let _ = self.control.open(self.folder);
        let _ = File::create(self.folder.join("reserve"))
            .map(|file| rustix::fs::fallocate(file, FallocateFlags::empty(), 0, RESERVE_BYTES));
    }

    fn wait(&self) {
        let pipes = self.pipes.iter().flatten().map(|pipe| pipe.as_fd());
        let exit = match self.course {
            Course::Running | Course::Stopping { .. } | Course::Killing { .. } => Some(self.exit.as_fd()),
            Course::Ended { .. } | Course::Draining { .. } => None,
        };
        let profiles = self.profiles.as_ref().map(AsFd::as_fd);
        let all = pipes.chain(exit).chain(profiles).chain(self.control.fds());
        let mut fds: Vec<_> = all.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        let timeout = self.next_wake().saturating_duration_since(Instant::now());
        // Neither an interruption nor a failure may end the loop; the next round finds what there is.
        let _ = poll(&mut fds, Timespec::try_from(timeout).ok().as_ref());
    }

    fn next_wake(&self) -> Instant {
        let now = Instant::now();
        let course = match self.course {
            Course::Running => self.must_stop_at().0,
            Course::Stopping { kill_at, .. } => kill_at,
            Course::Killing { .. } => now + LOOK_AGAIN,
            Course::Ended { .. } => now + LOOK_AGAIN,
            Course::Draining { until, .. } => until,
        };
        let flush = if self.log.has_pending() { self.flushed + FLUSH_EVERY } else { course };
        let settle = if self.control.is_open() { course } else { self.settle_at };
        course.min(flush).min(settle).min(self.sampled + SAMPLE_EVERY)
    }

    fn read_pipes(&mut self) {
        for (index, stream) in [Stream::Stdout, Stream::Stderr].into_iter().enumerate() {
            let Some(pipe) = &self.pipes[index] else { continue };
            let mut ready = [PollFd::new(pipe, PollFlags::IN)];
            if poll(&mut ready, Some(&Timespec::default())).unwrap_or(0) == 0 {
                continue;
            }
            match rustix::io::read(pipe, &mut self.block) {
                Ok(0) => self.pipes[index] = None,
                Ok(read) => {
                    let bytes = &self.block[..read];
                    if stream == Stream::Stderr {
                        keep_tail(&mut self.stderr_tail, bytes);
                    }
                    if self.log.push(stream, now_wall(), bytes) {
                        self.flushed = Instant::now();
                        self.control.tell(LOG_GREW);
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => self.pipes[index] = None,
            }
        }
    }

    /// Takes every child that has ended: the job's first process, and orphans that became ours.
    fn reap(&mut self) {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.pid => self.first_process_ended(status),
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) => return,
                Err(_) => break,
            }
        }
        // No child: the whole tree is gone.
        if let Course::Ended { how, .. } = self.course {
            self.ran_for = self.started.elapsed();
            self.course = Course::Draining { how, until: Instant::now() + DRAIN_FOR };
        }
    }

    fn first_process_ended(&mut self, status: WaitStatus) {
        let now = Instant::now();
        let (stopped, kill_at) = match self.course {
            Course::Running => (None, now + LEFT_BEHIND_FOR),
            Course::Stopping { why, .. } | Course::Killing { why } => (Some(why), now),
            Course::Ended { .. } | Course::Draining { .. } => return,
        };
        self.course = Course::Ended { how: Ended { status, stopped }, kill_at };
    }

    /// Begins to stop it, unless that was begun already or it has ended.
    fn stop(&mut self, why: Stopped, grace: Duration) {
        match self.course {
            Course::Running => {
                self.course = Course::Stopping { why, kill_at: Instant::now() + grace };
                tree::signal_descendants(std::process::id(), Signal::TERM);
            }
            Course::Stopping { .. }
            | Course::Killing { .. }
            | Course::Ended { .. }
            | Course::Draining { .. } => {}
        }
    }

    fn keep_time(&mut self, now: Instant) {
        match self.course {
            Course::Running => {
                let (at, reason) = self.must_stop_at();
                if now >= at {
                    self.stop(Stopped::ByUs(reason), Duration::from_millis(self.spec.grace_ms));
                }
            }
            Course::Stopping { why, kill_at } if now >= kill_at => {
                self.course = Course::Killing { why };
                self.kill_all();
            }
            Course::Killing { .. } => self.kill_all(),
            Course::Ended { kill_at, .. } if now >= kill_at => self.kill_all(),
            Course::Stopping { .. } | Course::Ended { .. } | Course::Draining { .. } => {}
        }
    }

    /// When a job that goes on must be stopped, and why: its time is up, or no agent came back for too long.
    fn must_stop_at(&self) -> (Instant, StopReason) {
        let timeout = (self.started + Duration::from_millis(self.spec.timeout_ms), StopReason::Timeout);
        let alone = self.alone_since.map(|since| since + Duration::from_millis(self.spec.alone_for_ms));
        match alone {
            Some(at) if at < timeout.0 => (at, StopReason::Interrupted),
            Some(_) | None => timeout,
        }
    }

    /// The group cannot be killed as one: the shim is in it.
    fn kill_all(&self) {
        tree::signal_descendants(std::process::id(), Signal::KILL);
    }

    fn sample(&mut self, now: Instant) {
        if now.duration_since(self.sampled) < SAMPLE_EVERY {
            return;
        }
        self.sampled = now;
        self.meter.sample(now);
        let held = self.group.memory_held().unwrap_or_else(|| tree::memory_held(std::process::id()));
        self.peak_memory = self.peak_memory.max(held);
        let over = self.spec.memory_limit.is_some_and(|limit| held > limit);
        if over && !self.group.limits_memory() {
            self.stop(Stopped::ByMemoryLimit, Duration::ZERO);
        }
    }

    fn flush(&mut self, now: Instant) {
        if self.log.flush() {
            self.control.tell(LOG_GREW);
        }
        self.flushed = now;
    }

    fn finish(&mut self, how: Ended) -> ExitRecord {
        // The space is needed now; if it was never had, there is nothing to remove.
        let _ = std::fs::remove_file(self.folder.join("reserve"));
        let (log_end, preview) = self.log.finish(now_wall());
        let sql = self.profiles.take().map(|profiles| {
            let (report, spilled) = profiles.finish();
            spilled.into_iter().for_each(|bytes| self.meter.spilled(bytes));
            Box::new(SqlReport { preview, ..report })
        });
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).ok();
        let largest = usage.map_or(0, |usage| u64::try_from(usage.max_rss()).unwrap_or(0) << 10);
        let waited_for = usage.map_or(0, |usage| micros(usage.user_time()) + micros(usage.system_time()));
        ExitRecord {
            ending: self.ending(how),
            peak_memory_bytes: Some(self.peak_memory.max(largest)).filter(|&bytes| bytes > 0),
            cpu_micros: self.group.cpu_micros().unwrap_or(waited_for),
            log_end,
            ran_micros: u64::try_from(self.ran_for.as_micros()).unwrap_or(u64::MAX),
            measured: self.meter.finish(),
            sql: sql.filter(|sql| !sql.is_empty()),
        }
    }

    fn ending(&self, how: Ended) -> Ending {
        let out_of_memory = Ending::OutOfMemory { limit_bytes: self.spec.memory_limit };
        match how.stopped {
            Some(Stopped::ByUs(reason)) => return Ending::Stopped { reason },
            Some(Stopped::ByMemoryLimit) => return out_of_memory,
            None => {}
        }
        let narrow = |number: Option<i32>| number.and_then(|number| u8::try_from(number).ok());
        let signal = narrow(how.status.terminating_signal());
        let code = narrow(how.status.exit_status()).unwrap_or(0);
        let failed_with = signal.map_or(code, |signal| signal.saturating_add(128));
        if failed_with != 0 && (self.group.killed_for_memory() || self.says_out_of_memory(failed_with)) {
            return out_of_memory;
        }
        match signal {
            Some(signal) => Ending::Signalled { signal },
            None => Ending::Exited { code },
        }
    }

    fn says_out_of_memory(&self, code: u8) -> bool {
        let mut lines = self.stderr_tail.split(|&byte| byte == b'\n');
        lines.any(|line| {
            let mut signs = self.spec.memory_signs.iter().filter(|sign| sign.code == code);
            signs.any(|sign| line.starts_with(sign.line_starts_with.as_bytes()))
        })
    }
}

fn keep_tail(tail: &mut Vec<u8>, bytes: &[u8]) {
    tail.extend_from_slice(bytes);
    if tail.len() > 2 * STDERR_TAIL {
        tail.drain(..tail.len() - STDERR_TAIL);
    }
}

fn micros(time: nix::sys::time::TimeVal) -> u64 {
    u64::try_from(time.tv_sec()).unwrap_or(0) * 1_000_000 + u64::try_from(time.tv_usec()).unwrap_or(0)
}

fn now_wall() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
