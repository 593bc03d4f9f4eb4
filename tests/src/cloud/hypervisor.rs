//! Boots a machine for each instance of the mock, and tells the mock what became of it.
//!
//! A thread of its own does all of it: the kernel kills the machines when the thread that started them ends, and with
//! it the test's process.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::mock::{Control, Instance};
use super::network::{Network, host_script};

/// How long to wait for news of instances. It only bounds how long an ended test waits for this thread.
const NEWS: Duration = Duration::from_millis(500);

/// A machine that was booted once.
#[derive(Debug, Clone)]
pub(super) struct Host {
    pub(super) number: u8,
    pub(super) folder: PathBuf,
    /// What it sees until it changes something, the uppermost folder first.
    layers: Vec<PathBuf>,
    /// Kills it.
    kill: CancellationToken,
}

impl Host {
    /// What it changed.
    pub(super) fn changes(&self) -> PathBuf {
        self.folder.join("upper")
    }

    pub(super) fn console(&self) -> PathBuf {
        self.folder.join("console")
    }
}

/// All machines by the ids of their instances.
pub(super) type Hosts = Arc<Mutex<BTreeMap<String, Host>>>;

#[derive(Debug)]
pub(super) struct Hypervisor {
    thread: Option<std::thread::JoinHandle<()>>,
    /// Dropped to end it.
    stop: Option<oneshot::Sender<()>>,
    pub(super) hosts: Hosts,
}

impl Hypervisor {
    pub(super) fn start(control: Control, network: Arc<Network>, root: PathBuf) -> Self {
        let hosts = Hosts::default();
        let (stop, stopped) = oneshot::channel();
        let work = Work { control: control.of_its_own(), network, root, hosts: Arc::clone(&hosts) };
        let thread = std::thread::Builder::new().name("hypervisor".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tokio::task::LocalSet::new().block_on(&runtime, work.until(stopped));
        });
        Self { thread: Some(thread.unwrap()), stop: Some(stop), hosts }
    }
}

impl Drop for Hypervisor {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            eprintln!("the hypervisor of the test cloud failed");
        }
    }
}

#[derive(Clone)]
struct Work {
    control: Control,
    network: Arc<Network>,
    root: PathBuf,
    hosts: Hosts,
}

impl Work {
    async fn until(self, mut stopped: oneshot::Receiver<()>) {
        let mut seen = None;
        let mut machines = tokio::task::JoinSet::new();
        loop {
            let (version, instances) = tokio::select! {
                news = self.control.instances(seen, NEWS) => news,
                _ = &mut stopped => break,
            };
            seen = Some(version);
            for instance in instances {
                match instance.state.as_str() {
                    "pending" | "running" => {
                        if let Some(host) = self.new_host(&instance) {
                            machines.spawn_local(self.clone().live(instance, host));
                        }
                    }
                    _ => self.kill(&instance.id),
                }
            }
        }
        self.hosts().values().for_each(Host::kill);
        while machines.join_next().await.is_some() {}
    }

    fn hosts(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Host>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A host for an instance that has none yet.
    fn new_host(&self, instance: &Instance) -> Option<Host> {
        let mut hosts = self.hosts();
        if hosts.contains_key(&instance.id) {
            return None;
        }
        let number = u8::try_from(hosts.len() + 2).unwrap();
        let folder = self.network.folder(number);
        // An image is what its machine had changed, over what that one was made of.
        let origin = instance.image_of.as_ref().and_then(|origin| hosts.get(origin));
        let layers = match origin {
            Some(origin) => std::iter::once(origin.changes()).chain(origin.layers.iter().cloned()).collect(),
            None => vec![self.root.clone()],
        };
        let host = Host { number, folder, layers, kill: CancellationToken::new() };
        hosts.insert(instance.id.clone(), host.clone());
        Some(host)
    }

    fn kill(&self, instance: &str) {
        if let Some(host) = self.hosts().get(instance) {
            host.kill();
        }
    }

    /// A machine from its first moment to its last.
    async fn live(self, instance: Instance, host: Host) {
        let namespace = self.network.namespace(host.number);
        let machine = format!("machines/{}", instance.id);
        std::fs::create_dir_all(&host.folder).unwrap();
        self.connect(&namespace, host.number).await;
        let place = json!({
            "namespace": namespace,
            "address": self.network.address(host.number).to_string(),
            "console": host.console(),
        });
        let console = open_console(&host.console());
        self.control.post(&format!("{machine}/host"), &place).await;
        let mut process = self.boot(&namespace, &host, console);
        self.control.post(&format!("{machine}/booted"), &json!({})).await;
        let powered_off = tokio::select! {
            ended = process.wait() => { ended.unwrap(); true }
            () = host.kill.cancelled() => { process.kill().await.unwrap(); false }
        };
        let remove = Command::new(host_script()).args(["remove", &namespace]).status();
        assert!(remove.await.unwrap().success());
        self.control.post(&format!("{machine}/gone"), &json!({ "powered_off": powered_off })).await;
    }

    async fn connect(&self, namespace: &str, number: u8) {
        let mut connect = Command::new(host_script());
        connect.args(["network", namespace, &self.network.wire(number), &self.network.bridge()]);
        connect.args([self.network.address(number).to_string(), self.network.gateway().to_string()]);
        assert!(connect.status().await.unwrap().success(), "{namespace} has no network");
    }

    /// The machine's first process, which dies with this thread.
    fn boot(&self, namespace: &str, host: &Host, console: File) -> Child {
        let name = format!("ip-{}", self.network.address(host.number)).replace('.', "-");
        let layers: Vec<_> = host.layers.iter().map(|layer| layer.to_str().unwrap()).collect();
        let mut run = Command::new("setpriv");
        run.args(["--pdeathsig", "KILL"]).arg(host_script()).args(["run", namespace]).arg(layers.join(":"));
        run.arg(&host.folder).arg(name).arg(self.network.gateway().to_string()).stdin(Stdio::null());
        run.stdout(console.try_clone().unwrap()).stderr(console).spawn().unwrap()
    }
}

impl Host {
    fn kill(&self) {
        self.kill.cancel();
    }
}

fn open_console(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}
