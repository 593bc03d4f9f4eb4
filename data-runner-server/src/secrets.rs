//! The supervisor's own secrets: where those of notifications, webhooks and repositories are.

use std::sync::Arc;

use data_runner_aws_light::{Aws, AwsSecrets, EnvironmentSecrets, Imds};
use data_runner_core::port::SecretResolver;

/// Resolves references by the environment of this process and the role of its machine.
pub(crate) fn own_secrets() -> Arc<dyn SecretResolver> {
    Arc::new(AwsSecrets::new(Aws::of_machine(Imds::from_env().ok()), EnvironmentSecrets::Served))
}
