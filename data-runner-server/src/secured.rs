//! The keys of an installation, and TLS made from them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use data_runner_core::settings::{Settings, TlsSettings};
use data_runner_engine::Gate;
use data_runner_grpc::ServerTls;
use data_runner_pki::{
    CertificateAuthority, GivenCertificate, InstallationKey, Joining, PkiError, ServerCertificate,
    install_crypto, names_to_dial, server_for_agents, server_for_people, worker_of,
};

use crate::wiring::StartupError;

/// The folder of the state that holds the keys.
pub(crate) const FOLDER: &str = "pki";

/// An installation whose connections are secured.
pub(crate) struct Secured {
    authority: Arc<CertificateAuthority>,
    certificate: ServerCertificate,
    /// Makes and checks tokens and certificates of agents.
    pub joining: Arc<Joining>,
    /// Who vouches for the server's certificate, PEM: what agents are told to trust.
    pub ca: String,
}

impl Secured {
    /// Opens the keys of the state folder, or makes them.
    pub fn open(
        tls: &TlsSettings,
        settings: &Settings,
        state: &Path,
        listens: &[SocketAddr],
    ) -> Result<Self, StartupError> {
        install_crypto();
        let folder = state.join(FOLDER);
        let failed = |source| keys(&folder, source);
        let authority = CertificateAuthority::open(&folder, &settings.installation).map_err(failed)?;
        let key = InstallationKey::open(&folder).map_err(failed)?;
        let (certificate, ca) = match tls {
            TlsSettings::Own => {
                let urls: Vec<&str> = [&settings.public_url, &settings.grpc_url]
                    .into_iter()
                    .flatten()
                    .map(String::as_str)
                    .collect();
                let names = names_to_dial(&urls, listens);
                (ServerCertificate::Own { names }, authority.certificate().to_owned())
            }
            TlsSettings::Given(given) => {
                let ca = std::fs::read_to_string(&given.ca).map_err(|source| {
                    StartupError::machine(format!("{} cannot be read", given.ca.display()), source)
                })?;
                let (certificate, key) = (given.certificate.clone(), given.key.clone());
                (ServerCertificate::Given(GivenCertificate { certificate, key }), ca)
            }
        };
        let joining = Arc::new(Joining::new(Arc::clone(&authority), key));
        Ok(Self { authority, certificate, joining, ca })
    }

    /// TLS of the agents' side.
    pub fn for_agents(&self, gate: &Gate) -> Result<ServerTls, StartupError> {
        let config = server_for_agents(&self.authority, &self.certificate).map_err(certificate)?;
        Ok(ServerTls { config, worker_of, join: Arc::new(gate.clone()) })
    }

    /// TLS of the people's side.
    pub fn for_people(&self) -> Result<Arc<rustls::ServerConfig>, StartupError> {
        server_for_people(&self.authority, &self.certificate).map_err(certificate)
    }
}

pub(crate) fn keys(folder: &Path, source: PkiError) -> StartupError {
    StartupError::Adapter {
        what: format!("the installation's keys in {} cannot be used", folder.display()),
        source: Box::new(source),
    }
}

fn certificate(source: PkiError) -> StartupError {
    StartupError::Adapter {
        what: "the server's certificate cannot be used".to_owned(),
        source: Box::new(source),
    }
}
