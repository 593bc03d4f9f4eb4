//! The machine that an execution asks for. Executions get it, and people are shown what it would cost.

use super::policy::{Policy, Pool};
use crate::execution::{Execution, FailureCause};
use crate::id::AttemptNumber;
use crate::time::Timestamp;
use crate::worker::MachineRequest;
use crate::workflow::{Compute, Spot};

impl Policy {
    /// The machine on which an execution would run now; `None` where nobody starts machines.
    pub fn machine_for(&self, execution: &Execution, now: Timestamp) -> Option<MachineRequest> {
        match self.pool {
            Pool::None => None,
            Pool::Shared { slots, .. } => Some(Self::shared_machine(slots)),
            Pool::PerExecution { .. } => Some(self.own_machine(execution, now)),
        }
    }

    /// A machine for anybody's executions.
    pub(super) fn shared_machine(slots: u32) -> MachineRequest {
        MachineRequest::plain("local", None, slots)
    }

    /// The machine that an execution wants for itself now.
    pub(super) fn own_machine(&self, execution: &Execution, now: Timestamp) -> MachineRequest {
        let number = execution.latest_attempt().map_or(AttemptNumber::FIRST, |latest| latest.number.next());
        let mut tags = execution.labels.clone();
        let ours = [
            ("workflow", execution.workflow().to_string()),
            ("execution", execution.id.to_string()),
            ("attempt", number.to_string()),
        ];
        tags.extend(ours.into_iter().map(|(key, value)| (format!("data-runner:{key}"), value)));
        let worker_type = Some(execution.job.worker_type.clone());
        MachineRequest {
            compute: wanted_compute(execution),
            tags,
            deadline: Some(now.after(self.life_of_machine(execution))),
            code: Some(execution.job.bundle.clone()),
            ..MachineRequest::plain(execution.size(), worker_type, 1)
        }
    }
}

/// How the machine of an execution's next attempt is chosen. Where spot is only preferred, an execution that was
/// interrupted goes on demand from then on: the same capacity that was taken away once is the likeliest to be taken
/// again, and a job that starts over each time never ends.
pub(super) fn wanted_compute(execution: &Execution) -> Compute {
    let interrupted = execution.failures_by(FailureCause::Interrupted) > 0;
    let spot = match execution.compute.spot {
        Spot::Prefer if interrupted => Spot::Never,
        spot @ (Spot::Never | Spot::Prefer | Spot::Only) => spot,
    };
    Compute { spot, ..execution.sized_compute() }
}
