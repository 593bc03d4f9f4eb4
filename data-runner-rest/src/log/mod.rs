//! Logs on their way out: chunks from the store become bytes, lines or events, one chunk at a time. No more than that
//! is held in memory, however long the log or a line of it is.

mod body;
mod chunks;
mod lines;
mod selection;
mod tail;
mod wanted;

pub(crate) use body::{Form, LogBody, LogFailure, put_event};
pub(crate) use chunks::{Chunks, Follow};
pub(crate) use tail::{last_lines, start_of_tail};
pub(crate) use wanted::Wanted;
