//! How agents reach a shim: the one that started it by the socket that it was given, a later one by a socket file in
//! the run folder.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use super::record::{CONTROL_SOCKET, Command};
use super::tell;

/// Commands are short lines; who sends more than this without one is no agent.
const LONGEST_LINE: usize = 4096;

pub(super) struct Control {
    listener: Option<UnixListener>,
    agents: Vec<Agent>,
}

struct Agent {
    stream: UnixStream,
    unread: Vec<u8>,
}

/// A path of a socket may have 107 bytes only (unix(7)); this one is short however deep the folder lies. The folder
/// must stay open for as long as the path is used.
pub(crate) fn socket_path(folder: &File) -> String {
    format!("/proc/self/fd/{}/{CONTROL_SOCKET}", folder.as_raw_fd())
}

impl Control {
    /// Listens to the agent that started us.
    pub(super) fn of(first: UnixStream) -> io::Result<Self> {
        let mut control = Self { listener: None, agents: Vec::new() };
        control.admit(first)?;
        Ok(control)
    }

    pub(super) fn is_open(&self) -> bool {
        self.listener.is_some()
    }

    /// Whether no agent is connected.
    pub(super) fn is_alone(&self) -> bool {
        self.agents.is_empty()
    }

    /// Lets others in too.
    pub(super) fn open(&mut self, folder: &Path) -> io::Result<()> {
        let listener = UnixListener::bind(socket_path(&File::open(folder)?))?;
        listener.set_nonblocking(true)?;
        self.listener = Some(listener);
        Ok(())
    }

    fn admit(&mut self, stream: UnixStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        self.agents.push(Agent { stream, unread: Vec::new() });
        Ok(())
    }

    /// Everything that can bring news.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.listener
            .iter()
            .map(|listener| listener.as_fd())
            .chain(self.agents.iter().map(|agent| agent.stream.as_fd()))
    }

    /// Says `what` to every agent that listens.
    pub(super) fn tell(&mut self, what: u8) {
        self.agents.retain(|agent| tell(&agent.stream, what).is_ok());
    }

    /// Takes new agents and the commands of all.
    pub(super) fn commands(&mut self) -> Vec<Command> {
        while let Some(Ok((stream, _))) = self.listener.as_ref().map(UnixListener::accept) {
            if self.admit(stream).is_err() {
                break;
            }
        }
        let mut commands = Vec::new();
        self.agents.retain_mut(|agent| agent.read(&mut commands));
        commands
    }
}

impl Agent {
    /// False when it is gone, or talks nonsense.
    fn read(&mut self, commands: &mut Vec<Command>) -> bool {
        let mut block = [0; 1024];
        loop {
            match self.stream.read(&mut block) {
                Ok(0) => return false,
                Ok(read) => self.unread.extend_from_slice(&block[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return false,
            }
            while let Some(newline) = memchr::memchr(b'\n', &self.unread) {
                let line: Vec<u8> = self.unread.drain(..=newline).collect();
                match serde_json::from_slice(&line) {
                    Ok(command) => commands.push(command),
                    Err(_) => return false,
                }
            }
            if self.unread.len() > LONGEST_LINE {
                return false;
            }
        }
    }
}

/// One command as it travels.
pub(crate) fn line(command: Command) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(&command)?;
    line.push(b'\n');
    Ok(line)
}
