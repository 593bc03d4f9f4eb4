//! Addresses, URLs and TLS: who can reach the supervisor, and how safely.

use core::net::SocketAddr;

use super::absolute;
use crate::settings::{GivenCertificate, TlsSettings};
use crate::yaml::{Object, Place, Placed, Report, Value};

/// How connections are secured, as far as addresses and URLs have to fit it.
pub(super) enum Links<'p> {
    /// Not at all.
    Plain,
    /// By TLS.
    Secured,
    /// By TLS, and machines of a cloud, which was chosen at this place, have to find the supervisor.
    OfCloud(&'p Place),
}

impl Links<'_> {
    /// Where to listen; on loopback only, when there is no TLS.
    pub(super) fn address(
        &self,
        given: Option<Placed<String>>,
        port: u16,
        report: &mut Report<'_>,
    ) -> SocketAddr {
        let default = SocketAddr::from(([127, 0, 0, 1], port));
        let Some(Placed { at, value }) = given else {
            return default;
        };
        let Ok(address) = value.parse::<SocketAddr>() else {
            let message = format!("`{}` is not an address to listen on", value.escape_debug());
            report
                .error(&at, "invalid_value", message)
                .help(format!("write an IP address and a port: 127.0.0.1:{port}"));
            return default;
        };
        if matches!(self, Self::Plain) && !address.ip().is_loopback() {
            let message =
                format!("`{}` can be reached from other machines, and there is no TLS", value.escape_debug());
            report
                .error(&at, "not_loopback", message)
                .help(format!("write tls: own, or listen on loopback, such as 127.0.0.1:{port}"));
        }
        address
    }

    /// Says so when machines of a cloud cannot reach the address that agents connect to.
    pub(super) fn reach(&self, address: SocketAddr, report: &mut Report<'_>) {
        if let Self::OfCloud(at) = self
            && address.ip().is_loopback()
        {
            let message = format!("machines of EC2 cannot reach `{address}`");
            let port = address.port();
            report
                .warning(at, "loopback_only", message)
                .help(format!("write grpc_listen: 0.0.0.0:{port}, unless something passes connections on"));
        }
    }

    /// What is dialled: https where TLS is on, and required where machines have to find it.
    pub(super) fn url(
        &self,
        key: &'static str,
        given: &mut Object,
        report: &mut Report<'_>,
    ) -> Option<String> {
        if let (Self::OfCloud(at), None) = (self, given.place(key)) {
            let message = format!("the provisioner `ec2` needs the key `{key}`");
            let help = match key {
                "grpc_url" => "it is what machines dial: https://, and a name or address that they reach",
                _ => "it is what people and machines dial: https://, and a name or address that they reach",
            };
            report.error(at, "missing_key", message).help(help);
        }
        let url = given.text(key)?;
        let at = url.at.clone();
        let url = web_url(url, report)?;
        match self {
            Self::Secured | Self::OfCloud(_) if !url.starts_with("https://") => {
                let message = format!("`{key}` must begin with https://");
                report.error(&at, "invalid_value", message).help("TLS is on, and nothing answers to http://");
                None
            }
            Self::Plain | Self::Secured | Self::OfCloud(_) => Some(url),
        }
    }
}

/// Reads `tls`: `own`, or a certificate's files.
pub(super) fn tls(given: Option<Placed<Value>>, report: &mut Report<'_>) -> Option<TlsSettings> {
    let value = given?.value;
    let Value::Object(mut files) = value else {
        return Some(TlsSettings::Own);
    };
    let mut file = |key: &'static str| files.text(key).and_then(|path| absolute(&path, report));
    let (certificate, key, ca) = (file("certificate"), file("key"), file("ca"));
    Some(TlsSettings::Given(GivenCertificate { certificate: certificate?, key: key?, ca: ca? }))
}

/// Reads `login`, which cannot be off where others reach the server.
pub(super) fn login(given: &mut Object, listen: SocketAddr, report: &mut Report<'_>) -> bool {
    let at = given.place("login");
    let login = given.bool("login");
    if let (Some(at), Some(false)) = (at, login)
        && !listen.ip().is_loopback()
    {
        let message = format!("`{listen}` can be reached from other machines, so people need tokens");
        report.error(&at, "login_needed", message).help("remove it, or listen on loopback");
    }
    login.unwrap_or(false)
}

/// An http or https URL without credentials; a trailing slash is cut off.
pub(super) fn web_url(given: Placed<String>, report: &mut Report<'_>) -> Option<String> {
    let url = given.value.trim_end_matches('/');
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let authority = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    if authority.contains('@') {
        let message = format!("`{}` holds a name or a password", given.at.pointer.dotted());
        report.hide(&given.at);
        report.error(&given.at, "password_in_url", message).help("remove it");
    } else if authority.is_empty() || url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        let message = format!("`{}` is not a URL", given.at.pointer.dotted());
        report
            .error(&given.at, "invalid_value", message)
            .help("write https://host or http://host, with a port if need be");
    } else {
        return Some(url.to_owned());
    }
    None
}
