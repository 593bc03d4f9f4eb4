//! The loop: drain a bounded batch, decide, commit, perform.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use data_runner_core::event::{Change, Event, Outcome, ReplyTo, Request};
use data_runner_core::id::{CommitSequence, Epoch, SessionId};
use data_runner_core::orchestrator::{Orchestrator, Policy};
use data_runner_core::port::{
    Provisioner, Retry, SessionEvent, StateError, StateStore, Transport, TransportEvent,
};
use data_runner_core::time::{Deadline, Entropy, Mono, Now};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Ask, Published, RequestError, Shared, Stage};

/// The most events of one kind that one batch takes.
const BATCH: usize = 1024;

/// The loop looks up at least so often, to notice that it was frozen.
const PULSE: Duration = Duration::from_secs(1);

/// A gap in the loop that is this much longer than a pulse means that the process was frozen, and nobody's silence counts.
const FROZEN: Duration = Duration::from_secs(5);

pub(super) struct Actor {
    pub(super) shared: Arc<Shared>,
    pub(super) state: Arc<dyn StateStore>,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) provisioner: Option<Arc<dyn Provisioner>>,
    pub(super) policy: Policy,
    pub(super) epoch: Epoch,
    pub(super) entropy: Entropy,
    pub(super) orchestrator: Orchestrator,
    pub(super) asks: mpsc::Receiver<Ask>,
    pub(super) sessions: mpsc::Receiver<TransportEvent>,
    /// What came of effects, syncs and stored logs; past the bounded inboxes, so that a full one can't block it.
    pub(super) reports: mpsc::UnboundedReceiver<Event>,
    pub(super) reporter: mpsc::UnboundedSender<Event>,
    pub(super) waiting:
        BTreeMap<ReplyTo, oneshot::Sender<Result<data_runner_core::event::Answer, RequestError>>>,
    pub(super) next_reply: u64,
    pub(super) open_sessions: BTreeSet<SessionId>,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
    pub(super) last_turn: Mono,
}

/// How a turn of the loop ended.
enum Turn {
    GoOn,
    /// Another supervisor has taken the state.
    Fenced,
}

impl Actor {
    pub(super) async fn run(mut self) {
        // The borrow must end before the value is changed.
        let sequence = self.shared.published.borrow().sequence;
        self.publish(sequence);
        while let Some(mut events) = self.next_batch().await {
            self.attach_facts(&mut events).await;
            let now = self.shared.clock.now();
            if now.mono.since(self.last_turn) > FROZEN + PULSE {
                tracing::warn!(gap = ?now.mono.since(self.last_turn), "the process was frozen");
                events.insert(0, Event::Resumed);
            }
            self.last_turn = now.mono;
            self.shared.turned.store(micros(now.mono), Ordering::Relaxed);
            // After all that came in: whoever spoke in time is not declared lost.
            if self.orchestrator.next_deadline(now).is_some_and(|due| due.at <= now.mono) {
                events.push(Event::Tick);
            }
            let outcome = self.orchestrator.handle_batch(events, now, &mut self.entropy);
            match self.commit_and_perform(outcome, now).await {
                Turn::GoOn => {}
                Turn::Fenced => break,
            }
        }
        self.end();
    }

    /// Waits for something to happen, then takes all that is there, up to a bound; `None`: the loop is to end.
    async fn next_batch(&mut self) -> Option<Vec<Event>> {
        let now = self.shared.clock.now();
        let deadline: Option<Deadline> = self.orchestrator.next_deadline(now);
        let pulse = deadline.map_or(PULSE, |due| due.at.since(now.mono).min(PULSE));
        let mut events = Vec::new();
        tokio::select! {
            biased;
            () = self.stop.cancelled() => return None,
            Some(event) = self.reports.recv() => events.push(event),
            Some(event) = self.sessions.recv() => self.take_session_event(event, &mut events),
            Some(ask) = self.asks.recv() => self.take_ask(ask, &mut events),
            () = tokio::time::sleep(pulse) => {}
        }
        for _ in 0..BATCH {
            let Ok(event) = self.reports.try_recv() else { break };
            events.push(event);
        }
        for _ in 0..BATCH {
            let Ok(event) = self.sessions.try_recv() else {
                break;
            };
            self.take_session_event(event, &mut events);
        }
        for _ in 0..BATCH {
            let Ok(ask) = self.asks.try_recv() else { break };
            self.take_ask(ask, &mut events);
        }
        Some(events)
    }

    fn take_ask(&mut self, ask: Ask, events: &mut Vec<Event>) {
        self.next_reply += 1;
        let reply = ReplyTo(self.next_reply);
        self.waiting.insert(reply, ask.reply);
        events.push(Event::Request { reply, request: Box::new(ask.request) });
    }

    fn take_session_event(&mut self, event: TransportEvent, events: &mut Vec<Event>) {
        let TransportEvent { session, worker, what } = event;
        events.push(match what {
            SessionEvent::Opened => {
                self.open_sessions.insert(session);
                Event::SessionOpened { worker, session }
            }
            SessionEvent::Closed => {
                self.open_sessions.remove(&session);
                Event::SessionClosed { worker, session }
            }
            SessionEvent::Message(message) => Event::AgentSaid { worker, session, message },
        });
    }

    /// Attaches what `handle` does not hold: what the store knows of an idempotency key or a delivery. All earlier
    /// batches are committed, so the answer is complete; duplicates within this batch are core's.
    async fn attach_facts(&mut self, events: &mut Vec<Event>) {
        let mut failed = BTreeSet::new();
        for event in events.iter_mut() {
            if let Event::Request { reply, request } = event
                && let Err(error) = self.attach(request).await
            {
                self.answer(*reply, Err(error.into()));
                failed.insert(*reply);
            }
        }
        if !failed.is_empty() {
            events.retain(|event| !matches!(event, Event::Request { reply, .. } if failed.contains(reply)));
        }
    }

    async fn attach(&self, request: &mut Request) -> Result<(), StateError> {
        let catalog = &self.shared.catalog;
        match request {
            Request::Submit(submit) => {
                if let Some(key) = &mut submit.idempotency {
                    key.known = catalog.idempotent(&key.key).await?;
                }
            }
            Request::StartGroup(order) => {
                if let Some(key) = &mut order.submit.idempotency {
                    key.known = catalog.idempotent(&key.key).await?;
                }
            }
            Request::Hook(delivery) => delivery.known = catalog.hook_known(delivery.keys()).await?,
            Request::ChangeGroup { .. }
            | Request::Cancel { .. }
            | Request::Register { .. }
            | Request::Unpushed(_)
            | Request::Pause { .. }
            | Request::DeleteWorkflow { .. }
            | Request::DrainWorker { .. }
            | Request::TerminateWorker { .. }
            | Request::Join { .. }
            | Request::KeepArtifact(_)
            | Request::ForgetArtifacts { .. }
            | Request::ShutDown(_) => {}
        }
        Ok(())
    }

    async fn commit_and_perform(&mut self, outcome: Outcome, now: Now) -> Turn {
        let Outcome { changes, effects } = outcome;
        if !changes.is_empty() {
            let news = News::of(&changes);
            match self.state.commit(self.epoch, now.wall, changes).await {
                Ok(sequence) => {
                    self.publish(sequence);
                    news.announce(&self.shared);
                }
                Err(error) => return self.recover(error).await,
            }
        }
        for effect in effects {
            self.perform(effect).await;
        }
        Turn::GoOn
    }

    pub(super) fn answer(
        &mut self,
        to: ReplyTo,
        answer: Result<data_runner_core::event::Answer, RequestError>,
    ) {
        if let Some(reply) = self.waiting.remove(&to) {
            // Whoever does not wait any more does not want to know.
            drop(reply.send(answer));
        }
    }

    /// A commit failed, and nobody knows whether it happened: forget everything and load again. Nobody was told "yes".
    async fn recover(&mut self, error: StateError) -> Turn {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "a commit failed; the state is loaded again"
        );
        metrics::counter!("data_runner_commit_failures_total").increment(1);
        let fenced = matches!(error, StateError::Fenced { .. });
        let error = Arc::new(error);
        for (_, reply) in std::mem::take(&mut self.waiting) {
            drop(reply.send(Err(RequestError::State(Arc::clone(&error)))));
        }
        self.shared.published.send_modify(|published| published.stage = Stage::Recovering);
        for session in std::mem::take(&mut self.open_sessions) {
            self.transport.close(session).await;
        }
        if fenced {
            return Turn::Fenced;
        }
        let mut wait = Duration::from_millis(100);
        loop {
            match self.state.load(self.epoch).await {
                Ok(snapshot) => {
                    let (sequence, now) = (snapshot.sequence, self.shared.clock.now());
                    self.orchestrator = Orchestrator::recover(snapshot, self.policy.clone(), self.epoch, now);
                    self.publish(sequence);
                    return Turn::GoOn;
                }
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "the state cannot be loaded");
                    if error.retry() == Retry::Never {
                        return Turn::Fenced;
                    }
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => return Turn::Fenced,
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(Duration::from_secs(5)),
            }
        }
    }

    /// Shows what was committed to everybody who reads.
    fn publish(&self, sequence: CommitSequence) {
        let orchestrator = &self.orchestrator;
        let stage = if orchestrator.is_ending() { Stage::Draining } else { Stage::Serving };
        self.shared.published.send_modify(|published| {
            // Clones of maps of Arcs; they change rarely, and only then are they cloned.
            if !same(&published.workflows, orchestrator.workflows()) {
                published.workflows = Arc::new(orchestrator.workflows().clone());
            }
            if !same(&published.repos, orchestrator.repos()) {
                published.repos = Arc::new(orchestrator.repos().clone());
            }
            if !same(&published.deliveries, orchestrator.deliveries()) {
                published.deliveries = Arc::new(orchestrator.deliveries().clone());
            }
            if !same(&published.schedules, orchestrator.schedules()) {
                published.schedules = Arc::new(orchestrator.schedules().clone());
            }
            if !same(&published.needs, orchestrator.needs()) {
                published.needs = Arc::new(orchestrator.needs().clone());
            }
            let running = orchestrator.running_under_keys();
            if *published.running_under_keys != running {
                published.running_under_keys = Arc::new(running);
            }
            *published = Published {
                sequence,
                epoch: self.epoch,
                workflows: Arc::clone(&published.workflows),
                repos: Arc::clone(&published.repos),
                schedules: Arc::clone(&published.schedules),
                needs: Arc::clone(&published.needs),
                deliveries: Arc::clone(&published.deliveries),
                running_under_keys: Arc::clone(&published.running_under_keys),
                stage,
                active_executions: orchestrator.executions().len(),
                workers: orchestrator.workers().len(),
            };
        });
    }

    fn end(self) {
        self.shared.published.send_modify(|published| published.stage = Stage::Ended);
        self.stop.cancel();
        for (_, reply) in self.waiting {
            drop(reply.send(Err(RequestError::Unavailable)));
        }
    }
}

pub(super) fn micros(at: Mono) -> u64 {
    u64::try_from(at.0.as_micros()).unwrap_or(u64::MAX)
}

/// Whether two maps share all their values: what is changed is replaced, so nothing needs to be looked into.
fn same<K: Ord, V>(a: &BTreeMap<K, Arc<V>>, b: &BTreeMap<K, Arc<V>>) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|((a_key, a), (b_key, b))| a_key == b_key && Arc::ptr_eq(a, b))
}

/// Whom a commit concerns.
struct News {
    executions: Vec<data_runner_core::id::ExecutionId>,
    closed_logs: Vec<data_runner_core::id::AttemptId>,
}

impl News {
    fn of(changes: &[Change]) -> Self {
        let mut news = Self { executions: Vec::new(), closed_logs: Vec::new() };
        for change in changes {
            match change {
                Change::PutExecution(execution) => news.executions.push(execution.id),
                Change::CloseLog { attempt, .. } => news.closed_logs.push(*attempt),
                Change::PutWorker(_)
                | Change::PutWorkflow(_)
                | Change::PutRepo(_)
                | Change::PutSchedule(_)
                | Change::PutNeeds(_)
                | Change::PutGroup(_)
                | Change::PutDelivery(_)
                | Change::PutIdempotency(_)
                | Change::PutHook(_)
                | Change::ForgetHooks { .. }
                | Change::PutArtifact(_)
                | Change::ForgetArtifacts { .. }
                | Change::OpenLog(_)
                | Change::Record(_) => {}
            }
        }
        news
    }

    fn announce(self, shared: &Shared) {
        for execution in self.executions {
            shared.executions.announce(execution);
        }
        for attempt in self.closed_logs {
            shared.log_growth.announce(attempt);
        }
    }
}
