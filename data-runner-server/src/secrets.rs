//! The supervisor's own secrets: where those of notifications, webhooks and repositories are.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use data_runner_aws_light::{
    Aws, AwsSecrets, Endpoints, EnvironmentSecrets, Imds, MachineCredentials, SecretNames,
    SharedCredentialsProvider,
};
use data_runner_core::port::{Finding, SecretProbe, SecretResolver};
use data_runner_core::settings::{ProvisionerSettings, Settings};
use data_runner_core::workflow::SecretRef;

/// How long one secret is waited for.
const WITHIN: Duration = Duration::from_secs(20);

/// Resolves references by the environment of this process and the role of its machine.
pub(crate) fn own_secrets() -> Arc<dyn SecretResolver> {
    Arc::new(AwsSecrets::new(Aws::of_machine(Imds::from_env().ok()), EnvironmentSecrets::Served))
}

/// Looks whether this process itself can read a secret.
pub(crate) fn own_probe() -> Arc<dyn SecretProbe> {
    Arc::new(Reading { resolver: own_secrets(), reader: Reader::Supervisor })
}

/// Looks whether the workers can read a secret: those of this machine have this process's environment and role, machines
/// of EC2 a role of their own.
pub(crate) fn probe_of_workers(settings: &Settings) -> Arc<dyn SecretProbe> {
    match &settings.provisioner {
        ProvisionerSettings::Local(_) => {
            Arc::new(Reading { resolver: own_secrets(), reader: Reader::LocalWorkers })
        }
        ProvisionerSettings::Ec2(ec2) => {
            let credentials = MachineCredentials::new(Imds::from_env().ok());
            let credentials = SharedCredentialsProvider::new(credentials);
            let aws = Aws::new(credentials, Some(ec2.region.clone()), Endpoints::from_env());
            Arc::new(SecretNames::new(aws))
        }
    }
}

/// Reads a secret to see whether that is possible, and forgets it.
struct Reading {
    resolver: Arc<dyn SecretResolver>,
    reader: Reader,
}

/// Who is to read a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Supervisor,
    LocalWorkers,
}

#[async_trait]
impl SecretProbe for Reading {
    async fn probe(&self, reference: &SecretRef) -> Finding {
        let check = reference.to_string();
        if let (SecretRef::Environment { name }, Reader::LocalWorkers) = (reference, self.reader)
            && name.starts_with("DATA_RUNNER_")
        {
            let message = format!("workers do not get the supervisor's {name}");
            return Finding::bad(
                check,
                message,
                "give the variable a name that does not begin with DATA_RUNNER_",
            );
        }
        let reader = match self.reader {
            Reader::Supervisor => "the supervisor",
            Reader::LocalWorkers => "the workers of this machine",
        };
        match tokio::time::timeout(WITHIN, self.resolver.resolve(reference)).await {
            Ok(Ok(_)) => Finding::good(check, format!("{reader} can read it")),
            Ok(Err(error)) => error.finding(),
            Err(_) => {
                let message = format!("not answered within {} s", WITHIN.as_secs());
                Finding::warning(check, message, "can this machine reach the service?")
            }
        }
    }
}
