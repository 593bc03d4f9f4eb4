//! Which instance size a workflow should have, by what its runs used. Pure: runs and prices come in, advice goes out.
//!
//! What a run needs is what the hungriest of them used, with some room; what it costs is the time that machines were
//! there for it. Nothing is guessed beyond that: what cannot be known from the runs is said ([`Caveat`]).

mod choice;
mod evidence;

use std::time::Duration;

use crate::cost::Money;
use crate::execution::Execution;
use crate::settings::SizePatterns;
use crate::time::Timestamp;
use crate::workflow::InstanceSize;

pub use evidence::SizeEvidence;

/// How many attempts are looked at, the newest.
pub const ATTEMPTS: usize = 20;
/// With fewer that told of their memory there is no advice.
pub const ENOUGH: usize = 3;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// The size that the workflow has.
    pub size: &'a InstanceSize,
    /// Its executions that have ended, the newest first; more than are needed do no harm.
    pub executions: &'a [Execution],
    /// The sizes that it may have.
    pub allowed: &'a SizePatterns,
    /// Where machines are bought; `None`: none are, since workers are this machine's own.
    pub region: Option<&'a str>,
    /// When it is asked.
    pub now: Timestamp,
}

/// The answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Advice {
    /// The size that the workflow has.
    pub size: InstanceSize,
    /// What the attempts used that were looked at, by the size that they had, the smallest first.
    pub evidence: Vec<SizeEvidence>,
    /// What a run needs; `None` where there is too little evidence.
    pub needs: Option<Needs>,
    /// How often it runs in 30 days, if it was seen for long enough to say.
    pub runs_per_month: Option<f64>,
    /// What to do.
    pub verdict: Verdict,
    /// Sizes to compare: the present one first, then what would do, the cheapest first.
    pub choices: Vec<Choice>,
    /// What cannot be known from this.
    pub caveats: Vec<Caveat>,
}

/// What a run needs of its machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Needs {
    /// Memory, in bytes: the most that was used, or was not enough, and a quarter.
    pub memory_bytes: u64,
    /// How many processors worked, on the average of the run in which most did.
    pub processors: f64,
    /// How long a machine is there for a run: the middle one's time.
    pub time: Duration,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Run it more often first.
    TooLittle {
        /// Attempts that told of their memory.
        have: usize,
    },
    /// The present size is right.
    Keep,
    /// A cheaper size does as well.
    Cheaper {
        /// Which.
        to: InstanceSize,
    },
    /// Less would do; what that saves is not known.
    Smaller {
        /// Which.
        to: InstanceSize,
    },
    /// The present size has too little memory.
    Larger {
        /// The best that has enough.
        to: InstanceSize,
    },
    /// The present size has too little memory, and no other that may be had has enough.
    NothingFits,
}

/// A size, compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Which.
    pub size: InstanceSize,
    /// Whether a run fits into its memory.
    pub fits: bool,
    /// What a run costs by the price table, on demand; `None`: there is no price.
    pub per_run: Option<Money>,
    /// The same for 30 days.
    pub per_month: Option<Money>,
}

/// Something that the runs cannot tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caveat {
    /// How long a run takes on another machine.
    Speed,
    /// How little memory DuckDB would do with.
    TakesWhatItGets,
    /// What more memory would save where the engine spilled.
    Spilled,
    /// What sizes with processor credits cost.
    Credits,
    /// What spot costs.
    Spot,
    /// What machines cost here: there is no table for the region.
    NoPrices,
    /// What anything costs: workers are this machine's own.
    OwnMachine,
    /// How often it runs.
    Pace,
    /// Whether the code is still the same.
    CodeChanged,
}

impl Caveat {
    /// The same for people.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Speed => {
                "times are taken as they were: how quick another processor is, or more of them, only a run shows"
            }
            Self::TakesWhatItGets => {
                "DuckDB keeps what it has read for as long as there is memory: it may do with less than it used"
            }
            Self::Spilled => "runs put data on disk for want of memory: with more of it they may be quicker",
            Self::Credits => {
                "sizes with processor credits (t2, t3, t3a, t4g) cost more where processors are busy for long"
            }
            Self::Spot => "prices are those on demand; spot is cheaper for all of them, and changes",
            Self::NoPrices => "the price table does not have these sizes in this region",
            Self::OwnMachine => "workers are this machine's own: a size is a limit here, and costs nothing",
            Self::Pace => "it was not seen for a day: how often it runs in a month is not known",
            Self::CodeChanged => "the runs are of several revisions: older code may have used more, or less",
        }
    }
}

/// Answers.
pub fn advise(question: &Question<'_>) -> Advice {
    let samples = evidence::samples(question.executions);
    let runs_per_month = pace(question);
    let needs = evidence::needs(&samples);
    let told = evidence::told(&samples);
    let (verdict, choices) = match needs {
        Some(needs) if told >= ENOUGH => choice::choose(question, needs, runs_per_month),
        Some(_) | None => (Verdict::TooLittle { have: told }, Vec::new()),
    };
    let caveats = caveats(question, &samples, &choices, runs_per_month);
    Advice {
        size: question.size.clone(),
        evidence: evidence::by_size(&samples),
        needs: needs.filter(|_| told >= ENOUGH),
        runs_per_month,
        verdict,
        choices,
        caveats,
    }
}

/// How often it runs in 30 days, by the executions that are looked at, if they are of a day at least.
fn pace(question: &Question<'_>) -> Option<f64> {
    const DAY: f64 = 24.0 * 3600.0;
    let oldest = question.executions.iter().map(|execution| execution.created_at).min()?;
    let days = question.now.since(oldest).as_secs_f64() / DAY;
    (days >= 1.0).then(|| question.executions.len() as f64 / days * 30.0)
}

fn caveats(
    question: &Question<'_>,
    samples: &[evidence::Sample<'_>],
    choices: &[Choice],
    runs_per_month: Option<f64>,
) -> Vec<Caveat> {
    let duckdb = samples.iter().any(|sample| sample.execution.job.worker_type.as_str() == "duckdb");
    let spilled = samples.iter().any(|sample| sample.usage.peak_spill_bytes.is_some_and(|bytes| bytes > 0));
    let spot = samples.iter().any(|sample| sample.execution.compute.spot != crate::workflow::Spot::Never);
    let mut revisions: Vec<_> = samples.iter().map(|sample| &sample.execution.job.revision).collect();
    revisions.dedup();
    let advised = !choices.is_empty();
    let bought = question.region.is_some();
    let holds = [
        (Caveat::OwnMachine, !bought),
        (Caveat::Speed, advised),
        (Caveat::TakesWhatItGets, advised && duckdb),
        (Caveat::Spilled, spilled),
        (Caveat::Credits, bought && choices.iter().any(|choice| choice::has_credits(&choice.size))),
        (Caveat::Spot, bought && advised && spot),
        (Caveat::NoPrices, bought && choices.iter().any(|choice| choice.per_run.is_none())),
        (Caveat::Pace, bought && advised && runs_per_month.is_none()),
        (Caveat::CodeChanged, revisions.len() > 1),
    ];
    holds.into_iter().filter_map(|(caveat, holds)| holds.then_some(caveat)).collect()
}
