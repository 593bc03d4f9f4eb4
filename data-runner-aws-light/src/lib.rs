//! AWS without its SDK, for agents and whoever wants little of it: instance metadata, the machine's credentials, spot
//! notices, parameters, secrets and quotas.
//!
//! [`Imds`] asks the instance metadata service (version 2 only). [`MachineCredentials`] takes credentials from the
//! environment or, on EC2, from the machine's role; it is a [`ProvideCredentials`] as the SDK's own are, so whatever
//! signs calls can use it, and [`Aws`] can sign with those that the SDK found. [`AwsSecrets`] resolves references to
//! secrets for both, and [`SecretNames`] looks whether they are there.
//!
//! Endpoints can be moved: `AWS_EC2_METADATA_SERVICE_ENDPOINT`, `AWS_ENDPOINT_URL` and `AWS_ENDPOINT_URL_SSM`,
//! `AWS_ENDPOINT_URL_SECRETS_MANAGER` and `AWS_ENDPOINT_URL_SERVICE_QUOTAS`, as the SDKs do it.

mod call;
mod credentials;
mod endpoint;
mod imds;
mod notice;
mod probe;
mod secrets;

pub use aws_credential_types::Credentials;
pub use aws_credential_types::provider::error::CredentialsError;
pub use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
pub use call::{Aws, CallError};
pub use credentials::MachineCredentials;
pub use endpoint::Endpoints;
pub use imds::{Imds, ImdsError};
pub use notice::{NOTICE_EVERY, Notice, notices};
pub use probe::SecretNames;
pub use secrets::{AwsSecrets, EnvironmentSecrets};

/// One reading of the environment, so that tests need not change their process's own.
pub(crate) type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

pub(crate) fn of_process(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
