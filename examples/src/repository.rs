//! A repository of workflows that an example brings along.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use data_runner_engine::Registration;

/// A plain folder of workflows, as it would lie in a git repository.
pub struct Repository(PathBuf);

impl Repository {
    /// An empty one in `folder`.
    pub fn new(folder: &Path) -> Self {
        Self(folder.join("my-workflows"))
    }

    /// Adds the workflow `name` with these files: name and text of each.
    pub fn with(self, name: &str, files: &[(&str, &str)]) -> anyhow::Result<Self> {
        let folder = self.0.join("workflows").join(name);
        fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        for (file, text) in files {
            let path = folder.join(file);
            fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))?;
        }
        Ok(self)
    }

    /// What a supervisor is told to watch it.
    pub fn registration(&self) -> Registration {
        Registration { url: self.0.display().to_string(), ..Registration::default() }
    }
}
