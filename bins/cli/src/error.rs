//! What can go wrong in a command, what its exit code is, and what a person reads.

use std::error::Error as _;
use std::fmt::Write as _;
use std::io;

use crate::client::Refusal;
use crate::output::style;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server answered with a problem.
    #[error("{0}")]
    Server(Refusal),
    /// Nobody listens there, or the connection broke.
    #[error("no server at {server}")]
    Unreachable {
        /// Its address.
        server: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The answer is not what this version understands.
    #[error("the server's answer to {request} cannot be read")]
    Answer {
        /// What was asked.
        request: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The call was wrong.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to do.
        help: Option<String>,
    },
    /// There is no such thing.
    #[error("{message}")]
    NotFound {
        /// What is not there.
        message: String,
        /// What to do.
        help: Option<String>,
    },
    /// It cannot be done now, or not here.
    #[error("{message}")]
    Failed {
        /// What failed.
        message: String,
        /// What to do.
        help: Option<String>,
        /// Why.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A file or stream of this machine.
    #[error("{what}")]
    Io {
        /// What was done.
        what: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// The exit code when the fault is not the job's, for commands that report the job's own.
pub const OURS: u8 = 125;

impl Error {
    /// A wrong call, with what would be right.
    pub fn usage(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), help: Some(help.into()) }
    }

    /// Something that is not there, and how to find what is.
    pub fn not_found(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::NotFound { message: message.into(), help: Some(help.into()) }
    }

    /// A failure with what to do about it.
    pub fn failed(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Failed { message: message.into(), help: Some(help.into()), source: None }
    }

    /// A failed operation on a file or stream.
    pub fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }

    /// The same; what the server does not know is told with how to find what it does.
    #[must_use]
    pub fn helping_to_find(self, help: &str) -> Self {
        match &self {
            Self::Server(refusal) if refusal.status() == 404 => Self::not_found(refusal.to_string(), help),
            Self::Server(_)
            | Self::Unreachable { .. }
            | Self::Answer { .. }
            | Self::Usage { .. }
            | Self::NotFound { .. }
            | Self::Failed { .. }
            | Self::Io { .. } => self,
        }
    }

    /// The exit code of a command that does not report a job's.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Server(problem) => match problem.status() {
                400 | 413 | 415 | 422 => 2,
                401 | 403 => 4,
                404 | 410 => 3,
                409 => 5,
                _ => 1,
            },
            Self::Usage { .. } => 2,
            Self::NotFound { .. } => 3,
            Self::Unreachable { .. } | Self::Answer { .. } | Self::Failed { .. } | Self::Io { .. } => 1,
        }
    }

    /// Whether whoever read our stdout has gone: then there is nobody to tell.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// What to do about it.
    fn help(&self) -> Option<String> {
        match self {
            Self::Server(problem) => problem.help(),
            Self::Unreachable { source, .. } if is_about_certificates(source) => Some(
                "name the file of the server's authority with --ca or DATA_RUNNER_CA; a supervisor's own is ca.pem \
                 in its state folder"
                    .to_owned(),
            ),
            Self::Unreachable { .. } => Some(
                "start one with `data-runner dev`, or name another with --server or DATA_RUNNER_SERVER"
                    .to_owned(),
            ),
            Self::Answer { .. } => {
                Some("is this the address of a Data Runner server, and of the same version?".to_owned())
            }
            Self::Usage { help, .. } | Self::NotFound { help, .. } | Self::Failed { help, .. } => {
                help.clone()
            }
            Self::Io { .. } => None,
        }
    }

    /// What lies under it, the nearest first. Of a broken connection only the root says anything.
    fn causes(&self) -> Vec<String> {
        let mut causes: Vec<String> = Vec::new();
        let mut cause = self.source();
        while let Some(error) = cause {
            let message = error.to_string();
            if causes.last().is_none_or(|last| !last.contains(&message)) {
                causes.push(message);
            }
            cause = error.source();
        }
        match self {
            Self::Unreachable { .. } => causes.split_off(causes.len().saturating_sub(1)),
            Self::Server(_)
            | Self::Answer { .. }
            | Self::Usage { .. }
            | Self::NotFound { .. }
            | Self::Failed { .. }
            | Self::Io { .. } => causes,
        }
    }

    /// The whole message for stderr: the error, what lies under it, and what to do.
    pub fn render(&self) -> String {
        let mut text = format!("{} {self}", style::error("error:"));
        for cause in self.causes() {
            let _ = write!(text, "\n  {} {cause}", style::dim("because:"));
        }
        if let Some(help) = self.help() {
            let _ = write!(text, "\n  {} {help}", style::help("help:"));
        }
        text
    }
}

/// Whether a connection failed since the server's certificate is not trusted.
fn is_about_certificates(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.to_string().contains("certificate") {
            return true;
        }
        cause = error.source();
    }
    false
}

impl From<io::Error> for Error {
    fn from(source: io::Error) -> Self {
        Self::io("cannot write to stdout", source)
    }
}
