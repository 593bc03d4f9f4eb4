//! Waking those who wait for news of one thing, without a channel for each thing.

use std::hash::{BuildHasher as _, Hash};

use tokio::sync::watch;

const BUCKETS: usize = 256;

/// Announces changes of things. Things share buckets, so a waiter may be woken for nothing and looks again.
#[derive(Debug)]
pub(crate) struct Announcer {
    buckets: Vec<watch::Sender<()>>,
    hasher: std::hash::RandomState,
}

impl Announcer {
    pub(crate) fn new() -> Self {
        let buckets = (0..BUCKETS).map(|_| watch::Sender::new(())).collect();
        Self { buckets, hasher: std::hash::RandomState::new() }
    }

    pub(crate) fn announce(&self, thing: impl Hash) {
        if let Some(bucket) = self.buckets.get(self.bucket(thing)) {
            bucket.send_replace(());
        }
    }

    pub(crate) fn watch(&self, thing: impl Hash) -> Watch {
        Watch(self.buckets.get(self.bucket(thing)).map(watch::Sender::subscribe))
    }

    fn bucket(&self, thing: impl Hash) -> usize {
        // The remainder is below BUCKETS.
        (self.hasher.hash_one(thing) % BUCKETS as u64) as usize
    }
}

/// Waits for news of one thing. Make it first, then look, then wait: nothing is missed.
#[derive(Debug)]
pub struct Watch(Option<watch::Receiver<()>>);

impl Watch {
    /// Returns when the thing may have changed since the last call (or since this was made). Cancel-safe.
    /// When the supervisor has ended it never returns; bound it by the end of your own connection.
    pub async fn changed(&mut self) {
        match &mut self.0 {
            Some(receiver) => {
                if receiver.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
            None => std::future::pending().await,
        }
    }
}
