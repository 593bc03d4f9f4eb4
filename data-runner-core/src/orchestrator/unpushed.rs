//! Folders that people run without pushing them.

use super::{Orchestrator, Turn};
use crate::event::{Answer, Rejection};
use crate::id::{RepoName, WorkflowId};
use crate::workflow::{FolderFound, Presence, Repo, RepoKind, Workflow};

impl Orchestrator {
    /// Keeps the definition of such a folder, so that executions have a workflow of their own: what they do must not
    /// count for the workflow of the same name that is in a repository.
    pub(super) fn unpushed(&mut self, folder: FolderFound, turn: &mut Turn<'_>) -> Result<Answer, Rejection> {
        let Ok(repo) = Repo::UNPUSHED.parse::<RepoName>() else { return Err(Rejection::NameTaken) };
        match self.repos.get(&repo).map(|repo| repo.kind()) {
            Some(RepoKind::Unpushed) => {}
            Some(RepoKind::Git | RepoKind::Folder) => return Err(Rejection::NameTaken),
            None => self.put_repo(Repo::unpushed(repo.clone()), turn),
        }
        let at = turn.now.wall;
        let known = self.workflows.values().find(|known| known.repo == repo && known.name == folder.name);
        let workflow = match known {
            Some(known) => Workflow {
                path: folder.path,
                presence: Presence::Present,
                definition: folder.definition,
                updated_at: at,
                ..Workflow::clone(known)
            },
            None => Workflow {
                id: WorkflowId::generate(at, turn.entropy),
                repo,
                name: folder.name,
                path: folder.path,
                presence: Presence::Present,
                definition: folder.definition,
                paused_at: None,
                failing_since: None,
                spent: Default::default(),
                created_at: at,
                updated_at: at,
            },
        };
        turn.record_workflow(&workflow, format!("{} was sent here", workflow.qualified_name()));
        self.put_workflow(workflow.clone(), turn);
        Ok(Answer::Workflow(Box::new(workflow)))
    }
}
