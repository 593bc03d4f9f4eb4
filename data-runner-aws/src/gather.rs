//! Callers of the same while share one call.

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use tokio::sync::oneshot;

/// Gathers what is asked while a call is under way, and asks it all in the next one.
///
/// Nobody is served by a call that had begun before he asked: what it answers may be older than his question. The call
/// runs in a task of its own, so that a caller who gives up takes the others' answer from nobody.
pub(crate) struct Gather<Ask, Answer> {
    queue: Arc<Mutex<Queue<Ask, Answer>>>,
    call: Call<Ask, Answer>,
}

/// Answers each question, in their order.
type Call<Ask, Answer> = Arc<dyn Fn(Vec<Ask>) -> BoxFuture<'static, Vec<Answer>> + Send + Sync>;

struct Queue<Ask, Answer> {
    waiting: Vec<(Ask, oneshot::Sender<Answer>)>,
    under_way: bool,
}

/// The call ended without an answer: it panicked, or the program ends.
#[derive(Debug, thiserror::Error)]
#[error("the call was cut short")]
pub(crate) struct CutShort;

impl<Ask: Send + 'static, Answer: Send + 'static> Gather<Ask, Answer> {
    pub fn new(call: impl Fn(Vec<Ask>) -> BoxFuture<'static, Vec<Answer>> + Send + Sync + 'static) -> Self {
        let queue = Queue { waiting: Vec::new(), under_way: false };
        Self { queue: Arc::new(Mutex::new(queue)), call: Arc::new(call) }
    }

    pub async fn ask(&self, ask: Ask) -> Result<Answer, CutShort> {
        let (sender, answer) = oneshot::channel();
        let begins = {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.waiting.push((ask, sender));
            !std::mem::replace(&mut queue.under_way, true)
        };
        if begins {
            tokio::spawn(serve(Arc::clone(&self.queue), Arc::clone(&self.call)));
        }
        answer.await.map_err(|_| CutShort)
    }
}

async fn serve<Ask: Send, Answer: Send>(queue: Arc<Mutex<Queue<Ask, Answer>>>, call: Call<Ask, Answer>) {
    let mut ended = Ended { queue: &queue, whole: false };
    // Those who ask in the same moment come along.
    tokio::task::yield_now().await;
    while let Some((asks, senders)) = take(&queue) {
        for (answer, sender) in call(asks).await.into_iter().zip(senders) {
            // Whoever gave up does not hear it.
            drop(sender.send(answer));
        }
    }
    ended.whole = true;
}

type Taken<Ask, Answer> = (Vec<Ask>, Vec<oneshot::Sender<Answer>>);

/// All that waits; when nothing does, the service has ended, and that in the same moment.
fn take<Ask, Answer>(queue: &Mutex<Queue<Ask, Answer>>) -> Option<Taken<Ask, Answer>> {
    let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
    if queue.waiting.is_empty() {
        queue.under_way = false;
        return None;
    }
    Some(std::mem::take(&mut queue.waiting).into_iter().unzip())
}

/// A service that panicked must not keep the next one from beginning.
struct Ended<'a, Ask, Answer> {
    queue: &'a Mutex<Queue<Ask, Answer>>,
    whole: bool,
}

impl<Ask, Answer> Drop for Ended<'_, Ask, Answer> {
    fn drop(&mut self) {
        if !self.whole {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.waiting.clear();
            queue.under_way = false;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_who_ask_at_once_share_a_call_and_those_who_come_later_get_the_next() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let gather = Arc::new(Gather::new(move |asks: Vec<u32>| {
            let call = counted.fetch_add(1, Ordering::SeqCst) + 1;
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                asks.into_iter().map(|ask| (ask, call)).collect()
            }
            .boxed()
        }));
        let ask = |n, after| {
            let gather = Arc::clone(&gather);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(after)).await;
                gather.ask(n).await.unwrap()
            })
        };
        let asked = [ask(1, 0), ask(2, 0), ask(3, 500), ask(4, 999), ask(5, 2_500)];
        let mut answers = Vec::new();
        for asked in asked {
            answers.push(asked.await.unwrap());
        }
        assert_eq!(answers, [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)]);
        assert_eq!(calls.load(Ordering::SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_panics_does_not_stop_the_next() {
        let gather = Gather::new(|asks: Vec<bool>| {
            async move {
                assert!(!asks.contains(&true), "as the test wants it");
                asks
            }
            .boxed()
        });
        assert!(gather.ask(true).await.is_err());
        assert!(!gather.ask(false).await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_gives_up_takes_the_answer_from_nobody() {
        let gather = Arc::new(Gather::new(|asks: Vec<u32>| {
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                asks
            }
            .boxed()
        }));
        let first = tokio::time::timeout(Duration::from_millis(10), gather.ask(1));
        let (first, second) = tokio::join!(first, gather.ask(2));
        assert!(first.is_err());
        assert_eq!(second.unwrap(), 2);
    }
}
