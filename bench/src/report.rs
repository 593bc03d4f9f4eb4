//! What was measured, against what was wished for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use crate::system::{self, System};
use crate::{boot, engines, latency, launches, logs, machines, scale, throughput};

/// What to measure.
#[derive(clap::Args)]
pub struct MeasureArgs {
    /// How many executions the large store has
    #[arg(long, default_value_t = 1_000_000)]
    executions: u64,
    /// Only the parts that are named: latency, throughput, logs, memory, engines, scale, machines, boot, launches
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// The times of many tries.
pub struct Percentiles {
    pub p50: Duration,
    pub p95: Duration,
}

impl Percentiles {
    pub fn of(mut samples: Vec<Duration>) -> Self {
        samples.sort();
        let at = |percent: usize| samples.get(samples.len().saturating_sub(1) * percent / 100).copied();
        Self { p50: at(50).unwrap_or_default(), p95: at(95).unwrap_or_default() }
    }
}

/// One figure.
pub struct Figure {
    what: String,
    value: f64,
    unit: &'static str,
    wish: Wish,
}

enum Wish {
    None,
    AtMost(f64),
    AtLeast(f64),
}

impl Figure {
    pub fn millis(what: &str, value: Duration, at_most: Option<f64>) -> Self {
        Self::new(what, value.as_secs_f64() * 1e3, "ms", at_most.map_or(Wish::None, Wish::AtMost))
    }

    pub fn mebibytes(what: &str, bytes: u64, at_most: f64) -> Self {
        Self::new(what, bytes as f64 / f64::from(1 << 20), "MiB", Wish::AtMost(at_most))
    }

    pub fn ratio(what: &str, value: f64, at_most: Option<f64>) -> Self {
        Self::new(what, value, "×", at_most.map_or(Wish::None, Wish::AtMost))
    }

    pub fn count(what: &str, value: f64, at_most: f64) -> Self {
        Self::new(what, value, "", Wish::AtMost(at_most))
    }

    pub fn rate(what: &str, count: usize, took: Duration, at_least: Option<f64>) -> Self {
        let value = count as f64 / took.as_secs_f64();
        Self::new(what, value, "/s", at_least.map_or(Wish::None, Wish::AtLeast))
    }

    fn new(what: &str, value: f64, unit: &'static str, wish: Wish) -> Self {
        Self { what: what.to_owned(), value, unit, wish }
    }
}

/// Everything that was measured, printed as it comes.
#[derive(Default)]
pub struct Report {
    missed: usize,
}

impl Report {
    pub fn add(&mut self, figure: Figure) {
        let Figure { what, value, unit, wish } = figure;
        let (wish, verdict) = match wish {
            Wish::None => (String::new(), ""),
            Wish::AtMost(most) => {
                (format!("≤ {most} {unit}"), if value <= most { "reached" } else { "MISSED" })
            }
            Wish::AtLeast(least) => {
                (format!("≥ {least} {unit}"), if value >= least { "reached" } else { "MISSED" })
            }
        };
        self.missed += usize::from(verdict == "MISSED");
        println!("{what:<62} {value:>10.2} {unit:<4} {wish:>12}  {verdict}");
    }
}

/// Measures everything that is asked for. A wish that is missed is said, and is no error: the machine may be busy.
pub async fn measure(args: MeasureArgs) -> anyhow::Result<()> {
    let wanted = |part: &str| args.only.is_empty() || args.only.iter().any(|only| only == part);
    println!("{}\n", machine());
    let mut report = Report::default();
    let folder = tempfile::tempdir()?;
    if wanted("latency") || wanted("memory") || wanted("logs") || wanted("engines") {
        let path = folder.path().join("one");
        let mut system = prepared(&path).await?;
        system.add_agent(1).await?;
        if wanted("memory") {
            let (supervisor, agent) = system.memory()?;
            report.add(Figure::mebibytes("supervisor, idle, PSS", supervisor, 30.0));
            report.add(Figure::mebibytes("agent with one slot, idle, PSS", agent, 15.0));
        }
        if wanted("latency") {
            latency::measure(&system, &mut report).await?;
        }
        if wanted("logs") {
            logs::measure(&system, &mut report).await?;
        }
        if wanted("engines") {
            engines::measure(&system, &mut report).await?;
        }
    }
    if wanted("throughput") {
        let mut system = prepared(&folder.path().join("eight")).await?;
        system.add_agent(8).await?;
        throughput::measure(&system, &mut report).await?;
    }
    if wanted("machines") {
        let path = folder.path().join("machines");
        let repo = repository(&path)?;
        machines::measure(&path.join("state"), &repo, &mut report).await?;
    }
    if wanted("boot") {
        boot::measure(&mut report).await?;
    }
    if wanted("launches") {
        launches::measure(&mut report).await?;
    }
    if wanted("scale") {
        let path = folder.path().join("large");
        std::fs::create_dir_all(&path)?;
        scale::measure(&path, args.executions, &mut report).await?;
    }
    println!("\n{} wishes missed", report.missed);
    Ok(())
}

/// A supervisor that knows the workflows of the bench, from a git repository.
async fn prepared(folder: &Path) -> anyhow::Result<System> {
    let repo = repository(folder)?;
    let system = System::start(folder).await?;
    system
        .rest
        .register(&format!("file://{}", repo.display()))
        .await
        .context("the repository is not registered")?;
    Ok(system)
}

/// A git repository with the workflows of the bench.
fn repository(folder: &Path) -> anyhow::Result<PathBuf> {
    let repo = folder.join("repo");
    system::workflows(&repo, &[("flood", logs::FLOOD), ("drip", logs::DRIP)])?;
    engines::write(&repo)?;
    for args in [
        vec!["init", "--quiet", "--initial-branch=main"],
        vec!["add", "."],
        vec!["-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "--quiet", "-m", "bench"],
    ] {
        let status = std::process::Command::new("git").arg("-C").arg(&repo).args(args).status()?;
        anyhow::ensure!(status.success(), "git ended with {status}");
    }
    Ok(repo)
}

fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cpus} × {}, Linux {}", model.trim_start_matches(['\t', ' ', ':']), kernel.trim())
}
