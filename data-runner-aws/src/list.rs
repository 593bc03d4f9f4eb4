//! The machines that bear our mark, as EC2 shows them, and their end.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_ec2::types::{Filter, Instance};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use data_runner_core::id::{MachineId, Sha256, WorkerId};
use data_runner_core::port::ProvisionError;
use data_runner_core::time::Timestamp;
use data_runner_core::worker::{Machine, MachineEnd, MachineState};
use futures::FutureExt as _;

use crate::call::{AwsAccount, CallError};
use crate::gather::Gather;
use crate::tags;
use crate::terminate::terminate;

/// How many machines a page holds; the most that EC2 gives.
const PAGE: i32 = 1000;
/// How much of the end of a console is worth reading, in bytes.
const CONSOLE: usize = 4096;

/// The machines of one installation.
pub(crate) struct Fleet {
    account: AwsAccount,
    listing: Gather<(), Listed>,
    ends: Gather<MachineId, Result<(), Arc<CallError>>>,
    /// Machines that a launch or a listing showed to be ours. Only these are ended by their id alone.
    ours: Mutex<BTreeSet<MachineId>>,
    /// Machines that are no worker's: an image is being made of them.
    aside: Mutex<BTreeSet<MachineId>>,
}

type Listed = Result<Arc<[Machine]>, Arc<CallError>>;

impl Fleet {
    pub fn new(account: AwsAccount, installation: &str) -> Self {
        let (of, installation) = (account.clone(), installation.to_owned());
        let listing = Gather::new(move |asks: Vec<()>| {
            let (account, installation) = (of.clone(), installation.clone());
            async move {
                let listed: Listed = describe(&account, &installation).await.map(Arc::from).map_err(Arc::new);
                vec![listed; asks.len()]
            }
            .boxed()
        });
        let of = account.clone();
        let ends = Gather::new(move |ids: Vec<MachineId>| {
            let account = of.clone();
            async move { terminate(&account, ids).await }.boxed()
        });
        Self { account, listing, ends, ours: Mutex::default(), aside: Mutex::default() }
    }

    /// All of them. Callers of the same while share one call, and none gets an answer that began before he asked.
    pub async fn list(&self) -> Result<Arc<[Machine]>, ProvisionError> {
        let listed = self.listing.ask(()).await.map_err(|error| ProvisionError::Unavailable(error.into()))?;
        let machines = listed.map_err(|error| ProvisionError::Unavailable(error.into()))?;
        let mut ours = self.ours.lock().unwrap_or_else(PoisonError::into_inner);
        for machine in machines.iter() {
            if ended(machine) {
                ours.remove(&machine.id);
            } else {
                ours.insert(machine.id.clone());
            }
        }
        let aside = self.aside.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(machines.iter().filter(|machine| !aside.contains(&machine.id)).cloned().collect())
    }

    /// Leaves a machine out of listings, so that nobody takes it for a worker's and ends it.
    pub fn set_aside(&self, machine: MachineId) {
        self.aside.lock().unwrap_or_else(PoisonError::into_inner).insert(machine);
    }

    /// Shows it again.
    pub fn give_back(&self, machine: &MachineId) {
        self.aside.lock().unwrap_or_else(PoisonError::into_inner).remove(machine);
    }

    /// Remembers a machine that no listing may show yet.
    pub fn launched(&self, machine: MachineId) {
        self.ours.lock().unwrap_or_else(PoisonError::into_inner).insert(machine);
    }

    /// Ends a machine, or whatever a worker has. A machine that is not known to be ours is looked for by its tags first: an
    /// id alone, from a state that was copied from elsewhere, must not end a stranger's machine.
    pub async fn end(&self, worker: WorkerId, machine: Option<MachineId>) -> Result<(), ProvisionError> {
        let ids = match machine {
            Some(machine) if self.is_ours(&machine) => vec![machine],
            Some(machine) => self.alive(|shown| shown.id == machine).await?,
            None => self.alive(|shown| shown.worker == worker).await?,
        };
        for id in ids {
            let ended = self.ends.ask(id).await.map_err(|error| ProvisionError::Unavailable(error.into()))?;
            ended.map_err(|error| ProvisionError::Unavailable(error.into()))?;
        }
        Ok(())
    }

    fn is_ours(&self, machine: &MachineId) -> bool {
        self.ours.lock().unwrap_or_else(PoisonError::into_inner).contains(machine)
    }

    async fn alive(&self, wanted: impl Fn(&Machine) -> bool) -> Result<Vec<MachineId>, ProvisionError> {
        let shown = self.list().await?;
        let alive = shown.iter().filter(|shown| wanted(shown) && !ended(shown));
        Ok(alive.map(|shown| shown.id.clone()).collect())
    }

    /// The end of what a machine wrote to its console.
    pub async fn console(&self, machine: &MachineId) -> Result<String, CallError> {
        // The newest there is. Machines that are not built on Nitro, or that are off, have only what was kept at the
        // last change of their state.
        let newest = match self.console_output(machine, true).await {
            Err(error @ CallError::Refused { .. }) if !error.is("InvalidInstanceID") => {
                self.console_output(machine, false).await
            }
            other => other,
        };
        match newest {
            Ok(text) => Ok(text),
            Err(error) if error.is("InvalidInstanceID") => Ok(String::new()),
            Err(error) => Err(error),
        }
    }

    async fn console_output(&self, machine: &MachineId, latest: bool) -> Result<String, CallError> {
        self.account.throttle.describe.take().await;
        let asked =
            self.account.ec2.get_console_output().instance_id(machine.as_str()).latest(latest).send().await;
        let output = asked.map_err(|error| CallError::of("GetConsoleOutput", error))?;
        let encoded: String =
            output.output().unwrap_or_default().chars().filter(|c| !c.is_ascii_whitespace()).collect();
        // What cannot be decoded was written by nobody we know; people may still want to see it.
        let bytes = STANDARD.decode(&encoded).unwrap_or_else(|_| encoded.into_bytes());
        Ok(String::from_utf8_lossy(last(&bytes)).into_owned())
    }
}

/// The last bytes, beginning with a whole character.
fn last(bytes: &[u8]) -> &[u8] {
    let cut = &bytes[bytes.len().saturating_sub(CONSOLE)..];
    if cut.len() == bytes.len() {
        return cut;
    }
    let continues = cut.iter().take(3).take_while(|byte| (0x80..0xC0).contains(*byte)).count();
    &cut[continues..]
}

/// Every page of what bears the installation's tag: complete, or an error.
async fn describe(account: &AwsAccount, installation: &str) -> Result<Vec<Machine>, CallError> {
    let ours = Filter::builder().name(format!("tag:{}", tags::INSTALLATION)).values(installation).build();
    let (mut machines, mut next) = (Vec::new(), None);
    loop {
        account.throttle.describe.take().await;
        let page = account
            .ec2
            .describe_instances()
            .filters(ours.clone())
            .max_results(PAGE)
            .set_next_token(next)
            .send()
            .await
            .map_err(|error| CallError::of("DescribeInstances", error))?;
        let shown = page.reservations().iter().flat_map(|reservation| reservation.instances());
        // The filter is EC2's promise, and this is ours: no stranger's machine gets any further.
        let shown = shown.filter(|instance| tags::value(instance, tags::INSTALLATION) == Some(installation));
        machines.extend(shown.filter_map(machine));
        next = page.next_token().filter(|token| !token.is_empty()).map(ToOwned::to_owned);
        if next.is_none() {
            return Ok(machines);
        }
    }
}

fn ended(machine: &Machine) -> bool {
    matches!(machine.state, MachineState::Terminated { .. })
}

fn machine(instance: &Instance) -> Option<Machine> {
    let id: MachineId = instance.instance_id()?.parse().ok()?;
    let launched_at = instance.launch_time().map_or(Timestamp::default(), timestamp);
    let worker = tags::value(instance, tags::WORKER).and_then(|worker| worker.parse().ok());
    let worker = worker.unwrap_or_else(|| nobodys(&id));
    Some(Machine { worker, state: state(instance), launched_at, id })
}

/// A machine that bears our mark and names no worker was meant to be ours and is lost to us: it gets a worker's id that
/// nobody has, so that the reaper ends it.
fn nobodys(machine: &MachineId) -> WorkerId {
    let hash = Sha256::of(format!("machine {machine} of nobody").as_bytes());
    let digits: u128 = u128::from_str_radix(&hash.as_str()[..32], 16).unwrap_or_default();
    WorkerId::from_uuid(uuid::Builder::from_custom_bytes(digits.to_be_bytes()).into_uuid())
}

fn timestamp(at: &aws_sdk_ec2::primitives::DateTime) -> Timestamp {
    Timestamp::from_micros(
        at.secs().saturating_mul(1_000_000).saturating_add(i64::from(at.subsec_nanos() / 1000)),
    )
}

fn state(instance: &Instance) -> MachineState {
    let name = instance.state().and_then(|state| state.name()).map_or("", |name| name.as_str());
    match name {
        "pending" => MachineState::Pending,
        // A stopped machine is no proof: a person can start it again.
        "shutting-down" | "stopping" | "stopped" => MachineState::Stopping,
        "terminated" => terminated(instance),
        // "running", and what EC2 may invent: never a proof of anything.
        _ => MachineState::Running,
    }
}

fn terminated(instance: &Instance) -> MachineState {
    let (code, message) = match instance.state_reason() {
        Some(reason) => (reason.code().unwrap_or_default(), reason.message().unwrap_or_default()),
        None => ("", ""),
    };
    let end = match code {
        "Server.InsufficientInstanceCapacity" | "Server.InternalError" => MachineEnd::NoCapacity,
        "Server.SpotInstanceTermination" => MachineEnd::Interrupted,
        _ => MachineEnd::Ended,
    };
    let reason =
        if message.is_empty() { instance.state_transition_reason().unwrap_or_default() } else { message };
    let reason = if reason.is_empty() { "EC2 does not say why" } else { reason };
    MachineState::Terminated { reason: reason.to_owned(), end }
}
