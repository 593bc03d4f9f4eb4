//! Code by HTTP, from where the supervisor says that it is.

use std::io;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use data_runner_core::port::BlobLink;
use data_runner_engine::Download;
use reqwest::redirect::Policy;

/// How long a server may take to answer at all.
const CONNECT: Duration = Duration::from_secs(5);
/// How long it may be silent.
const SILENCE: Duration = Duration::from_secs(30);

/// Follows links by a GET, and no further than where they lead.
#[derive(Debug)]
pub(crate) struct HttpDownload(reqwest::Client);

impl HttpDownload {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .redirect(Policy::none())
            .build()
            .context("TLS for downloads cannot be set up")?;
        Ok(Self(client))
    }
}

#[async_trait]
impl Download for HttpDownload {
    async fn download(&self, link: &BlobLink, bytes: u64) -> io::Result<Bytes> {
        let response = self.0.get(&link.url).send().await.map_err(failed)?;
        let mut response = response.error_for_status().map_err(failed)?;
        if !response.status().is_success() {
            return Err(io::Error::other(format!("the answer is {}", response.status())));
        }
        let mut code = BytesMut::new();
        while let Some(part) = response.chunk().await.map_err(failed)? {
            code.extend_from_slice(&part);
            if code.len() as u64 > bytes {
                return Err(io::Error::other(format!("more came than the {bytes} bytes of the code")));
            }
        }
        if code.len() as u64 == bytes {
            Ok(code.freeze())
        } else {
            Err(io::Error::other(format!("{} bytes came of {bytes}", code.len())))
        }
    }
}

/// The link is a secret, and reqwest's errors name it.
fn failed(error: reqwest::Error) -> io::Error {
    io::Error::other(error.without_url())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that gives this answer once; a link to it.
    async fn answering(answer: &'static [u8]) -> BlobLink {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/code?signature=secret", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 4096];
            let length = stream.read(&mut asked).await.unwrap();
            assert!(asked[..length].starts_with(b"GET /code?signature=secret HTTP/1.1\r\n"));
            stream.write_all(answer).await.unwrap();
            stream.shutdown().await.unwrap();
        });
        BlobLink { url }
    }

    async fn downloaded(answer: &'static [u8], bytes: u64) -> io::Result<Bytes> {
        data_runner_pki::install_crypto();
        HttpDownload::new().unwrap().download(&answering(answer).await, bytes).await
    }

    #[tokio::test]
    async fn a_link_gives_its_bytes() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ncode";
        assert_eq!(downloaded(answer, 4).await.unwrap(), "code");
    }

    #[tokio::test]
    async fn refusals_redirects_and_other_lengths_are_errors_that_do_not_tell_the_link() {
        for (answer, says) in [
            (&b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"[..], "403"),
            (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 4\r\n\r\ncode", "302"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ncode!", "more came"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ncod", "3 bytes came of 4"),
            (b"nonsense\r\n\r\n", ""),
        ] {
            let error = downloaded(answer, 4).await.unwrap_err();
            let mut said = format!("{error}");
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                said = format!("{said}: {cause}");
                source = cause.source();
            }
            assert!(said.contains(says) && !said.contains("signature"), "{said}");
        }
    }
}
