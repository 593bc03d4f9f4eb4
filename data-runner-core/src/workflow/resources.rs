//! Instance sizes: how much memory and how many processors a name like `t3.medium` stands for.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::yaml::nearest;

/// What a job may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Processors.
    pub cpus: u32,
}

/// What a machine's processor executes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// Intel and AMD, 64 bits.
    X86_64,
    /// Arm, 64 bits: Graviton.
    Arm64,
}

impl Architecture {
    /// The name as it stands in configuration and REST.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
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
        TABLE.get(&self.0).map_or(Resources { memory_bytes: GIB, cpus: 1 }, |machine| machine.resources)
    }

    /// What its processor executes.
    pub fn architecture(&self) -> Architecture {
        TABLE.get(&self.0).map_or(Architecture::X86_64, |machine| machine.architecture)
    }

    /// The next size of the same family that has more memory and may be had, if there is one.
    pub fn next_larger(&self, may_be_had: impl Fn(&str) -> bool) -> Option<Self> {
        let own = self.resources().memory_bytes;
        let family = self.family();
        let larger = TABLE.iter().filter(|(name, machine)| {
            name.split('.').next() == Some(family) && machine.resources.memory_bytes > own && may_be_had(name)
        });
        let next = larger.min_by_key(|(_, machine)| (machine.resources.memory_bytes, machine.resources.cpus));
        next.map(|(name, _)| Self(name.clone()))
    }

    /// What stands before the dot: sizes of one family differ in nothing but how much of everything they have.
    pub fn family(&self) -> &str {
        self.0.split('.').next().unwrap_or(&self.0)
    }

    /// Every known name, in order.
    pub fn names() -> impl Iterator<Item = &'static str> + Clone {
        TABLE.keys().map(String::as_str)
    }

    /// The known name that is nearest to `given`, if one is near.
    pub fn nearest(given: &str) -> Option<&'static str> {
        nearest(given, Self::names())
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
        if TABLE.contains_key(&given) {
            Ok(Self(given))
        } else {
            Err(UnknownSize { nearest: Self::nearest(&given), given })
        }
    }
}

impl FromStr for InstanceSize {
    type Err = UnknownSize;

    fn from_str(given: &str) -> Result<Self, UnknownSize> {
        Self::try_from(given.to_owned())
    }
}

impl From<InstanceSize> for String {
    fn from(size: InstanceSize) -> Self {
        size.0
    }
}

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

struct MachineType {
    resources: Resources,
    architecture: Architecture,
}

/// The table, by name. A line that cannot be read is left out; a test reads every line.
static TABLE: LazyLock<BTreeMap<String, MachineType>> =
    LazyLock::new(|| lines().filter_map(read_line).flatten().collect());

fn lines() -> impl Iterator<Item = &'static str> {
    include_str!("instance_sizes.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn read_line(line: &str) -> Option<Vec<(String, MachineType)>> {
    let (head, sizes) = line.split_once(" : ")?;
    let mut head = head.split(' ');
    let architecture = match head.next()? {
        "x86_64" => Architecture::X86_64,
        "arm64" => Architecture::Arm64,
        _ => return None,
    };
    let ratio = head.next()?.parse().ok();
    let mut machines = Vec::new();
    for family in head.next()?.split(',') {
        for size in sizes.split(' ') {
            let (name, resources) = read_size(size, ratio)?;
            machines.push((format!("{family}.{name}"), MachineType { resources, architecture }));
        }
    }
    Some(machines)
}

/// `large`, with the family's memory ratio, or `large=2/8192` without one.
fn read_size(size: &str, mib_per_cpu: Option<u64>) -> Option<(&str, Resources)> {
    let (name, cpus, mib) = match size.split_once('=') {
        Some((name, numbers)) => {
            let (cpus, mib) = numbers.split_once('/')?;
            (name, cpus.parse().ok()?, mib.parse().ok()?)
        }
        None => {
            let cpus = regular_cpus(size)?;
            (size, cpus, mib_per_cpu? * u64::from(cpus))
        }
    };
    Some((name, Resources { memory_bytes: mib * MIB, cpus }))
}

fn regular_cpus(size: &str) -> Option<u32> {
    match size {
        "medium" => Some(1),
        "large" => Some(2),
        "xlarge" => Some(4),
        _ => Some(4 * size.strip_suffix("xlarge")?.parse::<u32>().ok()?),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[test]
    fn every_line_of_the_table_is_read_and_no_type_stands_twice() {
        let read: Vec<_> =
            lines().flat_map(|line| read_line(line).unwrap_or_else(|| panic!("{line}"))).collect();
        assert_eq!(read.len(), TABLE.len());
        assert!(read.len() > 1_000, "{}", read.len());
    }

    #[test]
    fn sizes_have_what_aws_documents() {
        use Architecture::{Arm64, X86_64};
        for (name, cpus, mib, architecture) in [
            ("t2.micro", 1, 1024, X86_64),
            ("t3.small", 2, 2048, X86_64),
            ("t3.medium", 2, 4096, X86_64),
            ("t4g.nano", 2, 512, Arm64),
            ("m6g.medium", 1, 4096, Arm64),
            ("m7i-flex.2xlarge", 8, 32 * 1024, X86_64),
            ("c5.9xlarge", 36, 72 * 1024, X86_64),
            ("c5n.18xlarge", 72, 192 * 1024, X86_64),
            ("c4.8xlarge", 36, 60 * 1024, X86_64),
            ("r8g.48xlarge", 192, 1536 * 1024, Arm64),
            ("i3.large", 2, 15_616, X86_64),
            ("x2iedn.32xlarge", 128, 4096 * 1024, X86_64),
        ] {
            let size: InstanceSize = name.parse().unwrap();
            assert_eq!(size.resources(), Resources { memory_bytes: mib * MIB, cpus }, "{name}");
            assert_eq!(size.architecture(), architecture, "{name}");
        }
    }

    #[test]
    fn the_next_larger_size_has_more_memory_is_of_the_same_family_and_may_be_had() {
        let next = |name: &str, allowed: &dyn Fn(&str) -> bool| {
            name.parse::<InstanceSize>().unwrap().next_larger(allowed).map(String::from)
        };
        assert_eq!(next("t3.medium", &|_| true).as_deref(), Some("t3.large"));
        assert_eq!(next("t3.medium", &|name| name != "t3.large").as_deref(), Some("t3.xlarge"));
        assert_eq!(next("m7i-flex.large", &|_| true).as_deref(), Some("m7i-flex.xlarge"));
        assert_eq!(next("t3.2xlarge", &|_| true), None);
        assert_eq!(next("t3.medium", &|name| name.starts_with("m7i.")), None);
    }

    #[test]
    fn a_misspelt_size_names_the_nearest_one() {
        let error = "t3.mediun".parse::<InstanceSize>().unwrap_err();
        assert_eq!(error.to_string(), "\"t3.mediun\" is not an instance type; did you mean t3.medium?");
        assert_eq!("a-very-large-one".parse::<InstanceSize>().unwrap_err().nearest, None);
    }
}
