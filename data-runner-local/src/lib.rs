//! This machine in the place of a cloud: agents as processes of it, blobs in a folder of it.
//!
//! [`LocalProvisioner`] keeps one folder a worker, `<state>/<worker id>/`: the agent's own state, the log of its
//! process (`agent.log`), and what is known of it (`machine/`). What stands there, and not what this process remembers,
//! is the truth: a supervisor that was killed finds its agents again.

mod blobs;
mod durable;
mod ending;
mod machine_folder;
mod process;
mod provisioner;

pub use blobs::FolderBlobs;
pub use provisioner::{LocalJoining, LocalOptions, LocalProvisioner};
