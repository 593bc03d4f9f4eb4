//! Which size a workflow should have, by what its runs used.

use data_runner_core::advice::{Advice, Question, advise};
use data_runner_core::execution::StateName;
use data_runner_core::port::ExecutionQuery;

use super::preparation::Preparation;
use super::request::RequestError;

/// How many executions are looked at: enough for the attempts that count, also where many failed for other reasons.
const EXECUTIONS: u32 = 50;

impl Preparation<'_> {
    pub(super) async fn advise(&self, given: &str) -> Result<Advice, RequestError> {
        let workflow = self.current(given, None).await?;
        let defined = self.defined(&workflow, None).await?;
        let query = ExecutionQuery {
            states: vec![StateName::Success, StateName::Failed],
            workflow: Some(workflow.id),
            limit: EXECUTIONS,
            ..ExecutionQuery::default()
        };
        let executions = self.shared.catalog.executions(query).await?;
        let policy = &self.shared.policy;
        Ok(advise(&Question {
            size: &defined.config.instance_size,
            executions: &executions,
            allowed: &policy.allowed_sizes,
            region: policy.region.as_deref(),
            now: self.shared.clock.now().wall,
        }))
    }
}
