//! What of AWS an agent needs: the machine's identity, and with it the secrets of jobs.

use data_runner_aws_light::{Aws, AwsSecrets, EnvironmentSecrets, Imds, ImdsError};

/// This machine's metadata service, unless the environment says that it is not to be asked. Nothing is asked yet.
pub(crate) fn metadata() -> anyhow::Result<Option<Imds>> {
    match Imds::from_env() {
        Ok(imds) => Ok(Some(imds)),
        Err(ImdsError::Disabled) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What resolves the secrets of jobs, with the credentials of this process's environment or the machine's role.
pub(crate) fn secrets(imds: Option<Imds>, environment: EnvironmentSecrets) -> AwsSecrets {
    AwsSecrets::new(Aws::of_machine(imds), environment)
}
