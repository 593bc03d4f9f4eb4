//! `/events`: everything that happens, as it happens.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::{BufMut as _, Bytes, BytesMut};
use data_runner_core::id::CommitSequence;
use data_runner_core::port::{EventPosition, EventQuery};
use data_runner_engine::{Handle, Published};
use futures::Stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::CancellationToken;

use crate::api::{Event, Problem};
use crate::app::{App, Closing};
use crate::http::query::Params;
use crate::http::refusal::{Kind, Refusal};
use crate::log::{LogFailure, put_event};

/// How many events are read at a time.
const BATCH: u32 = 256;
/// How often a reader hears that the line is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Everything that happens, as server-sent events in the order of the commits. An event's id is `sequence-index`, the
/// commit and the place in it; a reader that comes back with it in `Last-Event-ID`, or gives it as `after`, misses
/// nothing. Without either it begins with what happens from now on; `after=0` begins with all that is stored.
#[utoipa::path(
    get, path = "/events", tag = "events", security(("token" = ["read"])),
    params(
        ("after" = Option<String>, Query, description = "The id of an event, or the sequence of a commit"),
        ("last-event-id" = Option<String>, Header, description = "The id of an event; wins over `after`"),
    ),
    responses(
        (status = 200, content((Event = "text/event-stream"))),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn stream(
    State(app): State<App>,
    Closing(closing): Closing,
    headers: HeaderMap,
    mut query: Params,
) -> Result<Response, Refusal> {
    let after = query.read("after", "the id of an event, or the sequence of a commit", position)?;
    query.finish()?;
    let last = headers.get("last-event-id").filter(|id| !id.is_empty()).map(|id| {
        id.to_str().ok().and_then(position).ok_or_else(|| {
            Refusal::new(Kind::MalformedRequest, "the Last-Event-ID is not the id of an event of this stream")
        })
    });
    let permit = app.open_stream()?;
    let commits = app.handle.commits();
    let now = EventPosition { sequence: commits.borrow().sequence, index: u32::MAX };
    let after = last.transpose()?.or(after).unwrap_or(now);
    let events = Events { handle: app.handle, commits, closing, after, begun: Begun::No, _permit: permit };
    let mut response = Body::from_stream(events.stream()).into_response();
    let head = response.headers_mut();
    head.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    head.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// `sequence-index`, or a sequence alone: after all of that commit.
pub(crate) fn position(text: &str) -> Option<EventPosition> {
    let (sequence, index) = match text.split_once('-') {
        Some((sequence, index)) => (sequence, index.parse().ok()?),
        None => (text, u32::MAX),
    };
    Some(EventPosition { sequence: CommitSequence(sequence.parse().ok()?), index })
}

struct Events {
    handle: Handle,
    commits: watch::Receiver<Published>,
    closing: CancellationToken,
    after: EventPosition,
    begun: Begun,
    _permit: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Begun {
    No,
    Yes,
}

impl Events {
    fn stream(self) -> impl Stream<Item = Result<Bytes, LogFailure>> + Send {
        futures::stream::unfold(Some(self), |events| async {
            let mut events = events?;
            match events.next().await {
                Ok(bytes) => bytes.map(|bytes| (Ok(bytes), Some(events))),
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "events cannot be read on");
                    Some((Err(error), None))
                }
            }
        })
    }

    /// The next events; `None`: the server ends.
    async fn next(&mut self) -> Result<Option<Bytes>, LogFailure> {
        if self.begun == Begun::No {
            // The reader shall know at once that it is connected, though nothing happens.
            self.begun = Begun::Yes;
            return Ok(Some(Bytes::from_static(b"retry: 1000\n\n")));
        }
        loop {
            // Seen before the look: a commit between look and wait is not missed.
            self.commits.mark_unchanged();
            let query = EventQuery { after: self.after, execution: None, limit: BATCH };
            let found = self.handle.catalog().events(query).await?;
            if let Some(last) = found.last() {
                self.after = last.position;
                let mut out = BytesMut::new();
                for event in found {
                    let event = Event::from(event);
                    put_event(&mut out, None, Some(&event.id), &event)?;
                }
                return Ok(Some(out.freeze()));
            }
            tokio::select! {
                () = self.closing.cancelled() => return Ok(None),
                changed = self.commits.changed() => if changed.is_err() { return Ok(None) },
                () = tokio::time::sleep(KEEP_ALIVE) => {
                    let mut out = BytesMut::new();
                    out.put_slice(b": \n\n");
                    return Ok(Some(out.freeze()));
                }
            }
        }
    }
}
