//! What a checkup found, as REST shows it.

use data_runner_core::port as core;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a checkup found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Checkup {
    /// The worst of all verdicts: `good`, `warning` or `bad`.
    pub verdict: String,
    /// What each check found.
    pub findings: Vec<Finding>,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// What was looked at.
    pub check: String,
    /// `good`, `warning` (perhaps a problem, or it could not be looked at) or `bad` (it will not work so).
    pub verdict: String,
    /// What was found.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl From<Vec<core::Finding>> for Checkup {
    fn from(findings: Vec<core::Finding>) -> Self {
        let worst = findings.iter().map(|finding| finding.verdict).max().unwrap_or(core::Verdict::Good);
        let findings = findings.into_iter().map(|finding| Finding {
            check: finding.check,
            verdict: finding.verdict.as_str().to_owned(),
            message: finding.message,
            help: finding.help,
        });
        Self { verdict: worst.as_str().to_owned(), findings: findings.collect() }
    }
}
