//! What an installation is made of, before it runs.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use data_runner_core::settings::Settings;
use data_runner_core::workflow::Architecture;
use data_runner_git::LocalPaths;

/// A supervisor that is to be started.
#[derive(Debug, Clone)]
pub struct Installation {
    /// What its operator configured.
    pub settings: Settings,
    /// What a path means as a repository.
    pub local_paths: LocalPaths,
    /// Repositories to register at the start, beside those of the settings.
    pub repositories: Vec<StartRepository>,
    /// What starts an agent on this machine: a program that runs `data_runner_agent`, and its arguments.
    pub agent: Vec<OsString>,
    /// The agent's program by architecture, for machines of a cloud.
    pub agents: BTreeMap<Architecture, PathBuf>,
    /// Variables of this process that jobs on this machine get: names, or beginnings of names.
    pub pass_env: Vec<String>,
}

/// A repository to register at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartRepository {
    /// Its name; `None`: from its URL.
    pub name: Option<String>,
    /// Its URL, or the absolute path of a folder.
    pub url: String,
    /// The ref to follow; `None`: its HEAD.
    pub reference: Option<String>,
}
