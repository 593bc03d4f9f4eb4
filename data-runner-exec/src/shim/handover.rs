//! What a shim is given by the agent that has a job for it: where the run's folder is, and the job's secrets, which
//! go from memory to memory and never into the folder.
//!
//! ```text
//! folder NUL length(u32, little endian) JSON object of names and values
//! ```

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, BufRead as _, Read};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use data_runner_core::port::SecretValue;

/// A job for a shim.
pub(super) struct Handover {
    pub(super) folder: PathBuf,
    /// Variables of the job whose values are masked.
    pub(super) secrets: BTreeMap<String, String>,
}

/// The handover as it travels.
pub(crate) fn message(folder: &Path, secrets: &BTreeMap<String, SecretValue>) -> io::Result<Vec<u8>> {
    let secrets: BTreeMap<&str, &str> =
        secrets.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    let secrets = serde_json::to_vec(&secrets)?;
    let length = u32::try_from(secrets.len()).map_err(|_| io::Error::other("the secrets are too long"))?;
    Ok([folder.as_os_str().as_bytes(), &[0], &length.to_le_bytes(), &secrets].concat())
}

impl Handover {
    /// Waits for it. `None`: the agent has no use for this shim.
    pub(super) fn receive(agent: impl Read) -> io::Result<Option<Self>> {
        // Reading ahead takes nothing away: the agent says no more before it has its answer.
        let mut agent = io::BufReader::new(agent);
        let mut folder = Vec::new();
        agent.read_until(0, &mut folder)?;
        if folder.pop_if(|last| *last == 0).is_none() {
            return Ok(None);
        }
        let mut length = [0; 4];
        agent.read_exact(&mut length)?;
        let mut secrets = vec![0; u32::from_le_bytes(length) as usize];
        agent.read_exact(&mut secrets)?;
        let secrets = serde_json::from_slice(&secrets)?;
        Ok(Some(Self { folder: OsString::from_vec(folder).into(), secrets }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_handover_arrives_as_it_was_sent_and_half_of_one_is_an_error() {
        let secrets = BTreeMap::from([("PG_DSN".to_owned(), SecretValue::new("a\0b\"ä\n".to_owned()))]);
        let message = message(Path::new("/runs/1"), &secrets).unwrap();
        let received = Handover::receive(message.as_slice()).unwrap().unwrap();
        assert_eq!(received.folder, Path::new("/runs/1"));
        assert_eq!(received.secrets["PG_DSN"], "a\0b\"ä\n");
        assert!(Handover::receive(&message[..message.len() - 1]).is_err());
        assert!(Handover::receive(&message[..3]).unwrap().is_none());
        assert!(Handover::receive([].as_slice()).unwrap().is_none());
    }
}
