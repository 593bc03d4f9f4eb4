//! Executions that went a size up because an attempt ran out of memory.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Execution;
use crate::id::AttemptNumber;
use crate::workflow::{Compute, InstanceSize, JobSpec};

/// That an execution went a size up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enlarged {
    /// The attempt that ran out of memory; those after it want the new size.
    pub after: AttemptNumber,
    /// The new size.
    pub to: InstanceSize,
}

impl Execution {
    /// The size that its next attempt wants: the one that was asked for, until it went up.
    pub fn size(&self) -> &str {
        self.enlarged.last().map_or(&self.instance_size, |enlarged| enlarged.to.as_str())
    }

    /// The size that one of its attempts wanted.
    pub fn size_of(&self, attempt: AttemptNumber) -> &str {
        let before = self.enlarged.iter().rev().find(|enlarged| enlarged.after < attempt);
        before.map_or(&self.instance_size, |enlarged| enlarged.to.as_str())
    }

    /// The job with what the size of its next attempt has.
    pub(super) fn sized_job(&self) -> Arc<JobSpec> {
        match self.enlarged.last() {
            None => Arc::clone(&self.job),
            Some(enlarged) => {
                Arc::new(JobSpec { resources: enlarged.to.resources(), ..JobSpec::clone(&self.job) })
            }
        }
    }

    /// How the machine of its next attempt is chosen, but for the size itself. What it would fall back to has as much
    /// memory at least: with less it would only fail again.
    pub fn sized_compute(&self) -> Compute {
        let mut compute = self.compute.clone();
        if let Some(enlarged) = self.enlarged.last() {
            let needed = enlarged.to.resources().memory_bytes;
            let will_do =
                |size: &InstanceSize| *size != enlarged.to && size.resources().memory_bytes >= needed;
            compute.fallback_instance_sizes.retain(will_do);
        }
        compute
    }
}
