//! Where a repository may be.

/// Why a repository's URL is refused. The message never holds the URL: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlRefused {
    /// It is empty, too long, or holds blanks or control characters, or begins like an option.
    #[error("it is not a URL")]
    Malformed,
    /// It holds a password or a token.
    #[error("it holds a password or a token")]
    HoldsPassword,
    /// Its scheme is not one of those that are fetched from.
    #[error("its scheme is not supported")]
    Scheme,
}

impl UrlRefused {
    /// What to do about it.
    pub const fn help(self) -> &'static str {
        match self {
            Self::Malformed | Self::Scheme => {
                "write https://host/path, ssh://git@host/path, git@host:path, git://host/path or the path of a folder"
            }
            Self::HoldsPassword => "remove it; use ssh with a key instead",
        }
    }
}

/// Checks where a repository is said to be: an https, ssh or git URL without a password, git's short form
/// `user@host:path`, `file://`, or the path of a folder. Whether it is there is not known.
///
/// # Errors
/// Why it is refused.
pub fn check_repo_url(url: &str) -> Result<(), UrlRefused> {
    if url.is_empty() || url.len() > 2_000 || url.starts_with('-') || url.chars().any(char::is_control) {
        return Err(UrlRefused::Malformed);
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        // `user@host:path`: what stands before the @ may not hold a password either. A path has no such @.
        return match url.split_once('@') {
            Some((user, _)) if user.contains(':') && !user.contains('/') => Err(UrlRefused::HoldsPassword),
            Some(_) | None => Ok(()),
        };
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    match scheme {
        "file" if !rest.is_empty() => Ok(()),
        "https" | "ssh" | "git" if authority.is_empty() || rest.contains(char::is_whitespace) => {
            Err(UrlRefused::Malformed)
        }
        // Over https a name without a password is a token more often than not.
        "https" | "git" if user.is_some() => Err(UrlRefused::HoldsPassword),
        "ssh" if user.is_some_and(|user| user.contains(':')) => Err(UrlRefused::HoldsPassword),
        "https" | "ssh" | "git" => Ok(()),
        _ => Err(UrlRefused::Scheme),
    }
}

/// Whether two URLs mean the same repository, whatever way they take: `https://github.com/acme/etl` and
/// `git@github.com:acme/etl.git` do. Ports are left out, since ssh has another one than https; what is on this machine
/// has one URL only.
pub fn same_remote(one: &str, other: &str) -> bool {
    one == other || place(one).is_some_and(|one| place(other) == Some(one))
}

/// The host and the path; `None` for what is on this machine.
fn place(url: &str) -> Option<(String, String)> {
    let (authority, path) = match url.split_once("://") {
        Some(("file", _)) => return None,
        Some((_, rest)) => rest.split_once('/')?,
        // `user@host:path`; a path of this machine has no such colon before its first slash.
        None => url.split_once(':').filter(|(host, _)| !host.contains('/'))?,
    };
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.rsplit_once(':') {
        // Not the colons within `[::1]`.
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    let path = path.split(['?', '#']).next().unwrap_or_default().trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let named = !host.is_empty() && !path.is_empty();
    named.then(|| (host.to_ascii_lowercase(), path.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_without_secrets_are_taken() {
        for url in [
            "https://github.com/acme/etl.git",
            "git@github.com:acme/etl.git",
            "ssh://git@host:2222/acme/etl.git",
            "git://127.0.0.1:9418/etl",
            "file:///srv/etl",
            "/srv/etl",
            "./etl",
            "/srv/a@b:c/etl",
        ] {
            assert_eq!(check_repo_url(url), Ok(()), "{url}");
        }
    }

    #[test]
    fn a_url_that_holds_a_password_or_a_token_is_refused() {
        for url in [
            "https://me:secret@github.com/acme/etl.git",
            "https://ghp_token@github.com/acme/etl.git",
            "ssh://git:secret@host/etl",
            "me:secret@host:etl",
            "https://a@b:c@host/etl",
        ] {
            assert_eq!(check_repo_url(url), Err(UrlRefused::HoldsPassword), "{url}");
        }
        assert_eq!(check_repo_url("--upload-pack=x"), Err(UrlRefused::Malformed));
        assert_eq!(check_repo_url("https:///x"), Err(UrlRefused::Malformed));
        assert_eq!(check_repo_url("ftp://host/x"), Err(UrlRefused::Scheme));
        assert_eq!(check_repo_url("http://host/x"), Err(UrlRefused::Scheme));
        assert_eq!(check_repo_url(""), Err(UrlRefused::Malformed));
    }

    #[test]
    fn a_repository_is_known_by_its_host_and_path_whatever_way_leads_there() {
        let same = [
            "https://github.com/acme/etl.git",
            "https://GitHub.com/Acme/ETL",
            "git@github.com:acme/etl.git",
            "ssh://git@github.com:2222/acme/etl.git",
            "git://github.com/acme/etl/",
            "https://github.com:8443/acme/etl",
        ];
        for (one, other) in same.iter().flat_map(|one| same.iter().map(move |other| (one, other))) {
            assert!(same_remote(one, other), "{one} and {other}");
        }
        assert!(same_remote("git://[::1]:9418/etl", "ssh://git@[::1]/etl.git"));
        for other in [
            "https://github.com/acme/etl2",
            "https://github.com/other/etl",
            "https://gitlab.com/acme/etl",
            "https://github.com.evil.example/acme/etl",
            "/acme/etl",
            "file:///acme/etl",
            "file://github.com/acme/etl",
            "https://github.com/",
            "",
        ] {
            assert!(!same_remote("https://github.com/acme/etl", other), "{other}");
            assert!(!same_remote(other, "https://github.com/acme/etl"), "{other}");
        }
        assert!(same_remote("file:///srv/etl", "file:///srv/etl"));
        assert!(!same_remote("file:///srv/etl", "file:///srv/etl.git"));
    }
}
