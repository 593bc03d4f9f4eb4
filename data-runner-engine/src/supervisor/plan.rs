//! What a run would get, and what that would cost: asked of the provisioner, and nothing is launched.

use std::sync::Arc;
use std::time::Duration;

use data_runner_core::event::Submit;
use data_runner_core::execution::{Queueing, StateName, Trigger, Waiting, WaitingReason};
use data_runner_core::id::{ExecutionId, Sha256};
use data_runner_core::port::ExecutionQuery;
use data_runner_core::worker::{Candidate, MachineRequest};
use data_runner_core::workflow::{BundleRef, prepare_job};
use uuid::Uuid;

use super::preparation::{Defined, Preparation, sized};
use super::request::{MachinePlan, Order, PastRuns, RequestError};

/// From how many past runs their usual time is taken.
const PAST: u32 = 50;

impl Preparation<'_> {
    /// The machines that a run of the workflow would be given now, the best first.
    pub(super) async fn plan(&self, given: &str, order: &Order) -> Result<MachinePlan, RequestError> {
        let workflow = self.current(given, order.reference.as_deref()).await?;
        let Defined { revision, mut config } = self.defined(&workflow, order.reference.as_deref()).await?;
        sized(&mut config, order)?;
        // As it would be submitted now, but for its code, parameters and place in line, which no machine is chosen by.
        let no_code = BundleRef { hash: Sha256::of(b""), bytes: 0 };
        let job = prepare_job(&workflow, &revision, &config, no_code, Default::default());
        let timeout = job.timeout;
        let submit = Submit {
            workflow: workflow.id,
            job: Arc::new(job),
            labels: config.labels,
            instance_size: config.instance_size.to_string(),
            retries: config.retries,
            keep_warm: config.keep_warm,
            compute: config.compute,
            notifications: Vec::new(),
            late_after: None,
            budget: None,
            queueing: Queueing::default(),
            trigger: Trigger::Manual,
            dates: None,
            group: None,
            retry_of: None,
            idempotency: None,
        };
        let now = self.shared.clock.now().wall;
        let waiting = Waiting { reason: WaitingReason::Worker, since: now };
        let execution = submit.into_execution(ExecutionId::from_uuid(Uuid::nil()), waiting);
        let request = self.shared.policy.machine_for(&execution, now);
        let candidates = match request {
            Some(request) => self.candidates(MachineRequest { code: None, ..request }).await?,
            None => Vec::new(),
        };
        let past = self.past_runs(&execution.workflow_id).await?;
        Ok(MachinePlan {
            workflow,
            revision,
            instance_size: execution.instance_size,
            worker_type: config.worker_type,
            timeout,
            past,
            candidates,
        })
    }

    async fn candidates(&self, request: MachineRequest) -> Result<Vec<Candidate>, RequestError> {
        match &self.shared.provisioner {
            Some(provisioner) => Ok(provisioner.plan(request).await?),
            None => Ok(Vec::new()),
        }
    }

    /// How long the newest runs that went well took.
    pub(super) async fn past_runs(
        &self,
        workflow: &data_runner_core::id::WorkflowId,
    ) -> Result<Option<PastRuns>, RequestError> {
        let query = ExecutionQuery {
            states: vec![StateName::Success],
            workflow: Some(*workflow),
            limit: PAST,
            ..ExecutionQuery::default()
        };
        let runs = self.shared.catalog.executions(query).await?;
        let mut times: Vec<Duration> =
            runs.iter().filter_map(|run| Some(run.state.finished_at()?.since(run.started_at()?))).collect();
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied();
        Ok(median.map(|median| PastRuns { count: times.len(), median }))
    }
}
