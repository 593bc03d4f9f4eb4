//! The ports: what core and engine need from the outside, one file each, with its contract. Each has a contract suite
//! in `data-runner-testkit` that every adapter runs; with the feature `mock` each has a mockall mock beside it.

mod blob_store;
mod byte_source;
mod catalog;
mod checkup;
mod executor;
mod image_baker;
mod join;
mod log_store;
mod notifier;
mod provisioner;
mod secret_probe;
mod secret_resolver;
mod state_store;
mod token_store;
mod transport;
mod workflow_source;

pub use blob_store::*;
pub use byte_source::*;
pub use catalog::*;
pub use checkup::*;
pub use executor::*;
pub use image_baker::*;
pub use join::*;
pub use log_store::*;
pub use notifier::*;
pub use provisioner::*;
pub use secret_probe::*;
pub use secret_resolver::*;
pub use state_store::*;
pub use token_store::*;
pub use transport::*;
pub use workflow_source::*;

/// What lies under a port's error: the adapter's own, kept for the chain.
pub type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Whether the same call may go well later without anybody doing anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It may.
    Later,
    /// It will not.
    Never,
}
