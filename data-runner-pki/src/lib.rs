//! Certificates and join tokens of an installation.
//!
//! An installation has a certificate authority of its own ([`CertificateAuthority`]) and a secret key
//! ([`InstallationKey`]), both made once and kept in its state folder. From them follow:
//!
//! ```text
//! authority ──► the server's certificate, for the names that are dialled; made anew before it ends   (server)
//!           ──► an agent's certificate, for the public key of its request and for one worker         (join)
//! key       ──► join tokens: HMAC of worker and candidate, so that none has to be stored             (join)
//! ```
//!
//! The server lets in agents with a certificate of that authority and of no other. Agents trust that authority, by its
//! [`certificate`](CertificateAuthority::certificate), and nobody else; unless the operator gives the server a certificate
//! of another authority, which agents then are told to trust instead.
//!
//! Everything is rustls with aws-lc-rs; [`install_crypto`] makes that the choice of the whole process.

mod agent_key;
mod authority;
mod crypto;
mod error;
mod files;
mod identity;
mod installation_key;
mod join;
mod kept_identity;
mod server;
#[cfg(test)]
mod tests;

pub use agent_key::AgentKey;
pub use authority::CertificateAuthority;
pub use crypto::install_crypto;
pub use error::PkiError;
pub use identity::worker_of;
pub use installation_key::InstallationKey;
pub use join::Joining;
pub use kept_identity::KeptIdentity;
pub use server::{GivenCertificate, ServerCertificate, names_to_dial, server_for_agents, server_for_people};
