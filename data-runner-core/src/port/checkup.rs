//! Looking whether everything is there that an installation needs.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// Makes checks.
///
/// Contract:
/// - it changes nothing and launches nothing;
/// - whatever is wrong is a finding, also when it keeps other checks from being made; a check that could not be made says
///   so, and nothing is left out silently;
/// - each finding that is not good says what to do.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait Checkup: Send + Sync + 'static {
    /// Makes all checks; takes seconds, not minutes.
    async fn check(&self) -> Vec<Finding>;
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at, in a word or two, such as `subnet`.
    pub check: String,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Perhaps a problem, or it could not be looked at.
    Warning,
    /// It will not work so.
    Bad,
}

impl Verdict {
    /// The name as REST and CLI show it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Bad => "bad",
        }
    }
}

impl Finding {
    /// It is as it should be.
    pub fn good(check: impl Into<String>, message: impl Into<String>) -> Self {
        Self { check: check.into(), verdict: Verdict::Good, message: message.into(), help: None }
    }

    /// It may be a problem.
    pub fn warning(check: impl Into<String>, message: impl Into<String>, help: impl Into<String>) -> Self {
        let help = Some(help.into());
        Self { check: check.into(), verdict: Verdict::Warning, message: message.into(), help }
    }

    /// It will not work so.
    pub fn bad(check: impl Into<String>, message: impl Into<String>, help: impl Into<String>) -> Self {
        let help = Some(help.into());
        Self { check: check.into(), verdict: Verdict::Bad, message: message.into(), help }
    }
}
