//! TLS of the agent's end.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use tonic::transport::{Certificate, ClientTlsConfig, Identity};

/// Whom an agent trusts, and who it is.
#[derive(Clone)]
pub struct AgentTls {
    authority: Certificate,
    identity: Arc<RwLock<Option<AgentIdentity>>>,
}

/// What an agent shows of itself.
#[derive(Clone)]
pub struct AgentIdentity {
    /// Its certificate and those that vouch for it, PEM.
    pub certificate: String,
    /// Its private key, PEM.
    pub key: String,
}

impl AgentTls {
    /// Trusts the supervisor that this authority (its certificate, PEM) vouches for, and nobody else; has no
    /// certificate of its own yet.
    pub fn trusting(authority: &str) -> Self {
        Self { authority: Certificate::from_pem(authority), identity: Arc::default() }
    }

    pub(crate) fn identify(&self, identity: AgentIdentity) {
        *self.identity.write().unwrap_or_else(PoisonError::into_inner) = Some(identity);
    }

    pub(crate) fn config(&self) -> ClientTlsConfig {
        let config = ClientTlsConfig::new().ca_certificate(self.authority.clone());
        match &*self.identity.read().unwrap_or_else(PoisonError::into_inner) {
            None => config,
            Some(own) => config.identity(Identity::from_pem(&own.certificate, &own.key)),
        }
    }
}

impl fmt::Debug for AgentTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentTls").finish_non_exhaustive()
    }
}

impl fmt::Debug for AgentIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentIdentity").finish_non_exhaustive()
    }
}
