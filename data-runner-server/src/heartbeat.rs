//! Shows somebody outside each minute that the supervisor is alive, so that a dead one is noticed.

use std::time::Duration;

use data_runner_core::port::SecretValue;
use data_runner_core::settings::Settings;
use data_runner_core::workflow::Webhook;
use data_runner_engine::{Handle, Stage, Supervisor};
use data_runner_notify::Heartbeat;

use crate::secrets::own_secrets;

const EVERY: Duration = Duration::from_secs(60);

/// Beats, for as long as the supervisor runs.
pub(crate) fn beat(supervisor: &Supervisor, settings: &Settings) {
    if let Some(url) = settings.heartbeat_url.clone() {
        tokio::spawn(until_the_end(supervisor.handle(), url, EVERY));
    }
}

async fn until_the_end(handle: Handle, url: Webhook, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if handle.published().stage == Stage::Ended {
            return;
        }
        if !handle.is_alive() {
            tracing::error!("the supervisor's loop hangs; whoever waits for its heartbeat is to notice");
            continue;
        }
        if let Err(error) = once(&url).await {
            tracing::warn!(
                error = &*error as &dyn std::error::Error,
                "the heartbeat was not taken; the next one follows"
            );
        }
    }
}

async fn once(url: &Webhook) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let url = match url {
        Webhook::Url(url) => SecretValue::new(url.clone()),
        Webhook::Reference(reference) => own_secrets().resolve(reference).await?,
    };
    Ok(Heartbeat.beat(&url).await?)
}
