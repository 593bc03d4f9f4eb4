//! What a job uses beside memory and processors: disks, and the network where it has the machine to itself.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use data_runner_core::execution::{NetworkBytes, StorageBytes};
use serde::{Deserialize, Serialize};

use super::record::Watched;

/// How often folders are looked at, unless that takes too long.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a look may take. What it has not seen by then is not counted.
const LOOK_FOR: Duration = Duration::from_millis(20);
/// Looking takes this part of the time at most: one of so many.
const SHARE: u32 = 50;

/// What was measured by the end of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub storage: Option<StorageBytes>,
    pub peak_folder_bytes: Option<u64>,
    pub peak_spill_bytes: Option<u64>,
    pub network: Option<NetworkBytes>,
}

/// Measures one job.
pub(super) struct Meter {
    folders: Vec<PathBuf>,
    spill: Option<PathBuf>,
    carried_before: Option<NetworkBytes>,
    next_look: Instant,
    peak_folder: Option<u64>,
    peak_spill: Option<u64>,
}

impl Meter {
    /// Begins; the job is about to start.
    pub(super) fn new(watched: &Watched) -> Self {
        Self {
            folders: watched.folders.clone(),
            spill: watched.spill.clone(),
            carried_before: if watched.network { carried() } else { None },
            next_look: Instant::now() + LOOK_EVERY,
            peak_folder: None,
            peak_spill: None,
        }
    }

    /// Looks at the folders if it is time.
    pub(super) fn sample(&mut self, now: Instant) {
        if now >= self.next_look {
            self.look();
            self.next_look = Instant::now() + LOOK_EVERY.max(now.elapsed() * SHARE);
        }
    }

    /// The engine itself says that it spilled so much.
    pub(super) fn spilled(&mut self, bytes: u64) {
        self.peak_spill = self.peak_spill.max(Some(bytes));
    }

    /// Everything, once the whole tree is gone.
    pub(super) fn finish(&mut self) -> Measured {
        self.look();
        let network = self.carried_before.zip(carried()).map(|(before, now)| NetworkBytes {
            received: now.received.saturating_sub(before.received),
            sent: now.sent.saturating_sub(before.sent),
        });
        Measured {
            storage: storage_of_children(),
            peak_folder_bytes: self.peak_folder,
            peak_spill_bytes: self.peak_spill,
            network,
        }
    }

    fn look(&mut self) {
        let until = Instant::now() + LOOK_FOR;
        let spilled = self.spill.as_deref().map_or(0, |spill| allocated(spill, until));
        // An engine may spill elsewhere, or use another variable for it: that nothing was seen says nothing.
        if spilled > 0 {
            self.spilled(spilled);
        }
        let held = self.folders.iter().map(|folder| allocated(folder, until)).sum();
        self.peak_folder = self.peak_folder.max(Some(held));
    }
}

/// What the files below a folder take of the disk, as far as they can be looked at until then.
fn allocated(folder: &Path, until: Instant) -> u64 {
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if Instant::now() > until {
                return bytes;
            }
            // What is removed meanwhile takes nothing.
            let Ok(file) = entry.metadata() else { continue };
            bytes += file.blocks() * 512;
            if file.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    bytes
}

/// What the children of this process moved that it has waited for, and theirs: the kernel adds them up in their parent.
fn storage_of_children() -> Option<StorageBytes> {
    let all = moved(Path::new("/proc/self/io"))?;
    // This process has one thread, whose own part stands there.
    let own = moved(&Path::new("/proc/self/task").join(std::process::id().to_string()).join("io"))?;
    Some(StorageBytes {
        read: all.read.saturating_sub(own.read),
        written: all.written.saturating_sub(own.written),
    })
}

fn moved(file: &Path) -> Option<StorageBytes> {
    let text = fs::read_to_string(file).ok()?;
    let number = |key| text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
    Some(StorageBytes { read: number("read_bytes:")?, written: number("write_bytes:")? })
}

/// What all interfaces of the machine carried since it started, but the one to itself.
fn carried() -> Option<NetworkBytes> {
    read_carried(&fs::read_to_string("/proc/net/dev").ok()?)
}

fn read_carried(text: &str) -> Option<NetworkBytes> {
    let mut sum = NetworkBytes::default();
    // Two lines of headings.
    for line in text.lines().skip(2) {
        let (name, numbers) = line.split_once(':')?;
        let mut numbers = numbers.split_whitespace().map(str::parse::<u64>);
        let (received, sent) = (numbers.next()?.ok()?, numbers.nth(7)?.ok()?);
        if name.trim() != "lo" {
            sum.received += received;
            sum.sent += sent;
        }
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_a_machine_says_to_itself_is_no_traffic() {
        let text = "Inter-|   Receive                  |  Transmit\n \
                    face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed\n    \
                    lo: 7899 23 0 0 0 0 0 0 7899 23 0 0 0 0 0 0\n  \
                    eth0: 100 2 0 0 0 0 0 0 30 1 0 0 0 0 0 0\n  \
                    eth1:5 1 0 0 0 0 0 0 6 1 0 0 0 0 0 0\n";
        assert_eq!(read_carried(text), Some(NetworkBytes { received: 105, sent: 36 }));
        assert_eq!(read_carried("a\nb\neth0 without numbers\n"), None);
    }

    #[test]
    fn files_count_by_what_they_take_of_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("deep")).unwrap();
        fs::write(folder.path().join("deep/file"), vec![7; 100_000]).unwrap();
        let hole = fs::File::create(folder.path().join("hole")).unwrap();
        hole.set_len(1 << 30).unwrap();
        let later = Instant::now() + Duration::from_secs(60);
        let bytes = allocated(folder.path(), later);
        assert!((100_000..1 << 20).contains(&bytes), "{bytes}");
        assert_eq!(allocated(&folder.path().join("none"), later), 0);
    }
}
