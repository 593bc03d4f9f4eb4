//! When to try again.

use crate::execution::{Backoff, FailureCause, RetryPolicy, RetryRule};
use crate::yaml::{Object, Placed, Report, Value};

/// The rules in their order, then the defaults for the causes that none of them names.
pub(super) fn retries(given: Vec<Placed<Value>>, report: &mut Report<'_>) -> RetryPolicy {
    let mut rules: Vec<RetryRule> = Vec::new();
    let mut named: Vec<FailureCause> = Vec::new();
    for rule in given.into_iter().filter_map(|rule| rule.into_object()) {
        let mut rule = rule.value;
        let mut on = Vec::new();
        for name in rule.texts("on") {
            let Some(cause) = FailureCause::ALL.into_iter().find(|cause| cause.as_str() == name.value) else {
                continue;
            };
            if named.contains(&cause) {
                let message = format!("`{}` is named before; the first rule decides", name.value);
                report.warning(&name.at, "unreachable_retry", message).help("remove it here or there");
            } else {
                named.push(cause);
                on.push(cause);
            }
        }
        let backoff_at = rule.place("backoff");
        let backoff = backoff(rule.object("backoff"));
        if let Some(at) = backoff_at
            && backoff.initial > backoff.max
        {
            let message = "the first wait is longer than the longest one";
            report.error(&at, "out_of_range", message).help("raise `max` (default 10m), or lower `initial`");
        }
        let Some(max_attempts) = rule.int("max_attempts").and_then(|n| u32::try_from(n).ok()) else {
            continue;
        };
        if !on.is_empty() {
            rules.push(RetryRule { on, max_attempts, backoff });
        }
    }
    for mut rule in RetryPolicy::default().rules {
        rule.on.retain(|cause| !named.contains(cause));
        if !rule.on.is_empty() {
            rules.push(rule);
        }
    }
    RetryPolicy { rules }
}

fn backoff(mut given: Object) -> Backoff {
    let default = Backoff::default();
    Backoff {
        initial: given.duration("initial").unwrap_or(default.initial),
        factor: given.number("factor").unwrap_or(default.factor),
        max: given.duration("max").unwrap_or(default.max),
    }
}
