//! Whose machines are seen and ended.

use base64::Engine as _;
use data_runner_core::id::MachineId;
use data_runner_core::worker::{Machine, MachineEnd, MachineState};

use super::fake::{Fake, Fault};
use super::*;

fn machine_id(id: &str) -> MachineId {
    id.parse().unwrap()
}

/// The one machine of that name.
fn of<'a>(machines: &'a [Machine], id: &str) -> &'a Machine {
    machines.iter().find(|machine| machine.id == machine_id(id)).unwrap()
}

fn ours(worker: &str) -> [(&'static str, String); 2] {
    [("data-runner:installation", "prod-us".to_owned()), ("data-runner:worker", worker.to_owned())]
}

fn add_ours(fake: &Fake, id: &str, worker: WorkerId) {
    let tags = ours(&worker.to_string());
    fake.add(id, &tags.each_ref().map(|(key, value)| (*key, value.as_str())));
}

#[tokio::test]
async fn every_page_is_read() {
    let fake = Fake::start().await;
    for n in 1..=7 {
        add_ours(&fake, &format!("i-{n}"), sample::worker_id(n));
    }
    fake.world(|world| world.page = 3);
    let machines = provisioner(&fake).await.list().await.unwrap();
    assert_eq!(machines.len(), 7);
    assert_eq!(fake.calls("DescribeInstances").len(), 3);
    assert_eq!(of(&machines, "i-7").worker, sample::worker_id(7));
}

#[tokio::test]
async fn a_listing_is_complete_or_an_error() {
    let fake = Fake::start().await;
    for n in 1..=7 {
        add_ours(&fake, &format!("i-{n}"), sample::worker_id(n));
    }
    fake.world(|world| world.page = 3);
    let provisioner = provisioner(&fake).await;
    fake.fail("DescribeInstances", [Fault::Refuse(403, "UnauthorizedOperation", "no".into())]);
    assert!(provisioner.list().await.is_err());
    assert_eq!(provisioner.list().await.unwrap().len(), 7);
}

#[tokio::test]
async fn callers_of_the_same_moment_share_one_call() {
    let fake = Fake::start().await;
    add_ours(&fake, "i-1", sample::worker_id(1));
    let provisioner = Arc::new(provisioner(&fake).await);
    let asked: Vec<_> = (0..20)
        .map(|_| {
            let provisioner = Arc::clone(&provisioner);
            tokio::spawn(async move { provisioner.list().await.unwrap().len() })
        })
        .collect();
    for asked in asked {
        assert_eq!(asked.await.unwrap(), 1);
    }
    let calls = fake.calls("DescribeInstances").len();
    assert!(calls <= 2, "{calls} calls for twenty callers");
}

#[tokio::test]
async fn states_and_reasons_mean_what_core_takes_them_for() {
    use MachineEnd::{Ended, Interrupted, NoCapacity};
    let fake = Fake::start().await;
    let gone = |end| MachineState::Terminated { reason: "because".into(), end };
    let cases = [
        ("pending", None, MachineState::Pending),
        ("running", None, MachineState::Running),
        ("shutting-down", None, MachineState::Stopping),
        ("stopping", None, MachineState::Stopping),
        ("stopped", None, MachineState::Stopping),
        ("hibernated-by-a-future-ec2", None, MachineState::Running),
        ("terminated", Some("Server.InsufficientInstanceCapacity"), gone(NoCapacity)),
        ("terminated", Some("Server.InternalError"), gone(NoCapacity)),
        ("terminated", Some("Server.SpotInstanceTermination"), gone(Interrupted)),
        ("terminated", Some("Client.UserInitiatedShutdown"), gone(Ended)),
        ("terminated", Some("Client.InstanceInitiatedShutdown"), gone(Ended)),
    ];
    for (n, (state, reason, _)) in cases.iter().enumerate() {
        let id = format!("i-{n}");
        add_ours(&fake, &id, sample::worker_id(n as u64));
        fake.change(&id, |machine| {
            machine.state = state;
            machine.reason = reason.map(|code| (code, "because"));
        });
    }
    let machines = provisioner(&fake).await.list().await.unwrap();
    for (n, (state, reason, expected)) in cases.iter().enumerate() {
        assert_eq!(of(&machines, &format!("i-{n}")).state, *expected, "{state} {reason:?}");
    }
    assert_eq!(machines[0].launched_at.to_string(), "2026-11-26T20:00:00.000000Z");
}

#[tokio::test]
async fn a_worker_that_fell_back_is_shown_with_each_of_its_machines() {
    let fake = Fake::start().await;
    for id in ["i-1", "i-2"] {
        add_ours(&fake, id, sample::worker_id(1));
    }
    fake.change("i-1", |machine| machine.state = "terminated");
    let machines = provisioner(&fake).await.list().await.unwrap();
    let states: Vec<_> = machines.iter().map(|machine| (machine.worker, &machine.state)).collect();
    let reason = "EC2 does not say why".to_owned();
    let gone = MachineState::Terminated { reason, end: MachineEnd::Ended };
    let worker = sample::worker_id(1);
    assert_eq!(states, [(worker, &gone), (worker, &MachineState::Running)]);
}

#[tokio::test]
async fn two_installations_never_touch_each_others_machines() {
    let fake = Fake::start().await;
    let (here, elsewhere) = (provisioner(&fake).await, {
        let mut options = options();
        options.installation = "prod-eu".into();
        with_options(&fake, options).await
    });
    let worker = sample::worker_id(1);
    launch(&here, worker).await;
    launch(&elsewhere, worker).await;
    let (mine, theirs) = (&fake.machines()[0], &fake.machines()[1]);
    assert_eq!(here.list().await.unwrap()[0].id, machine_id(&mine.id));
    assert_eq!(here.list().await.unwrap().len(), 1);
    assert_eq!(elsewhere.list().await.unwrap()[0].id, machine_id(&theirs.id));

    here.terminate(worker, None).await.unwrap();
    let states = |fake: &Fake| fake.machines().iter().map(|machine| machine.state).collect::<Vec<_>>();
    assert_eq!(states(&fake), ["shutting-down", "pending"]);
    // Also not when a state that was copied from there names their machine.
    here.terminate(worker, Some(machine_id(&theirs.id))).await.unwrap();
    assert_eq!(states(&fake), ["shutting-down", "pending"]);
}

#[tokio::test]
async fn strangers_are_never_touched() {
    let fake = Fake::start().await;
    fake.add("i-1", &[("Name", "database")]);
    fake.add("i-2", &[("data-runner:worker", &sample::worker_id(1).to_string())]);
    fake.add("i-3", &[("data-runner:installation", "prod-us-2")]);
    let provisioner = provisioner(&fake).await;
    assert_eq!(provisioner.list().await.unwrap(), []);
    for id in ["i-1", "i-2", "i-3"] {
        provisioner.terminate(sample::worker_id(1), Some(machine_id(id))).await.unwrap();
    }
    provisioner.terminate(sample::worker_id(1), None).await.unwrap();
    assert_eq!(fake.calls("TerminateInstances").len(), 0);
}

#[tokio::test]
async fn a_machine_of_ours_that_names_no_worker_is_shown_as_nobodys_and_can_be_ended() {
    let fake = Fake::start().await;
    fake.add("i-1", &[("data-runner:installation", "prod-us")]);
    fake.add(
        "i-2",
        &[("data-runner:installation", "prod-us"), ("data-runner:worker", "a person wrote this")],
    );
    let provisioner = provisioner(&fake).await;
    let machines = provisioner.list().await.unwrap();
    assert_eq!(machines.len(), 2);
    assert_ne!(machines[0].worker, machines[1].worker);
    assert_eq!(provisioner.list().await.unwrap(), machines, "it is the same nobody each time");
    for machine in machines {
        provisioner.terminate(machine.worker, Some(machine.id)).await.unwrap();
    }
    assert!(fake.machines().iter().all(|machine| machine.state == "shutting-down"));
}

#[tokio::test]
async fn whoever_names_a_machine_ends_that_one_only() {
    let fake = Fake::start().await;
    add_ours(&fake, "i-1", sample::worker_id(1));
    add_ours(&fake, "i-2", sample::worker_id(1));
    let provisioner = provisioner(&fake).await;
    let states = || fake.machines().iter().map(|machine| machine.state).collect::<Vec<_>>();
    provisioner.terminate(sample::worker_id(1), Some(machine_id("i-9"))).await.unwrap();
    assert_eq!(states(), ["running", "running"]);
    provisioner.terminate(sample::worker_id(1), Some(machine_id("i-2"))).await.unwrap();
    assert_eq!(states(), ["running", "shutting-down"]);
    provisioner.terminate(sample::worker_id(1), None).await.unwrap();
    assert_eq!(states(), ["shutting-down", "shutting-down"]);
}

#[tokio::test]
async fn one_bad_id_does_not_keep_the_others_of_its_batch() {
    let fake = Fake::start().await;
    for n in 1..=20 {
        add_ours(&fake, &format!("i-{n}"), sample::worker_id(n));
    }
    let provisioner = Arc::new(provisioner(&fake).await);
    provisioner.list().await.unwrap();
    // One of them goes out of EC2's sight.
    fake.world(|world| world.machines.retain(|machine| machine.id != "i-13"));
    let ends: Vec<_> = (1..=20)
        .map(|n| {
            let provisioner = Arc::clone(&provisioner);
            let machine = Some(machine_id(&format!("i-{n}")));
            tokio::spawn(async move { provisioner.terminate(sample::worker_id(n), machine).await })
        })
        .collect();
    for end in ends {
        end.await.unwrap().expect("what EC2 does not know is no error");
    }
    assert!(fake.machines().iter().all(|machine| machine.state == "shutting-down"));
    let calls = fake.calls("TerminateInstances").len();
    assert!(calls < 20, "{calls} calls for twenty machines");
}

#[tokio::test]
async fn a_refused_end_is_an_error_and_the_next_one_is_asked() {
    let fake = Fake::start().await;
    add_ours(&fake, "i-1", sample::worker_id(1));
    let provisioner = provisioner(&fake).await;
    fake.fail("TerminateInstances", [Fault::Refuse(503, "RequestLimitExceeded", "slowly".into())]);
    assert!(provisioner.terminate(sample::worker_id(1), None).await.is_err());
    assert_eq!(fake.calls("TerminateInstances").len(), 1, "core asks again, not the SDK");
    provisioner.terminate(sample::worker_id(1), None).await.unwrap();
    assert_eq!(fake.machines()[0].state, "shutting-down");
}

#[tokio::test]
async fn the_end_of_a_console_is_read_whatever_was_written() {
    let fake = Fake::start().await;
    let provisioner = provisioner(&fake).await;
    let console = |bytes: &[u8]| {
        let text = base64::engine::general_purpose::STANDARD.encode(bytes);
        fake.world(|world| world.console = Some(text));
    };
    assert_eq!(provisioner.console(machine_id("i-1")).await.unwrap(), "");

    console("boot\nö failed\n".as_bytes());
    assert_eq!(provisioner.console(machine_id("i-1")).await.unwrap(), "boot\nö failed\n");

    console(&["ö".repeat(4000).as_bytes(), b"!"].concat());
    let text = provisioner.console(machine_id("i-1")).await.unwrap();
    assert!(text.len() <= 4096 && text.starts_with('ö') && text.ends_with("ö!"), "{}", text.len());

    console(b"\xff\xfe not text");
    assert!(provisioner.console(machine_id("i-1")).await.unwrap().ends_with(" not text"));

    fake.fail("GetConsoleOutput", [Fault::Refuse(400, "UnsupportedOperation", "not on Xen".into())]);
    assert!(provisioner.console(machine_id("i-1")).await.unwrap().ends_with(" not text"));

    fake.fail("GetConsoleOutput", [Fault::Refuse(400, "InvalidInstanceID.NotFound", "unknown".into())]);
    assert_eq!(provisioner.console(machine_id("i-9")).await.unwrap(), "");
}
