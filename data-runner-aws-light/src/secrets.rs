//! From references to values: the environment, Systems Manager, Secrets Manager.

use async_trait::async_trait;
use data_runner_core::port::{SecretError, SecretResolver, SecretValue};
use data_runner_core::workflow::SecretRef;
use serde_json::Value;

use crate::{Aws, CallError};

/// Whether `env://` references are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvironmentSecrets {
    /// From the environment of this process: on a person's own machine, and for the supervisor.
    Served,
    /// Not at all: this machine's environment holds nobody's secrets.
    Refused,
}

/// Resolves references with the credentials of [`Aws`].
#[derive(Debug)]
pub struct AwsSecrets {
    aws: Aws,
    environment: EnvironmentSecrets,
}

impl AwsSecrets {
    /// A resolver that asks AWS by `aws`.
    pub fn new(aws: Aws, environment: EnvironmentSecrets) -> Self {
        Self { aws, environment }
    }

    fn of_environment(&self, name: &str, reference: &SecretRef) -> Result<SecretValue, SecretError> {
        let refused = |message: &str| {
            Err(SecretError::Refused { reference: reference.clone(), message: message.to_owned() })
        };
        match (self.environment, std::env::var_os(name)) {
            (EnvironmentSecrets::Refused, _) => refused(
                "env:// works with workers of this machine only; on EC2 write aws-ssm:// or aws-secretsmanager://",
            ),
            (EnvironmentSecrets::Served, None) => Err(SecretError::NotFound { reference: reference.clone() }),
            (EnvironmentSecrets::Served, Some(value)) => match value.into_string() {
                Ok(value) => Ok(SecretValue::new(value)),
                Err(_) => refused("it is not UTF-8"),
            },
        }
    }

    async fn of_secrets_manager(
        &self,
        id: &str,
        key: Option<&str>,
        reference: &SecretRef,
    ) -> Result<SecretValue, SecretError> {
        let text = self.aws.secret(id).await.map_err(|error| said_no(reference, error))?;
        let refused = |message: &str| SecretError::Refused {
            reference: reference.clone(),
            message: message.to_owned(),
        };
        let text = text.ok_or_else(|| refused("it holds bytes; only text can be given to a job"))?;
        let Some(key) = key else {
            return Ok(SecretValue::new(text));
        };
        let json: Value = serde_json::from_str(&text)
            .map_err(|_| refused("a key of it was asked for, but it is not a JSON object"))?;
        match json.get(key) {
            None | Some(Value::Null) => Err(SecretError::NotFound { reference: reference.clone() }),
            Some(Value::String(value)) => Ok(SecretValue::new(value.clone())),
            Some(other) => Ok(SecretValue::new(other.to_string())),
        }
    }
}

#[async_trait]
impl SecretResolver for AwsSecrets {
    async fn resolve(&self, reference: &SecretRef) -> Result<SecretValue, SecretError> {
        match reference {
            SecretRef::Environment { name } => self.of_environment(name, reference),
            SecretRef::Parameter { name } => {
                let value = self.aws.parameter(name).await.map_err(|error| said_no(reference, error))?;
                Ok(SecretValue::new(value))
            }
            SecretRef::Secret { id, key } => self.of_secrets_manager(id, key.as_deref(), reference).await,
        }
    }
}

/// What a service's answer means for whoever wants the secret.
fn said_no(reference: &SecretRef, error: CallError) -> SecretError {
    let reference = reference.clone();
    if error.is_passing() {
        return SecretError::Unavailable { reference, source: error.into() };
    }
    let hint = match error.code() {
        Some("ParameterNotFound" | "ParameterVersionNotFound" | "ResourceNotFoundException") => {
            return SecretError::NotFound { reference };
        }
        Some("AccessDeniedException" | "AccessDenied") => Some(match &reference {
            SecretRef::Secret { .. } => {
                "allow the role secretsmanager:GetSecretValue, and kms:Decrypt for its key"
            }
            SecretRef::Parameter { .. } | SecretRef::Environment { .. } => {
                "allow the role ssm:GetParameter, and kms:Decrypt for its key"
            }
        }),
        Some("DecryptionFailure" | "InvalidKeyId") => Some("allow the role kms:Decrypt for its key"),
        Some("UnrecognizedClientException" | "InvalidSignatureException") => {
            Some("the credentials are not valid, or this machine's clock is wrong")
        }
        Some(_) => None,
        None if matches!(error, CallError::NoCredentials(_)) => {
            Some("give the machine an instance profile, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        }
        None => None,
    };
    let message = match hint {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    };
    SecretError::Refused { reference, message }
}
