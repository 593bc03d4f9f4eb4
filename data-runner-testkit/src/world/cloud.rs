//! A cloud that behaves as EC2 does: answers of every class, answers that are lost after the deed, listings that lag,
//! machines that never come up, that die for want of capacity, that are taken back, and that switch themselves off.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use data_runner_core::agent::AgentEvent;
use data_runner_core::cost::{MachinePrice, Market, Money, OnExceed};
use data_runner_core::event::{Event, PlanFailure};
use data_runner_core::execution::{Execution, ExecutionState};
use data_runner_core::id::{MachineId, WorkerId};
use data_runner_core::port::LaunchAnswer;
use data_runner_core::worker::{
    Candidate, Machine, MachineEnd, MachineRequest, MachineState, Worker, WorkerState,
};
use data_runner_core::workflow::Spot;

use super::host::{Host, MachineLife};
use super::{Happening, World};
use crate::sample;

/// Where workers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machines {
    /// A pool of agents, shown as they are.
    OfThisHost,
    /// One for each execution, of a cloud whose word is not to be trusted at once.
    OfACloud {
        /// How many of a hundred answers to launches are lost while faults strike.
        ambiguous: u8,
    },
}

/// A mistake that is made on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// A launch that is repeated makes another machine: its token is not the same.
    ForgetsTokens,
    /// A machine that a listing does not show is taken for gone at once.
    TrustsAbsence,
}

#[derive(Default)]
pub(super) struct Cloud {
    /// By worker and candidate: what their token made. Never forgotten.
    instances: BTreeMap<(WorkerId, String), Instance>,
    strangers: BTreeSet<WorkerId>,
    pub(super) ambiguous: usize,
    /// An invariant that was seen broken as something was done.
    pub(super) broken: Option<(&'static str, String)>,
}

/// One machine, with the times at which it changes: a listing may be of any of them.
struct Instance {
    id: MachineId,
    candidate: Candidate,
    launched: Duration,
    visible: Duration,
    /// It ends, at the earliest of what ends it.
    gone: Option<(Duration, &'static str, MachineEnd)>,
    joined: bool,
}

impl Cloud {
    pub(super) fn launched(&self) -> usize {
        self.instances.len()
    }

    pub(super) fn is_stranger(&self, worker: WorkerId) -> bool {
        self.strangers.contains(&worker)
    }

    fn alive(&self, worker: WorkerId) -> Option<&Instance> {
        self.instances_of(worker).find(|instance| instance.gone.is_none())
    }

    fn instances_of(&self, worker: WorkerId) -> impl Iterator<Item = &Instance> {
        let of_worker = self.instances.iter().filter(move |((owner, _), _)| *owner == worker);
        of_worker.map(|(_, instance)| instance)
    }

    fn break_invariant(&mut self, invariant: &'static str, what: String) {
        self.broken.get_or_insert((invariant, what));
    }
}

#[derive(Debug, Clone)]
pub(super) enum Due {
    /// The machine ends, unless it has.
    End { worker: WorkerId, id: MachineId, reason: &'static str, end: MachineEnd },
}

/// How long a terminated machine is still shown.
const SHOWN_AFTER_END: Duration = Duration::from_secs(3600);

impl World {
    pub(super) fn is_cloud(&self) -> bool {
        match self.size.machines {
            Machines::OfThisHost => false,
            Machines::OfACloud { .. } => true,
        }
    }

    pub(super) fn on_cloud(&mut self, due: Due) {
        match due {
            Due::End { worker, id, reason, end } => {
                if self.cloud.alive(worker).is_some_and(|instance| instance.id == id) {
                    self.end_instance(worker, reason, end);
                }
            }
        }
    }

    fn ambiguous_permille(&self) -> u64 {
        match self.size.machines {
            Machines::OfThisHost => 0,
            Machines::OfACloud { ambiguous } => u64::from(ambiguous) * 10,
        }
    }

    /// Whether trouble of this kind strikes now: in so many of a thousand cases.
    fn trouble(&mut self, permille: u64) -> bool {
        self.faults.machines && self.is_troubled() && self.entropy.below(1000) < permille
    }

    pub(super) fn plan(&mut self, worker: WorkerId, request: &MachineRequest) {
        let wait = self.millis(1, 2_000);
        if self.trouble(50) {
            let result = Err(PlanFailure::Unavailable { message: "throttled".to_owned() });
            return self.tell_after(wait, Event::Planned { worker, result });
        }
        let markets: &[Market] = match request.compute.spot {
            Spot::Never => &[Market::OnDemand],
            Spot::Prefer => &[Market::Spot, Market::OnDemand],
            Spot::Only => &[Market::Spot],
        };
        let zones = ["a", "b"];
        let all = markets.iter().flat_map(|market| zones.map(|zone| offer(zone, *market)));
        let result = Ok(all.collect());
        self.tell_after(wait, Event::Planned { worker, result });
    }

    /// RunInstances: idempotent by its token, whatever is answered.
    pub(super) fn run_instance(&mut self, worker: WorkerId, candidate: Candidate) {
        self.check_intent(worker, &candidate);
        let token = (worker, candidate.label.clone());
        let ambiguous = self.ambiguous_permille();
        let lost = self.trouble(ambiguous);
        let known = self.cloud.instances.get(&token).map(|it| (it.id.clone(), it.gone.is_some()));
        let forgets = self.size.mistake == Some(super::Mistake::ForgetsTokens);
        let answer = match known {
            Some((_, true)) => LaunchAnswer::FallBack { message: "IdempotentInstanceTerminated".to_owned() },
            Some(_) if self.trouble(20) => LaunchAnswer::Adopt,
            Some((id, false)) if !forgets => LaunchAnswer::Launched(id),
            Some(_) | None => match self.refusal(lost) {
                Some(answer) => answer,
                None => LaunchAnswer::Launched(self.make_instance(worker, candidate.clone())),
            },
        };
        let answer = if lost {
            self.cloud.ambiguous += 1;
            LaunchAnswer::Unknown { message: "the answer was lost".to_owned() }
        } else {
            answer
        };
        let longest = if self.trouble(30) { 110_000 } else { 5_000 };
        let wait = self.millis(10, longest);
        self.tell_after(wait, Event::LaunchAnswered { worker, candidate: Box::new(candidate), answer });
    }

    /// What the cloud says instead of making a machine.
    fn refusal(&mut self, lost: bool) -> Option<LaunchAnswer> {
        let message = |text: &str| text.to_owned();
        // The more is lost, the more of it is lost on the way there.
        if lost && self.entropy.below(1000) < self.ambiguous_permille() {
            return Some(LaunchAnswer::Unknown { message: message("lost before it happened") });
        }
        if self.trouble(100) {
            return Some(LaunchAnswer::FallBack { message: message("InsufficientInstanceCapacity") });
        }
        if self.trouble(50) {
            return Some(LaunchAnswer::Hold { message: message("VcpuLimitExceeded") });
        }
        self.trouble(10).then(|| LaunchAnswer::Fatal {
            message: message("UnauthorizedOperation"),
            hint: Some(message("allow it")),
        })
    }

    /// I6: the intent to launch exactly this was committed before.
    fn check_intent(&mut self, worker: WorkerId, candidate: &Candidate) {
        let stored = self.store.worker_now(worker);
        let meant = stored.as_ref().and_then(|worker| worker.state.candidate());
        if meant != Some(candidate) {
            let what = format!("{} is launched for {worker}, which means {meant:?}", candidate.label);
            self.cloud.break_invariant("I6", what);
        }
        if stored.and_then(|worker| worker.deadline()).is_none() {
            self.cloud.break_invariant("I6", format!("the machine of {worker} has no deadline"));
        }
    }

    fn make_instance(&mut self, worker: WorkerId, candidate: Candidate) -> MachineId {
        if let Some(other) = self.cloud.alive(worker) {
            let what = format!("{worker} has {} and gets a second machine", other.id);
            self.cloud.break_invariant("I7", what);
        }
        self.check_budget(worker);
        let token = (worker, candidate.label.clone());
        let id: MachineId = format!("i-{}", self.cloud.instances.len()).parse().expect("a name");
        let invisible = if self.trouble(150) { self.millis(1_000, 300_000) } else { Duration::ZERO };
        let instance = Instance {
            id: id.clone(),
            candidate,
            launched: self.now,
            visible: self.now + invisible,
            gone: None,
            joined: false,
        };
        self.note(|| format!("{id} is made for {worker}: {}", token.1));
        self.cloud.instances.insert(token, instance);
        let launched_at = self.clock().wall;
        self.hosts.insert(worker, Host::new(launched_at));
        self.plan_life(worker, &id);
        id
    }

    /// I9: no machine is launched for who may not exceed the month, if the machines that were ever launched had used it
    /// up when that was decided.
    fn check_budget(&mut self, worker: WorkerId) {
        let Some(WorkerState::Launching { since, .. }) = self.store.worker_now(worker).map(|it| it.state)
        else {
            return;
        };
        let wants = |execution: &Arc<Execution>| {
            let wanted =
                matches!(execution.state, ExecutionState::Provisioning { worker: it, .. } if it == worker);
            let budget = execution.budget.filter(|_| wanted)?.budget;
            budget.per_month.filter(|_| budget.on_exceed == OnExceed::Cancel)
        };
        let Some(limit) = self.store.executions_now().iter().find_map(wants) else {
            return;
        };
        let bill = |worker: &Arc<Worker>| {
            let launched = worker.launched.as_ref().filter(|launched| launched.at < since)?;
            let until = worker.gone_at().unwrap_or(since).min(since);
            Some(launched.price?.bill(until.since(launched.at)).0)
        };
        let spent: u64 = self.store.workers_now().iter().filter_map(bill).sum();
        // What was launched without an answer is known to cost only when a listing shows it, a quarter of an hour later.
        let unknown = u64::from(self.size.workers) * 15_000;
        if spent > limit.0 + unknown {
            let what =
                format!("a machine is launched for {worker} when {} are spent of {limit}", Money(spent));
            self.cloud.break_invariant("I9", what);
        }
    }

    /// What becomes of a machine: most come up; all switch themselves off at their deadline.
    fn plan_life(&mut self, worker: WorkerId, id: &MachineId) {
        let deadline = self.store.worker_now(worker).and_then(|worker| worker.deadline());
        if let Some(deadline) = deadline {
            let wait = deadline.since(self.clock().wall);
            self.end_after(wait, worker, id, "its time was over", MachineEnd::Ended);
        }
        if self.trouble(80) {
            let wait = self.millis(1_000, 60_000);
            return self.end_after(
                wait,
                worker,
                id,
                "Server.InsufficientInstanceCapacity",
                MachineEnd::NoCapacity,
            );
        }
        if self.trouble(80) {
            // It stays pending, or its agent never joins.
            return self.note(|| format!("{worker} does not come up"));
        }
        let wait = self.millis(5_000, 60_000);
        self.after(wait, Happening::Host(worker, super::host::Due::Boot));
    }

    fn end_after(
        &mut self,
        wait: Duration,
        worker: WorkerId,
        id: &MachineId,
        reason: &'static str,
        end: MachineEnd,
    ) {
        let id = id.clone();
        self.after(wait, Happening::Cloud(Due::End { worker, id, reason, end }));
    }

    pub(super) fn end_instance(&mut self, worker: WorkerId, reason: &'static str, end: MachineEnd) {
        let now = self.now;
        let mut of_worker = self.cloud.instances.iter_mut().filter(|((owner, _), _)| *owner == worker);
        if let Some((_, instance)) = of_worker.find(|(_, instance)| instance.gone.is_none()) {
            instance.gone = Some((now, reason, end));
        }
        self.power_off(worker, reason);
    }

    /// TerminateInstances: by name, or by the worker's tag. Ok proves nothing.
    pub(super) fn terminate_instance(&mut self, worker: WorkerId, machine: Option<&MachineId>) {
        let called = self.millis(10, 20_000);
        self.check_fenced(worker);
        let id = self.cloud.alive(worker).map(|instance| instance.id.clone());
        if let Some(id) = id.filter(|id| machine.is_none_or(|named| named == id))
            && !self.trouble(50)
        {
            let wait = self.millis(1_000, 60_000);
            self.end_after(called + wait, worker, &id, "Client.UserInitiatedShutdown", MachineEnd::Ended);
        }
        self.list_after(called + Duration::from_millis(1), self.clock().wall.after(called));
    }

    /// I7: no machine with a live job is terminated before its end was decided.
    fn check_fenced(&mut self, worker: WorkerId) {
        let busy = self.hosts.get(&worker).is_some_and(|host| host.alive().next().is_some());
        let decided = self
            .store
            .worker_now(worker)
            .is_none_or(|worker| matches!(worker.state, WorkerState::Terminating { .. }));
        if busy && !decided {
            self.cloud.break_invariant("I7", format!("{worker} is terminated while its attempt lives"));
        }
    }

    /// A complete listing of some moment in the last minute.
    pub(super) fn listed(&mut self) -> Vec<Machine> {
        let lag = if self.trouble(200) { self.millis(1_000, 60_000) } else { Duration::ZERO };
        let at = self.now.saturating_sub(lag);
        let wall = |at: Duration| sample::at(0).after(at);
        let shown = |((worker, _), instance): (&(WorkerId, String), &Instance)| {
            let over = instance.gone.filter(|(gone, _, _)| *gone <= at);
            if instance.visible > at || over.is_some_and(|(gone, _, _)| gone + SHOWN_AFTER_END <= at) {
                return None;
            }
            let state = match over {
                Some((_, reason, end)) => MachineState::Terminated { reason: reason.to_owned(), end },
                None => MachineState::Running,
            };
            let launched_at = wall(instance.launched);
            Some(Machine { id: instance.id.clone(), worker: *worker, state, launched_at })
        };
        self.cloud.instances.iter().filter_map(shown).collect()
    }

    /// Whether the agent of this worker's machine has, or gets, a certificate: its token is that of the candidate that
    /// the worker means, and it is not too late.
    pub(super) fn may_join(&mut self, worker: WorkerId) -> bool {
        if !self.is_cloud() {
            return true;
        }
        let live = self.supervisor.orchestrator().and_then(|it| {
            let worker = it.workers().find(|it| it.id == worker)?;
            let wanted = match &worker.state {
                WorkerState::Launching { candidate, .. } | WorkerState::Booting { candidate, .. } => {
                    candidate
                }
                WorkerState::Planning { .. }
                | WorkerState::Idle { .. }
                | WorkerState::Busy { .. }
                | WorkerState::Draining { .. }
                | WorkerState::Terminating { .. }
                | WorkerState::Terminated { .. } => return None,
            };
            Some(wanted.clone())
        });
        let mut of_worker = self.cloud.instances.iter_mut().filter(|((owner, _), _)| *owner == worker);
        let Some((_, instance)) = of_worker.find(|(_, instance)| instance.gone.is_none()) else {
            return false;
        };
        instance.joined |= live.as_ref() == Some(&instance.candidate);
        instance.joined
    }

    /// An agent that has ended switches its machine off.
    pub(super) fn switch_off_when_drained(&mut self, worker: WorkerId) {
        let id = self.cloud.alive(worker).map(|instance| instance.id.clone());
        if let Some(id) = id {
            let wait = Duration::from_secs(1);
            self.end_after(wait, worker, &id, "Client.InstanceInitiatedShutdown", MachineEnd::Ended);
        }
    }

    /// Spare capacity is taken back: two minutes after a notice, or without one.
    pub(super) fn interrupt(&mut self, worker: WorkerId) {
        let Some(id) = self.cloud.alive(worker).map(|instance| instance.id.clone()) else {
            return;
        };
        let reason = "Server.SpotInstanceTermination";
        if self.entropy.below(3) == 0 {
            return self.end_instance(worker, reason, MachineEnd::Interrupted);
        }
        for _ in 0..2 {
            if let Some(life) = self.agent_life(worker) {
                self.tell_agent(worker, life, AgentEvent::Terminate);
            }
        }
        self.end_after(Duration::from_secs(120), worker, &id, reason, MachineEnd::Interrupted);
    }

    pub(super) fn make_stranger(&mut self) {
        let worker = sample::worker_id(7_000_000);
        if self.cloud.strangers.insert(worker) {
            let instance = Instance {
                id: "i-stranger".parse().expect("a name"),
                candidate: offer("a", Market::OnDemand),
                launched: self.now,
                visible: self.now,
                gone: None,
                joined: false,
            };
            self.cloud.instances.insert((worker, instance.candidate.label.clone()), instance);
            let launched_at = self.clock().wall;
            self.hosts.insert(worker, Host::new(launched_at));
        }
    }

    pub(super) fn no_machine_is_left(&self) -> bool {
        !self.is_cloud() || self.hosts.values().all(|host| host.life != MachineLife::On)
    }
}

fn offer(zone: &str, market: Market) -> Candidate {
    Candidate {
        label: format!("t3.medium in {zone}, {}", market.as_str()),
        instance_type: "t3.medium".to_owned(),
        request: serde_json::json!({ "zone": zone }),
        zone: Some(zone.to_owned()),
        market,
        price: Some(MachinePrice { instance: 41_600, volume: 1_200, address: 5_000 }),
    }
}
