//! The whole system in virtual time, under faults.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use data_runner_testkit::world::{Faults, Report, Size, Violation, run};

/// `cargo xtask sim` asks for more, and for others.
fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

fn show(violation: &Violation) -> String {
    let Violation { invariant, what, seed, history } = violation;
    format!("seed {seed} breaks {invariant}: {what}\n  {}", history.join("\n  "))
}

#[test]
fn seeds_keep_every_invariant_under_all_faults() {
    let (from, seeds) = (number("DATA_RUNNER_SIM_FROM", 0), number("DATA_RUNNER_SIM_SEEDS", 200));
    let mut faults: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut ended: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut started = 0;
    for seed in from..from + seeds {
        match run(seed, Size::default(), Faults::ALL) {
            Ok(report) => {
                started += report.started;
                for (kind, times) in report.faults {
                    *faults.entry(kind).or_insert(0) += times;
                }
                for (state, times) in report.ended {
                    *ended.entry(state).or_insert(0) += times;
                }
            }
            Err(violation) => panic!("{}", show(&violation)),
        }
    }
    println!("{seeds} seeds from {from}: {started} attempts, ends {ended:?}, faults {faults:?}");
    assert!(faults.len() >= 8, "every kind of fault struck: {faults:?}");
    assert!(ended.contains_key("success") && ended.contains_key("failed") && ended.contains_key("cancelled"));
}

#[test]
fn without_faults_every_execution_takes_one_attempt() {
    let report =
        run(7, Size::default(), Faults::NONE).unwrap_or_else(|violation| panic!("{}", show(&violation)));
    let cancelled_early = report.ended.get("cancelled").copied().unwrap_or(0);
    assert!(
        report.started <= report.submitted && report.started >= report.submitted - cancelled_early,
        "{report:?}"
    );
}

#[test]
fn a_seed_replays_to_the_byte() {
    let digest = |seed| -> Report { run(seed, Size::default(), Faults::ALL).expect("it holds") };
    assert_eq!(digest(3), digest(3));
    assert_ne!(digest(3).digest, digest(4).digest);
}
