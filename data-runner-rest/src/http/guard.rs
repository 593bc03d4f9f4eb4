//! Without a login, what protects the server from pages that a browser on this machine happens to show: the name by
//! which it is called, and the origin of who calls.
//!
//! A page of another site can make a browser send requests here. Such a request says where it comes from (`Origin`,
//! `Sec-Fetch-Site`), and is refused. A page whose own name is made to point here (DNS rebinding) calls the server by
//! that name, so names that are not ours are refused; addresses cannot be rebound.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, Method};

use super::refusal::{Kind, Refusal};

/// The names that the server goes by, beside addresses and `localhost`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hosts(pub(crate) Arc<Vec<String>>);

pub(crate) async fn check(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    match hosts.admit(&request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

impl Hosts {
    fn admit(&self, request: &Request) -> Result<(), Refusal> {
        let headers = request.headers();
        let host = authority(request).ok_or_else(|| {
            Refusal::new(Kind::HostRefused, "the request must say by one valid Host header whom it is for")
        })?;
        if !self.ours(host.host()) {
            return Err(Refusal::new(
                Kind::HostRefused,
                format!("{:?} is not a name of this server", host.host()),
            )
            .hinting("call it by its address, or let its operator configure that name as its public URL"));
        }
        same_origin(headers, &host)?;
        not_sent_by_another_site(request.method(), headers)
    }

    fn ours(&self, host: &str) -> bool {
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let host = host.trim_end_matches('.');
        address.parse::<IpAddr>().is_ok()
            || host.eq_ignore_ascii_case("localhost")
            || self.0.iter().any(|name| name.eq_ignore_ascii_case(host))
    }
}

/// Whom the request is for: HTTP/2 says it in the URI, HTTP/1.1 in exactly one header.
fn authority(request: &Request) -> Option<Authority> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.clone());
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next()?;
    match hosts.next() {
        None => Authority::try_from(host.as_bytes()).ok(),
        Some(_) => None,
    }
}

fn same_origin(headers: &HeaderMap, host: &Authority) -> Result<(), Refusal> {
    for origin in headers.get_all(ORIGIN) {
        let uri = origin.to_str().ok().and_then(|text| text.parse::<http::Uri>().ok());
        let same = uri.as_ref().and_then(http::Uri::authority).is_some_and(|origin| {
            origin.host().eq_ignore_ascii_case(host.host())
                && port(uri.as_ref(), origin) == port(uri.as_ref(), host)
        });
        if !same {
            return Err(Refusal::new(
                Kind::OriginRefused,
                format!("the origin {origin:?} is not this server's own"),
            ));
        }
    }
    Ok(())
}

/// The port, or what the origin's scheme means by leaving it out.
fn port(origin: Option<&http::Uri>, of: &Authority) -> u16 {
    let default = if origin.and_then(http::Uri::scheme_str) == Some("https") { 443 } else { 80 };
    of.port_u16().unwrap_or(default)
}

/// A form of another site need not say its origin in every browser, but says that it is another site's.
fn not_sent_by_another_site(method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
    let site = headers.get("sec-fetch-site").map_or(&b"none"[..], |site| site.as_bytes());
    if method.is_safe() || matches!(site, b"same-origin" | b"none") {
        return Ok(());
    }
    Err(Refusal::new(Kind::OriginRefused, "a page of another site may not change anything here"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use axum::body::Body;

    use super::*;

    fn admitted(method: &str, headers: &[(&str, &str)]) -> bool {
        let hosts = Hosts(Arc::new(vec!["runner.example.com".to_owned()]));
        let mut request = Request::builder().method(method).uri("/workflows");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        hosts.admit(&request.body(Body::empty()).unwrap()).is_ok()
    }

    #[test]
    fn addresses_localhost_and_configured_names_are_ours() {
        for host in [
            "127.0.0.1:8080",
            "[::1]:8080",
            "localhost:8080",
            "10.0.1.5",
            "Runner.Example.com:443",
            "localhost.",
        ] {
            assert!(admitted("POST", &[("host", host)]), "{host}");
        }
    }

    #[test]
    fn a_rebound_name_is_refused_whatever_the_method() {
        for host in
            ["evil.example:8080", "localhost.evil.example", "runner.example.com.evil.example", "", "a b"]
        {
            assert!(!admitted("GET", &[("host", host)]), "{host}");
        }
        assert!(!admitted("GET", &[]), "no host at all");
        assert!(!admitted("GET", &[("host", "localhost"), ("host", "evil.example")]), "two hosts");
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        let host = ("host", "127.0.0.1:8080");
        for origin in
            ["http://evil.example", "null", "http://127.0.0.1:9999", "http://localhost:8080", "file://", "%"]
        {
            assert!(!admitted("POST", &[host, ("origin", origin)]), "{origin}");
            assert!(!admitted("GET", &[host, ("origin", origin)]), "{origin}");
        }
        assert!(admitted("POST", &[host, ("origin", "http://127.0.0.1:8080")]));
        assert!(admitted(
            "POST",
            &[("host", "runner.example.com"), ("origin", "https://runner.example.com")]
        ));
        assert!(admitted(
            "POST",
            &[("host", "runner.example.com:443"), ("origin", "https://runner.example.com")]
        ));
    }

    #[test]
    fn a_form_without_an_origin_is_known_by_its_site() {
        let host = ("host", "127.0.0.1:8080");
        assert!(!admitted("POST", &[host, ("sec-fetch-site", "cross-site")]));
        assert!(!admitted("DELETE", &[host, ("sec-fetch-site", "same-site")]));
        assert!(admitted("POST", &[host, ("sec-fetch-site", "same-origin")]));
        assert!(
            admitted("GET", &[host, ("sec-fetch-site", "cross-site")]),
            "a link from elsewhere changes nothing"
        );
    }
}
