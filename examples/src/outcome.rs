//! What became of an execution, for people.

use data_runner_core::execution::{Execution, ExecutionState};
use data_runner_core::id::AttemptId;
use data_runner_core::log::{LogOffset, Segment};
use data_runner_core::port::{LogRange, LogStore};
use data_runner_engine::Handle;

/// How many chunks of a log are read at one time.
const CHUNKS: u32 = 64;

/// Prints an execution's output, each line indented, then how it ended.
pub async fn print_outcome(handle: &Handle, execution: &Execution) -> anyhow::Result<()> {
    if let Some(attempt) = execution.latest_attempt() {
        let output = read_output(handle.logs(), execution.attempt_id(attempt.number)).await?;
        for line in String::from_utf8_lossy(&output).lines() {
            println!("    {line}");
        }
    }
    let workflow = execution.workflow();
    if let ExecutionState::Failed { failure, .. } = &execution.state {
        println!("{workflow}: failed, {}: {}", failure.cause.as_str(), failure.message);
    } else {
        println!("{workflow}: {}", execution.state.name());
    }
    Ok(())
}

/// Everything that an attempt wrote, both streams in the order in which they were read.
pub async fn read_output(logs: &dyn LogStore, attempt: AttemptId) -> anyhow::Result<Vec<u8>> {
    let (mut output, mut from) = (Vec::new(), LogOffset(0));
    loop {
        let chunks = logs.read(attempt, LogRange::FromOffset(from), CHUNKS).await?;
        let Some(last) = chunks.last() else { return Ok(output) };
        from = last.end.offset;
        for chunk in &chunks {
            for segment in chunk.segments()? {
                if let Segment::Output { bytes, .. } = segment {
                    output.extend_from_slice(&bytes);
                }
            }
        }
    }
}
