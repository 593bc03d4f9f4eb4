//! Whether a webhook comes from who has the secret. Everything is checked over the bytes as they came, before anything of
//! them is read, and compared in constant time.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use data_runner_core::id::Sha256;
use data_runner_core::port::SecretValue;
use data_runner_core::time::Timestamp;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderMap;
use subtle::ConstantTimeEq as _;

/// How far the clock of a sender that signs the time may be from ours.
const TOLERANCE: Duration = Duration::from_secs(300);

/// What a signing token of GitLab begins with.
const SIGNING_TOKEN: &str = "whsec_";

/// A webhook is not known to come from who has the secret. Why is not told to who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unsigned;

/// A webhook as it came.
pub(crate) struct Proof<'a> {
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
    pub(crate) now: Timestamp,
}

impl Proof<'_> {
    /// GitHub signs the body. Its id of the delivery is not signed, so the signed bytes are known again as well: a page of
    /// bytes that somebody caught is worth nothing under another id.
    pub(crate) fn of_github(&self, secrets: &[SecretValue]) -> Result<Vec<String>, Unsigned> {
        let signature = self.header("x-hub-signature-256")?.strip_prefix("sha256=").ok_or(Unsigned)?;
        let signature = hex::decode(signature).map_err(|_| Unsigned)?;
        if !secrets.iter().any(|secret| signs(secret.expose().as_bytes(), &[self.body], &signature)) {
            return Err(Unsigned);
        }
        let names = [self.id("x-github-delivery"), Some(format!("sha256:{}", Sha256::of(self.body)))];
        Ok(names.into_iter().flatten().collect())
    }

    /// GitLab signs id, time and body with a signing token (`whsec_…`), or shows its secret token.
    pub(crate) fn of_gitlab(&self, secrets: &[SecretValue]) -> Result<Vec<String>, Unsigned> {
        let good = |secret: &SecretValue| match secret.expose().strip_prefix(SIGNING_TOKEN) {
            Some(key) => self.is_signed_by(key),
            None => self.shows(secret.expose()),
        };
        if !secrets.iter().any(good) {
            return Err(Unsigned);
        }
        // The same id, in the order of how well it is vouched for.
        let names = ["webhook-id", "idempotency-key", "x-gitlab-event-uuid"];
        Ok(names.into_iter().find_map(|name| self.id(name)).into_iter().collect())
    }

    fn is_signed_by(&self, key: &str) -> bool {
        let (Ok(id), Ok(at), Ok(signatures), Ok(key)) = (
            self.header("webhook-id"),
            self.header("webhook-timestamp"),
            self.header("webhook-signature"),
            STANDARD.decode(key),
        ) else {
            return false;
        };
        let near =
            at.parse::<i64>().ok().and_then(|seconds| seconds.checked_mul(1_000_000)).is_some_and(|at| {
                let at = Timestamp::from_micros(at);
                self.now.since(at).max(at.since(self.now)) <= TOLERANCE
            });
        let parts = [id.as_bytes(), b".", at.as_bytes(), b".", self.body];
        near && signatures.split(' ').any(|signature| {
            let bytes = signature.strip_prefix("v1,").and_then(|text| STANDARD.decode(text).ok());
            bytes.is_some_and(|bytes| signs(&key, &parts, &bytes))
        })
    }

    fn shows(&self, secret: &str) -> bool {
        let hash = |text: &str| Sha256::of(text.as_bytes());
        // Of hashes, so that the length is not told either.
        self.header("x-gitlab-token")
            .is_ok_and(|shown| hash(shown).as_str().as_bytes().ct_eq(hash(secret).as_str().as_bytes()).into())
    }

    /// A header that comes once.
    fn header(&self, name: &str) -> Result<&str, Unsigned> {
        let mut given = self.headers.get_all(name).iter();
        match (given.next(), given.next()) {
            (Some(one), None) => one.to_str().map_err(|_| Unsigned),
            (None, _) | (Some(_), Some(_)) => Err(Unsigned),
        }
    }

    fn id(&self, name: &str) -> Option<String> {
        let id = self.header(name).ok()?;
        (!id.is_empty() && id.len() <= 200).then(|| id.to_owned())
    }
}

fn signs(key: &[u8], parts: &[&[u8]], signature: &[u8]) -> bool {
    // A key may have any length.
    let Ok(mut mac) = Hmac::<sha2::Sha256>::new_from_slice(key) else { return false };
    for part in parts {
        mac.update(part);
    }
    mac.verify_slice(signature).is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const BODY: &[u8] = b"Hello, World!";
    const GITHUB: &str = "It's a Secret to Everybody";
    /// What GitHub's documentation gives for this secret and body.
    const SIGNATURE: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn headers(given: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn secrets(given: &[&str]) -> Vec<SecretValue> {
        given.iter().map(|&secret| SecretValue::new(secret.to_owned())).collect()
    }

    fn now() -> Timestamp {
        Timestamp::from_micros(1_785_000_000_000_000)
    }

    fn github(given: &[(&'static str, &str)], body: &[u8], known: &[&str]) -> Result<Vec<String>, Unsigned> {
        Proof { headers: &headers(given), body, now: now() }.of_github(&secrets(known))
    }

    fn gitlab(given: &[(&'static str, &str)], known: &[&str]) -> Result<Vec<String>, Unsigned> {
        Proof { headers: &headers(given), body: BODY, now: now() }.of_gitlab(&secrets(known))
    }

    #[test]
    fn github_is_known_by_its_signature_of_the_bytes() {
        let signed = ("x-hub-signature-256", SIGNATURE);
        let names = github(&[signed, ("x-github-delivery", "d1")], BODY, &["another", GITHUB]).unwrap();
        assert_eq!(names, ["d1".to_owned(), format!("sha256:{}", Sha256::of(BODY))]);
        assert_eq!(github(&[signed], b"Hello, World", &[GITHUB]), Err(Unsigned), "other bytes");
        assert_eq!(github(&[signed], BODY, &["another"]), Err(Unsigned), "another secret");
        assert_eq!(github(&[signed], BODY, &[]), Err(Unsigned), "no secret");
        assert_eq!(github(&[signed, signed], BODY, &[GITHUB]), Err(Unsigned), "two signatures");
        assert_eq!(github(&[], BODY, &[GITHUB]), Err(Unsigned), "none");
        let cut = &SIGNATURE[..SIGNATURE.len() - 2];
        for wrong in ["", "sha256=", "sha1=00", cut, SIGNATURE.strip_prefix("sha256=").unwrap(), "sha256=zz"]
        {
            assert_eq!(github(&[("x-hub-signature-256", wrong)], BODY, &[GITHUB]), Err(Unsigned), "{wrong}");
        }
    }

    #[test]
    fn gitlab_shows_its_secret_token() {
        let id = ("idempotency-key", "k1");
        let names = gitlab(&[("x-gitlab-token", "hunter2"), id], &["other", "hunter2"]).unwrap();
        assert_eq!(names, ["k1"]);
        let uuid = ("x-gitlab-event-uuid", "u1");
        assert_eq!(gitlab(&[("x-gitlab-token", "hunter2"), uuid], &["hunter2"]).unwrap(), ["u1"]);
        for wrong in ["hunter", "hunter22", "", "HUNTER2"] {
            assert_eq!(gitlab(&[("x-gitlab-token", wrong), id], &["hunter2"]), Err(Unsigned), "{wrong}");
        }
        assert_eq!(gitlab(&[id], &["hunter2"]), Err(Unsigned));
        assert_eq!(gitlab(&[("x-gitlab-token", ""), id], &[]), Err(Unsigned));
    }

    /// Signs as the specification of standard webhooks says.
    fn standard(key: &str, id: &str, at: &str) -> String {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&STANDARD.decode(key).unwrap()).unwrap();
        mac.update(format!("{id}.{at}.").as_bytes());
        mac.update(BODY);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }

    #[test]
    fn gitlab_signs_id_time_and_body_with_its_signing_token() {
        let key = STANDARD.encode([7; 32]);
        let token = format!("whsec_{key}");
        let sign = |at: &str, id: &str, signature: &str| {
            let given = [("webhook-id", id), ("webhook-timestamp", at), ("webhook-signature", signature)];
            gitlab(&given, &[&token])
        };
        let at = "1785000000";
        let signature = standard(&key, "m1", at);
        assert_eq!(sign(at, "m1", &signature).unwrap(), ["m1"]);
        assert_eq!(sign(at, "m1", &format!("v1,AAAA v2,xx {signature}")).unwrap(), ["m1"], "one of several");
        assert_eq!(sign(at, "m2", &signature), Err(Unsigned), "the id is signed");
        assert_eq!(sign("1785000001", "m1", &signature), Err(Unsigned), "and the time");
        assert_eq!(sign(at, "m1", &standard(&STANDARD.encode([8; 32]), "m1", at)), Err(Unsigned));
        for (at, good) in
            [("1784999700", true), ("1785000300", true), ("1784999699", false), ("1785000301", false)]
        {
            assert_eq!(sign(at, "m1", &standard(&key, "m1", at)).is_ok(), good, "{at}");
        }
        for at in ["", "soon", "-1", "99999999999999999999", "9223372036854775807"] {
            assert_eq!(sign(at, "m1", &standard(&key, "m1", at)), Err(Unsigned), "{at}");
        }
        let shown = gitlab(&[("x-gitlab-token", &token), ("webhook-id", "m1")], &[&token]);
        assert_eq!(shown, Err(Unsigned), "who signs does not show");
    }
}
