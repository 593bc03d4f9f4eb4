//! The clients, and why a call failed.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::config::timeout::TimeoutConfig;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use data_runner_aws_light::{Aws, Endpoints, SharedCredentialsProvider};
use data_runner_core::port::ProvisionError;

use crate::throttle::Throttle;

/// How long one try of a call may take. RunInstances answers within a few seconds; a try that is given up is repeated
/// with the same token.
const ONE_TRY: Duration = Duration::from_secs(30);

/// An account and region, and how fast it may be asked. Clones share the throttle: make one for a process.
///
/// Credentials and endpoints come from where every AWS program takes them: environment, profile, role;
/// `AWS_ENDPOINT_URL` moves all calls.
#[derive(Clone)]
pub struct AwsAccount {
    /// Reads, which the SDK repeats by itself.
    pub(crate) ec2: aws_sdk_ec2::Client,
    /// What makes and ends machines: one try a call, so that it is core that repeats, with what it committed.
    pub(crate) ec2_once: aws_sdk_ec2::Client,
    pub(crate) parameters: Arc<Aws>,
    pub(crate) region: String,
    pub(crate) throttle: Arc<Throttle>,
    pub(crate) config: SdkConfig,
}

impl AwsAccount {
    /// The account that the environment gives rights in.
    pub async fn from_env(region: &str) -> Self {
        let config =
            aws_config::defaults(BehaviorVersion::v2026_01_12()).region(Region::new(region.to_owned()));
        Self::new(&config.load().await, region, Endpoints::from_env())
    }

    /// The account of a configuration that was made elsewhere.
    pub fn new(config: &SdkConfig, region: &str, parameters_at: Endpoints) -> Self {
        let own = config.timeout_config().filter(|own| own.operation_attempt_timeout().is_some());
        let ours = || TimeoutConfig::builder().operation_attempt_timeout(ONE_TRY).build();
        let timeouts = own.cloned().unwrap_or_else(ours);
        let reads = aws_sdk_ec2::config::Builder::from(config)
            .region(Region::new(region.to_owned()))
            .timeout_config(timeouts)
            .retry_config(RetryConfig::standard());
        let once = reads.clone().retry_config(RetryConfig::disabled());
        let credentials = config.credentials_provider().unwrap_or_else(no_credentials);
        Self {
            ec2: aws_sdk_ec2::Client::from_conf(reads.build()),
            ec2_once: aws_sdk_ec2::Client::from_conf(once.build()),
            parameters: Arc::new(Aws::new(credentials, Some(region.to_owned()), parameters_at)),
            region: region.to_owned(),
            throttle: Arc::new(Throttle::at_half()),
            config: config.clone(),
        }
    }
}

pub(crate) fn no_credentials() -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(NoCredentials)
}

/// Stands where a configuration names no source of credentials.
#[derive(Debug)]
struct NoCredentials;

impl data_runner_aws_light::ProvideCredentials for NoCredentials {
    fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let error = CredentialsError::not_loaded("no source of credentials is configured");
        aws_credential_types::provider::future::ProvideCredentials::ready(Err(error))
    }
}

/// A call to AWS that failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// AWS refused.
    #[error("AWS refused {action} ({}: {message})", code.as_deref().unwrap_or("without a code"))]
    Refused {
        /// The call.
        action: &'static str,
        /// The response's status.
        status: u16,
        /// AWS's code.
        code: Option<String>,
        /// AWS's words.
        message: String,
    },
    /// It could not be asked at all: there are no credentials, or the request makes no sense.
    #[error("{action} could not be asked of AWS")]
    NotAsked {
        /// The call.
        action: &'static str,
        /// Why.
        #[source]
        source: data_runner_core::port::Source,
    },
    /// No answer came; whether AWS heard it is unknown.
    #[error("AWS gave no answer to {action}")]
    NoAnswer {
        /// The call.
        action: &'static str,
        /// Why.
        #[source]
        source: data_runner_core::port::Source,
    },
}

impl CallError {
    pub(crate) fn of<E>(action: &'static str, error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        if let SdkError::ServiceError(refusal) = &error {
            let (status, refused) = (refusal.raw().status().as_u16(), refusal.err());
            let message = refused.message().unwrap_or_default().to_owned();
            return Self::Refused { action, status, code: refused.code().map(ToOwned::to_owned), message };
        }
        let never_sent = matches!(error, SdkError::ConstructionFailure(_)) || lacks_credentials(&error);
        let source = Box::new(error);
        if never_sent { Self::NotAsked { action, source } } else { Self::NoAnswer { action, source } }
    }

    /// AWS's code, if it said one.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => code.as_deref(),
            Self::NotAsked { .. } | Self::NoAnswer { .. } => None,
        }
    }

    /// Whether AWS's code begins so.
    pub(crate) fn is(&self, code: &str) -> bool {
        self.code().is_some_and(|said| said.starts_with(code))
    }
}

impl From<CallError> for ProvisionError {
    fn from(error: CallError) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

fn lacks_credentials<E: std::error::Error + 'static>(error: &SdkError<E, HttpResponse>) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        if error.is::<CredentialsError>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// An error with its causes, in one line.
pub(crate) fn in_words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !words.ends_with(&cause) {
            words.push_str(": ");
            words.push_str(&cause);
        }
        source = error.source();
    }
    words
}
