//! Typed identifiers. Each one is a newtype, so that no id can stand in another's place.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::time::{Entropy, Timestamp};

/// A text that is not a valid identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a {what}: {expected}")]
pub struct InvalidId {
    /// Which identifier was expected.
    pub what: &'static str,
    /// The text as it came.
    pub given: String,
    /// What would have been accepted.
    pub expected: &'static str,
}

macro_rules! uuid_ids {
    ($($(#[$doc:meta])* $name:ident, $what:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A fresh UUIDv7: its order is the order of creation, to the millisecond.
            pub fn generate(at: Timestamp, entropy: &mut Entropy) -> Self {
                Self(entropy.uuid_v7(at))
            }

            /// Wraps an identifier that was made earlier.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The identifier as a UUID.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidId {
                    what: $what,
                    given: text.to_owned(),
                    expected: "a UUID",
                })
            }
        }
    )*};
}

uuid_ids! {
    /// A workflow, for as long as its repository and folder keep their names.
    WorkflowId, "workflow id";
    /// One execution of a workflow; its retries by policy are attempts of the same execution.
    ExecutionId, "execution id";
    /// Executions of one workflow that belong together.
    GroupId, "group id";
    /// One worker: one machine, or one agent process on this machine.
    WorkerId, "worker id";
    /// One connection of an agent. A newer one of the same worker replaces an older one.
    SessionId, "session id";
    /// An API token; not its secret.
    TokenId, "token id";
    /// One message to an address outside; a repetition has the same.
    DeliveryId, "delivery id";
    /// A file that a job left.
    ArtifactId, "artifact id";
    /// What proves that a message belongs to the attempt as it was assigned: random, and new for each assignment.
    Lease, "lease";
}

/// The number of an attempt within its execution, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttemptNumber(pub u32);

impl AttemptNumber {
    /// The first attempt of an execution.
    pub const FIRST: Self = Self(1);

    /// The attempt that follows this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for AttemptNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One attempt of one execution. Serialised as its text, `execution/number`, so that it can be a key in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AttemptId {
    /// The execution.
    pub execution: ExecutionId,
    /// The attempt's number within it.
    pub number: AttemptNumber,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.execution, self.number)
    }
}

impl FromStr for AttemptId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let parsed = text.split_once('/').and_then(|(execution, number)| {
            let number = AttemptNumber(number.parse().ok()?);
            Some(Self { execution: execution.parse().ok()?, number })
        });
        parsed.ok_or_else(|| InvalidId {
            what: "attempt id",
            given: text.to_owned(),
            expected: "an execution id, a slash, and a number",
        })
    }
}

impl TryFrom<String> for AttemptId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<AttemptId> for String {
    fn from(id: AttemptId) -> Self {
        id.to_string()
    }
}

/// The attempt and the lease under which it was assigned: what every message about an attempt bears.
/// A claim whose lease is not the attempt's current one is stale and changes nothing (invariant I5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Claim {
    /// The attempt.
    pub attempt: AttemptId,
    /// The lease of its assignment.
    pub lease: Lease,
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.attempt.fmt(f)
    }
}

/// Rises with each supervisor that takes the store. Stores refuse to commit under an old one, agents refuse its commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a commit; without gaps within one store, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommitSequence(pub u64);

impl fmt::Display for CommitSequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! text_ids {
    ($($(#[$doc:meta])* $name:ident, $what:literal, $expected:literal, $valid:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text of the identifier.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::try_from(text.to_owned())
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                let valid: fn(&str) -> bool = $valid;
                if valid(&text) {
                    Ok(Self(text))
                } else {
                    Err(InvalidId { what: $what, given: text, expected: $expected })
                }
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
    )*};
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 63
        && bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

fn is_hex(text: &str, lengths: std::ops::RangeInclusive<usize>) -> bool {
    lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

text_ids! {
    /// The name of a workflow: its folder's. Unique within its repository.
    WorkflowName, "workflow name", "a lower-case letter or digit, then up to 62 of a-z, 0-9, _ and -", is_name;
    /// The name of a repository, unique within an installation.
    RepoName, "repository name", "a lower-case letter or digit, then up to 62 of a-z, 0-9, _ and -", is_name;
    /// The name of files that a job leaves, unique within its workflow.
    ArtifactName, "artifact name", "a lower-case letter or digit, then up to 62 of a-z, 0-9, _ and -", is_name;
    /// The name of an API token, unique within an installation.
    TokenName, "token name", "a lower-case letter or digit, then up to 62 of a-z, 0-9, _ and -", is_name;
    /// What runs a workflow: `polars`, `duckdb`, or a type that an embedder registered.
    WorkerType, "worker type", "a lower-case letter or digit, then up to 62 of a-z, 0-9, _ and -", is_name;
    /// A state of a workflow source, full and lower case: a git commit, or the content hash of a plain folder.
    Revision, "revision", "40 to 64 lower-case hexadecimal digits", |text| is_hex(text, 40..=64);
    /// A SHA-256 in lower-case hexadecimal.
    Sha256, "SHA-256", "64 lower-case hexadecimal digits", |text| is_hex(text, 64..=64);
    /// A provisioner's own name for a machine: an EC2 instance id, or a process of this machine.
    MachineId, "machine id", "1 to 128 printable ASCII characters",
        |text| (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
}

impl Revision {
    /// The first ten digits, for people.
    pub fn short(&self) -> &str {
        &self.0[..10]
    }
}

impl Sha256 {
    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(hex::encode(sha2::Sha256::digest(bytes)))
    }
}

/// A hash in the making, of bytes that come in pieces.
#[derive(Debug, Clone, Default)]
pub struct Hashing {
    digest: sha2::Sha256,
    bytes: u64,
}

impl Hashing {
    /// Takes the next piece.
    pub fn take(&mut self, piece: &[u8]) {
        use sha2::Digest as _;
        self.digest.update(piece);
        self.bytes = self.bytes.saturating_add(piece.len() as u64);
    }

    /// How many bytes were taken.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The hash of all that was taken.
    pub fn finish(self) -> Sha256 {
        use sha2::Digest as _;
        Sha256(hex::encode(self.digest.finalize()))
    }
}

/// A workflow's full name, `repository/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QualifiedName {
    /// The repository.
    pub repo: RepoName,
    /// The workflow's name within it.
    pub name: WorkflowName,
}

impl fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.repo, self.name)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_are_refused_with_what_would_be_accepted() {
        for good in ["a", "etl-job-2", "0_x", &"a".repeat(63)] {
            assert_eq!(good.parse::<WorkflowName>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", "A", "a/b", "..", "a b", "é", &"a".repeat(64)] {
            let error = bad.parse::<WorkflowName>().unwrap_err();
            assert!(error.to_string().contains("lower-case letter or digit"), "{error}");
        }
    }

    #[test]
    fn a_revision_is_never_an_option_of_git() {
        assert!("--upload-pack=x".parse::<Revision>().is_err());
        assert!("deadbeef".parse::<Revision>().is_err(), "an abbreviated commit is not a revision");
        assert_eq!("a".repeat(40).parse::<Revision>().unwrap().short(), "aaaaaaaaaa");
    }

    #[test]
    fn an_attempt_can_be_a_key_in_json() {
        let id =
            AttemptId { execution: ExecutionId::from_uuid(Uuid::from_u128(7)), number: AttemptNumber(3) };
        let map = std::collections::BTreeMap::from([(id, 1)]);
        let json = serde_json::to_string(&map).unwrap();
        assert_eq!(json, r#"{"00000000-0000-0000-0000-000000000007/3":1}"#);
        assert_eq!(serde_json::from_str::<std::collections::BTreeMap<AttemptId, i32>>(&json).unwrap(), map);
    }

    #[test]
    fn the_empty_text_has_the_published_sha256() {
        // FIPS 180-4, the well-known digest of the empty message.
        assert_eq!(
            Sha256::of(b"").as_str(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
