//! A git repository that a test writes to, without a checkout.
#![allow(dead_code)]

pub mod served;

use std::path::{Path, PathBuf};
use std::time::Duration;

use data_runner_core::workflow::Repo;
use data_runner_git::{Access, Helper};
use data_runner_testkit::memory::workflow_source::{RepoFile, RepoFiles};
use git2::{Index, IndexEntry, IndexTime, Oid, Repository, Signature, Time};

/// The repository that others push to.
pub struct Origin {
    repository: Repository,
    path: PathBuf,
}

impl Origin {
    /// An empty bare repository in `path`.
    pub fn new(path: PathBuf) -> Self {
        let repository = Repository::init_bare(&path).unwrap();
        repository.set_head("refs/heads/main").unwrap();
        Self { repository, path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn url(&self) -> String {
        format!("file://{}", self.path.display())
    }

    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Commits `files` on top of `parent` and lets `branch` point to it.
    pub fn commit(&self, branch: &str, parent: Option<Oid>, files: &RepoFiles) -> Oid {
        let mut index = Index::new().unwrap();
        for (path, file) in files {
            let (mode, bytes) = match file {
                RepoFile::Plain(bytes) => (0o100_644, bytes.to_vec()),
                RepoFile::Executable(bytes) => (0o100_755, bytes.to_vec()),
                RepoFile::Link(target) => (0o120_000, target.clone().into_bytes()),
            };
            index.add(&entry(path, mode, self.repository.blob(&bytes).unwrap())).unwrap();
        }
        self.commit_index(branch, parent, &mut index)
    }

    pub fn commit_index(&self, branch: &str, parent: Option<Oid>, index: &mut Index) -> Oid {
        let tree = index.write_tree_to(&self.repository).unwrap();
        let tree = self.repository.find_tree(tree).unwrap();
        let parents: Vec<_> =
            parent.iter().map(|parent| self.repository.find_commit(*parent).unwrap()).collect();
        let me = Signature::new("A", "a@example.org", &Time::new(1_767_225_600, 0)).unwrap();
        let parents: Vec<_> = parents.iter().collect();
        let commit = self.repository.commit(None, &me, &me, "a change", &tree, &parents).unwrap();
        self.repository.reference(&format!("refs/heads/{branch}"), commit, true, "push").unwrap();
        commit
    }

    /// The tip of `branch`.
    pub fn tip(&self, branch: &str) -> Option<Oid> {
        self.repository.refname_to_id(&format!("refs/heads/{branch}")).ok()
    }
}

pub fn entry(path: &str, mode: u32, id: Oid) -> IndexEntry {
    IndexEntry {
        ctime: IndexTime::new(0, 0),
        mtime: IndexTime::new(0, 0),
        dev: 0,
        ino: 0,
        mode,
        uid: 0,
        gid: 0,
        file_size: 0,
        id,
        flags: 0,
        flags_extended: 0,
        path: path.as_bytes().to_vec(),
    }
}

/// One workflow whose program is `program`.
pub fn workflow(program: &str) -> RepoFiles {
    [("workflows/orders/config.yaml", "worker_type: polars"), ("workflows/orders/workflow.py", program)]
        .into_iter()
        .map(|(path, text)| (path.to_owned(), RepoFile::text(text)))
        .collect()
}

/// Nothing of the user's own configuration is used.
pub fn access() -> Access {
    Access { helper: Helper::Ignore, longest_fetch: Duration::from_secs(60), ..Access::default() }
}

pub fn repo(name: &str, url: &str) -> Repo {
    Repo {
        name: name.parse().unwrap(),
        url: url.to_owned(),
        reference: "main".to_owned(),
        only: Vec::new(),
        head: None,
        synced_at: None,
        error: None,
    }
}
