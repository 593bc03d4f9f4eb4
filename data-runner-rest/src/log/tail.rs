//! The end of a log.

use std::collections::BTreeMap;

use data_runner_core::id::AttemptId;
use data_runner_core::log::{LogChunk, PieceKind};
use data_runner_core::port::{LogRange, LogStore, LogSummary};

use super::body::LogFailure;
use super::lines::{Lines, Record};
use super::selection::{Matching, Selection};

/// How many lines are looked at first, going back from the end for those that are selected.
const FIRST_WINDOW: u64 = 2_000;
/// And at most at a time.
const LARGEST_WINDOW: u64 = 64_000;
/// How many chunks are read at a time.
const BATCH: u32 = 16;

/// The line with which the last `count` selected lines of an attempt's log begin, as far as it is stored.
pub(crate) async fn start_of_tail(
    logs: &dyn LogStore,
    attempt: AttemptId,
    count: u64,
    selection: &Selection,
) -> Result<u64, LogFailure> {
    let summary = logs.summary(attempt).await?;
    let past = summary.end.next_line.min(selection.to.saturating_add(1));
    if count == 0 {
        return Ok(past);
    }
    if selection.stream.is_none() && selection.pattern.is_none() {
        return Ok(past.saturating_sub(count).max(selection.from));
    }
    let (mut above, mut window, mut missing) = (past, FIRST_WINDOW, count);
    while above > selection.from {
        let from = above.saturating_sub(window).max(selection.from);
        let part = Selection { from, to: above - 1, open: None, ..selection.clone() };
        let found = numbers(logs, attempt, &part, missing).await?;
        match found.first() {
            Some(first) if found.len() as u64 >= missing => return Ok(*first),
            Some(_) | None => missing -= found.len() as u64,
        }
        (above, window) = (from, (window * 2).min(LARGEST_WINDOW));
    }
    Ok(selection.from)
}

/// The numbers of the last `most` selected lines, in order.
async fn numbers(
    logs: &dyn LogStore,
    attempt: AttemptId,
    selection: &Selection,
    most: u64,
) -> Result<Vec<u64>, LogFailure> {
    let (mut lines, mut matching) = (Lines::default(), Matching::default());
    let mut found = std::collections::BTreeSet::new();
    let mut range = LogRange::Lines { from: selection.from, to: selection.to };
    loop {
        let chunks = logs.read(attempt, range, BATCH).await?;
        let (last, more) = continues(&chunks, selection.to);
        for chunk in &chunks {
            chunk
                .pieces()?
                .into_iter()
                .filter(|piece| selection.wants(piece))
                .for_each(|piece| lines.push(piece));
        }
        if !more {
            lines.flush();
        }
        while let Some(record) = lines.take() {
            if let Record::Line(line) = record
                && matching.matches(selection.pattern.as_ref(), &line)
            {
                found.insert(line.number);
                if found.len() as u64 > most {
                    found.pop_first();
                }
            }
        }
        match last {
            Some(offset) if more => range = LogRange::FromOffset(offset),
            Some(_) | None => return Ok(found.into_iter().collect()),
        }
    }
}

/// Where to read on, and whether there is anything of lines up to `to` there.
fn continues(chunks: &[LogChunk], to: u64) -> (Option<data_runner_core::log::LogOffset>, bool) {
    match chunks.last() {
        None => (None, false),
        // What is still open at the end of the last one may go on in the next.
        Some(last) => (Some(last.end.offset), open_below(last, to) || last.end.next_line <= to),
    }
}

fn open_below(chunk: &LogChunk, to: u64) -> bool {
    [chunk.end.open_stdout, chunk.end.open_stderr].into_iter().flatten().any(|open| open <= to)
}

/// The last `count` lines of an attempt's log for an overview: a very long line is cut, and lines after one that fills
/// many chunks may be left out.
pub(crate) async fn last_lines(
    logs: &dyn LogStore,
    attempt: AttemptId,
    summary: &LogSummary,
    count: u64,
) -> Result<Vec<String>, LogFailure> {
    const MOST_CHUNKS: u32 = 64;
    const LONGEST: usize = 4_096;
    let past = summary.end.next_line;
    let from = past.saturating_sub(count).max(1);
    if from == past {
        return Ok(Vec::new());
    }
    let chunks = logs.read(attempt, LogRange::Lines { from, to: past - 1 }, MOST_CHUNKS).await?;
    let mut texts: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    for piece in chunks.iter().map(LogChunk::pieces).collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
        if let PieceKind::Text { bytes, ends, .. } = piece.kind
            && piece.line >= from
        {
            let text = texts.entry(piece.line).or_default();
            let bytes = if ends { bytes.slice(..bytes.len().saturating_sub(1)) } else { bytes };
            let room = LONGEST.saturating_sub(text.len()).min(bytes.len());
            text.extend_from_slice(&bytes[..room]);
        }
    }
    Ok(texts.into_values().map(|text| String::from_utf8_lossy(&text).into_owned()).collect())
}
