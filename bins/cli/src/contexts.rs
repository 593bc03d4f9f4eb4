//! Contexts: servers by name, each with its token and its authority, in a file of the user's own.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// All contexts of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contexts {
    /// The one that is used where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// By name.
    #[serde(default)]
    pub contexts: BTreeMap<String, ServerContext>,
}

/// A server, and how to come in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerContext {
    /// Its address.
    pub server: String,
    /// The token, if it wants one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The file of the authority that vouches for it; `None`: the system's authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

impl std::fmt::Debug for ServerContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerContext")
            .field("server", &self.server)
            .field("ca", &self.ca)
            .finish_non_exhaustive()
    }
}

impl Contexts {
    /// The user's file.
    pub fn file() -> Result<PathBuf, Error> {
        let variable =
            |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder =
            variable("XDG_CONFIG_HOME").or_else(|| variable("HOME").map(|home| home.join(".config")));
        let folder = folder.ok_or_else(|| {
            Error::failed("there is no place for contexts", "set HOME or XDG_CONFIG_HOME to a folder")
        })?;
        Ok(folder.join("data-runner").join("contexts.yaml"))
    }

    /// What stands in `file`; nothing where it is not there.
    pub fn read(file: &Path) -> Result<Self, Error> {
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Error::io(format!("cannot read {}", file.display()), error)),
        };
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        serde_yaml::from_str(&text).map_err(|source| Error::Failed {
            message: format!("{} cannot be understood", file.display()),
            help: Some("mend it or remove it; `data-runner context add` makes it anew".to_owned()),
            source: Some(source.into()),
        })
    }

    /// Writes `file` as a whole, for its owner's eyes only.
    pub fn write(&self, file: &Path) -> Result<(), Error> {
        let text = serde_yaml::to_string(self).map_err(|source| Error::Answer {
            request: "write contexts".to_owned(),
            source: source.into(),
        })?;
        let folder = file.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)
            .map_err(|source| Error::io(format!("cannot make {}", folder.display()), source))?;
        let fresh = file.with_extension(format!("yaml.{}", std::process::id()));
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)
            .and_then(|mut open| open.write_all(text.as_bytes()).and_then(|()| open.sync_all()))
            .and_then(|()| fs::rename(&fresh, file));
        written.map_err(|source| Error::io(format!("cannot write {}", file.display()), source))
    }

    /// The context of that name.
    pub fn named(&self, name: &str) -> Result<&ServerContext, Error> {
        self.contexts.get(name).ok_or_else(|| {
            Error::not_found(format!("there is no context {name}"), "`data-runner context list` shows them")
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_was_written_is_read_and_is_for_the_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data-runner/contexts.yaml");
        assert_eq!(Contexts::read(&file).unwrap(), Contexts::default());
        let context = ServerContext {
            server: "https://runner.example.com:8443".to_owned(),
            token: Some("dr_1".to_owned()),
            ca: Some("/etc/ca.pem".into()),
        };
        let contexts = Contexts {
            current: Some("prod".to_owned()),
            contexts: BTreeMap::from([("prod".to_owned(), context)]),
        };
        contexts.write(&file).unwrap();
        contexts.write(&file).unwrap();
        assert_eq!(Contexts::read(&file).unwrap(), contexts);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!format!("{contexts:?}").contains("dr_1"));
        assert!(contexts.named("staging").unwrap_err().render().contains("context list"));
    }

    #[test]
    fn a_file_of_something_else_is_not_overlooked() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("contexts.yaml");
        fs::write(&file, "contexts: {prod: {sever: x}}").unwrap();
        assert!(Contexts::read(&file).unwrap_err().render().contains("contexts.yaml cannot be understood"));
    }
}
