//! Repositories that are served on a port of this machine, until the server is dropped.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// One of git's own programs. Called by its own name: `git daemon` would be a process between it and us that dies alone.
fn program(name: &str) -> PathBuf {
    let programs = Command::new("git").arg("--exec-path").output().unwrap().stdout;
    Path::new(String::from_utf8(programs).unwrap().trim()).join(name)
}

/// `git daemon`: what is said between the two is what is said over ssh.
pub struct Daemon {
    child: Child,
    port: u16,
}

impl Daemon {
    /// Serves what is in `base`.
    pub fn serve(base: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(program("git-daemon"))
            .args(["--export-all", "--reuseaddr", "--listen=127.0.0.1"])
            .arg(format!("--port={port}"))
            .arg(format!("--base-path={}", base.display()))
            .arg(base)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "git daemon does not listen");
            std::thread::yield_now();
        }
        Self { child, port }
    }

    /// Where `origin.git` is.
    pub fn url(&self) -> String {
        format!("git://127.0.0.1:{}/origin.git", self.port)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `git http-backend` behind a server that knows just enough of HTTP: what is said is what is said over https.
pub struct Web {
    port: u16,
}

impl Web {
    /// Serves what is in `base`, until the test ends.
    pub fn serve(base: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let base = base.to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let base = base.clone();
                std::thread::spawn(move || answer(&base, stream));
            }
        });
        Self { port }
    }

    /// Where `origin.git` is.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/origin.git", self.port)
    }
}

/// Answers one request and closes the connection.
fn answer(base: &Path, mut stream: TcpStream) {
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let mut words = line.split(' ').map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return };
    let (mut length, mut kind) = (0, String::new());
    loop {
        let mut header = String::new();
        lines.read_line(&mut header).unwrap();
        match header.trim().split_once(": ") {
            None => break,
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().unwrap()
            }
            Some((name, value)) if name.eq_ignore_ascii_case("content-type") => kind = value.to_owned(),
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    lines.read_exact(&mut body).unwrap();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut backend = Command::new(program("git-http-backend"))
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_PROJECT_ROOT", base)
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", kind)
        .env("CONTENT_LENGTH", length.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = backend.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        // It may have said all that it has to say before it has read everything.
        let _ = input.write_all(&body);
    });
    let mut output = Vec::new();
    backend.stdout.take().unwrap().read_to_end(&mut output).unwrap();
    writer.join().unwrap();
    backend.wait().unwrap();
    let status = match output.strip_prefix(b"Status: ") {
        Some(rest) => String::from_utf8_lossy(rest.split(|byte| *byte == b'\r').next().unwrap()).into_owned(),
        None => "200 OK".to_owned(),
    };
    let body = output.windows(4).position(|part| part == b"\r\n\r\n").map_or(0, |at| output.len() - at - 4);
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {body}\r\n");
    // Whoever asked may have gone away.
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(&output);
    let _ = stream.shutdown(Shutdown::Both);
}

/// Stands before a daemon and hides that it can cut histories off.
pub struct Uncut {
    port: u16,
}

impl Uncut {
    pub fn before(daemon: &Daemon) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, behind) = (listener.local_addr().unwrap().port(), daemon.port);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect(("127.0.0.1", behind)).unwrap();
                let (mut up, mut down) = (client.try_clone().unwrap(), client);
                let (mut to, mut from) = (server.try_clone().unwrap(), server);
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut up, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
                std::thread::spawn(move || {
                    // What it can do stands in the first line that it says.
                    let mut first = vec![0; 4];
                    if from.read_exact(&mut first).is_ok() {
                        let length = std::str::from_utf8(&first).unwrap();
                        let length = usize::from_str_radix(length, 16).unwrap();
                        first.resize(length, 0);
                        from.read_exact(&mut first[4..]).unwrap();
                        let sign = b" shallow ";
                        let at = first.windows(sign.len()).position(|part| part == sign).unwrap();
                        first[at + 1] = b'x';
                        let _ = down.write_all(&first);
                        let _ = std::io::copy(&mut from, &mut down);
                    }
                    let _ = down.shutdown(Shutdown::Both);
                });
            }
        });
        Self { port }
    }

    /// Where `origin.git` is.
    pub fn url(&self) -> String {
        format!("git://127.0.0.1:{}/origin.git", self.port)
    }
}
