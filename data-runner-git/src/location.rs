//! What a repository's URL says.

use std::path::{Path, PathBuf};

use data_runner_core::port::SourceError;

/// How a repository is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Https,
    Ssh,
    /// Neither encrypted nor authenticated: `http` and `git`.
    Plain,
    File,
}

/// A repository's address without any secret in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RemoteUrl {
    pub(crate) text: String,
    pub(crate) scheme: Scheme,
    /// Empty for files.
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
}

/// Where a URL points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    Remote(RemoteUrl),
    Path(PathBuf),
}

impl Location {
    /// Reads a URL; an error never repeats a password.
    pub(crate) fn parse(url: &str) -> Result<Self, SourceError> {
        if url.is_empty() || url.starts_with('-') || url.chars().any(char::is_control) {
            return Err(refused(url, "this is neither a URL nor a path"));
        }
        if let Some((scheme, rest)) = url.split_once("://") {
            return with_scheme(url, scheme, rest).map(Self::Remote);
        }
        match url.split_once(':') {
            Some((authority, path)) if !authority.contains('/') => {
                scp_like(url, authority, path).map(Self::Remote)
            }
            Some(_) | None => std::path::absolute(url)
                .map(Self::Path)
                .map_err(|error| refused(url, &format!("this path cannot be used: {error}"))),
        }
    }
}

impl RemoteUrl {
    /// The commits of a repository on this machine.
    pub(crate) fn of_path(path: &Path) -> Result<Self, SourceError> {
        let text = path.to_str().ok_or_else(|| refused(&path.to_string_lossy(), "the path is not UTF-8"))?;
        Ok(Self { text: text.to_owned(), scheme: Scheme::File, host: String::new(), port: None })
    }
}

fn with_scheme(url: &str, scheme: &str, rest: &str) -> Result<RemoteUrl, SourceError> {
    let scheme = match scheme {
        "https" => Scheme::Https,
        "ssh" | "git+ssh" | "ssh+git" => Scheme::Ssh,
        "http" | "git" => Scheme::Plain,
        "file" => Scheme::File,
        other => {
            let message = format!("{other:?} is no scheme of a repository: use https, ssh or a path");
            return Err(refused(&shown(url), &message));
        }
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host_and_port) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    check_user(url, scheme, user)?;
    let (host, port) = host_and_port_of(&shown(url), host_and_port)?;
    let hostless = scheme == Scheme::File;
    if hostless != host.is_empty() || (!hostless && path.is_empty()) {
        return Err(refused(&shown(url), "a URL is https://host/path, ssh://user@host/path or file:///path"));
    }
    Ok(RemoteUrl { text: url.to_owned(), scheme, host, port })
}

fn scp_like(url: &str, authority: &str, path: &str) -> Result<RemoteUrl, SourceError> {
    // `user:password@host:path` is the only such text with an `@` behind the first colon and no slash before it.
    if path.split('/').next().is_some_and(|first| first.contains('@')) {
        return Err(refused(&shown(url), PASSWORD));
    }
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = host_and_port_of(&shown(url), host)?;
    // `name::rest` is how git names a helper program.
    if host.is_empty() || path.is_empty() || path.starts_with(':') || port.is_some() {
        return Err(refused(&shown(url), "an address for ssh is user@host:path"));
    }
    Ok(RemoteUrl { text: url.to_owned(), scheme: Scheme::Ssh, host, port: None })
}

const PASSWORD: &str = "a URL must not hold a password or a token: URLs are shown in lists, logs and errors. Take it out \
     and give it by configuration, or keep it in git's credential helper";

fn check_user(url: &str, scheme: Scheme, user: Option<&str>) -> Result<(), SourceError> {
    match (scheme, user) {
        (_, None) => Ok(()),
        (Scheme::Ssh, Some(user)) if !user.contains(':') && !user.is_empty() => Ok(()),
        // With https even a user name alone may be a token.
        (Scheme::Ssh | Scheme::Https | Scheme::Plain | Scheme::File, Some(_)) => {
            Err(refused(&shown(url), PASSWORD))
        }
    }
}

fn host_and_port_of(shown: &str, text: &str) -> Result<(String, Option<u16>), SourceError> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !port.contains(']') => {
            let port = port.parse().map_err(|_| refused(shown, "the port is not a number up to 65535"))?;
            (host, Some(port))
        }
        Some(_) | None => (text, None),
    };
    if host.starts_with('-') || host.chars().any(char::is_whitespace) {
        return Err(refused(shown, "this is not the name of a host"));
    }
    Ok((host.to_ascii_lowercase(), port))
}

/// The URL without what stands before an `@`.
fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let without_user = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    if scheme.is_empty() { without_user.to_owned() } else { format!("{scheme}://{without_user}") }
}

fn refused(path: &str, message: &str) -> SourceError {
    SourceError::Refused { path: path.to_owned(), message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    fn remote(url: &str) -> RemoteUrl {
        match Location::parse(url).unwrap() {
            Location::Remote(remote) => remote,
            Location::Path(path) => panic!("{url} was taken for the path {}", path.display()),
        }
    }

    #[test]
    fn a_url_says_how_and_whom_to_speak_to() {
        for (url, scheme, host, port) in [
            ("https://github.com/acme/etl.git", Scheme::Https, "github.com", None),
            ("https://Git.Example:8443/etl", Scheme::Https, "git.example", Some(8443)),
            ("ssh://git@git.example:2222/etl.git", Scheme::Ssh, "git.example", Some(2222)),
            ("git@github.com:acme/etl.git", Scheme::Ssh, "github.com", None),
            ("github.com:acme/etl.git", Scheme::Ssh, "github.com", None),
            ("git://git.example/etl", Scheme::Plain, "git.example", None),
            ("file:///srv/etl.git", Scheme::File, "", None),
        ] {
            let read = remote(url);
            assert_eq!((read.scheme, read.host.as_str(), read.port), (scheme, host, port), "{url}");
            assert_eq!(read.text, url);
        }
        assert_eq!(Location::parse("/srv/etl").unwrap(), Location::Path("/srv/etl".into()));
        assert!(matches!(Location::parse("./a:b/c").unwrap(), Location::Path(_)));
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        for url in [
            "https://me:hunter2@github.com/etl",
            "https://hunter2@github.com/etl",
            "ssh://me:hunter2@github.com/etl",
            "me:hunter2@github.com:etl",
            "ftp://me:hunter2@github.com/etl",
            "https://me:hun/ter2@github.com/etl",
        ] {
            let error = Location::parse(url).unwrap_err();
            assert!(matches!(error, SourceError::Refused { .. }), "{url}");
            assert!(!error.to_string().contains("ter2"), "{error}");
        }
    }

    #[test]
    fn what_can_never_work_is_refused() {
        for url in [
            "",
            "--upload-pack=x",
            "https://",
            "https://host",
            "ssh://-oProxy/x",
            "-x:y",
            "a\nb",
            "file://host/x",
        ] {
            assert!(matches!(Location::parse(url), Err(SourceError::Refused { .. })), "{url:?}");
        }
        assert!(matches!(Location::parse("ext::sh -c x"), Err(SourceError::Refused { .. })));
    }
}
