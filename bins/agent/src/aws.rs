//! What of AWS an agent needs: the machine's identity, and with it the secrets of jobs.

use async_trait::async_trait;
use data_runner_aws_light::{
    Aws, AwsSecrets, CredentialsError, EnvironmentSecrets, Imds, ImdsError, MachineCredentials,
    ProvideCredentials as _,
};
use data_runner_core::port::{SecretValue, Source};
use data_runner_exec::{CloudCredentials, CloudKeys};

/// This machine's metadata service, at `endpoint` or where it always is, unless the environment says that it is not to be asked. Nothing is asked yet.
pub(crate) fn metadata(endpoint: Option<&str>) -> anyhow::Result<Option<Imds>> {
    match endpoint.filter(|url| !url.is_empty()).map_or_else(Imds::from_env, Imds::new) {
        Ok(imds) => Ok(Some(imds)),
        Err(ImdsError::Disabled) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What resolves the secrets of jobs, with the credentials of this process's environment or the machine's role.
pub(crate) fn secrets(imds: Option<Imds>, environment: EnvironmentSecrets) -> AwsSecrets {
    AwsSecrets::new(Aws::of_machine(imds), environment)
}

/// Who this machine is, for jobs whose program cannot find its role.
#[derive(Debug)]
pub(crate) struct OfMachine(pub(crate) MachineCredentials);

#[async_trait]
impl CloudCredentials for OfMachine {
    async fn credentials(&self) -> Result<Option<CloudKeys>, Source> {
        match self.0.provide_credentials().await {
            Ok(found) => Ok(Some(CloudKeys {
                key_id: SecretValue::new(found.access_key_id().to_owned()),
                secret: SecretValue::new(found.secret_access_key().to_owned()),
                session_token: found.session_token().map(|token| SecretValue::new(token.to_owned())),
            })),
            Err(CredentialsError::CredentialsNotLoaded(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
