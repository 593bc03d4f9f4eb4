//! What a machine takes to boot, to run a job and to go, on machines of the test cloud: processes in namespaces of their
//! own over a small Debian, without a kernel or a disk of their own. What EC2 takes to give a machine is not in it.

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use data_runner_tests::cloud::Cloud;
use data_runner_tests::{Installation, Repository, Sandbox, polars, query, until, workflow};
use jiff::Timestamp;
use serde_json::json;

use crate::report::{Figure, Percentiles, Report};

const RUNS: usize = 5;
/// A bare machine downloads and installs everything.
const BARE_RUNS: usize = 3;

/// Says when its first line runs, writes a megabyte, and says when it ends.
const FRAME: &str = r#"import time
print(time.time_ns() // 1000, flush=True)
import polars
for number in range(10_000):
    print(f"{number:099}")
print(time.time_ns() // 1000)
"#;
const SQL: &str = "SELECT epoch_us(get_current_timestamp()) AS at;\n";
/// It mentions S3, so that it gets the extension and the secret.
const SQL_OF_S3: &str = "SELECT epoch_us(get_current_timestamp()) AS at; -- s3://lake\n";

/// One job on a machine of its own, by the clock that both share.
struct Life {
    /// Just before the first line of its user-data.
    begun: Timestamp,
    joined: Timestamp,
    first_line: Timestamp,
    last_line: Timestamp,
    power_off: Timestamp,
}

impl Life {
    fn of(lives: &[Self], from: impl Fn(&Self) -> Timestamp, to: impl Fn(&Self) -> Timestamp) -> Duration {
        let between = |life: &Self| to(life).duration_since(from(life)).unsigned_abs();
        Percentiles::of(lives.iter().map(between).collect()).p50
    }
}

/// Machines that install everything, then machines of baked images.
pub async fn measure(report: &mut Report) -> anyhow::Result<()> {
    let sandbox = Sandbox::new();
    let cloud = match Cloud::start().await {
        Ok(cloud) => cloud,
        Err(skipped) => {
            skipped.say();
            return Ok(());
        }
    };
    let installation = Installation::start(&sandbox, &cloud, "").await;
    let jobs = [workflow("frame", &polars(""), FRAME), query("sql", SQL), query("sql-of-s3", SQL_OF_S3)];
    let repository = Repository::with(sandbox.join("etl"), jobs);
    installation.rest.register(&repository.url()).await;

    let bare = lives(&installation, &cloud, "frame", BARE_RUNS).await?;
    let booted = Life::of(&bare, |it| it.begun, |it| it.joined);
    report.add(Figure::millis("bare image: user-data to joined, p50", booted, Some(20_000.0)));
    let ran = Life::of(&bare, |it| it.begun, |it| it.first_line);
    report.add(Figure::millis("bare image: user-data to first line of Polars, p50", ran, None));

    bake(&installation).await?;
    let frames = lives(&installation, &cloud, "frame", RUNS).await?;
    let booted = Life::of(&frames, |it| it.begun, |it| it.joined);
    report.add(Figure::millis("baked image: user-data to joined, p50", booted, Some(2_000.0)));
    for (workflow, name, wish) in [("sql", "DuckDB", 300.0), ("sql-of-s3", "DuckDB with S3's secret", 600.0)]
    {
        let lives = lives(&installation, &cloud, workflow, RUNS).await?;
        let started = Life::of(&lives, |it| it.joined, |it| it.first_line);
        report.add(Figure::millis(&format!("joined to first line of {name}, p50"), started, Some(wish)));
    }
    let started = Life::of(&frames, |it| it.joined, |it| it.first_line);
    report.add(Figure::millis("joined to first line of Polars, p50", started, Some(300.0)));
    let gone = Life::of(&frames, |it| it.last_line, |it| it.power_off);
    report.add(Figure::millis("end of a job to power-off, 1 MB of log, p50", gone, Some(1_000.0)));
    Ok(())
}

async fn bake(installation: &Installation<'_>) -> anyhow::Result<()> {
    for worker_type in ["polars", "duckdb"] {
        let asked = installation.rest.post("/images", json!({"worker_type": worker_type})).await.ok();
        let path = format!("/images/{}", asked["id"].as_str().context("no id")?);
        let ended = until("an image", async || {
            let image = installation.rest.get(&path).await.ok();
            image["ended_at"].is_string().then_some(image)
        })
        .await;
        ensure!(ended["stage"] == "done", "{ended:#}");
    }
    Ok(())
}

async fn lives(
    installation: &Installation<'_>,
    cloud: &Cloud,
    workflow: &str,
    runs: usize,
) -> anyhow::Result<Vec<Life>> {
    let mut lives = Vec::new();
    for _ in 0..runs {
        lives.push(life(installation, cloud, workflow).await?);
    }
    Ok(lives)
}

async fn life(installation: &Installation<'_>, cloud: &Cloud, workflow: &str) -> anyhow::Result<Life> {
    let rest = &installation.rest;
    let before = cloud.mock.instances().await.len();
    let id = rest.execute(workflow, json!({})).await;
    rest.succeeded(&id).await;
    let instances = cloud.mock.instances().await;
    let [instance] = &instances[before..] else { anyhow::bail!("{} machines", instances.len() - before) };
    cloud.mock.reaches(&instance.id, "terminated").await;

    let log = String::from_utf8(rest.log(&id, "stream=stdout").await)?;
    if workflow == "frame" {
        ensure!(log.lines().count() == 10_002, "the log is not whole: {} lines", log.lines().count());
    }
    let said = |line: &str| {
        let number: String = line.chars().filter(char::is_ascii_digit).collect();
        number.parse().ok().and_then(|micros| Timestamp::from_microsecond(micros).ok())
    };
    // The lines in between are numbers of a hundred digits, or a box and its titles.
    let mut times = log.lines().filter(|line| line.len() < 90).filter_map(said);
    let first_line = times.next().context("the job does not say when it runs")?;
    let console = cloud.console(&instance.id);
    let logged = |what: &str| -> Option<Timestamp> {
        let line = console.lines().find(|line| line.contains(what))?;
        line.split(' ').next()?.parse().ok()
    };
    // The machine by itself, or its supervisor: whoever is first. The other may come too late to be seen.
    let calls = cloud.mock.calls().await;
    let terminated = calls.iter().find(|call| {
        call.action == "TerminateInstances" && call.parameters.values().any(|value| *value == instance.id)
    });
    let since_1970 = terminated.map(|call| Duration::from_secs_f64(call.at));
    let terminated = since_1970.and_then(|since| Timestamp::UNIX_EPOCH.checked_add(since).ok());
    let power_off = logged("this machine powers off").into_iter().chain(terminated).min();
    // Its permissions are changed last, and then it runs.
    let user_data = std::fs::metadata(cloud.file(&instance.id, "/var/lib/user-data"))?;
    Ok(Life {
        begun: Timestamp::new(user_data.ctime(), i32::try_from(user_data.ctime_nsec())?)?,
        joined: logged(" joined ").with_context(|| format!("nobody joined:\n{console}"))?,
        first_line,
        last_line: times.next_back().unwrap_or(first_line),
        power_off: power_off.context("nobody ended the machine")?,
    })
}
