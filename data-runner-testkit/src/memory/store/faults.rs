//! Failures on demand.

use std::collections::VecDeque;

use data_runner_core::port::StateError;

/// How a call to the store shall fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreFault {
    /// Nothing happens, and the answer is `DiskFull`.
    DiskFull,
    /// Nothing happens, and the answer is `Unavailable`.
    Unavailable,
    /// It happens, but the answer is `Unavailable`: the caller cannot know.
    AnswerLost,
}

/// What lies ahead, per kind of call.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) commits: VecDeque<StoreFault>,
    pub(super) appends: VecDeque<StoreFault>,
    pub(super) loads: VecDeque<StoreFault>,
}

impl Faults {
    /// Runs `call` under the next fault of its line.
    pub(super) fn around<T>(
        line: &mut VecDeque<StoreFault>,
        call: impl FnOnce() -> T,
    ) -> Result<T, StateError> {
        match line.pop_front() {
            None => Ok(call()),
            Some(StoreFault::DiskFull) => Err(StateError::DiskFull(injected("no space left"))),
            Some(StoreFault::Unavailable) => Err(StateError::Unavailable(injected("not done"))),
            Some(StoreFault::AnswerLost) => {
                call();
                Err(StateError::Unavailable(injected("done, but the answer was lost")))
            }
        }
    }
}

fn injected(what: &str) -> data_runner_core::port::Source {
    format!("injected: {what}").into()
}
