//! Deliveries of webhooks that come in: a host of repositories says that somebody pushed.
//!
//! A delivery only makes its repository be looked at at once, so losing one costs the time until the next poll. What must
//! not happen is that one delivery does more than that, however often it is sent: its names are kept for a while.

use std::fmt;
use std::time::Duration;

use crate::time::Timestamp;

/// How long a delivery is known again.
pub const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 3600);

/// Who sends webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HookSender {
    /// GitHub, and what behaves like it.
    Github,
    /// GitLab.
    Gitlab,
}

impl HookSender {
    /// The name as it stands in paths, settings and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Gitlab => "gitlab",
        }
    }
}

impl fmt::Display for HookSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A push, as a delivery whose signature is right tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookDelivery {
    /// Who sent it.
    pub sender: HookSender,
    /// The names by which it is known again: the sender's id of it, and where that is not signed, the hash of what is.
    pub names: Vec<String>,
    /// The URLs that its repository has.
    pub urls: Vec<String>,
    /// Whether the store has one of its names, asked after all earlier batches were committed.
    pub known: bool,
}

impl HookDelivery {
    /// The keys under which its names are kept.
    pub fn keys(&self) -> Vec<String> {
        self.names.iter().map(|name| format!("{}/{name}", self.sender)).collect()
    }
}

/// A name of a delivery that was acted upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookRecord {
    /// Its key, of [`HookDelivery::keys`].
    pub key: String,
    /// When it came.
    pub at: Timestamp,
}
