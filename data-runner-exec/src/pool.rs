//! Shims that were started ahead of need: to start a program costs milliseconds, to hand a job to one that waits costs
//! microseconds.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use data_runner_core::port::SecretValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::job_env::without_tokens;
use crate::shim::record::STARTED;

/// How a shim is started: program and arguments. For the project's own binaries that is the binary itself and
/// [`shim::MODE`](crate::shim::MODE); a program that embeds an agent names its own, or `data-runner-shim`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShimCommand(pub Vec<OsString>);

impl ShimCommand {
    /// The program that runs this, in its mode [`shim::MODE`](crate::shim::MODE). Right only for a program whose
    /// `main` dispatches that mode.
    pub fn own_program() -> io::Result<Self> {
        Ok(Self(vec![std::env::current_exe()?.into(), crate::shim::MODE.into()]))
    }
}

/// Shims that wait for a job. Share one among the executors of an agent.
#[derive(Debug)]
pub struct ShimPool {
    command: ShimCommand,
    ahead: usize,
    waiting: Mutex<VecDeque<UnixStream>>,
}

impl ShimPool {
    /// A pool that keeps `ahead` shims waiting (one for each slot of the agent is right), and starts them now. It must
    /// be made within a tokio runtime. Shims that wait end with the pool; those that have a job do not.
    pub fn new(command: ShimCommand, ahead: usize) -> Result<Arc<Self>, io::Error> {
        crate::group::delegate_own_group();
        crate::group::sweep();
        let pool = Arc::new(Self { command, ahead, waiting: Mutex::default() });
        pool.refill()?;
        Ok(pool)
    }

    /// Gives the run in `folder`, whose specification lies there, to a shim, with its secrets. Answers once the job has started, or
    /// could not be, which the exit record then tells.
    pub(crate) async fn hand_over(
        self: &Arc<Self>,
        folder: &Path,
        secrets: &BTreeMap<String, SecretValue>,
    ) -> io::Result<Handed> {
        let message = crate::shim::handover_message(folder, secrets)?;
        let warm = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let handed = match warm {
            Some(shim) => match give(shim, &message).await {
                // One that died while it waited has taken nothing; whether it did, the folder tells.
                Ok(Handed::Ended) | Err(_) if folder.join(crate::shim::record::SPEC_FILE).exists() => {
                    give(self.start_one()?, &message).await
                }
                other => other,
            },
            None => give(self.start_one()?, &message).await,
        };
        let pool = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = pool.refill() {
                tracing::warn!(%error, "no shim could be started ahead; the next job waits for one");
            }
        });
        handed
    }

    fn refill(&self) -> io::Result<()> {
        loop {
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).len();
            if waiting >= self.ahead {
                return Ok(());
            }
            let shim = self.start_one()?;
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_back(shim);
        }
    }

    fn start_one(&self) -> io::Result<UnixStream> {
        let (ours, its) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let (program, arguments) =
            self.command.0.split_first().ok_or_else(|| io::Error::other("the shim's command is empty"))?;
        let mut command = tokio::process::Command::new(program);
        without_tokens(command.as_std_mut());
        // The child is not kept: tokio reaps it when it ends, and it may outlive this process.
        command
            .args(arguments)
            .stdin(Stdio::from(OwnedFd::from(its)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        UnixStream::from_std(ours)
    }
}

/// What became of a run that was handed over.
#[derive(Debug)]
pub(crate) enum Handed {
    /// The job runs; the shim talks on this.
    Started(UnixStream),
    /// The shim is gone already.
    Ended,
}

async fn give(mut shim: UnixStream, message: &[u8]) -> io::Result<Handed> {
    shim.write_all(message).await?;
    let mut answer = [0];
    match shim.read(&mut answer).await? {
        1 if answer == [STARTED] => Ok(Handed::Started(shim)),
        _ => Ok(Handed::Ended),
    }
}
