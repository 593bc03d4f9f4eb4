//! The installation's own certificate authority.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use data_runner_core::time::Timestamp;
use rand::TryRng as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
    SerialNumber,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::crypto::{now, system_time};
use crate::{PkiError, files};

/// Key and certificate, in one file so that neither is ever there without the other.
const FILE: &str = "authority.pem";
/// The certificate alone, for whoever shall trust it.
const CERTIFICATE_FILE: &str = "ca.pem";

/// Twenty years: machines trust it by its certificate, so it should outlive the installation.
const LIFE: Duration = Duration::from_secs(20 * 365 * 24 * 3600);
/// Clocks of machines may be late by this much.
pub(crate) const SKEW: Duration = Duration::from_secs(24 * 3600);

/// The certificate authority of an installation: ECDSA on P-256.
pub struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    pem: String,
    until: Timestamp,
    clock: Arc<dyn TimeProvider>,
}

impl CertificateAuthority {
    /// The authority in `folder`; made, once, if there is none. `installation` stands in its name, for people.
    ///
    /// `authority.pem` holds key and certificate and is readable by its owner only; `ca.pem` beside it is the
    /// certificate alone. Fails if the former is damaged, has ended, or can be read by others: it is never replaced.
    pub fn open(folder: &Path, installation: &str) -> Result<Arc<Self>, PkiError> {
        Self::open_at(folder, installation, Arc::new(DefaultTimeProvider))
    }

    pub(crate) fn open_at(
        folder: &Path,
        installation: &str,
        clock: Arc<dyn TimeProvider>,
    ) -> Result<Arc<Self>, PkiError> {
        files::make_private_folder(folder)?;
        let path = folder.join(FILE);
        let text = match files::read_secret(&path)? {
            Some(text) => text,
            None => {
                let made = make(installation, now(&*clock)?)?;
                files::write_whole(&path, &made, 0o600)?;
                made
            }
        };
        let authority = read(&text, clock).map_err(|what| PkiError::Damaged { path: path.clone(), what })?;
        if now(&*authority.clock)? >= authority.until {
            return Err(PkiError::AuthorityEnded { path });
        }
        files::write_whole(&folder.join(CERTIFICATE_FILE), &authority.pem, 0o644)?;
        Ok(Arc::new(authority))
    }

    /// Its certificate, PEM: what agents, and people's tools, are told to trust.
    pub fn certificate(&self) -> &str {
        &self.pem
    }

    pub(crate) fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    pub(crate) fn clock(&self) -> &Arc<dyn TimeProvider> {
        &self.clock
    }

    /// When what is issued ends that is wanted until `wanted`: never after the authority itself.
    pub(crate) fn at_most(&self, wanted: Timestamp) -> Timestamp {
        let until = wanted.min(self.until);
        // Certificates know whole seconds.
        Timestamp::from_micros(until.micros() - until.micros().rem_euclid(1_000_000))
    }

    /// A certificate for `key`, good from `from` until `until`, with a serial number of its own.
    pub(crate) fn issue(
        &self,
        mut params: CertificateParams,
        (from, until): (Timestamp, Timestamp),
        key: &impl PublicKeyData,
    ) -> Result<CertificateDer<'static>, PkiError> {
        params.not_before = system_time(from).into();
        params.not_after = system_time(self.at_most(until)).into();
        params.serial_number = Some(serial()?);
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(key, &self.issuer).map_err(PkiError::Make)?.into())
    }
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAuthority").field("until", &self.until).finish_non_exhaustive()
    }
}

/// A fresh key and its certificate, PEM.
fn make(installation: &str, now: Timestamp) -> Result<String, PkiError> {
    let key = KeyPair::generate().map_err(PkiError::Make)?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, format!("Data Runner {installation}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = system_time(now.before(SKEW)).into();
    params.not_after = system_time(now.after(LIFE)).into();
    params.serial_number = Some(serial()?);
    let certificate = params.self_signed(&key).map_err(PkiError::Make)?;
    Ok(format!("{}{}", key.serialize_pem(), certificate.pem()))
}

/// Reads exactly one key and its own certificate; an error says what is wrong.
fn read(text: &str, clock: Arc<dyn TimeProvider>) -> Result<CertificateAuthority, String> {
    let said = |what: &str| what.to_owned();
    let mut keys = PrivatePkcs8KeyDer::pem_slice_iter(text.as_bytes());
    let (Some(Ok(key)), None) = (keys.next(), keys.next()) else {
        return Err(said("it does not hold exactly one private key"));
    };
    let mut certificates = CertificateDer::pem_slice_iter(text.as_bytes());
    let (Some(Ok(der)), None) = (certificates.next(), certificates.next()) else {
        return Err(said("it does not hold exactly one certificate"));
    };
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &rcgen::PKCS_ECDSA_P256_SHA256)
        .map_err(|_| said("its key is not one of ECDSA on P-256"))?;
    let (rest, parsed) =
        X509Certificate::from_der(&der).map_err(|_| said("its certificate cannot be read"))?;
    if !rest.is_empty() || !parsed.is_ca() {
        return Err(said("its certificate is not an authority's"));
    }
    if *parsed.public_key().subject_public_key.data != *key.public_key_raw()
        || parsed.verify_signature(None).is_err()
    {
        return Err(said("its certificate is not of its key"));
    }
    let until = Timestamp::from_micros(parsed.validity().not_after.timestamp().saturating_mul(1_000_000));
    let issuer =
        Issuer::from_ca_cert_der(&der, key).map_err(|_| said("its certificate cannot issue others"))?;
    let pem = pem("CERTIFICATE", &der);
    Ok(CertificateAuthority { issuer, der, pem, until, clock })
}

/// 16 random bytes, of which the first is neither zero nor has the sign.
fn serial() -> Result<SerialNumber, PkiError> {
    let mut bytes = [0; 16];
    rand::rngs::SysRng.try_fill_bytes(&mut bytes).map_err(PkiError::Entropy)?;
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// DER as PEM: RFC 7468.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        // Base64 is ASCII.
        let (line, more) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = more;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}
