//! The package index, and who we are there.
//!
//! The credentials are resolved each time that the index is asked, and handed to the tool in its environment, as part of
//! the index's address: no other server is shown them, and they are no part of a command line, a file, or what tells
//! environments apart. What the tool says is masked.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use data_runner_core::execution::Failure;
use data_runner_core::port::{SecretResolver, SecretValue};
use data_runner_core::workflow::SecretRef;
use tokio::runtime::Handle;

use super::{EnvironmentError, failure};
use crate::mask::Secrets;

/// How long the credentials may take.
const WITHIN: Duration = Duration::from_secs(45);

/// Whose password a token is: the name that indexes take it under.
const TOKEN_USER: &str = "__token__";

/// A package index.
#[derive(Debug, Clone)]
pub struct PackageIndex {
    /// Where it is; holds no password.
    pub url: String,
    /// Who we are there; `None`: it lets everybody in.
    pub auth: Option<IndexAuth>,
}

/// The credentials for a package index: where they are, and what reads them there. The value is `user:password`, or a
/// token, which is the password of the user `__token__`.
#[derive(Clone)]
pub struct IndexAuth {
    /// Where they are.
    pub reference: SecretRef,
    /// What reads them, each time that the index is asked.
    pub resolver: Arc<dyn SecretResolver>,
}

impl fmt::Debug for IndexAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IndexAuth({})", self.reference)
    }
}

/// An index that can be asked.
pub(super) struct Access<'a> {
    index: &'a PackageIndex,
    credentials: Option<Credentials>,
}

/// What an index is shown.
struct Credentials {
    user: String,
    password: SecretValue,
}

impl PackageIndex {
    /// Resolves the credentials. It blocks, on a thread that a runtime keeps for that.
    pub(super) fn access(&self) -> Result<Access<'_>, EnvironmentError> {
        let credentials = self.auth.as_ref().map(IndexAuth::resolve).transpose()?;
        Ok(Access { index: self, credentials })
    }
}

impl IndexAuth {
    fn resolve(&self) -> Result<Credentials, Failure> {
        let none = |why: &str| failure(format!("no credentials for the package index: {why}"));
        let runtime = Handle::try_current().map_err(|error| none(&error.to_string()))?;
        let asked = async { tokio::time::timeout(WITHIN, self.resolver.resolve(&self.reference)).await };
        let value = match runtime.block_on(asked) {
            Ok(Ok(value)) => value,
            Ok(Err(error)) => return Err(none(&error.in_full()).hinting(format!(
                "`python.index_auth` of the supervisor's settings names {}; it is read here, on the worker",
                self.reference
            ))),
            Err(_) => {
                let late = format!("{} was not answered within {} s", self.reference, WITHIN.as_secs());
                return Err(none(&late).hinting("can the worker reach the service?"));
            }
        };
        Credentials::of(&value)
            .ok_or_else(|| none(&format!("{} holds neither user:password nor a token", self.reference)))
    }
}

impl Credentials {
    fn of(value: &SecretValue) -> Option<Self> {
        // A secret that was made from a file often ends with the file's line.
        let text = value.expose().trim_end_matches(['\r', '\n']);
        let (user, password) = text.split_once(':').unwrap_or((TOKEN_USER, text));
        let valid = !password.is_empty() && !text.chars().any(char::is_control);
        valid.then(|| Self { user: user.to_owned(), password: SecretValue::new(password.to_owned()) })
    }

    fn mask(&self) -> Secrets {
        let both = format!("{}:{}", self.user, self.password.expose());
        Secrets::new([both.as_str(), self.password.expose()].into_iter())
    }
}

impl Access<'_> {
    /// The index's address, with the credentials in it.
    pub(super) fn url(&self) -> String {
        match (&self.credentials, self.index.url.split_once("://")) {
            (Some(Credentials { user, password }), Some((scheme, rest))) => {
                format!("{scheme}://{}:{}@{rest}", encoded(user), encoded(password.expose()))
            }
            (None, _) | (_, None) => self.index.url.clone(),
        }
    }

    /// What a tool said that failed, without the credentials, and with what to do when the index let nobody in.
    pub(super) fn explain(&self, error: EnvironmentError) -> EnvironmentError {
        let EnvironmentError::Failed(failure) = error else { return error };
        let failure = match &self.credentials {
            Some(credentials) => credentials.mask().mask_failure(failure),
            None => failure,
        };
        let refused = ["401 Unauthorized", "403 Forbidden"].iter().any(|sign| failure.message.contains(sign));
        let hint = match &self.index.auth {
            _ if !refused => return failure.into(),
            Some(auth) => format!(
                "the package index did not take the credentials of {}: it must hold user:password or a token",
                auth.reference
            ),
            None => {
                "the package index wants credentials: say where they are with `python.index_auth` in the \
                     supervisor's settings"
                    .to_owned()
            }
        };
        failure.hinting(hint).into()
    }
}

/// Percent-encoded, whatever it is.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn url_with(value: &str) -> Option<String> {
        let index = PackageIndex { url: "https://pypi.example.org/simple".to_owned(), auth: None };
        let credentials = Credentials::of(&SecretValue::new(value.to_owned()))?;
        Some(Access { index: &index, credentials: Some(credentials) }.url())
    }

    #[test]
    fn a_name_with_a_password_and_a_token_are_credentials() {
        assert_eq!(url_with("me:p@ss/w:rd\n").unwrap(), "https://me:p%40ss%2Fw%3Ard@pypi.example.org/simple");
        assert_eq!(url_with("pypi-AgEI").unwrap(), "https://__token__:pypi-AgEI@pypi.example.org/simple");
        for nothing in ["", "\n", "me:", "a\tb:c"] {
            assert_eq!(url_with(nothing), None, "{nothing:?}");
        }
    }
}
