//! What a run of many test programs comes to, read from what cargo and they print.

use std::fmt;

/// The results of all test programs of a run.
#[derive(Debug, Default)]
pub struct Totals {
    passed: usize,
    failed: usize,
    /// What failed, as the arguments of `cargo test` that run it again.
    failures: Vec<String>,
    skipped: Vec<Skip>,
    /// The names that the current program lists as failed.
    names: Vec<String>,
    /// Tests of the current program that were said to take long, and have not ended.
    slow: Vec<String>,
    lists_failures: bool,
}

/// A test that did not show what its name promises.
#[derive(Debug, PartialEq)]
struct Skip {
    test: String,
    why: String,
}

impl Totals {
    /// The next line that cargo or a test program printed, without its end.
    pub fn read(&mut self, line: &str) {
        let line = without_colour(line);
        let line = line.as_str();
        if line == "failures:" {
            // The first such list has what the tests printed, the last one their names.
            self.names.clear();
            self.lists_failures = true;
        } else if let Some(name) = line.strip_prefix("    ").filter(|_| self.lists_failures) {
            self.names.push(name.to_owned());
        } else if let Some(result) = line.strip_prefix("test result: ") {
            self.lists_failures = false;
            self.passed += count(result, "passed");
            self.failed += count(result, "failed");
        } else if let Some(test) = line.strip_prefix("test ") {
            self.read_test(test);
        } else if let Some((_, program)) = line.split_once("failed, to rerun pass `") {
            self.program_failed(program.trim_end_matches('`'));
        }
    }

    fn read_test(&mut self, test: &str) {
        if let Some((name, _)) = test.split_once(" has been running for over ") {
            self.slow.push(name.to_owned());
            return;
        }
        if let Some((name, _)) = test.split_once(" ... ") {
            self.slow.retain(|slow| slow != name);
        }
        if let Some((name, why)) = test.split_once(" ... ignored") {
            let why = why.strip_prefix(", ").unwrap_or("it is marked as ignored");
            self.skipped.push(Skip { test: name.to_owned(), why: why.to_owned() });
        }
    }

    fn program_failed(&mut self, program: &str) {
        if self.names.is_empty() {
            // Killed, or ended by itself, before it could count.
            self.failed += 1;
            self.names.append(&mut self.slow);
        }
        if self.names.is_empty() {
            self.failures.push(program.to_owned());
        }
        self.failures.extend(self.names.drain(..).map(|name| again(program, &name)));
    }

    /// Tests that said by themselves that they were skipped, which their programs count as passed: a line for each, as
    /// `data_runner_testkit::skipped` writes it.
    pub fn skipped_by_themselves(&mut self, lines: &str) {
        for line in lines.lines() {
            let mut parts = line.splitn(3, '\t').map(str::to_owned);
            let (program, test) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let why = parts.next().unwrap_or_default();
            self.skipped.push(Skip { test: format!("{program} {test}"), why });
            self.passed = self.passed.saturating_sub(1);
        }
    }

    /// How many failed.
    pub fn failed(&self) -> usize {
        self.failed
    }

    /// Whether anything ran, and nothing failed.
    pub fn is_good(&self) -> bool {
        self.passed > 0 && self.failed == 0
    }
}

/// The names of what was skipped and of what failed, and then the numbers.
impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut reasons: Vec<&str> = self.skipped.iter().map(|skip| skip.why.as_str()).collect();
        reasons.sort_unstable();
        reasons.dedup();
        for why in reasons {
            writeln!(f, "skipped, {why}:")?;
            for skip in self.skipped.iter().filter(|skip| skip.why == why) {
                writeln!(f, "    {}", skip.test)?;
            }
        }
        if !self.failures.is_empty() {
            writeln!(f, "failed, and again with cargo test --all-features:")?;
        }
        for failure in &self.failures {
            writeln!(f, "    {failure}")?;
        }
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped.len())
    }
}

/// The number before `what` in `ok. 3 passed; 0 failed; …`.
fn count(result: &str, what: &str) -> usize {
    let before = result.split([';', '.']).find_map(|part| part.trim().strip_suffix(what));
    before.and_then(|number| number.trim().parse().ok()).unwrap_or_default()
}

/// The arguments that run one test again. The name of a documentation test has blanks, and its beginning is enough.
fn again(program: &str, name: &str) -> String {
    match name.split_once(" - ") {
        Some((file, _)) => format!("{program} -- {file}"),
        None => format!("{program} -- --exact {name}"),
    }
}

/// Terminals get colours: `ESC [ … m`.
fn without_colour(line: &str) -> String {
    let mut pieces = line.split("\u{1b}[");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| text + piece.split_once('m').map_or(piece, |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(lines: &str) -> Totals {
        let mut totals = Totals::default();
        lines.lines().for_each(|line| totals.read(line));
        totals
    }

    const GOOD: &str = "     Running unittests src/lib.rs (target/debug/deps/one-0123)

running 3 tests
test a ... ok
test b ... ok
test c ... ignored, it costs money

test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    const BAD: &str = "     Running tests/two.rs (target/debug/deps/two-0123)
test jobs::b ... FAILED
test jobs::a ... FAILED

failures:

---- jobs::b stdout ----
failures are told:
    test result: this is what the test printed

failures:
    jobs::a
    jobs::b

test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s

\u{1b}[1m\u{1b}[91merror\u{1b}[0m: test failed, to rerun pass `-p two --test two`
";

    #[test]
    fn what_programs_count_is_added_up() {
        let totals = totals(&[GOOD, GOOD].concat());
        assert!(totals.is_good());
        let said = "skipped, it costs money:\n    c\n    c\n4 passed, 0 failed, 2 skipped";
        assert_eq!(totals.to_string(), said);
    }

    #[test]
    fn failures_are_named_just_before_the_numbers_as_they_are_run_again() {
        let mut totals = totals(&[BAD, GOOD].concat());
        totals.skipped_by_themselves("two\tjobs::c\tno root\n");
        assert!(!totals.is_good());
        assert_eq!(
            totals.to_string(),
            "skipped, it costs money:
    c
skipped, no root:
    two jobs::c
failed, and again with cargo test --all-features:
    -p two --test two -- --exact jobs::a
    -p two --test two -- --exact jobs::b
5 passed, 2 failed, 2 skipped"
        );
    }

    #[test]
    fn a_program_that_was_killed_is_one_failure() {
        let killed = "running 9 tests\ntest a ... ok\nerror: test failed, to rerun pass `-p three --lib`\n";
        let totals = totals(&[killed, GOOD].concat());
        let said = totals.to_string();
        assert!(
            said.contains("    -p three --lib\n") && said.ends_with("2 passed, 1 failed, 1 skipped"),
            "{said}"
        );
    }

    #[test]
    fn the_tests_that_had_not_ended_when_a_program_was_killed_are_named() {
        let hung = "running 3 tests
test jobs::a has been running for over 60 seconds
test jobs::b has been running for over 60 seconds
test jobs::a ... ok
killed: no test of this program has ended for 600s
error: test failed, to rerun pass `-p two --test two`
";
        let said = totals(&[hung, GOOD].concat()).to_string();
        assert!(said.contains("    -p two --test two -- --exact jobs::b\n2 passed, 1 failed"), "{said}");
    }

    #[test]
    fn nothing_that_ran_is_nothing_good() {
        assert!(
            !totals("test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out\n").is_good()
        );
    }
}
