//! The whole system in virtual time: a supervisor's Orchestrator over the in-memory store, agents on hosts whose disks
//! and processes outlive them, a provisioner, a network, and clients; all of it under faults.
//!
//! Nothing here reads a clock, waits, or draws randomness that does not come from the seed, so a seed replays to the
//! byte. What is simulated is what decides (core) with what it is promised (the ports' contracts); the loops around it
//! have tests of their own.
//!
//! Safety is checked after every step, liveness after everything has healed. A failure names the invariant (I1 to I15,
//! as in the project's architecture page), the seed, and the last things that happened.

mod checks;
mod cloud;
mod faults;
mod host;
mod network;
mod supervisor;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use data_runner_core::id::{AttemptId, ExecutionId, GroupId, WorkerId};
use data_runner_core::time::{Entropy, Mono, Now, Timestamp};

use crate::memory::store::MemoryStore;
use crate::sample;
use cloud::Cloud;
use host::Host;
use network::Network;
use supervisor::Supervisor;

pub use cloud::{Machines, Mistake};
pub use faults::Faults;

/// How a run went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Executions that were acknowledged.
    pub submitted: usize,
    /// How they ended, by state.
    pub ended: BTreeMap<&'static str, usize>,
    /// How often each kind of fault struck.
    pub faults: BTreeMap<&'static str, usize>,
    /// Attempts that were started on a host.
    pub started: usize,
    /// How often an execution went a size up.
    pub enlarged: usize,
    /// Machines that were launched.
    pub machines: usize,
    /// Launches that were answered with "unknown", or not at all.
    pub ambiguous: usize,
    /// A digest of everything that happened, in order: equal for equal seeds.
    pub digest: String,
}

/// A broken invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Its number, such as `I2`.
    pub invariant: &'static str,
    /// What was found.
    pub what: String,
    /// The seed that shows it.
    pub seed: u64,
    /// The last things that happened, the newest last.
    pub history: Vec<String>,
}

/// How large a run is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Executions that clients submit.
    pub executions: u32,
    /// Groups that clients start beside them, of four executions each.
    pub groups: u32,
    /// Workers that the pool may have.
    pub workers: u32,
    /// For how long faults strike; then everything heals.
    pub troubled: Duration,
    /// Where workers come from.
    pub machines: Machines,
    /// A mistake that is made on purpose, to see that it is found.
    pub mistake: Option<Mistake>,
}

impl Size {
    /// The default size on machines of a cloud, one for each execution.
    pub fn cloud() -> Self {
        Self { machines: Machines::OfACloud { ambiguous: 15 }, ..Self::default() }
    }
}

impl Default for Size {
    fn default() -> Self {
        Self {
            executions: 12,
            groups: 1,
            workers: 3,
            troubled: Duration::from_secs(3600),
            machines: Machines::OfThisHost,
            mistake: None,
        }
    }
}

/// Runs one world to its end.
///
/// # Errors
/// The first invariant that does not hold.
pub fn run(seed: u64, size: Size, faults: Faults) -> Result<Report, Box<Violation>> {
    World::new(seed, size, faults).live()
}

/// Something that is going to happen.
#[derive(Debug, Clone)]
enum Happening {
    Supervisor(supervisor::Due),
    Host(WorkerId, host::Due),
    Network(network::Due),
    Client(ClientAct),
    Fault(faults::Strike),
    Cloud(cloud::Due),
}

#[derive(Debug, Clone, Copy)]
enum ClientAct {
    Submit(u32),
    /// The same request again: the client did not hear the answer.
    Repeat(u32),
    /// Start a group, again and again until the answer is heard.
    Group(u32),
    Cancel(u32),
}

struct World {
    seed: u64,
    size: Size,
    faults: Faults,
    now: Duration,
    entropy: Entropy,
    agenda: BTreeMap<(Duration, u64), Happening>,
    sequence: u64,
    store: MemoryStore,
    supervisor: Supervisor,
    hosts: BTreeMap<WorkerId, Host>,
    cloud: Cloud,
    network: Network,
    /// What was acknowledged to clients, by their own number.
    acknowledged: BTreeMap<u32, ExecutionId>,
    /// The same of groups.
    grouped: BTreeMap<u32, GroupId>,
    cancelled: BTreeSet<ExecutionId>,
    ended: BTreeMap<ExecutionId, data_runner_core::execution::Execution>,
    /// Deliveries of webhooks that were sent, each as often as its client spoke.
    delivered: BTreeSet<u32>,
    /// How often a repository was looked at for one.
    looks: usize,
    /// Attempts whose process was started, ever.
    started: BTreeMap<AttemptId, u32>,
    struck: BTreeMap<&'static str, usize>,
    history: VecDeque<String>,
    digest: sha2::Sha256,
}

/// How much of the history a violation shows.
const SHOWN: usize = 60;

/// No run needs longer than this to end once everything has healed.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

impl World {
    fn new(seed: u64, size: Size, faults: Faults) -> Self {
        use sha2::Digest as _;
        let mut entropy = Entropy::from_number(seed);
        let store = MemoryStore::new();
        let supervisor = Supervisor::new(Entropy::from_number(entropy.bits()), size);
        let mut world = Self {
            seed,
            size,
            faults,
            now: Duration::from_secs(1),
            entropy,
            agenda: BTreeMap::new(),
            sequence: 0,
            store,
            supervisor,
            hosts: BTreeMap::new(),
            cloud: Cloud::default(),
            network: Network::default(),
            acknowledged: BTreeMap::new(),
            grouped: BTreeMap::new(),
            cancelled: BTreeSet::new(),
            ended: BTreeMap::new(),
            delivered: BTreeSet::new(),
            looks: 0,
            started: BTreeMap::new(),
            struck: BTreeMap::new(),
            history: VecDeque::new(),
            digest: sha2::Sha256::new(),
        };
        world.start_supervisor();
        world.plan_clients();
        world.plan_faults();
        world
    }

    fn live(mut self) -> Result<Report, Box<Violation>> {
        let end = self.size.troubled + PATIENCE;
        while let Some(((at, _), happening)) = self.agenda.pop_first() {
            self.now = self.now.max(at);
            if self.now > end {
                break;
            }
            match happening {
                Happening::Supervisor(due) => self.on_supervisor(due),
                Happening::Host(worker, due) => self.on_host(worker, due),
                Happening::Network(due) => self.on_network(due),
                Happening::Client(act) => self.on_client(act),
                Happening::Fault(strike) => self.on_strike(strike),
                Happening::Cloud(due) => self.on_cloud(due),
            }
            self.check_safety()?;
            if self.is_quiet() {
                break;
            }
        }
        self.check_liveness()?;
        Ok(self.report())
    }

    /// Everything that clients asked for has ended, and no fault is to come.
    fn is_quiet(&self) -> bool {
        self.now > self.size.troubled
            && self.acknowledged.len() == self.size.executions as usize
            && self.acknowledged.values().all(|id| self.ended.contains_key(id))
            && self.groups_have_ended()
            && self.no_machine_is_left()
    }

    fn clock(&self) -> Now {
        let wall: Timestamp = sample::at(0).after(self.now);
        Now { wall, mono: Mono(self.now) }
    }

    fn after(&mut self, wait: Duration, happening: Happening) {
        self.sequence += 1;
        self.agenda.insert((self.now + wait, self.sequence), happening);
    }

    /// A random time between `from` and `to` milliseconds.
    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.entropy.below(to.saturating_sub(from).max(1)))
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        use sha2::Digest as _;
        let line = format!("{:>10.3} {}", self.now.as_secs_f64(), what());
        self.digest.update(line.as_bytes());
        self.history.push_back(line);
        if self.history.len() > SHOWN {
            self.history.pop_front();
        }
    }

    fn plan_clients(&mut self) {
        let troubled = u64::try_from(self.size.troubled.as_millis()).unwrap_or(u64::MAX);
        for n in 0..self.size.executions {
            let at = self.millis(0, troubled * 3 / 4);
            self.after(at, Happening::Client(ClientAct::Submit(n)));
            if self.entropy.below(4) == 0 {
                let wait = self.millis(0, 600_000);
                self.after(at + wait, Happening::Client(ClientAct::Cancel(n)));
            }
        }
        for n in 0..self.size.groups {
            let at = self.millis(0, troubled * 3 / 4);
            self.after(at, Happening::Client(ClientAct::Group(n)));
        }
    }

    fn on_client(&mut self, act: ClientAct) {
        match act {
            ClientAct::Submit(n) | ClientAct::Repeat(n) => {
                if self.acknowledged.contains_key(&n) {
                    return;
                }
                // An impatient client repeats what was not answered, under the same key.
                let wait = self.millis(1_000, 30_000);
                self.after(wait, Happening::Client(ClientAct::Repeat(n)));
                self.submit(n);
                // So is the sender of a webhook.
                self.deliver_hook(n);
            }
            ClientAct::Group(n) => {
                if !self.grouped.contains_key(&n) {
                    let wait = self.millis(1_000, 30_000);
                    self.after(wait, Happening::Client(ClientAct::Group(n)));
                    self.start_group(n);
                }
            }
            ClientAct::Cancel(n) => {
                if let Some(&id) = self.acknowledged.get(&n) {
                    self.cancel(id);
                }
            }
        }
    }

    fn report(self) -> Report {
        use sha2::Digest as _;
        let mut ended = BTreeMap::new();
        for execution in self.ended.values() {
            *ended.entry(execution.state.name().as_str()).or_insert(0) += 1;
        }
        let digest = self.digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Report {
            submitted: self.acknowledged.len(),
            ended,
            faults: self.struck,
            started: self.started.len(),
            enlarged: self.ended.values().map(|execution| execution.enlarged.len()).sum(),
            machines: self.cloud.launched(),
            ambiguous: self.cloud.ambiguous,
            digest,
        }
    }
}
