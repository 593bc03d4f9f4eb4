//! One failure, told to everyone whose call was part of the transaction.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use data_runner_core::port::StateError;

/// A failure that several callers get. Errors of the port cannot be copied, since their sources cannot.
pub(super) struct Shared(Arc<StateError>);

impl Shared {
    pub(super) fn new(error: StateError) -> Self {
        Self(Arc::new(error))
    }

    /// The failure for one of them: of the same kind, with the same chain of causes.
    pub(super) fn copy(&self) -> StateError {
        let source = || Box::new(Cause(Arc::clone(&self.0)));
        match &*self.0 {
            StateError::DiskFull(_) => StateError::DiskFull(source()),
            StateError::Unavailable(_) => StateError::Unavailable(source()),
            StateError::Corrupt { what, .. } => StateError::Corrupt { what: what.clone(), source: source() },
            StateError::Fenced { ours, current } => StateError::Fenced { ours: *ours, current: *current },
            StateError::Held { holder } => StateError::Held { holder: holder.clone() },
            StateError::TooNew { found, known, hint } => {
                StateError::TooNew { found: *found, known: *known, hint: hint.clone() }
            }
        }
    }
}

/// What lies under the failure.
#[derive(Debug)]
struct Cause(Arc<StateError>);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.source() {
            Some(source) => fmt::Display::fmt(source, f),
            None => fmt::Display::fmt(&self.0, f),
        }
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source().and_then(Error::source)
    }
}
