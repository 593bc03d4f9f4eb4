//! Host keys against a file of known ones.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What a file of known hosts says of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Known,
    /// The host is there with other keys only: it changed, or someone stands between.
    Different,
    Unknown,
    Revoked,
}

/// Judges the key (`kind` such as `ssh-ed25519`, `key` in its wire form) that `host` showed.
pub(crate) fn judge(known_hosts: &str, host: &str, port: Option<u16>, kind: &str, key: &[u8]) -> Verdict {
    let key = STANDARD.encode(key);
    let mut verdict = Verdict::Unknown;
    for line in known_hosts.lines() {
        let mut words = line.split_ascii_whitespace().peekable();
        let marker = words.next_if(|word| word.starts_with('@'));
        let (Some(patterns), Some(line_kind), Some(line_key)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        if patterns.starts_with('#') || !names(patterns, host, port.unwrap_or(22)) {
            continue;
        }
        match marker {
            Some("@revoked") if line_key == key => return Verdict::Revoked,
            // Keys of certificate authorities say nothing of a plain key.
            Some(_) => {}
            None if line_kind == kind && line_key == key => verdict = Verdict::Known,
            None if line_kind == kind && verdict == Verdict::Unknown => verdict = Verdict::Different,
            None => {}
        }
    }
    verdict
}

/// Whether `patterns`, separated by commas, name the host; one that is negated takes it away again.
fn names(patterns: &str, host: &str, port: u16) -> bool {
    let name = if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") };
    let mut named = false;
    for pattern in patterns.split(',') {
        match pattern.strip_prefix('!') {
            Some(pattern) if matches(pattern.as_bytes(), name.as_bytes()) => return false,
            Some(_) => {}
            None => named |= matches(pattern.as_bytes(), name.as_bytes()),
        }
    }
    named
}

fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|from| matches(rest, &name[from..])),
        Some((b'?', rest)) => !name.is_empty() && matches(rest, &name[1..]),
        Some((byte, rest)) => {
            name.first().is_some_and(|b| b.eq_ignore_ascii_case(byte)) && matches(rest, &name[1..])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# comment\n\
        git.example,10.0.0.1 ssh-ed25519 AQID me@here\n\
        [git.example]:2222 ssh-ed25519 BAUG\n\
        *.internal,!bad.internal ssh-rsa AQID\n\
        @revoked old.example ssh-rsa AQID\n\
        @cert-authority ca.example ssh-rsa AQID\n";

    #[test]
    fn a_key_is_known_only_for_its_host_port_and_kind() {
        let judged = |host, port, kind, key: &[u8]| judge(FILE, host, port, kind, key);
        assert_eq!(judged("git.example", None, "ssh-ed25519", &[1, 2, 3]), Verdict::Known);
        assert_eq!(judged("10.0.0.1", Some(22), "ssh-ed25519", &[1, 2, 3]), Verdict::Known);
        assert_eq!(judged("git.example", Some(2222), "ssh-ed25519", &[1, 2, 3]), Verdict::Different);
        assert_eq!(judged("git.example", Some(2222), "ssh-ed25519", &[4, 5, 6]), Verdict::Known);
        assert_eq!(judged("git.example", None, "ssh-rsa", &[1, 2, 3]), Verdict::Unknown);
        assert_eq!(judged("a.internal", None, "ssh-rsa", &[1, 2, 3]), Verdict::Known);
        assert_eq!(judged("bad.internal", None, "ssh-rsa", &[1, 2, 3]), Verdict::Unknown);
        assert_eq!(judged("old.example", None, "ssh-rsa", &[1, 2, 3]), Verdict::Revoked);
        assert_eq!(judged("ca.example", None, "ssh-rsa", &[1, 2, 3]), Verdict::Unknown);
        assert_eq!(judged("example", None, "ssh-ed25519", &[1, 2, 3]), Verdict::Unknown);
    }
}
