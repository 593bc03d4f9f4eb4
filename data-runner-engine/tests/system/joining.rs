//! How the agent of a launched machine gets its certificate.

use std::sync::Arc;
use std::time::Duration;

use data_runner_core::id::{Sha256, WorkerId};
use data_runner_core::orchestrator::{Policy, Pool};
use data_runner_core::port::LaunchAnswer;
use data_runner_core::port::{
    Catalog as _, Certificate, JoinAuthority, JoinGate as _, JoinRefused, JoinRequest, Retry,
};
use data_runner_core::time::Timestamp;
use data_runner_core::worker::{Candidate, Purpose};
use data_runner_engine::supervisor::Gate;
use data_runner_engine::{Order, Supervisor, SupervisorBuilder};
use data_runner_testkit::memory::executor::Script;
use data_runner_testkit::memory::provisioner::{LaunchScript, MachineEvent, MemoryProvisioner};
use data_runner_testkit::memory::store::StoreFault;
use data_runner_testkit::sample;
use tokio::sync::mpsc;

use crate::kit::{CONFIG, Kit, files, register};

/// Its tokens and certificates are what they say; the real ones are tested where they are made.
struct Plain;

impl JoinAuthority for Plain {
    fn token(&self, worker: WorkerId, candidate: &Candidate) -> String {
        format!("{worker} {}", candidate.label)
    }

    fn check(
        &self,
        worker: WorkerId,
        candidate: &Candidate,
        ask: &JoinRequest,
    ) -> Result<Sha256, JoinRefused> {
        let right = ask.token == self.token(worker, candidate);
        right.then(|| Sha256::of(&ask.signing_request)).ok_or(JoinRefused::Refused)
    }

    fn issue(&self, _: WorkerId, ask: &JoinRequest, until: Timestamp) -> Result<Certificate, JoinRefused> {
        Ok(Certificate { chain: String::from_utf8(ask.signing_request.clone()).unwrap(), until })
    }
}

fn ask(worker: WorkerId, candidate: &Candidate, key: &str) -> JoinRequest {
    JoinRequest { token: Plain.token(worker, candidate), signing_request: key.into() }
}

struct House {
    kit: Kit,
    cloud: MemoryProvisioner,
    machines: mpsc::UnboundedReceiver<MachineEvent>,
    gate: Gate,
    supervisor: Supervisor,
}

impl House {
    async fn of(policy: Policy, cloud: MemoryProvisioner) -> Self {
        let kit = Kit::new(|_| Script::new().exits(0));
        kit.repo().publish("main", files(&[("orders", CONFIG)]));
        let machines = cloud.events();
        let (gate, supervisor) = start(&kit, policy, &cloud).await;
        register(&supervisor.handle()).await;
        Self { kit, cloud, machines, gate, supervisor }
    }

    async fn made(&mut self) -> (WorkerId, Candidate) {
        let wait = async {
            loop {
                if let MachineEvent::Made { worker, candidate } = self.machines.recv().await.unwrap() {
                    return (worker, candidate);
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.expect("a machine")
    }
}

async fn start(kit: &Kit, policy: Policy, cloud: &MemoryProvisioner) -> (Gate, Supervisor) {
    let gate = Gate::with_authority(Arc::new(Plain));
    kit.network.set_gate(Arc::new(gate.clone()));
    let builder = SupervisorBuilder {
        gate: gate.clone(),
        provisioner: Some(Arc::new(cloud.clone())),
        policy,
        ..kit.builder()
    };
    (gate, builder.start().await.unwrap())
}

fn shared() -> Policy {
    Policy::local(1, 1)
}

#[tokio::test(start_paused = true)]
async fn a_token_is_good_for_one_key_and_again_for_that_one() {
    let mut house = House::of(shared(), MemoryProvisioner::new(1)).await;
    let (worker, candidate) = house.made().await;
    for _ in 0..2 {
        let certificate = house.gate.join(worker, ask(worker, &candidate, "key")).await.unwrap();
        assert_eq!(certificate.chain, "key");
    }
    let other = house.gate.join(worker, ask(worker, &candidate, "another key")).await;
    assert!(matches!(other, Err(JoinRefused::Refused)), "{other:?}");
    let known = house.kit.store.worker(worker).await.unwrap().unwrap();
    assert_eq!(known.joined_with, Some(Sha256::of(b"key")));
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_is_given_again_by_the_next_supervisor() {
    let mut house = House::of(shared(), MemoryProvisioner::new(1)).await;
    let (worker, candidate) = house.made().await;
    house.gate.join(worker, ask(worker, &candidate, "key")).await.unwrap();
    house.kit.crash(house.supervisor).await;
    let (gate, _supervisor) = start(&house.kit, shared(), &house.cloud).await;
    assert!(gate.join(worker, ask(worker, &candidate, "key")).await.is_ok());
    assert!(gate.join(worker, ask(worker, &candidate, "another key")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_signed_when_the_commit_failed() {
    let mut house = House::of(shared(), MemoryProvisioner::new(1)).await;
    let (worker, candidate) = house.made().await;
    // The launch's answer is committed first.
    tokio::time::sleep(Duration::from_secs(1)).await;
    house.kit.store.fail_next_commit(StoreFault::DiskFull);
    let failed = house.gate.join(worker, ask(worker, &candidate, "key")).await.unwrap_err();
    assert_eq!(failed.retry(), Retry::Later);
    let another = house.gate.join(worker, ask(worker, &candidate, "another key")).await;
    assert!(another.is_ok(), "the first was never bound");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_not_launched_or_not_known_does_not_join() {
    let mut house = House::of(shared(), MemoryProvisioner::new(1)).await;
    let (worker, candidate) = house.made().await;
    let stranger = sample::worker_id(77);
    for (who, ask) in [
        (stranger, ask(stranger, &candidate, "key")),
        // Another worker's token.
        (worker, ask(stranger, &candidate, "key")),
        // A candidate that was never launched.
        (worker, ask(worker, &Candidate { label: "memory 9".to_owned(), ..candidate.clone() }, "key")),
    ] {
        let refused = house.gate.join(who, ask).await;
        assert!(matches!(refused, Err(JoinRefused::Refused)), "{refused:?}");
    }
    let joined = house.kit.start_agent(5);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let refused = house.gate.join(joined, ask(joined, &candidate, "key")).await;
    assert!(matches!(refused, Err(JoinRefused::Refused)), "a person's agent has no token: {refused:?}");
}

#[tokio::test(start_paused = true)]
async fn the_token_of_a_candidate_that_was_given_up_is_refused() {
    let cloud = MemoryProvisioner::new(2);
    cloud.script(LaunchScript::Answers(LaunchAnswer::FallBack { message: "no capacity".to_owned() }));
    let mut house = House::of(shared(), cloud).await;
    let (worker, second) = house.made().await;
    assert_eq!(second.label, "memory 1");
    let first = Candidate {
        label: "memory 0".to_owned(),
        request: serde_json::json!({ "candidate": 0 }),
        ..second.clone()
    };
    assert!(house.gate.join(worker, ask(worker, &first, "key")).await.is_err());
    assert!(house.gate.join(worker, ask(worker, &second, "key")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_token_is_worth_nothing_when_its_machine_is_being_ended() {
    let cloud = MemoryProvisioner::new(1);
    // As when the time to join is over.
    cloud.hold_terminations();
    let mut house = House::of(shared(), cloud).await;
    let (worker, candidate) = house.made().await;
    house.supervisor.handle().terminate_worker(worker).await.unwrap();
    let late = house.gate.join(worker, ask(worker, &candidate, "key")).await;
    assert!(matches!(late, Err(JoinRefused::Refused)), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn a_certificate_outlives_its_machine_by_an_hour() {
    let mut house =
        House::of(Policy { pool: Pool::PerExecution { max: 1 }, ..shared() }, MemoryProvisioner::new(1))
            .await;
    house.supervisor.handle().execute("orders", Order::default()).await.unwrap();
    let (worker, candidate) = house.made().await;
    let known = house.kit.store.worker(worker).await.unwrap().unwrap();
    let certificate = house.gate.join(worker, ask(worker, &candidate, "key")).await.unwrap();
    let Purpose::Workflow { request, .. } = known.purpose else { panic!("{:?}", known.purpose) };
    if let Some(deadline) = request.deadline {
        assert_eq!(certificate.until, deadline.after(Duration::from_secs(3600)));
    } else {
        assert!(certificate.until > known.created_at.after(Duration::from_secs(23 * 3600)));
    }
}

#[tokio::test(start_paused = true)]
async fn without_an_authority_nobody_joins() {
    let gate = Gate::default();
    let candidate = Candidate {
        label: "memory 0".to_owned(),
        instance_type: "memory".to_owned(),
        zone: None,
        market: data_runner_core::cost::Market::OnDemand,
        request: serde_json::Value::Null,
        price: None,
    };
    let worker = sample::worker_id(1);
    assert!(matches!(gate.join(worker, ask(worker, &candidate, "key")).await, Err(JoinRefused::Refused)));
    let waiting = Gate::with_authority(Arc::new(Plain));
    let error = waiting.join(worker, ask(worker, &candidate, "key")).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Later, "the supervisor is still starting");
}
