//! The supervisor: batches, commits, effects; and its deaths between them.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use data_runner_core::cost::{Budget, Market, Money, OnExceed, RunBudget};
use data_runner_core::event::{
    Answer, Effect, Event, Idempotency, Outcome, ReplyTo, Request, Submit, Synced,
};
use data_runner_core::execution::{Concurrency, OnConflict, Priority, Queueing, RetryPolicy, Trigger};
use data_runner_core::group::{GroupKind, GroupOrder, Member};
use data_runner_core::hook::{HookDelivery, HookSender};
use data_runner_core::id::{Epoch, ExecutionId, MachineId, Sha256, WorkerId};
use data_runner_core::message::{LogAppend, LogOutcome};
use data_runner_core::orchestrator::{Absence, Orchestrator, Policy, Pool};
use data_runner_core::port::{LaunchAnswer, Made};
use data_runner_core::time::{Entropy, Timestamp};
use data_runner_core::worker::{Candidate, Machine, MachineEnd, MachineState};
use data_runner_core::workflow::config::{Problem, Severity};
use data_runner_core::workflow::{
    Compute, DefinitionState, FolderFound, OnOutOfMemory, ParamValue, Repo, Spot,
};

use super::host::{Host, MachineLife};
use super::network::Way;
use super::{Happening, Machines, Mistake, Size, World};
use crate::memory::store::StoreFault;
use crate::sample;

pub(super) struct Supervisor {
    pub(super) life: Life,
    policy: Policy,
    entropy: Entropy,
    inbox: Vec<Event>,
    waiting: BTreeMap<ReplyTo, Client>,
    replies: u64,
    alarm: u64,
}

/// Who waits for an answer.
#[derive(Debug, Clone, Copy)]
enum Client {
    OfExecution(u32),
    OfGroup(u32),
}

pub(super) enum Life {
    Down,
    Up { orchestrator: Box<Orchestrator>, epoch: Epoch, turn_planned: bool },
}

/// What the supervisor has before it.
#[derive(Debug, Clone)]
pub(super) enum Due {
    Start,
    /// Take the inbox, decide, commit, perform.
    Turn,
    /// Something may be due.
    Alarm(u64),
    /// The machines are listed as they are now.
    List {
        epoch: Epoch,
        asked_at: Timestamp,
    },
    /// An event arrives: the answer of an effect. It dies with the process that asked.
    Arrive {
        epoch: Epoch,
        event: Box<Event>,
    },
}

/// Where a crash can strike in a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Crash {
    BeforeCommit,
    BeforeEffects,
    AmidEffects(usize),
}

impl Supervisor {
    pub(super) fn new(entropy: Entropy, size: Size) -> Self {
        let max = size.workers;
        let pool = Pool::Shared { min: 1, max, slots: 1, idle: Duration::from_secs(300) };
        let policy = match (size.machines, size.mistake) {
            (Machines::OfThisHost, _) => Policy { pool, ..Policy::local(max, 1) },
            (Machines::OfACloud { .. }, Some(Mistake::TrustsAbsence)) => {
                Policy { absence: Absence::IsProof, ..Policy::ec2(max) }
            }
            (Machines::OfACloud { .. }, Some(Mistake::ForgetsTokens) | None) => Policy::ec2(max),
        };
        Self {
            life: Life::Down,
            policy,
            entropy,
            inbox: Vec::new(),
            waiting: BTreeMap::new(),
            replies: 0,
            alarm: 0,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.life, Life::Up { .. })
    }

    pub(super) fn epoch(&self) -> Option<Epoch> {
        match self.life {
            Life::Up { epoch, .. } => Some(epoch),
            Life::Down => None,
        }
    }

    pub(super) fn orchestrator(&self) -> Option<&Orchestrator> {
        match &self.life {
            Life::Up { orchestrator, .. } => Some(orchestrator),
            Life::Down => None,
        }
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }
}

impl World {
    pub(super) fn on_supervisor(&mut self, due: Due) {
        match due {
            Due::Start => self.start_supervisor(),
            Due::Turn => self.take_turn(),
            Due::Alarm(alarm) => {
                if alarm == self.supervisor.alarm {
                    self.plan_turn(Duration::ZERO);
                }
            }
            Due::List { epoch, asked_at } => {
                if self.supervisor.epoch() == Some(epoch) {
                    let machines = if self.is_cloud() { self.listed() } else { self.machines() };
                    self.tell(Event::Listed { asked_at, machines });
                }
            }
            Due::Arrive { epoch, event } => {
                if self.supervisor.epoch() == Some(epoch) {
                    self.tell(*event);
                }
            }
        }
    }

    pub(super) fn start_supervisor(&mut self) {
        if self.supervisor.is_up() {
            return;
        }
        let epoch = self.store.acquire_now().expect("whoever held it is dead");
        let snapshot = self.store.load_now(epoch).expect("nothing was told to fail");
        let (policy, now) = (self.supervisor.policy.clone(), self.clock());
        let orchestrator = Box::new(Orchestrator::recover(snapshot, policy, epoch, now));
        let new = orchestrator.workflows().is_empty();
        self.note(|| format!("supervisor starts, epoch {epoch}"));
        self.supervisor.life = Life::Up { orchestrator, epoch, turn_planned: false };
        if new {
            self.ask(Request::Register { repo: repo(), synced: synced() }, None);
        }
        self.plan_turn(Duration::ZERO);
    }

    /// The process dies: what it had in memory is gone, what it had committed is not.
    pub(super) fn kill_supervisor(&mut self) {
        if !self.supervisor.is_up() {
            return;
        }
        self.note(|| "supervisor dies".to_owned());
        self.supervisor.life = Life::Down;
        self.supervisor.inbox.clear();
        self.supervisor.waiting.clear();
        self.store.release();
        self.network_lost_supervisor();
        let wait = self.millis(100, 300_000);
        self.after(wait, Happening::Supervisor(Due::Start));
    }

    /// Something for the next turn.
    pub(super) fn tell(&mut self, event: Event) {
        if self.supervisor.is_up() {
            self.supervisor.inbox.push(event);
            self.plan_turn(Duration::from_micros(200));
        }
    }

    pub(super) fn tell_after(&mut self, wait: Duration, event: Event) {
        if let Some(epoch) = self.supervisor.epoch() {
            self.after(wait, Happening::Supervisor(Due::Arrive { epoch, event: Box::new(event) }));
        }
    }

    fn plan_turn(&mut self, wait: Duration) {
        if let Life::Up { turn_planned, .. } = &mut self.supervisor.life
            && !*turn_planned
        {
            *turn_planned = true;
            self.after(wait, Happening::Supervisor(Due::Turn));
        }
    }

    fn ask(&mut self, request: Request, client: Option<Client>) {
        self.supervisor.replies += 1;
        let reply = ReplyTo(self.supervisor.replies);
        if let Some(client) = client {
            self.supervisor.waiting.insert(reply, client);
        }
        self.tell(Event::Request { reply, request: Box::new(request) });
    }

    pub(super) fn submit(&mut self, n: u32) {
        if let Some(submit) = self.submission(n, &format!("client-{n}")) {
            self.ask(Request::Submit(submit), Some(Client::OfExecution(n)));
        }
    }

    /// A group of four, of which two may be active; every second one fails fast.
    pub(super) fn start_group(&mut self, n: u32) {
        if let Some(submit) = self.submission(n, &format!("group-{n}")) {
            let member = |index| {
                let params = BTreeMap::from([("n".to_owned(), ParamValue::Int(index))]);
                Member::new(params, None, submit.queueing.clone())
            };
            let order = GroupOrder {
                members: (0..4).map(member).collect(),
                kind: GroupKind::Matrix,
                max_parallel: Some(2),
                fail_fast: self.seed.is_multiple_of(2),
                submit,
            };
            self.ask(Request::StartGroup(Box::new(order)), Some(Client::OfGroup(n)));
        }
    }

    fn submission(&self, n: u32, key: &str) -> Option<Submit> {
        let workflow = self.supervisor.orchestrator()?.workflows().keys().next().copied()?;
        let known = self.store.idempotent_now(key);
        let idempotency = Idempotency { key: key.to_owned(), body: Sha256::of(&n.to_be_bytes()), known };
        Some(Submit {
            workflow,
            job: Arc::new(sample::job()),
            labels: BTreeMap::new(),
            instance_size: "t3.medium".to_owned(),
            retries: RetryPolicy::default(),
            keep_warm: Duration::from_secs(if self.is_cloud() { u64::from(n % 3) * 120 } else { 0 }),
            compute: Compute {
                spot: if n.is_multiple_of(2) { Spot::Prefer } else { Spot::Never },
                on_out_of_memory: if n.is_multiple_of(3) {
                    OnOutOfMemory::Larger
                } else {
                    OnOutOfMemory::Fail
                },
                ..Compute::default()
            },
            notifications: Vec::new(),
            late_after: None,
            budget: self.is_cloud().then(|| budget(n, self.size, self.seed)),
            queueing: Queueing {
                priority: Priority::new(u8::try_from(n % 5 * 20).unwrap_or(0)),
                concurrency: concurrency(n),
                start_within: n.is_multiple_of(5).then_some(Duration::from_secs(1200)),
            },
            trigger: Trigger::Manual,
            dates: None,
            group: None,
            retry_of: None,
            idempotency: Some(idempotency),
        })
    }

    pub(super) fn deliver_hook(&mut self, n: u32) {
        self.delivered.insert(n);
        let (names, urls) = (vec![n.to_string()], vec![repo().url]);
        let delivery = HookDelivery { sender: HookSender::Github, names, urls, known: false };
        self.ask(Request::Hook(delivery), None);
    }

    pub(super) fn cancel(&mut self, execution: ExecutionId) {
        self.ask(Request::Cancel { execution, by: "a client".to_owned() }, None);
    }

    fn take_turn(&mut self) {
        let now = self.clock();
        let mut events = std::mem::take(&mut self.supervisor.inbox);
        self.refresh_keys(&mut events);
        let crash = self.draw_crash();
        let Life::Up { orchestrator, epoch, turn_planned } = &mut self.supervisor.life else {
            return;
        };
        *turn_planned = false;
        let epoch = *epoch;
        if orchestrator.next_deadline(now).is_some_and(|due| due.at <= now.mono) {
            events.push(Event::Tick);
        }
        let outcome = orchestrator.handle_batch(events, now, &mut self.supervisor.entropy);
        if crash == Some(Crash::BeforeCommit) {
            return self.crash("before the commit");
        }
        let Outcome { changes, effects } = outcome;
        if !changes.is_empty() && self.store.commit_now(epoch, now.wall, changes).is_err() {
            return self.recover_in_place(epoch);
        }
        if crash == Some(Crash::BeforeEffects) {
            return self.crash("between commit and effects");
        }
        for (n, effect) in effects.into_iter().enumerate() {
            if crash == Some(Crash::AmidEffects(n)) {
                return self.crash("amid the effects");
            }
            self.perform(effect);
        }
        self.plan_deadline();
    }

    /// What the store knows of a key is asked when the batch is taken: all earlier ones are committed by then.
    fn refresh_keys(&self, events: &mut [Event]) {
        for event in events {
            let Event::Request { request, .. } = event else { continue };
            if let Request::Submit(Submit { idempotency: Some(key), .. }) = request.as_mut() {
                key.known = self.store.idempotent_now(&key.key);
            }
            if let Request::Hook(delivery) = request.as_mut() {
                delivery.known = self.store.hook_known_now(&delivery.keys());
            }
        }
    }

    /// Wakes the supervisor when something is due; only the newest alarm counts.
    fn plan_deadline(&mut self) {
        let now = self.clock();
        let Some(due) = self.supervisor.orchestrator().and_then(|it| it.next_deadline(now)) else {
            return;
        };
        let wait = due.at.since(now.mono).max(Duration::from_millis(1));
        self.supervisor.alarm += 1;
        let alarm = self.supervisor.alarm;
        self.after(wait, Happening::Supervisor(Due::Alarm(alarm)));
    }

    fn draw_crash(&mut self) -> Option<Crash> {
        if !self.faults.crashes || !self.is_troubled() || self.entropy.below(150) != 0 {
            return None;
        }
        Some(match self.entropy.below(4) {
            0 => Crash::BeforeCommit,
            1 => Crash::BeforeEffects,
            n => Crash::AmidEffects(usize::try_from(n - 2).unwrap_or(0)),
        })
    }

    fn crash(&mut self, when: &'static str) {
        *self.struck.entry("supervisor crash").or_insert(0) += 1;
        self.note(|| format!("the supervisor crashes {when}"));
        self.kill_supervisor();
    }

    /// A failed commit: everything is forgotten and loaded again, agents have to connect again.
    fn recover_in_place(&mut self, epoch: Epoch) {
        self.note(|| "a commit fails; the state is loaded again".to_owned());
        self.supervisor.inbox.clear();
        self.supervisor.waiting.clear();
        self.network_lost_supervisor();
        let snapshot = self.store.load_now(epoch).expect("only commits were told to fail");
        let orchestrator =
            Box::new(Orchestrator::recover(snapshot, self.supervisor.policy.clone(), epoch, self.clock()));
        self.supervisor.life = Life::Up { orchestrator, epoch, turn_planned: false };
        self.plan_turn(Duration::from_millis(100));
    }

    pub(super) fn fail_a_commit(&mut self) {
        let fault = match self.entropy.below(2) {
            0 => StoreFault::Unavailable,
            _ => StoreFault::AnswerLost,
        };
        self.store.fail_next_commit(fault);
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Reply { to, answer } => self.reply(to, &answer),
            Effect::Send { session, message } => self.send_way(session, Way::Down(message)),
            Effect::CloseSession { session } => self.close_session(session),
            Effect::Plan { worker, request } if self.is_cloud() => self.plan(worker, &request),
            Effect::Plan { worker, .. } => {
                let wait = self.millis(1, 2_000);
                self.tell_after(wait, Event::Planned { worker, result: Ok(vec![candidate()]) });
            }
            Effect::Launch { worker, candidate } if self.is_cloud() => self.run_instance(worker, *candidate),
            Effect::Launch { worker, candidate } => self.launch(worker, *candidate),
            Effect::Terminate { worker, machine } if self.is_cloud() => {
                self.terminate_instance(worker, machine.as_ref());
            }
            Effect::Terminate { worker, .. } => self.terminate(worker),
            Effect::ReadConsole { worker, .. } => {
                let wait = self.millis(1, 20_000);
                let text = (self.entropy.below(2) == 0).then(|| "no route to host".to_owned());
                self.tell_after(wait, Event::ConsoleRead { worker, text });
            }
            // The world's one workflow is run by its clients; what starts by itself has simulations of its own in core.
            // Files are no part of this world.
            Effect::Prepare(_) | Effect::SweepArtifacts { .. } => {}
            Effect::Look { .. } => self.looks += 1,
            Effect::List => {
                let wait = self.millis(1, 1_000);
                self.list_after(wait, self.clock().wall);
            }
        }
    }

    fn reply(&mut self, to: ReplyTo, answer: &Answer) {
        let made = match answer {
            Answer::Execution(execution) => Made::Execution(execution.id),
            Answer::Group(group) => Made::Group(group.id),
            Answer::Existing(made) => *made,
            Answer::Workflows(_)
            | Answer::Workflow(_)
            | Answer::Worker(_)
            | Answer::Looking(_)
            | Answer::Repeated
            | Answer::Artifact(_)
            | Answer::Forgotten
            | Answer::ShutDown
            | Answer::Rejected(_) => return,
        };
        match (self.supervisor.waiting.remove(&to), made) {
            (Some(Client::OfExecution(client)), Made::Execution(id)) => {
                self.note(|| format!("client {client} hears of {id}"));
                self.acknowledged.insert(client, id);
            }
            (Some(Client::OfGroup(client)), Made::Group(id)) => {
                self.note(|| format!("client {client} hears of the group {id}"));
                self.grouped.insert(client, id);
            }
            (None, Made::Execution(id)) => drop(self.cancelled.insert(id)),
            (Some(_) | None, _) => {}
        }
    }

    /// The same worker never gets a second machine, however often it is asked for.
    fn launch(&mut self, worker: WorkerId, candidate: Candidate) {
        let wait = self.millis(10, 5_000);
        let unheard = self.faults.machines && self.is_troubled() && self.entropy.below(10) == 0;
        if !self.hosts.contains_key(&worker) {
            if unheard && self.entropy.below(2) == 0 {
                let answer = LaunchAnswer::Unknown { message: "a timeout before it happened".to_owned() };
                return self.tell_after(
                    wait,
                    Event::LaunchAnswered { worker, candidate: Box::new(candidate), answer },
                );
            }
            self.note(|| format!("machine of {worker} is launched"));
            let launched_at = self.clock().wall;
            self.hosts.insert(worker, Host::new(launched_at));
        }
        self.boot(worker);
        let answer = if unheard {
            LaunchAnswer::Unknown { message: "a timeout after it happened".to_owned() }
        } else {
            LaunchAnswer::Launched(machine_id(worker))
        };
        self.tell_after(wait, Event::LaunchAnswered { worker, candidate: Box::new(candidate), answer });
    }

    fn terminate(&mut self, worker: WorkerId) {
        let wait = self.millis(10, 20_000);
        if self.hosts.contains_key(&worker) {
            self.after(wait, Happening::Host(worker, super::host::Due::PowerOff));
        }
        // As the engine does: when the call is done, a listing follows.
        self.list_after(wait + Duration::from_millis(1), self.clock().wall.after(wait));
    }

    pub(super) fn list_after(&mut self, wait: Duration, asked_at: Timestamp) {
        if let Some(epoch) = self.supervisor.epoch() {
            self.after(wait, Happening::Supervisor(Due::List { epoch, asked_at }));
        }
    }

    fn machines(&self) -> Vec<Machine> {
        let shown = |(worker, host): (&WorkerId, &Host)| Machine {
            id: machine_id(*worker),
            worker: *worker,
            state: match (&host.life, host.has_agent()) {
                (MachineLife::Gone { reason }, _) => {
                    MachineState::Terminated { reason: (*reason).to_owned(), end: MachineEnd::Ended }
                }
                (MachineLife::On, true) => MachineState::Running,
                (MachineLife::On, false) => MachineState::AgentDown,
            },
            launched_at: host.launched_at,
        };
        self.hosts.iter().map(shown).collect()
    }

    /// The intake: stores what an agent hands over, past the Orchestrator, and tells both sides.
    pub(super) fn take_log(&mut self, session: data_runner_core::id::SessionId, append: LogAppend) {
        let Ok(acks) = self.store.append_now(vec![append]) else {
            return self.append_failed(session);
        };
        for ack in acks {
            if let LogOutcome::Stored { upto } = ack.outcome {
                self.tell(Event::LogStored { claim: ack.claim, upto });
            }
            self.send_way(session, Way::LogDown(ack));
        }
    }
}

pub(super) fn machine_id(worker: WorkerId) -> MachineId {
    format!("m-{worker}").parse().expect("printable and short")
}

/// Three of four clients share what a month may cost. In one of four small worlds that is much too little.
fn budget(client: u32, size: Size, seed: u64) -> RunBudget {
    let enough = u64::from(size.workers) * 60_000 + u64::from(size.executions) * 4_000;
    let tight = size.executions <= 12 && seed.is_multiple_of(4);
    let per_month = if tight { 20_000 } else { enough };
    let on_exceed = if client.is_multiple_of(4) { OnExceed::Notify } else { OnExceed::Cancel };
    let per_run = client.is_multiple_of(3).then_some(Money(30_000));
    let budget = Budget { per_run, per_month: Some(Money(per_month)), on_exceed };
    RunBudget { budget, usual: Some(Duration::from_secs(600)) }
}

/// Two of three clients share a key with others, and its limit.
fn concurrency(client: u32) -> Option<Concurrency> {
    let (key, limit) = match client % 3 {
        0 => return None,
        1 => ("one", NonZeroU32::MIN),
        _ => ("two", NonZeroU32::MIN.saturating_add(1)),
    };
    let on_conflict = match client / 3 % 4 {
        0 | 1 => OnConflict::Queue,
        2 => OnConflict::Skip,
        _ => OnConflict::CancelRunning,
    };
    Some(Concurrency { limit, key: key.to_owned(), on_conflict })
}

fn candidate() -> Candidate {
    Candidate {
        label: "simulated".to_owned(),
        instance_type: "simulated".to_owned(),
        request: serde_json::Value::Null,
        zone: None,
        market: Market::OnDemand,
        price: None,
    }
}

fn repo() -> Repo {
    Repo {
        name: "samples".parse().expect("a name"),
        url: "/samples".to_owned(),
        reference: "main".to_owned(),
        only: Vec::new(),
        head: None,
        synced_at: None,
        error: None,
    }
}

fn synced() -> Synced {
    // What a client submits is complete, so the definition need not be.
    let problem = Problem {
        code: "simulated".to_owned(),
        severity: Severity::Error,
        message: "simulated".to_owned(),
        help: None,
        location: None,
    };
    let definition = DefinitionState::Broken { revision: sample::revision(1), problems: vec![problem] };
    let name = "orders".parse().expect("a name");
    let folder = FolderFound { name, path: "workflows/orders".to_owned(), definition };
    Synced { revision: sample::revision(1), folders: vec![folder] }
}
