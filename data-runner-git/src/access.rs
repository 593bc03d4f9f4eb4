//! With what a repository is reached.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A secret text; shown as dots.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("••••")
    }
}

/// A token for one host: it is shown to no other, whatever URL somebody registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The host, such as `github.com`.
    pub host: String,
    /// The user name that goes with it; GitHub and GitLab take any.
    pub user: String,
    /// The token.
    pub secret: Secret,
}

impl Token {
    /// A token for `host` with a user name that GitHub (apps too) and GitLab accept.
    pub fn new(host: impl Into<String>, secret: Secret) -> Self {
        Self { host: host.into(), user: "x-access-token".to_owned(), secret }
    }
}

/// Whether git's credential helpers of this user's configuration may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Helper {
    /// They may.
    #[default]
    Ask,
    /// They may not.
    Ignore,
}

/// A private key for ssh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshKey {
    /// The file of the private key.
    pub file: PathBuf,
    /// Its passphrase, if it has one.
    pub passphrase: Option<Secret>,
}

/// With what a repository is reached, and for how long that is tried.
///
/// Https shows a [`Token`] of its host, else asks git's credential helpers. Ssh uses the key, else the agent. A host key
/// must be in `known_hosts` (without one: in `~/.ssh/known_hosts`); an unknown one is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Tokens for https, each for one host.
    pub tokens: Vec<Token>,
    /// Whether credential helpers may be asked.
    pub helper: Helper,
    /// The key for ssh; `None`: the agent's.
    pub ssh_key: Option<SshKey>,
    /// The file with the known host keys, as `ssh-keyscan` writes it: host names in plain text.
    pub known_hosts: Option<PathBuf>,
    /// For how long one fetch may last.
    pub longest_fetch: Duration,
    /// How many bytes one fetch may bring.
    pub largest_fetch: u64,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            tokens: Vec::new(),
            helper: Helper::Ask,
            ssh_key: None,
            known_hosts: None,
            longest_fetch: Duration::from_secs(15 * 60),
            largest_fetch: 4 << 30,
        }
    }
}
