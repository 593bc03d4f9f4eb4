//! Honest in-memory implementations of the ports: they keep every clause of their contracts, on nothing but memory.

#[cfg(feature = "source")]
pub mod blob_store;
#[cfg(feature = "executor")]
pub mod executor;
#[cfg(feature = "provisioner")]
pub mod provisioner;
#[cfg(feature = "store")]
pub mod store;
#[cfg(feature = "transport")]
pub mod transport;
#[cfg(feature = "source")]
pub mod workflow_source;
