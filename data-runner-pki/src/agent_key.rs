//! The agent's own key.

use std::fmt;

use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use crate::PkiError;

/// A private key of an agent: ECDSA on P-256. It is made on the agent's machine and never leaves it.
pub struct AgentKey(KeyPair);

impl AgentKey {
    /// A fresh key.
    pub fn generate() -> Result<Self, PkiError> {
        KeyPair::generate().map(Self).map_err(PkiError::Make)
    }

    /// A key that [`pem`](Self::pem) wrote.
    pub fn from_pem(pem: &str) -> Result<Self, PkiError> {
        KeyPair::from_pem(pem).map(Self).map_err(PkiError::Make)
    }

    /// The key as PKCS #8 in PEM: a secret.
    pub fn pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// What its holder asks for a certificate with: PKCS #10, DER, signed by the key.
    pub fn signing_request(&self) -> Result<Vec<u8>, PkiError> {
        let mut params = CertificateParams::default();
        // Who it is for is said beside it; a name in here would count for nothing.
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&self.0).map_err(PkiError::Make)?;
        Ok(request.der().to_vec())
    }

    /// The public key as its certificate holds it.
    pub(crate) fn public(&self) -> &[u8] {
        self.0.public_key_raw()
    }
}

impl fmt::Debug for AgentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AgentKey(secret)")
    }
}
