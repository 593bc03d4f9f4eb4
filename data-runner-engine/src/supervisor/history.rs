//! What workflows were, and what changed.

use data_runner_core::execution::Execution;
use data_runner_core::id::Revision;
use data_runner_core::port::{SourceError, Version, WorkflowSource};
use data_runner_core::workflow::{DefinitionState, Workflow};

use super::Shared;
use super::request::RequestError;

/// What is different in the code of a workflow between two revisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeDiff {
    /// The earlier one, as it was asked for.
    pub from: Revision,
    /// The later one.
    pub to: Revision,
    /// A unified diff; empty if nothing of the workflow is different.
    pub text: String,
}

impl Shared {
    /// The revisions that changed a workflow or what it includes, the newest first.
    pub(super) async fn history(
        &self,
        workflow: &Workflow,
        reference: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Version>, RequestError> {
        let source = self.source(&workflow.repo)?;
        let revision = match reference {
            Some(reference) => source.resolve(reference).await?,
            None => self.head(workflow, &*source).await?,
        };
        Ok(source.history(&revision, &paths(workflow), limit).await?)
    }

    /// What is different from one revision to another; by default to the newest that was synced, from the last one
    /// before it that changed the workflow.
    pub(super) async fn code_diff(
        &self,
        workflow: &Workflow,
        from: Option<&str>,
        to: Option<&str>,
    ) -> Result<CodeDiff, RequestError> {
        let source = self.source(&workflow.repo)?;
        let paths = paths(workflow);
        let to = match to {
            Some(reference) => source.resolve(reference).await?,
            None => self.head(workflow, &*source).await?,
        };
        let from = match from {
            Some(reference) => source.resolve(reference).await?,
            None => {
                let last = source.history(&to, &paths, 2).await?;
                last.into_iter().nth(1).map_or_else(|| to.clone(), |version| version.revision)
            }
        };
        let text = source.diff(&from, &to, &paths).await?;
        Ok(CodeDiff { from, to, text })
    }

    /// What is different in the code of two executions of one workflow. `None`: it cannot be told any more.
    pub(super) async fn executions_diff(
        &self,
        workflow: &Workflow,
        from: &Execution,
        to: &Execution,
    ) -> Result<Option<String>, RequestError> {
        if from.job.bundle == to.job.bundle {
            return Ok(Some(String::new()));
        }
        if workflow.is_unpushed() {
            return Ok(None);
        }
        let source = self.source(&workflow.repo)?;
        match source.diff(&from.job.revision, &to.job.revision, &paths(workflow)).await {
            Ok(text) => Ok(Some(text)),
            Err(SourceError::Gone(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The `config.yaml` that an execution runs by, as it is at its revision. `None`: it cannot be had any more.
    pub(super) async fn definition(
        &self,
        workflow: &Workflow,
        execution: &Execution,
    ) -> Result<Option<String>, RequestError> {
        if workflow.is_unpushed() {
            return Ok(None);
        }
        let source = self.source(&workflow.repo)?;
        match source.read(&execution.job.revision, &format!("{}/config.yaml", workflow.path)).await {
            Ok(text) => Ok(Some(String::from_utf8_lossy(&text).into_owned())),
            Err(SourceError::Gone(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The newest revision that was synced.
    async fn head(&self, workflow: &Workflow, source: &dyn WorkflowSource) -> Result<Revision, RequestError> {
        let repo = self.repo(&workflow.repo);
        let repo = repo.ok_or_else(|| RequestError::NoSuchRepo(workflow.repo.to_string()))?;
        match &repo.head {
            Some(head) => Ok(head.clone()),
            None => Ok(source.resolve(&repo.reference).await?),
        }
    }
}

/// The workflow's folder, and what it includes now.
fn paths(workflow: &Workflow) -> Vec<String> {
    let includes = match &workflow.definition {
        DefinitionState::Valid(definition) => definition.config.include.as_slice(),
        DefinitionState::Broken { .. } => &[],
    };
    std::iter::once(&workflow.path).chain(includes).cloned().collect()
}
