//! Repositories: registering them, looking at them, reading what they hold.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use data_runner_core::event::{Answer, Event, Request, Synced};
use data_runner_core::id::{RepoName, Revision, Sha256};
use data_runner_core::port::{BlobError, SourceError, WorkflowFolder, WorkflowSource};
use data_runner_core::workflow::config::{self, NeedsOf, Problem, Severity};
use data_runner_core::workflow::{
    Definition, DefinitionState, FolderFound, Presence, Repo, RepoKind, Workflow,
};

use super::handle::unexpected;
use super::preparation::invalid;
use super::request::{Registered, Registration, RequestError, SyncOutcome};
use super::{Shared, Stage};
use crate::chain::chain;

/// How long a caller of `sync` waits for the commit of what was found.
const SYNC_COMMIT: Duration = Duration::from_secs(10);

pub(crate) struct Repos<'a> {
    pub(super) shared: &'a Shared,
}

impl Repos<'_> {
    pub(super) async fn register(&self, mut registration: Registration) -> Result<Registered, RequestError> {
        let path = registration.path.take();
        registration.path =
            path.map(|path| path.trim_matches('/').to_owned()).filter(|path| !path.is_empty());
        let asked = registration.path.clone();
        let repo = self.repo_of(registration)?;
        let source = self.shared.opener.open(&repo)?;
        let revision = source.resolve(&repo.reference).await?;
        let folders = self.read_all(&repo.name, &*source, &revision).await?;
        let mut wanted = repo.only.iter().chain(&asked);
        if let Some(missing) = wanted.find(|wanted| !folders.iter().any(|f| f.path == **wanted)) {
            return Err(SourceError::NoSuchPath { path: missing.clone(), revision }.into());
        }
        if folders.is_empty() {
            let message = "there is no folder with a config.yaml below workflows/".to_owned();
            return Err(SourceError::Refused { path: repo.url.clone(), message }.into());
        }
        let name = repo.name.clone();
        self.shared.keep_source(&repo, source);
        match self.shared.ask(Request::Register { repo, synced: Synced { revision, folders } }).await {
            Ok(Answer::Workflows(workflows)) => Ok(registered(&name, workflows)),
            other => unexpected(other),
        }
    }

    /// The repository that a registration means: the one that has this URL already (and this name, if it gives one:
    /// a URL may be registered under several), or a new one.
    fn repo_of(&self, registration: Registration) -> Result<Repo, RequestError> {
        let Registration { url, name, reference, path } = registration;
        let published = self.shared.published.borrow().clone();
        let named = |repo: &Repo| name.as_deref().is_none_or(|name| repo.name.as_str() == name);
        let known = published.repos.values().find(|repo| repo.url == url && named(repo));
        let name = match (name, known) {
            (Some(name), _) => RepoName::try_from(name).map_err(|error| invalid("name", &error))?,
            (None, Some(known)) => known.name.clone(),
            (None, None) => {
                name_from(&url, |name| published.repos.contains_key(name) || name.as_str() == Repo::UNPUSHED)?
            }
        };
        if name.as_str() == Repo::UNPUSHED {
            let error = std::io::Error::other("`unpushed` is the name of what is run without pushing it");
            return Err(invalid("name", &error));
        }
        let only = match (path, known) {
            (None, _) => Vec::new(),
            (Some(path), Some(known)) if known.only.is_empty() && known.head.is_some() => {
                // All of it is registered already; naming one folder takes nothing away.
                drop(path);
                Vec::new()
            }
            (Some(path), known) => {
                let mut only = known.map(|known| known.only.clone()).unwrap_or_default();
                if !only.contains(&path) {
                    only.push(path);
                }
                only
            }
        };
        let reference = reference.or_else(|| known.map(|known| known.reference.clone()));
        let reference = reference.unwrap_or_else(|| "HEAD".to_owned());
        Ok(Repo { name, url, reference, only, head: None, synced_at: None, error: None })
    }

    pub(super) async fn sync(&self, name: Option<&str>) -> Result<Vec<SyncOutcome>, RequestError> {
        let repos = Arc::clone(&self.shared.published.borrow().repos);
        let wanted: Vec<Arc<Repo>> = repos
            .values()
            .filter(|repo| repo.kind() != RepoKind::Unpushed)
            .filter(|repo| name.is_none_or(|name| repo.name.as_str() == name))
            .cloned()
            .collect();
        if let (Some(name), true) = (name, wanted.is_empty()) {
            return Err(RequestError::NoSuchRepo(name.to_owned()));
        }
        let mut outcomes = Vec::new();
        for repo in wanted {
            let result = match self.look(&repo).await {
                Look::Same(revision) => Ok(revision),
                Look::News(synced) => {
                    let revision = synced.revision.clone();
                    self.shared.report(Event::Synced { repo: repo.name.clone(), result: Ok(synced) });
                    self.committed(&repo.name, &revision).await;
                    Ok(revision)
                }
                Look::Failed(message) => {
                    let result = Err(message.clone());
                    self.shared.report(Event::Synced { repo: repo.name.clone(), result });
                    Err(message)
                }
            };
            outcomes.push(SyncOutcome { repo: repo.name.clone(), result });
        }
        Ok(outcomes)
    }

    /// Waits until everybody can read what a sync found.
    async fn committed(&self, name: &RepoName, revision: &Revision) {
        let mut published = self.shared.published.subscribe();
        let seen = published.wait_for(|published| {
            published.stage == Stage::Ended
                || published.repos.get(name).is_none_or(|repo| repo.head.as_ref() == Some(revision))
        });
        if tokio::time::timeout(SYNC_COMMIT, seen).await.is_err() {
            tracing::warn!(repo = %name, "what a sync found is not committed yet");
        }
    }

    /// Looks at one repository.
    pub(super) async fn look(&self, repo: &Repo) -> Look {
        match self.look_closely(repo).await {
            Ok(look) => look,
            Err(error) => Look::Failed(chain(&error)),
        }
    }

    async fn look_closely(&self, repo: &Repo) -> Result<Look, RequestError> {
        let source = self.shared.source(&repo.name)?;
        let revision = source.resolve(&repo.reference).await?;
        if repo.head.as_ref() == Some(&revision) && repo.error.is_none() {
            return Ok(Look::Same(revision));
        }
        let folders = self.read_all(&repo.name, &*source, &revision).await?;
        Ok(Look::News(Synced { revision, folders }))
    }

    /// Takes the archive of the folder `path` of no repository: from now on it can be run, by the revision that its
    /// definition names.
    pub(super) async fn upload(&self, path: &str, archive: Bytes) -> Result<Workflow, RequestError> {
        let source = self.shared.open_archive(archive).await?;
        let sent = source.resolve("HEAD").await?;
        let mut folder = self.read_folder(&*source, &sent, path).await?;
        let Definition { config, warnings, .. } = match folder.definition {
            DefinitionState::Valid(definition) => definition,
            DefinitionState::Broken { problems, .. } => {
                return Err(RequestError::Invalid {
                    what: format!("{} cannot be run", folder.path),
                    problems,
                });
            }
        };
        // Made anew, so that it is as trustworthy as one of a repository, and the same folder is the same revision.
        let bundle = source.fetch(&sent, &folder.path, &config.include).await?;
        let hash = self.shared.blobs.put(bundle).await?;
        let revision = revision_of(&hash)?;
        let config = config.unpushed();
        folder.definition = DefinitionState::Valid(Definition { revision, config, warnings });
        match self.shared.ask(Request::Unpushed(folder)).await {
            Ok(Answer::Workflow(workflow)) => Ok(*workflow),
            other => unexpected(other),
        }
    }

    /// All workflows of a revision; what is wrong with one does not hide the others.
    async fn read_all(
        &self,
        name: &RepoName,
        source: &dyn WorkflowSource,
        revision: &Revision,
    ) -> Result<Vec<FolderFound>, RequestError> {
        let mut found = Vec::new();
        let mut texts = Vec::new();
        for folder in source.discover(revision).await? {
            let text = folder.config.clone();
            match self.understand(source, revision, folder).await? {
                Some(folder) => {
                    found.push(folder);
                    texts.push(text);
                }
                None => continue,
            }
        }
        Ok(with_needs_checked(name, found, &texts))
    }

    /// One workflow of a revision.
    pub(super) async fn read_folder(
        &self,
        source: &dyn WorkflowSource,
        revision: &Revision,
        path: &str,
    ) -> Result<FolderFound, RequestError> {
        let folders = source.discover(revision).await?;
        let missing = || SourceError::NoSuchPath { path: path.to_owned(), revision: revision.clone() };
        let folder = folders.into_iter().find(|folder| folder.path == path).ok_or_else(missing)?;
        self.understand(source, revision, folder).await?.ok_or_else(|| missing().into())
    }

    /// Parses a folder's configuration and checks its script. `None`: its name cannot be a workflow's, which is logged;
    /// there is nothing that it could be called by.
    async fn understand(
        &self,
        source: &dyn WorkflowSource,
        revision: &Revision,
        folder: WorkflowFolder,
    ) -> Result<Option<FolderFound>, RequestError> {
        let name = folder.path.rsplit('/').next().unwrap_or_default();
        let name = match name.parse() {
            Ok(name) => name,
            Err(error) => {
                tracing::warn!(path = folder.path, %error, "a folder cannot be a workflow");
                return Ok(None);
            }
        };
        let file = format!("{}/config.yaml", folder.path);
        let context =
            config::ParseContext { files: Some(&folder.files), worker_types: &self.shared.worker_types };
        let parsed = config::parse(&file, &folder.config, &context);
        let mut problems = Vec::new();
        if let Some(config) = parsed.value()
            && let Some(worker_type) = self.shared.worker_types.get(config.worker_type.as_str())
        {
            let script = format!("{}/{}", folder.path, config.entrypoint);
            match source.read(revision, &script).await {
                Ok(text) => problems = config::check_script(&script, &text, worker_type),
                Err(SourceError::Refused { path, message }) => problems.push(Problem {
                    code: "script_refused".to_owned(),
                    severity: Severity::Error,
                    message: format!("{path}: {message}"),
                    help: None,
                    location: None,
                }),
                Err(error) => return Err(error.into()),
            }
        }
        let definition = parsed.with_problems(problems).into_definition(revision.clone());
        Ok(Some(FolderFound { name, path: folder.path, definition }))
    }
}

/// The folders with what is wrong in how they need each other. `texts` are their configurations, in the same order.
fn with_needs_checked(
    name: &RepoName,
    found: Vec<FolderFound>,
    texts: &[impl AsRef<[u8]>],
) -> Vec<FolderFound> {
    let files: Vec<String> = found.iter().map(|folder| format!("{}/config.yaml", folder.path)).collect();
    let workflows: Vec<NeedsOf<'_>> = found
        .iter()
        .zip(&files)
        .zip(texts)
        .map(|((folder, file), text)| NeedsOf {
            name: &folder.name,
            file,
            text: text.as_ref(),
            needs: folder.definition.needs(),
        })
        .collect();
    let problems = config::check_needs(Some(name), &workflows);
    let checked = |(folder, problems): (FolderFound, Vec<Problem>)| FolderFound {
        definition: folder.definition.with_problems(problems),
        ..folder
    };
    found.into_iter().zip(problems).map(checked).collect()
}

/// What a look at a repository found.
pub(super) enum Look {
    Same(Revision),
    News(Synced),
    Failed(String),
}

impl Shared {
    /// The source of a repository that is known, and the revision that `reference` means in it now.
    pub(super) async fn source_at(
        &self,
        name: &RepoName,
        reference: &str,
    ) -> Result<(Arc<dyn WorkflowSource>, Revision), RequestError> {
        let repo = self.repo(name).ok_or_else(|| RequestError::NoSuchRepo(name.to_string()))?;
        match repo.kind() {
            RepoKind::Git => {
                let source = self.source(name)?;
                let revision = source.resolve(reference).await?;
                Ok((source, revision))
            }
            RepoKind::Folder => Err(invalid("ref", &NoRevisions { folder: repo.url.clone() })),
            RepoKind::Unpushed => self.unpushed_at(reference).await,
        }
    }

    /// What was sent here and is this revision. Its bundle makes the same bundle again, so that the revision stays.
    pub(super) async fn unpushed_at(
        &self,
        reference: &str,
    ) -> Result<(Arc<dyn WorkflowSource>, Revision), RequestError> {
        let missing =
            || SourceError::NoSuchRef { url: Repo::UNPUSHED.to_owned(), reference: reference.to_owned() };
        let hash = Sha256::try_from(reference.to_owned()).map_err(|_| missing())?;
        let archive = match self.blobs.get(&hash).await {
            Err(BlobError::NotFound(_)) => return Err(missing().into()),
            other => other?,
        };
        let source = self.open_archive(archive).await?;
        let revision = source.resolve(reference).await?;
        Ok((source, revision))
    }

    /// Opens an archive where it may take its time: all of it is unpacked.
    async fn open_archive(&self, archive: Bytes) -> Result<Arc<dyn WorkflowSource>, RequestError> {
        let opener = Arc::clone(&self.opener);
        let opened = tokio::task::spawn_blocking(move || opener.open_archive(archive)).await;
        let opened = opened.unwrap_or_else(|panic| {
            Err(SourceError::Local { url: Repo::UNPUSHED.to_owned(), source: panic.into() })
        });
        Ok(opened?)
    }

    /// The source of a repository that is known.
    pub(super) fn source(&self, name: &RepoName) -> Result<Arc<dyn WorkflowSource>, RequestError> {
        let repo = self.repo(name).ok_or_else(|| RequestError::NoSuchRepo(name.to_string()))?;
        if repo.kind() == RepoKind::Unpushed {
            let message = "what is in no repository has no other revision and no history".to_owned();
            return Err(SourceError::Refused { path: name.to_string(), message }.into());
        }
        let key = (repo.name.clone(), repo.url.clone());
        if let Some(source) = self.sources.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Arc::clone(source));
        }
        let source = self.opener.open(&repo)?;
        self.keep_source(&repo, Arc::clone(&source));
        Ok(source)
    }

    fn keep_source(&self, repo: &Repo, source: Arc<dyn WorkflowSource>) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.insert((repo.name.clone(), repo.url.clone()), source);
    }

    pub(super) fn repo(&self, name: &RepoName) -> Option<Arc<Repo>> {
        self.published.borrow().repos.get(name).cloned()
    }
}

/// A folder has no other revision than the files that stand in it.
#[derive(Debug, thiserror::Error)]
#[error(
    "{folder} is a plain folder, and its files are run as they are: there is no other ref; register the repository by \
     file://{folder} to run its commits"
)]
struct NoRevisions {
    folder: String,
}

/// The revision of what is in no repository: the hash of its bundle.
fn revision_of(hash: &Sha256) -> Result<Revision, RequestError> {
    hash.as_str().parse().map_err(|error| invalid("archive", &error))
}

fn registered(name: &RepoName, workflows: Vec<Workflow>) -> Registered {
    let mut registered = Registered::default();
    for workflow in workflows {
        if workflow.repo != *name || workflow.presence != Presence::Present {
            continue;
        }
        match &workflow.definition {
            DefinitionState::Valid(_) => registered.items.push(workflow),
            DefinitionState::Broken { problems, .. } => registered.errors.extend(problems.iter().cloned()),
        }
    }
    registered
}

/// A name for a repository, after the last part of its URL; with a number if that name is taken.
fn name_from(url: &str, taken: impl Fn(&RepoName) -> bool) -> Result<RepoName, RequestError> {
    let last = url.trim_end_matches('/').trim_end_matches(".git").trim_end_matches('/');
    let last = last.rsplit(['/', ':', '\\']).next().unwrap_or_default().to_lowercase();
    let clean: String =
        last.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).take(50).collect();
    let clean = clean.trim_start_matches(['-', '_']);
    let base = if clean.is_empty() { "repo" } else { clean };
    for number in 1..1000_u32 {
        let name = if number == 1 { base.to_owned() } else { format!("{base}-{number}") };
        let name = RepoName::try_from(name).map_err(|error| invalid("name", &error))?;
        if !taken(&name) {
            return Ok(name);
        }
    }
    let error = std::io::Error::other(format!("too many repositories are called {base}; give a name"));
    Err(invalid("name", &error))
}
