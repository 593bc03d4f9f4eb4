//! The contract of [`LogStore`](data_runner_core::port::LogStore).
//!
//! An adapter runs it by `data_runner_testkit::log_store_contract!(fixture)`, with a
//! [`StoreFixture`](super::state_store::StoreFixture).

use std::sync::Arc;

use data_runner_core::event::Change;
use data_runner_core::id::{AttemptId, AttemptNumber, Claim, Epoch};
use data_runner_core::log::{
    ChunkBuilder, Gap, GapReason, LogChunk, LogOffset, LogPosition, PieceKind, Segment, Stream,
};
use data_runner_core::message::{LogAppend, LogOutcome};
use data_runner_core::port::{LogRange, LogState, LogSummary};

use super::state_store::{Store, StoreFixture, acquired};
use crate::sample::{at, execution_id, lease};

/// The claim of attempt `number` of execution `n`, under a lease of its own.
pub(super) fn claim(n: u64, number: u32) -> Claim {
    let attempt = AttemptId { execution: execution_id(n), number: AttemptNumber(number) };
    Claim { attempt, lease: lease(n * 100 + u64::from(number)) }
}

/// Appends `count` chunks of one line each to a log that is empty.
pub(super) async fn append_lines(store: &dyn Store, claim: Claim, count: usize) -> Vec<LogChunk> {
    let chunks = lines(count);
    assert_eq!(append(store, claim, &chunks).await.last(), Some(&stored(&chunks[count - 1])));
    chunks
}

/// `count` chunks of one line each: `line 1`, `line 2` and so on.
fn lines(count: usize) -> Vec<LogChunk> {
    let mut builder = ChunkBuilder::resume(LogPosition::START);
    (1..=count)
        .map(|n| {
            builder.push(Stream::Stdout, at(n as i64), format!("line {n}\n").as_bytes());
            builder.finish().expect("a line")
        })
        .collect()
}

async fn append(store: &dyn Store, claim: Claim, chunks: &[LogChunk]) -> Vec<LogOutcome> {
    let appends = chunks.iter().map(|chunk| LogAppend { claim, chunk: chunk.clone() }).collect();
    let acks = store.append(appends).await.expect("append");
    assert!(acks.iter().all(|ack| ack.claim == claim));
    acks.into_iter().map(|ack| ack.outcome).collect()
}

fn stored(chunk: &LogChunk) -> LogOutcome {
    LogOutcome::Stored { upto: chunk.end.offset }
}

async fn open(fixture: &dyn StoreFixture, claims: &[Claim]) -> (Arc<dyn Store>, Epoch) {
    let (store, epoch) = acquired(fixture).await;
    let changes = claims.iter().map(|claim| Change::OpenLog(*claim)).collect();
    store.commit(epoch, at(0), changes).await.expect("commit");
    (store, epoch)
}

async fn close(store: &dyn Store, epoch: Epoch, claim: Claim, gap: Option<Gap>) {
    let change = Change::CloseLog { attempt: claim.attempt, gap };
    store.commit(epoch, at(7), vec![change]).await.expect("commit");
}

async fn read_all(store: &dyn Store, claim: Claim) -> Vec<LogChunk> {
    store.read(claim.attempt, LogRange::FromOffset(LogOffset(0)), u32::MAX).await.expect("read")
}

async fn read_lines(store: &dyn Store, claim: Claim, from: u64, to: u64) -> Vec<LogChunk> {
    store.read(claim.attempt, LogRange::Lines { from, to }, u32::MAX).await.expect("read")
}

fn bytes_of(chunks: &[LogChunk], wanted: Stream) -> Vec<u8> {
    let mut all = Vec::new();
    for chunk in chunks {
        for segment in chunk.segments().expect("whole") {
            if let Segment::Output { stream, bytes, .. } = segment
                && stream == wanted
            {
                all.extend_from_slice(&bytes);
            }
        }
    }
    all
}

/// A log is its chunks, as they came.
pub async fn chunks_that_continue_are_stored_as_they_came(fixture: &dyn StoreFixture) {
    let (store, _) = open(fixture, &[claim(1, 1)]).await;
    let chunks = lines(5);
    let expected: Vec<LogOutcome> = chunks.iter().map(stored).collect();
    assert_eq!(append(&*store, claim(1, 1), &chunks[..2]).await, expected[..2]);
    assert_eq!(append(&*store, claim(1, 1), &chunks[2..]).await, expected[2..]);
    assert_eq!(read_all(&*store, claim(1, 1)).await, chunks);
}

/// What was acknowledged survives the death of the process.
pub async fn acknowledged_chunks_are_there_after_a_crash(fixture: &dyn StoreFixture) {
    let (store, _) = open(fixture, &[claim(1, 1)]).await;
    let chunks = append_lines(&*store, claim(1, 1), 4).await;
    fixture.crash(store).await;
    let store = fixture.open().await;
    assert_eq!(read_all(&*store, claim(1, 1)).await, chunks);
}

/// An agent that missed an acknowledgement sends again.
pub async fn a_repeated_chunk_is_acknowledged_and_not_stored_twice(fixture: &dyn StoreFixture) {
    let (store, _) = open(fixture, &[claim(1, 1)]).await;
    let chunks = append_lines(&*store, claim(1, 1), 3).await;
    for chunk in &chunks {
        assert_eq!(append(&*store, claim(1, 1), std::slice::from_ref(chunk)).await, [stored(&chunks[2])]);
    }
    let twice = [chunks.clone(), chunks.clone()].concat();
    assert_eq!(append(&*store, claim(1, 1), &twice).await, vec![stored(&chunks[2]); 6]);
    assert_eq!(read_all(&*store, claim(1, 1)).await, chunks);
}

/// A chunk beyond the end would leave a hole that nobody knows of.
pub async fn a_chunk_beyond_the_end_is_not_stored_and_the_end_is_said(fixture: &dyn StoreFixture) {
    let (store, _) = open(fixture, &[claim(1, 1)]).await;
    let chunks = lines(4);
    let start = LogOutcome::Stored { upto: LogOffset(0) };
    assert_eq!(append(&*store, claim(1, 1), &chunks[1..2]).await, [start]);
    append(&*store, claim(1, 1), &chunks[..1]).await;
    assert_eq!(append(&*store, claim(1, 1), &chunks[2..]).await, [stored(&chunks[0]); 2]);
    assert_eq!(read_all(&*store, claim(1, 1)).await, chunks[..1]);
    assert_eq!(append(&*store, claim(1, 1), &chunks[1..]).await.last(), Some(&stored(&chunks[3])));
    assert_eq!(read_all(&*store, claim(1, 1)).await, chunks);
}

/// The same offset with other line numbers is another log: more of it would not help.
pub async fn a_chunk_that_contradicts_what_is_stored_is_refused(fixture: &dyn StoreFixture) {
    let (store, _) = open(fixture, &[claim(1, 1)]).await;
    let chunks = append_lines(&*store, claim(1, 1), 2).await;
    let end = chunks[1].end;
    let mut builder = ChunkBuilder::resume(LogPosition { next_line: end.next_line + 5, ..end });
    builder.push(Stream::Stdout, at(9), b"x\n");
    let other = builder.finish().expect("a line");
    assert_eq!(append(&*store, claim(1, 1), &[other]).await, [LogOutcome::Refused]);
    let mut backwards = lines(3).remove(2);
    backwards.end.offset = LogOffset(0);
    assert_eq!(append(&*store, claim(1, 1), &[backwards]).await, [LogOutcome::Refused]);
    assert_eq!(read_all(&*store, claim(1, 1)).await, chunks);
}

/// Invariant I5, for logs.
pub async fn a_stale_lease_is_refused(fixture: &dyn StoreFixture) {
    let (store, _) = open(fixture, &[claim(1, 1)]).await;
    let stale = Claim { lease: lease(9999), ..claim(1, 1) };
    assert_eq!(append(&*store, stale, &lines(1)).await, [LogOutcome::Refused]);
    assert_eq!(read_all(&*store, claim(1, 1)).await, []);
}

/// Nobody may fill the store with logs that were never asked for.
pub async fn a_log_that_was_never_opened_is_refused(fixture: &dyn StoreFixture) {
    let (store, _) = open(fixture, &[claim(1, 1)]).await;
    assert_eq!(append(&*store, claim(1, 2), &lines(1)).await, [LogOutcome::Refused]);
    assert_eq!(append(&*store, claim(2, 1), &lines(1)).await, [LogOutcome::Refused]);
}

/// What comes after the end changes nothing any more.
pub async fn a_closed_log_is_refused_and_keeps_what_it_has(fixture: &dyn StoreFixture) {
    let (store, epoch) = open(fixture, &[claim(1, 1)]).await;
    let chunks = lines(3);
    append(&*store, claim(1, 1), &chunks[..2]).await;
    close(&*store, epoch, claim(1, 1), None).await;
    assert_eq!(append(&*store, claim(1, 1), &chunks).await, [LogOutcome::Refused; 3]);
    assert_eq!(read_all(&*store, claim(1, 1)).await, chunks[..2]);
}

/// One acknowledgement for each append, in their order, whatever becomes of them.
pub async fn acknowledgements_come_in_the_order_of_the_appends(fixture: &dyn StoreFixture) {
    let (store, _) = open(fixture, &[claim(1, 1), claim(2, 1)]).await;
    let chunks = lines(3);
    let one = |claim, n: usize| LogAppend { claim, chunk: chunks[n].clone() };
    let appends = vec![
        one(claim(1, 1), 0),
        one(claim(2, 1), 1),
        one(claim(3, 1), 0),
        one(claim(2, 1), 0),
        one(claim(1, 1), 1),
        one(claim(1, 1), 0),
        one(claim(2, 1), 1),
    ];
    let claims: Vec<Claim> = appends.iter().map(|append| append.claim).collect();
    let acks = store.append(appends).await.expect("append");
    assert_eq!(acks.iter().map(|ack| ack.claim).collect::<Vec<_>>(), claims);
    let outcomes: Vec<LogOutcome> = acks.into_iter().map(|ack| ack.outcome).collect();
    let expected = [
        stored(&chunks[0]),
        LogOutcome::Stored { upto: LogOffset(0) },
        LogOutcome::Refused,
        stored(&chunks[0]),
        stored(&chunks[1]),
        stored(&chunks[1]),
        stored(&chunks[1]),
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(store.append(Vec::new()).await.expect("append"), []);
}

/// A range of bytes begins with the chunk that holds the first of them.
pub async fn a_log_is_read_from_any_offset(fixture: &dyn StoreFixture) {
    let (store, _) = open(fixture, &[claim(1, 1), claim(2, 1)]).await;
    append_lines(&*store, claim(2, 1), 4).await;
    let chunks = append_lines(&*store, claim(1, 1), 6).await;
    for offset in 0..=chunks[5].end.offset.0 + 1 {
        let range = LogRange::FromOffset(LogOffset(offset));
        let expected: Vec<LogChunk> =
            chunks.iter().filter(|chunk| chunk.end.offset > LogOffset(offset)).cloned().collect();
        assert_eq!(store.read(claim(1, 1).attempt, range, 100).await.expect("read"), expected, "{offset}");
    }
}

/// Reading in pieces gives the same as reading at once.
pub async fn a_read_is_cut_to_its_limit(fixture: &dyn StoreFixture) {
    let (store, _) = open(fixture, &[claim(1, 1)]).await;
    let chunks = append_lines(&*store, claim(1, 1), 7).await;
    let attempt = claim(1, 1).attempt;
    let mut read: Vec<LogChunk> = Vec::new();
    loop {
        let from = read.last().map_or(LogOffset(0), |chunk| chunk.end.offset);
        let page = store.read(attempt, LogRange::FromOffset(from), 2).await.expect("read");
        assert!(page.len() <= 2);
        if page.is_empty() {
            break;
        }
        read.extend(page);
    }
    assert_eq!(read, chunks);
    let page = store.read(attempt, LogRange::Lines { from: 2, to: 6 }, 3).await.expect("read");
    assert_eq!(page, chunks[1..4]);
    assert_eq!(store.read(attempt, LogRange::FromOffset(LogOffset(0)), 0).await.expect("read"), []);
}

/// A range of lines gives exactly the chunks that hold them.
pub async fn a_log_is_read_by_lines(fixture: &dyn StoreFixture) {
    let (store, _) = open(fixture, &[claim(1, 1), claim(2, 1)]).await;
    append_lines(&*store, claim(2, 1), 4).await;
    let chunks = append_lines(&*store, claim(1, 1), 6).await;
    assert_eq!(read_lines(&*store, claim(1, 1), 1, 1).await, chunks[..1]);
    assert_eq!(read_lines(&*store, claim(1, 1), 3, 4).await, chunks[2..4]);
    assert_eq!(read_lines(&*store, claim(1, 1), 5, u64::MAX).await, chunks[4..]);
    assert_eq!(read_lines(&*store, claim(1, 1), 0, 2).await, chunks[..2]);
    assert_eq!(read_lines(&*store, claim(1, 1), 7, 9).await, []);
}

/// A line of ten megabytes lies in many chunks; asking for it gives all of them, and not the line after it.
pub async fn a_line_of_ten_megabytes_lies_over_many_chunks(fixture: &dyn StoreFixture) {
    let (store, _) = open(fixture, &[claim(1, 1)]).await;
    let mut builder = ChunkBuilder::resume(LogPosition::START);
    let mut chunks = Vec::new();
    builder.push(Stream::Stdout, at(1), b"before\n");
    chunks.extend(builder.finish());
    // Not compressible, so that the store has to do with real sizes.
    let mut entropy = data_runner_core::time::Entropy::from_number(1);
    for n in 0..160 {
        let piece: Vec<u8> =
            (0..8192).flat_map(|_| (entropy.bits() | 0x2020_2020_2020_2020).to_le_bytes()).collect();
        builder.push(Stream::Stdout, at(2 + n), &piece);
        chunks.extend(builder.finish());
    }
    builder.push(Stream::Stdout, at(200), b"\n");
    chunks.extend(builder.finish());
    builder.push(Stream::Stdout, at(201), b"after\n");
    chunks.extend(builder.finish());
    append(&*store, claim(1, 1), &chunks).await;

    let line = read_lines(&*store, claim(1, 1), 2, 2).await;
    assert_eq!(line.len(), 161);
    assert_eq!(bytes_of(&line, Stream::Stdout).len(), 160 * 65_536 + 1);
    assert_eq!(line, chunks[1..162]);
    assert_eq!(read_lines(&*store, claim(1, 1), 1, 1).await, chunks[..1]);
    assert_eq!(read_lines(&*store, claim(1, 1), 3, 3).await, chunks[162..]);
}

/// Lines of both streams interleave, and one may stay open while others come and go.
pub async fn an_open_line_of_one_stream_is_found_behind_lines_of_the_other(fixture: &dyn StoreFixture) {
    let (store, _) = open(fixture, &[claim(1, 1)]).await;
    let mut builder = ChunkBuilder::resume(LogPosition::START);
    let mut chunks = Vec::new();
    for (stream, bytes) in [
        (Stream::Stderr, &b"progress 1%"[..]),
        (Stream::Stdout, b"one\n"),
        (Stream::Stdout, b"two\n"),
        (Stream::Stderr, b" 100%\n"),
        (Stream::Stdout, b"three\n"),
    ] {
        builder.push(stream, at(1), bytes);
        chunks.extend(builder.finish());
    }
    append(&*store, claim(1, 1), &chunks).await;
    let read = read_lines(&*store, claim(1, 1), 1, 1).await;
    assert_eq!(bytes_of(&read, Stream::Stderr), b"progress 1% 100%\n");
    let two = read_lines(&*store, claim(1, 1), 3, 3).await;
    assert_eq!(two.first(), Some(&chunks[2]), "what comes before line 3 is not read");
    let texts: Vec<Vec<u8>> = two
        .iter()
        .flat_map(|chunk| chunk.pieces().expect("whole"))
        .filter(|piece| piece.line == 3)
        .filter_map(|piece| match piece.kind {
            PieceKind::Text { bytes, .. } => Some(bytes.to_vec()),
            PieceKind::Missing(_) => None,
        })
        .collect();
    assert_eq!(texts, [b"two\n"]);
    assert_eq!(read_lines(&*store, claim(1, 1), 4, 4).await, chunks[4..]);
}

/// Where bytes are missing, a record of the log says so; it moves the offset, and is stored once.
pub async fn a_gap_within_a_log_is_stored_like_bytes(fixture: &dyn StoreFixture) {
    let (store, _) = open(fixture, &[claim(1, 1)]).await;
    let mut builder = ChunkBuilder::resume(LogPosition::START);
    let mut chunks = Vec::new();
    builder.push(Stream::Stdout, at(1), b"half a li");
    chunks.extend(builder.finish());
    builder.push_gap(at(2), Gap { bytes: Some(1000), reason: GapReason::Quota });
    chunks.extend(builder.finish());
    builder.push_gap(at(3), Gap { bytes: None, reason: GapReason::DiskFull });
    chunks.extend(builder.finish());
    assert_eq!(chunks[2].start, chunks[2].end, "an unknown gap moves nothing");
    for _ in 0..2 {
        for chunk in &chunks {
            let outcome = append(&*store, claim(1, 1), std::slice::from_ref(chunk)).await;
            assert!(matches!(outcome[..], [LogOutcome::Stored { .. }]));
        }
    }
    assert_eq!(read_all(&*store, claim(1, 1)).await, chunks);
    assert_eq!(store.summary(claim(1, 1).attempt).await.expect("summary").end, chunks[2].end);
}

/// What is not there is empty, not an error.
pub async fn an_attempt_without_a_log_has_the_empty_one(fixture: &dyn StoreFixture) {
    let (store, _) = acquired(fixture).await;
    let empty = LogSummary { end: LogPosition::START, state: LogState::Open };
    assert_eq!(store.summary(claim(1, 1).attempt).await.expect("summary"), empty);
    assert_eq!(read_all(&*store, claim(1, 1)).await, []);
    assert_eq!(read_lines(&*store, claim(1, 1), 1, 9).await, []);
}

/// The summary follows the log: open, then complete.
pub async fn a_summary_tells_the_end_and_that_the_log_is_complete(fixture: &dyn StoreFixture) {
    let (store, epoch) = open(fixture, &[claim(1, 1)]).await;
    let attempt = claim(1, 1).attempt;
    let chunks = append_lines(&*store, claim(1, 1), 3).await;
    let open = LogSummary { end: chunks[2].end, state: LogState::Open };
    assert_eq!(store.summary(attempt).await.expect("summary"), open);
    close(&*store, epoch, claim(1, 1), None).await;
    let complete = LogSummary { end: chunks[2].end, state: LogState::Complete { at: at(7) } };
    assert_eq!(store.summary(attempt).await.expect("summary"), complete);
}

/// A log that was closed though bytes are missing says how many, if that can be known.
pub async fn a_log_closed_with_a_gap_says_what_is_missing(fixture: &dyn StoreFixture) {
    let (store, epoch) = open(fixture, &[claim(1, 1), claim(2, 1)]).await;
    for (n, bytes) in [(1, Some(77)), (2, None)] {
        let gap = Gap { bytes, reason: GapReason::WorkerLost };
        close(&*store, epoch, claim(n, 1), Some(gap)).await;
        let state = store.summary(claim(n, 1).attempt).await.expect("summary").state;
        assert_eq!(state, LogState::Truncated { at: at(7), gap });
    }
}

/// Closing twice is closing once.
pub async fn the_first_close_of_a_log_stands(fixture: &dyn StoreFixture) {
    let (store, epoch) = open(fixture, &[claim(1, 1)]).await;
    close(&*store, epoch, claim(1, 1), None).await;
    let gap = Some(Gap { bytes: Some(1), reason: GapReason::NotDelivered });
    let again = Change::CloseLog { attempt: claim(1, 1).attempt, gap };
    store.commit(epoch, at(8), vec![again]).await.expect("commit");
    let state = store.summary(claim(1, 1).attempt).await.expect("summary").state;
    assert_eq!(state, LogState::Complete { at: at(7) });
}

/// Many agents at once: each log is its own.
pub async fn concurrent_appends_keep_each_log_whole(fixture: &dyn StoreFixture) {
    let claims: Vec<Claim> = (1..=20).map(|n| claim(n, 1)).collect();
    let (store, _) = open(fixture, &claims).await;
    let tasks: Vec<_> = claims
        .iter()
        .map(|&claim| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for chunk in lines(10) {
                    append(&*store, claim, &[chunk]).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("appends");
    }
    for claim in claims {
        assert_eq!(read_all(&*store, claim).await, lines(10));
    }
}

/// The contract of a LogStore, a test a clause, in a module `log_store`.
#[macro_export]
macro_rules! log_store_contract {
    ($fixture:expr) => {
        $crate::store_clauses!($fixture, log_store:
            chunks_that_continue_are_stored_as_they_came
            acknowledged_chunks_are_there_after_a_crash
            a_repeated_chunk_is_acknowledged_and_not_stored_twice
            a_chunk_beyond_the_end_is_not_stored_and_the_end_is_said
            a_chunk_that_contradicts_what_is_stored_is_refused
            a_stale_lease_is_refused
            a_log_that_was_never_opened_is_refused
            a_closed_log_is_refused_and_keeps_what_it_has
            acknowledgements_come_in_the_order_of_the_appends
            a_log_is_read_from_any_offset
            a_read_is_cut_to_its_limit
            a_log_is_read_by_lines
            a_line_of_ten_megabytes_lies_over_many_chunks
            an_open_line_of_one_stream_is_found_behind_lines_of_the_other
            a_gap_within_a_log_is_stored_like_bytes
            an_attempt_without_a_log_has_the_empty_one
            a_summary_tells_the_end_and_that_the_log_is_complete
            a_log_closed_with_a_gap_says_what_is_missing
            the_first_close_of_a_log_stands
            concurrent_appends_keep_each_log_whole
        );
    };
}
