//! A bridge with a subnet of its own for each test cloud, and a record of it, so that what a killed test left behind
//! can be found and removed.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Skipped, lock, programs, run};

const CLOUDS: &str = "/tmp/data-runner-clouds";

/// The script that makes networks and machines.
pub(super) fn host_script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cloud/host.sh")
}

/// A bridge and its addresses. It is removed, with all that is connected to it, when it is dropped.
#[derive(Debug)]
pub(super) struct Network(Place);

/// One of the 250 subnets, and its folder.
#[derive(Debug)]
struct Place {
    number: u8,
    folder: PathBuf,
}

impl Network {
    /// The first one that is free. What ended tests left behind is removed first.
    pub(super) fn claim() -> Result<Self, Skipped> {
        permitted()?;
        std::fs::create_dir_all(CLOUDS).unwrap();
        let _lock = lock(&Path::new(CLOUDS).join("lock"));
        let places =
            (1..=250).map(|number| Place { number, folder: Path::new(CLOUDS).join(number.to_string()) });
        let mut free: Vec<Place> = places.filter(|place| !place.is_taken()).collect();
        free.iter().filter(|place| place.folder.exists()).for_each(Place::clear);
        if free.is_empty() {
            return Err(Skipped("250 test clouds are there already".into()));
        }
        let place = free.swap_remove(0);
        std::fs::create_dir(&place.folder).unwrap();
        std::fs::write(place.folder.join("owner"), mark(std::process::id().cast_signed()).unwrap()).unwrap();
        let network = Self(place);
        overlays_are_possible(&network.0.folder)?;
        network.make()?;
        Ok(network)
    }

    fn make(&self) -> Result<(), Skipped> {
        let (bridge, address) = (self.bridge(), format!("{}/24", self.gateway()));
        // A bridge without an address of its own takes the lowest of its wires': with a machine that goes, the others
        // would lose their gateway until they ask for it again.
        let own = format!("0a:e7:00:00:{:02x}:01", self.0.number);
        run(Command::new("ip").args(["link", "add", &bridge, "address", &own, "type", "bridge"]))?;
        run(Command::new("ip").args(["address", "add", &address, "dev", &bridge]))?;
        run(Command::new("ip").args(["link", "set", &bridge, "up"]))
    }

    /// Where machines reach this one.
    pub(super) fn gateway(&self) -> Ipv4Addr {
        self.address(1)
    }

    pub(super) fn address(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 231, self.0.number, host)
    }

    pub(super) fn bridge(&self) -> String {
        bridge(self.0.number)
    }

    pub(super) fn namespace(&self, host: u8) -> String {
        format!("{}-{host}", self.bridge())
    }

    /// This machine's end of the wire to a host.
    pub(super) fn wire(&self, host: u8) -> String {
        format!("drc{}v{host}", self.0.number)
    }

    /// The folder of a host.
    pub(super) fn folder(&self, host: u8) -> PathBuf {
        self.0.folder.join(host.to_string())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.0.clear();
    }
}

impl Place {
    /// Whether the process that claimed it lives.
    fn is_taken(&self) -> bool {
        let owner = std::fs::read_to_string(self.folder.join("owner")).unwrap_or_default();
        let pid = owner.split(' ').next().and_then(|pid| pid.parse().ok());
        pid.and_then(mark).is_some_and(|living| living == owner)
    }

    fn clear(&self) {
        let said = Command::new("ip").args(["netns", "list"]).output().unwrap();
        let bridge = bridge(self.number);
        for line in String::from_utf8_lossy(&said.stdout).lines() {
            let name = line.split(' ').next().unwrap_or_default();
            if name.strip_prefix(&bridge).is_some_and(|rest| rest.starts_with('-')) {
                let _ = Command::new(host_script()).args(["remove", name]).status();
            }
        }
        let _ = Command::new("ip").args(["link", "delete", &bridge]).output();
        // Nothing is mounted there: machines mount in namespaces of their own.
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("{} stays: {error}", self.folder.display());
        }
    }
}

fn bridge(number: u8) -> String {
    format!("drcloud{number}")
}

/// Whether this process may make namespaces, and what it takes for that.
fn permitted() -> Result<(), Skipped> {
    if !rustix::process::getuid().is_root() {
        return Err(Skipped("network namespaces need root".into()));
    }
    programs::of_machines()?;
    let mut probe = Command::new("unshare");
    run(probe.args(["--mount", "--uts", "--ipc", "--pid", "--net", "--fork", "ip", "link"]))
}

/// Whether machines can keep what they change in this folder. They cannot where it is an overlay itself.
fn overlays_are_possible(folder: &Path) -> Result<(), Skipped> {
    let layers = ["lower", "upper", "work", "seen"].map(|name| folder.join(name));
    layers.iter().for_each(|layer| std::fs::create_dir(layer).unwrap());
    let [lower, upper, work, seen] = layers.each_ref().map(|layer| layer.display());
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    let mut probe = Command::new("unshare");
    probe.args(["--mount", "--propagation", "private", "mount", "-t", "overlay", "overlay", "-o", &options]);
    run(probe.arg(seen.to_string()))
}

/// A process, told apart from a later one of the same number.
fn mark(pid: i32) -> Option<String> {
    let started = procfs::process::Process::new(pid).and_then(|process| process.stat()).ok()?.starttime;
    Some(format!("{pid} {started}"))
}
