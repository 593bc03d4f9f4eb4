//! What a sync of a repository means for the workflows that are known.

use std::collections::BTreeMap;

use super::{DefinitionState, Presence, Workflow};
use crate::id::{RepoName, WorkflowId, WorkflowName};
use crate::time::{Entropy, Timestamp};

/// A workflow's folder as a sync found it.
#[derive(Debug, Clone, PartialEq)]
pub struct FolderFound {
    /// The workflow's name.
    pub name: WorkflowName,
    /// Its path in the repository.
    pub path: String,
    /// What its configuration says.
    pub definition: DefinitionState,
}

/// What a sync changed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SyncReport {
    /// Every workflow that is new or has changed, as it is now.
    pub changed: Vec<Workflow>,
}

/// Compares what a sync found with what is known of the same repository.
///
/// A folder that is new makes a workflow; one that went away leaves its workflow `Removed`; one that came back makes it
/// `Present` again under its old id. A `Deleted` workflow stays deleted unless `revive` names its folder.
pub fn sync<'a>(
    repo: &RepoName,
    known: impl IntoIterator<Item = &'a Workflow>,
    found: &[FolderFound],
    revive: impl Fn(&str) -> bool,
    at: Timestamp,
    entropy: &mut Entropy,
) -> SyncReport {
    let mut known: BTreeMap<&WorkflowName, &Workflow> = known.into_iter().map(|w| (&w.name, w)).collect();
    let mut changed = Vec::new();
    for folder in found {
        let Some(before) = known.remove(&folder.name) else {
            changed.push(Workflow {
                id: WorkflowId::generate(at, entropy),
                repo: repo.clone(),
                name: folder.name.clone(),
                path: folder.path.clone(),
                presence: Presence::Present,
                definition: folder.definition.clone(),
                paused_at: None,
                created_at: at,
                updated_at: at,
            });
            continue;
        };
        let presence = match before.presence {
            Presence::Deleted { .. } if !revive(&folder.path) => before.presence,
            Presence::Present | Presence::Removed { .. } | Presence::Deleted { .. } => Presence::Present,
        };
        let now = Workflow {
            path: folder.path.clone(),
            presence,
            definition: folder.definition.clone(),
            ..before.clone()
        };
        if now != *before {
            changed.push(Workflow {
                updated_at: at,
                ..now
            });
        }
    }
    for gone in known.into_values() {
        match gone.presence {
            Presence::Present => changed.push(Workflow {
                presence: Presence::Removed { at },
                updated_at: at,
                ..gone.clone()
            }),
            Presence::Removed { .. } | Presence::Deleted { .. } => {}
        }
    }
    SyncReport { changed }
}
