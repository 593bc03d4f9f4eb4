//! What a request for a log asks for.

use data_runner_core::id::AttemptNumber;
use data_runner_core::log::Stream;
use http::HeaderMap;

use super::lines::Place;
use super::selection::{Selection, pattern};
use crate::http::query::{Params, invalid};
use crate::http::refusal::{Kind, Refusal};

/// A request for a log.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Of this attempt only; `None`: the newest, and those that follow it.
    pub(crate) attempt: Option<AttemptNumber>,
    /// Whether to go on until the execution has ended.
    pub(crate) follow: bool,
    /// The last so many lines of those that are selected.
    pub(crate) tail: Option<u64>,
    /// Which lines.
    pub(crate) selection: Selection,
    /// Where the reader broke off, if it comes back.
    pub(crate) resume: Option<Resume>,
}

/// Where a reader broke off: the id of the last event that it got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resume {
    pub(crate) attempt: AttemptNumber,
    pub(crate) place: Place,
}

impl Wanted {
    pub(crate) fn read(mut query: Params, headers: &HeaderMap) -> Result<Self, Refusal> {
        let stream = query.read("stream", "stdout or stderr", |text| match text {
            "stdout" => Some(Stream::Stdout),
            "stderr" => Some(Stream::Stderr),
            _ => None,
        })?;
        let positive = |text: &str| text.parse().ok().filter(|number| *number > 0);
        let attempt = query.read("attempt", "the number of an attempt, from 1", |text| text.parse().ok())?;
        let from = query.read("from_line", "a line number, from 1", positive)?.unwrap_or(1);
        let to = query.read("to_line", "a line number, from 1", positive)?.unwrap_or(u64::MAX);
        if to < from {
            return Err(invalid("to_line", "is before `from_line`"));
        }
        let tail = query.number("tail")?;
        let grep = query.one("grep")?;
        let pattern = grep.as_deref().map(pattern).transpose().map_err(|error| {
            invalid("grep", &format!("is not a regular expression that can be used: {error}"))
        })?;
        let wanted = Self {
            attempt: attempt.map(AttemptNumber),
            follow: query.switch("follow")?,
            tail,
            selection: Selection { stream, from, to, pattern, ..Selection::default() },
            resume: last_event(headers)?,
        };
        query.finish()?;
        Ok(wanted)
    }
}

fn last_event(headers: &HeaderMap) -> Result<Option<Resume>, Refusal> {
    let Some(id) = headers.get("last-event-id").filter(|id| !id.is_empty()) else {
        return Ok(None);
    };
    let resume = id.to_str().ok().and_then(Resume::parse);
    resume.map(Some).ok_or_else(|| {
        Refusal::new(Kind::MalformedRequest, "the Last-Event-ID is not the id of an event of this stream")
    })
}

impl Resume {
    /// The line's number; for attempts after the first the attempt stands before it: `2:17`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (attempt, place) = match text.split_once(':') {
            Some((attempt, place)) => (AttemptNumber(attempt.parse().ok()?), place),
            None => (AttemptNumber::FIRST, text),
        };
        Some(Self { attempt, place: place.parse().ok()? })
    }
}

impl std::fmt::Display for Resume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.attempt > AttemptNumber::FIRST {
            write!(f, "{}:", self.attempt)?;
        }
        self.place.fmt(f)
    }
}
