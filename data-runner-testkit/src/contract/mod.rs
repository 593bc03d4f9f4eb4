//! Contract suites: one named clause is one test. An adapter runs a suite by one macro call, such as
//! `data_runner_testkit::state_store_contract!(make_fixture)`.

#[cfg(feature = "source")]
pub mod blob_store;
#[cfg(feature = "store")]
pub mod catalog;
#[cfg(feature = "executor")]
pub mod executor;
#[cfg(feature = "store")]
pub mod log_store;
#[cfg(feature = "provisioner")]
pub mod provisioner;
#[cfg(feature = "store")]
pub mod state_store;
#[cfg(feature = "store")]
pub mod token_store;
#[cfg(feature = "transport")]
pub mod transport;
#[cfg(feature = "source")]
pub mod workflow_source;
