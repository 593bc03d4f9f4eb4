//! As much of S3 and of the metadata service as the tests need. Who asks without the role's key is refused.

use std::collections::BTreeMap;
use std::io::{BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;

pub const KEY: &str = "AKIAROLE";
pub const SESSION: &str = "session-of-the-role";

static OBJECTS: Mutex<BTreeMap<String, Vec<u8>>> = Mutex::new(BTreeMap::new());

struct Request {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// A server that holds `bucket/in.csv`; its address.
pub fn start(input: &[u8]) -> String {
    OBJECTS.lock().unwrap().insert("/bucket/in.csv".to_owned(), input.to_vec());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            std::thread::spawn(move || serve(stream));
        }
    });
    url
}

/// What was written there.
pub fn object(path: &str) -> Option<Vec<u8>> {
    OBJECTS.lock().unwrap().get(path).cloned()
}

fn serve(mut stream: TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let request = read(&mut reader)?;
        let (status, mut headers, body) = answer(&request);
        headers.push(format!("content-length: {}", body.len()));
        let head = format!("HTTP/1.1 {status}\r\n{}\r\n\r\n", headers.join("\r\n"));
        stream.write_all(head.as_bytes()).ok()?;
        if request.method != "HEAD" {
            stream.write_all(&body).ok()?;
        }
    }
}

fn read(reader: &mut impl std::io::BufRead) -> Option<Request> {
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
    let mut words = lines.first()?.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let headers: BTreeMap<String, String> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let path = path.split('?').next()?.to_owned();
    Some(Request { method, path, headers, body })
}

type Answer = (&'static str, Vec<String>, Vec<u8>);

fn answer(request: &Request) -> Answer {
    let text = |text: String| ("200 OK", Vec::new(), text.into_bytes());
    match request.path.as_str() {
        "/latest/api/token" => return text("token".to_owned()),
        "/latest/meta-data/iam/security-credentials/" => return text("etl".to_owned()),
        "/latest/meta-data/iam/security-credentials/etl" => {
            return text(format!(
                r#"{{"Code": "Success", "AccessKeyId": "{KEY}", "SecretAccessKey": "the-secret-of-the-role",
                    "Token": "{SESSION}", "Expiration": "2099-01-01T00:00:00Z",
                    "LastUpdated": "2026-01-01T00:00:00Z", "Type": "AWS-HMAC"}}"#
            ));
        }
        _ => {}
    }
    let header = |name: &str| request.headers.get(name).cloned().unwrap_or_default();
    if !header("authorization").contains(KEY) || header("x-amz-security-token") != SESSION {
        return ("403 Forbidden", Vec::new(), Vec::new());
    }
    let mut headers = vec!["etag: \"x\"".to_owned()];
    if request.method == "PUT" {
        OBJECTS.lock().unwrap().insert(request.path.clone(), request.body.clone());
        return ("200 OK", headers, Vec::new());
    }
    let Some(object) = object(&request.path) else {
        return ("404 Not Found", Vec::new(), Vec::new());
    };
    headers
        .extend(["last-modified: Thu, 26 Nov 2026 20:00:00 GMT", "accept-ranges: bytes"].map(str::to_owned));
    let range = header("range");
    let Some((from, to)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return ("200 OK", headers, object);
    };
    let last = object.len() - 1;
    let (from, to) = match (from.parse::<usize>(), to.parse::<usize>()) {
        (Ok(from), Ok(to)) => (from, to.min(last)),
        (Ok(from), Err(_)) => (from, last),
        // The last so many.
        (Err(_), Ok(length)) => (object.len().saturating_sub(length), last),
        (Err(_), Err(_)) => (0, last),
    };
    headers.push(format!("content-range: bytes {from}-{to}/{}", object.len()));
    ("206 Partial Content", headers, object[from..=to].to_vec())
}
