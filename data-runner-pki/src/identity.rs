//! How a certificate says which worker's agent holds it: as a URI among its alternative names, and nowhere else.

use data_runner_core::id::WorkerId;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

const PREFIX: &str = "data-runner:worker:";

/// The name of a worker in its certificate: `data-runner:worker:UUID`.
pub(crate) fn uri_of(worker: WorkerId) -> String {
    format!("{PREFIX}{worker}")
}

/// The worker that a certificate (DER) is for; `None` if it is no agent's. Whether it may be trusted is another
/// question, which TLS has answered before.
pub fn worker_of(certificate: &[u8]) -> Option<WorkerId> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    // With two names it would be open who asks.
    let [GeneralName::URI(uri)] = names.value.general_names.as_slice() else {
        return None;
    };
    uri.strip_prefix(PREFIX)?.parse().ok()
}
