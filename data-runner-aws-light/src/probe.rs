//! Whether the machines of EC2 can read a secret, as far as somebody else can tell who looks only for its name.

use async_trait::async_trait;
use data_runner_core::port::{Finding, SecretProbe};
use data_runner_core::workflow::SecretRef;

use crate::{Aws, CallError};

/// Looks for names of secrets, on behalf of machines that read them with a role of their own. It reads no value.
#[derive(Debug)]
pub struct SecretNames {
    aws: Aws,
}

impl SecretNames {
    /// Looks by `aws`, in the machines' region.
    pub fn new(aws: Aws) -> Self {
        Self { aws }
    }

    async fn parameter(&self, name: &str, reference: &SecretRef) -> Finding {
        let needed = format!(
            "the role of the machines needs ssm:GetParameter on {}, and kms:Decrypt for its key if that is your own",
            if name.starts_with("arn:") {
                name.to_owned()
            } else {
                format!("arn:aws:ssm:*:*:parameter/{}", name.trim_start_matches('/'))
            }
        );
        if name.starts_with("arn:") {
            let message = "whether it exists cannot be asked for by its ARN";
            return Finding::warning(reference.to_string(), message, needed);
        }
        found(reference, self.aws.has_parameter(name).await, "ssm:DescribeParameters", needed)
    }

    async fn secret(&self, id: &str, key: Option<&str>, reference: &SecretRef) -> Finding {
        let arn = if id.starts_with("arn:") {
            id.to_owned()
        } else {
            format!("arn:aws:secretsmanager:*:*:secret:{id}-*")
        };
        let key = key.map(|key| format!("; that its JSON has the key {key:?} only they can see"));
        let needed = format!(
            "the role of the machines needs secretsmanager:GetSecretValue on {arn}, and kms:Decrypt for its key if \
             that is your own{}",
            key.unwrap_or_default()
        );
        found(reference, self.aws.has_secret(id).await, "secretsmanager:DescribeSecret", needed)
    }
}

/// `needed` is what the machines need beside; `asked` is what whoever looks needs.
fn found(reference: &SecretRef, there: Result<bool, CallError>, asked: &str, needed: String) -> Finding {
    let check = reference.to_string();
    match there {
        Ok(true) => Finding { help: Some(needed), ..Finding::good(check, "it exists") },
        Ok(false) => Finding::bad(check, "there is no such secret", "create it, or correct the reference"),
        Err(error) => {
            let message = format!("not known here, since {asked} is not possible: {error}");
            Finding::warning(check, message, needed)
        }
    }
}

#[async_trait]
impl SecretProbe for SecretNames {
    async fn probe(&self, reference: &SecretRef) -> Finding {
        match reference {
            SecretRef::Environment { .. } => Finding::bad(
                reference.to_string(),
                "no machine of EC2 has a variable of yours",
                "write aws-ssm:///path/name or aws-secretsmanager://id#key",
            ),
            SecretRef::Parameter { name } => self.parameter(name, reference).await,
            SecretRef::Secret { id, key } => self.secret(id, key.as_deref(), reference).await,
        }
    }
}
