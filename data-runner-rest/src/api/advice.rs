//! Advice about a workflow's instance size as REST shows it.

use data_runner_core::advice::{self as core, Caveat as CoreCaveat, Verdict};
use data_runner_core::cost::Money;
use data_runner_core::workflow::Workflow;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which instance size a workflow should have, by what its newest runs used and the price table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Advice {
    /// The workflow's full name.
    pub workflow: String,
    /// The size that it has.
    pub instance_size: String,
    /// `too_little_evidence`, `keep`, `cheaper` (another size does as well for less), `smaller` (less would do, what it
    /// saves is not known), `larger` (the present one has too little memory), or `nothing_fits`.
    pub verdict: String,
    /// The size to take instead, if another one is advised.
    pub recommended: Option<String>,
    /// The verdict for people.
    pub message: String,
    /// What the change saves a run, in US dollars, where prices are known; negative where it costs more.
    pub saves_per_run_usd: Option<f64>,
    /// The same for 30 days, where it is known how often it runs.
    pub saves_per_month_usd: Option<f64>,
    /// What a run needs; null where there is too little evidence.
    pub needs: Option<SizeNeeds>,
    /// How often it ran in 30 days; null where it was not seen for a day.
    pub runs_per_month: Option<f64>,
    /// What the newest attempts used that ended well or ran out of memory, by their size; at most 20 attempts.
    pub evidence: Vec<SizeEvidence>,
    /// Sizes to compare: the present one first, then what would do, the cheapest first.
    pub choices: Vec<SizeChoice>,
    /// What cannot be known from this.
    pub caveats: Vec<Caveat>,
}

/// What a run needs of its machine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SizeNeeds {
    /// Memory: the most that was used, or was not enough, and a quarter.
    pub memory_bytes: u64,
    /// How many processors worked, on the average of the run in which most did.
    pub processors: f64,
    /// How long a machine is there for a run, in seconds: the middle one's time.
    pub seconds: f64,
}

/// What attempts of one size used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SizeEvidence {
    /// The size.
    pub instance_size: String,
    /// Attempts that ended well.
    pub succeeded: u64,
    /// Attempts that ran out of memory.
    pub out_of_memory: u64,
    /// The most memory that one of them held, where one told.
    pub peak_memory_bytes: Option<u64>,
    /// How many processors worked, on the average of the run in which most did.
    pub processors: Option<f64>,
    /// The most that one of them spilled, where one told.
    pub peak_spill_bytes: Option<u64>,
    /// How long the middle one of those that ended well ran, in seconds.
    pub median_seconds: Option<f64>,
}

/// A size, compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SizeChoice {
    /// The size.
    pub instance_size: String,
    /// Its memory.
    pub memory_bytes: u64,
    /// Its processors.
    pub cpus: u32,
    /// Whether a run fits into its memory.
    pub fits: bool,
    /// What a run costs by the price table, on demand, in US dollars; null: there is no price.
    pub per_run_usd: Option<f64>,
    /// The same for 30 days.
    pub per_month_usd: Option<f64>,
}

/// Something that the runs cannot tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Caveat {
    /// `speed`, `takes_what_it_gets`, `spilled`, `credits`, `spot`, `no_prices`, `own_machine`, `pace` or `code_changed`.
    pub code: String,
    /// The same for people.
    pub message: String,
}

impl Advice {
    pub(crate) fn new(workflow: &Workflow, advice: &core::Advice) -> Self {
        let (verdict, recommended) = match &advice.verdict {
            Verdict::TooLittle { .. } => ("too_little_evidence", None),
            Verdict::Keep => ("keep", None),
            Verdict::Cheaper { to } => ("cheaper", Some(to)),
            Verdict::Smaller { to } => ("smaller", Some(to)),
            Verdict::Larger { to } => ("larger", Some(to)),
            Verdict::NothingFits => ("nothing_fits", None),
        };
        let of = |choice: &core::Choice| (choice.per_run, choice.per_month);
        let present = advice.choices.first().map(of).unwrap_or_default();
        let chosen =
            advice.choices.iter().find(|it| Some(&it.size) == recommended).map(of).unwrap_or_default();
        Self {
            workflow: workflow.qualified_name().to_string(),
            instance_size: advice.size.to_string(),
            verdict: verdict.to_owned(),
            recommended: recommended.map(ToString::to_string),
            message: message(advice),
            saves_per_run_usd: saved(present.0, chosen.0),
            saves_per_month_usd: saved(present.1, chosen.1),
            needs: advice.needs.map(|needs| SizeNeeds {
                memory_bytes: needs.memory_bytes,
                processors: needs.processors,
                seconds: needs.time.as_secs_f64(),
            }),
            runs_per_month: advice.runs_per_month,
            evidence: advice.evidence.iter().map(SizeEvidence::from).collect(),
            choices: advice.choices.iter().map(SizeChoice::from).collect(),
            caveats: advice.caveats.iter().map(|caveat| Caveat::from(*caveat)).collect(),
        }
    }
}

fn saved(present: Option<Money>, chosen: Option<Money>) -> Option<f64> {
    Some(present?.usd() - chosen?.usd())
}

fn message(advice: &core::Advice) -> String {
    let size = &advice.size;
    match &advice.verdict {
        Verdict::TooLittle { have } => {
            format!("advice needs {} attempts that told of their memory, and has {have}", core::ENOUGH)
        }
        Verdict::Keep => format!("{size} is right"),
        Verdict::Cheaper { to } => format!("{to} does as well as {size}, for less"),
        Verdict::Smaller { to } => format!("{to} would do instead of {size}"),
        Verdict::Larger { to } => format!("{size} has too little memory; {to} has enough"),
        Verdict::NothingFits => {
            format!("{size} has too little memory, and no size that may be had here has enough")
        }
    }
}

impl From<&core::SizeEvidence> for SizeEvidence {
    fn from(evidence: &core::SizeEvidence) -> Self {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Self {
            instance_size: evidence.size.to_string(),
            succeeded: count(evidence.succeeded),
            out_of_memory: count(evidence.out_of_memory),
            peak_memory_bytes: evidence.peak_memory_bytes,
            processors: evidence.processors,
            peak_spill_bytes: evidence.peak_spill_bytes,
            median_seconds: evidence.median.map(|median| median.as_secs_f64()),
        }
    }
}

impl From<&core::Choice> for SizeChoice {
    fn from(choice: &core::Choice) -> Self {
        let has = choice.size.resources();
        Self {
            instance_size: choice.size.to_string(),
            memory_bytes: has.memory_bytes,
            cpus: has.cpus,
            fits: choice.fits,
            per_run_usd: choice.per_run.map(Money::usd),
            per_month_usd: choice.per_month.map(Money::usd),
        }
    }
}

impl From<CoreCaveat> for Caveat {
    fn from(caveat: CoreCaveat) -> Self {
        let code = match caveat {
            CoreCaveat::Speed => "speed",
            CoreCaveat::TakesWhatItGets => "takes_what_it_gets",
            CoreCaveat::Spilled => "spilled",
            CoreCaveat::Credits => "credits",
            CoreCaveat::Spot => "spot",
            CoreCaveat::NoPrices => "no_prices",
            CoreCaveat::OwnMachine => "own_machine",
            CoreCaveat::Pace => "pace",
            CoreCaveat::CodeChanged => "code_changed",
        };
        Self { code: code.to_owned(), message: caveat.message().to_owned() }
    }
}
