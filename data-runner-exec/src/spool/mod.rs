//! A log on disk: chunks one after another in the file `log.spool`, written by the shim, read by the agent meanwhile.
//!
//! ```text
//! frame = length of what follows (u32), start, end (position), first_at, last_at (i64 µs), codec (u8), payload
//! position = offset, next_line, open_stdout, open_stderr (u64; no open line is 0)
//! ```
//!
//! All little-endian. A frame is appended by one write; what the writer could not finish is cut off again by the
//! writer, or passed over by the reader: a frame counts from the moment all of it is there.

mod frame;
mod reader;
mod writer;

pub(crate) use frame::{OUTLINE, decode, encode, outline};
pub use reader::SpoolReader;
pub(crate) use writer::{Limits, SpoolWriter};

/// The spool's name within the run folder.
pub(crate) const SPOOL_FILE: &str = "log.spool";
