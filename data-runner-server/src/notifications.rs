//! Telling people of failures: the parts of it, from this installation's settings.

use std::path::Path;
use std::sync::Arc;

use data_runner_core::settings::Settings;
use data_runner_engine::{Notifications, Supervisor};
use data_runner_notify::{SigningSecret, WebhookNotifier};
use data_runner_pki::InstallationKey;

use crate::secrets::own_secrets;
use crate::secured::{FOLDER, keys};
use crate::wiring::StartupError;

/// What webhooks of the installation in the folder `state` are signed with: receivers are given it.
///
/// # Errors
/// When the installation's key cannot be read or made.
pub fn signing_secret(state: &Path) -> Result<SigningSecret, StartupError> {
    let folder = state.join(FOLDER);
    let key = InstallationKey::open(&folder).map_err(|source| keys(&folder, source))?;
    Ok(SigningSecret::new(key.derived("data-runner webhooks v1")))
}

/// Delivers what has to be told, for as long as the supervisor runs.
pub(crate) fn deliver(
    supervisor: &Supervisor,
    settings: &Settings,
    state: &Path,
) -> Result<(), StartupError> {
    let notifications = Notifications {
        notifier: Arc::new(WebhookNotifier::new(signing_secret(state)?)),
        secrets: own_secrets(),
        public_url: settings.public_url.clone(),
    };
    let handle = supervisor.handle();
    // It ends with the supervisor.
    tokio::spawn(async move { handle.deliver(notifications).await });
    Ok(())
}
