//! What a sync of a repository means for the workflows that are known.

use std::collections::BTreeMap;

use super::{DefinitionState, Presence, Workflow};
use crate::cost::MonthSpent;
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
                failing_since: None,
                spent: MonthSpent::default(),
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
            changed.push(Workflow { updated_at: at, ..now });
        }
    }
    for gone in known.into_values() {
        match gone.presence {
            Presence::Present => {
                changed.push(Workflow { presence: Presence::Removed { at }, updated_at: at, ..gone.clone() })
            }
            Presence::Removed { .. } | Presence::Deleted { .. } => {}
        }
    }
    SyncReport { changed }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::id::Revision;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn folder(name: &str, revision: char) -> FolderFound {
        let revision: Revision = revision.to_string().repeat(40).parse().unwrap();
        FolderFound {
            name: name.parse().unwrap(),
            path: format!("workflows/{name}"),
            definition: DefinitionState::Broken { revision, problems: Vec::new() },
        }
    }

    /// What is known, as it changes from sync to sync.
    #[derive(Default)]
    struct Registry(BTreeMap<WorkflowId, Workflow>);

    impl Registry {
        /// Syncs, and tells the names of what changed.
        fn sync(&mut self, seconds: i64, found: &[FolderFound], revive: &[&str]) -> Vec<String> {
            let repo = "etl".parse().unwrap();
            let mut entropy = Entropy::from_number(u64::try_from(seconds).unwrap());
            let revive = |path: &str| revive.contains(&path);
            let report = sync(&repo, self.0.values(), found, revive, at(seconds), &mut entropy);
            let names = report.changed.iter().map(|workflow| workflow.name.to_string()).collect();
            for workflow in report.changed {
                assert_eq!(workflow.updated_at, at(seconds));
                self.0.insert(workflow.id, workflow);
            }
            names
        }

        fn get(&self, name: &str) -> &Workflow {
            self.0.values().find(|workflow| workflow.name.as_str() == name).unwrap()
        }

        fn delete(&mut self, name: &str, seconds: i64) {
            let workflow = self.0.values_mut().find(|workflow| workflow.name.as_str() == name).unwrap();
            workflow.presence = Presence::Deleted { at: at(seconds) };
        }
    }

    #[test]
    fn a_new_folder_makes_a_workflow_and_the_same_folder_changes_nothing() {
        let mut registry = Registry::default();
        assert_eq!(registry.sync(1, &[folder("a", '1'), folder("b", '1')], &[]), ["a", "b"]);
        assert_eq!(registry.get("a").qualified_name().to_string(), "etl/a");
        assert_eq!(registry.get("a").presence, Presence::Present);
        assert_eq!(registry.get("a").created_at, at(1));
        assert_ne!(registry.get("a").id, registry.get("b").id);
        assert_eq!(registry.sync(2, &[folder("a", '1'), folder("b", '1')], &[]), [""; 0]);
    }

    #[test]
    fn a_changed_definition_changes_its_workflow_alone() {
        let mut registry = Registry::default();
        registry.sync(1, &[folder("a", '1'), folder("b", '1')], &[]);
        let before = registry.get("a").clone();
        assert_eq!(registry.sync(2, &[folder("a", '2'), folder("b", '1')], &[]), ["a"]);
        let after = registry.get("a");
        assert_eq!((after.id, after.created_at), (before.id, before.created_at));
        assert_ne!(after.definition, before.definition);
    }

    #[test]
    fn a_folder_that_moves_keeps_its_workflow() {
        let mut registry = Registry::default();
        registry.sync(1, &[folder("a", '1')], &[]);
        let id = registry.get("a").id;
        let moved = FolderFound { path: "workflows/team/a".to_owned(), ..folder("a", '1') };
        assert_eq!(registry.sync(2, &[moved], &[]), ["a"]);
        assert_eq!((registry.get("a").id, registry.get("a").path.as_str()), (id, "workflows/team/a"));
    }

    #[test]
    fn a_folder_that_went_away_disables_its_workflow_once_and_brings_it_back_under_its_id() {
        let mut registry = Registry::default();
        registry.sync(1, &[folder("a", '1')], &[]);
        let id = registry.get("a").id;
        assert_eq!(registry.sync(2, &[], &[]), ["a"]);
        assert_eq!(registry.get("a").presence, Presence::Removed { at: at(2) });
        assert_eq!(registry.sync(3, &[], &[]), [""; 0], "it is gone already");
        assert_eq!(registry.get("a").presence, Presence::Removed { at: at(2) });
        assert_eq!(registry.sync(4, &[folder("a", '1')], &[]), ["a"]);
        assert_eq!((registry.get("a").presence, registry.get("a").id), (Presence::Present, id));
    }

    #[test]
    fn what_a_person_deleted_stays_deleted_until_it_is_registered_again() {
        let mut registry = Registry::default();
        registry.sync(1, &[folder("a", '1')], &[]);
        let id = registry.get("a").id;
        registry.delete("a", 2);
        assert_eq!(registry.sync(3, &[folder("a", '1')], &[]), [""; 0]);
        registry.sync(4, &[folder("a", '2')], &["workflows/other"]);
        assert_eq!(registry.get("a").presence, Presence::Deleted { at: at(2) }, "news do not bring it back");
        assert_eq!(registry.sync(5, &[], &[]), [""; 0], "nor does its folder's end change it");
        assert_eq!(registry.sync(6, &[folder("a", '2')], &["workflows/a"]), ["a"]);
        assert_eq!((registry.get("a").presence, registry.get("a").id), (Presence::Present, id));
    }

    #[test]
    fn a_sync_keeps_what_a_person_paused() {
        let mut registry = Registry::default();
        registry.sync(1, &[folder("a", '1')], &[]);
        let id = registry.get("a").id;
        if let Some(workflow) = registry.0.get_mut(&id) {
            workflow.paused_at = Some(at(2));
        }
        registry.sync(3, &[folder("a", '2')], &[]);
        assert_eq!(registry.get("a").paused_at, Some(at(2)));
    }
}
