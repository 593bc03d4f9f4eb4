//! What a check found.

use serde::Serialize;

/// What one check found, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: String,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub message: String,
    /// What to do, unless all is good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It may do, or cannot be known.
    Warning,
    /// Machines will not work.
    Bad,
}

impl Finding {
    pub(super) fn good(check: impl Into<String>, message: impl Into<String>) -> Self {
        Self { check: check.into(), verdict: Verdict::Good, message: message.into(), help: None }
    }

    pub(super) fn warning(
        check: impl Into<String>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let help = Some(help.into());
        Self { check: check.into(), verdict: Verdict::Warning, message: message.into(), help }
    }

    pub(super) fn bad(check: impl Into<String>, message: impl Into<String>, help: impl Into<String>) -> Self {
        let help = Some(help.into());
        Self { check: check.into(), verdict: Verdict::Bad, message: message.into(), help }
    }
}
