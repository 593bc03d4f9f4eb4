//! Instance sizes: how much memory and how many processors a name like `t3.medium` stands for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a job may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Processors.
    pub cpus: u32,
}

/// The name of an EC2 instance type that is known, such as `t3.medium`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceSize(String);

/// A name that is no instance type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not an instance type{}", nearest.map(|name| format!("; did you mean {name}?")).unwrap_or_default())]
pub struct UnknownSize {
    /// The name as it came.
    pub given: String,
    /// The nearest known one.
    pub nearest: Option<&'static str>,
}

impl InstanceSize {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What a machine of this type has.
    pub fn resources(&self) -> Resources {
        // A name that is not in the table cannot be made.
        lookup(&self.0).unwrap_or(Resources {
            memory_bytes: GIB,
            cpus: 1,
        })
    }
}

impl fmt::Display for InstanceSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for InstanceSize {
    type Error = UnknownSize;

    fn try_from(given: String) -> Result<Self, UnknownSize> {
        if lookup(&given).is_some() {
            Ok(Self(given))
        } else {
            Err(UnknownSize { given, nearest: None })
        }
    }
}

impl From<InstanceSize> for String {
    fn from(size: InstanceSize) -> Self {
        size.0
    }
}

const GIB: u64 = 1 << 30;

fn lookup(name: &str) -> Option<Resources> {
    match name {
        "t3.small" => Some(Resources {
            memory_bytes: 2 * GIB,
            cpus: 2,
        }),
        "t3.medium" => Some(Resources {
            memory_bytes: 4 * GIB,
            cpus: 2,
        }),
        _ => None,
    }
}
