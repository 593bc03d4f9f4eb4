//! What of AWS an agent needs: the machine's identity, and with it the secrets of jobs.

use data_runner_aws_light::{Aws, AwsSecrets, EnvironmentSecrets, Imds, ImdsError};

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
