//! The `python` block.

use core::net::IpAddr;

use super::links;
use crate::settings::{PackageIndex, PythonSettings};
use crate::workflow::SecretRef;
use crate::yaml::{Object, Placed, Report};

/// Reads where packages come from. `on_ec2`: workers are machines, which know nothing of this one's environment.
pub(super) fn python(mut given: Object, on_ec2: bool, report: &mut Report<'_>) -> PythonSettings {
    let is_named = given.place("index_url").is_some();
    let url = given.text("index_url").and_then(|url| links::web_url(url, report));
    let auth = given.text("index_auth");
    if let (Some(auth), false) = (&auth, is_named) {
        report
            .error(&auth.at, "missing_key", "`python.index_auth` needs the key `python.index_url`")
            .help("the credentials are shown to that index only");
    }
    if let (Some(auth), Some(url)) = (&auth, &url)
        && is_open_to_others(url)
    {
        report
            .warning(&auth.at, "not_encrypted", "the credentials travel to `python.index_url` as plain text")
            .help("write https://, if the index has it");
    }
    let auth = auth.and_then(|auth| reference(&auth, on_ec2, report));
    PythonSettings { index: url.map(|url| PackageIndex { url, auth }) }
}

fn reference(given: &Placed<String>, on_ec2: bool, report: &mut Report<'_>) -> Option<SecretRef> {
    // What is no reference was refused by its shape.
    let reference = given.value.parse().ok()?;
    if let (SecretRef::Environment { .. }, true) = (&reference, on_ec2) {
        report
            .error(
                &given.at,
                "invalid_value",
                "machines of EC2 have no variables of yours to read `env://` from",
            )
            .help(
                "write aws-ssm:///path/name or aws-secretsmanager://id#key, which they read with their role",
            );
        return None;
    }
    Some(reference)
}

/// Whether what is sent to this URL can be read on its way.
fn is_open_to_others(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(address) => address.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host != "localhost" && !host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
