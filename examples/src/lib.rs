//! What the example programs share, and two pieces of an embedder's own: a provisioner and a service, with their tests.

mod morning_report;
mod outcome;
mod repository;
mod shell;
mod small_system;
mod task_provisioner;

pub use morning_report::{MorningReport, ReportError};
pub use outcome::{print_outcome, read_output};
pub use repository::Repository;
pub use shell::{shell_executor, shell_worker_type};
pub use small_system::SmallSystem;
pub use task_provisioner::{TaskOptions, TaskProvisioner};
