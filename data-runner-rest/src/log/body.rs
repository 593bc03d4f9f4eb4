//! A log as the body of an answer.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use data_runner_core::execution::AttemptEnd;
use data_runner_core::id::AttemptNumber;
use data_runner_core::log::{CorruptChunk, Gap, LogChunk, PieceKind, Segment};
use data_runner_core::port::StateError;
use data_runner_core::time::Timestamp;
use futures::Stream;
use tokio::sync::OwnedSemaphorePermit;

use super::chunks::{Chunks, Step};
use super::lines::{End, Line, Lines, Record};
use super::selection::{Matching, Selection};
use super::wanted::Resume;
use crate::api::{LogEnd, LogGap, LogLine, moment};

/// How often a reader of events hears that the line is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The forms in which a log is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The bytes as the job wrote them, both streams in the order in which they were read, or one of them.
    Text,
    /// A JSON object for each line.
    Ndjson,
    /// Server-sent events.
    Events,
}

impl Form {
    pub(crate) const fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; charset=utf-8",
            Self::Ndjson => "application/x-ndjson",
            Self::Events => "text/event-stream",
        }
    }
}

/// Why a log cannot be read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogFailure {
    #[error("the log store failed")]
    Store(#[from] StateError),
    #[error("what the log store holds cannot be read")]
    Corrupt(#[from] CorruptChunk),
    #[error("a record cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

/// A log on its way out.
pub(crate) struct LogBody {
    chunks: Chunks,
    selection: Selection,
    form: Form,
    lines: Lines,
    matching: Matching,
    out: BytesMut,
    ended: Ended,
    /// Held as long as the stream is open.
    _permit: Option<OwnedSemaphorePermit>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    No,
    Yes,
}

impl LogBody {
    pub(crate) fn new(
        chunks: Chunks,
        selection: Selection,
        form: Form,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let mut out = BytesMut::new();
        if form == Form::Events {
            // A reader that lost us comes back soon.
            out.put_slice(b"retry: 1000\n\n");
        }
        let lines = Lines::after(selection.from.saturating_sub(1));
        let matching = Matching::default();
        Self { chunks, selection, form, lines, matching, out, ended: Ended::No, _permit: permit }
    }

    /// The body, piece by piece as the connection takes it.
    pub(crate) fn stream(self) -> impl Stream<Item = Result<Bytes, LogFailure>> + Send {
        futures::stream::unfold(Some(self), |body| async {
            let mut body = body?;
            match body.next().await {
                Ok(bytes) => bytes.map(|bytes| (Ok(bytes), Some(body))),
                Err(error) => {
                    // The status is sent already: the connection breaks off, so that nobody takes this for the end.
                    tracing::error!(error = &error as &dyn std::error::Error, "a log cannot be read on");
                    Some((Err(error), None))
                }
            }
        })
    }

    async fn next(&mut self) -> Result<Option<Bytes>, LogFailure> {
        loop {
            if !self.out.is_empty() {
                return Ok(Some(self.out.split().freeze()));
            }
            if self.ended == Ended::Yes {
                return Ok(None);
            }
            match tokio::time::timeout(KEEP_ALIVE, self.chunks.next()).await {
                Ok(step) => self.take(step?)?,
                Err(_) if self.form == Form::Events => self.out.put_slice(b": \n\n"),
                Err(_) => {}
            }
        }
    }

    fn take(&mut self, step: Step) -> Result<(), LogFailure> {
        match step {
            Step::Chunk(chunk) => self.chunk(&chunk),
            Step::AttemptEnded { missing, attempt } => {
                self.close_attempt(missing, attempt)?;
                self.lines = Lines::default();
                self.selection = self.selection.clone().of_next_attempt();
                Ok(())
            }
            Step::Ended { missing, execution } => {
                self.close_attempt(missing, self.chunks.attempt())?;
                self.ended = Ended::Yes;
                if self.form == Form::Events {
                    let attempt = execution.latest_attempt().and_then(|attempt| attempt.end.as_ref());
                    let over = execution.state.finished_at().is_some();
                    let exit_code = attempt.filter(|_| over).and_then(AttemptEnd::exit_code);
                    let end = LogEnd { state: execution.state.name(), exit_code };
                    put_event(&mut self.out, Some("end"), None::<Resume>, &end)?;
                }
                Ok(())
            }
            Step::Closing => {
                self.ended = Ended::Yes;
                Ok(())
            }
        }
    }

    fn chunk(&mut self, chunk: &LogChunk) -> Result<(), LogFailure> {
        if self.form == Form::Text && self.selection.pattern.is_none() {
            return self.raw(chunk);
        }
        let attempt = self.chunks.attempt();
        for piece in chunk.pieces()? {
            if self.selection.wants(&piece) {
                self.lines.push(piece);
                self.leave(attempt)?;
            }
        }
        Ok(())
    }

    /// Bytes as they are.
    fn raw(&mut self, chunk: &LogChunk) -> Result<(), LogFailure> {
        if self.selection.is_everything() {
            for segment in chunk.segments()? {
                match segment {
                    Segment::Output { stream, bytes, .. } if self.selection.wants_stream(stream) => {
                        self.out.put_slice(&bytes);
                    }
                    Segment::Output { .. } | Segment::Missing { .. } => {}
                }
            }
            return Ok(());
        }
        for piece in chunk.pieces()?.into_iter().filter(|piece| self.selection.wants(piece)) {
            match piece.kind {
                PieceKind::Text { bytes, .. } => self.out.put_slice(&bytes),
                PieceKind::Missing(_) => {}
            }
        }
        Ok(())
    }

    /// An attempt's log ends: what is open leaves, and what is missing is said.
    fn close_attempt(
        &mut self,
        missing: Option<(Timestamp, Gap)>,
        attempt: AttemptNumber,
    ) -> Result<(), LogFailure> {
        self.lines.flush();
        self.leave(attempt)?;
        missing.map_or(Ok(()), |(at, gap)| self.gap(at, gap, attempt))
    }

    fn leave(&mut self, attempt: AttemptNumber) -> Result<(), LogFailure> {
        while let Some(record) = self.lines.take() {
            match record {
                Record::Missing { at, gap } => self.gap(at, gap, attempt)?,
                Record::Line(line) => {
                    if self.matching.matches(self.selection.pattern.as_ref(), &line) {
                        self.line(&line, attempt)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &Line, attempt: AttemptNumber) -> Result<(), LogFailure> {
        if self.form == Form::Text {
            self.out.put_slice(&line.bytes);
            if matches!(line.end, End::Newline(_)) {
                self.out.put_u8(b'\n');
            }
            return Ok(());
        }
        let record = LogLine {
            line: line.number,
            stream: line.stream,
            at: moment(line.at),
            text: String::from_utf8_lossy(&line.bytes).into_owned(),
            attempt: attempt.0,
            continues: line.end == End::Continues,
        };
        match self.form {
            Form::Events => {
                let id = line.end.place().map(|place| Resume { attempt, place });
                put_event(&mut self.out, None, id, &record)
            }
            Form::Ndjson | Form::Text => put_line(&mut self.out, &record),
        }
    }

    fn gap(&mut self, at: Timestamp, gap: Gap, attempt: AttemptNumber) -> Result<(), LogFailure> {
        let record = LogGap { gap: gap.into(), at: moment(at), attempt: attempt.0 };
        match self.form {
            // The bytes stay what the job wrote; the answer's head says that something is missing.
            Form::Text => Ok(()),
            Form::Ndjson => put_line(&mut self.out, &record),
            Form::Events => put_event(&mut self.out, Some("gap"), None::<Resume>, &record),
        }
    }
}

fn put_line(out: &mut BytesMut, record: &impl serde::Serialize) -> Result<(), LogFailure> {
    serde_json::to_writer(out.writer(), record)?;
    out.put_u8(b'\n');
    Ok(())
}

pub(crate) fn put_event(
    out: &mut BytesMut,
    event: Option<&str>,
    id: Option<impl std::fmt::Display>,
    data: &impl serde::Serialize,
) -> Result<(), LogFailure> {
    if let Some(event) = event {
        out.put_slice(format!("event: {event}\n").as_bytes());
    }
    if let Some(id) = id {
        out.put_slice(format!("id: {id}\n").as_bytes());
    }
    out.put_slice(b"data: ");
    // JSON on one line: it needs no further framing.
    serde_json::to_writer(out.writer(), data)?;
    out.put_slice(b"\n\n");
    Ok(())
}
