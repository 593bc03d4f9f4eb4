//! A cloud for tests: a mock of AWS, and for each instance that it launches a machine that really boots.
//!
//! A machine is a process in namespaces of its own (mounts, processes, network, host name) over a small Debian. It has
//! an address on a bridge, its metadata at 169.254.169.254, runs its user-data as cloud-init does, and is terminated
//! when it powers off; it is killed when it is terminated. It reaches this machine at [`Cloud::address`], and nothing
//! beyond it. All of it needs root; where that is not permitted, [`Cloud::start`] says why, and the test is to print
//! that and to do nothing.
//!
//! ```text
//! let cloud = match Cloud::start().await {
//!     Ok(cloud) => cloud,
//!     Err(skipped) => return skipped.say(),
//! };
//! // A program with cloud.mock.environment() launches a machine …
//! let id = cloud.launched().await;
//! cloud.mock.reaches(&id, "terminated").await;
//! ```
//!
//! [`Mock`] alone is for tests of what talks to AWS: it needs no root.

mod endpoint;
mod hypervisor;
mod mock;
mod network;
mod programs;
mod python;
mod root;
mod wheels;

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde_json::json;

use crate::until;
use hypervisor::{Host, Hypervisor};
use network::Network;

pub use endpoint::{Answered, Endpoint, elements};
pub use mock::{Call, Fault, Instance, Mock, REGION};

/// How long a console may take to show something: less than other things, so that it is shown why.
const SHOWN: Duration = Duration::from_secs(120);

/// Why there is no cloud here.
#[derive(Debug)]
pub struct Skipped(String);

impl Skipped {
    /// Says that the test was skipped.
    pub fn say(&self) {
        data_runner_testkit::skipped(format!("there is no test cloud here: {}", self.0));
    }
}

/// A mock of AWS with machines. All of it is gone when it is dropped, and when the test's process is killed.
#[derive(Debug)]
pub struct Cloud {
    // Dropped in this order.
    hypervisor: Option<Hypervisor>,
    /// The mock: its instances, its faults, its calls.
    pub mock: Mock,
    network: Arc<Network>,
}

impl Cloud {
    /// An empty one.
    pub async fn start() -> Result<Self, Skipped> {
        let mut cloud = Self::without_machines().await?;
        let root = root::root()?;
        cloud.mock.settings(json!({ "hosts": true, "pending": 0, "shutting_down": 0 })).await;
        let (control, network) = (cloud.mock.control().clone(), Arc::clone(&cloud.network));
        cloud.hypervisor = Some(Hypervisor::start(control, network, root));
        Ok(cloud)
    }

    /// One whose instances have no machines: they run and end by time alone.
    pub async fn without_machines() -> Result<Self, Skipped> {
        let network = Arc::new(Network::claim()?);
        let wheels = wheels::wheels(&python::interpreter()?)?;
        let mock = Mock::listening(network.gateway(), Some(&wheels)).await?;
        Ok(Self { hypervisor: None, mock, network })
    }

    /// Where machines reach this one: what a supervisor has to listen at.
    pub fn address(&self) -> Ipv4Addr {
        self.network.gateway()
    }

    /// A package index that machines can reach; it has what the stock worker types need. It is plain HTTP, which their
    /// pip is configured to trust.
    pub fn package_index(&self) -> String {
        format!("{}/_index/simple", self.mock.endpoint())
    }

    /// What a machine asked of the package index so far; paths.
    pub async fn asked_of_index(&self, id: &str) -> Vec<String> {
        self.mock.indexed(self.network.address(self.host(id).unwrap().number)).await
    }

    /// The first instance, as soon as its machine is switched on; its id.
    pub async fn launched(&self) -> String {
        until("a machine", async || {
            let id = self.mock.instances().await.into_iter().next()?.id;
            self.host(&id)?.console().exists().then_some(id)
        })
        .await
    }

    /// What is on a machine's console so far.
    pub fn console(&self, id: &str) -> String {
        self.host(id).map(|host| read(&host.console())).unwrap_or_default()
    }

    /// Waits until a machine's console shows this.
    ///
    /// # Panics
    /// If it does not come, with what is there instead.
    pub async fn shows(&self, id: &str, text: &str) {
        let looking = until("a console", async || self.console(id).contains(text).then_some(()));
        let shown = tokio::time::timeout(SHOWN, looking).await;
        assert!(shown.is_ok(), "no {text:?} on the console of {id}:\n{}", self.console(id));
    }

    /// Where a file that the machine wrote to its disk can be found. Not below `/run`, `/tmp` and `/dev`, which are in
    /// memory.
    pub fn file(&self, id: &str, path: &str) -> PathBuf {
        self.host(id).unwrap().changes().join(path.trim_start_matches('/'))
    }

    /// The script that the machine was given, as its cloud-init found it.
    pub fn user_data(&self, instance: &Instance) -> String {
        read(&self.file(&instance.id, "/var/lib/user-data"))
    }

    /// Puts a machine's clock ahead, as its shell scripts see it; its programs do not.
    pub fn put_clock_ahead(&self, id: &str, seconds: u32) {
        std::fs::write(self.inside(id, "/clock-ahead"), seconds.to_string()).unwrap();
    }

    /// Where a file of a machine that runs can be read and written.
    pub fn inside(&self, id: &str, path: &str) -> PathBuf {
        let root = |pid: i32| PathBuf::from(format!("/proc/{pid}/root"));
        let inside = |root: &PathBuf| root.join("sbin/machine-init").exists();
        self.processes(id).into_iter().map(root).find(inside).unwrap().join(path.trim_start_matches('/'))
    }

    /// Kills those processes of a machine whose program and arguments are exactly these; how many there were.
    pub fn kill_inside(&self, id: &str, command: &str) -> usize {
        let is = |pid: &i32| {
            let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&arguments).replace('\0', " ").trim_end() == command
        };
        let found: Vec<i32> = self.processes(id).into_iter().filter(is).collect();
        found.iter().for_each(|pid| crate::signal(*pid, crate::Signal::KILL));
        found.len()
    }

    fn processes(&self, id: &str) -> Vec<i32> {
        let said = Command::new("ip").args(["netns", "pids", &self.namespace(id)]).output().unwrap();
        String::from_utf8(said.stdout).unwrap().lines().map(|pid| pid.parse().unwrap()).collect()
    }

    /// Cuts a machine's wire.
    pub fn cut(&self, id: &str) {
        self.set_wire(id, "down");
    }

    /// Mends a machine's wire.
    pub fn mend(&self, id: &str) {
        self.set_wire(id, "up");
    }

    /// The network namespace of a machine.
    pub fn namespace(&self, id: &str) -> String {
        self.network.namespace(self.host(id).unwrap().number)
    }

    fn set_wire(&self, id: &str, state: &str) {
        let wire = self.network.wire(self.host(id).unwrap().number);
        run(Command::new("ip").args(["link", "set", &wire, state])).unwrap();
    }

    fn host(&self, id: &str) -> Option<Host> {
        let hosts = &self.hypervisor.as_ref()?.hosts;
        hosts.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

/// Runs a command to its end.
fn run(command: &mut Command) -> Result<(), Skipped> {
    let output = command.output().map_err(|error| Skipped(format!("{command:?} does not run: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Skipped(format!("{command:?} failed: {}", said.trim())))
}

/// Keeps others out as long as the file is held.
fn lock(path: &Path) -> File {
    let file = File::create(path).unwrap();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
    file
}
