//! Advice about sizes: what runs used, and what follows from it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use data_runner_core::advice::{Advice, Caveat, Question, Verdict, advise};
use data_runner_core::cost::Money;
use data_runner_core::execution::{
    Attempt, AttemptEnd, Ending, Enlarged, Execution, FinishReport, Phase, Phases, Usage,
};
use data_runner_core::id::{AttemptNumber, WorkerType};
use data_runner_core::log::LogOffset;
use data_runner_core::settings::SizePatterns;
use data_runner_core::time::Timestamp;
use data_runner_core::workflow::InstanceSize;
use data_runner_testkit::sample;

const MIB: u64 = 1 << 20;
const DAY: i64 = 24 * 3600;

/// What a run used.
#[derive(Clone, Copy)]
struct Run {
    ending: &'static Ending,
    memory_mib: Option<u64>,
    seconds: u64,
    processors: f64,
    spilled_mib: Option<u64>,
}

const WELL: Run = Run {
    ending: &Ending::Exited { code: 0 },
    memory_mib: Some(700),
    seconds: 600,
    processors: 0.8,
    spilled_mib: Some(0),
};

const RAN_OUT: Run =
    Run { ending: &Ending::OutOfMemory { limit_bytes: None }, memory_mib: None, seconds: 60, ..WELL };

fn attempt(number: u32, run: Run) -> Attempt {
    let ran_for = Duration::from_secs(run.seconds);
    let report = FinishReport {
        ending: run.ending.clone(),
        usage: Usage {
            peak_memory_bytes: run.memory_mib.map(|mib| mib * MIB),
            cpu_time: ran_for.mul_f64(run.processors),
            peak_spill_bytes: run.spilled_mib.map(|mib| mib * MIB),
            ..Usage::default()
        },
        output: None,
        log_end: LogOffset(0),
        ran_for,
        sql: None,
        warnings: Vec::new(),
    };
    Attempt {
        number: AttemptNumber(number),
        worker: sample::worker_id(1),
        lease: sample::lease(1),
        phases: Phases::default(),
        packages: None,
        end: Some(AttemptEnd::Reported(report)),
    }
}

/// The `n`-th execution, a day after the one before, with one attempt a run.
fn execution(n: u64, size: &str, runs: &[Run]) -> Execution {
    let attempts = (1..).zip(runs).map(|(number, run)| attempt(number, *run)).collect();
    let created_at = sample::at(i64::try_from(n).unwrap() * DAY);
    Execution { instance_size: size.to_owned(), attempts, created_at, ..sample::execution(n) }
}

/// Five days of one run a day, the newest first.
fn five(size: &str, run: Run) -> Vec<Execution> {
    (1..=5).rev().map(|n| execution(n, size, &[run])).collect()
}

struct Asked<'a> {
    size: &'a str,
    allowed: &'a [&'a str],
    region: Option<&'a str>,
}

const IRELAND: Option<&str> = Some("eu-west-1");

fn ask(asked: &Asked<'_>, executions: &[Execution]) -> Advice {
    let allowed = SizePatterns(asked.allowed.iter().map(|it| (*it).to_owned()).collect());
    advise(&Question {
        size: &size(asked.size),
        executions,
        allowed: &allowed,
        region: asked.region,
        now: now(),
    })
}

fn now() -> Timestamp {
    sample::at(6 * DAY)
}

fn size(name: &str) -> InstanceSize {
    name.parse().unwrap()
}

fn names(advice: &Advice) -> Vec<&str> {
    advice.choices.iter().map(|choice| choice.size.as_str()).collect()
}

#[test]
fn a_size_that_is_too_large_is_compared_with_the_cheapest_that_does_as_well() {
    let asked = Asked { size: "m5.xlarge", allowed: &["m5.*", "m5a.*"], region: IRELAND };
    let advice = ask(&asked, &five("m5.xlarge", WELL));
    let needs = advice.needs.unwrap();
    assert_eq!(needs.memory_bytes, 875 * MIB, "the peak and a quarter");
    assert_eq!((needs.processors, needs.time), (0.8, Duration::from_secs(600)));
    assert_eq!(names(&advice)[0], "m5.xlarge", "the present one comes first");
    let Verdict::Cheaper { to } = &advice.verdict else { panic!("{advice:?}") };
    assert_eq!(to, &advice.choices[1].size);
    let (now, then) = (advice.choices[0].per_run.unwrap(), advice.choices[1].per_run.unwrap());
    assert_eq!(now, Money(214_000 / 6), "ten minutes of 0.214 dollars an hour");
    assert!(then.0 * 2 <= now.0, "{then} {now}");
    // Five runs in five days until now.
    let month = advice.runs_per_month.unwrap();
    assert!((month - 30.0).abs() < 0.01, "{month}");
    let per_month = advice.choices[0].per_month.unwrap();
    assert!(per_month.0.abs_diff(now.0 * 30) < 30, "{per_month}");
    assert!(advice.caveats.contains(&Caveat::Speed));
}

#[test]
fn what_fits_by_memory_but_has_too_few_processors_is_no_choice() {
    let busy = Run { processors: 3.2, ..WELL };
    let asked = Asked { size: "m5.2xlarge", allowed: &["m5.*"], region: IRELAND };
    let advice = ask(&asked, &five("m5.2xlarge", busy));
    assert_eq!(advice.verdict, Verdict::Cheaper { to: size("m5.xlarge") });
    assert!(!names(&advice).contains(&"m5.large"), "{:?}", names(&advice));
}

#[test]
fn the_right_size_is_kept_and_so_is_one_that_a_change_would_hardly_make_cheaper() {
    let asked = Asked { size: "m5.large", allowed: &["m5.*"], region: IRELAND };
    assert_eq!(ask(&asked, &five("m5.large", WELL)).verdict, Verdict::Keep);
    let asked = Asked { size: "m5.large", allowed: &["m5.large"], region: IRELAND };
    assert_eq!(ask(&asked, &five("m5.large", WELL)).verdict, Verdict::Keep);
}

#[test]
fn a_run_that_ran_out_of_memory_needs_more_than_its_size_has() {
    let grown = |n| Execution {
        enlarged: vec![Enlarged { after: AttemptNumber(1), to: size("m5.xlarge") }],
        ..execution(n, "m5.large", &[RAN_OUT, Run { memory_mib: Some(9_000), ..WELL }])
    };
    let executions: Vec<_> = (1..=3).rev().map(grown).collect();
    let asked = Asked { size: "m5.large", allowed: &["m5.*"], region: IRELAND };
    let advice = ask(&asked, &executions);
    assert_eq!(advice.verdict, Verdict::Larger { to: size("m5.xlarge") });
    assert!(!advice.choices[0].fits && advice.choices[1].fits);
    let seen: Vec<_> =
        advice.evidence.iter().map(|it| (it.size.as_str(), it.succeeded, it.out_of_memory)).collect();
    assert_eq!(seen, [("m5.large", 0, 3), ("m5.xlarge", 3, 0)]);
    assert_eq!(advice.evidence[1].peak_memory_bytes, Some(9_000 * MIB));
}

#[test]
fn where_nothing_that_may_be_had_is_large_enough_that_is_said() {
    let asked = Asked { size: "m5.large", allowed: &["m5.large", "c5.large"], region: IRELAND };
    let advice = ask(&asked, &five("m5.large", RAN_OUT));
    assert_eq!((advice.verdict.clone(), names(&advice)), (Verdict::NothingFits, vec!["m5.large"]));
}

#[test]
fn two_runs_are_too_few_and_so_are_many_that_tell_nothing() {
    let asked = Asked { size: "m5.large", allowed: &[], region: IRELAND };
    let two = ask(&asked, &five("m5.large", WELL)[..2]);
    assert_eq!((two.verdict.clone(), two.needs), (Verdict::TooLittle { have: 2 }, None));
    assert_eq!(two.evidence[0].succeeded, 2, "what there is is shown");
    let mute = ask(&asked, &five("m5.large", Run { memory_mib: None, ..WELL }));
    assert_eq!(mute.verdict, Verdict::TooLittle { have: 0 });
    let failed = ask(&asked, &five("m5.large", Run { ending: &Ending::Exited { code: 1 }, ..WELL }));
    assert_eq!((failed.verdict, failed.evidence), (Verdict::TooLittle { have: 0 }, Vec::new()));
    assert_eq!(ask(&asked, &[]).verdict, Verdict::TooLittle { have: 0 });
}

#[test]
fn on_workers_of_ones_own_nothing_has_a_price_and_only_the_family_is_compared() {
    let asked = Asked { size: "m5.2xlarge", allowed: &[], region: None };
    let advice = ask(&asked, &five("m5.2xlarge", WELL));
    assert_eq!(advice.verdict, Verdict::Smaller { to: size("m5.large") });
    assert!(advice.choices.iter().all(|choice| choice.per_run.is_none() && choice.size.family() == "m5"));
    assert!(advice.caveats.contains(&Caveat::OwnMachine) && !advice.caveats.contains(&Caveat::NoPrices));
}

#[test]
fn a_region_without_a_table_is_said() {
    let asked = Asked { size: "m5.2xlarge", allowed: &[], region: Some("sa-east-1") };
    let advice = ask(&asked, &five("m5.2xlarge", WELL));
    assert_eq!(advice.verdict, Verdict::Smaller { to: size("m5.large") });
    assert!(advice.caveats.contains(&Caveat::NoPrices));
}

#[test]
fn lent_processors_are_advised_only_where_they_were_asked_for() {
    let asked = Asked { size: "m5.xlarge", allowed: &[], region: IRELAND };
    let advice = ask(&asked, &five("m5.xlarge", WELL));
    assert!(names(&advice).iter().all(|name| !name.starts_with('t')), "{:?}", names(&advice));
    let asked = Asked { size: "t3.xlarge", allowed: &["t3.*"], region: IRELAND };
    let advice = ask(&asked, &five("t3.xlarge", WELL));
    assert!(names(&advice).contains(&"t3.small"), "{:?}", names(&advice));
    assert!(advice.caveats.contains(&Caveat::Credits));
}

#[test]
fn what_the_runs_cannot_tell_is_said() {
    let duckdb = |mut execution: Execution| {
        Arc::make_mut(&mut execution.job).worker_type = "duckdb".parse::<WorkerType>().unwrap();
        execution
    };
    let asked = Asked { size: "m5.large", allowed: &[], region: IRELAND };
    let spilled = five("m5.large", Run { spilled_mib: Some(5), ..WELL });
    let mut executions: Vec<_> = spilled.into_iter().map(duckdb).collect();
    Arc::make_mut(&mut executions[0].job).revision = sample::revision(9);
    let caveats = ask(&asked, &executions).caveats;
    for expected in [Caveat::TakesWhatItGets, Caveat::Spilled, Caveat::CodeChanged] {
        assert!(caveats.contains(&expected), "{expected:?} of {caveats:?}");
    }
    assert!(!caveats.contains(&Caveat::Pace));
    let today: Vec<_> =
        five("m5.large", WELL).into_iter().map(|it| Execution { created_at: now(), ..it }).collect();
    let advice = ask(&asked, &today);
    assert_eq!((advice.runs_per_month, advice.caveats.contains(&Caveat::Pace)), (None, true));
    assert!(advice.choices.iter().all(|choice| choice.per_month.is_none()));
}

#[test]
fn a_machine_of_its_own_is_paid_for_from_its_launch() {
    let mut executions = five("m5.large", WELL);
    for execution in &mut executions {
        let mut phases = Phases::default();
        phases.record(Phase::Launched, sample::at(0));
        phases.record(Phase::Finished, sample::at(650));
        execution.attempts[0].phases = phases;
    }
    let asked = Asked { size: "m5.large", allowed: &[], region: IRELAND };
    assert_eq!(ask(&asked, &executions).needs.unwrap().time, Duration::from_secs(650));
}

#[test]
fn of_many_attempts_the_newest_count() {
    let mut executions: Vec<_> = (10..=30).rev().map(|n| execution(n, "m5.large", &[WELL])).collect();
    executions.push(execution(1, "m5.large", &[Run { memory_mib: Some(60_000), ..WELL }]));
    let asked = Asked { size: "m5.large", allowed: &[], region: IRELAND };
    let advice = ask(&asked, &executions);
    assert_eq!(advice.evidence[0].succeeded, 20);
    assert_eq!(advice.needs.unwrap().memory_bytes, 875 * MIB);
}
