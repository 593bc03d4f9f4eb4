//! Which worker this is.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use data_runner_core::id::WorkerId;
use uuid::Uuid;

use crate::AgentOptions;

const FILE: &str = "worker-id";

/// The worker that the options name; else the one that the state folder remembers; else a new one, remembered there.
pub(crate) fn of(options: &AgentOptions) -> anyhow::Result<WorkerId> {
    match options.worker_id {
        Some(worker) => Ok(worker),
        None => remembered(&options.state_dir),
    }
}

fn remembered(state: &Path) -> anyhow::Result<WorkerId> {
    let path = state.join(FILE);
    let said = || format!("the worker id in {} cannot be kept", path.display());
    match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().with_context(|| format!("{} is damaged", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let worker = WorkerId::from_uuid(Uuid::now_v7());
            let temporary = state.join(format!("{FILE}.tmp"));
            let mut file = std::fs::File::create(&temporary).with_context(said)?;
            file.write_all(format!("{worker}\n").as_bytes()).with_context(said)?;
            file.sync_data().with_context(said)?;
            std::fs::rename(&temporary, &path).with_context(said)?;
            Ok(worker)
        }
        Err(error) => Err(error).with_context(said),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_worker_keeps_its_id_as_long_as_its_state_folder() {
        let state = tempfile::tempdir().unwrap();
        let first = remembered(state.path()).unwrap();
        assert_eq!(remembered(state.path()).unwrap(), first);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(remembered(other.path()).unwrap(), first);
    }

    #[test]
    fn a_damaged_id_is_an_error_and_not_another_worker() {
        let state = tempfile::tempdir().unwrap();
        std::fs::write(state.path().join(FILE), "half").unwrap();
        assert!(remembered(state.path()).is_err());
    }
}
