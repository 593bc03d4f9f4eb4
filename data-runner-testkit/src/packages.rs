//! A package index for Python, with packages that a test makes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// An index on loopback, for as long as the test's process lives. Clones are the same index.
#[derive(Debug, Clone)]
pub struct Packages {
    address: SocketAddr,
    shelf: Arc<Mutex<Shelf>>,
}

#[derive(Debug, Default)]
struct Shelf {
    /// `user:password` that everybody must show.
    credentials: Option<String>,
    /// Wheels by their file names.
    wheels: BTreeMap<String, Vec<u8>>,
    /// How many requests showed no credentials that are good.
    refused: usize,
    /// How many were answered.
    served: usize,
}

impl Packages {
    /// An index without packages, which lets everybody in.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let this = Self { address: listener.local_addr().unwrap(), shelf: Arc::default() };
        let shelf = Arc::clone(&this.shelf);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shelf = Arc::clone(&shelf);
                std::thread::spawn(move || serve(stream, &shelf));
            }
        });
        this
    }

    /// From now on it wants `user:password`.
    #[must_use]
    pub fn for_members(self, credentials: &str) -> Self {
        self.shelf().credentials = Some(credentials.to_owned());
        self
    }

    /// Puts a package with one module there, whose `VERSION` is the version.
    pub fn publish(&self, name: &str, version: &str) {
        let file = format!("{name}-{version}-py3-none-any.whl");
        let wheel = wheel(name, version);
        self.shelf().wheels.insert(file, wheel);
    }

    /// Its address, as pip and uv take it.
    pub fn url(&self) -> String {
        format!("http://{}/simple", self.address)
    }

    /// How many requests were refused, and how many were answered.
    pub fn requests(&self) -> (usize, usize) {
        let shelf = self.shelf();
        (shelf.refused, shelf.served)
    }

    fn shelf(&self) -> std::sync::MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers one connection until its client has no more requests.
fn serve(mut stream: TcpStream, shelf: &Mutex<Shelf>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end() {
                "" => break,
                text => lines.push(text.to_owned()),
            }
        }
        let mut words = lines.first()?.split(' ');
        let (method, path) = (words.next()?, words.next()?);
        let shown = lines.iter().filter_map(|line| line.split_once(": "));
        let shown =
            shown.filter(|(name, _)| name.eq_ignore_ascii_case("authorization")).map(|(_, it)| it).next();
        let (status, kind, body) = shelf.lock().unwrap_or_else(PoisonError::into_inner).answer(path, shown);
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
             www-authenticate: Basic realm=\"packages\"\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).ok()?;
        if method != "HEAD" {
            stream.write_all(&body).ok()?;
        }
    }
}

impl Shelf {
    fn answer(&mut self, path: &str, shown: Option<&str>) -> (&'static str, &'static str, Vec<u8>) {
        let wanted = self.credentials.as_ref().map(|it| format!("Basic {}", STANDARD.encode(it)));
        if wanted.is_some() && wanted.as_deref() != shown {
            self.refused += 1;
            return ("401 Unauthorized", "text/plain", Vec::new());
        }
        self.served += 1;
        if let Some(wheel) = path.strip_prefix("/files/").and_then(|name| self.wheels.get(name)) {
            return ("200 OK", "application/zip", wheel.clone());
        }
        let name = path.strip_prefix("/simple/").map(|name| name.trim_end_matches('/')).unwrap_or_default();
        let files = self.wheels.keys().filter(|file| file.split('-').next() == Some(name));
        let mut links = String::new();
        for file in files {
            // Writing into a String cannot fail.
            let _ = writeln!(links, "<a href=\"/files/{file}\">{file}</a>");
        }
        match links.is_empty() {
            true => ("404 Not Found", "text/plain", Vec::new()),
            false => ("200 OK", "text/html", links.into_bytes()),
        }
    }
}

/// A wheel with one module.
fn wheel(name: &str, version: &str) -> Vec<u8> {
    let about = format!("{name}-{version}.dist-info");
    let files = [
        (format!("{name}.py"), format!("VERSION = {version:?}\n")),
        (format!("{about}/METADATA"), format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")),
        (
            format!("{about}/WHEEL"),
            "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n".to_owned(),
        ),
    ];
    let record: String = files.iter().map(|(path, _)| format!("{path},,\n")).collect();
    let record = (format!("{about}/RECORD"), format!("{record}{about}/RECORD,,\n"));
    zip(files.into_iter().chain([record]))
}

/// An archive of files as they are, not compressed.
fn zip(files: impl Iterator<Item = (String, String)>) -> Vec<u8> {
    let (mut archive, mut directory, mut count) = (Vec::new(), Vec::new(), 0_u16);
    for (path, text) in files {
        let offset = u32::try_from(archive.len()).unwrap();
        let (path_length, length) = (u16::try_from(path.len()).unwrap(), u32::try_from(text.len()).unwrap());
        // Version 2.0, no flags, stored, 1980-01-01; then what it holds.
        let mut facts = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        facts.extend(crc32(text.as_bytes()).to_le_bytes());
        facts.extend([length.to_le_bytes(), length.to_le_bytes()].concat());
        facts.extend(path_length.to_le_bytes());
        facts.extend([0, 0]);
        archive.extend([b"PK\x03\x04".as_slice(), &facts, path.as_bytes(), text.as_bytes()].concat());
        directory
            .extend([b"PK\x01\x02\x14\x00".as_slice(), &facts, &[0; 10], &offset.to_le_bytes()].concat());
        directory.extend(path.as_bytes());
        count += 1;
    }
    let (size, offset) = (u32::try_from(directory.len()).unwrap(), u32::try_from(archive.len()).unwrap());
    archive.extend(directory);
    archive.extend(b"PK\x05\x06\0\0\0\0");
    archive.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
    archive.extend([size.to_le_bytes(), offset.to_le_bytes()].concat());
    archive.extend([0, 0]);
    archive
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & 0_u32.wrapping_sub(crc & 1)))
    };
    !bytes.iter().fold(u32::MAX, step)
}
