//! A service that embeds Data Runner, tested with the mocks that stand beside the ports (core's feature `mock`).
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::error::Error as _;
use std::sync::Arc;

use data_runner_core::execution::{ExecutionState, Failure, FailureCause, StateName};
use data_runner_core::port::{MockCatalog, MockProvisioner, StateError};
use data_runner_core::worker::{Machine, MachineEnd, MachineState};
use data_runner_examples::{MorningReport, ReportError};
use data_runner_testkit::sample;

fn machine(n: u64, state: MachineState) -> Machine {
    let id = format!("i-{n}").parse().unwrap();
    Machine { id, worker: sample::worker_id(n), state, launched_at: sample::at(0) }
}

fn report(catalog: MockCatalog, machines: MockProvisioner) -> MorningReport {
    MorningReport::new(Arc::new(catalog), Arc::new(machines))
}

#[tokio::test]
async fn a_report_names_each_failure_and_counts_machines_that_still_cost() {
    let mut catalog = MockCatalog::new();
    catalog
        .expect_executions()
        .once()
        .withf(|query| query.states == [StateName::Failed] && query.since == Some(sample::at(100)))
        .returning(|_| {
            let failure = Failure::new(FailureCause::OutOfMemory, "it used more than 4 GiB");
            let state = ExecutionState::Failed { at: sample::at(101), failure };
            Ok(vec![data_runner_core::execution::Execution { state, ..sample::execution(1) }])
        });
    let mut machines = MockProvisioner::new();
    machines.expect_list().once().returning(|| {
        let gone = MachineState::Terminated { reason: "idle".to_owned(), end: MachineEnd::Ended };
        Ok(vec![machine(1, MachineState::Running), machine(2, gone), machine(3, MachineState::AgentDown)])
    });

    let text = report(catalog, machines).since(sample::at(100)).await.unwrap();
    assert_eq!(text, "samples/orders: out_of_memory: it used more than 4 GiB\n1 failed, 2 machines are up\n");
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_an_error_with_its_cause_and_asks_no_cloud() {
    let mut catalog = MockCatalog::new();
    catalog.expect_executions().returning(|_| Err(StateError::DiskFull("no space left".into())));
    // No call is expected of this one, so any would panic.
    let machines = MockProvisioner::new();

    let error = report(catalog, machines).since(sample::at(0)).await.unwrap_err();
    assert!(matches!(error, ReportError::Executions(StateError::DiskFull(_))), "{error:?}");
    assert_eq!(error.source().unwrap().to_string(), "the disk that holds the state is full");
}
