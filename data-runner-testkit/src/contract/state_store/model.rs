//! What a store is tested with: values of every shape, and a model of what it must hold.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use data_runner_core::artifact::{Artifact, ArtifactState};
use data_runner_core::cost::{Budget, MachinePrice, Market, Money, OnExceed, RunBudget, Spending};
use data_runner_core::delivery::{Delivery, DeliveryState};
use data_runner_core::event::{Change, EventKind, EventRecord, Snapshot};
use data_runner_core::execution::{
    Attempt, AttemptEnd, Concurrency, Ending, Enlarged, Execution, ExecutionState, Failure, FailureCause,
    FinishReport, LaunchTry, LiveAttempt, NetworkBytes, OnConflict, Phase, Phases, Priority, Queueing,
    RunState, StateName, Stop, StopReason, StorageBytes, Trigger, Usage, Waiting, WaitingReason,
};
use data_runner_core::group::{Group, GroupKind, GroupState, Member, MemberState, Membership};
use data_runner_core::hook::HookRecord;
use data_runner_core::id::{
    ArtifactId, AttemptId, AttemptNumber, Claim, CommitSequence, DeliveryId, Epoch, ExecutionId, GroupId,
    Lease, RepoName, Sha256, WorkerId, WorkflowId,
};
use data_runner_core::log::LogOffset;
use data_runner_core::port::{BlobRef, IdempotencyRecord, Made};
use data_runner_core::time::Entropy;
use data_runner_core::worker::{
    Candidate, Launched, MachineEnd, MachineRequest, Origin, Purpose, TerminationCause, Worker, WorkerState,
    WorkerStateName,
};
use data_runner_core::workflow::config::{Problem, Severity};
use data_runner_core::workflow::{
    Compute, DefinitionState, MessageFormat, NeedSuccess, NeededBy, NeedsProgress, NeedsStart, Notification,
    NotifyOn, ParamValue, Presence, Repo, Schedule, ScheduleDates, ScheduleId, ScheduleProgress,
    SettledNeeds, SettledTick, Spot, StartOutcome, Webhook, Workflow,
};

use super::Store;
use crate::contract::log_store::claim;
use crate::sample::{
    agent_facts, at, execution, execution_id, job, lease, packages, revision, uuid, worker_id, workflow_id,
};

/// A commit that changes something of every kind.
pub(in crate::contract) fn one_of_each() -> Vec<Change> {
    let [worker, ..] = &workers()[..] else { unreachable!("there are some") };
    vec![
        Change::PutRepo(Arc::new(repo("samples"))),
        Change::PutWorkflow(Arc::new(workflow(1, "samples", "orders"))),
        Change::PutWorker(Arc::new(worker.clone())),
        Change::PutExecution(Arc::new(execution(1))),
        Change::PutIdempotency(idempotency("key", 1)),
        Change::PutSchedule(Arc::new(schedule(1, "0 6 * * *"))),
        Change::PutDelivery(Arc::new(deliveries().swap_remove(0))),
        Change::PutNeeds(Arc::new(needs().swap_remove(0))),
        Change::PutHook(HookRecord { key: "github/1".to_owned(), at: at(1) }),
        Change::PutGroup(Arc::new(group(1))),
        Change::PutArtifact(Box::new(artifact(1, "out/a.csv", ArtifactState::Kept, 9))),
        Change::OpenLog(claim(1, 1)),
        Change::Record(event(EventKind::ExecutionQueued, Some(1))),
    ]
}

/// A file of the first attempt of execution 1, numbered, kept until that second. The bytes are its path's.
pub(in crate::contract) fn artifact(n: u64, path: &str, state: ArtifactState, until: i64) -> Artifact {
    Artifact {
        id: ArtifactId::from_uuid(uuid(n)),
        attempt: AttemptId { execution: execution_id(1), number: AttemptNumber::FIRST },
        name: "report".parse().expect("a name"),
        path: path.to_owned(),
        blob: BlobRef { hash: Sha256::of(path.as_bytes()), bytes: 1 << 40 },
        state,
        created_at: at(1),
        kept_until: at(until),
    }
}

/// What follows on queued.
pub(in crate::contract) fn provisioning(queued: &Execution) -> Execution {
    let state = ExecutionState::Provisioning { worker: worker_id(1), since: at(3) };
    Execution { state, ..queued.clone() }
}

/// An execution with everything that is optional, and numbers that are easily lost.
pub(in crate::contract) fn rich(execution: Execution) -> Execution {
    let mut job = job();
    job.params = BTreeMap::from([
        ("pi".to_owned(), ParamValue::Float(0.1 + 0.2)),
        ("tiny".to_owned(), ParamValue::Float(5e-324)),
        ("least".to_owned(), ParamValue::Int(i64::MIN)),
        ("text".to_owned(), ParamValue::String("quote \" nul \0 line\nsnow \u{2603} \u{1f600}".to_owned())),
        ("yes".to_owned(), ParamValue::Bool(true)),
        ("day".to_owned(), ParamValue::Date(jiff::civil::date(2026, 8, 1))),
    ]);
    let attempts = (1..=12).map(|number| attempt(number, execution.id)).collect();
    Execution {
        job: Arc::new(job),
        labels: BTreeMap::from([("tier".to_owned(), "gold".to_owned()), ("".to_owned(), "'\"".to_owned())]),
        keep_warm: Duration::new(300, 1),
        compute: Compute { spot: Spot::Prefer, disk_bytes: Some(50 << 30), ..Compute::default() },
        notifications: vec![Notification {
            on: vec![NotifyOn::Failure, NotifyOn::Late],
            webhook: webhook(),
            format: MessageFormat::Slack,
        }],
        queueing: Queueing {
            priority: Priority::new(80),
            concurrency: Some(Concurrency {
                limit: NonZeroU32::MAX,
                key: "'\u{2603}".to_owned(),
                on_conflict: OnConflict::CancelRunning,
            }),
            start_within: Some(Duration::new(1, 1)),
        },
        trigger: Trigger::Needs { by: vec![needed_by(1)] },
        dates: Some(dates()),
        group: Some(Membership { group: group_id(1), index: 3 }),
        retry_of: Some(execution_id(0)),
        budget: Some(budget()),
        spending: spending(),
        start_by: Some(at(99)),
        launch_failures: 2,
        enlarged: vec![Enlarged { after: AttemptNumber::FIRST, to: "t3.large".parse().unwrap() }],
        launch_tries: vec![LaunchTry {
            at: at(2),
            worker: worker_id(1),
            label: "t3.medium in a, spot".to_owned(),
            message: "no capacity".to_owned(),
        }],
        attempts,
        ..execution
    }
}

fn budget() -> RunBudget {
    let budget =
        Budget { per_run: Some(Money(1)), per_month: Some(Money(u64::MAX)), on_exceed: OnExceed::Block };
    RunBudget { budget, usual: Some(Duration::new(3, 5)) }
}

fn spending() -> Spending {
    let mut spending = Spending::default();
    spending.over_since = Some(at(7));
    spending.begin(at(6), Some(MachinePrice { instance: 1, volume: 2, address: u64::MAX }));
    spending
}

fn attempt(number: u32, execution: ExecutionId) -> Attempt {
    let mut phases = Phases::default();
    phases.record(Phase::Queued, at(1));
    phases.record(Phase::Finished, at(i64::from(number)));
    let end = match number % 3 {
        0 => None,
        1 => Some(AttemptEnd::Lost(failure())),
        _ => Some(AttemptEnd::Reported(report())),
    };
    let lease = Lease::from_uuid(execution.uuid());
    let packages = number.is_multiple_of(2).then(packages);
    Attempt { number: AttemptNumber(number), worker: worker_id(1), lease, phases, packages, end }
}

fn report() -> FinishReport {
    FinishReport {
        ending: Ending::Exited { code: 3 },
        usage: Usage {
            peak_memory_bytes: Some(u64::MAX),
            cpu_time: Duration::from_nanos(1),
            storage: Some(StorageBytes { read: 1 << 40, written: 0 }),
            peak_folder_bytes: Some(3),
            peak_spill_bytes: Some(0),
            network: Some(NetworkBytes { received: 1, sent: u64::MAX }),
        },
        output: Some(serde_json::json!({"rows": 1.0e-7, "names": ["a", null]})),
        warnings: vec!["two\nlines".to_owned()],
        log_end: LogOffset(1 << 40),
        ran_for: Duration::from_millis(1500),
        sql: Some(Box::new(crate::sample::sql_report())),
    }
}

fn failure() -> Failure {
    Failure::new(FailureCause::WorkerLost, "gone").hinting("look")
}

/// One of each state of an execution, and of the parts that are optional in it.
pub(in crate::contract) fn states(worker: u64) -> Vec<ExecutionState> {
    let live = LiveAttempt { number: AttemptNumber::FIRST, worker: worker_id(worker), lease: lease(1) };
    let stop = Some(Stop { reason: StopReason::Cancelled, at: at(4) });
    let finishing = |ending, stop| RunState::Finishing {
        report: Box::new(FinishReport { ending, ..report() }),
        stop,
        until: at(9),
    };
    let waiting = |reason| ExecutionState::Queued { waiting: Waiting { reason, since: at(2) } };
    vec![
        waiting(WaitingReason::Worker),
        waiting(WaitingReason::WorkerLimit { limit: 4 }),
        waiting(WaitingReason::Concurrency { key: "eu".to_owned(), limit: NonZeroU32::MIN }),
        waiting(WaitingReason::Backoff { until: at(8), failure: failure() }),
        waiting(WaitingReason::Hold { message: "no capacity".to_owned() }),
        waiting(WaitingReason::Draining),
        ExecutionState::Provisioning { worker: worker_id(worker), since: at(3) },
        ExecutionState::Starting { live, stop: None },
        ExecutionState::Starting { live, stop },
        ExecutionState::Running { live, run: RunState::Working },
        ExecutionState::Running {
            live,
            run: RunState::Stopping(Stop { reason: StopReason::Timeout, at: at(5) }),
        },
        ExecutionState::Running { live, run: finishing(Ending::Signalled { signal: 9 }, stop) },
        ExecutionState::Running { live, run: finishing(Ending::OutOfMemory { limit_bytes: Some(1) }, None) },
        ExecutionState::Running {
            live,
            run: finishing(Ending::Stopped { reason: StopReason::Disowned }, None),
        },
        ExecutionState::Running { live, run: finishing(Ending::NeverStarted { failure: failure() }, None) },
        ExecutionState::Running { live, run: finishing(Ending::Vanished { message: "?".to_owned() }, None) },
        ExecutionState::Success { at: at(6) },
        ExecutionState::Failed { at: at(6), failure: failure() },
        ExecutionState::Cancelled { at: at(6) },
    ]
}

/// One worker in each state, in order of the ids.
pub(in crate::contract) fn workers() -> Vec<Worker> {
    let since = at(1);
    let candidate = Candidate {
        label: "t3.medium in a".to_owned(),
        instance_type: "t3.medium".to_owned(),
        request: serde_json::json!({"Zone": "a", "Token": [1, 2.5]}),
        zone: Some("eu-west-1a".to_owned()),
        market: Market::Spot,
        price: Some(MachinePrice { instance: 41_600, volume: 1_200, address: 5_000 }),
    };
    let machine = Some("i-1".parse().expect("a machine id"));
    let attempts = BTreeMap::from([(claim(1, 1).attempt, lease(1)), (claim(1, 2).attempt, lease(2))]);
    let states = [
        WorkerState::Planning { since },
        WorkerState::Launching { candidate: candidate.clone(), fallbacks: vec![candidate.clone()], since },
        WorkerState::Booting {
            machine: "i-1".parse().expect("a machine id"),
            candidate: candidate.clone(),
            fallbacks: vec![candidate.clone()],
            since,
        },
        WorkerState::Idle { machine: None, candidate: None, since },
        WorkerState::Busy {
            machine: machine.clone(),
            candidate: Some(candidate.clone()),
            attempts: attempts.clone(),
        },
        WorkerState::Draining {
            machine: machine.clone(),
            attempts: attempts.clone(),
            candidate: Some(candidate.clone()),
            cause: TerminationCause::LaunchFailed { message: "no".to_owned() },
            since,
        },
        WorkerState::Terminating {
            machine,
            candidate: Some(candidate),
            attempts,
            cause: TerminationCause::NeverJoined { console: Some("no route \u{1f600}".to_owned()) },
            since,
        },
        WorkerState::Terminated {
            cause: TerminationCause::MachineGone { reason: "spot".to_owned(), end: MachineEnd::Interrupted },
            at: at(9),
        },
        WorkerState::Terminated { cause: TerminationCause::Idle, at: at(8) },
        WorkerState::Terminated { cause: TerminationCause::Shutdown, at: at(7) },
    ];
    states.into_iter().enumerate().map(|(n, state)| worker(n as u64 + 1, state)).collect()
}

fn worker(n: u64, state: WorkerState) -> Worker {
    Worker {
        id: worker_id(n),
        origin: Origin::Provisioned,
        purpose: Purpose::Workflow {
            workflow: workflow_id(1),
            request: Box::new(MachineRequest {
                deadline: Some(at(90)),
                tags: BTreeMap::from([("team".to_owned(), "data".to_owned())]),
                ..MachineRequest::plain("t3.medium", None, 1)
            }),
            keep_warm: Duration::from_secs(n),
        },
        slots: 2,
        launched: n.is_multiple_of(3).then(|| Launched {
            machine: "i-1".parse().expect("a machine id"),
            instance_type: "t3.medium".to_owned(),
            zone: Some("eu-west-1a".to_owned()),
            market: Market::Spot,
            price: Some(MachinePrice { instance: 41_600, ..MachinePrice::default() }),
            at: at(2),
        }),
        joined_with: n.is_multiple_of(3).then(|| Sha256::of(b"a key")),
        facts: n.is_multiple_of(2).then(agent_facts),
        state,
        created_at: at(0),
    }
}

pub(in crate::contract) fn is_live(worker: &Worker) -> bool {
    worker.state.name() != WorkerStateName::Terminated
}

pub(in crate::contract) fn workflow(n: u64, repo: &str, name: &str) -> Workflow {
    Workflow {
        id: workflow_id(n),
        repo: repo.parse().expect("a name"),
        name: name.parse().expect("a name"),
        path: format!("workflows/{name}"),
        presence: Presence::Present,
        definition: DefinitionState::Broken {
            revision: revision(1),
            problems: vec![Problem {
                code: "unknown_key".to_owned(),
                severity: Severity::Error,
                message: "there is no such key".to_owned(),
                help: None,
                location: None,
            }],
        },
        failing_since: n.is_multiple_of(2).then(|| at(2)),
        spent: Default::default(),
        paused_at: None,
        created_at: at(0),
        updated_at: at(1),
    }
}

pub(in crate::contract) fn repo(name: &str) -> Repo {
    Repo {
        name: name.parse().expect("a name"),
        url: format!("https://example.com/{name}.git"),
        reference: "main".to_owned(),
        only: vec!["workflows/orders".to_owned()],
        head: Some(revision(1)),
        synced_at: Some(at(1)),
        error: None,
    }
}

fn webhook() -> Webhook {
    "aws-secretsmanager://ops/alerts#url".parse().expect("a reference")
}

/// One in each of the shapes that the progress of needs has.
pub(in crate::contract) fn needs() -> Vec<NeedsProgress> {
    let start = |dates| NeedsStart { workflow: workflow_id(2), dates, by: vec![needed_by(1), needed_by(2)] };
    let success = |n, dates| NeedSuccess { by: needed_by(n), dates, at: at(n as i64) };
    vec![
        NeedsProgress {
            workflow: workflow_id(1),
            unused: Vec::new(),
            claimed: BTreeSet::new(),
            last: Some(SettledNeeds {
                at: at(3),
                outcome: StartOutcome::Submitted { execution: execution_id(3) },
            }),
        },
        NeedsProgress {
            workflow: workflow_id(2),
            unused: vec![success(4, None), success(5, Some(dates()))],
            claimed: [start(None), start(Some(dates()))].into(),
            last: None,
        },
    ]
}

pub(in crate::contract) fn group_id(n: u64) -> GroupId {
    GroupId::from_uuid(uuid(n))
}

/// A group that is active, with a member in each state.
pub(in crate::contract) fn group(n: u64) -> Group {
    let states = [
        MemberState::Success(execution_id(1)),
        MemberState::Failed(execution_id(2)),
        MemberState::Cancelled(execution_id(3)),
        MemberState::Active(execution_id(4)),
        MemberState::Pending,
        MemberState::Skipped,
    ];
    let params = BTreeMap::from([("region".to_owned(), ParamValue::Enum("eu \"west\"".to_owned()))]);
    let member = |state| Member {
        params: params.clone(),
        dates: Some(dates()),
        queueing: Queueing { priority: Priority::new(80), ..Queueing::default() },
        state,
    };
    let day = jiff::civil::date(2026, 8, 3);
    Group {
        id: group_id(n),
        kind: if n.is_multiple_of(2) {
            GroupKind::Matrix
        } else {
            GroupKind::Backfill { from: day, to: day }
        },
        max_parallel: Some(2),
        fail_fast: true,
        created_at: at(1),
        state: if n.is_multiple_of(2) { GroupState::Cancelling } else { GroupState::Paused },
        template: Arc::new(rich(execution(n))),
        members: states.map(member).to_vec(),
    }
}

fn needed_by(n: u64) -> NeededBy {
    NeededBy { workflow: job().workflow, execution: execution_id(n) }
}

fn dates() -> ScheduleDates {
    ScheduleDates { date: jiff::civil::date(2026, 8, 3), previous: jiff::civil::date(2026, 7, 31) }
}

/// One delivery in each state; the first one is pending.
pub(in crate::contract) fn deliveries() -> Vec<Delivery> {
    let states = [
        DeliveryState::Pending { attempts: 3, next_at: at(9) },
        DeliveryState::Delivered { at: at(5), status: 204 },
        DeliveryState::GivenUp { at: at(5), error: "the receiver answered 410".to_owned() },
    ];
    let delivery = |(n, state)| Delivery {
        id: DeliveryId::from_uuid(uuid(n as u64)),
        on: NotifyOn::ALL[n % NotifyOn::ALL.len()],
        execution: execution_id(1),
        workflow: workflow_id(1),
        webhook: webhook(),
        format: MessageFormat::Slack,
        created_at: at(4),
        state,
    };
    states.into_iter().enumerate().map(delivery).collect()
}

/// One in each of the shapes that a schedule's progress has.
pub(in crate::contract) fn schedules() -> Vec<ScheduleProgress> {
    let settled = |outcome| Some(SettledTick { due: at(2), outcome });
    let outcomes = [
        None,
        settled(StartOutcome::Submitted { execution: execution_id(1) }),
        settled(StartOutcome::Missed { reason: "paused".to_owned() }),
        settled(StartOutcome::Skipped { reason: "one runs".to_owned() }),
        settled(StartOutcome::GivenUp { message: "no \"such\" branch".to_owned() }),
    ];
    let shapes = outcomes.into_iter().enumerate().map(|(n, last)| {
        let claimed = (0..n as i64).map(at).collect();
        ScheduleProgress { claimed, last, ..schedule(n as u64 % 2, &format!("{n} 6 * * 1-5")) }
    });
    let mut shapes: Vec<ScheduleProgress> = shapes.collect();
    shapes.sort_by(|a, b| a.id.cmp(&b.id));
    shapes
}

fn schedule(workflow: u64, cron: &str) -> ScheduleProgress {
    let schedule = Schedule::new(cron, "Europe/Madrid").expect("a schedule");
    ScheduleProgress {
        id: ScheduleId { workflow: workflow_id(workflow), schedule },
        reached: at(workflow as i64),
        claimed: BTreeSet::new(),
        last: None,
    }
}

pub(in crate::contract) fn idempotency(key: &str, n: u64) -> IdempotencyRecord {
    IdempotencyRecord {
        key: key.to_owned(),
        body: Sha256::of(key.as_bytes()),
        made: if n.is_multiple_of(2) { Made::Group(group_id(n)) } else { Made::Execution(execution_id(n)) },
        at: at(n as i64),
    }
}

pub(in crate::contract) fn event(kind: EventKind, about: Option<u64>) -> EventRecord {
    EventRecord {
        at: at(1),
        kind,
        execution: about.map(execution_id),
        workflow: Some(workflow_id(1)),
        worker: None,
        message: "something \"happened\"".to_owned(),
    }
}

/// What a store must hold, kept in maps.
pub(super) struct Model {
    snapshot: Snapshot,
    executions: BTreeMap<ExecutionId, Execution>,
    workers: BTreeMap<WorkerId, Worker>,
    workflows: BTreeMap<WorkflowId, Workflow>,
    repos: BTreeMap<RepoName, Repo>,
    schedules: BTreeMap<ScheduleId, ScheduleProgress>,
    logs: BTreeMap<AttemptId, (Lease, LogOffset)>,
    counts: BTreeMap<StateName, u64>,
}

impl Model {
    /// Of a store as it is.
    pub(super) async fn of(store: &dyn Store, epoch: Epoch) -> Self {
        let snapshot = store.load(epoch).await.expect("load");
        let counts = store.counts().await.expect("counts");
        Self {
            executions: snapshot.executions.iter().map(|one| (one.id, one.clone())).collect(),
            workers: snapshot.workers.iter().map(|one| (one.id, one.clone())).collect(),
            workflows: snapshot.workflows.iter().map(|one| (one.id, one.clone())).collect(),
            repos: snapshot.repos.iter().map(|one| (one.name.clone(), one.clone())).collect(),
            schedules: snapshot.schedules.iter().map(|one| (one.id.clone(), one.clone())).collect(),
            logs: snapshot.logs.iter().map(|(claim, end)| (claim.attempt, (claim.lease, *end))).collect(),
            snapshot,
            counts,
        }
    }

    /// One to twelve changes, of things that are new and things that are there, which the model holds from then on.
    pub(super) fn random_commit(&mut self, entropy: &mut Entropy) -> Vec<Change> {
        self.snapshot.sequence.0 += 1;
        let count = 1 + entropy.below(12);
        (0..count)
            .map(|_| {
                let change = self.random_change(entropy);
                self.apply(&change);
                change
            })
            .collect()
    }

    fn random_change(&self, entropy: &mut Entropy) -> Change {
        let n = entropy.below(30) + 1;
        match entropy.below(9) {
            0..=2 => {
                // An execution that has ended never changes again, so each change is of one that the model holds as
                // active, or of a new one.
                let states = states(n);
                let state = states[entropy.below(states.len() as u64) as usize].clone();
                let fresh = execution(entropy.bits() >> 24);
                let active: Vec<&Execution> = self.executions.values().collect();
                let base = match active.get(n as usize % (active.len() + 3)) {
                    Some(known) => Execution { launch_failures: n as u32, ..(*known).clone() },
                    None if n.is_multiple_of(2) => rich(fresh),
                    None => fresh,
                };
                Change::PutExecution(Arc::new(Execution { state, ..base }))
            }
            3 => {
                let workers = workers();
                let state = workers[n as usize % workers.len()].state.clone();
                Change::PutWorker(Arc::new(worker(n, state)))
            }
            4 => Change::PutWorkflow(Arc::new(workflow(n, "samples", &format!("flow-{}", entropy.below(9))))),
            5 => Change::PutRepo(Arc::new(repo(&format!("repo-{}", n % 4)))),
            6 => {
                let schedules = schedules();
                let shape = schedules[n as usize % schedules.len()].clone();
                let id = schedule(n % 3, "30 2 * * *").id;
                Change::PutSchedule(Arc::new(ScheduleProgress { id, ..shape }))
            }
            7 => Change::OpenLog(claim(n, 1)),
            _ => Change::CloseLog { attempt: claim(n, 1).attempt, gap: None },
        }
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::PutExecution(execution) => self.put_execution(execution),
            Change::PutWorker(worker) => {
                self.workers.remove(&worker.id);
                if is_live(worker) {
                    self.workers.insert(worker.id, Worker::clone(worker));
                }
            }
            Change::PutWorkflow(workflow) => {
                self.workflows.insert(workflow.id, Workflow::clone(workflow));
            }
            Change::PutRepo(repo) => {
                self.repos.insert(repo.name.clone(), Repo::clone(repo));
            }
            Change::PutSchedule(progress) => {
                self.schedules.insert(progress.id.clone(), ScheduleProgress::clone(progress));
            }
            Change::OpenLog(claim) => {
                self.logs.insert(claim.attempt, (claim.lease, LogOffset(0)));
            }
            Change::CloseLog { attempt, .. } => {
                self.logs.remove(attempt);
            }
            Change::PutNeeds(_)
            | Change::PutGroup(_)
            | Change::PutDelivery(_)
            | Change::PutIdempotency(_)
            | Change::PutHook(_)
            | Change::ForgetHooks { .. }
            | Change::PutArtifact(_)
            | Change::ForgetArtifacts { .. }
            | Change::Record(_) => {}
        }
    }

    fn put_execution(&mut self, execution: &Execution) {
        if let Some(old) = self.executions.remove(&execution.id) {
            *self.counts.entry(old.state.name()).or_default() -= 1;
        }
        *self.counts.entry(execution.state.name()).or_default() += 1;
        if !execution.state.name().is_terminal() {
            self.executions.insert(execution.id, execution.clone());
        }
    }

    pub(super) fn sequence(&self) -> CommitSequence {
        self.snapshot.sequence
    }

    pub(super) fn counts(&self) -> BTreeMap<StateName, u64> {
        self.counts.clone()
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            sequence: self.sequence(),
            executions: self.executions.values().cloned().collect(),
            workers: self.workers.values().cloned().collect(),
            workflows: self.workflows.values().cloned().collect(),
            repos: self.repos.values().cloned().collect(),
            schedules: self.schedules.values().cloned().collect(),
            needs: self.snapshot.needs.clone(),
            groups: self.snapshot.groups.clone(),
            deliveries: self.snapshot.deliveries.clone(),
            logs: self
                .logs
                .iter()
                .map(|(attempt, (lease, end))| (Claim { attempt: *attempt, lease: *lease }, *end))
                .collect(),
        }
    }
}
