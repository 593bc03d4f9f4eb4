//! The scripted executor keeps the contract.
#![cfg(feature = "executor")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use data_runner_core::id::{AttemptId, AttemptNumber, Claim};
use data_runner_core::port::{Executor, RunRequest};
use data_runner_testkit::contract::executor::ExecutorFixture;
use data_runner_testkit::memory::executor::{Script, ScriptedExecutor, ScriptedMachine};
use data_runner_testkit::sample;

struct Fixture {
    scripts: Arc<Mutex<BTreeMap<PathBuf, Script>>>,
    machine: ScriptedMachine,
    executor: ScriptedExecutor,
}

impl Fixture {
    fn new() -> Self {
        let scripts: Arc<Mutex<BTreeMap<PathBuf, Script>>> = Arc::default();
        let theirs = Arc::clone(&scripts);
        let machine = ScriptedMachine::new(move |run| theirs.lock().unwrap()[&run.folder].clone());
        let executor = machine.executor(sample::polars());
        Self { scripts, machine, executor }
    }
}

impl ExecutorFixture for Fixture {
    fn executor(&self) -> Arc<dyn Executor> {
        Arc::new(self.executor.clone())
    }

    fn request(&self, script: Script) -> Arc<RunRequest> {
        let mut scripts = self.scripts.lock().unwrap();
        let number = scripts.len() as u64;
        let folder = PathBuf::from(format!("/run/{number}"));
        scripts.insert(folder.clone(), script);
        let attempt = AttemptId { execution: sample::execution_id(number), number: AttemptNumber::FIRST };
        let claim = Claim { attempt, lease: sample::lease(number) };
        Arc::new(RunRequest {
            claim,
            job: Arc::new(sample::job()),
            folder,
            alone_for: std::time::Duration::from_secs(600),
        })
    }

    fn release(&self, run: &RunRequest) {
        self.machine.release(&run.folder);
    }

    fn restart_agent(&mut self) {
        self.executor = self.machine.executor(sample::polars());
    }

    fn kill_watcher(&self, run: &RunRequest) {
        self.machine.lose(&run.folder);
    }

    fn starts(&self, run: &RunRequest) -> usize {
        self.machine.starts().into_iter().filter(|claim| *claim == run.claim).count()
    }

    fn is_alive(&self, run: &RunRequest) -> bool {
        self.machine.alive().contains(&run.folder)
    }
}

data_runner_testkit::executor_contract!(Fixture::new());
