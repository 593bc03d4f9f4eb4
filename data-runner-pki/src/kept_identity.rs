//! What an agent keeps, so that one that is started again on the same machine need not join again.

use std::path::{Path, PathBuf};

use data_runner_core::id::WorkerId;
use data_runner_core::time::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::{AgentKey, PkiError, files, worker_of};

const KEY_FILE: &str = "agent.key";
const CERTIFICATE_FILE: &str = "agent.pem";

/// An agent's key, and its certificate once it has one: files of its owner only.
#[derive(Debug)]
pub struct KeptIdentity {
    folder: PathBuf,
    key: AgentKey,
}

impl KeptIdentity {
    /// The key in `folder`; made, once, if there is none. So an agent that dies while it joins asks with the same key
    /// again, and the same answer is given to it.
    pub fn open(folder: &Path) -> Result<Self, PkiError> {
        files::make_private_folder(folder)?;
        let path = folder.join(KEY_FILE);
        let key = match files::read_secret(&path)? {
            Some(pem) => AgentKey::from_pem(&pem)
                .map_err(|_| PkiError::Damaged { path, what: "it holds no private key".to_owned() })?,
            None => {
                let key = AgentKey::generate()?;
                files::write_whole(&path, &key.pem(), 0o600)?;
                key
            }
        };
        Ok(Self { folder: folder.to_owned(), key })
    }

    /// The key.
    pub fn key(&self) -> &AgentKey {
        &self.key
    }

    /// The kept certificate and those that vouch for it, PEM, if it is this worker's, of this key, and not over yet.
    pub fn certificate(&self, worker: WorkerId, now: Timestamp) -> Result<Option<String>, PkiError> {
        let chain = files::read_secret(&self.folder.join(CERTIFICATE_FILE))?;
        Ok(chain.filter(|chain| self.is_good(chain, worker, now)))
    }

    /// Keeps a certificate in the place of an earlier one.
    pub fn keep(&self, chain: &str) -> Result<(), PkiError> {
        files::write_whole(&self.folder.join(CERTIFICATE_FILE), chain, 0o600)
    }

    fn is_good(&self, chain: &str, worker: WorkerId, now: Timestamp) -> bool {
        let Ok(der) = CertificateDer::from_pem_slice(chain.as_bytes()) else {
            return false;
        };
        let Ok((_, certificate)) = X509Certificate::from_der(&der) else {
            return false;
        };
        worker_of(&der) == Some(worker)
            && *certificate.public_key().subject_public_key.data == *self.key.public()
            && certificate.validity().not_after.timestamp().saturating_mul(1_000_000) > now.micros()
    }
}
