//! The server's side of TLS.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use data_runner_core::time::Timestamp;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

use crate::authority::SKEW;
use crate::crypto::{now, provider};
use crate::{CertificateAuthority, PkiError};

/// A server's certificate is good for this long,
const LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// and replaced when this much of it is left.
const RENEWED: Duration = Duration::from_secs(10 * 24 * 3600);

/// What a server shows to those who dial it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerCertificate {
    /// One of the installation's own authority, for these names and addresses; made anew before it ends.
    Own {
        /// What is dialled, as [`names_to_dial`] finds it.
        names: Vec<String>,
    },
    /// What the operator gave.
    Given(GivenCertificate),
}

/// A certificate of another authority. It is read once: a new one needs a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenCertificate {
    /// The file with the certificate and those that vouch for it, PEM.
    pub certificate: PathBuf,
    /// The file with its private key, PEM.
    pub key: PathBuf,
}

/// TLS for agents: HTTP/2; who has a certificate of the authority is known by it, who has none may still connect, and
/// who has another one is thrown out.
pub fn server_for_agents(
    authority: &Arc<CertificateAuthority>,
    certificate: &ServerCertificate,
) -> Result<Arc<ServerConfig>, PkiError> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).map_err(PkiError::tls)?;
    let agents = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .allow_unauthenticated()
        .build()
        .map_err(PkiError::tls)?;
    let mut config = ServerConfig::builder_with_details(provider(), Arc::clone(authority.clock()))
        .with_safe_default_protocol_versions()
        .map_err(PkiError::tls)?
        .with_client_cert_verifier(agents)
        .with_cert_resolver(shown(authority, certificate)?);
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// TLS for people and their tools: HTTP/2 or HTTP/1.1, no certificates asked for.
pub fn server_for_people(
    authority: &Arc<CertificateAuthority>,
    certificate: &ServerCertificate,
) -> Result<Arc<ServerConfig>, PkiError> {
    let mut config = ServerConfig::builder_with_details(provider(), Arc::clone(authority.clock()))
        .with_safe_default_protocol_versions()
        .map_err(PkiError::tls)?
        .with_no_client_auth()
        .with_cert_resolver(shown(authority, certificate)?);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The names and addresses that a server of ours is dialled by: the hosts of these URLs, the addresses that it listens
/// on, and those of this machine for itself.
pub fn names_to_dial(urls: &[&str], listens: &[SocketAddr]) -> Vec<String> {
    let mut names: Vec<String> = urls.iter().filter_map(|url| host_of(url)).collect();
    let listened = listens.iter().map(SocketAddr::ip).filter(|address| !address.is_unspecified());
    names.extend(listened.map(|address| address.to_string()));
    names.extend(["localhost", "127.0.0.1", "::1"].map(ToOwned::to_owned));
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// The host of a URL, without the brackets of an IPv6 address.
fn host_of(url: &str) -> Option<String> {
    let authority = url.split_once("://")?.1.split(['/', '?', '#']).next()?;
    let host = match authority.strip_prefix('[') {
        Some(address) => address.split_once(']')?.0,
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    (!host.is_empty()).then(|| host.to_ascii_lowercase())
}

fn shown(
    authority: &Arc<CertificateAuthority>,
    certificate: &ServerCertificate,
) -> Result<Arc<dyn ResolvesServerCert>, PkiError> {
    match certificate {
        ServerCertificate::Own { names } => Ok(Arc::new(Own::new(Arc::clone(authority), names.clone())?)),
        ServerCertificate::Given(given) => Ok(Arc::new(Fixed(Arc::new(read_given(given)?)))),
    }
}

/// Always the same certificate.
#[derive(Debug)]
struct Fixed(Arc<CertifiedKey>);

impl ResolvesServerCert for Fixed {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Certificates of our own authority. Their keys live in memory only.
struct Own {
    authority: Arc<CertificateAuthority>,
    names: Vec<String>,
    shown: RwLock<Shown>,
}

#[derive(Clone)]
struct Shown {
    key: Arc<CertifiedKey>,
    renew_at: Timestamp,
}

impl Own {
    fn new(authority: Arc<CertificateAuthority>, names: Vec<String>) -> Result<Self, PkiError> {
        let shown = RwLock::new(make(&authority, &names)?);
        Ok(Self { authority, names, shown })
    }

    fn current(&self) -> Arc<CertifiedKey> {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner).clone();
        if now(&**self.authority.clock()).is_ok_and(|now| now < shown.renew_at) {
            return shown.key;
        }
        match make(&self.authority, &self.names) {
            Ok(fresh) => {
                let key = Arc::clone(&fresh.key);
                *self.shown.write().unwrap_or_else(PoisonError::into_inner) = fresh;
                key
            }
            Err(error) => {
                // The old one may still be good; the next who dials lets it be tried again.
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the server's certificate is not renewed"
                );
                shown.key
            }
        }
    }
}

impl ResolvesServerCert for Own {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own").field("names", &self.names).finish_non_exhaustive()
    }
}

fn make(authority: &CertificateAuthority, names: &[String]) -> Result<Shown, PkiError> {
    let key = KeyPair::generate().map_err(PkiError::Make)?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Data Runner supervisor");
    for name in names {
        params.subject_alt_names.push(alternative(name)?);
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = now(&**authority.clock())?;
    let until = authority.at_most(now.after(LIFE));
    let certificate = authority.issue(params, (now.before(SKEW), until), &key)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = provider().key_provider.load_private_key(key).map_err(PkiError::tls)?;
    Ok(Shown { key: Arc::new(CertifiedKey::new(vec![certificate], key)), renew_at: until.before(RENEWED) })
}

fn alternative(name: &str) -> Result<rcgen::SanType, PkiError> {
    match name.parse::<IpAddr>() {
        Ok(address) => Ok(rcgen::SanType::IpAddress(address)),
        Err(_) => match name.try_into() {
            Ok(dns) => Ok(rcgen::SanType::DnsName(dns)),
            Err(source) => Err(PkiError::Name { name: name.to_owned(), source }),
        },
    }
}

fn read_given(given: &GivenCertificate) -> Result<CertifiedKey, PkiError> {
    let wrong = |path: &Path, what: &str| PkiError::Given { path: path.to_owned(), what: what.to_owned() };
    let read = |path: &Path| {
        std::fs::read(path).map_err(|source| PkiError::Io { doing: "read", path: path.to_owned(), source })
    };
    let chain = CertificateDer::pem_slice_iter(&read(&given.certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| wrong(&given.certificate, "it is not PEM"))?;
    if chain.is_empty() {
        return Err(wrong(&given.certificate, "it holds no certificate"));
    }
    let key = PrivateKeyDer::from_pem_slice(&read(&given.key)?)
        .map_err(|_| wrong(&given.key, "it holds no private key in PEM"))?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(|_| {
        wrong(&given.key, "it is not the key of the certificate, or of a kind that is not known")
    })
}
