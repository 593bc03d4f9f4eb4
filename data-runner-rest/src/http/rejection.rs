//! The engine's errors as refusals.

use std::error::Error;

use data_runner_core::event::Rejection;
use data_runner_core::port::{BlobError, Retry, SourceError, StateError};
use data_runner_core::workflow::config::Problem;
use data_runner_engine::RequestError;

use super::refusal::{Kind, Refusal};
use crate::api::Fault;

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Self {
        let detail = error.to_string();
        match error {
            RequestError::Rejected(rejection) => rejection.into(),
            RequestError::NoSuchWorkflow { .. } => Self::new(Kind::WorkflowNotFound, detail),
            RequestError::AmbiguousWorkflow { .. } => Self::new(Kind::Ambiguous, detail),
            RequestError::NoSuchRepo(_) => Self::new(Kind::RepoNotFound, detail),
            RequestError::NoSuchGroup(_) => Self::new(Kind::GroupNotFound, detail),
            RequestError::NoSuchExecution(_) => Self::new(Kind::ExecutionNotFound, detail),
            RequestError::Invalid { what, problems } => {
                Self::new(Kind::InvalidRequest, what).with(problems.iter().map(fault))
            }
            RequestError::Source(error) => source(&error),
            RequestError::Blob(error) => blob(&error),
            RequestError::State(error) => state(&error),
            RequestError::NoMachine { hint, .. } => {
                let refusal = Self::new(Kind::NoMachine, detail);
                match hint {
                    Some(hint) => refusal.hinting(hint),
                    None => refusal,
                }
            }
            RequestError::Provisioner(error) => Self::new(Kind::ProvisionerUnreachable, chain(&*error)),
            RequestError::Unavailable => Self::new(Kind::Unavailable, detail),
        }
    }
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        let detail = match &rejection {
            // The route stands before the caller's own key, since keys of different routes have nothing to do with
            // each other.
            Rejection::KeyReused { key } => {
                let own = key.splitn(3, ' ').nth(2).unwrap_or(key);
                Rejection::KeyReused { key: own.to_owned() }.to_string()
            }
            Rejection::NoSuchExecution(_)
            | Rejection::NoSuchGroup(_)
            | Rejection::GroupEnded { .. }
            | Rejection::NoSuchWorkflow(_)
            | Rejection::NoSuchWorker(_)
            | Rejection::WorkflowGone { .. }
            | Rejection::AlreadyEnded { .. }
            | Rejection::Skipped { .. }
            | Rejection::StartSettled(_)
            | Rejection::NotWelcome(_)
            | Rejection::NoSuchRemote { .. }
            | Rejection::NameTaken
            | Rejection::Artifact(_)
            | Rejection::ShuttingDown => rejection.to_string(),
        };
        let kind = match rejection {
            Rejection::NoSuchExecution(_) => Kind::ExecutionNotFound,
            Rejection::NoSuchGroup(_) => Kind::GroupNotFound,
            Rejection::GroupEnded { .. } => Kind::AlreadyEnded,
            Rejection::NoSuchWorkflow(_) => Kind::WorkflowNotFound,
            Rejection::NoSuchWorker(_) => Kind::WorkerNotFound,
            Rejection::WorkflowGone { .. } => Kind::WorkflowGone,
            Rejection::KeyReused { .. } => Kind::IdempotencyKeyReused,
            Rejection::AlreadyEnded { .. } => Kind::AlreadyEnded,
            Rejection::Skipped { .. } => Kind::ConcurrencyLimit,
            // Machines and what starts by itself ask for these, not callers of REST.
            Rejection::NotWelcome(_) | Rejection::StartSettled(_) | Rejection::Artifact(_) => Kind::Internal,
            Rejection::NoSuchRemote { .. } => Kind::RepoNotFound,
            Rejection::NameTaken => Kind::Ambiguous,
            Rejection::ShuttingDown => Kind::Unavailable,
        };
        Self::new(kind, detail)
    }
}

impl From<StateError> for Refusal {
    fn from(error: StateError) -> Self {
        state(&error)
    }
}

/// A problem of a configuration, or of parameters, as the fault of a problem document.
pub(crate) fn fault(problem: &Problem) -> Fault {
    let at = problem.location.as_ref();
    Fault {
        pointer: at.map(|at| at.pointer.clone()),
        // What is about the request itself has no file.
        file: at.map(|at| at.file.clone()).filter(|file| !file.is_empty()),
        line: at.map(|at| at.line).filter(|line| *line > 0),
        column: at.map(|at| at.column).filter(|column| *column > 0),
        code: problem.code.clone(),
        message: problem.message.clone(),
        help: problem.help.clone(),
    }
}

fn source(error: &SourceError) -> Refusal {
    let kind = match error {
        SourceError::Unreachable { .. } | SourceError::Denied { .. } => Kind::SourceUnreachable,
        SourceError::NoSuchRef { .. } | SourceError::NoSuchPath { .. } | SourceError::Gone(_) => {
            Kind::RevisionNotFound
        }
        SourceError::Refused { .. } => Kind::InvalidRequest,
        SourceError::Local { .. } => {
            tracing::error!(error = error as &dyn Error, "the local copy of a repository failed");
            Kind::Unavailable
        }
    };
    Refusal::new(kind, chain(error))
}

fn blob(error: &BlobError) -> Refusal {
    tracing::error!(error = error as &dyn Error, "the blob store failed");
    storage(error.retry(), "the code could not be kept")
}

fn state(error: &StateError) -> Refusal {
    tracing::error!(error = error as &dyn Error, "the state store failed");
    storage(error.retry(), "the state could not be read or written")
}

/// What a store says of its disk is for the operator, not for the caller.
fn storage(retry: Retry, detail: &str) -> Refusal {
    match retry {
        Retry::Later => Refusal::new(Kind::Unavailable, detail),
        Retry::Never => Refusal::new(Kind::Internal, detail),
    }
}

/// An error and all that lies under it, in one sentence.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut under = error.source();
    while let Some(error) = under {
        text.push_str(": ");
        text.push_str(&error.to_string());
        under = error.source();
    }
    text
}
