//! Starting the job itself.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use data_runner_core::execution::{Failure, FailureCause};
use rustix::process::{Pid, PidfdFlags, Signal};

use super::record::{self, RunSpec, SHIM_FILE, ShimRecord};
use crate::group::ResourceGroup;
use crate::process::{ProcessIdentity, boot_id, pid_of};

/// More than the usual 64 KiB, so that a job that prints in bursts need not wait for us.
const PIPE_BYTES: usize = 1 << 20;

/// Of 1000; see proc_pid_oom_score_adj(5). To raise it takes no privilege.
const JOB_GOES_FIRST: &str = "500";

/// The job's first process.
pub(super) struct Workload {
    pub(super) pid: Pid,
    pub(super) exit: OwnedFd,
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
}

/// Starts it. It writes its own record before its exec, so there is no moment at which it runs and is not on record.
pub(super) fn spawn(
    spec: &RunSpec,
    secrets: BTreeMap<String, String>,
    folder: &Path,
    shim: ProcessIdentity,
    group: &ResourceGroup,
) -> Result<Workload, Failure> {
    if !spec.working_directory.is_dir() {
        let message = "the workflow's folder is not in its bundle";
        return Err(Failure::new(FailureCause::Source, message));
    }
    let mut words = spec.command.iter().cloned().map(OsString::from);
    let program = words.next().unwrap_or_default();
    let shown = program.to_string_lossy().into_owned();
    let mut command = Command::new(program);
    command.args(words).env_clear();
    // What Data Runner says of the run wins over a secret of the same name.
    let own = |name: &str| name.starts_with("DATA_RUNNER_");
    let variables = || spec.env.iter().map(|(name, value)| (name, OsString::from(value.clone())));
    command.envs(variables().filter(|(name, _)| !own(name)));
    command.envs(secrets).envs(variables().filter(|(name, _)| own(name)));
    launch(&mut command, spec, folder, shim, group).map_err(|error| {
        let failure =
            Failure::new(FailureCause::Environment, format!("{shown} could not be started: {error}"));
        if error.kind() == io::ErrorKind::NotFound {
            failure.hinting(format!("{shown} is not installed on the worker"))
        } else {
            failure
        }
    })
}

fn launch(
    command: &mut Command,
    spec: &RunSpec,
    folder: &Path,
    shim: ProcessIdentity,
    group: &ResourceGroup,
) -> io::Result<Workload> {
    if let Some(bytes) = spec.memory_limit {
        group.limit_memory(bytes)?;
    }
    command
        .current_dir(&spec.working_directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let boot_id = boot_id()?;
    let cgroup = group.path().map(|path| path.to_string_lossy().into_owned());
    let file = folder.join(SHIM_FILE);
    let before_exec = move || {
        rustix::process::setsid()?;
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        if rustix::process::getppid() != pid_of(shim.pid) {
            return Err(io::Error::other("the shim is gone"));
        }
        // When memory runs out, in the group that the shim is in too or on the machine, the job goes and not the shim.
        std::fs::write("/proc/self/oom_score_adj", JOB_GOES_FIRST)?;
        let job = ProcessIdentity::own()?;
        let record = ShimRecord {
            pid: shim.pid,
            start_time: shim.start_time,
            boot_id: boot_id.clone(),
            job_pid: job.pid,
            job_start_time: job.start_time,
            cgroup: cgroup.clone(),
        };
        record::write(&file, &record)
    };
    // SAFETY: between fork and exec only what is async-signal-safe may be done when other threads might hold locks.
    // The shim has one thread (see `shim::main`), so there is nobody else to hold any, and allocation is sound.
    #[allow(unsafe_code)]
    let mut child = unsafe { command.pre_exec(before_exec) }.spawn()?;
    let pid = pid_of(child.id()).ok_or(io::ErrorKind::NotFound)?;
    let workload = Workload {
        pid,
        exit: rustix::process::pidfd_open(pid, PidfdFlags::empty())?,
        stdout: child.stdout.take().map(OwnedFd::from),
        stderr: child.stderr.take().map(OwnedFd::from),
    };
    for pipe in workload.stdout.iter().chain(&workload.stderr) {
        // Beyond /proc/sys/fs/pipe-max-size it is refused; then the pipe stays as it was.
        let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE_BYTES);
    }
    Ok(workload)
}
