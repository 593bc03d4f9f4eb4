//! How many vCPUs the account may have at once, in the region: a launch beyond that is held.

use data_runner_core::port::Finding;
use data_runner_core::workflow::InstanceSize;

use super::USUAL_SIZE;
use crate::call::{AwsAccount, in_words};

/// The families A, C, D, H, I, M, R, T and Z share a limit, one for each market. Others have limits of their own, which
/// are not looked at.
const STANDARD: [(&str, &str, &str); 2] = [
    ("quota", "L-1216C47A", "Running On-Demand Standard instances"),
    ("quota (spot)", "L-34B43A08", "All Standard Spot Instance Requests"),
];

/// The limits of both markets, against as many machines of the usual size as the settings allow.
pub(super) async fn vcpus(account: &AwsAccount, machines: u32) -> Vec<Finding> {
    let each = USUAL_SIZE.parse().map_or(2, |size: InstanceSize| size.resources().cpus);
    let mut findings = Vec::new();
    for (check, code, name) in STANDARD {
        findings.push(match account.parameters.quota("ec2", code).await {
            Ok(limit) => judged(check, name, limit, Wanted { machines, each }),
            Err(error) => Finding::warning(
                check,
                format!("the limit \"{name}\" cannot be read: {}", in_words(&error)),
                "allow servicequotas:GetServiceQuota, or look at it in the console of Service Quotas",
            ),
        });
    }
    findings
}

/// So many machines with so many vCPUs each.
#[derive(Clone, Copy)]
struct Wanted {
    machines: u32,
    each: u32,
}

fn judged(check: &str, name: &str, limit: f64, wanted: Wanted) -> Finding {
    let Wanted { machines, each } = wanted;
    let all = u64::from(machines) * u64::from(each);
    let found = format!("{limit} vCPUs by \"{name}\"; {machines} machines of {USUAL_SIZE} use {all}");
    if limit < f64::from(each) {
        return Finding::bad(check, found, format!("ask for more of \"{name}\" in Service Quotas"));
    }
    if limit < f64::from(machines) * f64::from(each) {
        let help = format!("ask for more of \"{name}\" in Service Quotas, or lower ec2.max_machines");
        return Finding::warning(check, found, help);
    }
    Finding::good(check, found)
}

#[cfg(test)]
mod tests {
    use data_runner_core::port::Verdict;

    use super::*;

    #[test]
    fn a_limit_for_all_machines_is_good_for_some_a_warning_and_for_none_bad() {
        let wanted = Wanted { machines: 4, each: 2 };
        for (limit, verdict) in
            [(8.0, Verdict::Good), (7.0, Verdict::Warning), (2.0, Verdict::Warning), (1.0, Verdict::Bad)]
        {
            assert_eq!(judged("quota", "a limit", limit, wanted).verdict, verdict, "{limit}");
        }
    }
}
