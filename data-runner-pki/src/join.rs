//! Join tokens, and certificates for those who showed one.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use data_runner_core::id::{Sha256, WorkerId};
use data_runner_core::port::{Certificate, JoinAuthority, JoinRefused, JoinRequest};
use data_runner_core::time::Timestamp;
use data_runner_core::worker::Candidate;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, PublicKey, PublicKeyData as _, SanType,
};
use rustls::pki_types::CertificateSigningRequestDer;
use serde_json::Value;

use crate::authority::pem;
use crate::crypto::now;
use crate::identity::uri_of;
use crate::{CertificateAuthority, InstallationKey, PkiError};

/// Tokens of another purpose, or of another version, are other tokens.
const DOMAIN: &[u8] = b"data-runner join token 1\0";
/// Certificates are good from a while ago: a supervisor's clock may have been set back meanwhile.
const BACKDATED: Duration = Duration::from_secs(3600);
/// A request for a P-256 key has about 200 bytes.
const LONGEST_REQUEST: usize = 4096;
/// An uncompressed point on P-256: 0x04, and two numbers of 32 bytes.
const POINT: usize = 65;

/// The authority over who joins: makes and checks tokens, and issues agents' certificates.
///
/// A token is the base64url of an HMAC-SHA256 with the installation's key, over the worker and over what determines
/// the machine: instance type, zone, market and the pinned request. What a person reads of a candidate, and its price,
/// are not in it, so that a newer version may say these in another way.
#[derive(Debug)]
pub struct Joining {
    authority: Arc<CertificateAuthority>,
    key: InstallationKey,
}

impl Joining {
    /// Of this installation.
    pub fn new(authority: Arc<CertificateAuthority>, key: InstallationKey) -> Self {
        Self { authority, key }
    }

    fn mac(&self, worker: WorkerId, candidate: &Candidate) -> Hmac<sha2::Sha256> {
        // A key that is shorter than a block is filled up with zeros: RFC 2104.
        let mut block = [0; 64];
        block[..32].copy_from_slice(self.key.bytes());
        let mut mac = Hmac::<sha2::Sha256>::new(&block.into());
        mac.update(DOMAIN);
        mac.update(worker.uuid().as_bytes());
        mac.update(canonical(candidate).as_bytes());
        mac
    }

    fn certify(&self, worker: WorkerId, key: &PublicKey, until: Timestamp) -> Result<Certificate, PkiError> {
        let name = uri_of(worker);
        let uri = Ia5String::try_from(name.as_str())
            .map_err(|source| PkiError::Name { name: name.clone(), source })?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let until = self.authority.at_most(until);
        let from = now(&**self.authority.clock())?.before(BACKDATED);
        let der = self.authority.issue(params, (from, until), key)?;
        Ok(Certificate { chain: pem("CERTIFICATE", &der), until })
    }
}

impl JoinAuthority for Joining {
    fn token(&self, worker: WorkerId, candidate: &Candidate) -> String {
        URL_SAFE_NO_PAD.encode(self.mac(worker, candidate).finalize().into_bytes())
    }

    fn check(
        &self,
        worker: WorkerId,
        candidate: &Candidate,
        ask: &JoinRequest,
    ) -> Result<Sha256, JoinRefused> {
        let token = URL_SAFE_NO_PAD.decode(&ask.token).map_err(|_| JoinRefused::Refused)?;
        // In constant time.
        self.mac(worker, candidate).verify_slice(&token).map_err(|_| JoinRefused::Refused)?;
        Ok(Sha256::of(public_key(&ask.signing_request)?.der_bytes()))
    }

    fn issue(
        &self,
        worker: WorkerId,
        ask: &JoinRequest,
        until: Timestamp,
    ) -> Result<Certificate, JoinRefused> {
        let key = public_key(&ask.signing_request)?;
        let unavailable = |error: PkiError| JoinRefused::Unavailable(Box::new(error));
        if until <= now(&**self.authority.clock()).map_err(unavailable)? {
            return Err(JoinRefused::Refused);
        }
        self.certify(worker, &key, until).map_err(unavailable)
    }
}

/// The public key of a request that is signed by it. Nothing else of the request counts.
fn public_key(request: &[u8]) -> Result<PublicKey, JoinRefused> {
    if request.len() > LONGEST_REQUEST {
        return Err(JoinRefused::Refused);
    }
    let request = CertificateSigningRequestDer::from(request);
    // This checks its signature.
    let parsed = CertificateSigningRequestParams::from_der(&request).map_err(|_| JoinRefused::Refused)?;
    let key = parsed.public_key;
    if key.algorithm() != &rcgen::PKCS_ECDSA_P256_SHA256 || key.der_bytes().len() != POINT {
        return Err(JoinRefused::Refused);
    }
    Ok(key)
}

/// What determines the machine, as text that is the same whenever it is the same machine.
fn canonical(candidate: &Candidate) -> String {
    let mut text = String::new();
    let place = candidate.zone.as_deref().map_or(Value::Null, Value::from);
    for value in [candidate.instance_type.as_str().into(), place, candidate.market.as_str().into()] {
        write(&value, &mut text);
        text.push('\n');
    }
    write(&candidate.request, &mut text);
    text
}

/// JSON without spaces and with the keys of objects in order, however the library keeps them.
fn write(value: &Value, into: &mut String) {
    match value {
        Value::Array(items) => {
            into.push('[');
            for item in items {
                write(item, into);
                into.push(',');
            }
            into.push(']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(key, _)| *key);
            into.push('{');
            for (key, item) in fields {
                into.push_str(&Value::from(key.as_str()).to_string());
                into.push(':');
                write(item, into);
                into.push(',');
            }
            into.push('}');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            into.push_str(&value.to_string());
        }
    }
}
