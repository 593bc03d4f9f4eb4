//! A stage for stories: an Orchestrator over the in-memory store, a clock that the story moves, and short words for
//! what happens. After each batch it is checked that recovering from the store gives the same Orchestrator.

use std::sync::Arc;
use std::time::Duration;

use data_runner_core::cost::Market;
use data_runner_core::event::{
    Answer, Change, Effect, Event, Idempotency, Outcome, Pausing, ReplyTo, Request, ShutDown, Submit, Synced,
};
use data_runner_core::execution::{
    Ending, Execution, ExecutionState, FinishReport, Phase, RetryPolicy, StateName, Trigger, Usage,
};
use data_runner_core::id::{Claim, Epoch, ExecutionId, MachineId, SessionId, Sha256, WorkerId, WorkflowId};
use data_runner_core::log::LogOffset;
use data_runner_core::message::{
    AgentMessage, AttemptStatus, HeldAttempt, Hello, SupervisorMessage, WorkerStatus,
};
use data_runner_core::orchestrator::{Orchestrator, Policy, Pool};
use data_runner_core::port::LaunchAnswer;
use data_runner_core::time::{Entropy, Mono, Now};
use data_runner_core::worker::{Candidate, Machine, MachineEnd, MachineState, WorkerState};
use data_runner_core::workflow::config::{Problem, Severity};
use data_runner_core::workflow::{DefinitionState, FolderFound, Repo};
use data_runner_testkit::memory::store::MemoryStore;
use data_runner_testkit::sample;

pub struct Scene {
    pub it: Orchestrator,
    pub store: MemoryStore,
    pub epoch: Epoch,
    pub policy: Policy,
    pub now: Now,
    pub entropy: Entropy,
    replies: u64,
    sessions: u64,
}

/// A policy in which agents join by themselves, so that a story has the workers that it names and no others.
pub fn joined() -> Policy {
    Policy { pool: Pool::None, ..Policy::local(1, 1) }
}

pub fn pool(min: u32, max: u32) -> Policy {
    Policy {
        pool: Pool::Shared { min, max, slots: 1, idle: Duration::from_secs(60) },
        ..Policy::local(max, 1)
    }
}

/// A machine of EC2 for each execution.
pub fn ec2(max: u32) -> Policy {
    Policy::ec2(max)
}

pub fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

impl Scene {
    pub fn new(policy: Policy) -> Self {
        let store = MemoryStore::new();
        let epoch = store.acquire_now().unwrap();
        let now = Now { wall: sample::at(0), mono: Mono(Duration::from_secs(1000)) };
        let it = Orchestrator::recover(store.load_now(epoch).unwrap(), policy.clone(), epoch, now);
        let mut scene =
            Self { it, store, epoch, policy, now, entropy: Entropy::from_number(1), replies: 0, sessions: 0 };
        scene.register();
        scene
    }

    /// Handles one event as a batch of its own: decided, committed, and compared with what recovery gives.
    pub fn send(&mut self, event: Event) -> Outcome {
        self.batch(vec![event])
    }

    pub fn batch(&mut self, events: Vec<Event>) -> Outcome {
        let outcome = self.it.handle_batch(events, self.now, &mut self.entropy);
        self.store.commit_now(self.epoch, self.now.wall, outcome.changes.clone()).unwrap();
        let recovered = Orchestrator::recover(
            self.store.load_now(self.epoch).unwrap(),
            self.policy.clone(),
            self.epoch,
            self.now,
        );
        assert_eq!(recovered.durable(), self.it.durable(), "recovery differs from the live state");
        outcome
    }

    pub fn tick_after(&mut self, wait: Duration) -> Outcome {
        self.pass(wait);
        self.send(Event::Tick)
    }

    pub fn pass(&mut self, wait: Duration) {
        self.now = Now { wall: self.now.wall.after(wait), mono: self.now.mono.after(wait) };
    }

    /// The supervisor is killed and started again: only what was committed is left.
    pub fn restart(&mut self) {
        self.store.release();
        self.epoch = self.store.acquire_now().unwrap();
        let snapshot = self.store.load_now(self.epoch).unwrap();
        self.it = Orchestrator::recover(snapshot, self.policy.clone(), self.epoch, self.now);
    }

    pub fn request(&mut self, request: Request) -> (Option<Answer>, Outcome) {
        self.replies += 1;
        let reply = ReplyTo(self.replies);
        let outcome = self.send(Event::Request { reply, request: Box::new(request) });
        let answer = outcome.effects.iter().find_map(|effect| match effect {
            Effect::Reply { to, answer } if *to == reply => Some(answer.clone()),
            _ => None,
        });
        (answer, outcome)
    }

    fn register(&mut self) {
        let repo = Repo {
            name: "samples".parse().unwrap(),
            url: "/samples".to_owned(),
            reference: "main".to_owned(),
            only: Vec::new(),
            head: None,
            synced_at: None,
            error: None,
        };
        // Broken, so that a story needs no whole configuration; what is submitted is complete anyway.
        let problem = Problem {
            code: "sample".to_owned(),
            severity: Severity::Error,
            message: "sample".to_owned(),
            help: None,
            location: None,
        };
        let definition = DefinitionState::Broken { revision: sample::revision(1), problems: vec![problem] };
        let folder =
            FolderFound { name: "orders".parse().unwrap(), path: "workflows/orders".to_owned(), definition };
        let synced = Synced { revision: sample::revision(1), folders: vec![folder] };
        let (answer, _) = self.request(Request::Register { repo, synced });
        assert!(matches!(answer, Some(Answer::Workflows(workflows)) if workflows.len() == 1));
    }

    pub fn workflow(&self) -> WorkflowId {
        *self.it.workflows().keys().next().unwrap()
    }

    pub fn order(&self) -> Submit {
        Submit {
            workflow: self.workflow(),
            job: Arc::new(sample::job()),
            labels: Default::default(),
            instance_size: "t3.medium".to_owned(),
            retries: RetryPolicy::default(),
            keep_warm: Duration::ZERO,
            compute: Default::default(),
            notifications: Vec::new(),
            late_after: None,
            budget: None,
            queueing: Default::default(),
            trigger: Trigger::Manual,
            dates: None,
            group: None,
            retry_of: None,
            idempotency: None,
        }
    }

    pub fn submit(&mut self) -> ExecutionId {
        let order = self.order();
        self.submit_as(order)
    }

    pub fn submit_as(&mut self, order: Submit) -> ExecutionId {
        match self.request(Request::Submit(order)).0 {
            Some(Answer::Execution(execution)) => execution.id,
            other => panic!("not submitted: {other:?}"),
        }
    }

    pub fn keyed(&self, key: &str, body: &[u8]) -> Submit {
        let known = self.store.idempotent_now(key);
        let idempotency = Idempotency { key: key.to_owned(), body: Sha256::of(body), known };
        Submit { idempotency: Some(idempotency), ..self.order() }
    }

    pub fn cancel(&mut self, execution: ExecutionId) -> (Option<Answer>, Outcome) {
        self.request(Request::Cancel { execution, by: "a test".to_owned() })
    }

    pub fn pause(&mut self, wanted: Pausing) -> Option<Answer> {
        let workflow = self.workflow();
        self.request(Request::Pause { workflow, wanted }).0
    }

    pub fn shut_down(&mut self, how: ShutDown) -> Option<Answer> {
        self.request(Request::ShutDown(how)).0
    }

    /// The agent of worker `n` connects with nothing in its hands.
    pub fn join(&mut self, worker: WorkerId) -> SessionId {
        self.connect(worker, Vec::new()).0
    }

    pub fn connect(&mut self, worker: WorkerId, attempts: Vec<HeldAttempt>) -> (SessionId, Outcome) {
        self.sessions += 1;
        let session = sample::session_id(self.sessions);
        let mut outcome = self.send(Event::SessionOpened { worker, session });
        let hello = Hello { incarnation: 1, epoch: Epoch(0), facts: sample::agent_facts(), attempts };
        outcome.append(self.says(worker, session, AgentMessage::Hello(hello)));
        (session, outcome)
    }

    pub fn says(&mut self, worker: WorkerId, session: SessionId, message: AgentMessage) -> Outcome {
        self.send(Event::AgentSaid { worker, session, message: Box::new(message) })
    }

    pub fn reports(
        &mut self,
        worker: WorkerId,
        session: SessionId,
        claim: Claim,
        status: AttemptStatus,
    ) -> Outcome {
        self.says(worker, session, AgentMessage::WorkerStatus(WorkerStatus { claim, status, packages: None }))
    }

    pub fn starts(&mut self, worker: WorkerId, session: SessionId, claim: Claim) -> Outcome {
        self.reports(worker, session, claim, reached(Phase::Connected));
        self.reports(worker, session, claim, reached(Phase::Started))
    }

    pub fn exits(&mut self, worker: WorkerId, session: SessionId, claim: Claim, code: u8) -> Outcome {
        self.reports(worker, session, claim, finished(Ending::Exited { code }, 0))
    }

    pub fn execution(&self, id: ExecutionId) -> Execution {
        self.store.execution_now(id).expect("it is in the store")
    }

    pub fn state(&self, id: ExecutionId) -> StateName {
        self.execution(id).state.name()
    }

    pub fn failure(&self, id: ExecutionId) -> data_runner_core::execution::Failure {
        match self.execution(id).state {
            ExecutionState::Failed { failure, .. } => failure,
            other => panic!("it has not failed: {other:?}"),
        }
    }

    /// The claim of an execution's live attempt.
    pub fn claim(&self, id: ExecutionId) -> Claim {
        self.execution(id).state.live().expect("an attempt is alive").claim(id)
    }

    pub fn worker_state(&self, id: WorkerId) -> WorkerState {
        self.store.worker_now(id).expect("it is in the store").state
    }

    /// An execution whose code runs on a worker that joined; the usual beginning of a story.
    pub fn running(&mut self) -> (ExecutionId, WorkerId, SessionId, Claim) {
        let worker = sample::worker_id(900);
        let session = self.join(worker);
        let id = self.submit();
        let claim = self.claim(id);
        self.starts(worker, session, claim);
        assert_eq!(self.state(id), StateName::Running);
        (id, worker, session, claim)
    }

    /// The workers that the pool wants, launched and connected.
    pub fn boot_pool(&mut self) -> Vec<(WorkerId, SessionId)> {
        let ids: Vec<WorkerId> = self.it.workers().map(|worker| worker.id).collect();
        ids.into_iter()
            .map(|worker| {
                self.launch(worker);
                (worker, self.join(worker))
            })
            .collect()
    }

    /// A worker that is planned is launched at the first try; any other stays as it is.
    pub fn launch(&mut self, worker: WorkerId) {
        self.send(Event::Planned { worker, result: Ok(vec![candidate("a")]) });
        self.answer_launch(worker, "a", LaunchAnswer::Launched(machine_id(worker)));
    }

    /// The only worker.
    pub fn only_worker(&self) -> WorkerId {
        let workers: Vec<WorkerId> = self.it.workers().map(|worker| worker.id).collect();
        assert_eq!(workers.len(), 1, "{workers:?}");
        workers[0]
    }

    /// The provisioner offers these for a worker that is planned.
    pub fn offers(&mut self, worker: WorkerId, labels: &[&str]) -> Outcome {
        let candidates = labels.iter().map(|label| candidate(label)).collect();
        self.send(Event::Planned { worker, result: Ok(candidates) })
    }

    pub fn answer_launch(&mut self, worker: WorkerId, label: &str, answer: LaunchAnswer) -> Outcome {
        self.send(Event::LaunchAnswered { worker, candidate: Box::new(candidate(label)), answer })
    }

    /// A listing that is asked for now.
    pub fn listed(&mut self, machines: &[(WorkerId, MachineState)]) -> Outcome {
        self.pass(Duration::from_millis(1));
        let machines = machines.iter().map(|(worker, state)| Machine {
            id: machine_id(*worker),
            worker: *worker,
            state: state.clone(),
            launched_at: sample::at(0),
        });
        self.send(Event::Listed { asked_at: self.now.wall, machines: machines.collect() })
    }
}

pub fn reached(phase: Phase) -> AttemptStatus {
    AttemptStatus::Reached { phase, ago: Duration::ZERO }
}

pub fn finished(ending: Ending, log_end: u64) -> AttemptStatus {
    AttemptStatus::Finished(Box::new(FinishReport {
        ending,
        usage: Usage::default(),
        output: None,
        warnings: Vec::new(),
        log_end: LogOffset(log_end),
        ran_for: Duration::from_secs(1),
        sql: None,
    }))
}

pub fn held(claim: Claim, status: AttemptStatus) -> HeldAttempt {
    HeldAttempt { claim, status, packages: None }
}

pub fn candidate(label: &str) -> Candidate {
    Candidate {
        label: label.to_owned(),
        instance_type: "local".to_owned(),
        request: serde_json::json!({ "label": label }),
        zone: None,
        market: Market::OnDemand,
        price: None,
    }
}

pub fn machine_id(worker: WorkerId) -> MachineId {
    format!("m-{worker}").parse().unwrap()
}

pub fn terminated() -> MachineState {
    MachineState::Terminated { reason: "a test says so".to_owned(), end: MachineEnd::Ended }
}

/// The messages that an outcome sends, in order.
pub fn sent(outcome: &Outcome) -> Vec<&SupervisorMessage> {
    outcome
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send { message, .. } => Some(message.as_ref()),
            _ => None,
        })
        .collect()
}

pub fn puts_execution(outcome: &Outcome) -> bool {
    outcome.changes.iter().any(|change| matches!(change, Change::PutExecution(_)))
}
