//! `api`: any request, for what has no command of its own.

use std::fs;
use std::io::{self, Read as _, Write as _};

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::args::ApiArgs;
use crate::client::{Client, Refusal};
use crate::error::Error;

/// Sends the request; the answer's body goes to stdout as it comes, whatever its status.
pub async fn api(args: &ApiArgs, client: &Client) -> Result<u8, Error> {
    let method = Method::from_bytes(args.method.to_ascii_uppercase().as_bytes()).map_err(|_| {
        Error::usage(format!("{:?} is no HTTP method", args.method), "such as GET, POST or DELETE")
    })?;
    let path = if args.path.starts_with('/') { args.path.clone() } else { format!("/{}", args.path) };
    let body = args.data.as_deref().map(body).transpose()?;
    let mut answer = client.exchange(method, &path, headers(&args.header)?, body, None).await?;
    let status = answer.status();
    let mut last = None;
    while let Some(chunk) = answer.chunk().await.map_err(|source| client.unreachable(source))? {
        let mut out = io::stdout().lock();
        out.write_all(&chunk)?;
        out.flush()?;
        last = chunk.last().copied().or(last);
    }
    if last.is_some_and(|byte| byte != b'\n') {
        writeln!(io::stdout().lock())?;
    }
    if status.is_success() {
        return Ok(0);
    }
    // The body on stdout says why; the exit code says what kind.
    let reason = status.canonical_reason().unwrap_or("refused");
    Ok(Error::Server(Refusal::read(status.as_u16(), reason, "")).exit_code())
}

fn headers(given: &[String]) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    for header in given {
        let wrong = || Error::usage(format!("{header:?} is no header"), "write it as 'Name: value'");
        let (name, value) = header.split_once(':').ok_or_else(wrong)?;
        let name = HeaderName::try_from(name.trim()).map_err(|_| wrong())?;
        headers.append(name, HeaderValue::try_from(value.trim()).map_err(|_| wrong())?);
    }
    Ok(headers)
}

fn body(given: &str) -> Result<Vec<u8>, Error> {
    if given == "-" {
        let mut body = Vec::new();
        io::stdin().lock().read_to_end(&mut body).map_err(|source| Error::io("cannot read stdin", source))?;
        return Ok(body);
    }
    match given.strip_prefix('@') {
        Some(path) => fs::read(path).map_err(|source| Error::io(format!("cannot read {path}"), source)),
        None => Ok(given.as_bytes().to_vec()),
    }
}
