//! References to secrets. The value is never here: it is resolved where it is used, and masked in what is shown.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a secret's value is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SecretRef {
    /// `env://NAME`: an environment variable of the process that resolves it.
    Environment {
        /// Its name.
        name: String,
    },
    /// `aws-ssm:///path/name`: a parameter of Systems Manager; `aws-ssm://name` for one without a path.
    Parameter {
        /// Its name, with the leading `/` if it has one.
        name: String,
    },
    /// `aws-secretsmanager://id#key`: a secret of Secrets Manager, or one key of its JSON object.
    Secret {
        /// Its name or ARN.
        id: String,
        /// The key of the JSON object; `None`: the whole text.
        key: Option<String>,
    },
}

/// A text that is no reference to a secret. It does not hold the text, which may be a secret itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a reference to a secret: write env://NAME, aws-ssm:///path/name or aws-secretsmanager://id#key")]
pub struct NotASecretRef;

impl FromStr for SecretRef {
    type Err = NotASecretRef;

    fn from_str(text: &str) -> Result<Self, NotASecretRef> {
        let plain = |part: &str| !part.is_empty() && !part.chars().any(|c| c.is_control() || c == ' ');
        if let Some(name) = text.strip_prefix("env://") {
            let mut bytes = name.bytes();
            let named = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
                && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
            return named.then(|| Self::Environment { name: name.to_owned() }).ok_or(NotASecretRef);
        }
        if let Some(name) = text.strip_prefix("aws-ssm://") {
            let named = plain(name) && name != "/";
            return named.then(|| Self::Parameter { name: name.to_owned() }).ok_or(NotASecretRef);
        }
        let secret = text.strip_prefix("aws-secretsmanager://").ok_or(NotASecretRef)?;
        let (id, key) = secret.split_once('#').map_or((secret, None), |(id, key)| (id, Some(key)));
        if plain(id) && key.is_none_or(plain) {
            Ok(Self::Secret { id: id.to_owned(), key: key.map(ToOwned::to_owned) })
        } else {
            Err(NotASecretRef)
        }
    }
}

impl TryFrom<String> for SecretRef {
    type Error = NotASecretRef;

    fn try_from(text: String) -> Result<Self, NotASecretRef> {
        text.parse()
    }
}

impl From<SecretRef> for String {
    fn from(reference: SecretRef) -> Self {
        reference.to_string()
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment { name } => write!(f, "env://{name}"),
            Self::Parameter { name } => write!(f, "aws-ssm://{name}"),
            Self::Secret { id, key: None } => write!(f, "aws-secretsmanager://{id}"),
            Self::Secret { id, key: Some(key) } => write!(f, "aws-secretsmanager://{id}#{key}"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_reads_back_as_it_was_written() {
        for text in [
            "env://PG_DSN",
            "aws-ssm:///prod/api-key",
            "aws-ssm://api-key",
            "aws-secretsmanager://prod/pg",
            "aws-secretsmanager://prod/pg#dsn",
        ] {
            assert_eq!(text.parse::<SecretRef>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_literal_is_no_reference_and_the_error_does_not_show_it() {
        for text in [
            "hunter2",
            "env://",
            "env://a b",
            "aws-ssm://",
            "aws-ssm:///",
            "aws-secretsmanager://#k",
            "vault://x",
        ] {
            let error = text.parse::<SecretRef>().unwrap_err();
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
