//! Credentials of the process's environment, or of the machine's role.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::{Imds, Variables, of_process};

/// The role's credentials are renewed so long before their end. New ones are there earlier than that.
const RENEW_BEFORE: Duration = Duration::from_secs(300);

/// While renewing fails and the old ones are still good, it is tried again after this.
const TRY_AGAIN: Duration = Duration::from_secs(10);

const ROLES: &str = "iam/security-credentials/";

/// The credentials of this machine: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN` if the
/// environment has them, else those of the instance's role, kept and renewed before they end. Clones share them.
#[derive(Debug, Clone)]
pub struct MachineCredentials {
    imds: Option<Imds>,
    given: Option<Credentials>,
    kept: Arc<Mutex<Option<Kept>>>,
}

#[derive(Debug, Clone)]
struct Kept {
    credentials: Credentials,
    renew_at: SystemTime,
}

/// What the metadata service says of a role.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Role {
    #[serde(default)]
    code: Option<String>,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    token: Option<String>,
    expiration: Option<jiff::Timestamp>,
}

/// What is wrong with a role or its credentials.
#[derive(Debug, thiserror::Error)]
enum NoCredentials {
    #[error(
        "there are no AWS credentials: the environment has none, and this machine has no instance profile"
    )]
    NoRole,
    #[error("the instance profile gives no credentials: {code}")]
    Broken { code: String },
    #[error("what the metadata service says of the role cannot be read")]
    Unreadable(#[source] serde_json::Error),
}

impl MachineCredentials {
    /// Credentials of the process's environment, else of the role that `imds` tells of.
    pub fn new(imds: Option<Imds>) -> Self {
        Self::from_variables(&of_process, imds)
    }

    fn from_variables(variable: Variables<'_>, imds: Option<Imds>) -> Self {
        let given =
            variable("AWS_ACCESS_KEY_ID").zip(variable("AWS_SECRET_ACCESS_KEY")).map(|(key, secret)| {
                Credentials::new(key, secret, variable("AWS_SESSION_TOKEN"), None, "environment")
            });
        Self { imds, given, kept: Arc::default() }
    }

    async fn load(&self) -> provider::Result {
        if let Some(given) = &self.given {
            return Ok(given.clone());
        }
        let imds = self.imds.as_ref().ok_or_else(|| CredentialsError::not_loaded(NoCredentials::NoRole))?;
        let now = SystemTime::now();
        let mut kept = self.kept.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| now < kept.renew_at) {
            return Ok(kept.credentials.clone());
        }
        match of_role(imds).await {
            Ok(credentials) => {
                let renew_at = renew_at(credentials.expiry(), now);
                *kept = Some(Kept { credentials: credentials.clone(), renew_at });
                Ok(credentials)
            }
            Err(error) => match kept.as_mut() {
                Some(old) if old.credentials.expiry().is_none_or(|end| now < end) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the role's credentials are not renewed yet"
                    );
                    old.renew_at = now + TRY_AGAIN;
                    Ok(old.credentials.clone())
                }
                Some(_) | None => Err(error),
            },
        }
    }
}

impl ProvideCredentials for MachineCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }
}

/// When credentials with this end are to be renewed; those without one are looked at again soon.
fn renew_at(end: Option<SystemTime>, now: SystemTime) -> SystemTime {
    let before = end.and_then(|end| end.checked_sub(RENEW_BEFORE)).unwrap_or(now + RENEW_BEFORE);
    before.max(now + TRY_AGAIN)
}

async fn of_role(imds: &Imds) -> provider::Result {
    let asked = imds.get(ROLES).await.map_err(CredentialsError::provider_error)?;
    let role = asked.as_deref().and_then(|list| list.lines().next()).map(str::trim).filter(|r| !r.is_empty());
    let role = role.ok_or_else(|| CredentialsError::not_loaded(NoCredentials::NoRole))?;
    let text = imds
        .get(&format!("{ROLES}{role}"))
        .await
        .map_err(CredentialsError::provider_error)?
        .unwrap_or_default();
    read_role(&text).map_err(CredentialsError::provider_error)
}

fn read_role(text: &str) -> Result<Credentials, NoCredentials> {
    let role: Role = serde_json::from_str(text).map_err(NoCredentials::Unreadable)?;
    match role {
        Role { code: None, access_key_id: Some(key), secret_access_key: Some(secret), token, expiration } => {
            Ok(Credentials::new(key, secret, token, expiration.map(SystemTime::from), "instance"))
        }
        Role {
            code: Some(code),
            access_key_id: Some(key),
            secret_access_key: Some(secret),
            token,
            expiration,
        } if code == "Success" => {
            Ok(Credentials::new(key, secret, token, expiration.map(SystemTime::from), "instance"))
        }
        Role { code, .. } => {
            Err(NoCredentials::Broken { code: code.unwrap_or_else(|| "keys are missing".to_owned()) })
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn the_environment_wins_and_needs_no_machine() {
        let variable = |name: &str| match name {
            "AWS_ACCESS_KEY_ID" => Some("AKIA".to_owned()),
            "AWS_SECRET_ACCESS_KEY" => Some("s".to_owned()),
            "AWS_SESSION_TOKEN" => Some("t".to_owned()),
            _ => None,
        };
        let credentials = MachineCredentials::from_variables(&variable, None).load().await.unwrap();
        assert_eq!((credentials.access_key_id(), credentials.session_token()), ("AKIA", Some("t")));
    }

    #[tokio::test]
    async fn nothing_at_all_says_what_is_missing() {
        let error = MachineCredentials::from_variables(&|_| None, None).load().await.unwrap_err();
        assert!(matches!(error, CredentialsError::CredentialsNotLoaded(_)));
    }

    #[test]
    fn they_are_renewed_five_minutes_before_their_end_and_not_all_the_time_when_that_is_near() {
        let (now, hour) = (SystemTime::UNIX_EPOCH, Duration::from_secs(3600));
        assert_eq!(renew_at(Some(now + hour), now), now + hour - RENEW_BEFORE);
        assert_eq!(renew_at(Some(now + Duration::from_secs(60)), now), now + TRY_AGAIN);
        assert_eq!(renew_at(None, now), now + RENEW_BEFORE);
    }

    #[test]
    fn a_role_that_failed_gives_its_code_and_not_half_of_a_key() {
        let text = r#"{"Code": "AssumeRoleUnauthorizedAccess", "AccessKeyId": "A", "SecretAccessKey": "s"}"#;
        assert!(
            matches!(read_role(text), Err(NoCredentials::Broken { code }) if code.starts_with("AssumeRole"))
        );
        assert!(read_role(r#"{"Code": "Success", "AccessKeyId": "A"}"#).is_err());
    }
}
