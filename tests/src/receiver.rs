//! A receiver of webhooks.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};

/// Takes what is sent to it, and answers as the test tells it; until then, whoever posted waits.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    received: mpsc::UnboundedReceiver<Received>,
    answers: mpsc::UnboundedSender<u16>,
}

/// What was sent.
#[derive(Debug)]
pub struct Received {
    headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

impl Received {
    /// A header, empty where it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

impl Receiver {
    /// One on loopback.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, received) = mpsc::unbounded_channel();
        let (answers, to_come) = mpsc::unbounded_channel();
        let to_come = Arc::new(Mutex::new(to_come));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(take(stream, tell.clone(), Arc::clone(&to_come)));
            }
        });
        Self { address, received, answers }
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://{}/alert", self.address)
    }

    /// The next post.
    ///
    /// # Panics
    /// If it does not come.
    pub async fn next(&mut self) -> Received {
        let next = tokio::time::timeout(crate::PATIENCE, self.received.recv()).await;
        next.expect("nobody posts").unwrap()
    }

    /// Whether somebody has posted that was not looked at.
    pub fn has_more(&self) -> bool {
        !self.received.is_empty()
    }

    /// Answers the post that waits for it longest, or the next one.
    pub fn answer(&self, status: u16) {
        self.answers.send(status).unwrap();
    }
}

async fn take(
    mut stream: TcpStream,
    tell: mpsc::UnboundedSender<Received>,
    answers: Arc<Mutex<mpsc::UnboundedReceiver<u16>>>,
) {
    let mut bytes = Vec::new();
    let received = loop {
        match stream.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if let Some(received) = whole(&String::from_utf8_lossy(&bytes)) {
            break received;
        }
    };
    // The test may have ended.
    drop(tell.send(received));
    let Some(status) = answers.lock().await.recv().await else { return };
    let answer = format!("HTTP/1.1 {status} -\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    drop(stream.write_all(answer.as_bytes()).await);
}

/// A request, once all of it is there.
fn whole(text: &str) -> Option<Received> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let headers: BTreeMap<String, String> = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    // Without a body there is no length.
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    (body.len() == length).then(|| Received { headers, body: body.to_owned() })
}
