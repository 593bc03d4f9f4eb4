//! A wire between an agent and its supervisor that a test can cut.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the wire does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    /// It carries everything.
    Whole,
    /// Connections break, and no new one comes about.
    Cut,
}

/// Passes connections on to another address.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    wire: Arc<watch::Sender<Wire>>,
}

impl Proxy {
    /// One before `target`, such as `http://127.0.0.1:7070`.
    pub async fn before(target: &str) -> Self {
        let target = target.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let wire = Arc::new(watch::channel(Wire::Whole).0);
        let state = Arc::downgrade(&wire);
        tokio::spawn(async move {
            while let Ok((agent, _)) = listener.accept().await {
                let Some(wire) = state.upgrade() else { return };
                if *wire.borrow() == Wire::Whole {
                    tokio::spawn(pass(agent, target.clone(), wire.subscribe()));
                }
            }
        });
        Self { address, wire }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Breaks every connection, and lets none come about.
    pub fn cut(&self) {
        self.wire.send_replace(Wire::Cut);
    }

    /// Lets connections come about again.
    pub fn mend(&self) {
        self.wire.send_replace(Wire::Whole);
    }
}

async fn pass(mut agent: TcpStream, target: String, mut wire: watch::Receiver<Wire>) {
    let Ok(mut supervisor) = TcpStream::connect(target).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut agent, &mut supervisor) => {}
        _ = wire.wait_for(|wire| *wire == Wire::Cut) => {}
    }
}
