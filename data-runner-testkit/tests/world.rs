//! The whole system in virtual time, under faults.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use data_runner_testkit::world::{Faults, Machines, Mistake, Report, Size, Violation, run};

/// `cargo xtask sim` asks for more, and for others.
fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

fn show(violation: &Violation) -> String {
    let Violation { invariant, what, seed, history } = violation;
    format!("seed {seed} breaks {invariant}: {what}\n  {}", history.join("\n  "))
}

/// What many runs came to.
#[derive(Debug, Default)]
struct Sums {
    started: usize,
    machines: usize,
    ambiguous: usize,
    faults: BTreeMap<&'static str, usize>,
    ended: BTreeMap<&'static str, usize>,
}

fn run_seeds(seeds: std::ops::Range<u64>, size: Size) -> Sums {
    let mut sums = Sums::default();
    for seed in seeds {
        let report = run(seed, size, Faults::ALL).unwrap_or_else(|violation| panic!("{}", show(&violation)));
        sums.started += report.started;
        sums.machines += report.machines;
        sums.ambiguous += report.ambiguous;
        for (kind, times) in report.faults {
            *sums.faults.entry(kind).or_insert(0) += times;
        }
        for (state, times) in report.ended {
            *sums.ended.entry(state).or_insert(0) += times;
        }
    }
    sums
}

fn seeds() -> std::ops::Range<u64> {
    let (from, seeds) = (number("DATA_RUNNER_SIM_FROM", 0), number("DATA_RUNNER_SIM_SEEDS", 200));
    from..from + seeds
}

#[test]
fn seeds_keep_every_invariant_under_all_faults() {
    let sums = run_seeds(seeds(), Size::default());
    println!("{:?}: {sums:?}", seeds());
    assert!(sums.faults.len() >= 8, "every kind of fault struck: {sums:?}");
    assert!(["success", "failed", "cancelled"].iter().all(|state| sums.ended.contains_key(state)));
}

#[test]
fn seeds_keep_every_invariant_on_machines_of_a_cloud_i6_i7_i9() {
    let sums = run_seeds(seeds(), Size::cloud());
    println!("{:?}: {sums:?}", seeds());
    assert!(sums.faults.len() >= 10, "every kind of fault struck: {sums:?}");
    assert!(["success", "failed", "cancelled"].iter().all(|state| sums.ended.contains_key(state)));
    assert!(sums.machines > sums.started / 2 && sums.ambiguous > 100, "{sums:?}");
}

#[test]
fn ten_thousand_ambiguous_launches_make_no_second_machine_i7() {
    let machines = Machines::OfACloud { ambiguous: 92 };
    let size = Size { executions: 40, workers: 10, machines, ..Size::default() };
    let (mut ambiguous, mut made) = (0, 0);
    for seed in 0.. {
        // A second machine of a token, or two at a time of a worker, is a violation.
        let sums = run_seeds(seed..seed + 1, size);
        ambiguous += sums.ambiguous;
        made += sums.machines;
        if ambiguous >= 10_000 {
            println!("{ambiguous} ambiguous launches in {} runs, {made} machines", seed + 1);
            return;
        }
        assert!(seed < 300, "only {ambiguous} ambiguous launches");
    }
}

/// The first invariant that a mistake breaks.
fn found(mistake: Mistake) -> Option<&'static str> {
    let size = Size { mistake: Some(mistake), ..Size::cloud() };
    (0..200).find_map(|seed| run(seed, size, Faults::ALL).err()).map(|violation| violation.invariant)
}

#[test]
fn a_launch_whose_token_changes_is_found_out_by_its_second_machine() {
    assert_eq!(found(Mistake::ForgetsTokens), Some("I7"));
}

#[test]
fn who_trusts_a_listing_that_lags_is_found_out_by_the_machines_that_run() {
    let invariant = found(Mistake::TrustsAbsence);
    assert!(matches!(invariant, Some("I2" | "I6" | "I7" | "I9")), "{invariant:?}");
}

#[test]
fn without_faults_every_execution_takes_one_attempt_and_one_more_for_a_size_up() {
    let report =
        run(7, Size::default(), Faults::NONE).unwrap_or_else(|violation| panic!("{}", show(&violation)));
    let cancelled_early = report.ended.get("cancelled").copied().unwrap_or(0);
    // Those of a group are not submitted one by one.
    let all = report.ended.values().sum::<usize>() + report.enlarged;
    assert!(report.enlarged > 0, "{report:?}");
    assert!(report.started <= all && report.started >= all - cancelled_early, "{report:?}");
}

#[test]
fn a_seed_replays_to_the_byte() {
    let digest = |seed| -> Report { run(seed, Size::default(), Faults::ALL).expect("it holds") };
    assert_eq!(digest(3), digest(3));
    assert_ne!(digest(3).digest, digest(4).digest);
}
