//! The server on a real socket.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::fixture::{PATIENCE, Rest};

async fn served(rest: &Rest) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<std::io::Result<()>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async { drop(stopped.await) };
    let serving = tokio::spawn(data_runner_rest::serve(listener, rest.router.clone(), shutdown));
    (address, stop, serving)
}

async fn ask(stream: &mut TcpStream, head: &str) {
    stream.write_all(format!("{head}\r\nhost: 127.0.0.1\r\n\r\n").as_bytes()).await.unwrap();
}

async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut read = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&read).contains(text) {
            assert!(
                stream.read_buf(&mut read).await.unwrap() > 0,
                "it ended: {}",
                String::from_utf8_lossy(&read)
            );
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("it comes");
    String::from_utf8_lossy(&read).into_owned()
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let rest = Rest::start().await;
    let (address, _stop, _serving) = served(&rest).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    for _ in 0..3 {
        ask(&mut stream, "GET /healthz HTTP/1.1").await;
        let answer = read_until(&mut stream, "alive").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\r\ndate: "), "{answer}");
    }
}

#[tokio::test]
async fn the_end_of_the_server_ends_open_streams_and_idle_connections() {
    let rest = Rest::start().await;
    let (address, stop, serving) = served(&rest).await;
    let mut follower = TcpStream::connect(address).await.unwrap();
    ask(&mut follower, "GET /events HTTP/1.1").await;
    read_until(&mut follower, "retry: 1000").await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    ask(&mut idle, "GET /healthz HTTP/1.1").await;
    read_until(&mut idle, "alive").await;
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(5), serving).await.expect("it ends soon").unwrap().unwrap();
    let mut rest_of_it = Vec::new();
    tokio::time::timeout(PATIENCE, follower.read_to_end(&mut rest_of_it)).await.unwrap().unwrap();
    assert!(rest_of_it.ends_with(b"0\r\n\r\n"), "the stream is ended, not cut: {rest_of_it:?}");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_request_with_two_hosts_or_none_is_refused_on_the_wire() {
    let rest = Rest::start().await;
    let (address, _stop, _serving) = served(&rest).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n\r\n")
        .await
        .unwrap();
    let answer = read_until(&mut stream, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
}
