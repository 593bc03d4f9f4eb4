//! Git repositories with workflows.

use std::path::{Path, PathBuf};

use git2::{RepositoryInitOptions, Signature};

/// A `config.yaml` for Python, with more lines behind it.
pub fn polars(more: &str) -> String {
    format!("worker_type: polars\ninstance_size: t3.small\n{more}")
}

/// The files of a Python workflow, by their paths.
pub fn workflow(name: &str, config: &str, script: &str) -> Vec<(String, Vec<u8>)> {
    vec![
        (format!("workflows/{name}/config.yaml"), config.into()),
        (format!("workflows/{name}/workflow.py"), script.into()),
    ]
}

/// The files of an SQL workflow, by their paths.
pub fn query(name: &str, sql: &str) -> Vec<(String, Vec<u8>)> {
    let config = "worker_type: duckdb\ninstance_size: t3.small\n";
    vec![
        (format!("workflows/{name}/config.yaml"), config.into()),
        (format!("workflows/{name}/workflow.sql"), sql.into()),
    ]
}

/// A git repository in a folder, on the branch `main`.
pub struct Repository {
    path: PathBuf,
    git: git2::Repository,
}

impl Repository {
    /// An empty one, in a folder that is made.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let git =
            git2::Repository::init_opts(&path, RepositoryInitOptions::new().initial_head("main")).unwrap();
        Self { path, git }
    }

    /// One with these workflows, committed.
    pub fn with(
        path: impl Into<PathBuf>,
        workflows: impl IntoIterator<Item = Vec<(String, Vec<u8>)>>,
    ) -> Self {
        let repository = Self::new(path);
        repository.commit(workflows.into_iter().flatten());
        repository
    }

    /// The example repository, with these pieces of its text exchanged: what a test has elsewhere than a shop.
    pub fn shop(path: impl Into<PathBuf>, exchanged: &[(&str, &str)]) -> Self {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/shop");
        let mut files = Vec::new();
        collect(&example, &example, &mut files);
        for (old, new) in exchanged {
            let holders = files.iter_mut().filter(|(_, text)| text.contains(old));
            let count = holders.map(|(_, text)| *text = text.replace(old, new)).count();
            assert!(count > 0, "there is no {old:?} in the example");
        }
        let repository = Self::new(path);
        repository.commit(files.into_iter().map(|(name, text)| (name, text.into_bytes())));
        repository
    }

    /// A file of it.
    pub fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path.join(name)).unwrap()
    }

    /// Its address for a server.
    pub fn url(&self) -> String {
        format!("file://{}", self.path.display())
    }

    /// Writes files and commits all; the commit's id.
    pub fn commit(&self, files: impl IntoIterator<Item = (String, Vec<u8>)>) -> String {
        let mut index = self.git.index().unwrap();
        for (name, content) in files {
            let path = self.path.join(&name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
            index.add_path(Path::new(&name)).unwrap();
        }
        self.commit_index(index)
    }

    /// Removes a folder and commits that; the commit's id.
    pub fn remove(&self, folder: &str) -> String {
        let mut index = self.git.index().unwrap();
        index.remove_dir(Path::new(folder), 0).unwrap();
        std::fs::remove_dir_all(self.path.join(folder)).unwrap();
        self.commit_index(index)
    }

    /// Commits files as if there had been nothing before, and forgets what was, as a forced push and a clean-up do; the
    /// commit's id.
    pub fn rewrite(&self, files: impl IntoIterator<Item = (String, Vec<u8>)>) -> String {
        let old = self.git.head().unwrap().target().unwrap().to_string();
        self.git.find_reference("refs/heads/main").unwrap().delete().unwrap();
        let commit = self.commit(files);
        // Loose objects, each in a file of its own: without that of the commit nobody can have it from here.
        std::fs::remove_file(self.path.join(".git/objects").join(&old[..2]).join(&old[2..])).unwrap();
        commit
    }

    fn commit_index(&self, mut index: git2::Index) -> String {
        index.write().unwrap();
        let tree = self.git.find_tree(index.write_tree().unwrap()).unwrap();
        let author = Signature::now("A Test", "test@example.com").unwrap();
        let parent = self.git.head().ok().map(|head| head.peel_to_commit().unwrap());
        let parents: Vec<_> = parent.iter().collect();
        self.git.commit(Some("HEAD"), &author, &author, "a change", &tree, &parents).unwrap().to_string()
    }
}

/// The files below `folder`, by their paths below `root`.
fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            collect(root, &entry, files);
        } else if entry.extension().is_none_or(|extension| extension != "pyc") {
            let name = entry.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.push((name, std::fs::read_to_string(&entry).unwrap()));
        }
    }
}
