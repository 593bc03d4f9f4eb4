//! The machine's interpreters.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use super::uv::Uv;
use super::{EnvironmentError, failure};

/// What polars 2 needs.
const OLDEST: (u32, u32) = (3, 11);

/// An interpreter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Python {
    pub(super) path: PathBuf,
    /// All of it, as `3.12.4`.
    pub(super) version: String,
}

/// Interpreters that were found; to ask one takes 15 ms.
#[derive(Debug, Default)]
pub(super) struct Pythons(Mutex<BTreeMap<Option<String>, Python>>);

impl Pythons {
    /// The interpreter of this version (`3.12`), or the machine's own if it is new enough.
    pub(super) fn find(&self, wanted: Option<&str>, uv: &Uv) -> Result<Python, EnvironmentError> {
        let key = wanted.map(str::to_owned);
        if let Some(known) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(known.clone());
        }
        let found = match wanted {
            Some(version) => wanted_python(version, uv)?,
            None => machines_python(uv)?,
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, found.clone());
        Ok(found)
    }
}

fn wanted_python(version: &str, uv: &Uv) -> Result<Python, EnvironmentError> {
    let on_path =
        ask(&format!("python{version}")).or_else(|| ask("python3").filter(|found| is(found, version)));
    if let Some(python) = on_path {
        return Ok(python);
    }
    let downloaded = uv.python(version)?.and_then(|path| ask(&path.to_string_lossy()));
    downloaded.ok_or_else(|| {
        failure(format!("this worker has no Python {version}"))
            .hinting(format!(
                "install python{version} on the worker, or leave `dependencies.python` out to use the worker's own"
            ))
            .into()
    })
}

fn machines_python(uv: &Uv) -> Result<Python, EnvironmentError> {
    let names = ["python3", "python3.14", "python3.13", "python3.12", "python3.11"];
    let found: Vec<Python> =
        names.into_iter().find_map(|name| ask(name).filter(is_new_enough)).into_iter().collect();
    if let Some(python) = found.into_iter().next() {
        return Ok(python);
    }
    if let Some(python) = uv.python("3.13")?.and_then(|path| ask(&path.to_string_lossy())) {
        return Ok(python);
    }
    let (major, minor) = OLDEST;
    Err(failure(format!("this worker has no Python {major}.{minor} or newer"))
        .hinting(format!("install python{major}.{minor} or newer on the worker"))
        .into())
}

fn is(python: &Python, wanted: &str) -> bool {
    python.version == wanted || python.version.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('.'))
}

fn is_new_enough(python: &Python) -> bool {
    let mut numbers = python.version.split('.').map_while(|number| number.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= OLDEST
}

/// Asks an interpreter who it is; `None` if it does not run.
fn ask(program: &str) -> Option<Python> {
    let question =
        "import os, platform, sys; print(os.path.realpath(sys.executable)); print(platform.python_version())";
    let answer = Command::new(program)
        .args(["-I", "-c", question])
        .output()
        .ok()
        .filter(|out| out.status.success())?;
    let answer = String::from_utf8(answer.stdout).ok()?;
    let (path, version) = answer.trim().split_once('\n')?;
    Some(Python { path: path.into(), version: version.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        let python = |version: &str| Python { path: PathBuf::new(), version: version.to_owned() };
        assert!(is_new_enough(&python("3.11.0")) && is_new_enough(&python("4.0.1")));
        assert!(!is_new_enough(&python("3.9.18")));
        assert!(is(&python("3.1.4"), "3.1") && !is(&python("3.11.7"), "3.1"));
    }
}
