//! Notices that the machine will be taken away.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::{Imds, ImdsError};

/// How often to ask for notices. One comes two minutes before the machine goes.
pub const NOTICE_EVERY: Duration = Duration::from_secs(5);

const INSTANCE_ACTION: &str = "spot/instance-action";
const REBALANCE: &str = "events/recommendations/rebalance";

/// What EC2 says of the machine's future.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// The machine is at a raised risk of being taken away.
    Rebalance,
    /// It is taken away within two minutes.
    Interruption,
}

/// Asks now, and then always after `every` ([`NOTICE_EVERY`]). Each notice is said once; after an interruption nothing more is asked. Dropping the
/// receiver ends the asking. Must be called within a runtime.
///
/// A service that does not answer is asked again: a notice must not be missed because of one lost answer.
pub fn notices(imds: Imds, every: Duration) -> mpsc::Receiver<Notice> {
    let (tell, told) = mpsc::channel(2);
    tokio::spawn(async move {
        let mut advised = false;
        let mut silent = false;
        loop {
            match ask(&imds, advised).await {
                Ok(Some(notice)) => {
                    (advised, silent) = (true, false);
                    if tell.send(notice).await.is_err() || notice == Notice::Interruption {
                        return;
                    }
                }
                Ok(None) => silent = false,
                Err(error) if !silent => {
                    silent = true;
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "spot notices cannot be asked for at present"
                    );
                }
                Err(_) => {}
            }
            tokio::select! {
                () = tell.closed() => return,
                () = tokio::time::sleep(every) => {}
            }
        }
    });
    told
}

async fn ask(imds: &Imds, advised: bool) -> Result<Option<Notice>, ImdsError> {
    // Whatever the action is (terminate, stop or hibernate), the job cannot go on here.
    if imds.get(INSTANCE_ACTION).await?.is_some() {
        return Ok(Some(Notice::Interruption));
    }
    if !advised && imds.get(REBALANCE).await?.is_some() {
        return Ok(Some(Notice::Rebalance));
    }
    Ok(None)
}
