//! A machine and its supervisor do without each other for a while, or for ever.

use std::time::{Duration, SystemTime};

use data_runner_tests::cloud::Cloud;
use data_runner_tests::{Installation, Sandbox, until};
use serde_json::json;

use crate::{cloud_or_skip, register};

#[tokio::test]
async fn a_job_runs_on_while_its_machine_is_cut_off_for_60_s_and_its_log_is_whole() {
    let (sandbox, cloud) = (Sandbox::new(), cloud_or_skip!());
    // The intervals of agents as they are by default: suspected after 30 s, given up after 120 s.
    let settings = Installation::settings(&cloud, "");
    let agents = "agents:\n  heartbeat: 1s\n  suspect_after: 5s\n  lost_after: 10s\n";
    assert!(settings.contains(agents));
    let installation = Installation::with(&sandbox, &cloud, &settings.replace(agents, "")).await;
    let script = r#"
import time
print("started", flush=True)
for number in range(650):
    print(number, flush=True)
    time.sleep(0.1)
"#;
    register(&sandbox, &installation.rest, "ticker", "", script).await;
    let id = installation.rest.execute("ticker", json!({})).await;
    installation.rest.logs(&id, "started").await;
    let instance = cloud.launched().await;

    cloud.cut(&instance);
    tokio::time::sleep(Duration::from_secs(60)).await;
    cloud.mend(&instance);
    let execution = installation.rest.succeeded(&id).await;
    assert_eq!(execution["attempts"].as_array().unwrap().len(), 1, "{execution:#}");
    let numbers: String = (0..650).map(|number| format!("{number}\n")).collect();
    let log = installation.rest.log(&id, "stream=stdout").await;
    assert_eq!(String::from_utf8(log).unwrap(), format!("started\n{numbers}"));
    cloud.mock.reaches(&instance, "terminated").await;
    assert_eq!(cloud.mock.instances().await.len(), 1);
}

/// Kills the supervisor while a job runs, and starts it again once the job's machine is gone; the execution.
async fn is_away(installation: &mut Installation<'_>, cloud: &Cloud, for_hours: bool) -> String {
    let id = installation.rest.execute("job", json!({})).await;
    installation.rest.logs(&id, "started").await;
    let instance = cloud.launched().await;
    installation.kill();
    cloud.mock.end(&instance, "Client.InstanceInitiatedShutdown").await;
    cloud.mock.reaches(&instance, "terminated").await;
    if for_hours {
        cloud.mock.forget(&instance).await;
    }
    installation.again().await;
    id
}

/// Its first attempt does not end by itself.
const ENDS_ELSEWHERE: &str = r#"
import os, time
print("started", flush=True)
if os.environ["DATA_RUNNER_ATTEMPT"] == "1":
    time.sleep(600)
"#;

async fn is_done_elsewhere(installation: &Installation<'_>, cloud: &Cloud, id: &str) {
    let execution = installation.rest.succeeded(id).await;
    let attempts = execution["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 2, "{execution:#}");
    assert_eq!(attempts[0]["failure"]["cause"], "worker_lost");
    assert_eq!(cloud.mock.instances().await.len(), 2);
}

#[tokio::test]
async fn a_job_whose_machine_went_while_the_supervisor_was_away_is_done_elsewhere() {
    let (sandbox, cloud) = (Sandbox::new(), cloud_or_skip!());
    let mut installation = Installation::start(&sandbox, &cloud, "").await;
    register(&sandbox, &installation.rest, "job", "", ENDS_ELSEWHERE).await;
    let id = is_away(&mut installation, &cloud, false).await;
    is_done_elsewhere(&installation, &cloud, &id).await;
}

#[tokio::test]
#[ignore = "takes 16 min: a machine that is shown no more is gone when it was absent for 15; core has it in virtual time"]
async fn a_job_whose_machine_is_forgotten_when_the_supervisor_comes_back_is_done_elsewhere() {
    let (sandbox, cloud) = (Sandbox::new(), cloud_or_skip!());
    let mut installation = Installation::start(&sandbox, &cloud, "").await;
    register(&sandbox, &installation.rest, "job", "", ENDS_ELSEWHERE).await;
    let id = is_away(&mut installation, &cloud, true).await;
    // Absence for less proves nothing.
    tokio::time::sleep(Duration::from_secs(14 * 60)).await;
    let execution = installation.rest.execution(&id).await;
    assert_eq!(execution["attempts"][0]["failure"], json!(null), "{execution:#}");
    is_done_elsewhere(&installation, &cloud, &id).await;
}

/// Says on its machine's disk when it is told to stop.
const PATIENT: &str = r#"
import os, signal, sys, time
def stop(*_):
    with open("/told-to-stop", "w") as file:
        file.write(str(time.time()))
    sys.exit(1)
if os.environ["DATA_RUNNER_PARAM_WAITS"] == "true":
    signal.signal(signal.SIGTERM, stop)
    print("started", flush=True)
    time.sleep(600)
"#;

/// Has the agent of a machine die, and be started again with a deadline so many seconds from now; nothing else on the
/// machine knows of a deadline any more. In seconds since 1970.
async fn brings_the_deadline_near(cloud: &Cloud, id: &str, seconds: f64) -> f64 {
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    let deadline = now() + seconds;
    let file = cloud.inside(id, "/etc/data-runner/agent.sh");
    let script = std::fs::read_to_string(&file).unwrap();
    assert!(script.contains("\nexec "), "{script}");
    let near = format!("\nexport DATA_RUNNER_DEADLINE={}\nexec ", deadline.floor());
    std::fs::write(file, script.replace("\nexec ", &near)).unwrap();
    assert_eq!(cloud.kill_inside(id, "sh /etc/data-runner/deadline.sh"), 1);
    assert_eq!(cloud.kill_inside(id, "/usr/local/bin/data-runner-agent"), 1);
    deadline.floor()
}

#[tokio::test]
async fn an_agent_without_a_supervisor_stops_its_job_and_powers_off_by_its_own_deadline() {
    let (sandbox, cloud) = (Sandbox::new(), cloud_or_skip!());
    let mut installation = Installation::start(&sandbox, &cloud, "").await;
    let config = "keep_warm: 1h\nparams:\n  waits: {type: bool}\n";
    register(&sandbox, &installation.rest, "job", config, PATIENT).await;
    let rest = &installation.rest;
    let idle = rest.execute("job", json!({"waits": false})).await;
    let busy = rest.execute("job", json!({"waits": true})).await;
    rest.logs(&busy, "started").await;
    let idle = rest.succeeded(&idle).await;
    let machine = async |execution: &serde_json::Value| {
        let worker = execution["worker_id"].as_str().unwrap();
        let worker = rest.get(&format!("/workers/{worker}")).await.ok();
        worker["machine_id"].as_str().unwrap().to_owned()
    };
    let (idle, busy) = (machine(&idle).await, machine(&rest.execution(&busy).await).await);
    assert_ne!(idle, busy);
    installation.kill();

    brings_the_deadline_near(&cloud, &idle, 30.0).await;
    let deadline = brings_the_deadline_near(&cloud, &busy, 40.0).await;
    let told = cloud.file(&busy, "/told-to-stop");
    let told = until("the job to be told to stop", async || {
        std::fs::read_to_string(&told).ok().filter(|told| !told.is_empty())
    })
    .await;
    let early = deadline - told.parse::<f64>().unwrap();
    // A quarter of what is left, where that is less than 90 s.
    assert!((5.0..=10.0).contains(&early), "{early} s before");
    for id in [idle, busy] {
        let ended = cloud.mock.reaches(&id, "terminated").await;
        assert_eq!(ended.reason, "Client.InstanceInitiatedShutdown", "{}", cloud.console(&id));
    }
}
