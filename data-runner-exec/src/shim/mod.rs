//! The shim: one small process per run that owns the job.
//!
//! It starts the job, reads its pipes into the spool, holds its time and memory, ends whatever the job leaves behind,
//! and writes down how it ended. It outlives its agent: an agent that starts again finds it by the run folder. When
//! the shim itself is killed, the kernel kills the job with it, so that nothing runs unseen.
//!
//! A program that runs jobs carries the shim as a hidden mode and dispatches to it first thing, before any runtime or
//! thread exists:
//!
//! ```no_run
//! if std::env::args_os().nth(1).is_some_and(|mode| mode == data_runner_exec::shim::MODE) {
//!     std::process::exit(data_runner_exec::shim::main());
//! }
//! ```

mod control;
pub(crate) use control::{line as control_line, socket_path};
pub(crate) use record::CONTROL_SOCKET;
mod handover;
pub(crate) use handover::message as handover_message;
pub(crate) use profile::PROFILE_PIPE;
mod masked_log;
mod meter;
mod preview;
mod profile;
mod pump;
pub(crate) mod record;
pub(crate) mod tree;
mod workload;

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use data_runner_core::execution::{Ending, Failure};
use data_runner_core::log::LogOffset;
use rustix::fs::FlockOperation;

use crate::group::{self, ResourceGroup};
use crate::mask::Secrets;
use crate::process::ProcessIdentity;
use handover::Handover;
use masked_log::{MaskedLog, mask_output, masked_statements};
use meter::{Measured, Meter};
use preview::Tables;
use profile::Profiles;
use record::{ExitRecord, RunSpec};

/// The first argument that means: be a shim.
pub const MODE: &str = "internal-shim";

/// Waits on standard input (a socket that the agent holds) for a run folder, runs the job that is specified there, and
/// returns the exit code for the process. Must be called while the process has one thread.
pub fn main() -> i32 {
    match serve() {
        Ok(()) => 0,
        // Nobody reads what a shim says; what matters is in the run folder, or the agent sees that we are gone.
        Err(_) => 1,
    }
}

fn serve() -> io::Result<()> {
    let own = ProcessIdentity::own()?;
    // Whatever folder the agent stands in may go.
    std::env::set_current_dir("/")?;
    // What is sent to the agent's terminal or process group is not meant for its jobs. A session leader already is apart.
    let _ = rustix::process::setsid();
    rustix::process::set_child_subreaper(crate::process::pid_of(own.pid))?;
    let agent = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    // The connection must end when we close it, not when the last copy of it goes.
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    // Everything that takes time and needs no job to be known is done by now, off the critical path.
    let group = ResourceGroup::create(&group::name_for(own));
    let outcome = group.enter().and_then(|()| match Handover::receive(&agent)? {
        Some(job) => run(job, own, &group, agent),
        None => Ok(()),
    });
    group.remove();
    outcome
}

fn run(job: Handover, own: ProcessIdentity, group: &ResourceGroup, agent: UnixStream) -> io::Result<()> {
    let Handover { folder, secrets } = job;
    let folder = folder.as_path();
    let specification = File::open(folder.join(record::SPEC_FILE))?;
    // Held for as long as this process lives: by it others know.
    rustix::fs::flock(&specification, FlockOperation::NonBlockingLockExclusive)?;
    std::fs::rename(folder.join(record::SPEC_FILE), folder.join(record::TAKEN_FILE))?;
    let spec: RunSpec = serde_json::from_reader(io::BufReader::new(&specification))?;
    let lease = spec.lease.as_ref().map(File::open).transpose()?;
    if let Some(lease) = &lease {
        rustix::fs::flock(lease, FlockOperation::LockShared)?;
    }
    let control = control::Control::of(agent)?;
    let masks = (!secrets.is_empty()).then(|| Secrets::new(secrets.values().map(String::as_str)));
    let meter = Meter::new(&spec.watched);
    let profiles = spec.watched.sql.then(|| Profiles::listen(folder)).flatten();
    let (mut end, agents) = match workload::spawn(&spec, secrets, folder, own, group) {
        Ok(workload) => {
            let tables = spec.watched.sql.then(Tables::default);
            let log = MaskedLog::new(folder, spec.log_quota, masks.as_ref(), tables);
            pump::Pump::new(pump::Owned { spec, folder, group, workload, control, log, meter, profiles })
                .run()
        }
        Err(failure) => {
            let failure = match &masks {
                Some(secrets) => secrets.mask_failure(failure),
                None => failure,
            };
            (never_started(failure), control)
        }
    };
    if let Some(secrets) = &masks {
        mask_output(folder, secrets);
        end.sql = end.sql.map(|sql| masked_statements(sql, secrets));
    }
    write_exit_record(folder, &end);
    drop(agents);
    Ok(())
}

fn never_started(failure: Failure) -> ExitRecord {
    ExitRecord {
        ending: Ending::NeverStarted { failure },
        peak_memory_bytes: None,
        cpu_micros: 0,
        log_end: LogOffset(0),
        ran_micros: 0,
        measured: Measured::default(),
        sql: None,
    }
}

/// The record must be written, whatever the disk thinks of it now: without it the run counts as vanished.
fn write_exit_record(folder: &Path, end: &ExitRecord) {
    while record::write(&folder.join(record::EXIT_FILE), end).is_err() && folder.exists() {
        std::thread::sleep(Duration::from_millis(250));
    }
}

/// Tells the agent, which may be gone.
fn tell(mut agent: &UnixStream, what: u8) -> io::Result<()> {
    match agent.write(&[what]) {
        // Whoever has not read the bytes before this one will look anyway when it does.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        other => other.map(|_| ()),
    }
}
