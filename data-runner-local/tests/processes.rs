//! What becomes of agents, shims and jobs as processes.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use data_runner_core::port::{LaunchAnswer, Provisioner as _};
use data_runner_core::worker::MachineState;
use data_runner_local::{LocalOptions, LocalProvisioner};
use data_runner_testkit::sample::worker_id;
use support::{House, is_alive, kill, launch, marked, request, start_time, until};

async fn state(provisioner: &LocalProvisioner, n: u64) -> MachineState {
    let machines = provisioner.list().await.unwrap();
    machines.into_iter().find(|machine| machine.worker == worker_id(n)).unwrap().state
}

fn is_terminated(state: &MachineState) -> bool {
    matches!(state, MachineState::Terminated { .. })
}

#[tokio::test]
async fn an_agent_is_told_who_it_is_and_leads_a_group_of_its_own() {
    let house = House::new();
    let provisioner =
        house.provisioner("env > \"$DATA_RUNNER_AGENT_STATE/env\"; echo hello; echo oh >&2; exec sleep 600");
    launch(&provisioner, worker_id(1)).await;
    let folder = provisioner.folder(worker_id(1));
    let log = until(|| fs::read_to_string(folder.join("agent.log")).ok().filter(|log| log.contains("oh")));
    assert_eq!(log, "hello\noh\n");
    let env = fs::read_to_string(folder.join("env")).unwrap();
    for wanted in [
        format!("DATA_RUNNER_WORKER_ID={}", worker_id(1)),
        "DATA_RUNNER_GRPC_URL=http://127.0.0.1:7070".to_owned(),
        format!("DATA_RUNNER_AGENT_STATE={}", folder.display()),
        "DATA_RUNNER_SLOTS=3".to_owned(),
        "GIVEN=yes".to_owned(),
    ] {
        assert!(env.lines().any(|line| line == wanted), "{wanted} is not in {env}");
    }
    let [agent] = marked(&folder)[..] else { panic!("one agent") };
    let stat = fs::read_to_string(format!("/proc/{agent}/stat")).unwrap();
    let group: u32 = stat.rsplit_once(") ").unwrap().1.split(' ').nth(2).unwrap().parse().unwrap();
    assert_eq!(group, agent);
}

/// A shim as the agent would have started it, with its record; the job runs `script`.
fn shim(folder: &Path, run: &str, script: &str) -> Child {
    let run = folder.join("runs").join(run);
    fs::create_dir_all(&run).unwrap();
    let child = Command::new("setsid")
        .args(["sh", "-c"])
        // The job has a session of its own and an environment that says nothing of us.
        .arg(format!("env -i PATH=\"$PATH\" setsid -f sh -c '{script}'; exec sleep 600"))
        .env("RUN", &run)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let job: u32 = until(|| fs::read_to_string(run.join("job")).ok()?.trim().parse().ok());
    let record = serde_json::json!({
        "pid": child.id(),
        "start_time": start_time(child.id()),
        "boot_id": fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim(),
        "job_pid": job,
        "job_start_time": start_time(job),
        "cgroup": null,
    });
    fs::write(run.join("shim.json"), record.to_string()).unwrap();
    child
}

fn job_that_writes(folder: &Path, run: &str, then: &str) -> String {
    let run = folder.join("runs").join(run);
    format!("echo $$ > {0}/.job; mv {0}/.job {0}/job; {then}", run.display())
}

fn pid_in(folder: &Path, run: &str, name: &str) -> u32 {
    let file = folder.join("runs").join(run).join(name);
    until(|| fs::read_to_string(&file).ok()?.trim().parse().ok())
}

#[tokio::test]
async fn terminating_ends_shims_jobs_and_what_they_started() {
    let house = House::new();
    let provisioner = house.provisioner("exec sleep 600");
    launch(&provisioner, worker_id(1)).await;
    let folder = provisioner.folder(worker_id(1));
    let run = folder.join("runs/a-1").display().to_string();
    let then = format!("sh -c \"sleep 600 & echo \\$! > {run}/child; wait\"");
    let mut shim = shim(&folder, "a-1", &job_that_writes(&folder, "a-1", &then));
    let (job, child) = (pid_in(&folder, "a-1", "job"), pid_in(&folder, "a-1", "child"));
    assert!(is_alive(job) && is_alive(child));

    provisioner.terminate(worker_id(1), None).await.unwrap();
    assert!(is_terminated(&state(&provisioner, 1).await));
    for pid in [shim.id(), job, child] {
        assert!(!is_alive(pid), "{pid} lives");
    }
    shim.wait().unwrap();
}

#[tokio::test]
async fn a_job_whose_shim_was_killed_is_found_by_its_session() {
    let house = House::new();
    let provisioner = house.provisioner("exec sleep 600");
    launch(&provisioner, worker_id(1)).await;
    let folder = provisioner.folder(worker_id(1));
    let run = folder.join("runs/a-1").display().to_string();
    let then = format!("(sleep 600 & echo $! > {run}/child); exec sleep 600");
    let mut shim = shim(&folder, "a-1", &job_that_writes(&folder, "a-1", &then));
    let (job, child) = (pid_in(&folder, "a-1", "job"), pid_in(&folder, "a-1", "child"));
    kill(shim.id());
    shim.wait().unwrap();
    kill(job);
    until(|| (!is_alive(job)).then_some(()));
    assert!(is_alive(child), "it lives on in its session, with nobody above it");

    provisioner.terminate(worker_id(1), None).await.unwrap();
    assert!(is_terminated(&state(&provisioner, 1).await));
    assert!(!is_alive(child));
}

#[tokio::test]
async fn what_left_its_session_is_found_by_its_mark() {
    let house = House::new();
    let provisioner = house.provisioner("exec sleep 600");
    launch(&provisioner, worker_id(1)).await;
    let folder = provisioner.folder(worker_id(1));
    let mut left = Command::new("setsid")
        .args(["sleep", "600"])
        .env("DATA_RUNNER_OUTPUT", folder.join("runs/a-1/output.json"))
        .spawn()
        .unwrap();
    // The same beginning is not the same folder.
    let mut other = Command::new("sleep")
        .arg("600")
        .env("DATA_RUNNER_OUTPUT", format!("{}0/x", folder.display()))
        .spawn()
        .unwrap();
    until(|| marked(&folder).contains(&left.id()).then_some(()));
    provisioner.terminate(worker_id(1), None).await.unwrap();
    assert!(!is_alive(left.id()));
    assert!(is_alive(other.id()));
    left.wait().unwrap();
    other.kill().unwrap();
    other.wait().unwrap();
}

#[tokio::test]
async fn a_process_that_got_an_old_number_is_left_alone() {
    let house = House::new();
    let provisioner = house.provisioner("exec sleep 600");
    launch(&provisioner, worker_id(1)).await;
    let folder = provisioner.folder(worker_id(1));
    let mut stranger = Command::new("setsid").args(["sleep", "600"]).spawn().unwrap();
    let run = folder.join("runs/a-1");
    fs::create_dir_all(&run).unwrap();
    let record = serde_json::json!({
        "pid": stranger.id(), "start_time": 1,
        "boot_id": fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim(),
        "job_pid": stranger.id(), "job_start_time": 1, "cgroup": null,
    });
    fs::write(run.join("shim.json"), record.to_string()).unwrap();
    provisioner.terminate(worker_id(1), None).await.unwrap();
    assert!(is_terminated(&state(&provisioner, 1).await));
    assert!(is_alive(stranger.id()));
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[tokio::test]
async fn an_agent_that_was_started_just_before_the_supervisor_died_is_found() {
    let house = House::new();
    let provisioner = house.provisioner("exec sleep 600");
    let candidate = launch(&provisioner, worker_id(1)).await;
    let folder = provisioner.folder(worker_id(1));
    let before = until(|| Some(marked(&folder)).filter(|agents| agents.len() == 1));
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let intent = serde_json::json!({ "agent": "intended", "boot_id": boot.trim() });
    fs::write(folder.join("machine/agent.json"), intent.to_string()).unwrap();

    let restarted = house.provisioner("exec sleep 600");
    assert_eq!(state(&restarted, 1).await, MachineState::Running);
    assert!(matches!(restarted.launch(worker_id(1), candidate).await, LaunchAnswer::Launched(_)));
    assert_eq!(marked(&folder), before);
}

#[tokio::test]
async fn an_end_that_was_cut_short_is_no_end_and_no_revival() {
    let house = House::new();
    let provisioner = house.provisioner("exec sleep 600");
    let candidate = launch(&provisioner, worker_id(1)).await;
    let folder = provisioner.folder(worker_id(1));
    fs::write(folder.join("machine/ending.json"), r#"{"reason":"terminated as asked"}"#).unwrap();
    marked(&folder).into_iter().for_each(kill);
    assert_eq!(state(&provisioner, 1).await, MachineState::Stopping);
    provisioner.launch(worker_id(1), candidate).await;
    until(|| marked(&folder).is_empty().then_some(()));
    provisioner.terminate(worker_id(1), None).await.unwrap();
    assert!(is_terminated(&state(&provisioner, 1).await));
}

#[tokio::test]
async fn a_launch_that_is_overtaken_by_its_termination_starts_nothing() {
    let house = House::new();
    let provisioner = house.provisioner("exec sleep 600");
    let candidate = provisioner.plan(request()).await.unwrap().remove(0);
    provisioner.terminate(worker_id(1), None).await.unwrap();
    assert_eq!(provisioner.list().await.unwrap(), []);
    provisioner.launch(worker_id(1), candidate).await;
    assert!(marked(house.0.path()).is_empty());
    assert_eq!(provisioner.list().await.unwrap(), []);
}

#[tokio::test]
async fn only_the_newest_of_the_terminated_are_kept() {
    let house = House::new();
    let provisioner = house.provisioner("exec sleep 600");
    for n in 1..=23 {
        launch(&provisioner, worker_id(n)).await;
        provisioner.terminate(worker_id(n), None).await.unwrap();
    }
    let kept: Vec<_> = provisioner.list().await.unwrap().into_iter().map(|machine| machine.worker).collect();
    assert_eq!(kept, (4..=23).map(worker_id).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_program_that_is_not_there_needs_a_person() {
    let house = House::new();
    let provisioner = LocalProvisioner::new(LocalOptions {
        agent_command: vec!["/nowhere/agent".into()],
        state: house.state(),
        grpc_url: String::new(),
        env: Vec::new(),
        joining: None,
    })
    .unwrap();
    let candidate = provisioner.plan(request()).await.unwrap().remove(0);
    let answer = provisioner.launch(worker_id(1), candidate).await;
    assert!(
        matches!(&answer, LaunchAnswer::Fatal { hint: Some(hint), .. } if hint.contains("/nowhere/agent"))
    );
}
