use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use data_runner_core::execution::StateName;
use data_runner_core::port::{
    Notifier, NotifyError, SecretError, SecretResolver, SecretValue, WebhookMessage,
};
use data_runner_core::workflow::SecretRef;
use data_runner_engine::{Notifications, Supervisor};
use data_runner_testkit::memory::executor::Script;
use tokio::task::JoinHandle;

use crate::kit::{Kit, TestClock, execute, files, register, until};

const TOLD: &str = "worker_type: polars\ninstance_size: t3.medium\n\
    notifications: [{on: [failure], webhook: \"env://ALERTS\"}]\n";

/// A receiver that answers with these statuses, in order, and then with 200.
#[derive(Clone, Default)]
struct Receiver {
    statuses: Arc<Mutex<Vec<u16>>>,
    got: Arc<Mutex<Vec<WebhookMessage>>>,
}

#[async_trait]
impl Notifier for Receiver {
    async fn notify(&self, message: WebhookMessage) -> Result<u16, NotifyError> {
        self.got.lock().unwrap().push(message);
        match self.statuses.lock().unwrap().pop() {
            Some(status @ 500..) => Err(NotifyError::Busy { status }),
            Some(status) => Err(NotifyError::Refused { status }),
            None => Ok(200),
        }
    }
}

#[async_trait]
impl SecretResolver for Receiver {
    async fn resolve(&self, _: &SecretRef) -> Result<SecretValue, SecretError> {
        Ok(SecretValue::new("https://hooks.example.com/hunter2".to_owned()))
    }
}

impl Receiver {
    fn listens(&self, supervisor: &Supervisor) -> JoinHandle<()> {
        let notifications = Notifications {
            notifier: Arc::new(self.clone()),
            secrets: Arc::new(self.clone()),
            public_url: Some("https://runner.example.com/".to_owned()),
        };
        let handle = supervisor.handle();
        tokio::spawn(async move { handle.deliver(notifications).await })
    }

    fn got(&self) -> Vec<WebhookMessage> {
        self.got.lock().unwrap().clone()
    }
}

async fn failing() -> (Kit, Supervisor) {
    let mut kit = Kit::new(|_| Script::new().prints("first\nlast\n").exits(3));
    kit.repo().publish("main", files(&[("orders", TOLD)]));
    let supervisor = kit.supervisor_at(&TestClock::at("2026-08-01T00:00:00Z")).await;
    register(&supervisor.handle()).await;
    kit.start_agent(1);
    (kit, supervisor)
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_with_its_cause_the_end_of_its_log_and_the_way_to_it() {
    let (_kit, supervisor) = failing().await;
    let receiver = Receiver::default();
    receiver.listens(&supervisor);
    let handle = supervisor.handle();
    let id = execute(&handle).await;
    until(&handle, id, StateName::Failed).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let got = receiver.got();
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].url.expose(), "https://hooks.example.com/hunter2");
    let body: serde_json::Value = serde_json::from_str(&got[0].body).unwrap();
    assert_eq!(body["event"], "failure");
    assert_eq!(body["execution"], id.to_string());
    assert_eq!(body["failure"]["cause"], "user_error");
    assert_eq!(body["log_tail"], serde_json::json!(["first", "last"]));
    assert_eq!(body["url"], format!("https://runner.example.com/executions/{id}"));
    assert!(body["reproduce"].as_str().unwrap().starts_with("data-runner run "), "{body}");
    tokio::time::sleep(Duration::from_secs(48 * 3600)).await;
    assert_eq!(receiver.got().len(), 1, "it is told once");
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_died_before_it_could_tell_does_so_after_its_next_start() {
    let (kit, first) = failing().await;
    let handle = first.handle();
    let id = execute(&handle).await;
    until(&handle, id, StateName::Failed).await;
    kit.crash(first).await;
    let second = kit.supervisor().await;
    let receiver = Receiver::default();
    receiver.listens(&second);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(receiver.got().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_answers_500_gets_the_same_message_again_and_one_that_answers_410_does_not() {
    let (_kit, supervisor) = failing().await;
    let receiver = Receiver::default();
    *receiver.statuses.lock().unwrap() = vec![500, 503];
    receiver.listens(&supervisor);
    let handle = supervisor.handle();
    let id = execute(&handle).await;
    until(&handle, id, StateName::Failed).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let got = receiver.got();
    assert_eq!(got.len(), 3);
    assert!(got.iter().all(|message| message.id == got[0].id), "the receiver knows it by its id");
    *receiver.statuses.lock().unwrap() = vec![410];
    let id = execute(&handle).await;
    until(&handle, id, StateName::Failed).await;
    tokio::time::sleep(Duration::from_secs(48 * 3600)).await;
    assert_eq!(receiver.got().len(), 4);
}
