//! What runs used.

use std::time::Duration;

use super::{ATTEMPTS, Needs};
use crate::execution::{Attempt, AttemptEnd, Ending, Execution, Phase, Usage};
use crate::workflow::{InstanceSize, Resources};

/// An attempt that ended well, or ran out of memory.
pub(super) struct Sample<'a> {
    pub execution: &'a Execution,
    pub size: InstanceSize,
    pub usage: Usage,
    pub ran_out: bool,
    /// How long its code ran.
    pub ran_for: Duration,
    /// How long a machine was there for it.
    pub machine_time: Duration,
}

/// What the attempts used that had one size.
#[derive(Debug, Clone, PartialEq)]
pub struct SizeEvidence {
    /// The size.
    pub size: InstanceSize,
    /// Attempts that ended well.
    pub succeeded: usize,
    /// Attempts that ran out of memory.
    pub out_of_memory: usize,
    /// The most memory that one of them used, in bytes, where one told.
    pub peak_memory_bytes: Option<u64>,
    /// How many processors worked, on the average of the run in which most did.
    pub processors: Option<f64>,
    /// The most that one of them spilled, in bytes, where one told.
    pub peak_spill_bytes: Option<u64>,
    /// How long the middle one of those that ended well ran.
    pub median: Option<Duration>,
}

/// The newest attempts that tell something, of executions that come newest first.
pub(super) fn samples(executions: &[Execution]) -> Vec<Sample<'_>> {
    let attempts = executions.iter().flat_map(|execution| {
        execution.attempts.iter().rev().filter_map(move |attempt| sample(execution, attempt))
    });
    attempts.take(ATTEMPTS).collect()
}

fn sample<'a>(execution: &'a Execution, attempt: &Attempt) -> Option<Sample<'a>> {
    let AttemptEnd::Reported(report) = attempt.end.as_ref()? else { return None };
    let ran_out = match report.ending {
        Ending::Exited { code: 0 } => false,
        Ending::OutOfMemory { .. } => true,
        Ending::Exited { .. }
        | Ending::Signalled { .. }
        | Ending::Stopped { .. }
        | Ending::NeverStarted { .. }
        | Ending::Vanished { .. } => return None,
    };
    let reached = |phase| attempt.phases.get(phase);
    // Of a machine that others had before only the run itself.
    let own = reached(Phase::Launched).zip(reached(Phase::Finished));
    Some(Sample {
        execution,
        size: execution.size_of(attempt.number).parse().ok()?,
        usage: report.usage,
        ran_out,
        ran_for: report.ran_for,
        machine_time: own.map_or(report.ran_for, |(launched, finished)| finished.since(launched)),
    })
}

impl Sample<'_> {
    /// Memory that was not enough, or that was used.
    fn memory(&self) -> Option<u64> {
        let limit = self.ran_out.then(|| usable(self.size.resources()));
        limit.max(self.usage.peak_memory_bytes)
    }

    /// Processors that worked on its average. What ran for a moment only says nothing.
    fn processors(&self) -> Option<f64> {
        (self.ran_for >= Duration::from_secs(1))
            .then(|| self.usage.cpu_time.as_secs_f64() / self.ran_for.as_secs_f64())
    }
}

/// How many tell of their memory.
pub(super) fn told(samples: &[Sample<'_>]) -> usize {
    samples.iter().filter(|sample| sample.memory().is_some()).count()
}

/// What the hungriest of the runs needed.
pub(super) fn needs(samples: &[Sample<'_>]) -> Option<Needs> {
    let most = samples.iter().filter_map(Sample::memory).max()?;
    let well = || samples.iter().filter(|sample| !sample.ran_out);
    let time = median(well().map(|sample| sample.machine_time))
        .or_else(|| median(samples.iter().map(|sample| sample.machine_time)))?;
    Some(Needs {
        memory_bytes: most.saturating_add(most / 4),
        processors: well().filter_map(Sample::processors).fold(0.0, f64::max),
        time,
    })
}

/// The samples by their sizes, the smallest first.
pub(super) fn by_size(samples: &[Sample<'_>]) -> Vec<SizeEvidence> {
    let mut sizes: Vec<&InstanceSize> = samples.iter().map(|sample| &sample.size).collect();
    sizes.sort_by_key(|size| (size.resources().memory_bytes, size.as_str()));
    sizes.dedup();
    sizes.into_iter().map(|size| of_size(size, samples)).collect()
}

fn of_size(size: &InstanceSize, samples: &[Sample<'_>]) -> SizeEvidence {
    let all = || samples.iter().filter(|sample| sample.size == *size);
    let well = || all().filter(|sample| !sample.ran_out);
    SizeEvidence {
        size: size.clone(),
        succeeded: well().count(),
        out_of_memory: all().filter(|sample| sample.ran_out).count(),
        peak_memory_bytes: all().filter_map(|sample| sample.usage.peak_memory_bytes).max(),
        processors: well().filter_map(Sample::processors).reduce(f64::max),
        peak_spill_bytes: all().filter_map(|sample| sample.usage.peak_spill_bytes).max(),
        median: median(well().map(|sample| sample.ran_for)),
    }
}

fn median(times: impl Iterator<Item = Duration>) -> Option<Duration> {
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

/// What of a machine's memory a job can have: a tenth, and 256 MiB at least, are the system's and ours.
pub(super) fn usable(of: Resources) -> u64 {
    of.memory_bytes - (of.memory_bytes / 10).max(256 << 20).min(of.memory_bytes)
}
