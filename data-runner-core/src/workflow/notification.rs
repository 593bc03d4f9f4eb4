//! Whom to tell of what.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::SecretRef;

/// One rule of a workflow: tell this address of these events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// The events.
    pub on: Vec<NotifyOn>,
    /// Where to.
    pub webhook: Webhook,
    /// In which form.
    #[serde(default)]
    pub format: MessageFormat,
}

/// The form of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageFormat {
    /// Everything that there is to say, as JSON.
    #[default]
    Json,
    /// A text as Slack's incoming webhooks take it, and what speaks like them.
    Slack,
}

impl MessageFormat {
    /// The names of all, as they stand in configuration.
    pub const NAMES: [&str; 2] = ["json", "slack"];

    /// Its name as it stands in configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Slack => "slack",
        }
    }
}

/// Where somebody is told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Webhook {
    /// At this https URL, which holds no name or password.
    Url(String),
    /// At the https URL that the supervisor finds behind this reference: an address often is a secret.
    Reference(SecretRef),
}

/// A text that is no address of a webhook. It does not hold the text, which may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an address: write an https:// URL without a password, or a reference such as env://ALERT_URL")]
pub struct NotAWebhook;

impl FromStr for Webhook {
    type Err = NotAWebhook;

    fn from_str(text: &str) -> Result<Self, NotAWebhook> {
        let Some(rest) = text.strip_prefix("https://") else {
            return text.parse().map(Self::Reference).map_err(|_| NotAWebhook);
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let plain = !authority.is_empty()
            && !authority.contains('@')
            && !rest.chars().any(|c| c.is_control() || c.is_whitespace());
        plain.then(|| Self::Url(text.to_owned())).ok_or(NotAWebhook)
    }
}

impl TryFrom<String> for Webhook {
    type Error = NotAWebhook;

    fn try_from(text: String) -> Result<Self, NotAWebhook> {
        text.parse()
    }
}

impl From<Webhook> for String {
    fn from(webhook: Webhook) -> Self {
        webhook.to_string()
    }
}

impl fmt::Display for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(url),
            Self::Reference(reference) => reference.fmt(f),
        }
    }
}

/// What somebody can be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotifyOn {
    /// An execution failed and is not tried again.
    #[default]
    Failure,
    /// An execution succeeded, and the one that ended before it had failed.
    Recovered,
    /// An execution has not started when it should have long ago.
    Late,
    /// An execution costs more than its budget, or its workflow would.
    OverBudget,
}

impl NotifyOn {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Failure, Self::Recovered, Self::Late, Self::OverBudget];

    /// The name as it stands in configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Recovered => "recovered",
            Self::Late => "late",
            Self::OverBudget => "over_budget",
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_https_or_a_reference_and_reads_back_as_it_was_written() {
        for text in ["https://hooks.example.com/x?y=z", "env://ALERT_URL", "aws-ssm:///alerts/url"] {
            assert_eq!(text.parse::<Webhook>().unwrap().to_string(), text);
        }
        for text in
            ["http://hooks.example.com", "https://", "https://me:hunter2@host/x", "https://a b", "hunter2"]
        {
            assert!(!text.parse::<Webhook>().unwrap_err().to_string().contains("hunter2"));
        }
    }
}
