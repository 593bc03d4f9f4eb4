//! S3 for jobs: where it is, and who the job is there.

use std::collections::BTreeMap;
use std::ffi::OsString;

use async_trait::async_trait;
use data_runner_core::port::{SecretValue, Source};

use crate::duckdb::quoted;

const KEY: &str = "AWS_ACCESS_KEY_ID";
const SECRET: &str = "AWS_SECRET_ACCESS_KEY";
const SESSION: &str = "AWS_SESSION_TOKEN";

/// Who this machine is on AWS, for programs that cannot find that out themselves.
#[async_trait]
pub trait CloudCredentials: Send + Sync + std::fmt::Debug + 'static {
    /// Credentials that are good for a while. `None`: it is nobody.
    async fn credentials(&self) -> Result<Option<CloudKeys>, Source>;
}

/// A key of AWS. `Debug` does not show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudKeys {
    /// The access key's name.
    pub key_id: SecretValue,
    /// The key itself.
    pub secret: SecretValue,
    /// What comes with the key of a role.
    pub session_token: Option<SecretValue>,
}

impl CloudKeys {
    /// As the variables that programs know.
    pub(crate) fn into_variables(self) -> BTreeMap<String, SecretValue> {
        let Self { key_id, secret, session_token } = self;
        [(KEY, Some(key_id)), (SECRET, Some(secret)), (SESSION, session_token)]
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect()
    }
}

/// Whether a job with these variables was told who it is.
pub(crate) fn is_told<'a>(mut names: impl Iterator<Item = &'a String>) -> bool {
    names.any(|name| name == KEY)
}

/// The statement by which DuckDB knows S3, for a job with variables of these names; `None`: as nobody, where AWS is.
///
/// Values stay in the environment: a command line can be read by every process of the machine.
pub(crate) fn duckdb_secret(
    chain: bool,
    names: &[&str],
    variables: &BTreeMap<String, OsString>,
) -> Option<String> {
    let mut options = Vec::new();
    let mut add = |option: &str, name: &str| {
        if names.contains(&name) {
            options.push(format!("{option} getenv('{name}')"));
        }
    };
    if chain {
        options.push("PROVIDER credential_chain, REFRESH auto, VALIDATION 'none'".to_owned());
    } else {
        add("KEY_ID", KEY);
        add("SECRET", SECRET);
        add("SESSION_TOKEN", SESSION);
    }
    options.extend(endpoint(variables).and_then(|url| {
        let (host, secure) = match url.split_once("://") {
            Some(("http", host)) => (host, false),
            Some(("https", host)) => (host, true),
            Some(_) | None => return None,
        };
        let host = quoted(host.trim_end_matches('/'));
        Some(format!("ENDPOINT {host}, URL_STYLE 'path', USE_SSL {secure}"))
    }));
    if options.is_empty() {
        return None;
    }
    if names.contains(&"AWS_REGION") {
        options.push("REGION getenv('AWS_REGION')".to_owned());
    }
    Some(format!("CREATE SECRET (TYPE s3, {})", options.join(", ")))
}

/// What Polars must be told in words of its own; the role it finds by itself.
pub(crate) fn for_polars(variables: &BTreeMap<String, OsString>) -> Vec<(String, OsString)> {
    let mut own = Vec::new();
    if let Some(endpoint) = variables.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") {
        own.push(("AWS_METADATA_ENDPOINT".to_owned(), endpoint.clone()));
    }
    if let Some(url) = endpoint(variables) {
        if url.starts_with("http://") {
            own.push(("AWS_ALLOW_HTTP".to_owned(), "true".into()));
        }
        own.push(("AWS_ENDPOINT_URL".to_owned(), url.into()));
    }
    own.retain(|(name, _)| name == "AWS_ENDPOINT_URL" || !variables.contains_key(name));
    own
}

/// Where S3 is, if not where AWS has it.
fn endpoint(variables: &BTreeMap<String, OsString>) -> Option<String> {
    let said = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"].into_iter().find_map(|name| variables.get(name));
    said.and_then(|url| url.to_str()).filter(|url| !url.is_empty()).map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(all: &[(&str, &str)]) -> BTreeMap<String, OsString> {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect()
    }

    #[test]
    fn duckdb_takes_keys_from_its_environment_and_none_stands_on_its_command_line() {
        let names = [KEY, SECRET, SESSION, "AWS_REGION"];
        assert_eq!(
            duckdb_secret(false, &names, &variables(&[(SECRET, "hunter2")])).unwrap_or_default(),
            "CREATE SECRET (TYPE s3, KEY_ID getenv('AWS_ACCESS_KEY_ID'), SECRET getenv('AWS_SECRET_ACCESS_KEY'), \
             SESSION_TOKEN getenv('AWS_SESSION_TOKEN'), REGION getenv('AWS_REGION'))"
        );
        assert_eq!(
            duckdb_secret(false, &["AWS_REGION"], &variables(&[])),
            None,
            "public data needs no secret"
        );
    }

    #[test]
    fn an_endpoint_of_ones_own_is_addressed_by_path() {
        let moved =
            variables(&[("AWS_ENDPOINT_URL_S3", "http://mock:5000/"), ("AWS_ENDPOINT_URL", "http://x")]);
        assert_eq!(
            duckdb_secret(true, &[], &moved).unwrap_or_default(),
            "CREATE SECRET (TYPE s3, PROVIDER credential_chain, REFRESH auto, VALIDATION 'none', \
             ENDPOINT 'mock:5000', URL_STYLE 'path', USE_SSL false)"
        );
        assert_eq!(
            for_polars(&moved),
            [("AWS_ALLOW_HTTP", "true"), ("AWS_ENDPOINT_URL", "http://mock:5000/")]
                .map(|(name, value)| (name.to_owned(), value.into()))
        );
        assert_eq!(for_polars(&variables(&[("AWS_REGION", "eu-west-1")])), []);
    }
}
