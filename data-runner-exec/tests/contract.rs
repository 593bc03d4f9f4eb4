//! Real processes keep the contract of the Executor port.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fixture;

data_runner_testkit::executor_contract!(fixture::Fixture::new());
