//! The server over TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::fixture::{PATIENCE, Rest};

struct Secure {
    _rest: Rest,
    address: SocketAddr,
    roots: RootCertStore,
    stop: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
}

async fn secure() -> Secure {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder().with_no_client_auth();
    let mut config = config.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let rest = Rest::start().await;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let shutdown = stop.clone().cancelled_owned();
    let serving =
        tokio::spawn(data_runner_rest::serve_tls(listener, Arc::new(config), rest.router.clone(), shutdown));
    Secure { _rest: rest, address, roots, stop, serving }
}

impl Secure {
    async fn dial(&self, roots: RootCertStore, protocols: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}

async fn whole(mut stream: impl tokio::io::AsyncRead + Unpin) -> Vec<u8> {
    let mut read = Vec::new();
    let reading = async { while stream.read_buf(&mut read).await.is_ok_and(|bytes| bytes > 0) {} };
    tokio::time::timeout(PATIENCE, reading).await.expect("it ends");
    read
}

#[tokio::test]
async fn requests_are_served_over_tls_as_http_1_and_http_2() {
    let secure = secure().await;
    let mut old = secure.dial(secure.roots.clone(), &["http/1.1"]).await.unwrap();
    old.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let answer = String::from_utf8(whole(old).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("alive"), "{answer}");
    let new = secure.dial(secure.roots.clone(), &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(new.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
}

#[tokio::test]
async fn plain_http_on_the_tls_port_gets_no_answer() {
    let secure = secure().await;
    let mut plain = TcpStream::connect(secure.address).await.unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let said = whole(plain).await;
    assert!(!said.windows(4).any(|bytes| bytes == b"HTTP"), "{said:?}");
}

#[tokio::test]
async fn who_does_not_know_the_certificate_does_not_connect() {
    let secure = secure().await;
    let error = secure.dial(RootCertStore::empty(), &[]).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[tokio::test]
async fn who_never_shakes_hands_does_not_hold_the_end_up() {
    let secure = secure().await;
    let mut silent = TcpStream::connect(secure.address).await.unwrap();
    // Another connection's answer tells that the silent one was taken, too.
    drop(secure.dial(secure.roots.clone(), &[]).await.unwrap());
    secure.stop.cancel();
    tokio::time::timeout(PATIENCE, secure.serving).await.expect("it ends").unwrap().unwrap();
    let mut read = [0; 1];
    assert!(matches!(silent.read(&mut read).await, Ok(0) | Err(_)));
}
