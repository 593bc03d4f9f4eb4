//! Workers as REST shows them.

use data_runner_core::cost::Cost as CoreCost;
use data_runner_core::id::{ExecutionId, WorkerId, WorkflowId};
use data_runner_core::worker::{
    self as core, Candidate, Origin, Purpose, TerminationCause, WorkerState, WorkerStateName,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Cost, HourlyPrice, moment};

/// A worker: one machine, or one agent process of the supervisor's machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Worker {
    /// Its id.
    #[schema(value_type = uuid::Uuid)]
    pub id: WorkerId,
    /// Where it stands.
    #[schema(schema_with = super::schema::worker_state)]
    pub state: WorkerStateName,
    /// Who started it: `provisioned` by us, or `joined` by a person.
    #[schema(value_type = String)]
    pub origin: Origin,
    /// The workflow that it is kept for; null: any.
    #[schema(value_type = Option<uuid::Uuid>)]
    pub workflow_id: Option<WorkflowId>,
    /// The instance size that it was started for; null: no particular one.
    pub instance_size: Option<String>,
    /// The provisioner's name for its machine, once there is one.
    pub machine_id: Option<String>,
    /// What was launched, for people: type, zone, market.
    pub machine: Option<String>,
    /// The type of its machine, once one was launched.
    pub instance_type: Option<String>,
    /// The availability zone of its machine, where there are any.
    pub zone: Option<String>,
    /// How its machine is bought: `on-demand` or `spot`.
    pub market: Option<String>,
    /// The price of its machine for an hour, where one is known.
    pub price_per_hour: Option<HourlyPrice>,
    /// When its machine was launched.
    pub launched_at: Option<Timestamp>,
    /// What its machine has cost until now, in US dollars, where that is known.
    pub cost_usd: Option<f64>,
    /// The same by what the money was for.
    pub cost: Option<Cost>,
    /// The worker types that its agent can run; empty until it has connected.
    pub worker_types: Vec<String>,
    /// How many attempts it runs at one time.
    pub slots: u32,
    /// Processors of its machine, once its agent has connected.
    pub cpus: Option<u32>,
    /// Memory of its machine in bytes, once its agent has connected.
    pub memory_bytes: Option<u64>,
    /// Its machine's name, once its agent has connected.
    pub host: Option<String>,
    /// Its agent's version, once it has connected.
    pub version: Option<String>,
    /// The executions that it has.
    #[schema(value_type = Vec<uuid::Uuid>)]
    pub executions: Vec<ExecutionId>,
    /// When the intent to have it was recorded.
    pub created_at: Timestamp,
    /// When it was proved gone.
    pub terminated_at: Option<Timestamp>,
    /// Why it goes or went.
    pub reason: Option<String>,
}

impl From<&core::Worker> for Worker {
    fn from(worker: &core::Worker) -> Self {
        let facts = worker.facts.as_ref();
        let launched = worker.launched.as_ref();
        let (workflow_id, instance_size) = match &worker.purpose {
            Purpose::Any => (None, None),
            Purpose::Workflow { workflow, request, .. } => {
                (Some(*workflow), Some(request.instance_size.clone()))
            }
        };
        Self {
            id: worker.id,
            state: worker.state.name(),
            origin: worker.origin,
            workflow_id,
            instance_size,
            machine_id: worker.state.machine().or(launched.map(|it| &it.machine)).map(ToString::to_string),
            machine: candidate(&worker.state).map(|candidate| candidate.label.clone()),
            instance_type: launched.map(|it| it.instance_type.clone()),
            zone: launched.and_then(|it| it.zone.clone()),
            market: launched.map(|it| it.market.as_str().to_owned()),
            price_per_hour: launched.and_then(|it| it.price).map(HourlyPrice::from),
            launched_at: launched.map(|it| moment(it.at)),
            cost_usd: None,
            cost: None,
            worker_types: facts
                .map_or_else(Vec::new, |it| it.worker_types.iter().map(ToString::to_string).collect()),
            slots: worker.slots,
            cpus: facts.map(|it| it.cpus),
            memory_bytes: facts.map(|it| it.memory_bytes),
            host: facts.map(|it| it.host.clone()),
            version: facts.map(|it| it.version.clone()),
            executions: worker.state.attempts().map(|(attempt, _)| attempt.execution).collect(),
            created_at: moment(worker.created_at),
            terminated_at: match &worker.state {
                WorkerState::Terminated { at, .. } => Some(moment(*at)),
                WorkerState::Planning { .. }
                | WorkerState::Launching { .. }
                | WorkerState::Booting { .. }
                | WorkerState::Idle { .. }
                | WorkerState::Busy { .. }
                | WorkerState::Draining { .. }
                | WorkerState::Terminating { .. } => None,
            },
            reason: cause(&worker.state).map(reason),
        }
    }
}

impl Worker {
    /// With what its machine has cost.
    pub(crate) fn with_cost(worker: &core::Worker, cost: Option<CoreCost>) -> Self {
        let (cost_usd, cost) = (cost.map(|cost| cost.total().usd()), cost.map(Cost::from));
        Self { cost_usd, cost, ..Self::from(worker) }
    }
}

fn candidate(state: &WorkerState) -> Option<&Candidate> {
    match state {
        WorkerState::Launching { candidate, .. } | WorkerState::Booting { candidate, .. } => Some(candidate),
        WorkerState::Idle { candidate, .. } | WorkerState::Busy { candidate, .. } => candidate.as_ref(),
        WorkerState::Planning { .. }
        | WorkerState::Draining { .. }
        | WorkerState::Terminating { .. }
        | WorkerState::Terminated { .. } => None,
    }
}

fn cause(state: &WorkerState) -> Option<&TerminationCause> {
    match state {
        WorkerState::Draining { cause, .. }
        | WorkerState::Terminating { cause, .. }
        | WorkerState::Terminated { cause, .. } => Some(cause),
        WorkerState::Planning { .. }
        | WorkerState::Launching { .. }
        | WorkerState::Booting { .. }
        | WorkerState::Idle { .. }
        | WorkerState::Busy { .. } => None,
    }
}

fn reason(cause: &TerminationCause) -> String {
    match cause {
        TerminationCause::Idle => "it was idle".to_owned(),
        TerminationCause::Operator => "an operator asked for it".to_owned(),
        TerminationCause::Lost => "its agent was not heard of for too long".to_owned(),
        TerminationCause::NeverJoined { .. } => "its agent never connected".to_owned(),
        TerminationCause::MachineGone { reason, .. } => format!("its machine is gone: {reason}"),
        TerminationCause::LaunchFailed { message } => format!("it could not be launched: {message}"),
        TerminationCause::Left => "its agent ended with nothing left to do".to_owned(),
        TerminationCause::Shutdown => "the supervisor shuts down".to_owned(),
        TerminationCause::Deadline => "its time was over".to_owned(),
        TerminationCause::Unwanted => "nobody wanted it any more".to_owned(),
    }
}
